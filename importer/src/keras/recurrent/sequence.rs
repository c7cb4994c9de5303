//! A cell over all steps: by the runtime's op, or written out.

use pocketnn::ValueId;
use pocketnn::ops::activation::Activation;
use pocketnn::ops::movement::{Concat, Expand, Shape};
use pocketnn::ops::recurrent::{Direction, Gru, Lstm, Rnn};

use super::super::activation::Act;
use super::super::call::{Cx, int};
use super::super::hdf5::Array;
use super::cell::{Cell, Constants, Kind, step};
use crate::error::{ErrorKind, ImportError, Result};

/// Longest sequence whose steps are written out.
const MAX_STEPS: usize = 4096;

/// What a cell gives for a sequence.
#[derive(Clone, Debug, Default)]
pub struct Sequence {
    /// Outputs `[N, T, U]` aligned with the input.
    pub all: Option<ValueId>,
    /// Output of the last step that was computed, `[N, U]`.
    pub end: Option<ValueId>,
    /// Last states.
    pub states: Vec<ValueId>,
}

impl Sequence {
    /// Output of the last step.
    pub fn last(&self) -> Result<ValueId> {
        self.end.ok_or_else(|| ImportError::invalid("a recurrent layer without a step"))
    }
}

/// Runs a cell over `x [N, T, I]`.
pub fn run(
    cx: &mut Cx<'_, '_>,
    cell: &Cell,
    x: ValueId,
    mask: Option<ValueId>,
    initial: &[ValueId],
    backwards: bool,
    zero_masked: bool,
    all: bool,
) -> Result<Sequence> {
    cx.expect_rank(x, 3)?;
    if !initial.is_empty() && initial.len() != cell.states() {
        return Err(ImportError::invalid("another number of initial states")
            .expected(cell.states())
            .found(initial.len()));
    }
    if let (None, Some(activations)) = (mask, names(cell)) {
        match by_op(cx, cell, x, initial, backwards, activations) {
            Err(error) if error.kind() == ErrorKind::Unsupported => {}
            result => return result,
        }
    }
    written_out(cx, cell, x, mask, initial, backwards, zero_masked, all)
}

/// Activations as the ops name them, if they have no parameters.
fn names(cell: &Cell) -> Option<Vec<String>> {
    let name = |act: Act| match act {
        Act::Map(Activation::Sigmoid) => Some("sigmoid".to_owned()),
        Act::Map(Activation::Tanh) => Some("tanh".to_owned()),
        Act::Map(Activation::Relu) => Some("relu".to_owned()),
        _ => None,
    };
    Some(match cell.kind {
        Kind::Simple => vec![name(cell.act)?],
        Kind::Gru => vec![name(cell.gate)?, name(cell.act)?],
        Kind::Lstm => vec![name(cell.gate)?, name(cell.act)?, name(cell.act)?],
    })
}

/// Kernel `[I, G U]` as `[1, G U, I]` with the gates in the op's order.
fn gates_first(array: &Array, units: usize, order: &[usize]) -> Option<Array> {
    let [rows, width] = array.shape.as_slice() else { return None };
    let mut data = Vec::with_capacity(array.data.len());
    for &gate in order {
        for unit in 0..units {
            let column = gate.checked_mul(units)?.checked_add(unit)?;
            for row in 0..*rows {
                data.push(*array.data.get(row.checked_mul(*width)?.checked_add(column)?)?);
            }
        }
    }
    Some(Array { shape: vec![1, *width, *rows], data })
}

fn bias_in_order(cell: &Cell, order: &[usize]) -> Option<Vec<f32>> {
    let width = order.len().checked_mul(cell.units)?;
    if cell.bias.is_none() && cell.recurrent_bias.is_none() {
        return None;
    }
    let mut all = Vec::new();
    for bias in [&cell.bias, &cell.recurrent_bias] {
        match bias {
            Some(b) => {
                for &gate in order {
                    let start = gate.checked_mul(cell.units)?;
                    all.extend_from_slice(b.get(start..start.checked_add(cell.units)?)?);
                }
            }
            None => all.extend(std::iter::repeat_n(0.0, width)),
        }
    }
    Some(all)
}

