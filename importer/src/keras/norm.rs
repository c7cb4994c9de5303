//! Normalisation.

use pocketnn::ValueId;
use pocketnn::ops::elementwise::{BinaryKind, UnaryKind};
use pocketnn::ops::norm::{BatchNorm, GroupNorm, LayerNorm};
use pocketnn::ops::reduce::ReduceKind;
use serde_json::Value;

use super::call::{Cx, Val, int, one};
use super::hdf5::Array;
use super::model::Layer;
use super::rows::Row;
use super::weights::Slot;
use crate::error::{ImportError, Result};

/// Rows of this family.
pub const ROWS: &[Row] = &[
    Row::new(&["BatchNormalization"], batch_slots, batch_norm).masked(),
    Row::new(&["LayerNormalization"], affine_slots, layer_norm).masked(),
    Row::new(&["GroupNormalization"], affine_slots, group_norm).masked(),
    Row::new(&["RMSNormalization"], rms_slots, rms_norm).masked(),
    Row::plain(&["UnitNormalization"], unit_norm).masked(),
    Row::new(&["LayerScale"], layer_scale_slots, layer_scale),
];

fn flag(layer: &Layer, key: &str) -> bool {
    layer.config.get(key).and_then(Value::as_bool).unwrap_or(true)
}

fn affine_slots(layer: &Layer, _: u8) -> Result<Vec<Slot>> {
    let rms = layer.config.get("rms_scaling").and_then(Value::as_bool) == Some(true);
    let mut slots = Vec::new();
    if flag(layer, "scale") || rms {
        slots.push(Slot::new("gamma"));
    }
    if flag(layer, "center") && !rms {
        slots.push(Slot::new("beta"));
    }
    Ok(slots)
}

fn batch_slots(layer: &Layer, version: u8) -> Result<Vec<Slot>> {
    let mut slots = affine_slots(layer, version)?;
    slots.extend([Slot::fixed("moving_mean"), Slot::fixed("moving_variance")]);
    Ok(slots)
}

/// One axis, also where it is written as a list of one.
fn one_axis(cx: &Cx<'_, '_>, x: ValueId) -> Result<usize> {
    let axes = cx.config.i64s("axis")?.unwrap_or_else(|| vec![-1]);
    match axes.as_slice() {
        [axis] => cx.axis(*axis, x),
        _ => Err(ImportError::unsupported("normalisation over several channel axes")
            .found(format!("{axes:?}"))
            .at_attribute("axis")),
    }
}

/// The axis moved to position 1 and, afterwards, back.
fn channels_to_one(cx: &mut Cx<'_, '_>, x: ValueId, axis: usize) -> Result<ValueId> {
    let rank = cx.rank(x);
    let perm: Vec<usize> = [0, axis].into_iter().chain((1..rank).filter(|&a| a != axis)).collect();
    cx.transpose(x, &perm)
}

fn channels_back(cx: &mut Cx<'_, '_>, x: ValueId, axis: usize) -> Result<ValueId> {
    let rank = cx.rank(x);
    let mut perm: Vec<usize> = std::iter::once(0).chain(2..rank).collect();
    perm.insert(axis.min(perm.len()), 1);
    cx.transpose(x, &perm)
}

fn batch_norm(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.x()?;
    if cx.config.i64_or("mode", 0)? == 1 {
        return Err(ImportError::unsupported("feature-wise statistics of the current batch").at_attribute("mode"));
    }
    let axis = one_axis(cx, x)?;
    if axis == 0 {
        return Err(ImportError::unsupported("normalisation over the batch axis").at_attribute("axis"));
    }
    let epsilon = cx.config.f32_or("epsilon", 1e-3)?;
    let mean = cx.weight("moving_mean", 1)?;
    let channels = mean.data.len();
    let variance = cx.shaped("moving_variance", &[channels])?;
    let constant = |x: f32| Array { shape: vec![channels], data: vec![x; channels] };
    let gamma = if cx.config.bool("scale", true)? { cx.shaped("gamma", &[channels])? } else { constant(1.0) };
    let beta = if cx.config.bool("center", true)? { cx.shaped("beta", &[channels])? } else { constant(0.0) };
    let x = channels_to_one(cx, x, axis)?;
    let gamma = cx.array("gamma", gamma)?;
    let beta = cx.array("beta", beta)?;
    let mean = cx.array("moving_mean", mean)?;
    let variance = cx.array("moving_variance", variance)?;
    let y = cx.op(BatchNorm { epsilon, ..BatchNorm::default() }, &[x, gamma, beta, mean, variance])?;
    one(channels_back(cx, y, axis)?)
}

/// The axes moved to the end, in order; the second result undoes it.
fn axes_to_end(cx: &mut Cx<'_, '_>, x: ValueId, axes: &[usize]) -> Result<(ValueId, Vec<usize>)> {
    let rank = cx.rank(x);
    let perm: Vec<usize> = (0..rank).filter(|a| !axes.contains(a)).chain(axes.iter().copied()).collect();
    let back: Vec<usize> = (0..rank).map(|a| perm.iter().position(|&p| p == a).unwrap_or(a)).collect();
    Ok((cx.transpose(x, &perm)?, back))
}

