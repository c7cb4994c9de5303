//! Stored tensors become tensors of the runtime.
//!
//! A tensor keeps its elements as raw little-endian bytes, in a list of numbers, or in another file ([`super::external`]). Of the
//! lists, `int32_data` also holds every type of at most 16 bits, float16 and bfloat16 as bit patterns among them.

use half::{bf16, f16};
use pocketnn::{DType, Tensor, narrow};

use super::elem::Elem;
use super::external::Folder;
use super::proto::{RawTensor, SparseTensor};
use crate::error::{ImportError, Result};
use crate::limits::Budget;

/// A tensor's elements and their declared type.
///
/// # Errors
/// `Unsupported` for an element type that nothing carries, `Invalid` where elements and shape disagree, `Limits` where it is
/// too big, and what [`Folder::read`] says of external data.
pub(super) fn tensor(raw: RawTensor, folder: &Folder, budget: &Budget) -> Result<(Elem, Tensor)> {
    let name = raw.name.clone();
    build(raw, folder, budget).map_err(|e| if name.is_empty() { e } else { e.at_node(&name) })
}

fn build(raw: RawTensor, folder: &Folder, budget: &Budget) -> Result<(Elem, Tensor)> {
    let elem = Elem::parse(raw.data_type)?;
    let dtype = elem.stored()?;
    if raw.segmented {
        return Err(ImportError::unsupported("tensors in segments are not supported"));
    }
    let shape = shape(&raw.dims)?;
    let size = u64::try_from(dtype.size()).unwrap_or(u64::MAX);
    let count = budget.elements(&shape, size.max(1), "tensor")?;
    let shape = shape.into_iter().map(|d| crate::to_usize(d, "a dimension")).collect::<Result<Vec<_>>>()?;
    let bytes = count.saturating_mul(narrow::bits(dtype)).div_ceil(8);
    let built = if dtype == DType::Text {
        Tensor::texts(&shape, raw.strings.iter().map(|s| String::from_utf8_lossy(s)))
    } else if let Some(entries) = &raw.external {
        narrow::unpack(dtype, &shape, &folder.read(entries, bytes)?)
    } else if raw.raw.is_empty() {
        from_list(raw, elem, &shape, count)
    } else {
        if raw.raw.len() != bytes {
            return Err(ImportError::invalid("raw data of the wrong length")
                .expected(format!("{bytes} bytes for {} {shape:?}", elem.name()))
                .found(raw.raw.len()));
        }
        narrow::unpack(dtype, &shape, &raw.raw)
    };
    built.map(|t| (elem, t)).map_err(|e| ImportError::invalid(e.message()))
}

/// Dimensions that are not negative.
fn shape(dims: &[i64]) -> Result<Vec<u64>> {
    let all: Option<Vec<u64>> = dims.iter().map(|&d| u64::try_from(d).ok()).collect();
    all.ok_or_else(|| ImportError::invalid("a negative dimension").found(format!("{dims:?}")))
}

fn from_list(raw: RawTensor, elem: Elem, shape: &[usize], count: usize) -> Result<Tensor, pocketnn::Error> {
    /// Checks the length of a list; a tensor without elements has none at all.
    fn all<T, U: pocketnn::Element>(
        list: Vec<T>,
        shape: &[usize],
        count: usize,
        convert: impl Fn(T) -> U,
    ) -> Result<Tensor, pocketnn::Error> {
        if list.len() != count {
            let message = format!("a tensor of shape {shape:?} has {count} elements, its list holds {}", list.len());
            return Err(pocketnn::Error::argument(message));
        }
        Tensor::new(shape, list.into_iter().map(convert).collect())
    }
    match elem {
        Elem::F32 => all(raw.floats, shape, count, |x| x),
        Elem::F64 => all(raw.doubles, shape, count, |x| x),
        Elem::I64 => all(raw.int64s, shape, count, |x| x),
        Elem::U64 => all(raw.uint64s, shape, count, |x| x),
        Elem::U32 => all(raw.uint64s, shape, count, |x| x as u32),
        Elem::I32 => all(raw.int32s, shape, count, |x| x),
        Elem::I16 => all(raw.int32s, shape, count, |x| x as i16),
        Elem::U16 => all(raw.int32s, shape, count, |x| x as u16),
        Elem::I8 => all(raw.int32s, shape, count, |x| x as i8),
        Elem::U8 => all(raw.int32s, shape, count, |x| x as u8),
        Elem::Bool => all(raw.int32s, shape, count, |x| x != 0),
        Elem::F16 => all(raw.int32s, shape, count, |x| f16::from_bits(x as u16)),
        Elem::Bf16 => all(raw.int32s, shape, count, |x| bf16::from_bits(x as u16)),
        // Codes: packed where they have less than 8 bits.
        other => {
            let dtype = other.stored().map_err(|e| pocketnn::Error::unsupported(e.to_string()))?;
            let codes: Vec<u8> = raw.int32s.iter().map(|&x| x as u8).collect();
            narrow::unpack(dtype, shape, &codes)
        }
    }
}

