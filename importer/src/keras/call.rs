//! What a layer's lowering function sees: its arguments, configuration and weights, and short names for graph building.

use pocketnn::ops::activation::Activation;
use pocketnn::ops::elementwise::{BinaryKind, Cast, UnaryKind, Where};
use pocketnn::ops::infer::normalize_axis;
use pocketnn::ops::movement::{Concat, Slice, Squeeze, Unsqueeze};
use pocketnn::ops::reduce::{Reduce, ReduceKind};
use pocketnn::{DType, Dim, Op, Tensor, ValueId};
use serde_json::Value;

use super::config::Config;
use super::hdf5::Array;
use super::lower::{Lowering, to_float};
use super::model::Layer;
use super::weights::Weights;
use crate::error::{ImportError, Result};

/// A value with Keras's mask for it, if one travels along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Val {
    /// The value.
    pub id: ValueId,
    /// True where a step counts: `Bool [N, T]`.
    pub mask: Option<ValueId>,
}

impl Val {
    /// Without a mask.
    pub fn new(id: ValueId) -> Self {
        Self { id, mask: None }
    }
}

/// An argument of a call.
#[derive(Clone, Debug)]
pub enum Item {
    /// A tensor.
    Tensor(Val),
    /// A list with tensors.
    List(Vec<Item>),
    /// Anything else.
    Value(Value),
}

impl Item {
    /// All tensors in order.
    pub fn tensors(&self, into: &mut Vec<Val>) {
        match self {
            Self::Tensor(v) => into.push(*v),
            Self::List(list) => list.iter().for_each(|i| i.tensors(into)),
            Self::Value(_) => {}
        }
    }

    fn is_null(&self) -> bool {
        matches!(self, Self::Value(Value::Null))
    }
}

/// One call of one layer.
pub struct Cx<'a, 'f> {
    /// The import.
    pub lw: &'a mut Lowering<'f>,
    /// The layer.
    pub layer: &'a Layer,
    /// Its configuration; every field must be read.
    pub config: Config,
    /// Its weights.
    pub weights: &'a Weights,
    /// Unique name with the names of enclosing models.
    pub name: String,
    /// Positional arguments.
    pub args: Vec<Item>,
    /// Named arguments.
    pub kwargs: Vec<(String, Item)>,
}

impl Cx<'_, '_> {
    /// All tensors of the positional arguments.
    pub fn tensors(&self) -> Vec<Val> {
        let mut all = Vec::new();
        self.args.iter().for_each(|a| a.tensors(&mut all));
        all
    }

    /// The only (or first) input.
    pub fn input(&self) -> Result<Val> {
        self.tensors().first().copied().ok_or_else(|| ImportError::invalid("the layer has no input"))
    }

    /// The first input's value as f32.
    pub fn x(&mut self) -> Result<ValueId> {
        let x = self.input()?.id;
        to_float(&mut self.lw.b, x, &self.name)
    }

    /// Mask of the first input that has one.
    pub fn input_mask(&self) -> Option<ValueId> {
        self.tensors().iter().find_map(|v| v.mask)
    }

    /// Argument by name or position; null is absent.
    pub fn arg(&self, position: usize, name: &str) -> Option<Item> {
        let named = self.kwargs.iter().find(|(k, _)| k == name).map(|(_, v)| v);
        named.or_else(|| self.args.get(position)).filter(|v| !v.is_null()).cloned()
    }

    /// A setting of an operation: in the configuration, or an argument.
    pub fn setting(&self, position: usize, name: &str) -> Option<Value> {
        if let Some(v) = self.config.get(name) {
            return Some(super::config::plain(v));
        }
        match self.arg(position, name)? {
            Item::Value(v) => Some(super::config::plain(&v)),
            _ => None,
        }
    }

    /// An array of the layer; `dims` are its expected extents (`None`: any).
    pub fn weight(&self, slot: &str, rank: usize) -> Result<Array> {
        let array = self.weights.read(self.lw.file, slot).map_err(|e| e.at_attribute(slot))?;
        if array.shape.len() != rank {
            return Err(ImportError::invalid("a weight has another rank")
                .expected(rank)
                .found(format!("{:?}", array.shape))
                .at_attribute(slot));
        }
        Ok(array)
    }

