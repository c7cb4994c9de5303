//! Reductions: inputs `x`, `axes`.

use pocketnn::ValueId;
use pocketnn::ops::movement::Identity;
use pocketnn::ops::reduce::{Reduce, ReduceKind};

use super::node::{Lowered, Node, one};
use super::quantize;
use super::registry::{Row, both, float, moves};
use crate::error::Result;

pub(super) const ROWS: &[Row] = &[
    both("MEAN", |cx| reduce(cx, ReduceKind::Mean)),
    moves("REDUCE_ALL", |cx| reduce(cx, ReduceKind::All)),
    moves("REDUCE_ANY", |cx| reduce(cx, ReduceKind::Any)),
    moves("REDUCE_MAX", |cx| reduce(cx, ReduceKind::Max)),
    moves("REDUCE_MIN", |cx| reduce(cx, ReduceKind::Min)),
    float("REDUCE_PROD", |cx| reduce(cx, ReduceKind::Prod)),
    both("SUM", |cx| reduce(cx, ReduceKind::Sum)),
];

/// The axes, each once.
fn axes(cx: &mut Node, x: ValueId) -> Result<Vec<i64>> {
    let list = cx.input(1)?;
    let mut axes = Vec::new();
    for a in cx.need_ints(list, "axes")? {
        let axis = i64::try_from(cx.axis(a, cx.rank(x))?).unwrap_or(0);
        if !axes.contains(&axis) {
            axes.push(axis);
        }
    }
    Ok(axes)
}

fn reduce(cx: &mut Node, kind: ReduceKind) -> Result<Lowered> {
    let keep_dims = cx.options.flag(0, false)?;
    let x = cx.input(0)?;
    let axes = axes(cx, x)?;
    if cx.quantized() && matches!(kind, ReduceKind::Mean | ReduceKind::Sum) {
        return one(quantize::reduce(cx, x, kind, &axes, keep_dims)?);
    }
    if axes.is_empty() {
        return one(cx.op(Identity::default(), &[x])?);
    }
    let axes = cx.integers(&axes);
    let y = cx.op(Reduce { kind, keep_dims, noop_with_empty_axes: true }, &[x, axes])?;
    one(y)
}
