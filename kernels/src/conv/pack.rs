//! Weights in panels: `[panel][step][8 or 16 outputs]`, in the order in which the matrix tile walks them.

use super::{ConvDesc, Source};
use crate::gemm::aligned::Aligned;
use crate::layout::BLOCK;
use crate::{Error, Result};
use std::ops::Range;

/// One or two blocks of outputs that are computed together.
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

/// Packed weights and bias of a convolution, for any image size and instruction set.
#[derive(Debug)]
pub struct ConvWeights {
    pub(super) channels: Channels,
    pub(super) taps: usize,
    pub(super) panels: Vec<Panel>,
    /// Panels, or, of a depthwise convolution, `[block][tap][8]`.
    pub(super) data: Aligned,
    /// One float an output, zeros up to two blocks past the end.
    pub(super) bias: Aligned,
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
        Self { data, bias: pad_bias(channels.outputs, bias), panels, channels, taps }
    }
    pub(super) fn depthwise(count: usize, taps: usize, weights: &[f32], bias: Option<&[f32]>) -> Self {
        let mut data = Aligned::zeros(count.div_ceil(BLOCK) * taps * BLOCK);
        for c in 0..count {
            for tap in 0..taps {
                data[(c / BLOCK * taps + tap) * BLOCK + c % BLOCK] = weights[c * taps + tap];
            }
        }
        let channels = Channels { inputs: count, outputs: count, groups: count, per_block: BLOCK };
        Self { data, bias: pad_bias(count, bias), panels: Vec::new(), channels, taps }
    }
    pub(super) fn check(&self, desc: &ConvDesc) -> Result<()> {
        let (wanted, taps) = (Channels::of(desc), desc.kernel.iter().product::<usize>());
        if self.channels == wanted && self.taps == taps {
            return Ok(());
        }
        let message =
            format!("weights: packed for {:?} of {} taps, expected {wanted:?} of {taps}", self.channels, self.taps);
        Err(Error::new("conv", message))
    }
    /// Bytes of weights and bias.
    pub fn bytes(&self) -> usize {
        4 * (self.data.len() + self.bias.len())
    }
}

fn pad_bias(outputs: usize, bias: Option<&[f32]>) -> Aligned {
    let mut padded = Aligned::zeros(outputs.next_multiple_of(BLOCK) + BLOCK);
    if let Some(bias) = bias {
        padded[..outputs].copy_from_slice(bias);
    }
    padded
}

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
            weights += steps * width * BLOCK;
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
            let lanes = panel.width * BLOCK;
            for lane in 0..lanes.min(self.outputs - panel.block * BLOCK) {
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
                            at += lanes;
                        }
                    }
                }
            }
        }
        packed
    }
}
