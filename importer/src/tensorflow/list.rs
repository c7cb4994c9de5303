//! Lists of tensors, by which loops read and write the steps of a sequence. Their length and positions are known while importing.

use std::rc::Rc;

use pocketnn::{Dim, Tensor};

use super::attrs::missing;
use super::elem::Elem;
use super::graph::Slot;
use super::node::{Lowered, Node, V, Value, int, one};
use super::registry::{Row, multi, op};
use crate::error::{ImportError, Result};

pub(super) const ROWS: &[Row] = &[
    op("EmptyTensorList", empty),
    multi("TensorListConcatV2", &["tensor", "lengths"], concat),
    op("TensorListElementShape", element_shape),
    op("TensorListFromTensor", from_tensor),
    op("TensorListGetItem", get),
    op("TensorListLength", length),
    multi("TensorListPopBack", &["output_handle", "tensor"], pop),
    op("TensorListPushBack", push),
    op("TensorListReserve", reserve),
    op("TensorListResize", resize),
    op("TensorListSetItem", set),
    op("TensorListStack", stack),
];

/// A list. Items that were not set are zeros.
#[derive(Clone, Debug)]
pub(super) struct List {
    elem: Elem,
    /// Shape of an item, as far as it is known (-1 for an extent that is not).
    shape: Option<Vec<i64>>,
    /// The tensor whose slices along axis 0 the items are, unless they were set since.
    source: Option<V>,
    items: Vec<Option<V>>,
}

fn list(cx: &Node) -> Result<Rc<List>> {
    match cx.value(0)? {
        Value::List(list) => Ok(Rc::clone(list)),
        _ => Err(ImportError::invalid("input 0 is no list of tensors")),
    }
}

fn elem(cx: &Node) -> Result<Elem> {
    cx.attrs.elem("element_dtype")?.ok_or_else(|| missing("element_dtype"))
}

/// Extents of an item that input `i` gives; `None` where it says nothing.
fn item_shape(cx: &mut Node, i: usize) -> Result<Option<Vec<i64>>> {
    let v = cx.input(i)?;
    if cx.rank(v) == 0 {
        return Ok(None);
    }
    if let Some(list) = cx.const_ints(v) {
        return Ok(Some(list));
    }
    let dims = cx.walker.builder.fact(v.id).dims.as_deref();
    Ok(dims.map(|d| d.iter().map(|d| d.known_signed().unwrap_or(-1)).collect()))
}

/// A number of items.
fn count(cx: &mut Node, i: usize) -> Result<usize> {
    let n = cx.need_int(i, "the length of a list")?;
    let n = usize::try_from(n).map_err(|_| ImportError::invalid("a negative length of a list").found(n))?;
    cx.walker.cx.budget.entries(u64::try_from(n).unwrap_or(u64::MAX), "items of a list")?;
    Ok(n)
}

fn reserve<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let (elem, shape, n) = (elem(cx)?, item_shape(cx, 0)?, count(cx, 1)?);
    one(Value::List(Rc::new(List { elem, shape, source: None, items: vec![None; n] })))
}

fn empty<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let (elem, shape) = (elem(cx)?, item_shape(cx, 0)?);
    one(Value::List(Rc::new(List { elem, shape, source: None, items: Vec::new() })))
}

fn from_tensor<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let x = cx.input(0)?;
    let n = cx.known(x, 0)?;
    cx.walker.cx.budget.entries(u64::try_from(n).unwrap_or(u64::MAX), "items of a list")?;
    let shape = item_shape(cx, 1)?;
    one(Value::List(Rc::new(List { elem: x.elem, shape, source: Some(x), items: vec![None; n] })))
}

/// The position that input 1 gives.
fn position(cx: &mut Node) -> Result<usize> {
    let at = cx.need_int(1, "a position in a list")?;
    usize::try_from(at).map_err(|_| ImportError::invalid("a negative position in a list").found(at))
}

fn outside(at: usize, n: usize) -> ImportError {
    ImportError::invalid("a position outside of the list").expected(format!("below {n}")).found(at)
}

/// Item `at`, if it is there.
fn item(cx: &mut Node, list: &List, at: usize) -> Result<Option<V>> {
    match (list.items.get(at), list.source) {
        (None, _) => Err(outside(at, list.items.len())),
        (Some(Some(v)), _) => Ok(Some(*v)),
        (Some(None), Some(x)) => {
            let i = int(at);
            let part = cx.slice(x, 0, i, i.saturating_add(1))?;
            cx.squeeze(part, &[0]).map(Some)
        }
        (Some(None), None) => Ok(None),
    }
}

fn get<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let (list, at) = (list(cx)?, position(cx)?);
    if let Some(v) = item(cx, &list, at)? {
        return one(v);
    }
    let shape = item_shape(cx, 2)?;
    one(zeros(cx, &list, shape)?)
}