    /// A weight of exactly this shape.
    pub fn shaped(&self, slot: &str, shape: &[usize]) -> Result<Array> {
        let array = self.weight(slot, shape.len())?;
        if array.shape == shape {
            return Ok(array);
        }
        Err(ImportError::invalid("a weight has another shape")
            .expected(format!("{shape:?}"))
            .found(format!("{:?}", array.shape))
            .at_attribute(slot))
    }

    /// A constant named after the layer.
    pub fn constant(&mut self, name: &str, shape: &[usize], data: Vec<f32>) -> Result<ValueId> {
        let tensor = Tensor::new(shape, data)?;
        Ok(self.lw.b.constant(&format!("{}/{name}", self.name), tensor))
    }

    /// An array as a constant.
    pub fn array(&mut self, name: &str, array: Array) -> Result<ValueId> {
        self.constant(name, &array.shape, array.data)
    }

    /// Adds an op of one output.
    pub fn op(&mut self, op: impl Into<Op>, inputs: &[ValueId]) -> Result<ValueId> {
        let op = op.into();
        let name = self.part(op.name());
        Ok(self.lw.b.op(op, inputs, &name)?)
    }

    /// Name of a node of this layer; the layer's own name is kept for its output.
    fn part(&self, what: &str) -> String {
        format!("{}/{}", self.name, what.to_ascii_lowercase())
    }

    /// Adds an op with absent operands or several outputs.
    pub fn node(&mut self, op: impl Into<Op>, inputs: &[Option<ValueId>], outputs: usize) -> Result<Vec<ValueId>> {
        let op = op.into();
        let name = self.part(op.name());
        Ok(self.lw.b.node(op, inputs, outputs, &name)?)
    }

    /// First output of an op with absent operands.
    pub fn node1(&mut self, op: impl Into<Op>, inputs: &[Option<ValueId>]) -> Result<ValueId> {
        first(&self.node(op, inputs, 1)?)
    }

    /// Extents.
    pub fn shape(&self, x: ValueId) -> Vec<Dim> {
        self.lw.b.shape(x).to_vec()
    }

    /// Number of dimensions.
    pub fn rank(&self, x: ValueId) -> usize {
        self.lw.b.shape(x).len()
    }

    /// Element type.
    pub fn dtype(&self, x: ValueId) -> DType {
        self.lw.b.ty(x).dtype
    }

    /// An extent that must be a number.
    pub fn known(&self, x: ValueId, axis: usize) -> Result<usize> {
        self.lw.b.shape(x).get(axis).and_then(Dim::known).ok_or_else(|| {
            ImportError::unsupported("an extent that must be known is not")
                .found(format!("axis {axis} of {}", pocketnn::dim::show_shape(self.lw.b.shape(x))))
                .help("give the model an Input of fixed size")
        })
    }

    /// An extent that decides how many nodes or constants are made, and must stay below `limit`.
    pub fn bounded(&self, n: usize, limit: usize, what: &str) -> Result<usize> {
        if n <= limit {
            return Ok(n);
        }
        Err(ImportError::limits(format!("too many {what}")).expected(format!("at most {limit}")).found(n))
    }

    /// Checks the rank of the input.
    pub fn expect_rank(&self, x: ValueId, rank: usize) -> Result<()> {
        if self.rank(x) == rank {
            return Ok(());
        }
        Err(ImportError::invalid("the input has another rank")
            .expected(rank)
            .found(pocketnn::dim::show_shape(self.lw.b.shape(x))))
    }

    /// A non-negative axis of `x`.
    pub fn axis(&self, axis: i64, x: ValueId) -> Result<usize> {
        Ok(normalize_axis(axis, self.rank(x))?)
    }

    /// Function of two tensors.
    pub fn binary(&mut self, kind: BinaryKind, a: ValueId, b: ValueId) -> Result<ValueId> {
        Ok(self.lw.b.binary(kind, a, b, &self.part(kind.name()))?)
    }

    /// Function of a tensor and a number, in the tensor's type.
    pub fn with_scalar(&mut self, kind: BinaryKind, a: ValueId, b: f32) -> Result<ValueId> {
        let b = self.scalar_like(f64::from(b), a)?;
        self.binary(kind, a, b)
    }

