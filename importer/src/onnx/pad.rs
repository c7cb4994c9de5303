//! Padding.

use pocketnn::ops::movement::{Pad, PadMode};

use super::attrs::{missing, unknown_value};
use super::node::{Lowered, Node, one};
use super::registry::{Row, op};
use crate::error::Result;

pub(super) const ROWS: &[Row] = &[op("Pad", &[1, 2, 11, 13, 18, 19, 21, 23, 24, 25], pad)];

/// Amounts are an attribute (`paddings` in opset 1) before opset 11, then an input.
fn pad(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    let mode = match cx.attrs.string("mode", "constant")?.as_str() {
        "constant" => PadMode::Constant,
        "edge" => PadMode::Edge,
        "reflect" => PadMode::Reflect,
        "wrap" if cx.since >= 19 => PadMode::Wrap,
        other => return Err(unknown_value("mode", "`constant`, `edge`, `reflect` or (from opset 19) `wrap`", other)),
    };
    let mut inputs = vec![Some(x.id)];
    if cx.since < 11 {
        let name = if cx.since < 2 { "paddings" } else { "pads" };
        let pads = cx.attrs.ints(name)?.ok_or_else(|| missing(name))?;
        let value = cx.attrs.float("value", 0.0)?;
        inputs.push(Some(cx.integers(&pads)));
        if value != 0.0 {
            inputs.push(Some(cx.scalar_like(x, f64::from(value))?.id));
        }
    } else {
        let pads = cx.input(1)?;
        inputs.push(Some(cx.as_i64(pads)?));
        inputs.push(cx.maybe(2)?.map(|v| v.id));
        if let Some(axes) = cx.maybe(3)? {
            inputs.push(Some(cx.as_i64(axes)?));
        }
    }
    one(cx.op_with(Pad { mode }, &inputs, x.elem)?)
}
