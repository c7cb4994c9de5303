//! Activations that exporters spell out in one or two small ops.

use super::edit::Editor;
use super::look;
use crate::ops::activation::{Activate, Activation};
use crate::ops::elementwise::BinaryKind;
use crate::{DType, Node, Op, ValueId};

pub(super) fn run(e: &mut Editor) {
    e.each(|e, slot| {
        let Some(n) = e.node(slot) else { return };
        let Some((kind, x)) = written(e, n) else { return };
        let name = n.name.clone();
        if e.dtype(x) == DType::F32
            && look::same_shape(e, x, n.outputs[0])
            && e.rewrite(slot, Activate { kind }, &[Some(x)])
        {
            e.note(name);
        }
    });
}

fn written(e: &Editor, n: &Node) -> Option<(Activation, ValueId)> {
    if let Some((kind, x)) = look::function(n) {
        return of_function(e, kind, x);
    }
    if let (Op::PRelu(_), &[Some(x), Some(slope)]) = (&n.op, n.inputs.as_slice()) {
        let slope = e.constant(slope)?.to_f64();
        let first = *slope.first()?;
        let even = slope.iter().all(|&s| s == first);
        return even.then_some((Activation::LeakyRelu { alpha: first as f32 }, x));
    }
    let (kind, a, b) = look::binary(n)?;
    of_binary(e, kind, a, b)
}

/// A function of a function that is one function.
fn of_function(e: &Editor, kind: Activation, y: ValueId) -> Option<(Activation, ValueId)> {
    let (inner, x) = look::function_of(e, y).filter(|_| e.sole_use(y))?;
    let combined = match (inner, kind) {
        (Activation::Linear { a, b }, Activation::Clamp { lo: 0.0, hi: 1.0 }) => {
            Activation::HardSigmoid { alpha: a, beta: b }
        }
        (Activation::Sqrt, Activation::Reciprocal) => Activation::Rsqrt,
        _ => clamp(intersection(inner.as_clamp()?, kind.as_clamp()?)?),
    };
    Some((combined, x))
}

fn intersection(inner: (f32, f32), outer: (f32, f32)) -> Option<(f32, f32)> {
    let (lo, hi) = (inner.0.max(outer.0), inner.1.min(outer.1));
    (inner.0 <= inner.1 && outer.0 <= outer.1 && lo <= hi).then_some((lo, hi))
}

fn clamp((lo, hi): (f32, f32)) -> Activation {
    if lo == 0.0 && hi == f32::INFINITY { Activation::Relu } else { Activation::Clamp { lo, hi } }
}

fn of_binary(e: &Editor, kind: BinaryKind, a: ValueId, b: ValueId) -> Option<(Activation, ValueId)> {
    if kind == BinaryKind::Mul && a == b {
        return Some((Activation::Square, a));
    }
    match (kind, look::scalar(e, a), look::scalar(e, b)) {
        (BinaryKind::Max, None, Some(s)) => Some((clamp((s as f32, f32::INFINITY)), a)),
        (BinaryKind::Max, Some(s), None) => Some((clamp((s as f32, f32::INFINITY)), b)),
        (BinaryKind::Min, None, Some(s)) => Some((clamp((f32::NEG_INFINITY, s as f32)), a)),
        (BinaryKind::Min, Some(s), None) => Some((clamp((f32::NEG_INFINITY, s as f32)), b)),
        (BinaryKind::Pow, None, Some(2.0)) => Some((Activation::Square, a)),
        (BinaryKind::Pow, None, Some(0.5)) => Some((Activation::Sqrt, a)),
        (BinaryKind::Pow, None, Some(-1.0)) => Some((Activation::Reciprocal, a)),
        (BinaryKind::Div, Some(1.0), None) => Some((Activation::Reciprocal, b)),
        (BinaryKind::Max, None, None) => leaky(e, a, b).or_else(|| leaky(e, b, a)),
        (BinaryKind::Div, None, None) => softsign(e, a, b),
        _ => None,
    }
}

/// `max(x, alpha x)`
fn leaky(e: &Editor, x: ValueId, y: ValueId) -> Option<(Activation, ValueId)> {
    let (of, alpha) = look::with_scalar(e, y, BinaryKind::Mul)?;
    (of == x && alpha > 0.0 && alpha < 1.0).then_some((Activation::LeakyRelu { alpha: alpha as f32 }, x))
}

/// `x / (1 + |x|)`
fn softsign(e: &Editor, x: ValueId, y: ValueId) -> Option<(Activation, ValueId)> {
    let (magnitude, one) = look::with_scalar(e, y, BinaryKind::Add)?;
    let (f, of) = look::function_of(e, magnitude)?;
    (one == 1.0 && f == Activation::Abs && of == x).then_some((Activation::Softsign, x))
}
