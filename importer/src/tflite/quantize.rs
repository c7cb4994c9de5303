//! Quantized tensors: what their numbers stand for is read here and written into the ops.
//!
//! A tensor of `i8`, `u8` or `i16` with scales is quantized: `real = scale * (number - zero)`. Graphs of such tensors stay integers. The ops
//! round as TFLite's reference kernels do; where those compute a multiplier in f32 and where in doubles is decided here, so that the ops
//! see real multipliers. What has no integer op is computed in f32 between a dequantization and a quantization ([`in_float`]).
//!
//! Weights under float activations (dynamic-range models) are widened once: TFLite quantizes the activations while running instead, with an error
//! of its own; the result here is the nearer one to the float network.
//!
//! Oddities of real files that change nothing are accepted: a bias carries quantization of its own, which follows from its operands, so what its
//! fields say (such as a quantized axis that it does not have) is not looked at.

use pocketnn::ops::Evaluate as _;
use pocketnn::ops::activation::Activation;
use pocketnn::ops::conv::{Conv, ConvTranspose};
use pocketnn::ops::elementwise::{BinaryKind, UnaryKind};
use pocketnn::ops::movement::Unsqueeze;
use pocketnn::ops::pool::Pool;
use pocketnn::ops::quantize::{
    Affine, Dequantize, PairKind, QBinary, QConv, QConvTranspose, QDense, QMatMul, QPool, QReduce, QResize, QSoftmax,
    QUnary, Quantize, Requant, Sums,
};
use pocketnn::ops::reduce::ReduceKind;
use pocketnn::{DType, Tensor, ValueId};

use super::model::{Info, Quant, dtype};
use super::node::{Lowered, Node, Value, cast, one};
use super::registry::{Lower, Row, both, float};
use crate::error::{ImportError, Result};

pub(super) const ROWS: &[Row] =
    &[both("DEQUANTIZE", dequantize), float("FAKE_QUANT", fake_quant), both("QUANTIZE", quantize)];

/// True for tensors whose numbers stand for reals.
pub(super) fn is_quantized(info: &Info) -> bool {
    let scaled = info.quant.as_ref().is_some_and(|q| !q.scale.is_empty() || q.other);
    scaled && matches!(dtype(info.kind), Ok(DType::I8 | DType::U8 | DType::I16))
}

fn wrong(what: &str, quant: Option<&Quant>) -> ImportError {
    let found = match quant {
        None => "none".to_owned(),
        Some(q) if q.other => "a form of its own (custom or in blocks)".to_owned(),
        Some(q) => format!("{} scales, {} zero points", q.scale.len(), q.zero.len()),
    };
    ImportError::unsupported(format!("this quantization of {what} is not supported"))
        .expected("one positive scale and zero point")
        .found(found)
}

/// One scale and zero point.
fn whole(quant: Option<&Quant>, what: &str) -> Result<Affine> {
    let (scale, zero) = quant.and_then(Quant::whole).ok_or_else(|| wrong(what, quant))?;
    let zero = i32::try_from(zero).map_err(|_| wrong(what, quant))?;
    if scale > 0.0 && scale.is_finite() { Ok(Affine { scale, zero }) } else { Err(wrong(what, quant)) }
}

fn affine_in(cx: &Node, i: usize) -> Result<Affine> {
    whole(cx.quant_in(i), &format!("input {i}"))
}

fn affine_out(cx: &Node) -> Result<Affine> {
    whole(cx.quant_out(0), "the output")
}

/// Smallest and largest number of a type.
fn type_range(dtype: DType) -> (i32, i32) {
    match dtype {
        DType::U8 => (0, 255),
        DType::I16 => (-32768, 32767),
        _ => (-128, 127),
    }
}

/// The range that a fused activation leaves of an output; none for the whole type.
fn activation_range(kind: Activation, y: Affine, dtype: DType) -> Result<Option<(i32, i32)>> {
    let (lo, hi) = type_range(dtype);
    // As TFLite: the quotient is rounded half away from zero.
    let number = |real: f32| y.zero.saturating_add((real / y.scale).round() as i32);
    Ok(Some(match kind {
        Activation::Identity => return Ok(None),
        Activation::Relu => (number(0.0).clamp(lo, hi), hi),
        Activation::Clamp { lo: a, hi: b } => (number(a).clamp(lo, hi), number(b).clamp(lo, hi)),
        _ => return Err(ImportError::unsupported("this fused activation is not supported on integers")),
    }))
}

