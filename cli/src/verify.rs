//! `pocketnn verify`: whether a model still computes what its source computed.

use crate::failure::Failure;
use crate::files::{self, MAX_BYTES};
use crate::output::{self, Paint, Progress};
use crate::source::{Loaded, ModelArgs};
use crate::table::{Align, Table, short};
use pocketnn::Graph;
use pocketnn_importer::Provenance;
use pocketnn_importer::verify::{Recorded, Sample, SampleOutcome, Verification, VerifyOptions, record, repeat};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Check a converted model against the record of its conversion, or a source model against its conversion
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Seed of the inputs of a conversion's verification.
pub const SEED: u64 = 1;

/// Runs the subcommand.
///
/// # Errors
/// What went wrong; also when an output is beyond the tolerance.
pub fn run(args: Args) -> Result<(), Failure> {
    let loaded = args.model.load_with_source()?;
    let found = if loaded.converted { again(&args, &loaded)? } else { compare(&loaded, &args.model)? };
    let stored = loaded.model.graph().meta.get("sample").filter(|_| loaded.converted);
    let sample = stored.map(|s| Sample::from_json(s)?.repeat(loaded.model.graph())).transpose()?;
    if args.json {
        let mut json = found.to_json();
        json["sample"] = sample.as_ref().map_or(Value::Null, sample_json);
        output::print_json(&json)?;
    } else {
        output::print(&format!("{}{}", tell(&found), sample.as_ref().map_or(String::new(), sample_line)))?;
    }
    check(&found)?;
    match sample {
        Some(s) if !s.passed => Err(Failure::failed(format!(
            "the sample's outputs differ by {:.2e} of their largest element",
            s.max_relative
        ))),
        _ => Ok(()),
    }
}

/// What a repeated sample gave, as JSON.
pub fn sample_json(s: &SampleOutcome) -> Value {
    json!({ "same_bits": s.same_bits, "max_relative": s.max_relative.to_string(), "passed": s.passed })
}

fn sample_line(s: &SampleOutcome) -> String {
    match (s.passed, s.same_bits) {
        (true, true) => "sample: the same bits\n".to_string(),
        (true, false) => format!("sample: other bits, outputs within {:.2e}\n", s.max_relative),
        (false, _) => "sample: different\n".to_string(),
    }
}

/// The stored verification, repeated: the digest of the file's data first.
fn again(args: &Args, loaded: &Loaded) -> Result<Verification, Failure> {
    let path = &args.model.model;
    let _progress = Progress::unknown(&format!("verifying {}", path.display()));
    pocketnn::format::verify_digest(&files::read(path, MAX_BYTES)?).map_err(|e| Failure::from(e).at(path.display()))?;
    let stored = loaded.model.graph().meta.get("verification").ok_or_else(|| {
        Failure::failed(format!("{}: the file holds no verification", path.display()))
            .help("convert the source model again, without --no-verify")
    })?;
    Ok(repeat(loaded.model.graph(), &Verification::from_json(stored)?)?)
}

/// Compares the imported graph, run naively, with the converted one, run by the real runtime.
///
/// # Errors
/// When one of them cannot be run.
pub fn compare(loaded: &Loaded, args: &ModelArgs) -> Result<Verification, Failure> {
    let converted = loaded.model.graph();
    let recorded = record_source(loaded.imported.as_ref().unwrap_or(converted), converted, args)?;
    let _progress = Progress::unknown("verifying");
    Ok(recorded.compare(converted, &mut |_| {})?)
}

/// Runs the source naively, and keeps what is to be compared with the converted graph.
///
/// # Errors
/// When it cannot be run.
pub fn record_source(source: &Graph, converted: &Graph, args: &ModelArgs) -> Result<Recorded, Failure> {
    let _progress = Progress::unknown("running the source");
    let symbols = source.symbols();
    let dims = args.dims.iter().filter(|(name, _)| symbols.contains(name)).cloned().collect();
    Ok(record(source, converted, SEED, &VerifyOptions { dims, ..VerifyOptions::default() })?)
}

/// The error of a verification that did not pass.
///
/// # Errors
/// When an output is beyond the tolerance.
pub fn check(v: &Verification) -> Result<(), Failure> {
    if v.passed {
        return Ok(());
    }
    let place = v
        .first_divergence
        .as_ref()
        .map_or(String::new(), |d| format!("; the first value to differ is `{}` ({})", d.name, d.op));
    let message = format!(
        "outputs differ by {:.2e} of their largest element, allowed are {:.0e}{place}",
        v.max_relative(),
        v.tolerance
    );
    Err(Failure { json: Box::new(v.to_json()), ..Failure::failed(message) })
}

/// A table of the outputs.
pub fn tell(v: &Verification) -> String {
    let paint = Paint::stdout();
    let mut t = Table::new(&[
        ("output", Align::Left),
        ("type", Align::Left),
        ("largest", Align::Right),
        ("difference", Align::Right),
        ("relative", Align::Right),
    ]);
    for o in &v.outputs {
        t.row(vec![
            short(&o.name, 40),
            format!("{}{:?}", o.dtype, o.shape),
            format!("{:.4e}", o.largest),
            format!("{:.2e}", o.max_abs),
            format!("{:.2e}", o.max_relative),
        ]);
    }
    let mut text = t.render(paint);
    let verdict = if v.passed { paint.green("verified") } else { paint.red("different") };
    let _ = writeln!(
        text,
        "{verdict}: {} outputs within {:.0e}, {} inner values compared",
        v.outputs.len(),
        v.tolerance,
        v.compared
    );
    v.notes.iter().for_each(|n| {
        let _ = writeln!(text, "note: {n}");
    });
    text
}

/// Where a model came from, as the file stores it.
pub fn provenance(p: &Provenance) -> Value {
    json!({
        "format": p.format.name(), "producer": p.producer, "file": p.file, "sha256": p.sha256,
        "importer": concat!("pocketnn ", env!("CARGO_PKG_VERSION")),
    })
}
