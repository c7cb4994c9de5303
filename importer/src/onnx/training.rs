//! Steps of optimizers: arithmetic on a rate, a count and, for each tensor, its value, its gradient and what is remembered of it.

use pocketnn::ops::elementwise::{BinaryKind as B, UnaryKind, Where};

use super::attrs::unknown_value;
use super::constant::cast_to;
use super::elem::Elem;
use super::node::{Lowered, Node, V};
use super::registry::{Lower, Row};
use crate::error::{ImportError, Result};

const fn row(name: &'static str, lower: Lower) -> Row {
    Row { domain: "ai.onnx.preview.training", name, since: &[1], lower }
}

pub(super) const ROWS: &[Row] = &[row("Adagrad", adagrad), row("Adam", adam), row("Momentum", momentum)];

/// `a op x` for a number.
fn with(cx: &mut Node, kind: B, a: V, x: f32) -> Result<V> {
    let x = cx.scalar_like(a, f64::from(x))?;
    cx.binary(kind, a, x)
}

/// Rate, count, and the tensors in groups: `parts` of each.
fn tensors(cx: &Node, parts: usize) -> Result<(V, V, Vec<Vec<V>>)> {
    let all = cx.all_inputs()?;
    let count = all.len().checked_sub(2).filter(|n| *n > 0 && n.is_multiple_of(parts));
    let (Some(n), [rate, step, rest @ ..]) = (count.and_then(|n| n.checked_div(parts)), all.as_slice()) else {
        return Err(ImportError::invalid("the number of inputs")
            .expected(format!("2 and a multiple of {parts}"))
            .found(all.len()));
    };
    let groups = (0..n).map(|i| rest.iter().skip(i).step_by(n).copied().collect()).collect();
    Ok((*rate, *step, groups))
}

/// The results of all groups: all first ones, then all second ones, ...
fn grouped(results: &[Vec<V>]) -> Lowered {
    let parts = results.first().map_or(0, Vec::len);
    (0..parts).flat_map(|k| results.iter().filter_map(move |r| r.get(k).copied())).map(Into::into).collect()
}

/// The gradient with that of the regularisation `norm / 2 * x^2`.
fn regularised(cx: &mut Node, x: V, gradient: V, norm: f32) -> Result<V> {
    let part = with(cx, B::Mul, x, norm)?;
    cx.binary(B::Add, part, gradient)
}

fn wrong_group(found: usize) -> ImportError {
    ImportError::invalid("the number of inputs").found(found)
}

fn adagrad(cx: &mut Node) -> Result<Lowered> {
    let (rate, step, groups) = tensors(cx, 3)?;
    let decay = cx.attrs.float("decay_factor", 0.0)?;
    let epsilon = cx.attrs.float("epsilon", 1e-6)?;
    let norm = cx.attrs.float("norm_coefficient", 0.0)?;
    let step = cast_to(cx, step, rate.elem)?;
    let decayed = with(cx, B::Mul, step, decay)?;
    let divisor = with(cx, B::Add, decayed, 1.0)?;
    let rate = cx.binary(B::Div, rate, divisor)?;
    let mut out = Vec::new();
    for group in groups {
        let &[x, gradient, squares] = group.as_slice() else { return Err(wrong_group(group.len())) };
        let g = regularised(cx, x, gradient, norm)?;
        let squared = cx.binary(B::Mul, g, g)?;
        let squares = cx.binary(B::Add, squares, squared)?;
        let root = cx.unary(UnaryKind::Sqrt, squares)?;
        let root = with(cx, B::Add, root, epsilon)?;
        let change = cx.binary(B::Mul, g, rate)?;
        let change = cx.binary(B::Div, change, root)?;
        out.push(vec![cx.binary(B::Sub, x, change)?, squares]);
    }
    Ok(grouped(&out))
}

/// `a * old + (1 - a) * new`
fn blend(cx: &mut Node, a: f32, old: V, new: V) -> Result<V> {
    let (old, new) = (with(cx, B::Mul, old, a)?, with(cx, B::Mul, new, 1.0 - a)?);
    cx.binary(B::Add, old, new)
}

