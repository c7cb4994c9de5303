//! `pocketnn bench`: how long a model takes, and where the time goes.

use crate::failure::Failure;
use crate::files;
use crate::output::{self, Paint, Progress};
use crate::source::ModelArgs;
use crate::svg::{Anchor, Svg};
use crate::table::{Align, Table, short};
use crate::tensors::{self, Look, Wanted};
use crate::timing::{self, Patience, Times, milliseconds, quantile};
use pocketnn::dim::show_shape;
use pocketnn::kernels::isa::Isa;
use pocketnn::plan::StepInfo;
use pocketnn::{Bindings, DType, Graph, Options, Session, Tensor, Threads};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Instant;

/// Measure how long a model takes
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(flatten)]
    pub model: ModelArgs,
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
    /// Draw the time of each layer
    #[arg(long, value_name = "FILE.svg")]
    pub svg: Option<PathBuf>,
    /// Print one JSON object for each thread count
    #[arg(long)]
    pub json: bool,
}

/// A step with the median of its times.
struct Layer {
    info: StepInfo,
    microseconds: f64,
}

/// Everything measured with one number of threads.
struct Measured {
    threads: usize,
    times: Times,
    layers: Vec<Layer>,
    /// GFLOP/s of fused multiply-adds on all threads, measured in this process.
    peak: f64,
}

/// Runs the subcommand.
///
/// # Errors
/// What went wrong.
pub fn run(args: Args) -> Result<(), Failure> {
    let mut text = String::new();
    let mut all = Vec::new();
    for (i, &threads) in args.threads.iter().enumerate() {
        let start = Instant::now();
        let loaded = args.model.load()?;
        let options = Options::default().threads(Threads::new(threads as usize)?);
        let inputs = inputs(&args, loaded.model.graph())?;
        let mut session = loaded.model.session(&options)?;
        let load = milliseconds(start);
        let progress = Progress::unknown(&format!("measuring {} on {threads} threads", args.model.model.display()));
        let times = timing::measure(&mut session, &inputs, &args.patience)?;
        if let (Some(path), 0) = (&args.output, i) {
            let raw: Vec<u8> = times.outputs.iter().flat_map(Tensor::to_f32).flat_map(f32::to_le_bytes).collect();
            files::write_bytes(path, &raw)?;
        }
        if args.json && args.svg.is_none() {
            output::print_json(&times.to_json(load))?;
            continue;
        }
        let layers = layers(&mut session, times.sorted.len().clamp(5, 200))?;
        let isa = Isa::detect();
        let peak = pocketnn::kernels::peak::fma_peak(isa) * f64::from(threads);
        drop(progress);
        if args.json {
            output::print_json(&times.to_json(load))?;
        }
        let m = Measured { threads: threads as usize, times, layers, peak };
        let _ = writeln!(text, "{}", m.table(loaded.model.graph().name(), load, isa));
        all.push(m);
    }
    if let (Some(path), Some(m)) = (&args.svg, all.first()) {
        files::write_bytes(path, m.chart(&args.model.model.display().to_string()).as_bytes())?;
    }
    if args.json { Ok(()) } else { output::print(&text) }
}

