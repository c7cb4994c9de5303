//! Activations: functions of one element with parameters.

use pocketnn::ops::activation::{Activate, Activation};
use pocketnn::ops::elementwise::{BinaryKind, PRelu, Where};
use pocketnn::{DType, Tensor};

use super::attrs::unknown_value;
use super::elem::Elem;
use super::node::{Lowered, Node, V, one};
use super::registry::{Row, op};
use crate::error::Result;

pub(super) const ROWS: &[Row] = &[
    op("Celu", &[12, 28], celu),
    op("Clip", &[1, 6, 11, 12, 13], clip),
    op("Elu", &[1, 6, 22], elu),
    op("Gelu", &[20], gelu),
    op("HardSigmoid", &[1, 6, 22], hard_sigmoid),
    op("HardSwish", &[14, 22], hard_swish),
    op("LeakyRelu", &[1, 6, 16], leaky_relu),
    op("Mish", &[18, 22], mish),
    op("PRelu", &[1, 6, 7, 9, 16], prelu),
    op("Relu", &[1, 6, 13, 14], relu),
    op("Selu", &[1, 6, 22], selu),
    op("Shrink", &[9], shrink),
    op("Sigmoid", &[1, 6, 13], sigmoid),
    op("Softplus", &[1, 22], softplus),
    op("Softsign", &[1, 22], softsign),
    op("SwiGLU", &[28], swi_glu),
    op("Swish", &[24], swish),
    op("Tanh", &[1, 6, 13], tanh),
    op("ThresholdedRelu", &[10, 22], thresholded_relu),
    Row { domain: "com.microsoft", name: "Gelu", since: &[1], lower: gelu },
    Row { domain: "com.microsoft", name: "QuickGelu", since: &[1], lower: quick_gelu },
];

/// An activation of a value.
pub(super) fn activate(cx: &mut Node, kind: Activation, x: V) -> Result<V> {
    cx.floats_only(x)?;
    cx.op(Activate { kind }, &[x.id], x.elem)
}

/// The activation of input 0. Opset 1 had a hint for memory reuse, which says nothing here.
fn of_input(cx: &mut Node, kind: Activation) -> Result<Lowered> {
    cx.attrs.ignore(&["consumed_inputs"]);
    let x = cx.input(0)?;
    one(activate(cx, kind, x)?)
}

fn relu(cx: &mut Node) -> Result<Lowered> {
    cx.attrs.ignore(&["consumed_inputs"]);
    let x = cx.input(0)?;
    if x.elem.is_float() {
        return of_input(cx, Activation::Relu);
    }
    let zero = cx.scalar_like(x, 0.0)?;
    one(cx.binary(BinaryKind::Max, x, zero)?)
}

fn sigmoid(cx: &mut Node) -> Result<Lowered> {
    of_input(cx, Activation::Sigmoid)
}

fn tanh(cx: &mut Node) -> Result<Lowered> {
    of_input(cx, Activation::Tanh)
}

fn mish(cx: &mut Node) -> Result<Lowered> {
    of_input(cx, Activation::Mish)
}

fn softplus(cx: &mut Node) -> Result<Lowered> {
    of_input(cx, Activation::Softplus)
}

fn softsign(cx: &mut Node) -> Result<Lowered> {
    of_input(cx, Activation::Softsign)
}

fn celu(cx: &mut Node) -> Result<Lowered> {
    let alpha = cx.attrs.float("alpha", 1.0)?;
    of_input(cx, Activation::Celu { alpha })
}

fn elu(cx: &mut Node) -> Result<Lowered> {
    let alpha = cx.attrs.float("alpha", 1.0)?;
    of_input(cx, Activation::Elu { alpha })
}

fn leaky_relu(cx: &mut Node) -> Result<Lowered> {
    let alpha = cx.attrs.float("alpha", 0.01)?;
    of_input(cx, Activation::LeakyRelu { alpha })
}

fn thresholded_relu(cx: &mut Node) -> Result<Lowered> {
    let threshold = cx.attrs.float("alpha", 1.0)?;
    of_input(cx, Activation::Threshold { threshold, value: 0.0 })
}

fn hard_sigmoid(cx: &mut Node) -> Result<Lowered> {
    let (alpha, beta) = (cx.attrs.float("alpha", 0.2)?, cx.attrs.float("beta", 0.5)?);
    of_input(cx, Activation::HardSigmoid { alpha, beta })
}

fn hard_swish(cx: &mut Node) -> Result<Lowered> {
    of_input(cx, Activation::HARD_SWISH)
}

