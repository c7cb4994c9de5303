//! Transposed convolution in gather form.
//!
//! With strides `s` the outputs fall in `s[0] s[1] s[2]` interleaved grids. Each grid is an ordinary convolution of stride 1
//! over the input, by those taps of the kernel that meet it, written with steps of `s`: no product with a zero is computed and
//! each output is written once.

use super::Residual;
use super::direct::{Around, Direct, Spec, Walk};
use super::pack::{Channels, ConvWeights};
use crate::activation::Activation;
use crate::error::check_len;
use crate::isa::Isa;
use crate::layout::{BLOCK, Blocked};
use crate::par::Parallel;
use crate::{Error, Result};
use std::sync::Arc;

/// Geometry and epilogue of a transposed convolution. Axes are depth, height, width; a missing axis has extent 1.
#[derive(Clone, Debug, PartialEq)]
pub struct ConvTransposeDesc {
    /// Geometry of the input, with a halo of at least [`ConvTransposeDesc::required_halo`].
    pub input: Blocked,
    /// Output channels.
    pub channels: usize,
    /// Taps of the kernel.
    pub kernel: [usize; 3],
    /// Outputs from one input to the next.
    pub stride: [usize; 3],
    /// Distance between taps.
    pub dilation: [usize; 3],
    /// Outputs cut off before and after each axis.
    pub pads: [(usize, usize); 3],
    /// Outputs added after each axis.
    pub output_padding: [usize; 3],
    /// Groups of channels that do not mix.
    pub groups: usize,
    /// Zeros that the output has around each axis.
    pub output_halo: [(usize, usize); 3],
    /// Applied to the sums.
    pub activation: Activation,
}

/// A transposed convolution with packed weights.
#[derive(Debug)]
pub struct ConvTranspose {
    input: usize,
    output: Blocked,
    grids: Vec<Direct>,
}

const NAME: &str = "transposed conv";
/// Most interleaved grids; beyond, strides are far larger than any kernel.
const MOST_GRIDS: usize = 4096;

/// One of the interleaved grids on one axis.
struct Grid {
    /// First output and number of outputs.
    first: usize,
    count: usize,
    /// Taps that meet it, and the input that each multiplies for the first output; inputs ascend.
    taps: Vec<(usize, isize)>,
}

impl ConvTransposeDesc {
    /// Output extent of an axis.
    fn extent(&self, axis: usize) -> usize {
        let last = self.input.size[axis].checked_sub(1);
        let span = (self.kernel[axis] - 1) * self.dilation[axis] + 1;
        let full = last.map_or(0, |n| n * self.stride[axis] + span + self.output_padding[axis]);
        full.saturating_sub(self.pads[axis].0 + self.pads[axis].1)
    }
    fn grids(&self, axis: usize) -> Vec<Grid> {
        let (stride, before, out) = (self.stride[axis], self.pads[axis].0, self.extent(axis));
        let grid = |first: usize| {
            let tap = |k: usize| {
                let distance = (first + before) as isize - (k * self.dilation[axis]) as isize;
                (distance % stride as isize == 0).then_some((k, distance / stride as isize))
            };
            let taps = (0..self.kernel[axis]).rev().filter_map(tap).collect();
            Grid { first, count: (out - first).div_ceil(stride), taps }
        };
        (0..stride.min(out)).map(grid).collect()
    }
    /// Zeros that the input must have around each axis: what some tap reads.
    ///
    /// # Errors
    /// When the descriptor is not valid.
    pub fn required_halo(&self) -> Result<[(usize, usize); 3]> {
        self.check()?;
        Ok(std::array::from_fn(|i| {
            let grids = self.grids(i);
            let first = grids.iter().flat_map(|g| g.taps.iter().map(|t| t.1)).min().unwrap_or(0);
            let last = grids.iter().flat_map(|g| g.taps.iter().map(|t| t.1 + g.count as isize - 1)).max().unwrap_or(0);
            let size = self.input.size[i] as isize;
            ((-first).max(0) as usize, (last + 1 - size).max(0) as usize)
        }))
    }
    /// Geometry of the output.
    ///
    /// # Errors
    /// When the descriptor is not valid: the message names the part.
    pub fn output(&self) -> Result<Blocked> {
        let halo = self.required_halo()?;
        for i in 0..3 {
            let have = self.input.halo[i];
            if have.0 < halo[i].0 || have.1 < halo[i].1 {
                let message = format!("input halo of axis {i}: expected at least {:?}, found {have:?}", halo[i]);
                return Err(Error::new(NAME, message));
            }
        }
        let size = std::array::from_fn(|i| self.extent(i));
        let output = Blocked::new(self.input.n, self.channels, size).with_halo(self.output_halo);
        output.checked_len().ok_or_else(|| Error::new(NAME, format!("output: {output:?} is too large")))?;
        Ok(output)
    }
    fn check(&self) -> Result<()> {
        let bad = |m: String| Err(Error::new(NAME, m));
        let (c, o) = (self.input.c, self.channels);
        if self.groups == 0 || !c.is_multiple_of(self.groups) || !o.is_multiple_of(self.groups) {
            return bad(format!("groups: {} do not divide {c} input and {o} output channels", self.groups));
        }
        if self.input.checked_len().is_none() {
            return bad(format!("input: {:?} is too large", self.input));
        }
        for i in 0..3 {
            let all = [self.kernel[i], self.stride[i], self.dilation[i]];
            if all.contains(&0) {
                return bad(format!("kernel, stride and dilation of axis {i} must be at least 1"));
            }
            let reach = all[0].saturating_mul(all[2]).saturating_add(all[1].saturating_mul(self.input.size[i]));
            let cut = [self.pads[i].0, self.pads[i].1, self.output_padding[i]];
            if reach >= 1 << 40 || cut.iter().any(|&n| n >= 1 << 31) {
                return bad(format!("axis {i}: kernel, stride, dilation or padding is too large"));
            }
        }
        let grids: usize = (0..3).map(|i| self.stride[i].min(self.extent(i))).fold(1, usize::saturating_mul);
        if grids > MOST_GRIDS { bad(format!("strides {:?} are too large", self.stride)) } else { Ok(()) }
    }
}

