//! Control flow of both versions of TensorFlow, and operations of the program's own.

mod tensorflow_support;

use std::sync::Arc;

use pocketnn::ops::elementwise::BinaryKind;
use pocketnn::plan::interpret;
use pocketnn::{DType, Graph, Model, Options, Tensor, ValueId};
use pocketnn_importer::own::{OperatorCall, OperatorLowering, TENSORFLOW};
use pocketnn_importer::{ErrorKind, ImportOptions, Result, import_bytes};
use tensorflow_support::*;

fn load(nodes: &[Vec<u8>]) -> Result<Graph> {
    import_bytes(&graph(nodes), &ImportOptions::default()).map(|m| m.graph)
}

/// Outputs by the interpreter and by a session of the optimised graph, which must agree.
fn run(graph: &Graph, inputs: &[Tensor]) -> Vec<Vec<f32>> {
    let naive = interpret(graph, inputs, |_, _| Ok(())).unwrap();
    let (graph, _) = pocketnn::passes::optimize(graph.clone()).unwrap();
    let planned = Model::new(graph).session(&Options::default()).unwrap().run_tensors(inputs).unwrap();
    let floats = |list: &[Tensor]| list.iter().map(Tensor::to_f32).collect::<Vec<_>>();
    assert_eq!(floats(&naive), floats(&planned));
    floats(&planned)
}

fn count(graph: &Graph, op: &str) -> usize {
    graph.nodes().iter().filter(|n| n.op.name() == op).count()
}

fn scalar(name: &str, x: i32, control: &[&str]) -> Vec<u8> {
    node(name, "Const", control, &[attr("dtype", dtype(3)), attr("value", tensor(3, &Tensor::scalar(x)))])
}

fn real(name: &str, x: f32, control: &[&str]) -> Vec<u8> {
    node(name, "Const", control, &[attr("dtype", dtype(1)), attr("value", tensor(1, &Tensor::scalar(x)))])
}

fn enter(name: &str, input: &str, frame: &str, fixed: bool) -> Vec<u8> {
    let attrs =
        [attr("frame_name", text(frame)), attr("is_constant", flag(fixed)), attr("parallel_iterations", number(10))];
    node(name, "Enter", &[input], &attrs)
}

/// A variable `v` of loop `w`, from `first` on; its next value is node `next`.
fn variable(w: &str, v: &str, first: &str, next: &str) -> Vec<Vec<u8>> {
    let n = |what: &str| format!("{w}/{what}_{v}");
    vec![
        enter(&n("enter"), first, w, false),
        node(&n("merge"), "Merge", &[&n("enter"), &n("next")], &[]),
        node(&n("switch"), "Switch", &[&n("merge"), &format!("{w}/cond")], &[]),
        node(&n("now"), "Identity", &[&format!("{}:1", n("switch"))], &[]),
        node(&n("exit"), "Exit", &[&n("switch")], &[]),
        node(&n("next"), "NextIteration", &[next], &[]),
    ]
}

/// `while i < limit { i += 1; x *= 2 }` as TensorFlow 1 writes it; `more` are nodes of the body, which give the next `x`.
fn doubling(limit: &str, next: &str, more: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut all = vec![scalar("zero", 0, &[])];
    all.extend(variable("w", "i", "zero", "w/add"));
    all.extend(variable("w", "x", "x", next));
    all.push(enter("w/limit", limit, "w", true));
    all.push(node("w/less", "Less", &["w/merge_i", "w/limit"], &[]));
    all.push(node("w/cond", "LoopCond", &["w/less"], &[]));
    all.push(scalar("w/one", 1, &["^w/now_i"]));
    all.push(node("w/add", "AddV2", &["w/now_i", "w/one"], &[]));
    all.push(real("w/two", 2.0, &["^w/now_i"]));
    all.push(node("w/double", "Mul", &["w/now_x", "w/two"], &[]));
    all.extend(more);
    all.push(node("y", "Identity", &["w/exit_x"], &[]));
    all
}

#[test]
fn a_loop_of_the_first_version_with_known_rounds_is_unrolled() {
    let mut nodes = vec![placeholder("x", &[2]), scalar("limit", 3, &[])];
    nodes.extend(doubling("limit", "w/double", Vec::new()));
    let graph = load(&nodes).unwrap();
    assert_eq!((count(&graph, "Loop"), graph.outputs().len()), (0, 1));
    assert_eq!(run(&graph, &[Tensor::vector(&[1.0f32, -3.0])]), [[8.0, -24.0]]);
}

