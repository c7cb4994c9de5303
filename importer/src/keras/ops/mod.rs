//! Operations of `keras.ops` that a functional model of Keras 3 holds as nodes: arithmetic here, movement in [`movement`],
//! what is made of others in
//! [`numpy`] and [`arrays`].

pub mod arrays;
mod movement;
pub mod numpy;

use pocketnn::ops::activation::Activation;
use pocketnn::ops::dense::{Einsum, MatMul};
use pocketnn::ops::elementwise::{BinaryKind, UnaryKind};
use pocketnn::ops::reduce::{ArgReduce, ReduceKind};
use pocketnn::{DType, Tensor, ValueId};
use serde_json::Value;

pub use movement::{get_item, reshape, stack, transpose_by};

use super::activation::{Act, apply, by_name};
use super::call::{Cx, Item, Val, int, one};
use super::config::{i64_list, plain, shorten, to_f32, wrong};
use super::lower::{dtype_name, dtype_of};
use super::rows::Row;
use crate::error::{ImportError, Result};

/// Rows of this family.
pub const ROWS: &[Row] = &[
    Row::plain(
        &[
            "Abs",
            "Absolute",
            "Arccos",
            "Arccosh",
            "Arcsin",
            "Arcsinh",
            "Arctan",
            "Arctanh",
            "Ceil",
            "Cos",
            "Cosh",
            "Erf",
            "Exp",
            "Exp2",
            "Expm1",
            "Floor",
            "Isfinite",
            "Isinf",
            "Isnan",
            "Log",
            "Log10",
            "Log1p",
            "Log2",
            "LogicalNot",
            "Negative",
            "Reciprocal",
            "Round",
            "Rsqrt",
            "Sign",
            "Sin",
            "Sinh",
            "Sqrt",
            "Square",
            "Tan",
            "Tanh",
            "Trunc",
        ],
        unary,
    ),
    Row::plain(
        &[
            "Relu",
            "Relu6",
            "Sigmoid",
            "Silu",
            "Softplus",
            "Softsign",
            "SoftSign",
            "Selu",
            "HardSigmoid",
            "HardSilu",
            "HardTanh",
            "LogSigmoid",
            "TanhShrink",
            "SparsePlus",
            "SparseSigmoid",
            "Mish",
        ],
        activation,
    ),
    Row::plain(
        &[
            "LeakyRelu",
            "Elu",
            "Celu",
            "Gelu",
            "SoftShrink",
            "HardShrink",
            "Squareplus",
            "Threshold",
            "Glu",
            "Sparsemax",
        ],
        parametrised,
    ),
    Row::plain(
        &[
            "Arctan2",
            "Divide",
            "DivideNoNan",
            "Equal",
            "FloorDivide",
            "Greater",
            "GreaterEqual",
            "Less",
            "LessEqual",
            "LogicalAnd",
            "LogicalOr",
            "LogicalXor",
            "Mod",
            "NotEqual",
            "Power",
            "TrueDivide",
            "BitwiseAnd",
            "BitwiseOr",
            "BitwiseXor",
        ],
        binary,
    ),
    Row::plain(&["Matmul", "Dot3"], matmul),
    Row::plain(&["Einsum"], einsum),
    Row::plain(&["Clip"], clip),
    Row::plain(&["Cast"], cast),
    Row::plain(&["Where"], select),
    Row::plain(
        &["All", "Any", "Max", "Mean", "Min", "Prod", "Sum", "Logsumexp", "Amax", "Amin", "CountNonzero"],
        reduction,
    ),
    Row::plain(&["Std", "Var"], deviation),
    Row::plain(&["Moments"], moments),
    Row::plain(&["Argmax", "Argmin"], arg_extreme),
    Row::plain(&["LogSoftmax"], log_softmax),
    Row::plain(&["Norm"], norm),
    Row::plain(&["Normalize"], normalize),
    Row::plain(&["AveragePool", "MaxPool"], pool),
    Row::plain(movement::CLASSES, movement::lower),
];

