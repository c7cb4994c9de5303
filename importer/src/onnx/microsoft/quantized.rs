//! Quantized operators: dequantized, computed in f32 and quantized again; products of integers are made of integers.

use pocketnn::ops::activation::Activation;
use pocketnn::ops::dense::MatMul;
use pocketnn::ops::elementwise::BinaryKind;
use pocketnn::ops::movement::Concat;
use pocketnn::ops::reduce::ReduceKind;
use pocketnn::ops::softmax::Softmax;

use super::super::activation::activate;
use super::super::constant::cast_to;
use super::super::elem::Elem;
use super::super::integer::centred;
use super::super::node::{Lowered, Node, V, one};
use super::super::norm::reduce;
use super::super::pool;
use super::super::quantize::{dynamic, quantize};
use crate::error::{ImportError, Result};

/// `(x - zero point) * scale` in f32, of one scale.
fn real(cx: &mut Node, x: V, scale: V, zero: Option<V>) -> Result<V> {
    let x = centred(cx, x, zero, false)?;
    let x = cast_to(cx, x, Elem::F32)?;
    let scale = cast_to(cx, scale, Elem::F32)?;
    cx.binary(BinaryKind::Mul, x, scale)
}

/// The real value of operand `i`, whose scale and zero point follow.
fn operand(cx: &mut Node, i: usize) -> Result<V> {
    let (x, scale, zero) = (cx.input(i)?, cx.input(i.saturating_add(1))?, cx.maybe(i.saturating_add(2))?);
    real(cx, x, scale, zero)
}

/// A real value quantized with the scale and zero point at operand `i`; without one, to the type of operand `like`.
fn result(cx: &mut Node, y: V, i: usize, like: usize) -> Result<Lowered> {
    let (scale, zero) = (cx.input(i)?, cx.maybe(i.saturating_add(1))?);
    let to = match zero {
        Some(zero) => zero.elem,
        None => cx.input(like)?.elem,
    };
    one(quantize(cx, y, scale, zero, to)?)
}

fn pair(cx: &mut Node, kind: BinaryKind) -> Result<Lowered> {
    let (a, b) = (operand(cx, 0)?, operand(cx, 3)?);
    let y = cx.binary(kind, a, b)?;
    result(cx, y, 6, 0)
}

pub(super) fn add(cx: &mut Node) -> Result<Lowered> {
    pair(cx, BinaryKind::Add)
}

pub(super) fn mul(cx: &mut Node) -> Result<Lowered> {
    pair(cx, BinaryKind::Mul)
}

fn activated(cx: &mut Node, kind: Activation) -> Result<Lowered> {
    let x = operand(cx, 0)?;
    let y = activate(cx, kind, x)?;
    result(cx, y, 3, 0)
}

pub(super) fn sigmoid(cx: &mut Node) -> Result<Lowered> {
    activated(cx, Activation::Sigmoid)
}

pub(super) fn leaky_relu(cx: &mut Node) -> Result<Lowered> {
    let alpha = cx.attrs.float("alpha", 0.01)?;
    activated(cx, Activation::LeakyRelu { alpha })
}

/// Before opset 13 the axes from `axis` on are one.
pub(super) fn softmax(cx: &mut Node) -> Result<Lowered> {
    let x = operand(cx, 0)?;
    let (axis, opset) = (cx.attrs.int("axis", -1)?, cx.attrs.int("opset", 13)?);
    let rank = cx.rank(x);
    let at = cx.axis(axis, rank)?;
    let y = if opset < 13 && at.saturating_add(1) != rank {
        let flat = super::super::movement::matrix(cx, x, at)?;
        let y = cx.op(Softmax { axis: 1, log: false }, &[flat.id], x.elem)?;
        let shape = cx.op(pocketnn::ops::movement::Shape::default(), &[x.id], Elem::I64)?;
        cx.op(pocketnn::ops::movement::Reshape { allow_zero: true }, &[y.id, shape.id], x.elem)?
    } else {
        cx.op(Softmax { axis, log: false }, &[x.id], x.elem)?
    };
    result(cx, y, 3, 0)
}

/// Channels of an image that has them last, put first.
fn channels_first(cx: &mut Node, x: V) -> Result<V> {
    let rank = cx.rank(x);
    let last = rank.saturating_sub(1);
    let perm: Vec<usize> = std::iter::once(0).chain([last]).chain(1..last).collect();
    cx.transpose(x, &perm)
}

fn channels_last(cx: &mut Node, x: V) -> Result<V> {
    let rank = cx.rank(x);
    let perm: Vec<usize> = std::iter::once(0).chain(2..rank).chain([1]).collect();
    cx.transpose(x, &perm)
}

