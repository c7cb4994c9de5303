//! Naive twins of every kernel family: logical layouts, `f64` accumulation, no tricks. The oracle of all tests and the
//! interpreter that verifies conversions.

pub mod activation;
pub mod conv;
pub mod dense;
pub mod elementwise;
pub mod gather;
pub mod movement;
pub mod norm;
pub mod pool;
pub mod quantize;
pub mod recurrent;
pub mod reduce;
pub mod resize;
pub mod softmax;
mod window;

pub use window::Window;
