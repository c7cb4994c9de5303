//! `pocketnn bench`: how long a model takes, and where the time goes.

mod chart;
mod layers;
mod report;
mod roofline;

use crate::failure::Failure;
use crate::files;
use crate::output::{self, Progress};
use crate::source::{Loaded, ModelArgs};
use crate::tensors::{self, Look, Wanted};
use crate::timing::{self, Patience, Times, milliseconds};
use layers::Layers;
use pocketnn::plan::cost::Machine;
use pocketnn::{Bindings, DType, Graph, Tensor, Threads};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Measure how long a model takes
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Where DIR (or, without a DIR, the model's own folder) holds NAME.pnn, measure that instead of the source model NAME
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = "", value_parser = folder)]
    pub converted: Option<PathBuf>,
    /// Thread counts
    #[arg(long, value_name = "N,..", value_delimiter = ',', default_value = "1", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Vec<u16>,
    #[command(flatten)]
    pub patience: Patience,
    /// Tensor for the next input, raw little-endian or any format of `run`; otherwise seeded noise
    #[arg(long, value_name = "FILE")]
    pub input: Vec<PathBuf>,
    /// Write all outputs of the first run as raw little-endian f32, one after the other
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Draw the roofline of the machine with the layers, and the time of each layer
    #[arg(long, value_name = "FILE.svg")]
    pub svg: Option<PathBuf>,
    /// Print one JSON object for each thread count
    #[arg(long)]
    pub json: bool,
    /// With --json: the layers, the machine, and the parts of the loading time as well
    #[arg(long, requires = "json")]
    pub layers: bool,
}

/// Milliseconds until a session is ready.
#[derive(Clone, Copy, Debug)]
pub struct Loading {
    /// Reading the file; of a source model also importing, optimising and packing it.
    pub open: f64,
    /// Planning.
    pub session: f64,
}

impl Loading {
    fn total(self) -> f64 {
        self.open + self.session
    }
}

/// Everything measured with one number of threads.
pub struct Measured {
    threads: usize,
    loading: Loading,
    times: Times,
    layers: Layers,
    /// What all threads together can do, measured in this process.
    machine: Machine,
}

/// Runs the subcommand.
///
/// # Errors
/// What went wrong.
pub fn run(mut args: Args) -> Result<(), Failure> {
    if let Some(folder) = &args.converted
        && let Some(found) = converted(&args.model.model, folder)
    {
        args.model.model = found;
    }
    let mut text = String::new();
    let mut all = Vec::new();
    for (i, &threads) in args.threads.iter().enumerate() {
        let start = Instant::now();
        let loaded = args.model.load_packed()?;
        let open = milliseconds(start);
        let inputs = inputs(&args, loaded.model.graph())?;
        let start = Instant::now();
        let options = loaded.session_options(&args.model).threads(Threads::new(threads as usize)?);
        let mut session = loaded.model.session(&options)?;
        let loading = Loading { open, session: milliseconds(start) };
        let progress = Progress::unknown(&format!("measuring {} on {threads} threads", args.model.model.display()));
        let times = timing::measure(&mut session, &inputs, &args.patience)?;
        if let (Some(path), 0) = (&args.output, i) {
            let raw: Vec<u8> = times.outputs.iter().flat_map(Tensor::to_f32).flat_map(f32::to_le_bytes).collect();
            files::write_bytes(path, &raw)?;
        }
        if args.json && args.svg.is_none() && !args.layers {
            output::print_json(&times.to_json(loading.total()))?;
            continue;
        }
        let layers = Layers::measure(&mut session, times.sorted.len().clamp(5, 200))?;
        let machine = layers::machine(threads as usize);
        drop(progress);
        let m = Measured { threads: threads as usize, loading, times, layers, machine };
        if args.json {
            output::print_json(&if args.layers { m.to_json() } else { m.times.to_json(loading.total()) })?;
        }
        let _ = writeln!(text, "{}", m.to_text(loaded.model.graph().name()));
        all.push((name(&loaded, &args.model.model), m));
    }
    if let (Some(path), Some((name, m))) = (&args.svg, all.first()) {
        files::write_bytes(path, chart::draw(name, m).as_bytes())?;
    }
    if args.json { Ok(()) } else { output::print(&text) }
}

/// The name of the file, or of the network where the file has none.
fn name(loaded: &Loaded, path: &Path) -> String {
    path.file_name().map_or_else(|| loaded.model.graph().name().to_string(), |n| n.to_string_lossy().into_owned())
}

/// Any folder; the empty name stands for the model's own.
#[allow(clippy::unnecessary_wraps, reason = "the parser of an argument gives a result")]
fn folder(name: &str) -> Result<PathBuf, std::convert::Infallible> {
    Ok(PathBuf::from(name))
}

/// The converted model of the same name in a folder.
fn converted(model: &Path, folder: &Path) -> Option<PathBuf> {
    let folder = if folder.as_os_str().is_empty() { model.parent()? } else { folder };
    Some(folder.join(model.file_stem()?).with_extension("pnn")).filter(|p| p.is_file())
}

/// The files given, then seeded noise in [-1, 1) for floats and zeros for the rest.
fn inputs(args: &Args, graph: &Graph) -> Result<Vec<Tensor>, Failure> {
    let mut files = args.input.iter();
    let ones: Bindings = graph.symbols().into_iter().map(|s| (s, 1)).collect();
    let mut out = Vec::new();
    for (n, &id) in graph.inputs().iter().enumerate() {
        let ty = graph.ty(id);
        let wanted = Wanted { name: &graph.value(id).name, dtype: ty.dtype, shape: &ty.shape };
        out.push(if let Some(path) = files.next() {
            tensors::convert(&tensors::open(path, &wanted, &Look::default())?, ty.dtype)?
        } else {
            let shape: Vec<usize> = ty.shape.iter().map(|d| d.bind(&ones).known().unwrap_or(1)).collect();
            noise(ty.dtype, &shape, n as u64 + 1)?
        });
    }
    match files.next() {
        Some(path) => Err(Failure::usage(format!("{}: the model has only {} inputs", path.display(), out.len()))),
        None => Ok(out),
    }
}

/// The same numbers on every machine (splitmix64).
pub fn noise(dtype: DType, shape: &[usize], seed: u64) -> Result<Tensor, Failure> {
    if !dtype.is_float() {
        return Ok(Tensor::zeros(dtype, shape)?);
    }
    let mut state = seed;
    let next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    let values: Vec<f32> = std::iter::repeat_with(next).take(pocketnn::checked_len(shape)?).collect();
    tensors::convert(&Tensor::new(shape, values)?, dtype)
}
