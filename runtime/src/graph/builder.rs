//! Building graphs: every op is checked and its outputs' types are known as soon as it is added.

use super::{Folded, Graph, Node, Value, ValueId, infer_within};
use crate::ops::activation::{Activate, Activation};
use crate::ops::conv::{Conv, Pads};
use crate::ops::elementwise::{Binary, BinaryKind, Unary, UnaryKind};
use crate::ops::infer::{Fact, ValueType};
use crate::ops::pool::{Pool, PoolKind};
use crate::ops::reduce::{Reduce, ReduceKind};
use crate::ops::{dense, movement, softmax};
use crate::{DType, Dim, Error, Op, Result, Tensor};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Builds a [`Graph`] node by node.
///
/// Names may repeat: a number is added to make them unique. Nodes whose inputs are all constants are computed at once, so that
/// a chain of shape arithmetic costs nothing at run time.
#[derive(Default, Debug)]
pub struct GraphBuilder {
    graph: Graph,
    names: HashSet<String>,
    next: HashMap<String, usize>,
    folded: Folded,
}

/// A state of a [`GraphBuilder`] to return to.
#[derive(Clone, Debug)]
pub struct Mark {
    values: usize,
    nodes: usize,
    inputs: usize,
    outputs: usize,
}

impl GraphBuilder {
    /// An empty graph of this name.
    pub fn new(name: &str) -> Self {
        Self { graph: Graph { name: name.to_string(), ..Graph::default() }, ..Self::default() }
    }
    /// An input. Dimensions are numbers or [`Dim::symbol`]s.
    pub fn input(&mut self, name: &str, dtype: DType, shape: impl Into<Vec<Dim>>) -> ValueId {
        let id = self.value(name, Fact::of_type(ValueType::new(dtype, shape)));
        self.graph.inputs.push(id);
        id
    }
    /// A constant, such as weights.
    pub fn constant(&mut self, name: &str, tensor: Tensor) -> ValueId {
        self.folded.given(&tensor);
        self.value(name, Fact::of_constant(tensor))
    }
    /// A constant vector of integers (a shape, axes, pads).
    pub fn integers(&mut self, values: &[i64]) -> ValueId {
        self.constant("integers", Tensor::vector(values))
    }
    /// A constant scalar.
    pub fn scalar<T: crate::Element>(&mut self, x: T) -> ValueId {
        self.constant("scalar", Tensor::scalar(x))
    }
    /// Adds a node with absent operands or several outputs.
    ///
    /// # Errors
    /// When the operands do not fit; the message names node, op and the operands' types.
    pub fn node(
        &mut self,
        op: impl Into<Op>,
        inputs: &[Option<ValueId>],
        outputs: usize,
        name: &str,
    ) -> Result<Vec<ValueId>> {
        let names: Vec<String> =
            (0..outputs).map(|i| if i == 0 { name.to_string() } else { format!("{name}:{i}") }).collect();
        self.node_named(op, inputs, &names, name)
    }
    /// Adds a node and names its outputs.
    ///
    /// # Errors
    /// As [`Self::node`].
    pub fn node_named(
        &mut self,
        op: impl Into<Op>,
        inputs: &[Option<ValueId>],
        outputs: &[String],
        name: &str,
    ) -> Result<Vec<ValueId>> {
        let op = op.into();
        let facts = {
            let known: Vec<Option<&Fact>> = inputs.iter().map(|v| v.map(|v| &self.graph.value(v).fact)).collect();
            infer_within(&op, &known, outputs.len(), self.folded.left())
        };
        let facts = facts.map_err(|e| {
            let node = Node { name: name.to_string(), op: op.clone(), inputs: inputs.to_vec(), outputs: Vec::new() };
            e.at(|| self.graph.describe(&node))
        })?;
        self.folded.made(&facts);
        let constant = facts.iter().all(|f| f.constant.is_some());
        let ids: Vec<ValueId> = facts.into_iter().zip(outputs).map(|(f, n)| self.value(n, f)).collect();
        if !constant {
            self.graph.nodes.push(Node { name: name.to_string(), op, inputs: inputs.to_vec(), outputs: ids.clone() });
        }
        Ok(ids)
    }
    /// Adds a node of one output.
    ///
    /// # Errors
    /// As [`Self::node`].
    pub fn op(&mut self, op: impl Into<Op>, inputs: &[ValueId], name: &str) -> Result<ValueId> {
        let inputs: Vec<Option<ValueId>> = inputs.iter().map(|&v| Some(v)).collect();
        Ok(self.node(op, &inputs, 1, name)?[0])
    }
    /// Makes a value an output of the graph, in the order of the calls.
    pub fn output(&mut self, value: ValueId) {
        self.graph.outputs.push(value);
    }
    /// Free metadata of the graph.
    pub fn meta(&mut self) -> &mut BTreeMap<String, serde_json::Value> {
        &mut self.graph.meta
    }
    /// Gives a value another name (made unique).
    pub fn rename(&mut self, value: ValueId, name: &str) {
        if self.graph.values[value.index()].name == name {
            return;
        }
        let unique = self.unique(name);
        self.graph.values[value.index()].name = unique;
    }
    /// Name of a value.
    pub fn name(&self, value: ValueId) -> &str {
        &self.graph.value(value).name
    }
    /// What is known about a value.
    pub fn fact(&self, value: ValueId) -> &Fact {
        &self.graph.value(value).fact
    }
    /// Type of a value.
    pub fn ty(&self, value: ValueId) -> &ValueType {
        self.graph.ty(value)
    }
    /// Shape of a value.
    pub fn shape(&self, value: ValueId) -> &[Dim] {
        &self.graph.ty(value).shape
    }
    /// Elements of a value that is a constant.
    pub fn constant_of(&self, value: ValueId) -> Option<&Tensor> {
        self.graph.constant(value)
    }
    /// Number of values so far.
    pub fn values(&self) -> usize {
        self.graph.values.len()
    }
    /// The inputs so far.
    pub fn inputs(&self) -> &[ValueId] {
        &self.graph.inputs
    }
    /// Puts the inputs in another order.
    ///
    /// # Errors
    /// When `order` does not hold each input once.
    pub fn order_inputs(&mut self, order: &[ValueId]) -> Result<()> {
        let sorted = |list: &[ValueId]| {
            let mut list = list.to_vec();
            list.sort_unstable();
            list
        };
        if sorted(order) != sorted(&self.graph.inputs) {
            return Err(Error::argument("the order of the inputs must hold each of them once"));
        }
        self.graph.inputs = order.to_vec();
        Ok(())
    }
    /// The present state, before something is tried.
    pub fn mark(&self) -> Mark {
        let g = &self.graph;
        Mark { values: g.values.len(), nodes: g.nodes.len(), inputs: g.inputs.len(), outputs: g.outputs.len() }
    }
    /// Removes what was added since a mark. Names given since then to older values stay.
    pub fn restore(&mut self, mark: &Mark) {
        for v in self.graph.values.drain(mark.values.min(self.graph.values.len())..) {
            self.names.remove(&v.name);
        }
        self.graph.nodes.truncate(mark.nodes);
        self.graph.inputs.truncate(mark.inputs);
        self.graph.outputs.truncate(mark.outputs);
    }
    /// Number of nodes so far.
    pub fn len(&self) -> usize {
        self.graph.nodes.len()
    }
    /// True while there is no node.
    pub fn is_empty(&self) -> bool {
        self.graph.nodes.is_empty()
    }
    /// The graph.
    ///
    /// # Errors
    /// When it has no output.
    pub fn finish(self) -> Result<Graph> {
        if self.graph.outputs.is_empty() {
            return Err(Error::graph("the graph has no output; call `output` before `finish`"));
        }
        self.graph.validate()?;
        Ok(self.graph)
    }

