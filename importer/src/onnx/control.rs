//! Control flow whose course is known while importing, and sequences and optionals, which exist only while importing.
//!
//! A loop whose number of rounds follows from constants and shapes is unrolled; a condition that is known chooses its branch.
//! Where it is not known but both branches give tensors of one type, both are computed and one is chosen.

use pocketnn::ops::elementwise::Where;
use pocketnn::ops::gather::Gather;
use pocketnn::ops::movement::{Concat, Split, Squeeze, Unsqueeze};

use super::elem::Elem;
use super::node::{Lowered, Node, V, Value, one};
use super::proto::Graph;
use super::registry::{Row, op};
use crate::error::{ImportError, Result};

pub(super) const ROWS: &[Row] = &[
    op("ConcatFromSequence", &[11], concat_from_sequence),
    op("If", &[1, 11, 13, 16, 19, 21, 23, 24, 25], branch),
    op("Loop", &[1, 11, 13, 16, 19, 21, 23, 24, 25], repeat),
    op("Optional", &[15, 28], optional),
    op("OptionalGetElement", &[15, 18, 28], optional_get),
    op("OptionalHasElement", &[15, 18, 28], optional_has),
    op("Scan", &[8, 9, 11, 16, 19, 21, 23, 24, 25], scan),
    op("SequenceAt", &[11], sequence_at),
    op("SequenceConstruct", &[11], sequence_construct),
    op("SequenceEmpty", &[11], sequence_empty),
    op("SequenceErase", &[11], sequence_erase),
    op("SequenceInsert", &[11], sequence_insert),
    op("SequenceLength", &[11], sequence_length),
    op("SplitToSequence", &[11, 24], split_to_sequence),
];

fn wrong_kind(i: usize, expected: &str) -> ImportError {
    ImportError::invalid(format!("input {i} is of another kind")).expected(expected)
}

/// The only element of a constant, as an integer.
fn known(cx: &Node, v: V) -> Option<i64> {
    cx.const_ints(v).and_then(|l| if let [x] = l.as_slice() { Some(*x) } else { None })
}

fn branch(cx: &mut Node) -> Result<Lowered> {
    let condition = cx.input(0)?;
    let (yes, no) = (cx.attrs.graph("then_branch")?, cx.attrs.graph("else_branch")?);
    let env = cx.env;
    if let Some(c) = known(cx, condition) {
        return cx.walker.subgraph(if c != 0 { yes } else { no }, env, Vec::new());
    }
    let a = cx.walker.subgraph(yes, env, Vec::new())?;
    let b = cx.walker.subgraph(no, env, Vec::new())?;
    if a.len() != b.len() {
        return Err(ImportError::invalid("the branches have different numbers of outputs")
            .expected(a.len())
            .found(b.len()));
    }
    let mut out = Vec::with_capacity(a.len());
    for (a, b) in a.into_iter().zip(b) {
        let (Value::Tensor(a), Value::Tensor(b)) = (a, b) else { return Err(undecided()) };
        if a.elem != b.elem || cx.shape(a) != cx.shape(b) {
            return Err(undecided());
        }
        let scalar = cx.reshape(condition, &[])?;
        out.push(cx.op(Where::default(), &[scalar.id, a.id, b.id], a.elem)?.into());
    }
    Ok(out)
}

fn undecided() -> ImportError {
    ImportError::unsupported(
        "a condition computed while running, whose branches give different types, is not supported",
    )
}

fn repeat(cx: &mut Node) -> Result<Lowered> {
    let body = cx.attrs.graph("body")?;
    let carried =
        cx.len().checked_sub(2).ok_or_else(|| ImportError::invalid("a loop needs a trip count and a condition"))?;
    let rounds = match cx.maybe(0)? {
        None => None,
        Some(v) => Some(known(cx, v).ok_or_else(unknown_course)?),
    };
    let mut go = match cx.maybe(1)? {
        None => true,
        Some(v) => known(cx, v).ok_or_else(unknown_course)? != 0,
    };
    let mut state: Vec<Value> = Vec::with_capacity(carried);
    for i in 2..cx.len() {
        state.push(cx.value(i).cloned().ok_or_else(|| ImportError::invalid(format!("input {i} is missing")))?);
    }
    let scans = body.outputs.len().checked_sub(carried.saturating_add(1)).ok_or_else(|| {
        ImportError::invalid("the body has too few outputs")
            .expected(carried.saturating_add(1))
            .found(body.outputs.len())
    })?;
    let mut slices: Vec<Vec<V>> = vec![Vec::new(); scans];
    let mut round = 0i64;
    while go && rounds.is_none_or(|n| round < n) {
        cx.walker.count_op()?;
        let number = cx.tensor(pocketnn::Tensor::scalar(round));
        let proceed = cx.tensor(pocketnn::Tensor::scalar(true));
        let mut inputs = vec![V { id: number, elem: Elem::I64 }.into(), V { id: proceed, elem: Elem::Bool }.into()];
        inputs.append(&mut state);
        let env = cx.env;
        let mut out = cx.walker.subgraph(body, env, inputs)?.into_iter();
        let Some(Value::Tensor(next)) = out.next() else {
            return Err(ImportError::invalid("the body's first output must be a truth value"));
        };
        state.extend(out.by_ref().take(carried));
        collect(&mut slices, out)?;
        round = round.saturating_add(1);
        if rounds.is_none_or(|n| round < n) {
            go = known(cx, next).ok_or_else(unknown_course)? != 0;
        }
    }
    stacked(cx, state, slices, &[], body)
}

