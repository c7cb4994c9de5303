//! Sums of products over named axes.

use crate::ops::conv::agree;
use crate::{DType, Dim, Error, Result, Tensor, tensor::checked_len};
use std::collections::BTreeMap;

/// Axes of an equation: a letter, or the `n`-th axis of an ellipsis counted from its end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Axis {
    Rest(std::cmp::Reverse<usize>),
    Letter(char),
}

struct Equation {
    inputs: Vec<Vec<Axis>>,
    output: Vec<Axis>,
}

impl Equation {
    /// Parses an equation for operands of these ranks.
    fn parse(text: &str, ranks: &[usize]) -> Result<Self> {
        let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let (left, right) = match text.split_once("->") {
            Some((l, r)) => (l, Some(r)),
            None => (text.as_str(), None),
        };
        let terms: Vec<&str> = left.split(',').collect();
        if terms.len() != ranks.len() {
            let message = format!("equation `{text}` has {} operands, the node has {}", terms.len(), ranks.len());
            return Err(Error::graph(message));
        }
        let inputs =
            terms.iter().zip(ranks).map(|(t, &r)| term(&text, t, Some(r))).collect::<Result<Vec<Vec<Axis>>>>()?;
        let rest =
            inputs.iter().flatten().filter(|a| matches!(a, Axis::Rest(_))).collect::<std::collections::BTreeSet<_>>();
        let rest: Vec<Axis> = rest.into_iter().copied().collect();
        let output: Vec<Axis> = if let Some(right) = right {
            let letters = term(&text, &right.replacen("...", "", 1), None)?;
            let at = right.find("...").map_or(0, |i| i);
            let rest = if right.contains("...") { rest } else { Vec::new() };
            letters[..at].iter().chain(&rest).chain(&letters[at..]).copied().collect()
        } else {
            let mut counts = BTreeMap::new();
            inputs.iter().flatten().for_each(|&a| *counts.entry(a).or_insert(0) += 1);
            counts.into_iter().filter(|(a, n)| *n == 1 || matches!(a, Axis::Rest(_))).map(|(a, _)| a).collect()
        };
        for (i, a) in output.iter().enumerate() {
            if output[..i].contains(a) || !inputs.iter().any(|t| t.contains(a)) {
                return Err(Error::graph(format!(
                    "equation `{text}`: an output axis is repeated or not in any operand"
                )));
            }
        }
        Ok(Self { inputs, output })
    }
}

/// The axes of one operand.
fn term(equation: &str, term: &str, rank: Option<usize>) -> Result<Vec<Axis>> {
    let bad = |what: &str| Error::graph(format!("equation `{equation}`: {what} in `{term}`"));
    let (before, after) = match term.split_once("...") {
        Some((b, a)) => (b, Some(a)),
        None => (term, None),
    };
    let letters = |s: &str| -> Result<Vec<Axis>> {
        s.chars()
            .map(|c| if c.is_ascii_alphabetic() { Ok(Axis::Letter(c)) } else { Err(bad(&format!("unexpected `{c}`"))) })
            .collect()
    };
    let mut axes = letters(before)?;
    let named = axes.len() + after.map_or(0, str::len);
    let rank = rank.unwrap_or(named);
    if let Some(after) = after {
        let rest = rank.checked_sub(named).ok_or_else(|| bad(&format!("more letters than the {rank} axes")))?;
        axes.extend((0..rest).rev().map(|i| Axis::Rest(std::cmp::Reverse(i))));
        axes.extend(letters(after)?);
    }
    if axes.len() == rank { Ok(axes) } else { Err(bad(&format!("expected {rank} axes, found {}", axes.len()))) }
}

/// The shape of the result. Axes of extent 1 broadcast.
pub fn infer(equation: &str, shapes: &[&[Dim]]) -> Result<Vec<Dim>> {
    let ranks: Vec<usize> = shapes.iter().map(|s| s.len()).collect();
    let parsed = Equation::parse(equation, &ranks)?;
    let mut extents: BTreeMap<Axis, Dim> = BTreeMap::new();
    for (axes, shape) in parsed.inputs.iter().zip(shapes) {
        for (&a, d) in axes.iter().zip(*shape) {
            match extents.get(&a) {
                Some(e) if e.known() != Some(1) => {
                    if d.known() != Some(1) {
                        agree("einsum axis", e, d, "one operand", "another")?;
                    }
                    if e.known().is_none() && d.known().is_some_and(|d| d != 1) {
                        extents.insert(a, d.clone());
                    }
                }
                _ => {
                    extents.insert(a, d.clone());
                }
            }
        }
    }
    Ok(parsed.output.iter().map(|a| extents[a].clone()).collect())
}

