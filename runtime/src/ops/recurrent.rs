//! Recurrent layers. Gates are stacked as in ONNX.

use super::attrs::{attr_enum, attributes};
use super::infer::{Infer, ValueType};
use super::{Operator, missing};
use crate::{Result, Tensor};

attr_enum! {
    /// Order in which the sequence is read.
    pub enum Direction {
        /// First to last.
        #[default] Forward = "forward",
        /// Last to first.
        Reverse = "reverse",
        /// Both; two directions of weights and outputs.
        Both = "both",
    }
}

attributes! {
    /// Long short-term memory. Inputs `x [T, N, I]`, `w [D, 4H, I]`, `r [D, 4H, H]` (gates i, o, f, c), optional `b [D, 8H]` (input, then
    /// recurrent), optional `lengths [N]` (i32), optional `h0 [D, N, H]`, optional `c0 [D, N, H]`, optional peepholes `p [D, 3H]` (i, o, f).
    /// Outputs `y [T, D, N, H]`, `h [D, N, H]`, `c [D, N, H]`.
    pub struct Lstm {
        /// Direction.
        pub direction: Direction = Direction::Forward,
        /// Hidden units `H`.
        pub hidden: usize = 0,
        /// Activations f, g, h of each direction, by name (`sigmoid`, `tanh`, `relu`, `hard_sigmoid`, ...); empty: sigmoid, tanh, tanh.
        pub activations: Vec<String> = vec![],
        /// First parameters of the activations, where they have one.
        pub alpha: Vec<f32> = vec![],
        /// Second parameters of the activations.
        pub beta: Vec<f32> = vec![],
        /// Cell input to the gates is clipped to `[-clip, clip]`.
        pub clip: Option<f32> = None,
        /// The forget gate is one minus the input gate.
        pub input_forget: bool = false,
    }
    /// Gated recurrent unit. Inputs `x [T, N, I]`, `w [D, 3H, I]`, `r [D, 3H, H]` (gates z, r, h), optional `b [D, 6H]`, optional
    /// `lengths [N]`, optional `h0 [D, N, H]`. Outputs `y [T, D, N, H]`, `h [D, N, H]`.
    pub struct Gru {
        /// Direction.
        pub direction: Direction = Direction::Forward,
        /// Hidden units `H`.
        pub hidden: usize = 0,
        /// Activations f, g of each direction; empty: sigmoid, tanh.
        pub activations: Vec<String> = vec![],
        /// First parameters of the activations.
        pub alpha: Vec<f32> = vec![],
        /// Second parameters of the activations.
        pub beta: Vec<f32> = vec![],
        /// As in [`Lstm`].
        pub clip: Option<f32> = None,
        /// The reset gate multiplies after the recurrent product (Keras `reset_after`).
        pub linear_before_reset: bool = false,
    }
    /// Simple recurrent layer. Inputs `x [T, N, I]`, `w [D, H, I]`, `r [D, H, H]`, optional `b [D, 2H]`, optional `lengths [N]`,
    /// optional `h0 [D, N, H]`. Outputs `y [T, D, N, H]`, `h [D, N, H]`.
    pub struct Rnn {
        /// Direction.
        pub direction: Direction = Direction::Forward,
        /// Hidden units `H`.
        pub hidden: usize = 0,
        /// Activation of each direction; empty: tanh.
        pub activations: Vec<String> = vec![],
        /// First parameters of the activations.
        pub alpha: Vec<f32> = vec![],
        /// Second parameters of the activations.
        pub beta: Vec<f32> = vec![],
        /// As in [`Lstm`].
        pub clip: Option<f32> = None,
    }
}

impl Operator for Lstm {
    fn infer(&self, _cx: &Infer) -> Result<Vec<ValueType>> {
        Err(missing("Lstm", "shape inference"))
    }
    fn eval(&self, _inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        Err(missing("Lstm", "evaluation"))
    }
}

impl Operator for Gru {
    fn infer(&self, _cx: &Infer) -> Result<Vec<ValueType>> {
        Err(missing("Gru", "shape inference"))
    }
    fn eval(&self, _inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        Err(missing("Gru", "evaluation"))
    }
}

impl Operator for Rnn {
    fn infer(&self, _cx: &Infer) -> Result<Vec<ValueType>> {
        Err(missing("Rnn", "shape inference"))
    }
    fn eval(&self, _inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        Err(missing("Rnn", "evaluation"))
    }
}
