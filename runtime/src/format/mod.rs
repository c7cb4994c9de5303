//! The `.pnn` file.

pub mod map;
