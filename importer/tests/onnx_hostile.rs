//! Hostile ONNX files: every mutant of small models imports or is refused with a typed error; none panics, hangs or allocates
//! beyond the limits.

mod onnx_support;

use onnx_support::*;
use pocketnn_importer::onnx::{import, read_tensor};
use pocketnn_importer::{ErrorKind, ImportError, Limits};

/// A convolution, batch normalisation and dense head.
fn network() -> Vec<u8> {
    let parts = Parts {
        nodes: vec![
            node("Conv", &["x", "w", "b"], &["c"], &[attr_ints("pads", &[1, 1, 1, 1]), attr_ints("strides", &[2, 2])]),
            node("BatchNormalization", &["c", "b", "b", "b", "v"], &["n"], &[attr_float("epsilon", 1e-3)]),
            node("Relu", &["n"], &["r"], &[]),
            node("MaxPool", &["r"], &["p"], &[attr_ints("kernel_shape", &[2, 2]), attr_text("auto_pad", "SAME_UPPER")]),
            node("Flatten", &["p"], &["f"], &[]),
            node("Gemm", &["f", "d"], &["y"], &[attr_int("transB", 1)]),
        ],
        initializers: vec![
            floats("w", &[2, 1, 3, 3], &[0.5; 18]),
            floats("b", &[2], &[0.1, 0.2]),
            floats("v", &[2], &[1.0, 2.0]),
            floats("d", &[3, 8], &[0.25; 24]),
        ],
        inputs: vec![value("x", FLOAT, &["N", "1", "4", "4"])],
        outputs: vec![value("y", FLOAT, &["N", "3"])],
    };
    parts.model(15)
}

/// Shape arithmetic, slicing, resizing, a function and control flow.
fn dynamic() -> Vec<u8> {
    let body = Parts {
        nodes: vec![node("Mul", &["s", "s"], &["t"], &[]), node("Identity", &["go"], &["go2"], &[])],
        inputs: vec![value("i", INT64, &[]), value("go", BOOL, &[]), value("s", FLOAT, &["2", "M"])],
        outputs: vec![value("go2", BOOL, &[]), value("t", FLOAT, &[])],
        ..Parts::default()
    };
    let f = function("Twice", &["a"], &["b"], &[node("Add", &["a", "a"], &["b"], &[])], 18);
    let parts = Parts {
        nodes: vec![
            node("Shape", &["x"], &["s"], &[]),
            node("Slice", &["s", "one", "two"], &["m"], &[]),
            node("Concat", &["one", "m"], &["t"], &[attr_int("axis", 0)]),
            node("Expand", &["x", "t"], &["e"], &[]),
            node("Pad", &["e", "pads"], &["p"], &[attr_text("mode", "reflect")]),
            node("Tile", &["p", "t2"], &["q"], &[]),
            node("Loop", &["two", "", "q"], &["l"], &[attr_graph("body", &body.encode())]),
            node_in("local", "Twice", &["l"], &["d"], &[]),
            node("Split", &["d"], &["y", "z"], &[attr_int("axis", 0), attr_int("num_outputs", 2)]),
            node("TopK", &["y", "one"], &["k", "j"], &[]),
        ],
        initializers: vec![
            longs("one", &[1], &[1]),
            longs("two", &[1], &[2]),
            longs("pads", &[4], &[0, 1, 0, 1]),
            longs("t2", &[2], &[2, 1]),
        ],
        inputs: vec![value("x", FLOAT, &["2", "M"])],
        outputs: vec![value("k", FLOAT, &[]), value("j", INT64, &[]), value("z", FLOAT, &[])],
    };
    parts.model_with(18, &[f])
}

/// Half precision, lists instead of raw data, sequences.
fn types() -> Vec<u8> {
    let list: Vec<u8> = [0x3c00u64, 0x4000].iter().flat_map(|&b| varint(b)).collect();
    let half = [int(1, 2), int(2, FLOAT16), bytes(5, &list), text(8, "h")].concat();
    let parts = Parts {
        nodes: vec![
            node("Mul", &["x", "h"], &["a"], &[]),
            node("SequenceConstruct", &["a", "x"], &["s"], &[]),
            node("ConcatFromSequence", &["s"], &["c"], &[attr_int("axis", 0)]),
            node("Cast", &["c"], &["y"], &[attr_int("to", FLOAT)]),
        ],
        initializers: vec![half],
        inputs: vec![value("x", FLOAT16, &["2"])],
        outputs: vec![value("y", FLOAT, &["4"])],
    };
    parts.model(17)
}

