//! Convolutions against their naive twin: random shapes, every instruction set, one thread and two.

use pocketnn_kernels::activation::Activation;
use pocketnn_kernels::conv::{
    Conv, ConvDesc, ConvTranspose, ConvTransposeDesc, Form, Packing, Residual, Source, Winograd,
};
use pocketnn_kernels::isa::Isa;
use pocketnn_kernels::layout::{Blocked, Order, pack};
use pocketnn_kernels::par::{Parallel, Serial};
use pocketnn_kernels::reference::{self, conv::ConvParams};
use pocketnn_tests::support::{Rng, Threads, assert_zero_outside, block, unblock};

/// One convolution with all its operands, images in `[N, C, D, H, W]`.
#[derive(Clone, Debug)]
struct Case {
    desc: ConvDesc,
    x: Vec<f32>,
    w: Vec<f32>,
    bias: Option<Vec<f32>>,
    residual: Option<Vec<f32>>,
}

const ACTIVATIONS: [Activation; 5] = [
    Activation::Identity,
    Activation::Relu,
    Activation::Clamp { lo: 0.25, hi: 6.0 },
    Activation::Sigmoid,
    Activation::HARD_SWISH,
];

fn halo(rng: &mut Rng, least: [(usize, usize); 3]) -> [(usize, usize); 3] {
    least.map(|(a, b)| if rng.below(2) == 0 { (a, b) } else { (a + rng.below(2), b + rng.below(3)) })
}

/// A random descriptor: odd sizes, tails, asymmetric padding, strides, dilations, groups, and sometimes nothing to do.
fn case(rng: &mut Rng) -> Case {
    let rank = rng.range(1, 3);
    let groups = rng.pick(&[1, 1, 1, 1, 2, 3, 4, 8]);
    let per_in = if groups == 1 { rng.pick(&[1, 3, 4, 7, 8, 9, 16, 17, 24]) } else { rng.pick(&[1, 2, 3, 4, 8, 12]) };
    let per_out =
        if groups == 1 { rng.pick(&[1, 5, 8, 10, 16, 24, 33, 40, 64, 72]) } else { rng.pick(&[1, 2, 3, 8, 12, 16]) };
    let mut size = [1; 3];
    let mut desc = ConvDesc::new(Blocked::new(1, 1, [1; 3]), per_out * groups, [1; 3]);
    for i in 3 - rank..3 {
        size[i] = rng.pick(&[1, 2, 3, 5, 7, 8, 13, 14, 17, 30]);
        if rank == 3 {
            size[i] = size[i].min(6);
        }
        desc.kernel[i] = rng.pick(&[1, 1, 2, 3, 3, 5]);
        desc.stride[i] = rng.pick(&[1, 1, 2, 3]);
        desc.dilation[i] = rng.pick(&[1, 1, 1, 2, 3]);
        desc.pads[i] = rng.pick(&[(0, 0), (0, 0), (1, 1), (0, 1), (2, 1), (3, 0)]);
        // Mostly a kernel that fits; where not, the output is empty.
        while rng.below(16) != 0
            && (desc.kernel[i] - 1) * desc.dilation[i] + 1 > size[i] + desc.pads[i].0 + desc.pads[i].1
        {
            desc.kernel[i] -= 1;
        }
        desc.kernel[i] = desc.kernel[i].max(1);
    }
    let n = rng.pick(&[1, 1, 1, 2, 3, 0]);
    if rng.below(40) == 0 {
        size[2] = 0;
    }
    desc.input = Blocked::new(n, per_in * groups, size);
    desc.groups = groups;
    finish(rng, desc)
}

fn finish(rng: &mut Rng, mut desc: ConvDesc) -> Case {
    if desc.source == Source::Blocked {
        desc.input.halo = halo(rng, desc.required_halo().unwrap());
    }
    desc.output_halo = halo(rng, [(0, 0); 3]);
    desc.activation = rng.pick(&ACTIVATIONS);
    let output = desc.output().unwrap();
    let taps: usize = desc.kernel.iter().product();
    let x = rng.floats(desc.input.n * desc.input.c * desc.input.positions());
    let w = rng.floats(desc.channels * desc.input.c / desc.groups * taps);
    let bias = (rng.below(3) > 0).then(|| rng.floats(desc.channels));
    let residual = (rng.below(3) == 0).then(|| rng.floats(output.n * output.c * output.positions()));
    if residual.is_some() {
        desc.residual = Some(Blocked::new(output.n, output.c, output.size).with_halo(halo(rng, [(0, 0); 3])));
    }
    Case { desc, x, w, bias, residual }
}