/// A positional or named operand: a tensor, or a number in the type of `like`.
pub fn operand(cx: &mut Cx<'_, '_>, position: usize, names: &[&str], like: Option<ValueId>) -> Result<ValueId> {
    let item = names.iter().find_map(|n| cx.arg(usize::MAX, n)).or_else(|| cx.arg(position, ""));
    match item {
        Some(Item::Tensor(v)) => Ok(v.id),
        Some(Item::Value(v)) => constant(cx, &v, like),
        Some(Item::List(list)) => {
            // A list of numbers and scalars' tensors would be stacked; only plain numbers occur in files.
            Err(ImportError::unsupported("a list of tensors as an operand").found(format!("{} entries", list.len())))
        }
        None => Err(ImportError::invalid("an operand is missing").at_attribute(names.first().copied().unwrap_or("x"))),
    }
}

/// A number, truth value or (nested) list as a constant; whole numbers beside floats become floats.
fn constant(cx: &mut Cx<'_, '_>, value: &Value, like: Option<ValueId>) -> Result<ValueId> {
    let value = plain(value);
    let mut data = Vec::new();
    let shape = flatten(&value, &mut data)?;
    let dtype = match like.map(|l| cx.dtype(l)) {
        Some(DType::Bool) | None => DType::F32,
        Some(d) if !d.is_float() && data.iter().any(|x| x.fract() != 0.0) => DType::F32,
        Some(d) => d,
    };
    let tensor = Tensor::new(&shape, data)?;
    let tensor = if dtype == DType::F32 { tensor } else { pocketnn::ops::elementwise::cast(&tensor, dtype)? };
    Ok(cx.lw.b.constant(&format!("{}/constant", cx.name), tensor))
}

fn flatten(value: &Value, into: &mut Vec<f32>) -> Result<Vec<usize>> {
    match value {
        Value::Array(list) => {
            let mut inner: Option<Vec<usize>> = None;
            for v in list {
                let shape = flatten(v, into)?;
                if inner.get_or_insert_with(|| shape.clone()) != &shape {
                    return Err(wrong("operand", "a regular array", value));
                }
            }
            Ok(std::iter::once(list.len()).chain(inner.unwrap_or_default()).collect())
        }
        Value::Bool(b) => {
            into.push(f32::from(u8::from(*b)));
            Ok(Vec::new())
        }
        other => {
            into.push(to_f32("operand", other)?);
            Ok(Vec::new())
        }
    }
}

/// The two operands of a binary operation in one type (`x1` and `x2`, `x` and `y`).
pub fn operand_pair(cx: &mut Cx<'_, '_>) -> Result<(ValueId, ValueId)> {
    let like = cx.tensors().first().map(|v| v.id).or_else(|| {
        cx.kwargs.iter().find_map(|(_, v)| match v {
            Item::Tensor(v) => Some(v.id),
            _ => None,
        })
    });
    let a = operand(cx, 0, &["x1", "x"], like)?;
    let b = operand(cx, 1, &["x2", "y"], like)?;
    let (ta, tb) = (cx.dtype(a), cx.dtype(b));
    if ta == tb {
        return Ok((a, b));
    }
    let to = match (ta, tb) {
        (DType::Bool, other) | (other, DType::Bool) => other,
        (a, b) if a.is_float() || b.is_float() => DType::F32,
        (a, b) => {
            if a.size() >= b.size() {
                a
            } else {
                b
            }
        }
    };
    Ok((cx.cast(a, to)?, cx.cast(b, to)?))
}

