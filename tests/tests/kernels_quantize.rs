//! Integer kernels against their naive twins, to the last bit: random shapes, every instruction set, one thread and two.

use pocketnn_kernels::activation::Activation;
use pocketnn_kernels::elementwise::Broadcast;
use pocketnn_kernels::isa::Isa;
use pocketnn_kernels::par::{Parallel, Serial};
use pocketnn_kernels::quantize::function::Function;
use pocketnn_kernels::quantize::{
    Affine, Bilinear, Conv, ConvDesc, Map, Multiplier, Pair, PairKind, Pool, PoolDesc, Requant, Requantize, Softmax,
    Softmax16, Sums,
};
use pocketnn_kernels::reference::conv::ConvParams;
use pocketnn_kernels::reference::{Window, quantize as reference};
use pocketnn_tests::support::{Rng, Threads};

fn number(rng: &mut Rng, lo: i32, hi: i32) -> i32 {
    lo + rng.below((hi - lo + 1) as usize) as i32
}

/// A scale from 2^-12 to 4.
fn scale(rng: &mut Rng) -> f64 {
    f64::from(rng.float().abs() + 0.01) * 2f64.powi(number(rng, -10, 2))
}

#[test]
fn requantization_is_what_its_definition_says() {
    let mut rng = Rng::new(3);
    let limits = (-128, 127);
    for _ in 0..20_000 {
        let real = scale(&mut rng) * if rng.below(8) == 0 { 0.0 } else { 1.0 };
        let zero = number(&mut rng, -128, 127);
        let sum = (rng.bits() as i32) >> rng.below(30);
        for rule in [Requant::TfliteFixed, Requant::TfliteOnce, Requant::FloatRne] {
            // Shifts to the left wrap where the reference's do; real sums stay far below.
            let sum = if real >= 1.0 { sum >> 4 } else { sum };
            let r = Requantize::new(rule, &[real], 1, zero, limits).unwrap();
            let want = reference::requantize(rule, sum.into(), real, zero, limits, false);
            assert_eq!(r.apply(0, sum), want, "{rule:?} {sum} {real} {zero}");
            let wide = i64::from(sum) << rng.below(12);
            let want = reference::requantize(rule, wide, real, zero, limits, true);
            assert_eq!(r.apply_wide(0, wide), want, "{rule:?} wide {wide} {real} {zero}");
        }
    }
}

#[test]
fn known_products_in_fixed_point() {
    // 0.7 is 1503238554 * 2^-31; 0.35 the same mantissa, one shift to the right.
    assert_eq!(Multiplier::new(0.7), Multiplier { mantissa: 1_503_238_554, shift: 0 });
    assert_eq!(Multiplier::new(0.35), Multiplier { mantissa: 1_503_238_554, shift: -1 });
    let m = Multiplier::new(0.35);
    // 10 * 0.7 = 7, half of it 3.5 goes away from zero; 3 * 0.7 = 2.1 is 2, half of it 1.
    assert_eq!([10, -10, 3, -3, 0].map(|x| m.apply(x)), [4, -4, 1, -1, 0]);
    let m = Multiplier::new(2.5);
    assert_eq!([3, -3].map(|x| m.apply(x)), [8, -7], "7.5: ties of the product go upwards");
}

struct Case {
    desc: ConvDesc,
    x: Vec<i32>,
    w: Vec<i32>,
    bias: Vec<i64>,
    scales: Vec<f64>,
    params: ConvParams,
}

