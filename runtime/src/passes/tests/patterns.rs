//! Functions that exporters spell out.

use super::support::*;

/// The activation that a chain of ops becomes.
fn becomes(build: impl FnOnce(&mut GraphBuilder, ValueId) -> ValueId) -> Activation {
    let (o, _) = optimized(&graph(&n_c_h_w(4), build));
    match o.nodes() {
        [n] => match &n.op {
            Op::Activate(a) => a.kind,
            _ => panic!("{o:?}"),
        },
        _ => panic!("{o:?}"),
    }
}

/// A chain that must not become one op.
fn stays(build: impl FnOnce(&mut GraphBuilder, ValueId) -> ValueId) {
    assert!(optimized(&graph(&n_c_h_w(4), build)).0.nodes().len() > 1);
}

#[test]
fn bounds_become_clamps() {
    assert_eq!(becomes(|b, x| b.with_number(BinaryKind::Max, x, 0.0)), Activation::Relu);
    let six = |b: &mut GraphBuilder, x| {
        let y = b.relu(x, "relu").unwrap();
        b.with_number(BinaryKind::Min, y, 6.0)
    };
    assert_eq!(becomes(six), Activation::RELU6);
    assert_eq!(
        becomes(|b, x| b.with_number(BinaryKind::Min, x, 0.5)),
        Activation::Clamp { lo: f32::NEG_INFINITY, hi: 0.5 }
    );
    // Bounds that cross are not a clamp of both.
    stays(|b, x| {
        let y = b.with_number(BinaryKind::Max, x, 0.5);
        b.with_number(BinaryKind::Min, y, 0.25)
    });
}

#[test]
fn gates_become_activations() {
    let silu = |b: &mut GraphBuilder, x, beta: Option<f32>| {
        let y = beta.map_or(x, |k| b.with_number(BinaryKind::Mul, x, k));
        let g = b.activate(Activation::Sigmoid, y, "sigmoid").unwrap();
        b.binary(BinaryKind::Mul, g, x, "silu").unwrap()
    };
    assert_eq!(becomes(|b, x| silu(b, x, None)), Activation::SILU);
    assert_eq!(becomes(|b, x| silu(b, x, Some(1.702))), Activation::Silu { beta: 1.702 });
    let swish = |b: &mut GraphBuilder, x| {
        let g = b.activate(Activation::HardSigmoid { alpha: 0.2, beta: 0.5 }, x, "gate").unwrap();
        b.binary(BinaryKind::Mul, x, g, "swish").unwrap()
    };
    assert_eq!(becomes(swish), Activation::HardSwish { alpha: 0.2, beta: 0.5 });
    let mish = |b: &mut GraphBuilder, x| {
        let g = b.activate(Activation::Softplus, x, "softplus").unwrap();
        let g = b.unary(UnaryKind::Tanh, g, "tanh").unwrap();
        b.binary(BinaryKind::Mul, x, g, "mish").unwrap()
    };
    assert_eq!(becomes(mish), Activation::Mish);
    // The gate is of something else.
    stays(|b, x| {
        let y = b.unary(UnaryKind::Sin, x, "sin").unwrap();
        let g = b.activate(Activation::Sigmoid, y, "gate").unwrap();
        b.binary(BinaryKind::Mul, x, g, "gated").unwrap()
    });
}

