//! Normalisation of contiguous rows, and of lines along any axis by their norm.

use super::{CHUNK, FILTER};
use crate::Error;
use crate::error::{Result, check_len};
use crate::isa::{Isa, Kernel, Lanes, Simd};
use crate::par::{Parallel, for_each_part};

/// The sum over a row by `f`, which adds an element's part to a lane: element `i` in lane `i % 16`, then the fixed tree.
#[inline(always)]
pub(super) fn total<L: Lanes>(l: L, x: &[f32], f: impl Fn(L::V, L::V) -> L::V) -> f32 {
    let mut sum = l.zero();
    let mut vectors = x.chunks_exact(L::N);
    for v in &mut vectors {
        sum = f(sum, l.load_slice(v));
    }
    let tail = vectors.remainder();
    if !tail.is_empty() {
        let whole = f(sum, l.load_partial(tail, 0.0));
        let mut lanes = l.to_array(sum);
        lanes[..tail.len()].copy_from_slice(&l.to_array(whole)[..tail.len()]);
        sum = l.load_slice(&lanes);
    }
    l.sum(sum)
}

/// Layer normalisation `(x - mean) / sqrt(variance + epsilon) scale + bias`, or root-mean-square normalisation
/// `x / sqrt(mean(x^2) + epsilon) scale + bias`, of the rows of `x` `[rows, len]`; scale and bias `[len]`.
#[derive(Clone, Debug)]
pub struct Layer {
    isa: Isa,
    rms: bool,
    rows: usize,
    len: usize,
    epsilon: f32,
}

impl Layer {
    /// Subtracts the mean and divides by the standard deviation.
    pub fn new(isa: Isa, rows: usize, len: usize, epsilon: f32) -> Self {
        Self { isa, rms: false, rows, len, epsilon }
    }

    /// Divides by the root mean square.
    pub fn rms(isa: Isa, rows: usize, len: usize, epsilon: f32) -> Self {
        Self { isa, rms: true, rows, len, epsilon }
    }

    /// `y = normalised(x)`.
    ///
    /// # Errors
    /// When a slice has the wrong length.
    pub fn apply(
        &self,
        x: &[f32],
        scale: Option<&[f32]>,
        bias: Option<&[f32]>,
        y: &mut [f32],
        par: &dyn Parallel,
    ) -> Result<()> {
        check_len(FILTER, "x", self.rows * self.len, x.len())?;
        self.run(Some(x), scale, bias, y, par)
    }

    /// `y = normalised(y)`.
    ///
    /// # Errors
    /// When a slice has the wrong length.
    pub fn apply_in_place(
        &self,
        scale: Option<&[f32]>,
        bias: Option<&[f32]>,
        y: &mut [f32],
        par: &dyn Parallel,
    ) -> Result<()> {
        self.run(None, scale, bias, y, par)
    }

    fn run(
        &self,
        x: Option<&[f32]>,
        scale: Option<&[f32]>,
        bias: Option<&[f32]>,
        y: &mut [f32],
        par: &dyn Parallel,
    ) -> Result<()> {
        for (name, p) in [("scale", scale), ("bias", bias)] {
            p.map_or(Ok(()), |p| check_len(FILTER, name, self.len, p.len()))?;
        }
        check_len(FILTER, "y", self.rows * self.len, y.len())?;
        if y.is_empty() {
            return Ok(());
        }
        let part = CHUNK.div_ceil(self.len) * self.len;
        for_each_part(par, y, part, &|i, y| {
            if let Some(x) = x {
                y.copy_from_slice(&x[i * part..i * part + y.len()]);
            }
            self.isa.dispatch(Rows { filter: self, scale, bias, y });
        });
        Ok(())
    }
}

struct Rows<'a> {
    filter: &'a Layer,
    scale: Option<&'a [f32]>,
    bias: Option<&'a [f32]>,
    y: &'a mut [f32],
}

