//! Operators on elements against their naive twins: broadcasting, element types, blocked images.

use pocketnn_kernels::activation::Activation;
use pocketnn_kernels::elementwise::{
    Arithmetic, Binary, Broadcast, Compare, Images, Kind, Number, Side, Unary, cast, compare,
};
use pocketnn_kernels::isa::Isa;
use pocketnn_kernels::layout::Blocked;
use pocketnn_kernels::par::{Parallel, Serial};
use pocketnn_kernels::reference::activation as activations;
use pocketnn_kernels::reference::elementwise as reference;
use pocketnn_tests::support::{Rng, Threads, assert_close, assert_zero_outside, bits, block, unblock};

fn of_floats() -> impl Iterator<Item = Binary> {
    Binary::ALL.into_iter().filter(|b| b.defined_for(Kind::Float))
}

/// Two shapes that broadcast, with extents 0, 1 and odd tails.
fn shapes(rng: &mut Rng) -> [Vec<usize>; 2] {
    let rank = rng.below(5);
    const EXTENTS: [usize; 12] = [0, 1, 2, 3, 5, 8, 9, 17, 33, 4, 6, 7];
    let out: Vec<usize> = (0..rank).map(|_| rng.pick(&EXTENTS)).collect();
    [0, 1].map(|_| {
        let mut s: Vec<usize> = out.iter().map(|&d| if rng.below(3) == 0 { 1 } else { d }).collect();
        let cut = if rng.below(3) == 0 { rng.below(rank + 1) } else { 0 };
        s.drain(..cut);
        s
    })
}

