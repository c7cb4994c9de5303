//! Convolution of images in channel blocks, over one to three spatial axes.
//!
//! A [`Conv`] is made once from a [`ConvDesc`], weights and bias: it checks the geometry, picks an algorithm from the shapes
//! alone and packs the weights. [`Conv::apply`] then reads a blocked (or, for the first layer of a network, planar or interleaved)
//! image and writes a blocked one, halo included, with bias, residual and activation applied on the way.
//!
//! | shapes | algorithm |
//! |---|---|
//! | one channel a group, as many outputs | `depthwise`: weights resident in registers |
//! | everything else | `direct`: the matrix tile of [`crate::gemm`] over the taps, no copy of the input |
//! | 3x3, stride 1, enough channels | `winograd`: products at points instead of taps, where [`ConvDesc::packing`] finds them cheaper |
//! | planar or interleaved input | `direct` on the caller's memory, or on one copy: padded, or of the windows of all outputs where their rows are short |
//!
//! Padding is read from the input's halo, so no kernel has code for edges. Each output of a direct convolution is one chain of
//! multiply-adds from the bias through (channel block, depth, row, column, channel) in order, on every instruction set.
//!
//! A group with fewer than eight channels shares its block with others: their weights are zeros there, so an infinity or a NaN
//! in one group reaches the others of its block.

mod depthwise;
mod desc;
mod direct;
mod pack;
mod source;
mod tile;
mod transposed;
mod winograd;

pub use desc::{ConvDesc, Source, Winograd};
pub use pack::{ConvForm, ConvWeights, Packing};
pub use transposed::{ConvTranspose, ConvTransposeDesc};
pub use winograd::{Form, PointsForm};

use crate::error::check_len;
use crate::gemm::Aligned;
use crate::isa::Isa;
use crate::layout::Blocked;
use crate::par::Parallel;
use crate::{Error, Result};
use depthwise::Depthwise;
use direct::Direct;
use source::Copy;
use std::sync::Arc;
use winograd::Minimal;

/// What is added to the sums before the activation.
#[derive(Clone, Copy, Debug)]
pub enum Residual<'a> {
    /// Nothing.
    None,
    /// A blocked image of the geometry [`ConvDesc::residual`].
    Add(&'a [f32]),
    /// What the output holds already.
    Output,
}

/// A convolution with packed weights.
#[derive(Debug)]
pub struct Conv {
    input: usize,
    output: Blocked,
    residual: Option<Blocked>,
    copy: Option<Copy>,
    algorithm: Algorithm,
}

#[derive(Debug)]
enum Algorithm {
    Direct(Direct),
    Depthwise(Depthwise),
    Minimal(Box<Minimal>),
}

const NAME: &str = "conv";

