//! Layers read weights as they are stored: a conversion of constant half floats to `f32` in front of them goes.

use super::edit::Editor;
use crate::{DType, Op, ValueId};

pub(super) fn run(e: &mut Editor) {
    e.each(|e, slot| {
        let Some(n) = e.node(slot) else { return };
        let (layer, operands) = match &n.op {
            Op::Conv(_) | Op::ConvTranspose(_) | Op::Dense(_) => (true, 1..3),
            Op::MatMul(_) => (n.inputs.get(1).is_some_and(|w| w.is_some_and(|w| e.rank(w) == 2)), 1..2),
            _ => (false, 1..1),
        };
        let wide =
            n.inputs.first().is_some_and(|x| x.is_some_and(|x| e.dtype(x) == DType::F32 && e.constant(x).is_none()));
        if !layer || !wide {
            return;
        }
        let (op, mut inputs, name) = (n.op.clone(), n.inputs.clone(), n.name.clone());
        for v in inputs.iter_mut().take(operands.end).skip(operands.start) {
            *v = v.map(|v| stored(e, v).unwrap_or(v));
        }
        if inputs != n.inputs && e.rewrite(slot, op, &inputs) {
            e.note(name);
        }
    });
}

/// The half floats behind a value.
fn stored(e: &Editor, v: ValueId) -> Option<ValueId> {
    let n = e.producer_node(v).filter(|n| matches!(&n.op, Op::Cast(c) if c.to == DType::F32))?;
    let half = n.inputs.first().copied().flatten()?;
    e.constant(half).is_some_and(|t| matches!(t.dtype(), DType::F16 | DType::BF16)).then_some(half)
}
