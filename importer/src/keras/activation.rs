//! Activations, as layers and as the `activation` field of other layers.
//!
//! Versions differ: `hard_sigmoid` is `clip(0.2 x + 0.5)` up to Keras 2 and `relu6(x + 3) / 6` from 3 on; the slope of `LeakyReLU` is
//! called `alpha` up to Keras 2.

use pocketnn::ValueId;
use pocketnn::ops::activation::Activation;
use pocketnn::ops::elementwise::{BinaryKind, PRelu, UnaryKind};
use pocketnn::ops::reduce::ReduceKind;
use pocketnn::ops::softmax::Softmax;
use serde_json::Value;

use super::call::{Cx, Val, int, one};
use super::config::{Config, i64_list, shorten, wrong};
use super::model::Layer;
use super::rows::Row;
use super::weights::Slot;
use crate::error::{ImportError, Result};

/// Rows of this family.
pub const ROWS: &[Row] = &[
    Row::plain(&["Activation"], activation).masked(),
    Row::plain(&["ReLU"], relu).masked(),
    Row::plain(&["LeakyReLU"], leaky_relu).masked(),
    Row::plain(&["ELU"], elu).masked(),
    Row::plain(&["ThresholdedReLU"], thresholded_relu).masked(),
    Row::plain(&["Softmax"], softmax).masked(),
    Row::new(&["PReLU"], prelu_slots, prelu).masked(),
];

/// An activation function.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Act {
    /// Of each element.
    Map(Activation),
    /// Along the channels.
    Softmax,
    /// Logarithm of it.
    LogSoftmax,
    /// First half of the channels times the sigmoid of the second.
    Glu,
    /// Sparse relative of the softmax.
    Sparsemax,
}

/// Scale constants of SELU (Klambauer et al., 2017).
const SELU: Activation = Activation::Selu { alpha: 1.673_263_2, gamma: 1.050_701 };

/// The activation of this name.
pub fn by_name(name: &str, version: u8) -> Option<Act> {
    let hard = if version >= 3 { 1.0 / 6.0 } else { 0.2 };
    Some(Act::Map(match name {
        "linear" | "identity" => Activation::Identity,
        "relu" => Activation::Relu,
        "relu6" => Activation::Clamp { lo: 0.0, hi: 6.0 },
        "sigmoid" => Activation::Sigmoid,
        "tanh" => Activation::Tanh,
        "softplus" => Activation::Softplus,
        "softsign" | "soft_sign" => Activation::Softsign,
        "elu" => Activation::Elu { alpha: 1.0 },
        "selu" => SELU,
        "celu" => Activation::Celu { alpha: 1.0 },
        "gelu" => Activation::Gelu,
        "silu" | "swish" => Activation::Silu { beta: 1.0 },
        "exponential" | "exp" => Activation::Exp,
        "hard_sigmoid" => Activation::HardSigmoid { alpha: hard, beta: 0.5 },
        "hard_silu" | "hard_swish" => Activation::HardSwish { alpha: 1.0 / 6.0, beta: 0.5 },
        "mish" => Activation::Mish,
        "leaky_relu" => Activation::LeakyRelu { alpha: 0.2 },
        "hard_tanh" => Activation::Clamp { lo: -1.0, hi: 1.0 },
        "tanh_shrink" => Activation::TanhShrink,
        "soft_shrink" => Activation::Shrink { lambda: 0.5, bias: 0.5 },
        "hard_shrink" => Activation::Shrink { lambda: 0.5, bias: 0.0 },
        "squareplus" => Activation::SquarePlus { b: 4.0 },
        "sparse_plus" => Activation::SparsePlus,
        "sparse_sigmoid" => Activation::SparseSigmoid,
        "log_sigmoid" => Activation::LogSigmoid,
        "softmax" => return Some(Act::Softmax),
        "log_softmax" => return Some(Act::LogSoftmax),
        "glu" => return Some(Act::Glu),
        "sparsemax" => return Some(Act::Sparsemax),
        _ => return None,
    }))
}

