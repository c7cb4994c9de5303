//! Attention layers.
//!
//! A masked score is replaced by a large negative number. Where every score of a row is masked, Keras 3 gives equal weights on its
//! fused path and zeros where the scores themselves are asked for; both are kept.

use pocketnn::ops::dense::{Dense, MatMul};
use pocketnn::ops::elementwise::{BinaryKind, UnaryKind};
use pocketnn::ops::reduce::ReduceKind;
use pocketnn::ops::softmax::Softmax;
use pocketnn::{DType, Tensor, ValueId};
use serde_json::Value;

use super::call::{Cx, Item, Val, int, permute};
use super::hdf5::Array;
use super::lower::to_float;
use super::model::Layer;
use super::rows::Row;
use super::weights::{Slot, inside};
use crate::error::{ImportError, Result};

/// Rows of this family.
pub const ROWS: &[Row] = &[
    Row::new(&["Attention"], attention_slots, attention),
    Row::new(&["AdditiveAttention"], additive_slots, attention),
    Row::new(&["MultiHeadAttention", "GroupQueryAttention"], heads_slots, multi_head),
];

fn flag(layer: &Layer, key: &str, default: bool) -> bool {
    layer.config.get(key).and_then(Value::as_bool).unwrap_or(default)
}

fn attention_slots(layer: &Layer, _: u8) -> Result<Vec<Slot>> {
    let mut slots = Vec::new();
    if flag(layer, "use_scale", false) {
        slots.push(Slot::new("scale"));
    }
    if layer.config.get("score_mode").and_then(Value::as_str) == Some("concat") {
        slots.push(Slot::new("concat_score_weight"));
    }
    Ok(slots)
}

fn additive_slots(layer: &Layer, _: u8) -> Result<Vec<Slot>> {
    Ok(if flag(layer, "use_scale", true) { vec![Slot::new("scale")] } else { Vec::new() })
}

fn heads_slots(layer: &Layer, _: u8) -> Result<Vec<Slot>> {
    let bias = flag(layer, "use_bias", true);
    let mut all = Vec::new();
    for part in ["query_dense", "key_dense", "value_dense", "output_dense"] {
        let mut slots = vec![Slot::new("kernel")];
        if bias {
            slots.push(Slot::new("bias"));
        }
        all.extend(inside(part, slots));
    }
    Ok(all)
}

/// `Bool [1, T, S]`: step `t` sees steps up to `t`.
fn causal(cx: &mut Cx<'_, '_>, t: usize, s: usize) -> Result<ValueId> {
    if t.saturating_mul(s) > 1 << 26 {
        return Err(ImportError::limits("a causal mask beyond any sequence").found(format!("{t} x {s}")));
    }
    cx.lw.budget.made(&[t, s], 1, "a causal mask")?;
    let data: Vec<bool> = (0..t).flat_map(|i| (0..s).map(move |j| j <= i)).collect();
    let tensor = Tensor::new(&[1, t, s], data)?;
    Ok(cx.lw.b.constant(&format!("{}/causal", cx.name), tensor))
}

fn and(cx: &mut Cx<'_, '_>, a: Option<ValueId>, b: Option<ValueId>) -> Result<Option<ValueId>> {
    Ok(match (a, b) {
        (Some(a), Some(b)) => Some(cx.binary(BinaryKind::And, a, b)?),
        (a, b) => a.or(b),
    })
}

fn truth(cx: &Cx<'_, '_>, name: &str) -> Result<bool> {
    match cx.arg(usize::MAX, name) {
        None => Ok(false),
        Some(Item::Value(Value::Bool(b))) => Ok(b),
        Some(_) => Err(ImportError::unsupported("an argument that is no constant").at_attribute(name)),
    }
}

/// Masks given as the `mask` argument: a list of tensors or nulls.
fn given_masks(cx: &Cx<'_, '_>) -> Vec<Option<ValueId>> {
    let tensor = |i: &Item| match i {
        Item::Tensor(v) => Some(v.id),
        _ => None,
    };
    match cx.arg(usize::MAX, "mask") {
        Some(Item::List(list)) => list.iter().map(tensor).collect(),
        _ => Vec::new(),
    }
}

