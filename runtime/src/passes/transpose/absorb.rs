//! Where axes go away, a transpose goes with them: into the axes of a reduction, into a reshape, or into the order of the
//! features of a fully connected layer.

use super::super::edit::Editor;
use super::super::look::{self, Along};
use super::super::reshape;
use super::{inverse, moves_nothing, permuted_shape, transpose, transposed};
use crate::ops::gather::Gather;
use crate::ops::infer::normalize_axis;
use crate::ops::movement::{Reshape, Shape, Squeeze};
use crate::ops::reduce::{ArgReduce, Reduce};
use crate::{Dim, Op, Tensor, ValueId};

/// Takes away what can be.
pub(super) fn run(e: &mut Editor) {
    e.each(|e, slot| {
        let Some(name) = e.node(slot).map(|n| n.name.clone()) else { return };
        if take(e, slot).is_some() || give(e, slot).is_some() {
            e.note(name);
        }
    });
}

/// True when node `slot` can read a permuted form of `v` in place of `v`, which is the transpose by `perm` of that form.
pub(super) fn takes(e: &Editor, slot: usize, v: ValueId, perm: &[usize]) -> bool {
    let Some(n) = e.node(slot) else { return false };
    if n.inputs.first() != Some(&Some(v)) || n.operands().filter(|&x| x == v).count() > 1 {
        return false;
    }
    let source = permuted_shape(e.shape(v), &inverse(perm));
    match &n.op {
        Op::Shape(_) => true,
        Op::Reduce(_) | Op::ArgReduce(_) | Op::Squeeze(_) => gone(e, slot, v).is_some_and(|gone| left(&gone, perm)),
        Op::Reshape(_) => {
            let plain = moves_nothing(&source, perm) && reshape::target(&source, e.shape(n.outputs[0])).is_some();
            plain || flattened(e, slot, v, perm).is_some()
        }
        _ => false,
    }
}

/// Axes of `v` that the result of a node has no more.
fn gone(e: &Editor, slot: usize, v: ValueId) -> Option<Vec<usize>> {
    let (n, rank) = (e.node(slot)?, e.rank(v));
    let list = || look::integers(e, *n.inputs.get(1)?);
    let axes = match &n.op {
        Op::Reduce(r) if !r.keep_dims => r.axes(Some(&list()?), rank).ok()?,
        Op::ArgReduce(r) if !r.keep_dims => vec![normalize_axis(r.axis, rank).ok()?],
        Op::Squeeze(_) => list()?.into_iter().map(|a| normalize_axis(a, rank).ok()).collect::<Option<_>>()?,
        _ => return None,
    };
    (!axes.is_empty()).then_some(axes)
}

/// True when the axes that are left keep their order.
fn left(gone: &[usize], perm: &[usize]) -> bool {
    let kept: Vec<usize> = (0..perm.len()).filter(|a| !gone.contains(a)).map(|a| perm[a]).collect();
    kept.is_sorted()
}

