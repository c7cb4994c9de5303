//! Layers that move elements or do nothing in inference.

use pocketnn::ops::movement::{Pad, PadMode};
use pocketnn::ops::reduce::ReduceKind;
use pocketnn::{Dim, ValueId};
use serde_json::Value;

use super::call::{Cx, Val, int, one};
use super::config::{i64_list, plain, to_i64, wrong};
use super::conv::spatial;
use super::rows::Row;
use crate::error::{ImportError, Result};

/// Rows of this family.
pub const ROWS: &[Row] = &[
    Row::plain(
        &[
            "ActivityRegularization",
            "AlphaDropout",
            "Dropout",
            "GaussianDropout",
            "GaussianNoise",
            "Identity",
            "SpatialDropout1D",
            "SpatialDropout2D",
            "SpatialDropout3D",
            "StochasticDepth",
        ],
        nothing,
    )
    .masked(),
    Row::plain(&["Masking"], masking),
    Row::plain(&["Flatten"], flatten),
    Row::plain(&["Reshape"], reshape),
    Row::plain(&["Permute"], permute_axes),
    Row::plain(&["RepeatVector"], repeat_vector),
    Row::plain(&["Cropping1D", "Cropping2D", "Cropping3D"], cropping),
    Row::plain(&["ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D"], zero_padding),
];

fn nothing(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    cx.config.ignore(&["rate", "stddev", "l1", "l2", "data_format", "drop_path_rate"]);
    Ok(vec![cx.input()?])
}

/// Steps all of whose features equal the mask value are masked and set to 0.
fn masking(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.x()?;
    let value = cx.config.f32_or("mask_value", 0.0)?;
    let differs = cx.with_scalar(pocketnn::ops::elementwise::BinaryKind::Ne, x, value)?;
    let keep = cx.reduce(ReduceKind::Any, differs, &[-1], true)?;
    let factor = cx.float(keep)?;
    let y = cx.binary(pocketnn::ops::elementwise::BinaryKind::Mul, x, factor)?;
    let mask = cx.squeeze(keep, &[-1])?;
    Ok(vec![Val { id: y, mask: Some(mask) }])
}

fn flatten(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.input()?.id;
    let first = cx.channels_first()?;
    let x = if first { cx.to_last(x, false)? } else { x };
    if cx.rank(x) == 1 {
        return one(cx.unsqueeze(x, &[1])?);
    }
    one(cx.reshape(x, &[0, -1])?)
}

fn reshape(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.input()?.id;
    if let Some(shape) = cx.config.get("target_shape").map(plain) {
        let mut target = vec![0];
        for d in i64_list("target_shape", &shape)? {
            target.push(d);
        }
        let fixed: Option<usize> =
            target.iter().skip(1).try_fold(1usize, |n, &d| usize::try_from(d).ok().and_then(|d| n.checked_mul(d)));
        if let (Some(n), Some(m)) = (fixed, elements(&cx.shape(x)))
            && n != m
        {
            return Err(wrong("target_shape", &format!("{m} elements"), &shape));
        }
        return one(cx.reshape(x, &target)?);
    }
    super::ops::reshape(cx)
}

/// Elements behind the batch axis, if known.
fn elements(shape: &[Dim]) -> Option<usize> {
    shape.iter().skip(1).try_fold(1usize, |n, d| n.checked_mul(d.known()?))
}

fn permute_axes(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.input()?.id;
    let dims = cx.config.i64s("dims")?.unwrap_or_default();
    let mut perm = vec![0usize];
    for d in &dims {
        perm.push(usize::try_from(*d).map_err(|_| wrong("dims", "positive axes", &Value::from(dims.clone())))?);
    }
    one(cx.transpose(x, &perm)?)
}

fn repeat_vector(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.input()?.id;
    let n = cx.config.usize("n")?;
    let x = cx.unsqueeze(x, &[1])?;
    let repeats = cx.lw.b.integers(&[1, int(n), 1]);
    one(cx.op(pocketnn::ops::movement::Tile {}, &[x, repeats])?)
}

/// Begin and end of each spatial axis: `a`, `[a, b]` (symmetric, or both ends of one axis), `[[a, b], ..]`.
fn pairs(cx: &Cx<'_, '_>, key: &str, n: usize) -> Result<Vec<(i64, i64)>> {
    let value = cx.config.get(key).map_or(Value::from(1), plain);
    let bad = || wrong(key, "a number, a list of numbers or a list of pairs", &value);
    let number = |v: &Value| to_i64(key, v).ok().filter(|n| *n >= 0).ok_or_else(bad);
    let Some(list) = value.as_array() else {
        let a = number(&value)?;
        return Ok(vec![(a, a); n]);
    };
    if n == 1 {
        return match list.as_slice() {
            [pair] if pair.is_array() => Ok(vec![two(pair, &number).ok_or_else(bad)?]),
            [a, b] => Ok(vec![(number(a)?, number(b)?)]),
            [a] => Ok(vec![(number(a)?, number(a)?)]),
            _ => Err(bad()),
        };
    }
    if list.len() == 4 && n == 2 {
        let all: Vec<i64> = list.iter().map(number).collect::<Result<_>>()?;
        return Ok(all.chunks(2).filter_map(|c| Some((*c.first()?, *c.get(1)?))).collect());
    }
    if list.len() != n {
        return Err(bad());
    }
    list.iter()
        .map(|v| if v.is_array() { two(v, &number).ok_or_else(bad) } else { number(v).map(|a| (a, a)) })
        .collect()
}

fn two(value: &Value, number: &impl Fn(&Value) -> Result<i64>) -> Option<(i64, i64)> {
    let [a, b] = value.as_array()?.as_slice() else { return None };
    Some((number(a).ok()?, number(b).ok()?))
}

fn cropping(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let n = spatial(&cx.layer.class);
    let x = cx.input()?.id;
    cx.expect_rank(x, n.saturating_add(2))?;
    let first = cx.channels_first()?;
    let mut x = cx.to_first(x, first)?;
    for (i, (begin, end)) in pairs(cx, "cropping", n)?.into_iter().enumerate() {
        let last = if end == 0 { i64::MAX } else { end.saturating_neg() };
        if (begin, end) != (0, 0) {
            x = cx.slice(x, i.saturating_add(2), begin, last, 1)?;
        }
    }
    one(cx.to_last(x, first)?)
}

fn zero_padding(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let n = spatial(&cx.layer.class);
    let x = cx.x()?;
    cx.expect_rank(x, n.saturating_add(2))?;
    let first = cx.channels_first()?;
    let x = cx.to_first(x, first)?;
    let pads = pairs(cx, "padding", n)?;
    if pads.iter().any(|&(a, b)| a > 1 << 20 || b > 1 << 20) {
        return Err(ImportError::limits("a padding beyond any image").at_attribute("padding"));
    }
    let begins = [0, 0].into_iter().chain(pads.iter().map(|p| p.0));
    let ends = [0, 0].into_iter().chain(pads.iter().map(|p| p.1));
    let all: Vec<i64> = begins.chain(ends).collect();
    let y = pad(cx, x, &all, PadMode::Constant)?;
    one(cx.to_last(y, first)?)
}

/// Pads all axes: all begins, then all ends.
pub fn pad(cx: &mut Cx<'_, '_>, x: ValueId, pads: &[i64], mode: PadMode) -> Result<ValueId> {
    let pads = cx.lw.b.integers(pads);
    cx.op(Pad { mode }, &[x, pads])
}
