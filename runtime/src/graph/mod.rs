//! The graph: values, and nodes in an order in which they can run.

mod builder;
mod cut;
mod display;
mod infer;
mod validate;

pub use builder::{GraphBuilder, Mark};
pub use infer::infer_node;
pub(crate) use infer::{Folded, infer_within};

use crate::ops::infer::{Fact, ValueType};
use crate::{Bindings, Op, Result, Tensor};
use std::collections::{BTreeMap, BTreeSet};

/// A value of a graph: an input, a constant, or what a node computes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ValueId(pub(crate) u32);

impl ValueId {
    /// Position in [`Graph::values`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A named value and what is known about it.
#[derive(Clone, Debug)]
pub struct Value {
    /// The source's name; unique within a graph.
    pub name: String,
    /// Type, and elements where they are known beforehand.
    pub fact: Fact,
}

/// An op applied to values.
#[derive(Clone, Debug)]
pub struct Node {
    /// The source's name of the node or layer.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// Operands; `None` for an optional one that is absent.
    pub inputs: Vec<Option<ValueId>>,
    /// Results.
    pub outputs: Vec<ValueId>,
}

impl Node {
    /// Operands that are there.
    pub fn operands(&self) -> impl Iterator<Item = ValueId> + '_ {
        self.inputs.iter().flatten().copied()
    }
}

/// A network: values, nodes in topological order, inputs, outputs, and free metadata.
///
/// Made by [`GraphBuilder`], an importer or [`crate::format::read`]; always valid.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    pub(crate) name: String,
    pub(crate) values: Vec<Value>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) inputs: Vec<ValueId>,
    pub(crate) outputs: Vec<ValueId>,
    /// Free metadata: `labels`, `preprocessing`, `provenance`, `verification`, ...
    pub meta: BTreeMap<String, serde_json::Value>,
}

impl Graph {
    /// Name of the network.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// All values.
    pub fn values(&self) -> &[Value] {
        &self.values
    }
    /// All nodes, in an order in which they can run.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }
    /// What the caller feeds.
    pub fn inputs(&self) -> &[ValueId] {
        &self.inputs
    }
    /// What the caller gets.
    pub fn outputs(&self) -> &[ValueId] {
        &self.outputs
    }
    /// A value.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.index()]
    }
    /// The type of a value.
    pub fn ty(&self, id: ValueId) -> &ValueType {
        &self.value(id).fact.ty
    }
    /// The elements of a constant.
    pub fn constant(&self, id: ValueId) -> Option<&Tensor> {
        self.value(id).fact.constant.as_ref()
    }
    /// The value of this name.
    pub fn find(&self, name: &str) -> Option<ValueId> {
        self.values.iter().position(|v| v.name == name).map(|i| ValueId(i as u32))
    }
    /// For each value, the nodes that read it (a node twice when it reads it twice).
    pub fn consumers(&self) -> Vec<Vec<usize>> {
        let mut all = vec![Vec::new(); self.values.len()];
        for (i, n) in self.nodes.iter().enumerate() {
            n.operands().for_each(|v| all[v.index()].push(i));
        }
        all
    }
    /// For each value, the node that computes it.
    pub fn producers(&self) -> Vec<Option<usize>> {
        let mut all = vec![None; self.values.len()];
        for (i, n) in self.nodes.iter().enumerate() {
            n.outputs.iter().for_each(|v| all[v.index()] = Some(i));
        }
        all
    }
    /// Names of the symbolic dimensions of the inputs.
    pub fn symbols(&self) -> BTreeSet<String> {
        let mut out = BTreeSet::new();
        for &i in &self.inputs {
            self.ty(i).shape.iter().for_each(|d| d.symbols(&mut out));
        }
        out
    }
    /// The same graph with symbols of the inputs bound to numbers and all types inferred anew; constants that follow are folded.
    ///
    /// # Errors
    /// When the shapes do not fit together with these numbers.
    pub fn bind(&self, bindings: &Bindings) -> Result<Graph> {
        let shapes: Vec<_> =
            self.inputs.iter().map(|&i| self.ty(i).shape.iter().map(|d| d.bind(bindings)).collect()).collect();
        self.rebuild(&shapes, &BTreeMap::new())
    }
    /// The same graph with these input shapes, and some inputs fixed to constants. Inputs that become constants leave the list of inputs.
    ///
    /// # Errors
    /// When the shapes do not fit together.
    pub fn rebuild(&self, shapes: &[Vec<crate::Dim>], fixed: &BTreeMap<ValueId, Tensor>) -> Result<Graph> {
        builder::rebuild(self, shapes, fixed)
    }
    /// Node, op and operand types, as errors name a place.
    pub fn describe(&self, node: &Node) -> String {
        let tys: Vec<String> =
            node.inputs.iter().map(|v| v.map_or("-".to_string(), |v| self.ty(v).to_string())).collect();
        format!("{} `{}` ({})", node.op.name(), node.name, tys.join(", "))
    }
    /// Names of the classes, where the model brings them along (`meta["labels"]`).
    pub fn labels(&self) -> Vec<&str> {
        let list = self.meta.get("labels").and_then(serde_json::Value::as_array);
        list.into_iter().flatten().map(|l| l.as_str().unwrap_or_default()).collect()
    }
    /// Bytes of all constants.
    pub fn weights_bytes(&self) -> usize {
        self.values.iter().filter_map(|v| v.fact.constant.as_ref()).map(Tensor::byte_len).sum()
    }
    /// Number of elements of all float constants.
    pub fn parameters(&self) -> usize {
        let floats = self.values.iter().filter_map(|v| v.fact.constant.as_ref()).filter(|t| t.dtype().is_float());
        floats.map(Tensor::len).sum()
    }
    /// Features of this crate (families of ops) that a program needs to read the graph.
    pub fn features(&self) -> BTreeSet<&'static str> {
        let of = |n: &Node| {
            let within = n.op.operator().bodies().into_iter().flat_map(|(_, body)| body.features());
            n.op.feature().into_iter().chain(within).collect::<Vec<_>>()
        };
        self.nodes.iter().flat_map(of).collect()
    }
    /// Multiply-accumulates of one run; nodes of unknown shape count 0.
    pub fn macs(&self) -> u64 {
        let of = |n: &Node| {
            let inputs: Vec<Option<&Fact>> = n.inputs.iter().map(|v| v.map(|v| &self.value(v).fact)).collect();
            let outputs: Vec<ValueType> = n.outputs.iter().map(|&v| self.ty(v).clone()).collect();
            n.op.operator().macs(&inputs, &outputs)
        };
        self.nodes.iter().map(of).fold(0, u64::saturating_add)
    }
    /// Checks everything that makes a graph valid: order, names, arity, types.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn validate(&self) -> Result<()> {
        validate::validate(self)
    }
}
