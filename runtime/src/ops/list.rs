//! Lists: vectors of tensors whose length and elements are decided while running. An ONNX sequence is a list; an optional is a list of
//! at most one.
//!
//! The type of a list says nothing of its elements; ops that take one out say what they expect.

use super::attrs::attributes;
use super::elementwise::operand;
use super::infer::{Infer, ValueType, normalize_axis};
use super::movement::{Concat, Split, Squeeze, Unsqueeze};
use super::{Evaluate, Operator, Takes};
use crate::{DType, Dim, Error, Op, Result, Tensor};

attributes! {
    /// A list of the inputs.
    pub struct List {}
    /// An element. Inputs: the list, the position (one integer, negative from the end).
    pub struct ListAt {
        /// Its element type.
        pub dtype: DType = DType::F32,
        /// Its shape; -1 is an extent that is decided while running.
        pub shape: Vec<i64> = vec![],
    }
    /// All elements joined along an axis.
    pub struct ListConcat {
        /// The axis.
        pub axis: i64 = 0,
        /// The axis is a new one, of the extent of the list.
        pub stack: bool = false,
        /// Element type of the result.
        pub dtype: DType = DType::F32,
        /// Rank of the result.
        pub rank: usize = 1,
    }
    /// A list without an element. Inputs: the list, optional position; absent: the last.
    pub struct ListErase {}
    /// A list with one more element. Inputs: the list, the element, optional position before which it stands; absent: the end.
    pub struct ListInsert {}
    /// The number of elements, as a scalar i64.
    pub struct ListLen {}
    /// A tensor cut along an axis. Inputs `x`, optional `sizes` (one integer: extent of each part, the last one smaller; a vector: the extents);
    /// absent: parts of extent 1.
    pub struct ListSplit {
        /// The axis.
        pub axis: i64 = 0,
        /// Parts of extent 1 keep the axis.
        pub keep: bool = true,
    }
}

/// Most elements of a list that an op makes from a tensor.
const MOST: usize = 1 << 20;

fn expect_list(cx: &Infer, i: usize) -> Result<()> {
    cx.expect_dtype(i, DType::List)
}

/// The type of a list of some length.
pub(crate) fn list_type(len: Dim) -> ValueType {
    ValueType::new(DType::List, vec![len])
}

fn expect_position(cx: &Infer, i: usize) -> Result<()> {
    let ty = cx.ty(i)?;
    if ty.dtype.is_integer() && ty.shape.iter().all(|d| d.known().is_none_or(|n| n == 1)) {
        return Ok(());
    }
    Err(Error::graph(format!("input {i}: expected one integer, found {ty}")))
}

/// A position below `end`, negative ones from `len` down.
fn position(inputs: &[Option<&Tensor>], i: usize, len: usize, end: usize) -> Result<usize> {
    let all = operand(inputs, i)?.to_i64()?;
    let [at] = all.as_slice() else {
        return Err(Error::argument(format!("input {i}: expected one integer, found {}", all.len())));
    };
    let index = if *at < 0 { at.saturating_add(len as i64) } else { *at };
    let inside = usize::try_from(index).ok().filter(|&p| p < end);
    inside.ok_or_else(|| Error::argument(format!("position {at} lies outside a list of {len}")))
}

impl Operator for List {
    fn takes(&self) -> Takes {
        Takes::Any
    }
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        (0..cx.len()).try_for_each(|i| cx.ty(i).map(|_| ()))?;
        Ok(vec![list_type(Dim::from(cx.len()))])
    }
}

impl Evaluate for List {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let all: Result<Vec<Tensor>> = (0..inputs.len()).map(|i| operand(inputs, i).cloned()).collect();
        Ok(vec![Tensor::list(all?)])
    }
}

impl Operator for ListAt {
    fn takes(&self) -> Takes {
        Takes::Any
    }
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        expect_list(cx, 0)?;
        expect_position(cx, 1)?;
        let extent = |&d: &i64| usize::try_from(d).map_or_else(|_| Dim::unknown(), Dim::from);
        Ok(vec![ValueType::new(self.dtype, self.shape.iter().map(extent).collect::<Vec<_>>())])
    }
}