fn list(range: Option<(i32, i32)>) -> Option<Vec<i64>> {
    range.map(|(lo, hi)| vec![lo.into(), hi.into()])
}

/// Scale, zero point and axis of a tensor's elements as operands of (de)quantization.
fn operands(cx: &mut Node, quant: &Quant, dtype: DType, rank: usize) -> Result<(ValueId, ValueId, i64)> {
    if quant.other || quant.scale.is_empty() {
        return Err(wrong("a tensor", Some(quant)));
    }
    let n = quant.scale.len();
    let mut zeros = if quant.zero.is_empty() { vec![0] } else { quant.zero.clone() };
    if zeros.len() == 1 {
        zeros = vec![zeros.first().copied().unwrap_or(0); n];
    }
    if zeros.len() != n {
        return Err(wrong("a tensor", Some(quant)));
    }
    let axis = if n == 1 { 0 } else { cx.axis(quant.axis.into(), rank)? };
    let scale = cx.tensor(Tensor::vector(&quant.scale));
    let zero = cast(&Tensor::vector(&zeros), dtype)?;
    let zero = cx.tensor(zero);
    Ok((scale, zero, i64::try_from(axis).unwrap_or(0)))
}

/// What input `i` stands for, as f32. A constant is computed at once.
pub(super) fn real(cx: &mut Node, i: usize) -> Result<ValueId> {
    let x = cx.input(i)?;
    let quant = cx.quant_in(i).ok_or_else(|| wrong(&format!("input {i}"), None))?;
    let (from, rank) = (cx.dtype(x), cx.rank(x));
    if from.is_float() {
        return cx.cast(x, DType::F32);
    }
    let (scale, zero, axis) = operands(cx, quant, from, rank)?;
    let op = Dequantize { axis };
    if let (Some(t), Some(s), Some(z)) = (cx.constant(x), cx.constant(scale), cx.constant(zero)) {
        let wide = op.eval(&[Some(t), Some(s), Some(z)], 1)?.into_iter().next();
        let wide = wide.ok_or_else(|| ImportError::invalid("an op without output"))?;
        return Ok(cx.tensor(wide));
    }
    cx.op(op, &[x, scale, zero])
}

/// Input `i` of an operator that computes in floats: widened where it is stored in 8 or 16 bits.
pub(super) fn weights(cx: &mut Node, i: usize) -> Result<ValueId> {
    let v = cx.input(i)?;
    match cx.dtype(v) {
        DType::F16 | DType::BF16 => cx.widen(v),
        DType::I8 | DType::U8 | DType::I16 if cx.quant_in(i).is_some() => real(cx, i),
        _ => Ok(v),
    }
}

/// Lowers an operator in f32: quantized inputs are dequantized in front of it and outputs quantized behind it.
pub(super) fn in_float(cx: &mut Node, lower: Lower) -> Result<Lowered> {
    for i in 0..cx.len() {
        if cx.maybe(i).is_ok_and(|v| v.is_some()) && cx.info_in(i).is_some_and(is_quantized) {
            let wide = real(cx, i)?;
            if let Some(slot) = cx.inputs.get_mut(i) {
                *slot = Some(Value::Tensor(wide));
            }
        }
    }
    cx.floating = true;
    let mut out = lower(cx)?;
    cx.floating = false;
    for (i, value) in out.iter_mut().enumerate() {
        if let (Value::Tensor(v), Some(info)) = (&*value, cx.info_out(i))
            && is_quantized(info)
        {
            *value = Value::Tensor(numbers(cx, *v, i)?);
        }
    }
    Ok(out)
}

/// Floats as numbers of output `i`.
fn numbers(cx: &mut Node, x: ValueId, i: usize) -> Result<ValueId> {
    let to = cx.dtype_out(i)?;
    let quant = cx.quant_out(i).ok_or_else(|| wrong("the output", None))?;
    let rank = cx.rank(x);
    let (scale, zero, axis) = operands(cx, quant, to, rank)?;
    cx.op(Quantize { to, axis, even: false }, &[x, scale, zero])
}

fn dequantize(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    match cx.dtype(x) {
        DType::F16 | DType::BF16 => one(cx.widen(x)?),
        DType::F32 => one(x),
        _ => one(real(cx, 0)?),
    }
}

