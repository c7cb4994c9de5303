//! Elements chosen by one table an axis: padding of every mode, nearest resampling.

use crate::error::{Error, Result, check_len};
use crate::par::{Parallel, for_each_part};

const FILTER: &str = "selection";

/// Most axes.
const AXES: usize = 8;

/// The entry of a table that stands for the constant.
const NONE: u32 = u32::MAX;

/// `y[i, j, ..] = x[tables[0][i], tables[1][j], ..]`, and a constant where any entry is `None`.
#[derive(Clone, Debug)]
pub struct Select {
    /// Offsets into `x` for every entry of every axis but the last, one axis after the other.
    tables: Vec<Vec<u32>>,
    /// Entries of the last axis, as runs of neighbours: first entry, length, first element of `x`.
    runs: Vec<(u32, u32, u32)>,
    row: usize,
    lengths: (usize, usize),
}

impl Select {
    /// A selection from a dense tensor. The output's extents are the lengths of the tables.
    ///
    /// # Errors
    /// When there are not as many tables as axes, an entry lies outside, or the tensor has 2^32 elements or more.
    pub fn new(shape: &[usize], tables: &[Vec<Option<usize>>]) -> Result<Self> {
        let len = shape.iter().try_fold(1usize, |a, &b| a.checked_mul(b)).filter(|&n| n < NONE as usize);
        let out = tables.iter().try_fold(1usize, |a, t| a.checked_mul(t.len()));
        let (Some(len), Some(out)) = (len, out) else {
            return Err(Error::new(FILTER, format!("a tensor of shape {shape:?} is too large")));
        };
        if tables.len() != shape.len() || shape.is_empty() || shape.len() > AXES {
            let message =
                format!("expected a table for each of 1 to {AXES} axes, found {} for {shape:?}", tables.len());
            return Err(Error::new(FILTER, message));
        }
        let mut step = 1;
        let mut offsets = Vec::with_capacity(shape.len());
        for (a, (table, &extent)) in tables.iter().zip(shape).enumerate().rev() {
            if let Some(i) = table.iter().flatten().find(|&&i| i >= extent) {
                return Err(Error::new(FILTER, format!("axis {a}: entry {i} of {extent} elements")));
            }
            offsets.push(table.iter().map(|t| t.map_or(NONE, |i| (i * step) as u32)).collect::<Vec<u32>>());
            step *= extent;
        }
        let runs = runs(&offsets[0]);
        offsets.remove(0);
        offsets.reverse();
        Ok(Self { tables: offsets, runs, row: tables[shape.len() - 1].len(), lengths: (len, out) })
    }

    /// Chooses the elements.
    ///
    /// # Errors
    /// When a tensor has the wrong length.
    pub fn apply<T: Copy + Send + Sync>(&self, x: &[T], y: &mut [T], fill: T, par: &dyn Parallel) -> Result<()> {
        check_len(FILTER, "x", self.lengths.0, x.len())?;
        check_len(FILTER, "y", self.lengths.1, y.len())?;
        if y.is_empty() {
            return Ok(());
        }
        let rows = self.lengths.1 / self.row;
        let many = rows.div_ceil(par.threads() * 4);
        for_each_part(par, y, many * self.row, &|chunk, part| {
            for (r, line) in part.chunks_exact_mut(self.row).enumerate() {
                let mut left = chunk * many + r;
                let mut base = Some(0usize);
                for table in self.tables.iter().rev() {
                    let entry = table[left % table.len()];
                    left /= table.len();
                    base = base.filter(|_| entry != NONE).map(|b| b + entry as usize);
                }
                match base {
                    None => line.fill(fill),
                    Some(base) => self.line(&x[base..], line, fill),
                }
            }
        });
        Ok(())
    }

    /// One line of the last axis.
    fn line<T: Copy>(&self, x: &[T], y: &mut [T], fill: T) {
        for &(at, len, from) in &self.runs {
            let part = &mut y[at as usize..(at + len) as usize];
            if from == NONE {
                part.fill(fill);
            } else if let [one] = part {
                *one = x[from as usize];
            } else {
                part.copy_from_slice(&x[from as usize..(from + len) as usize]);
            }
        }
    }
}

/// Entries as runs of neighbours, or of the constant.
fn runs(entries: &[u32]) -> Vec<(u32, u32, u32)> {
    let mut out: Vec<(u32, u32, u32)> = Vec::new();
    for (i, &e) in entries.iter().enumerate() {
        match out.last_mut() {
            Some((_, len, from))
                if (*from == NONE && e == NONE) || (*from != NONE && e != NONE && e == *from + *len) =>
            {
                *len += 1;
            }
            _ => out.push((i as u32, 1, e)),
        }
    }
    out
}
