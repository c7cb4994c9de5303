//! TensorFlow graphs against what TensorFlow computes, and graphs made here.

mod tensorflow_support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use pocketnn::ops::elementwise::cast;
use pocketnn::plan::interpret;
use pocketnn::{Graph, Model, Options, Tensor, Weights};
use pocketnn_importer::{ErrorKind, Format, ImportOptions, import, import_bytes, tensorflow};
use tensorflow_support::*;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// Outputs by the naive interpreter and by the optimised plan.
fn run_both(graph: &Graph, inputs: &[Tensor]) -> [Vec<Tensor>; 2] {
    let naive = interpret(graph, inputs, |_, _| Ok(())).unwrap();
    let (optimised, _) = pocketnn::passes::optimize(graph.clone()).unwrap();
    let mut session = Model::new(optimised).session(&Options::default()).unwrap();
    [naive, session.run_tensors(inputs).unwrap()]
}

/// The largest difference, relative to the largest element wanted.
fn difference(y: &Tensor, want: &Tensor) -> Result<f64, String> {
    if y.shape() != want.shape() {
        return Err(format!("shape {:?} instead of {:?}", y.shape(), want.shape()));
    }
    let (y, want) = (y.to_f64(), want.to_f64());
    let largest = want.iter().filter(|x| x.is_finite()).fold(1e-3, |m: f64, x| m.max(x.abs()));
    let each = y.iter().zip(&want).map(|(y, w)| match (y.is_nan(), w.is_nan()) {
        (true, true) => 0.0,
        _ if y == w => 0.0,
        _ => (y - w).abs() / largest,
    });
    Ok(each.fold(0.0, |m, d| if d > m || d.is_nan() { d } else { m }))
}

/// Name to the graph, inputs and outputs of each case of the file.
fn cases() -> BTreeMap<String, (Vec<u8>, Vec<Tensor>, Vec<Tensor>)> {
    let file = Weights::open(data("tensorflow_ops.safetensors")).unwrap();
    let mut cases: BTreeMap<String, (Vec<u8>, Vec<Tensor>, Vec<Tensor>)> = BTreeMap::new();
    for (name, t) in file.iter().filter(|t| t.0.ends_with("/graph")) {
        let name = name.trim_end_matches("/graph");
        let list = |kind: &str| (0..).map_while(|k| file.get(&format!("{name}/{kind}{k}")).ok()).collect();
        cases.insert(name.to_string(), (t.bytes().to_vec(), list("in"), list("out")));
    }
    cases
}

fn check(bytes: &[u8], inputs: &[Tensor], wanted: &[Tensor]) -> Result<(), String> {
    let imported = import_bytes(bytes, &ImportOptions::default()).map_err(|e| e.to_string())?;
    let graph = imported.graph;
    let names: Vec<&str> = graph.inputs().iter().map(|&i| graph.value(i).name.as_str()).collect();
    let mut given = Vec::new();
    for (k, &id) in graph.inputs().iter().enumerate() {
        let number: usize = names[k].trim_start_matches('x').parse().map_err(|_| format!("input {}", names[k]))?;
        given.push(cast(&inputs[number], graph.ty(id).dtype).map_err(|e| e.to_string())?);
    }
    if graph.outputs().len() != wanted.len() {
        return Err(format!("{} outputs instead of {}", graph.outputs().len(), wanted.len()));
    }
    for (way, outputs) in ["naive", "planned"].iter().zip(run_both(&graph, &given)) {
        for (k, (y, want)) in outputs.iter().zip(wanted).enumerate() {
            let d = difference(y, want).map_err(|e| format!("{way}, output {k}: {e}"))?;
            if d.is_nan() || d > 2e-5 {
                return Err(format!(
                    "{way}, output {k}: differs by {d:.2e}: {:?} instead of {:?}",
                    y.to_f64(),
                    want.to_f64()
                ));
            }
        }
    }
    Ok(())
}

