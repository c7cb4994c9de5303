//! The batch protocol of the ONNX corpus runner: one case a line in, one verdict a line out.
//!
//! In: `{"id", "model", "output_dir", "inputs": [{"path", "name", "proto"}], "outputs": [{"name", "proto"}]}`. Out:
//! `{"id", "status": "ok" | "unsupported" | "error" | "panic", "error"}`, and `output_<i>.pb` in the output folder.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex};

use pocketnn::{Model, Node, Op, Options, Tensor, passes};
use pocketnn_importer::{ErrorKind, ImportOptions, Limits, onnx};
use serde_json::{Value, json};

use crate::serve;

/// Why a case did not run.
struct Failure {
    status: &'static str,
    message: String,
}

impl From<pocketnn_importer::ImportError> for Failure {
    fn from(e: pocketnn_importer::ImportError) -> Self {
        let status = if e.kind() == ErrorKind::Unsupported { "unsupported" } else { "error" };
        Self { status, message: e.to_string() }
    }
}

impl From<pocketnn::Error> for Failure {
    fn from(e: pocketnn::Error) -> Self {
        let status = if e.kind() == pocketnn::ErrorKind::Unsupported { "unsupported" } else { "error" };
        Self { status, message: e.to_string() }
    }
}

fn failure(message: impl Into<String>) -> Failure {
    Failure { status: "error", message: message.into() }
}

/// Runs every case of a list and prints one line for each. Networks with convolutions are run optimised as well where a file is to tell of their
/// transposes ([`serve::log_transposes`]).
///
/// # Errors
/// When the list cannot be read or a line of it is no JSON object.
pub fn run(list: &Path, transposes: Option<&Path>, print: &mut dyn FnMut(&str)) -> Result<(), String> {
    let text = fs::read_to_string(list).map_err(|e| format!("{}: {e}", list.display()))?;
    let seen: Arc<Mutex<String>> = Arc::default();
    let note = Arc::clone(&seen);
    std::panic::set_hook(Box::new(move |info| {
        if let Ok(mut text) = note.lock() {
            *text = info.to_string();
        }
    }));
    for line in text.lines().filter(|l| !l.trim().is_empty()) {
        let row: Value = serde_json::from_str(line).map_err(|e| format!("{}: {e}", list.display()))?;
        let (status, message) = match catch_unwind(AssertUnwindSafe(|| case(&row, transposes))) {
            Ok(Ok(())) => ("ok", String::new()),
            Ok(Err(f)) => (f.status, f.message),
            Err(_) => ("panic", seen.lock().map(|t| t.clone()).unwrap_or_default()),
        };
        print(&json!({ "id": row["id"], "status": status, "error": message }).to_string());
    }
    let _ = std::panic::take_hook();
    Ok(())
}

fn text<'r>(row: &'r Value, key: &str) -> Result<&'r str, Failure> {
    row[key].as_str().ok_or_else(|| failure(format!("the row has no `{key}`")))
}

fn case(row: &Value, transposes: Option<&Path>) -> Result<(), Failure> {
    let path = Path::new(text(row, "model")?);
    let bytes = fs::read(path).map_err(|e| failure(format!("{}: {e}", path.display())))?;
    let imported = onnx::import(&bytes, path.parent(), &ImportOptions::default())?;
    let model = Model::new(imported.graph);
    let inputs = inputs(&model, row)?;
    let outputs = model.session(&Options::default())?.run_tensors(&inputs)?;
    let folder = Path::new(text(row, "output_dir")?);
    fs::create_dir_all(folder).map_err(|e| failure(format!("{}: {e}", folder.display())))?;
    for (i, (t, id)) in outputs.iter().zip(model.graph().outputs()).enumerate() {
        let file = folder.join(format!("output_{i}.pb"));
        let bytes = onnx::write_value(&model.graph().value(*id).name, t, kind(&row["outputs"][i]))?;
        fs::write(&file, bytes).map_err(|e| failure(format!("{}: {e}", file.display())))?;
    }
    let convolves = |n: &Node| matches!(n.op, Op::Conv(_) | Op::ConvTranspose(_));
    if let Some(log) = transposes
        && model.graph().nodes().iter().any(convolves)
    {
        let (graph, _) = passes::optimize(model.graph().clone())?;
        let mut session = Model::new(graph).session(&Options::default())?;
        session.run_tensors(&inputs)?;
        if let Some(plan) = session.plan() {
            serve::log_transposes(log, plan, path).map_err(failure)?;
        }
    }
    Ok(())
}

/// The message that holds a value.
fn kind(row: &Value) -> onnx::ValueKind {
    match row["proto"].as_str() {
        Some("sequence") => onnx::ValueKind::Sequence,
        Some("optional") => onnx::ValueKind::Optional,
        _ => onnx::ValueKind::Tensor,
    }
}

/// The tensors of the row in the order of the model's inputs.
fn inputs(model: &Model, row: &Value) -> Result<Vec<Tensor>, Failure> {
    let rows = row["inputs"].as_array().ok_or_else(|| failure("the row has no `inputs`"))?;
    let mut out = Vec::new();
    for &id in model.graph().inputs() {
        let name = &model.graph().value(id).name;
        let given = rows.iter().find(|r| r["name"] == **name);
        let given = given.ok_or_else(|| failure(format!("the row has no input `{name}`")))?;
        let path = text(given, "path")?;
        let bytes = fs::read(path).map_err(|e| failure(format!("{path}: {e}")))?;
        out.push(onnx::read_value(&bytes, kind(given), &Limits::default())?);
    }
    Ok(out)
}
