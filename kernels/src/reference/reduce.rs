//! Reductions over any set of axes, one output element at a time.

use crate::elementwise::{Binary, Kind, Number};
use crate::reduce::Reduction;

/// The elements of `x` that reduce to each output element, in row-major order of both.
fn groups<T: Copy>(x: &[T], shape: &[usize], axes: &[usize]) -> Vec<Vec<T>> {
    let kept = (0..shape.len()).filter(|a| !axes.contains(a));
    let mut out = vec![Vec::new(); kept.clone().map(|a| shape[a]).product()];
    for (linear, &v) in x.iter().enumerate() {
        let index = |axis: usize| linear / shape[axis + 1..].iter().product::<usize>() % shape[axis];
        let to = kept.clone().fold(0, |o, a| o * shape[a] + index(a));
        out[to].push(v);
    }
    out
}

/// Reduces `x` of `shape` over `axes` (all different, below the rank); no axes reduce each element alone.
///
/// An empty group gives the neutral element; the mean of one is NaN (0 for integers).
pub fn reduce<T: Number>(op: Reduction, x: &[T], shape: &[usize], axes: &[usize]) -> Vec<T> {
    groups(x, shape, axes).iter().map(|g| one(op, g)).collect()
}

fn one<T: Number>(op: Reduction, x: &[T]) -> T {
    match op {
        Reduction::Min | Reduction::Max => extreme(op, x),
        _ if T::KIND == Kind::Float => T::from_f64(float(op, &x.iter().map(|v| v.to_f64()).collect::<Vec<_>>())),
        _ => integer(op, x),
    }
}

fn extreme<T: Number>(op: Reduction, x: &[T]) -> T {
    let (binary, neutral) =
        if op == Reduction::Min { (Binary::Min, f64::INFINITY) } else { (Binary::Max, f64::NEG_INFINITY) };
    x.iter().copied().reduce(|a, b| T::binary(binary, a, b)).unwrap_or_else(|| match T::KIND {
        Kind::Bool => T::from_i128(i128::from(op == Reduction::Min)),
        _ => T::from_f64(neutral),
    })
}

fn float(op: Reduction, x: &[f64]) -> f64 {
    let sum = |f: fn(f64) -> f64| x.iter().map(|&v| f(v)).fold(0.0, |a, b| a + b);
    match op {
        Reduction::Sum => sum(|v| v),
        Reduction::Mean => sum(|v| v) / x.len() as f64,
        Reduction::Prod => x.iter().product(),
        Reduction::L1 => sum(f64::abs),
        Reduction::L2 => sum(|v| v * v).sqrt(),
        Reduction::SumSquare => sum(|v| v * v),
        Reduction::LogSum => sum(|v| v).ln(),
        Reduction::LogSumExp => {
            let max = x.iter().fold(f64::NEG_INFINITY, |m, &v| if v > m || v.is_nan() { v } else { m });
            if max.is_infinite() { max } else { max + x.iter().map(|v| (v - max).exp()).sum::<f64>().ln() }
        }
        Reduction::Min | Reduction::Max => f64::NAN,
    }
}

fn integer<T: Number>(op: Reduction, x: &[T]) -> T {
    let values = x.iter().map(|v| v.to_i128());
    let sum = || values.clone().fold(0i128, i128::wrapping_add);
    match op {
        Reduction::Sum => T::from_i128(sum()),
        Reduction::Mean => T::from_i128(if x.is_empty() { 0 } else { sum() / x.len() as i128 }),
        Reduction::Prod => T::from_i128(values.fold(1, i128::wrapping_mul)),
        Reduction::L1 => T::from_i128(values.map(i128::abs).fold(0, i128::wrapping_add)),
        Reduction::SumSquare => T::from_i128(values.map(|v| v.wrapping_mul(v)).fold(0, i128::wrapping_add)),
        _ => T::from_f64(float(op, &x.iter().map(|v| v.to_f64()).collect::<Vec<_>>())),
    }
}

/// Index of the largest (or smallest) element along `axis`, the first or the last of equals; NaN is beyond every number.
pub fn arg<T: Number>(largest: bool, last: bool, x: &[T], shape: &[usize], axis: usize) -> Vec<i64> {
    let beyond = |a: T, b: T| {
        let (x, y) = (a.to_f64(), b.to_f64());
        !y.is_nan() && (x.is_nan() || if largest { a > b } else { a < b })
    };
    let best = |g: &Vec<T>| {
        (1..g.len()).fold(0, |best, k| if beyond(g[k], g[best]) || (last && !beyond(g[best], g[k])) { k } else { best })
    };
    groups(x, shape, &[axis]).iter().map(|g| best(g) as i64).collect()
}

/// Whether any (or every) truth value of a group is true.
pub fn logical(every: bool, x: &[bool], shape: &[usize], axes: &[usize]) -> Vec<bool> {
    groups(x, shape, axes).iter().map(|g| if every { g.iter().all(|&v| v) } else { g.iter().any(|&v| v) }).collect()
}
