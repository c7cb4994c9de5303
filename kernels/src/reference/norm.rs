//! Normalisations: mean and variance in double precision, two passes.
//!
//! Images are `[N, C, ...]`, channels first. A missing scale is 1, a missing bias 0.

use crate::elementwise::Number;

/// The value of an optional parameter at `i`.
fn or<T: Number>(p: Option<&[T]>, i: usize, default: f64) -> f64 {
    p.map_or(default, |p| p[i].to_f64())
}

/// `(x - mean) / sqrt(variance + epsilon)` of a group, by the mean and the biased variance of that group.
fn standardise(x: &[f64], epsilon: f64) -> Vec<f64> {
    let n = x.len() as f64;
    let mean = x.iter().sum::<f64>() / n;
    let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
    x.iter().map(|v| (v - mean) / (variance + epsilon).sqrt()).collect()
}

fn doubles<T: Number>(x: &[T]) -> Vec<f64> {
    x.iter().map(|v| v.to_f64()).collect()
}

/// Batch normalisation with given statistics: `(x - mean) / sqrt(variance + epsilon) scale + bias` of `x` `[N, C, ...]`, all
/// parameters `[C]`.
pub fn batch<T: Number>(
    x: &[T],
    shape: &[usize],
    mean: &[T],
    variance: &[T],
    scale: Option<&[T]>,
    bias: Option<&[T]>,
    epsilon: f64,
) -> Vec<T> {
    let (channels, inner) = (shape[1], shape[2..].iter().product::<usize>());
    let one = |(i, v): (usize, &T)| {
        let c = i / inner % channels;
        let z = (v.to_f64() - mean[c].to_f64()) / (variance[c].to_f64() + epsilon).sqrt();
        T::from_f64(z * or(scale, c, 1.0) + or(bias, c, 0.0))
    };
    x.iter().enumerate().map(one).collect()
}

/// Group normalisation of `x` `[N, C, ...]` in `groups` groups of neighbouring channels, scale and bias `[C]`. One group a
/// channel is instance normalisation.
///
/// # Panics
/// When `groups` does not divide `C`.
pub fn group<T: Number>(
    x: &[T],
    shape: &[usize],
    groups: usize,
    scale: Option<&[T]>,
    bias: Option<&[T]>,
    epsilon: f64,
) -> Vec<T> {
    let (channels, inner) = (shape[1], shape[2..].iter().product::<usize>());
    assert_eq!(channels % groups, 0, "{groups} groups of {channels} channels");
    let len = channels / groups * inner;
    let mut y = Vec::with_capacity(x.len());
    for part in x.chunks(len.max(1)) {
        for v in standardise(&doubles(part), epsilon) {
            let c = y.len() / inner % channels;
            y.push(T::from_f64(v * or(scale, c, 1.0) + or(bias, c, 0.0)));
        }
    }
    y
}

/// Layer normalisation over the axes from `axis` on, scale and bias of their extent.
pub fn layer<T: Number>(
    x: &[T],
    shape: &[usize],
    axis: usize,
    scale: Option<&[T]>,
    bias: Option<&[T]>,
    epsilon: f64,
) -> Vec<T> {
    let len = shape[axis..].iter().product::<usize>();
    let line = |part: &[T]| standardise(&doubles(part), epsilon);
    let affine = |(i, v): (usize, f64)| T::from_f64(v * or(scale, i, 1.0) + or(bias, i, 0.0));
    x.chunks(len.max(1)).flat_map(|part| line(part).into_iter().enumerate().map(affine).collect::<Vec<_>>()).collect()
}

/// Root-mean-square normalisation over the axes from `axis` on: `x / sqrt(mean(x^2) + epsilon) scale`.
pub fn rms<T: Number>(x: &[T], shape: &[usize], axis: usize, scale: Option<&[T]>, epsilon: f64) -> Vec<T> {
    let len = shape[axis..].iter().product::<usize>();
    let mut y = Vec::with_capacity(x.len());
    for part in x.chunks(len.max(1)) {
        let part = doubles(part);
        let square = part.iter().map(|v| v * v).sum::<f64>() / part.len() as f64;
        y.extend(part.iter().enumerate().map(|(i, v)| T::from_f64(v / (square + epsilon).sqrt() * or(scale, i, 1.0))));
    }
    y
}

/// `x / max(norm, floor)` with the norm of order `p` (1 or 2) along `axis`; 0 where that divisor is 0.
pub fn lp<T: Number>(x: &[T], shape: &[usize], axis: usize, p: u8, floor: f64) -> Vec<T> {
    let (len, inner) = (shape[axis], shape[axis + 1..].iter().product::<usize>());
    let one = |i: usize| {
        let first = i / (len * inner) * len * inner + i % inner;
        let line = (0..len).map(|k| x[first + k * inner].to_f64());
        let norm = if p == 1 { line.map(f64::abs).sum() } else { line.map(|v| v * v).sum::<f64>().sqrt() };
        let divisor = if norm < floor { floor } else { norm };
        T::from_f64(if divisor == 0.0 { 0.0 } else { x[i].to_f64() / divisor })
    };
    (0..x.len()).map(one).collect()
}

/// Local response normalisation across channels of `x` `[N, C, ...]`:
/// `x / (k + alpha / size sum x^2)^beta`, the sum over `size` channels from `c - (size - 1) / 2` on.
pub fn local_response<T: Number>(x: &[T], shape: &[usize], size: usize, alpha: f64, beta: f64, k: f64) -> Vec<T> {
    let (channels, inner) = (shape[1], shape[2..].iter().product::<usize>());
    let one = |i: usize| {
        let c = i / inner % channels;
        let from = c.saturating_sub((size - 1) / 2);
        let to = (c + size / 2).min(channels - 1);
        let sum: f64 = (from..=to).map(|o| x[i - c * inner + o * inner].to_f64().powi(2)).sum();
        T::from_f64(x[i].to_f64() / (k + alpha / size as f64 * sum).powf(beta))
    };
    (0..x.len()).map(one).collect()
}
