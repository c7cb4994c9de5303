//! Timing runs of a session, as the protocol of the peer comparison says.

use crate::failure::Failure;
use cpu_time::ProcessTime;
use pocketnn::{Session, Tensor, View};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// How long to measure.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct Patience {
    /// At least this many timed runs
    #[arg(long, value_name = "N", default_value_t = 30)]
    pub runs: usize,
    /// At least this many seconds
    #[arg(long, value_name = "S", default_value_t = 1.0, value_parser = seconds)]
    pub min_time: f64,
    /// At most this many seconds
    #[arg(long, value_name = "S", default_value_t = 20.0, value_parser = seconds)]
    pub max_time: f64,
}

fn seconds(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|s: &f64| (0.0..=1e6).contains(s)).ok_or_else(|| "expected seconds".to_string())
}

/// Times of many runs.
#[derive(Clone, Debug)]
pub struct Times {
    /// Milliseconds of the first run.
    pub first: f64,
    /// Milliseconds of each timed run, sorted.
    pub sorted: Vec<f64>,
    /// Milliseconds of processor time a run, all threads.
    pub cpu: f64,
    /// What the first run gave.
    pub outputs: Vec<Tensor>,
    /// Bytes that [`pocketnn::Model::settle`] moved after the first run, and the milliseconds it took.
    pub settled: (usize, f64),
}

impl Times {
    /// The element at `round((n - 1) q)`.
    pub fn quantile(&self, q: f64) -> f64 {
        quantile(&self.sorted, q)
    }
    /// The line of the protocol.
    pub fn to_json(&self, load: f64) -> Value {
        json!({
            "load_ms": round(load), "first_ms": round(self.first), "n": self.sorted.len(), "median_ms": round(self.quantile(0.5)),
            "p10_ms": round(self.quantile(0.1)), "p90_ms": round(self.quantile(0.9)), "min_ms": round(self.quantile(0.0)),
            "cpu_ms": round(self.cpu), "settle_ms": round(self.settled.1), "peak_rss_kb": peak_rss_kb(), "version": env!("CARGO_PKG_VERSION"),
        })
    }
}

/// The element at `round((n - 1) q)` of sorted numbers; 0 of none.
pub fn quantile(sorted: &[f64], q: f64) -> f64 {
    let at = (sorted.len().saturating_sub(1) as f64 * q).round() as usize;
    sorted.get(at).copied().unwrap_or(0.0)
}

fn round(x: f64) -> f64 {
    (x * 1e4).round() / 1e4
}

/// Most memory that the process held so far, in KiB, where the system tells.
fn peak_rss_kb() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    text.lines().find_map(|l| l.strip_prefix("VmHWM:"))?.split_whitespace().next()?.parse().ok()
}

/// Milliseconds since.
pub fn milliseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

/// First run, [`pocketnn::Model::settle`], warm-up (at least two runs and 0.2 s, at most 50), then timed runs.
///
/// # Errors
/// When a run fails.
pub fn measure(session: &mut Session<'_>, inputs: &[Tensor], patience: &Patience) -> Result<Times, Failure> {
    let views: Vec<View<'_>> = inputs.iter().map(View::from).collect();
    let start = Instant::now();
    let found = session.run(&views)?;
    let first = milliseconds(start);
    let outputs = found.iter().map(View::to_tensor).collect::<pocketnn::Result<Vec<_>>>()?;
    let start = Instant::now();
    let settled = (session.model().settle(), milliseconds(start));
    let (start, mut warm) = (Instant::now(), 0);
    while warm < 2 || (warm < 50 && start.elapsed() < Duration::from_millis(200)) {
        session.run(&views)?;
        warm += 1;
    }
    let mut sorted = Vec::with_capacity(1 << 16);
    let (start, cpu) = (Instant::now(), ProcessTime::now());
    loop {
        let t = Instant::now();
        session.run(&views)?;
        sorted.push(milliseconds(t));
        let spent = start.elapsed().as_secs_f64();
        if (sorted.len() >= patience.runs && spent >= patience.min_time) || spent >= patience.max_time {
            break;
        }
    }
    let cpu = cpu.elapsed().as_secs_f64() * 1e3 / sorted.len() as f64;
    sorted.sort_by(f64::total_cmp);
    Ok(Times { first, sorted, cpu, outputs, settled })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_elements() {
        let x = [1.0, 2.0, 3.0, 4.0];
        assert_eq!([quantile(&x, 0.0), quantile(&x, 0.5), quantile(&x, 0.9), quantile(&x, 1.0)], [1.0, 3.0, 4.0, 4.0]);
        assert_eq!(quantile(&[], 0.5), 0.0);
    }
}
