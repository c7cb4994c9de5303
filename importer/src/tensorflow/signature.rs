//! Where a graph begins and ends: a signature, what the caller names, or placeholders and what nothing reads.

use std::collections::HashSet;

use super::attrs::Attrs;
use super::elem::Elem;
use super::graph::Scope;
use super::order::{Nodes, Source};
use super::proto::{self, GraphDef, NodeDef, Shape};
use super::registry;
use super::saved::{SavedModel, TensorInfo};
use crate::error::{ImportError, Result};
use crate::options::ImportOptions;
use crate::protobuf::{Message, Meter};

/// An input or output of the graph.
#[derive(Clone, Debug)]
pub(super) struct End<'m> {
    /// What it is called.
    pub name: String,
    /// The tensor it is.
    pub tensor: &'m str,
    /// Its element type, where that is told.
    pub elem: Option<Elem>,
    /// Its shape, where that is told.
    pub shape: Shape,
}

/// Inputs and outputs.
#[derive(Clone, Debug, Default)]
pub(super) struct Ends<'m> {
    pub inputs: Vec<End<'m>>,
    pub outputs: Vec<End<'m>>,
}

/// `x` of `x:0`.
fn bare(name: &str) -> &str {
    name.strip_suffix(":0").unwrap_or(name)
}

/// The ends of a frozen graph.
pub(super) fn of_graph<'m>(def: &'m GraphDef<'m>, meter: &'m Meter, options: &'m ImportOptions) -> Result<Ends<'m>> {
    let nodes = Nodes::new(&def.nodes, false)?;
    let outputs = if options.fetch.is_empty() { sinks(def, &nodes, meter)? } else { fetched(&nodes, options)? };
    if outputs.is_empty() {
        return Err(ImportError::invalid("the graph computes nothing that could be an output")
            .help("name a tensor with --fetch"));
    }
    let inputs = if options.feed.is_empty() { inputs(def, &nodes, meter, &outputs)? } else { fed(&nodes, options)? };
    Ok(Ends { inputs, outputs })
}

fn exists<'m>(nodes: &Nodes<'m>, name: &'m str, option: &str) -> Result<()> {
    let found = nodes.source(name);
    if matches!(found, Ok(Source::Output(..))) {
        return Ok(());
    }
    Err(ImportError::invalid("the graph has no such tensor").found(name).at_attribute(option))
}

fn fetched<'m>(nodes: &Nodes<'m>, options: &'m ImportOptions) -> Result<Vec<End<'m>>> {
    let end = |name: &'m String| {
        exists(nodes, name, "fetch")?;
        Ok(End { name: bare(name).to_owned(), tensor: name, elem: None, shape: None })
    };
    options.fetch.iter().map(end).collect()
}

fn fed<'m>(nodes: &Nodes<'m>, options: &'m ImportOptions) -> Result<Vec<End<'m>>> {
    let end = |name: &'m String| {
        exists(nodes, name, "feed")?;
        let shape = options
            .feed_shapes
            .get(name)
            .map(|s| s.iter().map(|d| d.map_or(-1, |n| i64::try_from(n).unwrap_or(i64::MAX))).collect::<Vec<i64>>());
        Ok(End { name: bare(name).to_owned(), tensor: name, elem: None, shape })
    };
    options.feed.iter().map(end).collect()
}

/// The placeholders that the outputs depend on, in the order of the file.
fn inputs<'m>(def: &'m GraphDef<'m>, nodes: &Nodes<'m>, meter: &'m Meter, outputs: &[End<'m>]) -> Result<Vec<End<'m>>> {
    let mut wanted = Vec::new();
    for o in outputs {
        if let Source::Output(at, _) = nodes.source(o.tensor)? {
            wanted.push(at);
        }
    }
    let mut all = Vec::new();
    // A graph with a loop has no order; then every placeholder is taken, and the walk reports the loop.
    let reached: Option<HashSet<usize>> = nodes.order(&wanted, &|_| false).ok().map(|o| o.into_iter().collect());
    for (i, node) in def.nodes.iter().enumerate() {
        let needed = reached.as_ref().is_none_or(|r| r.contains(&i));
        if needed && matches!(node.op, "Placeholder" | "PlaceholderV2") && !is_learning_phase(node) {
            all.push(placeholder(def, node, meter)?);
        }
    }
    Ok(all)
}

/// The placeholder by which Keras tells training from inference; it is false here.
pub(super) fn is_learning_phase(node: &NodeDef) -> bool {
    node.name.ends_with("keras_learning_phase")
}

