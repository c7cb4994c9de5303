//! Elements chosen by index or by value.

use pocketnn::ops::elementwise::BinaryKind;
use pocketnn::ops::gather::{
    CumProd, CumSum, Gather, GatherElements, GatherNd, NonZero, OneHot, Reduction, ScatterElements, ScatterNd,
    SelectBoxes, TopK, Trilu, Unique,
};
use pocketnn::ops::movement::{Expand, Range, Shape};

use super::attrs::{missing, unknown_value};
use super::elem::Elem;
use super::node::{Lowered, Node, V, one};
use super::registry::{Row, op};
use crate::error::{ImportError, Result};

pub(super) const ROWS: &[Row] = &[
    op("Compress", &[9, 11, 28], compress),
    op("CumProd", &[26], cum_prod),
    op("CumSum", &[11, 14], cum_sum),
    op("Gather", &[1, 11, 13], gather),
    op("GatherElements", &[11, 13], gather_elements),
    op("GatherND", &[11, 12, 13], gather_nd),
    op("NonMaxSuppression", &[10, 11], non_max_suppression),
    op("NonZero", &[9, 13], non_zero),
    op("OneHot", &[9, 11, 28], one_hot),
    op("Scatter", &[9, 11], scatter_elements),
    op("ScatterElements", &[11, 13, 16, 18], scatter_elements),
    op("ScatterND", &[11, 13, 16, 18], scatter_nd),
    op("TensorScatter", &[24], tensor_scatter),
    op("TopK", &[1, 10, 11, 24], top_k),
    op("Trilu", &[14], trilu),
    op("Unique", &[11, 28], unique),
];

fn gather(cx: &mut Node) -> Result<Lowered> {
    let (x, indices) = (cx.input(0)?, cx.input(1)?);
    let axis = cx.attrs.int("axis", 0)?;
    one(cx.op(Gather { axis }, &[x.id, indices.id], x.elem)?)
}

fn gather_elements(cx: &mut Node) -> Result<Lowered> {
    let (x, indices) = (cx.input(0)?, cx.input(1)?);
    let axis = cx.attrs.int("axis", 0)?;
    one(cx.op(GatherElements { axis }, &[x.id, indices.id], x.elem)?)
}

fn gather_nd(cx: &mut Node) -> Result<Lowered> {
    let (x, indices) = (cx.input(0)?, cx.input(1)?);
    let batch = cx.attrs.int("batch_dims", 0)?;
    let batch_dims = usize::try_from(batch).map_err(|_| {
        ImportError::invalid("a negative number").expected("at least 0").found(batch).at_attribute("batch_dims")
    })?;
    one(cx.op(GatherNd { batch_dims }, &[x.id, indices.id], x.elem)?)
}

fn reduction(cx: &Node) -> Result<Reduction> {
    match cx.attrs.string("reduction", "none")?.as_str() {
        "none" => Ok(Reduction::None),
        "add" => Ok(Reduction::Add),
        "mul" => Ok(Reduction::Mul),
        "max" => Ok(Reduction::Max),
        "min" => Ok(Reduction::Min),
        other => Err(unknown_value("reduction", "`none`, `add`, `mul`, `max` or `min`", other)),
    }
}

fn scatter_elements(cx: &mut Node) -> Result<Lowered> {
    let (x, indices, updates) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
    let (axis, reduction) = (cx.attrs.int("axis", 0)?, reduction(cx)?);
    one(cx.op(ScatterElements { axis, reduction }, &[x.id, indices.id, updates.id], x.elem)?)
}

fn scatter_nd(cx: &mut Node) -> Result<Lowered> {
    let (x, indices, updates) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
    let reduction = reduction(cx)?;
    one(cx.op(ScatterNd { reduction }, &[x.id, indices.id, updates.id], x.elem)?)
}

fn one_hot(cx: &mut Node) -> Result<Lowered> {
    let (indices, depth, values) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
    let axis = cx.attrs.int("axis", -1)?;
    let (indices, depth) = (cx.as_i64(indices)?, cx.as_i64(depth)?);
    one(cx.op(OneHot { axis }, &[indices, depth, values.id], values.elem)?)
}

/// `k` is an attribute before opset 10.
fn top_k(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    let axis = cx.attrs.int("axis", -1)?;
    let k = if cx.since < 10 {
        let k = cx.attrs.opt_int("k")?.ok_or_else(|| missing("k"))?;
        cx.integers(&[k])
    } else {
        let k = cx.input(1)?;
        cx.as_i64(k)?
    };
    let (largest, sorted) = (cx.attrs.flag("largest", true)?, cx.attrs.flag("sorted", true)?);
    let ids = cx.emit(TopK { axis, largest, sorted }, &[Some(x.id), Some(k)], 2)?;
    let elems = [x.elem, Elem::I64];
    Ok(ids.into_iter().zip(elems).map(|(id, elem)| V { id, elem }.into()).collect())
}

