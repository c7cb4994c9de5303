//! Functions of one element, or of one element of each operand.

use pocketnn::ops::activation::Activation;
use pocketnn::ops::elementwise::{Binary, BinaryKind, BitCast, UnaryKind, Where};

use super::attrs::missing;
use super::elem::Elem;
use super::node::{Lowered, Node, V, int, one};
use super::registry::{Row, op};
use crate::error::{ImportError, Result};

pub(super) const ROWS: &[Row] = &[
    op("Abs", |cx| unary(cx, UnaryKind::Abs)),
    op("Acos", |cx| unary(cx, UnaryKind::Acos)),
    op("Acosh", |cx| unary(cx, UnaryKind::Acosh)),
    op("Add", |cx| binary(cx, BinaryKind::Add)),
    op("AddN", add_n),
    op("AddV2", |cx| binary(cx, BinaryKind::Add)),
    op("Asin", |cx| unary(cx, UnaryKind::Asin)),
    op("Asinh", |cx| unary(cx, UnaryKind::Asinh)),
    op("Atan", |cx| unary(cx, UnaryKind::Atan)),
    op("Atan2", |cx| binary(cx, BinaryKind::Atan2)),
    op("Atanh", |cx| unary(cx, UnaryKind::Atanh)),
    op("BiasAdd", bias_add),
    op("BiasAddV1", bias_add),
    op("Bitcast", bitcast),
    op("BitwiseAnd", |cx| binary(cx, BinaryKind::BitAnd)),
    op("BitwiseOr", |cx| binary(cx, BinaryKind::BitOr)),
    op("BitwiseXor", |cx| binary(cx, BinaryKind::BitXor)),
    op("Cast", cast),
    op("Ceil", |cx| unary(cx, UnaryKind::Ceil)),
    op("ClipByValue", clip),
    op("Cos", |cx| unary(cx, UnaryKind::Cos)),
    op("Cosh", |cx| unary(cx, UnaryKind::Cosh)),
    op("Div", |cx| binary(cx, BinaryKind::Div)),
    op("DivNoNan", |cx| where_zero(cx, BinaryKind::Div, 1)),
    op("Equal", |cx| compare(cx, BinaryKind::Eq)),
    op("Erf", |cx| unary(cx, UnaryKind::Erf)),
    op("Erfc", erfc),
    op("Exp", |cx| unary(cx, UnaryKind::Exp)),
    op("Expm1", |cx| unary(cx, UnaryKind::Expm1)),
    op("Floor", |cx| unary(cx, UnaryKind::Floor)),
    op("FloorDiv", |cx| binary(cx, BinaryKind::FloorDiv)),
    op("FloorMod", |cx| binary(cx, BinaryKind::Mod)),
    op("Greater", |cx| compare(cx, BinaryKind::Gt)),
    op("GreaterEqual", |cx| compare(cx, BinaryKind::Ge)),
    op("Inv", |cx| unary(cx, UnaryKind::Reciprocal)),
    op("Invert", |cx| unary(cx, UnaryKind::BitNot)),
    op("IsFinite", |cx| test(cx, UnaryKind::IsFinite)),
    op("IsInf", |cx| test(cx, UnaryKind::IsInf)),
    op("IsNan", |cx| test(cx, UnaryKind::IsNan)),
    op("LeftShift", |cx| binary(cx, BinaryKind::Shl)),
    op("Less", |cx| compare(cx, BinaryKind::Lt)),
    op("LessEqual", |cx| compare(cx, BinaryKind::Le)),
    op("Log", |cx| unary(cx, UnaryKind::Log)),
    op("Log1p", |cx| unary(cx, UnaryKind::Log1p)),
    op("LogicalAnd", |cx| compare(cx, BinaryKind::And)),
    op("LogicalNot", |cx| unary(cx, UnaryKind::Not)),
    op("LogicalOr", |cx| compare(cx, BinaryKind::Or)),
    op("Maximum", |cx| binary(cx, BinaryKind::Max)),
    op("Minimum", |cx| binary(cx, BinaryKind::Min)),
    op("Mod", |cx| binary(cx, BinaryKind::Fmod)),
    op("Mul", |cx| binary(cx, BinaryKind::Mul)),
    op("MulNoNan", |cx| where_zero(cx, BinaryKind::Mul, 1)),
    op("Neg", |cx| unary(cx, UnaryKind::Neg)),
    op("NotEqual", |cx| compare(cx, BinaryKind::Ne)),
    op("Pow", |cx| binary(cx, BinaryKind::Pow)),
    op("RealDiv", |cx| binary(cx, BinaryKind::Div)),
    op("Reciprocal", |cx| unary(cx, UnaryKind::Reciprocal)),
    op("RightShift", |cx| binary(cx, BinaryKind::Shr)),
    op("Rint", |cx| unary(cx, UnaryKind::Round)),
    op("Round", |cx| unary(cx, UnaryKind::Round)),
    op("Rsqrt", |cx| unary(cx, UnaryKind::Rsqrt)),
    op("Select", select_v1),
    op("SelectV2", select),
    op("Sign", |cx| unary(cx, UnaryKind::Sign)),
    op("Sin", |cx| unary(cx, UnaryKind::Sin)),
    op("Sinh", |cx| unary(cx, UnaryKind::Sinh)),
    op("Sqrt", |cx| unary(cx, UnaryKind::Sqrt)),
    op("Square", |cx| unary(cx, UnaryKind::Square)),
    op("SquaredDifference", |cx| binary(cx, BinaryKind::SquaredDifference)),
    op("Sub", |cx| binary(cx, BinaryKind::Sub)),
    op("Tan", |cx| unary(cx, UnaryKind::Tan)),
    op("TruncateDiv", |cx| binary(cx, BinaryKind::Div)),
    op("TruncateMod", |cx| binary(cx, BinaryKind::Fmod)),
    op("Xdivy", |cx| where_zero(cx, BinaryKind::Div, 0)),
    op("Xlogy", xlogy),
];

