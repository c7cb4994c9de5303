//! Resampling of the two spatial axes: inputs `x [N, H, W, C]`, `size [2]`.

use pocketnn::ops::resize::{Coordinates, NearestMode, Resize, ResizeMode};

use super::node::{Lowered, Node, one};
use super::quantize;
use super::registry::{Row, both, moves};
use crate::error::Result;

pub(super) const ROWS: &[Row] = &[both("RESIZE_BILINEAR", bilinear), moves("RESIZE_NEAREST_NEIGHBOR", nearest)];

fn resize(cx: &mut Node, op: Resize) -> Result<Lowered> {
    let (x, size) = (cx.input(0)?, cx.input(1)?);
    cx.expect_rank(x, 4, "input 0")?;
    let first = cx.channels_first(x)?;
    let size = cx.as_i64(size)?;
    let y = cx.op_with(Resize { axes: vec![2, 3], ..op }, &[Some(first), None, None, Some(size)])?;
    one(cx.channels_last(y)?)
}

fn bilinear(cx: &mut Node) -> Result<Lowered> {
    let (corners, half) = (cx.options.flag(2, false)?, cx.options.flag(3, false)?);
    if cx.quantized() {
        return quantize::bilinear(cx, corners, half);
    }
    let coordinates = match (corners, half) {
        (true, _) => Coordinates::AlignCorners,
        (false, true) => Coordinates::HalfPixel,
        (false, false) => Coordinates::Asymmetric,
    };
    resize(cx, Resize { mode: ResizeMode::Linear, coordinates, ..Resize::default() })
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
