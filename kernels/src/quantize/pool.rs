//! Pooling of integers over windows of height and width.

use super::Number;
use crate::error::{Error, Result, check_len};
use crate::isa::{Isa, Kernel, Simd};
use crate::par::{Parallel, for_each_part};

/// Channels that are pooled together.
const LANES: usize = 32;

/// What a pool does: `x [N, H, W, C]` to `y [N, H', W', C]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PoolDesc {
    /// Images.
    pub batch: usize,
    /// Channels.
    pub channels: usize,
    /// Extents of the input.
    pub size: [usize; 2],
    /// Extents of the window.
    pub kernel: [usize; 2],
    /// Steps.
    pub stride: [usize; 2],
    /// Padding before each axis.
    pub begin: [usize; 2],
    /// Extents of the output.
    pub output: [usize; 2],
    /// The mean of what lies inside the image, rounded to nearest (ties away from zero), instead of the largest.
    pub mean: bool,
    /// Range of the output.
    pub range: (i32, i32),
}

/// A pool. Numbers of input and output stand for the same reals.
#[derive(Clone, Debug)]
pub struct Pool {
    isa: Isa,
    desc: PoolDesc,
}

impl Pool {
    /// Checks the description.
    ///
    /// # Errors
    /// When a step is 0, the range is empty, or a window lies wholly outside the image.
    pub fn new(isa: Isa, desc: PoolDesc) -> Result<Self> {
        if desc.stride.contains(&0) || desc.range.0 > desc.range.1 {
            return Err(Error::new("quantized pool", "a step of 0 or an empty range"));
        }
        for a in 0..2 {
            let inside = (0..desc.output[a]).all(|o| !span(&desc, a, o).is_empty());
            if !inside && desc.batch * desc.channels > 0 && !desc.output.contains(&0) {
                return Err(Error::new("quantized pool", "a window lies outside the image"));
            }
        }
        Ok(Self { isa, desc })
    }
    /// Pools.
    ///
    /// # Errors
    /// When a slice has the wrong length.
    pub fn apply<T: Number>(&self, x: &[T], y: &mut [T], par: &dyn Parallel) -> Result<()> {
        let d = &self.desc;
        check_len("quantized pool", "x", d.batch * d.size[0] * d.size[1] * d.channels, x.len())?;
        check_len("quantized pool", "y", d.batch * d.output[0] * d.output[1] * d.channels, y.len())?;
        if y.is_empty() {
            return Ok(());
        }
        for_each_part(par, y, d.output[1] * d.channels, &|row, part| {
            self.isa.dispatch(Row { desc: d, x, row, part });
        });
        Ok(())
    }
}

/// The part of a window that lies inside the image.
#[inline(always)]
fn span(d: &PoolDesc, axis: usize, output: usize) -> std::ops::Range<usize> {
    let start = output * d.stride[axis];
    let from = start.saturating_sub(d.begin[axis]);
    let to = (start + d.kernel[axis]).saturating_sub(d.begin[axis]).min(d.size[axis]);
    from..to.max(from)
}

struct Row<'a, T> {
    desc: &'a PoolDesc,
    x: &'a [T],
    row: usize,
    part: &'a mut [T],
}

impl<T: Number> Kernel for Row<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Row { desc: d, x, row, part } = self;
        let c = d.channels;
        let (n, rows) = (row / d.output[0], span(d, 0, row % d.output[0]));
        for (ox, y) in part.chunks_exact_mut(c).enumerate() {
            let columns = span(d, 1, ox);
            let count = (rows.len() * columns.len()) as i32;
            for (i, y) in y.chunks_mut(LANES).enumerate() {
                let mut acc = [if d.mean { 0 } else { i32::MIN }; LANES];
                for r in rows.clone() {
                    for q in columns.clone() {
                        let at = ((n * d.size[0] + r) * d.size[1] + q) * c + i * LANES;
                        let from = x[at..at + y.len()].iter();
                        if d.mean {
                            acc.iter_mut().zip(from).for_each(|(a, v)| *a += v.wide());
                        } else {
                            acc.iter_mut().zip(from).for_each(|(a, v)| *a = (*a).max(v.wide()));
                        }
                    }
                }
                for (y, &a) in y.iter_mut().zip(&acc) {
                    let v = if d.mean { mean(a, count) } else { a };
                    *y = T::narrow(v.clamp(d.range.0, d.range.1));
                }
            }
        }
    }
}

/// `sum / count` to nearest, ties away from zero.
#[inline(always)]
fn mean(sum: i32, count: i32) -> i32 {
    let half = count / 2;
    (if sum > 0 { sum + half } else { sum - half }) / count.max(1)
}
