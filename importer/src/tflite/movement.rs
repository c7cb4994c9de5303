//! The same elements in other places: no arithmetic.

use pocketnn::ops::gather::Gather;
use pocketnn::ops::movement::{
    Concat, DepthToSpace, Identity, Reshape, Reverse, Slice, SpaceToDepth, Split, Squeeze, Tile, Transpose, Unsqueeze,
};
use pocketnn::{DType, Tensor, ValueId};

use super::logic::expand;
use super::node::{Lowered, Node, all, one};
use super::registry::{Row, both, moves};
use crate::error::{ImportError, Result};

pub(super) const ROWS: &[Row] = &[
    moves("BATCH_TO_SPACE_ND", batch_to_space),
    moves("BROADCAST_TO", broadcast_to),
    both("CONCATENATION", concatenation),
    moves("DEPTH_TO_SPACE", depth_to_space),
    moves("EXPAND_DIMS", expand_dims),
    moves("PACK", pack),
    moves("RESHAPE", reshape),
    moves("REVERSE_SEQUENCE", reverse_sequence),
    moves("REVERSE_V2", reverse),
    moves("SLICE", slice),
    moves("SPACE_TO_BATCH_ND", space_to_batch),
    moves("SPACE_TO_DEPTH", space_to_depth),
    moves("SPLIT", split),
    moves("SPLIT_V", split_v),
    moves("SQUEEZE", squeeze),
    moves("STRIDED_SLICE", strided_slice),
    moves("TILE", tile),
    moves("TRANSPOSE", transpose),
    moves("UNPACK", unpack),
];

fn broadcast_to(cx: &mut Node) -> Result<Lowered> {
    let (x, shape) = (cx.input(0)?, cx.input(1)?);
    one(expand(cx, x, shape)?)
}

fn concatenation(cx: &mut Node) -> Result<Lowered> {
    let axis = i64::from(cx.options.int(0, 0)?);
    let kind = cx.fused(1)?;
    let parts = if cx.quantized() { super::quantize::alike(cx)? } else { cx.all_inputs()? };
    let y = if let [only] = parts.as_slice() {
        cx.op(Identity::default(), &[*only])?
    } else {
        cx.op(Concat { axis }, &parts)?
    };
    one(if cx.quantized() { y } else { cx.activated(y, kind)? })
}

fn depth_to_space(cx: &mut Node) -> Result<Lowered> {
    let block = cx.options.size(0, 0)?;
    let x = cx.input(0)?;
    let x = cx.channels_first(x)?;
    let y = cx.op(DepthToSpace { block, ..DepthToSpace::default() }, &[x])?;
    one(cx.channels_last(y)?)
}

fn space_to_depth(cx: &mut Node) -> Result<Lowered> {
    let block = cx.options.size(0, 0)?;
    let x = cx.input(0)?;
    let x = cx.channels_first(x)?;
    let y = cx.op(SpaceToDepth { block, ..SpaceToDepth::default() }, &[x])?;
    one(cx.channels_last(y)?)
}

fn expand_dims(cx: &mut Node) -> Result<Lowered> {
    let (x, axis) = (cx.input(0)?, cx.input(1)?);
    let axes = cx.need_ints(axis, "an axis")?;
    let axes = cx.integers(&axes);
    one(cx.op(Unsqueeze::default(), &[x, axes])?)
}

fn pack(cx: &mut Node) -> Result<Lowered> {
    cx.options.ignore(&[0]);
    let axis = i64::from(cx.options.int(1, 0)?);
    let axes = cx.integers(&[axis]);
    let mut parts = Vec::new();
    for x in cx.all_inputs()? {
        parts.push(cx.op(Unsqueeze::default(), &[x, axes])?);
    }
    one(if let [only] = parts.as_slice() { *only } else { cx.op(Concat { axis }, &parts)? })
}

