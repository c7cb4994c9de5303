//! Cells: their arrays and one step of each.

use pocketnn::ValueId;
use pocketnn::ops::dense::Dense;
use pocketnn::ops::elementwise::BinaryKind;

use super::super::activation::{Act, apply, parse};
use super::super::call::{Cx, int, permute};
use super::super::config::Config;
use super::super::hdf5::Array;
use super::super::model::Layer;
use super::super::weights::Slot;
use crate::error::{ImportError, Result};

/// Which recurrence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `h = f(x W + h R + b)`.
    Simple,
    /// Gates i, f, c, o.
    Lstm,
    /// Gates z, r, h.
    Gru,
}

/// A cell with its arrays in Keras's order.
pub struct Cell {
    /// Which recurrence.
    pub kind: Kind,
    /// Hidden units `U`.
    pub units: usize,
    /// `[I, G U]`.
    pub kernel: Array,
    /// `[U, G U]`.
    pub recurrent: Array,
    /// `[G U]`.
    pub bias: Option<Vec<f32>>,
    /// `[G U]`, of the recurrent product (GRU with `reset_after`).
    pub recurrent_bias: Option<Vec<f32>>,
    /// Activation of the candidate and the output.
    pub act: Act,
    /// Activation of the gates.
    pub gate: Act,
    /// The reset gate multiplies after the product.
    pub reset_after: bool,
}

/// Gates in the order of Keras 1's arrays, and the position of each in Keras 2's kernels.
const OLD_LSTM: [(&str, usize); 4] = [("i", 0), ("c", 2), ("f", 1), ("o", 3)];
const OLD_GRU: [(&str, usize); 3] = [("z", 0), ("r", 1), ("h", 2)];

fn kind(class: &str) -> Result<Kind> {
    match class.trim_end_matches("Cell") {
        "SimpleRNN" => Ok(Kind::Simple),
        "LSTM" => Ok(Kind::Lstm),
        "GRU" => Ok(Kind::Gru),
        _ => Err(ImportError::unsupported("a recurrent cell without a lowering").found(class)),
    }
}

fn old_gates(kind: Kind) -> &'static [(&'static str, usize)] {
    match kind {
        Kind::Lstm => &OLD_LSTM,
        Kind::Gru => &OLD_GRU,
        Kind::Simple => &[],
    }
}

/// True if each gate has arrays of its own.
fn one_array_a_gate(kind: Kind, consume: Option<&str>, version: u8) -> bool {
    version == 1 && kind != Kind::Simple && consume != Some("gpu")
}

/// Arrays of a cell.
pub fn slots(layer: &Layer, version: u8) -> Result<Vec<Slot>> {
    let kind = kind(&layer.class)?;
    let consume = layer.config.get("consume_less").and_then(serde_json::Value::as_str);
    if one_array_a_gate(kind, consume, version) {
        let gates = old_gates(kind).iter();
        return Ok(gates.flat_map(|(g, _)| ["W", "U", "b"].map(|a| Slot::new(&format!("{a}_{g}")))).collect());
    }
    let mut slots = vec![Slot::new("kernel"), Slot::new("recurrent_kernel")];
    if layer.config.get("use_bias").and_then(serde_json::Value::as_bool).unwrap_or(true) {
        slots.push(Slot::new("bias"));
    }
    Ok(slots)
}

