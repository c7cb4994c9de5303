//! Ops that look for elements: distinct ones, keys of a table, boxes that do not overlap.

use crate::ops::attrs::attributes;
use crate::ops::elementwise::operand;
use crate::ops::gather::Gather;
use crate::ops::infer::{Infer, ValueType, broadcast, normalize_axis};
use crate::ops::{Evaluate, Operator, Takes};
use crate::{DType, Dim, Error, Op, Result, Tensor, with_dtype};
use pocketnn_kernels::elementwise::Number;
use std::collections::HashMap;

attributes! {
    /// Values of a table by key. Inputs `x`, `keys [K]` of its type, `values [K]`, `default` (one element of the values' type). NaN is found as a key.
    pub struct Lookup {}
    /// The best boxes that do not overlap too much, as ONNX `NonMaxSuppression`. Inputs `boxes [N, B, 4]`, `scores [N, C, B]`, optional most boxes of a class
    /// of an image (one integer; none are chosen without it), optional largest overlap, optional least score (one number each). Output i64 `[count, 3]`:
    /// image, class, box.
    pub struct SelectBoxes {
        /// Boxes are centre x, centre y, width, height; else two opposite corners y, x, y, x.
        pub centred: bool = false,
    }
    /// The distinct elements, or slices along an axis. Outputs: them; where each is first found; which of them each element is; how often it is found (i64).
    pub struct Unique {
        /// The axis of the slices; absent: elements of the flat tensor.
        pub axis: Option<i64> = None,
        /// In ascending order; else as they are found.
        pub sorted: bool = true,
    }
}

/// Numbers that are ordered as the elements are: NaN last, zeros equal.
fn keys(t: &Tensor) -> Result<Vec<i128>> {
    if !t.dtype().is_float() {
        return with_dtype!(t.dtype(), T => Ok(t.as_slice::<T>()?.iter().map(|v| v.to_i128()).collect()));
    }
    let key = |x: f64| {
        let bits = if x.is_nan() { f64::NAN.to_bits() } else { (x + 0.0).to_bits() }.cast_signed();
        i128::from(if bits < 0 { bits ^ i64::MAX } else { bits })
    };
    Ok(t.to_f64().into_iter().map(key).collect())
}

impl Unique {
    /// Number of slices, and extents before and behind the axis.
    fn cut(&self, shape: &[usize]) -> Result<(usize, usize, usize)> {
        match self.axis {
            None => Ok((shape.iter().product(), 1, 1)),
            Some(axis) => {
                let axis = normalize_axis(axis, shape.len())?;
                Ok((shape[axis], shape[..axis].iter().product(), shape[axis + 1..].iter().product()))
            }
        }
    }
}

impl Operator for Unique {
    fn takes(&self) -> Takes {
        Takes::Moved
    }
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let x = cx.ty(0)?;
        let count = Dim::unknown();
        let (shape, inverse) = match self.axis {
            None => (vec![count.clone()], Dim::product(&x.shape)),
            Some(axis) => {
                let axis = normalize_axis(axis, x.shape.len())?;
                let mut shape = x.shape.clone();
                shape[axis] = count.clone();
                (shape, x.shape[axis].clone())
            }
        };
        let numbers = |d: Dim| ValueType::new(DType::I64, vec![d]);
        let all = [ValueType::new(x.dtype, shape), numbers(count.clone()), numbers(inverse), numbers(count)];
        Ok(all.into_iter().take(cx.outputs()).collect())
    }
}

impl Evaluate for Unique {
    fn eval(&self, inputs: &[Option<&Tensor>], outputs: usize) -> Result<Vec<Tensor>> {
        let x = operand(inputs, 0)?;
        let (slices, before, behind) = self.cut(x.shape())?;
        let all = keys(x)?;
        let slice = |i: usize| -> Vec<i128> {
            let rows = (0..before).flat_map(|b| &all[(b * slices + i) * behind..][..behind]);
            rows.copied().collect()
        };
        let mut found: HashMap<Vec<i128>, usize> = HashMap::new();
        let (mut first, mut which, mut counts) = (Vec::new(), Vec::with_capacity(slices), Vec::new());
        for i in 0..slices {
            let next = first.len();
            let at = *found.entry(slice(i)).or_insert(next);
            if at == next {
                first.push(i as i64);
                counts.push(0i64);
            }
            counts[at] += 1;
            which.push(at);
        }
        let mut order: Vec<usize> = (0..first.len()).collect();
        if self.sorted {
            let by: Vec<Vec<i128>> = first.iter().map(|&i| slice(i as usize)).collect();
            order.sort_by(|&a, &b| by[a].cmp(&by[b]));
        }
        let mut rank = vec![0i64; order.len()];
        order.iter().enumerate().for_each(|(new, &old)| rank[old] = new as i64);
        let pick = |list: &[i64]| Tensor::vector(&order.iter().map(|&i| list[i]).collect::<Vec<_>>());
        let firsts = pick(&first);
        let (source, axis) = match self.axis {
            None => (x.reshaped(&[x.len()])?, 0),
            Some(axis) => (x.clone(), axis),
        };
        let values = Op::from(Gather { axis }).eval(&[Some(&source), Some(&firsts)], 1)?.swap_remove(0);
        let inverse = Tensor::vector(&which.iter().map(|&i| rank[i]).collect::<Vec<_>>());
        Ok([values, firsts, inverse, pick(&counts)].into_iter().take(outputs).collect())
    }
}

