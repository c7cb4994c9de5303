//! `pocketnn convert`: any source model to a `.pnn` file.

use crate::failure::Failure;
use crate::files;
use crate::look::LookArgs;
use crate::output::{self, Paint, Progress};
use crate::report::{Converted, Page};
use crate::run;
use crate::source::{Loaded, ModelArgs};
use crate::tensors::{self, Look, Wanted};
use crate::verify;
use pocketnn::preprocess::Preprocessing;
use pocketnn::{Graph, Model, Options};
use pocketnn_importer::Report;
use pocketnn_importer::verify::{Divergence, Sample, SampleOutcome, Verification};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Convert a Keras, ONNX, TFLite or TensorFlow model to one .pnn file, and verify it
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(flatten)]
    pub model: ModelArgs,
    /// The file to write
    #[arg(short, long, value_name = "OUT.pnn")]
    pub output: PathBuf,
    /// Names of the classes, one a line; they travel in the file
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
    #[command(flatten, next_help_heading = "How pictures become inputs (stored in the file)")]
    pub look: LookArgs,
    /// The same as a JSON object; the options above go before it
    #[arg(long, value_name = "JSON", value_parser = preprocessing)]
    pub preprocessing: Option<Preprocessing>,
    /// A picture or tensor that travels in the file with the digest of what the model makes of it; `verify` repeats it
    #[arg(long, value_name = "FILE")]
    pub sample: Option<PathBuf>,
    /// Write a page about the conversion: picture, sizes, what was folded, verification of every node, warnings, problems
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
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

fn preprocessing(text: &str) -> Result<Preprocessing, String> {
    let value: Value = serde_json::from_str(text).map_err(|e| e.to_string())?;
    Preprocessing::from_json(&value).map_err(|e| e.message().to_string())
}

/// Largest file of labels, in bytes.
const MAX_LABELS: u64 = 64 << 20;

/// What a conversion found.
#[derive(Default)]
struct Found {
    verification: Option<Verification>,
    values: Vec<Divergence>,
    sample: Option<SampleOutcome>,
    file_bytes: u64,
    /// Nodes of the network as it was imported.
    imported_nodes: usize,
}

/// Runs the subcommand.
///
/// # Errors
/// What went wrong.
pub fn run(args: Args) -> Result<(), Failure> {
    refuse_same(&args)?;
    let loaded = match args.model.load_with_source() {
        Ok(loaded) => loaded,
        Err(failure) => {
            problems_page(&args, &failure)?;
            return Err(failure);
        }
    };
    let mut loaded = loaded;
    let model = std::mem::replace(&mut loaded.model, Model::new(Graph::default()));
    // Outlives the graph that is mapped from it.
    let mut file = None;
    let mut graph = model.into_graph();
    let imported_nodes = loaded.imported.as_ref().map_or(graph.nodes().len(), |g| g.nodes().len());
    let mut found = Found { imported_nodes, ..Found::default() };
    let written = write(&args, &mut loaded, &mut graph, &mut file, &mut found);
    if let Some(path) = &args.report {
        let page = page(&args, &loaded, &graph, &found, written.as_ref().err());
        files::write_bytes(path, page.html().as_bytes())?;
    }
    written?;
    tell(&args, &loaded, &graph, &found)
}

/// The output may not be the source: it would be read while it is written.
fn refuse_same(args: &Args) -> Result<(), Failure> {
    let real = |p: &Path| std::fs::canonicalize(p).ok();
    match (real(&args.model.model), real(&args.output)) {
        (Some(a), Some(b)) if a == b => {
            Err(Failure::usage(format!("{} is the source; name another output", args.output.display())))
        }
        _ => Ok(()),
    }
}

/// Constants from which a graph is verified out of a file.
const LARGE: usize = 16 << 20;

/// A file that is removed when it is no longer needed.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // What cannot be removed is left behind.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The graph as an app opens it: where it is large, mapped from a file beside the output, so that its constants are not in memory beside their packed
/// forms.
fn as_opened(args: &Args, graph: Graph) -> Result<(Graph, Option<Temporary>), Failure> {
    let constant = |v: &pocketnn::graph::Value| v.fact.constant.as_ref().map_or(0, pocketnn::Tensor::byte_len);
    if graph.values().iter().map(constant).sum::<usize>() < LARGE {
        return Ok((graph, None));
    }
    let name = format!(".{}.{}.unverified", name(&args.output), std::process::id());
    let file = Temporary(args.output.with_file_name(name));
    pocketnn::format::save(&graph, &file.0)?;
    drop(graph);
    Ok((Model::open(&file.0)?.into_graph(), Some(file)))
}

/// Verifies and writes. The source goes before the converted graph is packed to be run.
fn write(
    args: &Args,
    loaded: &mut Loaded,
    graph: &mut Graph,
    file: &mut Option<Temporary>,
    found: &mut Found,
) -> Result<(), Failure> {
    if !args.no_verify {
        let source = loaded.imported.take();
        let recorded = verify::record_source(source.as_ref().unwrap_or(graph), graph, &args.model)?;
        drop(source);
        let _progress = Progress::unknown("verifying");
        (*graph, *file) = as_opened(args, std::mem::take(graph))?;
        let verification = recorded.compare(graph, &mut |d| found.values.push(d.clone()))?;
        let verification = found.verification.insert(verification);
        verify::check(verification).map_err(|e| e.help("nothing was written; --no-verify writes it all the same"))?;
    }
    describe(args, loaded, graph)?;
    if let Some(path) = &args.sample {
        let sample = sample(args, graph, path)?;
        found.sample = Some(sample.repeat(graph)?);
        graph.meta.insert("sample".to_string(), sample.to_json());
    }
    if let Some(v) = &found.verification {
        graph.meta.insert("verification".to_string(), v.to_json());
    }
    if args.pack {
        *graph = pocketnn::plan::pack(std::mem::take(graph), &args.model.bindings())?;
    }
    let progress = Progress::unknown(&format!("writing {}", args.output.display()));
    pocketnn::format::save(graph, &args.output)?;
    drop(progress);
    found.file_bytes = std::fs::metadata(&args.output).map_err(|e| Failure::file(&args.output, &e))?.len();
    Ok(())
}