fn unpack(cx: &mut Node) -> Result<Lowered> {
    let axis = i64::from(cx.options.int(1, 0)?);
    cx.options.ignore(&[0]);
    let (x, count) = (cx.input(0)?, cx.outputs());
    let at = cx.axis(axis, cx.rank(x))?;
    if cx.extent(x, at).is_some_and(|n| n != count) {
        return Err(ImportError::invalid("the number of outputs is not the axis's extent")
            .expected(cx.extent(x, at).unwrap_or(0))
            .found(count));
    }
    let axes = cx.integers(&[axis]);
    if count == 1 {
        return one(cx.op(Squeeze::default(), &[x, axes])?);
    }
    let parts = cx.emit(Split { axis }, &[Some(x)], count)?;
    let parts = parts.into_iter().map(|p| cx.op(Squeeze::default(), &[p, axes])).collect::<Result<Vec<_>>>()?;
    all(parts)
}

fn reshape(cx: &mut Node) -> Result<Lowered> {
    let given = cx.options.ints::<i32>(0)?;
    let x = cx.input(0)?;
    let shape = match (cx.maybe(1)?, given) {
        (Some(shape), _) => cx.as_i64(shape)?,
        (None, Some(shape)) => {
            let shape: Vec<i64> = shape.into_iter().map(i64::from).collect();
            cx.integers(&shape)
        }
        (None, None) => cx.integers(&[]),
    };
    one(cx.op(Reshape { allow_zero: true }, &[x, shape])?)
}

fn reverse(cx: &mut Node) -> Result<Lowered> {
    let (x, axes) = (cx.input(0)?, cx.input(1)?);
    let axes = cx.need_ints(axes, "axes")?;
    one(cx.op(Reverse { axes }, &[x])?)
}

/// The first `lengths[n]` elements of each row in reverse order.
fn reverse_sequence(cx: &mut Node) -> Result<Lowered> {
    let (x, lengths) = (cx.input(0)?, cx.input(1)?);
    let rank = cx.rank(x);
    let sequence = cx.axis(cx.options.int(0, 0)?.into(), rank)?;
    let batch = cx.axis(cx.options.int(1, 0)?.into(), rank)?;
    let lengths = cx.need_ints(lengths, "lengths of sequences")?;
    let (rows, steps) = (cx.need_extent(x, batch, "a batch")?, cx.need_extent(x, sequence, "a sequence")?);
    if lengths.len() != rows || sequence == batch {
        return Err(ImportError::invalid("the number of lengths").expected(rows).found(lengths.len()));
    }
    let steps = i64::try_from(steps).unwrap_or(i64::MAX);
    let axis = i64::try_from(batch).unwrap_or(0);
    let parts = if rows == 1 { vec![x] } else { cx.emit(Split { axis }, &[Some(x)], rows)? };
    let mut turned = Vec::new();
    for (part, length) in parts.into_iter().zip(lengths) {
        let length = length.clamp(0, steps);
        cx.walker.budget.elements(&[steps.unsigned_abs()], 8, "positions of a sequence")?;
        let order: Vec<i64> = (0..length).rev().chain(length..steps).collect();
        let order = cx.integers(&order);
        turned.push(cx.op(Gather { axis: i64::try_from(sequence).unwrap_or(0) }, &[part, order])?);
    }
    one(if let [only] = turned.as_slice() { *only } else { cx.op(Concat { axis }, &turned)? })
}

/// Inputs `x`, `begin`, `size`; a size of -1 is the rest.
fn slice(cx: &mut Node) -> Result<Lowered> {
    let (x, begin, size) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
    let (begin, size) = (cx.as_i64(begin)?, cx.as_i64(size)?);
    let ends = match (cx.ints(begin), cx.ints(size)) {
        (Some(begin), Some(size)) => {
            let end = |(b, s): (&i64, &i64)| if *s == -1 { i64::MAX } else { b.saturating_add(*s) };
            let ends: Vec<i64> = begin.iter().zip(&size).map(end).collect();
            cx.integers(&ends)
        }
        (None, Some(size)) if !size.contains(&-1) => {
            let size = cx.integers(&size);
            cx.binary(pocketnn::ops::elementwise::BinaryKind::Add, begin, size)?
        }
        _ => {
            return Err(ImportError::unsupported("a slice whose size is computed while running is not supported"));
        }
    };
    one(cx.op(Slice::default(), &[x, begin, ends])?)
}

