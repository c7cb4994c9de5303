//! Reductions over axes.

use pocketnn::ops::reduce::{ArgReduce, Reduce, ReduceKind};

use super::elem::Elem;
use super::node::{Lowered, Node, one};
use super::registry::{Row, op};
use crate::error::Result;

pub(super) const ROWS: &[Row] = &[
    op("ArgMax", &[1, 11, 12, 13], |cx| arg(cx, false)),
    op("ArgMin", &[1, 11, 12, 13], |cx| arg(cx, true)),
    op("ReduceL1", &[1, 11, 13, 18], |cx| reduce(cx, ReduceKind::L1, 18)),
    op("ReduceL2", &[1, 11, 13, 18], |cx| reduce(cx, ReduceKind::L2, 18)),
    op("ReduceLogSum", &[1, 11, 13, 18, 28], |cx| reduce(cx, ReduceKind::LogSum, 18)),
    op("ReduceLogSumExp", &[1, 11, 13, 18, 28], |cx| reduce(cx, ReduceKind::LogSumExp, 18)),
    op("ReduceMax", &[1, 11, 12, 13, 18, 20], |cx| reduce(cx, ReduceKind::Max, 18)),
    op("ReduceMean", &[1, 11, 13, 18], |cx| reduce(cx, ReduceKind::Mean, 18)),
    op("ReduceMin", &[1, 11, 12, 13, 18, 20], |cx| reduce(cx, ReduceKind::Min, 18)),
    op("ReduceProd", &[1, 11, 13, 18], |cx| reduce(cx, ReduceKind::Prod, 18)),
    op("ReduceSum", &[1, 11, 13], |cx| reduce(cx, ReduceKind::Sum, 13)),
    op("ReduceSumSquare", &[1, 11, 13, 18], |cx| reduce(cx, ReduceKind::SumSquare, 18)),
];

/// Axes are an attribute before opset `inputs_from`, then input 1. Of truth values the largest is whether any holds, the smallest
/// whether all do.
fn reduce(cx: &mut Node, kind: ReduceKind, inputs_from: i64) -> Result<Lowered> {
    let x = cx.input(0)?;
    let keep_dims = cx.attrs.flag("keepdims", true)?;
    let noop_with_empty_axes = cx.attrs.flag("noop_with_empty_axes", false)?;
    let axes = if cx.since < inputs_from {
        cx.attrs.ints("axes")?.map(|a| cx.integers(&a))
    } else {
        let axes = cx.maybe(1)?;
        axes.map(|a| cx.as_i64(a)).transpose()?
    };
    let kind = match (kind, x.elem) {
        (ReduceKind::Max, Elem::Bool) => ReduceKind::Any,
        (ReduceKind::Min, Elem::Bool) => ReduceKind::All,
        (kind, _) => kind,
    };
    one(cx.op_with(Reduce { kind, keep_dims, noop_with_empty_axes }, &[Some(x.id), axes], x.elem)?)
}

fn arg(cx: &mut Node, min: bool) -> Result<Lowered> {
    let x = cx.input(0)?;
    let axis = cx.attrs.int("axis", 0)?;
    let keep_dims = cx.attrs.flag("keepdims", true)?;
    let last = cx.attrs.flag("select_last_index", false)?;
    one(cx.op(ArgReduce { min, axis, keep_dims, last }, &[x.id], Elem::I64)?)
}
