//! Normalisations that exporters spell out: layer, root-mean-square and instance normalisation, with their scale and bias.

use super::edit::Editor;
use super::look;
use crate::ops::activation::Activation;
use crate::ops::elementwise::BinaryKind;
use crate::ops::norm::{GroupNorm, LayerNorm};
use crate::ops::reduce::ReduceKind;
use crate::{DType, Node, Op, Tensor, ValueId};

pub(super) fn run(e: &mut Editor) {
    e.each(|e, slot| {
        let Some(name) = e.node(slot).map(|n| n.name.clone()) else { return };
        if whole(e, slot) || keras(e, slot).is_some() || parameter(e, slot).is_some() {
            e.note(name);
        }
    });
}

/// What is normalised, over which axes, and how.
struct Norm {
    x: ValueId,
    axes: Vec<usize>,
    epsilon: f64,
    rms: bool,
}

impl Norm {
    fn op(&self, rank: usize) -> Option<Op> {
        let first = *self.axes.first()?;
        let epsilon = self.epsilon as f32;
        if self.axes.iter().copied().ne(first..rank) {
            return None;
        }
        if first == 2 && rank > 3 && !self.rms {
            return Some(GroupNorm { groups: 0, epsilon }.into());
        }
        Some(LayerNorm { axis: first as i64 - rank as i64, epsilon, rms: self.rms }.into())
    }
}

fn whole(e: &mut Editor, slot: usize) -> bool {
    let Some(norm) = e.node(slot).and_then(|n| normalised(e, n)) else { return false };
    let (x, rank) = (norm.x, e.rank(norm.x));
    e.dtype(x) == DType::F32 && norm.op(rank).is_some_and(|op| e.rewrite(slot, op, &[Some(x)]))
}

/// `d / sqrt(v)`, `d * rsqrt(v)`
fn normalised(e: &Editor, n: &Node) -> Option<Norm> {
    let (kind, a, b) = look::binary(n)?;
    match kind {
        BinaryKind::Div => {
            let (f, v) = look::function_of(e, b)?;
            (f == Activation::Sqrt).then(|| of_parts(e, a, v))?
        }
        BinaryKind::Mul => {
            let side = |d: ValueId, r: ValueId| {
                let (f, v) = look::function_of(e, r)?;
                (f == Activation::Rsqrt).then(|| of_parts(e, d, v))?
            };
            side(a, b).or_else(|| side(b, a))
        }
        _ => None,
    }
}

/// `d` over the root of `mean(d^2) + epsilon`; with `d = x - mean(x)` the mean is subtracted.
fn of_parts(e: &Editor, d: ValueId, v: ValueId) -> Option<Norm> {
    let (variance, epsilon) = look::with_scalar(e, v, BinaryKind::Add)?;
    let (squares, axes) = mean(e, variance)?;
    let centred = look::binary_of(e, d).filter(|b| b.0 == BinaryKind::Sub);
    let centred = centred.filter(|&(_, x, m)| mean(e, m) == Some((x, axes.clone())));
    let of_d = look::function_of(e, squares) == Some((Activation::Square, d));
    match centred {
        Some((_, x, m)) if of_d || look::binary_of(e, squares) == Some((BinaryKind::SquaredDifference, x, m)) => {
            Some(Norm { x, axes, epsilon, rms: false })
        }
        _ if of_d => Some(Norm { x: d, axes, epsilon, rms: true }),
        _ => None,
    }
}

/// What a mean over axes that stay is of, and the axes.
fn mean(e: &Editor, v: ValueId) -> Option<(ValueId, Vec<usize>)> {
    let n = e.producer_node(v)?;
    let Op::Reduce(r) = &n.op else { return None };
    let x = (*n.inputs.first()?)?;
    let given = look::integers(e, n.inputs.get(1).copied().flatten());
    let axes = r.axes(given.as_deref(), e.rank(x)).ok()?;
    (r.kind == ReduceKind::Mean && r.keep_dims && !axes.is_empty()).then_some((x, axes))
}

