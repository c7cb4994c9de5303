//! A node while it is lowered: its operands and attributes, and how its ops get into the graph.

use std::rc::Rc;

use pocketnn::ops::activation::{Activate, Activation};
use pocketnn::ops::elementwise::{Binary, BinaryKind, Cast, Unary, UnaryKind};
use pocketnn::ops::movement;
use pocketnn::ops::reduce::{Reduce, ReduceKind};
use pocketnn::{DType, Dim, Op, Tensor, ValueId};

use super::attrs::{Attrs, unknown_value};
use super::elem::Elem;
use super::graph::{Slot, Walker};
use super::list::List;
use super::phases::Phases;
use super::proto::NodeDef;
use crate::error::{ErrorKind, ImportError, Result};

/// A tensor of the graph and its declared element type; [`Elem`] says what carries it.
#[derive(Clone, Copy, Debug)]
pub(super) struct V {
    pub id: ValueId,
    pub elem: Elem,
}

/// A value of the source model.
#[derive(Clone, Debug)]
pub(super) enum Value<'m> {
    Tensor(V),
    /// A list of tensors whose length is known while importing.
    List(Rc<List>),
    /// A variable, by the node that declares it.
    Variable(&'m NodeDef<'m>),
    /// Strings, which only tell names of files and the like.
    Text,
    /// An image cut into phases, which becomes a dilated convolution or is written out.
    Phases(Rc<Phases>),
    /// Something that only says what runs before.
    Nothing,
}

impl From<V> for Value<'_> {
    fn from(v: V) -> Self {
        Self::Tensor(v)
    }
}

/// The outputs of an operation.
pub(super) type Lowered<'m> = Vec<Slot<'m>>;

/// One output.
pub(super) fn one<'m>(v: impl Into<Value<'m>>) -> Result<Lowered<'m>> {
    Ok(vec![Slot::Value(v.into())])
}

/// Several outputs.
pub(super) fn many<'m>(list: impl IntoIterator<Item = V>) -> Result<Lowered<'m>> {
    Ok(list.into_iter().map(|v| Slot::Value(v.into())).collect())
}

/// The operation that is being lowered.
#[allow(clippy::struct_field_names, reason = "the node of the source, beside what it means here")]
pub(super) struct Node<'n, 'm> {
    pub walker: &'n mut Walker<'m>,
    pub node: &'m NodeDef<'m>,
    pub attrs: Attrs<'m>,
    pub inputs: Vec<Value<'m>>,
    /// What names of inner values begin with.
    pub base: &'m str,
}

