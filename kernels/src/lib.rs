//! Numeric routines for neural-network inference on plain slices, in the spirit of Apple's BNNS filters.
//!
//! A filter is made once from a descriptor (`new` validates the shapes and packs the weights) and applied many times
//! (`apply` does arithmetic only: no allocation, no lock, no system call). The crate knows no graph, no file and no
//! thread pool: parallelism is the caller's ([`par::Parallel`]), and the instruction set is an argument ([`isa::Isa`]).
//!
//! Read in this order: [`isa`] (vectors), [`layout`] (how images lie in memory), [`par`], then a family.
//! Every family has a naive twin in [`reference`](mod@reference) that the tests hold it against.

pub mod activation;
pub mod conv;
pub mod elementwise;
pub mod gather;
pub mod gemm;
pub mod isa;
pub mod layout;
pub mod math;
pub mod movement;
pub mod norm;
pub mod par;
pub mod peak;
pub mod pool;
pub mod quantize;
pub mod recurrent;
pub mod reduce;
pub mod reference;
pub mod resize;
pub mod softmax;

mod error;

pub use error::{Error, Result};
