//! `pocketnn tune`: which algorithms are fastest on this device.

use crate::bench::noise;
use crate::failure::Failure;
use crate::output::{self, Paint, Progress};
use crate::table::{Align, Table, short};
use crate::timing::quantile;
use pocketnn::dim::show_shape;
use pocketnn::kernels::isa::Isa;
use pocketnn::plan::StepInfo;
use pocketnn::{Bindings, Model, Options, Session, Tensor, Threads, Tuning, View, Winograd};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Measure the algorithms of each layer and store the fastest beside the model
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// A .pnn file; the choices are stored in MODEL.tune.json, which every command uses from then on
    pub model: PathBuf,
    /// Runs of each candidate
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..10_000))]
    pub rounds: u32,
    /// Threads
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: u16,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// A choice must win by this part of the time: less is noise, and changing the algorithm changes the last bits of the results.
const MARGIN: f64 = 0.03;

/// A layer that can be computed in several ways.
struct Layer {
    info: StepInfo,
    /// Median microseconds by algorithm.
    times: BTreeMap<String, f64>,
}

impl Layer {
    /// The fastest algorithm, where it is not the one that the plan takes by itself.
    fn better(&self) -> Option<&str> {
        let own = *self.times.get(&self.info.algorithm)?;
        let (name, time) = self.times.iter().min_by(|a, b| a.1.total_cmp(b.1))?;
        (*time < own * (1.0 - MARGIN)).then_some(name)
    }
    fn to_json(&self) -> Value {
        json!({
            "name": self.info.name, "value": self.info.value, "op": self.info.op, "shape": self.info.shape,
            "planned": self.info.algorithm, "chosen": self.better().unwrap_or(&self.info.algorithm), "us": self.times,
        })
    }
}

/// Runs the subcommand.
///
/// # Errors
/// What went wrong.
pub fn run(args: Args) -> Result<(), Failure> {
    let model = Model::open(&args.model)?;
    let layers = measure(&model, &args)?;
    let device = format!("{}, {} threads", Isa::detect(), args.threads);
    let mut tuning = Tuning::new(&args.model, &device)?;
    for l in &layers {
        if let Some(algorithm) = l.better() {
            tuning.choose(&l.info.value, algorithm);
        }
    }
    let written = tuning.save(&args.model)?.display().to_string();
    if args.json {
        let layers: Vec<Value> = layers.iter().map(Layer::to_json).collect();
        return output::print_json(
            &json!({ "output": written, "device": device, "choices": tuning.choices().count(), "layers": layers }),
        );
    }
    let paint = Paint::stdout();
    let mut table = Table::new(&[
        ("layer", Align::Left),
        ("output", Align::Left),
        ("planned", Align::Left),
        ("fastest", Align::Left),
        ("us", Align::Left),
    ]);
    for l in &layers {
        let times: Vec<String> = l.times.iter().map(|(a, t)| format!("{a} {t:.1}")).collect();
        let (planned, chosen) = (l.info.algorithm.clone(), l.better().unwrap_or("as planned").to_string());
        table.row(vec![short(&l.info.name, 36), show_shape(&l.info.shape), planned, chosen, times.join(", ")]);
    }
    let summary =
        format!("{} of {} layers take another algorithm than planned", tuning.choices().count(), layers.len());
    output::print(&format!("{}\n{summary}; {}\n", table.render(paint), paint.bold(&written)))
}

/// Layers whose algorithm differs between candidates, with the times of each; the candidates take turns.
fn measure(model: &Model, args: &Args) -> Result<Vec<Layer>, Failure> {
    let threads = Threads::new(args.threads as usize)?;
    let session = |w: Winograd| model.session(&Options::default().threads(threads.clone()).winograd(w));
    let mut sessions: Vec<Session<'_>> = Winograd::ALL.iter().map(|&w| session(w)).collect::<pocketnn::Result<_>>()?;
    let inputs = inputs(model)?;
    let views: Vec<View<'_>> = inputs.iter().map(View::from).collect();
    let mut layers: Vec<Layer> = Vec::new();
    let mut samples: BTreeMap<(String, String), Vec<f64>> = BTreeMap::new();
    for s in &mut sessions {
        s.run(&views)?;
    }
    let Some(plan) = sessions[0].plan() else {
        return Err(Failure::failed("shapes are decided while running: there is nothing to choose"));
    };
    layers.extend(plan.steps().iter().map(|info| Layer { info: info.clone(), times: BTreeMap::new() }));
    let progress = Progress::steps(u64::from(args.rounds), &format!("measuring {}", args.model.display()));
    for _ in 0..args.rounds {
        for s in &mut sessions {
            s.execute_observed(&mut |o| {
                let key = (o.info.value.clone(), o.info.algorithm.clone());
                samples.entry(key).or_default().push(o.nanoseconds as f64 / 1e3);
            })?;
        }
        progress.add(1);
    }
    for ((value, algorithm), mut times) in samples {
        times.sort_by(f64::total_cmp);
        if let Some(l) = layers.iter_mut().find(|l| l.info.value == value) {
            l.times.insert(algorithm, quantile(&times, 0.5));
        }
    }
    layers.retain(|l| l.times.len() > 1);
    Ok(layers)
}

/// Seeded noise, symbolic sizes 1.
fn inputs(model: &Model) -> Result<Vec<Tensor>, Failure> {
    let graph = model.graph();
    let ones: Bindings = graph.symbols().into_iter().map(|s| (s, 1)).collect();
    let one = |(n, &id): (usize, &pocketnn::ValueId)| {
        let ty = graph.ty(id);
        let shape: Vec<usize> = ty.shape.iter().map(|d| d.bind(&ones).known().unwrap_or(1)).collect();
        noise(ty.dtype, &shape, n as u64 + 1)
    };
    graph.inputs().iter().enumerate().map(one).collect()
}
