//! What a lowering sees: one operator with its operands and attributes, and short ways to add ops to the graph.

use pocketnn::ops::elementwise::{Binary, BinaryKind, Cast, Unary, UnaryKind};
use pocketnn::ops::movement;
use pocketnn::{DType, Dim, Op, Tensor, ValueId};

use super::attrs::Attrs;
use super::elem::Elem;
use super::graph::{Env, Walker};
use super::list::ListValue;
use super::proto;
use crate::error::{ErrorKind, ImportError, Result};

/// A tensor of the graph and its declared element type; [`Elem`] says what carries it.
#[derive(Clone, Copy, Debug)]
pub(super) struct V {
    pub id: ValueId,
    pub elem: Elem,
}

/// A value of the source model.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Tensor(V),
    /// A sequence whose length is known while importing.
    Sequence(Vec<Value>),
    /// An optional of which it is known while importing whether it holds something.
    Optional(Option<Box<Value>>),
    /// A sequence or optional of the graph.
    List(ListValue),
}

impl From<V> for Value {
    fn from(v: V) -> Self {
        Self::Tensor(v)
    }
}

/// The outputs of an operator.
pub(super) type Lowered = Vec<Value>;

/// One output.
pub(super) fn one(v: V) -> Result<Lowered> {
    Ok(vec![v.into()])
}

/// The operator that is being lowered.
#[allow(clippy::struct_field_names, reason = "the node of the source, beside what it means here")]
pub(super) struct Node<'n, 'm> {
    pub walker: &'n mut Walker<'m>,
    pub node: &'n proto::Node,
    pub env: &'n Env<'n>,
    pub attrs: Attrs<'n>,
    pub inputs: Vec<Option<Value>>,
    /// The opset in which the definition in force was made.
    pub since: i64,
    /// What names of inner values begin with.
    pub base: String,
}

impl Node<'_, '_> {
    /// Number of inputs, absent ones in between included.
    pub fn len(&self) -> usize {
        self.inputs.len()
    }

    /// True when output `i` is used by somebody.
    pub fn wants(&self, i: usize) -> bool {
        self.node.outputs.get(i).is_some_and(|o| !o.is_empty())
    }

    /// Refuses a node that asks for output `i` or later ones.
    pub fn no_output_from(&self, i: usize, why: &str) -> Result<()> {
        if (i..self.node.outputs.len()).any(|i| self.wants(i)) {
            return Err(ImportError::unsupported(format!("output {i} is not supported: {why}")));
        }
        Ok(())
    }

    /// Input `i` of any kind, if it is there.
    pub fn value(&self, i: usize) -> Option<&Value> {
        self.inputs.get(i).and_then(Option::as_ref)
    }

    /// Tensor input `i`, if it is there.
    pub fn maybe(&self, i: usize) -> Result<Option<V>> {
        match self.value(i) {
            None => Ok(None),
            Some(Value::Tensor(v)) => Ok(Some(*v)),
            Some(_) => {
                Err(ImportError::unsupported(format!("input {i} is a sequence or an optional")).expected("a tensor"))
            }
        }
    }

    /// Tensor input `i`.
    pub fn input(&self, i: usize) -> Result<V> {
        self.maybe(i)?.ok_or_else(|| {
            ImportError::invalid(format!("input {i} is missing")).found(format!("{} inputs", self.len()))
        })
    }

    /// All inputs, which must be tensors.
    pub fn all_inputs(&self) -> Result<Vec<V>> {
        (0..self.len()).map(|i| self.input(i)).collect()
    }

    /// Shape of a value.
    pub fn shape(&self, v: V) -> &[Dim] {
        self.walker.builder.shape(v.id)
    }

    /// Rank of a value.
    pub fn rank(&self, v: V) -> usize {
        self.shape(v).len()
    }

    /// Extent of an axis, when it is known.
    pub fn extent(&self, v: V, axis: usize) -> Option<usize> {
        self.shape(v).get(axis).and_then(Dim::known)
    }

    /// The shape, when it is wholly known.
    pub fn known_shape(&self, v: V) -> Option<Vec<usize>> {
        self.walker.builder.ty(v.id).known_shape()
    }

    /// A non-negative axis.
    pub fn axis(&self, axis: i64, rank: usize) -> Result<usize> {
        pocketnn::ops::infer::normalize_axis(axis, rank).map_err(|e| ImportError::invalid(e.message()))
    }

    /// Elements of a constant.
    pub fn constant(&self, v: V) -> Option<&Tensor> {
        self.walker.builder.constant_of(v.id)
    }

    /// Elements of a constant integer tensor.
    pub fn const_ints(&self, v: V) -> Option<Vec<i64>> {
        self.constant(v)?.to_i64().ok()
    }

    /// Elements of a constant tensor as f32.
    pub fn const_floats(&self, v: V) -> Option<Vec<f32>> {
        self.constant(v).map(Tensor::to_f32)
    }

    /// A constant vector of integers.
    pub fn integers(&mut self, values: &[i64]) -> ValueId {
        self.tensor(Tensor::vector(values))
    }

    /// A constant.
    pub fn tensor(&mut self, t: Tensor) -> ValueId {
        let name = format!("{}/const", self.base);
        self.walker.builder.constant(&name, t)
    }

