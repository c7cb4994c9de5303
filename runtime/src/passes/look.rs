//! Questions that several passes ask about nodes and their operands.

use super::edit::Editor;
use crate::ops::activation::Activation;
use crate::ops::elementwise::{BinaryKind, UnaryClass};
use crate::{DType, Dim, Node, Op, Tensor, ValueId};
use pocketnn_kernels::elementwise::Unary;

/// The function and the operand of a node that applies an activation, whichever op it is written as.
pub(super) fn function(n: &Node) -> Option<(Activation, ValueId)> {
    let x = (*n.inputs.first()?)?;
    match &n.op {
        Op::Activate(a) => Some((a.kind, x)),
        Op::Unary(u) => match u.kind.class() {
            UnaryClass::Map(Unary::Map(a)) => Some((a, x)),
            _ => None,
        },
        _ => None,
    }
}

/// The function and the operand behind a value.
pub(super) fn function_of(e: &Editor, v: ValueId) -> Option<(Activation, ValueId)> {
    e.producer_node(v).and_then(function)
}

/// Operands of a binary op without an activation.
pub(super) fn binary(n: &Node) -> Option<(BinaryKind, ValueId, ValueId)> {
    match (&n.op, n.inputs.as_slice()) {
        (Op::Binary(b), &[Some(x), Some(y)]) if b.activation == Activation::Identity => Some((b.kind, x, y)),
        _ => None,
    }
}

/// As [`binary`], of the node behind a value.
pub(super) fn binary_of(e: &Editor, v: ValueId) -> Option<(BinaryKind, ValueId, ValueId)> {
    e.producer_node(v).and_then(binary)
}

/// The number that a constant of one `f32` element holds.
pub(super) fn scalar(e: &Editor, v: ValueId) -> Option<f64> {
    let t = e.constant(v).filter(|t| t.len() == 1 && t.dtype() == DType::F32)?;
    t.to_f64().first().copied()
}

/// A commutative op of a value and a number: the value and the number.
pub(super) fn with_scalar(e: &Editor, v: ValueId, kind: BinaryKind) -> Option<(ValueId, f64)> {
    let (k, a, b) = binary_of(e, v)?;
    if k != kind {
        return None;
    }
    match (scalar(e, a), scalar(e, b)) {
        (None, Some(s)) => Some((a, s)),
        (Some(s), None) => Some((b, s)),
        _ => None,
    }
}

/// True for numbers that exporters round differently: equal to about six digits.
pub(super) fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 2e-6 * b.abs().max(1e-30)
}

/// True when two values have the same shape for all values of the symbols.
pub(super) fn same_shape(e: &Editor, a: ValueId, b: ValueId) -> bool {
    e.shape(a) == e.shape(b)
}

/// Integers of a constant operand.
pub(super) fn integers(e: &Editor, v: Option<ValueId>) -> Option<Vec<i64>> {
    e.constant(v?)?.to_i64().ok()
}

/// How a constant broadcasts to a value.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Along {
    /// One number for all elements.
    Nothing,
    /// One number for each index of an axis of the value.
    Axis(usize),
}

/// The axis of a value along which a constant varies that broadcasts to it; `None` when there are several.
pub(super) fn along(c: &Tensor, shape: &[Dim]) -> Option<Along> {
    let lead = shape.len().checked_sub(c.rank())?;
    let mut wide = c.shape().iter().enumerate().filter(|(_, n)| **n != 1);
    match (wide.next(), wide.next()) {
        (None, _) => Some(Along::Nothing),
        (Some((a, &n)), None) if shape[lead + a].known() == Some(n) => Some(Along::Axis(lead + a)),
        _ => None,
    }
}

/// An `f32` tensor of numbers computed in `f64`; `None` when one is not finite.
pub(super) fn tensor(shape: &[usize], data: &[f64]) -> Option<Tensor> {
    let rounded: Vec<f32> = data.iter().map(|&x| x as f32).collect();
    if rounded.iter().all(|x| x.is_finite()) { Tensor::new(shape, rounded).ok() } else { None }
}

/// True when a value is not negative for any input.
pub(super) fn not_negative(e: &Editor, v: ValueId) -> bool {
    use Activation as A;
    let positive = |a: &A| match *a {
        A::Relu | A::Sigmoid | A::HardSigmoid { .. } | A::Exp | A::Softplus | A::Abs | A::Square => true,
        A::Clamp { lo, hi } => lo >= 0.0 && hi >= 0.0,
        _ => false,
    };
    let Some(n) = e.producer_node(v) else { return false };
    if let Some((a, _)) = function(n) {
        return positive(&a);
    }
    match &n.op {
        Op::Conv(c) => positive(&c.activation),
        Op::ConvTranspose(c) => positive(&c.activation),
        Op::Dense(d) => positive(&d.activation),
        Op::BatchNorm(b) => positive(&b.activation),
        Op::Binary(b) => positive(&b.activation),
        Op::Softmax(s) => !s.log,
        _ => false,
    }
}
