//! Matrix products with constant weights become fully connected layers.

use super::edit::Editor;
use crate::ops::dense::Dense;
use crate::{DType, Op, Tensor, ValueId, with_dtype};

pub(super) fn run(e: &mut Editor) {
    e.each(|e, slot| {
        let Some(n) = e.node(slot) else { return };
        let (Op::MatMul(_), &[Some(x), Some(w)]) = (&n.op, n.inputs.as_slice()) else { return };
        let name = n.name.clone();
        let Some(t) = weights(e, x, w) else { return };
        let w = e.derive_constant(w, t);
        if e.rewrite(slot, Dense::default(), &[Some(x), Some(w)]) {
            e.note(name);
        }
    });
}

/// `[..1, K, N]` as `[N, K]`.
fn weights(e: &Editor, x: ValueId, w: ValueId) -> Option<Tensor> {
    let t = e.constant(w)?;
    let (&[k, n], lead) = (t.shape().last_chunk::<2>()?, t.rank() - 2);
    let flat = lead == 0 || (t.shape()[..lead].iter().all(|&d| d == 1) && t.rank() <= e.rank(x));
    let float = t.dtype().is_float() && t.dtype() != DType::F64;
    if !float || e.dtype(x) != DType::F32 || e.constant(x).is_some() || !flat || e.rank(x) == 0 {
        return None;
    }
    with_dtype!(t.dtype(), T => {
        let data = t.as_slice::<T>().ok()?;
        Tensor::new(&[n, k], (0..n * k).map(|i| data[i % k * n + i / k]).collect()).ok()
    })
}
