//! Verification of a conversion: the source graph, run by the naive interpreter, against the converted one, run as an app runs it.
//!
//! Both get the same seeded inputs ([`inputs`]). The source runs first and is recorded ([`record`]), so that a caller may let go of it
//! before the converted one is packed for its run ([`Recorded::compare`]). Values that have one name in both graphs are compared; a value
//! that the passes permuted (`name@perm`) is compared with the permuted source. The first one that differs by more than the
//! tolerance is named. What the file keeps ([`Verification::to_json`]) is enough to repeat the run anywhere ([`repeat`]): seed,
//! sizes, and for each output a digest of its bits and a few of its elements.

mod inputs;
mod lockstep;
mod record;
mod sample;

pub use record::{Divergence, OutputRecord, Verification};
pub use sample::{MAX_SAMPLE_BYTES, Sample, SampleOutcome};

use std::collections::{BTreeMap, BTreeSet};

use lockstep::{Comparison, Recording};
use pocketnn::{Bindings, ErrorKind, Graph, Model, Options, Tensor};

use crate::error::{ImportError, Result};

/// How a verification is made.
#[derive(Clone, Debug)]
pub struct VerifyOptions {
    /// Largest difference of an output, relative to its largest element.
    pub tolerance: f64,
    /// Multiply-accumulates of one run above which symbolic dimensions get smaller sizes.
    pub max_macs: u64,
    /// Bytes of intermediate values that are recorded for the comparison (in a temporary file, but for a few); what comes after is not compared.
    pub max_bytes: usize,
    /// Sizes of symbolic dimensions; others are chosen.
    pub dims: BTreeMap<String, usize>,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self { tolerance: 1e-4, max_macs: 20_000_000_000, max_bytes: 1 << 30, dims: BTreeMap::new() }
    }
}

/// Runs both graphs on the same seeded inputs and compares them.
///
/// A difference is no error: see [`Verification::passed`].
///
/// # Errors
/// When a graph cannot be run on inputs of any size that was tried, or the graphs have different inputs or outputs.
pub fn verify(source: &Graph, converted: &Graph, seed: u64, options: &VerifyOptions) -> Result<Verification> {
    verify_values(source, converted, seed, options, &mut |_| {})
}

/// As [`verify`], and tells `observe` of every value that was compared, in the order of the source (its op beside it).
///
/// # Errors
/// As [`verify`].
pub fn verify_values(
    source: &Graph,
    converted: &Graph,
    seed: u64,
    options: &VerifyOptions,
    observe: &mut dyn FnMut(&Divergence),
) -> Result<Verification> {
    record(source, converted, seed, options)?.compare(converted, observe)
}

/// What the naive run of a source graph gave.
#[derive(Debug)]
pub struct Recorded {
    options: VerifyOptions,
    notes: Vec<String>,
    /// One run, or one with a batch of two behind it.
    runs: Vec<Run>,
}

/// One naive run.
#[derive(Debug)]
struct Run {
    seed: u64,
    dims: BTreeMap<String, usize>,
    macs: u64,
    fed: Vec<Tensor>,
    /// Names of the outputs.
    names: Vec<String>,
    recording: Recording,
}

/// Runs the source graph naively on seeded inputs of sizes that fit both graphs, and keeps what the converted graph computes, too.
///
/// # Errors
/// When the source cannot be run on inputs of any size that was tried.
pub fn record(source: &Graph, converted: &Graph, seed: u64, options: &VerifyOptions) -> Result<Recorded> {
    let (dims, notes) = sizes(source, converted, options)?;
    let second = second_batch(source, &dims, options).map(|dims| (seed.wrapping_add(1), dims));
    let mut runs = Vec::new();
    for (seed, dims) in std::iter::once((seed, dims)).chain(second) {
        let bound = bind(source, &dims)?;
        let fed = inputs::inputs(&bound, seed)?;
        let names = bound.outputs().iter().map(|&v| bound.value(v).name.clone()).collect();
        let recording = Recording::new(&bound, converted, &fed, options.max_bytes)?;
        runs.push(Run { seed, dims, macs: bound.macs(), fed, names, recording });
    }
    Ok(Recorded { options: options.clone(), notes, runs })
}

