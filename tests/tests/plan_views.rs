//! Values that lie inside each other: concatenations, cuts, shuffles and results in place, planned against interpreted.

use pocketnn::ops::activation::{Activate, Activation};
use pocketnn::ops::conv::{Conv, Pads};
use pocketnn::ops::elementwise::BinaryKind;
use pocketnn::ops::movement::{Concat, Pick, Reshape, Slice, Split};
use pocketnn::ops::pool::{Pool, PoolKind};
use pocketnn::{DType, Dim, Graph, GraphBuilder, Model, Options, Tensor, ValueId};
use pocketnn_tests::support::{Rng, check_planned};

const SIZE: [usize; 2] = [6, 5];

struct Maker {
    b: GraphBuilder,
    r: Rng,
    images: Vec<(ValueId, usize)>,
}

impl Maker {
    fn image(&mut self) -> (ValueId, usize) {
        let back = self.r.below(self.images.len().min(4));
        self.images[self.images.len() - 1 - back]
    }
    fn conv(&mut self, x: ValueId, c: usize, o: usize, k: usize, activation: Activation) -> ValueId {
        let scale = (3.0 / (c * k * k) as f32).sqrt();
        let w = self.r.floats(o * c * k * k).iter().map(|v| v * scale).collect();
        let w = self.b.constant("w", Tensor::new(&[o, c, k, k], w).unwrap());
        let op = Conv { pads: Pads::symmetric(&[k / 2, k / 2]), activation, ..Conv::default() };
        self.b.op(op, &[x, w], "tested").unwrap()
    }
    fn step(&mut self) {
        let (x, c) = self.image();
        match self.r.below(9) {
            0 | 1 => {
                let (o, k) = (self.r.pick(&[8, 16, 12]), self.r.pick(&[1, 3]));
                let y = self.conv(x, c, o, k, Activation::Relu);
                self.images.push((y, o));
            }
            2 | 3 => {
                let all: Vec<(ValueId, usize)> = (0..self.r.range(2, 4)).map(|_| self.image()).collect();
                let total = all.iter().map(|i| i.1).sum();
                let inputs: Vec<ValueId> = all.iter().map(|i| i.0).collect();
                if total <= 96 {
                    let y = self.b.op(Concat { axis: 1 }, &inputs, "tested").unwrap();
                    self.images.push((y, total));
                }
            }
            4 if c > 8 => {
                let first = self.r.pick(&[8, c / 2]);
                let sizes = self.b.integers(&[first as i64, (c - first) as i64]);
                let y = self.b.node(Split { axis: 1 }, &[Some(x), Some(sizes)], 2, "tested").unwrap();
                self.images.extend([(y[0], first), (y[1], c - first)]);
            }
            5 => {
                let same: Vec<ValueId> = self.images.iter().filter(|i| i.1 == c).map(|i| i.0).collect();
                let z = self.r.pick(&same);
                let y = self.b.binary(BinaryKind::Add, x, z, "tested").unwrap();
                self.images.push((y, c));
            }
            6 => {
                let y = self.b.op(Activate::new(self.r.pick(&[Activation::Sigmoid, Activation::Tanh])), &[x], "tested");
                self.images.push((y.unwrap(), c));
            }
            7 if c > 8 => {
                let [starts, ends, axes] = [[8], [c as i64], [1]].map(|l| self.b.integers(&l));
                let y = self.b.op(Slice {}, &[x, starts, ends, axes], "tested").unwrap();
                self.images.push((y, c - 8));
            }
            _ => {
                let pool =
                    Pool { kind: PoolKind::Max, kernel: vec![3, 3], pads: Pads::symmetric(&[1, 1]), ..Pool::default() };
                let y = self.b.op(pool, &[x], "tested").unwrap();
                let pick = (0..c).map(|i| (i * 5 + 3) % c).collect();
                let z = self.b.op(Pick { pick }, &[y], "tested").unwrap();
                self.images.push((z, c));
            }
        }
    }
}

#[test]
fn values_inside_values_keep_their_elements() {
    for seed in 0..120 {
        let mut r = Rng::new(seed);
        let n = if seed % 4 == 0 { 2 } else { 1 };
        let shape = [n, 16, SIZE[0], SIZE[1]];
        let mut b = GraphBuilder::new("views");
        let x = b.input("x", DType::F32, shape.map(Dim::from));
        let data = Tensor::new(&shape, r.floats(shape.iter().product())).unwrap();
        let mut m = Maker { b, r, images: vec![(x, 16)] };
        let first = m.conv(x, 16, 16, 3, Activation::Relu);
        m.images.push((first, 16));
        for _ in 0..10 {
            m.step();
        }
        let outputs: Vec<ValueId> = m.images.iter().skip(2).rev().step_by(3).map(|i| i.0).collect();
        for y in outputs {
            // What is in blocks reaches the caller through an op, so that conversions do not hide a value that was overwritten.
            let y = m.b.op(Activate::new(Activation::Tanh), &[y], "tested").unwrap();
            m.b.output(y);
        }
        check_planned(m.b, &[data], 1e-4, &format!("seed {seed}"));
    }
}

