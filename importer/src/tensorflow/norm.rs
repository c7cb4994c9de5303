//! Normalisation.

use pocketnn::ops::elementwise::{BinaryKind, UnaryKind};
use pocketnn::ops::norm::{BatchNorm, Lrn};
use pocketnn::ops::reduce::ReduceKind;

use super::elem::Elem;
use super::graph::Slot;
use super::node::{Lowered, Node, V, int, one};
use super::registry::{Row, multi, op};
use crate::error::{ImportError, Result};

const V1: &[&str] = &["y", "batch_mean", "batch_variance", "reserve_space_1", "reserve_space_2"];
const V3: &[&str] = &["y", "batch_mean", "batch_variance", "reserve_space_1", "reserve_space_2", "reserve_space_3"];

pub(super) const ROWS: &[Row] = &[
    op("BatchNormWithGlobalNormalization", global),
    multi("FusedBatchNorm", V1, batch),
    multi("FusedBatchNormV2", V1, batch),
    multi("FusedBatchNormV3", V3, batch),
    op("L2Loss", l2_loss),
    op("LRN", lrn),
    multi("_FusedBatchNormEx", V3, batch_ex),
];

/// In training mode the statistics are those of the batch.
fn batch<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    cx.attrs.ignore(&["exponential_avg_factor"]);
    let epsilon = cx.attrs.float("epsilon", 1e-4)?;
    let first = cx.channels_first()?;
    let training = cx.attrs.flag("is_training", true)?;
    let x = cx.input(0)?;
    cx.floats_only(x)?;
    let x = cx.to_first(x, first)?;
    let (scale, offset) = (cx.input(1)?, cx.input(2)?);
    let (mean, variance) = if training { statistics(cx, x)? } else { (cx.input(3)?, cx.input(4)?) };
    let y = cx.op(
        BatchNorm { epsilon, ..BatchNorm::default() },
        &[x.id, scale.id, offset.id, mean.id, variance.id],
        x.elem,
    )?;
    let y = cx.to_last(y, first)?;
    let (mean, variance) = (Slot::Value(mean.into()), Slot::Value(variance.into()));
    Ok(vec![Slot::Value(y.into()), mean.clone(), variance.clone(), mean, variance.clone(), variance])
}

/// Mean and variance of each channel of `[N, C, ..]`.
fn statistics(cx: &mut Node, x: V) -> Result<(V, V)> {
    let axes: Vec<i64> = (0..cx.rank(x)).filter(|&a| a != 1).map(int).collect();
    let mean = cx.reduce(ReduceKind::Mean, x, &axes, true)?;
    let centred = cx.binary(BinaryKind::Sub, x, mean)?;
    let square = cx.unary(UnaryKind::Square, centred)?;
    let variance = cx.reduce(ReduceKind::Mean, square, &axes, false)?;
    Ok((cx.reshape(mean, &[-1])?, variance))
}

fn batch_ex<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    cx.attrs.ignore(&["num_side_inputs"]);
    let activation = cx.attrs.string("activation_mode", "Identity")?;
    if cx.len() > 5 {
        return Err(ImportError::unsupported("a normalisation with a side input is not supported"));
    }
    let mut out = batch(cx)?;
    if activation != "Identity"
        && let Some(slot) = out.first_mut()
        && let Slot::Value(super::node::Value::Tensor(y)) = slot
    {
        let y = super::conv::fused_activation(cx, activation, *y)?;
        *slot = Slot::Value(y.into());
    }
    Ok(out)
}

/// Operands are image, mean, variance, offset and scale.
fn global<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let epsilon = cx.attrs.float("variance_epsilon", 0.0)?;
    let scaled = cx.attrs.flag("scale_after_normalization", false)?;
    let (x, mean, variance, offset) = (cx.input(0)?, cx.input(1)?, cx.input(2)?, cx.input(3)?);
    let scale = if scaled {
        cx.input(4)?
    } else {
        let n = cx.known(mean, 0)?;
        cx.walker.cx.budget.made(&[n], 4, "scales")?;
        V { id: cx.floats(&[n], vec![1.0; n])?, elem: Elem::F32 }
    };
    let x = cx.to_first(x, false)?;
    let y = cx.op(
        BatchNorm { epsilon, ..BatchNorm::default() },
        &[x.id, scale.id, offset.id, mean.id, variance.id],
        x.elem,
    )?;
    one(cx.to_last(y, false)?)
}

/// `x / (bias + alpha * sum of squares)^beta` over `2 depth_radius + 1` channels.
fn lrn<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let radius = cx.attrs.int("depth_radius", 5)?;
    let bias = cx.attrs.float("bias", 1.0)?;
    let alpha = cx.attrs.float("alpha", 1.0)?;
    let beta = cx.attrs.float("beta", 0.5)?;
    let radius = usize::try_from(radius)
        .ok()
        .filter(|&r| r < 1 << 20)
        .ok_or_else(|| ImportError::invalid("the number of channels").found(radius).at_attribute("depth_radius"))?;
    let size = radius.saturating_mul(2).saturating_add(1);
    let x = cx.input(0)?;
    cx.floats_only(x)?;
    let x = cx.to_first(x, false)?;
    // The op divides alpha by the number of channels.
    let y = cx.op(Lrn { size, alpha: alpha * size as f32, beta, bias }, &[x.id], x.elem)?;
    one(cx.to_last(y, false)?)
}

/// Half the sum of squares.
fn l2_loss<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let x = cx.input(0)?;
    let axes: Vec<i64> = (0..cx.rank(x)).map(int).collect();
    let sum = cx.reduce(ReduceKind::SumSquare, x, &axes, false)?;
    one(cx.with_scalar(BinaryKind::Mul, sum, 0.5)?)
}
