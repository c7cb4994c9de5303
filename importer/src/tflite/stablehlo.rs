//! The operators of StableHLO that have the meaning of one of ours.

use pocketnn::ops::activation::{Activate, Activation};
use pocketnn::ops::elementwise::{BinaryKind, UnaryKind, Where};
use pocketnn::ops::movement::{Concat, Expand, Pad, Range, Reshape, Slice, Transpose};
use pocketnn::{DType, ValueId};

use super::node::{Lowered, Node, one};
use super::registry::{Row, float, moves};
use crate::error::{ImportError, Result};

pub(super) const ROWS: &[Row] = &[
    float("STABLEHLO_ABS", |cx| unary(cx, UnaryKind::Abs)),
    float("STABLEHLO_ADD", |cx| binary(cx, BinaryKind::Add)),
    moves("STABLEHLO_AND", |cx| bits(cx, BinaryKind::And, BinaryKind::BitAnd)),
    moves("STABLEHLO_BROADCAST_IN_DIM", broadcast_in_dim),
    float("STABLEHLO_CLAMP", clamp),
    moves("STABLEHLO_COMPARE", compare),
    moves("STABLEHLO_CONCATENATE", concatenate),
    moves("STABLEHLO_CONVERT", convert),
    float("STABLEHLO_COSINE", |cx| unary(cx, UnaryKind::Cos)),
    float("STABLEHLO_DIVIDE", |cx| binary(cx, BinaryKind::Div)),
    float("STABLEHLO_EXPONENTIAL", |cx| unary(cx, UnaryKind::Exp)),
    float("STABLEHLO_FLOOR", |cx| unary(cx, UnaryKind::Floor)),
    moves("STABLEHLO_IOTA", iota),
    float("STABLEHLO_LOG", |cx| unary(cx, UnaryKind::Log)),
    float("STABLEHLO_LOGISTIC", logistic),
    float("STABLEHLO_MAXIMUM", |cx| binary(cx, BinaryKind::Max)),
    float("STABLEHLO_MINIMUM", |cx| binary(cx, BinaryKind::Min)),
    float("STABLEHLO_MULTIPLY", |cx| binary(cx, BinaryKind::Mul)),
    float("STABLEHLO_NEGATE", |cx| unary(cx, UnaryKind::Neg)),
    moves("STABLEHLO_OR", |cx| bits(cx, BinaryKind::Or, BinaryKind::BitOr)),
    moves("STABLEHLO_PAD", pad),
    float("STABLEHLO_POWER", |cx| binary(cx, BinaryKind::Pow)),
    float("STABLEHLO_REMAINDER", |cx| binary(cx, BinaryKind::Fmod)),
    moves("STABLEHLO_RESHAPE", reshape),
    float("STABLEHLO_RSQRT", |cx| unary(cx, UnaryKind::Rsqrt)),
    moves("STABLEHLO_SELECT", select),
    moves("STABLEHLO_SHIFT_LEFT", |cx| binary(cx, BinaryKind::Shl)),
    moves("STABLEHLO_SLICE", slice),
    float("STABLEHLO_SUBTRACT", |cx| binary(cx, BinaryKind::Sub)),
    float("STABLEHLO_TANH", |cx| unary(cx, UnaryKind::Tanh)),
    moves("STABLEHLO_TRANSPOSE", transpose),
];

fn unary(cx: &mut Node, kind: UnaryKind) -> Result<Lowered> {
    let x = cx.input(0)?;
    one(cx.unary(kind, x)?)
}

fn binary(cx: &mut Node, kind: BinaryKind) -> Result<Lowered> {
    let (a, b) = (cx.input(0)?, cx.input(1)?);
    one(cx.binary(kind, a, b)?)
}

/// Of truth values, or of the bits of integers.
fn bits(cx: &mut Node, truth: BinaryKind, integers: BinaryKind) -> Result<Lowered> {
    let (a, b) = (cx.input(0)?, cx.input(1)?);
    let kind = if cx.dtype(a) == DType::Bool { truth } else { integers };
    one(cx.binary(kind, a, b)?)
}

fn logistic(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    one(cx.op(Activate { kind: Activation::Sigmoid }, &[x])?)
}

/// Inputs `min`, `x`, `max`.
fn clamp(cx: &mut Node) -> Result<Lowered> {
    let (lo, x, hi) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
    let y = cx.binary(BinaryKind::Max, x, lo)?;
    one(cx.binary(BinaryKind::Min, y, hi)?)
}