/// A placeholder as an end, with the shape that it says.
pub(super) fn placeholder<'m>(def: &'m GraphDef<'m>, node: &'m NodeDef<'m>, meter: &'m Meter) -> Result<End<'m>> {
    let attrs = Attrs::new(&node.attrs, meter);
    let elem = attrs.elem("dtype").map_err(|e| e.at_node(node.name))?;
    let shape = attrs.shape("shape").map_err(|e| e.at_node(node.name))?;
    // Graphs of old versions write an unknown shape as that of a scalar.
    let shape = shape.filter(|s| def.producer >= 24 || !s.is_empty());
    let listed = || attrs.shapes("_output_shapes").ok().and_then(|s| s.into_iter().next().flatten());
    Ok(End { name: node.name.to_owned(), tensor: node.name, elem, shape: shape.or_else(listed) })
}

/// The placeholders that a tensor depends on.
pub(super) fn placeholders<'m>(def: &'m GraphDef<'m>, meter: &'m Meter, tensor: &'m str) -> Result<Vec<End<'m>>> {
    let nodes = Nodes::new(&def.nodes, false)?;
    inputs(def, &nodes, meter, &[End { name: String::new(), tensor, elem: None, shape: None }])
}

/// Operations whose results nobody reads but which are no outputs.
const NO_OUTPUTS: &[&str] = &[
    "Assert",
    "Assign",
    "AssignVariableOp",
    "Const",
    "HistogramSummary",
    "MergeSummary",
    "MergeV2Checkpoints",
    "NoOp",
    "Placeholder",
    "PlaceholderV2",
    "PlaceholderWithDefault",
    "Print",
    "RestoreV2",
    "SaveV2",
    "ScalarSummary",
    "VarHandleOp",
    "VarIsInitializedOp",
    "Variable",
    "VariableV2",
];

/// Outputs of nodes that no other node reads.
fn sinks<'m>(def: &'m GraphDef<'m>, nodes: &Nodes<'m>, meter: &'m Meter) -> Result<Vec<End<'m>>> {
    let mut read = HashSet::new();
    for n in &def.nodes {
        for &name in &n.inputs {
            match nodes.source(name).map_err(|e| e.at_op(n.op).at_node(n.name))? {
                Source::Output(at, _) => read.insert(at),
                Source::Control(name) => nodes.find(name).is_some_and(|at| read.insert(at)),
                Source::Argument(_) => false,
            };
        }
    }
    let mut all = Vec::new();
    for (i, n) in def.nodes.iter().enumerate() {
        let elem = Attrs::new(&n.attrs, meter).elem("T").ok().flatten();
        let handle = matches!(elem, Some(Elem::Variant | Elem::Resource | Elem::Text));
        if read.contains(&i) || NO_OUTPUTS.contains(&n.op) || handle {
            continue;
        }
        all.push((exported(n.name), n));
    }
    // A variable that a loop leaves and nobody reads, such as its counter, is an output only where there is nothing else.
    if all.iter().any(|(_, n)| !n.op.ends_with("Exit")) {
        all.retain(|(_, n)| !n.op.ends_with("Exit"));
    }
    // TensorFlow 2 calls the outputs of a frozen function Identity, Identity_1, ... and writes them in any order.
    if all.iter().all(|(number, _)| number.is_some()) {
        all.sort_by_key(|(number, _)| *number);
    }
    let mut ends = Vec::new();
    for (_, n) in all {
        ends.push(End { name: n.name.to_owned(), tensor: n.name, elem: None, shape: None });
        let more = outputs(n, meter)?;
        if more > 1 {
            return Err(ImportError::unsupported("an operation with several outputs at the end of the graph")
                .help("name the outputs with --fetch, such as NAME:0 and NAME:1")
                .at_op(n.op)
                .at_node(n.name));
        }
    }
    Ok(ends)
}

/// Number of an output of a frozen function.
fn exported(name: &str) -> Option<u32> {
    match name.strip_prefix("Identity")? {
        "" => Some(0),
        rest => rest.strip_prefix('_')?.parse().ok(),
    }
}

/// Number of outputs of a node that others may read.
fn outputs(n: &NodeDef, meter: &Meter) -> Result<usize> {
    let attrs = Attrs::new(&n.attrs, meter);
    let listed = match n.op {
        "Split" | "SplitV" => attrs.int("num_split", 1)?,
        "Unpack" => attrs.int("num", 1)?,
        _ => 1,
    };
    let named = match registry::find(n.op) {
        Some(r) if r.name == "TopKV2" => r.outputs.len(),
        _ => 1,
    };
    Ok(usize::try_from(listed).unwrap_or(1).max(named))
}