/// A length as an integer of the graph.
pub(super) fn int(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

impl<'m> Node<'_, 'm> {
    /// Number of inputs.
    pub fn len(&self) -> usize {
        self.inputs.len()
    }

    /// Input `i` of any kind.
    pub fn value(&self, i: usize) -> Result<&Value<'m>> {
        self.inputs.get(i).ok_or_else(|| {
            ImportError::invalid(format!("input {i} is missing")).found(format!("{} inputs", self.len()))
        })
    }

    /// Tensor input `i`.
    pub fn input(&mut self, i: usize) -> Result<V> {
        let value = self.value(i)?.clone();
        match value {
            Value::Tensor(v) => Ok(v),
            other => {
                let v = super::phases::settle(self.walker, other)?.map_err(|e| e.found(format!("input {i}")))?;
                if let Some(slot) = self.inputs.get_mut(i) {
                    *slot = v.into();
                }
                Ok(v)
            }
        }
    }

    /// All inputs, which must be tensors.
    pub fn all_inputs(&mut self) -> Result<Vec<V>> {
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

    /// Refuses another rank.
    pub fn expect_rank(&self, v: V, rank: usize) -> Result<()> {
        if self.rank(v) == rank {
            return Ok(());
        }
        Err(ImportError::invalid("an operand of another rank")
            .expected(rank)
            .found(pocketnn::dim::show_shape(self.shape(v))))
    }

    /// Extent of an axis, when it is known.
    pub fn extent(&self, v: V, axis: usize) -> Option<usize> {
        self.shape(v).get(axis).and_then(Dim::known)
    }

    /// Extent of an axis that has to be known.
    pub fn known(&self, v: V, axis: usize) -> Result<usize> {
        self.extent(v, axis).ok_or_else(|| {
            ImportError::unsupported(format!("axis {axis} must have a known extent"))
                .found(pocketnn::dim::show_shape(self.shape(v)))
                .help("give the inputs fixed sizes with --dim")
        })
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

    /// True for weights: known beforehand, although perhaps stored in half precision.
    pub fn is_weight(&self, v: V) -> bool {
        self.constant(v).is_some() || self.walker.half_source(v.id).is_some()
    }

    /// Elements of a constant integer tensor.
    pub fn const_ints(&self, v: V) -> Option<Vec<i64>> {
        self.constant(v)?.to_i64().ok()
    }

    /// Elements of a constant integer input that has to be one.
    pub fn need_ints(&mut self, i: usize, what: &str) -> Result<Vec<i64>> {
        let v = self.input(i)?;
        self.const_ints(v).ok_or_else(|| {
            ImportError::unsupported(format!("{what} computed while running is not supported")).expected("a constant")
        })
    }

    /// The element of a constant integer input that has to be one.
    pub fn need_int(&mut self, i: usize, what: &str) -> Result<i64> {
        match self.need_ints(i, what)?.as_slice() {
            [x] => Ok(*x),
            other => Err(ImportError::invalid(format!("{what} must be one number")).found(format!("{other:?}"))),
        }
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

    /// A constant scalar of the type of another value.
    pub fn scalar_like(&mut self, v: V, x: f64) -> Result<V> {
        self.scalar(v.elem, x)
    }

    /// A constant scalar.
    pub fn scalar(&mut self, elem: Elem, x: f64) -> Result<V> {
        let t = pocketnn::ops::elementwise::cast(&Tensor::scalar(x), elem.carried()?).map_err(|e| runtime(&e))?;
        Ok(V { id: self.tensor(t), elem })
    }

    /// A constant f32 tensor.
    pub fn floats(&mut self, shape: &[usize], data: Vec<f32>) -> Result<ValueId> {
        let t = Tensor::new(shape, data).map_err(|e| runtime(&e))?;
        Ok(self.tensor(t))
    }

    /// Adds an op of any number of outputs; absent inputs are `None`.
    pub fn emit(&mut self, op: impl Into<Op>, inputs: &[Option<ValueId>], outputs: usize) -> Result<Vec<ValueId>> {
        self.walker.emit(self.base, op, inputs, outputs)
    }

    /// Adds an op of one output whose declared type is `elem`.
    pub fn op(&mut self, op: impl Into<Op>, inputs: &[ValueId], elem: Elem) -> Result<V> {
        self.walker.op(self.base, op, inputs, elem)
    }

    /// As [`Self::op`] with absent operands.
    pub fn op_with(&mut self, op: impl Into<Op>, inputs: &[Option<ValueId>], elem: Elem) -> Result<V> {
        let id = first(&self.emit(op, inputs, 1)?)?;
        self.typed(id, elem)
    }

    /// A value of declared type `elem`; converted where the op computed in another type.
    pub fn typed(&mut self, id: ValueId, elem: Elem) -> Result<V> {
        Ok(V { id: self.convert(id, elem.carried()?)?, elem })
    }

    /// Converts to another carrier.
    pub fn convert(&mut self, id: ValueId, to: DType) -> Result<ValueId> {
        if self.walker.builder.ty(id).dtype == to {
            return Ok(id);
        }
        first(&self.emit(Cast { to }, &[Some(id)], 1)?)
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

    /// A function of an element and a number.
    pub fn with_scalar(&mut self, kind: BinaryKind, a: V, b: f64) -> Result<V> {
        let b = self.scalar_like(a, b)?;
        self.binary(kind, a, b)
    }

    /// A function of two elements that gives truth values.
    pub fn compare(&mut self, kind: BinaryKind, a: V, b: V) -> Result<V> {
        self.op(Binary { kind, ..Binary::default() }, &[a.id, b.id], Elem::Bool)
    }

    /// An activation.
    pub fn activate(&mut self, kind: Activation, x: V) -> Result<V> {
        self.floats_only(x)?;
        self.op(Activate { kind }, &[x.id], x.elem)
    }

    /// Reshapes; -1 is what is left, 0 copies.
    pub fn reshape(&mut self, x: V, shape: &[i64]) -> Result<V> {
        let shape = self.integers(shape);
        self.op(movement::Reshape::default(), &[x.id, shape], x.elem)
    }

    /// Inserts axes of extent 1, at positions of the output.
    pub fn unsqueeze(&mut self, x: V, axes: &[i64]) -> Result<V> {
        let axes = self.integers(axes);
        self.op(movement::Unsqueeze::default(), &[x.id, axes], x.elem)
    }

    /// Removes axes of extent 1.
    pub fn squeeze(&mut self, x: V, axes: &[i64]) -> Result<V> {
        let axes = self.integers(axes);
        self.op(movement::Squeeze::default(), &[x.id, axes], x.elem)
    }

    /// Joins along an axis.
    pub fn concat(&mut self, parts: &[V], axis: i64) -> Result<V> {
        let ids: Vec<ValueId> = parts.iter().map(|v| v.id).collect();
        match parts {
            [] => Err(ImportError::invalid("nothing to join")),
            [only] => Ok(*only),
            [first, ..] => self.op(movement::Concat { axis }, &ids, first.elem),
        }
    }

    /// A range of one axis.
    pub fn slice(&mut self, x: V, axis: usize, start: i64, end: i64) -> Result<V> {
        let operands = [&[start][..], &[end], &[int(axis)]].map(|v| self.integers(v));
        let [starts, ends, axes] = operands;
        self.op(movement::Slice::default(), &[x.id, starts, ends, axes], x.elem)
    }

    /// Reduces axes.
    pub fn reduce(&mut self, kind: ReduceKind, x: V, axes: &[i64], keep_dims: bool) -> Result<V> {
        let axes = self.integers(axes);
        self.op(Reduce { kind, keep_dims, noop_with_empty_axes: true }, &[x.id, axes], x.elem)
    }

    /// Permutes axes; a half-precision constant is permuted as stored.
    pub fn transpose(&mut self, x: V, perm: &[usize]) -> Result<V> {
        if perm.iter().enumerate().all(|(i, &p)| i == p) {
            return Ok(x);
        }
        let op = movement::Transpose { perm: perm.to_vec() };
        if let Some(stored) = self.walker.half_source(x.id) {
            let turned = first(&self.emit(op, &[Some(stored)], 1)?)?;
            return self.typed(turned, x.elem);
        }
        self.op(op, &[x.id], x.elem)
    }

    /// The last two axes exchanged.
    pub fn turned(&mut self, x: V) -> Result<V> {
        let mut perm: Vec<usize> = (0..self.rank(x)).collect();
        let n = perm.len();
        if n < 2 {
            return Err(ImportError::invalid("a matrix must have two axes").found(format!("rank {n}")));
        }
        perm.swap(n.saturating_sub(1), n.saturating_sub(2));
        self.transpose(x, &perm)
    }

    /// True where the attribute of the data format says channels first.
    pub fn channels_first(&self) -> Result<bool> {
        match self.attrs.string("data_format", "NHWC")? {
            "NHWC" | "NDHWC" | "NWC" => Ok(false),
            "NCHW" | "NCDHW" | "NCW" => Ok(true),
            other => Err(unknown_value("data_format", "`NHWC`, `NCHW`, `NDHWC` or `NCDHW`", other)),
        }
    }

    /// Channels to axis 1.
    pub fn to_first(&mut self, x: V, first: bool) -> Result<V> {
        let rank = self.rank(x);
        if first || rank < 3 {
            return Ok(x);
        }
        let last = rank.saturating_sub(1);
        let perm: Vec<usize> = [0, last].into_iter().chain(1..last).collect();
        self.transpose(x, &perm)
    }

    /// Channels back to the end.
    pub fn to_last(&mut self, x: V, first: bool) -> Result<V> {
        let rank = self.rank(x);
        if first || rank < 3 {
            return Ok(x);
        }
        let perm: Vec<usize> = std::iter::once(0).chain(2..rank).chain([1]).collect();
        self.transpose(x, &perm)
    }

    /// Refuses an element type that the operation is not defined for here.
    pub fn floats_only(&self, v: V) -> Result<()> {
        if v.elem.is_float() {
            return Ok(());
        }
        Err(ImportError::unsupported("this element type is not supported here")
            .expected("a float type")
            .found(v.elem.name()))
    }
}

impl Walker<'_> {
    /// See [`Node::emit`].
    pub fn emit(
        &mut self,
        base: &str,
        op: impl Into<Op>,
        inputs: &[Option<ValueId>],
        outputs: usize,
    ) -> Result<Vec<ValueId>> {
        let op = op.into();
        self.count_op()?;
        let names: Vec<String> = (0..outputs)
            .map(|i| if i == 0 { format!("{base}/{}", op.name()) } else { format!("{base}/{}:{i}", op.name()) })
            .collect();
        self.builder.node_named(op, inputs, &names, base).map_err(|e| runtime(&e))
    }

    /// See [`Node::op`].
    pub fn op(&mut self, base: &str, op: impl Into<Op>, inputs: &[ValueId], elem: Elem) -> Result<V> {
        let inputs: Vec<Option<ValueId>> = inputs.iter().map(|&v| Some(v)).collect();
        let id = first(&self.emit(base, op, &inputs, 1)?)?;
        let to = elem.carried()?;
        if self.builder.ty(id).dtype == to {
            return Ok(V { id, elem });
        }
        Ok(V { id: first(&self.emit(base, Cast { to }, &[Some(id)], 1)?)?, elem })
    }
}

/// The first output of an op.
pub(super) fn first(ids: &[ValueId]) -> Result<ValueId> {
    ids.first().copied().ok_or_else(|| ImportError::invalid("an op without output"))
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
