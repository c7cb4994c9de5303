//! Random networks, channels first and channels last, before and after the passes.

use super::support::*;

/// A network in the making: images `[N, C, 7, 6]`-like in the order its framework keeps.
struct Maker {
    b: GraphBuilder,
    r: Rng,
    last: bool,
    /// Height and width are numbers.
    known: bool,
    /// Images and their channels; all of the same height and width.
    images: Vec<(ValueId, usize)>,
    seed: u64,
}

impl Maker {
    fn seed(&mut self) -> u64 {
        self.seed += 1;
        self.seed
    }
    fn image(&mut self) -> (ValueId, usize) {
        // Recent ones mostly, so that networks get deep.
        let n = self.images.len();
        let back = if self.r.one_in(4) { self.r.below(n) } else { 0 };
        self.images[n - 1 - back]
    }
    /// Runs a layer that wants channels first.
    fn layer(&mut self, x: ValueId, f: impl FnOnce(&mut Self, ValueId) -> ValueId) -> ValueId {
        if !self.last {
            return f(self, x);
        }
        let x = self.b.first(x);
        let y = f(self, x);
        self.b.last(y)
    }
    fn channel_axis(&self) -> usize {
        if self.last { 3 } else { 1 }
    }
    fn spatial(&self) -> [i64; 2] {
        if self.last { [1, 2] } else { [2, 3] }
    }
    fn per_channel(&mut self, c: usize) -> Tensor {
        let shape: &[usize] = if self.last { &[c] } else { &[c, 1, 1] };
        self.r.tensor(shape, 0.5, 1.5)
    }
    fn step(&mut self) {
        let (x, c) = self.image();
        let seed = self.seed();
        let out = match self.r.below(18) {
            0..=2 => {
                let (o, k) = (self.r.pick(&[3, 4, 8]), self.r.pick(&[1, 3]));
                let bias = self.r.one_in(2);
                let y = self.layer(x, |m, x| {
                    let scale = 1.0 / ((c * k * k) as f32).sqrt();
                    let w = m.r.tensor(&[o, c, k, k], -2.0 * scale, 2.0 * scale);
                    let w = m.b.constant("w", w);
                    let bias = bias.then(|| m.b.constant("b", noise(&[o], seed)));
                    m.b.conv(x, w, bias, same(), "conv").unwrap()
                });
                (y, o)
            }
            3 => {
                let y = self.layer(x, |m, x| {
                    let w = m.r.tensor(&[c, 1, 3, 3], -0.5, 0.5);
                    let w = m.b.constant("w", w);
                    m.b.conv(x, w, None, Conv { groups: c, ..same() }, "depthwise").unwrap()
                });
                (y, c)
            }
            4 | 5 => (self.layer(x, |m, x| m.b.batch_norm(x, c, seed)), c),
            6 => {
                let kind = self.r.pick(&[BinaryKind::Mul, BinaryKind::Add, BinaryKind::Sub, BinaryKind::Div]);
                let t = if self.r.one_in(3) { Tensor::scalar(1.5f32) } else { self.per_channel(c) };
                (self.b.with(kind, x, t), c)
            }
            7 | 8 => {
                let kind = self.r.pick(&[
                    Activation::Relu,
                    Activation::Sigmoid,
                    Activation::RELU6,
                    Activation::Tanh,
                    Activation::LeakyRelu { alpha: 0.2 },
                    Activation::HARD_SWISH,
                ]);
                (self.b.activate(kind, x, "activation").unwrap(), c)
            }
            9 => {
                let g = self.b.activate(Activation::Sigmoid, x, "gate").unwrap();
                (self.b.binary(BinaryKind::Mul, x, g, "silu").unwrap(), c)
            }
            10 => {
                let y = self.layer(x, |m, x| {
                    let kind = m.r.pick(&[PoolKind::Max, PoolKind::Average]);
                    let pool = Pool { kind, kernel: vec![3, 3], pads: Pads::symmetric(&[1, 1]), ..Pool::default() };
                    m.b.op(pool, &[x], "pool").unwrap()
                });
                (y, c)
            }
            11 => {
                let (z, d) = self.image();
                let axis = self.channel_axis() as i64;
                if c + d > 24 {
                    return;
                }
                (self.b.op(movement::Concat { axis }, &[x, z], "concat").unwrap(), c + d)
            }
            12 | 13 => {
                let same: Vec<ValueId> = self.images.iter().filter(|i| i.1 == c && i.0 != x).map(|i| i.0).collect();
                if same.is_empty() {
                    return;
                }
                let z = self.r.pick(&same);
                (self.b.binary(BinaryKind::Add, x, z, "add").unwrap(), c)
            }
            14 => {
                let axes = self.spatial();
                let mean = Reduce { kind: ReduceKind::Mean, ..Reduce::default() };
                let m = self.b.with_integers(mean, x, &[&axes], "squeeze");
                let g = self.layer(m, |m, x| {
                    let w = m.r.tensor(&[c, c, 1, 1], -0.5, 0.5);
                    let w = m.b.constant("w", w);
                    m.b.conv(x, w, None, Conv::default(), "excite").unwrap()
                });
                let g = self.b.activate(Activation::Sigmoid, g, "gate").unwrap();
                (self.b.binary(BinaryKind::Mul, x, g, "scaled").unwrap(), c)
            }
            15 | 16 if self.known && c % 2 == 0 => {
                // Half of the channels of a shuffled image.
                let (h, half, all) = (2, (c / 2) as i64, c as i64);
                let axis = self.channel_axis() as i64;
                let (split, perm, joined) = if self.last {
                    ([0, 7, 6, h, half], [0, 1, 2, 4, 3], [0, 7, 6, all])
                } else {
                    ([0, h, half, 7, 6], [0, 2, 1, 3, 4], [0, all, 7, 6])
                };
                let y = self.b.with_integers(movement::Reshape::default(), x, &[&split], "split");
                let y = self.b.transpose(y, &perm, "swapped").unwrap();
                let y = self.b.with_integers(movement::Reshape::default(), y, &[&joined], "shuffled");
                let halves = self.b.node(movement::Split { axis }, &[Some(y)], 2, "halves").unwrap();
                self.images.push((halves[0], c / 2));
                (halves[1], c / 2)
            }
            _ => {
                // Padding in front of a convolution that takes it away again.
                let spatial = self.spatial();
                let mut pads = [0i64; 8];
                for a in spatial {
                    pads[a as usize] = 1;
                    pads[a as usize + 4] = 1;
                }
                let y = self.b.with_integers(movement::Pad::default(), x, &[&pads], "pad");
                let y = self.layer(y, |m, x| {
                    let w = m.r.tensor(&[c, c, 3, 3], -0.3, 0.3);
                    let w = m.b.constant("w", w);
                    m.b.conv(x, w, None, Conv::default(), "padded").unwrap()
                });
                (y, c)
            }
        };
        self.images.push(out);
    }
    fn end(mut self, known: bool) -> Graph {
        let (x, c) = *self.images.last().unwrap();
        let y = match self.r.below(4) {
            0 => x,
            1 if known => {
                let y = self.b.flatten(x, "flat").unwrap();
                let y = self.b.with(BinaryKind::Mul, y, Rng(1).tensor(&[c * 42], 0.5, 1.5));
                let y = self.b.relu(y, "relu").unwrap();
                let w = self.b.weights(&[5, c * 42], 3);
                self.b.dense(y, w, None, "dense").unwrap()
            }
            2 => {
                let axes = self.spatial();
                let mean = Reduce { kind: ReduceKind::Mean, keep_dims: false, ..Reduce::default() };
                let y = self.b.with_integers(mean, x, &[&axes], "mean");
                let w = self.b.weights(&[c, 5], 3);
                let y = self.b.op(dense::MatMul {}, &[y, w], "product").unwrap();
                let y = self.b.with(BinaryKind::Add, y, noise(&[5], 4));
                self.b.softmax(y, -1, "softmax").unwrap()
            }
            _ => {
                let axis = self.channel_axis() as i64;
                self.b.softmax(x, axis, "softmax").unwrap()
            }
        };
        self.b.output(y);
        if self.r.one_in(3) {
            let n = self.images.len();
            let extra = self.images[self.r.below(n)].0;
            if extra != y && n > 1 && extra != self.images[0].0 {
                self.b.output(extra);
            }
        }
        self.b.finish().unwrap()
    }
}

