//! Normalisations against two passes in double precision.

use pocketnn_kernels::activation::Activation;
use pocketnn_kernels::isa::Isa;
use pocketnn_kernels::layout::Blocked;
use pocketnn_kernels::norm::{Affine, Divide, Group, Layer, LocalResponse};
use pocketnn_kernels::par::{Parallel, Serial};
use pocketnn_kernels::reference::norm as reference;
use pocketnn_tests::support::{Rng, Threads, assert_close, assert_zero_outside, bits, block, unblock};

/// Runs `f` on every instruction set, alone and on two threads: near `expected`, and equal bits on fused sets.
fn on_all(expected: &[f32], place: &str, f: impl Fn(Isa, &dyn Parallel) -> Vec<f32>) {
    let mut first = None;
    for isa in Isa::available() {
        for par in [&Serial as &dyn Parallel, &Threads(2)] {
            let y = f(isa, par);
            // Rounded mean, deviation and product, of numbers of the size of a few standard deviations.
            assert_close(&y, expected, 4e-6, 4e-6, || format!("{place} {isa}"));
            if isa.fused() {
                assert_eq!(bits(&y), *first.get_or_insert_with(|| bits(&y)), "{place} {isa}");
            }
        }
    }
}

/// An optional parameter.
fn maybe(rng: &mut Rng, n: usize) -> Option<Vec<f32>> {
    (rng.below(3) != 0).then(|| rng.floats(n))
}

#[test]
fn rows_follow_the_reference() {
    let mut rng = Rng::new(61);
    for case in 0..120 {
        let (rows, len) = (rng.range(0, 9), rng.pick(&[1, 2, 7, 16, 17, 33, 768]));
        let offset = rng.pick(&[0.0, 3.0]);
        let x: Vec<f32> = rng.floats(rows * len).iter().map(|v| v + offset).collect();
        let (scale, bias) = (maybe(&mut rng, len), maybe(&mut rng, len));
        let (scale, bias) = (scale.as_deref(), bias.as_deref());
        let expected = reference::layer(&x, &[rows, len], 1, scale, bias, 1e-3);
        on_all(&expected, &format!("case {case} {rows} x {len}"), |isa, par| {
            let f = Layer::new(isa, rows, len, 1e-3);
            let mut y = vec![7.0; x.len()];
            f.apply(&x, scale, bias, &mut y, par).unwrap();
            let mut z = x.clone();
            f.apply_in_place(scale, bias, &mut z, par).unwrap();
            assert_eq!(bits(&y), bits(&z));
            y
        });
        let expected = reference::rms(&x, &[rows, len], 1, scale, 1e-3);
        on_all(&expected, &format!("case {case} {rows} x {len} rms"), |isa, par| {
            let mut y = vec![7.0; x.len()];
            Layer::rms(isa, rows, len, 1e-3).apply(&x, scale, None, &mut y, par).unwrap();
            y
        });
    }
}

#[test]
fn groups_follow_the_reference_plain_and_blocked() {
    let mut rng = Rng::new(62);
    for case in 0..200 {
        let groups = rng.pick(&[1, 2, 3, 4, 8, 16]);
        let c = groups * rng.pick(&[1, 2, 3, 4, 8, 16]);
        let size = [1, rng.range(1, 5), rng.range(1, 7)];
        let halo = [(0, 0), (rng.below(3), rng.below(3)), (rng.below(3), rng.below(3))];
        let g = Blocked::new(rng.range(1, 2), c, size).with_halo(halo);
        let x = rng.floats(g.n * c * g.positions());
        let (scale, bias) = (maybe(&mut rng, c), maybe(&mut rng, c));
        let (scale, bias) = (scale.as_deref(), bias.as_deref());
        let shape = [g.n, c, g.positions()];
        let expected = reference::group(&x, &shape, groups, scale, bias, 1e-2);
        let place = format!("case {case} {groups} groups {g:?}");
        on_all(&expected, &place, |isa, par| {
            let mut y = x.clone();
            Group::new(isa, shape, groups, 1e-2).unwrap().apply_in_place(scale, bias, &mut y, par).unwrap();
            y
        });
        if !Group::can_block(c, groups) {
            assert!(Group::blocked(Isa::SCALAR, g, groups, 1e-2).is_err());
            continue;
        }
        on_all(&expected, &format!("{place} blocked"), |isa, par| {
            let mut y = block(&x, &g);
            Group::blocked(isa, g, groups, 1e-2).unwrap().apply_in_place(scale, bias, &mut y, par).unwrap();
            assert_zero_outside(&y, &g);
            unblock(&y, &g)
        });
    }
}

