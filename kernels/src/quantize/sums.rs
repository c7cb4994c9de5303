//! Sums and means of integers over an axis.

use super::fixed::Multiplier;
use super::{Affine, Number};
use crate::error::{Error, Result, check_len};
use crate::par::{Parallel, for_each_part};

/// Sum or mean of `x [outer, count, inner]` over the middle: the exact sum less `count` zero points, then one multiplication in fixed point. A mean
/// divides the multiplier's mantissa, not the sum (as TFLite's reference kernel does it, for 8 and for 16 bits alike).
#[derive(Clone, Copy, Debug)]
pub struct Sums {
    count: usize,
    inner: usize,
    x: i32,
    y: i32,
    scale: Multiplier,
}

impl Sums {
    /// Over `count` elements that lie `inner` apart.
    ///
    /// # Errors
    /// When a scale is no positive number.
    pub fn new(count: usize, inner: usize, mean: bool, x: Affine, y: Affine) -> Result<Self> {
        if [x, y].iter().any(|q| !(q.scale > 0.0 && q.scale.is_finite())) {
            return Err(Error::new("quantized sum", format!("scales {x:?}, {y:?}")));
        }
        let mut scale = Multiplier::new(f64::from(x.scale) / f64::from(y.scale));
        if mean && count > 0 {
            let shift = (63 - (count as u64).leading_zeros() as i32).min(32).min(31 + scale.shift);
            scale.mantissa = ((i64::from(scale.mantissa) << shift) / count as i64) as i32;
            scale.shift -= shift;
        }
        Ok(Self { count, inner, x: x.zero, y: y.zero, scale })
    }
    /// Adds up.
    ///
    /// # Errors
    /// When a slice has the wrong length.
    pub fn apply<T: Number>(&self, x: &[T], y: &mut [T], par: &dyn Parallel) -> Result<()> {
        if self.inner == 0 || y.is_empty() {
            return check_len("quantized sum", "y", 0, y.len());
        }
        check_len("quantized sum", "x", y.len() * self.count, x.len())?;
        let from = |o: usize| &x[o * self.count * self.inner..][..self.count * self.inner];
        for_each_part(par, y, self.inner, &|o, part| {
            let x = from(o);
            for (i, y) in part.iter_mut().enumerate() {
                let sum = x.iter().skip(i).step_by(self.inner).map(|v| i64::from(v.wide())).sum::<i64>();
                let sum = sum - i64::from(self.x) * self.count as i64;
                let scaled = self.scale.apply(sum.clamp(i32::MIN.into(), i32::MAX.into()) as i32);
                *y = T::narrow(scaled.saturating_add(self.y).clamp(T::LO, T::HI));
            }
        });
        Ok(())
    }
}
