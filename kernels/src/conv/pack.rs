//! Weights in panels: `[panel][step][16 outputs]`, in the order in which the matrix tile walks them.

use super::winograd::{Form, PointsForm};
use super::{ConvDesc, Source};
use crate::gemm::aligned::{Aligned, Packed};
use crate::layout::BLOCK;
use crate::{Error, Result};
use std::ops::Range;

/// One or two blocks of outputs that are computed together; the weights of a missing second one are zeros.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panel {
    /// First output block.
    pub block: usize,
    /// Blocks: 1 or 2.
    pub width: usize,
    /// Input blocks it reads.
    pub inputs: Range<usize>,
    /// Where its weights start.
    pub weights: usize,
}

/// The form of packed weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Packing {
    /// Panels over all taps.
    Panels,
    /// `[block][tap][8]`.
    Depthwise,
    /// Panels over one tap, for each point of minimal filtering.
    Points(Form),
}

/// Packed weights and bias of a convolution, for any image size and instruction set.
#[derive(Debug)]
pub struct ConvWeights {
    pub(super) channels: Channels,
    pub(super) taps: usize,
    pub(super) packing: Packing,
    pub(super) panels: Vec<Panel>,
    /// Panels, or, of a depthwise convolution, `[block][tap][8]`.
    pub(super) data: Packed,
    /// Floats from the weights of one image to those of the next: 0 where all images have the same.
    pub(super) image: usize,
    /// Where the sums of the panels start: one float an output, zeros up to two blocks past the end.
    pub(super) bias: Aligned,
    /// Bias that is added after the products of all points; else empty.
    pub(super) after: Aligned,
}

impl ConvWeights {
    pub(super) fn panels(
        channels: Channels,
        taps: usize,
        weight: impl Fn(usize, usize, usize) -> f32,
        bias: Option<&[f32]>,
    ) -> Self {
        let (panels, len) = channels.panels(taps);
        let mut data = Aligned::zeros(len);
        channels.for_each(&panels, taps, |at, o, c, tap| data[at] = weight(o, c, tap));
        Self::images(data.into(), panels, channels, taps, bias)
    }
    /// The same weights for all images.
    fn images(data: Packed, panels: Vec<Panel>, channels: Channels, taps: usize, bias: Option<&[f32]>) -> Self {
        let (bias, packing) = (pad_bias(channels.outputs, bias), Packing::Panels);
        Self { data, bias, panels, channels, taps, packing, image: 0, after: Aligned::zeros(0) }
    }
    /// Values at points that are computed already.
    ///
    /// # Errors
    /// When there are too few numbers, or the bias has another length.
    pub fn from_points(points: &PointsForm, data: Packed, bias: Option<&[f32]>) -> Result<Self> {
        let PointsForm { channels, form } = *points;
        if data.len() < points.len() {
            return Err(Error::length("conv", "values at points, at least", points.len(), data.len()));
        }
        if let Some(b) = bias {
            crate::error::check_len("conv", "bias", channels.outputs, b.len())?;
        }
        let (panels, image) = points.panels();
        let (start, after) = (pad_bias(channels.outputs, None), pad_bias(channels.outputs, bias));
        Ok(Self { data, bias: start, after, panels, channels, taps: 9, packing: Packing::Points(form), image })
    }
    /// Weights that are packed already, in the form `form`.
    ///
    /// # Errors
    /// When there are too few numbers, or the bias has another length.
    pub fn from_packed(form: &ConvForm, data: Packed, bias: Option<&[f32]>) -> Result<Self> {
        if data.len() < form.len() {
            return Err(Error::length("conv", "packed weights, at least", form.len(), data.len()));
        }
        if let Some(b) = bias {
            crate::error::check_len("conv", "bias", form.channels.outputs, b.len())?;
        }
        let depthwise = form.is_depthwise();
        let panels = if depthwise { Vec::new() } else { form.channels.panels(form.taps).0 };
        let packing = if depthwise { Packing::Depthwise } else { Packing::Panels };
        Ok(Self { packing, ..Self::images(data, panels, form.channels, form.taps, bias) })
    }
    pub(super) fn check(&self, desc: &ConvDesc) -> Result<()> {
        let (wanted, taps) = (Channels::of(desc), desc.kernel.iter().product::<usize>());
        let (packing, found) = (desc.packing(), self.packing);
        if self.channels == wanted && self.taps == taps && found == packing {
            return Ok(());
        }
        let message = format!(
            "weights: packed as {found:?} for {:?} of {} taps, expected {packing:?} for {wanted:?} of {taps}",
            self.channels, self.taps
        );
        Err(Error::new("conv", message))
    }
    /// Bytes of weights and bias.
    pub fn bytes(&self) -> usize {
        4 * (self.data.len() + self.bias.len() + self.after.len())
    }
}

