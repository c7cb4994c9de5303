//! Dilated convolutions as TensorFlow writes them: the image is cut into phases (`SpaceToBatchND`), convolved, put together again.
//!
//! Phase `i` of an axis with block `b` are the positions `i, i + b, i + 2b, ...`; a convolution of all phases without padding, put
//! together again, is a convolution with dilation `b`. So phases are kept as a value of their own ([`Phases`]) that a convolution turns into the dilated one. Wherever anything else reads them
//! they are written out with reshapes and transpositions ([`settle`]).

use std::rc::Rc;

use pocketnn::ops::movement::{Pad, Reshape, Slice, Transpose};

use super::graph::Walker;
use super::node::{Lowered, Node, V, Value, int, one};
use super::registry::{Row, op};
use crate::error::{ImportError, Result};

pub(super) const ROWS: &[Row] = &[op("BatchToSpaceND", batch_to_space), op("SpaceToBatchND", space_to_batch)];

/// An image and how it is cut: axis `i + 1` by block `i`, after padding.
#[derive(Clone, Debug)]
pub(super) struct Phases {
    pub x: V,
    pub block: Vec<i64>,
    pub pads: Vec<(i64, i64)>,
    /// `x` is convolved already, with the blocks as dilations and padded as `pads` say: all that is left is to crop.
    pub convolved: bool,
    base: String,
}

impl Phases {
    /// The same phases around another image, convolved.
    pub fn convolved(&self, y: V) -> Self {
        Self { x: y, convolved: true, ..self.clone() }
    }

    /// With an axis of extent 1 inserted at `axis`, when that lies between or behind the cut ones.
    pub fn inserted(&self, x: V, axis: usize) -> Option<Self> {
        let at = axis.checked_sub(1)?;
        let mut out = Self { x, ..self.clone() };
        if at <= out.block.len() {
            out.block.insert(at, 1);
            out.pads.insert(at, (0, 0));
        }
        Some(out)
    }

    /// With an axis removed that is not cut.
    pub fn removed(&self, x: V, axis: usize) -> Option<Self> {
        let at = axis.checked_sub(1)?;
        let mut out = Self { x, ..self.clone() };
        if at < out.block.len() && (out.block.remove(at) != 1 || out.pads.remove(at) != (0, 0)) {
            return None;
        }
        Some(out)
    }
}

/// A value as a tensor; phases are written out. The inner error is for values that are no tensors.
pub(super) fn settle(walker: &mut Walker, value: Value) -> Result<Result<V>> {
    Ok(match value {
        Value::Tensor(v) => Ok(v),
        Value::Phases(p) if p.convolved => Err(ImportError::unsupported(
            "a convolution of the phases of an image that are not put together again is not supported",
        )),
        Value::Phases(p) => Ok(cut(walker, &p)?),
        Value::List(_) => Err(ImportError::unsupported("a list of tensors where a tensor is expected")),
        Value::Variable(_) => Err(ImportError::invalid("a variable where a tensor is expected")),
        Value::Text => Err(ImportError::unsupported("strings are not supported")),
        Value::Nothing => Err(ImportError::unsupported("an operation without a value where a tensor is expected")),
    })
}

/// Pairs of numbers, one an axis.
fn pairs(cx: &mut Node, i: usize, n: usize, what: &str) -> Result<Vec<(i64, i64)>> {
    let list = cx.need_ints(i, what)?;
    let (pairs, rest) = list.as_chunks::<2>();
    if !rest.is_empty() || pairs.len() != n || list.iter().any(|&p| !(0..=1 << 24).contains(&p)) {
        return Err(
            ImportError::invalid(format!("{what}: expected {n} pairs of numbers from 0 on")).found(format!("{list:?}"))
        );
    }
    Ok(pairs.iter().map(|p| (p[0], p[1])).collect())
}

fn block(cx: &mut Node) -> Result<Vec<i64>> {
    let block = cx.need_ints(1, "the block")?;
    if block.iter().any(|&b| !(1..=1 << 20).contains(&b)) {
        return Err(ImportError::invalid("a block").expected("numbers from 1 on").found(format!("{block:?}")));
    }
    Ok(block)
}

fn space_to_batch<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let x = cx.input(0)?;
    let block = block(cx)?;
    if cx.rank(x) <= block.len() {
        return Err(ImportError::invalid("more blocks than axes").found(block.len()));
    }
    let pads = pairs(cx, 2, block.len(), "padding")?;
    one(Value::Phases(Rc::new(Phases { x, block, pads, convolved: false, base: cx.base.to_owned() })))
}

