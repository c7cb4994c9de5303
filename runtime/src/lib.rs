//! On-device neural-network inference: graph, plan, session and the `.pnn` file.

pub mod dim;
mod dtype;
mod error;
pub mod format;
pub mod graph;
pub mod ops;
pub mod plan;
mod tensor;

pub use dim::{Bindings, Dim};
pub use dtype::{DType, Element};
pub use error::{Error, ErrorKind, Result};
pub use graph::{Graph, GraphBuilder, Node, ValueId};
pub use ops::Op;
pub use tensor::{Tensor, checked_bytes, checked_len};

#[doc(hidden)]
pub use half;
pub use ndarray;
pub use pocketnn_kernels as kernels;
