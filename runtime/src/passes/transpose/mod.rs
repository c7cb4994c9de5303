//! Transposes cancel, sink or rise until as few as possible are left.
//!
//! A transpose moves every element of a tensor and computes nothing. Importers of channels-last models wrap each layer in a pair
//! of them. Between two layers of fixed axes lie ops that work on any order of axes once their attributes and constants follow
//! ([`permute`]). For each permutation that occurs, each such op either stays or is permuted; transposes stand where both
//! kinds meet, and at the borders of these regions. Which choice needs the cheapest transposes is a smallest cut ([`flow`]).
//! Where axes disappear or are flattened in front of a fully connected layer, the permutation goes into axes or weights ([`absorb`]).
//!
//! Permutations are written as in [`Transpose`]: axis `i` of the result is axis `perm[i]` of the operand.

mod absorb;
mod blocks;
mod flow;
mod permute;

use super::edit::Editor;
use super::reshape;
use crate::ops::movement::{Reshape, Squeeze, Transpose, Unsqueeze};
use crate::{DType, Dim, Op, Tensor, ValueId};
use flow::{CHANGE, NEVER, Network, STAY};
use permute::{Flipped, Part, flipped};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn run(e: &mut Editor) {
    loop {
        compose(e);
        absorb::run(e);
        if !relayout(e) {
            break;
        }
    }
}

/// The name of a value that is value `name` with its axes permuted: `name@0,3,1,2`. Permuting twice gives the name of the product.
pub fn permuted_name(name: &str, perm: &[usize]) -> String {
    let (base, all) = match permuted_source(name) {
        Some((base, first)) if first.len() == perm.len() => (base, permuted_shape(&first, perm)),
        _ => (name, perm.to_vec()),
    };
    if is_identity(&all) {
        return base.to_string();
    }
    let digits: Vec<String> = all.iter().map(ToString::to_string).collect();
    format!("{base}@{}", digits.join(","))
}

/// What [`permuted_name`] put together.
pub fn permuted_source(name: &str) -> Option<(&str, Vec<usize>)> {
    let (base, digits) = name.rsplit_once('@')?;
    let perm: Vec<usize> = digits.split(',').map(|d| d.parse().ok()).collect::<Option<_>>()?;
    let valid = (0..perm.len()).all(|a| perm.contains(&a));
    valid.then_some((base, perm))
}

fn permuted_shape<T: Clone>(shape: &[T], perm: &[usize]) -> Vec<T> {
    perm.iter().map(|&p| shape[p].clone()).collect()
}

fn inverse(perm: &[usize]) -> Vec<usize> {
    let mut inv = vec![0; perm.len()];
    perm.iter().enumerate().for_each(|(i, &p)| inv[p] = i);
    inv
}

fn is_identity(perm: &[usize]) -> bool {
    perm.iter().enumerate().all(|(i, &p)| i == p)
}

/// The permutation and the operand of a transpose.
fn transpose(e: &Editor, slot: usize) -> Option<(Vec<usize>, ValueId)> {
    let n = e.node(slot)?;
    let Op::Transpose(t) = &n.op else { return None };
    let x = (*n.inputs.first()?)?;
    Some((t.permutation(e.rank(x)).ok()?, x))
}

/// The transpose that computes a value.
fn transposed(e: &Editor, v: ValueId) -> Option<(Vec<usize>, ValueId)> {
    transpose(e, e.producer(v)?)
}

/// True when permuting a tensor of this shape leaves the order of its elements as it is.
fn moves_nothing(shape: &[Dim], perm: &[usize]) -> bool {
    let wide: Vec<usize> = perm.iter().copied().filter(|&p| shape[p].known() != Some(1)).collect();
    wide.is_sorted()
}

/// Transposes of transposes become one, or none.
fn compose(e: &mut Editor) {
    e.each(|e, slot| {
        let Some((perm, x)) = transpose(e, slot) else { return };
        let Some(name) = e.node(slot).map(|n| n.name.clone()) else { return };
        let (perm, source) = match transposed(e, x) {
            Some((first, source)) => (permuted_shape(&first, &perm), source),
            None => (perm, x),
        };
        let done = if is_identity(&perm) {
            e.merge(slot, source)
        } else {
            source != x && e.rewrite(slot, Transpose { perm }, &[Some(source)])
        };
        if done {
            e.note(name);
        }
    });
}

