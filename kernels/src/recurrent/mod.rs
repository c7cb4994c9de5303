//! Recurrent layers: LSTM, GRU and the simple layer, over sequences `[T, N, I]`.

mod layer;
mod params;
mod product;

pub use layer::{Outputs, Recurrent, Weights};
pub use params::{Cell, Direction, Params, Sequence};
