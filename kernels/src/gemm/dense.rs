//! Fully connected layers.

mod tile;

use super::aligned::{Aligned, Packed};
use super::matmul::{self, Product};
use crate::activation::Activation;
use crate::error::check_len;
use crate::isa::Isa;
use crate::layout::BLOCK;
use crate::par::{Parallel, for_each_part};
use crate::{Error, Result};
use half::{bf16, f16};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Weights `[outputs, inputs]` as they are stored.
#[derive(Clone, Copy, Debug)]
pub enum Values<'a> {
    /// Floats.
    F32(&'a [f32]),
    /// Half floats, widened on load.
    F16(&'a [f16]),
    /// bfloat16, widened on load.
    Bf16(&'a [bf16]),
    /// Bytes, and a scale for every output: the weight is `scale * byte`.
    I8(&'a [i8], &'a [f32]),
}

/// A dense layer: `y = activation(x w^T + bias)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DenseDesc {
    /// Elements of a row of `x`.
    pub inputs: usize,
    /// Elements of a row of `y`.
    pub outputs: usize,
    /// Applied to the sums.
    pub activation: Activation,
}

/// Packed weights, bias and scales of a dense layer: panels `[outputs / 16][inputs][16]`, a last one of 8 where 8 suffice.
#[derive(Debug)]
pub struct DenseWeights {
    inputs: usize,
    outputs: usize,
    data: Data,
    bias: Aligned,
    scales: Option<Aligned>,
}

#[derive(Debug)]
enum Data {
    F32(Packed<f32>),
    F16(Packed<f16>),
    Bf16(Packed<bf16>),
    I8(Packed<i8>),
}

/// A dense layer with packed weights.
///
/// Weights of networks that hold little else are read once a run and may not fit the second-level cache. Read in one order, each part would be
/// gone when its turn comes again; so one row after the other walks over the panels in the opposite direction, and meets first what
/// was read last. Chunks of several threads stay in their order, so that each finds in its own cache what it had before. The bits of the
/// results do not depend on it.
#[derive(Debug)]
pub struct Dense {
    isa: Isa,
    desc: DenseDesc,
    weights: Arc<DenseWeights>,
    /// The direction of the last row.
    backwards: AtomicBool,
}

const NAME: &str = "dense";
/// Multiply-adds of one row worth a chunk of their own.
const CHUNK_MACS: usize = 64_000;

impl DenseWeights {
    /// Packs weights `[outputs, inputs]` and bias `[outputs]`.
    ///
    /// # Errors
    /// When a slice has another length.
    pub fn new(inputs: usize, outputs: usize, values: Values<'_>, bias: Option<&[f32]>) -> Result<Self> {
        let len = inputs.checked_mul(outputs.next_multiple_of(2 * BLOCK));
        len.filter(|&n| n < 1 << 48).ok_or_else(|| Error::new(NAME, format!("{outputs} x {inputs} is too large")))?;
        let check = |found| check_len(NAME, "weights", inputs * outputs, found);
        let mut scales = None;
        let data = match values {
            Values::F32(w) => check(w.len()).map(|()| Data::F32(pack(w, inputs, outputs).into()))?,
            Values::F16(w) => check(w.len()).map(|()| Data::F16(pack(w, inputs, outputs).into()))?,
            Values::Bf16(w) => check(w.len()).map(|()| Data::Bf16(pack(w, inputs, outputs).into()))?,
            Values::I8(w, s) => {
                check_len(NAME, "scales", outputs, s.len())?;
                scales = Some(pad(outputs, Some(s)));
                check(w.len()).map(|()| Data::I8(pack(w, inputs, outputs).into()))?
            }
        };
        if let Some(b) = bias {
            check_len(NAME, "bias", outputs, b.len())?;
        }
        Ok(Self { inputs, outputs, data, bias: pad(outputs, bias), scales })
    }
    /// Floats that are packed already, in the form `form`.
    ///
    /// # Errors
    /// When there are too few numbers, or the bias has another length.
    pub fn from_packed(form: DenseForm, data: Packed<f32>, bias: Option<&[f32]>) -> Result<Self> {
        form.kept(data, Data::F32, bias)
    }
    /// As [`Self::from_packed`], of half floats.
    ///
    /// # Errors
    /// As [`Self::from_packed`].
    pub fn from_packed_f16(form: DenseForm, data: Packed<f16>, bias: Option<&[f32]>) -> Result<Self> {
        form.kept(data, Data::F16, bias)
    }
    /// As [`Self::from_packed`], of bfloat16 values.
    ///
    /// # Errors
    /// As [`Self::from_packed`].
    pub fn from_packed_bf16(form: DenseForm, data: Packed<bf16>, bias: Option<&[f32]>) -> Result<Self> {
        form.kept(data, Data::Bf16, bias)
    }
    /// Bytes of weights, bias and scales.
    pub fn bytes(&self) -> usize {
        let data = match &self.data {
            Data::F32(d) => 4 * d.len(),
            Data::F16(d) => 2 * d.len(),
            Data::Bf16(d) => 2 * d.len(),
            Data::I8(d) => d.len(),
        };
        data + 4 * (self.bias.len() + self.scales.as_ref().map_or(0, |s| s.len()))
    }
}

fn pad(outputs: usize, values: Option<&[f32]>) -> Aligned {
    let mut padded = Aligned::zeros(outputs.next_multiple_of(2 * BLOCK));
    if let Some(v) = values {
        padded[..outputs].copy_from_slice(v);
    }
    padded
}

/// Lanes of the panel that starts at column `first`: 16, or 8 where no more columns are left.
pub(super) fn panel_lanes(first: usize, columns: usize) -> usize {
    if columns - first > BLOCK { 2 * BLOCK } else { BLOCK }
}

fn pack<T: Copy + Default>(w: &[T], inputs: usize, outputs: usize) -> Aligned<T> {
    let form = DenseForm { inputs, outputs };
    let mut packed = Aligned::zeros(form.len());
    form.for_each(|at, o, k| packed[at] = w[o * inputs + k]);
    packed
}

/// The form in which weights `[outputs, inputs]` are packed: `[outputs / 16][inputs][16]`, a last panel of 8 where 8 suffice. A
/// permutation with zeros past the last output, one for every instruction set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DenseForm {
    /// Elements of a row of the input.
    pub inputs: usize,
    /// Elements of a row of the output.
    pub outputs: usize,
}

