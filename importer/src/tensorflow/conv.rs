//! Convolutions. Kernels are `[spatial.., in, out]`; images channels last unless the node says otherwise.

use std::rc::Rc;

use pocketnn::ops::activation::Activation;
use pocketnn::ops::conv::{Conv, ConvTranspose, Pads};
use pocketnn::ops::norm::BatchNorm;

use super::attrs::{missing, unknown_value};
use super::node::{Lowered, Node, V, Value, one};
use super::registry::{Row, op};
use crate::error::{ImportError, Result};

pub(super) const ROWS: &[Row] = &[
    op("Conv2D", |cx| conv(cx, 2)),
    op("Conv2DBackpropInput", |cx| transposed(cx, 2)),
    op("Conv3D", |cx| conv(cx, 3)),
    op("Conv3DBackpropInputV2", |cx| transposed(cx, 3)),
    op("DepthwiseConv2dNative", depthwise),
    op("DepthwiseConv2dNativeBackpropInput", depthwise_transposed),
    op("_FusedConv2D", fused),
    op("_FusedDepthwiseConv2dNative", fused_depthwise),
];

/// Strides, dilations and padding of the spatial axes, which convolution and pooling share.
#[derive(Clone, Debug)]
pub(super) struct Window {
    pub first: bool,
    pub strides: Vec<usize>,
    pub dilations: Vec<usize>,
    pub pads: Pads,
}

impl Window {
    /// Reads the attributes for `spatial` axes.
    pub fn read(cx: &Node, spatial: usize) -> Result<Self> {
        let first = cx.channels_first()?;
        let strides = cx.attrs.extents("strides")?.ok_or_else(|| missing("strides"))?;
        let strides = spatial_part("strides", &strides, spatial, first)?;
        let dilations = match cx.attrs.extents("dilations")? {
            Some(list) if !list.is_empty() => spatial_part("dilations", &list, spatial, first)?,
            _ => vec![1; spatial],
        };
        let pads = pads(cx, spatial, first)?;
        Ok(Self { first, strides, dilations, pads })
    }
}

/// The numbers of the spatial axes of a list over all axes; those of batch and channels must be 1.
pub(super) fn spatial_part(name: &str, list: &[usize], spatial: usize, first: bool) -> Result<Vec<usize>> {
    let wrong = |what: &str| ImportError::invalid(what).found(format!("{list:?}")).at_attribute(name);
    if list.len() != spatial.saturating_add(2) {
        return Err(wrong("not one number for each axis"));
    }
    if list.contains(&0) {
        return Err(wrong("a step of 0"));
    }
    let skip = if first { 2 } else { 1 };
    let part: Vec<usize> = list.iter().skip(skip).take(spatial).copied().collect();
    let all: usize = list.iter().fold(1usize, |n, &d| n.saturating_mul(d));
    if all != part.iter().fold(1usize, |n, &d| n.saturating_mul(d)) {
        return Err(ImportError::unsupported("steps over batch or channels are not supported")
            .found(format!("{list:?}"))
            .at_attribute(name));
    }
    Ok(part)
}

fn pads(cx: &Node, spatial: usize, first: bool) -> Result<Pads> {
    let explicit = cx.attrs.extents("explicit_paddings")?.unwrap_or_default();
    match cx.attrs.string("padding", "VALID")? {
        "VALID" => Ok(Pads::default()),
        "SAME" => Ok(Pads::SameUpper),
        "EXPLICIT" => {
            let skip = if first { 4 } else { 2 };
            let part: Vec<usize> = explicit.iter().skip(skip).take(spatial.saturating_mul(2)).copied().collect();
            if part.len() != spatial.saturating_mul(2) || part.iter().sum::<usize>() != explicit.iter().sum::<usize>() {
                return Err(ImportError::invalid("not a pair of paddings for each spatial axis")
                    .found(format!("{explicit:?}"))
                    .at_attribute("explicit_paddings"));
            }
            let side = |k: usize| part.iter().skip(k).step_by(2).copied().collect();
            Ok(Pads::Explicit { begin: side(0), end: side(1) })
        }
        other => Err(unknown_value("padding", "`VALID`, `SAME` or `EXPLICIT`", other)),
    }
}

/// `[spatial.., in, out]` to `[out, in, spatial..]`.
fn kernel(cx: &mut Node, w: V, spatial: usize) -> Result<V> {
    cx.expect_rank(w, spatial.saturating_add(2))?;
    let (i, o) = (spatial, spatial.saturating_add(1));
    let perm: Vec<usize> = [o, i].into_iter().chain(0..spatial).collect();
    cx.transpose(w, &perm)
}

/// `[h, w, c, m]` to `[c m, 1, h, w]`, and `c`.
fn depthwise_kernel(cx: &mut Node, w: V) -> Result<(V, usize)> {
    cx.expect_rank(w, 4)?;
    let channels = cx.known(w, 2)?;
    let (h, k) = (cx.known(w, 0)?, cx.known(w, 1)?);
    let w = cx.transpose(w, &[2, 3, 0, 1])?;
    let [h, k] = [h, k].map(super::node::int);
    Ok((cx.reshape(w, &[-1, 1, h, k])?, channels.max(1)))
}