/// The node reads a transpose: it reads the transpose's operand instead.
fn take(e: &mut Editor, slot: usize) -> Option<()> {
    let n = e.node(slot)?;
    let v = (*n.inputs.first()?)?;
    let (perm, source) = transposed(e, v)?;
    let (op, mut inputs, y) = (n.op.clone(), n.inputs.clone(), *n.outputs.first()?);
    if !takes(e, slot, v, &perm) {
        return None;
    }
    inputs[0] = Some(source);
    match op {
        Op::Shape(s) => {
            let rank = perm.len() as i64;
            let clamp = |a: i64| (if a < 0 { a.saturating_add(rank) } else { a }).clamp(0, rank) as usize;
            let range = clamp(s.start)..clamp(s.end.unwrap_or(rank)).max(clamp(s.start));
            let order: Vec<i64> = perm[range].iter().map(|&p| p as i64).collect();
            let order = e.add_constant("order", Tensor::vector(&order));
            let title = format!("{}:shape", e.name(source));
            let shape = e.add(slot, Shape::default(), &[Some(source)], &title)?;
            e.rewrite(slot, Gather { axis: 0 }, &[Some(shape), Some(order)]).then_some(())
        }
        Op::Reduce(_) | Op::Squeeze(_) => {
            let axes: Vec<i64> = gone(e, slot, v)?.into_iter().map(|a| perm[a] as i64).collect();
            inputs[1] = Some(e.add_constant("axes", Tensor::vector(&axes)));
            let op: Op = if let Op::Reduce(r) = op { Reduce { ..r }.into() } else { Squeeze {}.into() };
            e.rewrite(slot, op, &inputs).then_some(())
        }
        Op::ArgReduce(r) => {
            let axis = perm[*gone(e, slot, v)?.first()?] as i64;
            e.rewrite(slot, ArgReduce { axis, ..r }, &inputs).then_some(())
        }
        Op::Reshape(_) if moves_nothing(e.shape(source), &perm) => {
            let target = reshape::target(e.shape(source), e.shape(y))?;
            inputs[1] = Some(e.add_constant("shape", Tensor::vector(&target)));
            e.rewrite(slot, Reshape::default(), &inputs).then_some(())
        }
        Op::Reshape(_) => {
            let (order, edits) = flattened(e, slot, v, &perm)?;
            let target = reshape::target(e.shape(source), e.shape(y))?;
            inputs[1] = Some(e.add_constant("shape", Tensor::vector(&target)));
            if !e.rewrite(slot, Reshape::default(), &inputs) {
                return None;
            }
            apply(e, &edits, &order);
            Some(())
        }
        _ => None,
    }
}

/// A transpose of a reshape: it becomes the reshape.
fn give(e: &mut Editor, slot: usize) -> Option<()> {
    let (perm, v) = transpose(e, slot)?;
    let n = e.producer_node(v).filter(|n| matches!(n.op, Op::Reshape(_) | Op::Unsqueeze(_) | Op::Squeeze(_)))?;
    let (x, y) = ((*n.inputs.first()?)?, e.node(slot)?.outputs[0]);
    let target = reshape::target(e.shape(x), e.shape(y))?;
    let edits =
        if moves_nothing(e.shape(v), &perm) { None } else { Some(unflattened(e, v, &perm).filter(|_| e.sole_use(v))?) };
    let shape = e.add_constant("shape", Tensor::vector(&target));
    if !e.rewrite(slot, Reshape::default(), &[Some(x), Some(shape)]) {
        return None;
    }
    if let Some((order, edits)) = edits {
        apply(e, &edits, &order);
    }
    Some(())
}

/// True when `v` permuted by `perm` costs nothing: it is reshaped from features whose order is free, or nothing moves.
pub(super) fn gives(e: &Editor, v: ValueId, perm: &[usize]) -> bool {
    let Some(n) = e.producer_node(v) else { return false };
    let Some(x) = n.inputs.first().copied().flatten() else { return false };
    let shape = matches!(n.op, Op::Reshape(_) | Op::Unsqueeze(_) | Op::Squeeze(_));
    let fits = shape && reshape::target(e.shape(x), &permuted_shape(e.shape(v), perm)).is_some();
    fits && (moves_nothing(e.shape(v), perm) || (e.uses(v).len() == 1 && unflattened(e, v, perm).is_some()))
}

/// What a change of the order of features touches.
enum Edit {
    /// Columns of the weights of a layer.
    Columns(usize),
    /// Rows of the weights of a layer, and its bias.
    Rows(usize),
    /// An operand that is a vector of features.
    Vector(usize, usize),
    /// A value that now holds the features in another order: it must not keep its name.
    Value(ValueId),
}

/// Longest chain between a layer and the image.
const CHAIN: usize = 32;