/// The ends of a SavedModel: those of a signature.
pub(super) fn of_saved_model<'m>(
    model: &SavedModel<'m>,
    def: &'m GraphDef<'m>,
    meter: &'m Meter,
    options: &'m ImportOptions,
) -> Result<Ends<'m>> {
    let nodes = Nodes::new(&def.nodes, false)?;
    if !options.fetch.is_empty() {
        let outputs = fetched(&nodes, options)?;
        let inputs =
            if options.feed.is_empty() { inputs(def, &nodes, meter, &outputs)? } else { fed(&nodes, options)? };
        return Ok(Ends { inputs, outputs });
    }
    let real: Vec<_> = model.signatures.iter().filter(|s| !s.0.starts_with("__saved_model")).collect();
    let wanted = options.signature.as_deref();
    let chosen = match (wanted, real.as_slice()) {
        (None, [only]) => Some(*only),
        _ => real.iter().copied().find(|s| s.0 == wanted.unwrap_or("serving_default")),
    };
    let Some((_, signature)) = chosen else {
        let names: Vec<&str> = real.iter().map(|s| s.0).collect();
        let error = ImportError::invalid("the SavedModel has no such signature")
            .expected(if names.is_empty() { "none".to_owned() } else { names.join(", ") })
            .found(wanted.unwrap_or("serving_default"))
            .help("choose one with --signature");
        return Err(error.at_attribute("signature"));
    };
    let inputs = if options.feed.is_empty() { ends(&nodes, &signature.inputs)? } else { fed(&nodes, options)? };
    let outputs = ends(&nodes, &signature.outputs)?;
    if outputs.is_empty() {
        return Err(ImportError::invalid("the signature has no outputs"));
    }
    Ok(Ends { inputs, outputs })
}

/// Ends in the order of the nodes and of their outputs.
fn ends<'m>(nodes: &Nodes<'m>, list: &[(&'m str, TensorInfo<'m>)]) -> Result<Vec<End<'m>>> {
    let mut all = Vec::new();
    for (name, info) in list {
        if info.name.is_empty() {
            return Err(ImportError::unsupported("sparse and other composite tensors are not supported").at_node(name));
        }
        let Source::Output(at, k) = nodes.source(info.name).map_err(|e| e.at_node(name))? else {
            return Err(ImportError::invalid("a signature that names no tensor").at_node(name));
        };
        let elem = Elem::parse(info.elem).map_err(|e| e.at_node(name))?;
        let end = End { name: (*name).to_owned(), tensor: info.name, elem: Some(elem), shape: info.shape.clone() };
        all.push(((at, k), end));
    }
    all.sort_by_key(|a| a.0);
    Ok(all.into_iter().map(|a| a.1).collect())
}

/// The shape of a placeholder that does not say it, from the constants that those who read it bring along.
pub(super) fn guess<'m>(def: &'m GraphDef<'m>, scope: &Scope<'m>, name: &str) -> Result<Shape> {
    let mut names = vec![name];
    for n in &def.nodes {
        let reads = n.inputs.first().is_some_and(|i| names.contains(&bare(i)));
        if !reads {
            continue;
        }
        let known = n.inputs.get(1).and_then(|i| constant(scope, bare(i)));
        match (n.op, known) {
            ("Identity" | "StopGradient", _) => names.push(n.name),
            ("MatMul", Some((shape, _))) if shape.len() == 2 => {
                return Ok(Some(vec![-1, *shape.first().unwrap_or(&-1)]));
            }
            ("Conv2D" | "DepthwiseConv2dNative", Some((shape, _))) if shape.len() == 4 => {
                return Ok(Some(vec![-1, -1, -1, shape.get(2).copied().unwrap_or(-1)]));
            }
            ("Reshape", Some((_, list))) if list.first() == Some(&-1) && list.iter().skip(1).all(|&n| n > 0) => {
                return Ok(Some(vec![-1, list.iter().skip(1).fold(1i64, |n, &d| n.saturating_mul(d))]));
            }
            _ => {}
        }
    }
    Ok(None)
}

/// Shape and, if it is a short list of integers, elements of a constant node, looked for behind identities.
fn constant<'m>(scope: &Scope<'m>, name: &'m str) -> Option<(Vec<i64>, Vec<i64>)> {
    let mut at = scope.nodes.find(name)?;
    for _ in 0..8 {
        let node = scope.nodes.get(at)?;
        if node.op == "Const" {
            let value = node.attrs.iter().find(|a| a.0 == "value")?.1;
            return small(value).ok().flatten();
        }
        at = scope.nodes.find(bare(node.inputs.first()?))?;
    }
    None
}

fn small(value: Message) -> Result<Option<(Vec<i64>, Vec<i64>)>> {
    let meter = Meter::new(&crate::limits::Limits::small());
    let Some(tensor) = value.field(8)? else { return Ok(None) };
    let tensor = tensor.message()?;
    let shape = tensor.field(2)?.map(|f| f.message().and_then(|m| proto::shape(m, &meter))).transpose()?.flatten();
    let shape = shape.unwrap_or_default();
    if shape.len() != 1 || shape.first().is_none_or(|&n| n > 16) {
        return Ok(Some((shape, Vec::new())));
    }
    let budget = crate::limits::Budget::new(crate::limits::Limits::small());
    let list = match super::tensor::decode(tensor, &meter, &budget)? {
        super::tensor::Constant::Numbers(_, t) => t.to_i64().unwrap_or_default(),
        super::tensor::Constant::Text => Vec::new(),
    };
    Ok(Some((shape, list)))
}
