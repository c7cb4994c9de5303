//! Resampling and cropping of images.
//!
//! Bilinear and nearest have half-pixel centres, as `tf.image.resize`. The other filters become a product with a matrix of weights
//! for each axis; bicubic is Keys' with -0.5, renormalised at the border, with positions rounded to 1/1024 pixel as TensorFlow does.

use pocketnn::ValueId;
use pocketnn::ops::dense::MatMul;
use pocketnn::ops::movement::Reshape;
use pocketnn::ops::resize::{Coordinates, NearestMode, Resize, ResizeMode};
use serde_json::Value;

use super::call::{Cx, Val, int, one};
use super::config::wrong;
use super::conv::spatial;
use super::rows::Row;
use crate::error::{ImportError, Result};
use crate::resample::{Filter, area};

/// Rows of this family.
pub const ROWS: &[Row] = &[
    Row::plain(&["UpSampling1D", "UpSampling2D", "UpSampling3D"], up_sampling),
    Row::plain(&["Resizing", "Resize"], resizing),
    Row::plain(&["CenterCrop"], center_crop),
    Row::plain(&["RandomCrop"], random_crop),
];

fn up_sampling(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let n = spatial(&cx.layer.class);
    let x = cx.x()?;
    cx.expect_rank(x, n.saturating_add(2))?;
    let first = cx.channels_first()?;
    let x = cx.to_first(x, first)?;
    let factors = cx.config.usizes("size", n, 2)?;
    if factors.contains(&0) || factors.iter().any(|&f| f > 4096) {
        return Err(wrong("size", "factors from 1 to 4096", &Value::from(factors)));
    }
    let filter = cx.config.text("interpolation", "nearest")?;
    let y = if filter == "nearest" {
        let scales: Vec<f32> = factors.iter().map(|&f| f as f32).collect();
        let scales = cx.constant("scales", &[n], scales)?;
        let axes = (2..n.saturating_add(2)).map(int).collect();
        let op =
            Resize { nearest: NearestMode::Floor, coordinates: Coordinates::Asymmetric, axes, ..Resize::default() };
        cx.node1(op, &[Some(x), None, Some(scales), None])?
    } else {
        let mut sizes = Vec::new();
        for (i, f) in factors.iter().enumerate() {
            sizes.push(cx.known(x, i.saturating_add(2))?.saturating_mul(*f));
        }
        resize(cx, x, &sizes, &filter)?
    };
    one(cx.to_last(y, first)?)
}

fn resizing(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.x()?;
    let first = cx.channels_first()?;
    let batched = cx.rank(x) == 4;
    let x = if batched { x } else { cx.unsqueeze(x, &[0])? };
    cx.expect_rank(x, 4)?;
    let x = cx.to_first(x, first)?;
    let sizes = if cx.layer.class == "Resize" {
        cx.config.usizes("size", 2, 1)?
    } else {
        vec![cx.config.usize("height")?, cx.config.usize("width")?]
    };
    let filter = cx.config.text("interpolation", "bilinear")?;
    let filter = Sampling { antialias: cx.config.bool("antialias", false)?, filter };
    let crop = cx.config.bool("crop_to_aspect_ratio", false)?;
    let pad = cx.config.bool("pad_to_aspect_ratio", false)?;
    let fill = cx.config.f32_or("fill_value", 0.0)?;
    if cx.config.text("fill_mode", "constant")? != "constant" {
        return Err(ImportError::unsupported("fill mode").at_attribute("fill_mode"));
    }
    let y = if crop {
        crop_and_resize(cx, x, &sizes, &filter)?
    } else if pad {
        pad_and_resize(cx, x, &sizes, &filter, fill)?
    } else {
        resample(cx, x, &sizes, &filter)?
    };
    let y = cx.to_last(y, first)?;
    one(if batched { y } else { cx.squeeze(y, &[0])? })
}

