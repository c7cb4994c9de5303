//! Weights that take in scales, shifts, norms, padding; sums and activations that become part of a layer.

use super::support::*;

#[test]
fn norms_and_scales_behind_a_layer_go_into_its_weights() {
    let g = graph(&n_c_h_w(4), |b, x| {
        let y = b.conv_of(x, [8, 2, 3, 3], Conv { groups: 2, ..same() }, 1);
        let y = b.batch_norm(y, 8, 2);
        let y = b.with(BinaryKind::Mul, y, Rng(3).tensor(&[8, 1, 1], 0.5, 1.5));
        let y = b.with_number(BinaryKind::Sub, y, 0.25);
        b.relu(y, "relu").unwrap()
    });
    let (o, r) = optimized(&g);
    assert_eq!((ops(&o), changes(&r, "scale"), changes(&r, "fuse_activation")), (vec!["Conv"], 3, 1));
    assert_eq!(o.value(o.outputs()[0]).name, "relu");
    assert!(matches!(&o.nodes()[0].op, Op::Conv(c) if c.activation == Activation::Relu && c.groups == 2));
}

#[test]
fn transposed_and_dense_layers_fold_too() {
    let g = graph(&n_c_h_w(4), |b, x| {
        let w = b.weights(&[4, 3, 3, 3], 1);
        let up = ConvTranspose { strides: vec![2, 2], groups: 2, ..ConvTranspose::default() };
        let y = b.op(up, &[x, w], "up").unwrap();
        let y = b.batch_norm(y, 6, 2);
        b.activate(Activation::Tanh, y, "tanh").unwrap()
    });
    assert_eq!(left(&g), ["ConvTranspose"]);
    let g = graph(&[Dim::symbol("N"), Dim::from(6)], |b, x| {
        let w = b.weights(&[6, 5], 1);
        let y = b.op(dense::MatMul {}, &[x, w], "product").unwrap();
        let y = b.with(BinaryKind::Add, y, noise(&[5], 2));
        let y = b.batch_norm(y, 5, 3);
        b.relu(y, "relu").unwrap()
    });
    assert_eq!(left(&g), ["Dense"]);
}

#[test]
fn what_is_not_one_number_a_channel_stays_outside() {
    let conv = |b: &mut GraphBuilder, x| b.conv_of(x, [4, 4, 3, 3], same(), 1);
    let known = dims(&[1, 4, 5, 6]);
    // One factor a column.
    untouched(&graph(&known, |b, x| {
        let y = conv(b, x);
        b.with(BinaryKind::Mul, y, noise(&[6], 2))
    }));
    // Another node reads the convolution.
    untouched(&graph(&known, |b, x| {
        let y = conv(b, x);
        let z = b.batch_norm(y, 4, 2);
        let y = b.unary(UnaryKind::Sin, y, "sin").unwrap();
        b.binary(BinaryKind::Mul, y, z, "mul").unwrap()
    }));
    // The weights would not be finite.
    let g = graph(&known, |b, x| {
        let w = b.constant("w", Rng(1).tensor(&[4, 4, 1, 1], -9.0, 9.0));
        let y = b.conv(x, w, None, Conv::default(), "conv").unwrap();
        let y = b.with_number(BinaryKind::Mul, y, 3e38);
        let y = b.activate(Activation::RELU6, y, "relu6").unwrap();
        b.unary(UnaryKind::Sin, y, "sin").unwrap()
    });
    assert_eq!(left(&g), ["Conv", "Binary", "Unary"]);
    // Another axis of a product.
    untouched(&graph(&dims(&[2, 5, 4]), |b, x| {
        let w = b.weights(&[5, 4], 1);
        let y = b.dense(x, w, None, "dense").unwrap();
        b.batch_norm(y, 5, 2)
    }));
}

#[test]
fn scales_in_front_of_a_layer_fold_where_padding_does_not_see_the_shift() {
    let net = |pads: Pads, shift: bool| {
        graph(&n_c_h_w(4), |b, x| {
            let y = b.with(BinaryKind::Mul, x, Rng(3).tensor(&[4, 1, 1], 0.5, 1.5));
            let y = if shift { b.with_number(BinaryKind::Add, y, 0.5) } else { y };
            b.conv_of(y, [4, 4, 3, 3], Conv { pads, ..Conv::default() }, 1)
        })
    };
    assert_eq!(left(&net(Pads::default(), true)), ["Conv"]);
    assert_eq!(left(&net(Pads::SameUpper, false)), ["Conv"]);
    assert_eq!(left(&net(Pads::SameUpper, true)), ["BatchNorm", "Conv"]);
}

