//! Quantization to integers and narrow floats and back, in f32.

use pocketnn::narrow::Rounding;
use pocketnn::ops::elementwise::{BinaryKind, UnaryKind};
use pocketnn::ops::gather::Gather;

use super::constant::{cast_to, narrowed};
use super::elem::Elem;
use super::node::{Lowered, Node, V, one};
use super::registry::{Row, op};
use crate::error::{ImportError, Result};

pub(super) const ROWS: &[Row] = &[
    op("DequantizeLinear", &[10, 13, 19, 21, 23, 24, 25, 28], dequantize_linear),
    op("DynamicQuantizeLinear", &[11], dynamic_quantize_linear),
    op("QuantizeLinear", &[10, 13, 19, 21, 23, 24, 25, 28], quantize_linear),
];

/// A parameter of one number, of one number for each index of `axis`, or of one for each block along it, shaped to broadcast
/// against `x`.
fn along(cx: &mut Node, v: V, axis: i64, x: V) -> Result<V> {
    let rank = cx.rank(x);
    if cx.rank(v) == 0 || rank == 0 || (cx.rank(v) == 1 && (rank == 1 || cx.extent(v, 0) == Some(1))) {
        return in_blocks(cx, v, axis, x);
    }
    let axis_at = cx.axis(axis, rank)?;
    if cx.rank(v) != 1 {
        return in_blocks(cx, v, axis, x);
    }
    let mut shape = vec![1i64; rank];
    if let Some(d) = shape.get_mut(axis_at) {
        *d = -1;
    }
    cx.reshape(v, &shape)
}

/// A parameter of the rank of `x` with one entry a block of `block_size`, each repeated and the last block cut to the extent.
fn in_blocks(cx: &mut Node, v: V, axis: i64, x: V) -> Result<V> {
    let size = cx.attrs.int("block_size", 0)?;
    if size == 0 && cx.rank(v) <= 1 {
        return Ok(v);
    }
    if size < 1 || cx.rank(v) != cx.rank(x) {
        return Err(ImportError::invalid("quantization in blocks: the scale does not fit")
            .expected(format!("rank {} and a positive block size", cx.rank(x)))
            .found(format!("rank {} and {size}", cx.rank(v))));
    }
    let axis = cx.axis(axis, cx.rank(x))?;
    let (Some(blocks), Some(extent)) = (cx.extent(v, axis), cx.extent(x, axis)) else {
        return Err(ImportError::unsupported(
            "quantization in blocks along an axis of unknown extent is not supported",
        ));
    };
    let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let least = number(blocks).saturating_sub(1).saturating_mul(size);
    if number(extent) <= least || number(extent) > number(blocks).saturating_mul(size) {
        return Err(ImportError::invalid("quantization in blocks: the number of blocks does not fit")
            .expected(format!("blocks of {size} of an extent of {extent}"))
            .found(blocks));
    }
    let indices: Vec<i64> = (0..number(extent)).map(|i| i.checked_div(size).unwrap_or(0)).collect();
    let indices = cx.integers(&indices);
    cx.op(Gather { axis: number(axis) }, &[v.id, indices], v.elem)
}

/// `(x - zero point) * scale`; the difference is one of integers.
pub(super) fn dequantize_linear(cx: &mut Node) -> Result<Lowered> {
    let (x, scale, zero) = (cx.input(0)?, cx.input(1)?, cx.maybe(2)?);
    let axis = cx.attrs.int("axis", 1)?;
    cx.attrs.ignore(&["block_size"]);
    let to = match cx.attrs.int("output_dtype", 0)? {
        0 => scale.elem,
        n => Elem::parse(i32::try_from(n).unwrap_or(-1)).map_err(|e| e.at_attribute("output_dtype"))?,
    };
    let scale = along(cx, scale, axis, x)?;
    let float = x.elem.is_narrow_float();
    let mut q = cast_to(cx, x, if float { Elem::F32 } else { Elem::I32 })?;
    // The zero point of a narrow float is 0.
    if let Some(zero) = zero.filter(|_| !float) {
        let zero = along(cx, zero, axis, x)?;
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
        Elem::U4 => Ok((0.0, 15.0)),
        Elem::I4 => Ok((-8.0, 7.0)),
        Elem::U2 => Ok((0.0, 3.0)),
        Elem::I2 => Ok((-2.0, 1.0)),
        other => Err(ImportError::unsupported(format!("quantization to {} is not supported", other.name()))),
    }
}

/// `saturate(round(x / scale) + zero point)`, ties to even.
pub(super) fn quantize(cx: &mut Node, x: V, scale: V, zero: Option<V>, to: Elem) -> Result<V> {
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

pub(super) fn quantize_linear(cx: &mut Node) -> Result<Lowered> {
    cx.attrs.ignore(&["block_size"]);
    let saturate = cx.attrs.flag("saturate", true)?;
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
    let scale = along(cx, scale, axis, x)?;
    if to.is_narrow_float() {
        let (x, scale) = (cast_to(cx, x, Elem::F32)?, cast_to(cx, scale, Elem::F32)?);
        let ratio = cx.binary(BinaryKind::Div, x, scale)?;
        return one(narrowed(cx, ratio, to, saturate, Rounding::Up)?);
    }
    range(to)?;
    let zero = match zero {
        Some(zero) => Some(along(cx, zero, axis, x)?),
        None => None,
    };
    one(quantize(cx, x, scale, zero, to)?)
}

/// Scale and zero point from the range of `x`, which is widened to hold 0.
fn dynamic_quantize_linear(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    let (y, scale, point) = dynamic(cx, x)?;
    Ok(vec![y.into(), scale.into(), point.into()])
}

/// `x` as u8 with its scale and zero point.
pub(super) fn dynamic(cx: &mut Node, x: V) -> Result<(V, V, V)> {
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
    Ok((quantize(cx, x, scale, Some(point), Elem::U8)?, scale, point))
}
