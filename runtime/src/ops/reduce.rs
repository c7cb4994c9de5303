//! Reductions over axes.

use super::attrs::{attr_enum, attributes};
use super::infer::{Infer, ValueType};
use super::{Operator, missing};
use crate::{Result, Tensor};

attr_enum! {
    /// What is made of the elements.
    pub enum ReduceKind {
        /// Sum.
        #[default] Sum = "sum",
        /// Mean.
        Mean = "mean",
        /// Largest.
        Max = "max",
        /// Smallest.
        Min = "min",
        /// Product.
        Prod = "prod",
        /// Sum of magnitudes.
        L1 = "l1",
        /// Root of the sum of squares.
        L2 = "l2",
        /// Logarithm of the sum.
        LogSum = "log_sum",
        /// Logarithm of the sum of exponentials.
        LogSumExp = "log_sum_exp",
        /// Sum of squares.
        SumSquare = "sum_square",
        /// True where any is (of `Bool`).
        Any = "any",
        /// True where all are (of `Bool`).
        All = "all",
    }
}

attributes! {
    /// Reduction. Inputs `x`, optional `axes` (integer vector; absent or empty: all axes, or none with `noop_with_empty_axes`).
    pub struct Reduce {
        /// What is made.
        pub kind: ReduceKind = ReduceKind::Sum,
        /// Reduced axes stay with extent 1.
        pub keep_dims: bool = true,
        /// No axes means no reduction.
        pub noop_with_empty_axes: bool = false,
    }
    /// Index of the largest or smallest element along an axis; output i64.
    pub struct ArgReduce {
        /// Smallest instead of largest.
        pub min: bool = false,
        /// The axis.
        pub axis: i64 = 0,
        /// The axis stays with extent 1.
        pub keep_dims: bool = true,
        /// The last of equal elements.
        pub last: bool = false,
    }
}

impl Operator for Reduce {
    fn infer(&self, _cx: &Infer) -> Result<Vec<ValueType>> {
        Err(missing("Reduce", "shape inference"))
    }
    fn eval(&self, _inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        Err(missing("Reduce", "evaluation"))
    }
}

impl Operator for ArgReduce {
    fn infer(&self, _cx: &Infer) -> Result<Vec<ValueType>> {
        Err(missing("ArgReduce", "shape inference"))
    }
    fn eval(&self, _inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        Err(missing("ArgReduce", "evaluation"))
    }
}
