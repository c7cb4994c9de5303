//! Activations: functions of one number, applied to every element.
//!
//! [`Activation`] names the function and its parameters, [`vector`] computes it on any vector width. A convolution calls
//! it in its epilogue; [`Map`] applies it to a whole tensor, flat or blocked.
//!
//! Loops that care for speed decide once and not once per vector: [`with`] hands a visitor a [`Function`] whose type is
//! the function.

mod bodies;
mod map;
pub(crate) mod tile;

pub use map::Map;
pub use tile::{in_place, slices};

use crate::isa::{Isa, Lanes};

/// A function of one number. Formulas are those of Keras and ONNX; NaN gives NaN unless a formula says otherwise.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub enum Activation {
    /// `x`.
    #[default]
    Identity,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, lo), hi)`: ReLU6 is 0 to 6, hard tanh -1 to 1. An infinite bound bounds nothing.
    Clamp {
        /// Lower bound.
        lo: f32,
        /// Upper bound.
        hi: f32,
    },
    /// `x` where `x >= 0`, else `alpha x`.
    LeakyRelu {
        /// Slope of the negative side.
        alpha: f32,
    },
    /// `max` where `x >= max`, `x` where `threshold <= x < max`, else `slope (x - threshold)`: the ReLU layer of Keras.
    GeneralRelu {
        /// Slope below the threshold.
        slope: f32,
        /// Where the identity begins.
        threshold: f32,
        /// Upper bound; infinity for none.
        max: f32,
    },
    /// `x` where `x > threshold`, else `value`.
    Threshold {
        /// The threshold.
        threshold: f32,
        /// What stands at and below it.
        value: f32,
    },
    /// `x` where `x > 0`, else `alpha (e^x - 1)`.
    Elu {
        /// Scale of the negative side.
        alpha: f32,
    },
    /// `gamma x` where `x > 0`, else `gamma alpha (e^x - 1)`.
    Selu {
        /// Scale of the negative side.
        alpha: f32,
        /// Scale of both sides.
        gamma: f32,
    },
    /// `max(0, x) + min(0, alpha (e^(x / alpha) - 1))`.
    Celu {
        /// Where the negative side saturates.
        alpha: f32,
    },
    /// `1 / (1 + e^-x)`.
    Sigmoid,
    /// `min(max(alpha x + beta, 0), 1)`.
    HardSigmoid {
        /// Slope.
        alpha: f32,
        /// Value at 0.
        beta: f32,
    },
    /// `ln(sigmoid(x))`.
    LogSigmoid,
    /// `x sigmoid(beta x)`: SiLU has a `beta` of 1, the fast GELU one of 1.702.
    Silu {
        /// Steepness.
        beta: f32,
    },
    /// `x min(max(alpha x + beta, 0), 1)`.
    HardSwish {
        /// Slope of the gate.
        alpha: f32,
        /// Gate at 0.
        beta: f32,
    },
    /// Hyperbolic tangent.
    Tanh,
    /// `alpha tanh(beta x)`.
    ScaledTanh {
        /// Scale of the result.
        alpha: f32,
        /// Scale of the argument.
        beta: f32,
    },
    /// `x - tanh(x)`.
    TanhShrink,
    /// `x (1 + erf(x / sqrt 2)) / 2`.
    Gelu,
    /// `x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2`.
    GeluTanh,
    /// `x tanh(softplus(x))`.
    Mish,
    /// `ln(1 + e^x)`.
    Softplus,
    /// `x / (1 + |x|)`.
    Softsign,
    /// `x - bias` above `lambda`, `x + bias` below `-lambda`, else 0: hard shrink has no bias, soft shrink that of `lambda`.
    Shrink {
        /// Half the width of the dead zone.
        lambda: f32,
        /// What is taken from the magnitude outside of it.
        bias: f32,
    },
    /// `(x + sqrt(x^2 + b)) / 2`.
    SquarePlus {
        /// Curvature at 0.
        b: f32,
    },
    /// 0 up to -1, `(x + 1)^2 / 4` up to 1, then `x`.
    SparsePlus,
    /// 0 up to -1, `(x + 1) / 2` up to 1, then 1.
    SparseSigmoid,
    /// `a x + b`.
    Linear {
        /// Factor.
        a: f32,
        /// Offset.
        b: f32,
    },
    /// `e^x`.
    Exp,
    /// `e^x - 1`.
    Expm1,
    /// Natural logarithm.
    Log,
    /// `ln(1 + x)`.
    Log1p,
    /// Error function.
    Erf,
    /// `|x|`.
    Abs,
    /// `-x`.
    Neg,
    /// -1, 0 or 1; NaN and -0 stay.
    Sign,
    /// Square root.
    Sqrt,
    /// `1 / sqrt(x)`.
    Rsqrt,
    /// `1 / x`.
    Reciprocal,
    /// `x^2`.
    Square,
    /// Nearest integer, ties to even.
    Round,
    /// Greatest integer not above.
    Floor,
    /// Smallest integer not below.
    Ceil,
    /// Integer part.
    Trunc,
}

impl Activation {
    /// `min(max(x, 0), 6)`.
    pub const RELU6: Self = Self::Clamp { lo: 0.0, hi: 6.0 };
    /// `min(max(x, -1), 1)`.
    pub const HARD_TANH: Self = Self::Clamp { lo: -1.0, hi: 1.0 };
    /// `x sigmoid(x)`.
    pub const SILU: Self = Self::Silu { beta: 1.0 };
    /// `x min(max(x / 6 + 1/2, 0), 1)`.
    pub const HARD_SWISH: Self = Self::HardSwish { alpha: 1.0 / 6.0, beta: 0.5 };
    /// SELU with the constants of Klambauer et al., "Self-Normalizing Neural Networks" (2017).
    pub const SELU: Self = Self::Selu { alpha: 1.673_263_2, gamma: 1.050_701 };

    /// The bounds of a function that is `min(max(x, lo), hi)`: what a tile folds into two instructions. The identity has
    /// infinite ones.
    #[inline(always)]
    pub fn as_clamp(&self) -> Option<(f32, f32)> {
        match *self {
            Self::Identity => Some((f32::NEG_INFINITY, f32::INFINITY)),
            Self::Relu => Some((0.0, f32::INFINITY)),
            Self::Clamp { lo, hi } => Some((lo, hi)),
            _ => None,
        }
    }

    /// The function of one number, with the bits of the vector path of the detected instruction set.
    pub fn eval(&self, x: f32) -> f32 {
        let mut y = [x];
        in_place(Isa::detect(), self, &mut y);
        y[0]
    }

    /// True when 0 gives 0, so that a zero halo stays zero.
    pub fn keeps_zero(&self) -> bool {
        self.eval(0.0) == 0.0
    }
}

/// A function of one number whose type is the function, so that a loop over it compiles to its instructions alone.
pub trait Function: Copy + Send + Sync {
    /// True for one function, false for the one that stands for all.
    const COMMON: bool;
    /// The function on a vector.
    fn eval<L: Lanes>(self, l: L, v: L::V) -> L::V;
}

impl Function for Activation {
    const COMMON: bool = false;
    #[inline(always)]
    fn eval<L: Lanes>(self, l: L, v: L::V) -> L::V {
        vector(l, &self, v)
    }
}

/// What [`with`] calls, once, with the function it was given.
pub trait Visitor {
    /// What the visit returns.
    type Output;
    /// The visit; `#[inline(always)]` where it holds a loop.
    fn visit<F: Function>(self, f: F) -> Self::Output;
}

