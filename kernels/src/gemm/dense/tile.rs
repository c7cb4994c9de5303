//! One row times packed weights.

use super::panel_lanes;
use crate::activation::{self, Activation};
use crate::isa::{Isa, Kernel, Lanes, Simd};
use crate::layout::BLOCK;
use half::{bf16, f16};

/// A stored weight, widened exactly to `f32`.
pub trait Stored: Copy {
    /// Widens `L::N` weights.
    ///
    /// # Safety
    /// `p` must be valid for reading `L::N` weights.
    unsafe fn widen<L: Lanes>(l: L, p: *const Self) -> L::V;
}

macro_rules! stored {
    ($($ty:ty, $load:ident;)*) => {
        $(impl Stored for $ty {
            #[inline(always)]
            unsafe fn widen<L: Lanes>(l: L, p: *const Self) -> L::V {
                // SAFETY: as promised.
                unsafe { l.$load(p) }
            }
        })*
    };
}
stored! { f32, load; f16, load_f16; bf16, load_bf16; i8, load_i8; }

/// A row of the input and a range of outputs.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    pub isa: Isa,
    pub x: &'a [f32],
    /// Outputs of the whole layer.
    pub columns: usize,
    /// First output, at the start of a panel.
    pub first: usize,
    pub bias: &'a [f32],
    pub scales: Option<&'a [f32]>,
    pub activation: Activation,
    /// From the last panel to the first one.
    pub backwards: bool,
}

impl Row<'_> {
    /// Computes the outputs `first .. first + y.len()`.
    pub fn run<T: Stored>(self, weights: &[T], y: &mut [f32]) {
        self.isa.dispatch(Panels { row: self, weights, y });
        if self.activation != Activation::Identity {
            activation::in_place(self.isa, &self.activation, y);
        }
    }
}

struct Panels<'a, T> {
    row: Row<'a>,
    weights: &'a [T],
    y: &'a mut [f32],
}

impl<T: Stored> Kernel for Panels<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (row, k) = (self.row, self.row.x.len());
        // Wide registers take two panels at once: eight chains hide the latency.
        let group = if const { S::WIDE } { 4 * BLOCK } else { 2 * BLOCK };
        let groups = self.y.len().div_ceil(group);
        for i in 0..groups {
            let at = group * if row.backwards { groups - 1 - i } else { i };
            let first = row.first + at;
            let y = &mut self.y[at..];
            if const { S::WIDE } && y.len() >= group {
                row.panel::<_, T, 2>(s.pair(), &self.weights[first * k..], first, &mut y[..group]);
                continue;
            }
            let len = y.len().min(group);
            for (j, y) in y[..len].chunks_mut(2 * BLOCK).enumerate() {
                let first = first + j * 2 * BLOCK;
                let panel = &self.weights[first * k..];
                if panel_lanes(first, row.columns) == BLOCK {
                    row.panel::<_, T, 1>(s.block(), panel, first, y);
                } else {
                    row.panel::<_, T, 1>(s.pair(), panel, first, y);
                }
            }
        }
    }
}

/// Interleaved chains of one sum.
const CHAINS: usize = 4;

impl Row<'_> {
    /// `NV` neighbouring panels of `L::N` outputs.
    #[inline(always)]
    fn panel<L: Lanes, T: Stored, const NV: usize>(&self, l: L, weights: &[T], first: usize, y: &mut [f32]) {
        let k = self.x.len();
        let weights = weights[..NV * k * L::N].as_ptr();
        let mut sums = [[l.zero(); NV]; CHAINS];
        let (steps, rest) = self.x.as_chunks::<CHAINS>();
        for (i, x) in steps.iter().enumerate() {
            for c in 0..CHAINS {
                let a = l.splat(x[c]);
                for v in 0..NV {
                    // SAFETY: step `i * CHAINS + c` of panel `v`, inside the slice taken above.
                    let w = unsafe { T::widen(l, weights.add((v * k + i * CHAINS + c) * L::N)) };
                    sums[c][v] = l.mul_add(a, w, sums[c][v]);
                }
            }
        }
        for (c, &x) in rest.iter().enumerate() {
            for v in 0..NV {
                // SAFETY: as above.
                let w = unsafe { T::widen(l, weights.add((v * k + steps.len() * CHAINS + c) * L::N)) };
                sums[c][v] = l.mul_add(l.splat(x), w, sums[c][v]);
            }
        }
        for v in 0..NV {
            let sum = l.add(l.add(sums[0][v], sums[1][v]), l.add(sums[2][v], sums[3][v]));
            let bias = l.load_slice(&self.bias[first + v * L::N..]);
            let total = match self.scales {
                Some(s) => l.mul_add(sum, l.load_slice(&s[first + v * L::N..]), bias),
                None => l.add(sum, bias),
            };
            let y = &mut y[v * L::N..];
            if y.len() >= L::N { l.store_slice(y, total) } else { l.store_partial(y, total) }
        }
    }
}
