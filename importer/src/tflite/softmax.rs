//! Softmax along the last axis.

use pocketnn::ops::elementwise::BinaryKind;
use pocketnn::ops::softmax::Softmax;

use super::node::{Lowered, Node, one};
use super::quantize;
use super::registry::{Row, both, float};
use crate::error::Result;

pub(super) const ROWS: &[Row] = &[float("LOG_SOFTMAX", log_softmax), both("SOFTMAX", softmax)];

/// `softmax(beta * x)`.
fn softmax(cx: &mut Node) -> Result<Lowered> {
    let beta = cx.options.float(0)?;
    let mut x = cx.input(0)?;
    if cx.quantized() {
        return one(quantize::softmax(cx, x, beta)?);
    }
    if beta != 1.0 {
        let beta = cx.float(beta);
        x = cx.binary(BinaryKind::Mul, x, beta)?;
    }
    one(cx.op(Softmax { axis: -1, log: false }, &[x])?)
}

fn log_softmax(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    one(cx.op(Softmax { axis: -1, log: true }, &[x])?)
}
