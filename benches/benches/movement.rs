//! Copies of feature maps: transposes, joins and parts, plain and blocked.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pocketnn_benches::floats;
use pocketnn_kernels::isa::Isa;
use pocketnn_kernels::layout::Blocked;
use pocketnn_kernels::movement::{Corner, DepthOrder, Images, Padding, Pick, Select, Strided};
use pocketnn_kernels::par::Serial;
use pocketnn_kernels::reference::movement::pad_table;

fn plain(c: &mut Criterion) {
    let shape = [1, 64, 56, 56];
    let n: usize = shape.iter().product();
    let copies = [
        ("to channels last", Strided::transpose(&shape, &[0, 2, 3, 1])),
        ("from channels last", Strided::transpose(&[1, 56, 56, 64], &[0, 3, 1, 2])),
        ("reverse all axes", Strided::transpose(&shape, &[3, 2, 1, 0])),
        ("channel shuffle", Strided::transpose(&[1, 2, 32, 56 * 56], &[0, 2, 1, 3])),
        ("every second pixel", Strided::slice(&shape, &[0; 4], &[1, 1, 2, 2], &[1, 64, 28, 28])),
        ("repeat pixels", Strided::repeat(&[1, 64, 28, 1], &[1, 64, 28, 112])),
    ];
    let mut g = c.benchmark_group("movement plain");
    g.throughput(Throughput::Bytes(8 * n as u64));
    for (name, copy) in copies {
        let copy = copy.expect("a valid copy");
        let (from, to) = copy.lengths();
        let (x, mut y) = (floats(from), vec![0.0f32; to]);
        g.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| copy.apply(&x, &mut y, &Serial).expect("lengths agree"));
        });
    }
    let tables: Vec<_> = [(64, 0, 64), (56, 3, 62), (56, 3, 62)]
        .map(|(n, before, len)| pad_table(Padding::Reflect, n, before, len))
        .to_vec();
    let select = Select::new(&shape[1..], &tables).expect("valid tables");
    let (x, mut y) = (floats(n), vec![0.0f32; 64 * 62 * 62]);
    g.bench_function("reflect", |b| b.iter(|| select.apply(&x, &mut y, 0.0, &Serial).expect("lengths agree")));
    g.finish();
}

fn blocked(c: &mut Criterion) {
    let part = Blocked::new(1, 64, [1, 28, 28]);
    let whole = Blocked::new(1, 128, [1, 28, 28]).with_halo([(0, 0), (1, 1), (1, 1)]);
    let mut g = c.benchmark_group("movement blocked");
    g.throughput(Throughput::Bytes(8 * part.len() as u64));
    for (name, at) in [("whole blocks", 64), ("odd channels", 35)] {
        let target = Corner { c: at, at: [0; 3] };
        let copy = Images::new((part, Corner::default()), (whole, target), 64, part.size).expect("a valid region");
        let (x, mut y) = (floats(part.len()), vec![0.0; whole.len()]);
        g.bench_function(name, |b| b.iter(|| copy.apply(&x, &mut y, &Serial).expect("lengths agree")));
    }
    let isa = Isa::detect();
    let half = Blocked::new(1, 58, [1, 28, 28]);
    let shuffle: Vec<usize> = (58..116).map(|i| i % 2 * 58 + i / 2).collect();
    let f = Pick::new(isa, &[half, half], half, &shuffle).expect("valid channels");
    let (a, b, mut y) = (floats(half.len()), floats(half.len()), vec![0.0; half.len()]);
    g.bench_function("half of a shuffle", |c| c.iter(|| f.apply(&[&a, &b], &mut y, &Serial).expect("lengths agree")));
    let wide = Blocked::new(1, 16, [1, 56, 56]);
    let f = Pick::pixels(isa, part, wide, 2, DepthOrder::Crd).expect("blocks of two");
    let (x, mut y) = (floats(part.len()), vec![0.0; wide.len()]);
    g.bench_function("channels to pixels", |c| c.iter(|| f.apply(&[&x], &mut y, &Serial).expect("lengths agree")));
    g.finish();
}

criterion_group!(benches, plain, blocked);
criterion_main!(benches);
