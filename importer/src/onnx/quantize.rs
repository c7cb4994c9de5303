//! Quantization to integers and back, in f32.

use pocketnn::ops::elementwise::{BinaryKind, UnaryKind};

use super::constant::cast_to;
use super::elem::Elem;
use super::node::{Lowered, Node, V, one};
use super::registry::{Row, op};
use crate::error::{ImportError, Result};

pub(super) const ROWS: &[Row] = &[
    op("DequantizeLinear", &[10, 13, 19, 21, 23, 24, 25, 28], dequantize_linear),
    op("DynamicQuantizeLinear", &[11], dynamic_quantize_linear),
    op("QuantizeLinear", &[10, 13, 19, 21, 23, 24, 25, 28], quantize_linear),
];

/// A parameter of one number, or of one number for each index of `axis`, shaped to broadcast against rank `rank`.
fn along(cx: &mut Node, v: V, axis: i64, rank: usize) -> Result<V> {
    if cx.rank(v) == 0 || rank <= 1 {
        return Ok(v);
    }
    if cx.rank(v) != 1 {
        return Err(
            ImportError::unsupported("quantization in blocks is not supported").expected("a scale of rank 0 or 1")
        );
    }
    if cx.extent(v, 0) == Some(1) {
        return Ok(v);
    }
    let axis = cx.axis(axis, rank)?;
    let mut shape = vec![1i64; rank];
    if let Some(d) = shape.get_mut(axis) {
        *d = -1;
    }
    cx.reshape(v, &shape)
}

fn block(cx: &Node) -> Result<()> {
    match cx.attrs.int("block_size", 0)? {
        0 => Ok(()),
        n => {
            Err(ImportError::unsupported("quantization in blocks is not supported").found(n).at_attribute("block_size"))
        }
    }
}

/// `(x - zero point) * scale`; the difference is one of integers.
fn dequantize_linear(cx: &mut Node) -> Result<Lowered> {
    block(cx)?;
    let (x, scale, zero) = (cx.input(0)?, cx.input(1)?, cx.maybe(2)?);
    let axis = cx.attrs.int("axis", 1)?;
    let to = match cx.attrs.int("output_dtype", 0)? {
        0 => scale.elem,
        n => Elem::parse(i32::try_from(n).unwrap_or(-1)).map_err(|e| e.at_attribute("output_dtype"))?,
    };
    let rank = cx.rank(x);
    let scale = along(cx, scale, axis, rank)?;
    let mut q = cast_to(cx, x, Elem::I32)?;
    if let Some(zero) = zero {
        let zero = along(cx, zero, axis, rank)?;
        let zero = cast_to(cx, zero, Elem::I32)?;
        q = cx.binary(BinaryKind::Sub, q, zero)?;
    }
    let q = cast_to(cx, q, Elem::F32)?;
    let scale = cast_to(cx, scale, Elem::F32)?;
    let y = cx.binary(BinaryKind::Mul, q, scale)?;
    one(cast_to(cx, y, to)?)
}

/// The range of a quantized type.
pub(super) fn range(elem: Elem) -> Result<(f64, f64)> {
    match elem {
        Elem::U8 => Ok((0.0, 255.0)),
        Elem::I8 => Ok((-128.0, 127.0)),
        Elem::U16 => Ok((0.0, 65535.0)),
        Elem::I16 => Ok((-32768.0, 32767.0)),
        other => Err(ImportError::unsupported(format!("quantization to {} is not supported", other.name()))),
    }
}

/// `saturate(round(x / scale) + zero point)`, ties to even.
fn quantize(cx: &mut Node, x: V, scale: V, zero: Option<V>, to: Elem) -> Result<V> {
    let (lo, hi) = range(to)?;
    let (x, scale) = (cast_to(cx, x, Elem::F32)?, cast_to(cx, scale, Elem::F32)?);
    let ratio = cx.binary(BinaryKind::Div, x, scale)?;
    let mut y = cx.unary(UnaryKind::Round, ratio)?;
    if let Some(zero) = zero {
        let zero = cast_to(cx, zero, Elem::F32)?;
        y = cx.binary(BinaryKind::Add, y, zero)?;
    }
    let (lo, hi) = (cx.scalar_like(y, lo)?, cx.scalar_like(y, hi)?);
    let y = cx.binary(BinaryKind::Max, y, lo)?;
    let y = cx.binary(BinaryKind::Min, y, hi)?;
    cast_to(cx, y, to)
}

fn quantize_linear(cx: &mut Node) -> Result<Lowered> {
    block(cx)?;
    cx.attrs.ignore(&["saturate"]);
    let (x, scale, zero) = (cx.input(0)?, cx.input(1)?, cx.maybe(2)?);
    let axis = cx.attrs.int("axis", 1)?;
    let precision = cx.attrs.int("precision", 0)?;
    if precision != 0 && precision != i64::from(Elem::F32.number()) {
        return Err(ImportError::unsupported("this precision is not supported")
            .expected("float")
            .found(precision)
            .at_attribute("precision"));
    }
    let declared = cx.attrs.int("output_dtype", 0)?;
    let to = match (zero, declared) {
        (Some(zero), _) => zero.elem,
        (None, 0) => Elem::U8,
        (None, n) => Elem::parse(i32::try_from(n).unwrap_or(-1)).map_err(|e| e.at_attribute("output_dtype"))?,
    };
    range(to)?;
    let rank = cx.rank(x);
    let scale = along(cx, scale, axis, rank)?;
    let zero = match zero {
        Some(zero) => Some(along(cx, zero, axis, rank)?),
        None => None,
    };
    one(quantize(cx, x, scale, zero, to)?)
}

/// Scale and zero point from the range of `x`, which is widened to hold 0.
fn dynamic_quantize_linear(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    let zero = cx.float(0.0);
    let all = |cx: &mut Node, kind| {
        let op = pocketnn::ops::reduce::Reduce { kind, keep_dims: false, ..Default::default() };
        cx.op(op, &[x.id], Elem::F32)
    };
    let (lo, hi) = (all(cx, pocketnn::ops::reduce::ReduceKind::Min)?, all(cx, pocketnn::ops::reduce::ReduceKind::Max)?);
    let (lo, hi) = (cx.binary(BinaryKind::Min, lo, zero)?, cx.binary(BinaryKind::Max, hi, zero)?);
    let span = cx.binary(BinaryKind::Sub, hi, lo)?;
    let steps = cx.float(255.0);
    let scale = cx.binary(BinaryKind::Div, span, steps)?;
    let low = cx.binary(BinaryKind::Div, lo, scale)?;
    let low = cx.unary(UnaryKind::Neg, low)?;
    let low = cx.unary(UnaryKind::Round, low)?;
    let low = cx.binary(BinaryKind::Max, low, zero)?;
    let low = cx.binary(BinaryKind::Min, low, steps)?;
    let point = cast_to(cx, low, Elem::U8)?;
    let y = quantize(cx, x, scale, Some(point), Elem::U8)?;
    Ok(vec![y.into(), scale.into(), point.into()])
}
