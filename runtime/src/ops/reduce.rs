//! Reductions over axes.

use super::attrs::{attr_enum, attributes};
use super::elementwise::lower::{done, order};
use super::elementwise::operand;
use super::infer::{Infer, ValueType, normalize_axis};
use super::{Evaluate, Operator};
use crate::kernels::elementwise::{Binary, Number};
use crate::kernels::par::Parallel;
use crate::kernels::reduce::{Global, Plan, Reduce as Kernel, Reduction, arg};
use crate::kernels::reference::reduce as reference;
use crate::plan::{Compute, Format, FormatCx, Formats, Io, LowerCx, Lowered};
use crate::{DType, Dim, Element, Error, Result, Tensor, with_dtype};

attr_enum! {
    /// What is made of the elements.
    pub enum ReduceKind {
        /// Sum.
        #[default] Sum = "sum",
        /// Mean.
        Mean = "mean",
        /// Largest.
        Max = "max",
        /// Smallest.
        Min = "min",
        /// Product.
        Prod = "prod",
        /// Sum of magnitudes.
        L1 = "l1",
        /// Root of the sum of squares.
        L2 = "l2",
        /// Logarithm of the sum.
        LogSum = "log_sum",
        /// Logarithm of the sum of exponentials.
        LogSumExp = "log_sum_exp",
        /// Sum of squares.
        SumSquare = "sum_square",
        /// True where any is (of `Bool`).
        Any = "any",
        /// True where all are (of `Bool`).
        All = "all",
    }
}

attributes! {
    /// Reduction. Inputs `x`, optional `axes` (integer vector; absent or empty: all axes, or none with `noop_with_empty_axes`).
    pub struct Reduce {
        /// What is made.
        pub kind: ReduceKind = ReduceKind::Sum,
        /// Reduced axes stay with extent 1.
        pub keep_dims: bool = true,
        /// No axes means no reduction.
        pub noop_with_empty_axes: bool = false,
    }
    /// Index of the largest or smallest element along an axis; output i64.
    pub struct ArgReduce {
        /// Smallest instead of largest.
        pub min: bool = false,
        /// The axis.
        pub axis: i64 = 0,
        /// The axis stays with extent 1.
        pub keep_dims: bool = true,
        /// The last of equal elements.
        pub last: bool = false,
    }
}

impl ReduceKind {
    /// The kernels' reduction; `None` for logic.
    pub(crate) fn reduction(self) -> Option<Reduction> {
        Some(match self {
            Self::Sum => Reduction::Sum,
            Self::Mean => Reduction::Mean,
            Self::Max => Reduction::Max,
            Self::Min => Reduction::Min,
            Self::Prod => Reduction::Prod,
            Self::L1 => Reduction::L1,
            Self::L2 => Reduction::L2,
            Self::LogSum => Reduction::LogSum,
            Self::LogSumExp => Reduction::LogSumExp,
            Self::SumSquare => Reduction::SumSquare,
            Self::Any | Self::All => return None,
        })
    }

    fn defined_for(self, dtype: DType) -> bool {
        match self {
            Self::Any | Self::All => dtype == DType::Bool,
            Self::Max | Self::Min => true,
            _ => dtype != DType::Bool,
        }
    }
}

impl Reduce {
    /// The reduced axes, ascending, of an operand of `rank` dimensions.
    ///
    /// # Errors
    /// When an axis lies outside or is named twice.
    pub(crate) fn axes(&self, given: Option<&[i64]>, rank: usize) -> Result<Vec<usize>> {
        let given = given.unwrap_or_default();
        if given.is_empty() {
            return Ok(if self.noop_with_empty_axes { Vec::new() } else { (0..rank).collect() });
        }
        let mut axes = given.iter().map(|&a| normalize_axis(a, rank)).collect::<Result<Vec<_>>>()?;
        axes.sort_unstable();
        if axes.windows(2).any(|w| w[0] == w[1]) {
            return Err(Error::graph(format!("axes {given:?} name an axis twice")));
        }
        Ok(axes)
    }

    /// A shape of unknown extents, for axes that are computed while running: their number is known, or follows from the rank.
    fn undecided(&self, cx: &Infer) -> Result<Vec<Dim>> {
        let rank = cx.rank(0)?;
        let count = cx.shape(1)?.first().map_or(Some(1), Dim::known);
        let left = match count {
            _ if self.keep_dims => rank,
            Some(0) if self.noop_with_empty_axes => rank,
            Some(0) => 0,
            Some(n) => rank.saturating_sub(n),
            None => return Err(Error::unsupported("input 1: the number of axes must be known")),
        };
        Ok((0..left).map(|_| Dim::unknown()).collect())
    }
}

