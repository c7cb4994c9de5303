//! Linear models, and scaling of features.

use pocketnn::Tensor;
use pocketnn::ops::dense::Dense;
use pocketnn::ops::elementwise::{BinaryKind, UnaryKind, Where};
use pocketnn::ops::reduce::{Reduce, ReduceKind};

use super::super::attrs::{missing, unknown_value};
use super::super::constant::cast_to;
use super::super::elem::Elem;
use super::super::node::{Lowered, Node, V, one};
use super::{Labels, Transform, best, floats, numbers, two_columns, wide};
use crate::error::{ImportError, Result};

/// Number of features of `[N, F]`, or `[F]`, which is made a row.
pub(super) fn rows(cx: &mut Node, x: V) -> Result<(V, usize)> {
    let x = if cx.rank(x) == 1 { cx.reshape(x, &[1, -1])? } else { x };
    let features = if cx.rank(x) == 2 { cx.extent(x, 1) } else { None };
    let features = features.ok_or_else(|| {
        ImportError::unsupported("expected a matrix of a known number of features").found(format!("{:?}", cx.shape(x)))
    })?;
    Ok((x, features))
}

/// `x w^T + b` for `w [.., F]`.
pub(super) fn affine(cx: &mut Node, x: V, features: usize, w: Vec<f64>, b: Option<Vec<f64>>) -> Result<V> {
    let outputs = w.len().checked_div(features).filter(|n| n.saturating_mul(features) == w.len());
    let outputs = outputs.ok_or_else(|| {
        ImportError::invalid("coefficients").expected(format!("a multiple of {features}")).found(w.len())
    })?;
    let w = numbers(cx, x, &[outputs, features], w)?;
    let b = match b.filter(|b| !b.is_empty()) {
        Some(b) if b.len() == outputs => Some(numbers(cx, x, &[outputs], b)?.id),
        Some(b) => return Err(ImportError::invalid("intercepts").expected(outputs).found(b.len())),
        None => None,
    };
    cx.op_with(Dense::default(), &[Some(x.id), Some(w.id), b], x.elem)
}

pub(super) fn regressor(cx: &mut Node) -> Result<Lowered> {
    let x = floats(cx, 0)?;
    let (x, features) = rows(cx, x)?;
    let w = cx.attrs.floats("coefficients")?.ok_or_else(|| missing("coefficients"))?;
    let b = cx.attrs.floats("intercepts")?;
    cx.attrs.ignore(&["targets"]);
    let transform = Transform::read(cx)?;
    let y = affine(cx, x, features, wide(&w), b.map(|b| wide(&b)))?;
    let y = transform.apply(cx, y)?;
    one(cast_to(cx, y, Elem::F32)?)
}

pub(super) fn classifier(cx: &mut Node) -> Result<Lowered> {
    let x = floats(cx, 0)?;
    let (x, features) = rows(cx, x)?;
    let w = cx.attrs.floats("coefficients")?.ok_or_else(|| missing("coefficients"))?;
    let b = cx.attrs.floats("intercepts")?;
    let labels = Labels::read(cx, "classlabels_ints", "classlabels_strings")?;
    cx.attrs.ignore(&["multi_class"]);
    let transform = Transform::read(cx)?;
    let mut scores = affine(cx, x, features, wide(&w), b.map(|b| wide(&b)))?;
    let classes = labels.as_ref().map_or(0, Labels::len);
    if cx.extent(scores, 1) == Some(1) && classes == 2 {
        let other = cx.unary(UnaryKind::Neg, scores)?;
        scores = two_columns(cx, other, scores)?;
    }
    let scores = transform.apply(cx, scores)?;
    let class = if cx.extent(scores, 1) == Some(1) {
        only_class(cx, scores, transform, labels)?
    } else {
        let class = best(cx, scores)?;
        match labels {
            Some(labels) => labels.of(cx, class)?,
            None => class,
        }
    };
    let scores = cast_to(cx, scores, Elem::F32)?;
    Ok(vec![class.into(), scores.into()])
}

/// Where there is one score: the only label, or nothing.
fn only_class(cx: &mut Node, scores: V, transform: Transform, labels: Option<Labels>) -> Result<V> {
    let threshold = if transform == Transform::None { 0.0 } else { 0.5 };
    let threshold = cx.scalar_like(scores, threshold)?;
    let hit = cx.compare(BinaryKind::Ge, scores, threshold)?;
    let hit = cx.reshape(hit, &[-1])?;
    let (name, nothing, elem) = match labels {
        Some(l) if l.elem == Elem::Text => (l.names, super::texts(vec![String::new()])?, Elem::Text),
        Some(l) => (l.names, Tensor::vector(&[0i64]), Elem::I64),
        None => (Tensor::vector(&[1i64]), Tensor::vector(&[0i64]), Elem::I64),
    };
    if name.len() != 1 {
        return Err(ImportError::invalid("labels of a classifier of one score").expected(1).found(name.len()));
    }
    let (name, nothing) = (cx.tensor(name), cx.tensor(nothing));
    cx.op(Where::default(), &[hit.id, name, nothing], elem)
}

/// `(x - offset) * scale`, one number a column or one for all.
pub(super) fn scaler(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    let x = cast_to(cx, x, Elem::F32)?;
    let list = |name: &str, default: f32| -> Result<Vec<f64>> {
        Ok(wide(&cx.attrs.floats(name)?.filter(|l| !l.is_empty()).unwrap_or_else(|| vec![default])))
    };
    let (offset, scale) = (list("offset", 0.0)?, list("scale", 1.0)?);
    let offset = numbers(cx, x, &[offset.len()], offset)?;
    let scale = numbers(cx, x, &[scale.len()], scale)?;
    let centred = cx.binary(BinaryKind::Sub, x, offset)?;
    one(cx.binary(BinaryKind::Mul, centred, scale)?)
}

/// Rows divided by their norm.
pub(super) fn normalizer(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    let x = cast_to(cx, x, Elem::F32)?;
    let (kind, signed) = match cx.attrs.string("norm", "MAX")?.as_str() {
        "MAX" => (ReduceKind::Max, true),
        "L1" => (ReduceKind::L1, false),
        "L2" => (ReduceKind::L2, false),
        other => return Err(unknown_value("norm", "`MAX`, `L1` or `L2`", other)),
    };
    let operand = if signed { cx.unary(UnaryKind::Abs, x)? } else { x };
    let axis = cx.integers(&[-1]);
    let norm = cx.op(Reduce { kind, keep_dims: true, ..Reduce::default() }, &[operand.id, axis], x.elem)?;
    let least = cx.scalar_like(x, 1e-30)?;
    let norm = cx.binary(BinaryKind::Max, norm, least)?;
    one(cx.binary(BinaryKind::Div, x, norm)?)
}