/// A sparse tensor made dense.
///
/// # Errors
/// As [`tensor`]; `Invalid` where an index lies outside.
pub(super) fn dense(sparse: SparseTensor, folder: &Folder, budget: &Budget) -> Result<(Elem, Tensor)> {
    let (elem, values) = tensor(sparse.values, folder, budget)?;
    let (_, indices) = tensor(sparse.indices, folder, budget)?;
    let dims = shape(&sparse.dims)?;
    let size = values.dtype().size();
    budget.elements(&dims, u64::try_from(size).unwrap_or(u64::MAX), "sparse tensor")?;
    let dims = dims.into_iter().map(|d| crate::to_usize(d, "a dimension")).collect::<Result<Vec<_>>>()?;
    let places = places(&indices, &dims, values.len())?;
    let mut bytes =
        vec![0u8; pocketnn::checked_bytes(values.dtype(), &dims).map_err(|e| ImportError::limits(e.message()))?];
    for (place, element) in places.into_iter().zip(values.bytes().chunks_exact(size)) {
        let at = place.saturating_mul(size);
        let target = bytes.get_mut(at..at.saturating_add(size));
        target
            .ok_or_else(|| ImportError::invalid("an index of a sparse tensor lies outside").found(place))?
            .copy_from_slice(element);
    }
    Tensor::from_bytes(values.dtype(), &dims, &bytes).map(|t| (elem, t)).map_err(|e| ImportError::invalid(e.message()))
}

/// Flat positions of the values: indices are flat (`[count]`) or one coordinate an axis (`[count, rank]`).
fn places(indices: &Tensor, dims: &[usize], count: usize) -> Result<Vec<usize>> {
    let wrong = || {
        ImportError::invalid("indices of a sparse tensor")
            .expected(format!("[{count}] or [{count}, {}], each inside {dims:?}", dims.len()))
            .found(format!("{:?}", indices.shape()))
    };
    let list = indices.to_i64().map_err(|e| ImportError::invalid(e.message()))?;
    let inside = |i: i64, n: usize| usize::try_from(i).ok().filter(|&i| i < n).ok_or_else(wrong);
    match *indices.shape() {
        [n] if n == count => {
            let total = pocketnn::checked_len(dims).map_err(|e| ImportError::limits(e.message()))?;
            list.iter().map(|&i| inside(i, total)).collect()
        }
        [n, rank] if n == count && rank == dims.len() && rank > 0 => {
            let flat = |row: &[i64]| {
                row.iter()
                    .zip(dims)
                    .try_fold(0usize, |at, (&i, &d)| Ok(at.saturating_mul(d).saturating_add(inside(i, d)?)))
            };
            list.chunks_exact(rank).map(flat).collect()
        }
        _ => Err(wrong()),
    }
}

/// Number and little-endian bytes of a tensor's type; elements of less than 8 bits are packed.
pub(super) fn encoded(t: &Tensor) -> (i32, Vec<u8>) {
    debug_assert!(t.dtype() != DType::Bool || t.bytes().iter().all(|&b| b < 2));
    (Elem::of_stored(t.dtype()).number(), narrow::pack(t))
}
