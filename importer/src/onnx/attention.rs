//! Attention and rotary embedding, composed from products, softmax and masks.

use pocketnn::ops::activation::Activation;
use pocketnn::ops::dense::MatMul;
use pocketnn::ops::elementwise::{BinaryKind, Where};
use pocketnn::ops::gather::Gather;
use pocketnn::ops::movement::{Concat, Expand, Pad, Range, Shape, Slice, Squeeze, Unsqueeze};
use pocketnn::ops::reduce::ReduceKind;
use pocketnn::ops::softmax::Softmax;

use super::activation::activate;
use super::attrs::missing;
use super::constant::cast_to;
use super::dense::turned;
use super::elem::Elem;
use super::node::{Lowered, Node, V, one};
use super::norm::reduce;
use super::registry::{Row, op};
use crate::error::{ImportError, Result};

pub(super) const ROWS: &[Row] = &[
    op("Attention", &[23, 24, 25], attention),
    op("RotaryEmbedding", &[23], rotary_embedding),
    Row { domain: "ai.onnx.preview", name: "FlexAttention", since: &[1], lower: flex_attention },
];

/// A positive number of heads.
fn heads(cx: &Node, name: &str) -> Result<Option<i64>> {
    let n = cx.attrs.opt_int(name)?;
    if n.is_some_and(|n| n <= 0) {
        return Err(ImportError::invalid("the number of heads").expected("at least 1").at_attribute(name));
    }
    Ok(n)
}

/// `[N, S, heads * D]` as `[N, heads, S, D]`.
pub(super) fn split_heads(cx: &mut Node, x: V, count: i64) -> Result<V> {
    let x = cx.reshape(x, &[0, 0, count, -1])?;
    cx.transpose(x, &[0, 2, 1, 3])
}

/// Extent `axis` of a value as a vector of one i64.
fn extent(cx: &mut Node, x: V, axis: i64) -> Result<V> {
    let end = if axis == -1 { None } else { Some(axis.saturating_add(1)) };
    cx.op(Shape { start: axis, end }, &[x.id], Elem::I64)
}

/// Each of the `heads` of keys or values repeated for the query heads that share it.
pub(super) fn shared_heads(cx: &mut Node, x: V, query_heads: usize) -> Result<V> {
    let own = cx.extent(x, 1).filter(|&h| h > 0 && query_heads.is_multiple_of(h)).ok_or_else(|| {
        ImportError::invalid("the number of query heads must be a known multiple of the heads of keys and values")
            .found(query_heads)
    })?;
    if own == query_heads {
        return Ok(x);
    }
    let times = i64::try_from(query_heads.checked_div(own).unwrap_or(1)).unwrap_or(1);
    let axis = cx.integers(&[2]);
    let x5 = cx.op(Unsqueeze::default(), &[x.id, axis], x.elem)?;
    let shape = cx.integers(&[1, 1, times, 1, 1]);
    let wide = cx.op(Expand::default(), &[x5.id, shape], x.elem)?;
    let (length, width) = (extent(cx, x, 2)?, extent(cx, x, 3)?);
    let (zero, count) = (cx.integers(&[0]), cx.integers(&[i64::try_from(query_heads).unwrap_or(i64::MAX)]));
    let target = cx.op(Concat { axis: 0 }, &[zero, count, length.id, width.id], Elem::I64)?;
    cx.op(pocketnn::ops::movement::Reshape::default(), &[wide.id, target.id], x.elem)
}

/// `0, 1, ...` below a length, shaped by unsqueezing `axes`.
fn positions(cx: &mut Node, length: V, axes: &[i64]) -> Result<V> {
    let (zero, step) = (cx.tensor(pocketnn::Tensor::scalar(0i64)), cx.tensor(pocketnn::Tensor::scalar(1i64)));
    let none = cx.integers(&[0]);
    let limit = cx.op(Squeeze::default(), &[length.id, none], Elem::I64)?;
    let range = cx.op(Range::default(), &[zero, limit.id, step], Elem::I64)?;
    let axes = cx.integers(axes);
    cx.op(Unsqueeze::default(), &[range.id, axes], Elem::I64)
}

