//! Strips of neighbouring outputs, their sums in registers.
//!
//! Square kernels of 3 and 5 taps: a strip runs down some rows with all weights at hand, and with stride 1 two or four rows at a
//! time, so that every input vector is loaded once for all of them. Where sixteen lanes are one register a vector is two neighbouring
//! pixels of a block. Everything else takes one row and one pixel a vector, with the input as an operand in memory.

use super::super::Residual;
use super::{Depthwise, Shape};
use crate::activation;
use crate::isa::{Isa, Kernel, Lanes, Simd};
use crate::layout::{BLOCK, Blocked, clear_halo};
use crate::par::Parallel;

/// How the rows of all blocks are cut.
#[derive(Clone, Copy)]
pub struct Cut {
    /// Ranges of rows of a block.
    pub bands: usize,
    /// Chunks are counted band by band, else block by block.
    pub by_band: bool,
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
        let Cut { bands, by_band, chunks } = self.cut;
        let (conv, y) = (self.conv, &self.conv.y);
        let blocks = y.n * y.blocks();
        let all = blocks * bands;
        let tall = (NEAR / conv.x.row_stride()).max(TALL);
        let lines = y.size[0] * y.size[1];
        for unit in self.index * all / chunks..(self.index + 1) * all / chunks {
            let (block, band) = if by_band { (unit % blocks, unit / blocks) } else { (unit / bands, unit % bands) };
            if band == 0 {
                let base = block * y.block_len();
                // SAFETY: the halo of a block, which only this chunk touches.
                unsafe { clear_halo(s, y, self.memory.y.add(base)) };
            }
            let mut line = band * lines / bands;
            let end = (band + 1) * lines / bands;
            while line < end {
                let row = Row::new(conv, self.memory, block, line);
                // Rows of one depth slice, few enough for their inputs to stay in the first-level cache.
                let rows = (end - line).min(y.size[1] - line % y.size[1]).min(tall);
                match conv.shape {
                    Shape::Square3 if const { S::ROWS > 2 } => row.square::<S, 3, 1>(s, rows),
                    Shape::Square5 if const { S::ROWS > 2 } => row.square::<S, 5, 1>(s, rows),
                    Shape::Square3Half if const { S::ROWS > 2 } => row.square::<S, 3, 2>(s, rows),
                    Shape::Square5Half if const { S::ROWS > 2 } => row.square::<S, 5, 2>(s, rows),
                    _ => {
                        for i in 0..rows {
                            let row = Row::new(conv, self.memory, block, line + i);
                            row.strips::<S, _>(s.block(), y.size[2]);
                        }
                    }
                }
                row.finish(rows, bands == 1);
                line += rows;
            }
        }
    }
}

/// Fewest rows that are computed together.
const TALL: usize = 8;
/// Floats of input that rows computed together may read: a third of a first-level cache.
const NEAR: usize = 4 << 10;

/// A row of outputs of one block, and those below it.
struct Row<'a> {
    conv: &'a Depthwise,
    x: *const f32,
    y: *mut f32,
    r: *const f32,
    weights: *const f32,
    bias: *const f32,
    /// Bounds of the activation; infinite for one that is not a clamp.
    bounds: (f32, f32),
    /// Floats from one row of the residual to the next.
    r_row: usize,
    /// First lane past the last channel, when such lanes must be cleared.
    tail: usize,
}

