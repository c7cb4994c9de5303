//! TensorFlow: frozen graphs and SavedModels.
//!
//! ```text
//! bytes -> protobuf (wire, in place) -> proto (nodes, functions) -> saved (signature, variables) -> graph (walk) -> family files (lower) -> Graph
//! ```
//!
//! An operation is a row of its family's table ([`registry`]): name, names of its outputs, and the function that adds it to the graph.
//! The function sees a [`node::Node`]: operands and attributes that are marked when read. To support an operation made of existing
//! ops, write its row and function; nothing else changes.
//!
//! Only what the outputs depend on is read. Calls are expanded where they stand, variables are constants, control inputs have no
//! meaning (nothing here has side effects) except that they tell which branch a node belongs to. The loops of TensorFlow 1 are made
//! loops of TensorFlow 2 first ([`frames`]). Control flow is decided while importing where that is possible: the branch of a constant condition
//! is taken, loops whose rounds are known are unrolled, lists of tensors (`TensorList*` and `TensorArray*`, which recurrent layers use) are
//! lists of values here. A loop whose rounds depend on data becomes a `Loop`.
//!
//! Operations on channels-last images are wrapped in transpositions, which the passes cancel. float16 and bfloat16 are computed in
//! f32: inputs and outputs keep their type and constants their stored precision.

#![allow(clippy::unnecessary_wraps, reason = "lowerings share one signature")]

mod activation;
mod attrs;
mod audio;
mod bundle;
mod call;
mod control;
mod conv;
mod dense;
mod elem;
mod elementwise;
mod frames;
mod gather;
mod graph;
mod image;
mod list;
mod movement;
mod node;
mod norm;
mod order;
mod own;
mod phases;
mod pool;
mod proto;
mod quantize;
mod reduce;
mod registry;
mod rounds;
mod saved;
mod shape;
mod signature;
mod state;
mod tensor;

use std::path::Path;

use pocketnn::Graph;

use crate::error::Result;
use crate::limits::Budget;
use crate::options::ImportOptions;
use crate::protobuf::{Message, Meter};
use crate::report::Report;

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

/// The operations that are imported, by name, sorted.
pub fn operations() -> Vec<&'static str> {
    registry::names()
}

/// Imports a frozen graph from its bytes.
///
/// # Errors
/// `Format` where the bytes are not a graph, `Invalid` where the graph contradicts itself, `Unsupported` with the complete list of
/// what is missing, `Limits` where a budget would be passed.
pub fn import_graph(bytes: &[u8], options: &ImportOptions) -> Result<Imported> {
    let budget = Budget::new(options.limits.clone());
    let meter = Meter::new(&options.limits);
    let def = proto::graph_def(Message::file(bytes), &meter, &budget)?;
    let frames = frames::Frames::find(&def, &meter)?;
    let def = frames.rewritten(def)?;
    let ends = signature::of_graph(&def, &meter, options)?;
    let context = graph::Context { def: &def, meter: &meter, budget: &budget, options, variables: None };
    let (graph, report) = graph::import(&context, &ends)?;
    Ok(Imported { graph, report, producer: None })
}

/// Imports a SavedModel from the bytes of its `saved_model.pb`; `folder` is where its variables stand.
///
/// # Errors
/// As [`import_graph`]; `Io` when the variables cannot be read.
pub fn import_saved_model(bytes: &[u8], folder: Option<&Path>, options: &ImportOptions) -> Result<Imported> {
    let budget = Budget::new(options.limits.clone());
    let meter = Meter::new(&options.limits);
    let model = saved::SavedModel::read(Message::file(bytes), &meter, &budget)?;
    let def = proto::graph_def(model.graph, &meter, &budget)?;
    let frames = frames::Frames::find(&def, &meter)?;
    let def = frames.rewritten(def)?;
    let ends = signature::of_saved_model(&model, &def, &meter, options)?;
    let variables = saved::Variables::open(folder, &model, &def, &meter, &budget)?;
    let context = graph::Context { def: &def, meter: &meter, budget: &budget, options, variables: Some(&variables) };
    let (graph, report) = graph::import(&context, &ends)?;
    Ok(Imported { graph, report, producer: model.version.map(|v| format!("tensorflow {v}")) })
}