fn pad_bias(outputs: usize, bias: Option<&[f32]>) -> Aligned {
    let mut padded = Aligned::zeros(outputs.next_multiple_of(BLOCK) + BLOCK);
    if let Some(bias) = bias {
        padded[..outputs].copy_from_slice(bias);
    }
    padded
}

/// Floats of a step of a panel.
pub const PANEL: usize = 2 * BLOCK;

/// Channels of a convolution and how the input groups them into blocks in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channels {
    pub inputs: usize,
    pub outputs: usize,
    pub groups: usize,
    /// Input channels that are neighbours in memory.
    pub per_block: usize,
}

impl Channels {
    pub fn of(desc: &ConvDesc) -> Self {
        let per_block = match desc.source {
            Source::Blocked => BLOCK,
            Source::Planar => 1,
            Source::Interleaved => desc.input.c.max(1),
        };
        Self { inputs: desc.input.c, outputs: desc.channels, groups: desc.groups, per_block }
    }
    pub fn input_blocks(&self) -> usize {
        self.inputs.div_ceil(self.per_block)
    }
    /// Channels of an input block.
    pub fn in_block(&self, block: usize) -> usize {
        (self.inputs - block * self.per_block).min(self.per_block)
    }
    /// Input blocks that the outputs of one output block depend on.
    fn range(&self, block: usize) -> Range<usize> {
        let (per_in, per_out) = (self.inputs / self.groups, self.outputs / self.groups);
        let last = (block * BLOCK + BLOCK).min(self.outputs) - 1;
        let (first_group, last_group) = (block * BLOCK / per_out, last / per_out);
        let (from, to) = (first_group * per_in, (last_group + 1) * per_in);
        from / self.per_block..to.div_ceil(self.per_block)
    }
    /// Two blocks share a panel when they read the same inputs.
    pub fn panels(&self, taps: usize) -> (Vec<Panel>, usize) {
        let blocks = self.outputs.div_ceil(BLOCK);
        let (mut panels, mut block, mut weights) = (Vec::new(), 0, 0);
        while block < blocks {
            let inputs = self.range(block);
            let width = if block + 1 < blocks && self.range(block + 1) == inputs { 2 } else { 1 };
            let channels = (inputs.end * self.per_block).min(self.inputs) - inputs.start * self.per_block;
            let steps = channels * taps;
            panels.push(Panel { block, width, inputs, weights });
            block += width;
            weights += steps * PANEL;
        }
        (panels, weights)
    }
    /// Calls `f(place in the packed form, output, input channel of its group, tap)` for every weight, in the order of the places.
    #[inline]
    fn for_each(&self, panels: &[Panel], taps: usize, mut f: impl FnMut(usize, usize, usize, usize)) {
        let (per_in, per_out) = (self.inputs / self.groups, self.outputs / self.groups);
        for panel in panels {
            let first_output = panel.block * BLOCK;
            let live = (panel.width * BLOCK).min(self.outputs - first_output);
            let group: [usize; PANEL] = std::array::from_fn(|lane| (first_output + lane) / per_out * per_in);
            let mut at = panel.weights;
            for block in panel.inputs.clone() {
                let first = block * self.per_block;
                for tap in 0..taps {
                    for c in first..first + self.in_block(block) {
                        for (lane, &start) in group[..live].iter().enumerate() {
                            if c >= start && c < start + per_in {
                                f(at + lane, first_output + lane, c - start, tap);
                            }
                        }
                        at += PANEL;
                    }
                }
            }
        }
    }
}

