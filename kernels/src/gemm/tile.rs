//! The matrix tile that convolutions and products share.
//!
//! A tile is `MR` rows (pixels) times `NV` vectors of outputs, all sums in registers. Its inner dimension is a list of
//! [`Run`]s: stretches of neighbouring floats of a row. Weights are packed in the order in which the runs are walked, one
//! panel of outputs after the other, so that each step of the inner dimension loads `NV` vectors of weights and
//! multiplies them with one broadcast float a row. Every sum is one chain, from its start value through the runs in order,
//! whatever the tile: the result's bits do not depend on `MR`, `NV` or the vector.

use crate::isa::Lanes;
use crate::layout::BLOCK;

/// A stretch of the inner dimension: `len` neighbouring floats, `offset` floats after a row's base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Floats from a row's base.
    pub offset: u32,
    /// Floats.
    pub len: usize,
}

/// Where the rows of a tile lie.
pub trait Rows: Copy {
    /// Most rows of a tile of this kind.
    const MOST: usize;
    /// Floats from the tile's base to row `m`.
    fn at(&self, m: usize) -> usize;
}

/// Rows a constant number of floats apart.
#[derive(Clone, Copy)]
pub struct Even(pub usize);

/// Most rows of any tile.
pub const TALL: usize = 14;

impl Rows for Even {
    const MOST: usize = TALL;
    #[inline(always)]
    fn at(&self, m: usize) -> usize {
        m * self.0
    }
}

/// Rows anywhere, at most `N`.
#[derive(Clone, Copy)]
pub struct Listed<'a, const N: usize>(pub &'a [usize; N]);

/// Most rows of a tile whose input is [`Listed`]: their addresses stay in registers.
pub const LISTED: usize = 8;

impl<const N: usize> Rows for Listed<'_, N> {
    const MOST: usize = N;
    #[inline(always)]
    fn at(&self, m: usize) -> usize {
        self.0[m]
    }
}

/// Rows that are neighbouring pixels of a channel block: their addresses take no registers.
#[derive(Clone, Copy)]
pub struct Near;

impl Rows for Near {
    const MOST: usize = TALL;
    #[inline(always)]
    fn at(&self, m: usize) -> usize {
        m * BLOCK
    }
}

/// What a tile asks for while it multiplies: cache lines that come next. In a network weights are read once an inference and images are
/// larger than the second-level cache, so both come from far; asked for here, they arrive while products keep the units busy.
#[derive(Clone, Copy)]
pub struct Ahead {
    from: *const f32,
    /// Floats from one group of steps to the next: 0 asks for the same lines again, which costs next to nothing.
    stride: usize,
    /// Floats from a row to that of a later tile, when that is what is asked for; else 0.
    later: usize,
}

/// Floats of a cache line.
const LINE: usize = 16;
/// Lines that a group of [`UNROLL`] steps asks for.
const ASKED: usize = 4;

impl Ahead {
    /// Nothing is asked for but what is there already.
    pub fn nothing(near: *const f32) -> Self {
        Self { from: near, stride: 0, later: 0 }
    }
    /// The share of tile `tile` of the `floats` weights at `next`; each tile has `steps` steps.
    pub fn weights(next: *const f32, floats: usize, steps: usize, tile: usize) -> Self {
        let each = steps / UNROLL * ASKED * LINE;
        if tile * each >= floats {
            return Self::nothing(next);
        }
        Self { from: next.wrapping_add(tile * each), stride: ASKED * LINE, later: 0 }
    }
    /// The rows of the tile that is `later` floats away; for runs of one channel block.
    pub fn rows(later: usize) -> Self {
        Self { from: std::ptr::null(), stride: ASKED * LINE, later }
    }
    /// A run begins at `p`.
    #[inline(always)]
    fn enter(&mut self, p: *const f32) {
        if self.later > 0 {
            self.from = p.wrapping_add(self.later);
        }
    }
    #[inline(always)]
    fn ask<L: Lanes>(&mut self, l: L) {
        for i in 0..ASKED {
            l.prefetch(self.from.wrapping_add(i * LINE));
        }
        self.from = self.from.wrapping_add(self.stride);
    }
}

/// Adds the products of one tile to `sums`.
///
/// # Safety
/// For every row `m < MR` and run, `x + rows.at(m) + run.offset` must be readable for `run.len` floats; `w + v * panel`, for `v < NV`,
/// must be readable for `L::N` floats at every `W`-th float for each step of the inner dimension.
#[inline(always)]
pub unsafe fn multiply<L: Lanes, R: Rows, const MR: usize, const NV: usize, const W: usize>(
    l: L,
    x: *const f32,
    rows: R,
    runs: &[Run],
    w: *const f32,
    panel: usize,
    mut ahead: Ahead,
    sums: &mut [[L::V; NV]; MR],
) {
    let mut acc = *sums;
    let mut w = w;
    for run in runs {
        // SAFETY: inside the rows, as promised.
        unsafe {
            let mut p = x.add(run.offset as usize);
            ahead.enter(p);
            let mut left = run.len;
            while left >= UNROLL {
                ahead.ask(l);
                for i in 0..UNROLL {
                    step(l, p.add(i), rows, w.add(i * W), panel, &mut acc);
                }
                p = p.add(UNROLL);
                w = w.add(UNROLL * W);
                left -= UNROLL;
            }
            while left > 0 {
                step(l, p, rows, w, panel, &mut acc);
                p = p.add(1);
                w = w.add(W);
                left -= 1;
            }
        }
    }
    *sums = acc;
}

const UNROLL: usize = 4;

/// One step of the inner dimension.
///
/// # Safety
/// As [`multiply`], for one float a row.
#[inline(always)]
unsafe fn step<L: Lanes, R: Rows, const MR: usize, const NV: usize>(
    l: L,
    x: *const f32,
    rows: R,
    w: *const f32,
    panel: usize,
    acc: &mut [[L::V; NV]; MR],
) {
    // SAFETY: as promised.
    let b: [L::V; NV] = std::array::from_fn(|v| unsafe { l.load(w.add(v * panel)) });
    for m in 0..MR {
        // SAFETY: as promised.
        let a = l.splat(unsafe { *x.add(rows.at(m)) });
        for v in 0..NV {
            acc[m][v] = l.mul_add(a, b[v], acc[m][v]);
        }
    }
}