/// Cost of a transpose that moves memory.
const PHYSICAL: u64 = 1000;
/// Cost of one at the border of the graph, where the first or last kernel reads or writes either order.
const EDGE: u64 = 40;
/// Cost of one inside, beside an image in channel blocks: no more work, but it parts what could be fused.
const INNER: u64 = 60;
/// Cost of an op that works on rows of pixels where it could on blocks, and be fused.
const ROWS: u64 = 8;
/// Cost of one at the border of the graph beside a kernel that knows one order only: it moves memory.
const END: u64 = 400;
/// Cost of one that moves nothing.
const NOTHING: u64 = 2;

/// True for the permutation that brings the channels of an image to the front.
fn to_first(perm: &[usize]) -> bool {
    let rank = perm.len();
    (3..=5).contains(&rank) && perm[0] == 0 && perm[1] == rank - 1 && perm[2..].is_sorted()
}

/// True for the one that brings them to the end.
fn to_last(perm: &[usize]) -> bool {
    let rank = perm.len();
    (3..=5).contains(&rank) && perm[0] == 0 && perm[rank - 1] == 1 && perm[1..rank - 1].is_sorted()
}

/// Cost of permuting a value.
fn weight(e: &Editor, v: ValueId, shape: &[Dim], perm: &[usize], seen: bool) -> u64 {
    if is_identity(perm) {
        return 0;
    }
    if moves_nothing(shape, perm) {
        return NOTHING;
    }
    let (first, last) = (to_first(perm), to_last(perm));
    // Images of quantized numbers lie with channels innermost: a transpose only renames them.
    if matches!(e.dtype(v), DType::I8 | DType::U8 | DType::I16) && (first || last) {
        return NOTHING;
    }
    if e.dtype(v) != DType::F32 {
        return PHYSICAL;
    }
    // A value that lies in rows now would come in blocks with its axes in the other order.
    let blocked = || blocks::written(e, v) || blocks::beside(e, v);
    match (first, last) {
        (true, _) if e.is_input(v) && blocks::read(e, v) => EDGE,
        (true, _) if e.is_input(v) => END,
        (true, _) if blocks::wanted(e, v, perm) => INNER,
        (_, true) if blocked() && seen => EDGE,
        (_, true) if blocked() => INNER,
        (_, true) if seen => END,
        _ => PHYSICAL,
    }
}

/// Cost of all transposes; one in front of an op that could be permuted costs a little more, so that they sink.
fn cost(e: &Editor) -> u64 {
    let mut total = 0;
    for slot in e.order() {
        if e.node(slot).is_some_and(|n| blocks::beside(e, n.outputs[0])) {
            total += ROWS * 1000;
        }
        let (Some((perm, x)), Some(n)) = (transpose(e, slot), e.node(slot)) else { continue };
        let y = n.outputs[0];
        let back = inverse(&perm);
        let above = e.uses(y).iter().filter(|&&c| flipped(e, c, &back).is_some()).count() as u64;
        total += weight(e, x, e.shape(x), &perm, e.is_output(y)) * 1000 + above;
    }
    total
}

/// Permutes the ops whose permutation saves transposes. Tells whether anything changed.
fn relayout(e: &mut Editor) -> bool {
    let mut perms = BTreeSet::new();
    for slot in e.order() {
        if let Some((perm, _)) = transpose(e, slot) {
            perms.insert(inverse(&perm));
            perms.insert(perm);
        }
    }
    let mut changed = false;
    for perm in perms {
        let (chosen, saves) = choose(e, &perm);
        if !saves {
            continue;
        }
        let (before, copy) = (cost(e), e.clone());
        for slot in chosen {
            flip(e, slot, &perm);
        }
        compose(e);
        absorb::run(e);
        e.sweep();
        if cost(e) < before {
            changed = true;
        } else {
            *e = copy;
        }
    }
    changed
}

/// The nodes whose permutation is worth its while, in order.
fn choose(e: &Editor, perm: &[usize]) -> (Vec<usize>, bool) {
    let mut members: BTreeMap<usize, (usize, Flipped)> = BTreeMap::new();
    let mut net = Network::new();
    let mut stay = 0;
    let order = e.order();
    for &slot in &order {
        if let Some(f) = flipped(e, slot, perm) {
            members.insert(slot, (net.node(), f));
        }
    }
    let mut values: BTreeSet<ValueId> = BTreeSet::new();
    for (slot, (id, f)) in &members {
        for p in &f.parts {
            match p {
                Part::Permuted(v) | Part::Lifted(v) if e.constant(*v).is_some() => {}
                Part::Permuted(v) => {
                    values.insert(*v);
                }
                Part::Lifted(v) => net.edge(STAY, *id, weight(e, *v, &lifted_shape(e, *v, perm.len()), perm, false)),
                _ => {}
            }
        }
        let outputs = e.node(*slot).map_or(&[][..], |n| &n.outputs);
        values.extend(outputs.iter().copied());
        if to_last(perm) && blocks::written(e, outputs[0]) {
            net.edge(STAY, *id, ROWS);
        } else if to_first(perm) && blocks::beside(e, outputs[0]) {
            net.edge(*id, CHANGE, ROWS);
            stay += ROWS;
        }
    }
    for v in values {
        stay += value_costs(e, v, perm, &members, &mut net);
    }
    let (cut, changes) = net.cut();
    let chosen = order.into_iter().filter(|s| members.get(s).is_some_and(|m| changes[m.0])).collect();
    (chosen, cut < stay)
}