    /// A number in the type of `like`.
    pub fn scalar_like(&mut self, x: f64, like: ValueId) -> Result<ValueId> {
        let dtype = self.dtype(like);
        let scalar = Tensor::scalar(x as f32);
        let scalar = if dtype == DType::F32 { scalar } else { pocketnn::ops::elementwise::cast(&scalar, dtype)? };
        Ok(self.lw.b.constant("scalar", scalar))
    }

    /// Function of one element.
    pub fn unary(&mut self, kind: UnaryKind, x: ValueId) -> Result<ValueId> {
        Ok(self.lw.b.unary(kind, x, &self.part(kind.name()))?)
    }

    /// Activation.
    pub fn activate(&mut self, kind: Activation, x: ValueId) -> Result<ValueId> {
        if kind == Activation::Identity {
            return Ok(x);
        }
        Ok(self.lw.b.activate(kind, x, &self.part(pocketnn::ops::activation::name(&kind)))?)
    }

    /// Permuted axes; nothing for the identity.
    pub fn transpose(&mut self, x: ValueId, perm: &[usize]) -> Result<ValueId> {
        if perm.iter().enumerate().all(|(i, &p)| i == p) {
            return Ok(x);
        }
        Ok(self.lw.b.transpose(x, perm, &self.part("transpose"))?)
    }

    /// The same elements in another shape: -1 is what is left, 0 copies.
    pub fn reshape(&mut self, x: ValueId, shape: &[i64]) -> Result<ValueId> {
        Ok(self.lw.b.reshape(x, shape, &self.part("reshape"))?)
    }

    /// Inserts axes of extent 1 at these positions of the result.
    pub fn unsqueeze(&mut self, x: ValueId, axes: &[i64]) -> Result<ValueId> {
        let axes = self.lw.b.integers(axes);
        self.op(Unsqueeze {}, &[x, axes])
    }

    /// Removes axes of extent 1.
    pub fn squeeze(&mut self, x: ValueId, axes: &[i64]) -> Result<ValueId> {
        let axes = self.lw.b.integers(axes);
        self.op(Squeeze {}, &[x, axes])
    }

    /// Joins along an axis.
    pub fn concat(&mut self, parts: &[ValueId], axis: i64) -> Result<ValueId> {
        match parts {
            [one] => Ok(*one),
            _ => self.op(Concat { axis }, parts),
        }
    }

    /// A range of one axis.
    pub fn slice(&mut self, x: ValueId, axis: usize, start: i64, end: i64, step: i64) -> Result<ValueId> {
        let axis = i64::try_from(axis).unwrap_or(0);
        let [starts, ends, axes, steps] = [start, end, axis, step].map(|n| self.lw.b.integers(&[n]));
        self.op(Slice {}, &[x, starts, ends, axes, steps])
    }

    /// Reduction over axes.
    pub fn reduce(&mut self, kind: ReduceKind, x: ValueId, axes: &[i64], keep_dims: bool) -> Result<ValueId> {
        let axes = self.lw.b.integers(axes);
        self.op(Reduce { kind, keep_dims, ..Reduce::default() }, &[x, axes])
    }

    /// Conversion; nothing where the type is right.
    pub fn cast(&mut self, x: ValueId, to: DType) -> Result<ValueId> {
        if self.dtype(x) == to { Ok(x) } else { self.op(Cast { to }, &[x]) }
    }

    /// f32 of any number or truth value.
    pub fn float(&mut self, x: ValueId) -> Result<ValueId> {
        self.cast(x, DType::F32)
    }

    /// `a` where the condition holds, else `b`.
    pub fn select(&mut self, condition: ValueId, a: ValueId, b: ValueId) -> Result<ValueId> {
        self.op(Where {}, &[condition, a, b])
    }

    /// True if the layer's images are channels first.
    pub fn channels_first(&self) -> Result<bool> {
        match self.config.text("data_format", "channels_last")?.as_str() {
            "channels_first" => Ok(true),
            "channels_last" | "default" => Ok(false),
            other => Err(super::config::wrong("data_format", "channels_first or channels_last", &Value::from(other))),
        }
    }

