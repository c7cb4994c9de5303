//! Convolutions, pools and products as ops: the planned run against the naive interpretation, from every memory format.

use pocketnn::ops::activation::{Activate, Activation};
use pocketnn::ops::conv::{Conv, ConvTranspose, Pads};
use pocketnn::ops::dense::{Dense, MatMul};
use pocketnn::ops::elementwise::{Binary, BinaryKind};
use pocketnn::ops::pool::{MaxPoolWithIndices, Pool, PoolKind};
use pocketnn::plan::interpret;
use pocketnn::{DType, Dim, GraphBuilder, Tensor, ValueId};
use pocketnn_tests::support::{Rng, SOURCES, check_planned, image};

fn weights(b: &mut GraphBuilder, rng: &mut Rng, shape: &[usize]) -> ValueId {
    b.constant("w", Tensor::new(shape, rng.floats(shape.iter().product())).unwrap())
}

/// The sums here have at most some hundred terms below 1.
fn check(b: GraphBuilder, inputs: &[Tensor], place: &str) {
    check_planned(b, inputs, 5e-5, place);
}

#[test]
fn convolutions() {
    let mut rng = Rng::new(31);
    for source in SOURCES {
        for (c, o, groups) in [(3, 16, 1), (1, 8, 1), (8, 20, 1), (16, 16, 16), (12, 24, 3), (4, 4, 4)] {
            for (pads, strides) in [(Pads::SameUpper, vec![2, 2]), (Pads::symmetric(&[1, 0]), vec![])] {
                let mut b = GraphBuilder::new("test");
                let (x, data) = image(&mut b, &mut rng, "x", source, &[2, c, 9, 7]);
                let w = weights(&mut b, &mut rng, &[o, c / groups, 3, 3]);
                let bias = weights(&mut b, &mut rng, &[o]);
                let activation = rng.pick(&[Activation::Relu, Activation::HARD_SWISH]);
                let op = Conv { pads, strides, groups, activation, ..Conv::default() };
                let y = b.op(op, &[x, w, bias], "tested").unwrap();
                // A second one wants a halo, and the first is its residual.
                let w = weights(&mut b, &mut rng, &[o, o, 3, 3]);
                let op = Conv { pads: Pads::symmetric(&[1, 1]), activation, ..Conv::default() };
                let bias = weights(&mut b, &mut rng, &[o]);
                let z = b.op(op, &[y, w, bias, y], "tested").unwrap();
                b.output(z);
                check(b, &[data], &format!("{source} {c} {o} {groups}"));
            }
        }
    }
}

#[test]
fn convolutions_along_one_axis_and_three() {
    let mut rng = Rng::new(32);
    for source in SOURCES {
        for shape in [&[1, 5, 11][..], &[1, 9, 3, 4, 5]] {
            let mut b = GraphBuilder::new("test");
            let (x, data) = image(&mut b, &mut rng, "x", source, shape);
            let rank = shape.len() - 2;
            let w: Vec<usize> = [10, shape[1]].into_iter().chain(vec![3; rank]).collect();
            let w = weights(&mut b, &mut rng, &w);
            let op = Conv { pads: Pads::SameLower, dilations: vec![1; rank], ..Conv::default() };
            let y = b.op(op, &[x, w], "tested").unwrap();
            b.output(y);
            check(b, &[data], &format!("{source} {shape:?}"));
        }
    }
}

#[test]
fn transposed_convolutions() {
    let mut rng = Rng::new(33);
    for source in SOURCES {
        for (c, o, groups) in [(3, 8, 1), (16, 5, 1), (8, 8, 4)] {
            for pads in [Pads::SameUpper, Pads::symmetric(&[1, 2]), Pads::default()] {
                let mut b = GraphBuilder::new("test");
                let (x, data) = image(&mut b, &mut rng, "x", source, &[1, c, 4, 6]);
                let w = weights(&mut b, &mut rng, &[c, o / groups, 3, 4]);
                let op = ConvTranspose { strides: vec![2, 2], pads, groups, ..ConvTranspose::default() };
                let y = b.op(op, &[x, w], "tested").unwrap();
                b.output(y);
                check(b, &[data], &format!("{source} {c} {o} {groups}"));
            }
        }
    }
}

