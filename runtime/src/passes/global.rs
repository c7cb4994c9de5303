//! Pools whose window is the whole image become reductions, which sum in several chains at once; means of one element are the element.

use super::edit::Editor;
use crate::ops::conv::Pads;
use crate::ops::pool::{Pool, PoolKind};
use crate::ops::reduce::{Reduce, ReduceKind};
use crate::{Dim, Op, Tensor};

pub(super) fn run(e: &mut Editor) {
    e.each(|e, slot| {
        let Some(n) = e.node(slot) else { return };
        let (Op::Pool(p), Some(x)) = (&n.op, n.inputs.first().copied().flatten()) else { return };
        let (name, p) = (n.name.clone(), p.clone());
        if !unpadded(&p) {
            return;
        }
        let steps = p.strides.iter().all(|&s| s == 1);
        if p.kind == PoolKind::Average && steps && p.kernel.iter().all(|&k| k == 1) {
            if e.merge(slot, x) {
                e.note(name);
            }
            return;
        }
        let kind = match p.kind {
            PoolKind::Average => ReduceKind::Mean,
            PoolKind::Max => ReduceKind::Max,
            PoolKind::Lp => return,
        };
        let size: Option<Vec<usize>> = e.shape(x)[2..].iter().map(Dim::known).collect();
        if size.as_ref() != Some(&p.kernel) {
            return;
        }
        let axes = e.add_constant("axes", Tensor::vector(&(2..e.rank(x) as i64).collect::<Vec<_>>()));
        let op = Reduce { kind, keep_dims: true, ..Reduce::default() };
        if e.rewrite(slot, op, &[Some(x), Some(axes)]) {
            e.note(name);
        }
    });
}

fn unpadded(p: &Pool) -> bool {
    let zeros = |list: &[usize]| list.iter().all(|&n| n == 0);
    let pads = matches!(&p.pads, Pads::Explicit { begin, end } if zeros(begin) && zeros(end));
    pads && p.dilations.iter().all(|&d| d == 1)
}
