//! Activations against their formulas in double precision, flat and on blocked images.

use pocketnn_kernels::activation::{Activation, Map};
use pocketnn_kernels::isa::Isa;
use pocketnn_kernels::layout::Blocked;
use pocketnn_kernels::par::{Parallel, Serial};
use pocketnn_kernels::reference::activation as reference;
use pocketnn_tests::support::{Rng, Threads, assert_close, assert_zero_outside, bits, block, unblock};

/// Every function, several with unusual parameters too.
fn all() -> Vec<Activation> {
    use Activation as A;
    vec![
        A::Identity,
        A::Relu,
        A::RELU6,
        A::HARD_TANH,
        A::Clamp { lo: -0.5, hi: f32::INFINITY },
        A::LeakyRelu { alpha: 0.1 },
        A::LeakyRelu { alpha: -2.0 },
        A::GeneralRelu { slope: 0.2, threshold: 0.5, max: 2.0 },
        A::GeneralRelu { slope: 0.0, threshold: 1.0, max: f32::INFINITY },
        A::Threshold { threshold: 1.0, value: 0.0 },
        A::Threshold { threshold: -0.3, value: 7.0 },
        A::Elu { alpha: 1.0 },
        A::Elu { alpha: 0.3 },
        A::SELU,
        A::Celu { alpha: 1.0 },
        A::Celu { alpha: 0.5 },
        A::Sigmoid,
        A::HardSigmoid { alpha: 0.2, beta: 0.5 },
        A::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 },
        A::LogSigmoid,
        A::SILU,
        A::Silu { beta: 1.702 },
        A::HARD_SWISH,
        A::Tanh,
        A::ScaledTanh { alpha: 1.7159, beta: 0.6667 },
        A::TanhShrink,
        A::Gelu,
        A::GeluTanh,
        A::Mish,
        A::Softplus,
        A::Softsign,
        A::Shrink { lambda: 0.5, bias: 0.0 },
        A::Shrink { lambda: 0.5, bias: 0.5 },
        A::Shrink { lambda: 0.25, bias: -1.5 },
        A::SquarePlus { b: 4.0 },
        A::SparsePlus,
        A::SparseSigmoid,
        A::Linear { a: 2.0, b: -1.0 },
        A::Exp,
        A::Expm1,
        A::Log,
        A::Log1p,
        A::Erf,
        A::Abs,
        A::Neg,
        A::Sign,
        A::Sqrt,
        A::Rsqrt,
        A::Reciprocal,
        A::Square,
        A::Round,
        A::Floor,
        A::Ceil,
        A::Trunc,
    ]
}

fn arguments(n: usize) -> Vec<f32> {
    let mut rng = Rng::new(7);
    let special = [0.0, 0.5, 1.0, 2.0, 3.0, 20.0, 50.0, 1e-20, 1e4];
    let random = |i: usize, r: &mut Rng| r.float() * [1.0, 10.0, 0.01][i % 3];
    (0..n).map(|i| if i < 18 { special[i / 2] * [1.0, -1.0][i % 2] } else { random(i, &mut rng) }).collect()
}

#[test]
fn every_function_follows_its_formula_for_every_length() {
    for isa in Isa::available() {
        for a in all() {
            for n in [0, 1, 7, 8, 9, 31, 517] {
                let x = arguments(n);
                let expected: Vec<f32> = reference::apply(&a, &x);
                let mut y = vec![f32::NAN; n];
                Map::new(isa, a, n).apply(&x, &mut y, &Serial).unwrap();
                // Differences of terms of the argument's size lose relative accuracy: hence the absolute part.
                assert_close(&y, &expected, 2e-6, 1e-6, || format!("{isa} {a:?} {n}"));
                let mut z = x.clone();
                Map::new(isa, a, n).apply_in_place(&mut z, &Serial).unwrap();
                assert_eq!(bits(&y), bits(&z), "{isa} {a:?} {n} in place");
            }
        }
    }
}

#[test]
fn one_number_has_the_bits_of_a_vector() {
    let x = arguments(200);
    for a in all() {
        let one: Vec<f32> = x.iter().map(|&v| a.eval(v)).collect();
        for isa in Isa::available().into_iter().filter(|i| i.fused()) {
            let mut y = vec![0.0; x.len()];
            Map::new(isa, a, x.len()).apply(&x, &mut y, &Serial).unwrap();
            assert_eq!(bits(&y), bits(&one), "{isa} {a:?}");
        }
    }
}

#[test]
fn blocked_images_keep_their_zeros() {
    let mut rng = Rng::new(3);
    for case in 0..60 {
        let size = [rng.pick(&[1, 1, 2]), rng.range(1, 6), rng.range(1, 9)];
        let g = Blocked::new(rng.range(1, 2), rng.range(1, 19), size);
        let mut halo = || [(0, 0), (rng.below(3), rng.below(3)), (rng.below(3), rng.below(3))];
        let (gx, gy) = (g.with_halo(halo()), g.with_halo(halo()));
        let plain = rng.floats(g.n * g.c * g.positions());
        let x = block(&plain, &gx);
        for a in [
            Activation::Relu,
            Activation::Sigmoid,
            Activation::Exp,
            Activation::Linear { a: 1.0, b: 1.0 },
            Activation::Tanh,
        ] {
            let expected: Vec<f32> = reference::apply(&a, &plain);
            for isa in Isa::available() {
                for par in [&Serial as &dyn Parallel, &Threads(2)] {
                    let mut y = vec![f32::NAN; gy.len()];
                    Map::blocked(isa, a, gx, gy).unwrap().apply(&x, &mut y, par).unwrap();
                    assert_close(&unblock(&y, &gy), &expected, 1e-6, 1e-6, || format!("case {case} {isa} {a:?}"));
                    assert_zero_outside(&y, &gy);
                    let mut z = x.clone();
                    Map::blocked(isa, a, gx, gx).unwrap().apply_in_place(&mut z, par).unwrap();
                    assert_close(&unblock(&z, &gx), &expected, 1e-6, 1e-6, || {
                        format!("case {case} {isa} {a:?} in place")
                    });
                    assert_zero_outside(&z, &gx);
                }
            }
        }
    }
}

#[test]
fn wrong_lengths_and_layouts_are_refused() {
    let isa = Isa::detect();
    let map = Map::new(isa, Activation::Relu, 4);
    let e = map.apply(&[0.0; 3], &mut [0.0; 4], &Serial).unwrap_err();
    assert_eq!(e.to_string(), "activation: x: expected 4 elements, found 3");
    let g = Blocked::new(1, 3, [1, 2, 2]);
    assert!(Map::blocked(isa, Activation::Relu, g, Blocked::new(1, 4, [1, 2, 2])).is_err());
    let wide = g.with_halo([(0, 0), (1, 1), (1, 1)]);
    let map = Map::blocked(isa, Activation::Relu, g, wide).unwrap();
    assert!(map.apply_in_place(&mut vec![0.0; wide.len()], &Serial).is_err());
}

#[test]
fn the_error_function_of_the_reference_has_known_values() {
    // Abramowitz and Stegun, table 7.1.
    for (x, y) in
        [(0.0, 0.0), (0.5, 0.520_499_877_8), (1.0, 0.842_700_792_9), (2.0, 0.995_322_265_0), (3.0, 0.999_977_909_5)]
    {
        assert!((reference::erf(x) - y).abs() < 1e-10, "{x}");
        assert!((reference::erf(-x) + y).abs() < 1e-10, "-{x}");
    }
}