impl Conv {
    /// Packs `weights` `[O, C / groups, kernel..]` and `bias` `[O]` for this geometry.
    ///
    /// # Errors
    /// When the descriptor does not fit itself or the operands: the message says which part, expected and found.
    pub fn new(isa: Isa, desc: &ConvDesc, weights: &[f32], bias: Option<&[f32]>) -> Result<Self> {
        Self::with_weights(isa, desc, Arc::new(Self::pack(isa, desc, weights, bias)?))
    }
    /// Packs `weights` `[O, C / groups, kernel..]` and `bias` `[O]`. The packed form depends on the channels, groups, kernel
    /// and source of the descriptor and on [`ConvDesc::packing`], not on padding or instruction set.
    ///
    /// # Errors
    /// When the operands do not fit the descriptor.
    pub fn pack(isa: Isa, desc: &ConvDesc, weights: &[f32], bias: Option<&[f32]>) -> Result<ConvWeights> {
        desc.output()?;
        let taps: usize = desc.kernel.iter().product();
        let per = desc.input.c / desc.groups;
        check_len(NAME, "weights", desc.channels * per * taps, weights.len())?;
        if let Some(b) = bias {
            check_len(NAME, "bias", desc.channels, b.len())?;
        }
        if let Packing::Points(form) = desc.packing() {
            return winograd::pack(isa, desc, form, weights, bias);
        }
        let form = ConvForm::of(desc);
        let mut packed = Aligned::zeros(form.len());
        form.pack(weights, &mut packed)?;
        ConvWeights::from_packed(&form, packed.into(), bias)
    }
    /// A convolution with weights that are packed already.
    ///
    /// # Errors
    /// When they were packed for other channels, groups, kernel or source.
    pub fn with_weights(isa: Isa, desc: &ConvDesc, weights: Arc<ConvWeights>) -> Result<Self> {
        let output = desc.output()?;
        weights.check(desc)?;
        let (copy, view) = source::view(desc)?;
        let algorithm = match desc.packing() {
            Packing::Depthwise => Algorithm::Depthwise(Depthwise::new(isa, desc, output, weights)),
            Packing::Points(form) => {
                Algorithm::Minimal(Box::new(Minimal::new(isa, desc, output, &view, form, weights)?))
            }
            Packing::Panels => Algorithm::Direct(Direct::new(isa, direct::Spec::conv(desc, output, &view), weights)?),
        };
        Ok(Self { input: desc.input_len(), output, residual: desc.residual, copy, algorithm })
    }
    /// Geometry of the output.
    pub fn output(&self) -> Blocked {
        self.output
    }
    /// Floats of scratch that [`Self::apply`] wants on so many threads. What one thread wants is enough for any number; some
    /// algorithms share their work better with more.
    pub fn scratch_len(&self, threads: usize) -> usize {
        match &self.algorithm {
            Algorithm::Minimal(m) => m.scratch_len(threads),
            _ => self.copy.as_ref().map_or(0, Copy::len),
        }
    }
    /// The algorithm, for reports.
    pub fn algorithm(&self) -> &'static str {
        match (&self.algorithm, &self.copy) {
            (Algorithm::Depthwise(_), _) => "depthwise",
            (Algorithm::Minimal(m), _) => m.name(),
            (Algorithm::Direct(_), None) => "direct",
            (Algorithm::Direct(_), Some(copy)) => copy.name(),
        }
    }
    /// The register tile, rows times outputs, for reports; empty where there is none.
    pub fn tile(&self) -> String {
        match &self.algorithm {
            Algorithm::Depthwise(_) => String::new(),
            Algorithm::Minimal(m) => m.tile(),
            Algorithm::Direct(d) => d.tile(),
        }
    }
    /// Convolves `x` (in the form of [`ConvDesc::source`]) into `y` (geometry [`Self::output`]): interior, halo and the channels
    /// that fill the last block. No allocation.
    ///
    /// # Errors
    /// When a slice has another length than its geometry.
    pub fn apply(
        &self,
        x: &[f32],
        y: &mut [f32],
        residual: Residual<'_>,
        scratch: &mut [f32],
        par: &dyn Parallel,
    ) -> Result<()> {
        check_len(NAME, "input", self.input, x.len())?;
        check_len(NAME, "output", self.output.len(), y.len())?;
        match (residual, &self.residual) {
            (Residual::Add(r), Some(geometry)) => check_len(NAME, "residual", geometry.len(), r.len())?,
            (Residual::Add(_), None) => return Err(Error::new(NAME, "residual: the descriptor has none")),
            _ => {}
        }
        let (least, found) = (self.scratch_len(1), scratch.len());
        if found < least {
            return Err(Error::length(NAME, "scratch, at least", least, found));
        }
        if let Algorithm::Minimal(m) = &self.algorithm {
            m.run(x, y, residual, scratch, par);
            return Ok(());
        }
        let x = match &self.copy {
            Some(copy) => {
                let padded = &mut scratch[..least];
                copy.run(x, padded, par);
                padded
            }
            None => x,
        };
        match &self.algorithm {
            Algorithm::Direct(d) => d.run(x, y, residual, par),
            Algorithm::Depthwise(d) => d.run(x, y, residual, par),
            Algorithm::Minimal(_) => {}
        }
        Ok(())
    }
}
