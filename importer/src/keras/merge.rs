//! Layers of several inputs. `Add`, `Subtract`, ... are also operations of Keras 3 on two tensors or numbers; both have the same
//! class names.

use pocketnn::ops::activation::Activation;
use pocketnn::ops::dense::Einsum;
use pocketnn::ops::elementwise::BinaryKind;
use pocketnn::{DType, ValueId};
use serde_json::Value;

use super::call::{Cx, Item, Val, int, one};
use super::config::{i64_list, wrong};
use super::norm::l2_normalize;
use super::ops::operand_pair;
use super::rows::Row;
use crate::error::{ImportError, Result};

/// Rows of this family.
pub const ROWS: &[Row] = &[
    Row::plain(&["Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"], elementwise).masked(),
    Row::plain(&["Concatenate"], concatenate),
    Row::plain(&["Dot"], dot),
    Row::plain(&["Merge"], merge),
    Row::plain(&["CustomScaleLayer"], scaled_sum),
];

/// Inception-ResNet's sum of a branch and a scaled one.
fn scaled_sum(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let scale = cx.config.f32_or("scale", 1.0)?;
    let inputs: Vec<ValueId> = cx.tensors().iter().map(|v| v.id).collect();
    let &[a, b] = inputs.as_slice() else {
        return Err(ImportError::invalid("a scaled sum of two").found(inputs.len()));
    };
    let b = cx.activate(Activation::Linear { a: scale, b: 0.0 }, b)?;
    one(cx.binary(BinaryKind::Add, a, b)?)
}

fn kind_of(class: &str) -> BinaryKind {
    match class {
        "Subtract" => BinaryKind::Sub,
        "Multiply" => BinaryKind::Mul,
        "Maximum" => BinaryKind::Max,
        "Minimum" => BinaryKind::Min,
        _ => BinaryKind::Add,
    }
}

fn elementwise(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let class = cx.layer.class.clone();
    let kind = kind_of(&class);
    if !matches!(cx.args.first(), Some(Item::List(_))) && (cx.args.len().saturating_add(cx.kwargs.len())) >= 2 {
        let (a, b) = operand_pair(cx)?;
        let y = cx.binary(kind, a, b)?;
        return one(if class == "Average" { cx.with_scalar(BinaryKind::Mul, y, 0.5)? } else { y });
    }
    let inputs: Vec<ValueId> = cx.tensors().iter().map(|v| v.id).collect();
    one(combine(cx, &class, &inputs)?)
}

/// Merges as Keras's layers do: a lower rank gets axes of extent 1 behind the batch.
fn combine(cx: &mut Cx<'_, '_>, class: &str, inputs: &[ValueId]) -> Result<ValueId> {
    let inputs = same_type(cx, inputs)?;
    let rank = inputs.iter().map(|&x| cx.rank(x)).max().unwrap_or(0);
    let mut sum: Option<ValueId> = None;
    for x in &inputs {
        let missing = rank.saturating_sub(cx.rank(*x));
        let axes: Vec<i64> = (1..=missing).map(int).collect();
        let x = if missing == 0 { *x } else { cx.unsqueeze(*x, &axes)? };
        sum = Some(match sum {
            None => x,
            Some(s) => cx.binary(kind_of(class), s, x)?,
        });
    }
    let sum = sum.ok_or_else(|| ImportError::invalid("a merge without inputs"))?;
    if class == "Average" { cx.with_scalar(BinaryKind::Mul, sum, 1.0 / inputs.len() as f32) } else { Ok(sum) }
}

/// The tensors in one element type: f32 if any is.
pub fn same_type(cx: &mut Cx<'_, '_>, inputs: &[ValueId]) -> Result<Vec<ValueId>> {
    let Some(&first) = inputs.first() else { return Ok(Vec::new()) };
    let to = if inputs.iter().any(|&x| cx.dtype(x).is_float()) { DType::F32 } else { cx.dtype(first) };
    inputs.iter().map(|&x| cx.cast(x, to)).collect()
}

