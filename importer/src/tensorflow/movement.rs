//! Elements moved, repeated, joined and cut.

use pocketnn::ops::elementwise::BinaryKind;
use pocketnn::ops::gather::{Gather, Trilu};
use pocketnn::ops::movement::{
    Concat, DepthOrder, DepthToSpace, Pad, PadMode, Reverse, Slice, SpaceToDepth, Split, Tile,
};
use pocketnn::{DType, ValueId};

use super::attrs::{missing, unknown_value};
use super::elem::Elem;
use super::node::{Lowered, Node, V, int, many, one};
use super::registry::{Row, op};
use crate::error::{ImportError, Result};

pub(super) const ROWS: &[Row] = &[
    op("Concat", concat),
    op("ConcatV2", concat_v2),
    op("DepthToSpace", depth_to_space),
    op("MatrixBandPart", band),
    op("MirrorPad", mirror_pad),
    op("Pack", pack),
    op("Pad", pad),
    op("PadV2", pad),
    op("Reverse", reverse),
    op("ReverseV2", reverse_v2),
    op("Roll", roll),
    op("Slice", slice),
    op("SpaceToDepth", space_to_depth),
    op("Split", split),
    op("SplitV", split_v),
    op("StridedSlice", strided_slice),
    op("Tile", tile),
    op("Transpose", transpose),
    op("Unpack", unpack),
];

/// The axis is the first operand.
fn concat<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    cx.attrs.ignore(&["N"]);
    let axis = cx.need_int(0, "the axis")?;
    let mut parts = Vec::new();
    for i in 1..cx.len() {
        parts.push(cx.input(i)?);
    }
    one(cx.concat(&parts, axis)?)
}

/// The axis is the last operand.
fn concat_v2<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    cx.attrs.ignore(&["N"]);
    let last = cx.len().saturating_sub(1);
    let axis = cx.need_int(last, "the axis")?;
    let mut parts = Vec::new();
    for i in 0..last {
        parts.push(cx.input(i)?);
    }
    one(cx.concat(&parts, axis)?)
}

fn pack<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    cx.attrs.ignore(&["N"]);
    let axis = cx.attrs.int("axis", 0)?;
    let mut parts = Vec::new();
    for v in cx.all_inputs()? {
        parts.push(cx.unsqueeze(v, &[axis])?);
    }
    one(cx.concat(&parts, axis)?)
}

fn unpack<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let x = cx.input(0)?;
    let axis = cx.attrs.int("axis", 0)?;
    let axis = cx.axis(axis, cx.rank(x))?;
    let count = cx.attrs.opt_int("num")?.and_then(|n| usize::try_from(n).ok()).ok_or_else(|| missing("num"))?;
    if cx.extent(x, axis).is_some_and(|n| n != count) {
        return Err(ImportError::invalid("not the extent of the axis").found(count).at_attribute("num"));
    }
    cx.walker.cx.budget.entries(u64::try_from(count).unwrap_or(u64::MAX), "outputs")?;
    let mut parts = Vec::new();
    for i in 0..int(count) {
        let part = cx.slice(x, axis, i, i.saturating_add(1))?;
        parts.push(cx.squeeze(part, &[int(axis)])?);
    }
    many(parts)
}

fn outputs(cx: &Node, what: &str) -> Result<usize> {
    let n = cx.attrs.opt_int(what)?.and_then(|n| usize::try_from(n).ok()).ok_or_else(|| missing(what))?;
    cx.walker.cx.budget.entries(u64::try_from(n).unwrap_or(u64::MAX), "outputs")?;
    Ok(n)
}

fn split<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let axis = cx.need_int(0, "the axis")?;
    let (x, n) = (cx.input(1)?, outputs(cx, "num_split")?);
    let at = cx.axis(axis, cx.rank(x))?;
    if cx.extent(x, at).is_some_and(|e| n == 0 || !e.is_multiple_of(n)) {
        return Err(ImportError::invalid("the axis cannot be cut into equal parts").found(n));
    }
    let ids = cx.emit(Split { axis }, &[Some(x.id), None], n)?;
    many(ids.into_iter().map(|id| V { id, elem: x.elem }))
}

