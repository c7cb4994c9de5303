//! Convolutions. Kernels of Keras are `[k.., I / groups, O]`; those of Theano are rotated by 180 degrees, and Keras 1 keeps
//! them `[O, I, k..]` in its `th` ordering.

use pocketnn::graph::infer_node;
use pocketnn::ops::conv::{Conv, ConvTranspose, Pads};
use pocketnn::ops::elementwise::BinaryKind;
use pocketnn::{Dim, Op, ValueId};
use serde_json::Value;

use super::activation::finish;
use super::call::{Cx, Val, one, permute};
use super::config::wrong;
use super::dense::kernel_slots;
use super::hdf5::Array;
use super::lower::{DisplacedBias, Kernels};
use super::model::Layer;
use super::rows::Row;
use super::weights::Slot;
use crate::error::{ImportError, Result};

/// Rows of this family.
pub const ROWS: &[Row] = &[
    Row::new(&["Conv1D", "Conv2D", "Conv3D"], kernel_slots, conv),
    Row::new(&["Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"], kernel_slots, conv_transpose),
    Row::new(&["DepthwiseConv1D", "DepthwiseConv2D"], kernel_slots, depthwise),
    Row::new(&["SeparableConv1D", "SeparableConv2D"], separable_slots, separable),
];

/// Number of spatial axes, from the class's name.
pub fn spatial(class: &str) -> usize {
    class.chars().find_map(|c| c.to_digit(10)).and_then(|d| usize::try_from(d).ok()).unwrap_or(2)
}

/// Window, step and padding of a convolution or pooling.
#[derive(Debug)]
pub struct Window {
    /// Extent of the kernel.
    pub size: Vec<usize>,
    /// Steps.
    pub strides: Vec<usize>,
    /// Distance of taps.
    pub dilations: Vec<usize>,
    /// Keras's word for the padding.
    pub padding: String,
}

impl Window {
    /// Reads a convolution's fields.
    pub fn of_conv(cx: &Cx<'_, '_>, n: usize) -> Result<Self> {
        let read = |key: &str| -> Result<Vec<usize>> {
            let values = cx.config.usizes(key, n, 1)?;
            if values.contains(&0) {
                return Err(wrong(key, "positive integers", &Value::from(values)));
            }
            Ok(values)
        };
        Ok(Self {
            size: read("kernel_size")?,
            strides: read("strides")?,
            dilations: read("dilation_rate")?,
            padding: cx.config.text("padding", "valid")?,
        })
    }

    /// Taps' distance from first to last, plus one.
    pub fn extents(&self) -> Vec<usize> {
        self.size
            .iter()
            .zip(&self.dilations)
            .map(|(k, d)| k.saturating_sub(1).saturating_mul(*d).saturating_add(1))
            .collect()
    }

    /// Padding for an input of `[N, C, spatial..]`.
    pub fn pads(&self, shape: &[Dim]) -> Result<Pads> {
        let extents = self.extents();
        match self.padding.as_str() {
            "valid" => Ok(Pads::default()),
            "causal" => {
                let begin = extents.iter().map(|e| e.saturating_sub(1)).collect();
                Ok(Pads::Explicit { begin, end: vec![0; extents.len()] })
            }
            "same" => {
                let sizes: Option<Vec<usize>> = shape.iter().skip(2).map(Dim::known).collect();
                let Some(sizes) = sizes else { return Ok(Pads::SameUpper) };
                let total = sizes.iter().zip(&self.strides).zip(&extents).map(|((&n, &s), &e)| {
                    let steps = n.div_ceil(s.max(1)).saturating_sub(1);
                    steps.saturating_mul(s).saturating_add(e).saturating_sub(n)
                });
                let total: Vec<usize> = total.collect();
                let begin = total.iter().map(|t| t / 2).collect();
                let end = total.iter().map(|t| t.saturating_sub(t / 2)).collect();
                Ok(Pads::Explicit { begin, end })
            }
            other => Err(ImportError::unsupported("padding").found(format!("`{other}`")).at_attribute("padding")),
        }
    }
}

