//! Operators that the public corpus lacks, against recorded results (`data/make_onnx_samples.py`), and random ones against their moments.

mod onnx_support;

use onnx_support::*;
use pocketnn::{DType, Model, Options, Tensor};
use pocketnn_importer::Limits;
use pocketnn_importer::onnx::read_tensor;
use serde_json::Value;

fn decoded(hex: &Value) -> Vec<u8> {
    let text = hex.as_str().unwrap().as_bytes();
    let digit = |b: u8| (b as char).to_digit(16).unwrap() as u8;
    text.chunks(2).map(|p| digit(p[0]) << 4 | digit(p[1])).collect()
}

fn tensors(list: &Value) -> Vec<Tensor> {
    let all = list.as_array().unwrap().iter();
    all.map(|t| read_tensor(&decoded(t), &Limits::small()).unwrap()).collect()
}

/// What differs. Integers are equal, but for cases of tolerance 1: there f32 sums in another order and may round a half the other way.
fn difference(name: &str, want: &Tensor, y: &Tensor, tolerance: f64) -> Option<String> {
    let same = want.dtype() == y.dtype() && want.shape() == y.shape();
    let close = |(a, b): (&f64, &f64)| {
        let step = if want.dtype().is_float() { tolerance * a.abs().max(1.0) } else { tolerance.floor() };
        a == b || (a - b).abs() <= step || (a.is_nan() && b.is_nan())
    };
    let equal = match want.dtype() {
        DType::Text => want == y,
        _ => want.to_f64().iter().zip(&y.to_f64()).all(close),
    };
    (!same || !equal).then(|| format!("{name}: expected {want:?}, found {y:?}"))
}

