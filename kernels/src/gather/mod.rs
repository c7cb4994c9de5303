//! Elements chosen, or written, by index.

use crate::error::{Error, Result, check_len};

/// An index that counts from the end where it is negative, as a position of an axis of `extent` elements.
///
/// # Errors
/// When it lies outside `-extent .. extent`.
pub fn position(index: i64, extent: usize) -> Result<usize> {
    let from_end = if index < 0 { index.checked_add_unsigned(extent as u64) } else { Some(index) };
    from_end
        .and_then(|i| usize::try_from(i).ok())
        .filter(|&i| i < extent)
        .ok_or_else(|| Error::new("gather", format!("index {index} is outside an axis of {extent} elements")))
}

/// Slices along an axis: `x [outer, extent, inner]` and `count` indices give `[outer, count, inner]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gather {
    outer: usize,
    extent: usize,
    inner: usize,
    count: usize,
}

impl Gather {
    /// For a dense tensor and `count` indices into one of its axes.
    ///
    /// # Errors
    /// When there is no such axis.
    pub fn new(shape: &[usize], axis: usize, count: usize) -> Result<Self> {
        if axis >= shape.len() {
            return Err(Error::new("gather", format!("axis {axis} of a tensor of shape {shape:?}")));
        }
        let (outer, inner) = (shape[..axis].iter().product(), shape[axis + 1..].iter().product());
        Ok(Self { outer, extent: shape[axis], inner, count })
    }

    /// Copies the slices.
    ///
    /// # Errors
    /// When an index lies outside the axis or a slice has the wrong length.
    pub fn apply<T: Copy, I: Copy + Into<i64>>(&self, x: &[T], indices: &[I], y: &mut [T]) -> Result<()> {
        let Self { outer, extent, inner, count } = *self;
        check_len("gather", "x", outer * extent * inner, x.len())?;
        check_len("gather", "indices", count, indices.len())?;
        check_len("gather", "y", outer * count * inner, y.len())?;
        for o in 0..outer {
            let from = &x[o * extent * inner..(o + 1) * extent * inner];
            let to = &mut y[o * count * inner..(o + 1) * count * inner];
            if inner == 1 {
                for (v, &i) in to.iter_mut().zip(indices) {
                    *v = from[position(i.into(), extent)?];
                }
            } else {
                for (j, &i) in indices.iter().enumerate() {
                    let i = position(i.into(), extent)?;
                    to[j * inner..(j + 1) * inner].copy_from_slice(&from[i * inner..(i + 1) * inner]);
                }
            }
        }
        Ok(())
    }
}