fn network(seed: u64, steps: usize) -> (Graph, bool) {
    let mut r = Rng(seed);
    let (last, known) = (r.one_in(2), r.one_in(2));
    let mut b = GraphBuilder::new("random");
    let spatial = if known { dims(&[7, 6]) } else { vec![Dim::symbol("H"), Dim::symbol("W")] };
    let (n, c) = (Dim::symbol("N"), Dim::from(3));
    let shape = if last {
        vec![n, spatial[0].clone(), spatial[1].clone(), c]
    } else {
        vec![n, c, spatial[0].clone(), spatial[1].clone()]
    };
    let x = b.input("x", DType::F32, shape);
    let mut m = Maker { b, r, last, known, images: vec![(x, 3)], seed: seed * 1000 };
    for _ in 0..steps {
        m.step();
    }
    (m.end(known), last)
}

#[test]
fn random_networks_compute_the_same_with_less() {
    let mut saved = 0;
    for seed in 0..150 {
        let (g, last) = network(seed, 3 + seed as usize % 12);
        let (o, reports) = optimize(g.clone()).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        let worst = difference(&g, &o, seed);
        assert!(worst <= 1e-5, "seed {seed}: differs by {worst}");
        assert!(o.nodes().len() <= g.nodes().len(), "seed {seed}: {reports:?}");
        saved += g.nodes().len() - o.nodes().len();
        // Only the ends may be transposed; and what an image kernel reads, which puts it into blocks anyway, or a softmax, which takes it out.
        let inner = o.nodes().iter().filter(|n| {
            let ends =
                n.operands().any(|v| o.inputs().contains(&v)) || n.outputs.iter().any(|v| o.outputs().contains(v));
            let mut readers = o.nodes().iter().filter(|r| r.operands().any(|v| n.outputs.contains(&v)));
            let blocks = readers.all(|r| matches!(r.op, Op::Softmax(_) | Op::Conv(_) | Op::Pool(_) | Op::Resize(_)));
            matches!(n.op, Op::Transpose(_)) && !ends && !blocks
        });
        let inner: Vec<&str> = inner.map(|n| n.name.as_str()).collect();
        assert!(inner.is_empty(), "seed {seed} (channels last: {last}): {inner:?}\n{o:#?}");
    }
    assert!(saved > 1000, "{saved}");
}

#[test]
fn optimizing_twice_changes_nothing() {
    for seed in 0..40 {
        let (once, _) = optimize(network(seed, 10).0).unwrap();
        let (twice, reports) = optimize(once.clone()).unwrap();
        assert_eq!(ops(&once), ops(&twice), "seed {seed}: {reports:?}");
    }
}
