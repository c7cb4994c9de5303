//! ONNX models of any opset.
//!
//! ```text
//! bytes -> wire (bounded check) -> proto (decode) -> graph (walk: initializers, inputs, nodes) -> family files (lower) -> Graph
//! ```
//!
//! An operator is a row of its family's table ([`registry`]): name, the opsets in which its definition changed, and the function
//! that adds it to the graph. The function sees a [`node::Node`]: operands, attributes that are marked when read, and the version in
//! force. To support an operator made of existing ops, write its row and function; nothing else changes.
//!
//! Control flow and lists are decided while importing where that is possible ([`control`], [`list`]); what is left runs with the graph ([`scope`]).
//!
//! float16 and bfloat16 are computed in f32: inputs and outputs keep their type, constants keep their stored precision, and a
//! conversion to half precision in the middle of a graph rounds.

#![allow(clippy::unnecessary_wraps, reason = "lowerings share one signature")]

mod activation;
mod attention;
mod attrs;
mod constant;
mod control;
mod conv;
mod dense;
mod elem;
mod elementwise;
mod external;
mod gather;
mod graph;
mod integer;
mod list;
mod logic;
mod loss;
mod microsoft;
mod ml;
mod movement;
mod node;
mod norm;
mod own;
mod pad;
mod pool;
mod proto;
mod quantize;
mod random;
mod reach;
mod recurrent;
mod reduce;
mod registry;
mod resize;
mod sample;
mod scan;
mod scope;
mod signal;
mod softmax;
mod stateful;
mod support;
mod tensor;
mod text;
mod training;
mod value;
mod window;
mod wire;

pub(crate) use support::support;
pub use value::{ValueKind, read_tensor, read_value, write_tensor, write_value};

use std::path::Path;

use pocketnn::Graph;

use crate::error::{ImportError, Result};
use crate::limits::{Budget, Limits};
use crate::options::ImportOptions;
use crate::report::Report;
use crate::source::Source;

/// An imported model.
#[derive(Debug)]
pub struct Imported {
    /// The network.
    pub graph: Graph,
    /// Warnings; nothing in it is unsupported.
    pub report: Report,
    /// Writer of the file, as far as it says.
    pub producer: Option<String>,
}

/// Checks the bytes of a model without decoding them: what passes is protobuf whose decoded form stays within `limits`.
///
/// # Errors
/// `Format` where the bytes are no protobuf, `Limits` where decoding would cost too much.
pub fn check_model(bytes: &[u8], limits: &Limits) -> Result<()> {
    wire::check(bytes, wire::Message::Model, limits)
}

/// As [`check_model`], the bytes of a tensor.
///
/// # Errors
/// As [`check_model`].
pub fn check_tensor(bytes: &[u8], limits: &Limits) -> Result<()> {
    wire::check(bytes, wire::Message::Tensor, limits)
}

/// Imports a model from its bytes; `folder` is where its external data may stand.
///
/// # Errors
/// `Format` where the bytes are not a model, `Invalid` where the model contradicts itself, `Unsupported` with the complete list of
/// what is missing, `Limits` where a budget would be passed.
pub fn import(bytes: &[u8], folder: Option<&Path>, options: &ImportOptions) -> Result<Imported> {
    import_source(Source::memory(bytes), folder, options)
}

/// As [`import`], of bytes that may be a file.
pub(crate) fn import_source(file: Source<'_>, folder: Option<&Path>, options: &ImportOptions) -> Result<Imported> {
    let bytes = file.bytes();
    let budget = Budget::new(options.limits.clone());
    budget.file(u64::try_from(bytes.len()).unwrap_or(u64::MAX), "the model")?;
    let mut model = proto::model(bytes, &options.limits)?;
    file.done(bytes);
    let source = model.graph.take().ok_or_else(|| ImportError::format("the model holds no graph"))?;
    if model.opsets.is_empty() {
        // Files before IR version 3 do not say it; they are of the first opset.
        model.opsets.push((String::new(), 1));
    }
    let folder = external::Folder::new(folder, &options.limits);
    let mut walker = graph::Walker::new(&source.name, &budget, &folder, options, &model.functions);
    walker.model(source, &model.opsets)?;
    let report = std::mem::take(&mut walker.report);
    let graph = walker.builder.finish().map_err(|e| node::runtime(&e))?;
    Ok(Imported { graph, report, producer: model.producer })
}
