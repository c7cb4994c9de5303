//! Walks a graph: constants, inputs, then node by node in an order that can run, each lowered by its row of the registry.
//!
//! What is not supported does not stop the walk: it is noted, the values that depend on it are marked, and the whole list is
//! the error at the end. A graph that contradicts itself stops it.

use std::collections::{BTreeSet, HashMap, HashSet};

use pocketnn::ops::elementwise::Cast;
use pocketnn::ops::list::ListAt;
use pocketnn::ops::movement::Identity;
use pocketnn::{DType, Dim, GraphBuilder, Tensor, ValueId};

use super::attrs::{Arguments, Attrs};
use super::elem::Elem;
use super::external::Folder;
use super::list::{Item, Items, ListValue};
use super::node::{Lowered, Node, V, Value, runtime};
use super::proto::{self, Extent, Function, Graph, TypeInfo, ValueInfo};
use super::registry;
use super::scope::{OpenBody, Scope};
use super::tensor;
use crate::error::{ErrorKind, ImportError, Result};
use crate::limits::Budget;
use crate::options::ImportOptions;
use crate::report::Report;

/// What a name stands for.
#[derive(Clone, Debug)]
enum Slot {
    Value(Value),
    /// Depends on something that is not supported.
    Lost,
}

/// The names in force: of this graph or function body, and of the graphs around it.
pub(super) struct Env<'e> {
    names: HashMap<String, Slot>,
    /// How many graphs are around the one whose builder made these values.
    level: usize,
    outer: Option<&'e Env<'e>>,
    /// Arguments of the function whose body this is.
    arguments: Arguments<'e>,
    opsets: &'e [(String, i64)],
}

impl<'e> Env<'e> {
    fn root(opsets: &'e [(String, i64)], level: usize) -> Self {
        Self { names: HashMap::new(), level, outer: None, arguments: Vec::new(), opsets }
    }

    fn inner(outer: &'e Env<'e>, level: usize) -> Self {
        let arguments = outer.arguments.clone();
        Self { names: HashMap::new(), level, outer: Some(outer), arguments, opsets: outer.opsets }
    }

    /// What a name stands for, and the level of the graph that defines it.
    fn get(&self, name: &str) -> Option<(&Slot, usize)> {
        let mut env = Some(self);
        while let Some(e) = env {
            if let Some(slot) = e.names.get(name) {
                return Some((slot, e.level));
            }
            env = e.outer;
        }
        None
    }

    fn opset(&self, domain: &str) -> Option<i64> {
        self.opsets.iter().find(|o| o.0 == domain).map(|o| o.1)
    }
}

/// The state of one import.
pub(super) struct Walker<'m> {
    pub builder: GraphBuilder,
    pub budget: &'m Budget,
    pub folder: &'m Folder,
    pub report: Report,
    options: &'m ImportOptions,
    functions: &'m [Function],
    pub scope: Scope,
    /// The graphs around the one of the builder, outermost first.
    pub around: Vec<OpenBody>,
    /// Names of the symbolic dimensions of the inputs.
    symbols: BTreeSet<String>,
    depth: u32,
    ops: u64,
    warned: HashSet<String>,
}

impl<'m> Walker<'m> {
    pub fn new(
        name: &str,
        budget: &'m Budget,
        folder: &'m Folder,
        options: &'m ImportOptions,
        functions: &'m [Function],
    ) -> Self {
        Self {
            builder: GraphBuilder::new(name),
            budget,
            folder,
            report: Report::default(),
            options,
            functions,
            scope: Scope::default(),
            around: Vec::new(),
            symbols: BTreeSet::new(),
            depth: 0,
            ops: 0,
            warned: HashSet::new(),
        }
    }

    /// The half-precision constant behind an f32 value.
    pub fn half_source(&self, id: ValueId) -> Option<ValueId> {
        self.scope.halves.get(&id).copied()
    }