#[test]
fn every_operation_computes_what_tensorflow_computes() {
    let mut wrong = Vec::new();
    let cases = cases();
    assert!(cases.len() > 240);
    for (name, (graph, inputs, outputs)) in &cases {
        if let Err(e) = check(graph, inputs, outputs) {
            wrong.push(format!("{name}: {}", e.chars().take(400).collect::<String>()));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// Operations that TensorFlow only writes itself, or no longer writes: their graphs are made in this file.
const MADE_HERE: &[&str] = &[
    "AudioSpectrogram",
    "BatchNormWithGlobalNormalization",
    "Case",
    "DecodeWav",
    "DisableCopyOnRead",
    "Exit",
    "If",
    "Merge",
    "Mfcc",
    "NoOp",
    "PlaceholderV2",
    "PreventGradient",
    "ReadVariableOp",
    "RefExit",
    "RefIdentity",
    "RefMerge",
    "RefSwitch",
    "ResourceGather",
    "Snapshot",
    "StatefulPartitionedCall",
    "StatelessCase",
    "StatelessIf",
    "StatelessWhile",
    "StopGradient",
    "SymbolicGradient",
    "VarHandleOp",
    "VarIsInitializedOp",
    "Variable",
    "VariableV2",
    "While",
    "_FusedBatchNormEx",
    "_FusedConv2D",
    "_FusedDepthwiseConv2dNative",
    "_FusedMatMul",
];

/// Names of operations in a serialised graph, functions included.
fn operations(bytes: &[u8], all: &[&'static str]) -> BTreeSet<&'static str> {
    let holds = |op: &str| {
        let field = [&[0x12, op.len() as u8][..], op.as_bytes()].concat();
        bytes.windows(field.len()).any(|w| w == field)
    };
    all.iter().copied().filter(|op| holds(op)).collect()
}

#[test]
fn every_row_is_covered_by_a_case() {
    let all = tensorflow::operations();
    let mut covered: BTreeSet<&str> = MADE_HERE.iter().copied().collect();
    for (graph, ..) in cases().values() {
        covered.extend(operations(graph, &all));
    }
    let missing: Vec<&&str> = all.iter().filter(|op| !covered.contains(**op)).collect();
    assert!(missing.is_empty(), "rows without a case: {missing:?}");
    let unknown: Vec<&&str> = MADE_HERE.iter().filter(|op| !all.contains(op)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn a_model_of_tensorflow_1_with_partitioned_variables_and_a_learning_phase() {
    let file = Weights::open(data("tensorflow_ops.safetensors")).unwrap();
    let imported = import(data("tensorflow1"), &ImportOptions::default()).unwrap();
    assert_eq!(imported.provenance.format, Format::SavedModel);
    assert!(imported.provenance.producer.unwrap().starts_with("tensorflow 2"));
    let graph = imported.graph;
    for outputs in run_both(&graph, &[file.get("tensorflow1/in0").unwrap()]) {
        for (&id, y) in graph.outputs().iter().zip(&outputs) {
            let want = file.get(&format!("tensorflow1/{}", graph.value(id).name)).unwrap();
            assert!(difference(y, &want).unwrap() < 1e-5);
        }
    }
}

#[test]
fn signatures_are_chosen_and_variables_of_one_name_are_told_apart() {
    let file = Weights::open(data("tensorflow_ops.safetensors")).unwrap();
    let graph = import(data("tensorflow2"), &ImportOptions::default()).unwrap().graph;
    assert_eq!(graph.value(graph.inputs()[0]).name, "x");
    assert_eq!(graph.value(graph.outputs()[0]).name, "y");
    let [y, planned] = run_both(&graph, &[file.get("tensorflow2/in0").unwrap()]);
    let want = file.get("tensorflow2/y").unwrap();
    assert!(difference(&y[0], &want).unwrap() < 1e-5 && difference(&planned[0], &want).unwrap() < 1e-5);
    let rows = ImportOptions { signature: Some("rows".into()), ..ImportOptions::default() };
    let graph = import(data("tensorflow2"), &rows).unwrap().graph;
    let [z, _] = run_both(&graph, &[file.get("tensorflow2/rows").unwrap()]);
    assert!(difference(&z[0], &file.get("tensorflow2/z").unwrap()).unwrap() < 1e-6);
    let wrong = ImportOptions { signature: Some("predict".into()), ..ImportOptions::default() };
    let error = import(data("tensorflow2"), &wrong).unwrap_err();
    assert!(error.to_string().contains("rows") && error.to_string().contains("predict"), "{error}");
    let alone = std::fs::read(data("tensorflow2/saved_model.pb")).unwrap();
    let error = import_bytes(&alone, &ImportOptions::default()).unwrap_err();
    assert!(error.to_string().contains("import the folder"), "{error}");
}

#[test]
fn the_digest_covers_the_variables_too() {
    use sha2::{Digest, Sha256};
    let mut digest = Sha256::new();
    for file in ["saved_model.pb", "variables/variables.data-00000-of-00001", "variables/variables.index"] {
        digest.update(std::fs::read(data("tensorflow2").join(file)).unwrap());
    }
    let want: String = digest.finalize().iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(import(data("tensorflow2"), &ImportOptions::default()).unwrap().provenance.sha256, want);
}

fn run(bytes: &[u8], options: &ImportOptions, inputs: &[Tensor]) -> Vec<Tensor> {
    let graph = import_bytes(bytes, options).unwrap().graph;
    let [naive, planned] = run_both(&graph, inputs);
    for (a, b) in naive.iter().zip(&planned) {
        assert!(difference(a, b).unwrap() < 1e-5);
    }
    naive
}

fn refusal(bytes: &[u8], options: &ImportOptions) -> String {
    import_bytes(bytes, options).unwrap_err().to_string()
}

#[test]
fn what_the_optimiser_of_tensorflow_joins_is_taken_apart() {
    let x = Tensor::new(&[1, 2, 2, 1], vec![1.0f32, -2.0, 3.0, -4.0]).unwrap();
    let kernel = Tensor::new(&[1, 1, 1, 2], vec![1.0f32, -1.0]).unwrap();
    let four = [
        constant("s", &Tensor::vector(&[1.0f32, 2.0])),
        constant("o", &Tensor::vector(&[0.5f32, 0.0])),
        constant("m", &Tensor::vector(&[1.0f32, 0.0])),
        constant("v", &Tensor::vector(&[1.0f32, 4.0])),
    ];
    let window = [attr("strides", numbers(&[1, 1, 1, 1])), attr("padding", text("VALID"))].concat();
    let fused = |op: &str, ops: &[&str], inputs: &[&str]| {
        let attrs =
            [window.clone(), attr("fused_ops", texts(ops)), attr("num_args", number(1)), attr("epsilon", float(0.0))];
        let end = node("y", op, inputs, &attrs);
        let depthwise = kernel.clone();
        graph(&[&[placeholder("x", &[1, 2, 2, 1]), constant("k", &depthwise), end][..], &four].concat())
    };
    let want = [1.5, 0.0, 0.0, 2.0, 3.5, 0.0, 0.0, 4.0];
    for op in ["_FusedConv2D", "_FusedDepthwiseConv2dNative"] {
        let y = run(
            &fused(op, &["BiasAdd", "Relu"], &["x", "k", "o"]),
            &ImportOptions::default(),
            std::slice::from_ref(&x),
        );
        assert_eq!(y[0].to_f64(), want, "{op}");
    }
    let y = run(
        &fused("_FusedConv2D", &["FusedBatchNorm"], &["x", "k", "s", "o", "m", "v"]),
        &ImportOptions::default(),
        std::slice::from_ref(&x),
    );
    assert_eq!(y[0].to_f64(), [0.5, -1.0, -2.5, 2.0, 2.5, -3.0, -4.5, 4.0]);
    let matrix = constant("k", &Tensor::new(&[1, 2], vec![2.0f32, -1.0]).unwrap());
    let attrs = [attr("fused_ops", texts(&["BiasAdd", "Relu6"])), attr("num_args", number(1))];
    let product = node("y", "_FusedMatMul", &["x", "k", "o"], &attrs);
    let bytes = graph(&[placeholder("x", &[2, 1]), matrix, four[1].clone(), product]);
    let x2 = Tensor::new(&[2, 1], vec![1.0f32, -3.0]).unwrap();
    assert_eq!(run(&bytes, &ImportOptions::default(), &[x2])[0].to_f64(), [2.5, 0.0, 0.0, 3.0]);
    let x = Tensor::new(&[1, 1, 1, 2], vec![3.0f32, 6.0]).unwrap();
    let old = |attrs: &[Vec<u8>], op: &str, inputs: &[&str]| {
        graph(&[&[placeholder("x", &[1, 1, 1, 2]), node("y", op, inputs, attrs)][..], &four].concat())
    };
    let attrs = [attr("variance_epsilon", float(0.0)), attr("scale_after_normalization", flag(true))];
    let global = old(&attrs, "BatchNormWithGlobalNormalization", &["x", "m", "v", "o", "s"]);
    assert_eq!(run(&global, &ImportOptions::default(), std::slice::from_ref(&x))[0].to_f64(), [2.5, 6.0]);
    let attrs = [attr("activation_mode", text("Relu")), attr("is_training", flag(false)), attr("epsilon", float(0.0))];
    let bytes = old(&attrs, "_FusedBatchNormEx", &["x", "s", "o", "m", "v"]);
    assert_eq!(run(&bytes, &ImportOptions::default(), &[x])[0].to_f64(), [2.5, 6.0]);
}

#[test]
fn the_front_end_for_sound_is_fed_or_refused_with_a_hint() {
    let nodes = [
        node("wav", "Placeholder", &[], &[attr("dtype", dtype(7)), attr("shape", shape(&[]))]),
        node(
            "decoded",
            "DecodeWav",
            &["wav"],
            &[attr("desired_samples", number(16000)), attr("desired_channels", number(1))],
        ),
        node(
            "spectrum",
            "AudioSpectrogram",
            &["decoded"],
            &[attr("window_size", number(640)), attr("stride", number(320))],
        ),
        node("features", "Mfcc", &["spectrum", "decoded:1"], &[attr("dct_coefficient_count", number(10))]),
        integers("shape", &[-1, 490]),
        node("y", "Reshape", &["features", "shape"], &[]),
    ];
    let bytes = graph(&nodes);
    let error = import_bytes(&bytes, &ImportOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("--feed"), "{error}");
    let fed = ImportOptions { feed: vec!["features:0".into()], ..ImportOptions::default() };
    let graph = import_bytes(&bytes, &fed).unwrap().graph;
    assert_eq!(graph.ty(graph.inputs()[0]).known_shape().unwrap(), [1, 49, 10]);
    assert_eq!(graph.value(graph.inputs()[0]).name, "features");
    assert_eq!(graph.ty(graph.outputs()[0]).known_shape().unwrap(), [1, 490]);
    let other = ImportOptions { fetch: vec!["nothing:0".into()], ..ImportOptions::default() };
    assert!(refusal(&bytes, &other).contains("no such tensor"));
}

#[test]
fn every_unsupported_operation_is_told_at_once() {
    let bytes = graph(&[
        placeholder("x", &[2]),
        node("a", "Digamma", &["x"], &[]),
        node("b", "Zeta", &["a", "x"], &[]),
        node("c", "Digamma", &["x"], &[]),
        node("y", "AddV2", &["b", "c"], &[]),
    ]);
    let error = import_bytes(&bytes, &ImportOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let text = error.to_string();
    assert!(text.contains("2x Digamma `a`") && text.contains("1x Zeta `b`"), "{text}");
    let attribute = graph(&[placeholder("x", &[2]), node("y", "Relu", &["x"], &[attr("upside_down", flag(true))])]);
    let text = refusal(&attribute, &ImportOptions::default());
    assert!(text.contains("upside_down") && text.contains("Relu `y`"), "{text}");
    let gradient = graph(&[placeholder("x", &[2]), node("y", "SymbolicGradient", &["x"], &[])]);
    assert!(refusal(&gradient, &ImportOptions::default()).contains("training"));
}

#[test]
fn graphs_that_are_not_frozen_say_so() {
    for (op, read) in [("VarHandleOp", "ReadVariableOp"), ("VariableV2", "Identity"), ("Variable", "RefIdentity")] {
        let bytes = graph(&[
            node("w", op, &[], &[attr("dtype", dtype(1)), attr("shape", shape(&[2]))]),
            node("read", read, &["w"], &[]),
            placeholder("x", &[2]),
            node("y", "Mul", &["x", "read"], &[]),
        ]);
        let text = refusal(&bytes, &ImportOptions::default());
        assert!(text.contains("not frozen") && text.contains('w'), "{text}");
    }
    // What converters leave where variables were is read as it is.
    let bytes = graph(&[
        constant("w", &Tensor::new(&[2, 2], vec![1.0f32, 2.0, 3.0, 4.0]).unwrap()),
        node("n", "DisableCopyOnRead", &["w"], &[]),
        node("read", "ReadVariableOp", &["w", "^n"], &[]),
        node("set", "VarIsInitializedOp", &["w"], &[]),
        node("x", "PlaceholderV2", &[], &[attr("dtype", dtype(3)), attr("shape", shape(&[1]))]),
        node("row", "ResourceGather", &["w", "x"], &[]),
        node("y", "AddV2", &["row", "read", "^set"], &[]),
    ]);
    let y = run(&bytes, &ImportOptions::default(), &[Tensor::vector(&[1i32])]);
    assert_eq!(y[0].to_f64(), [4.0, 6.0, 6.0, 8.0]);
}

#[test]
fn branches_of_version_1_are_decided_and_may_hold_what_is_not_supported() {
    for (switch, merge) in [("Switch", "Merge"), ("RefSwitch", "RefMerge")] {
        let training = node("cond/random", "RandomUniform", &["cond/on"], &[]);
        let bytes = graph(&[
            placeholder("x", &[2]),
            node("keras_learning_phase", "Placeholder", &[], &[attr("dtype", dtype(10)), attr("shape", shape(&[]))]),
            node("cond", switch, &["x", "keras_learning_phase"], &[]),
            node("cond/on", "Identity", &["cond:1"], &[]),
            node("cond/off", "Identity", &["cond"], &[]),
            training,
            node("merged", merge, &["cond/off", "cond/random"], &[]),
            node("y", "Neg", &["merged"], &[]),
        ]);
        let y = run(&bytes, &ImportOptions::default(), &[Tensor::vector(&[1.0f32, -2.0])]);
        assert_eq!(y[0].to_f64(), [-1.0, 2.0]);
        let fed = ImportOptions {
            feed: vec!["x".into(), "keras_learning_phase".into()],
            fetch: vec!["y".into()],
            ..ImportOptions::default()
        };
        assert!(refusal(&bytes, &fed).contains("chosen by data"));
    }
    let loop_nodes = [
        placeholder("x", &[2]),
        node("enter", "Enter", &["x"], &[]),
        node("merge", "Merge", &["enter", "next"], &[]),
        node("next", "NextIteration", &["merge"], &[]),
        node("y", "Exit", &["merge"], &[]),
    ];
    let text = refusal(&graph(&loop_nodes), &ImportOptions::default());
    assert!(text.contains("loops of TensorFlow 1"), "{text}");
}

#[test]
fn functions_nest_but_do_not_call_themselves() {
    let call =
        |name: &str, f: &str, x: &str| node(name, "StatefulPartitionedCall", &[x], &[attr("f", function_name(f))]);
    let twice = function("twice", &["a"], &[("o", "s:z:0")], &[node("s", "AddV2", &["a", "a"], &[])]);
    let outer = function("outer", &["a"], &[("o", "c:output:0")], &[call("c", "twice", "a")]);
    let endless = function("endless", &["a"], &[("o", "c:output:0")], &[call("c", "endless", "a")]);
    let bytes = |f: &str| {
        graph_with(&[placeholder("x", &[2]), call("y", f, "x")], &[twice.clone(), outer.clone(), endless.clone()])
    };
    let x = Tensor::vector(&[1.5f32, -2.0]);
    assert_eq!(run(&bytes("outer"), &ImportOptions::default(), &[x])[0].to_f64(), [3.0, -4.0]);
    assert!(refusal(&bytes("endless"), &ImportOptions::default()).contains("calls itself"));
    assert!(refusal(&bytes("missing"), &ImportOptions::default()).contains("library does not have"));
}

#[test]
fn stateless_control_flow_and_loops_that_never_end() {
    let one = || constant("one", &Tensor::scalar(1.0f32));
    let grow = function("grow", &["n"], &[("m", "s:z:0")], &[one(), node("s", "AddV2", &["n", "one:output:0"], &[])]);
    let ten = constant("ten", &Tensor::scalar(10.0f32));
    let below = function("below", &["n"], &[("c", "l:z:0")], &[ten, node("l", "Less", &["n", "ten:output:0"], &[])]);
    let always = function("always", &["n"], &[("c", "l:z:0")], &[node("l", "Equal", &["n", "n"], &[])]);
    let program = |op: &str, attrs: &[Vec<u8>], inputs: &[&str]| {
        let nodes = [
            placeholder("x", &[]),
            constant("start", &Tensor::scalar(7.5f32)),
            integers("at", &[1]),
            node("first", "Squeeze", &["at"], &[attr("squeeze_dims", numbers(&[0]))]),
            node("flow", op, inputs, attrs),
            node("y", "Mul", &["x", "flow"], &[]),
        ];
        graph_with(&nodes, &[grow.clone(), below.clone(), always.clone()])
    };
    let two = [Tensor::scalar(2.0f32)];
    let fetch = ImportOptions { fetch: vec!["y".into()], ..ImportOptions::default() };
    let loops = [attr("cond", function_name("below")), attr("body", function_name("grow"))];
    for op in ["StatelessWhile", "While"] {
        assert_eq!(run(&program(op, &loops, &["start"]), &fetch, &two)[0].to_f64(), [21.0], "{op}");
    }
    let branches = [attr("then_branch", function_name("grow")), attr("else_branch", function_name("below"))];
    for op in ["StatelessIf", "If"] {
        assert_eq!(run(&program(op, &branches, &["first", "start"]), &fetch, &two)[0].to_f64(), [17.0], "{op}");
    }
    let listed = bytes(1, [bytes(9, bytes(1, "below")), bytes(9, bytes(1, "grow"))].concat());
    for op in ["StatelessCase", "Case"] {
        let attrs = [attr("branches", listed.clone())];
        assert_eq!(run(&program(op, &attrs, &["first", "start"]), &fetch, &two)[0].to_f64(), [17.0], "{op}");
    }
    let mut limits = pocketnn_importer::Limits::small();
    limits.max_nodes = 2000;
    let endless = [attr("cond", function_name("always")), attr("body", function_name("grow"))];
    let options = ImportOptions { limits, ..fetch.clone() };
    let error = import_bytes(&program("StatelessWhile", &endless, &["start"]), &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limits, "{error}");
    let unknown = program("StatelessWhile", &loops, &["x"]);
    let graph = import_bytes(&unknown, &fetch).unwrap().graph;
    assert!(graph.nodes().iter().any(|n| n.op.name() == "Loop"));
}

#[test]
fn placeholders_of_old_graphs_take_their_shape_from_who_reads_them() {
    let nodes = [
        node("x", "Placeholder", &[], &[attr("dtype", dtype(1)), attr("shape", shape(&[]))]),
        constant("w", &Tensor::new(&[3, 2], vec![1.0f32, 0.0, 0.0, 1.0, 1.0, 1.0]).unwrap()),
        node("y", "MatMul", &["x", "w"], &[attr("transpose_a", flag(false)), attr("transpose_b", flag(false))]),
        node("init", "NoOp", &[], &[]),
    ];
    // No version: written before shapes could be unknown.
    let old: Vec<u8> = nodes.iter().flat_map(|n| bytes(1, n)).collect();
    let x = Tensor::new(&[2, 3], vec![1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
    assert_eq!(run(&old, &ImportOptions::default(), &[x])[0].to_f64(), [4.0, 5.0, 10.0, 11.0]);
    let bare = [nodes[0].clone(), node("y", "Relu", &["x"], &[])];
    let bare: Vec<u8> = bare.iter().flat_map(|n| bytes(1, n)).collect();
    assert!(refusal(&bare, &ImportOptions::default()).contains("--feed"));
    let shaped = ImportOptions {
        feed: vec!["x".into()],
        feed_shapes: [("x".to_string(), vec![None, Some(2)])].into(),
        ..ImportOptions::default()
    };
    let y = run(&bare, &shaped, &[Tensor::new(&[1, 2], vec![-1.0f32, 2.0]).unwrap()]);
    assert_eq!(y[0].to_f64(), [0.0, 2.0]);
}
