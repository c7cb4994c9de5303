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
struct Memory<'a> {
    x: *const f32,
    y: *mut f32,
    /// Null without a residual.
    r: *const f32,
    r_walk: Walk,
    /// As [`Places::y`], of the residual.
    r_places: &'a [usize],
}

// SAFETY: chunks read `x`, write disjoint positions of `y`, and read of `r` (which may be `y`) only what they write themselves.
unsafe impl Send for Memory<'_> {}
// SAFETY: as above.
unsafe impl Sync for Memory<'_> {}

/// Runs all chunks. Lengths were checked against the geometry from which the spec's walks were made.
pub fn run(work: &Work<'_>, isa: Isa, x: &[f32], y: &mut [f32], residual: Residual<'_>, par: &dyn Parallel) {
    let (spec, places) = (&work.conv.spec, &work.conv.places);
    let out = y.as_mut_ptr();
    let (r, r_walk, r_places) = match (residual, spec.residual) {
        (Residual::None, _) => (std::ptr::null(), spec.y, &places.y),
        (Residual::Add(r), Some(walk)) => (r.as_ptr(), walk, &places.r),
        (Residual::Add(r), None) => (r.as_ptr(), spec.y, &places.y),
        (Residual::Output, _) => (out.cast_const(), spec.y, &places.y),
    };
    let memory = Memory { x: x.as_ptr(), y: out, r, r_walk, r_places };
    let (Grid { slabs, parts, chunks, .. }, memory) = (work.grid, &memory);
    let units = spec.images * slabs * parts;
    par.run(chunks, &|i| {
        let units = i * units / chunks..(i + 1) * units / chunks;
        isa.dispatch(Chunk { work, memory, units });
    });
}

struct Chunk<'a> {
    work: &'a Work<'a>,
    memory: &'a Memory<'a>,
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
        let strip = Strip::new(conv, self.memory, image, slab, slabs);
        let mut i = mine.start;
        while i < mine.end {
            let panel = &panels[i];
            let next = panels[i + 1..mine.end].first();
            let first = i == mine.start;
            if const { S::WIDE } {
                // A missing block is computed from zeros and not kept: a register is as fast full as half full.
                if let Some(n) = next.filter(|n| panel.width == 2 && n.inputs == panel.inputs) {
                    strip.run::<S, _, 2>(s, s.pair(), [panel, n], first, S::ROWS);
                    i += 2;
                    continue;
                }
                strip.run::<S, _, 1>(s, s.pair(), [panel, panel], first, S::ROWS);
            } else if panel.width == 2 {
                strip.run::<S, _, 1>(s, s.pair(), [panel, panel], first, S::ROWS);
            } else {
                strip.run::<S, _, 1>(s, s.block(), [panel, panel], first, block_rows::<S>());
            }
            i += 1;
        }
    }
}

/// Rows of a tile of single blocks.
const fn block_rows<S: Simd>() -> usize {
    S::ROWS + S::ROWS / 3
}

/// The positions of one chunk.
struct Strip<'a> {
    conv: &'a Direct,
    memory: &'a Memory<'a>,
    image: usize,
    lines: Range<usize>,
    columns: Range<usize>,
}

/// The halo of the outputs of one panel, of which each tile clears a part, so that the stores go out while products are computed. Fields by value:
/// what is behind a reference would be read again after every store.
#[derive(Clone, Copy)]
struct Halo<'a> {
    parts: &'a [(usize, usize)],
    /// Parts for each position, in units of 2^-32.
    share: u64,
    y: *mut f32,
    block: usize,
    blocks: usize,
}

impl<'a> Halo<'a> {
    #[inline(always)]
    fn new(conv: &'a Direct, memory: &Memory<'_>, image: usize, panel: &Panel, blocks: usize) -> Self {
        match &conv.spec.around {
            None => Self { parts: &[], share: 0, y: memory.y, block: 0, blocks },
            Some(a) => {
                let y = memory.y.wrapping_add(image * a.image + panel.block * a.block);
                Self { parts: &a.parts, share: a.share, y, block: a.block, blocks }
            }
        }
    }
    /// Clears the part that falls to these positions.
    ///
    /// # Safety
    /// Nobody else may touch it.
    #[inline(always)]
    unsafe fn clear<S: Simd>(&self, s: S, positions: Range<usize>) {
        let share = |at: usize| (((at as u64 * self.share) >> 32) as usize).min(self.parts.len());
        let mut i = share(positions.start);
        let end = share(positions.end);
        while i < end {
            // SAFETY: `i` is less than the number of parts, which lie in the halo of blocks of the output.
            unsafe {
                let (start, len) = *self.parts.get_unchecked(i);
                let mut part = self.y.add(start);
                for _ in 0..self.blocks {
                    layout::clear(s, part, len);
                    part = part.wrapping_add(self.block);
                }
            }
            i += 1;
        }
    }
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

impl<'a> Strip<'a> {
    fn new(conv: &'a Direct, memory: &'a Memory<'a>, image: usize, slab: usize, slabs: usize) -> Self {
        let [d, h, w] = conv.spec.size;
        let cut = |n: usize| slab * n / slabs..(slab + 1) * n / slabs;
        let rows = conv.order == Order::Rows && d * h > 1;
        let (lines, columns) = if rows { (cut(d * h), 0..w) } else { (0..1, cut(d * h * w)) };
        Self { conv, memory, image, lines, columns }
    }

