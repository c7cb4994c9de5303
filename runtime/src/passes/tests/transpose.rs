//! Transposes that cancel, move, are absorbed, or stay.

use super::super::{permuted_name, permuted_source};
use super::support::*;

fn transposes(g: &Graph) -> usize {
    count(&optimized(g).0, "Transpose")
}

#[test]
fn a_channels_last_network_keeps_one_transpose_at_each_end() {
    let g = graph(&n_h_w_c(3), |b, x| {
        let x = b.with_number(BinaryKind::Mul, x, 1.0 / 255.0);
        let y = b.first(x);
        let y = b.conv_of(y, [8, 3, 3, 3], Conv { strides: vec![2, 2], ..same() }, 1);
        let y = b.last(y);
        let y = b.with(BinaryKind::Add, y, noise(&[8], 2));
        let y = b.first(y);
        let y = b.batch_norm(y, 8, 3);
        let y = b.last(y);
        let y = b.relu(y, "relu").unwrap();
        let p = b.with_integers(movement::Pad::default(), y, &[&[0, 0, 0, 0, 0, 1, 1, 0]], "pad");
        let z = b.first(p);
        let z = b.conv_of(z, [8, 8, 2, 2], Conv::default(), 4);
        let z = b.last(z);
        let z = b.binary(BinaryKind::Add, z, y, "residual").unwrap();
        let c = b.op(movement::Concat { axis: -1 }, &[z, y], "concat").unwrap();
        let c = b.first(c);
        let c = b.op(Pool { kernel: vec![2, 2], ..Pool::default() }, &[c], "pool").unwrap();
        b.last(c)
    });
    let (o, _) = optimized(&g);
    assert_eq!(ops(&o), ["Transpose", "Conv", "Conv", "Concat", "Pool", "Transpose"]);
}

#[test]
fn means_and_excitations_follow_the_layout() {
    let g = graph(&n_h_w_c(4), |b, x| {
        let y = b.first(x);
        let y = b.conv_of(y, [8, 4, 3, 3], same(), 1);
        let y = b.last(y);
        let m = b.with_integers(
            Reduce { kind: ReduceKind::Mean, keep_dims: false, ..Reduce::default() },
            y,
            &[&[1, 2]],
            "mean",
        );
        let w = b.weights(&[8, 8], 2);
        let s = b.dense(m, w, None, "excite").unwrap();
        let s = b.reshape(s, &[-1, 1, 1, 8], "spread").unwrap();
        let s = b.activate(Activation::Sigmoid, s, "gate").unwrap();
        let y = b.binary(BinaryKind::Mul, y, s, "scaled").unwrap();
        let y = b.first(y);
        let y = b.conv_of(y, [5, 8, 1, 1], Conv::default(), 3);
        let y = b.last(y);
        let max = Reduce { kind: ReduceKind::Max, keep_dims: false, noop_with_empty_axes: true };
        b.with_integers(max, y, &[&[1, 2]], "max")
    });
    let (o, _) = optimized(&g);
    assert_eq!((count(&o, "Transpose"), ops(&o)[0]), (1, "Transpose"));
}

#[test]
fn flattening_reorders_the_weights_behind_it() {
    let net = |known: bool| {
        let shape = if known { dims(&[2, 4, 5, 3]) } else { n_h_w_c(3) };
        graph(&shape, |b, x| {
            let y = b.first(x);
            let y = b.conv_of(y, [6, 3, 3, 3], Conv { pads: Pads::SameUpper, ..Conv::default() }, 1);
            let y = b.last(y);
            let y = b.relu(y, "relu").unwrap();
            let y = b.flatten(y, "flat").unwrap();
            if !known {
                return y;
            }
            let y = b.with(BinaryKind::Mul, y, noise(&[120], 9));
            let w = b.weights(&[7, 120], 2);
            b.dense(y, w, None, "dense").unwrap()
        })
    };
    let (o, _) = optimized(&net(true));
    assert_eq!((count(&o, "Transpose"), count(&o, "Reshape")), (1, 1));
    assert!(o.find("flat").is_none(), "features in another order keep no name");
    // Nobody takes the order of the features: the second transpose stays.
    assert_eq!(transposes(&net(false)), 2);
}

