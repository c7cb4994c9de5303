//! Reductions over all positions of blocked images.

use super::Reduction;
use super::plan::FILTER;
use super::vectors::{Accumulate, Visitor, finish_all, with};
use crate::Error;
use crate::error::{Result, check_len};
use crate::isa::{Isa, Kernel, Lanes, Simd};
use crate::layout::{BLOCK, Blocked};
use crate::par::{Parallel, for_each_part};

/// Positions of one parallel chunk: several blocks of small images.
const POSITIONS: usize = 2 * 1024;

/// A reduction of a blocked image `[N, C, D, H, W]` over its positions, to one number a channel.
///
/// The result is blocked (`[N, C, 1, 1, 1]`: `ceil(C / 8) * 8` floats an image, padding channels zero) or plain `[N, C]`.
#[derive(Clone, Copy, Debug)]
pub struct Global {
    isa: Isa,
    op: Reduction,
    x: Blocked,
    blocked: bool,
}

impl Global {
    /// For an image of geometry `x`; `blocked` chooses the form of the result.
    ///
    /// # Errors
    /// For `LogSumExp`, which needs a second pass.
    pub fn new(isa: Isa, op: Reduction, x: Blocked, blocked: bool) -> Result<Self> {
        if op == Reduction::LogSumExp {
            return Err(Error::new(FILTER, "the log-sum-exp of an image is not made in blocks; use a plain tensor"));
        }
        Ok(Self { isa, op, x, blocked })
    }

    /// Floats of the result.
    pub fn outputs(&self) -> usize {
        self.x.n * if self.blocked { self.x.blocks() * BLOCK } else { self.x.c }
    }

    /// Reduces `x` to `y`.
    ///
    /// # Errors
    /// When a slice has the wrong length.
    pub fn apply(&self, x: &[f32], y: &mut [f32], par: &dyn Parallel) -> Result<()> {
        check_len(FILTER, "x", self.x.len(), x.len())?;
        check_len(FILTER, "y", self.outputs(), y.len())?;
        let image = if self.blocked { self.x.blocks() * BLOCK } else { self.x.c };
        // Parts are whole blocks of one image, or whole images where a block would straddle two.
        let blocks = POSITIONS.div_ceil(self.x.positions().max(1)).min(self.x.blocks().max(1));
        let part = if image.is_multiple_of(blocks * BLOCK) { blocks * BLOCK } else { image };
        for_each_part(par, y, part, &|i, y| {
            let first = i * part / image.max(1) * self.x.blocks() + i * part % image.max(1) / BLOCK;
            for (j, y) in y.chunks_mut(BLOCK).enumerate() {
                let len = self.x.block_len();
                let x = &x[(first + j) * len..(first + j + 1) * len];
                self.isa.dispatch(Block { filter: self, x, y });
                let used = (self.x.c - (first + j) % self.x.blocks() * BLOCK).min(BLOCK);
                if used < y.len() {
                    y[used..].fill(0.0);
                }
            }
        });
        Ok(())
    }
}

/// One channel block.
struct Block<'a> {
    filter: &'a Global,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl Kernel for Block<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        with(self.filter.op, Typed { l: s.block(), block: &mut self });
        finish_all(s.block(), self.filter.op, self.filter.x.positions(), self.y);
    }
}

struct Typed<'a, 'b, L> {
    l: L,
    block: &'a mut Block<'b>,
}

impl<L: Lanes> Visitor for Typed<'_, '_, L> {
    /// Four accumulators by position in the row, so that additions overlap.
    #[inline(always)]
    fn visit<A: Accumulate>(self, acc: A) {
        let (l, Block { filter, x, y }) = (self.l, self.block);
        let g = &filter.x;
        let mut a = [l.splat(A::NEUTRAL); 4];
        for z in 0..g.size[0] {
            for row in 0..g.size[1] {
                let at = g.offset(0, 0, [z, row, 0]);
                let row = &x[at..at + g.size[2] * BLOCK];
                let mut fours = row.chunks_exact(4 * BLOCK);
                for four in &mut fours {
                    for k in 0..4 {
                        a[k] = acc.step(l, a[k], l.load_slice(&four[k * BLOCK..]));
                    }
                }
                for (k, v) in fours.remainder().chunks_exact(BLOCK).enumerate() {
                    a[k] = acc.step(l, a[k], l.load_slice(v));
                }
            }
        }
        let v = acc.join(l, acc.join(l, a[0], a[1]), acc.join(l, a[2], a[3]));
        l.store_partial(y, v);
    }
}
