//! Operations of `keras.ops` that are made of others: numpy's small functions, NaN-ignoring reductions,
//! contractions.

use pocketnn::ops::activation::Activation;
use pocketnn::ops::dense::Einsum;
use pocketnn::ops::elementwise::{BinaryKind, UnaryKind};
use pocketnn::ops::gather::{Gather, TopK};
use pocketnn::ops::movement::{Expand, Shape};
use pocketnn::ops::reduce::{ArgReduce, ReduceKind};
use pocketnn::ops::softmax::Softmax;
use pocketnn::{DType, Dim, ValueId};
use serde_json::Value;

use super::super::call::{Cx, Item, Val, int, one};
use super::super::config::{i64_list, missing, to_f32, to_i64, wrong};
use super::super::merge::same_type;
use super::super::rows::Row;
use super::{axes, keep_dims, operand, operand_pair};
use crate::error::{ImportError, Result};

/// Rows of this file.
pub const ROWS: &[Row] = &[
    Row::plain(
        &[
            "Cbrt", "Deg2rad", "Rad2deg", "Fabs", "Sinc", "Erfc", "Isneginf", "Isposinf", "Isreal", "Signbit",
            "NanToNum",
        ],
        unary,
    ),
    Row::plain(&["Real", "Conj", "Conjugate", "ConvertToTensor"], same),
    Row::plain(&["BitwiseInvert", "BitwiseNot"], bit_not),
    Row::plain(
        &[
            "Fmax",
            "Fmin",
            "Fmod",
            "Hypot",
            "Logaddexp",
            "Logaddexp2",
            "Heaviside",
            "Ldexp",
            "Isclose",
            "LeftShift",
            "BitwiseLeftShift",
            "RightShift",
            "BitwiseRightShift",
        ],
        binary,
    ),
    Row::plain(&["Nansum", "Nanprod", "Nanmax", "Nanmin", "Nanmean", "Nanvar", "Nanstd"], without_nan),
    Row::plain(&["Nanargmax", "Nanargmin"], arg_without_nan),
    Row::plain(&["Ptp", "Median"], spread),
    Row::plain(&["Outer", "Inner", "Vdot", "Tensordot"], contracted),
    Row::plain(&["Cross"], cross),
    Row::plain(&["OnesLike", "ZerosLike", "FullLike", "EmptyLike"], filled),
    Row::plain(&["Digitize", "SearchSorted", "IsIn"], searched),
    Row::plain(&["SaturateCast"], saturate_cast),
    Row::plain(&["MultiHot"], multi_hot),
    Row::plain(&["DotProductAttention"], attention),
    Row::plain(&["RGBToGrayscale"], grayscale),
];

fn same(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    cx.config.ignore(&["dtype", "sparse", "ragged"]);
    Ok(vec![cx.input()?])
}

fn unary(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.x()?;
    let linear = |a: f32| Activation::Linear { a, b: 0.0 };
    one(match cx.layer.class.as_str() {
        "Cbrt" => {
            let (size, sign) = (cx.unary(UnaryKind::Abs, x)?, cx.unary(UnaryKind::Sign, x)?);
            let root = cx.with_scalar(BinaryKind::Pow, size, 1.0 / 3.0)?;
            cx.binary(BinaryKind::Mul, root, sign)?
        }
        "Deg2rad" => cx.activate(linear(std::f32::consts::PI / 180.0), x)?,
        "Rad2deg" => cx.activate(linear(180.0 / std::f32::consts::PI), x)?,
        "Fabs" => cx.unary(UnaryKind::Abs, x)?,
        "Sinc" => {
            let at = cx.activate(linear(std::f32::consts::PI), x)?;
            let sine = cx.unary(UnaryKind::Sin, at)?;
            let ratio = cx.binary(BinaryKind::Div, sine, at)?;
            let centre = cx.with_scalar(BinaryKind::Eq, x, 0.0)?;
            let full = cx.scalar_like(1.0, x)?;
            cx.select(centre, full, ratio)?
        }
        "Erfc" => {
            let y = cx.unary(UnaryKind::Erf, x)?;
            cx.activate(Activation::Linear { a: -1.0, b: 1.0 }, y)?
        }
        "Isneginf" => cx.unary(UnaryKind::IsNegInf, x)?,
        "Isposinf" => cx.unary(UnaryKind::IsPosInf, x)?,
        "Signbit" => cx.with_scalar(BinaryKind::Lt, x, 0.0)?,
        "NanToNum" => nan_to_num(cx, x)?,
        _ => {
            let (number, nan) = (cx.binary(BinaryKind::Eq, x, x)?, cx.unary(UnaryKind::IsNan, x)?);
            cx.binary(BinaryKind::Or, number, nan)?
        }
    })
}

