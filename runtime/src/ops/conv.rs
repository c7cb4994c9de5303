//! Convolutions.

use super::activation::Activation;
use super::attrs::{AttrValue, attributes};
use super::infer::{Infer, ValueType};
use super::{Operator, missing};
use crate::{Result, Tensor};

/// Padding of the spatial axes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Pads {
    /// Begin and end of each spatial axis; empty lists mean 0.
    Explicit {
        /// Before each axis.
        begin: Vec<usize>,
        /// After each axis.
        end: Vec<usize>,
    },
    /// Output size `ceil(input / stride)`, the odd one at the end (Keras, TensorFlow, ONNX `SAME_UPPER`).
    SameUpper,
    /// As [`Pads::SameUpper`] with the odd one at the beginning (ONNX `SAME_LOWER`).
    SameLower,
}

impl Default for Pads {
    fn default() -> Self {
        Pads::Explicit { begin: Vec::new(), end: Vec::new() }
    }
}

impl Pads {
    /// The same padding before and after every axis.
    pub fn symmetric(pads: &[usize]) -> Self {
        Pads::Explicit { begin: pads.to_vec(), end: pads.to_vec() }
    }
}

impl AttrValue for Pads {
    const EXPECTED: &str = "`same_upper`, `same_lower` or [[begin...], [end...]]";
    fn to_json(&self) -> serde_json::Value {
        match self {
            Pads::Explicit { begin, end } => vec![begin.clone(), end.clone()].to_json(),
            Pads::SameUpper => "same_upper".into(),
            Pads::SameLower => "same_lower".into(),
        }
    }
    fn from_json(v: &serde_json::Value) -> Option<Self> {
        match v.as_str() {
            Some("same_upper") => Some(Pads::SameUpper),
            Some("same_lower") => Some(Pads::SameLower),
            Some(_) => None,
            None => {
                let [begin, end] = Vec::<Vec<usize>>::from_json(v)?.try_into().ok()?;
                Some(Pads::Explicit { begin, end })
            }
        }
    }
}

attributes! {
    /// Convolution of any spatial rank. Inputs `x [N, C, spatial...]`, `w [O, C/groups, kernel...]`, optional `b [O]`,
    /// optional `residual` of the output's shape, added before the activation.
    /// Cross-correlation, as in every framework: kernels are not flipped.
    pub struct Conv {
        /// Step of each spatial axis; empty means 1.
        pub strides: Vec<usize> = vec![],
        /// Distance of the kernel's taps; empty means 1.
        pub dilations: Vec<usize> = vec![],
        /// Padding with zeros.
        pub pads: Pads = Pads::default(),
        /// Groups of channels that do not mix.
        pub groups: usize = 1,
        /// Applied to the sums.
        pub activation: Activation = Activation::Identity,
    }
    /// Transposed convolution. Inputs `x [N, C, spatial...]`, `w [C, O/groups, kernel...]`, optional `b [O]`.
    /// Output extent `stride * (in - 1) + output_padding + dilation * (k - 1) + 1 - begin - end`; with `Pads::Same*` it is
    /// `in * stride` (ONNX's rule for where the difference goes).
    pub struct ConvTranspose {
        /// Step of each spatial axis in the output; empty means 1.
        pub strides: Vec<usize> = vec![],
        /// Distance of the kernel's taps; empty means 1.
        pub dilations: Vec<usize> = vec![],
        /// What is cut from the full output.
        pub pads: Pads = Pads::default(),
        /// Added at the end of each axis; empty means 0.
        pub output_padding: Vec<usize> = vec![],
        /// Groups of channels that do not mix.
        pub groups: usize = 1,
        /// Applied to the sums.
        pub activation: Activation = Activation::Identity,
    }
}

impl Operator for Conv {
    fn infer(&self, _cx: &Infer) -> Result<Vec<ValueType>> {
        Err(missing("Conv", "shape inference"))
    }
    fn eval(&self, _inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        Err(missing("Conv", "evaluation"))
    }
}

impl Operator for ConvTranspose {
    fn infer(&self, _cx: &Infer) -> Result<Vec<ValueType>> {
        Err(missing("ConvTranspose", "shape inference"))
    }
    fn eval(&self, _inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        Err(missing("ConvTranspose", "evaluation"))
    }
}
