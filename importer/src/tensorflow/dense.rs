//! Matrix products.

use pocketnn::ops::dense::{Dense, Einsum, MatMul};
use pocketnn::ops::elementwise::BinaryKind;

use super::attrs::missing;
use super::node::{Lowered, Node, V, one};
use super::registry::{Row, op};
use crate::error::{ImportError, Result};

pub(super) const ROWS: &[Row] = &[
    op("BatchMatMul", |cx| mat_mul(cx, "adj_x", "adj_y")),
    op("BatchMatMulV2", |cx| mat_mul(cx, "adj_x", "adj_y")),
    op("BatchMatMulV3", |cx| mat_mul(cx, "adj_x", "adj_y")),
    op("Einsum", einsum),
    op("MatMul", |cx| mat_mul(cx, "transpose_a", "transpose_b")),
    op("_FusedMatMul", fused),
];

fn mat_mul<'m>(cx: &mut Node<'_, 'm>, turn_a: &str, turn_b: &str) -> Result<Lowered<'m>> {
    one(product(cx, turn_a, turn_b)?)
}

/// `a b`; a constant matrix on the right is a dense layer.
fn product(cx: &mut Node, turn_a: &str, turn_b: &str) -> Result<V> {
    for name in ["a_is_sparse", "b_is_sparse"] {
        cx.attrs.ignore(&[name]);
    }
    let (mut a, mut b) = (cx.input(0)?, cx.input(1)?);
    if cx.attrs.flag(turn_a, false)? {
        a = cx.turned(a)?;
    }
    let turned = cx.attrs.flag(turn_b, false)?;
    if cx.rank(b) == 2 && cx.rank(a) >= 1 && a.elem.is_float() && cx.is_weight(b) {
        if !turned {
            b = cx.turned(b)?;
        }
        return cx.op(Dense::default(), &[a.id, b.id], a.elem);
    }
    if turned {
        b = cx.turned(b)?;
    }
    cx.op(MatMul::default(), &[a.id, b.id], a.elem)
}

fn einsum<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    cx.attrs.ignore(&["N"]);
    let equation = cx.attrs.string("equation", "")?;
    if equation.is_empty() {
        return Err(missing("equation"));
    }
    let inputs = cx.all_inputs()?;
    let first = cx.input(0)?;
    if let Some(y) = as_dense(cx, equation, &inputs)? {
        return one(y);
    }
    let ids: Vec<_> = inputs.iter().map(|v| v.id).collect();
    one(cx.op(Einsum { equation: equation.to_owned() }, &ids, first.elem)?)
}

/// `..x,xy->..y` with a constant matrix is a dense layer.
fn as_dense(cx: &mut Node, equation: &str, inputs: &[V]) -> Result<Option<V>> {
    let &[a, b] = inputs else { return Ok(None) };
    let Some((left, out)) = equation.split_once("->") else { return Ok(None) };
    let Some((x, w)) = left.split_once(',') else { return Ok(None) };
    let fits = |x: &str, w: &str, out: &str| -> Option<()> {
        let ([k, o], true) = (<[char; 2]>::try_from(w.chars().collect::<Vec<_>>()).ok()?, x.is_ascii()) else {
            return None;
        };
        let (rest, last) = (x.strip_suffix(k)?, out.strip_suffix(o)?);
        let once = !rest.contains(k) && !rest.contains(o) && k != o && !rest.contains('.');
        (rest == last && once).then_some(())
    };
    if fits(x, w, out).is_none() || !a.elem.is_float() || !cx.is_weight(b) || cx.rank(b) != 2 {
        return Ok(None);
    }
    let w = cx.turned(b)?;
    cx.op(Dense::default(), &[a.id, w.id], a.elem).map(Some)
}

fn fused<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    cx.attrs.ignore(&["num_args", "epsilon"]);
    let mut y = product(cx, "transpose_a", "transpose_b")?;
    let mut next = 2;
    for name in cx.attrs.strings("fused_ops")? {
        if name == "BiasAdd" {
            let bias = cx.input(next)?;
            next = 3;
            y = cx.binary(BinaryKind::Add, y, bias)?;
        } else {
            y = super::conv::fused_activation(cx, name, y)?;
        }
    }
    cx.attrs.ignore(&["leakyrelu_alpha"]);
    if next > cx.len() {
        return Err(ImportError::invalid("a bias that is not there"));
    }
    one(y)
}