fn case(rng: &mut Rng, wide: bool) -> Case {
    let (groups, per) = rng.pick(&[(1, 1), (1, 3), (1, 8), (1, 19), (2, 3), (5, 1), (17, 1), (40, 1), (3, 2)]);
    let outputs = groups * rng.pick(&[1, 1, 2, 5, 16, 21]);
    let kernel = [rng.range(1, 3), rng.range(1, 4)];
    let stride = [rng.range(1, 2), rng.range(1, 3)];
    let dilation = [rng.pick(&[1, 1, 2]), rng.pick(&[1, 1, 2])];
    let size = [rng.range(4, 9), rng.range(7, 12)];
    let pads: Vec<(usize, usize)> = (0..2).map(|_| (rng.below(3), rng.below(3))).collect();
    let params =
        ConvParams { stride: stride.to_vec(), dilation: dilation.to_vec(), pads, groups, ..ConvParams::new(2) };
    let output = params.output(&size, &kernel);
    let (batch, channels) = (rng.range(1, 2), groups * per);
    let (lo, hi) = if wide { (-32768, 32767) } else { (-128, 127) };
    let each = rng.below(2) == 0;
    Case {
        x: (0..batch * channels * size[0] * size[1]).map(|_| number(rng, lo, hi)).collect(),
        w: (0..outputs * per * kernel[0] * kernel[1]).map(|_| number(rng, -128, 127)).collect(),
        bias: if rng.below(3) == 0 { vec![] } else { (0..outputs).map(|_| number(rng, -9000, 9000).into()).collect() },
        scales: (0..if each { outputs } else { 1 }).map(|_| scale(rng) * 0.01).collect(),
        desc: ConvDesc {
            batch,
            channels,
            size,
            outputs,
            groups,
            kernel,
            stride,
            dilation,
            begin: [params.pads[0].0 as isize, params.pads[1].0 as isize],
            output: [output[0], output[1]],
            spread: [1, 1],
            zero: if wide { 0 } else { number(rng, -128, 127) },
            wide,
        },
        params,
    }
}

/// `[N, C, H, W]` to `[N, H, W, C]`.
fn last(x: &[i32], n: usize, c: usize, plane: usize) -> Vec<i32> {
    let at = |i: usize| x[(i / c / plane * c + i % c) * plane + i / c % plane];
    (0..n * c * plane).map(at).collect()
}

fn run_conv(case: &Case, requant: &Requantize, isa: Isa, par: &dyn Parallel) -> Vec<i32> {
    let d = &case.desc;
    let conv = Conv::new(isa, d.clone(), &case.w, &case.bias, requant.clone()).unwrap();
    let x = last(&case.x, d.batch, d.channels, d.size[0] * d.size[1]);
    let mut scratch = vec![77i16; conv.scratch()];
    let n = d.batch * d.outputs * d.output[0] * d.output[1];
    if d.wide {
        let (x, mut y) = (x.iter().map(|&v| v as i16).collect::<Vec<_>>(), vec![0i16; n]);
        conv.apply(&x, &mut y, &mut scratch, par).unwrap();
        y.into_iter().map(i32::from).collect()
    } else {
        let (x, mut y) = (x.iter().map(|&v| v as i8).collect::<Vec<_>>(), vec![0i8; n]);
        conv.apply(&x, &mut y, &mut scratch, par).unwrap();
        y.into_iter().map(i32::from).collect()
    }
}

#[test]
fn convolutions() {
    let mut rng = Rng::new(5);
    for round in 0..160 {
        let case = case(&mut rng, round % 4 == 3);
        let d = &case.desc;
        let (lo, hi) = if d.wide { (-32768, 32767) } else { (-100, 127) };
        let rule = rng.pick(&[Requant::FloatRne, Requant::TfliteFixed, Requant::TfliteOnce]);
        let requant = Requantize::new(rule, &case.scales, d.outputs, -3, (lo, hi)).unwrap();
        let less: Vec<i64> = case.x.iter().map(|&v| i64::from(v - d.zero)).collect();
        let w: Vec<i64> = case.w.iter().map(|&v| v.into()).collect();
        let shape = [d.batch, d.channels, d.size[0], d.size[1]];
        let w_shape = [d.outputs, d.channels / d.groups, d.kernel[0], d.kernel[1]];
        let (sums, _) = reference::conv(&less, &shape, &w, &w_shape, &case.params);
        let plane = d.output[0] * d.output[1];
        let want: Vec<i32> = sums
            .iter()
            .enumerate()
            .map(|(i, s)| {
                let c = i / plane.max(1) % d.outputs;
                let s = s + case.bias.get(c).copied().unwrap_or(0);
                reference::requantize(rule, s, case.scales[c % case.scales.len()], -3, (lo, hi), d.wide)
            })
            .collect();
        let want = last(&want, d.batch, d.outputs, plane);
        for isa in Isa::available() {
            assert_eq!(run_conv(&case, &requant, isa, &Serial), want, "{isa:?} {d:?}");
            assert_eq!(run_conv(&case, &requant, isa, &Threads(2)), want, "{isa:?} {d:?}, two threads");
        }
    }
}