/// Floats to numbers, or numbers to others.
fn quantize(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    if cx.dtype(x).is_float() {
        let x = cx.cast(x, DType::F32)?;
        return one(numbers(cx, x, 0)?);
    }
    one(function(cx, x, Activation::Identity)?)
}

/// To the nearest of `2^bits` steps from `min` to `max`, moved so that 0 is one of them, and back.
fn fake_quant(cx: &mut Node) -> Result<Lowered> {
    let (min, max, bits) = (cx.options.float(0)?, cx.options.float(1)?, cx.options.int(2, 0)?);
    let narrow = cx.options.flag(3, false)?;
    if !(2..=16).contains(&bits) || min.is_nan() || max.is_nan() || min >= max || min > 0.0 || max < 0.0 {
        return Err(ImportError::invalid("the range or the number of bits")
            .expected("min <= 0 <= max and 2 to 16 bits")
            .found(format!("{min} .. {max} and {bits} bits")));
    }
    let (low, high) = (if narrow { 1.0f32 } else { 0.0 }, ((1i32 << bits) - 1) as f32);
    let scale = (max - min) / (high - low);
    let zero = (low - min / scale).clamp(low, high).round();
    let (least, most) = ((low - zero) * scale, (high - zero) * scale);
    let x = cx.input(0)?;
    let x = cx.activated(x, Activation::Clamp { lo: least, hi: most })?;
    let [least, per, half, scale] = [least, 1.0 / scale, 0.5, scale].map(|v| cx.float(v));
    let x = cx.binary(BinaryKind::Sub, x, least)?;
    let x = cx.binary(BinaryKind::Mul, x, per)?;
    let x = cx.binary(BinaryKind::Add, x, half)?;
    let x = cx.unary(UnaryKind::Floor, x)?;
    let x = cx.binary(BinaryKind::Mul, x, scale)?;
    one(cx.binary(BinaryKind::Add, x, least)?)
}

/// A function of one number.
fn function(cx: &mut Node, x: ValueId, function: Activation) -> Result<ValueId> {
    let to = Some(cx.dtype_out(0)?).filter(|&t| t != cx.dtype(x));
    let op = QUnary { function, x: affine_in(cx, 0)?, y: affine_out(cx)?, to };
    cx.op(op, &[x])
}

/// An activation of a family table.
pub(super) fn activation(cx: &mut Node, x: ValueId, kind: Activation) -> Result<ValueId> {
    function(cx, x, kind)
}

/// A function of one element.
pub(super) fn unary(cx: &mut Node, x: ValueId, kind: UnaryKind) -> Result<ValueId> {
    let kind = match kind {
        UnaryKind::Abs => Activation::Abs,
        UnaryKind::Exp => Activation::Exp,
        UnaryKind::Log => Activation::Log,
        UnaryKind::Neg => Activation::Neg,
        UnaryKind::Rsqrt => Activation::Rsqrt,
        _ => return Err(ImportError::unsupported("this function is not supported on integers")),
    };
    function(cx, x, kind)
}

/// Sums and scales of an op whose image is input `x` and whose weights are input `w`, with their output axis; scales are one or `outputs`.
struct Plan {
    sums: Sums,
    scale: ValueId,
    bias: Option<ValueId>,
}

/// Operands of an op that sums products.
struct Operands {
    x: usize,
    w: usize,
    bias: usize,
    /// The weights' axis of outputs.
    axis: usize,
    /// The product of one scale and that of `x` is made in f32, as TFLite does it for products of matrices and for images of `u8`.
    f32: bool,
}

