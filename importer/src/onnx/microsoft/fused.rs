//! Fused layers.

use pocketnn::ops::activation::Activation;
use pocketnn::ops::conv::Conv;
use pocketnn::ops::elementwise::BinaryKind;
use pocketnn::ops::norm::LayerNorm;

use super::super::activation::activate;
use super::super::attrs::unknown_value;
use super::super::conv::{Window, groups, spatial};
use super::super::dense;
use super::super::node::{Lowered, Node, V, Value, one};
use crate::error::{ImportError, Result};

/// The activation that the attributes name.
fn activation(cx: &Node) -> Result<Option<Activation>> {
    let Some(name) = cx.attrs.opt_string("activation")?.filter(|n| !n.is_empty()) else { return Ok(None) };
    let params = cx.attrs.floats("activation_params")?.unwrap_or_default();
    let param = |i: usize, default: f32| params.get(i).copied().unwrap_or(default);
    Ok(Some(match name.as_str() {
        "Relu" => Activation::Relu,
        "Tanh" => Activation::Tanh,
        "Sigmoid" => Activation::Sigmoid,
        "LeakyRelu" => Activation::LeakyRelu { alpha: param(0, 0.01) },
        "Clip" => Activation::Clamp { lo: param(0, f32::MIN), hi: param(1, f32::MAX) },
        "HardSigmoid" => Activation::HardSigmoid { alpha: param(0, 0.2), beta: param(1, 0.5) },
        other => {
            let expected = "`Relu`, `Tanh`, `Sigmoid`, `LeakyRelu`, `Clip` or `HardSigmoid`";
            return Err(unknown_value("activation", expected, other));
        }
    }))
}

/// A convolution, a value to add, an activation.
fn conv(cx: &mut Node, x: V, w: V, bias: Option<V>, sum: Option<V>) -> Result<V> {
    let spatial = spatial(cx, x, w)?;
    let Window { strides, dilations, pads } = Window::read(cx, spatial)?;
    let op = Conv { strides, dilations, pads, groups: groups(cx)?, ..Conv::default() };
    let mut y = cx.op_with(op, &[Some(x.id), Some(w.id), bias.map(|b| b.id)], x.elem)?;
    if let Some(sum) = sum {
        y = cx.binary(BinaryKind::Add, y, sum)?;
    }
    match activation(cx)? {
        Some(kind) => activate(cx, kind, y),
        None => Ok(y),
    }
}

pub(super) fn fused_conv(cx: &mut Node) -> Result<Lowered> {
    let (x, w, bias, sum) = (cx.input(0)?, cx.input(1)?, cx.maybe(2)?, cx.maybe(3)?);
    one(conv(cx, x, w, bias, sum)?)
}

/// Images and sums have their channels last, kernels first.
pub(super) fn nhwc_conv(cx: &mut Node) -> Result<Lowered> {
    let (x, w, bias, sum) = (cx.input(0)?, cx.input(1)?, cx.maybe(2)?, cx.maybe(3)?);
    if cx.rank(x) != 4 {
        return Err(ImportError::unsupported("expected an image of two axes").found(cx.rank(x)));
    }
    let x = cx.transpose(x, &[0, 3, 1, 2])?;
    let sum = match sum {
        Some(sum) => Some(cx.transpose(sum, &[0, 3, 1, 2])?),
        None => None,
    };
    let y = conv(cx, x, w, bias, sum)?;
    one(cx.transpose(y, &[0, 2, 3, 1])?)
}

/// As `Gemm`, with an activation whose parameters have names of their own.
pub(super) fn fused_gemm(cx: &mut Node) -> Result<Lowered> {
    let kind = match cx.attrs.string("activation", "")?.as_str() {
        "" => None,
        "Relu" => Some(Activation::Relu),
        "Tanh" => Some(Activation::Tanh),
        "Sigmoid" => Some(Activation::Sigmoid),
        "LeakyRelu" => Some(Activation::LeakyRelu { alpha: cx.attrs.float("activation_alpha", 0.01)? }),
        other => return Err(unknown_value("activation", "`Relu`, `Tanh`, `Sigmoid` or `LeakyRelu`", other)),
    };
    cx.attrs.ignore(&["activation_alpha", "activation_beta", "activation_gamma"]);
    // The newest definition of `Gemm`, in which C is broadcast.
    cx.since = 13;
    let out = dense::gemm(cx)?;
    match (kind, out.as_slice()) {
        (Some(kind), [Value::Tensor(y)]) => one(activate(cx, kind, *y)?),
        _ => Ok(out),
    }
}

fn with_bias(cx: &mut Node, kind: Activation) -> Result<Lowered> {
    let (mut x, bias) = (cx.input(0)?, cx.maybe(1)?);
    if let Some(bias) = bias {
        x = cx.binary(BinaryKind::Add, x, bias)?;
    }
    one(activate(cx, kind, x)?)
}

pub(super) fn bias_gelu(cx: &mut Node) -> Result<Lowered> {
    with_bias(cx, Activation::Gelu)
}

pub(super) fn fast_gelu(cx: &mut Node) -> Result<Lowered> {
    with_bias(cx, Activation::GeluTanh)
}

/// The normalised sum of the input, a skip connection and a bias; the sum itself is the fourth output.
fn skip(cx: &mut Node, beta: Option<V>, bias: Option<V>, rms: bool) -> Result<Lowered> {
    let (x, skip, gamma) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
    if cx.wants(1) || cx.wants(2) {
        return Err(ImportError::unsupported("the statistics of the normalisation as outputs are not supported"));
    }
    let epsilon = cx.attrs.float("epsilon", 1e-12)?;
    let mut sum = cx.binary(BinaryKind::Add, x, skip)?;
    if let Some(bias) = bias {
        sum = cx.binary(BinaryKind::Add, sum, bias)?;
    }
    let op = LayerNorm { axis: -1, epsilon, rms };
    let y = cx.op_with(op, &[Some(sum.id), Some(gamma.id), beta.map(|b| b.id)], x.elem)?;
    // The outputs between are not asked for; any value stands in their place.
    Ok(vec![y.into(), sum.into(), sum.into(), sum.into()])
}

pub(super) fn skip_layer_norm(cx: &mut Node) -> Result<Lowered> {
    let (beta, bias) = (cx.maybe(3)?, cx.maybe(4)?);
    skip(cx, beta, bias, false)
}

pub(super) fn skip_rms_norm(cx: &mut Node) -> Result<Lowered> {
    let bias = cx.maybe(3)?;
    skip(cx, None, bias, true)
}
