//! `pocketnn mnist`: the embedded classifier of handwritten digits, from the Keras file to the accuracy.

use crate::batch;
use crate::failure::Failure;
use crate::output::{self, Paint, Progress};
use crate::picture;
use crate::run::largest;
use crate::tensors::{self, Look, Wanted};
use crate::timing::quantile;
use crate::verify::{SEED, check};
use pocketnn::{Model, Options, Preprocessing, Tensor, Threads};
use pocketnn_importer::verify::{Verification, VerifyOptions, verify};
use pocketnn_importer::{ImportOptions, import_bytes};
use pocketnn_models::mnist::{self, Dataset, MIRRORS, SIDE, Split};
use pocketnn_models::{DIGITS_KERAS, SAMPLES, Sample};
use serde_json::json;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Show the library at work: convert a Keras model of digits, verify it, classify
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Folder of the MNIST files [default: $MNIST_DIR, or ../shared/data/mnist]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Fetch the MNIST files (11 MB) into --data, $MNIST_DIR or ./mnist-data
    #[arg(long)]
    pub download: bool,
    /// Where to fetch from instead of the public copies; may be repeated
    #[arg(long, value_name = "URL", requires = "download")]
    pub mirror: Vec<String>,
    /// Threads for the test images
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub threads: usize,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// What the classifier said of a sample.
struct Answer {
    sample: &'static Sample,
    digit: usize,
    probability: f64,
    pixels: Vec<u8>,
}

/// The test images.
struct Evaluation {
    folder: PathBuf,
    images: usize,
    correct: usize,
    seconds: f64,
}

/// Digits whose pictures are drawn, in rows of five.
const DRAWN: usize = 10;
const ROW: usize = 5;
/// Runs whose median is the latency.
const LATENCY_RUNS: usize = 500;

/// Runs the subcommand.
///
/// # Errors
/// What went wrong.
pub fn run(args: Args) -> Result<(), Failure> {
    let folder = if args.download { Some(download(&args)?) } else { mnist::locate(args.data.as_deref()).ok() };
    if let (None, Some(asked)) = (&folder, &args.data) {
        return Err(
            Failure::failed(format!("{}: no MNIST files", asked.display())).help("add --download to fetch them")
        );
    }
    let start = Instant::now();
    let imported = import_bytes(DIGITS_KERAS, &ImportOptions::default())?;
    let graph = pocketnn::passes::optimize(imported.graph.clone())?.0;
    let converted = start.elapsed().as_secs_f64() * 1e3;
    let verification = verify(&imported.graph, &graph, SEED, &VerifyOptions::default())?;
    check(&verification)?;
    let model = Model::new(graph);
    let answers = SAMPLES.iter().map(|s| classify(&model, s)).collect::<Result<Vec<_>, _>>()?;
    let latency = latency(&model)?;
    let evaluation = folder.map(|f| evaluate(&model, &f, args.threads)).transpose()?;
    let correct = answers.iter().filter(|a| a.digit == a.sample.label as usize).count();
    if args.json {
        let e = evaluation.as_ref();
        return output::print_json(&json!({
            "samples": answers.len(), "correct": correct, "test_images": e.map_or(0, |e| e.images),
            "accuracy": e.map(|e| e.correct as f64 / e.images.max(1) as f64), "latency_us": latency,
            "convert_ms": converted, "verification": verification.to_json(), "params": model.graph().parameters(), "model_bytes": DIGITS_KERAS.len(),
        }));
    }
    output::print(&tell(&model, &answers, latency, converted, &verification, evaluation.as_ref()))
}

fn fail(e: &mnist::Error) -> Failure {
    Failure::failed(e.to_string())
}

fn download(args: &Args) -> Result<PathBuf, Failure> {
    let named = args.data.clone().or_else(|| std::env::var_os(mnist::DIR_VARIABLE).map(PathBuf::from));
    let folder = named.unwrap_or_else(|| PathBuf::from("mnist-data"));
    let mirrors: Vec<&str> =
        if args.mirror.is_empty() { MIRRORS.to_vec() } else { args.mirror.iter().map(String::as_str).collect() };
    let progress = Progress::bytes(Some(mnist::FILES.iter().map(|f| f.bytes).sum()), "fetching MNIST");
    let mut before = (String::new(), 0);
    let mut tell = |p: mnist::Progress<'_>| {
        if before.0 != p.name {
            before = (p.name.to_string(), 0);
            progress.say(p.name);
        }
        progress.add(p.received.saturating_sub(before.1));
        before.1 = p.received;
    };
    mnist::download(&mirrors, &folder, &mut tell).map_err(|e| fail(&e))?;
    Ok(folder)
}

/// The picture as the network's input: raw pixels.
fn input(model: &Model, png: &[u8]) -> Result<Tensor, Failure> {
    let id = model.graph().inputs()[0];
    let ty = model.graph().ty(id);
    let wanted = Wanted { name: &model.graph().value(id).name, dtype: ty.dtype, shape: &ty.shape };
    let how = Preprocessing { scale: Some(1.0), ..Preprocessing::default() };
    tensors::picture(png, &wanted, &Look { how, ..Look::default() })
}

