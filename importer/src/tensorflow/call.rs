//! Calls of functions, expanded where they stand.

use super::node::{Lowered, Node};
use super::registry::{Row, op};
use crate::error::Result;

pub(super) const ROWS: &[Row] =
    &[op("PartitionedCall", call), op("StatefulPartitionedCall", call), op("SymbolicGradient", gradient)];

fn call<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let function = cx.attrs.function("f")?;
    let inputs = std::mem::take(&mut cx.inputs);
    cx.walker.call(function, inputs)
}

fn gradient<'m>(_: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    Err(crate::ImportError::unsupported("gradients are those of training").help("export the model for inference"))
}
