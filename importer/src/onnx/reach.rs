//! Which nodes the outputs need, and what the caller's choice of inner inputs and outputs means.

use std::collections::{HashMap, HashSet};

use super::proto::{AttributeValue, Graph, Node, ValueInfo};
use crate::error::{ImportError, Result};

/// For each node, whether the outputs (or `fetch`) depend on it without passing through `feed`.
///
/// # Errors
/// `Invalid` when `fetch` names a value that does not exist.
pub(super) fn needed(graph: &Graph, feed: &[String], fetch: &[String]) -> Result<Vec<bool>> {
    let makers: HashMap<&str, usize> =
        graph.nodes.iter().enumerate().flat_map(|(i, n)| n.outputs.iter().map(move |o| (o.as_str(), i))).collect();
    for name in fetch {
        let given = graph.inputs.iter().any(|i| i.name == *name) || graph.initializers.iter().any(|t| t.name == *name);
        if !makers.contains_key(name.as_str()) && !given {
            return Err(ImportError::invalid("there is no value of this name to fetch").found(name));
        }
    }
    let mut needed = vec![false; graph.nodes.len()];
    let stop: HashSet<&str> = feed.iter().map(String::as_str).collect();
    let mut open: Vec<&str> = if fetch.is_empty() {
        graph.outputs.iter().map(|o| o.name.as_str()).collect()
    } else {
        fetch.iter().map(String::as_str).collect()
    };
    while let Some(name) = open.pop() {
        if stop.contains(name) {
            continue;
        }
        let Some(&maker) = makers.get(name) else { continue };
        let (Some(seen), Some(node)) = (needed.get_mut(maker), graph.nodes.get(maker)) else { continue };
        if !std::mem::replace(seen, true) {
            reads(node, &mut open);
        }
    }
    Ok(needed)
}

/// The names a node reads, those that the bodies of control flow read from outside included.
fn reads<'g>(node: &'g Node, out: &mut Vec<&'g str>) {
    out.extend(node.inputs.iter().map(String::as_str));
    for a in &node.attributes {
        if let AttributeValue::Graph(g) = &a.value {
            out.extend(g.outputs.iter().map(|o| o.name.as_str()));
            g.nodes.iter().for_each(|n| reads(n, out));
        }
    }
}

/// Names and types of the values that replace the inputs.
///
/// # Errors
/// `Invalid` when the file does not say the type of one.
pub(super) fn feeds(graph: &Graph, feed: &[String]) -> Result<Vec<ValueInfo>> {
    let all = || graph.inputs.iter().chain(&graph.value_info).chain(&graph.outputs);
    let find = |name: &String| {
        all().find(|i| i.name == *name).cloned().ok_or_else(|| {
            ImportError::invalid("the file does not say the type of this value")
                .at_node(name)
                .help("only inputs and values listed in `value_info` can be fed")
        })
    };
    feed.iter().map(find).collect()
}
