//! Operands that say what to do (shapes, axes, pads), and elements that are moved without looking at them.

use super::Operator;
use super::infer::{Fact, Infer, ValueType, normalize_axis};
use crate::format::map::cast;
use crate::{DType, Dim, Element, Error, Result, Tensor, checked_bytes, dim::show_shape};

/// Largest tensor, in bytes, that an evaluation makes: a small file must not ask for all memory.
const MAX_BYTES: usize = 1 << 32;

/// The number of entries of a vector operand (a scalar counts as one entry).
///
/// # Errors
/// When the operand is absent, not a vector of integers, or of unknown length.
pub(crate) fn entries(cx: &Infer, i: usize) -> Result<usize> {
    let ty = cx.ty(i)?;
    if !ty.dtype.is_integer() {
        return Err(Error::graph(format!("input {i}: expected a vector of integers, found {ty}")));
    }
    match ty.shape.as_slice() {
        [] => Ok(1),
        [n] => n.known().ok_or_else(|| {
            Error::unsupported(format!("input {i}: its length {n} is decided while running, so the output has no rank"))
        }),
        _ => Err(Error::graph(format!("input {i}: expected a vector of integers, found {ty}"))),
    }
}

/// The entries of a vector of integers: numbers, or expressions where they follow from shapes. `None` when they are decided
/// while running.
///
/// # Errors
/// As [`entries`].
pub(crate) fn vector(cx: &Infer, i: usize) -> Result<Option<Vec<Dim>>> {
    entries(cx, i)?;
    let constant = || cx.integers(i).map(|v| v.into_iter().map(Dim::signed).collect());
    Ok(cx.dims(i).map(<[Dim]>::to_vec).or_else(constant))
}

/// As [`vector`], where every entry must be a number: `None` when one is not known beforehand.
///
/// # Errors
/// As [`entries`].
pub(crate) fn numbers(cx: &Infer, i: usize) -> Result<Option<Vec<i64>>> {
    Ok(vector(cx, i)?.and_then(|v| v.iter().map(Dim::known_signed).collect()))
}

/// Distinct axes of a tensor of `rank` dimensions, not negative any more.
///
/// # Errors
/// When one lies outside or two are the same.
pub(crate) fn distinct_axes(axes: &[i64], rank: usize) -> Result<Vec<usize>> {
    let mut out = Vec::with_capacity(axes.len());
    for &a in axes {
        let axis = normalize_axis(a, rank)?;
        if out.contains(&axis) {
            return Err(Error::graph(format!("axis {a} is named twice in {axes:?}")));
        }
        out.push(axis);
    }
    Ok(out)
}

/// As many dimensions as needed, each decided while running.
///
/// # Errors
/// When no tensor has so many.
pub(crate) fn unknown_shape(rank: usize) -> Result<Vec<Dim>> {
    super::infer::admit_rank(rank)?;
    Ok((0..rank).map(|_| Dim::unknown()).collect())
}

/// Checks a dimension that was computed: it must not be a negative number.
///
/// # Errors
/// When it is.
pub(crate) fn extent(d: Dim, what: &str) -> Result<Dim> {
    match d.known_signed() {
        Some(n) if n < 0 => Err(Error::graph(format!("{what}: the extent would be {n}"))),
        _ => Ok(d),
    }
}

/// One dimension that two shapes share: the number when either is known.
///
/// # Errors
/// When both are known and differ.
pub(crate) fn unify(what: &str, a: &Dim, b: &Dim) -> Result<Dim> {
    match (a.known(), b.known()) {
        (Some(x), Some(y)) if x != y => Err(Error::graph(format!("{what}: the extents {x} and {y} differ"))),
        (None, Some(_)) => Ok(b.clone()),
        _ => Ok(a.clone()),
    }
}

/// Types of the outputs of an op on these tensors: what [`Operator::infer`] says when everything is known.
///
/// # Errors
/// When the tensors do not fit the op, or an output would be larger than an evaluation may make.
pub(crate) fn types(op: &dyn Operator, inputs: &[Option<&Tensor>], outputs: usize) -> Result<Vec<ValueType>> {
    let facts: Vec<Option<Fact>> = inputs.iter().map(|t| t.map(|t| Fact::of_constant(t.clone()))).collect();
    let facts: Vec<Option<&Fact>> = facts.iter().map(Option::as_ref).collect();
    op.infer(&Infer::new(&facts, outputs))
}

/// The shapes of [`types`], as numbers.
///
/// # Errors
/// As [`types`].
pub(crate) fn shapes(op: &dyn Operator, inputs: &[Option<&Tensor>], outputs: usize) -> Result<Vec<Vec<usize>>> {
    types(op, inputs, outputs)?.into_iter().map(|t| known(&t)).collect()
}

/// The shape of the only output of an op on these tensors.
///
/// # Errors
/// As [`types`].
pub(crate) fn shape(op: &dyn Operator, inputs: &[Option<&Tensor>]) -> Result<Vec<usize>> {
    shapes(op, inputs, 1)?.pop().ok_or_else(|| Error::graph("the op gives no output"))
}

fn known(ty: &ValueType) -> Result<Vec<usize>> {
    let shape = ty
        .known_shape()
        .ok_or_else(|| Error::graph(format!("the extents {} are not all known", show_shape(&ty.shape))))?;
    let bytes = checked_bytes(ty.dtype, &shape)?;
    if bytes > MAX_BYTES {
        return Err(Error::limit(format!("{ty} would take {bytes} bytes; at most {MAX_BYTES} are made")));
    }
    Ok(shape)
}

/// The entries of a vector operand that an evaluation reads.
///
/// # Errors
/// When the operand is absent or does not hold integers.
pub(crate) fn integers(inputs: &[Option<&Tensor>], i: usize) -> Result<Vec<i64>> {
    super::conv::operand(inputs, i)?.to_i64()
}

/// The elements of a tensor as unsigned integers of the same size.
pub(crate) fn raw<T: Element>(t: &Tensor) -> &[T] {
    cast(t.bytes())
}

/// A tensor of a type from elements of the same size.
///
/// # Errors
/// When the number of elements is not the product of the shape.
pub(crate) fn from_raw<T: Element>(dtype: DType, shape: &[usize], data: Vec<T>) -> Result<Tensor> {
    Ok(Tensor::new(shape, data)?.retyped(dtype))
}

/// Runs a block with `$t` bound to the unsigned integer that has the size of the type: enough to move elements.
macro_rules! by_size {
    ($dtype:expr, $t:ident => $body:expr) => {
        match $dtype.size() {
            1 => {
                type $t = u8;
                $body
            }
            2 => {
                type $t = u16;
                $body
            }
            4 => {
                type $t = u32;
                $body
            }
            _ => {
                type $t = u64;
                $body
            }
        }
    };
}

pub(crate) use by_size;
