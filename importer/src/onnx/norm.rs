//! Normalisation.

use pocketnn::ops::elementwise::{BinaryKind, UnaryKind, Where};
use pocketnn::ops::movement::Expand;
use pocketnn::ops::norm::{BatchNorm, GroupNorm, LayerNorm, Lrn};
use pocketnn::ops::reduce::{Reduce, ReduceKind};

use super::attrs::missing;
use super::elem::Elem;
use super::node::{Lowered, Node, V, one};
use super::registry::{Row, op};
use crate::error::{ImportError, Result};

pub(super) const ROWS: &[Row] = &[
    op("BatchNormalization", &[1, 6, 7, 9, 14, 15], batch),
    op("GroupNormalization", &[18, 21], group),
    op("InstanceNormalization", &[1, 6, 22], instance),
    op("LRN", &[1, 13], lrn),
    op("LayerNormalization", &[1, 17], layer),
    op("LpNormalization", &[1, 22], lp),
    op("MeanVarianceNormalization", &[9, 13], mean_variance),
    op("RMSNormalization", &[23], rms),
    // Of no version of the standard: exporters write it into the default domain.
    op("SimplifiedLayerNormalization", &[1], rms),
];

const EPSILON: f32 = 1e-5;

/// A reduction over axes that stay with extent 1.
pub(super) fn reduce(cx: &mut Node, kind: ReduceKind, x: V, axes: &[i64]) -> Result<V> {
    let axes = cx.integers(axes);
    cx.op(Reduce { kind, keep_dims: true, noop_with_empty_axes: true }, &[x.id, axes], x.elem)
}

/// Inference uses the stored statistics. In training mode (opset 14 on) those of the batch are computed and returned.
fn batch(cx: &mut Node) -> Result<Lowered> {
    // Opsets before 14 have no sign of training but more outputs; `is_test` is not set by exporters of inference models.
    cx.attrs.ignore(&["consumed_inputs", "is_test"]);
    let x = cx.input(0)?;
    cx.floats_only(x)?;
    let rest = [cx.input(1)?, cx.input(2)?, cx.input(3)?, cx.input(4)?];
    let epsilon = cx.attrs.float("epsilon", EPSILON)?;
    let momentum = cx.attrs.float("momentum", 0.9)?;
    let training = cx.attrs.flag("training_mode", false)?;
    let spatial = cx.attrs.flag("spatial", true)?;
    if training {
        return batch_training(cx, x, rest, epsilon, momentum);
    }
    cx.no_output_from(1, "the statistics of a batch are those of training")?;
    let [scale, bias, mean, variance] = rest;
    if spatial {
        let op = BatchNorm { epsilon, ..BatchNorm::default() };
        return one(cx.op(op, &[x.id, scale.id, bias.id, mean.id, variance.id], x.elem)?);
    }
    let inverse = inverse_root(cx, variance, epsilon)?;
    let centred = cx.binary(BinaryKind::Sub, x, mean)?;
    let factor = cx.binary(BinaryKind::Mul, inverse, scale)?;
    let y = cx.binary(BinaryKind::Mul, centred, factor)?;
    one(cx.binary(BinaryKind::Add, y, bias)?)
}

fn inverse_root(cx: &mut Node, variance: V, epsilon: f32) -> Result<V> {
    let epsilon = cx.scalar_like(variance, f64::from(epsilon))?;
    let raised = cx.binary(BinaryKind::Add, variance, epsilon)?;
    cx.unary(UnaryKind::Rsqrt, raised)
}

