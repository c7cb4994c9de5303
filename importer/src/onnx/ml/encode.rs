//! Encoders of features and labels.

use pocketnn::Tensor;
use pocketnn::ops::elementwise::{BinaryKind, UnaryKind, Where};
use pocketnn::ops::gather::{Gather, Lookup};
use pocketnn::ops::movement::{Concat, Pad, Slice, Unsqueeze};

use super::super::attrs::missing;
use super::super::constant::cast_to;
use super::super::elem::Elem;
use super::super::node::{Lowered, Node, V, one};
use super::super::tensor;
use super::{floats, numbers, texts, wide};
use crate::error::{ImportError, Result};

pub(super) fn array_feature_extractor(cx: &mut Node) -> Result<Lowered> {
    let (x, indices) = (cx.input(0)?, cx.input(1)?);
    let flat = cx.reshape(indices, &[-1])?;
    one(cx.op(Gather { axis: -1 }, &[x.id, flat.id], x.elem)?)
}

pub(super) fn binarizer(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    let threshold = cx.attrs.float("threshold", 0.0)?;
    let threshold = cx.scalar_like(x, f64::from(threshold))?;
    let above = cx.compare(BinaryKind::Gt, x, threshold)?;
    one(cast_to(cx, above, x.elem)?)
}

/// Keys, values and default of a table: what attributes of one kind hold.
fn table(cx: &Node, keys: &str, kind: &str, elem: Elem) -> Result<Option<Tensor>> {
    let name = format!("{keys}_{kind}");
    Ok(match elem {
        Elem::Text => cx.attrs.strings(&name)?.map(texts).transpose()?,
        Elem::I64 => cx.attrs.ints(&name)?.map(|l| Tensor::vector(&l)),
        _ => cx.attrs.floats(&name)?.map(|l| Tensor::vector(&l)),
    })
}

/// The only one of several kinds of attributes that is given.
fn any_table(cx: &Node, what: &str) -> Result<(Elem, Tensor)> {
    let mut found = None;
    for (kind, elem) in [("strings", Elem::Text), ("int64s", Elem::I64), ("floats", Elem::F32)] {
        if let Some(t) = table(cx, what, kind, elem)? {
            found = found.or(Some((elem, t)));
        }
    }
    if let Some(raw) = cx.attrs.tensor(&format!("{what}_tensor"))? {
        found = found.or(Some(tensor::tensor(raw.clone(), cx.walker.folder, cx.walker.budget)?));
    }
    found.ok_or_else(|| missing(&format!("{what}_*")))
}

fn lookup(cx: &mut Node, x: V, keys: Tensor, values: (Elem, Tensor), default: Tensor) -> Result<V> {
    let keys = super::super::node::cast_tensor(&keys, x.elem.carried()?)?;
    let (keys, table, default) = (cx.tensor(keys), cx.tensor(values.1), cx.tensor(default));
    cx.op(Lookup::default(), &[x.id, keys, table, default], values.0)
}

pub(super) fn label_encoder(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    if cx.since < 2 {
        let classes = cx.attrs.strings("classes_strings")?.ok_or_else(|| missing("classes_strings"))?;
        return one(between(cx, x, classes, None)?);
    }
    let (_, keys) = any_table(cx, "keys")?;
    let (elem, values) = any_table(cx, "values")?;
    let given = match cx.attrs.tensor("default_tensor")? {
        Some(raw) => Some(tensor::tensor(raw.clone(), cx.walker.folder, cx.walker.budget)?.1),
        None => None,
    };
    let (text, int) = (cx.attrs.string("default_string", "_Unused")?, cx.attrs.int("default_int64", -1)?);
    let float = cx.attrs.float("default_float", -0.0)?;
    let default = match (given, elem) {
        (Some(t), _) => t,
        (None, Elem::Text) => texts(vec![text])?,
        (None, Elem::I64) => Tensor::vector(&[int]),
        (None, Elem::F32) => Tensor::vector(&[float]),
        (None, other) => super::super::node::cast_tensor(&Tensor::vector(&[-1i64]), other.carried()?)?,
    };
    let values = super::super::node::cast_tensor(&values, elem.carried()?)?;
    let default = super::super::node::cast_tensor(&default, elem.carried()?)?;
    one(lookup(cx, x, keys, (elem, values), default)?)
}

