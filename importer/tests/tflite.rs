//! TFLite models: what each family of operators computes, written as small literal models.

mod tflite_support;

use pocketnn::{DType, Model, Options, Tensor};
use pocketnn_importer::ErrorKind;
use pocketnn_importer::tflite::operators;
use std::cell::RefCell;
use std::collections::BTreeSet;
use tflite_support::{F, G, Q, Table, load, run};

fn floats(shape: &[usize], x: &[f32]) -> Tensor {
    Tensor::new(shape, x.to_vec()).unwrap()
}
fn ramp(shape: &[usize]) -> Tensor {
    let n = shape.iter().product::<usize>();
    floats(shape, &(0..n).map(|i| i as f32).collect::<Vec<_>>())
}
fn dims(shape: &[usize]) -> Vec<i32> {
    shape.iter().map(|&d| d as i32).collect()
}

thread_local! { static SEEN: RefCell<BTreeSet<String>> = const { RefCell::new(BTreeSet::new()) }; }

/// Runs one operator on inputs and constants; gives its outputs of these types.
fn apply(name: &str, inputs: &[Tensor], constants: &[Tensor], options: Table, outputs: &[DType]) -> Vec<Tensor> {
    SEEN.with_borrow_mut(|s| s.insert(name.to_string()));
    let mut g = G::new();
    let mut operands = Vec::new();
    for (i, t) in inputs.iter().enumerate() {
        operands.push(g.input(&format!("x{i}"), t.dtype(), &dims(t.shape())));
    }
    operands.extend(constants.iter().map(|c| g.constant(c)));
    let made: Vec<i32> = outputs.iter().enumerate().map(|(i, &d)| g.computed(&format!("y{i}"), d, &[], None)).collect();
    g.op(name, &operands, &made, options);
    made.iter().for_each(|&m| g.output(m));
    run(&g.file(), inputs)
}

/// As [`apply`] with operands in this order: those below the number of inputs, then constants.
fn ordered(
    name: &str,
    order: &[usize],
    inputs: &[Tensor],
    constants: &[Tensor],
    options: Table,
    to: &[DType],
) -> Vec<Tensor> {
    SEEN.with_borrow_mut(|s| s.insert(name.to_string()));
    let mut g = G::new();
    let mut all = Vec::new();
    for (i, t) in inputs.iter().enumerate() {
        all.push(g.input(&format!("x{i}"), t.dtype(), &dims(t.shape())));
    }
    all.extend(constants.iter().map(|c| g.constant(c)));
    let operands: Vec<i32> = order.iter().map(|&i| all[i]).collect();
    let made: Vec<i32> = to.iter().enumerate().map(|(i, &d)| g.computed(&format!("y{i}"), d, &[], None)).collect();
    g.op(name, &operands, &made, options);
    made.iter().for_each(|&m| g.output(m));
    run(&g.file(), inputs)
}

fn close(name: &str, got: &Tensor, want: &[f64]) {
    let got = got.to_f64();
    assert_eq!(got.len(), want.len(), "{name}");
    for (a, b) in got.iter().zip(want) {
        assert!((a - b).abs() <= 1e-5 * b.abs().max(1.0), "{name}: {a} {b}");
    }
}

