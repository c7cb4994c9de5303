//! Operations of `keras.ops` that move, repeat or choose elements.

use pocketnn::ops::gather::{CumSum, Gather, OneHot, TopK, Trilu};
use pocketnn::ops::movement::{Expand, PadMode, Reverse, Slice, Split, Tile};
use pocketnn::{DType, Tensor, ValueId};
use serde_json::Value;

use super::super::call::{Cx, Item, Val, first, int, one};
use super::super::config::{i64_list, missing, plain, shorten, to_i64, wrong};
use super::operand;
use crate::error::{ImportError, Result};

/// Classes of this file.
pub const CLASSES: &[&str] = &[
    "Argsort",
    "BroadcastTo",
    "Copy",
    "Cumsum",
    "ExpandDims",
    "Flip",
    "GetItem",
    "Moveaxis",
    "OneHot",
    "Pad",
    "Ravel",
    "Repeat",
    "Roll",
    "Slice",
    "Sort",
    "Split",
    "Squeeze",
    "Stack",
    "StopGradient",
    "Swapaxes",
    "Take",
    "Tile",
    "TopK",
    "Transpose",
    "Tril",
    "Triu",
    "Unstack",
];

/// Lowers any of them.
pub fn lower(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    match cx.layer.class.as_str() {
        "Argsort" => sort(cx, true),
        "Sort" => sort(cx, false),
        "BroadcastTo" => broadcast_to(cx),
        "Cumsum" => cumsum(cx),
        "ExpandDims" => expand_dims(cx),
        "Flip" => flip(cx),
        "GetItem" => {
            let key = cx.arg(1, "key").ok_or_else(|| missing("key"))?;
            get_item(cx, &key)
        }
        "Moveaxis" => moveaxis(cx),
        "OneHot" => one_hot(cx),
        "Pad" => pad(cx),
        "Ravel" => {
            let x = cx.input()?.id;
            one(cx.reshape(x, &[-1])?)
        }
        "Repeat" => repeat(cx),
        "Roll" => roll(cx),
        "Slice" => slice(cx),
        "Split" => split(cx),
        "Squeeze" => squeeze(cx),
        "Stack" => stack(cx),
        "Swapaxes" => swapaxes(cx),
        "Take" => take(cx),
        "Tile" => tile(cx),
        "TopK" => top_k(cx),
        "Transpose" => {
            let axes = cx.setting(1, "axes");
            transpose_by(cx, axes.as_ref())
        }
        "Tril" | "Triu" => triangle(cx),
        "Unstack" => unstack(cx),
        _ => Ok(vec![Val::new(cx.input()?.id)]),
    }
}

fn list(cx: &Cx<'_, '_>, position: usize, key: &str) -> Result<Vec<i64>> {
    cx.setting(position, key).map_or_else(|| Err(missing(key)), |v| i64_list(key, &v))
}

fn number(cx: &Cx<'_, '_>, position: usize, key: &str, default: i64) -> Result<i64> {
    cx.setting(position, key).map_or(Ok(default), |v| to_i64(key, &v))
}

fn integer_axis(cx: &Cx<'_, '_>, position: usize, key: &str, default: i64, x: ValueId) -> Result<usize> {
    cx.axis(number(cx, position, key, default)?, x)
}

fn sort(cx: &mut Cx<'_, '_>, indices: bool) -> Result<Vec<Val>> {
    let x = cx.input()?.id;
    let axis = integer_axis(cx, 1, "axis", -1, x)?;
    let k = int(cx.known(x, axis)?);
    let k = cx.lw.b.integers(&[k]);
    let outputs = cx.node(TopK { axis: int(axis), largest: false, sorted: true }, &[Some(x), Some(k)], 2)?;
    match outputs.as_slice() {
        [_, i] if indices => {
            let i = cx.cast(*i, DType::I32)?;
            one(i)
        }
        all => one(first(all)?),
    }
}

