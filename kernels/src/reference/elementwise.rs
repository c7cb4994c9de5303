//! Elementwise operators over broadcast shapes, one index at a time.

use crate::elementwise::{Binary, Compare, Number, Unary, cast as cast_one, compare as compare_one};

/// The shape that these broadcast to by the rules of NumPy, or `None` where they do not.
pub fn broadcast_shape(shapes: &[&[usize]]) -> Option<Vec<usize>> {
    let rank = shapes.iter().map(|s| s.len()).max().unwrap_or(0);
    let mut out = vec![1; rank];
    for s in shapes {
        for (o, &d) in out[rank - s.len()..].iter_mut().zip(*s) {
            if *o == 1 {
                *o = d;
            } else if d != 1 && d != *o {
                return None;
            }
        }
    }
    Some(out)
}

/// Offset in a tensor of `shape` of the element that broadcasts to linear position `at` of `out`.
pub fn source(out: &[usize], shape: &[usize], mut at: usize) -> usize {
    let (mut offset, mut stride) = (0, 1);
    let skipped = out.len() - shape.len();
    for axis in (0..out.len()).rev() {
        let index = at % out[axis];
        at /= out[axis];
        if axis >= skipped {
            let d = shape[axis - skipped];
            offset += stride * if d == 1 { 0 } else { index };
            stride *= d;
        }
    }
    offset
}

/// `f(a, b)` for every element of the common shape; `None` where the shapes do not broadcast.
pub fn zip<T: Copy, U: Copy, V>(a: (&[T], &[usize]), b: (&[U], &[usize]), f: impl Fn(T, U) -> V) -> Option<Vec<V>> {
    let out = broadcast_shape(&[a.1, b.1])?;
    let len = out.iter().product();
    Some((0..len).map(|i| f(a.0[source(&out, a.1, i)], b.0[source(&out, b.1, i)])).collect())
}

/// A binary operator; `None` where the shapes do not broadcast or the operator has no meaning on `T`.
pub fn binary<T: Number>(op: Binary, a: (&[T], &[usize]), b: (&[T], &[usize])) -> Option<Vec<T>> {
    op.defined_for(T::KIND).then(|| zip(a, b, |a, b| T::binary(op, a, b)))?
}

/// A comparison; `None` where the shapes do not broadcast.
pub fn compare<T: PartialOrd + Copy>(op: Compare, a: (&[T], &[usize]), b: (&[T], &[usize])) -> Option<Vec<bool>> {
    zip(a, b, |a, b| compare_one(op, a, b))
}

/// `a` where `condition` is true, else `b`; `None` where the shapes do not broadcast.
pub fn select<T: Copy>(condition: (&[bool], &[usize]), a: (&[T], &[usize]), b: (&[T], &[usize])) -> Option<Vec<T>> {
    let out = broadcast_shape(&[condition.1, a.1, b.1])?;
    let pick = |i| {
        if condition.0[source(&out, condition.1, i)] { a.0[source(&out, a.1, i)] } else { b.0[source(&out, b.1, i)] }
    };
    Some((0..out.iter().product()).map(pick).collect())
}

/// A unary operator; `None` where it has no meaning on `T`.
pub fn unary<T: Number>(op: Unary, x: &[T]) -> Option<Vec<T>> {
    op.defined_for(T::KIND).then(|| x.iter().map(|&v| T::unary(op, v)).collect())
}

/// `min(max(x, lo), hi)`; a missing bound bounds nothing, NaN stays, and the upper bound wins where they cross.
pub fn clip<T: PartialOrd + Copy>(x: &[T], lo: Option<T>, hi: Option<T>) -> Vec<T> {
    let low = |v| lo.map_or(v, |lo| if v < lo { lo } else { v });
    let high = |v| hi.map_or(v, |hi| if v > hi { hi } else { v });
    x.iter().map(|&v| high(low(v))).collect()
}

/// Every element in another type, by the rules of [`crate::elementwise::cast`].
pub fn cast<T: Number, U: Number>(x: &[T]) -> Vec<U> {
    x.iter().map(|&v| cast_one(v)).collect()
}

/// True where an element is NaN.
pub fn is_nan<T: Number>(x: &[T]) -> Vec<bool> {
    x.iter().map(|v| v.to_f64().is_nan()).collect()
}

/// True where an element is infinite with one of the wanted signs.
pub fn is_infinite<T: Number>(x: &[T], negative: bool, positive: bool) -> Vec<bool> {
    let wanted = |v: f64| (positive && v == f64::INFINITY) || (negative && v == f64::NEG_INFINITY);
    x.iter().map(|v| wanted(v.to_f64())).collect()
}
