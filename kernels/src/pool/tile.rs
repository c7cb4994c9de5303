//! Windows over one channel block: strips of four outputs where windows are whole, single ones at the ends of a row.

use super::{Pool, PoolKind};
use crate::isa::{Kernel, Lanes, Simd};
use crate::layout::BLOCK;

/// Pools the blocks from `first` on into `y`, which holds whole blocks.
pub fn run(pool: &Pool, first: usize, x: &[f32], y: &mut [f32]) {
    pool.isa.dispatch(Blocks { pool, first, x, y });
}

struct Blocks<'a> {
    pool: &'a Pool,
    first: usize,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl Kernel for Blocks<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        match self.pool.desc.kind {
            PoolKind::Max => self.each(s.block(), Largest),
            PoolKind::Average { .. } => self.each(s.block(), Mean),
            PoolKind::Norm { p: 1.0 } => self.each(s.block(), Norm1),
            PoolKind::Norm { p: 2.0 } => self.each(s.block(), Norm2),
            PoolKind::Norm { p } => self.each(s.block(), NormP(p)),
        }
    }
}

/// What is made of a window.
trait Fold: Copy {
    /// Whether the usual windows get loops of their own: worth their size for what networks are full of.
    const USUAL: bool = false;
    const START: f32;
    fn add<L: Lanes>(self, l: L, sum: L::V, x: L::V) -> L::V;
    fn end<L: Lanes>(self, l: L, sum: L::V, count: usize) -> L::V;
}

#[derive(Clone, Copy)]
struct Largest;
#[derive(Clone, Copy)]
struct Mean;
#[derive(Clone, Copy)]
struct Norm1;
#[derive(Clone, Copy)]
struct Norm2;
#[derive(Clone, Copy)]
struct NormP(f32);

impl Fold for Largest {
    const USUAL: bool = true;
    const START: f32 = f32::NEG_INFINITY;
    #[inline(always)]
    fn add<L: Lanes>(self, l: L, sum: L::V, x: L::V) -> L::V {
        l.max(x, sum)
    }
    #[inline(always)]
    fn end<L: Lanes>(self, _l: L, sum: L::V, _count: usize) -> L::V {
        sum
    }
}

impl Fold for Mean {
    const USUAL: bool = true;
    const START: f32 = 0.0;
    #[inline(always)]
    fn add<L: Lanes>(self, l: L, sum: L::V, x: L::V) -> L::V {
        l.add(sum, x)
    }
    #[inline(always)]
    fn end<L: Lanes>(self, l: L, sum: L::V, count: usize) -> L::V {
        l.div(sum, l.splat(count.max(1) as f32))
    }
}

impl Fold for Norm1 {
    const START: f32 = 0.0;
    #[inline(always)]
    fn add<L: Lanes>(self, l: L, sum: L::V, x: L::V) -> L::V {
        l.add(sum, l.abs(x))
    }
    #[inline(always)]
    fn end<L: Lanes>(self, _l: L, sum: L::V, _count: usize) -> L::V {
        sum
    }
}

impl Fold for Norm2 {
    const START: f32 = 0.0;
    #[inline(always)]
    fn add<L: Lanes>(self, l: L, sum: L::V, x: L::V) -> L::V {
        l.mul_add(x, x, sum)
    }
    #[inline(always)]
    fn end<L: Lanes>(self, l: L, sum: L::V, _count: usize) -> L::V {
        l.sqrt(sum)
    }
}

impl Fold for NormP {
    const START: f32 = 0.0;
    #[inline(always)]
    fn add<L: Lanes>(self, l: L, sum: L::V, x: L::V) -> L::V {
        l.add(sum, power(l, l.abs(x), self.0))
    }
    #[inline(always)]
    fn end<L: Lanes>(self, l: L, sum: L::V, _count: usize) -> L::V {
        power(l, sum, 1.0 / self.0)
    }
}

/// Rare exponents, lane by lane through `f64`.
#[inline(always)]
fn power<L: Lanes>(l: L, v: L::V, p: f32) -> L::V {
    let mut t = l.to_array(v);
    t[..L::N].iter_mut().for_each(|x| *x = f64::from(*x).powf(f64::from(p)) as f32);
    l.load_slice(&t)
}

impl Blocks<'_> {
    #[inline(always)]
    fn each<L: Lanes, F: Fold>(self, l: L, f: F) {
        let (out, input) = (&self.pool.output, &self.pool.desc.input);
        for (i, y) in self.y.chunks_exact_mut(out.block_len()).enumerate() {
            let block = self.first + i;
            out.clear_halo(y);
            let x = &self.x[block * input.block_len()..][..input.block_len()];
            for line in 0..out.size[0] * out.size[1] {
                let (oz, oy) = (line / out.size[1], line % out.size[1]);
                let start = out.offset(0, 0, [oz, oy, 0]);
                self.pool.line(l, f, x, [oz, oy], &mut y[start..start + out.size[2] * BLOCK]);
            }
            let channels = out.c - block % out.blocks() * BLOCK;
            if channels < BLOCK && f32::is_infinite(F::START) {
                // A window of padding only leaves its start value in the lanes past the last channel, too.
                for line in 0..out.size[0] * out.size[1] {
                    let start = out.offset(0, 0, [line / out.size[1], line % out.size[1], 0]);
                    let row = &mut y[start..start + out.size[2] * BLOCK];
                    row.chunks_exact_mut(BLOCK).for_each(|pixel| pixel[channels..].fill(0.0));
                }
            }
        }
    }
}

