//! Softmax and reductions of numbers.

use super::super::infer::{Infer, ValueType};
use super::super::operands::distinct_axes;
use super::super::{Evaluate, Operator};
use super::{ALONE, QReduce, QSoftmax, elements, numbers, operand, with_numbers};
use crate::plan::{Compute, Format, FormatCx, Formats, Io, LowerCx, Lowered};
use crate::{DType, Dim, Error, Result, Tensor};
use pocketnn_kernels::par::Parallel;
use pocketnn_kernels::quantize::{Softmax, Softmax16, Sums};

/// A softmax of either width.
enum Filter {
    Table(Softmax),
    Wide(Softmax16),
}

impl QSoftmax {
    fn filter(&self, dtype: DType, row: usize) -> Result<Filter> {
        Ok(match dtype {
            DType::I16 => Filter::Wide(Softmax16::new(row, self.scale, self.beta)?),
            _ => Filter::Table(Softmax::new(row, self.scale, self.beta, self.y)?),
        })
    }
}

impl Operator for QSoftmax {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let x = numbers(cx, 0)?;
        if x.shape.is_empty() {
            return Err(Error::graph("input 0: expected at least one axis"));
        }
        self.filter(x.dtype, 1)?;
        Ok(vec![x.clone()])
    }
    fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
        let dtype = cx.output(0).dtype;
        let row = cx.shape(0)?.last().copied().unwrap_or(1);
        Ok(match self.filter(dtype, row)? {
            Filter::Wide(f) => Compute::function("tables", move |io: &mut Io<'_>, par: &dyn Parallel| {
                if let Err(e) = f.apply(io.input(0), io.output(0), par) {
                    io.fail(e);
                }
            })
            .into(),
            Filter::Table(f) => {
                with_numbers!(dtype, T => Compute::function("table", move |io: &mut Io<'_>, par: &dyn Parallel| {
                    if let Err(e) = f.apply(io.input::<T>(0), io.output::<T>(0), par) {
                        io.fail(e);
                    }
                })
                .into())
            }
        })
    }
}

impl Evaluate for QSoftmax {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let x = operand(inputs, 0)?;
        let row = x.shape().last().copied().unwrap_or(1);
        match self.filter(x.dtype(), row)? {
            Filter::Wide(f) => {
                let mut y = vec![0i16; x.len()];
                f.apply(x.as_slice()?, &mut y, &ALONE)?;
                Ok(vec![Tensor::new(x.shape(), y)?])
            }
            Filter::Table(f) => with_numbers!(x.dtype(), T => {
                let mut y = vec![T::default(); x.len()];
                f.apply(elements::<T>(inputs, 0)?, &mut y, &ALONE)?;
                Ok(vec![Tensor::new(x.shape(), y)?])
            }),
        }
    }
}

impl QReduce {
    /// The axes in order, which must be neighbours.
    fn sorted(&self, rank: usize) -> Result<Vec<usize>> {
        let mut axes = distinct_axes(&self.axes, rank)?;
        axes.sort_unstable();
        if axes.is_empty() || axes.windows(2).any(|w| w[0] + 1 != w[1]) {
            return Err(Error::unsupported(format!("axes {:?}: expected one or more neighbours", self.axes)));
        }
        Ok(axes)
    }
    fn filter(&self, shape: &[usize]) -> Result<Sums> {
        let axes = self.sorted(shape.len())?;
        let (first, last) = (axes[0], axes[axes.len() - 1]);
        let count = shape[first..=last].iter().product();
        let inner = shape[last + 1..].iter().product();
        Ok(Sums::new(count, inner, self.mean, self.x, self.y)?)
    }
}

impl Operator for QReduce {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let x = numbers(cx, 0)?;
        let axes = self.sorted(x.shape.len())?;
        Sums::new(1, 1, self.mean, self.x, self.y)?;
        let kept = |(i, d): (usize, &Dim)| match (axes.contains(&i), self.keep_dims) {
            (false, _) => Some(d.clone()),
            (true, true) => Some(Dim::from(1)),
            (true, false) => None,
        };
        Ok(vec![ValueType::new(x.dtype, x.shape.iter().enumerate().filter_map(kept).collect::<Vec<_>>())])
    }
    fn formats(&self, cx: &FormatCx) -> Formats {
        // All spatial axes of an image go away: what is left has one order.
        let mut f = cx.plain();
        let rank = cx.shape(0).len();
        let spatial = self.sorted(rank).is_ok_and(|axes| axes.iter().copied().eq(2..rank));
        if cx.format(0) == Format::ChannelsLast && spatial {
            f.inputs[0] = Format::ChannelsLast;
        }
        f
    }
    fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
        let (x, dtype) = (cx.input(0)?, cx.output(0).dtype);
        let filter = if x.format == Format::ChannelsLast {
            Sums::new(x.shape[2..].iter().product(), x.shape[1], self.mean, self.x, self.y)?
        } else {
            self.filter(&x.shape)?
        };
        Ok(with_numbers!(dtype, T => Compute::function("integer sums", move |io: &mut Io<'_>, par: &dyn Parallel| {
            if let Err(e) = filter.apply(io.input::<T>(0), io.output::<T>(0), par) {
                io.fail(e);
            }
        })
        .into()))
    }
}

impl Evaluate for QReduce {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let x = operand(inputs, 0)?;
        let shape = super::super::operands::shape(self, inputs)?;
        let filter = self.filter(x.shape())?;
        with_numbers!(x.dtype(), T => {
            let mut y = vec![T::default(); crate::checked_len(&shape)?];
            filter.apply(elements::<T>(inputs, 0)?, &mut y, &ALONE)?;
            Ok(vec![Tensor::new(&shape, y)?])
        })
    }
}
