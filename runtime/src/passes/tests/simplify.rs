//! No-ops, reshapes, duplicates, what nothing needs, and what is known beforehand.

use super::support::*;

fn input() -> Vec<Dim> {
    n_c_h_w(4)
}

/// One op between two activations that do not merge: what stays of it.
fn between(build: impl FnOnce(&mut GraphBuilder, ValueId) -> ValueId) -> Vec<&'static str> {
    left(&graph(&input(), |b, x| {
        let x = b.activate(Activation::Tanh, x, "before").unwrap();
        let y = build(b, x);
        b.activate(Activation::Sigmoid, y, "after").unwrap()
    }))
}

#[test]
fn ops_that_give_back_their_operand_go() {
    let bare = ["Activate", "Activate"];
    assert_eq!(between(|b, x| b.op(movement::Identity {}, &[x], "i").unwrap()), bare);
    assert_eq!(between(|b, x| b.op(crate::ops::elementwise::Cast { to: DType::F32 }, &[x], "c").unwrap()), bare);
    assert_eq!(between(|b, x| b.transpose(x, &[0, 1, 2, 3], "t").unwrap()), bare);
    assert_eq!(between(|b, x| b.reshape(x, &[0, 0, 0, 0], "r").unwrap()), bare);
    assert_eq!(between(|b, x| b.with_number(BinaryKind::Mul, x, 1.0)), bare);
    assert_eq!(between(|b, x| b.with(BinaryKind::Add, x, Tensor::zeros(DType::F32, &[4, 1, 1]).unwrap())), bare);
    assert_eq!(between(|b, x| b.with_number(BinaryKind::Pow, x, 1.0)), bare);
    assert_eq!(between(|b, x| b.with_integers(movement::Pad::default(), x, &[&[0; 8]], "p")), bare);
    let all = i64::from(i32::MAX);
    assert_eq!(between(|b, x| b.with_integers(movement::Slice {}, x, &[&[0], &[all], &[1]], "s")), bare);
    assert_eq!(between(|b, x| b.op(movement::Concat { axis: 1 }, &[x], "c").unwrap()), bare);
    assert_eq!(between(|b, x| b.with_integers(movement::Tile {}, x, &[&[1; 4]], "t")), bare);
}

#[test]
fn ops_that_look_like_no_ops_stay() {
    let one = |op| vec!["Activate", op, "Activate"];
    // The result is larger than the operand.
    let wide = Tensor::zeros(DType::F32, &[3, 1, 1, 1, 1]).unwrap();
    assert_eq!(between(|b, x| b.with(BinaryKind::Add, x, wide)), ["Activate", "Binary"]);
    assert_eq!(between(|b, x| b.with_number(BinaryKind::Sub, x, 1.0)), ["Activate", "Binary"]);
    assert_eq!(
        between(|b, x| b.with_integers(movement::Slice {}, x, &[&[-1], &[i64::MIN], &[1], &[-1]], "s")),
        one("Slice")
    );
    assert_eq!(
        between(|b, x| b.with_integers(movement::Pad::default(), x, &[&[0, 0, 0, 0, 0, 0, 0, 1]], "p")),
        one("Pad")
    );
    let moved = between(|b, x| b.transpose(x, &[0, 1, 3, 2], "t").unwrap());
    assert_eq!(moved, ["Activate", "Activate", "Transpose"]);
}

#[test]
fn chains_of_reshapes_become_one_or_none() {
    let g = graph(&n_c_h_w(4), |b, x| {
        let x = b.relu(x, "relu").unwrap();
        let y = b.reshape(x, &[0, 2, 2, -1], "a").unwrap();
        let y = b.with_integers(movement::Unsqueeze {}, y, &[&[1]], "b");
        b.reshape(y, &[0, -1], "c").unwrap()
    });
    let (o, r) = optimized(&g);
    assert_eq!((ops(&o), changes(&r, "reshape") > 0), (vec!["Activate", "Reshape"], true));
    let there_and_back = between(|b, x| {
        let y = b.with_integers(movement::Unsqueeze {}, x, &[&[1]], "u");
        b.with_integers(movement::Squeeze {}, y, &[&[1]], "s")
    });
    assert_eq!(there_and_back, ["Activate", "Activate"]);
}

#[test]
fn shapes_that_are_computed_become_constants() {
    // x.view(x.size(0), -1) as PyTorch exports it.
    let g = graph(&n_c_h_w(4), |b, x| {
        let x = b.relu(x, "relu").unwrap();
        let shape = b.op(movement::Shape::default(), &[x], "shape").unwrap();
        let zero = b.integers(&[0]);
        let n = b.op(gather::Gather { axis: 0 }, &[shape, zero], "n").unwrap();
        let rest = b.integers(&[-1]);
        let target = b.op(movement::Concat { axis: 0 }, &[n, rest], "target").unwrap();
        b.op(movement::Reshape::default(), &[x, target], "view").unwrap()
    });
    assert_eq!(left(&g), ["Activate", "Reshape"]);
    // Two extents that are not where they were cannot be written down.
    let g = graph(&[Dim::symbol("H"), Dim::symbol("W"), Dim::from(2)], |b, x| {
        let shape = b.op(movement::Shape::default(), &[x], "shape").unwrap();
        let order = b.integers(&[2, 1, 0]);
        let target = b.op(gather::Gather { axis: 0 }, &[shape, order], "target").unwrap();
        let y = b.op(movement::Reshape::default(), &[x, target], "view").unwrap();
        b.relu(y, "relu").unwrap()
    });
    assert_eq!(count(&optimized(&g).0, "Shape"), 0);
}

