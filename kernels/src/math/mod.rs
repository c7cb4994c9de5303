//! Elementary functions on vectors: exponential, logarithm, hyperbolic tangent, logistic and error function.
//!
//! Each is a polynomial after an exact range reduction, in fused multiply-adds, so all instruction sets with
//! [`Isa::fused`](crate::isa::Isa::fused) give the same bits. The polynomials are minimax fits (Remez exchange) of the
//! function and interval that stand beside them.
//!
//! The bounds are in units in the last place of the correctly rounded result, measured over all magnitudes by the tests.
//! NaN gives NaN everywhere; signed zeros keep their sign where the function is odd.

use crate::isa::Lanes;

mod error_function;
mod logarithm;

pub use error_function::{ERF_ULP, erf};
pub use logarithm::{LOG_ULP, LOG1P_ULP, log, log1p, pow_positive};

/// Bound of [`exp`]: subnormal results included.
pub const EXP_ULP: u32 = 2;
/// Bound of [`expm1`].
pub const EXPM1_ULP: u32 = 2;
/// Bound of [`tanh`].
pub const TANH_ULP: u32 = 3;
/// Bound of [`sigmoid`] from -87 upwards; below, the result is within 2^-126 of the exact one.
pub const SIGMOID_ULP: u32 = 3;

/// 1.5 * 2^23: adding it rounds a small float to an integer that then stands in the low bits.
const MAGIC: f32 = 12_582_912.0;
/// ln 2 in two parts; the first has ten bits, so that its product with an exponent is exact.
pub(crate) const LN2_HI: f32 = 355.0 / 512.0;
pub(crate) const LN2_LO: f32 = -2.121_944_4e-4;
/// (e^r - 1 - r) / r^2 on |r| <= ln(2) / 2.
const EXP: [f32; 5] = [0.5, 0.166_665_43, 0.041_666_28, 0.008_366_611, 0.001_394_649_7];

/// `c[0] + c[1] x + c[2] x^2 + ...` by Horner's rule.
#[inline(always)]
pub(crate) fn polynomial<L: Lanes, const N: usize>(l: L, x: L::V, c: [f32; N]) -> L::V {
    let mut y = l.splat(c[N - 1]);
    for i in 1..N {
        y = l.mul_add(y, x, l.splat(c[N - 1 - i]));
    }
    y
}

/// `x` limited to `lo ..= hi`; NaN stays NaN.
#[inline(always)]
pub(crate) fn limit<L: Lanes>(l: L, x: L::V, lo: f32, hi: f32) -> L::V {
    l.min(l.splat(hi), l.max(l.splat(lo), x))
}

/// `(n, r, p)` with `x = n ln 2 + r` and `p = e^r - 1`; `n` is an integer. `x` must be limited beforehand.
#[inline(always)]
fn reduce<L: Lanes>(l: L, x: L::V) -> (L::I, L::V) {
    let magic = l.splat(MAGIC);
    let t = l.mul_add(x, l.splat(std::f32::consts::LOG2_E), magic);
    let n = l.sub(t, magic);
    let r = l.mul_add(n, l.splat(-LN2_HI), x);
    let r = l.mul_add(n, l.splat(-LN2_LO), r);
    let p = l.mul_add(l.mul(r, r), polynomial(l, r, EXP), r);
    (l.i_sub(l.bits(t), l.i_splat(MAGIC.to_bits() as i32)), p)
}

/// 2^n for `-126 <= n <= 127`.
#[inline(always)]
fn power_of_two<L: Lanes>(l: L, n: L::I) -> L::V {
    l.from_bits(l.i_shl::<23>(l.i_add(n, l.i_splat(127))))
}

/// `e^x`, within [`EXP_ULP`]: 0 and infinity outside the range of floats, subnormals where the result is one.
#[inline(always)]
pub fn exp<L: Lanes>(l: L, x: L::V) -> L::V {
    let (n, p) = reduce(l, limit(l, x, -104.0, 89.0));
    // 2^n in two factors, because n reaches from -150 to 129.
    let half = l.i_shr::<1>(l.i_add(n, l.i_splat(254)));
    let rest = l.i_sub(l.i_add(n, l.i_splat(254)), half);
    let y = l.mul(l.add(p, l.splat(1.0)), l.from_bits(l.i_shl::<23>(half)));
    l.mul(y, l.from_bits(l.i_shl::<23>(rest)))
}

/// `e^x` with `x` limited to `-87.3 ..= 88.3`, where neither the result nor its scale leaves the normal floats.
#[inline(always)]
pub fn exp_limited<L: Lanes>(l: L, x: L::V) -> L::V {
    let (n, p) = reduce(l, limit(l, x, -87.3, 88.3));
    let s = power_of_two(l, n);
    l.mul_add(s, p, s)
}

/// `e^x - 1`, within [`EXPM1_ULP`].
#[inline(always)]
pub fn expm1<L: Lanes>(l: L, x: L::V) -> L::V {
    let (n, p) = reduce(l, limit(l, x, -25.0, 89.0));
    // Half the result first: n = 128 would overflow the scale.
    let s = power_of_two(l, l.i_sub(n, l.i_splat(1)));
    let y = l.mul_add(s, p, l.sub(s, l.splat(0.5)));
    let tiny = l.lt(l.abs(x), l.splat(f32::EPSILON / 4.0));
    l.select(tiny, x, l.add(y, y))
}

/// Hyperbolic tangent, within [`TANH_ULP`].
#[inline(always)]
pub fn tanh<L: Lanes>(l: L, x: L::V) -> L::V {
    let a = l.abs(x);
    let (n, p) = reduce(l, l.min(l.splat(20.0), l.add(a, a)));
    let s = power_of_two(l, n);
    let e = l.mul_add(s, p, l.sub(s, l.splat(1.0)));
    l.copysign(l.div(e, l.add(e, l.splat(2.0))), x)
}

/// Logistic function `1 / (1 + e^-x)`, within [`SIGMOID_ULP`].
#[inline(always)]
pub fn sigmoid<L: Lanes>(l: L, x: L::V) -> L::V {
    let one = l.splat(1.0);
    let y = l.div(one, l.add(one, exp_limited(l, l.neg(x))));
    l.select(l.lt(x, l.splat(-88.3)), l.zero(), y)
}

/// `x` rounded towards zero.
#[inline(always)]
pub fn trunc<L: Lanes>(l: L, x: L::V) -> L::V {
    l.copysign(l.floor(l.abs(x)), x)
}

/// `x` rounded towards positive infinity.
#[inline(always)]
pub fn ceil<L: Lanes>(l: L, x: L::V) -> L::V {
    l.neg(l.floor(l.neg(x)))
}

/// `1 / x`, correctly rounded.
#[inline(always)]
pub fn reciprocal<L: Lanes>(l: L, x: L::V) -> L::V {
    l.div(l.splat(1.0), x)
}