#[test]
fn a_layer_that_makes_an_image_makes_it_in_the_right_order() {
    let net = |seen: bool| {
        let mut b = GraphBuilder::new("g");
        let x = b.input("x", DType::F32, vec![Dim::symbol("N"), Dim::from(6)]);
        let (w, bias) = (b.weights(&[48, 6], 1), b.constant("bias", noise(&[48], 2)));
        let y = b.dense(x, w, Some(bias), "dense").unwrap();
        let y = b.unary(UnaryKind::Tanh, y, "tanh").unwrap();
        if seen {
            b.output(y);
        }
        let y = b.reshape(y, &[-1, 4, 4, 3], "image").unwrap();
        let y = b.activate(Activation::LeakyRelu { alpha: 0.2 }, y, "leaky").unwrap();
        let y = b.first(y);
        let y = b.conv_of(y, [2, 3, 3, 3], same(), 3);
        b.output(y);
        b.finish().unwrap()
    };
    assert_eq!(transposes(&net(false)), 0);
    assert_eq!(transposes(&net(true)), 1);
}

#[test]
fn transposes_that_move_nothing_become_reshapes() {
    let g = graph(&[Dim::symbol("N"), Dim::symbol("H"), Dim::symbol("W"), Dim::from(1)], |b, x| {
        let y = b.unary(UnaryKind::Sin, x, "sin").unwrap();
        let y = b.first(y);
        b.conv_of(y, [2, 1, 3, 3], same(), 1)
    });
    assert_eq!(transposes(&g), 0);
    let g = graph(&[Dim::symbol("N"), Dim::from(5), Dim::from(1), Dim::from(1)], GraphBuilder::last);
    assert_eq!(left(&g), ["Reshape"]);
    untouched(&graph(&dims(&[2, 5, 3, 1]), |b, x| b.transpose(x, &[0, 2, 1, 3], "t").unwrap()));
}

#[test]
fn a_channel_shuffle_stays() {
    let g = graph(&n_c_h_w(6), |b, x| {
        let y = b.conv_of(x, [6, 6, 1, 1], Conv::default(), 1);
        let y = b.reshape(y, &[0, 2, 3, 7, 6], "split").unwrap();
        let y = b.transpose(y, &[0, 2, 1, 3, 4], "shuffle").unwrap();
        let y = b.reshape(y, &[0, 6, 7, 6], "join").unwrap();
        b.conv_of(y, [6, 6, 1, 1], Conv::default(), 2)
    });
    untouched(&g);
}

#[test]
fn a_pixel_shuffle_becomes_one_op() {
    let net = |split: &[i64], perm: &[usize], joined: &[i64]| {
        graph(&dims(&[2, 12, 3, 5]), |b, x| {
            let y = b.reshape(x, split, "split").unwrap();
            let y = b.transpose(y, perm, "blocks").unwrap();
            b.reshape(y, joined, "join").unwrap()
        })
    };
    let block = |g: &Graph| match &optimized(g).0.nodes()[0].op {
        Op::DepthToSpace(d) => Some((d.block, d.order)),
        _ => None,
    };
    let crd = net(&[2, 3, 2, 2, 3, 5], &[0, 1, 4, 2, 5, 3], &[2, 3, 6, 10]);
    assert_eq!(block(&crd), Some((2, movement::DepthOrder::Crd)));
    let dcr = net(&[2, 2, 2, 3, 3, 5], &[0, 3, 4, 1, 5, 2], &[2, 3, 6, 10]);
    assert_eq!(block(&dcr), Some((2, movement::DepthOrder::Dcr)));
    // Columns before rows; another shape at the end.
    untouched(&net(&[2, 3, 2, 2, 3, 5], &[0, 1, 4, 3, 5, 2], &[2, 3, 6, 10]));
    untouched(&net(&[2, 3, 2, 2, 3, 5], &[0, 1, 4, 2, 5, 3], &[2, 3, 10, 6]));
}

