//! Operators that carry a state from one call to the next: inputs and outputs of a step, not memory of the graph.

use pocketnn::ops::activation::Activation;
use pocketnn::ops::conv::{Conv, Pads};
use pocketnn::ops::dense::MatMul;
use pocketnn::ops::elementwise::{BinaryKind, UnaryKind};
use pocketnn::ops::movement::{Concat, ConstantOfShape, Shape, Slice};

use super::activation::activate;
use super::attention::{shared_heads, split_heads};
use super::attrs::{missing, unknown_value};
use super::dense::turned;
use super::elem::Elem;
use super::node::{Lowered, Node, V, cast_tensor};
use super::registry::{Row, op};
use crate::error::{ImportError, Result};

pub(super) const ROWS: &[Row] =
    &[op("CausalConvWithState", &[27], causal_conv), op("LinearAttention", &[27], linear_attention)];

/// Positions `start .. end` of axis 2.
fn span(cx: &mut Node, x: V, start: i64, end: i64) -> Result<V> {
    let [a, b, c] = [start, end, 2].map(|n| cx.integers(&[n]));
    cx.op(Slice::default(), &[x.id, a, b, c], x.elem)
}

/// Zeros of a shape computed from these one-element parts.
fn zeros(cx: &mut Node, parts: &[V], elem: Elem) -> Result<V> {
    let ids: Vec<_> = parts.iter().map(|p| p.id).collect();
    let shape = cx.op(Concat { axis: 0 }, &ids, Elem::I64)?;
    let value = cast_tensor(&pocketnn::Tensor::vector(&[0.0f32]), elem.carried()?)?;
    cx.op(ConstantOfShape { value }, &[shape.id], elem)
}

fn extent(cx: &mut Node, x: V, axis: i64) -> Result<V> {
    cx.op(Shape { start: axis, end: Some(axis.saturating_add(1)) }, &[x.id], Elem::I64)
}

/// A depthwise convolution over the past and the new positions. Outputs: `y [N, C, L]` and the last `k - 1` positions.
fn causal_conv(cx: &mut Node) -> Result<Lowered> {
    let (x, w, bias, past) = (cx.input(0)?, cx.input(1)?, cx.maybe(2)?, cx.maybe(3)?);
    let (Some(channels), Some(k)) = (cx.extent(w, 0), cx.extent(w, 2).filter(|&k| k > 0)) else {
        return Err(ImportError::unsupported("a kernel of unknown extents is not supported"));
    };
    let kept = i64::try_from(k.saturating_sub(1)).unwrap_or(i64::MAX);
    let past = if let Some(past) = past {
        past
    } else {
        let (n, c) = (extent(cx, x, 0)?, extent(cx, x, 1)?);
        let length = V { id: cx.integers(&[kept]), elem: Elem::I64 };
        zeros(cx, &[n, c, length], x.elem)?
    };
    let all = cx.op(Concat { axis: 2 }, &[past.id, x.id], x.elem)?;
    let op = Conv { pads: Pads::default(), groups: channels, ..Conv::default() };
    let mut y = cx.op_with(op, &[Some(all.id), Some(w.id), bias.map(|b| b.id)], x.elem)?;
    match cx.attrs.string("activation", "none")?.as_str() {
        "none" => {}
        "silu" | "swish" => y = activate(cx, Activation::SILU, y)?,
        other => return Err(unknown_value("activation", "`none`, `silu` or `swish`", other)),
    }
    let start = if kept == 0 { i64::MAX } else { kept.saturating_neg() };
    let present = span(cx, all, start, i64::MAX)?;
    Ok(vec![y.into(), present.into()])
}

/// Which terms the recurrence has: decay of the state, and correction of the value by what the state predicts.
fn rule(cx: &Node) -> Result<(bool, bool)> {
    match cx.attrs.string("update_rule", "gated_delta")?.as_str() {
        "linear" => Ok((false, false)),
        "gated" => Ok((true, false)),
        "delta" => Ok((false, true)),
        "gated_delta" => Ok((true, true)),
        other => Err(unknown_value("update_rule", "`linear`, `gated`, `delta` or `gated_delta`", other)),
    }
}