/// The form in which weights `[outputs, inputs / groups, taps]` are packed: `[panel][input block][tap][channel][16 outputs]`, or, of
/// a depthwise convolution, `[block][tap][8]`. A permutation with zeros in between, one for every instruction set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvForm {
    channels: Channels,
    taps: usize,
}

impl ConvForm {
    /// Changes whenever the order of numbers does.
    pub const VERSION: u32 = 2;

    /// The form of weights `[outputs, per_group, taps]` in `groups` groups, for input whose channels lie `per_block` side by side (8 of a
    /// blocked image, 1 of a planar one, all of an interleaved one).
    ///
    /// # Errors
    /// When a number is 0, the groups do not divide the outputs, or the form is too large.
    pub fn new(outputs: usize, per_group: usize, taps: usize, groups: usize, per_block: usize) -> Result<Self> {
        let inputs = per_group.checked_mul(groups);
        let fits =
            |n: &usize| [outputs, taps].iter().try_fold(*n, |a, &b| a.checked_mul(b)).is_some_and(|n| n < 1 << 48);
        match inputs.filter(fits) {
            Some(inputs) if inputs.min(outputs).min(taps).min(per_block) > 0 && outputs.is_multiple_of(groups) => {
                Ok(Self { channels: Channels { inputs, outputs, groups, per_block }, taps })
            }
            _ => {
                let shape = [outputs, per_group, taps];
                Err(Error::new(
                    "conv",
                    format!("weights {shape:?}: no packed form for {groups} groups in blocks of {per_block}"),
                ))
            }
        }
    }
    /// The form that a convolution reads.
    pub fn of(desc: &ConvDesc) -> Self {
        Self { channels: Channels::of(desc), taps: desc.kernel.iter().product() }
    }
    fn is_depthwise(&self) -> bool {
        let Channels { inputs, outputs, groups, per_block } = self.channels;
        groups == inputs && outputs == inputs && per_block == BLOCK
    }
    /// Groups, and neighbours among the input channels: what the shape of the weights does not say.
    pub fn parts(&self) -> (usize, usize) {
        (self.channels.groups, self.channels.per_block)
    }
    /// Floats of the packed form.
    pub fn len(&self) -> usize {
        if self.is_depthwise() {
            return self.channels.outputs.next_multiple_of(BLOCK) * self.taps;
        }
        self.channels.panels(self.taps).1
    }
    /// Never: a form has outputs and inputs.
    pub fn is_empty(&self) -> bool {
        false
    }
    /// Calls `f(place in the packed form, place in the weights)` for every weight.
    #[inline]
    pub fn for_each(&self, mut f: impl FnMut(usize, usize)) {
        let (taps, per_in) = (self.taps, self.channels.inputs / self.channels.groups);
        if self.is_depthwise() {
            for c in 0..self.channels.outputs {
                (0..taps).for_each(|tap| f((c / BLOCK * taps + tap) * BLOCK + c % BLOCK, c * taps + tap));
            }
            return;
        }
        let (panels, _) = self.channels.panels(taps);
        self.channels.for_each(&panels, taps, |at, o, c, tap| f(at, (o * per_in + c) * taps + tap));
    }
    /// Packs weights `[outputs, inputs / groups, taps]` into zeros.
    ///
    /// # Errors
    /// When a slice has another length; `packed` may be longer.
    pub fn pack(&self, weights: &[f32], packed: &mut [f32]) -> Result<()> {
        self.check(weights.len(), packed.len())?;
        self.for_each(|at, from| packed[at] = weights[from]);
        Ok(())
    }
    /// The weights `[outputs, inputs / groups, taps]` again.
    ///
    /// # Errors
    /// As [`Self::pack`].
    pub fn unpack(&self, packed: &[f32], weights: &mut [f32]) -> Result<()> {
        self.check(weights.len(), packed.len())?;
        self.for_each(|at, to| weights[to] = packed[at]);
        Ok(())
    }
    fn check(&self, weights: usize, packed: usize) -> Result<()> {
        let Channels { inputs, outputs, groups, .. } = self.channels;
        crate::error::check_len("conv", "weights", outputs * (inputs / groups) * self.taps, weights)?;
        match self.len() {
            n if n <= packed => Ok(()),
            n => Err(Error::length("conv", "packed weights, at least", n, packed)),
        }
    }
}
