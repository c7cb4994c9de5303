//! Walks a graph: inputs, then operator by operator in the file's order, each lowered by its row of the registry. Constants are
//! decoded when they are first read.
//!
//! What is not supported does not stop the walk: it is noted, the values that depend on it are marked, and the whole list is
//! the error at the end. A graph that contradicts itself stops it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use pocketnn::ops::movement::Identity;
use pocketnn::{Dim, GraphBuilder, ValueId};
use serde_json::{Map, Value as Json, json};

use super::model::{Graph, Info, Model, Operator, dtype};
use super::node::{Lowered, Node, Options, Value, runtime};
use super::registry::{self, Integers, Row};
use super::{own, quantize};
use crate::error::{ErrorKind, ImportError, Result};
use crate::limits::Budget;
use crate::options::ImportOptions;
use crate::own::{OperatorLowering, TFLITE};
use crate::report::Report;

/// What a tensor stands for.
#[derive(Clone, Debug)]
pub(super) enum Slot {
    /// Not computed yet.
    Empty,
    Value(Value),
    /// Depends on something that is not supported.
    Lost,
}

/// The tensors of one graph while it is walked.
pub(super) struct Env<'m> {
    pub graph: &'m Graph<'m>,
    number: usize,
    slots: Vec<Slot>,
}

/// The state of one import.
pub(super) struct Walker<'m> {
    pub builder: GraphBuilder,
    pub budget: &'m Budget,
    pub report: Report,
    pub model: &'m Model<'m>,
    /// Values of variables, by name.
    pub variables: HashMap<String, ValueId>,
    /// Variables that were read since they were initialised.
    pub read: HashSet<String>,
    options: &'m ImportOptions,
    /// Constants that were decoded, by graph and tensor.
    constants: HashMap<(usize, usize), ValueId>,
    /// f32 values that are stored as half-precision constants.
    halves: HashMap<ValueId, ValueId>,
    /// Values that carry a name of the source already.
    named: HashSet<ValueId>,
    inputs: HashSet<ValueId>,
    /// Scale and zero point of inputs and outputs.
    quantization: Map<String, Json>,
    depth: u32,
    ops: u64,
}

impl<'m> Walker<'m> {
    pub fn new(model: &'m Model<'m>, budget: &'m Budget, options: &'m ImportOptions) -> Self {
        let name = model.graphs.first().map_or("", |g| g.name.as_str());
        Self {
            builder: GraphBuilder::new(if name.is_empty() { "main" } else { name }),
            budget,
            report: Report::default(),
            model,
            variables: HashMap::new(),
            read: HashSet::new(),
            options,
            constants: HashMap::new(),
            halves: HashMap::new(),
            named: HashSet::new(),
            inputs: HashSet::new(),
            quantization: Map::new(),
            depth: 0,
            ops: 0,
        }
    }

    /// The half-precision constant behind an f32 value.
    pub fn half_source(&self, id: ValueId) -> Option<ValueId> {
        self.halves.get(&id).copied()
    }

    /// Notes that an f32 value is stored as a half-precision constant.
    pub fn remember_half(&mut self, wide: ValueId, stored: ValueId) {
        self.halves.insert(wide, stored);
    }

    /// Counts an op that is added, or a round of a loop that is unrolled.
    pub fn count_op(&mut self) -> Result<()> {
        self.ops = self.ops.saturating_add(1);
        let most = self.budget.limits().max_nodes;
        if self.ops <= most {
            return Ok(());
        }
        Err(ImportError::limits("the graph grows over the limit `max_nodes` (a loop that repeats itself?)")
            .expected(format!("at most {most} ops")))
    }

