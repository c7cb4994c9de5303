//! Imports trained networks of other frameworks into pocketnn graphs.
//!
//! ```text
//! file -> detect (by content) -> read (container, budgets) -> check -> lower (family files) -> pocketnn::Graph
//! ```
//!
//! Every boundary is one gate: bytes are untrusted, all sizes ask [`Limits`], nothing panics, and what a model needs
//! and is missing here is reported completely, once, in [`Report`].
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod detect;
mod error;
mod import;
pub mod keras;
mod limits;
mod nearest;
pub mod onnx;
mod options;
pub mod own;
mod protobuf;
mod report;
mod resample;
mod source;
pub mod support;
pub mod tensorflow;
pub mod tflite;
pub mod verify;

pub use detect::Format;
pub use error::{ErrorKind, ImportError, Location, Result};
pub use import::{Imported, import, import_bytes};
pub use limits::{Budget, Limits, to_usize};
pub use options::{ImportOptions, Keras1Backend, Keras3Backend, Provenance};
pub use report::{Entry, Report};