/// The ops of the steps of a plan, and the bytes of its arena.
fn steps(graph: Graph) -> (Vec<&'static str>, usize) {
    let session = Model::new(graph).session(&Options::default()).unwrap();
    let plan = session.plan().unwrap();
    (plan.steps().iter().map(|s| s.op).collect(), plan.arena_bytes())
}

/// `x` by a pointwise convolution to `o` channels.
fn conv(b: &mut GraphBuilder, x: ValueId, c: usize, o: usize) -> ValueId {
    let w = b.constant("w", Tensor::new(&[o, c, 1, 1], vec![0.1; o * c]).unwrap());
    b.conv(x, w, None, Conv::default(), "conv").unwrap()
}

#[test]
fn whole_blocks_are_joined_and_cut_where_they_lie() {
    let mut b = GraphBuilder::new("inception");
    let x = b.input("x", DType::F32, [1, 16, 8, 8].map(Dim::from));
    let parts = [8, 16, 12].map(|o| conv(&mut b, x, 16, o));
    let y = b.op(Concat { axis: 1 }, &parts, "joined").unwrap();
    let y = conv(&mut b, y, 36, 16);
    // Two halves, one goes on, and all are joined: what a network of cross-stage parts does.
    let halves = b.node(Split { axis: 1 }, &[Some(y)], 2, "halves").unwrap();
    let z = conv(&mut b, halves[1], 8, 8);
    let y = b.op(Concat { axis: 1 }, &[halves[0], halves[1], z], "joined").unwrap();
    let y = conv(&mut b, y, 24, 8);
    b.output(y);
    let (ops, _) = steps(b.finish().unwrap());
    let moved: Vec<_> = ops.iter().filter(|o| **o != "Conv").collect();
    assert_eq!(moved, [&"Convert", &"Convert"], "only the ends are converted");
}

#[test]
fn a_growing_concatenation_takes_one_buffer() {
    let mut b = GraphBuilder::new("dense block");
    let x = b.input("x", DType::F32, [1, 16, 16, 16].map(Dim::from));
    let mut y = conv(&mut b, x, 16, 16);
    for i in 0..6 {
        let c = 16 + 8 * i;
        let z = conv(&mut b, y, c, 8);
        y = b.op(Concat { axis: 1 }, &[y, z], "joined").unwrap();
    }
    let y = conv(&mut b, y, 64, 8);
    b.output(y);
    let (ops, bytes) = steps(b.finish().unwrap());
    assert!(!ops.contains(&"Concat"), "{ops:?}");
    // The block, the caller's image twice, the last convolution and the output.
    assert!(bytes <= (64 + 16 + 16 + 8 + 8) * 256 * 4, "{bytes}");
}

#[test]
fn merged_axes_of_a_blocked_image_stay_where_they_are() {
    for (pads, copies) in [(0, 0), (1, 1)] {
        let mut b = GraphBuilder::new("head");
        let x = b.input("x", DType::F32, [1, 16, 4, 6].map(Dim::from));
        let y = conv(&mut b, x, 16, 16);
        let shape = b.integers(&[1, 16, 24]);
        let flat = b.op(Reshape::default(), &[y, shape], "flat").unwrap();
        let flat = b.op(Activate::new(Activation::Sigmoid), &[flat], "tested").unwrap();
        b.output(flat);
        let w = b.constant("w", Tensor::new(&[8, 16, 3, 3], vec![0.1; 8 * 16 * 9]).unwrap());
        let op = Conv { pads: Pads::symmetric(&[pads, pads]), ..Conv::default() };
        let z = b.conv(y, w, None, op, "window").unwrap();
        b.output(z);
        let graph = b.finish().unwrap();
        assert_eq!(steps(graph.clone()).0.iter().filter(|o| **o == "Reshape").count(), copies);
        let session = Model::new(graph.clone()).session(&Options::default()).map(|_| ());
        assert!(session.is_ok());
        let data = Tensor::new(&[1, 16, 4, 6], Rng::new(5).floats(16 * 24)).unwrap();
        let expected = pocketnn::plan::interpret(&graph, std::slice::from_ref(&data), |_, _| Ok(())).unwrap();
        let found = Model::new(graph).session(&Options::default()).unwrap().run_tensors(&[data]).unwrap();
        for (f, e) in found.iter().zip(&expected) {
            pocketnn_tests::support::assert_close(&f.to_f32(), &e.to_f32(), 1e-4, 1e-4, || format!("pads {pads}"));
        }
    }
}