/// New order of features (`new[i] = old[order[i]]`) and where it goes, when the node flattens `v`, which is the transpose by `perm`
/// of the value it would read.
fn flattened(e: &Editor, slot: usize, v: ValueId, perm: &[usize]) -> Option<(Vec<usize>, Vec<Edit>)> {
    let n = e.node(slot)?;
    let y = *n.outputs.first()?;
    let ([first, features], [batch, rest @ ..]) = (e.shape(y), e.shape(v)) else { return None };
    let image: Vec<usize> = rest.iter().map(Dim::known).collect::<Option<_>>()?;
    let whole = first == batch && features.known() == Some(image.iter().product());
    if perm[0] != 0 || !whole || image.contains(&0) {
        return None;
    }
    // The source's element i stands where the transpose puts it.
    let source = permuted_shape(&image, &inner(&inverse(perm)));
    let order = order(&image, &source, &inner(&inverse(perm)));
    let mut edits = vec![Edit::Value(y)];
    forward(e, y, &mut edits, CHAIN).then_some((order, edits))
}

/// As [`flattened`], when `v` is reshaped from features and permuted by `perm` afterwards.
fn unflattened(e: &Editor, v: ValueId, perm: &[usize]) -> Option<(Vec<usize>, Vec<Edit>)> {
    let n = e.producer_node(v)?;
    let x = (*n.inputs.first()?)?;
    let [batch, rest @ ..] = e.shape(v) else { return None };
    let image: Vec<usize> = rest.iter().map(Dim::known).collect::<Option<_>>()?;
    let [first, features] = e.shape(x) else { return None };
    let whole = first == batch && features.known() == Some(image.iter().product());
    if perm[0] != 0 || !whole || !matches!(n.op, Op::Reshape(_)) || image.contains(&0) {
        return None;
    }
    let target = permuted_shape(&image, &inner(perm));
    let order = order(&image, &target, &inner(perm));
    let mut edits = Vec::new();
    backward(e, x, &mut edits, CHAIN).then_some((order, edits))
}

/// The permutation of the axes behind the first.
fn inner(perm: &[usize]) -> Vec<usize> {
    perm[1..].iter().map(|p| p - 1).collect()
}

/// For each element of the image permuted by `perm`, of extents `to`, its number in the image of extents `from`.
fn order(from: &[usize], to: &[usize], perm: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; from.len()];
    for i in (0..from.len().saturating_sub(1)).rev() {
        strides[i] = strides[i + 1] * from[i + 1];
    }
    let at = |mut i: usize| {
        let mut number = 0;
        for a in (0..to.len()).rev() {
            number += i % to[a] * strides[perm[a]];
            i /= to[a];
        }
        number
    };
    (0..from.iter().product()).map(at).collect()
}

/// Every reader of `y [N, K]` can live with features in another order.
fn forward(e: &Editor, y: ValueId, edits: &mut Vec<Edit>, depth: usize) -> bool {
    if e.is_output(y) || depth == 0 || e.uses(y).is_empty() {
        return false;
    }
    e.uses(y).iter().all(|&slot| {
        let Some(n) = e.node(slot) else { return false };
        if n.inputs.first() == Some(&Some(y)) && matches!(n.op, Op::Dense(_)) && n.inputs.get(1) != Some(&Some(y)) {
            edits.push(Edit::Columns(slot));
            return weights(e, slot).is_some();
        }
        let out = n.outputs[0];
        elementwise(e, slot, y, edits) && {
            edits.push(Edit::Value(out));
            forward(e, out, edits, depth - 1)
        }
    })
}

/// `x [N, K]` comes from a layer that can give its features in another order, and nobody else sees it.
fn backward(e: &Editor, x: ValueId, edits: &mut Vec<Edit>, depth: usize) -> bool {
    let Some(slot) = e.producer(x).filter(|_| e.sole_use(x) && depth > 0) else { return false };
    edits.push(Edit::Value(x));
    let Some(n) = e.node(slot) else { return false };
    if matches!(n.op, Op::Dense(_)) {
        edits.push(Edit::Rows(slot));
        let bias = n.inputs.get(2).copied().flatten();
        return weights(e, slot).is_some() && bias.is_none_or(|b| e.constant(b).is_some());
    }
    let mut data = n.operands().filter(|&v| e.constant(v).is_none());
    let (Some(from), None) = (data.next(), data.next()) else { return false };
    elementwise(e, slot, from, edits) && backward(e, from, edits, depth - 1)
}

