//! What a convolution is told: geometry, and what is done to its sums.

use super::pack::Packing;
use super::winograd::{self, Form};
use crate::activation::Activation;
use crate::layout::Blocked;
use crate::{Error, Result};

/// How the input lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// Channel blocks with a halo of at least [`ConvDesc::required_halo`].
    Blocked,
    /// `[N, C, D, H, W]`, no halo.
    Planar,
    /// `[N, D, H, W, C]`, no halo.
    Interleaved,
}

/// Whether convolutions of 3x3 may be computed by minimal filtering (Winograd): up to four times fewer multiplications, and up to
/// three times the rounding error of the direct sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Winograd {
    /// Where it is the cheaper way, by shapes alone.
    #[default]
    Auto,
    /// Nowhere.
    Off,
    /// In this form, wherever the form can compute the convolution: for measuring.
    Only(Form),
}

impl Winograd {
    /// Every choice.
    pub const ALL: [Winograd; 4] =
        [Winograd::Auto, Winograd::Off, Winograd::Only(Form::Two), Winograd::Only(Form::Four)];
    /// The choice that leads to an algorithm, as [`crate::conv::Conv::algorithm`] names it.
    pub fn of_algorithm(name: &str) -> Option<Self> {
        let form = [Form::Two, Form::Four].into_iter().find(|f| f.name() == name);
        form.map(Winograd::Only).or_else(|| name.starts_with("direct").then_some(Winograd::Off))
    }
}

/// Geometry and epilogue of a convolution. Axes are depth, height, width; a missing axis has extent 1.
#[derive(Clone, Debug, PartialEq)]
pub struct ConvDesc {
    /// Geometry of the input; the halo only counts for [`Source::Blocked`].
    pub input: Blocked,
    /// How the input lies in memory.
    pub source: Source,
    /// Output channels.
    pub channels: usize,
    /// Taps of the kernel.
    pub kernel: [usize; 3],
    /// Step between outputs.
    pub stride: [usize; 3],
    /// Distance between taps.
    pub dilation: [usize; 3],
    /// Zeros before and after each axis.
    pub pads: [(usize, usize); 3],
    /// Groups of channels that do not mix.
    pub groups: usize,
    /// Zeros that the output has around each axis.
    pub output_halo: [(usize, usize); 3],
    /// Applied to the sums.
    pub activation: Activation,
    /// Geometry of a residual, when [`crate::conv::Residual::Add`] will be used: channels and size of the output, any halo.
    pub residual: Option<Blocked>,
    /// Whether minimal filtering may be used.
    pub winograd: Winograd,
}

const NAME: &str = "conv";

impl ConvDesc {
    /// Stride 1, dilation 1, no padding, one group, no activation, on a blocked input.
    pub fn new(input: Blocked, channels: usize, kernel: [usize; 3]) -> Self {
        Self {
            input,
            source: Source::Blocked,
            channels,
            kernel,
            stride: [1; 3],
            dilation: [1; 3],
            pads: [(0, 0); 3],
            groups: 1,
            output_halo: [(0, 0); 3],
            activation: Activation::Identity,
            residual: None,
            winograd: Winograd::Auto,
        }
    }
    /// Form of the weights, which names the algorithm: equal for descriptors that may share packed weights.
    pub fn packing(&self) -> Packing {
        if self.is_depthwise() {
            return Packing::Depthwise;
        }
        winograd::choose(self).map_or(Packing::Panels, Packing::Points)
    }
    /// Extents of the output of a valid descriptor.
    pub(super) fn output_size(&self) -> [usize; 3] {
        std::array::from_fn(|i| self.extent(i))
    }
    /// Positions a dilated kernel covers on an axis, at least 1.
    pub(super) fn span(&self, axis: usize) -> usize {
        (self.kernel[axis].max(1) - 1) * self.dilation[axis] + 1
    }
    /// Output positions of an axis: 0 when the kernel does not fit.
    fn extent(&self, axis: usize) -> usize {
        let padded = self.input.size[axis] + self.pads[axis].0 + self.pads[axis].1;
        padded.checked_sub(self.span(axis)).map_or(0, |free| free / self.stride[axis] + 1)
    }
    /// Zeros that a blocked input must have around each axis: the padding that some tap reads.
    ///
    /// # Errors
    /// When the descriptor is not valid.
    pub fn required_halo(&self) -> Result<[(usize, usize); 3]> {
        self.check()?;
        Ok(std::array::from_fn(|i| {
            let out = self.extent(i);
            let reach = (out.max(1) - 1) * self.stride[i] + self.span(i);
            let after = reach.saturating_sub(self.input.size[i] + self.pads[i].0);
            if out == 0 { (0, 0) } else { (self.pads[i].0, after) }
        }))
    }
    /// Geometry of the output.
    ///
    /// # Errors
    /// When the descriptor is not valid: the message names the part.
    pub fn output(&self) -> Result<Blocked> {
        self.check()?;
        let halo = self.required_halo()?;
        if self.source == Source::Blocked {
            for i in 0..3 {
                let have = self.input.halo[i];
                if have.0 < halo[i].0 || have.1 < halo[i].1 {
                    let message = format!("input halo of axis {i}: expected at least {:?}, found {have:?}", halo[i]);
                    return Err(Error::new(NAME, message));
                }
            }
        }
        let size = self.output_size();
        let output = Blocked::new(self.input.n, self.channels, size).with_halo(self.output_halo);
        output.checked_len().ok_or_else(|| Error::new(NAME, format!("output: {output:?} is too large")))?;
        if let Some(r) = self.residual
            && (r.n, r.c, r.size) != (output.n, output.c, output.size)
        {
            return Err(Error::new(NAME, format!("residual: expected the output's {output:?}, found {r:?}")));
        }
        Ok(output)
    }
    /// One channel a group and as many outputs, in blocks.
    pub(super) fn is_depthwise(&self) -> bool {
        self.groups == self.input.c && self.channels == self.groups && self.source == Source::Blocked
    }
    /// Floats of the input.
    pub(super) fn input_len(&self) -> usize {
        match self.source {
            Source::Blocked => self.input.len(),
            Source::Planar | Source::Interleaved => self.input.n * self.input.c * self.input.positions(),
        }
    }
    fn check(&self) -> Result<()> {
        let bad = |m: String| Err(Error::new(NAME, m));
        if self.input.checked_len().is_none() {
            return bad(format!("input: {:?} is too large", self.input));
        }
        if self.groups == 0 || !self.input.c.is_multiple_of(self.groups) || !self.channels.is_multiple_of(self.groups) {
            let (c, o) = (self.input.c, self.channels);
            return bad(format!("groups: {} do not divide {c} input and {o} output channels", self.groups));
        }
        for i in 0..3 {
            if self.kernel[i] == 0 || self.stride[i] == 0 || self.dilation[i] == 0 {
                return bad(format!("kernel, stride and dilation of axis {i} must be at least 1"));
            }
            let all = [self.kernel[i], self.stride[i], self.dilation[i], self.pads[i].0, self.pads[i].1];
            if all.iter().any(|&n| n >= 1 << 31) || self.kernel[i].saturating_mul(self.dilation[i]) >= 1 << 31 {
                return bad(format!("axis {i}: kernel, stride, dilation or padding beyond 2^31"));
            }
        }
        Ok(())
    }
}
