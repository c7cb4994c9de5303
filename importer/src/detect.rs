//! What a model is, decided by its content and never by its suffix.

use std::fmt;
use std::path::Path;

use crate::error::{ImportError, Result};

/// A source format that is recognised (not necessarily imported).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// ONNX `ModelProto`.
    Onnx,
    /// Keras archive: Keras 3, or Keras 2 from 2.12 on.
    KerasZip,
    /// HDF5: a whole model of Keras 1, 2 or 3, or weights only.
    KerasHdf5,
    /// Architecture of a Keras model as JSON; needs a weights file.
    KerasJson,
    /// Folder that holds an architecture JSON and a weights file.
    KerasFolder,
    /// TensorFlow Lite flatbuffer.
    TfLite,
    /// TensorFlow SavedModel: the folder, or its `saved_model.pb`.
    SavedModel,
    /// Frozen TensorFlow graph.
    GraphDef,
    /// A converted model of this project.
    Pnn,
    /// safetensors without a graph.
    Safetensors,
}

impl Format {
    /// Name for messages and provenance.
    pub fn name(self) -> &'static str {
        match self {
            Self::Onnx => "ONNX",
            Self::KerasZip => "Keras archive",
            Self::KerasHdf5 => "Keras HDF5",
            Self::KerasJson => "Keras JSON",
            Self::KerasFolder => "Keras folder",
            Self::TfLite => "TensorFlow Lite",
            Self::SavedModel => "TensorFlow SavedModel",
            Self::GraphDef => "TensorFlow GraphDef",
            Self::Pnn => "pnn",
            Self::Safetensors => "safetensors",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The format of a whole file in memory.
pub fn detect_bytes(bytes: &[u8]) -> Result<Format> {
    if bytes.is_empty() {
        return Err(ImportError::format("the file is empty"));
    }
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
        return Ok(Format::KerasZip);
    }
    if is_hdf5(bytes) {
        return Ok(Format::KerasHdf5);
    }
    if bytes.get(4..8) == Some(b"TFL3") {
        return Ok(Format::TfLite);
    }
    if let Some(format) = safetensors(bytes) {
        return Ok(format);
    }
    if first_visible(bytes) == Some(b'{') {
        return Ok(Format::KerasJson);
    }
    protobuf(bytes).ok_or_else(|| {
        let head: Vec<String> = bytes.iter().take(8).map(|b| format!("{b:02x}")).collect();
        ImportError::format("not a model format that is known")
            .expected("ONNX, a .keras archive, Keras HDF5 or JSON, a TensorFlow SavedModel or frozen graph")
            .found(format!("{} bytes that begin with {}", bytes.len(), head.join(" ")))
    })
}

/// The format of a folder.
pub fn detect_folder(folder: &Path) -> Result<Format> {
    if folder.join("saved_model.pb").is_file() || folder.join("saved_model.pbtxt").is_file() {
        return Ok(Format::SavedModel);
    }
    if crate::keras::folder_parts(folder).is_ok() {
        return Ok(Format::KerasFolder);
    }
    Err(ImportError::format("the folder holds no model that is known")
        .expected("an architecture .json with a weights file (.h5), or saved_model.pb")
        .in_file(folder.display()))
}

/// HDF5 puts its signature at 0, 512, 1024, 2048, ... (a user block may stand before it).
fn is_hdf5(bytes: &[u8]) -> bool {
    const SIGNATURE: &[u8] = b"\x89HDF\r\n\x1a\n";
    let mut at = 0usize;
    while let Some(rest) = bytes.get(at..) {
        if rest.starts_with(SIGNATURE) {
            return true;
        }
        at = if at == 0 { 512 } else { at.saturating_mul(2) };
    }
    false
}

fn first_visible(bytes: &[u8]) -> Option<u8> {
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    text.iter().copied().find(|b| !b.is_ascii_whitespace())
}

/// safetensors: eight bytes of header length, then the JSON header; ours says so in its metadata.
fn safetensors(bytes: &[u8]) -> Option<Format> {
    let length = u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?);
    let header = bytes.get(8..usize::try_from(length).ok()?.checked_add(8)?)?;
    if header.first() != Some(&b'{') {
        return None;
    }
    const OURS: &[u8] = b"\"format\":\"pocketnn\"";
    let ours = header.windows(OURS.len()).any(|w| w == OURS);
    Some(if ours { Format::Pnn } else { Format::Safetensors })
}

