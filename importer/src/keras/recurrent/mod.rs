//! Recurrent layers.
//!
//! LSTM, GRU and SimpleRNN become the runtime's ops where their activations allow it. With a mask, or other activations, the steps are
//! written out one by one: a masked step keeps the states and repeats the last output. Gates of Keras are in the order i, f, c, o (LSTM) and
//! z, r, h (GRU); Keras 1 keeps one array a gate.

mod cell;
mod conv_lstm;
mod sequence;

use pocketnn::ValueId;
use pocketnn::ops::elementwise::BinaryKind;
use pocketnn::ops::movement::Reverse;
use serde_json::Value;

pub use cell::Cell;
use sequence::Sequence;

use super::call::{Cx, Item, Val, one};
use super::config::Config;
use super::lower::to_float;
use super::model::Layer;
use super::rows::Row;
use super::weights::{Slot, inside};
use super::wrapper::inner;
use crate::error::{ImportError, Result};
use crate::limits::Budget;

/// Rows of this family.
pub const ROWS: &[Row] = &[
    Row::new(&["LSTM", "GRU", "SimpleRNN", "RNN"], slots, recurrent),
    Row::new(&["Bidirectional"], bidirectional_slots, bidirectional),
    Row::new(&["ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"], conv_lstm::slots, conv_lstm::lower),
];

/// The cells of a layer with the folder of each one's arrays.
fn cells_of(layer: &Layer, version: u8) -> Result<Vec<(String, Layer)>> {
    if layer.class != "RNN" {
        return Ok(vec![("cell".to_owned(), layer.clone())]);
    }
    let cell = layer.config.get("cell").ok_or_else(|| super::config::missing("cell"))?;
    let list = match cell {
        Value::Array(list) => Some(list),
        other if other.get("class_name").and_then(Value::as_str) == Some("StackedRNNCells") => {
            other.pointer("/config/cells").and_then(Value::as_array)
        }
        _ => None,
    };
    let Some(list) = list else {
        return Ok(vec![("cell".to_owned(), inner(layer, "cell", version)?)]);
    };
    let cells: Vec<Layer> =
        list.iter().map(|v| Layer::parse(v, version, 1, &Budget::default())).collect::<Result<_>>()?;
    let names = super::weights::numbered(&cells);
    Ok(names.iter().map(|n| format!("cell/cells/{n}")).zip(cells).collect())
}

fn slots(layer: &Layer, version: u8) -> Result<Vec<Slot>> {
    let mut all = Vec::new();
    for (folder, cell) in cells_of(layer, version)? {
        all.extend(inside(&folder, cell::slots(&cell, version)?));
    }
    Ok(all)
}

/// How a layer runs over time.
struct Mode {
    cells: Vec<Cell>,
    backwards: bool,
    sequences: bool,
    states: bool,
    zero_masked: bool,
}

fn mode(cx: &mut Cx<'_, '_>, layer: &Layer, folder: &str) -> Result<Mode> {
    let version = cx.lw.version;
    let config = Config::new(layer.config.clone());
    config.ignore(&["dtype", "cell"]);
    let mut cells = Vec::new();
    for (path, cell) in cells_of(layer, version)? {
        let path = if folder.is_empty() { path } else { format!("{folder}/{path}") };
        if layer.class == "RNN" {
            let own = Config::new(cell.config.clone());
            own.ignore(&["dtype"]);
            cells.push(Cell::read(cx, &cell.class, &own, &path)?);
            own.finish()?;
        } else {
            cells.push(Cell::read(cx, &cell.class, &config, &path)?);
        }
    }
    let mode = Mode {
        cells,
        backwards: config.bool("go_backwards", false)?,
        sequences: config.bool("return_sequences", false)?,
        states: config.bool("return_state", false)?,
        zero_masked: config.bool("zero_output_for_mask", false)?,
    };
    config.finish()?;
    Ok(mode)
}

/// Runs all cells over the sequence. The result is aligned with the input's steps, whatever the direction.
fn run(
    cx: &mut Cx<'_, '_>,
    mode: &Mode,
    x: ValueId,
    mask: Option<ValueId>,
    initial: &[ValueId],
) -> Result<(Sequence, Vec<ValueId>)> {
    let mut states = Vec::new();
    let mut given = initial.iter().copied();
    let mut input = x;
    let mut sequence = Sequence::default();
    let last = mode.cells.len().saturating_sub(1);
    for (i, cell) in mode.cells.iter().enumerate() {
        let start: Vec<ValueId> = given.by_ref().take(if initial.is_empty() { 0 } else { cell.states() }).collect();
        let all = i < last || mode.sequences;
        sequence = sequence::run(cx, cell, input, mask, &start, mode.backwards, mode.zero_masked, all)?;
        states.extend(sequence.states.iter().copied());
        if let (true, Some(all)) = (i < last, sequence.all) {
            input = all;
        }
    }
    Ok((sequence, states))
}

fn reversed(cx: &mut Cx<'_, '_>, x: ValueId) -> Result<ValueId> {
    cx.op(Reverse { axes: vec![1] }, &[x])
}

