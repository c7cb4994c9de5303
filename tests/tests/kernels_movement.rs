//! Movement kernels against their naive twins: random shapes, elements of every size, one thread and two.

use pocketnn_kernels::isa::Isa;
use pocketnn_kernels::layout::Blocked;
use pocketnn_kernels::movement::{Axis, Corner, DepthOrder, Images, Padding, Pick, Select, Strided};
use pocketnn_kernels::par::{Parallel, Serial};
use pocketnn_kernels::reference::movement as reference;
use pocketnn_tests::support::{Rng, Threads, assert_zero_outside, block, unblock};

/// Applies a copy on one thread and on two, for elements of one and of eight bytes, and compares with what is expected.
fn check(copy: &Strided, len: usize, expected: impl Fn(&[u64]) -> Vec<u64>, place: &str) {
    let x: Vec<u64> = (0..len as u64).map(|i| i + 1).collect();
    let wanted = expected(&x);
    for par in [&Serial as &dyn Parallel, &Threads(2)] {
        let mut y = vec![0; wanted.len()];
        copy.apply(&x, &mut y, par).unwrap();
        assert_eq!(y, wanted, "{place}");
    }
    let bytes: Vec<u8> = x.iter().map(|&v| v as u8).collect();
    let mut y = vec![0u8; wanted.len()];
    copy.apply(&bytes, &mut y, &Serial).unwrap();
    assert!(y.iter().zip(&wanted).all(|(&a, &b)| a == b as u8), "{place}");
}

fn shape(rng: &mut Rng, rank: usize) -> Vec<usize> {
    (0..rank).map(|_| rng.pick(&[1, 1, 2, 3, 5, 8, 9, 17])).collect()
}

#[test]
fn transposes_of_every_rank() {
    let mut rng = Rng::new(1);
    for case in 0..400 {
        let rank = rng.range(0, 5);
        let mut shape = shape(&mut rng, rank);
        if rank > 0 && case % 50 == 0 {
            shape[0] = 0;
        }
        let mut perm: Vec<usize> = (0..rank).collect();
        (1..rank).for_each(|i| perm.swap(i, rng.below(i + 1)));
        let copy = Strided::transpose(&shape, &perm).unwrap();
        let len = shape.iter().product();
        check(&copy, len, |x| reference::transpose(x, &shape, &perm), &format!("{shape:?} {perm:?}"));
    }
    // Large enough to be divided between threads.
    for (shape, perm) in
        [(vec![3, 130, 129], vec![0, 2, 1]), (vec![130, 7, 64], vec![2, 1, 0]), (vec![64, 40, 32], vec![1, 0, 2])]
    {
        let copy = Strided::transpose(&shape, &perm).unwrap();
        check(
            &copy,
            shape.iter().product(),
            |x| reference::transpose(x, &shape, &perm),
            &format!("{shape:?} {perm:?}"),
        );
    }
    assert!(Strided::transpose(&[2, 3], &[0, 0]).is_err());
}