#[test]
fn transposed_convolutions_are_convolutions_of_a_spread_input() {
    let mut rng = Rng::new(6);
    for _ in 0..60 {
        let (channels, outputs) = (rng.range(1, 5), rng.pick(&[1, 4, 18]));
        let (kernel, stride) = ([rng.range(1, 4), rng.range(1, 4)], [rng.range(1, 3), rng.range(1, 3)]);
        let (size, cut) = ([rng.range(2, 5), rng.range(2, 5)], [rng.below(2), rng.below(2)]);
        let params = ConvParams { stride: stride.to_vec(), pads: cut.map(|c| (c, 0)).to_vec(), ..ConvParams::new(2) };
        let output = params.transposed_output(&size, &kernel);
        if output.contains(&0) {
            continue;
        }
        let area = kernel[0] * kernel[1];
        let x: Vec<i32> = (0..channels * size[0] * size[1]).map(|_| number(&mut rng, -128, 127)).collect();
        let w: Vec<i32> = (0..channels * outputs * area).map(|_| number(&mut rng, -127, 127)).collect();
        let wide: Vec<i64> = x.iter().map(|&v| i64::from(v) + 4).collect();
        let w64: Vec<i64> = w.iter().map(|&v| v.into()).collect();
        let shape = [1, channels, size[0], size[1]];
        let (sums, _) =
            reference::conv_transpose(&wide, &shape, &w64, &[channels, outputs, kernel[0], kernel[1]], &params);
        let rule = Requant::TfliteFixed;
        let want: Vec<i32> =
            sums.iter().map(|&s| reference::requantize(rule, s, 0.01, 1, (-128, 127), false)).collect();
        let turned = |o: usize, c: usize, t: usize| w[(c * outputs + o) * area + area - 1 - t];
        let order = (0..outputs).flat_map(|o| (0..channels).map(move |c| (o, c)));
        let w: Vec<i32> =
            order.flat_map(|(o, c)| (0..area).map(move |t| (o, c, t))).map(|(o, c, t)| turned(o, c, t)).collect();
        let desc = ConvDesc {
            batch: 1,
            channels,
            size,
            outputs,
            groups: 1,
            kernel,
            stride: [1, 1],
            dilation: [1, 1],
            begin: std::array::from_fn(|a| (kernel[a] - 1) as isize - cut[a] as isize),
            output: [output[0], output[1]],
            spread: stride,
            zero: -4,
            wide: false,
        };
        let plane = output[0] * output[1];
        let case = Case { desc, x, w, bias: vec![], scales: vec![0.01], params };
        let requant = Requantize::new(rule, &[0.01], outputs, 1, (-128, 127)).unwrap();
        for isa in Isa::available() {
            assert_eq!(run_conv(&case, &requant, isa, &Threads(2)), last(&want, 1, outputs, plane), "{:?}", case.desc);
        }
    }
}