impl ConvTranspose {
    /// Packs `weights` `[C, O / groups, kernel..]` and `bias` `[O]`.
    ///
    /// # Errors
    /// When the descriptor does not fit itself or the operands: the message says which part, expected and found.
    pub fn new(isa: Isa, desc: &ConvTransposeDesc, weights: &[f32], bias: Option<&[f32]>) -> Result<Self> {
        let output = desc.output()?;
        let taps: usize = desc.kernel.iter().product();
        check_len(NAME, "weights", desc.input.c * (desc.channels / desc.groups) * taps, weights.len())?;
        if let Some(b) = bias {
            check_len(NAME, "bias", desc.channels, b.len())?;
        }
        let [depth, height, width] = [0, 1, 2].map(|i| desc.grids(i));
        let mut grids = Vec::with_capacity(depth.len() * height.len() * width.len());
        for z in &depth {
            for y in &height {
                for x in &width {
                    grids.push(grid(isa, desc, &output, [z, y, x], weights, bias)?);
                }
            }
        }
        if let Some(first) = grids.first_mut() {
            first.spec.around = Around::new(&output, first.spec.size.iter().product());
        }
        Ok(Self { input: desc.input.len(), output, grids })
    }
    /// Geometry of the output.
    pub fn output(&self) -> Blocked {
        self.output
    }
    /// Convolves `x` into `y`: interior, halo and the channels that fill the last block. No allocation.
    ///
    /// # Errors
    /// When a slice has another length than its geometry.
    pub fn apply(&self, x: &[f32], y: &mut [f32], par: &dyn Parallel) -> Result<()> {
        check_len(NAME, "input", self.input, x.len())?;
        check_len(NAME, "output", self.output.len(), y.len())?;
        if self.grids.is_empty() {
            y.fill(0.0);
        }
        self.grids.iter().for_each(|g| g.run(x, y, Residual::None, par));
        Ok(())
    }
}

/// The convolution that computes one grid.
fn grid(
    isa: Isa,
    desc: &ConvTransposeDesc,
    output: &Blocked,
    axes: [&Grid; 3],
    weights: &[f32],
    bias: Option<&[f32]>,
) -> Result<Direct> {
    let (inside, outside) = (Walk::interior(&desc.input), Walk::interior(output));
    // Taps in memory order, so that neighbours join: each is its number in the kernel and its distance from the base.
    let base = axes.map(|g| g.taps.first().map_or(0, |t| t.1));
    let (mut numbers, mut taps) = (Vec::new(), Vec::new());
    for (kz, iz) in &axes[0].taps {
        for (ky, iy) in &axes[1].taps {
            for (kx, ix) in &axes[2].taps {
                numbers.push((kz * desc.kernel[1] + ky) * desc.kernel[2] + kx);
                let at = [iz - base[0], iy - base[1], ix - base[2]];
                taps.push((0..3).map(|i| at[i] as usize * inside.step[i]).sum());
            }
        }
    }
    let start: isize = (0..3).map(|i| base[i] * inside.step[i] as isize).sum();
    let x = Walk { start: inside.start.saturating_add_signed(start), ..inside };
    let first: usize = (0..3).map(|i| axes[i].first * outside.step[i]).sum();
    let step = std::array::from_fn(|i| outside.step[i] * desc.stride[i]);
    let y = Walk { start: outside.start + first, step, ..outside };
    let (groups, all) = (desc.groups, desc.kernel.iter().product::<usize>());
    let channels = Channels { inputs: desc.input.c, outputs: desc.channels, groups, per_block: BLOCK };
    let (per_in, per_out) = (desc.input.c / groups, desc.channels / groups);
    let weight = |o: usize, c: usize, t: usize| {
        let row = (o / per_out * per_in + c) * per_out + o % per_out;
        weights[row * all + numbers[t]]
    };
    let packed = Arc::new(ConvWeights::panels(channels, numbers.len(), weight, bias));
    let size = axes.map(|g| g.count);
    let activation = desc.activation;
    let spec = Spec { images: output.n, size, x, taps, y, around: None, residual: None, activation };
    Direct::new(isa, spec, packed)
}
