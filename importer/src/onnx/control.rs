//! Control flow.
//!
//! What is known while importing is decided there: a condition chooses its branch, a loop is unrolled. Where a condition is not known but
//! both branches give tensors of one type and known extents, both are computed and one is chosen. Everything else becomes an [`If`] or
//! [`Loop`] of the graph, whose bodies run when the graph does.

use pocketnn::ops::control::{Body, If, Loop};
use pocketnn::ops::elementwise::Where;
use pocketnn::ops::list::List;
use pocketnn::ops::movement::{Concat, Unsqueeze};
use pocketnn::{DType, Dim, Tensor, ValueId};

use super::elem::Elem;
use super::list::{Item, Items, ListValue, known};
use super::node::{Lowered, Node, V, Value, runtime};
use super::proto::Graph;
use super::registry::{Row, op};
use super::scope::OpenBody;
use crate::error::{ErrorKind, ImportError, Result};

pub(super) const ROWS: &[Row] =
    &[op("If", &[1, 11, 13, 16, 19, 21, 23, 24, 25], branch), op("Loop", &[1, 11, 13, 16, 19, 21, 23, 24, 25], repeat)];

/// Tries a way of lowering; what it added is forgotten when it is not supported.
fn attempt<T>(cx: &mut Node, f: impl FnOnce(&mut Node) -> Result<T>) -> Result<Option<T>> {
    let mark = cx.walker.mark();
    match f(cx) {
        Ok(out) => Ok(Some(out)),
        Err(e) if e.kind() == ErrorKind::Unsupported => {
            cx.walker.restore(mark);
            Ok(None)
        }
        Err(e) => Err(e),
    }
}

fn branch(cx: &mut Node) -> Result<Lowered> {
    let condition = cx.input(0)?;
    let (yes, no) = (cx.attrs.graph("then_branch")?, cx.attrs.graph("else_branch")?);
    let env = cx.env;
    if let Some(c) = known(cx, condition) {
        return cx.walker.subgraph(if c != 0 { yes } else { no }, env, Vec::new());
    }
    if let Some(out) = attempt(cx, |cx| both(cx, condition, yes, no))? {
        return Ok(out);
    }
    decided(cx, condition, yes, no)
}

/// Both branches, and a choice between their results.
fn both(cx: &mut Node, condition: V, yes: &Graph, no: &Graph) -> Result<Lowered> {
    let env = cx.env;
    let a = cx.walker.subgraph(yes, env, Vec::new())?;
    let b = cx.walker.subgraph(no, env, Vec::new())?;
    if a.len() != b.len() {
        return Err(different(a.len(), b.len()));
    }
    let undecided = || ImportError::unsupported("the branches give values of different types");
    let mut out = Vec::with_capacity(a.len());
    for (a, b) in a.into_iter().zip(b) {
        let (Value::Tensor(a), Value::Tensor(b)) = (a, b) else { return Err(undecided()) };
        if a.elem != b.elem || cx.shape(a) != cx.shape(b) {
            return Err(undecided());
        }
        let scalar = cx.reshape(condition, &[])?;
        out.push(cx.op(Where::default(), &[scalar.id, a.id, b.id], a.elem)?.into());
    }
    Ok(out)
}

fn different(a: usize, b: usize) -> ImportError {
    ImportError::invalid("the branches have different numbers of outputs").expected(a).found(b)
}

/// What a value of a body is outside of it.
#[derive(Clone, Debug)]
enum Kind {
    Tensor(Elem),
    List(Items, Box<Item>),
}

impl Kind {
    fn joined(&self, other: &Kind) -> Result<Kind> {
        match (self, other) {
            (Kind::Tensor(a), Kind::Tensor(b)) if a == b => Ok(self.clone()),
            (Kind::List(k, a), Kind::List(l, b)) if k == l => Ok(Kind::List(*k, Box::new(a.joined(b)?))),
            _ => Err(ImportError::unsupported("a value that is of different types is not supported")),
        }
    }

    fn value(self, id: ValueId) -> Value {
        match self {
            Kind::Tensor(elem) => Value::Tensor(V { id, elem }),
            Kind::List(items, item) => Value::List(ListValue { id, items, item }),
        }
    }
}

/// A value as one value of the graph.
fn single(cx: &mut Node, value: &Value) -> Result<(ValueId, Kind)> {
    if let Value::Tensor(v) = value {
        return Ok((v.id, Kind::Tensor(v.elem)));
    }
    let list = cx.walker.listed(value)?;
    Ok((list.id, Kind::List(list.items, list.item)))
}