fn broadcast_to(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.input()?.id;
    let shape = list(cx, 1, "shape")?;
    let shape = cx.lw.b.integers(&shape);
    one(cx.op(Expand {}, &[x, shape])?)
}

fn cumsum(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.input()?.id;
    cx.config.ignore(&["dtype"]);
    let axis = number(cx, 1, "axis", 0)?;
    let axis = cx.lw.b.scalar(axis);
    one(cx.op(CumSum::default(), &[x, axis])?)
}

fn expand_dims(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.input()?.id;
    let axes = list(cx, 1, "axis")?;
    one(cx.unsqueeze(x, &axes)?)
}

fn squeeze(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.input()?.id;
    if cx.setting(1, "axis").is_none() {
        return one(cx.op(pocketnn::ops::movement::Squeeze {}, &[x])?);
    }
    let axes = list(cx, 1, "axis")?;
    one(cx.squeeze(x, &axes)?)
}

fn flip(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.input()?.id;
    let axes = match cx.setting(1, "axis") {
        Some(v) => i64_list("axis", &v)?,
        None => (0..cx.rank(x)).map(int).collect(),
    };
    one(cx.op(Reverse { axes }, &[x])?)
}

/// numpy's basic indexing: slices, integers, `...` and new axes.
pub fn get_item(cx: &mut Cx<'_, '_>, key: &Item) -> Result<Vec<Val>> {
    let Item::Value(key) = key else {
        return Err(ImportError::unsupported("indexing by a tensor").at_attribute("key"));
    };
    let key = plain(key);
    let parts = match &key {
        Value::Array(list) => list.clone(),
        other => vec![other.clone()],
    };
    let x = cx.input()?.id;
    let rank = cx.rank(x);
    let is = |v: &Value, class: &str| v.get("class_name").and_then(Value::as_str) == Some(class);
    let ellipsis = |v: &Value| {
        is(v, "__ellipsis__") || is(v, "Ellipsis") || v.get("class_name").and_then(Value::as_str) == Some("ellipsis")
    };
    let real = parts.iter().filter(|p| !p.is_null() && !ellipsis(p)).count();
    let (mut starts, mut ends, mut axes, mut steps) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut removed, mut added) = (Vec::new(), Vec::new());
    let (mut axis, mut out) = (0usize, 0usize);
    for part in &parts {
        if ellipsis(part) {
            let skip = rank.saturating_sub(real);
            axis = axis.saturating_add(skip);
            out = out.saturating_add(skip);
            continue;
        }
        if part.is_null() {
            added.push(int(out));
            out = out.saturating_add(1);
            continue;
        }
        if let Some(i) = part.as_i64() {
            starts.push(i);
            ends.push(if i == -1 { i64::MAX } else { i.saturating_add(1) });
            steps.push(1);
            removed.push(int(axis));
        } else {
            let config = part.get("config").unwrap_or(part);
            let bound = |name: &str| config.get(name).filter(|v| !v.is_null()).map(|v| to_i64(name, v)).transpose();
            if config.get("step").is_none() {
                return Err(ImportError::unsupported("an index").found(shorten(part)).at_attribute("key"));
            }
            let step = bound("step")?.unwrap_or(1);
            let (from, to) = if step < 0 { (i64::MAX, i64::MIN) } else { (0, i64::MAX) };
            starts.push(bound("start")?.unwrap_or(from));
            ends.push(bound("stop")?.unwrap_or(to));
            steps.push(step);
            out = out.saturating_add(1);
        }
        axes.push(int(axis));
        axis = axis.saturating_add(1);
    }
    let full = |i: usize| (starts.get(i), ends.get(i), steps.get(i)) == (Some(&0), Some(&i64::MAX), Some(&1));
    let mut y = x;
    if !(0..starts.len()).all(full) {
        let [starts, ends, axes, steps] = [&starts, &ends, &axes, &steps].map(|v| cx.lw.b.integers(v));
        y = cx.op(Slice {}, &[x, starts, ends, axes, steps])?;
    }
    if !removed.is_empty() {
        y = cx.squeeze(y, &removed)?;
    }
    one(if added.is_empty() { y } else { cx.unsqueeze(y, &added)? })
}