/// A kernel in Keras's order, flipped if the file's backend convolves.
fn kernel(cx: &Cx<'_, '_>, slot: &str, n: usize, first: bool) -> Result<Array> {
    let v1 = cx.lw.version == 1;
    let mut array = if v1 && n == 1 {
        length_kernel(cx.weight(slot, 4)?, cx.config.usizes("kernel_size", 1, 1)?.first().copied().unwrap_or(1))?
    } else {
        cx.weight(slot, n.saturating_add(2))?
    };
    let transpose = cx.layer.class.ends_with("Transpose");
    if v1 && n > 1 && (first || transpose) {
        let spatial = 2..n.saturating_add(2);
        array = match (first, transpose) {
            (true, false) => permute(&array, &spatial.chain([1, 0]).collect::<Vec<_>>())?,
            (true, true) => permute(&array, &spatial.chain([0, 1]).collect::<Vec<_>>())?,
            (false, _) => permute(&array, &(0..n).chain([n.saturating_add(1), n]).collect::<Vec<_>>())?,
        };
    }
    let taps: usize = array.shape.iter().take(n).product();
    match cx.lw.kernels {
        _ if taps == 1 => Ok(array),
        Kernels::Plain => Ok(array),
        Kernels::Flipped => Ok(flip(array, taps)),
        Kernels::Unknown if !first => Ok(array),
        Kernels::Unknown => Err(ImportError::invalid(
            "the file does not say whether Theano or TensorFlow trained it, which decides whether kernels are flipped",
        )
        .help("give --keras1-backend theano or --keras1-backend tensorflow")),
    }
}

/// Keras 1.2 keeps `[length, 1, I, O]`, earlier versions `[O, I, length, 1]`.
fn length_kernel(array: Array, length: usize) -> Result<Array> {
    let array = match array.shape.as_slice() {
        [l, 1, _, _] if *l == length => array,
        [_, _, l, 1] if *l == length => permute(&array, &[2, 3, 1, 0])?,
        _ => {
            return Err(
                ImportError::invalid("a one-dimensional kernel of unknown order").found(format!("{:?}", array.shape))
            );
        }
    };
    let shape = array.shape.iter().enumerate().filter(|(i, _)| *i != 1).map(|(_, &d)| d).collect();
    Ok(Array { shape, ..array })
}

/// The kernel rotated by 180 degrees: taps in reverse order.
fn flip(array: Array, taps: usize) -> Array {
    let block = array.data.len().checked_div(taps).unwrap_or(0).max(1);
    let data = array.data.chunks(block).rev().flatten().copied().collect();
    Array { data, ..array }
}

/// `[k.., I, O]` as `[O, I, k..]`.
fn outer_first(array: &Array, n: usize) -> Result<Array> {
    permute(array, &[n.saturating_add(1), n].into_iter().chain(0..n).collect::<Vec<_>>())
}

fn bias(cx: &mut Cx<'_, '_>, channels: usize) -> Result<Option<ValueId>> {
    if !cx.config.bool("use_bias", true)? {
        return Ok(None);
    }
    let bias = cx.shaped("bias", &[channels])?;
    Ok(Some(cx.array("bias", bias)?))
}

fn conv(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let n = spatial(&cx.layer.class);
    let x = cx.x()?;
    let (first, x) = image(cx, x, n)?;
    let window = Window::of_conv(cx, n)?;
    let filters = cx.config.usize("filters")?;
    let groups = cx.config.usize_or("groups", 1)?;
    let kernel = kernel(cx, "kernel", n, first)?;
    expect_kernel(&kernel, &window.size, filters)?;
    let weights = outer_first(&kernel, n)?;
    let weights = cx.array("kernel", weights)?;
    let pads = window.pads(&cx.shape(x))?;
    let op = Conv { strides: window.strides, dilations: window.dilations, pads, groups, ..Conv::default() };
    let y = biased(cx, op, x, weights, filters, first)?;
    let y = finish(cx, y, 1)?;
    one(cx.to_last(y, first)?)
}

/// The product of a layer and its bias, which goes along the channels, or (see [`DisplacedBias`]) along the last axis.
fn biased(
    cx: &mut Cx<'_, '_>,
    op: impl Into<Op>,
    x: ValueId,
    weights: ValueId,
    channels: usize,
    first: bool,
) -> Result<ValueId> {
    let op = op.into();
    let bias = bias(cx, channels)?;
    let displaced = match cx.lw.displaced_bias {
        DisplacedBias::Never => false,
        DisplacedBias::Spatial3 => cx.layer.class == "Conv3D",
        DisplacedBias::Always => true,
    };
    if let (Some(bias), true) = (bias, first && channels > 1 && displaced) {
        let facts = [Some(cx.lw.b.fact(x)), Some(cx.lw.b.fact(weights)), None];
        let last = infer_node(&op, &facts, 1)?.first().and_then(|f| f.ty.shape.last().and_then(Dim::known));
        if last == Some(channels) {
            let warning = ImportError::unsupported(format!(
                "Keras's TensorFlow backend adds the bias along the last axis, because it has as many elements as there are channels ({channels}); \
                 the model is converted so"
            ));
            let help = "if JAX or PyTorch trained it, give --keras3-backend jax or torch";
            cx.lw.report.add_warning(&warning.at_op(&cx.layer.class).at_node(&cx.name).help(help));
            let y = cx.node1(op, &[Some(x), Some(weights), None])?;
            return cx.binary(BinaryKind::Add, y, bias);
        }
    }
    cx.node1(op, &[Some(x), Some(weights), bias])
}