#[test]
fn hard_gates_become_hard_swish_however_they_are_scaled() {
    let gate = |b: &mut GraphBuilder, x| {
        let y = b.with_number(BinaryKind::Add, x, 3.0);
        b.activate(Activation::RELU6, y, "relu6").unwrap()
    };
    let first = |b: &mut GraphBuilder, x| {
        let g = gate(b, x);
        let y = b.binary(BinaryKind::Mul, x, g, "product").unwrap();
        b.with_number(BinaryKind::Div, y, 6.0)
    };
    let second = |b: &mut GraphBuilder, x| {
        let g = gate(b, x);
        let g = b.with_number(BinaryKind::Mul, g, 1.0 / 6.0);
        b.binary(BinaryKind::Mul, x, g, "product").unwrap()
    };
    let both: [&Build<'_>; 2] = [&first, &second];
    for f in both {
        assert!(
            matches!(becomes(f), Activation::HardSwish { alpha, beta } if (alpha - 1.0 / 6.0).abs() < 1e-7 && (beta - 0.5).abs() < 1e-6)
        );
    }
    let sigmoid = |b: &mut GraphBuilder, x| {
        let g = gate(b, x);
        b.with_number(BinaryKind::Div, g, 6.0)
    };
    assert!(matches!(becomes(sigmoid), Activation::HardSigmoid { .. }));
    // A fifth of it is not a gate from 0 to 1.
    stays(|b, x| {
        let g = gate(b, x);
        let y = b.binary(BinaryKind::Mul, x, g, "product").unwrap();
        b.with_number(BinaryKind::Div, y, 5.0)
    });
}

#[test]
fn gelu_of_every_exporter_is_found() {
    let half_last = |b: &mut GraphBuilder, x| {
        let e = b.with_number(BinaryKind::Div, x, std::f32::consts::SQRT_2);
        let e = b.unary(UnaryKind::Erf, e, "erf").unwrap();
        let e = b.with_number(BinaryKind::Add, e, 1.0);
        let y = b.binary(BinaryKind::Mul, x, e, "product").unwrap();
        b.with_number(BinaryKind::Mul, y, 0.5)
    };
    let half_first = |b: &mut GraphBuilder, x| {
        let h = b.with_number(BinaryKind::Mul, x, 0.5);
        let e = b.with_number(BinaryKind::Mul, x, std::f32::consts::FRAC_1_SQRT_2);
        let e = b.activate(Activation::Erf, e, "erf").unwrap();
        let e = b.with_number(BinaryKind::Add, e, 1.0);
        b.binary(BinaryKind::Mul, h, e, "product").unwrap()
    };
    for f in [half_last, half_first] as [fn(&mut GraphBuilder, ValueId) -> ValueId; 2] {
        assert_eq!(becomes(f), Activation::Gelu);
    }
    let cubic = |b: &mut GraphBuilder, x| {
        let c = b.with_number(BinaryKind::Pow, x, 3.0);
        let c = b.with_number(BinaryKind::Mul, c, 0.044715);
        let s = b.binary(BinaryKind::Add, x, c, "sum").unwrap();
        let s = b.with_number(BinaryKind::Mul, s, 0.797_884_6);
        let t = b.unary(UnaryKind::Tanh, s, "tanh").unwrap();
        let t = b.with_number(BinaryKind::Add, t, 1.0);
        let y = b.binary(BinaryKind::Mul, x, t, "product").unwrap();
        b.with_number(BinaryKind::Mul, y, 0.5)
    };
    let quadratic = |b: &mut GraphBuilder, x| {
        let q = b.binary(BinaryKind::Mul, x, x, "square").unwrap();
        let q = b.with_number(BinaryKind::Mul, q, 0.044715);
        let q = b.with_number(BinaryKind::Add, q, 1.0);
        let s = b.with_number(BinaryKind::Mul, x, 0.797_884_6);
        let s = b.binary(BinaryKind::Mul, s, q, "inner").unwrap();
        let t = b.unary(UnaryKind::Tanh, s, "tanh").unwrap();
        let t = b.with_number(BinaryKind::Add, t, 1.0);
        let h = b.with_number(BinaryKind::Mul, x, 0.5);
        b.binary(BinaryKind::Mul, h, t, "product").unwrap()
    };
    for f in [cubic, quadratic] as [fn(&mut GraphBuilder, ValueId) -> ValueId; 2] {
        assert_eq!(becomes(f), Activation::GeluTanh);
    }
    // Another scale in the error function.
    stays(|b, x| {
        let e = b.unary(UnaryKind::Erf, x, "erf").unwrap();
        let e = b.with_number(BinaryKind::Add, e, 1.0);
        let y = b.binary(BinaryKind::Mul, x, e, "product").unwrap();
        b.with_number(BinaryKind::Mul, y, 0.5)
    });
}

#[test]
fn small_functions_are_found() {
    let leaky = |b: &mut GraphBuilder, x| {
        let y = b.with_number(BinaryKind::Mul, x, 0.1);
        b.binary(BinaryKind::Max, y, x, "max").unwrap()
    };
    assert_eq!(becomes(leaky), Activation::LeakyRelu { alpha: 0.1 });
    stays(|b, x| {
        let y = b.with_number(BinaryKind::Mul, x, 1.1);
        b.binary(BinaryKind::Max, y, x, "max").unwrap()
    });
    let softsign = |b: &mut GraphBuilder, x| {
        let y = b.unary(UnaryKind::Abs, x, "abs").unwrap();
        let y = b.with_number(BinaryKind::Add, y, 1.0);
        b.binary(BinaryKind::Div, x, y, "softsign").unwrap()
    };
    assert_eq!(becomes(softsign), Activation::Softsign);
    assert_eq!(becomes(|b, x| b.with_number(BinaryKind::Pow, x, 2.0)), Activation::Square);
    let slope = |b: &mut GraphBuilder, x, slope: &[f32]| {
        let s = b.constant("slope", Tensor::new(&[4, 1, 1], slope.to_vec()).unwrap());
        b.op(crate::ops::elementwise::PRelu {}, &[x, s], "prelu").unwrap()
    };
    assert_eq!(becomes(|b, x| slope(b, x, &[0.25; 4])), Activation::LeakyRelu { alpha: 0.25 });
    untouched(&graph(&n_c_h_w(4), |b, x| slope(b, x, &[0.25, 0.25, 0.25, 0.5])));
}

/// `(x - mean) / sqrt(mean((x - mean)^2) + epsilon) * scale + bias`
fn spelled(b: &mut GraphBuilder, x: ValueId, axes: &[i64], reciprocal: bool, parameters: &[usize]) -> ValueId {
    let mean = || Reduce { kind: ReduceKind::Mean, ..Reduce::default() };
    let m = b.with_integers(mean(), x, &[axes], "mean");
    let d = b.binary(BinaryKind::Sub, x, m, "centred").unwrap();
    let s = b.with_number(BinaryKind::Pow, d, 2.0);
    let v = b.with_integers(mean(), s, &[axes], "variance");
    let v = b.with_number(BinaryKind::Add, v, 1e-3);
    let r = b.unary(UnaryKind::Sqrt, v, "deviation").unwrap();
    let y = if reciprocal {
        let r = b.unary(UnaryKind::Reciprocal, r, "reciprocal").unwrap();
        b.binary(BinaryKind::Mul, r, d, "normal").unwrap()
    } else {
        b.binary(BinaryKind::Div, d, r, "normal").unwrap()
    };
    let y = b.with(BinaryKind::Mul, y, Rng(5).tensor(parameters, 0.5, 1.5));
    b.with(BinaryKind::Add, y, noise(parameters, 6))
}

#[test]
fn norms_that_are_spelled_out_become_one_op() {
    for reciprocal in [false, true] {
        let g = graph(&dims(&[2, 5, 6]), |b, x| spelled(b, x, &[-1], reciprocal, &[6]));
        let (o, _) = optimized(&g);
        assert_eq!((ops(&o), o.nodes()[0].inputs.len()), (vec!["LayerNorm"], 3));
        let g = graph(&n_c_h_w(4), |b, x| spelled(b, x, &[2, 3], reciprocal, &[4, 1, 1]));
        assert_eq!(left(&g), ["GroupNorm"]);
    }
    // Not the last axes.
    let g = graph(&n_c_h_w(4), |b, x| spelled(b, x, &[1], false, &[4, 1, 1]));
    assert_eq!(count(&optimized(&g).0, "Reduce"), 2);
}

#[test]
fn the_way_keras_writes_a_layer_norm_is_found() {
    let net = |other: bool| {
        graph(&dims(&[2, 5, 6]), |b, x| {
            let mean = || Reduce { kind: ReduceKind::Mean, ..Reduce::default() };
            let m = b.with_integers(mean(), x, &[&[2]], "mean");
            let s = b.binary(BinaryKind::SquaredDifference, x, m, "squares").unwrap();
            let v = b.with_integers(mean(), s, &[if other { &[1, 2] } else { &[2] }], "variance");
            let v = b.with_number(BinaryKind::Add, v, 1e-3);
            let r = b.unary(UnaryKind::Rsqrt, v, "rsqrt").unwrap();
            let inv = b.with(BinaryKind::Mul, r, Rng(5).tensor(&[6], 0.5, 1.5));
            let y = b.binary(BinaryKind::Mul, x, inv, "scaled").unwrap();
            let shift = b.binary(BinaryKind::Mul, m, inv, "shift").unwrap();
            let beta = b.constant("beta", noise(&[6], 6));
            let rest = b.binary(BinaryKind::Sub, beta, shift, "rest").unwrap();
            b.binary(BinaryKind::Add, y, rest, "normal").unwrap()
        })
    };
    assert_eq!(left(&net(false)), ["LayerNorm"]);
    assert_eq!(count(&optimized(&net(true)).0, "LayerNorm"), 0);
}

#[test]
fn root_mean_square_norms_are_found() {
    let g = graph(&dims(&[2, 5, 6]), |b, x| {
        let s = b.binary(BinaryKind::Mul, x, x, "squares").unwrap();
        let v = b.with_integers(Reduce { kind: ReduceKind::Mean, ..Reduce::default() }, s, &[&[-1]], "mean");
        let v = b.with_number(BinaryKind::Add, v, 1e-3);
        let r = b.unary(UnaryKind::Rsqrt, v, "rsqrt").unwrap();
        let y = b.binary(BinaryKind::Mul, x, r, "normal").unwrap();
        b.with(BinaryKind::Mul, y, Rng(5).tensor(&[6], 0.5, 1.5))
    });
    let (o, _) = optimized(&g);
    assert!(matches!(&o.nodes()[0].op, Op::LayerNorm(l) if l.rms) && o.nodes().len() == 1, "{o:?}");
}

#[test]
fn pools_of_whole_images_become_reductions() {
    let shape = vec![Dim::symbol("N"), Dim::from(4), Dim::from(7), Dim::from(6)];
    let pooled = |kind, kernel: [usize; 2]| {
        graph(&shape, |b, x| b.op(Pool { kind, kernel: kernel.to_vec(), ..Pool::default() }, &[x], "pool").unwrap())
    };
    for kind in [PoolKind::Max, PoolKind::Average] {
        assert_eq!(left(&pooled(kind, [7, 6])), ["Reduce"]);
        untouched(&pooled(kind, [7, 5]));
    }
    untouched(&pooled(PoolKind::Lp, [7, 6]));
    // A maximum of one element is not that element when it is no number; a mean is.
    untouched(&pooled(PoolKind::Max, [1, 1]));
    let g = graph(&shape, |b, x| {
        let x = b.relu(x, "relu").unwrap();
        b.op(Pool { kind: PoolKind::Average, kernel: vec![1, 1], ..Pool::default() }, &[x], "pool").unwrap()
    });
    assert_eq!(left(&g), ["Activate"]);
}