fn attention(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let inputs = cx.tensors();
    let (query, value) = match inputs.as_slice() {
        [q, v, ..] => (*q, *v),
        _ => return Err(ImportError::invalid("attention needs a query and a value").found(inputs.len())),
    };
    let name = cx.name.clone();
    let q = to_float(&mut cx.lw.b, query.id, &name)?;
    let v = to_float(&mut cx.lw.b, value.id, &name)?;
    let k = inputs.get(2).map_or(Ok(v), |k| to_float(&mut cx.lw.b, k.id, &name))?;
    let masks = given_masks(cx);
    let query_mask = masks.first().copied().flatten().or(query.mask);
    let value_mask = masks.get(1).copied().flatten().or(value.mask);
    let scores = if cx.layer.class == "AdditiveAttention" { additive_scores(cx, q, k)? } else { dot_scores(cx, q, k)? };
    let mut mask = value_mask.map(|m| cx.unsqueeze(m, &[1])).transpose()?;
    if truth(cx, "use_causal_mask")? || cx.config.bool("causal", false)? {
        let (t, s) = (cx.known(scores, 1)?, cx.known(scores, 2)?);
        let causal = causal(cx, t, s)?;
        mask = and(cx, mask, Some(causal))?;
    }
    let scores = match mask {
        Some(mask) => {
            let lowered = cx.with_scalar(BinaryKind::Sub, scores, 1e9)?;
            cx.select(mask, scores, lowered)?
        }
        None => scores,
    };
    let weights = cx.op(Softmax { axis: -1, log: false }, &[scores])?;
    let mut y = cx.op(MatMul {}, &[weights, v])?;
    if let Some(mask) = query_mask {
        let factor = cx.float(mask)?;
        let factor = cx.unsqueeze(factor, &[-1])?;
        y = cx.binary(BinaryKind::Mul, y, factor)?;
    }
    let mut outputs = vec![Val { id: y, mask: query_mask }];
    if truth(cx, "return_attention_scores")? {
        outputs.push(Val::new(weights));
    }
    Ok(outputs)
}

fn scalar(cx: &mut Cx<'_, '_>, slot: &str) -> Result<ValueId> {
    let array = cx.weight(slot, 0)?;
    cx.array(slot, array)
}

fn dot_scores(cx: &mut Cx<'_, '_>, q: ValueId, k: ValueId) -> Result<ValueId> {
    let use_scale = cx.config.bool("use_scale", false)?;
    match cx.config.text("score_mode", "dot")?.as_str() {
        "dot" => {
            let transposed = cx.transpose(k, &[0, 2, 1])?;
            let scores = cx.op(MatMul {}, &[q, transposed])?;
            if use_scale {
                let scale = scalar(cx, "scale")?;
                return cx.binary(BinaryKind::Mul, scores, scale);
            }
            Ok(scores)
        }
        "concat" => {
            let scale = if use_scale { Some(scalar(cx, "scale")?) } else { None };
            let active = pair_sum(cx, q, k, scale)?;
            let sum = cx.reduce(ReduceKind::Sum, active, &[-1], false)?;
            let weight = scalar(cx, "concat_score_weight")?;
            cx.binary(BinaryKind::Mul, sum, weight)
        }
        other => Err(ImportError::unsupported("score mode").found(format!("`{other}`")).at_attribute("score_mode")),
    }
}

/// `tanh(scale (q + k))` of every pair: `[N, T, S, D]`.
fn pair_sum(cx: &mut Cx<'_, '_>, q: ValueId, k: ValueId, scale: Option<ValueId>) -> Result<ValueId> {
    let q = cx.unsqueeze(q, &[2])?;
    let k = cx.unsqueeze(k, &[1])?;
    let mut sum = cx.binary(BinaryKind::Add, q, k)?;
    if let Some(scale) = scale {
        sum = cx.binary(BinaryKind::Mul, sum, scale)?;
    }
    cx.unary(UnaryKind::Tanh, sum)
}