/// A branch as a body.
fn body_of(cx: &mut Node, g: &Graph) -> Result<(OpenBody, Vec<Kind>)> {
    cx.walker.open_body();
    let env = cx.env;
    let made = cx
        .walker
        .subgraph(g, env, Vec::new())
        .and_then(|out| out.iter().map(|v| single(cx, v)).collect::<Result<Vec<_>>>());
    let body = cx.walker.close_body();
    let (mut body, made) = (body.ok_or_else(|| ImportError::invalid("a body that was not begun"))?, made?);
    let mut kinds = Vec::with_capacity(made.len());
    for (id, kind) in made {
        body.builder.output(id);
        kinds.push(kind);
    }
    Ok((body, kinds))
}

/// A branch that is chosen while running.
fn decided(cx: &mut Node, condition: V, yes: &Graph, no: &Graph) -> Result<Lowered> {
    let (mut a, kinds) = body_of(cx, yes)?;
    let (mut b, others) = body_of(cx, no)?;
    if kinds.len() != others.len() {
        return Err(different(kinds.len(), others.len()));
    }
    let mut order: Vec<ValueId> = a.scope.captures.iter().map(|c| c.0).collect();
    for c in &b.scope.captures {
        if !order.contains(&c.0) {
            order.push(c.0);
        }
    }
    a.take(&order, &cx.walker.builder, 0)?;
    b.take(&order, &cx.walker.builder, 0)?;
    let op = If { yes: finished(a)?, no: finished(b)? };
    let inputs: Vec<Option<ValueId>> = std::iter::once(condition.id).chain(order).map(Some).collect();
    let ids = cx.emit(op, &inputs, kinds.len())?;
    ids.into_iter().zip(kinds).zip(others).map(|((id, a), b)| Ok(a.joined(&b)?.value(id))).collect()
}

fn finished(body: OpenBody) -> Result<Body> {
    body.builder.finish().map(Body::new).map_err(|e| runtime(&e))
}

fn repeat(cx: &mut Node) -> Result<Lowered> {
    let body = cx.attrs.graph("body")?;
    let carried =
        cx.len().checked_sub(2).ok_or_else(|| ImportError::invalid("a loop needs a trip count and a condition"))?;
    let scans = body.outputs.len().checked_sub(carried.saturating_add(1)).ok_or_else(|| {
        ImportError::invalid("the body has too few outputs")
            .expected(carried.saturating_add(1))
            .found(body.outputs.len())
    })?;
    let mut state: Vec<Value> = Vec::with_capacity(carried);
    for i in 2..cx.len() {
        state.push(cx.value(i).cloned().ok_or_else(|| ImportError::invalid(format!("input {i} is missing")))?);
    }
    if let Some(out) = attempt(cx, |cx| unrolled(cx, body, state.clone(), scans))? {
        return Ok(out);
    }
    let (rounds, go) = (cx.maybe(0)?, cx.maybe(1)?);
    let rounds = match rounds {
        Some(v) => Some(cx.as_i64(v)?),
        None => None,
    };
    looped(cx, rounds, go.map(|v| v.id), state, &mut |cx, round, state| {
        let on = cx.tensor(Tensor::scalar(true));
        let mut inputs = vec![round.into(), V { id: on, elem: Elem::Bool }.into()];
        inputs.extend(state);
        let env = cx.env;
        let mut out = cx.walker.subgraph(body, env, inputs)?.into_iter();
        let Some(Value::Tensor(go)) = out.next() else {
            return Err(ImportError::invalid("the body's first output must be a truth value"));
        };
        let state = out.by_ref().take(carried).collect();
        Ok(Round { go: Some(go), state, slices: tensors(out)? })
    })
}

