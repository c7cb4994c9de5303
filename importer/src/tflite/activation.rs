//! Functions of one element with a kernel of their own.

use pocketnn::ops::activation::{Activate, Activation};
use pocketnn::ops::elementwise::PRelu;

use super::node::{Lowered, Node, one};
use super::quantize;
use super::registry::{Row, both, float};
use crate::error::Result;

pub(super) const ROWS: &[Row] = &[
    both("ELU", elu),
    both("GELU", gelu),
    both("HARD_SWISH", hard_swish),
    both("LEAKY_RELU", leaky_relu),
    both("LOGISTIC", logistic),
    both("PRELU", prelu),
    both("RELU", relu),
    both("RELU6", relu6),
    float("RELU_0_TO_1", relu_0_to_1),
    both("RELU_N1_TO_1", relu_n1_to_1),
    both("TANH", tanh),
];

/// `x * clamp(x / 6 + 1/2, 0, 1)`.
pub(super) const HARD_SWISH: Activation = Activation::HardSwish { alpha: 1.0 / 6.0, beta: 0.5 };

fn activate(cx: &mut Node, kind: Activation) -> Result<Lowered> {
    let x = cx.input(0)?;
    if cx.quantized() {
        return one(quantize::activation(cx, x, kind)?);
    }
    one(cx.op(Activate { kind }, &[x])?)
}

fn elu(cx: &mut Node) -> Result<Lowered> {
    activate(cx, Activation::Elu { alpha: 1.0 })
}
fn gelu(cx: &mut Node) -> Result<Lowered> {
    let approximate = cx.options.flag(0, false)?;
    activate(cx, if approximate { Activation::GeluTanh } else { Activation::Gelu })
}
fn hard_swish(cx: &mut Node) -> Result<Lowered> {
    activate(cx, HARD_SWISH)
}
fn leaky_relu(cx: &mut Node) -> Result<Lowered> {
    let alpha = cx.options.float(0)?;
    activate(cx, Activation::LeakyRelu { alpha })
}
fn logistic(cx: &mut Node) -> Result<Lowered> {
    activate(cx, Activation::Sigmoid)
}
fn relu(cx: &mut Node) -> Result<Lowered> {
    activate(cx, Activation::Relu)
}
fn relu6(cx: &mut Node) -> Result<Lowered> {
    activate(cx, Activation::Clamp { lo: 0.0, hi: 6.0 })
}
fn relu_0_to_1(cx: &mut Node) -> Result<Lowered> {
    activate(cx, Activation::Clamp { lo: 0.0, hi: 1.0 })
}
fn relu_n1_to_1(cx: &mut Node) -> Result<Lowered> {
    activate(cx, Activation::Clamp { lo: -1.0, hi: 1.0 })
}
fn tanh(cx: &mut Node) -> Result<Lowered> {
    activate(cx, Activation::Tanh)
}

fn prelu(cx: &mut Node) -> Result<Lowered> {
    let (x, slope) = (cx.input(0)?, cx.input(1)?);
    if cx.quantized() {
        return one(quantize::prelu(cx, x, slope)?);
    }
    one(cx.op(PRelu::default(), &[x, slope])?)
}
