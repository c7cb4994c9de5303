//! Matrix products: the register tile that convolutions and dense layers share.

pub mod tile;
