//! Dense layers and matrix products, in elements (multiply-adds counted twice) a second.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use half::f16;
use pocketnn_kernels::activation::Activation;
use pocketnn_kernels::gemm::{Dense, DenseDesc, MatMul, Values};
use pocketnn_kernels::isa::Isa;
use pocketnn_kernels::par::Serial;

fn layers(c: &mut Criterion) {
    let mut group = c.benchmark_group("dense");
    for (rows, inputs, outputs) in
        [(1, 1280, 1000), (1, 1024, 1024), (1, 84, 10), (1, 784, 512), (16, 512, 512), (197, 768, 768)]
    {
        let w = vec![0.01; inputs * outputs];
        let w16: Vec<f16> = w.iter().map(|&v| f16::from_f32(v)).collect();
        let (x, mut y) = (vec![0.5; rows * inputs], vec![0.0; rows * outputs]);
        let desc = DenseDesc { inputs, outputs, activation: Activation::Identity };
        group.throughput(Throughput::Elements(2 * (rows * inputs * outputs) as u64));
        for (name, values) in [("f32", Values::F32(&w)), ("f16", Values::F16(&w16))] {
            let dense = Dense::new(Isa::detect(), desc, values, None).expect("a valid layer");
            let name = format!("{rows} x {inputs} x {outputs} {name}");
            group.bench_function(name, |b| b.iter(|| dense.apply(&x, rows, &mut y, &Serial)));
        }
    }
    group.finish();
}

fn products(c: &mut Criterion) {
    let mut group = c.benchmark_group("matmul");
    for (m, k, n) in [(197, 64, 197), (128, 128, 128), (512, 512, 512)] {
        let product = MatMul::new(Isa::detect(), m, k, n).expect("a valid product");
        let (x, w) = (vec![0.5; m * k], vec![0.01; k * n]);
        let (mut y, mut scratch) = (vec![0.0; m * n], vec![0.0; product.scratch_len()]);
        group.throughput(Throughput::Elements(2 * (m * k * n) as u64));
        group.bench_function(format!("{m} x {k} x {n}"), |b| {
            b.iter(|| product.apply(&x, &w, &mut y, &mut scratch, &Serial))
        });
    }
    group.finish();
}

criterion_group!(benches, layers, products);
criterion_main!(benches);