/// What is added to the scores: the caller's mask, causality, windows and padding, disallowed places minus infinity.
struct Bias {
    total: Option<V>,
}

impl Bias {
    fn add(&mut self, cx: &mut Node, part: V) -> Result<()> {
        self.total = Some(match self.total {
            None => part,
            Some(total) => cx.binary(BinaryKind::Add, total, part)?,
        });
        Ok(())
    }

    /// Adds minus infinity where `allowed` does not hold.
    fn forbid(&mut self, cx: &mut Node, allowed: V) -> Result<()> {
        let (zero, never) = (cx.float(0.0), cx.float(f32::NEG_INFINITY));
        let part = cx.op(Where::default(), &[allowed.id, zero.id, never.id], Elem::F32)?;
        self.add(cx, part)
    }
}

/// The caller's mask as f32, its last axis lengthened to that of the keys.
fn given_mask(cx: &mut Node, mask: V, keys: V, bias: &mut Bias) -> Result<()> {
    let (zero, never) = (cx.float(0.0), cx.float(f32::NEG_INFINITY));
    let mask = if mask.elem == Elem::Bool {
        cx.op(Where::default(), &[mask.id, zero.id, never.id], Elem::F32)?
    } else {
        cast_to(cx, mask, Elem::F32)?
    };
    let (long, short) = (extent(cx, keys, 2)?, extent(cx, mask, -1)?);
    let more = cx.binary(BinaryKind::Sub, long, short)?;
    if cx.const_ints(more).as_deref() == Some(&[0]) {
        return bias.add(cx, mask);
    }
    let (none, last) = (cx.integers(&[0]), cx.integers(&[-1]));
    let pads = cx.op(Concat { axis: 0 }, &[none, more.id], Elem::I64)?;
    let mask = cx.op(Pad::default(), &[mask.id, pads.id, never.id, last], Elem::F32)?;
    bias.add(cx, mask)
}

/// Position of each query among the keys, `[1 or N, 1, S, 1]`: those before it are in the past or in an outer cache.
fn query_positions(cx: &mut Node, q: V, past: Option<V>, lengths: Option<V>) -> Result<V> {
    let count = extent(cx, q, 2)?;
    let own = positions(cx, count, &[0, 1, 3])?;
    match (past, lengths) {
        (Some(past), _) => {
            let before = extent(cx, past, 2)?;
            cx.binary(BinaryKind::Add, own, before)
        }
        (None, Some(lengths)) => {
            let before = cx.binary(BinaryKind::Sub, lengths, count)?;
            let axes = cx.integers(&[1, 2, 3]);
            let before = cx.op(Unsqueeze::default(), &[before.id, axes], Elem::I64)?;
            cx.binary(BinaryKind::Add, own, before)
        }
        (None, None) => Ok(own),
    }
}

