//! Strips of neighbouring outputs of a row, their sums in registers.
//!
//! With stride and dilation 1 a vector of sixteen lanes is two neighbouring pixels of a block, and every input vector of a kernel
//! row is loaded once for all the outputs that it touches. Otherwise a vector is one pixel, and the input is an operand
//! in memory of the multiply-add. A strip has enough sums to hide the latency, and the weights of a kernel row stay in registers
//! for the whole strip.

use super::super::Residual;
use super::Depthwise;
use crate::activation;
use crate::isa::{Isa, Kernel, Lanes, Simd};
use crate::layout::{BLOCK, Blocked};
use crate::par::Parallel;

/// How the rows of all blocks are cut.
#[derive(Clone, Copy)]
pub struct Cut {
    /// Ranges of rows of a block.
    pub bands: usize,
    /// Chunks, each some bands.
    pub chunks: usize,
}

#[derive(Clone, Copy)]
struct Memory {
    x: *const f32,
    y: *mut f32,
    /// Null without a residual.
    r: *const f32,
    r_geometry: Blocked,
}

// SAFETY: chunks read `x`, write disjoint rows of `y`, and read of `r` (which may be `y`) only what they write themselves.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

/// Runs all chunks. Lengths were checked against the geometry of `conv`.
pub fn run(conv: &Depthwise, isa: Isa, cut: Cut, x: &[f32], y: &mut [f32], residual: Residual<'_>, par: &dyn Parallel) {
    let out = y.as_mut_ptr();
    let (r, r_geometry) = match residual {
        Residual::None => (std::ptr::null(), conv.y),
        Residual::Add(r) => (r.as_ptr(), conv.residual.unwrap_or(conv.y)),
        Residual::Output => (out.cast_const(), conv.y),
    };
    let memory = Memory { x: x.as_ptr(), y: out, r, r_geometry };
    par.run(cut.chunks, &|index| isa.dispatch(Chunk { conv, memory: &memory, cut, index }));
}

struct Chunk<'a> {
    conv: &'a Depthwise,
    memory: &'a Memory,
    cut: Cut,
    index: usize,
}

impl Kernel for Chunk<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Cut { bands, chunks } = self.cut;
        let (conv, y) = (self.conv, &self.conv.y);
        let all = y.n * y.blocks() * bands;
        let lines = y.size[0] * y.size[1];
        for unit in self.index * all / chunks..(self.index + 1) * all / chunks {
            let (block, band) = (unit / bands, unit % bands);
            if band == 0 {
                let base = block * y.block_len();
                // SAFETY: the halo of a block, which only this chunk touches.
                y.halo_parts(|start, len| unsafe { self.memory.y.add(base + start).write_bytes(0, len) });
            }
            for line in band * lines / bands..(band + 1) * lines / bands {
                let row = Row::new(conv, self.memory, block, line);
                let dense = conv.step[2] == BLOCK && conv.tap[2] == BLOCK;
                if const { S::ROWS > 2 } && dense && conv.kernel[2] == 3 {
                    row.pairs::<S, 3>(s);
                } else if const { S::ROWS > 2 } && dense && conv.kernel[2] == 5 {
                    row.pairs::<S, 5>(s);
                } else {
                    row.strips::<S, _, 0>(s.block(), 0, y.size[2]);
                }
                row.finish();
            }
        }
    }
}

/// One row of outputs of one block.
struct Row<'a> {
    conv: &'a Depthwise,
    x: *const f32,
    y: *mut f32,
    r: *const f32,
    weights: *const f32,
    bias: *const f32,
    clamp: Option<(f32, f32)>,
    /// First lane past the last channel, when such lanes must be cleared.
    tail: usize,
}

/// Most vectors of a strip.
const STRIP: usize = 8;

impl<'a> Row<'a> {
    #[inline(always)]
    fn new(conv: &'a Depthwise, memory: &Memory, block: usize, line: usize) -> Self {
        let (y, height) = (&conv.y, conv.y.size[1]);
        let at = [line / height, line % height, 0];
        let (image, channel) = (block / y.blocks(), block % y.blocks());
        let taps: usize = conv.kernel.iter().product();
        let ends_inside = (channel + 1) * BLOCK > y.c && !conv.activation.keeps_zero();
        // SAFETY: a row of block `block` of each tensor, whose lengths were checked.
        unsafe {
            let x = block * conv.x.block_len() + conv.first + at[0] * conv.step[0] + at[1] * conv.step[1];
            let r = memory.r_geometry.offset(image, channel, at);
            Self {
                conv,
                x: memory.x.add(x),
                y: memory.y.add(y.offset(image, channel, at)),
                r: if memory.r.is_null() { memory.r } else { memory.r.add(r) },
                weights: conv.weights.data[channel * taps * BLOCK..][..taps * BLOCK].as_ptr(),
                bias: conv.weights.bias[channel * BLOCK..][..BLOCK].as_ptr(),
                clamp: conv.activation.as_clamp(),
                tail: if ends_inside { y.c - channel * BLOCK } else { BLOCK },
            }
        }
    }

