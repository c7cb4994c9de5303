//! Which values lie in channel blocks when the graph runs: a transposition between them and a row-major order is part of the conversion that is
//! made anyway.

use super::super::edit::Editor;
use super::permute::flipped;
use super::{to_last, transpose};
use crate::ops::elementwise::{BinaryClass, UnaryClass};
use crate::{DType, Op, ValueId};

/// Longest chain of ops that keep blocks.
const CHAIN: usize = 10;

/// True for ops that compute on images in blocks.
fn is_image(op: &Op) -> bool {
    matches!(op, Op::Conv(_) | Op::ConvTranspose(_) | Op::Pool(_) | Op::Resize(_))
}

/// True when a value comes in blocks.
pub(super) fn written(e: &Editor, v: ValueId) -> bool {
    comes(e, v, false, CHAIN)
}

/// True when a value is computed from the rows of an image that came in blocks, and could be computed in blocks.
pub(super) fn beside(e: &Editor, v: ValueId) -> bool {
    transpose(e, e.producer(v).unwrap_or(usize::MAX)).is_none() && comes(e, v, true, CHAIN)
}

/// Whether `v` comes in blocks, or (`rows`) is computed from the transposition of what does.
fn comes(e: &Editor, v: ValueId, rows: bool, depth: usize) -> bool {
    if depth == 0 || e.dtype(v) != DType::F32 || !(3..=5).contains(&e.rank(v)) {
        return false;
    }
    let Some(slot) = e.producer(v) else { return false };
    let Some(n) = e.node(slot) else { return false };
    let first = || n.inputs.first().copied().flatten().is_some_and(|x| comes(e, x, rows, depth - 1));
    let alike = |x: &ValueId| e.constant(*x).is_none() && e.shape(*x) == e.shape(v);
    match &n.op {
        op if is_image(op) => !rows,
        Op::Transpose(_) => rows && transpose(e, slot).is_some_and(|(p, x)| to_last(&p) && written(e, x)),
        Op::Activate(_) | Op::BatchNorm(_) | Op::PRelu(_) => first(),
        Op::Unary(u) => matches!(u.kind.class(), UnaryClass::Map(_)) && first(),
        Op::Binary(b) if matches!(b.kind.class(), BinaryClass::Map(_)) => {
            n.operands().filter(alike).any(|x| comes(e, x, rows, depth - 1))
        }
        Op::Split(_) | Op::Slice(_) | Op::Pad(_) | Op::Identity(_) => first(),
        Op::Concat(_) => n.operands().all(|x| comes(e, x, rows, depth - 1)),
        _ => false,
    }
}

/// True when no reader of an input, as it is or transposed, computes in row-major order only.
pub(super) fn read(e: &Editor, v: ValueId) -> bool {
    let any_order = |u: usize| {
        e.node(u).is_some_and(|n| match &n.op {
            Op::Cast(_) | Op::Where(_) | Op::Gather(_) => false,
            Op::Binary(b) => matches!(b.kind.class(), BinaryClass::Map(_)),
            _ => true,
        })
    };
    e.uses(v).iter().all(|&u| match transpose(e, u) {
        Some(_) => e.node(u).is_none_or(|n| e.uses(n.outputs[0]).iter().all(|&c| any_order(c))),
        None => any_order(u),
    })
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