fn batch_training(cx: &mut Node, x: V, rest: [V; 4], epsilon: f32, momentum: f32) -> Result<Lowered> {
    let [scale, bias, mean, variance] = rest;
    let rank = cx.rank(x);
    let axes: Vec<i64> = (0i64..).take(rank).filter(|&a| a != 1).collect();
    let (m, centred) = centre(cx, x, &axes)?;
    let square = cx.unary(UnaryKind::Square, centred)?;
    let v = reduce(cx, ReduceKind::Mean, square, &axes)?;
    let inverse = inverse_root(cx, v, epsilon)?;
    let mut y = cx.binary(BinaryKind::Mul, centred, inverse)?;
    for (kind, operand) in [(BinaryKind::Mul, scale), (BinaryKind::Add, bias)] {
        let operand = along_channels(cx, operand, rank)?;
        y = cx.binary(kind, y, operand)?;
    }
    let mut out = vec![y.into()];
    for (old, new) in [(mean, m), (variance, v)] {
        let new = cx.reshape(new, &[-1])?;
        let (keep, take) = (cx.scalar_like(old, f64::from(momentum))?, cx.scalar_like(old, 1.0 - f64::from(momentum))?);
        let (a, b) = (cx.binary(BinaryKind::Mul, old, keep)?, cx.binary(BinaryKind::Mul, new, take)?);
        out.push(cx.binary(BinaryKind::Add, a, b)?.into());
    }
    Ok(out)
}

/// A vector of one number a channel, shaped to broadcast over an image of this rank.
pub(super) fn along_channels(cx: &mut Node, v: V, rank: usize) -> Result<V> {
    let mut shape = vec![-1];
    shape.resize(rank.saturating_sub(1).max(1), 1);
    cx.reshape(v, &shape)
}

/// The mean over axes, and `x` less it.
fn centre(cx: &mut Node, x: V, axes: &[i64]) -> Result<(V, V)> {
    let mean = reduce(cx, ReduceKind::Mean, x, axes)?;
    let centred = cx.binary(BinaryKind::Sub, x, mean)?;
    Ok((mean, centred))
}

fn instance(cx: &mut Node) -> Result<Lowered> {
    cx.attrs.ignore(&["consumed_inputs"]);
    let (x, scale, bias) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
    cx.floats_only(x)?;
    let epsilon = cx.attrs.float("epsilon", EPSILON)?;
    one(cx.op(GroupNorm { groups: 0, epsilon }, &[x.id, scale.id, bias.id], x.elem)?)
}

/// Scale and bias are one number a group in opset 18, one a channel from opset 21 on.
fn group(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    cx.floats_only(x)?;
    cx.attrs.ignore(&["stash_type"]);
    let epsilon = cx.attrs.float("epsilon", EPSILON)?;
    let groups = cx.attrs.opt_int("num_groups")?.ok_or_else(|| missing("num_groups"))?;
    let count = usize::try_from(groups).ok().filter(|&g| g > 0).ok_or_else(|| {
        ImportError::invalid("the number of groups").expected("at least 1").found(groups).at_attribute("num_groups")
    })?;
    let mut parameters = [cx.input(1)?, cx.input(2)?];
    if cx.since < 21 {
        let channels = cx.extent(x, 1).filter(|c| c.is_multiple_of(count)).ok_or_else(|| {
            ImportError::unsupported("the number of channels must be known and a multiple of the groups")
        })?;
        let each = i64::try_from(channels.checked_div(count).unwrap_or(1)).unwrap_or(1);
        for p in &mut parameters {
            let column = cx.reshape(*p, &[groups, 1])?;
            let shape = cx.integers(&[groups, each]);
            let table = cx.op(Expand::default(), &[column.id, shape], p.elem)?;
            *p = cx.reshape(table, &[-1])?;
        }
    }
    let [scale, bias] = parameters;
    one(cx.op(GroupNorm { groups: count, epsilon }, &[x.id, scale.id, bias.id], x.elem)?)
}

fn lrn(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    cx.floats_only(x)?;
    let size = cx.attrs.opt_int("size")?.ok_or_else(|| missing("size"))?;
    let size = usize::try_from(size).ok().filter(|&s| s > 0).ok_or_else(|| {
        ImportError::invalid("the number of channels").expected("at least 1").found(size).at_attribute("size")
    })?;
    let (alpha, beta) = (cx.attrs.float("alpha", 1e-4)?, cx.attrs.float("beta", 0.75)?);
    let bias = cx.attrs.float("bias", 1.0)?;
    one(cx.op(Lrn { size, alpha, beta, bias }, &[x.id], x.elem)?)
}

