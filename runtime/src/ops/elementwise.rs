//! Functions of one element, or of one element of each operand.

use super::activation::Activation;
use super::attrs::{attr_enum, attributes};
use super::infer::{Infer, ValueType};
use super::{Operator, missing};
use crate::{DType, Result, Tensor};

attr_enum! {
    /// A function of one element. Integer and boolean operands are allowed where the function maps them to themselves.
    pub enum UnaryKind {
        /// `|x|`
        #[default] Abs = "abs",
        /// `arccos x`
        Acos = "acos",
        /// `arcosh x`
        Acosh = "acosh",
        /// `arcsin x`
        Asin = "asin",
        /// `arsinh x`
        Asinh = "asinh",
        /// `arctan x`
        Atan = "atan",
        /// `artanh x`
        Atanh = "atanh",
        /// Bitwise not of integers.
        BitNot = "bit_not",
        /// Rounds up.
        Ceil = "ceil",
        /// `cos x`
        Cos = "cos",
        /// `cosh x`
        Cosh = "cosh",
        /// Error function.
        Erf = "erf",
        /// `e^x`
        Exp = "exp",
        /// `e^x - 1`
        Expm1 = "expm1",
        /// Rounds down.
        Floor = "floor",
        /// True for infinities; output `Bool`.
        IsInf = "is_inf",
        /// True for negative infinity; output `Bool`.
        IsNegInf = "is_neg_inf",
        /// True for positive infinity; output `Bool`.
        IsPosInf = "is_pos_inf",
        /// True for finite numbers; output `Bool`.
        IsFinite = "is_finite",
        /// True for NaN; output `Bool`.
        IsNan = "is_nan",
        /// Natural logarithm.
        Log = "log",
        /// `ln(1 + x)`
        Log1p = "log1p",
        /// `-x`
        Neg = "neg",
        /// Logical not of `Bool`.
        Not = "not",
        /// `1 / x`
        Reciprocal = "reciprocal",
        /// Rounds to nearest, ties to even.
        Round = "round",
        /// `1 / sqrt(x)`
        Rsqrt = "rsqrt",
        /// -1, 0 or 1.
        Sign = "sign",
        /// `sin x`
        Sin = "sin",
        /// `sinh x`
        Sinh = "sinh",
        /// Square root.
        Sqrt = "sqrt",
        /// `x * x`
        Square = "square",
        /// `tan x`
        Tan = "tan",
        /// Hyperbolic tangent.
        Tanh = "tanh",
        /// Rounds towards 0.
        Trunc = "trunc",
    }
    /// A function of two elements. Comparisons and logic give `Bool`.
    pub enum BinaryKind {
        /// `a + b`; wraps for integers.
        #[default] Add = "add",
        /// Logical and.
        And = "and",
        /// `arctan(a / b)` in the right quadrant.
        Atan2 = "atan2",
        /// Bitwise and.
        BitAnd = "bit_and",
        /// Bitwise or.
        BitOr = "bit_or",
        /// Bitwise exclusive or.
        BitXor = "bit_xor",
        /// `a / b`; for integers rounded towards 0, and 0 where `b` is 0.
        Div = "div",
        /// `a == b`
        Eq = "eq",
        /// `a / b` rounded down.
        FloorDiv = "floor_div",
        /// Remainder with the sign of `a` (C's `fmod`).
        Fmod = "fmod",
        /// `a > b`
        Gt = "gt",
        /// `a >= b`
        Ge = "ge",
        /// `a < b`
        Lt = "lt",
        /// `a <= b`
        Le = "le",
        /// The larger one; NaN where either is.
        Max = "max",
        /// The smaller one; NaN where either is.
        Min = "min",
        /// Remainder with the sign of `b` (Python's `%`).
        Mod = "mod",
        /// `a * b`; wraps for integers.
        Mul = "mul",
        /// `a != b`
        Ne = "ne",
        /// Logical or.
        Or = "or",
        /// `a` to the power of `b`. The output has the type of `a`; the types may differ.
        Pow = "pow",
        /// `a << b`
        Shl = "shl",
        /// `a >> b`
        Shr = "shr",
        /// `a - b`; wraps for integers.
        Sub = "sub",
        /// `(a - b)^2`
        SquaredDifference = "squared_difference",
        /// Logical exclusive or.
        Xor = "xor",
    }
}

attributes! {
    /// A function of one element. Input `x`; output of the same shape.
    pub struct Unary {
        /// Which function.
        pub kind: UnaryKind = UnaryKind::default(),
    }
    /// A function of two elements with numpy's broadcasting. Inputs `a`, `b` of one type.
    pub struct Binary {
        /// Which function.
        pub kind: BinaryKind = BinaryKind::default(),
        /// Applied to the result (`f32` only).
        pub activation: Activation = Activation::Identity,
    }
    /// `x` where `x >= 0`, else `slope * x`. Inputs `x`, `slope` (broadcast to `x`).
    pub struct PRelu {}
    /// `a` where the condition holds, else `b`. Inputs `condition` (`Bool`), `a`, `b`, broadcast together.
    pub struct Where {}
    /// Conversion to another element type: floats to integers towards 0 (saturating), to `Bool` by `x != 0`, to smaller floats
    /// to nearest even.
    pub struct Cast {
        /// The new type.
        pub to: DType = DType::F32,
    }
}

/// Converts a tensor to another element type.
///
/// # Errors
/// When the conversion is not supported.
pub fn cast(t: &Tensor, to: DType) -> Result<Tensor> {
    Cast { to }.eval(&[Some(t)], 1)?.pop().ok_or_else(|| missing("Cast", "output"))
}

impl Operator for Unary {
    fn infer(&self, _cx: &Infer) -> Result<Vec<ValueType>> {
        Err(missing("Unary", "shape inference"))
    }
    fn eval(&self, _inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        Err(missing("Unary", "evaluation"))
    }
}

impl Operator for Binary {
    fn infer(&self, _cx: &Infer) -> Result<Vec<ValueType>> {
        Err(missing("Binary", "shape inference"))
    }
    fn eval(&self, _inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        Err(missing("Binary", "evaluation"))
    }
}

impl Operator for PRelu {
    fn infer(&self, _cx: &Infer) -> Result<Vec<ValueType>> {
        Err(missing("PRelu", "shape inference"))
    }
    fn eval(&self, _inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        Err(missing("PRelu", "evaluation"))
    }
}

impl Operator for Where {
    fn infer(&self, _cx: &Infer) -> Result<Vec<ValueType>> {
        Err(missing("Where", "shape inference"))
    }
    fn eval(&self, _inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        Err(missing("Where", "evaluation"))
    }
}

impl Operator for Cast {
    fn infer(&self, _cx: &Infer) -> Result<Vec<ValueType>> {
        Err(missing("Cast", "shape inference"))
    }
    fn eval(&self, _inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        Err(missing("Cast", "evaluation"))
    }
}