/// One size may be -1: what is left.
fn split_v<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let (x, n) = (cx.input(0)?, outputs(cx, "num_split")?);
    let axis = cx.need_int(2, "the axis")?;
    let mut sizes = cx.need_ints(1, "sizes of parts")?;
    if sizes.contains(&-1) {
        let at = cx.axis(axis, cx.rank(x))?;
        let total = int(cx.known(x, at)?);
        let given: i64 = sizes.iter().filter(|&&s| s >= 0).fold(0, |a, &b| a.saturating_add(b));
        sizes.iter_mut().filter(|s| **s == -1).for_each(|s| *s = total.saturating_sub(given));
    }
    let sizes = cx.integers(&sizes);
    let ids = cx.emit(Split { axis }, &[Some(x.id), Some(sizes)], n)?;
    many(ids.into_iter().map(|id| V { id, elem: x.elem }))
}

fn transpose<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let x = cx.input(0)?;
    let perm = cx.need_ints(1, "a permutation")?;
    let rank = cx.rank(x);
    let perm = perm.into_iter().map(|a| cx.axis(a, rank)).collect::<Result<Vec<_>>>()?;
    one(cx.transpose(x, &perm)?)
}

fn tile<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let (x, repeats) = (cx.input(0)?, cx.input(1)?);
    let repeats = cx.as_i64(repeats)?;
    one(cx.op(Tile::default(), &[x.id, repeats], x.elem)?)
}

/// Pairs of begin and end, `[rank, 2]`, as all begins and then all ends.
fn pads(cx: &mut Node) -> Result<ValueId> {
    let pads = cx.input(1)?;
    let turned = cx.transpose(pads, &[1, 0])?;
    let flat = cx.reshape(turned, &[-1])?;
    cx.as_i64(flat)
}

fn pad<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let (x, pads) = (cx.input(0)?, pads(cx)?);
    let mut operands = vec![x.id, pads];
    if cx.len() > 2 {
        operands.push(cx.input(2)?.id);
    }
    one(cx.op(Pad::default(), &operands, x.elem)?)
}

fn mirror_pad<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let mode = match cx.attrs.string("mode", "")? {
        "REFLECT" => PadMode::Reflect,
        "SYMMETRIC" => PadMode::Symmetric,
        other => return Err(unknown_value("mode", "`REFLECT` or `SYMMETRIC`", other)),
    };
    let (x, pads) = (cx.input(0)?, pads(cx)?);
    one(cx.op(Pad { mode }, &[x.id, pads], x.elem)?)
}

fn reverse_v2<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let x = cx.input(0)?;
    let axes = cx.need_ints(1, "axes")?;
    one(cx.op(Reverse { axes }, &[x.id], x.elem)?)
}

/// One truth value an axis.
fn reverse<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let x = cx.input(0)?;
    let axes = cx.need_ints(1, "axes")?;
    let axes = axes.iter().enumerate().filter(|a| *a.1 != 0).map(|a| int(a.0)).collect();
    one(cx.op(Reverse { axes }, &[x.id], x.elem)?)
}

fn roll<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let mut x = cx.input(0)?;
    let (shifts, axes) = (cx.need_ints(1, "a shift")?, cx.need_ints(2, "an axis")?);
    for (shift, axis) in shifts.iter().zip(&axes) {
        let axis = cx.axis(*axis, cx.rank(x))?;
        let n = int(cx.known(x, axis)?).max(1);
        let at = n.saturating_sub(shift.rem_euclid(n));
        let (a, b) = (cx.slice(x, axis, at, i64::MAX)?, cx.slice(x, axis, 0, at)?);
        x = cx.concat(&[a, b], int(axis))?;
    }
    one(x)
}

