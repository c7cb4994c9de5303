//! The vector bodies. Constant operands of `min` and `max` come first, so that a NaN argument stays NaN.

use super::Function;
use crate::isa::Lanes;
use crate::math::{self, limit};

macro_rules! functions {
    ($($name:ident { $($field:ident),* } |$l:ident, $v:ident| $body:expr;)*) => {
        $(#[derive(Clone, Copy)]
        pub struct $name { $(pub $field: f32),* }
        impl Function for $name {
            const COMMON: bool = true;
            #[inline(always)]
            fn eval<L: Lanes>(self, $l: L, $v: L::V) -> L::V {
                let Self { $($field),* } = self;
                $body
            }
        })*
    };
}

functions! {
    Identity {} |_l, v| v;
    Relu {} |l, v| l.max(l.zero(), v);
    Clamp { lo, hi } |l, v| limit(l, v, lo, hi);
    LeakyRelu { alpha } |l, v| l.select(l.lt(v, l.zero()), l.mul(v, l.splat(alpha)), v);
    Sigmoid {} |l, v| math::sigmoid(l, v);
    HardSigmoid { alpha, beta } |l, v| limit(l, l.mul_add(v, l.splat(alpha), l.splat(beta)), 0.0, 1.0);
    Silu { beta } |l, v| l.mul(v, math::sigmoid(l, l.mul(v, l.splat(beta))));
    HardSwish { alpha, beta } |l, v| l.mul(v, limit(l, l.mul_add(v, l.splat(alpha), l.splat(beta)), 0.0, 1.0));
    Tanh {} |l, v| math::tanh(l, v);
    Gelu {} |l, v| {
        let half = l.mul(v, l.splat(0.5));
        l.mul_add(half, math::erf(l, l.mul(v, l.splat(std::f32::consts::FRAC_1_SQRT_2))), half)
    };
    Linear { a, b } |l, v| l.mul_add(v, l.splat(a), l.splat(b));
}

#[inline(always)]
pub fn general_relu<L: Lanes>(l: L, v: L::V, slope: f32, threshold: f32, max: f32) -> L::V {
    let t = l.splat(threshold);
    let below = l.mul(l.sub(v, t), l.splat(slope));
    let y = l.select(l.lt(v, t), below, v);
    l.select(l.le(l.splat(max), v), l.splat(max), y)
}

#[inline(always)]
pub fn threshold<L: Lanes>(l: L, v: L::V, threshold: f32, value: f32) -> L::V {
    l.select(l.le(v, l.splat(threshold)), l.splat(value), v)
}

#[inline(always)]
pub fn selu<L: Lanes>(l: L, v: L::V, alpha: f32, gamma: f32) -> L::V {
    let below = l.mul(l.splat(alpha), math::expm1(l, l.min(l.zero(), v)));
    l.mul(l.select(l.le(v, l.zero()), below, v), l.splat(gamma))
}

#[inline(always)]
pub fn celu<L: Lanes>(l: L, v: L::V, alpha: f32) -> L::V {
    let below = l.mul(l.splat(alpha), math::expm1(l, l.div(v, l.splat(alpha))));
    l.add(l.max(l.zero(), v), l.min(l.zero(), below))
}

/// ln(1 + e^x) = max(x, 0) + ln(1 + e^-|x|), where nothing overflows.
#[inline(always)]
pub fn softplus<L: Lanes>(l: L, v: L::V) -> L::V {
    l.add(l.max(l.zero(), v), math::log1p(l, math::exp(l, l.neg(l.abs(v)))))
}

#[inline(always)]
pub fn scaled_tanh<L: Lanes>(l: L, v: L::V, alpha: f32, beta: f32) -> L::V {
    l.mul(l.splat(alpha), math::tanh(l, l.mul(v, l.splat(beta))))
}

/// (1 + tanh(u)) / 2 = sigmoid(2 u), which does not cancel on the negative side.
#[inline(always)]
pub fn gelu_tanh<L: Lanes>(l: L, v: L::V) -> L::V {
    const TWICE_ROOT: f32 = 1.595_769;
    let cubic = l.mul_add(l.mul(v, v), l.splat(0.044715 * TWICE_ROOT), l.splat(TWICE_ROOT));
    l.mul(v, math::sigmoid(l, l.mul(v, cubic)))
}

/// With `w = e^x (e^x + 2)`, tanh(ln(1 + e^x)) = w / (w + 2); from 20 on the nearest float is 1.
#[inline(always)]
pub fn mish<L: Lanes>(l: L, v: L::V) -> L::V {
    let two = l.splat(2.0);
    let e = math::exp(l, l.min(l.splat(20.0), v));
    let w = l.mul(e, l.add(e, two));
    l.mul(v, l.div(w, l.add(w, two)))
}

#[inline(always)]
pub fn shrink<L: Lanes>(l: L, v: L::V, lambda: f32, bias: f32) -> L::V {
    let y = l.sub(v, l.copysign(l.splat(bias), v));
    let signed = if bias < 0.0 { l.add(v, l.copysign(l.splat(-bias), v)) } else { y };
    l.select(l.le(l.abs(v), l.splat(lambda)), l.zero(), signed)
}

/// On the negative side `(b / 2) / (|x| + sqrt(x^2 + b))`, which does not cancel.
#[inline(always)]
pub fn square_plus<L: Lanes>(l: L, v: L::V, b: f32) -> L::V {
    let sum = l.add(l.abs(v), l.sqrt(l.mul_add(v, v, l.splat(b))));
    let below = l.div(l.splat(0.5 * b), sum);
    l.select(l.lt(v, l.zero()), below, l.mul(sum, l.splat(0.5)))
}

#[inline(always)]
pub fn sparse_plus<L: Lanes>(l: L, v: L::V) -> L::V {
    let one = l.splat(1.0);
    let u = l.add(v, one);
    let y = l.mul(l.mul(u, u), l.splat(0.25));
    let y = l.select(l.le(v, l.splat(-1.0)), l.zero(), y);
    l.select(l.le(one, v), v, y)
}

/// -1, 0 or 1 by the sign; zeros and NaN stay.
#[inline(always)]
pub fn sign<L: Lanes>(l: L, v: L::V) -> L::V {
    let ordered = l.select(l.eq(v, v), l.copysign(l.splat(1.0), v), v);
    l.select(l.eq(v, l.zero()), v, ordered)
}
