//! Pooling over windows of the two spatial axes of `[N, H, W, C]`.

use pocketnn::ops::elementwise::UnaryKind;
use pocketnn::ops::pool::{Pool, PoolKind};

use super::conv::Window;
use super::node::{Lowered, Node, one};
use super::quantize;
use super::registry::{Row, both, float};
use crate::error::Result;

pub(super) const ROWS: &[Row] = &[both("AVERAGE_POOL_2D", average), float("L2_POOL_2D", l2), both("MAX_POOL_2D", max)];

/// The pooling of the options.
fn pool(cx: &mut Node, kind: PoolKind) -> Result<Lowered> {
    let x = cx.input(0)?;
    cx.expect_rank(x, 4, "input 0")?;
    let first = cx.channels_first(x)?;
    let kernel = vec![cx.options.step(4)?, cx.options.step(3)?];
    let Window { strides, pads, .. } = Window::read(cx, first, &kernel, 0, &[2, 1], &[])?;
    let activation = cx.fused(5)?;
    let op = Pool { kind, kernel, strides, pads, ..Pool::default() };
    let y = if cx.quantized() {
        quantize::pool(cx, first, op, activation)?
    } else {
        let y = cx.op(op, &[first])?;
        cx.activated(y, activation)?
    };
    one(cx.channels_last(y)?)
}

fn average(cx: &mut Node) -> Result<Lowered> {
    pool(cx, PoolKind::Average)
}

fn max(cx: &mut Node) -> Result<Lowered> {
    pool(cx, PoolKind::Max)
}

/// The root of the mean of squares.
fn l2(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    cx.expect_rank(x, 4, "input 0")?;
    let first = cx.channels_first(x)?;
    let kernel = vec![cx.options.step(4)?, cx.options.step(3)?];
    let Window { strides, pads, .. } = Window::read(cx, first, &kernel, 0, &[2, 1], &[])?;
    let activation = cx.fused(5)?;
    let squares = cx.unary(UnaryKind::Square, first)?;
    let mean = cx.op(Pool { kind: PoolKind::Average, kernel, strides, pads, ..Pool::default() }, &[squares])?;
    let y = cx.unary(UnaryKind::Sqrt, mean)?;
    let y = cx.activated(y, activation)?;
    one(cx.channels_last(y)?)
}
