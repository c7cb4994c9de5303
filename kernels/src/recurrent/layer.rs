//! The layer: all input products first, then step by step.

use super::product::Panels;
use super::{Cell, Params, Sequence};
use crate::activation;
use crate::error::{Error, Result, check_len};
use crate::isa::Isa;
use crate::par::{Parallel, for_each_part};

const FILTER: &str = "recurrent";

/// Weights of one direction: `w [G H, I]`, `r [G H, H]`, `bias [2 G H]` (input, then recurrent), `peepholes [3 H]` (i, o, f).
#[derive(Clone, Copy, Debug)]
pub struct Weights<'a> {
    /// Input weights.
    pub w: &'a [f32],
    /// Recurrent weights.
    pub r: &'a [f32],
    /// Biases.
    pub bias: Option<&'a [f32]>,
    /// Weights of the cell state (LSTM).
    pub peepholes: Option<&'a [f32]>,
}

/// Where the outputs of one direction go.
#[derive(Debug)]
pub struct Outputs<'a> {
    /// `[T, step]`: each step's `[N, H]` begins at `offset`.
    pub y: &'a mut [f32],
    /// Floats from one step to the next.
    pub step: usize,
    /// Floats before the first.
    pub offset: usize,
    /// Hidden state `[N, H]`: before the first step the initial one, afterwards the last.
    pub h: &'a mut [f32],
    /// Cell state `[N, H]` of an LSTM, likewise; others take an empty slice.
    pub c: &'a mut [f32],
}

/// A recurrent layer in one direction over `x [T, N, I]`.
#[derive(Clone, Debug)]
pub struct Recurrent {
    isa: Isa,
    params: Params,
    sequence: Sequence,
    input: Panels,
    /// All gates, or for a GRU the first two.
    recurrent: Panels,
    /// The last gate of a GRU.
    last: Option<Panels>,
    /// Added to the input products, one a gate and unit.
    bias: Vec<f32>,
    /// Added to the recurrent product of the last gate of a GRU that resets after it.
    last_bias: Vec<f32>,
    peepholes: Option<Vec<f32>>,
}

impl Recurrent {
    /// Packs the weights.
    ///
    /// # Errors
    /// When a weight has the wrong length.
    pub fn new(isa: Isa, params: Params, sequence: Sequence, weights: &Weights) -> Result<Self> {
        let (h, rows) = (params.hidden, params.cell.gates() * params.hidden);
        check_len(FILTER, "w", rows * params.input, weights.w.len())?;
        check_len(FILTER, "r", rows * h, weights.r.len())?;
        weights.bias.map_or(Ok(()), |b| check_len(FILTER, "bias", 2 * rows, b.len()))?;
        weights.peepholes.map_or(Ok(()), |p| check_len(FILTER, "peepholes", 3 * h, p.len()))?;
        let gru = matches!(params.cell, Cell::Gru { .. });
        let after = params.cell == Cell::Gru { linear_before_reset: true };
        let (mut bias, mut last_bias) = (vec![0.0; rows], vec![0.0; h]);
        if let Some(b) = weights.bias {
            for (i, v) in bias.iter_mut().enumerate() {
                *v = if after && i >= 2 * h { b[i] } else { b[i] + b[rows + i] };
            }
            last_bias.copy_from_slice(&b[2 * rows - h..]);
        }
        let first = if gru { 2 * h } else { rows };
        Ok(Self {
            isa,
            params,
            sequence,
            input: Panels::new(weights.w, params.input, 0, rows),
            recurrent: Panels::new(weights.r, h, 0, first),
            last: gru.then(|| Panels::new(weights.r, h, first, h)),
            bias,
            last_bias,
            peepholes: weights.peepholes.map(<[f32]>::to_vec),
        })
    }

    /// Floats of scratch that [`Recurrent::apply`] wants.
    pub fn scratch(&self) -> usize {
        let rows = self.sequence.steps * self.sequence.batch * self.bias.len();
        rows + self.sequence.batch * self.params.hidden
    }

