//! Weights by name, from any safetensors file, for a graph written in Rust.

use super::map::{Bytes, map_file};
use super::{DTYPES, Limits};
use crate::dim::show_shape;
use crate::ops::elementwise::cast;
use crate::{DType, Error, ErrorKind, GraphBuilder, Result, Tensor, ValueId};
use safetensors::SafeTensors;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// The tensors of a safetensors file, such as a PyTorch state dict saved with `safetensors.torch.save_file`.
///
/// The file is mapped, not read: a tensor costs nothing until its elements are looked at, and its elements are those of the map
/// wherever they are aligned. The file must not be changed or cut while a tensor of it lives.
///
/// ```
/// use pocketnn::{DType, GraphBuilder, Model, Options, Weights, ops::conv::Conv};
/// let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/state_dict.safetensors");
/// let weights = Weights::open(file)?;
/// let mut b = GraphBuilder::new("net");
/// let x = b.input("image", DType::F32, [1, 1, 8, 8].map(Into::into));
/// // PyTorch's layout `[out, in, height, width]` is the graph's own.
/// let w = b.weight(&weights, "conv1.weight", &[4, 1, 3, 3])?;
/// let bias = b.weight(&weights, "conv1.bias", &[4])?;
/// let y = b.conv(x, w, Some(bias), Conv::default(), "conv1")?;
/// b.output(y);
/// let mut session = Model::new(b.finish()?).session(&Options::default())?;
/// session.execute()?;
/// // A wrong shape is told with the tensor's name.
/// let error = weights.shaped("conv1.weight", &[4, 3, 3, 3]).unwrap_err();
/// assert!(error.to_string().contains("`conv1.weight`: expected shape [4, 3, 3, 3], found [4, 1, 3, 3]"));
/// # Ok::<(), pocketnn::Error>(())
/// ```
#[derive(Clone)]
pub struct Weights {
    tensors: BTreeMap<String, Tensor>,
    /// Tensors whose element type the runtime has no name for, with that name.
    unknown: BTreeMap<String, String>,
}

impl Weights {
    /// Maps a file.
    ///
    /// # Errors
    /// `Io` when it cannot be read, `Format` when it is no valid safetensors file, `Limit` when it is larger than [`Limits`] allows.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let io = |e: std::io::Error| Error::new(ErrorKind::Io, e.to_string());
        let load = || {
            let file = std::fs::File::open(path).map_err(io)?;
            let size = file.metadata().map_err(io)?.len();
            let bytes = if size == 0 { Bytes::zeroed(0) } else { map_file(&file).map_err(io)? };
            Self::parse(Arc::new(bytes), &Limits::default())
        };
        load().map_err(|e| e.at(|| path.display().to_string()))
    }
    /// Reads a file in memory, which is copied.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut copy = Bytes::zeroed(bytes.len());
        copy.as_mut_slice().copy_from_slice(bytes);
        Self::parse(Arc::new(copy), &Limits::default())
    }

    fn parse(bytes: Arc<Bytes>, limits: &Limits) -> Result<Self> {
        let data = bytes.as_slice();
        if data.len() as u64 > limits.file_bytes {
            return Err(Error::limit(format!("the file has {} bytes, the limit is {}", data.len(), limits.file_bytes)));
        }
        let header = data.first_chunk::<8>().map_or(0, |h| u64::from_le_bytes(*h));
        if header > limits.header_bytes {
            return Err(Error::limit(format!("the header has {header} bytes, the limit is {}", limits.header_bytes)));
        }
        let file = SafeTensors::deserialize(data).map_err(|e| Error::format(format!("not a safetensors file: {e}")))?;
        if file.len() > limits.tensors {
            return Err(Error::limit(format!("the file has {} tensors, the limit is {}", file.len(), limits.tensors)));
        }
        let (mut tensors, mut unknown) = (BTreeMap::new(), BTreeMap::new());
        for (name, view) in file.iter() {
            let stored = format!("{:?}", view.dtype());
            let Some((_, dtype)) = DTYPES.iter().find(|d| d.0 == stored) else {
                unknown.insert(name.to_string(), stored);
                continue;
            };
            let start = view.data().as_ptr().addr() - data.as_ptr().addr();
            let t = Tensor::from_shared(*dtype, view.shape(), bytes.clone(), start);
            tensors.insert(name.to_string(), t.map_err(|e| e.at(|| format!("tensor `{name}`")))?);
        }
        Ok(Self { tensors, unknown })
    }

    /// Names and tensors, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.tensors.iter().map(|(n, t)| (n.as_str(), t))
    }
    /// Number of tensors.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }
    /// True when the file holds no tensor.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }
    /// The tensor of this name, in its own element type.
    ///
    /// # Errors
    /// When there is none; the message names those that are called almost so.
    pub fn get(&self, name: &str) -> Result<Tensor> {
        if let Some(t) = self.tensors.get(name) {
            return Ok(t.clone());
        }
        if let Some(stored) = self.unknown.get(name) {
            return Err(Error::unsupported(format!("tensor `{name}`: elements of type {stored} are not supported")));
        }
        let last = name.rsplit('.').next().unwrap_or(name);
        let first = name.split('.').next().unwrap_or(name);
        let mut near: Vec<&str> = self.tensors.keys().map(String::as_str).filter(|n| n.starts_with(first)).collect();
        near.extend(self.tensors.keys().map(String::as_str).filter(|n| !n.starts_with(first) && n.ends_with(last)));
        near.truncate(5);
        let hint = if near.is_empty() { String::new() } else { format!("; there are {}", near.join(", ")) };
        Err(Error::argument(format!("the file has no tensor `{name}`{hint}")))
    }
    /// The tensor of this name, which must have this shape.
    ///
    /// # Errors
    /// As [`Self::get`], and when the shape differs.
    pub fn shaped(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let t = self.get(name)?;
        if t.shape() == shape {
            return Ok(t);
        }
        let (want, found) = (show_shape(shape), show_shape(t.shape()));
        Err(Error::argument(format!("tensor `{name}`: expected shape {want}, found {found}")))
    }
    /// The tensor of this name and shape as `f32`; half-precision floats and `f64` are converted.
    ///
    /// # Errors
    /// As [`Self::shaped`], and when the tensor holds no floats.
    pub fn floats(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let t = self.shaped(name, shape)?;
        if !t.dtype().is_float() {
            return Err(Error::argument(format!("tensor `{name}`: expected floats, found {}", t.dtype())));
        }
        cast(&t, DType::F32)
    }
}

impl std::fmt::Debug for Weights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Weights({} tensors)", self.len())
    }
}

impl GraphBuilder {
    /// A constant from a file of weights: the tensor of this name and shape, as `f32`, called as in the file.
    ///
    /// # Errors
    /// When the file has no such tensor, or it has another shape or holds no floats.
    pub fn weight(&mut self, weights: &Weights, name: &str, shape: &[usize]) -> Result<ValueId> {
        let t = weights.floats(name, shape)?;
        Ok(self.constant(name, t))
    }
}
