//! Channels chosen in any order, from one image or several: an op of its own, and how cuts and joins that are not whole channel blocks
//! run.

use super::Pick;
use crate::ops::conv::operand;
use crate::ops::elementwise::lower::done;
use crate::ops::infer::{Infer, ValueType};
use crate::ops::operands::{by_size, from_raw, raw, shape, unify};
use crate::ops::{Evaluate, Operator, Takes};
use crate::plan::{Compute, Format, FormatCx, Formats, Io, LowerCx, Lowered, Step, can_block};
use crate::{DType, Dim, Error, Result, Tensor};
use pocketnn_kernels::layout::Blocked;
use pocketnn_kernels::movement::{self as kernel, MOST};
use pocketnn_kernels::par::Parallel;
use pocketnn_kernels::reference::movement as reference;

impl Operator for Pick {
    fn takes(&self) -> Takes {
        Takes::Moved
    }
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let first = cx.ty(0)?;
        let mut shape = first.shape.clone();
        if shape.len() < 2 || cx.len() > MOST {
            return Err(Error::graph(format!(
                "expected 1 to {MOST} inputs [N, C, ...], found {} of {first}",
                cx.len()
            )));
        }
        let mut channels = Some(0);
        for i in 0..cx.len() {
            cx.expect_dtype(i, first.dtype)?;
            let other = cx.shape(i)?;
            if other.len() != shape.len() {
                return Err(Error::graph(format!("input {i}: expected rank {}, found {}", shape.len(), other.len())));
            }
            channels = channels.zip(other[1].known()).map(|(a, b)| a + b);
            for a in (0..shape.len()).filter(|&a| a != 1) {
                shape[a] = unify(&format!("axis {a} of input {i}"), &shape[a], &other[a])?;
            }
        }
        if let (Some(all), Some(&most)) = (channels, self.pick.iter().max())
            && most >= all
        {
            return Err(Error::graph(format!("pick: there is no channel {most}; the inputs have {all}")));
        }
        shape[1] = Dim::from(self.pick.len());
        Ok(vec![ValueType::new(first.dtype, shape)])
    }
    fn formats(&self, cx: &FormatCx) -> Formats {
        let mut f = cx.plain();
        let blocked = (0..cx.len()).filter(|&i| cx.format(i) == Format::Blocked).count();
        if can_block(cx.out_ty(0)) && 2 * blocked >= cx.len() && (0..cx.len()).all(|i| cx.is_variable(i)) {
            f.inputs.fill(Format::Blocked);
            f.outputs[0] = Format::Blocked;
        }
        f
    }
    fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
        let y = cx.output(0);
        if y.format == Format::Blocked {
            let from = (0..cx.len()).map(|i| cx.input(i)?.blocked()).collect::<Result<Vec<_>>>()?;
            return Ok(joined(cx, &from, y.blocked()?, &self.pick)?.into());
        }
        let sources = (0..cx.len()).map(|i| Ok(cx.shape(i)?[1])).collect::<Result<Vec<_>>>()?;
        let positions = y.shape[2..].iter().product();
        Ok(Compute::new(Planes { dtype: y.dtype, sources, positions, pick: self.pick.clone() }).into())
    }
}

impl Evaluate for Pick {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let shape = shape(self, inputs)?;
        let dtype = operand(inputs, 0)?.dtype();
        let positions = shape[2..].iter().product();
        by_size!(dtype, T => {
            let images: Vec<(&[T], usize)> = inputs.iter().flatten().map(|t| (raw::<T>(t), t.shape()[1])).collect();
            let total: usize = images.iter().map(|i| i.1).sum();
            if self.pick.iter().any(|&c| c >= total) {
                return Err(Error::graph(format!("pick: a channel beyond the {total} of the inputs")));
            }
            from_raw(dtype, &shape, reference::pick(&images, shape[0], positions, &self.pick))
        })
        .map(|t| vec![t])
    }
}

/// A choice from blocked images as one step.
pub(super) fn joined(cx: &LowerCx, from: &[Blocked], to: Blocked, pick: &[usize]) -> Result<Compute> {
    let picks = vec![kernel::Pick::new(cx.isa(), from, to, pick)?];
    Ok(Compute::new(Images { picks, inputs: from.len() }))
}

/// A blocked image cut in pieces of neighbouring channels, `start` and geometry of each.
pub(super) fn cut(cx: &LowerCx, from: Blocked, pieces: &[(usize, Blocked)]) -> Result<Compute> {
    let one = |&(start, to): &(usize, Blocked)| {
        let pick: Vec<usize> = (start..start + to.c).collect();
        Ok(kernel::Pick::new(cx.isa(), &[from], to, &pick)?)
    };
    Ok(Compute::new(Images { picks: pieces.iter().map(one).collect::<Result<_>>()?, inputs: 1 }))
}

/// One choice an output, all from the same images.
struct Images {
    picks: Vec<kernel::Pick>,
    inputs: usize,
}

impl Step for Images {
    fn run(&self, io: &mut Io<'_>, par: &dyn Parallel) {
        let mut x: [&[f32]; MOST] = [&[]; MOST];
        x[..self.inputs].iter_mut().enumerate().for_each(|(i, x)| *x = io.input(i));
        for (i, pick) in self.picks.iter().enumerate() {
            done(pick.apply(&x[..self.inputs], io.output(i), par));
        }
    }
    fn algorithm(&self) -> String {
        "channels permuted in blocks".to_string()
    }
}

/// Whole planes of row-major images.
struct Planes {
    dtype: DType,
    /// Channels of every input.
    sources: Vec<usize>,
    positions: usize,
    pick: Vec<usize>,
}

impl Step for Planes {
    fn run(&self, io: &mut Io<'_>, _par: &dyn Parallel) {
        by_size!(self.dtype, T => {
            let y = io.output::<T>(0);
            for (i, plane) in y.chunks_exact_mut(self.positions.max(1)).enumerate() {
                let (n, mut c, mut source) = (i / self.pick.len(), self.pick[i % self.pick.len()], 0);
                while c >= self.sources[source] {
                    c -= self.sources[source];
                    source += 1;
                }
                let start = (n * self.sources[source] + c) * self.positions;
                plane.copy_from_slice(&io.input::<T>(source)[start..start + self.positions]);
            }
        });
    }
    fn algorithm(&self) -> String {
        "planes".to_string()
    }
}
