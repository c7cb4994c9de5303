//! Counting n-grams.

use super::{CountNgrams, Weighting};
use crate::ops::elementwise::operand;
use crate::ops::infer::{Infer, ValueType};
use crate::ops::operands::integers;
use crate::ops::{Evaluate, Operator, Takes};
use crate::{DType, Dim, Error, Result, Tensor};
use std::collections::HashMap;

impl CountNgrams {
    /// The n-grams of the pool that count, by their entries: which one each is.
    fn known<'p>(&self, pool: &'p [i64], starts: &[i64]) -> Result<HashMap<&'p [i64], usize>> {
        let wrong = || Error::graph(format!("the starts {starts:?} do not cut a pool of {} entries", pool.len()));
        let mut known = HashMap::new();
        let mut number = 0;
        for (i, &start) in starts.iter().enumerate() {
            let size = i + 1;
            let end = starts.get(size).copied().unwrap_or(pool.len() as i64);
            let (start, end) =
                (usize::try_from(start).map_err(|_| wrong())?, usize::try_from(end).map_err(|_| wrong())?);
            let part = pool.get(start..end).filter(|p| p.len().is_multiple_of(size)).ok_or_else(wrong)?;
            for gram in part.chunks_exact(size) {
                if (self.shortest..=self.longest).contains(&size) {
                    known.insert(gram, number);
                }
                number += 1;
            }
        }
        Ok(known)
    }

    /// Counts of all n-grams of one row, added to `counts`.
    fn row(&self, row: &[i64], known: &HashMap<&[i64], usize>, counts: &mut [f32]) {
        let mut gram = Vec::new();
        for size in self.shortest.max(1)..=self.longest {
            // The entries of one alone have nothing between them.
            let steps = if size == 1 { 0 } else { self.skip };
            for step in 1..=steps + 1 {
                let span = (size - 1).saturating_mul(step);
                for start in 0..row.len().saturating_sub(span) {
                    gram.clear();
                    gram.extend((0..size).map(|k| row[start + k * step]));
                    if let Some(&i) = known.get(gram.as_slice()) {
                        counts[i] += 1.0;
                    }
                }
            }
        }
    }
}

impl Operator for CountNgrams {
    fn takes(&self) -> Takes {
        Takes::Moved
    }
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let x = cx.ty(0)?;
        cx.expect_dtype(1, x.dtype)?;
        if !matches!(x.shape.len(), 1 | 2) || x.dtype.is_float() {
            return Err(Error::graph(format!("input 0: expected integers or text of shape [C] or [N, C], found {x}")));
        }
        if self.longest > 64 || self.skip > 1 << 20 || self.shortest > self.longest {
            return Err(Error::graph("expected n-grams of at most 64 entries and a skip of at most 2^20"));
        }
        let width = cx.integers(3).and_then(|c| c.into_iter().max()).map(|m| Dim::signed(m.saturating_add(1).max(0)));
        let mut shape = x.shape[..x.shape.len() - 1].to_vec();
        shape.push(width.unwrap_or_else(Dim::unknown));
        Ok(vec![ValueType::new(DType::F32, shape)])
    }
}

impl Evaluate for CountNgrams {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let x = operand(inputs, 0)?;
        let (rows, pool) = (x.to_i64()?, integers(inputs, 1)?);
        let (starts, columns) = (integers(inputs, 2)?, integers(inputs, 3)?);
        let known = self.known(&pool, &starts)?;
        let grams = known.values().max().map_or(0, |m| m + 1);
        let weights = match inputs.get(4).copied().flatten() {
            Some(w) => w.to_f32(),
            None => vec![1.0; columns.len()],
        };
        if columns.len() < grams || weights.len() < grams || columns.iter().any(|&c| c < 0) {
            return Err(Error::graph(format!("expected a column and a weight for each of {grams} n-grams")));
        }
        let width = columns.iter().max().map_or(0, |&m| m as usize + 1);
        let shape = [&x.shape()[..x.rank() - 1], &[width]].concat();
        let mut out = vec![0.0f32; crate::checked_bytes(DType::F32, &shape)? / 4];
        let length = x.shape()[x.rank() - 1];
        for (i, y) in out.chunks_exact_mut(width.max(1)).enumerate() {
            let mut counts = vec![0.0f32; grams];
            self.row(&rows[i * length..(i + 1) * length], &known, &mut counts);
            for (g, &n) in counts.iter().enumerate().filter(|c| *c.1 > 0.0) {
                y[columns[g] as usize] = match self.weighting {
                    Weighting::Count => n,
                    Weighting::Weight => weights[g],
                    Weighting::Product => n * weights[g],
                };
            }
        }
        Ok(vec![Tensor::new(&shape, out)?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_found_across_skipped_entries() {
        let x = Tensor::vector(&[1i64, 2, 1, 3]);
        let (pool, starts) = (Tensor::vector(&[1i64, 3, 1, 3]), Tensor::vector(&[0i64, 2]));
        let columns = Tensor::vector(&[2i64, 0, 1]);
        let count = |skip| {
            let op = CountNgrams { shortest: 1, longest: 2, skip, ..CountNgrams::default() };
            op.eval(&[Some(&x), Some(&pool), Some(&starts), Some(&columns)], 1).unwrap()[0].to_f32()
        };
        assert_eq!(count(0), [1.0, 1.0, 2.0]);
        assert_eq!(count(2), [1.0, 2.0, 2.0]);
    }
}