/// The largest part in the middle with the target's proportions, resized.
fn crop_and_resize(cx: &mut Cx<'_, '_>, x: ValueId, sizes: &[usize], sampling: &Sampling) -> Result<ValueId> {
    let (h, w) = (cx.known(x, 2)?, cx.known(x, 3)?);
    let (th, tw) = target(sizes)?;
    let part = |a: usize, ta: usize, tb: usize, b: usize| (b.saturating_mul(ta) / tb).min(a).max(1);
    let (ch, cw) = (part(h, th, tw, w), part(w, tw, th, h));
    let x = middle(cx, x, 2, h, ch)?;
    let x = middle(cx, x, 3, w, cw)?;
    resample(cx, x, sizes, sampling)
}

fn target(sizes: &[usize]) -> Result<(usize, usize)> {
    match sizes {
        [h, w] if *h > 0 && *w > 0 => Ok((*h, *w)),
        _ => Err(wrong("size", "two positive extents", &Value::from(sizes))),
    }
}

fn middle(cx: &mut Cx<'_, '_>, x: ValueId, axis: usize, from: usize, to: usize) -> Result<ValueId> {
    if from == to {
        return Ok(x);
    }
    let start = from.saturating_sub(to) / 2;
    cx.slice(x, axis, int(start), int(start.saturating_add(to)), 1)
}

/// Padded to the target's proportions with a value, then resized.
fn pad_and_resize(cx: &mut Cx<'_, '_>, x: ValueId, sizes: &[usize], sampling: &Sampling, fill: f32) -> Result<ValueId> {
    let (h, w) = (cx.known(x, 2)?, cx.known(x, 3)?);
    let (th, tw) = target(sizes)?;
    let grown = |a: usize, ta: usize, tb: usize, b: usize| (b.saturating_mul(ta) / tb).max(a);
    let (ph, pw) = (grown(h, th, tw, w), grown(w, tw, th, h));
    // Keras pads both ends alike and so drops an odd row.
    let half = |from: usize, to: usize| int(to.saturating_sub(from) / 2);
    let (rows, columns) = (half(h, ph), half(w, pw));
    let pads = cx.lw.b.integers(&[0, 0, rows, columns, 0, 0, rows, columns]);
    let fill = cx.lw.b.scalar(fill);
    let x = cx.op(pocketnn::ops::movement::Pad::default(), &[x, pads, fill])?;
    resample(cx, x, sizes, sampling)
}

/// Crops in the middle; an image that is too small is resized so that it covers the target first.
fn center_crop(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.x()?;
    cx.expect_rank(x, 4)?;
    let first = cx.channels_first()?;
    let x = cx.to_first(x, first)?;
    let sizes = [cx.config.usize("height")?, cx.config.usize("width")?];
    let (h, w) = (cx.known(x, 2)?, cx.known(x, 3)?);
    let y = if h >= sizes[0] && w >= sizes[1] {
        let x = middle(cx, x, 2, h, sizes[0])?;
        middle(cx, x, 3, w, sizes[1])?
    } else {
        crop_and_resize(cx, x, &sizes, &Sampling::bilinear())?
    };
    one(cx.to_last(y, first)?)
}

/// Inference: nothing in Keras 3, a resize in Keras 2.
fn random_crop(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let sizes = [cx.config.usize("height")?, cx.config.usize("width")?];
    let first = cx.channels_first()?;
    if cx.lw.version >= 3 {
        return Ok(vec![cx.input()?]);
    }
    let x = cx.x()?;
    cx.expect_rank(x, 4)?;
    let x = cx.to_first(x, first)?;
    let y = crop_and_resize(cx, x, &sizes, &Sampling::bilinear())?;
    one(cx.to_last(y, first)?)
}

/// Resamples the spatial axes of `[N, C, spatial..]` to `sizes`.
pub fn resize(cx: &mut Cx<'_, '_>, x: ValueId, sizes: &[usize], filter: &str) -> Result<ValueId> {
    resample(cx, x, sizes, &Sampling { antialias: false, filter: filter.to_owned() })
}

