//! Chains of growing concatenations, and channels in another order: shuffles written as reshape, transpose, reshape become one op, and cuts and joins around it become
//! part of its list, so that a channel is moved once.

use super::edit::Editor;
use super::look;
use crate::ops::infer::normalize_axis;
use crate::ops::movement::{Concat, Pick, Slice, Transpose};
use crate::{DType, Dim, Op, Tensor, ValueId};
use pocketnn_kernels::movement::MOST;

pub(super) fn run(e: &mut Editor) {
    e.each(|e, slot| {
        let Some(name) = e.node(slot).map(|n| n.name.clone()) else { return };
        if prefix(e, slot).is_some()
            || shuffle(e, slot).is_some()
            || inline(e, slot).is_some()
            || cut(e, slot).is_some()
            || plain(e, slot)
        {
            e.note(name);
        }
    });
}

/// A concatenation that begins as another one does begins with that one: a chain of growing concatenations takes one buffer.
fn prefix(e: &mut Editor, slot: usize) -> Option<()> {
    let joins = |e: &Editor, s: usize| -> Option<(usize, Vec<Option<ValueId>>, ValueId)> {
        let n = e.node(s)?;
        let Op::Concat(c) = &n.op else { return None };
        Some((normalize_axis(c.axis, e.rank(n.outputs[0])).ok()?, n.inputs.clone(), n.outputs[0]))
    };
    let (axis, inputs, _) = joins(e, slot)?;
    let first = (*inputs.first()?)?;
    let others = e.uses(first).iter().filter(|&&s| s != slot).filter_map(|&s| joins(e, s));
    let begins = |j: &(usize, Vec<Option<ValueId>>, ValueId)| {
        j.0 == axis && (2..inputs.len()).contains(&j.1.len()) && inputs.starts_with(&j.1)
    };
    let (_, taken, whole) = others.filter(begins).max_by_key(|j| j.1.len())?;
    let rest: Vec<Option<ValueId>> =
        std::iter::once(Some(whole)).chain(inputs[taken.len()..].iter().copied()).collect();
    e.rewrite(slot, Concat { axis: axis as i64 }, &rest).then_some(())
}

/// The operand of a reshape.
fn reshaped(e: &Editor, v: ValueId) -> Option<ValueId> {
    let n = e.producer_node(v)?;
    if matches!(n.op, Op::Reshape(_)) { *n.inputs.first()? } else { None }
}

/// `[N, C, ...]` split in `[N, g, C / g, ...]`, both swapped, and joined again; or the same with the channels last.
fn shuffle(e: &mut Editor, slot: usize) -> Option<()> {
    let y = *e.node(slot)?.outputs.first()?;
    let moved = reshaped(e, y)?;
    let t = e.producer_node(moved)?;
    let split = (*t.inputs.first()?)?;
    let Op::Transpose(transpose) = &t.op else { return None };
    let rank = e.rank(split);
    let perm = transpose.permutation(rank).ok()?;
    let x = reshaped(e, split)?;
    if rank < 4 || e.rank(x) + 1 != rank || e.shape(x) != e.shape(y) || e.dtype(x) != DType::F32 {
        return None;
    }
    let last = perm[1] == 1;
    let axis = if last { rank - 2 } else { 1 };
    let swapped = |i: usize| {
        if i == axis {
            axis + 1
        } else if i == axis + 1 {
            axis
        } else {
            i
        }
    };
    let (groups, per) = (e.shape(split)[axis].known()?, e.shape(split)[axis + 1].known()?);
    let others = |shape: &[Dim], wide: usize| -> Vec<Dim> { [&shape[..axis], &shape[axis + wide..]].concat() };
    let whole = e.shape(x)[axis].known() == groups.checked_mul(per) && groups > 0 && per > 0;
    let kept = others(e.shape(x), 1) == others(e.shape(split), 2);
    if !whole || !kept || !perm.iter().enumerate().all(|(i, &p)| p == swapped(i)) {
        return None;
    }
    let pick = (0..groups * per).map(|i| i % groups * per + i / groups).collect();
    if !last {
        return e.rewrite(slot, Pick { pick }, &[Some(x)]).then_some(());
    }
    let name = e.name(y).to_string();
    let to_first: Vec<usize> = [0, rank - 2].into_iter().chain(1..rank - 2).collect();
    let to_last: Vec<usize> = std::iter::once(0).chain(2..rank - 1).chain([1]).collect();
    let first = e.add(slot, Transpose { perm: to_first }, &[Some(x)], &format!("{name}.first"))?;
    let picked = e.add(slot, Pick { pick }, &[Some(first)], &format!("{name}.picked"))?;
    e.rewrite(slot, Transpose { perm: to_last }, &[Some(picked)]).then_some(())
}

/// The images and the list of a node that chooses channels.
fn choice(e: &Editor, slot: usize) -> Option<(Vec<ValueId>, Vec<usize>)> {
    let n = e.node(slot)?;
    let inputs: Vec<ValueId> = n.inputs.iter().copied().collect::<Option<_>>()?;
    let channels = |v: &ValueId| e.shape(*v).get(1)?.known();
    match &n.op {
        Op::Pick(p) => Some((inputs, p.pick.clone())),
        Op::Concat(c) if normalize_axis(c.axis, e.rank(n.outputs[0])).ok()? == 1 => {
            let all: usize = inputs.iter().map(channels).sum::<Option<usize>>()?;
            Some((inputs, (0..all).collect()))
        }
        _ => None,
    }
}