fn unary(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let class = cx.layer.class.clone();
    let kind = match class.as_str() {
        "Abs" | "Absolute" => UnaryKind::Abs,
        "Arccos" => UnaryKind::Acos,
        "Arccosh" => UnaryKind::Acosh,
        "Arcsin" => UnaryKind::Asin,
        "Arcsinh" => UnaryKind::Asinh,
        "Arctan" => UnaryKind::Atan,
        "Arctanh" => UnaryKind::Atanh,
        "Ceil" => UnaryKind::Ceil,
        "Cos" => UnaryKind::Cos,
        "Cosh" => UnaryKind::Cosh,
        "Erf" => UnaryKind::Erf,
        "Exp" | "Exp2" => UnaryKind::Exp,
        "Expm1" => UnaryKind::Expm1,
        "Floor" => UnaryKind::Floor,
        "Isfinite" => UnaryKind::IsFinite,
        "Isinf" => UnaryKind::IsInf,
        "Isnan" => UnaryKind::IsNan,
        "Log" | "Log10" | "Log2" => UnaryKind::Log,
        "Log1p" => UnaryKind::Log1p,
        "LogicalNot" => UnaryKind::Not,
        "Negative" => UnaryKind::Neg,
        "Reciprocal" => UnaryKind::Reciprocal,
        "Round" => UnaryKind::Round,
        "Rsqrt" => UnaryKind::Rsqrt,
        "Sign" => UnaryKind::Sign,
        "Sin" => UnaryKind::Sin,
        "Sinh" => UnaryKind::Sinh,
        "Sqrt" => UnaryKind::Sqrt,
        "Square" => UnaryKind::Square,
        "Tan" => UnaryKind::Tan,
        "Tanh" => UnaryKind::Tanh,
        "Trunc" => UnaryKind::Trunc,
        other => return Err(ImportError::unsupported("an operation without a lowering").at_op(other)),
    };
    if cx.config.i64_or("decimals", 0)? != 0 {
        return Err(ImportError::unsupported("rounding to decimals").at_attribute("decimals"));
    }
    let x = cx.input()?.id;
    let keeps = matches!(kind, UnaryKind::Abs | UnaryKind::Neg | UnaryKind::Sign | UnaryKind::Square | UnaryKind::Not);
    let x = match kind {
        UnaryKind::Not => cx.cast(x, DType::Bool)?,
        _ if keeps => x,
        _ => cx.float(x)?,
    };
    let x = if class == "Exp2" { cx.with_scalar(BinaryKind::Mul, x, std::f32::consts::LN_2)? } else { x };
    let y = cx.unary(kind, x)?;
    one(match class.as_str() {
        "Log2" => cx.with_scalar(BinaryKind::Mul, y, std::f32::consts::LOG2_E)?,
        "Log10" => cx.with_scalar(BinaryKind::Mul, y, std::f32::consts::LOG10_E)?,
        _ => y,
    })
}

fn activation(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.x()?;
    let name: String = match cx.layer.class.as_str() {
        "HardSigmoid" => "hard_sigmoid".into(),
        "HardSilu" => "hard_silu".into(),
        "HardTanh" => "hard_tanh".into(),
        "LogSigmoid" => "log_sigmoid".into(),
        "TanhShrink" => "tanh_shrink".into(),
        "SparsePlus" => "sparse_plus".into(),
        "SparseSigmoid" => "sparse_sigmoid".into(),
        other => other.to_ascii_lowercase(),
    };
    let act = by_name(&name, 3).ok_or_else(|| ImportError::unsupported("an operation without a lowering"))?;
    one(apply(cx, act, x, -1)?)
}

fn parametrised(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.x()?;
    let number = |cx: &Cx<'_, '_>, key: &str, default: f32| -> Result<f32> {
        cx.setting(1, key).map_or(Ok(default), |v| to_f32(key, &v))
    };
    let act = match cx.layer.class.as_str() {
        "LeakyRelu" => Act::Map(Activation::LeakyRelu { alpha: number(cx, "negative_slope", 0.2)? }),
        "Elu" => Act::Map(Activation::Elu { alpha: number(cx, "alpha", 1.0)? }),
        "Celu" => Act::Map(Activation::Celu { alpha: number(cx, "alpha", 1.0)? }),
        "SoftShrink" => {
            let t = number(cx, "threshold", 0.5)?;
            Act::Map(Activation::Shrink { lambda: t, bias: t })
        }
        "HardShrink" => Act::Map(Activation::Shrink { lambda: number(cx, "threshold", 0.5)?, bias: 0.0 }),
        "Squareplus" => Act::Map(Activation::SquarePlus { b: number(cx, "b", 4.0)? }),
        "Threshold" => {
            let value = cx.setting(2, "default_value").map_or(Ok(0.0), |v| to_f32("default_value", &v))?;
            Act::Map(Activation::Threshold { threshold: number(cx, "threshold", 0.0)?, value })
        }
        "Glu" => Act::Glu,
        "Sparsemax" => Act::Sparsemax,
        _ => {
            let approximate = cx.setting(1, "approximate").and_then(|v| v.as_bool()).unwrap_or(true);
            Act::Map(if approximate { Activation::GeluTanh } else { Activation::Gelu })
        }
    };
    let axis = cx.config.i64_or("axis", -1)?;
    one(apply(cx, act, x, axis)?)
}

