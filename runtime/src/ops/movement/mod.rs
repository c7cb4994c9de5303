//! Elements moved, repeated or left in place: no arithmetic.

mod lower;
mod order;
mod parts;
mod pick;
mod select;
mod shape;

use super::attrs::{attr_enum, attributes};
use crate::Tensor;
use pocketnn_kernels::movement as kernel;

attr_enum! {
    /// What stands in the padding.
    pub enum PadMode {
        /// A constant.
        #[default] Constant = "constant",
        /// The nearest element.
        Edge = "edge",
        /// Mirrored without repeating the border.
        Reflect = "reflect",
        /// Mirrored with the border repeated (numpy `symmetric`).
        Symmetric = "symmetric",
        /// Repeated from the other side.
        Wrap = "wrap",
    }
    /// Order of channels in [`DepthToSpace`] and [`SpaceToDepth`].
    pub enum DepthOrder {
        /// Depth, column, row: channel = `(by * block + bx) * C + c` (ONNX `DCR`, TensorFlow).
        #[default] Dcr = "dcr",
        /// Column, row, depth: channel = `c * block^2 + by * block + bx` (ONNX `CRD`, PyTorch).
        Crd = "crd",
    }
}

attributes! {
    /// Joins the inputs along an axis.
    pub struct Concat {
        /// The axis.
        pub axis: i64 = 0,
    }
    /// A tensor of one value. Input: the shape (i64 vector).
    pub struct ConstantOfShape {
        /// One element.
        pub value: Tensor = Tensor::scalar(0.0f32),
    }
    /// Channels into blocks of pixels: `[N, C*b*b, H, W]` to `[N, C, H*b, W*b]`.
    pub struct DepthToSpace {
        /// Block size.
        pub block: usize = 1,
        /// Order of channels.
        pub order: DepthOrder = DepthOrder::Dcr,
    }
    /// Broadcasts `x` to the broadcast of its shape and `shape`. Inputs `x`, `shape` (i64 vector).
    pub struct Expand {}
    /// The input itself.
    pub struct Identity {}
    /// Pads axes. Inputs `x`, `pads` (i64 vector: all begins, then all ends; negative cuts), optional scalar `value`,
    /// optional `axes` (i64 vector the pads speak of; absent: all).
    pub struct Pad {
        /// What stands in the padding.
        pub mode: PadMode = PadMode::Constant,
    }
    /// Channels in any order: output channel `i` is channel `pick[i]` of the inputs' channels one after another. Inputs: up to 16 images
    /// `[N, C, ...]` of one batch and size.
    pub struct Pick {
        /// The channels.
        pub pick: Vec<usize> = vec![],
    }
    /// `start, start + delta, ...` below (above) `limit`. Inputs `start`, `limit`, `delta`: scalars of one type.
    pub struct Range {}
    /// The same elements in another shape. Inputs `x`, `shape` (i64 vector): -1 is what is left, 0 copies the input's extent.
    pub struct Reshape {
        /// 0 means 0.
        pub allow_zero: bool = false,
    }
    /// Elements in reverse order along axes.
    pub struct Reverse {
        /// The axes.
        pub axes: Vec<i64> = vec![],
    }
    /// The shape of the input from axis `start` to `end`, as an i64 vector.
    pub struct Shape {
        /// First axis; negative from the end.
        pub start: i64 = 0,
        /// One past the last axis; absent: the rank.
        pub end: Option<i64> = None,
    }
    /// A range of each axis. Inputs `x`, `starts`, `ends`, optional `axes`, optional `steps` (i64 vectors), as numpy's slices.
    pub struct Slice {}
    /// Blocks of pixels into channels: the inverse of [`DepthToSpace`].
    pub struct SpaceToDepth {
        /// Block size.
        pub block: usize = 1,
        /// Order of channels.
        pub order: DepthOrder = DepthOrder::Dcr,
    }
    /// Cuts `x` along an axis, one part an output. Inputs `x`, optional `sizes` (i64 vector); absent: equal parts of
    /// `ceil(extent / outputs)`, the last one smaller.
    pub struct Split {
        /// The axis.
        pub axis: i64 = 0,
    }
    /// Removes axes of extent 1. Inputs `x`, optional `axes` (i64 vector); absent: all of extent 1.
    pub struct Squeeze {}
    /// Repeats `x` along each axis. Inputs `x`, `repeats` (i64 vector).
    pub struct Tile {}
    /// Permutes the axes.
    pub struct Transpose {
        /// Output axis `i` is input axis `perm[i]`; empty reverses all.
        pub perm: Vec<usize> = vec![],
    }
    /// Inserts axes of extent 1. Inputs `x`, `axes` (i64 vector, positions in the output).
    pub struct Unsqueeze {}
}

impl PadMode {
    fn kernel(self) -> kernel::Padding {
        match self {
            PadMode::Constant => kernel::Padding::Constant,
            PadMode::Edge => kernel::Padding::Edge,
            PadMode::Reflect => kernel::Padding::Reflect,
            PadMode::Symmetric => kernel::Padding::Symmetric,
            PadMode::Wrap => kernel::Padding::Wrap,
        }
    }
}

impl DepthOrder {
    fn kernel(self) -> kernel::DepthOrder {
        match self {
            DepthOrder::Dcr => kernel::DepthOrder::Dcr,
            DepthOrder::Crd => kernel::DepthOrder::Crd,
        }
    }
}

#[cfg(test)]
mod tests;