impl Cell {
    /// Reads configuration and arrays below `folder`.
    pub fn read(cx: &Cx<'_, '_>, class: &str, config: &Config, folder: &str) -> Result<Self> {
        let kind = kind(class)?;
        let version = cx.lw.version;
        let units = config.usize("units")?;
        let act =
            if config.has("activation") { parse(config.get("activation"), version)? } else { parse(None, version)? };
        let gate = parse(config.get("recurrent_activation"), version)?;
        let bias = config.bool("use_bias", true)?;
        let reset_after = config.bool("reset_after", false)?;
        let consume = config.text("consume_less", "cpu")?;
        let gates = match kind {
            Kind::Simple => 1,
            Kind::Lstm => 4,
            Kind::Gru => 3,
        };
        let width = units.saturating_mul(gates);
        let path = |slot: &str| format!("{folder}/{slot}");
        if one_array_a_gate(kind, Some(&consume), version) {
            let (kernel, recurrent, bias) = old_arrays(cx, kind, units, &path)?;
            return Ok(Self {
                kind,
                units,
                kernel,
                recurrent,
                bias: Some(bias),
                recurrent_bias: None,
                act,
                gate,
                reset_after: false,
            });
        }
        let kernel = cx.weight(&path("kernel"), 2)?;
        let inputs = kernel.shape.first().copied().unwrap_or(0);
        let kernel = cx.shaped(&path("kernel"), &[inputs, width])?;
        let recurrent = cx.shaped(&path("recurrent_kernel"), &[units, width])?;
        let (mut own, mut of_recurrent) = (None, None);
        if bias && kind == Kind::Gru && reset_after {
            let both = cx.shaped(&path("bias"), &[2, width])?;
            let (a, b) = both.data.split_at_checked(width).unwrap_or((&[], &[]));
            (own, of_recurrent) = (Some(a.to_vec()), Some(b.to_vec()));
        } else if bias {
            own = Some(cx.shaped(&path("bias"), &[width])?.data);
        }
        Ok(Self { kind, units, kernel, recurrent, bias: own, recurrent_bias: of_recurrent, act, gate, reset_after })
    }

    /// Number of states.
    pub fn states(&self) -> usize {
        if self.kind == Kind::Lstm { 2 } else { 1 }
    }
}

type Arrays = (Array, Array, Vec<f32>);

/// Arrays of single gates side by side.
fn old_arrays(cx: &Cx<'_, '_>, kind: Kind, units: usize, path: &impl Fn(&str) -> String) -> Result<Arrays> {
    let gates = old_gates(kind);
    let join = |prefix: &str, rank: usize| -> Result<Array> {
        let mut parts = Vec::new();
        for position in 0..gates.len() {
            let (gate, _) =
                gates.iter().find(|(_, p)| *p == position).ok_or_else(|| ImportError::invalid("a gate is missing"))?;
            let array = cx.weight(&path(&format!("{prefix}_{gate}")), rank)?;
            if array.shape.last() != Some(&units) {
                return Err(ImportError::invalid("a weight has another shape")
                    .expected(units)
                    .found(format!("{:?}", array.shape)));
            }
            parts.push(array);
        }
        let rows = if rank == 1 { 1 } else { parts.first().and_then(|p| p.shape.first()).copied().unwrap_or(0) };
        let mut data = Vec::new();
        for row in 0..rows {
            let start = row.saturating_mul(units);
            for part in &parts {
                let slice = part.data.get(start..start.saturating_add(units));
                data.extend_from_slice(slice.ok_or_else(|| ImportError::invalid("gates of different shapes"))?);
            }
        }
        let width = units.saturating_mul(gates.len());
        Ok(Array { shape: if rank == 1 { vec![width] } else { vec![rows, width] }, data })
    };
    Ok((join("W", 2)?, join("U", 2)?, join("b", 1)?.data))
}

/// The cell's arrays as constants, for steps that are written out.
pub struct Constants {
    kernel: ValueId,
    bias: Option<ValueId>,
    recurrent: ValueId,
    recurrent_bias: Option<ValueId>,
    /// The candidate's part of the recurrent kernel (GRU without `reset_after`).
    candidate: Option<ValueId>,
}

impl Constants {
    /// Adds the constants.
    pub fn new(cx: &mut Cx<'_, '_>, cell: &Cell) -> Result<Self> {
        let kernel = permute(&cell.kernel, &[1, 0])?;
        let kernel = cx.array("kernel", kernel)?;
        let all = permute(&cell.recurrent, &[1, 0])?;
        let width = all.shape.first().copied().unwrap_or(0);
        let early = cell.kind == Kind::Gru && !cell.reset_after;
        let cut = if early { cell.units.saturating_mul(2) } else { width };
        let (a, b) = all.data.split_at_checked(cut.saturating_mul(cell.units)).unwrap_or((&all.data, &[]));
        let recurrent = cx.constant("recurrent_kernel", &[cut, cell.units], a.to_vec())?;
        let candidate =
            if early { Some(cx.constant("candidate_kernel", &[cell.units, cell.units], b.to_vec())?) } else { None };
        let mut vector =
            |name: &str, v: &Option<Vec<f32>>| v.clone().map(|v| cx.constant(name, &[v.len()], v)).transpose();
        let bias = vector("bias", &cell.bias)?;
        let recurrent_bias = vector("recurrent_bias", &cell.recurrent_bias)?;
        Ok(Self { kernel, bias, recurrent, recurrent_bias, candidate })
    }