impl Evaluate for ListAt {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let list = operand(inputs, 0)?.as_list()?;
        let t = &list[position(inputs, 1, list.len(), list.len())?];
        let same = |(&n, &d): (&usize, &i64)| d < 0 || i64::try_from(n) == Ok(d);
        if t.dtype() != self.dtype || t.rank() != self.shape.len() || !t.shape().iter().zip(&self.shape).all(same) {
            let found = format!("{}{:?}", t.dtype(), t.shape());
            return Err(Error::argument(format!("expected an element {}{:?}, found {found}", self.dtype, self.shape)));
        }
        Ok(vec![t.clone()])
    }
}

impl Operator for ListConcat {
    fn takes(&self) -> Takes {
        Takes::Any
    }
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        expect_list(cx, 0)?;
        normalize_axis(self.axis, self.rank)?;
        Ok(vec![ValueType::new(self.dtype, super::operands::unknown_shape(self.rank)?)])
    }
}

impl Evaluate for ListConcat {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let list = operand(inputs, 0)?.as_list()?;
        let axis = Tensor::vector(&[self.axis]);
        let mut parts = Vec::with_capacity(list.len());
        for t in list {
            parts.push(if self.stack { only(&Unsqueeze {}.into(), &[Some(t), Some(&axis)])? } else { t.clone() });
        }
        let operands: Vec<Option<&Tensor>> = parts.iter().map(Some).collect();
        let y = only(&Concat { axis: self.axis }.into(), &operands)?;
        if y.dtype() != self.dtype || y.rank() != self.rank {
            let found = format!("{} of rank {}", y.dtype(), y.rank());
            return Err(Error::argument(format!("expected {} of rank {}, found {found}", self.dtype, self.rank)));
        }
        Ok(vec![y])
    }
}

/// The only output of another op, whose operands are checked first.
fn only(op: &Op, inputs: &[Option<&Tensor>]) -> Result<Tensor> {
    super::operands::types(op.operator(), inputs, 1)?;
    op.eval(inputs, 1)?.pop().ok_or_else(|| Error::graph("the op gives no output"))
}

impl Operator for ListErase {
    fn takes(&self) -> Takes {
        Takes::Any
    }
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        expect_list(cx, 0)?;
        if cx.has(1) {
            expect_position(cx, 1)?;
        }
        Ok(vec![list_type(cx.shape(0)?[0].clone() - Dim::from(1))])
    }
}

impl Evaluate for ListErase {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let mut list = operand(inputs, 0)?.as_list()?.to_vec();
        let n = list.len();
        let at = match inputs.get(1).copied().flatten() {
            Some(_) => position(inputs, 1, n, n)?,
            None => n.checked_sub(1).ok_or_else(|| Error::argument("the list is empty"))?,
        };
        list.remove(at);
        Ok(vec![Tensor::list(list)])
    }
}

impl Operator for ListInsert {
    fn takes(&self) -> Takes {
        Takes::Any
    }
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        expect_list(cx, 0)?;
        cx.ty(1)?;
        if cx.has(2) {
            expect_position(cx, 2)?;
        }
        Ok(vec![list_type(cx.shape(0)?[0].clone() + Dim::from(1))])
    }
}

impl Evaluate for ListInsert {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let mut list = operand(inputs, 0)?.as_list()?.to_vec();
        let n = list.len();
        let at = match inputs.get(2).copied().flatten() {
            Some(_) => position(inputs, 2, n, n + 1)?,
            None => n,
        };
        list.insert(at, operand(inputs, 1)?.clone());
        Ok(vec![Tensor::list(list)])
    }
}

impl Operator for ListLen {
    fn takes(&self) -> Takes {
        Takes::Any
    }
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        expect_list(cx, 0)?;
        Ok(vec![ValueType::known(DType::I64, &[])])
    }
    fn infer_dims(&self, cx: &Infer) -> Option<Vec<Dim>> {
        cx.shape(0).ok().map(<[Dim]>::to_vec)
    }
}

impl Evaluate for ListLen {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        Ok(vec![Tensor::scalar(operand(inputs, 0)?.as_list()?.len() as i64)])
    }
}

