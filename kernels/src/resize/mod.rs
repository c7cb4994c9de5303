//! Resampling of axes.
//!
//! Every interpolation is separable: an axis has a [`Table`] that names, for each output position, the input positions it is
//! made of and their weights. The formulas are those of the ONNX `Resize` operator.

mod images;
mod table;

pub use images::Resize;
pub use table::{Axis, Coordinates, Method, Rounding, Table};