    /// Lowers the model's first graph.
    pub fn main(&mut self) -> Result<()> {
        let graph = self.model.graphs.first().ok_or_else(|| ImportError::format("the model holds no graph"))?;
        let mut env = Env { graph, number: 0, slots: vec![Slot::Empty; graph.tensors.len()] };
        let feed = named(graph, &self.options.feed)?;
        let fetch = named(graph, &self.options.fetch)?;
        let inputs = if feed.is_empty() { indices(&graph.inputs) } else { feed };
        let outputs = if fetch.is_empty() { indices(&graph.outputs) } else { fetch };
        for &i in &inputs {
            self.input(i, &mut env)?;
        }
        let needed = self.needed(graph, &inputs, &outputs);
        for (i, node) in graph.nodes.iter().enumerate().filter(|(i, _)| needed.contains(i)) {
            self.node(i, node, &mut env)?;
        }
        self.report.check()?;
        let mut used = HashSet::new();
        for i in outputs {
            self.output(i, &mut env, &mut used)?;
        }
        if !self.quantization.is_empty() {
            let quantization = std::mem::take(&mut self.quantization);
            self.builder.meta().insert("quantization".to_owned(), Json::Object(quantization));
        }
        self.report.check()
    }

    /// Operators that the outputs need, and those that change variables.
    fn needed(&self, graph: &Graph, inputs: &[usize], outputs: &[usize]) -> HashSet<usize> {
        let mut wanted: HashSet<usize> = outputs.iter().copied().collect();
        let given: HashSet<usize> = inputs.iter().copied().collect();
        let mut needed = HashSet::new();
        for (i, node) in graph.nodes.iter().enumerate().rev() {
            let name = self.model.codes.get(node.code).map_or("", |c| c.name());
            let acts = matches!(name, "ASSIGN_VARIABLE" | "CALL_ONCE");
            let makes = indices(&node.outputs).iter().any(|o| wanted.contains(o) && !given.contains(o));
            if acts || makes {
                needed.insert(i);
                wanted.extend(indices(&node.inputs));
            }
        }
        needed
    }

    fn input(&mut self, index: usize, env: &mut Env<'m>) -> Result<()> {
        let graph = env.graph;
        let info = graph.tensors.get(index).ok_or_else(|| ImportError::invalid("an input that is not there"))?;
        let place = |e: ImportError| e.at_node(label(info, index));
        self.budget.rank(info.shape.len(), "an input").map_err(place)?;
        let slot = match dtype(info.kind) {
            Ok(dtype) => {
                let name = label(info, index);
                let dim = |(axis, &d): (usize, &i32)| match usize::try_from(d) {
                    Ok(d) => Dim::from(d),
                    // All inputs share the number of images.
                    Err(_) if axis == 0 => Dim::symbol("N"),
                    Err(_) => Dim::symbol(&format!("{name}.{axis}")),
                };
                let dims: Vec<Dim> = info.shape.iter().enumerate().map(dim).collect();
                let id = self.builder.input(&name, dtype, dims);
                self.named.insert(id);
                self.inputs.insert(id);
                self.tell_quantization(id, info);
                Slot::Value(Value::Tensor(id))
            }
            Err(e) => {
                self.report.add_unsupported(&place(e));
                Slot::Lost
            }
        };
        if let Some(s) = env.slots.get_mut(index) {
            *s = slot;
        }
        Ok(())
    }

    /// Scale and zero point of an input or output, for those who feed and read it.
    fn tell_quantization(&mut self, id: ValueId, info: &Info) {
        if let Some((scale, zero)) = info.quant.as_ref().and_then(super::model::Quant::whole)
            && quantize::is_quantized(info)
        {
            let name = self.builder.name(id).to_owned();
            self.quantization.insert(name, json!({ "scale": scale, "zero_point": zero }));
        }
    }

    fn output(&mut self, index: usize, env: &mut Env<'m>, used: &mut HashSet<ValueId>) -> Result<()> {
        let graph = env.graph;
        let info = graph.tensors.get(index).ok_or_else(|| ImportError::invalid("an output that is not there"))?;
        let name = label(info, index);
        let v = match self.slot(index, env)? {
            Slot::Value(Value::Tensor(v)) => v,
            Slot::Value(Value::Resource(_)) => {
                self.report.add_unsupported(
                    &ImportError::unsupported("outputs that are handles are not supported").at_node(&name),
                );
                return Ok(());
            }
            _ => return Err(ImportError::invalid("the graph does not compute this output").at_node(&name)),
        };
        let given = self.builder.constant_of(v).is_some() || self.inputs.contains(&v) || used.contains(&v);
        let id = if given {
            self.builder.op(Identity::default(), &[v], &name).map_err(|e| runtime(&e).at_node(&name))?
        } else {
            self.builder.rename(v, &name);
            v
        };
        used.insert(id);
        self.tell_quantization(id, info);
        self.builder.output(id);
        Ok(())
    }

