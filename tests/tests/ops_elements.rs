//! Functions of elements, softmax, normalisation and reductions as ops: the planned run against the naive interpretation, in
//! every memory format that a producer may give.

use pocketnn::ops::activation::{Activate, Activation};
use pocketnn::ops::elementwise::{Binary, BinaryKind, Cast, PRelu, Unary, UnaryKind, Where};
use pocketnn::ops::norm::{BatchNorm, GroupNorm, LayerNorm, Lrn};
use pocketnn::ops::reduce::{ArgReduce, Reduce, ReduceKind};
use pocketnn::ops::softmax::{Hardmax, Softmax};
use pocketnn::plan::interpret;
use pocketnn::{DType, Dim, GraphBuilder, Op, Tensor, ValueId};
use pocketnn_tests::support::{Rng, SOURCES, assert_close, check_planned, image};

/// An image `[2, c, 3, 5]` from a source, and the graph's input.
fn small(b: &mut GraphBuilder, rng: &mut Rng, source: &str, c: usize) -> (ValueId, Tensor) {
    image(b, rng, "x", source, &[2, c, 3, 5])
}

fn check(b: GraphBuilder, inputs: &[Tensor], place: &str) {
    check_planned(b, inputs, 1e-5, place);
}

fn run_unary(op: impl Into<Op>, source: &str, c: usize) {
    let op = op.into();
    let (mut b, mut rng) = (GraphBuilder::new("test"), Rng::new(c as u64));
    let (x, data) = small(&mut b, &mut rng, source, c);
    let y = b.op(op.clone(), &[x], "tested").unwrap();
    b.output(y);
    check(b, &[data], &format!("{op:?} {source} {c}"));
}

#[test]
fn functions_of_one_element_run_in_every_format() {
    for source in SOURCES {
        for c in [1, 8, 11] {
            for a in [Activation::Relu, Activation::Sigmoid, Activation::Exp, Activation::Linear { a: 1.0, b: 0.5 }] {
                run_unary(Activate::new(a), source, c);
            }
            for kind in [UnaryKind::Abs, UnaryKind::Cos, UnaryKind::IsNan, UnaryKind::Tanh, UnaryKind::Floor] {
                run_unary(Unary { kind }, source, c);
            }
            run_unary(Cast { to: DType::I64 }, source, c);
            for axis in [-1, 0, 1, 2] {
                run_unary(Softmax { axis, log: false }, source, c);
                run_unary(Softmax { axis, log: true }, source, c);
                run_unary(Hardmax { axis }, source, c);
                run_unary(ArgReduce { axis, ..ArgReduce::default() }, source, c);
            }
        }
    }
}

#[test]
fn every_unary_function_evaluates_and_has_a_kernel() {
    for &kind in UnaryKind::ALL {
        let dtype = match kind {
            UnaryKind::Not => DType::Bool,
            UnaryKind::BitNot => DType::I32,
            _ => DType::F32,
        };
        let (mut b, mut rng) = (GraphBuilder::new("test"), Rng::new(1));
        let x = b.input("x", dtype, [Dim::from(40)]);
        let y = b.op(Unary { kind }, &[x], "tested").unwrap();
        b.output(y);
        let data = Tensor::new(&[40], rng.floats(40)).unwrap();
        check(b, &[pocketnn::ops::elementwise::cast(&data, dtype).unwrap()], kind.name());
    }
}

