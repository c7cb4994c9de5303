//! Elements moved, repeated, joined and cut.

use pocketnn::ops::elementwise::{BinaryKind, Where};
use pocketnn::ops::gather::{Gather, GatherElements};
use pocketnn::ops::movement::{
    Concat, DepthOrder, DepthToSpace, Expand, Pad, Range, Reshape, Slice, SpaceToDepth, Split, Squeeze, Tile, Unsqueeze,
};
use pocketnn::ops::reduce::{Reduce, ReduceKind};
use pocketnn::{DType, Dim, ValueId};

use super::attrs::{missing, unknown_value};
use super::elem::Elem;
use super::node::{Lowered, Node, V, one};
use super::registry::{Row, op};
use crate::error::{ImportError, Result};

pub(super) const ROWS: &[Row] = &[
    op("CenterCropPad", &[18], center_crop_pad),
    op("Concat", &[1, 4, 11, 13], concat),
    op("DepthToSpace", &[1, 11, 13, 28], depth_to_space),
    op("Expand", &[8, 13], expand),
    op("Flatten", &[1, 9, 11, 13, 21, 23, 24, 25], flatten),
    op("Reshape", &[1, 5, 13, 14, 19, 21, 23, 24, 25], reshape),
    op("ReverseSequence", &[10, 28], reverse_sequence),
    op("Slice", &[1, 10, 11, 13], slice),
    op("SpaceToDepth", &[1, 13, 28], space_to_depth),
    op("Split", &[1, 2, 11, 13, 18], split),
    op("Squeeze", &[1, 11, 13, 21, 23, 24, 25], squeeze),
    op("Tile", &[1, 6, 13], tile),
    op("Transpose", &[1, 13, 21, 23, 24, 25], transpose),
    op("Unsqueeze", &[1, 11, 13, 21, 23, 24, 25], unsqueeze),
];

/// The axis was optional in opset 1.
fn concat(cx: &mut Node) -> Result<Lowered> {
    let inputs = cx.all_inputs()?;
    let axis = match cx.attrs.opt_int("axis")? {
        Some(axis) => axis,
        None if cx.since < 4 => 1,
        None => return Err(missing("axis")),
    };
    let first = cx.input(0)?;
    if inputs.len() == 1 {
        return one(first);
    }
    let ids: Vec<ValueId> = inputs.iter().map(|v| v.id).collect();
    one(cx.op(Concat { axis }, &ids, first.elem)?)
}

/// The shape is an attribute before opset 5.
fn reshape(cx: &mut Node) -> Result<Lowered> {
    cx.attrs.ignore(&["consumed_inputs"]);
    let x = cx.input(0)?;
    let shape = if cx.since < 5 {
        let shape = cx.attrs.ints("shape")?.ok_or_else(|| missing("shape"))?;
        cx.integers(&shape)
    } else {
        let shape = cx.input(1)?;
        cx.as_i64(shape)?
    };
    let allow_zero = cx.attrs.flag("allowzero", false)?;
    one(cx.op(Reshape { allow_zero }, &[x.id, shape], x.elem)?)
}

fn flatten(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    let axis = cx.attrs.int("axis", 1)?;
    let rank = cx.rank(x);
    let axis = if usize::try_from(axis).is_ok_and(|a| a == rank) { rank } else { cx.axis(axis, rank)? };
    one(matrix(cx, x, axis)?)
}

/// `x` as a matrix: axes before `axis` are rows, the others columns.
pub(super) fn matrix(cx: &mut Node, x: V, axis: usize) -> Result<V> {
    let shape = cx.shape(x).to_vec();
    let (before, after) = shape.split_at(axis.min(shape.len()));
    let (rows, columns) = (Dim::product(before), Dim::product(after));
    let number = |d: &Dim| d.known_signed();
    let target = match (number(&rows), number(&columns)) {
        (Some(r), Some(c)) => {
            let shape = cx.integers(&[r, c]);
            return cx.op(Reshape { allow_zero: true }, &[x.id, shape], x.elem);
        }
        (_, Some(c)) if c > 0 && axis == 1 => [0, c],
        (_, Some(c)) if c > 0 => [-1, c],
        (Some(r), _) if r > 0 => [r, -1],
        _ if axis == 1 => [0, -1],
        _ => {
            let parts = [product(cx, x, 0, axis)?, product(cx, x, axis, shape.len())?];
            let target = cx.op(Concat { axis: 0 }, &parts.map(|p| p.id), Elem::I64)?;
            return cx.op(Reshape { allow_zero: true }, &[x.id, target.id], x.elem);
        }
    };
    cx.reshape(x, &target)
}

/// Product of the extents from axis `start` to `end`, as a vector of one number.
fn product(cx: &mut Node, x: V, start: usize, end: usize) -> Result<V> {
    let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let op = pocketnn::ops::movement::Shape { start: number(start), end: Some(number(end)) };
    let part = cx.op(op, &[x.id], Elem::I64)?;
    cx.op(Reduce { kind: ReduceKind::Prod, keep_dims: true, ..Reduce::default() }, &[part.id], Elem::I64)
}