fn additive_scores(cx: &mut Cx<'_, '_>, q: ValueId, k: ValueId) -> Result<ValueId> {
    let mut active = pair_sum(cx, q, k, None)?;
    if cx.config.bool("use_scale", true)? {
        let scale = cx.weight("scale", 1)?;
        let scale = cx.array("scale", scale)?;
        active = cx.binary(BinaryKind::Mul, active, scale)?;
    }
    cx.reduce(ReduceKind::Sum, active, &[-1], false)
}

/// `[.., C]` to `[.., H, D]`: kernel `[C, H, D]`, bias `[H, D]`.
fn project(cx: &mut Cx<'_, '_>, x: ValueId, part: &str, heads: usize) -> Result<(ValueId, usize)> {
    let kernel = cx.weight(&format!("{part}/kernel"), 3)?;
    let [inputs, h, d] = *kernel.shape.as_slice() else {
        return Err(ImportError::invalid("a projection of another rank"));
    };
    if h != heads {
        return Err(ImportError::invalid("another number of heads in a kernel")
            .expected(heads)
            .found(h)
            .at_attribute(part));
    }
    let flat = Array { shape: vec![inputs, h.saturating_mul(d)], data: kernel.data };
    let bias =
        if cx.config.bool("use_bias", true)? { Some(cx.shaped(&format!("{part}/bias"), &[h, d])?.data) } else { None };
    let y = dense(cx, x, part, &flat, bias)?;
    let shape = cx.shape(y);
    let mut target = vec![0; shape.len().saturating_sub(1)];
    target.extend([int(h), int(d)]);
    Ok((cx.reshape(y, &target)?, d))
}

fn dense(cx: &mut Cx<'_, '_>, x: ValueId, part: &str, kernel: &Array, bias: Option<Vec<f32>>) -> Result<ValueId> {
    let kernel = permute(kernel, &[1, 0])?;
    let w = cx.constant(&format!("{part}/kernel"), &kernel.shape, kernel.data)?;
    let b = bias.map(|b| cx.constant(&format!("{part}/bias"), &[b.len()], b)).transpose()?;
    cx.node1(Dense::default(), &[Some(x), Some(w), b])
}

/// Axes of one attention: those that are attended over, and those that stay.
struct Axes {
    free: Vec<usize>,
    attended: Vec<usize>,
}

impl Axes {
    fn of(cx: &Cx<'_, '_>, x: ValueId) -> Result<Self> {
        let rank = cx.rank(x);
        let last = rank.saturating_sub(1);
        let attended = match cx.config.i64s("attention_axes")? {
            Some(list) => list.iter().map(|&a| cx.axis(a, x)).collect::<Result<Vec<_>>>()?,
            None => (1..last).collect(),
        };
        let free = (0..last).filter(|a| !attended.contains(a)).collect();
        Ok(Self { free, attended })
    }

    /// `[N, .., H, D]` to `[N, free.., H, T, D]` with the attended axes as one.
    fn split(&self, cx: &mut Cx<'_, '_>, x: ValueId) -> Result<ValueId> {
        let rank = cx.rank(x);
        let (heads, width) = (rank.saturating_sub(2), rank.saturating_sub(1));
        let perm: Vec<usize> =
            self.free.iter().copied().chain([heads]).chain(self.attended.iter().copied()).chain([width]).collect();
        let moved = cx.transpose(x, &perm)?;
        if self.attended.len() == 1 {
            return Ok(moved);
        }
        let mut target = vec![0; self.free.len().saturating_add(1)];
        target.extend([-1, int(cx.known(x, width)?)]);
        cx.reshape(moved, &target)
    }

