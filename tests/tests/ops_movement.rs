//! Movement, gather, resize and recurrent ops: the planned run against the naive interpretation, in every memory format that a
//! producer may give.

use pocketnn::ops::activation::{Activate, Activation};
use pocketnn::ops::gather::Gather;
use pocketnn::ops::movement::*;
use pocketnn::ops::resize::{Coordinates, Resize, ResizeMode};
use pocketnn::{DType, Dim, GraphBuilder, Model, Op, Options, Tensor};
use pocketnn_tests::support::{Rng, SOURCES, check_planned, image};

const SHAPE: [usize; 4] = [2, 16, 4, 6];

fn check(b: GraphBuilder, inputs: &[Tensor], place: &str) {
    check_planned(b, inputs, 2e-5, place);
}

/// An op on an image from every source and constant operands, followed by something that takes its output as it comes.
fn on_images(op: impl Into<Op>, operands: &[Option<Tensor>], outputs: usize) {
    let op = op.into();
    for source in SOURCES {
        let (mut b, mut rng) = (GraphBuilder::new("test"), Rng::new(7));
        let (x, data) = image(&mut b, &mut rng, "x", source, &SHAPE);
        let mut inputs = vec![Some(x)];
        for t in operands {
            inputs.push(t.as_ref().map(|t| b.constant("operand", t.clone())));
        }
        for (i, y) in b.node(op.clone(), &inputs, outputs, "tested").unwrap().into_iter().enumerate() {
            b.output(y);
            let next = b.op(Activate::new(Activation::Sigmoid), &[y], &format!("next {i}")).unwrap();
            b.output(next);
        }
        check(b, &[data], &format!("{op:?} {operands:?} {source}"));
    }
}

#[allow(clippy::unnecessary_wraps, reason = "an operand that is there, beside others that are not")]
fn ints(x: &[i64]) -> Option<Tensor> {
    Some(Tensor::vector(x))
}

#[test]
fn shapes_change_without_a_copy_or_with_one() {
    for shape in [[0, -1].as_slice(), &[2, 384], &[2, 16, 24], &[2, 16, 1, 4, 6], &[2, 16, 4, 6], &[-1], &[2, 2, 8, 24]]
    {
        on_images(Reshape::default(), &[ints(shape)], 1);
    }
    on_images(Identity {}, &[], 1);
    on_images(Unsqueeze {}, &[ints(&[2])], 1);
    on_images(Unsqueeze {}, &[ints(&[0])], 1);
}

#[test]
fn axes_are_permuted() {
    for perm in [[0, 2, 3, 1], [0, 3, 1, 2], [0, 1, 3, 2], [1, 0, 2, 3], [3, 2, 1, 0], [0, 1, 2, 3]] {
        on_images(Transpose { perm: perm.to_vec() }, &[], 1);
    }
}

#[test]
fn parts_of_images() {
    let slice = |axes: &[i64], starts: &[i64], ends: &[i64], steps: &[i64]| {
        on_images(Slice {}, &[ints(starts), ints(ends), ints(axes), ints(steps)], 1);
    };
    slice(&[1], &[8], &[16], &[1]);
    slice(&[1], &[3], &[9], &[1]);
    slice(&[2, 3], &[1, 2], &[3, 100], &[1, 1]);
    slice(&[1, 3], &[0, -1], &[5, -100], &[1, -2]);
    slice(&[0], &[1], &[2], &[1]);
    on_images(Split { axis: 1 }, &[], 2);
    on_images(Split { axis: 1 }, &[ints(&[3, 5, 8])], 3);
    on_images(Split { axis: -1 }, &[ints(&[2, 4])], 2);
    on_images(Split { axis: 0 }, &[], 2);
    on_images(Reverse { axes: vec![1, -1] }, &[], 1);
}

#[test]
fn padding_and_repetition() {
    for mode in PadMode::ALL {
        on_images(Pad { mode: *mode }, &[ints(&[0, 0, 1, 2, 0, 0, 0, 3])], 1);
        on_images(Pad { mode: *mode }, &[ints(&[0, 1, 0, 0, 0, 2, 0, 1])], 1);
    }
    on_images(Pad::default(), &[ints(&[-1, 2, 2, -3]), None, ints(&[2, 3])], 1);
    on_images(Pad::default(), &[ints(&[1, 1, 1, 1]), Some(Tensor::scalar(0.5f32)), ints(&[2, 3])], 1);
    on_images(Tile {}, &[ints(&[1, 2, 1, 3])], 1);
    on_images(Expand {}, &[ints(&[3, 1, 1, 1, 6])], 1);
    on_images(Expand {}, &[ints(&[1, 1])], 1);
}

#[test]
fn channels_become_pixels_and_back() {
    for order in [DepthOrder::Dcr, DepthOrder::Crd] {
        on_images(DepthToSpace { block: 2, order }, &[], 1);
        on_images(SpaceToDepth { block: 2, order }, &[], 1);
    }
}

