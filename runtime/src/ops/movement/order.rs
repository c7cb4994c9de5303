//! The same elements in another order.

use super::{DepthToSpace, SpaceToDepth, Transpose};
use crate::ops::conv::operand;
use crate::ops::infer::{Infer, ValueType};
use crate::ops::operands::{by_size, from_raw, raw, shape};
use crate::ops::{Evaluate, Operator, Takes};
use crate::plan::{FormatCx, Formats, LowerCx, Lowered};
use crate::{Dim, Error, Result, Tensor, dim::show_shape};
use pocketnn_kernels::reference::movement as reference;

impl Transpose {
    /// The permutation of the axes of a tensor of this rank.
    ///
    /// # Errors
    /// When `perm` is not one.
    pub fn permutation(&self, rank: usize) -> Result<Vec<usize>> {
        if self.perm.is_empty() {
            return Ok((0..rank).rev().collect());
        }
        let valid = self.perm.len() == rank && (0..rank).all(|a| self.perm.contains(&a));
        if valid {
            Ok(self.perm.clone())
        } else {
            Err(Error::graph(format!("perm {:?} is not a permutation of the {rank} axes of the input", self.perm)))
        }
    }
}

impl Operator for Transpose {
    fn takes(&self) -> Takes {
        Takes::Moved
    }
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let x = cx.ty(0)?;
        let perm = self.permutation(x.shape.len())?;
        Ok(vec![ValueType::new(x.dtype, perm.iter().map(|&p| x.shape[p].clone()).collect::<Vec<_>>())])
    }
    fn infer_dims(&self, cx: &Infer) -> Option<Vec<Dim>> {
        cx.dims(0).map(<[Dim]>::to_vec)
    }
    fn formats(&self, cx: &FormatCx) -> Formats {
        self.choose(cx)
    }
    fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
        self.kernel(cx)
    }
}

impl Evaluate for Transpose {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let shape = shape(self, inputs)?;
        let x = operand(inputs, 0)?;
        let perm = self.permutation(x.rank())?;
        by_size!(x.dtype(), T => from_raw(x.dtype(), &shape, reference::transpose(raw::<T>(x), x.shape(), &perm)))
            .map(|t| vec![t])
    }
}

/// The extents of an image `[N, C, H, W]`.
fn image<'a>(cx: &Infer<'a>, block: usize) -> Result<&'a [Dim; 4]> {
    if block == 0 || block > 1 << 16 {
        return Err(Error::graph(format!("block: expected at least 1 and at most 65536, found {block}")));
    }
    let x = cx.shape(0)?;
    x.try_into().map_err(|_| Error::graph(format!("input 0: expected [N, C, H, W], found {}", show_shape(x))))
}

/// `d / by`, which must be whole.
fn part(d: &Dim, by: usize, what: &str) -> Result<Dim> {
    match d.known() {
        Some(n) if n % by != 0 => Err(Error::graph(format!("{what} {n} are not a multiple of {by}"))),
        _ => Ok(d.div_floor(&Dim::from(by))),
    }
}

impl Operator for DepthToSpace {
    fn takes(&self) -> Takes {
        Takes::Moved
    }
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let [n, c, h, w] = image(cx, self.block)?.clone();
        let b = Dim::from(self.block);
        let c = part(&c, self.block * self.block, "channels")?;
        Ok(vec![ValueType::new(cx.dtype(0)?, vec![n, c, h * b.clone(), w * b])])
    }
    fn formats(&self, cx: &FormatCx) -> Formats {
        Self::choose(cx)
    }
    fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
        self.kernel(cx)
    }
}

impl Evaluate for DepthToSpace {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let shape = shape(self, inputs)?;
        let x = operand(inputs, 0)?;
        let from = four(x.shape())?;
        by_size!(x.dtype(), T => {
            let y = reference::depth_to_space(raw::<T>(x), &from, self.block, self.order.kernel());
            from_raw(x.dtype(), &shape, y)
        })
        .map(|t| vec![t])
    }
}

impl Operator for SpaceToDepth {
    fn takes(&self) -> Takes {
        Takes::Moved
    }
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let [n, c, h, w] = image(cx, self.block)?.clone();
        let (h, w) = (part(&h, self.block, "rows")?, part(&w, self.block, "columns")?);
        let c = c * Dim::from(self.block * self.block);
        Ok(vec![ValueType::new(cx.dtype(0)?, vec![n, c, h, w])])
    }
    fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
        self.kernel(cx)
    }
}

impl Evaluate for SpaceToDepth {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let shape = shape(self, inputs)?;
        let x = operand(inputs, 0)?;
        let from = four(x.shape())?;
        by_size!(x.dtype(), T => {
            let y = reference::space_to_depth(raw::<T>(x), &from, self.block, self.order.kernel());
            from_raw(x.dtype(), &shape, y)
        })
        .map(|t| vec![t])
    }
}

fn four(shape: &[usize]) -> Result<[usize; 4]> {
    shape.try_into().map_err(|_| Error::graph(format!("input 0: expected [N, C, H, W], found {shape:?}")))
}
