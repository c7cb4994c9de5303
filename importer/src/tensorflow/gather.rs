//! Elements chosen by index.

use pocketnn::ops::elementwise::{BinaryKind, Where};
use pocketnn::ops::gather::{CumSum, Gather, GatherNd, NonZero, OneHot, Reduction, ScatterNd, TopK};
use pocketnn::ops::movement::{Concat, Expand};
use pocketnn::ops::reduce::ReduceKind;

use super::elem::Elem;
use super::elementwise::cast_to;
use super::node::{Lowered, Node, V, int, many, one};
use super::registry::{Row, multi, op};
use crate::error::{ImportError, Result};

pub(super) const ROWS: &[Row] = &[
    op("Bucketize", bucketize),
    op("Cumsum", cum_sum),
    op("DenseBincount", bincount),
    op("Gather", gather),
    op("GatherNd", gather_nd),
    op("GatherV2", gather_v2),
    op("InvertPermutation", invert_permutation),
    op("OneHot", one_hot),
    op("ResourceGather", resource_gather),
    op("ScatterNd", scatter_nd),
    op("TensorScatterAdd", |cx| scatter(cx, Reduction::Add)),
    op("TensorScatterMax", |cx| scatter(cx, Reduction::Max)),
    op("TensorScatterMin", |cx| scatter(cx, Reduction::Min)),
    op("TensorScatterUpdate", |cx| scatter(cx, Reduction::None)),
    multi("TopKV2", &["values", "indices"], top_k),
    op("Where", places),
];

fn gather<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let (x, indices) = (cx.input(0)?, cx.input(1)?);
    one(gathered(cx, x, indices, 0, 0)?)
}

fn gather_v2<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let (x, indices) = (cx.input(0)?, cx.input(1)?);
    let axis = cx.need_int(2, "the axis")?;
    let batch = cx.attrs.int("batch_dims", 0)?;
    one(gathered(cx, x, indices, axis, batch)?)
}

/// Rows of a variable.
fn resource_gather<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let x = super::state::stored(cx, 0)?;
    let indices = cx.input(1)?;
    let batch = cx.attrs.int("batch_dims", 0)?;
    one(gathered(cx, x, indices, batch, batch)?)
}

fn gathered(cx: &mut Node, x: V, indices: V, axis: i64, batch: i64) -> Result<V> {
    let indices = cx.as_i64(indices)?;
    if batch == 0 {
        return cx.op(Gather { axis }, &[x.id, indices], x.elem);
    }
    let rank = cx.rank(V { id: indices, elem: Elem::I64 });
    let shared = if batch < 0 { batch.saturating_add(int(rank)) } else { batch };
    let axis = cx.axis(axis, cx.rank(x))?;
    let batch_dims = usize::try_from(shared).ok().filter(|&b| b == axis && b <= rank).ok_or_else(|| {
        ImportError::unsupported("leading axes shared by a gather along a later axis are not supported")
            .expected("an axis equal to `batch_dims`")
            .found(format!("axis {axis}, batch_dims {batch}"))
    })?;
    let rows = cx.unsqueeze(V { id: indices, elem: Elem::I64 }, &[-1])?;
    cx.op(GatherNd { batch_dims }, &[x.id, rows.id], x.elem)
}

fn gather_nd<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    cx.attrs.ignore(&["bad_indices_policy"]);
    let (x, indices) = (cx.input(0)?, cx.input(1)?);
    let indices = cx.as_i64(indices)?;
    one(cx.op(GatherNd { batch_dims: 0 }, &[x.id, indices], x.elem)?)
}

/// Sums of updates in a tensor of zeros.
fn scatter_nd<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    cx.attrs.ignore(&["bad_indices_policy"]);
    let (indices, updates, shape) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
    let (indices, shape) = (cx.as_i64(indices)?, cx.as_i64(shape)?);
    let zero = cx.scalar_like(updates, 0.0)?;
    let zeros = cx.op(Expand::default(), &[zero.id, shape], updates.elem)?;
    one(cx.op(ScatterNd { reduction: Reduction::Add }, &[zeros.id, indices, updates.id], updates.elem)?)
}

fn scatter<'m>(cx: &mut Node<'_, 'm>, reduction: Reduction) -> Result<Lowered<'m>> {
    cx.attrs.ignore(&["bad_indices_policy"]);
    let (x, indices, updates) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
    let indices = cx.as_i64(indices)?;
    one(cx.op(ScatterNd { reduction }, &[x.id, indices, updates.id], x.elem)?)
}

