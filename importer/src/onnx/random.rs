//! Random numbers. They follow from the seed, or from the node's name where it has none: the same ones in every run.

use pocketnn::ops::elementwise::BinaryKind;
use pocketnn::ops::gather::CumSum;
use pocketnn::ops::movement::{Concat, Shape, Unsqueeze};
use pocketnn::ops::random::{Distribution, Random};
use pocketnn::ops::reduce::{Reduce, ReduceKind};
use pocketnn::ops::softmax::Softmax;
use pocketnn::{DType, ValueId};

use super::constant::cast_to;
use super::elem::Elem;
use super::node::{Lowered, Node, V, one};
use super::registry::{Row, op};
use crate::error::{ImportError, Result};

pub(super) const ROWS: &[Row] = &[
    op("Bernoulli", &[15, 22], bernoulli),
    op("Multinomial", &[7, 22], multinomial),
    op("RandomNormal", &[1, 22], |cx| of_shape(cx, Distribution::Normal)),
    op("RandomNormalLike", &[1, 22], |cx| like(cx, Distribution::Normal)),
    op("RandomUniform", &[1, 22], |cx| of_shape(cx, Distribution::Uniform)),
    op("RandomUniformLike", &[1, 22], |cx| like(cx, Distribution::Uniform)),
];

/// The seed of the node: a float, or (as `Dropout` has it) an integer; without one a number of the node's name (FNV-1a).
fn seed(cx: &Node) -> Result<i64> {
    if let Ok(Some(seed)) = cx.attrs.opt_int("seed") {
        return Ok(seed);
    }
    if let Some(seed) = cx.attrs.opt_float("seed")? {
        return Ok(i64::from(seed.to_bits()));
    }
    let hash = |h: u64, b: u8| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3);
    Ok(cx.base.bytes().fold(0xcbf2_9ce4_8422_2325, hash).cast_signed())
}

/// Random numbers of a shape, as f32.
pub(super) fn numbers(cx: &mut Node, distribution: Distribution, range: (f32, f32), shape: ValueId) -> Result<V> {
    let op = Random { distribution, a: range.0, b: range.1, seed: seed(cx)?, dtype: DType::F32 };
    cx.op(op, &[shape], Elem::F32)
}

/// The declared element type, or another.
fn elem(cx: &Node, otherwise: Elem) -> Result<Elem> {
    match cx.attrs.opt_int("dtype")? {
        None => Ok(otherwise),
        Some(n) => Elem::parse(i32::try_from(n).unwrap_or(-1)).map_err(|e| e.at_attribute("dtype")),
    }
}

fn range(cx: &Node, distribution: Distribution) -> Result<(f32, f32)> {
    match distribution {
        Distribution::Normal => Ok((cx.attrs.float("mean", 0.0)?, cx.attrs.float("scale", 1.0)?)),
        Distribution::Uniform => Ok((cx.attrs.float("low", 0.0)?, cx.attrs.float("high", 1.0)?)),
    }
}

fn of_shape(cx: &mut Node, distribution: Distribution) -> Result<Lowered> {
    let shape = cx.attrs.ints("shape")?.ok_or_else(|| super::attrs::missing("shape"))?;
    let (range, to) = (range(cx, distribution)?, elem(cx, Elem::F32)?);
    let shape = cx.integers(&shape);
    let x = numbers(cx, distribution, range, shape)?;
    one(cast_to(cx, x, to)?)
}

/// The shape of a value, as a value.
fn shape_of(cx: &mut Node, x: V) -> Result<ValueId> {
    Ok(cx.op(Shape::default(), &[x.id], Elem::I64)?.id)
}

fn like(cx: &mut Node, distribution: Distribution) -> Result<Lowered> {
    let x = cx.input(0)?;
    let (range, to) = (range(cx, distribution)?, elem(cx, x.elem)?);
    let shape = shape_of(cx, x)?;
    let y = numbers(cx, distribution, range, shape)?;
    one(cast_to(cx, y, to)?)
}

/// True with the probability that the input says.
fn bernoulli(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    let to = elem(cx, x.elem)?;
    let shape = shape_of(cx, x)?;
    let u = numbers(cx, Distribution::Uniform, (0.0, 1.0), shape)?;
    let p = cast_to(cx, x, Elem::F32)?;
    let hit = cx.compare(BinaryKind::Lt, u, p)?;
    one(cast_to(cx, hit, to)?)
}

/// Classes drawn by unnormalised logarithms of their probabilities: how many classes end below a random number.
fn multinomial(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    let count = cx.attrs.int("sample_size", 1)?;
    let to = elem(cx, Elem::I32)?;
    if cx.rank(x) != 2 || count < 1 {
        return Err(ImportError::invalid("expected a matrix and a positive number of samples").found(count));
    }
    let p = cast_to(cx, x, Elem::F32)?;
    let p = cx.op(Softmax { axis: 1, log: false }, &[p.id], Elem::F32)?;
    let axis = cx.tensor(pocketnn::Tensor::scalar(1i64));
    let ends = cx.op(CumSum::default(), &[p.id, axis], Elem::F32)?;
    let rows = cx.op(Shape { start: 0, end: Some(1) }, &[x.id], Elem::I64)?;
    let samples = cx.integers(&[count]);
    let shape = cx.op(Concat { axis: 0 }, &[rows.id, samples], Elem::I64)?;
    let u = numbers(cx, Distribution::Uniform, (0.0, 1.0), shape.id)?;
    let (middle, last) = (cx.integers(&[1]), cx.integers(&[2]));
    let ends = cx.op(Unsqueeze::default(), &[ends.id, middle], Elem::F32)?;
    let u = cx.op(Unsqueeze::default(), &[u.id, last], Elem::F32)?;
    let below = cx.compare(BinaryKind::Le, ends, u)?;
    let below = cast_to(cx, below, Elem::I64)?;
    let class =
        cx.op(Reduce { kind: ReduceKind::Sum, keep_dims: false, ..Reduce::default() }, &[below.id, last], Elem::I64)?;
    // Rounding may leave the sum of all probabilities below 1.
    let extent = cx.op(Shape { start: 1, end: Some(2) }, &[x.id], Elem::I64)?;
    let unit = cx.scalar_like(extent, 1.0)?;
    let most = cx.binary(BinaryKind::Sub, extent, unit)?;
    let class = cx.binary(BinaryKind::Min, class, most)?;
    one(cast_to(cx, class, to)?)
}