fn non_zero(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    one(cx.op(NonZero::default(), &[x.id], Elem::I64)?)
}

/// The slices for which a condition holds: positions of true, then gather.
fn compress(cx: &mut Node) -> Result<Lowered> {
    let (mut x, condition) = (cx.input(0)?, cx.input(1)?);
    let axis = if let Some(axis) = cx.attrs.opt_int("axis")? {
        axis
    } else {
        x = cx.reshape(x, &[-1])?;
        0
    };
    let places = cx.op(NonZero::default(), &[condition.id], Elem::I64)?;
    let places = cx.reshape(places, &[-1])?;
    one(cx.op(Gather { axis }, &[x.id, places.id], x.elem)?)
}

fn cum_sum(cx: &mut Node) -> Result<Lowered> {
    let (x, axis) = (cx.input(0)?, cx.input(1)?);
    let (exclusive, reverse) = (cx.attrs.flag("exclusive", false)?, cx.attrs.flag("reverse", false)?);
    one(cx.op(CumSum { exclusive, reverse }, &[x.id, axis.id], x.elem)?)
}

fn trilu(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    let k = cx.maybe(1)?.map(|k| k.id);
    let upper = cx.attrs.flag("upper", true)?;
    one(cx.op_with(Trilu { upper }, &[Some(x.id), k], x.elem)?)
}

fn cum_prod(cx: &mut Node) -> Result<Lowered> {
    let (x, axis) = (cx.input(0)?, cx.input(1)?);
    let (exclusive, reverse) = (cx.attrs.flag("exclusive", false)?, cx.attrs.flag("reverse", false)?);
    one(cx.op(CumProd { exclusive, reverse }, &[x.id, axis.id], x.elem)?)
}

fn non_max_suppression(cx: &mut Node) -> Result<Lowered> {
    let (boxes, scores) = (cx.input(0)?, cx.input(1)?);
    let mut inputs = vec![Some(boxes.id), Some(scores.id)];
    for i in 2..5 {
        inputs.push(cx.maybe(i)?.map(|v| v.id));
    }
    let centred = cx.attrs.flag("center_point_box", false)?;
    one(cx.op_with(SelectBoxes { centred }, &inputs, Elem::I64)?)
}

fn unique(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    let (axis, sorted) = (cx.attrs.opt_int("axis")?, cx.attrs.flag("sorted", true)?);
    let ids = cx.emit(Unique { axis, sorted }, &[Some(x.id)], 4)?;
    let elems = [x.elem, Elem::I64, Elem::I64, Elem::I64];
    Ok(ids.into_iter().zip(elems).map(|(id, elem)| V { id, elem }.into()).collect())
}

/// Writes `update` into the cache from each sequence's own place on; circular caches go on at the start.
fn tensor_scatter(cx: &mut Node) -> Result<Lowered> {
    let (past, update, starts) = (cx.input(0)?, cx.input(1)?, cx.maybe(2)?);
    let rank = cx.rank(past);
    let axis = cx.attrs.int("axis", -2)?;
    let at = cx.axis(axis, rank)?;
    let circular = match cx.attrs.string("mode", "linear")?.as_str() {
        "linear" => false,
        "circular" => true,
        other => return Err(unknown_value("mode", "`linear` or `circular`", other)),
    };
    if at == 0 {
        return Err(ImportError::invalid("the axis must not be the batch").found(axis).at_attribute("axis"));
    }
    let index = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let extent = |cx: &mut Node, v: V| {
        let part = cx.op(Shape { start: index(at), end: Some(index(at).saturating_add(1)) }, &[v.id], Elem::I64)?;
        cx.reshape(part, &[])
    };
    let length = extent(cx, update)?;
    let (zero, unit) = (cx.tensor(pocketnn::Tensor::scalar(0i64)), cx.tensor(pocketnn::Tensor::scalar(1i64)));
    let steps = cx.op(Range::default(), &[zero, length.id, unit], Elem::I64)?;
    let shaped = |axis: usize| {
        let mut shape = vec![1i64; rank];
        shape.get_mut(axis).into_iter().for_each(|d| *d = -1);
        shape
    };
    let mut places = cx.reshape(steps, &shaped(at))?;
    if let Some(starts) = starts {
        let starts = V { id: cx.as_i64(starts)?, elem: Elem::I64 };
        let starts = cx.reshape(starts, &shaped(0))?;
        places = cx.binary(BinaryKind::Add, places, starts)?;
    }
    if circular {
        let most = extent(cx, past)?;
        places = cx.binary(BinaryKind::Mod, places, most)?;
    }
    let shape = cx.op(Shape::default(), &[update.id], Elem::I64)?;
    let places = cx.op(Expand::default(), &[places.id, shape.id], Elem::I64)?;
    let op = ScatterElements { axis: index(at), reduction: Reduction::None };
    one(cx.op(op, &[past.id, places.id, update.id], past.elem)?)
}
