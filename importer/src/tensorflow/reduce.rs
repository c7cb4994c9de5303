//! Reductions.

use pocketnn::ops::reduce::{ArgReduce, Reduce, ReduceKind};

use super::elem::Elem;
use super::node::{Lowered, Node, one};
use super::registry::{Row, op};
use crate::error::Result;

pub(super) const ROWS: &[Row] = &[
    op("All", |cx| reduce(cx, ReduceKind::All)),
    op("Any", |cx| reduce(cx, ReduceKind::Any)),
    op("ArgMax", |cx| arg(cx, false)),
    op("ArgMin", |cx| arg(cx, true)),
    op("EuclideanNorm", |cx| reduce(cx, ReduceKind::L2)),
    op("Max", |cx| reduce(cx, ReduceKind::Max)),
    op("Mean", |cx| reduce(cx, ReduceKind::Mean)),
    op("Min", |cx| reduce(cx, ReduceKind::Min)),
    op("Prod", |cx| reduce(cx, ReduceKind::Prod)),
    op("Sum", |cx| reduce(cx, ReduceKind::Sum)),
];

/// Over the axes of input 1; no axes reduce nothing.
fn reduce<'m>(cx: &mut Node<'_, 'm>, kind: ReduceKind) -> Result<Lowered<'m>> {
    let (x, axes) = (cx.input(0)?, cx.input(1)?);
    let keep_dims = cx.attrs.flag("keep_dims", false)?;
    if cx.rank(x) == 0 || cx.extent(axes, 0) == Some(0) {
        return one(x);
    }
    let axes = cx.as_i64(axes)?;
    one(cx.op(Reduce { kind, keep_dims, noop_with_empty_axes: true }, &[x.id, axes], x.elem)?)
}

fn arg<'m>(cx: &mut Node<'_, 'm>, min: bool) -> Result<Lowered<'m>> {
    let x = cx.input(0)?;
    let axis = if cx.len() > 1 { cx.need_int(1, "the axis")? } else { 0 };
    let elem = cx.attrs.elem("output_type")?.unwrap_or(Elem::I64);
    one(cx.op(ArgReduce { min, axis, keep_dims: false, last: false }, &[x.id], elem)?)
}
