//! Elements chosen, or written, by index.

use super::movement::{each_index, strides};
use crate::elementwise::{Kind, Number};
use crate::gather::position;
use crate::{Error, Result};
use std::cmp::Ordering;

/// Slices of `x` along an axis: the axis is replaced by the indices.
///
/// # Errors
/// When an index lies outside.
pub fn gather<T: Copy>(x: &[T], shape: &[usize], axis: usize, indices: &[i64]) -> Result<Vec<T>> {
    let outer: usize = shape[..axis].iter().product();
    let (extent, inner) = (shape[axis], shape[axis + 1..].iter().product::<usize>());
    let at = indices.iter().map(|&i| position(i, extent)).collect::<Result<Vec<_>>>()?;
    let mut y = Vec::with_capacity(outer * at.len() * inner);
    for o in 0..outer {
        for &i in &at {
            y.extend_from_slice(&x[(o * extent + i) * inner..][..inner]);
        }
    }
    Ok(y)
}

/// Flat offsets into a tensor of `shape` of the elements that indices of `indices_shape` name along an axis.
fn element_offsets(shape: &[usize], axis: usize, indices: &[i64], indices_shape: &[usize]) -> Result<Vec<usize>> {
    let steps = strides(shape);
    let mut offsets = Vec::with_capacity(indices.len());
    let mut next = indices.iter();
    let mut failure = None;
    each_index(indices_shape, |at| {
        let Some(&i) = next.next() else { return };
        match position(i, shape[axis]) {
            Ok(p) => {
                let rest = (0..at.len()).filter(|&a| a != axis).map(|a| at[a] * steps[a]).sum::<usize>();
                offsets.push(p * steps[axis] + rest);
            }
            Err(e) => failure = Some(e),
        }
    });
    failure.map_or(Ok(offsets), Err)
}

/// `y[i, j] = x[indices[i, j], j]` for axis 0.
///
/// # Errors
/// When an index lies outside.
pub fn gather_elements<T: Copy>(
    x: &[T],
    shape: &[usize],
    axis: usize,
    indices: &[i64],
    indices_shape: &[usize],
) -> Result<Vec<T>> {
    let offsets = element_offsets(shape, axis, indices, indices_shape)?;
    Ok(offsets.into_iter().map(|o| x[o]).collect())
}

/// `y[indices[i, j], j] = combine(y[..], updates[i, j])` for axis 0, in row-major order of the updates, starting from `x`.
///
/// # Errors
/// When an index lies outside.
pub fn scatter_elements<T: Copy>(
    x: &[T],
    shape: &[usize],
    axis: usize,
    indices: &[i64],
    (updates, updates_shape): (&[T], &[usize]),
    combine: impl Fn(T, T) -> T,
) -> Result<Vec<T>> {
    let offsets = element_offsets(shape, axis, indices, updates_shape)?;
    let mut y = x.to_vec();
    offsets.into_iter().zip(updates).for_each(|(o, &u)| y[o] = combine(y[o], u));
    Ok(y)
}

/// Flat offsets of the slices that tuples of `k` indices name, and the length of a slice. The first `batch` axes are shared:
/// the tuples are `batches` groups, one for each position of these axes.
fn slice_offsets(shape: &[usize], batch: usize, tuples: &[i64], k: usize) -> Result<(Vec<usize>, usize)> {
    let steps = strides(shape);
    let inner: usize = shape[batch + k..].iter().product();
    let batches: usize = shape[..batch].iter().product();
    let whole: usize = shape[batch..].iter().product();
    let count = if k == 0 { batches } else { tuples.len() / k };
    let group = count / batches.max(1);
    let mut offsets = Vec::with_capacity(count);
    for i in 0..count {
        let mut o = i / group.max(1) * whole;
        for (j, &index) in tuples[i * k..(i + 1) * k].iter().enumerate() {
            o += position(index, shape[batch + j])? * steps[batch + j];
        }
        offsets.push(o);
    }
    Ok((offsets, inner))
}

/// Slices at tuples of `k` indices into the axes after the first `batch` ones, which both tensors share.
///
/// # Errors
/// When an index lies outside.
pub fn gather_nd<T: Copy>(x: &[T], shape: &[usize], batch: usize, tuples: &[i64], k: usize) -> Result<Vec<T>> {
    let (offsets, inner) = slice_offsets(shape, batch, tuples, k)?;
    Ok(offsets.into_iter().flat_map(|o| &x[o..o + inner]).copied().collect())
}

/// Writes slices at tuples of `k` indices, in their order, starting from `x`.
///
/// # Errors
/// When an index lies outside, or the updates have the wrong length.
pub fn scatter_nd<T: Copy>(
    x: &[T],
    shape: &[usize],
    tuples: &[i64],
    k: usize,
    updates: &[T],
    combine: impl Fn(T, T) -> T,
) -> Result<Vec<T>> {
    let (offsets, inner) = slice_offsets(shape, 0, tuples, k)?;
    if updates.len() != offsets.len() * inner {
        return Err(Error::length("scatter_nd", "updates", offsets.len() * inner, updates.len()));
    }
    let mut y = x.to_vec();
    for (o, part) in offsets.into_iter().zip(updates.chunks(inner.max(1))) {
        y[o..o + inner].iter_mut().zip(part).for_each(|(v, &u)| *v = combine(*v, u));
    }
    Ok(y)
}

