//! Scales and shifts by constants, one per channel or one for all, go into the weights and the bias of the convolution or
//! fully connected layer in front of them; else of the one behind, where padding does not see the shift. Pixels are scaled before
//! a channels-last image is transposed: the function behind a movement is looked for in front of it.

use super::affine::Affine;
use super::edit::Editor;
use super::look;
use crate::ops::activation::Activation;
use crate::ops::conv::Pads;
use crate::{DType, Op, Tensor, ValueId};

pub(super) fn run(e: &mut Editor) {
    e.each(|e, slot| {
        let Some(name) = e.node(slot).map(|n| n.name.clone()) else { return };
        if front(e, slot).is_some() || behind(e, slot).is_some() {
            e.note(name);
        }
    });
}

/// Weights of a layer as a matrix of outputs and inputs, whatever their order in memory.
struct Weights {
    value: ValueId,
    shape: Vec<usize>,
    data: Vec<f64>,
    bias: Option<ValueId>,
    outputs: usize,
    inputs: usize,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// `[O, C/groups, k...]`
    Conv { groups: usize },
    /// `[C, O/groups, k...]`
    Transposed { groups: usize },
    /// `[O, K]`
    Dense,
}

impl Weights {
    fn of(e: &Editor, slot: usize) -> Option<Self> {
        let n = e.node(slot)?;
        let kind = match &n.op {
            Op::Conv(c) => Kind::Conv { groups: c.groups },
            Op::ConvTranspose(c) => Kind::Transposed { groups: c.groups },
            Op::Dense(_) => Kind::Dense,
            _ => return None,
        };
        let value = (*n.inputs.get(1)?)?;
        let bias = n.inputs.get(2).copied().flatten();
        // Half floats become `f32`: folded weights must not be rounded twice.
        let fits = |t: &&Tensor| t.dtype().is_float() && t.dtype() != DType::F64;
        let t = e.constant(value).filter(fits)?;
        if !bias.is_none_or(|b| e.constant(b).as_ref().is_some_and(fits)) || t.is_empty() {
            return None;
        }
        let (rows, columns) = (t.shape()[0], t.shape()[1]);
        let (outputs, inputs) = match kind {
            Kind::Conv { groups } if rows % groups == 0 => (rows, columns * groups),
            Kind::Transposed { groups } if rows % groups == 0 => (columns * groups, rows),
            Kind::Dense => (rows, columns),
            _ => return None,
        };
        Some(Self { value, shape: t.shape().to_vec(), data: t.to_f64(), bias, outputs, inputs, kind })
    }
    /// Calls `f(output channel, input channel, weight)` for every weight.
    fn each(&mut self, mut f: impl FnMut(usize, usize, &mut f64)) {
        let (rows, columns) = (self.shape[0], self.shape[1]);
        let taps: usize = self.shape[2..].iter().product();
        for (i, w) in self.data.iter_mut().enumerate() {
            let (r, c) = (i / (columns * taps), i / taps % columns);
            let (o, input) = match self.kind {
                Kind::Conv { groups } => (r, r / (rows / groups) * columns + c),
                Kind::Transposed { groups } => (r / (rows / groups) * columns + c, r),
                Kind::Dense => (r, c),
            };
            f(o, input, w);
        }
    }
    fn bias(&self, e: &Editor) -> Vec<f64> {
        self.bias.and_then(|b| e.constant(b)).map_or_else(|| vec![0.0; self.outputs], Tensor::to_f64)
    }
    /// The axis of channels of the layer's input and output.
    fn axis(&self, rank: usize) -> usize {
        if self.kind == Kind::Dense { rank - 1 } else { 1 }
    }
    /// The layer's operands with these weights and this bias, `data` in front.
    fn store(self, e: &mut Editor, slot: usize, data: ValueId, bias: &[f64], scaled: bool) -> Option<()> {
        let w = look::tensor(&self.shape, &self.data)?;
        let b = look::tensor(&[self.outputs], bias)?;
        let n = e.node(slot)?;
        let (op, residual, name) = (n.op.clone(), n.inputs.get(3).copied(), n.name.clone());
        let w = if scaled { e.derive_constant(self.value, w) } else { self.value };
        let b = match self.bias {
            Some(old) => Some(e.derive_constant(old, b)),
            None if bias.iter().all(|&b| b == 0.0) => None,
            None => Some(e.add_constant(&format!("{name}.bias"), b)),
        };
        let inputs: Vec<Option<ValueId>> = [Some(data), Some(w), b].into_iter().chain(residual).collect();
        e.rewrite(slot, op, &inputs).then_some(())
    }
}