#[test]
fn slices_repeats_and_places() {
    let mut rng = Rng::new(2);
    for _ in 0..400 {
        let rank = rng.range(1, 4);
        let shape = shape(&mut rng, rank);
        let (mut start, mut step, mut len) = (Vec::new(), Vec::new(), Vec::new());
        for &n in &shape {
            let (s, k) = (rng.below(n), rng.pick(&[1isize, 1, 2, 3, -1, -2]));
            let most = if k > 0 { (n - s).div_ceil(k as usize) } else { s / k.unsigned_abs() + 1 };
            start.push(s);
            step.push(k);
            len.push(rng.range(0, most));
        }
        let tables: Vec<_> = (0..rank).map(|a| reference::slice_table(start[a], step[a], len[a])).collect();
        let total = shape.iter().product();
        let place = format!("{shape:?} from {start:?} by {step:?} to {len:?}");
        let copy = Strided::slice(&shape, &start, &step, &len).unwrap();
        check(&copy, total, |x| reference::select(x, &shape, &tables, 0), &place);

        let out: Vec<usize> = shape.iter().map(|n| n * rng.pick(&[0, 1, 1, 2, 3])).collect();
        let tables: Vec<_> = (0..rank).map(|a| reference::repeat_table(shape[a], out[a])).collect();
        let copy = Strided::repeat(&shape, &out).unwrap();
        check(&copy, total, |x| reference::select(x, &shape, &tables, 0), &format!("{shape:?} to {out:?}"));

        let at: Vec<usize> = shape.iter().map(|_| rng.below(4)).collect();
        let into: Vec<usize> = shape.iter().zip(&at).map(|(n, a)| n + a + rng.below(3)).collect();
        let tables: Vec<_> =
            (0..rank).map(|a| reference::pad_table(Padding::Constant, shape[a], at[a] as isize, into[a])).collect();
        let copy = Strided::place(&shape, &into, &at).unwrap();
        check(&copy, total, |x| reference::select(x, &shape, &tables, 0), &format!("{shape:?} at {at:?} in {into:?}"));
    }
}

#[test]
fn regions_outside_are_refused() {
    let axis = |extent, from, to| Axis { extent, from, to };
    let new = |axes: &[Axis], x, y| Strided::new(axes, (10, 10), (x, y));
    assert!(new(&[axis(10, 1, 1)], 0, 0).is_ok() && new(&[axis(10, -1, 1)], 9, 0).is_ok());
    for (axes, x, y) in
        [(axis(10, 1, 1), 1, 0), (axis(10, 1, 1), 0, 1), (axis(10, -1, 1), 8, 0), (axis(2, 1 << 62, 1), 0, 0)]
    {
        let e = new(&[axes], x, y).unwrap_err().to_string();
        assert!(e.contains("of 10 elements"), "{e}");
    }
    let copy = new(&[axis(10, 1, 1)], 0, 0).unwrap();
    assert!(
        copy.apply(&[0u8; 9], &mut [0; 10], &Serial).is_err() && copy.apply(&[0u8; 10], &mut [0; 9], &Serial).is_err()
    );
}

#[test]
fn padding_by_tables() {
    let mut rng = Rng::new(3);
    let modes = [Padding::Constant, Padding::Edge, Padding::Reflect, Padding::Symmetric, Padding::Wrap];
    for _ in 0..300 {
        let rank = rng.range(1, 4);
        let shape = shape(&mut rng, rank);
        let mode = rng.pick(&modes);
        let pads: Vec<(isize, usize)> =
            shape.iter().map(|&n| (rng.below(4) as isize - 1, (n + rng.below(5)).max(1))).collect();
        let tables: Vec<_> = (0..rank).map(|a| reference::pad_table(mode, shape[a], pads[a].0, pads[a].1)).collect();
        let x: Vec<u16> = (0..shape.iter().product::<usize>() as u16).collect();
        let expected = reference::select(&x, &shape, &tables, 777);
        let select = Select::new(&shape, &tables).unwrap();
        for par in [&Serial as &dyn Parallel, &Threads(2)] {
            let mut y = vec![1u16; expected.len()];
            select.apply(&x, &mut y, 777, par).unwrap();
            assert_eq!(y, expected, "{shape:?} {pads:?} {mode:?}");
        }
    }
    assert!(Select::new(&[2], &[vec![Some(2)]]).is_err() && Select::new(&[2, 2], &[vec![]]).is_err());
}

fn image(rng: &mut Rng, n: usize) -> Blocked {
    let size = [rng.pick(&[1, 1, 2]), rng.range(1, 6), rng.range(1, 6)];
    let halo = [0; 3].map(|_: i32| (rng.below(3), rng.below(2)));
    Blocked::new(n, rng.pick(&[1, 3, 8, 11, 16, 24, 29]), size).with_halo(halo)
}

