//! Arithmetic on elements, with broadcasting.

use pocketnn::ops::elementwise::{BinaryKind, UnaryKind};

use super::node::{Lowered, Node, V, one};
use super::registry::{Row, op};
use crate::error::{ImportError, Result};

pub(super) const ROWS: &[Row] = &[
    op("Abs", &[1, 6, 13], |cx| unary(cx, UnaryKind::Abs)),
    op("Acos", &[7, 22], |cx| unary(cx, UnaryKind::Acos)),
    op("Acosh", &[9, 22], |cx| unary(cx, UnaryKind::Acosh)),
    op("Add", &[1, 6, 7, 13, 14], |cx| binary(cx, BinaryKind::Add)),
    op("Asin", &[7, 22], |cx| unary(cx, UnaryKind::Asin)),
    op("Asinh", &[9, 22], |cx| unary(cx, UnaryKind::Asinh)),
    op("Atan", &[7, 22], |cx| unary(cx, UnaryKind::Atan)),
    op("Atanh", &[9, 22], |cx| unary(cx, UnaryKind::Atanh)),
    op("Ceil", &[1, 6, 13], |cx| unary(cx, UnaryKind::Ceil)),
    op("Cos", &[7, 22], |cx| unary(cx, UnaryKind::Cos)),
    op("Cosh", &[9, 22], |cx| unary(cx, UnaryKind::Cosh)),
    op("Div", &[1, 6, 7, 13, 14], |cx| binary(cx, BinaryKind::Div)),
    op("Erf", &[9, 13], |cx| unary(cx, UnaryKind::Erf)),
    op("Exp", &[1, 6, 13], |cx| unary(cx, UnaryKind::Exp)),
    op("Floor", &[1, 6, 13], |cx| unary(cx, UnaryKind::Floor)),
    op("Log", &[1, 6, 13], |cx| unary(cx, UnaryKind::Log)),
    op("Max", &[1, 6, 8, 12, 13], |cx| fold(cx, BinaryKind::Max)),
    op("Mean", &[1, 6, 8, 13], mean),
    op("Min", &[1, 6, 8, 12, 13], |cx| fold(cx, BinaryKind::Min)),
    op("Mod", &[10, 13, 28], modulo),
    op("Mul", &[1, 6, 7, 13, 14], |cx| binary(cx, BinaryKind::Mul)),
    op("Neg", &[1, 6, 13], |cx| unary(cx, UnaryKind::Neg)),
    op("Pow", &[1, 7, 12, 13, 15], |cx| binary(cx, BinaryKind::Pow)),
    op("Reciprocal", &[1, 6, 13], |cx| unary(cx, UnaryKind::Reciprocal)),
    op("Round", &[11, 22], |cx| unary(cx, UnaryKind::Round)),
    op("Sign", &[9, 13], |cx| unary(cx, UnaryKind::Sign)),
    op("Sin", &[7, 22], |cx| unary(cx, UnaryKind::Sin)),
    op("Sinh", &[9, 22], |cx| unary(cx, UnaryKind::Sinh)),
    op("Sqrt", &[1, 6, 13], |cx| unary(cx, UnaryKind::Sqrt)),
    op("Sub", &[1, 6, 7, 13, 14], |cx| binary(cx, BinaryKind::Sub)),
    op("Sum", &[1, 6, 8, 13], |cx| fold(cx, BinaryKind::Add)),
    op("Tan", &[7, 22], |cx| unary(cx, UnaryKind::Tan)),
];

fn unary(cx: &mut Node, kind: UnaryKind) -> Result<Lowered> {
    cx.attrs.ignore(&["consumed_inputs"]);
    let x = cx.input(0)?;
    one(cx.unary(kind, x)?)
}

fn binary(cx: &mut Node, kind: BinaryKind) -> Result<Lowered> {
    let (a, b) = operands(cx)?;
    one(cx.binary(kind, a, b)?)
}

/// The two operands, the second one aligned as opsets before 7 say it.
///
/// There, `broadcast` = 1 allows a smaller second operand: its axes are those of the first from `axis` on, or the last ones.
pub(super) fn operands(cx: &mut Node) -> Result<(V, V)> {
    let (a, b) = (cx.input(0)?, cx.input(1)?);
    if cx.since >= 7 {
        return Ok((a, b));
    }
    cx.attrs.ignore(&["consumed_inputs"]);
    let broadcast = cx.attrs.flag("broadcast", false)?;
    let axis = cx.attrs.opt_int("axis")?;
    let (Some(axis), true) = (axis, broadcast) else { return Ok((a, b)) };
    let (rank_a, rank_b) = (cx.rank(a), cx.rank(b));
    if rank_b == 0 {
        return Ok((a, b));
    }
    let axis = cx.axis(axis, rank_a).map_err(|e| e.at_attribute("axis"))?;
    let after = axis.checked_add(rank_b).and_then(|end| rank_a.checked_sub(end)).ok_or_else(|| {
        ImportError::invalid("the second operand has too many dimensions to stand at this axis")
            .expected(format!("at most {}", rank_a.saturating_sub(axis)))
            .found(rank_b)
            .at_attribute("axis")
    })?;
    if after == 0 {
        return Ok((a, b));
    }
    let mut shape = vec![0; rank_b];
    shape.resize(rank_b.saturating_add(after), 1);
    let b = cx.reshape(b, &shape)?;
    Ok((a, b))
}

/// Joins any number of operands by one function.
fn fold(cx: &mut Node, kind: BinaryKind) -> Result<Lowered> {
    cx.attrs.ignore(&["consumed_inputs"]);
    one(joined(cx, kind)?)
}

fn joined(cx: &mut Node, kind: BinaryKind) -> Result<V> {
    let mut y = cx.input(0)?;
    for i in 1..cx.len() {
        let x = cx.input(i)?;
        y = cx.binary(kind, y, x)?;
    }
    Ok(y)
}

fn mean(cx: &mut Node) -> Result<Lowered> {
    cx.attrs.ignore(&["consumed_inputs"]);
    let sum = joined(cx, BinaryKind::Add)?;
    if cx.len() == 1 {
        return one(sum);
    }
    let count = cx.scalar_like(sum, cx.len() as f64)?;
    one(cx.binary(BinaryKind::Div, sum, count)?)
}

fn modulo(cx: &mut Node) -> Result<Lowered> {
    let (a, b) = (cx.input(0)?, cx.input(1)?);
    let kind = if cx.attrs.flag("fmod", false)? { BinaryKind::Fmod } else { BinaryKind::Mod };
    one(cx.binary(kind, a, b)?)
}
