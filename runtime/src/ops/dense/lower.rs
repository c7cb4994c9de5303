//! Dense layers and matrix products as kernels.

use super::Dense;
use crate::ops::elementwise::lower::done;
use crate::plan::{Compute, Format, FormatCx, Formats, Io, LowerCx, Lowered};
use crate::{DType, Error, Result, Tensor};
use half::f16;
use pocketnn_kernels::activation::Activation;
use pocketnn_kernels::gemm::{Dense as Kernel, DenseDesc, DenseWeights, MatMul, Values};
use pocketnn_kernels::isa::Isa;
use pocketnn_kernels::layout::BLOCK;
use pocketnn_kernels::par::Parallel;

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
    let rows = cx.shape(0)?.split_last().map_or(1, |(_, lead)| lead.iter().product());
    let image = match cx.format(0)? {
        Format::Plain => None,
        Format::Flattened { channels, size } => Some((channels, size.iter().product())),
        Format::Blocked | Format::ChannelsLast => return Ok(Lowered::Interpreted),
    };
    let &[outputs, inputs] = w.shape() else { return Err(Error::graph("input 1: expected [O, K]")) };
    let stored = image.map_or(inputs, |(c, positions): (usize, usize)| c.next_multiple_of(BLOCK) * positions);
    let bias = cx.floats(2);
    // One row reads every weight once, in whatever type; several rows want them widened.
    let half = w.dtype() == DType::F16 && rows == 1;
    let weights = cx.packed(&format!("dense {image:?} {half}"), || {
        let packed = if half {
            let w = reorder(w.as_slice::<f16>()?, inputs, stored, image);
            DenseWeights::new(stored, outputs, Values::F16(&w), bias.as_deref())
        } else {
            let w = reorder(&w.to_f32(), inputs, stored, image);
            DenseWeights::new(stored, outputs, Values::F32(&w), bias.as_deref())
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

/// Rows of weights in the order of a flattened image `[C / 8][positions][8]`, zeros past the last channel.
fn reorder<T: Copy + Default>(w: &[T], inputs: usize, stored: usize, image: Option<(usize, usize)>) -> Vec<T> {
    let Some((_, positions)) = image else { return w.to_vec() };
    let mut out = vec![T::default(); w.len().checked_div(inputs).unwrap_or(0) * stored];
    for (from, to) in w.chunks_exact(inputs.max(1)).zip(out.chunks_exact_mut(stored.max(1))) {
        for (i, &v) in from.iter().enumerate() {
            let (c, position) = (i / positions, i % positions);
            to[(c / BLOCK * positions + position) * BLOCK + c % BLOCK] = v;
        }
    }
    out
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
        let b = b.to_f32();
        let w: Vec<f32> = (0..n * k).map(|i| b[i % k * n + i / k]).collect();
        Ok(DenseWeights::new(k, n, Values::F32(&w), None)?)
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