/// A choice from what only choices read and is a choice or a concatenation itself.
fn inline(e: &mut Editor, slot: usize) -> Option<()> {
    if !matches!(e.node(slot)?.op, Op::Pick(_)) {
        return None;
    }
    let (inputs, pick) = choice(e, slot)?;
    // The channels of all inputs as channels of what they are made of.
    let (mut images, mut all, mut found): (Vec<ValueId>, Vec<(ValueId, usize)>, bool) = (Vec::new(), Vec::new(), false);
    for &v in &inputs {
        let chosen = |&s: &usize| matches!(e.node(s).map(|n| &n.op), Some(Op::Pick(_)));
        let passing = !e.is_output(v) && e.uses(v).iter().all(chosen);
        let inner = e.producer(v).filter(|_| passing).and_then(|p| choice(e, p));
        found |= inner.is_some();
        let (from, chosen) = match inner {
            Some(inner) => inner,
            None => (vec![v], (0..e.shape(v)[1].known()?).collect()),
        };
        let mut each = Vec::new();
        for &x in &from {
            (0..e.shape(x)[1].known()?).for_each(|c| each.push((x, c)));
        }
        chosen.iter().for_each(|&c| all.push(each[c]));
    }
    let wanted: Vec<(ValueId, usize)> = pick.iter().map(|&c| all[c]).collect();
    for (x, _) in &wanted {
        if !images.contains(x) {
            images.push(*x);
        }
    }
    if !(found || images.len() < inputs.len()) || images.len() > MOST || images.is_empty() {
        return None;
    }
    let mut starts = Vec::new();
    let mut total = 0;
    for &x in &images {
        starts.push(total);
        total += e.shape(x)[1].known()?;
    }
    let at = |&(x, c): &(ValueId, usize)| images.iter().position(|&i| i == x).map(|i| starts[i] + c);
    let pick: Vec<usize> = wanted.iter().map(at).collect::<Option<_>>()?;
    let operands: Vec<Option<ValueId>> = images.iter().copied().map(Some).collect();
    e.rewrite(slot, Pick { pick }, &operands).then_some(())
}

/// Parts of a choice are choices, when nothing reads the whole.
fn cut(e: &mut Editor, slot: usize) -> Option<()> {
    let n = e.node(slot)?;
    let x = (*n.inputs.first()?)?;
    let whole = e.producer(x).filter(|&p| matches!(e.node(p).map(|n| &n.op), Some(Op::Pick(_))))?;
    if e.is_output(x) || !e.uses(x).iter().all(|&u| pieces(e, u).is_some()) {
        return None;
    }
    let pieces = pieces(e, slot)?;
    let (inputs, pick) = choice(e, whole)?;
    let operands: Vec<Option<ValueId>> = inputs.into_iter().map(Some).collect();
    let parts: Vec<(Op, Vec<Option<ValueId>>)> =
        pieces.iter().map(|r| (Pick { pick: pick[r.clone()].to_vec() }.into(), operands.clone())).collect();
    e.divert(slot, &parts);
    Some(())
}

/// The channels of each output of a node that cuts its input along the channels.
fn pieces(e: &Editor, slot: usize) -> Option<Vec<std::ops::Range<usize>>> {
    let n = e.node(slot)?;
    let x = (*n.inputs.first()?)?;
    let channels = e.shape(x).get(1)?.known()?;
    match &n.op {
        Op::Split(s) if normalize_axis(s.axis, e.rank(x)).ok()? == 1 => {
            let mut at = 0;
            let one = |&o: &ValueId| {
                let start = at;
                at += e.shape(o)[1].known()?;
                (at <= channels).then_some(start..at)
            };
            n.outputs.iter().map(one).collect()
        }
        Op::Slice(_) => {
            let constant = |i: usize| n.inputs.get(i).copied().flatten().map(|v| e.constant(v));
            let operands: Vec<Option<&Tensor>> = (1..5).map(|i| constant(i).flatten()).collect();
            let given = (1..5).all(|i| constant(i).is_none_or(|t| t.is_some()));
            let axes = look::integers(e, n.inputs.get(3).copied().flatten())?;
            let [axis] = axes[..] else { return None };
            if !given || normalize_axis(axis, e.rank(x)).ok()? != 1 {
                return None;
            }
            let run = Slice::channel_run(channels, &operands)?;
            Some(vec![run])
        }
        _ => None,
    }
}

/// A choice of everything in order is what it chooses from.
fn plain(e: &mut Editor, slot: usize) -> bool {
    let Some(Op::Pick(p)) = e.node(slot).map(|n| n.op.clone()) else { return false };
    let Some((inputs, _)) = choice(e, slot) else { return false };
    let channels: Option<usize> = inputs.iter().map(|v| e.shape(*v).get(1)?.known()).sum();
    if channels != Some(p.pick.len()) || !p.pick.iter().enumerate().all(|(i, &c)| i == c) {
        return false;
    }
    if let [x] = inputs[..] {
        return e.merge(slot, x);
    }
    let operands: Vec<Option<ValueId>> = inputs.into_iter().map(Some).collect();
    e.rewrite(slot, Concat { axis: 1 }, &operands)
}
