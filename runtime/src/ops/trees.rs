//! Ensembles of decision trees.

use super::attrs::{attr_enum, attributes};
use super::elementwise::{cast, operand};
use super::infer::{Infer, ValueType};
use super::operands::{integers, shape};
use super::{Evaluate, Operator};
use crate::{DType, Dim, Error, Result, Tensor};

attr_enum! {
    /// How the trees' values become one.
    pub enum Aggregate {
        /// Their sum.
        #[default] Sum = "sum",
        /// Their mean.
        Mean = "mean",
        /// The smallest.
        Min = "min",
        /// The largest.
        Max = "max",
    }
}

attributes! {
    /// Trees that each give values to targets. Inputs:
    /// `x [N, F]` or `[F]`;
    /// `nodes` i64 `[M, 4]`: the feature that is looked at, the test (0 `<=`, 1 `<`, 2 `>=`, 3 `>`, 4 `==`, 5 `!=`, 6 member of a set), where to go on when it
    /// holds and when not: a node, or -1 - leaf;
    /// `values` f64 `[M]`: what it is compared with, or the number of a set;
    /// `roots` i64 `[T]`: the first step of each tree, as in `nodes`;
    /// `leaves` i64 `[L, 2]`: first entry and number of entries;
    /// `targets` i64 `[W]` and `weights` f64 `[W]`: the entries;
    /// `sets` i64 `[S, 2]` and `members` f64 `[K]`: first member and number of members of each set.
    /// Where a feature is NaN, a test holds if its node is marked in `missing` (i64 `[M]`, 0 or 1). Output `[N, targets]` of the type of `x`.
    pub struct TreeEnsemble {
        /// Number of targets.
        pub targets: usize = 1,
        /// How the trees' values become one.
        pub aggregate: Aggregate = Aggregate::Sum,
        /// Element type of the output: a float.
        pub dtype: DType = DType::F32,
    }
}

/// The trees, checked: every step leads forward to a node that comes later, or to a leaf.
struct Trees<'a> {
    nodes: &'a [[i64; 4]],
    values: &'a [f64],
    missing: &'a [i64],
    leaves: &'a [[i64; 2]],
    sets: &'a [[i64; 2]],
    members: &'a [f64],
}

impl Trees<'_> {
    fn holds(&self, node: usize, x: f64) -> bool {
        if x.is_nan() {
            return self.missing[node] != 0;
        }
        let v = self.values[node];
        match self.nodes[node][1] {
            0 => x <= v,
            1 => x < v,
            2 => x >= v,
            3 => x > v,
            4 => x == v,
            5 => x != v,
            _ => {
                let [start, len] = self.sets[v as usize];
                self.members[start as usize..][..len as usize].contains(&x)
            }
        }
    }

    /// The leaf that a row reaches.
    fn leaf(&self, root: i64, row: &[f64]) -> Result<[i64; 2]> {
        let mut at = root;
        // No path is longer than there are nodes.
        for _ in 0..=self.nodes.len() {
            let Ok(node) = usize::try_from(at) else { return Ok(self.leaves[(-1 - at) as usize]) };
            let [feature, _, yes, no] = self.nodes[node];
            at = if self.holds(node, row[feature as usize]) { yes } else { no };
        }
        Err(Error::graph("a tree leads back to itself"))
    }

    /// Checks every number that is used as a position.
    fn check(&self, roots: &[i64], features: usize, entries: usize) -> Result<()> {
        let wrong = |what: &str, i: usize| Err(Error::graph(format!("{what} {i} of the trees lies outside its table")));
        let step = |at: i64| match usize::try_from(at) {
            Ok(node) => node < self.nodes.len(),
            Err(_) => usize::try_from(-1 - at).is_ok_and(|leaf| leaf < self.leaves.len()),
        };
        let range = |r: &[i64; 2], len: usize| {
            let part = usize::try_from(r[0]).ok().zip(usize::try_from(r[1]).ok());
            part.and_then(|(a, n)| a.checked_add(n)).is_some_and(|end| end <= len)
        };
        if let Some(i) = roots.iter().position(|&r| !step(r)) {
            return wrong("root", i);
        }
        for (i, &[feature, test, yes, no]) in self.nodes.iter().enumerate() {
            let set = test != 6 || (self.values[i] >= 0.0 && self.values[i] < self.sets.len() as f64);
            let inside = usize::try_from(feature).is_ok_and(|f| f < features);
            if !inside || !(0..=6).contains(&test) || !step(yes) || !step(no) || !set {
                return wrong("node", i);
            }
        }
        if let Some(i) = self.leaves.iter().position(|l| !range(l, entries)) {
            return wrong("leaf", i);
        }
        match self.sets.iter().position(|s| !range(s, self.members.len())) {
            Some(i) => wrong("set", i),
            None => Ok(()),
        }
    }
}

