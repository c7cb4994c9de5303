//! Matrix products.

use pocketnn::ops::dense::{Dense, Determinant, Einsum, MatMul};
use pocketnn::ops::elementwise::BinaryKind;

use super::attrs::missing;
use super::node::{Lowered, Node, V, one};
use super::registry::{Row, op};
use crate::error::{ImportError, Result};

pub(super) const ROWS: &[Row] = &[
    op("Det", &[11, 22], det),
    op("Einsum", &[12, 28], einsum),
    op("Gemm", &[1, 6, 7, 9, 11, 13], gemm),
    op("MatMul", &[1, 9, 13], mat_mul),
    Row { domain: "com.microsoft", name: "FusedMatMul", since: &[1], lower: fused_mat_mul },
];

fn det(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    one(cx.op(Determinant::default(), &[x.id], x.elem)?)
}

fn einsum(cx: &mut Node) -> Result<Lowered> {
    let equation = cx.attrs.opt_string("equation")?.ok_or_else(|| missing("equation"))?;
    let inputs = cx.all_inputs()?;
    let first = cx.input(0)?;
    let ids: Vec<_> = inputs.iter().map(|v| v.id).collect();
    one(cx.op(Einsum { equation }, &ids, first.elem)?)
}

fn mat_mul(cx: &mut Node) -> Result<Lowered> {
    let (a, b) = (cx.input(0)?, cx.input(1)?);
    one(product(cx, a, b)?)
}

/// True for weights: known beforehand, although perhaps stored in half precision.
fn is_weight(cx: &Node, v: V) -> bool {
    cx.constant(v).is_some() || cx.walker.half_source(v.id).is_some()
}

/// `a b`; a constant matrix on the right is a dense layer.
pub(super) fn product(cx: &mut Node, a: V, b: V) -> Result<V> {
    if cx.rank(b) == 2 && cx.rank(a) >= 1 && a.elem.is_float() && is_weight(cx, b) {
        let w = cx.transpose(b, &[1, 0])?;
        return cx.op(Dense::default(), &[a.id, w.id], a.elem);
    }
    cx.op(MatMul::default(), &[a.id, b.id], a.elem)
}

/// `alpha A' B' + beta C`.
pub(super) fn gemm(cx: &mut Node) -> Result<Lowered> {
    let (mut a, mut b, c) = (cx.input(0)?, cx.input(1)?, cx.maybe(2)?);
    let (alpha, beta) = (cx.attrs.float("alpha", 1.0)?, cx.attrs.float("beta", 1.0)?);
    let (turn_a, turn_b) = (cx.attrs.flag("transA", false)?, cx.attrs.flag("transB", false)?);
    if cx.since < 7 {
        // The third operand is broadcast as numpy does it wherever the flag is set.
        cx.attrs.flag("broadcast", false)?;
    }
    if cx.rank(a) != 2 || cx.rank(b) != 2 {
        return Err(ImportError::invalid("the first two operands must be matrices").found(format!(
            "ranks {} and {}",
            cx.rank(a),
            cx.rank(b)
        )));
    }
    if turn_a {
        a = cx.transpose(a, &[1, 0])?;
    }
    if !a.elem.is_float() {
        if turn_b {
            b = cx.transpose(b, &[1, 0])?;
        }
        let ab = cx.op(MatMul::default(), &[a.id, b.id], a.elem)?;
        let ab = scaled(cx, ab, alpha)?;
        return match c {
            None => one(ab),
            Some(c) => {
                let c = scaled(cx, c, beta)?;
                one(cx.binary(BinaryKind::Add, ab, c)?)
            }
        };
    }
    if !turn_b {
        b = cx.transpose(b, &[1, 0])?;
    }
    b = scaled(cx, b, alpha)?;
    let Some(c) = c else { return one(cx.op(Dense::default(), &[a.id, b.id], a.elem)?) };
    let c = scaled(cx, c, beta)?;
    if let Some(bias) = bias(cx, c, b)? {
        return one(cx.op(Dense::default(), &[a.id, b.id, bias.id], a.elem)?);
    }
    let ab = cx.op(Dense::default(), &[a.id, b.id], a.elem)?;
    one(cx.binary(BinaryKind::Add, ab, c)?)
}

fn scaled(cx: &mut Node, x: V, by: f32) -> Result<V> {
    if by == 1.0 {
        return Ok(x);
    }
    let by = cx.scalar_like(x, f64::from(by))?;
    cx.binary(BinaryKind::Mul, x, by)
}

/// `c` as one number an output, if it is that: `[O]` or `[1, O]`, for `w [O, K]`.
fn bias(cx: &mut Node, c: V, w: V) -> Result<Option<V>> {
    let Some(outputs) = cx.extent(w, 0) else { return Ok(None) };
    match cx.known_shape(c).as_deref() {
        Some([n]) if *n == outputs => Ok(Some(c)),
        Some([1, n]) if *n == outputs => cx.reshape(c, &[-1]).map(Some),
        _ => Ok(None),
    }
}

/// `alpha A' B'` with the last two axes exchanged where asked.
fn fused_mat_mul(cx: &mut Node) -> Result<Lowered> {
    let (mut a, mut b) = (cx.input(0)?, cx.input(1)?);
    let alpha = cx.attrs.float("alpha", 1.0)?;
    for name in ["transBatchA", "transBatchB"] {
        if cx.attrs.flag(name, false)? {
            return Err(ImportError::unsupported("exchanged batch axes are not supported").at_attribute(name));
        }
    }
    if cx.attrs.flag("transA", false)? {
        a = turned(cx, a)?;
    }
    if cx.attrs.flag("transB", false)? {
        b = turned(cx, b)?;
    }
    let y = product(cx, a, b)?;
    one(scaled(cx, y, alpha)?)
}

/// The last two axes exchanged.
pub(super) fn turned(cx: &mut Node, x: V) -> Result<V> {
    let mut perm: Vec<usize> = (0..cx.rank(x)).collect();
    let n = perm.len();
    if n >= 2 {
        perm.swap(n.saturating_sub(1), n.saturating_sub(2));
    }
    cx.transpose(x, &perm)
}