/// The files given, then seeded noise in [-1, 1) for floats and zeros for the rest.
fn inputs(args: &Args, graph: &Graph) -> Result<Vec<Tensor>, Failure> {
    let mut files = args.input.iter();
    let ones: Bindings = graph.symbols().into_iter().map(|s| (s, 1)).collect();
    let mut out = Vec::new();
    for (n, &id) in graph.inputs().iter().enumerate() {
        let ty = graph.ty(id);
        let wanted = Wanted { name: &graph.value(id).name, dtype: ty.dtype, shape: &ty.shape };
        out.push(match files.next() {
            Some(path) => tensors::convert(&tensors::open(path, &wanted, &Look::default())?, ty.dtype)?,
            None => {
                let shape: Vec<usize> = ty.shape.iter().map(|d| d.bind(&ones).known().unwrap_or(1)).collect();
                noise(ty.dtype, &shape, n as u64 + 1)?
            }
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

/// Medians of each step over some runs; none where shapes are decided while running.
fn layers(session: &mut Session<'_>, runs: usize) -> Result<Vec<Layer>, Failure> {
    let Some(plan) = session.plan() else { return Ok(Vec::new()) };
    let infos = plan.steps().to_vec();
    let mut times = vec![Vec::with_capacity(runs); infos.len()];
    for _ in 0..runs {
        session.execute_observed(&mut |o| times[o.index].push(o.nanoseconds as f64 / 1e3))?;
    }
    let layer = |(info, mut t): (StepInfo, Vec<f64>)| {
        t.sort_by(f64::total_cmp);
        Layer { info, microseconds: quantile(&t, 0.5) }
    };
    Ok(infos.into_iter().zip(times).map(layer).collect())
}

impl Layer {
    /// A multiply-add counts two.
    fn gflops(&self) -> f64 {
        2.0 * self.info.macs as f64 / (self.microseconds * 1e3).max(1.0)
    }
}

impl Measured {
    fn total(&self) -> f64 {
        self.layers.iter().map(|l| l.microseconds).sum()
    }
    fn macs(&self) -> u64 {
        self.layers.iter().map(|l| l.info.macs).sum()
    }

    fn table(&self, name: &str, load: f64, isa: Isa) -> String {
        let paint = Paint::stdout();
        let mut t = Table::new(&[
            ("layer", Align::Left),
            ("op", Align::Left),
            ("output", Align::Left),
            ("algorithm", Align::Left),
            ("us", Align::Right),
            ("%", Align::Right),
            ("GFLOP/s", Align::Right),
            ("% of peak", Align::Right),
        ]);
        let total = self.total();
        for l in &self.layers {
            let (gflops, share) = match l.info.macs {
                0 => (String::new(), String::new()),
                _ => (format!("{:.1}", l.gflops()), format!("{:.0}", 100.0 * l.gflops() / self.peak)),
            };
            let algorithm = if l.info.interpreted { "interpreted".to_string() } else { l.info.algorithm.clone() };
            t.row(vec![
                short(&l.info.name, 32),
                l.info.op.to_string(),
                show_shape(&l.info.shape),
                algorithm,
                format!("{:.1}", l.microseconds),
                format!("{:.1}", 100.0 * l.microseconds / total),
                gflops,
                share,
            ]);
        }
        let median = self.times.quantile(0.5);
        let mut text = format!("{} on {} threads, {isa}\n\n", paint.bold(name), self.threads);
        if self.layers.is_empty() {
            text.push_str("shapes are decided while running: no layers to show\n");
        } else {
            text.push_str(&t.render(paint));
            let rate = 2.0 * self.macs() as f64 / (median * 1e6);
            let _ = writeln!(
                text,
                "\nlayers {total:.1} us, {:.0} % of a run; {rate:.1} GFLOP/s, {:.0} % of the FMA peak {:.1}",
                100.0 * total / (median * 1e3),
                100.0 * rate / self.peak,
                self.peak
            );
        }
        let q = |q| self.times.quantile(q);
        let _ = writeln!(
            text,
            "{} {median:.4} ms   p10 {:.4}  p90 {:.4}  min {:.4}  first {:.3}  load {load:.1}   {} runs",
            paint.bold("median"),
            q(0.1),
            q(0.9),
            q(0.0),
            self.times.first,
            self.times.sorted.len()
        );
        text
    }

    /// One bar a layer.
    fn chart(&self, name: &str) -> String {
        const ROW: f64 = 20.0;
        const LEFT: f64 = 330.0;
        const BARS: f64 = 420.0;
        const RIGHT: f64 = 230.0;
        const TOP: f64 = 58.0;
        let mut svg = Svg::new(LEFT + BARS + RIGHT, TOP + ROW * self.layers.len() as f64 + 20.0);
        let longest = self.layers.iter().map(|l| l.microseconds).fold(1e-9, f64::max);
        let median = self.times.quantile(0.5);
        svg.text(16.0, 24.0, 15.0, Anchor::Start, "#111111", name);
        let peak = format!("median {median:.3} ms on {} threads; FMA peak {:.1} GFLOP/s", self.threads, self.peak);
        svg.text(16.0, 44.0, 12.0, Anchor::Start, "#555555", &peak);
        for (i, l) in self.layers.iter().enumerate() {
            let y = TOP + ROW * i as f64;
            let label = format!("{}  {}", short(&l.info.name, 30), show_shape(&l.info.shape));
            svg.text(LEFT - 8.0, y + 14.0, 11.0, Anchor::End, "#222222", &label);
            let width = BARS * l.microseconds / longest;
            svg.rect(LEFT, y + 3.0, width.max(1.0), ROW - 6.0, 2.0, crate::drawing::color(l.info.op), "#5c6370");
            let rate = match l.info.macs {
                0 => format!("{:.1} us", l.microseconds),
                _ => format!(
                    "{:.1} us, {:.1} GFLOP/s, {:.0} %",
                    l.microseconds,
                    l.gflops(),
                    100.0 * l.gflops() / self.peak
                ),
            };
            svg.text(LEFT + width + 6.0, y + 14.0, 11.0, Anchor::Start, "#555555", &format!("{rate}  {}", l.info.op));
        }
        svg.finish()
    }
}