    /// Runs the layer. Sequence `n` ends after `lengths[n]` steps; from there on `y` is zero.
    ///
    /// # Errors
    /// When a slice has the wrong length or a sequence would have more than `T` steps.
    pub fn apply(
        &self,
        x: &[f32],
        lengths: Option<&[i32]>,
        out: &mut Outputs<'_>,
        scratch: &mut [f32],
        par: &dyn Parallel,
    ) -> Result<()> {
        let Sequence { steps, batch } = self.sequence;
        let (hidden, width) = (self.params.hidden, self.bias.len());
        check_len(FILTER, "x", steps * batch * self.params.input, x.len())?;
        check_len(FILTER, "y", steps * out.step, out.y.len())?;
        check_len(FILTER, "h", batch * hidden, out.h.len())?;
        let cells = if matches!(self.params.cell, Cell::Lstm { .. }) { batch * hidden } else { 0 };
        check_len(FILTER, "c", cells, out.c.len())?;
        check_len(FILTER, "scratch", self.scratch(), scratch.len())?;
        if let Some(l) = lengths {
            check_len(FILTER, "lengths", batch, l.len())?;
            if let Some(n) = l.iter().find(|&&n| usize::try_from(n).map_or(true, |n| n > steps)) {
                return Err(Error::new(FILTER, format!("lengths: a sequence of {n} steps among {steps}")));
            }
        }
        if out.offset + batch * hidden > out.step {
            return Err(Error::new(FILTER, "y: a step is shorter than its states".to_string()));
        }
        let (gates, spare) = scratch.split_at_mut(steps * batch * width);
        self.inputs(x, gates, par);
        match lengths {
            None => self.walk(steps, 0..batch, gates, spare, out),
            Some(lengths) => {
                for t in 0..steps {
                    out.y[t * out.step + out.offset..][..batch * hidden].fill(0.0);
                }
                for (n, &len) in lengths.iter().enumerate() {
                    self.walk(len as usize, n..n + 1, gates, spare, out);
                }
            }
        }
        Ok(())
    }

    /// Input products and biases of all steps.
    fn inputs(&self, x: &[f32], gates: &mut [f32], par: &dyn Parallel) {
        let (width, depth) = (self.bias.len(), self.params.input);
        let rows = self.sequence.steps * self.sequence.batch;
        let many = rows.div_ceil(par.threads()).next_multiple_of(4).max(4);
        for_each_part(par, gates, many * width, &|i, part| {
            part.chunks_exact_mut(width).for_each(|row| row.copy_from_slice(&self.bias));
            let count = part.len() / width;
            self.input.add(self.isa, &x[i * many * depth..(i * many + count) * depth], count, part, width);
        });
    }

    /// `len` steps of some neighbouring sequences.
    fn walk(
        &self,
        len: usize,
        rows: std::ops::Range<usize>,
        gates: &mut [f32],
        spare: &mut [f32],
        out: &mut Outputs<'_>,
    ) {
        let (hidden, width, count) = (self.params.hidden, self.bias.len(), rows.len());
        let states = rows.start * hidden..rows.end * hidden;
        for i in 0..len {
            let t = self.params.direction.step(i, len);
            let at = t * self.sequence.batch + rows.start;
            let gates = &mut gates[at * width..(at + count) * width];
            let c = if out.c.is_empty() { &mut [][..] } else { &mut out.c[states.clone()] };
            let h = &mut out.h[states.clone()];
            self.recurrent.add(self.isa, h, count, gates, width);
            match self.params.cell {
                Cell::Simple => self.simple(gates, h),
                Cell::Gru { linear_before_reset } => {
                    self.gru(linear_before_reset, count, gates, h, &mut spare[..count * hidden])
                }
                Cell::Lstm { input_forget } => self.lstm(input_forget, gates, h, c),
            }
            out.y[t * out.step + out.offset..][states.clone()].copy_from_slice(h);
        }
    }