    /// The inverse, for a query of these extents.
    fn join(&self, cx: &mut Cx<'_, '_>, y: ValueId, query: ValueId) -> Result<ValueId> {
        let rank = cx.rank(query);
        let free = self.free.len();
        let mut y = y;
        if self.attended.len() > 1 {
            let mut target = vec![0; free.saturating_add(1)];
            for &a in &self.attended {
                target.push(int(cx.known(query, a)?));
            }
            target.push(int(cx.known(y, cx.rank(y).saturating_sub(1))?));
            y = cx.reshape(y, &target)?;
        }
        let place = |axis: usize| -> Option<usize> {
            self.free.iter().position(|&a| a == axis).or_else(|| {
                let at = self.attended.iter().position(|&a| a == axis)?;
                at.checked_add(free)?.checked_add(1)
            })
        };
        let mut perm: Vec<usize> = (0..rank.saturating_sub(1)).filter_map(place).collect();
        perm.extend([free, cx.rank(y).saturating_sub(1)]);
        cx.transpose(y, &perm)
    }
}

fn multi_head(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let grouped = cx.layer.class == "GroupQueryAttention";
    for off in ["use_gate", "sliding_window", "flash_attention", "output_gate", "use_rope"] {
        if cx.config.get(off).is_some_and(|v| *v != Value::Bool(false)) {
            return Err(ImportError::unsupported("a setting of the attention").at_attribute(off));
        }
    }
    cx.config.ignore(&["key_dim", "value_dim", "head_dim", "output_shape"]);
    let heads = cx.config.usize(if grouped { "num_query_heads" } else { "num_heads" })?;
    let shared = if grouped { cx.config.usize("num_key_value_heads")? } else { heads };
    let tensor = |cx: &Cx<'_, '_>, at: usize, name: &str| match cx.arg(at, name) {
        Some(Item::Tensor(v)) => Some(v),
        _ => None,
    };
    let missing = || ImportError::invalid("attention needs a query and a value");
    let query = tensor(cx, 0, "query").ok_or_else(missing)?;
    let value = tensor(cx, 1, "value").or_else(|| cx.tensors().get(1).copied()).ok_or_else(missing)?;
    let key = tensor(cx, 2, "key").unwrap_or(value);
    let name = cx.name.clone();
    let [xq, xk, xv] = [query.id, key.id, value.id].map(|x| to_float(&mut cx.lw.b, x, &name));
    let (xq, xk, xv) = (xq?, xk?, xv?);
    let axes = Axes::of(cx, xq)?;
    let (q, width) = project(cx, xq, "query_dense", heads)?;
    let (k, _) = project(cx, xk, "key_dense", shared)?;
    let (v, _) = project(cx, xv, "value_dense", shared)?;
    let [q, k, v] = [q, k, v].map(|x| axes.split(cx, x));
    let (q, mut k, mut v) = (q?, k?, v?);
    if shared != heads {
        let repeats = heads.checked_div(shared).unwrap_or(0);
        if shared.saturating_mul(repeats) != heads {
            return Err(ImportError::invalid("query heads that are no multiple of key heads")
                .expected(shared)
                .found(heads));
        }
        let axis = axes.free.len();
        let order: Vec<i64> = (0..heads).map(|h| int(h.checked_div(repeats).unwrap_or(0))).collect();
        let order = cx.lw.b.constant("heads", Tensor::vector(&order));
        let gather = pocketnn::ops::gather::Gather { axis: int(axis) };
        k = cx.op(gather.clone(), &[k, order])?;
        v = cx.op(gather, &[v, order])?;
    }
    let q = cx.with_scalar(BinaryKind::Mul, q, 1.0 / (width as f32).sqrt())?;
    let rank = cx.rank(k);
    let mut perm: Vec<usize> = (0..rank).collect();
    perm.swap(rank.saturating_sub(1), rank.saturating_sub(2));
    let k = cx.transpose(k, &perm)?;
    let scores = cx.op(MatMul {}, &[q, k])?;
    let mask = head_mask(cx, [query, value, key], scores, &axes)?;
    let scores = match mask {
        Some(mask) => {
            let low = cx.scalar_like(-1e9, scores)?;
            cx.select(mask, scores, low)?
        }
        None => scores,
    };
    let mut weights = cx.op(Softmax { axis: -1, log: false }, &[scores])?;
    let wanted = truth(cx, "return_attention_scores")?;
    let dropout = cx.config.f32_or("dropout", 0.0)? > 0.0;
    if let (Some(mask), true) = (mask, cx.lw.version >= 3 && (wanted || dropout || cx.rank(xq) != 3)) {
        let zero = cx.scalar_like(0.0, weights)?;
        weights = cx.select(mask, weights, zero)?;
    }
    let y = cx.op(MatMul {}, &[weights, v])?;
    let y = axes.join(cx, y, xq)?;
    let y = output(cx, y, heads)?;
    let mut outputs = vec![Val { id: y, mask: query.mask }];
    if wanted {
        if axes.attended.len() > 1 || axes.free.len() > 1 {
            return Err(ImportError::unsupported("scores of an attention over several axes")
                .at_attribute("return_attention_scores"));
        }
        outputs.push(Val::new(weights));
    }
    Ok(outputs)
}