/// The node is the function; the layer in front of it takes it in.
fn front(e: &mut Editor, slot: usize) -> Option<()> {
    let (x, f) = Affine::of(e, e.node(slot)?)?;
    let layer = e.producer(x).filter(|_| e.sole_use(x))?;
    let n = e.node(layer)?;
    let plain = match &n.op {
        Op::Conv(c) => c.activation == Activation::Identity,
        Op::ConvTranspose(c) => c.activation == Activation::Identity,
        Op::Dense(d) => d.activation == Activation::Identity,
        _ => false,
    };
    if !plain || n.inputs.get(3).copied().flatten().is_some() {
        return None;
    }
    let data = (*n.inputs.first()?)?;
    let mut w = Weights::of(e, layer)?;
    if f.axis.is_some_and(|a| a != w.axis(e.rank(x)) || f.scale.len() != w.outputs) {
        return None;
    }
    w.each(|o, _, w| *w *= f.scale(o));
    let bias: Vec<f64> = w.bias(e).iter().enumerate().map(|(o, b)| b * f.scale(o) + f.shift(o)).collect();
    w.store(e, layer, data, &bias, !f.is_unscaled())?;
    e.take_over(layer, slot);
    Some(())
}

/// A function in front of a layer.
struct Before {
    /// Its operand.
    data: ValueId,
    f: Affine,
    /// The movement between it and the layer, with its other operands, that moves the operand instead then.
    movement: Option<(Op, Vec<Option<ValueId>>, String)>,
}

impl Before {
    fn of(e: &Editor, x: ValueId) -> Option<Self> {
        let n = e.producer_node(x).filter(|_| e.sole_use(x))?;
        if let Some((data, f)) = Affine::of(e, n) {
            return Some(Self { data, f, movement: None });
        }
        let y = (*n.inputs.first()?)?;
        let (data, f) = e.producer_node(y).filter(|_| e.sole_use(y)).and_then(|p| Affine::of(e, p))?;
        let axis = match (&n.op, f.axis) {
            (Op::Transpose(t), Some(a)) => Some(t.perm.iter().position(|&p| p == a)?),
            (Op::Transpose(_) | Op::Reshape(_), None) => None,
            _ => return None,
        };
        let movement = Some((n.op.clone(), n.inputs.clone(), n.name.clone()));
        Some(Self { data, f: Affine { axis, ..f }, movement })
    }
    /// The layer's operand without the function.
    fn operand(&mut self, e: &mut Editor, layer: usize) -> Option<ValueId> {
        let Some((op, mut inputs, name)) = self.movement.take() else { return Some(self.data) };
        *inputs.first_mut()? = Some(self.data);
        e.add(layer, op, &inputs, &name)
    }
}

/// The node is the layer; it takes in the function in front of it.
fn behind(e: &mut Editor, slot: usize) -> Option<()> {
    let n = e.node(slot)?;
    let x = (*n.inputs.first()?)?;
    let mut w = Weights::of(e, slot)?;
    let mut before = Before::of(e, x)?;
    let f = &before.f;
    let unseen = match &n.op {
        Op::Conv(c) => unpadded(&c.pads, &w.shape[2..]),
        Op::Dense(_) => true,
        _ => false,
    };
    if f.axis.is_some_and(|a| a != w.axis(e.rank(x)) || f.scale.len() != w.inputs) || !(unseen || f.is_unshifted()) {
        return None;
    }
    let mut bias = w.bias(e);
    w.each(|o, i, w| {
        bias[o] += *w * f.shift(i);
        *w *= f.scale(i);
    });
    let scaled = !f.is_unscaled();
    let data = before.operand(e, slot)?;
    w.store(e, slot, data, &bias, scaled)
}

/// True when a convolution never reads padding.
fn unpadded(pads: &Pads, kernel: &[usize]) -> bool {
    match pads {
        Pads::Explicit { begin, end } => begin.iter().chain(end).all(|&p| p == 0),
        Pads::SameUpper | Pads::SameLower => kernel.iter().all(|&k| k == 1),
    }
}
