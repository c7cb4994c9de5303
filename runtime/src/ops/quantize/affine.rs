//! Floats to numbers and back.

use super::super::infer::{Infer, ValueType, normalize_axis};
use super::super::{Evaluate, Operator};
use super::{Dequantize, Quantize, operand, type_range, with_numbers};
use crate::plan::{Compute, Format, FormatCx, Formats, Io, LowerCx, Lowered};
use crate::{DType, Error, Result, Tensor, with_dtype};
use pocketnn_kernels::par::{Parallel, for_each_part};
use pocketnn_kernels::quantize::Number;

/// Elements that one chunk of a parallel loop converts.
const CHUNK: usize = 1 << 14;

/// Scales and zero points, and how often each repeats.
struct Table {
    scale: Vec<f32>,
    zero: Vec<i64>,
    /// Elements between changes of the index.
    inner: usize,
}

impl Table {
    fn new(scale: Vec<f32>, zero: Option<Vec<i64>>, shape: &[usize], axis: i64) -> Result<Self> {
        let n = scale.len();
        let zero = zero.unwrap_or_else(|| vec![0; n]);
        let inner = if n == 1 { 1 } else { shape[normalize_axis(axis, shape.len())? + 1..].iter().product() };
        if zero.len() != n || (n != 1 && shape[normalize_axis(axis, shape.len())?] != n) {
            let message =
                format!("scale and zero: expected one or one an index of the axis, found {n}, {}", zero.len());
            return Err(Error::graph(message));
        }
        Ok(Self { scale, zero, inner: inner.max(1) })
    }
    fn read(inputs: &[Option<&Tensor>], axis: i64) -> Result<Self> {
        let zero = inputs.get(2).copied().flatten().map(Tensor::to_i64).transpose()?;
        Self::new(operand(inputs, 1)?.to_f32(), zero, operand(inputs, 0)?.shape(), axis)
    }
    /// From constant operands of a plan.
    fn constant(cx: &LowerCx, axis: i64) -> Result<Option<Self>> {
        let Some(scale) = cx.constant(1).map(Tensor::to_f32) else { return Ok(None) };
        if cx.has(2) && cx.constant(2).is_none() {
            return Ok(None);
        }
        Self::new(scale, cx.integers(2), cx.shape(0)?, axis).map(Some)
    }
    /// The scale and zero point of the element at a position.
    #[inline(always)]
    fn at(&self, i: usize) -> (f32, i64) {
        let k = if self.scale.len() == 1 { 0 } else { i / self.inner % self.scale.len() };
        (self.scale[k], self.zero[k])
    }
}

/// Checks that `scale` is a scalar or vector of floats and `zero` one of integers.
fn check(cx: &Infer) -> Result<()> {
    let scale = cx.ty(1)?;
    if scale.dtype != DType::F32 || scale.shape.len() > 1 {
        return Err(Error::graph(format!("input 1: expected f32 of rank 0 or 1, found {scale}")));
    }
    if cx.has(2) && (!cx.dtype(2)?.is_integer() || cx.rank(2)? > 1) {
        return Err(Error::graph(format!("input 2: expected integers of rank 0 or 1, found {}", cx.ty(2)?)));
    }
    Ok(())
}

/// `round(x / scale) + zero` inside a range; NaN gives the zero point.
#[inline(always)]
fn quantize(x: f32, scale: f32, zero: i64, even: bool, (lo, hi): (f32, f32)) -> i32 {
    let steps = x / scale;
    let steps = if even { steps.round_ties_even() } else { steps.round() };
    // The zero point is added to an integer: f32 holds the sum exactly inside the range, and the clamp decides outside.
    (steps + zero as f32).clamp(lo, hi) as i32
}

/// `(x - zero) * scale`, rounded once.
#[inline(always)]
fn dequantize(x: i64, scale: f32, zero: i64) -> f32 {
    (f64::from(scale) * x.wrapping_sub(zero) as f64) as f32
}

fn limits(dtype: DType) -> Result<(f32, f32)> {
    let (lo, hi) = type_range(dtype)?;
    Ok((lo as f32, hi as f32))
}

impl Operator for Quantize {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        cx.expect_dtype(0, DType::F32)?;
        type_range(self.to)?;
        check(cx)?;
        Ok(vec![ValueType::new(self.to, cx.shape(0)?)])
    }
    fn formats(&self, cx: &FormatCx) -> Formats {
        follow_last(cx)
    }
    fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
        let (Some(table), range) = (Table::constant(cx, self.axis)?, limits(self.to)?) else {
            return Ok(Lowered::Interpreted);
        };
        if table.scale.len() > 1 && cx.format(0)? != Format::Plain {
            return Ok(Lowered::Interpreted);
        }
        let even = self.even;
        Ok(with_numbers!(self.to, T => Compute::function("loop", move |io: &mut Io<'_>, par: &dyn Parallel| {
            let x = io.input::<f32>(0);
            for_each_part(par, io.output::<T>(0), CHUNK, &|i, part| {
                for (j, y) in part.iter_mut().enumerate() {
                    let (scale, zero) = table.at(i * CHUNK + j);
                    *y = T::narrow(quantize(x[i * CHUNK + j], scale, zero, even, range));
                }
            });
        })
        .into()))
    }
}

