//! Conformance, hostile-input and end-to-end tests of pocketnn.

pub mod counting;
pub mod hostile;
pub mod networks;
pub mod npz;
pub mod onnx_batch;
pub mod serve;
pub mod support;
