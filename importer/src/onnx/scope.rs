//! Bodies of control flow that are graphs of their own: what they read of the graph around them.
//!
//! While a body is lowered, the walker's builder is the body's, and the builders around it wait. A name that an outer graph defines
//! is captured when it is read: a constant is copied (tensors share their elements), any other value becomes an input of the body,
//! and of every body between.

use std::collections::{HashMap, HashSet};

use pocketnn::ops::elementwise::Cast;
use pocketnn::ops::list::List;
use pocketnn::{DType, Dim, GraphBuilder, Op, ValueId};

use super::graph::Walker;
use super::list::{Item, Items, ListValue};
use super::node::{V, Value, runtime};
use crate::error::{ImportError, Result};
use crate::report::Report;

/// What is known about the values of one builder.
#[derive(Debug, Default)]
pub(super) struct Scope {
    /// Values that carry a name of the source already.
    pub named: HashSet<ValueId>,
    pub inputs: HashSet<ValueId>,
    /// f32 values that are stored as half-precision constants.
    pub halves: HashMap<ValueId, ValueId>,
    /// Values of the graph around, and what stands for them here.
    captured: HashMap<ValueId, ValueId>,
    /// Those that are inputs, in the order of the inputs.
    pub captures: Vec<(ValueId, ValueId)>,
    /// Dimensions of the graph around that are no numbers, and their symbols here.
    symbols: HashMap<Dim, Dim>,
}

impl Scope {
    /// A dimension as an input of the body has it: a number, or a symbol of the body's own.
    pub fn dim(&mut self, d: &Dim) -> Dim {
        if d.known().is_some() {
            return d.clone();
        }
        let next = self.symbols.len();
        self.symbols.entry(d.clone()).or_insert_with(|| Dim::symbol(&format!("d{next}"))).clone()
    }
}

/// A body whose inputs may still grow.
pub(super) struct OpenBody {
    pub builder: GraphBuilder,
    pub scope: Scope,
}

impl OpenBody {
    /// Adds inputs for what another body captured and this one did not, and puts those of `order` in this order, behind the first `fixed`.
    pub fn take(&mut self, order: &[ValueId], outer: &GraphBuilder, fixed: usize) -> Result<()> {
        let mut inputs: Vec<ValueId> = self.builder.inputs().iter().copied().take(fixed).collect();
        for id in order {
            let inner = self.scope.captures.iter().find(|c| c.0 == *id).map(|c| c.1);
            inputs.push(if let Some(inner) = inner {
                inner
            } else {
                let ty = outer.ty(*id);
                let dims: Vec<Dim> = ty.shape.iter().map(|d| self.scope.dim(d)).collect();
                self.builder.input("unused", ty.dtype, dims)
            });
        }
        self.builder.order_inputs(&inputs).map_err(|e| runtime(&e))
    }
}

/// A state to which the walker can return.
pub(super) struct Mark {
    builder: pocketnn::graph::Mark,
    report: Report,
}

