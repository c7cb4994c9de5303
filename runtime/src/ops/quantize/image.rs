//! Pools and resampling of images of numbers.

use super::super::conv::{Steps, image, per_axis};
use super::super::infer::{Infer, ValueType};
use super::super::operands::vector;
use super::super::pool::{Pool, PoolKind};
use super::super::{Evaluate, Operator};
use super::{
    ALONE, QPool, QResize, attribute_range, channels_last, elements, flat_image, is_channels_last, numbers, operand,
    tensor, two, with_numbers,
};
use crate::dim::show_shape;
use crate::plan::{Compute, FormatCx, Formats, Io, LowerCx, Lowered};
use crate::{DType, Dim, Error, Result, Tensor};
use pocketnn_kernels::par::Parallel;
use pocketnn_kernels::quantize::{self as kernel, Bilinear};
use pocketnn_kernels::reference::quantize as reference;

impl QPool {
    fn mean(&self) -> Result<bool> {
        match self.kind {
            PoolKind::Max => Ok(false),
            PoolKind::Average => Ok(true),
            PoolKind::Lp => Err(Error::graph("kind: expected `max` or `average`")),
        }
    }
    fn pool(&self) -> Pool {
        let Self { kind, kernel, strides, pads, .. } = self.clone();
        Pool { kind, kernel, strides, pads, ..Pool::default() }
    }
}

impl Operator for QPool {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        self.mean()?;
        let x = image(cx, 0)?;
        let rank = x.len() - 2;
        if self.kernel.len() != rank {
            return Err(Error::graph(format!("kernel: expected {rank} entries, found {:?}", self.kernel)));
        }
        attribute_range(self.range.as_ref(), numbers(cx, 0)?.dtype)?;
        let kernel = per_axis("kernel", &self.kernel, rank, 1)?;
        let steps = Steps::new(rank, &self.strides, &[])?;
        let mut shape = x[..2].to_vec();
        for i in 0..rank {
            shape.push(steps.output(i, &x[i + 2], &Dim::from(kernel[i]), &self.pads, false)?);
        }
        Ok(vec![ValueType::new(cx.dtype(0)?, shape)])
    }
    fn formats(&self, cx: &FormatCx) -> Formats {
        channels_last(cx)
    }
    fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
        let (x, out) = (cx.shape(0)?, &cx.output(0).shape);
        let (Some((batch, channels, size)), Some((_, _, output))) = (flat_image(x), flat_image(out)) else {
            return Ok(Lowered::Interpreted);
        };
        if !is_channels_last(cx)? {
            return Ok(Lowered::Interpreted);
        }
        let (window, _) = self.pool().window(&x[2..])?;
        let dtype = cx.output(0).dtype;
        let begin: Vec<usize> = window.pads.iter().map(|p| p.0).collect();
        let desc = kernel::PoolDesc {
            batch,
            channels,
            size,
            kernel: two(&window.kernel, 1),
            stride: two(&window.stride, 1),
            begin: two(&begin, 0),
            output,
            mean: self.mean()?,
            range: attribute_range(self.range.as_ref(), dtype)?,
        };
        let pool = kernel::Pool::new(cx.isa(), desc)?;
        Ok(with_numbers!(dtype, T => Compute::function("integer rows", move |io: &mut Io<'_>, par: &dyn Parallel| {
            if let Err(e) = pool.apply(io.input::<T>(0), io.output::<T>(0), par) {
                io.fail(e);
            }
        })
        .into()))
    }
}

impl Evaluate for QPool {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let x = operand(inputs, 0)?;
        let (window, out) = self.pool().window(&x.shape()[2..])?;
        let (lo, hi) = attribute_range(self.range.as_ref(), x.dtype())?;
        let y = reference::pool(&x.to_i64()?, x.shape(), self.mean()?, &window, &out);
        let y = y.into_iter().map(|v| v.clamp(lo.into(), hi.into()) as i32).collect();
        let shape: Vec<usize> = x.shape()[..2].iter().chain(&out).copied().collect();
        Ok(vec![tensor(x.dtype(), &shape, y)?])
    }
}

impl QResize {
    fn filter(&self, x: &[usize], size: [usize; 2]) -> Result<Bilinear> {
        let &[n, h, w, c] = x else {
            return Err(Error::graph(format!("input 0: expected [N, H, W, C], found {x:?}")));
        };
        Ok(Bilinear::new(n, c, [h, w], size, self.corners, self.half)?)
    }
}

impl Operator for QResize {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let x = numbers(cx, 0)?;
        let size = vector(cx, 1)?.unwrap_or_else(|| vec![Dim::unknown(), Dim::unknown()]);
        let ([n, _, _, c], [h, w]) = (x.shape.as_slice(), size.as_slice()) else {
            let message = format!("expected [N, H, W, C] and two extents, found {x} and {}", show_shape(&size));
            return Err(Error::graph(message));
        };
        if [h, w].iter().any(|d| d.known_signed().is_some_and(|n| n < 0)) {
            return Err(Error::graph("a negative extent"));
        }
        Ok(vec![ValueType::new(x.dtype, vec![n.clone(), h.clone(), w.clone(), c.clone()])])
    }
    fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
        let out = &cx.output(0).shape;
        let filter = self.filter(cx.shape(0)?, [out[1], out[2]])?;
        Ok(
            with_numbers!(cx.output(0).dtype, T => Compute::function("bilinear", move |io: &mut Io<'_>, par: &dyn Parallel| {
                if let Err(e) = filter.apply(io.input::<T>(0), io.output::<T>(0), par) {
                    io.fail(e);
                }
            })
            .into()),
        )
    }
}

impl Evaluate for QResize {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let x = operand(inputs, 0)?;
        let shape = super::super::operands::shape(self, inputs)?;
        let filter = self.filter(x.shape(), [shape[1], shape[2]])?;
        with_numbers!(x.dtype(), T => {
            let mut y = vec![T::default(); crate::checked_len(&shape)?];
            filter.apply(elements::<T>(inputs, 0)?, &mut y, &ALONE)?;
            Ok(vec![Tensor::new(&shape, y)?])
        })
    }
}
