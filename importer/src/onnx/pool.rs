//! Pooling.

use pocketnn::ops::elementwise::{BinaryKind, UnaryKind};
use pocketnn::ops::gather::ScatterElements;
use pocketnn::ops::movement::{Concat, ConstantOfShape, Pad, Reshape, Shape};
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
    op("MaxUnpool", &[9, 11, 22], max_unpool),
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
    one(pooled(cx, x, kind, p, count_include_pad)?)
}

/// The mean of the windows of a value, as the attributes say.
pub(super) fn average(cx: &mut Node, x: V) -> Result<V> {
    let include = cx.attrs.flag("count_include_pad", false)?;
    pooled(cx, x, PoolKind::Average, 2, include)
}

fn pooled(cx: &mut Node, x: V, kind: PoolKind, p: i64, count_include_pad: bool) -> Result<V> {
    let kernel = kernel(cx, x)?;
    let Window { strides, dilations, pads } = Window::read(cx, kernel.len())?;
    let ceil_mode = cx.attrs.flag("ceil_mode", false)?;
    let op = Pool { kind, kernel, strides, dilations, pads, ceil_mode, count_include_pad, p };
    cx.op(op, &[x.id], x.elem)
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

/// The elements of `x` at the places of the indices, flat positions in the image the pooling was made of; zeros elsewhere.
///
/// The image is as small as the window allows; a larger one that is asked for gets more zeros at its ends.
fn max_unpool(cx: &mut Node) -> Result<Lowered> {
    let (x, indices, wanted) = (cx.input(0)?, cx.input(1)?, cx.maybe(2)?);
    let kernel = kernel(cx, x)?;
    let spatial = kernel.len();
    let strides = cx.attrs.ints("strides")?.filter(|s| !s.is_empty()).unwrap_or_else(|| vec![1; spatial]);
    let pads = cx.attrs.ints("pads")?.filter(|p| !p.is_empty()).unwrap_or_else(|| vec![0; spatial.saturating_mul(2)]);
    check("strides", strides.len(), spatial)?;
    check("pads", pads.len(), spatial.saturating_mul(2))?;
    // extent * stride + (kernel - stride - pads); batch and channels stay.
    let (begin, end) = pads.split_at(spatial);
    let rest = kernel.iter().zip(&strides).zip(begin.iter().zip(end)).map(|((&k, s), (b, e))| {
        i64::try_from(k).unwrap_or(i64::MAX).saturating_sub(*s).saturating_sub(*b).saturating_sub(*e)
    });
    let added: Vec<i64> = [0, 0].into_iter().chain(rest).collect();
    let times: Vec<i64> = [1, 1].into_iter().chain(strides.iter().copied()).collect();
    let int = |id| V { id, elem: Elem::I64 };
    let shape = cx.op(Shape::default(), &[x.id], Elem::I64)?;
    let (times, added) = (int(cx.integers(&times)), int(cx.integers(&added)));
    let scaled = cx.binary(BinaryKind::Mul, shape, times)?;
    let image = cx.binary(BinaryKind::Add, scaled, added)?;
    let total =
        cx.op(Reduce { kind: ReduceKind::Prod, keep_dims: true, ..Reduce::default() }, &[image.id], Elem::I64)?;
    let value = super::node::cast_tensor(&pocketnn::Tensor::vector(&[0.0f32]), x.elem.carried()?)?;
    let zeros = cx.op(ConstantOfShape { value }, &[total.id], x.elem)?;
    let (places, values) = (cx.reshape(indices, &[-1])?, cx.reshape(x, &[-1])?);
    let filled = cx.op(ScatterElements::default(), &[zeros.id, places.id, values.id], x.elem)?;
    let y = cx.op(Reshape { allow_zero: true }, &[filled.id, image.id], x.elem)?;
    let Some(wanted) = wanted else { return one(y) };
    let more = cx.binary(BinaryKind::Sub, wanted, image)?;
    let before = cx.integers(&vec![0; spatial.saturating_add(2)]);
    let pads = cx.op(Concat { axis: 0 }, &[before, more.id], Elem::I64)?;
    one(cx.op(Pad::default(), &[y.id, pads.id], x.elem)?)
}
