//! Reductions over any set of axes.
//!
//! [`Reduce`] runs on row-major tensors, [`Global`] over the positions of blocked images; [`Plan::fold`] is the plain loop for
//! every other element type. One output element is always made by one thread in one order: contiguous elements in sixteen
//! lanes that are joined in one fixed tree, others one after the other.

mod global;
mod plan;
mod vectors;

pub use global::Global;
pub use plan::{Plan, arg};
pub use vectors::Reduce;

/// What a group of elements is reduced to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Reduction {
    /// Sum; integers wrap, truth values "or".
    Sum,
    /// Arithmetic mean; integers truncate towards zero.
    Mean,
    /// Largest; NaN if any is.
    Max,
    /// Smallest; NaN if any is.
    Min,
    /// Product; integers wrap.
    Prod,
    /// Sum of magnitudes.
    L1,
    /// Square root of the sum of squares.
    L2,
    /// Sum of squares.
    SumSquare,
    /// Logarithm of the sum.
    LogSum,
    /// Logarithm of the sum of exponentials, without overflow.
    LogSumExp,
}

impl Reduction {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Sum,
        Self::Mean,
        Self::Max,
        Self::Min,
        Self::Prod,
        Self::L1,
        Self::L2,
        Self::SumSquare,
        Self::LogSum,
        Self::LogSumExp,
    ];
}
