//! Which values lie in channel blocks when the graph runs: a transposition between them and a row-major order is part of the conversion that is
//! made anyway.

use super::super::edit::Editor;
use super::permute::flipped;
use super::transpose;
use crate::ops::elementwise::{BinaryClass, UnaryClass};
use crate::{DType, Op, ValueId};

/// Longest chain of ops that keep blocks.
const CHAIN: usize = 16;

/// True for ops that compute on images in blocks.
fn is_image(op: &Op) -> bool {
    matches!(op, Op::Conv(_) | Op::ConvTranspose(_) | Op::Pool(_) | Op::Resize(_))
}

/// True when a value comes in blocks.
pub(super) fn written(e: &Editor, v: ValueId) -> bool {
    comes(e, v, CHAIN)
}

fn comes(e: &Editor, v: ValueId, depth: usize) -> bool {
    if depth == 0 || e.dtype(v) != DType::F32 || !(3..=5).contains(&e.rank(v)) {
        return false;
    }
    let Some(n) = e.producer_node(v) else { return false };
    let variable = |x: &ValueId| e.constant(*x).is_none();
    let first = || n.inputs.first().copied().flatten().is_some_and(|x| comes(e, x, depth - 1));
    let alike = |x: &ValueId| variable(x) && e.shape(*x) == e.shape(v);
    match &n.op {
        op if is_image(op) => true,
        Op::Activate(_) | Op::BatchNorm(_) | Op::Split(_) | Op::Slice(_) | Op::Pad(_) | Op::Identity(_) => first(),
        Op::Unary(u) => matches!(u.kind.class(), UnaryClass::Map(_)) && first(),
        Op::Binary(b) if matches!(b.kind.class(), BinaryClass::Map(_)) => {
            n.operands().filter(alike).any(|x| comes(e, x, depth - 1))
        }
        Op::PRelu(_) => first(),
        Op::Concat(_) => n.operands().all(|x| comes(e, x, depth - 1)),
        _ => false,
    }
}

/// True when those who read a value permuted by `perm`, and cannot be permuted themselves, want it in blocks.
pub(super) fn wanted(e: &Editor, v: ValueId, perm: &[usize]) -> bool {
    let reads = |u: usize, x: ValueId| {
        e.node(u).is_some_and(|n| {
            is_image(&n.op) && n.operands().filter(|&y| y == x).count() == 1 && n.inputs.first() == Some(&Some(x))
        })
    };
    let mut any = false;
    for &u in e.uses(v) {
        match transpose(e, u) {
            Some((p, _)) if p == perm => {
                let y = e.node(u).map(|n| n.outputs[0]);
                let fine = y.is_some_and(|y| !e.is_output(y) && e.uses(y).iter().all(|&c| reads(c, y)));
                if !fine {
                    return false;
                }
                any = true;
            }
            Some(_) => return false,
            None if reads(u, v) => any = true,
            None if flipped(e, u, perm).is_some() => {}
            None => return false,
        }
    }
    any && !e.is_output(v)
}