fn biases(cx: &mut Node, q: V, keys: V, past: Option<V>, lengths: Option<V>) -> Result<Option<V>> {
    let mut bias = Bias { total: None };
    if let Some(mask) = cx.maybe(3)? {
        given_mask(cx, mask, keys, &mut bias)?;
    }
    let causal = cx.attrs.flag("is_causal", false)?;
    let (left, right) = (cx.attrs.int("left_window_size", -1)?, cx.attrs.int("right_window_size", -1)?);
    if !causal && left < 0 && right < 0 && lengths.is_none() {
        return Ok(bias.total);
    }
    let rows = query_positions(cx, q, past, lengths)?;
    let length = extent(cx, keys, 2)?;
    let columns = positions(cx, length, &[0, 1, 2])?;
    if causal {
        let allowed = cx.compare(BinaryKind::Le, columns, rows)?;
        bias.forbid(cx, allowed)?;
    }
    for (bound, kind, sign) in [(left, BinaryKind::Ge, -1), (right, BinaryKind::Le, 1)] {
        if bound >= 0 {
            let by = cx.scalar_like(rows, (bound as f64) * f64::from(sign))?;
            let edge = cx.binary(BinaryKind::Add, rows, by)?;
            let allowed = cx.compare(kind, columns, edge)?;
            bias.forbid(cx, allowed)?;
        }
    }
    if let Some(lengths) = lengths {
        let axes = cx.integers(&[1, 2, 3]);
        let lengths = cx.op(Unsqueeze::default(), &[lengths.id, axes], Elem::I64)?;
        let allowed = cx.compare(BinaryKind::Lt, columns, lengths)?;
        bias.forbid(cx, allowed)?;
    }
    Ok(bias.total)
}

/// The past in front of the new keys or values, along the sequence.
fn present(cx: &mut Node, past: Option<V>, x: V) -> Result<V> {
    match past {
        None => Ok(x),
        Some(past) => cx.op(Concat { axis: 2 }, &[past.id, x.id], x.elem),
    }
}

fn attention(cx: &mut Node) -> Result<Lowered> {
    let (mut q, mut k, mut v) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
    cx.floats_only(q)?;
    cx.attrs.ignore(&["softmax_precision"]);
    let (query_heads, key_heads) = (heads(cx, "q_num_heads")?, heads(cx, "kv_num_heads")?);
    let flat = cx.rank(q) == 3;
    if flat {
        q = split_heads(cx, q, query_heads.ok_or_else(|| missing("q_num_heads"))?)?;
        let count = key_heads.ok_or_else(|| missing("kv_num_heads"))?;
        k = split_heads(cx, k, count)?;
        v = split_heads(cx, v, count)?;
    }
    let (past_key, past_value) = (cx.maybe(4)?, cx.maybe(5)?);
    let lengths = cx.maybe(6)?;
    let (keys, values) = (present(cx, past_key, k)?, present(cx, past_value, v)?);
    let bias = biases(cx, q, keys, past_key, lengths)?;
    let (scores, probabilities, picked) = scores(cx, q, keys, bias)?;
    let count = cx.extent(q, 1).ok_or_else(|| ImportError::unsupported("the number of query heads must be known"))?;
    let shared = shared_heads(cx, values, count)?;
    let mut y = cx.op(MatMul::default(), &[probabilities.id, shared.id], q.elem)?;
    if flat {
        y = cx.transpose(y, &[0, 2, 1, 3])?;
        y = cx.reshape(y, &[0, 0, -1])?;
    }
    let shown = picked.unwrap_or(scores);
    Ok(vec![y.into(), keys.into(), values.into(), shown.into()])
}

