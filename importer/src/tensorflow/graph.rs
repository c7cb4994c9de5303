//! Walks a graph: inputs, then node by node in an order that can run, each lowered by its row of the registry.
//!
//! What is not supported does not stop the walk: it is noted, the values that depend on it are marked, and the whole list is
//! the error at the end. A graph that contradicts itself stops it.

use std::collections::{HashMap, HashSet};

use pocketnn::ops::elementwise::Cast;
use pocketnn::ops::movement::Identity;
use pocketnn::{Dim, Graph, GraphBuilder, Tensor, ValueId};

use super::attrs::Attrs;
use super::elem::Elem;
use super::node::{Node, V, Value, runtime};
use super::order::{Nodes, Source};
use super::proto::{FunctionDef, GraphDef, NodeDef, Shape};
use super::saved::Variables;
use super::signature::{End, Ends};
use super::{audio, registry};
use crate::error::{ErrorKind, ImportError, Result};
use crate::limits::Budget;
use crate::options::ImportOptions;
use crate::own::TENSORFLOW;
use crate::protobuf::Meter;
use crate::report::Report;

/// What an import looks at.
pub(super) struct Context<'m> {
    pub def: &'m GraphDef<'m>,
    pub meter: &'m Meter,
    pub budget: &'m Budget,
    pub options: &'m ImportOptions,
    /// Values of variables; a frozen graph has none.
    pub variables: Option<&'m Variables<'m>>,
}

/// What an output of a node is.
#[derive(Clone, Debug)]
pub(super) enum Slot<'m> {
    Value(Value<'m>),
    /// Depends on something that is not supported.
    Lost,
    /// Belongs to a branch that is not taken.
    Dead,
}

/// Values of a graph or of a function's body while it is walked.
pub(super) struct Scope<'m> {
    pub nodes: Nodes<'m>,
    values: HashMap<usize, Vec<Slot<'m>>>,
    arguments: HashMap<&'m str, Slot<'m>>,
}

impl<'m> Scope<'m> {
    fn new(nodes: Nodes<'m>) -> Self {
        Self { nodes, values: HashMap::new(), arguments: HashMap::new() }
    }

    fn slot(&self, source: Source<'m>) -> Option<Slot<'m>> {
        match source {
            Source::Output(at, k) => {
                let slots = self.values.get(&at)?;
                // A node that is not computed has one slot for all its outputs.
                let all = || slots.first().filter(|s| !matches!(s, Slot::Value(_)));
                slots.get(k).or_else(all).cloned()
            }
            Source::Argument(name) => self.arguments.get(name).cloned(),
            Source::Control(_) => None,
        }
    }
}

/// The state of one import.
pub(super) struct Walker<'m> {
    pub cx: &'m Context<'m>,
    pub builder: GraphBuilder,
    pub report: Report,
    functions: HashMap<&'m str, &'m FunctionDef<'m>>,
    /// Functions that are being expanded.
    calls: Vec<&'m str>,
    /// Values that carry a name of the source already.
    named: HashSet<ValueId>,
    inputs: HashSet<ValueId>,
    /// f32 values that are stored as half-precision constants.
    halves: HashMap<ValueId, ValueId>,
    /// Variables that were read, by node.
    pub variables: HashMap<&'m str, V>,
    /// Types of tensors are wanted, not a graph that runs: operations of which only the shape is known give inputs.
    pub types_only: bool,
    ops: u64,
}

/// What the walker knows of one builder.
#[derive(Debug)]
pub(super) struct Inside<'m> {
    builder: GraphBuilder,
    named: HashSet<ValueId>,
    inputs: HashSet<ValueId>,
    halves: HashMap<ValueId, ValueId>,
    variables: HashMap<&'m str, V>,
}

/// Imports what lies between these ends.
///
/// # Errors
/// As [`super::import_graph`].
pub(super) fn import<'m>(cx: &'m Context<'m>, ends: &Ends<'m>) -> Result<(Graph, Report)> {
    let mut walker = Walker::new(cx, false)?;
    walker.model(ends)?;
    let report = std::mem::take(&mut walker.report);
    let graph = walker.builder.finish().map_err(|e| runtime(&e))?;
    Ok((graph, report))
}

