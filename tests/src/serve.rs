//! The server protocol of the Keras corpus runner: one JSON request a line in, `ok` or `error: reason` a line out.
//!
//! In: `{"model", "inputs", "outputs", "format", "config"}`, where `inputs` and `outputs` are `.npz` files and `config` is the
//! architecture beside a weights-only file. `keras1_backend` may name the backend of a Keras 1 model.

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use pocketnn::ops::elementwise::cast;
use pocketnn::plan::{Plan, interpret};
use pocketnn::{Graph, Model, Options, Tensor, passes};
use pocketnn_importer::{ImportError, ImportOptions, import};
use serde_json::Value;

use crate::npz;

/// How models are run.
#[derive(Clone, Debug, Default)]
pub struct Way {
    /// By the interpreter, as they were imported; else optimised, by a session, as an app runs them.
    pub naive: bool,
    /// A file that gets a line a request: see [`log_transposes`].
    pub transposes: Option<PathBuf>,
}

/// Answers requests until the input ends.
///
/// # Errors
/// When the input or output fails, or a request is no JSON object.
pub fn run(input: impl BufRead, mut output: impl Write, way: &Way) -> Result<(), String> {
    for line in input.lines() {
        let line = line.map_err(|e| e.to_string())?;
        if line.trim().is_empty() {
            continue;
        }
        let request: Value = serde_json::from_str(&line).map_err(|e| format!("request: {e}"))?;
        let answer = match catch_unwind(AssertUnwindSafe(|| answer(&request, way))) {
            Ok(Ok(())) => "ok".to_string(),
            Ok(Err(reason)) => format!("error: {}", reason.replace('\n', "; ")),
            Err(_) => "error: panicked at the request".to_string(),
        };
        writeln!(output, "{answer}").and_then(|()| output.flush()).map_err(|e| e.to_string())?;
    }
    Ok(())
}

fn path(request: &Value, key: &str) -> Result<PathBuf, String> {
    request[key].as_str().map(PathBuf::from).ok_or(format!("the request has no `{key}`"))
}

fn answer(request: &Value, way: &Way) -> Result<(), String> {
    let model = path(request, "model")?;
    let weights_only = request["format"].as_str().is_some_and(|f| f.starts_with("weights"));
    let backend =
        request["keras1_backend"].as_str().map(str::parse).transpose().map_err(|e: ImportError| e.to_string())?;
    let options = ImportOptions { keras1_backend: backend, ..ImportOptions::default() };
    let graph = if weights_only {
        import(path(request, "config")?, &ImportOptions { weights: Some(model), ..options })
    } else {
        import(&model, &options)
    };
    let graph = graph.map_err(|e| e.to_string())?.graph;
    let inputs = inputs(&graph, &path(request, "inputs")?)?;
    let names: Vec<String> = graph.outputs().iter().map(|&o| graph.value(o).name.clone()).collect();
    let outputs = if way.naive {
        interpret(&graph, &inputs, |_, _| Ok(())).map_err(|e| e.to_string())?
    } else {
        let (graph, _) = passes::optimize(graph).map_err(|e| e.to_string())?;
        let mut session = Model::new(graph).session(&Options::default()).map_err(|e| e.to_string())?;
        let outputs = session.run_tensors(&inputs).map_err(|e| e.to_string())?;
        if let (Some(file), Some(plan)) = (&way.transposes, session.plan()) {
            log_transposes(file, plan, &path(request, "model")?)?;
        }
        outputs
    };
    let named: Vec<(String, Tensor)> = names.into_iter().zip(outputs).collect();
    npz::write(&path(request, "outputs")?, &named)
}

/// Adds a line to a file: how many transposes a plan makes, how many convolutions, the model; parted by tabs.
///
/// # Errors
/// When the file cannot be written.
pub fn log_transposes(file: &Path, plan: &Plan, model: &Path) -> Result<(), String> {
    let convolutions =
        plan.steps().iter().filter(|s| matches!(s.op, "Conv" | "ConvTranspose" | "QConv" | "QConvTranspose"));
    let line = format!("{}\t{}\t{}\n", plan.transposes(), convolutions.count(), model.display());
    let open = std::fs::OpenOptions::new().create(true).append(true).open(file);
    open.and_then(|mut f| f.write_all(line.as_bytes())).map_err(|e| e.to_string())
}

/// The arrays by name, else by position, in the model's element types.
fn inputs(graph: &Graph, path: &Path) -> Result<Vec<Tensor>, String> {
    let arrays = npz::read(path)?;
    let by_name: HashMap<&str, &Tensor> = arrays.iter().map(|(n, t)| (n.as_str(), t)).collect();
    let expected = graph.inputs().len();
    if arrays.len() != expected {
        return Err(format!("{} input arrays for {expected} inputs", arrays.len()));
    }
    let all_named = graph.inputs().iter().all(|&i| by_name.contains_key(graph.value(i).name.as_str()));
    let mut tensors = Vec::new();
    for (k, &id) in graph.inputs().iter().enumerate() {
        let tensor = if all_named { by_name[graph.value(id).name.as_str()] } else { &arrays[k].1 };
        tensors.push(cast(tensor, graph.ty(id).dtype).map_err(|e| e.to_string())?);
    }
    Ok(tensors)
}
