//! Single values: how the test data of ONNX models stores inputs and outputs.
//!
//! A tensor is a `TensorProto`; sequences and optionals are `SequenceProto` and `OptionalProto`, here read and written by hand:
//! `elem_type` is field 2, tensors are field 3, sequences field 5, optionals field 7 of both.

use pocketnn::{DType, Tensor};

use super::external::Folder;
use super::proto::{self, Plain};
use super::{tensor, wire};
use crate::error::{ImportError, Result};
use crate::limits::{Budget, Limits};

/// Which message holds a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// `TensorProto`.
    Tensor,
    /// `SequenceProto`: a list.
    Sequence,
    /// `OptionalProto`: a list of at most one.
    Optional,
}

/// Field numbers, which are the numbers of the element kinds as well, but for tensors.
const ELEM_TYPE: u64 = 2;
const TENSORS: u64 = 3;
const SEQUENCES: u64 = 5;
const OPTIONALS: u64 = 7;

impl ValueKind {
    /// The field that holds such a value.
    fn field(self) -> u64 {
        match self {
            Self::Tensor => TENSORS,
            Self::Sequence => SEQUENCES,
            Self::Optional => OPTIONALS,
        }
    }

    /// The number in `elem_type` of what holds such values.
    fn number(self) -> u64 {
        match self {
            Self::Tensor => 1,
            Self::Sequence => 3,
            Self::Optional => 5,
        }
    }
}

/// Reads a `TensorProto`, as the test data of ONNX models stores inputs and outputs.
///
/// # Errors
/// As [`super::import`]; `Unsupported` for element types that no tensor holds (complex numbers).
pub fn read_tensor(bytes: &[u8], limits: &Limits) -> Result<Tensor> {
    let raw = proto::lone_tensor(bytes, limits)?;
    let folder = Folder::new(None, limits);
    Ok(tensor::tensor(raw, &folder, &Budget::new(limits.clone()))?.1)
}

/// Reads a tensor, a sequence or an optional.
///
/// # Errors
/// As [`read_tensor`].
pub fn read_value(bytes: &[u8], kind: ValueKind, limits: &Limits) -> Result<Tensor> {
    if kind == ValueKind::Tensor {
        return read_tensor(bytes, limits);
    }
    wire::check(bytes, wire::Message::Values, limits)?;
    list(bytes, limits)
}

/// The values of a sequence or optional that was checked: its nesting is bounded.
fn list(bytes: &[u8], limits: &Limits) -> Result<Tensor> {
    let mut out = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (tag, after) = varint(rest)?;
        if tag & 7 != 2 {
            // What is no message here is a number, and nothing in these messages is of fixed size.
            rest = varint(after)?.1;
            continue;
        }
        let (length, after) = varint(after)?;
        let length = crate::to_usize(length, "a field")?;
        let (part, after) = after.split_at_checked(length).ok_or_else(cut_off)?;
        rest = after;
        match tag >> 3 {
            TENSORS => out.push(read_tensor(part, limits)?),
            SEQUENCES | OPTIONALS => out.push(list(part, limits)?),
            // The name.
            1 => {}
            other => {
                return Err(
                    ImportError::unsupported("values of this kind are not supported").found(format!("field {other}"))
                );
            }
        }
    }
    Ok(Tensor::list(out))
}

fn cut_off() -> ImportError {
    ImportError::format("a field is cut off (is the file truncated?)")
}

fn varint(bytes: &[u8]) -> Result<(u64, &[u8])> {
    let mut value = 0u64;
    for (i, &b) in bytes.iter().enumerate().take(10) {
        value |= u64::from(b & 0x7f) << (7 * i).min(63);
        if b & 0x80 == 0 {
            return Ok((value, bytes.get(i.saturating_add(1)..).unwrap_or_default()));
        }
    }
    Err(cut_off())
}

