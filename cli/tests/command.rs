//! The command as a user runs it: exit codes, JSON, files, errors.

use pocketnn::ops::conv::{Conv, Pads};
use pocketnn::{DType, Dim, Graph, GraphBuilder, Tensor, format};
use pocketnn_cli::tensors::{npy, npz};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A folder that goes when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("pocketnn-command-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_string()
    }
    fn model(&self, name: &str, graph: &Graph) -> String {
        let path = self.path(name);
        format::save(graph, Path::new(&path)).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

fn pocketnn(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pocketnn")).args(args).stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn ok(args: &[&str]) -> String {
    let out = pocketnn(args);
    assert_eq!(out.status.code(), Some(0), "{args:?}: {}", text(&out.stderr));
    text(&out.stdout)
}

fn json(args: &[&str]) -> Value {
    let out = ok(args);
    assert_eq!(out.lines().count(), 1, "{args:?} prints one line");
    serde_json::from_str(&out).unwrap()
}

/// Exit code and first line of standard error.
fn failure(args: &[&str]) -> (i32, String) {
    let out = pocketnn(args);
    (out.status.code().unwrap(), text(&out.stderr).lines().next().unwrap_or_default().to_string())
}

/// `y [N, 2] = x [N, 3] w`, batch fixed or symbolic.
fn dense(batch: Dim) -> Graph {
    let mut b = GraphBuilder::new("dense");
    let x = b.input("x", DType::F32, [batch, Dim::from(3)]);
    let w = b.constant("w", Tensor::new(&[2, 3], vec![1.0f32, 2.0, 3.0, -1.0, 0.0, 1.0]).unwrap());
    let y = b.dense(x, w, None, "y").unwrap();
    b.output(y);
    b.meta().insert("labels".into(), serde_json::json!(["left", "right"]));
    b.finish().unwrap()
}

/// One convolution on a gray picture of 4 x 4, channels last on the outside.
fn picture() -> Graph {
    let mut b = GraphBuilder::new("picture");
    let x = b.input("image", DType::F32, [1, 4, 4, 1].map(Dim::from));
    let planar = b.transpose(x, &[0, 3, 1, 2], "planar").unwrap();
    let w = b.constant("w", Tensor::new(&[1, 1, 1, 1], vec![2.0f32]).unwrap());
    let y = b.conv(planar, w, None, Conv { pads: Pads::SameUpper, ..Conv::default() }, "double").unwrap();
    let y = b.global_average_pool(y, "mean").unwrap();
    b.output(y);
    b.finish().unwrap()
}

#[test]
fn help_version_and_wrong_usage_have_their_exit_codes() {
    let help = ok(&["--help"]);
    for command in ["convert", "run", "bench", "inspect", "tune", "verify", "mnist"] {
        assert!(help.contains(command), "{help}");
        assert!(ok(&[command, "--help"]).contains("--json"), "{command}");
    }
    assert!(ok(&["--version"]).starts_with("pocketnn "));
    for args in [
        &["nonsense"][..],
        &[],
        &["run"],
        &["run", "m", "--threads", "x"],
        &["convert", "m"],
        &["bench", "m", "--min-time", "-1"],
    ] {
        assert_eq!(pocketnn(args).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn errors_are_a_line_that_names_the_file_and_json_says_the_same() {
    let f = Folder::new("errors");
    let (code, line) = failure(&["inspect", &f.path("missing.pnn")]);
    assert!(code == 1 && line.starts_with("error: ") && line.contains("missing.pnn"), "{code} {line}");
    let junk = f.path("junk.onnx");
    std::fs::write(&junk, b"hello").unwrap();
    let (code, line) = failure(&["run", &junk]);
    assert!(code == 1 && line.contains("junk.onnx") && line.contains("68 65 6c 6c 6f"), "{code} {line}");
    let out = pocketnn(&["inspect", &junk, "--json"]);
    let value: Value = serde_json::from_str(&text(&out.stdout)).unwrap();
    assert!(out.status.code() == Some(1) && value["error"]["detail"]["kind"] == "format", "{value}");
    let cut = f.path("cut.pnn");
    let bytes = format::write(&dense(Dim::from(1))).unwrap();
    std::fs::write(&cut, &bytes[..bytes.len() - 1]).unwrap();
    assert_eq!(failure(&["inspect", &cut]).0, 1);
}

#[test]
fn run_reads_every_form_of_a_tensor_and_writes_them() {
    let f = Folder::new("forms");
    let m = f.model("m.pnn", &dense(Dim::from(1)));
    let x = Tensor::new(&[1, 3], vec![1.0f32, 1.0, 1.0]).unwrap();
    let (raw, one, archive, pb) = (f.path("x.bin"), f.path("x.npy"), f.path("x.npz"), f.path("x.pb"));
    std::fs::write(&raw, x.bytes()).unwrap();
    std::fs::write(&one, npy::write(&x)).unwrap();
    npz::write(Path::new(&archive), &[("x".into(), x.clone())]).unwrap();
    std::fs::write(&pb, pocketnn_importer::onnx::write_tensor("x", &x).unwrap()).unwrap();
    let named = format!("x={one}");
    for args in [["--input", &raw], ["--input", &named], ["--input", &one], ["--inputs", &archive], ["--input-pb", &pb]]
    {
        let value = json(&["run", &m, args[0], args[1], "--json", "--top", "1"]);
        assert_eq!(value["outputs"][0]["values"], serde_json::json!([6.0, 0.0]), "{args:?}");
        assert_eq!(value["outputs"][0]["top"][0][0]["label"], "left");
        assert_eq!(value["runs"], 1);
    }
    let (folder, outputs) = (f.path("out"), f.path("y.npz"));
    ok(&["run", &m, "--input-pb", &pb, "--output-dir", &folder, "--outputs", &outputs]);
    let y = Tensor::new(&[1, 2], vec![6.0f32, 0.0]).unwrap();
    assert_eq!(npz::open(Path::new(&outputs)).unwrap(), [("y".to_string(), y.clone())]);
    assert_eq!(npy::read(&std::fs::read(format!("{folder}/output_0.npy")).unwrap()).unwrap(), y);
    let written = std::fs::read(format!("{folder}/output_0.pb")).unwrap();
    assert_eq!(pocketnn_cli::tensors::protobuf_tensor(&written).unwrap(), y);
    assert!(ok(&["run", &m, "--input", &raw]).contains("left 6.0000"));
}

#[test]
fn many_elements_run_in_parts_and_come_out_joined() {
    let f = Folder::new("parts");
    let values: Vec<f32> = (0..3 * 100).map(|i| i as f32).collect();
    let x = f.path("x.npy");
    std::fs::write(&x, npy::write(&Tensor::new(&[100, 3], values.clone()).unwrap())).unwrap();
    let expected: Vec<f32> = values.chunks(3).flat_map(|v| [v[0] + 2.0 * v[1] + 3.0 * v[2], v[2] - v[0]]).collect();
    for (batch, runs) in
        [(Dim::from(1), Some(100)), (Dim::from(4), Some(25)), (Dim::from(3), None), (Dim::symbol("N"), Some(2))]
    {
        let m = f.model("m.pnn", &dense(batch.clone()));
        let y = f.path("y.npz");
        let args = ["run", &m, "--input", &x, "--outputs", &y, "--json"];
        let Some(runs) = runs else {
            let (code, line) = failure(&args);
            assert!(code == 1 && line.contains("expected f32[3, 3], found f32[100, 3]"), "{line}");
            continue;
        };
        assert_eq!(json(&args)["runs"], runs, "batch {batch}");
        assert_eq!(npz::open(Path::new(&y)).unwrap()[0].1, Tensor::new(&[100, 2], expected.clone()).unwrap());
    }
    let m = f.model("m.pnn", &dense(Dim::symbol("N")));
    assert_eq!(json(&["run", &m, "--input", &x, "--batch", "7", "--json"])["runs"], 15);
}

#[test]
fn elements_that_depend_on_each_other_are_not_parted() {
    let f = Folder::new("whole");
    let mut b = GraphBuilder::new("centred");
    let x = b.input("x", DType::F32, [Dim::symbol("N"), Dim::from(3)]);
    let axes = b.integers(&[0]);
    let mean = b.op(
        pocketnn::ops::reduce::Reduce { kind: pocketnn::ops::reduce::ReduceKind::Mean, ..Default::default() },
        &[x, axes],
        "mean",
    );
    let y = b.binary(pocketnn::ops::elementwise::BinaryKind::Sub, x, mean.unwrap(), "y").unwrap();
    b.output(y);
    let m = f.model("m.pnn", &b.finish().unwrap());
    let input = f.path("x.npy");
    std::fs::write(&input, npy::write(&Tensor::new(&[100, 3], (0..300).map(|i| i as f32).collect()).unwrap())).unwrap();
    assert_eq!(json(&["run", &m, "--input", &input, "--json"])["runs"], 1);
}

#[test]
fn inputs_that_do_not_fit_are_usage_errors_that_name_them() {
    let f = Folder::new("inputs");
    let m = f.model("m.pnn", &dense(Dim::from(1)));
    let x = f.path("x.npy");
    std::fs::write(&x, npy::write(&Tensor::vector(&[1i64, 2, 3]))).unwrap();
    let (code, line) = failure(&["run", &m]);
    assert!(code == 2 && line.contains("input `x` f32[1, 3] is missing"), "{code} {line}");
    let (code, line) = failure(&["run", &m, "--input", &format!("z={x}")]);
    assert!(code == 2 && line.contains("no input `z`; it has x"), "{code} {line}");
    let (code, line) = failure(&["run", &m, "--input", &x, "--input", &x]);
    assert!(code == 2 && line.contains("more files than inputs"), "{code} {line}");
    let (code, line) = failure(&["run", &m, "--input", &x]);
    assert!(code == 1 && line.contains("expected f32[1, 3], found f32[3]"), "{code} {line}");
    let (code, line) = failure(&["run", &m, "--image", &x]);
    assert!(code == 1 && line.contains("found f32[3]"), "{code} {line}");
    let (code, line) = failure(&["inspect", &m, "--dim", "Q=2"]);
    assert!(code == 2 && line.contains("no symbolic dimension `Q`"), "{code} {line}");
    let (code, line) = failure(&["inspect", &m, "--fetch", "q"]);
    assert!(code == 2 && line.contains("no tensor `q`"), "{code} {line}");
}

#[test]
fn pictures_are_scaled_to_the_input() {
    let f = Folder::new("pictures");
    let m = f.model("m.pnn", &picture());
    let png = f.path("p.png");
    // A white PNG of one pixel: signature, header, one stored row, end.
    let white: &[u8] = &[
        0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44, 0x52, 0x00, 0x00,
        0x00, 0x01, 0x00, 0x00, 0x00, 0x01, 0x08, 0x00, 0x00, 0x00, 0x00, 0x3a, 0x7e, 0x9b, 0x55, 0x00, 0x00, 0x00,
        0x0a, 0x49, 0x44, 0x41, 0x54, 0x78, 0xda, 0x63, 0xf8, 0x0f, 0x00, 0x01, 0x01, 0x01, 0x00, 0x1c, 0xb0, 0x8c,
        0x99, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82,
    ];
    std::fs::write(&png, white).unwrap();
    let values = |extra: &[&str]| {
        json(&[&["run", &m, "--image", &png, "--json"], extra].concat())["outputs"][0]["values"].clone()
    };
    assert_eq!(values(&[]), serde_json::json!([2.0]));
    assert_eq!(values(&["--scale", "1"]), serde_json::json!([510.0]));
    assert_eq!(values(&["--mean", "0.5", "--std", "0.25"]), serde_json::json!([4.0]));
    assert_eq!(values(&["--invert"]), serde_json::json!([0.0]));
    std::fs::write(&png, &white[..40]).unwrap();
    assert_eq!(pocketnn(&["run", &m, "--image", &png]).status.code(), Some(1));
}

#[test]
fn inspect_tells_what_the_protocol_asks() {
    let f = Folder::new("inspect");
    let m = f.model("m.pnn", &dense(Dim::symbol("N")));
    let value = json(&["inspect", &m, "--json"]);
    assert_eq!(
        value["inputs"],
        serde_json::json!([{ "name": "x", "dtype": "f32", "shape": [null, 3], "dims": ["N", "3"] }])
    );
    assert_eq!(value["outputs"][0]["shape"], serde_json::json!([null, 2]));
    let numbers = [("params", 6), ("macs", 6), ("weights_bytes", 24), ("transposes", 0)];
    numbers.iter().for_each(|(k, v)| assert_eq!(value[k], *v, "{k}"));
    assert!(value["arena_bytes"].as_u64().unwrap() >= 20);
    let value = json(&["inspect", &m, "--json", "--dim", "N=5"]);
    assert_eq!((&value["inputs"][0]["shape"][0], &value["macs"]), (&serde_json::json!(5), &serde_json::json!(30)));
    let svg = f.path("g.svg");
    let shown = ok(&["inspect", &m, "--svg", &svg]);
    assert!(shown.contains("Dense") && shown.contains("arena") && !shown.contains('\x1b'), "{shown}");
    let picture = std::fs::read_to_string(&svg).unwrap();
    assert!(picture.starts_with("<svg") && picture.trim_end().ends_with("</svg>") && picture.contains("Dense"));
    let value =
        json(&["inspect", &f.model("p.pnn", &self::picture()), "--feed", "planar", "--fetch", "double", "--json"]);
    assert_eq!((&value["inputs"][0]["name"], &value["outputs"][0]["name"]), (&"planar".into(), &"double".into()));
}

#[test]
fn bench_prints_the_line_of_the_protocol() {
    let f = Folder::new("bench");
    let m = f.model("m.pnn", &dense(Dim::from(1)));
    let (x, y) = (f.path("x.f32"), f.path("y.f32"));
    std::fs::write(&x, [1.0f32, 1.0, 1.0].map(f32::to_le_bytes).concat()).unwrap();
    let quick = ["--runs", "5", "--min-time", "0", "--max-time", "1"];
    let value = json(&[&["bench", &m, "--input", &x, "--output", &y, "--json"], &quick[..]].concat());
    for key in ["load_ms", "first_ms", "n", "median_ms", "p10_ms", "p90_ms", "min_ms", "cpu_ms"] {
        assert!(value[key].is_number(), "{key}: {value}");
    }
    assert_eq!(
        (&value["n"], &value["version"]),
        (&serde_json::json!(5), &serde_json::json!(env!("CARGO_PKG_VERSION")))
    );
    assert_eq!(std::fs::read(&y).unwrap(), [6.0f32, 0.0].map(f32::to_le_bytes).concat());
    let svg = f.path("b.svg");
    let shown = ok(&[&["bench", &m, "--svg", &svg, "--threads", "1,2"], &quick[..]].concat());
    assert!(shown.contains("GFLOP/s") && shown.contains("Dense") && shown.contains("on 2 threads"), "{shown}");
    let picture = std::fs::read_to_string(&svg).unwrap();
    assert!(["Dense", "DRAM", "FMA", "operations for each byte"].iter().all(|t| picture.contains(t)), "{picture}");
    let value = json(&[&["bench", &m, "--json", "--layers"], &quick[..]].concat());
    assert_eq!((&value["layers"][0]["op"], &value["layers"][0]["macs"]), (&"Dense".into(), &6.into()));
    for key in ["open_ms", "session_ms", "peak_gflops", "whole_us", "explained"] {
        assert!(value[key].as_f64().unwrap() > 0.0, "{key}: {value}");
    }
    assert_eq!(failure(&["bench", &m, "--layers"]).0, 2);
}

#[test]
fn the_plan_names_algorithms_costs_and_slow_paths() {
    let f = Folder::new("plan");
    let m = f.model("m.pnn", &dense(Dim::from(1)));
    let shown = ok(&["inspect", &m, "--plan"]);
    assert!(shown.contains("gemv") && shown.contains("predicted") && !shown.contains("note:"), "{shown}");
    let value = json(&["inspect", &m, "--plan", "--json"]);
    let step = &value["steps"][0];
    assert_eq!((&step["algorithm"], &step["macs"], &step["note"]), (&"gemv".into(), &6.into(), &Value::Null));
    assert!(
        step["predicted_us"].as_f64().unwrap() > 0.0 && value["predicted_us"].as_f64() >= step["predicted_us"].as_f64()
    );
    // Doubles have no kernel.
    let mut b = GraphBuilder::new("slow");
    let x = b.input("x", DType::F64, [Dim::from(2)]);
    let y = b.unary(pocketnn::ops::elementwise::UnaryKind::IsNan, x, "missing").unwrap();
    b.output(y);
    let shown = ok(&["inspect", &f.model("slow.pnn", &b.finish().unwrap()), "--plan"]);
    assert!(shown.contains("note: Unary `missing` slow path"), "{shown}");
}

#[test]
fn tune_writes_a_record_that_is_used_and_refused_when_the_model_changes() {
    let f = Folder::new("tune");
    let model = |seed: f32| {
        let mut b = GraphBuilder::new("tuned");
        let x = b.input("x", DType::F32, [1, 16, 16, 16].map(Dim::from));
        let w = b.constant("w", Tensor::new(&[16, 16, 3, 3], vec![seed; 16 * 16 * 9]).unwrap());
        let y = b.conv(x, w, None, Conv { pads: Pads::SameUpper, ..Conv::default() }, "conv").unwrap();
        b.output(y);
        f.model("m.pnn", &b.finish().unwrap())
    };
    let m = model(0.5);
    let value = json(&["tune", &m, "--rounds", "3", "--json"]);
    assert_eq!(
        (&value["layers"][0]["value"], value["output"].as_str()),
        (&"conv".into(), Some(&*format!("{m}.tune.json")))
    );
    assert!(value["layers"][0]["us"].as_object().unwrap().len() > 1, "{value}");
    let bench = ["bench", &m, "--runs", "2", "--min-time", "0", "--max-time", "1"];
    let out = pocketnn(&bench);
    assert!(out.status.success() && !text(&out.stderr).contains("tune.json"), "{}", text(&out.stderr));
    model(0.25);
    let out = pocketnn(&bench);
    assert!(out.status.success() && text(&out.stderr).contains("tune it again"), "{}", text(&out.stderr));
    assert_eq!(failure(&["tune", &f.path("missing.pnn")]).0, 1);
}

#[test]
fn a_packed_file_gives_the_same_bytes_and_stands_in_for_its_source() {
    let f = Folder::new("packed");
    let source = f.path("digits.keras");
    std::fs::write(&source, pocketnn_models::DIGITS_KERAS).unwrap();
    let (plain, packed) = (f.path("plain.pnn"), f.path("digits.pnn"));
    ok(&["convert", &source, "-o", &plain, "--no-verify"]);
    ok(&["convert", &source, "-o", &packed, "--pack", "--no-verify"]);
    let quick = ["--runs", "2", "--min-time", "0", "--max-time", "1", "--json"];
    let outputs: Vec<Vec<u8>> = [vec![&plain[..]], vec![&packed], vec![&source], vec![&source, "--converted"]]
        .into_iter()
        .map(|model| {
            let y = f.path("y.f32");
            ok(&[&["bench"], &model[..], &["--output", &y], &quick[..]].concat());
            std::fs::read(&y).unwrap()
        })
        .collect();
    assert!(outputs.iter().all(|y| *y == outputs[0] && y.len() == 40), "{outputs:?}");
    let inspected = [&plain, &packed].map(|m| json(&["inspect", m, "--json"]));
    assert_eq!(inspected[0]["weights_bytes"], inspected[1]["weights_bytes"]);
}

#[test]
fn a_converted_model_is_verified_again_and_a_changed_one_is_found() {
    let f = Folder::new("verify");
    let (keras, pnn) = (f.path("digits.keras"), f.path("digits.pnn"));
    std::fs::write(&keras, pocketnn_models::DIGITS_KERAS).unwrap();
    let labels = f.path("labels.txt");
    std::fs::write(&labels, "zero\none\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\n").unwrap();
    let value =
        json(&["convert", &keras, "-o", &pnn, "--labels", &labels, "--preprocessing", r#"{"scale": 1}"#, "--json"]);
    assert!(value["verification"]["passed"] == true && value["bytes"].as_u64().unwrap() > 100_000, "{value}");
    let first = std::fs::read(&pnn).unwrap();
    ok(&["convert", &keras, "-o", &pnn, "--labels", &labels, "--preprocessing", r#"{"scale": 1}"#]);
    assert_eq!(first, std::fs::read(&pnn).unwrap(), "the same input gives the same bytes");
    assert_eq!(json(&["verify", &pnn, "--json"])["passed"], true);
    assert!(ok(&["verify", &keras]).contains("verified"));
    let seven = f.path("seven.png");
    std::fs::write(&seven, pocketnn_models::SAMPLES.iter().find(|s| s.label == 7).unwrap().png).unwrap();
    let value = json(&["run", &pnn, "--image", &seven, "--top", "1", "--json"]);
    assert_eq!(value["outputs"][0]["top"][0][0]["label"], "seven");
    let mut changed = first.clone();
    *changed.last_mut().unwrap() ^= 0x40;
    std::fs::write(&pnn, &changed).unwrap();
    let (code, line) = failure(&["verify", &pnn]);
    assert!(code == 1 && line.contains("the data was changed"), "{line}");
    let plain = f.path("plain.pnn");
    ok(&["convert", &keras, "-o", &plain, "--no-verify"]);
    assert!(failure(&["verify", &plain]).1.contains("holds no verification"));
    assert_eq!(pocketnn(&["convert", &keras, "-o", &plain, "--preprocessing", "[]"]).status.code(), Some(2));
}

#[test]
fn the_file_of_the_digits_reads_every_sample() {
    let f = Folder::new("digits");
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/mnist/digits.pnn");
    assert_eq!(json(&["verify", model, "--json"])["passed"], true);
    for sample in pocketnn_models::SAMPLES.iter().step_by(3) {
        let png = f.path("sample.png");
        std::fs::write(&png, sample.png).unwrap();
        let value = json(&["run", model, "--image", &png, "--scale", "1", "--top", "1", "--json"]);
        assert_eq!(value["outputs"][0]["top"][0][0]["index"], sample.label, "{}", sample.name);
    }
}

#[test]
fn the_demonstration_classifies_the_drawn_digits() {
    let f = Folder::new("mnist");
    let out = Command::new(env!("CARGO_BIN_EXE_pocketnn"))
        .args(["mnist", "--json"])
        .current_dir(&f.0)
        .env("MNIST_DIR", f.path("nowhere"))
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let value: Value = serde_json::from_str(&text(&out.stdout)).unwrap();
    assert!(value["samples"].as_u64().unwrap() >= 10 && value["samples"] == value["correct"], "{value}");
    assert!(value["latency_us"].as_f64().unwrap() > 0.0);
    let (code, line) = failure(&["mnist", "--data", &f.path("empty")]);
    assert!(code == 1 && line.contains("no MNIST files"), "{line}");
    let (code, line) = failure(&["mnist", "--download", "--data", &f.path("d"), "--mirror", "http://127.0.0.1:9/"]);
    assert!(code == 1 && line.starts_with("error: "), "{line}");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let f = Folder::new("pipe");
    let m = f.model("m.pnn", &dense(Dim::from(1)));
    let mut child = Command::new(env!("CARGO_BIN_EXE_pocketnn"))
        .args(["inspect", &m])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let out = child.wait_with_output().unwrap();
    assert_eq!((out.status.code(), text(&out.stderr)), (Some(0), String::new()));
}
