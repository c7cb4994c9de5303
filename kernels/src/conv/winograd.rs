//! Convolutions of 3x3 with stride 1 by minimal filtering: tiles of outputs from products at points.
//!
//! Three stages for a group of tiles whose values stay in the second-level cache: windows of the input are transformed to their values
//! at the points (`[point][C / 8][tile][8]`), every point is one matrix product over the channels (a [`Direct`] convolution
//! of one tap whose images are the points, each with weights of its own), and the products are transformed to outputs with
//! bias, residual and activation. A tile of 4x4 outputs costs 36 products instead of 144.
//!
//! Which shapes take it is decided by [`choose`] from shapes alone. Transforms work on eight channels of one or two tiles at a
//! time, lane by lane, so that the bits are the same on every instruction set, for every cut in groups and any number of threads.

mod points;
mod tile;

use super::direct::{Direct, SHARED_MACS, Spec, Walk};
use super::pack::{Channels, ConvWeights, PANEL};
use super::source::View;
use super::{ConvDesc, Residual, Source, Winograd};
use crate::activation::Activation;
use crate::error::check_len;
use crate::gemm::Aligned;
use crate::isa::{Isa, Kernel, Simd};
use crate::layout::{BLOCK, Blocked};
use crate::par::{Parallel, Serial};
use crate::{Error, Result};
use points::{Four, Points, Two};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Outputs of a tile on each axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// 2x2.
    Two,
    /// 4x4.
    Four,
}

impl Form {
    fn outputs(self) -> usize {
        match self {
            Form::Two => Two::OUT,
            Form::Four => Four::OUT,
        }
    }
    /// The algorithm, for reports.
    pub fn name(self) -> &'static str {
        match self {
            Form::Two => "winograd 2x2",
            Form::Four => "winograd 4x4",
        }
    }
    /// Points of both dimensions.
    pub(super) fn points(self) -> usize {
        (self.outputs() + 2) * (self.outputs() + 2)
    }
}

/// Fewest channels on either side: below, the transforms outweigh the products.
const FEWEST: usize = 16;
/// Multiply-adds in the time in which a byte of weights comes from the third-level cache, of the machines this was measured on.
const MACS_A_BYTE: f64 = 2.0;
/// What transforming a tile costs, in multiply-adds a channel and point.
const TRANSFORM: f64 = 8.0;

/// The cheapest way to compute this convolution, or `None` for the direct one: multiply-adds, transforms, and the bytes of weights, which
/// grow with the points.
pub fn choose(desc: &ConvDesc) -> Option<Form> {
    let output = desc.output_size();
    let plain = desc.stride == [1; 3] && desc.dilation == [1; 3] && desc.groups == 1 && desc.source == Source::Blocked;
    let flat = desc.kernel == [1, 3, 3] && desc.input.size[0] == 1 && output[0] == 1;
    if desc.winograd == Winograd::Off || !plain || !flat {
        return None;
    }
    let (c, n) = (desc.input.c, desc.channels);
    if c < FEWEST || n < FEWEST || desc.input.n == 0 || output.contains(&0) {
        return None;
    }
    if let Winograd::Only(form) = desc.winograd {
        return Some(form);
    }
    let images = desc.input.n as f64;
    let (c, n, positions) = (c as f64, n as f64, images * (output[1] * output[2]) as f64);
    let direct = 9.0 * c * n * (positions + 4.0 * MACS_A_BYTE);
    let cost = |form: Form| {
        let edge = form.outputs();
        let tiles = images * (output[1].div_ceil(edge) * output[2].div_ceil(edge)) as f64;
        form.points() as f64 * (c * n * (tiles + 4.0 * MACS_A_BYTE) + TRANSFORM * tiles * (c + n))
    };
    let (two, four) = (cost(Form::Two), cost(Form::Four));
    let (best, form) = if four <= two { (four, Form::Four) } else { (two, Form::Two) };
    (best < direct).then_some(form)
}