/// A loop of known course, round by round.
fn unrolled(cx: &mut Node, body: &Graph, mut state: Vec<Value>, scans: usize) -> Result<Lowered> {
    let carried = state.len();
    let rounds = match cx.maybe(0)? {
        None => None,
        Some(v) => Some(known(cx, v).ok_or_else(unknown_course)?),
    };
    let mut go = match cx.maybe(1)? {
        None => true,
        Some(v) => known(cx, v).ok_or_else(unknown_course)? != 0,
    };
    let mut slices: Vec<Vec<V>> = vec![Vec::new(); scans];
    let mut round = 0i64;
    while go && rounds.is_none_or(|n| round < n) {
        cx.walker.count_op()?;
        let number = cx.tensor(Tensor::scalar(round));
        let proceed = cx.tensor(Tensor::scalar(true));
        let mut inputs = vec![V { id: number, elem: Elem::I64 }.into(), V { id: proceed, elem: Elem::Bool }.into()];
        inputs.append(&mut state);
        let env = cx.env;
        let mut out = cx.walker.subgraph(body, env, inputs)?.into_iter();
        let Some(Value::Tensor(next)) = out.next() else {
            return Err(ImportError::invalid("the body's first output must be a truth value"));
        };
        state.extend(out.by_ref().take(carried));
        collect(&mut slices, out)?;
        round = round.saturating_add(1);
        if rounds.is_none_or(|n| round < n) {
            go = known(cx, next).ok_or_else(unknown_course)? != 0;
        }
    }
    stacked(cx, state, slices, &[], body)
}

fn unknown_course() -> ImportError {
    ImportError::unsupported("the number of rounds is computed while running")
}

pub(super) fn tensors(values: impl Iterator<Item = Value>) -> Result<Vec<V>> {
    let tensor = |v| match v {
        Value::Tensor(v) => Ok(v),
        _ => Err(ImportError::invalid("a slice to stack must be a tensor")),
    };
    values.map(tensor).collect()
}

pub(super) fn collect(slices: &mut [Vec<V>], out: impl Iterator<Item = Value>) -> Result<()> {
    slices.iter_mut().zip(tensors(out)?).for_each(|(list, v)| list.push(v));
    Ok(())
}

/// The last states, then the slices of each scanned output joined along its axis.
pub(super) fn stacked(
    cx: &mut Node,
    state: Vec<Value>,
    slices: Vec<Vec<V>>,
    axes: &[(i64, bool)],
    body: &Graph,
) -> Result<Lowered> {
    let mut out = state;
    for (i, mut list) in slices.into_iter().enumerate() {
        let (axis, reverse) = axes.get(i).copied().unwrap_or((0, false));
        if reverse {
            list.reverse();
        }
        let Some(first) = list.first().copied() else {
            return Err(
                ImportError::unsupported("a loop of no rounds with scanned outputs is not supported").found(&body.name)
            );
        };
        let at = cx.integers(&[axis]);
        let mut parts = Vec::with_capacity(list.len());
        for v in list {
            parts.push(cx.op(Unsqueeze::default(), &[v.id, at], v.elem)?.id);
        }
        out.push(cx.op(Concat { axis }, &parts, first.elem)?.into());
    }
    Ok(out)
}

/// What a round of a loop gives.
pub(super) struct Round {
    /// Whether to go on; absent: always.
    pub go: Option<V>,
    pub state: Vec<Value>,
    pub slices: Vec<V>,
}

/// The type of a state inside the body.
#[derive(Clone, Debug)]
struct State {
    dtype: DType,
    /// `None`: another one in every round.
    dims: Vec<Option<Dim>>,
    kind: Kind,
}

/// One round: the number of the round and the states, as values of the body.
pub(super) type Step<'s> = dyn FnMut(&mut Node, V, Vec<Value>) -> Result<Round> + 's;

/// A loop that runs when the graph does. Dimensions that a round changes are found by trying: a state starts with its first type, and what
/// the body gives otherwise is left open.
pub(super) fn looped(
    cx: &mut Node,
    rounds: Option<ValueId>,
    go: Option<ValueId>,
    state: Vec<Value>,
    step: &mut Step,
) -> Result<Lowered> {
    let mut first = Vec::with_capacity(state.len());
    let mut states = Vec::with_capacity(state.len());
    for value in &state {
        let (id, kind) = single(cx, value)?;
        let ty = cx.walker.builder.ty(id);
        let dims = if let Kind::List(..) = kind { vec![None] } else { ty.shape.iter().cloned().map(Some).collect() };
        states.push(State { dtype: ty.dtype, dims, kind });
        first.push(id);
    }
    // Each try opens a dimension or widens an item at least.
    for _ in 0..64 {
        let (body, slices, changed) = tried(cx, &mut states, step)?;
        if changed {
            continue;
        }
        let captures = body.scope.captures.iter().map(|c| Some(c.0));
        let inputs: Vec<Option<ValueId>> =
            [rounds, go].into_iter().chain(first.iter().copied().map(Some)).chain(captures).collect();
        let op = Loop { states: states.len(), body: finished(body)? };
        let ids = cx.emit(op, &inputs, states.len().saturating_add(slices.len()))?;
        let kinds = states.into_iter().map(|s| s.kind).chain(slices.into_iter().map(Kind::Tensor));
        return Ok(ids.into_iter().zip(kinds).map(|(id, kind)| kind.value(id)).collect());
    }
    Err(ImportError::unsupported("a loop whose states change their types in every round is not supported"))
}

