//! Products of quantized integers.
//!
//! Matrix products are made in i32. Convolutions are made in f32, exactly: a sum of products stays below 2^24 as long as it has at
//! most 258 terms of 8-bit operands; longer sums are made in two halves of four bits each.

use pocketnn::ops::conv::Conv;
use pocketnn::ops::dense::MatMul;
use pocketnn::ops::elementwise::{BinaryKind, UnaryKind};

use super::constant::cast_to;
use super::conv::{Window, groups, spatial};
use super::elem::Elem;
use super::node::{Lowered, Node, V, one};
use super::norm::along_channels;
use super::quantize::range;
use super::registry::{Row, op};
use crate::error::{ImportError, Result};

pub(super) const ROWS: &[Row] = &[
    op("ConvInteger", &[10], conv_integer),
    op("MatMulInteger", &[10], mat_mul_integer),
    op("QLinearConv", &[10], q_linear_conv),
    op("QLinearMatMul", &[10, 21], q_linear_mat_mul),
];

/// Terms of a sum of products of 8-bit numbers (less their zero points) that f32 adds exactly: 2^24 / 255^2.
const EXACT_TERMS: usize = 258;
/// The same where one operand has four bits and a sign: 2^24 / (16 * 255).
const EXACT_HALF_TERMS: usize = 4112;

/// `x` less its zero point, as i32. A vector of zero points belongs to rows of a left operand, columns of a right one.
pub(super) fn centred(cx: &mut Node, x: V, zero: Option<V>, rows: bool) -> Result<V> {
    let wide = cast_to(cx, x, Elem::I32)?;
    let Some(zero) = zero else { return Ok(wide) };
    let mut zero = cast_to(cx, zero, Elem::I32)?;
    if rows {
        zero = along_rows(cx, zero)?;
    }
    cx.binary(BinaryKind::Sub, wide, zero)
}

/// A vector of more than one number as a column.
fn along_rows(cx: &mut Node, v: V) -> Result<V> {
    if cx.rank(v) == 1 && cx.extent(v, 0) != Some(1) { cx.reshape(v, &[-1, 1]) } else { Ok(v) }
}

fn mat_mul_integer(cx: &mut Node) -> Result<Lowered> {
    let (a, b) = (cx.input(0)?, cx.input(1)?);
    let (za, zb) = (cx.maybe(2)?, cx.maybe(3)?);
    let (a, b) = (centred(cx, a, za, true)?, centred(cx, b, zb, false)?);
    one(cx.op(MatMul::default(), &[a.id, b.id], Elem::I32)?)
}

/// `saturate(round(sum * factor) + zero point)`.
fn requantized(cx: &mut Node, sum: V, factor: V, zero: V) -> Result<V> {
    let (lo, hi) = range(zero.elem)?;
    let sum = cast_to(cx, sum, Elem::F32)?;
    let scaled = cx.binary(BinaryKind::Mul, sum, factor)?;
    let rounded = cx.unary(UnaryKind::Round, scaled)?;
    let point = cast_to(cx, zero, Elem::F32)?;
    let y = cx.binary(BinaryKind::Add, rounded, point)?;
    let (lo, hi) = (cx.scalar_like(y, lo)?, cx.scalar_like(y, hi)?);
    let y = cx.binary(BinaryKind::Max, y, lo)?;
    let y = cx.binary(BinaryKind::Min, y, hi)?;
    cast_to(cx, y, zero.elem)
}

/// `a * b / y` of three scales, as f32.
fn factor(cx: &mut Node, a: V, b: V, y: V) -> Result<V> {
    let (a, b, y) = (cast_to(cx, a, Elem::F32)?, cast_to(cx, b, Elem::F32)?, cast_to(cx, y, Elem::F32)?);
    let ab = cx.binary(BinaryKind::Mul, a, b)?;
    cx.binary(BinaryKind::Div, ab, y)
}

