//! Rounding to a grid, as training for integer arithmetic simulates it.

use pocketnn::ops::activation::Activation;
use pocketnn::ops::elementwise::{BinaryKind, UnaryKind};

use super::node::{Lowered, Node, V, one};
use super::registry::{Row, op};
use crate::error::{ImportError, Result};

pub(super) const ROWS: &[Row] = &[
    op("FakeQuantWithMinMaxArgs", by_attributes),
    op("FakeQuantWithMinMaxVars", by_operands),
    op("FakeQuantWithMinMaxVarsPerChannel", by_operands),
];

/// Smallest and largest integer of the grid.
fn levels(cx: &Node) -> Result<(f32, f32)> {
    let bits = cx.attrs.int("num_bits", 8)?;
    let narrow = cx.attrs.flag("narrow_range", false)?;
    let bits = u32::try_from(bits).ok().filter(|b| (2..=16).contains(b)).ok_or_else(|| {
        ImportError::invalid("the number of bits").expected("2 to 16").found(bits).at_attribute("num_bits")
    })?;
    Ok((if narrow { 1.0 } else { 0.0 }, ((1u32 << bits) - 1) as f32))
}

/// Range moved so that 0 is on the grid, and the step.
#[derive(Clone, Copy)]
struct Grid {
    lo: f32,
    hi: f32,
    step: f32,
}

fn nudged(lo: f32, hi: f32, (first, last): (f32, f32)) -> Grid {
    let step = (hi - lo) / (last - first);
    let zero = first - lo / step;
    let zero = if zero < first {
        first
    } else if zero > last {
        last
    } else {
        zero.round()
    };
    Grid { lo: (first - zero) * step, hi: (last - zero) * step, step }
}

fn by_attributes<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let levels = levels(cx)?;
    let (lo, hi) = (cx.attrs.float("min", -6.0)?, cx.attrs.float("max", 6.0)?);
    let x = cx.input(0)?;
    let grid = nudged(lo, hi, levels);
    let clamped = cx.activate(Activation::Clamp { lo: grid.lo, hi: grid.hi }, x)?;
    one(rounded(cx, clamped, &[grid], &[])?)
}

/// Ranges are constants: one, or one for each channel of the last axis.
fn by_operands<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let levels = levels(cx)?;
    let (x, lo, hi) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
    cx.floats_only(x)?;
    let (Some(low), Some(high)) = (cx.const_floats(lo), cx.const_floats(hi)) else {
        return Err(ImportError::unsupported("a range computed while running is not supported"));
    };
    let shape = cx.known_shape(lo).unwrap_or_default();
    if low.len() != high.len() || shape.len() > 1 {
        return Err(ImportError::invalid("the ends of the range have different shapes"));
    }
    let grids: Vec<Grid> = low.iter().zip(&high).map(|(&lo, &hi)| nudged(lo, hi, levels)).collect();
    let ends = |f: fn(&Grid) -> f32| grids.iter().map(f).collect::<Vec<f32>>();
    let (lows, highs) = (ends(|g| g.lo), ends(|g| g.hi));
    let (lows, highs) = (cx.floats(&shape, lows)?, cx.floats(&shape, highs)?);
    let clamped = cx.binary(BinaryKind::Max, x, V { id: lows, elem: x.elem })?;
    let clamped = cx.binary(BinaryKind::Min, clamped, V { id: highs, elem: x.elem })?;
    one(rounded(cx, clamped, &grids, &shape)?)
}

/// `floor((x - lo) / step + 0.5) step + lo`
fn rounded(cx: &mut Node, x: V, grids: &[Grid], shape: &[usize]) -> Result<V> {
    let mut constant = |f: fn(&Grid) -> f32| -> Result<V> {
        let id = cx.floats(shape, grids.iter().map(f).collect())?;
        Ok(V { id, elem: x.elem })
    };
    let (lo, step, inverse) = (constant(|g| g.lo)?, constant(|g| g.step)?, constant(|g| 1.0 / g.step)?);
    let shifted = cx.binary(BinaryKind::Sub, x, lo)?;
    let scaled = cx.binary(BinaryKind::Mul, shifted, inverse)?;
    let half = cx.with_scalar(BinaryKind::Add, scaled, 0.5)?;
    let level = cx.unary(UnaryKind::Floor, half)?;
    let y = cx.binary(BinaryKind::Mul, level, step)?;
    cx.binary(BinaryKind::Add, y, lo)
}
