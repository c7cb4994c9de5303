//! Elementary functions against double precision, over all magnitudes of the argument.

use pocketnn_kernels::activation::{Activation, slices};
use pocketnn_kernels::isa::{Isa, Kernel, Lanes, Simd};
use pocketnn_kernels::math;
use pocketnn_kernels::reference::activation::erf;
use pocketnn_tests::support::{bits, ulps};

/// A function, its exact value, its bound, and the arguments the bound holds for.
type Row = (Activation, fn(f64) -> f64, u32, std::ops::RangeInclusive<f32>);

const EVERYWHERE: std::ops::RangeInclusive<f32> = f32::NEG_INFINITY..=f32::INFINITY;

fn table() -> Vec<Row> {
    vec![
        (Activation::Exp, f64::exp, math::EXP_ULP, EVERYWHERE),
        (Activation::Expm1, f64::exp_m1, math::EXPM1_ULP, EVERYWHERE),
        (Activation::Log, f64::ln, math::LOG_ULP, EVERYWHERE),
        (Activation::Log1p, f64::ln_1p, math::LOG1P_ULP, EVERYWHERE),
        (Activation::Tanh, f64::tanh, math::TANH_ULP, EVERYWHERE),
        (Activation::Sigmoid, |x| 1.0 / (1.0 + (-x).exp()), math::SIGMOID_ULP, -87.0..=f32::INFINITY),
        (Activation::Erf, erf, math::ERF_ULP, EVERYWHERE),
    ]
}

/// Every `step`-th of the 2^32 floats, in pieces; `step` is prime, so that all mantissas take part.
fn sample(step: u32, mut f: impl FnMut(&[f32])) {
    let mut next = Some(0u32);
    while let Some(mut at) = next {
        let mut piece = Vec::with_capacity(4096);
        while piece.len() < 4096 {
            piece.push(f32::from_bits(at));
            next = at.checked_add(step);
            match next {
                Some(n) => at = n,
                None => break,
            }
        }
        f(&piece);
    }
}

#[test]
fn functions_stay_within_their_bounds() {
    for isa in Isa::available() {
        for (function, exact, bound, domain) in table() {
            sample(if isa == Isa::SCALAR { 30_011 } else { 5_003 }, |x| {
                let mut y = vec![0.0; x.len()];
                slices(isa, &function, x, &mut y);
                for (&x, &y) in x.iter().zip(&y).filter(|(x, _)| domain.contains(x) || x.is_nan()) {
                    let e = exact(f64::from(x));
                    let d = ulps(y, e);
                    assert!(d <= f64::from(bound), "{isa} {function:?}({x:e}): expected {e:e}, found {y:e}, {d} ulp");
                }
            });
        }
    }
}

#[test]
fn fused_instruction_sets_agree_to_the_bit() {
    for (function, ..) in table() {
        sample(100_003, |x| {
            let mut expected = vec![0.0; x.len()];
            slices(Isa::SCALAR, &function, x, &mut expected);
            for isa in Isa::available().into_iter().filter(|i| i.fused()) {
                let mut y = vec![0.0; x.len()];
                slices(isa, &function, x, &mut y);
                assert_eq!(bits(&y), bits(&expected), "{isa} {function:?}");
            }
        });
    }
}

#[test]
fn special_arguments_give_special_values() {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let cases: &[(Activation, &[(f32, f32)])] = &[
        (Activation::Exp, &[(-inf, 0.0), (inf, inf), (0.0, 1.0), (-0.0, 1.0), (89.0, inf), (-104.0, 0.0), (nan, nan)]),
        (Activation::Expm1, &[(-inf, -1.0), (inf, inf), (0.0, 0.0), (-0.0, -0.0), (1e-40, 1e-40), (nan, nan)]),
        (Activation::Log, &[(0.0, -inf), (-0.0, -inf), (inf, inf), (-1.0, nan), (-inf, nan), (1.0, 0.0), (nan, nan)]),
        (Activation::Log1p, &[(-1.0, -inf), (-2.0, nan), (inf, inf), (0.0, 0.0), (-0.0, -0.0), (nan, nan)]),
        (Activation::Tanh, &[(inf, 1.0), (-inf, -1.0), (0.0, 0.0), (-0.0, -0.0), (1e-40, 1e-40), (nan, nan)]),
        (Activation::Sigmoid, &[(inf, 1.0), (-inf, 0.0), (0.0, 0.5), (-200.0, 0.0), (nan, nan)]),
        (Activation::Erf, &[(inf, 1.0), (-inf, -1.0), (0.0, 0.0), (-0.0, -0.0), (nan, nan)]),
        (Activation::Relu, &[(inf, inf), (-inf, 0.0), (nan, nan)]),
        (Activation::RELU6, &[(inf, 6.0), (-inf, 0.0), (nan, nan)]),
        (Activation::Sign, &[(inf, 1.0), (-3.0, -1.0), (0.0, 0.0), (-0.0, -0.0), (nan, nan)]),
        (Activation::Softplus, &[(inf, inf), (-inf, 0.0), (200.0, 200.0), (nan, nan)]),
        (Activation::Trunc, &[(-0.5, -0.0), (1.9, 1.0), (-1.9, -1.0), (1e30, 1e30), (inf, inf), (nan, nan)]),
        (Activation::Ceil, &[(-0.5, -0.0), (1.1, 2.0), (inf, inf)]),
        (Activation::Round, &[(0.5, 0.0), (1.5, 2.0), (-2.5, -2.0), (1e30, 1e30)]),
    ];
    for isa in Isa::available() {
        for (function, rows) in cases {
            let (x, expected): (Vec<f32>, Vec<f32>) = rows.iter().copied().unzip();
            let mut y = vec![0.0; x.len()];
            slices(isa, function, &x, &mut y);
            assert_eq!(bits(&y), bits(&expected), "{isa} {function:?} of {x:?} gave {y:?}");
        }
    }
}

#[test]
fn powers_of_positive_numbers_are_near() {
    struct Power<'a>(&'a mut [f32], f32);
    impl Kernel for Power<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let l = s.pair();
            l.map(self.0, |v| math::pow_positive(l, v, self.1));
        }
    }
    let x: Vec<f32> = (1..2000).map(|i| i as f32 * 0.37).collect();
    for isa in Isa::available() {
        for p in [-0.75f32, 0.5, 2.0, 3.3] {
            let mut y = x.clone();
            isa.dispatch(Power(&mut y, p));
            for (&x, &y) in x.iter().zip(&y) {
                let e = f64::from(x).powf(f64::from(p));
                let bound = 1e-7 * (2.0 + 2.0 * (f64::from(p) * f64::from(x).ln()).abs());
                assert!((f64::from(y) - e).abs() <= bound * e, "{isa} {x}^{p}: expected {e}, found {y}");
            }
        }
    }
}