fn moveaxis(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.input()?.id;
    let (from, to) = (list(cx, 1, "source")?, list(cx, 2, "destination")?);
    let from: Vec<usize> = from.iter().map(|&a| cx.axis(a, x)).collect::<Result<_>>()?;
    let to: Vec<usize> = to.iter().map(|&a| cx.axis(a, x)).collect::<Result<_>>()?;
    let mut perm: Vec<usize> = (0..cx.rank(x)).filter(|a| !from.contains(a)).collect();
    let mut moves: Vec<(usize, usize)> = to.into_iter().zip(from).collect();
    moves.sort_unstable();
    for (to, from) in moves {
        perm.insert(to.min(perm.len()), from);
    }
    one(cx.transpose(x, &perm)?)
}

fn one_hot(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.input()?.id;
    let x = cx.cast(x, DType::I64)?;
    let depth = number(cx, 1, "num_classes", 0)?;
    let axis = number(cx, 2, "axis", -1)?;
    cx.config.ignore(&["dtype", "sparse"]);
    let depth = cx.lw.b.scalar(depth);
    let values = cx.constant("values", &[2], vec![0.0, 1.0])?;
    one(cx.op(OneHot { axis }, &[x, depth, values])?)
}

fn pad(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.input()?.id;
    let width = cx.setting(1, "pad_width").ok_or_else(|| missing("pad_width"))?;
    let mode = match cx.config.text("mode", "constant")?.as_str() {
        "constant" => PadMode::Constant,
        "reflect" => PadMode::Reflect,
        "symmetric" => PadMode::Symmetric,
        "edge" => PadMode::Edge,
        "wrap" => PadMode::Wrap,
        other => return Err(ImportError::unsupported("padding mode").found(other).at_attribute("mode")),
    };
    let rank = cx.rank(x);
    let pairs: Vec<Vec<i64>> = match width.as_array().map(Vec::as_slice) {
        Some(list) if list.iter().any(Value::is_array) => {
            list.iter().map(|v| i64_list("pad_width", v)).collect::<Result<_>>()?
        }
        _ => vec![i64_list("pad_width", &width)?],
    };
    let pair = |axis: usize| -> Result<(i64, i64)> {
        let p = if pairs.len() == 1 { pairs.first() } else { pairs.get(axis) };
        match p.map(Vec::as_slice) {
            Some([a, b]) => Ok((*a, *b)),
            Some([a]) => Ok((*a, *a)),
            _ => Err(wrong("pad_width", "a pair an axis", &width)),
        }
    };
    let both: Vec<(i64, i64)> = (0..rank).map(pair).collect::<Result<_>>()?;
    let all: Vec<i64> = both.iter().map(|p| p.0).chain(both.iter().map(|p| p.1)).collect();
    if let Some(Item::Value(v)) = cx.arg(usize::MAX, "constant_values") {
        let value = super::super::config::to_f32("constant_values", &v)?;
        let value = cx.scalar_like(f64::from(value), x)?;
        let pads = cx.lw.b.integers(&all);
        return one(cx.op(pocketnn::ops::movement::Pad { mode }, &[x, pads, value])?);
    }
    one(super::super::shape::pad(cx, x, &all, mode)?)
}

fn gather(cx: &mut Cx<'_, '_>, x: ValueId, indices: &[i64], axis: usize) -> Result<ValueId> {
    let indices = cx.lw.b.constant("indices", Tensor::vector(indices));
    cx.op(Gather { axis: int(axis) }, &[x, indices])
}

