//! HDF5 behind one door: groups, text attributes and exactly converted arrays.
//!
//! The reader underneath is told the budgets, and a panic inside it becomes a format error here.

use std::panic::{AssertUnwindSafe, catch_unwind};

use half::{bf16, f16};
use hdf5_reader::{ByteOrder, Datatype, Hdf5File, OpenOptions};

use crate::error::{ImportError, Result};
use crate::limits::{Budget, to_usize};

/// An array of the file, converted to f32 (f16, bf16, f32 and integers up to 2^24 exactly; f64 rounded).
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Extents, outermost first.
    pub shape: Vec<usize>,
    /// Elements in row-major order.
    pub data: Vec<f32>,
}

/// An opened file.
pub struct File<'a> {
    inner: Hdf5File,
    budget: &'a Budget,
}

impl<'a> File<'a> {
    /// Reads the superblock.
    pub fn open(bytes: Vec<u8>, budget: &'a Budget) -> Result<Self> {
        let limits = budget.limits();
        let max = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let options = OpenOptions::default()
            .with_max_read_bytes(max(limits.max_tensor_bytes))
            .with_max_chunk_bytes(max(limits.max_tensor_bytes.min(1 << 30)))
            .with_max_object_header_bytes(max(limits.max_text_bytes.min(64 << 20)))
            .with_chunk_cache_bytes(1 << 20);
        let found = bytes.len() as u64;
        let inner = guard("/", || Hdf5File::from_vec_with_options(bytes, options))?;
        let superblock = inner.superblock();
        let expected = superblock.eof_address;
        if superblock.base_address == 0 && found < expected {
            return Err(ImportError::format("the file is cut off")
                .expected(format!("{expected} bytes"))
                .found(found)
                .at_offset(found));
        }
        Ok(Self { inner, budget })
    }

    /// True if there is a group at `path`.
    pub fn has_group(&self, path: &str) -> bool {
        catch_unwind(AssertUnwindSafe(|| self.inner.group(path).is_ok())).unwrap_or(false)
    }

    /// True if there is an array at `path`.
    pub fn has_array(&self, path: &str) -> bool {
        catch_unwind(AssertUnwindSafe(|| self.inner.dataset(path).is_ok())).unwrap_or(false)
    }

    /// Names of the groups and of the arrays inside a group.
    pub fn children(&self, path: &str) -> Result<(Vec<String>, Vec<String>)> {
        let (groups, arrays) = guard(path, || self.group(path)?.member_names())?;
        self.budget.entries((groups.len() as u64).saturating_add(arrays.len() as u64), "members of a group")?;
        Ok((groups, arrays))
    }

    /// A text attribute of a group; `None` if there is no such attribute.
    pub fn text(&self, path: &str, name: &str) -> Result<Option<String>> {
        let Some(texts) = self.attribute(path, name)? else { return Ok(None) };
        match texts.as_slice() {
            [text] => Ok(Some(text.clone())),
            many => Err(ImportError::format("an attribute holds several texts")
                .expected("one")
                .found(many.len())
                .at_attribute(name)
                .at_node(path)),
        }
    }

    /// An attribute that lists texts. Keras splits long lists into `name0`, `name1`, ...
    pub fn texts(&self, path: &str, name: &str) -> Result<Option<Vec<String>>> {
        if let Some(texts) = self.attribute(path, name)? {
            return Ok(Some(texts));
        }
        let mut all = Vec::new();
        for part in 0u64.. {
            let Some(texts) = self.attribute(path, &format!("{name}{part}"))? else { break };
            all.extend(texts);
            self.budget.entries(all.len() as u64, "texts of an attribute")?;
        }
        Ok((!all.is_empty()).then_some(all))
    }

    fn attribute(&self, path: &str, name: &str) -> Result<Option<Vec<String>>> {
        let attributes = guard(path, || self.group(path)?.attributes())?;
        let Some(attribute) = attributes.into_iter().find(|a| a.name == name) else { return Ok(None) };
        self.budget.text(attribute.raw_data.len() as u64, name)?;
        if attribute.shape.contains(&0) {
            return Ok(Some(Vec::new()));
        }
        // An empty numpy list of texts is stored as an empty float array; anything else must be text.
        let texts = guard(path, || attribute.read_strings().or_else(|_| attribute.read_string().map(|t| vec![t])))
            .map_err(|e| e.at_attribute(name))?;
        let length: u64 = texts.iter().map(|t| t.len() as u64).sum();
        self.budget.text(length, name)?;
        Ok(Some(texts))
    }

