//! Images, and elements that move.

use super::*;
use crate::tflite_support::{F, G, Table, run};
use pocketnn::{DType, Tensor};

pub fn image_cases() {
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

pub fn movement_cases() {
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

/// Operators whose output's declared shape matters.
pub fn declared_cases() {
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