/// Groups of a kernel `[out, in / groups, ..]` for an image `[N, C, ..]`.
fn groups(cx: &Node, x: V, w: V) -> Result<usize> {
    let inside = cx.known(w, 1)?;
    let Some(channels) = cx.extent(x, 1) else { return Ok(1) };
    match channels.checked_div(inside) {
        Some(g) if g > 0 && g.saturating_mul(inside) == channels => Ok(g),
        _ => Err(ImportError::invalid("the channels do not fit the kernel")
            .expected(format!("a multiple of {inside}"))
            .found(channels)),
    }
}

/// What a convolution reads: an image, or the phases of one.
enum Source {
    Image(V),
    Phases(Rc<super::phases::Phases>),
}

fn source(cx: &mut Node, window: &Window) -> Result<Source> {
    if let Value::Phases(p) = cx.value(0)? {
        let p = Rc::clone(p);
        let plain = window.pads == Pads::default()
            && !window.first
            && !p.convolved
            && p.block.len() <= window.strides.len()
            && window.strides.iter().chain(&window.dilations).all(|&s| s == 1);
        if plain {
            return Ok(Source::Phases(p));
        }
    }
    Ok(Source::Image(cx.input(0)?))
}

/// A convolution with a kernel `[out, in, ..]`; of phases it becomes a dilated one.
fn apply<'m>(cx: &mut Node<'_, 'm>, w: V, groups: Option<usize>, window: &Window) -> Result<Value<'m>> {
    let source = source(cx, window)?;
    let (x, dilations, pads) = match &source {
        Source::Image(x) => (*x, window.dilations.clone(), window.pads.clone()),
        Source::Phases(p) => {
            let list = |f: &dyn Fn(usize) -> Option<i64>, default: usize| -> Vec<usize> {
                (0..window.strides.len())
                    .map(|i| f(i).and_then(|n| usize::try_from(n).ok()).unwrap_or(default))
                    .collect()
            };
            let dilations = list(&|i| p.block.get(i).copied(), 1);
            let begin = list(&|i| p.pads.get(i).map(|p| p.0), 0);
            let end = list(&|i| p.pads.get(i).map(|p| p.1), 0);
            (p.x, dilations, Pads::Explicit { begin, end })
        }
    };
    cx.floats_only(x)?;
    cx.expect_rank(x, window.strides.len().saturating_add(2))?;
    let x = cx.to_first(x, window.first)?;
    let groups = match groups {
        Some(g) => g,
        None => self::groups(cx, x, w)?,
    };
    let op = Conv { strides: window.strides.clone(), dilations, pads, groups, ..Conv::default() };
    let y = cx.op(op, &[x.id, w.id], x.elem)?;
    let y = cx.to_last(y, window.first)?;
    Ok(match source {
        Source::Image(_) => y.into(),
        Source::Phases(p) => Value::Phases(Rc::new(p.convolved(y))),
    })
}

fn conv<'m>(cx: &mut Node<'_, 'm>, spatial: usize) -> Result<Lowered<'m>> {
    let w = cx.input(1)?;
    let w = kernel(cx, w, spatial)?;
    let window = Window::read(cx, spatial)?;
    let y = apply(cx, w, None, &window)?;
    one(y)
}

fn depthwise<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let w = cx.input(1)?;
    let (w, channels) = depthwise_kernel(cx, w)?;
    let window = Window::read(cx, 2)?;
    let y = apply(cx, w, Some(channels), &window)?;
    one(y)
}

/// Inputs are the shape of the result, the kernel of the convolution that is turned around, and the image.
fn transposed<'m>(cx: &mut Node<'_, 'm>, spatial: usize) -> Result<Lowered<'m>> {
    let w = cx.input(1)?;
    // The kernel is `[spatial.., out, in]` from here.
    let w = kernel(cx, w, spatial)?;
    turn_around(cx, w, 1, spatial)
}

fn depthwise_transposed<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let w = cx.input(1)?;
    let (w, channels) = depthwise_kernel(cx, w)?;
    turn_around(cx, w, channels, 2)
}