/// A new axis of `depth` elements between the first `outer` indices' axes and the others: `on` where the index is, else `off`.
/// Indices outside `-depth .. depth` are nowhere.
pub fn one_hot<T: Copy>(indices: &[i64], inner: usize, depth: usize, off: T, on: T) -> Vec<T> {
    let mut y = vec![off; indices.len() * depth];
    for (i, &index) in indices.iter().enumerate() {
        if let Ok(p) = position(index, depth) {
            y[(i / inner * depth + p) * inner + i % inner] = on;
        }
    }
    y
}

/// Larger first (or smaller first), NaN as if larger than all numbers.
pub(crate) fn order<T: PartialOrd>(a: &T, b: &T, largest: bool) -> Ordering {
    #[allow(clippy::eq_op)]
    let ascending = a.partial_cmp(b).unwrap_or_else(|| (a != a).cmp(&(b != b)));
    if largest { ascending.reverse() } else { ascending }
}

/// The `k` largest or smallest of an axis, in order, and where they stood; of equals the first ones.
pub fn top_k<T: Copy + PartialOrd>(
    x: &[T],
    shape: &[usize],
    axis: usize,
    k: usize,
    largest: bool,
) -> (Vec<T>, Vec<i64>) {
    let outer: usize = shape[..axis].iter().product();
    let (extent, inner) = (shape[axis], shape[axis + 1..].iter().product::<usize>());
    let size = outer * k * inner;
    let (mut values, mut at) = (Vec::with_capacity(size), vec![0; size]);
    for o in 0..outer {
        for i in 0..inner {
            let element = |j: usize| x[(o * extent + j) * inner + i];
            let mut line: Vec<usize> = (0..extent).collect();
            line.sort_by(|&a, &b| order(&element(a), &element(b), largest));
            for (rank, &j) in line[..k].iter().enumerate() {
                at[(o * k + rank) * inner + i] = j as i64;
            }
        }
    }
    for (n, &j) in at.iter().enumerate() {
        let (o, i) = (n / (k * inner), n % inner);
        values.push(x[(o * extent + j as usize) * inner + i]);
    }
    (values, at)
}

/// Index tuples of the elements that are not 0, as `[rank, count]`.
pub fn non_zero<T: Copy + PartialEq + Default>(x: &[T], shape: &[usize]) -> Vec<i64> {
    let mut tuples = vec![Vec::new(); shape.len()];
    let mut next = x.iter();
    each_index(shape, |at| {
        if next.next().is_some_and(|&v| v != T::default()) {
            at.iter().zip(&mut tuples).for_each(|(&i, t)| t.push(i as i64));
        }
    });
    tuples.concat()
}

/// Running sums along an axis: floats in `f64`, integers wrapping.
pub fn cumulative_sum<T: Number>(x: &[T], shape: &[usize], axis: usize, exclusive: bool, reverse: bool) -> Vec<T> {
    let (extent, inner) = (shape[axis], shape[axis + 1..].iter().product::<usize>());
    let mut y = x.to_vec();
    for line in 0..if extent == 0 { 0 } else { x.len() / extent } {
        let base = line / inner * extent * inner + line % inner;
        let (mut float, mut int) = (0.0, 0i128);
        for j in 0..extent {
            let i = base + if reverse { extent - 1 - j } else { j } * inner;
            let before = if T::KIND == Kind::Float { T::from_f64(float) } else { T::from_i128(int) };
            float += x[i].to_f64();
            int = int.wrapping_add(x[i].to_i128());
            let after = if T::KIND == Kind::Float { T::from_f64(float) } else { T::from_i128(int) };
            y[i] = if exclusive { before } else { after };
        }
    }
    y
}

/// Running products along an axis: in f64 for floats, wrapping for integers.
pub fn cumulative_product<T: Number>(x: &[T], shape: &[usize], axis: usize, exclusive: bool, reverse: bool) -> Vec<T> {
    let (extent, inner) = (shape[axis], shape[axis + 1..].iter().product::<usize>());
    let mut y = x.to_vec();
    for line in 0..if extent == 0 { 0 } else { x.len() / extent } {
        let base = line / inner * extent * inner + line % inner;
        let (mut float, mut int) = (1.0, T::from_i128(1));
        for j in 0..extent {
            let i = base + if reverse { extent - 1 - j } else { j } * inner;
            let (next, before) = (x[i], if T::KIND == Kind::Float { T::from_f64(float) } else { int });
            float *= next.to_f64();
            int = T::from_i128(int.to_i128().wrapping_mul(next.to_i128()));
            let after = if T::KIND == Kind::Float { T::from_f64(float) } else { int };
            y[i] = if exclusive { before } else { after };
        }
    }
    y
}

/// The upper or lower triangle of matrices `[.., rows, columns]` from diagonal `k`; the rest is zero.
pub fn triangle<T: Copy + Default>(x: &[T], rows: usize, columns: usize, k: i64, upper: bool) -> Vec<T> {
    let keep = |i: usize| {
        let (r, c) = ((i / columns % rows) as i64, (i % columns) as i64);
        if upper { c - r >= k } else { c - r <= k }
    };
    x.iter().enumerate().map(|(i, &v)| if keep(i) { v } else { T::default() }).collect()
}

/// A matrix with `one` on diagonal `k`.
pub fn eye<T: Copy + Default>(rows: usize, columns: usize, k: i64, one: T) -> Vec<T> {
    let on = |i: usize| (i % columns) as i64 - (i / columns) as i64 == k;
    (0..rows * columns).map(|i| if on(i) { one } else { T::default() }).collect()
}