/// Rows of a matrix of integers.
fn rows<const N: usize>(inputs: &[Option<&Tensor>], i: usize) -> Result<Vec<[i64; N]>> {
    let all = integers(inputs, i)?;
    if !all.len().is_multiple_of(N) {
        return Err(Error::graph(format!("input {i}: expected rows of {N}, found {} numbers", all.len())));
    }
    Ok(all.chunks_exact(N).map(|c| std::array::from_fn(|k| c[k])).collect())
}

impl Operator for TreeEnsemble {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let x = cx.ty(0)?;
        (1..10).try_for_each(|i| cx.ty(i).map(|_| ()))?;
        let rows = match x.shape.as_slice() {
            [_] => Dim::from(1),
            [n, _] => n.clone(),
            _ => return Err(Error::graph(format!("input 0: expected [F] or [N, F], found {x}"))),
        };
        if !self.dtype.is_float() {
            return Err(Error::graph(format!("expected a type of floats, found {}", self.dtype)));
        }
        Ok(vec![ValueType::new(self.dtype, [rows, Dim::from(self.targets)])])
    }
}

impl Evaluate for TreeEnsemble {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let out = shape(self, inputs)?;
        let x = operand(inputs, 0)?;
        let float = |i: usize| operand(inputs, i).map(Tensor::to_f64);
        let (nodes, values, roots) = (rows::<4>(inputs, 1)?, float(2)?, integers(inputs, 3)?);
        let (leaves, targets, weights) = (rows::<2>(inputs, 4)?, integers(inputs, 5)?, float(6)?);
        let (sets, members, missing) = (rows::<2>(inputs, 7)?, float(8)?, integers(inputs, 9)?);
        let features = x.shape()[x.rank() - 1];
        let inside = |t: &i64| usize::try_from(*t).is_ok_and(|t| t < self.targets);
        let lengths = values.len() == nodes.len() && missing.len() == nodes.len() && targets.len() == weights.len();
        if !lengths || !targets.iter().all(inside) {
            return Err(Error::graph("the tables of the trees do not fit together"));
        }
        let trees = Trees {
            nodes: &nodes,
            values: &values,
            missing: &missing,
            leaves: &leaves,
            sets: &sets,
            members: &members,
        };
        trees.check(&roots, features, weights.len())?;
        let mut y = vec![0.0f64; out.iter().product()];
        for (row, y) in x.to_f64().chunks_exact(features.max(1)).zip(y.chunks_exact_mut(self.targets.max(1))) {
            let mut seen = vec![false; y.len()];
            for &root in &roots {
                let [start, len] = trees.leaf(root, row)?;
                let entries = start as usize..(start + len) as usize;
                for (&t, &w) in targets[entries.clone()].iter().zip(&weights[entries]) {
                    let t = t as usize;
                    y[t] = match self.aggregate {
                        Aggregate::Sum | Aggregate::Mean => y[t] + w,
                        Aggregate::Min if seen[t] => y[t].min(w),
                        Aggregate::Max if seen[t] => y[t].max(w),
                        Aggregate::Min | Aggregate::Max => w,
                    };
                    seen[t] = true;
                }
            }
            if self.aggregate == Aggregate::Mean {
                y.iter_mut().for_each(|v| *v /= roots.len().max(1) as f64);
            }
        }
        Ok(vec![cast(&Tensor::new(&out, y)?, self.dtype)?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `x0 <= 1 ? leaf 0 : (x1 in {2, 5} ? leaf 1 : leaf 0)`
    fn run(x: &[f32], root: i64) -> Result<Vec<Tensor>> {
        let ints = |shape: &[usize], v: &[i64]| Tensor::new(shape, v.to_vec()).unwrap();
        let x = Tensor::new(&[x.len() / 2, 2], x.to_vec()).unwrap();
        let nodes = ints(&[2, 4], &[0, 0, -1, 1, 1, 6, -2, -1]);
        let tables = [
            x,
            nodes,
            Tensor::vector(&[1.0f64, 0.0]),
            ints(&[1], &[root]),
            ints(&[2, 2], &[0, 1, 1, 1]),
            ints(&[2], &[0, 1]),
            Tensor::vector(&[10.0f64, 20.0]),
            ints(&[1, 2], &[0, 2]),
            Tensor::vector(&[2.0f64, 5.0]),
            ints(&[2], &[0, 1]),
        ];
        let inputs: Vec<Option<&Tensor>> = tables.iter().map(Some).collect();
        TreeEnsemble { targets: 2, ..TreeEnsemble::default() }.eval(&inputs, 1)
    }

    #[test]
    fn rows_reach_their_leaves() {
        let y = run(&[0.0, 0.0, 2.0, 5.0, 2.0, 3.0, 2.0, f32::NAN], 0).unwrap();
        assert_eq!(y[0].to_f32(), [10.0, 0.0, 0.0, 20.0, 10.0, 0.0, 0.0, 20.0]);
    }

    #[test]
    fn a_step_out_of_the_table_is_an_error() {
        assert!(run(&[0.0, 0.0], 7).is_err());
        assert!(run(&[0.0, 0.0], -9).is_err());
    }
}