pub(super) fn global_average_pool(cx: &mut Node) -> Result<Lowered> {
    let x = operand(cx, 0)?;
    let last = cx.attrs.flag("channels_last", false)?;
    let rank = i64::try_from(cx.rank(x)).unwrap_or(i64::MAX);
    let axes: Vec<i64> = if last { (1..rank.saturating_sub(1)).collect() } else { (2..rank).collect() };
    let y = reduce(cx, ReduceKind::Mean, x, &axes)?;
    result(cx, y, 3, 0)
}

pub(super) fn average_pool(cx: &mut Node) -> Result<Lowered> {
    let mut x = operand(cx, 0)?;
    let last = cx.attrs.flag("channels_last", false)?;
    if last {
        x = channels_first(cx, x)?;
    }
    let mut y = pool::average(cx, x)?;
    if last {
        y = channels_last(cx, y)?;
    }
    result(cx, y, 3, 0)
}

/// Scale and zero point of the result come first, then three operands a part.
pub(super) fn concat(cx: &mut Node) -> Result<Lowered> {
    let axis = cx.attrs.opt_int("axis")?.ok_or_else(|| super::super::attrs::missing("axis"))?;
    let mut parts = Vec::new();
    for i in (2..cx.len()).step_by(3) {
        parts.push(operand(cx, i)?.id);
    }
    if parts.is_empty() {
        return Err(ImportError::invalid("the number of inputs").expected("2 and a multiple of 3").found(cx.len()));
    }
    let y = cx.op(Concat { axis }, &parts, Elem::F32)?;
    result(cx, y, 0, 2)
}

/// A product of integers times the scale of its operands, and a bias.
fn scaled(cx: &mut Node, sum: V, scales: (V, V), bias: Option<V>) -> Result<V> {
    let (a, b) = (cast_to(cx, scales.0, Elem::F32)?, cast_to(cx, scales.1, Elem::F32)?);
    let scale = cx.binary(BinaryKind::Mul, a, b)?;
    let sum = cast_to(cx, sum, Elem::F32)?;
    let y = cx.binary(BinaryKind::Mul, sum, scale)?;
    match bias {
        Some(bias) => cx.binary(BinaryKind::Add, y, bias),
        None => Ok(y),
    }
}

pub(super) fn mat_mul_to_float(cx: &mut Node) -> Result<Lowered> {
    let (a, b, a_scale, b_scale) = (cx.input(0)?, cx.input(1)?, cx.input(2)?, cx.input(3)?);
    let (a_zero, b_zero, bias) = (cx.maybe(4)?, cx.maybe(5)?, cx.maybe(6)?);
    let (a, b) = (centred(cx, a, a_zero, true)?, centred(cx, b, b_zero, false)?);
    let sum = cx.op(MatMul::default(), &[a.id, b.id], Elem::I32)?;
    one(scaled(cx, sum, (a_scale, b_scale), bias)?)
}

/// The left operand is quantized to its range first.
pub(super) fn dynamic_mat_mul(cx: &mut Node) -> Result<Lowered> {
    let (a, b, b_scale) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
    let (b_zero, bias) = (cx.maybe(3)?, cx.maybe(4)?);
    let (a, a_scale, a_zero) = dynamic(cx, a)?;
    let (a, b) = (centred(cx, a, Some(a_zero), false)?, centred(cx, b, b_zero, false)?);
    let sum = cx.op(MatMul::default(), &[a.id, b.id], Elem::I32)?;
    one(scaled(cx, sum, (a_scale, b_scale), bias)?)
}

/// `alpha A' B' + C`; quantized where the result has a scale, else real.
pub(super) fn gemm(cx: &mut Node) -> Result<Lowered> {
    let (mut a, a_scale, a_zero) = (cx.input(0)?, cx.input(1)?, cx.maybe(2)?);
    let (mut b, b_scale, b_zero) = (cx.input(3)?, cx.input(4)?, cx.maybe(5)?);
    let (c, y_scale) = (cx.maybe(6)?, cx.maybe(7)?);
    let alpha = cx.attrs.float("alpha", 1.0)?;
    if cx.attrs.flag("transA", false)? {
        a = super::super::dense::turned(cx, a)?;
    }
    // A zero point a row of `B` turned is one a column of the product.
    if cx.attrs.flag("transB", false)? {
        b = super::super::dense::turned(cx, b)?;
    }
    let (a, b) = (centred(cx, a, a_zero, false)?, centred(cx, b, b_zero, false)?);
    let mut sum = cx.op(MatMul::default(), &[a.id, b.id], Elem::I32)?;
    if let Some(c) = c {
        sum = cx.binary(BinaryKind::Add, sum, c)?;
    }
    let y = scaled(cx, sum, (a_scale, b_scale), None)?;
    let alpha = cx.scalar_like(y, f64::from(alpha))?;
    let y = cx.binary(BinaryKind::Mul, y, alpha)?;
    match y_scale {
        Some(_) => result(cx, y, 7, 0),
        None => one(y),
    }
}
