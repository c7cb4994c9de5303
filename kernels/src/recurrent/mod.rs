//! Recurrent layers: LSTM, GRU and the simple layer, over sequences `[T, N, I]`.

mod params;

pub use params::{Cell, Direction, Params, Sequence};
