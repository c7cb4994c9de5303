//! Operators on elements: unary, binary with broadcasting, comparison, selection, casts.
//!
//! [`Binary`], [`Compare`] and [`Unary`] name the operators, [`Number`] says what they mean on each element type.
//! [`Arithmetic`] runs binary operators on `f32` in vectors, [`Images`] on blocked images; every other combination of
//! operator and type is a plain loop over a [`Broadcast`].

mod arithmetic;
mod broadcast;
mod images;
mod number;

pub use arithmetic::Arithmetic;
pub use broadcast::{Broadcast, MAX_AXES};
pub use images::{Images, Side};
pub use number::{Kind, Number, cast, compare};

use crate::activation::Activation;

/// An operator of two operands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Binary {
    /// `a + b`; integers wrap.
    Add,
    /// `a - b`; integers wrap.
    Sub,
    /// `a b`; integers wrap.
    Mul,
    /// `a / b`; integers truncate towards zero, by 0 they give 0.
    Div,
    /// `a / b` rounded towards negative infinity; integers by 0 give 0.
    FloorDiv,
    /// Remainder with the sign of the divisor; integers by 0 give 0.
    Mod,
    /// Remainder with the sign of the dividend; integers by 0 give 0.
    Fmod,
    /// `a^b`; integers wrap, and truncate where the exponent is negative.
    Pow,
    /// The smaller; NaN if either is.
    Min,
    /// The larger; NaN if either is.
    Max,
    /// `a` where `a >= 0`, else `a b`.
    PRelu,
    /// `(a - b)^2`.
    SquaredDifference,
    /// Angle of the point `(b, a)`; floats only.
    Atan2,
    /// Bitwise and logical "and"; not on floats.
    BitAnd,
    /// Bitwise and logical "or"; not on floats.
    BitOr,
    /// Bitwise and logical "exclusive or"; not on floats.
    BitXor,
    /// `a` shifted left by `b` bits, 0 when all are gone; integers only.
    ShiftLeft,
    /// `a` shifted right by `b` bits, the sign filling up; integers only.
    ShiftRight,
}

impl Binary {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::Add,
        Self::Sub,
        Self::Mul,
        Self::Div,
        Self::FloorDiv,
        Self::Mod,
        Self::Fmod,
        Self::Pow,
        Self::Min,
        Self::Max,
        Self::PRelu,
        Self::SquaredDifference,
        Self::Atan2,
        Self::BitAnd,
        Self::BitOr,
        Self::BitXor,
        Self::ShiftLeft,
        Self::ShiftRight,
    ];

    /// Whether the operator means something on this kind of elements.
    pub fn defined_for(self, kind: Kind) -> bool {
        match self {
            Self::BitAnd | Self::BitOr | Self::BitXor => kind != Kind::Float,
            Self::ShiftLeft | Self::ShiftRight => matches!(kind, Kind::Signed | Kind::Unsigned),
            Self::Atan2 => kind == Kind::Float,
            Self::Add | Self::Mul | Self::Min | Self::Max => true,
            _ => kind != Kind::Bool,
        }
    }
}

/// A comparison of two operands; false where either is NaN, except `NotEqual`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Compare {
    /// `a == b`.
    Equal,
    /// `a != b`.
    NotEqual,
    /// `a < b`.
    Less,
    /// `a <= b`.
    LessOrEqual,
    /// `a > b`.
    Greater,
    /// `a >= b`.
    GreaterOrEqual,
}

impl Compare {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Equal, Self::NotEqual, Self::Less, Self::LessOrEqual, Self::Greater, Self::GreaterOrEqual];
}

/// An operator of one operand.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Unary {
    /// A function of [`Activation`]: all floats; `Abs`, `Neg`, `Sign`, `Square` and `Relu` also on integers.
    Map(Activation),
    /// Sine.
    Sin,
    /// Cosine.
    Cos,
    /// Tangent.
    Tan,
    /// Inverse sine.
    Asin,
    /// Inverse cosine.
    Acos,
    /// Inverse tangent.
    Atan,
    /// Hyperbolic sine.
    Sinh,
    /// Hyperbolic cosine.
    Cosh,
    /// Inverse hyperbolic sine.
    Asinh,
    /// Inverse hyperbolic cosine.
    Acosh,
    /// Inverse hyperbolic tangent.
    Atanh,
    /// `2^x`.
    Exp2,
    /// Logarithm to base 2.
    Log2,
    /// Logarithm to base 10.
    Log10,
    /// Bitwise complement of integers, negation of truth values.
    Not,
}

impl Unary {
    /// Whether the operator means something on this kind of elements.
    pub fn defined_for(self, kind: Kind) -> bool {
        use Activation as A;
        match self {
            Self::Not => kind != Kind::Float,
            Self::Map(A::Abs | A::Neg | A::Sign | A::Square | A::Relu | A::Identity) => kind != Kind::Bool,
            _ => kind == Kind::Float,
        }
    }
}