/// An index outside, negative ones included, gives no place; so negative ones are put behind the end.
fn one_hot<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let (indices, depth, on, off) = (cx.input(0)?, cx.input(1)?, cx.input(2)?, cx.input(3)?);
    let axis = cx.attrs.int("axis", -1)?;
    one(encoded(cx, indices, depth, (on, off), axis)?)
}

fn encoded(cx: &mut Node, indices: V, depth: V, (on, off): (V, V), axis: i64) -> Result<V> {
    let indices = V { id: cx.as_i64(indices)?, elem: Elem::I64 };
    let depth = V { id: cx.as_i64(depth)?, elem: Elem::I64 };
    let below = super::elementwise::against(cx, BinaryKind::Lt, indices, 0.0)?;
    let indices = cx.op(Where::default(), &[below.id, depth.id, indices.id], Elem::I64)?;
    let (off, on) = (cx.reshape(off, &[1])?, cx.reshape(on, &[1])?);
    let values = cx.op(Concat { axis: 0 }, &[off.id, on.id], on.elem)?;
    cx.op(OneHot { axis }, &[indices.id, depth.id, values.id], on.elem)
}

/// How often each number below `size` stands in a vector, or in each row of a matrix.
fn bincount<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let binary = cx.attrs.flag("binary_output", false)?;
    let (x, size, weights) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
    let elem = weights.elem;
    let (on, off) = (cx.scalar(elem, 1.0)?, cx.scalar(elem, 0.0)?);
    let mut marks = encoded(cx, x, size, (on, off), -1)?;
    let weighted = cx.known_shape(weights).is_none_or(|s| !s.contains(&0));
    if weighted && !binary {
        let weights = cx.unsqueeze(weights, &[-1])?;
        marks = cx.binary(BinaryKind::Mul, marks, weights)?;
    }
    let axis = int(cx.rank(x)).saturating_sub(1);
    let kind = if binary { ReduceKind::Max } else { ReduceKind::Sum };
    one(cx.reduce(kind, marks, &[axis], false)?)
}

/// Number of boundaries that are not above each element.
fn bucketize<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let x = cx.input(0)?;
    let boundaries = cx.attrs.floats("boundaries")?.unwrap_or_default();
    let x = if x.elem.is_float() { x } else { cast_to(cx, x, Elem::F32)? };
    let n = boundaries.len();
    let boundaries = V { id: cx.floats(&[n], boundaries)?, elem: Elem::F32 };
    let boundaries = cast_to(cx, boundaries, x.elem)?;
    let wide = cx.unsqueeze(x, &[-1])?;
    let above = cx.compare(BinaryKind::Ge, wide, boundaries)?;
    let counted = cast_to(cx, above, Elem::I32)?;
    one(cx.reduce(ReduceKind::Sum, counted, &[-1], false)?)
}

fn cum_sum<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let (x, axis) = (cx.input(0)?, cx.input(1)?);
    let (exclusive, reverse) = (cx.attrs.flag("exclusive", false)?, cx.attrs.flag("reverse", false)?);
    one(cx.op(CumSum { exclusive, reverse }, &[x.id, axis.id], x.elem)?)
}

fn invert_permutation<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let (x, list) = (cx.input(0)?, cx.need_ints(0, "a permutation")?);
    let mut inverse = vec![-1i64; list.len()];
    for (i, &p) in list.iter().enumerate() {
        match usize::try_from(p).ok().and_then(|p| inverse.get_mut(p)) {
            Some(slot) if *slot == -1 => *slot = int(i),
            _ => return Err(ImportError::invalid("not a permutation").found(format!("{list:?}"))),
        }
    }
    let id = cx.integers(&inverse);
    one(cx.typed(id, x.elem)?)
}

fn top_k<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let x = cx.input(0)?;
    let sorted = cx.attrs.flag("sorted", true)?;
    let k = cx.input(1)?;
    let k = cx.as_i64(k)?;
    let k = cx.reshape(V { id: k, elem: Elem::I64 }, &[1])?;
    let elem = cx.attrs.elem("index_type")?.unwrap_or(Elem::I32);
    let ids = cx.emit(TopK { axis: -1, largest: true, sorted }, &[Some(x.id), Some(k.id)], 2)?;
    let &[values, indices] = ids.as_slice() else { return Err(ImportError::invalid("an op without output")) };
    let indices = cx.typed(indices, elem)?;
    many([V { id: values, elem: x.elem }, indices])
}

/// Index tuples of the elements that are not 0, `[count, rank]`.
fn places<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let x = cx.input(0)?;
    let y = cx.op(NonZero::default(), &[x.id], Elem::I64)?;
    one(cx.transpose(y, &[1, 0])?)
}