fn lifted_shape(e: &Editor, v: ValueId, rank: usize) -> Vec<Dim> {
    let shape = e.shape(v);
    std::iter::repeat_n(Dim::from(1), rank - shape.len()).chain(shape.iter().cloned()).collect()
}

/// Puts the costs of one value into the network; gives what it costs when everything stays.
fn value_costs(
    e: &Editor,
    v: ValueId,
    perm: &[usize],
    members: &BTreeMap<usize, (usize, Flipped)>,
    net: &mut Network,
) -> u64 {
    let back = inverse(perm);
    let shape = e.shape(v);
    let own = e.producer(v).and_then(|p| members.get(&p)).map(|m| m.0);
    let mut readers: Vec<usize> = Vec::new();
    let (mut fixed, mut stay, mut there) = (false, 0, false);
    for &c in e.uses(v) {
        let permuted = |f: &Flipped| f.parts.iter().any(|p| matches!(p, Part::Permuted(x) if *x == v));
        match members.get(&c) {
            Some((id, f)) if permuted(f) => readers.push(*id),
            _ => match (transpose(e, c), own) {
                (Some((q, _)), None) => {
                    there |= q == perm;
                    fixed = true;
                }
                (Some((q, _)), Some(own)) => {
                    let seen = e.node(c).is_some_and(|n| e.is_output(n.outputs[0]));
                    let (before, after) = (weight(e, v, shape, &q, seen), permuted_shape(&back, &q));
                    net.edge(own, CHANGE, before);
                    stay += before;
                    let changed = permuted_shape(shape, perm);
                    net.edge(STAY, own, weight(e, v, &changed, &after, seen));
                }
                (None, _) => fixed |= !absorb::takes(e, c, v, &back),
            },
        }
    }
    readers.sort_unstable();
    readers.dedup();
    let source = own.unwrap_or(STAY);
    // The permuted value, for readers that change.
    let (to, keeps) = match (own, transposed(e, v)) {
        (Some(_), _) => (weight(e, v, shape, perm, false) + 1, None),
        (None, Some((q, s))) => {
            let all = permuted_shape(&q, perm);
            let kept = weight(e, s, e.shape(s), &q, false) + 1;
            let w = weight(e, s, e.shape(s), &all, false);
            (if w == 0 { 0 } else { w + 1 }, (!fixed && !e.is_output(v)).then_some(kept))
        }
        (None, None) if there => (0, None),
        (None, None) if absorb::gives(e, v, perm) => (NOTHING, None),
        (None, None) => (weight(e, v, shape, perm, false) + 1, None),
    };
    if !readers.is_empty() {
        let any = net.node();
        net.edge(source, any, to);
        readers.iter().for_each(|&r| net.edge(any, r, NEVER));
    }
    // The value itself, for readers that stay.
    if let Some(own) = own {
        let changed = permuted_shape(shape, perm);
        let from = weight(e, v, &changed, &back, !fixed && e.is_output(v));
        if fixed || e.is_output(v) {
            net.edge(STAY, own, from);
        } else if !readers.is_empty() {
            let any = net.node();
            net.edge(any, own, from + 1);
            readers.iter().for_each(|&r| net.edge(r, any, NEVER));
        }
    } else if let Some(kept) = keeps.filter(|_| !readers.is_empty()) {
        let any = net.node();
        net.edge(any, CHANGE, kept);
        readers.iter().for_each(|&r| net.edge(r, any, NEVER));
        stay += kept;
    }
    stay
}