/// An item that was not set.
fn zeros(cx: &mut Node, list: &List, shape: Option<Vec<i64>>) -> Result<V> {
    let known = |s: &Vec<i64>| s.iter().map(|&d| usize::try_from(d).ok()).collect::<Option<Vec<usize>>>();
    let of_items = || {
        let v = list.items.iter().flatten().next()?;
        cx.known_shape(*v)
    };
    let shape = shape.as_ref().and_then(known).or_else(|| list.shape.as_ref().and_then(known)).or_else(of_items);
    let shape = shape.ok_or_else(|| {
        ImportError::unsupported("an item of a list that was not set and has no known shape is not supported")
    })?;
    let wide: Vec<u64> = shape.iter().map(|&d| u64::try_from(d).unwrap_or(u64::MAX)).collect();
    cx.walker.cx.budget.elements(&wide, 8, "an item of a list")?;
    let t = Tensor::zeros(list.elem.carried()?, &shape).map_err(|e| ImportError::limits(e.message()))?;
    Ok(V { id: cx.tensor(t), elem: list.elem })
}

fn set<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let (mut list, at) = (list(cx)?, position(cx)?);
    let grows = cx.attrs.flag("resize_if_index_out_of_bounds", false)?;
    let v = cx.input(2)?;
    let n = list.items.len();
    if at >= n && !grows {
        return Err(outside(at, n));
    }
    cx.walker.cx.budget.entries(u64::try_from(at).unwrap_or(u64::MAX), "items of a list")?;
    let own = Rc::make_mut(&mut list);
    if at >= n {
        own.items.resize(at.saturating_add(1), None);
    }
    if let Some(slot) = own.items.get_mut(at) {
        *slot = Some(v);
    }
    one(Value::List(list))
}

fn push<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let mut list = list(cx)?;
    let v = cx.input(1)?;
    let own = Rc::make_mut(&mut list);
    own.items.push(Some(v));
    cx.walker.cx.budget.entries(u64::try_from(own.items.len()).unwrap_or(u64::MAX), "items of a list")?;
    one(Value::List(list))
}

fn pop<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let mut list = list(cx)?;
    let last = list.items.len().checked_sub(1).ok_or_else(|| ImportError::invalid("an empty list has no last item"))?;
    let v = if let Some(v) = item(cx, &list, last)? {
        v
    } else {
        let shape = item_shape(cx, 1)?;
        zeros(cx, &list, shape)?
    };
    Rc::make_mut(&mut list).items.pop();
    Ok(vec![Slot::Value(Value::List(list)), Slot::Value(v.into())])
}

fn length<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let n = i32::try_from(list(cx)?.items.len()).unwrap_or(i32::MAX);
    let id = cx.tensor(Tensor::scalar(n));
    one(V { id, elem: Elem::I32 })
}

fn resize<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let mut list = list(cx)?;
    let n = count(cx, 1)?;
    Rc::make_mut(&mut list).items.resize(n, None);
    one(Value::List(list))
}

fn element_shape<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let list = list(cx)?;
    let shape = list.shape.clone().ok_or_else(|| {
        ImportError::unsupported("the shape of the items of a list, which is not known, is not supported")
    })?;
    let elem = cx.attrs.elem("shape_type")?.unwrap_or(Elem::I32);
    let id = cx.integers(&shape);
    one(cx.typed(id, elem)?)
}

/// All items.
fn items(cx: &mut Node, list: &List) -> Result<Vec<V>> {
    let shape = item_shape(cx, 1)?;
    (0..list.items.len())
        .map(|at| match item(cx, list, at)? {
            Some(v) => Ok(v),
            None => zeros(cx, list, shape.clone()),
        })
        .collect()
}

fn stack<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    cx.attrs.ignore(&["num_elements"]);
    let list = list(cx)?;
    if list.items.iter().all(Option::is_none)
        && let Some(x) = list.source
        && cx.extent(x, 0) == Some(list.items.len())
    {
        return one(x);
    }
    let parts = items(cx, &list)?;
    let mut rows = Vec::with_capacity(parts.len());
    for v in parts {
        rows.push(cx.unsqueeze(v, &[0])?);
    }
    if rows.is_empty() {
        return Err(ImportError::unsupported("an empty list cannot be stacked"));
    }
    one(cx.concat(&rows, 0)?)
}

fn concat<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let list = list(cx)?;
    let parts = items(cx, &list)?;
    let lengths: Option<Vec<i64>> = parts.iter().map(|v| cx.shape(*v).first().and_then(Dim::known_signed)).collect();
    let lengths =
        lengths.ok_or_else(|| ImportError::unsupported("joined items of unknown length are not supported"))?;
    let y = cx.concat(&parts, 0)?;
    let lengths = V { id: cx.integers(&lengths), elem: Elem::I64 };
    super::node::many([y, lengths])
}
