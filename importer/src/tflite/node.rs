//! What a lowering sees: one operator with its operands and options, and short ways to add ops to the graph.

use std::cell::RefCell;

use pocketnn::ops::activation::{Activate, Activation};
use pocketnn::ops::elementwise::{Binary, BinaryKind, Cast, Unary, UnaryKind};
use pocketnn::ops::movement;
use pocketnn::{DType, Dim, Op, Tensor, ValueId};

use super::flat::{Scalar, Table};
use super::model::{Info, Operator, Quant};
use super::walk::{Env, Walker};
use crate::error::{ErrorKind, ImportError, Result};

/// A value of the source model.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Tensor(ValueId),
    /// A handle: the name of a variable.
    Resource(String),
}

/// The outputs of an operator.
pub(super) type Lowered = Vec<Value>;

/// One output.
pub(super) fn one(v: ValueId) -> Result<Lowered> {
    Ok(vec![Value::Tensor(v)])
}

/// Several outputs.
pub(super) fn all(ids: Vec<ValueId>) -> Result<Lowered> {
    Ok(ids.into_iter().map(Value::Tensor).collect())
}

/// The options of an operator: fields by number, each marked when it is read. One that is set and that nobody read is an error.
pub(super) struct Options<'a> {
    table: Option<Table<'a>>,
    read: RefCell<Vec<usize>>,
}

impl<'a> Options<'a> {
    /// The options of an operator; without a table all have their defaults.
    pub fn new(table: Option<Table<'a>>) -> Self {
        Self { table, read: RefCell::new(Vec::new()) }
    }
    fn mark(&self, field: usize) -> Option<Table<'a>> {
        self.read.borrow_mut().push(field);
        self.table
    }
    fn scalar<T: Scalar>(&self, field: usize, default: T) -> Result<T> {
        self.mark(field).map_or(Ok(default), |t| t.scalar(field, default))
    }
    /// A 32-bit integer.
    pub fn int(&self, field: usize, default: i32) -> Result<i32> {
        self.scalar(field, default)
    }
    /// A 64-bit integer; the default is 0.
    pub fn long(&self, field: usize) -> Result<i64> {
        self.scalar(field, 0)
    }
    /// A 32-bit integer that must be a length.
    pub fn size(&self, field: usize, default: i32) -> Result<usize> {
        let n = self.scalar(field, default)?;
        usize::try_from(n).map_err(|_| ImportError::invalid(format!("option {field}")).expected("0 or more").found(n))
    }
    /// A step or distance: at least 1.
    pub fn step(&self, field: usize) -> Result<usize> {
        let n = self.size(field, 1)?;
        if n == 0 {
            Err(ImportError::invalid(format!("option {field}")).expected("at least 1").found(0))
        } else {
            Ok(n)
        }
    }
    /// A number of an enumeration.
    pub fn choice(&self, field: usize) -> Result<i8> {
        self.scalar(field, 0)
    }
    /// A truth value.
    pub fn flag(&self, field: usize, default: bool) -> Result<bool> {
        Ok(self.scalar(field, u8::from(default))? != 0)
    }
    /// A float; the default is 0.
    pub fn float(&self, field: usize) -> Result<f32> {
        self.scalar(field, 0.0)
    }
    /// A list of integers.
    pub fn ints<T: Scalar>(&self, field: usize) -> Result<Option<Vec<T>>> {
        self.mark(field).map_or(Ok(None), |t| t.numbers(field))
    }
    /// A text.
    pub fn text(&self, field: usize) -> Result<String> {
        Ok(self.mark(field).map_or(Ok(None), |t| t.text(field))?.unwrap_or_default())
    }
    /// Fields that change nothing here.
    pub fn ignore(&self, fields: &[usize]) {
        self.read.borrow_mut().extend(fields);
    }
    /// Refuses what nobody read.
    pub fn finish(&self) -> Result<()> {
        let Some(table) = self.table else { return Ok(()) };
        match table.unknown(&self.read.borrow())? {
            None => Ok(()),
            Some(field) => Err(ImportError::unsupported("an option that is not known is set")
                .found(format!("field {field}"))
                .help("the model may be newer than this importer")),
        }
    }
}

