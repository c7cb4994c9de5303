//! Elements chosen, or written, by index.

use pocketnn::ops::elementwise::{BinaryKind, Where};
use pocketnn::ops::gather::{CumSum, EyeLike, Gather, GatherNd, OneHot, Reduction, ScatterNd, TopK};
use pocketnn::ops::movement::{Concat, ConstantOfShape, Expand, Pad, Unsqueeze};
use pocketnn::ops::reduce::ArgReduce;
use pocketnn::{DType, Tensor, ValueId};

use super::node::{Lowered, Node, Value, cast, one};
use super::registry::{Row, float, moves};
use crate::error::{ImportError, Result};

pub(super) const ROWS: &[Row] = &[
    moves("ARG_MAX", |cx| arg(cx, false)),
    moves("ARG_MIN", |cx| arg(cx, true)),
    float("CUMSUM", cumsum),
    moves("DYNAMIC_UPDATE_SLICE", dynamic_update_slice),
    moves("EMBEDDING_LOOKUP", embedding),
    moves("GATHER", gather),
    moves("GATHER_ND", gather_nd),
    moves("MATRIX_DIAG", matrix_diag),
    moves("MATRIX_SET_DIAG", matrix_set_diag),
    moves("ONE_HOT", one_hot),
    float("SCATTER_ND", scatter_nd),
    moves("SPARSE_TO_DENSE", sparse_to_dense),
    moves("TOPK_V2", top_k),
];

fn arg(cx: &mut Node, min: bool) -> Result<Lowered> {
    let (x, axis) = (cx.input(0)?, cx.input(1)?);
    cx.options.ignore(&[0]);
    let axis = cx.need_ints(axis, "an axis")?.first().copied().unwrap_or(0);
    let found = cx.op(ArgReduce { min, axis, keep_dims: false, last: false }, &[x])?;
    let to = cx.dtype_out(0)?;
    one(cx.cast(found, to)?)
}

fn cumsum(cx: &mut Node) -> Result<Lowered> {
    let (exclusive, reverse) = (cx.options.flag(0, false)?, cx.options.flag(1, false)?);
    let (x, axis) = (cx.input(0)?, cx.input(1)?);
    let axis = cx.as_i64(axis)?;
    one(cx.op(CumSum { exclusive, reverse }, &[x, axis])?)
}

fn gather(cx: &mut Node) -> Result<Lowered> {
    let (x, indices) = (cx.input(0)?, cx.input(1)?);
    let rank = cx.rank(x);
    let axis = cx.axis(cx.options.int(0, 0)?.into(), rank)?;
    let shared = cx.axis(cx.options.int(1, 0)?.into(), cx.rank(indices).saturating_add(1))?;
    if shared == 0 {
        return one(cx.op(Gather { axis: i64::try_from(axis).unwrap_or(0) }, &[x, indices])?);
    }
    if shared > axis {
        return Err(ImportError::invalid("batch_dims lies behind the axis")
            .expected(format!("at most {axis}"))
            .found(shared));
    }
    // The axis comes right behind the shared ones; the axes between them go behind the indices' own afterwards.
    let between = axis.saturating_sub(shared);
    let order: Vec<usize> = (0..shared).chain([axis]).chain(shared..axis).chain(axis.saturating_add(1)..rank).collect();
    let x = cx.transpose(x, &order)?;
    let last = cx.integers(&[-1]);
    let tuples = cx.op(Unsqueeze::default(), &[indices, last])?;
    let y = cx.op(GatherNd { batch_dims: shared }, &[x, tuples])?;
    // Now: shared, own axes of the indices, axes between, the rest.
    let own = cx.rank(indices).saturating_sub(shared);
    let start = shared.saturating_add(own);
    let end = start.saturating_add(between);
    let back: Vec<usize> = (0..shared).chain(start..end).chain(shared..start).chain(end..cx.rank(y)).collect();
    one(cx.transpose(y, &back)?)
}

/// Rows of a table: inputs `ids`, `table`.
fn embedding(cx: &mut Node) -> Result<Lowered> {
    let (ids, table) = (cx.input(0)?, super::quantize::weights(cx, 1)?);
    one(cx.op(Gather { axis: 0 }, &[table, ids])?)
}

fn gather_nd(cx: &mut Node) -> Result<Lowered> {
    let (x, indices) = (cx.input(0)?, cx.input(1)?);
    let indices = cx.as_i64(indices)?;
    one(cx.op(GatherNd { batch_dims: 0 }, &[x, indices])?)
}

/// A scalar as a vector of one element.
fn vector(cx: &mut Node, v: ValueId) -> Result<ValueId> {
    cx.reshape(v, &[1])
}

/// Inputs `indices`, `depth`, `on`, `off`.
fn one_hot(cx: &mut Node) -> Result<Lowered> {
    let axis = i64::from(cx.options.int(0, 0)?);
    let (indices, depth) = (cx.input(0)?, cx.input(1)?);
    let (on, off) = (cx.input(2)?, cx.input(3)?);
    let (off, on) = (vector(cx, off)?, vector(cx, on)?);
    let values = cx.op(Concat { axis: 0 }, &[off, on])?;
    let (indices, depth) = (cx.as_i64(indices)?, cx.as_i64(depth)?);
    // The runtime counts negative indices from the end; here they name nothing.
    let depth_of = cx.ints(depth).and_then(|d| d.first().copied()).ok_or_else(|| {
        ImportError::unsupported("a depth computed while running is not supported").expected("a constant")
    })?;
    let zero = cx.scalar(0.0, DType::I64)?;
    let beyond = cx.tensor(Tensor::scalar(depth_of));
    let negative = cx.binary(BinaryKind::Lt, indices, zero)?;
    let indices = cx.op(Where::default(), &[negative, beyond, indices])?;
    one(cx.op(OneHot { axis }, &[indices, depth, values])?)
}

