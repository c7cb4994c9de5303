//! Pools against their naive twin: random windows, every instruction set, one thread and two.

use pocketnn_kernels::isa::Isa;
use pocketnn_kernels::layout::Blocked;
use pocketnn_kernels::par::{Parallel, Serial};
use pocketnn_kernels::pool::{Pool, PoolDesc, PoolKind};
use pocketnn_kernels::reference::{self, Window};
use pocketnn_tests::support::{Rng, Threads, assert_close, assert_zero_outside, bits, block, unblock};

const KINDS: [PoolKind; 6] = [
    PoolKind::Max,
    PoolKind::Average { count_padding: true },
    PoolKind::Average { count_padding: false },
    PoolKind::Norm { p: 1.0 },
    PoolKind::Norm { p: 2.0 },
    PoolKind::Norm { p: 3.0 },
];

fn window(rng: &mut Rng, size: &mut [usize; 3]) -> (Window, [usize; 3]) {
    let mut w = Window::new(&[1, 1, 1]);
    let mut out = [1; 3];
    for i in 3 - rng.range(1, 3)..3 {
        size[i] = rng.pick(&[1, 2, 3, 5, 8, 13]);
        w.kernel[i] = rng.pick(&[1, 2, 2, 3, 3, 5]);
        w.stride[i] = rng.pick(&[1, 2, 2, 3]);
        w.dilation[i] = rng.pick(&[1, 1, 1, 2]);
        w.pads[i] = rng.pick(&[(0, 0), (0, 0), (1, 1), (0, 1), (2, 2), (6, 0)]);
        out[i] = if rng.below(2) == 0 { w.output(i, size[i]) } else { w.output_ceil(i, size[i]) };
    }
    (w, out)
}

#[test]
fn random_windows() {
    let mut rng = Rng::new(11);
    for round in 0..600 {
        let mut size = [1; 3];
        let (w, out) = window(&mut rng, &mut size);
        let halo = std::array::from_fn(|_| (rng.below(2), rng.below(3)));
        let input = Blocked::new(rng.pick(&[0, 1, 1, 2]), rng.pick(&[0, 1, 3, 8, 11, 16, 24]), size).with_halo(halo);
        let three = |v: &[usize]| <[usize; 3]>::try_from(v).unwrap();
        let desc = PoolDesc {
            input,
            kind: KINDS[round % KINDS.len()],
            kernel: three(&w.kernel),
            stride: three(&w.stride),
            dilation: three(&w.dilation),
            pads: w.pads.clone().try_into().unwrap(),
            output: out,
            output_halo: std::array::from_fn(|_| (rng.below(2), rng.below(2))),
        };
        let x = rng.floats(input.n * input.c * input.positions());
        let shape: Vec<usize> = [input.n, input.c].into_iter().chain(size).collect();
        let (want, _) = reference::pool::pool(&x, &shape, desc.kind, &w, &out);
        let mut fused: Option<Vec<u32>> = None;
        for isa in Isa::available() {
            let pool = Pool::new(isa, desc.clone()).unwrap();
            let run = |par: &dyn Parallel| {
                let mut y = vec![f32::NAN; pool.output().len()];
                pool.apply(&block(&x, &input), &mut y, par).unwrap();
                y
            };
            let y = run(&Serial);
            // Some hundred additions of numbers below 1, each rounded once; a maximum is exact.
            let bound = if desc.kind == PoolKind::Max { 0.0 } else { 2e-5 };
            assert_close(&unblock(&y, &pool.output()), &want, bound, bound, || format!("{isa} {desc:?}"));
            assert_zero_outside(&y, &pool.output());
            assert_eq!(bits(&y), bits(&run(&Threads(2))), "two threads, {isa} {desc:?}");
            if isa.fused() {
                assert_eq!(&bits(&y), fused.get_or_insert_with(|| bits(&y)), "{isa} {desc:?}");
            }
        }
    }
}

#[test]
fn misfits_are_errors_that_name_the_part() {
    let good = PoolDesc {
        input: Blocked::new(1, 8, [1, 4, 4]),
        kind: PoolKind::Max,
        kernel: [1, 2, 2],
        stride: [1, 2, 2],
        dilation: [1; 3],
        pads: [(0, 0); 3],
        output: [1, 2, 2],
        output_halo: [(0, 0); 3],
    };
    let error = |d: PoolDesc| Pool::new(Isa::SCALAR, d).unwrap_err().to_string();
    assert!(error(PoolDesc { stride: [1, 0, 1], ..good.clone() }).contains("of axis 1 must be at least 1"));
    assert!(error(PoolDesc { kind: PoolKind::Norm { p: 0.5 }, ..good.clone() }).contains("at least 1, found 0.5"));
    assert!(error(PoolDesc { input: Blocked::new(usize::MAX, 8, [1, 4, 4]), ..good.clone() }).contains("too large"));
    let pool = Pool::new(Isa::SCALAR, good).unwrap();
    let e = pool.apply(&[0.0; 127], &mut [0.0; 32], &Serial).unwrap_err().to_string();
    assert!(e.contains("input: expected 128 elements, found 127"), "{e}");
}
