//! Constants, shapes, conversions, and operators that do nothing in inference.

use pocketnn::narrow::Rounding;
use pocketnn::ops::elementwise::{BinaryKind, BitCast, Cast, Narrow, Where};
use pocketnn::ops::gather::EyeLike;
use pocketnn::ops::movement::{ConstantOfShape, Range, Shape};
use pocketnn::ops::random::Distribution;
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
    op("BitCast", &[26], bit_cast),
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
    } else if let Some(s) = a.opt_string("value_string")? {
        (Elem::Text, Tensor::texts(&[], [s]).map_err(|e| ImportError::invalid(e.message()))?)
    } else if let Some(s) = a.strings("value_strings")? {
        (Elem::Text, Tensor::texts(&[s.len()], s).map_err(|e| ImportError::invalid(e.message()))?)
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
        let known = (1..=28).filter_map(Elem::of).find(|e| e.name().eq_ignore_ascii_case(&name));
        known.ok_or_else(|| super::attrs::unknown_value("to", "the name of an element type", &name))?
    } else {
        let number = cx.attrs.opt_int("to")?.ok_or_else(|| missing("to"))?;
        Elem::parse(i32::try_from(number).unwrap_or(-1)).map_err(|e| e.at_attribute("to"))?
    };
    let x = cx.input(0)?;
    one(cast_as(cx, x, to)?)
}

fn cast_like(cx: &mut Node) -> Result<Lowered> {
    let (x, like) = (cx.input(0)?, cx.input(1)?);
    one(cast_as(cx, x, like.elem)?)
}

/// The bits of the stored types, not of what carries them.
fn bit_cast(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    let number = cx.attrs.opt_int("to")?.ok_or_else(|| missing("to"))?;
    let to = Elem::parse(i32::try_from(number).unwrap_or(-1)).map_err(|e| e.at_attribute("to"))?;
    let stored = cx.convert(x.id, x.elem.stored()?)?;
    one(cx.op(BitCast { to: to.stored()? }, &[stored], to)?)
}

/// Converts as the attributes `saturate` and `round_mode` say.
fn cast_as(cx: &mut Node, x: V, to: Elem) -> Result<V> {
    let saturate = cx.attrs.flag("saturate", true)?;
    let mode = cx.attrs.string("round_mode", "up")?;
    let rounding = Rounding::from_name(&mode);
    let rounding =
        rounding.ok_or_else(|| super::attrs::unknown_value("round_mode", "`up`, `down` or `nearest`", &mode))?;
    narrowed(cx, x, to, saturate, rounding)
}

/// As [`cast_to`], where what narrow floats do beyond the largest number matters.
pub(super) fn narrowed(cx: &mut Node, x: V, to: Elem, saturate: bool, rounding: Rounding) -> Result<V> {
    let dtype = to.carried()?;
    let as_cast = saturate && (to != Elem::F8e8m0 || rounding == Rounding::Up);
    if as_cast || !dtype.is_narrow() || x.elem == to {
        return cast_to(cx, x, to);
    }
    cx.op(Narrow { to: dtype, saturate, rounding }, &[x.id], to)
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

/// Nothing happens to `x` in inference; the mask says that every element stayed. In training mode, elements are dropped at random.
fn dropout(cx: &mut Node) -> Result<Lowered> {
    cx.attrs.ignore(&["consumed_inputs", "is_test", "seed"]);
    let x = cx.input(0)?;
    let attribute = cx.attrs.float("ratio", 0.5)?;
    let ratio = cx.maybe(1)?;
    let training = cx.maybe(2)?;
    if let Some(training) = training
        && cx.const_ints(training).as_deref() != Some(&[0])
    {
        let ratio = if let Some(r) = ratio { r } else { cx.float(attribute) };
        return dropped(cx, x, ratio, training);
    }
    let mut out = vec![x.into()];
    if cx.wants(1) {
        let mask = if cx.since < 10 { x.elem } else { Elem::Bool };
        out.push(ones_like(cx, x, mask)?.into());
    }
    Ok(out)
}

/// Where training is on, each element is 0 with the probability `ratio`, and the others grow by what is lost.
fn dropped(cx: &mut Node, x: V, ratio: V, training: V) -> Result<Lowered> {
    let ratio = cast_to(cx, ratio, Elem::F32)?;
    let shape = cx.op(Shape::default(), &[x.id], Elem::I64)?;
    let u = super::random::numbers(cx, Distribution::Uniform, (0.0, 1.0), shape.id)?;
    let stays = cx.compare(BinaryKind::Ge, u, ratio)?;
    let (off, unit) = (cx.tensor(Tensor::scalar(true)), cx.float(1.0));
    let mask = cx.op(Where::default(), &[training.id, stays.id, off], Elem::Bool)?;
    let left = cx.binary(BinaryKind::Sub, unit, ratio)?;
    let factor = cx.binary(BinaryKind::Div, unit, left)?;
    let factor = cx.op(Where::default(), &[training.id, factor.id, unit.id], Elem::F32)?;
    let factor = cast_to(cx, factor, x.elem)?;
    let zero = cx.scalar_like(x, 0.0)?;
    let grown = cx.binary(BinaryKind::Mul, x, factor)?;
    let y = cx.op(Where::default(), &[mask.id, grown.id, zero.id], x.elem)?;
    Ok(vec![y.into(), mask.into()])
}
