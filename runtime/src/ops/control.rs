//! Control flow that is decided while running: graphs inside a node.
//!
//! A body sees nothing but its inputs: what it uses of the graph around it are operands of the node, behind those of the op. A graph
//! with such a node and unknown shapes is interpreted; the importer decides what it can beforehand.

use super::attrs::{AttrValue, Tensors, attributes};
use super::elementwise::operand;
use super::infer::{Infer, ValueType};
use super::movement::{Concat, Unsqueeze};
use super::{Evaluate, Operator, Takes};
use crate::graph::Value;
use crate::{DType, Dim, Error, Graph, Node, Op, Result, Tensor};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A graph that is an attribute.
#[derive(Clone, Debug, Default)]
pub struct Body(Arc<Graph>);

impl Body {
    /// Deepest nesting of bodies in a file.
    pub const DEEPEST: usize = 16;

    /// A graph as a body.
    pub fn new(graph: Graph) -> Self {
        Self(Arc::new(graph))
    }
    /// The graph.
    pub fn graph(&self) -> &Graph {
        &self.0
    }
    fn run(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>> {
        let all: Result<Vec<Tensor>> = (0..inputs.len()).map(|i| operand(inputs, i).cloned()).collect();
        crate::plan::interpret(&self.0, &all?, |_, _| Ok(()))
    }
    /// Types of the outputs where the inputs have these types.
    fn outputs(&self, inputs: &[ValueType]) -> Result<Vec<ValueType>> {
        let ids = self.0.inputs();
        if ids.len() != inputs.len() {
            return Err(Error::graph(format!("the body has {} inputs, it is given {}", ids.len(), inputs.len())));
        }
        let mut symbols: BTreeMap<&str, &Dim> = BTreeMap::new();
        for (&id, given) in ids.iter().zip(inputs) {
            let declared = self.0.ty(id);
            if !admits(declared, given) {
                let name = &self.0.value(id).name;
                return Err(Error::graph(format!("input `{name}` of the body: expected {declared}, found {given}")));
            }
            for (d, outer) in declared.shape.iter().zip(&given.shape) {
                if let Some(name) = d.symbol_name() {
                    symbols.entry(name).or_insert(outer);
                }
            }
        }
        let outer = |d: &Dim| match (d.known(), d.symbol_name().and_then(|s| symbols.get(s))) {
            (Some(_), _) => d.clone(),
            (None, Some(d)) => (*d).clone(),
            (None, None) => Dim::unknown(),
        };
        let ty = |v: &crate::ValueId| {
            let ty = self.0.ty(*v);
            ValueType::new(ty.dtype, ty.shape.iter().map(outer).collect::<Vec<_>>())
        };
        Ok(self.0.outputs().iter().map(ty).collect())
    }
}

/// True where a declared type takes values of another: same element type and rank, no two known extents that differ.
fn admits(declared: &ValueType, given: &ValueType) -> bool {
    let fits = |(a, b): (&Dim, &Dim)| a.known().is_none() || b.known().is_none() || a == b;
    declared.dtype == given.dtype
        && declared.shape.len() == given.shape.len()
        && declared.shape.iter().zip(&given.shape).all(fits)
}

/// The same values and nodes.
impl PartialEq for Body {
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (&*self.0, &*other.0);
        let value =
            |(v, w): (&Value, &Value)| v.name == w.name && v.fact.ty == w.fact.ty && v.fact.constant == w.fact.constant;
        let node =
            |(n, m): (&Node, &Node)| n.name == m.name && n.inputs == m.inputs && n.outputs == m.outputs && n.op == m.op;
        let counts = |g: &Graph| (g.values().len(), g.nodes().len());
        Arc::ptr_eq(&self.0, &other.0)
            || (counts(a) == counts(b) && a.inputs() == b.inputs() && a.outputs() == b.outputs())
                && a.values().iter().zip(b.values()).all(value)
                && a.nodes().iter().zip(b.nodes()).all(node)
    }
}

impl AttrValue for Body {
    const EXPECTED: &str = "a graph";
    /// Large constants stand in it by name; see [`crate::format`].
    fn to_json(&self) -> Json {
        crate::format::body_json(&self.0)
    }
    fn from_json(v: &Json) -> Option<Self> {
        Self::from_file(v, &Tensors::default())
    }
    fn from_file(v: &Json, tensors: &Tensors) -> Option<Self> {
        if nesting(v) > Self::DEEPEST {
            return None;
        }
        crate::format::read_body(v, tensors).ok().map(Self::new)
    }
}

/// How deep bodies stand in bodies.
fn nesting(body: &Json) -> usize {
    let nodes = body.get("nodes").and_then(Json::as_array);
    let attributes = nodes.into_iter().flatten().filter_map(|n| n.get("attrs").and_then(Json::as_object));
    let inner = attributes.flat_map(|a| a.values()).filter(|v| v.get("nodes").is_some()).map(nesting).max();
    1 + inner.unwrap_or(0)
}

