//! The same op on permuted operands: axes and constants follow the permutation.

use super::super::edit::Editor;
use super::super::look;
use super::{inverse, permuted_shape};
use crate::ops::infer::normalize_axis;
use crate::ops::norm::LayerNorm;
use crate::ops::reduce::{ArgReduce, Reduce};
use crate::ops::softmax::{Hardmax, Softmax};
use crate::ops::{gather, movement, resize};
use crate::{Node, Op, Tensor, ValueId, with_dtype};

/// An operand of a permuted op.
#[derive(Clone, Debug)]
pub(super) enum Part {
    /// As it was.
    Same(Option<ValueId>),
    /// The value with its axes permuted.
    Permuted(ValueId),
    /// The value of fewer axes: as many of extent 1 in front as it lacks, then permuted.
    Lifted(ValueId),
    /// A constant.
    Constant(Tensor),
}

/// An op that gives permuted results of permuted operands.
pub(super) struct Flipped {
    pub op: Op,
    pub parts: Vec<Part>,
}

/// The op whose results are those of node `slot` with axes permuted by `perm` (axis `i` of the new is axis `perm[i]` of the old).
/// `None` for ops whose axes have fixed meanings.
pub(super) fn flipped(e: &Editor, slot: usize, perm: &[usize]) -> Option<Flipped> {
    let n = e.node(slot)?;
    let rank = perm.len();
    if n.outputs.iter().any(|&o| e.rank(o) != rank) {
        return None;
    }
    let cx = Cx { e, n, perm, inv: inverse(perm) };
    match &n.op {
        Op::Unary(_) | Op::Activate(_) | Op::Cast(_) | Op::Identity(_) => cx.first(n.op.clone()),
        Op::Binary(_) | Op::Where(_) | Op::PRelu(_) => cx.broadcast(),
        Op::Concat(c) => {
            let op = movement::Concat { axis: cx.axis(c.axis)? };
            let parts = n.inputs.iter().map(|v| cx.data(*v)).collect::<Option<_>>()?;
            Some(Flipped { op: op.into(), parts })
        }
        Op::Split(s) => cx.first(movement::Split { axis: cx.axis(s.axis)? }),
        Op::Softmax(s) => cx.first(Softmax { axis: cx.axis(s.axis)?, ..s.clone() }),
        Op::Hardmax(s) => cx.first(Hardmax { axis: cx.axis(s.axis)? }),
        Op::ArgReduce(r) if r.keep_dims => cx.first(ArgReduce { axis: cx.axis(r.axis)?, ..r.clone() }),
        Op::TopK(t) => cx.first(gather::TopK { axis: cx.axis(t.axis)?, ..t.clone() }),
        Op::Reverse(r) => {
            let axes = r.axes.iter().map(|&a| cx.axis(a)).collect::<Option<_>>()?;
            cx.first(movement::Reverse { axes })
        }
        Op::CumSum(_) => cx.with_axes(n.op.clone(), 1),
        Op::Reduce(r) if r.keep_dims => cx.reduce(r),
        Op::Pad(p) => cx.pad(p),
        Op::Slice(_) => cx.slice(),
        Op::Tile(_) => cx.entries(n.op.clone(), 1),
        Op::Gather(g) => {
            let one = (*n.inputs.get(1)?).is_some_and(|i| e.rank(i) == 1);
            one.then(|| cx.first(gather::Gather { axis: cx.axis(g.axis)? }))?
        }
        Op::Resize(r) => cx.resize(r),
        Op::LayerNorm(l) => cx.layer_norm(l),
        _ => None,
    }
}

struct Cx<'a> {
    e: &'a Editor,
    n: &'a Node,
    perm: &'a [usize],
    inv: Vec<usize>,
}