fn by_op(
    cx: &mut Cx<'_, '_>,
    cell: &Cell,
    x: ValueId,
    initial: &[ValueId],
    backwards: bool,
    activations: Vec<String>,
) -> Result<Sequence> {
    let order: &[usize] = match cell.kind {
        Kind::Simple => &[0],
        Kind::Gru => &[0, 1, 2],
        Kind::Lstm => &[0, 3, 1, 2],
    };
    let wrong = || ImportError::invalid("kernels of different shapes");
    let w = gates_first(&cell.kernel, cell.units, order).ok_or_else(wrong)?;
    let r = gates_first(&cell.recurrent, cell.units, order).ok_or_else(wrong)?;
    let w = cx.array("kernel", w)?;
    let r = cx.array("recurrent_kernel", r)?;
    let b = bias_in_order(cell, order).map(|b| cx.constant("bias", &[1, b.len()], b)).transpose()?;
    let h0 = initial.first().map(|&h| cx.unsqueeze(h, &[0])).transpose()?;
    let c0 = initial.get(1).map(|&c| cx.unsqueeze(c, &[0])).transpose()?;
    let x = cx.transpose(x, &[1, 0, 2])?;
    let direction = if backwards { Direction::Reverse } else { Direction::Forward };
    let hidden = cell.units;
    let inputs = [Some(x), Some(w), Some(r), b, None, h0, c0];
    let outputs = match cell.kind {
        Kind::Simple => {
            cx.node(Rnn { direction, hidden, activations, ..Rnn::default() }, inputs.get(..6).unwrap_or(&inputs), 2)?
        }
        Kind::Gru => {
            let op = Gru { direction, hidden, activations, linear_before_reset: cell.reset_after, ..Gru::default() };
            cx.node(op, inputs.get(..6).unwrap_or(&inputs), 2)?
        }
        Kind::Lstm => cx.node(Lstm { direction, hidden, activations, ..Lstm::default() }, &inputs, 3)?,
    };
    let (y, states) = outputs.split_first().ok_or_else(wrong)?;
    let y = cx.squeeze(*y, &[1])?;
    let all = cx.transpose(y, &[1, 0, 2])?;
    let states: Vec<ValueId> = states.iter().map(|&s| cx.squeeze(s, &[0])).collect::<Result<_>>()?;
    Ok(Sequence { all: Some(all), end: states.first().copied(), states })
}

/// Zeros `[N, U]` for the batch of `x`.
fn zeros(cx: &mut Cx<'_, '_>, x: ValueId, units: usize) -> Result<ValueId> {
    cx.lw.budget.made(&[units], 4, "zeros")?;
    let zero = cx.constant("zeros", &[1, units], vec![0.0; units])?;
    let batch = cx.op(Shape { start: 0, end: Some(1) }, &[x])?;
    let rest = cx.lw.b.integers(&[int(units)]);
    let shape = cx.op(Concat { axis: 0 }, &[batch, rest])?;
    cx.op(Expand {}, &[zero, shape])
}

fn written_out(
    cx: &mut Cx<'_, '_>,
    cell: &Cell,
    x: ValueId,
    mask: Option<ValueId>,
    initial: &[ValueId],
    backwards: bool,
    zero_masked: bool,
    all: bool,
) -> Result<Sequence> {
    let steps = cx.known(x, 1)?;
    if steps > MAX_STEPS {
        return Err(ImportError::unsupported("a long sequence whose steps must be written out")
            .expected(format!("at most {MAX_STEPS} steps"))
            .found(steps));
    }
    let constants = Constants::new(cx, cell)?;
    let projected = constants.project(cx, x)?;
    let mut states = initial.to_vec();
    while states.len() < cell.states() {
        states.push(zeros(cx, x, cell.units)?);
    }
    let zero = if mask.is_some() { Some(zeros(cx, x, cell.units)?) } else { None };
    let mut previous = zero;
    let mut outputs = Vec::new();
    let order: Vec<usize> = if backwards { (0..steps).rev().collect() } else { (0..steps).collect() };
    for t in order {
        let at = |cx: &mut Cx<'_, '_>, v: ValueId| -> Result<ValueId> {
            cx.slice(v, 1, int(t), int(t.saturating_add(1)), 1)
        };
        let z = at(cx, projected)?;
        let z = cx.squeeze(z, &[1])?;
        let mut next = step(cx, cell, &constants, z, &states)?;
        let mut output = next.first().copied();
        if let (Some(mask), Some(o), Some(before), Some(zero)) = (mask, output, previous, zero) {
            let keep = at(cx, mask)?;
            output = Some(cx.select(keep, o, if zero_masked { zero } else { before })?);
            let pairs: Vec<(ValueId, ValueId)> = next.iter().copied().zip(states.iter().copied()).collect();
            next = pairs.into_iter().map(|(new, old)| cx.select(keep, new, old)).collect::<Result<_>>()?;
            if !zero_masked {
                previous = output;
            }
        }
        states = next;
        outputs.extend(output);
    }
    let end = outputs.last().copied();
    let all = if all {
        if backwards {
            outputs.reverse();
        }
        let wide = outputs.iter().map(|&o| cx.unsqueeze(o, &[1])).collect::<Result<Vec<_>>>()?;
        Some(cx.concat(&wide, 1)?)
    } else {
        None
    };
    Ok(Sequence { all, end, states })
}