/// Raw scores, probabilities, and the stage that the fourth output shows.
fn scores(cx: &mut Node, q: V, keys: V, bias: Option<V>) -> Result<(V, V, Option<V>)> {
    let mode = cx.attrs.int("qk_matmul_output_mode", 0)?;
    let cap = cx.attrs.float("softcap", 0.0)?;
    let count = cx.extent(q, 1).ok_or_else(|| ImportError::unsupported("the number of query heads must be known"))?;
    let scale = match (cx.attrs.opt_float("scale")?, cx.extent(q, 3)) {
        (Some(scale), _) => scale,
        (None, Some(width)) if width > 0 => 1.0 / (width as f32).sqrt(),
        _ => return Err(ImportError::unsupported("the size of a head must be known")),
    };
    let keys = shared_heads(cx, keys, count)?;
    let turned = turned(cx, keys)?;
    let scale = cx.scalar_like(q, f64::from(scale))?;
    let scaled = cx.binary(BinaryKind::Mul, q, scale)?;
    let raw = cx.op(MatMul::default(), &[scaled.id, turned.id], q.elem)?;
    let mut s = raw;
    if cap != 0.0 {
        s = activate(cx, Activation::ScaledTanh { alpha: cap, beta: 1.0 / cap }, s)?;
    }
    let capped = s;
    if let Some(bias) = bias {
        let bias = cx.typed(bias.id, s.elem)?;
        s = cx.binary(BinaryKind::Add, s, bias)?;
    }
    let masked = s;
    let mut p = cx.op(Softmax { axis: -1, log: false }, &[s.id], s.elem)?;
    if let Some(bias) = bias {
        // A query that may attend to nothing gets zeros.
        let most = reduce(cx, ReduceKind::Max, bias, &[-1])?;
        let never = cx.float(f32::NEG_INFINITY);
        let lost = cx.compare(BinaryKind::Eq, most, never)?;
        let zero = cx.scalar_like(p, 0.0)?;
        p = cx.op(Where::default(), &[lost.id, zero.id, p.id], p.elem)?;
    }
    let shown = match mode {
        0 => None,
        1 => Some(capped),
        2 => Some(masked),
        3 => Some(p),
        other => {
            return Err(ImportError::invalid("the mode")
                .expected("0 to 3")
                .found(other)
                .at_attribute("qk_matmul_output_mode"));
        }
    };
    Ok((raw, p, shown))
}

/// A part of an axis.
fn part(cx: &mut Node, x: V, axis: i64, start: i64, end: i64, step: i64) -> Result<V> {
    let lists = [[start], [end], [axis], [step]].map(|l| cx.integers(&l));
    let [a, b, c, d] = lists;
    cx.op(Slice::default(), &[x.id, a, b, c, d], x.elem)
}

/// Pairs of elements turned by angles whose cosines and sines are given for each position.
fn rotary_embedding(cx: &mut Node) -> Result<Lowered> {
    let (mut x, mut cos, mut sin) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
    let ids = cx.maybe(3)?;
    let interleaved = cx.attrs.flag("interleaved", false)?;
    let rotated = cx.attrs.int("rotary_embedding_dim", 0)?;
    let count = cx.attrs.int("num_heads", 0)?;
    let flat = cx.rank(x) == 3;
    // Inside: [N, S, heads, D].
    x = if flat {
        if count <= 0 {
            return Err(missing("num_heads"));
        }
        cx.reshape(x, &[0, 0, count, -1])?
    } else {
        cx.transpose(x, &[0, 2, 1, 3])?
    };
    if let Some(ids) = ids {
        cos = cx.op(Gather { axis: 0 }, &[cos.id, ids.id], cos.elem)?;
        sin = cx.op(Gather { axis: 0 }, &[sin.id, ids.id], sin.elem)?;
    }
    let width = cx.extent(x, 3).and_then(|w| i64::try_from(w).ok());
    let width = width.ok_or_else(|| ImportError::unsupported("the size of a head must be known"))?;
    let turned = if rotated > 0 { rotated.min(width) } else { width };
    let half = turned / 2;
    let angle = |cx: &mut Node, v: V| -> Result<V> {
        let v = part(cx, v, -1, 0, half, 1)?;
        let axis = cx.integers(&[2]);
        cx.op(Unsqueeze::default(), &[v.id, axis], v.elem)
    };
    let (cos, sin) = (angle(cx, cos)?, angle(cx, sin)?);
    let (a, b) = if interleaved {
        (part(cx, x, -1, 0, turned, 2)?, part(cx, x, -1, 1, turned, 2)?)
    } else {
        (part(cx, x, -1, 0, half, 1)?, part(cx, x, -1, half, turned, 1)?)
    };
    let (ac, bs) = (cx.binary(BinaryKind::Mul, a, cos)?, cx.binary(BinaryKind::Mul, b, sin)?);
    let (a_s, bc) = (cx.binary(BinaryKind::Mul, a, sin)?, cx.binary(BinaryKind::Mul, b, cos)?);
    let (real, imaginary) = (cx.binary(BinaryKind::Sub, ac, bs)?, cx.binary(BinaryKind::Add, a_s, bc)?);
    let mut y = if interleaved {
        let axis = cx.integers(&[-1]);
        let real = cx.op(Unsqueeze::default(), &[real.id, axis], x.elem)?;
        let imaginary = cx.op(Unsqueeze::default(), &[imaginary.id, axis], x.elem)?;
        let pairs = cx.op(Concat { axis: -1 }, &[real.id, imaginary.id], x.elem)?;
        cx.reshape(pairs, &[0, 0, 0, turned])?
    } else {
        cx.op(Concat { axis: -1 }, &[real.id, imaginary.id], x.elem)?
    };
    if turned < width {
        let rest = part(cx, x, -1, turned, width, 1)?;
        y = cx.op(Concat { axis: -1 }, &[y.id, rest.id], x.elem)?;
    }
    one(if flat { cx.reshape(y, &[0, 0, -1])? } else { cx.transpose(y, &[0, 2, 1, 3])? })
}

