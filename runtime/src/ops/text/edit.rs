//! Strings joined, cut, normalised and matched.

use super::{JoinText, Letters, MatchText, NormalizeText, SplitText};
use crate::kernels::reference::elementwise as reference;
use crate::ops::elementwise::operand;
use crate::ops::infer::{Infer, ValueType, broadcast};
use crate::ops::{Evaluate, Operator, Takes};
use crate::{DType, Dim, Error, Result, Tensor};
use std::sync::Arc;

impl Operator for JoinText {
    fn takes(&self) -> Takes {
        Takes::Text
    }
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        (0..2).try_for_each(|i| cx.expect_dtype(i, DType::Text))?;
        Ok(vec![ValueType::new(DType::Text, broadcast(cx.shape(0)?, cx.shape(1)?)?)])
    }
}

impl Evaluate for JoinText {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let (a, b) = (operand(inputs, 0)?, operand(inputs, 1)?);
        let fail = || Error::graph(format!("shapes {:?} and {:?} do not broadcast", a.shape(), b.shape()));
        let shape = reference::broadcast_shape(&[a.shape(), b.shape()]).ok_or_else(fail)?;
        let (x, y) = (a.as_texts()?, b.as_texts()?);
        let n = crate::checked_len(&shape)?;
        let join = |i| {
            let (left, right) = (reference::source(&shape, a.shape(), i), reference::source(&shape, b.shape(), i));
            format!("{}{}", x[left], y[right])
        };
        Ok(vec![Tensor::texts(&shape, (0..n).map(join))?])
    }
}

impl SplitText {
    fn parts<'t>(&self, text: &'t str) -> Vec<&'t str> {
        let most = self.most.map_or(usize::MAX, |m| m.saturating_add(1));
        if let Some(delimiter) = &self.delimiter {
            return text.splitn(most, delimiter.as_str()).collect();
        }
        let mut out = Vec::new();
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            match rest.split_once(char::is_whitespace) {
                Some((part, after)) if out.len() + 1 < most => {
                    out.push(part);
                    rest = after.trim_start();
                }
                _ => {
                    out.push(rest);
                    break;
                }
            }
        }
        out
    }
}

impl Operator for SplitText {
    fn takes(&self) -> Takes {
        Takes::Text
    }
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        cx.expect_dtype(0, DType::Text)?;
        let counts = cx.shape(0)?.to_vec();
        let mut shape = counts.clone();
        shape.push(Dim::unknown());
        let all = [ValueType::new(DType::Text, shape), ValueType::new(DType::I64, counts)];
        Ok(all.into_iter().take(cx.outputs()).collect())
    }
}

impl Evaluate for SplitText {
    fn eval(&self, inputs: &[Option<&Tensor>], outputs: usize) -> Result<Vec<Tensor>> {
        let x = operand(inputs, 0)?;
        let all: Vec<Vec<&str>> = x.as_texts()?.iter().map(|s| self.parts(s)).collect();
        let most = all.iter().map(Vec::len).max().unwrap_or(0);
        let counts: Vec<i64> = all.iter().map(|p| p.len() as i64).collect();
        let shape = [x.shape(), &[most]].concat();
        crate::checked_bytes(DType::I64, &shape)?;
        let filled = all.into_iter().flat_map(|p| (0..most).map(move |i| p.get(i).copied().unwrap_or("")));
        let parts = Tensor::texts(&shape, filled)?;
        Ok([parts, Tensor::new(x.shape(), counts)?].into_iter().take(outputs).collect())
    }
}

impl Letters {
    fn change(self, s: &str) -> String {
        match self {
            Letters::Keep => s.to_owned(),
            Letters::Lower => s.to_lowercase(),
            Letters::Upper => s.to_uppercase(),
        }
    }
}

impl Operator for NormalizeText {
    fn takes(&self) -> Takes {
        Takes::Text
    }
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        cx.expect_dtype(0, DType::Text)?;
        let shape = match cx.shape(0)? {
            [_] => vec![Dim::unknown()],
            [rows, _] if rows.known().is_none_or(|n| n == 1) => vec![Dim::from(1), Dim::unknown()],
            other => {
                let found = crate::dim::show_shape(other);
                return Err(Error::graph(format!("input 0: expected [C] or [1, C], found {found}")));
            }
        };
        Ok(vec![ValueType::new(DType::Text, shape)])
    }
}

