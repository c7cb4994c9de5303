//! Resampling and colours of images.

use pocketnn::ops::dense::MatMul;
use pocketnn::ops::elementwise::BinaryKind;
use pocketnn::ops::reduce::ReduceKind;
use pocketnn::ops::resize::{Coordinates, NearestMode, Resize, ResizeMode};

use super::attrs::unknown_value;
use super::elem::Elem;
use super::elementwise::cast_to;
use super::node::{Lowered, Node, V, int, one};
use super::registry::{Row, op};
use crate::error::{ImportError, Result};
use crate::resample::{Filter, area};

pub(super) const ROWS: &[Row] = &[
    op("AdjustContrastv2", adjust_contrast),
    op("ResizeArea", resize_area),
    op("ResizeBicubic", resize_bicubic),
    op("ResizeBilinear", |cx| resize(cx, ResizeMode::Linear)),
    op("ResizeNearestNeighbor", |cx| resize(cx, ResizeMode::Nearest)),
    op("ScaleAndTranslate", scale_and_translate),
];

/// Height and width of the result.
fn sizes(cx: &mut Node) -> Result<[i64; 2]> {
    let v = cx.input(1)?;
    let dims = cx.walker.builder.fact(v.id).dims.as_deref();
    let computed = dims.and_then(|d| d.iter().map(pocketnn::Dim::known_signed).collect::<Option<Vec<i64>>>());
    let list = match cx.const_ints(v).or(computed) {
        Some(list) => list,
        None => cx.need_ints(1, "the size of the result")?,
    };
    <[i64; 2]>::try_from(list)
        .ok()
        .filter(|s| s.iter().all(|n| (1..=1 << 24).contains(n)))
        .ok_or_else(|| ImportError::invalid("the size of the result").expected("two extents from 1 on"))
}

/// The modes of `align_corners` and `half_pixel_centers`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Grid {
    /// The corners' centres stay where they are.
    Corners,
    /// Pixels are squares.
    Centers,
    /// Positions are multiplied: the first version.
    Origin,
}

fn grid(cx: &Node) -> Result<Grid> {
    let (corners, centers) = (cx.attrs.flag("align_corners", false)?, cx.attrs.flag("half_pixel_centers", false)?);
    match (corners, centers) {
        (true, true) => Err(ImportError::invalid("both `align_corners` and `half_pixel_centers` are set")),
        (true, false) => Ok(Grid::Corners),
        (false, true) => Ok(Grid::Centers),
        (false, false) => Ok(Grid::Origin),
    }
}

/// The image as floats, channels first.
fn image(cx: &mut Node) -> Result<V> {
    let x = cx.input(0)?;
    cx.expect_rank(x, 4)?;
    let x = if x.elem.is_float() { x } else { cast_to(cx, x, Elem::F32)? };
    cx.to_first(x, false)
}

fn resize<'m>(cx: &mut Node<'_, 'm>, mode: ResizeMode) -> Result<Lowered<'m>> {
    let (grid, sizes) = (grid(cx)?, sizes(cx)?);
    let source = cx.input(0)?;
    let x = image(cx)?;
    let nearest = mode == ResizeMode::Nearest;
    let (coordinates, rounding) = match grid {
        Grid::Corners => (Coordinates::AlignCorners, NearestMode::RoundPreferCeil),
        Grid::Centers if nearest => (Coordinates::TfHalfPixel, NearestMode::Floor),
        Grid::Centers => (Coordinates::HalfPixel, NearestMode::Floor),
        Grid::Origin => (Coordinates::Asymmetric, NearestMode::Floor),
    };
    let op = Resize { mode, coordinates, nearest: rounding, axes: vec![2, 3], ..Resize::default() };
    let sizes = cx.integers(&sizes);
    let y = cx.op_with(op, &[Some(x.id), None, None, Some(sizes)], x.elem)?;
    let y = cx.to_last(y, false)?;
    // Nearest keeps the type of the image; bilinear gives floats.
    one(if nearest { cast_to(cx, y, source.elem)? } else { y })
}

/// Distance of neighbouring results in pixels of the input.
fn scale(grid: Grid, n: usize, size: usize) -> f64 {
    if grid == Grid::Corners && size > 1 {
        return n.saturating_sub(1) as f64 / size.saturating_sub(1) as f64;
    }
    n as f64 / size.max(1) as f64
}