#[test]
fn pools() {
    let mut rng = Rng::new(34);
    for source in SOURCES {
        for kind in [PoolKind::Max, PoolKind::Average, PoolKind::Lp] {
            for (pads, ceil_mode) in [(Pads::SameUpper, false), (Pads::symmetric(&[1, 1]), true)] {
                let mut b = GraphBuilder::new("test");
                let (x, data) = image(&mut b, &mut rng, "x", source, &[2, 11, 8, 5]);
                let (kernel, strides) = (vec![3, 2], vec![2, 2]);
                let op =
                    Pool { kind, kernel, strides, pads, ceil_mode, count_include_pad: ceil_mode, ..Pool::default() };
                let y = b.op(op, &[x], "tested").unwrap();
                b.output(y);
                check(b, &[data], &format!("{source} {kind:?} {ceil_mode}"));
            }
        }
    }
}

#[test]
fn a_dense_layer_reads_a_flattened_image_as_it_lies() {
    let mut rng = Rng::new(35);
    for source in SOURCES {
        for (n, c) in [(1, 16), (1, 11), (3, 8)] {
            let mut b = GraphBuilder::new("test");
            let (x, data) = image(&mut b, &mut rng, "x", source, &[n, c, 3, 4]);
            let flat = b.flatten(x, "flat").unwrap();
            let w = weights(&mut b, &mut rng, &[10, c * 12]);
            let bias = weights(&mut b, &mut rng, &[10]);
            let y = b.op(Dense { activation: Activation::Relu }, &[flat, w, bias], "tested").unwrap();
            b.output(y);
            check(b, &[data], &format!("{source} {n} {c}"));
        }
    }
}

#[test]
fn products() {
    let mut rng = Rng::new(36);
    for (a, c) in
        [(&[2, 3, 4][..], &[4, 5][..]), (&[2, 1, 3, 4], &[3, 4, 17]), (&[4], &[2, 4, 3]), (&[3, 4], &[4]), (&[4], &[4])]
    {
        for constant in [false, true] {
            let mut b = GraphBuilder::new("test");
            let dims = |s: &[usize]| s.iter().map(|&d| Dim::from(d)).collect::<Vec<_>>();
            let x = b.input("x", DType::F32, dims(a));
            let mut inputs = vec![Tensor::new(a, rng.floats(a.iter().product())).unwrap()];
            let w = if constant {
                weights(&mut b, &mut rng, c)
            } else {
                inputs.push(Tensor::new(c, rng.floats(c.iter().product())).unwrap());
                b.input("w", DType::F32, dims(c))
            };
            let y = b.op(MatMul {}, &[x, w], "tested").unwrap();
            b.output(y);
            check(b, &inputs, &format!("{a:?} {c:?} {constant}"));
        }
    }
}

#[test]
fn a_maximum_knows_where_it_was() {
    let mut b = GraphBuilder::new("test");
    let x = b.input("x", DType::F32, [1, 1, 2, 4].map(Dim::from));
    let op = MaxPoolWithIndices {
        kernel: vec![2, 2],
        strides: vec![2, 2],
        column_major: true,
        ..MaxPoolWithIndices::default()
    };
    let y = b.node(op, &[Some(x)], 2, "pool").unwrap();
    y.iter().for_each(|&v| b.output(v));
    let graph = b.finish().unwrap();
    let x = Tensor::new(&[1, 1, 2, 4], vec![1.0f32, 2., 8., 7., 4., 3., 5., 6.]).unwrap();
    let y = interpret(&graph, &[x], |_, _| Ok(())).unwrap();
    assert_eq!((y[0].to_f32(), y[1].to_i64().unwrap()), (vec![4.0, 8.0], vec![1, 4]));
}

#[test]
fn a_residual_may_lie_where_the_output_lies() {
    let mut rng = Rng::new(37);
    let mut b = GraphBuilder::new("test");
    let (x, data) = image(&mut b, &mut rng, "x", "blocked", &[1, 16, 5, 5]);
    let (w, v) = (weights(&mut b, &mut rng, &[16, 16, 1, 1]), weights(&mut b, &mut rng, &[16, 16, 1, 1]));
    let y = b.op(Conv::default(), &[x, w], "tested").unwrap();
    let r = b.op(Activate::new(Activation::Relu), &[x], "relu").unwrap();
    let no_bias = b.constant("zeros", Tensor::zeros(DType::F32, &[16]).unwrap());
    let z = b.op(Conv::default(), &[y, v, no_bias, r], "tested").unwrap();
    let sum = b.op(Binary { kind: BinaryKind::Add, ..Binary::default() }, &[z, z], "sum").unwrap();
    b.output(sum);
    check(b, &[data], "residual");
}
