//! Softmax and its relatives.

use super::attrs::attributes;
use super::infer::{Infer, ValueType};
use super::{Operator, missing};
use crate::{Result, Tensor};

attributes! {
    /// `exp(x - max) / sum` along an axis, or its logarithm.
    pub struct Softmax {
        /// The axis.
        pub axis: i64 = -1,
        /// The logarithm.
        pub log: bool = false,
    }
    /// 1 at the first largest element along an axis, 0 elsewhere.
    pub struct Hardmax {
        /// The axis.
        pub axis: i64 = -1,
    }
}

impl Operator for Softmax {
    fn infer(&self, _cx: &Infer) -> Result<Vec<ValueType>> {
        Err(missing("Softmax", "shape inference"))
    }
    fn eval(&self, _inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        Err(missing("Softmax", "evaluation"))
    }
}

impl Operator for Hardmax {
    fn infer(&self, _cx: &Infer) -> Result<Vec<ValueType>> {
        Err(missing("Hardmax", "shape inference"))
    }
    fn eval(&self, _inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        Err(missing("Hardmax", "evaluation"))
    }
}
