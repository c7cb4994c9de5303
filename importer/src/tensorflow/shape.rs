//! Shapes, and tensors made from them.

use std::rc::Rc;

use pocketnn::ops::elementwise::BinaryKind;
use pocketnn::ops::movement::{Concat, Expand, Range, Reshape, Shape, Squeeze};
use pocketnn::ops::reduce::{Reduce, ReduceKind};
use pocketnn::{Dim, Tensor};

use super::elem::Elem;
use super::graph::Slot;
use super::node::{Lowered, Node, V, Value, int, one};
use super::registry::{Row, multi, op};
use crate::error::{ImportError, Result};

pub(super) const ROWS: &[Row] = &[
    op("BroadcastArgs", broadcast_args),
    op("BroadcastTo", broadcast_to),
    op("ExpandDims", expand_dims),
    op("Fill", fill),
    op("LinSpace", lin_space),
    op("OnesLike", |cx| filled_like(cx, 1.0)),
    op("Range", range),
    op("Rank", rank),
    op("Reshape", reshape),
    op("Shape", shape),
    op("ShapeN", shapes),
    op("Size", size),
    op("Squeeze", squeeze),
    multi("Unique", &["y", "idx"], unique),
    op("ZerosLike", |cx| filled_like(cx, 0.0)),
];

fn out_type(cx: &Node) -> Result<Elem> {
    Ok(cx.attrs.elem("out_type")?.unwrap_or(Elem::I32))
}

fn shape<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let (x, elem) = (cx.input(0)?, out_type(cx)?);
    one(cx.op(Shape::default(), &[x.id], elem)?)
}

fn shapes<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    cx.attrs.ignore(&["N"]);
    let elem = out_type(cx)?;
    let mut all = Vec::new();
    for x in cx.all_inputs()? {
        all.push(Slot::Value(cx.op(Shape::default(), &[x.id], elem)?.into()));
    }
    Ok(all)
}

fn rank<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let x = cx.input(0)?;
    let rank = i32::try_from(cx.rank(x)).unwrap_or(i32::MAX);
    let id = cx.tensor(Tensor::scalar(rank));
    one(V { id, elem: Elem::I32 })
}

fn size<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let (x, elem) = (cx.input(0)?, out_type(cx)?);
    let shape = cx.op(Shape::default(), &[x.id], Elem::I64)?;
    let op = Reduce { kind: ReduceKind::Prod, keep_dims: false, ..Reduce::default() };
    one(cx.op(op, &[shape.id], elem)?)
}

/// A shape that is computed from extents is written as numbers where that says the same: 0 where the extent is that of the
/// input, -1 for one that is left.
fn reshape<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let (x, target) = (cx.input(0)?, cx.input(1)?);
    if let Some(list) = cx.const_ints(target) {
        return one(reshaped(cx, x, &list)?);
    }
    let dims = cx.walker.builder.fact(target.id).dims.clone();
    if let Some(list) = dims.and_then(|d| numbers(cx.shape(x), &d)) {
        return one(cx.reshape(x, &list)?);
    }
    let target = cx.as_i64(target)?;
    one(cx.op(Reshape { allow_zero: true }, &[x.id, target], x.elem)?)
}

/// Reshapes to numbers of which one may be -1; 0 means 0.
fn reshaped(cx: &mut Node, x: V, list: &[i64]) -> Result<V> {
    let shape = cx.integers(list);
    cx.op(Reshape { allow_zero: true }, &[x.id, shape], x.elem)
}

fn numbers(from: &[Dim], to: &[Dim]) -> Option<Vec<i64>> {
    let open: Vec<usize> = to
        .iter()
        .enumerate()
        .filter(|(i, d)| d.known_signed().is_none() && from.get(*i) != Some(*d))
        .map(|p| p.0)
        .collect();
    if open.len() > 1 || to.iter().any(|d| d.known_signed().is_some_and(|n| n == 0 || (n < 0 && !open.is_empty()))) {
        return None;
    }
    Some(
        to.iter()
            .enumerate()
            .map(|(i, d)| d.known_signed().unwrap_or(if open.contains(&i) { -1 } else { 0 }))
            .collect(),
    )
}

fn expand_dims<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let axis = cx.need_int(1, "the axis")?;
    if let Value::Phases(p) = cx.value(0)? {
        let p = Rc::clone(p);
        let rank = cx.rank(p.x).saturating_add(1);
        let at = cx.axis(axis, rank)?;
        if at > 0 && !p.convolved {
            let x = cx.unsqueeze(p.x, &[int(at)])?;
            if let Some(inserted) = p.inserted(x, at) {
                return one(Value::Phases(Rc::new(inserted)));
            }
        }
    }
    let x = cx.input(0)?;
    one(cx.unsqueeze(x, &[axis])?)
}