#[test]
fn ops_with_axes_follow() {
    let split = |b: &mut GraphBuilder, x: ValueId, f: &dyn Fn(&mut GraphBuilder, ValueId) -> ValueId| {
        let y = b.first(x);
        let y = b.conv_of(y, [6, 6, 3, 3], same(), 1);
        let y = b.last(y);
        let y = f(b, y);
        let y = b.first(y);
        let y = b.unary(UnaryKind::Sin, y, "sin").unwrap();
        b.op(Pool { kernel: vec![1, 1], ..Pool::default() }, &[y], "pool").unwrap()
    };
    let cases: [(&str, &Build<'_>); 9] = [
        ("softmax", &|b, x| b.softmax(x, -1, "softmax").unwrap()),
        ("slice", &|b, x| b.with_integers(movement::Slice {}, x, &[&[0, 1], &[9, 5], &[0, 2]], "slice")),
        ("slice without axes", &|b, x| b.with_integers(movement::Slice {}, x, &[&[0, 1], &[9, 5]], "slice")),
        ("mean", &|b, x| {
            let m = b.with_integers(Reduce { kind: ReduceKind::Mean, ..Reduce::default() }, x, &[&[-1]], "mean");
            b.binary(BinaryKind::Sub, x, m, "sub").unwrap()
        }),
        ("split", &|b, x| {
            let parts = b.node(movement::Split { axis: -1 }, &[Some(x)], 2, "split").unwrap();
            b.op(movement::Concat { axis: 3 }, &[parts[1], parts[0]], "swap").unwrap()
        }),
        ("resize", &|b, x| {
            let scales = b.constant("scales", Tensor::vector(&[1.0f32, 2.0, 2.0, 1.0]));
            b.node(resize::Resize::default(), &[Some(x), None, Some(scales)], 1, "resize").unwrap()[0]
        }),
        ("gather", &|b, x| {
            let i = b.integers(&[3, 0, 5]);
            b.op(gather::Gather { axis: -1 }, &[x, i], "gather").unwrap()
        }),
        ("tile", &|b, x| b.with_integers(movement::Tile {}, x, &[&[1, 1, 2, 1]], "tile")),
        ("where", &|b, x| {
            let c = b.constant("condition", Tensor::vector(&[true, false, true, true, false, true]));
            let z = b.scalar(0.5f32);
            b.op(crate::ops::elementwise::Where {}, &[c, x, z], "where").unwrap()
        }),
    ];
    for (name, f) in cases {
        let g = graph(&n_h_w_c(6), |b, x| split(b, x, f));
        assert_eq!(transposes(&g), 1, "{name}");
    }
}

#[test]
fn axes_of_fixed_meaning_keep_their_transposes() {
    // Rows of different pixels are multiplied: no order of axes does without.
    let g = graph(&dims(&[1, 4, 4, 6]), |b, x| {
        let y = b.first(x);
        let y = b.conv_of(y, [6, 6, 3, 3], same(), 1);
        let y = b.last(y);
        let w = b.constant("w", noise(&[1, 4, 6, 2], 2));
        let y = b.op(dense::MatMul {}, &[y, w], "product").unwrap();
        let y = b.first(y);
        b.conv_of(y, [2, 2, 1, 1], Conv::default(), 3)
    });
    assert_eq!(transposes(&g), 3);
}

#[test]
fn a_transpose_between_two_readers_is_made_once() {
    let g = graph(&n_c_h_w(4), |b, x| {
        let (p, q) = (b.last(x), b.last(x));
        let p = b.unary(UnaryKind::Sin, p, "sin").unwrap();
        let q = b.unary(UnaryKind::Cos, q, "cos").unwrap();
        b.binary(BinaryKind::Add, p, q, "sum").unwrap()
    });
    let (o, _) = optimized(&g);
    assert_eq!((count(&o, "Transpose"), o.nodes().last().unwrap().op.name()), (1, "Transpose"));
}

#[test]
fn names_of_permuted_values_compose() {
    assert_eq!(permuted_name("y", &[0, 3, 1, 2]), "y@0,3,1,2");
    assert_eq!(permuted_name("y@0,3,1,2", &[0, 2, 3, 1]), "y");
    assert_eq!(permuted_source("y@0,2,1"), Some(("y", vec![0, 2, 1])));
    assert_eq!(permuted_source("y@0,2"), None);
    assert_eq!(permuted_source("mail@example"), None);
}

#[test]
fn a_permuted_value_holds_what_its_name_says() {
    let g = graph(&dims(&[1, 4, 5, 3]), |b, x| {
        let y = b.first(x);
        let y = b.conv_of(y, [4, 3, 3, 3], same(), 1);
        let y = b.last(y);
        let y = b.unary(UnaryKind::Sin, y, "sin").unwrap();
        let y = b.first(y);
        b.conv_of(y, [2, 4, 1, 1], Conv::default(), 2)
    });
    let (o, _) = optimized(&g);
    let x = noise(&[1, 4, 5, 3], 3);
    let mut seen = Vec::new();
    let value = |g: &Graph, name: &str| {
        let mut found = None;
        plan::interpret(g, std::slice::from_ref(&x), |n, t| {
            if g.value(n.outputs[0]).name == name {
                found = Some(t[0].clone());
            }
            Ok(())
        })
        .unwrap();
        found
    };
    for v in o.values().iter().filter(|v| v.name.contains('@')) {
        let (source, perm) = permuted_source(&v.name).unwrap();
        let (Some(a), Some(b)) = (value(&g, source), value(&o, &v.name)) else { continue };
        let t = movement::Transpose { perm };
        let want = Op::from(t).eval(&[Some(&a)], 1).unwrap().remove(0);
        let close = want.to_f64().iter().zip(b.to_f64()).all(|(x, y)| (x - y).abs() < 1e-5);
        assert!(want.shape() == b.shape() && close, "{}", v.name);
        seen.push(source.to_string());
    }
    assert_eq!(seen, ["sin"]);
}
