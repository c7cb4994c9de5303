//! The direct convolution: matrix tiles over pixels and outputs, with the taps as the inner dimension.

use super::pack::ConvWeights;
use super::source::View;
use super::tile::{self, Work};
use super::{ConvDesc, Residual};
use crate::activation::Activation;
use crate::gemm::tile::{Run, TALL};
use crate::isa::Isa;
use crate::layout::{BLOCK, Blocked};
use crate::par::Parallel;
use crate::{Error, Result};
use std::sync::Arc;

/// Where a position of the loop over outputs lies in a tensor: `start + image * n + z * step[0] + y * step[1] + x * step[2]`.
#[derive(Clone, Copy, Debug)]
pub struct Walk {
    pub start: usize,
    pub image: usize,
    pub step: [usize; 3],
    /// Floats between channel blocks.
    pub block: usize,
}

impl Walk {
    /// The interior of a blocked tensor.
    pub fn interior(g: &Blocked) -> Self {
        Self {
            start: g.offset(0, 0, [0; 3]),
            image: g.blocks() * g.block_len(),
            step: [g.slice_stride(), g.row_stride(), BLOCK],
            block: g.block_len(),
        }
    }
    /// True when positions of `size` lie at a constant distance, so that they may be walked as one row.
    fn is_flat(&self, size: [usize; 3]) -> bool {
        let [z, y, x] = self.step;
        (size[1] == 1 || size[0] * size[1] == 1 || y == size[2] * x) && (size[0] == 1 || z == size[1] * size[2] * x)
    }
}

/// The halo of blocked images.
#[derive(Debug)]
pub struct Around {
    /// Starts and floats of its stretches in a block.
    pub parts: Vec<(usize, usize)>,
    /// Parts that are cleared with each position of the output, in units of 2^-32, rounded up.
    pub share: u64,
    /// Floats of a block, and of an image.
    pub block: usize,
    pub image: usize,
}

impl Around {
    /// Of images that have one; it is cleared with so many positions of each.
    pub fn new(g: &Blocked, positions: usize) -> Option<Self> {
        let mut parts = Vec::new();
        g.halo_parts(|start, len| parts.push((start, len)));
        let share = ((parts.len() as u64) << 32).div_ceil(positions.max(1) as u64);
        (!parts.is_empty()).then(|| Self { parts, share, block: g.block_len(), image: g.blocks() * g.block_len() })
    }
}

/// A convolution as loops over memory: every output position reads `taps` at fixed distances from its base.
#[derive(Debug)]
pub struct Spec {
    pub images: usize,
    /// Output positions.
    pub size: [usize; 3],
    pub x: Walk,
    /// Distance, in floats, of every tap from the base.
    pub taps: Vec<usize>,
    pub y: Walk,
    /// The halo of the output; `None` when there is none, or someone else writes it.
    pub around: Option<Around>,
    pub residual: Option<Walk>,
    pub activation: Activation,
}

impl Spec {
    /// An ordinary convolution of the image `view`.
    pub fn conv(desc: &ConvDesc, output: Blocked, view: &View) -> Self {
        let mut taps = Vec::with_capacity(desc.kernel.iter().product());
        for z in 0..desc.kernel[0] {
            for y in 0..desc.kernel[1] {
                taps.extend((0..desc.kernel[2]).map(|x| view.tap(desc, [z, y, x])));
            }
        }
        Self {
            images: output.n,
            size: output.size,
            x: Walk { start: view.start, image: view.image, step: view.output, block: view.block },
            taps,
            y: Walk::interior(&output),
            around: Around::new(&output, output.positions()),
            residual: desc.residual.map(|r| Walk::interior(&r)),
            activation: desc.activation,
        }
    }
}

/// How the loop over output positions is cut in tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Tiles lie in rows of `size[2]` positions.
    Rows,
    /// Tiles take the positions as they come; those of the input lie side by side.
    Flat,
    /// Tiles take the positions as they come; each row of a tile has its own address.
    Listed,
}

/// Where the positions of an order that is not [`Order::Rows`] lie, in floats from the first one; each list is longer by [`TALL`] entries, so
/// that a tile reads as many as it could have rows.
#[derive(Debug, Default)]
pub struct Places {
    /// Of [`Order::Listed`] only.
    pub x: Vec<usize>,
    pub y: Vec<usize>,
    /// Empty without a residual of its own geometry.
    pub r: Vec<usize>,
}