/// The naive result, and for every element the sum of the magnitudes of its terms.
fn expected(case: &Case) -> (Vec<f32>, Vec<f32>) {
    let d = &case.desc;
    let params = ConvParams {
        stride: d.stride.to_vec(),
        dilation: d.dilation.to_vec(),
        pads: d.pads.to_vec(),
        groups: d.groups,
        output_padding: vec![0; 3],
    };
    let x_shape: Vec<usize> = [d.input.n, d.input.c].into_iter().chain(d.input.size).collect();
    let w_shape: Vec<usize> = [d.channels, d.input.c / d.groups].into_iter().chain(d.kernel).collect();
    let run = |x: &[f32], w: &[f32], bias: Option<&[f32]>, residual: Option<&[f32]>| {
        let (mut y, _) = reference::conv::conv(x, &x_shape, w, &w_shape, bias, &params);
        y.iter_mut().zip(residual.unwrap_or_default()).for_each(|(y, r)| *y += r);
        y
    };
    let abs = |x: &[f32]| x.iter().map(|v| v.abs()).collect::<Vec<_>>();
    let y = run(&case.x, &case.w, case.bias.as_deref(), case.residual.as_deref());
    let sizes = run(
        &abs(&case.x),
        &abs(&case.w),
        case.bias.as_deref().map(abs).as_deref(),
        case.residual.as_deref().map(abs).as_deref(),
    );
    (y.iter().map(|&v| reference::activation::eval(&d.activation, f64::from(v)) as f32).collect(), sizes)
}

/// Runs a case; the result is in blocks. With `into` the residual waits in the output.
fn run(case: &Case, isa: Isa, par: &dyn Parallel, into: bool) -> Vec<f32> {
    let d = &case.desc;
    let conv = Conv::new(isa, d, &case.w, case.bias.as_deref()).unwrap();
    let x = match d.source {
        Source::Blocked => block(&case.x, &d.input),
        Source::Planar => case.x.clone(),
        Source::Interleaved => interleave(&case.x, &d.input),
    };
    let mut y = vec![f32::NAN; conv.output().len()];
    let mut scratch = vec![f32::NAN; conv.scratch_len(par.threads())];
    let residual = case.residual.as_deref().zip(d.residual).map(|(r, g)| block(r, &g));
    let residual = match (&residual, into) {
        (None, _) => Residual::None,
        (Some(r), false) => Residual::Add(r),
        (Some(_), true) => {
            y = block(case.residual.as_deref().unwrap(), &conv.output());
            Residual::Output
        }
    };
    conv.apply(&x, &mut y, residual, &mut scratch, par).unwrap();
    y
}

fn interleave(x: &[f32], g: &Blocked) -> Vec<f32> {
    let p = g.positions();
    (0..g.n * p * g.c).map(|i| x[(i / g.c / p * g.c + i % g.c) * p + i / g.c % p]).collect()
}