fn transpose(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    let rank = cx.rank(x);
    let perm = cx.attrs.extents("perm")?.filter(|p| !p.is_empty()).unwrap_or_else(|| (0..rank).rev().collect());
    one(cx.transpose(x, &perm)?)
}

/// Axes that are an attribute before opset 13, then input 1.
fn axes(cx: &mut Node) -> Result<Option<ValueId>> {
    if cx.since < 13 {
        let axes = cx.attrs.ints("axes")?;
        return Ok(axes.map(|a| cx.integers(&a)));
    }
    let axes = cx.maybe(1)?;
    axes.map(|a| cx.as_i64(a)).transpose()
}

fn squeeze(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    let axes = axes(cx)?;
    // Without axes, an extent that data decides is taken not to be 1; a run in which it is one ends with an error.
    one(cx.op_with(Squeeze::default(), &[Some(x.id), axes], x.elem)?)
}

fn unsqueeze(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    let axes = axes(cx)?.ok_or_else(|| missing("axes"))?;
    one(cx.op(Unsqueeze::default(), &[x.id, axes], x.elem)?)
}

/// Starts, ends and axes are attributes before opset 10.
fn slice(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    let mut inputs = vec![Some(x.id)];
    if cx.since < 10 {
        let starts = cx.attrs.ints("starts")?.ok_or_else(|| missing("starts"))?;
        let ends = cx.attrs.ints("ends")?.ok_or_else(|| missing("ends"))?;
        let axes = cx.attrs.ints("axes")?.unwrap_or_else(|| (0i64..).take(starts.len()).collect());
        inputs.extend([starts, ends, axes].map(|list| Some(cx.integers(&list))));
    } else {
        for i in 1..5 {
            let operand = cx.maybe(i)?;
            inputs.push(operand.map(|v| cx.as_i64(v)).transpose()?);
        }
    }
    one(cx.op_with(Slice::default(), &inputs, x.elem)?)
}

/// Sizes are an attribute in opsets 2 to 12, an input otherwise; without them the parts are equal.
fn split(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    let axis = cx.attrs.int("axis", 0)?;
    let listed = if cx.since < 13 { cx.attrs.ints("split")? } else { None };
    let sizes = match (listed, cx.maybe(1)?) {
        (Some(list), _) => Some(cx.integers(&list)),
        (None, Some(v)) => Some(cx.as_i64(v)?),
        (None, None) => None,
    };
    let outputs = cx.node.outputs.len();
    if let Some(n) = cx.attrs.opt_int("num_outputs")?
        && usize::try_from(n).ok() != Some(outputs)
    {
        return Err(ImportError::invalid("not the number of outputs")
            .expected(outputs)
            .found(n)
            .at_attribute("num_outputs"));
    }
    if sizes.is_none() && cx.since < 18 {
        let at = cx.axis(axis, cx.rank(x))?;
        if let Some(extent) = cx.extent(x, at)
            && outputs > 0
            && !extent.is_multiple_of(outputs)
        {
            return Err(ImportError::invalid("the axis cannot be cut into equal parts")
                .expected(format!("a multiple of {outputs}"))
                .found(extent));
        }
    }
    let ids = cx.emit(Split { axis }, &[Some(x.id), sizes], outputs)?;
    Ok(ids.into_iter().map(|id| V { id, elem: x.elem }.into()).collect())
}

/// Opset 1 repeats one axis.
fn tile(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    let repeats = cx.input(1)?;
    if cx.since >= 6 {
        let repeats = cx.as_i64(repeats)?;
        return one(cx.op(Tile::default(), &[x.id, repeats], x.elem)?);
    }
    let axis = cx.input(2)?;
    let scalar = |cx: &Node, v: V| cx.const_floats(v).and_then(|f| f.first().copied()).map(|f| f as i64);
    let (Some(times), Some(axis)) = (scalar(cx, repeats), scalar(cx, axis)) else {
        return Err(ImportError::unsupported("tiles and axis computed while running are not supported"));
    };
    let rank = cx.rank(x);
    let axis = cx.axis(axis, rank)?;
    let list: Vec<i64> = (0..rank).map(|i| if i == axis { times } else { 1 }).collect();
    let repeats = cx.integers(&list);
    one(cx.op(Tile::default(), &[x.id, repeats], x.elem)?)
}

fn expand(cx: &mut Node) -> Result<Lowered> {
    let (x, shape) = (cx.input(0)?, cx.input(1)?);
    let shape = cx.convert(shape.id, DType::I64)?;
    one(cx.op(Expand::default(), &[x.id, shape], x.elem)?)
}

fn block(cx: &Node) -> Result<usize> {
    let block = cx.attrs.opt_int("blocksize")?.ok_or_else(|| missing("blocksize"))?;
    usize::try_from(block).ok().filter(|&b| b > 0).ok_or_else(|| {
        ImportError::invalid("the block size").expected("at least 1").found(block).at_attribute("blocksize")
    })
}

