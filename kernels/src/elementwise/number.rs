//! Element types: what an operator means on each of them.

use super::{Binary, Compare, Unary};
use half::{bf16, f16};

/// The kinds of element types.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// IEEE-754 and bfloat16.
    Float,
    /// Two's complement integers.
    Signed,
    /// Unsigned integers.
    Unsigned,
    /// Truth values.
    Bool,
}

/// An element type of tensors. Nothing here panics: integers wrap, and what has no integer value (a division by zero) is 0.
pub trait Number: Copy + PartialOrd + Default + Send + Sync + std::fmt::Debug + 'static {
    /// Its kind.
    const KIND: Kind;
    /// The value as a double: exact for all but large 64-bit integers.
    fn to_f64(self) -> f64;
    /// The nearest value; integers truncate towards zero and saturate, NaN becomes 0.
    fn from_f64(x: f64) -> Self;
    /// The value as an integer; floats truncate towards zero and saturate.
    fn to_i128(self) -> i128;
    /// The value of an integer: the nearest float, or the low bits.
    fn from_i128(x: i128) -> Self;
    /// `op(a, b)`; `a` where [`Binary::defined_for`] is false.
    fn binary(op: Binary, a: Self, b: Self) -> Self;
    /// `op(a)`; `a` where [`Unary::defined_for`] is false.
    fn unary(op: Unary, a: Self) -> Self;
}

/// A value in another element type: integers wrap, floats round to nearest, or truncate towards zero and saturate on the
/// way to integers; truth is what is not 0.
pub fn cast<T: Number, U: Number>(x: T) -> U {
    match (T::KIND, U::KIND) {
        (Kind::Float, Kind::Bool) => U::from_i128(i128::from(x.to_f64() != 0.0)),
        (Kind::Float, _) => U::from_f64(x.to_f64()),
        _ => U::from_i128(x.to_i128()),
    }
}

/// `op(a, b)` as a truth value.
#[inline(always)]
pub fn compare<T: PartialOrd + Copy>(op: Compare, a: T, b: T) -> bool {
    match op {
        Compare::Equal => a == b,
        Compare::NotEqual => a != b,
        Compare::Less => a < b,
        Compare::LessOrEqual => a <= b,
        Compare::Greater => a > b,
        Compare::GreaterOrEqual => a >= b,
    }
}

/// The operators on doubles. Results of `+ - * /` are rounded once more without harm when they become an f32.
fn binary_f64(op: Binary, a: f64, b: f64) -> f64 {
    match op {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a * b,
        Binary::Div => a / b,
        Binary::FloorDiv => (a / b).floor(),
        Binary::Mod => {
            let r = a % b;
            if r == 0.0 {
                // A remainder of 0 has the sign of the divisor, too.
                0.0f64.copysign(b)
            } else if (r < 0.0) != (b < 0.0) {
                r + b
            } else {
                r
            }
        }
        Binary::Fmod => a % b,
        Binary::Pow => a.powf(b),
        Binary::Min => {
            if a.is_nan() || a < b {
                a
            } else {
                b
            }
        }
        Binary::Max => {
            if a.is_nan() || a > b {
                a
            } else {
                b
            }
        }
        Binary::PRelu => {
            if a < 0.0 {
                a * b
            } else {
                a
            }
        }
        Binary::SquaredDifference => (a - b) * (a - b),
        Binary::Atan2 => a.atan2(b),
        Binary::BitAnd | Binary::BitOr | Binary::BitXor | Binary::ShiftLeft | Binary::ShiftRight => a,
    }
}

fn unary_f64(op: Unary, x: f64) -> f64 {
    match op {
        Unary::Map(a) => crate::reference::activation::eval(&a, x),
        Unary::Sin => x.sin(),
        Unary::Cos => x.cos(),
        Unary::Tan => x.tan(),
        Unary::Asin => x.asin(),
        Unary::Acos => x.acos(),
        Unary::Atan => x.atan(),
        Unary::Sinh => x.sinh(),
        Unary::Cosh => x.cosh(),
        Unary::Asinh => x.asinh(),
        Unary::Acosh => x.acosh(),
        Unary::Atanh => x.atanh(),
        Unary::Exp2 => x.exp2(),
        Unary::Log2 => x.log2(),
        Unary::Log10 => x.log10(),
        Unary::Not => x,
    }
}

macro_rules! floats {
    ($($t:ty: $to:expr, $from:expr;)*) => {
        $(impl Number for $t {
            const KIND: Kind = Kind::Float;
            #[inline]
            fn to_f64(self) -> f64 {
                ($to)(self)
            }
            #[inline]
            fn from_f64(x: f64) -> Self {
                ($from)(x)
            }
            #[inline]
            fn to_i128(self) -> i128 {
                self.to_f64() as i128
            }
            #[inline]
            fn from_i128(x: i128) -> Self {
                <$t>::from_f64(x as f64)
            }
            #[inline]
            fn binary(op: Binary, a: Self, b: Self) -> Self {
                Self::from_f64(binary_f64(op, a.to_f64(), b.to_f64()))
            }
            #[inline]
            fn unary(op: Unary, a: Self) -> Self {
                Self::from_f64(unary_f64(op, a.to_f64()))
            }
        })*
    };
}

floats! {
    f32: f64::from, |x| x as f32;
    f64: |x| x, |x| x;
    f16: f16::to_f64, |x| f16::from_f32(round_to_odd(x));
    bf16: bf16::to_f64, |x| bf16::from_f32(round_to_odd(x));
}

