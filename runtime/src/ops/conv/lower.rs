//! Convolutions as kernels.

use super::{Conv, ConvTranspose};
use crate::format::packed::Form;
use crate::ops::elementwise::lower::done;
use crate::plan::{Compute, Format, FormatCx, Formats, Halo, Io, LowerCx, Lowered, Step, can_block, geometry};
use crate::{DType, Error, Result};
use pocketnn_kernels::conv::{
    self, ConvDesc, ConvForm, ConvTransposeDesc, Packing, PointsForm, Residual, Source, Winograd,
};
use pocketnn_kernels::gemm::Packed;
use pocketnn_kernels::layout::{BLOCK, Blocked};
use pocketnn_kernels::par::Parallel;
use pocketnn_kernels::reference::conv::ConvParams;

/// Three values of the spatial axes, missing leading ones `fill`.
pub(crate) fn lead<T: Copy>(values: &[T], fill: T) -> [T; 3] {
    let mut all = [fill; 3];
    all[3 - values.len()..].copy_from_slice(values);
    all
}

/// True when kernels compute this: `f32` images, constant float weights and bias.
pub(super) fn has_kernel(cx: &FormatCx) -> bool {
    let constant = |i| cx.constant(i).is_some_and(|t| t.dtype().is_float());
    cx.ty(0).is_some_and(can_block)
        && can_block(cx.out_ty(0))
        && constant(1)
        && (cx.ty(2).is_none() || constant(2))
        && cx.constant(3).is_none()
}

pub(super) fn formats(cx: &FormatCx) -> Formats {
    if !has_kernel(cx) {
        return cx.plain();
    }
    let mut f = cx.blocked();
    // The first layer reads what the caller gives: three channels would become eight.
    if cx.shape(0)[1] < BLOCK && matches!(cx.format(0), Format::Plain | Format::ChannelsLast) {
        f.inputs[0] = cx.format(0);
    }
    if cx.is_variable(3) {
        f.inputs[3] = Format::Blocked;
    }
    f
}

fn describe(input: Blocked, source: Source, w: &[usize], p: &ConvParams) -> ConvDesc {
    ConvDesc {
        source,
        stride: lead(&p.stride, 1),
        dilation: lead(&p.dilation, 1),
        pads: lead(&p.pads, (0, 0)),
        groups: p.groups,
        ..ConvDesc::new(input, w[0], lead(&w[2..], 1))
    }
}

pub(super) fn halo(op: &Conv, cx: &FormatCx, input: usize) -> Halo {
    let (x, w) = (cx.shape(0), cx.shape(1));
    if input != 0 || !has_kernel(cx) {
        return Halo::default();
    }
    let wanted = || -> Result<Halo> {
        let params = op.params(&x[2..], &w[2..])?;
        let input = geometry(&x, Halo::default())?;
        Ok(describe(input, Source::Blocked, &w, &params).required_halo()?)
    };
    wanted().unwrap_or_default()
}

/// The descriptor, or `None` where there is no kernel.
fn description(op: &Conv, cx: &LowerCx) -> Result<Option<ConvDesc>> {
    let source = match cx.format(0)? {
        Format::Blocked => Source::Blocked,
        Format::Plain => Source::Planar,
        Format::ChannelsLast => Source::Interleaved,
        Format::Flattened { .. } => return Ok(None),
    };
    if cx.output(0).format != Format::Blocked || cx.input(0)?.dtype != DType::F32 {
        return Ok(None);
    }
    let w = cx.constant(1).ok_or_else(|| Error::graph("input 1: expected constant weights"))?;
    let params = op.params(&cx.shape(0)?[2..], &w.shape()[2..])?;
    let winograd = cx.choice().and_then(Winograd::of_algorithm).unwrap_or(cx.winograd());
    Ok(Some(ConvDesc { winograd, ..describe(cx.image(0)?, source, w.shape(), &params) }))
}

/// The packed form of the weights.
fn form(desc: &ConvDesc) -> Form {
    if let Packing::Points(form) = desc.packing() {
        return form.into();
    }
    let (groups, per_block) = ConvForm::of(desc).parts();
    Form::Conv { groups, per_block }
}

/// Weights whose numbers are stored as the kernel reads them.
fn kept(desc: &ConvDesc, numbers: Packed, bias: Option<&[f32]>) -> Result<conv::ConvWeights> {
    Ok(match desc.packing() {
        Packing::Points(form) => {
            conv::ConvWeights::from_points(&PointsForm::new(desc.channels, desc.input.c, form)?, numbers, bias)?
        }
        _ => conv::ConvWeights::from_packed(&ConvForm::of(desc), numbers, bias)?,
    })
}

