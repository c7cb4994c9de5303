//! Support vector machines.

use pocketnn::ops::dense::MatMul;
use pocketnn::ops::elementwise::{BinaryKind, UnaryKind, Where};
use pocketnn::ops::movement::Slice;
use pocketnn::ops::reduce::{Reduce, ReduceKind};

use super::super::attrs::{missing, unknown_value};
use super::super::constant::cast_to;
use super::super::elem::Elem;
use super::super::node::{Lowered, Node, V, one};
use super::linear::{affine, rows};
use super::{Labels, Transform, best, floats, numbers, two_columns, wide};
use crate::error::{ImportError, Result};

/// `f(x, s)` for each support vector `s`: `[N, F]` to `[N, vectors]`.
fn kernel(cx: &mut Node, x: V, features: usize, vectors: &[f32]) -> Result<V> {
    let params = cx.attrs.floats("kernel_params")?.filter(|p| p.len() >= 3).unwrap_or_else(|| vec![0.0; 3]);
    let (gamma, shift, degree) = match params.as_slice() {
        [g, c, d, ..] => (f64::from(*g), f64::from(*c), f64::from(d.trunc())),
        _ => (0.0, 0.0, 0.0),
    };
    let name = cx.attrs.string("kernel_type", "LINEAR")?;
    let products = affine(cx, x, features, wide(vectors), None)?;
    let scaled = |cx: &mut Node| {
        let (gamma, shift) = (cx.scalar_like(x, gamma)?, cx.scalar_like(x, shift)?);
        let y = cx.binary(BinaryKind::Mul, products, gamma)?;
        cx.binary(BinaryKind::Add, y, shift)
    };
    match name.as_str() {
        "LINEAR" => Ok(products),
        "POLY" => {
            let (base, degree) = (scaled(cx)?, cx.scalar_like(x, degree)?);
            cx.binary(BinaryKind::Pow, base, degree)
        }
        "SIGMOID" => {
            let y = scaled(cx)?;
            cx.unary(UnaryKind::Tanh, y)
        }
        "RBF" => {
            // |x - s|^2 = |x|^2 - 2 x s + |s|^2
            let axis = cx.integers(&[1]);
            let op = Reduce { kind: ReduceKind::SumSquare, keep_dims: true, ..Reduce::default() };
            let own = cx.op(op, &[x.id, axis], x.elem)?;
            let squares: Vec<f64> =
                vectors.chunks(features.max(1)).map(|s| s.iter().map(|&v| f64::from(v) * f64::from(v)).sum()).collect();
            let theirs = numbers(cx, x, &[squares.len()], squares)?;
            let both = cx.binary(BinaryKind::Add, own, theirs)?;
            let two = cx.scalar_like(x, 2.0)?;
            let twice = cx.binary(BinaryKind::Mul, products, two)?;
            let distance = cx.binary(BinaryKind::Sub, both, twice)?;
            let gamma = cx.scalar_like(x, -gamma)?;
            let y = cx.binary(BinaryKind::Mul, distance, gamma)?;
            cx.unary(UnaryKind::Exp, y)
        }
        other => Err(unknown_value("kernel_type", "`LINEAR`, `POLY`, `RBF` or `SIGMOID`", other)),
    }
}

pub(super) fn regressor(cx: &mut Node) -> Result<Lowered> {
    let x = floats(cx, 0)?;
    let (x, features) = rows(cx, x)?;
    let supports = cx.attrs.int("n_supports", 0)?;
    let coefficients = cx.attrs.floats("coefficients")?.ok_or_else(|| missing("coefficients"))?;
    let rho = cx.attrs.floats("rho")?.and_then(|r| r.first().copied()).ok_or_else(|| missing("rho"))?;
    let vectors = cx.attrs.floats("support_vectors")?.unwrap_or_default();
    let one_class = cx.attrs.flag("one_class", false)?;
    cx.attrs.ignore(&["n_targets"]);
    let transform = Transform::read(cx)?;
    let (features_in, inputs) = if supports > 0 {
        let k = kernel(cx, x, features, &vectors)?;
        (coefficients.len(), k)
    } else {
        cx.attrs.ignore(&["kernel_type", "kernel_params"]);
        (features, x)
    };
    let y = affine(cx, inputs, features_in, wide(&coefficients), Some(vec![f64::from(rho)]))?;
    let y = if one_class {
        let (zero, plus, minus) = (cx.scalar_like(y, 0.0)?, cx.scalar_like(y, 1.0)?, cx.scalar_like(y, -1.0)?);
        let inside = cx.compare(BinaryKind::Gt, y, zero)?;
        cx.op(Where::default(), &[inside.id, plus.id, minus.id], y.elem)?
    } else {
        transform.apply(cx, y)?
    };
    one(cast_to(cx, y, Elem::F32)?)
}

