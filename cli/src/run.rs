//! `pocketnn run`: one inference, or many, on tensors and pictures from files.

use crate::batch;
use crate::failure::Failure;
use crate::files;
use crate::look::LookArgs;
use crate::output::{self, Paint};
use crate::source::{Loaded, ModelArgs};
use crate::tensors::{self, Layout, Wanted, npy, npz};
use pocketnn::ops::infer::ValueType;
use pocketnn::{Graph, Tensor, Threads};
use pocketnn_importer::onnx;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Run a model on tensors (.npy, .npz, .pb, raw) or pictures
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Tensor or picture for one input, told apart by content; without a name, for the next input in order
    #[arg(long, value_name = "[NAME=]FILE")]
    pub input: Vec<String>,
    /// Arrays for inputs by name; a single array fits a single input whatever its name
    #[arg(long, value_name = "F.npz")]
    pub inputs: Option<PathBuf>,
    /// ONNX TensorProto for the next input in order
    #[arg(long, value_name = "F.pb")]
    pub input_pb: Vec<PathBuf>,
    /// Picture (PNG, JPEG, BMP) for the next input in order
    #[arg(long, value_name = "FILE")]
    pub image: Vec<PathBuf>,
    #[command(flatten)]
    pub look: LookArgs,
    /// Order of the axes of a picture input whose shape does not tell
    #[arg(long, value_enum)]
    pub layout: Option<Layout>,
    /// Write output_<i>.npy (and output_<i>.pb when an input was a .pb) into this folder
    #[arg(long, value_name = "DIR")]
    pub output_dir: Option<PathBuf>,
    /// Write all outputs by name
    #[arg(long, value_name = "F.npz")]
    pub outputs: Option<PathBuf>,
    /// Threads
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub threads: usize,
    /// Elements of a symbolic batch to run at once; chosen where elements do not depend on each other
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub batch: Option<u32>,
    /// Show the K largest elements of each output row
    #[arg(long, value_name = "K")]
    pub top: Option<usize>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Runs the subcommand.
///
/// # Errors
/// What went wrong.
pub fn run(args: Args) -> Result<(), Failure> {
    let loaded = args.model.load()?;
    let inputs = gather(&args, loaded.model.graph())?;
    let options = loaded.session_options(&args.model).threads(Threads::new(args.threads)?);
    let outcome = batch::run(&loaded.model, &options, &inputs, args.batch.map(|n| n as usize))?;
    let graph = loaded.model.graph();
    let names: Vec<String> = graph.outputs().iter().map(|&o| graph.value(o).name.clone()).collect();
    let mut wrote = Vec::new();
    if let Some(folder) = &args.output_dir {
        let pb =
            !args.input_pb.is_empty() || args.input.iter().any(|i| Path::new(i).extension().is_some_and(|e| e == "pb"));
        write_folder(folder, &names, &outcome.outputs, pb, &mut wrote)?;
    }
    if let Some(path) = &args.outputs {
        let arrays: Vec<(String, Tensor)> = names.iter().cloned().zip(outcome.outputs.iter().cloned()).collect();
        npz::write(path, &arrays)?;
        wrote.push(path.display().to_string());
    }
    tell(&args, &loaded, &names, &outcome, &wrote)
}