impl DenseForm {
    /// Changes whenever the order of numbers does.
    pub const VERSION: u32 = 1;

    /// Numbers of the packed form.
    pub fn len(&self) -> usize {
        self.inputs * self.outputs.next_multiple_of(BLOCK)
    }
    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Calls `f(place in the packed form, output, input)` for every weight, in an order that is kind to both sides.
    #[inline]
    pub fn for_each(&self, mut f: impl FnMut(usize, usize, usize)) {
        let Self { inputs, outputs } = *self;
        for first in (0..outputs).step_by(2 * BLOCK) {
            let lanes = panel_lanes(first, outputs);
            let live = lanes.min(outputs - first);
            for k in 0..inputs {
                (0..live).for_each(|o| f(first * inputs + k * lanes + o, first + o, k));
            }
        }
    }
    fn kept<T>(self, data: Packed<T>, wrap: fn(Packed<T>) -> Data, bias: Option<&[f32]>) -> Result<DenseWeights> {
        let Self { inputs, outputs } = self;
        if data.len() < self.len() {
            return Err(Error::length(NAME, "packed weights, at least", self.len(), data.len()));
        }
        if let Some(b) = bias {
            check_len(NAME, "bias", outputs, b.len())?;
        }
        Ok(DenseWeights { inputs, outputs, data: wrap(data), bias: pad(outputs, bias), scales: None })
    }
}

impl Dense {
    /// Packs `weights` `[outputs, inputs]` and `bias` `[outputs]`.
    ///
    /// # Errors
    /// When a slice has another length.
    pub fn new(isa: Isa, desc: DenseDesc, weights: Values<'_>, bias: Option<&[f32]>) -> Result<Self> {
        Self::with_weights(isa, desc, Arc::new(DenseWeights::new(desc.inputs, desc.outputs, weights, bias)?))
    }
    /// A layer with weights that are packed already.
    ///
    /// # Errors
    /// When they were packed for another size.
    pub fn with_weights(isa: Isa, desc: DenseDesc, weights: Arc<DenseWeights>) -> Result<Self> {
        if (weights.inputs, weights.outputs) != (desc.inputs, desc.outputs) {
            let message = format!("weights: packed for {} x {}, expected {desc:?}", weights.outputs, weights.inputs);
            return Err(Error::new(NAME, message));
        }
        Ok(Self { isa, desc, weights, backwards: AtomicBool::new(true) })
    }
    /// The algorithm for so many rows, for reports.
    pub fn algorithm(&self, rows: usize) -> &'static str {
        match (&self.weights.data, rows) {
            (Data::F32(_), 2..) => "gemm",
            _ => "gemv",
        }
    }
    /// Multiplies `x` `[rows, inputs]` into `y` `[rows, outputs]`. No allocation. Weights that are not `f32` are read once for every
    /// row.
    ///
    /// # Errors
    /// When a slice has another length.
    pub fn apply(&self, x: &[f32], rows: usize, y: &mut [f32], par: &dyn Parallel) -> Result<()> {
        let DenseDesc { inputs, outputs, activation } = self.desc;
        check_len(NAME, "input", rows.saturating_mul(inputs), x.len())?;
        check_len(NAME, "output", rows.saturating_mul(outputs), y.len())?;
        let w = &*self.weights;
        if let (Data::F32(data), 2..) = (&w.data, rows) {
            let product = Product { rows, inner: inputs, columns: outputs, weights: data, bias: &w.bias, activation };
            matmul::run(&product, self.isa, x, y, par);
            return Ok(());
        }
        if outputs == 0 {
            return Ok(());
        }
        let panels = outputs.div_ceil(2 * BLOCK);
        let wanted = if par.threads() > 1 { (4 * par.threads()).min(inputs * outputs / CHUNK_MACS).max(1) } else { 1 };
        let part = panels.div_ceil(wanted.min(panels)) * 2 * BLOCK;
        for (row, y) in y.chunks_exact_mut(outputs).enumerate() {
            let x = &x[row * inputs..][..inputs];
            // A load and a store, for no other thread needs to know.
            let backwards = !self.backwards.load(Ordering::Relaxed);
            self.backwards.store(backwards, Ordering::Relaxed);
            for_each_part(par, y, part, &|chunk, y| {
                let (isa, first) = (self.isa, chunk * part);
                let (bias, scales) = (&w.bias, w.scales.as_deref());
                let row = tile::Row { isa, x, columns: outputs, first, bias, scales, activation, backwards };
                match &w.data {
                    Data::F32(d) => row.run(d, y),
                    Data::F16(d) => row.run(d, y),
                    Data::Bf16(d) => row.run(d, y),
                    Data::I8(d) => row.run(d, y),
                }
            });
        }
        Ok(())
    }
}