/// Input and initial states: `x`, `[x, states..]`, or `initial_state=`.
fn inputs(cx: &mut Cx<'_, '_>) -> Result<(ValueId, Vec<ValueId>)> {
    let mut all = cx.tensors();
    if let Some(item) = cx.arg(usize::MAX, "initial_state") {
        item.tensors(&mut all);
    }
    if all.is_empty() {
        return Err(ImportError::invalid("the layer has no input"));
    }
    let first = all.remove(0).id;
    let name = cx.name.clone();
    let x = to_float(&mut cx.lw.b, first, &name)?;
    let mut states = Vec::new();
    for v in all {
        states.push(to_float(&mut cx.lw.b, v.id, &name)?);
    }
    Ok((x, states))
}

fn mask_of(cx: &Cx<'_, '_>) -> Option<ValueId> {
    match cx.arg(usize::MAX, "mask") {
        Some(Item::Tensor(v)) => Some(v.id),
        _ => cx.input().ok().and_then(|v| v.mask),
    }
}

fn recurrent(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let (x, initial) = inputs(cx)?;
    let mask = mask_of(cx);
    let layer = cx.layer;
    let mode = mode(cx, layer, "")?;
    let fields: Vec<String> = cx.config.map().keys().cloned().collect();
    cx.config.ignore(&fields.iter().map(String::as_str).collect::<Vec<_>>());
    let (sequence, states) = run(cx, &mode, x, mask, &initial)?;
    let mut outputs = Vec::new();
    match (mode.sequences, sequence.all) {
        (true, Some(all)) => {
            let all = if mode.backwards { reversed(cx, all)? } else { all };
            outputs.push(Val { id: all, mask });
        }
        _ => outputs.push(Val::new(sequence.last()?)),
    }
    if mode.states {
        outputs.extend(states.into_iter().map(Val::new));
    }
    Ok(outputs)
}

fn backward_layer(layer: &Layer, version: u8) -> Result<Layer> {
    if layer.config.get("backward_layer").is_some_and(|v| !v.is_null()) {
        return inner(layer, "backward_layer", version);
    }
    let mut copy = inner(layer, "layer", version)?;
    let forward = copy.config.get("go_backwards").and_then(Value::as_bool).unwrap_or(false);
    copy.config.insert("go_backwards".to_owned(), Value::Bool(!forward));
    Ok(copy)
}

fn bidirectional_slots(layer: &Layer, version: u8) -> Result<Vec<Slot>> {
    let mut all = inside("forward_layer", slots(&inner(layer, "layer", version)?, version)?);
    all.extend(inside("backward_layer", slots(&backward_layer(layer, version)?, version)?));
    Ok(all)
}

fn bidirectional(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let (x, initial) = inputs(cx)?;
    let mask = mask_of(cx);
    let version = cx.lw.version;
    let (one_way, other) = (inner(cx.layer, "layer", version)?, backward_layer(cx.layer, version)?);
    for layer in [&one_way, &other] {
        if !matches!(layer.class.as_str(), "LSTM" | "GRU" | "SimpleRNN" | "RNN") {
            return Err(ImportError::unsupported("a bidirectional layer around this class").found(&layer.class));
        }
    }
    let half = initial.len() / 2;
    let (first, second) = initial.split_at_checked(half).unwrap_or((&[], &[]));
    let forward = mode(cx, &one_way, "forward_layer")?;
    let backward = mode(cx, &other, "backward_layer")?;
    let (a, mut states) = run(cx, &forward, x, mask, first)?;
    let (b, more) = run(cx, &backward, x, mask, second)?;
    states.extend(more);
    let (left, right) = if forward.sequences {
        let missing = || ImportError::invalid("a recurrent layer without a sequence");
        (a.all.ok_or_else(missing)?, b.all.ok_or_else(missing)?)
    } else {
        (a.last()?, b.last()?)
    };
    cx.config.ignore(&["layer", "backward_layer"]);
    let mask = if forward.sequences { mask } else { None };
    let merged = match cx.config.get("merge_mode").map(|v| v.as_str().unwrap_or_default().to_owned()).as_deref() {
        None => None,
        Some("concat") => Some(cx.concat(&[left, right], -1)?),
        Some("sum") => Some(cx.binary(BinaryKind::Add, left, right)?),
        Some("mul") => Some(cx.binary(BinaryKind::Mul, left, right)?),
        Some("ave") => {
            let sum = cx.binary(BinaryKind::Add, left, right)?;
            Some(cx.with_scalar(BinaryKind::Mul, sum, 0.5)?)
        }
        Some(other) => {
            return Err(ImportError::unsupported("merge mode").found(format!("`{other}`")).at_attribute("merge_mode"));
        }
    };
    let mut outputs = match merged {
        Some(id) => vec![Val { id, mask }],
        None => vec![Val { id: left, mask }, Val { id: right, mask }],
    };
    if forward.states {
        outputs.extend(states.into_iter().map(Val::new));
    }
    Ok(outputs)
}

/// A value of one output, for the other files of this family.
fn single(id: ValueId) -> Result<Vec<Val>> {
    one(id)
}