/// The inputs in the model's order.
fn gather(args: &Args, graph: &Graph) -> Result<Vec<Tensor>, Failure> {
    let look = args.look.with(graph, args.layout)?;
    let names: Vec<&str> = graph.inputs().iter().map(|&i| graph.value(i).name.as_str()).collect();
    let types: Vec<&ValueType> = graph.inputs().iter().map(|&i| graph.ty(i)).collect();
    let mut slots: Vec<Option<Tensor>> = vec![None; names.len()];
    if let Some(path) = &args.inputs {
        archive(path, &names, &mut slots)?;
    }
    let mut files: Vec<(Option<usize>, PathBuf)> = Vec::new();
    for given in &args.input {
        files.push(named(given, &names)?);
    }
    files.sort_by_key(|f| f.0.is_none());
    files.extend(args.input_pb.iter().chain(&args.image).map(|p| (None, p.clone())));
    for (slot, path) in files {
        let slot = slot.or_else(|| slots.iter().position(Option::is_none)).ok_or_else(|| {
            Failure::usage(format!("more files than inputs: the model has {} ({})", names.len(), names.join(", ")))
        })?;
        let wanted = Wanted { name: names[slot], dtype: types[slot].dtype, shape: &types[slot].shape };
        let t = tensors::open(&path, &wanted, &look)?;
        if slots[slot].replace(t).is_some() {
            return Err(Failure::usage(format!("input `{}` is given twice", names[slot])));
        }
    }
    let convert = |(i, t): (usize, Option<Tensor>)| {
        let t = t.ok_or_else(|| {
            let wanted = format!("`{}` {}", names[i], types[i]);
            Failure::usage(format!("input {wanted} is missing"))
                .help("give it with --input, --inputs, --input-pb or --image")
        })?;
        tensors::convert(&t, types[i].dtype).map_err(|e| e.at(format!("input `{}`", names[i])))
    };
    slots.into_iter().enumerate().map(convert).collect()
}

/// `NAME=FILE` where NAME is an input; anything else is a file.
fn named(given: &str, names: &[&str]) -> Result<(Option<usize>, PathBuf), Failure> {
    // Names of tensors may contain `=`, and so may files: the first split whose left side is an input's name wins.
    for (at, _) in given.match_indices('=') {
        if let Some(i) = names.iter().position(|n| *n == &given[..at]) {
            return Ok((Some(i), PathBuf::from(&given[at + 1..])));
        }
    }
    let path = PathBuf::from(given);
    match given.split_once('=') {
        Some((name, _)) if !path.exists() => {
            Err(Failure::usage(format!("the model has no input `{name}`; it has {}", names.join(", "))))
        }
        _ => Ok((None, path)),
    }
}

fn archive(path: &Path, names: &[&str], slots: &mut [Option<Tensor>]) -> Result<(), Failure> {
    let mut arrays = npz::open(path)?;
    if let ([slot], 1) = (&mut *slots, arrays.len()) {
        *slot = arrays.pop().map(|(_, t)| t);
        return Ok(());
    }
    for (name, t) in arrays {
        let i = names.iter().position(|n| *n == name).ok_or_else(|| {
            Failure::usage(format!("{}: the model has no input `{name}`; it has {}", path.display(), names.join(", ")))
        })?;
        slots[i] = Some(t);
    }
    Ok(())
}

fn write_folder(
    folder: &Path,
    names: &[String],
    outputs: &[Tensor],
    pb: bool,
    wrote: &mut Vec<String>,
) -> Result<(), Failure> {
    std::fs::create_dir_all(folder).map_err(|e| Failure::file(folder, &e))?;
    for (i, (name, t)) in names.iter().zip(outputs).enumerate() {
        let path = folder.join(format!("output_{i}.npy"));
        files::write_bytes(&path, &npy::write(t))?;
        wrote.push(path.display().to_string());
        if pb {
            let path = folder.join(format!("output_{i}.pb"));
            files::write_bytes(&path, &onnx::write_tensor(name, t)?)?;
            wrote.push(path.display().to_string());
        }
    }
    Ok(())
}

fn tell(
    args: &Args,
    loaded: &Loaded,
    names: &[String],
    outcome: &batch::Outcome,
    wrote: &[String],
) -> Result<(), Failure> {
    let labels = labels(loaded.model.graph());
    let milliseconds = outcome.seconds * 1e3;
    if args.json {
        let outputs: Vec<Value> =
            names.iter().zip(&outcome.outputs).map(|(n, t)| describe(n, t, args.top, &labels)).collect();
        return output::print_json(&json!({
            "model": args.model.model.display().to_string(), "outputs": outputs, "runs": outcome.parts, "milliseconds": milliseconds, "wrote": wrote,
        }));
    }
    let paint = Paint::stdout();
    let mut text = String::new();
    for (name, t) in names.iter().zip(&outcome.outputs) {
        let _ = writeln!(text, "{} {}{:?}", paint.bold(name), t.dtype(), t.shape());
        text.push_str(&rows(t, args.top, &labels));
    }
    let runs = if outcome.parts == 1 { String::new() } else { format!(" in {} runs", outcome.parts) };
    let _ = writeln!(text, "{}", paint.dim(&format!("{milliseconds:.3} ms{runs}")));
    output::print(&text)
}