fn split(cx: &mut Node) -> Result<Lowered> {
    cx.options.ignore(&[0]);
    let (axis, x) = (cx.input(0)?, cx.input(1)?);
    let axis = cx.need_ints(axis, "an axis")?.first().copied().unwrap_or(0);
    parts(cx, x, axis, None)
}

fn split_v(cx: &mut Node) -> Result<Lowered> {
    cx.options.ignore(&[0]);
    let (x, sizes, axis) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
    let axis = cx.need_ints(axis, "an axis")?.first().copied().unwrap_or(0);
    let mut sizes = cx.need_ints(sizes, "sizes of parts")?;
    if let Some(rest) = sizes.iter().position(|&s| s == -1) {
        let at = cx.axis(axis, cx.rank(x))?;
        let whole = i64::try_from(cx.need_extent(x, at, "an axis that is split")?).unwrap_or(i64::MAX);
        let others = sizes.iter().filter(|&&s| s != -1).fold(0i64, |a, &b| a.saturating_add(b));
        if let Some(s) = sizes.get_mut(rest) {
            *s = whole.saturating_sub(others);
        }
    }
    let sizes = cx.integers(&sizes);
    parts(cx, x, axis, Some(sizes))
}

fn parts(cx: &mut Node, x: ValueId, axis: i64, sizes: Option<ValueId>) -> Result<Lowered> {
    match cx.outputs() {
        1 => one(cx.op(Identity::default(), &[x])?),
        n => all(cx.emit(Split { axis }, &[Some(x), sizes], n)?),
    }
}

fn squeeze(cx: &mut Node) -> Result<Lowered> {
    let axes = cx.options.ints::<i32>(0)?.unwrap_or_default();
    let x = cx.input(0)?;
    if axes.is_empty() {
        return one(cx.op_with(Squeeze::default(), &[Some(x)])?);
    }
    let axes: Vec<i64> = axes.into_iter().map(i64::from).collect();
    let axes = cx.integers(&axes);
    one(cx.op(Squeeze::default(), &[x, axes])?)
}

fn tile(cx: &mut Node) -> Result<Lowered> {
    let (x, repeats) = (cx.input(0)?, cx.input(1)?);
    let repeats = cx.as_i64(repeats)?;
    one(cx.op(Tile::default(), &[x, repeats])?)
}

fn transpose(cx: &mut Node) -> Result<Lowered> {
    let (x, perm) = (cx.input(0)?, cx.input(1)?);
    let perm = cx.need_ints(perm, "a permutation")?;
    let rank = cx.rank(x);
    let perm = perm.into_iter().map(|p| cx.axis(p, rank)).collect::<Result<Vec<usize>>>()?;
    one(cx.op(Transpose { perm }, &[x])?)
}

/// One axis of a strided slice.
struct Cut {
    axis: usize,
    begin: Option<i64>,
    end: Option<i64>,
    step: i64,
}