fn heads(cx: &Node, name: &str) -> Result<usize> {
    let n = cx.attrs.opt_int(name)?.ok_or_else(|| missing(name))?;
    usize::try_from(n)
        .ok()
        .filter(|&n| n > 0)
        .ok_or_else(|| ImportError::invalid("the number of heads").expected("at least 1").found(n).at_attribute(name))
}

/// `S = decay S + k (x) beta (v - k S)`, step by step; `o = scale q S`. The length must be known.
fn linear_attention(cx: &mut Node) -> Result<Lowered> {
    let (q, k, v) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
    let (gated, delta) = rule(cx)?;
    cx.attrs.ignore(&["chunk_size"]);
    let (query_heads, key_heads) = (heads(cx, "q_num_heads")?, heads(cx, "kv_num_heads")?);
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let steps = cx.extent(q, 1).ok_or_else(|| ImportError::unsupported("the length of the sequence must be known"))?;
    let q = split_heads(cx, q, count(query_heads))?;
    let (k, v) = (split_heads(cx, k, count(key_heads))?, split_heads(cx, v, count(key_heads))?);
    let scale = match (cx.attrs.float("scale", 0.0)?, cx.extent(q, 3)) {
        (0.0, Some(width)) if width > 0 => 1.0 / (width as f32).sqrt(),
        (0.0, _) => return Err(ImportError::unsupported("the size of a head must be known")),
        (scale, _) => scale,
    };
    let scale = cx.scalar_like(q, f64::from(scale))?;
    let q = cx.binary(BinaryKind::Mul, q, scale)?;
    let mut state = if let Some(given) = cx.maybe(3)? {
        given
    } else {
        let parts = [extent(cx, k, 0)?, extent(cx, k, 1)?, extent(cx, k, 3)?, extent(cx, v, 3)?];
        zeros(cx, &parts, v.elem)?
    };
    let decay = if gated {
        let g = cx.maybe(4)?.ok_or_else(|| ImportError::invalid("input 4 (decay) is missing"))?;
        let g = split_heads(cx, g, count(key_heads))?;
        Some(cx.unary(UnaryKind::Exp, g)?)
    } else {
        None
    };
    let rate = if delta {
        let beta = cx.maybe(5)?.ok_or_else(|| ImportError::invalid("input 5 (beta) is missing"))?;
        let single = cx.extent(beta, 2) == Some(1);
        Some(split_heads(cx, beta, if single { 1 } else { count(key_heads) })?)
    } else {
        None
    };
    let mut outputs = Vec::with_capacity(steps.min(1024));
    for t in 0..steps {
        cx.walker.count_op()?;
        let at = |cx: &mut Node, x: V| span(cx, x, count(t), count(t).saturating_add(1));
        if let Some(decay) = decay {
            let d = at(cx, decay)?;
            let d = turned(cx, d)?;
            state = cx.binary(BinaryKind::Mul, state, d)?;
        }
        let (key, mut value) = (at(cx, k)?, at(cx, v)?);
        if let Some(rate) = rate {
            let known = cx.op(MatMul::default(), &[key.id, state.id], value.elem)?;
            let error = cx.binary(BinaryKind::Sub, value, known)?;
            let beta = at(cx, rate)?;
            value = cx.binary(BinaryKind::Mul, error, beta)?;
        }
        let column = turned(cx, key)?;
        let update = cx.binary(BinaryKind::Mul, column, value)?;
        state = cx.binary(BinaryKind::Add, state, update)?;
        let query = at(cx, q)?;
        let shared = shared_heads(cx, state, query_heads)?;
        outputs.push(cx.op(MatMul::default(), &[query.id, shared.id], v.elem)?.id);
    }
    if outputs.is_empty() {
        return Err(ImportError::unsupported("a sequence of no steps is not supported"));
    }
    let y = cx.op(Concat { axis: 2 }, &outputs, v.elem)?;
    let y = cx.transpose(y, &[0, 2, 1, 3])?;
    let y = cx.reshape(y, &[0, 0, -1])?;
    Ok(vec![y.into(), state.into()])
}
