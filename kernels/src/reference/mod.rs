//! Naive twins of every kernel family: logical layouts, `f64` accumulation, no tricks. The oracle of all tests and the
//! interpreter that verifies conversions.

pub mod conv;
pub mod dense;
pub mod pool;
mod window;

pub use window::Window;
