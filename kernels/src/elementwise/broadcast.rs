//! How several operands are walked together: the plan behind every broadcasting operator.

use crate::error::{Result, check_len};
use crate::par::{Parallel, for_each_part};
use crate::{Error, reference::elementwise::broadcast_shape};

/// Axes that may remain after neighbouring ones were merged.
pub const MAX_AXES: usize = 12;

/// Elements of one parallel chunk.
pub(super) const CHUNK: usize = 16 * 1024;

/// `K` operands broadcast to one row-major result. Axes along which all operands advance evenly are merged, so that equal
/// shapes become one long row, and a vector per channel becomes rows with a constant.
#[derive(Clone, Debug)]
pub struct Broadcast<const K: usize> {
    filter: &'static str,
    /// Extents of all but the innermost axis, outermost first.
    outer: Vec<usize>,
    /// Extent of the innermost axis: the length of a row.
    row: usize,
    /// Steps of each operand along `outer`, then along the row.
    strides: [Vec<usize>; K],
    /// Elements that each operand must have.
    lens: [usize; K],
    len: usize,
}

impl<const K: usize> Broadcast<K> {
    /// For row-major operands of these shapes, by the rules of NumPy.
    ///
    /// # Errors
    /// When the shapes do not broadcast, or more than [`MAX_AXES`] axes remain.
    pub fn new(filter: &'static str, shapes: [&[usize]; K]) -> Result<Self> {
        let Some(out) = broadcast_shape(&shapes) else {
            return Err(Error::new(filter, format!("shapes {shapes:?} do not broadcast")));
        };
        let strides = shapes.map(|s| {
            let mut strides = vec![0; out.len()];
            let mut step = 1;
            for axis in (0..s.len()).rev() {
                strides[out.len() - s.len() + axis] = if s[axis] == 1 { 0 } else { step };
                step *= s[axis];
            }
            strides
        });
        Self::strided(filter, &out, &strides, shapes.map(|s| s.iter().product()))
    }

    /// For a row-major result of shape `out` and operands of `lens` elements that advance by `strides` along its axes.
    ///
    /// # Errors
    /// When an operand would be read past its end, or more than [`MAX_AXES`] axes remain.
    pub fn strided(filter: &'static str, out: &[usize], strides: &[Vec<usize>; K], lens: [usize; K]) -> Result<Self> {
        let len = out.iter().product();
        for (k, s) in strides.iter().enumerate() {
            let last: usize = out.iter().zip(s).map(|(&d, &s)| d.saturating_sub(1) * s).sum();
            if s.len() != out.len() || (len > 0 && last >= lens[k]) {
                let message = format!("operand {k} of {} elements: steps {s:?} leave it within {out:?}", lens[k]);
                return Err(Error::new(filter, message));
            }
        }
        // (extent, step of each operand), innermost first
        let mut axes: Vec<(usize, [usize; K])> = Vec::new();
        for axis in (0..out.len()).rev().filter(|&a| out[a] != 1) {
            let step: [usize; K] = std::array::from_fn(|k| strides[k][axis]);
            match axes.last_mut() {
                Some((d, inner)) if (0..K).all(|k| step[k] == inner[k] * *d) => *d *= out[axis],
                _ => axes.push((out[axis], step)),
            }
        }
        if axes.len() > MAX_AXES {
            return Err(Error::new(filter, format!("{} axes cannot be merged, the limit is {MAX_AXES}", axes.len())));
        }
        axes.reverse();
        let (row, _) = axes.last().copied().unwrap_or((1, [0; K]));
        let outer = axes[..axes.len().saturating_sub(1)].iter().map(|a| a.0).collect();
        let strides =
            std::array::from_fn(|k| if axes.is_empty() { vec![0] } else { axes.iter().map(|a| a.1[k]).collect() });
        Ok(Self { filter, outer, row, strides, lens, len })
    }

    /// Elements of the result.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when the result is empty.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Steps of the operands along a row.
    pub(super) fn steps(&self) -> [usize; K] {
        std::array::from_fn(|k| self.strides[k][self.outer.len()])
    }

    /// True when operand `k` has the elements of the result in their order, so that the result can take its place.
    pub fn aligned(&self, k: usize) -> bool {
        let mut natural = 1;
        let extents = self.outer.iter().chain(std::iter::once(&self.row));
        let pairs: Vec<_> = extents.zip(&self.strides[k]).collect();
        self.lens[k] == self.len
            && pairs.iter().rev().all(|&(&d, &step)| {
                let fits = d == 1 || step == natural;
                natural *= d;
                fits
            })
    }

    /// Checks the lengths of operands and result.
    pub(super) fn check(&self, operands: [usize; K], y: usize) -> Result<()> {
        const NAMES: [&str; 3] = ["a", "b", "c"];
        for k in 0..K {
            check_len(self.filter, NAMES[k], self.lens[k], operands[k])?;
        }
        check_len(self.filter, "y", self.len, y)
    }

    /// Row pieces of `from .. to` of the result.
    #[inline(always)]
    pub(super) fn rows(&self, from: usize, to: usize) -> Rows<'_, K> {
        let row = self.row.max(1);
        let mut index = [0; MAX_AXES];
        let mut left = from / row;
        for axis in (0..self.outer.len()).rev() {
            index[axis] = left % self.outer[axis].max(1);
            left /= self.outer[axis].max(1);
        }
        let at = std::array::from_fn(|k| (0..self.outer.len()).map(|a| index[a] * self.strides[k][a]).sum());
        Rows { plan: self, index, at, start: from, skip: from % row, to }
    }

    /// Elements of a parallel chunk: whole rows where rows are short.
    pub(super) fn chunk(&self) -> usize {
        if self.row >= CHUNK { CHUNK } else { CHUNK / self.row.max(1) * self.row.max(1) }
    }
}