#[test]
fn pools() {
    let mut rng = Rng::new(7);
    for round in 0..120 {
        let size = [rng.range(1, 7), rng.range(2, 9)];
        let mut window = Window::new(&[rng.range(1, 3), rng.range(1, 4)]);
        window.stride = vec![rng.range(1, 3), rng.range(1, 3)];
        // Padding smaller than the window, so that every window has something inside.
        window.pads = (0..2).map(|a| (rng.below(window.kernel[a]), rng.below(window.kernel[a]))).collect();
        let out = [window.output(0, size[0]), window.output(1, size[1])];
        let (batch, channels) = (rng.range(1, 2), rng.pick(&[1, 5, 32, 45]));
        let x: Vec<i32> = (0..batch * channels * size[0] * size[1]).map(|_| number(&mut rng, 0, 255)).collect();
        let wide: Vec<i64> = x.iter().map(|&v| v.into()).collect();
        let mean = round % 2 == 0;
        let shape = [batch, channels, size[0], size[1]];
        let want = reference::pool(&wide, &shape, mean, &window, &out);
        let want: Vec<i32> = want.into_iter().map(|v| v.clamp(10, 250) as i32).collect();
        let desc = PoolDesc {
            batch,
            channels,
            size,
            kernel: [window.kernel[0], window.kernel[1]],
            stride: [window.stride[0], window.stride[1]],
            begin: [window.pads[0].0, window.pads[1].0],
            output: out,
            mean,
            range: (10, 250),
        };
        let x: Vec<u8> = last(&x, batch, channels, size[0] * size[1]).into_iter().map(|v| v as u8).collect();
        for isa in Isa::available() {
            let pool = Pool::new(isa, desc.clone()).unwrap();
            let mut y = vec![0u8; want.len()];
            pool.apply(&x, &mut y, &Threads(2)).unwrap();
            let y: Vec<i32> = y.into_iter().map(i32::from).collect();
            assert_eq!(y, last(&want, batch, channels, out[0] * out[1]), "{desc:?}");
        }
    }
}

/// The result in real numbers, which a number may miss by a step and a half.
fn near(got: i32, real: f64, y: Affine, range: (i32, i32)) -> bool {
    let want = (real / f64::from(y.scale) + f64::from(y.zero)).clamp(range.0.into(), range.1.into());
    (f64::from(got) - want).abs() <= 1.5
}

#[test]
fn functions_of_two_numbers_stand_for_their_reals() {
    let mut rng = Rng::new(8);
    let range = (-128, 127);
    type Case = (PairKind, fn(f64, f64) -> f64);
    let cases: [Case; 5] = [
        (PairKind::Add, |a, b| a + b),
        (PairKind::Sub, |a, b| a - b),
        (PairKind::Mul, |a, b| a * b),
        (PairKind::SquaredDifference, |a, b| (a - b) * (a - b)),
        (PairKind::PRelu, |a, b| if a >= 0.0 { a } else { a * b }),
    ];
    for round in 0..300 {
        let (kind, f) = cases[round % cases.len()];
        let affine = |rng: &mut Rng| Affine { scale: 0.01 + rng.float().abs() * 0.05, zero: number(rng, -20, 20) };
        let (a, b, y) = (affine(&mut rng), affine(&mut rng), affine(&mut rng));
        let pair = Pair::new(kind, a, b, y, range, false).unwrap();
        let real = |q: Affine, v: i32| f64::from(q.scale) * f64::from(v - q.zero);
        let x: Vec<i8> = (0..40).map(|_| number(&mut rng, -128, 127) as i8).collect();
        let w: Vec<i8> = (0..5).map(|_| number(&mut rng, -128, 127) as i8).collect();
        let mut out = vec![0i8; 40];
        let plan = Broadcast::new("test", [&[8, 5], &[5]]).unwrap();
        pair.apply_all(&plan, &x, &w, &mut out, &Threads(2)).unwrap();
        for (i, &got) in out.iter().enumerate() {
            let (v, w) = (i32::from(x[i]), i32::from(w[i % 5]));
            assert_eq!(i32::from(got), pair.apply(v, w));
            assert!(near(got.into(), f(real(a, v), real(b, w)), y, range), "{kind:?} {v} {w} {a:?} {b:?} {y:?}: {got}");
        }
    }
}