/// A sum of `n` terms in any order differs from the exact one by at most `n` roundings of the sum of magnitudes; the activations
/// here at most double that and add some units of the last place.
fn check(case: &Case, isas: &[Isa]) {
    let (want, sizes) = expected(case);
    let output = case.desc.output().unwrap();
    let terms = (case.w.len() / case.desc.channels.max(1) + 2) as f32;
    // Minimal filtering adds numbers of the size of the whole tile to each of its outputs.
    let largest = sizes.iter().copied().fold(0.0, f32::max);
    let minimal = matches!(case.desc.packing(), Packing::Points(_));
    let mut fused: Option<(Isa, Vec<f32>)> = None;
    for &isa in isas {
        let y = run(case, isa, &Serial, false);
        let got = unblock(&y, &output);
        for (i, ((&g, &w), &s)) in got.iter().zip(&want).zip(&sizes).enumerate() {
            let bound = 2.0 * terms * f32::EPSILON * if minimal { largest } else { s } + 1e-6;
            assert!((g - w).abs() <= bound, "{isa}, element {i}: {g}, expected {w} +- {bound}\n{:?}", case.desc);
        }
        assert_zero_outside(&y, &output);
        let again = run(case, isa, &Threads(2), true);
        assert!(same(&y, &again), "{isa}: two threads give other bits\n{:?}", case.desc);
        if isa.fused() {
            let (first, bits) = fused.get_or_insert_with(|| (isa, y.clone()));
            assert!(same(bits, &y), "{isa} and {first} give other bits\n{:?}", case.desc);
        }
    }
}