    /// What a tensor stands for; a constant is decoded when it is first asked for.
    fn slot(&mut self, index: usize, env: &mut Env<'m>) -> Result<Slot> {
        let found = env.slots.get(index).cloned().unwrap_or(Slot::Empty);
        if !matches!(found, Slot::Empty) {
            return Ok(found);
        }
        let graph = env.graph;
        let Some(info) = graph.tensors.get(index) else { return Ok(Slot::Empty) };
        let key = (env.number, index);
        let slot = if let Some(&id) = self.constants.get(&key) {
            Slot::Value(Value::Tensor(id))
        } else {
            match self.model.constant(info, self.budget) {
                Ok(None) => Slot::Empty,
                Ok(Some(t)) => {
                    let id = self.builder.constant(&label(info, index), t);
                    self.named.insert(id);
                    self.constants.insert(key, id);
                    Slot::Value(Value::Tensor(id))
                }
                Err(e) if e.kind() == ErrorKind::Unsupported => {
                    self.report.add_unsupported(&e.at_node(label(info, index)));
                    Slot::Lost
                }
                Err(e) => return Err(e.at_node(label(info, index))),
            }
        };
        if let Some(s) = env.slots.get_mut(index) {
            *s = slot.clone();
        }
        Ok(slot)
    }

    /// Lowers one operator and binds its outputs.
    fn node(&mut self, number: usize, node: &'m Operator<'m>, env: &mut Env<'m>) -> Result<()> {
        let code = self.model.codes.get(node.code);
        let graph = env.graph;
        let place = |e: ImportError| {
            let first = indices(&node.outputs).first().and_then(|&o| Some(label(graph.tensors.get(o)?, o)));
            let name = first.unwrap_or_default();
            e.at_op(code.map_or("", |c| c.name())).at_node(format!("{name}, operator {number}"))
        };
        let slots = match self.lower(number, node, env) {
            Ok(Some(values)) => self.bind(node, values, env).map_err(place)?,
            Ok(None) => vec![Slot::Lost; node.outputs.len()],
            Err(e) if e.kind() == ErrorKind::Unsupported => {
                self.report.add_unsupported(&place(e));
                vec![Slot::Lost; node.outputs.len()]
            }
            Err(e) => return Err(place(e)),
        };
        for (&o, slot) in node.outputs.iter().zip(slots) {
            let at = usize::try_from(o).ok().and_then(|o| env.slots.get_mut(o));
            match at {
                Some(s @ Slot::Empty) => *s = slot,
                Some(_) => return Err(place(ImportError::invalid("this value is computed twice").found(o))),
                None => {}
            }
        }
        Ok(())
    }

    /// The values of the operator's outputs, named as in the source.
    fn bind(&mut self, node: &Operator, values: Lowered, env: &Env) -> Result<Vec<Slot>> {
        if values.len() < node.outputs.len() {
            return Err(ImportError::invalid("the number of outputs").expected(values.len()).found(node.outputs.len()));
        }
        for (o, value) in node.outputs.iter().zip(&values) {
            let index = usize::try_from(*o).unwrap_or(usize::MAX);
            if let (Value::Tensor(id), Some(info)) = (value, env.graph.tensors.get(index))
                && self.named.insert(*id)
            {
                self.builder.rename(*id, &label(info, index));
            }
        }
        Ok(values.into_iter().map(Slot::Value).collect())
    }

