//! Matrix products.

use super::activation::Activation;
mod determinant;
mod einsum;
mod lower;

pub use determinant::Determinant;

use super::attrs::attributes;
use super::conv::{activate, agree, check_bias, count, float_tensor, operand};
use super::infer::{self, Fact, Infer, ValueType};
use super::{Evaluate, Operator};
use crate::dim::show_shape;
use crate::format::packed::Form;
use crate::plan::{FormatCx, Formats, LowerCx, Lowered};
use crate::{DType, Dim, Error, Result, Tensor};
use pocketnn_kernels::reference;

attributes! {
    /// Fully connected layer. Inputs `x [..., K]`, `w [O, K]`, optional `b [O]`; output `[..., O]`.
    pub struct Dense {
        /// Applied to the sums.
        pub activation: Activation = Activation::Identity,
    }
    /// Matrix product of `a [..., M, K]` and `b [..., K, N]` with numpy's rules for batches and vectors.
    pub struct MatMul {}
    /// Sum of products over named axes, as `numpy.einsum`.
    pub struct Einsum {
        /// Such as `bij,bjk->bik`.
        pub equation: String = String::new(),
    }
}

impl Operator for Dense {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let (x, w) = (cx.shape(0)?, cx.shape(1)?);
        let [o, k] = w else {
            return Err(Error::graph(format!("input 1: expected [O, K], found {}", show_shape(w))));
        };
        let Some((last, lead)) = x.split_last() else {
            return Err(Error::graph("input 0: expected [..., K], found a scalar".to_string()));
        };
        if !cx.dtype(0)?.is_float() {
            return Err(Error::graph(format!("input 0: expected floats, found {}", cx.dtype(0)?)));
        }
        agree("features", last, k, "input 0", "input 1")?;
        check_bias(cx, o)?;
        let mut shape = lead.to_vec();
        shape.push(o.clone());
        Ok(vec![ValueType::new(cx.dtype(0)?, shape)])
    }
    fn formats(&self, cx: &FormatCx) -> Formats {
        lower::formats(cx)
    }
    fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
        lower::lower(self, cx)
    }
    fn packed(&self, cx: &LowerCx) -> Vec<(usize, Form)> {
        lower::packed(cx)
    }
    fn macs(&self, inputs: &[Option<&Fact>], outputs: &[ValueType]) -> u64 {
        let x = inputs.first().copied().flatten().and_then(|f| f.ty.known_shape());
        let y = outputs.first().and_then(ValueType::known_shape);
        x.zip(y).map_or(0, |(x, y)| count(y.iter().chain(x.last())))
    }
}

impl Evaluate for Dense {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let (x, w) = (operand(inputs, 0)?, operand(inputs, 1)?);
        let (&[o, _], Some((_, lead))) = (w.shape(), x.shape().split_last()) else {
            return Err(Error::graph("expected x [..., K] and w [O, K]".to_string()));
        };
        let bias = inputs.get(2).copied().flatten().map(Tensor::to_f32);
        let rows = lead.iter().product();
        let mut y = reference::dense::dense(&x.to_f32(), rows, &w.to_f32(), o, bias.as_deref());
        activate(&self.activation, &mut y);
        let shape: Vec<usize> = lead.iter().copied().chain([o]).collect();
        Ok(vec![float_tensor(&shape, y, x.dtype())?])
    }
}

impl Operator for MatMul {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let (a, b) = (cx.shape(0)?, cx.shape(1)?);
        if a.is_empty() || b.is_empty() {
            return Err(Error::graph("expected at least one dimension in both inputs, found a scalar".to_string()));
        }
        let (a_lead, m, k) = split(a, false);
        let (b_lead, n, rows) = split(b, true);
        agree("inner dimension", k, rows, "input 0", "input 1")?;
        let mut shape = infer::broadcast(a_lead, b_lead)?;
        shape.extend(m.cloned());
        shape.extend(n.cloned());
        Ok(vec![ValueType::new(cx.dtype(0)?, shape)])
    }
    fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
        lower::lower_product(cx)
    }
    fn packed(&self, cx: &LowerCx) -> Vec<(usize, Form)> {
        lower::packed_product(cx)
    }
    fn macs(&self, inputs: &[Option<&Fact>], outputs: &[ValueType]) -> u64 {
        Dense::default().macs(inputs, outputs)
    }
}

impl Evaluate for MatMul {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let (a, b) = (operand(inputs, 0)?, operand(inputs, 1)?);
        if a.dtype().is_float() && a.dtype() != DType::F64 {
            let (y, shape) = reference::dense::matmul(&a.to_f32(), a.shape(), &b.to_f32(), b.shape());
            return Ok(vec![float_tensor(&shape, y, a.dtype())?]);
        }
        // Letters of the shared leading axes, counted from the last one, then the matrix axes.
        let letters = |rank: usize, tail: &str| -> String {
            let lead = rank.saturating_sub(2);
            let own = if rank == 1 { tail.replace(['m', 'n'], "") } else { tail.to_string() };
            (0..lead).rev().map(|i| (b'A' + i as u8) as char).chain(own.chars()).collect()
        };
        let lead = a.rank().max(b.rank()).saturating_sub(2);
        if lead > 26 {
            return Err(Error::unsupported(format!("MatMul of {lead} leading axes")));
        }
        let out: String = (0..lead).rev().map(|i| (b'A' + i as u8) as char).collect();
        let matrix = [(a.rank() > 1).then_some('m'), (b.rank() > 1).then_some('n')];
        let out: String = out.chars().chain(matrix.into_iter().flatten()).collect();
        let equation = format!("{},{}->{out}", letters(a.rank(), "mk"), letters(b.rank(), "kn"));
        Ok(vec![einsum::eval(&equation, &[a, b])?])
    }
}

/// Leading axes, rows (or, of the right operand, columns) and the inner dimension of a product's operand.
fn split(shape: &[Dim], right: bool) -> (&[Dim], Option<&Dim>, &Dim) {
    match shape {
        [k] => (&[], None, k),
        [lead @ .., k, n] if right => (lead, Some(n), k),
        [lead @ .., m, k] => (lead, Some(m), k),
        [] => unreachable!("checked by the caller"),
    }
}

impl Operator for Einsum {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let shapes = (0..cx.len()).map(|i| cx.shape(i)).collect::<Result<Vec<_>>>()?;
        Ok(vec![ValueType::new(cx.dtype(0)?, einsum::infer(&self.equation, &shapes)?)])
    }
}

impl Evaluate for Einsum {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let operands = (0..inputs.len()).map(|i| operand(inputs, i)).collect::<Result<Vec<_>>>()?;
        Ok(vec![einsum::eval(&self.equation, &operands)?])
    }
}