/// Packs weights `[O, C, 3, 3]`: one set of panels for each point.
pub fn pack(isa: Isa, desc: &ConvDesc, form: Form, weights: &[f32], bias: Option<&[f32]>) -> Result<ConvWeights> {
    let points = PointsForm { channels: Channels::of(desc), form };
    let mut numbers = Aligned::zeros(points.len());
    points.compute(isa, weights, &mut numbers)?;
    ConvWeights::from_points(&points, numbers.into(), bias)
}

/// The values at the points of weights `[O, C, 3, 3]` for a blocked input: panels as those of a convolution of one tap, one set for each
/// point. The same bits on every instruction set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PointsForm {
    pub(super) channels: Channels,
    pub(super) form: Form,
}

impl PointsForm {
    /// Changes whenever the values or their order do.
    pub const VERSION: u32 = 1;

    /// The values of weights `[outputs, inputs, 3, 3]`.
    ///
    /// # Errors
    /// When there are no weights, or too many.
    pub fn new(outputs: usize, inputs: usize, form: Form) -> Result<Self> {
        let fits = outputs.checked_mul(inputs).is_some_and(|n| n > 0 && n < 1 << 40);
        let channels = Channels { inputs, outputs, groups: 1, per_block: BLOCK };
        let bad = || Error::new("conv", format!("weights [{outputs}, {inputs}, 3, 3] have no values at points"));
        fits.then_some(Self { channels, form }).ok_or_else(bad)
    }
    /// Floats of all values.
    pub fn len(&self) -> usize {
        self.form.points() * self.panels().1
    }
    /// The panels of one point, and the floats to those of the next: an odd number of cache lines, which spreads the points over the sets
    /// of the caches.
    pub(super) fn panels(&self) -> (Vec<super::pack::Panel>, usize) {
        let (panels, floats) = self.channels.panels(1);
        (panels, ((floats / PANEL) | 1) * PANEL)
    }
    /// Never: there are outputs and inputs.
    pub fn is_empty(&self) -> bool {
        false
    }
    /// Computes the values of `weights` into zeros.
    ///
    /// # Errors
    /// When a slice has another length; `data` may be longer.
    pub fn compute(&self, isa: Isa, weights: &[f32], data: &mut [f32]) -> Result<()> {
        let Self { channels, form } = *self;
        check_len("conv", "weights", channels.outputs * channels.inputs * 9, weights.len())?;
        if data.len() < self.len() {
            return Err(Error::length("conv", "values at points, at least", self.len(), data.len()));
        }
        let (panels, len) = self.panels();
        let panels = &panels;
        match form {
            Form::Two => isa.dispatch(Pack::<Two> { channels, panels, len, weights, data, form: Two }),
            Form::Four => isa.dispatch(Pack::<Four> { channels, panels, len, weights, data, form: Four }),
        }
        Ok(())
    }
}

/// Where a tile lies.
#[derive(Clone, Copy, Debug)]
struct At {
    image: u32,
    /// Tile row and column.
    row: u32,
    column: u32,
}

/// A convolution by minimal filtering, with packed weights.
#[derive(Debug)]
pub struct Minimal {
    isa: Isa,
    form: Form,
    weights: Arc<ConvWeights>,
    /// The products at the points of a group.
    products: Direct,
    x: Walk,
    /// Rows and columns of the input that may be read, from the first one of the padding.
    readable: [usize; 2],
    y: Walk,
    output: Blocked,
    residual: Option<Walk>,
    activation: Activation,
    tiles: Vec<At>,
    groups: usize,
    /// Tiles of a group, even.
    room: usize,
    /// Floats from the input values of one point to those of the next, and of the products.
    v_point: usize,
    m_point: usize,
}

