//! What a kernel does in its epilogue: a residual sum, an activation.

use super::edit::Editor;
use super::look;
use crate::ops::activation::Activation;
use crate::ops::elementwise::BinaryKind;
use crate::{DType, Op, ValueId};
use std::collections::HashMap;

/// `conv + other`, both of one shape: `other` becomes the residual of the convolution.
pub(super) fn residual(e: &mut Editor) {
    let position: HashMap<usize, usize> = e.order().into_iter().enumerate().map(|(i, s)| (s, i)).collect();
    e.each(|e, slot| {
        let Some(n) = e.node(slot) else { return };
        let (Op::Binary(sum), &[Some(a), Some(b)]) = (&n.op, n.inputs.as_slice()) else { return };
        if sum.kind != BinaryKind::Add || e.dtype(a) != DType::F32 || !look::same_shape(e, a, b) {
            return;
        }
        let (name, activation) = (n.name.clone(), sum.activation);
        // The later one waits for the other anyway.
        let mut sides = [(a, b), (b, a)];
        sides.sort_by_key(|s| std::cmp::Reverse(e.producer(s.0).and_then(|p| position.get(&p).copied())));
        let Some(&(conv, other)) = sides.iter().find(|s| takes_residual(e, s.0) && e.constant(s.1).is_none()) else {
            return;
        };
        let Some(layer) = e.producer(conv) else { return };
        let Some(node) = e.node(layer) else { return };
        let Op::Conv(c) = &node.op else { return };
        let op = crate::ops::conv::Conv { activation, ..c.clone() };
        let mut inputs = node.inputs.clone();
        inputs.resize(3, None);
        inputs.push(Some(other));
        if e.rewrite(layer, op, &inputs) {
            e.take_over(layer, slot);
            e.note(name);
        }
    });
}

fn takes_residual(e: &Editor, v: ValueId) -> bool {
    let free = e.producer_node(v).is_some_and(|n| {
        let none = n.inputs.get(3).copied().flatten().is_none();
        matches!(&n.op, Op::Conv(c) if c.activation == Activation::Identity) && none
    });
    free && e.sole_use(v)
}

/// An activation of what only it reads becomes part of the op that computes it.
pub(super) fn activation(e: &mut Editor) {
    e.each(|e, slot| {
        let Some(n) = e.node(slot) else { return };
        let Some((kind, x)) = look::function(n) else { return };
        let Some(p) = e.producer(x).filter(|_| e.sole_use(x) && e.dtype(x) == DType::F32) else { return };
        let name = n.name.clone();
        let Some(op) = e.node(p).and_then(|n| with_activation(&n.op, kind)) else { return };
        e.set_op(p, op);
        e.take_over(p, slot);
        e.note(name);
    });
}

/// The op followed by an activation, when it can be and has none yet.
fn with_activation(op: &Op, kind: Activation) -> Option<Op> {
    let mut op = op.clone();
    let activation = match &mut op {
        Op::Conv(c) => &mut c.activation,
        Op::ConvTranspose(c) => &mut c.activation,
        Op::Dense(d) => &mut d.activation,
        Op::BatchNorm(b) => &mut b.activation,
        Op::Binary(b) if !matches!(b.kind.class(), crate::ops::elementwise::BinaryClass::Compare(_)) => {
            &mut b.activation
        }
        _ => return None,
    };
    if *activation != Activation::Identity {
        return None;
    }
    *activation = kind;
    Some(op)
}