    /// Counts an op that is added, or a round of a loop that is unrolled.
    pub fn count_op(&mut self) -> Result<()> {
        self.ops = self.ops.saturating_add(1);
        let most = self.budget.limits().max_nodes;
        if self.ops <= most {
            return Ok(());
        }
        Err(ImportError::limits("the graph grows over the limit `max_nodes` (a loop or function that repeats itself?)")
            .expected(format!("at most {most} ops")))
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
            self.scope.halves.insert(id, stored);
        }
        Ok(V { id, elem })
    }

    /// Lowers the whole model's graph.
    pub fn model(&mut self, mut graph: Graph, opsets: &[(String, i64)]) -> Result<()> {
        let mut env = Env::root(opsets, 0);
        let order = super::reach::order(&graph, &self.options.feed, &self.options.fetch)?;
        let constants: HashSet<String> = graph.initializers.iter().map(|t| t.name.clone()).collect();
        let feeds = super::reach::feeds(&graph, &self.options.feed)?;
        for info in graph.inputs.iter().filter(|i| !constants.contains(&i.name)) {
            if self.options.feed.is_empty() {
                self.input(info, &mut env)?;
            }
        }
        for info in &feeds {
            self.input(info, &mut env)?;
        }
        if let Some(name) = self.options.dims.keys().find(|&d| !self.symbols.contains(d)) {
            let known: Vec<&str> = self.symbols.iter().map(String::as_str).collect();
            return Err(ImportError::invalid("no input has a dimension of this name")
                .expected(if known.is_empty() { "none".to_owned() } else { known.join(", ") })
                .found(name));
        }
        self.initializers(&mut graph, &mut env)?;
        self.budget.nodes(u64::try_from(graph.nodes.len()).unwrap_or(u64::MAX))?;
        for n in order.iter().filter_map(|&i| graph.nodes.get(i)) {
            self.node(n, &mut env)?;
        }
        self.report.check()?;
        let fetch = &self.options.fetch;
        let names: Vec<&str> = if fetch.is_empty() {
            graph.outputs.iter().map(|o| o.name.as_str()).collect()
        } else {
            fetch.iter().map(String::as_str).collect()
        };
        let declared: HashMap<&str, &TypeInfo> = graph.outputs.iter().map(|o| (o.name.as_str(), &o.ty)).collect();
        let mut used = HashSet::new();
        for name in names {
            let slot = env.get(name).map(|(slot, _)| slot.clone());
            match slot {
                Some(Slot::Value(Value::Tensor(v))) => self.output(name, v, declared.get(name).copied(), &mut used)?,
                Some(Slot::Value(v)) => {
                    self.output_list(name, &v, declared.get(name).copied()).map_err(|e| e.at_node(name))?;
                }
                _ => return Err(ImportError::invalid("the graph does not compute this output").at_node(name)),
            }
        }
        self.report.check()
    }

    fn initializers(&mut self, graph: &mut Graph, env: &mut Env) -> Result<()> {
        for raw in std::mem::take(&mut graph.initializers) {
            let name = raw.name.clone();
            if env.names.contains_key(&name) {
                return Err(ImportError::invalid("two initializers, or an initializer and an input, share a name")
                    .at_node(&name));
            }
            let made =
                tensor::tensor(raw, self.folder, self.budget).and_then(|(elem, t)| self.constant(&name, elem, t));
            self.define(env, name, made)?;
        }
        for sparse in std::mem::take(&mut graph.sparse_initializers) {
            let name = sparse.values.name.clone();
            let made =
                tensor::dense(sparse, self.folder, self.budget).and_then(|(elem, t)| self.constant(&name, elem, t));
            self.define(env, name, made)?;
        }
        Ok(())
    }

    /// Binds a name to a value, or marks it when the value is not supported.
    fn define(&mut self, env: &mut Env, name: String, made: Result<impl Into<Value>>) -> Result<()> {
        let slot = match made {
            Ok(v) => {
                let v = v.into();
                if let Value::Tensor(v) = v {
                    self.scope.named.insert(v.id);
                }
                Slot::Value(v)
            }
            Err(e) if e.kind() == ErrorKind::Unsupported => {
                self.report.add_unsupported(&e.at_node(&name));
                Slot::Lost
            }
            Err(e) => return Err(e.at_node(&name)),
        };
        env.names.insert(name, slot);
        Ok(())
    }

    fn input(&mut self, info: &ValueInfo, env: &mut Env) -> Result<()> {
        if env.names.contains_key(&info.name) {
            return Err(ImportError::invalid("two inputs share a name").at_node(&info.name));
        }
        let made = self.make_input(info);
        self.define(env, info.name.clone(), made)
    }

    fn make_input(&mut self, info: &ValueInfo) -> Result<Value> {
        if let Some(Item::List(items, item)) = self.list_input(&info.ty)? {
            let length = Dim::symbol(&format!("{}.0", info.name));
            let id = self.builder.input(&info.name, DType::List, [length]);
            self.scope.named.insert(id);
            self.scope.inputs.insert(id);
            return Ok(Value::List(ListValue { id, items, item }));
        }
        self.tensor_input(info).map(Value::Tensor)
    }

    /// The items of an input that is a list.
    fn list_input(&self, ty: &TypeInfo) -> Result<Option<Item>> {
        match ty {
            TypeInfo::Sequence(_) | TypeInfo::Optional(_) => Item::declared(ty).map(Some),
            _ => Ok(None),
        }
    }

    fn tensor_input(&mut self, info: &ValueInfo) -> Result<V> {
        let (elem, shape) = match &info.ty {
            TypeInfo::Tensor { elem, shape: Some(shape) } => (Elem::parse(*elem)?, shape),
            TypeInfo::Tensor { .. } => {
                return Err(
                    ImportError::unsupported("an input whose rank is not given").help("export the model with shapes")
                );
            }
            TypeInfo::Sequence(_) | TypeInfo::Optional(_) | TypeInfo::Other(_) => {
                return Err(ImportError::unsupported("inputs that are maps or sparse tensors are not supported"));
            }
            TypeInfo::Unknown => return Err(ImportError::invalid("an input without a type")),
        };
        let rank = u32::try_from(shape.len()).unwrap_or(u32::MAX);
        if rank > self.budget.limits().max_rank {
            return Err(ImportError::limits("an input over the limit `max_rank`")
                .expected(self.budget.limits().max_rank)
                .found(rank));
        }
        let stored = elem.stored()?;
        let dims = shape.iter().enumerate().map(|(i, d)| self.dim(&info.name, i, d)).collect::<Result<Vec<Dim>>>()?;
        let id = self.builder.input(&info.name, stored, dims);
        self.scope.named.insert(id);
        self.scope.inputs.insert(id);
        let to = elem.carried()?;
        if stored == to {
            return Ok(V { id, elem });
        }
        let name = format!("{}/{to}", info.name);
        let id = self.builder.op(Cast { to }, &[id], &name).map_err(|e| runtime(&e))?;
        Ok(V { id, elem })
    }

    /// A dimension: a number, the caller's number for its name, or a symbol.
    fn dim(&mut self, input: &str, axis: usize, extent: &Extent) -> Result<Dim> {
        let name = match extent {
            Extent::Known(n) => {
                return Ok(Dim::from(crate::to_usize(u64::try_from(*n).unwrap_or(u64::MAX), "a dimension")?));
            }
            Extent::Symbol(name) => name.clone(),
            Extent::Unknown => format!("{input}.{axis}"),
        };
        self.symbols.insert(name.clone());
        Ok(self.options.dims.get(&name).map_or_else(|| Dim::symbol(&name), |&n| Dim::from(n)))
    }

    fn output(&mut self, name: &str, v: V, declared: Option<&TypeInfo>, used: &mut HashSet<ValueId>) -> Result<()> {
        if let Some(TypeInfo::Tensor { elem, .. }) = declared
            && *elem != 0
            && *elem != v.elem.number()
        {
            let declared = Elem::of(*elem).map_or("an unknown type", Elem::name);
            return Err(ImportError::invalid("the output is declared with another type than it has")
                .expected(declared)
                .found(v.elem.name())
                .at_node(name));
        }
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

    /// An output that is a list; where a sequence is declared and an optional is carried, it is the one that is there.
    fn output_list(&mut self, name: &str, value: &Value, declared: Option<&TypeInfo>) -> Result<()> {
        let mut list = self.listed(value)?;
        if let (Some(TypeInfo::Sequence(_)), Items::Optional, Item::List(Items::Sequence, item)) =
            (declared, list.items, &*list.item)
        {
            let first = self.builder.constant("first", Tensor::scalar(0i64));
            let op = ListAt { dtype: DType::List, shape: vec![-1] };
            let id = self.add(op, &[list.id, first], name)?;
            list = ListValue { id, items: Items::Sequence, item: item.clone() };
        }
        let id = self.builder.op(Identity::default(), &[list.id], name).map_err(|e| runtime(&e))?;
        self.builder.output(id);
        Ok(())
    }

    /// True for inputs and constants, whose names are not to be changed.
    fn is_given(&self, id: ValueId) -> bool {
        self.builder.constant_of(id).is_some() || self.scope.inputs.contains(&id)
    }

    /// Lowers one node and binds its outputs.
    fn node(&mut self, n: &proto::Node, env: &mut Env) -> Result<()> {
        let place = |e: ImportError| {
            let label = if n.name.is_empty() { n.outputs.first().map_or("", String::as_str) } else { &n.name };
            let op = if n.domain.is_empty() { n.op_type.clone() } else { format!("{}::{}", n.domain, n.op_type) };
            e.at_op(op).at_node(label)
        };
        let slots = match self.lower(n, env) {
            Ok(Some(values)) => self.bind(n, values).map_err(place)?,
            Ok(None) => vec![Slot::Lost; n.outputs.len()],
            Err(e) if e.kind() == ErrorKind::Unsupported => {
                self.report.add_unsupported(&place(e));
                vec![Slot::Lost; n.outputs.len()]
            }
            Err(e) => return Err(place(e)),
        };
        for (name, slot) in n.outputs.iter().zip(slots).filter(|o| !o.0.is_empty()) {
            if env.names.insert(name.clone(), slot).is_some() {
                return Err(place(ImportError::invalid("this value is computed twice").found(name)));
            }
        }
        Ok(())
    }

    /// The values of the node's outputs, named as in the source.
    fn bind(&mut self, n: &proto::Node, values: Lowered) -> Result<Vec<Slot>> {
        let mut values = values.into_iter();
        let mut slots = Vec::with_capacity(n.outputs.len());
        for (i, name) in n.outputs.iter().enumerate() {
            match values.next() {
                Some(value) => {
                    if let Value::Tensor(v) = &value
                        && !name.is_empty()
                        && self.scope.named.insert(v.id)
                    {
                        self.builder.rename(v.id, name);
                    }
                    slots.push(Slot::Value(value));
                }
                None if name.is_empty() => slots.push(Slot::Lost),
                None => return Err(ImportError::invalid(format!("the operator has no output {i}")).found(name)),
            }
        }
        Ok(slots)
    }

    /// The outputs of a node; `None` where an input is lost.
    fn lower(&mut self, n: &proto::Node, env: &Env) -> Result<Option<Lowered>> {
        let mut lost = false;
        let mut inputs = Vec::with_capacity(n.inputs.len());
        for name in &n.inputs {
            let slot = if name.is_empty() { None } else { Some(env.get(name).ok_or_else(|| unknown_value(name))?) };
            inputs.push(match slot {
                Some((Slot::Value(v), level)) => Some(self.localized(v, level)?),
                Some((Slot::Lost, _)) => {
                    lost = true;
                    None
                }
                None => None,
            });
        }
        let attrs = Attrs::new(&n.attributes, &env.arguments)?;
        if let Some(own) = self.options.operators.get(&n.domain, &n.op_type) {
            return if lost { Ok(None) } else { self.own(own.as_ref(), n, &inputs, &attrs).map(Some) };
        }
        let Some(row) = registry::find(&n.domain, &n.op_type) else {
            let function =
                self.functions.iter().find(|f| f.domain == n.domain && f.name == n.op_type && f.overload == n.overload);
            return match function {
                Some(_) if lost => Ok(None),
                Some(f) => self.call(f, inputs, &attrs).map(Some),
                None => {
                    Err(ImportError::unsupported("this operator is not supported")
                        .nearest(registry::nearest(&n.op_type)))
                }
            };
        };
        let since = self.since(row, env)?;
        if lost {
            return Ok(None);
        }
        let base = if n.name.is_empty() { n.outputs.first().cloned().unwrap_or_default() } else { n.name.clone() };
        let mut cx = Node { walker: self, node: n, env, attrs, inputs, since, base };
        let out = (row.lower)(&mut cx)?;
        cx.attrs.finish()?;
        Ok(Some(out))
    }

    /// The opset in which the definition in force of an operator was made.
    fn since(&mut self, row: &registry::Row, env: &Env) -> Result<i64> {
        let newest = row.since.last().copied().unwrap_or(1);
        let Some(opset) = env.opset(row.domain) else {
            if row.domain.is_empty() {
                return Err(ImportError::invalid("the model imports no version of the domain `ai.onnx`"));
            }
            return Ok(newest);
        };
        if row.domain.is_empty() && opset > registry::NEWEST_OPSET && self.warned.insert("opset".to_owned()) {
            let known = registry::NEWEST_OPSET;
            self.report.add_warning(
                &ImportError::unsupported("a newer opset than is known; operators are read as of the newest known")
                    .expected(format!("at most {known}"))
                    .found(opset),
            );
        }
        row.since.iter().rev().find(|&&v| v <= opset).copied().ok_or_else(|| {
            let first = row.since.first().copied().unwrap_or(1);
            ImportError::invalid("the operator does not exist in the model's opset")
                .expected(format!("opset {first} or later"))
                .found(opset)
        })
    }

    /// Expands a function of the model.
    fn call(&mut self, f: &'m Function, inputs: Vec<Option<Value>>, attrs: &Attrs) -> Result<Lowered> {
        self.descend()?;
        let mut env = Env::root(&f.opsets, self.level());
        env.arguments = attrs.arguments();
        for a in &f.defaults {
            if !env.arguments.iter().any(|(n, _)| *n == a.name) {
                env.arguments.push((&a.name, &a.value));
            }
        }
        let mut given = inputs.into_iter();
        for name in &f.inputs {
            if let Some(value) = given.next().flatten() {
                env.names.insert(name.clone(), Slot::Value(value));
            }
        }
        self.budget.nodes(u64::try_from(f.nodes.len()).unwrap_or(u64::MAX))?;
        let body = Body { inputs: &f.inputs, nodes: &f.nodes, outputs: f.outputs.iter().map(String::as_str).collect() };
        let out = self.body(&body, &mut env);
        self.depth = self.depth.saturating_sub(1);
        out
    }

    /// Lowers the body of a control-flow operator with these values for its inputs.
    pub fn subgraph(&mut self, g: &Graph, outer: &Env, inputs: Vec<Value>) -> Result<Lowered> {
        self.descend()?;
        let mut env = Env::inner(outer, self.level());
        if inputs.len() != g.inputs.len() {
            return Err(ImportError::invalid("the body of a control-flow operator has another number of inputs")
                .expected(inputs.len())
                .found(g.inputs.len()));
        }
        for (info, value) in g.inputs.iter().zip(inputs) {
            env.names.insert(info.name.clone(), Slot::Value(value));
        }
        let mut constants = Graph {
            initializers: g.initializers.clone(),
            sparse_initializers: g.sparse_initializers.clone(),
            ..Graph::default()
        };
        self.initializers(&mut constants, &mut env)?;
        self.budget.nodes(u64::try_from(g.nodes.len()).unwrap_or(u64::MAX))?;
        let body = Body { inputs: &[], nodes: &g.nodes, outputs: g.outputs.iter().map(|o| o.name.as_str()).collect() };
        let out = self.body(&body, &mut env);
        self.depth = self.depth.saturating_sub(1);
        out
    }

    fn descend(&mut self) -> Result<()> {
        self.depth = self.depth.saturating_add(1);
        self.budget.depth(self.depth, "nested functions and control flow")
    }

    fn body(&mut self, body: &Body, env: &mut Env) -> Result<Lowered> {
        for n in body.nodes {
            // An input that the caller left out is absent for the nodes that read it.
            let absent = |i: &String| !i.is_empty() && env.get(i).is_none() && body.inputs.contains(i);
            if n.inputs.iter().any(absent) {
                let mut n = n.clone();
                n.inputs.iter_mut().filter(|i| absent(i)).for_each(String::clear);
                self.node(&n, env)?;
            } else {
                self.node(n, env)?;
            }
        }
        let mut out = Vec::with_capacity(body.outputs.len());
        for name in &body.outputs {
            match env.get(name) {
                Some((Slot::Value(v), level)) => out.push(self.localized(v, level)?),
                Some((Slot::Lost, _)) => {
                    return Err(ImportError::unsupported("its body holds something that is not supported"));
                }
                None if name.is_empty() => {}
                None => return Err(unknown_value(name)),
            }
        }
        Ok(out)
    }
}

/// Nodes of a function or of a control-flow operator.
struct Body<'b> {
    inputs: &'b [String],
    nodes: &'b [proto::Node],
    outputs: Vec<&'b str>,
}

fn unknown_value(name: &str) -> ImportError {
    ImportError::invalid("reads a value that nothing before it computes").found(format!("`{name}`"))
}
