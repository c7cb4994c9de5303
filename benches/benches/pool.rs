//! Pools, in input bytes a second.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pocketnn_kernels::isa::Isa;
use pocketnn_kernels::layout::Blocked;
use pocketnn_kernels::par::Serial;
use pocketnn_kernels::pool::{Pool, PoolDesc, PoolKind};

fn pools(c: &mut Criterion) {
    let mut group = c.benchmark_group("pool");
    for (kind, name) in [(PoolKind::Max, "max"), (PoolKind::Average { count_padding: false }, "average")] {
        for (channels, extent, kernel, stride, pad) in [(64, 112, 3, 2, 1), (6, 24, 2, 2, 0), (512, 7, 7, 1, 0)] {
            let out = (extent + 2 * pad - kernel) / stride + 1;
            let desc = PoolDesc {
                input: Blocked::new(1, channels, [1, extent, extent]),
                kind,
                kernel: [1, kernel, kernel],
                stride: [1, stride, stride],
                dilation: [1; 3],
                pads: [(0, 0), (pad, pad), (pad, pad)],
                output: [1, out, out],
                output_halo: [(0, 0); 3],
            };
            let pool = Pool::new(Isa::detect(), desc.clone()).expect("a valid pool");
            let (x, mut y) = (vec![0.5; desc.input.len()], vec![0.0; pool.output().len()]);
            group.throughput(Throughput::Bytes(4 * x.len() as u64));
            let name = format!("{name} {kernel}x{kernel}/{stride} {extent}x{extent} {channels}");
            group.bench_function(name, |b| b.iter(|| pool.apply(&x, &mut y, &Serial)));
        }
    }
    group.finish();
}

criterion_group!(benches, pools);
criterion_main!(benches);
