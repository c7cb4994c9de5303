//! `pocketnn verify`: whether a model still computes what its source computed.

use crate::failure::Failure;
use crate::files::{self, MAX_BYTES};
use crate::output::{self, Paint, Progress};
use crate::source::{Loaded, ModelArgs};
use crate::table::{Align, Table, short};
use pocketnn_importer::Provenance;
use pocketnn_importer::verify::{Verification, VerifyOptions, repeat, verify};
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
    if args.json {
        output::print_json(&found.to_json())?;
    } else {
        output::print(&tell(&found))?;
    }
    check(&found)
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
    let source = loaded.imported.as_ref().unwrap_or(converted);
    let _progress = Progress::unknown("verifying");
    let symbols = source.symbols();
    let dims = args.dims.iter().filter(|(name, _)| symbols.contains(name)).cloned().collect();
    Ok(verify(source, converted, SEED, &VerifyOptions { dims, ..VerifyOptions::default() })?)
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
    Err(Failure { json: v.to_json(), ..Failure::failed(message) })
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