impl Evaluate for Quantize {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let (x, table, range) = (operand(inputs, 0)?, Table::read(inputs, self.axis)?, limits(self.to)?);
        let one = |(i, &v): (usize, &f32)| {
            let (scale, zero) = table.at(i);
            quantize(v, scale, zero, self.even, range)
        };
        let y = x.as_slice::<f32>()?.iter().enumerate().map(one).collect();
        Ok(vec![super::tensor(self.to, x.shape(), y)?])
    }
}

impl Operator for Dequantize {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let x = cx.ty(0)?;
        if !x.dtype.is_integer() {
            return Err(Error::graph(format!("input 0: expected integers, found {x}")));
        }
        check(cx)?;
        Ok(vec![ValueType::new(DType::F32, x.shape.clone())])
    }
    fn formats(&self, cx: &FormatCx) -> Formats {
        follow_last(cx)
    }
    fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
        let Some(table) = Table::constant(cx, self.axis)? else { return Ok(Lowered::Interpreted) };
        if table.scale.len() > 1 && cx.format(0)? != Format::Plain {
            return Ok(Lowered::Interpreted);
        }
        let dtype = cx.input(0)?.dtype;
        if !matches!(dtype, DType::I8 | DType::U8 | DType::I16 | DType::I32) {
            return Ok(Lowered::Interpreted);
        }
        Ok(with_dtype!(dtype, T => Compute::function("loop", move |io: &mut Io<'_>, par: &dyn Parallel| {
            let x = io.input::<T>(0);
            for_each_part(par, io.output::<f32>(0), CHUNK, &|i, part| {
                for (j, y) in part.iter_mut().enumerate() {
                    let (scale, zero) = table.at(i * CHUNK + j);
                    let v = pocketnn_kernels::elementwise::Number::to_i128(x[i * CHUNK + j]);
                    *y = dequantize(v as i64, scale, zero);
                }
            });
        })
        .into()))
    }
}

impl Evaluate for Dequantize {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let (x, table) = (operand(inputs, 0)?, Table::read(inputs, self.axis)?);
        let one = |(i, v): (usize, i64)| {
            let (scale, zero) = table.at(i);
            dequantize(v, scale, zero)
        };
        let y = x.to_i64()?.into_iter().enumerate().map(one).collect();
        Ok(vec![Tensor::new(x.shape(), y)?])
    }
}

/// Element by element, in the order in which the input comes; blocks are not understood.
pub(super) fn follow_last(cx: &FormatCx) -> Formats {
    if cx.format(0) == Format::ChannelsLast { cx.follow(0) } else { cx.plain() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_become_numbers_and_back() {
        let x = Tensor::vector(&[0.0f32, 0.5, 1.5, -1.5, 1e9, f32::NAN]);
        let (scale, zero) = (Tensor::scalar(1.0f32), Tensor::scalar(3i8));
        let inputs = [Some(&x), Some(&scale), Some(&zero)];
        let away = Quantize::default().eval(&inputs, 1).unwrap().remove(0);
        assert_eq!(away.to_i64().unwrap(), [3, 4, 5, 1, 127, 0]);
        let even = Quantize { even: true, ..Quantize::default() }.eval(&inputs, 1).unwrap().remove(0);
        assert_eq!(even.to_i64().unwrap(), [3, 3, 5, 1, 127, 0]);
        let back = Dequantize::default().eval(&[Some(&away), Some(&scale), Some(&zero)], 1).unwrap().remove(0);
        assert_eq!(back.to_f32()[..4], [0.0, 1.0, 2.0, -2.0]);
    }

    #[test]
    fn scales_belong_to_an_axis() {
        let x = Tensor::new(&[2, 2], vec![1i8, 2, 3, 4]).unwrap();
        let scale = Tensor::vector(&[10.0f32, 1.0]);
        let rows = Dequantize { axis: 0 }.eval(&[Some(&x), Some(&scale)], 1).unwrap().remove(0);
        assert_eq!(rows.to_f32(), [10.0, 20.0, 3.0, 4.0]);
        let columns = Dequantize { axis: 1 }.eval(&[Some(&x), Some(&scale)], 1).unwrap().remove(0);
        assert_eq!(columns.to_f32(), [10.0, 2.0, 30.0, 4.0]);
        let three = Tensor::vector(&[1.0f32; 3]);
        assert!(Dequantize { axis: 1 }.eval(&[Some(&x), Some(&three)], 1).is_err());
    }
}
