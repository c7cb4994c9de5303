//! Ops that leave the elements as they are, and tensors made from shapes.

use super::{ConstantOfShape, Identity, Range, Reshape, Shape, Squeeze, Unsqueeze, lower};
use crate::ops::conv::operand;
use crate::ops::infer::{Infer, ValueType};
use crate::ops::operands::{
    by_size, distinct_axes, entries, extent, from_raw, numbers, raw, shape, unknown_shape, vector,
};
use crate::ops::{Evaluate, Operator, Takes};
use crate::plan::{FormatCx, Formats, InPlace, LowerCx, Lowered};
use crate::{DType, Dim, Error, Result, Tensor, dim::show_shape, with_dtype};
use pocketnn_kernels::elementwise::Number;

impl Operator for Identity {
    fn takes(&self) -> Takes {
        Takes::Any
    }
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        Ok(vec![cx.ty(0)?.clone()])
    }
    fn infer_dims(&self, cx: &Infer) -> Option<Vec<Dim>> {
        cx.dims(0).map(<[Dim]>::to_vec)
    }
    fn formats(&self, cx: &FormatCx) -> Formats {
        cx.follow(0)
    }
    fn place(&self) -> InPlace {
        InPlace::Always
    }
    fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
        lower::reshape(cx)
    }
}

impl Evaluate for Identity {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        Ok(vec![operand(inputs, 0)?.clone()])
    }
}

impl Operator for Reshape {
    fn takes(&self) -> Takes {
        Takes::Text
    }
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let x = cx.ty(0)?;
        let rank = entries(cx, 1)?;
        let shape = match vector(cx, 1)? {
            Some(target) => self.resolve(&x.shape, &target)?,
            None => unknown_shape(rank)?,
        };
        Ok(vec![ValueType::new(x.dtype, shape)])
    }
    fn infer_dims(&self, cx: &Infer) -> Option<Vec<Dim>> {
        cx.dims(0).map(<[Dim]>::to_vec)
    }
    fn formats(&self, cx: &FormatCx) -> Formats {
        lower::reshape_formats(cx)
    }
    fn place(&self) -> InPlace {
        InPlace::Always
    }
    fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
        lower::reshape(cx)
    }
}

impl Evaluate for Reshape {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        Ok(vec![operand(inputs, 0)?.reshaped(&shape(self, inputs)?)?])
    }
}

impl Reshape {
    /// The output's shape: 0 copies, -1 is the quotient of the sizes.
    fn resolve(&self, x: &[Dim], target: &[Dim]) -> Result<Vec<Dim>> {
        let bad = |what: String| Error::graph(format!("{} to {}: {what}", show_shape(x), show_shape(target)));
        let mut shape = target.to_vec();
        let mut open = None;
        for (i, d) in shape.iter_mut().enumerate() {
            match d.known_signed() {
                Some(0) if !self.allow_zero => {
                    *d = x
                        .get(i)
                        .cloned()
                        .ok_or_else(|| bad(format!("entry {i} copies an extent that is not there")))?;
                }
                Some(-1) if open.is_some() => return Err(bad("more than one -1".to_string())),
                Some(-1) => open = Some(i),
                Some(n) if n < 0 => return Err(bad(format!("the extent {n}"))),
                _ => {}
            }
        }
        let total = Dim::product(x);
        let Some(open) = open else {
            let asked = Dim::product(&shape);
            return match (total.known(), asked.known()) {
                (Some(a), Some(b)) if a != b => Err(bad(format!("{a} elements do not fill {b}"))),
                _ => Ok(shape),
            };
        };
        let rest = Dim::product(shape.iter().enumerate().filter(|&(i, _)| i != open).map(|(_, d)| d));
        shape[open] = match (total.known(), rest.known()) {
            (_, Some(0)) => return Err(bad("-1 beside an extent of 0 can be anything".to_string())),
            (Some(a), Some(b)) if a % b != 0 => return Err(bad(format!("{a} elements are not a multiple of {b}"))),
            _ => total.div_floor(&rest),
        };
        Ok(shape)
    }
}