fn nan_to_num(cx: &mut Cx<'_, '_>, x: ValueId) -> Result<ValueId> {
    let bound = |cx: &Cx<'_, '_>, at: usize, key: &str, default: f32| {
        cx.setting(at, key).map_or(Ok(default), |v| to_f32(key, &v))
    };
    let nan = bound(cx, 1, "nan", 0.0)?;
    let high = bound(cx, 2, "posinf", f32::MAX)?;
    let low = bound(cx, 3, "neginf", f32::MIN)?;
    let mut y = x;
    for (kind, value) in [(UnaryKind::IsNan, nan), (UnaryKind::IsPosInf, high), (UnaryKind::IsNegInf, low)] {
        let (at, value) = (cx.unary(kind, x)?, cx.scalar_like(f64::from(value), x)?);
        y = cx.select(at, value, y)?;
    }
    Ok(y)
}

fn bit_not(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.input()?.id;
    one(if cx.dtype(x) == DType::Bool { cx.unary(UnaryKind::Not, x)? } else { cx.unary(UnaryKind::BitNot, x)? })
}

fn binary(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let class = cx.layer.class.clone();
    let (a, b) = operand_pair(cx)?;
    one(match class.as_str() {
        "Fmax" | "Fmin" => {
            let kind = if class == "Fmax" { BinaryKind::Max } else { BinaryKind::Min };
            let (a, b) = (cx.float(a)?, cx.float(b)?);
            let (no_a, no_b) = (cx.unary(UnaryKind::IsNan, a)?, cx.unary(UnaryKind::IsNan, b)?);
            let y = cx.binary(kind, a, b)?;
            let y = cx.select(no_b, a, y)?;
            cx.select(no_a, b, y)?
        }
        "Fmod" => cx.binary(BinaryKind::Fmod, a, b)?,
        "Hypot" => {
            let (a, b) = (cx.float(a)?, cx.float(b)?);
            let (a, b) = (cx.unary(UnaryKind::Square, a)?, cx.unary(UnaryKind::Square, b)?);
            let sum = cx.binary(BinaryKind::Add, a, b)?;
            cx.unary(UnaryKind::Sqrt, sum)?
        }
        "Logaddexp" | "Logaddexp2" => {
            let base = if class == "Logaddexp2" { std::f32::consts::LN_2 } else { 1.0 };
            let (a, b) = (cx.float(a)?, cx.float(b)?);
            let larger = cx.binary(BinaryKind::Max, a, b)?;
            let apart = cx.binary(BinaryKind::Sub, a, b)?;
            let apart = cx.unary(UnaryKind::Abs, apart)?;
            let apart = cx.activate(Activation::Linear { a: -base, b: 0.0 }, apart)?;
            let small = cx.unary(UnaryKind::Exp, apart)?;
            let small = cx.unary(UnaryKind::Log1p, small)?;
            let small = cx.activate(Activation::Linear { a: 1.0 / base, b: 0.0 }, small)?;
            cx.binary(BinaryKind::Add, larger, small)?
        }
        "Heaviside" => {
            let zero = cx.scalar_like(0.0, a)?;
            let full = cx.scalar_like(1.0, a)?;
            let (below, at) = (cx.binary(BinaryKind::Lt, a, zero)?, cx.binary(BinaryKind::Eq, a, zero)?);
            let y = cx.select(below, zero, full)?;
            cx.select(at, b, y)?
        }
        "Ldexp" => {
            let (a, b) = (cx.float(a)?, cx.float(b)?);
            let two = cx.scalar_like(2.0, a)?;
            let power = cx.binary(BinaryKind::Pow, two, b)?;
            cx.binary(BinaryKind::Mul, a, power)?
        }
        "Isclose" => {
            let setting = |cx: &Cx<'_, '_>, key: &str, default: f32| {
                cx.setting(usize::MAX, key).map_or(Ok(default), |v| to_f32(key, &v))
            };
            let (relative, absolute) = (setting(cx, "rtol", 1e-5)?, setting(cx, "atol", 1e-8)?);
            cx.config.ignore(&["equal_nan"]);
            let (a, b) = (cx.float(a)?, cx.float(b)?);
            let apart = cx.binary(BinaryKind::Sub, a, b)?;
            let apart = cx.unary(UnaryKind::Abs, apart)?;
            let size = cx.unary(UnaryKind::Abs, b)?;
            let allowed = cx.activate(Activation::Linear { a: relative, b: absolute }, size)?;
            cx.binary(BinaryKind::Le, apart, allowed)?
        }
        "LeftShift" | "BitwiseLeftShift" => cx.binary(BinaryKind::Shl, a, b)?,
        _ => cx.binary(BinaryKind::Shr, a, b)?,
    })
}

