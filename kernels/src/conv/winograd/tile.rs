//! The transforms over memory: windows of the input to values at the points, products to outputs.
//!
//! A vector is eight channels of one tile, or, where sixteen lanes are one register, of two neighbouring tiles of the group. Windows and
//! tiles that reach past the edge go through a buffer on the stack.

use super::super::Residual;
use super::super::direct::Walk;
use super::points::{MOST, Points};
use super::{At, Minimal};
use crate::activation;
use crate::isa::{Kernel, Lanes, Simd};
use crate::layout::{BLOCK, clear_halo};
use crate::par::{Parallel, Shared};
use std::ops::Range;

/// The tensors of a run.
pub struct Memory<'a> {
    x: &'a [f32],
    y: *mut f32,
    /// Null without a residual.
    r: *const f32,
    r_walk: Walk,
}

// SAFETY: chunks read `x`, write disjoint tiles of `y`, and read of `r` (which may be `y`) only what they write themselves.
unsafe impl Send for Memory<'_> {}
// SAFETY: as above.
unsafe impl Sync for Memory<'_> {}

impl<'a> Memory<'a> {
    /// Lengths were checked against the geometry of `conv`; `y` must outlive all use.
    pub fn new(conv: &Minimal, x: &'a [f32], y: &'a mut [f32], residual: Residual<'a>) -> Self {
        let out = y.as_mut_ptr();
        let (r, r_walk) = match residual {
            Residual::None => (std::ptr::null(), conv.y),
            Residual::Add(r) => (r.as_ptr(), conv.residual.unwrap_or(conv.y)),
            Residual::Output => (out.cast_const(), conv.y),
        };
        Self { x, y: out, r, r_walk }
    }
}

/// The scratch of one of several threads.
#[allow(clippy::mut_from_ref)]
pub fn lane<'a>(scratch: &Shared<'a, f32>, lane: usize, len: usize) -> &'a mut [f32] {
    // SAFETY: each lane runs once, and lanes have disjoint parts.
    unsafe { scratch.range(lane * len, len) }
}

/// Values of floats that chunks share.
#[derive(Clone, Copy)]
struct Base(*mut f32);

// SAFETY: chunks touch disjoint blocks.
unsafe impl Send for Base {}
// SAFETY: as above.
unsafe impl Sync for Base {}

/// Tiles of a block whose transforms are worth a chunk of their own.
const CHUNK_TILES: usize = 100;

/// Chunks for the blocks of a stage.
fn chunks(par: &dyn Parallel, blocks: usize, tiles: usize) -> usize {
    let wanted = if par.threads() > 1 { (blocks * tiles / CHUNK_TILES).clamp(1, 4 * par.threads()) } else { 1 };
    blocks.min(wanted)
}

/// Windows of `tiles` to `values` at the points.
pub fn input<P: Points>(
    conv: &Minimal,
    points: P,
    tiles: &[At],
    memory: &Memory<'_>,
    values: &mut [f32],
    par: &dyn Parallel,
) {
    let blocks = conv.weights.channels.input_blocks();
    let chunks = chunks(par, blocks, tiles.len());
    let to = Base(values.as_mut_ptr());
    par.run(chunks, &|i| {
        let blocks = i * blocks / chunks..(i + 1) * blocks / chunks;
        conv.isa.dispatch(Input { conv, points, tiles, memory, to, blocks });
    });
}

/// Products at the points to outputs.
pub fn output<P: Points>(
    conv: &Minimal,
    points: P,
    tiles: &[At],
    memory: &Memory<'_>,
    products: &mut [f32],
    par: &dyn Parallel,
) {
    let blocks = conv.output.blocks();
    let chunks = chunks(par, blocks, tiles.len());
    let from = Base(products.as_mut_ptr());
    par.run(chunks, &|i| {
        let blocks = i * blocks / chunks..(i + 1) * blocks / chunks;
        conv.isa.dispatch(Output { conv, points, tiles, memory, from, blocks });
    });
}

