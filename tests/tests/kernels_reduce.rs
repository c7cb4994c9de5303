//! Reductions against their naive twins: any axes, any element type, blocked images.

use pocketnn_kernels::isa::Isa;
use pocketnn_kernels::layout::{BLOCK, Blocked};
use pocketnn_kernels::par::{Parallel, Serial};
use pocketnn_kernels::reduce::{Global, Plan, Reduce, Reduction, arg};
use pocketnn_kernels::reference::reduce as reference;
use pocketnn_tests::support::{Rng, Threads, assert_close, bits, block};

fn shape_and_axes(rng: &mut Rng) -> (Vec<usize>, Vec<usize>) {
    const EXTENTS: [usize; 10] = [1, 2, 3, 5, 8, 15, 16, 17, 33, 0];
    let rank = rng.below(5);
    let zero = usize::from(rng.below(8) == 0);
    let shape = (0..rank).map(|_| rng.pick(&EXTENTS[..9 + zero])).collect();
    let axes = (0..rank).filter(|_| rng.below(2) == 0).collect();
    (shape, axes)
}

/// Positive numbers for reductions that take a logarithm or a product.
fn values(rng: &mut Rng, op: Reduction, n: usize) -> Vec<f32> {
    let x = rng.floats(n);
    match op {
        Reduction::LogSum => x.iter().map(|v| v.abs() + 0.01).collect(),
        Reduction::Prod => x.iter().map(|v| 1.0 + 0.01 * v).collect(),
        Reduction::LogSumExp => x.iter().map(|v| v * 30.0).collect(),
        _ => x,
    }
}

#[test]
fn any_axes_follow_the_reference() {
    let mut rng = Rng::new(21);
    for case in 0..400 {
        let (shape, axes) = shape_and_axes(&mut rng);
        let op = rng.pick(&Reduction::ALL);
        let x = values(&mut rng, op, shape.iter().product());
        let expected = reference::reduce(op, &x, &shape, &axes);
        let group: usize = axes.iter().map(|&a| shape[a]).product();
        let mut first = None;
        for isa in Isa::available() {
            for par in [&Serial as &dyn Parallel, &Threads(2)] {
                let f = Reduce::new(isa, op, &shape, &axes).unwrap();
                let mut y = vec![7.0; f.outputs()];
                f.apply(&x, &mut y, par).unwrap();
                // A sum of n terms below 1 in single precision: at most n / 2 roundings of a partial sum below n.
                let absolute = if op == Reduction::Mean { 3e-7 } else { 3e-8 * group as f32 };
                let place = || format!("case {case} {isa} {op:?} {shape:?} {axes:?}");
                assert_close(&y, &expected, absolute + 1e-7, 1e-6 + 3e-8 * group as f32, place);
                if isa.fused() {
                    assert_eq!(bits(&y), *first.get_or_insert_with(|| bits(&y)), "{}", place());
                }
            }
        }
    }
}

#[test]
fn large_groups_keep_their_accuracy() {
    let mut rng = Rng::new(22);
    let x: Vec<f32> = rng.floats(300_000).iter().map(|v| v + 1.0).collect();
    for (shape, axes) in [(vec![300_000], vec![0]), (vec![3000, 100], vec![0]), (vec![100, 3000], vec![1])] {
        let expected = reference::reduce(Reduction::Mean, &x, &shape, &axes);
        for isa in Isa::available() {
            let f = Reduce::new(isa, Reduction::Mean, &shape, &axes).unwrap();
            let mut y = vec![0.0; f.outputs()];
            f.apply(&x, &mut y, &Threads(2)).unwrap();
            assert_close(&y, &expected, 0.0, 2e-5, || format!("{isa} {shape:?}"));
        }
    }
}

#[test]
fn special_values_reach_the_result() {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let cases: &[(Reduction, &[f32], f32)] = &[
        (Reduction::Max, &[1.0, nan, 3.0], nan),
        (Reduction::Min, &[nan, 1.0], nan),
        (Reduction::Max, &[-inf, -inf], -inf),
        (Reduction::Sum, &[inf, 1.0], inf),
        (Reduction::Sum, &[inf, -inf], nan),
        (Reduction::LogSumExp, &[1000.0, 1000.0], 1000.0 + std::f32::consts::LN_2),
        (Reduction::LogSumExp, &[-inf, -inf], -inf),
        (Reduction::LogSumExp, &[inf, 0.0], inf),
        (Reduction::LogSumExp, &[nan, 0.0], nan),
        (Reduction::LogSum, &[0.0, 0.0], -inf),
        (Reduction::Max, &[], -inf),
        (Reduction::Min, &[], inf),
        (Reduction::Prod, &[], 1.0),
        (Reduction::Sum, &[], 0.0),
        (Reduction::Mean, &[], nan),
    ];
    for isa in Isa::available() {
        for &(op, x, expected) in cases {
            for inner in [1, 2] {
                let spread: Vec<f32> = x.iter().flat_map(|&v| vec![v; inner]).collect();
                let mut y = vec![7.0; inner];
                Reduce::new(isa, op, &[x.len(), inner], &[0]).unwrap().apply(&spread, &mut y, &Serial).unwrap();
                assert_eq!(bits(&y), bits(&vec![expected; inner]), "{isa} {op:?} of {x:?}, inner {inner}, gave {y:?}");
                let r: Vec<f32> = reference::reduce(op, &spread, &[x.len(), inner], &[0]);
                assert_close(&r, &y, 0.0, 1e-6, || format!("reference {op:?} of {x:?}"));
            }
        }
    }
}