fn repeat(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.input()?.id;
    let repeats = list(cx, 1, "repeats")?;
    let (x, axis) = match cx.setting(2, "axis") {
        Some(v) => (x, cx.axis(to_i64("axis", &v)?, x)?),
        None => (cx.reshape(x, &[-1])?, 0),
    };
    let n = cx.bounded(cx.known(x, axis)?, 1 << 24, "repeated elements")?;
    let times = |i: usize| if repeats.len() == 1 { repeats.first() } else { repeats.get(i) };
    let mut indices = Vec::new();
    for i in 0..n {
        let times = times(i).and_then(|&t| usize::try_from(t).ok()).filter(|&t| t <= 1 << 20);
        let times = times.ok_or_else(|| wrong("repeats", "counts", &Value::from(repeats.clone())))?;
        cx.lw.budget.made(&[times], 8, "repeated elements")?;
        indices.extend(std::iter::repeat_n(int(i), times));
        if indices.len() > 1 << 24 {
            return Err(ImportError::limits("a repetition beyond any tensor").at_attribute("repeats"));
        }
    }
    one(gather(cx, x, &indices, axis)?)
}

fn roll(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let mut x = cx.input()?.id;
    let shifts = list(cx, 1, "shift")?;
    let axes = list(cx, 2, "axis")?;
    for (shift, axis) in shifts.iter().zip(&axes) {
        let axis = cx.axis(*axis, x)?;
        let n = int(cx.known(x, axis)?).max(1);
        let at = n.saturating_sub(shift.rem_euclid(n));
        let a = cx.slice(x, axis, at, i64::MAX, 1)?;
        let b = cx.slice(x, axis, 0, at, 1)?;
        x = cx.concat(&[a, b], int(axis))?;
    }
    one(x)
}

fn slice(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.input()?.id;
    let (starts, shape) = (list(cx, 1, "start_indices")?, list(cx, 2, "shape")?);
    let ends: Vec<i64> =
        starts.iter().zip(&shape).map(|(s, n)| if *n < 0 { i64::MAX } else { s.saturating_add(*n) }).collect();
    let [starts, ends] = [&starts, &ends].map(|v| cx.lw.b.integers(v));
    one(cx.op(Slice {}, &[x, starts, ends])?)
}

fn split(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.input()?.id;
    let axis = integer_axis(cx, 2, "axis", 0, x)?;
    let sections = cx.setting(1, "indices_or_sections").ok_or_else(|| missing("indices_or_sections"))?;
    let n = int(cx.known(x, axis)?);
    let sizes: Vec<i64> = if sections.is_array() {
        let cuts = i64_list("indices_or_sections", &sections)?;
        let begins = std::iter::once(0).chain(cuts.iter().copied());
        begins.zip(cuts.iter().copied().chain([n])).map(|(a, b)| b.min(n).saturating_sub(a).max(0)).collect()
    } else {
        let count = to_i64("indices_or_sections", &sections)?;
        let valid = (1..=n).contains(&count) && n.checked_rem(count) == Some(0);
        if !valid {
            return Err(wrong("indices_or_sections", &format!("a divisor of {n}"), &sections));
        }
        cx.bounded(usize::try_from(count).unwrap_or(usize::MAX), 4096, "parts")?;
        let part = n.checked_div(count).unwrap_or(n);
        (0..count).map(|_| part).collect()
    };
    let outputs = sizes.len();
    let sizes = cx.lw.b.integers(&sizes);
    let parts = cx.node(Split { axis: int(axis) }, &[Some(x), Some(sizes)], outputs)?;
    Ok(parts.into_iter().map(Val::new).collect())
}

/// A new axis along which the inputs are joined.
pub fn stack(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let axis = number(cx, 1, "axis", 0)?;
    let inputs: Vec<ValueId> = cx.tensors().iter().map(|v| v.id).collect();
    let parts = inputs.iter().map(|&x| cx.unsqueeze(x, &[axis])).collect::<Result<Vec<_>>>()?;
    one(cx.concat(&parts, axis)?)
}

