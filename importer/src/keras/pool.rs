//! Pooling: over windows, global and adaptive.

use pocketnn::ValueId;
use pocketnn::ops::elementwise::BinaryKind;
use pocketnn::ops::pool::{Pool, PoolKind};
use pocketnn::ops::reduce::ReduceKind;

use super::call::{Cx, Val, int, one};
use super::conv::{Window, spatial};
use super::rows::Row;
use crate::error::Result;

/// Rows of this family.
pub const ROWS: &[Row] = &[
    Row::plain(
        &["MaxPooling1D", "MaxPooling2D", "MaxPooling3D", "AveragePooling1D", "AveragePooling2D", "AveragePooling3D"],
        pool,
    ),
    Row::plain(
        &[
            "GlobalAveragePooling1D",
            "GlobalAveragePooling2D",
            "GlobalAveragePooling3D",
            "GlobalMaxPooling1D",
            "GlobalMaxPooling2D",
            "GlobalMaxPooling3D",
        ],
        global,
    ),
    Row::plain(
        &[
            "AdaptiveAveragePooling1D",
            "AdaptiveAveragePooling2D",
            "AdaptiveAveragePooling3D",
            "AdaptiveMaxPooling1D",
            "AdaptiveMaxPooling2D",
            "AdaptiveMaxPooling3D",
        ],
        adaptive,
    ),
];

fn is_max(cx: &Cx<'_, '_>) -> bool {
    cx.layer.class.contains("Max")
}

fn pool(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let n = spatial(&cx.layer.class);
    let x = cx.x()?;
    cx.expect_rank(x, n.saturating_add(2))?;
    let first = cx.channels_first()?;
    let x = cx.to_first(x, first)?;
    let size = cx.config.usizes("pool_size", n, 2)?;
    let strides = if cx.config.has("strides") { cx.config.usizes("strides", n, 1)? } else { size.clone() };
    let padding = cx.config.text("padding", "valid")?;
    let y = windows(cx, x, is_max(cx), &Window { dilations: vec![1; n], size, strides, padding })?;
    one(cx.to_last(y, first)?)
}

/// Pooling of `[N, C, spatial..]`. Averages do not count padding, as TensorFlow's.
pub fn windows(cx: &mut Cx<'_, '_>, x: ValueId, max: bool, window: &Window) -> Result<ValueId> {
    let kind = if max { PoolKind::Max } else { PoolKind::Average };
    let pads = window.pads(&cx.shape(x))?;
    cx.op(Pool { kind, kernel: window.size.clone(), strides: window.strides.clone(), pads, ..Pool::default() }, &[x])
}

fn global(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let n = spatial(&cx.layer.class);
    let mask = cx.input_mask();
    let x = cx.x()?;
    cx.expect_rank(x, n.saturating_add(2))?;
    let first = cx.channels_first()?;
    let keep = cx.config.bool("keepdims", false)?;
    if let (Some(mask), "GlobalAveragePooling1D", false) = (mask, cx.layer.class.as_str(), first) {
        return one(masked_mean(cx, x, mask, keep)?);
    }
    let x = cx.to_first(x, first)?;
    let axes: Vec<i64> = (2..n.saturating_add(2)).map(int).collect();
    let kind = if is_max(cx) { ReduceKind::Max } else { ReduceKind::Mean };
    let y = cx.reduce(kind, x, &axes, keep)?;
    one(if keep { cx.to_last(y, first)? } else { y })
}

/// Mean over the steps that count: `x [N, T, C]`, `mask [N, T]`.
fn masked_mean(cx: &mut Cx<'_, '_>, x: ValueId, mask: ValueId, keep: bool) -> Result<ValueId> {
    let mask = cx.float(mask)?;
    let mask = cx.unsqueeze(mask, &[2])?;
    let product = cx.binary(BinaryKind::Mul, x, mask)?;
    let sum = cx.reduce(ReduceKind::Sum, product, &[1], keep)?;
    let count = cx.reduce(ReduceKind::Sum, mask, &[1], keep)?;
    cx.binary(BinaryKind::Div, sum, count)
}

fn adaptive(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let n = spatial(&cx.layer.class);
    let x = cx.x()?;
    cx.expect_rank(x, n.saturating_add(2))?;
    let first = cx.channels_first()?;
    let mut x = cx.to_first(x, first)?;
    let sizes = cx.config.usizes("output_size", n, 1)?;
    let kind = if is_max(cx) { ReduceKind::Max } else { ReduceKind::Mean };
    for (i, &size) in sizes.iter().enumerate() {
        x = adaptive_axis(cx, x, i.saturating_add(2), size.max(1), kind)?;
    }
    one(cx.to_last(x, first)?)
}

/// Part `i` of an axis reaches from `floor(i n / size)` to `ceil((i + 1) n / size)`.
fn adaptive_axis(cx: &mut Cx<'_, '_>, x: ValueId, axis: usize, size: usize, kind: ReduceKind) -> Result<ValueId> {
    let n = cx.known(x, axis)?;
    cx.bounded(size, 4096, "windows")?;
    let mut parts = Vec::new();
    for i in 0..size {
        let start = i.saturating_mul(n) / size;
        let end = i.saturating_add(1).saturating_mul(n).div_ceil(size);
        let part = cx.slice(x, axis, int(start), int(end), 1)?;
        parts.push(cx.reduce(kind, part, &[int(axis)], true)?);
    }
    cx.concat(&parts, int(axis))
}
