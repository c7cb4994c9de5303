//! Resampling of the spatial axes.

use super::attrs::{attr_enum, attributes};
use super::infer::{Infer, ValueType};
use super::{Operator, missing};
use crate::{Result, Tensor};

attr_enum! {
    /// Interpolation.
    pub enum ResizeMode {
        /// The nearest element.
        #[default] Nearest = "nearest",
        /// Linear in every axis.
        Linear = "linear",
        /// Cubic in every axis.
        Cubic = "cubic",
    }
    /// How an output position maps to an input position (ONNX names).
    pub enum Coordinates {
        /// `(x + 0.5) / scale - 0.5`
        #[default] HalfPixel = "half_pixel",
        /// As half pixel, symmetric about the centre when the output extent is rounded.
        HalfPixelSymmetric = "half_pixel_symmetric",
        /// As half pixel, 0 where the output extent is 1.
        PytorchHalfPixel = "pytorch_half_pixel",
        /// `x * (in - 1) / (out - 1)`
        AlignCorners = "align_corners",
        /// `x / scale`
        Asymmetric = "asymmetric",
        /// `(x + 0.5) / scale` (TensorFlow 1 nearest with half-pixel centres).
        TfHalfPixel = "tf_half_pixel_for_nn",
        /// Inside a region of interest; positions outside give a constant.
        TfCropAndResize = "tf_crop_and_resize",
    }
    /// Which element is nearest.
    pub enum NearestMode {
        /// Rounds, ties down.
        #[default] RoundPreferFloor = "round_prefer_floor",
        /// Rounds, ties up.
        RoundPreferCeil = "round_prefer_ceil",
        /// Down.
        Floor = "floor",
        /// Up.
        Ceil = "ceil",
    }
    /// How `sizes` are kept in proportion.
    pub enum AspectPolicy {
        /// They are taken as they are.
        #[default] Stretch = "stretch",
        /// None larger than asked.
        NotLarger = "not_larger",
        /// None smaller than asked.
        NotSmaller = "not_smaller",
    }
}

attributes! {
    /// Resampling. Inputs `x`, optional `roi` (f32), optional `scales` (f32 vector), optional `sizes` (i64 vector); one of the last two.
    /// `scales`, `sizes` and `roi` speak of `axes`.
    pub struct Resize {
        /// Interpolation.
        pub mode: ResizeMode = ResizeMode::Nearest,
        /// Coordinates.
        pub coordinates: Coordinates = Coordinates::HalfPixel,
        /// Rounding of nearest.
        pub nearest: NearestMode = NearestMode::RoundPreferFloor,
        /// Coefficient of the cubic.
        pub cubic_a: f32 = -0.75,
        /// Weights of positions outside are 0 and the others scaled to sum 1 (cubic).
        pub exclude_outside: bool = false,
        /// Value outside the region of interest.
        pub extrapolation: f32 = 0.0,
        /// Widens the filter when shrinking.
        pub antialias: bool = false,
        /// Proportion.
        pub aspect: AspectPolicy = AspectPolicy::Stretch,
        /// Axes that `scales` and `sizes` name; empty: all.
        pub axes: Vec<i64> = vec![],
    }
}

impl Operator for Resize {
    fn infer(&self, _cx: &Infer) -> Result<Vec<ValueType>> {
        Err(missing("Resize", "shape inference"))
    }
    fn eval(&self, _inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        Err(missing("Resize", "evaluation"))
    }
}
