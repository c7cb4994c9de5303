//! Resampling of the two spatial axes: inputs `x [N, H, W, C]`, `size [2]`.

use pocketnn::ops::elementwise::BinaryKind;
use pocketnn::ops::resize::{Coordinates, NearestMode, Resize, ResizeMode};
use pocketnn::{DType, ValueId};

use super::node::{Lowered, Node, one};
use super::quantize;
use super::registry::{Row, both, moves};
use crate::error::Result;

pub(super) const ROWS: &[Row] = &[both("RESIZE_BILINEAR", bilinear), moves("RESIZE_NEAREST_NEIGHBOR", nearest)];

fn resize(cx: &mut Node, op: Resize) -> Result<Lowered> {
    let x = cx.input(0)?;
    one(resized(cx, x, op)?)
}

fn resized(cx: &mut Node, x: ValueId, op: Resize) -> Result<ValueId> {
    let size = cx.input(1)?;
    cx.expect_rank(x, 4, "input 0")?;
    let first = cx.channels_first(x)?;
    let size = cx.as_i64(size)?;
    let y = cx.op_with(Resize { axes: vec![2, 3], ..op }, &[Some(first), None, None, Some(size)])?;
    cx.channels_last(y)
}

fn bilinear(cx: &mut Node) -> Result<Lowered> {
    let (corners, half) = (cx.options.flag(2, false)?, cx.options.flag(3, false)?);
    let x = cx.input(0)?;
    if cx.quantized() && cx.dtype(x) != DType::U8 {
        return quantize::bilinear(cx, corners, half);
    }
    let coordinates = match (corners, half) {
        (true, _) => Coordinates::AlignCorners,
        (false, true) => Coordinates::HalfPixel,
        (false, false) => Coordinates::Asymmetric,
    };
    let op = Resize { mode: ResizeMode::Linear, coordinates, ..Resize::default() };
    if !cx.quantized() {
        return resize(cx, op);
    }
    // Numbers of `u8` are interpolated in f32, whatever they stand for, and rounded with ties upwards.
    let wide = cx.cast(x, DType::F32)?;
    let y = resized(cx, wide, op)?;
    let half = cx.float(0.5);
    let y = cx.binary(BinaryKind::Add, y, half)?;
    one(cx.cast(y, DType::U8)?)
}

fn nearest(cx: &mut Node) -> Result<Lowered> {
    let (corners, half) = (cx.options.flag(0, false)?, cx.options.flag(1, false)?);
    let (coordinates, nearest) = match (corners, half) {
        (true, _) => (Coordinates::AlignCorners, NearestMode::RoundPreferCeil),
        (false, true) => (Coordinates::TfHalfPixel, NearestMode::Floor),
        (false, false) => (Coordinates::Asymmetric, NearestMode::Floor),
    };
    resize(cx, Resize { mode: ResizeMode::Nearest, coordinates, nearest, ..Resize::default() })
}