/// The model's labels, when it has some.
pub fn labels(graph: &Graph) -> Vec<String> {
    let list = graph.meta.get("labels").and_then(Value::as_array);
    list.map(|l| l.iter().map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_string)).collect())
        .unwrap_or_default()
}

/// The largest elements of a row: index and value, the largest first, of equal ones the first first.
pub fn largest(row: &[f64], k: usize) -> Vec<(usize, f64)> {
    let mut all: Vec<(usize, f64)> = row.iter().copied().enumerate().collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    all.truncate(k);
    all
}

/// Elements of at most this many rows are shown.
const MAX_ROWS: usize = 10;
/// Whole outputs of at most this many elements are shown.
const MAX_VALUES: usize = 64;

fn rows_of(t: &Tensor) -> (Vec<f64>, usize) {
    (t.to_f64(), t.shape().last().copied().unwrap_or(1).max(1))
}

fn describe(name: &str, t: &Tensor, top: Option<usize>, labels: &[String]) -> Value {
    let mut out = json!({ "name": name, "dtype": t.dtype().name(), "shape": t.shape() });
    let (values, width) = rows_of(t);
    if values.len() <= MAX_VALUES {
        out["values"] = json!(values);
    }
    if let Some(k) = top {
        let entry = |(i, v): (usize, f64)| json!({ "index": i, "value": v, "label": label(labels, width, i) });
        let rows: Vec<Vec<Value>> =
            values.chunks(width).map(|row| largest(row, k).into_iter().map(entry).collect()).collect();
        out["top"] = json!(rows);
    }
    out
}

/// The label of an element, where there is one for each.
fn label(labels: &[String], width: usize, i: usize) -> Option<&str> {
    if labels.len() == width { labels.get(i).map(String::as_str) } else { None }
}

/// The elements of an output, or the largest of each row.
pub fn rows(t: &Tensor, top: Option<usize>, labels: &[String]) -> String {
    let (values, width) = rows_of(t);
    let k = top.unwrap_or(if labels.len() == width { 5 } else { 0 });
    let mut text = String::new();
    if k == 0 && values.len() > MAX_VALUES {
        let (low, high) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &x| (l.min(x), h.max(x)));
        let _ = writeln!(text, "  {} elements from {low} to {high}", values.len());
        return text;
    }
    for row in values.chunks(width).take(MAX_ROWS) {
        if k == 0 {
            let shown: Vec<String> = row.iter().map(|x| format!("{x}")).collect();
            let _ = writeln!(text, "  {}", shown.join(" "));
            continue;
        }
        let shown = largest(row, k).into_iter().map(|(i, v)| match label(labels, width, i) {
            Some(l) => format!("{l} {v:.4}"),
            None => format!("{i}: {v:.4}"),
        });
        let _ = writeln!(text, "  {}", shown.collect::<Vec<_>>().join("   "));
    }
    let hidden = (values.len() / width).saturating_sub(MAX_ROWS);
    if hidden > 0 {
        let _ = writeln!(text, "  and {hidden} rows more");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_inputs_may_hold_equal_signs() {
        let names = ["a=b", "x"];
        assert_eq!(named("a=b=f.npy", &names).unwrap(), (Some(0), "f.npy".into()));
        assert_eq!(named("x=a=b", &names).unwrap(), (Some(1), "a=b".into()));
        assert_eq!(named("f.npy", &names).unwrap(), (None, "f.npy".into()));
        assert!(named("y=f.npy", &names).unwrap_err().message.contains("no input `y`; it has a=b, x"));
    }

    #[test]
    fn the_largest_come_first_and_equal_ones_in_order() {
        assert_eq!(largest(&[1.0, 3.0, 3.0, f64::NEG_INFINITY], 3), [(1, 3.0), (2, 3.0), (0, 1.0)]);
    }
}