impl ListSplit {
    /// Extents of the parts of an axis of `extent`.
    fn sizes(sizes: Option<&Tensor>, extent: usize) -> Result<Vec<i64>> {
        let total = extent as i64;
        let each = match sizes {
            None => 1,
            Some(t) if t.rank() == 0 => t.to_i64()?[0],
            Some(t) => return t.to_i64(),
        };
        let parts = if each > 0 { extent.div_ceil(each as usize) } else { usize::MAX };
        if parts > MOST {
            return Err(Error::limit(format!("parts of {each} of an axis of {extent}: at most {MOST} are made")));
        }
        Ok((0..parts as i64).map(|i| (total - i * each).min(each)).collect())
    }
}

impl Operator for ListSplit {
    fn takes(&self) -> Takes {
        Takes::Any
    }
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let x = cx.shape(0)?;
        let axis = normalize_axis(self.axis, x.len())?;
        let len = if !cx.has(1) {
            x[axis].clone()
        } else if cx.rank(1)? == 0 {
            cx.integers(1)
                .and_then(|s| s.first().copied())
                .filter(|&n| n > 0)
                .map_or_else(Dim::unknown, |n| x[axis].div_ceil(&Dim::signed(n)))
        } else {
            Dim::product(cx.shape(1)?)
        };
        Ok(vec![list_type(len)])
    }
}

impl Evaluate for ListSplit {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let x = operand(inputs, 0)?;
        let axis = normalize_axis(self.axis, x.rank())?;
        let given = inputs.get(1).copied().flatten();
        let sizes = Self::sizes(given, x.shape()[axis])?;
        if sizes.is_empty() {
            return Ok(vec![Tensor::list(Vec::new())]);
        }
        let op = Op::from(Split { axis: self.axis });
        let operand = Tensor::vector(&sizes);
        let inputs = [Some(x), Some(&operand)];
        super::operands::types(op.operator(), &inputs, sizes.len())?;
        let mut parts = op.eval(&inputs, sizes.len())?;
        if !self.keep && given.is_none() {
            let axes = Tensor::vector(&[self.axis]);
            let squeeze = Op::from(Squeeze {});
            parts = parts.iter().map(|t| only(&squeeze, &[Some(t), Some(&axes)])).collect::<Result<_>>()?;
        }
        Ok(vec![Tensor::list(parts)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(op: impl Into<Op>, inputs: &[&Tensor]) -> Result<Tensor> {
        let inputs: Vec<Option<&Tensor>> = inputs.iter().map(|t| Some(*t)).collect();
        only(&op.into(), &inputs)
    }

    #[test]
    fn a_tensor_is_cut_and_joined_again() {
        let x = Tensor::new(&[2, 3], vec![1i64, 2, 3, 4, 5, 6]).unwrap();
        for (keep, stack) in [(true, false), (false, true)] {
            let list = run(ListSplit { axis: 1, keep }, &[&x]).unwrap();
            assert_eq!(list.as_list().unwrap().len(), 3);
            let op = ListConcat { axis: 1, stack, dtype: DType::I64, rank: 2 };
            assert_eq!(run(op, &[&list]).unwrap(), x);
        }
        let two = run(ListSplit { axis: 1, keep: true }, &[&x, &Tensor::scalar(2i64)]).unwrap();
        assert_eq!(two.as_list().unwrap()[1].shape(), [2, 1]);
        assert!(run(ListSplit { axis: 1, keep: true }, &[&x, &Tensor::scalar(0i64)]).is_err());
    }

    #[test]
    fn elements_come_and_go_at_positions() {
        let (a, b) = (Tensor::scalar(1i64), Tensor::scalar(2i64));
        let list = run(List {}, &[&a]).unwrap();
        let list = run(ListInsert {}, &[&list, &b, &Tensor::scalar(-1i64)]).unwrap();
        assert_eq!(list, Tensor::list(vec![b.clone(), a.clone()]));
        assert_eq!(run(ListErase {}, &[&list]).unwrap(), Tensor::list(vec![b.clone()]));
        let at = |i: i64| run(ListAt { dtype: DType::I64, shape: vec![] }, &[&list, &Tensor::scalar(i)]);
        assert_eq!(at(-1).unwrap(), a);
        assert!(at(2).is_err() && at(-3).is_err());
        assert_eq!(run(ListLen {}, &[&list]).unwrap(), Tensor::scalar(2i64));
        assert!(run(ListErase {}, &[&Tensor::list(Vec::new())]).is_err());
    }
}
