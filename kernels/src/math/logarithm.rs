//! Natural logarithms and the power that follows from them.

use super::{LN2_HI, LN2_LO, exp, polynomial};
use crate::isa::Lanes;

/// Bound of [`log`]: subnormal arguments included.
pub const LOG_ULP: u32 = 1;
/// Bound of [`log1p`].
pub const LOG1P_ULP: u32 = 2;

/// (ln(1 + f) - f + f^2 / 2) / f^3 on sqrt(1/2) <= 1 + f <= sqrt(2).
const LOG: [f32; 8] =
    [0.333_333_3, -0.250_008_2, 0.200_012_27, -0.166_233_57, 0.142_017_59, -0.131_601_83, 0.12761575, -0.076_344_94];

/// Bits of sqrt(1/2): the mantissa is taken from here to twice here.
const ROOT_HALF: i32 = 0x3f35_04f3;

/// `(e, m)` with `x = m 2^e` and `sqrt(1/2) <= m < sqrt(2)`, for positive normal `x`.
#[inline(always)]
fn split<L: Lanes>(l: L, x: L::V) -> (L::I, L::V) {
    let above = l.i_sub(l.bits(x), l.i_splat(ROOT_HALF));
    // A logical shift of the biased difference stands for the arithmetic shift of the difference.
    let e = l.i_sub(l.i_shr::<23>(l.i_add(above, l.i_splat(0x4000_0000))), l.i_splat(128));
    (e, l.from_bits(l.i_sub(l.bits(x), l.i_shl::<23>(e))))
}

/// `e ln 2 + ln(1 + f)`.
#[inline(always)]
fn combine<L: Lanes>(l: L, e: L::V, f: L::V) -> L::V {
    let square = l.mul(f, f);
    let y = l.mul(l.mul(square, f), polynomial(l, f, LOG));
    let y = l.mul_add(e, l.splat(LN2_LO), y);
    let y = l.mul_add(square, l.splat(-0.5), y);
    l.mul_add(e, l.splat(LN2_HI), l.add(f, y))
}

/// `y`, with the limits of a logarithm put in for a `u` of zero, of infinity, below zero and NaN.
#[inline(always)]
fn limits<L: Lanes>(l: L, u: L::V, y: L::V) -> L::V {
    let infinity = l.splat(f32::INFINITY);
    let y = l.select(l.lt(u, infinity), y, u);
    let y = l.select(l.lt(u, l.zero()), l.splat(f32::NAN), y);
    l.select(l.eq(u, l.zero()), l.splat(f32::NEG_INFINITY), y)
}

/// Natural logarithm, within [`LOG_ULP`]: negative infinity of 0, NaN below.
#[inline(always)]
pub fn log<L: Lanes>(l: L, x: L::V) -> L::V {
    let small = l.lt(x, l.splat(f32::MIN_POSITIVE));
    let scaled = l.select(small, l.mul(x, l.splat(8_388_608.0)), x);
    let (e, m) = split(l, scaled);
    let e = l.add(l.to_float(e), l.select(small, l.splat(-23.0), l.zero()));
    limits(l, x, combine(l, e, l.sub(m, l.splat(1.0))))
}

/// `ln(1 + x)`, within [`LOG1P_ULP`]: negative infinity of -1, NaN below.
#[inline(always)]
pub fn log1p<L: Lanes>(l: L, x: L::V) -> L::V {
    let one = l.splat(1.0);
    let u = l.add(one, x);
    // What the sum lost: the smaller term minus what arrived of it.
    let lost = l.select(l.lt(l.abs(x), one), l.sub(x, l.sub(u, one)), l.sub(one, l.sub(u, x)));
    let (e, m) = split(l, u);
    let down = l.from_bits(l.i_shl::<23>(l.i_sub(l.i_splat(127), e)));
    let lost = l.select(l.lt(u, l.splat(33_554_432.0)), l.mul(lost, down), l.zero());
    let f = l.add(l.sub(m, one), lost);
    let y = limits(l, u, combine(l, l.to_float(e), f));
    l.select(l.lt(l.abs(x), l.splat(f32::EPSILON / 4.0)), x, y)
}

/// `x^y` for positive `x`, as `e^(y ln x)`: a relative error of about `2 |y ln x| 2^-24`.
#[inline(always)]
pub fn pow_positive<L: Lanes>(l: L, x: L::V, y: f32) -> L::V {
    exp(l, l.mul(log(l, x), l.splat(y)))
}
