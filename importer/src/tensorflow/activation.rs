//! Activations.

use pocketnn::ops::activation::Activation;
use pocketnn::ops::elementwise::BinaryKind;
use pocketnn::ops::softmax::Softmax;

use super::node::{Lowered, Node, one};
use super::registry::{Row, op};
use crate::error::Result;

/// Constants of the self-normalising unit (Klambauer and others, 2017).
const SELU_ALPHA: f32 = 1.673_263_2;
const SELU_GAMMA: f32 = 1.050_701;

pub(super) const ROWS: &[Row] = &[
    op("Elu", |cx| of_input(cx, Activation::Elu { alpha: 1.0 })),
    op("LeakyRelu", leaky_relu),
    op("LogSoftmax", |cx| softmax(cx, true)),
    op("Relu", relu),
    op("Relu6", |cx| of_input(cx, Activation::Clamp { lo: 0.0, hi: 6.0 })),
    op("Selu", |cx| of_input(cx, Activation::Selu { alpha: SELU_ALPHA, gamma: SELU_GAMMA })),
    op("Sigmoid", |cx| of_input(cx, Activation::Sigmoid)),
    op("Softmax", |cx| softmax(cx, false)),
    op("Softplus", |cx| of_input(cx, Activation::Softplus)),
    op("Softsign", |cx| of_input(cx, Activation::Softsign)),
    op("Tanh", |cx| of_input(cx, Activation::Tanh)),
];

fn of_input<'m>(cx: &mut Node<'_, 'm>, kind: Activation) -> Result<Lowered<'m>> {
    let x = cx.input(0)?;
    one(cx.activate(kind, x)?)
}

fn relu<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let x = cx.input(0)?;
    if x.elem.is_float() {
        return of_input(cx, Activation::Relu);
    }
    one(cx.with_scalar(BinaryKind::Max, x, 0.0)?)
}

fn leaky_relu<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let alpha = cx.attrs.float("alpha", 0.2)?;
    of_input(cx, Activation::LeakyRelu { alpha })
}

/// Along the last axis.
fn softmax<'m>(cx: &mut Node<'_, 'm>, log: bool) -> Result<Lowered<'m>> {
    let x = cx.input(0)?;
    cx.floats_only(x)?;
    one(cx.op(Softmax { axis: -1, log }, &[x.id], x.elem)?)
}