#[test]
fn recorded_operators_give_recorded_results() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/onnx_samples.json");
    let cases: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut failures = Vec::new();
    for case in cases.as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let made = match pocketnn_importer::onnx::import(&decoded(&case["model"]), None, &options()) {
            Ok(made) => made,
            Err(e) => {
                failures.push(format!("{name}: {e}"));
                continue;
            }
        };
        let (inputs, wanted) = (tensors(&case["inputs"]), tensors(&case["outputs"]));
        let tolerance = case["tolerance"].as_f64().unwrap();
        // As imported, and as it comes back from a file.
        let file = pocketnn::format::write(&made.graph).unwrap();
        for model in [Model::new(made.graph), Model::from_bytes(&file).unwrap()] {
            match model.session(&Options::default()).and_then(|mut s| s.run_tensors(&inputs)) {
                Ok(out) => {
                    failures.extend(wanted.iter().zip(&out).filter_map(|(w, y)| difference(name, w, y, tolerance)))
                }
                Err(e) => failures.push(format!("{name}: {e}")),
            }
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

fn mean(t: &Tensor) -> f64 {
    t.to_f64().iter().sum::<f64>() / t.len() as f64
}

#[test]
fn random_numbers_follow_their_seed_and_their_distribution() {
    let of = |op: &str, attributes: &[Vec<u8>]| {
        let parts = Parts {
            nodes: vec![node(op, &[], &["y"], attributes)],
            outputs: vec![value("y", FLOAT, &["1000"])],
            ..Parts::default()
        };
        run(&parts.model(22), &[]).swap_remove(0)
    };
    let shape = attr_ints("shape", &[1000]);
    let normal = of("RandomNormal", &[shape.clone(), attr_float("mean", 3.0), attr_float("scale", 0.5)]);
    assert!((mean(&normal) - 3.0).abs() < 0.1);
    let uniform = |seed| {
        of("RandomUniform", &[shape.clone(), attr_float("low", 2.0), attr_float("high", 4.0), attr_float("seed", seed)])
    };
    assert!((mean(&uniform(1.0)) - 3.0).abs() < 0.1);
    assert!(uniform(1.0).same_bits(&uniform(1.0)) && !uniform(1.0).same_bits(&uniform(2.0)));
    for op in ["RandomNormalLike", "RandomUniformLike"] {
        let y = run(&single(op, &["4", "5"], 22, &[]), &[Tensor::zeros(DType::F32, &[4, 5]).unwrap()]);
        assert_eq!(y[0].shape(), [4, 5]);
    }
}

#[test]
fn classes_are_drawn_with_their_probabilities() {
    let parts = Parts {
        nodes: vec![node("Multinomial", &["x"], &["y"], &[attr_int("sample_size", 2000), attr_int("dtype", INT64)])],
        inputs: vec![value("x", FLOAT, &["1", "3"])],
        outputs: vec![value("y", INT64, &["1", "2000"])],
        ..Parts::default()
    };
    let logits = Tensor::new(&[1, 3], vec![0.2f32.ln(), 0.0f32.ln(), 0.8f32.ln()]).unwrap();
    let y = run(&parts.model(22), &[logits])[0].to_i64().unwrap();
    let share = |c: i64| y.iter().filter(|&&x| x == c).count() as f64 / 2000.0;
    assert!((share(0) - 0.2).abs() < 0.05 && share(1) == 0.0 && (share(2) - 0.8).abs() < 0.05);
}

#[test]
fn maps_are_refused_with_what_to_do() {
    let parts = Parts {
        nodes: vec![node_in("ai.onnx.ml", "ZipMap", &["x"], &["y"], &[attr_ints("classlabels_int64s", &[0, 1])])],
        inputs: vec![value("x", FLOAT, &["1", "2"])],
        outputs: vec![value("y", FLOAT, &[])],
        ..Parts::default()
    };
    assert!(refused(&parts.model(17)).to_string().contains("zipmap=False"));
}

/// `while (sum of x < limit) x = concat(x, x)` with a large constant in the body: the length of the result follows from the data.
fn doubling() -> Vec<u8> {
    let body = Parts {
        nodes: vec![
            node("Concat", &["state", "state"], &["twice"], &[attr_int("axis", 0)]),
            node("ReduceSum", &["twice"], &["sum"], &[attr_int("keepdims", 0)]),
            node("ReduceSum", &["table"], &["more"], &[attr_int("keepdims", 0)]),
            node("Add", &["sum", "more"], &["all"], &[]),
            node("Less", &["all", "limit"], &["go"], &[]),
        ],
        initializers: vec![floats("table", &[100], &[0.25; 100])],
        inputs: vec![value("i", INT64, &[]), value("on", BOOL, &[]), value("state", FLOAT, &["n"])],
        outputs: vec![value("go", BOOL, &[]), value("twice", FLOAT, &["m"]), value("sum", FLOAT, &[])],
    };
    let parts = Parts {
        nodes: vec![node("Loop", &["", "", "x"], &["y", "sums"], &[attr_graph("body", &body.encode())])],
        inputs: vec![value("x", FLOAT, &["1"]), value("limit", FLOAT, &[])],
        outputs: vec![value("y", FLOAT, &["k"]), value("sums", FLOAT, &["r"])],
        ..Parts::default()
    };
    parts.model(16)
}

#[test]
fn a_loop_whose_states_grow_runs_as_imported_optimized_and_from_a_file() {
    let graph = imported(&doubling()).graph;
    let optimized = pocketnn::passes::optimize(graph.clone()).unwrap().0;
    let file = pocketnn::format::write(&optimized).unwrap();
    let again = pocketnn::format::read(&file, &pocketnn::format::Limits::default()).unwrap();
    assert_eq!(file, pocketnn::format::write(&again).unwrap());
    for model in [Model::new(graph), Model::new(optimized), Model::from_bytes(&file).unwrap()] {
        let mut session = model.session(&Options::default()).unwrap();
        for (limit, rounds) in [(30.0f32, 3usize), (0.0, 1)] {
            let out = session.run_tensors(&[Tensor::vector(&[1.0f32]), Tensor::scalar(limit)]).unwrap();
            assert_eq!(out[0].shape(), [1 << rounds]);
            assert_eq!(out[1].shape(), [rounds]);
        }
    }
}