fn binary(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let class = cx.layer.class.clone();
    let (a, b) = operand_pair(cx)?;
    let kind = match class.as_str() {
        "Arctan2" => BinaryKind::Atan2,
        "Divide" | "TrueDivide" | "DivideNoNan" => BinaryKind::Div,
        "Equal" => BinaryKind::Eq,
        "FloorDivide" => BinaryKind::FloorDiv,
        "Greater" => BinaryKind::Gt,
        "GreaterEqual" => BinaryKind::Ge,
        "Less" => BinaryKind::Lt,
        "LessEqual" => BinaryKind::Le,
        "LogicalAnd" => BinaryKind::And,
        "LogicalOr" => BinaryKind::Or,
        "LogicalXor" => BinaryKind::Xor,
        "Mod" => BinaryKind::Mod,
        "NotEqual" => BinaryKind::Ne,
        "BitwiseAnd" => BinaryKind::BitAnd,
        "BitwiseOr" => BinaryKind::BitOr,
        "BitwiseXor" => BinaryKind::BitXor,
        _ => BinaryKind::Pow,
    };
    let (a, b) = match kind {
        BinaryKind::And | BinaryKind::Or | BinaryKind::Xor => (cx.cast(a, DType::Bool)?, cx.cast(b, DType::Bool)?),
        BinaryKind::Div | BinaryKind::Atan2 => (cx.float(a)?, cx.float(b)?),
        _ => (a, b),
    };
    let y = cx.binary(kind, a, b)?;
    if class == "DivideNoNan" {
        let zero = cx.scalar_like(0.0, b)?;
        let at_zero = cx.binary(BinaryKind::Eq, b, zero)?;
        return one(cx.select(at_zero, zero, y)?);
    }
    one(y)
}

fn matmul(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let (a, b) = operand_pair(cx)?;
    one(cx.op(MatMul {}, &[a, b])?)
}

fn einsum(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let equation = cx.config.text("subscripts", "")?;
    let inputs: Vec<ValueId> = cx.tensors().iter().map(|v| v.id).collect();
    let inputs = super::merge::same_type(cx, &inputs)?;
    one(cx.op(Einsum { equation }, &inputs)?)
}

fn clip(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.input()?.id;
    let bound = |cx: &Cx<'_, '_>, at: usize, key: &str, default: f32| {
        cx.setting(at, key).map_or(Ok(default), |v| to_f32(key, &v))
    };
    let lo = bound(cx, 1, "x_min", f32::NEG_INFINITY)?;
    let hi = bound(cx, 2, "x_max", f32::INFINITY)?;
    if cx.dtype(x).is_float() {
        return one(cx.activate(Activation::Clamp { lo, hi }, x)?);
    }
    let x = cx.with_scalar(BinaryKind::Max, x, lo)?;
    one(cx.with_scalar(BinaryKind::Min, x, hi)?)
}

fn cast(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.input()?.id;
    let to = cx.setting(1, "dtype").ok_or_else(|| super::config::missing("dtype"))?;
    let to = dtype_of(dtype_name(&to)?)?;
    one(cx.cast(x, to)?)
}

fn select(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let like = cx.tensors().get(1).map(|v| v.id);
    let condition = operand(cx, 0, &["condition"], None)?;
    let a = operand(cx, 1, &["x1", "x"], like)?;
    let b = operand(cx, 2, &["x2", "y"], Some(a))?;
    let both = super::merge::same_type(cx, &[a, b])?;
    let condition = cx.cast(condition, DType::Bool)?;
    match both.as_slice() {
        [a, b] => one(cx.select(condition, *a, *b)?),
        _ => Err(ImportError::invalid("an operand is missing")),
    }
}

/// Axes of a reduction: `axis` or `axes`; absent means all.
fn axes(cx: &Cx<'_, '_>, x: ValueId) -> Result<Vec<i64>> {
    let given = cx.setting(1, "axis").or_else(|| cx.setting(1, "axes"));
    given.map_or_else(|| Ok((0..cx.rank(x)).map(int).collect()), |v| i64_list("axis", &v))
}

fn keep_dims(cx: &Cx<'_, '_>) -> Result<bool> {
    let value = cx.setting(2, "keepdims");
    value.map_or(Ok(false), |v| v.as_bool().ok_or_else(|| wrong("keepdims", "true or false", &v)))
}

