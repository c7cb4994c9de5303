//! Constants, shapes, conversions, and operators that do nothing in inference.

use pocketnn::ops::elementwise::Cast;
use pocketnn::ops::gather::EyeLike;
use pocketnn::ops::movement::{ConstantOfShape, Range, Shape};
use pocketnn::ops::reduce::{Reduce, ReduceKind};
use pocketnn::{DType, Tensor};

use super::activation::ones_like;
use super::attrs::missing;
use super::elem::Elem;
use super::node::{Lowered, Node, V, cast_tensor, one};
use super::registry::{Row, op};
use super::tensor;
use crate::error::{ImportError, Result};

pub(super) const ROWS: &[Row] = &[
    op("Cast", &[1, 6, 9, 13, 19, 21, 23, 24, 25, 28], cast),
    op("CastLike", &[15, 19, 21, 23, 24, 25], cast_like),
    op("Constant", &[1, 9, 11, 12, 13, 19, 21, 23, 24, 25], constant),
    op("ConstantOfShape", &[9, 20, 21, 23, 24, 25], constant_of_shape),
    op("Dropout", &[1, 6, 7, 10, 12, 13, 22], dropout),
    op("EyeLike", &[9, 22], eye_like),
    op("Identity", &[1, 13, 14, 16, 19, 21, 23, 24, 25], identity),
    op("Range", &[11, 27], range),
    op("Shape", &[1, 13, 15, 19, 21, 23, 24, 25], shape),
    op("Size", &[1, 13, 19, 21, 23, 24, 25], size),
];

fn identity(cx: &mut Node) -> Result<Lowered> {
    match cx.value(0) {
        Some(value) => Ok(vec![value.clone()]),
        None => Err(ImportError::invalid("input 0 is missing")),
    }
}

fn constant(cx: &mut Node) -> Result<Lowered> {
    let a = &cx.attrs;
    let (elem, t) = if let Some(raw) = a.tensor("value")? {
        tensor::tensor(raw.clone(), cx.walker.folder, cx.walker.budget)?
    } else if let Some(sparse) = a.sparse("sparse_value")? {
        tensor::dense(sparse.clone(), cx.walker.folder, cx.walker.budget)?
    } else if let Some(x) = a.opt_int("value_int")? {
        (Elem::I64, Tensor::scalar(x))
    } else if let Some(x) = a.opt_float("value_float")? {
        (Elem::F32, Tensor::scalar(x))
    } else if let Some(x) = a.ints("value_ints")? {
        (Elem::I64, Tensor::vector(&x))
    } else if let Some(x) = a.floats("value_floats")? {
        (Elem::F32, Tensor::vector(&x))
    } else if a.has("value_string") || a.has("value_strings") {
        return Err(ImportError::unsupported(format!("elements of type {} are not supported", Elem::Text.name())));
    } else {
        return Err(missing("value"));
    };
    let name = cx.node.outputs.first().cloned().unwrap_or_default();
    one(cx.walker.constant(&name, elem, t)?)
}

fn constant_of_shape(cx: &mut Node) -> Result<Lowered> {
    let (elem, value) = match cx.attrs.tensor("value")? {
        Some(raw) => tensor::tensor(raw.clone(), cx.walker.folder, cx.walker.budget)?,
        None => (Elem::F32, Tensor::vector(&[0.0f32])),
    };
    if value.len() != 1 {
        return Err(ImportError::invalid("the tensor must hold one element").found(value.len()).at_attribute("value"));
    }
    let value = cast_tensor(&value, elem.carried()?)?;
    let shape = cx.input(0)?;
    let shape = cx.as_i64(shape)?;
    one(cx.op(ConstantOfShape { value }, &[shape], elem)?)
}

