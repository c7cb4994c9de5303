//! Convolutional LSTM: the products of an LSTM are convolutions, that of the state with stride 1 and `same` padding.

use pocketnn::ValueId;
use pocketnn::ops::conv::{Conv, Pads};
use pocketnn::ops::elementwise::BinaryKind;

use super::super::activation::parse;
use super::super::call::{Cx, Val, int, permute};
use super::super::conv::{Window, spatial};
use super::super::dense::kernel_slots;
use super::super::hdf5::Array;
use super::super::model::Layer;
use super::super::weights::{Slot, inside};
use super::cell::lstm;
use super::{mask_of, single};
use crate::error::{ImportError, Result};

/// Arrays of the cell.
pub fn slots(layer: &Layer, version: u8) -> Result<Vec<Slot>> {
    let mut slots = kernel_slots(layer, version)?;
    slots.insert(1, Slot::new("recurrent_kernel"));
    Ok(inside("cell", slots))
}

/// `[k.., I, 4 F]` as `[4 F, I, k..]`.
fn outer_first(array: &Array, n: usize) -> Result<Array> {
    permute(array, &[n.saturating_add(1), n].into_iter().chain(0..n).collect::<Vec<_>>())
}

/// Lowers the layer; steps are written out.
pub fn lower(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let n = spatial(&cx.layer.class);
    if mask_of(cx).is_some() || cx.tensors().len() > 1 || cx.arg(usize::MAX, "initial_state").is_some() {
        return Err(ImportError::unsupported("a mask or initial states"));
    }
    let x = cx.x()?;
    cx.expect_rank(x, n.saturating_add(3))?;
    let first = cx.channels_first()?;
    let window = Window::of_conv(cx, n)?;
    let filters = cx.config.usize("filters")?;
    let version = cx.lw.version;
    let act = parse(cx.config.get("activation"), version)?;
    let gate = parse(cx.config.get("recurrent_activation"), version)?;
    let backwards = cx.config.bool("go_backwards", false)?;
    let sequences = cx.config.bool("return_sequences", false)?;
    let states_too = cx.config.bool("return_state", false)?;
    cx.config.ignore(&["zero_output_for_mask"]);
    let width = filters.saturating_mul(4);
    let kernel = cx.weight("cell/kernel", n.saturating_add(2))?;
    let recurrent = cx.weight("cell/recurrent_kernel", n.saturating_add(2))?;
    let kernel = outer_first(&kernel, n)?;
    let recurrent = outer_first(&recurrent, n)?;
    let bias = if cx.config.bool("use_bias", true)? { Some(cx.shaped("cell/bias", &[width])?) } else { None };
    let kernel = cx.array("kernel", kernel)?;
    let recurrent = cx.array("recurrent_kernel", recurrent)?;
    let bias = bias.map(|b| cx.array("bias", b)).transpose()?;
    let steps = cx.bounded(cx.known(x, 1)?, 4096, "steps")?;
    let mut state: Option<(ValueId, ValueId)> = None;
    let mut outputs = Vec::new();
    let order: Vec<usize> = if backwards { (0..steps).rev().collect() } else { (0..steps).collect() };
    for t in order {
        let part = cx.slice(x, 1, int(t), int(t.saturating_add(1)), 1)?;
        let part = cx.squeeze(part, &[1])?;
        let image = cx.to_first(part, first)?;
        let pads = window.pads(&cx.shape(image))?;
        let op = Conv { strides: window.strides.clone(), dilations: window.dilations.clone(), pads, ..Conv::default() };
        let mut sum = cx.node1(op, &[Some(image), Some(kernel), bias])?;
        if let Some((h, _)) = state {
            let own = cx.op(Conv { pads: Pads::SameUpper, ..Conv::default() }, &[h, recurrent])?;
            sum = cx.binary(BinaryKind::Add, sum, own)?;
        }
        let gates = (0..4usize)
            .map(|i| {
                cx.slice(sum, 1, int(i.saturating_mul(filters)), int(i.saturating_add(1).saturating_mul(filters)), 1)
            })
            .collect::<Result<Vec<_>>>()?;
        let gates = <[ValueId; 4]>::try_from(gates).map_err(|_| ImportError::invalid("a gate is missing"))?;
        let next = lstm(cx, act, gate, gates, state.map(|s| s.1))?;
        let [h, c] = <[ValueId; 2]>::try_from(next).map_err(|_| ImportError::invalid("a state is missing"))?;
        state = Some((h, c));
        outputs.push(cx.to_last(h, first)?);
    }
    let (h, c) = state.ok_or_else(|| ImportError::invalid("a sequence without steps"))?;
    let y = if sequences {
        let wide = outputs.iter().map(|&o| cx.unsqueeze(o, &[1])).collect::<Result<Vec<_>>>()?;
        cx.concat(&wide, 1)?
    } else {
        *outputs.last().ok_or_else(|| ImportError::invalid("a sequence without steps"))?
    };
    let mut all = single(y)?;
    if states_too {
        for s in [h, c] {
            all.push(Val::new(cx.to_last(s, first)?));
        }
    }
    Ok(all)
}