/// NaNs replaced by what does not change the reduction, and where there are none.
fn numbers(cx: &mut Cx<'_, '_>, x: ValueId, neutral: f32) -> Result<(ValueId, ValueId)> {
    let nan = cx.unary(UnaryKind::IsNan, x)?;
    let neutral = cx.scalar_like(f64::from(neutral), x)?;
    let y = cx.select(nan, neutral, x)?;
    let there = cx.unary(UnaryKind::Not, nan)?;
    Ok((y, cx.float(there)?))
}

fn without_nan(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.x()?;
    let class = cx.layer.class.clone();
    let (axes, keep) = (axes(cx, x)?, keep_dims(cx)?);
    let (kind, neutral) = match class.as_str() {
        "Nanprod" => (ReduceKind::Prod, 1.0),
        "Nanmax" => (ReduceKind::Max, f32::NEG_INFINITY),
        "Nanmin" => (ReduceKind::Min, f32::INFINITY),
        _ => (ReduceKind::Sum, 0.0),
    };
    let (y, there) = numbers(cx, x, neutral)?;
    if !matches!(class.as_str(), "Nanmean" | "Nanvar" | "Nanstd") {
        return one(cx.reduce(kind, y, &axes, keep)?);
    }
    let wide = class != "Nanmean";
    let (sum, count) =
        (cx.reduce(ReduceKind::Sum, y, &axes, keep || wide)?, cx.reduce(ReduceKind::Sum, there, &axes, keep || wide)?);
    let mean = cx.binary(BinaryKind::Div, sum, count)?;
    if !wide {
        return one(mean);
    }
    let apart = cx.binary(BinaryKind::SquaredDifference, y, mean)?;
    let apart = cx.binary(BinaryKind::Mul, apart, there)?;
    let sum = cx.reduce(ReduceKind::Sum, apart, &axes, keep)?;
    let count = cx.reduce(ReduceKind::Sum, there, &axes, keep)?;
    let variance = cx.binary(BinaryKind::Div, sum, count)?;
    one(if class == "Nanstd" { cx.unary(UnaryKind::Sqrt, variance)? } else { variance })
}

fn arg_without_nan(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.x()?;
    let min = cx.layer.class == "Nanargmin";
    let keep_dims = keep_dims(cx)?;
    let (y, _) = numbers(cx, x, if min { f32::INFINITY } else { f32::NEG_INFINITY })?;
    let (y, axis) = match cx.setting(1, "axis") {
        Some(v) => (y, to_i64("axis", &v)?),
        None => (cx.reshape(y, &[-1])?, 0),
    };
    let y = cx.op(ArgReduce { min, axis, keep_dims, last: false }, &[y])?;
    one(cx.cast(y, DType::I32)?)
}

