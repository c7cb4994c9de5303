//! Which nodes the outputs need, and what the caller's choice of inner inputs and outputs means.

use std::collections::{HashMap, HashSet};

use super::proto::{AttributeValue, Graph, Node, ValueInfo};
use crate::error::{ImportError, Result};

/// The nodes the outputs (or `fetch`) depend on without passing through `feed`, in an order in which they can run.
///
/// The order is that of the file wherever that one can run; some exporters do not keep it.
///
/// # Errors
/// `Invalid` when `fetch` names a value that does not exist, or nodes depend on themselves.
pub(super) fn order(graph: &Graph, feed: &[String], fetch: &[String]) -> Result<Vec<usize>> {
    let makers: HashMap<&str, usize> =
        graph.nodes.iter().enumerate().flat_map(|(i, n)| n.outputs.iter().map(move |o| (o.as_str(), i))).collect();
    for name in fetch {
        let given = graph.inputs.iter().any(|i| i.name == *name) || graph.initializers.iter().any(|t| t.name == *name);
        if !makers.contains_key(name.as_str()) && !given {
            return Err(ImportError::invalid("there is no value of this name to fetch").found(name));
        }
    }
    let stop: HashSet<&str> = feed.iter().map(String::as_str).collect();
    let maker = |name: &str| if stop.contains(name) || name.is_empty() { None } else { makers.get(name).copied() };
    let needed = needed(graph, fetch, &maker);
    let mut state = vec![State::New; graph.nodes.len()];
    let mut sorted = Vec::with_capacity(needed.len());
    for start in needed {
        let mut open = vec![start];
        while let Some(&at) = open.last() {
            let (Some(node), Some(now)) = (graph.nodes.get(at), state.get_mut(at)) else { break };
            match now {
                State::Done => {
                    open.pop();
                }
                State::Open => {
                    *now = State::Done;
                    sorted.push(at);
                    open.pop();
                }
                State::New => {
                    *now = State::Open;
                    let mut names = Vec::new();
                    reads(node, &mut names);
                    for before in names.into_iter().filter_map(maker) {
                        match state.get(before) {
                            Some(State::New) => open.push(before),
                            Some(State::Open) => {
                                return Err(ImportError::invalid("the node depends on its own result")
                                    .at_op(&node.op_type)
                                    .at_node(&node.name));
                            }
                            _ => {}
                        }
                    }
                }
            }
        }
    }
    Ok(sorted)
}

/// How far the sorting is with a node.
#[derive(Clone, Copy, PartialEq)]
enum State {
    New,
    /// What it reads is being sorted.
    Open,
    Done,
}

/// The needed nodes in the order of the file.
fn needed(graph: &Graph, fetch: &[String], maker: &dyn Fn(&str) -> Option<usize>) -> Vec<usize> {
    let mut seen = vec![false; graph.nodes.len()];
    let mut open: Vec<&str> = if fetch.is_empty() {
        graph.outputs.iter().map(|o| o.name.as_str()).collect()
    } else {
        fetch.iter().map(String::as_str).collect()
    };
    while let Some(name) = open.pop() {
        let Some(at) = maker(name) else { continue };
        let (Some(seen), Some(node)) = (seen.get_mut(at), graph.nodes.get(at)) else { continue };
        if !std::mem::replace(seen, true) {
            reads(node, &mut open);
        }
    }
    seen.iter().enumerate().filter(|s| *s.1).map(|s| s.0).collect()
}

/// The names a node reads, those that the bodies of control flow read from outside included.
fn reads<'g>(node: &'g Node, out: &mut Vec<&'g str>) {
    out.extend(node.inputs.iter().map(String::as_str));
    for a in &node.attributes {
        if let AttributeValue::Graph(g) = &a.value {
            let mut inner = Vec::new();
            inner.extend(g.outputs.iter().map(|o| o.name.as_str()));
            g.nodes.iter().for_each(|n| reads(n, &mut inner));
            let own: HashSet<&str> = defined(g).collect();
            out.extend(inner.into_iter().filter(|n| !own.contains(n)));
        }
    }
}

/// The names a body defines itself.
fn defined(g: &Graph) -> impl Iterator<Item = &str> {
    let made = g.nodes.iter().flat_map(|n| &n.outputs).map(String::as_str);
    let given = g.inputs.iter().map(|i| i.name.as_str()).chain(g.initializers.iter().map(|t| t.name.as_str()));
    made.chain(given)
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
