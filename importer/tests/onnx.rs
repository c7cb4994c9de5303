//! What the ONNX importer makes of small models, and how it says what it cannot.

mod onnx_support;

use onnx_support::*;
use pocketnn::{DType, Tensor};
use pocketnn_importer::onnx::{import, read_tensor, write_tensor};
use pocketnn_importer::{ErrorKind, ImportOptions, Limits};

fn vector(x: &[f32]) -> Tensor {
    Tensor::vector(x)
}

/// `y = op(x, b)` with a constant `b`.
fn with_constant(op: &str, dims: &[&str], b: Vec<u8>, opset: i64, attributes: &[Vec<u8>]) -> Vec<u8> {
    let parts = Parts {
        nodes: vec![node(op, &["x", "b"], &["y"], attributes)],
        initializers: vec![b],
        inputs: vec![value("x", FLOAT, dims)],
        outputs: vec![value("y", FLOAT, &[])],
    };
    parts.model(opset)
}

#[test]
fn addition_of_opset_6_aligns_the_second_operand_at_an_axis() {
    let b = floats("b", &[2], &[10.0, 20.0]);
    let model = with_constant("Add", &["1", "2", "3"], b, 6, &[attr_int("broadcast", 1), attr_int("axis", 1)]);
    let x = Tensor::new(&[1, 2, 3], vec![1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
    assert_eq!(run(&model, &[x])[0].to_f32(), [11.0, 12.0, 13.0, 24.0, 25.0, 26.0]);
}

#[test]
fn softmax_before_opset_13_joins_the_axes_behind_its_own() {
    let x = Tensor::new(&[1, 2, 2], vec![0.0f32; 4]).unwrap();
    let old = run(&single("Softmax", &["1", "2", "2"], 12, &[attr_int("axis", 1)]), std::slice::from_ref(&x));
    let new = run(&single("Softmax", &["1", "2", "2"], 13, &[attr_int("axis", 1)]), &[x]);
    assert_eq!(old[0].to_f32(), [0.25; 4]);
    assert_eq!(new[0].to_f32(), [0.5; 4]);
}

#[test]
fn an_attribute_nobody_reads_is_named() {
    let error = refused(&single("Relu", &["3"], 14, &[attr_int("colour", 3)]));
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let text = error.to_string();
    assert!(text.starts_with("Relu `node_y`, attribute `colour`:"), "{text}");
    assert!(text.contains("the integer 3"), "{text}");
}

#[test]
fn an_attribute_of_another_kind_is_named_with_both_kinds() {
    let error = refused(&single("LeakyRelu", &["3"], 16, &[attr_int("alpha", 1)]));
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let text = error.to_string();
    assert!(text.contains("LeakyRelu `node_y`, attribute `alpha`"), "{text}");
    assert!(text.contains("expected a float, found the integer 1"), "{text}");
}

#[test]
fn everything_unsupported_is_reported_in_one_pass() {
    let parts = Parts {
        nodes: vec![
            node("Frobnicate", &["x"], &["a"], &[]),
            node("Frobnicate", &["a"], &["b"], &[]),
            node("Relu", &["b"], &["c"], &[]),
            node("Relu", &["x"], &["d"], &[attr_int("colour", 3)]),
            node_in("acme", "Relu", &["c"], &["y"], &[]),
            node("Add", &["y", "d"], &["z"], &[]),
        ],
        inputs: vec![value("x", FLOAT, &["3"])],
        outputs: vec![value("z", FLOAT, &[])],
        ..Parts::default()
    };
    let error = refused(&parts.model(14));
    let report = error.report().unwrap();
    let rows: Vec<(&str, usize)> = report.unsupported().iter().map(|e| (e.op.as_str(), e.count)).collect();
    assert_eq!(rows, [("Frobnicate", 2), ("Relu", 1), ("acme::Relu", 1)]);
    assert_eq!(report.unsupported()[0].example.node.as_deref(), Some("node_a"));
}

fn two_nodes(first: &[&str], second: &[&str]) -> Vec<u8> {
    let parts = Parts {
        nodes: vec![node("Relu", first, &["y"], &[]), node("Neg", second, &["a"], &[])],
        inputs: vec![value("x", FLOAT, &["2"])],
        outputs: vec![value("y", FLOAT, &[])],
        ..Parts::default()
    };
    parts.model(14)
}

#[test]
fn nodes_out_of_order_are_sorted() {
    assert_eq!(run(&two_nodes(&["a"], &["x"]), &[vector(&[-1.0, 2.0])])[0].to_f32(), [1.0, 0.0]);
}

#[test]
fn nodes_that_depend_on_themselves_are_refused() {
    for (first, second) in [(["a"], ["y"]), (["y"], ["x"])] {
        let error = refused(&two_nodes(&first, &second));
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("depends on its own result"), "{error}");
    }
}

#[test]
fn a_value_that_nothing_computes_is_named() {
    let error = refused(&two_nodes(&["nobody"], &["x"]));
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("`nobody`"), "{error}");
}

