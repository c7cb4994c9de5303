//! TensorFlow functions that a Keras 2 model holds as layers (`TFOpLambda`, `SlicingOpLambda`).

use pocketnn::ValueId;
use pocketnn::ops::activation::Activation;
use pocketnn::ops::dense::MatMul;
use pocketnn::ops::elementwise::{BinaryKind, UnaryKind};
use pocketnn::ops::reduce::ReduceKind;
use pocketnn::ops::softmax::Softmax;
use serde_json::Value;

use super::activation::{Act, apply, by_name};
use super::call::{Cx, Item, Val, int, one};
use super::config::{i64_list, plain, to_f32};
use super::lower::{dtype_name, dtype_of};
use super::ops::{get_item, operand_pair, transpose_by};
use super::rows::Row;
use crate::error::{ImportError, Result};

/// Rows of this family.
pub const ROWS: &[Row] = &[Row::plain(&["TFOpLambda", "SlicingOpLambda"], function)];

fn unknown(name: &str) -> ImportError {
    ImportError::unsupported("a TensorFlow function without a lowering")
        .found(format!("tf.{name}"))
        .help("replace it by a Keras layer and save the model again")
}

fn function(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let name = cx.config.text("function", "")?;
    cx.kwargs.retain(|(k, _)| k != "name");
    let short = name.trim_start_matches("math.").trim_start_matches("nn.").trim_start_matches("__operators__.");
    if let Some(kind) = binary_kind(short) {
        let (a, b) = operand_pair(cx)?;
        return one(cx.binary(kind, a, b)?);
    }
    if let Some(kind) = unary_kind(short) {
        let x = cx.input()?.id;
        return one(cx.unary(kind, x)?);
    }
    if let Some(kind) = reduce_kind(short) {
        return reduce(cx, kind);
    }
    match short {
        "getitem" => {
            let key = cx.arg(1, "slice_spec").ok_or_else(|| super::config::missing("slice_spec"))?;
            get_item(cx, &key)
        }
        "gelu" => {
            let x = cx.x()?;
            let approximate = setting(cx, 1, "approximate").and_then(|v| v.as_bool()).unwrap_or(false);
            one(cx.activate(if approximate { Activation::GeluTanh } else { Activation::Gelu }, x)?)
        }
        "leaky_relu" => {
            let x = cx.x()?;
            let alpha = setting(cx, 1, "alpha").map_or(Ok(0.2), |v| to_f32("alpha", &v))?;
            one(cx.activate(Activation::LeakyRelu { alpha }, x)?)
        }
        "clip_by_value" => {
            let x = cx.x()?;
            let bound = |cx: &Cx<'_, '_>, at: usize, key: &str| {
                setting(cx, at, key).map_or_else(|| Err(super::config::missing(key)), |v| to_f32(key, &v))
            };
            let (lo, hi) = (bound(cx, 1, "clip_value_min")?, bound(cx, 2, "clip_value_max")?);
            one(cx.activate(Activation::Clamp { lo, hi }, x)?)
        }
        "softmax" | "log_softmax" => {
            let x = cx.x()?;
            let axis = setting(cx, 1, "axis").and_then(|v| v.as_i64()).unwrap_or(-1);
            one(cx.op(Softmax { axis, log: short == "log_softmax" }, &[x])?)
        }
        "linalg.matmul" | "matmul" => matmul(cx),
        "concat" => concat(cx),
        "stack" => super::ops::stack(cx),
        "reshape" => reshape(cx),
        "transpose" => {
            let perm = setting(cx, 1, "perm");
            transpose_by(cx, perm.as_ref())
        }
        "cast" => {
            let x = cx.input()?.id;
            let to = setting(cx, 1, "dtype").ok_or_else(|| super::config::missing("dtype"))?;
            let to = dtype_of(dtype_name(&to)?)?;
            one(cx.cast(x, to)?)
        }
        "expand_dims" | "squeeze" => {
            let x = cx.input()?.id;
            let axes =
                setting(cx, 1, "axis").map_or_else(|| Err(super::config::missing("axis")), |v| i64_list("axis", &v))?;
            one(if short == "expand_dims" { cx.unsqueeze(x, &axes)? } else { cx.squeeze(x, &axes)? })
        }
        "identity" | "stop_gradient" => Ok(vec![cx.input()?]),
        other => match by_name(other, 2) {
            Some(act @ Act::Map(_)) => {
                let x = cx.x()?;
                one(apply(cx, act, x, -1)?)
            }
            _ => Err(unknown(&name)),
        },
    }
}

fn setting(cx: &Cx<'_, '_>, position: usize, name: &str) -> Option<Value> {
    match cx.arg(position, name)? {
        Item::Value(v) => Some(plain(&v)),
        _ => None,
    }
}