#[test]
fn functions_of_one_number_stand_for_their_reals() {
    let x = Affine { scale: 0.05, zero: 7 };
    type Case = (Activation, Affine, fn(f64) -> f64);
    let cases: [Case; 9] = [
        (Activation::Identity, Affine { scale: 0.06, zero: -3 }, |x| x),
        (Activation::Relu, Affine { scale: 0.03, zero: -128 }, |x| x.max(0.0)),
        (Activation::Clamp { lo: 0.0, hi: 6.0 }, Affine { scale: 0.024, zero: -128 }, |x| x.clamp(0.0, 6.0)),
        (
            Activation::LeakyRelu { alpha: 0.2 },
            Affine { scale: 0.04, zero: -90 },
            |x| if x < 0.0 { 0.2 * x } else { x },
        ),
        (Activation::Sigmoid, Affine { scale: 1.0 / 256.0, zero: -128 }, |x| 1.0 / (1.0 + (-x).exp())),
        (Activation::Tanh, Affine { scale: 1.0 / 128.0, zero: 0 }, f64::tanh),
        (Activation::Elu { alpha: 1.0 }, Affine { scale: 0.03, zero: -90 }, |x| if x < 0.0 { x.exp_m1() } else { x }),
        (Activation::Exp, Affine { scale: 2.0, zero: -128 }, f64::exp),
        (Activation::HardSwish { alpha: 1.0 / 6.0, beta: 0.5 }, Affine { scale: 0.05, zero: -110 }, |x| {
            x * (x + 3.0).clamp(0.0, 6.0) / 6.0
        }),
    ];
    for (kind, y, f) in cases {
        let function = Function::new(kind, x, y, (-128, 127), false).unwrap();
        let map = Map::<i8>::new::<i8>(|v| function.apply(v));
        let all: Vec<i8> = (-128..=127).map(|v| v as i8).collect();
        let mut out = vec![0i8; all.len()];
        map.apply(&all, &mut out, &Serial).unwrap();
        for (&v, &got) in all.iter().zip(&out) {
            let real = f64::from(x.scale) * f64::from(i32::from(v) - x.zero);
            assert!(near(got.into(), f(real), y, (-128, 127)), "{kind:?} {v}: {got}");
        }
    }
    // Sixteen bits: within two steps of 2^-15 but for the table's interpolation.
    let x = Affine { scale: 4.0 / 32768.0, zero: 0 };
    let y = Affine { scale: 1.0 / 32768.0, zero: 0 };
    for (kind, f) in
        [(Activation::Sigmoid, (|x| 1.0 / (1.0 + f64::exp(-x))) as fn(f64) -> f64), (Activation::Tanh, f64::tanh)]
    {
        let function = Function::new(kind, x, y, (-32768, 32767), true).unwrap();
        for v in (-32768..=32767).step_by(97) {
            let (got, want) = (f64::from(function.apply(v)) / 32768.0, f(f64::from(v) * 4.0 / 32768.0));
            assert!((got - want).abs() < 2e-4, "{kind:?} {v}: {got} {want}");
        }
    }
}

#[test]
fn softmax_sums_to_one() {
    let mut rng = Rng::new(9);
    for row in [1, 2, 10, 100] {
        let (scale, y) = (0.1f32, Affine { scale: 1.0 / 256.0, zero: -128 });
        let x: Vec<i8> = (0..3 * row).map(|_| number(&mut rng, -128, 127) as i8).collect();
        let mut out = vec![0i8; x.len()];
        Softmax::new(row, scale, 1.0, y).unwrap().apply(&x, &mut out, &Threads(2)).unwrap();
        let wide: Vec<i16> = x.iter().map(|&v| i16::from(v) * 200).collect();
        let mut out16 = vec![0i16; x.len()];
        Softmax16::new(row, scale / 200.0, 1.0).unwrap().apply(&wide, &mut out16, &Serial).unwrap();
        for r in 0..3 {
            let exp: Vec<f64> = x[r * row..][..row].iter().map(|&v| (f64::from(v) * f64::from(scale)).exp()).collect();
            let sum: f64 = exp.iter().sum();
            for (j, e) in exp.iter().enumerate() {
                assert!(near(out[r * row + j].into(), e / sum, y, (-128, 127)));
                assert!((f64::from(out16[r * row + j]) / 32768.0 - e / sum).abs() < 2e-3, "{row} {}", e / sum);
            }
        }
    }
}