fn top_k(cx: &mut Node) -> Result<Lowered> {
    let (x, k) = (cx.input(0)?, cx.input(1)?);
    let k = cx.as_i64(k)?;
    let k = cx.reshape(k, &[1])?;
    let out = cx.emit(TopK { axis: -1, largest: true, sorted: true }, &[Some(x), Some(k)], 2)?;
    let &[values, places] = out.as_slice() else { return Err(ImportError::invalid("an op without outputs")) };
    let to = cx.dtype_out(1)?;
    let places = cx.cast(places, to)?;
    Ok(vec![Value::Tensor(values), Value::Tensor(places)])
}

/// Zeros, or copies of one element, of the shape of an operand.
fn filled(cx: &mut Node, shape: ValueId, dtype: DType) -> Result<ValueId> {
    let shape = cx.as_i64(shape)?;
    let value = cast(&Tensor::vector(&[0.0f32]), dtype)?;
    cx.op(ConstantOfShape { value }, &[shape])
}

/// Inputs `indices`, `updates`, `shape`; what falls on one place is added.
fn scatter_nd(cx: &mut Node) -> Result<Lowered> {
    let (indices, updates, shape) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
    let zeros = filled(cx, shape, cx.dtype(updates))?;
    let indices = cx.as_i64(indices)?;
    one(cx.op(ScatterNd { reduction: Reduction::Add }, &[zeros, indices, updates])?)
}

/// Inputs `indices`, `shape`, `values`, `default`.
fn sparse_to_dense(cx: &mut Node) -> Result<Lowered> {
    cx.options.ignore(&[0]);
    let (mut indices, shape) = (cx.input(0)?, cx.input(1)?);
    let (mut values, default) = (cx.input(2)?, cx.input(3)?);
    let shape = cx.as_i64(shape)?;
    let base = cx.op(Expand::default(), &[default, shape])?;
    match cx.rank(indices) {
        0 => indices = cx.reshape(indices, &[1, 1])?,
        1 => indices = cx.reshape(indices, &[-1, 1])?,
        _ => {}
    }
    if cx.rank(values) == 0 {
        let count = cx.need_extent(indices, 0, "indices")?;
        let count = cx.integers(&[i64::try_from(count).unwrap_or(i64::MAX)]);
        values = cx.op(Expand::default(), &[values, count])?;
    }
    let indices = cx.as_i64(indices)?;
    one(cx.op(ScatterNd { reduction: Reduction::None }, &[base, indices, values])?)
}

/// A mask of the diagonal of the last two axes, `[n, m]`.
fn diagonal(cx: &mut Node, rows: usize, columns: usize) -> Result<ValueId> {
    cx.walker.budget.made(&[rows, columns], 4, "a mask")?;
    let like = Tensor::zeros(DType::F32, &[rows, columns])?;
    let like = cx.tensor(like);
    let eye = cx.op(EyeLike { dtype: Some(DType::F32), k: 0 }, &[like])?;
    cx.cast(eye, DType::Bool)
}

fn matrix_diag(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    let last = cx.rank(x).saturating_sub(1);
    let n = cx.need_extent(x, last, "a diagonal")?;
    let mask = diagonal(cx, n, n)?;
    let axis = cx.integers(&[-1]);
    let column = cx.op(Unsqueeze::default(), &[x, axis])?;
    let zero = cx.scalar(0.0, cx.dtype(x))?;
    one(cx.op(Where::default(), &[mask, column, zero])?)
}

fn matrix_set_diag(cx: &mut Node) -> Result<Lowered> {
    let (x, d) = (cx.input(0)?, cx.input(1)?);
    let rank = cx.rank(x);
    let rows = cx.need_extent(x, rank.saturating_sub(2), "a matrix")?;
    let columns = cx.need_extent(x, rank.saturating_sub(1), "a matrix")?;
    if rows != columns {
        return Err(ImportError::unsupported("the diagonal of a matrix that is not square is not supported"));
    }
    let mask = diagonal(cx, rows, columns)?;
    let axis = cx.integers(&[-1]);
    let column = cx.op(Unsqueeze::default(), &[d, axis])?;
    one(cx.op(Where::default(), &[mask, column, x])?)
}

/// Inputs `x`, `update`, `start`; the start is moved so that the update lies inside.
fn dynamic_update_slice(cx: &mut Node) -> Result<Lowered> {
    let (x, update, start) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
    let start = cx.need_ints(start, "where an update starts")?;
    let rank = cx.rank(x);
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for axis in 0..rank {
        let (whole, part) = (cx.need_extent(x, axis, "a tensor")?, cx.need_extent(update, axis, "an update")?);
        let room =
            whole.checked_sub(part).ok_or_else(|| ImportError::invalid("the update is larger than the tensor"))?;
        let room = i64::try_from(room).unwrap_or(i64::MAX);
        let at = start.get(axis).copied().unwrap_or(0).clamp(0, room);
        before.push(at);
        after.push(room.saturating_sub(at));
    }
    let shape = cx.walker.builder.ty(update).known_shape().unwrap_or_default();
    cx.walker.budget.made(&shape, 1, "a mask")?;
    let ones = Tensor::new(&shape, vec![true; pocketnn::checked_len(&shape)?])?;
    let ones = cx.tensor(ones);
    before.append(&mut after);
    let pads = cx.integers(&before);
    let zero = cx.scalar(0.0, cx.dtype(x))?;
    let no = cx.tensor(Tensor::scalar(false));
    let wide = cx.op(Pad::default(), &[update, pads, zero])?;
    let mask = cx.op(Pad::default(), &[ones, pads, no])?;
    one(cx.op(Where::default(), &[mask, wide, x])?)
}
