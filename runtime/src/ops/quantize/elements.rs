//! Functions of one and of two numbers.

use super::super::elementwise::lower::channels_last;
use super::super::infer::{Infer, ValueType, broadcast};
use super::super::{Evaluate, Operator};
use super::affine::follow_last;
use super::{ALONE, PairKind, QBinary, QUnary, attribute_range, elements, numbers, operand, type_range, with_numbers};
use crate::plan::{Compute, Format, FormatCx, Formats, Io, LowerCx, Lowered};
use crate::{DType, Error, Result, Tensor};
use pocketnn_kernels::elementwise::Broadcast;
use pocketnn_kernels::par::Parallel;
use pocketnn_kernels::quantize::function::Function;
use pocketnn_kernels::quantize::{self as kernel, Map, Pair};

impl QUnary {
    fn function(&self, from: DType, to: DType) -> Result<Function> {
        type_range(from)?;
        Ok(Function::new(self.function, self.x, self.y, type_range(to)?, from == DType::I16)?)
    }
}

impl Operator for QUnary {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let x = numbers(cx, 0)?;
        let to = self.to.unwrap_or(x.dtype);
        self.function(x.dtype, to)?;
        Ok(vec![ValueType::new(to, x.shape.clone())])
    }
    fn formats(&self, cx: &FormatCx) -> Formats {
        follow_last(cx)
    }
    fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
        let (from, to) = (cx.input(0)?.dtype, cx.output(0).dtype);
        let f = self.function(from, to)?;
        Ok(with_numbers!(from, X => with_numbers!(to, Y => {
            let map = Map::<Y>::new::<X>(|v| f.apply(v));
            let run = move |io: &mut Io<'_>, par: &dyn Parallel| {
                if let Err(e) = map.apply(io.input::<X>(0), io.output::<Y>(0), par) {
                    io.fail(e);
                }
            };
            Compute::function("table", run).into()
        })))
    }
}

impl Evaluate for QUnary {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let x = operand(inputs, 0)?;
        let to = self.to.unwrap_or(x.dtype());
        let f = self.function(x.dtype(), to)?;
        let y = x.to_i64()?.into_iter().map(|v| f.apply(v as i32)).collect();
        Ok(vec![super::tensor(to, x.shape(), y)?])
    }
}

impl QBinary {
    fn pair(&self, dtype: DType) -> Result<Pair> {
        let kind = match self.kind {
            PairKind::Add => kernel::PairKind::Add,
            PairKind::Sub => kernel::PairKind::Sub,
            PairKind::Mul => kernel::PairKind::Mul,
            PairKind::SquaredDifference => kernel::PairKind::SquaredDifference,
            PairKind::PRelu => kernel::PairKind::PRelu,
        };
        let range = attribute_range(self.range.as_ref(), dtype)?;
        Ok(Pair::new(kind, self.a, self.b, self.y, range, dtype == DType::I16)?)
    }
}

impl Operator for QBinary {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let (a, b) = (numbers(cx, 0)?, numbers(cx, 1)?);
        if a.dtype != b.dtype {
            return Err(Error::graph(format!("expected operands of one type, found {a} and {b}")));
        }
        self.pair(a.dtype)?;
        Ok(vec![ValueType::new(a.dtype, broadcast(&a.shape, &b.shape)?)])
    }
    fn formats(&self, cx: &FormatCx) -> Formats {
        // One operand of the result's shape with channels innermost: another of that shape can be had so, and one that is broadcast is read
        // as it is.
        let out = cx.out_shape(0);
        let lead = (0..2).find(|&i| cx.format(i) == Format::ChannelsLast && cx.shape(i) == out);
        lead.map_or_else(|| cx.plain(), |i| cx.follow(i))
    }
    fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
        let dtype = cx.output(0).dtype;
        let pair = self.pair(dtype)?;
        let plan = if cx.output(0).format == Format::Plain {
            Broadcast::new("quantized pair", [cx.shape(0)?, cx.shape(1)?])?
        } else {
            channels_last(cx)?
        };
        Ok(with_numbers!(dtype, T => Compute::function("loop", move |io: &mut Io<'_>, par: &dyn Parallel| {
            if let Err(e) = pair.apply_all(&plan, io.input::<T>(0), io.input::<T>(1), io.output::<T>(0), par) {
                io.fail(e);
            }
        })
        .into()))
    }
}

impl Evaluate for QBinary {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let (a, b) = (operand(inputs, 0)?, operand(inputs, 1)?);
        let (pair, plan) = (self.pair(a.dtype())?, Broadcast::new("quantized pair", [a.shape(), b.shape()])?);
        let shape = super::super::operands::shape(self, inputs)?;
        with_numbers!(a.dtype(), T => {
            let mut y = vec![T::default(); crate::checked_len(&shape)?];
            pair.apply_all(&plan, elements::<T>(inputs, 0)?, elements::<T>(inputs, 1)?, &mut y, &ALONE)?;
            Ok(vec![Tensor::new(&shape, y)?])
        })
    }
}
