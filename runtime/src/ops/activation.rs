//! Activations: parametrised functions of one element.

use super::attrs::{AttrValue, attributes};
use super::infer::{Infer, ValueType};
use super::{Evaluate, Operator, elementwise};
use crate::kernels::elementwise::Unary;
use crate::plan::{FormatCx, Formats, InPlace, LowerCx, Lowered};
use crate::{DType, Result, Tensor};
use serde_json::Value;

pub use pocketnn_kernels::activation::Activation;

macro_rules! names {
    ($($name:literal $variant:ident $({ $($p:ident),* })?;)*) => {
        /// In the file: the name, or the name and its parameters in a list: `"relu"`, `["leaky_relu", 0.1]`.
        impl AttrValue for Activation {
            const EXPECTED: &str = "an activation: a name, or a list of name and parameters";
            fn to_json(&self) -> Value {
                let (name, parameters): (&str, Vec<f32>) = match *self {
                    $(Activation::$variant $({ $($p),* })? => ($name, vec![$($($p),*)?])),*
                };
                if parameters.is_empty() {
                    return Value::from(name);
                }
                std::iter::once(Value::from(name)).chain(parameters.iter().map(AttrValue::to_json)).collect()
            }
            fn from_json(v: &Value) -> Option<Self> {
                let (name, parameters) = match v {
                    Value::String(s) => (s.as_str(), Vec::new()),
                    Value::Array(a) => (a.first()?.as_str()?, a[1..].iter().map(f32::from_json).collect::<Option<Vec<f32>>>()?),
                    _ => return None,
                };
                let mut p = parameters.into_iter();
                let out = match name {
                    $($name => Activation::$variant $({ $($p: p.next()?),* })?,)*
                    _ => return None,
                };
                p.next().is_none().then_some(out)
            }
        }

        /// The name of an activation, without its parameters.
        pub fn name(a: &Activation) -> &'static str {
            match a { $(Activation::$variant { .. } => $name),* }
        }
    };
}

names! {
    "identity" Identity; "relu" Relu; "clamp" Clamp { lo, hi }; "leaky_relu" LeakyRelu { alpha };
    "general_relu" GeneralRelu { slope, threshold, max }; "threshold" Threshold { threshold, value };
    "elu" Elu { alpha }; "selu" Selu { alpha, gamma }; "celu" Celu { alpha }; "sigmoid" Sigmoid;
    "hard_sigmoid" HardSigmoid { alpha, beta }; "log_sigmoid" LogSigmoid; "silu" Silu { beta };
    "hard_swish" HardSwish { alpha, beta }; "tanh" Tanh; "scaled_tanh" ScaledTanh { alpha, beta };
    "tanh_shrink" TanhShrink; "gelu" Gelu; "gelu_tanh" GeluTanh; "mish" Mish; "softplus" Softplus; "softsign" Softsign;
    "shrink" Shrink { lambda, bias }; "square_plus" SquarePlus { b }; "sparse_plus" SparsePlus; "sparse_sigmoid" SparseSigmoid;
    "linear" Linear { a, b }; "exp" Exp; "expm1" Expm1; "log" Log; "log1p" Log1p; "erf" Erf; "abs" Abs; "neg" Neg; "sign" Sign;
    "sqrt" Sqrt; "rsqrt" Rsqrt; "reciprocal" Reciprocal; "square" Square; "round" Round; "floor" Floor; "ceil" Ceil; "trunc" Trunc;
}

attributes! {
    /// An activation of every element. Input `x` of floats (some functions: integers); output of the same type.
    pub struct Activate {
        /// Which function.
        pub kind: Activation = Activation::Identity,
    }
}

impl Activate {
    /// This function.
    pub fn new(kind: Activation) -> Self {
        Self { kind }
    }
}

impl Operator for Activate {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        elementwise::infer_unary(Unary::Map(self.kind), cx)
    }
    fn formats(&self, cx: &FormatCx) -> Formats {
        if cx.out_ty(0).dtype == DType::F32 { cx.follow(0) } else { cx.plain() }
    }
    fn place(&self) -> InPlace {
        InPlace::Once
    }
    fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
        elementwise::lower::lower_map(cx, self.kind)
    }
}

impl Evaluate for Activate {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        elementwise::eval_unary(Unary::Map(self.kind), elementwise::operand(inputs, 0)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_keeps_names_and_parameters() {
        for a in
            [Activation::Relu, Activation::Clamp { lo: -1.0, hi: f32::INFINITY }, Activation::LeakyRelu { alpha: 0.1 }]
        {
            assert_eq!(Activation::from_json(&a.to_json()), Some(a));
        }
        assert_eq!(Activation::from_json(&serde_json::json!(["relu", 1.0])), None);
        assert_eq!(Activation::from_json(&serde_json::json!("leaky_relu")), None);
    }
}
