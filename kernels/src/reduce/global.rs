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
            self.isa.dispatch(Blocks { filter: self, x: &x[first * self.x.block_len()..], y: &mut *y });
            for (j, y) in y.chunks_mut(BLOCK).enumerate() {
                let used = (self.x.c - (first + j) % self.x.blocks() * BLOCK).min(BLOCK);
                if used < y.len() {
                    y[used..].fill(0.0);
                }
            }
        });
        Ok(())
    }
}

/// Some channel blocks, and more of the image behind them.
struct Blocks<'a> {
    filter: &'a Global,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl Kernel for Blocks<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        with(self.filter.op, Typed { l: s.block(), blocks: &mut self });
        finish_all(s.block(), self.filter.op, self.filter.x.positions(), self.y);
    }
}

struct Typed<'a, 'b, L> {
    l: L,
    blocks: &'a mut Blocks<'b>,
}

/// Blocks that are reduced together.
const TOGETHER: usize = 2;

impl<L: Lanes> Visitor for Typed<'_, '_, L> {
    #[inline(always)]
    fn visit<A: Accumulate>(self, acc: A) {
        let Blocks { filter, x, y } = self.blocks;
        let len = filter.x.block_len();
        for (i, y) in y.chunks_mut(TOGETHER * BLOCK).enumerate() {
            let x = &x[i * TOGETHER * len..];
            if y.len() > BLOCK {
                reduce::<L, A, TOGETHER>(self.l, acc, &filter.x, x, y);
            } else {
                reduce::<L, A, 1>(self.l, acc, &filter.x, x, y);
            }
        }
    }
}

/// The first `N` blocks of `x`. Four accumulators a block by position in the row, so that additions overlap; a narrow row fills the first ones
/// mostly, which the other block makes up for.
#[inline(always)]
fn reduce<L: Lanes, A: Accumulate, const N: usize>(l: L, acc: A, g: &Blocked, x: &[f32], y: &mut [f32]) {
    let (len, width) = (g.block_len(), g.size[2] * BLOCK);
    let mut a = [[l.splat(A::NEUTRAL); 4]; N];
    for z in 0..g.size[0] {
        for row in 0..g.size[1] {
            let at = g.offset(0, 0, [z, row, 0]);
            let fours = width / (4 * BLOCK) * (4 * BLOCK);
            for b in 0..N {
                let (many, rest) = x[b * len + at..][..width].split_at(fours);
                for four in many.chunks_exact(4 * BLOCK) {
                    for k in 0..4 {
                        a[b][k] = acc.step(l, a[b][k], l.load_slice(&four[k * BLOCK..]));
                    }
                }
                // Constant places, so that the accumulators stay in registers.
                for k in 0..3 {
                    if k * BLOCK < rest.len() {
                        a[b][k] = acc.step(l, a[b][k], l.load_slice(&rest[k * BLOCK..]));
                    }
                }
            }
        }
    }
    for (y, a) in y.chunks_mut(BLOCK).zip(a) {
        let v = acc.join(l, acc.join(l, a[0], a[1]), acc.join(l, a[2], a[3]));
        l.store_partial(y, v);
    }
}