fn plan(cx: &mut Node, o: &Operands, kind: Activation) -> Result<Plan> {
    let (x, y) = (affine_in(cx, o.x)?, affine_out(cx)?);
    let from = cx.dtype(cx.input(o.x)?);
    if from != cx.dtype_out(0)? {
        return Err(ImportError::unsupported("input and output of different types are not supported")
            .expected(from)
            .found(cx.dtype_out(0)?));
    }
    let weights = cx.quant_in(o.w).filter(|q| !q.other && !q.scale.is_empty());
    let weights = weights.ok_or_else(|| wrong("the weights", cx.quant_in(o.w)))?;
    let n = weights.scale.len();
    let zero = match weights.zero.as_slice() {
        [] => 0,
        [first, rest @ ..] if rest.iter().all(|z| z == first) => *first,
        _ => return Err(wrong("the weights", Some(weights))),
    };
    let zero = i32::try_from(zero).map_err(|_| wrong("the weights", Some(weights)))?;
    if n > 1 && usize::try_from(weights.axis) != Ok(o.axis) {
        return Err(ImportError::unsupported("the weights' scales belong to an axis other than that of the outputs")
            .expected(o.axis)
            .found(weights.axis));
    }
    let in_f32 = n == 1 && o.f32;
    let factor = |w: f32| {
        let product = if in_f32 { f64::from(x.scale * w) } else { f64::from(x.scale) * f64::from(w) };
        product / f64::from(y.scale)
    };
    let scale: Vec<f64> = weights.scale.iter().map(|&w| factor(w)).collect();
    let scale = cx.tensor(Tensor::vector(&scale));
    let bias = cx.maybe(o.bias)?;
    let wide = from == DType::I16 && bias.is_none_or(|b| cx.dtype(b) != DType::I32);
    let range = activation_range(kind, y, from)?;
    let sums = Sums { x: x.zero, w: zero, y: y.zero, range, wide, ..Sums::default() };
    Ok(Plan { sums, scale, bias })
}

/// A convolution of `image [N, C, H, W]` with `w [O, I, h, w]`, whose outputs were axis `axis` in the file.
pub(super) fn conv(
    cx: &mut Node,
    image: ValueId,
    w: ValueId,
    axis: usize,
    op: Conv,
    kind: Activation,
) -> Result<ValueId> {
    let f32 = cx.dtype(image) == DType::U8;
    let Plan { sums, scale, bias } = plan(cx, &Operands { x: 0, w: 1, bias: 2, axis, f32 }, kind)?;
    let Conv { strides, dilations, pads, groups, .. } = op;
    let op = QConv { strides, dilations, pads, groups, sums };
    cx.op_with(op, &[Some(image), Some(w), Some(scale), bias])
}

/// A transposed convolution of `image` with `w [I, O, h, w]`.
pub(super) fn conv_transpose(
    cx: &mut Node,
    image: ValueId,
    w: ValueId,
    op: ConvTranspose,
    kind: Activation,
) -> Result<ValueId> {
    let f32 = cx.dtype(image) == DType::U8;
    let Plan { sums, scale, bias } = plan(cx, &Operands { x: 2, w: 1, bias: 3, axis: 0, f32 }, kind)?;
    let ConvTranspose { strides, dilations, pads, output_padding, groups, .. } = op;
    let op = QConvTranspose { strides, dilations, pads, output_padding, groups, sums };
    cx.op_with(op, &[Some(image), Some(w), Some(scale), bias])
}

/// A layer: `x [..., K]`, `w [O, K]`.
pub(super) fn dense(cx: &mut Node, x: ValueId, w: ValueId, kind: Activation) -> Result<ValueId> {
    let Plan { sums, scale, bias } = plan(cx, &Operands { x: 0, w: 1, bias: 2, axis: 0, f32: false }, kind)?;
    let sums = Sums { requant: Requant::TfliteOnce, ..sums };
    cx.op_with(QDense { sums }, &[Some(x), Some(w), Some(scale), bias])
}

/// A product of two computed tensors.
pub(super) fn matmul(cx: &mut Node, a: ValueId, b: ValueId) -> Result<ValueId> {
    let none = Activation::Identity;
    let Plan { sums, scale, .. } = plan(cx, &Operands { x: 0, w: 1, bias: 2, axis: 0, f32: true }, none)?;
    cx.op(QMatMul { sums }, &[a, b, scale])
}

/// A pool of an image `[N, C, H, W]`. Input and output have one scale.
pub(super) fn pool(cx: &mut Node, image: ValueId, op: Pool, kind: Activation) -> Result<ValueId> {
    let (y, dtype) = (affine_out(cx)?, cx.dtype(image));
    let range = list(activation_range(kind, y, dtype)?);
    let Pool { kind, kernel, strides, pads, .. } = op;
    cx.op(QPool { kind, kernel, strides, pads, range }, &[image])
}

/// `a`, or `a * slope` where it is negative.
pub(super) fn prelu(cx: &mut Node, x: ValueId, slope: ValueId) -> Result<ValueId> {
    let (a, b, y) = (affine_in(cx, 0)?, affine_in(cx, 1)?, affine_out(cx)?);
    cx.op(QBinary { kind: PairKind::PRelu, a, b, y, range: None }, &[x, slope])
}

