//! Convolutions. Images are `[N, spatial..., C]`; kernels are `[O, k..., I]`, depthwise `[1, k..., C * multiplier]`, of three axes
//! `[k..., I, O]`.

use pocketnn::ValueId;
use pocketnn::ops::conv::{Conv, ConvTranspose, Pads};

use super::node::{Lowered, Node, one};
use super::quantize;
use super::registry::{Row, both, float};
use crate::error::{ImportError, Result};

pub(super) const ROWS: &[Row] = &[
    both("CONV_2D", conv_2d),
    float("CONV_3D", conv_3d),
    float("CONV_3D_TRANSPOSE", conv_3d_transpose),
    both("DEPTHWISE_CONV_2D", depthwise),
    both("TRANSPOSE_CONV", transpose_conv),
];

/// `Padding` of the schema: 0 is SAME, 1 VALID.
fn same(cx: &Node, field: usize) -> Result<bool> {
    match cx.options.choice(field)? {
        0 => Ok(true),
        1 => Ok(false),
        other => Err(ImportError::invalid("the padding").expected("SAME or VALID").found(other)),
    }
}

/// Steps and distances of a window, and its padding on an image `[N, C, spatial...]`.
pub(super) struct Window {
    pub strides: Vec<usize>,
    pub dilations: Vec<usize>,
    pub pads: Pads,
}

impl Window {
    /// `stride` and `dilation` name fields of the options, outermost axis first.
    pub fn read(
        cx: &Node,
        image: ValueId,
        kernel: &[usize],
        padding: usize,
        stride: &[usize],
        dilation: &[usize],
    ) -> Result<Self> {
        let strides = stride.iter().map(|&f| cx.options.step(f)).collect::<Result<Vec<_>>>()?;
        let dilations = if dilation.is_empty() {
            vec![1; stride.len()]
        } else {
            dilation.iter().map(|&f| cx.options.step(f)).collect::<Result<Vec<_>>>()?
        };
        let pads =
            if same(cx, padding)? { same_pads(cx, image, kernel, &strides, &dilations) } else { Pads::default() };
        Ok(Self { strides, dilations, pads })
    }
}

/// SAME padding, in numbers where the extents are known.
fn same_pads(cx: &Node, image: ValueId, kernel: &[usize], strides: &[usize], dilations: &[usize]) -> Pads {
    let sizes: Option<Vec<usize>> = (2..cx.rank(image)).map(|a| cx.extent(image, a)).collect();
    let Some(sizes) = sizes else { return Pads::SameUpper };
    let total = |i: usize| {
        let get = |l: &[usize]| l.get(i).copied().unwrap_or(1);
        let span = get(kernel).saturating_sub(1).saturating_mul(get(dilations)).saturating_add(1);
        let windows = get(&sizes).div_ceil(get(strides).max(1));
        windows.saturating_sub(1).saturating_mul(get(strides)).saturating_add(span).saturating_sub(get(&sizes))
    };
    let totals: Vec<usize> = (0..sizes.len()).map(total).collect();
    let begin: Vec<usize> = totals.iter().map(|t| t / 2).collect();
    let end = totals.iter().zip(&begin).map(|(t, b)| t.saturating_sub(*b)).collect();
    Pads::Explicit { begin, end }
}

/// Kernel extents from a weight tensor's shape.
fn kernel(cx: &Node, w: ValueId, axes: std::ops::Range<usize>) -> Result<Vec<usize>> {
    axes.map(|a| cx.need_extent(w, a, "a kernel")).collect()
}

fn conv_2d(cx: &mut Node) -> Result<Lowered> {
    let (x, w) = (cx.input(0)?, cx.input(1)?);
    cx.expect_rank(x, 4, "input 0")?;
    cx.expect_rank(w, 4, "input 1")?;
    let first = cx.channels_first(x)?;
    let size = kernel(cx, w, 1..3)?;
    let Window { strides, dilations, pads } = Window::read(cx, first, &size, 0, &[2, 1], &[5, 4])?;
    cx.options.ignore(&[6]);
    // Fewer input channels than the image has make groups.
    let (channels, per) = (cx.need_extent(first, 1, "an image's channels")?, cx.need_extent(w, 3, "a kernel")?);
    if per == 0 || channels % per != 0 {
        return Err(ImportError::invalid("the kernel's input channels do not divide the image's")
            .expected(format!("a divisor of {channels}"))
            .found(per));
    }
    let op = Conv { strides, dilations, pads, groups: channels / per, ..Conv::default() };
    convolution(cx, first, op, &[0, 3, 1, 2], 3)
}

fn depthwise(cx: &mut Node) -> Result<Lowered> {
    let (x, w) = (cx.input(0)?, cx.input(1)?);
    cx.expect_rank(x, 4, "input 0")?;
    cx.expect_rank(w, 4, "input 1")?;
    let first = cx.channels_first(x)?;
    let size = kernel(cx, w, 1..3)?;
    let Window { strides, dilations, pads } = Window::read(cx, first, &size, 0, &[2, 1], &[6, 5])?;
    // The multiplier follows from the shapes.
    cx.options.ignore(&[3]);
    let groups = cx.need_extent(first, 1, "an image's channels")?;
    let op = Conv { strides, dilations, pads, groups, ..Conv::default() };
    convolution(cx, first, op, &[3, 0, 1, 2], 4)
}

