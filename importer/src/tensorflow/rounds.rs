//! Loops whose number of rounds is decided while running: a [`Loop`] with the body as a graph of its own.
//!
//! Functions see nothing but their arguments, so the body needs nothing of the graph around it but the states. A state that is a constant and
//! that the body hands on unchanged is a constant in the body too, so that weights stay weights.

use std::collections::{HashMap, HashSet};

use pocketnn::ops::control::{Body, Loop};
use pocketnn::ops::movement::Identity;
use pocketnn::{DType, Dim, GraphBuilder, Tensor, ValueId};

use super::elem::Elem;
use super::graph::{Slot, values};
use super::node::{Lowered, Node, V, Value, first, runtime};
use crate::error::{ImportError, Result};

/// What a state is in the body.
enum State<'m> {
    /// The same constant in every round, as it is stored.
    Constant { elem: Elem, t: Tensor },
    /// A tensor of this type; an extent that changes from round to round is `None`.
    Tensor { elem: Elem, dtype: DType, dims: Vec<Option<Dim>> },
    /// No tensor: it is handed on.
    Other(Value<'m>),
}

/// What a try gave.
enum Tried {
    /// The element types of the states that are tensors.
    Done(Vec<Elem>),
    /// A state has to be wider.
    Again,
    /// Something in it is not supported, which is noted.
    Lost,
}

/// The loop from this state on; `go` is the first condition.
pub(super) fn looped<'m>(
    cx: &mut Node<'_, 'm>,
    condition: &'m str,
    body: &'m str,
    go: V,
    state: Vec<Value<'m>>,
) -> Result<Lowered<'m>> {
    let mut states = Vec::with_capacity(state.len());
    for value in &state {
        states.push(match value {
            Value::Tensor(v) => {
                let stored = cx.walker.half_source(v.id).unwrap_or(v.id);
                match cx.walker.builder.constant_of(stored) {
                    Some(t) => State::Constant { elem: v.elem, t: t.clone() },
                    None => carried(cx, *v),
                }
            }
            Value::Variable(_) | Value::Text | Value::Nothing => State::Other(value.clone()),
            Value::List(_) | Value::Phases(_) => return Err(undecided("and that keeps a list of tensors")),
        });
    }
    // Each try opens an extent or makes a constant a state.
    for _ in 0..64 {
        let report = cx.walker.report.clone();
        let outer = cx.walker.enter_body();
        let tried = filled(cx, condition, body, &mut states);
        let inner = cx.walker.leave_body(outer);
        match tried? {
            Tried::Done(elems) => return finished(cx, inner, elems, go, &state, &states),
            Tried::Again => cx.walker.report = report,
            Tried::Lost => return Ok(vec![Slot::Lost]),
        }
    }
    Err(undecided("and whose states change their types in every round"))
}

fn undecided(what: &str) -> ImportError {
    ImportError::unsupported(format!("a loop whose number of rounds is computed while running {what} is not supported"))
        .help("give the inputs and dimensions that decide it fixed values, such as the number of steps")
}

/// A tensor as a state.
fn carried<'m>(cx: &Node<'_, 'm>, v: V) -> State<'m> {
    let ty = cx.walker.builder.ty(v.id);
    State::Tensor { elem: v.elem, dtype: ty.dtype, dims: ty.shape.iter().cloned().map(Some).collect() }
}