fn unary<'m>(cx: &mut Node<'_, 'm>, kind: UnaryKind) -> Result<Lowered<'m>> {
    let x = cx.input(0)?;
    one(cx.unary(kind, x)?)
}

/// A question about a float.
fn test<'m>(cx: &mut Node<'_, 'm>, kind: UnaryKind) -> Result<Lowered<'m>> {
    let x = cx.input(0)?;
    one(cx.op(pocketnn::ops::elementwise::Unary { kind }, &[x.id], Elem::Bool)?)
}

fn binary<'m>(cx: &mut Node<'_, 'm>, kind: BinaryKind) -> Result<Lowered<'m>> {
    let (a, b) = (cx.input(0)?, cx.input(1)?);
    one(cx.binary(kind, a, b)?)
}

fn compare<'m>(cx: &mut Node<'_, 'm>, kind: BinaryKind) -> Result<Lowered<'m>> {
    let (a, b) = (cx.input(0)?, cx.input(1)?);
    one(cx.compare(kind, a, b)?)
}

fn add_n<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    cx.attrs.ignore(&["N"]);
    let mut sum = cx.input(0)?;
    for i in 1..cx.len() {
        let x = cx.input(i)?;
        sum = cx.binary(BinaryKind::Add, sum, x)?;
    }
    one(sum)
}

/// Adds a number a channel.
fn bias_add<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let first = cx.channels_first()?;
    let (x, bias) = (cx.input(0)?, cx.input(1)?);
    let rank = cx.rank(x);
    let bias = if first && rank > 2 {
        let mut shape = vec![-1];
        shape.resize(rank.saturating_sub(1), 1);
        cx.reshape(bias, &shape)?
    } else {
        bias
    };
    one(cx.binary(BinaryKind::Add, x, bias)?)
}