#[test]
fn pairs_run_in_every_format() {
    let mut rng = Rng::new(31);
    for case in 0..200 {
        let (source, c) = (rng.pick(&SOURCES), rng.pick(&[1, 8, 11]));
        let mut b = GraphBuilder::new("test");
        let (x, data) = small(&mut b, &mut rng, source, c);
        let mut inputs = vec![data];
        let shapes: [&[usize]; 9] =
            [&[], &[1], &[c, 1, 1], &[1, c, 1, 1], &[2, c, 1, 1], &[2, 1, 3, 5], &[3, 5], &[2, c, 3, 5], &[5]];
        let shape = rng.pick(&shapes);
        let values = Tensor::new(shape, rng.floats(shape.iter().product())).unwrap();
        let constant = rng.below(2) == 0;
        let other = if constant {
            b.constant("other", values)
        } else {
            inputs.push(values);
            b.input("other", DType::F32, shape.iter().map(|&d| Dim::from(d)).collect::<Vec<_>>())
        };
        let kind = rng.pick(&[BinaryKind::Add, BinaryKind::Sub, BinaryKind::Mul, BinaryKind::Max, BinaryKind::Lt]);
        let fused = rng.below(2) == 0 && kind != BinaryKind::Lt;
        let activation = if fused { Activation::Relu } else { Activation::Identity };
        let operands = if rng.below(2) == 0 { [x, other] } else { [other, x] };
        let op = Binary { kind, activation };
        let y = b.op(op.clone(), &operands, "tested").unwrap();
        // Used again, so that the operator cannot always take the place of its operand.
        if rng.below(2) == 0 {
            b.output(x);
        }
        b.output(y);
        check(b, &inputs, &format!("case {case} {op:?} {source} {c} {shape:?} constant {constant}"));
    }
}

#[test]
fn chains_of_operators_run_in_place() {
    for source in SOURCES {
        for c in [3, 16] {
            let (mut b, mut rng) = (GraphBuilder::new("test"), Rng::new(7));
            let (x, data) = small(&mut b, &mut rng, source, c);
            let slope = b.constant("slope", Tensor::new(&[c, 1, 1], rng.floats(c)).unwrap());
            let p = b.op(PRelu {}, &[x, slope], "tested").unwrap();
            let axes = b.integers(&[2, 3]);
            let gate = b.op(Reduce { kind: ReduceKind::Mean, ..Reduce::default() }, &[p, axes], "tested").unwrap();
            let gate = b.op(Activate::new(Activation::HARD_SWISH), &[gate], "tested").unwrap();
            let y = b.op(Binary { kind: BinaryKind::Mul, ..Binary::default() }, &[p, gate], "tested").unwrap();
            let two = b.scalar(2.0f32);
            let y = b.op(Binary { kind: BinaryKind::Pow, ..Binary::default() }, &[y, two], "tested").unwrap();
            let y = b.op(Binary { kind: BinaryKind::Add, ..Binary::default() }, &[y, x], "tested").unwrap();
            b.output(y);
            check(b, &[data], &format!("{source} {c}"));
        }
    }
}

#[test]
fn reductions_run_in_every_format() {
    let mut rng = Rng::new(41);
    let floats = ReduceKind::ALL.iter().filter(|k| !matches!(k, ReduceKind::Any | ReduceKind::All));
    for &kind in floats {
        for source in SOURCES {
            for axes in [vec![], vec![2, 3], vec![1], vec![-1], vec![0, 2, 3], vec![1, 2, 3], vec![0, 1]] {
                for keep_dims in [false, true] {
                    let mut b = GraphBuilder::new("test");
                    let (x, data) = small(&mut b, &mut rng, source, 11);
                    // Positive, for the logarithms.
                    let x = b.op(Activate::new(Activation::Exp), &[x], "positive").unwrap();
                    let given = b.integers(&axes);
                    let op = Reduce { kind, keep_dims, ..Reduce::default() };
                    let y = if kind == ReduceKind::Prod {
                        let small = b.scalar(0.1f32);
                        let x = b.binary(BinaryKind::Pow, x, small, "small").unwrap();
                        b.op(op.clone(), &[x, given], "tested").unwrap()
                    } else {
                        b.op(op.clone(), &[x, given], "tested").unwrap()
                    };
                    b.output(y);
                    check(b, &[data], &format!("{op:?} {axes:?} {source}"));
                }
            }
        }
    }
}