    /// `x W + b` of every step at once.
    pub fn project(&self, cx: &mut Cx<'_, '_>, x: ValueId) -> Result<ValueId> {
        cx.node1(Dense::default(), &[Some(x), Some(self.kernel), self.bias])
    }
}

/// Part `i` of `U` columns.
fn part(cx: &mut Cx<'_, '_>, x: ValueId, i: usize, units: usize) -> Result<ValueId> {
    let start = i.saturating_mul(units);
    cx.slice(x, 1, int(start), int(start.saturating_add(units)), 1)
}

/// One step: `z` is the projected input `[N, G U]`; gives the new states, output first.
pub fn step(
    cx: &mut Cx<'_, '_>,
    cell: &Cell,
    constants: &Constants,
    z: ValueId,
    states: &[ValueId],
) -> Result<Vec<ValueId>> {
    let missing = || ImportError::invalid("a recurrent layer without a state");
    let h = *states.first().ok_or_else(missing)?;
    let r = cx.node1(Dense::default(), &[Some(h), Some(constants.recurrent), constants.recurrent_bias])?;
    let u = cell.units;
    match cell.kind {
        Kind::Simple => {
            let sum = cx.binary(BinaryKind::Add, z, r)?;
            Ok(vec![apply(cx, cell.act, sum, -1)?])
        }
        Kind::Lstm => {
            let c = *states.get(1).ok_or_else(missing)?;
            let sum = cx.binary(BinaryKind::Add, z, r)?;
            let parts = (0..4).map(|i| part(cx, sum, i, u)).collect::<Result<Vec<_>>>()?;
            let [i, f, g, o] = <[ValueId; 4]>::try_from(parts).map_err(|_| missing())?;
            lstm(cx, cell.act, cell.gate, [i, f, g, o], Some(c))
        }
        Kind::Gru => {
            let gate = |cx: &mut Cx<'_, '_>, i: usize| -> Result<ValueId> {
                let (a, b) = (part(cx, z, i, u)?, part(cx, r, i, u)?);
                let sum = cx.binary(BinaryKind::Add, a, b)?;
                apply(cx, cell.gate, sum, -1)
            };
            let (update, reset) = (gate(cx, 0)?, gate(cx, 1)?);
            let from_state = if let Some(kernel) = constants.candidate {
                let kept = cx.binary(BinaryKind::Mul, reset, h)?;
                cx.op(Dense::default(), &[kept, kernel])?
            } else {
                let product = part(cx, r, 2, u)?;
                cx.binary(BinaryKind::Mul, reset, product)?
            };
            let own = part(cx, z, 2, u)?;
            let sum = cx.binary(BinaryKind::Add, own, from_state)?;
            let candidate = apply(cx, cell.act, sum, -1)?;
            // z h + (1 - z) c = c + z (h - c)
            let difference = cx.binary(BinaryKind::Sub, h, candidate)?;
            let change = cx.binary(BinaryKind::Mul, update, difference)?;
            Ok(vec![cx.binary(BinaryKind::Add, candidate, change)?])
        }
    }
}

/// `c' = f c + i g(c~)`, `h = o g(c')`; without a state `c` is 0.
pub fn lstm(cx: &mut Cx<'_, '_>, act: Act, gate: Act, sums: [ValueId; 4], c: Option<ValueId>) -> Result<Vec<ValueId>> {
    let [i, f, g, o] = sums;
    let input = apply(cx, gate, i, -1)?;
    let candidate = apply(cx, act, g, -1)?;
    let mut next = cx.binary(BinaryKind::Mul, input, candidate)?;
    if let Some(c) = c {
        let forget = apply(cx, gate, f, -1)?;
        let kept = cx.binary(BinaryKind::Mul, forget, c)?;
        next = cx.binary(BinaryKind::Add, kept, next)?;
    }
    let output = apply(cx, gate, o, -1)?;
    let active = apply(cx, act, next, -1)?;
    Ok(vec![cx.binary(BinaryKind::Mul, output, active)?, next])
}