#[test]
fn a_loop_whose_rounds_depend_on_data_stays_one() {
    let limit = node("limit", "Placeholder", &[], &[attr("dtype", dtype(3)), attr("shape", shape(&[]))]);
    let mut nodes = vec![placeholder("x", &[2]), limit];
    nodes.extend(doubling("limit", "w/double", Vec::new()));
    let graph = load(&nodes).unwrap();
    assert_eq!(count(&graph, "Loop"), 1);
    let x = Tensor::vector(&[1.0f32, -3.0]);
    for (n, factor) in [(0, 1.0), (1, 2.0), (5, 32.0)] {
        assert_eq!(run(&graph, &[x.clone(), Tensor::scalar(n)]), [[factor, -3.0 * factor]], "{n}");
    }
    // It goes through the file.
    let file = pocketnn::format::write(&graph).unwrap();
    let again = pocketnn::format::read(&file, &pocketnn::format::Limits::default()).unwrap();
    assert_eq!(run(&again, &[x, Tensor::scalar(2)]), [[4.0, -12.0]]);
}

#[test]
fn loops_in_loops_are_recovered_from_the_inside() {
    // The inner loop adds x twice to itself, so a round makes x four times as large, and then twice as that.
    let mut inner = vec![scalar("w/none", 0, &["^w/now_i"]), scalar("w/some", 2, &["^w/now_i"])];
    inner.extend(variable("v", "j", "w/none", "v/add"));
    inner.extend(variable("v", "z", "w/double", "v/twice"));
    inner.push(enter("v/limit", "w/some", "v", true));
    inner.push(node("v/less", "Less", &["v/merge_j", "v/limit"], &[]));
    inner.push(node("v/cond", "LoopCond", &["v/less"], &[]));
    inner.push(scalar("v/one", 1, &["^v/now_j"]));
    inner.push(node("v/add", "AddV2", &["v/now_j", "v/one"], &[]));
    inner.push(node("v/twice", "AddV2", &["v/now_z", "v/now_z"], &[]));
    let mut nodes = vec![placeholder("x", &[1]), scalar("limit", 2, &[])];
    nodes.extend(doubling("limit", "v/exit_z", inner));
    let graph = load(&nodes).unwrap();
    assert_eq!(run(&graph, &[Tensor::vector(&[1.0f32])]), [[64.0]]);
}

#[test]
fn a_condition_inside_a_loop_chooses_its_branch() {
    // x is doubled in the first round and kept in the others: the branch is known as the counter is.
    let branch = vec![
        scalar("w/first", 1, &["^w/now_i"]),
        node("w/is_first", "Less", &["w/now_i", "w/first"], &[]),
        node("w/s", "Switch", &["w/now_x", "w/is_first"], &[]),
        node("w/on", "Mul", &["w/s:1", "w/two"], &[]),
        node("w/either", "Merge", &["w/s", "w/on"], &[]),
    ];
    let mut nodes = vec![placeholder("x", &[1]), scalar("limit", 3, &[])];
    nodes.extend(doubling("limit", "w/either", branch));
    assert_eq!(run(&load(&nodes).unwrap(), &[Tensor::vector(&[5.0f32])]), [[10.0]]);
}

#[test]
fn what_is_no_loop_is_named() {
    let mut nodes = vec![placeholder("x", &[1]), scalar("limit", 3, &[])];
    nodes.extend(doubling("limit", "w/double", Vec::new()));
    // Without its Switch a variable has no way out.
    nodes.retain(|n| !n.windows(10).any(|w| w == b"w/switch_i") || n.windows(8).any(|w| w == b"Identity"));
    let error = load(&nodes).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("w/enter_i") && error.to_string().contains("Switch"), "{error}");
    let mut nodes = vec![placeholder("x", &[1]), node("e", "Enter", &["x"], &[attr("frame_name", text("f"))])];
    nodes.push(node("y", "Identity", &["e"], &[]));
    assert!(load(&nodes).unwrap_err().to_string().contains("LoopCond"));
}