struct Input<'a, P> {
    conv: &'a Minimal,
    #[allow(dead_code)]
    points: P,
    tiles: &'a [At],
    memory: &'a Memory<'a>,
    to: Base,
    blocks: Range<usize>,
}

impl<P: Points> Kernel for Input<'_, P> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        if const { S::WIDE } { self.all::<S, _>(s, s.pair()) } else { self.all::<S, _>(s, s.block()) }
    }
}

impl<P: Points> Input<'_, P> {
    #[inline(always)]
    fn all<S: Simd, L: Lanes>(&self, s: S, l: L) {
        let conv = self.conv;
        let together = L::N / BLOCK;
        let reach = |t: &At| (t.row as usize * P::OUT + P::IN, t.column as usize * P::OUT + P::IN);
        let inside = |t: &At| reach(t).0 <= conv.readable[0] && reach(t).1 <= conv.readable[1];
        for block in self.blocks.clone() {
            for (i, tiles) in self.tiles.chunks(together).enumerate() {
                let starts: [usize; 2] = std::array::from_fn(|k| {
                    let t = tiles[k.min(tiles.len() - 1)];
                    let at = t.row as usize * P::OUT * conv.x.step[1] + t.column as usize * P::OUT * conv.x.step[2];
                    conv.x.start + t.image as usize * conv.x.image + block * conv.x.block + at
                });
                // SAFETY: windows that lie inside what may be read, or a buffer; the tile's part of the values, whose length is
                // that of all points.
                unsafe {
                    let to = self.to.0.add((block * conv.room + i * together) * BLOCK);
                    if tiles.iter().all(inside) {
                        let from = self.memory.x.as_ptr().add(starts[0]);
                        let second = starts[1] - starts[0];
                        transform_input::<L, P>(l, from, conv.x.step[1], BLOCK, second, to, conv.v_point);
                    } else {
                        let mut buffer = [0.0f32; MOST * MOST * 2 * BLOCK];
                        for (k, t) in tiles.iter().enumerate() {
                            let rows = (conv.readable[0] - t.row as usize * P::OUT).min(P::IN);
                            let columns = (conv.readable[1] - t.column as usize * P::OUT).min(P::IN);
                            let from = self.memory.x.as_ptr().add(starts[k]);
                            self.gather(s, from, rows, columns, &mut buffer[k * BLOCK..]);
                        }
                        let row = MOST * 2 * BLOCK;
                        transform_input::<L, P>(l, buffer.as_ptr(), row, 2 * BLOCK, BLOCK, to, conv.v_point);
                    }
                }
            }
        }
    }
    /// Copies what exists of a window.
    ///
    /// # Safety
    /// `rows` x `columns` pixels from `from` on must be readable.
    #[inline(always)]
    unsafe fn gather<S: Simd>(&self, s: S, from: *const f32, rows: usize, columns: usize, buffer: &mut [f32]) {
        let l = s.block();
        for r in 0..rows {
            for c in 0..columns {
                // SAFETY: as promised.
                let v = unsafe { l.load(from.add(r * self.conv.x.step[1] + c * BLOCK)) };
                l.store_slice(&mut buffer[(r * MOST + c) * 2 * BLOCK..], v);
            }
        }
    }
}

/// One vector of windows: rows, then columns.
///
/// # Safety
/// All pixels of the windows must be readable, and all points of `to` writable.
#[inline(always)]
unsafe fn transform_input<L: Lanes, P: Points>(
    l: L,
    from: *const f32,
    row: usize,
    column: usize,
    second: usize,
    to: *mut f32,
    point: usize,
) {
    let mut half = [[l.zero(); MOST]; MOST];
    for r in 0..P::IN {
        let mut d = [l.zero(); MOST];
        for c in 0..P::IN {
            // SAFETY: as promised.
            d[c] = unsafe { l.load_blocks(from.add(r * row + c * column), second) };
        }
        half[r] = P::input(l, d);
    }
    for c in 0..P::IN {
        let mut column = [l.zero(); MOST];
        for r in 0..P::IN {
            column[r] = half[r][c];
        }
        let v = P::input(l, column);
        for r in 0..P::IN {
            // SAFETY: as promised.
            unsafe { l.store(to.add((r * P::IN + c) * point), v[r]) };
        }
    }
}