/// Visits the function of its own type for the common activations and [`Activation`] itself for the others.
#[inline(always)]
pub fn with<V: Visitor>(a: &Activation, visitor: V) -> V::Output {
    use bodies as b;
    match *a {
        Activation::Identity => visitor.visit(b::Identity {}),
        Activation::Relu => visitor.visit(b::Relu {}),
        Activation::Clamp { lo, hi } => visitor.visit(b::Clamp { lo, hi }),
        Activation::LeakyRelu { alpha } => visitor.visit(b::LeakyRelu { alpha }),
        Activation::Sigmoid => visitor.visit(b::Sigmoid {}),
        Activation::HardSigmoid { alpha, beta } => visitor.visit(b::HardSigmoid { alpha, beta }),
        Activation::Silu { beta } => visitor.visit(b::Silu { beta }),
        Activation::HardSwish { alpha, beta } => visitor.visit(b::HardSwish { alpha, beta }),
        Activation::Tanh => visitor.visit(b::Tanh {}),
        Activation::Gelu => visitor.visit(b::Gelu {}),
        Activation::Linear { a, b } => visitor.visit(b::Linear { a, b }),
        other => visitor.visit(other),
    }
}

/// The activation on a vector: the same bits on every instruction set with fused multiply-add.
#[inline(always)]
pub fn vector<L: Lanes>(l: L, a: &Activation, v: L::V) -> L::V {
    use crate::math as m;
    use Activation as A;
    use bodies as b;
    match *a {
        A::Identity => v,
        A::Relu => b::Relu {}.eval(l, v),
        A::Clamp { lo, hi } => b::Clamp { lo, hi }.eval(l, v),
        A::LeakyRelu { alpha } => b::LeakyRelu { alpha }.eval(l, v),
        A::GeneralRelu { slope, threshold, max } => b::general_relu(l, v, slope, threshold, max),
        A::Threshold { threshold, value } => b::threshold(l, v, threshold, value),
        A::Elu { alpha } => b::selu(l, v, alpha, 1.0),
        A::Selu { alpha, gamma } => b::selu(l, v, alpha, gamma),
        A::Celu { alpha } => b::celu(l, v, alpha),
        A::Sigmoid => b::Sigmoid {}.eval(l, v),
        A::HardSigmoid { alpha, beta } => b::HardSigmoid { alpha, beta }.eval(l, v),
        A::LogSigmoid => l.neg(b::softplus(l, l.neg(v))),
        A::Silu { beta } => b::Silu { beta }.eval(l, v),
        A::HardSwish { alpha, beta } => b::HardSwish { alpha, beta }.eval(l, v),
        A::Tanh => b::Tanh {}.eval(l, v),
        A::ScaledTanh { alpha, beta } => b::scaled_tanh(l, v, alpha, beta),
        A::TanhShrink => l.sub(v, b::Tanh {}.eval(l, v)),
        A::Gelu => b::Gelu {}.eval(l, v),
        A::GeluTanh => b::gelu_tanh(l, v),
        A::Mish => b::mish(l, v),
        A::Softplus => b::softplus(l, v),
        A::Softsign => l.div(v, l.add(l.splat(1.0), l.abs(v))),
        A::Shrink { lambda, bias } => b::shrink(l, v, lambda, bias),
        A::SquarePlus { b } => b::square_plus(l, v, b),
        A::SparsePlus => b::sparse_plus(l, v),
        A::SparseSigmoid => b::HardSigmoid { alpha: 0.5, beta: 0.5 }.eval(l, v),
        A::Linear { a, b } => b::Linear { a, b }.eval(l, v),
        A::Exp => m::exp(l, v),
        A::Expm1 => m::expm1(l, v),
        A::Log => m::log(l, v),
        A::Log1p => m::log1p(l, v),
        A::Erf => m::erf(l, v),
        A::Abs => l.abs(v),
        A::Neg => l.neg(v),
        A::Sqrt => l.sqrt(v),
        A::Rsqrt => m::reciprocal(l, l.sqrt(v)),
        A::Reciprocal => m::reciprocal(l, v),
        A::Square => l.mul(v, v),
        A::Round => l.round(v),
        A::Floor => l.floor(v),
        A::Ceil => m::ceil(l, v),
        A::Trunc => m::trunc(l, v),
        A::Sign => b::sign(l, v),
    }
}
