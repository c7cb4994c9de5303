//! A pointwise convolution to few channels of an image whose channels were another axis becomes a product on that axis, so that
//! nothing is transposed: the expected distance of a detection head, `[N, 4, bins, boxes]` to `[N, 4, 1, boxes]`.

use super::edit::Editor;
use crate::ops::activation::Activation;
use crate::ops::conv::{Conv, Pads};
use crate::ops::dense::MatMul;
use crate::ops::movement::Transpose;
use crate::{DType, Op, ValueId};

/// More outputs than this are worth a convolution's tiles.
const FEW: usize = 4;

pub(super) fn run(e: &mut Editor) {
    e.each(|e, slot| {
        let Some(name) = e.node(slot).map(|n| n.name.clone()) else { return };
        if product(e, slot).is_some() {
            e.note(name);
        }
    });
}

/// The inner two of the axes `[N, C, A, B]` swapped.
const SWAP: [usize; 4] = [0, 2, 1, 3];

fn product(e: &mut Editor, slot: usize) -> Option<()> {
    let n = e.node(slot)?;
    let (Op::Conv(c), [Some(moved), Some(w), rest @ ..]) = (&n.op, n.inputs.as_slice()) else { return None };
    let (moved, w) = (*moved, *w);
    let t = e.producer_node(moved).filter(|_| e.sole_use(moved))?;
    let Op::Transpose(transpose) = &t.op else { return None };
    let x = (*t.inputs.first()?)?;
    let weights = e.constant(w).filter(|w| w.dtype() == DType::F32)?;
    let &[outputs, channels, 1, 1] = weights.shape() else { return None };
    let fits = outputs <= FEW
        && rest.iter().all(Option::is_none)
        && transpose.permutation(e.rank(x)).ok()? == SWAP
        && is_pointwise(c)
        && e.shape(x)[2].known() == Some(channels);
    if !fits {
        return None;
    }
    let weights = weights.reshaped(&[outputs, channels]).ok()?;
    let name = n.name.clone();
    let w: ValueId = e.derive_constant(w, weights);
    let product = e.add(slot, MatMul {}, &[Some(w), Some(x)], &format!("{name}.product"))?;
    e.rewrite(slot, Transpose { perm: SWAP.to_vec() }, &[Some(product)]).then_some(())
}

fn is_pointwise(c: &Conv) -> bool {
    let ones = |list: &[usize]| list.iter().all(|&n| n == 1);
    let unpadded = match &c.pads {
        Pads::Explicit { begin, end } => begin.iter().chain(end).all(|&p| p == 0),
        Pads::SameUpper | Pads::SameLower => true,
    };
    c.groups == 1 && ones(&c.strides) && ones(&c.dilations) && unpadded && c.activation == Activation::Identity
}