pub(super) fn packed(op: &Conv, cx: &LowerCx) -> Vec<(usize, Form)> {
    let desc = description(op, cx).ok().flatten();
    desc.map(|d| (1, form(&d))).into_iter().collect()
}

pub(super) fn lower(op: &Conv, cx: &LowerCx) -> Result<Lowered> {
    let (Some(mut desc), Some(w)) = (description(op, cx)?, cx.constant(1)) else { return Ok(Lowered::Interpreted) };
    let source = desc.source;
    desc.output_halo = cx.out_image(0)?.halo;
    desc.activation = op.activation;
    desc.residual = if cx.has(3) { Some(cx.image(3)?) } else { None };
    let packing = desc.packing();
    let weights =
        cx.packed(&format!("conv {source:?} {} {packing:?}", op.groups), || match cx.stored(1, form(&desc)) {
            Some(numbers) => kept(&desc, numbers, cx.floats(2).as_deref()),
            None => Ok(conv::Conv::pack(cx.isa(), &desc, &w.to_f32(), cx.floats(2).as_deref())?),
        })?;
    let kernel = conv::Conv::with_weights(cx.isa(), &desc, weights)?;
    let scratch = kernel.scratch_len(cx.threads()) * size_of::<f32>();
    let step = Compute::new(ConvStep { kernel, residual: cx.has(3) }).scratch(scratch);
    Ok(if cx.has(3) { step.in_place(3) } else { step }.into())
}

struct ConvStep {
    kernel: conv::Conv,
    residual: bool,
}

impl Step for ConvStep {
    fn run(&self, io: &mut Io<'_>, par: &dyn Parallel) {
        let residual = match self.residual {
            false => Residual::None,
            true if io.in_place(3) => Residual::Output,
            true => Residual::Add(io.input(3)),
        };
        let (y, scratch) = (io.output(0), io.scratch());
        done(self.kernel.apply(io.input(0), y, residual, scratch, par));
    }
    fn algorithm(&self) -> String {
        self.kernel.algorithm().to_string()
    }
    fn tile(&self) -> String {
        self.kernel.tile()
    }
}

/// Geometry of a transposed convolution; halos are the caller's to set.
fn describe_transposed(op: &ConvTranspose, input: Blocked, w: &[usize]) -> Result<ConvTransposeDesc> {
    let p = op.params(&w[2..])?;
    Ok(ConvTransposeDesc {
        input,
        channels: w[1] * p.groups,
        kernel: lead(&w[2..], 1),
        stride: lead(&p.stride, 1),
        dilation: lead(&p.dilation, 1),
        pads: lead(&p.pads, (0, 0)),
        output_padding: lead(&p.output_padding, 0),
        groups: p.groups,
        output_halo: Halo::default(),
        activation: op.activation,
    })
}

/// The halo a transposed convolution reads, or `None` where it has no kernel.
fn transposed_halo(op: &ConvTranspose, cx: &FormatCx) -> Option<Halo> {
    if !has_kernel(cx) {
        return None;
    }
    let input = geometry(&cx.shape(0), Halo::default()).ok()?;
    describe_transposed(op, input, &cx.shape(1)).ok()?.required_halo().ok()
}

pub(super) fn formats_transposed(op: &ConvTranspose, cx: &FormatCx) -> Formats {
    if transposed_halo(op, cx).is_some() { cx.blocked() } else { cx.plain() }
}

pub(super) fn halo_transposed(op: &ConvTranspose, cx: &FormatCx, input: usize) -> Halo {
    if input == 0 { transposed_halo(op, cx).unwrap_or_default() } else { Halo::default() }
}

pub(super) fn lower_transposed(op: &ConvTranspose, cx: &LowerCx) -> Result<Lowered> {
    if cx.format(0)? != Format::Blocked || cx.output(0).format != Format::Blocked {
        return Ok(Lowered::Interpreted);
    }
    let w = cx.constant(1).ok_or_else(|| Error::graph("input 1: expected constant weights"))?;
    let mut desc = describe_transposed(op, cx.image(0)?, w.shape())?;
    desc.output_halo = cx.out_image(0)?.halo;
    let kernel = cx.packed(&format!("{desc:?}"), || {
        Ok(conv::ConvTranspose::new(cx.isa(), &desc, &w.to_f32(), cx.floats(2).as_deref())?)
    })?;
    let run = move |io: &mut Io<'_>, par: &dyn Parallel| done(kernel.apply(io.input(0), io.output(0), par));
    Ok(Compute::function("interleaved grids", run).into())
}