/// The activation a configuration names: text, a serialized function, or a serialized layer.
pub fn parse(value: Option<&Value>, version: u8) -> Result<Act> {
    let Some(value) = value else { return Ok(Act::Map(Activation::Identity)) };
    let unknown = || {
        ImportError::unsupported("an activation that is not Keras's own")
            .found(shorten(value))
            .at_attribute("activation")
    };
    if let Some(name) = value.as_str() {
        return by_name(name, version).ok_or_else(unknown);
    }
    let class = value.get("class_name").and_then(Value::as_str).ok_or_else(unknown)?;
    let config = value.get("config");
    let custom = value.get("registered_name").and_then(Value::as_str).is_some_and(|n| n.contains('>'));
    if custom {
        return Err(unknown());
    }
    let fields = Config::new(config.and_then(Value::as_object).cloned().unwrap_or_default());
    match class {
        "function" => config.and_then(Value::as_str).and_then(|n| by_name(n, version)).ok_or_else(unknown),
        "Activation" => parse(config.and_then(|c| c.get("activation")), version),
        "LeakyReLU" => {
            let slope = fields.f32_opt("alpha")?.or(fields.f32_opt("negative_slope")?);
            Ok(Act::Map(Activation::LeakyRelu { alpha: slope.unwrap_or(0.3) }))
        }
        "ReLU" => Ok(Act::Map(relu_kind(&fields)?)),
        "ELU" => Ok(Act::Map(Activation::Elu { alpha: fields.f32_or("alpha", 1.0)? })),
        name => by_name(name, version).ok_or_else(unknown),
    }
}

/// Applies an activation; `axis` is that of the channels.
pub fn apply(cx: &mut Cx<'_, '_>, act: Act, x: ValueId, axis: i64) -> Result<ValueId> {
    match act {
        Act::Map(kind) => cx.activate(kind, x),
        Act::Softmax => cx.op(Softmax { axis, log: false }, &[x]),
        Act::LogSoftmax => cx.op(Softmax { axis, log: true }, &[x]),
        Act::Glu => {
            let axis = cx.axis(axis, x)?;
            let half = int(cx.known(x, axis)? / 2);
            let a = cx.slice(x, axis, 0, half, 1)?;
            let b = cx.slice(x, axis, half, i64::MAX, 1)?;
            let gate = cx.activate(Activation::Sigmoid, b)?;
            cx.binary(BinaryKind::Mul, a, gate)
        }
        Act::Sparsemax => sparsemax(cx, x, axis),
    }
}

/// Applies the layer's `activation` field.
pub fn finish(cx: &mut Cx<'_, '_>, x: ValueId, axis: i64) -> Result<ValueId> {
    let act = parse(cx.config.get("activation"), cx.lw.version)?;
    apply(cx, act, x, axis)
}

/// Sparsemax as Keras computes it: with `z` sorted downwards and `s` its running sums, the support are the `k` indices with
/// `1 + i z_i > s_i`; the result is `max(x - tau, 0)` with `tau = (sum of s over the support - 1) / k`. (Martins and Astudillo, 2016, take
/// the last running sum instead of their sum; models are trained with what Keras does.)
fn sparsemax(cx: &mut Cx<'_, '_>, x: ValueId, axis: i64) -> Result<ValueId> {
    let at = cx.axis(axis, x)?;
    let end = cx.axis_to_end(x, at)?;
    let n = cx.bounded(cx.known(x, at)?, 1 << 20, "channels")?;
    let k = cx.lw.b.integers(&[int(n)]);
    let sorted =
        cx.node(pocketnn::ops::gather::TopK { axis: -1, largest: true, sorted: true }, &[Some(end), Some(k)], 2)?;
    let sorted = super::call::first(&sorted)?;
    let last = cx.lw.b.scalar(-1i64);
    let sums = cx.op(pocketnn::ops::gather::CumSum::default(), &[sorted, last])?;
    let numbers = cx.constant("numbers", &[n], (1..=n).map(|i| i as f32).collect())?;
    let scaled = cx.binary(BinaryKind::Mul, sorted, numbers)?;
    let left = cx.with_scalar(BinaryKind::Add, scaled, 1.0)?;
    let inside = cx.binary(BinaryKind::Gt, left, sums)?;
    let inside = cx.float(inside)?;
    let count = cx.reduce(ReduceKind::Sum, inside, &[-1], true)?;
    let part = cx.binary(BinaryKind::Mul, inside, sums)?;
    let sum = cx.reduce(ReduceKind::Sum, part, &[-1], true)?;
    let less = cx.with_scalar(BinaryKind::Sub, sum, 1.0)?;
    let tau = cx.binary(BinaryKind::Div, less, count)?;
    let y = cx.binary(BinaryKind::Sub, end, tau)?;
    let y = cx.activate(Activation::Relu, y)?;
    cx.axis_from_end(y, at)
}