fn models() -> Vec<Vec<u8>> {
    vec![network(), dynamic(), types()]
}

fn check(bytes: &[u8]) -> Result<(), ImportError> {
    import(bytes, None, &options()).map(|_| ())
}

#[test]
fn the_models_themselves_import() {
    for m in models() {
        check(&m).unwrap();
    }
}

#[test]
fn every_truncation_is_answered() {
    let mut refusals = 0usize;
    for m in models() {
        for end in 0..m.len() {
            refusals += usize::from(check(&m[..end]).is_err());
        }
    }
    assert!(refusals > 1000, "only {refusals} truncations were refused");
}

#[test]
fn every_flipped_bit_is_answered() {
    let mut count = 0usize;
    for m in models() {
        for at in 0..m.len() {
            for bit in 0..8 {
                let mut mutant = m.clone();
                mutant[at] ^= 1 << bit;
                let _ = check(&mutant);
                count += 1;
            }
        }
    }
    assert!(count > 8000, "{count} mutants");
}

#[test]
fn every_byte_set_to_an_extreme_is_answered() {
    for m in models() {
        for at in 0..m.len() {
            for byte in [0x00, 0x7f, 0xff] {
                let mut mutant = m.clone();
                mutant[at] = byte;
                let _ = check(&mutant);
            }
        }
    }
}

#[test]
fn bytes_removed_or_doubled_are_answered() {
    for m in models() {
        for at in 0..m.len() {
            let mut shorter = m.clone();
            shorter.remove(at);
            let _ = check(&shorter);
            let mut longer = m.clone();
            longer.insert(at, m[at]);
            let _ = check(&longer);
        }
    }
}

#[test]
fn mutants_of_a_tensor_are_answered() {
    let t = floats("t", &[2, 2], &[1.0; 4]);
    for at in 0..t.len() {
        for bit in 0..8 {
            let mut mutant = t.clone();
            mutant[at] ^= 1 << bit;
            let _ = read_tensor(&mutant, &Limits::small());
        }
    }
}

fn with_initializer(t: Vec<u8>) -> Vec<u8> {
    let parts = Parts {
        nodes: vec![node("Add", &["x", "b"], &["y"], &[])],
        initializers: vec![t],
        inputs: vec![value("x", FLOAT, &["2"])],
        outputs: vec![value("y", FLOAT, &[])],
    };
    parts.model(14)
}

/// Each kind of refusal with the bytes that cause it.
#[test]
fn each_refusal_has_its_kind_and_place() {
    let wide: Vec<i64> = vec![1; 40];
    let wide_input: Vec<&str> = vec!["1"; 40];
    let rows: Vec<(&str, Vec<u8>, ErrorKind, &str)> = vec![
        ("empty", Vec::new(), ErrorKind::Format, "no graph"),
        ("not protobuf", b"hello world".to_vec(), ErrorKind::Format, "byte"),
        (
            "text that is not UTF-8",
            [int(1, 8), bytes(7, &bytes(2, &[0xff, 0xfe]))].concat(),
            ErrorKind::Format,
            "not an ONNX message",
        ),
        ("no output", Parts::default().model(14), ErrorKind::Invalid, "output"),
        ("too much data", with_initializer(tensor("b", FLOAT, &[2], &[0; 9])), ErrorKind::Invalid, "expected 8 bytes"),
        ("negative dimension", with_initializer(tensor("b", FLOAT, &[-2], &[0; 8])), ErrorKind::Invalid, "negative"),
        (
            "huge tensor",
            with_initializer(tensor("b", FLOAT, &[1 << 40], &[0; 8])),
            ErrorKind::Limits,
            "max_tensor_bytes",
        ),
        (
            "overflowing tensor",
            with_initializer(tensor("b", FLOAT, &[i64::MAX, i64::MAX], &[])),
            ErrorKind::Limits,
            "overflows",
        ),
        ("rank", with_initializer(tensor("b", FLOAT, &wide, &[0; 4])), ErrorKind::Limits, "max_rank"),
        ("rank of an input", single("Relu", &wide_input, 14, &[]), ErrorKind::Limits, "max_rank"),
        ("no type", with_initializer(tensor("b", 0, &[2], &[0; 8])), ErrorKind::Invalid, "element type"),
        (
            "short list",
            with_initializer([int(1, 2), int(2, FLOAT), text(8, "b")].concat()),
            ErrorKind::Invalid,
            "holds 0",
        ),
        ("shapes", with_initializer(floats("b", &[3], &[0.0; 3])), ErrorKind::Invalid, "do not broadcast"),
        (
            "attribute twice",
            single("Elu", &["1"], 14, &[attr_float("alpha", 1.0), attr_float("alpha", 2.0)]),
            ErrorKind::Invalid,
            "twice",
        ),
        (
            "missing field",
            single("Elu", &["1"], 14, &[[text(1, "alpha"), int(20, 4)].concat()]),
            ErrorKind::Invalid,
            "field `t`",
        ),
        ("missing input", single("Add", &["1"], 14, &[]), ErrorKind::Invalid, "input 1 is missing"),
        (
            "no opset",
            [int(1, 8), bytes(7, &[]), bytes(8, &[text(1, "acme"), int(2, 1)].concat())].concat(),
            ErrorKind::Invalid,
            "",
        ),
        ("axis", single("Softmax", &["2"], 14, &[attr_int("axis", i64::MIN)]), ErrorKind::Invalid, "axis"),
        (
            "kernel",
            single("MaxPool", &["1", "1", "4"], 14, &[attr_ints("kernel_shape", &[-1])]),
            ErrorKind::Invalid,
            "kernel_shape",
        ),
        (
            "stride",
            single("MaxPool", &["1", "1", "4"], 14, &[attr_ints("kernel_shape", &[1]), attr_ints("strides", &[0])]),
            ErrorKind::Invalid,
            "strides",
        ),
    ];
    for (name, bytes, kind, part) in rows {
        let error = check(&bytes).expect_err(name);
        assert_eq!(error.kind(), kind, "{name}: {error}");
        assert!(error.to_string().contains(part), "{name}: {error}");
    }
}