fn unary_cases() {
    let x = floats(&[5], &[-4.0, -0.75, 0.25, 2.5, 7.0]);
    let positive = floats(&[5], &[0.25, 0.5, 1.0, 2.0, 9.0]);
    type Case = (&'static str, bool, fn(f64) -> f64);
    let cases: &[Case] = &[
        ("ABS", false, f64::abs),
        ("CEIL", false, f64::ceil),
        ("COS", false, f64::cos),
        ("ELU", false, |x| if x < 0.0 { x.exp_m1() } else { x }),
        ("EXP", false, f64::exp),
        ("FLOOR", false, f64::floor),
        ("HARD_SWISH", false, |x| x * (x + 3.0).clamp(0.0, 6.0) / 6.0),
        ("LOG", true, f64::ln),
        ("LOGISTIC", false, |x| 1.0 / (1.0 + (-x).exp())),
        ("NEG", false, |x| -x),
        ("RELU", false, |x| x.max(0.0)),
        ("RELU6", false, |x| x.clamp(0.0, 6.0)),
        ("RELU_0_TO_1", false, |x| x.clamp(0.0, 1.0)),
        ("RELU_N1_TO_1", false, |x| x.clamp(-1.0, 1.0)),
        ("ROUND", false, f64::round_ties_even),
        ("RSQRT", true, |x| 1.0 / x.sqrt()),
        ("SIGN", false, |x| if x == 0.0 { 0.0 } else { x.signum() }),
        ("SIN", false, f64::sin),
        ("SQRT", true, f64::sqrt),
        ("SQUARE", false, |x| x * x),
        ("TANH", false, f64::tanh),
        ("STABLEHLO_ABS", false, f64::abs),
        ("STABLEHLO_COSINE", false, f64::cos),
        ("STABLEHLO_EXPONENTIAL", false, f64::exp),
        ("STABLEHLO_FLOOR", false, f64::floor),
        ("STABLEHLO_LOG", true, f64::ln),
        ("STABLEHLO_LOGISTIC", false, |x| 1.0 / (1.0 + (-x).exp())),
        ("STABLEHLO_NEGATE", false, |x| -x),
        ("STABLEHLO_RSQRT", true, |x| 1.0 / x.sqrt()),
        ("STABLEHLO_TANH", false, f64::tanh),
        ("ZEROS_LIKE", false, |_| 0.0),
    ];
    for (name, needs_positive, f) in cases {
        let x = if *needs_positive { &positive } else { &x };
        let y = apply(name, std::slice::from_ref(x), &[], vec![], &[DType::F32]).remove(0);
        close(name, &y, &x.to_f64().iter().map(|&v| f(v)).collect::<Vec<_>>());
    }
    let leaky = apply("LEAKY_RELU", std::slice::from_ref(&x), &[], vec![(0, F::Float(0.5))], &[DType::F32]).remove(0);
    close("LEAKY_RELU", &leaky, &[-2.0, -0.375, 0.25, 2.5, 7.0]);
    let gelu = apply("GELU", &[floats(&[2], &[0.0, 1.0])], &[], vec![], &[DType::F32]).remove(0);
    close("GELU", &gelu, &[0.0, 0.841_344_75]);
    let prelu = apply("PRELU", &[floats(&[1, 2], &[-2.0, -3.0])], &[floats(&[2], &[0.5, 2.0])], vec![], &[DType::F32]);
    close("PRELU", &prelu[0], &[-1.0, -6.0]);
    let not = Tensor::vector(&[true, false]);
    let not = apply("LOGICAL_NOT", &[not], &[], vec![], &[DType::Bool]).remove(0);
    assert_eq!(not.to_i64().unwrap(), [0, 1]);
}

fn binary_cases() {
    let (a, b) = (floats(&[4], &[1.0, -2.0, 7.5, 2.0]), floats(&[4], &[2.0, 3.0, 2.5, 2.0]));
    type Case = (&'static str, fn(f64, f64) -> f64);
    let cases: &[Case] = &[
        ("ADD", |a, b| a + b),
        ("SUB", |a, b| a - b),
        ("MUL", |a, b| a * b),
        ("DIV", |a, b| a / b),
        ("ATAN2", f64::atan2),
        ("FLOOR_DIV", |a, b| (a / b).floor()),
        ("FLOOR_MOD", f64::rem_euclid),
        ("MAXIMUM", f64::max),
        ("MINIMUM", f64::min),
        ("SQUARED_DIFFERENCE", |a, b| (a - b) * (a - b)),
        ("ADD_N", |a, b| a + b),
        ("POW", |a, b| a.powf(b)),
        ("STABLEHLO_ADD", |a, b| a + b),
        ("STABLEHLO_SUBTRACT", |a, b| a - b),
        ("STABLEHLO_MULTIPLY", |a, b| a * b),
        ("STABLEHLO_DIVIDE", |a, b| a / b),
        ("STABLEHLO_MAXIMUM", f64::max),
        ("STABLEHLO_MINIMUM", f64::min),
        ("STABLEHLO_POWER", |a, b| a.powf(b)),
        ("STABLEHLO_REMAINDER", |a, b| a % b),
    ];
    for (name, f) in cases {
        let a = if name.ends_with("POW") || name.ends_with("POWER") {
            floats(&[4], &[1.0, 2.0, 7.5, 2.0])
        } else {
            a.clone()
        };
        let want: Vec<f64> = a.to_f64().iter().zip(b.to_f64()).map(|(&a, b)| f(a, b)).collect();
        let y = apply(name, &[a, b.clone()], &[], vec![], &[DType::F32]).remove(0);
        close(name, &y, &want);
    }
    let relu = apply("ADD", &[a.clone(), floats(&[1], &[-1.0])], &[], vec![(0, F::Byte(1))], &[DType::F32]).remove(0);
    close("ADD with RELU", &relu, &[0.0, 0.0, 6.5, 1.0]);
    type Test = (&'static str, fn(f64, f64) -> bool);
    let tests: &[Test] = &[
        ("EQUAL", |a, b| a == b),
        ("NOT_EQUAL", |a, b| a != b),
        ("LESS", |a, b| a < b),
        ("LESS_EQUAL", |a, b| a <= b),
        ("GREATER", |a, b| a > b),
        ("GREATER_EQUAL", |a, b| a >= b),
    ];
    for (name, f) in tests {
        let want: Vec<f64> = a.to_f64().iter().zip(b.to_f64()).map(|(&a, b)| f64::from(f(a, b))).collect();
        close(name, &apply(name, &[a.clone(), b.clone()], &[], vec![], &[DType::Bool])[0], &want);
    }
    let less = apply("STABLEHLO_COMPARE", &[a, b], &[], vec![(0, F::Int(5))], &[DType::Bool]).remove(0);
    assert_eq!(less.to_i64().unwrap(), [1, 1, 0, 0]);
    let (p, q) = (Tensor::vector(&[true, true, false]), Tensor::vector(&[true, false, false]));
    for (name, want) in [
        ("LOGICAL_AND", [1, 0, 0]),
        ("LOGICAL_OR", [1, 1, 0]),
        ("STABLEHLO_AND", [1, 0, 0]),
        ("STABLEHLO_OR", [1, 1, 0]),
    ] {
        let y = apply(name, &[p.clone(), q.clone()], &[], vec![], &[DType::Bool]).remove(0);
        assert_eq!(y.to_i64().unwrap(), want, "{name}");
    }
    let (m, n) = (Tensor::vector(&[12i32, 5]), Tensor::vector(&[2i32, 1]));
    for (name, want) in [("BITWISE_XOR", [14, 4]), ("RIGHT_SHIFT", [3, 2]), ("STABLEHLO_SHIFT_LEFT", [48, 10])] {
        let y = apply(name, &[m.clone(), n.clone()], &[], vec![], &[DType::I32]).remove(0);
        assert_eq!(y.to_i64().unwrap(), want, "{name}");
    }
}

fn image_cases() {
    let x = ramp(&[1, 4, 4, 2]);
    // A kernel that takes channel 1 of the pixel itself, SAME padding, stride 2, RELU6.
    let w = floats(&[1, 1, 1, 2], &[0.0, 1.0]);
    let conv = vec![(1, F::Int(2)), (2, F::Int(2)), (3, F::Byte(3))];
    let y = apply("CONV_2D", std::slice::from_ref(&x), &[w, floats(&[1], &[1.0])], conv, &[DType::F32]).remove(0);
    assert_eq!(y.shape(), [1, 2, 2, 1]);
    close("CONV_2D", &y, &[2.0, 6.0, 6.0, 6.0]);
    // SAME padding of a 3x3 kernel: the odd row and column come behind.
    let ones = floats(&[1, 3, 3, 1], &[1.0; 9]);
    let y = apply(
        "CONV_2D",
        &[ramp(&[1, 2, 2, 1])],
        &[ones.clone(), floats(&[1], &[0.0])],
        vec![(1, F::Int(2)), (2, F::Int(2))],
        &[DType::F32],
    );
    close("CONV_2D SAME", &y[0], &[6.0]);
    let w = floats(&[1, 1, 1, 4], &[1.0, 2.0, 3.0, 4.0]);
    let options = vec![(0, F::Byte(1)), (1, F::Int(1)), (2, F::Int(1)), (3, F::Int(2))];
    let y = apply(
        "DEPTHWISE_CONV_2D",
        &[floats(&[1, 1, 1, 2], &[10.0, 100.0])],
        &[w, floats(&[4], &[0.0; 4])],
        options,
        &[DType::F32],
    );
    close("DEPTHWISE_CONV_2D", &y[0], &[10.0, 20.0, 300.0, 400.0]);
    let options = vec![(0, F::Byte(1)), (1, F::Int(2)), (2, F::Int(2))];
    let y = ordered(
        "TRANSPOSE_CONV",
        &[1, 2, 0],
        &[floats(&[1, 1, 2, 1], &[1.0, 2.0])],
        &[Tensor::vector(&[1, 3, 5, 1]), ones],
        options,
        &[DType::F32],
    );
    close("TRANSPOSE_CONV", &y[0], &[1., 1., 3., 2., 2., 1., 1., 3., 2., 2., 1., 1., 3., 2., 2.]);
    let w = floats(&[1, 1, 1, 1, 1], &[3.0]);
    let steps = || vec![(0, F::Byte(1)), (1, F::Int(1)), (2, F::Int(1)), (3, F::Int(1))];
    let y = apply("CONV_3D", &[ramp(&[1, 1, 2, 2, 1])], std::slice::from_ref(&w), steps(), &[DType::F32]).remove(0);
    close("CONV_3D", &y, &[0.0, 3.0, 6.0, 9.0]);
    let y = ordered(
        "CONV_3D_TRANSPOSE",
        &[1, 2, 0],
        &[ramp(&[1, 1, 2, 2, 1])],
        &[Tensor::vector(&[1, 1, 2, 2, 1]), w],
        steps(),
        &[DType::F32],
    );
    close("CONV_3D_TRANSPOSE", &y[0], &[0.0, 3.0, 6.0, 9.0]);
    let window = || vec![(0, F::Byte(1)), (1, F::Int(2)), (2, F::Int(2)), (3, F::Int(2)), (4, F::Int(2))];
    let x = ramp(&[1, 2, 2, 1]);
    for (name, want) in [("AVERAGE_POOL_2D", 1.5), ("MAX_POOL_2D", 3.0), ("L2_POOL_2D", 3.5f64.sqrt())] {
        close(name, &apply(name, std::slice::from_ref(&x), &[], window(), &[DType::F32])[0], &[want]);
    }
    let size = Tensor::vector(&[4, 4]);
    let y =
        apply("RESIZE_NEAREST_NEIGHBOR", std::slice::from_ref(&x), std::slice::from_ref(&size), vec![], &[DType::F32]);
    close("RESIZE_NEAREST_NEIGHBOR", &y[0], &[0., 0., 1., 1., 0., 0., 1., 1., 2., 2., 3., 3., 2., 2., 3., 3.]);
    let y = apply(
        "RESIZE_BILINEAR",
        &[ramp(&[1, 1, 2, 1])],
        &[Tensor::vector(&[1, 4])],
        vec![(3, F::Byte(1))],
        &[DType::F32],
    );
    close("RESIZE_BILINEAR", &y[0], &[0.0, 0.25, 0.75, 1.0]);
    let y = apply("SPACE_TO_DEPTH", std::slice::from_ref(&x), &[], vec![(0, F::Int(2))], &[DType::F32]).remove(0);
    close("SPACE_TO_DEPTH", &y, &[0.0, 1.0, 2.0, 3.0]);
    close(
        "DEPTH_TO_SPACE",
        &apply("DEPTH_TO_SPACE", &[y], &[], vec![(0, F::Int(2))], &[DType::F32])[0],
        &[0.0, 1.0, 2.0, 3.0],
    );
    let y = apply(
        "LOCAL_RESPONSE_NORMALIZATION",
        &[floats(&[1, 1, 1, 2], &[1.0, 2.0])],
        &[],
        vec![(0, F::Int(1)), (1, F::Float(1.0)), (2, F::Float(1.0)), (3, F::Float(1.0))],
        &[DType::F32],
    );
    close("LOCAL_RESPONSE_NORMALIZATION", &y[0], &[1.0 / 6.0, 2.0 / 6.0]);
    let y = apply("L2_NORMALIZATION", &[floats(&[1, 2], &[3.0, 4.0])], &[], vec![], &[DType::F32]);
    close("L2_NORMALIZATION", &y[0], &[0.6, 0.8]);
}

fn movement_cases() {
    let x = ramp(&[2, 3]);
    let one = std::slice::from_ref(&x);
    let i = |v: &[i32]| Tensor::vector(v);
    let s = |v: i32| Tensor::scalar(v);
    let f = [DType::F32];
    let cases: Vec<(&str, Vec<Tensor>, Table, Vec<usize>, Vec<f64>)> = vec![
        ("RESHAPE", vec![i(&[3, -1])], vec![], vec![3, 2], vec![0., 1., 2., 3., 4., 5.]),
        ("TRANSPOSE", vec![i(&[1, 0])], vec![], vec![3, 2], vec![0., 3., 1., 4., 2., 5.]),
        ("EXPAND_DIMS", vec![s(-1)], vec![], vec![2, 3, 1], vec![0., 1., 2., 3., 4., 5.]),
        ("TILE", vec![i(&[1, 2])], vec![], vec![2, 6], vec![0., 1., 2., 0., 1., 2., 3., 4., 5., 3., 4., 5.]),
        ("REVERSE_V2", vec![i(&[1])], vec![], vec![2, 3], vec![2., 1., 0., 5., 4., 3.]),
        ("SLICE", vec![i(&[1, 1]), i(&[1, -1])], vec![], vec![1, 2], vec![4., 5.]),
        ("GATHER", vec![i(&[2, 0])], vec![(0, F::Int(1))], vec![2, 2], vec![2., 0., 5., 3.]),
        ("GATHER_ND", vec![Tensor::new(&[2, 2], vec![0, 1, 1, 2]).unwrap()], vec![], vec![2], vec![1., 5.]),
        (
            "PAD",
            vec![Tensor::new(&[2, 2], vec![0, 0, 1, 0]).unwrap()],
            vec![],
            vec![2, 4],
            vec![0., 0., 1., 2., 0., 3., 4., 5.],
        ),
        (
            "PADV2",
            vec![Tensor::new(&[2, 2], vec![0, 0, 0, 1]).unwrap(), Tensor::scalar(9.0f32)],
            vec![],
            vec![2, 4],
            vec![0., 1., 2., 9., 3., 4., 5., 9.],
        ),
        (
            "MIRROR_PAD",
            vec![Tensor::new(&[2, 2], vec![0, 0, 1, 0]).unwrap()],
            vec![],
            vec![2, 4],
            vec![1., 0., 1., 2., 4., 3., 4., 5.],
        ),
        ("BROADCAST_TO", vec![i(&[1, 2, 3])], vec![], vec![1, 2, 3], vec![0., 1., 2., 3., 4., 5.]),
        ("SUM", vec![i(&[1])], vec![], vec![2], vec![3., 12.]),
        ("MEAN", vec![i(&[0])], vec![(0, F::Byte(1))], vec![1, 3], vec![1.5, 2.5, 3.5]),
        ("REDUCE_MAX", vec![i(&[1])], vec![], vec![2], vec![2., 5.]),
        ("REDUCE_MIN", vec![i(&[0, 1])], vec![], vec![], vec![0.]),
        ("REDUCE_PROD", vec![i(&[1])], vec![], vec![2], vec![0., 60.]),
        ("CUMSUM", vec![s(1)], vec![(0, F::Byte(1))], vec![2, 3], vec![0., 0., 1., 0., 3., 7.]),
        (
            "REVERSE_SEQUENCE",
            vec![i(&[2, 3])],
            vec![(0, F::Int(1)), (1, F::Int(0))],
            vec![2, 3],
            vec![1., 0., 2., 5., 4., 3.],
        ),
        ("STABLEHLO_TRANSPOSE", vec![], vec![(0, F::Longs(vec![1, 0]))], vec![3, 2], vec![0., 3., 1., 4., 2., 5.]),
        (
            "STABLEHLO_SLICE",
            vec![],
            vec![(0, F::Longs(vec![0, 1])), (1, F::Longs(vec![2, 3])), (2, F::Longs(vec![1, 1]))],
            vec![2, 2],
            vec![1., 2., 4., 5.],
        ),
        (
            "STABLEHLO_PAD",
            vec![Tensor::scalar(7.0f32)],
            vec![(0, F::Longs(vec![1, 0])), (1, F::Longs(vec![0, 0])), (2, F::Longs(vec![0, 0]))],
            vec![3, 3],
            vec![7., 7., 7., 0., 1., 2., 3., 4., 5.],
        ),
        (
            "STRIDED_SLICE",
            vec![i(&[1, 2]), i(&[2, 0]), i(&[1, -1])],
            vec![(1, F::Int(0)), (4, F::Int(1))],
            vec![2],
            vec![5., 4.],
        ),
    ];
    for (name, constants, options, shape, want) in cases {
        let y = apply(name, one, &constants, options, &f).remove(0);
        assert_eq!(y.shape(), shape, "{name}");
        close(name, &y, &want);
    }
    // Ellipsis and new axis: [..., newaxis, 1].
    let y = apply(
        "STRIDED_SLICE",
        one,
        &[i(&[0, 0, 1]), i(&[0, 0, 2]), i(&[1, 1, 1])],
        vec![(2, F::Int(1)), (3, F::Int(2)), (4, F::Int(4))],
        &f,
    );
    assert_eq!((y[0].shape(), y[0].to_f64()), (&[2, 1][..], vec![1.0, 4.0]));
    let y = apply("CONCATENATION", &[x.clone(), x.clone()], &[], vec![(0, F::Int(0))], &f).remove(0);
    assert_eq!(y.shape(), [4, 3]);
    let y = apply("STABLEHLO_CONCATENATE", &[x.clone(), x.clone()], &[], vec![(0, F::Long(1))], &f).remove(0);
    assert_eq!(y.shape(), [2, 6]);
    let y = apply("PACK", &[x.clone(), x.clone()], &[], vec![(0, F::Int(2)), (1, F::Int(1))], &f).remove(0);
    assert_eq!((y.shape(), y.to_f64()[3]), (&[2, 2, 3][..], 0.0));
    let y = apply("UNPACK", one, &[], vec![(0, F::Int(2)), (1, F::Int(0))], &[DType::F32; 2]);
    assert_eq!(y[1].to_f64(), [3.0, 4.0, 5.0]);
    let y = ordered("SPLIT", &[1, 0], one, &[s(1)], vec![(0, F::Int(3))], &[DType::F32; 3]);
    assert_eq!((y[2].shape(), y[2].to_f64()), (&[2, 1][..], vec![2.0, 5.0]));
    let y = apply("SPLIT_V", one, &[i(&[1, -1]), s(1)], vec![(0, F::Int(2))], &[DType::F32; 2]);
    assert_eq!(y[1].to_f64(), [1.0, 2.0, 4.0, 5.0]);
    let y = apply("SQUEEZE", &[ramp(&[1, 2, 1])], &[], vec![(0, F::Ints(vec![0]))], &f).remove(0);
    assert_eq!(y.shape(), [2, 1]);
    let y = apply(
        "SPACE_TO_BATCH_ND",
        &[ramp(&[1, 2, 2, 1])],
        &[i(&[2, 2]), Tensor::new(&[2, 2], vec![0; 4]).unwrap()],
        vec![],
        &f,
    )
    .remove(0);
    assert_eq!(y.shape(), [4, 1, 1, 1]);
    let y =
        apply("BATCH_TO_SPACE_ND", &[y], &[i(&[2, 2]), Tensor::new(&[2, 2], vec![0, 1, 0, 0]).unwrap()], vec![], &f)
            .remove(0);
    assert_eq!((y.shape(), y.to_f64()), (&[1, 1, 2, 1][..], vec![0.0, 1.0]));
    let y = apply("SHAPE", one, &[], vec![], &[DType::I32]).remove(0);
    assert_eq!(y.to_i64().unwrap(), [2, 3]);
    assert_eq!(apply("RANK", one, &[], vec![], &[DType::I32])[0].to_i64().unwrap(), [2]);
    let y = ordered("FILL", &[1, 0], &[Tensor::scalar(2.5f32)], &[i(&[2])], vec![], &f).remove(0);
    assert_eq!(y.to_f64(), [2.5, 2.5]);
    let y = apply("BROADCAST_ARGS", &[], &[i(&[3]), i(&[2, 1])], vec![], &[DType::I32]).remove(0);
    assert_eq!(y.to_i64().unwrap(), [2, 3]);
    let y = apply("RANGE", &[], &[s(1), s(7), s(3)], vec![], &[DType::I32]).remove(0);
    assert_eq!(y.to_i64().unwrap(), [1, 4]);
    let y = apply("CAST", one, &[], vec![], &[DType::I32]).remove(0);
    assert_eq!(y.to_i64().unwrap(), [0, 1, 2, 3, 4, 5]);
    let y = apply("STABLEHLO_CONVERT", one, &[], vec![], &[DType::I32]).remove(0);
    assert_eq!(y.to_i64().unwrap(), [0, 1, 2, 3, 4, 5]);
    for (name, want) in [("REDUCE_ALL", [0, 1]), ("REDUCE_ANY", [1, 1])] {
        let b = Tensor::new(&[2, 2], vec![true, false, true, true]).unwrap();
        assert_eq!(apply(name, &[b], &[i(&[1])], vec![], &[DType::Bool])[0].to_i64().unwrap(), want, "{name}");
    }
}

fn choice_cases() {
    let x = floats(&[2, 3], &[1.0, 5.0, 2.0, 9.0, 0.0, 4.0]);
    let one = std::slice::from_ref(&x);
    let s = |v: i32| Tensor::scalar(v);
    assert_eq!(apply("ARG_MAX", one, &[s(1)], vec![], &[DType::I32])[0].to_i64().unwrap(), [1, 0]);
    assert_eq!(apply("ARG_MIN", one, &[s(1)], vec![], &[DType::I64])[0].to_i64().unwrap(), [0, 1]);
    let y = apply("TOPK_V2", one, &[s(2)], vec![], &[DType::F32, DType::I32]);
    assert_eq!((y[0].to_f64(), y[1].to_i64().unwrap()), (vec![5.0, 2.0, 9.0, 4.0], vec![1, 2, 0, 2]));
    let (c, a, b) = (Tensor::vector(&[true, false]), ramp(&[2, 2]), floats(&[2, 2], &[9.0; 4]));
    close(
        "SELECT",
        &apply("SELECT", &[c.clone(), a.clone(), b.clone()], &[], vec![], &[DType::F32])[0],
        &[0., 1., 9., 9.],
    );
    close(
        "SELECT_V2",
        &apply("SELECT_V2", &[c.clone(), a.clone(), b.clone()], &[], vec![], &[DType::F32])[0],
        &[0., 9., 2., 9.],
    );
    let wide = Tensor::new(&[2, 2], vec![true, false, false, true]).unwrap();
    close(
        "STABLEHLO_SELECT",
        &apply("STABLEHLO_SELECT", &[wide, a, b], &[], vec![], &[DType::F32])[0],
        &[0., 9., 9., 3.],
    );
    let y = apply("WHERE", &[c], &[], vec![], &[DType::I64]).remove(0);
    assert_eq!((y.shape(), y.to_i64().unwrap()), (&[1, 1][..], vec![0]));
    let y = apply(
        "ONE_HOT",
        &[Tensor::vector(&[1i32, -1])],
        &[s(2), Tensor::scalar(5.0f32), Tensor::scalar(1.0f32)],
        vec![(0, F::Int(-1))],
        &[DType::F32],
    );
    close("ONE_HOT", &y[0], &[1.0, 5.0, 1.0, 1.0]);
    let y =
        ordered("EMBEDDING_LOOKUP", &[0, 1], &[Tensor::vector(&[1i32, 0])], &[ramp(&[2, 2])], vec![], &[DType::F32]);
    close("EMBEDDING_LOOKUP", &y[0], &[2.0, 3.0, 0.0, 1.0]);
    let places = Tensor::new(&[3, 1], vec![1i32, 3, 1]).unwrap();
    let y = ordered(
        "SCATTER_ND",
        &[1, 0, 2],
        &[floats(&[3], &[1.0, 2.0, 4.0])],
        &[places.clone(), Tensor::vector(&[5])],
        vec![],
        &[DType::F32],
    );
    close("SCATTER_ND", &y[0], &[0.0, 5.0, 0.0, 2.0, 0.0]);
    let y = ordered(
        "SPARSE_TO_DENSE",
        &[1, 2, 0, 3],
        &[floats(&[2], &[7.0, 8.0])],
        &[Tensor::vector(&[2i32, 0]), Tensor::vector(&[3]), Tensor::scalar(-1.0f32)],
        vec![],
        &[DType::F32],
    );
    close("SPARSE_TO_DENSE", &y[0], &[8.0, -1.0, 7.0]);
    close(
        "MATRIX_DIAG",
        &apply("MATRIX_DIAG", &[floats(&[2], &[1.0, 2.0])], &[], vec![], &[DType::F32])[0],
        &[1., 0., 0., 2.],
    );
    let y =
        apply("MATRIX_SET_DIAG", &[floats(&[2, 2], &[5.0; 4]), floats(&[2], &[1.0, 2.0])], &[], vec![], &[DType::F32]);
    close("MATRIX_SET_DIAG", &y[0], &[1., 5., 5., 2.]);
    let y = apply(
        "DYNAMIC_UPDATE_SLICE",
        &[ramp(&[4]), floats(&[2], &[8.0, 9.0])],
        &[Tensor::vector(&[3])],
        vec![],
        &[DType::F32],
    );
    close("DYNAMIC_UPDATE_SLICE", &y[0], &[0., 1., 8., 9.]);
    let y = apply(
        "BUCKETIZE",
        &[floats(&[3], &[-1.0, 0.0, 5.0])],
        &[],
        vec![(0, F::Floats(vec![0.0, 2.0]))],
        &[DType::I32],
    );
    assert_eq!(y[0].to_i64().unwrap(), [0, 1, 2]);
    let y = ordered(
        "STABLEHLO_CLAMP",
        &[1, 0, 2],
        &[ramp(&[4])],
        &[Tensor::scalar(1.0f32), Tensor::scalar(2.0f32)],
        vec![],
        &[DType::F32],
    );
    close("STABLEHLO_CLAMP", &y[0], &[1., 1., 2., 2.]);
    // Batches of a gather: row n of the indices reads row n of x.
    let rows = Tensor::new(&[2, 2], vec![2i32, 0, 1, 1]).unwrap();
    let y = apply("GATHER", one, &[rows], vec![(0, F::Int(1)), (1, F::Int(1))], &[DType::F32]).remove(0);
    assert_eq!((y.shape(), y.to_f64()), (&[2, 2][..], vec![2.0, 1.0, 0.0, 0.0]));
}

/// Operators whose output's declared shape matters.
fn declared_cases() {
    for (name, options, want) in [
        ("STABLEHLO_RESHAPE", vec![], [0.0, 1.0, 2.0, 3.0]),
        ("STABLEHLO_BROADCAST_IN_DIM", vec![(0, F::Longs(vec![1]))], [0.0, 1.0, 0.0, 1.0]),
        ("STABLEHLO_IOTA", vec![(0, F::Long(1))], [0.0, 1.0, 0.0, 1.0]),
    ] {
        SEEN.with_borrow_mut(|s| s.insert(name.to_string()));
        let mut g = G::new();
        let x = match name {
            "STABLEHLO_RESHAPE" => ramp(&[4]),
            _ => ramp(&[2]),
        };
        let operand = g.input("x", DType::F32, &dims(x.shape()));
        let y = g.computed("y", DType::F32, &[2, 2], None);
        let operands = if name == "STABLEHLO_IOTA" { vec![] } else { vec![operand] };
        g.op(name, &operands, &[y], options);
        g.output(y);
        close(name, &run(&g.file(), &[x])[0], &want);
    }
}

fn product_cases() {
    let (x, w) = (floats(&[1, 2, 2], &[1.0, 2.0, 3.0, 4.0]), floats(&[1, 2], &[10.0, 1.0]));
    let y =
        apply("FULLY_CONNECTED", &[x], &[w, floats(&[1], &[-20.0])], vec![(0, F::Byte(1))], &[DType::F32]).remove(0);
    assert_eq!((y.shape(), y.to_f64()), (&[2, 1][..], vec![0.0, 14.0]));
    let (a, b) = (ramp(&[2, 1, 2]), ramp(&[2, 1, 2]));
    let y = apply("BATCH_MATMUL", &[a, b], &[], vec![(1, F::Byte(1))], &[DType::F32]).remove(0);
    assert_eq!((y.shape(), y.to_f64()), (&[2, 1, 1][..], vec![1.0, 13.0]));
    let y = apply("SOFTMAX", &[floats(&[1, 2], &[0.0, 1.0])], &[], vec![(0, F::Float(2.0))], &[DType::F32]).remove(0);
    close("SOFTMAX", &y, &[1.0 / (1.0 + 2f64.exp()), 1.0 / (1.0 + (-2f64).exp())]);
    let y = apply("LOG_SOFTMAX", &[floats(&[1, 2], &[1.0, 1.0])], &[], vec![], &[DType::F32]).remove(0);
    close("LOG_SOFTMAX", &y, &[-(2f64.ln()), -(2f64.ln())]);
}

fn recurrent_cases() {
    // One unit, weights 1, recurrent weights 0: y = tanh(x).
    let x = floats(&[1, 2, 1], &[0.5, -1.0]);
    let (one, zero) = (floats(&[1, 1], &[1.0]), floats(&[1, 1], &[0.0]));
    let bias = floats(&[1], &[0.0]);
    let tanh = [0.5f64.tanh(), (-1f64).tanh()];
    let state = floats(&[1, 1], &[0.0]);
    let options = vec![(1, F::Byte(4))];
    let weights = [one.clone(), zero.clone(), bias.clone(), state.clone()];
    let y = apply("UNIDIRECTIONAL_SEQUENCE_RNN", std::slice::from_ref(&x), &weights, options, &[DType::F32]);
    close("UNIDIRECTIONAL_SEQUENCE_RNN", &y[0], &tanh);
    let y = apply("RNN", &[floats(&[1, 1], &[0.5])], &weights, vec![(0, F::Byte(4))], &[DType::F32]);
    close("RNN", &y[0], &tanh[..1]);
    let both = [weights.to_vec(), weights.to_vec()].concat();
    let options = vec![(1, F::Byte(4)), (2, F::Byte(1))];
    let y = apply("BIDIRECTIONAL_SEQUENCE_RNN", std::slice::from_ref(&x), &both, options, &[DType::F32]).remove(0);
    assert_eq!(y.shape(), [1, 2, 2]);
    close("BIDIRECTIONAL_SEQUENCE_RNN", &y, &[tanh[0], tanh[0], tanh[1], tanh[1]]);
    // An LSTM whose gates are half open: c1 = tanh(x) / 2.
    let lstm = |name: &str, directions: usize, options: Table| {
        SEEN.with_borrow_mut(|s| s.insert(name.to_string()));
        let mut g = G::new();
        let mut operands = vec![g.input("x", DType::F32, &[1, 1, 1])];
        for _ in 0..directions {
            for (gate, w) in [(0, 0.0), (1, 0.0), (2, 1.0), (3, 0.0)] {
                assert!(gate < 4);
                operands.push(g.constant(&floats(&[1, 1], &[w])));
            }
            operands.extend((0..4).map(|_| g.constant(&zero)));
            operands.extend([-1; 3]);
            operands.extend((0..4).map(|_| g.constant(&bias)));
            operands.extend([-1; 2]);
        }
        operands.extend((0..2 * directions).map(|_| g.constant(&state)));
        let y = g.computed("y", DType::F32, &[], None);
        g.op(name, &operands, &[y], options);
        g.output(y);
        run(&g.file(), &[floats(&[1, 1, 1], &[0.5])]).remove(0)
    };
    let want = (0.5f64.tanh() / 2.0).tanh() / 2.0;
    close("lstm", &lstm("UNIDIRECTIONAL_SEQUENCE_LSTM", 1, vec![(0, F::Byte(4))]), &[want]);
    let options = vec![(0, F::Byte(4)), (3, F::Byte(1)), (4, F::Byte(0))];
    close("lstm", &lstm("BIDIRECTIONAL_SEQUENCE_LSTM", 2, options), &[want, want]);
}

fn control_cases() {
    let see = |n: &str| SEEN.with_borrow_mut(|s| s.insert(n.to_string()));
    ["WHILE", "IF", "CALL", "CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "STABLEHLO_COMPOSITE"]
        .iter()
        .for_each(|n| {
            see(n);
        });
    // while (i < 3) { i += 1; x += x }
    let scalar = |g: &mut G| (g.input("i", DType::I32, &[]), g.input("x", DType::F32, &[2]));
    let mut condition = G::new();
    let (i, _) = scalar(&mut condition);
    let (three, less) = (condition.constant(&Tensor::scalar(3)), condition.computed("go", DType::Bool, &[], None));
    condition.op("LESS", &[i, three], &[less], vec![]);
    condition.output(less);
    let mut body = G::new();
    let (i, x) = scalar(&mut body);
    let one = body.constant(&Tensor::scalar(1));
    let (next, twice) = (body.computed("next", DType::I32, &[], None), body.computed("twice", DType::F32, &[2], None));
    body.op("ADD", &[i, one], &[next], vec![]);
    body.op("ADD", &[x, x], &[twice], vec![]);
    body.output(next);
    body.output(twice);
    let mut g = G::new();
    let x = g.input("x", DType::F32, &[2]);
    let start = g.constant(&Tensor::scalar(0));
    let (n, y) = (g.computed("n", DType::I32, &[], None), g.computed("y", DType::F32, &[2], None));
    g.op("WHILE", &[start, x], &[n, y], vec![(0, F::Int(1)), (1, F::Int(2))]);
    g.output(y);
    assert_eq!(run(&g.file_with(&[condition, body]), &[ramp(&[2])])[0].to_f64(), [0.0, 8.0]);
    // if (c) x + x else -x; called, as a composite, and chosen while running.
    let branch = |name: &str, twice: bool| {
        let mut b = G::new();
        let x = b.input("x", DType::F32, &[2]);
        let y = b.computed("y", DType::F32, &[2], None);
        b.op(name, &if twice { vec![x, x] } else { vec![x] }, &[y], vec![]);
        b.output(y);
        b
    };
    let bodies = [branch("ADD", true), branch("NEG", false)];
    let mut g = G::new();
    let (c, x) = (g.input("c", DType::Bool, &[1]), g.input("x", DType::F32, &[2]));
    let outs: Vec<i32> = (0..3).map(|i| g.computed(&format!("y{i}"), DType::F32, &[2], None)).collect();
    g.op("IF", &[c, x], &outs[..1], vec![(0, F::Int(1)), (1, F::Int(2))]);
    g.op("CALL", &[x], &outs[1..2], vec![(0, F::Int(1))]);
    g.op("STABLEHLO_COMPOSITE", &[x], &outs[2..], vec![(1, F::Int(2))]);
    outs.iter().for_each(|&o| g.output(o));
    for (c, want) in [(true, [0.0, 2.0]), (false, [0.0, -1.0])] {
        let y = run(&g.file_with(&bodies), &[Tensor::vector(&[c]), ramp(&[2])]);
        assert_eq!(y[0].to_f64(), want);
        assert_eq!((y[1].to_f64(), y[2].to_f64()), (vec![0.0, 2.0], vec![0.0, -1.0]));
    }
    // A variable that is assigned once before, read, and kept from run to run when the graph assigns it.
    let variable = |assigns: bool| {
        let mut first = G::new();
        let handle = first.computed("v", DType::I32, &[], None);
        let value = first.constant(&floats(&[2], &[3.0, 4.0]));
        first.op("VAR_HANDLE", &[], &[handle], vec![(1, F::Text("v".to_string()))]);
        first.op("ASSIGN_VARIABLE", &[handle, value], &[], vec![]);
        let mut g = G::new();
        let x = g.input("x", DType::F32, &[2]);
        let handle = g.computed("v", DType::I32, &[], None);
        let (read, y) = (g.computed("r", DType::F32, &[2], None), g.computed("y", DType::F32, &[2], None));
        g.op("CALL_ONCE", &[], &[], vec![(0, F::Int(1))]);
        g.op("VAR_HANDLE", &[], &[handle], vec![(1, F::Text("v".to_string()))]);
        g.op("READ_VARIABLE", &[handle], &[read], vec![]);
        g.op("ADD", &[x, read], &[y], vec![]);
        if assigns {
            g.op("ASSIGN_VARIABLE", &[handle, y], &[], vec![]);
        }
        g.output(y);
        g.file_with(&[first])
    };
    assert_eq!(run(&variable(false), &[ramp(&[2])])[0].to_f64(), [3.0, 5.0]);
    let error = load(&variable(true)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("keeps a state"), "{error}");
}

fn quantized_cases() {
    SEEN.with_borrow_mut(|s| s.extend(["QUANTIZE", "DEQUANTIZE", "FAKE_QUANT"].map(str::to_string)));
    // f32 -> i8 (scale 1/2, zero 1) -> f32.
    let mut g = G::new();
    let x = g.input("x", DType::F32, &[4]);
    let q = g.computed("q", DType::I8, &[4], Some(Q(vec![0.5], vec![1], 0)));
    let y = g.computed("y", DType::F32, &[4], None);
    g.op("QUANTIZE", &[x], &[q], vec![]);
    g.op("DEQUANTIZE", &[q], &[y], vec![]);
    g.output(q);
    g.output(y);
    let out = run(&g.file(), &[floats(&[4], &[0.0, 0.25, -0.25, 1e6])]);
    assert_eq!(out[0].to_i64().unwrap(), [1, 2, 0, 127]);
    assert_eq!(out[1].to_f64(), [0.0, 0.5, -0.5, 63.0]);
    let meta = &load(&g.file()).unwrap().graph.meta["quantization"];
    assert_eq!((meta["q"]["scale"].as_f64(), meta["q"]["zero_point"].as_i64()), (Some(0.5), Some(1)));
    let options = vec![(0, F::Float(-1.0)), (1, F::Float(1.0)), (2, F::Int(8))];
    let y = apply("FAKE_QUANT", &[floats(&[2], &[0.3, 5.0])], &[], options, &[DType::F32]).remove(0);
    let step = 2.0f64 / 255.0;
    close("FAKE_QUANT", &y, &[(0.3 / step).round() * step, (255.0 - 128.0) * step]);
}

#[test]
fn every_operator_computes_what_it_says() {
    unary_cases();
    binary_cases();
    image_cases();
    movement_cases();
    choice_cases();
    declared_cases();
    product_cases();
    recurrent_cases();
    control_cases();
    quantized_cases();
    let seen = SEEN.with_borrow(Clone::clone);
    let missing: Vec<&str> = operators().filter(|o| o.1 && !seen.contains(o.0)).map(|o| o.0).collect();
    assert!(missing.is_empty(), "rows without a case: {missing:?}");
    assert_eq!(operators().count(), 210);
}

/// A quantized convolution with a scale a channel, written out.
#[test]
fn a_quantized_convolution_is_the_sum_of_its_products() {
    let mut g = G::new();
    let x = g.quantized_input("x", DType::I8, &[1, 1, 2, 1], Q(vec![0.5], vec![-1], 0));
    let w = Tensor::new(&[2, 1, 1, 1], vec![10i8, -20]).unwrap();
    // Dimension 0 has the outputs; the bias says dimension 3, which it does not have.
    let w = g.quantized_constant(&w, Some(Q(vec![0.25, 0.125], vec![0, 0], 0)));
    let b = g.quantized_constant(&Tensor::vector(&[8i32, 0]), Some(Q(vec![0.125, 0.0625], vec![0, 0], 3)));
    let y = g.computed("y", DType::I8, &[1, 1, 2, 2], Some(Q(vec![1.0], vec![3], 0)));
    g.op("CONV_2D", &[x, w, b], &[y], vec![(0, F::Byte(1)), (1, F::Int(1)), (2, F::Int(1)), (3, F::Byte(1))]);
    g.output(y);
    let out = run(&g.file(), &[Tensor::new(&[1, 1, 2, 1], vec![3i8, -5]).unwrap()]).remove(0);
    // (3 + 1) * 10 + 8 = 48 / 8 = 6; (3 + 1) * -20 / 16 = -5; (-5 + 1) * 10 + 8 = -32 / 8 = -4; -4 * -20 / 16 = 5; RELU cuts below 3.
    assert_eq!(out.to_i64().unwrap(), [6 + 3, 3, 3, 5 + 3]);
    let imported = load(&g.file()).unwrap();
    let session = Model::new(imported.graph).session(&Options::default()).unwrap();
    let plan = session.plan().unwrap();
    assert_eq!((plan.transposes(), plan.steps().iter().filter(|s| s.interpreted).count()), (0, 0));
}

#[test]
fn everything_that_is_missing_is_told_at_once() {
    let mut g = G::new();
    let x = g.input("x", DType::F32, &[2]);
    let outs: Vec<i32> = (0..4).map(|i| g.computed(&format!("y{i}"), DType::F32, &[2], None)).collect();
    g.op("RFFT2D", &[x], &outs[..1], vec![]);
    let custom = vec![(0, F::Byte(32)), (1, F::Text("TFLite_Detection_PostProcess".to_string())), (3, F::Int(32))];
    g.code(custom, &[x], &outs[1..2], vec![]);
    g.op("RELU", &[outs[0]], &outs[2..3], vec![]);
    g.op("LEAKY_RELU", &[x], &outs[3..], vec![(7, F::Int(1))]);
    outs.iter().for_each(|&o| g.output(o));
    let error = load(&g.file()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let report = error.report().unwrap();
    let ops: Vec<&str> = report.unsupported().iter().map(|e| e.op.as_str()).collect();
    assert_eq!(ops, ["RFFT2D", "TFLite_Detection_PostProcess", "LEAKY_RELU"], "{error}");
    assert!(error.to_string().contains("y1, operator 1"), "{error}");
    assert!(error.to_string().contains("--fetch"), "{error}");
}

#[test]
fn inner_tensors_are_fed_and_fetched() {
    let mut g = G::new();
    let x = g.input("x", DType::F32, &[2]);
    let (mid, y) = (g.computed("mid", DType::F32, &[2], None), g.computed("y", DType::F32, &[2], None));
    g.op("RFFT2D", &[x], &[mid], vec![]);
    g.op("NEG", &[mid], &[y], vec![]);
    g.output(y);
    let mut options = pocketnn_importer::ImportOptions { feed: vec!["mid".to_string()], ..Default::default() };
    let graph = pocketnn_importer::tflite::import(&g.file(), &options).unwrap().graph;
    let out = Model::new(graph).session(&Options::default()).unwrap().run_tensors(&[ramp(&[2])]).unwrap();
    assert_eq!(out[0].to_f64(), [0.0, -1.0]);
    options.feed = vec!["nowhere".to_string()];
    let error = pocketnn_importer::tflite::import(&g.file(), &options).unwrap_err();
    assert!(error.to_string().contains("`nowhere`"), "{error}");
}

#[test]
fn symbolic_extents_stay_symbolic() {
    let mut g = G::new();
    let x = g.input("x", DType::F32, &[-1, 2]);
    let y = g.computed("y", DType::F32, &[-1, 2], None);
    g.op("RELU", &[x], &[y], vec![]);
    g.output(y);
    let graph = load(&g.file()).unwrap().graph;
    assert_eq!(graph.symbols().into_iter().collect::<Vec<_>>(), ["N"]);
}
