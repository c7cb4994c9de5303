//! Matrix products.

use super::activation::Activation;
use super::attrs::attributes;
use super::infer::{Infer, ValueType};
use super::{Operator, missing};
use crate::{Result, Tensor};

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
    fn infer(&self, _cx: &Infer) -> Result<Vec<ValueType>> {
        Err(missing("Dense", "shape inference"))
    }
    fn eval(&self, _inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        Err(missing("Dense", "evaluation"))
    }
}

impl Operator for MatMul {
    fn infer(&self, _cx: &Infer) -> Result<Vec<ValueType>> {
        Err(missing("MatMul", "shape inference"))
    }
    fn eval(&self, _inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        Err(missing("MatMul", "evaluation"))
    }
}

impl Operator for Einsum {
    fn infer(&self, _cx: &Infer) -> Result<Vec<ValueType>> {
        Err(missing("Einsum", "shape inference"))
    }
    fn eval(&self, _inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        Err(missing("Einsum", "evaluation"))
    }
}
