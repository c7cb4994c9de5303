//! Instruction sets of x86-64.

pub mod avx2;
pub mod avx512;

pub use avx2::Avx2;
