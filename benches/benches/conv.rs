//! Convolutions of real networks, in elements (multiply-adds counted twice) a second.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pocketnn_kernels::activation::Activation;
use pocketnn_kernels::conv::{Conv, ConvDesc, Residual, Source};
use pocketnn_kernels::isa::Isa;
use pocketnn_kernels::layout::Blocked;
use pocketnn_kernels::par::Serial;

/// Name, input channels, extent, output channels, kernel, stride, groups.
type Layer = (&'static str, usize, usize, usize, usize, usize, usize);

const LAYERS: [Layer; 16] = [
    ("pointwise 56x56 64-256", 64, 56, 256, 1, 1, 1),
    ("pointwise 56x56 24-144", 24, 56, 144, 1, 1, 1),
    ("pointwise 14x14 384-64", 384, 14, 64, 1, 1, 1),
    ("pointwise 14x14 1024-256", 1024, 14, 256, 1, 1, 1),
    ("pointwise 7x7 320-1280", 320, 7, 1280, 1, 1, 1),
    ("pointwise 112x112 32-16", 32, 112, 16, 1, 1, 1),
    ("3x3 56x56 64-64", 64, 56, 64, 3, 1, 1),
    ("3x3 28x28 128-128", 128, 28, 128, 3, 1, 1),
    ("3x3 14x14 256-256", 256, 14, 256, 3, 1, 1),
    ("3x3 7x7 512-512", 512, 7, 512, 3, 1, 1),
    ("3x3/2 56x56 128-128", 128, 56, 128, 3, 2, 1),
    ("5x5 28x28 8-16", 8, 28, 16, 5, 1, 1),
    ("depthwise 3x3 112x112 32", 32, 112, 32, 3, 1, 32),
    ("depthwise 3x3/2 112x112 64", 64, 112, 64, 3, 2, 64),
    ("depthwise 3x3 14x14 384", 384, 14, 384, 3, 1, 384),
    ("depthwise 5x5 14x14 672", 672, 14, 672, 5, 1, 672),
];

fn describe(&(_, c, extent, o, kernel, stride, groups): &Layer) -> ConvDesc {
    let pad = kernel / 2;
    let pads = [(0, 0), (pad, pad), (pad, pad)];
    let input = Blocked::new(1, c, [1, extent, extent]).with_halo(pads);
    let activation = Activation::Relu;
    ConvDesc { stride: [1, stride, stride], pads, groups, activation, ..ConvDesc::new(input, o, [1, kernel, kernel]) }
}

fn measure(c: &mut Criterion, name: &str, desc: &ConvDesc) {
    let isa = Isa::detect();
    let taps: usize = desc.kernel.iter().product();
    let weights = vec![0.01; desc.channels * desc.input.c / desc.groups * taps];
    let conv = Conv::new(isa, desc, &weights, None).expect("a valid layer");
    let x = vec![
        0.5;
        if desc.source == Source::Blocked { desc.input.len() } else { desc.input.c * desc.input.positions() }
    ];
    let (mut y, mut scratch) = (vec![0.0; conv.output().len()], vec![0.0; conv.scratch_len(1)]);
    let macs = weights.len() * conv.output().positions();
    let mut group = c.benchmark_group("conv");
    group.throughput(Throughput::Elements(2 * macs as u64));
    group.bench_function(name, |b| b.iter(|| conv.apply(&x, &mut y, Residual::None, &mut scratch, &Serial)));
    group.finish();
}

fn convolutions(c: &mut Criterion) {
    for layer in &LAYERS {
        measure(c, layer.0, &describe(layer));
    }
    for (name, source) in [("planar", Source::Planar), ("interleaved", Source::Interleaved)] {
        let mut first = describe(&("", 3, 224, 32, 3, 2, 1));
        first.source = source;
        first.input = Blocked::new(1, 3, [1, 224, 224]);
        measure(c, &format!("first 224x224 3-32 {name}"), &first);
    }
}

criterion_group!(benches, convolutions);
criterion_main!(benches);