#[test]
fn pixels_that_are_scaled_before_the_image_is_transposed_are_scaled_by_the_weights() {
    let net = |channels: usize, shift: f32, pads: Pads| {
        graph(&n_h_w_c(channels), |b, x| {
            let y = b.with(BinaryKind::Mul, x, Rng(3).tensor(&[channels], 0.5, 1.5));
            let y = b.with_number(BinaryKind::Add, y, shift);
            let y = b.transpose(y, &[0, 3, 1, 2], "planar").unwrap();
            b.conv_of(y, [4, channels, 3, 3], Conv { pads, ..Conv::default() }, 1)
        })
    };
    assert_eq!(left(&net(3, 0.0, Pads::SameUpper)), ["Transpose", "Conv"]);
    // One channel moves nothing.
    assert_eq!(left(&net(1, 0.0, Pads::SameUpper)).last(), Some(&"Conv"));
    assert!(!left(&net(1, 0.0, Pads::SameUpper)).iter().any(|&op| op == "Activate" || op == "Binary"));
    assert!(!left(&net(1, -1.0, Pads::default())).iter().any(|&op| op == "Activate" || op == "Binary"));
    assert_eq!(left(&net(3, -1.0, Pads::default())), ["Transpose", "Conv"]);
    let kept = left(&net(3, -1.0, Pads::SameUpper));
    assert!(kept.len() > 2, "{kept:?}");
}

#[test]
fn chains_of_scales_and_shifts_become_one() {
    let g = graph(&n_c_h_w(4), |b, x| {
        let x = b.relu(x, "relu").unwrap();
        let y = b.with(BinaryKind::Sub, x, noise(&[4, 1, 1], 1));
        let y = b.with(BinaryKind::Div, y, Rng(3).tensor(&[4, 1, 1], 0.5, 1.5));
        let y = b.with(BinaryKind::Mul, y, Rng(4).tensor(&[1, 4, 1, 1], 0.5, 1.5));
        let y = b.with(BinaryKind::Add, y, noise(&[4, 1, 1], 5));
        b.unary(UnaryKind::Sin, y, "sin").unwrap()
    });
    assert_eq!(left(&g), ["Activate", "BatchNorm", "Unary"]);
    let g = graph(&n_c_h_w(4), |b, x| {
        let y = b.with_number(BinaryKind::Div, x, 127.5);
        let y = b.with_number(BinaryKind::Sub, y, 1.0);
        b.unary(UnaryKind::Sin, y, "sin").unwrap()
    });
    let (o, _) = optimized(&g);
    assert!(matches!(o.nodes()[0].op, Op::Activate(Activate { kind: Activation::Linear { b: -1.0, .. } })), "{o:?}");
    // Scales of different axes.
    untouched(&graph(&dims(&[1, 4, 5, 6]), |b, x| {
        let y = b.with(BinaryKind::Mul, x, noise(&[4, 1, 1], 1));
        b.with(BinaryKind::Mul, y, noise(&[6], 2))
    }));
}

#[test]
fn zeros_around_an_image_become_pads() {
    let net = |pads: [i64; 8], conv: Conv| {
        graph(&n_c_h_w(4), |b, x| {
            let y = b.with_integers(movement::Pad::default(), x, &[&pads], "pad");
            b.conv_of(y, [4, 4, 3, 3], conv, 1)
        })
    };
    let (o, _) = optimized(&net([0, 0, 1, 2, 0, 0, 3, 0], Conv { pads: Pads::symmetric(&[1, 0]), ..Conv::default() }));
    let want = Pads::Explicit { begin: vec![2, 2], end: vec![4, 0] };
    assert!(ops(&o) == ["Conv"] && matches!(&o.nodes()[0].op, Op::Conv(c) if c.pads == want), "{o:?}");
    // Channels are padded; pixels are cut; the size decides the pads.
    untouched(&net([0, 0, 0, 0, 0, 0, 0, -1], Conv::default()));
    untouched(&net([0, 0, 1, 1, 0, 0, 1, 1], same()));
    untouched(&graph(&n_c_h_w(4), |b, x| {
        let (pads, one) = (b.integers(&[0, 0, 1, 1, 0, 0, 1, 1]), b.scalar(1.0f32));
        let y = b.op(movement::Pad::default(), &[x, pads, one], "pad").unwrap();
        b.conv_of(y, [4, 4, 3, 3], Conv::default(), 1)
    }));
}

