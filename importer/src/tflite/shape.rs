//! Shapes and what is made from them.

use pocketnn::ops::elementwise::BinaryKind;
use pocketnn::ops::movement::{ConstantOfShape, Range, Shape};
use pocketnn::{DType, Tensor};

use super::logic::expand;
use super::node::{Lowered, Node, cast, one};
use super::registry::{Row, moves};
use crate::error::Result;

pub(super) const ROWS: &[Row] = &[
    moves("BROADCAST_ARGS", broadcast_args),
    moves("FILL", fill),
    moves("RANGE", range),
    moves("RANK", rank),
    moves("SHAPE", shape),
    moves("ZEROS_LIKE", zeros_like),
];

fn shape(cx: &mut Node) -> Result<Lowered> {
    cx.options.ignore(&[0]);
    let (x, to) = (cx.input(0)?, cx.dtype_out(0)?);
    let shape = cx.op(Shape::default(), &[x])?;
    one(cx.cast(shape, to)?)
}

fn rank(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    let rank = i32::try_from(cx.rank(x)).unwrap_or(i32::MAX);
    one(cx.tensor(Tensor::scalar(rank)))
}

/// Inputs `shape`, `value`.
fn fill(cx: &mut Node) -> Result<Lowered> {
    let (shape, value) = (cx.input(0)?, cx.input(1)?);
    if let Some(t) = cx.constant(value).cloned() {
        let value = t.reshaped(&[1])?;
        let shape = cx.as_i64(shape)?;
        return one(cx.op(ConstantOfShape { value }, &[shape])?);
    }
    one(expand(cx, value, shape)?)
}

fn range(cx: &mut Node) -> Result<Lowered> {
    let (start, limit, delta) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
    one(cx.op(Range::default(), &[start, limit, delta])?)
}

fn zeros_like(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    let value = cast(&Tensor::vector(&[0.0f32]), cx.dtype(x))?;
    let shape = cx.op(Shape::default(), &[x])?;
    one(cx.op(ConstantOfShape { value }, &[shape])?)
}

/// The shape that two shapes broadcast to: the longer one, where 1 gives way. An extent of 1 is the smaller one but for 0.
fn broadcast_args(cx: &mut Node) -> Result<Lowered> {
    let (mut a, mut b) = (cx.input(0)?, cx.input(1)?);
    let to = cx.dtype_out(0)?;
    let count = |cx: &Node, v| cx.walker.budget.rank(cx.need_extent(v, 0, "a shape")?, "a shape");
    let (n, m) = (count(cx, a)?, count(cx, b)?);
    let ones = |cx: &mut Node, v, missing: usize| -> Result<pocketnn::ValueId> {
        let v = cx.cast(v, DType::I64)?;
        if missing == 0 {
            return Ok(v);
        }
        let front = cx.integers(&vec![1; missing]);
        cx.op(pocketnn::ops::movement::Concat { axis: 0 }, &[front, v])
    };
    a = ones(cx, a, m.saturating_sub(n))?;
    b = ones(cx, b, n.saturating_sub(m))?;
    let one_ = cx.scalar(1.0, DType::I64)?;
    let gives = cx.binary(BinaryKind::Eq, a, one_)?;
    let y = cx.op(pocketnn::ops::elementwise::Where::default(), &[gives, b, a])?;
    one(cx.cast(y, to)?)
}
