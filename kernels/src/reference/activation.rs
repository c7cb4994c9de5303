//! Activations in double precision, as their formulas stand.

use crate::activation::Activation;
use crate::elementwise::Number;

/// The activation of every element; a shape plays no part.
pub fn apply<T: Number>(a: &Activation, x: &[T]) -> Vec<T> {
    x.iter().map(|v| T::from_f64(eval(a, v.to_f64()))).collect()
}

/// The activation of one number.
pub fn eval(a: &Activation, x: f64) -> f64 {
    use Activation as A;
    let d = f64::from;
    match *a {
        A::Identity => x,
        A::Relu => clamp(x, 0.0, f64::INFINITY),
        A::Clamp { lo, hi } => clamp(x, d(lo), d(hi)),
        A::LeakyRelu { alpha } => {
            if x < 0.0 {
                d(alpha) * x
            } else {
                x
            }
        }
        A::GeneralRelu { slope, threshold, max } => {
            if x >= d(max) {
                d(max)
            } else if x < d(threshold) {
                d(slope) * (x - d(threshold))
            } else {
                x
            }
        }
        A::Threshold { threshold, value } => {
            if x <= d(threshold) {
                d(value)
            } else {
                x
            }
        }
        A::Elu { alpha } => {
            if x <= 0.0 {
                d(alpha) * x.exp_m1()
            } else {
                x
            }
        }
        A::Selu { alpha, gamma } => d(gamma) * if x <= 0.0 { d(alpha) * x.exp_m1() } else { x },
        A::Celu { alpha } => {
            if x <= 0.0 {
                d(alpha) * (x / d(alpha)).exp_m1()
            } else {
                x
            }
        }
        A::Sigmoid => sigmoid(x),
        A::HardSigmoid { alpha, beta } => clamp(d(alpha) * x + d(beta), 0.0, 1.0),
        A::LogSigmoid => -softplus(-x),
        A::Silu { beta } => x * sigmoid(d(beta) * x),
        A::HardSwish { alpha, beta } => x * clamp(d(alpha) * x + d(beta), 0.0, 1.0),
        A::Tanh => x.tanh(),
        A::ScaledTanh { alpha, beta } => d(alpha) * (d(beta) * x).tanh(),
        A::TanhShrink => x - x.tanh(),
        A::Gelu => 0.5 * x * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2)),
        A::GeluTanh => 0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh()),
        A::Mish => x * softplus(x).tanh(),
        A::Softplus => softplus(x),
        A::Softsign => x / (1.0 + x.abs()),
        A::Shrink { lambda, bias } => {
            if x > d(lambda) {
                x - d(bias)
            } else if x < -d(lambda) {
                x + d(bias)
            } else {
                x * 0.0
            }
        }
        A::SquarePlus { b } => 0.5 * (x + (x * x + d(b)).sqrt()),
        A::SparsePlus => {
            if x <= -1.0 {
                0.0
            } else if x >= 1.0 {
                x
            } else {
                0.25 * (x + 1.0).powi(2)
            }
        }
        A::SparseSigmoid => clamp(0.5 * (x + 1.0), 0.0, 1.0),
        A::Linear { a, b } => d(a) * x + d(b),
        A::Exp => x.exp(),
        A::Expm1 => x.exp_m1(),
        A::Log => x.ln(),
        A::Log1p => x.ln_1p(),
        A::Erf => erf(x),
        A::Abs => x.abs(),
        A::Neg => -x,
        A::Sign => {
            if x == 0.0 || x.is_nan() {
                x
            } else {
                x.signum()
            }
        }
        A::Sqrt => x.sqrt(),
        A::Rsqrt => 1.0 / x.sqrt(),
        A::Reciprocal => 1.0 / x,
        A::Square => x * x,
        A::Round => x.round_ties_even(),
        A::Floor => x.floor(),
        A::Ceil => x.ceil(),
        A::Trunc => x.trunc(),
    }
}

/// `min(max(x, lo), hi)`, NaN stays, and the upper bound wins where they cross.
fn clamp(x: f64, lo: f64, hi: f64) -> f64 {
    let above = if x < lo { lo } else { x };
    if above > hi { hi } else { above }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p() + if x.is_nan() { x } else { 0.0 }
}

/// Error function: Taylor series below 2.5, continued fraction of the complement above (Abramowitz and Stegun 7.1.5, 7.1.14).
pub fn erf(x: f64) -> f64 {
    let a = x.abs();
    let root = std::f64::consts::PI.sqrt();
    if a.is_nan() {
        x
    } else if a < 2.5 {
        let (mut sum, mut term) = (a, a);
        for k in 1..100 {
            term *= -a * a / f64::from(k);
            sum += term / f64::from(2 * k + 1);
        }
        (2.0 / root * sum).copysign(x)
    } else if a < 6.0 {
        let fraction = (1..=200).rev().fold(0.0, |f, k| f64::from(k) / 2.0 / (a + f));
        (1.0 - (-a * a).exp() / root / (a + fraction)).copysign(x)
    } else {
        1f64.copysign(x)
    }
}
