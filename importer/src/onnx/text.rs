//! Strings.

use pocketnn::Tensor;
use pocketnn::ops::text::{CountNgrams, JoinText, Letters, MatchText, NormalizeText, SplitText, Weighting};

use super::attrs::{missing, unknown_value};
use super::elem::Elem;
use super::node::{Lowered, Node, V, one};
use super::registry::{Row, op};
use crate::error::{ImportError, Result};

pub(super) const ROWS: &[Row] = &[
    op("RegexFullMatch", &[20], regex_full_match),
    op("StringConcat", &[20], string_concat),
    op("StringNormalizer", &[10], string_normalizer),
    op("StringSplit", &[20], string_split),
    op("TfIdfVectorizer", &[9], tf_idf_vectorizer),
];

fn string_concat(cx: &mut Node) -> Result<Lowered> {
    let (a, b) = (cx.input(0)?, cx.input(1)?);
    one(cx.op(JoinText::default(), &[a.id, b.id], Elem::Text)?)
}

fn string_split(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    let delimiter = cx.attrs.opt_string("delimiter")?.filter(|d| !d.is_empty());
    let most = cx.attrs.opt_int("maxsplit")?;
    let most = match most {
        None => None,
        Some(n) => Some(
            usize::try_from(n)
                .map_err(|_| ImportError::invalid("a negative number").found(n).at_attribute("maxsplit"))?,
        ),
    };
    let ids = cx.emit(SplitText { delimiter, most }, &[Some(x.id)], 2)?;
    let elems = [Elem::Text, Elem::I64];
    Ok(ids.into_iter().zip(elems).map(|(id, elem)| V { id, elem }.into()).collect())
}

/// The pattern is compiled when the graph runs; that it can be is seen here.
fn regex_full_match(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    let pattern = cx.attrs.opt_string("pattern")?.ok_or_else(|| missing("pattern"))?;
    let op = MatchText { pattern };
    let probe = Tensor::texts::<&str>(&[0], []).map_err(|e| super::node::runtime(&e))?;
    pocketnn::Op::from(op.clone()).eval(&[Some(&probe)], 1).map_err(|e| super::node::runtime(&e))?;
    one(cx.op(op, &[x.id], Elem::Bool)?)
}

/// The locale is not asked: letters change as Unicode says.
fn string_normalizer(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    let letters = match cx.attrs.string("case_change_action", "NONE")?.as_str() {
        "NONE" => Letters::Keep,
        "LOWER" => Letters::Lower,
        "UPPER" => Letters::Upper,
        other => return Err(unknown_value("case_change_action", "`NONE`, `LOWER` or `UPPER`", other)),
    };
    let exact = cx.attrs.flag("is_case_sensitive", false)?;
    let stop = cx.attrs.strings("stopwords")?.unwrap_or_default();
    cx.attrs.ignore(&["locale"]);
    one(cx.op(NormalizeText { letters, stop, exact }, &[x.id], Elem::Text)?)
}

fn tf_idf_vectorizer(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    let weighting = match cx.attrs.string("mode", "TF")?.as_str() {
        "TF" => Weighting::Count,
        "IDF" => Weighting::Weight,
        "TFIDF" => Weighting::Product,
        other => return Err(unknown_value("mode", "`TF`, `IDF` or `TFIDF`", other)),
    };
    let count = |name: &str| -> Result<usize> {
        let n = cx.attrs.opt_int(name)?.ok_or_else(|| missing(name))?;
        usize::try_from(n).map_err(|_| ImportError::invalid("a negative number").found(n).at_attribute(name))
    };
    let (shortest, longest) = (count("min_gram_length")?, count("max_gram_length")?);
    let skip = count("max_skip_count")?;
    let starts = cx.attrs.ints("ngram_counts")?.ok_or_else(|| missing("ngram_counts"))?;
    let columns = cx.attrs.ints("ngram_indexes")?.ok_or_else(|| missing("ngram_indexes"))?;
    let weights = cx.attrs.floats("weights")?;
    let pool = match (cx.attrs.ints("pool_int64s")?, cx.attrs.strings("pool_strings")?) {
        (Some(pool), None) => Tensor::vector(&pool),
        (None, Some(pool)) => Tensor::texts(&[pool.len()], pool).map_err(|e| super::node::runtime(&e))?,
        _ => return Err(ImportError::invalid("expected either `pool_int64s` or `pool_strings`")),
    };
    let x = if x.elem == Elem::Text { x.id } else { cx.as_i64(x)? };
    let (pool, starts, columns) = (cx.tensor(pool), cx.integers(&starts), cx.integers(&columns));
    let weights = weights.map(|w| cx.tensor(Tensor::vector(&w)));
    let op = CountNgrams { shortest, longest, skip, weighting };
    one(cx.op_with(op, &[Some(x), Some(pool), Some(starts), Some(columns), weights], Elem::F32)?)
}