/// The convolution of an image `[N, C, H, W]` with input 1, permuted to `[O, I, h, w]`.
fn convolution(cx: &mut Node, image: ValueId, op: Conv, order: &[usize], activation: usize) -> Result<Lowered> {
    let kind = cx.fused(activation)?;
    let w = cx.input(1)?;
    let axis = order.first().copied().unwrap_or(0);
    let y = if cx.quantized() {
        let w = cx.transpose(w, order)?;
        quantize::conv(cx, image, w, axis, op, kind)?
    } else {
        let w = quantize::weights(cx, 1)?;
        let w = cx.transpose(w, order)?;
        let y = cx.op_with(op, &[Some(image), Some(w), cx.maybe(2)?])?;
        cx.activated(y, kind)?
    };
    one(cx.channels_last(y)?)
}

fn conv_3d(cx: &mut Node) -> Result<Lowered> {
    let (x, w) = (cx.input(0)?, cx.input(1)?);
    cx.expect_rank(x, 5, "input 0")?;
    cx.expect_rank(w, 5, "input 1")?;
    let first = cx.channels_first(x)?;
    let size = kernel(cx, w, 0..3)?;
    let Window { strides, dilations, pads } = Window::read(cx, first, &size, 0, &[1, 3, 2], &[5, 7, 6])?;
    let kind = cx.fused(4)?;
    let w = cx.transpose(w, &[4, 3, 0, 1, 2])?;
    let op = Conv { strides, dilations, pads, ..Conv::default() };
    let y = cx.op_with(op, &[Some(first), Some(w), cx.maybe(2)?])?;
    let y = cx.activated(y, kind)?;
    one(cx.channels_last(y)?)
}

/// The op whose output has these spatial extents: the padding is that of the convolution which makes the input from the output.
fn transposed(
    cx: &Node,
    image: ValueId,
    kernel: &[usize],
    strides: Vec<usize>,
    same: bool,
    output: &[usize],
) -> Result<ConvTranspose> {
    let (mut begin, mut end, mut more) = (Vec::new(), Vec::new(), Vec::new());
    for (i, (&k, &s)) in kernel.iter().zip(&strides).enumerate() {
        let extent = cx.need_extent(image, i.saturating_add(2), "an image of a transposed convolution")?;
        let out = output.get(i).copied().unwrap_or(0);
        let full = extent.saturating_sub(1).saturating_mul(s).saturating_add(k);
        let windows = out.div_ceil(s.max(1)).saturating_sub(1).saturating_mul(s).saturating_add(k);
        let before = if same { windows.saturating_sub(out) / 2 } else { 0 };
        begin.push(before);
        let rest = full.saturating_sub(before);
        end.push(rest.saturating_sub(out));
        more.push(out.saturating_sub(rest));
    }
    let pads = Pads::Explicit { begin, end };
    Ok(ConvTranspose { strides, pads, output_padding: more, ..ConvTranspose::default() })
}

/// The spatial extents that operand 0 asks for.
fn asked(cx: &Node, rank: usize) -> Result<Vec<usize>> {
    let v = cx.input(0)?;
    let dims = cx.dims(v).unwrap_or_default();
    let spatial: Option<Vec<usize>> = dims.iter().skip(1).take(rank).map(pocketnn::Dim::known).collect();
    spatial.filter(|s| s.len() == rank).ok_or_else(|| {
        ImportError::unsupported("an output shape computed while running is not supported")
            .expected(format!("constants in the {rank} middle entries of input 0"))
    })
}

fn transpose_conv(cx: &mut Node) -> Result<Lowered> {
    let (w, x) = (cx.input(1)?, cx.input(2)?);
    cx.expect_rank(x, 4, "input 2")?;
    cx.expect_rank(w, 4, "input 1")?;
    let first = cx.channels_first(x)?;
    let size = kernel(cx, w, 1..3)?;
    let strides = vec![cx.options.step(2)?, cx.options.step(1)?];
    cx.options.ignore(&[4]);
    let kind = cx.fused(3)?;
    let output = asked(cx, 2)?;
    let op = transposed(cx, first, &size, strides, same(cx, 0)?, &output)?;
    let order = [3, 0, 1, 2];
    let y = if cx.quantized() {
        let w = cx.transpose(w, &order)?;
        quantize::conv_transpose(cx, first, w, op, kind)?
    } else {
        let w = quantize::weights(cx, 1)?;
        let w = cx.transpose(w, &order)?;
        let y = cx.op_with(op, &[Some(first), Some(w), cx.maybe(3)?])?;
        cx.activated(y, kind)?
    };
    one(cx.channels_last(y)?)
}

fn conv_3d_transpose(cx: &mut Node) -> Result<Lowered> {
    let (w, x) = (cx.input(1)?, cx.input(2)?);
    cx.expect_rank(x, 5, "input 2")?;
    cx.expect_rank(w, 5, "input 1")?;
    let first = cx.channels_first(x)?;
    let size = kernel(cx, w, 0..3)?;
    let strides = vec![cx.options.step(1)?, cx.options.step(3)?, cx.options.step(2)?];
    let kind = cx.fused(4)?;
    for field in [5, 6, 7] {
        if cx.options.step(field)? != 1 {
            return Err(ImportError::unsupported("a transposed convolution with dilation is not supported"));
        }
    }
    let output = asked(cx, 3)?;
    let op = transposed(cx, first, &size, strides, same(cx, 0)?, &output)?;
    let w = cx.transpose(w, &[4, 3, 0, 1, 2])?;
    let y = cx.op_with(op, &[Some(first), Some(w), cx.maybe(3)?])?;
    let y = cx.activated(y, kind)?;
    one(cx.channels_last(y)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_name_their_operators() {
        assert!(ROWS.iter().all(|r| r.name.contains("CONV")));
        assert_eq!(Pads::default(), Pads::Explicit { begin: vec![], end: vec![] });
    }
}
