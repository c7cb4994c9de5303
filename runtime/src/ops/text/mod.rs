//! Strings: made from numbers and read back, joined, cut, matched, counted.
//!
//! Ops that only move or compare elements ([`Takes::Moved`](super::Takes)) know nothing of strings: `ranked` hands them the
//! ranks of the strings among all strings of their operands, which are equal and ordered as these are, and puts the strings back.

mod count;
mod edit;

use super::attrs::{attr_enum, attributes};
use super::infer::{Fact, Infer};
use crate::{DType, Error, Result, Tensor};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

attr_enum! {
    /// What becomes of letters.
    pub enum Letters {
        /// They stay.
        #[default] Keep = "keep",
        /// Lower case.
        Lower = "lower",
        /// Upper case.
        Upper = "upper",
    }
    /// What a column of [`CountNgrams`] holds.
    pub enum Weighting {
        /// How often the n-gram is found.
        #[default] Count = "count",
        /// Its weight, where it is found at all.
        Weight = "weight",
        /// Both multiplied.
        Product = "product",
    }
}

attributes! {
    /// How often n-grams stand in each row, as ONNX `TfIdfVectorizer`. Inputs `x` (`[C]` or `[N, C]`, integers or text), `pool` (a vector
    /// of the same type: all n-grams one after the other, short ones first), `starts` (i64: where the n-grams of 1, 2, ... entries
    /// begin in the pool), `columns` (i64 `[G]`, one an n-gram), optional `weights` (f32 `[G]`). Output f32 `[width]` or `[N, width]`.
    pub struct CountNgrams {
        /// Entries of the shortest n-gram that counts.
        pub shortest: usize = 1,
        /// Entries of the longest one.
        pub longest: usize = 1,
        /// Most entries left out between two of an n-gram.
        pub skip: usize = 0,
        /// What is counted.
        pub weighting: Weighting = Weighting::Count,
    }
    /// Two strings one after the other, with broadcasting.
    pub struct JoinText {}
    /// True where the whole string fits a regular expression. Needs the feature `regex`.
    pub struct MatchText {
        /// The expression.
        pub pattern: String = String::new(),
    }
    /// Letters changed and words left out. Input `[C]` or `[1, C]`; what remains moves together, a single empty string where nothing does.
    pub struct NormalizeText {
        /// What becomes of letters.
        pub letters: Letters = Letters::Keep,
        /// Strings to leave out.
        pub stop: Vec<String> = vec![],
        /// They are compared before letters are changed, as they are.
        pub exact: bool = true,
    }
    /// Cuts strings. Outputs: the parts `[..., most]`, filled up with empty strings, and their number (i64).
    pub struct SplitText {
        /// What stands between parts; absent: any white space.
        pub delimiter: Option<String> = None,
        /// Most cuts in a string; absent: all.
        pub most: Option<usize> = None,
    }
}

/// Numbers from strings: what is no number is an error.
///
/// # Errors
/// When a string is no number, or `to` is no type of numbers.
pub(crate) fn parse(t: &Tensor, to: DType) -> Result<Tensor> {
    let texts = t.as_texts()?;
    let wrong = |s: &str| {
        let found: String = s.chars().take(40).collect();
        Error::argument(format!("expected a number, found `{}`", found.escape_default()))
    };
    if to.is_integer() {
        let whole = |s: &Arc<str>| s.trim().parse::<i64>().or_else(|_| s.trim().parse::<f64>().map(|x| x as i64));
        let all: Result<Vec<i64>> = texts.iter().map(|s| whole(s).map_err(|_| wrong(s))).collect();
        return super::elementwise::cast(&Tensor::new(t.shape(), all?)?, to);
    }
    let all: Result<Vec<f64>> = texts.iter().map(|s| s.trim().parse().map_err(|_| wrong(s))).collect();
    super::elementwise::cast(&Tensor::new(t.shape(), all?)?, to)
}

/// Strings from numbers, the shortest that give the same number when read.
///
/// # Errors
/// When the tensor holds no numbers.
pub(crate) fn print(t: &Tensor) -> Result<Tensor> {
    let texts: Vec<String> = match (t.to_i64(), t.dtype()) {
        (Ok(all), DType::U64) => all.into_iter().map(|x| x.cast_unsigned().to_string()).collect(),
        (Ok(all), _) => all.into_iter().map(|x| x.to_string()).collect(),
        (Err(_), DType::F64) => t.to_f64().into_iter().map(show).collect(),
        (Err(_), DType::List | DType::Text) => return Err(Error::graph("expected numbers")),
        (Err(_), _) => {
            t.to_f32().into_iter().map(|x| if x.is_nan() { "NaN".to_owned() } else { show_f32(x) }).collect()
        }
    };
    Tensor::texts(t.shape(), texts)
}

fn show(x: f64) -> String {
    match x {
        _ if x.is_nan() => "NaN".to_owned(),
        _ if x.is_infinite() => if x > 0.0 { "INF" } else { "-INF" }.to_owned(),
        _ => format!("{x}"),
    }
}

fn show_f32(x: f32) -> String {
    if x.is_infinite() { show(f64::from(x)) } else { format!("{x}") }
}

/// Evaluates an op that moves and compares elements on strings; see the module.
///
/// # Errors
/// As the op's evaluation.
pub(super) fn ranked(op: &super::Op, inputs: &[Option<&Tensor>], outputs: usize) -> Result<Vec<Tensor>> {
    // The empty string is there and first, so that the 0 of an op (padding) means it.
    let mut all: BTreeSet<Arc<str>> = BTreeSet::from([Arc::from("")]);
    for t in inputs.iter().flatten() {
        if let Ok(texts) = t.as_texts() {
            all.extend(texts.iter().cloned());
        }
    }
    let texts: Vec<Arc<str>> = all.into_iter().collect();
    let ranks: BTreeMap<&str, i64> = texts.iter().enumerate().map(|(i, s)| (&**s, i as i64)).collect();
    let number = |t: &Tensor| match t.as_texts() {
        Ok(s) => Tensor::new(t.shape(), s.iter().map(|s| ranks[&**s]).collect::<Vec<i64>>()),
        Err(_) => Ok(t.clone()),
    };
    let numbers: Vec<Option<Tensor>> = inputs.iter().map(|t| t.map(number).transpose()).collect::<Result<_>>()?;
    let operands: Vec<Option<&Tensor>> = numbers.iter().map(Option::as_ref).collect();
    let facts: Vec<Option<Fact>> = inputs.iter().map(|t| t.map(|t| Fact::of_constant(t.clone()))).collect();
    let facts: Vec<Option<&Fact>> = facts.iter().map(Option::as_ref).collect();
    let types = op.operator().infer(&Infer::new(&facts, outputs))?;
    let text = |t: Tensor| {
        let ranks = t.to_i64()?;
        let found: Option<Vec<Arc<str>>> = ranks.iter().map(|&i| texts.get(i as usize).cloned()).collect();
        Tensor::texts(t.shape(), found.ok_or_else(|| Error::graph("the op does not move strings"))?)
    };
    let out = op.eval(&operands, outputs)?;
    out.into_iter().zip(types).map(|(t, ty)| if ty.dtype == DType::Text { text(t) } else { Ok(t) }).collect()
}