impl Recorded {
    /// Runs the converted graph on the same inputs and compares; tells `observe` of every value of the first run that was compared.
    ///
    /// # Errors
    /// When the converted graph cannot be run, or has other outputs.
    pub fn compare(self, converted: &Graph, observe: &mut dyn FnMut(&Divergence)) -> Result<Verification> {
        let Self { options, mut notes, runs } = self;
        let mut runs = runs.into_iter();
        let first = runs.next().ok_or_else(|| ImportError::invalid("nothing was recorded"))?;
        let mut result = compare(first, converted, &options, observe)?;
        result.notes.append(&mut notes);
        for run in runs {
            let dims = show(&run.dims);
            let again = compare(run, converted, &options, &mut |_| {})?;
            result.notes.push(format!("also with {dims}: largest difference {:.2e}", again.max_relative()));
            if !again.passed {
                result.passed = false;
                result.first_divergence = result.first_divergence.or(again.first_divergence);
            }
        }
        Ok(result)
    }
}

/// Runs a converted graph as it was run when it was verified, and compares with what was stored: equal bits, or elements within the
/// stored tolerance.
///
/// # Errors
/// When the graph cannot be run, or has other outputs than were stored.
pub fn repeat(converted: &Graph, stored: &Verification) -> Result<Verification> {
    let fed = inputs::inputs(&bind(converted, &stored.dims)?, stored.seed)?;
    let outputs = session_outputs(converted, &stored.dims, &fed)?;
    if outputs.len() != stored.outputs.len() {
        return Err(ImportError::invalid("the stored verification is of another model")
            .expected(format!("{} outputs", stored.outputs.len()))
            .found(outputs.len()));
    }
    let mut result = stored.clone();
    result.passed = true;
    result.notes.clear();
    for (record, y) in result.outputs.iter_mut().zip(&outputs) {
        let now = OutputRecord::of(&record.name, y);
        let difference = record.difference(&now);
        let fits = difference.is_some_and(|d| d <= stored.tolerance);
        record.max_abs = difference.unwrap_or(f64::INFINITY) * record.largest;
        record.max_relative = difference.unwrap_or(f64::INFINITY);
        if now.sha256 != record.sha256 {
            result.notes.push(format!("`{}` has other bits than stored", record.name));
        }
        record.sha256 = now.sha256;
        result.passed &= fits;
    }
    Ok(result)
}

fn bind(graph: &Graph, dims: &BTreeMap<String, usize>) -> Result<Graph> {
    let bindings: Bindings = dims.iter().map(|(k, v)| (k.clone(), *v)).collect();
    Ok(graph.bind(&bindings)?)
}

/// Sizes that are tried for a dimension that is not the batch, in this order.
const TRIED: [usize; 11] = [32, 64, 128, 224, 256, 320, 16, 8, 4, 2, 1];

/// Values of all symbols with which both graphs can be run, and what was done about the budget.
fn sizes(source: &Graph, converted: &Graph, options: &VerifyOptions) -> Result<(BTreeMap<String, usize>, Vec<String>)> {
    let symbols = source.symbols();
    if let Some(name) = options.dims.keys().find(|k| !symbols.contains(*k)) {
        return Err(ImportError::invalid("the model has no such dimension")
            .expected(format!("{symbols:?}"))
            .found(name));
    }
    let batch = batches(source);
    let free = symbols.iter().any(|s| !batch.contains(s) && !options.dims.contains_key(s));
    let (mut first_error, mut largest) = (None, None);
    let tried: &[usize] = if free { &TRIED } else { &[1] };
    let mut smallest: Option<(u64, BTreeMap<String, usize>)> = None;
    for &size in tried {
        let pick = |s: &String| options.dims.get(s).copied().unwrap_or(if batch.contains(s) { 1 } else { size });
        let dims: BTreeMap<String, usize> = symbols.iter().map(|s| (s.clone(), pick(s))).collect();
        match bind(source, &dims).and_then(|g| bind(converted, &dims).map(|_| g.macs())) {
            Ok(macs) if macs <= options.max_macs => {
                let note = largest
                    .map(|l: u64| format!("sizes {} to stay below {} MACs (not {l})", show(&dims), options.max_macs));
                return Ok((dims, note.into_iter().collect()));
            }
            Ok(macs) => {
                largest = Some(largest.unwrap_or(0).max(macs));
                if smallest.as_ref().is_none_or(|s| macs < s.0) {
                    smallest = Some((macs, dims));
                }
            }
            Err(e) => {
                first_error.get_or_insert(e);
            }
        }
    }
    match (smallest, first_error) {
        (Some((macs, dims)), _) => {
            let note = format!(
                "{macs} MACs with the smallest sizes {}, above the budget of {}",
                show(&dims),
                options.max_macs
            );
            Ok((dims, vec![note]))
        }
        (None, Some(e)) => Err(e.help("name sizes of the symbolic dimensions with which the model can be run")),
        (None, None) => Ok((BTreeMap::new(), Vec::new())),
    }
}

