//! Operations of `keras.ops` that turn, join, cut and pick: made of other movements.

use pocketnn::ops::elementwise::BinaryKind;
use pocketnn::ops::gather::{Gather, GatherElements};
use pocketnn::ops::movement::{DepthToSpace, Pad, Reverse, SpaceToDepth, Split};
use pocketnn::ops::reduce::ReduceKind;
use pocketnn::{DType, ValueId};

use super::super::call::{Cx, Val, int, one};
use super::super::config::{i64_list, missing, to_i64};
use super::super::merge::same_type;
use super::super::rows::Row;
use super::operand;
use crate::error::{ImportError, Result};

/// Rows of this file.
pub const ROWS: &[Row] = &[
    Row::plain(&["Fliplr", "Flipud", "Rot90"], turned),
    Row::plain(&["Diff"], diff),
    Row::plain(&["Append", "Vstack", "Hstack", "Dstack"], stacked),
    Row::plain(&["Hsplit", "Vsplit", "Dsplit", "ArraySplit"], parted),
    Row::plain(&["Diagonal", "Trace"], diagonal),
    Row::plain(&["TakeAlongAxis"], take_along_axis),
    Row::plain(&["DepthToSpace", "SpaceToDepth"], blocks),
    Row::plain(&["PadImages", "CropImages"], bordered),
];

fn turned(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.input()?.id;
    match cx.layer.class.as_str() {
        "Fliplr" => return one(cx.op(Reverse { axes: vec![1] }, &[x])?),
        "Flipud" => return one(cx.op(Reverse { axes: vec![0] }, &[x])?),
        _ => {}
    }
    let turns = cx.setting(1, "k").map_or(Ok(1), |v| to_i64("k", &v))?.rem_euclid(4);
    let axes = cx.setting(2, "axes").map_or(Ok(vec![0, 1]), |v| i64_list("axes", &v))?;
    let &[a, b] = axes.as_slice() else {
        return Err(ImportError::invalid("a rotation has two axes").at_attribute("axes"));
    };
    let (a, b) = (cx.axis(a, x)?, cx.axis(b, x)?);
    let mut perm: Vec<usize> = (0..cx.rank(x)).collect();
    perm.swap(a, b);
    one(match turns {
        0 => x,
        1 => {
            let y = cx.op(Reverse { axes: vec![int(b)] }, &[x])?;
            cx.transpose(y, &perm)?
        }
        2 => cx.op(Reverse { axes: vec![int(a), int(b)] }, &[x])?,
        _ => {
            let y = cx.transpose(x, &perm)?;
            cx.op(Reverse { axes: vec![int(b)] }, &[y])?
        }
    })
}

fn diff(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let mut x = cx.input()?.id;
    let n = cx.setting(1, "n").map_or(Ok(1), |v| to_i64("n", &v))?;
    let axis = cx.setting(2, "axis").map_or(Ok(-1), |v| to_i64("axis", &v))?;
    let axis = cx.axis(axis, x)?;
    for _ in 0..cx.bounded(usize::try_from(n).unwrap_or(0), 64, "differences")? {
        let (later, earlier) = (cx.slice(x, axis, 1, i64::MAX, 1)?, cx.slice(x, axis, 0, -1, 1)?);
        x = cx.binary(BinaryKind::Sub, later, earlier)?;
    }
    one(x)
}

fn stacked(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let inputs: Vec<ValueId> = cx.tensors().iter().map(|v| v.id).collect();
    let mut inputs = same_type(cx, &inputs)?;
    let rank = inputs.first().map_or(0, |&x| cx.rank(x));
    let axis = match cx.layer.class.as_str() {
        "Append" => {
            if let Some(v) = cx.setting(2, "axis") {
                to_i64("axis", &v)?
            } else {
                inputs = inputs.iter().map(|&x| cx.reshape(x, &[-1])).collect::<Result<_>>()?;
                0
            }
        }
        "Vstack" => {
            if rank < 2 {
                inputs = inputs.iter().map(|&x| cx.reshape(x, &[1, -1])).collect::<Result<_>>()?;
            }
            0
        }
        "Hstack" => i64::from(rank > 1),
        _ => {
            if rank < 3 {
                inputs = inputs.iter().map(|&x| cx.unsqueeze(x, &[int(rank)])).collect::<Result<_>>()?;
            }
            2
        }
    };
    one(cx.concat(&inputs, axis)?)
}

/// As numpy's `array_split`: the first parts get what is left over.
fn parted(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.input()?.id;
    let axis = match cx.layer.class.as_str() {
        "Vsplit" => 0,
        "Hsplit" => i64::from(cx.rank(x) > 1),
        "Dsplit" => 2,
        _ => cx.setting(2, "axis").map_or(Ok(0), |v| to_i64("axis", &v))?,
    };
    let axis = cx.axis(axis, x)?;
    let n = int(cx.known(x, axis)?);
    let sections = cx.setting(1, "indices_or_sections").ok_or_else(|| missing("indices_or_sections"))?;
    let sizes: Vec<i64> = if sections.is_array() {
        let cuts = i64_list("indices_or_sections", &sections)?;
        let begins = std::iter::once(0).chain(cuts.iter().copied());
        begins.zip(cuts.iter().copied().chain([n])).map(|(a, b)| b.min(n).saturating_sub(a).max(0)).collect()
    } else {
        let count = to_i64("indices_or_sections", &sections)?;
        cx.bounded(usize::try_from(count).unwrap_or(usize::MAX), 4096, "parts")?;
        let (part, more) = (n.checked_div(count).unwrap_or(n), n.checked_rem(count).unwrap_or(0));
        (0..count.max(1)).map(|i| part.saturating_add(i64::from(i < more))).collect()
    };
    let outputs = sizes.len();
    let sizes = cx.lw.b.integers(&sizes);
    let parts = cx.node(Split { axis: int(axis) }, &[Some(x), Some(sizes)], outputs)?;
    Ok(parts.into_iter().map(Val::new).collect())
}