    /// All tiles of the `NV` first of `panels`; `first` when nothing has passed over the input yet.
    #[inline(always)]
    fn run<S: Simd, L: Lanes, const NV: usize>(&self, s: S, l: L, panels: [&Panel; 2], first: bool, most: usize) {
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
        if self.columns.is_empty() {
            return;
        }
        match self.conv.order {
            Order::Listed => self.listed::<S, L, NV>(s, l, panel, &common, most.min(LISTED)),
            _ if self.conv.spec.x.step[2] == BLOCK => self.rows::<S, L, _, NV>(s, l, panel, &common, most, Near),
            _ => self.rows::<S, L, _, NV>(s, l, panel, &common, most, Even(self.conv.spec.x.step[2])),
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

    /// Tiles of positions whose inputs lie at the distance of `x`: in rows, or, of [`Order::Flat`], as they come.
    #[inline(always)]
    fn rows<S: Simd, L: Lanes, R: Rows, const NV: usize>(
        &self,
        s: S,
        l: L,
        panel: &Panel,
        common: &Common<'_>,
        most: usize,
        x: R,
    ) {
        let (spec, r_walk, places) = (&self.conv.spec, &self.memory.r_walk, &self.conv.places);
        let (step, height) = ([spec.x.step[2], spec.y.step[2], r_walk.step[2]], spec.size[1].max(1));
        let [y, r] = [step[1], step[2]].map(|step| std::array::from_fn(|m| m * step));
        let flat = self.conv.order == Order::Flat;
        let finish = self.conv.clamp.is_none() || self.conv.clear_tail;
        let halo = Halo::new(self.conv, self.memory, self.image, panel, common.blocks);
        let (count, width) = (self.columns.len(), spec.size[2]);
        let tiles = count.div_ceil(most);
        let (least, longer) = (count / tiles, count % tiles);
        let mut number = 0;
        for line in self.lines.clone() {
            let start = if flat { 0 } else { self.columns.start };
            let mut base = self.bases(panel, [line / height, line % height, start]);
            if flat {
                base.x = base.x.wrapping_add(self.columns.start * step[0]);
            }
            let (first, mut at) = (base.y, self.columns.start);
            for t in 0..tiles {
                let rows = least + usize::from(t < longer);
                let before = line * width + at;
                // SAFETY: `rows` positions from the base on, whose inputs lie at constant distances; the rest lies so too, or is listed.
                unsafe {
                    halo.clear(s, before..before + rows);
                    let strides = if flat {
                        Strides { x, y: listed_at(&places.y, at), r: listed_at(self.memory.r_places, at) }
                    } else {
                        Strides { x, y: &y, r: &r }
                    };
                    any_tile::<S, L, _, NV>(l, rows, common, base, strides, number);
                    if flat && finish {
                        self.finish(panel, common.blocks, base.y, rows, Listed(strides.y));
                    }
                    number += 1;
                    at += rows;
                    base.x = base.x.add(rows * step[0]);
                    if !flat {
                        base.y = base.y.add(rows * step[1]);
                        if !base.r.is_null() {
                            base.r = base.r.add(rows * step[2]);
                        }
                    }
                }
            }
            if !flat && finish {
                // SAFETY: the positions of this line.
                unsafe { self.finish(panel, common.blocks, first, count, Even(step[1])) };
            }
        }
    }

    /// Tiles of positions as they come, each with addresses of its own.
    #[inline(always)]
    fn listed<S: Simd, L: Lanes, const NV: usize>(&self, s: S, l: L, panel: &Panel, common: &Common<'_>, most: usize) {
        let places = &self.conv.places;
        let base = self.bases(panel, [0; 3]);
        let halo = Halo::new(self.conv, self.memory, self.image, panel, common.blocks);
        let count = self.columns.len();
        let tiles = count.div_ceil(most);
        let (least, longer) = (count / tiles, count % tiles);
        let mut at = self.columns.start;
        for t in 0..tiles {
            let rows = least + usize::from(t < longer);
            // SAFETY: the listed rows are positions of the geometry.
            unsafe {
                halo.clear(s, at..at + rows);
                let x = Listed(listed_at::<LISTED>(&places.x, at));
                let strides = Strides { x, y: listed_at(&places.y, at), r: listed_at(self.memory.r_places, at) };
                any_tile::<S, L, _, NV>(l, rows, common, base, strides, t);
                if self.conv.clamp.is_none() || self.conv.clear_tail {
                    self.finish(panel, common.blocks, base.y, rows, Listed(strides.y));
                }
            }
            at += rows;
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

/// `N` places from the `at`-th on.
///
/// # Safety
/// `at` must be less than the number of places.
#[inline(always)]
unsafe fn listed_at<const N: usize>(places: &[usize], at: usize) -> &[usize; N] {
    const { assert!(N <= TALL) };
    debug_assert!(at + N <= places.len());
    // SAFETY: lists are longer than the number of places by `TALL`.
    unsafe { &*places.as_ptr().add(at).cast() }
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
            let bound = l.splat(lo);
            for m in 0..MR {
                for v in 0..NV {
                    sums[m][v] = l.max(bound, sums[m][v]);
                }
            }
            if hi < f32::INFINITY {
                let bound = l.splat(hi);
                for m in 0..MR {
                    for v in 0..NV {
                        sums[m][v] = l.min(bound, sums[m][v]);
                    }
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