/// The type to convert to is a number; in opset 1 its name.
fn cast(cx: &mut Node) -> Result<Lowered> {
    let to = if cx.since < 6 {
        let name = cx.attrs.opt_string("to")?.ok_or_else(|| missing("to"))?;
        let known = (1..=16).filter_map(Elem::of).find(|e| e.name().eq_ignore_ascii_case(&name));
        known.ok_or_else(|| super::attrs::unknown_value("to", "the name of an element type", &name))?
    } else {
        let number = cx.attrs.opt_int("to")?.ok_or_else(|| missing("to"))?;
        Elem::parse(i32::try_from(number).unwrap_or(-1)).map_err(|e| e.at_attribute("to"))?
    };
    // Both speak of narrower floats than are carried.
    cx.attrs.ignore(&["saturate", "round_mode"]);
    let x = cx.input(0)?;
    one(cast_to(cx, x, to)?)
}

fn cast_like(cx: &mut Node) -> Result<Lowered> {
    cx.attrs.ignore(&["saturate", "round_mode"]);
    let (x, like) = (cx.input(0)?, cx.input(1)?);
    one(cast_to(cx, x, like.elem)?)
}

/// Converts to a declared type. Values of a half-precision type are rounded to it when they come from a wider one.
pub(super) fn cast_to(cx: &mut Node, x: V, to: Elem) -> Result<V> {
    let carrier = to.carried()?;
    if x.elem == to {
        return Ok(x);
    }
    let id = cx.convert(x.id, carrier)?;
    let narrow = match to {
        Elem::F16 => DType::F16,
        Elem::Bf16 => DType::BF16,
        _ => return Ok(V { id, elem: to }),
    };
    let rounded = cx.emit(Cast { to: narrow }, &[Some(id)], 1)?;
    let rounded = rounded.first().copied().ok_or_else(|| ImportError::invalid("an op without output"))?;
    cx.typed(rounded, to)
}

fn shape(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    let start = cx.attrs.int("start", 0)?;
    let end = cx.attrs.opt_int("end")?;
    one(cx.op(Shape { start, end }, &[x.id], Elem::I64)?)
}

fn size(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    let shape = cx.op(Shape::default(), &[x.id], Elem::I64)?;
    one(cx.op(Reduce { kind: ReduceKind::Prod, keep_dims: false, ..Reduce::default() }, &[shape.id], Elem::I64)?)
}

fn eye_like(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    let elem = match cx.attrs.opt_int("dtype")? {
        None => x.elem,
        Some(n) => Elem::parse(i32::try_from(n).unwrap_or(-1)).map_err(|e| e.at_attribute("dtype"))?,
    };
    let k = cx.attrs.int("k", 0)?;
    one(cx.op(EyeLike { dtype: Some(elem.carried()?), k }, &[x.id], elem)?)
}

fn range(cx: &mut Node) -> Result<Lowered> {
    let (start, limit, delta) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
    one(cx.op(Range::default(), &[start.id, limit.id, delta.id], start.elem)?)
}

/// Nothing happens to `x` in inference; the mask says that every element stayed.
fn dropout(cx: &mut Node) -> Result<Lowered> {
    cx.attrs.ignore(&["consumed_inputs", "is_test", "seed"]);
    let x = cx.input(0)?;
    let mut ratio = cx.attrs.float("ratio", 0.5)?;
    if let Some(r) = cx.maybe(1)? {
        ratio = cx.const_floats(r).and_then(|r| r.first().copied()).unwrap_or(f32::NAN);
    }
    if let Some(training) = cx.maybe(2)? {
        let on = cx.need_ints(training, "the training mode of Dropout")?.first() != Some(&0);
        if on && ratio != 0.0 {
            return Err(ImportError::unsupported("random dropping of elements (training mode) is not supported"));
        }
    }
    let mut out = vec![x.into()];
    if cx.wants(1) {
        let mask = if cx.since < 10 { x.elem } else { Elem::Bool };
        out.push(ones_like(cx, x, mask)?.into());
    }
    Ok(out)
}
