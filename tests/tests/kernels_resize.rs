//! Resampling kernels against their naive twin: plain and blocked, every method, coordinates and instruction set.

use pocketnn_kernels::isa::Isa;
use pocketnn_kernels::layout::Blocked;
use pocketnn_kernels::par::{Parallel, Serial};
use pocketnn_kernels::reference;
use pocketnn_kernels::resize::{Axis, Coordinates, Method, Resize, Rounding, Table};
use pocketnn_tests::support::{Rng, Threads, assert_close, assert_zero_outside, bits, block, unblock};

const COORDINATES: [Coordinates; 6] = [
    Coordinates::HalfPixel,
    Coordinates::HalfPixelSymmetric,
    Coordinates::PytorchHalfPixel,
    Coordinates::AlignCorners,
    Coordinates::Asymmetric,
    Coordinates::TfHalfPixel,
];

fn method(rng: &mut Rng) -> Method {
    let antialias = rng.below(3) == 0;
    match rng.below(3) {
        0 => Method::Nearest(rng.pick(&[Rounding::PreferFloor, Rounding::PreferCeil, Rounding::Floor, Rounding::Ceil])),
        1 => Method::Linear { antialias },
        _ => Method::Cubic { a: -0.75, antialias },
    }
}

#[test]
fn images_of_random_sizes() {
    let mut rng = Rng::new(1);
    for case in 0..300 {
        let (n, c) = (rng.range(1, 2), rng.pick(&[1, 3, 8, 13, 16]));
        let depth = if case % 5 == 0 { 3 } else { 1 };
        let from = [rng.range(1, depth), rng.range(1, 9), rng.range(1, 9)];
        let to = [rng.range(1, depth), rng.range(1, 17), rng.range(1, 17)];
        let (method, coordinates, exclude) = (method(&mut rng), rng.pick(&COORDINATES), rng.below(4) == 0);
        let table = |a: usize| {
            let scale = to[a] as f64 / from[a] as f64;
            let axis = Axis { input: from[a], output: to[a], scale, coordinates };
            let table = Table::new(&axis, method, exclude);
            (!table.is_identity(from[a])).then_some(table)
        };
        let tables = [0, 1, 2].map(table);
        let given = [0, 1, 2].map(|a| tables[a].as_ref());
        let x = rng.floats(n * c * from.iter().product::<usize>());
        let wide: Vec<f64> = x.iter().map(|&v| f64::from(v)).collect();
        let all: Vec<Option<Table>> = [None, None].into_iter().chain(tables.iter().cloned()).collect();
        let expected = reference::resize::resize(&wide, &[n, c, from[0], from[1], from[2]], &all, 0.0);
        let expected: Vec<f32> = expected.into_iter().map(|v| v as f32).collect();
        let halo = [0; 3].map(|_: i32| (rng.below(2), rng.below(3)));
        let (gx, gy) =
            (Blocked::new(n, c, from).with_halo(halo), Blocked::new(n, c, to).with_halo([(1, 0), (0, 2), (1, 1)]));
        let blocked_x = block(&x, &gx);
        let mut first: Option<Vec<u32>> = None;
        for isa in Isa::available() {
            let place = || format!("{from:?} to {to:?} {method:?} {coordinates:?} {isa}");
            let plain = Resize::plain(isa, n * c, from, to, given).unwrap();
            let blocked = Resize::blocked(isa, gx, gy, given).unwrap();
            for par in [&Serial as &dyn Parallel, &Threads(2)] {
                let mut y = vec![f32::NAN; expected.len()];
                plain.apply(&x, &mut y, par).unwrap();
                assert_close(&y, &expected, 1e-5, 1e-5, place);
                let mut y = vec![f32::NAN; gy.len()];
                blocked.apply(&blocked_x, &mut y, par).unwrap();
                assert_zero_outside(&y, &gy);
                assert_close(&unblock(&y, &gy), &expected, 1e-5, 1e-5, place);
                if isa.fused() {
                    assert_eq!(*first.get_or_insert_with(|| bits(&y)), bits(&y), "{}", place());
                }
            }
        }
    }
}

#[test]
fn tables_must_fit() {
    let axis =
        Axis { input: 4, output: 8, scale: 2.0, coordinates: Coordinates::CropAndResize { start: -1.0, end: 2.0 } };
    let table = Table::new(&axis, Method::Linear { antialias: false }, false);
    let new = |from, to| Resize::plain(Isa::SCALAR, 1, [1, 1, from], [1, 1, to], [None, None, Some(&table)]);
    for (from, to) in [(4, 8), (4, 7), (3, 8)] {
        assert!(new(from, to).unwrap_err().to_string().contains("axis 2"));
    }
    let same = Resize::plain(Isa::SCALAR, 1, [1, 1, 4], [1, 1, 4], [None; 3]).unwrap();
    assert!(same.apply(&[0.0; 3], &mut [0.0; 4], &Serial).is_err());
    let (a, b) = (Blocked::new(1, 8, [1, 1, 4]), Blocked::new(1, 9, [1, 1, 4]));
    assert!(Resize::blocked(Isa::SCALAR, a, b, [None; 3]).is_err());
}
