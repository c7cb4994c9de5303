//! Naive twins of every kernel family: logical layouts, `f64` accumulation, no tricks. The oracle of all tests and the
//! interpreter that verifies conversions.