fn layer_norm(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.x()?;
    let axes = cx.config.i64s("axis")?.unwrap_or_else(|| vec![-1]);
    let axes: Vec<usize> = axes.iter().map(|&a| cx.axis(a, x)).collect::<Result<_>>()?;
    let epsilon = cx.config.f32_or("epsilon", 1e-3)?;
    let rms = cx.config.bool("rms_scaling", false)?;
    let (scale, center) = (cx.config.bool("scale", true)?, cx.config.bool("center", true)?);
    let gamma = if scale || rms { Some(cx.weight("gamma", axes.len())?) } else { None };
    let beta = if center && !rms { Some(cx.weight("beta", axes.len())?) } else { None };
    let gamma = gamma.map(|a| cx.array("gamma", a)).transpose()?;
    let beta = beta.map(|a| cx.array("beta", a)).transpose()?;
    let (x, back) = axes_to_end(cx, x, &axes)?;
    let y = if rms {
        // Keras divides by the root of the variance here and does not subtract the mean.
        let at: Vec<i64> = (1..=axes.len()).map(|i| int(i).saturating_neg()).collect();
        let mean = cx.reduce(ReduceKind::Mean, x, &at, true)?;
        let difference = cx.binary(BinaryKind::SquaredDifference, x, mean)?;
        let variance = cx.reduce(ReduceKind::Mean, difference, &at, true)?;
        let shifted = cx.with_scalar(BinaryKind::Add, variance, epsilon)?;
        let factor = cx.unary(UnaryKind::Rsqrt, shifted)?;
        let y = cx.binary(BinaryKind::Mul, x, factor)?;
        match gamma {
            Some(g) => cx.binary(BinaryKind::Mul, y, g)?,
            None => y,
        }
    } else {
        let axis = int(axes.len()).saturating_neg();
        cx.node1(LayerNorm { axis, epsilon, rms: false }, &[Some(x), gamma, beta])?
    };
    one(cx.transpose(y, &back)?)
}

fn group_norm(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.x()?;
    let axis = one_axis(cx, x)?;
    let epsilon = cx.config.f32_or("epsilon", 1e-3)?;
    let groups = cx.config.i64_or("groups", 32)?;
    let channels = cx.known(x, axis)?;
    let gamma = if cx.config.bool("scale", true)? { Some(cx.shaped("gamma", &[channels])?) } else { None };
    let beta = if cx.config.bool("center", true)? { Some(cx.shaped("beta", &[channels])?) } else { None };
    let gamma = gamma.map(|a| cx.array("gamma", a)).transpose()?;
    let beta = beta.map(|a| cx.array("beta", a)).transpose()?;
    let groups = usize::try_from(groups).unwrap_or(0);
    let x = channels_to_one(cx, x, axis)?;
    let y = cx.node1(GroupNorm { groups, epsilon }, &[Some(x), gamma, beta])?;
    one(channels_back(cx, y, axis)?)
}

fn rms_slots(_: &Layer, _: u8) -> Result<Vec<Slot>> {
    Ok(vec![Slot::new("scale")])
}

fn rms_norm(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.x()?;
    let axes = cx.config.i64s("axis")?.unwrap_or_else(|| vec![-1]);
    let axes: Vec<usize> = axes.iter().map(|&a| cx.axis(a, x)).collect::<Result<_>>()?;
    let epsilon = cx.config.f32_or("epsilon", 1e-6)?;
    let scale = cx.weight("scale", axes.len())?;
    let scale = cx.array("scale", scale)?;
    let (x, back) = axes_to_end(cx, x, &axes)?;
    let axis = int(axes.len()).saturating_neg();
    let y = cx.node1(LayerNorm { axis, epsilon, rms: true }, &[Some(x), Some(scale), None])?;
    one(cx.transpose(y, &back)?)
}

fn layer_scale_slots(_: &Layer, _: u8) -> Result<Vec<Slot>> {
    Ok(vec![Slot::new("gamma")])
}

/// ConvNeXt's factor for each channel, the last axis.
fn layer_scale(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.x()?;
    let channels = cx.config.usize("projection_dim")?;
    cx.config.ignore(&["init_values"]);
    let gamma = cx.shaped("gamma", &[channels])?;
    let gamma = cx.array("gamma", gamma)?;
    one(cx.binary(BinaryKind::Mul, x, gamma)?)
}

fn unit_norm(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.x()?;
    let axes = cx.config.i64s("axis")?.unwrap_or_else(|| vec![-1]);
    one(l2_normalize(cx, x, &axes)?)
}

/// `x / sqrt(max(sum(x^2), 1e-12))`.
pub fn l2_normalize(cx: &mut Cx<'_, '_>, x: ValueId, axes: &[i64]) -> Result<ValueId> {
    let sum = cx.reduce(ReduceKind::SumSquare, x, axes, true)?;
    let sum = cx.with_scalar(BinaryKind::Max, sum, 1e-12)?;
    let factor = cx.unary(UnaryKind::Rsqrt, sum)?;
    cx.binary(BinaryKind::Mul, x, factor)
}
