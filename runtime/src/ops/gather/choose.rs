//! Ops whose indices are computed, and masks made of positions.

use super::{CumProd, CumSum, EyeLike, NonZero, OneHot, TopK, Trilu};
use crate::ops::conv::operand;
use crate::ops::infer::{Infer, ValueType, normalize_axis};
use crate::ops::operands::{by_size, entries, extent, from_raw, integers, raw, shape, shapes, vector};
use crate::ops::{Evaluate, Operator, Takes};
use crate::{DType, Dim, Error, Result, Tensor, dim::show_shape, with_dtype};
use pocketnn_kernels::elementwise::Number;
use pocketnn_kernels::reference::gather as reference;

/// Checks that an input is one number.
fn expect_one(cx: &Infer, i: usize) -> Result<()> {
    if cx.shape(i)?.iter().all(|d| d.known().is_none_or(|n| n == 1)) {
        Ok(())
    } else {
        Err(Error::graph(format!("input {i}: expected one number, found {}", cx.ty(i)?)))
    }
}

/// The only integer of an operand.
fn one(inputs: &[Option<&Tensor>], i: usize) -> Result<i64> {
    match integers(inputs, i)?.as_slice() {
        [n] => Ok(*n),
        other => Err(Error::argument(format!("input {i}: expected one integer, found {}", other.len()))),
    }
}

impl OneHot {
    fn depth(cx: &Infer) -> Result<Dim> {
        expect_one(cx, 1)?;
        let constant = || cx.constant(1).and_then(|t| t.to_f64().first().map(|&d| Dim::signed(d as i64)));
        let depth = cx.dims(1).and_then(|d| d.first().cloned()).or_else(constant);
        extent(depth.unwrap_or_else(Dim::unknown), "input 1")
    }
}

impl Operator for OneHot {
    fn takes(&self) -> Takes {
        Takes::Moved
    }
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let values = cx.ty(2)?;
        if values.shape.len() != 1 || values.shape[0].known().is_some_and(|n| n != 2) {
            return Err(Error::graph(format!("input 2: expected the two values [off, on], found {values}")));
        }
        let mut shape = cx.shape(0)?.to_vec();
        shape.insert(normalize_axis(self.axis, shape.len() + 1)?, Self::depth(cx)?);
        Ok(vec![ValueType::new(values.dtype, shape)])
    }
}

impl Evaluate for OneHot {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let shape = shape(self, inputs)?;
        let (t, values) = (operand(inputs, 0)?, operand(inputs, 2)?);
        let indices =
            if t.dtype().is_float() { t.to_f64().into_iter().map(|i| i as i64).collect() } else { t.to_i64()? };
        let axis = normalize_axis(self.axis, shape.len())?;
        let inner = shape[axis + 1..].iter().product();
        by_size!(values.dtype(), T => {
            let v = raw::<T>(values);
            from_raw(values.dtype(), &shape, reference::one_hot(&indices, inner, shape[axis], v[0], v[1]))
        })
        .map(|t| vec![t])
    }
}

impl Operator for TopK {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        expect_one(cx, 1)?;
        entries(cx, 1)?;
        let x = cx.ty(0)?;
        let axis = normalize_axis(self.axis, x.shape.len())?;
        let k = vector(cx, 1)?.and_then(|v| v.into_iter().next()).unwrap_or_else(Dim::unknown);
        let k = extent(k, "input 1")?;
        if let (Some(k), Some(n)) = (k.known(), x.shape[axis].known())
            && k > n
        {
            return Err(Error::graph(format!("input 1: {k} elements of axis {axis}, which has {n}")));
        }
        let mut shape = x.shape.clone();
        shape[axis] = k;
        let all = [ValueType::new(x.dtype, shape.clone()), ValueType::new(DType::I64, shape)];
        Ok(all.into_iter().take(cx.outputs()).collect())
    }
}