    /// The value with channels (the last axis) moved to axis 1, unless they are there.
    pub fn to_first(&mut self, x: ValueId, first: bool) -> Result<ValueId> {
        let rank = self.rank(x);
        if first || rank < 3 {
            return Ok(x);
        }
        let perm: Vec<usize> = [0, rank.saturating_sub(1)].into_iter().chain(1..rank.saturating_sub(1)).collect();
        self.transpose(x, &perm)
    }

    /// The inverse of [`Self::to_first`].
    pub fn to_last(&mut self, x: ValueId, first: bool) -> Result<ValueId> {
        let rank = self.rank(x);
        if first || rank < 3 {
            return Ok(x);
        }
        let perm: Vec<usize> = std::iter::once(0).chain(2..rank).chain([1]).collect();
        self.transpose(x, &perm)
    }

    /// The axis moved to the end.
    pub fn axis_to_end(&mut self, x: ValueId, axis: usize) -> Result<ValueId> {
        let rank = self.rank(x);
        let perm: Vec<usize> = (0..rank).filter(|&a| a != axis).chain([axis]).collect();
        self.transpose(x, &perm)
    }

    /// The last axis moved to `axis`.
    pub fn axis_from_end(&mut self, x: ValueId, axis: usize) -> Result<ValueId> {
        let rank = self.rank(x);
        let last = rank.saturating_sub(1);
        let mut perm: Vec<usize> = (0..last).collect();
        perm.insert(axis.min(last), last);
        self.transpose(x, &perm)
    }
}

/// The first of a node's outputs.
pub fn first(values: &[ValueId]) -> Result<ValueId> {
    values.first().copied().ok_or_else(|| ImportError::invalid("an op without outputs"))
}

/// A length as an integer of the graph.
pub fn int(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// One output without a mask.
pub fn one(id: ValueId) -> Result<Vec<Val>> {
    Ok(vec![Val::new(id)])
}

/// Row-major data with its axes permuted: output axis `i` is input axis `perm[i]`.
pub fn permute(array: &Array, perm: &[usize]) -> Result<Array> {
    let wrong =
        || ImportError::invalid("a weight has another rank").expected(perm.len()).found(format!("{:?}", array.shape));
    let mut strides = vec![1usize; array.shape.len()];
    for i in (1..array.shape.len()).rev() {
        let next = strides.get(i).zip(array.shape.get(i)).map(|(s, d)| s.saturating_mul(*d)).ok_or_else(wrong)?;
        if let Some(s) = strides.get_mut(i.saturating_sub(1)) {
            *s = next;
        }
    }
    if perm.len() != array.shape.len() {
        return Err(wrong());
    }
    let pick = |v: &[usize]| perm.iter().map(|&p| v.get(p).copied()).collect::<Option<Vec<usize>>>();
    let (shape, steps) = pick(&array.shape).zip(pick(&strides)).ok_or_else(wrong)?;
    let mut data = Vec::with_capacity(array.data.len());
    let mut index = vec![0usize; shape.len()];
    let mut offset = 0usize;
    for _ in 0..array.data.len() {
        data.push(array.data.get(offset).copied().ok_or_else(wrong)?);
        for ((i, &d), &s) in index.iter_mut().zip(&shape).zip(&steps).rev() {
            *i = i.saturating_add(1);
            offset = offset.saturating_add(s);
            if *i < d {
                break;
            }
            offset = offset.saturating_sub(s.saturating_mul(d));
            *i = 0;
        }
    }
    Ok(Array { shape, data })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permute_moves_axes() {
        let a = Array { shape: vec![2, 3], data: vec![1., 2., 3., 4., 5., 6.] };
        let b = permute(&a, &[1, 0]).unwrap();
        assert_eq!(b, Array { shape: vec![3, 2], data: vec![1., 4., 2., 5., 3., 6.] });
        let c = Array { shape: vec![1, 2, 3], data: a.data.clone() };
        assert_eq!(permute(&c, &[2, 0, 1]).unwrap().shape, [3, 1, 2]);
        assert_eq!(permute(&permute(&c, &[2, 0, 1]).unwrap(), &[1, 2, 0]).unwrap(), c);
        assert!(permute(&a, &[0]).is_err());
        assert!(permute(&a, &[0, 5]).is_err());
    }
}
