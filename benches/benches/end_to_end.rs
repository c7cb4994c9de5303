//! Whole networks and the blocks that large ones are made of, by the runtime, on one thread and two; and what comes before the first run.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pocketnn::ops::activation::Activation;
use pocketnn::ops::conv::{Conv, Pads};
use pocketnn::ops::elementwise::BinaryKind;
use pocketnn::{
    Bindings, DType, Dim, Graph, GraphBuilder, Model, Options, Result, Tensor, Threads, ValueId, format, plan,
};
use pocketnn_benches::floats;
use std::hint::black_box;

/// A graph under construction.
struct Net {
    b: GraphBuilder,
    x: ValueId,
    count: usize,
}

impl Net {
    fn new(name: &str, shape: [usize; 3]) -> Self {
        let mut b = GraphBuilder::new(name);
        let x = b.input("x", DType::F32, [1, shape[0], shape[1], shape[2]].map(Dim::from));
        Self { b, x, count: 0 }
    }
    fn weights(&mut self, shape: &[usize]) -> Result<ValueId> {
        self.count += 1;
        let scale = (3.0 / shape[1..].iter().product::<usize>().max(1) as f32).sqrt();
        let values = floats(shape.iter().product()).iter().map(|v| v * scale).collect();
        Ok(self.b.constant(&format!("w{}", self.count), Tensor::new(shape, values)?))
    }
    fn conv(
        &mut self,
        x: ValueId,
        shape: [usize; 4],
        stride: usize,
        groups: usize,
        act: Option<Activation>,
    ) -> Result<ValueId> {
        let (w, bias) = (self.weights(&shape)?, self.weights(&shape[..1])?);
        let attrs = Conv { pads: Pads::SameUpper, strides: vec![stride, stride], groups, ..Conv::default() };
        let name = format!("conv{}", self.count);
        let y = self.b.conv(x, w, Some(bias), attrs, &name)?;
        act.map_or(Ok(y), |a| self.b.activate(a, y, &format!("{name}.activation")))
    }
    fn model(mut self, y: ValueId) -> Result<Model> {
        self.b.output(y);
        Ok(Model::new(optimized(self.b.finish()?)?))
    }
}

fn optimized(graph: Graph) -> Result<Graph> {
    plan::pack(pocketnn::passes::optimize(graph)?.0, &Bindings::new())
}

/// Expand, filter by depth, project, add: the block of the mobile networks.
fn inverted_residual(channels: usize, extent: usize, act: Activation) -> Result<Model> {
    let mut n = Net::new("inverted residual", [channels, extent, extent]);
    let (x, wide) = (n.x, 6 * channels);
    let y = n.conv(x, [wide, channels, 1, 1], 1, 1, Some(act))?;
    let y = n.conv(y, [wide, 1, 3, 3], 1, wide, Some(act))?;
    let y = n.conv(y, [channels, wide, 1, 1], 1, 1, None)?;
    let y = n.b.binary(BinaryKind::Add, y, x, "add")?;
    n.model(y)
}

/// Two convolutions of 3x3 and a sum: the block of the residual networks.
fn basic(channels: usize, extent: usize) -> Result<Model> {
    let mut n = Net::new("basic", [channels, extent, extent]);
    let x = n.x;
    let y = n.conv(x, [channels, channels, 3, 3], 1, 1, Some(Activation::Relu))?;
    let y = n.conv(y, [channels, channels, 3, 3], 1, 1, None)?;
    let y = n.b.binary(BinaryKind::Add, y, x, "add")?;
    let y = n.b.relu(y, "relu")?;
    n.model(y)
}

/// A first layer on three planar channels.
fn stem(outputs: usize, kernel: usize, extent: usize) -> Result<Model> {
    let mut n = Net::new("stem", [3, extent, extent]);
    let x = n.x;
    let y = n.conv(x, [outputs, 3, kernel, kernel], 2, 1, Some(Activation::Relu))?;
    n.model(y)
}

fn lenet() -> Result<Model> {
    let weights = |_: &str, shape: &[usize]| {
        let scale = (3.0 / shape[1..].iter().product::<usize>().max(1) as f32).sqrt();
        let values = floats(shape.iter().product()).iter().map(|v| v * scale).collect();
        Tensor::new(shape, values).expect("as many numbers as the shape has")
    };
    Ok(Model::new(optimized(pocketnn_models::lenet5(weights)?)?))
}

fn digits() -> Result<Graph> {
    format::read(include_bytes!("../../models/mnist/digits.pnn"), &format::Limits::default())
}

fn models() -> Result<Vec<(&'static str, Model)>> {
    Ok(vec![
        ("lenet5", lenet()?),
        ("digits", Model::new(digits()?)),
        ("stem 3x3 32 of 224", stem(32, 3, 224)?),
        ("stem 7x7 64 of 224", stem(64, 7, 224)?),
        ("inverted residual 24 of 56", inverted_residual(24, 56, Activation::RELU6)?),
        ("inverted residual 64 of 14", inverted_residual(64, 14, Activation::RELU6)?),
        ("inverted residual 40 of 28, swish", inverted_residual(40, 28, Activation::HARD_SWISH)?),
        ("basic 64 of 56", basic(64, 56)?),
        ("basic 128 of 28", basic(128, 28)?),
        ("basic 512 of 7", basic(512, 7)?),
    ])
}

fn runs(c: &mut Criterion) {
    let mut group = c.benchmark_group("end to end");
    for (name, model) in models().expect("valid networks") {
        group.throughput(Throughput::Elements(2 * model.graph().bind(&Bindings::new()).map_or(0, |g| g.macs())));
        for threads in [1, 2] {
            let options = Options::default().threads(Threads::new(threads).expect("threads"));
            let mut session = model.session(&options).expect("a session");
            group.bench_function(BenchmarkId::new(name, threads), |b| b.iter(|| session.execute().expect("a run")));
        }
    }
    group.finish();
}

fn first(c: &mut Criterion) {
    let graph = digits().expect("the digits");
    let packed = plan::pack(graph.clone(), &Bindings::new()).expect("packed digits");
    let mut group = c.benchmark_group("before the first run");
    for (name, graph) in [("plain", graph), ("packed", packed)] {
        let bytes = format::write(&graph).expect("a file");
        let model = || Model::from_bytes(&bytes).expect("a model");
        group.bench_function(BenchmarkId::new("read", name), |b| b.iter(|| black_box(model())));
        group.bench_function(BenchmarkId::new("read and plan", name), |b| {
            b.iter(|| black_box(model().session(&Options::default()).expect("a session")))
        });
    }
    group.finish();
}

criterion_group!(benches, runs, first);
criterion_main!(benches);
