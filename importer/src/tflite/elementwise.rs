//! Functions of one element, and of one element of each operand.

use pocketnn::ValueId;
use pocketnn::ops::elementwise::{BinaryKind, UnaryKind};

use super::node::{Lowered, Node, one};
use super::quantize;
use super::registry::{Row, both, float, moves};
use crate::error::{ImportError, Result};

pub(super) const ROWS: &[Row] = &[
    both("ABS", |cx| unary(cx, UnaryKind::Abs)),
    both("ADD", |cx| arithmetic(cx, BinaryKind::Add)),
    float("ADD_N", add_n),
    float("ATAN2", |cx| binary(cx, BinaryKind::Atan2)),
    moves("BITWISE_XOR", |cx| binary(cx, BinaryKind::BitXor)),
    moves("CAST", cast),
    float("CEIL", |cx| unary(cx, UnaryKind::Ceil)),
    float("COS", |cx| unary(cx, UnaryKind::Cos)),
    both("DIV", |cx| arithmetic(cx, BinaryKind::Div)),
    both("EXP", |cx| unary(cx, UnaryKind::Exp)),
    float("FLOOR", |cx| unary(cx, UnaryKind::Floor)),
    float("FLOOR_DIV", |cx| binary(cx, BinaryKind::FloorDiv)),
    float("FLOOR_MOD", |cx| binary(cx, BinaryKind::Mod)),
    both("LOG", |cx| unary(cx, UnaryKind::Log)),
    moves("MAXIMUM", |cx| binary(cx, BinaryKind::Max)),
    moves("MINIMUM", |cx| binary(cx, BinaryKind::Min)),
    both("MUL", |cx| arithmetic(cx, BinaryKind::Mul)),
    both("NEG", |cx| unary(cx, UnaryKind::Neg)),
    float("POW", |cx| binary(cx, BinaryKind::Pow)),
    moves("RIGHT_SHIFT", |cx| binary(cx, BinaryKind::Shr)),
    float("ROUND", |cx| unary(cx, UnaryKind::Round)),
    both("RSQRT", |cx| unary(cx, UnaryKind::Rsqrt)),
    float("SIGN", |cx| unary(cx, UnaryKind::Sign)),
    float("SIN", |cx| unary(cx, UnaryKind::Sin)),
    float("SQRT", |cx| unary(cx, UnaryKind::Sqrt)),
    float("SQUARE", |cx| unary(cx, UnaryKind::Square)),
    both("SQUARED_DIFFERENCE", squared_difference),
    both("SUB", |cx| arithmetic(cx, BinaryKind::Sub)),
];

fn unary(cx: &mut Node, kind: UnaryKind) -> Result<Lowered> {
    let x = cx.input(0)?;
    if cx.quantized() {
        return one(quantize::unary(cx, x, kind)?);
    }
    one(cx.unary(kind, x)?)
}

fn binary(cx: &mut Node, kind: BinaryKind) -> Result<Lowered> {
    let (a, b) = (cx.input(0)?, cx.input(1)?);
    one(cx.binary(kind, a, b)?)
}

/// Addition and its kin, with a fused activation.
fn arithmetic(cx: &mut Node, kind: BinaryKind) -> Result<Lowered> {
    let activation = cx.fused(0)?;
    let (a, b) = (cx.input(0)?, cx.input(1)?);
    if cx.quantized() {
        return one(quantize::arithmetic(cx, kind, a, b, activation)?);
    }
    cx.options.ignore(&[1]);
    let y = cx.binary(kind, a, b)?;
    one(cx.activated(y, activation)?)
}

fn squared_difference(cx: &mut Node) -> Result<Lowered> {
    let (a, b) = (cx.input(0)?, cx.input(1)?);
    if cx.quantized() {
        let none = pocketnn::ops::activation::Activation::Identity;
        return one(quantize::arithmetic(cx, BinaryKind::SquaredDifference, a, b, none)?);
    }
    one(cx.binary(BinaryKind::SquaredDifference, a, b)?)
}

fn add_n(cx: &mut Node) -> Result<Lowered> {
    let mut terms = cx.all_inputs()?.into_iter();
    let mut sum: ValueId =
        terms.next().ok_or_else(|| ImportError::invalid("the number of inputs").expected("at least 1").found(0))?;
    for term in terms {
        sum = cx.binary(BinaryKind::Add, sum, term)?;
    }
    one(sum)
}

/// The output's declared type decides; the options repeat it.
fn cast(cx: &mut Node) -> Result<Lowered> {
    cx.options.ignore(&[0, 1]);
    let (x, to) = (cx.input(0)?, cx.dtype_out(0)?);
    one(cx.cast(x, to)?)
}