/// The float next to a double, the odd one of the two where neither is exact: rounding it once more to a shorter type gives
/// what rounding the double would (Boldo and Melquiond, "When double rounding is odd").
fn round_to_odd(x: f64) -> f32 {
    let near = x as f32;
    if f64::from(near) == x || x.is_nan() {
        return near;
    }
    let below = near.to_bits() - u32::from(f64::from(near).abs() > x.abs());
    f32::from_bits(below | 1)
}

macro_rules! integers {
    ($($t:ty: $kind:ident;)*) => {
        $(impl Number for $t {
            const KIND: Kind = Kind::$kind;
            #[inline]
            fn to_f64(self) -> f64 {
                self as f64
            }
            #[inline]
            fn from_f64(x: f64) -> Self {
                x as $t
            }
            #[inline]
            fn to_i128(self) -> i128 {
                i128::from(self)
            }
            #[inline]
            fn from_i128(x: i128) -> Self {
                x as $t
            }
            #[inline]
            #[allow(unused_comparisons)]
            fn binary(op: Binary, a: Self, b: Self) -> Self {
                match op {
                    Binary::Add => a.wrapping_add(b),
                    Binary::Sub => a.wrapping_sub(b),
                    Binary::Mul => a.wrapping_mul(b),
                    Binary::Div => if b == 0 { 0 } else { a.wrapping_div(b) },
                    Binary::FloorDiv => floor_div(a.to_i128(), b.to_i128()) as $t,
                    Binary::Mod => (a.to_i128() - floor_div(a.to_i128(), b.to_i128()) * b.to_i128()) as $t * <$t>::from(b != 0),
                    Binary::Fmod => if b == 0 { 0 } else { a.wrapping_rem(b) },
                    Binary::Pow => power(a.to_i128(), b.to_i128()) as $t,
                    Binary::Min => a.min(b),
                    Binary::Max => a.max(b),
                    Binary::PRelu => if a < 0 { a.wrapping_mul(b) } else { a },
                    Binary::SquaredDifference => a.wrapping_sub(b).wrapping_mul(a.wrapping_sub(b)),
                    Binary::BitAnd => a & b,
                    Binary::BitOr => a | b,
                    Binary::BitXor => a ^ b,
                    Binary::ShiftLeft => u32::try_from(b).ok().and_then(|b| a.checked_shl(b)).unwrap_or(0),
                    Binary::ShiftRight => a >> u32::try_from(b).unwrap_or(u32::MAX).min(<$t>::BITS - 1)
                        & if a >= 0 && u32::try_from(b).map_or(true, |b| b >= <$t>::BITS) { 0 } else { !0 },
                    Binary::Atan2 => a,
                }
            }
            #[inline]
            fn unary(op: Unary, a: Self) -> Self {
                use crate::activation::Activation as A;
                match op {
                    Unary::Not => !a,
                    Unary::Map(A::Abs) => if Self::KIND == Kind::Signed { a.to_i128().unsigned_abs() as $t } else { a },
                    Unary::Map(A::Neg) => (a as $t).wrapping_neg(),
                    Unary::Map(A::Sign) => a.to_i128().signum() as $t,
                    Unary::Map(A::Square) => a.wrapping_mul(a),
                    Unary::Map(A::Relu) => a.max(0),
                    _ => a,
                }
            }
        })*
    };
}

integers! {
    i8: Signed; i16: Signed; i32: Signed; i64: Signed;
    u8: Unsigned; u16: Unsigned; u32: Unsigned; u64: Unsigned;
}

/// The quotient rounded towards negative infinity; 0 by 0.
fn floor_div(a: i128, b: i128) -> i128 {
    if b == 0 { 0 } else { a.div_euclid(b) - i128::from(b < 0 && a.rem_euclid(b) != 0) }
}

/// The low bits of `a^b`; for a negative exponent the truncated fraction.
fn power(a: i128, b: i128) -> i128 {
    match (a, b) {
        (1, _) | (_, 0) => 1,
        (-1, _) => {
            if b % 2 == 0 {
                1
            } else {
                -1
            }
        }
        (_, i128::MIN..0) => 0,
        _ => {
            let (mut base, mut left, mut y) = (a, b, 1i128);
            while left > 0 {
                if left & 1 == 1 {
                    y = y.wrapping_mul(base);
                }
                base = base.wrapping_mul(base);
                left >>= 1;
            }
            y
        }
    }
}

impl Number for bool {
    const KIND: Kind = Kind::Bool;
    #[inline]
    fn to_f64(self) -> f64 {
        f64::from(u8::from(self))
    }
    #[inline]
    fn from_f64(x: f64) -> Self {
        x != 0.0
    }
    #[inline]
    fn to_i128(self) -> i128 {
        i128::from(self)
    }
    #[inline]
    fn from_i128(x: i128) -> Self {
        x != 0
    }
    /// Sum and largest are "or", product and smallest are "and".
    #[inline]
    fn binary(op: Binary, a: Self, b: Self) -> Self {
        match op {
            Binary::BitAnd | Binary::Mul | Binary::Min => a & b,
            Binary::BitOr | Binary::Add | Binary::Max => a | b,
            Binary::BitXor => a ^ b,
            _ => a,
        }
    }
    #[inline]
    fn unary(op: Unary, a: Self) -> Self {
        if op == Unary::Not { !a } else { a }
    }
}
