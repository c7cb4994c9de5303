//! Dense layers and matrix products as kernels.

use super::Dense;
use crate::format::packed::{Form, Kept};
use crate::ops::elementwise::lower::done;
use crate::plan::{Compute, Format, FormatCx, Formats, Io, LowerCx, Lowered};
use crate::{DType, Element, Error, Result, Tensor};
use pocketnn_kernels::activation::Activation;
use pocketnn_kernels::gemm::{Dense as Kernel, DenseDesc, DenseForm, DenseWeights, MatMul, Packed};
use pocketnn_kernels::isa::Isa;
use pocketnn_kernels::layout::BLOCK;
use pocketnn_kernels::par::Parallel;
use std::sync::Arc;

pub(super) fn formats(cx: &FormatCx) -> Formats {
    let mut f = cx.plain();
    // Weights are stored in the order of a flattened image, so that nothing has to move.
    if matches!(cx.format(0), Format::Flattened { .. }) && cx.constant(1).is_some() && cx.shape(0).len() == 2 {
        f.inputs[0] = cx.format(0);
    }
    f
}

pub(super) fn lower(op: &Dense, cx: &LowerCx) -> Result<Lowered> {
    let (Some(w), DType::F32) = (cx.constant(1), cx.input(0)?.dtype) else { return Ok(Lowered::Interpreted) };
    let bias_is_constant = !cx.has(2) || cx.constant(2).is_some();
    if cx.output(0).format != Format::Plain || !w.dtype().is_float() || !bias_is_constant {
        return Ok(Lowered::Interpreted);
    }
    let rows = rows(cx)?;
    if matches!(cx.format(0)?, Format::Blocked | Format::ChannelsLast) {
        return Ok(Lowered::Interpreted);
    }
    let image = image(cx)?;
    let &[outputs, inputs] = w.shape() else { return Err(Error::graph("input 1: expected [O, K]")) };
    let stored = image.map_or(inputs, |(c, positions): (usize, usize)| c.next_multiple_of(BLOCK) * positions);
    let bias = cx.floats(2);
    // One row reads every weight once, in whatever type; several rows want them widened.
    let kept = if rows == 1 { w.dtype() } else { DType::F32 };
    let form = DenseForm { inputs: stored, outputs };
    let weights = cx.packed(&format!("dense {image:?} {kept}"), || {
        // What is not stored as the kernel reads it is brought into that form now.
        let (stored, bias) = (Form::Dense { image }, bias.as_deref());
        let packed = match kept {
            DType::F16 => {
                let numbers = cx.stored(1, stored).map_or_else(|| pack(w, image), Ok)?;
                DenseWeights::from_packed_f16(form, numbers, bias)
            }
            DType::BF16 => {
                let numbers = cx.stored(1, stored).map_or_else(|| pack(w, image), Ok)?;
                DenseWeights::from_packed_bf16(form, numbers, bias)
            }
            _ => {
                let numbers = cx.stored(1, stored).map_or_else(|| pack(&widened(w)?, image), Ok)?;
                DenseWeights::from_packed(form, numbers, bias)
            }
        };
        Ok(packed?)
    })?;
    let desc = DenseDesc { inputs: stored, outputs, activation: op.activation };
    Ok(step(Kernel::with_weights(cx.isa(), desc, weights)?, rows).into())
}

fn step(kernel: Kernel, rows: usize) -> Compute {
    let algorithm = kernel.algorithm(rows);
    Compute::function(algorithm, move |io: &mut Io<'_>, par: &dyn Parallel| {
        done(kernel.apply(io.input(0), rows, io.output(0), par));
    })
}

fn rows(cx: &LowerCx) -> Result<usize> {
    Ok(cx.shape(0)?.split_last().map_or(1, |(_, lead)| lead.iter().product()))
}

/// Channels and positions of a flattened image.
fn image(cx: &LowerCx) -> Result<Option<(usize, usize)>> {
    Ok(match cx.format(0)? {
        Format::Flattened { channels, size } => Some((channels, size.iter().product())),
        _ => None,
    })
}

pub(super) fn packed(cx: &LowerCx) -> Vec<(usize, Form)> {
    let one_row = rows(cx).is_ok_and(|n| n == 1);
    let half = |w: &Tensor| matches!(w.dtype(), DType::F16 | DType::BF16);
    let reads = |w: &Tensor| w.rank() == 2 && (w.dtype() == DType::F32 || (half(w) && one_row));
    match (cx.constant(1), image(cx)) {
        (Some(w), Ok(image)) if reads(w) => vec![(1, Form::Dense { image })],
        _ => Vec::new(),
    }
}

