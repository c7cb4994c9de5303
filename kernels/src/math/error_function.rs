//! The error function.

use super::{exp_limited, polynomial};
use crate::isa::Lanes;

/// Bound of [`erf`].
pub const ERF_ULP: u32 = 2;

/// erf(x) / x - 1 in x^2 on |x| <= 1.
const NEAR: [f32; 7] =
    [0.128_379_17, -0.37612626, 0.112835854, -0.026_853_813, 0.005_188_327_7, -0.000_801_019_37, 7.853_861e-5];
/// -ln(1 - erf(a)) on 1 <= a <= 4; beyond, the float nearest to erf is 1.
const FAR: [f32; 7] =
    [0.000_353_720_48, 1.127_04, 0.638_225_7, 0.103037365, -0.021_805_316, 0.002_939_606_6, -0.000_185_573_94];

/// Error function, within [`ERF_ULP`].
#[inline(always)]
pub fn erf<L: Lanes>(l: L, x: L::V) -> L::V {
    let a = l.abs(x);
    let near = l.mul_add(x, polynomial(l, l.mul(x, x), NEAR), x);
    let q = polynomial(l, l.min(l.splat(4.0), a), FAR);
    let far = l.copysign(l.sub(l.splat(1.0), exp_limited(l, l.neg(q))), x);
    l.select(l.le(a, l.splat(1.0)), near, far)
}
