//! An activation of pixels that lie anywhere: what a tile has just stored.

use super::{Activation, Function, Visitor, with};
use crate::isa::{Isa, Kernel, Lanes, Simd};
use crate::layout::BLOCK;

/// `y = f(y)` for the pixels at the floats `at` of `blocks` channel blocks, `step` floats apart, on the calling thread.
///
/// # Safety
/// Eight floats at `y + b * step + a`, for every block `b` and every `a` of `at`, must be writable and nobody else's.
pub unsafe fn pixels(isa: Isa, function: &Activation, y: *mut f32, at: &[usize], blocks: usize, step: usize) {
    isa.dispatch(Pixels { function, y, at, blocks, step });
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
