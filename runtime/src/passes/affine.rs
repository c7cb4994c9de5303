//! Chains of scales and shifts by constants become one: a linear function, a batch normalisation, a product or a sum.

use super::edit::Editor;
use super::look::{self, Along};
use crate::ops::activation::{Activate, Activation};
use crate::ops::elementwise::{Binary, BinaryKind};
use crate::ops::norm::BatchNorm;
use crate::{DType, Node, Op, Tensor, ValueId};

/// `scale * x + shift`, one pair for all elements or one for each index of an axis.
pub(super) struct Affine {
    pub axis: Option<usize>,
    pub scale: Vec<f64>,
    pub shift: Vec<f64>,
}

impl Affine {
    /// The operand and the function of a node that is one, of `f32`.
    pub fn of(e: &Editor, n: &Node) -> Option<(ValueId, Self)> {
        let &[y] = n.outputs.as_slice() else { return None };
        let (x, f) = match &n.op {
            Op::BatchNorm(b) if b.activation == Activation::Identity => ((*n.inputs.first()?)?, Self::norm(e, n, b)?),
            Op::Activate(Activate { kind: Activation::Linear { a, b } }) => {
                let f = Self { axis: None, scale: vec![f64::from(*a)], shift: vec![f64::from(*b)] };
                ((*n.inputs.first()?)?, f)
            }
            Op::Binary(_) => Self::binary(e, n)?,
            _ => return None,
        };
        let fits = e.dtype(x) == DType::F32 && e.constant(x).is_none() && look::same_shape(e, x, y);
        (fits && f.scale.iter().chain(&f.shift).all(|v| v.is_finite())).then_some((x, f))
    }
    fn norm(e: &Editor, n: &Node, b: &BatchNorm) -> Option<Self> {
        let get = |i: usize| Some(e.constant((*n.inputs.get(i)?)?)?.to_f64());
        let (scale, bias, mean, var) = (get(1)?, get(2)?, get(3)?, get(4)?);
        let scale: Vec<f64> = scale.iter().zip(&var).map(|(s, v)| s / (v + f64::from(b.epsilon)).sqrt()).collect();
        let shift = bias.iter().zip(&mean).zip(&scale).map(|((b, m), s)| b - m * s).collect();
        Some(Self { axis: Some(1), scale, shift })
    }
    fn binary(e: &Editor, n: &Node) -> Option<(ValueId, Self)> {
        let (kind, a, b) = look::binary(n)?;
        let (x, c, left) = match (e.constant(a), e.constant(b)) {
            (None, Some(_)) => (a, b, false),
            (Some(_), None) => (b, a, true),
            _ => return None,
        };
        let t = e.constant(c).filter(|t| t.dtype() == DType::F32)?;
        let axis = match look::along(t, e.shape(x))? {
            Along::Nothing => None,
            Along::Axis(a) => Some(a),
        };
        let c = t.to_f64();
        let (one, zero) = (vec![1.0; c.len()], vec![0.0; c.len()]);
        let (scale, shift) = match (kind, left) {
            (BinaryKind::Mul, _) => (c, zero),
            (BinaryKind::Div, false) => (c.iter().map(|v| 1.0 / v).collect(), zero),
            (BinaryKind::Add, _) => (one, c),
            (BinaryKind::Sub, false) => (one, c.iter().map(|v| -v).collect()),
            (BinaryKind::Sub, true) => (vec![-1.0; c.len()], c),
            _ => return None,
        };
        Some((x, Self { axis, scale, shift }))
    }
    /// Scale of an index.
    pub fn scale(&self, i: usize) -> f64 {
        self.scale[if self.axis.is_some() { i } else { 0 }]
    }
    /// Shift of an index.
    pub fn shift(&self, i: usize) -> f64 {
        self.shift[if self.axis.is_some() { i } else { 0 }]
    }
    pub fn is_unscaled(&self) -> bool {
        self.scale.iter().all(|&s| s == 1.0)
    }
    pub fn is_unshifted(&self) -> bool {
        self.shift.iter().all(|&s| s == 0.0)
    }
    /// First `self`, then `next`.
    fn then(&self, next: &Self) -> Option<Self> {
        let axis = match (self.axis, next.axis) {
            (Some(a), Some(b)) if a != b => return None,
            (a, b) => a.or(b),
        };
        let n = self.scale.len().max(next.scale.len());
        let pair = |i| (self.scale(i) * next.scale(i), self.shift(i) * next.scale(i) + next.shift(i));
        let (scale, shift) = (0..n).map(pair).unzip();
        Some(Self { axis, scale, shift })
    }
}

pub(super) fn run(e: &mut Editor) {
    e.each(|e, slot| {
        let Some(n) = e.node(slot) else { return };
        let Some((y, second)) = Affine::of(e, n) else { return };
        let Some((x, first)) = e.producer_node(y).and_then(|p| Affine::of(e, p)) else { return };
        let name = n.name.clone();
        if e.sole_use(y) && first.then(&second).is_some_and(|f| emit(e, slot, x, &f)) {
            e.note(name);
        }
    });
}

/// Makes a node this function of `x`; `false` when that takes more than one op.
fn emit(e: &mut Editor, slot: usize, x: ValueId, f: &Affine) -> bool {
    let rank = e.rank(x);
    let Some(axis) = f.axis else {
        let kind = Activation::Linear { a: f.scale[0] as f32, b: f.shift[0] as f32 };
        let finite = f.scale.iter().chain(&f.shift).all(|&v| (v as f32).is_finite());
        return finite && e.rewrite(slot, Activate { kind }, &[Some(x)]);
    };
    let n = f.scale.len();
    let mut shape = vec![1; rank - axis];
    shape[0] = n;
    let single = match (f.is_unscaled(), f.is_unshifted()) {
        (true, _) => Some((BinaryKind::Add, &f.shift)),
        (_, true) => Some((BinaryKind::Mul, &f.scale)),
        _ => None,
    };
    if let Some((kind, c)) = single {
        let Some(c) = look::tensor(&shape, c) else { return false };
        let c = e.add_constant("affine", c);
        return e.rewrite(slot, Binary { kind, ..Binary::default() }, &[Some(x), Some(c)]);
    }
    let parts = (look::tensor(&[n], &f.scale), look::tensor(&[n], &f.shift));
    let (true, (Some(scale), Some(shift))) = (axis == 1, parts) else { return false };
    let fill = |v: f32| Tensor::new(&[n], vec![v; n]).ok();
    let (Some(mean), Some(var)) = (fill(0.0), fill(1.0)) else { return false };
    let all = [("scale", scale), ("shift", shift), ("mean", mean), ("variance", var)];
    let inputs: Vec<Option<ValueId>> =
        std::iter::once(Some(x)).chain(all.map(|(name, t)| Some(e.add_constant(name, t)))).collect();
    e.rewrite(slot, BatchNorm { epsilon: 0.0, ..BatchNorm::default() }, &inputs)
}
