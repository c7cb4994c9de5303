//! Pooling over windows of the spatial axes. Global pooling is [`super::reduce::Reduce`].

use super::attrs::{attr_enum, attributes};
use super::conv::Pads;
use super::infer::{Infer, ValueType};
use super::{Operator, missing};
use crate::{Result, Tensor};

attr_enum! {
    /// What is taken of a window.
    pub enum PoolKind {
        /// The largest element.
        #[default] Max = "max",
        /// The mean.
        Average = "average",
        /// `(sum |x|^p)^(1/p)`
        Lp = "lp",
    }
}

attributes! {
    /// Pooling. Input `x [N, C, spatial...]`.
    pub struct Pool {
        /// What is taken.
        pub kind: PoolKind = PoolKind::Max,
        /// Window of each spatial axis.
        pub kernel: Vec<usize> = vec![],
        /// Step of each spatial axis; empty means 1.
        pub strides: Vec<usize> = vec![],
        /// Distance of the window's elements; empty means 1.
        pub dilations: Vec<usize> = vec![],
        /// Padding.
        pub pads: Pads = Pads::default(),
        /// Round the output extents up; a window that would start in the end padding is left out.
        pub ceil_mode: bool = false,
        /// Averages divide by the window's size including explicit padding (never what `ceil_mode` adds).
        pub count_include_pad: bool = false,
        /// Exponent of `Lp`.
        pub p: i64 = 2,
    }
    /// Largest element of each window and where it was. Input `x [N, C, spatial...]`; second output i64: flat index into `x`.
    pub struct MaxPoolWithIndices {
        /// Window of each spatial axis.
        pub kernel: Vec<usize> = vec![],
        /// Step of each spatial axis; empty means 1.
        pub strides: Vec<usize> = vec![],
        /// Distance of the window's elements; empty means 1.
        pub dilations: Vec<usize> = vec![],
        /// Padding.
        pub pads: Pads = Pads::default(),
        /// As in [`Pool`].
        pub ceil_mode: bool = false,
        /// Indices count columns first within an image.
        pub column_major: bool = false,
    }
}

impl Operator for Pool {
    fn infer(&self, _cx: &Infer) -> Result<Vec<ValueType>> {
        Err(missing("Pool", "shape inference"))
    }
    fn eval(&self, _inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        Err(missing("Pool", "evaluation"))
    }
}

impl Operator for MaxPoolWithIndices {
    fn infer(&self, _cx: &Infer) -> Result<Vec<ValueType>> {
        Err(missing("MaxPoolWithIndices", "shape inference"))
    }
    fn eval(&self, _inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        Err(missing("MaxPoolWithIndices", "evaluation"))
    }
}
