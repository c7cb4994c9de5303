//! `convert` with labels, preprocessing, a sample and a report; `run` and `verify` of what it wrote.

use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Output};

/// A folder of its own that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("pocketnn-convert-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
    fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is the system's to clean.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn pocketnn(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pocketnn")).args(args).output().unwrap()
}

fn json(args: &[&str]) -> Value {
    let out = pocketnn(args);
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

fn sample(label: u8) -> &'static [u8] {
    pocketnn_models::SAMPLES.iter().find(|s| s.label == label).unwrap().png
}

const OWN: &[u8] = include_bytes!("../../importer/tests/data/own.keras");

#[test]
fn a_model_that_scales_its_pixels_takes_pictures_as_they_are() {
    let f = Folder::new("front");
    let (keras, pnn) = (f.file("digits.keras", pocketnn_models::DIGITS_KERAS), f.path("digits.pnn"));
    let seven = f.file("7.png", sample(7));
    let labels = f.file("labels.txt", b"zero\none\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\n");
    let value = json(&["convert", &keras, "-o", &pnn, "--labels", &labels, "--sample", &seven, "--json"]);
    assert_eq!(value["preprocessing"]["scale"], 1.0, "{value}");
    assert!(value["preprocessing"]["source"].as_str().unwrap().contains("pixels of 0 to 255"));
    assert_eq!((&value["labels"], &value["sample"]["same_bits"]), (&10.into(), &true.into()));
    let value = json(&["run", &pnn, "--image", &seven, "--top", "1", "--json"]);
    assert_eq!(value["outputs"][0]["top"][0][0]["label"], "seven");
    let value = json(&["verify", &pnn, "--json"]);
    assert_eq!((&value["passed"], &value["sample"]["same_bits"]), (&true.into(), &true.into()));
    // The scale is part of the first convolution's weights.
    let ops: Vec<String> = json(&["inspect", &pnn, "--json"])["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|l| l["op"].as_str().unwrap().to_string())
        .collect();
    assert!(!ops.contains(&"Activate".to_string()), "{ops:?}");
}

#[test]
fn what_the_command_line_says_of_pictures_goes_into_the_file() {
    let f = Folder::new("flags");
    let (keras, pnn) = (f.file("digits.keras", pocketnn_models::DIGITS_KERAS), f.path("d.pnn"));
    let flags =
        ["--range", "-1,1", "--channel-order", "bgr", "--resize", "nearest", "--fit", "letterbox", "--fill", "3"];
    let value = json(&[&["convert", &keras, "-o", &pnn, "--no-verify", "--json"], &flags[..]].concat());
    let wanted = serde_json::json!({
        "scale": 0.007_843_138, "mean": [1.0], "channels": "bgr", "resize": "nearest", "fit": "letterbox", "fill": 3.0,
    });
    assert_eq!(value["preprocessing"], wanted);
    let both = ["--mean", "0.5,0.25,0.125", "--std", "0.5", "--preprocessing", r#"{"std": 2, "invert": true}"#];
    let value = json(&[&["convert", &keras, "-o", &pnn, "--no-verify", "--json"], &both[..]].concat());
    assert_eq!(value["preprocessing"]["mean"], serde_json::json!([0.5, 0.25, 0.125]));
    assert_eq!(
        (&value["preprocessing"]["std"], &value["preprocessing"]["invert"]),
        (&serde_json::json!([0.5]), &true.into())
    );
    for bad in [
        &["--range", "1,0"][..],
        &["--range", "0,1", "--mean", "1"],
        &["--preprocessing", r#"{"blur": 1}"#],
        &["--fit", "x"],
    ] {
        let out = pocketnn(&[&["convert", &keras, "-o", &pnn], bad].concat());
        assert_eq!(out.status.code(), Some(2), "{bad:?}");
    }
}

#[test]
fn the_report_is_one_page_and_tells_of_problems_too() {
    let f = Folder::new("report");
    let (keras, pnn, page) = (f.file("d.keras", pocketnn_models::DIGITS_KERAS), f.path("d.pnn"), f.path("r.html"));
    let value = json(&["convert", &keras, "-o", &pnn, "--report", &page, "--json"]);
    assert_eq!(value["report"], page.as_str());
    let html = std::fs::read_to_string(&page).unwrap();
    for part in
        ["<svg", "verified: outputs differ", "What was folded and fused", "multiply-accumulates", "Conv", "</html>"]
    {
        assert!(html.contains(part), "{part}");
    }
    assert!(!html.contains("src=") && !html.contains("href="), "nothing from elsewhere");
    let own = f.file("own.keras", OWN);
    let out = pocketnn(&["convert", &own, "-o", &f.path("own.pnn"), "--report", &page, "--json"]);
    assert_eq!(out.status.code(), Some(1));
    let value: Value = serde_json::from_slice(&out.stdout).unwrap();
    let list = value["error"]["detail"]["report"]["unsupported"].as_array().unwrap();
    assert_eq!(list.len(), 2, "{value}");
    assert_eq!(
        (&list[1]["op"], &list[1]["nodes"][0], &list[1]["inputs"][0]),
        (&"Lambda".into(), &"l".into(), &"f32[N, 3]".into())
    );
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(
        html.contains("not converted: 2 kinds of problems")
            && html.contains("Lambda")
            && html.contains("register a lowering")
    );
    assert!(!PathBuf::from(f.path("own.pnn")).exists());
}

#[test]
fn the_source_is_never_overwritten_and_a_failed_conversion_leaves_nothing() {
    let f = Folder::new("source");
    let keras = f.file("d.keras", pocketnn_models::DIGITS_KERAS);
    let out = pocketnn(&["convert", &keras, "-o", &keras]);
    assert_eq!(out.status.code(), Some(2));
    assert!(std::fs::read(&keras).unwrap() == pocketnn_models::DIGITS_KERAS);
    let own = f.file("own.keras", OWN);
    assert_eq!(pocketnn(&["convert", &own, "-o", &f.path("x.pnn")]).status.code(), Some(1));
    let mut left: Vec<String> =
        std::fs::read_dir(&f.0).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    left.sort();
    assert_eq!(left, ["d.keras", "own.keras"]);
}

#[test]
fn a_large_model_is_verified_out_of_a_file_that_goes_away() {
    let f = Folder::new("large");
    let mut b = pocketnn::GraphBuilder::new("large");
    let x = b.input("x", pocketnn::DType::F32, vec![pocketnn::Dim::from(1), pocketnn::Dim::from(2100)]);
    let w = pocketnn::Tensor::new(&[2100, 2100], (0..2100 * 2100).map(|i| (i % 7) as f32 - 3.0).collect()).unwrap();
    let w = b.constant("w", w);
    let y = b.dense(x, w, None, "y").unwrap();
    b.output(y);
    let source = f.file("large.pnn", &pocketnn::format::write(&b.finish().unwrap()).unwrap());
    let output = f.path("out.pnn");
    let value = json(&["convert", &source, "-o", &output, "--json"]);
    assert_eq!(value["verification"]["passed"], true, "{value}");
    let mut left: Vec<_> = std::fs::read_dir(&f.0).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["large.pnn", "out.pnn"]);
    assert!(pocketnn(&["verify", &output]).status.success());
}