/// Elements `[i, i + offset]` of two axes, which go; theirs comes last.
fn diagonal(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.input()?.id;
    let number = |cx: &Cx<'_, '_>, at: usize, key: &str, default: i64| {
        cx.setting(at, key).map_or(Ok(default), |v| to_i64(key, &v))
    };
    let offset = number(cx, 1, "offset", 0)?;
    let (a, b) = (number(cx, 2, "axis1", 0)?, number(cx, 3, "axis2", 1)?);
    let (a, b) = (cx.axis(a, x)?, cx.axis(b, x)?);
    let (h, w) = (int(cx.known(x, a)?), int(cx.known(x, b)?));
    let rank = cx.rank(x);
    let perm: Vec<usize> = (0..rank).filter(|&i| i != a && i != b).chain([a, b]).collect();
    let moved = cx.transpose(x, &perm)?;
    let rest = rank.saturating_sub(2);
    let target: Vec<i64> = (0..rest).map(|_| 0).chain([h.saturating_mul(w)]).collect();
    let flat = cx.reshape(moved, &target)?;
    let at = |i: i64| (i, i.saturating_add(offset));
    let places: Vec<i64> = (0..h)
        .map(at)
        .filter(|(_, j)| (0..w).contains(j))
        .map(|(i, j)| i.saturating_mul(w).saturating_add(j))
        .collect();
    let places = cx.lw.b.integers(&places);
    let y = cx.op(Gather { axis: int(rest) }, &[flat, places])?;
    one(if cx.layer.class == "Trace" { cx.reduce(ReduceKind::Sum, y, &[-1], false)? } else { y })
}

fn take_along_axis(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.input()?.id;
    let whole = cx.lw.b.integers(&[0]);
    let indices = operand(cx, 1, &["indices"], Some(whole))?;
    let indices = cx.cast(indices, DType::I64)?;
    let axis = cx.setting(2, "axis").map(|v| to_i64("axis", &v)).transpose()?;
    let (x, indices, axis) = match axis {
        Some(axis) => (x, indices, axis),
        None => (cx.reshape(x, &[-1])?, cx.reshape(indices, &[-1])?, 0),
    };
    one(cx.op(GatherElements { axis }, &[x, indices])?)
}

fn blocks(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.input()?.id;
    let block = cx.config.usize_or("block_size", 2)?;
    let first = cx.channels_first()?;
    let x = cx.to_first(x, first)?;
    let y = if cx.layer.class == "DepthToSpace" {
        cx.op(DepthToSpace { block, ..DepthToSpace::default() }, &[x])?
    } else {
        cx.op(SpaceToDepth { block, ..SpaceToDepth::default() }, &[x])?
    };
    one(cx.to_last(y, first)?)
}

/// `keras.ops.image.pad_images` and `crop_images`: borders of both spatial axes, two of them possibly from the target's size.
fn bordered(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.input()?.id;
    let first = cx.channels_first()?;
    let crop = cx.layer.class == "CropImages";
    let rank = cx.rank(x);
    let (h, w) = if first {
        (rank.saturating_sub(2), rank.saturating_sub(1))
    } else {
        (rank.saturating_sub(3), rank.saturating_sub(2))
    };
    let (top, bottom, left, right) = if crop {
        ("top_cropping", "bottom_cropping", "left_cropping", "right_cropping")
    } else {
        ("top_padding", "bottom_padding", "left_padding", "right_padding")
    };
    let mut ends = Vec::new();
    for (axis, before, after, target) in [(h, top, bottom, "target_height"), (w, left, right, "target_width")] {
        let number = |cx: &Cx<'_, '_>, key: &str| cx.setting(usize::MAX, key).map(|v| to_i64(key, &v)).transpose();
        let (before, after, target) = (number(cx, before)?, number(cx, after)?, number(cx, target)?);
        let n = int(cx.known(x, axis)?);
        let sum = target.map(|t| if crop { n.saturating_sub(t) } else { t.saturating_sub(n) });
        let pair = match (before, after, sum) {
            (Some(a), Some(b), _) => (a, b),
            (Some(a), None, Some(s)) => (a, s.saturating_sub(a)),
            (None, Some(b), Some(s)) => (s.saturating_sub(b), b),
            _ => return Err(ImportError::invalid("two of both borders and the target's size are needed")),
        };
        ends.push((axis, n, pair));
    }
    let mut y = x;
    if crop {
        for (axis, n, (a, b)) in ends {
            y = cx.slice(y, axis, a, n.saturating_sub(b), 1)?;
        }
        return one(y);
    }
    let side = |begin: bool| {
        (0..rank)
            .map(|i| ends.iter().find(|e| e.0 == i).map_or(0, |e| if begin { e.2.0 } else { e.2.1 }))
            .collect::<Vec<i64>>()
    };
    let pads = cx.lw.b.integers(&[side(true), side(false)].concat());
    one(cx.op(Pad::default(), &[x, pads])?)
}