/// The body for states of these types, the types of its slices, and whether a state has to be widened for it.
fn tried(cx: &mut Node, states: &mut [State], step: &mut Step) -> Result<(OpenBody, Vec<Elem>, bool)> {
    cx.walker.open_body();
    let made = filled(cx, states, step);
    let body = cx.walker.close_body();
    let (mut body, (outputs, slices, changed)) =
        (body.ok_or_else(|| ImportError::invalid("a body that was not begun"))?, made?);
    outputs.into_iter().for_each(|id| body.builder.output(id));
    Ok((body, slices, changed))
}

fn filled(cx: &mut Node, states: &mut [State], step: &mut Step) -> Result<(Vec<ValueId>, Vec<Elem>, bool)> {
    let round = cx.walker.builder.input("round", DType::I64, vec![]);
    cx.walker.builder.input("go", DType::Bool, vec![]);
    let mut given = Vec::with_capacity(states.len());
    let mut declared = Vec::with_capacity(states.len());
    for (i, s) in states.iter().enumerate() {
        let open = |k: usize| Dim::symbol(&format!("s{i}.{k}"));
        let dims: Vec<Dim> = s
            .dims
            .iter()
            .enumerate()
            .map(|(k, d)| d.as_ref().map_or_else(|| open(k), |d| cx.walker.scope.dim(d)))
            .collect();
        let id = cx.walker.builder.input(&format!("state{i}"), s.dtype, dims.clone());
        cx.walker.scope.inputs.insert(id);
        declared.push(dims);
        given.push(s.kind.clone().value(id));
    }
    let made = step(cx, V { id: round, elem: Elem::I64 }, given)?;
    if made.state.len() != states.len() {
        return Err(ImportError::invalid("the body gives another number of states")
            .expected(states.len())
            .found(made.state.len()));
    }
    let go = match made.go {
        Some(v) => v.id,
        None => cx.tensor(Tensor::scalar(true)),
    };
    let mut outputs = vec![go];
    let mut changed = false;
    for ((s, value), dims) in states.iter_mut().zip(&made.state).zip(&declared) {
        let (mut id, mut kind) = single(cx, value)?;
        if let (Kind::List(Items::Optional, _), Kind::List(Items::Sequence, _) | Kind::Tensor(_)) = (&s.kind, &kind) {
            // A value where an optional is carried is one that is there.
            let (inner, item) = cx.walker.element(value)?;
            id = cx.walker.add(List::default(), &[inner], "optional")?;
            kind = Kind::List(Items::Optional, Box::new(item));
        }
        changed |= widened(cx, s, id, &kind, dims)?;
        outputs.push(id);
    }
    outputs.extend(made.slices.iter().map(|v| v.id));
    Ok((outputs, made.slices.iter().map(|v| v.elem).collect(), changed))
}

/// Widens a state so that it takes what a round gave for it; true when that was needed.
fn widened(cx: &Node, s: &mut State, id: ValueId, kind: &Kind, declared: &[Dim]) -> Result<bool> {
    let joined = s.kind.joined(kind)?;
    let mut changed = match (&joined, &s.kind) {
        (Kind::List(_, a), Kind::List(_, b)) => a != b,
        _ => false,
    };
    s.kind = joined;
    if let Kind::List(..) = s.kind {
        return Ok(changed);
    }
    let ty = cx.walker.builder.ty(id);
    if ty.dtype != s.dtype || ty.shape.len() != s.dims.len() {
        return Err(ImportError::unsupported("a state that changes its element type or rank is not supported")
            .expected(format!("{} of rank {}", s.dtype, s.dims.len()))
            .found(ty));
    }
    for ((dim, made), declared) in s.dims.iter_mut().zip(&ty.shape).zip(declared) {
        if dim.is_some() && made != declared {
            *dim = None;
            changed = true;
        }
    }
    Ok(changed)
}