impl<'m> Walker<'m> {
    pub fn new(cx: &'m Context<'m>, types_only: bool) -> Result<Self> {
        let mut functions = HashMap::new();
        for f in &cx.def.functions {
            if functions.insert(f.name, f).is_some() {
                return Err(ImportError::invalid("two functions share a name").at_node(f.name));
            }
        }
        Ok(Self {
            cx,
            builder: GraphBuilder::new("tensorflow"),
            report: Report::default(),
            functions,
            calls: Vec::new(),
            named: HashSet::new(),
            inputs: HashSet::new(),
            halves: HashMap::new(),
            variables: HashMap::new(),
            types_only,
            ops: 0,
        })
    }

    /// The half-precision constant behind an f32 value.
    pub fn half_source(&self, id: ValueId) -> Option<ValueId> {
        self.halves.get(&id).copied()
    }

    /// Counts an op that is added, or a round of a loop that is unrolled.
    pub fn count_op(&mut self) -> Result<()> {
        self.ops = self.ops.saturating_add(1);
        let most = self.cx.budget.limits().max_nodes;
        if self.ops <= most {
            return Ok(());
        }
        Err(ImportError::limits("the graph grows over the limit `max_nodes` (a loop or function that repeats itself?)")
            .expected(format!("at most {most} ops")))
    }