    /// The outputs of an operator; `None` where an input is lost.
    fn lower(&mut self, number: usize, node: &'m Operator<'m>, env: &mut Env<'m>) -> Result<Option<Lowered>> {
        let model = self.model;
        let code = model.codes.get(node.code).ok_or_else(|| ImportError::invalid("its kind is not in the list"))?;
        let way = if code.is_custom() {
            Way::Own(self.options.operators.get(TFLITE, code.name()).ok_or_else(|| own::unknown(code.name()))?)
        } else {
            let row = registry::find(code.name());
            Way::Row(row.ok_or_else(|| ImportError::unsupported("this operator is not supported"))?)
        };
        let mut lost = false;
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for &i in &node.inputs {
            let Ok(index) = usize::try_from(i) else {
                inputs.push(None);
                continue;
            };
            inputs.push(match self.slot(index, env)? {
                Slot::Value(v) => Some(v),
                Slot::Lost => {
                    lost = true;
                    None
                }
                // State that nothing has written yet, and what only a later check can judge.
                Slot::Empty if env.graph.tensors.get(index).is_some_and(|t| t.variable) => None,
                Slot::Empty => {
                    return Err(ImportError::invalid("reads a tensor that nothing before it computes").found(index));
                }
            });
        }
        if lost {
            return Ok(None);
        }
        let first = indices(&node.outputs).first().and_then(|&o| Some(label(env.graph.tensors.get(o)?, o)));
        let base = first.unwrap_or_else(|| format!("operator_{number}"));
        let row = match way {
            Way::Own(own) => return self.own(own.as_ref(), code.name(), node, &base, &inputs).map(Some),
            Way::Row(row) => row,
        };
        let options = Options::new(node.options);
        let mut cx = Node { walker: self, source: node, env, options, inputs, base, floating: false };
        let out = match row.integers {
            Integers::InFloat => quantize::in_float(&mut cx, row.lower)?,
            _ => (row.lower)(&mut cx)?,
        };
        cx.options.finish()?;
        Ok(Some(out))
    }

    /// Lowers another graph of the model with these values for its inputs.
    pub fn call(&mut self, number: usize, inputs: Vec<Value>) -> Result<Lowered> {
        let model = self.model;
        let graph =
            model.graphs.get(number).ok_or_else(|| ImportError::invalid("a graph that is not there").found(number))?;
        if inputs.len() != graph.inputs.len() {
            return Err(ImportError::invalid("a graph is called with another number of inputs")
                .expected(graph.inputs.len())
                .found(inputs.len()));
        }
        let mut env = Env { graph, number, slots: vec![Slot::Empty; graph.tensors.len()] };
        for (&i, value) in graph.inputs.iter().zip(inputs) {
            if let Some(s) = usize::try_from(i).ok().and_then(|i| env.slots.get_mut(i)) {
                *s = Slot::Value(value);
            }
        }
        self.depth = self.depth.saturating_add(1);
        let out = self.budget.depth(self.depth, "nested control flow").and_then(|()| self.body(&mut env));
        self.depth = self.depth.saturating_sub(1);
        out
    }

    /// Lowers all operators of a graph whose inputs have values; gives its outputs.
    fn body(&mut self, env: &mut Env<'m>) -> Result<Lowered> {
        let graph = env.graph;
        for (i, node) in graph.nodes.iter().enumerate() {
            self.node(i, node, env)?;
        }
        let mut out = Vec::with_capacity(graph.outputs.len());
        for &o in &graph.outputs {
            let index = usize::try_from(o).unwrap_or(usize::MAX);
            match self.slot(index, env)? {
                Slot::Value(v) => out.push(v),
                Slot::Lost => {
                    return Err(ImportError::unsupported("its body holds something that is not supported"));
                }
                Slot::Empty => {
                    return Err(ImportError::invalid("the body does not compute its output").found(index));
                }
            }
        }
        Ok(out)
    }
}

/// Who lowers an operator.
enum Way<'w> {
    Own(&'w Arc<dyn OperatorLowering>),
    Row(&'static Row),
}

/// Name of a tensor, or its number where it has none.
fn label(info: &Info, index: usize) -> String {
    if info.name.is_empty() { format!("tensor_{index}") } else { info.name.clone() }
}

/// Indices of the tensors of a list that are there.
fn indices(list: &[i32]) -> Vec<usize> {
    list.iter().filter_map(|&i| usize::try_from(i).ok()).collect()
}

/// Tensors by name.
fn named(graph: &Graph, names: &[String]) -> Result<Vec<usize>> {
    let find = |name: &String| {
        let all = graph.tensors.iter().enumerate();
        let found = all.filter(|(i, t)| label(t, *i) == *name).map(|(i, _)| i).next();
        found.ok_or_else(|| ImportError::invalid("no tensor of the graph has this name").found(format!("`{name}`")))
    };
    names.iter().map(find).collect()
}