/// Range between the smallest and the largest, or the middle of the sorted ones.
fn spread(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.input()?.id;
    let (mut axes, keep) = (axes(cx, x)?, keep_dims(cx)?);
    if cx.layer.class == "Ptp" {
        let (high, low) = (cx.reduce(ReduceKind::Max, x, &axes, keep)?, cx.reduce(ReduceKind::Min, x, &axes, keep)?);
        return one(cx.binary(BinaryKind::Sub, high, low)?);
    }
    let mut x = cx.float(x)?;
    if cx.setting(1, "axis").is_none() && !keep {
        x = cx.reshape(x, &[-1])?;
        axes = vec![0];
    }
    let &[axis] = axes.as_slice() else {
        return Err(ImportError::unsupported("a median over several axes").at_attribute("axis"));
    };
    let at = cx.axis(axis, x)?;
    let n = cx.known(x, at)?;
    let k = cx.lw.b.integers(&[int(n)]);
    let sorted = cx.node(TopK { axis: int(at), largest: false, sorted: true }, &[Some(x), Some(k)], 2)?;
    let sorted = super::super::call::first(&sorted)?;
    let (low, high) = (int(n.saturating_sub(1) / 2), int(n / 2).saturating_add(1));
    let middle = cx.slice(sorted, at, low, high, 1)?;
    one(cx.reduce(ReduceKind::Mean, middle, &[int(at)], keep)?)
}

/// Letters for `n` axes from `from` on.
fn letters(from: usize, n: usize) -> Result<String> {
    let all = "abcdefghijklmnopqrstuvwxyz";
    all.get(from..from.saturating_add(n)).map(str::to_owned).ok_or_else(|| ImportError::limits("too many axes"))
}

fn contracted(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let (a, b) = operand_pair(cx)?;
    let (ra, rb) = (cx.rank(a), cx.rank(b));
    let class = cx.layer.class.clone();
    if matches!(class.as_str(), "Outer" | "Vdot") {
        let (a, b) = (cx.reshape(a, &[-1])?, cx.reshape(b, &[-1])?);
        let equation = if class == "Outer" { "a,b->ab" } else { "a,a->" };
        return one(cx.op(Einsum { equation: equation.to_owned() }, &[a, b])?);
    }
    if class == "Inner" && (ra == 0 || rb == 0) {
        return one(cx.binary(BinaryKind::Mul, a, b)?);
    }
    let (of_a, of_b): (Vec<i64>, Vec<i64>) = match cx.setting(2, "axes") {
        _ if class == "Inner" => (vec![-1], vec![-1]),
        None => (vec![-2, -1], vec![0, 1]),
        Some(Value::Array(list)) => match list.as_slice() {
            [x, y] => (i64_list("axes", x)?, i64_list("axes", y)?),
            _ => return Err(wrong("axes", "a number or two lists", &Value::Array(list))),
        },
        Some(v) => {
            let n = to_i64("axes", &v)?;
            if usize::try_from(n).map_or(true, |n| n > ra.min(rb)) {
                return Err(wrong("axes", "at most as many as the operands have", &v));
            }
            ((0..n).map(|i| i.saturating_sub(n)).collect(), (0..n).collect())
        }
    };
    let mut left: Vec<char> = letters(0, ra)?.chars().collect();
    let mut right: Vec<char> = letters(ra, rb)?.chars().collect();
    for (x, y) in of_a.iter().zip(&of_b) {
        let (x, y) = (cx.axis(*x, a)?, cx.axis(*y, b)?);
        if let (Some(l), Some(r)) = (left.get(x), right.get_mut(y)) {
            *r = *l;
        }
    }
    let out: String =
        left.iter().filter(|c| !right.contains(c)).chain(right.iter().filter(|c| !left.contains(c))).collect();
    let (left, right): (String, String) = (left.drain(..).collect(), right.drain(..).collect());
    one(cx.op(Einsum { equation: format!("{left},{right}->{out}") }, &[a, b])?)
}

