//! Normalisation.

use super::attrs::attributes;
use super::infer::{Infer, ValueType};
use super::{Operator, missing};
use crate::{Result, Tensor};

attributes! {
    /// Batch normalisation in inference: `(x - mean) / sqrt(var + epsilon) * scale + bias` per channel (axis 1).
    /// Inputs `x [N, C, ...]`, `scale`, `bias`, `mean`, `var`, each `[C]`.
    pub struct BatchNorm {
        /// Added to the variance.
        pub epsilon: f32 = 1e-5,
    }
    /// Normalises groups of channels over their positions. Inputs `x [N, C, ...]`, optional `scale [C]`, optional `bias [C]`.
    /// Instance normalisation has as many groups as channels (`groups` = 0).
    pub struct GroupNorm {
        /// Number of groups; 0 means one a channel.
        pub groups: usize = 1,
        /// Added to the variance.
        pub epsilon: f32 = 1e-5,
    }
    /// Normalises over all axes from `axis` on. Inputs `x`, optional `scale`, optional `bias`, which broadcast to the
    /// normalised axes.
    pub struct LayerNorm {
        /// First normalised axis.
        pub axis: i64 = -1,
        /// Added to the variance (or mean square).
        pub epsilon: f32 = 1e-5,
        /// Root mean square only: the mean is not subtracted (RMS normalisation).
        pub rms: bool = false,
    }
    /// Local response normalisation across channels: `x / (bias + alpha / size * sum(x^2))^beta` over `size` channels around each.
    pub struct Lrn {
        /// Number of channels.
        pub size: usize = 1,
        /// Scale of the sum.
        pub alpha: f32 = 1e-4,
        /// Exponent.
        pub beta: f32 = 0.75,
        /// Added to the sum.
        pub bias: f32 = 1.0,
    }
}

impl Operator for BatchNorm {
    fn infer(&self, _cx: &Infer) -> Result<Vec<ValueType>> {
        Err(missing("BatchNorm", "shape inference"))
    }
    fn eval(&self, _inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        Err(missing("BatchNorm", "evaluation"))
    }
}

impl Operator for GroupNorm {
    fn infer(&self, _cx: &Infer) -> Result<Vec<ValueType>> {
        Err(missing("GroupNorm", "shape inference"))
    }
    fn eval(&self, _inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        Err(missing("GroupNorm", "evaluation"))
    }
}

impl Operator for LayerNorm {
    fn infer(&self, _cx: &Infer) -> Result<Vec<ValueType>> {
        Err(missing("LayerNorm", "shape inference"))
    }
    fn eval(&self, _inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        Err(missing("LayerNorm", "evaluation"))
    }
}

impl Operator for Lrn {
    fn infer(&self, _cx: &Infer) -> Result<Vec<ValueType>> {
        Err(missing("Lrn", "shape inference"))
    }
    fn eval(&self, _inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        Err(missing("Lrn", "evaluation"))
    }
}
