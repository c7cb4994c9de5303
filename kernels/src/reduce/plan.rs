//! How a tensor is walked so that each group of elements comes together.

use crate::Error;
use crate::error::{Result, check_len};
use crate::par::{Parallel, for_each_part};

pub(super) const FILTER: &str = "reduce";

/// Axes that may remain after neighbouring ones were merged.
const MAX_AXES: usize = 12;

/// Elements read in one parallel chunk.
const CHUNK: usize = 16 * 1024;

/// Axes of a row-major tensor, those of extent 1 left out and neighbours of one sort merged.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Kept axes but for an innermost one: extent and step, outermost first.
    kept: Vec<(usize, usize)>,
    /// Reduced axes but for an innermost one: extent and step, outermost first.
    reduced: Vec<(usize, usize)>,
    /// Extent of the innermost axis, whose elements are neighbours.
    pub(super) row: usize,
    /// Whether the innermost axis is reduced.
    pub(super) row_reduced: bool,
    len: usize,
    outputs: usize,
    group: usize,
}

impl Plan {
    /// For a row-major tensor of `shape` that is reduced over `axes`; no axes make each element its own group.
    ///
    /// # Errors
    /// When an axis lies outside the shape or is named twice, or too many axes remain.
    pub fn new(shape: &[usize], axes: &[usize]) -> Result<Self> {
        for (i, a) in axes.iter().enumerate() {
            if *a >= shape.len() || axes[..i].contains(a) {
                return Err(Error::new(FILTER, format!("axes {axes:?} of a tensor of {} dimensions", shape.len())));
            }
        }
        let mut merged: Vec<(usize, usize, bool)> = Vec::new(); // extent, step, reduced; innermost first
        let mut step = 1;
        for (axis, &d) in shape.iter().enumerate().rev() {
            let reduced = axes.contains(&axis);
            if d != 1 {
                match merged.last_mut() {
                    Some(last) if last.2 == reduced => last.0 *= d,
                    _ => merged.push((d, step, reduced)),
                }
            }
            step *= d;
        }
        if merged.len() > MAX_AXES {
            let message = format!("{} axes cannot be merged, the limit is {MAX_AXES}", merged.len());
            return Err(Error::new(FILTER, message));
        }
        let (row, _, row_reduced) = merged.first().copied().unwrap_or((1, 1, true));
        let rest = &merged[merged.len().min(1)..];
        let of = |want: bool| rest.iter().rev().filter(|a| a.2 == want).map(|a| (a.0, a.1)).collect();
        let size = |want: bool| merged.iter().filter(|a| a.2 == want).map(|a| a.0).product();
        let (len, outputs, group) = (shape.iter().product(), size(false), size(true));
        Ok(Self { kept: of(false), reduced: of(true), row, row_reduced, len, outputs, group })
    }

    /// Elements of the result.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Elements that make one of the result.
    pub fn group(&self) -> usize {
        self.group
    }

    /// Elements of the result along the innermost kept run.
    fn run(&self) -> usize {
        if self.row_reduced { 1 } else { self.row }
    }

    /// Outputs of a parallel chunk: a multiple of sixteen, so that no vector is cut.
    pub(super) fn chunk(&self) -> usize {
        CHUNK.div_ceil(self.group.max(1)).next_multiple_of(16)
    }

    pub(super) fn check(&self, x: usize, y: usize) -> Result<()> {
        check_len(FILTER, "x", self.len, x)?;
        check_len(FILTER, "y", self.outputs, y)
    }

