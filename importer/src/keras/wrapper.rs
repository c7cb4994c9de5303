//! Layers around a layer.

use serde_json::Value;

use pocketnn::{Dim, ValueId};

use super::call::{Cx, Item, Val, int, one};
use super::model::Layer;
use super::rows::{Row, slots};
use super::weights::{Slot, inside};
use crate::error::{ImportError, Result};
use crate::limits::Budget;

/// Rows of this family.
pub const ROWS: &[Row] = &[
    Row::new(&["TimeDistributed"], layer_slots, time_distributed).masked(),
    Row::new(&["SpectralNormalization"], layer_slots, around),
];

/// The layer in a field of the configuration.
pub fn inner(layer: &Layer, key: &str, version: u8) -> Result<Layer> {
    let value = layer.config.get(key).ok_or_else(|| super::config::missing(key))?;
    let mut inner = Layer::parse(value, version, 1, &Budget::default()).map_err(|e| e.at_attribute(key))?;
    inner.attach(&layer.own);
    if layer.config.get("trainable") == Some(&Value::Bool(false)) {
        inner.config.insert("trainable".to_owned(), Value::Bool(false));
    }
    Ok(inner)
}

fn layer_slots(layer: &Layer, version: u8) -> Result<Vec<Slot>> {
    Ok(inside("layer", slots(&inner(layer, "layer", version)?, version)?))
}

/// Lowers the inner layer on `x`; an unsupported one is the wrapper's error.
fn apply(cx: &mut Cx<'_, '_>, x: ValueId) -> Result<Val> {
    let layer = inner(cx.layer, "layer", cx.lw.version)?;
    let place = |e: ImportError| e.at_op(&layer.original).at_node(&layer.name);
    if let Some(error) = super::lower::refusal(&layer) {
        return Err(place(error));
    }
    let weights = cx.weights.scope("layer");
    let prefix = format!("{}/", cx.name);
    let outputs = cx.lw.layer(&layer, &weights, vec![Item::Tensor(Val::new(x))], Vec::new(), &prefix).map_err(place)?;
    let outputs = outputs.ok_or_else(|| place(ImportError::unsupported("the wrapped model is not supported")))?;
    outputs.first().copied().ok_or_else(|| place(ImportError::invalid("the wrapped layer has no output")))
}

/// The kernel in the file is the normalised one; only training changes it.
fn around(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.input()?.id;
    cx.config.ignore(&["power_iterations"]);
    one(apply(cx, x)?.id)
}

/// Time and batch become one axis: `[N, T, ..]` to `[N T, ..]` and back.
fn time_distributed(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.input()?.id;
    let shape = cx.shape(x);
    let steps = cx.known(x, 1)?;
    let rest = |shape: &[Dim], from: usize| -> Result<Vec<i64>> {
        let extents = shape.iter().skip(from).map(|d| d.known().map(int));
        extents.collect::<Option<_>>().ok_or_else(|| {
            ImportError::unsupported("a time-distributed layer on steps of unknown size")
                .help("give the model an Input of fixed size")
        })
    };
    let merged: Vec<i64> = std::iter::once(-1).chain(rest(&shape, 2)?).collect();
    let flat = cx.reshape(x, &merged)?;
    let y = apply(cx, flat)?.id;
    let apart: Vec<i64> = [-1, int(steps)].into_iter().chain(rest(&cx.shape(y), 1)?).collect();
    one(cx.reshape(y, &apart)?)
}
