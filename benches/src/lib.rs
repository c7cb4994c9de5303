//! Criterion benches of pocketnn.
