//! Softmax and its relatives against double precision.

use pocketnn_kernels::isa::Isa;
use pocketnn_kernels::par::{Parallel, Serial};
use pocketnn_kernels::reference::softmax::softmax as reference;
use pocketnn_kernels::softmax::{Kind, Softmax};
use pocketnn_tests::support::{Rng, Threads, assert_close, bits};

const KINDS: [Kind; 3] = [Kind::Softmax, Kind::LogSoftmax, Kind::Hardmax];

#[test]
fn any_axis_follows_the_reference() {
    let mut rng = Rng::new(11);
    for case in 0..150 {
        let rank = rng.range(1, 4);
        let shape: Vec<usize> = (0..rank).map(|_| rng.pick(&[1, 2, 3, 7, 8, 16, 17, 33, 40])).collect();
        let axis = rng.below(rank);
        let scale = rng.pick(&[0.1, 3.0, 50.0]);
        let x: Vec<f32> = rng.floats(shape.iter().product()).iter().map(|v| v * scale).collect();
        for kind in KINDS {
            let expected = reference(kind, &x, &shape, axis);
            let mut first = None;
            for isa in Isa::available() {
                for par in [&Serial as &dyn Parallel, &Threads(2)] {
                    let f = Softmax::along(isa, kind, &shape, axis);
                    let mut y = vec![f32::NAN; x.len()];
                    f.apply(&x, &mut y, par).unwrap();
                    let place = || format!("case {case} {isa} {kind:?} {shape:?} axis {axis}");
                    // The largest error is that of the exponential's argument, a difference of numbers up to `scale`.
                    assert_close(&y, &expected, scale * 2e-7, scale * 4e-7 + 1e-6, place);
                    let mut z = x.clone();
                    f.apply_in_place(&mut z, par).unwrap();
                    assert_eq!(bits(&z), bits(&y), "{} in place", place());
                    if isa.fused() {
                        assert_eq!(bits(&y), *first.get_or_insert_with(|| bits(&y)), "{}", place());
                    }
                }
            }
        }
    }
}

#[test]
fn infinities_and_nan_go_where_the_formula_sends_them() {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let cases: &[(&[f32], Kind, &[f32])] = &[
        (&[0.0, -inf, 0.0], Kind::Softmax, &[0.5, 0.0, 0.5]),
        (&[1000.0, 0.0], Kind::Softmax, &[1.0, 0.0]),
        (&[-1000.0, -1000.0], Kind::Softmax, &[0.5, 0.5]),
        (&[5.0], Kind::Softmax, &[1.0]),
        (&[-inf, -inf], Kind::Softmax, &[nan, nan]),
        (&[1.0, nan, 2.0], Kind::Softmax, &[nan, nan, nan]),
        (&[1.0, inf], Kind::Softmax, &[nan, nan]),
        (&[0.0, -inf], Kind::LogSoftmax, &[0.0, -inf]),
        (&[1.0, 3.0, 3.0], Kind::Hardmax, &[0.0, 1.0, 0.0]),
        (&[1.0, nan, 3.0], Kind::Hardmax, &[0.0, 1.0, 0.0]),
        (&[-inf, -inf], Kind::Hardmax, &[1.0, 0.0]),
    ];
    for isa in Isa::available() {
        for (x, kind, expected) in cases {
            for inner in [1, 3] {
                let spread = |v: &[f32]| v.iter().flat_map(|&v| vec![v; inner]).collect::<Vec<_>>();
                let mut y = vec![0.0; x.len() * inner];
                Softmax::new(isa, *kind, 1, x.len(), inner).apply(&spread(x), &mut y, &Serial).unwrap();
                assert_eq!(bits(&y), bits(&spread(expected)), "{isa} {kind:?} of {x:?} inner {inner} gave {y:?}");
            }
        }
    }
}

#[test]
fn empty_tensors_and_wrong_lengths() {
    let isa = Isa::detect();
    for (outer, len, inner) in [(0, 3, 2), (2, 0, 3), (2, 3, 0)] {
        Softmax::new(isa, Kind::Softmax, outer, len, inner).apply(&[], &mut [], &Serial).unwrap();
    }
    let f = Softmax::new(isa, Kind::Softmax, 1, 4, 1);
    let e = f.apply(&[0.0; 3], &mut [0.0; 4], &Serial).unwrap_err();
    assert_eq!(e.to_string(), "softmax: x: expected 4 elements, found 3");
    assert!(f.apply_in_place(&mut [0.0; 5], &Serial).is_err());
}
