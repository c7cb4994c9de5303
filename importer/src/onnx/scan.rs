//! Loops over the slices of tensors and the elements of sequences.

use pocketnn::Tensor;
use pocketnn::ops::gather::Gather;
use pocketnn::ops::movement::{Reverse, Shape, Transpose};

use super::control::{Round, collect, looped, stacked, tensors};
use super::elem::Elem;
use super::list::{Items, element_at, inserted, length, listed};
use super::node::{Lowered, Node, V, Value};
use super::proto::Graph;
use super::registry::{Row, op};
use crate::error::{ImportError, Result};

pub(super) const ROWS: &[Row] =
    &[op("Scan", &[8, 9, 11, 16, 19, 21, 23, 24, 25], scan), op("SequenceMap", &[17], sequence_map)];

/// Number `i` of a list attribute, or 0.
fn listed_number(list: Option<&Vec<i64>>, i: usize) -> i64 {
    list.and_then(|l| l.get(i)).copied().unwrap_or(0)
}

fn scan(cx: &mut Node) -> Result<Lowered> {
    let body = cx.attrs.graph("body")?;
    let scanned = cx.attrs.opt_int("num_scan_inputs")?.and_then(|n| usize::try_from(n).ok()).filter(|&n| n > 0);
    let scanned = scanned.ok_or_else(|| super::attrs::missing("num_scan_inputs"))?;
    let old = cx.since < 9;
    // Opset 8 has a batch axis in front and an operand for lengths.
    let skip = usize::from(old);
    if old && cx.maybe(0)?.is_some() {
        return Err(ImportError::unsupported("sequences of different lengths are not supported in Scan"));
    }
    let states =
        cx.len().checked_sub(scanned.saturating_add(skip)).ok_or_else(|| ImportError::invalid("too few inputs"))?;
    let directions = if old { cx.attrs.ints("directions")? } else { cx.attrs.ints("scan_input_directions")? };
    let in_axes = cx.attrs.ints("scan_input_axes")?;
    let out_directions = cx.attrs.ints("scan_output_directions")?;
    let out_axes = cx.attrs.ints("scan_output_axes")?;
    if old {
        return scan_batches(cx, body, states, scanned, directions.as_ref());
    }
    let mut state = Vec::new();
    let mut sequences = Vec::new();
    for i in 0..cx.len() {
        if i < states {
            state.push(cx.input(i)?.into());
        } else {
            let k = i.saturating_sub(states);
            let v = cx.input(i)?;
            let axis = cx.axis(listed_number(in_axes.as_ref(), k), cx.rank(v))?;
            sequences.push((v, axis, listed_number(directions.as_ref(), k) != 0));
        }
    }
    let count = body.outputs.len().saturating_sub(states);
    let axes: Vec<(i64, bool)> = (0..count)
        .map(|i| (listed_number(out_axes.as_ref(), i), listed_number(out_directions.as_ref(), i) != 0))
        .collect();
    scan_one(cx, body, state, &sequences, &axes)
}

fn scan_one(
    cx: &mut Node,
    body: &Graph,
    mut state: Vec<Value>,
    sequences: &[(V, usize, bool)],
    axes: &[(i64, bool)],
) -> Result<Lowered> {
    let (first, axis, _) = sequences.first().copied().ok_or_else(|| ImportError::invalid("too few inputs"))?;
    let Some(rounds) = cx.extent(first, axis).filter(|&n| n > 0) else {
        return scan_open(cx, body, state, sequences, axes);
    };
    let carried = state.len();
    let mut slices: Vec<Vec<V>> = vec![Vec::new(); body.outputs.len().saturating_sub(carried)];
    for round in 0..rounds {
        cx.walker.count_op()?;
        let mut inputs = std::mem::take(&mut state);
        for &(v, axis, reverse) in sequences {
            let at = if reverse { rounds.saturating_sub(round).saturating_sub(1) } else { round };
            inputs.push(slice(cx, v, axis, at)?.into());
        }
        let env = cx.env;
        let mut out = cx.walker.subgraph(body, env, inputs)?.into_iter();
        state.extend(out.by_ref().take(carried));
        collect(&mut slices, out)?;
    }
    stacked(cx, state, slices, axes, body)
}

/// A scan whose number of rounds is decided while running: a loop over positions.
fn scan_open(
    cx: &mut Node,
    body: &Graph,
    state: Vec<Value>,
    sequences: &[(V, usize, bool)],
    axes: &[(i64, bool)],
) -> Result<Lowered> {
    let carried = state.len();
    let level = cx.walker.level();
    let mut turned = Vec::with_capacity(sequences.len());
    for &(v, axis, reverse) in sequences {
        let axis = i64::try_from(axis).unwrap_or(0);
        let v = if reverse { cx.op(Reverse { axes: vec![axis] }, &[v.id], v.elem)? } else { v };
        turned.push((v, axis));
    }
    let (first, axis) = turned.first().copied().ok_or_else(|| ImportError::invalid("too few inputs"))?;
    let count = cx.op(Shape { start: axis, end: Some(axis.saturating_add(1)) }, &[first.id], Elem::I64)?;
    let count = cx.reshape(count, &[])?;
    let mut out = looped(cx, Some(count.id), None, state, &mut |cx, round, state| {
        let mut inputs = state;
        for &(v, axis) in &turned {
            let Value::Tensor(v) = cx.walker.localized(&v.into(), level)? else { continue };
            inputs.push(cx.op(Gather { axis }, &[v.id, round.id], v.elem)?.into());
        }
        let env = cx.env;
        let mut made = cx.walker.subgraph(body, env, inputs)?.into_iter();
        let state = made.by_ref().take(carried).collect();
        Ok(Round { go: None, state, slices: tensors(made)? })
    })?;
    for (value, &(axis, reverse)) in out.iter_mut().skip(carried).zip(axes) {
        if let Value::Tensor(v) = value {
            *value = arranged(cx, *v, axis, reverse)?.into();
        }
    }
    Ok(out)
}