/// Floats of one group: values and products of all its points. Half of it fits the second-level cache of every machine measured.
const GROUP: usize = 320 << 10;
/// Fewest tiles that a pass over the weights should serve.
const SERVED: usize = 28;
/// Most threads that take whole groups.
const MOST_LANES: usize = 16;

impl Minimal {
    pub fn new(
        isa: Isa,
        desc: &ConvDesc,
        output: Blocked,
        view: &View,
        form: Form,
        weights: Arc<ConvWeights>,
    ) -> Result<Self> {
        let edge = form.outputs();
        let [_, rows, columns] = output.size.map(|n| n.div_ceil(edge));
        let images = output.n as u32;
        let tiles: Vec<At> = (0..images)
            .flat_map(|image| (0..rows as u32).map(move |row| (image, row)))
            .flat_map(|(image, row)| (0..columns as u32).map(move |column| At { image, row, column }))
            .collect();
        let (in_blocks, out_blocks) = (desc.input.blocks(), output.blocks());
        let floats = form.points() * (in_blocks + out_blocks) * BLOCK;
        let most = (GROUP / floats).max(SERVED);
        // Several groups are an even number, so that two threads have the same number.
        let groups = match tiles.len().div_ceil(most) {
            0 | 1 => 1,
            n => n.next_multiple_of(2),
        };
        let room = tiles.len().div_ceil(groups).next_multiple_of(2);
        // An odd number of cache lines between points spreads them over the sets of the caches.
        let point = |blocks: usize| ((blocks * room / 2) | 1) * 2 * BLOCK;
        let (v_point, m_point) = (point(in_blocks), point(out_blocks));
        let walk = |image: usize| Walk { start: 0, image, step: [0, 0, BLOCK], block: room * BLOCK };
        let spec = Spec {
            images: form.points(),
            size: [1, 1, room],
            x: walk(v_point),
            taps: vec![0],
            y: walk(m_point),
            around: None,
            residual: None,
            activation: Activation::Identity,
        };
        Ok(Self {
            isa,
            form,
            products: Direct::new(isa, spec, weights.clone())?,
            weights,
            x: Walk { start: view.start, image: view.image, step: view.step, block: view.block },
            readable: std::array::from_fn(|i| desc.pads[i + 1].0 + desc.input.size[i + 1] + desc.input.halo[i + 1].1),
            y: Walk::interior(&output),
            output,
            residual: desc.residual.map(|r| Walk::interior(&r)),
            activation: desc.activation,
            tiles,
            groups,
            room,
            v_point,
            m_point,
        })
    }
    /// The algorithm, for reports.
    pub fn name(&self) -> &'static str {
        self.form.name()
    }
    /// The register tile of the products.
    pub fn tile(&self) -> String {
        self.products.tile()
    }
    /// Floats of scratch of one group.
    fn group_len(&self) -> usize {
        self.form.points() * (self.v_point + self.m_point)
    }
    /// Floats of scratch for so many threads: each may have a group of its own.
    pub fn scratch_len(&self, threads: usize) -> usize {
        self.group_len() * threads.min(self.groups).max(1)
    }
    /// True when threads take whole groups; else they share the stages of one after the other.
    fn has_groups_for(&self, threads: usize) -> bool {
        threads > 1 && (self.groups >= 4 * threads || self.groups.is_multiple_of(threads))
    }
    /// Multiply-adds of all products.
    fn macs(&self) -> usize {
        let channels = &self.weights.channels;
        self.form.points() * self.tiles.len() * channels.inputs * channels.outputs
    }
    /// Runs the whole convolution; `scratch` has room for one group at least.
    pub fn run(&self, x: &[f32], y: &mut [f32], residual: Residual<'_>, scratch: &mut [f32], par: &dyn Parallel) {
        match self.form {
            Form::Two => self.run_form(Two, x, y, residual, scratch, par),
            Form::Four => self.run_form(Four, x, y, residual, scratch, par),
        }
    }
    fn run_form<P: Points>(
        &self,
        points: P,
        x: &[f32],
        y: &mut [f32],
        residual: Residual<'_>,
        scratch: &mut [f32],
        par: &dyn Parallel,
    ) {
        let memory = tile::Memory::new(self, x, y, residual);
        let par = if self.macs() < SHARED_MACS { &Serial } else { par };
        let len = self.group_len();
        let lanes = par.threads().min(scratch.len() / len).min(self.groups).min(MOST_LANES);
        if self.has_groups_for(lanes) {
            // Each lane has a share of the groups and goes on with what is left of the others' shares.
            let taken: [AtomicUsize; MOST_LANES] = std::array::from_fn(|_| AtomicUsize::new(0));
            let scratch = crate::par::Shared::new(scratch);
            par.run(lanes, &|lane| {
                let scratch = tile::lane(&scratch, lane, len);
                for share in (lane..lanes).chain(0..lane) {
                    let (start, end) = (share * self.groups / lanes, (share + 1) * self.groups / lanes);
                    loop {
                        let group = start + taken[share].fetch_add(1, Ordering::Relaxed);
                        if group >= end {
                            break;
                        }
                        self.group(points, group, &memory, scratch, &Serial);
                    }
                }
            });
        } else {
            let scratch = &mut scratch[..len];
            (0..self.groups).for_each(|g| self.group(points, g, &memory, scratch, par));
        }
    }
    /// The three stages of one group.
    fn group<P: Points>(
        &self,
        points: P,
        group: usize,
        memory: &tile::Memory<'_>,
        scratch: &mut [f32],
        par: &dyn Parallel,
    ) {
        let (start, end) = (group * self.tiles.len() / self.groups, (group + 1) * self.tiles.len() / self.groups);
        let (values, products) = scratch.split_at_mut(self.form.points() * self.v_point);
        let tiles = &self.tiles[start..end];
        tile::input(self, points, tiles, memory, values, par);
        self.products.run(values, products, Residual::None, par);
        tile::output(self, points, tiles, memory, products, par);
    }
}

