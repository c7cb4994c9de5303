//! Bilinear resampling of integers in steps of 2^-10.

use super::Number;
use crate::error::{Error, Result, check_len};
use crate::par::{Parallel, for_each_part};

/// Resamples height and width of `x [N, H, W, C]`: positions and weights have 10 fractional bits, results are rounded to nearest, ties away
/// from zero (as TFLite's reference kernel does it).
#[derive(Clone, Debug)]
pub struct Bilinear {
    size: [usize; 2],
    channels: usize,
    batch: usize,
    /// For each output row and column: two source positions and the weight of the second.
    rows: Vec<(usize, usize, i64)>,
    columns: Vec<(usize, usize, i64)>,
}

/// One in fixed point.
const ONE: i64 = 1 << 10;

impl Bilinear {
    /// From one size to another. With `corners` the corner pixels coincide; with `half` pixels have their centres in the middle.
    ///
    /// # Errors
    /// When an extent of the input is 0.
    pub fn new(
        batch: usize,
        channels: usize,
        from: [usize; 2],
        to: [usize; 2],
        corners: bool,
        half: bool,
    ) -> Result<Self> {
        if from.contains(&0) {
            return Err(Error::new("quantized resize", format!("an image of {from:?}")));
        }
        let axis = |a: usize| positions(from[a] as i64, to[a] as i64, corners, half);
        Ok(Self { size: from, channels, batch, rows: axis(0), columns: axis(1) })
    }
    /// Resamples.
    ///
    /// # Errors
    /// When a slice has the wrong length.
    pub fn apply<T: Number>(&self, x: &[T], y: &mut [T], par: &dyn Parallel) -> Result<()> {
        let Self { size: [h, w], channels: c, .. } = *self;
        check_len("quantized resize", "x", self.batch * h * w * c, x.len())?;
        check_len("quantized resize", "y", self.batch * self.rows.len() * self.columns.len() * c, y.len())?;
        if y.is_empty() {
            return Ok(());
        }
        for_each_part(par, y, self.columns.len() * c, &|row, part| {
            let (n, (y0, y1, fy)) = (row / self.rows.len(), self.rows[row % self.rows.len()]);
            for (&(x0, x1, fx), part) in self.columns.iter().zip(part.chunks_exact_mut(c)) {
                let at = |r: usize, q: usize| &x[((n * h + r) * w + q) * c..][..c];
                let corners = [(at(y0, x0), (ONE - fy) * (ONE - fx)), (at(y1, x0), fy * (ONE - fx))];
                let others = [(at(y0, x1), (ONE - fy) * fx), (at(y1, x1), fy * fx)];
                for (i, y) in part.iter_mut().enumerate() {
                    let sum = |s: &[(&[T], i64); 2]| s.iter().map(|(p, f)| i64::from(p[i].wide()) * f).sum::<i64>();
                    let sum = sum(&corners) + sum(&others);
                    let half = if sum > 0 { 1 << 19 } else { -(1 << 19) };
                    *y = T::narrow(((sum + half) / (1 << 20)) as i32);
                }
            }
        });
        Ok(())
    }
}

fn positions(from: i64, to: i64, corners: bool, half: bool) -> Vec<(usize, usize, i64)> {
    let scale = if corners && to > 1 {
        (ONE * (from - 1) + (to - 1) / 2) / (to - 1)
    } else {
        (ONE * from + to / 2) / to.max(1)
    };
    let one = |i: i64| {
        let at = if half { i * scale + scale / 2 - (1 << 9) } else { i * scale };
        let low = (at / ONE).max(0);
        let high = ((at + ONE - 1) / ONE).clamp(0, from - 1);
        (low.min(from - 1) as usize, high as usize, at - ONE * low)
    };
    (0..to).map(one).collect()
}