/// Symbols that only ever are the first dimension of an input.
fn batches(graph: &Graph) -> BTreeSet<String> {
    let (mut first, mut other) = (BTreeSet::new(), BTreeSet::new());
    for &v in graph.inputs() {
        for (i, d) in graph.ty(v).shape.iter().enumerate() {
            d.symbols(if i == 0 { &mut first } else { &mut other });
        }
    }
    first.difference(&other).cloned().collect()
}

/// Sizes with a batch of two, when that is cheap.
fn second_batch(
    source: &Graph,
    dims: &BTreeMap<String, usize>,
    options: &VerifyOptions,
) -> Option<BTreeMap<String, usize>> {
    let batch: Vec<String> = batches(source).into_iter().filter(|s| !options.dims.contains_key(s)).collect();
    let macs = bind(source, dims).ok()?.macs();
    if batch.is_empty() || macs > options.max_macs / 64 {
        return None;
    }
    Some(dims.iter().map(|(k, &v)| (k.clone(), if batch.contains(k) { 2 } else { v })).collect())
}

fn show(dims: &BTreeMap<String, usize>) -> String {
    let each: Vec<String> = dims.iter().map(|(k, v)| format!("{k}={v}")).collect();
    each.join(", ")
}

fn compare(
    mut run: Run,
    converted: &Graph,
    options: &VerifyOptions,
    observe: &mut dyn FnMut(&Divergence),
) -> Result<Verification> {
    let mut notes = Vec::new();
    let mut comparison = Comparison::new(&mut run.recording, options.tolerance);
    let outputs = observed(converted, &run.dims, &run.fed, &mut comparison, &mut notes)?;
    comparison.values.iter().for_each(|(_, d)| observe(d));
    let (compared, first) = (comparison.values.len(), comparison.first());
    let Run { seed, dims, macs, names, recording, .. } = run;
    if recording.skipped > 0 {
        notes.push(format!("{} values beyond {} bytes were not compared", recording.skipped, options.max_bytes));
    }
    let wanted = &recording.outputs;
    let mut result = Verification {
        seed,
        dims,
        tolerance: options.tolerance,
        passed: true,
        macs,
        compared,
        outputs: Vec::new(),
        first_divergence: first,
        notes,
    };
    if wanted.len() != outputs.len() {
        return Err(ImportError::invalid("the converted model has other outputs")
            .expected(wanted.len())
            .found(outputs.len()));
    }
    for ((name, want), y) in names.iter().zip(wanted).zip(&outputs) {
        let mut record = OutputRecord::of(name, y);
        let difference = record::difference(want, y);
        (record.max_abs, record.max_relative) = difference;
        result.passed &= difference.1 <= options.tolerance;
        if difference.1 > options.tolerance && result.first_divergence.is_none() {
            let name = name.clone();
            result.first_divergence =
                Some(Divergence { name, op: "Output".into(), max_abs: difference.0, max_relative: difference.1 });
        }
        result.outputs.push(record);
    }
    Ok(result)
}

/// Outputs of a run as an app makes it; a second run compares what its steps compute.
fn observed(
    converted: &Graph,
    dims: &BTreeMap<String, usize>,
    fed: &[Tensor],
    naive: &mut Comparison<'_>,
    notes: &mut Vec<String>,
) -> Result<Vec<Tensor>> {
    let mut session = session(converted, dims)?;
    let outputs = session.run_tensors(fed)?;
    let mut failure = None;
    let ran = session.execute_observed(&mut |step| {
        for (i, name) in step.names().enumerate() {
            if failure.is_none()
                && let Err(e) = naive.compare(name, || step.tensor(i))
            {
                failure = Some(e);
            }
        }
    });
    match ran {
        Err(e) if e.kind() == ErrorKind::Argument => {
            notes.push("shapes are decided while running: only the outputs were compared".to_owned());
        }
        other => other?,
    }
    failure.map_or(Ok(outputs), Err)
}

fn session(graph: &Graph, dims: &BTreeMap<String, usize>) -> Result<pocketnn::Session<'static>> {
    let known = graph.symbols();
    let options = dims.iter().filter(|d| known.contains(d.0)).fold(Options::default(), |o, (k, &v)| o.dim(k, v));
    Ok(Model::new(graph.clone()).session(&options)?)
}

fn session_outputs(graph: &Graph, dims: &BTreeMap<String, usize>, fed: &[Tensor]) -> Result<Vec<Tensor>> {
    Ok(session(graph, dims)?.run_tensors(fed)?)
}

#[cfg(test)]
mod tests;
