//! Reading and writing at indices that are operands.

use super::{Gather, GatherElements, GatherNd, Reduction, ScatterElements, ScatterNd};
use crate::ops::conv::operand;
use crate::ops::infer::{Infer, ValueType, normalize_axis};
use crate::ops::operands::{by_size, from_raw, integers, raw, shape, unify};
use crate::ops::{Evaluate, Operator, Takes};
use crate::plan::{Compute, Io, LowerCx, Lowered};
use crate::{DType, Dim, Error, Result, Tensor, dim::show_shape, with_dtype};
use pocketnn_kernels::gather::{Gather as Kernel, position};
use pocketnn_kernels::par::Parallel;
use pocketnn_kernels::reference::gather as reference;

fn expect_indices(cx: &Infer, i: usize) -> Result<()> {
    match cx.dtype(i)? {
        DType::I32 | DType::I64 => Ok(()),
        other => Err(Error::graph(format!("input {i}: expected indices of i32 or i64, found {other}"))),
    }
}

impl Operator for Gather {
    fn takes(&self) -> Takes {
        Takes::Moved
    }
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        expect_indices(cx, 1)?;
        let (x, indices) = (cx.ty(0)?, cx.shape(1)?);
        let axis = normalize_axis(self.axis, x.shape.len())?;
        if let (Some(extent), Some(values)) = (x.shape[axis].known(), cx.integers(1)) {
            values.into_iter().try_for_each(|i| position(i, extent).map(|_| ()))?;
        }
        let shape = [&x.shape[..axis], indices, &x.shape[axis + 1..]].concat();
        Ok(vec![ValueType::new(x.dtype, shape)])
    }
    fn infer_dims(&self, cx: &Infer) -> Option<Vec<Dim>> {
        let (x, indices) = (cx.dims(0)?, cx.dims(1)?);
        if cx.rank(0).ok()? != 1 {
            return None;
        }
        indices.iter().map(|i| position(i.known_signed()?, x.len()).ok().map(|p| x[p].clone())).collect()
    }
    fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
        let (x, indices) = (cx.input(0)?, cx.input(1)?);
        let axis = normalize_axis(self.axis, x.shape.len())?;
        let gather = Kernel::new(&x.shape, axis, indices.shape.iter().product())?;
        let (dtype, wide) = (x.dtype, indices.dtype == DType::I64);
        let run = move |io: &mut Io<'_>, _: &dyn Parallel| {
            let outcome = by_size!(dtype, T => {
                let (x, y) = (io.input::<T>(0), io.output::<T>(0));
                if wide { gather.apply(x, io.input::<i64>(1), y) } else { gather.apply(x, io.input::<i32>(1), y) }
            });
            if let Err(e) = outcome {
                io.fail(e);
            }
        };
        Ok(Compute::function("gather", run).into())
    }
}

impl Evaluate for Gather {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let shape = shape(self, inputs)?;
        let (x, indices) = (operand(inputs, 0)?, integers(inputs, 1)?);
        let axis = normalize_axis(self.axis, x.rank())?;
        by_size!(x.dtype(), T => {
            from_raw(x.dtype(), &shape, reference::gather(raw::<T>(x), x.shape(), axis, &indices)?)
        })
        .map(|t| vec![t])
    }
}

/// Checks indices against a tensor of the same rank: except along the axis they are not longer.
fn expect_elements(cx: &Infer, axis: i64) -> Result<usize> {
    expect_indices(cx, 1)?;
    let (x, indices) = (cx.shape(0)?, cx.shape(1)?);
    let axis = normalize_axis(axis, x.len())?;
    let fits = x.len() == indices.len()
        && (0..x.len()).all(|a| match (x[a].known(), indices[a].known()) {
            (Some(n), Some(i)) if a != axis => i <= n,
            _ => true,
        });
    if fits {
        Ok(axis)
    } else {
        let (x, indices) = (show_shape(x), show_shape(indices));
        Err(Error::graph(format!("input 1: indices of shape {indices} do not fit {x} along axis {axis}")))
    }
}

impl Operator for GatherElements {
    fn takes(&self) -> Takes {
        Takes::Moved
    }
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        expect_elements(cx, self.axis)?;
        Ok(vec![ValueType::new(cx.dtype(0)?, cx.shape(1)?)])
    }
}

impl Evaluate for GatherElements {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let shape = shape(self, inputs)?;
        let (x, indices) = (operand(inputs, 0)?, integers(inputs, 1)?);
        let axis = normalize_axis(self.axis, x.rank())?;
        by_size!(x.dtype(), T => {
            let y = reference::gather_elements(raw::<T>(x), x.shape(), axis, &indices, &shape)?;
            from_raw(x.dtype(), &shape, y)
        })
        .map(|t| vec![t])
    }
}