/// A node that works on each feature of `x [N, K]`; its vectors of features go to the list.
fn elementwise(e: &Editor, slot: usize, x: ValueId, edits: &mut Vec<Edit>) -> bool {
    let Some(n) = e.node(slot) else { return false };
    let same = n.outputs.len() == 1 && look::same_shape(e, x, n.outputs[0]);
    let once = n.operands().filter(|&v| v == x).count() == 1;
    let mut vectors = |from: usize| {
        (from..n.inputs.len()).all(|i| {
            let Some(v) = n.inputs[i].filter(|&v| v != x) else { return true };
            match e.constant(v).and_then(|t| look::along(t, e.shape(x))) {
                Some(Along::Nothing) => true,
                Some(Along::Axis(1)) => {
                    edits.push(Edit::Vector(slot, i));
                    true
                }
                _ => false,
            }
        })
    };
    same && once
        && match &n.op {
            Op::Activate(_) | Op::Unary(_) | Op::Cast(_) | Op::Identity(_) => true,
            Op::Binary(_) => vectors(0),
            Op::PRelu(_) | Op::BatchNorm(_) => n.inputs.first() == Some(&Some(x)) && vectors(1),
            _ => false,
        }
}

/// The weights of a fully connected layer.
fn weights(e: &Editor, slot: usize) -> Option<(ValueId, &Tensor)> {
    let w = (*e.node(slot)?.inputs.get(1)?)?;
    e.constant(w).map(|t| (w, t))
}

fn apply(e: &mut Editor, edits: &[Edit], order: &[usize]) {
    for edit in edits {
        match *edit {
            Edit::Columns(slot) => operand(e, slot, 1, order),
            Edit::Rows(slot) => {
                rows(e, slot, order);
                operand(e, slot, 2, order);
            }
            Edit::Vector(slot, i) => operand(e, slot, i, order),
            Edit::Value(v) => {
                let name = format!("{}:reordered", e.name(v));
                e.rename(v, &name);
            }
        }
    }
}

/// Reorders the last axis of a constant operand.
fn operand(e: &mut Editor, slot: usize, i: usize, order: &[usize]) {
    let Some(c) = e.node(slot).and_then(|n| n.inputs.get(i).copied().flatten()) else { return };
    let Some(t) = e.constant(c).and_then(|t| chosen(t, t.len() / order.len().max(1), order, 1)) else { return };
    replace(e, slot, i, c, t);
}

fn rows(e: &mut Editor, slot: usize, order: &[usize]) {
    let Some((w, t)) = weights(e, slot) else { return };
    let Some(t) = chosen(t, 1, order, t.shape()[1]) else { return };
    replace(e, slot, 1, w, t);
}

/// `[lead, order.len(), run]` with the middle axis reordered.
fn chosen(t: &Tensor, lead: usize, order: &[usize], run: usize) -> Option<Tensor> {
    crate::with_dtype!(t.dtype(), T => {
        let x = t.as_slice::<T>().ok()?;
        let k = order.len();
        let y = (0..lead * k * run).map(|i| x[(i / (k * run) * k + order[i / run % k]) * run + i % run]).collect();
        Tensor::new(t.shape(), y).ok()
    })
}

fn replace(e: &mut Editor, slot: usize, i: usize, old: ValueId, t: Tensor) {
    let Some(n) = e.node(slot) else { return };
    let (op, mut inputs) = (n.op.clone(), n.inputs.clone());
    inputs[i] = Some(e.derive_constant(old, t));
    e.rewrite(slot, op, &inputs);
}
