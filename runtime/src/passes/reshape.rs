//! Shapes written as constants, and chains of reshapes made one.

use super::edit::Editor;
use crate::ops::movement::Reshape;
use crate::{Dim, Op, Tensor, ValueId};

pub(super) fn run(e: &mut Editor) {
    e.each(|e, slot| {
        let Some(n) = e.node(slot) else { return };
        let Some((x, y)) = ends(e, &n.op, &n.inputs, &n.outputs) else { return };
        let through = e.producer_node(x).and_then(|p| ends(e, &p.op, &p.inputs, &p.outputs)).map(|p| p.0);
        let computed = matches!(n.op, Op::Reshape(_)) && n.inputs.get(1).is_some_and(|s| !is_constant(e, *s));
        if through.is_none() && !computed {
            return;
        }
        let (name, from) = (n.name.clone(), through.unwrap_or(x));
        if e.shape(from) == e.shape(y) && e.merge(slot, from) {
            e.note(name);
            return;
        }
        if reshape(e, slot, from) {
            e.note(name);
        }
    });
}

/// Makes a node the reshape of a value to the shape it gives.
fn reshape(e: &mut Editor, slot: usize, from: ValueId) -> bool {
    let Some(y) = e.node(slot).map(|n| n.outputs[0]) else { return false };
    let Some(target) = target(e.shape(from), e.shape(y)) else { return false };
    let shape = e.add_constant("shape", Tensor::vector(&target));
    e.rewrite(slot, Reshape::default(), &[Some(from), Some(shape)])
}

fn is_constant(e: &Editor, v: Option<ValueId>) -> bool {
    v.is_some_and(|v| e.constant(v).is_some())
}

/// What a node reads and gives when it only changes the shape.
fn ends(e: &Editor, op: &Op, inputs: &[Option<ValueId>], outputs: &[ValueId]) -> Option<(ValueId, ValueId)> {
    let alike = match op {
        Op::Reshape(_) => true,
        Op::Squeeze(_) => inputs.len() < 2 || is_constant(e, inputs[1]),
        Op::Unsqueeze(_) => is_constant(e, *inputs.get(1)?),
        _ => false,
    };
    alike.then_some(((*inputs.first()?)?, *outputs.first()?))
}

/// The operand that makes a [`Reshape`] of `from` give `to`, for all values of the symbols: numbers where they are known, 0
/// where an extent is copied, -1 for one that is left. The shapes have the same number of elements.
pub(super) fn target(from: &[Dim], to: &[Dim]) -> Option<Vec<i64>> {
    let mut open = false;
    let each = to.iter().enumerate().map(|(i, d)| match d.known() {
        Some(0) => None,
        Some(n) => i64::try_from(n).ok(),
        None if from.get(i) == Some(d) => Some(0),
        None if !std::mem::replace(&mut open, true) => Some(-1),
        None => None,
    });
    each.collect()
}