/// Addition and its kin.
pub(super) fn arithmetic(
    cx: &mut Node,
    kind: BinaryKind,
    a: ValueId,
    b: ValueId,
    activation: Activation,
) -> Result<ValueId> {
    let pair = match kind {
        BinaryKind::Add => PairKind::Add,
        BinaryKind::Sub => PairKind::Sub,
        BinaryKind::Mul => PairKind::Mul,
        BinaryKind::SquaredDifference => PairKind::SquaredDifference,
        _ => {
            let (a, b) = (real(cx, 0)?, real(cx, 1)?);
            let y = cx.binary(kind, a, b)?;
            let y = cx.activated(y, activation)?;
            return numbers(cx, y, 0);
        }
    };
    // Whether scales are powers of two is told by the scales.
    cx.options.ignore(&[1]);
    let (qa, qb, y) = (affine_in(cx, 0)?, affine_in(cx, 1)?, affine_out(cx)?);
    let range = list(activation_range(activation, y, cx.dtype(a))?);
    cx.op(QBinary { kind: pair, a: qa, b: qb, y, range }, &[a, b])
}

/// A mean or sum; axes that are no neighbours go to the end first.
pub(super) fn reduce(cx: &mut Node, x: ValueId, kind: ReduceKind, axes: &[i64], keep_dims: bool) -> Result<ValueId> {
    let mut sorted = axes.to_vec();
    sorted.sort_unstable();
    let (qx, y) = (affine_in(cx, 0)?, affine_out(cx)?);
    let mean = kind == ReduceKind::Mean;
    if sorted.is_empty() {
        return function(cx, x, Activation::Identity);
    }
    if sorted.windows(2).all(|w| matches!(w, &[a, b] if a.saturating_add(1) == b)) {
        return cx.op(QReduce { mean, axes: sorted, keep_dims, x: qx, y }, &[x]);
    }
    let rank = cx.rank(x);
    let gone = |a: &usize| i64::try_from(*a).is_ok_and(|a| sorted.contains(&a));
    let (last, first): (Vec<usize>, Vec<usize>) = (0..rank).partition(gone);
    let behind: Vec<i64> = (first.len()..rank).filter_map(|a| i64::try_from(a).ok()).collect();
    let order: Vec<usize> = first.into_iter().chain(last).collect();
    let moved = cx.transpose(x, &order)?;
    let reduced = cx.op(QReduce { mean, axes: behind, keep_dims: false, x: qx, y }, &[moved])?;
    if !keep_dims {
        return Ok(reduced);
    }
    let axes = cx.integers(&sorted);
    cx.op(Unsqueeze {}, &[reduced, axes])
}

/// Softmax along the last axis.
pub(super) fn softmax(cx: &mut Node, x: ValueId, beta: f32) -> Result<ValueId> {
    if cx.dtype(x) != cx.dtype_out(0)? {
        return Err(ImportError::unsupported("input and output of different types are not supported")
            .expected(cx.dtype(x))
            .found(cx.dtype_out(0)?));
    }
    let (scale, y) = (affine_in(cx, 0)?.scale, affine_out(cx)?);
    cx.op(QSoftmax { scale, beta, y }, &[x])
}

/// Bilinear resampling.
pub(super) fn bilinear(cx: &mut Node, corners: bool, half: bool) -> Result<Lowered> {
    let (x, size) = (cx.input(0)?, cx.input(1)?);
    let size = cx.as_i64(size)?;
    one(cx.op(QResize { corners, half }, &[x, size])?)
}

/// All inputs on the output's scale, for operators that only move numbers.
pub(super) fn alike(cx: &mut Node) -> Result<Vec<ValueId>> {
    let y = affine_out(cx)?;
    let mut out = Vec::new();
    for (i, x) in cx.all_inputs()?.into_iter().enumerate() {
        let own = affine_in(cx, i)?;
        // Rounded in f32, as TFLite joins `u8` tensors of different scales.
        let function = Activation::Linear { a: 1.0, b: 0.0 };
        out.push(if own == y { x } else { cx.op(QUnary { function, x: own, y, to: None }, &[x])? });
    }
    Ok(out)
}