#[test]
fn regions_of_blocked_images() {
    let mut rng = Rng::new(4);
    for case in 0..500 {
        let n = rng.range(1, 2);
        let (from, mut to) = (image(&mut rng, n), image(&mut rng, n));
        if case % 3 == 0 {
            (to.c, to.size) = (from.c, from.size);
        }
        let size: [usize; 3] = std::array::from_fn(|i| rng.range(0, from.size[i].min(to.size[i])));
        let mut channels = rng.range(0, from.c.min(to.c));
        let mut corner = |g: &Blocked| Corner {
            c: if rng.below(2) == 0 { (g.c - channels) / 8 * 8 } else { rng.below(g.c - channels + 1) },
            at: std::array::from_fn(|i| rng.below(g.size[i] - size[i] + 1)),
        };
        let (first, target) = (corner(&from), corner(&to));
        if first.c % 8 == 0 && target.c % 8 == 0 {
            channels = (from.c - first.c).min(to.c - target.c);
        }
        let x = rng.floats(from.n * from.c * from.positions());
        let expected = reference_region(&x, &from, first, &to, target, channels, size);
        let images = Images::new((from, first), (to, target), channels, size).unwrap();
        for par in [&Serial as &dyn Parallel, &Threads(2)] {
            let mut y = vec![0.5; to.len()];
            Images::clear(&to, &mut y, par).unwrap();
            images.apply(&block(&x, &from), &mut y, par).unwrap();
            assert_zero_outside(&y, &to);
            assert_eq!(unblock(&y, &to), expected, "{images:?}");
        }
    }
}

#[test]
fn channels_in_any_order() {
    let mut rng = Rng::new(9);
    for case in 0..300 {
        let first = image(&mut rng, 1 + case % 2);
        let count = rng.range(1, 4);
        let from: Vec<Blocked> = (0..count)
            .map(|_| {
                let halo = [0; 3].map(|_: i32| (rng.below(2), rng.below(3)));
                Blocked::new(first.n, rng.pick(&[1, 3, 8, 11, 16, 29]), first.size).with_halo(halo)
            })
            .collect();
        let total: usize = from.iter().map(|g| g.c).sum();
        let pick: Vec<usize> = match case % 4 {
            // A shuffle, everything in order, a run, and anything.
            0 => (0..total / 2 * 2).map(|i| i % 2 * (total / 2) + i / 2).collect(),
            1 => (0..total).collect(),
            2 => (rng.below(total)..total).collect(),
            _ => (0..rng.range(1, 40)).map(|_| rng.below(total)).collect(),
        };
        let to = Blocked { c: pick.len(), ..first };
        let x: Vec<Vec<f32>> = from.iter().map(|g| rng.floats(g.n * g.c * g.positions())).collect();
        let plain: Vec<(&[f32], usize)> = x.iter().zip(&from).map(|(x, g)| (x.as_slice(), g.c)).collect();
        let expected = reference::pick(&plain, first.n, first.positions(), &pick);
        let blocked: Vec<Vec<f32>> = x.iter().zip(&from).map(|(x, g)| block(x, g)).collect();
        let blocked: Vec<&[f32]> = blocked.iter().map(Vec::as_slice).collect();
        for isa in Isa::available() {
            let f = Pick::new(isa, &from, to, &pick).unwrap();
            for par in [&Serial as &dyn Parallel, &Threads(2)] {
                let mut y = vec![0.5; to.len()];
                f.apply(&blocked, &mut y, par).unwrap();
                assert_zero_outside(&y, &to);
                assert_eq!(unblock(&y, &to), expected, "case {case} {isa} {from:?} {to:?} {pick:?}");
            }
        }
    }
    let g = Blocked::new(1, 8, [1, 2, 2]);
    assert!(Pick::new(Isa::SCALAR, &[g], g, &[0, 1, 2, 3, 4, 5, 6, 8]).is_err());
    assert!(Pick::new(Isa::SCALAR, &[g], g, &[0]).is_err() && Pick::new(Isa::SCALAR, &[], g, &[0; 8]).is_err());
    assert!(Pick::new(Isa::SCALAR, &[Blocked { n: 2, ..g }], g, &[0; 8]).is_err());
}

