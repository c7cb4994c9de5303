//! Constants, placeholders, variables, and operations that do nothing in inference.

use pocketnn::Tensor;

use super::attrs::missing;
use super::elem::Elem;
use super::graph::Slot;
use super::node::{Lowered, Node, V, Value, one};
use super::registry::{Row, op};
use super::signature::is_learning_phase;
use super::tensor::{Constant, decode};
use crate::error::{ImportError, Result};

pub(super) const ROWS: &[Row] = &[
    op("Assert", nothing),
    op("CheckNumerics", first_input),
    op("Const", constant),
    op("DisableCopyOnRead", nothing),
    op("EnsureShape", ensure_shape),
    op("Identity", first_input),
    op("IdentityN", all_inputs),
    op("NoOp", nothing),
    op("Placeholder", placeholder),
    op("PlaceholderV2", placeholder),
    op("PlaceholderWithDefault", placeholder_with_default),
    op("PreventGradient", first_input),
    op("Print", first_input),
    op("ReadVariableOp", read_variable),
    op("RefIdentity", first_input),
    op("Snapshot", first_input),
    op("StopGradient", first_input),
    op("VarHandleOp", variable_handle),
    op("VarIsInitializedOp", is_initialized),
    op("Variable", variable),
    op("VariableV2", variable),
];

fn nothing<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    cx.attrs.ignore(&["summarize"]);
    one(Value::Nothing)
}

fn first_input<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    cx.attrs.ignore(&["summarize", "first_n"]);
    one(cx.value(0)?.clone())
}

fn all_inputs<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    Ok(cx.inputs.iter().cloned().map(Slot::Value).collect())
}

fn ensure_shape<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    cx.attrs.ignore(&["shape"]);
    one(cx.value(0)?.clone())
}

fn constant<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let m = cx.attrs.tensor("value")?.ok_or_else(|| missing("value"))?;
    match decode(m, cx.walker.cx.meter, cx.walker.cx.budget)? {
        Constant::Numbers(elem, t) => one(cx.walker.constant(cx.base, elem, t)?),
        Constant::Text => one(Value::Text),
    }
}

fn truth(cx: &mut Node, x: bool) -> V {
    V { id: cx.tensor(Tensor::scalar(x)), elem: Elem::Bool }
}

fn placeholder<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    cx.attrs.ignore(&["shape"]);
    if is_learning_phase(cx.node) {
        let off = truth(cx, false);
        let elem = cx.attrs.elem("dtype")?.unwrap_or(Elem::Bool);
        return one(cx.typed(off.id, elem)?);
    }
    Err(ImportError::invalid("the outputs depend on this input, which is not fed").help("add it with --feed"))
}

/// The default is taken; a placeholder that is to be an input is named with `--feed`.
fn placeholder_with_default<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    cx.attrs.ignore(&["shape"]);
    one(cx.value(0)?.clone())
}

fn variable_handle<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    cx.attrs.ignore(&["shape", "shared_name", "allowed_devices"]);
    one(Value::Variable(cx.node))
}

fn is_initialized<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let yes = truth(cx, true);
    one(yes)
}

fn read_variable<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    one(stored(cx, 0)?)
}

/// The value of the variable that input `i` is.
pub(super) fn stored(cx: &mut Node, i: usize) -> Result<V> {
    match cx.value(i)? {
        Value::Variable(node) => {
            let node = *node;
            load(cx, node)
        }
        // A frozen graph has constants where the variables were.
        Value::Tensor(v) => Ok(*v),
        _ => Err(ImportError::invalid(format!("input {i} is no variable"))),
    }
}

fn load<'m>(cx: &mut Node<'_, 'm>, node: &'m super::proto::NodeDef<'m>) -> Result<V> {
    if let Some(v) = cx.walker.variables.get(node.name) {
        return Ok(*v);
    }
    let variables = cx.walker.cx.variables.ok_or_else(|| {
        ImportError::invalid("the graph is not frozen: the value of a variable is not in the file")
            .found(node.name)
            .help("import the SavedModel, or freeze the graph (convert_variables_to_constants)")
    })?;
    let attrs = super::attrs::Attrs::new(&node.attrs, cx.walker.cx.meter);
    let (elem, t) = variables.read(node, attrs.string("shared_name", "")?).map_err(|e| e.at_node(node.name))?;
    let v = cx.walker.constant(node.name, elem, t)?;
    cx.walker.variables.insert(node.name, v);
    Ok(v)
}

/// A variable of TensorFlow 1, which is its value.
fn variable<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    cx.attrs.ignore(&["shape", "shared_name"]);
    let node = cx.node;
    one(load(cx, node)?)
}