/// `[.., H, D]` to `[.., O..]`: kernel `[H, D, O..]`.
fn output(cx: &mut Cx<'_, '_>, x: ValueId, heads: usize) -> Result<ValueId> {
    let kernel = cx.weights.read(cx.lw.file, "output_dense/kernel").map_err(|e| e.at_attribute("output_dense"))?;
    let [h, d, out @ ..] = kernel.shape.as_slice() else {
        return Err(ImportError::invalid("an output kernel of another rank").found(format!("{:?}", kernel.shape)));
    };
    if *h != heads {
        return Err(ImportError::invalid("another number of heads in a kernel")
            .expected(heads)
            .found(h)
            .at_attribute("output_dense"));
    }
    let width = out.iter().fold(1usize, |a, &b| a.saturating_mul(b));
    let flat = Array { shape: vec![h.saturating_mul(*d), width], data: kernel.data.clone() };
    let bias = if cx.config.bool("use_bias", true)? { Some(cx.shaped("output_dense/bias", out)?.data) } else { None };
    let rank = cx.rank(x).saturating_sub(2);
    let mut target = vec![0; rank];
    target.push(int(h.saturating_mul(*d)));
    let x = cx.reshape(x, &target)?;
    let y = dense(cx, x, "output_dense", &flat, bias)?;
    if out.len() == 1 {
        return Ok(y);
    }
    let mut target = vec![0; rank];
    target.extend(out.iter().map(|&d| int(d)));
    cx.reshape(y, &target)
}

/// Masks of query, value and key, the causal one and the argument's, for scores `[N, free.., H, T, S]`.
fn head_mask(
    cx: &mut Cx<'_, '_>,
    [query, value, key]: [Val; 3],
    scores: ValueId,
    axes: &Axes,
) -> Result<Option<ValueId>> {
    let given = |cx: &Cx<'_, '_>, name: &str| match cx.arg(usize::MAX, name) {
        Some(Item::Tensor(v)) => Some(v.id),
        _ => None,
    };
    let rows = given(cx, "query_mask").or(query.mask).map(|m| cx.unsqueeze(m, &[2])).transpose()?;
    let columns = given(cx, "value_mask").or(value.mask).map(|m| cx.unsqueeze(m, &[1])).transpose()?;
    let of_key = if key == value { None } else { given(cx, "key_mask").or(key.mask) };
    let keys = of_key.map(|m| cx.unsqueeze(m, &[1])).transpose()?;
    let mut mask = and(cx, rows, columns)?;
    mask = and(cx, mask, keys)?;
    if truth(cx, "use_causal_mask")? {
        let rank = cx.rank(scores);
        let (t, s) = (cx.known(scores, rank.saturating_sub(2))?, cx.known(scores, rank.saturating_sub(1))?);
        let causal = causal(cx, t, s)?;
        mask = and(cx, mask, Some(causal))?;
    }
    let argument = given(cx, "attention_mask").map(|m| cx.cast(m, DType::Bool)).transpose()?;
    mask = and(cx, mask, argument)?;
    let Some(mask) = mask else { return Ok(None) };
    if axes.attended.len() > 1 || axes.free.len() > 1 {
        return Err(ImportError::unsupported("a mask of an attention over several axes"));
    }
    // [N, T, S] stands for every head.
    Ok(Some(if cx.rank(mask) == 3 { cx.unsqueeze(mask, &[1])? } else { mask }))
}