attributes! {
    /// One of two bodies. Inputs: the condition (one `Bool`), then the inputs of both bodies; outputs: those of the body.
    pub struct If {
        /// Runs where the condition is true.
        pub yes: Body = Body::default(),
        /// Runs where it is false.
        pub no: Body = Body::default(),
    }
    /// A body again and again. Inputs: optional most rounds (one integer), optional condition (one `Bool`), states, then values that stay.
    /// The body takes the number of the round (scalar i64), the condition, states, values that stay, and gives the condition, the states and
    /// slices. Outputs: the last states, and each slice of all rounds along a new first axis.
    pub struct Loop {
        /// What is done in a round.
        pub body: Body = Body::default(),
        /// Number of states.
        pub states: usize = 0,
    }
}

fn expect_flag(cx: &Infer, i: usize) -> Result<()> {
    cx.expect_dtype(i, DType::Bool)?;
    one(cx, i)
}

fn one(cx: &Infer, i: usize) -> Result<()> {
    if cx.shape(i)?.iter().all(|d| d.known().is_none_or(|n| n == 1)) {
        return Ok(());
    }
    Err(Error::graph(format!("input {i}: expected one element, found {}", cx.ty(i)?)))
}

fn types(cx: &Infer, from: usize) -> Result<Vec<ValueType>> {
    (from..cx.len()).map(|i| cx.ty(i).cloned()).collect()
}

/// What is known of a value that has one of two types.
fn either(a: &ValueType, b: &ValueType) -> Result<ValueType> {
    if a.dtype != b.dtype || a.shape.len() != b.shape.len() {
        return Err(Error::unsupported(format!("a value of type {a} or {b}: expected one element type and rank")));
    }
    let dim = |(a, b): (&Dim, &Dim)| if a == b { a.clone() } else { Dim::unknown() };
    Ok(ValueType::new(a.dtype, a.shape.iter().zip(&b.shape).map(dim).collect::<Vec<_>>()))
}

fn flag(t: &Tensor) -> Result<bool> {
    t.as_slice::<bool>()?.first().copied().ok_or_else(|| Error::argument("the condition is empty"))
}

impl Operator for If {
    fn bodies(&self) -> Vec<(&'static str, &Graph)> {
        vec![("yes", self.yes.graph()), ("no", self.no.graph())]
    }
    fn takes(&self) -> Takes {
        Takes::Any
    }
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        expect_flag(cx, 0)?;
        let given = types(cx, 1)?;
        let (yes, no) = (self.yes.outputs(&given)?, self.no.outputs(&given)?);
        if yes.len() != no.len() {
            return Err(Error::graph(format!("the bodies have {} and {} outputs", yes.len(), no.len())));
        }
        yes.iter().zip(&no).map(|(a, b)| either(a, b)).collect()
    }
}

impl Evaluate for If {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let body = if flag(operand(inputs, 0)?)? { &self.yes } else { &self.no };
        body.run(&inputs[1..])
    }
}

/// Most rounds of a loop that says how many it makes.
const MOST_ROUNDS: i64 = 1 << 24;
/// Most rounds of a loop that only its condition ends: one that never ends is an error.
const MOST_OPEN_ROUNDS: i64 = 1 << 16;
/// Most bytes of all slices of a loop together.
const MOST_BYTES: usize = 1 << 32;

impl Loop {
    /// What the body takes, from the types of the node's operands.
    fn given(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let scalar = |dtype| ValueType::known(dtype, &[]);
        let mut given = vec![scalar(DType::I64), scalar(DType::Bool)];
        given.extend(types(cx, 2)?);
        Ok(given)
    }
}

impl Operator for Loop {
    fn bodies(&self) -> Vec<(&'static str, &Graph)> {
        vec![("body", self.body.graph())]
    }
    fn takes(&self) -> Takes {
        Takes::Any
    }
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        if cx.has(0) {
            one(cx, 0)?;
        }
        if cx.has(1) {
            expect_flag(cx, 1)?;
        }
        let given = self.given(cx)?;
        let made = self.body.outputs(&given)?;
        let body = self.body.graph();
        let fits = made.len() > self.states && given.len() >= 2 + self.states && made[0].dtype == DType::Bool;
        if !fits {
            return Err(Error::graph("the body does not fit: expected a condition, the states and slices"));
        }
        let mut out = Vec::with_capacity(made.len() - 1);
        for i in 0..self.states {
            let declared = body.ty(body.inputs()[2 + i]);
            if !admits(declared, body.ty(body.outputs()[1 + i])) {
                let found = body.ty(body.outputs()[1 + i]);
                return Err(Error::graph(format!("state {i} of the body: expected {declared}, found {found}")));
            }
            out.push(either(&given[2 + i], &made[1 + i])?);
        }
        for slices in &made[1 + self.states..] {
            let shape = std::iter::once(Dim::unknown()).chain(slices.shape.iter().cloned()).collect::<Vec<_>>();
            out.push(ValueType::new(slices.dtype, shape));
        }
        Ok(out)
    }
}