#[test]
fn normalisations_run_in_every_format() {
    let mut rng = Rng::new(71);
    for source in SOURCES {
        for c in [4, 8, 12] {
            let ops: [(Op, Vec<Vec<usize>>); 9] = [
                (BatchNorm { epsilon: 0.01, ..BatchNorm::default() }.into(), vec![vec![c]; 4]),
                (BatchNorm { epsilon: 0.01, activation: Activation::Sigmoid }.into(), vec![vec![c]; 4]),
                (GroupNorm { groups: 0, epsilon: 0.01 }.into(), vec![vec![c]; 2]),
                (GroupNorm { groups: 1, epsilon: 0.01 }.into(), vec![vec![c]; 1]),
                (GroupNorm { groups: 2, epsilon: 0.01 }.into(), vec![]),
                (LayerNorm { axis: 1, epsilon: 0.01, rms: false }.into(), vec![vec![c, 1, 1], vec![3, 5]]),
                (LayerNorm { axis: -1, epsilon: 0.01, rms: false }.into(), vec![vec![5], vec![5]]),
                (LayerNorm { axis: -2, epsilon: 0.01, rms: true }.into(), vec![vec![3, 5], vec![5]]),
                (Lrn { size: 3, alpha: 0.1, beta: 0.75, bias: 1.0 }.into(), vec![]),
            ];
            for (op, parameters) in ops {
                let mut b = GraphBuilder::new("test");
                let (x, data) = small(&mut b, &mut rng, source, c);
                let mut operands = vec![x];
                for shape in parameters {
                    // Positive, for the variance.
                    let p = rng.floats(shape.iter().product()).iter().map(|v| v.abs() + 0.1).collect();
                    operands.push(b.constant("parameter", Tensor::new(&shape, p).unwrap()));
                }
                let y = b.op(op.clone(), &operands, "tested").unwrap();
                if rng.below(2) == 0 {
                    b.output(x);
                }
                b.output(y);
                check(b, &[data], &format!("{op:?} {source} {c}"));
            }
        }
    }
}

#[test]
fn layer_normalisation_tells_its_statistics() {
    let mut b = GraphBuilder::new("test");
    let x = b.input("x", DType::F32, [2, 3].map(Dim::from));
    let op = LayerNorm { axis: 1, epsilon: 0.0, rms: false };
    let out = b.node(op, &[Some(x)], 3, "norm").unwrap();
    out.iter().for_each(|&v| b.output(v));
    let graph = b.finish().unwrap();
    let data = Tensor::new(&[2, 3], vec![1.0f32, 2.0, 3.0, 4.0, 4.0, 10.0]).unwrap();
    let found = interpret(&graph, &[data], |_, _| Ok(())).unwrap();
    assert_eq!(found[1], Tensor::new(&[2, 1], vec![2.0f32, 6.0]).unwrap());
    assert_close(&found[2].to_f32(), &[1.224_744_9, 0.353_553_4], 0.0, 1e-6, || "deviation".to_string());
}

#[test]
fn integers_and_truth_values_have_kernels() {
    let mut rng = Rng::new(51);
    for dtype in [DType::I32, DType::I64] {
        let mut b = GraphBuilder::new("test");
        let shape = [3usize, 4];
        let [x, y] = ["x", "y"].map(|n| b.input(n, dtype, shape.map(Dim::from)));
        let mut data = || {
            let v: Vec<f32> = rng.floats(12).iter().map(|v| v * 6.0).collect();
            pocketnn::ops::elementwise::cast(&Tensor::new(&shape, v).unwrap(), dtype).unwrap()
        };
        let inputs = [data(), data()];
        for &kind in BinaryKind::ALL {
            let logic = matches!(kind, BinaryKind::And | BinaryKind::Or | BinaryKind::Xor | BinaryKind::Atan2);
            if !logic {
                let z = b.op(Binary { kind, ..Binary::default() }, &[x, y], "tested").unwrap();
                b.output(z);
            }
        }
        for kind in [ReduceKind::Sum, ReduceKind::Max, ReduceKind::Min, ReduceKind::Prod] {
            let z = b.op(Reduce { kind, ..Reduce::default() }, &[x], "tested").unwrap();
            b.output(z);
        }
        let less = b.binary(BinaryKind::Lt, x, y, "tested").unwrap();
        let equal = b.binary(BinaryKind::Eq, x, y, "tested").unwrap();
        for kind in [BinaryKind::And, BinaryKind::Or, BinaryKind::Xor, BinaryKind::Eq] {
            let z = b.binary(kind, less, equal, "tested").unwrap();
            b.output(z);
        }
        for kind in [ReduceKind::Any, ReduceKind::All] {
            let z = b.op(Reduce { kind, ..Reduce::default() }, &[less], "tested").unwrap();
            b.output(z);
        }
        let not = b.unary(UnaryKind::Not, less, "tested").unwrap();
        let z = b.op(Where {}, &[not, x, y], "tested").unwrap();
        b.output(z);
        let z = b.op(Cast { to: DType::F32 }, &[less], "tested").unwrap();
        b.output(z);
        check(b, &inputs, dtype.name());
    }
}

