//! Sequences and optionals.
//!
//! As long as their length is known they exist only while importing: a list of values. Where it is decided while running, or where they
//! cross the border of the graph or of a body, they are lists of the runtime.

use pocketnn::ops::elementwise::{BinaryKind, Cast};
use pocketnn::ops::list::{ListAt, ListConcat, ListErase, ListInsert, ListLen, ListSplit};
use pocketnn::ops::movement::{Concat, Split, Squeeze, Unsqueeze};
use pocketnn::{DType, Tensor, ValueId};

use super::elem::Elem;
use super::node::{Lowered, Node, V, Value, one};
use super::proto::{Extent, TypeInfo};
use super::registry::{Row, op};
use crate::error::{ImportError, Result};

pub(super) const ROWS: &[Row] = &[
    op("ConcatFromSequence", &[11], concat_from_sequence),
    op("Optional", &[15, 28], optional),
    op("OptionalGetElement", &[15, 18, 28], optional_get),
    op("OptionalHasElement", &[15, 18, 28], optional_has),
    op("SequenceAt", &[11], sequence_at),
    op("SequenceConstruct", &[11], sequence_construct),
    op("SequenceEmpty", &[11], sequence_empty),
    op("SequenceErase", &[11], sequence_erase),
    op("SequenceInsert", &[11], sequence_insert),
    op("SequenceLength", &[11], sequence_length),
    op("SplitToSequence", &[11, 24], split_to_sequence),
];

/// What a list of the runtime stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Items {
    Sequence,
    Optional,
}

/// What is known of the elements of a list.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Item {
    /// There is none yet.
    Nothing,
    /// Tensors; extents that differ or are not known are `None`, and so is the whole shape where ranks differ.
    Tensor { elem: Elem, shape: Option<Vec<Option<usize>>> },
    /// Lists.
    List(Items, Box<Item>),
}

/// A list of the graph.
#[derive(Clone, Debug)]
pub(super) struct ListValue {
    pub id: ValueId,
    pub items: Items,
    pub item: Box<Item>,
}

impl Item {
    /// The item of a list that holds both.
    pub fn joined(&self, other: &Item) -> Result<Item> {
        match (self, other) {
            (Item::Nothing, x) | (x, Item::Nothing) => Ok(x.clone()),
            (Item::Tensor { elem: a, shape: s }, Item::Tensor { elem: b, shape: t }) if a == b => {
                let shape = match (s, t) {
                    (Some(s), Some(t)) if s.len() == t.len() => {
                        Some(s.iter().zip(t).map(|(a, b)| if a == b { *a } else { None }).collect())
                    }
                    _ => None,
                };
                Ok(Item::Tensor { elem: *a, shape })
            }
            (Item::List(k, a), Item::List(l, b)) if k == l => Ok(Item::List(*k, Box::new(a.joined(b)?))),
            _ => Err(ImportError::invalid("a list of elements of different types")),
        }
    }

    /// The declared type of a value that is a list, with its kind.
    ///
    /// A sequence that declares scalars is taken to say nothing of their shape: exporters write it for tensors of any rank.
    pub fn declared(ty: &TypeInfo) -> Result<Item> {
        Ok(match ty {
            TypeInfo::Tensor { elem, shape } => {
                let extent = |d: &Extent| match d {
                    Extent::Known(n) => usize::try_from(*n).ok(),
                    _ => None,
                };
                let shape = shape.as_ref().filter(|s| !s.is_empty()).map(|s| s.iter().map(extent).collect());
                Item::Tensor { elem: Elem::parse(*elem)?, shape }
            }
            TypeInfo::Sequence(inner) => Item::List(Items::Sequence, Box::new(Item::declared(inner)?)),
            TypeInfo::Optional(inner) => Item::List(Items::Optional, Box::new(Item::declared(inner)?)),
            TypeInfo::Other(what) => {
                return Err(ImportError::unsupported(format!("values of type {what} are not supported")));
            }
            TypeInfo::Unknown => return Err(ImportError::invalid("a value without a type")),
        })
    }
}

fn wrong_kind(i: usize, expected: &str) -> ImportError {
    ImportError::invalid(format!("input {i} is of another kind")).expected(expected)
}