fn unknown_course() -> ImportError {
    ImportError::unsupported("a loop whose number of rounds is computed while running is not supported")
        .help("give the inputs and dimensions that decide it fixed values")
}

fn collect(slices: &mut [Vec<V>], out: impl Iterator<Item = Value>) -> Result<()> {
    for (list, value) in slices.iter_mut().zip(out) {
        match value {
            Value::Tensor(v) => list.push(v),
            _ => return Err(wrong_kind(0, "a tensor to stack")),
        }
    }
    Ok(())
}

/// The last states, then the slices of each scanned output joined along its axis.
fn stacked(
    cx: &mut Node,
    state: Vec<Value>,
    slices: Vec<Vec<V>>,
    axes: &[(i64, bool)],
    body: &Graph,
) -> Result<Lowered> {
    let mut out = state;
    for (i, mut list) in slices.into_iter().enumerate() {
        let (axis, reverse) = axes.get(i).copied().unwrap_or((0, false));
        if reverse {
            list.reverse();
        }
        let Some(first) = list.first().copied() else {
            return Err(
                ImportError::unsupported("a loop of no rounds with scanned outputs is not supported").found(&body.name)
            );
        };
        let at = cx.integers(&[axis]);
        let mut parts = Vec::with_capacity(list.len());
        for v in list {
            parts.push(cx.op(Unsqueeze::default(), &[v.id, at], v.elem)?.id);
        }
        out.push(cx.op(Concat { axis }, &parts, first.elem)?.into());
    }
    Ok(out)
}

/// Number `i` of a list attribute, or 0.
fn listed(list: Option<&Vec<i64>>, i: usize) -> i64 {
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
            let axis = cx.axis(listed(in_axes.as_ref(), k), cx.rank(v))?;
            sequences.push((v, axis, listed(directions.as_ref(), k) != 0));
        }
    }
    let count = body.outputs.len().saturating_sub(states);
    let axes: Vec<(i64, bool)> =
        (0..count).map(|i| (listed(out_axes.as_ref(), i), listed(out_directions.as_ref(), i) != 0)).collect();
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
    let rounds = cx.extent(first, axis).ok_or_else(unknown_course)?;
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

/// One slice of an axis, without the axis.
fn slice(cx: &mut Node, v: V, axis: usize, at: usize) -> Result<V> {
    let index = cx.tensor(pocketnn::Tensor::scalar(i64::try_from(at).unwrap_or(i64::MAX)));
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
    let batches = cx.extent(first, 0).ok_or_else(unknown_course)?;
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
                sequences.push((v, 0, listed(directions, i.saturating_sub(states)) != 0));
            }
        }
        let out = scan_one(cx, body, state, &sequences, &[])?;
        parts.resize(out.len(), Vec::new());
        collect(&mut parts, out.into_iter())?;
    }
    stacked(cx, Vec::new(), parts, &[], body)
}

fn sequence<'a>(cx: &'a Node, i: usize) -> Result<&'a Vec<Value>> {
    match cx.value(i) {
        Some(Value::Sequence(list)) => Ok(list),
        _ => Err(wrong_kind(i, "a sequence")),
    }
}

/// A position in a sequence of `len` values, negative from the end.
fn position(cx: &Node, i: usize, len: usize) -> Result<Option<usize>> {
    let Some(v) = cx.maybe(i)? else { return Ok(None) };
    let at = known(cx, v).ok_or_else(|| {
        ImportError::unsupported("a position in a sequence that is computed while running is not supported")
    })?;
    let signed = i64::try_from(len).unwrap_or(i64::MAX);
    let index = if at < 0 { at.saturating_add(signed) } else { at };
    let index = usize::try_from(index).ok().filter(|&k| k <= len);
    index.map(Some).ok_or_else(|| {
        ImportError::invalid("a position outside the sequence").expected(format!("-{len} to {len}")).found(at)
    })
}

fn sequence_construct(cx: &mut Node) -> Result<Lowered> {
    let list = cx.all_inputs()?.into_iter().map(Value::Tensor).collect();
    Ok(vec![Value::Sequence(list)])
}

fn sequence_empty(cx: &mut Node) -> Result<Lowered> {
    cx.attrs.ignore(&["dtype"]);
    Ok(vec![Value::Sequence(Vec::new())])
}

fn sequence_at(cx: &mut Node) -> Result<Lowered> {
    let list = sequence(cx, 0)?;
    let at = position(cx, 1, list.len())?.and_then(|i| list.get(i)).cloned();
    at.map(|v| vec![v]).ok_or_else(|| {
        ImportError::invalid("a position outside the sequence").expected(format!("below {}", list.len()))
    })
}

