//! Pooling.

use pocketnn::ops::elementwise::BinaryKind;
use pocketnn::ops::pool::{MaxPoolWithIndices, Pool, PoolKind};

use super::attrs::missing;
use super::conv::{Window, spatial_part};
use super::elem::Elem;
use super::node::{Lowered, Node, V, first, many, one};
use super::registry::{Row, multi, op};
use crate::error::{ImportError, Result};

pub(super) const ROWS: &[Row] = &[
    op("AvgPool", |cx| pool(cx, PoolKind::Average, 2)),
    op("AvgPool3D", |cx| pool(cx, PoolKind::Average, 3)),
    op("MaxPool", |cx| pool(cx, PoolKind::Max, 2)),
    op("MaxPool3D", |cx| pool(cx, PoolKind::Max, 3)),
    op("MaxPoolV2", max_pool_v2),
    multi("MaxPoolWithArgmax", &["output", "argmax"], max_pool_with_argmax),
];

fn pool<'m>(cx: &mut Node<'_, 'm>, kind: PoolKind, spatial: usize) -> Result<Lowered<'m>> {
    let window = Window::read(cx, spatial)?;
    let kernel = cx.attrs.extents("ksize")?.ok_or_else(|| missing("ksize"))?;
    let kernel = spatial_part("ksize", &kernel, spatial, window.first)?;
    one(apply(cx, kind, kernel, window)?)
}

fn apply(cx: &mut Node, kind: PoolKind, kernel: Vec<usize>, window: Window) -> Result<V> {
    let x = cx.input(0)?;
    cx.expect_rank(x, kernel.len().saturating_add(2))?;
    let x = cx.to_first(x, window.first)?;
    let op = Pool { kind, kernel, strides: window.strides, pads: window.pads, ..Pool::default() };
    let y = cx.op(op, &[x.id], x.elem)?;
    cx.to_last(y, window.first)
}

/// Window and step are operands.
fn max_pool_v2<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let first = cx.channels_first()?;
    let mut list = |i: usize, what: &str| -> Result<Vec<usize>> {
        let list = cx.need_ints(i, what)?;
        let list: Option<Vec<usize>> = list.iter().map(|&n| usize::try_from(n).ok()).collect();
        spatial_part(what, &list.ok_or_else(|| ImportError::invalid("a negative number").found(what))?, 2, first)
    };
    let (kernel, strides) = (list(1, "ksize")?, list(2, "strides")?);
    let pads = match cx.attrs.string("padding", "VALID")? {
        "SAME" => pocketnn::ops::conv::Pads::SameUpper,
        _ => pocketnn::ops::conv::Pads::default(),
    };
    let window = Window { first, strides, dilations: vec![1, 1], pads };
    one(apply(cx, PoolKind::Max, kernel, window)?)
}

/// Positions count channels first within a pixel: `(row * width + column) * channels + channel`.
fn max_pool_with_argmax<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let x = cx.input(0)?;
    cx.expect_rank(x, 4)?;
    let window = Window::read(cx, 2)?;
    let kernel = cx.attrs.extents("ksize")?.ok_or_else(|| missing("ksize"))?;
    let kernel = spatial_part("ksize", &kernel, 2, window.first)?;
    let with_batch = cx.attrs.flag("include_batch_in_index", false)?;
    let elem = cx.attrs.elem("Targmax")?.unwrap_or(Elem::I64);
    let x = cx.to_first(x, window.first)?;
    let (channels, pixels) = (cx.known(x, 1)?, cx.known(x, 2)?.saturating_mul(cx.known(x, 3)?));
    let op = MaxPoolWithIndices { kernel, strides: window.strides, pads: window.pads, ..MaxPoolWithIndices::default() };
    let ids = cx.emit(op, &[Some(x.id)], 2)?;
    let y = V { id: first(&ids)?, elem: x.elem };
    let flat = ids.get(1).copied().ok_or_else(|| ImportError::invalid("an op without output"))?;
    let flat = V { id: flat, elem: Elem::I64 };
    // flat = (image * channels + channel) * pixels + pixel
    let pixel = cx.with_scalar(BinaryKind::Mod, flat, pixels as f64)?;
    let plane = cx.with_scalar(BinaryKind::Div, flat, pixels as f64)?;
    let channel = cx.with_scalar(BinaryKind::Mod, plane, channels as f64)?;
    let scaled = cx.with_scalar(BinaryKind::Mul, pixel, channels as f64)?;
    let mut place = cx.binary(BinaryKind::Add, scaled, channel)?;
    if with_batch {
        let image = cx.with_scalar(BinaryKind::Div, plane, channels as f64)?;
        let before = cx.with_scalar(BinaryKind::Mul, image, channels.saturating_mul(pixels) as f64)?;
        place = cx.binary(BinaryKind::Add, place, before)?;
    }
    let y = cx.to_last(y, window.first)?;
    let place = cx.to_last(place, window.first)?;
    let place = cx.typed(place.id, elem)?;
    many([y, place])
}