#[test]
fn images_are_joined() {
    for axis in [1, -1, 2, 0] {
        for sources in [["blocked", "blocked"], ["blocked", "plain"], ["plain", "channels last"]] {
            for channels in [8, 5] {
                let (mut b, mut rng) = (GraphBuilder::new("test"), Rng::new(3));
                let mut other = SHAPE;
                other[1] = if axis == 1 { channels } else { SHAPE[1] };
                let (x, first) = image(&mut b, &mut rng, "x", sources[0], &other);
                let (y, second) = image(&mut b, &mut rng, "y", sources[1], &SHAPE);
                let joined = b.op(Concat { axis }, &[x, y, x], "tested").unwrap();
                b.output(joined);
                let next = b.op(Activate::new(Activation::Sigmoid), &[joined], "next").unwrap();
                b.output(next);
                check(b, &[first, second], &format!("concat {axis} {sources:?} {channels}"));
            }
        }
    }
}

#[test]
fn every_element_type_moves() {
    for dtype in DType::ALL.iter().filter(|d| d.is_plain() || d.is_narrow()) {
        let mut b = GraphBuilder::new("test");
        let x = b.input("x", *dtype, vec![Dim::from(3), Dim::from(4)]);
        let bytes: Vec<u8> = (0..12 * dtype.size()).map(|i| (i % 2) as u8).collect();
        let data = Tensor::from_bytes(*dtype, &[3, 4], &bytes).unwrap();
        let y = b.transpose(x, &[1, 0], "first").unwrap();
        let y = b.op(Concat { axis: 1 }, &[y, y], "tested").unwrap();
        b.output(y);
        check(b, &[data], &format!("{dtype}"));
    }
}

#[test]
fn slices_are_gathered_and_wrong_indices_are_errors() {
    let mut b = GraphBuilder::new("test");
    let (table, rows) = (b.constant("table", Tensor::new(&[5, 3], (0..15u8).collect()).unwrap()), Dim::from(4));
    let tokens = b.input("tokens", DType::I32, vec![rows]);
    let y = b.op(Gather { axis: 0 }, &[table, tokens], "tested").unwrap();
    b.output(y);
    let graph = b.finish().unwrap();
    let mut session = Model::new(graph).session(&Options::default()).unwrap();
    let y = session.run_tensors(&[Tensor::vector(&[0i32, -1, 2, 4])]).unwrap();
    assert_eq!(y[0].to_i64().unwrap(), [0, 1, 2, 12, 13, 14, 6, 7, 8, 12, 13, 14]);
    let e = session.run_tensors(&[Tensor::vector(&[0i32, 5, 0, 0])]).unwrap_err().to_string();
    assert!(e.contains("Gather `tested`") && e.contains("index 5 is outside an axis of 5"), "{e}");
    assert!(session.run_tensors(&[Tensor::vector(&[1i32; 4])]).is_ok());
    assert!(!session.plan().unwrap().steps().iter().any(|s| s.interpreted));
}

#[test]
fn images_are_resampled() {
    let scales = Some(Tensor::vector(&[2.0f32, 1.5]));
    for mode in ResizeMode::ALL {
        for coordinates in [Coordinates::HalfPixel, Coordinates::AlignCorners, Coordinates::Asymmetric] {
            let op = Resize { mode: *mode, coordinates, axes: vec![2, 3], ..Resize::default() };
            on_images(op.clone(), &[None, scales.clone()], 1);
            on_images(op, &[None, None, ints(&[3, 9])], 1);
        }
    }
}

#[test]
fn recurrent_layers_of_all_kinds() {
    use pocketnn::ops::recurrent::{Direction, Gru, Lstm, Rnn};
    let ops = |direction| {
        [
            (Op::from(Lstm { direction, hidden: 5, ..Lstm::default() }), 4, 3),
            (Op::from(Gru { direction, hidden: 5, ..Gru::default() }), 3, 2),
            (Op::from(Gru { direction, hidden: 5, linear_before_reset: true, ..Gru::default() }), 3, 2),
            (Op::from(Rnn { direction, hidden: 5, clip: Some(0.5), ..Rnn::default() }), 1, 2),
        ]
    };
    for direction in Direction::ALL {
        let d = if *direction == Direction::Both { 2 } else { 1 };
        for (op, gates, outputs) in ops(*direction) {
            let (mut b, mut rng) = (GraphBuilder::new("test"), Rng::new(1));
            let mut tensor = |shape: &[usize]| Tensor::new(shape, rng.floats(shape.iter().product())).unwrap();
            let data = [tensor(&[4, 2, 3]), Tensor::vector(&[4i32, 2]), tensor(&[d, 2, 5])];
            let x = b.input("x", DType::F32, [4usize, 2, 3].map(Dim::from));
            let lengths = b.input("lengths", DType::I32, vec![Dim::from(2)]);
            let h = b.input("h", DType::F32, [d, 2, 5].map(Dim::from));
            let w = b.constant("w", tensor(&[d, gates * 5, 3]));
            let r = b.constant("r", tensor(&[d, gates * 5, 5]));
            let bias = b.constant("b", tensor(&[d, gates * 10]));
            let inputs = [x, w, r, bias, lengths, h].map(Some);
            for y in b.node(op.clone(), &inputs, outputs, "tested").unwrap() {
                b.output(y);
            }
            check(b, &data, &format!("{op:?}"));
        }
    }
}