fn resize_bicubic<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let grid = grid(cx)?;
    let name = if grid == Grid::Centers { "bicubic" } else { "bicubic_legacy" };
    let filter = Filter::named(name).ok_or_else(|| ImportError::unsupported("this filter is not supported"))?;
    by_matrices(cx, &|_, n, size| {
        let scale = scale(grid, n, size);
        let half = if grid == Grid::Centers { 0.5 } else { 0.0 };
        filter.weights(n, size, |i, j| j - filter.rounded((i as f64 + half) * scale - half))
    })
}

fn resize_area<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let corners = cx.attrs.flag("align_corners", false)?;
    let grid = if corners { Grid::Corners } else { Grid::Origin };
    by_matrices(cx, &|_, n, size| area(n, size, scale(grid, n, size)))
}

/// Result `i` of an axis lies at `(i + 0.5 - translation) / scale - 0.5`.
fn scale_and_translate<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let kernel = cx.attrs.string("kernel_type", "lanczos3")?;
    let filter = Filter::named(kernel).filter(|_| !kernel.starts_with("bicubic"));
    let filter = filter.ok_or_else(|| unknown_value("kernel_type", "a filter such as `lanczos3`", kernel))?;
    let antialias = cx.attrs.flag("antialias", true)?;
    let (scales, shifts) = (cx.input(2)?, cx.input(3)?);
    let pair = |cx: &Node, v: V| cx.const_floats(v).and_then(|f| <[f32; 2]>::try_from(f).ok());
    let Some(shifts) = pair(cx, shifts) else {
        return Err(ImportError::unsupported("a translation computed while running is not supported"));
    };
    let given = pair(cx, scales);
    by_matrices(cx, &|axis, n, size| {
        // In single precision, step by step as TensorFlow: filters with a sharp border decide by the last bit.
        let of = |list: [f32; 2]| list.into_iter().nth(axis).unwrap_or(1.0);
        // Scales that are computed from the extents are their quotient.
        let inverse = 1.0 / given.map_or(size as f32 / n.max(1) as f32, of);
        let shift = -inverse * of(shifts);
        let narrow = 1.0 / if antialias { inverse.max(1.0) } else { 1.0 };
        filter.weights(n, size, |i, j| {
            let at = (i as f32 + 0.5) * inverse + shift;
            // An output outside of the image has no pixels in reach.
            if at < 0.0 || at > n as f32 { f64::INFINITY } else { f64::from((j as f32 + 0.5 - at) * narrow) }
        })
    })
}

/// Weights `[size, n]` of a spatial axis.
type Weights<'a> = &'a dyn Fn(usize, usize, usize) -> Vec<f32>;

/// A product with a matrix of weights along each spatial axis.
fn by_matrices<'m>(cx: &mut Node<'_, 'm>, weights: Weights) -> Result<Lowered<'m>> {
    let sizes = sizes(cx)?;
    let mut x = cx.input(0)?;
    cx.expect_rank(x, 4)?;
    if !x.elem.is_float() {
        x = cast_to(cx, x, Elem::F32)?;
    }
    for (i, size) in sizes.into_iter().enumerate() {
        let axis = i.saturating_add(1);
        let n = cx.known(x, axis)?;
        let size = usize::try_from(size).unwrap_or(1);
        if n.saturating_mul(size) > 1 << 24 {
            return Err(ImportError::limits("a resampling beyond any image"));
        }
        cx.walker.cx.budget.made(&[n, size], 4, "weights of a resampling")?;
        let matrix = cx.floats(&[size, n], weights(i, n, size))?;
        // A matrix times rows of pixels, then one times pixels: no axis moves.
        x = if i == 0 {
            let width = int(cx.known(x, 2)?);
            let rows = cx.reshape(x, &[0, 0, -1])?;
            let y = cx.op(MatMul::default(), &[matrix, rows.id], x.elem)?;
            cx.reshape(y, &[0, 0, width, -1])?
        } else {
            cx.op(MatMul::default(), &[matrix, x.id], x.elem)?
        };
    }
    one(x)
}

/// `(x - mean) factor + mean`, the mean of each channel of each image.
fn adjust_contrast<'m>(cx: &mut Node<'_, 'm>) -> Result<Lowered<'m>> {
    let (x, factor) = (cx.input(0)?, cx.input(1)?);
    let rank = int(cx.rank(x));
    let mean = cx.reduce(ReduceKind::Mean, x, &[rank.saturating_sub(3), rank.saturating_sub(2)], true)?;
    let centred = cx.binary(BinaryKind::Sub, x, mean)?;
    let factor = cx.typed(factor.id, x.elem)?;
    let scaled = cx.binary(BinaryKind::Mul, centred, factor)?;
    one(cx.binary(BinaryKind::Add, scaled, mean)?)
}
