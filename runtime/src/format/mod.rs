//! The `.pnn` file: a network in one file that is a valid [safetensors](https://github.com/huggingface/safetensors) file.
//!
//! ```text
//! u64 little-endian   H: bytes of the header
//! H bytes             JSON object, padded with spaces so that the data starts on a multiple of 64
//!   "__metadata__"    strings:
//!       "format"      "pocketnn"
//!       "version"     "1", or "2" where constants are packed; a reader refuses versions it does not know
//!       "graph"       JSON text, below
//!       "sha256"      lower-case hex digest of the data
//!   NAME              {"dtype", "shape", "data_offsets": [begin, end]} for each constant, by the name of its value
//! data                tensors, row-major and little-endian, without holes; those whose size is a multiple of 64 bytes come first, then
//!                     multiples of 32, 16, 8, 4, 2 and the rest, so that each begins on a multiple of that power of two; names
//!                     decide between equals. Element types F32 F16 BF16 F64 I8 I16 I32 I64 U8 U16 U32 U64 BOOL; narrow types are
//!                     U8 vectors, elements of less than 8 bits packed, the first in the lowest bits.
//! ```
//!
//! The graph:
//!
//! ```text
//! {"name": "...",
//!  "inputs": [{"name", "dtype": "f32", "shape": [1, "H", ...]}],      a string is a symbolic dimension
//!  "nodes": [{"op": "Conv", "name", "inputs": [VALUE or null, ...], "outputs": [VALUE, ...], "attrs": {...}}],
//!  "outputs": [VALUE, ...],
//!  "packed": {VALUE: {"form": "conv 2", "shape": [...], ...}},         constants stored as a kernel reads them; may be missing
//!  "narrow": {NAME: {"dtype": "i4", "shape": [...]}},                constants of narrow types, if there are any
//!  "constants": {NAME: {"dtype": "text", "shape", "data": [...]}},   constants that are no bytes, if there are any
//!  "inner": [TENSOR, ...],                                           tensors that only graphs in attributes use, if there are any
//!  "meta": {...}}                                                    labels, preprocessing, provenance, verification
//! ```
//!
//! A packed constant has the type and shape of its entry; the file holds a vector of the same elements in the order of the form, zeros in
//! between. Where an entry has `"numbers": NAME`, the file holds the constant as it is, and under that name what is derived from it. Forms have a number after their name, and a reader refuses those that it does not know ([`packed`]).
//!
//! A value is an input, a constant (a tensor of the file) or an output of an earlier node, by name; names are unique. Ops
//! and their attributes are those of [`crate::ops`]; attributes at their default are left out, unknown ones are refused.
//! An attribute may be a graph (`If`, `Loop`): the same object without `meta`, nested at most 16 deep. Its constants stand in `constants`, as
//! `{"dtype", "shape", "data"}` or, where they have more than 64 elements, as `{"tensor": NAME}` of the file.
//! Types and shapes are not stored: they follow from the ops. Writing is reproducible: the same graph gives the same bytes.
//!
//! [`read`] is the only gate: checked arithmetic and [`Limits`]; behind it nothing doubts.

pub mod map;
pub mod packed;
mod read;
mod weights;
mod write;

pub(crate) use read::body as read_body;
pub use read::{header_digest, open, open_with, read, read_with, recorded_digest, verify_digest};
pub use weights::Weights;
pub(crate) use write::body_json;
pub use write::{save, write};

/// The newest version of the format that this build reads, and writes where constants are packed, narrow or text.
pub const VERSION: u32 = 2;

/// The version of a file without them.
const PLAIN_VERSION: u32 = 1;

/// Budgets of reading a file.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Largest file in bytes.
    pub file_bytes: u64,
    /// Largest header in bytes.
    pub header_bytes: u64,
    /// Most nodes.
    pub nodes: usize,
    /// Most constants.
    pub tensors: usize,
}

impl Default for Limits {
    /// 16 GiB of file, 64 MiB of header, a million nodes and constants.
    fn default() -> Self {
        Self { file_bytes: 16 << 30, header_bytes: 64 << 20, nodes: 1_000_000, tensors: 1_000_000 }
    }
}

/// Names of element types in safetensors.
const DTYPES: &[(&str, crate::DType)] = {
    use crate::DType as D;
    &[
        ("F32", D::F32),
        ("F16", D::F16),
        ("BF16", D::BF16),
        ("F64", D::F64),
        ("I8", D::I8),
        ("I16", D::I16),
        ("I32", D::I32),
        ("I64", D::I64),
        ("U8", D::U8),
        ("U16", D::U16),
        ("U32", D::U32),
        ("U64", D::U64),
        ("BOOL", D::Bool),
    ]
};

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|b| format!("{b:02x}")).collect()
}