/// `x inv + (beta - mean inv)` with `inv = rsqrt(v) gamma`: how Keras writes it.
fn keras(e: &mut Editor, slot: usize) -> Option<()> {
    let (kind, a, b) = look::binary(e.node(slot)?)?;
    if kind != BinaryKind::Add {
        return None;
    }
    let (x, inv, rest) = [(a, b), (b, a)].into_iter().find_map(|(product, rest)| {
        let (_, x, inv) = look::binary_of(e, product).filter(|p| p.0 == BinaryKind::Mul)?;
        let (_, _, shift) = look::binary_of(e, rest).filter(|r| r.0 == BinaryKind::Sub)?;
        let (_, p, q) = look::binary_of(e, shift).filter(|s| s.0 == BinaryKind::Mul)?;
        // The factor in both products is the reciprocal deviation.
        let (x, inv) = if inv == p || inv == q { (x, inv) } else { (inv, x) };
        Some((x, inv, rest)).filter(|_| inv == p || inv == q)
    })?;
    let (_, beta, shift) = look::binary_of(e, rest)?;
    let (_, p, q) = look::binary_of(e, shift)?;
    let m = if p == inv { q } else { p };
    let (root, gamma) = match look::binary_of(e, inv) {
        Some((BinaryKind::Mul, r, g)) if e.constant(g).is_some() => (r, Some(g)),
        Some((BinaryKind::Mul, g, r)) if e.constant(g).is_some() => (r, Some(g)),
        _ => (inv, None),
    };
    let (f, v) = look::function_of(e, root)?;
    let (variance, epsilon) = look::with_scalar(e, v, BinaryKind::Add)?;
    let (squares, axes) = mean(e, variance)?;
    let centred = match look::binary_of(e, squares) {
        Some((BinaryKind::SquaredDifference, p, q)) => (p, q) == (x, m) || (p, q) == (m, x),
        _ => look::function_of(e, squares)
            .is_some_and(|(f, d)| f == Activation::Square && look::binary_of(e, d) == Some((BinaryKind::Sub, x, m))),
    };
    if f != Activation::Rsqrt || !centred || mean(e, m)? != (x, axes.clone()) || e.dtype(x) != DType::F32 {
        return None;
    }
    let rank = e.rank(x);
    let op = Norm { x, axes, epsilon, rms: false }.op(rank)?;
    let gamma = match gamma {
        Some(g) => Some(fit(e, &op, rank, g)?),
        None => None,
    };
    let beta = fit(e, &op, rank, beta)?;
    let gamma = gamma.map(|t| e.add_constant("gamma", t));
    let beta = e.add_constant("beta", beta);
    e.rewrite(slot, op, &[Some(x), gamma, Some(beta)]).then_some(())
}

/// A constant factor or summand behind a normalisation becomes its scale or bias.
fn parameter(e: &mut Editor, slot: usize) -> Option<()> {
    let (kind, a, b) = look::binary(e.node(slot)?)?;
    let (y, c) = if e.constant(b).is_some() { (a, b) } else { (b, a) };
    let norm = e.producer(y).filter(|_| e.sole_use(y))?;
    let n = e.node(norm)?;
    if !matches!(n.op, Op::LayerNorm(_) | Op::GroupNorm(_)) || n.outputs.len() != 1 {
        return None;
    }
    let (op, rank) = (n.op.clone(), e.rank(y));
    let mut inputs = n.inputs.clone();
    inputs.resize(3, None);
    let place = match kind {
        BinaryKind::Mul if inputs[1].is_none() && inputs[2].is_none() => 1,
        BinaryKind::Add if inputs[2].is_none() => 2,
        _ => return None,
    };
    if !look::same_shape(e, y, e.node(slot)?.outputs[0]) {
        return None;
    }
    let t = fit(e, &op, rank, c)?;
    inputs[place] = Some(e.derive_constant(c, t));
    if !e.rewrite(norm, op, &inputs) {
        return None;
    }
    e.take_over(norm, slot);
    Some(())
}

/// A constant as the normalisation wants its parameters: over the normalised axes, or one a channel.
fn fit(e: &Editor, op: &Op, rank: usize, c: ValueId) -> Option<Tensor> {
    let t = e.constant(c).filter(|t| t.dtype() == DType::F32)?;
    let wide = t.shape().iter().position(|&d| d != 1).map_or(0, |first| t.rank() - first);
    match op {
        Op::LayerNorm(l) => {
            let normalised = rank - crate::ops::infer::normalize_axis(l.axis, rank).ok()?;
            (wide <= normalised).then(|| t.reshaped(&t.shape()[t.rank() - wide..]).ok())?
        }
        Op::GroupNorm(_) => {
            let channels = t.len();
            let one = wide == rank - 1 && t.shape()[t.rank() - wide] == channels;
            one.then(|| t.reshaped(&[channels]).ok())?
        }
        _ => None,
    }
}