impl Places {
    fn new(spec: &Spec, order: Order) -> Self {
        let [d, h, w] = spec.size;
        let list = |walk: &Walk| {
            let at = |z, y, x| z * walk.step[0] + y * walk.step[1] + x * walk.step[2];
            let rows = (0..d).flat_map(|z| (0..h).map(move |y| (z, y)));
            let places = rows.flat_map(|(z, y)| (0..w).map(move |x| at(z, y, x)));
            places.chain([0; TALL]).collect()
        };
        match order {
            Order::Rows => Self::default(),
            Order::Flat => Self { x: Vec::new(), y: list(&spec.y), r: spec.residual.iter().flat_map(list).collect() },
            Order::Listed => Self { x: list(&spec.x), ..Self::new(spec, Order::Flat) },
        }
    }
}

/// A direct convolution with packed weights.
#[derive(Debug)]
pub struct Direct {
    pub(super) isa: Isa,
    pub(super) spec: Spec,
    pub(super) weights: Arc<ConvWeights>,
    /// Stretches of the inner dimension; the same number for every input block but the last.
    pub(super) runs: Vec<Run>,
    pub(super) runs_per_block: usize,
    pub(super) order: Order,
    pub(super) places: Places,
    /// The bounds of an activation that is a clamp.
    pub(super) clamp: Option<(f32, f32)>,
    /// True when the lanes past the last channel must be cleared after the activation.
    pub(super) clear_tail: bool,
    /// True for one tap of neighbouring positions.
    pub(super) pointwise: bool,
    macs: usize,
}

impl Direct {
    pub fn new(isa: Isa, mut spec: Spec, weights: Arc<ConvWeights>) -> Result<Self> {
        let (runs, runs_per_block) = runs(&spec, &weights)?;
        let positions: usize = spec.size.iter().product();
        let residual_is_flat = spec.residual.is_none_or(|r| r.is_flat(spec.size));
        if spec.x.is_flat(spec.size) && spec.y.is_flat(spec.size) && residual_is_flat {
            spec.size = [1, 1, positions];
        }
        let order = order(&spec, isa);
        let places = Places::new(&spec, order);
        let steps: usize = weights.panels.iter().map(|p| p.inputs.len() * p.width).sum();
        let macs = steps * weights.channels.per_block * BLOCK * spec.taps.len() * positions * spec.images;
        let clear_tail = !spec.activation.keeps_zero() && !weights.channels.outputs.is_multiple_of(BLOCK);
        let pointwise = spec.taps.len() == 1 && spec.x.step[2] == BLOCK && weights.channels.per_block == BLOCK;
        Ok(Self {
            isa,
            clamp: spec.activation.as_clamp(),
            spec,
            weights,
            runs,
            runs_per_block,
            order,
            places,
            clear_tail,
            pointwise,
            macs,
        })
    }
    /// The register tile, for reports.
    pub fn tile(&self) -> String {
        let (rows, wide) = self.isa.dispatch(TileShape);
        let rows = if self.order == Order::Listed { rows.min(crate::gemm::tile::LISTED) } else { rows };
        format!("{rows}x{}", if wide { 4 * BLOCK } else { 2 * BLOCK })
    }
    /// Runs the whole convolution.
    pub fn run(&self, x: &[f32], y: &mut [f32], residual: Residual<'_>, par: &dyn Parallel) {
        if self.spec.size.contains(&0) {
            // Nothing but halo, if that.
            y.fill(0.0);
            return;
        }
        let grid = self.grid(par.threads());
        tile::run(&Work { conv: self, grid }, self.isa, x, y, residual, par);
    }

