//! The loop nest of a direct convolution: panels outside, tiles of pixels inside.

use super::Residual;
use super::direct::{Direct, Grid, Order, Walk};
use super::pack::{PANEL, Panel};
use crate::activation;
use crate::gemm::tile::{Ahead, Even, LISTED, Listed, Near, Rows, Run, TALL, multiply};
use crate::isa::{Isa, Kernel, Lanes, Simd};
use crate::layout::{self, BLOCK};
use crate::par::Parallel;
use std::ops::Range;

/// A convolution and its cut.
pub struct Work<'a> {
    pub conv: &'a Direct,
    pub grid: Grid,
}

#[derive(Clone, Copy)]
struct Memory {
    x: *const f32,
    y: *mut f32,
    /// Null without a residual.
    r: *const f32,
    r_walk: Walk,
}

// SAFETY: chunks read `x`, write disjoint positions of `y`, and read of `r` (which may be `y`) only what they write themselves.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

/// Runs all chunks. Lengths were checked against the geometry from which the spec's walks were made.
pub fn run(work: &Work<'_>, isa: Isa, x: &[f32], y: &mut [f32], residual: Residual<'_>, par: &dyn Parallel) {
    let spec = &work.conv.spec;
    let out = y.as_mut_ptr();
    let (r, r_walk) = match residual {
        Residual::None => (std::ptr::null(), spec.y),
        Residual::Add(r) => (r.as_ptr(), spec.residual.unwrap_or(spec.y)),
        Residual::Output => (out.cast_const(), spec.y),
    };
    let memory = Memory { x: x.as_ptr(), y: out, r, r_walk };
    let (Grid { slabs, parts, chunks, .. }, memory) = (work.grid, &memory);
    let units = spec.images * slabs * parts;
    par.run(chunks, &|i| {
        let units = i * units / chunks..(i + 1) * units / chunks;
        isa.dispatch(Chunk { work, memory, units });
    });
}

struct Chunk<'a> {
    work: &'a Work<'a>,
    memory: &'a Memory,
    units: Range<usize>,
}

impl Kernel for Chunk<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for unit in self.units.clone() {
            self.unit(s, unit);
        }
    }
}

impl Chunk<'_> {
    /// All tiles of a range of panels over a range of positions.
    #[inline(always)]
    fn unit<S: Simd>(&self, s: S, unit: usize) {
        let Grid { slabs, parts, by_part, .. } = self.work.grid;
        let (conv, panels) = (self.work.conv, &self.work.conv.weights.panels);
        let image = unit / (parts * slabs);
        let (part, slab) =
            if by_part { (unit / slabs % parts, unit % slabs) } else { (unit % parts, unit / parts % slabs) };
        // Panels are given out in pairs, which one tile of wide registers takes together.
        let pairs = panels.len().div_ceil(2);
        let mine = 2 * (part * pairs / parts)..(2 * ((part + 1) * pairs / parts)).min(panels.len());
        if slab == 0 {
            clear_halo(s, conv, self.memory, image, &panels[mine.clone()]);
        }
        let strip = Strip::new(conv, self.memory, image, slab, slabs);
        let mut i = mine.start;
        while i < mine.end {
            let panel = &panels[i];
            let next = panels[i + 1..mine.end].first();
            let first = i == mine.start;
            if const { S::WIDE } {
                // A missing block is computed from zeros and not kept: a register is as fast full as half full.
                if let Some(n) = next.filter(|n| panel.width == 2 && n.inputs == panel.inputs) {
                    strip.run::<S, _, 2>(s.pair(), [panel, n], first, S::ROWS);
                    i += 2;
                    continue;
                }
                strip.run::<S, _, 1>(s.pair(), [panel, panel], first, S::ROWS);
            } else if panel.width == 2 {
                strip.run::<S, _, 1>(s.pair(), [panel, panel], first, S::ROWS);
            } else {
                strip.run::<S, _, 1>(s.block(), [panel, panel], first, block_rows::<S>());
            }
            i += 1;
        }
    }
}

/// Rows of a tile of single blocks.
const fn block_rows<S: Simd>() -> usize {
    S::ROWS + S::ROWS / 3
}

#[inline(always)]
fn clear_halo<S: Simd>(s: S, conv: &Direct, memory: &Memory, image: usize, panels: &[Panel]) {
    let Some(output) = &conv.spec.output else { return };
    for block in panels.iter().flat_map(|p| p.block..p.block + p.width) {
        let base = (image * output.blocks() + block) * output.block_len();
        // SAFETY: parts of the halo of a block of the output, which only this chunk clears and nobody else touches.
        unsafe { layout::clear_halo(s, output, memory.y.add(base)) };
    }
}