fn swish(cx: &mut Node) -> Result<Lowered> {
    let beta = cx.attrs.float("alpha", 1.0)?;
    of_input(cx, Activation::Silu { beta })
}

fn swi_glu(cx: &mut Node) -> Result<Lowered> {
    let (gate, value) = (cx.input(0)?, cx.input(1)?);
    let beta = cx.attrs.float("alpha", 1.0)?;
    let gate = activate(cx, Activation::Silu { beta }, gate)?;
    one(cx.binary(BinaryKind::Mul, gate, value)?)
}

fn quick_gelu(cx: &mut Node) -> Result<Lowered> {
    let beta = cx.attrs.float("alpha", 1.702)?;
    of_input(cx, Activation::Silu { beta })
}

fn shrink(cx: &mut Node) -> Result<Lowered> {
    let (lambda, bias) = (cx.attrs.float("lambd", 0.5)?, cx.attrs.float("bias", 0.0)?);
    of_input(cx, Activation::Shrink { lambda, bias })
}

/// The constants had five digits in opset 1.
fn selu(cx: &mut Node) -> Result<Lowered> {
    let (a, g) = if cx.since < 6 { (1.6732, 1.0507) } else { (1.673_263_2, 1.050_701) };
    let (alpha, gamma) = (cx.attrs.float("alpha", a)?, cx.attrs.float("gamma", g)?);
    of_input(cx, Activation::Selu { alpha, gamma })
}

fn gelu(cx: &mut Node) -> Result<Lowered> {
    let kind = match cx.attrs.string("approximate", "none")?.as_str() {
        "none" => Activation::Gelu,
        "tanh" => Activation::GeluTanh,
        other => return Err(unknown_value("approximate", "`none` or `tanh`", other)),
    };
    of_input(cx, kind)
}

/// Bounds are attributes before opset 11, then inputs.
fn clip(cx: &mut Node) -> Result<Lowered> {
    cx.attrs.ignore(&["consumed_inputs"]);
    let x = cx.input(0)?;
    let (lo, hi) = if cx.since < 11 {
        let (lo, hi) = (cx.attrs.opt_float("min")?, cx.attrs.opt_float("max")?);
        (lo.map(|lo| cx.float(lo)), hi.map(|hi| cx.float(hi)))
    } else {
        (cx.maybe(1)?, cx.maybe(2)?)
    };
    let bound = |cx: &Node, v: Option<V>, open: f32| match v {
        None => Some(open),
        Some(v) => cx.const_floats(v).and_then(|f| f.first().copied()),
    };
    if x.elem.is_float()
        && let (Some(lo), Some(hi)) = (bound(cx, lo, f32::NEG_INFINITY), bound(cx, hi, f32::INFINITY))
        && lo <= hi
    {
        return one(activate(cx, Activation::Clamp { lo, hi }, x)?);
    }
    let mut y = x;
    for (kind, limit) in [(BinaryKind::Max, lo), (BinaryKind::Min, hi)] {
        if let Some(limit) = limit {
            y = cx.binary(kind, y, limit)?;
        }
    }
    one(y)
}

/// The slope is one number a channel before opset 7, then broadcast to `x`.
fn prelu(cx: &mut Node) -> Result<Lowered> {
    cx.attrs.ignore(&["consumed_inputs"]);
    let (x, mut slope) = (cx.input(0)?, cx.input(1)?);
    let rank = cx.rank(x);
    if cx.since < 7 && cx.rank(slope) == 1 && rank > 2 && cx.extent(slope, 0) != Some(1) {
        let mut shape = vec![-1];
        shape.resize(rank.saturating_sub(1), 1);
        slope = cx.reshape(slope, &shape)?;
    }
    if x.elem.is_float() {
        return one(cx.op(PRelu::default(), &[x.id, slope.id], x.elem)?);
    }
    let zero = cx.scalar_like(x, 0.0)?;
    let negative = cx.compare(BinaryKind::Lt, x, zero)?;
    let scaled = cx.binary(BinaryKind::Mul, x, slope)?;
    one(cx.op(Where::default(), &[negative.id, scaled.id, x.id], x.elem)?)
}

/// Ones of the shape of a value.
pub(super) fn ones_like(cx: &mut Node, x: V, elem: Elem) -> Result<V> {
    let shape = cx.op(pocketnn::ops::movement::Shape::default(), &[x.id], Elem::I64)?;
    let value = match elem {
        Elem::Bool => Tensor::vector(&[true]),
        other => super::node::cast_tensor(&Tensor::vector(&[1.0f32]), other.carried().unwrap_or(DType::F32))?,
    };
    cx.op(pocketnn::ops::movement::ConstantOfShape { value }, &[shape.id], elem)
}