/// The only element of a constant, as an integer.
pub(super) fn known(cx: &Node, v: V) -> Option<i64> {
    cx.const_ints(v).and_then(|l| if let [x] = l.as_slice() { Some(*x) } else { None })
}

/// A sequence, as far as it is known while importing.
enum Given {
    Known(Vec<Value>),
    Open(ListValue),
}

fn sequence(cx: &Node, i: usize) -> Result<Given> {
    match cx.value(i) {
        Some(Value::Sequence(list)) => Ok(Given::Known(list.clone())),
        Some(Value::List(l)) if l.items == Items::Sequence => Ok(Given::Open(l.clone())),
        _ => Err(wrong_kind(i, "a sequence")),
    }
}

/// The list of the graph that input `i` is or becomes.
pub(super) fn listed(cx: &mut Node, i: usize) -> Result<ListValue> {
    let value = cx.value(i).cloned().ok_or_else(|| ImportError::invalid(format!("input {i} is missing")))?;
    cx.walker.listed(&value)
}

/// A position in a sequence of `len` values, negative from the end; the outer `None` where it is not known, the inner where it is not given.
fn position(cx: &Node, i: usize, len: usize) -> Result<Option<Option<usize>>> {
    let Some(v) = cx.maybe(i)? else { return Ok(Some(None)) };
    let Some(at) = known(cx, v) else { return Ok(None) };
    let signed = i64::try_from(len).unwrap_or(i64::MAX);
    let index = if at < 0 { at.saturating_add(signed) } else { at };
    let index = usize::try_from(index).ok().filter(|&k| k <= len);
    index.map(|k| Some(Some(k))).ok_or_else(|| {
        ImportError::invalid("a position outside the sequence").expected(format!("-{len} to {len}")).found(at)
    })
}

fn sequence_construct(cx: &mut Node) -> Result<Lowered> {
    let list = cx.all_inputs()?.into_iter().map(Value::Tensor).collect();
    Ok(vec![Value::Sequence(list)])
}

fn sequence_empty(cx: &mut Node) -> Result<Lowered> {
    cx.attrs.ignore(&["dtype"]);
    Ok(vec![Value::Sequence(Vec::new())])
}

/// The element of a list at a position that is a value.
pub(super) fn element_at(cx: &mut Node, list: &ListValue, at: ValueId) -> Result<Value> {
    match &*list.item {
        Item::Tensor { elem, shape: Some(shape) } => {
            let dtype = elem.stored()?;
            let extents = shape.iter().map(|d| d.and_then(|n| i64::try_from(n).ok()).unwrap_or(-1)).collect();
            let id = cx.walker.add(ListAt { dtype, shape: extents }, &[list.id, at], "element")?;
            let to = elem.carried()?;
            let id = if dtype == to { id } else { cx.walker.add(Cast { to }, &[id], "element")? };
            Ok(Value::Tensor(V { id, elem: *elem }))
        }
        Item::List(items, item) => {
            let op = ListAt { dtype: DType::List, shape: vec![-1] };
            let id = cx.walker.add(op, &[list.id, at], "element")?;
            Ok(Value::List(ListValue { id, items: *items, item: item.clone() }))
        }
        Item::Tensor { .. } => {
            Err(ImportError::unsupported("an element of a list whose rank is decided while running is not supported")
                .help("declare the shapes of the elements of sequences in the model's inputs"))
        }
        Item::Nothing => Err(ImportError::invalid("an element of a list that has none")),
    }
}

fn sequence_at(cx: &mut Node) -> Result<Lowered> {
    if let Given::Known(list) = sequence(cx, 0)?
        && let Some(at) = position(cx, 1, list.len())?
    {
        let value = at.and_then(|i| list.get(i)).cloned();
        return value.map(|v| vec![v]).ok_or_else(|| {
            ImportError::invalid("a position outside the sequence").expected(format!("below {}", list.len()))
        });
    }
    let list = listed(cx, 0)?;
    let at = cx.input(1)?.id;
    Ok(vec![element_at(cx, &list, at)?])
}

