//! Recurrent layers in one direction.

use super::activation::eval;
use crate::recurrent::{Cell, Params, Sequence, Weights};

/// States of one direction before the first step: `[N, H]`; zero when absent.
#[derive(Clone, Copy, Debug, Default)]
pub struct State<'a> {
    /// Hidden state.
    pub h: Option<&'a [f32]>,
    /// Cell state (LSTM).
    pub c: Option<&'a [f32]>,
}

/// Runs a layer over `x [T, N, I]`: outputs `y [T, N, H]`, the last hidden state and the last cell state, both `[N, H]`.
/// Sequence `n` ends after `lengths[n]` steps (all of them when absent); from there on `y` is zero.
///
/// # Panics
/// When slices and extents do not fit.
pub fn run(
    p: &Params,
    seq: Sequence,
    x: &[f32],
    weights: &Weights,
    lengths: Option<&[usize]>,
    state: State,
) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let (t, n, hidden) = (seq.steps, seq.batch, p.hidden);
    assert_eq!(x.len(), t * n * p.input);
    let start = |s: Option<&[f32]>| s.map_or_else(|| vec![0.0; n * hidden], <[f32]>::to_vec);
    let (mut y, mut h_last, mut c_last) = (vec![0.0; t * n * hidden], start(state.h), start(state.c));
    for row in 0..n {
        let wide = |v: &[f32]| v[row * hidden..(row + 1) * hidden].iter().map(|&v| f64::from(v)).collect::<Vec<f64>>();
        let (mut h, mut c) = (wide(&h_last), wide(&c_last));
        let len = lengths.map_or(t, |l| l[row]);
        for i in 0..len {
            let at = p.direction.step(i, len) * n + row;
            step(p, weights, &x[at * p.input..(at + 1) * p.input], &mut h, &mut c);
            let out = &mut y[at * hidden..(at + 1) * hidden];
            out.iter_mut().zip(&h).for_each(|(y, &h)| *y = h as f32);
        }
        let store = |v: &mut [f32], s: &[f64]| v.iter_mut().zip(s).for_each(|(v, &s)| *v = s as f32);
        store(&mut h_last[row * hidden..(row + 1) * hidden], &h);
        store(&mut c_last[row * hidden..(row + 1) * hidden], &c);
    }
    (y, h_last, c_last)
}

/// One step of one sequence.
fn step(p: &Params, weights: &Weights, x: &[f32], h: &mut [f64], c: &mut [f64]) {
    let hidden = p.hidden;
    let bias = |row: usize, recurrent: bool| {
        let i = row + if recurrent { p.cell.gates() * hidden } else { 0 };
        weights.bias.map_or(0.0, |b| f64::from(b[i]))
    };
    let from_input = |row: usize| {
        let w = &weights.w[row * p.input..(row + 1) * p.input];
        w.iter().zip(x).map(|(&w, &x)| f64::from(w) * f64::from(x)).sum::<f64>() + bias(row, false)
    };
    let product = |row: usize, state: &[f64]| {
        let r = &weights.r[row * hidden..(row + 1) * hidden];
        r.iter().zip(state).map(|(&r, &s)| f64::from(r) * s).sum::<f64>() + bias(row, true)
    };
    let clip = |v: f64| p.clip.map_or(v, |c| v.clamp(-f64::from(c), f64::from(c)));
    let [f, g, last] = p.activations;
    let before = h.to_vec();
    match p.cell {
        Cell::Simple => {
            for (j, h) in h.iter_mut().enumerate() {
                *h = eval(&f, clip(from_input(j) + product(j, &before)));
            }
        }
        Cell::Gru { linear_before_reset } => {
            let gate = |k: usize| {
                (0..hidden)
                    .map(|j| eval(&f, clip(from_input(k * hidden + j) + product(k * hidden + j, &before))))
                    .collect::<Vec<f64>>()
            };
            let (z, r) = (gate(0), gate(1));
            let reset: Vec<f64> = r.iter().zip(&before).map(|(r, h)| r * h).collect();
            for (j, h) in h.iter_mut().enumerate() {
                let row = 2 * hidden + j;
                let recurrent = if linear_before_reset { r[j] * product(row, &before) } else { product(row, &reset) };
                let new = eval(&g, clip(from_input(row) + recurrent));
                *h = (1.0 - z[j]) * new + z[j] * *h;
            }
        }
        Cell::Lstm { input_forget } => {
            let peep = |k: usize, j: usize| weights.peepholes.map_or(0.0, |p| f64::from(p[k * hidden + j]));
            for j in 0..hidden {
                let sum = |k: usize| from_input(k * hidden + j) + product(k * hidden + j, &before);
                let input = eval(&f, clip(sum(0) + peep(0, j) * c[j]));
                let forget = if input_forget { 1.0 - input } else { eval(&f, clip(sum(2) + peep(2, j) * c[j])) };
                c[j] = forget * c[j] + input * eval(&g, clip(sum(3)));
                let output = eval(&f, clip(sum(1) + peep(1, j) * c[j]));
                h[j] = output * eval(&last, c[j]);
            }
        }
    }
}