fn values(rng: &mut Rng, n: usize) -> Vec<f32> {
    const ODD: [f32; 8] = [0.0, -0.0, 1.0, -2.0, 3.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
    (0..n).map(|_| if rng.below(6) == 0 { rng.pick(&ODD) } else { rng.float() * 8.0 }).collect()
}

#[test]
fn floats_broadcast_as_the_reference() {
    let mut rng = Rng::new(1);
    for case in 0..300 {
        let [sa, sb] = shapes(&mut rng);
        let (a, b) = (values(&mut rng, sa.iter().product()), values(&mut rng, sb.iter().product()));
        let op = rng.pick(&of_floats().collect::<Vec<_>>());
        let activation = rng.pick(&[Activation::Identity, Activation::Relu, Activation::RELU6, Activation::Sigmoid]);
        let expected = reference::binary(op, (&a, &sa), (&b, &sb)).unwrap();
        let expected: Vec<f32> = activations::apply(&activation, &expected);
        let mut first: Option<Vec<u32>> = None;
        for isa in Isa::available() {
            for par in [&Serial as &dyn Parallel, &Threads(2)] {
                let f = Arithmetic::new(isa, op, activation, &sa, &sb).unwrap();
                let mut y = vec![7.0; f.len()];
                f.apply(&a, &b, &mut y, par).unwrap();
                let place = || format!("case {case} {isa} {op:?} {activation:?} {sa:?} {sb:?}");
                // Two roundings, of the operator and of the activation.
                assert_close(&y, &expected, 1e-30, 1e-6, place);
                if isa.fused() {
                    assert_eq!(bits(&y), *first.get_or_insert_with(|| bits(&y)), "{}", place());
                }
                if f.aligned(0) {
                    let mut z = a.clone();
                    f.apply_to_first(&b, &mut z, par).unwrap();
                    assert_eq!(bits(&z), bits(&y), "{} in place of a", place());
                }
                if f.aligned(1) {
                    let mut z = b.clone();
                    f.apply_to_second(&a, &mut z, par).unwrap();
                    assert_eq!(bits(&z), bits(&y), "{} in place of b", place());
                }
            }
        }
    }
}

#[test]
fn long_rows_are_cut_in_chunks() {
    let mut rng = Rng::new(2);
    for (sa, sb) in [(vec![50_001], vec![1]), (vec![3, 20_000], vec![20_000]), (vec![7, 5_000], vec![7, 1])] {
        let (a, b) = (rng.floats(sa.iter().product()), rng.floats(sb.iter().product()));
        let expected = reference::binary(Binary::Sub, (&a, &sa), (&b, &sb)).unwrap();
        for isa in Isa::available() {
            let f = Arithmetic::new(isa, Binary::Sub, Activation::Identity, &sa, &sb).unwrap();
            let mut y = vec![0.0; f.len()];
            f.apply(&a, &b, &mut y, &Threads(2)).unwrap();
            assert_eq!(bits(&y), bits(&expected), "{isa} {sa:?}");
        }
    }
}

/// An operand of the image `g` in a random one of its forms: the filter's side, its elements, and its logical shape and
/// elements.
fn operand(rng: &mut Rng, g: &Blocked) -> (Side, Vec<f32>, Vec<usize>, Vec<f32>) {
    match rng.below(8) {
        0 => {
            let x = rng.floats(1);
            (Side::Scalar, x.clone(), vec![1; 5], x)
        }
        1 => {
            let x = rng.floats(g.c);
            (Side::Channels, x.clone(), vec![1, g.c, 1, 1, 1], x)
        }
        kind => {
            let mut some = |d: usize| if kind < 5 || rng.below(2) == 0 { d } else { 1 };
            let (n, c) = (some(g.n), some(g.c));
            let size = g.size.map(&mut some);
            let (n, c, size) = if kind == 4 { (g.n, g.c, [1; 3]) } else { (n, c, size) };
            let halo =
                if kind == 2 { g.halo } else { [(0, 0), (rng.below(2), rng.below(3)), (rng.below(3), rng.below(2))] };
            let image = Blocked::new(n, c, size).with_halo(halo);
            let x = rng.floats(n * c * image.positions());
            (Side::Image(image), block(&x, &image), vec![n, c, size[0], size[1], size[2]], x)
        }
    }
}

#[test]
fn images_broadcast_as_the_reference_and_keep_their_zeros() {
    let mut rng = Rng::new(5);
    for case in 0..400 {
        let size = [rng.pick(&[1, 1, 2]), rng.range(1, 5), rng.range(1, 9)];
        let halo = [(0, 0), (rng.below(3), rng.below(3)), (rng.below(3), rng.below(3))];
        let g = Blocked::new(rng.range(1, 2), rng.range(1, 19), size).with_halo(halo);
        let ((a, xa, sa, pa), (b, xb, sb, pb)) = (operand(&mut rng, &g), operand(&mut rng, &g));
        let op =
            rng.pick(&[Binary::Add, Binary::Sub, Binary::Mul, Binary::Div, Binary::Max, Binary::PRelu, Binary::Pow]);
        let activation = rng.pick(&[Activation::Identity, Activation::RELU6, Activation::Exp]);
        let shape = [g.n, g.c, size[0], size[1], size[2]];
        let ones = vec![1.0; shape.iter().product()];
        // Spread over the whole image: the operands alone may be smaller together.
        let spread = |x: &[f32], s: &[usize]| reference::binary(Binary::Mul, (x, s), (&ones, &shape[..])).unwrap();
        let expected = reference::binary(op, (&spread(&pa, &sa), &shape), (&spread(&pb, &sb), &shape)).unwrap();
        let expected: Vec<f32> = activations::apply(&activation, &expected);
        for isa in Isa::available() {
            for par in [&Serial as &dyn Parallel, &Threads(2)] {
                let f = Images::new(isa, op, activation, a, b, g).unwrap();
                let place = || format!("case {case} {isa} {op:?} {activation:?} {a:?} {b:?} {g:?}");
                let mut y = vec![f32::NAN; g.len()];
                f.apply(&xa, &xb, &mut y, par).unwrap();
                assert_close(&unblock(&y, &g), &expected, 1e-30, 1e-6, place);
                assert_zero_outside(&y, &g);
                if f.aligned(0) {
                    let mut z = xa.clone();
                    f.apply_to_first(&xb, &mut z, par).unwrap();
                    assert_eq!(bits(&z), bits(&y), "{} in place of a", place());
                }
                if f.aligned(1) {
                    let mut z = xb.clone();
                    f.apply_to_second(&xa, &mut z, par).unwrap();
                    assert_eq!(bits(&z), bits(&y), "{} in place of b", place());
                }
            }
        }
    }
}

#[test]
fn plain_loops_broadcast_as_the_reference() {
    let mut rng = Rng::new(9);
    for case in 0..200 {
        let [sa, sb] = shapes(&mut rng);
        let mut ints = |n: usize| (0..n).map(|_| rng.below(7) as i64 - 3).collect::<Vec<_>>();
        let (a, b) = (ints(sa.iter().product()), ints(sb.iter().product()));
        let plan = Broadcast::new("test", [&sa, &sb]).unwrap();
        for op in Binary::ALL.into_iter().filter(|b| b.defined_for(Kind::Signed)) {
            let mut y = vec![0i64; plan.len()];
            plan.zip(&a, &b, &mut y, &Threads(2), |a, b| i64::binary(op, a, b)).unwrap();
            assert_eq!(y, reference::binary(op, (&a, &sa), (&b, &sb)).unwrap(), "case {case} {op:?} {sa:?} {sb:?}");
        }
        for op in Compare::ALL {
            let mut y = vec![false; plan.len()];
            plan.zip(&a, &b, &mut y, &Serial, |a, b| compare(op, a, b)).unwrap();
            assert_eq!(y, reference::compare(op, (&a, &sa), (&b, &sb)).unwrap(), "case {case} {op:?} {sa:?} {sb:?}");
        }
        let condition: Vec<bool> = a.iter().map(|&v| v > 0).collect();
        let plan = Broadcast::new("test", [&sa, &sa, &sb]).unwrap();
        let mut y = vec![0i64; plan.len()];
        plan.zip(&condition, &a, &b, &mut y, &Threads(2), |c, a, b| if c { a } else { b }).unwrap();
        assert_eq!(y, reference::select((&condition, &sa), (&a, &sa), (&b, &sb)).unwrap(), "case {case} select");
    }
}

#[test]
fn integers_wrap_and_never_panic() {
    let cases: &[(Binary, i32, i32, i32)] = &[
        (Binary::Add, i32::MAX, 1, i32::MIN),
        (Binary::Sub, i32::MIN, 1, i32::MAX),
        (Binary::Mul, 1 << 30, 4, 0),
        (Binary::Div, 7, -2, -3),
        (Binary::Div, i32::MIN, -1, i32::MIN),
        (Binary::Div, 5, 0, 0),
        (Binary::FloorDiv, 7, -2, -4),
        (Binary::FloorDiv, -7, -2, 3),
        (Binary::FloorDiv, -7, 2, -4),
        (Binary::FloorDiv, 7, 0, 0),
        (Binary::Mod, 7, -3, -2),
        (Binary::Mod, -7, 3, 2),
        (Binary::Mod, -7, -3, -1),
        (Binary::Mod, 6, -3, 0),
        (Binary::Mod, 7, 0, 0),
        (Binary::Fmod, -7, 3, -1),
        (Binary::Fmod, 7, -3, 1),
        (Binary::Fmod, i32::MIN, -1, 0),
        (Binary::Fmod, 7, 0, 0),
        (Binary::Pow, 3, 4, 81),
        (Binary::Pow, 2, -1, 0),
        (Binary::Pow, -1, -3, -1),
        (Binary::Pow, 0, 0, 1),
        (Binary::Pow, 3, i32::MAX, 3i32.wrapping_pow(i32::MAX as u32)),
        (Binary::ShiftLeft, 1, 31, i32::MIN),
        (Binary::ShiftLeft, 1, 32, 0),
        (Binary::ShiftLeft, 1, -1, 0),
        (Binary::ShiftRight, -8, 1, -4),
        (Binary::ShiftRight, -8, 40, -1),
        (Binary::ShiftRight, 8, 40, 0),
        (Binary::PRelu, -3, 2, -6),
        (Binary::BitXor, 6, 3, 5),
    ];
    for &(op, a, b, y) in cases {
        assert_eq!(i32::binary(op, a, b), y, "{op:?}({a}, {b})");
    }
    assert_eq!(u8::binary(Binary::Sub, 1, 2), 255);
    assert_eq!(u8::binary(Binary::ShiftRight, 255, 8), 0);
    assert_eq!(u8::binary(Binary::FloorDiv, 255, 2), 127);
    assert_eq!(u8::binary(Binary::Mod, 255, 16), 15);
    assert_eq!(i8::unary(Unary::Map(Activation::Abs), -128), -128);
    assert_eq!(i8::unary(Unary::Map(Activation::Sign), -7), -1);
    assert_eq!(i8::unary(Unary::Not, 5), -6);
    assert!(!bool::unary(Unary::Not, true));
}

#[test]
fn float_operators_have_the_values_of_python() {
    let cases: &[(Binary, f32, f32, f32)] = &[
        (Binary::Mod, 5.5, -2.0, -0.5),
        (Binary::Mod, -5.5, 2.0, 0.5),
        (Binary::Fmod, -5.5, 2.0, -1.5),
        (Binary::FloorDiv, -5.5, 2.0, -3.0),
        (Binary::Pow, 2.0, -1.0, 0.5),
        (Binary::Pow, -8.0, 2.0, 64.0),
        (Binary::Max, f32::NAN, 1.0, f32::NAN),
        (Binary::Max, 1.0, f32::NAN, f32::NAN),
        (Binary::Min, f32::NAN, 1.0, f32::NAN),
        (Binary::SquaredDifference, 3.0, 5.0, 4.0),
        (Binary::Atan2, 1.0, -1.0, 2.356_194_5),
    ];
    for isa in Isa::available() {
        for &(op, a, b, y) in cases {
            let mut out = [0.0];
            let f = Arithmetic::new(isa, op, Activation::Identity, &[1], &[]).unwrap();
            f.apply(&[a], &[b], &mut out, &Serial).unwrap();
            assert_eq!(bits(&out), bits(&[y]), "{isa} {op:?}({a}, {b})");
        }
    }
}

#[test]
fn casts_truncate_saturate_and_wrap() {
    assert_eq!(cast::<f32, i32>(-1.9), -1);
    assert_eq!(cast::<f32, u8>(300.0), 255);
    assert_eq!(cast::<f32, i64>(f32::NAN), 0);
    assert_eq!(cast::<i64, u8>(257), 1);
    assert_eq!(cast::<i64, f32>(16_777_217), 16_777_216.0);
    assert_eq!(cast::<u64, f64>(u64::MAX), 18_446_744_073_709_551_616.0);
    assert!(cast::<f32, bool>(f32::NAN));
    assert!(!cast::<f32, bool>(-0.0));
    assert_eq!(cast::<bool, f32>(true), 1.0);
    assert_eq!(cast::<f64, half::f16>(1.0 + 1.0 / 2048.0 + 1e-9).to_f64(), 1.0 + 1.0 / 1024.0);
}

#[test]
fn what_does_not_fit_is_refused() {
    let isa = Isa::detect();
    let e = Arithmetic::new(isa, Binary::Add, Activation::Identity, &[2, 3], &[4]).unwrap_err();
    assert_eq!(e.to_string(), "elementwise: shapes [[2, 3], [4]] do not broadcast");
    assert!(Arithmetic::new(isa, Binary::BitAnd, Activation::Identity, &[1], &[1]).is_err());
    let f = Arithmetic::new(isa, Binary::Add, Activation::Identity, &[2, 3], &[3]).unwrap();
    assert!(f.apply(&[0.0; 6], &[0.0; 2], &mut [0.0; 6], &Serial).is_err());
    assert!(f.apply_to_second(&[0.0; 6], &mut [0.0; 6], &Serial).is_err());
    let many = [2usize, 1].repeat(8);
    let mut other = many.clone();
    other.rotate_left(1);
    assert!(Broadcast::new("test", [&many, &other]).is_err(), "16 axes that cannot be merged");
    assert!(Broadcast::strided("test", &[4], &[vec![2]], [6]).is_err());
    let g = Blocked::new(1, 8, [1, 2, 2]);
    let side = Side::Image(Blocked::new(1, 4, [1, 2, 2]));
    assert!(Images::new(isa, Binary::Add, Activation::Identity, Side::Image(g), side, g).is_err());
}
