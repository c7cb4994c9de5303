//! Weights in panels: `[panel][step][16 outputs]`, in the order in which the matrix tile walks them.

use super::winograd::Form;
use super::{ConvDesc, Source};
use crate::gemm::aligned::Aligned;
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
    pub(super) data: Aligned,
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
        let data = channels.pack(&panels, len, taps, weight);
        let bias = pad_bias(channels.outputs, bias);
        Self { data, bias, panels, channels, taps, packing: Packing::Panels, image: 0, after: Aligned::zeros(0) }
    }
    /// Room for panels of `len` floats at each point.
    pub(super) fn points(channels: Channels, panels: Vec<Panel>, len: usize, form: Form, bias: Option<&[f32]>) -> Self {
        Self {
            data: Aligned::zeros(form.points() * len),
            bias: pad_bias(channels.outputs, None),
            after: pad_bias(channels.outputs, bias),
            panels,
            channels,
            taps: 9,
            packing: Packing::Points(form),
            image: len,
        }
    }
    pub(super) fn depthwise(count: usize, taps: usize, weights: &[f32], bias: Option<&[f32]>) -> Self {
        let mut data = Aligned::zeros(count.div_ceil(BLOCK) * taps * BLOCK);
        for c in 0..count {
            for tap in 0..taps {
                data[(c / BLOCK * taps + tap) * BLOCK + c % BLOCK] = weights[c * taps + tap];
            }
        }
        let channels = Channels { inputs: count, outputs: count, groups: count, per_block: BLOCK };
        let (panels, after) = (Vec::new(), Aligned::zeros(0));
        Self { data, bias: pad_bias(count, bias), panels, channels, taps, packing: Packing::Depthwise, image: 0, after }
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
            let steps: usize = inputs.clone().map(|b| self.in_block(b)).sum::<usize>() * taps;
            panels.push(Panel { block, width, inputs, weights });
            block += width;
            weights += steps * PANEL;
        }
        (panels, weights)
    }
    /// Packs `weight(output, input channel of its group, tap)`.
    pub fn pack(
        &self,
        panels: &[Panel],
        len: usize,
        taps: usize,
        weight: impl Fn(usize, usize, usize) -> f32,
    ) -> Aligned {
        let mut packed = Aligned::zeros(len);
        let (per_in, per_out) = (self.inputs / self.groups, self.outputs / self.groups);
        for panel in panels {
            for lane in 0..(panel.width * BLOCK).min(self.outputs - panel.block * BLOCK) {
                let output = panel.block * BLOCK + lane;
                let group = output / per_out * per_in;
                let mut at = panel.weights + lane;
                for block in panel.inputs.clone() {
                    let first = block * self.per_block;
                    for tap in 0..taps {
                        for c in first..first + self.in_block(block) {
                            if (group..group + per_in).contains(&c) {
                                packed[at] = weight(output, c - group, tap);
                            }
                            at += PANEL;
                        }
                    }
                }
            }
        }
        packed
    }
}