impl Evaluate for Loop {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let (most, limit) = match inputs.first().copied().flatten() {
            Some(t) => (t.to_i64()?.first().copied().unwrap_or(0), MOST_ROUNDS),
            None => (i64::MAX, MOST_OPEN_ROUNDS),
        };
        let mut go = inputs.get(1).copied().flatten().map_or(Ok(true), flag)?;
        let rest: Result<Vec<Tensor>> = (2..inputs.len()).map(|i| operand(inputs, i).cloned()).collect();
        let mut rest = rest?;
        let slices = self.body.graph().outputs().len().saturating_sub(1 + self.states);
        let mut collected: Vec<Vec<Tensor>> = vec![Vec::new(); slices];
        let (mut round, mut bytes) = (0, 0usize);
        while go && round < most {
            if round >= limit {
                return Err(Error::limit(format!("the loop does not end after {limit} rounds")));
            }
            let (number, flag_in) = (Tensor::scalar(round), Tensor::scalar(true));
            let given: Vec<Option<&Tensor>> = [&number, &flag_in].into_iter().chain(&rest).map(Some).collect();
            let mut made = self.body.run(&given)?.into_iter();
            go = made.next().map_or(Ok(false), |t| flag(&t))?;
            rest.iter_mut().zip(made.by_ref().take(self.states)).for_each(|(old, new)| *old = new);
            for (list, t) in collected.iter_mut().zip(made) {
                bytes = bytes.saturating_add(t.footprint());
                list.push(t);
            }
            if bytes > MOST_BYTES {
                return Err(Error::limit(format!("the slices of the loop take more than {MOST_BYTES} bytes")));
            }
            round += 1;
        }
        rest.truncate(self.states);
        for (i, list) in collected.into_iter().enumerate() {
            rest.push(self.stacked(i, &list)?);
        }
        Ok(rest)
    }
}

impl Loop {
    /// Slices along a new first axis.
    fn stacked(&self, i: usize, list: &[Tensor]) -> Result<Tensor> {
        if list.is_empty() {
            let body = self.body.graph();
            let ty = body.ty(body.outputs()[1 + self.states + i]);
            let extents = ty.shape.iter().map(|d| d.known().unwrap_or(0));
            return Tensor::zeros(ty.dtype, &std::iter::once(0).chain(extents).collect::<Vec<_>>());
        }
        let front = Tensor::vector(&[0i64]);
        let unsqueeze = Op::from(Unsqueeze {});
        let parts: Result<Vec<Tensor>> =
            list.iter().map(|t| unsqueeze.eval(&[Some(t), Some(&front)], 1).map(|mut v| v.swap_remove(0))).collect();
        let parts = parts?;
        let operands: Vec<Option<&Tensor>> = parts.iter().map(Some).collect();
        let concat = Op::from(Concat { axis: 0 });
        super::operands::types(concat.operator(), &operands, 1)?;
        Ok(concat.eval(&operands, 1)?.swap_remove(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GraphBuilder;
    use crate::ops::attrs::Attributes;
    use crate::ops::elementwise::BinaryKind;

    /// Doubles a vector until it is longer than a number of rounds; gives the vector and the number of each round.
    fn doubling() -> Loop {
        let mut b = GraphBuilder::new("body");
        let round = b.input("round", DType::I64, vec![]);
        let go = b.input("go", DType::Bool, vec![]);
        let x = b.input("x", DType::F32, [Dim::symbol("n")]);
        let twice = b.op(Concat { axis: 0 }, &[x, x], "twice").unwrap();
        let one = b.scalar(1i64);
        let next = b.binary(BinaryKind::Add, round, one, "next").unwrap();
        for v in [go, twice, next] {
            b.output(v);
        }
        Loop { body: Body::new(b.finish().unwrap()), states: 1 }
    }

    #[test]
    fn states_may_grow_and_slices_are_stacked() {
        let x = Tensor::vector(&[1.0f32]);
        let out = doubling().eval(&[Some(&Tensor::scalar(3i64)), None, Some(&x)], 2).unwrap();
        assert_eq!(out[0].shape(), [8]);
        assert_eq!(out[1], Tensor::vector(&[1i64, 2, 3]));
        let none = doubling().eval(&[Some(&Tensor::scalar(0i64)), None, Some(&x)], 2).unwrap();
        assert_eq!((none[0].shape(), none[1].shape()), (&[1usize][..], &[0usize][..]));
    }

    #[test]
    fn bodies_come_back_from_the_file() {
        let op = doubling();
        let json = op.to_json();
        let read = || Loop::from_json(super::super::attrs::Fields::new(json.clone())).unwrap();
        assert_eq!(read().to_json(), json);
        assert_eq!(read(), read());
    }

    #[test]
    fn a_body_nested_too_deep_is_refused() {
        let mut v = serde_json::json!({"name": "b", "inputs": [], "nodes": [], "outputs": [], "constants": {}});
        for _ in 0..=Body::DEEPEST {
            v = serde_json::json!({"nodes": [{"op": "If", "attrs": {"yes": v}}]});
        }
        assert!(Body::from_json(&v).is_none());
    }

    #[test]
    fn a_loop_that_needs_another_type_is_an_error() {
        let (op, wrong) = (doubling(), Tensor::vector(&[1i64]));
        assert!(super::super::operands::types(&op, &[None, None, Some(&wrong)], 2).is_err());
    }
}
