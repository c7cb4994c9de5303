//! Normalisations.

use pocketnn::ops::elementwise::{BinaryKind, UnaryKind};
use pocketnn::ops::norm::Lrn;
use pocketnn::ops::reduce::{Reduce, ReduceKind};

use super::node::{Lowered, Node, one};
use super::registry::{Row, float};
use crate::error::Result;

pub(super) const ROWS: &[Row] =
    &[float("L2_NORMALIZATION", l2_normalization), float("LOCAL_RESPONSE_NORMALIZATION", local_response)];

/// The smallest norm that is divided by (TFLite's constant).
const SMALLEST_NORM: f32 = 1e-6;

/// `x / max(|x|, 1e-6)` along the last axis.
fn l2_normalization(cx: &mut Node) -> Result<Lowered> {
    let activation = cx.fused(0)?;
    let x = cx.input(0)?;
    let squares = cx.unary(UnaryKind::Square, x)?;
    let axes = cx.integers(&[-1]);
    let sum = cx.op(Reduce { kind: ReduceKind::Sum, keep_dims: true, ..Reduce::default() }, &[squares, axes])?;
    let norm = cx.unary(UnaryKind::Sqrt, sum)?;
    let least = cx.float(SMALLEST_NORM);
    let norm = cx.binary(BinaryKind::Max, norm, least)?;
    let y = cx.binary(BinaryKind::Div, x, norm)?;
    one(cx.activated(y, activation)?)
}

/// Over `2 * radius + 1` channels; `alpha` is not divided by their number.
fn local_response(cx: &mut Node) -> Result<Lowered> {
    let radius = cx.options.size(0, 0)?;
    let (bias, alpha, beta) = (cx.options.float(1)?, cx.options.float(2)?, cx.options.float(3)?);
    let x = cx.input(0)?;
    let x = cx.channels_first(x)?;
    let size = radius.saturating_mul(2).saturating_add(1);
    let y = cx.op(Lrn { size, alpha: alpha * size as f32, beta, bias }, &[x])?;
    one(cx.channels_last(y)?)
}