#[test]
fn a_newer_opset_is_admitted_with_a_warning() {
    let model = single("Relu", &["2"], 99, &[]);
    let imported = imported(&model);
    assert_eq!(imported.report.warnings().len(), 1);
    assert!(imported.report.warnings()[0].reason.contains("found 99"), "{:?}", imported.report);
    assert_eq!(run(&model, &[vector(&[-1.0, 2.0])])[0].to_f32(), [0.0, 2.0]);
}

#[test]
fn an_operator_older_opsets_do_not_have_is_refused() {
    let error = refused(&single("Gelu", &["2"], 13, &[]));
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("expected opset 20 or later, found 13"), "{error}");
}

#[test]
fn a_function_of_the_model_is_expanded_with_its_arguments() {
    let body = [node("LeakyRelu", &["a"], &["b"], &[attr_ref("alpha", "slope", 1)])];
    let mut f = function("Slope", &["a"], &["b"], &body, 16);
    f.extend(text(6, "slope"));
    let parts = Parts {
        nodes: vec![node_in("local", "Slope", &["x"], &["y"], &[attr_float("slope", 0.5)])],
        inputs: vec![value("x", FLOAT, &["2"])],
        outputs: vec![value("y", FLOAT, &[])],
        ..Parts::default()
    };
    assert_eq!(run(&parts.model_with(16, &[f]), &[vector(&[-2.0, 2.0])])[0].to_f32(), [-1.0, 2.0]);
}

#[test]
fn a_function_that_calls_itself_meets_the_depth_limit() {
    let f = function("Loop", &["a"], &["b"], &[node_in("local", "Loop", &["a"], &["b"], &[])], 16);
    let parts = Parts {
        nodes: vec![node_in("local", "Loop", &["x"], &["y"], &[])],
        inputs: vec![value("x", FLOAT, &["2"])],
        outputs: vec![value("y", FLOAT, &[])],
        ..Parts::default()
    };
    let error = refused(&parts.model_with(16, &[f]));
    assert_eq!(error.kind(), ErrorKind::Limits);
    assert!(error.to_string().contains("max_depth"), "{error}");
}

#[test]
fn functions_that_call_each_other_twice_meet_the_node_limit() {
    let call = |i: usize, a: &str, b: &str| node_in("local", &format!("F{i}"), &[a], &[b], &[]);
    let functions: Vec<Vec<u8>> = (0..30)
        .map(|i| {
            let nodes = if i == 0 {
                vec![node("Relu", &["a"], &["b"], &[])]
            } else {
                vec![call(i - 1, "a", "m"), call(i - 1, "m", "b")]
            };
            function(&format!("F{i}"), &["a"], &["b"], &nodes, 16)
        })
        .collect();
    let parts = Parts {
        nodes: vec![call(29, "x", "y")],
        inputs: vec![value("x", FLOAT, &["2"])],
        outputs: vec![value("y", FLOAT, &[])],
        ..Parts::default()
    };
    let error = refused(&parts.model_with(16, &functions));
    assert_eq!(error.kind(), ErrorKind::Limits);
    assert!(error.to_string().contains("max_nodes"), "{error}");
}