fn squeeze<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let named = if cx.attrs.has("squeeze_dims") { "squeeze_dims" } else { "axis" };
    let axes = cx.attrs.ints(named)?.unwrap_or_default();
    if let (Value::Phases(p), &[axis]) = (cx.value(0)?, axes.as_slice()) {
        let p = Rc::clone(p);
        let at = cx.axis(axis, cx.rank(p.x))?;
        if cx.extent(p.x, at) == Some(1) {
            let x = cx.squeeze(p.x, &[int(at)])?;
            if let Some(removed) = p.removed(x, at) {
                return one(Value::Phases(Rc::new(removed)));
            }
        }
    }
    let x = cx.input(0)?;
    if axes.is_empty() {
        return one(cx.op(Squeeze::default(), &[x.id], x.elem)?);
    }
    one(cx.squeeze(x, &axes)?)
}

fn fill<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let (shape, value) = (cx.input(0)?, cx.input(1)?);
    one(expanded(cx, value, shape)?)
}

fn expanded(cx: &mut Node, x: V, shape: V) -> Result<V> {
    let shape = cx.as_i64(shape)?;
    cx.op(Expand::default(), &[x.id, shape], x.elem)
}

fn broadcast_to<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let (x, shape) = (cx.input(0)?, cx.input(1)?);
    one(expanded(cx, x, shape)?)
}

/// The shape that two shapes broadcast to.
fn broadcast_args<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let (a, b) = (cx.input(0)?, cx.input(1)?);
    let (Some(n), Some(m)) = (cx.extent(a, 0), cx.extent(b, 0)) else {
        return Err(ImportError::unsupported("shapes of unknown length are not supported"));
    };
    let budget = cx.walker.cx.budget;
    let (n, m) = (budget.rank(n, "a shape")?, budget.rank(m, "a shape")?);
    let padded = |cx: &mut Node, v: V, missing: usize| -> Result<V> {
        if missing == 0 {
            return Ok(v);
        }
        let ones = cx.integers(&vec![1; missing]);
        let ones = cx.typed(ones, v.elem)?;
        cx.op(Concat { axis: 0 }, &[ones.id, v.id], v.elem)
    };
    let a = padded(cx, a, m.saturating_sub(n))?;
    let b = padded(cx, b, n.saturating_sub(m))?;
    // Extents agree or one of them is 1.
    one(cx.binary(BinaryKind::Max, a, b)?)
}

fn filled_like<'m>(cx: &mut Node<'_, 'm>, value: f64) -> Result<Lowered<'m>> {
    let x = cx.input(0)?;
    if let Some(shape) = cx.known_shape(x)
        && shape.is_empty()
    {
        return one(cx.scalar_like(x, value)?);
    }
    let shape = cx.op(Shape::default(), &[x.id], Elem::I64)?;
    let value = cx.scalar_like(x, value)?;
    one(expanded(cx, value, shape)?)
}

fn range<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let (start, limit, step) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
    one(cx.op(Range::default(), &[start.id, limit.id, step.id], start.elem)?)
}

/// `count` numbers from start to stop.
fn lin_space<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let count = cx.need_int(2, "the number of steps")?;
    if !(1..=1 << 24).contains(&count) {
        return Err(ImportError::invalid("the number of steps").expected("at least 1").found(count));
    }
    cx.walker.cx.budget.elements(&[count.unsigned_abs()], 8, "steps from start to stop")?;
    let (start, stop) = (cx.input(0)?, cx.input(1)?);
    let parts: Vec<f64> = (0..count).map(|i| if count == 1 { 0.0 } else { i as f64 / (count - 1) as f64 }).collect();
    let t = pocketnn::ops::elementwise::cast(&Tensor::vector(&parts), start.elem.carried()?)?;
    let parts = V { id: cx.tensor(t), elem: start.elem };
    let span = cx.binary(BinaryKind::Sub, stop, start)?;
    let scaled = cx.binary(BinaryKind::Mul, parts, span)?;
    one(cx.binary(BinaryKind::Add, start, scaled)?)
}

/// Of a constant: each element once, in the order of its first place.
fn unique<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let list = cx.need_ints(0, "a list of numbers to be made unique")?;
    let x = cx.input(0)?;
    let elem = cx.attrs.elem("out_idx")?.unwrap_or(Elem::I32);
    let (mut seen, mut places) = (Vec::new(), Vec::new());
    let mut known = std::collections::HashMap::new();
    for n in list {
        let at = *known.entry(n).or_insert_with(|| {
            seen.push(n);
            seen.len().saturating_sub(1)
        });
        places.push(int(at));
    }
    let (seen, places) = (cx.integers(&seen), cx.integers(&places));
    let (seen, places) = (cx.typed(seen, x.elem)?, cx.typed(places, elem)?);
    super::node::many([seen, places])
}