/// The positions of one chunk.
struct Strip<'a> {
    conv: &'a Direct,
    memory: &'a Memory,
    image: usize,
    lines: Range<usize>,
    columns: Range<usize>,
}

/// What tiles of one panel have in common.
struct Common<'a> {
    runs: &'a [Run],
    weights: *const f32,
    /// Floats from the weights of one vector to those of the next.
    panel: usize,
    bias: *const f32,
    clamp: Option<(f32, f32)>,
    /// Floats between the blocks of each vector, 0 for one that has a single block.
    y_block: [usize; 2],
    r_block: [usize; 2],
    /// Floats from a vector's first block to that of the next.
    y_next: usize,
    r_next: usize,
    /// Blocks that exist.
    blocks: usize,
    /// What the tiles ask for.
    ask: Ask,
}

/// Neighbouring pixels that are worth a call of the activation for each block.
const LONG: usize = 28;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ask {
    /// The weights of the next panels.
    Weights,
    /// The input of the next tile.
    Rows,
}

/// Bases of a tile.
#[derive(Clone, Copy)]
struct Bases {
    x: *const f32,
    y: *mut f32,
    r: *const f32,
}

/// Rows of a tile in the three tensors: distances from the bases.
#[derive(Clone, Copy)]
struct Strides<'a, R> {
    x: R,
    y: &'a [usize; TALL],
    r: &'a [usize; TALL],
}

/// Positions in their order, and where they lie in the output and the residual, and in an input that is not walked as one row.
struct Cursor<'a> {
    size: [usize; 3],
    walks: [&'a Walk; 3],
    place: [usize; 3],
    offsets: [usize; 3],
}

impl<'a> Cursor<'a> {
    #[inline(always)]
    fn new(size: [usize; 3], walks: [&'a Walk; 3], first: usize) -> Self {
        let [_, h, w] = size;
        let mut cursor = Self { size, walks, place: [first / (h * w), first / w % h, first % w], offsets: [0; 3] };
        cursor.seek();
        cursor
    }
    #[inline(always)]
    fn seek(&mut self) {
        for (offset, walk) in self.offsets.iter_mut().zip(self.walks) {
            *offset = (0..3).map(|a| self.place[a] * walk.step[a]).sum();
        }
    }
    /// The offsets of this position; goes to the next one.
    #[inline(always)]
    fn next(&mut self) -> [usize; 3] {
        let here = self.offsets;
        self.place[2] += 1;
        if self.place[2] < self.size[2] {
            for (offset, walk) in self.offsets.iter_mut().zip(self.walks) {
                *offset += walk.step[2];
            }
        } else {
            self.place[2] = 0;
            self.place[1] += 1;
            if self.place[1] == self.size[1] {
                self.place[1] = 0;
                self.place[0] += 1;
            }
            self.seek();
        }
        here
    }
}

impl<'a> Strip<'a> {
    fn new(conv: &'a Direct, memory: &'a Memory, image: usize, slab: usize, slabs: usize) -> Self {
        let [d, h, w] = conv.spec.size;
        let cut = |n: usize| slab * n / slabs..(slab + 1) * n / slabs;
        let rows = conv.order == Order::Rows && d * h > 1;
        let (lines, columns) = if rows { (cut(d * h), 0..w) } else { (0..1, cut(d * h * w)) };
        Self { conv, memory, image, lines, columns }
    }

    /// All tiles of the `NV` first of `panels`; `first` when nothing has passed over the input yet.
    #[inline(always)]
    fn run<S: Simd, L: Lanes, const NV: usize>(&self, l: L, panels: [&Panel; 2], first: bool, most: usize) {
        let panel = panels[0];
        let weights = &self.conv.weights;
        let per_block = self.conv.runs_per_block;
        let all = panel.inputs.end == weights.channels.input_blocks();
        let end = if all { self.conv.runs.len() } else { panel.inputs.end * per_block };
        let runs = &self.conv.runs[(panel.inputs.start * per_block).min(end)..end];
        let steps: usize = runs.iter().map(|r| r.len).sum();
        let common = Common {
            runs,
            weights: weights.data[self.image * weights.image + panel.weights..][..NV * steps * PANEL].as_ptr(),
            panel: steps * PANEL,
            bias: weights.bias[panel.block * BLOCK..][..NV * L::N].as_ptr(),
            clamp: self.conv.clamp.filter(|&c| c != (f32::NEG_INFINITY, f32::INFINITY)),
            y_block: panels.map(|p| if p.width == 2 { self.conv.spec.y.block } else { 0 }),
            r_block: panels.map(|p| if p.width == 2 { self.memory.r_walk.block } else { 0 }),
            y_next: 2 * self.conv.spec.y.block,
            r_next: 2 * self.memory.r_walk.block,
            blocks: panels[..NV].iter().map(|p| p.width).sum(),
            ask: if first && self.conv.pointwise { Ask::Rows } else { Ask::Weights },
        };
        match self.conv.order {
            Order::Rows => self.rows::<S, L, NV>(l, panel, &common, most),
            Order::Flat => self.listed::<S, L, NV, true>(l, panel, &common, most),
            Order::Listed => self.listed::<S, L, NV, false>(l, panel, &common, most.min(LISTED)),
        }
    }

