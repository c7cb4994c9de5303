//! The loops of TensorFlow 1, which are cycles of nodes, become nodes `While` with two functions, as TensorFlow 2 writes them.
//!
//! A loop is a frame. `Enter` brings a value in: one that stays, or the first of a variable. `Merge` is the variable at the start of a round, taken
//! from `Enter` or from the round before (`NextIteration`). `LoopCond` says whether there is another round: `Switch` sends each variable out (to
//! `Exit`) or into the round.
//!
//! ```text
//! Enter -> Merge -> Switch -> Exit                what LoopCond reads of the Merges: the condition
//!            ^        `-> ... -> NextIteration    what NextIterations read of the Switches: the body
//!            `------------------------'
//! ```
//!
//! Functions are named after nodes that are gone then: the condition after `LoopCond`, as is the `While`, the body after the first `Merge`. Loops in
//! loops go first.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::attrs::Attrs;
use super::proto::{FunctionDef, GraphDef, NodeDef};
use crate::error::{ImportError, Result};
use crate::protobuf::Meter;

/// A variable of a loop, by its nodes.
#[derive(Debug)]
struct Variable {
    enter: usize,
    merge: usize,
    switch: usize,
    next: usize,
}

/// A loop, by its nodes.
#[derive(Debug)]
struct Frame {
    condition: usize,
    variables: Vec<Variable>,
    /// `Enter` nodes of values that stay.
    fixed: Vec<usize>,
}

/// The loops of a graph, and names of the tensors that leave them.
#[derive(Debug, Default)]
pub(super) struct Frames {
    list: Vec<Frame>,
    /// For each `Exit`, the output of the `While` that it is.
    exits: BTreeMap<usize, String>,
}

/// The node of a tensor's name.
fn node_of(tensor: &str) -> &str {
    let bare = tensor.strip_prefix('^').unwrap_or(tensor);
    bare.split(':').next().unwrap_or(bare)
}

fn is(node: &NodeDef, op: &str) -> bool {
    node.op.strip_prefix("Ref").unwrap_or(node.op) == op
}

fn broken(what: &str, node: &NodeDef) -> ImportError {
    ImportError::unsupported(format!("one of the loops of TensorFlow 1 cannot be recovered: {what}"))
        .help("export the model with TensorFlow 2 (control flow v2), or as .keras or .h5")
        .at_op(node.op)
        .at_node(node.name)
}

/// Positions of nodes by name, and what reads them as data.
struct Index<'d, 'a> {
    nodes: &'d [NodeDef<'a>],
    names: HashMap<&'a str, usize>,
    readers: Vec<Vec<usize>>,
}

impl<'d, 'a> Index<'d, 'a> {
    fn new(nodes: &'d [NodeDef<'a>]) -> Self {
        let names: HashMap<&str, usize> = nodes.iter().enumerate().map(|(i, n)| (n.name, i)).collect();
        let mut readers = vec![Vec::new(); nodes.len()];
        for (i, n) in nodes.iter().enumerate() {
            for input in n.inputs.iter().filter(|t| !t.starts_with('^')) {
                if let Some(list) = names.get(node_of(input)).and_then(|&at| readers.get_mut(at)) {
                    list.push(i);
                }
            }
        }
        Self { nodes, names, readers }
    }
    fn input(&self, at: usize, i: usize) -> Option<usize> {
        self.names.get(node_of(self.nodes.get(at)?.inputs.get(i)?)).copied()
    }
    fn op(&self, at: usize, op: &str) -> bool {
        self.nodes.get(at).is_some_and(|n| is(n, op))
    }
}

impl Frames {
    /// Finds the loops.
    ///
    /// # Errors
    /// `Unsupported` where a frame is no loop of this form.
    pub fn find(def: &GraphDef, meter: &Meter) -> Result<Self> {
        let index = Index::new(&def.nodes);
        let mut frames: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (i, n) in def.nodes.iter().enumerate().filter(|(_, n)| is(n, "Enter")) {
            let frame = Attrs::new(&n.attrs, meter).string("frame_name", "").map_err(|e| e.at_node(n.name))?;
            frames.entry(frame).or_default().push(i);
        }
        let mut found = Self::default();
        for enters in frames.values() {
            let frame = Self::frame(&index, enters)?;
            let name = def.nodes.get(frame.condition).map_or("", |n| n.name);
            for (k, v) in frame.variables.iter().enumerate() {
                for &exit in index.readers.get(v.switch).into_iter().flatten().filter(|&&r| index.op(r, "Exit")) {
                    found.exits.insert(exit, format!("{name}:{k}"));
                }
            }
            found.list.push(frame);
        }
        Ok(found)
    }