#[test]
fn shapes_are_followed_through_arithmetic() {
    let mut b = GraphBuilder::new("test");
    let n = Dim::symbol("N");
    let x = b.input("x", DType::F32, vec![n.clone(), Dim::from(6)]);
    let shape = b.op(pocketnn::ops::movement::Shape::default(), &[x], "shape").unwrap();
    let [two, one] = [2i64, 1].map(|v| b.scalar(v));
    let doubled = b.binary(BinaryKind::Mul, shape, two, "doubled").unwrap();
    let more = b.binary(BinaryKind::Add, doubled, one, "more").unwrap();
    assert_eq!(b.fact(more).dims, Some(vec![n.clone() * Dim::from(2) + Dim::from(1), Dim::from(13)]));
    let all = b.op(Reduce { kind: ReduceKind::Prod, keep_dims: false, ..Reduce::default() }, &[shape], "all").unwrap();
    assert_eq!(b.fact(all).dims, Some(vec![n.clone() * Dim::from(6)]));
    let cast = b.op(Cast { to: DType::I32 }, &[all], "cast").unwrap();
    let back = b.op(Cast { to: DType::I64 }, &[cast], "back").unwrap();
    let six = b.scalar(6i64);
    let half = b.binary(BinaryKind::Div, back, six, "half").unwrap();
    assert_eq!(b.fact(half).dims, Some(vec![n]));
}

#[test]
fn what_does_not_fit_is_refused_with_the_operands_named() {
    let mut b = GraphBuilder::new("test");
    let x = b.input("x", DType::F32, [Dim::from(2), Dim::from(3)]);
    let i = b.input("i", DType::I32, [Dim::from(2), Dim::from(3)]);
    let y = b.input("y", DType::F32, [Dim::from(4)]);
    let says = |e: pocketnn::Result<ValueId>, words: &[&str]| {
        let e = e.unwrap_err().to_string();
        assert!(words.iter().all(|w| e.contains(w)), "{e}");
    };
    says(b.binary(BinaryKind::Add, x, i, "add"), &["add", "i32", "f32"]);
    says(b.binary(BinaryKind::Add, x, y, "add"), &["[2, 3]", "[4]", "broadcast"]);
    says(b.binary(BinaryKind::And, x, x, "and"), &["and", "no meaning on f32"]);
    says(b.unary(UnaryKind::Sin, i, "sin"), &["Sin", "i32"]);
    says(b.unary(UnaryKind::Not, i, "not"), &["not", "i32"]);
    says(b.op(Activate::new(Activation::Tanh), &[i], "tanh"), &["tanh", "i32"]);
    says(b.softmax(x, 2, "softmax"), &["axis 2"]);
    let axes = b.integers(&[0, -2]);
    says(b.op(Reduce::default(), &[x, axes], "reduce"), &["twice"]);
    says(b.op(PRelu {}, &[y, x], "prelu"), &["broadcast"]);
}