/// The input as `[N, C, spatial..]`, and whether it was so.
fn image(cx: &mut Cx<'_, '_>, x: ValueId, n: usize) -> Result<(bool, ValueId)> {
    cx.expect_rank(x, n.saturating_add(2))?;
    let first = cx.channels_first()?;
    let x = cx.to_first(x, first)?;
    Ok((first, x))
}

fn expect_kernel(kernel: &Array, size: &[usize], filters: usize) -> Result<()> {
    let fits = kernel.shape.starts_with(size) && kernel.shape.last() == Some(&filters);
    if fits {
        return Ok(());
    }
    Err(ImportError::invalid("a kernel has another shape")
        .expected(format!("{size:?}, inputs, {filters}"))
        .found(format!("{:?}", kernel.shape))
        .at_attribute("kernel"))
}

/// Keras's output extent and where TensorFlow cuts the full product: half of what `same` has too much, the odd one at the end.
fn conv_transpose(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let n = spatial(&cx.layer.class);
    let x = cx.x()?;
    let (first, x) = image(cx, x, n)?;
    let window = Window::of_conv(cx, n)?;
    let filters = cx.config.usize("filters")?;
    let groups = cx.config.usize_or("groups", 1)?;
    cx.config.ignore(&["output_shape"]);
    let kernel = kernel(cx, "kernel", n, first)?;
    let inputs = kernel.shape.last().copied().unwrap_or(0);
    expect_kernel(&kernel, &window.size, inputs)?;
    if kernel.shape.get(n) != Some(&filters) || groups != 1 {
        return Err(ImportError::invalid("a transposed kernel has another shape")
            .found(format!("{:?}", kernel.shape))
            .at_attribute("kernel"));
    }
    let weights = outer_first(&kernel, n)?;
    let weights = cx.array("kernel", weights)?;
    let added = if cx.config.has("output_padding") { Some(cx.config.usizes("output_padding", n, 0)?) } else { None };
    let (mut begin, mut end, mut extra) = (Vec::new(), Vec::new(), Vec::new());
    for (i, (&stride, extent)) in window.strides.iter().zip(window.extents()).enumerate() {
        let added = added.as_ref().and_then(|a| a.get(i).copied());
        let (b, e, x) = crop(&window.padding, stride, extent, added)?;
        begin.push(b);
        end.push(e);
        extra.push(x);
    }
    let op = ConvTranspose {
        strides: window.strides,
        dilations: window.dilations,
        pads: Pads::Explicit { begin, end },
        output_padding: extra,
        groups,
        ..ConvTranspose::default()
    };
    let y = biased(cx, op, x, weights, filters, first)?;
    let y = finish(cx, y, 1)?;
    one(cx.to_last(y, first)?)
}

/// What to cut at the begin and the end of the full product `stride (in - 1) + extent`, and what to add.
fn crop(padding: &str, stride: usize, extent: usize, added: Option<usize>) -> Result<(usize, usize, usize)> {
    // Difference between the full product and the output; it does not depend on the input's extent.
    let (full, stride_) = (super::call::int(extent), super::call::int(stride));
    let surplus = match (padding, added) {
        ("valid", None) => full.saturating_sub(stride_.saturating_add(full.saturating_sub(stride_).max(0))),
        ("same", None) => full.saturating_sub(stride_),
        ("valid", Some(a)) => super::call::int(a).saturating_neg(),
        ("same", Some(a)) => (full / 2).saturating_mul(2).saturating_sub(super::call::int(a)),
        (other, _) => {
            return Err(ImportError::unsupported("padding").found(format!("`{other}`")).at_attribute("padding"));
        }
    };
    let size = |n: i64| usize::try_from(n.max(0)).unwrap_or(0);
    let begin = if padding == "same" { size(surplus) / 2 } else { 0 };
    let end = surplus.saturating_sub(super::call::int(begin));
    Ok((begin, size(end), size(end.saturating_neg())))
}

fn separable_slots(layer: &Layer, version: u8) -> Result<Vec<Slot>> {
    let mut slots = vec![Slot::new("depthwise_kernel"), Slot::new("pointwise_kernel")];
    slots.extend(kernel_slots(layer, version)?.into_iter().skip(1));
    Ok(slots)
}