impl Cx<'_> {
    /// Where an axis goes.
    fn axis(&self, axis: i64) -> Option<i64> {
        Some(self.inv[normalize_axis(axis, self.perm.len()).ok()?] as i64)
    }
    fn input(&self, i: usize) -> Option<ValueId> {
        self.n.inputs.get(i).copied().flatten()
    }
    /// An operand of the full rank.
    fn data(&self, v: Option<ValueId>) -> Option<Part> {
        v.filter(|&v| self.e.rank(v) == self.perm.len()).map(Part::Permuted)
    }
    /// The first operand permuted, the others as they are.
    fn first(&self, op: impl Into<Op>) -> Option<Flipped> {
        let mut parts: Vec<Part> = self.n.inputs.iter().map(|v| Part::Same(*v)).collect();
        *parts.first_mut()? = self.data(self.input(0))?;
        Some(Flipped { op: op.into(), parts })
    }
    /// Operands that broadcast to the result.
    fn broadcast(&self) -> Option<Flipped> {
        let rank = self.perm.len();
        let part = |v: &Option<ValueId>| -> Option<Part> {
            let v = (*v)?;
            if self.e.shape(v).iter().all(|d| d.known() == Some(1)) && self.e.rank(v) < rank {
                return Some(Part::Same(Some(v)));
            }
            let missing = rank.checked_sub(self.e.rank(v))?;
            Some(if missing == 0 { Part::Permuted(v) } else { Part::Lifted(v) })
        };
        let parts = self.n.inputs.iter().map(part).collect::<Option<_>>()?;
        Some(Flipped { op: self.n.op.clone(), parts })
    }
    fn integers(&self, i: usize) -> Option<Vec<i64>> {
        look::integers(self.e, self.input(i))
    }
    /// The first operand permuted, operand `i` a list of axes.
    fn with_axes(&self, op: impl Into<Op>, i: usize) -> Option<Flipped> {
        let mut f = self.first(op)?;
        let scalar = self.e.constant(self.input(i)?)?.rank() == 0;
        let axes: Vec<i64> = self.integers(i)?.into_iter().map(|a| self.axis(a)).collect::<Option<_>>()?;
        f.parts[i] = Part::Constant(if scalar { Tensor::scalar(*axes.first()?) } else { Tensor::vector(&axes) });
        Some(f)
    }
    /// The first operand permuted, operand `i` a list of one entry an axis.
    fn entries(&self, op: impl Into<Op>, i: usize) -> Option<Flipped> {
        let mut f = self.first(op)?;
        f.parts[i] = Part::Constant(Tensor::vector(&self.reordered(&self.integers(i)?)?));
        Some(f)
    }
    fn reordered<T: Copy>(&self, list: &[T]) -> Option<Vec<T>> {
        (list.len() == self.perm.len()).then(|| self.perm.iter().map(|&p| list[p]).collect())
    }
    fn reduce(&self, r: &Reduce) -> Option<Flipped> {
        match self.input(1) {
            None => self.first(r.clone()),
            Some(_) => self.with_axes(r.clone(), 1),
        }
    }
    fn pad(&self, p: &movement::Pad) -> Option<Flipped> {
        if self.input(3).is_some() {
            return self.with_axes(p.clone(), 3);
        }
        let pads = self.integers(1)?;
        let (begin, end) = pads.split_at_checked(self.perm.len())?;
        let mut f = self.first(p.clone())?;
        f.parts[1] = Part::Constant(Tensor::vector(&[self.reordered(begin)?, self.reordered(end)?].concat()));
        Some(f)
    }
    fn slice(&self) -> Option<Flipped> {
        if self.input(3).is_some() {
            return self.with_axes(movement::Slice {}, 3);
        }
        let count = self.e.shape(self.input(1)?).first()?.known()?;
        let axes: Vec<i64> = (0..count as i64).map(|a| self.axis(a)).collect::<Option<_>>()?;
        let mut f = self.first(movement::Slice {})?;
        f.parts.resize_with(f.parts.len().max(4), || Part::Same(None));
        f.parts[3] = Part::Constant(Tensor::vector(&axes));
        Some(f)
    }
    fn resize(&self, r: &resize::Resize) -> Option<Flipped> {
        if !r.axes.is_empty() {
            let axes = r.axes.iter().map(|&a| self.axis(a)).collect::<Option<_>>()?;
            return self.first(resize::Resize { axes, ..r.clone() });
        }
        let mut f = self.first(r.clone())?;
        if let Some(roi) = self.input(1) {
            let t = self.e.constant(roi)?.to_f32();
            if !t.is_empty() {
                let (from, to) = t.split_at_checked(self.perm.len())?;
                f.parts[1] = Part::Constant(Tensor::vector(&[self.reordered(from)?, self.reordered(to)?].concat()));
            }
        }
        if let Some(scales) = self.input(2) {
            let t = self.e.constant(scales)?;
            if !t.is_empty() {
                f.parts[2] = Part::Constant(Tensor::vector(&self.reordered(&t.to_f32())?));
            }
        }
        if let Some(sizes) = self.input(3) {
            let t = self.e.constant(sizes)?.to_i64().ok()?;
            if !t.is_empty() {
                f.parts[3] = Part::Constant(Tensor::vector(&self.reordered(&t)?));
            }
        }
        Some(f)
    }
    /// The normalised axes must be the last ones on both sides, in the same order.
    fn layer_norm(&self, l: &LayerNorm) -> Option<Flipped> {
        let rank = self.perm.len();
        let axis = normalize_axis(l.axis, rank).ok()?;
        let kept = (axis..rank).all(|a| self.perm[a] == a);
        (kept && self.n.outputs.len() == 1).then(|| self.first(l.clone()))?
    }
}

/// A tensor with its axes permuted.
pub(super) fn permuted_tensor(t: &Tensor, perm: &[usize]) -> Option<Tensor> {
    let shape = permuted_shape(t.shape(), perm);
    let mut strides = vec![1; perm.len()];
    for i in (0..perm.len().saturating_sub(1)).rev() {
        strides[i] = strides[i + 1] * t.shape()[i + 1];
    }
    let strides = permuted_shape(&strides, perm);
    with_dtype!(t.dtype(), T => {
        let x = t.as_slice::<T>().ok()?;
        let at = |mut i: usize| {
            let mut from = 0;
            for a in (0..shape.len()).rev() {
                from += i % shape[a] * strides[a];
                i /= shape[a];
            }
            x[from]
        };
        Tensor::new(&shape, (0..x.len()).map(at).collect()).ok()
    })
}