    /// Stride and dilation 1, kernels of `KW` columns: vectors of two pixels, the last odd pixel alone.
    #[inline(always)]
    fn pairs<S: Simd, const KW: usize>(&self, s: S) {
        let width = self.conv.y.size[2];
        self.strips::<S, _, KW>(s.pair(), 0, width / 2);
        if width % 2 == 1 {
            self.strips::<S, _, KW>(s.block(), width - 1, 1);
        }
    }
    /// `count` vectors of outputs from pixel `from` on.
    #[inline(always)]
    #[allow(clippy::collapsible_match)]
    fn strips<S: Simd, L: Lanes, const KW: usize>(&self, l: L, from: usize, count: usize) {
        // Instruction sets with few registers take short strips.
        let most = if S::ROWS > 2 { STRIP } else { 2 };
        let strips = count.div_ceil(most);
        for t in 0..strips {
            let (first, end) = (t * count / strips, (t + 1) * count / strips);
            let pixel = from + first * (L::N / BLOCK);
            // SAFETY: the vectors lie inside the row.
            unsafe {
                // The constant condition keeps long strips from being compiled for instruction sets that never use them.
                macro_rules! by_length {
                    ($($n:literal)*) => {
                        match end - first {
                            1 => self.strip::<L, 1, KW>(l, pixel),
                            2 => self.strip::<L, 2, KW>(l, pixel),
                            $($n => if const { S::ROWS > 2 } { self.strip::<L, $n, KW>(l, pixel) },)*
                            _ => {}
                        }
                    };
                }
                by_length!(3 4 5 6 7 8);
            }
        }
    }

    /// `P` vectors of outputs from pixel `pixel` on.
    ///
    /// # Safety
    /// They must lie inside the row.
    #[inline(always)]
    unsafe fn strip<L: Lanes, const P: usize, const KW: usize>(&self, l: L, pixel: usize) {
        let conv = self.conv;
        let (step, tap) = if KW > 0 { (BLOCK, BLOCK) } else { (conv.step[2], conv.tap[2]) };
        let vector = step * (L::N / BLOCK);
        // SAFETY: taps of these outputs lie in the input, halo included; `load_blocks(_, 0)` gives both pixels the same weights.
        unsafe {
            let mut sums = [l.load_blocks(self.bias, 0); P];
            let mut w = self.weights;
            for kz in 0..conv.kernel[0] {
                for ky in 0..conv.kernel[1] {
                    let row = self.x.add(kz * conv.tap[0] + ky * conv.tap[1] + pixel * step);
                    if KW > 0 {
                        let weights: [L::V; KW] = std::array::from_fn(|k| l.load_blocks(w.add(k * BLOCK), 0));
                        for k in 0..KW {
                            for p in 0..P {
                                sums[p] = l.mul_add(l.load(row.add(p * vector + k * tap)), weights[k], sums[p]);
                            }
                        }
                    } else {
                        for k in 0..conv.kernel[2] {
                            let weight = l.load_blocks(w.add(k * BLOCK), 0);
                            for p in 0..P {
                                sums[p] = l.mul_add(l.load(row.add(p * vector + k * tap)), weight, sums[p]);
                            }
                        }
                    }
                    w = w.add(conv.kernel[2] * BLOCK);
                }
            }
            if !self.r.is_null() {
                for p in 0..P {
                    sums[p] = l.add(sums[p], l.load(self.r.add(pixel * BLOCK + p * L::N)));
                }
            }
            if let Some((lo, hi)) = self.clamp {
                for p in 0..P {
                    sums[p] = l.min(l.splat(hi), l.max(l.splat(lo), sums[p]));
                }
            }
            for p in 0..P {
                l.store(self.y.add(pixel * BLOCK + p * L::N), sums[p]);
            }
        }
    }

    /// Activations that are not a clamp, on the row that was stored just now, and zeros past the last channel.
    fn finish(&self) {
        let width = self.conv.y.size[2];
        // SAFETY: the row, which nobody else touches now.
        let row = unsafe { std::slice::from_raw_parts_mut(self.y, width * BLOCK) };
        if self.clamp.is_none() {
            activation::in_place(self.conv.isa, &self.conv.activation, row);
        }
        if self.tail < BLOCK {
            row.chunks_exact_mut(BLOCK).for_each(|pixel| pixel[self.tail..].fill(0.0));
        }
    }
}