/// Slices stacked along the first axis, put along another one.
fn arranged(cx: &mut Node, v: V, axis: i64, reverse: bool) -> Result<V> {
    let v = if reverse { cx.op(Reverse { axes: vec![0] }, &[v.id], v.elem)? } else { v };
    let rank = cx.rank(v);
    let axis = cx.axis(axis, rank)?;
    if axis == 0 {
        return Ok(v);
    }
    let mut perm: Vec<usize> = (1..rank).collect();
    perm.insert(axis, 0);
    cx.op(Transpose { perm }, &[v.id], v.elem)
}

/// One slice of an axis, without the axis.
fn slice(cx: &mut Node, v: V, axis: usize, at: usize) -> Result<V> {
    let index = cx.tensor(Tensor::scalar(i64::try_from(at).unwrap_or(i64::MAX)));
    cx.op(Gather { axis: i64::try_from(axis).unwrap_or(0) }, &[v.id, index], v.elem)
}

fn scan_batches(
    cx: &mut Node,
    body: &Graph,
    states: usize,
    scanned: usize,
    directions: Option<&Vec<i64>>,
) -> Result<Lowered> {
    let first = cx.input(1)?;
    let batches = cx.extent(first, 0).ok_or_else(|| {
        ImportError::unsupported("a Scan of opset 8 whose batch is decided while running is not supported")
            .help("give the batch dimension a fixed value")
    })?;
    let mut parts: Vec<Vec<V>> = Vec::new();
    for b in 0..batches {
        cx.walker.count_op()?;
        let mut state = Vec::new();
        let mut sequences = Vec::new();
        for i in 0..states.saturating_add(scanned) {
            let v = cx.input(i.saturating_add(1))?;
            let v = slice(cx, v, 0, b)?;
            if i < states {
                state.push(v.into());
            } else {
                sequences.push((v, 0, listed_number(directions, i.saturating_sub(states)) != 0));
            }
        }
        let out = scan_one(cx, body, state, &sequences, &[])?;
        parts.resize(out.len(), Vec::new());
        collect(&mut parts, out.into_iter())?;
    }
    stacked(cx, Vec::new(), parts, &[], body)
}

/// The body applied to each element of a sequence; further sequences give their elements of the same position, tensors stay.
fn sequence_map(cx: &mut Node) -> Result<Lowered> {
    let body = cx.attrs.graph("body")?;
    let outputs = body.outputs.len();
    let all_known = (0..cx.len()).all(|i| !matches!(cx.value(i), Some(Value::List(_))));
    if let (true, Some(Value::Sequence(first))) = (all_known, cx.value(0)) {
        let rounds = first.len();
        let mut lists: Vec<Vec<Value>> = vec![Vec::new(); outputs];
        for round in 0..rounds {
            cx.walker.count_op()?;
            let mut inputs = Vec::with_capacity(cx.len());
            for value in cx.inputs.iter().flatten() {
                inputs.push(match value {
                    Value::Sequence(list) => list.get(round).cloned().ok_or_else(|| {
                        ImportError::invalid("the sequences have different lengths").expected(rounds).found(list.len())
                    })?,
                    other => other.clone(),
                });
            }
            let env = cx.env;
            let out = cx.walker.subgraph(body, env, inputs)?;
            lists.iter_mut().zip(out).for_each(|(list, v)| list.push(v));
        }
        return Ok(lists.into_iter().map(Value::Sequence).collect());
    }
    let level = cx.walker.level();
    let first = listed(cx, 0)?;
    let count = length(cx, &first)?;
    let mut given = Vec::with_capacity(cx.len());
    for i in 0..cx.len() {
        let value = cx.value(i).cloned().ok_or_else(|| ImportError::invalid(format!("input {i} is missing")))?;
        given.push(match value {
            Value::Sequence(_) => Value::List(cx.walker.listed(&value)?),
            other => other,
        });
    }
    let empty = vec![Value::Sequence(Vec::new()); outputs];
    looped(cx, Some(count.id), None, empty, &mut |cx, round, state| {
        let mut inputs = Vec::with_capacity(given.len());
        for value in &given {
            let value = cx.walker.localized(value, level)?;
            inputs.push(match &value {
                Value::List(l) if l.items == Items::Sequence => element_at(cx, l, round.id)?,
                _ => value,
            });
        }
        let env = cx.env;
        let made = cx.walker.subgraph(body, env, inputs)?;
        let mut lists = Vec::with_capacity(made.len());
        for (list, value) in state.iter().zip(&made) {
            let Value::List(list) = list else { return Err(ImportError::invalid("a state that is no list")) };
            lists.push(inserted(cx, list, value, None)?);
        }
        Ok(Round { go: None, state: lists, slices: Vec::new() })
    })
}