impl Evaluate for TopK {
    fn eval(&self, inputs: &[Option<&Tensor>], outputs: usize) -> Result<Vec<Tensor>> {
        let shape = shapes(self, inputs, outputs)?.swap_remove(0);
        let x = operand(inputs, 0)?;
        let axis = normalize_axis(self.axis, x.rank())?;
        let (values, at) = with_dtype!(x.dtype(), T => {
            let (values, at) = reference::top_k(x.as_slice::<T>()?, x.shape(), axis, shape[axis], self.largest);
            (Tensor::new(&shape, values)?, Tensor::new(&shape, at)?)
        });
        Ok([values, at].into_iter().take(outputs).collect())
    }
}

impl Operator for NonZero {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        Ok(vec![ValueType::new(DType::I64, vec![Dim::from(cx.rank(0)?), Dim::unknown()])])
    }
}

impl Evaluate for NonZero {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let x = operand(inputs, 0)?;
        let at = with_dtype!(x.dtype(), T => reference::non_zero(x.as_slice::<T>()?, x.shape()));
        let rank = x.rank();
        Ok(vec![Tensor::new(&[rank, at.len().checked_div(rank).unwrap_or(0)], at)?])
    }
}

/// The type of running sums and products: that of numbers, whose axis is one integer.
fn running(cx: &Infer) -> Result<Vec<ValueType>> {
    expect_one(cx, 1)?;
    if let Some(axis) = cx.integers(1).and_then(|v| v.first().copied()) {
        normalize_axis(axis, cx.rank(0)?)?;
    }
    if cx.dtype(0)? == DType::Bool {
        return Err(Error::graph("input 0: expected numbers, found bool"));
    }
    Ok(vec![cx.ty(0)?.clone()])
}

impl Operator for CumSum {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        running(cx)
    }
}

impl Evaluate for CumSum {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let x = operand(inputs, 0)?;
        let axis = normalize_axis(one(inputs, 1)?, x.rank())?;
        with_dtype!(x.dtype(), T => {
            let y = reference::cumulative_sum(x.as_slice::<T>()?, x.shape(), axis, self.exclusive, self.reverse);
            Tensor::new(x.shape(), y)
        })
        .map(|t| vec![t])
    }
}

impl Operator for CumProd {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        running(cx)
    }
}

impl Evaluate for CumProd {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let x = operand(inputs, 0)?;
        let axis = normalize_axis(one(inputs, 1)?, x.rank())?;
        with_dtype!(x.dtype(), T => {
            let y = reference::cumulative_product(x.as_slice::<T>()?, x.shape(), axis, self.exclusive, self.reverse);
            Tensor::new(x.shape(), y)
        })
        .map(|t| vec![t])
    }
}

impl Operator for Trilu {
    fn takes(&self) -> Takes {
        Takes::Moved
    }
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        if cx.rank(0)? < 2 {
            return Err(Error::graph(format!("input 0: expected matrices, found {}", show_shape(cx.shape(0)?))));
        }
        if cx.has(1) {
            expect_one(cx, 1)?;
        }
        Ok(vec![cx.ty(0)?.clone()])
    }
}

impl Evaluate for Trilu {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let shape = shape(self, inputs)?;
        let x = operand(inputs, 0)?;
        let k = if inputs.get(1).copied().flatten().is_some() { one(inputs, 1)? } else { 0 };
        let (rows, columns) = (shape[shape.len() - 2], shape[shape.len() - 1]);
        by_size!(x.dtype(), T => {
            from_raw(x.dtype(), &shape, reference::triangle(raw::<T>(x), rows, columns, k, self.upper))
        })
        .map(|t| vec![t])
    }
}

impl Operator for EyeLike {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let x = cx.ty(0)?;
        if x.shape.len() != 2 {
            return Err(Error::graph(format!("input 0: expected a matrix, found {x}")));
        }
        Ok(vec![ValueType::new(self.dtype.unwrap_or(x.dtype), x.shape.clone())])
    }
}

impl Evaluate for EyeLike {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let shape = shape(self, inputs)?;
        let dtype = self.dtype.unwrap_or(operand(inputs, 0)?.dtype());
        with_dtype!(dtype, T => Tensor::new(&shape, reference::eye(shape[0], shape[1], self.k, T::from_i128(1))))
            .map(|t| vec![t])
    }
}