    fn value(&mut self, name: &str, fact: Fact) -> ValueId {
        let name = self.unique(name);
        self.graph.values.push(Value { name, fact });
        ValueId((self.graph.values.len() - 1) as u32)
    }
    fn unique(&mut self, name: &str) -> String {
        let base = if name.is_empty() { "value" } else { name };
        if self.names.insert(base.to_string()) {
            return base.to_string();
        }
        let mut n = self.next.get(base).copied().unwrap_or(1);
        let unique = loop {
            let candidate = format!("{base}_{n}");
            n += 1;
            if self.names.insert(candidate.clone()) {
                break candidate;
            }
        };
        self.next.insert(base.to_string(), n);
        unique
    }
}

/// Layers by name, for graphs written by hand.
impl GraphBuilder {
    /// Convolution; `bias` may be absent.
    ///
    /// # Errors
    /// When the operands do not fit.
    pub fn conv(&mut self, x: ValueId, w: ValueId, bias: Option<ValueId>, conv: Conv, name: &str) -> Result<ValueId> {
        Ok(self.node(conv, &[Some(x), Some(w), bias], 1, name)?[0])
    }
    /// Fully connected layer: `x [..., K]`, `w [O, K]`.
    ///
    /// # Errors
    /// When the operands do not fit.
    pub fn dense(&mut self, x: ValueId, w: ValueId, bias: Option<ValueId>, name: &str) -> Result<ValueId> {
        Ok(self.node(dense::Dense::default(), &[Some(x), Some(w), bias], 1, name)?[0])
    }
    /// Max pooling without padding, step = window.
    ///
    /// # Errors
    /// When the operand is not an image.
    pub fn max_pool(&mut self, x: ValueId, window: &[usize], name: &str) -> Result<ValueId> {
        let (kernel, strides) = (window.to_vec(), window.to_vec());
        self.op(Pool { kind: PoolKind::Max, kernel, strides, pads: Pads::default(), ..Pool::default() }, &[x], name)
    }
    /// Mean over all spatial axes: `[N, C, spatial...]` to `[N, C]`.
    ///
    /// # Errors
    /// When the operand is not an image.
    pub fn global_average_pool(&mut self, x: ValueId, name: &str) -> Result<ValueId> {
        let axes: Vec<i64> = (2..self.shape(x).len() as i64).collect();
        let axes = self.integers(&axes);
        self.op(Reduce { kind: ReduceKind::Mean, keep_dims: false, ..Reduce::default() }, &[x, axes], name)
    }
    /// An activation.
    ///
    /// # Errors
    /// When the operand is not `f32`.
    pub fn activate(&mut self, kind: Activation, x: ValueId, name: &str) -> Result<ValueId> {
        self.op(Activate { kind }, &[x], name)
    }
    /// `max(x, 0)`.
    ///
    /// # Errors
    /// When the operand is not `f32`.
    pub fn relu(&mut self, x: ValueId, name: &str) -> Result<ValueId> {
        self.activate(Activation::Relu, x, name)
    }
    /// A function of one element.
    ///
    /// # Errors
    /// When the operand does not fit.
    pub fn unary(&mut self, kind: UnaryKind, x: ValueId, name: &str) -> Result<ValueId> {
        self.op(Unary { kind }, &[x], name)
    }
    /// A function of two elements, with broadcasting.
    ///
    /// # Errors
    /// When the operands do not fit.
    pub fn binary(&mut self, kind: BinaryKind, a: ValueId, b: ValueId, name: &str) -> Result<ValueId> {
        self.op(Binary { kind, ..Binary::default() }, &[a, b], name)
    }
    /// The same elements in another shape: -1 is what is left, 0 copies.
    ///
    /// # Errors
    /// When the sizes do not fit.
    pub fn reshape(&mut self, x: ValueId, shape: &[i64], name: &str) -> Result<ValueId> {
        let shape = self.integers(shape);
        self.op(movement::Reshape::default(), &[x, shape], name)
    }
    /// `[N, ...]` to `[N, K]`.
    ///
    /// # Errors
    /// When the operand has rank 0.
    pub fn flatten(&mut self, x: ValueId, name: &str) -> Result<ValueId> {
        self.reshape(x, &[0, -1], name)
    }
    /// Permutes the axes.
    ///
    /// # Errors
    /// When `perm` is not a permutation of the operand's axes.
    pub fn transpose(&mut self, x: ValueId, perm: &[usize], name: &str) -> Result<ValueId> {
        self.op(movement::Transpose { perm: perm.to_vec() }, &[x], name)
    }
    /// Softmax along an axis.
    ///
    /// # Errors
    /// When the axis lies outside.
    pub fn softmax(&mut self, x: ValueId, axis: i64, name: &str) -> Result<ValueId> {
        self.op(softmax::Softmax { axis, log: false }, &[x], name)
    }
}