#[test]
fn equal_nodes_and_constants_become_one() {
    let twice = |second: f32| {
        graph(&n_c_h_w(4), |b, x| {
            let p = b.with_number(BinaryKind::Mul, x, 3.0);
            let q = b.with_number(BinaryKind::Mul, x, second);
            let (p, q) = (b.unary(UnaryKind::Sin, p, "p").unwrap(), b.unary(UnaryKind::Sin, q, "q").unwrap());
            b.binary(BinaryKind::Sub, p, q, "sub").unwrap()
        })
    };
    assert_eq!(left(&twice(3.0)), ["Binary", "Unary", "Binary"]);
    assert_eq!(left(&twice(2.0)).len(), 5);
}

#[test]
fn an_output_keeps_its_name_when_its_node_goes() {
    let g = graph(&n_c_h_w(4), |b, x| {
        let y = b.relu(x, "relu").unwrap();
        b.op(movement::Identity {}, &[y], "result").unwrap()
    });
    let (o, _) = optimized(&g);
    assert_eq!((ops(&o), o.value(o.outputs()[0]).name.as_str()), (vec!["Activate"], "result"));
    // An input that is an output needs the node between.
    untouched(&graph(&n_c_h_w(4), |b, x| b.op(movement::Identity {}, &[x], "result").unwrap()));
}

#[test]
fn what_nothing_needs_goes() {
    let mut b = GraphBuilder::new("g");
    let x = b.input("x", DType::F32, dims(&[1, 4]));
    let y = b.relu(x, "y").unwrap();
    let w = b.weights(&[3, 4], 1);
    let dead = b.dense(x, w, None, "dead").unwrap();
    b.relu(dead, "dead too").unwrap();
    b.output(y);
    let g = b.finish().unwrap();
    let (o, r) = optimized(&g);
    assert_eq!((ops(&o), changes(&r, "prune"), o.values().len()), (vec!["Activate"], 2, 2));
    b = GraphBuilder::new("g");
    let x = b.input("x", DType::F32, dims(&[1, 4]));
    let unused = b.input("unused", DType::F32, dims(&[1, 4]));
    let y = b.relu(x, "y").unwrap();
    b.output(y);
    assert_eq!(optimized(&b.finish().unwrap()).0.inputs().len(), 2, "{unused:?}");
}

#[test]
fn what_becomes_known_is_folded() {
    // The shape of a value is known although the value is not.
    let g = graph(&dims(&[1, 4, 2, 2]), |b, x| {
        let y = b.unary(UnaryKind::Sin, x, "sin").unwrap();
        let zero = b.with_number(BinaryKind::Mul, y, 0.5);
        b.flatten(zero, "flat").unwrap()
    });
    assert_eq!(left(&g), ["Unary", "Binary", "Reshape"]);
    let g = graph(&dims(&[1, 4]), |b, x| {
        let w = b.weights(&[4, 3], 1);
        let t = b.transpose(w, &[1, 0], "t").unwrap();
        let t = b.with_number(BinaryKind::Mul, t, 2.0);
        b.dense(x, t, None, "dense").unwrap()
    });
    assert_eq!(ops(&g), ["Dense"]);
    untouched(&g);
}

#[test]
fn half_floats_stay_as_they_are_stored() {
    let half = |b: &mut GraphBuilder, shape: &[usize], seed| {
        let t = crate::ops::elementwise::cast(&noise(shape, seed), DType::F16).unwrap();
        let t = b.constant("half", t);
        b.op(crate::ops::elementwise::Cast { to: DType::F32 }, &[t], "cast").unwrap()
    };
    // Larger than what is computed while a graph is built.
    let g = graph(&[Dim::symbol("N"), Dim::from(300)], |b, x| {
        let w = half(b, &[300, 200], 1);
        b.op(dense::MatMul {}, &[x, w], "product").unwrap()
    });
    let (o, _) = optimized(&g);
    let weights = o.nodes()[0].inputs[1].unwrap();
    assert_eq!((ops(&g), ops(&o), o.ty(weights).dtype), (vec!["Cast", "MatMul"], vec!["Dense"], DType::F16));
    let g = graph(&[Dim::symbol("N"), Dim::from(300)], |b, x| {
        let w = half(b, &[1, 300, 200], 1);
        let w = b.unary(UnaryKind::Sin, w, "sin").unwrap();
        b.op(dense::MatMul {}, &[x, w], "product").unwrap()
    });
    assert_eq!((ops(&g), left(&g)), (vec!["Cast", "Unary", "MatMul"], vec!["MatMul"]));
}

#[test]
fn norms_fold_into_half_floats() {
    let g = graph(&n_c_h_w(4), |b, x| {
        let w = crate::ops::elementwise::cast(&noise(&[4, 4, 3, 3], 1), DType::F16).unwrap();
        let w = b.constant("half", w);
        let y = b.conv(x, w, None, same(), "conv").unwrap();
        b.batch_norm(y, 4, 2)
    });
    assert_eq!(left(&g), ["Conv"]);
}