/// Outputs of a strip.
const STRIP: usize = 4;

/// A row of outputs: the rows of the image that its windows cover.
#[derive(Clone, Copy)]
struct Line {
    /// Offset of the first row of the first slice, and how many of each.
    start: usize,
    slices: usize,
    rows: usize,
    /// Windows counted over depth and height, for a mean.
    counted: usize,
}

impl Pool {
    #[inline(always)]
    fn line<L: Lanes, F: Fold>(&self, l: L, f: F, x: &[f32], [oz, oy]: [usize; 2], y: &mut [f32]) {
        let (z, v, d) = (self.clips[0][oz], self.clips[1][oy], &self.desc);
        let counts_padding = matches!(d.kind, PoolKind::Average { count_padding: true });
        let line = Line {
            start: d.input.offset(0, 0, [z.at, v.at, 0]),
            slices: if v.taps == 0 { 0 } else { z.taps },
            rows: v.taps,
            counted: if counts_padding { z.counted * v.counted } else { z.taps * v.taps },
        };
        for o in (0..self.whole.start).chain(self.whole.end..self.output.size[2]) {
            let clip = self.clips[2][o];
            let count = line.counted * if counts_padding { clip.counted } else { clip.taps };
            let sums = self.sums::<L, F, 1>(l, f, x, line, clip.at, clip.taps, d.stride[2], d.dilation[2]);
            l.store_slice(&mut y[o * BLOCK..], f.end(l, sums[0], count));
        }
        match (d.kernel[2], d.stride[2], d.dilation[2]) {
            (kernel, stride, dilation) if const { !F::USUAL } => {
                self.strips::<L, F>(l, f, x, line, y, kernel, stride, dilation);
            }
            (2, 2, 1) => self.strips::<L, F>(l, f, x, line, y, 2, 2, 1),
            (3, 2, 1) => self.strips::<L, F>(l, f, x, line, y, 3, 2, 1),
            (3, 1, 1) => self.strips::<L, F>(l, f, x, line, y, 3, 1, 1),
            (5, 1, 1) => self.strips::<L, F>(l, f, x, line, y, 5, 1, 1),
            (kernel, stride, dilation) => self.strips::<L, F>(l, f, x, line, y, kernel, stride, dilation),
        }
    }

    /// The outputs whose windows are not clipped. Inlined with constants for the usual windows, so that their loops unroll.
    #[inline(always)]
    fn strips<L: Lanes, F: Fold>(
        &self,
        l: L,
        f: F,
        x: &[f32],
        line: Line,
        y: &mut [f32],
        kernel: usize,
        stride: usize,
        dilation: usize,
    ) {
        let (mut o, end, before) = (self.whole.start, self.whole.end, self.desc.pads[2].0);
        let count = line.counted * kernel;
        while o + STRIP <= end {
            let sums = self.sums::<L, F, STRIP>(l, f, x, line, o * stride - before, kernel, stride, dilation);
            let y = &mut y[o * BLOCK..(o + STRIP) * BLOCK];
            for p in 0..STRIP {
                l.store_slice(&mut y[p * BLOCK..], f.end(l, sums[p], count));
            }
            o += STRIP;
        }
        while o < end {
            let sums = self.sums::<L, F, 1>(l, f, x, line, o * stride - before, kernel, stride, dilation);
            l.store_slice(&mut y[o * BLOCK..], f.end(l, sums[0], count));
            o += 1;
        }
    }

    /// `P` neighbouring outputs whose windows have the same taps inside the image; `at` is the column of the first one.
    #[inline(always)]
    fn sums<L: Lanes, F: Fold, const P: usize>(
        &self,
        l: L,
        f: F,
        x: &[f32],
        line: Line,
        at: usize,
        taps: usize,
        stride: usize,
        dilation: usize,
    ) -> [L::V; P] {
        let (d, g) = (&self.desc, &self.desc.input);
        let mut sums = [l.splat(F::START); P];
        if taps == 0 {
            return sums;
        }
        let (slice, row) = (d.dilation[0] * g.slice_stride(), d.dilation[1] * g.row_stride());
        let width = ((taps - 1) * dilation + (P - 1) * stride + 1) * BLOCK;
        for z in 0..line.slices {
            for v in 0..line.rows {
                let x = &x[line.start + z * slice + v * row + at * BLOCK..][..width];
                for i in 0..taps {
                    for p in 0..P {
                        // SAFETY: tap `i` of output `p` lies in the row that was sliced just now.
                        let x = unsafe { l.load(x.as_ptr().add((i * dilation + p * stride) * BLOCK)) };
                        sums[p] = f.add(l, sums[p], x);
                    }
                }
            }
        }
        sums
    }
}