/// How a reduction runs beside the format of its operand.
enum Way {
    /// The positions of a blocked image.
    Image,
    /// A row-major tensor with its axes in the order of memory.
    Rows(Format),
}

impl Reduce {
    /// The way for an operand of this shape in this format, and the format of the result.
    fn way(&self, dtype: DType, format: Format, shape: &[usize], axes: &[usize]) -> (Way, Format) {
        let plain = (Way::Rows(Format::Plain), Format::Plain);
        let spatial = shape.len() > 2 && axes.iter().copied().eq(2..shape.len());
        match format {
            _ if dtype != DType::F32 || self.kind.reduction().is_none() => plain,
            Format::Blocked if spatial && self.kind != ReduceKind::LogSumExp => {
                (Way::Image, if self.keep_dims { Format::Blocked } else { Format::Plain })
            }
            Format::ChannelsLast if self.keep_dims => (Way::Rows(format), Format::ChannelsLast),
            // Channels alone, or no channels, are left in logical order.
            Format::ChannelsLast if spatial || axes.contains(&1) => (Way::Rows(format), Format::Plain),
            _ => plain,
        }
    }

    fn floats(&self, cx: &LowerCx, op: Reduction, axes: &[usize]) -> Result<Lowered> {
        let (x, y) = (cx.input(0)?, cx.output(0));
        match self.way(x.dtype, x.format, &x.shape, axes).0 {
            Way::Image => {
                let f = Global::new(cx.isa(), op, x.blocked()?, y.format == Format::Blocked)?;
                let run = move |io: &mut Io<'_>, par: &dyn Parallel| done(f.apply(io.input(0), io.output(0), par));
                Ok(Compute::function("global", run).into())
            }
            Way::Rows(format) => {
                let order = order(format, x.shape.len());
                let shape: Vec<usize> = order.iter().map(|&a| x.shape[a]).collect();
                let axes: Vec<usize> = (0..order.len()).filter(|&i| axes.contains(&order[i])).collect();
                let f = Kernel::new(cx.isa(), op, &shape, &axes)?;
                let run = move |io: &mut Io<'_>, par: &dyn Parallel| done(f.apply(io.input(0), io.output(0), par));
                Ok(Compute::function("vectors", run).into())
            }
        }
    }
}

/// A plain fold of integers; `None` where the reduction is not one.
fn fold<T: Element + Number>(op: Reduction, plan: Plan) -> Option<Compute> {
    let (binary, neutral) = match op {
        Reduction::Sum => (Binary::Add, T::default()),
        Reduction::Prod => (Binary::Mul, T::from_f64(1.0)),
        Reduction::Max => (Binary::Max, T::from_f64(f64::NEG_INFINITY)),
        Reduction::Min => (Binary::Min, T::from_f64(f64::INFINITY)),
        _ => return None,
    };
    let run = move |io: &mut Io<'_>, par: &dyn Parallel| {
        let step = |a: T, v: T| T::binary(binary, a, v);
        done(plan.fold(io.input::<T>(0), io.output::<T>(0), par, neutral, step, |a| a));
    };
    Some(Compute::function("loop", run))
}

/// The shape that is left when `axes` are reduced.
fn reduced<D: Clone>(shape: &[D], axes: &[usize], keep_dims: bool, one: &D) -> Vec<D> {
    let each = shape.iter().enumerate().filter_map(|(i, d)| match (axes.contains(&i), keep_dims) {
        (false, _) => Some(d.clone()),
        (true, true) => Some(one.clone()),
        (true, false) => None,
    });
    each.collect()
}

