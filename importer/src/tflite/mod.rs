//! TensorFlow Lite models (LiteRT), version 3 of the schema.
//!
//! ```text
//! bytes -> flat (bounded reader) -> model (tables decoded) -> walk (constants, operators in order) -> family files (lower) -> Graph
//! ```
//!
//! All builtin operators are known by name ([`names`], written from the schema). An operator is a row of its family's table
//! ([`registry`]): name, what it does with quantized tensors, and the function that adds it to the graph. The function sees a
//! [`node::Node`]: operands, what is declared about them, and options that are marked when read.
//!
//! - Images are `[N, H, W, C]` in the file and `[N, C, H, W]` in the graph: lowerings wrap image ops with transposes, which the
//!   passes and the plan cancel. Inputs and outputs keep their layout.
//! - Half-precision constants behind a DEQUANTIZE stay stored as they are. Weights of 8 bits under float activations
//!   (dynamic-range models) are widened once.
//! - Quantized graphs stay integers: see [`quantize`].

#![allow(clippy::unnecessary_wraps, reason = "lowerings share one signature")]

mod activation;
mod control;
mod conv;
mod dense;
mod elementwise;
mod flat;
mod flex;
mod gather;
mod logic;
mod model;
mod movement;
mod names;
mod node;
mod norm;
mod own;
mod pad;
mod pool;
mod quantize;
mod recurrent;
mod reduce;
mod registry;
mod resize;
mod shape;
mod softmax;
mod stablehlo;
mod walk;

use pocketnn::Graph;

use crate::error::Result;
use crate::limits::Budget;
use crate::options::ImportOptions;
use crate::report::Report;
use crate::source::Source;

/// An imported model.
#[derive(Debug)]
pub struct Imported {
    /// The network. Its metadata `quantization` holds scale and zero point of quantized inputs and outputs by name.
    pub graph: Graph,
    /// Warnings; nothing in it is unsupported.
    pub report: Report,
    /// Writer of the file, as far as it says.
    pub producer: Option<String>,
}

/// Imports a model from its bytes.
///
/// # Errors
/// `Format` where the bytes are not a model, `Invalid` where the model contradicts itself, `Unsupported` with the complete list of
/// what is missing, `Limits` where a budget would be passed.
pub fn import(bytes: &[u8], options: &ImportOptions) -> Result<Imported> {
    import_source(Source::memory(bytes), options)
}

/// As [`import`], of bytes that may be a file.
pub(crate) fn import_source(source: Source<'_>, options: &ImportOptions) -> Result<Imported> {
    let bytes = source.bytes();
    let budget = Budget::new(options.limits.clone());
    budget.file(u64::try_from(bytes.len()).unwrap_or(u64::MAX), "the model")?;
    let file = flat::File::new(bytes);
    let model = model::read(&file, source, &budget)?;
    let mut walker = walk::Walker::new(&model, &budget, options);
    walker.main()?;
    let report = std::mem::take(&mut walker.report);
    let graph = walker.builder.finish().map_err(|e| node::runtime(&e))?;
    Ok(Imported { graph, report, producer: model.description })
}

/// Names of all builtin operators of the schema, and whether each is imported, for the table of what is supported.
pub fn operators() -> impl Iterator<Item = (&'static str, bool)> {
    names::OPERATORS.iter().map(|&n| (n, registry::find(n).is_some()))
}
