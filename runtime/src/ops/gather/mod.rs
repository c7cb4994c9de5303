//! Elements chosen by index.

mod choose;
mod find;
mod index;

pub use find::{Lookup, SelectBoxes, Unique};

use super::attrs::{attr_enum, attributes};
use crate::DType;
use pocketnn_kernels::elementwise::{Binary, Number};

attr_enum! {
    /// What happens to elements that a scatter writes.
    pub enum Reduction {
        /// The update replaces the element.
        #[default] None = "none",
        /// Sum.
        Add = "add",
        /// Product.
        Mul = "mul",
        /// Largest.
        Max = "max",
        /// Smallest.
        Min = "min",
    }
}

attributes! {
    /// Slices of `x` along an axis. Inputs `x`, `indices` (i32 or i64, negative ones count from the end); output shape:
    /// that of `x` with the axis replaced by the shape of the indices. Embedding is `Gather` of rows.
    pub struct Gather {
        /// The axis.
        pub axis: i64 = 0,
    }
    /// `y[i][j] = x[indices[i][j]][j]` for axis 0. Inputs `x`, `indices` of the same rank.
    pub struct GatherElements {
        /// The axis.
        pub axis: i64 = 0,
    }
    /// Slices of `x` at index tuples, as ONNX `GatherND`. Inputs `x`, `indices [..., K]`.
    pub struct GatherNd {
        /// Leading axes shared by both.
        pub batch_dims: usize = 0,
    }
    /// Writes `updates` into a copy of `x`: `y[indices[i][j]][j] = updates[i][j]` for axis 0. Inputs `x`, `indices`, `updates`.
    pub struct ScatterElements {
        /// The axis.
        pub axis: i64 = 0,
        /// How written elements combine.
        pub reduction: Reduction = Reduction::None,
    }
    /// Writes slices into a copy of `x` at index tuples, as ONNX `ScatterND`. Inputs `x`, `indices [..., K]`, `updates`.
    pub struct ScatterNd {
        /// How written elements combine.
        pub reduction: Reduction = Reduction::None,
    }
    /// Inputs `indices`, `depth` (scalar or one element), `values [off, on]`; a new axis of extent `depth`.
    pub struct OneHot {
        /// Where the new axis stands in the output.
        pub axis: i64 = -1,
    }
    /// The `k` largest or smallest along an axis. Inputs `x`, `k` (one i64). Outputs values and i64 indices; ties by lower index.
    pub struct TopK {
        /// The axis.
        pub axis: i64 = -1,
        /// Largest, or smallest.
        pub largest: bool = true,
        /// In order.
        pub sorted: bool = true,
    }
    /// Index tuples of the elements that are not 0: output i64 `[rank, count]`.
    pub struct NonZero {}
    /// Running sum along an axis. Inputs `x`, `axis` (one integer).
    pub struct CumSum {
        /// An element does not count in its own sum.
        pub exclusive: bool = false,
        /// From the end.
        pub reverse: bool = false,
    }
    /// Running product along an axis. Inputs `x`, `axis` (one integer).
    pub struct CumProd {
        /// An element does not count in its own product.
        pub exclusive: bool = false,
        /// From the end.
        pub reverse: bool = false,
    }
    /// Upper or lower triangle of the last two axes. Inputs `x`, optional `k` (one i64: the diagonal).
    pub struct Trilu {
        /// Keep the upper triangle.
        pub upper: bool = true,
    }
    /// Ones on a diagonal of a matrix of the input's shape.
    pub struct EyeLike {
        /// Element type of the output; absent: that of the input.
        pub dtype: Option<DType> = None,
        /// Which diagonal.
        pub k: i64 = 0,
    }
}

impl Reduction {
    /// The element that remains where `new` is written over `old`.
    fn combine<T: Number>(self, old: T, new: T) -> T {
        match self {
            Reduction::None => new,
            Reduction::Add => T::binary(Binary::Add, old, new),
            Reduction::Mul => T::binary(Binary::Mul, old, new),
            Reduction::Max => T::binary(Binary::Max, old, new),
            Reduction::Min => T::binary(Binary::Min, old, new),
        }
    }
}

#[cfg(test)]
mod tests;
