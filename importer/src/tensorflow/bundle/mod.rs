//! Tensor bundles: the checkpoint of a SavedModel (`variables/variables.index` and its shards).
//!
//! ```text
//! variables.index                table (table.rs): "" -> BundleHeaderProto, tensor name -> BundleEntryProto
//! variables.data-00000-of-00001  elements of all tensors one after the other; an entry names shard, offset and size
//! ```
//!
//! A tensor that was partitioned has an entry that lists its slices; each slice has an entry of its own under a key made of the
//! tensor's name and the slice ([`slice_key`]). Every range has a CRC-32C, which is checked.

mod crc;
mod snappy;
mod table;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use pocketnn::Tensor;

use super::elem::Elem;
use super::proto;
use super::tensor::extents;
use crate::error::{ImportError, Result};
use crate::limits::{Budget, to_usize};
use crate::protobuf::{Message, Meter};

/// An open bundle.
#[derive(Debug)]
pub(super) struct Bundle {
    /// Path without `.index`.
    prefix: PathBuf,
    shards: i64,
    entries: BTreeMap<Vec<u8>, Entry>,
    open: RefCell<HashMap<i64, File>>,
}

/// Where a tensor stands.
#[derive(Clone, Debug, Default)]
struct Entry {
    dtype: i32,
    shape: Vec<i64>,
    shard: i64,
    offset: u64,
    size: u64,
    crc: Option<u32>,
    slices: Vec<Vec<Range>>,
}

/// Part of an axis; all of it where there is no length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    start: i64,
    length: Option<i64>,
}

impl Bundle {
    /// Opens the bundle of this prefix, such as `variables/variables`.
    ///
    /// # Errors
    /// `Io` when the index cannot be read, `Format` when it is damaged, `Limits` when it is too big.
    pub fn open(prefix: &Path, budget: &Budget) -> Result<Self> {
        let index = with_suffix(prefix, ".index");
        let io = |e: std::io::Error| ImportError::io(index.display(), &e);
        let length = std::fs::metadata(&index).map_err(io)?.len();
        budget.file(length, "the index of the variables").map_err(|e| e.in_file(index.display()))?;
        let bytes = std::fs::read(&index).map_err(io)?;
        Self::parse(prefix, &bytes, budget).map_err(|e| e.in_file(index.display()))
    }

    fn parse(prefix: &Path, bytes: &[u8], budget: &Budget) -> Result<Self> {
        let meter = Meter::new(budget.limits());
        let mut bundle =
            Self { prefix: prefix.to_owned(), shards: 1, entries: BTreeMap::new(), open: RefCell::default() };
        table::read(bytes, budget, &mut |key, value| {
            let m = Message::file(value);
            if key.is_empty() {
                bundle.shards = header(m)?;
            } else {
                meter.message()?;
                meter.bytes(u64::try_from(key.len()).unwrap_or(u64::MAX))?;
                let entry = entry(m, &meter).map_err(|e| e.at_node(String::from_utf8_lossy(key)))?;
                bundle.entries.insert(key.to_vec(), entry);
            }
            Ok(())
        })?;
        Ok(bundle)
    }

