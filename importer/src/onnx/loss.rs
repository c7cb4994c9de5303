//! Losses, as they appear in models exported for training.

use pocketnn::ops::elementwise::{BinaryKind, UnaryKind, Where};
use pocketnn::ops::gather::{Gather, GatherElements};
use pocketnn::ops::movement::{Squeeze, Unsqueeze};
use pocketnn::ops::reduce::{Reduce, ReduceKind};
use pocketnn::ops::softmax::Softmax;

use super::attrs::unknown_value;
use super::elem::Elem;
use super::node::{Lowered, Node, V, one};
use super::registry::{Row, op};
use crate::error::Result;

pub(super) const ROWS: &[Row] = &[
    op("NegativeLogLikelihoodLoss", &[12, 13, 22], negative_log_likelihood),
    op("SoftmaxCrossEntropyLoss", &[12, 13], softmax_cross_entropy),
];

fn negative_log_likelihood(cx: &mut Node) -> Result<Lowered> {
    let (x, target, weight) = (cx.input(0)?, cx.input(1)?, cx.maybe(2)?);
    one(loss(cx, x, target, weight)?)
}

fn softmax_cross_entropy(cx: &mut Node) -> Result<Lowered> {
    let (x, target, weight) = (cx.input(0)?, cx.input(1)?, cx.maybe(2)?);
    let log = cx.op(Softmax { axis: 1, log: true }, &[x.id], x.elem)?;
    Ok(vec![loss(cx, log, target, weight)?.into(), log.into()])
}

fn sum(cx: &mut Node, x: V) -> Result<V> {
    cx.op(Reduce { kind: ReduceKind::Sum, keep_dims: false, ..Reduce::default() }, &[x.id], x.elem)
}

/// Minus the log-probability `[N, C, ...]` of each target `[N, ...]`, weighted by its class, reduced as asked.
///
/// Targets equal to `ignore_index` weigh nothing; a mean divides by the weights.
fn loss(cx: &mut Node, log: V, target: V, weight: Option<V>) -> Result<V> {
    let ignored = cx.attrs.opt_int("ignore_index")?;
    let reduction = cx.attrs.string("reduction", "mean")?;
    let target = V { id: cx.as_i64(target)?, elem: Elem::I64 };
    let mut place = target;
    let mut counted = None;
    if let Some(index) = ignored {
        let index = cx.tensor(pocketnn::Tensor::scalar(index));
        let counts = cx.compare(BinaryKind::Ne, target, V { id: index, elem: Elem::I64 })?;
        let zero = cx.scalar_like(target, 0.0)?;
        place = cx.op(Where::default(), &[counts.id, target.id, zero.id], Elem::I64)?;
        counted = Some(counts);
    }
    let axis = cx.integers(&[1]);
    let wide = cx.op(Unsqueeze::default(), &[place.id, axis], Elem::I64)?;
    let picked = cx.op(GatherElements { axis: 1 }, &[log.id, wide.id], log.elem)?;
    let picked = cx.op(Squeeze::default(), &[picked.id, axis], log.elem)?;
    let picked = cx.unary(UnaryKind::Neg, picked)?;
    let weights = match weight {
        Some(w) => Some(cx.op(Gather { axis: 0 }, &[w.id, place.id], log.elem)?),
        None => None,
    };
    let (zero, unit) = (cx.scalar_like(log, 0.0)?, cx.scalar_like(log, 1.0)?);
    let weights = match (weights, counted) {
        (Some(w), Some(counts)) => Some(cx.op(Where::default(), &[counts.id, w.id, zero.id], log.elem)?),
        (None, Some(counts)) => Some(cx.op(Where::default(), &[counts.id, unit.id, zero.id], log.elem)?),
        (w, None) => w,
    };
    let weighted = match weights {
        Some(w) => cx.binary(BinaryKind::Mul, picked, w)?,
        None => picked,
    };
    match (reduction.as_str(), weights) {
        ("none", _) => Ok(weighted),
        ("sum", _) => sum(cx, weighted),
        ("mean", None) => {
            cx.op(Reduce { kind: ReduceKind::Mean, keep_dims: false, ..Reduce::default() }, &[weighted.id], log.elem)
        }
        ("mean", Some(w)) => {
            let (total, weight) = (sum(cx, weighted)?, sum(cx, w)?);
            cx.binary(BinaryKind::Div, total, weight)
        }
        (other, _) => Err(unknown_value("reduction", "`none`, `sum` or `mean`", other)),
    }
}