#[test]
fn half_precision_keeps_its_type_at_the_border_and_rounds_in_the_middle() {
    let parts = Parts {
        nodes: vec![node("Cast", &["x"], &["h"], &[attr_int("to", FLOAT16)]), node("Add", &["h", "h"], &["y"], &[])],
        inputs: vec![value("x", FLOAT, &["1"])],
        outputs: vec![value("y", FLOAT16, &["1"])],
        ..Parts::default()
    };
    let y = run(&parts.model(14), &[vector(&[1.0 + 1.0 / 4096.0])]);
    assert_eq!(y[0].dtype(), DType::F16);
    assert_eq!(y[0].to_f32(), [2.0]);
}

#[test]
fn an_output_declared_with_another_type_is_refused() {
    let parts = Parts {
        nodes: vec![node("Relu", &["x"], &["y"], &[])],
        inputs: vec![value("x", FLOAT, &["1"])],
        outputs: vec![value("y", INT64, &["1"])],
        ..Parts::default()
    };
    let error = refused(&parts.model(14));
    assert!(error.to_string().contains("expected int64, found float"), "{error}");
}

#[test]
fn shape_arithmetic_of_a_symbolic_batch_leaves_no_node_but_the_reshape() {
    let parts = Parts {
        nodes: vec![
            node("Shape", &["x"], &["s"], &[]),
            node("Gather", &["s", "zero"], &["n"], &[]),
            node("Unsqueeze", &["n", "axis"], &["n1"], &[]),
            node("Concat", &["n1", "rest"], &["t"], &[attr_int("axis", 0)]),
            node("Reshape", &["x", "t"], &["y"], &[]),
        ],
        initializers: vec![longs("zero", &[], &[0]), longs("axis", &[1], &[0]), longs("rest", &[1], &[-1])],
        inputs: vec![value("x", FLOAT, &["N", "2", "3"])],
        outputs: vec![value("y", FLOAT, &[])],
    };
    let imported = imported(&parts.model(14));
    let graph = &imported.graph;
    let y = graph.outputs()[0];
    assert_eq!(graph.ty(y).to_string(), "f32[N, 6]");
    let x = Tensor::new(&[2, 2, 3], vec![1.0f32; 12]).unwrap();
    assert_eq!(run(&parts.model(14), &[x])[0].shape(), [2, 6]);
}

#[test]
fn a_known_condition_chooses_its_branch_and_a_known_loop_is_unrolled() {
    let constant = |v: f32| {
        let c = node("Constant", &[], &["c"], &[attr_tensor("value", &floats("", &[1], &[v]))]);
        Parts { nodes: vec![c], outputs: vec![value("c", FLOAT, &["1"])], ..Parts::default() }.encode()
    };
    let body = Parts {
        nodes: vec![node("Add", &["s", "x"], &["t"], &[]), node("Identity", &["go"], &["go2"], &[])],
        inputs: vec![value("i", INT64, &[]), value("go", BOOL, &[]), value("s", FLOAT, &["1"])],
        outputs: vec![value("go2", BOOL, &[]), value("t", FLOAT, &["1"])],
        ..Parts::default()
    };
    let parts = Parts {
        nodes: vec![
            node(
                "If",
                &["yes"],
                &["a"],
                &[attr_graph("then_branch", &constant(5.0)), attr_graph("else_branch", &constant(7.0))],
            ),
            node("Loop", &["three", "", "a"], &["y"], &[attr_graph("body", &body.encode())]),
        ],
        initializers: vec![tensor("yes", BOOL, &[], &[1]), longs("three", &[], &[3])],
        inputs: vec![value("x", FLOAT, &["1"])],
        outputs: vec![value("y", FLOAT, &[])],
    };
    assert_eq!(run(&parts.model(16), &[vector(&[2.0])])[0].to_f32(), [11.0]);
}

