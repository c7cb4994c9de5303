//! Cuts of what was joined along the same axis take the pieces instead: a detection head joins boxes and classes for each scale, then
//! the scales, and cuts boxes and classes apart again.

use super::edit::Editor;
use super::reshape::target;
use crate::ops::infer::normalize_axis;
use crate::ops::movement::{Concat, Identity, Reshape};
use crate::{Dim, Op, Tensor, ValueId};
use std::ops::Range;

pub(super) fn run(e: &mut Editor) {
    e.each(|e, slot| {
        let Some((x, axis, ranges)) = split(e, slot) else { return };
        let Some(name) = e.node(slot).map(|n| n.name.clone()) else { return };
        if !e.sole_use(x) || !falls_apart(e, x, axis, &ranges) {
            return;
        }
        let Some(pieces) = pieces(e, slot, x, axis, &ranges) else { return };
        let parts: Vec<(Op, Vec<Option<ValueId>>)> =
            pieces.into_iter().map(|p| (Identity {}.into(), vec![Some(p)])).collect();
        e.divert(slot, &parts);
        e.note(name);
    });
}

/// The operand, the axis and the ranges of a split.
fn split(e: &Editor, slot: usize) -> Option<(ValueId, usize, Vec<Range<usize>>)> {
    let n = e.node(slot)?;
    let Op::Split(s) = &n.op else { return None };
    let x = (*n.inputs.first()?)?;
    let axis = normalize_axis(s.axis, e.rank(x)).ok()?;
    let mut at = 0;
    let range = |&o: &ValueId| {
        let start = at;
        at += e.shape(o)[axis].known()?;
        Some(start..at)
    };
    Some((x, axis, n.outputs.iter().map(range).collect::<Option<_>>()?))
}

/// The operands of a concatenation and its axis.
fn join(e: &Editor, v: ValueId) -> Option<(Vec<ValueId>, usize)> {
    let n = e.producer_node(v)?;
    let Op::Concat(c) = &n.op else { return None };
    Some((n.inputs.iter().copied().collect::<Option<_>>()?, normalize_axis(c.axis, e.rank(v)).ok()?))
}

/// The operand of a reshape that leaves all axes up to `axis` as they are.
fn behind(e: &Editor, v: ValueId, axis: usize) -> Option<ValueId> {
    let n = e.producer_node(v)?;
    let x = (*n.inputs.first()?)?;
    let kept = e.rank(x) > axis && e.shape(x)[..=axis] == e.shape(v)[..=axis];
    (matches!(n.op, Op::Reshape(_)) && kept).then_some(x)
}

/// The operands of a concatenation along `axis` that make up each range, when every range ends where an operand ends.
fn groups(e: &Editor, inputs: &[ValueId], axis: usize, ranges: &[Range<usize>]) -> Option<Vec<Vec<ValueId>>> {
    let mut groups = vec![Vec::new(); ranges.len()];
    let mut at = 0;
    for &v in inputs {
        let end = at + e.shape(v)[axis].known()?;
        let i = ranges.iter().position(|r| r.start <= at && end <= r.end)?;
        groups[i].push(v);
        at = end;
    }
    groups.iter().all(|g| !g.is_empty()).then_some(groups)
}

/// True when a value is made of pieces that are these ranges of an axis, and read by nothing else.
fn falls_apart(e: &Editor, v: ValueId, axis: usize, ranges: &[Range<usize>]) -> bool {
    if !e.sole_use(v) {
        return false;
    }
    match join(e, v) {
        Some((inputs, along)) if along == axis => groups(e, &inputs, axis, ranges).is_some(),
        Some((inputs, _)) => inputs.iter().all(|&x| falls_apart(e, x, axis, ranges)),
        None => behind(e, v, axis).is_some_and(|x| falls_apart(e, x, axis, ranges)),
    }
}

/// The pieces of a value that falls apart, one a range.
fn pieces(e: &mut Editor, slot: usize, v: ValueId, axis: usize, ranges: &[Range<usize>]) -> Option<Vec<ValueId>> {
    let name = e.name(v).to_string();
    let part = |i: usize| format!("{name}.{i}");
    let joined = |e: &mut Editor, i: usize, all: Vec<ValueId>, along: usize| {
        if let [one] = all[..] {
            return Some(one);
        }
        let inputs: Vec<Option<ValueId>> = all.into_iter().map(Some).collect();
        e.add(slot, Concat { axis: along as i64 }, &inputs, &part(i))
    };
    match join(e, v) {
        Some((inputs, along)) if along == axis => {
            let groups = groups(e, &inputs, axis, ranges)?;
            groups.into_iter().enumerate().map(|(i, g)| joined(e, i, g, axis)).collect()
        }
        Some((inputs, along)) => {
            let each: Vec<Vec<ValueId>> =
                inputs.iter().map(|&x| pieces(e, slot, x, axis, ranges)).collect::<Option<_>>()?;
            (0..ranges.len()).map(|i| joined(e, i, each.iter().map(|p| p[i]).collect(), along)).collect()
        }
        None => {
            let x = behind(e, v, axis)?;
            let each = pieces(e, slot, x, axis, ranges)?;
            let one = |(i, x): (usize, ValueId)| {
                let mut shape = e.shape(v).to_vec();
                shape[axis] = Dim::from(ranges[i].len());
                let to = target(e.shape(x), &shape)?;
                let to = e.add_constant("shape", Tensor::vector(&to));
                e.add(slot, Reshape::default(), &[Some(x), Some(to)], &part(i))
            };
            each.into_iter().enumerate().map(one).collect()
        }
    }
}
