//! Softmax and its relatives.

use super::attrs::attributes;
use super::elementwise::lower::{done, order};
use super::elementwise::{cast, operand};
use super::infer::{Infer, ValueType, normalize_axis};
use super::{Evaluate, Operator};
use crate::kernels::par::Parallel;
use crate::kernels::reference::softmax as reference;
use crate::kernels::softmax::{Kind, Softmax as Kernel};
use crate::plan::{Compute, Format, FormatCx, Formats, Io, LowerCx, Lowered};
use crate::{DType, Error, Result, Tensor};

attributes! {
    /// `exp(x - max) / sum` along an axis, or its logarithm.
    pub struct Softmax {
        /// The axis.
        pub axis: i64 = -1,
        /// The logarithm.
        pub log: bool = false,
    }
    /// 1 at the first largest element along an axis, 0 elsewhere.
    pub struct Hardmax {
        /// The axis.
        pub axis: i64 = -1,
    }
}

/// The type of the result: that of the operand, which must be floats and have the axis.
fn infer(cx: &Infer, axis: i64) -> Result<Vec<ValueType>> {
    let ty = cx.ty(0)?;
    if !ty.dtype.is_float() {
        return Err(Error::graph(format!("input 0: expected floats, found {}", ty.dtype)));
    }
    normalize_axis(axis, ty.shape.len())?;
    Ok(vec![ty.clone()])
}

fn eval(kind: Kind, axis: i64, x: &Tensor) -> Result<Vec<Tensor>> {
    let axis = normalize_axis(axis, x.rank())?;
    let y = reference::softmax(kind, &x.to_f64(), x.shape(), axis);
    Ok(vec![cast(&Tensor::new(x.shape(), y)?, x.dtype())?])
}

/// Channels innermost stay so; everything else comes plain.
fn formats(cx: &FormatCx) -> Formats {
    if cx.format(0) == Format::ChannelsLast { cx.follow(0) } else { cx.plain() }
}

fn lower(cx: &LowerCx, kind: Kind, axis: i64) -> Result<Lowered> {
    let x = cx.input(0)?;
    if x.dtype != DType::F32 {
        return Ok(Lowered::Interpreted);
    }
    let axis = normalize_axis(axis, x.shape.len())?;
    let order = order(x.format, x.shape.len());
    let shape: Vec<usize> = order.iter().map(|&a| x.shape[a]).collect();
    let at = order.iter().position(|&a| a == axis).unwrap_or(axis);
    let softmax = Kernel::along(cx.isa(), kind, &shape, at);
    let run = move |io: &mut Io<'_>, par: &dyn Parallel| {
        if io.in_place(0) {
            done(softmax.apply_in_place(io.output(0), par));
        } else {
            done(softmax.apply(io.input(0), io.output(0), par));
        }
    };
    Ok(Compute::function("lines", run).in_place(0).into())
}

impl Operator for Softmax {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        infer(cx, self.axis)
    }
    fn formats(&self, cx: &FormatCx) -> Formats {
        formats(cx)
    }
    fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
        lower(cx, if self.log { Kind::LogSoftmax } else { Kind::Softmax }, self.axis)
    }
}

impl Evaluate for Softmax {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let kind = if self.log { Kind::LogSoftmax } else { Kind::Softmax };
        eval(kind, self.axis, operand(inputs, 0)?)
    }
}

impl Operator for Hardmax {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        infer(cx, self.axis)
    }
    fn formats(&self, cx: &FormatCx) -> Formats {
        formats(cx)
    }
    fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
        lower(cx, Kind::Hardmax, self.axis)
    }
}

impl Evaluate for Hardmax {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        eval(Kind::Hardmax, self.axis, operand(inputs, 0)?)
    }
}