/// Labels, preprocessing and provenance.
fn describe(args: &Args, loaded: &Loaded, graph: &mut Graph) -> Result<(), Failure> {
    if let Some(path) = &args.labels {
        let bytes = files::read(path, MAX_LABELS)?;
        let text = std::str::from_utf8(&bytes).map_err(|e| Failure::failed(format!("{}: {e}", path.display())))?;
        let labels: Vec<&str> = text.lines().map(str::trim_end).collect();
        graph.meta.insert("labels".to_string(), json!(labels));
    }
    let asked = args.look.asked().or(&args.preprocessing.clone().unwrap_or_default());
    if asked != Preprocessing::default() {
        let all = Preprocessing { source: None, ..asked.or(&Preprocessing::of(graph)?) };
        graph.meta.insert("preprocessing".to_string(), all.to_json());
    }
    if let Some(p) = &loaded.provenance {
        graph.meta.insert("provenance".to_string(), verify::provenance(p));
    }
    Ok(())
}

fn sample(args: &Args, graph: &Graph, path: &Path) -> Result<Sample, Failure> {
    let &[input] = graph.inputs() else {
        return Err(Failure::usage(format!(
            "--sample fits a model of one input, this one has {}",
            graph.inputs().len()
        )));
    };
    let ty = graph.ty(input);
    let wanted = Wanted { name: &graph.value(input).name, dtype: ty.dtype, shape: &ty.shape };
    let look: Look = args.look.with(graph, None)?;
    let x = tensors::convert(&tensors::open(path, &wanted, &look)?, ty.dtype)?;
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned());
    Ok(Sample::record(graph, name, vec![x])?)
}

fn name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned())
}

fn page<'a>(
    args: &Args,
    loaded: &'a Loaded,
    graph: &'a Graph,
    found: &'a Found,
    failure: Option<&Failure>,
) -> Page<'a> {
    Page {
        source: name(&args.model.model),
        output: failure.is_none().then(|| name(&args.output)),
        file_bytes: found.file_bytes,
        report: &loaded.report,
        failure: failure.map(|f| f.message.clone()),
        model: Some(Converted {
            graph,
            imported_nodes: found.imported_nodes,
            provenance: loaded.provenance.as_ref(),
            passes: &loaded.passes,
            verification: found.verification.as_ref(),
            values: &found.values,
            sample: found.sample.clone(),
        }),
    }
}

/// A page of what keeps the model from being converted.
fn problems_page(args: &Args, failure: &Failure) -> Result<(), Failure> {
    let Some(path) = &args.report else { return Ok(()) };
    let empty = Report::default();
    let report = failure.report.as_deref().unwrap_or(&empty);
    let message = failure.help.as_ref().map_or(failure.message.clone(), |h| format!("{} ({h})", failure.message));
    let page = Page {
        source: name(&args.model.model),
        output: None,
        file_bytes: 0,
        report,
        failure: Some(message),
        model: None,
    };
    files::write_bytes(path, page.html().as_bytes())
}

fn tell(args: &Args, loaded: &Loaded, graph: &Graph, found: &Found) -> Result<(), Failure> {
    let sample = found.sample.as_ref();
    if args.json {
        return output::print_json(&json!({
            "output": args.output.display().to_string(), "bytes": found.file_bytes, "nodes": graph.nodes().len(),
            "params": graph.parameters(), "macs": graph.macs(), "preprocessing": graph.meta.get("preprocessing"),
            "labels": graph.labels().len(), "sample": sample.map(verify::sample_json),
            "verification": found.verification.as_ref().map(Verification::to_json),
            "passes": loaded.passes.iter().map(|p| p.to_json(20)).collect::<Vec<_>>(),
            "warnings": loaded.report.to_json()["warnings"],
            "report": args.report.as_ref().map(|p| p.display().to_string()),
        }));
    }
    let paint = Paint::stdout();
    let summary = format!(
        "{} nodes, {} parameters, {}",
        graph.nodes().len(),
        output::count(graph.parameters() as u64),
        output::bytes(found.file_bytes)
    );
    eprint!("{}", loaded.report.to_text());
    let checked = found.verification.as_ref().map_or("not verified\n".to_string(), verify::tell);
    let answer = match (&args.sample, sample) {
        (Some(path), Some(_)) => format!("sample {}:\n{}", path.display(), sample_answer(graph)?),
        _ => String::new(),
    };
    output::print(&format!("{checked}{answer}{} {summary}\n", paint.bold(&args.output.display().to_string())))
}

/// What the model says of its sample.
fn sample_answer(graph: &Graph) -> Result<String, Failure> {
    let Some(stored) = graph.meta.get("sample") else { return Ok(String::new()) };
    let inputs = Sample::from_json(stored)?.inputs;
    let outputs = Model::new(graph.clone()).session(&Options::default())?.run_tensors(&inputs)?;
    let labels: Vec<String> = graph.labels().into_iter().map(str::to_string).collect();
    Ok(outputs.iter().map(|y| run::rows(y, None, &labels)).collect())
}
