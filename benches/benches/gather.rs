//! Embedding rows and channel permutations.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pocketnn_benches::floats;
use pocketnn_kernels::gather::Gather;

fn gathers(c: &mut Criterion) {
    let mut g = c.benchmark_group("gather");
    for (name, shape, axis, count) in [
        ("embedding 20000x64, 128 tokens", [1, 20_000, 64], 1, 128usize),
        ("channels of 116x28x28", [1, 116, 784], 1, 116),
        ("last axis of 64x784", [1, 64, 784], 2, 784),
    ] {
        let gather = Gather::new(&shape, axis, count).expect("a valid axis");
        let indices: Vec<i64> = (0..count).map(|i| (i * 7919 % shape[axis]) as i64).collect();
        let length = shape.iter().product::<usize>() / shape[axis] * count;
        let (x, mut y) = (floats(shape.iter().product()), vec![0.0f32; length]);
        g.throughput(Throughput::Elements(length as u64));
        g.bench_function(name, |b| b.iter(|| gather.apply(&x, &indices, &mut y).expect("indices lie inside")));
    }
    g.finish();
}

criterion_group!(benches, gathers);
criterion_main!(benches);
