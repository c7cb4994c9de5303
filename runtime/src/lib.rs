//! On-device neural-network inference: graph, plan, session and the `.pnn` file.

pub mod dim;
mod dtype;
mod error;
pub mod format;
#[cfg(feature = "rayon")]
mod gang;
pub mod graph;
mod model;
pub mod narrow;
pub mod ops;
pub mod passes;
pub mod plan;
pub mod preprocess;
mod session;
mod tensor;
mod threads;
mod tuning;
mod view;

pub use dim::{Bindings, Dim};
pub use dtype::{DType, Element};
pub use error::{Error, ErrorKind, Result};
pub use format::Weights;
pub use graph::{Graph, GraphBuilder, Node, ValueId};
pub use model::Model;
pub use ops::Op;
pub use ops::custom::CustomOps;
pub use preprocess::{Image, Preprocessing};
pub use session::{Options, Session};
pub use tensor::{Tensor, checked_bytes, checked_len};
pub use threads::Threads;
pub use tuning::Tuning;
pub use view::View;

#[doc(hidden)]
pub use half;
pub use ndarray;
pub use pocketnn_kernels as kernels;
pub use pocketnn_kernels::conv::Winograd;