    /// Clips what goes into the activation of a gate and applies it.
    fn activate(&self, which: usize, v: &mut [f32]) {
        if let Some(c) = self.params.clip {
            v.iter_mut().for_each(|v| *v = v.max(-c).min(c));
        }
        activation::in_place(self.isa, &self.params.activations[which], v);
    }

    fn simple(&self, gates: &mut [f32], h: &mut [f32]) {
        self.activate(0, gates);
        h.copy_from_slice(gates);
    }

    fn gru(&self, linear_before_reset: bool, count: usize, gates: &mut [f32], h: &mut [f32], spare: &mut [f32]) {
        let hidden = self.params.hidden;
        let Some(last) = &self.last else { return };
        if linear_before_reset {
            spare.chunks_exact_mut(hidden).for_each(|row| row.copy_from_slice(&self.last_bias));
            last.add(self.isa, h, count, spare, hidden);
        }
        let rows = gates.chunks_exact_mut(3 * hidden).zip(h.chunks_exact(hidden)).zip(spare.chunks_exact_mut(hidden));
        for ((gates, h), spare) in rows {
            let (zr, new) = gates.split_at_mut(2 * hidden);
            self.activate(0, zr);
            let reset = &zr[hidden..];
            if linear_before_reset {
                new.iter_mut().zip(reset.iter().zip(&*spare)).for_each(|(v, (r, s))| *v += r * s);
            } else {
                spare.iter_mut().zip(reset.iter().zip(h)).for_each(|(s, (r, h))| *s = r * h);
            }
        }
        if !linear_before_reset {
            last.add(self.isa, spare, count, &mut gates[2 * hidden..], 3 * hidden);
        }
        for (gates, h) in gates.chunks_exact_mut(3 * hidden).zip(h.chunks_exact_mut(hidden)) {
            let (zr, new) = gates.split_at_mut(2 * hidden);
            self.activate(1, new);
            let update = h.iter_mut().zip(zr[..hidden].iter().zip(&*new));
            update.for_each(|(h, (z, c))| *h = (1.0 - z) * c + z * *h);
        }
    }

    fn lstm(&self, input_forget: bool, gates: &mut [f32], h: &mut [f32], c: &mut [f32]) {
        let n = self.params.hidden;
        let rows = gates.chunks_exact_mut(4 * n).zip(h.chunks_exact_mut(n)).zip(c.chunks_exact_mut(n));
        for ((gates, h), c) in rows {
            let peep = |v: &mut [f32], k: usize, c: &[f32]| {
                if let Some(p) = &self.peepholes {
                    v.iter_mut().zip(p[k * n..(k + 1) * n].iter().zip(c)).for_each(|(v, (p, c))| *v += p * c);
                }
            };
            let [input, output, forget, new] = quarters(gates, n);
            peep(input, 0, c);
            peep(forget, 2, c);
            self.activate(0, input);
            if input_forget {
                forget.iter_mut().zip(&*input).for_each(|(f, i)| *f = 1.0 - i);
            } else {
                self.activate(0, forget);
            }
            self.activate(1, new);
            let update = c.iter_mut().zip(forget.iter().zip(input.iter().zip(&*new)));
            update.for_each(|(c, (f, (i, g)))| *c = f * *c + i * g);
            peep(output, 1, c);
            self.activate(0, output);
            activation::slices(self.isa, &self.params.activations[2], c, h);
            h.iter_mut().zip(&*output).for_each(|(h, o)| *h *= o);
        }
    }
}

/// The four gates of one row.
fn quarters(gates: &mut [f32], n: usize) -> [&mut [f32]; 4] {
    let (a, rest) = gates.split_at_mut(n);
    let (b, rest) = rest.split_at_mut(n);
    let (c, d) = rest.split_at_mut(n);
    [a, b, c, d]
}
