//! Seeded numbers, graphs in few lines, and what is asked of a graph before and after.

pub use crate::ops::activation::{Activate, Activation};
pub use crate::ops::conv::{Conv, ConvTranspose, Pads};
pub use crate::ops::elementwise::{BinaryKind, UnaryKind};
pub use crate::ops::norm::BatchNorm;
pub use crate::ops::pool::{Pool, PoolKind};
pub use crate::ops::reduce::{Reduce, ReduceKind};
pub use crate::ops::{dense, gather, movement, resize};
pub use crate::passes::{PassReport, optimize};
pub use crate::{DType, Dim, Graph, GraphBuilder, Op, Tensor, ValueId, plan};

/// Builds on a value of a graph.
pub type Build<'a> = dyn Fn(&mut GraphBuilder, ValueId) -> ValueId + 'a;

/// A small seeded generator (splitmix64).
pub struct Rng(pub u64);

impl Rng {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub fn below(&mut self, n: usize) -> usize {
        (self.bits() % n.max(1) as u64) as usize
    }
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }
    /// In -1 .. 1.
    pub fn float(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
    pub fn tensor(&mut self, shape: &[usize], lo: f32, hi: f32) -> Tensor {
        let n = shape.iter().product();
        let mid = lo.midpoint(hi);
        Tensor::new(shape, (0..n).map(|_| mid + self.float() * (hi - lo) / 2.0).collect()).unwrap()
    }
}

pub fn noise(shape: &[usize], seed: u64) -> Tensor {
    Rng(seed).tensor(shape, -1.0, 1.0)
}

/// Names of the ops of a graph, in order.
pub fn ops(g: &Graph) -> Vec<&'static str> {
    g.nodes().iter().map(|n| n.op.name()).collect()
}

pub fn count(g: &Graph, op: &str) -> usize {
    ops(g).iter().filter(|o| **o == op).count()
}

/// Changes of a pass.
pub fn changes(reports: &[PassReport], pass: &str) -> usize {
    reports.iter().find(|r| r.pass == pass).unwrap().count()
}

/// Builds a graph of one input and one output.
pub fn graph(shape: &[Dim], build: impl FnOnce(&mut GraphBuilder, ValueId) -> ValueId) -> Graph {
    let mut b = GraphBuilder::new("g");
    let x = b.input("x", DType::F32, shape.to_vec());
    let y = build(&mut b, x);
    b.output(y);
    b.finish().unwrap()
}

pub fn dims(shape: &[usize]) -> Vec<Dim> {
    shape.iter().map(|&d| Dim::from(d)).collect()
}

/// Symbols stand for 2 (`N`), 7 (`H`) and 6 (`W`) when a graph is run.
pub fn concrete(g: &Graph) -> Vec<Vec<usize>> {
    let bindings = [("N", 2), ("H", 7), ("W", 6)].map(|(n, v)| (n.to_string(), v)).into();
    let shape = |v: &ValueId| g.ty(*v).shape.iter().map(|d| d.bind(&bindings).known().unwrap()).collect();
    g.inputs().iter().map(shape).collect()
}

/// The largest difference of two graphs' outputs on the same noise, relative to the largest element.
pub fn difference(a: &Graph, b: &Graph, seed: u64) -> f64 {
    let inputs: Vec<Tensor> = concrete(a).iter().enumerate().map(|(i, s)| noise(s, seed + i as u64)).collect();
    let run = |g: &Graph| plan::interpret(g, &inputs, |_, _| Ok(())).unwrap();
    let (ya, yb) = (run(a), run(b));
    assert_eq!(ya.len(), yb.len());
    let mut worst = 0.0f64;
    for (p, q) in ya.iter().zip(&yb) {
        assert_eq!((p.dtype(), p.shape()), (q.dtype(), q.shape()));
        let (p, q) = (p.to_f64(), q.to_f64());
        let largest = p.iter().fold(1e-3f64, |m, x| m.max(x.abs()));
        for (x, y) in p.iter().zip(&q) {
            assert_eq!(x.is_finite(), y.is_finite(), "{x} {y}");
            if x.is_finite() {
                worst = worst.max((x - y).abs() / largest);
            }
        }
    }
    worst
}