impl<'a> Row<'a> {
    #[inline(always)]
    fn new(conv: &'a Depthwise, memory: &Memory, block: usize, line: usize) -> Self {
        let (y, height) = (&conv.y, conv.y.size[1]);
        let at = [line / height, line % height, 0];
        let (image, channel) = (block / y.blocks(), block % y.blocks());
        let taps: usize = conv.kernel.iter().product();
        let ends_inside = (channel + 1) * BLOCK > y.c && conv.clear_tail;
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
                bounds: conv.clamp.unwrap_or((f32::NEG_INFINITY, f32::INFINITY)),
                r_row: memory.r_geometry.row_stride(),
                tail: if ends_inside { y.c - channel * BLOCK } else { BLOCK },
            }
        }
    }

    /// Kernels of `K` x `K` taps side by side, stride `T`, over `rows` rows: columns of strips, each from top to bottom.
    #[inline(always)]
    fn square<S: Simd, const K: usize, const T: usize>(&self, s: S, rows: usize) {
        let width = self.conv.y.size[2];
        // Pixels two apart do not lie side by side.
        let pairs = if const { S::WIDE && T == 1 } { width / 2 } else { 0 };
        if const { S::WIDE && T == 1 && K == 3 } && width % 2 == 1 && pairs > 0 {
            let beside = if pairs <= 4 { pairs } else { 3 };
            self.columns::<S, _, K, 1>(s.pair(), 0, pairs - beside, rows);
            let pixel = 2 * (pairs - beside);
            // SAFETY: the vectors lie inside the rows.
            unsafe {
                match beside {
                    4 => self.column_and_one::<S, 4>(s, pixel, rows),
                    3 => self.column_and_one::<S, 3>(s, pixel, rows),
                    2 => self.column_and_one::<S, 2>(s, pixel, rows),
                    _ => self.column_and_one::<S, 1>(s, pixel, rows),
                }
            }
            return;
        }
        // With more taps a narrow odd row leaves too much to the last pixel.
        let first = if width % 2 == 0 || width >= 16 { 2 * pairs } else { 0 };
        if const { S::WIDE && T == 1 } && first > 0 {
            self.columns::<S, _, K, 1>(s.pair(), 0, pairs, rows);
        }
        self.columns::<S, _, K, T>(s.block(), first, width - first, rows);
    }
    /// `P` pairs of outputs of 3x3 taps, stride 1, from pixel `pixel` on, and the one behind them: by itself its sums would wait for each
    /// other, and so would those of few pairs.
    ///
    /// # Safety
    /// They must lie inside the rows.
    #[inline(always)]
    unsafe fn column_and_one<S: Simd, const P: usize>(&self, s: S, pixel: usize, rows: usize) {
        let (pair, block, last) = (s.pair(), s.block(), pixel + 2 * P);
        // SAFETY: rows as promised, and as many taps as the kernel has.
        unsafe {
            let (both, one, pitch) = (self.taps::<_, 3>(pair), self.taps::<_, 3>(block), self.pitch());
            let mut row = 0;
            // Four rows where there are registers for them.
            while P <= 3 && row + 4 <= rows {
                self.lines::<_, 3, 1, P, 4>(pair, &both, pitch, pixel, row);
                self.lines::<_, 3, 1, 1, 4>(block, &one, pitch, last, row);
                row += 4;
            }
            while row + 2 <= rows {
                self.lines::<_, 3, 1, P, 2>(pair, &both, pitch, pixel, row);
                self.lines::<_, 3, 1, 1, 2>(block, &one, pitch, last, row);
                row += 2;
            }
            if row < rows {
                self.lines::<_, 3, 1, P, 1>(pair, &both, pitch, pixel, row);
                self.lines::<_, 3, 1, 1, 1>(block, &one, pitch, last, row);
            }
        }
    }
    /// Floats from one row of the input to the next, and of the output.
    #[inline(always)]
    fn pitch(&self) -> [usize; 2] {
        [self.conv.x.row_stride(), self.conv.y.row_stride()]
    }
    /// The weights, for every pixel of a vector the same eight.
    ///
    /// # Safety
    /// There must be `K` x `K` taps.
    #[inline(always)]
    unsafe fn taps<L: Lanes, const K: usize>(&self, l: L) -> [[L::V; K]; K] {
        // A loop, because a closure inside `from_fn` would be compiled without the features of the shell.
        let mut weights = [[l.zero(); K]; K];
        for y in 0..K {
            for x in 0..K {
                // SAFETY: taps that there are; a stride of 0 repeats the block.
                weights[y][x] = unsafe { l.load_blocks(self.weights.add((y * K + x) * BLOCK), 0) };
            }
        }
        weights
    }
    /// `count` vectors of outputs of each row, from pixel `pixel` on.
    #[inline(always)]
    fn columns<S: Simd, L: Lanes, const K: usize, const T: usize>(
        &self,
        l: L,
        mut pixel: usize,
        mut count: usize,
        rows: usize,
    ) {
        while count > 0 {
            // Strips of nearly one length; sums of a short one would wait for each other.
            let wanted = if const { S::WIDE } { count.div_ceil(count.div_ceil(7)) } else { count };
            // SAFETY: the vectors lie inside the rows.
            let taken = unsafe {
                match wanted {
                    7 if const { S::WIDE } => self.column::<L, K, T, 7>(l, pixel, rows),
                    6 if const { S::WIDE } => self.column::<L, K, T, 6>(l, pixel, rows),
                    5 if const { S::WIDE } => self.column::<L, K, T, 5>(l, pixel, rows),
                    4.. => self.column::<L, K, T, 4>(l, pixel, rows),
                    3 if const { S::WIDE } => self.column::<L, K, T, 3>(l, pixel, rows),
                    2.. => self.column::<L, K, T, 2>(l, pixel, rows),
                    _ => self.column::<L, K, T, 1>(l, pixel, rows),
                }
            };
            pixel += taken * (L::N / BLOCK);
            count -= taken;
        }
    }
    /// `P` vectors of outputs of each row, from pixel `pixel` on; gives `P`. With stride 1 two rows at a time share their inputs.
    ///
    /// # Safety
    /// They must lie inside the rows.
    #[inline(always)]
    unsafe fn column<L: Lanes, const K: usize, const T: usize, const P: usize>(
        &self,
        l: L,
        pixel: usize,
        rows: usize,
    ) -> usize {
        // SAFETY: rows as promised, and as many taps as the kernel has.
        unsafe {
            let (weights, pitch) = (self.taps::<L, K>(l), self.pitch());
            let mut row = 0;
            if T == 1 {
                while row + 2 <= rows {
                    self.lines::<L, K, T, P, 2>(l, &weights, pitch, pixel, row);
                    row += 2;
                }
            }
            while row < rows {
                self.lines::<L, K, T, P, 1>(l, &weights, pitch, pixel, row);
                row += 1;
            }
        }
        P
    }
    /// `P` vectors of outputs of `R` rows; `pitch` as [`Self::pitch`], by value, because what is behind a reference is read again after every
    /// store.
    ///
    /// # Safety
    /// As [`Self::column`].
    #[inline(always)]
    unsafe fn lines<L: Lanes, const K: usize, const T: usize, const P: usize, const R: usize>(
        &self,
        l: L,
        weights: &[[L::V; K]; K],
        pitch: [usize; 2],
        pixel: usize,
        row: usize,
    ) {
        let [x_row, y_row] = pitch;
        // SAFETY: taps of these outputs lie in the input, halo included.
        unsafe {
            let mut sums = [[l.load_blocks(self.bias, 0); P]; R];
            let x = self.x.add(row * T * x_row + pixel * T * BLOCK);
            // One input line after the other, each a constant: the conditions inside are decided when compiled.
            macro_rules! lines {
                ($($i:literal)*) => {$(
                    if const { $i < (R - 1) * T + K } {
                        let line = x.add($i * x_row);
                        input_line::<L, K, T, P, R, $i>(l, line, weights, &mut sums);
                    }
                )*};
            }
            lines!(0 1 2 3 4 5);
            let at = pixel * BLOCK;
            // One branch for all rows: with one a row the compiler would compute the second row after it, by itself.
            if !self.r.is_null() {
                for r in 0..R {
                    for p in 0..P {
                        let residual = l.load(self.r.add((row + r) * self.r_row + at + p * L::N));
                        sums[r][p] = l.add(sums[r][p], residual);
                    }
                }
            }
            let bound = l.splat(self.bounds.0);
            for r in 0..R {
                for p in 0..P {
                    sums[r][p] = l.max(bound, sums[r][p]);
                }
            }
            if self.bounds.1 < f32::INFINITY {
                let bound = l.splat(self.bounds.1);
                for r in 0..R {
                    for p in 0..P {
                        sums[r][p] = l.min(bound, sums[r][p]);
                    }
                }
            }
            for r in 0..R {
                for p in 0..P {
                    l.store(self.y.add((row + r) * y_row + at + p * L::N), sums[r][p]);
                }
            }
        }
    }

    /// All vectors of one row, for any kernel and stride.
    #[inline(always)]
    fn strips<S: Simd, L: Lanes>(&self, l: L, width: usize) {
        let mut pixel = 0;
        while pixel < width {
            // SAFETY: the vectors lie inside the row.
            pixel += unsafe {
                match width - pixel {
                    4.. if const { S::ROWS > 2 } => self.strip::<L, 4>(l, pixel),
                    _ => self.strip::<L, 1>(l, pixel),
                }
            };
        }
    }

    /// `P` vectors of outputs from pixel `pixel` on; gives `P`.
    ///
    /// # Safety
    /// They must lie inside the row.
    #[inline(always)]
    unsafe fn strip<L: Lanes, const P: usize>(&self, l: L, pixel: usize) -> usize {
        let conv = self.conv;
        let (step, tap) = (conv.step[2], conv.tap[2]);
        // SAFETY: taps of these outputs lie in the input, halo included.
        unsafe {
            let mut sums = [l.load(self.bias); P];
            let mut w = self.weights;
            for kz in 0..conv.kernel[0] {
                for ky in 0..conv.kernel[1] {
                    let row = self.x.add(kz * conv.tap[0] + ky * conv.tap[1] + pixel * step);
                    for k in 0..conv.kernel[2] {
                        let weight = l.load(w);
                        for p in 0..P {
                            sums[p] = l.mul_add(l.load(row.add(p * step + k * tap)), weight, sums[p]);
                        }
                        w = w.add(BLOCK);
                    }
                }
            }
            for p in 0..P {
                let at = (pixel + p) * BLOCK;
                if !self.r.is_null() {
                    sums[p] = l.add(sums[p], l.load(self.r.add(at)));
                }
                let (lo, hi) = self.bounds;
                l.store(self.y.add(at), l.min(l.splat(hi), l.max(l.splat(lo), sums[p])));
            }
        }
        P
    }

    /// Activations that are not a clamp, on the rows that were stored just now, and zeros past the last channel. `alone` when one chunk
    /// has all rows of the block and so its halo.
    fn finish(&self, rows: usize, alone: bool) {
        if self.conv.clamp.is_some() && self.tail == BLOCK {
            return;
        }
        let (width, row) = (self.conv.y.size[2] * BLOCK, self.conv.y.row_stride());
        // What lies between the rows is halo: zeros, which stay so.
        let joined = width == row || alone && !self.conv.clear_tail;
        let (calls, len) = if joined { (1, (rows - 1) * row + width) } else { (rows, width) };
        for i in 0..calls {
            // SAFETY: rows of this chunk, which nobody else touches now.
            let part = unsafe { std::slice::from_raw_parts_mut(self.y.add(i * row), len) };
            if self.conv.clamp.is_none() {
                activation::in_place(self.conv.isa, &self.conv.activation, part);
            }
            if self.tail < BLOCK {
                part.chunks_exact_mut(BLOCK).for_each(|pixel| pixel[self.tail..].fill(0.0));
            }
        }
    }
}

/// Adds what line `I` of the input gives to `R` rows of outputs: each vector is loaded once for all of them.
///
/// # Safety
/// The line must be readable for all taps of `P` vectors.
#[inline(always)]
unsafe fn input_line<L: Lanes, const K: usize, const T: usize, const P: usize, const R: usize, const I: usize>(
    l: L,
    line: *const f32,
    weights: &[[L::V; K]; K],
    sums: &mut [[L::V; P]; R],
) {
    for k in 0..K {
        for p in 0..P {
            // SAFETY: as promised.
            let x = unsafe { l.load(line.add(p * T * L::N + k * BLOCK)) };
            for r in 0..R {
                let tap = I.wrapping_sub(r * T);
                if tap < K {
                    sums[r][p] = l.mul_add(x, weights[tap][k], sums[r][p]);
                }
            }
        }
    }
}