fn activation(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.x()?;
    one(finish(cx, x, -1)?)
}

fn relu_kind(config: &Config) -> Result<Activation> {
    let max = config.f32_opt("max_value")?.unwrap_or(f32::INFINITY);
    let slope = config.f32_or("negative_slope", 0.0)?;
    let threshold = config.f32_or("threshold", 0.0)?;
    Ok(match (slope, threshold) {
        (0.0, 0.0) if max == f32::INFINITY => Activation::Relu,
        (0.0, 0.0) => Activation::Clamp { lo: 0.0, hi: max },
        (alpha, 0.0) if max == f32::INFINITY => Activation::LeakyRelu { alpha },
        _ => Activation::GeneralRelu { slope, threshold, max },
    })
}

fn relu(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.x()?;
    let kind = relu_kind(&cx.config)?;
    one(cx.activate(kind, x)?)
}

fn leaky_relu(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.x()?;
    let alpha = cx.config.f32_or("negative_slope", 0.3)?;
    one(cx.activate(Activation::LeakyRelu { alpha }, x)?)
}

fn elu(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.x()?;
    let alpha = cx.config.f32_or("alpha", 1.0)?;
    one(cx.activate(Activation::Elu { alpha }, x)?)
}

fn thresholded_relu(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.x()?;
    let threshold = cx.config.f32_or("theta", 1.0)?;
    one(cx.activate(Activation::Threshold { threshold, value: 0.0 }, x)?)
}

fn softmax(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.x()?;
    if cx.arg(1, "mask").is_some() {
        return Err(ImportError::unsupported("a mask argument").at_attribute("mask"));
    }
    let axes = cx.config.get("axis").map_or(Ok(vec![-1]), |v| i64_list("axis", v))?;
    one(softmax_over(cx, x, &axes)?)
}

/// Softmax over one or several axes together.
pub fn softmax_over(cx: &mut Cx<'_, '_>, x: ValueId, axes: &[i64]) -> Result<ValueId> {
    if let [axis] = axes {
        return cx.op(Softmax { axis: *axis, log: false }, &[x]);
    }
    let max = cx.reduce(ReduceKind::Max, x, axes, true)?;
    let shifted = cx.binary(BinaryKind::Sub, x, max)?;
    let exp = cx.unary(UnaryKind::Exp, shifted)?;
    let sum = cx.reduce(ReduceKind::Sum, exp, axes, true)?;
    cx.binary(BinaryKind::Div, exp, sum)
}

fn prelu_slots(_: &Layer, _: u8) -> Result<Vec<Slot>> {
    Ok(vec![Slot::new("alpha")])
}

fn prelu(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.x()?;
    cx.config.ignore(&["shared_axes"]);
    let rank = cx.rank(x).saturating_sub(1);
    let alpha = cx.weight("alpha", rank)?;
    let fits = alpha.shape.iter().enumerate().all(|(i, &d)| {
        d == 1 || cx.shape(x).get(i.saturating_add(1)).is_some_and(|e| e.known().is_none_or(|e| e == d))
    });
    if !fits {
        return Err(wrong("alpha", "the input's extents or 1", &Value::from(alpha.shape)));
    }
    let alpha = cx.array("alpha", alpha)?;
    one(cx.op(PRelu {}, &[x, alpha])?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn hard_sigmoid_depends_on_the_version() {
        assert_eq!(by_name("hard_sigmoid", 2), Some(Act::Map(Activation::HardSigmoid { alpha: 0.2, beta: 0.5 })));
        assert_eq!(by_name("hard_sigmoid", 3), Some(Act::Map(Activation::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 })));
    }

    #[test]
    fn serialized_functions_and_layers_are_read_and_foreign_ones_refused() {
        let function =
            json!({"module": "builtins", "class_name": "function", "config": "relu6", "registered_name": "relu6"});
        assert_eq!(parse(Some(&function), 3).unwrap(), Act::Map(Activation::Clamp { lo: 0.0, hi: 6.0 }));
        let layer = json!({"class_name": "LeakyReLU", "config": {"alpha": 0.5}});
        assert_eq!(parse(Some(&layer), 2).unwrap(), Act::Map(Activation::LeakyRelu { alpha: 0.5 }));
        let own = json!({"class_name": "function", "config": "my_act", "registered_name": "Custom>my_act"});
        assert!(parse(Some(&own), 3).is_err());
        assert!(parse(Some(&json!("my_act")), 3).unwrap_err().to_string().contains("my_act"));
    }
}