fn turn_around<'m>(cx: &mut Node<'_, 'm>, w: V, groups: usize, spatial: usize) -> Result<Lowered<'m>> {
    let (sizes, x) = (cx.input(0)?, cx.input(2)?);
    cx.floats_only(x)?;
    cx.expect_rank(x, spatial.saturating_add(2))?;
    let window = Window::read(cx, spatial)?;
    let wanted = match cx.const_ints(sizes) {
        Some(list) => list.into_iter().map(Some).collect::<Vec<_>>(),
        None => match cx.walker.builder.fact(sizes.id).dims.as_deref() {
            Some(dims) => dims.iter().map(pocketnn::Dim::known_signed).collect(),
            None => Vec::new(),
        },
    };
    // Sizes may leave batch and channels out.
    let skip = match wanted.len().checked_sub(spatial) {
        Some(2) => {
            if window.first {
                2
            } else {
                1
            }
        }
        _ => 0,
    };
    let x = cx.to_first(x, window.first)?;
    let (mut begin, mut end, mut extra) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..spatial {
        let get = |list: &[usize]| list.get(i).copied().unwrap_or(1);
        let (stride, dilation) = (get(&window.strides), get(&window.dilations));
        let at = i.saturating_add(2);
        let reach = cx.known(w, at)?.saturating_sub(1).saturating_mul(dilation).saturating_add(1);
        let n = cx.extent(x, at);
        let full = n.map(|n| n.saturating_sub(1).saturating_mul(stride).saturating_add(reach));
        let size = wanted.get(i.saturating_add(skip)).copied().flatten().and_then(|s| usize::try_from(s).ok());
        let (b, e) = match (&window.pads, full, size) {
            (Pads::SameUpper, Some(full), Some(size)) => split(full.saturating_sub(size)),
            // Without sizes the result is as large as the steps say.
            (Pads::SameUpper, ..) => split(reach.saturating_sub(stride)),
            (Pads::Explicit { begin, end }, ..) => {
                (begin.get(i).copied().unwrap_or(0), end.get(i).copied().unwrap_or(0))
            }
            _ => (0, 0),
        };
        begin.push(b);
        end.push(e);
        extra.push(match (full, size) {
            (Some(full), Some(size)) => size.saturating_add(b).saturating_add(e).saturating_sub(full),
            _ => stride.saturating_sub(reach),
        });
    }
    let pads = Pads::Explicit { begin, end };
    let (strides, dilations) = (window.strides.clone(), window.dilations.clone());
    let op = ConvTranspose { strides, dilations, pads, output_padding: extra, groups, ..ConvTranspose::default() };
    let y = cx.op(op, &[x.id, w.id], x.elem)?;
    one(cx.to_last(y, window.first)?)
}

/// The smaller half first.
fn split(n: usize) -> (usize, usize) {
    (n / 2, n.saturating_sub(n / 2))
}

fn fused<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    cx.attrs.ignore(&["num_args", "use_cudnn_on_gpu", "num_host_args"]);
    let w = cx.input(1)?;
    let w = kernel(cx, w, 2)?;
    let window = Window::read(cx, 2)?;
    let x = cx.input(0)?;
    let x = cx.to_first(x, window.first)?;
    let groups = groups(cx, x, w)?;
    finish_fused(cx, x, w, groups, &window)
}

fn fused_depthwise<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    cx.attrs.ignore(&["num_args", "num_host_args"]);
    let w = cx.input(1)?;
    let (w, channels) = depthwise_kernel(cx, w)?;
    let window = Window::read(cx, 2)?;
    let x = cx.input(0)?;
    let x = cx.to_first(x, window.first)?;
    finish_fused(cx, x, w, channels, &window)
}

/// A convolution of an image `[N, C, ..]` and what the optimiser of TensorFlow joined to it.
fn finish_fused<'m>(cx: &mut Node<'_, 'm>, x: V, w: V, groups: usize, window: &Window) -> Result<Lowered<'m>> {
    let (strides, dilations) = (window.strides.clone(), window.dilations.clone());
    let op = Conv { strides, dilations, pads: window.pads.clone(), groups, ..Conv::default() };
    let mut y = cx.op(op, &[x.id, w.id], x.elem)?;
    let mut next = 2;
    for name in cx.attrs.strings("fused_ops")? {
        match name {
            "BiasAdd" => {
                let bias = cx.input(next)?;
                next = next.saturating_add(1);
                let bias = cx.reshape(bias, &[-1, 1, 1])?;
                y = cx.binary(pocketnn::ops::elementwise::BinaryKind::Add, y, bias)?;
            }
            "FusedBatchNorm" => {
                let mut operands = vec![y.id];
                for _ in 0..4 {
                    operands.push(cx.input(next)?.id);
                    next = next.saturating_add(1);
                }
                let epsilon = cx.attrs.float("epsilon", 1e-4)?;
                y = cx.op(BatchNorm { epsilon, ..BatchNorm::default() }, &operands, y.elem)?;
            }
            other => y = fused_activation(cx, other, y)?,
        }
    }
    cx.attrs.ignore(&["epsilon", "leakyrelu_alpha"]);
    one(cx.to_last(y, window.first)?)
}

/// An activation by the name of its operation.
pub(super) fn fused_activation(cx: &mut Node, name: &str, y: V) -> Result<V> {
    let kind = match name {
        "Relu" => Activation::Relu,
        "Relu6" => Activation::Clamp { lo: 0.0, hi: 6.0 },
        "Elu" => Activation::Elu { alpha: 1.0 },
        "LeakyRelu" => Activation::LeakyRelu { alpha: cx.attrs.float("leakyrelu_alpha", 0.2)? },
        "Sigmoid" => Activation::Sigmoid,
        "Tanh" => Activation::Tanh,
        "GeluExact" => Activation::Gelu,
        "GeluApproximate" => Activation::GeluTanh,
        other => return Err(unknown_value("fused_ops", "a bias, a normalisation or an activation", other)),
    };
    cx.activate(kind, y)
}