#[test]
fn a_loop_of_endless_rounds_meets_the_limit() {
    let body = Parts {
        nodes: vec![node("Identity", &["go"], &["go2"], &[]), node("Identity", &["s"], &["t"], &[])],
        inputs: vec![value("i", INT64, &[]), value("go", BOOL, &[]), value("s", FLOAT, &["1"])],
        outputs: vec![value("go2", BOOL, &[]), value("t", FLOAT, &["1"])],
        ..Parts::default()
    };
    let parts = Parts {
        nodes: vec![node("Loop", &["", "", "x"], &["y"], &[attr_graph("body", &body.encode())])],
        inputs: vec![value("x", FLOAT, &["1"])],
        outputs: vec![value("y", FLOAT, &[])],
        ..Parts::default()
    };
    assert_eq!(refused(&parts.model(16)).kind(), ErrorKind::Limits);
}

fn chain() -> Vec<u8> {
    let parts = Parts {
        nodes: vec![
            node("Relu", &["x"], &["a"], &[]),
            node("Neg", &["a"], &["b"], &[]),
            node("Exp", &["b"], &["y"], &[]),
        ],
        inputs: vec![value("x", FLOAT, &["2"]), value("b", FLOAT, &["2"])],
        outputs: vec![value("y", FLOAT, &[])],
        ..Parts::default()
    };
    // `b` is declared by value_info rather than as an input.
    let mut graph = Parts { inputs: vec![parts.inputs[0].clone()], ..parts }.encode();
    graph.extend(bytes(13, &value("b", FLOAT, &["2"])));
    [int(1, 8), bytes(7, &graph), bytes(8, &int(2, 14))].concat()
}