    /// True when there is a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name.as_bytes())
    }

    /// Reads a tensor.
    ///
    /// # Errors
    /// When there is none of this name, it is damaged, or its element type is not supported.
    pub fn tensor(&self, name: &str, budget: &Budget) -> Result<(Elem, Tensor)> {
        self.read_tensor(name, budget).map_err(|e| e.at_node(name))
    }

    fn read_tensor(&self, name: &str, budget: &Budget) -> Result<(Elem, Tensor)> {
        let e = self.entry(name.as_bytes())?;
        let elem = Elem::parse(e.dtype)?;
        let dtype = elem.stored()?;
        let shape = extents(&e.shape)?;
        let wide: Vec<u64> = e.shape.iter().map(|&d| u64::try_from(d).unwrap_or(u64::MAX)).collect();
        budget.elements(&wide, u64::try_from(dtype.size()).unwrap_or(u64::MAX), "a variable")?;
        let invalid = |e: pocketnn::Error| ImportError::invalid(e.message());
        let total = pocketnn::checked_bytes(dtype, &shape).map_err(|e| ImportError::limits(e.message()))?;
        if e.slices.is_empty() {
            let bytes = self.range(e, Some(total))?;
            return Ok((elem, Tensor::from_bytes(dtype, &shape, &bytes).map_err(invalid)?));
        }
        let mut all = vec![0u8; total];
        let mut filled = 0usize;
        for slice in &e.slices {
            let part = self.entry(&slice_key(name, slice))?;
            if part.dtype != e.dtype {
                return Err(ImportError::invalid("a slice has another element type than the tensor"));
            }
            let placed = Placed::new(&shape, slice)?;
            let expected = placed.count().saturating_mul(dtype.size());
            filled = filled.saturating_add(expected);
            if filled > total {
                break;
            }
            let bytes = self.range(part, Some(expected))?;
            placed.copy(&bytes, &mut all, dtype.size())?;
        }
        if filled != total {
            return Err(ImportError::invalid("the slices do not make up the tensor")
                .expected(format!("{total} bytes"))
                .found(filled));
        }
        Ok((elem, Tensor::from_bytes(dtype, &shape, &all).map_err(invalid)?))
    }

    /// Reads part `k` of a partitioned tensor, as it was saved.
    ///
    /// # Errors
    /// As [`Self::tensor`]; when the tensor has no such part.
    pub fn part(&self, name: &str, k: usize, budget: &Budget) -> Result<(Elem, Tensor)> {
        let e = self.entry(name.as_bytes())?;
        let slice = e.slices.get(k).ok_or_else(|| {
            ImportError::invalid("the checkpoint has no such part of the tensor")
                .expected(format!("below {}", e.slices.len()))
                .found(k)
                .at_node(name)
        })?;
        let elem = Elem::parse(e.dtype)?;
        let dtype = elem.stored()?;
        let shape: Vec<usize> = Placed::new(&extents(&e.shape)?, slice)?.axes.iter().map(|a| a.0).collect();
        let wide: Vec<u64> = shape.iter().map(|&d| u64::try_from(d).unwrap_or(u64::MAX)).collect();
        budget.elements(&wide, u64::try_from(dtype.size()).unwrap_or(u64::MAX), "a variable")?;
        let total = pocketnn::checked_bytes(dtype, &shape).map_err(|e| ImportError::limits(e.message()))?;
        let bytes = self.range(self.entry(&slice_key(name, slice))?, Some(total))?;
        Ok((elem, Tensor::from_bytes(dtype, &shape, &bytes).map_err(|e| ImportError::invalid(e.message()))?))
    }

    /// The bytes of a tensor of one string.
    ///
    /// # Errors
    /// As [`Self::tensor`].
    pub fn text(&self, name: &str, budget: &Budget) -> Result<Vec<u8>> {
        let e = self.entry(name.as_bytes())?;
        if Elem::parse(e.dtype)? != Elem::Text || !e.shape.is_empty() {
            return Err(ImportError::format("expected one string").at_node(name));
        }
        budget.text(e.size, "a string of the checkpoint")?;
        let bytes = self.read_range(e)?;
        // A length, the checksum of the length, the bytes.
        let (length, at) = crate::protobuf::varint(&bytes)?;
        let body = bytes.get(at.saturating_add(4)..).unwrap_or_default();
        let length = to_usize(length, "a string")?;
        if body.len() != length {
            return Err(ImportError::format("a string of another length").expected(length).found(body.len()));
        }
        Ok(body.to_vec())
    }

    fn entry(&self, key: &[u8]) -> Result<&Entry> {
        self.entries.get(key).ok_or_else(|| ImportError::invalid("the checkpoint has no such tensor"))
    }

    fn range(&self, e: &Entry, expected: Option<usize>) -> Result<Vec<u8>> {
        if let Some(n) = expected
            && u64::try_from(n).ok() != Some(e.size)
        {
            return Err(ImportError::format("the stored size is not that of the shape").expected(n).found(e.size));
        }
        let bytes = self.read_range(e)?;
        if let Some(want) = e.crc {
            let found = crc::masked(&bytes);
            if found != want {
                return Err(ImportError::format("the checksum of the elements is wrong (a damaged file)")
                    .expected(format!("{want:08x}"))
                    .found(format!("{found:08x}")));
            }
        }
        Ok(bytes)
    }

    fn read_range(&self, e: &Entry) -> Result<Vec<u8>> {
        if e.shard < 0 || e.shard >= self.shards {
            return Err(ImportError::format("a shard that does not exist")
                .expected(format!("below {}", self.shards))
                .found(e.shard));
        }
        let path = with_suffix(&self.prefix, &format!(".data-{:05}-of-{:05}", e.shard, self.shards));
        let io = |e: std::io::Error| ImportError::io(path.display(), &e);
        let mut open = self.open.borrow_mut();
        let file = match open.entry(e.shard) {
            std::collections::hash_map::Entry::Occupied(f) => f.into_mut(),
            std::collections::hash_map::Entry::Vacant(v) => v.insert(File::open(&path).map_err(io)?),
        };
        let length = file.metadata().map_err(io)?.len();
        if e.offset.checked_add(e.size).is_none_or(|end| end > length) {
            return Err(ImportError::format("a tensor lies outside of its shard (is the file truncated?)")
                .expected(format!("at most {length} bytes"))
                .found(format!("{} bytes at {}", e.size, e.offset))
                .in_file(path.display()));
        }
        file.seek(SeekFrom::Start(e.offset)).map_err(io)?;
        let mut bytes = vec![0u8; to_usize(e.size, "a variable")?];
        file.read_exact(&mut bytes).map_err(io)?;
        Ok(bytes)
    }
}