/// Attention whose scores and probabilities pass through graphs.
fn flex_attention(cx: &mut Node) -> Result<Lowered> {
    let (q, k, v) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
    if [q, k, v].iter().any(|&x| cx.rank(x) != 4) {
        return Err(ImportError::invalid("expected queries, keys and values of rank 4"));
    }
    let scale = match (cx.attrs.opt_float("scale")?, cx.extent(q, 3)) {
        (Some(scale), _) => scale,
        (None, Some(width)) if width > 0 => 1.0 / (width as f32).sqrt(),
        _ => return Err(ImportError::unsupported("queries of unknown width without `scale` are not supported")),
    };
    let heads =
        cx.extent(q, 1).ok_or_else(|| ImportError::unsupported("queries of unknown heads are not supported"))?;
    let (k, v) = (shared_heads(cx, k, heads)?, shared_heads(cx, v, heads)?);
    let root = f64::from(scale.sqrt());
    let (root_q, root_k) = (cx.scalar_like(q, root)?, cx.scalar_like(k, root)?);
    let (scaled, keys) = (cx.binary(BinaryKind::Mul, q, root_q)?, cx.binary(BinaryKind::Mul, k, root_k)?);
    let keys = cx.transpose(keys, &[0, 1, 3, 2])?;
    let scores = cx.op(MatMul::default(), &[scaled.id, keys.id], q.elem)?;
    let precision = match cx.attrs.opt_int("softmax_precision")? {
        Some(n) => Elem::parse(i32::try_from(n).unwrap_or(-1)).map_err(|e| e.at_attribute("softmax_precision"))?,
        None if q.elem == Elem::F64 => Elem::F64,
        None => Elem::F32,
    };
    let scores = cast_to(cx, scores, precision)?;
    let scores = modified(cx, "score_mod", scores)?;
    let probabilities = cx.op(Softmax { axis: -1, log: false }, &[scores.id], precision)?;
    let probabilities = modified(cx, "prob_mod", probabilities)?;
    let values = cast_to(cx, v, precision)?;
    let y = cx.op(MatMul::default(), &[probabilities.id, values.id], precision)?;
    one(cast_to(cx, y, v.elem)?)
}

/// A value passed through the graph of an attribute, if there is one.
fn modified(cx: &mut Node, attribute: &str, x: V) -> Result<V> {
    let Some(graph) = cx.attrs.opt_graph(attribute)? else { return Ok(x) };
    let env = cx.env;
    let out = cx.walker.subgraph(graph, env, vec![x.into()])?;
    match out.into_iter().next() {
        Some(super::node::Value::Tensor(y)) => cast_to(cx, y, x.elem),
        _ => Err(ImportError::invalid("the graph must give one tensor").at_attribute(attribute)),
    }
}