#[test]
fn inner_values_can_be_fed_and_fetched() {
    let choose = |feed: &[&str], fetch: &[&str]| ImportOptions {
        feed: feed.iter().map(ToString::to_string).collect(),
        fetch: fetch.iter().map(ToString::to_string).collect(),
        ..options()
    };
    let names = |o: &ImportOptions| {
        let g = import(&chain(), None, o).unwrap().graph;
        let name = |v: &pocketnn::ValueId| g.value(*v).name.clone();
        (
            g.inputs().iter().map(name).collect::<Vec<_>>(),
            g.outputs().iter().map(name).collect::<Vec<_>>(),
            g.nodes().len(),
        )
    };
    assert_eq!(names(&choose(&[], &["a", "b"])), (vec!["x".into()], vec!["a".into(), "b".into()], 2));
    assert_eq!(names(&choose(&["b"], &[])), (vec!["b".into()], vec!["y".into()], 1));
    assert_eq!(import(&chain(), None, &choose(&[], &["nobody"])).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(import(&chain(), None, &choose(&["a"], &[])).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn dimensions_by_name_become_numbers() {
    let dims = [("N".to_string(), 4usize)].into();
    let model = single("Relu", &["N", "3"], 14, &[]);
    let g = import(&model, None, &ImportOptions { dims, ..options() }).unwrap().graph;
    assert_eq!(g.ty(g.outputs()[0]).to_string(), "f32[4, 3]");
    let dims = [("batch".to_string(), 4usize)].into();
    let error = import(&model, None, &ImportOptions { dims, ..options() }).unwrap_err();
    assert!(error.to_string().contains("expected N, found batch"), "{error}");
}

/// A model whose only weight is in another file, by these entries.
fn external(entries: &[(&str, &str)]) -> Vec<u8> {
    let mut w = [int(1, 2), int(2, FLOAT), text(8, "b"), int(14, 1)].concat();
    entries.iter().for_each(|(k, v)| w.extend(bytes(13, &[text(1, k), text(2, v)].concat())));
    with_constant("Add", &["2"], w, 14, &[])
}

#[test]
fn external_data_is_read_only_inside_the_folder() {
    let root = std::env::temp_dir().join(format!("pocketnn-onnx-external-{}", std::process::id()));
    let folder = root.join("model");
    std::fs::create_dir_all(&folder).unwrap();
    let data: Vec<u8> = [9.0f32, 1.0, 2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    std::fs::write(folder.join("w.bin"), &data).unwrap();
    std::fs::write(root.join("secret.bin"), &data).unwrap();
    let try_import = |entries: &[(&str, &str)]| import(&external(entries), Some(&folder), &options());

    let good = try_import(&[("location", "w.bin"), ("offset", "4"), ("length", "8")]).unwrap();
    let y = pocketnn::Model::new(good.graph);
    let y = y.session(&pocketnn::Options::default()).unwrap().run_tensors(&[vector(&[0.0, 0.0])]).unwrap();
    assert_eq!(y[0].to_f32(), [1.0, 2.0]);

    let secret = root.join("secret.bin").display().to_string();
    for (entries, kind, part) in [
        (vec![("location", "../secret.bin")], ErrorKind::Invalid, "outside"),
        (vec![("location", secret.as_str())], ErrorKind::Invalid, "outside"),
        (vec![("location", "")], ErrorKind::Invalid, "outside"),
        (vec![("location", ".")], ErrorKind::Invalid, "regular file"),
        (vec![("offset", "0")], ErrorKind::Invalid, "location"),
        (vec![("location", "none.bin")], ErrorKind::Io, ""),
        (vec![("location", "w.bin"), ("length", "4")], ErrorKind::Invalid, "length"),
        (vec![("location", "w.bin"), ("offset", "8")], ErrorKind::Format, "beyond the end"),
        (vec![("location", "w.bin"), ("offset", "18446744073709551615")], ErrorKind::Format, "beyond the end"),
        (vec![("location", "w.bin"), ("offset", "-4")], ErrorKind::Invalid, "offset"),
    ] {
        let error = try_import(&entries).unwrap_err();
        assert_eq!(error.kind(), kind, "{entries:?}: {error}");
        assert!(error.to_string().contains(part), "{entries:?}: {error}");
        assert!(error.to_string().contains("`b`"), "{entries:?}: {error}");
    }
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(root.join("secret.bin"), folder.join("link.bin")).unwrap();
        let error = try_import(&[("location", "link.bin")]).unwrap_err();
        assert!(error.to_string().contains("link"), "{error}");
    }
    let error = import(&external(&[("location", "w.bin")]), None, &options()).unwrap_err();
    assert!(error.to_string().contains("from a file"), "{error}");
    std::fs::remove_dir_all(&root).unwrap();
}

#[test]
fn tensors_are_written_and_read_back_bit_by_bit() {
    for t in [
        Tensor::new(&[2, 1], vec![1.5f32, f32::NAN]).unwrap(),
        Tensor::scalar(-3i64),
        Tensor::vector(&[true, false]),
        Tensor::vector(&[half::f16::from_f32(0.1)]),
        Tensor::new(&[0, 3], Vec::<u8>::new()).unwrap(),
    ] {
        let bytes = write_tensor("t", &t).unwrap();
        assert!(read_tensor(&bytes, &Limits::small()).unwrap().same_bits(&t), "{t:?}");
    }
}

#[test]
fn element_types_that_nothing_carries_are_named() {
    for (number, name) in [(14, "complex64"), (15, "complex128")] {
        let model = with_constant("Add", &["1"], tensor("b", number, &[1], &[0]), 14, &[]);
        let error = refused(&model);
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{name}");
        assert!(error.to_string().contains(&format!("type {name} ")), "{error}");
    }
    let error = refused(&with_constant("Add", &["1"], tensor("b", 99, &[1], &[0]), 14, &[]));
    assert!(error.to_string().contains("number 99"), "{error}");
}