#[test]
fn channels_become_pixels_in_blocks() {
    let mut rng = Rng::new(10);
    for case in 0..120 {
        let (b, order) = (rng.range(1, 3), rng.pick(&[DepthOrder::Dcr, DepthOrder::Crd]));
        let (c, size) = (rng.pick(&[1, 2, 3, 8, 11]), [1, rng.range(1, 5), rng.range(1, 5)]);
        let halo = |rng: &mut Rng| [(0, 0), (rng.below(2), rng.below(3)), (rng.below(2), rng.below(3))];
        let from = Blocked::new(1 + case % 2, c * b * b, size).with_halo(halo(&mut rng));
        let to = Blocked::new(from.n, c, [1, size[1] * b, size[2] * b]).with_halo(halo(&mut rng));
        let x = rng.floats(from.n * from.c * from.positions());
        let expected = reference::depth_to_space(&x, &[from.n, from.c, size[1], size[2]], b, order);
        for isa in Isa::available() {
            let f = Pick::pixels(isa, from, to, b, order).unwrap();
            for par in [&Serial as &dyn Parallel, &Threads(2)] {
                let mut y = vec![0.5; to.len()];
                f.apply(&[&block(&x, &from)], &mut y, par).unwrap();
                assert_zero_outside(&y, &to);
                assert_eq!(unblock(&y, &to), expected, "{isa} {from:?} {to:?} {order:?}");
            }
        }
    }
    let g = Blocked::new(1, 8, [1, 2, 2]);
    assert!(Pick::pixels(Isa::SCALAR, g, Blocked::new(1, 2, [1, 4, 2]), 2, DepthOrder::Dcr).is_err());
}

/// The region copied element by element into a plain image of 0.5.
fn reference_region(
    x: &[f32],
    from: &Blocked,
    first: Corner,
    to: &Blocked,
    target: Corner,
    channels: usize,
    size: [usize; 3],
) -> Vec<f32> {
    let index = |g: &Blocked, n: usize, c: usize, at: [usize; 3]| {
        (((n * g.c + c) * g.size[0] + at[0]) * g.size[1] + at[1]) * g.size[2] + at[2]
    };
    let mut y = vec![0.5; to.n * to.c * to.positions()];
    for n in 0..from.n {
        for c in 0..channels {
            for p in 0..size.iter().product::<usize>() {
                let at = [p / (size[1] * size[2]), p / size[2] % size[1], p % size[2]];
                let shift = |corner: Corner| std::array::from_fn(|i| corner.at[i] + at[i]);
                y[index(to, n, target.c + c, shift(target))] = x[index(from, n, first.c + c, shift(first))];
            }
        }
    }
    y
}

#[test]
fn images_that_do_not_fit_are_refused() {
    let g = Blocked::new(1, 8, [1, 4, 4]);
    let at = |c, y| Corner { c, at: [0, y, 0] };
    assert!(Images::new((g, at(1, 0)), (g, at(0, 0)), 8, [1, 4, 4]).is_err());
    assert!(Images::new((g, at(0, 0)), (g, at(0, 1)), 8, [1, 4, 4]).is_err());
    assert!(Images::new((g, at(0, 0)), (Blocked { n: 2, ..g }, at(0, 0)), 8, [1, 4, 4]).is_err());
    let copy = Images::new((g, at(0, 0)), (g, at(0, 0)), 8, [1, 4, 4]).unwrap();
    assert!(copy.apply(&[0.0; 128], &mut [0.0; 127], &Serial).is_err());
}