/// Weights of panels at the points, computed in double precision and rounded once.
struct Pack<'a, P> {
    channels: Channels,
    panels: &'a [super::pack::Panel],
    /// Floats from the panels of one point to those of the next.
    len: usize,
    weights: &'a [f32],
    data: &'a mut [f32],
    #[allow(dead_code)]
    form: P,
}

impl<P: Points> Kernel for Pack<'_, P> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _s: S) {
        const LANES: usize = PANEL;
        let c = self.channels.inputs;
        for panel in self.panels {
            let first = panel.block * BLOCK;
            let used = (panel.width * BLOCK).min(self.channels.outputs - first);
            for channel in 0..c {
                let mut taps = [[0.0f64; LANES]; 9];
                for lane in 0..used {
                    let from = &self.weights[((first + lane) * c + channel) * 9..][..9];
                    for t in 0..9 {
                        taps[t][lane] = f64::from(from[t]);
                    }
                }
                let mut rows = [[[0.0f64; LANES]; 3]; points::MOST];
                for x in 0..3 {
                    for lane in 0..LANES {
                        let column = P::filter([taps[x][lane], taps[3 + x][lane], taps[6 + x][lane]]);
                        for y in 0..P::IN {
                            rows[y][x][lane] = column[y];
                        }
                    }
                }
                for y in 0..P::IN {
                    let mut all = [[0.0f32; LANES]; points::MOST];
                    for lane in 0..LANES {
                        let row = P::filter([rows[y][0][lane], rows[y][1][lane], rows[y][2][lane]]);
                        for x in 0..P::IN {
                            all[x][lane] = row[x] as f32;
                        }
                    }
                    for x in 0..P::IN {
                        let at = (y * P::IN + x) * self.len + panel.weights + channel * LANES;
                        self.data[at..at + LANES].copy_from_slice(&all[x]);
                    }
                }
            }
        }
    }
}