    /// A constant f32 scalar.
    pub fn float(&mut self, x: f32) -> V {
        V { id: self.tensor(Tensor::scalar(x)), elem: Elem::F32 }
    }

    /// A constant scalar of the type of another value.
    pub fn scalar_like(&mut self, v: V, x: f64) -> Result<V> {
        let t = cast_tensor(&Tensor::scalar(x), v.elem.carried()?)?;
        Ok(V { id: self.tensor(t), elem: v.elem })
    }

    /// Adds an op of any number of outputs; absent inputs are `None`.
    pub fn emit(&mut self, op: impl Into<Op>, inputs: &[Option<ValueId>], outputs: usize) -> Result<Vec<ValueId>> {
        let op = op.into();
        self.walker.count_op()?;
        let names: Vec<String> = (0..outputs)
            .map(|i| {
                if i == 0 { format!("{}/{}", self.base, op.name()) } else { format!("{}/{}:{i}", self.base, op.name()) }
            })
            .collect();
        self.walker.builder.node_named(op, inputs, &names, &self.base).map_err(|e| runtime(&e))
    }

    /// Adds an op of one output whose declared type is `elem`.
    pub fn op(&mut self, op: impl Into<Op>, inputs: &[ValueId], elem: Elem) -> Result<V> {
        let inputs: Vec<Option<ValueId>> = inputs.iter().map(|&v| Some(v)).collect();
        self.op_with(op, &inputs, elem)
    }

    /// As [`Self::op`] with absent operands.
    pub fn op_with(&mut self, op: impl Into<Op>, inputs: &[Option<ValueId>], elem: Elem) -> Result<V> {
        let id = self.emit(op, inputs, 1)?.into_iter().next();
        let id = id.ok_or_else(|| ImportError::invalid("an op without output"))?;
        self.typed(id, elem)
    }

    /// A value of declared type `elem`; converted where the op computed in another type.
    pub fn typed(&mut self, id: ValueId, elem: Elem) -> Result<V> {
        let to = elem.carried()?;
        if self.walker.builder.ty(id).dtype == to {
            return Ok(V { id, elem });
        }
        Ok(V { id: self.convert(id, to)?, elem })
    }

    /// Converts to another carrier.
    pub fn convert(&mut self, id: ValueId, to: DType) -> Result<ValueId> {
        if self.walker.builder.ty(id).dtype == to {
            return Ok(id);
        }
        let out = self.emit(Cast { to }, &[Some(id)], 1)?;
        out.first().copied().ok_or_else(|| ImportError::invalid("an op without output"))
    }

    /// An integer operand (axes, shapes, indices) as i64.
    pub fn as_i64(&mut self, v: V) -> Result<ValueId> {
        self.convert(v.id, DType::I64)
    }

    /// A function of one element.
    pub fn unary(&mut self, kind: UnaryKind, x: V) -> Result<V> {
        self.op(Unary { kind }, &[x.id], x.elem)
    }

    /// A function of two elements with the type of the first.
    pub fn binary(&mut self, kind: BinaryKind, a: V, b: V) -> Result<V> {
        self.op(Binary { kind, ..Binary::default() }, &[a.id, b.id], a.elem)
    }

    /// A function of two elements that gives truth values.
    pub fn compare(&mut self, kind: BinaryKind, a: V, b: V) -> Result<V> {
        self.op(Binary { kind, ..Binary::default() }, &[a.id, b.id], Elem::Bool)
    }

    /// Reshapes; -1 is what is left, 0 copies.
    pub fn reshape(&mut self, x: V, shape: &[i64]) -> Result<V> {
        let shape = self.integers(shape);
        self.op(movement::Reshape::default(), &[x.id, shape], x.elem)
    }

    /// Permutes axes; a big half-precision constant is permuted as stored.
    pub fn transpose(&mut self, x: V, perm: &[usize]) -> Result<V> {
        let op = movement::Transpose { perm: perm.to_vec() };
        if let Some(stored) = self.walker.half_source(x.id) {
            let turned = self.emit(op, &[Some(stored)], 1)?;
            let turned = turned.first().copied().ok_or_else(|| ImportError::invalid("an op without output"))?;
            return self.typed(turned, x.elem);
        }
        self.op(op, &[x.id], x.elem)
    }

    /// Refuses an element type that the operator is not defined for here.
    pub fn floats_only(&self, v: V) -> Result<()> {
        if v.elem.is_float() {
            return Ok(());
        }
        Err(ImportError::unsupported("this element type is not supported here")
            .expected("a float type")
            .found(v.elem.name()))
    }
}

/// Converts a constant.
pub(super) fn cast_tensor(t: &Tensor, to: DType) -> Result<Tensor> {
    if t.dtype() == to {
        return Ok(t.clone());
    }
    pocketnn::ops::elementwise::cast(t, to).map_err(|e| runtime(&e))
}

/// An error of the runtime as one of the importer.
pub(super) fn runtime(e: &pocketnn::Error) -> ImportError {
    let kind = match e.kind() {
        pocketnn::ErrorKind::Unsupported => ErrorKind::Unsupported,
        pocketnn::ErrorKind::Limit => ErrorKind::Limits,
        pocketnn::ErrorKind::Io => ErrorKind::Io,
        _ => ErrorKind::Invalid,
    };
    ImportError::new(kind, e.to_string())
}