impl Operator for Squeeze {
    fn takes(&self) -> Takes {
        Takes::Text
    }
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let x = cx.ty(0)?;
        let shape = if cx.has(1) {
            let count = entries(cx, 1)?;
            match numbers(cx, 1)? {
                Some(axes) => squeezed(&x.shape, &axes)?,
                None => unknown_shape(x.shape.len().saturating_sub(count))?,
            }
        } else {
            x.shape.iter().filter(|d| d.known() != Some(1)).cloned().collect()
        };
        Ok(vec![ValueType::new(x.dtype, shape)])
    }
    fn infer_dims(&self, cx: &Infer) -> Option<Vec<Dim>> {
        cx.dims(0).map(<[Dim]>::to_vec)
    }
    fn formats(&self, cx: &FormatCx) -> Formats {
        lower::reshape_formats(cx)
    }
    fn place(&self) -> InPlace {
        InPlace::Always
    }
    fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
        lower::reshape(cx)
    }
}

impl Evaluate for Squeeze {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        Ok(vec![operand(inputs, 0)?.reshaped(&shape(self, inputs)?)?])
    }
}

fn squeezed(x: &[Dim], axes: &[i64]) -> Result<Vec<Dim>> {
    let axes = distinct_axes(axes, x.len())?;
    if let Some(&a) = axes.iter().find(|&&a| x[a].known().is_some_and(|n| n != 1)) {
        return Err(Error::graph(format!("axis {a} of {} has extent {}, not 1", show_shape(x), x[a])));
    }
    Ok(x.iter().enumerate().filter(|(i, _)| !axes.contains(i)).map(|(_, d)| d.clone()).collect())
}

impl Operator for Unsqueeze {
    fn takes(&self) -> Takes {
        Takes::Text
    }
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let x = cx.ty(0)?;
        let rank = x.shape.len() + entries(cx, 1)?;
        let shape = match numbers(cx, 1)? {
            Some(axes) => {
                let axes = distinct_axes(&axes, rank)?;
                let mut left = x.shape.iter();
                (0..rank)
                    .map(|i| if axes.contains(&i) { Some(Dim::from(1)) } else { left.next().cloned() })
                    .collect::<Option<_>>()
                    .ok_or_else(|| Error::graph("the axes do not fit"))?
            }
            None => unknown_shape(rank)?,
        };
        Ok(vec![ValueType::new(x.dtype, shape)])
    }
    fn infer_dims(&self, cx: &Infer) -> Option<Vec<Dim>> {
        cx.dims(0).map(<[Dim]>::to_vec)
    }
    fn formats(&self, cx: &FormatCx) -> Formats {
        lower::reshape_formats(cx)
    }
    fn place(&self) -> InPlace {
        InPlace::Always
    }
    fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
        lower::reshape(cx)
    }
}

impl Evaluate for Unsqueeze {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        Ok(vec![operand(inputs, 0)?.reshaped(&shape(self, inputs)?)?])
    }
}

impl Shape {
    /// The part of a shape that is asked for: bounds beyond the rank are moved to its ends.
    fn part<'a, T>(&self, shape: &'a [T]) -> &'a [T] {
        let rank = shape.len() as i64;
        let clamp = |a: i64| (if a < 0 { a.saturating_add(rank) } else { a }).clamp(0, rank) as usize;
        let (start, end) = (clamp(self.start), clamp(self.end.unwrap_or(rank)));
        &shape[start..end.max(start)]
    }
}

impl Operator for Shape {
    fn takes(&self) -> Takes {
        Takes::Text
    }
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        Ok(vec![ValueType::known(DType::I64, &[self.part(cx.shape(0)?).len()])])
    }
    fn infer_dims(&self, cx: &Infer) -> Option<Vec<Dim>> {
        cx.shape(0).ok().map(|s| self.part(s).to_vec())
    }
}

impl Evaluate for Shape {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let shape: Vec<i64> = self.part(operand(inputs, 0)?.shape()).iter().map(|&d| d as i64).collect();
        Ok(vec![Tensor::vector(&shape)])
    }
}

impl Operator for ConstantOfShape {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        if self.value.len() != 1 || self.value.dtype() == DType::List {
            return Err(Error::graph(format!("value: expected one element, found shape {:?}", self.value.shape())));
        }
        let rank = entries(cx, 0)?;
        let shape = vector(cx, 0)?.map_or_else(|| unknown_shape(rank), Ok)?;
        let shape = shape.into_iter().map(|d| extent(d, "input 0")).collect::<Result<Vec<_>>>()?;
        Ok(vec![ValueType::new(self.value.dtype(), shape)])
    }
    fn infer_dims(&self, cx: &Infer) -> Option<Vec<Dim>> {
        let value = *self.value.to_i64().ok()?.first()?;
        let n = cx.dims(0)?.first()?.known().filter(|&n| n <= crate::ops::infer::MAX_DIMS)?;
        Some(vec![Dim::signed(value); n])
    }
    fn lower(&self, _cx: &LowerCx) -> Result<Lowered> {
        Ok(self.kernel())
    }
}