/// Computes an equation: floats in `f64`, integers wrapping in `i64`.
pub fn eval(equation: &str, operands: &[&Tensor]) -> Result<Tensor> {
    let ranks: Vec<usize> = operands.iter().map(|t| t.rank()).collect();
    let parsed = Equation::parse(equation, &ranks)?;
    let dims: Vec<Vec<Dim>> = operands.iter().map(|t| t.shape().iter().map(|&d| Dim::from(d)).collect()).collect();
    let shape = infer(equation, &dims.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
    let shape: Vec<usize> = shape.iter().filter_map(Dim::known).collect();
    let dtype = operands.first().map_or(DType::F32, |t| t.dtype());
    let plan = Plan::new(&parsed, operands, &shape);
    checked_len(&plan.extents)?;
    let y = if dtype.is_float() {
        let data: Vec<Vec<f64>> = operands.iter().map(|t| t.to_f64()).collect();
        let y = plan.run(&data, 0.0, 1.0, |a, b| a + b, |a, b| a * b);
        if dtype == DType::F32 {
            return Tensor::new(&shape, y.into_iter().map(|v| v as f32).collect());
        }
        Tensor::new(&shape, y)?
    } else {
        let data = operands.iter().map(|t| t.to_i64()).collect::<Result<Vec<_>>>()?;
        Tensor::new(&shape, plan.run(&data, 0, 1, i64::wrapping_add, i64::wrapping_mul))?
    };
    if y.dtype() == dtype { Ok(y) } else { crate::ops::elementwise::cast(&y, dtype) }
}

/// A loop nest: the output's axes outside, the summed axes inside, and the step of every operand on every axis.
struct Plan {
    extents: Vec<usize>,
    outer: usize,
    steps: Vec<Vec<usize>>,
}

impl Plan {
    fn new(equation: &Equation, operands: &[&Tensor], shape: &[usize]) -> Self {
        let mut axes = equation.output.clone();
        let mut extents = shape.to_vec();
        for (term, t) in equation.inputs.iter().zip(operands) {
            for (a, &d) in term.iter().zip(t.shape()) {
                match axes.iter().position(|x| x == a) {
                    None => {
                        axes.push(*a);
                        extents.push(d);
                    }
                    Some(i) if i >= shape.len() && extents[i] == 1 => extents[i] = d,
                    Some(_) => {}
                }
            }
        }
        let steps = equation.inputs.iter().zip(operands).map(|(term, t)| {
            let mut steps = vec![0; axes.len()];
            let mut stride = 1;
            for (a, &d) in term.iter().zip(t.shape()).rev() {
                if let Some(i) = axes.iter().position(|x| x == a)
                    && d != 1
                {
                    steps[i] += stride;
                }
                stride *= d;
            }
            steps
        });
        Self { outer: shape.len(), steps: steps.collect(), extents }
    }

    fn run<T: Copy>(&self, data: &[Vec<T>], zero: T, one: T, add: fn(T, T) -> T, mul: fn(T, T) -> T) -> Vec<T> {
        let all = self.extents.len();
        let (mut outside, mut inside) = (Odometer::new(self, 0..self.outer), Odometer::new(self, self.outer..all));
        let (count, terms) = (outside.len(), inside.len());
        let mut y = Vec::with_capacity(count);
        for _ in 0..count {
            let mut sum = zero;
            for _ in 0..terms {
                let offsets = outside.offsets.iter().zip(&inside.offsets);
                sum = add(sum, data.iter().zip(offsets).fold(one, |p, (d, (o, i))| mul(p, d[o + i])));
                inside.advance();
            }
            y.push(sum);
            outside.advance();
        }
        y
    }
}

/// Walks over some axes of a plan, the last one fastest, and starts again after the end.
struct Odometer<'a> {
    plan: &'a Plan,
    axes: std::ops::Range<usize>,
    digits: Vec<usize>,
    /// Where each operand is.
    offsets: Vec<usize>,
}

impl<'a> Odometer<'a> {
    fn new(plan: &'a Plan, axes: std::ops::Range<usize>) -> Self {
        Self { plan, digits: vec![0; axes.len()], axes, offsets: vec![0; plan.steps.len()] }
    }
    fn len(&self) -> usize {
        self.plan.extents[self.axes.clone()].iter().product()
    }
    fn advance(&mut self) {
        for axis in self.axes.clone().rev() {
            let digit = &mut self.digits[axis - self.axes.start];
            let back = *digit;
            *digit += 1;
            let carry = *digit == self.plan.extents[axis];
            if carry {
                *digit = 0;
            }
            for (o, s) in self.offsets.iter_mut().zip(&self.plan.steps) {
                if carry { *o -= back * s[axis] } else { *o += s[axis] }
            }
            if !carry {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(equation: &str, operands: &[(&[usize], &[f32])]) -> Result<Tensor> {
        let tensors: Vec<Tensor> = operands.iter().map(|(s, x)| Tensor::new(s, x.to_vec())).collect::<Result<_>>()?;
        eval(equation, &tensors.iter().collect::<Vec<_>>())
    }

    #[test]
    fn products_traces_and_ellipses() {
        let (a, b): (&[f32], &[f32]) = (&[1., 2., 3., 4.], &[5., 6., 7., 8.]);
        let square: &[usize] = &[2, 2];
        let y = |e, o: &[(&[usize], &[f32])]| run(e, o).map(|t| (t.shape().to_vec(), t.to_f32())).unwrap();
        assert_eq!(y("ij,jk->ik", &[(square, a), (square, b)]), (vec![2, 2], vec![19., 22., 43., 50.]));
        assert_eq!(y("ij,jk", &[(square, a), (square, b)]).1, [19., 22., 43., 50.]);
        assert_eq!(y("ii->i", &[(square, a)]), (vec![2], vec![1., 4.]));
        assert_eq!(y("ij->", &[(square, a)]), (vec![], vec![10.]));
        assert_eq!(y("...i,...i->...", &[(square, a), (square, b)]), (vec![2], vec![17., 53.]));
        assert_eq!(y("...ij->...ji", &[(&[1, 2, 2], a)]), (vec![1, 2, 2], vec![1., 3., 2., 4.]));
    }

    #[test]
    fn errors_name_the_equation() {
        let x: &[f32] = &[1., 2.];
        for equation in ["ij->i", "i,j->ij", "i->k", "i->ii", "1->1", "i..->i"] {
            let e = run(equation, &[(&[2], x)]).unwrap_err();
            assert!(e.to_string().contains("equation"), "{e}");
        }
    }
}
