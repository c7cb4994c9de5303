//! Instruction sets of x86-64.

mod avx2;

pub use avx2::{Avx2, vectorize};