/// Replaces a node by its permuted form; its values become transposes of the permuted ones.
fn flip(e: &mut Editor, slot: usize, perm: &[usize]) {
    let Some(Flipped { op, parts }) = flipped(e, slot, perm) else { return };
    let Some(n) = e.node(slot) else { return };
    let (old, name) = (n.outputs.clone(), n.name.clone());
    let mut inputs = Vec::with_capacity(parts.len());
    for p in parts {
        inputs.push(match p {
            Part::Same(v) => v,
            Part::Constant(t) => Some(e.add_constant(&format!("{name}.permuted"), t)),
            Part::Permuted(v) | Part::Lifted(v) if e.constant(v).is_some() => match permuted_constant(e, v, perm) {
                Some(v) => Some(v),
                None => return,
            },
            Part::Permuted(v) => match permuted(e, slot, v, perm) {
                Some(v) => Some(v),
                None => return,
            },
            Part::Lifted(v) => match lifted(e, slot, v, perm.len()).and_then(|v| permuted(e, slot, v, perm)) {
                Some(v) => Some(v),
                None => return,
            },
        });
    }
    let names: Vec<String> = old.iter().map(|&v| permuted_name(e.name(v), perm)).collect();
    let Some(new) = e.add_many(slot, op, &inputs, &names) else { return };
    let alike = old.iter().zip(&new).all(|(&o, &n)| {
        let want = permuted_shape(e.shape(o), perm);
        e.dtype(o) == e.dtype(n)
            && want.len() == e.rank(n)
            && want.iter().zip(e.shape(n)).all(|(a, b)| a == b || a.known().is_none() || b.known().is_none())
    });
    if !alike {
        return;
    }
    let perm = inverse(perm);
    e.divert(slot, &new.iter().map(|&v| (Transpose { perm: perm.clone() }.into(), vec![Some(v)])).collect::<Vec<_>>());
    e.note(name);
}

fn permuted_constant(e: &mut Editor, v: ValueId, perm: &[usize]) -> Option<ValueId> {
    let t = e.constant(v)?;
    let missing = perm.len().checked_sub(t.rank())?;
    let shape: Vec<usize> = std::iter::repeat_n(1, missing).chain(t.shape().iter().copied()).collect();
    let t = permute::permuted_tensor(&t.reshaped(&shape).ok()?, perm)?;
    Some(e.derive_constant(v, t))
}

/// A value with as many axes of extent 1 in front as it lacks.
fn lifted(e: &mut Editor, slot: usize, v: ValueId, rank: usize) -> Option<ValueId> {
    let missing = rank.checked_sub(e.rank(v))?;
    let title = format!("{}:lifted", e.name(v));
    let axes: Vec<i64> = (0..missing as i64).collect();
    let axes = e.add_constant("axes", Tensor::vector(&axes));
    e.add(slot, Unsqueeze {}, &[Some(v), Some(axes)], &title)
}

/// A value with its axes permuted: what is there already, or a new transpose.
fn permuted(e: &mut Editor, slot: usize, v: ValueId, perm: &[usize]) -> Option<ValueId> {
    let (all, source) = match transposed(e, v) {
        Some((first, source)) => (permuted_shape(&first, perm), source),
        None => (perm.to_vec(), v),
    };
    if is_identity(&all) {
        return Some(source);
    }
    let there = e.uses(source).iter().copied().find(|&c| transpose(e, c).is_some_and(|t| t == (all.clone(), source)));
    if let Some(n) = there.and_then(|c| e.node(c)) {
        return n.outputs.first().copied();
    }
    let name = permuted_name(e.name(source), &all);
    e.add(slot, Transpose { perm: all }, &[Some(source)], &name)
}

/// Transposes that move nothing become reshapes.
pub(super) fn to_reshape(e: &mut Editor) {
    e.each(|e, slot| {
        let Some((perm, x)) = transpose(e, slot) else { return };
        let Some((name, y)) = e.node(slot).map(|n| (n.name.clone(), n.outputs[0])) else { return };
        if !moves_nothing(e.shape(x), &perm) {
            return;
        }
        let done = match reshape::target(e.shape(x), e.shape(y)) {
            Some(target) => {
                let shape = e.add_constant("shape", Tensor::vector(&target));
                e.rewrite(slot, Reshape::default(), &[Some(x), Some(shape)])
            }
            None => squeeze_and_back(e, slot, x, y),
        };
        if done {
            e.note(name);
        }
    });
}

/// Axes of extent 1 go and come back in their new places: for shapes with several symbols.
fn squeeze_and_back(e: &mut Editor, slot: usize, x: ValueId, y: ValueId) -> bool {
    let ones = |e: &Editor, v: ValueId| -> Vec<i64> {
        let each = e.shape(v).iter().enumerate();
        each.filter(|(_, d)| d.known() == Some(1)).map(|(i, _)| i as i64).collect()
    };
    let (from, to) = (ones(e, x), ones(e, y));
    let from = e.add_constant("axes", Tensor::vector(&from));
    let to = e.add_constant("axes", Tensor::vector(&to));
    let title = format!("{}:squeezed", e.name(x));
    let Some(bare) = e.add(slot, Squeeze {}, &[Some(x), Some(from)], &title) else { return false };
    e.rewrite(slot, Unsqueeze {}, &[Some(bare), Some(to)])
}
