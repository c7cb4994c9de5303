//! Conformance, hostile-input and end-to-end tests of pocketnn.

pub mod onnx_batch;
pub mod support;