/// See [`Graph::rebuild`].
pub(super) fn rebuild(old: &Graph, shapes: &[Vec<Dim>], fixed: &BTreeMap<ValueId, Tensor>) -> Result<Graph> {
    let mut b = GraphBuilder { folded: Folded::times(1), ..GraphBuilder::new(&old.name) };
    b.graph.meta = old.meta.clone();
    let mut map: Vec<Option<ValueId>> = vec![None; old.values.len()];
    for (&id, shape) in old.inputs.iter().zip(shapes) {
        let v = old.value(id);
        map[id.index()] = Some(match fixed.get(&id) {
            Some(t) => b.constant(&v.name, t.clone()),
            None => b.input(&v.name, v.fact.ty.dtype, shape.clone()),
        });
    }
    for (i, v) in old.values.iter().enumerate() {
        if let (None, Some(t)) = (map[i], &v.fact.constant) {
            map[i] = Some(b.constant(&v.name, t.clone()));
        }
    }
    for n in &old.nodes {
        let inputs: Vec<Option<ValueId>> = n.inputs.iter().map(|v| v.and_then(|v| map[v.index()])).collect();
        let names: Vec<String> = n.outputs.iter().map(|&v| old.value(v).name.clone()).collect();
        let new = b.node_named(n.op.clone(), &inputs, &names, &n.name)?;
        n.outputs.iter().zip(new).for_each(|(o, v)| map[o.index()] = Some(v));
    }
    for o in &old.outputs {
        let id =
            map[o.index()].ok_or_else(|| Error::graph(format!("output `{}` is not computed", old.value(*o).name)))?;
        b.output(id);
    }
    b.finish()
}