/// True from the second step on.
fn later(cx: &mut Node, step: V) -> Result<V> {
    let zero = cx.scalar_like(step, 0.0)?;
    cx.compare(B::Gt, step, zero)
}

fn adam(cx: &mut Node) -> Result<Lowered> {
    let (rate, step, groups) = tensors(cx, 4)?;
    let (alpha, beta) = (cx.attrs.float("alpha", 0.9)?, cx.attrs.float("beta", 0.999)?);
    let epsilon = cx.attrs.float("epsilon", 1e-6)?;
    let (norm, post) = (cx.attrs.float("norm_coefficient", 0.0)?, cx.attrs.float("norm_coefficient_post", 0.0)?);
    // The means start at 0; in later steps the rate makes up for it.
    let later = later(cx, step)?;
    let times = cast_to(cx, step, rate.elem)?;
    let missing = |cx: &mut Node, base: f32| {
        let base = cx.scalar_like(times, f64::from(base))?;
        let power = cx.binary(B::Pow, base, times)?;
        let unit = cx.scalar_like(times, 1.0)?;
        cx.binary(B::Sub, unit, power)
    };
    let (first, second) = (missing(cx, alpha)?, missing(cx, beta)?);
    let root = cx.unary(UnaryKind::Sqrt, second)?;
    let adjusted = cx.binary(B::Mul, rate, root)?;
    let adjusted = cx.binary(B::Div, adjusted, first)?;
    let rate = cx.op(Where::default(), &[later.id, adjusted.id, rate.id], rate.elem)?;
    let mut out = Vec::new();
    for group in groups {
        let &[x, gradient, mean, squares] = group.as_slice() else { return Err(wrong_group(group.len())) };
        let g = regularised(cx, x, gradient, norm)?;
        let mean = blend(cx, alpha, mean, g)?;
        let squared = cx.binary(B::Mul, g, g)?;
        let squares = blend(cx, beta, squares, squared)?;
        let root = cx.unary(UnaryKind::Sqrt, squares)?;
        let root = with(cx, B::Add, root, epsilon)?;
        let ratio = cx.binary(B::Div, mean, root)?;
        let change = cx.binary(B::Mul, ratio, rate)?;
        let moved = cx.binary(B::Sub, x, change)?;
        out.push(vec![with(cx, B::Mul, moved, 1.0 - post)?, mean, squares]);
    }
    Ok(grouped(&out))
}

fn momentum(cx: &mut Node) -> Result<Lowered> {
    let (rate, step, groups) = tensors(cx, 3)?;
    let need = |name: &str| cx.attrs.opt_float(name)?.ok_or_else(|| super::attrs::missing(name));
    let (alpha, beta, norm) = (need("alpha")?, need("beta")?, need("norm_coefficient")?);
    let nesterov = match cx.attrs.string("mode", "standard")?.as_str() {
        "standard" => false,
        "nesterov" => true,
        other => return Err(unknown_value("mode", "`standard` or `nesterov`", other)),
    };
    let later = later(cx, step)?;
    let (beta, unit) = (cx.float(beta), cx.float(1.0));
    let beta = cx.op(Where::default(), &[later.id, beta.id, unit.id], Elem::F32)?;
    let mut out = Vec::new();
    for group in groups {
        let &[x, gradient, velocity] = group.as_slice() else { return Err(wrong_group(group.len())) };
        let g = regularised(cx, x, gradient, norm)?;
        let beta = cast_to(cx, beta, x.elem)?;
        let push = cx.binary(B::Mul, g, beta)?;
        let kept = with(cx, B::Mul, velocity, alpha)?;
        let velocity = cx.binary(B::Add, kept, push)?;
        let direction = if nesterov {
            let ahead = with(cx, B::Mul, velocity, alpha)?;
            cx.binary(B::Add, g, ahead)?
        } else {
            velocity
        };
        let change = cx.binary(B::Mul, direction, rate)?;
        out.push(vec![cx.binary(B::Sub, x, change)?, velocity]);
    }
    Ok(grouped(&out))
}