fn classify(model: &Model, sample: &'static Sample) -> Result<Answer, Failure> {
    let x = input(model, sample.png)?;
    let pixels = x.to_f32().into_iter().map(|v| v as u8).collect();
    let y = model.session(&Options::default())?.run_tensors(&[x])?;
    let best = largest(&y[0].to_f64(), 1)[0];
    Ok(Answer { sample, digit: best.0, probability: best.1, pixels })
}

/// Median microseconds of one image on one thread.
fn latency(model: &Model) -> Result<f64, Failure> {
    let mut session = model.session(&Options::default())?;
    session.run_tensors(&[input(model, SAMPLES[0].png)?])?;
    let mut times = Vec::with_capacity(LATENCY_RUNS);
    for _ in 0..LATENCY_RUNS {
        let start = Instant::now();
        session.execute()?;
        times.push(start.elapsed().as_nanos() as f64 / 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(quantile(&times, 0.5))
}

fn evaluate(model: &Model, folder: &Path, threads: usize) -> Result<Evaluation, Failure> {
    let data = Dataset::read(folder, Split::Test).map_err(|e| fail(&e))?;
    let pixels: Vec<f32> = data.images().iter().map(|&v| f32::from(v)).collect();
    let x = Tensor::new(&[data.len(), SIDE, SIDE, 1], pixels)?;
    let options = Options::default().threads(Threads::new(threads)?);
    let outcome = batch::run(model, &options, &[x], None)?;
    let y = outcome.outputs[0].to_f64();
    let classes = y.len() / data.len().max(1);
    let right = |(row, &label): (&[f64], &u8)| largest(row, 1).first().is_some_and(|best| best.0 == usize::from(label));
    let correct = y.chunks(classes.max(1)).zip(data.labels()).filter(|&(r, l)| right((r, l))).count();
    Ok(Evaluation { folder: folder.to_path_buf(), images: data.len(), correct, seconds: outcome.seconds })
}

fn tell(
    model: &Model,
    answers: &[Answer],
    latency: f64,
    converted: f64,
    v: &Verification,
    evaluation: Option<&Evaluation>,
) -> String {
    let paint = Paint::stdout();
    let mut text = String::new();
    let g = model.graph();
    let _ = writeln!(
        text,
        "digits.keras: {}, {} parameters; converted in {converted:.1} ms; verified: outputs differ by {:.1e} at most",
        output::bytes(DIGITS_KERAS.len() as u64),
        g.parameters(),
        v.max_relative()
    );
    // One of each digit, the hands in turn.
    let drawn: Vec<&Answer> =
        (0..DRAWN).filter_map(|d| answers.iter().filter(|a| usize::from(a.sample.label) == d).nth(d % 3)).collect();
    for row in drawn.chunks(ROW) {
        text.push('\n');
        let pictures: Vec<Vec<String>> = row.iter().map(|a| picture::half_size(&a.pixels, SIDE, paint.on())).collect();
        for line in 0..pictures.first().map_or(0, Vec::len) {
            let cells: Vec<&str> = pictures.iter().map(|p| p[line].as_str()).collect();
            let _ = writeln!(text, "{}", cells.join("  ").trim_end());
        }
        let width = SIDE / 2;
        let captions: Vec<String> = row.iter().map(|a| caption(a, width, paint)).collect();
        let _ = writeln!(text, "{}", captions.join("  ").trim_end());
    }
    let correct = answers.iter().filter(|a| a.digit == usize::from(a.sample.label)).count();
    let _ = writeln!(text, "\n{:<12} {correct} of {} correct", "drawn digits", answers.len());
    for a in answers.iter().filter(|a| a.digit != usize::from(a.sample.label)) {
        let _ = writeln!(text, "{:<12} {} read as {} ({:.1} %)", "", a.sample.name, a.digit, 100.0 * a.probability);
    }
    let _ = writeln!(text, "{:<12} {latency:.1} us an image, one thread", "latency");
    match evaluation {
        Some(e) => {
            let accuracy = 100.0 * e.correct as f64 / e.images.max(1) as f64;
            let _ = writeln!(
                text,
                "{:<12} {:.2} % of {} MNIST test images ({:.2} s, {})",
                "accuracy",
                accuracy,
                e.images,
                e.seconds,
                e.folder.display()
            );
        }
        None => {
            let _ = writeln!(text, "{:<12} not measured: no MNIST files (--data DIR, or --download)", "accuracy");
        }
    }
    text
}

/// `7  99.8 %` below a picture.
fn caption(a: &Answer, width: usize, paint: Paint) -> String {
    let text = format!("{:^width$}", format!("{} {:.1} %", a.digit, 100.0 * a.probability));
    if a.digit == usize::from(a.sample.label) { paint.green(&text) } else { paint.red(&text) }
}