/// A classifier of support vectors: one decision for each pair of classes.
struct Pairs {
    classes: usize,
    /// First and number of vectors of each class.
    ranges: Vec<(usize, usize)>,
    vectors: usize,
    coefficients: Vec<f32>,
}

impl Pairs {
    fn new(counts: &[i64], classes: usize, coefficients: Vec<f32>) -> Result<Self> {
        let mut vectors = 0usize;
        let mut ranges = Vec::new();
        for &n in counts {
            let n = usize::try_from(n)
                .map_err(|_| ImportError::invalid("a negative number").at_attribute("vectors_per_class"))?;
            ranges.push((vectors, n));
            vectors = vectors.saturating_add(n);
        }
        let rows = classes.saturating_sub(1).saturating_mul(vectors);
        if ranges.len() != classes || classes < 2 || coefficients.len() != rows {
            return Err(ImportError::invalid("classes, vectors and coefficients do not fit")
                .expected(format!("{rows} coefficients of {classes} classes"))
                .found(format!("{} of {}", coefficients.len(), ranges.len())));
        }
        Ok(Self { classes, ranges, vectors, coefficients })
    }

    fn all(&self) -> impl Iterator<Item = (usize, usize)> {
        let n = self.classes;
        (0..n).flat_map(move |i| (i.saturating_add(1)..n).map(move |j| (i, j)))
    }

    /// The weight of each vector in the decision of each pair.
    fn weights(&self) -> Vec<f64> {
        let mut out = Vec::new();
        for (i, j) in self.all() {
            let mut row = vec![0.0f64; self.vectors];
            for (class, line) in [(i, j.saturating_sub(1)), (j, i)] {
                let (start, n) = self.ranges.get(class).copied().unwrap_or_default();
                let from = line.saturating_mul(self.vectors).saturating_add(start);
                let part = self.coefficients.iter().skip(from).take(n);
                row.iter_mut().skip(start).zip(part).for_each(|(w, &c)| *w = f64::from(c));
            }
            out.extend(row);
        }
        out
    }

    /// `[pairs, classes]`: 1 where a pair's first (or second) class is.
    fn votes(&self, second: bool) -> Vec<f64> {
        let row = |(i, j): (usize, usize)| {
            let winner = if second { j } else { i };
            (0..self.classes).map(move |c| if c == winner { 1.0 } else { 0.0 })
        };
        self.all().flat_map(row).collect()
    }
}

