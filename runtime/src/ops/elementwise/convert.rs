//! Conversions between element types.

use super::{BitCast, Cast, Narrow, cast, operand};
use crate::ops::infer::{Infer, ValueType};
use crate::ops::{Evaluate, Operator, Takes};
use crate::plan::{LowerCx, Lowered};
use crate::{DType, Dim, Error, Result, Tensor, narrow};

impl Operator for BitCast {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let x = cx.ty(0)?;
        if narrow::bits(x.dtype) != narrow::bits(self.to) || self.to.size() == 0 || x.dtype.size() == 0 {
            return Err(Error::graph(format!("expected a type of the size of {}, found {}", x.dtype, self.to)));
        }
        Ok(vec![ValueType::new(self.to, x.shape.clone())])
    }
    fn takes(&self) -> Takes {
        Takes::Narrow
    }
}

impl Evaluate for BitCast {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let x = operand(inputs, 0)?;
        if self.to.is_narrow() && narrow::bits(self.to) < 8 {
            return Ok(vec![narrow::unpack(self.to, x.shape(), &narrow::pack(x))?]);
        }
        Ok(vec![Tensor::from_bytes(self.to, x.shape(), x.bytes())?])
    }
}

impl Operator for Narrow {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        if !self.to.is_narrow() {
            return Err(Error::graph(format!("expected a narrow type, found {}", self.to)));
        }
        Ok(vec![ValueType::new(self.to, cx.shape(0)?)])
    }
    fn takes(&self) -> Takes {
        Takes::Narrow
    }
}

impl Evaluate for Narrow {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        Ok(vec![narrow::convert(operand(inputs, 0)?, self.to, self.saturate, self.rounding)?])
    }
}

impl Operator for Cast {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        if self.to == DType::List {
            return Err(Error::graph("nothing is converted to a list"));
        }
        Ok(vec![ValueType::new(self.to, cx.shape(0)?)])
    }
    fn takes(&self) -> Takes {
        Takes::Text
    }
    fn infer_dims(&self, cx: &Infer) -> Option<Vec<Dim>> {
        matches!(self.to, DType::I32 | DType::I64).then(|| cx.dims(0).map(<[Dim]>::to_vec))?
    }
    fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
        self.kernel(cx)
    }
}

impl Evaluate for Cast {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        Ok(vec![cast(operand(inputs, 0)?, self.to)?])
    }
}