fn concatenate(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let axis = cx.config.i64_or("axis", -1)?;
    let values = cx.tensors();
    let inputs: Vec<ValueId> = values.iter().map(|v| v.id).collect();
    let inputs = same_type(cx, &inputs)?;
    let y = cx.concat(&inputs, axis)?;
    let masks: Vec<ValueId> = values.iter().filter_map(|v| v.mask).collect();
    let rank = cx.rank(y);
    let at = cx.axis(axis, y)?;
    // A mask survives where every input has one: joined along time, or common to all features.
    let mask = match masks.as_slice() {
        [] => None,
        all if all.len() == values.len() && at == 1 && rank > 2 => Some(cx.concat(all, 1)?),
        [first, rest @ ..] if all_masked(&values) => {
            let mut mask = *first;
            for m in rest {
                mask = cx.binary(BinaryKind::And, mask, *m)?;
            }
            Some(mask)
        }
        _ => None,
    };
    Ok(vec![Val { id: y, mask }])
}

fn all_masked(values: &[Val]) -> bool {
    values.iter().all(|v| v.mask.is_some())
}

fn dot(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let axes = cx.config.get("axes").map_or(Ok(vec![-1]), |v| i64_list("axes", v))?;
    let normalize = cx.config.bool("normalize", false)?;
    let inputs: Vec<ValueId> = cx.tensors().iter().map(|v| v.id).collect();
    let [a, b] = inputs.as_slice() else {
        return Err(ImportError::invalid("a dot product of other than two inputs").found(inputs.len()));
    };
    one(batch_dot(cx, *a, *b, &axes, normalize)?)
}

fn batch_dot(cx: &mut Cx<'_, '_>, a: ValueId, b: ValueId, axes: &[i64], normalize: bool) -> Result<ValueId> {
    let (first, second) = match axes {
        [both] => (*both, *both),
        [a, b] => (*a, *b),
        _ => return Err(wrong("axes", "one or two axes", &Value::from(axes))),
    };
    let (i, j) = (cx.axis(first, a)?, cx.axis(second, b)?);
    let (mut a, mut b) = (cx.float(a)?, cx.float(b)?);
    if normalize {
        a = l2_normalize(cx, a, &[int(i)])?;
        b = l2_normalize(cx, b, &[int(j)])?;
    }
    let (ra, rb) = (cx.rank(a), cx.rank(b));
    let mut letters = 'c'..='z';
    let mut name = |rank: usize, at: usize| -> String {
        (0..rank)
            .map(|axis| {
                if axis == 0 {
                    'a'
                } else if axis == at {
                    'b'
                } else {
                    letters.next().unwrap_or('z')
                }
            })
            .collect()
    };
    let (left, right) = (name(ra, i), name(rb, j));
    let rest = left.chars().chain(right.chars()).filter(|c| !matches!(c, 'a' | 'b'));
    let output: String = std::iter::once('a').chain(rest).collect();
    let y = cx.op(Einsum { equation: format!("{left},{right}->{output}") }, &[a, b])?;
    if output.len() == 1 { cx.unsqueeze(y, &[1]) } else { Ok(y) }
}

/// Keras 1's layer for all merges.
fn merge(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let mode = cx.config.text("mode", "sum")?;
    cx.config.ignore(&["mode_type", "output_shape", "output_shape_type", "output_mask_type", "output_mask"]);
    let axis = cx.config.i64_or("concat_axis", -1)?;
    let axes = cx.config.get("dot_axes").map_or(Ok(vec![-1]), |v| i64_list("dot_axes", v))?;
    let inputs: Vec<ValueId> = cx.tensors().iter().map(|v| v.id).collect();
    let class = match mode.as_str() {
        "sum" => "Add",
        "mul" => "Multiply",
        "ave" => "Average",
        "max" => "Maximum",
        "concat" => {
            let inputs = same_type(cx, &inputs)?;
            return one(cx.concat(&inputs, axis)?);
        }
        "dot" | "cos" => {
            let [a, b] = inputs.as_slice() else {
                return Err(ImportError::invalid("a dot product of other than two inputs").found(inputs.len()));
            };
            return one(batch_dot(cx, *a, *b, &axes, mode == "cos")?);
        }
        other => return Err(ImportError::unsupported("merge mode").found(format!("`{other}`")).at_attribute("mode")),
    };
    one(combine(cx, class, &inputs)?)
}