#[test]
fn batch_statistics_become_a_factor_and_an_offset() {
    let mut rng = Rng::new(63);
    for case in 0..100 {
        let size = [1, rng.range(1, 5), rng.range(1, 7)];
        let halo = [(0, 0), (rng.below(3), rng.below(3)), (rng.below(3), rng.below(3))];
        let g = Blocked::new(rng.range(1, 3), rng.range(1, 20), size).with_halo(halo);
        let shape = [g.n, g.c, g.positions()];
        let x = rng.floats(shape.iter().product());
        let [scale, bias, mean] = [0, 1, 2].map(|_| rng.floats(g.c));
        let variance: Vec<f32> = rng.floats(g.c).iter().map(|v| v.abs() + 0.1).collect();
        let expected = reference::batch(&x, &shape, &mean, &variance, Some(&scale), Some(&bias), 1e-3f32.into());
        let (a, b) = Affine::of_batch(&scale, &bias, &mean, &variance, 1e-3);
        let activation =
            rng.pick(&[Activation::Identity, Activation::Relu, Activation::HARD_SWISH, Activation::Sigmoid]);
        let expected = pocketnn_kernels::reference::activation::apply(&activation, &expected);
        let place = format!("case {case} {g:?} {activation:?}");
        on_all(&expected, &place, |isa, par| {
            let f = Affine::new(isa, shape, a.clone(), b.clone()).unwrap().then(activation);
            let (mut y, mut z) = (x.clone(), vec![7.0; x.len()]);
            f.apply_in_place(&mut y, par).unwrap();
            f.apply(&x, &mut z, par).unwrap();
            assert_eq!(bits(&y), bits(&z));
            y
        });
        let wide = g.with_halo([(0, 0), (1, 2), (rng.below(2), 1)]);
        on_all(&expected, &format!("{place} blocked"), |isa, par| {
            let mut y = block(&x, &g);
            let f = Affine::blocked(isa, g, g, a.clone(), b.clone()).unwrap().then(activation);
            f.apply_in_place(&mut y, par).unwrap();
            assert_zero_outside(&y, &g);
            let f = Affine::blocked(isa, g, wide, a.clone(), b.clone()).unwrap().then(activation);
            let mut z = vec![7.0; wide.len()];
            f.apply(&block(&x, &g), &mut z, par).unwrap();
            assert_zero_outside(&z, &wide);
            assert_eq!(bits(&unblock(&z, &wide)), bits(&unblock(&y, &g)));
            assert_eq!(f.apply_in_place(&mut z, par).is_err(), g != wide);
            unblock(&y, &g)
        });
    }
}

#[test]
fn neighbours_across_channels_follow_the_reference() {
    let mut rng = Rng::new(64);
    for case in 0..80 {
        let shape = [rng.range(1, 2), rng.range(1, 9), rng.range(1, 40)];
        let x: Vec<f32> = rng.floats(shape.iter().product()).iter().map(|v| v * 5.0).collect();
        let (size, beta) = (rng.range(1, 7), rng.pick(&[0.75f32, 0.5, 1.3]));
        let expected = reference::local_response(&x, &shape, size, 0.3f32.into(), beta.into(), 2.0);
        on_all(&expected, &format!("case {case} {shape:?} size {size} beta {beta}"), |isa, par| {
            let mut y = vec![7.0; x.len()];
            LocalResponse::new(isa, shape, size, 0.3, beta, 2.0).unwrap().apply(&x, &mut y, par).unwrap();
            y
        });
    }
}

#[test]
fn lines_are_divided_by_their_norm() {
    let mut rng = Rng::new(65);
    for case in 0..100 {
        let shape: Vec<usize> = (0..rng.range(1, 3)).map(|_| rng.pick(&[1, 2, 5, 16, 19])).collect();
        let axis = rng.below(shape.len());
        let p = rng.pick(&[1, 2]);
        let x = rng.floats(shape.iter().product());
        let expected = reference::lp(&x, &shape, axis, p, 1e-6);
        on_all(&expected, &format!("case {case} {shape:?} axis {axis} p {p}"), |isa, par| {
            let mut y = vec![7.0; x.len()];
            Divide::new(isa, &shape, axis, p, 1e-6).unwrap().apply(&x, &mut y, par).unwrap();
            y
        });
    }
    for isa in Isa::available() {
        let mut y = [7.0; 3];
        Divide::new(isa, &[3], 0, 2, 0.0).unwrap().apply(&[0.0; 3], &mut y, &Serial).unwrap();
        assert_eq!(y, [0.0; 3], "the norm of zeros divides nothing");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let isa = Isa::detect();
    assert!(Group::new(isa, [1, 6, 4], 4, 1e-5).is_err());
    assert!(Group::new(isa, [1, 6, 4], 0, 1e-5).is_err());
    assert!(LocalResponse::new(isa, [1, 6, 4], 0, 1e-5, 0.75, 1.0).is_err());
    assert!(Divide::new(isa, &[2, 3], 2, 2, 0.0).is_err());
    assert!(Divide::new(isa, &[2, 3], 1, 3, 0.0).is_err());
    assert!(Affine::new(isa, [1, 3, 2], vec![1.0; 3], vec![0.0; 2]).is_err());
    let e = Layer::new(isa, 2, 3, 1e-5).apply(&[0.0; 6], Some(&[1.0; 2]), None, &mut [0.0; 6], &Serial).unwrap_err();
    assert_eq!(e.to_string(), "norm: scale: expected 3 elements, found 2");
}
