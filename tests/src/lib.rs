//! Conformance, hostile-input and end-to-end tests of pocketnn.

<<<<<<< HEAD
pub mod npz;
pub mod onnx_batch;
pub mod serve;
=======
>>>>>>> 866b58e (Convolution: direct tiles, depthwise, first layers; image layout conversions; peak rate)
pub mod support;