/// Lowers the body for states of these types.
fn filled<'m>(cx: &mut Node<'_, 'm>, condition: &'m str, body: &'m str, states: &mut [State<'m>]) -> Result<Tried> {
    let mut symbols: HashMap<Dim, Dim> = HashMap::new();
    let mut inputs = HashSet::new();
    cx.walker.builder.input("round", DType::I64, vec![]);
    cx.walker.builder.input("go", DType::Bool, vec![]);
    let mut given: Vec<Value<'m>> = Vec::with_capacity(states.len());
    let mut declared = Vec::with_capacity(states.len());
    for (i, s) in states.iter().enumerate() {
        let (value, dims) = match s {
            State::Constant { elem, t } => {
                (cx.walker.constant(&format!("state{i}"), *elem, t.clone())?.into(), Vec::new())
            }
            State::Other(value) => (value.clone(), Vec::new()),
            State::Tensor { elem, dtype, dims } => {
                let mut extents = Vec::with_capacity(dims.len());
                for (k, d) in dims.iter().enumerate() {
                    extents.push(match d {
                        None => Dim::symbol(&format!("s{i}.{k}")),
                        Some(d) if d.known().is_some() => d.clone(),
                        Some(d) => {
                            let next = symbols.len();
                            symbols.entry(d.clone()).or_insert_with(|| Dim::symbol(&format!("d{next}"))).clone()
                        }
                    });
                }
                let id = cx.walker.builder.input(&format!("state{i}"), *dtype, extents.clone());
                inputs.insert(id);
                (V { id, elem: *elem }.into(), extents)
            }
        };
        given.push(value);
        declared.push(dims);
    }
    let Some(next) = values(cx.walker.call(body, given.clone())?) else { return Ok(Tried::Lost) };
    if next.len() != states.len() {
        return Err(ImportError::invalid("the body of a loop gives another number of states")
            .expected(states.len())
            .found(next.len()));
    }
    let mut changed = false;
    let (mut results, mut elems) = (Vec::new(), Vec::new());
    for (((s, before), after), dims) in states.iter_mut().zip(&given).zip(&next).zip(&declared) {
        match (&mut *s, before, after) {
            (State::Constant { .. }, Value::Tensor(a), Value::Tensor(b)) if a.id == b.id => {}
            (State::Constant { .. }, Value::Tensor(a), Value::Tensor(_)) => {
                *s = carried(cx, *a);
                changed = true;
            }
            (State::Tensor { elem, dtype, dims: open }, _, Value::Tensor(v)) => {
                let ty = cx.walker.builder.ty(v.id);
                if ty.dtype != *dtype || ty.shape.len() != open.len() {
                    return Err(undecided("and whose states change their element type or rank").found(ty));
                }
                for ((open, made), declared) in open.iter_mut().zip(&ty.shape).zip(dims) {
                    if open.is_some() && made != declared {
                        *open = None;
                        changed = true;
                    }
                }
                results.push(v.id);
                elems.push(*elem);
            }
            (State::Other(_), Value::Variable(a), Value::Variable(b)) if a.name == b.name => {}
            (State::Other(_), Value::Text, Value::Text) | (State::Other(_), Value::Nothing, Value::Nothing) => {}
            _ => return Err(undecided("and whose states are no tensors")),
        }
    }
    if changed {
        return Ok(Tried::Again);
    }
    let go = match cx.walker.call(condition, next)?.into_iter().next() {
        Some(Slot::Value(Value::Tensor(v))) => v,
        Some(Slot::Lost) => return Ok(Tried::Lost),
        _ => return Err(ImportError::invalid("the condition of a loop gives no truth value")),
    };
    let go = truth(cx, go)?;
    let mut seen = HashSet::new();
    for id in std::iter::once(go).chain(results) {
        // An output of its own: neither an input nor a constant, and none twice.
        let plain = inputs.contains(&id) || cx.walker.builder.constant_of(id).is_some() || !seen.insert(id);
        let id = if plain { first(&cx.emit(Identity::default(), &[Some(id)], 1)?)? } else { id };
        cx.walker.builder.output(id);
    }
    Ok(Tried::Done(elems))
}

/// One truth value.
fn truth(cx: &mut Node, v: V) -> Result<ValueId> {
    let v = cx.reshape(v, &[])?;
    cx.convert(v.id, DType::Bool)
}

/// The node with its outputs.
fn finished<'m>(
    cx: &mut Node<'_, 'm>,
    body: GraphBuilder,
    elems: Vec<Elem>,
    go: V,
    state: &[Value<'m>],
    states: &[State<'m>],
) -> Result<Lowered<'m>> {
    let body = body.finish().map_err(|e| runtime(&e))?;
    let go = truth(cx, go)?;
    let mut inputs = vec![None, Some(go)];
    for (value, s) in state.iter().zip(states) {
        if let (Value::Tensor(v), State::Tensor { .. }) = (value, s) {
            inputs.push(Some(v.id));
        }
    }
    let count = elems.len();
    let ids = cx.emit(Loop { states: count, body: Body::new(body) }, &inputs, count)?;
    let mut results = ids.into_iter().zip(elems).map(|(id, elem)| Value::from(V { id, elem }));
    let last = |(value, s): (&Value<'m>, &State<'m>)| match s {
        State::Tensor { .. } => results.next().map_or(Slot::Lost, Slot::Value),
        _ => Slot::Value(value.clone()),
    };
    Ok(state.iter().zip(states).map(last).collect())
}