#[test]
fn a_while_of_the_second_version_may_depend_on_data() {
    // while sum(x) < 100 { x *= w }, where w is a constant that the loop hands on.
    let go = function(
        "go",
        &["x", "w"],
        &[("r", "less:z:0")],
        &[
            integers("axes", &[0]),
            node("sum", "Sum", &["x", "axes:output:0"], &[]),
            real("most", 100.0, &[]),
            node("less", "Less", &["sum:output:0", "most:output:0"], &[]),
        ],
    );
    let body = function("body", &["x", "w"], &[("a", "mul:z:0"), ("b", "w")], &[node("mul", "Mul", &["x", "w"], &[])]);
    let nodes = [
        placeholder("x", &[-1]),
        constant("w", &Tensor::vector(&[3.0f32])),
        node("loop", "While", &["x", "w"], &[attr("cond", function_name("go")), attr("body", function_name("body"))]),
        node("y", "Identity", &["loop"], &[]),
    ];
    let graph = import_bytes(&graph_with(&nodes, &[go, body]), &ImportOptions::default()).unwrap().graph;
    assert_eq!(count(&graph, "Loop"), 1);
    assert_eq!(run(&graph, &[Tensor::vector(&[1.0f32, 2.0])]), [[81.0, 162.0]]);
    assert_eq!(run(&graph, &[Tensor::vector(&[200.0f32])]), [[200.0]]);
}

/// `x + by` and `x - by`.
struct Both(Vec<String>);

impl OperatorLowering for Both {
    fn output_names(&self) -> &[String] {
        &self.0
    }
    fn lower(&self, call: &mut OperatorCall<'_>) -> Result<Vec<ValueId>> {
        assert_eq!((call.domain, call.op, call.outputs), (TENSORFLOW, "PlusMinus", 2));
        assert_eq!(call.attributes["T"], "float32");
        assert_eq!(call.attributes["sizes"], serde_json::json!([1, 2]));
        assert_eq!(call.attributes["shape"], serde_json::json!([2, -1]));
        assert!(!call.attributes.contains_key("_class"));
        let (x, by) = (call.input(0)?, call.attributes["by"].as_f64().unwrap() as f32);
        let by = call.builder.scalar(by);
        let plus = call.builder.binary(BinaryKind::Add, x, by, call.name)?;
        Ok(vec![plus, call.builder.binary(BinaryKind::Sub, x, by, call.name)?])
    }
}

#[test]
fn an_operation_that_is_not_known_is_lowered_by_the_program() {
    let own = |name: &str, input: &str| {
        let attrs = [
            attr("by", float(1.5)),
            attr("T", dtype(1)),
            attr("sizes", numbers(&[1, 2])),
            attr("shape", shape(&[2, -1])),
            attr("_class", texts(&["loc:@x"])),
        ];
        node(name, "PlusMinus", &[input], &attrs)
    };
    let top = [placeholder("x", &[2]), own("o", "x"), node("y", "Mul", &["o", "o:1"], &[])];
    let refused = load(&top).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    assert!(refused.to_string().contains("register_operator"), "{refused}");
    let mut options = ImportOptions::default();
    let names = vec!["plus".to_string(), "minus".to_string()];
    options.register_operator(TENSORFLOW, "PlusMinus", Arc::new(Both(names)));
    let x = Tensor::vector(&[1.0f32, 2.0]);
    let got = import_bytes(&graph(&top), &options).unwrap().graph;
    assert_eq!(run(&got, std::slice::from_ref(&x)), [[-1.25, 1.75]]);
    // In a function tensors are called by the names of the outputs.
    let body =
        function("f", &["a"], &[("r", "m:z:0")], &[own("o", "a"), node("m", "Sub", &["o:minus:0", "o:plus:0"], &[])]);
    let nodes = [
        placeholder("x", &[2]),
        node("call", "PartitionedCall", &["x"], &[attr("f", function_name("f"))]),
        node("y", "Identity", &["call"], &[]),
    ];
    let got = import_bytes(&graph_with(&nodes, &[body]), &options).unwrap().graph;
    assert_eq!(run(&got, &[x]), [[-3.0, -3.0]]);
    assert_eq!(got.ty(got.outputs()[0]).dtype, DType::F32);
}