/// `[k.., C, M]` as `[C M, 1, k..]`: output channel `c M + m` reads channel `c`.
fn depthwise_kernel(cx: &mut Cx<'_, '_>, slot: &str, n: usize) -> Result<(ValueId, usize, usize)> {
    let array = cx.weight(slot, n.saturating_add(2))?;
    let moved = permute(&array, &[n, n.saturating_add(1)].into_iter().chain(0..n).collect::<Vec<_>>())?;
    let [channels, multiplier, taps @ ..] = moved.shape.as_slice() else {
        return Err(ImportError::invalid("a depthwise kernel without channels"));
    };
    let (channels, outputs) = (*channels, channels.saturating_mul(*multiplier));
    let shape: Vec<usize> = [outputs, 1].into_iter().chain(taps.iter().copied()).collect();
    Ok((cx.constant(slot, &shape, moved.data)?, channels, outputs))
}

fn depthwise(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let n = spatial(&cx.layer.class);
    let x = cx.x()?;
    let (first, x) = image(cx, x, n)?;
    let window = Window::of_conv(cx, n)?;
    cx.config.ignore(&["depth_multiplier", "filters", "groups"]);
    let (weights, groups, outputs) = depthwise_kernel(cx, "kernel", n)?;
    let pads = window.pads(&cx.shape(x))?;
    let op = Conv { strides: window.strides, dilations: window.dilations, pads, groups, ..Conv::default() };
    let y = biased(cx, op, x, weights, outputs, first)?;
    let y = finish(cx, y, 1)?;
    one(cx.to_last(y, first)?)
}

fn separable(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let n = spatial(&cx.layer.class);
    if cx.lw.version == 1 && cx.channels_first()? {
        return Err(ImportError::unsupported("SeparableConvolution2D of Keras 1 in `th` ordering"));
    }
    let x = cx.x()?;
    let (first, x) = image(cx, x, n)?;
    let window = Window::of_conv(cx, n)?;
    let filters = cx.config.usize("filters")?;
    cx.config.ignore(&["depth_multiplier", "groups"]);
    let (weights, groups, outputs) = depthwise_kernel(cx, "depthwise_kernel", n)?;
    let pads = window.pads(&cx.shape(x))?;
    let op = Conv { strides: window.strides, dilations: window.dilations, pads, groups, ..Conv::default() };
    let y = cx.node1(op, &[Some(x), Some(weights), None])?;
    let ones = vec![1; n];
    let pointwise = cx.shaped("pointwise_kernel", &[ones.as_slice(), &[outputs, filters]].concat())?;
    let pointwise = outer_first(&pointwise, n)?;
    let pointwise = cx.array("pointwise_kernel", pointwise)?;
    let y = biased(cx, Conv::default(), y, pointwise, filters, first)?;
    let y = finish(cx, y, 1)?;
    one(cx.to_last(y, first)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_padding_of_known_sizes_has_the_odd_one_at_the_end() {
        let window = Window { size: vec![3], strides: vec![2], dilations: vec![1], padding: "same".to_owned() };
        let pads = |n: usize| window.pads(&[Dim::from(1), Dim::from(1), Dim::from(n)]).unwrap();
        assert_eq!(pads(8), Pads::Explicit { begin: vec![0], end: vec![1] });
        assert_eq!(pads(9), Pads::Explicit { begin: vec![1], end: vec![1] });
        assert_eq!(window.pads(&[Dim::from(1), Dim::from(1), Dim::symbol("W")]).unwrap(), Pads::SameUpper);
    }

    #[test]
    fn transposed_crops_follow_keras() {
        // (padding, stride, kernel, output_padding) -> (begin, end, added)
        assert_eq!(crop("valid", 2, 3, None).unwrap(), (0, 0, 0));
        assert_eq!(crop("valid", 3, 2, None).unwrap(), (0, 0, 1));
        assert_eq!(crop("same", 2, 3, None).unwrap(), (0, 1, 0));
        assert_eq!(crop("same", 2, 4, None).unwrap(), (1, 1, 0));
        assert_eq!(crop("same", 3, 2, None).unwrap(), (0, 0, 1));
        assert_eq!(crop("same", 2, 3, Some(0)).unwrap(), (1, 1, 0));
        assert_eq!(crop("same", 2, 3, Some(1)).unwrap(), (0, 1, 0));
        assert_eq!(crop("valid", 2, 3, Some(1)).unwrap(), (0, 0, 1));
        assert!(crop("full", 1, 3, None).is_err());
    }

    #[test]
    fn flipping_reverses_the_taps_and_keeps_channels() {
        let a = Array { shape: vec![2, 1, 2], data: vec![1., 2., 3., 4.] };
        assert_eq!(flip(a, 2).data, [3., 4., 1., 2.]);
    }
}