fn block(cx: &Node) -> Result<usize> {
    let block = cx.attrs.opt_int("block_size")?.ok_or_else(|| missing("block_size"))?;
    usize::try_from(block).ok().filter(|&b| b > 0).ok_or_else(|| {
        ImportError::invalid("the block size").expected("at least 1").found(block).at_attribute("block_size")
    })
}

fn depth_to_space<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let (x, block, first) = (cx.input(0)?, block(cx)?, cx.channels_first()?);
    let x = cx.to_first(x, first)?;
    let y = cx.op(DepthToSpace { block, order: DepthOrder::Dcr }, &[x.id], x.elem)?;
    one(cx.to_last(y, first)?)
}

fn space_to_depth<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let (x, block, first) = (cx.input(0)?, block(cx)?, cx.channels_first()?);
    let x = cx.to_first(x, first)?;
    let y = cx.op(SpaceToDepth { block, order: DepthOrder::Dcr }, &[x.id], x.elem)?;
    one(cx.to_last(y, first)?)
}

/// What lies at most so many diagonals below and above the middle one; a negative number means all.
fn band<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let mut x = cx.input(0)?;
    let (lower, upper) = (cx.need_int(1, "a number of diagonals")?, cx.need_int(2, "a number of diagonals")?);
    if lower >= 0 {
        let k = cx.integers(&[lower.saturating_neg()]);
        x = cx.op(Trilu { upper: true }, &[x.id, k], x.elem)?;
    }
    if upper >= 0 {
        let k = cx.integers(&[upper]);
        x = cx.op(Trilu { upper: false }, &[x.id, k], x.elem)?;
    }
    one(x)
}

/// Begin and size of each axis; a size of -1 is what is left.
fn slice<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let (x, begin, size) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
    if let (Some(begin), Some(size)) = (cx.const_ints(begin), cx.const_ints(size)) {
        let end = |(b, s): (&i64, &i64)| if *s == -1 { i64::MAX } else { b.saturating_add(*s) };
        let ends: Vec<i64> = begin.iter().zip(&size).map(end).collect();
        let [starts, ends] = [&begin, &ends].map(|v| cx.integers(v));
        return one(cx.op(Slice::default(), &[x.id, starts, ends], x.elem)?);
    }
    // The end is the sum, or behind everything where the size is -1.
    let all = cx.scalar(size.elem, -1.0)?;
    let far = cx.scalar(size.elem, f64::from(i32::MAX))?;
    let rest = cx.compare(BinaryKind::Eq, size, all)?;
    let sum = cx.binary(BinaryKind::Add, begin, size)?;
    let end = cx.op(pocketnn::ops::elementwise::Where::default(), &[rest.id, far.id, sum.id], size.elem)?;
    let (begin, end) = (cx.as_i64(begin)?, cx.as_i64(end)?);
    one(cx.op(Slice::default(), &[x.id, begin, end], x.elem)?)
}

/// One entry of a vector of integers.
#[derive(Clone, Copy)]
enum Entry {
    Known(i64),
    /// Entry of a vector that is computed.
    Computed(V, usize),
}

/// The entries of a vector.
fn entries(cx: &mut Node, i: usize) -> Result<Vec<Entry>> {
    let v = cx.input(i)?;
    if let Some(list) = cx.const_ints(v) {
        return Ok(list.into_iter().map(Entry::Known).collect());
    }
    let dims = cx.walker.builder.fact(v.id).dims.clone();
    let n = cx.known(v, 0)?;
    cx.walker.cx.budget.entries(u64::try_from(n).unwrap_or(u64::MAX), "entries of a slice")?;
    let known = |at: usize| dims.as_ref().and_then(|d| d.get(at)).and_then(pocketnn::Dim::known_signed);
    Ok((0..n).map(|at| known(at).map_or(Entry::Computed(v, at), Entry::Known)).collect())
}