impl Evaluate for ConstantOfShape {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let shape = shape(self, inputs)?;
        let n = shape.iter().product();
        let dtype = self.value.dtype();
        if dtype == DType::Text {
            return Ok(vec![Tensor::texts(&shape, vec![self.value.as_texts()?[0].clone(); n])?]);
        }
        by_size!(dtype, T => from_raw(dtype, &shape, vec![raw::<T>(&self.value)[0]; n])).map(|t| vec![t])
    }
}

impl Operator for Range {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let dtype = cx.dtype(0)?;
        if dtype == DType::Bool {
            return Err(Error::graph("input 0: expected a number, found bool"));
        }
        for i in 0..3 {
            cx.expect_dtype(i, dtype)?;
            if cx.shape(i)?.iter().any(|d| d.known().is_some_and(|n| n != 1)) {
                return Err(Error::graph(format!("input {i}: expected a scalar, found {}", cx.ty(i)?)));
            }
        }
        Ok(vec![ValueType::new(dtype, vec![Self::len(cx)?])])
    }
    fn infer_dims(&self, cx: &Infer) -> Option<Vec<Dim>> {
        let n = Self::len(cx).ok()?.known().filter(|&n| n <= crate::ops::infer::MAX_DIMS)?;
        let (start, delta) = (cx.dims(0)?.first()?, cx.dims(2)?.first()?);
        Some((0..n).map(|i| start.clone() + delta.clone() * Dim::from(i)).collect())
    }
}

impl Evaluate for Range {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let shape = shape(self, inputs)?;
        let (start, delta) = (operand(inputs, 0)?, operand(inputs, 2)?);
        with_dtype!(start.dtype(), T => {
            let (first, step) = (start.as_slice::<T>()?[0], delta.as_slice::<T>()?[0]);
            let at = |i: usize| if start.dtype().is_float() {
                T::from_f64(first.to_f64() + i as f64 * step.to_f64())
            } else {
                T::from_i128(first.to_i128() + i as i128 * step.to_i128())
            };
            Tensor::new(&shape, (0..shape[0]).map(at).collect())
        })
        .map(|t| vec![t])
    }
}

impl Range {
    /// `max(0, ceil((limit - start) / delta))`
    fn len(cx: &Infer) -> Result<Dim> {
        if let (Some(start), Some(limit), Some(delta)) = (cx.constant(0), cx.constant(1), cx.constant(2)) {
            let one = |t: &Tensor| if t.len() == 1 { Ok(()) } else { Err(Error::graph("expected scalars")) };
            [start, limit, delta].into_iter().try_for_each(one)?;
            return if start.dtype().is_float() {
                let [start, limit, delta] = [start, limit, delta].map(|t| t.to_f64()[0]);
                let n = ((limit - start) / delta).ceil().max(0.0);
                // Beyond this every caller refuses the size; NaN and infinity come here too.
                if n < 9e15 { Ok(Dim::from(n as usize)) } else { Err(Self::endless()) }
            } else {
                let [start, limit, delta] =
                    [start.to_i64()?[0], limit.to_i64()?[0], delta.to_i64()?[0]].map(i128::from);
                if delta == 0 {
                    return Err(Self::endless());
                }
                let n =
                    (limit - start).div_euclid(delta) + i128::from((limit - start).rem_euclid(delta) != 0 && delta > 0);
                // A negative divisor rounds the quotient up already.
                Ok(Dim::from(usize::try_from(n.max(0)).map_err(|_| Self::endless())?))
            };
        }
        let entry = |i: usize| cx.dims(i).and_then(|d| d.first());
        Ok(match (entry(0), entry(1), entry(2)) {
            (Some(start), Some(limit), Some(delta)) if delta.known().is_some_and(|d| d > 0) => {
                let n = (limit.clone() - start.clone()).div_ceil(delta);
                n.known_signed().map_or(n, |n| Dim::signed(n.max(0)))
            }
            _ => Dim::unknown(),
        })
    }
    fn endless() -> Error {
        Error::graph("the range has no end: expected a step that leads from start to limit")
    }
}
