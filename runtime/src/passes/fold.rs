//! Nodes whose results are known beforehand become constants. The builder computes what it can; this computes what other
//! passes made computable.

use super::edit::Editor;
use crate::Op;
use crate::ops::elementwise::cast;
use crate::ops::infer::Fact;

pub(super) fn run(e: &mut Editor) {
    e.each(|e, slot| {
        let Some(n) = e.node(slot) else { return };
        let known = n.operands().all(|v| e.constant(v).is_some());
        // Small integers may follow from shapes alone.
        let shapes = n.outputs.len() == 1 && e.dtype(n.outputs[0]).is_integer() && e.rank(n.outputs[0]) <= 1;
        if !known && !shapes {
            return;
        }
        let facts: Vec<Option<&Fact>> = n.inputs.iter().map(|v| v.map(|v| e.fact(v))).collect();
        let Some(mut facts) = e.infer_types(&n.op, &facts, n.outputs.len()) else { return };
        // A conversion of a large constant is larger than that, but it would run each time.
        if let (Op::Cast(c), Some(t)) = (&n.op, n.operands().next().and_then(|v| e.constant(v)))
            && facts[0].constant.is_none()
        {
            let Ok(t) = cast(t, c.to) else { return };
            facts[0] = Fact::of_constant(t);
        }
        if facts.iter().all(|f| f.constant.is_some()) {
            let name = n.name.clone();
            e.settle(slot, facts);
            e.note(name);
        }
    });
}