fn unstack(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.input()?.id;
    cx.config.ignore(&["num"]);
    let axis = integer_axis(cx, 2, "axis", 0, x)?;
    let n = cx.bounded(cx.known(x, axis)?, 4096, "parts")?;
    let mut parts = Vec::new();
    for i in 0..n {
        let part = cx.slice(x, axis, int(i), int(i.saturating_add(1)), 1)?;
        parts.push(Val::new(cx.squeeze(part, &[int(axis)])?));
    }
    Ok(parts)
}

fn swapaxes(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.input()?.id;
    let (a, b) = (integer_axis(cx, 1, "axis1", 0, x)?, integer_axis(cx, 2, "axis2", 0, x)?);
    let mut perm: Vec<usize> = (0..cx.rank(x)).collect();
    perm.swap(a, b);
    one(cx.transpose(x, &perm)?)
}

fn take(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.input()?.id;
    let (x, axis) = match cx.setting(2, "axis") {
        Some(v) => (x, to_i64("axis", &v)?),
        None => (cx.reshape(x, &[-1])?, 0),
    };
    let integers = cx.lw.b.constant("indices", Tensor::vector(&[0i64]));
    let indices = operand(cx, 1, &["indices"], Some(integers))?;
    let indices = cx.cast(indices, DType::I64)?;
    one(cx.op(Gather { axis }, &[x, indices])?)
}

fn tile(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.input()?.id;
    let repeats = list(cx, 1, "repeats")?;
    let missing = repeats.len().saturating_sub(cx.rank(x));
    let axes: Vec<i64> = (0..missing).map(int).collect();
    let x = if missing > 0 { cx.unsqueeze(x, &axes)? } else { x };
    let pad = cx.rank(x).saturating_sub(repeats.len());
    let repeats: Vec<i64> = std::iter::repeat_n(1, pad).chain(repeats).collect();
    let repeats = cx.lw.b.integers(&repeats);
    one(cx.op(Tile {}, &[x, repeats])?)
}

fn top_k(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.input()?.id;
    let k = number(cx, 1, "k", 1)?;
    let sorted = cx.config.bool("sorted", true)?;
    let k = cx.lw.b.integers(&[k]);
    let outputs = cx.node(TopK { axis: -1, largest: true, sorted }, &[Some(x), Some(k)], 2)?;
    match outputs.as_slice() {
        [values, indices] => {
            let indices = cx.cast(*indices, DType::I32)?;
            Ok(vec![Val::new(*values), Val::new(indices)])
        }
        _ => Err(ImportError::invalid("an op without outputs")),
    }
}

/// Permuted axes; absent reverses all.
pub fn transpose_by(cx: &mut Cx<'_, '_>, axes: Option<&Value>) -> Result<Vec<Val>> {
    let x = cx.input()?.id;
    let perm = match axes {
        Some(v) => i64_list("axes", v)?.iter().map(|&a| cx.axis(a, x)).collect::<Result<_>>()?,
        None => (0..cx.rank(x)).rev().collect::<Vec<_>>(),
    };
    one(cx.transpose(x, &perm)?)
}

/// `keras.ops.reshape`: the whole shape, batch included; -1 or an unknown extent is what is left.
pub fn reshape(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.input()?.id;
    let shape = cx.setting(1, "newshape").or_else(|| cx.setting(1, "shape")).ok_or_else(|| missing("newshape"))?;
    let list = shape.as_array().cloned().unwrap_or_else(|| vec![shape.clone()]);
    let target: Vec<i64> =
        list.iter().map(|v| if v.is_null() { Ok(-1) } else { to_i64("newshape", v) }).collect::<Result<_>>()?;
    one(cx.reshape(x, &target)?)
}

fn triangle(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.input()?.id;
    let k = number(cx, 1, "k", 0)?;
    let k = cx.lw.b.scalar(k);
    let upper = cx.layer.class == "Triu";
    one(cx.op(Trilu { upper }, &[x, k])?)
}
