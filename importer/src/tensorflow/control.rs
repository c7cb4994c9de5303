//! Control flow, decided while importing where it can be: the branch of a constant condition is taken, loops whose rounds are known are unrolled.

use pocketnn::ops::elementwise::Where;

use super::graph::Slot;
use super::node::{Lowered, Node, V, Value};
use super::registry::{Row, multi, op};
use crate::error::{ImportError, Result};

pub(super) const ROWS: &[Row] = &[
    op("Case", case),
    op("Exit", leave),
    op("If", branch),
    multi("Merge", &["output", "value_index"], merge),
    op("RefExit", leave),
    multi("RefMerge", &["output", "value_index"], merge),
    multi("RefSwitch", &["output_false", "output_true"], switch),
    op("StatelessCase", case),
    op("StatelessIf", branch),
    op("StatelessWhile", repeat),
    multi("Switch", &["output_false", "output_true"], switch),
    op("While", repeat),
];

/// What a loop of TensorFlow 1 gives.
fn leave<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    Ok(vec![Slot::Value(cx.value(0)?.clone())])
}

/// The walker merges branches, as it knows which are alive.
fn merge<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    Ok(vec![Slot::Value(cx.value(0)?.clone())])
}

/// The value of a constant condition: any number but 0 is true.
fn known(cx: &mut Node, v: V) -> Option<bool> {
    let t = cx.constant(v)?;
    if t.len() == 1 { t.to_f64().first().map(|&x| x != 0.0) } else { None }
}

fn switch<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let condition = cx.input(1)?;
    let value = Slot::Value(cx.value(0)?.clone());
    match known(cx, condition) {
        Some(true) => Ok(vec![Slot::Dead, value]),
        Some(false) => Ok(vec![value, Slot::Dead]),
        None => Err(ImportError::unsupported("a branch that is chosen by data is not supported")
            .help("fix what decides it, such as the placeholder of the learning phase, before freezing the graph")),
    }
}

fn branch<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    cx.attrs.ignore(&["output_shapes"]);
    let condition = cx.input(0)?;
    let (yes, no) = (cx.attrs.function("then_branch")?, cx.attrs.function("else_branch")?);
    let inputs: Vec<Value<'m>> = cx.inputs.iter().skip(1).cloned().collect();
    if let Some(c) = known(cx, condition) {
        return cx.walker.call(if c { yes } else { no }, inputs);
    }
    let a = cx.walker.call(yes, inputs.clone())?;
    let b = cx.walker.call(no, inputs)?;
    if a.len() != b.len() {
        return Err(ImportError::invalid("the branches have different numbers of outputs")
            .expected(a.len())
            .found(b.len()));
    }
    let mut out = Vec::with_capacity(a.len());
    for (a, b) in a.into_iter().zip(b) {
        out.push(match (a, b) {
            (Slot::Lost, _) | (_, Slot::Lost) => Slot::Lost,
            (Slot::Value(Value::Tensor(a)), Slot::Value(Value::Tensor(b))) => {
                if a.elem != b.elem || cx.shape(a) != cx.shape(b) {
                    return Err(undecided());
                }
                let scalar = cx.reshape(condition, &[])?;
                Slot::Value(cx.op(Where::default(), &[scalar.id, a.id, b.id], a.elem)?.into())
            }
            (Slot::Value(Value::Nothing), Slot::Value(Value::Nothing)) => Slot::Value(Value::Nothing),
            _ => return Err(undecided()),
        });
    }
    Ok(out)
}

fn undecided() -> ImportError {
    ImportError::unsupported(
        "a condition computed while running, whose branches give different types, is not supported",
    )
    .help("give the inputs and dimensions that decide it fixed values")
}

fn case<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let branches = cx.attrs.functions("branches")?;
    let at = cx.need_int(0, "the number of the branch")?;
    // Numbers outside mean the last branch.
    let at = usize::try_from(at).ok().filter(|&i| i < branches.len()).unwrap_or(branches.len().saturating_sub(1));
    let chosen = branches.get(at).copied().ok_or_else(|| ImportError::invalid("no branches"))?;
    let inputs: Vec<Value<'m>> = cx.inputs.iter().skip(1).cloned().collect();
    cx.walker.call(chosen, inputs)
}

/// Condition and body: attributes, or those of a loop of TensorFlow 1.
fn functions<'m>(cx: &Node<'_, 'm>) -> Result<(&'m str, &'m str)> {
    match cx.node.functions.as_slice() {
        &[condition, body] => Ok((condition, body)),
        _ => Ok((cx.attrs.function("cond")?, cx.attrs.function("body")?)),
    }
}

/// Rounds until the condition is false. What is known of the state is computed while importing, so counters are constants; from where the
/// condition is not known on, the rounds are those of a [`super::rounds`].
fn repeat<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let (condition, body) = functions(cx)?;
    let mut state = std::mem::take(&mut cx.inputs);
    loop {
        cx.walker.count_op()?;
        let go = cx.walker.call(condition, state.clone())?;
        let go = match go.into_iter().next() {
            Some(Slot::Value(Value::Tensor(v))) => v,
            Some(Slot::Lost) => return Ok(vec![Slot::Lost]),
            _ => return Err(ImportError::invalid("the condition of a loop gives no truth value")),
        };
        match known(cx, go) {
            Some(true) => {}
            Some(false) => return Ok(state.into_iter().map(Slot::Value).collect()),
            None => return super::rounds::looped(cx, condition, body, go, state),
        }
        let next = cx.walker.call(body, state)?;
        let mut values = Vec::with_capacity(next.len());
        for slot in next {
            match slot {
                Slot::Value(v) => values.push(v),
                _ => return Ok(vec![Slot::Lost]),
            }
        }
        state = values;
    }
}