/// A vector of entries.
fn vector(cx: &mut Node, list: &[Entry]) -> Result<ValueId> {
    let known: Option<Vec<i64>> = list.iter().map(|e| if let Entry::Known(n) = e { Some(*n) } else { None }).collect();
    if let Some(list) = known {
        return Ok(cx.integers(&list));
    }
    let mut parts = Vec::with_capacity(list.len());
    for e in list {
        parts.push(match *e {
            Entry::Known(n) => cx.integers(&[n]),
            Entry::Computed(v, at) => {
                let part = cx.slice(v, 0, int(at), int(at).saturating_add(1))?;
                cx.convert(part.id, DType::I64)?
            }
        });
    }
    Ok(cx.op(Concat { axis: 0 }, &parts, Elem::I64)?.id)
}

/// numpy's basic indexing, with masks: bit `i` speaks of entry `i` of begin, end and strides.
fn strided_slice<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let mask = |name: &str| cx.attrs.int(name, 0);
    let (begin_mask, end_mask) = (mask("begin_mask")?, mask("end_mask")?);
    let (ellipsis, new_axis, shrink) = (mask("ellipsis_mask")?, mask("new_axis_mask")?, mask("shrink_axis_mask")?);
    let x = cx.input(0)?;
    let (begin, end) = (entries(cx, 1)?, entries(cx, 2)?);
    let strides = cx.need_ints(3, "strides")?;
    let bit = |m: i64, i: usize| u32::try_from(i).ok().filter(|&i| i < 63).is_some_and(|i| m >> i & 1 == 1);
    let count = strides.len();
    let real = (0..count).filter(|&i| bit(ellipsis, i) || !bit(new_axis, i)).filter(|&i| !bit(ellipsis, i)).count();
    let rank = cx.rank(x);
    let (mut starts, mut ends, mut axes, mut steps) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut removed, mut added, mut picked) = (Vec::new(), Vec::new(), Vec::new());
    let (mut axis, mut out) = (0usize, 0usize);
    for (i, &stride) in strides.iter().enumerate() {
        if bit(ellipsis, i) {
            let skip = rank.saturating_sub(real);
            axis = axis.saturating_add(skip);
            out = out.saturating_add(skip);
            continue;
        }
        if bit(new_axis, i) {
            added.push(int(out));
            out = out.saturating_add(1);
            continue;
        }
        let missing = || ImportError::invalid("begin, end and strides have different lengths");
        let (from, to) = (*begin.get(i).ok_or_else(missing)?, *end.get(i).ok_or_else(missing)?);
        if bit(shrink, i) {
            match from {
                Entry::Known(n) => {
                    starts.push(from);
                    ends.push(Entry::Known(if n == -1 { i64::MAX } else { n.saturating_add(1) }));
                    axes.push(int(axis));
                    steps.push(1);
                }
                Entry::Computed(v, at) => picked.push((axis, v, at)),
            }
            removed.push(int(axis));
        } else {
            let (first, last) = if stride < 0 { (i64::MAX, i64::MIN) } else { (0, i64::MAX) };
            let from = if bit(begin_mask, i) { Entry::Known(first) } else { from };
            let to = if bit(end_mask, i) { Entry::Known(last) } else { to };
            let whole = matches!((from, to, stride), (Entry::Known(0), Entry::Known(i64::MAX), 1));
            if !whole {
                starts.push(from);
                ends.push(to);
                axes.push(int(axis));
                steps.push(stride);
            }
            out = out.saturating_add(1);
        }
        axis = axis.saturating_add(1);
    }
    let mut y = x;
    if !axes.is_empty() {
        let (starts, ends) = (vector(cx, &starts)?, vector(cx, &ends)?);
        let (axes, steps) = (cx.integers(&axes), cx.integers(&steps));
        y = cx.op(Slice::default(), &[y.id, starts, ends, axes, steps], x.elem)?;
    }
    for (axis, v, at) in picked {
        let index = cx.slice(v, 0, int(at), int(at).saturating_add(1))?;
        let index = cx.as_i64(index)?;
        y = cx.op(Gather { axis: int(axis) }, &[y.id, index], x.elem)?;
    }
    if !removed.is_empty() {
        y = cx.squeeze(y, &removed)?;
    }
    one(if added.is_empty() { y } else { cx.unsqueeze(y, &added)? })
}