/// Writes the cut out: pad, each cut axis `n` becomes `[n / b, b]`, the `b`s go to the front into the batch.
fn cut(walker: &mut Walker, p: &Phases) -> Result<V> {
    let rank = walker.builder.shape(p.x.id).len();
    let m = p.block.len();
    let mut x = p.x;
    if p.pads.iter().any(|&p| p != (0, 0)) {
        let side = |f: fn(&(i64, i64)) -> i64| {
            let behind = std::iter::repeat_n(0, rank.saturating_sub(m).saturating_sub(1));
            std::iter::once(0).chain(p.pads.iter().map(f)).chain(behind).collect::<Vec<i64>>()
        };
        let pads = [side(|p| p.0), side(|p| p.1)].concat();
        let pads = walker.builder.integers(&pads);
        x = walker.op(&p.base, Pad::default(), &[x.id, pads], x.elem)?;
    }
    let shape = extents(walker, x)?;
    let mut split = vec![shape.first().copied().unwrap_or(1)];
    let mut merged = vec![shape.first().copied().unwrap_or(1)];
    for (i, &n) in shape.iter().enumerate().skip(1) {
        match p.block.get(i.saturating_sub(1)) {
            Some(&b) if n % b == 0 => {
                split.extend([n / b, b]);
                merged.push(n / b);
                if let Some(batch) = merged.first_mut().filter(|n| **n >= 0) {
                    *batch = batch.saturating_mul(b);
                }
            }
            Some(&b) => {
                return Err(ImportError::invalid("the padded image cannot be cut into phases")
                    .expected(format!("a multiple of {b}"))
                    .found(n));
            }
            None => {
                split.push(n);
                merged.push(n);
            }
        }
    }
    // [N, n1/b1, b1, n2/b2, b2, rest..] to [b1, b2, N, n1/b1, n2/b2, rest..]
    let position = |i: usize, k: usize| i.saturating_mul(2).saturating_add(k);
    let blocks = (0..m).map(|i| position(i, 2));
    let parts = (0..m).map(|i| position(i, 1));
    let tail = position(m, 1)..split.len();
    let perm: Vec<usize> = blocks.chain([0]).chain(parts).chain(tail).collect();
    rearranged(walker, &p.base, x, &split, perm, &merged)
}

fn rearranged(walker: &mut Walker, base: &str, x: V, split: &[i64], perm: Vec<usize>, merged: &[i64]) -> Result<V> {
    let split = walker.builder.integers(split);
    let x = walker.op(base, Reshape { allow_zero: true }, &[x.id, split], x.elem)?;
    let x = walker.op(base, Transpose { perm }, &[x.id], x.elem)?;
    let merged = walker.builder.integers(merged);
    walker.op(base, Reshape { allow_zero: true }, &[x.id, merged], x.elem)
}

/// Extents, of which the batch may be unknown (-1).
fn extents(walker: &Walker, x: V) -> Result<Vec<i64>> {
    let shape = walker.builder.shape(x.id);
    let each = shape.iter().enumerate().map(|(i, d)| d.known_signed().or((i == 0).then_some(-1)));
    let all: Option<Vec<i64>> = each.collect();
    all.ok_or_else(|| {
        ImportError::unsupported("cutting an image of unknown size into phases is not supported")
            .found(pocketnn::dim::show_shape(shape))
            .help("give the inputs fixed sizes with --dim")
    })
}

fn batch_to_space<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let block = block(cx)?;
    let crops = pairs(cx, 2, block.len(), "crops")?;
    if let Value::Phases(p) = cx.value(0)?.clone()
        && p.block == block
    {
        // Cropping what was padded and not touched, or the dilated convolution.
        let begin = |i: usize| if p.convolved { 0 } else { p.pads.get(i).map_or(0, |p| p.0) };
        let end = |i: usize| if p.convolved { 0 } else { p.pads.get(i).map_or(0, |p| p.1) };
        let crops: Vec<(i64, i64)> =
            crops.iter().enumerate().map(|(i, c)| (c.0.saturating_sub(begin(i)), c.1.saturating_sub(end(i)))).collect();
        if crops.iter().all(|c| c.0 >= 0 && c.1 >= 0) {
            let y = cropped(cx, p.x, &crops)?;
            return one(y);
        }
    }
    let x = cx.input(0)?;
    let m = block.len();
    let shape = extents(cx.walker, x)?;
    if shape.len() <= m {
        return Err(ImportError::invalid("more blocks than axes").found(m));
    }
    let product = block.iter().fold(1i64, |n, &b| n.saturating_mul(b));
    let batch = shape.first().copied().unwrap_or(0);
    if batch >= 0 && (product == 0 || batch % product != 0) {
        return Err(ImportError::invalid("the batch is not a multiple of the blocks").expected(product).found(batch));
    }
    let batch = if batch < 0 { -1 } else { batch / product };
    // [b1, b2, N, n1, n2, rest..] to [N, n1, b1, n2, b2, rest..]
    let mut split = block.clone();
    split.push(batch);
    split.extend(shape.iter().skip(1));
    let at = |i: usize| i.saturating_add(m).saturating_add(1);
    let middle = (0..m).flat_map(|i| [at(i), i]);
    let tail = at(m)..split.len();
    let perm: Vec<usize> = std::iter::once(m).chain(middle).chain(tail).collect();
    let mut merged = vec![batch];
    for (i, &n) in shape.iter().enumerate().skip(1) {
        merged.push(n.saturating_mul(block.get(i.saturating_sub(1)).copied().unwrap_or(1)));
    }
    let y = rearranged(cx.walker, cx.base, x, &split, perm, &merged)?;
    one(cropped(cx, y, &crops)?)
}

/// Begin and end of axes 1 on cut off.
fn cropped(cx: &mut Node, x: V, crops: &[(i64, i64)]) -> Result<V> {
    if crops.iter().all(|&c| c == (0, 0)) {
        return Ok(x);
    }
    let starts: Vec<i64> = crops.iter().map(|c| c.0).collect();
    let ends: Vec<i64> = crops.iter().map(|c| if c.1 == 0 { i64::MAX } else { c.1.saturating_neg() }).collect();
    let axes: Vec<i64> = (0..crops.len()).map(|i| int(i).saturating_add(1)).collect();
    let [starts, ends, axes] = [&starts, &ends, &axes].map(|v| cx.integers(v));
    cx.op(Slice::default(), &[x.id, starts, ends, axes], x.elem)
}