/// Tells the three protobuf formats apart by the fields of the outermost message.
fn protobuf(bytes: &[u8]) -> Option<Format> {
    let fields = top_level_fields(bytes)?;
    let has = |number: u64, wire: u64| fields.contains(&(number, wire));
    let only = |allowed: &[(u64, u64)]| fields.iter().all(|f| allowed.contains(f));
    const VARINT: u64 = 0;
    const BYTES: u64 = 2;
    if has(7, BYTES) && (has(1, VARINT) || has(8, BYTES)) {
        return Some(Format::Onnx);
    }
    if has(1, VARINT) && has(2, BYTES) && only(&[(1, VARINT), (2, BYTES)]) {
        return Some(Format::SavedModel);
    }
    let graph_def = [(1, BYTES), (2, BYTES), (3, VARINT), (4, BYTES), (5, BYTES)];
    (has(1, BYTES) && only(&graph_def)).then_some(Format::GraphDef)
}

/// The distinct `(field number, wire type)` pairs of the outermost message, or `None` if it is no protobuf.
fn top_level_fields(bytes: &[u8]) -> Option<Vec<(u64, u64)>> {
    let mut fields = Vec::new();
    let mut at = 0usize;
    while at < bytes.len() {
        let tag = varint(bytes, &mut at)?;
        let (number, wire) = (tag >> 3, tag & 7);
        if number == 0 || number > 1 << 29 {
            return None;
        }
        let skip = match wire {
            0 => {
                varint(bytes, &mut at)?;
                0
            }
            1 => 8,
            2 => varint(bytes, &mut at)?,
            5 => 4,
            _ => return None,
        };
        at = at.checked_add(usize::try_from(skip).ok()?)?;
        if at > bytes.len() {
            return None;
        }
        if !fields.contains(&(number, wire)) {
            fields.push((number, wire));
        }
    }
    Some(fields)
}

fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at = at.checked_add(1)?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magic_numbers_decide() {
        let mut user_block = vec![0u8; 512];
        user_block.extend_from_slice(b"\x89HDF\r\n\x1a\n");
        for (bytes, format) in [
            (b"PK\x03\x04....".to_vec(), Format::KerasZip),
            (b"\x89HDF\r\n\x1a\n\0".to_vec(), Format::KerasHdf5),
            (user_block, Format::KerasHdf5),
            (b"\x1c\0\0\0TFL3".to_vec(), Format::TfLite),
            (b"\xef\xbb\xbf \n{\"class_name\"".to_vec(), Format::KerasJson),
            (b"\x02\0\0\0\0\0\0\0{}".to_vec(), Format::Safetensors),
            (b"\x08\x08\x3a\x00".to_vec(), Format::Onnx),
            (b"\x08\x01\x12\x00".to_vec(), Format::SavedModel),
            (b"\x0a\x02\x0a\x00\x22\x00".to_vec(), Format::GraphDef),
        ] {
            assert_eq!(detect_bytes(&bytes).unwrap(), format, "{bytes:?}");
        }
        let mut pnn = 40u64.to_le_bytes().to_vec();
        pnn.extend_from_slice(b"{\"__metadata__\":{\"format\":\"pocketnn\"}}  ");
        assert_eq!(detect_bytes(&pnn).unwrap(), Format::Pnn);
    }

    #[test]
    fn everything_else_is_a_format_error_that_shows_the_first_bytes() {
        for bytes in [&b""[..], b"hello", b"\x0a\x7f", b"\x3a\x00", &[0xff; 40], &[0; 16]] {
            let error = detect_bytes(bytes).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::Format, "{bytes:?}");
        }
        assert!(detect_bytes(b"hello").unwrap_err().to_string().contains("68 65 6c 6c 6f"));
    }
}