/// Row pieces of a result: start, length, start of each operand. An iterator rather than a function that is given a closure, so
/// that the loop body is compiled for the instruction set around it.
pub(super) struct Rows<'a, const K: usize> {
    plan: &'a Broadcast<K>,
    index: [usize; MAX_AXES],
    at: [usize; K],
    start: usize,
    skip: usize,
    to: usize,
}

impl<const K: usize> Iterator for Rows<'_, K> {
    type Item = (usize, usize, [usize; K]);

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        if self.start >= self.to {
            return None;
        }
        let plan = self.plan;
        let n = (plan.row - self.skip).min(self.to - self.start);
        let steps = plan.steps();
        let mut first = self.at;
        for k in 0..K {
            first[k] += self.skip * steps[k];
        }
        let item = (self.start, n, first);
        self.start += n;
        self.skip = 0;
        for axis in (0..plan.outer.len()).rev() {
            self.index[axis] += 1;
            for k in 0..K {
                self.at[k] += plan.strides[k][axis];
            }
            if self.index[axis] < plan.outer[axis] {
                break;
            }
            for k in 0..K {
                self.at[k] -= plan.strides[k][axis] * self.index[axis];
            }
            self.index[axis] = 0;
        }
        Some(item)
    }
}

impl Broadcast<1> {
    /// `y = f(a)`.
    ///
    /// # Errors
    /// When a slice has the wrong length.
    pub fn map<A: Copy + Sync, Y: Send>(
        &self,
        a: &[A],
        y: &mut [Y],
        par: &dyn Parallel,
        f: impl Fn(A) -> Y + Sync,
    ) -> Result<()> {
        self.check([a.len()], y.len())?;
        let [sa] = self.steps();
        let chunk = self.chunk();
        for_each_part(par, y, chunk, &|i, part| {
            let base = i * chunk;
            for (start, n, [a0]) in self.rows(base, base + part.len()) {
                let row = &mut part[start - base..start - base + n];
                if sa == 1 {
                    row.iter_mut().zip(&a[a0..a0 + n]).for_each(|(y, &a)| *y = f(a));
                } else {
                    row.iter_mut().enumerate().for_each(|(j, y)| *y = f(a[a0 + j * sa]));
                }
            }
        });
        Ok(())
    }
}

impl Broadcast<2> {
    /// `y = f(a, b)`.
    ///
    /// # Errors
    /// When a slice has the wrong length.
    pub fn zip<A: Copy + Sync, B: Copy + Sync, Y: Send>(
        &self,
        a: &[A],
        b: &[B],
        y: &mut [Y],
        par: &dyn Parallel,
        f: impl Fn(A, B) -> Y + Sync,
    ) -> Result<()> {
        self.check([a.len(), b.len()], y.len())?;
        let [sa, sb] = self.steps();
        let chunk = self.chunk();
        for_each_part(par, y, chunk, &|i, part| {
            let base = i * chunk;
            for (start, n, [a0, b0]) in self.rows(base, base + part.len()) {
                let row = &mut part[start - base..start - base + n];
                match (sa, sb) {
                    (1, 1) => {
                        let (a, b) = (&a[a0..a0 + n], &b[b0..b0 + n]);
                        row.iter_mut().zip(a).zip(b).for_each(|((y, &a), &b)| *y = f(a, b));
                    }
                    (1, 0) => row.iter_mut().zip(&a[a0..a0 + n]).for_each(|(y, &a)| *y = f(a, b[b0])),
                    (0, 1) => row.iter_mut().zip(&b[b0..b0 + n]).for_each(|(y, &b)| *y = f(a[a0], b)),
                    _ => row.iter_mut().enumerate().for_each(|(j, y)| *y = f(a[a0 + j * sa], b[b0 + j * sb])),
                }
            }
        });
        Ok(())
    }
}

impl Broadcast<3> {
    /// `y = f(a, b, c)`.
    ///
    /// # Errors
    /// When a slice has the wrong length.
    pub fn zip<A: Copy + Sync, B: Copy + Sync, C: Copy + Sync, Y: Send>(
        &self,
        a: &[A],
        b: &[B],
        c: &[C],
        y: &mut [Y],
        par: &dyn Parallel,
        f: impl Fn(A, B, C) -> Y + Sync,
    ) -> Result<()> {
        self.check([a.len(), b.len(), c.len()], y.len())?;
        let [sa, sb, sc] = self.steps();
        let chunk = self.chunk();
        for_each_part(par, y, chunk, &|i, part| {
            let base = i * chunk;
            for (start, n, [a0, b0, c0]) in self.rows(base, base + part.len()) {
                let row = &mut part[start - base..start - base + n];
                if (sa, sb, sc) == (1, 1, 1) {
                    let operands = a[a0..a0 + n].iter().zip(&b[b0..b0 + n]).zip(&c[c0..c0 + n]);
                    row.iter_mut().zip(operands).for_each(|(y, ((&a, &b), &c))| *y = f(a, b, c));
                } else {
                    let one = |j: usize| f(a[a0 + j * sa], b[b0 + j * sb], c[c0 + j * sc]);
                    row.iter_mut().enumerate().for_each(|(j, y)| *y = one(j));
                }
            }
        });
        Ok(())
    }
}
