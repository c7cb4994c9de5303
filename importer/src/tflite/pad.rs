//! Padding: inputs `x`, `pads [rank, 2]`.

use pocketnn::ValueId;
use pocketnn::ops::movement::{Pad, PadMode};

use super::node::{Lowered, Node, one};
use super::registry::{Row, moves};
use crate::error::{ImportError, Result};

pub(super) const ROWS: &[Row] = &[moves("MIRROR_PAD", mirror), moves("PAD", pad), moves("PADV2", pad_v2)];

/// All begins, then all ends.
fn widths(cx: &mut Node) -> Result<ValueId> {
    let pads = cx.input(1)?;
    cx.expect_rank(pads, 2, "input 1")?;
    let pads = cx.as_i64(pads)?;
    let turned = cx.transpose(pads, &[1, 0])?;
    cx.reshape(turned, &[-1])
}

/// What stands for 0 in a tensor like input 0 of the operator: its zero point where it is quantized.
pub(super) fn zero(cx: &mut Node, x: ValueId) -> Result<ValueId> {
    let point = cx.quant_in(0).and_then(super::model::Quant::whole).map_or(0, |q| q.1);
    let dtype = cx.dtype(x);
    cx.scalar(point as f64, dtype)
}

fn pad(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    let (widths, zero) = (widths(cx)?, zero(cx, x)?);
    one(cx.op(Pad::default(), &[x, widths, zero])?)
}

/// Input 2 is what stands in the padding.
fn pad_v2(cx: &mut Node) -> Result<Lowered> {
    let (x, value) = (cx.input(0)?, cx.input(2)?);
    let widths = widths(cx)?;
    let value = cx.reshape(value, &[])?;
    one(cx.op(Pad::default(), &[x, widths, value])?)
}

fn mirror(cx: &mut Node) -> Result<Lowered> {
    let mode = match cx.options.choice(0)? {
        0 => PadMode::Reflect,
        1 => PadMode::Symmetric,
        other => return Err(ImportError::invalid("the mode").expected("REFLECT or SYMMETRIC").found(other)),
    };
    let x = cx.input(0)?;
    let widths = widths(cx)?;
    one(cx.op(Pad { mode }, &[x, widths])?)
}