pub(super) fn classifier(cx: &mut Node) -> Result<Lowered> {
    let x = floats(cx, 0)?;
    let (x, features) = rows(cx, x)?;
    let coefficients = cx.attrs.floats("coefficients")?.ok_or_else(|| missing("coefficients"))?;
    let rho = wide(&cx.attrs.floats("rho")?.ok_or_else(|| missing("rho"))?);
    let vectors = cx.attrs.floats("support_vectors")?.unwrap_or_default();
    let counts = cx.attrs.ints("vectors_per_class")?.filter(|c| !c.is_empty());
    let (a, b) = (cx.attrs.floats("prob_a")?, cx.attrs.floats("prob_b")?);
    let labels = Labels::read(cx, "classlabels_ints", "classlabels_strings")?;
    let labels = labels.ok_or_else(|| missing("classlabels_ints"))?;
    let transform = Transform::read(cx)?;
    let positive = coefficients.iter().all(|&c| c >= 0.0);
    let Some(counts) = counts else {
        cx.attrs.ignore(&["kernel_type", "kernel_params"]);
        let shift = rho.first().copied().unwrap_or(0.0);
        let scores = affine(cx, x, features, wide(&coefficients), Some(vec![shift; labels.len()]))?;
        let class = best(cx, scores)?;
        return finished(cx, class, scores, &labels, transform);
    };
    let pairs = Pairs::new(&counts, labels.len(), coefficients)?;
    let k = kernel(cx, x, features, &vectors)?;
    let scores = affine(cx, k, pairs.vectors, pairs.weights(), Some(rho))?;
    let zero = cx.scalar_like(scores, 0.0)?;
    let first = cx.compare(BinaryKind::Gt, scores, zero)?;
    let first = cast_to(cx, first, scores.elem)?;
    let unit = cx.scalar_like(scores, 1.0)?;
    let second = cx.binary(BinaryKind::Sub, unit, first)?;
    let count = pairs.all().count();
    let shape = [count, pairs.classes];
    let (for_first, for_second) =
        (numbers(cx, scores, &shape, pairs.votes(false))?, numbers(cx, scores, &shape, pairs.votes(true))?);
    let one = cx.op(MatMul::default(), &[first.id, for_first.id], scores.elem)?;
    let two = cx.op(MatMul::default(), &[second.id, for_second.id], scores.elem)?;
    let votes = cx.binary(BinaryKind::Add, one, two)?;
    let class = best(cx, votes)?;
    let probabilities = a.filter(|a| !a.is_empty()).zip(b);
    if pairs.classes > 2 {
        return match probabilities {
            None => finished(cx, class, scores, &labels, transform),
            Some(_) => Err(ImportError::unsupported(
                "probabilities of more than two classes of support vectors are not supported",
            )
            .at_attribute("prob_a")),
        };
    }
    if let Some((a, b)) = probabilities {
        let probability = sigmoid(cx, scores, &a, &b)?;
        let other = cx.binary(BinaryKind::Sub, unit, probability)?;
        let both = two_columns(cx, probability, other)?;
        return finished(cx, class, both, &labels, transform);
    }
    let other = cx.unary(UnaryKind::Neg, scores)?;
    let both = two_columns(cx, other, scores)?;
    // Without negative weights the decision is always for the second class.
    let class = if positive {
        cx.scalar_like(class, 1.0).and_then(|last| cx.binary(BinaryKind::Max, class, last))?
    } else {
        class
    };
    finished(cx, class, both, &labels, transform)
}

/// The probability of the first of two classes (Platt), kept from 0 and 1.
fn sigmoid(cx: &mut Node, scores: V, a: &[f32], b: &[f32]) -> Result<V> {
    let (Some(&a), Some(&b)) = (a.first(), b.first()) else { return Err(missing("prob_b")) };
    let first = cx.integers(&[0]);
    let (end, axis) = (cx.integers(&[1]), cx.integers(&[1]));
    let score = cx.op(Slice::default(), &[scores.id, first, end, axis], scores.elem)?;
    let (a, b) = (cx.scalar_like(score, f64::from(a))?, cx.scalar_like(score, f64::from(b))?);
    let y = cx.binary(BinaryKind::Mul, score, a)?;
    let y = cx.binary(BinaryKind::Add, y, b)?;
    let y = cx.unary(UnaryKind::Neg, y)?;
    let y = Transform::Logistic.apply(cx, y)?;
    let (low, high) = (cx.scalar_like(y, 1e-7)?, cx.scalar_like(y, 1.0 - 1e-7)?);
    let y = cx.binary(BinaryKind::Max, y, low)?;
    cx.binary(BinaryKind::Min, y, high)
}

fn finished(cx: &mut Node, class: V, scores: V, labels: &Labels, transform: Transform) -> Result<Lowered> {
    let label = labels.of(cx, class)?;
    let scores = transform.apply(cx, scores)?;
    let scores = cast_to(cx, scores, Elem::F32)?;
    Ok(vec![label.into(), scores.into()])
}
