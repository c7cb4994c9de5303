//! Control flow whose course is known while importing, and variables.
//!
//! A loop whose number of rounds follows from constants and shapes is unrolled; a condition that is known chooses its branch. Where
//! it is not known but both branches give tensors of one type, both are computed and one is chosen: branches have no
//! effects but on variables.
//!
//! A variable holds what was last assigned to it, in the order of the file, starting with what a graph that is called once assigns.
//! What would have to be remembered from one run to the next is refused.

use pocketnn::ValueId;
use pocketnn::ops::elementwise::Where;

use super::node::{Lowered, Node, Value, one};
use super::registry::{Row, moves};
use crate::error::{ImportError, Result};

pub(super) const ROWS: &[Row] = &[
    moves("ASSIGN_VARIABLE", assign),
    moves("CALL", call),
    moves("CALL_ONCE", call_once),
    moves("IF", branch),
    moves("READ_VARIABLE", read),
    moves("STABLEHLO_COMPOSITE", composite),
    moves("VAR_HANDLE", handle),
    moves("WHILE", repeat),
];

/// The number of a graph in a field of the options.
fn graph(cx: &Node, field: usize) -> Result<usize> {
    cx.options.size(field, 0)
}

/// All operands from `start` on.
fn operands(cx: &Node, start: usize) -> Result<Vec<Value>> {
    let one = |i: usize| {
        let value = cx.inputs.get(i).cloned().flatten();
        value.ok_or_else(|| ImportError::invalid(format!("input {i} is missing")))
    };
    (start..cx.len()).map(one).collect()
}

/// A truth value that is known while importing.
fn known(cx: &Node, value: &Value) -> Option<bool> {
    let Value::Tensor(v) = value else { return None };
    match cx.ints(*v)?.as_slice() {
        [x] => Some(*x != 0),
        _ => None,
    }
}

fn call(cx: &mut Node) -> Result<Lowered> {
    let inputs = operands(cx, 0)?;
    cx.walker.call(graph(cx, 0)?, inputs)
}

/// A graph that runs once, before the first run: it assigns variables.
fn call_once(cx: &mut Node) -> Result<Lowered> {
    cx.walker.call(graph(cx, 0)?, Vec::new())?;
    cx.walker.read.clear();
    Ok(Vec::new())
}

/// An operation made of a graph of others.
fn composite(cx: &mut Node) -> Result<Lowered> {
    cx.options.ignore(&[0, 2, 3, 4]);
    let inputs = operands(cx, 0)?;
    cx.walker.call(graph(cx, 1)?, inputs)
}

fn branch(cx: &mut Node) -> Result<Lowered> {
    let (yes, no) = (graph(cx, 0)?, graph(cx, 1)?);
    let condition = cx.input(0)?;
    let inputs = operands(cx, 1)?;
    if let Some(c) = known(cx, &Value::Tensor(condition)) {
        return cx.walker.call(if c { yes } else { no }, inputs);
    }
    let before = cx.walker.variables.clone();
    let a = cx.walker.call(yes, inputs.clone())?;
    let b = cx.walker.call(no, inputs)?;
    if cx.walker.variables != before {
        return Err(ImportError::unsupported("a branch chosen while running that assigns a variable is not supported"));
    }
    if a.len() != b.len() {
        return Err(ImportError::invalid("the branches have different numbers of outputs")
            .expected(a.len())
            .found(b.len()));
    }
    let scalar = cx.reshape(condition, &[])?;
    a.into_iter().zip(b).map(|(a, b)| chosen(cx, scalar, &a, &b)).collect()
}

/// The value of the branch that the condition chooses.
fn chosen(cx: &mut Node, condition: ValueId, a: &Value, b: &Value) -> Result<Value> {
    if a == b {
        return Ok(a.clone());
    }
    if let (Value::Tensor(a), Value::Tensor(b)) = (a, b)
        && cx.dtype(*a) == cx.dtype(*b)
        && cx.shape(*a) == cx.shape(*b)
    {
        return Ok(Value::Tensor(cx.op(Where::default(), &[condition, *a, *b])?));
    }
    Err(ImportError::unsupported(
        "a condition computed while running, whose branches give different types, is not supported",
    ))
}

fn repeat(cx: &mut Node) -> Result<Lowered> {
    let (condition, body) = (graph(cx, 0)?, graph(cx, 1)?);
    let mut state = operands(cx, 0)?;
    loop {
        cx.walker.count_op()?;
        let go = cx.walker.call(condition, state.clone())?;
        let go = go.first().and_then(|g| known(cx, g)).ok_or_else(|| {
            ImportError::unsupported("a loop whose number of rounds is computed while running is not supported")
                .help("give the inputs and dimensions that decide it fixed values (--dim)")
        })?;
        if !go {
            return Ok(state);
        }
        state = cx.walker.call(body, state)?;
    }
}

fn handle(cx: &mut Node) -> Result<Lowered> {
    let (container, name) = (cx.options.text(0)?, cx.options.text(1)?);
    Ok(vec![Value::Resource(format!("{container}/{name}"))])
}

/// The variable that an operand names.
fn variable(cx: &Node) -> Result<String> {
    match cx.inputs.first().and_then(Option::as_ref) {
        Some(Value::Resource(name)) => Ok(name.clone()),
        _ => Err(ImportError::invalid("input 0 is no handle of a variable")),
    }
}

fn keeps_state(name: &str) -> ImportError {
    ImportError::unsupported("a variable keeps a state from one run to the next, which is not supported")
        .found(format!("`{name}`"))
        .help("export the state as an input and an output")
}

fn read(cx: &mut Node) -> Result<Lowered> {
    let name = variable(cx)?;
    let value = cx.walker.variables.get(&name).copied();
    cx.walker.read.insert(name.clone());
    one(value.ok_or_else(|| keeps_state(&name))?)
}

fn assign(cx: &mut Node) -> Result<Lowered> {
    let (name, value) = (variable(cx)?, cx.input(1)?);
    if cx.walker.read.contains(&name) {
        return Err(keeps_state(&name));
    }
    cx.walker.variables.insert(name, value);
    Ok(Vec::new())
}
