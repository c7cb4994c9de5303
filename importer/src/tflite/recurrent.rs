//! Recurrent layers over whole sequences. State tensors start at 0: what they hold after a run is not kept.

use pocketnn::ValueId;
use pocketnn::ops::movement::{Concat, Squeeze, Unsqueeze};
use pocketnn::ops::recurrent::{Direction, Lstm, Rnn};

use super::dense::zeros;
use super::node::{Lowered, Node, Value, one};
use super::quantize;
use super::registry::{Row, both};
use crate::error::{ImportError, Result};

pub(super) const ROWS: &[Row] = &[
    both("BIDIRECTIONAL_SEQUENCE_LSTM", bidirectional_lstm),
    both("BIDIRECTIONAL_SEQUENCE_RNN", bidirectional_rnn),
    both("RNN", rnn_step),
    both("UNIDIRECTIONAL_SEQUENCE_LSTM", lstm),
    both("UNIDIRECTIONAL_SEQUENCE_RNN", rnn),
];

fn refuse(what: &str) -> ImportError {
    ImportError::unsupported(format!("{what} is not supported in a recurrent layer"))
        .help("export the layer unfused (as a loop), or in another format")
}

/// Refuses quantized activations: only weights may be stored in 8 bits.
fn float_only(cx: &Node) -> Result<()> {
    if cx.quantized() { Err(refuse("full-integer arithmetic")) } else { Ok(()) }
}

/// The name of a fused activation, as the runtime's recurrent ops write it.
fn activation(cx: &Node, field: usize) -> Result<&'static str> {
    match cx.options.choice(field)? {
        1 => Ok("relu"),
        4 => Ok("tanh"),
        other => Err(ImportError::unsupported("this activation is not supported in a recurrent layer")
            .expected("TANH or RELU")
            .found(format!("number {other}"))),
    }
}

/// `[N, T, I]` to `[T, N, I]`, and back.
fn time_first(cx: &mut Node, x: ValueId, time_major: bool) -> Result<ValueId> {
    cx.expect_rank(x, 3, "a sequence")?;
    if time_major { Ok(x) } else { cx.transpose(x, &[1, 0, 2]) }
}

/// Weights joined along axis 0, with a new axis for the direction in front.
fn stacked(cx: &mut Node, parts: &[ValueId]) -> Result<ValueId> {
    let joined = if let [only] = parts { *only } else { cx.op(Concat { axis: 0 }, parts)? };
    let axis = cx.integers(&[0]);
    cx.op(Unsqueeze::default(), &[joined, axis])
}

/// Output `y [T, 1, N, H]` without the direction, in the source's order of axes.
fn sequence(cx: &mut Node, y: ValueId, time_major: bool) -> Result<ValueId> {
    let axis = cx.integers(&[1]);
    let y = cx.op(Squeeze::default(), &[y, axis])?;
    time_first(cx, y, time_major)
}

/// Where the operands of one direction of an LSTM stand.
struct Slots {
    input: usize,
    recurrent: usize,
    peephole: usize,
    bias: usize,
    projection: usize,
    norm: Option<usize>,
}

/// One direction of an LSTM on `x [T, N, I]`; gates stand in the order i, f, c, o.
fn lstm_direction(cx: &mut Node, x: ValueId, slots: &Slots, direction: Direction, kind: &str) -> Result<ValueId> {
    let at = |start: usize, i: usize| start.saturating_add(i);
    if cx.maybe(slots.input)?.is_none() {
        return Err(refuse("a coupled input and forget gate"));
    }
    let norms = slots.norm.map_or(0..0, |n| n..at(n, 4));
    for i in (slots.projection..at(slots.projection, 2)).chain(norms) {
        if cx.maybe(i)?.is_some() {
            return Err(refuse(if i < at(slots.projection, 2) { "a projection" } else { "layer normalisation" }));
        }
    }
    // i, o, f, c as the runtime wants them.
    let order = [0, 3, 1, 2];
    let gates = |cx: &mut Node, start: usize| -> Result<Vec<ValueId>> {
        order.iter().map(|&g| quantize::weights(cx, at(start, g))).collect()
    };
    let (w, r) = (gates(cx, slots.input)?, gates(cx, slots.recurrent)?);
    let hidden = cx.need_extent(*r.first().ok_or_else(|| refuse("an LSTM without gates"))?, 0, "recurrent weights")?;
    let (w, r) = (stacked(cx, &w)?, stacked(cx, &r)?);
    let mut bias = Vec::new();
    for g in order {
        bias.push(match cx.maybe(at(slots.bias, g))? {
            Some(b) => b,
            None => zeros(cx, &[hidden])?,
        });
    }
    bias.push(zeros(cx, &[hidden.saturating_mul(4)])?);
    let b = stacked(cx, &bias)?;
    // Peepholes stand in the order i, f, o.
    let peep = (0..3).map(|g| cx.maybe(at(slots.peephole, g))).collect::<Result<Vec<_>>>()?;
    let p = if let &[Some(i), Some(f), Some(o)] = peep.as_slice() {
        Some(stacked(cx, &[i, o, f])?)
    } else if peep.iter().all(Option::is_none) {
        None
    } else {
        return Err(refuse("a part of the peepholes"));
    };
    let activations = ["sigmoid", kind, kind].map(str::to_owned).to_vec();
    let op = Lstm { direction, hidden, activations, ..Lstm::default() };
    let out = cx.emit(op, &[Some(x), Some(w), Some(r), Some(b), None, None, None, p], 3)?;
    out.first().copied().ok_or_else(|| ImportError::invalid("an op without output"))
}

