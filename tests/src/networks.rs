//! Small networks of the usual kinds, with seeded weights, for tests of whole graphs.

use crate::support::Rng;
use pocketnn::ops::activation::Activation;
use pocketnn::ops::conv::{Conv, Pads};
use pocketnn::ops::elementwise::BinaryKind;
use pocketnn::{DType, Dim, Graph, GraphBuilder, Result, Tensor, ValueId};

/// Numbers in -1 .. 1 that depend on the seed only.
///
/// # Errors
/// When the size of the shape overflows.
pub fn noise(shape: &[usize], seed: u64) -> Result<Tensor> {
    Tensor::new(shape, Rng::new(seed).floats(pocketnn::checked_len(shape)?))
}

/// A graph under construction whose weights are numbered.
struct Net {
    b: GraphBuilder,
    seed: u64,
}

impl Net {
    fn new(name: &str, shape: [usize; 3]) -> (Self, ValueId) {
        let mut b = GraphBuilder::new(name);
        let dims: Vec<Dim> = std::iter::once(Dim::symbol("N")).chain(shape.map(Dim::from)).collect();
        let x = b.input("x", DType::F32, dims);
        (Self { b, seed: 1 }, x)
    }
    /// Weights of about the size that keeps activations in range.
    fn weights(&mut self, shape: &[usize]) -> Result<ValueId> {
        self.seed += 1;
        let fan: usize = shape[1..].iter().product::<usize>().max(1);
        let scale = (3.0 / fan as f32).sqrt();
        let values = noise(shape, self.seed)?.to_f32().iter().map(|x| x * scale).collect();
        let name = format!("w{}", self.seed);
        Ok(self.b.constant(&name, Tensor::new(shape, values)?))
    }
    fn conv(&mut self, x: ValueId, shape: [usize; 4], conv: Conv) -> Result<ValueId> {
        let (w, bias) = (self.weights(&shape)?, self.weights(&shape[..1])?);
        let name = format!("conv{}", self.seed);
        self.b.conv(x, w, Some(bias), conv, &name)
    }
    fn dense(&mut self, x: ValueId, inputs: usize, outputs: usize) -> Result<ValueId> {
        let (w, bias) = (self.weights(&[outputs, inputs])?, self.weights(&[outputs])?);
        let name = format!("dense{}", self.seed);
        self.b.dense(x, w, Some(bias), &name)
    }
    fn finish(mut self, y: ValueId) -> Result<Graph> {
        let y = self.b.softmax(y, -1, "probabilities")?;
        self.b.output(y);
        self.b.finish()
    }
}

/// Convolutions, max pooling and dense layers on `[N, 1, 28, 28]`; ten probabilities.
///
/// # Errors
/// Never, unless the builder is broken.
pub fn lenet() -> Result<Graph> {
    let (mut n, x) = Net::new("lenet", [1, 28, 28]);
    let y = n.conv(x, [6, 1, 5, 5], Conv { pads: Pads::SameUpper, ..Conv::default() })?;
    let y = n.b.relu(y, "relu1")?;
    let y = n.b.max_pool(y, &[2, 2], "pool1")?;
    let y = n.conv(y, [16, 6, 5, 5], Conv::default())?;
    let y = n.b.relu(y, "relu2")?;
    let y = n.b.max_pool(y, &[2, 2], "pool2")?;
    let y = n.b.flatten(y, "flatten")?;
    let y = n.dense(y, 400, 120)?;
    let y = n.b.relu(y, "relu3")?;
    let y = n.dense(y, 120, 10)?;
    n.finish(y)
}

/// Depthwise and pointwise convolutions, a residual and a global mean on `[N, 3, 33, 33]`; seven probabilities.
///
/// # Errors
/// Never, unless the builder is broken.
pub fn mobilenet() -> Result<Graph> {
    let (mut n, x) = Net::new("mobilenet", [3, 33, 33]);
    let same = |strides: &[usize], groups| Conv {
        pads: Pads::SameUpper,
        strides: strides.to_vec(),
        groups,
        ..Conv::default()
    };
    let y = n.conv(x, [12, 3, 3, 3], same(&[2, 2], 1))?;
    let y = n.b.activate(Activation::RELU6, y, "relu6_1")?;
    let wide = n.conv(y, [24, 12, 1, 1], same(&[], 1))?;
    let wide = n.b.activate(Activation::HARD_SWISH, wide, "swish")?;
    let deep = n.conv(wide, [24, 1, 3, 3], same(&[], 24))?;
    let deep = n.b.activate(Activation::RELU6, deep, "relu6_2")?;
    let narrow = n.conv(deep, [12, 24, 1, 1], same(&[], 1))?;
    let y = n.b.binary(BinaryKind::Add, narrow, y, "residual")?;
    let y = n.conv(y, [12, 1, 5, 5], same(&[2, 2], 12))?;
    let y = n.conv(y, [20, 12, 1, 1], same(&[], 1))?;
    let y = n.b.activate(Activation::RELU6, y, "relu6_3")?;
    let y = n.b.global_average_pool(y, "mean")?;
    let y = n.dense(y, 20, 7)?;
    n.finish(y)
}
