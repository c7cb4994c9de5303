//! Depthwise convolution: one kernel a channel, eight channels a block.

mod tile;

use super::direct::THREAD_POSITIONS;
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
    /// The bounds of an activation that is a clamp.
    clamp: Option<(f32, f32)>,
    /// True when the lanes past the last channel must be cleared after the activation.
    clear_tail: bool,
    shape: Shape,
    kernel: [usize; 3],
    /// Floats from one tap to the next, and from one output's base to the next.
    tap: [usize; 3],
    step: [usize; 3],
    /// Floats from a block's start to the first tap of its first output.
    first: usize,
}

/// Kernels with a body of their own: one slice deep, taps side by side, the same stride down and across.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// 3x3, stride 1.
    Square3,
    /// 3x3, stride 2.
    Square3Half,
    /// 5x5, stride 1.
    Square5,
    /// 5x5, stride 2.
    Square5Half,
    Any,
}

impl Shape {
    fn of(desc: &ConvDesc) -> Self {
        let [_, down, across] = desc.stride;
        if desc.dilation[1..] != [1, 1] || down != across {
            return Shape::Any;
        }
        match (desc.kernel, down) {
            ([1, 3, 3], 1) => Shape::Square3,
            ([1, 3, 3], 2) => Shape::Square3Half,
            ([1, 5, 5], 1) => Shape::Square5,
            ([1, 5, 5], 2) => Shape::Square5Half,
            _ => Shape::Any,
        }
    }
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
            clamp: desc.activation.as_clamp(),
            clear_tail: !desc.activation.keeps_zero(),
            shape: Shape::of(desc),
            kernel: desc.kernel,
            tap: std::array::from_fn(|i| strides[i] * desc.dilation[i]),
            step: std::array::from_fn(|i| strides[i] * desc.stride[i]),
            first: desc.input.offset(0, 0, [0; 3]).saturating_sub(padding),
        }
    }

    pub fn run(&self, x: &[f32], y: &mut [f32], residual: Residual<'_>, par: &dyn Parallel) {
        // Work is cut in bands of rows of one block; serially a band is all rows.
        let (lines, blocks) = (self.y.size[0] * self.y.size[1], self.y.n * self.y.blocks());
        let (macs, threads) =
            (self.kernel.iter().product::<usize>() * self.y.positions() * blocks * BLOCK, par.threads());
        let mut cut = tile::Cut { bands: 1, by_band: false, chunks: blocks.min(1) };
        if threads > 1 && macs >= threads * CHUNK_MACS && lines > 0 {
            cut.chunks = (macs / CHUNK_MACS).min(4 * threads) / threads * threads;
            // As the layers around it are cut: rows of every block for each thread, or, of small images, blocks.
            cut.by_band = self.y.n == 1 && self.y.positions() >= THREAD_POSITIONS * threads && lines >= 4 * threads;
            cut.bands = if cut.by_band {
                // An even number of rows in most bands.
                threads << (lines / (8 * threads)).max(1).ilog2().min(2)
            } else {
                cut.chunks.div_ceil(blocks).min(lines)
            };
            cut.chunks = cut.chunks.min(blocks * cut.bands);
        }
        tile::run(self, self.isa, cut, x, y, residual, par);
    }
}
