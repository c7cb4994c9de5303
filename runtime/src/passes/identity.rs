//! Nodes that give back what they read.

use super::edit::Editor;
use super::look;
use crate::ops::activation::Activation;
use crate::ops::elementwise::BinaryKind;
use crate::ops::resize::{Coordinates, Resize, ResizeMode};
use crate::{Node, Op, ValueId};

pub(super) fn run(e: &mut Editor) {
    e.each(|e, slot| {
        let Some(n) = e.node(slot) else { return };
        let Some(x) = same(e, n) else { return };
        let name = n.name.clone();
        if e.merge(slot, x) {
            e.note(name);
        }
    });
}

/// The value that the only output of a node equals.
fn same(e: &Editor, n: &Node) -> Option<ValueId> {
    let &[y] = n.outputs.as_slice() else { return None };
    let x = (*n.inputs.first()?)?;
    let kept = look::same_shape(e, x, y) && e.dtype(x) == e.dtype(y);
    let all = |i: usize, value: i64| {
        look::integers(e, n.inputs.get(i).copied().flatten())?.iter().all(|&v| v == value).into()
    };
    let absent = |i: usize| n.inputs.get(i).copied().flatten().is_none();
    let nothing: Option<bool> = match &n.op {
        Op::Identity(_) => Some(true),
        Op::Cast(_) | Op::Reshape(_) | Op::Squeeze(_) | Op::Unsqueeze(_) | Op::Expand(_) => Some(kept),
        Op::Activate(a) => Some(matches!(a.kind, Activation::Identity | Activation::Linear { a: 1.0, b: 0.0 })),
        Op::Transpose(t) => {
            let perm = t.permutation(e.rank(x)).ok()?;
            Some(perm.iter().enumerate().all(|(i, &p)| i == p))
        }
        Op::Pad(_) => all(1, 0),
        Op::Tile(_) => all(1, 1),
        Op::Slice(_) => Some(kept && (absent(4) || all(4, 1)?)),
        Op::Concat(_) => Some(n.inputs.len() == 1),
        Op::Split(_) => Some(kept),
        Op::Reverse(r) => Some(r.axes.is_empty()),
        Op::Resize(r) => Some(kept && unscaled(e, n, r)),
        Op::Binary(_) => return neutral(e, n, y),
        _ => None,
    };
    (nothing? && kept).then_some(x)
}

/// `x + 0`, `x - 0`, `x * 1`, `x / 1`, `x ^ 1`: the value of `x`.
fn neutral(e: &Editor, n: &Node, y: ValueId) -> Option<ValueId> {
    let (kind, a, b) = look::binary(n)?;
    let all = |v: ValueId, value: f64| e.constant(v).is_some_and(|t| t.to_f64().iter().all(|&x| x == value));
    let (right, left) = match kind {
        BinaryKind::Add => (Some(0.0), Some(0.0)),
        BinaryKind::Sub => (Some(0.0), None),
        BinaryKind::Mul => (Some(1.0), Some(1.0)),
        BinaryKind::Div | BinaryKind::Pow => (Some(1.0), None),
        _ => (None, None),
    };
    let fits = |x: ValueId| look::same_shape(e, x, y) && e.dtype(x) == e.dtype(y);
    if right.is_some_and(|r| all(b, r)) && fits(a) {
        return Some(a);
    }
    (left.is_some_and(|l| all(a, l)) && fits(b)).then_some(b)
}

/// True for a resampling whose every output position is an input position.
fn unscaled(e: &Editor, n: &Node, r: &Resize) -> bool {
    let exact = matches!(
        r.coordinates,
        Coordinates::HalfPixel | Coordinates::PytorchHalfPixel | Coordinates::AlignCorners | Coordinates::Asymmetric
    );
    let ones = n
        .inputs
        .get(2)
        .copied()
        .flatten()
        .is_none_or(|v| e.constant(v).is_some_and(|t| t.to_f64().iter().all(|&s| s == 1.0)));
    exact && r.mode != ResizeMode::Cubic && ones
}