/// Length of the index tuples: the last extent of input 1.
fn tuple_len(cx: &Infer, rank: usize) -> Result<usize> {
    expect_indices(cx, 1)?;
    let indices = cx.shape(1)?;
    let bad = |what: &str| Error::graph(format!("input 1: {what}, found {}", show_shape(indices)));
    let last = indices.last().ok_or_else(|| bad("expected index tuples along the last axis"))?;
    let k = last.known().ok_or_else(|| Error::unsupported(format!("input 1: tuples of unknown length {last}")))?;
    if (1..=rank).contains(&k) { Ok(k) } else { Err(bad(&format!("expected tuples of 1 to {rank} indices"))) }
}

impl Operator for GatherNd {
    fn takes(&self) -> Takes {
        Takes::Moved
    }
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let (x, indices) = (cx.ty(0)?, cx.shape(1)?);
        let b = self.batch_dims;
        if b >= x.shape.len().min(indices.len()) {
            let ranks = (x.shape.len(), indices.len());
            return Err(Error::graph(format!("batch_dims: {b} is not less than both ranks {ranks:?}")));
        }
        let k = tuple_len(cx, x.shape.len() - b)?;
        let mut shape = indices[..indices.len() - 1].to_vec();
        for (a, d) in shape[..b].iter_mut().enumerate() {
            *d = unify(&format!("batch axis {a}"), d, &x.shape[a])?;
        }
        shape.extend_from_slice(&x.shape[b + k..]);
        Ok(vec![ValueType::new(x.dtype, shape)])
    }
}

impl Evaluate for GatherNd {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let shape = shape(self, inputs)?;
        let (x, tuples) = (operand(inputs, 0)?, integers(inputs, 1)?);
        let k = operand(inputs, 1)?.shape().last().copied().unwrap_or(1);
        by_size!(x.dtype(), T => {
            from_raw(x.dtype(), &shape, reference::gather_nd(raw::<T>(x), x.shape(), self.batch_dims, &tuples, k)?)
        })
        .map(|t| vec![t])
    }
}

/// Checks that the updates have the type of `x` and this shape.
fn expect_updates(cx: &Infer, shape: &[Dim]) -> Result<()> {
    cx.expect_dtype(2, cx.dtype(0)?)?;
    let found = cx.shape(2)?;
    let fits = found.len() == shape.len()
        && found.iter().zip(shape).all(|(a, b)| a.known().is_none() || b.known().is_none() || a == b);
    if fits {
        Ok(())
    } else {
        Err(Error::graph(format!("input 2: expected {}, found {}", show_shape(shape), show_shape(found))))
    }
}

/// Runs a block with the type that moves elements where nothing is combined, else with the real one.
macro_rules! scatter {
    ($reduction:expr, $x:expr, $shape:expr, $t:ident, $combine:ident => $body:expr) => {
        if $reduction == Reduction::None {
            by_size!($x.dtype(), $t => {
                let $combine = |_: $t, new: $t| new;
                from_raw($x.dtype(), $shape, $body)
            })
        } else {
            with_dtype!($x.dtype(), $t => {
                let $combine = |old: $t, new: $t| $reduction.combine(old, new);
                Tensor::new($shape, $body)
            })
        }
    };
}

impl Operator for ScatterElements {
    fn takes(&self) -> Takes {
        Takes::Moved
    }
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        expect_elements(cx, self.axis)?;
        expect_updates(cx, cx.shape(1)?)?;
        Ok(vec![cx.ty(0)?.clone()])
    }
}

impl Evaluate for ScatterElements {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let shape = shape(self, inputs)?;
        let (x, indices, updates) = (operand(inputs, 0)?, integers(inputs, 1)?, operand(inputs, 2)?);
        let axis = normalize_axis(self.axis, x.rank())?;
        scatter!(self.reduction, x, &shape, T, combine => {
            let new = (raw::<T>(updates), updates.shape());
            reference::scatter_elements(raw::<T>(x), &shape, axis, &indices, new, combine)?
        })
        .map(|t| vec![t])
    }
}

impl Operator for ScatterNd {
    fn takes(&self) -> Takes {
        Takes::Moved
    }
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let (x, indices) = (cx.ty(0)?, cx.shape(1)?);
        let k = tuple_len(cx, x.shape.len())?;
        expect_updates(cx, &[&indices[..indices.len() - 1], &x.shape[k..]].concat())?;
        Ok(vec![x.clone()])
    }
}

impl Evaluate for ScatterNd {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let shape = shape(self, inputs)?;
        let (x, tuples, updates) = (operand(inputs, 0)?, integers(inputs, 1)?, operand(inputs, 2)?);
        let k = operand(inputs, 1)?.shape().last().copied().unwrap_or(1);
        scatter!(self.reduction, x, &shape, T, combine => {
            reference::scatter_nd(raw::<T>(x), &shape, &tuples, k, raw::<T>(updates), combine)?
        })
        .map(|t| vec![t])
    }
}