    /// How to cut the work for so many threads. A slab is a range of positions whose input stays in the second-level cache while all
    /// panels pass over it; several threads want several chunks each.
    fn grid(&self, threads: usize) -> Grid {
        let [d, h, w] = self.spec.size;
        let (lines, columns) = if self.order == Order::Rows && d * h > 1 { (d * h, 1) } else { (1, w * d * h) };
        let most = (lines * columns.div_ceil(14)).max(1);
        let slabs = (self.spec.x.image * 4).div_ceil(SLAB).clamp(1, most);
        let images = self.spec.images;
        let whole = Grid { slabs, parts: 1, by_part: false, chunks: 1 };
        // Few positions leave the time to the weights, which come from far.
        let work = self.macs + FLOAT_MACS * self.weights.data.len();
        if threads <= 1 || work < SHARED_MACS {
            return whole;
        }
        let wanted = (work / CHUNK_MACS).clamp(threads, 4 * threads) / threads * threads;
        // Each thread takes rows that it, or its neighbour, wrote in the layer before, or, of small images, a part of the weights.
        let missing = |units: usize| wanted.div_ceil(units.max(1));
        let groups = self.weights.panels.len().div_ceil(2).max(1);
        let by_part = lines * columns < THREAD_POSITIONS * threads;
        let (slabs, parts) = if images % threads == 0 {
            (slabs, missing(images * slabs).min(groups))
        } else if by_part {
            let parts = wanted.min(groups);
            // Halves of a part that no thread has for itself.
            let halves = if images == 1 && parts % threads != 0 { threads } else { 1 };
            ((slabs * missing(images * slabs * parts)).max(halves).min(most), parts)
        } else {
            let slabs = (slabs * missing(images * slabs)).next_multiple_of(threads).min(most);
            (slabs, missing(images * slabs).min(groups))
        };
        Grid { slabs, parts, by_part, chunks: wanted.min(images * slabs * parts) }
    }
}

/// Positions a thread that are worth cutting an image by positions.
pub const THREAD_POSITIONS: usize = 256;
/// Bytes of input that a pass over all panels may touch.
const SLAB: usize = 256 << 10;
/// Multiply-adds in the time in which a float of weights comes from the third-level cache.
const FLOAT_MACS: usize = 8;
/// Multiply-adds worth a chunk of their own.
const CHUNK_MACS: usize = 150_000;
/// Multiply-adds, or as much time, worth sharing at all: with fewer, handing over and fetching from the other core's cache cost what it saves.
pub const SHARED_MACS: usize = 800_000;

/// The cut of a convolution: units (image, slab, part), and chunks of neighbouring units.
#[derive(Clone, Copy, Debug)]
pub struct Grid {
    /// Ranges of positions.
    pub slabs: usize,
    /// Ranges of panels.
    pub parts: usize,
    /// Units are counted part by part, else slab by slab.
    pub by_part: bool,
    /// What the parallel loop is asked for.
    pub chunks: usize,
}

/// The order of positions that fills tiles best. Sums of one row are a chain with the latency of a multiply-add, so a tile needs some
/// four rows of two registers to keep the units busy; more rows share what a tile costs besides.
fn order(spec: &Spec, isa: Isa) -> Order {
    let (most, _) = isa.dispatch(TileShape);
    let (width, positions) = (spec.size[2], spec.size.iter().product::<usize>());
    let fill = |n: usize| n as f32 / n.div_ceil(most).max(1) as f32;
    if positions == width {
        Order::Rows
    } else if spec.x.is_flat(spec.size) && fill(positions) > 1.1 * fill(width) {
        Order::Flat
    } else if fill(width) >= 4.0 && !(most == 6 && width == 7) {
        Order::Rows
    } else {
        Order::Listed
    }
}

/// Most rows of a tile of pairs of blocks, and whether two pairs are one tile.
struct TileShape;

impl crate::isa::Kernel for TileShape {
    type Output = (usize, bool);
    #[inline(always)]
    fn run<S: crate::isa::Simd>(self, _s: S) -> (usize, bool) {
        (S::ROWS, S::WIDE)
    }
}

/// The runs of all input blocks: taps whose channels lie side by side are joined.
fn runs(spec: &Spec, weights: &ConvWeights) -> Result<(Vec<Run>, usize)> {
    let channels = &weights.channels;
    let mut runs: Vec<Run> = Vec::new();
    let mut per_block = 0;
    for block in 0..channels.input_blocks() {
        let (first, len) = (runs.len(), channels.in_block(block));
        for tap in &spec.taps {
            let offset = block * spec.x.block + tap;
            if let Some(last) = runs[first..].last_mut()
                && last.offset as usize + last.len == offset
            {
                last.len += len;
                continue;
            }
            let offset = u32::try_from(offset)
                .map_err(|_| Error::new("conv", format!("input: an image of {} floats is too large", spec.x.image)))?;
            runs.push(Run { offset, len });
        }
        if block == 0 {
            per_block = runs.len();
        }
    }
    Ok((runs, per_block))
}
