//! Softmax and its relatives along one axis.

use crate::elementwise::Number;
use crate::softmax::Kind;

/// Softmax, log-softmax or hardmax of `x` of `shape` along `axis`.
///
/// # Panics
/// When `axis` is not below the rank or `x` does not fill the shape.
pub fn softmax<T: Number>(kind: Kind, x: &[T], shape: &[usize], axis: usize) -> Vec<T> {
    let (len, inner) = (shape[axis], shape[axis + 1..].iter().product::<usize>());
    let outer = shape[..axis].iter().product::<usize>();
    let mut y = x.to_vec();
    for o in 0..outer {
        for i in 0..inner {
            let at = |k: usize| (o * len + k) * inner + i;
            let line: Vec<f64> = (0..len).map(|k| x[at(k)].to_f64()).collect();
            for (k, v) in one(kind, &line).into_iter().enumerate() {
                y[at(k)] = T::from_f64(v);
            }
        }
    }
    y
}

fn one(kind: Kind, x: &[f64]) -> Vec<f64> {
    let max = x.iter().fold(f64::NEG_INFINITY, |m, &v| if v > m || v.is_nan() { v } else { m });
    let sum: f64 = x.iter().map(|v| (v - max).exp()).sum();
    match kind {
        Kind::Softmax => x.iter().map(|v| (v - max).exp() / sum).collect(),
        Kind::LogSoftmax => x.iter().map(|v| v - max - sum.ln()).collect(),
        Kind::Hardmax => {
            let first = x.iter().position(|v| *v == max || v.is_nan());
            (0..x.len()).map(|k| f64::from(u8::from(Some(k) == first))).collect()
        }
    }
}