#[test]
fn shapes_that_double_with_every_node_stay_bounded() {
    let mut nodes = vec![node("Flatten", &["x"], &["f0"], &[attr_int("axis", 0)])];
    for i in 0..40 {
        let (a, b, c) = (format!("f{i}"), format!("t{i}"), format!("m{i}"));
        let d = format!("f{}", i + 1);
        nodes.push(node("Transpose", &[&a], &[&b], &[]));
        nodes.push(node("Mul", &[&a, &b], &[&c], &[]));
        nodes.push(node("Flatten", &[&c], &[&d], &[attr_int("axis", 0)]));
    }
    let parts = Parts {
        nodes,
        inputs: vec![value("x", FLOAT, &["N", "M"])],
        outputs: vec![value("f40", FLOAT, &[])],
        ..Parts::default()
    };
    check(&parts.model(14)).unwrap();
}

#[test]
fn constants_that_double_with_every_node_stay_bounded() {
    let mut nodes = vec![node("Identity", &["c"], &["c0"], &[])];
    for i in 0..40 {
        let (a, b) = (format!("c{i}"), format!("c{}", i + 1));
        nodes.push(node("Concat", &[&a, &a], &[&b], &[attr_int("axis", 0)]));
    }
    nodes.push(node("Add", &["c40", "x"], &["y"], &[]));
    let parts = Parts {
        nodes,
        initializers: vec![floats("c", &[1 << 10], &[1.0; 1 << 10])],
        inputs: vec![value("x", FLOAT, &["1"])],
        outputs: vec![value("y", FLOAT, &[])],
    };
    let graph = import(&parts.model(14), None, &options()).unwrap().graph;
    let constants = |graph: &pocketnn::Graph| -> usize {
        graph.values().iter().filter_map(|v| v.fact.constant.as_ref()).map(pocketnn::Tensor::byte_len).sum()
    };
    assert!(constants(&graph) < 64 << 20, "{} bytes", constants(&graph));
    let graph = pocketnn::passes::optimize(graph).unwrap().0;
    assert!(constants(&graph) < 256 << 20, "{} bytes", constants(&graph));
}

#[test]
fn a_constant_made_huge_by_operators_is_not_computed_while_importing() {
    let parts = Parts {
        nodes: vec![
            node("ConstantOfShape", &["s"], &["a"], &[]),
            node("Tile", &["a", "s"], &["b"], &[]),
            node("Add", &["b", "x"], &["y"], &[]),
        ],
        initializers: vec![longs("s", &[2], &[1 << 14, 1 << 14])],
        inputs: vec![value("x", FLOAT, &["1"])],
        outputs: vec![value("y", FLOAT, &[])],
    };
    let graph = import(&parts.model(14), None, &options()).unwrap().graph;
    assert!(graph.weights_bytes() < 1 << 20, "{} bytes", graph.weights_bytes());
}