    fn frame(index: &Index, enters: &[usize]) -> Result<Frame> {
        let (mut variables, mut fixed, mut condition) = (Vec::new(), Vec::new(), None);
        for &enter in enters {
            let node = index.nodes.get(enter).ok_or_else(|| ImportError::invalid("a node that is not there"))?;
            let around = |&m: &usize| {
                let inputs = (0..2).filter_map(|i| index.input(m, i));
                index.op(m, "Merge") && inputs.filter(|&i| index.op(i, "NextIteration")).count() == 1
            };
            let Some(merge) = index.readers.get(enter).and_then(|r| r.iter().copied().find(around)) else {
                fixed.push(enter);
                continue;
            };
            let next = (0..2).filter_map(|i| index.input(merge, i)).find(|&i| index.op(i, "NextIteration"));
            let decides = |&s: &usize| {
                index.op(s, "Switch")
                    && index.input(s, 0) == Some(merge)
                    && index.input(s, 1).is_some_and(|c| index.op(c, "LoopCond"))
            };
            let switch = index.readers.get(merge).and_then(|r| r.iter().copied().find(decides));
            let (Some(next), Some(switch)) = (next, switch) else {
                return Err(broken("a variable without Switch or NextIteration", node));
            };
            let own = index.input(switch, 1);
            if condition.is_some() && condition != own {
                return Err(broken("a frame with two conditions", node));
            }
            condition = own;
            variables.push(Variable { enter, merge, switch, next });
        }
        let node = enters.first().and_then(|&e| index.nodes.get(e));
        match (condition, node) {
            (Some(condition), _) => Ok(Frame { condition, variables, fixed }),
            (None, Some(node)) => Err(broken("a frame without LoopCond", node)),
            (None, None) => Err(ImportError::invalid("a frame without nodes")),
        }
    }

    /// The graph without cycles.
    ///
    /// # Errors
    /// `Unsupported` where loops are entangled.
    pub fn rewritten<'a>(&'a self, def: GraphDef<'a>) -> Result<GraphDef<'a>> {
        if self.list.is_empty() {
            return Ok(def);
        }
        let GraphDef { mut nodes, mut functions, producer } = def;
        let mut gone: BTreeSet<usize> = BTreeSet::new();
        let mut left: Vec<&Frame> = self.list.iter().collect();
        while !left.is_empty() {
            let before = left.len();
            let mut next = Vec::new();
            for frame in left {
                if !self.take(frame, &mut nodes, &mut functions, &mut gone)? {
                    next.push(frame);
                }
            }
            left = next;
            if left.len() == before {
                let node = left.first().and_then(|f| nodes.get(f.condition));
                return Err(node.map_or_else(|| ImportError::invalid("loops"), |n| broken("loops that cross", n)));
            }
        }
        drop_readers(&nodes, &mut gone);
        let kept = nodes.into_iter().enumerate().filter(|(i, _)| !gone.contains(i)).map(|(_, n)| n).collect();
        Ok(GraphDef { nodes: kept, functions, producer })
    }