pub(super) fn packed_product(cx: &LowerCx) -> Vec<(usize, Form)> {
    let fits = cx.constant(1).is_some_and(|b| b.rank() == 2 && b.dtype() == DType::F32) && cx.all_plain_f32();
    if fits { vec![(1, Form::Product)] } else { Vec::new() }
}

/// The numbers of a constant in the form of a dense layer.
fn pack<T: Element>(w: &Tensor, image: Option<(usize, usize)>) -> Result<Packed<T>> {
    let packed = Form::Dense { image }.pack(w)?;
    numbers(&packed)
}

fn numbers<T: Element>(packed: &Tensor) -> Result<Packed<T>> {
    let kept = packed.stored().and_then(|(_, n)| Kept::<T>::new(n, Arc::default()));
    kept.map(|k| Packed::Kept(Arc::new(k))).ok_or_else(|| Error::graph("input 1: expected packed weights"))
}

fn widened(w: &Tensor) -> Result<Tensor> {
    if w.dtype() == DType::F32 { Ok(w.clone()) } else { Tensor::new(w.shape(), w.to_f32()) }
}

pub(super) fn lower_product(cx: &LowerCx) -> Result<Lowered> {
    let (a, b) = (cx.input(0)?, cx.input(1)?);
    if !cx.all_plain_f32() || a.dtype != DType::F32 || b.dtype != DType::F32 {
        return Ok(Lowered::Interpreted);
    }
    let (a, b) = (a.shape.clone(), b.shape.clone());
    if let (Some(w), &[k, n]) = (cx.constant(1), &b[..]) {
        return lower_constant(cx, w, a.iter().product::<usize>().checked_div(k).unwrap_or(0), k, n);
    }
    let (a_lead, m, k) = if let [lead @ .., m, k] = &a[..] { (lead, *m, *k) } else { (&[][..], 1, a[0]) };
    let (b_lead, n) = if let [lead @ .., _, n] = &b[..] { (lead, *n) } else { (&[][..], 1) };
    let starts = batches(a_lead, b_lead, m * k, k * n);
    let kernel = MatMul::new(cx.isa(), m, k, n)?;
    let scratch = kernel.scratch_len() * size_of::<f32>();
    let run = move |io: &mut Io<'_>, par: &dyn Parallel| {
        let (a, b, y, scratch) = (io.input::<f32>(0), io.input::<f32>(1), io.output::<f32>(0), io.scratch::<f32>());
        for (y, &(i, j)) in y.chunks_exact_mut((m * n).max(1)).zip(&starts) {
            done(kernel.apply(&a[i..i + m * k], &b[j..j + k * n], y, scratch, par));
        }
    };
    Ok(Compute::function("gemm, packed at run time", run).scratch(scratch).into())
}

/// A constant right operand is a dense layer without bias.
fn lower_constant(cx: &LowerCx, b: &Tensor, rows: usize, k: usize, n: usize) -> Result<Lowered> {
    let weights = cx.packed("product", || {
        let packed = |b: &Tensor| numbers(&Form::Product.pack(&widened(b)?)?);
        let numbers = cx.stored(1, Form::Product).map_or_else(|| packed(b), Ok)?;
        Ok(DenseWeights::from_packed(DenseForm { inputs: k, outputs: n }, numbers, None)?)
    })?;
    let desc = DenseDesc { inputs: k, outputs: n, activation: Activation::Identity };
    let isa: Isa = cx.isa();
    Ok(step(Kernel::with_weights(isa, desc, weights)?, rows).into())
}

/// Where the matrices of every batch start, leading axes broadcast as in numpy.
fn batches(a: &[usize], b: &[usize], a_matrix: usize, b_matrix: usize) -> Vec<(usize, usize)> {
    let rank = a.len().max(b.len());
    let pad = |s: &[usize]| -> Vec<usize> { std::iter::repeat_n(1, rank - s.len()).chain(s.iter().copied()).collect() };
    let (a, b) = (pad(a), pad(b));
    let all: Vec<usize> = a.iter().zip(&b).map(|(&p, &q)| if p == 1 { q } else { p }).collect();
    let pick = |mut i: usize, own: &[usize]| {
        let (mut at, mut stride) = (0, 1);
        for (&extent, &have) in all.iter().zip(own).rev() {
            at += if have == 1 { 0 } else { i % extent * stride };
            i /= extent;
            stride *= have;
        }
        at
    };
    (0..all.iter().product()).map(|i| (pick(i, &a) * a_matrix, pick(i, &b) * b_matrix)).collect()
}