    /// Begins a graph of its own; gives the one around it.
    pub fn enter_body(&mut self) -> Inside<'m> {
        Inside {
            builder: std::mem::replace(&mut self.builder, GraphBuilder::new("body")),
            named: std::mem::take(&mut self.named),
            inputs: std::mem::take(&mut self.inputs),
            halves: std::mem::take(&mut self.halves),
            variables: std::mem::take(&mut self.variables),
        }
    }

    /// Ends it: the graph around it is the present one again.
    pub fn leave_body(&mut self, around: Inside<'m>) -> GraphBuilder {
        self.named = around.named;
        self.inputs = around.inputs;
        self.halves = around.halves;
        self.variables = around.variables;
        std::mem::replace(&mut self.builder, around.builder)
    }

    /// A constant of the source model.
    pub fn constant(&mut self, name: &str, elem: Elem, t: Tensor) -> Result<V> {
        let stored = self.builder.constant(name, t);
        let to = elem.carried()?;
        if self.builder.ty(stored).dtype == to {
            return Ok(V { id: stored, elem });
        }
        let id = self.builder.op(Cast { to }, &[stored], &format!("{name}/{to}")).map_err(|e| runtime(&e))?;
        if self.builder.constant_of(id).is_none() {
            self.halves.insert(id, stored);
        }
        Ok(V { id, elem })
    }

    fn model(&mut self, ends: &Ends<'m>) -> Result<()> {
        let mut scope = Scope::new(Nodes::new(&self.cx.def.nodes, false)?);
        let mut symbols = std::collections::BTreeSet::new();
        for end in &ends.inputs {
            // Strings have no place in a graph; whatever reads them is refused with its own reason.
            let value = if end.elem == Some(Elem::Text) {
                Value::Text
            } else {
                self.input(end, &scope, &mut symbols).map_err(|e| e.at_node(&end.name))?.into()
            };
            let Source::Output(at, k) = scope.nodes.source(end.tensor)? else { continue };
            let slots = scope.values.entry(at).or_default();
            if slots.len() <= k {
                slots.resize(k.saturating_add(1), Slot::Lost);
            }
            if let Some(slot) = slots.get_mut(k) {
                *slot = Slot::Value(value);
            }
        }
        let known: HashSet<&str> = symbols.iter().map(String::as_str).collect();
        if let Some(name) = self.cx.options.dims.keys().find(|&d| !known.contains(d.as_str())) {
            let known: Vec<&str> = symbols.iter().map(String::as_str).collect();
            return Err(ImportError::invalid("no input has a dimension of this name")
                .expected(if known.is_empty() { "none".to_owned() } else { known.join(", ") })
                .found(name));
        }
        let tensors: Vec<&'m str> = ends.outputs.iter().map(|e| e.tensor).collect();
        let slots = self.run(&mut scope, &tensors)?;
        self.report.check()?;
        let mut used = HashSet::new();
        for (end, slot) in ends.outputs.iter().zip(slots) {
            match slot {
                Slot::Value(Value::Tensor(v)) => self.output(&end.name, v, &mut used)?,
                Slot::Value(value) => {
                    let v = super::phases::settle(self, value)?.map_err(|e| e.at_node(&end.name));
                    match v {
                        Ok(v) => self.output(&end.name, v, &mut used)?,
                        Err(e) => self.report.add_unsupported(&e),
                    }
                }
                Slot::Dead => {
                    return Err(
                        ImportError::invalid("the output belongs to a branch that is never taken").at_node(&end.name)
                    );
                }
                Slot::Lost => {
                    return Err(ImportError::invalid("the graph does not compute this output").at_node(&end.name));
                }
            }
        }
        self.report.check()
    }

    /// An input of the graph, of the type the file says or the tensor's own.
    fn input(
        &mut self,
        end: &End<'m>,
        scope: &Scope<'m>,
        symbols: &mut std::collections::BTreeSet<String>,
    ) -> Result<V> {
        let (elem, shape) = match (end.elem, &end.shape) {
            (Some(elem), Some(shape)) => (elem, Some(shape.clone())),
            (elem, shape) => {
                let (found, dims) = self.type_of(end, scope)?;
                (elem.unwrap_or(found), shape.clone().or(dims))
            }
        };
        let Some(shape) = shape else {
            return Err(ImportError::unsupported("an input whose rank is not given")
                .help("name its shape: --feed NAME=1x28x28x1"));
        };
        let stored = elem.stored()?;
        self.cx.budget.rank(shape.len(), "an input")?;
        let mut dims = Vec::with_capacity(shape.len());
        for (i, &d) in shape.iter().enumerate() {
            if let Ok(n) = usize::try_from(d) {
                dims.push(Dim::from(n));
                continue;
            }
            // The first axis of all inputs is the batch, as in every signature of TensorFlow.
            let name = if i == 0 { "batch".to_owned() } else { format!("{}.{i}", end.name) };
            symbols.insert(name.clone());
            dims.push(self.cx.options.dims.get(&name).map_or_else(|| Dim::symbol(&name), |&n| Dim::from(n)));
        }
        self.new_input(&end.name, elem, stored, dims)
    }

    /// Adds an input.
    pub fn new_input(&mut self, name: &str, elem: Elem, stored: pocketnn::DType, dims: Vec<Dim>) -> Result<V> {
        let id = self.builder.input(name, stored, dims);
        self.named.insert(id);
        self.inputs.insert(id);
        let to = elem.carried()?;
        if stored == to {
            return Ok(V { id, elem });
        }
        let id = self.builder.op(Cast { to }, &[id], &format!("{name}/{to}")).map_err(|e| runtime(&e))?;
        Ok(V { id, elem })
    }

    /// Type of a tensor inside the graph, found by importing what it depends on.
    fn type_of(&self, end: &End<'m>, scope: &Scope<'m>) -> Result<(Elem, Shape)> {
        let source = scope.nodes.source(end.tensor)?;
        if let Source::Output(at, k) = source
            && let Some(node) = scope.nodes.get(at)
        {
            if node.op.starts_with("Placeholder") {
                let own = super::signature::placeholder(self.cx.def, node, self.cx.meter)?;
                let elem = own.elem.ok_or_else(|| super::attrs::missing("dtype"))?;
                let guess = || super::signature::guess(self.cx.def, scope, node.name);
                return Ok((elem, own.shape.map_or_else(guess, |s| Ok(Some(s)))?));
            }
            let attrs = Attrs::new(&node.attrs, self.cx.meter);
            if let Some(Some(shape)) = attrs.shapes("_output_shapes")?.get(k).cloned()
                && let Some(elem) = attrs.elem("T")?
            {
                return Ok((elem, Some(shape)));
            }
        }
        let mut inner = Walker::new(self.cx, true)?;
        let ends = super::signature::placeholders(self.cx.def, self.cx.meter, end.tensor)?;
        let mut own = Scope::new(Nodes::new(&self.cx.def.nodes, false)?);
        for e in &ends {
            let text = e.elem == Some(Elem::Text);
            let value = if text {
                Value::Text
            } else {
                inner.input(e, &own, &mut std::collections::BTreeSet::new()).map_err(|e| Self::untyped(end, &e))?.into()
            };
            if let Source::Output(at, _) = own.nodes.source(e.tensor)? {
                own.values.insert(at, vec![Slot::Value(value)]);
            }
        }
        let slot = inner.run(&mut own, &[end.tensor]).map_err(|e| Self::untyped(end, &e))?;
        inner.report.check().map_err(|e| Self::untyped(end, &e))?;
        match slot.into_iter().next() {
            Some(Slot::Value(Value::Tensor(v))) => {
                let dims = inner
                    .builder
                    .shape(v.id)
                    .iter()
                    .map(|d| d.known().and_then(|n| i64::try_from(n).ok()).unwrap_or(-1));
                Ok((v.elem, Some(dims.collect())))
            }
            _ => Err(ImportError::invalid("not a tensor that can be fed").at_node(&end.name)),
        }
    }

    fn untyped(end: &End, why: &ImportError) -> ImportError {
        ImportError::invalid(format!("the type of the tensor to feed is not known: {why}"))
            .help(format!("name its shape, such as --feed {}=1x28x28x1", end.name))
            .at_node(&end.name)
    }

    fn output(&mut self, name: &str, v: V, used: &mut HashSet<ValueId>) -> Result<()> {
        let stored = v.elem.stored()?;
        let fail = |e: pocketnn::Error| runtime(&e).at_node(name);
        let free = |w: &Self, id: ValueId| !w.is_given(id) && !used.contains(&id);
        let id = if self.builder.ty(v.id).dtype != stored {
            if free(self, v.id) {
                // The name is for the stored form; what carries it takes another.
                self.builder.rename(v.id, &format!("{name}/{}", self.builder.ty(v.id).dtype));
            }
            self.builder.op(Cast { to: stored }, &[v.id], name).map_err(fail)?
        } else if free(self, v.id) {
            self.builder.rename(v.id, name);
            v.id
        } else {
            self.builder.op(Identity::default(), &[v.id], name).map_err(fail)?
        };
        used.insert(id);
        self.builder.output(id);
        Ok(())
    }

    /// True for inputs and constants, whose names are not to be changed.
    fn is_given(&self, id: ValueId) -> bool {
        self.builder.constant_of(id).is_some() || self.inputs.contains(&id)
    }

    /// Computes these tensors of a scope.
    pub fn run(&mut self, scope: &mut Scope<'m>, tensors: &[&'m str]) -> Result<Vec<Slot<'m>>> {
        let sources = tensors.iter().map(|t| scope.nodes.source(t)).collect::<Result<Vec<_>>>()?;
        let wanted: Vec<usize> =
            sources.iter().filter_map(|s| if let Source::Output(at, _) = s { Some(*at) } else { None }).collect();
        let order = match scope.nodes.order(&wanted, &|at| scope.values.contains_key(&at)) {
            Err(e) if e.kind() == ErrorKind::Unsupported => {
                self.report.add_unsupported(&e);
                return Ok(vec![Slot::Lost; tensors.len()]);
            }
            other => other?,
        };
        for at in order {
            let Some(node) = scope.nodes.get(at) else { continue };
            let slots = self.node(node, scope)?;
            scope.values.insert(at, slots);
        }
        let slot = |(s, name): (&Source<'m>, &&'m str)| {
            scope.slot(*s).ok_or_else(|| {
                ImportError::invalid("reads a value that nothing before it computes").found(format!("`{name}`"))
            })
        };
        sources.iter().zip(tensors).map(slot).collect()
    }

    /// Lowers one node.
    fn node(&mut self, n: &'m NodeDef<'m>, scope: &Scope<'m>) -> Result<Vec<Slot<'m>>> {
        let place = |e: ImportError| e.at_op(n.op).at_node(n.name);
        match self.lower(n, scope) {
            Ok(slots) => Ok(slots),
            Err(e) if e.kind() == ErrorKind::Unsupported => {
                self.report.add_unsupported(&place(e));
                Ok(vec![Slot::Lost])
            }
            Err(e) => Err(place(e)),
        }
    }

    fn lower(&mut self, n: &'m NodeDef<'m>, scope: &Scope<'m>) -> Result<Vec<Slot<'m>>> {
        let (mut lost, mut dead) = (false, false);
        let mut inputs = Vec::with_capacity(n.inputs.len());
        for &name in &n.inputs {
            let source = scope.nodes.source(name)?;
            if let Source::Control(name) = source {
                let switch = scope.nodes.decides(name).and_then(|at| scope.values.get(&at)).and_then(|s| s.first());
                dead |= matches!(switch, Some(Slot::Dead));
                continue;
            }
            let slot = scope.slot(source).ok_or_else(|| {
                ImportError::invalid("reads a value that nothing before it computes").found(format!("`{name}`"))
            })?;
            lost |= matches!(slot, Slot::Lost);
            dead |= matches!(slot, Slot::Dead);
            inputs.push(slot);
        }
        if n.op == "Merge" || n.op == "RefMerge" {
            return self.merge(inputs);
        }
        if dead {
            return Ok(vec![Slot::Dead]);
        }
        if let Some(own) = self.cx.options.operators.get(TENSORFLOW, n.op) {
            return if lost { Ok(vec![Slot::Lost]) } else { self.own(own.as_ref(), n, &scope.nodes, inputs) };
        }
        let Some(row) = registry::find(n.op) else {
            if self.functions.contains_key(n.op) {
                // Before TensorFlow 2 a node may name a function as its operation.
                let values = values(inputs);
                return match values {
                    Some(values) => Ok(self.call(n.op, values)?),
                    None => Ok(vec![Slot::Lost]),
                };
            }
            return Err(ImportError::unsupported("this operation is not supported").help(format!(
                "fetch the tensors in front of it (--fetch NAME) and compute it in the app, or register a lowering \
                 (ImportOptions::register_operator(\"{TENSORFLOW}\", \"{}\", ..))",
                n.op.escape_default()
            )));
        };
        if lost {
            return Ok(vec![Slot::Lost]);
        }
        let inputs = values(inputs).unwrap_or_default();
        let attrs = Attrs::new(&n.attrs, self.cx.meter);
        let mut cx = Node { walker: self, node: n, attrs, inputs, base: n.name };
        let out = (row.lower)(&mut cx)?;
        cx.attrs.finish()?;
        self.bind(n, &out);
        Ok(out)
    }

    /// The input that is alive, and its number.
    fn merge(&mut self, inputs: Vec<Slot<'m>>) -> Result<Vec<Slot<'m>>> {
        let mut alive = inputs.into_iter().zip(0i32..).filter(|(s, _)| !matches!(s, Slot::Dead));
        match (alive.next(), alive.next()) {
            (Some((slot, i)), None) => {
                let number = self.builder.scalar(i);
                Ok(vec![slot, Slot::Value(V { id: number, elem: Elem::I32 }.into())])
            }
            (None, _) => Ok(vec![Slot::Dead]),
            _ => Err(ImportError::unsupported("a branch that is chosen by data is not supported")
                .help("fix what decides it, such as the placeholder of the learning phase, before freezing the graph")),
        }
    }

    /// Values of a node are named as in the source.
    pub fn bind(&mut self, n: &NodeDef, slots: &[Slot<'m>]) {
        for (i, slot) in slots.iter().enumerate() {
            if let Slot::Value(Value::Tensor(v)) = slot
                && self.named.insert(v.id)
            {
                if i == 0 {
                    self.builder.rename(v.id, n.name);
                } else {
                    self.builder.rename(v.id, &format!("{}:{i}", n.name));
                }
            }
        }
    }

    /// Expands a function.
    pub fn call(&mut self, name: &'m str, inputs: Vec<Value<'m>>) -> Result<Vec<Slot<'m>>> {
        let f = self.functions.get(name).copied().ok_or_else(|| {
            ImportError::invalid("calls a function that the library does not have").found(format!("`{name}`"))
        })?;
        if self.calls.contains(&name) {
            return Err(ImportError::unsupported("a function that calls itself").found(format!("`{name}`")));
        }
        let depth = u32::try_from(self.calls.len()).unwrap_or(u32::MAX);
        self.cx.budget.depth(depth, "nested calls of functions")?;
        if inputs.len() != f.inputs.len() {
            return Err(ImportError::invalid(format!("another number of operands than function `{name}` has"))
                .expected(f.inputs.len())
                .found(inputs.len()));
        }
        let mut scope = Scope::new(Nodes::new(&f.nodes, true)?.with_own(&self.cx.options.operators));
        for (&argument, value) in f.inputs.iter().zip(inputs) {
            scope.arguments.insert(argument, Slot::Value(value));
        }
        let mut tensors = Vec::with_capacity(f.outputs.len());
        for output in &f.outputs {
            let tensor = f.ret.iter().find(|r| r.0 == *output).map(|r| r.1).ok_or_else(|| {
                ImportError::invalid(format!("function `{name}` does not compute an output")).found(output)
            })?;
            tensors.push(tensor);
        }
        self.calls.push(name);
        let out = self.run(&mut scope, &tensors);
        self.calls.pop();
        out
    }

    /// Notes that a tensor is of an operation of which only the shape is known.
    pub fn shape_only(&mut self, name: &str, elem: Elem, dims: Vec<Dim>) -> Result<V> {
        if self.types_only {
            return self.new_input(name, elem, elem.stored()?, dims);
        }
        Err(audio::refusal(name))
    }
}

/// The values, when all are there.
pub(super) fn values(slots: Vec<Slot<'_>>) -> Option<Vec<Value<'_>>> {
    slots.into_iter().map(|s| if let Slot::Value(v) = s { Some(v) } else { None }).collect()
}
