//! Matrix products.

use pocketnn::ops::dense::{Dense, MatMul};
use pocketnn::ops::elementwise::BinaryKind;
use pocketnn::{Tensor, ValueId};

use super::node::{Lowered, Node, one};
use super::quantize;
use super::registry::{Row, both};
use crate::error::{ImportError, Result};

pub(super) const ROWS: &[Row] = &[both("BATCH_MATMUL", batch_matmul), both("FULLY_CONNECTED", fully_connected)];

fn fully_connected(cx: &mut Node) -> Result<Lowered> {
    let (x, w) = (cx.input(0)?, cx.input(1)?);
    cx.expect_rank(w, 2, "input 1")?;
    let kind = cx.fused(0)?;
    if cx.options.choice(1)? != 0 {
        return Err(ImportError::unsupported("shuffled weights are not supported")
            .help("convert the model again; no current converter writes them"));
    }
    let keep = cx.options.flag(2, false)?;
    // How activations are quantized while running, and the type of the bias, follow from the tensors.
    cx.options.ignore(&[3, 4, 5]);
    let depth = cx.need_extent(w, 1, "weights")?;
    let x = if keep || cx.rank(x) == 2 && cx.extent(x, 1) == Some(depth) {
        x
    } else {
        cx.reshape(x, &[-1, i64::try_from(depth).unwrap_or(i64::MAX)])?
    };
    if cx.quantized() {
        return one(quantize::dense(cx, x, w, kind)?);
    }
    let w = quantize::weights(cx, 1)?;
    let bias = cx.maybe(2)?;
    let y = if cx.constant(w).is_some() || cx.walker.half_source(w).is_some() {
        cx.op_with(Dense::default(), &[Some(x), Some(w), bias])?
    } else {
        let w = cx.transpose(w, &[1, 0])?;
        let y = cx.op(MatMul::default(), &[x, w])?;
        match bias {
            Some(b) => cx.binary(BinaryKind::Add, y, b)?,
            None => y,
        }
    };
    one(cx.activated(y, kind)?)
}

/// The last two axes exchanged.
fn turned(cx: &mut Node, v: ValueId) -> Result<ValueId> {
    let rank = cx.rank(v);
    let mut perm: Vec<usize> = (0..rank).collect();
    if rank >= 2 {
        perm.swap(rank.saturating_sub(1), rank.saturating_sub(2));
    }
    cx.transpose(v, &perm)
}

fn batch_matmul(cx: &mut Node) -> Result<Lowered> {
    let (adj_a, adj_b) = (cx.options.flag(0, false)?, cx.options.flag(1, false)?);
    cx.options.ignore(&[2]);
    let (a, b) = (cx.input(0)?, cx.input(1)?);
    if cx.quantized() {
        let a = if adj_a { turned(cx, a)? } else { a };
        let b = if adj_b { turned(cx, b)? } else { b };
        return one(quantize::matmul(cx, a, b)?);
    }
    let (a, b) = (quantize::weights(cx, 0)?, quantize::weights(cx, 1)?);
    let a = if adj_a { turned(cx, a)? } else { a };
    let b = if adj_b { turned(cx, b)? } else { b };
    one(cx.op(MatMul::default(), &[a, b])?)
}

/// A vector of zeros, for operands that are absent.
pub(super) fn zeros(cx: &mut Node, shape: &[usize]) -> Result<ValueId> {
    cx.walker.budget.made(shape, 4, "zeros")?;
    let t = Tensor::zeros(pocketnn::DType::F32, shape)?;
    Ok(cx.tensor(t))
}
