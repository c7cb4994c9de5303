//! Changing a graph: nodes in slots, with who computes and who reads each value always at hand.
//!
//! Nodes may be added in any order; [`Editor::order`] and [`Editor::finish`] put them in one in which they can run, close to
//! the order they had. A node that nobody reads any more disappears at once, with all that fed only it, so that "read by one
//! node" always means a node that counts.

use crate::graph::{Folded, Value, infer_within};
use crate::ops::infer::{Fact, ValueType};
use crate::{DType, Dim, Graph, Node, Op, Tensor, ValueId};
use std::collections::{HashMap, HashSet};

/// A graph that is being changed.
#[derive(Clone)]
pub(super) struct Editor {
    /// Values, inputs, outputs and metadata; its list of nodes is empty.
    graph: Graph,
    nodes: Vec<Option<Node>>,
    /// Where each slot would like to stand.
    keys: Vec<(usize, usize)>,
    producer: Vec<Option<usize>>,
    uses: Vec<Vec<usize>>,
    /// How many times each value is an output of the graph.
    output: Vec<usize>,
    names: HashSet<String>,
    /// Number to try next for a name that is taken.
    next: HashMap<String, usize>,
    log: Vec<String>,
    /// What may still be computed beforehand.
    folded: Folded,
}

/// Sorts after everything inserted before a node.
const LAST: usize = usize::MAX;

impl Editor {
    pub fn new(mut graph: Graph) -> Self {
        let (producer, uses) = (graph.producers(), graph.consumers());
        let mut output = vec![0; graph.values.len()];
        graph.outputs.iter().for_each(|v| output[v.index()] += 1);
        let nodes: Vec<Option<Node>> = std::mem::take(&mut graph.nodes).into_iter().map(Some).collect();
        let keys = (0..nodes.len()).map(|i| (i, LAST)).collect();
        let names = graph.values.iter().map(|v| v.name.clone()).collect();
        let mut folded = Folded::times(4);
        graph.values.iter().filter_map(|v| v.fact.constant.as_ref()).for_each(|t| folded.given(t));
        Self { graph, nodes, keys, producer, uses, output, names, next: HashMap::new(), log: Vec::new(), folded }
    }

