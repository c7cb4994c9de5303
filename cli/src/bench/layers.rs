//! Times of the steps of a plan, and what the machine could do.

use crate::failure::Failure;
use crate::timing::quantile;
use pocketnn::Session;
use pocketnn::kernels::isa::Isa;
use pocketnn::kernels::peak;
use pocketnn::plan::StepInfo;
use pocketnn::plan::cost::{Cost, Machine};
use std::time::Instant;

/// A step with its times.
#[derive(Clone, Debug)]
pub struct Layer {
    /// What it is.
    pub info: StepInfo,
    /// Microseconds, sorted.
    sorted: Vec<f64>,
}

/// All steps, and the whole for comparison.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// In the order in which they run; none where shapes are decided while running.
    pub list: Vec<Layer>,
    /// Microseconds of unobserved runs in between, sorted.
    whole: Vec<f64>,
    /// Of each observed run, the part that its steps took, sorted.
    parts: Vec<f64>,
}

impl Layer {
    /// An element of the times: 0 the best, 0.5 the median.
    pub fn quantile(&self, q: f64) -> f64 {
        quantile(&self.sorted, q)
    }
    /// Median in microseconds.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }
    /// GFLOP/s of the multiply-accumulates (each counts two), however few operations the algorithm needs for them.
    pub fn effective(&self) -> f64 {
        2.0 * self.info.macs as f64 / (self.median() * 1e3).max(1.0)
    }
    /// GFLOP/s of the operations that are really carried out.
    pub fn real(&self) -> f64 {
        self.info.work.flops / (self.median() * 1e3).max(1.0)
    }
    /// The least that a machine needs.
    pub fn cost(&self, machine: &Machine) -> Cost {
        self.info.work.cost(machine)
    }
    /// Share of what the bound allows.
    pub fn of_bound(&self, machine: &Machine) -> f64 {
        self.cost(machine).nanoseconds / (self.median() * 1e3).max(1.0)
    }
}

impl Layers {
    /// Observed and unobserved runs in turns.
    ///
    /// # Errors
    /// When a run fails.
    pub fn measure(session: &mut Session<'_>, runs: usize) -> Result<Self, Failure> {
        let Some(plan) = session.plan() else { return Ok(Self::default()) };
        let layer = |info: &StepInfo| Layer { info: info.clone(), sorted: Vec::with_capacity(runs) };
        let mut all = Self { list: plan.steps().iter().map(layer).collect(), ..Self::default() };
        for _ in 0..runs {
            let (start, mut steps) = (Instant::now(), 0.0);
            session.execute_observed(&mut |o| {
                let time = o.nanoseconds as f64 / 1e3;
                steps += time;
                all.list[o.index].sorted.push(time);
            })?;
            all.parts.push(steps / (start.elapsed().as_secs_f64() * 1e6).max(1e-9));
            let start = Instant::now();
            session.execute()?;
            all.whole.push(start.elapsed().as_secs_f64() * 1e6);
        }
        all.list.iter_mut().for_each(|l| l.sorted.sort_by(f64::total_cmp));
        all.whole.sort_by(f64::total_cmp);
        all.parts.sort_by(f64::total_cmp);
        Ok(all)
    }
    /// Sum of the medians in microseconds.
    pub fn total(&self) -> f64 {
        self.list.iter().map(Layer::median).sum()
    }
    /// Median of a whole run in microseconds.
    pub fn whole(&self) -> f64 {
        quantile(&self.whole, 0.5)
    }
    /// The part of a run that the layers explain: within the same run, so that other work on the machine does not count.
    pub fn explained(&self) -> f64 {
        quantile(&self.parts, 0.5)
    }
    /// Multiply-accumulates of a run.
    pub fn macs(&self) -> u64 {
        self.list.iter().map(|l| l.info.macs).sum()
    }
}

/// What so many threads can do at the same time, measured now.
pub fn machine(threads: usize) -> Machine {
    let isa = Isa::detect();
    let all = |measure: &(dyn Fn() -> f64 + Sync)| -> f64 {
        std::thread::scope(|s| {
            let others: Vec<_> = (1..threads).map(|_| s.spawn(measure)).collect();
            measure() + others.into_iter().map(|t| t.join().unwrap_or(0.0)).sum::<f64>()
        })
    };
    let caches = Machine::REFERENCE.caches;
    // A buffer well inside each level, and one beyond all caches.
    let sizes = [caches[0] / 2, caches[1] / 2, 12 * caches[1]];
    let bandwidth = sizes.map(|bytes| all(&move || peak::read_bandwidth(isa, bytes)));
    Machine { gflops: all(&move || peak::fma_peak(isa)), caches, bandwidth }
}