fn strided_slice(cx: &mut Node) -> Result<Lowered> {
    let mask = |cx: &Node, field: usize| cx.options.int(field, 0);
    let (begin_mask, end_mask) = (mask(cx, 0)?, mask(cx, 1)?);
    let (ellipsis, new_axis, shrink) = (mask(cx, 2)?, mask(cx, 3)?, mask(cx, 4)?);
    if cx.options.flag(5, false)? {
        return Err(
            ImportError::unsupported("ends counted from the beginnings are not supported").at_attribute("offset")
        );
    }
    let x = cx.input(0)?;
    let (begin, end, step) = (cx.input(1)?, cx.input(2)?, cx.input(3)?);
    let step = cx.need_ints(step, "steps of a slice")?;
    let set = |mask: i32, i: usize| i < 32 && mask & (1i32 << i) != 0;
    let entries = step.len();
    let known = |cx: &Node, v: ValueId| -> Vec<Option<i64>> {
        let dims = cx.dims(v).unwrap_or_default();
        let list = cx.ints(v);
        (0..entries)
            .map(|i| list.as_ref().and_then(|l| l.get(i).copied()).or_else(|| dims.get(i)?.known_signed()))
            .collect()
    };
    let (begins, ends) = (known(cx, begin), known(cx, end));
    let rank = cx.rank(x);
    let named = (0..entries).filter(|&i| !set(new_axis, i) && !set(ellipsis, i)).count();
    let skipped = rank
        .checked_sub(named)
        .ok_or_else(|| ImportError::invalid("more slices than axes").expected(rank).found(named))?;
    // Axes of x as they are walked; places of new axes and of removed ones in the output.
    let (mut axis, mut cuts, mut removed, mut added, mut out) = (0usize, Vec::new(), Vec::new(), Vec::new(), 0i64);
    for i in 0..entries {
        if set(ellipsis, i) {
            axis = axis.saturating_add(skipped);
            out = out.saturating_add(i64::try_from(skipped).unwrap_or(0));
            continue;
        }
        if set(new_axis, i) {
            added.push(out);
            out = out.saturating_add(1);
            continue;
        }
        let entry = |l: &[Option<i64>]| l.get(i).copied().flatten();
        if set(shrink, i) {
            removed.push((axis, i, entry(&begins)));
        } else {
            let need = |masked: bool, l: &[Option<i64>]| -> Result<Option<i64>> {
                match (masked, entry(l)) {
                    (true, _) => Ok(None),
                    (false, Some(n)) => Ok(Some(n)),
                    (false, None) => Err(ImportError::unsupported(
                        "a slice whose bounds are computed while running is not supported",
                    )),
                }
            };
            let (b, e) = (need(set(begin_mask, i), &begins)?, need(set(end_mask, i), &ends)?);
            let step = step.get(i).copied().unwrap_or(1);
            if b.is_some() || e.is_some() || step != 1 {
                cuts.push(Cut { axis, begin: b, end: e, step });
            }
            out = out.saturating_add(1);
        }
        axis = axis.saturating_add(1);
    }
    let mut y = cut(cx, x, &cuts)?;
    for (axis, entry, place) in removed.into_iter().rev() {
        let index = match place {
            Some(n) => cx.tensor(Tensor::scalar(n)),
            None => element(cx, begin, entry)?,
        };
        y = cx.op(Gather { axis: i64::try_from(axis).unwrap_or(0) }, &[y, index])?;
    }
    if !added.is_empty() {
        let axes = cx.integers(&added);
        y = cx.op(Unsqueeze::default(), &[y, axes])?;
    }
    one(if y == x { cx.op(Identity::default(), &[x])? } else { y })
}

/// One element of a vector, as an i64 scalar.
fn element(cx: &mut Node, list: ValueId, i: usize) -> Result<ValueId> {
    let at = cx.tensor(Tensor::scalar(i64::try_from(i).unwrap_or(i64::MAX)));
    let one = cx.op(Gather { axis: 0 }, &[list, at])?;
    cx.cast(one, DType::I64)
}

fn cut(cx: &mut Node, x: ValueId, cuts: &[Cut]) -> Result<ValueId> {
    if cuts.is_empty() {
        return Ok(x);
    }
    let list = |f: &dyn Fn(&Cut) -> i64| cuts.iter().map(f).collect::<Vec<i64>>();
    let begins = list(&|c| c.begin.unwrap_or(if c.step < 0 { i64::MAX } else { 0 }));
    let ends = list(&|c| c.end.unwrap_or(if c.step < 0 { i64::MIN } else { i64::MAX }));
    let axes = list(&|c| i64::try_from(c.axis).unwrap_or(0));
    let steps = list(&|c| c.step);
    let [begins, ends, axes, steps] = [begins, ends, axes, steps].map(|l| cx.integers(&l));
    cx.op(Slice::default(), &[x, begins, ends, axes, steps])
}