fn sequence_insert(cx: &mut Node) -> Result<Lowered> {
    let value = cx.value(1).cloned().ok_or_else(|| ImportError::invalid("input 1 is missing"))?;
    if let Given::Known(mut list) = sequence(cx, 0)?
        && let Some(at) = position(cx, 2, list.len())?
    {
        let at = at.unwrap_or(list.len());
        list.insert(at.min(list.len()), value);
        return Ok(vec![Value::Sequence(list)]);
    }
    let list = listed(cx, 0)?;
    let at = cx.maybe(2)?.map(|v| v.id);
    Ok(vec![inserted(cx, &list, &value, at)?])
}

/// A list with one more element.
pub(super) fn inserted(cx: &mut Node, list: &ListValue, value: &Value, at: Option<ValueId>) -> Result<Value> {
    let (id, of) = cx.walker.element(value)?;
    let item = Box::new(list.item.joined(&of)?);
    let inputs: Vec<ValueId> = [list.id, id].into_iter().chain(at).collect();
    let id = cx.walker.add(ListInsert::default(), &inputs, "sequence")?;
    Ok(Value::List(ListValue { id, items: Items::Sequence, item }))
}

fn sequence_erase(cx: &mut Node) -> Result<Lowered> {
    if let Given::Known(mut list) = sequence(cx, 0)?
        && let Some(at) = position(cx, 1, list.len())?
    {
        let at = at.unwrap_or(list.len().saturating_sub(1));
        if at >= list.len() {
            return Err(ImportError::invalid("a position outside the sequence")
                .expected(format!("below {}", list.len()))
                .found(at));
        }
        list.remove(at);
        return Ok(vec![Value::Sequence(list)]);
    }
    let list = listed(cx, 0)?;
    let inputs: Vec<ValueId> = std::iter::once(list.id).chain(cx.maybe(1)?.map(|v| v.id)).collect();
    let id = cx.walker.add(ListErase::default(), &inputs, "sequence")?;
    Ok(vec![Value::List(ListValue { id, ..list })])
}

/// The number of elements of a list.
pub(super) fn length(cx: &mut Node, list: &ListValue) -> Result<V> {
    Ok(V { id: cx.walker.add(ListLen::default(), &[list.id], "length")?, elem: Elem::I64 })
}

fn sequence_length(cx: &mut Node) -> Result<Lowered> {
    match sequence(cx, 0)? {
        Given::Known(list) => {
            let len = i64::try_from(list.len()).unwrap_or(i64::MAX);
            let id = cx.tensor(Tensor::scalar(len));
            one(V { id, elem: Elem::I64 })
        }
        Given::Open(list) => one(length(cx, &list)?),
    }
}

fn concat_from_sequence(cx: &mut Node) -> Result<Lowered> {
    let axis = cx.attrs.opt_int("axis")?.ok_or_else(|| super::attrs::missing("axis"))?;
    let new_axis = cx.attrs.flag("new_axis", false)?;
    let values = match sequence(cx, 0)? {
        Given::Known(list) => list,
        Given::Open(list) => return joined(cx, &list, axis, new_axis),
    };
    let mut list = Vec::new();
    for value in values {
        match value {
            Value::Tensor(v) => list.push(v),
            _ => return Err(wrong_kind(0, "a sequence of tensors")),
        }
    }
    let first = list.first().copied().ok_or_else(|| ImportError::invalid("the sequence is empty"))?;
    let mut parts = Vec::with_capacity(list.len());
    for v in list {
        parts.push(if new_axis {
            let at = cx.integers(&[axis]);
            cx.op(Unsqueeze::default(), &[v.id, at], v.elem)?.id
        } else {
            v.id
        });
    }
    one(cx.op(Concat { axis }, &parts, first.elem)?)
}

fn joined(cx: &mut Node, list: &ListValue, axis: i64, stack: bool) -> Result<Lowered> {
    let Item::Tensor { elem, shape: Some(shape) } = &*list.item else {
        return Err(ImportError::unsupported("joining elements whose rank is decided while running is not supported"));
    };
    let (rank, dtype) = (shape.len().saturating_add(usize::from(stack)), elem.stored()?);
    let id = cx.walker.add(ListConcat { axis, stack, dtype, rank }, &[list.id], "joined")?;
    one(cx.typed(id, *elem)?)
}