fn compare(cx: &mut Node) -> Result<Lowered> {
    let kind = match cx.options.int(0, 0)? {
        0 => BinaryKind::Eq,
        1 => BinaryKind::Ne,
        2 => BinaryKind::Ge,
        3 => BinaryKind::Gt,
        4 => BinaryKind::Le,
        5 => BinaryKind::Lt,
        other => return Err(ImportError::invalid("the direction of a comparison").found(other)),
    };
    cx.options.ignore(&[1]);
    binary(cx, kind)
}

fn select(cx: &mut Node) -> Result<Lowered> {
    let (condition, a, b) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
    one(cx.op(Where::default(), &[condition, a, b])?)
}

fn convert(cx: &mut Node) -> Result<Lowered> {
    let (x, to) = (cx.input(0)?, cx.dtype_out(0)?);
    one(cx.cast(x, to)?)
}

fn concatenate(cx: &mut Node) -> Result<Lowered> {
    let axis = cx.options.long(0)?;
    let parts = cx.all_inputs()?;
    one(cx.op(Concat { axis }, &parts)?)
}

/// The declared shape of the output, which has to be known.
fn declared(cx: &mut Node) -> Result<ValueId> {
    let shape: Vec<i64> = cx.info_out(0).map(|t| t.shape.iter().map(|&d| i64::from(d)).collect()).unwrap_or_default();
    if shape.iter().any(|&d| d < 0) {
        return Err(ImportError::unsupported("a shape decided while running is not supported"));
    }
    Ok(cx.integers(&shape))
}

fn reshape(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    let shape = declared(cx)?;
    one(cx.op(Reshape { allow_zero: true }, &[x, shape])?)
}

fn transpose(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    let perm = cx.options.ints::<i64>(0)?.unwrap_or_default();
    let rank = cx.rank(x);
    let perm = perm.into_iter().map(|p| cx.axis(p, rank)).collect::<Result<Vec<_>>>()?;
    one(cx.op(Transpose { perm }, &[x])?)
}

fn slice(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    let list = |cx: &Node, i: usize| cx.options.ints::<i64>(i).map(Option::unwrap_or_default);
    let (begins, ends, steps) = (list(cx, 0)?, list(cx, 1)?, list(cx, 2)?);
    let axes: Vec<i64> = (0i64..).take(begins.len()).collect();
    let [begins, ends, axes, steps] = [begins, ends, axes, steps].map(|l| cx.integers(&l));
    one(cx.op(Slice::default(), &[x, begins, ends, axes, steps])?)
}

/// Axis `i` of `x` becomes axis `dimensions[i]` of the output.
fn broadcast_in_dim(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    let dimensions = cx.options.ints::<i64>(0)?.unwrap_or_default();
    let shape = declared(cx)?;
    let rank = cx.ints(shape).map_or(0, |s| s.len());
    let mut own = vec![1i64; rank];
    for (i, d) in dimensions.into_iter().enumerate() {
        let extent = cx.need_extent(x, i, "a tensor")?;
        let at = cx.axis(d, rank)?;
        if let Some(o) = own.get_mut(at) {
            *o = i64::try_from(extent).unwrap_or(i64::MAX);
        }
    }
    let x = cx.reshape(x, &own)?;
    one(cx.op(Expand::default(), &[x, shape])?)
}

fn pad(cx: &mut Node) -> Result<Lowered> {
    let (x, value) = (cx.input(0)?, cx.input(1)?);
    let list = |cx: &Node, i: usize| cx.options.ints::<i64>(i).map(Option::unwrap_or_default);
    let (mut before, mut after, inside) = (list(cx, 0)?, list(cx, 1)?, list(cx, 2)?);
    if inside.iter().any(|&n| n != 0) {
        return Err(ImportError::unsupported("padding between elements is not supported"));
    }
    before.append(&mut after);
    let pads = cx.integers(&before);
    let value = cx.reshape(value, &[])?;
    one(cx.op(Pad::default(), &[x, pads, value])?)
}

/// The position along an axis.
fn iota(cx: &mut Node) -> Result<Lowered> {
    let shape = declared(cx)?;
    let extents = cx.ints(shape).unwrap_or_default();
    let axis = cx.axis(cx.options.long(0)?, extents.len())?;
    let n = extents.get(axis).copied().unwrap_or(0);
    let [start, limit, step] = [0, n, 1].map(|i: i64| cx.tensor(pocketnn::Tensor::scalar(i)));
    let line = cx.op(Range::default(), &[start, limit, step])?;
    let line = cx.cast(line, cx.dtype_out(0)?)?;
    let own: Vec<i64> = (0..extents.len()).map(|a| if a == axis { n } else { 1 }).collect();
    let line = cx.reshape(line, &own)?;
    one(cx.op(Expand::default(), &[line, shape])?)
}
