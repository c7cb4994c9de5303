//! `pocketnn convert`: any source model to a `.pnn` file.

use crate::failure::Failure;
use crate::files;
use crate::output::{self, Paint, Progress};
use crate::source::ModelArgs;
use crate::verify;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Convert a Keras, ONNX or TensorFlow model to one .pnn file, and verify it
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(flatten)]
    pub model: ModelArgs,
    /// The file to write
    #[arg(short, long, value_name = "OUT.pnn")]
    pub output: PathBuf,
    /// Names of the classes, one a line
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
    /// How pictures become inputs, stored in the file: a JSON object of scale, mean, std, channels, invert
    #[arg(long, value_name = "JSON", value_parser = json_object)]
    pub preprocessing: Option<Value>,
    /// Store weights as the kernels read them: the file is opened without any work on them
    #[arg(long)]
    pub pack: bool,
    /// Do not compare the converted model with the source model
    #[arg(long)]
    pub no_verify: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

fn json_object(text: &str) -> Result<Value, String> {
    let value: Value = serde_json::from_str(text).map_err(|e| e.to_string())?;
    crate::tensors::Preparation::from_json(&value).map_err(|f| f.message)?;
    if value.is_object() { Ok(value) } else { Err("expected a JSON object".to_string()) }
}

/// Largest file of labels, in bytes.
const MAX_LABELS: u64 = 64 << 20;

/// Runs the subcommand.
///
/// # Errors
/// What went wrong.
pub fn run(args: Args) -> Result<(), Failure> {
    let loaded = args.model.load_with_source()?;
    let verification = if args.no_verify { None } else { Some(verify::compare(&loaded, &args.model)?) };
    if let Some(v) = &verification {
        verify::check(v).map_err(|e| e.help("nothing was written; --no-verify writes it all the same"))?;
    }
    let mut graph = loaded.model.graph().clone();
    if let Some(path) = &args.labels {
        let bytes = files::read(path, MAX_LABELS)?;
        let text = std::str::from_utf8(&bytes).map_err(|e| Failure::failed(format!("{}: {e}", path.display())))?;
        let labels: Vec<&str> = text.lines().map(str::trim_end).collect();
        graph.meta.insert("labels".to_string(), json!(labels));
    }
    if let Some(p) = &args.preprocessing {
        graph.meta.insert("preprocessing".to_string(), p.clone());
    }
    if let Some(v) = &verification {
        graph.meta.insert("verification".to_string(), v.to_json());
    }
    if let Some(p) = &loaded.provenance {
        graph.meta.insert("provenance".to_string(), verify::provenance(p));
    }
    if args.pack {
        graph = pocketnn::plan::pack(graph, &args.model.bindings())?;
    }
    let progress = Progress::unknown(&format!("writing {}", args.output.display()));
    pocketnn::format::save(&graph, &args.output)?;
    drop(progress);
    let size = std::fs::metadata(&args.output).map_err(|e| Failure::file(&args.output, &e))?.len();
    if args.json {
        return output::print_json(&json!({
            "output": args.output.display().to_string(), "bytes": size, "nodes": graph.nodes().len(),
            "params": graph.parameters(), "verification": verification.map(|v| v.to_json()), "warnings": loaded.report.to_json()["warnings"],
        }));
    }
    let paint = Paint::stdout();
    let summary = format!(
        "{} nodes, {} parameters, {}",
        graph.nodes().len(),
        output::count(graph.parameters() as u64),
        output::bytes(size)
    );
    eprint!("{}", loaded.report.to_text());
    let checked = verification.map_or("not verified\n".to_string(), |v| verify::tell(&v));
    output::print(&format!("{checked}{} {summary}\n", paint.bold(&args.output.display().to_string())))
}