fn sequence_insert(cx: &mut Node) -> Result<Lowered> {
    let mut list = sequence(cx, 0)?.clone();
    let value = cx.value(1).cloned().ok_or_else(|| ImportError::invalid("input 1 is missing"))?;
    let at = position(cx, 2, list.len())?.unwrap_or(list.len());
    list.insert(at.min(list.len()), value);
    Ok(vec![Value::Sequence(list)])
}

fn sequence_erase(cx: &mut Node) -> Result<Lowered> {
    let mut list = sequence(cx, 0)?.clone();
    let at = position(cx, 1, list.len())?.unwrap_or(list.len().saturating_sub(1));
    if at >= list.len() {
        return Err(ImportError::invalid("a position outside the sequence")
            .expected(format!("below {}", list.len()))
            .found(at));
    }
    list.remove(at);
    Ok(vec![Value::Sequence(list)])
}

fn sequence_length(cx: &mut Node) -> Result<Lowered> {
    let len = i64::try_from(sequence(cx, 0)?.len()).unwrap_or(i64::MAX);
    let id = cx.tensor(pocketnn::Tensor::scalar(len));
    one(V { id, elem: Elem::I64 })
}

fn concat_from_sequence(cx: &mut Node) -> Result<Lowered> {
    let axis = cx.attrs.opt_int("axis")?.ok_or_else(|| super::attrs::missing("axis"))?;
    let new_axis = cx.attrs.flag("new_axis", false)?;
    let mut list = Vec::new();
    for value in sequence(cx, 0)?.clone() {
        match value {
            Value::Tensor(v) => list.push(v),
            _ => return Err(wrong_kind(0, "a sequence of tensors")),
        }
    }
    let first = list.first().copied().ok_or_else(|| ImportError::invalid("the sequence is empty"))?;
    let mut parts = Vec::with_capacity(list.len());
    for v in list {
        parts.push(if new_axis {
            let at = cx.integers(&[axis]);
            cx.op(Unsqueeze::default(), &[v.id, at], v.elem)?.id
        } else {
            v.id
        });
    }
    one(cx.op(Concat { axis }, &parts, first.elem)?)
}

/// Parts of one extent each (without the axis unless `keepdims`), of a fixed extent, or of listed extents.
fn split_to_sequence(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    let axis = cx.attrs.int("axis", 0)?;
    let keep = cx.attrs.flag("keepdims", true)?;
    let at = cx.axis(axis, cx.rank(x))?;
    let extent = cx.extent(x, at).ok_or_else(|| {
        ImportError::unsupported("cutting an axis of unknown extent into a sequence is not supported")
    })?;
    let total = i64::try_from(extent).unwrap_or(i64::MAX);
    let sizes: Vec<i64> = match cx.maybe(1)? {
        None => {
            cx.walker.budget.entries(u64::try_from(extent).unwrap_or(u64::MAX), "parts of a sequence")?;
            vec![1; extent]
        }
        Some(v) => {
            let list = cx.need_ints(v, "the sizes of the parts")?;
            match list.as_slice() {
                [each] if cx.rank(v) == 0 && *each > 0 => {
                    let parts = total.checked_div(*each).and_then(|n| u64::try_from(n).ok()).unwrap_or(u64::MAX);
                    cx.walker.budget.entries(parts, "parts of a sequence")?;
                    let mut left = total;
                    let mut sizes = Vec::new();
                    while left > 0 {
                        sizes.push(left.min(*each));
                        left = left.saturating_sub(*each);
                    }
                    sizes
                }
                _ => list,
            }
        }
    };
    let squeeze = !keep && cx.maybe(1)?.is_none();
    let parts = cx.integers(&sizes);
    let ids = cx.emit(Split { axis }, &[Some(x.id), Some(parts)], sizes.len())?;
    let mut list = Vec::with_capacity(ids.len());
    for id in ids {
        let mut v = V { id, elem: x.elem };
        if squeeze {
            let axes = cx.integers(&[axis]);
            v = cx.op(Squeeze::default(), &[id, axes], x.elem)?;
        }
        list.push(v.into());
    }
    Ok(vec![Value::Sequence(list)])
}

fn optional(cx: &mut Node) -> Result<Lowered> {
    cx.attrs.ignore(&["type"]);
    Ok(vec![Value::Optional(cx.value(0).cloned().map(Box::new))])
}

fn optional_get(cx: &mut Node) -> Result<Lowered> {
    match cx.value(0) {
        Some(Value::Optional(Some(v))) => Ok(vec![(**v).clone()]),
        Some(Value::Optional(None)) | None => Err(ImportError::invalid("the optional is empty")),
        Some(other) => Ok(vec![other.clone()]),
    }
}

fn optional_has(cx: &mut Node) -> Result<Lowered> {
    let has = !matches!(cx.value(0), None | Some(Value::Optional(None)));
    let id = cx.tensor(pocketnn::Tensor::scalar(has));
    one(V { id, elem: Elem::Bool })
}
