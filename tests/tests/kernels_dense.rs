//! Dense layers and matrix products against their naive twin: random sizes, every instruction set, one thread and two.

use half::{bf16, f16};
use pocketnn_kernels::activation::Activation;
use pocketnn_kernels::gemm::{Dense, DenseDesc, MatMul, Values};
use pocketnn_kernels::isa::Isa;
use pocketnn_kernels::par::{Parallel, Serial};
use pocketnn_kernels::reference;
use pocketnn_tests::support::{Rng, Threads, bits};

/// Sums of `k` products below 1 in any order differ from the exact sum by at most `k` roundings of a sum below `k`.
fn bound(k: usize, exact: f32) -> f32 {
    (k as f32 + 2.0) * f32::EPSILON * (k as f32).sqrt().max(1.0) + 1e-6 * exact.abs() + 1e-6
}

fn check(place: &str, k: usize, want: &[f32], run: impl Fn(Isa, &dyn Parallel) -> Vec<f32>) {
    let mut fused: Option<Vec<u32>> = None;
    for isa in Isa::available() {
        let y = run(isa, &Serial);
        assert_eq!(y.len(), want.len());
        for (i, (&f, &w)) in y.iter().zip(want).enumerate() {
            assert!((f - w).abs() <= bound(k, w), "{isa} {place}: element {i}: expected {w}, found {f}");
        }
        assert_eq!(bits(&y), bits(&run(isa, &Threads(2))), "two threads, {isa} {place}");
        if isa.fused() {
            assert_eq!(&bits(&y), fused.get_or_insert_with(|| bits(&y)), "{isa} {place}");
        }
    }
}

#[test]
fn random_layers_in_every_storage() {
    let mut rng = Rng::new(21);
    for round in 0..240 {
        let (rows, k) = (rng.pick(&[0, 1, 1, 2, 7, 13, 15, 33]), rng.pick(&[0, 1, 3, 4, 17, 64, 130]));
        let n = rng.pick(&[0, 1, 5, 8, 10, 16, 24, 25, 32, 40, 57, 100]);
        let activation = rng.pick(&[Activation::Identity, Activation::Relu, Activation::Tanh]);
        let desc = DenseDesc { inputs: k, outputs: n, activation };
        let (x, w) = (rng.floats(rows * k), rng.floats(n * k));
        let bias = (rng.below(2) == 0).then(|| rng.floats(n));
        let (w16, wb): (Vec<f16>, Vec<bf16>) = w.iter().map(|&v| (f16::from_f32(v), bf16::from_f32(v))).unzip();
        let bytes: Vec<i8> = w.iter().map(|&v| (v * 127.0) as i8).collect();
        let scales: Vec<f32> = (0..n).map(|_| (rng.float() + 1.5) / 127.0).collect();
        let (values, plain): (Values, Vec<f32>) = match round % 4 {
            0 => (Values::F32(&w), w.clone()),
            1 => (Values::F16(&w16), w16.iter().map(|v| v.to_f32()).collect()),
            2 => (Values::Bf16(&wb), wb.iter().map(|v| v.to_f32()).collect()),
            _ => (
                Values::I8(&bytes, &scales),
                bytes.iter().enumerate().map(|(i, &b)| f32::from(b) * scales[i / k.max(1)]).collect(),
            ),
        };
        let mut want = if k * n == 0 {
            (0..rows * n).map(|i| bias.as_ref().map_or(0.0, |b| b[i % n])).collect()
        } else {
            reference::dense::dense(&x, rows, &plain, n, bias.as_deref())
        };
        want.iter_mut().for_each(|v| *v = reference::activation::eval(&activation, f64::from(*v)) as f32);
        check(&format!("{rows} rows {desc:?} {round}"), k, &want, |isa, par| {
            let dense = Dense::new(isa, desc, values, bias.as_deref()).unwrap();
            let mut y = vec![f32::NAN; rows * n];
            dense.apply(&x, rows, &mut y, par).unwrap();
            // The next run walks over the weights the other way.
            let mut again = vec![f32::NAN; rows * n];
            dense.apply(&x, rows, &mut again, par).unwrap();
            let bits = |y: &[f32]| y.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&y), bits(&again), "{isa}: another direction, other bits");
            y
        });
    }
}

#[test]
fn random_products() {
    let mut rng = Rng::new(22);
    for _ in 0..120 {
        let pick = |rng: &mut Rng| rng.pick(&[0, 1, 2, 8, 15, 16, 31, 50, 97]);
        let (m, k, n) = (pick(&mut rng), pick(&mut rng), pick(&mut rng));
        let (a, b) = (rng.floats(m * k), rng.floats(k * n));
        let (want, _) = reference::dense::matmul(&a, &[m, k], &b, &[k, n]);
        check(&format!("{m} x {k} x {n}"), k, &want, |isa, par| {
            let product = MatMul::new(isa, m, k, n).unwrap();
            let (mut y, mut scratch) = (vec![f32::NAN; m * n], vec![f32::NAN; product.scratch_len()]);
            product.apply(&a, &b, &mut y, &mut scratch, par).unwrap();
            y
        });
    }
}

#[test]
fn misfits_are_errors_that_name_the_operand() {
    let desc = DenseDesc { inputs: 4, outputs: 3, activation: Activation::Identity };
    let w = [0.0; 12];
    let error = |w: Values, b: Option<&[f32]>| Dense::new(Isa::SCALAR, desc, w, b).unwrap_err().to_string();
    assert!(error(Values::F32(&w[1..]), None).contains("weights: expected 12 elements, found 11"));
    assert!(error(Values::F32(&w), Some(&[0.0])).contains("bias: expected 3 elements, found 1"));
    assert!(error(Values::I8(&[0; 12], &[1.0]), None).contains("scales: expected 3 elements, found 1"));
    let dense = Dense::new(Isa::SCALAR, desc, Values::F32(&w), None).unwrap();
    let e = dense.apply(&w[..7], 2, &mut [0.0; 6], &Serial).unwrap_err().to_string();
    assert!(e.contains("input: expected 8 elements, found 7"), "{e}");
    let product = MatMul::new(Isa::SCALAR, 2, 3, 2).unwrap();
    let e = product.apply(&w[..6], &w[..6], &mut [0.0; 4], &mut [], &Serial).unwrap_err().to_string();
    assert!(e.contains("scratch, at least"), "{e}");
    assert!(MatMul::new(Isa::SCALAR, usize::MAX, 2, 2).unwrap_err().to_string().contains("too large"));
}