/// Clips of the cell and the projection are refused where they are set.
fn no_clip(cx: &Node, fields: [usize; 2]) -> Result<()> {
    for f in fields {
        if cx.options.float(f)? != 0.0 {
            return Err(refuse("a clipped cell"));
        }
    }
    Ok(())
}

fn lstm(cx: &mut Node) -> Result<Lowered> {
    float_only(cx)?;
    let kind = activation(cx, 0)?;
    no_clip(cx, [1, 2])?;
    let time_major = cx.options.flag(3, false)?;
    cx.options.ignore(&[4]);
    if cx.options.flag(5, false)? {
        return Err(refuse("a diagonal recurrent matrix"));
    }
    let x = cx.input(0)?;
    let x = time_first(cx, x, time_major)?;
    let slots = Slots { input: 1, recurrent: 5, peephole: 9, bias: 12, projection: 16, norm: Some(20) };
    let y = lstm_direction(cx, x, &slots, Direction::Forward, kind)?;
    one(sequence(cx, y, time_major)?)
}

fn bidirectional_lstm(cx: &mut Node) -> Result<Lowered> {
    float_only(cx)?;
    let kind = activation(cx, 0)?;
    no_clip(cx, [1, 2])?;
    let (merge, time_major) = (cx.options.flag(3, false)?, cx.options.flag(4, true)?);
    cx.options.ignore(&[5]);
    for i in 39..48 {
        if cx.maybe(i)?.is_some() {
            return Err(refuse("an auxiliary input"));
        }
    }
    let x = cx.input(0)?;
    let x = time_first(cx, x, time_major)?;
    let forward = Slots { input: 1, recurrent: 5, peephole: 9, bias: 12, projection: 16, norm: None };
    let backward = Slots { input: 18, recurrent: 22, peephole: 26, bias: 29, projection: 33, norm: None };
    let a = lstm_direction(cx, x, &forward, Direction::Forward, kind)?;
    let b = lstm_direction(cx, x, &backward, Direction::Reverse, kind)?;
    both_directions(cx, a, b, merge, time_major)
}

/// Joined along the last axis, or apart.
fn both_directions(cx: &mut Node, a: ValueId, b: ValueId, merge: bool, time_major: bool) -> Result<Lowered> {
    let (a, b) = (sequence(cx, a, time_major)?, sequence(cx, b, time_major)?);
    if merge { one(cx.op(Concat { axis: -1 }, &[a, b])?) } else { Ok(vec![Value::Tensor(a), Value::Tensor(b)]) }
}

/// One direction of a simple recurrent layer; weights, recurrent weights and bias from operand `start` on.
fn rnn_direction(cx: &mut Node, x: ValueId, start: usize, direction: Direction, kind: &str) -> Result<ValueId> {
    let at = |i: usize| start.saturating_add(i);
    let (w, r) = (quantize::weights(cx, start)?, quantize::weights(cx, at(1))?);
    let hidden = cx.need_extent(r, 0, "recurrent weights")?;
    let bias = match cx.maybe(at(2))? {
        Some(b) => b,
        None => zeros(cx, &[hidden])?,
    };
    let none = zeros(cx, &[hidden])?;
    let (w, r, b) = (stacked(cx, &[w])?, stacked(cx, &[r])?, stacked(cx, &[bias, none])?);
    let op = Rnn { direction, hidden, activations: vec![kind.to_owned()], ..Rnn::default() };
    let out = cx.emit(op, &[Some(x), Some(w), Some(r), Some(b)], 2)?;
    out.first().copied().ok_or_else(|| ImportError::invalid("an op without output"))
}

fn rnn(cx: &mut Node) -> Result<Lowered> {
    float_only(cx)?;
    let time_major = cx.options.flag(0, false)?;
    let kind = activation(cx, 1)?;
    cx.options.ignore(&[2]);
    let x = cx.input(0)?;
    let x = time_first(cx, x, time_major)?;
    let y = rnn_direction(cx, x, 1, Direction::Forward, kind)?;
    one(sequence(cx, y, time_major)?)
}

fn bidirectional_rnn(cx: &mut Node) -> Result<Lowered> {
    float_only(cx)?;
    let time_major = cx.options.flag(0, false)?;
    let kind = activation(cx, 1)?;
    let merge = cx.options.flag(2, false)?;
    cx.options.ignore(&[3]);
    for i in 9..12 {
        if cx.maybe(i)?.is_some() {
            return Err(refuse("an auxiliary input"));
        }
    }
    let x = cx.input(0)?;
    let x = time_first(cx, x, time_major)?;
    let a = rnn_direction(cx, x, 1, Direction::Forward, kind)?;
    let b = rnn_direction(cx, x, 5, Direction::Reverse, kind)?;
    both_directions(cx, a, b, merge, time_major)
}

/// One step from a state of 0: a sequence of one.
fn rnn_step(cx: &mut Node) -> Result<Lowered> {
    float_only(cx)?;
    let kind = activation(cx, 0)?;
    cx.options.ignore(&[1]);
    let x = cx.input(0)?;
    cx.expect_rank(x, 2, "input 0")?;
    let axis = cx.integers(&[0]);
    let x = cx.op(Unsqueeze::default(), &[x, axis])?;
    let y = rnn_direction(cx, x, 1, Direction::Forward, kind)?;
    let axes = cx.integers(&[0, 1]);
    let y = cx.op(Squeeze::default(), &[y, axes])?;
    one(y)
}