#[test]
fn images_reduce_to_their_channels() {
    let mut rng = Rng::new(23);
    for case in 0..150 {
        let size = [rng.pick(&[1, 1, 2]), rng.range(1, 9), rng.range(1, 11)];
        let halo = [(0, 0), (rng.below(3), rng.below(3)), (rng.below(3), rng.below(3))];
        let g = Blocked::new(rng.range(1, 3), rng.range(1, 40), size).with_halo(halo);
        let op = rng.pick(&[Reduction::Mean, Reduction::Max, Reduction::Sum, Reduction::Min, Reduction::L2]);
        let x = rng.floats(g.n * g.c * g.positions());
        let expected = reference::reduce(op, &x, &[g.n, g.c, g.positions()], &[2]);
        let stored = block(&x, &g);
        let mut first = None;
        for isa in Isa::available() {
            for par in [&Serial as &dyn Parallel, &Threads(2)] {
                let place = || format!("case {case} {isa} {op:?} {g:?}");
                let plain = Global::new(isa, op, g, false).unwrap();
                let mut y = vec![7.0; plain.outputs()];
                plain.apply(&stored, &mut y, par).unwrap();
                assert_close(&y, &expected, 1e-5, 1e-6, place);
                if isa.fused() {
                    assert_eq!(bits(&y), *first.get_or_insert_with(|| bits(&y)), "{}", place());
                }
                let blocked = Global::new(isa, op, g, true).unwrap();
                let mut z = vec![7.0; blocked.outputs()];
                blocked.apply(&stored, &mut z, par).unwrap();
                assert_eq!(z, block(&y, &Blocked::new(g.n, g.c, [1; 3])), "{}", place());
                assert_eq!(z.len(), g.n * g.c.div_ceil(BLOCK) * BLOCK);
            }
        }
    }
}

#[test]
fn plain_folds_follow_the_reference() {
    let mut rng = Rng::new(24);
    for case in 0..150 {
        let (shape, axes) = shape_and_axes(&mut rng);
        let x: Vec<i64> = (0..shape.iter().product()).map(|_| rng.below(2001) as i64 - 1000).collect();
        let plan = Plan::new(&shape, &axes).unwrap();
        let n = plan.group() as i64;
        let mut y = vec![0; plan.outputs()];
        plan.fold(&x, &mut y, &Threads(2), 0i64, i64::wrapping_add, |a| a).unwrap();
        assert_eq!(y, reference::reduce(Reduction::Sum, &x, &shape, &axes), "case {case} {shape:?} {axes:?}");
        if n > 0 {
            plan.fold(&x, &mut y, &Serial, 0i64, |a, v| a + v, |a| a / n).unwrap();
            assert_eq!(y, reference::reduce(Reduction::Mean, &x, &shape, &axes), "case {case} {shape:?} {axes:?}");
        }
        let truths: Vec<bool> = x.iter().map(|&v| v > 0).collect();
        let mut any = vec![true; plan.outputs()];
        plan.fold(&truths, &mut any, &Serial, false, |a, v| a | v, |a| a).unwrap();
        assert_eq!(any, reference::logical(false, &truths, &shape, &axes), "case {case} {shape:?} {axes:?}");
    }
}

#[test]
fn indices_of_extremes() {
    let mut rng = Rng::new(25);
    for case in 0..100 {
        let shape = [rng.range(1, 4), rng.range(1, 6), rng.range(1, 4)];
        let x: Vec<f32> = (0..shape.iter().product()).map(|_| rng.below(4) as f32).collect();
        for (largest, last) in [(true, false), (true, true), (false, false), (false, true)] {
            let mut y = vec![0; shape[0] * shape[2]];
            arg(largest, last, shape, &x, &mut y, &Threads(2)).unwrap();
            assert_eq!(y, reference::arg(largest, last, &x, &shape, 1), "case {case} {largest} {last}");
        }
    }
    let mut y = [0];
    arg(true, false, [1, 4, 1], &[1.0, f32::NAN, 3.0, f32::NAN], &mut y, &Serial).unwrap();
    assert_eq!(y, [1], "NaN is beyond every number");
    assert!(arg(true, false, [1, 0, 1], &[0.0f32; 0], &mut y, &Serial).is_err());
}

#[test]
fn wrong_axes_are_refused() {
    let isa = Isa::detect();
    assert!(Reduce::new(isa, Reduction::Sum, &[2, 3], &[2]).is_err());
    assert!(Reduce::new(isa, Reduction::Sum, &[2, 3], &[1, 1]).is_err());
    let f = Reduce::new(isa, Reduction::Sum, &[2, 3], &[1]).unwrap();
    let e = f.apply(&[0.0; 5], &mut [0.0; 2], &Serial).unwrap_err();
    assert_eq!(e.to_string(), "reduce: x: expected 6 elements, found 5");
    assert!(Global::new(isa, Reduction::LogSumExp, Blocked::new(1, 8, [1; 3]), true).is_err());
}