/// Of three-dimensional vectors along the last axis.
fn cross(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let (a, b) = operand_pair(cx)?;
    for key in ["axisa", "axisb", "axisc", "axis"] {
        if cx.setting(usize::MAX, key).is_some_and(|v| v.as_i64() != Some(-1)) {
            return Err(ImportError::unsupported("a cross product along another axis than the last").at_attribute(key));
        }
    }
    let last = cx.rank(a).saturating_sub(1);
    if cx.known(a, last)? != 3 || cx.shape(b).last().and_then(Dim::known) != Some(3) {
        return Err(ImportError::unsupported("a cross product of vectors that have not three elements"));
    }
    let turned = |cx: &mut Cx<'_, '_>, x: ValueId, by: [i64; 3]| {
        let places = cx.lw.b.integers(&by);
        cx.op(Gather { axis: -1 }, &[x, places])
    };
    let (a1, b2) = (turned(cx, a, [1, 2, 0])?, turned(cx, b, [2, 0, 1])?);
    let (a2, b1) = (turned(cx, a, [2, 0, 1])?, turned(cx, b, [1, 2, 0])?);
    let (p, q) = (cx.binary(BinaryKind::Mul, a1, b2)?, cx.binary(BinaryKind::Mul, a2, b1)?);
    one(cx.binary(BinaryKind::Sub, p, q)?)
}

fn filled(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.input()?.id;
    let value = match cx.layer.class.as_str() {
        "OnesLike" => 1.0,
        "FullLike" => {
            cx.setting(1, "fill_value").map_or_else(|| Err(missing("fill_value")), |v| to_f32("fill_value", &v))?
        }
        _ => 0.0,
    };
    let dtype = cx.setting(usize::MAX, "dtype");
    let value = cx.scalar_like(f64::from(value), x)?;
    let shape = cx.op(Shape::default(), &[x])?;
    let y = cx.op(Expand {}, &[value, shape])?;
    one(match dtype {
        Some(d) => cx.cast(y, super::dtype_of(super::dtype_name(&d)?)?)?,
        None => y,
    })
}

/// How many of a list are not above (or below) each element, or whether one is equal.
fn searched(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let class = cx.layer.class.clone();
    let like = cx.tensors().first().map(|v| v.id);
    let (list, x) = if class == "SearchSorted" {
        (operand(cx, 0, &["sorted_sequence"], like)?, operand(cx, 1, &["values"], like)?)
    } else {
        let list = match cx.setting(usize::MAX, "bins") {
            Some(v) => super::constant(cx, &v, like)?,
            None => operand(cx, 1, &["bins", "x2", "test_elements"], like)?,
        };
        (list, operand(cx, 0, &["x", "x1"], like)?)
    };
    let both = same_type(cx, &[list, x])?;
    let &[list, x] = both.as_slice() else { return Err(ImportError::invalid("an operand is missing")) };
    let list = cx.reshape(list, &[-1])?;
    let wide = cx.unsqueeze(x, &[-1])?;
    if class == "IsIn" {
        let same = cx.binary(BinaryKind::Eq, wide, list)?;
        let any = cx.reduce(ReduceKind::Any, same, &[-1], false)?;
        return one(if cx.config.bool("invert", false)? { cx.unary(UnaryKind::Not, any)? } else { any });
    }
    let left = class == "SearchSorted" && cx.config.text("side", "left")? == "left";
    let passed = cx.binary(if left { BinaryKind::Gt } else { BinaryKind::Ge }, wide, list)?;
    let passed = cx.cast(passed, DType::I32)?;
    one(cx.reduce(ReduceKind::Sum, passed, &[-1], false)?)
}