    /// Says that something was done at this node or value.
    pub fn note(&mut self, name: impl Into<String>) {
        self.log.push(name.into());
    }
    /// What was noted since the last call.
    pub fn take_log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }

    /// The node in a slot, unless it is gone.
    pub fn node(&self, slot: usize) -> Option<&Node> {
        self.nodes.get(slot).and_then(Option::as_ref)
    }
    /// The slot of the node that computes a value.
    pub fn producer(&self, v: ValueId) -> Option<usize> {
        self.producer[v.index()]
    }
    /// The node that computes a value.
    pub fn producer_node(&self, v: ValueId) -> Option<&Node> {
        self.producer(v).and_then(|s| self.node(s))
    }
    /// Slots of the nodes that read a value; a node twice when it reads it twice.
    pub fn uses(&self, v: ValueId) -> &[usize] {
        &self.uses[v.index()]
    }
    pub fn is_output(&self, v: ValueId) -> bool {
        self.output[v.index()] > 0
    }
    pub fn is_input(&self, v: ValueId) -> bool {
        self.graph.inputs.contains(&v)
    }
    /// True when one node reads the value, once, and the caller never sees it.
    pub fn sole_use(&self, v: ValueId) -> bool {
        self.uses(v).len() == 1 && !self.is_output(v)
    }
    pub fn fact(&self, v: ValueId) -> &Fact {
        &self.graph.value(v).fact
    }
    pub fn ty(&self, v: ValueId) -> &ValueType {
        self.graph.ty(v)
    }
    pub fn dtype(&self, v: ValueId) -> DType {
        self.ty(v).dtype
    }
    pub fn shape(&self, v: ValueId) -> &[Dim] {
        &self.ty(v).shape
    }
    pub fn rank(&self, v: ValueId) -> usize {
        self.shape(v).len()
    }
    pub fn constant(&self, v: ValueId) -> Option<&Tensor> {
        self.graph.constant(v)
    }
    pub fn name(&self, v: ValueId) -> &str {
        &self.graph.value(v).name
    }
    /// The values of the graph, gone ones included.
    pub fn values(&self) -> impl Iterator<Item = ValueId> + use<> {
        (0..self.graph.values.len()).map(|i| ValueId(i as u32))
    }

    /// Slots in an order in which the nodes can run.
    pub fn order(&self) -> Vec<usize> {
        let mut wish: Vec<usize> = (0..self.nodes.len()).filter(|&s| self.nodes[s].is_some()).collect();
        wish.sort_by_key(|&s| self.keys[s]);
        let mut done = vec![false; self.nodes.len()];
        let mut order = Vec::with_capacity(wish.len());
        let mut stack = Vec::new();
        for s in wish {
            stack.push((s, false));
            while let Some((s, ready)) = stack.pop() {
                if done[s] {
                    continue;
                }
                if ready {
                    done[s] = true;
                    order.push(s);
                    continue;
                }
                stack.push((s, true));
                let Some(n) = self.node(s) else { continue };
                let before = n.inputs.iter().rev().flatten().filter_map(|v| self.producer(*v));
                stack.extend(before.filter(|&p| !done[p]).map(|p| (p, false)));
            }
        }
        order
    }
    /// Calls `f` for every node that is there when its turn comes, in an order in which they can run.
    pub fn each(&mut self, mut f: impl FnMut(&mut Self, usize)) {
        for s in self.order() {
            if self.nodes[s].is_some() {
                f(self, s);
            }
        }
    }

    /// Adds a constant whose name starts with this.
    pub fn add_constant(&mut self, name: &str, t: Tensor) -> ValueId {
        self.add_value(name, Fact::of_constant(t))
    }
    /// Adds a constant that takes the place of another one, and its name when nobody else reads that.
    pub fn derive_constant(&mut self, from: ValueId, t: Tensor) -> ValueId {
        let name = self.name(from).to_string();
        if self.sole_use(from) && self.constant(from).is_some() {
            let aside = self.unique(&format!("{name}:old"));
            self.graph.values[from.index()].name = aside;
            self.names.remove(&name);
        }
        self.add_constant(&name, t)
    }
    /// Adds a node before another one and gives its output's value, a constant when it follows from constants.
    /// `None` when the operands do not fit the op.
    pub fn add(&mut self, before: usize, op: impl Into<Op>, inputs: &[Option<ValueId>], name: &str) -> Option<ValueId> {
        Some(self.add_many(before, op, inputs, &[name.to_string()])?[0])
    }
    /// As [`Editor::add`] with several outputs.
    pub fn add_many(
        &mut self,
        before: usize,
        op: impl Into<Op>,
        inputs: &[Option<ValueId>],
        outputs: &[String],
    ) -> Option<Vec<ValueId>> {
        let op = op.into();
        let facts = self.infer(&op, inputs, outputs.len())?;
        let known = facts.iter().all(|f| f.constant.is_some());
        let ids: Vec<ValueId> = facts.into_iter().zip(outputs).map(|(f, n)| self.add_value(n, f)).collect();
        if known {
            return Some(ids);
        }
        let slot = self.nodes.len();
        inputs.iter().flatten().for_each(|v| self.uses[v.index()].push(slot));
        ids.iter().for_each(|v| self.producer[v.index()] = Some(slot));
        let name = self.name(ids[0]).to_string();
        self.nodes.push(Some(Node { name, op, inputs: inputs.to_vec(), outputs: ids.clone() }));
        self.keys.push((self.keys[before].0, slot));
        Some(ids)
    }
    /// Types of the outputs of an op, and their elements where they may be computed beforehand.
    pub fn infer_types(&self, op: &Op, facts: &[Option<&Fact>], outputs: usize) -> Option<Vec<Fact>> {
        infer_within(op, facts, outputs, self.folded.left()).ok()
    }
    fn infer(&self, op: &Op, inputs: &[Option<ValueId>], outputs: usize) -> Option<Vec<Fact>> {
        let facts: Vec<Option<&Fact>> = inputs.iter().map(|v| v.map(|v| self.fact(v))).collect();
        self.infer_types(op, &facts, outputs)
    }
    fn add_value(&mut self, name: &str, fact: Fact) -> ValueId {
        self.folded.made(std::slice::from_ref(&fact));
        let name = self.unique(name);
        self.graph.values.push(Value { name, fact });
        self.producer.push(None);
        self.uses.push(Vec::new());
        self.output.push(0);
        ValueId((self.graph.values.len() - 1) as u32)
    }
    fn unique(&mut self, name: &str) -> String {
        if self.names.insert(name.to_string()) {
            return name.to_string();
        }
        let mut n = self.next.get(name).copied().unwrap_or(1);
        let unique = loop {
            let candidate = format!("{name}_{n}");
            n += 1;
            if self.names.insert(candidate.clone()) {
                break candidate;
            }
        };
        self.next.insert(name.to_string(), n);
        unique
    }

    /// Gives a node another op and other operands; it computes the same values as before. `false`, and nothing changed, when
    /// the operands do not fit or the types of the results would differ.
    pub fn rewrite(&mut self, slot: usize, op: impl Into<Op>, inputs: &[Option<ValueId>]) -> bool {
        let op = op.into();
        let Some(node) = self.node(slot) else { return false };
        let outputs = node.outputs.clone();
        let Some(facts) = self.infer(&op, inputs, outputs.len()) else { return false };
        if !facts.iter().zip(&outputs).all(|(f, &o)| same_type(&f.ty, self.ty(o))) {
            return false;
        }
        if facts.iter().all(|f| f.constant.is_some()) {
            self.settle(slot, facts);
            return true;
        }
        inputs.iter().flatten().for_each(|v| self.uses[v.index()].push(slot));
        let Some(node) = self.nodes[slot].as_mut() else { return false };
        node.op = op;
        let old = std::mem::replace(&mut node.inputs, inputs.to_vec());
        self.release(slot, &old);
        true
    }
    /// The outputs of a node are constants: it goes.
    pub fn settle(&mut self, slot: usize, facts: Vec<Fact>) {
        self.folded.made(&facts);
        let Some(node) = self.nodes[slot].take() else { return };
        for (f, o) in facts.into_iter().zip(&node.outputs) {
            self.graph.values[o.index()].fact = f;
            self.producer[o.index()] = None;
        }
        self.release(slot, &node.inputs);
    }
    /// Changes the attributes of a node, which keeps its operands and the types of its results.
    pub fn set_op(&mut self, slot: usize, op: impl Into<Op>) {
        if let Some(n) = self.nodes[slot].as_mut() {
            n.op = op.into();
        }
    }

    /// Says that the only output of a node is the same as another value: that is read in its place and the node goes.
    /// `false`, and nothing changed, when the caller sees both.
    pub fn merge(&mut self, slot: usize, same: ValueId) -> bool {
        let Some(node) = self.node(slot) else { return false };
        let &[gone] = node.outputs.as_slice() else { return false };
        if gone == same {
            return false;
        }
        if !self.is_output(gone) {
            self.redirect(gone, same);
            self.remove(slot);
            return true;
        }
        if self.constant(same).is_some() {
            let fact = self.fact(same).clone();
            self.settle(slot, vec![fact]);
            return true;
        }
        let Some(p) = self.producer(same).filter(|_| !self.is_output(same)) else { return false };
        // The value that the caller sees stays; the node that computes the other one computes it from now on.
        self.redirect(same, gone);
        let Some(node) = self.nodes[slot].take() else { return false };
        self.uses[gone.index()].retain(|&s| s != slot);
        self.producer[gone.index()] = Some(p);
        self.producer[same.index()] = None;
        if let Some(n) = self.nodes[p].as_mut() {
            n.outputs.iter_mut().filter(|o| **o == same).for_each(|o| *o = gone);
        }
        let rest: Vec<Option<ValueId>> = node.inputs.iter().map(|v| v.filter(|&v| v != gone && v != same)).collect();
        self.release(slot, &rest);
        true
    }
    /// The only output of node `after`, which alone reads the only output of node `slot`, is computed by `slot` from now on;
    /// `after` goes.
    pub fn take_over(&mut self, slot: usize, after: usize) {
        let (Some(first), Some(second)) = (self.node(slot), self.node(after)) else { return };
        let (old, new) = (first.outputs[0], second.outputs[0]);
        let Some(node) = self.nodes[after].take() else { return };
        self.producer[old.index()] = None;
        self.producer[new.index()] = Some(slot);
        if let Some(n) = self.nodes[slot].as_mut() {
            n.outputs[0] = new;
        }
        self.release(after, &node.inputs);
    }
    /// All readers of `old` read `new`. Outputs of the graph are not touched.
    pub fn redirect(&mut self, old: ValueId, new: ValueId) {
        for s in std::mem::take(&mut self.uses[old.index()]) {
            if let Some(n) = self.nodes[s].as_mut() {
                n.inputs.iter_mut().filter(|v| **v == Some(old)).for_each(|v| *v = Some(new));
            }
            self.uses[new.index()].push(s);
        }
    }
    /// Replaces a node by one node for each of its outputs.
    pub fn divert(&mut self, slot: usize, by: &[(Op, Vec<Option<ValueId>>)]) {
        let Some(node) = self.nodes[slot].take() else { return };
        for (&o, (op, inputs)) in node.outputs.iter().zip(by) {
            let new = self.nodes.len();
            inputs.iter().flatten().for_each(|v| self.uses[v.index()].push(new));
            self.producer[o.index()] = Some(new);
            let name = self.name(o).to_string();
            self.nodes.push(Some(Node { name, op: op.clone(), inputs: inputs.clone(), outputs: vec![o] }));
            self.keys.push(self.keys[slot]);
        }
        self.release(slot, &node.inputs);
        // Outputs that nobody reads need no node.
        for o in node.outputs {
            if self.is_dead(o)
                && let Some(p) = self.producer(o)
            {
                self.remove(p);
            }
        }
    }
    /// Gives a value another name.
    pub fn rename(&mut self, v: ValueId, name: &str) {
        let name = self.unique(name);
        let old = std::mem::replace(&mut self.graph.values[v.index()].name, name);
        self.names.remove(&old);
    }
    /// Moves the outputs of a node to another one that computes the same.
    pub fn hand_over(&mut self, from: usize, to: usize) {
        let (Some(a), Some(b)) = (self.node(from), self.node(to)) else { return };
        let (old, new) = (a.outputs.clone(), b.outputs.clone());
        for (&o, &n) in old.iter().zip(&new) {
            self.redirect(o, n);
        }
        self.remove(from);
    }
    /// Takes a node away whose outputs nobody reads.
    pub fn remove(&mut self, slot: usize) {
        let Some(node) = self.nodes[slot].take() else { return };
        node.outputs.iter().for_each(|o| self.producer[o.index()] = None);
        self.release(slot, &node.inputs);
    }
    /// The node in `slot` reads these values no more (once each); what nobody reads then goes, too.
    fn release(&mut self, slot: usize, inputs: &[Option<ValueId>]) {
        let mut stack: Vec<(usize, ValueId)> = inputs.iter().flatten().map(|&v| (slot, v)).collect();
        while let Some((s, v)) = stack.pop() {
            let uses = &mut self.uses[v.index()];
            if let Some(at) = uses.iter().position(|&u| u == s) {
                uses.swap_remove(at);
            }
            let Some(p) = self.producer(v) else { continue };
            let dead = self.node(p).is_some_and(|n| n.outputs.iter().all(|&o| self.is_dead(o)));
            if dead && let Some(n) = self.nodes[p].take() {
                n.outputs.iter().for_each(|o| self.producer[o.index()] = None);
                stack.extend(n.operands().map(|v| (p, v)));
            }
        }
    }
    fn is_dead(&self, v: ValueId) -> bool {
        self.uses(v).is_empty() && !self.is_output(v)
    }
    /// Takes every node away that nothing needs; gives their names.
    pub fn sweep(&mut self) -> Vec<String> {
        let mut needed: Vec<bool> = self.output.iter().map(|&n| n > 0).collect();
        let mut dead = Vec::new();
        for s in self.order().into_iter().rev() {
            let Some(n) = self.node(s) else { continue };
            if n.outputs.iter().any(|o| needed[o.index()]) {
                n.operands().for_each(|v| needed[v.index()] = true);
            } else {
                dead.push((s, n.name.clone()));
            }
        }
        dead.iter().for_each(|d| self.remove(d.0));
        dead.into_iter().map(|d| d.1).collect()
    }

    /// The graph, with the values that are still needed, nodes in an order in which they can run.
    pub fn finish(self) -> Graph {
        let order = self.order();
        let Self { mut graph, mut nodes, .. } = self;
        let nodes: Vec<Node> = order.into_iter().filter_map(|s| nodes[s].take()).collect();
        let mut keep = vec![false; graph.values.len()];
        graph.inputs.iter().chain(&graph.outputs).for_each(|v| keep[v.index()] = true);
        for n in &nodes {
            n.operands().chain(n.outputs.iter().copied()).for_each(|v| keep[v.index()] = true);
        }
        let mut map = vec![ValueId(0); keep.len()];
        let mut values = Vec::new();
        for (i, v) in std::mem::take(&mut graph.values).into_iter().enumerate() {
            if keep[i] {
                map[i] = ValueId(values.len() as u32);
                values.push(v);
            }
        }
        let at = |v: &mut ValueId| *v = map[v.index()];
        graph.inputs.iter_mut().chain(&mut graph.outputs).for_each(at);
        graph.values = values;
        graph.nodes = nodes;
        for n in &mut graph.nodes {
            n.inputs.iter_mut().flatten().chain(&mut n.outputs).for_each(at);
        }
        graph
    }
    /// The graph as it is now.
    #[cfg(debug_assertions)]
    pub fn snapshot(&self) -> Graph {
        self.clone().finish()
    }
}

/// True when two types agree as far as they are known.
fn same_type(a: &ValueType, b: &ValueType) -> bool {
    a.dtype == b.dtype
        && a.shape.len() == b.shape.len()
        && a.shape.iter().zip(&b.shape).all(|(x, y)| x == y || x.known().is_none() || y.known().is_none())
}
