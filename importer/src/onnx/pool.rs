//! Pooling.

use pocketnn::ops::elementwise::{BinaryKind, UnaryKind};
use pocketnn::ops::pool::{MaxPoolWithIndices, Pool, PoolKind};
use pocketnn::ops::reduce::{Reduce, ReduceKind};

use super::attrs::missing;
use super::conv::{Window, check};
use super::elem::Elem;
use super::node::{Lowered, Node, V, one};
use super::registry::{Row, op};
use crate::error::{ImportError, Result};

pub(super) const ROWS: &[Row] = &[
    op("AveragePool", &[1, 7, 10, 11, 19, 22], average_pool),
    op("GlobalAveragePool", &[1, 22], |cx| global(cx, ReduceKind::Mean)),
    op("GlobalLpPool", &[1, 2, 22], global_lp_pool),
    op("GlobalMaxPool", &[1, 22], |cx| global(cx, ReduceKind::Max)),
    op("LpPool", &[1, 2, 11, 18, 22], lp_pool),
    op("MaxPool", &[1, 8, 10, 11, 12, 22], max_pool),
];

fn kernel(cx: &Node, x: V) -> Result<Vec<usize>> {
    let spatial = cx.rank(x).checked_sub(2).filter(|&s| s > 0).ok_or_else(|| {
        ImportError::invalid("the input must have spatial axes").expected("rank 3 or more").found(cx.rank(x))
    })?;
    let kernel = cx.attrs.extents("kernel_shape")?.filter(|k| !k.is_empty()).ok_or_else(|| missing("kernel_shape"))?;
    check("kernel_shape", kernel.len(), spatial)?;
    Ok(kernel)
}

fn pool(cx: &mut Node, kind: PoolKind, p: i64, count_include_pad: bool) -> Result<Lowered> {
    let x = cx.input(0)?;
    let kernel = kernel(cx, x)?;
    let Window { strides, dilations, pads } = Window::read(cx, kernel.len())?;
    let ceil_mode = cx.attrs.flag("ceil_mode", false)?;
    let op = Pool { kind, kernel, strides, dilations, pads, ceil_mode, count_include_pad, p };
    one(cx.op(op, &[x.id], x.elem)?)
}

fn average_pool(cx: &mut Node) -> Result<Lowered> {
    let include = cx.attrs.flag("count_include_pad", false)?;
    pool(cx, PoolKind::Average, 2, include)
}

fn lp_pool(cx: &mut Node) -> Result<Lowered> {
    let p = exponent(cx)?;
    pool(cx, PoolKind::Lp, p, false)
}

/// A float in opset 1.
fn exponent(cx: &Node) -> Result<i64> {
    if cx.since >= 2 {
        return cx.attrs.int("p", 2);
    }
    let p = cx.attrs.float("p", 2.0)?;
    if p.fract() == 0.0 && (1.0..=64.0).contains(&p) {
        return Ok(p as i64);
    }
    Err(ImportError::unsupported("this exponent is not supported")
        .expected("a whole number")
        .found(p)
        .at_attribute("p"))
}

fn max_pool(cx: &mut Node) -> Result<Lowered> {
    let column_major = cx.attrs.flag("storage_order", false)?;
    if !cx.wants(1) {
        return pool(cx, PoolKind::Max, 2, false);
    }
    let x = cx.input(0)?;
    let kernel = kernel(cx, x)?;
    let Window { strides, dilations, pads } = Window::read(cx, kernel.len())?;
    let ceil_mode = cx.attrs.flag("ceil_mode", false)?;
    let op = MaxPoolWithIndices { kernel, strides, dilations, pads, ceil_mode, column_major };
    let ids = cx.emit(op, &[Some(x.id)], 2)?;
    Ok(ids.into_iter().zip([x.elem, Elem::I64]).map(|(id, elem)| V { id, elem }.into()).collect())
}

/// The spatial axes of an image.
fn spatial_axes(cx: &mut Node, x: V) -> pocketnn::ValueId {
    let axes: Vec<i64> = (0i64..).take(cx.rank(x)).skip(2).collect();
    cx.integers(&axes)
}

fn global(cx: &mut Node, kind: ReduceKind) -> Result<Lowered> {
    let x = cx.input(0)?;
    one(reduced(cx, x, kind)?)
}

fn reduced(cx: &mut Node, x: V, kind: ReduceKind) -> Result<V> {
    let axes = spatial_axes(cx, x);
    let op = Reduce { kind, keep_dims: true, noop_with_empty_axes: true };
    cx.op(op, &[x.id, axes], x.elem)
}

fn global_lp_pool(cx: &mut Node) -> Result<Lowered> {
    let p = exponent(cx)?;
    let x = cx.input(0)?;
    match p {
        1 => one(reduced(cx, x, ReduceKind::L1)?),
        2 => one(reduced(cx, x, ReduceKind::L2)?),
        p => {
            let magnitude = cx.unary(UnaryKind::Abs, x)?;
            let power = cx.scalar_like(x, p as f64)?;
            let root = cx.scalar_like(x, 1.0 / p as f64)?;
            let raised = cx.binary(BinaryKind::Pow, magnitude, power)?;
            let sum = reduced(cx, raised, ReduceKind::Sum)?;
            one(cx.binary(BinaryKind::Pow, sum, root)?)
        }
    }
}