fn saturate_cast(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.input()?.id;
    let to = cx.setting(1, "dtype").ok_or_else(|| missing("dtype"))?;
    let to = super::dtype_of(super::dtype_name(&to)?)?;
    let limits = match to {
        DType::I8 => Some((-128.0, 127.0)),
        DType::U8 => Some((0.0, 255.0)),
        DType::I16 => Some((-32768.0, 32767.0)),
        DType::U16 => Some((0.0, 65535.0)),
        DType::I32 => Some((-2_147_483_648.0, 2_147_483_520.0)),
        _ => None,
    };
    let x = match limits {
        Some((lo, hi)) if cx.dtype(x).is_float() => cx.activate(Activation::Clamp { lo, hi }, x)?,
        _ => x,
    };
    one(cx.cast(x, to)?)
}

fn multi_hot(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.input()?.id;
    let axis = cx.setting(2, "axis").map_or(Ok(-1), |v| to_i64("axis", &v))?;
    if axis != -1 {
        return Err(ImportError::unsupported("an encoding along another axis than the last").at_attribute("axis"));
    }
    let depth = cx.setting(1, "num_classes").ok_or_else(|| missing("num_classes"))?;
    cx.config.ignore(&["dtype", "sparse"]);
    let x = cx.cast(x, DType::I64)?;
    let depth = cx.lw.b.scalar(to_i64("num_classes", &depth)?);
    let values = cx.constant("values", &[2], vec![0.0, 1.0])?;
    let hot = cx.op(pocketnn::ops::gather::OneHot { axis: -1 }, &[x, depth, values])?;
    one(if cx.rank(x) > 1 { cx.reduce(ReduceKind::Max, hot, &[-2], false)? } else { hot })
}

/// `[B, T, N, H]` times `[B, S, N, H]`, softmax over S, times `[B, S, N, H]`.
fn attention(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let tensor = |cx: &Cx<'_, '_>, at: usize, name: &str| match cx.arg(at, name) {
        Some(Item::Tensor(v)) => Ok(v.id),
        _ => Err(missing(name)),
    };
    let (q, k, v) = (tensor(cx, 0, "query")?, tensor(cx, 1, "key")?, tensor(cx, 2, "value")?);
    let (q, k, v) = (cx.float(q)?, cx.float(k)?, cx.float(v)?);
    if cx.setting(6, "is_causal").and_then(|v| v.as_bool()) == Some(true) {
        return Err(ImportError::unsupported("a causal mask").at_attribute("is_causal"));
    }
    cx.config.ignore(&["flash_attention", "attn_logits_soft_cap"]);
    if cx.known(q, 2)? != cx.known(k, 2)? {
        return Err(ImportError::unsupported("other numbers of heads of queries and keys"));
    }
    let width = cx.known(q, 3)?.max(1) as f32;
    let scale = cx.setting(5, "scale").map_or(Ok(1.0 / width.sqrt()), |v| to_f32("scale", &v))?;
    let mut logits = cx.op(Einsum { equation: "btnh,bsnh->bnts".to_owned() }, &[q, k])?;
    logits = cx.activate(Activation::Linear { a: scale, b: 0.0 }, logits)?;
    if let Some(Item::Tensor(bias)) = cx.arg(3, "bias") {
        logits = cx.binary(BinaryKind::Add, logits, bias.id)?;
    }
    if let Some(Item::Tensor(mask)) = cx.arg(4, "mask") {
        let keep = cx.cast(mask.id, DType::Bool)?;
        let low = cx.scalar_like(-1e30, logits)?;
        logits = cx.select(keep, logits, low)?;
    }
    let weights = cx.op(Softmax { axis: -1, log: false }, &[logits])?;
    one(cx.op(Einsum { equation: "bnts,bsnh->btnh".to_owned() }, &[weights, v])?)
}

fn grayscale(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.x()?;
    let first = cx.channels_first()?;
    let axis = if first { int(cx.rank(x)).saturating_sub(3) } else { -1 };
    let shape: &[usize] = if first { &[3, 1, 1] } else { &[3] };
    let weights = cx.constant("luma", shape, vec![0.2989, 0.5870, 0.1140])?;
    let y = cx.binary(BinaryKind::Mul, x, weights)?;
    one(cx.reduce(ReduceKind::Sum, y, &[axis], true)?)
}
