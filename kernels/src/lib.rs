//! SIMD kernels for convolutional neural-network inference on plain slices.