fn order(cx: &Node) -> Result<DepthOrder> {
    match cx.attrs.string("mode", "DCR")?.as_str() {
        "DCR" => Ok(DepthOrder::Dcr),
        "CRD" => Ok(DepthOrder::Crd),
        other => Err(unknown_value("mode", "`DCR` or `CRD`", other)),
    }
}

fn depth_to_space(cx: &mut Node) -> Result<Lowered> {
    let (x, block, order) = (cx.input(0)?, block(cx)?, order(cx)?);
    one(cx.op(DepthToSpace { block, order }, &[x.id], x.elem)?)
}

fn space_to_depth(cx: &mut Node) -> Result<Lowered> {
    let (x, block, order) = (cx.input(0)?, block(cx)?, order(cx)?);
    one(cx.op(SpaceToDepth { block, order }, &[x.id], x.elem)?)
}

/// Cuts or pads axes to a wanted size, the same at both ends; the odd one at the end.
fn center_crop_pad(cx: &mut Node) -> Result<Lowered> {
    let (x, wanted) = (cx.input(0)?, cx.input(1)?);
    let wanted = V { id: cx.as_i64(wanted)?, elem: Elem::I64 };
    let rank = cx.rank(x);
    let axes = cx.attrs.ints("axes")?.unwrap_or_else(|| (0i64..).take(rank).collect());
    let axes = axes.into_iter().map(|a| cx.axis(a, rank)).collect::<Result<Vec<_>>>()?;
    let axes: Vec<i64> = axes.into_iter().map(|a| i64::try_from(a).unwrap_or(0)).collect();
    let axes = cx.integers(&axes);
    let shape = cx.op(pocketnn::ops::movement::Shape::default(), &[x.id], Elem::I64)?;
    let have = cx.op(Gather { axis: 0 }, &[shape.id, axes], Elem::I64)?;
    let (zero, two) = (cx.scalar_like(have, 0.0)?, cx.scalar_like(have, 2.0)?);
    let kept = cx.binary(BinaryKind::Min, have, wanted)?;
    let excess = cx.binary(BinaryKind::Sub, have, kept)?;
    let start = cx.binary(BinaryKind::Div, excess, two)?;
    let end = cx.binary(BinaryKind::Add, start, kept)?;
    let cut = cx.op(Slice::default(), &[x.id, start.id, end.id, axes], x.elem)?;
    let lack = cx.binary(BinaryKind::Sub, wanted, kept)?;
    let lack = cx.binary(BinaryKind::Max, lack, zero)?;
    let before = cx.binary(BinaryKind::Div, lack, two)?;
    let after = cx.binary(BinaryKind::Sub, lack, before)?;
    let pads = cx.op(Concat { axis: 0 }, &[before.id, after.id], Elem::I64)?;
    one(cx.op_with(Pad::default(), &[Some(cut.id), Some(pads.id), None, Some(axes)], x.elem)?)
}

/// The first `lengths[n]` elements of each sequence in reverse order: positions, then a gather.
fn reverse_sequence(cx: &mut Node) -> Result<Lowered> {
    let (x, lengths) = (cx.input(0)?, cx.input(1)?);
    let rank = cx.rank(x);
    let (batch, time) = (cx.axis(cx.attrs.int("batch_axis", 1)?, rank)?, cx.axis(cx.attrs.int("time_axis", 0)?, rank)?);
    if batch == time {
        return Err(ImportError::invalid("batch axis and time axis must differ").found(batch));
    }
    let along = |axis: usize| -> Vec<i64> { (0..rank).map(|i| if i == axis { -1 } else { 1 }).collect() };
    let shape = cx.op(pocketnn::ops::movement::Shape::default(), &[x.id], Elem::I64)?;
    let at = cx.tensor(pocketnn::Tensor::scalar(i64::try_from(time).unwrap_or(0)));
    let steps = cx.op(Gather { axis: 0 }, &[shape.id, at], Elem::I64)?;
    let (zero, unit) = (cx.scalar_like(steps, 0.0)?, cx.scalar_like(steps, 1.0)?);
    let t = cx.op(Range::default(), &[zero.id, steps.id, unit.id], Elem::I64)?;
    let t = cx.reshape(t, &along(time))?;
    let lengths = V { id: cx.as_i64(lengths)?, elem: Elem::I64 };
    let lengths = cx.reshape(lengths, &along(batch))?;
    let last = cx.binary(BinaryKind::Sub, lengths, unit)?;
    let mirrored = cx.binary(BinaryKind::Sub, last, t)?;
    let inside = cx.compare(BinaryKind::Lt, t, lengths)?;
    let place = cx.op(Where::default(), &[inside.id, mirrored.id, t.id], Elem::I64)?;
    let place = cx.op(Expand::default(), &[place.id, shape.id], Elem::I64)?;
    one(cx.op(GatherElements { axis: i64::try_from(time).unwrap_or(0) }, &[x.id, place.id], x.elem)?)
}
