//! Windows over one channel block: strips of four outputs where windows are whole, single ones at the ends of a row.

use super::{Pool, PoolKind};
use crate::isa::{Kernel, Lanes, Simd};
use crate::layout::BLOCK;
use std::ops::Range;

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

impl Pool {
    #[inline(always)]
    fn line<L: Lanes, F: Fold>(&self, l: L, f: F, x: &[f32], [oz, oy]: [usize; 2], y: &mut [f32]) {
        let (z, nz) = self.clip(0, oz);
        let (v, nv) = self.clip(1, oy);
        let counts_padding = matches!(self.desc.kind, PoolKind::Average { count_padding: true });
        let rows = if counts_padding { nz * nv } else { z.len() * v.len() };
        let whole = self.whole();
        let mut o = 0;
        while o < self.output.size[2] {
            let inside = whole.contains(&o);
            let (k, counted) = self.clip(2, o);
            let count = rows * if counts_padding { counted } else { k.len() };
            if inside && o + STRIP <= whole.end {
                self.strip::<L, F, STRIP>(l, f, x, [z.clone(), v.clone(), k], [oz, oy, o], count, y);
                o += STRIP;
            } else {
                self.strip::<L, F, 1>(l, f, x, [z.clone(), v.clone(), k], [oz, oy, o], count, y);
                o += 1;
            }
        }
    }

    /// `P` neighbouring outputs whose windows have the same taps inside the image.
    #[inline(always)]
    fn strip<L: Lanes, F: Fold, const P: usize>(
        &self,
        l: L,
        f: F,
        x: &[f32],
        taps: [Range<usize>; 3],
        at: [usize; 3],
        count: usize,
        y: &mut [f32],
    ) {
        let (d, g) = (&self.desc, &self.desc.input);
        let place = |axis: usize, k: usize| at[axis] * d.stride[axis] + k * d.dilation[axis] - d.pads[axis].0;
        let (step, tap) = (d.stride[2] * BLOCK, d.dilation[2] * BLOCK);
        let mut sums = [l.splat(F::START); P];
        let [z, v, k] = taps;
        if !k.is_empty() {
            for (kz, ky) in z.flat_map(|kz| v.clone().map(move |ky| (kz, ky))) {
                let start = g.offset(0, 0, [place(0, kz), place(1, ky), place(2, k.start)]);
                let row = &x[start..][..(k.len() - 1) * tap + (P - 1) * step + BLOCK];
                for i in 0..k.len() {
                    for p in 0..P {
                        // SAFETY: tap `i` of output `p` lies in the row that was sliced just now.
                        sums[p] = f.add(l, sums[p], unsafe { l.load(row.as_ptr().add(i * tap + p * step)) });
                    }
                }
            }
        }
        let y = &mut y[at[2] * BLOCK..][..P * BLOCK];
        for p in 0..P {
            l.store_slice(&mut y[p * BLOCK..], f.end(l, sums[p], count));
        }
    }
}
