//! An activation of a run of floats, and of pixels that lie anywhere: what a tile has just stored.

use super::{Activation, Function, Visitor, vector, with};
use crate::isa::{Isa, Kernel, Lanes, Simd};
use crate::layout::BLOCK;

/// `y = f(y)` for the pixels at the floats `at` of `blocks` channel blocks, `step` floats apart, on the calling thread.
///
/// # Safety
/// Eight floats at `y + b * step + a`, for every block `b` and every `a` of `at`, must be writable and nobody else's.
pub unsafe fn pixels(isa: Isa, function: &Activation, y: *mut f32, at: &[usize], blocks: usize, step: usize) {
    isa.dispatch(Pixels { function, y, at, blocks, step });
}

/// `y = f(x)` over slices of equal length on the calling thread: what a fused kernel runs over a hot row.
///
/// # Panics
/// When the lengths differ.
pub fn slices(isa: Isa, function: &Activation, x: &[f32], y: &mut [f32]) {
    assert_eq!(x.len(), y.len());
    isa.dispatch(Run { function, x: x.as_ptr(), y: y.as_mut_ptr(), len: y.len() });
}

/// `y = f(y)` over a slice on the calling thread.
pub fn in_place(isa: Isa, function: &Activation, y: &mut [f32]) {
    let (p, len) = (y.as_mut_ptr(), y.len());
    isa.dispatch(Run { function, x: p, y: p, len });
}

/// `len` floats are readable at `x` and writable at `y`, nobody else's; the two are one run or apart.
struct Run<'a> {
    function: &'a Activation,
    x: *const f32,
    y: *mut f32,
    len: usize,
}

impl Kernel for Run<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        if const { S::WIDE } { self.over(s.pair()) } else { self.over(s.block()) }
    }
}

impl Run<'_> {
    /// The common functions have a loop of their own over whole vectors. What is left, the tail or a rare function, goes through the one
    /// loop that knows all functions: they stand in the program once.
    #[inline(always)]
    fn over<L: Lanes>(self, l: L) {
        let mut at = with(self.function, Whole { l, run: &self });
        while at < self.len {
            let n = (self.len - at).min(L::N);
            // SAFETY: `n` floats from `at` on lie inside the run; they are read before they are written.
            unsafe {
                let (x, y) = (self.x.add(at), self.y.add(at));
                let v = if n == L::N { l.load(x) } else { l.load_partial(std::slice::from_raw_parts(x, n), 0.0) };
                let v = vector(l, self.function, v);
                if n == L::N { l.store(y, v) } else { l.store_partial(std::slice::from_raw_parts_mut(y, n), v) }
            }
            at += n;
        }
    }
}

struct Whole<'a, L> {
    l: L,
    run: &'a Run<'a>,
}

impl<L: Lanes> Visitor for Whole<'_, L> {
    /// How many floats are done.
    type Output = usize;
    #[inline(always)]
    fn visit<F: Function>(self, f: F) -> usize {
        let (Self { l, run: &Run { x, y, len, .. } }, mut at) = (self, 0);
        while F::COMMON && at + L::N <= len {
            // SAFETY: a whole vector from `at` on lies inside the run.
            unsafe { l.store(y.add(at), f.eval(l, l.load(x.add(at)))) };
            at += L::N;
        }
        at
    }
}

struct Pixels<'a> {
    function: &'a Activation,
    y: *mut f32,
    at: &'a [usize],
    blocks: usize,
    step: usize,
}

impl Kernel for Pixels<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        if const { S::WIDE } {
            with(self.function, Walk { l: s.pair(), pixels: &self });
        } else {
            with(self.function, Walk { l: s.block(), pixels: &self });
        }
    }
}

struct Walk<'a, L> {
    l: L,
    pixels: &'a Pixels<'a>,
}

impl<L: Lanes> Visitor for Walk<'_, L> {
    type Output = ();
    #[inline(always)]
    fn visit<F: Function>(self, f: F) {
        let (Self { l, pixels: &Pixels { y, at, blocks, step, .. } }, together) = (self, L::N / BLOCK);
        for first in (0..blocks).step_by(together) {
            // A last block without a second one is computed twice over.
            let second = if first + together <= blocks { step } else { 0 };
            for &a in at {
                // SAFETY: pixels of blocks that exist, as promised by `pixels`.
                unsafe {
                    let p = y.add(first * step + a);
                    let v = f.eval(l, l.load_blocks(p, second));
                    l.store_blocks(p, second, v);
                }
            }
        }
    }
}
