//! Softmax, log-softmax and hardmax along one axis.
//!
//! Each line of the axis is read three times: its largest element, the sum of the exponentials of what remains when that is
//! taken away, and the quotient. A line of contiguous elements is summed in sixteen lanes and one fixed tree; across an inner
//! axis each lane holds a line of its own.

use crate::error::{Result, check_len};
use crate::isa::{Isa, Kernel, Lanes, Simd};
use crate::math;
use crate::par::{Parallel, for_each_part};

const FILTER: &str = "softmax";

/// Elements that make a parallel chunk worth its hand-over.
const CHUNK: usize = 4 * 1024;

/// What is computed along the axis.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Kind {
    /// `e^(x - max) / sum e^(x - max)`.
    Softmax,
    /// `x - max - ln(sum e^(x - max))`.
    LogSoftmax,
    /// 1 at the first largest element (a NaN is the largest), 0 elsewhere.
    Hardmax,
}

/// Softmax of a row-major tensor `[outer, len, inner]` along its middle axis.
///
/// A line with NaN or positive infinity, or of nothing but negative infinities, gives NaN as the formula does.
///
/// ```
/// use pocketnn_kernels::{isa::Isa, par::Serial, softmax::{Kind, Softmax}};
/// let softmax = Softmax::new(Isa::detect(), Kind::Softmax, 1, 2, 1);
/// let mut y = [0.0; 2];
/// softmax.apply(&[3.0, 3.0], &mut y, &Serial)?;
/// assert_eq!(y, [0.5, 0.5]);
/// # Ok::<(), pocketnn_kernels::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Softmax {
    isa: Isa,
    kind: Kind,
    outer: usize,
    len: usize,
    inner: usize,
}

impl Softmax {
    /// For a tensor `[outer, len, inner]`.
    pub fn new(isa: Isa, kind: Kind, outer: usize, len: usize, inner: usize) -> Self {
        Self { isa, kind, outer, len, inner }
    }

    /// For a tensor of `shape` along `axis`.
    ///
    /// # Panics
    /// When `axis` is not below the rank.
    pub fn along(isa: Isa, kind: Kind, shape: &[usize], axis: usize) -> Self {
        Self::new(isa, kind, shape[..axis].iter().product(), shape[axis], shape[axis + 1..].iter().product())
    }

    /// `y = softmax(x)`.
    ///
    /// # Errors
    /// When a slice has the wrong length.
    pub fn apply(&self, x: &[f32], y: &mut [f32], par: &dyn Parallel) -> Result<()> {
        check_len(FILTER, "x", self.outer * self.len * self.inner, x.len())?;
        self.run(Some(x), y, par)
    }

    /// `y = softmax(y)`.
    ///
    /// # Errors
    /// When the slice has the wrong length.
    pub fn apply_in_place(&self, y: &mut [f32], par: &dyn Parallel) -> Result<()> {
        self.run(None, y, par)
    }

    fn run(&self, x: Option<&[f32]>, y: &mut [f32], par: &dyn Parallel) -> Result<()> {
        check_len(FILTER, "y", self.outer * self.len * self.inner, y.len())?;
        let slab = self.len * self.inner;
        if slab == 0 {
            return Ok(());
        }
        let part = CHUNK.div_ceil(slab) * slab;
        for_each_part(par, y, part, &|i, y| {
            if let Some(x) = x {
                y.copy_from_slice(&x[i * part..i * part + y.len()]);
            }
            self.isa.dispatch(Part { filter: self, y });
        });
        Ok(())
    }
}

/// Whole slabs of `len * inner` elements.
struct Part<'a> {
    filter: &'a Softmax,
    y: &'a mut [f32],
}

impl Kernel for Part<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Softmax { kind, len, inner, .. } = *self.filter;
        let l = s.pair();
        for slab in self.y.chunks_exact_mut(len * inner) {
            match (kind, inner) {
                (Kind::Hardmax, _) => hardmax(slab, inner),
                (_, 1) => line(l, kind == Kind::LogSoftmax, slab),
                _ => lines(l, kind == Kind::LogSoftmax, slab, inner),
            }
        }
    }
}

/// One contiguous line.
#[inline(always)]
fn line<L: Lanes>(l: L, log: bool, y: &mut [f32]) {
    let mut top = l.splat(f32::NEG_INFINITY);
    for c in y.chunks(L::N) {
        let v = if c.len() == L::N { l.load_slice(c) } else { l.load_partial(c, f32::NEG_INFINITY) };
        top = l.max(top, v);
    }
    let max = l.splat(l.max_lane(top));
    let mut sum = l.zero();
    for c in y.chunks_mut(L::N) {
        let full = c.len() == L::N;
        let d = l.sub(if full { l.load_slice(c) } else { l.load_partial(c, f32::NEG_INFINITY) }, max);
        let e = math::exp(l, d);
        sum = l.add(sum, e);
        let v = if log { d } else { e };
        if full { l.store_slice(c, v) } else { l.store_partial(c, v) }
    }
    let sum = l.splat(l.sum(sum));
    let shift = if log { math::log(l, sum) } else { sum };
    l.map(y, |v| if log { l.sub(v, shift) } else { l.div(v, shift) });
}

/// Lines side by side: element `k` of all of them is `y[k * inner ..]`.
#[inline(always)]
fn lines<L: Lanes>(l: L, log: bool, y: &mut [f32], inner: usize) {
    for i in (0..inner).step_by(L::N) {
        let n = (inner - i).min(L::N);
        let mut max = l.splat(f32::NEG_INFINITY);
        for row in y.chunks_exact(inner) {
            max = l.max(max, read(l, &row[i..i + n]));
        }
        let mut sum = l.zero();
        for row in y.chunks_exact_mut(inner) {
            let d = l.sub(read(l, &row[i..i + n]), max);
            let e = math::exp(l, d);
            sum = l.add(sum, e);
            write(l, &mut row[i..i + n], if log { d } else { e });
        }
        let shift = if log { math::log(l, sum) } else { sum };
        for row in y.chunks_exact_mut(inner) {
            let v = read(l, &row[i..i + n]);
            write(l, &mut row[i..i + n], if log { l.sub(v, shift) } else { l.div(v, shift) });
        }
    }
}

#[inline(always)]
fn read<L: Lanes>(l: L, x: &[f32]) -> L::V {
    if x.len() == L::N { l.load_slice(x) } else { l.load_partial(x, 0.0) }
}

#[inline(always)]
fn write<L: Lanes>(l: L, y: &mut [f32], v: L::V) {
    if y.len() == L::N { l.store_slice(y, v) } else { l.store_partial(y, v) }
}

fn hardmax(y: &mut [f32], inner: usize) {
    let len = y.len() / inner;
    for i in 0..inner {
        let beyond = |a: f32, b: f32| !b.is_nan() && (a.is_nan() || a > b);
        let best = (1..len).fold(0, |best, k| if beyond(y[k * inner + i], y[best * inner + i]) { k } else { best });
        (0..len).for_each(|k| y[k * inner + i] = if k == best { 1.0 } else { 0.0 });
    }
}