impl Kernel for Rows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let l = s.pair();
        let Layer { rms, len, epsilon, .. } = *self.filter;
        for row in self.y.chunks_exact_mut(len) {
            let mean = if rms { 0.0 } else { total(l, row, |a, v| l.add(a, v)) / len as f32 };
            let m = l.splat(mean);
            let squares = total(l, row, |a, v| {
                let d = l.sub(v, m);
                l.mul_add(d, d, a)
            });
            let r = l.splat(1.0 / (squares / len as f32 + epsilon).sqrt());
            for (j, y) in row.chunks_mut(L16).enumerate() {
                let at = j * L16..j * L16 + y.len();
                let v = l.mul(l.sub(l.load_partial(y, 0.0), m), r);
                let v = self.scale.map_or(v, |s| l.mul(v, l.load_partial(&s[at.clone()], 0.0)));
                let v = self.bias.map_or(v, |b| l.add(v, l.load_partial(&b[at], 0.0)));
                l.store_partial(y, v);
            }
        }
    }
}

/// Lanes of a pair on every instruction set.
const L16: usize = 16;

/// Lines divided by their norm: `x / max(norm, floor)` along the middle axis of `[outer, len, inner]`; 0 where that divisor is 0.
#[derive(Clone, Copy, Debug)]
pub struct Divide {
    isa: Isa,
    /// Sum of magnitudes instead of the root of the sum of squares.
    magnitudes: bool,
    len: usize,
    inner: usize,
    total: usize,
    floor: f32,
}

impl Divide {
    /// For a tensor of `shape` along `axis`, by the norm of order `p`.
    ///
    /// # Errors
    /// When `p` is neither 1 nor 2 or the axis lies outside.
    pub fn new(isa: Isa, shape: &[usize], axis: usize, p: u8, floor: f32) -> Result<Self> {
        if axis >= shape.len() || !(1..=2).contains(&p) {
            let message =
                format!("axis {axis} of {} dimensions by the norm of order {p}: expected 1 or 2", shape.len());
            return Err(Error::new(FILTER, message));
        }
        let (len, inner) = (shape[axis], shape[axis + 1..].iter().product());
        Ok(Self { isa, magnitudes: p == 1, len, inner, total: shape.iter().product(), floor })
    }

    /// `y = x / norm`.
    ///
    /// # Errors
    /// When a slice has the wrong length.
    pub fn apply(&self, x: &[f32], y: &mut [f32], par: &dyn Parallel) -> Result<()> {
        check_len(FILTER, "x", self.total, x.len())?;
        check_len(FILTER, "y", self.total, y.len())?;
        let slab = self.len * self.inner;
        if slab == 0 {
            return Ok(());
        }
        let part = CHUNK.div_ceil(slab) * slab;
        for_each_part(par, y, part, &|i, y| {
            y.copy_from_slice(&x[i * part..i * part + y.len()]);
            self.isa.dispatch(Slabs { filter: self, y });
        });
        Ok(())
    }
}

struct Slabs<'a> {
    filter: &'a Divide,
    y: &'a mut [f32],
}

impl Kernel for Slabs<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let l = s.pair();
        let Divide { magnitudes, len, inner, floor, .. } = *self.filter;
        let add = |a, v| if magnitudes { l.add(a, l.abs(v)) } else { l.mul_add(v, v, a) };
        let divisor = |sum| l.max(l.splat(floor), if magnitudes { sum } else { l.sqrt(sum) });
        let quotient = |v, d| l.select(l.eq(d, l.zero()), l.zero(), l.div(v, d));
        for slab in self.y.chunks_exact_mut(len * inner) {
            if inner == 1 {
                let d = divisor(l.splat(total(l, slab, add)));
                l.map(slab, |v| quotient(v, d));
                continue;
            }
            for i in (0..inner).step_by(L16) {
                let n = (inner - i).min(L16);
                let mut sum = l.zero();
                for row in slab.chunks_exact(inner) {
                    sum = add(sum, l.load_partial(&row[i..i + n], 0.0));
                }
                let d = divisor(sum);
                for row in slab.chunks_exact_mut(inner) {
                    let v = quotient(l.load_partial(&row[i..i + n], 0.0), d);
                    l.store_partial(&mut row[i..i + n], v);
                }
            }
        }
    }
}
