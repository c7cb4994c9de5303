//! Stored tensors (`TensorProto`) become tensors of the runtime.
//!
//! Elements are raw little-endian bytes, or a list of numbers whose last one stands for all that follow.

use half::{bf16, f16};
use pocketnn::{Element, Tensor};

use super::elem::Elem;
use super::proto;
use crate::error::{ImportError, Result};
use crate::limits::Budget;
use crate::protobuf::{Message, Meter};

/// A constant of the file.
pub(super) enum Constant {
    Numbers(Elem, Tensor),
    Text,
}

/// Field numbers of the lists of numbers.
struct Lists {
    fixed32: Vec<u32>,
    fixed64: Vec<u64>,
    numbers: Vec<u64>,
}

/// Decodes a tensor.
///
/// # Errors
/// `Unsupported` for an element type that nothing carries, `Invalid` where elements and shape disagree, `Limits` where it is too big.
pub(super) fn decode(m: Message, meter: &Meter, budget: &Budget) -> Result<Constant> {
    let (mut number, mut dims, mut raw) = (0, Some(Vec::new()), None);
    let mut lists = Lists { fixed32: Vec::new(), fixed64: Vec::new(), numbers: Vec::new() };
    for f in m.fields() {
        let f = f?;
        match f.number {
            1 => number = f.int32()?,
            2 => dims = proto::shape(f.message()?, meter)?,
            4 => raw = Some(f.bytes()?).filter(|b| !b.is_empty()),
            5 => f.fixed32s(&mut lists.fixed32, meter)?,
            6 => f.fixed64s(&mut lists.fixed64, meter)?,
            7 | 10 | 11 | 13 | 16 | 17 => f.unsigneds(&mut lists.numbers, meter)?,
            _ => {}
        }
    }
    let elem = Elem::parse(number)?;
    if elem == Elem::Text {
        return Ok(Constant::Text);
    }
    let dtype = elem.stored()?;
    let dims = dims.ok_or_else(|| ImportError::invalid("a constant without a shape"))?;
    let shape = extents(&dims)?;
    let count = budget.elements(
        &shape.iter().map(|&d| u64::try_from(d).unwrap_or(u64::MAX)).collect::<Vec<_>>(),
        u64::try_from(dtype.size()).unwrap_or(u64::MAX),
        "a constant",
    )?;
    let built = match raw {
        Some(raw) => Tensor::from_bytes(dtype, &shape, raw),
        None => listed(elem, &shape, count, &lists),
    };
    built.map(|t| Constant::Numbers(elem, t)).map_err(|e| ImportError::invalid(e.message()))
}

/// Extents that are not negative.
pub(super) fn extents(dims: &[i64]) -> Result<Vec<usize>> {
    let all: Option<Vec<usize>> = dims.iter().map(|&d| usize::try_from(d).ok()).collect();
    all.ok_or_else(|| ImportError::invalid("a negative dimension of a stored tensor").found(format!("{dims:?}")))
}

fn listed(elem: Elem, shape: &[usize], count: usize, l: &Lists) -> Result<Tensor, pocketnn::Error> {
    fn fill<T: Copy, U: Element>(
        list: &[T],
        shape: &[usize],
        count: usize,
        convert: impl Fn(T) -> U,
    ) -> Result<Tensor, pocketnn::Error> {
        if list.len() > count {
            let message = format!("a tensor of shape {shape:?} has {count} elements, its list holds {}", list.len());
            return Err(pocketnn::Error::argument(message));
        }
        let mut data: Vec<U> = list.iter().map(|&x| convert(x)).collect();
        // Without a list all elements are zero.
        let last = data.last().copied().unwrap_or_default();
        data.resize(count, last);
        Tensor::new(shape, data)
    }
    let n = &l.numbers;
    match elem {
        Elem::F32 => fill(&l.fixed32, shape, count, f32::from_bits),
        Elem::F64 => fill(&l.fixed64, shape, count, f64::from_bits),
        Elem::I32 => fill(n, shape, count, |x| x as i32),
        Elem::U8 => fill(n, shape, count, |x| x as u8),
        Elem::I16 => fill(n, shape, count, |x| x as i16),
        Elem::I8 => fill(n, shape, count, |x| x as i8),
        Elem::I64 => fill(n, shape, count, |x| x as i64),
        Elem::Bool => fill(n, shape, count, |x| x != 0),
        Elem::U16 => fill(n, shape, count, |x| x as u16),
        Elem::U32 => fill(n, shape, count, |x| x as u32),
        Elem::U64 => fill(n, shape, count, |x| x),
        Elem::F16 => fill(n, shape, count, |x| f16::from_bits(x as u16)),
        Elem::Bf16 => fill(n, shape, count, |x| bf16::from_bits(x as u16)),
        other => Err(pocketnn::Error::unsupported(format!("elements of type {} are not supported", other.name()))),
    }
}
