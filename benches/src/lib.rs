//! Criterion benches of pocketnn: one file a kernel family, on every instruction set of the machine.
//!
//! `cargo bench -p pocketnn-benches --bench reduce -- avx2` runs one family on one set.

use criterion::{BenchmarkGroup, Criterion, Throughput, measurement::WallTime};
use pocketnn_kernels::isa::Isa;
use std::time::Duration;

/// Floats in -1 .. 1, the same at every call.
pub fn floats(n: usize) -> Vec<f32> {
    (0..n as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0).collect()
}

/// Times `run` on every instruction set; `elements` are counted for the throughput.
pub fn on_all(c: &mut Criterion, group: &str, elements: usize, mut run: impl FnMut(Isa) -> Box<dyn FnMut()>) {
    let mut g: BenchmarkGroup<'_, WallTime> = c.benchmark_group(group);
    g.throughput(Throughput::Elements(elements as u64));
    g.sample_size(20).warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_millis(400));
    for isa in Isa::available() {
        let mut body = run(isa);
        g.bench_function(isa.name(), |b| b.iter(&mut body));
    }
    g.finish();
}