/// Strings to their numbers, or numbers to strings: `numbers` are those of the strings, or their positions.
fn between(cx: &mut Node, x: V, names: Vec<String>, numbers: Option<Vec<i64>>) -> Result<V> {
    let count = i64::try_from(names.len()).unwrap_or(i64::MAX);
    let numbers = Tensor::vector(&numbers.unwrap_or_else(|| (0..count).collect()));
    let (text, int) = (cx.attrs.string("default_string", "_Unused")?, cx.attrs.int("default_int64", -1)?);
    if x.elem == Elem::Text {
        lookup(cx, x, texts(names)?, (Elem::I64, numbers), Tensor::vector(&[int]))
    } else {
        lookup(cx, x, numbers, (Elem::Text, texts(names)?), texts(vec![text])?)
    }
}

pub(super) fn category_mapper(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    let names = cx.attrs.strings("cats_strings")?.ok_or_else(|| missing("cats_strings"))?;
    let numbers = cx.attrs.ints("cats_int64s")?.ok_or_else(|| missing("cats_int64s"))?;
    one(between(cx, x, names, Some(numbers))?)
}

/// A new last axis with 1 at the category of each element.
pub(super) fn one_hot_encoder(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    let (numbers, names) = (cx.attrs.ints("cats_int64s")?, cx.attrs.strings("cats_strings")?);
    if !cx.attrs.flag("zeros", true)? {
        return Err(ImportError::unsupported("an error for unknown categories is not supported").at_attribute("zeros"));
    }
    let categories = match (numbers.filter(|l| !l.is_empty()), names.filter(|l| !l.is_empty())) {
        (Some(list), None) => super::super::node::cast_tensor(&Tensor::vector(&list), x.elem.carried()?)?,
        (None, Some(list)) => texts(list)?,
        _ => return Err(ImportError::invalid("expected either `cats_int64s` or `cats_strings`")),
    };
    let (axis, categories) = (cx.integers(&[-1]), cx.tensor(categories));
    let wide = cx.op(Unsqueeze::default(), &[x.id, axis], x.elem)?;
    let hit = cx.compare(BinaryKind::Eq, wide, V { id: categories, elem: x.elem })?;
    one(cast_to(cx, hit, Elem::F32)?)
}

/// Missing values (NaN, or a number that stands for them) replaced, by one number a column or one for all.
pub(super) fn imputer(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    let (float, int) = (cx.attrs.floats("imputed_value_floats")?, cx.attrs.ints("imputed_value_int64s")?);
    let (absent, absent_int) = (cx.attrs.float("replaced_value_float", 0.0)?, cx.attrs.int("replaced_value_int64", 0)?);
    let (values, replaced) = match (float.filter(|l| !l.is_empty()), int.filter(|l| !l.is_empty())) {
        (Some(list), None) => (wide(&list), f64::from(absent)),
        (None, Some(list)) => (list.iter().map(|&x| x as f64).collect(), absent_int as f64),
        _ => return Err(ImportError::invalid("expected either `imputed_value_floats` or `imputed_value_int64s`")),
    };
    let gone = if replaced.is_nan() {
        cx.op(pocketnn::ops::elementwise::Unary { kind: UnaryKind::IsNan }, &[x.id], Elem::Bool)?
    } else {
        let replaced = cx.scalar_like(x, replaced)?;
        cx.compare(BinaryKind::Eq, x, replaced)?
    };
    let values = numbers(cx, x, &[values.len()], values)?;
    one(cx.op(Where::default(), &[gone.id, values.id, x.id], x.elem)?)
}

/// The inputs side by side as f32, each cut or filled up with zeros to its width.
pub(super) fn feature_vectorizer(cx: &mut Node) -> Result<Lowered> {
    let widths = cx.attrs.ints("inputdimensions")?.unwrap_or_default();
    let mut parts = Vec::new();
    for i in 0..cx.len() {
        let mut x = floats(cx, i)?;
        if cx.rank(x) == 1 {
            x = cx.reshape(x, &[-1, 1])?;
        }
        let (Some(width), Some(own)) = (widths.get(i).copied(), cx.extent(x, 1)) else {
            return Err(ImportError::unsupported("inputs of unknown width are not supported"));
        };
        let own = i64::try_from(own).unwrap_or(i64::MAX);
        if width < own {
            let (from, to, axis) = (cx.integers(&[0]), cx.integers(&[width]), cx.integers(&[1]));
            x = cx.op(Slice::default(), &[x.id, from, to, axis], x.elem)?;
        } else if width > own {
            let pads = cx.integers(&[0, 0, 0, width.saturating_sub(own)]);
            x = cx.op(Pad::default(), &[x.id, pads], x.elem)?;
        }
        parts.push(cast_to(cx, x, Elem::F32)?.id);
    }
    one(cx.op(Concat { axis: 1 }, &parts, Elem::F32)?)
}