fn same(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

#[test]
fn random_shapes() {
    let mut rng = Rng::new(1);
    for _ in 0..400 {
        check(&case(&mut rng), &Isa::available());
    }
}

#[test]
fn depthwise_shapes() {
    let mut rng = Rng::new(2);
    for round in 0..300 {
        let (kernel, stride) = (rng.pick(&[1, 2, 3, 3, 5, 5, 7]), rng.pick(&[1, 1, 2, 2, 3]));
        let size = [1, rng.pick(&[1, 2, 5, 9, 14]), rng.pick(&[1, 3, 5, 7, 8, 9, 11, 15, 29])];
        let channels = rng.pick(&[1, 3, 8, 13, 16, 40]);
        let mut desc = ConvDesc::new(Blocked::new(rng.range(1, 2), channels, size), channels, [1, kernel, kernel]);
        desc.groups = channels;
        desc.stride = [1, stride, stride];
        let pad = kernel / 2 + rng.below(2);
        desc.pads = [(0, 0), (pad, pad), (pad, rng.pick(&[pad, kernel]))];
        desc.dilation = [1, 1, if round % 8 == 0 { 2 } else { 1 }];
        if desc.output().is_ok() || desc.required_halo().is_ok() {
            check(&finish(&mut rng, desc), &Isa::available());
        }
    }
}

#[test]
fn first_layers() {
    let mut rng = Rng::new(3);
    for round in 0..200 {
        let mut c = case(&mut rng).desc;
        c.source = if round % 2 == 0 { Source::Planar } else { Source::Interleaved };
        c.input = Blocked::new(c.input.n, c.groups * rng.pick(&[1, 3, 4]), c.input.size);
        check(&finish(&mut rng, c), &Isa::available());
    }
}

#[test]
fn first_layers_of_few_columns() {
    let mut rng = Rng::new(9);
    let mut windows = 0;
    for round in 0..120 {
        let (channels, groups) = (rng.pick(&[1, 1, 2, 3]), rng.pick(&[1, 1, 1, 2]));
        let size = [1, rng.range(3, 40), rng.pick(&[1, 2, 4, 5, 7, 10, 14])];
        let kernel = [1, rng.pick(&[1, 3, 5, 10]), rng.pick(&[1, 2, 3, 4, 8])];
        let outputs = groups * rng.pick(&[16, 40, 64]);
        let mut desc = ConvDesc::new(Blocked::new(rng.range(1, 3), channels * groups, size), outputs, kernel);
        desc.source = if round % 2 == 0 { Source::Planar } else { Source::Interleaved };
        desc.groups = groups;
        desc.stride = [1, rng.range(1, 3), rng.range(1, 3)];
        desc.dilation = [1, rng.pick(&[1, 1, 2]), rng.pick(&[1, 1, 3])];
        desc.pads = [(0, 0), (rng.below(5), rng.below(6)), (rng.below(4), rng.below(3))];
        let case = finish(&mut rng, desc);
        let conv = Conv::new(Isa::detect(), &case.desc, &case.w, None).unwrap();
        windows += usize::from(conv.algorithm() == "direct on copied windows");
        check(&case, &Isa::available());
    }
    assert!(windows > 20, "copies of windows must come up: {windows}");
}

/// A 3x3 convolution of stride 1 with enough channels for minimal filtering.
fn three_by_three(rng: &mut Rng, c: usize, n: usize, size: [usize; 2]) -> ConvDesc {
    let images = rng.pick(&[1, 1, 1, 2, 3]);
    let mut desc = ConvDesc::new(Blocked::new(images, c, [1, size[0], size[1]]), n, [1, 3, 3]);
    desc.pads =
        [(0, 0), rng.pick(&[(1, 1), (1, 1), (0, 0), (0, 1), (2, 3)]), rng.pick(&[(1, 1), (0, 0), (1, 0), (3, 2)])];
    desc
}

#[test]
fn winograd_shapes() {
    let mut rng = Rng::new(6);
    let mut forms = [0; 3];
    for round in 0..120 {
        let size = [0; 2].map(|_| rng.pick(&[3, 4, 5, 7, 8, 12, 13, 14, 17, 30]));
        let (c, n) = (rng.pick(&[16, 17, 24, 40, 64]), rng.pick(&[16, 20, 24, 33, 48]));
        let mut desc = three_by_three(&mut rng, c, n, size);
        if round % 10 == 0 {
            // A padded depth is no plane any more.
            desc.pads[0] = (1, 0);
        }
        match desc.packing() {
            Packing::Points(Form::Two) => forms[0] += 1,
            Packing::Points(Form::Four) => forms[1] += 1,
            _ => forms[2] += 1,
        }
        check(&finish(&mut rng, desc), &Isa::available());
    }
    assert!(forms[0] > 5 && forms[1] > 20, "both forms must come up: {forms:?}");
}

#[test]
fn a_batch_in_many_groups_of_tiles() {
    let mut rng = Rng::new(7);
    let mut desc = three_by_three(&mut rng, 16, 16, [62, 97]);
    desc.input.n = 5;
    check(&finish(&mut rng, desc), &Isa::available());
}

#[test]
fn winograd_errs_at_most_three_times_as_much_as_the_direct_sum() {
    let mut rng = Rng::new(8);
    for (c, n, size) in [(64, 16, 29), (256, 16, 16), (512, 16, 14), (512, 16, 7)] {
        let mut desc = three_by_three(&mut rng, c, n, [size; 2]);
        (desc.pads, desc.input.n) = ([(0, 0), (1, 1), (1, 1)], 1);
        desc.input.halo = desc.required_halo().unwrap();
        let (x, w) = (rng.floats(desc.input.c * desc.input.positions()), rng.floats(n * c * 9));
        let case = Case { desc, x, w, bias: None, residual: None };
        let (exact, _) = expected(&case);
        let error = |winograd: Winograd| {
            let case = Case { desc: ConvDesc { winograd, ..case.desc.clone() }, ..case.clone() };
            let y = unblock(&run(&case, Isa::detect(), &Serial, false), &case.desc.output().unwrap());
            let errors = y.iter().zip(&exact).map(|(a, b)| f64::from(a - b).abs());
            let largest = errors.clone().fold(0.0, f64::max);
            (largest, (errors.map(|e| e * e).sum::<f64>() / y.len() as f64).sqrt())
        };
        assert!(matches!(case.desc.packing(), Packing::Points(_)), "{c} channels of {size}x{size}");
        let (minimal, direct) = (error(Winograd::Auto), error(Winograd::Off));
        println!("{c} channels of {size}x{size}: largest and mean error {minimal:?}, direct {direct:?}");
        assert!(minimal.0 <= 3.0 * direct.0 && minimal.1 <= 3.0 * direct.1, "{minimal:?}, direct {direct:?}");
    }
}

#[test]
fn conversions_are_exact_both_ways() {
    let mut rng = Rng::new(4);
    for _ in 0..100 {
        let size = std::array::from_fn(|_| rng.pick(&[0, 1, 2, 5, 9]));
        let g =
            Blocked::new(rng.range(0, 2), rng.pick(&[0, 1, 3, 8, 11, 16]), size).with_halo(halo(&mut rng, [(0, 0); 3]));
        let x = rng.floats(g.n * g.c * g.positions());
        let want = block(&x, &g);
        for (order, plain) in [(Order::Planar, x.clone()), (Order::Interleaved, interleave(&x, &g))] {
            for isa in Isa::available() {
                let (mut y, mut back) = (vec![f32::NAN; g.len()], vec![f32::NAN; x.len()]);
                pack(isa, order, &plain, &g, &mut y, &Threads(2)).unwrap();
                assert_eq!(y, want, "{order:?} {g:?}");
                pocketnn_kernels::layout::unpack(isa, order, &y, &g, &mut back, &Threads(2)).unwrap();
                assert_eq!(back, plain, "{order:?} {g:?}");
            }
        }
    }
}

#[test]
fn misfits_are_errors_that_name_the_part() {
    let good = ConvDesc::new(Blocked::new(1, 8, [1, 4, 4]), 8, [1, 3, 3]);
    let weights = vec![0.0; 8 * 8 * 9];
    let error = |d: &ConvDesc, w: &[f32], b: Option<&[f32]>| Conv::new(Isa::SCALAR, d, w, b).unwrap_err().to_string();
    assert!(error(&good, &weights[1..], None).contains("weights: expected 576 elements, found 575"));
    assert!(error(&good, &weights, Some(&[0.0; 7])).contains("bias: expected 8 elements, found 7"));
    let bad = ConvDesc { pads: [(0, 0), (1, 1), (0, 0)], ..good.clone() };
    assert!(error(&bad, &weights, None).contains("input halo of axis 1: expected at least (1, 1), found (0, 0)"));
    let bad = ConvDesc { groups: 3, ..good.clone() };
    assert!(error(&bad, &weights, None).contains("groups: 3 do not divide 8 input and 8 output channels"));
    let bad = ConvDesc { stride: [1, 0, 1], ..good.clone() };
    assert!(error(&bad, &weights, None).contains("of axis 1 must be at least 1"));
    let bad = ConvDesc { input: Blocked::new(usize::MAX / 2, 8, [1, 4, 4]), ..good.clone() };
    assert!(error(&bad, &weights, None).contains("too large"));
    let conv = Conv::new(Isa::SCALAR, &good, &weights, None).unwrap();
    let (x, mut y) = (vec![0.0; 128], vec![0.0; 32]);
    let e = conv.apply(&x[1..], &mut y, Residual::None, &mut [], &Serial).unwrap_err().to_string();
    assert!(e.contains("input: expected 128 elements, found 127"), "{e}");
    let e = conv.apply(&x, &mut y, Residual::Add(&x[..32]), &mut [], &Serial).unwrap_err().to_string();
    assert!(e.contains("residual"), "{e}");
}

#[test]
fn transposed_shapes() {
    let mut rng = Rng::new(5);
    for _ in 0..300 {
        let rank = rng.range(1, 3);
        let groups = rng.pick(&[1, 1, 1, 2, 3]);
        let mut desc = ConvTransposeDesc {
            input: Blocked::new(rng.pick(&[1, 1, 2, 0]), groups * rng.pick(&[1, 3, 8, 12]), [1; 3]),
            channels: groups * rng.pick(&[1, 5, 8, 16, 40]),
            kernel: [1; 3],
            stride: [1; 3],
            dilation: [1; 3],
            pads: [(0, 0); 3],
            output_padding: [0; 3],
            groups,
            output_halo: halo(&mut rng, [(0, 0); 3]),
            activation: rng.pick(&ACTIVATIONS),
        };
        for i in 3 - rank..3 {
            desc.input.size[i] = rng.pick(&[1, 2, 3, 5, 8, 14]);
            desc.kernel[i] = rng.pick(&[1, 2, 3, 4, 5]);
            desc.stride[i] = rng.pick(&[1, 2, 2, 3]);
            desc.dilation[i] = rng.pick(&[1, 1, 2]);
            desc.pads[i] = rng.pick(&[(0, 0), (1, 1), (0, 1), (2, 0)]);
            desc.output_padding[i] = rng.below(desc.stride[i]);
        }
        desc.input.halo = halo(&mut rng, desc.required_halo().unwrap());
        check_transposed(&mut rng, &desc);
    }
}

/// The bound is that of [`check`].
fn check_transposed(rng: &mut Rng, d: &ConvTransposeDesc) {
    let output = d.output().unwrap();
    let taps: usize = d.kernel.iter().product();
    let x = rng.floats(d.input.n * d.input.c * d.input.positions());
    let w = rng.floats(d.input.c * d.channels / d.groups * taps);
    let bias = (rng.below(2) == 0).then(|| rng.floats(d.channels));
    let params = ConvParams {
        stride: d.stride.to_vec(),
        dilation: d.dilation.to_vec(),
        pads: d.pads.to_vec(),
        groups: d.groups,
        output_padding: d.output_padding.to_vec(),
    };
    let x_shape: Vec<usize> = [d.input.n, d.input.c].into_iter().chain(d.input.size).collect();
    let w_shape: Vec<usize> = [d.input.c, d.channels / d.groups].into_iter().chain(d.kernel).collect();
    let (want, _) = reference::conv::conv_transpose(&x, &x_shape, &w, &w_shape, bias.as_deref(), &params);
    let want: Vec<f32> =
        want.iter().map(|&v| reference::activation::eval(&d.activation, f64::from(v)) as f32).collect();
    let bound = 2.0 * f32::EPSILON * (d.input.c * taps) as f32 * (d.input.c * taps) as f32 / 4.0 + 1e-6;
    let mut fused: Option<Vec<f32>> = None;
    for isa in Isa::available() {
        let conv = ConvTranspose::new(isa, d, &w, bias.as_deref()).unwrap();
        let run = |par: &dyn Parallel| {
            let mut y = vec![f32::NAN; output.len()];
            conv.apply(&block(&x, &d.input), &mut y, par).unwrap();
            y
        };
        let y = run(&Serial);
        for (i, (g, e)) in unblock(&y, &output).iter().zip(&want).enumerate() {
            assert!((g - e).abs() <= bound, "{isa}, element {i}: {g}, expected {e}\n{d:?}");
        }
        assert_zero_outside(&y, &output);
        assert!(same(&y, &run(&Threads(2))), "{isa}: two threads give other bits\n{d:?}");
        if isa.fused() {
            assert!(same(fused.get_or_insert_with(|| y.clone()), &y), "{isa} gives other bits\n{d:?}");
        }
    }
}

/// The naive convolution, one sum after the other.
#[test]
fn sums_in_blocks_have_the_bits_of_sums_one_by_one() {
    let params = ConvParams {
        stride: vec![2, 1],
        dilation: vec![1, 2],
        pads: vec![(1, 2), (2, 0)],
        groups: 2,
        ..ConvParams::new(2)
    };
    let noise = |n: usize, seed: usize| -> Vec<f32> {
        (0..n).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0).collect()
    };
    let (x, w, b) = (noise(2 * 6 * 9 * 8, 1), noise(10 * 3 * 3 * 2, 2), noise(10, 3));
    let (y, shape) = reference::conv::conv(&x, &[2, 6, 9, 8], &w, &[10, 3, 3, 2], Some(&b), &params);
    let out = params.output(&[9, 8], &[3, 2]);
    assert_eq!(shape, [2, 10, out[0], out[1]]);
    let mut want = Vec::new();
    for (image, oc) in (0..2).flat_map(|n| (0..10).map(move |o| (n, o))) {
        for (oy, ox) in (0..out[0]).flat_map(|y| (0..out[1]).map(move |x| (y, x))) {
            let mut sum = f64::from(b[oc]);
            for (ic, ky, kx) in (0..3).flat_map(|c| (0..3).flat_map(move |y| (0..2).map(move |x| (c, y, x)))) {
                let (iy, ix) = ((oy * 2 + ky).wrapping_sub(1), (ox + kx * 2).wrapping_sub(2));
                if iy < 9 && ix < 8 {
                    let v = x[((image * 6 + oc / 5 * 3 + ic) * 9 + iy) * 8 + ix];
                    sum += f64::from(w[((oc * 3 + ic) * 3 + ky) * 2 + kx]) * f64::from(v);
                }
            }
            want.push(sum as f32);
        }
    }
    assert_eq!(y, want);
}