struct Output<'a, P> {
    conv: &'a Minimal,
    #[allow(dead_code)]
    points: P,
    tiles: &'a [At],
    memory: &'a Memory<'a>,
    from: Base,
    blocks: Range<usize>,
}

impl<P: Points> Kernel for Output<'_, P> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        if const { S::WIDE } { self.all::<S, _>(s, s.pair()) } else { self.all::<S, _>(s, s.block()) }
    }
}

impl<P: Points> Output<'_, P> {
    #[inline(always)]
    fn all<S: Simd, L: Lanes>(&self, s: S, l: L) {
        let conv = self.conv;
        let [_, height, width] = conv.output.size;
        let together = L::N / BLOCK;
        let clamp = conv.activation.as_clamp().unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
        let rows = |t: &At| (height - t.row as usize * P::OUT).min(P::OUT);
        let columns = |t: &At| (width - t.column as usize * P::OUT).min(P::OUT);
        for block in self.blocks.clone() {
            self.clear_halo(s, block);
            // SAFETY: the bias has two blocks past its end; both halves get the same eight.
            let bias = unsafe { l.load_blocks(conv.weights.after[block * BLOCK..][..BLOCK].as_ptr(), 0) };
            for (i, tiles) in self.tiles.chunks(together).enumerate() {
                let place = |w: &Walk, k: usize| {
                    let t = tiles[k.min(tiles.len() - 1)];
                    let at = t.row as usize * P::OUT * w.step[1] + t.column as usize * P::OUT * w.step[2];
                    w.start + t.image as usize * w.image + block * w.block + at
                };
                // SAFETY: the tile's part of the products; tiles of the output and of the residual, cut at the edge.
                unsafe {
                    let from = self.from.0.add((block * conv.room + i * together) * BLOCK);
                    let sums = transform_output::<L, P>(l, from, conv.m_point);
                    let whole =
                        tiles.len() == together && tiles.iter().all(|t| rows(t) == P::OUT && columns(t) == P::OUT);
                    if whole {
                        self.store(l, bias, clamp, &sums, &|w| (place(w, 0), place(w, 1) - place(w, 0)));
                        continue;
                    }
                    let mut buffer = [0.0f32; 16 * 2 * BLOCK];
                    for r in 0..P::OUT {
                        for c in 0..P::OUT {
                            let v = l.add(sums[r][c], bias);
                            l.store_slice(&mut buffer[(r * P::OUT + c) * 2 * BLOCK..], v);
                        }
                    }
                    for (k, t) in tiles.iter().enumerate() {
                        let (y, r) = (place(&conv.y, k), place(&self.memory.r_walk, k));
                        self.scatter(s, clamp, &buffer[k * BLOCK..], rows(t), columns(t), y, r);
                    }
                }
            }
            self.finish(block);
        }
    }

    /// Bias, residual, clamp and store of whole tiles; `at` gives the first tile's place and the distance of the second.
    ///
    /// # Safety
    /// They must lie in the tensors.
    #[inline(always)]
    unsafe fn store<L: Lanes>(
        &self,
        l: L,
        bias: L::V,
        (lo, hi): (f32, f32),
        sums: &[[L::V; 4]; 4],
        at: &impl Fn(&Walk) -> (usize, usize),
    ) {
        let (memory, conv) = (self.memory, self.conv);
        let (y, y_second) = at(&conv.y);
        let (r, r_second) = at(&memory.r_walk);
        let (lo, hi) = (l.splat(lo), l.splat(hi));
        for row in 0..P::OUT {
            for c in 0..P::OUT {
                let mut v = l.add(sums[row][c], bias);
                // SAFETY: as promised.
                unsafe {
                    if !memory.r.is_null() {
                        let r = memory.r.add(r + row * memory.r_walk.step[1] + c * BLOCK);
                        v = l.add(v, l.load_blocks(r, r_second));
                    }
                    v = l.min(hi, l.max(lo, v));
                    l.store_blocks(memory.y.add(y + row * conv.y.step[1] + c * BLOCK), y_second, v);
                }
            }
        }
    }

    /// As [`Self::store`], for `rows` x `columns` pixels of one tile whose sums with bias are in `from`.
    ///
    /// # Safety
    /// As [`Self::store`].
    #[inline(always)]
    unsafe fn scatter<S: Simd>(
        &self,
        s: S,
        (lo, hi): (f32, f32),
        from: &[f32],
        rows: usize,
        columns: usize,
        y: usize,
        r: usize,
    ) {
        let (memory, conv, l) = (self.memory, self.conv, s.block());
        for row in 0..rows {
            for c in 0..columns {
                let mut v = l.load_slice(&from[(row * P::OUT + c) * 2 * BLOCK..]);
                // SAFETY: as promised.
                unsafe {
                    if !memory.r.is_null() {
                        v = l.add(v, l.load(memory.r.add(r + row * memory.r_walk.step[1] + c * BLOCK)));
                    }
                    v = l.min(l.splat(hi), l.max(l.splat(lo), v));
                    l.store(memory.y.add(y + row * conv.y.step[1] + c * BLOCK), v);
                }
            }
        }
    }

    /// Zeros around the block in every image whose first tile is in this group.
    #[inline(always)]
    fn clear_halo<S: Simd>(&self, s: S, block: usize) {
        let output = &self.conv.output;
        for t in self.tiles.iter().filter(|t| (t.row, t.column) == (0, 0)) {
            let base = (t.image as usize * output.blocks() + block) * output.block_len();
            // SAFETY: parts of the halo of a block of the output, which only this chunk clears and nobody else touches.
            unsafe { clear_halo(s, output, self.memory.y.add(base)) };
        }
    }

    /// Activations that are not a clamp, on the tiles that were stored just now, and zeros past the last channel.
    fn finish(&self, block: usize) {
        let conv = self.conv;
        let keeps = conv.activation.as_clamp().is_some();
        let used = conv.output.c - block * BLOCK;
        if keeps && (used >= BLOCK || conv.activation.keeps_zero()) {
            return;
        }
        let [_, height, width] = conv.output.size;
        for line in self.tiles.chunk_by(|a, b| (a.image, a.row) == (b.image, b.row)) {
            let (first, last) = (line[0], line[line.len() - 1]);
            let columns = first.column as usize * P::OUT..((last.column as usize + 1) * P::OUT).min(width);
            for row in first.row as usize * P::OUT..((first.row as usize + 1) * P::OUT).min(height) {
                let start = conv.output.offset(first.image as usize, block, [0, row, columns.start]);
                // SAFETY: outputs of this chunk, which nobody else touches now.
                let part = unsafe { std::slice::from_raw_parts_mut(self.memory.y.add(start), columns.len() * BLOCK) };
                if !keeps {
                    activation::in_place(conv.isa, &conv.activation, part);
                }
                if used < BLOCK {
                    part.chunks_exact_mut(BLOCK).for_each(|pixel| pixel[used..].fill(0.0));
                }
            }
        }
    }
}

/// One vector of tiles: columns, then rows.
///
/// # Safety
/// All points of `from` must be readable.
#[inline(always)]
unsafe fn transform_output<L: Lanes, P: Points>(l: L, from: *const f32, point: usize) -> [[L::V; 4]; 4] {
    let mut half = [[l.zero(); MOST]; 4];
    for c in 0..P::IN {
        let mut m = [l.zero(); MOST];
        for r in 0..P::IN {
            // SAFETY: as promised.
            m[r] = unsafe { l.load(from.add((r * P::IN + c) * point)) };
        }
        let column = P::output(l, m);
        for r in 0..P::OUT {
            half[r][c] = column[r];
        }
    }
    let mut sums = [[l.zero(); 4]; 4];
    for r in 0..P::OUT {
        sums[r] = P::output(l, half[r]);
    }
    sums
}