    /// The bases of position `at` and of the first block of `panel`.
    #[inline(always)]
    fn bases(&self, panel: &Panel, at: [usize; 3]) -> Bases {
        let (m, spec) = (self.memory, &self.conv.spec);
        let offset = |w: &Walk| w.start + self.image * w.image + (0..3).map(|i| at[i] * w.step[i]).sum::<usize>();
        let block = |w: &Walk| offset(w) + panel.block * w.block;
        // SAFETY: positions of the geometry against which the lengths of x, y and r were checked.
        unsafe {
            let r = if m.r.is_null() { m.r } else { m.r.add(block(&m.r_walk)) };
            Bases { x: m.x.add(offset(&spec.x)), y: m.y.add(block(&spec.y)), r }
        }
    }

    #[inline(always)]
    fn rows<S: Simd, L: Lanes, const NV: usize>(&self, l: L, panel: &Panel, common: &Common<'_>, most: usize) {
        let (spec, r_walk) = (&self.conv.spec, &self.memory.r_walk);
        let (step, height) = ([spec.x.step[2], spec.y.step[2], r_walk.step[2]], spec.size[1].max(1));
        let [y, r] = [step[1], step[2]].map(|step| std::array::from_fn(|m| m * step));
        let strides = Strides { x: Even(step[0]), y: &y, r: &r };
        let count = self.columns.len();
        let tiles = count.div_ceil(most);
        let mut number = 0;
        for line in self.lines.clone() {
            let mut base = self.bases(panel, [line / height, line % height, self.columns.start]);
            let first = base.y;
            for t in 0..tiles {
                let rows = (t + 1) * count / tiles - t * count / tiles;
                // SAFETY: `rows` positions of the line from the base on, at constant distances.
                unsafe {
                    any_tile::<S, L, _, NV>(l, rows, common, base, strides, number);
                    number += 1;
                    base.x = base.x.add(rows * step[0]);
                    base.y = base.y.add(rows * step[1]);
                    if !base.r.is_null() {
                        base.r = base.r.add(rows * step[2]);
                    }
                }
            }
            if self.conv.clamp.is_none() || self.conv.clear_tail {
                // SAFETY: the positions of this line.
                unsafe { self.finish(panel, common.blocks, first, count, Even(step[1])) };
            }
        }
    }

    /// Tiles of positions as they come; `FLAT` where those of the input lie side by side.
    #[inline(always)]
    fn listed<S: Simd, L: Lanes, const NV: usize, const FLAT: bool>(
        &self,
        l: L,
        panel: &Panel,
        common: &Common<'_>,
        most: usize,
    ) {
        let spec = &self.conv.spec;
        let base = self.bases(panel, [0; 3]);
        let count = self.columns.len();
        if count == 0 {
            return;
        }
        let tiles = count.div_ceil(most);
        let mut cursor = Cursor::new(spec.size, [&spec.x, &spec.y, &self.memory.r_walk], self.columns.start);
        for t in 0..tiles {
            let (first, end) = (self.columns.start + t * count / tiles, self.columns.start + (t + 1) * count / tiles);
            let (mut x, mut y, mut r) = ([0; LISTED], [0; TALL], [0; TALL]);
            for i in 0..end - first {
                let at = cursor.next();
                if !FLAT {
                    x[i] = at[0];
                }
                (y[i], r[i]) = (at[1], at[2]);
            }
            // SAFETY: the listed rows are positions of the geometry.
            unsafe {
                if FLAT {
                    let base = Bases { x: base.x.add(first * BLOCK), ..base };
                    any_tile::<S, L, _, NV>(l, end - first, common, base, Strides { x: Near, y: &y, r: &r }, t);
                } else {
                    any_tile::<S, L, _, NV>(l, end - first, common, base, Strides { x: Listed(&x), y: &y, r: &r }, t);
                }
                if self.conv.clamp.is_none() || self.conv.clear_tail {
                    self.finish(panel, common.blocks, base.y, end - first, Listed(&y));
                }
            }
        }
    }