    /// Replaces a loop; false where a loop inside of it is still there.
    fn take<'a>(
        &'a self,
        frame: &Frame,
        nodes: &mut [NodeDef<'a>],
        functions: &mut Vec<FunctionDef<'a>>,
        gone: &mut BTreeSet<usize>,
    ) -> Result<bool> {
        let index = Index::new(nodes);
        let name = |at: usize| index.nodes.get(at).map_or("", |n| n.name);
        let input = |at: usize| index.nodes.get(at).and_then(|n| n.inputs.first().copied()).unwrap_or("");
        let edge: BTreeSet<usize> = frame
            .variables
            .iter()
            .flat_map(|v| [v.enter, v.merge, v.switch, v.next])
            .chain(frame.fixed.iter().copied())
            .chain([frame.condition])
            .collect();
        let condition = inside(&index, &[input(frame.condition)], &edge);
        let ends: Vec<&str> = frame.variables.iter().map(|v| input(v.next)).collect();
        let body = inside(&index, &ends, &edge);
        if condition.iter().chain(&body).any(|&i| !gone.contains(&i) && index.op(i, "Enter")) {
            return Ok(false);
        }
        let switches: BTreeSet<&str> = frame.variables.iter().map(|v| name(v.switch)).collect();
        let fixed: Vec<&str> = frame.fixed.iter().map(|&e| name(e)).collect();
        let outputs: Vec<&str> = frame.variables.iter().map(|v| name(v.merge)).chain(fixed.iter().copied()).collect();
        let argument = |tensor: &'a str| -> &'a str {
            // What a Switch sends into the round is an argument of its name.
            let node = node_of(tensor);
            if switches.contains(node) && !tensor.starts_with('^') { node } else { tensor }
        };
        let part = |slice: &BTreeSet<usize>| -> Vec<NodeDef<'a>> {
            let one = |&i: &usize| {
                let n = index.nodes.get(i)?;
                Some(NodeDef { inputs: n.inputs.iter().map(|&t| argument(t)).collect(), ..n.clone() })
            };
            slice.iter().filter_map(one).collect()
        };
        let loop_name = name(frame.condition);
        functions.push(FunctionDef {
            name: loop_name,
            inputs: outputs.clone(),
            outputs: vec![loop_name],
            nodes: part(&condition),
            ret: vec![(loop_name, input(frame.condition))],
        });
        let body_name = outputs.first().copied().unwrap_or("");
        let results = ends.iter().map(|&t| argument(t)).chain(fixed.iter().copied());
        functions.push(FunctionDef {
            name: body_name,
            inputs: frame.variables.iter().map(|v| name(v.switch)).chain(fixed.iter().copied()).collect(),
            outputs: outputs.clone(),
            nodes: part(&body),
            ret: outputs.iter().copied().zip(results).collect(),
        });
        let enters = frame.variables.iter().map(|v| v.enter).chain(frame.fixed.iter().copied());
        let inputs: Vec<&'a str> = enters.map(input).collect();
        let replacement =
            NodeDef { name: loop_name, op: "While", inputs, attrs: Vec::new(), functions: vec![loop_name, body_name] };
        let exits: Vec<(usize, &'a str)> = frame
            .variables
            .iter()
            .flat_map(|v| index.readers.get(v.switch).into_iter().flatten())
            .filter_map(|&r| Some((r, self.exits.get(&r)?.as_str())))
            .collect();
        let at = frame.condition;
        if let Some(node) = nodes.get_mut(at) {
            *node = replacement;
        }
        for (exit, tensor) in exits {
            if let Some(node) = nodes.get_mut(exit) {
                *node = NodeDef { inputs: vec![tensor], ..node.clone() };
            }
        }
        gone.extend(edge.into_iter().filter(|&i| i != at).chain(condition).chain(body));
        Ok(true)
    }
}

/// The nodes that tensors depend on, without those of the edge. A control input counts where it says which branch a node belongs to.
fn inside(index: &Index, tensors: &[&str], edge: &BTreeSet<usize>) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    let mut open: Vec<usize> = tensors.iter().filter_map(|t| index.names.get(node_of(t)).copied()).collect();
    while let Some(at) = open.pop() {
        if edge.contains(&at) || !found.insert(at) {
            continue;
        }
        for &tensor in index.nodes.get(at).map_or(&[][..], |n| &n.inputs) {
            let Some(&before) = index.names.get(node_of(tensor)) else { continue };
            if !tensor.starts_with('^') || index.op(before, "Switch") || index.op(before, "Identity") {
                open.push(before);
            }
        }
    }
    found
}

/// What reads a node that is gone was in its loop too.
fn drop_readers(nodes: &[NodeDef], gone: &mut BTreeSet<usize>) {
    let index = Index::new(nodes);
    let mut open: Vec<usize> = gone.iter().copied().collect();
    while let Some(at) = open.pop() {
        for &reader in index.readers.get(at).into_iter().flatten() {
            if gone.insert(reader) {
                open.push(reader);
            }
        }
    }
}
