//! Elements, choices and products.

use super::*;
use crate::tflite_support::F;
use pocketnn::{DType, Tensor};

pub fn unary_cases() {
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

pub fn binary_cases() {
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

pub fn choice_cases() {
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

pub fn product_cases() {
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