#[test]
fn zeros_around_a_pool_become_pads_only_where_they_count_the_same() {
    let net = |pool: Pool, before: Activation| {
        graph(&n_c_h_w(4), |b, x| {
            let y = b.activate(before, x, "before").unwrap();
            let y = b.with_integers(movement::Pad::default(), y, &[&[0, 0, 1, 1, 0, 0, 1, 1]], "pad");
            b.op(pool, &[y], "pool").unwrap()
        })
    };
    let of = |kind| Pool { kind, kernel: vec![3, 3], strides: vec![2, 2], ..Pool::default() };
    let folded = ["Activate", "Pool"];
    assert_eq!(left(&net(of(PoolKind::Max), Activation::Relu)), folded);
    assert_eq!(left(&net(of(PoolKind::Average), Activation::Tanh)), folded);
    untouched(&net(of(PoolKind::Max), Activation::Tanh));
    untouched(&net(Pool { ceil_mode: true, ..of(PoolKind::Average) }, Activation::Tanh));
    untouched(&net(Pool { pads: Pads::symmetric(&[1, 1]), ..of(PoolKind::Average) }, Activation::Tanh));
    untouched(&net(Pool { kernel: vec![1, 1], ..of(PoolKind::Max) }, Activation::Relu));
}

#[test]
fn a_sum_becomes_the_residual_of_the_later_convolution() {
    let g = graph(&n_c_h_w(4), |b, x| {
        let y = b.conv_of(x, [4, 4, 3, 3], same(), 1);
        let z = b.relu(y, "relu1").unwrap();
        let z = b.conv_of(z, [4, 4, 3, 3], same(), 2);
        let s = b.conv_of(x, [4, 4, 1, 1], Conv::default(), 3);
        let z = b.binary(BinaryKind::Add, z, s, "sum").unwrap();
        b.relu(z, "relu2").unwrap()
    });
    let (o, r) = optimized(&g);
    assert_eq!((ops(&o), changes(&r, "fuse_residual")), (vec!["Conv", "Conv", "Conv"], 1));
    let last = o.nodes().last().unwrap();
    assert!(matches!(&last.op, Op::Conv(c) if c.activation == Activation::Relu));
    assert_eq!((last.inputs.len(), o.value(last.outputs[0]).name.as_str()), (4, "relu2"));
}

#[test]
fn sums_that_broadcast_or_are_read_twice_stay() {
    let net = |c: usize, twice: bool| {
        graph(&n_c_h_w(4), |b, x| {
            let y = b.conv_of(x, [4, 4, 3, 3], same(), 1);
            let z = b.conv_of(x, [c, 4, 1, 1], Conv::default(), 2);
            let z = b.unary(UnaryKind::Sin, z, "sin").unwrap();
            let s = b.binary(BinaryKind::Add, y, z, "sum").unwrap();
            if twice { b.binary(BinaryKind::Mul, s, y, "again").unwrap() } else { s }
        })
    };
    assert_eq!(left(&net(4, false)), ["Conv", "Unary", "Conv"].map(|o| o));
    assert_eq!(count(&optimized(&net(1, false)).0, "Binary"), 1);
    assert_eq!(count(&optimized(&net(4, true)).0, "Binary"), 2);
}

#[test]
fn activations_fuse_into_what_only_they_read() {
    let sum = |b: &mut GraphBuilder, x: ValueId| {
        let y = b.unary(UnaryKind::Sin, x, "sin").unwrap();
        b.binary(BinaryKind::Mul, x, y, "mul").unwrap()
    };
    let g = graph(&n_c_h_w(4), |b, x| {
        let y = sum(b, x);
        b.unary(UnaryKind::Tanh, y, "tanh").unwrap()
    });
    let (o, _) = optimized(&g);
    assert!(matches!(&o.nodes()[1].op, Op::Binary(b) if b.activation == Activation::Tanh), "{o:?}");
    // Sine is no activation; a comparison has none; a value that the caller sees keeps its own node.
    untouched(&graph(&n_c_h_w(4), |b, x| {
        let y = sum(b, x);
        b.unary(UnaryKind::Sin, y, "sin2").unwrap()
    }));
    let mut b = GraphBuilder::new("g");
    let x = b.input("x", DType::F32, n_c_h_w(4));
    let y = sum(&mut b, x);
    let z = b.relu(y, "relu").unwrap();
    b.output(z);
    b.output(y);
    untouched(&b.finish().unwrap());
}

#[test]
fn matrix_products_of_variables_stay() {
    untouched(&graph(&dims(&[2, 3, 3]), |b, x| b.op(dense::MatMul {}, &[x, x], "square").unwrap()));
    untouched(&graph(&dims(&[2, 3, 3]), |b, x| {
        let w = b.weights(&[2, 3, 4], 1);
        b.op(dense::MatMul {}, &[x, w], "batches").unwrap()
    }));
    let g = graph(&dims(&[2, 3, 3]), |b, x| {
        let w = b.weights(&[1, 3, 4], 1);
        b.op(dense::MatMul {}, &[x, w], "one").unwrap()
    });
    assert_eq!(left(&g), ["Dense"]);
}