    /// The array at `path`.
    pub fn array(&self, path: &str) -> Result<Array> {
        let dataset = guard(path, || self.inner.dataset(path))?;
        let shape = dataset.shape().to_vec();
        let count = self.budget.elements(&shape, 4, path)?;
        let named = guard(path, || Ok(dataset.attributes()))?
            .into_iter()
            .find(|a| a.name == "dtype")
            .and_then(|a| a.read_string().ok());
        let convert = converter(dataset.dtype(), named.as_deref()).map_err(|e| e.at_node(path))?;
        let expected = count.checked_mul(convert.0);
        let bytes = guard(path, || dataset.read_raw_bytes())?;
        if Some(bytes.len()) != expected {
            return Err(ImportError::format("an array has another size than its shape")
                .expected(format!("{count} elements of {} bytes", convert.0))
                .found(format!("{} bytes", bytes.len()))
                .at_node(path));
        }
        let shape = shape.iter().map(|&d| to_usize(d, path)).collect::<Result<_>>()?;
        Ok(Array { shape, data: bytes.chunks_exact(convert.0).map(convert.1).collect() })
    }

    fn group(&self, path: &str) -> hdf5_reader::error::Result<hdf5_reader::group::Group> {
        if path == "/" || path.is_empty() { self.inner.root_group() } else { self.inner.group(path) }
    }
}

type Convert = (usize, fn(&[u8]) -> f32);

macro_rules! reader {
    ($ty:ty, $order:expr, $to:expr) => {
        match $order {
            ByteOrder::BigEndian => {
                (size_of::<$ty>(), |b: &[u8]| b.try_into().map_or(f32::NAN, |b| $to(<$ty>::from_be_bytes(b))))
            }
            ByteOrder::LittleEndian => {
                (size_of::<$ty>(), |b: &[u8]| b.try_into().map_or(f32::NAN, |b| $to(<$ty>::from_le_bytes(b))))
            }
        }
    };
}

/// Size of an element and how it becomes f32. `named` is Keras's own `dtype` attribute for types HDF5 has no name for.
fn converter(datatype: &Datatype, named: Option<&str>) -> Result<Convert> {
    let unknown = || {
        ImportError::unsupported("element type of an array")
            .expected("f16, bf16, f32, f64 or integers")
            .found(format!("{datatype:?}{}", named.map(|n| format!(" named {n}")).unwrap_or_default()))
    };
    // h5py writes numpy's bfloat16 as two opaque bytes; only Keras 3 archives name the type.
    let opaque = matches!(datatype, Datatype::Opaque { size: 2, .. });
    if named == Some("bfloat16") || (named.is_none() && opaque) {
        let two_bytes = opaque || matches!(datatype, Datatype::FixedPoint { size: 2, .. });
        return if two_bytes {
            Ok(reader!(u16, ByteOrder::LittleEndian, |b| bf16::from_bits(b).to_f32()))
        } else {
            Err(unknown())
        };
    }
    if named.is_some_and(|n| n.starts_with("float8") || n.contains("int4")) {
        return Err(unknown());
    }
    Ok(match datatype {
        Datatype::FloatingPoint { size: 2, byte_order } => reader!(u16, byte_order, |b| f16::from_bits(b).to_f32()),
        Datatype::FloatingPoint { size: 4, byte_order } => reader!(f32, byte_order, |x| x),
        Datatype::FloatingPoint { size: 8, byte_order } => reader!(f64, byte_order, |x| x as f32),
        Datatype::FixedPoint { size, signed, byte_order } => match (size, signed) {
            (1, true) => reader!(i8, byte_order, f32::from),
            (1, false) => reader!(u8, byte_order, f32::from),
            (2, true) => reader!(i16, byte_order, f32::from),
            (2, false) => reader!(u16, byte_order, f32::from),
            (4, true) => reader!(i32, byte_order, |x| x as f32),
            (4, false) => reader!(u32, byte_order, |x| x as f32),
            (8, true) => reader!(i64, byte_order, |x| x as f32),
            (8, false) => reader!(u64, byte_order, |x| x as f32),
            _ => return Err(unknown()),
        },
        Datatype::Enum { base, .. } => converter(base, None)?,
        _ => return Err(unknown()),
    })
}

/// Runs a call of the reader; its errors and its panics become format errors that name `path`.
fn guard<T>(path: &str, call: impl FnOnce() -> hdf5_reader::error::Result<T>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(reader_error(&error).at_node(path)),
        Err(_) => Err(ImportError::format("the HDF5 structure is inconsistent").at_node(path)),
    }
}

fn reader_error(error: &hdf5_reader::error::Error) -> ImportError {
    let text = format!("HDF5: {error}");
    if matches!(error, hdf5_reader::error::Error::ResourceLimit { .. }) {
        return ImportError::limits(text);
    }
    ImportError::format(text)
}