/// Writes a `TensorProto`.
///
/// # Errors
/// When the tensor is too big for the format.
pub fn write_tensor(name: &str, t: &Tensor) -> Result<Vec<u8>> {
    let shape: Option<Vec<i64>> = t.shape().iter().map(|&d| i64::try_from(d).ok()).collect();
    let shape = shape.ok_or_else(|| ImportError::limits("a dimension that the format cannot hold").at_node(name))?;
    if t.dtype() == DType::List {
        return Err(ImportError::invalid("a list is no tensor").at_node(name));
    }
    let (data_type, raw) = tensor::encoded(t);
    let texts = t.as_texts().map(|s| s.iter().map(|s| s.as_bytes().to_vec()).collect()).unwrap_or_default();
    proto::encode_tensor(Plain { name, data_type, shape, raw, texts })
}

/// Writes a tensor, or a list as the message of this kind.
///
/// # Errors
/// As [`write_tensor`], and when the value is of another kind.
pub fn write_value(name: &str, t: &Tensor, kind: ValueKind) -> Result<Vec<u8>> {
    if kind == ValueKind::Tensor {
        return write_tensor(name, t);
    }
    let wrong = || ImportError::invalid("the value is of another kind").expected(format!("{kind:?}")).at_node(name);
    let items = t.as_list().map_err(|_| wrong())?;
    if kind == ValueKind::Optional && items.len() > 1 {
        return Err(wrong());
    }
    let inner = |t: &Tensor| if t.dtype() == DType::List { ValueKind::Sequence } else { ValueKind::Tensor };
    let mut out = Vec::new();
    let number = match items.first() {
        Some(first) => inner(first).number(),
        None if kind == ValueKind::Sequence => ValueKind::Tensor.number(),
        None => 0,
    };
    push_varint(&mut out, ELEM_TYPE << 3);
    push_varint(&mut out, number);
    for item in items {
        let bytes = write_value("", item, inner(item))?;
        push_varint(&mut out, (inner(item).field() << 3) | 2);
        push_varint(&mut out, u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        out.extend(bytes);
    }
    Ok(out)
}

fn push_varint(out: &mut Vec<u8>, mut x: u64) {
    while x > 0x7f {
        out.push((x & 0x7f) as u8 | 0x80);
        x >>= 7;
    }
    out.push((x & 0x7f) as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_texts_come_back() {
        let texts = Tensor::texts(&[2], ["a", "ß"]).unwrap();
        let narrow = pocketnn::narrow::convert(
            &Tensor::vector(&[1.0f32, -2.0, 3.0]),
            DType::I4,
            true,
            pocketnn::narrow::Rounding::default(),
        )
        .unwrap();
        let list = Tensor::list(vec![texts, narrow]);
        for (t, kind) in [
            (list.clone(), ValueKind::Sequence),
            (Tensor::list(vec![list.clone()]), ValueKind::Optional),
            (Tensor::list(Vec::new()), ValueKind::Optional),
            (Tensor::scalar(1.5f32), ValueKind::Tensor),
        ] {
            let bytes = write_value("v", &t, kind).unwrap();
            assert_eq!(read_value(&bytes, kind, &Limits::small()).unwrap(), t);
        }
        assert!(write_value("v", &Tensor::list(vec![list.clone(), list]), ValueKind::Optional).is_err());
    }

    #[test]
    fn broken_messages_are_errors() {
        for bytes in [&b"\x1a\x05\x0a"[..], b"\x1a\x80", b"\x10", b"\x22\x00"] {
            assert!(read_value(bytes, ValueKind::Sequence, &Limits::small()).is_err(), "{bytes:02x?}");
        }
        let deep = (0..200).fold(Vec::new(), |inner: Vec<u8>, _| {
            let mut out = Vec::new();
            push_varint(&mut out, (SEQUENCES << 3) | 2);
            push_varint(&mut out, u64::try_from(inner.len()).unwrap());
            out.extend(inner);
            out
        });
        assert!(read_value(&deep, ValueKind::Sequence, &Limits::small()).is_err());
    }
}
