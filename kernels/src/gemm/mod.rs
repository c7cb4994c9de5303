//! Matrix products: dense layers with packed weights, products of two run-time matrices, and the register tile that they
//! share with convolutions.
//!
//! One row ([`Dense`] with `rows = 1`) is bound by the bytes of the weights and by latency: four interleaved chains of
//! multiply-adds (`k` modulo 4), added as `(0 + 1) + (2 + 3)`. More rows take the tile, one chain a sum. Both orders are
//! the same on every instruction set.

pub(crate) mod aligned;
mod dense;
mod matmul;
pub(crate) mod tile;

pub use aligned::{Aligned, Packed};
pub use dense::{Dense, DenseDesc, DenseForm, DenseWeights, Values};
pub use matmul::MatMul;