fn bitcast<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let x = cx.input(0)?;
    let elem = cx.attrs.elem("type")?.ok_or_else(|| missing("type"))?;
    if elem.carried()? != elem.stored()? || x.elem.carried()? != x.elem.stored()? {
        return Err(ImportError::unsupported("the bits of half-precision floats are not supported"));
    }
    one(cx.op(BitCast { to: elem.carried()? }, &[x.id], elem)?)
}

/// A conversion to half precision rounds.
fn cast<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    cx.attrs.ignore(&["Truncate"]);
    let x = cx.input(0)?;
    let elem = cx.attrs.elem("DstT")?.ok_or_else(|| missing("DstT"))?;
    one(cast_to(cx, x, elem)?)
}

/// Converts to another element type.
pub(super) fn cast_to(cx: &mut Node, x: V, elem: Elem) -> Result<V> {
    if x.elem == elem {
        return Ok(x);
    }
    let (stored, carried) = (elem.stored()?, elem.carried()?);
    let id = if stored == carried { x.id } else { cx.convert(x.id, stored)? };
    Ok(V { id: cx.convert(id, carried)?, elem })
}

fn clip<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let (x, lo, hi) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
    let known = |v: V| cx.const_floats(v).filter(|f| f.len() == 1).and_then(|f| f.first().copied());
    if let (Some(lo), Some(hi), true) = (known(lo), known(hi), x.elem.is_float()) {
        return one(cx.activate(Activation::Clamp { lo, hi }, x)?);
    }
    let x = cx.binary(BinaryKind::Max, x, lo)?;
    one(cx.binary(BinaryKind::Min, x, hi)?)
}

/// The result, but 0 where operand `i` is 0.
fn where_zero<'m>(cx: &mut Node<'_, 'm>, kind: BinaryKind, i: usize) -> Result<Lowered<'m>> {
    let (a, b) = (cx.input(0)?, cx.input(1)?);
    let y = cx.binary(kind, a, b)?;
    let asked = cx.input(i)?;
    one(zero_where_zero(cx, asked, y)?)
}

fn zero_where_zero(cx: &mut Node, asked: V, y: V) -> Result<V> {
    let zero = cx.scalar_like(y, 0.0)?;
    let none = cx.compare(BinaryKind::Eq, asked, zero)?;
    cx.op(Where::default(), &[none.id, zero.id, y.id], y.elem)
}

/// `x ln y`, 0 where `x` is 0.
fn xlogy<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let (x, y) = (cx.input(0)?, cx.input(1)?);
    let log = cx.unary(UnaryKind::Log, y)?;
    let product = cx.binary(BinaryKind::Mul, x, log)?;
    one(zero_where_zero(cx, x, product)?)
}

/// `1 - erf(x)`
fn erfc<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let x = cx.input(0)?;
    let erf = cx.unary(UnaryKind::Erf, x)?;
    let unit = cx.scalar_like(x, 1.0)?;
    one(cx.binary(BinaryKind::Sub, unit, erf)?)
}

fn select<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let (condition, a, b) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
    one(cx.op(Where::default(), &[condition.id, a.id, b.id], a.elem)?)
}

/// A condition of one axis chooses whole rows.
fn select_v1<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let (mut condition, a, b) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
    if cx.rank(condition) == 1 && cx.rank(a) > 1 {
        let axes: Vec<i64> = (1..cx.rank(a)).map(int).collect();
        condition = cx.unsqueeze(condition, &axes)?;
    }
    one(cx.op(Where::default(), &[condition.id, a.id, b.id], a.elem)?)
}

/// A comparison with a number.
pub(super) fn against(cx: &mut Node, kind: BinaryKind, x: V, y: f64) -> Result<V> {
    let y = cx.scalar_like(x, y)?;
    cx.op(Binary { kind, ..Binary::default() }, &[x.id, y.id], Elem::Bool)
}