impl Operator for Lookup {
    fn takes(&self) -> Takes {
        Takes::Text
    }
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let values = cx.dtype(2)?;
        cx.expect_dtype(1, cx.dtype(0)?)?;
        cx.expect_dtype(3, values)?;
        if cx.rank(1)? != 1 || cx.rank(2)? != 1 {
            return Err(Error::graph("expected vectors of keys and values"));
        }
        super::super::operands::unify("keys and values", &cx.shape(1)?[0], &cx.shape(2)?[0])?;
        Ok(vec![ValueType::new(values, cx.shape(0)?)])
    }
}

impl Evaluate for Lookup {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let [x, table, values, default] = [0, 1, 2, 3].map(|i| operand(inputs, i));
        let (x, table, values, default) = (x?, table?, values?, default?);
        let at: Vec<Option<i64>> = if let (Ok(x), Ok(table)) = (x.as_texts(), table.as_texts()) {
            let known: HashMap<&str, i64> = table.iter().enumerate().map(|(i, k)| (&**k, i as i64)).collect();
            x.iter().map(|s| known.get(&**s).copied()).collect()
        } else {
            let known: HashMap<i128, i64> = keys(table)?.into_iter().enumerate().map(|(i, k)| (k, i as i64)).collect();
            keys(x)?.iter().map(|k| known.get(k).copied()).collect()
        };
        if values.len() != table.len() || default.len() != 1 {
            return Err(Error::graph("expected as many values as keys, and one default"));
        }
        // The default stands behind the values.
        let last = values.len() as i64;
        let places = Tensor::new(x.shape(), at.into_iter().map(|a| a.unwrap_or(last)).collect::<Vec<i64>>())?;
        let joined = Op::from(crate::ops::movement::Concat { axis: 0 });
        let all = joined.eval(&[Some(values), Some(&default.reshaped(&[1])?)], 1)?.swap_remove(0);
        Op::from(Gather { axis: 0 }).eval(&[Some(&all), Some(&places)], 1)
    }
}

/// Corners of a box: least and most x, least and most y.
fn corners(b: &[f64], centred: bool) -> [f64; 4] {
    if centred {
        let (w, h) = (b[2] / 2.0, b[3] / 2.0);
        [b[0] - w, b[0] + w, b[1] - h, b[1] + h]
    } else {
        [b[1].min(b[3]), b[1].max(b[3]), b[0].min(b[2]), b[0].max(b[2])]
    }
}

/// Common part of two boxes over what they cover together; 0 where one is empty.
fn overlap(a: &[f64; 4], b: &[f64; 4]) -> f64 {
    let (w, h) = (a[1].min(b[1]) - a[0].max(b[0]), a[3].min(b[3]) - a[2].max(b[2]));
    let area = |r: &[f64; 4]| (r[1] - r[0]) * (r[3] - r[2]);
    let common = w * h;
    let both = area(a) + area(b) - common;
    if w <= 0.0 || h <= 0.0 || area(a) <= 0.0 || area(b) <= 0.0 || both <= 0.0 { 0.0 } else { common / both }
}

