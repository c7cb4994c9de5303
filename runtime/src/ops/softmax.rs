//! Softmax and its relatives.

use super::Operator;
use super::attrs::attributes;
use super::elementwise::{cast, operand};
use super::infer::{Infer, ValueType, normalize_axis};
use crate::kernels::reference::softmax as reference;
use crate::kernels::softmax::Kind;
use crate::{Error, Result, Tensor};

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

impl Operator for Softmax {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        infer(cx, self.axis)
    }
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let kind = if self.log { Kind::LogSoftmax } else { Kind::Softmax };
        eval(kind, self.axis, operand(inputs, 0)?)
    }
}

impl Operator for Hardmax {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        infer(cx, self.axis)
    }
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        eval(Kind::Hardmax, self.axis, operand(inputs, 0)?)
    }
}