    /// Activations that are not a clamp, on `rows` positions of `blocks` blocks that were stored just now, and zeros past the
    /// last channel. One body for all tiles: the functions are long.
    ///
    /// # Safety
    /// The rows must be positions that this chunk writes.
    unsafe fn finish<R: Rows>(&self, panel: &Panel, blocks: usize, y: *mut f32, rows: usize, at: R) {
        let (conv, step) = (self.conv, self.conv.spec.y.block);
        let together = (1..rows).all(|m| at.at(m) == at.at(m - 1) + BLOCK);
        if conv.clamp.is_none() && together && rows >= LONG {
            for b in 0..blocks {
                // SAFETY: outputs of this chunk, which nobody else touches now.
                let part = unsafe { std::slice::from_raw_parts_mut(y.add(b * step + at.at(0)), rows * BLOCK) };
                activation::in_place(conv.isa, &conv.spec.activation, part);
            }
        } else if conv.clamp.is_none() {
            let mut list = [0; LONG];
            for first in (0..rows).step_by(LONG) {
                let list = &mut list[..LONG.min(rows - first)];
                list.iter_mut().enumerate().for_each(|(m, a)| *a = at.at(first + m));
                // SAFETY: outputs of this chunk, which nobody else touches now.
                unsafe { activation::tile::pixels(conv.isa, &conv.spec.activation, y, list, blocks, step) };
            }
        }
        let channels = conv.weights.channels.outputs;
        let last = channels / BLOCK;
        if conv.clear_tail && (panel.block..panel.block + blocks).contains(&last) {
            for m in 0..rows {
                let start = (last - panel.block) * step + at.at(m);
                for lane in channels % BLOCK..BLOCK {
                    // SAFETY: a lane of the last block at a position of this chunk.
                    unsafe { *y.add(start + lane) = 0.0 };
                }
            }
        }
    }
}

/// A tile of `rows` rows, the `number`-th one of its panels.
///
/// # Safety
/// As [`tile`].
#[inline(always)]
#[allow(clippy::collapsible_match)]
unsafe fn any_tile<S: Simd, L: Lanes, R: Rows, const NV: usize>(
    l: L,
    rows: usize,
    common: &Common<'_>,
    base: Bases,
    strides: Strides<'_, R>,
    number: usize,
) {
    // The constant condition keeps tiles that an instruction set never uses from being compiled.
    macro_rules! by_rows {
        ($($n:literal)*) => {
            match rows {
                $($n => if const { $n <= most_rows::<S, L, R>() } {
                    // SAFETY: as promised.
                    unsafe { tile::<L, R, $n, NV>(l, common, base, strides, number) }
                },)*
                _ => {}
            }
        };
    }
    by_rows!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
}

/// Most rows of a tile.
const fn most_rows<S: Simd, L: Lanes, R: Rows>() -> usize {
    let most = if L::N == BLOCK { block_rows::<S>() } else { S::ROWS };
    if most < R::MOST { most } else { R::MOST }
}

/// Bias, products, residual, clamp and store of one tile.
///
/// # Safety
/// Bases and strides must lead to positions of the tensors; weights and bias must hold `NV` vectors.
#[inline(always)]
unsafe fn tile<L: Lanes, R: Rows, const MR: usize, const NV: usize>(
    l: L,
    common: &Common<'_>,
    base: Bases,
    strides: Strides<'_, R>,
    number: usize,
) {
    // SAFETY: as promised.
    unsafe {
        let bias: [L::V; NV] = std::array::from_fn(|v| l.load(common.bias.add(v * L::N)));
        let mut sums = [bias; MR];
        let floats = NV * common.panel;
        let ahead = match common.ask {
            Ask::Weights => Ahead::weights(common.weights.wrapping_add(floats), floats, common.panel / PANEL, number),
            Ask::Rows => Ahead::rows(strides.x.at(MR - 1) + strides.x.at(1.min(MR - 1))),
        };
        multiply::<L, R, MR, NV, PANEL>(
            l,
            base.x,
            strides.x,
            common.runs,
            common.weights,
            common.panel,
            ahead,
            &mut sums,
        );
        if !base.r.is_null() {
            for m in 0..MR {
                for v in 0..NV {
                    let r = base.r.add(strides.r[m] + v * common.r_next);
                    sums[m][v] = l.add(sums[m][v], l.load_blocks(r, common.r_block[v]));
                }
            }
        }
        if let Some((lo, hi)) = common.clamp {
            let (lo, hi) = (l.splat(lo), l.splat(hi));
            for m in 0..MR {
                for v in 0..NV {
                    sums[m][v] = l.min(hi, l.max(lo, sums[m][v]));
                }
            }
        }
        for m in 0..MR {
            for v in 0..NV {
                let y = base.y.add(strides.y[m] + v * common.y_next);
                l.store_blocks(y, common.y_block[v], sums[m][v]);
            }
        }
    }
}