impl Walker<'_> {
    /// The present state, before something is tried.
    pub fn mark(&self) -> Mark {
        Mark { builder: self.builder.mark(), report: self.report.clone() }
    }

    /// Forgets what was added since a mark.
    pub fn restore(&mut self, mark: Mark) {
        self.builder.restore(&mark.builder);
        self.report = mark.report;
        let values = self.builder.values();
        let scope = &mut self.scope;
        scope.named.retain(|v| v.index() < values);
        scope.inputs.retain(|v| v.index() < values);
        scope.halves.retain(|a, b| a.index() < values && b.index() < values);
        scope.captured.retain(|_, inner| inner.index() < values);
        scope.captures.retain(|c| c.1.index() < values);
    }

    /// Begins a body.
    pub fn open_body(&mut self) {
        let builder = std::mem::replace(&mut self.builder, GraphBuilder::new("body"));
        self.around.push(OpenBody { builder, scope: std::mem::take(&mut self.scope) });
    }

    /// Ends it.
    pub fn close_body(&mut self) -> Option<OpenBody> {
        let outer = self.around.pop()?;
        let builder = std::mem::replace(&mut self.builder, outer.builder);
        Some(OpenBody { builder, scope: std::mem::replace(&mut self.scope, outer.scope) })
    }

    /// How many builders wait.
    pub fn level(&self) -> usize {
        self.around.len()
    }

    /// A value of the graph of level `from` as the present one sees it.
    pub fn localized(&mut self, value: &Value, from: usize) -> Result<Value> {
        Ok(match value {
            _ if from == self.level() => value.clone(),
            Value::Tensor(v) => Value::Tensor(V { id: self.captured(v.id, from)?, elem: v.elem }),
            Value::List(l) => Value::List(ListValue { id: self.captured(l.id, from)?, ..l.clone() }),
            Value::Sequence(list) => {
                Value::Sequence(list.iter().map(|v| self.localized(v, from)).collect::<Result<_>>()?)
            }
            Value::Optional(None) => Value::Optional(None),
            Value::Optional(Some(v)) => Value::Optional(Some(Box::new(self.localized(v, from)?))),
        })
    }

    fn captured(&mut self, id: ValueId, from: usize) -> Result<ValueId> {
        (from..self.level()).try_fold(id, |id, outer| self.capture(id, outer))
    }

    /// A value of level `outer` in the body right inside.
    fn capture(&mut self, id: ValueId, outer: usize) -> Result<ValueId> {
        let lost = || ImportError::invalid("a value of a graph that is not there");
        let inside = outer.saturating_add(1) == self.level();
        let known =
            if inside { &self.scope } else { &self.around.get(outer.saturating_add(1)).ok_or_else(lost)?.scope };
        if let Some(&inner) = known.captured.get(&id) {
            return Ok(inner);
        }
        let around = self.around.get(outer).ok_or_else(lost)?;
        let (fact, half) = (around.builder.fact(id).clone(), around.scope.halves.get(&id).copied());
        let name = around.builder.name(id).to_owned();
        let stored = half.and_then(|h| around.builder.constant_of(h).cloned());
        let (builder, scope) = if inside {
            (&mut self.builder, &mut self.scope)
        } else {
            let body = self.around.get_mut(outer.saturating_add(1)).ok_or_else(lost)?;
            (&mut body.builder, &mut body.scope)
        };
        let inner = match (fact.constant, stored) {
            (Some(t), _) => builder.constant(&name, t),
            (None, Some(t)) => {
                let stored = builder.constant(&name, t);
                let to = fact.ty.dtype;
                let inner = builder.op(Cast { to }, &[stored], &format!("{name}/{to}")).map_err(|e| runtime(&e))?;
                scope.halves.insert(inner, stored);
                inner
            }
            (None, None) => {
                let dims: Vec<Dim> = fact.ty.shape.iter().map(|d| scope.dim(d)).collect();
                let inner = builder.input(&name, fact.ty.dtype, dims);
                scope.inputs.insert(inner);
                scope.captures.push((id, inner));
                inner
            }
        };
        scope.named.insert(inner);
        scope.captured.insert(id, inner);
        Ok(inner)
    }

    /// Adds an op of one output.
    pub fn add(&mut self, op: impl Into<Op>, inputs: &[ValueId], name: &str) -> Result<ValueId> {
        self.count_op()?;
        self.builder.op(op, inputs, name).map_err(|e| runtime(&e))
    }

    /// A value as one list of the graph: its elements are stored as the source declares them.
    pub fn listed(&mut self, value: &Value) -> Result<ListValue> {
        match value {
            Value::List(l) => Ok(l.clone()),
            Value::Sequence(list) => {
                let mut item = Item::Nothing;
                let mut ids = Vec::with_capacity(list.len());
                for v in list {
                    let (id, of) = self.element(v)?;
                    item = item.joined(&of)?;
                    ids.push(id);
                }
                let id = self.add(List::default(), &ids, "sequence")?;
                Ok(ListValue { id, items: Items::Sequence, item: Box::new(item) })
            }
            Value::Optional(inner) => {
                let (ids, item) = match inner {
                    None => (Vec::new(), Item::Nothing),
                    Some(v) => {
                        let (id, item) = self.element(v)?;
                        (vec![id], item)
                    }
                };
                let id = self.add(List::default(), &ids, "optional")?;
                Ok(ListValue { id, items: Items::Optional, item: Box::new(item) })
            }
            Value::Tensor(_) => Err(ImportError::invalid("a tensor").expected("a sequence or an optional")),
        }
    }

    /// A value as an element of a list.
    pub fn element(&mut self, value: &Value) -> Result<(ValueId, Item)> {
        if let Value::Tensor(v) = value {
            let item =
                Item::Tensor { elem: v.elem, shape: Some(self.builder.shape(v.id).iter().map(Dim::known).collect()) };
            return Ok((self.stored(*v)?, item));
        }
        let list = self.listed(value)?;
        Ok((list.id, Item::List(list.items, list.item)))
    }

    /// A tensor in the type it is stored in.
    pub fn stored(&mut self, v: V) -> Result<ValueId> {
        let to: DType = v.elem.stored()?;
        if self.builder.ty(v.id).dtype == to {
            return Ok(v.id);
        }
        self.add(Cast { to }, &[v.id], "stored")
    }
}
