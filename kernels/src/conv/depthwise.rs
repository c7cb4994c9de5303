//! Depthwise convolution: one kernel a channel, eight channels a block.

mod tile;

use super::pack::ConvWeights;
use super::{ConvDesc, Residual};
use crate::activation::Activation;
use crate::isa::Isa;
use crate::layout::{BLOCK, Blocked};
use crate::par::Parallel;
use std::sync::Arc;

/// A depthwise convolution with packed weights.
#[derive(Debug)]
pub struct Depthwise {
    isa: Isa,
    weights: Arc<ConvWeights>,
    x: Blocked,
    y: Blocked,
    residual: Option<Blocked>,
    activation: Activation,
    kernel: [usize; 3],
    /// Floats from one tap to the next, and from one output's base to the next.
    tap: [usize; 3],
    step: [usize; 3],
    /// Floats from a block's start to the first tap of its first output.
    first: usize,
}

/// Multiply-adds worth a chunk of their own.
const CHUNK_MACS: usize = 100_000;

impl Depthwise {
    pub fn new(isa: Isa, desc: &ConvDesc, output: Blocked, weights: Arc<ConvWeights>) -> Self {
        let strides = [desc.input.slice_stride(), desc.input.row_stride(), BLOCK];
        let padding: usize = (0..3).map(|i| desc.pads[i].0 * strides[i]).sum();
        Self {
            isa,
            weights,
            x: desc.input,
            y: output,
            residual: desc.residual,
            activation: desc.activation,
            kernel: desc.kernel,
            tap: std::array::from_fn(|i| strides[i] * desc.dilation[i]),
            step: std::array::from_fn(|i| strides[i] * desc.stride[i]),
            first: desc.input.offset(0, 0, [0; 3]).saturating_sub(padding),
        }
    }

    pub fn run(&self, x: &[f32], y: &mut [f32], residual: Residual<'_>, par: &dyn Parallel) {
        // Work is cut in bands of rows of one block; serially a band is all rows.
        let (lines, blocks) = (self.y.size[0] * self.y.size[1], self.y.n * self.y.blocks());
        let macs = self.kernel.iter().product::<usize>() * self.y.positions() * blocks * BLOCK;
        let wanted = if par.threads() > 1 { (4 * par.threads()).min(macs / CHUNK_MACS).max(1) } else { 1 };
        let bands = wanted.div_ceil(blocks.max(1)).clamp(1, lines.max(1));
        let chunks = if par.threads() > 1 { wanted.min(blocks * bands) } else { blocks.min(1) };
        tile::run(self, self.isa, tile::Cut { bands, chunks }, x, y, residual, par);
    }
}