/// The operator that is being lowered.
pub(super) struct Node<'n, 'm> {
    pub walker: &'n mut Walker<'m>,
    pub source: &'m Operator<'m>,
    pub env: &'n Env<'m>,
    pub options: Options<'m>,
    pub inputs: Vec<Option<Value>>,
    /// What names of inner values begin with.
    pub base: String,
    /// Quantized operands were dequantized: the lowering sees floats.
    pub floating: bool,
}

impl<'m> Node<'_, 'm> {
    /// Number of inputs, absent ones included.
    pub fn len(&self) -> usize {
        self.inputs.len()
    }
    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        self.source.outputs.len()
    }
    /// Tensor input `i`, if it is there.
    pub fn maybe(&self, i: usize) -> Result<Option<ValueId>> {
        match self.inputs.get(i).and_then(Option::as_ref) {
            None => Ok(None),
            Some(Value::Tensor(v)) => Ok(Some(*v)),
            Some(Value::Resource(_)) => {
                Err(ImportError::invalid(format!("input {i} is a handle")).expected("a tensor"))
            }
        }
    }
    /// Tensor input `i`.
    pub fn input(&self, i: usize) -> Result<ValueId> {
        self.maybe(i)?.ok_or_else(|| {
            ImportError::invalid(format!("input {i} is missing")).found(format!("{} inputs", self.len()))
        })
    }
    /// All inputs, which must be tensors.
    pub fn all_inputs(&self) -> Result<Vec<ValueId>> {
        (0..self.len()).map(|i| self.input(i)).collect()
    }
    fn info(&self, list: &[i32], i: usize) -> Option<&'m Info> {
        let index = usize::try_from(*list.get(i)?).ok()?;
        self.env.graph.tensors.get(index)
    }
    /// What is declared about input `i`.
    pub fn info_in(&self, i: usize) -> Option<&'m Info> {
        self.info(&self.source.inputs, i)
    }
    /// What is declared about output `i`.
    pub fn info_out(&self, i: usize) -> Option<&'m Info> {
        self.info(&self.source.outputs, i)
    }
    /// Quantization of input `i`.
    pub fn quant_in(&self, i: usize) -> Option<&'m Quant> {
        self.info_in(i)?.quant.as_ref()
    }
    /// Quantization of output `i`.
    pub fn quant_out(&self, i: usize) -> Option<&'m Quant> {
        self.info_out(i)?.quant.as_ref()
    }
    /// True when output 0 holds quantized numbers.
    pub fn quantized(&self) -> bool {
        !self.floating && self.info_out(0).is_some_and(super::quantize::is_quantized)
    }

    /// Element type of a value.
    pub fn dtype(&self, v: ValueId) -> DType {
        self.walker.builder.ty(v).dtype
    }
    /// Shape of a value.
    pub fn shape(&self, v: ValueId) -> &[Dim] {
        self.walker.builder.shape(v)
    }
    /// Rank of a value.
    pub fn rank(&self, v: ValueId) -> usize {
        self.shape(v).len()
    }
    /// Extent of an axis, when it is known.
    pub fn extent(&self, v: ValueId, axis: usize) -> Option<usize> {
        self.shape(v).get(axis).and_then(Dim::known)
    }
    /// Extent of an axis that has to be known.
    pub fn need_extent(&self, v: ValueId, axis: usize, what: &str) -> Result<usize> {
        self.extent(v, axis).ok_or_else(|| {
            ImportError::unsupported(format!("{what} of unknown extent is not supported"))
                .found(pocketnn::dim::show_shape(self.shape(v)))
                .help("give the inputs fixed sizes with --dim")
        })
    }
    /// Checks a value's rank.
    pub fn expect_rank(&self, v: ValueId, rank: usize, what: &str) -> Result<()> {
        if self.rank(v) == rank {
            return Ok(());
        }
        Err(ImportError::invalid(format!("the rank of {what}")).expected(rank).found(self.rank(v)))
    }
    /// A non-negative axis.
    pub fn axis(&self, axis: i64, rank: usize) -> Result<usize> {
        pocketnn::ops::infer::normalize_axis(axis, rank).map_err(|e| ImportError::invalid(e.message()))
    }
    /// Elements of a constant.
    pub fn constant(&self, v: ValueId) -> Option<&Tensor> {
        self.walker.builder.constant_of(v)
    }
    /// Elements of a constant integer tensor.
    pub fn ints(&self, v: ValueId) -> Option<Vec<i64>> {
        self.constant(v)?.to_i64().ok()
    }
    /// Elements of a constant integer tensor that has to be one.
    pub fn need_ints(&self, v: ValueId, what: &str) -> Result<Vec<i64>> {
        self.ints(v).ok_or_else(|| {
            ImportError::unsupported(format!("{what} computed while running is not supported")).expected("a constant")
        })
    }
    /// Elements of a small integer tensor as numbers or symbols, where they can be followed.
    pub fn dims(&self, v: ValueId) -> Option<Vec<Dim>> {
        self.walker.builder.fact(v).dims.clone()
    }

    /// A constant.
    pub fn tensor(&mut self, t: Tensor) -> ValueId {
        let name = format!("{}/const", self.base);
        self.walker.builder.constant(&name, t)
    }
    /// A constant vector of integers.
    pub fn integers(&mut self, values: &[i64]) -> ValueId {
        self.tensor(Tensor::vector(values))
    }
    /// A constant scalar of a type.
    pub fn scalar(&mut self, x: f64, dtype: DType) -> Result<ValueId> {
        let t = cast(&Tensor::scalar(x), dtype)?;
        Ok(self.tensor(t))
    }
    /// A constant f32 scalar.
    pub fn float(&mut self, x: f32) -> ValueId {
        self.tensor(Tensor::scalar(x))
    }

    /// Adds an op of any number of outputs; absent inputs are `None`.
    pub fn emit(&mut self, op: impl Into<Op>, inputs: &[Option<ValueId>], outputs: usize) -> Result<Vec<ValueId>> {
        let op = op.into();
        self.walker.count_op()?;
        let name = |i: usize| {
            if i == 0 { format!("{}/{}", self.base, op.name()) } else { format!("{}/{}:{i}", self.base, op.name()) }
        };
        let names: Vec<String> = (0..outputs).map(name).collect();
        self.walker.builder.node_named(op, inputs, &names, &self.base).map_err(|e| runtime(&e))
    }
    /// Adds an op of one output with absent operands.
    pub fn op_with(&mut self, op: impl Into<Op>, inputs: &[Option<ValueId>]) -> Result<ValueId> {
        let id = self.emit(op, inputs, 1)?.into_iter().next();
        id.ok_or_else(|| ImportError::invalid("an op without output"))
    }
    /// Adds an op of one output.
    pub fn op(&mut self, op: impl Into<Op>, inputs: &[ValueId]) -> Result<ValueId> {
        let inputs: Vec<Option<ValueId>> = inputs.iter().map(|&v| Some(v)).collect();
        self.op_with(op, &inputs)
    }
    /// Converts to another element type.
    pub fn cast(&mut self, v: ValueId, to: DType) -> Result<ValueId> {
        if self.dtype(v) == to { Ok(v) } else { self.op(Cast { to }, &[v]) }
    }
    /// An integer operand (axes, shapes, indices) as i64.
    pub fn as_i64(&mut self, v: ValueId) -> Result<ValueId> {
        self.cast(v, DType::I64)
    }
    /// The declared element type of output `i`.
    pub fn dtype_out(&self, i: usize) -> Result<DType> {
        let info = self.info_out(i).ok_or_else(|| ImportError::invalid(format!("output {i} is missing")))?;
        super::model::dtype(info.kind)
    }
    /// A function of one element.
    pub fn unary(&mut self, kind: UnaryKind, x: ValueId) -> Result<ValueId> {
        self.op(Unary { kind }, &[x])
    }
    /// A function of two elements.
    pub fn binary(&mut self, kind: BinaryKind, a: ValueId, b: ValueId) -> Result<ValueId> {
        self.op(Binary { kind, ..Binary::default() }, &[a, b])
    }
    /// Reshapes; -1 is what is left.
    pub fn reshape(&mut self, x: ValueId, shape: &[i64]) -> Result<ValueId> {
        let shape = self.integers(shape);
        self.op(movement::Reshape { allow_zero: true }, &[x, shape])
    }
    /// Permutes axes. A half-precision constant is permuted as it is stored.
    pub fn transpose(&mut self, x: ValueId, perm: &[usize]) -> Result<ValueId> {
        if perm.iter().enumerate().all(|(i, &p)| i == p) {
            return Ok(x);
        }
        let op = movement::Transpose { perm: perm.to_vec() };
        if let Some(stored) = self.walker.half_source(x) {
            let turned = self.op(op, &[stored])?;
            return self.widen(turned);
        }
        self.op(op, &[x])
    }
    /// Half-precision numbers as f32; what is a constant stays stored as it is.
    pub fn widen(&mut self, stored: ValueId) -> Result<ValueId> {
        let wide = self.cast(stored, DType::F32)?;
        if self.constant(stored).is_some() && self.constant(wide).is_none() {
            self.walker.remember_half(wide, stored);
        }
        Ok(wide)
    }
    /// `[N, spatial..., C]` to `[N, C, spatial...]`.
    pub fn channels_first(&mut self, x: ValueId) -> Result<ValueId> {
        let rank = self.rank(x);
        if rank < 3 {
            return Err(ImportError::invalid("the rank of an image").expected("at least 3").found(rank));
        }
        let perm: Vec<usize> =
            std::iter::once(0).chain([rank.saturating_sub(1)]).chain(1..rank.saturating_sub(1)).collect();
        self.transpose(x, &perm)
    }
    /// `[N, C, spatial...]` to `[N, spatial..., C]`.
    pub fn channels_last(&mut self, x: ValueId) -> Result<ValueId> {
        let rank = self.rank(x);
        let perm: Vec<usize> = std::iter::once(0).chain(2..rank).chain([1]).collect();
        self.transpose(x, &perm)
    }
    /// The fused activation of a field of the options.
    pub fn fused(&self, field: usize) -> Result<Activation> {
        fused(self.options.choice(field)?)
    }
    /// Adds an activation, if it is one.
    pub fn activated(&mut self, x: ValueId, kind: Activation) -> Result<ValueId> {
        if kind == Activation::Identity { Ok(x) } else { self.op(Activate { kind }, &[x]) }
    }
}

/// The activations that operators fuse, by number.
pub(super) fn fused(number: i8) -> Result<Activation> {
    Ok(match number {
        0 => Activation::Identity,
        1 => Activation::Relu,
        2 => Activation::Clamp { lo: -1.0, hi: 1.0 },
        3 => Activation::Clamp { lo: 0.0, hi: 6.0 },
        4 => Activation::Tanh,
        other => {
            return Err(ImportError::unsupported("this fused activation is not supported")
                .expected("none, RELU, RELU_N1_TO_1, RELU6 or TANH")
                .found(if other == 5 { "SIGN_BIT".to_owned() } else { format!("number {other}") }));
        }
    })
}

/// Converts a constant.
pub(super) fn cast(t: &Tensor, to: DType) -> Result<Tensor> {
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
