//! Comparisons, truth values and bits.

use pocketnn::ops::elementwise::{BinaryKind, UnaryKind, Where};

use super::attrs::unknown_value;
use super::elem::Elem;
use super::elementwise::operands;
use super::node::{Lowered, Node, one};
use super::registry::{Row, op};
use crate::error::Result;

pub(super) const ROWS: &[Row] = &[
    op("And", &[1, 7], |cx| compare(cx, BinaryKind::And)),
    op("BitShift", &[11, 28], bit_shift),
    op("BitwiseAnd", &[18], |cx| bits(cx, BinaryKind::BitAnd)),
    op("BitwiseNot", &[18], bit_not),
    op("BitwiseOr", &[18], |cx| bits(cx, BinaryKind::BitOr)),
    op("BitwiseXor", &[18], |cx| bits(cx, BinaryKind::BitXor)),
    op("Equal", &[1, 7, 11, 13, 19], |cx| compare(cx, BinaryKind::Eq)),
    op("Greater", &[1, 7, 9, 13], |cx| compare(cx, BinaryKind::Gt)),
    op("GreaterOrEqual", &[12, 16], |cx| compare(cx, BinaryKind::Ge)),
    op("IsInf", &[10, 20], is_inf),
    op("IsNaN", &[9, 13, 20], is_nan),
    op("Less", &[1, 7, 9, 13], |cx| compare(cx, BinaryKind::Lt)),
    op("LessOrEqual", &[12, 16], |cx| compare(cx, BinaryKind::Le)),
    op("Not", &[1], not),
    op("Or", &[1, 7], |cx| compare(cx, BinaryKind::Or)),
    op("Where", &[9, 16], choose),
    op("Xor", &[1, 7], |cx| compare(cx, BinaryKind::Xor)),
];

fn compare(cx: &mut Node, kind: BinaryKind) -> Result<Lowered> {
    let (a, b) = operands(cx)?;
    one(cx.compare(kind, a, b)?)
}

fn bits(cx: &mut Node, kind: BinaryKind) -> Result<Lowered> {
    let (a, b) = (cx.input(0)?, cx.input(1)?);
    one(cx.binary(kind, a, b)?)
}

fn bit_not(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    one(cx.unary(UnaryKind::BitNot, x)?)
}

fn not(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    one(cx.unary(UnaryKind::Not, x)?)
}

fn bit_shift(cx: &mut Node) -> Result<Lowered> {
    match cx.attrs.string("direction", "")?.as_str() {
        "LEFT" => bits(cx, BinaryKind::Shl),
        "RIGHT" => bits(cx, BinaryKind::Shr),
        other => Err(unknown_value("direction", "`LEFT` or `RIGHT`", other)),
    }
}

fn is_inf(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    let (negative, positive) = (cx.attrs.flag("detect_negative", true)?, cx.attrs.flag("detect_positive", true)?);
    let kind = match (negative, positive) {
        (true, true) => UnaryKind::IsInf,
        (true, false) => UnaryKind::IsNegInf,
        (false, true) => UnaryKind::IsPosInf,
        (false, false) => {
            let any = cx.op(pocketnn::ops::elementwise::Unary { kind: UnaryKind::IsInf }, &[x.id], Elem::Bool)?;
            return one(cx.compare(BinaryKind::Xor, any, any)?);
        }
    };
    one(cx.op(pocketnn::ops::elementwise::Unary { kind }, &[x.id], Elem::Bool)?)
}

fn is_nan(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    one(cx.op(pocketnn::ops::elementwise::Unary { kind: UnaryKind::IsNan }, &[x.id], Elem::Bool)?)
}

fn choose(cx: &mut Node) -> Result<Lowered> {
    let (condition, a, b) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
    one(cx.op(Where::default(), &[condition.id, a.id, b.id], a.elem)?)
}