/// Blocks of pixels become images: inputs `x [N, H, W, C]`, `block`, `pads [2, 2]`.
fn space_to_batch(cx: &mut Node) -> Result<Lowered> {
    let (x, block, pads) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
    let (block, pads) = (cx.need_ints(block, "a block")?, cx.need_ints(pads, "pads")?);
    let spatial = block.len();
    let rank = cx.rank(x);
    let zero = super::pad::zero(cx, x)?;
    let mut widths = vec![0i64; rank.saturating_mul(2)];
    for (i, pair) in pads.chunks(2).enumerate() {
        for (half, &p) in pair.iter().enumerate() {
            let at = i.saturating_add(1).saturating_add(half.saturating_mul(rank));
            if let Some(w) = widths.get_mut(at) {
                *w = p;
            }
        }
    }
    let widths = cx.integers(&widths);
    let x = cx.op(pocketnn::ops::movement::Pad::default(), &[x, widths, zero])?;
    let extents = extents(cx, x)?;
    let get = |i: usize| extents.get(i).copied().unwrap_or(1);
    // [N, H / b, b, W / c, c, ...] to [b, c, N, H / b, W / c, ...].
    let mut split = vec![get(0)];
    for (i, &b) in block.iter().enumerate() {
        if b < 1 || get(i.saturating_add(1)) % b != 0 {
            return Err(ImportError::invalid("the block does not divide the padded extent").found(b));
        }
        split.extend([get(i.saturating_add(1)) / b, b]);
    }
    split.extend(extents.iter().skip(spatial.saturating_add(1)));
    let y = cx.reshape(x, &split)?;
    let blocks = (0..spatial).map(|i| i.saturating_mul(2).saturating_add(2));
    let rest = (0..spatial).map(|i| i.saturating_mul(2).saturating_add(1));
    let tail = spatial.saturating_mul(2).saturating_add(1)..split.len();
    let perm: Vec<usize> = blocks.chain([0]).chain(rest).chain(tail).collect();
    let y = cx.transpose(y, &perm)?;
    let area = block.iter().fold(1i64, |a, &b| a.saturating_mul(b));
    let mut shape = vec![get(0).saturating_mul(area)];
    shape.extend(block.iter().enumerate().map(|(i, &b)| get(i.saturating_add(1)) / b.max(1)));
    shape.extend(extents.iter().skip(spatial.saturating_add(1)));
    one(cx.reshape(y, &shape)?)
}

/// Images become blocks of pixels: inputs `x`, `block`, `crops [2, 2]`.
fn batch_to_space(cx: &mut Node) -> Result<Lowered> {
    let (x, block, crops) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
    let (block, crops) = (cx.need_ints(block, "a block")?, cx.need_ints(crops, "crops")?);
    let spatial = block.len();
    let extents = extents(cx, x)?;
    let get = |i: usize| extents.get(i).copied().unwrap_or(1);
    let area = block.iter().fold(1i64, |a, &b| a.saturating_mul(b));
    if area < 1 || get(0) % area != 0 {
        return Err(ImportError::invalid("the block does not divide the number of images").found(area));
    }
    let images = get(0) / area;
    let mut split = block.clone();
    split.push(images);
    split.extend(extents.iter().skip(1));
    let y = cx.reshape(x, &split)?;
    // [b, c, N, H, W, ...] to [N, H, b, W, c, ...].
    let pairs = (0..spatial).flat_map(|i| [spatial.saturating_add(1).saturating_add(i), i]);
    let tail = spatial.saturating_mul(2).saturating_add(1)..split.len();
    let perm: Vec<usize> = std::iter::once(spatial).chain(pairs).chain(tail).collect();
    let y = cx.transpose(y, &perm)?;
    let mut shape = vec![images];
    shape.extend(block.iter().enumerate().map(|(i, &b)| get(i.saturating_add(1)).saturating_mul(b)));
    shape.extend(extents.iter().skip(spatial.saturating_add(1)));
    let y = cx.reshape(y, &shape)?;
    let crop = |(i, c): (usize, &[i64])| {
        let whole = shape.get(i.saturating_add(1)).copied().unwrap_or(0);
        let (before, after) = (c.first().copied().unwrap_or(0), c.last().copied().unwrap_or(0));
        Cut { axis: i.saturating_add(1), begin: Some(before), end: Some(whole.saturating_sub(after)), step: 1 }
    };
    let cuts: Vec<Cut> = crops.chunks(2).enumerate().map(crop).collect();
    one(cut(cx, y, &cuts)?)
}

/// Extents that have to be known.
fn extents(cx: &Node, x: ValueId) -> Result<Vec<i64>> {
    (0..cx.rank(x))
        .map(|a| Ok(i64::try_from(cx.need_extent(x, a, "a tensor that is cut in blocks")?).unwrap_or(i64::MAX)))
        .collect()
}