/// The graph after all passes, which must compute the same and keep names and types of inputs and outputs.
pub fn optimized(g: &Graph) -> (Graph, Vec<PassReport>) {
    let (o, reports) = optimize(g.clone()).unwrap();
    let worst = difference(g, &o, 11);
    assert!(worst <= 1e-5, "differs by {worst}\n{g:?}\n{o:?}");
    let ends = |g: &Graph| -> Vec<String> {
        let all = g.inputs().iter().chain(g.outputs());
        all.map(|&v| format!("{} {}", g.value(v).name, g.ty(v).shape.len())).collect()
    };
    assert_eq!(ends(g), ends(&o));
    (o, reports)
}

/// The names of the ops that are left.
pub fn left(g: &Graph) -> Vec<&'static str> {
    ops(&optimized(g).0)
}

/// A graph that no pass may change: as many nodes of the same ops.
pub fn untouched(g: &Graph) {
    let (o, reports) = optimized(g);
    assert_eq!(ops(g), ops(&o), "{reports:?}");
}

pub fn n_c_h_w(c: usize) -> Vec<Dim> {
    vec![Dim::symbol("N"), Dim::from(c), Dim::symbol("H"), Dim::symbol("W")]
}

pub fn n_h_w_c(c: usize) -> Vec<Dim> {
    vec![Dim::symbol("N"), Dim::symbol("H"), Dim::symbol("W"), Dim::from(c)]
}

impl GraphBuilder {
    pub(crate) fn weights(&mut self, shape: &[usize], seed: u64) -> ValueId {
        let t = noise(shape, seed);
        self.constant("w", t)
    }
    /// A convolution of seeded weights without a bias.
    pub(crate) fn conv_of(&mut self, x: ValueId, shape: [usize; 4], attrs: Conv, seed: u64) -> ValueId {
        let w = self.weights(&shape, seed);
        self.conv(x, w, None, attrs, &format!("conv{seed}")).unwrap()
    }
    pub(crate) fn batch_norm(&mut self, x: ValueId, c: usize, seed: u64) -> ValueId {
        let mut r = Rng(seed);
        let parts = [(0.5, 1.5), (-1.0, 1.0), (-0.5, 0.5), (0.5, 2.0)].map(|(lo, hi)| r.tensor(&[c], lo, hi));
        let parts = parts.map(|t| self.constant("bn", t));
        let inputs: Vec<ValueId> = std::iter::once(x).chain(parts).collect();
        self.op(BatchNorm { epsilon: 1e-3, ..BatchNorm::default() }, &inputs, &format!("bn{seed}")).unwrap()
    }
    pub(crate) fn with(&mut self, kind: BinaryKind, x: ValueId, c: Tensor) -> ValueId {
        let c = self.constant("c", c);
        self.binary(kind, x, c, kind.name()).unwrap()
    }
    pub(crate) fn with_number(&mut self, kind: BinaryKind, x: ValueId, c: f32) -> ValueId {
        self.with(kind, x, Tensor::scalar(c))
    }
    pub(crate) fn with_integers(&mut self, op: impl Into<Op>, x: ValueId, lists: &[&[i64]], name: &str) -> ValueId {
        let mut inputs = vec![x];
        inputs.extend(lists.iter().map(|l| self.integers(l)));
        self.op(op, &inputs, name).unwrap()
    }
    /// `[N, H, W, C]` to `[N, C, H, W]`.
    pub(crate) fn first(&mut self, x: ValueId) -> ValueId {
        self.transpose(x, &[0, 3, 1, 2], "first").unwrap()
    }
    /// `[N, C, H, W]` to `[N, H, W, C]`.
    pub(crate) fn last(&mut self, x: ValueId) -> ValueId {
        self.transpose(x, &[0, 2, 3, 1], "last").unwrap()
    }
}

pub fn same() -> Conv {
    Conv { pads: Pads::SameUpper, ..Conv::default() }
}