/// Mean and inverse deviation are outputs too; where they are wanted the normalisation is written out.
fn layer(cx: &mut Node) -> Result<Lowered> {
    let (x, scale, bias) = (cx.input(0)?, cx.input(1)?, cx.maybe(2)?);
    cx.floats_only(x)?;
    cx.attrs.ignore(&["stash_type"]);
    let (axis, epsilon) = (cx.attrs.int("axis", -1)?, cx.attrs.float("epsilon", EPSILON)?);
    if !cx.wants(1) && !cx.wants(2) {
        let op = LayerNorm { axis, epsilon, rms: false };
        return one(cx.op_with(op, &[Some(x.id), Some(scale.id), bias.map(|b| b.id)], x.elem)?);
    }
    let rank = cx.rank(x);
    let first = cx.axis(axis, rank)?;
    let axes: Vec<i64> = (0i64..).take(rank).skip(first).collect();
    let (mean, centred) = centre(cx, x, &axes)?;
    let square = cx.unary(UnaryKind::Square, centred)?;
    let variance = reduce(cx, ReduceKind::Mean, square, &axes)?;
    let inverse = inverse_root(cx, variance, epsilon)?;
    let mut y = cx.binary(BinaryKind::Mul, centred, inverse)?;
    y = cx.binary(BinaryKind::Mul, y, scale)?;
    if let Some(bias) = bias {
        y = cx.binary(BinaryKind::Add, y, bias)?;
    }
    // The statistics are float whatever the type of `x`.
    let (mean, inverse) = (cx.typed(mean.id, Elem::F32)?, cx.typed(inverse.id, Elem::F32)?);
    Ok(vec![y.into(), mean.into(), inverse.into()])
}

fn rms(cx: &mut Node) -> Result<Lowered> {
    let (x, scale) = (cx.input(0)?, cx.input(1)?);
    cx.floats_only(x)?;
    cx.attrs.ignore(&["stash_type"]);
    let (axis, epsilon) = (cx.attrs.int("axis", -1)?, cx.attrs.float("epsilon", EPSILON)?);
    one(cx.op(LayerNorm { axis, epsilon, rms: true }, &[x.id, scale.id], x.elem)?)
}

/// `(x - mean) / (deviation + 1e-9)`, the deviation without correction, as the operator's function body has it.
fn mean_variance(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    cx.floats_only(x)?;
    let axes = cx.attrs.ints("axes")?.unwrap_or_else(|| vec![0, 2, 3]);
    let (_, centred) = centre(cx, x, &axes)?;
    let square = cx.unary(UnaryKind::Square, centred)?;
    let variance = reduce(cx, ReduceKind::Mean, square, &axes)?;
    let deviation = cx.unary(UnaryKind::Sqrt, variance)?;
    let tiny = cx.scalar_like(x, 1e-9)?;
    let deviation = cx.binary(BinaryKind::Add, deviation, tiny)?;
    one(cx.binary(BinaryKind::Div, centred, deviation)?)
}

/// `x` over its norm along an axis; 0 where the norm is 0.
fn lp(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    cx.floats_only(x)?;
    let axis = cx.attrs.int("axis", -1)?;
    let kind = match cx.attrs.int("p", 2)? {
        1 => ReduceKind::L1,
        2 => ReduceKind::L2,
        other => {
            return Err(ImportError::invalid("the order of the norm")
                .expected("1 or 2")
                .found(other)
                .at_attribute("p"));
        }
    };
    let norm = reduce(cx, kind, x, &[axis])?;
    let (zero, unit) = (cx.scalar_like(x, 0.0)?, cx.scalar_like(x, 1.0)?);
    let empty = cx.compare(BinaryKind::Eq, norm, zero)?;
    let divisor = cx.op(Where::default(), &[empty.id, unit.id, norm.id], x.elem)?;
    one(cx.binary(BinaryKind::Div, x, divisor)?)
}