impl Evaluate for NormalizeText {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let x = operand(inputs, 0)?;
        let folded: Vec<String> = self.stop.iter().map(|s| self.fold(s)).collect();
        let stopped =
            |s: &str| if self.exact { self.stop.iter().any(|t| t == s) } else { folded.contains(&self.fold(s)) };
        let left = x.as_texts()?.iter().filter(|s| !stopped(s));
        let mut texts: Vec<String> = left.map(|s| self.letters.change(s)).collect();
        if texts.is_empty() {
            texts.push(String::new());
        }
        let shape = if x.rank() == 2 { vec![1, texts.len()] } else { vec![texts.len()] };
        Ok(vec![Tensor::texts(&shape, texts)?])
    }
}

impl NormalizeText {
    /// A string as it is compared where upper and lower case are the same.
    fn fold(&self, s: &str) -> String {
        s.to_lowercase()
    }
}

impl Operator for MatchText {
    fn takes(&self) -> Takes {
        Takes::Text
    }
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        cx.expect_dtype(0, DType::Text)?;
        Ok(vec![ValueType::new(DType::Bool, cx.shape(0)?)])
    }
}

impl Evaluate for MatchText {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let x = operand(inputs, 0)?;
        let fits = whole(&self.pattern)?;
        Ok(vec![Tensor::new(x.shape(), x.as_texts()?.iter().map(|s: &Arc<str>| fits(s)).collect())?])
    }
}

/// A test whether a whole string fits a pattern.
#[cfg(feature = "regex")]
fn whole(pattern: &str) -> Result<impl Fn(&str) -> bool + use<>> {
    let anchored = format!("^(?:{pattern})$");
    let mut builder = regex_lite::RegexBuilder::new(&anchored);
    let regex = builder.size_limit(1 << 20).build();
    let regex = regex.map_err(|e| Error::argument(format!("the regular expression: {e}")))?;
    Ok(move |s: &str| regex.is_match(s))
}

#[cfg(not(feature = "regex"))]
fn whole(_pattern: &str) -> Result<fn(&str) -> bool> {
    Err(Error::unsupported("regular expressions need the feature `regex` of this library"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(list: &[&str]) -> Tensor {
        Tensor::texts(&[list.len()], list.iter().copied()).unwrap()
    }

    #[test]
    fn white_space_and_delimiters_cut_differently() {
        let x = texts(&["  a  b c ", "", "a"]);
        let out = SplitText::default().eval(&[Some(&x)], 2).unwrap();
        assert_eq!(out[0].shape(), [3, 3]);
        assert_eq!(out[1].to_i64().unwrap(), [3, 0, 1]);
        let op = SplitText { delimiter: Some(",".to_owned()), most: Some(1) };
        let out = op.eval(&[Some(&texts(&["a,,b", ""]))], 2).unwrap();
        assert_eq!(out[0].as_texts().unwrap().iter().map(|s| &**s).collect::<Vec<_>>(), ["a", ",b", "", ""]);
    }

    #[test]
    fn stop_words_leave_and_nothing_becomes_one_empty_string() {
        let op = NormalizeText { letters: Letters::Upper, stop: vec!["Monday".to_owned()], exact: false };
        let out = op.eval(&[Some(&texts(&["monday", "x"]))], 1).unwrap();
        assert_eq!(out[0], texts(&["X"]));
        assert_eq!(op.eval(&[Some(&texts(&["MONDAY"]))], 1).unwrap()[0], texts(&[""]));
    }

    #[test]
    fn strings_are_moved_and_compared_by_ops_that_do_not_know_them() {
        use crate::Op;
        use crate::ops::elementwise::{Binary, BinaryKind};
        use crate::ops::movement::{Concat, Pad};
        let (a, b) = (texts(&["x", "y"]), texts(&["y", "y"]));
        let equal = Op::from(Binary { kind: BinaryKind::Eq, ..Binary::default() });
        assert_eq!(equal.eval(&[Some(&a), Some(&b)], 1).unwrap()[0], Tensor::vector(&[false, true]));
        let joined = Op::from(Concat { axis: 0 }).eval(&[Some(&a), Some(&b)], 1).unwrap();
        assert_eq!(joined[0], texts(&["x", "y", "y", "y"]));
        let pads = Tensor::vector(&[1i64, 0]);
        assert_eq!(Op::from(Pad::default()).eval(&[Some(&a), Some(&pads)], 1).unwrap()[0], texts(&["", "x", "y"]));
    }

    #[test]
    fn numbers_are_printed_and_read() {
        use crate::ops::elementwise::cast;
        let x = Tensor::vector(&[1.5f32, -0.25, f32::NAN]);
        let t = cast(&x, DType::Text).unwrap();
        assert_eq!(t, texts(&["1.5", "-0.25", "NaN"]));
        assert_eq!(cast(&t, DType::F32).unwrap().to_f32()[..2], [1.5, -0.25]);
        assert!(cast(&texts(&["one"]), DType::F32).is_err());
    }
}