/// A filter by Keras's name, widened where an image becomes smaller or not.
struct Sampling {
    antialias: bool,
    filter: String,
}

impl Sampling {
    fn bilinear() -> Self {
        Self { antialias: false, filter: "bilinear".to_owned() }
    }
}

fn resample(cx: &mut Cx<'_, '_>, x: ValueId, sizes: &[usize], sampling: &Sampling) -> Result<ValueId> {
    let mode = match (sampling.filter.as_str(), sampling.antialias) {
        ("nearest", _) => ResizeMode::Nearest,
        ("bilinear", false) => ResizeMode::Linear,
        (name, widened) => {
            return by_matrices(cx, x, sizes, name, widened);
        }
    };
    let coordinates = if mode == ResizeMode::Nearest { Coordinates::TfHalfPixel } else { Coordinates::HalfPixel };
    let axes = (2..sizes.len().saturating_add(2)).map(int).collect();
    let op = Resize { mode, coordinates, nearest: NearestMode::Floor, axes, ..Resize::default() };
    let extents: Vec<i64> = sizes.iter().map(|&s| int(s)).collect();
    let extents = cx.lw.b.integers(&extents);
    cx.node1(op, &[Some(x), None, None, Some(extents)])
}

fn by_matrices(cx: &mut Cx<'_, '_>, x: ValueId, sizes: &[usize], name: &str, antialias: bool) -> Result<ValueId> {
    let known = ["lanczos3", "lanczos5", "gaussian", "mitchellcubic", "bicubic"].contains(&name);
    let filter = match (name, antialias) {
        ("bilinear", true) => Filter::named("triangle"),
        ("bicubic", true) => Filter::named("keyscubic"),
        _ if known => Filter::named(name),
        _ => None,
    };
    if filter.is_none() && name != "area" {
        return Err(ImportError::unsupported("interpolation").found(format!("`{name}`")).at_attribute("interpolation"));
    }
    let weights = |n: usize, size: usize| {
        let scale = n as f64 / size.max(1) as f64;
        let widened = |i: usize, j: f64| (j - ((i as f64 + 0.5) * scale - 0.5)) / scale.max(1.0);
        match filter {
            None => area(n, size, scale),
            Some(f) if antialias => f.weights(n, size, widened),
            Some(f) => f.matrix(n, size),
        }
    };
    // With channels innermost: neither a matrix times rows of pixels nor one times pixels moves an axis.
    let mut x = cx.to_last(x, false)?;
    for (i, &size) in sizes.iter().enumerate() {
        let axis = i.saturating_add(1);
        let n = cx.known(x, axis)?;
        if n.max(1).saturating_mul(size) > 1 << 24 {
            return Err(ImportError::limits("a resampling beyond any image").at_attribute("interpolation"));
        }
        cx.lw.budget.made(&[n, size], 4, "weights of a resampling")?;
        let matrix = cx.constant("resample", &[size, n], weights(n, size))?;
        let rest: Vec<usize> = (axis.saturating_add(1)..=sizes.len()).map(|a| cx.known(x, a)).collect::<Result<_>>()?;
        // Copied extents up to the axis, what is behind it as one row.
        let kept = vec![0; axis.saturating_add(1)];
        let rows: Vec<i64> = kept.iter().copied().chain([-1]).collect();
        let rows = cx.lw.b.integers(&rows);
        let flat = cx.op(Reshape::default(), &[x, rows])?;
        let y = cx.op(MatMul::default(), &[matrix, flat])?;
        let whole: Vec<i64> = kept.into_iter().chain(rest.into_iter().map(int)).chain([-1]).collect();
        let whole = cx.lw.b.integers(&whole);
        x = cx.op(Reshape::default(), &[y, whole])?;
    }
    cx.to_first(x, false)
}
