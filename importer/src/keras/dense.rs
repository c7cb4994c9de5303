//! Dense layers and embeddings.

use pocketnn::ops::dense::{Dense, Einsum};
use pocketnn::ops::elementwise::BinaryKind;
use pocketnn::ops::gather::Gather;
use pocketnn::{DType, ValueId};

use super::activation::finish;
use super::call::{Cx, Val, one, permute};
use super::model::Layer;
use super::rows::Row;
use super::weights::Slot;
use crate::error::{ImportError, Result};

/// Rows of this family.
pub const ROWS: &[Row] = &[
    Row::new(&["Dense", "TimeDistributedDense"], kernel_slots, dense).masked(),
    Row::new(&["EinsumDense"], einsum_slots, einsum_dense),
    Row::new(&["Embedding"], embedding_slots, embedding),
];

/// `kernel` and, unless the configuration says otherwise, `bias`.
pub fn kernel_slots(layer: &Layer, _: u8) -> Result<Vec<Slot>> {
    let bias = layer.config.get("use_bias").and_then(serde_json::Value::as_bool).unwrap_or(true);
    let mut slots = vec![Slot::new("kernel")];
    if bias {
        slots.push(Slot::new("bias"));
    }
    Ok(slots)
}

/// `x W + b` over the last axis; `w` is `[K, O]`.
pub fn product(cx: &mut Cx<'_, '_>, x: ValueId, w: &super::hdf5::Array, b: Option<ValueId>) -> Result<ValueId> {
    let w = permute(w, &[1, 0])?;
    let w = cx.array("kernel", w)?;
    cx.node1(Dense::default(), &[Some(x), Some(w), b])
}

fn dense(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.x()?;
    let units = cx.config.usize("units")?;
    let kernel = cx.weight("kernel", 2)?;
    let rows = kernel.shape.first().copied().unwrap_or(0);
    let kernel = cx.shaped("kernel", &[rows, units])?;
    let bias = if cx.config.bool("use_bias", true)? {
        let bias = cx.shaped("bias", &[units])?;
        Some(cx.array("bias", bias)?)
    } else {
        None
    };
    let y = product(cx, x, &kernel, bias)?;
    one(finish(cx, y, -1)?)
}

fn einsum_slots(layer: &Layer, _: u8) -> Result<Vec<Slot>> {
    let mut slots = vec![Slot::new("kernel")];
    if layer.config.get("bias_axes").is_some_and(|b| b.as_str().is_some_and(|b| !b.is_empty())) {
        slots.push(Slot::new("bias"));
    }
    Ok(slots)
}

fn einsum_dense(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.x()?;
    let equation = cx.config.text("equation", "")?;
    let axes = cx.config.text("bias_axes", "")?;
    cx.config.ignore(&["output_shape"]);
    let kernel_rank = equation.split(',').nth(1).and_then(|r| r.split("->").next()).map_or(0, |k| k.trim().len());
    let kernel = cx.weight("kernel", kernel_rank)?;
    let kernel = cx.array("kernel", kernel)?;
    let mut y = cx.op(Einsum { equation: equation.clone() }, &[x, kernel])?;
    if !axes.is_empty() {
        let bias = cx.weight("bias", axes.chars().count())?;
        let output: Vec<char> =
            equation.split("->").nth(1).unwrap_or("").trim().chars().filter(|c| *c != '.').collect();
        // The bias's axes keep their order; axes of the output it lacks have extent 1.
        let mut extents = axes.chars().zip(bias.shape.iter().copied());
        let mut next = extents.next();
        let mut shape = Vec::new();
        for c in output {
            match next {
                Some((axis, d)) if axis == c => {
                    shape.push(d);
                    next = extents.next();
                }
                _ => shape.push(1),
            }
        }
        if next.is_some() {
            return Err(
                ImportError::unsupported("bias axes in another order than the output's").at_attribute("bias_axes")
            );
        }
        let bias = cx.constant("bias", &shape, bias.data)?;
        y = cx.binary(BinaryKind::Add, y, bias)?;
    }
    one(finish(cx, y, -1)?)
}

fn embedding_slots(_: &Layer, _: u8) -> Result<Vec<Slot>> {
    Ok(vec![Slot::new("embeddings")])
}

fn embedding(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.input()?.id;
    let width = cx.config.usize("output_dim")?;
    let rows = cx.config.usize("input_dim")?;
    let mask_zero = cx.config.bool("mask_zero", false)?;
    let table = cx.shaped("embeddings", &[rows, width])?;
    let table = cx.array("embeddings", table)?;
    let indices = cx.cast(x, DType::I32)?;
    let y = cx.op(Gather { axis: 0 }, &[table, indices])?;
    let mask = if mask_zero {
        let zero = cx.scalar_like(0.0, indices)?;
        Some(cx.binary(BinaryKind::Ne, indices, zero)?)
    } else {
        None
    };
    Ok(vec![Val { id: y, mask }])
}
