//! A pixel shuffle that is written as reshape, transpose, reshape becomes [`DepthToSpace`].
//!
//! `[N, C b b, H, W]` is split into six axes, the blocks move next to the rows and columns they refine, and both are joined:
//! channels first in the order of channels (PyTorch), or blocks first (TensorFlow, ONNX `DCR`).

use super::edit::Editor;
use crate::ops::movement::{DepthOrder, DepthToSpace};
use crate::{Dim, Op, ValueId};

pub(super) fn run(e: &mut Editor) {
    e.each(|e, slot| {
        let Some((x, op)) = shuffle(e, slot) else { return };
        let Some(name) = e.node(slot).map(|n| n.name.clone()) else { return };
        if e.rewrite(slot, op, &[Some(x)]) {
            e.note(name);
        }
    });
}

fn shuffle(e: &Editor, slot: usize) -> Option<(ValueId, DepthToSpace)> {
    let n = e.node(slot)?;
    let moved = reshaped(&n.op, &n.inputs)?;
    let t = e.producer_node(moved)?;
    let split = (*t.inputs.first()?)?;
    let Op::Transpose(transpose) = &t.op else { return None };
    let perm = transpose.permutation(e.rank(split)).ok()?;
    let first = e.producer_node(split)?;
    let x = reshaped(&first.op, &first.inputs)?;
    let [n0, c, rows, columns] = e.shape(x) else { return None };
    let [s0, s1, s2, s3, s4, s5] = e.shape(split) else { return None };
    let (order, channels, block, other) = match perm.as_slice() {
        [0, 1, 4, 2, 5, 3] => (DepthOrder::Crd, s1, s2, s3),
        [0, 3, 4, 1, 5, 2] => (DepthOrder::Dcr, s3, s1, s2),
        _ => return None,
    };
    let b = block.known().filter(|_| block == other)?;
    let depth = channels.known()?.checked_mul(b)?.checked_mul(b);
    let whole = c.known() == depth && s0 == n0 && s4 == rows && s5 == columns;
    let size = |d: &Dim| d.clone() * Dim::from(b);
    let joined = [n0.clone(), channels.clone(), size(rows), size(columns)];
    (whole && e.shape(n.outputs[0]) == joined).then_some((x, DepthToSpace { block: b, order }))
}

/// The operand of a reshape.
fn reshaped(op: &Op, inputs: &[Option<ValueId>]) -> Option<ValueId> {
    if matches!(op, Op::Reshape(_)) { *inputs.first()? } else { None }
}