#[test]
fn sums_and_means_stand_for_their_reals() {
    let mut rng = Rng::new(10);
    for round in 0..100 {
        let (count, inner, outer) = (rng.range(1, 40), rng.range(1, 6), rng.range(1, 3));
        let (mean, wide) = (round % 2 == 0, round % 3 == 0);
        let x = Affine { scale: 0.02, zero: if wide { 0 } else { number(&mut rng, -50, 50) } };
        let y = Affine { scale: if mean { 0.017 } else { 0.4 }, zero: if wide { 0 } else { number(&mut rng, -9, 9) } };
        let data: Vec<i16> = (0..outer * count * inner).map(|_| number(&mut rng, -128, 127) as i16).collect();
        let mut out = vec![0i16; outer * inner];
        Sums::new(count, inner, mean, x, y).unwrap().apply(&data, &mut out, &Threads(2)).unwrap();
        for (i, &got) in out.iter().enumerate() {
            let column = data[i / inner * count * inner + i % inner..].iter().step_by(inner).take(count);
            let sum: f64 = column.map(|&v| f64::from(x.scale) * f64::from(i32::from(v) - x.zero)).sum();
            let real = if mean { sum / count as f64 } else { sum };
            assert!(near(got.into(), real, y, (-32768, 32767)), "{count} {inner} {mean}: {got} {real}");
        }
    }
}

#[test]
fn bilinear_resampling_stays_between_its_neighbours() {
    let mut rng = Rng::new(11);
    for round in 0..60 {
        let (from, to) = ([rng.range(1, 6), rng.range(1, 6)], [rng.range(1, 9), rng.range(1, 9)]);
        let (corners, half) = [(false, false), (true, false), (false, true)][round % 3];
        let x: Vec<i8> = (0..2 * from[0] * from[1] * 3).map(|_| number(&mut rng, -128, 127) as i8).collect();
        let mut y = vec![0i8; 2 * to[0] * to[1] * 3];
        Bilinear::new(2, 3, from, to, corners, half).unwrap().apply(&x, &mut y, &Threads(2)).unwrap();
        let (lo, hi) = (x.iter().min().unwrap(), x.iter().max().unwrap());
        assert!(y.iter().all(|v| lo <= v && v <= hi));
        if from == to {
            assert_eq!(x, y);
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let desc = ConvDesc {
        batch: 1,
        channels: 2,
        size: [2, 2],
        outputs: 3,
        groups: 1,
        kernel: [1, 1],
        stride: [1, 1],
        dilation: [1, 1],
        begin: [0, 0],
        output: [2, 2],
        spread: [1, 1],
        zero: 0,
        wide: false,
    };
    let requant = |n: usize| Requantize::new(Requant::TfliteFixed, &vec![0.5; n], n, 0, (0, 255));
    let isa = Isa::detect();
    assert!(Conv::new(isa, desc.clone(), &[0; 5], &[], requant(3).unwrap()).is_err(), "weights");
    assert!(Conv::new(isa, desc.clone(), &[0; 6], &[0; 2], requant(3).unwrap()).is_err(), "bias");
    assert!(Conv::new(isa, desc.clone(), &[0; 6], &[], requant(2).unwrap()).is_err(), "scales");
    assert!(Conv::new(isa, desc.clone(), &[300; 6], &[], requant(3).unwrap()).is_err(), "9 bits");
    assert!(Conv::new(isa, ConvDesc { groups: 2, ..desc.clone() }, &[0; 6], &[], requant(3).unwrap()).is_err());
    assert!(Requantize::new(Requant::FloatRne, &[1.0], 1, 0, (3, 2)).is_err());
    let conv = Conv::new(isa, desc, &[0; 6], &[], requant(3).unwrap()).unwrap();
    let (x, mut y) = ([0u8; 8], [0u8; 11]);
    assert!(conv.apply(&x, &mut y, &mut vec![0; conv.scratch()], &Serial).is_err());
    let bad = Affine { scale: 0.0, zero: 0 };
    assert!(Pair::new(PairKind::Add, bad, bad, bad, (0, 1), false).is_err());
    assert!(Function::new(Activation::Relu, bad, bad, (0, 1), false).is_err());
    assert!(Softmax::new(1, f32::NAN, 1.0, Affine::default()).is_err());
    assert!(Sums::new(1, 1, true, bad, bad).is_err());
    assert!(Bilinear::new(1, 1, [0, 1], [1, 1], false, false).is_err());
}