impl Operator for Reduce {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let ty = cx.ty(0)?;
        if !self.kind.defined_for(ty.dtype) {
            return Err(Error::graph(format!("`{}` has no meaning on {}", self.kind.name(), ty.dtype)));
        }
        let given = cx.integers(1);
        if cx.has(1) && given.is_none() {
            return Ok(vec![ValueType::new(ty.dtype, self.undecided(cx)?)]);
        }
        let axes = self.axes(given.as_deref(), ty.shape.len())?;
        Ok(vec![ValueType::new(ty.dtype, reduced(&ty.shape, &axes, self.keep_dims, &Dim::from(1)))])
    }
    fn infer_dims(&self, cx: &Infer) -> Option<Vec<Dim>> {
        let dims = cx.dims(0)?;
        if cx.shape(0).ok()?.len() != 1 || self.axes(cx.integers(1).as_deref(), 1).ok()?.is_empty() {
            return None;
        }
        let (first, rest) = dims.split_first()?;
        let fold = |f: fn(&Dim, &Dim) -> Dim| Some(vec![rest.iter().fold(first.clone(), |a, b| f(&a, b))]);
        match self.kind {
            ReduceKind::Sum => fold(|a, b| a.clone() + b.clone()),
            ReduceKind::Prod => fold(|a, b| a.clone() * b.clone()),
            ReduceKind::Max => fold(Dim::larger),
            ReduceKind::Min => fold(Dim::smaller),
            _ => None,
        }
    }
    fn formats(&self, cx: &FormatCx) -> Formats {
        let (shape, given) = (cx.shape(0), cx.constant(1).map(Tensor::to_i64).transpose());
        let (Some(ty), Ok(given)) = (cx.ty(0), given) else { return cx.plain() };
        let Ok(axes) = self.axes(given.as_deref(), shape.len()) else { return cx.plain() };
        let (way, output) = self.way(ty.dtype, cx.format(0), &shape, &axes);
        let mut f = cx.plain();
        f.inputs[0] = match way {
            Way::Image => Format::Blocked,
            Way::Rows(format) => format,
        };
        f.outputs[0] = output;
        f
    }
    fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
        let x = cx.input(0)?;
        let axes = self.axes(cx.integers(1).as_deref(), x.shape.len())?;
        let Some(op) = self.kind.reduction() else {
            let (plan, every) = (Plan::new(&x.shape, &axes)?, self.kind == ReduceKind::All);
            let run = move |io: &mut Io<'_>, par: &dyn Parallel| {
                let step = |a: bool, v: bool| if every { a & v } else { a | v };
                done(plan.fold(io.input::<bool>(0), io.output::<bool>(0), par, every, step, |a| a));
            };
            return Ok(Compute::function("loop", run).into());
        };
        let plan = || Plan::new(&x.shape, &axes);
        let folded = match x.dtype {
            DType::F32 => return self.floats(cx, op, &axes),
            DType::I64 => fold::<i64>(op, plan()?),
            DType::I32 => fold::<i32>(op, plan()?),
            _ => None,
        };
        Ok(folded.map_or(Lowered::Interpreted, Lowered::Step))
    }
}

impl Evaluate for Reduce {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let x = operand(inputs, 0)?;
        let given = inputs.get(1).copied().flatten().map(Tensor::to_i64).transpose()?;
        let axes = self.axes(given.as_deref(), x.rank())?;
        let shape = reduced(x.shape(), &axes, self.keep_dims, &1);
        let y = if let Some(op) = self.kind.reduction() {
            with_dtype!(x.dtype(), T => {
                Tensor::new(&shape, reference::reduce::<T>(op, x.as_slice()?, x.shape(), &axes))
            })
        } else {
            let every = self.kind == ReduceKind::All;
            Tensor::new(&shape, reference::logical(every, x.as_slice()?, x.shape(), &axes))
        };
        Ok(vec![y?])
    }
}

impl Operator for ArgReduce {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let shape = cx.shape(0)?;
        let axis = normalize_axis(self.axis, shape.len())?;
        if shape[axis].known() == Some(0) {
            return Err(Error::graph(format!("axis {} has no elements to choose from", self.axis)));
        }
        Ok(vec![ValueType::new(DType::I64, reduced(shape, &[axis], self.keep_dims, &Dim::from(1)))])
    }
    fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
        let x = cx.input(0)?;
        let axis = normalize_axis(self.axis, x.shape.len())?;
        let (outer, inner) = (x.shape[..axis].iter().product(), x.shape[axis + 1..].iter().product());
        let (largest, last, shape) = (!self.min, self.last, [outer, x.shape[axis], inner]);
        macro_rules! run {
            ($t:ty) => {
                Compute::function("loop", move |io: &mut Io<'_>, par: &dyn Parallel| {
                    done(arg(largest, last, shape, io.input::<$t>(0), io.output(0), par));
                })
                .into()
            };
        }
        Ok(match x.dtype {
            DType::F32 => run!(f32),
            DType::I64 => run!(i64),
            DType::I32 => run!(i32),
            DType::U8 => run!(u8),
            _ => Lowered::Interpreted,
        })
    }
}

impl Evaluate for ArgReduce {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let x = operand(inputs, 0)?;
        let axis = normalize_axis(self.axis, x.rank())?;
        if x.shape()[axis] == 0 {
            return Err(Error::graph(format!("axis {} has no elements to choose from", self.axis)));
        }
        let shape = reduced(x.shape(), &[axis], self.keep_dims, &1);
        let y = with_dtype!(x.dtype(), T => reference::arg::<T>(!self.min, self.last, x.as_slice()?, x.shape(), axis));
        Ok(vec![Tensor::new(&shape, y)?])
    }
}
