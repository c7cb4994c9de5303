//! Tensors from files and to files, told apart by content.

mod image;
pub mod npy;
pub mod npz;

pub use self::image::{Layout, Look, is_picture, picture};

use crate::failure::Failure;
use crate::files::{self, MAX_BYTES};
use pocketnn::ops::elementwise::cast;
use pocketnn::{DType, Dim, Tensor};
use pocketnn_importer::{Limits, onnx};
use std::path::Path;

/// What an input of a model wants.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// Its name.
    pub name: &'a str,
    /// Element type.
    pub dtype: DType,
    /// Extents; symbolic ones take any number.
    pub shape: &'a [Dim],
}

/// Reads one tensor: `.npy`, `.npz` of one array, ONNX `TensorProto` (suffix `.pb`), a picture, or else raw little-endian elements.
///
/// # Errors
/// When the content does not fit what is wanted.
pub fn open(path: &Path, wanted: &Wanted<'_>, look: &Look) -> Result<Tensor, Failure> {
    let bytes = files::read(path, MAX_BYTES)?;
    let protobuf = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("pb"));
    let tensor = if bytes.starts_with(npy::MAGIC) {
        npy::read(&bytes)
    } else if bytes.starts_with(b"PK\x03\x04") {
        only(npz::read(&bytes, MAX_BYTES)?)
    } else if protobuf {
        protobuf_tensor(&bytes)
    } else if is_picture(&bytes) {
        picture(&bytes, wanted, look)
    } else {
        raw(&bytes, wanted)
    };
    tensor.map_err(|e| e.at(path.display()))
}

fn only(arrays: Vec<(String, Tensor)>) -> Result<Tensor, Failure> {
    let n = arrays.len();
    let mut arrays = arrays.into_iter();
    match (arrays.next(), arrays.next()) {
        (Some((_, t)), None) => Ok(t),
        _ => Err(Failure::usage(format!("expected an archive of one array, found {n}"))
            .help("give archives of several arrays with --inputs")),
    }
}

/// Reads an ONNX `TensorProto`.
///
/// # Errors
/// When the bytes are none.
pub fn protobuf_tensor(bytes: &[u8]) -> Result<Tensor, Failure> {
    Ok(onnx::read_tensor(bytes, &Limits::default())?)
}

/// Little-endian elements in the input's type and shape; one symbolic dimension follows from the length.
fn raw(bytes: &[u8], wanted: &Wanted<'_>) -> Result<Tensor, Failure> {
    let known: usize = wanted.shape.iter().filter_map(Dim::known).product::<usize>() * wanted.dtype.size();
    let open: Vec<usize> = (0..wanted.shape.len()).filter(|&i| wanted.shape[i].known().is_none()).collect();
    let mut shape: Vec<usize> = wanted.shape.iter().map(|d| d.known().unwrap_or(1)).collect();
    let parts = bytes.len().checked_div(known).filter(|n| n * known == bytes.len());
    match (parts, open.as_slice()) {
        (Some(n), &[d, ..]) => shape[d] = n,
        // Several batches of a model of a fixed batch are run in parts.
        (Some(n), []) if n > 1 && !shape.is_empty() => shape[0] *= n,
        (Some(1), []) => {}
        _ => {
            let message = format!(
                "raw elements of input `{}`: expected a multiple of {known} bytes, found {}",
                wanted.name,
                bytes.len()
            );
            return Err(
                Failure::failed(message).help("raw files hold little-endian elements in the input's type and shape")
            );
        }
    }
    Ok(Tensor::from_bytes(wanted.dtype, &shape, bytes)?)
}

/// The tensor in another element type: between floats with rounding; from integers and truth values only when every value survives.
///
/// # Errors
/// When a value would be lost.
pub fn convert(t: &Tensor, to: DType) -> Result<Tensor, Failure> {
    if t.dtype() == to {
        return Ok(t.clone());
    }
    let rounds = t.dtype().is_float() && to.is_float();
    let message = format!("a tensor of {} has values that {to} does not hold", t.dtype());
    let lost = || Failure::usage(message).help("convert the array before, so that rounding is your choice");
    if t.dtype().is_float() && !rounds {
        return Err(lost());
    }
    let out = cast(t, to)?;
    // There and back catches rounding, the numbers themselves catch wrapping.
    let same = || Ok::<bool, Failure>(cast(&out, t.dtype())? == *t && out.to_f64() == t.to_f64());
    if rounds || same()? { Ok(out) } else { Err(lost()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversions_keep_values_or_are_refused() {
        let t = Tensor::vector(&[0u8, 255]);
        assert_eq!(convert(&t, DType::F32).unwrap(), Tensor::vector(&[0.0f32, 255.0]));
        assert_eq!(convert(&Tensor::vector(&[0.1f64]), DType::F32).unwrap(), Tensor::vector(&[0.1f32]));
        assert!(convert(&t, DType::I8).is_err());
        assert!(convert(&Tensor::vector(&[1.0f32]), DType::I32).is_err());
        assert!(convert(&Tensor::vector(&[(1i64 << 24) + 1]), DType::F32).is_err());
        assert!(convert(&Tensor::vector(&[-1i64]), DType::U64).is_err());
    }

    #[test]
    fn raw_elements_take_the_shape_of_the_input() {
        let shape = [Dim::symbol("N"), Dim::from(2)];
        let wanted = Wanted { name: "x", dtype: DType::F32, shape: &shape };
        assert_eq!(raw(&[0; 24], &wanted).unwrap().shape(), [3, 2]);
        assert!(raw(&[0; 20], &wanted).unwrap_err().message.contains("a multiple of 8 bytes, found 20"));
        let shape = [Dim::from(2), Dim::from(1)];
        let wanted = Wanted { shape: &shape, ..wanted };
        assert_eq!(raw(&[0; 16], &wanted).unwrap().shape(), [4, 1]);
    }
}