    /// Pieces of neighbouring outputs `from .. to`: one at a time where the innermost axis is reduced.
    #[inline(always)]
    pub(super) fn pieces(&self, from: usize, to: usize) -> Pieces<'_> {
        Pieces { plan: self, start: from, to }
    }

    /// The offset of every reduced row of a group whose first element is at `base` (or, where the innermost axis is kept, of
    /// every reduced element).
    #[inline(always)]
    pub(super) fn offsets(&self, base: usize) -> Offsets<'_> {
        let rows = if self.row_reduced { self.row.max(1) } else { 1 };
        Offsets { reduced: &self.reduced, index: [0; MAX_AXES], at: base, left: self.group / rows }
    }

    /// `y = finish(fold(init, step) over the group)` one element after the other.
    ///
    /// # Errors
    /// When a slice has the wrong length.
    pub fn fold<T: Copy + Sync, A: Copy + Sync, U: Send>(
        &self,
        x: &[T],
        y: &mut [U],
        par: &dyn Parallel,
        init: A,
        step: impl Fn(A, T) -> A + Sync,
        finish: impl Fn(A) -> U + Sync,
    ) -> Result<()> {
        self.check(x.len(), y.len())?;
        let chunk = self.chunk();
        for_each_part(par, y, chunk, &|i, part| {
            let base = i * chunk;
            let row = if self.row_reduced { self.row } else { 1 };
            for (start, n, offset) in self.pieces(base, base + part.len()) {
                for (j, y) in part[start - base..start - base + n].iter_mut().enumerate() {
                    let mut a = init;
                    for at in self.offsets(offset + j) {
                        a = x[at..at + row].iter().fold(a, |a, &v| step(a, v));
                    }
                    *y = finish(a);
                }
            }
        });
        Ok(())
    }
}

/// Pieces of neighbouring outputs: first output, count, offset of the first element of its group. An iterator rather than a
/// function that is given a closure, so that the loop body is compiled for the instruction set around it.
pub(super) struct Pieces<'a> {
    plan: &'a Plan,
    start: usize,
    to: usize,
}

impl Iterator for Pieces<'_> {
    type Item = (usize, usize, usize);

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        if self.start >= self.to {
            return None;
        }
        let run = self.plan.run().max(1);
        let (start, mut left, skip) = (self.start, self.start / run, self.start % run);
        let n = (run - skip).min(self.to - start);
        let mut offset = skip;
        for &(extent, step) in self.plan.kept.iter().rev() {
            offset += left % extent * step;
            left /= extent;
        }
        self.start += n;
        Some((start, n, offset))
    }
}

/// Offsets of the reduced rows of one group.
pub(super) struct Offsets<'a> {
    reduced: &'a [(usize, usize)],
    index: [usize; MAX_AXES],
    at: usize,
    left: usize,
}

impl Iterator for Offsets<'_> {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        let at = self.at;
        for (index, &(extent, step)) in self.index[..self.reduced.len()].iter_mut().zip(self.reduced).rev() {
            *index += 1;
            self.at += step;
            if *index < extent {
                break;
            }
            self.at -= step * extent;
            *index = 0;
        }
        Some(at)
    }
}

/// Index of the largest (or smallest) element along the middle axis of `x` `[outer, len, inner]`, the first or the last of
/// equals; NaN is beyond every number.
///
/// # Errors
/// When a slice has the wrong length or the axis has no elements.
#[allow(clippy::eq_op)] // NaN differs from itself.
pub fn arg<T: PartialOrd + Copy + Sync>(
    largest: bool,
    last: bool,
    [outer, len, inner]: [usize; 3],
    x: &[T],
    y: &mut [i64],
    par: &dyn Parallel,
) -> Result<()> {
    check_len(FILTER, "x", outer * len * inner, x.len())?;
    check_len(FILTER, "y", outer * inner, y.len())?;
    if len == 0 && !y.is_empty() {
        return Err(Error::new(FILTER, "an axis without elements has no largest one"));
    }
    let better = |a: T, b: T| if largest { a > b } else { a < b };
    let beyond = |a: T, b: T| b == b && (a != a || better(a, b));
    for_each_part(par, y, inner, &|o, y| {
        let x = &x[o * len * inner..(o + 1) * len * inner];
        for (i, y) in y.iter_mut().enumerate() {
            let at = |k: usize| x[k * inner + i];
            let next = |best, k| if beyond(at(k), at(best)) || (last && !beyond(at(best), at(k))) { k } else { best };
            *y = (1..len).fold(0, next) as i64;
        }
    });
    Ok(())
}