fn binary_kind(name: &str) -> Option<BinaryKind> {
    Some(match name {
        "add" => BinaryKind::Add,
        "subtract" | "sub" => BinaryKind::Sub,
        "multiply" | "mul" => BinaryKind::Mul,
        "divide" | "truediv" => BinaryKind::Div,
        "floordiv" => BinaryKind::FloorDiv,
        "floormod" | "mod" => BinaryKind::Mod,
        "maximum" => BinaryKind::Max,
        "minimum" => BinaryKind::Min,
        "pow" => BinaryKind::Pow,
        "squared_difference" => BinaryKind::SquaredDifference,
        "greater" => BinaryKind::Gt,
        "greater_equal" => BinaryKind::Ge,
        "less" => BinaryKind::Lt,
        "less_equal" => BinaryKind::Le,
        "equal" | "eq" => BinaryKind::Eq,
        "not_equal" | "ne" => BinaryKind::Ne,
        "atan2" => BinaryKind::Atan2,
        _ => return None,
    })
}

fn unary_kind(name: &str) -> Option<UnaryKind> {
    Some(match name {
        "abs" => UnaryKind::Abs,
        "ceil" => UnaryKind::Ceil,
        "cos" => UnaryKind::Cos,
        "erf" => UnaryKind::Erf,
        "exp" => UnaryKind::Exp,
        "expm1" => UnaryKind::Expm1,
        "floor" => UnaryKind::Floor,
        "log" => UnaryKind::Log,
        "log1p" => UnaryKind::Log1p,
        "negative" | "neg" => UnaryKind::Neg,
        "reciprocal" => UnaryKind::Reciprocal,
        "round" => UnaryKind::Round,
        "rsqrt" => UnaryKind::Rsqrt,
        "sign" => UnaryKind::Sign,
        "sin" => UnaryKind::Sin,
        "sqrt" => UnaryKind::Sqrt,
        "square" => UnaryKind::Square,
        "tan" => UnaryKind::Tan,
        "logical_not" => UnaryKind::Not,
        _ => return None,
    })
}

fn reduce_kind(name: &str) -> Option<ReduceKind> {
    Some(match name {
        "reduce_sum" => ReduceKind::Sum,
        "reduce_mean" => ReduceKind::Mean,
        "reduce_max" => ReduceKind::Max,
        "reduce_min" => ReduceKind::Min,
        "reduce_prod" => ReduceKind::Prod,
        "reduce_logsumexp" => ReduceKind::LogSumExp,
        _ => return None,
    })
}

fn reduce(cx: &mut Cx<'_, '_>, kind: ReduceKind) -> Result<Vec<Val>> {
    let x = cx.input()?.id;
    let axes = match setting(cx, 1, "axis") {
        Some(v) => i64_list("axis", &v)?,
        None => (0..cx.rank(x)).map(int).collect(),
    };
    let keep = setting(cx, 2, "keepdims").and_then(|v| v.as_bool()).unwrap_or(false);
    one(cx.reduce(kind, x, &axes, keep)?)
}

fn matmul(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let tensor = |cx: &Cx<'_, '_>, at: usize, name: &str| match cx.arg(at, name) {
        Some(Item::Tensor(v)) => Ok(v.id),
        _ => Err(ImportError::unsupported("a product with a constant").at_attribute(name)),
    };
    let (a, b) = (tensor(cx, 0, "a")?, tensor(cx, 1, "b")?);
    for off in ["adjoint_a", "adjoint_b", "a_is_sparse", "b_is_sparse"] {
        if setting(cx, usize::MAX, off).and_then(|v| v.as_bool()) == Some(true) {
            return Err(ImportError::unsupported("a setting of a product").at_attribute(off));
        }
    }
    let flip = |cx: &mut Cx<'_, '_>, x: ValueId, key: &str| -> Result<ValueId> {
        if setting(cx, usize::MAX, key).and_then(|v| v.as_bool()) != Some(true) {
            return Ok(x);
        }
        let rank = cx.rank(x);
        if rank < 2 {
            return Err(ImportError::invalid("a transposed operand without two axes").at_attribute(key));
        }
        let mut perm: Vec<usize> = (0..rank).collect();
        perm.swap(rank.saturating_sub(1), rank.saturating_sub(2));
        cx.transpose(x, &perm)
    };
    let a = flip(cx, a, "transpose_a")?;
    let b = flip(cx, b, "transpose_b")?;
    one(cx.op(MatMul {}, &[a, b])?)
}

fn concat(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let axis = setting(cx, 1, "axis").and_then(|v| v.as_i64()).ok_or_else(|| super::config::missing("axis"))?;
    let inputs: Vec<ValueId> = cx.tensors().iter().map(|v| v.id).collect();
    let inputs = super::merge::same_type(cx, &inputs)?;
    one(cx.concat(&inputs, axis)?)
}

fn reshape(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.input()?.id;
    let shape = setting(cx, 1, "shape")
        .ok_or_else(|| ImportError::unsupported("a shape that is computed").at_attribute("shape"))?;
    let target = i64_list("shape", &shape)?;
    one(cx.reshape(x, &target)?)
}