impl Operator for SelectBoxes {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let (boxes, scores) = (cx.ty(0)?, cx.ty(1)?);
        let fits =
            boxes.shape.len() == 3 && scores.shape.len() == 3 && boxes.dtype.is_float() && scores.dtype.is_float();
        if !fits || boxes.shape[2].known().is_some_and(|n| n != 4) {
            return Err(Error::graph(format!(
                "expected boxes [N, B, 4] and scores [N, C, B], found {boxes}, {scores}"
            )));
        }
        super::super::operands::unify("the images", &boxes.shape[0], &scores.shape[0])?;
        super::super::operands::unify("the boxes", &boxes.shape[1], &scores.shape[2])?;
        broadcast(&boxes.shape[..1], &scores.shape[..1])?;
        Ok(vec![ValueType::new(DType::I64, [Dim::unknown(), Dim::from(3)])])
    }
}

impl Evaluate for SelectBoxes {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let (boxes, scores) = (operand(inputs, 0)?, operand(inputs, 1)?);
        let number = |i: usize| inputs.get(i).copied().flatten().and_then(|t| t.to_f64().first().copied());
        let most = number(2).map_or(0, |n| n.max(0.0) as usize);
        let (limit, least) = (number(3).unwrap_or(0.0), number(4));
        let (n, count, classes) = (boxes.shape()[0], boxes.shape()[1], scores.shape()[1]);
        if scores.shape() != [n, classes, count] || boxes.shape()[2] != 4 {
            return Err(Error::graph("boxes and scores do not fit"));
        }
        let (data, points) = (boxes.to_f64(), scores.to_f64());
        let rects: Vec<[f64; 4]> = data.chunks_exact(4).map(|b| corners(b, self.centred)).collect();
        let mut out: Vec<i64> = Vec::new();
        for image in 0..n {
            let rects = &rects[image * count..][..count];
            for class in 0..classes {
                let points = &points[(image * classes + class) * count..][..count];
                let mut order: Vec<usize> = (0..count).filter(|&i| least.is_none_or(|l| points[i] > l)).collect();
                order.sort_by(|&a, &b| points[b].total_cmp(&points[a]).then(a.cmp(&b)));
                let mut chosen: Vec<usize> = Vec::new();
                for i in order {
                    if chosen.len() >= most {
                        break;
                    }
                    if chosen.iter().all(|&c| overlap(&rects[i], &rects[c]) <= limit) {
                        chosen.push(i);
                    }
                }
                out.extend(chosen.into_iter().flat_map(|i| [image as i64, class as i64, i as i64]));
            }
        }
        Ok(vec![Tensor::new(&[out.len() / 3, 3], out)?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distinct_slices_are_counted() {
        let x = Tensor::new(&[3, 2], vec![1.0f32, 0.0, 1.0, 0.0, -1.0, 3.0]).unwrap();
        let out = Unique { axis: Some(0), sorted: true }.eval(&[Some(&x)], 4).unwrap();
        assert_eq!(out[0].to_f32(), [-1.0, 3.0, 1.0, 0.0]);
        let rest = [&[2i64, 0][..], &[1, 1, 0], &[1, 2]];
        assert_eq!(out[1..], rest.map(Tensor::vector));
        let found = Unique { axis: None, sorted: false }.eval(&[Some(&x)], 1).unwrap();
        assert_eq!(found[0].to_f32(), [1.0, 0.0, -1.0, 3.0]);
    }

    #[test]
    fn nan_is_a_key_and_what_is_missing_is_the_default() {
        let x = Tensor::vector(&[f32::NAN, 2.0, 9.0]);
        let (keys, values) = (Tensor::vector(&[2.0f32, f32::NAN]), Tensor::texts(&[2], ["two", "none"]).unwrap());
        let default = Tensor::texts(&[], ["?"]).unwrap();
        let y = Lookup {}.eval(&[Some(&x), Some(&keys), Some(&values), Some(&default)], 1).unwrap();
        assert_eq!(y[0], Tensor::texts(&[3], ["none", "two", "?"]).unwrap());
    }

    #[test]
    fn a_box_that_covers_a_better_one_is_not_chosen() {
        let boxes =
            Tensor::new(&[1, 3, 4], vec![0.0f32, 0.0, 1.0, 1.0, 0.0, 0.1, 1.0, 1.1, 0.0, 5.0, 1.0, 6.0]).unwrap();
        let scores = Tensor::new(&[1, 1, 3], vec![0.5f32, 0.9, 0.3]).unwrap();
        let (most, limit) = (Tensor::scalar(3i64), Tensor::scalar(0.5f32));
        let y = SelectBoxes::default().eval(&[Some(&boxes), Some(&scores), Some(&most), Some(&limit)], 1).unwrap();
        assert_eq!(y[0].to_i64().unwrap(), [0, 0, 1, 0, 0, 2]);
    }
}