fn with_suffix(prefix: &Path, suffix: &str) -> PathBuf {
    let mut name = prefix.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Number of shards.
fn header(m: Message) -> Result<i64> {
    let mut shards = 0;
    for f in m.fields() {
        let f = f?;
        match f.number {
            1 => shards = f.int()?,
            2 if f.int()? != 0 => {
                return Err(ImportError::unsupported("a checkpoint written by a big-endian machine"));
            }
            _ => {}
        }
    }
    Ok(shards)
}

fn entry(m: Message, meter: &Meter) -> Result<Entry> {
    let mut e = Entry::default();
    for f in m.fields() {
        let f = f?;
        match f.number {
            1 => e.dtype = f.int32()?,
            2 => {
                let shape = proto::shape(f.message()?, meter)?;
                e.shape = shape.ok_or_else(|| ImportError::format("a stored tensor without a shape"))?;
            }
            3 => e.shard = f.int()?,
            4 => e.offset = f.unsigned()?,
            5 => e.size = f.unsigned()?,
            6 => e.crc = Some(f.fixed32()?),
            7 => {
                meter.message()?;
                e.slices.push(slice(f.message()?, meter)?);
            }
            _ => {}
        }
    }
    Ok(e)
}

fn slice(m: Message, meter: &Meter) -> Result<Vec<Range>> {
    let mut ranges = Vec::new();
    for f in m.fields() {
        let f = f?;
        if f.number == 1 {
            meter.bytes(32)?;
            let mut range = Range { start: 0, length: None };
            for f in f.message()?.fields() {
                let f = f?;
                match f.number {
                    1 => range.start = f.int()?,
                    2 => range.length = Some(f.int()?),
                    _ => {}
                }
            }
            ranges.push(range);
        }
    }
    Ok(ranges)
}

/// The key of a slice: numbers and text in an encoding whose byte order is their order.
///
/// 0, the name, the number of axes, then start and length of each axis (all of an axis is start 0 and length -1).
fn slice_key(name: &str, slice: &[Range]) -> Vec<u8> {
    let mut key = Vec::new();
    number(&mut key, 0);
    for &b in name.as_bytes() {
        match b {
            0 => key.extend([0, 0xff]),
            0xff => key.extend([0xff, 0]),
            b => key.push(b),
        }
    }
    key.extend([0, 1]);
    number(&mut key, u64::try_from(slice.len()).unwrap_or(u64::MAX));
    for r in slice {
        signed(&mut key, r.start);
        signed(&mut key, r.length.unwrap_or(-1));
    }
    key
}

/// The count of significant bytes, then the bytes, highest first.
fn number(key: &mut Vec<u8>, x: u64) {
    let bytes = x.to_be_bytes();
    let significant: Vec<u8> = bytes.into_iter().skip_while(|&b| b == 0).collect();
    key.push(u8::try_from(significant.len()).unwrap_or(8));
    key.extend(significant);
}

/// As many bytes as needed; the leading bits say how many, and are inverted for negative numbers.
fn signed(key: &mut Vec<u8>, x: i64) {
    let magnitude = if x < 0 { !x } else { x };
    // Each byte adds seven bits; the first of `n` bytes has n bits of length and a zero.
    let bits = 65u32.saturating_sub(magnitude.leading_zeros());
    let n = bits.div_ceil(7).max(1);
    let mut wide = i128::from(magnitude);
    let total = n.saturating_mul(8);
    // n ones and a zero (for n below 8) from the top of n bytes.
    let ones = ((1i128 << n) - 1) << total.saturating_sub(n);
    wide |= ones;
    if x < 0 {
        wide = !wide;
    }
    let bytes = wide.to_be_bytes();
    let skip = bytes.len().saturating_sub(usize::try_from(n).unwrap_or(16));
    key.extend(bytes.iter().skip(skip));
}

/// A slice inside a tensor: extents, and steps in elements.
struct Placed {
    start: usize,
    /// Extent of the slice and step of the tensor, for each axis.
    axes: Vec<(usize, usize)>,
}

impl Placed {
    fn new(shape: &[usize], slice: &[Range]) -> Result<Self> {
        let outside = || ImportError::format("a slice that lies outside of its tensor").found(format!("{slice:?}"));
        if slice.len() != shape.len() {
            return Err(outside());
        }
        let (mut step, mut start) = (1usize, 0usize);
        let mut axes = Vec::with_capacity(shape.len());
        for (&extent, r) in shape.iter().zip(slice).rev() {
            let from = usize::try_from(r.start).map_err(|_| outside())?;
            let length = match r.length {
                Some(n) => usize::try_from(n).map_err(|_| outside())?,
                None => extent,
            };
            if from.checked_add(length).is_none_or(|end| end > extent) {
                return Err(outside());
            }
            axes.push((length, step));
            start = start.saturating_add(from.saturating_mul(step));
            step = step.saturating_mul(extent);
        }
        axes.reverse();
        Ok(Self { start, axes })
    }

    fn count(&self) -> usize {
        self.axes.iter().fold(1usize, |n, a| n.saturating_mul(a.0))
    }

    fn copy(&self, from: &[u8], to: &mut [u8], size: usize) -> Result<()> {
        let outside = || ImportError::format("a slice that lies outside of its tensor");
        let row = self.axes.last().map_or(1, |a| a.0);
        let outer = self.axes.split_last().map_or(&[][..], |a| a.1);
        let width = row.saturating_mul(size);
        if width == 0 {
            return Ok(());
        }
        let mut place = vec![0usize; outer.len()];
        for chunk in from.chunks_exact(width) {
            let at = place.iter().zip(outer).fold(self.start, |n, (i, a)| n.saturating_add(i.saturating_mul(a.1)));
            let at = at.saturating_mul(size);
            to.get_mut(at..at.saturating_add(width)).ok_or_else(outside)?.copy_from_slice(chunk);
            for (i, a) in place.iter_mut().zip(outer).rev() {
                *i = i.saturating_add(1);
                if *i < a.0 {
                    break;
                }
                *i = 0;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
