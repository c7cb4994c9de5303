//! Local response normalisation.

use super::FILTER;
use crate::Error;
use crate::error::{Result, check_len};
use crate::isa::{Isa, Kernel, Lanes, Simd};
use crate::math;
use crate::par::{Parallel, for_each_part};

/// Local response normalisation across channels of plain images `[N, C, positions]`:
/// `x / (k + alpha / size sum x^2)^beta`, the sum over `size` channels from `c - (size - 1) / 2` on
/// (Krizhevsky et al., "ImageNet classification with deep convolutional neural networks", 2012).
#[derive(Clone, Copy, Debug)]
pub struct LocalResponse {
    isa: Isa,
    shape: [usize; 3],
    size: usize,
    alpha: f32,
    beta: f32,
    k: f32,
}

impl LocalResponse {
    /// For images `[N, C, positions]`.
    ///
    /// # Errors
    /// When `size` is 0.
    pub fn new(isa: Isa, shape: [usize; 3], size: usize, alpha: f32, beta: f32, k: f32) -> Result<Self> {
        if size == 0 {
            return Err(Error::new(FILTER, "size: expected at least one channel, found 0"));
        }
        Ok(Self { isa, shape, size, alpha, beta, k })
    }

    /// `y = normalised(x)`.
    ///
    /// # Errors
    /// When a slice has the wrong length.
    pub fn apply(&self, x: &[f32], y: &mut [f32], par: &dyn Parallel) -> Result<()> {
        let [n, c, positions] = self.shape;
        check_len(FILTER, "x", n * c * positions, x.len())?;
        check_len(FILTER, "y", n * c * positions, y.len())?;
        for_each_part(par, y, positions, &|i, y| {
            let image = &x[i / c * c * positions..(i / c + 1) * c * positions];
            self.isa.dispatch(Channel { filter: self, image, c: i % c, y });
        });
        Ok(())
    }
}

/// One channel of one image.
struct Channel<'a> {
    filter: &'a LocalResponse,
    image: &'a [f32],
    c: usize,
    y: &'a mut [f32],
}

impl Kernel for Channel<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let l = s.pair();
        let Channel { filter: &LocalResponse { shape: [_, channels, positions], size, alpha, beta, k, .. }, .. } = self;
        let from = self.c.saturating_sub((size - 1) / 2);
        let to = (self.c + size / 2).min(channels - 1);
        let part = |c: usize, at: usize, n: usize| &self.image[c * positions + at..c * positions + at + n];
        for (j, y) in self.y.chunks_mut(16).enumerate() {
            let (at, n) = (j * 16, y.len());
            let mut sum = l.zero();
            for c in from..=to {
                let v = l.load_partial(part(c, at, n), 0.0);
                sum = l.mul_add(v, v, sum);
            }
            let base = l.mul_add(sum, l.splat(alpha / size as f32), l.splat(k));
            let v = l.load_partial(part(self.c, at, n), 0.0);
            // The usual exponent needs two square roots and no logarithm.
            let scaled = if beta == 0.75 {
                let root = l.sqrt(base);
                l.div(v, l.mul(root, l.sqrt(root)))
            } else {
                l.mul(v, math::pow_positive(l, base, -beta))
            };
            l.store_partial(y, scaled);
        }
    }
}