/// Reduction by class name.
fn reduction(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let kind = match cx.layer.class.as_str() {
        "All" => ReduceKind::All,
        "Any" => ReduceKind::Any,
        "Max" | "Amax" => ReduceKind::Max,
        "Mean" => ReduceKind::Mean,
        "Min" | "Amin" => ReduceKind::Min,
        "Prod" => ReduceKind::Prod,
        "Logsumexp" => ReduceKind::LogSumExp,
        _ => ReduceKind::Sum,
    };
    let x = cx.input()?.id;
    let (axes, keep) = (axes(cx, x)?, keep_dims(cx)?);
    let x = match kind {
        ReduceKind::All | ReduceKind::Any => cx.cast(x, DType::Bool)?,
        ReduceKind::Mean | ReduceKind::LogSumExp => cx.float(x)?,
        _ if cx.layer.class == "CountNonzero" => {
            let set = cx.cast(x, DType::Bool)?;
            cx.cast(set, DType::I32)?
        }
        _ if cx.dtype(x) == DType::Bool => cx.cast(x, DType::I32)?,
        _ => x,
    };
    one(cx.reduce(kind, x, &axes, keep)?)
}

fn variance(cx: &mut Cx<'_, '_>, x: ValueId, axes: &[i64], keep: bool) -> Result<ValueId> {
    let mean = cx.reduce(ReduceKind::Mean, x, axes, true)?;
    let difference = cx.binary(BinaryKind::SquaredDifference, x, mean)?;
    cx.reduce(ReduceKind::Mean, difference, axes, keep)
}

fn deviation(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.x()?;
    let (axes, keep) = (axes(cx, x)?, keep_dims(cx)?);
    let y = variance(cx, x, &axes, keep)?;
    one(if cx.layer.class == "Std" { cx.unary(UnaryKind::Sqrt, y)? } else { y })
}

fn moments(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.x()?;
    let (axes, keep) = (axes(cx, x)?, keep_dims(cx)?);
    let mean = cx.reduce(ReduceKind::Mean, x, &axes, keep)?;
    let variance = variance(cx, x, &axes, keep)?;
    Ok(vec![Val::new(mean), Val::new(variance)])
}

fn arg_extreme(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.input()?.id;
    let min = cx.layer.class == "Argmin";
    let keep_dims = keep_dims(cx)?;
    let (x, axis) = match cx.setting(1, "axis") {
        Some(v) => (x, super::config::to_i64("axis", &v)?),
        None => (cx.reshape(x, &[-1])?, 0),
    };
    let y = cx.op(ArgReduce { min, axis, keep_dims, last: false }, &[x])?;
    one(cx.cast(y, DType::I32)?)
}

fn log_softmax(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.x()?;
    let axis = cx.config.i64_or("axis", -1)?;
    one(apply(cx, Act::LogSoftmax, x, axis)?)
}

fn norm(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.x()?;
    let order = cx.setting(1, "ord").map(|v| shorten(&v));
    let axes = cx.config.i64s("axis")?.unwrap_or_else(|| (0..cx.rank(x)).map(int).collect());
    let keep = cx.config.bool("keepdims", false)?;
    let kind = match (order.as_deref(), axes.len()) {
        (None | Some("\"euclidean\""), _) | (Some("2" | "2.0"), 1) | (Some("\"fro\""), 2) => ReduceKind::L2,
        (Some("1" | "1.0"), 1) => ReduceKind::L1,
        (Some(other), _) => return Err(ImportError::unsupported("order of a norm").found(other).at_attribute("ord")),
    };
    one(cx.reduce(kind, x, &axes, keep)?)
}

fn normalize(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.x()?;
    let axes = cx.config.i64s("axis")?.unwrap_or_else(|| vec![-1]);
    if cx.config.f32_or("order", 2.0)? != 2.0 {
        return Err(ImportError::unsupported("order of a norm").at_attribute("order"));
    }
    cx.config.ignore(&["epsilon"]);
    one(super::norm::l2_normalize(cx, x, &axes)?)
}

fn pool(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.x()?;
    let n = cx.rank(x).saturating_sub(2);
    let first = cx.channels_first()?;
    let x = cx.to_first(x, first)?;
    let size = cx.config.usizes("pool_size", n, 2)?;
    let strides = if cx.config.has("strides") { cx.config.usizes("strides", n, 1)? } else { size.clone() };
    let padding = cx.config.text("padding", "valid")?;
    let max = cx.layer.class == "MaxPool";
    let y = super::pool::windows(cx, x, max, &super::conv::Window { dilations: vec![1; n], size, strides, padding })?;
    one(cx.to_last(y, first)?)
}
