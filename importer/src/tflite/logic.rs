//! Comparisons, truth values and choices.

use pocketnn::DType;
use pocketnn::ops::elementwise::{BinaryKind, UnaryKind, Where};
use pocketnn::ops::gather::NonZero;
use pocketnn::ops::movement::{Expand, Unsqueeze};
use pocketnn::ops::reduce::{Reduce, ReduceKind};

use super::node::{Lowered, Node, one};
use super::quantize;
use super::registry::{Row, both, float, moves};
use crate::error::{ImportError, Result};

pub(super) const ROWS: &[Row] = &[
    float("BUCKETIZE", bucketize),
    both("EQUAL", |cx| compare(cx, BinaryKind::Eq)),
    both("GREATER", |cx| compare(cx, BinaryKind::Gt)),
    both("GREATER_EQUAL", |cx| compare(cx, BinaryKind::Ge)),
    both("LESS", |cx| compare(cx, BinaryKind::Lt)),
    both("LESS_EQUAL", |cx| compare(cx, BinaryKind::Le)),
    moves("LOGICAL_AND", |cx| logic(cx, BinaryKind::And)),
    moves("LOGICAL_NOT", not),
    moves("LOGICAL_OR", |cx| logic(cx, BinaryKind::Or)),
    both("NOT_EQUAL", |cx| compare(cx, BinaryKind::Ne)),
    moves("SELECT", select),
    moves("SELECT_V2", select_v2),
    moves("WHERE", positions),
];

/// Quantized operands are compared by what they stand for.
fn compare(cx: &mut Node, kind: BinaryKind) -> Result<Lowered> {
    let (mut a, mut b) = (cx.input(0)?, cx.input(1)?);
    if cx.info_in(0).is_some_and(quantize::is_quantized) && cx.quant_in(0) != cx.quant_in(1) {
        (a, b) = (quantize::real(cx, 0)?, quantize::real(cx, 1)?);
    }
    one(cx.binary(kind, a, b)?)
}

fn logic(cx: &mut Node, kind: BinaryKind) -> Result<Lowered> {
    let (a, b) = (cx.input(0)?, cx.input(1)?);
    one(cx.binary(kind, a, b)?)
}

fn not(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    one(cx.unary(UnaryKind::Not, x)?)
}

/// A condition of one axis chooses rows.
fn select(cx: &mut Node) -> Result<Lowered> {
    let (mut condition, a, b) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
    let rank = cx.rank(a);
    if cx.rank(condition) == 1 && rank > 1 {
        let shape: Vec<i64> = std::iter::once(-1).chain((1..rank).map(|_| 1)).collect();
        condition = cx.reshape(condition, &shape)?;
    }
    one(cx.op(Where::default(), &[condition, a, b])?)
}

fn select_v2(cx: &mut Node) -> Result<Lowered> {
    let (condition, a, b) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
    one(cx.op(Where::default(), &[condition, a, b])?)
}

/// Index tuples of what is not 0, one a row.
fn positions(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    let found = cx.op(NonZero::default(), &[x])?;
    one(cx.transpose(found, &[1, 0])?)
}

/// How many boundaries are not above an element.
fn bucketize(cx: &mut Node) -> Result<Lowered> {
    let boundaries = cx.options.ints::<f32>(0)?.unwrap_or_default();
    let x = cx.input(0)?;
    if boundaries.windows(2).any(|w| w.first() > w.last()) {
        return Err(ImportError::invalid("the boundaries are not in ascending order"));
    }
    let x = cx.cast(x, DType::F32)?;
    let last = cx.integers(&[-1]);
    let x = cx.op(Unsqueeze::default(), &[x, last])?;
    let limits = cx.tensor(pocketnn::Tensor::vector(&boundaries));
    let above = cx.binary(BinaryKind::Ge, x, limits)?;
    let ones = cx.cast(above, DType::I32)?;
    let axes = cx.integers(&[-1]);
    let op = Reduce { kind: ReduceKind::Sum, keep_dims: false, ..Reduce::default() };
    let sum = cx.op(op, &[ones, axes])?;
    one(cx.cast(sum, DType::I32)?)
}

/// A value broadcast to a shape.
pub(super) fn expand(cx: &mut Node, x: pocketnn::ValueId, shape: pocketnn::ValueId) -> Result<pocketnn::ValueId> {
    let shape = cx.as_i64(shape)?;
    cx.op(Expand::default(), &[x, shape])
}