fn q_linear_mat_mul(cx: &mut Node) -> Result<Lowered> {
    let all = cx.all_inputs()?;
    let &[a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero] = all.as_slice() else {
        return Err(ImportError::invalid("the number of inputs").expected(8).found(all.len()));
    };
    let (a, b) = (centred(cx, a, Some(a_zero), true)?, centred(cx, b, Some(b_zero), false)?);
    let sum = cx.op(MatMul::default(), &[a.id, b.id], Elem::I32)?;
    let a_scale = along_rows(cx, a_scale)?;
    let by = factor(cx, a_scale, b_scale, y_scale)?;
    one(requantized(cx, sum, by, y_zero)?)
}

/// The exact integer convolution of operands from which the zero points were taken, as i32.
fn exact_conv(cx: &mut Node, x: V, w: V) -> Result<V> {
    let spatial = spatial(cx, x, w)?;
    let Window { strides, dilations, pads } = Window::read(cx, spatial)?;
    let op = Conv { strides, dilations, pads, groups: groups(cx)?, ..Conv::default() };
    let terms = cx.known_shape(w).map(|s| s.iter().skip(1).fold(1usize, |a, &b| a.saturating_mul(b)));
    let terms = terms.ok_or_else(|| ImportError::unsupported("a kernel of unknown extents is not supported"))?;
    let weights = cast_to(cx, w, Elem::F32)?;
    let part = |cx: &mut Node, x: V| -> Result<V> {
        let x = cast_to(cx, x, Elem::F32)?;
        let y = cx.op(op.clone(), &[x.id, weights.id], Elem::F32)?;
        cast_to(cx, y, Elem::I32)
    };
    if terms <= EXACT_TERMS {
        return part(cx, x);
    }
    if terms > EXACT_HALF_TERMS {
        return Err(ImportError::unsupported("an integer convolution of so many terms is not supported")
            .expected(format!("at most {EXACT_HALF_TERMS}"))
            .found(terms));
    }
    let sixteen = cx.scalar_like(x, 16.0)?;
    let high = cx.binary(BinaryKind::FloorDiv, x, sixteen)?;
    let whole = cx.binary(BinaryKind::Mul, high, sixteen)?;
    let low = cx.binary(BinaryKind::Sub, x, whole)?;
    let (high, low) = (part(cx, high)?, part(cx, low)?);
    let high = cx.binary(BinaryKind::Mul, high, sixteen)?;
    cx.binary(BinaryKind::Add, high, low)
}

/// `w` less its zero point: one number, or one an output channel.
fn centred_kernel(cx: &mut Node, w: V, zero: Option<V>) -> Result<V> {
    let zero = match zero {
        Some(z) if cx.rank(z) == 1 && cx.extent(z, 0) != Some(1) => {
            let mut shape = vec![1; cx.rank(w)];
            if let Some(first) = shape.first_mut() {
                *first = -1;
            }
            Some(cx.reshape(z, &shape)?)
        }
        zero => zero,
    };
    centred(cx, w, zero, false)
}

fn conv_integer(cx: &mut Node) -> Result<Lowered> {
    let (x, w) = (cx.input(0)?, cx.input(1)?);
    let (zx, zw) = (cx.maybe(2)?, cx.maybe(3)?);
    let x = centred(cx, x, zx, false)?;
    let w = centred_kernel(cx, w, zw)?;
    one(exact_conv(cx, x, w)?)
}

fn q_linear_conv(cx: &mut Node) -> Result<Lowered> {
    let (x, x_scale, x_zero) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
    let (w, mut w_scale, w_zero) = (cx.input(3)?, cx.input(4)?, cx.input(5)?);
    let (y_scale, y_zero, bias) = (cx.input(6)?, cx.input(7)?, cx.maybe(8)?);
    let rank = cx.rank(x);
    let x = centred(cx, x, Some(x_zero), false)?;
    let w = centred_kernel(cx, w, Some(w_zero))?;
    let mut sum = exact_conv(cx, x, w)?;
    if let Some(bias) = bias {
        let bias = along_channels(cx, bias, rank)?;
        sum = cx.binary(BinaryKind::Add, sum, bias)?;
    }
    if cx.rank(w_scale) == 1 && cx.extent(w_scale, 0) != Some(1) {
        w_scale = along_channels(cx, w_scale, rank)?;
    }
    let by = factor(cx, x_scale, w_scale, y_scale)?;
    one(requantized(cx, sum, by, y_zero)?)
}