/// Parts of one extent each (without the axis unless `keepdims`), of a fixed extent, or of listed extents.
fn split_to_sequence(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    let axis = cx.attrs.int("axis", 0)?;
    let keep = cx.attrs.flag("keepdims", true)?;
    let at = cx.axis(axis, cx.rank(x))?;
    let sizes = match (cx.extent(x, at), cx.maybe(1)?) {
        (Some(extent), None) => {
            cx.walker.budget.entries(u64::try_from(extent).unwrap_or(u64::MAX), "parts of a sequence")?;
            Some(vec![1; extent])
        }
        (Some(extent), Some(v)) => match cx.const_ints(v) {
            Some(list) => Some(parts(cx, list, cx.rank(v) == 0, extent)?),
            None => None,
        },
        (None, _) => None,
    };
    let Some(sizes) = sizes else { return split_open(cx, x, axis, at, keep) };
    let squeeze = !keep && cx.maybe(1)?.is_none();
    let parts = cx.integers(&sizes);
    let ids = cx.emit(Split { axis }, &[Some(x.id), Some(parts)], sizes.len())?;
    let mut list = Vec::with_capacity(ids.len());
    for id in ids {
        let mut v = V { id, elem: x.elem };
        if squeeze {
            let axes = cx.integers(&[axis]);
            v = cx.op(Squeeze::default(), &[id, axes], x.elem)?;
        }
        list.push(v.into());
    }
    Ok(vec![Value::Sequence(list)])
}

/// Extents of the parts: as listed, or of one extent and what is left.
fn parts(cx: &Node, list: Vec<i64>, scalar: bool, extent: usize) -> Result<Vec<i64>> {
    let total = i64::try_from(extent).unwrap_or(i64::MAX);
    match list.as_slice() {
        [each] if scalar && *each > 0 => {
            let count = total.checked_div(*each).and_then(|n| u64::try_from(n).ok()).unwrap_or(u64::MAX);
            cx.walker.budget.entries(count, "parts of a sequence")?;
            let mut left = total;
            let mut sizes = Vec::new();
            while left > 0 {
                sizes.push(left.min(*each));
                left = left.saturating_sub(*each);
            }
            Ok(sizes)
        }
        _ => Ok(list),
    }
}

/// A cut whose parts are decided while running.
fn split_open(cx: &mut Node, x: V, axis: i64, at: usize, keep: bool) -> Result<Lowered> {
    let sizes = cx.maybe(1)?;
    let mut shape: Vec<Option<usize>> = cx.shape(x).iter().map(pocketnn::Dim::known).collect();
    if keep || sizes.is_some() {
        shape.get_mut(at).into_iter().for_each(|d| *d = sizes.is_none().then_some(1));
    } else {
        shape.remove(at);
    }
    let stored = cx.walker.stored(x)?;
    let mut inputs = vec![stored];
    if let Some(sizes) = sizes {
        inputs.push(cx.as_i64(sizes)?);
    }
    let id = cx.walker.add(ListSplit { axis, keep }, &inputs, "parts")?;
    let item = Box::new(Item::Tensor { elem: x.elem, shape: Some(shape) });
    Ok(vec![Value::List(ListValue { id, items: Items::Sequence, item })])
}

fn optional(cx: &mut Node) -> Result<Lowered> {
    cx.attrs.ignore(&["type"]);
    Ok(vec![Value::Optional(cx.value(0).cloned().map(Box::new))])
}

fn optional_get(cx: &mut Node) -> Result<Lowered> {
    match cx.value(0).cloned() {
        Some(Value::Optional(Some(v))) => Ok(vec![*v]),
        Some(Value::Optional(None)) | None => Err(ImportError::invalid("the optional is empty")),
        Some(Value::List(l)) if l.items == Items::Optional => {
            let first = cx.tensor(Tensor::scalar(0i64));
            Ok(vec![element_at(cx, &l, first)?])
        }
        Some(other) => Ok(vec![other]),
    }
}

fn optional_has(cx: &mut Node) -> Result<Lowered> {
    if let Some(Value::List(l)) = cx.value(0).cloned()
        && l.items == Items::Optional
    {
        let (n, zero) = (length(cx, &l)?, cx.tensor(Tensor::scalar(0i64)));
        return one(cx.compare(BinaryKind::Gt, n, V { id: zero, elem: Elem::I64 })?);
    }
    let has = !matches!(cx.value(0), None | Some(Value::Optional(None)));
    let id = cx.tensor(Tensor::scalar(has));
    one(V { id, elem: Elem::Bool })
}
