//! Preprocessing layers. Random ones do nothing in inference.

use pocketnn::ops::activation::Activation;
use pocketnn::ops::elementwise::BinaryKind;
use pocketnn::ops::gather::OneHot;
use pocketnn::ops::reduce::ReduceKind;
use pocketnn::{DType, ValueId};

use super::call::{Cx, Val, int, one};
use super::model::Layer;
use super::rows::Row;
use super::weights::Slot;
use crate::error::{ImportError, Result};

/// Rows of this family.
pub const ROWS: &[Row] = &[
    Row::plain(&["Rescaling"], rescaling),
    Row::new(&["Normalization"], normalization_slots, normalization),
    Row::plain(&["Discretization"], discretization),
    Row::plain(&["CategoryEncoding"], category_encoding),
    Row::plain(
        &[
            "AugMix",
            "AutoContrast",
            "CutMix",
            "MixUp",
            "RandAugment",
            "RandomBrightness",
            "RandomColorDegeneration",
            "RandomColorJitter",
            "RandomContrast",
            "RandomElasticTransform",
            "RandomErasing",
            "RandomFlip",
            "RandomGaussianBlur",
            "RandomGrayscale",
            "RandomHue",
            "RandomInvert",
            "RandomPerspective",
            "RandomPosterization",
            "RandomRotation",
            "RandomSaturation",
            "RandomSharpness",
            "RandomShear",
            "RandomTranslation",
            "RandomZoom",
        ],
        random,
    ),
];

fn random(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    if cx.layer.class == "AutoContrast" {
        return Err(ImportError::unsupported("a layer without a lowering"));
    }
    let fields: Vec<String> = cx.config.map().keys().cloned().collect();
    cx.config.ignore(&fields.iter().map(String::as_str).collect::<Vec<_>>());
    Ok(vec![cx.input()?])
}

/// One number, or one for each channel (the last axis).
fn factor(cx: &mut Cx<'_, '_>, key: &str, default: f32) -> Result<Vec<f32>> {
    Ok(cx.config.f32s(key)?.unwrap_or_else(|| vec![default]))
}

fn rescaling(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.x()?;
    let (scale, offset) = (factor(cx, "scale", 1.0)?, factor(cx, "offset", 0.0)?);
    if let ([a], [b]) = (scale.as_slice(), offset.as_slice()) {
        return one(cx.activate(Activation::Linear { a: *a, b: *b }, x)?);
    }
    let scale = cx.constant("scale", &[scale.len()], scale)?;
    let offset = cx.constant("offset", &[offset.len()], offset)?;
    let y = cx.binary(BinaryKind::Mul, x, scale)?;
    one(cx.binary(BinaryKind::Add, y, offset)?)
}

fn normalization_slots(layer: &Layer, _: u8) -> Result<Vec<Slot>> {
    let given = layer.config.get("mean").is_some_and(|v| !v.is_null());
    Ok(if given { Vec::new() } else { vec![Slot::fixed("mean"), Slot::fixed("variance"), Slot::fixed("count")] })
}

/// `(x - mean) / max(sqrt(variance), 1e-7)`; mean and variance have the kept axes' extents, others are 1.
fn normalization(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.x()?;
    let rank = cx.rank(x);
    let axes = cx.config.i64s("axis")?.unwrap_or_default();
    let axes: Vec<usize> = axes.iter().map(|&a| cx.axis(a, x)).collect::<Result<_>>()?;
    let invert = cx.config.bool("invert", false)?;
    let (mean, variance) = if let (Some(mean), Some(variance)) = (cx.config.f32s("mean")?, cx.config.f32s("variance")?)
    {
        (mean, variance)
    } else {
        let read = |slot: &str| cx.weights.read(cx.lw.file, slot).map(|a| a.data);
        (read("mean")?, read("variance")?)
    };
    if mean.len() != variance.len() {
        return Err(ImportError::invalid("mean and variance have different sizes")
            .expected(mean.len())
            .found(variance.len()));
    }
    let mut shape = vec![1usize; rank];
    if mean.len() > 1 {
        for &axis in &axes {
            let extent = cx.known(x, axis)?;
            if let Some(d) = shape.get_mut(axis) {
                *d = extent;
            }
        }
    }
    if let Some(v) = variance.iter().find(|v| v.is_nan() || **v < 0.0) {
        return Err(ImportError::invalid("a variance below 0")
            .expected("the variances that adapt() found")
            .found(v)
            .at_attribute("variance"));
    }
    let deviation: Vec<f32> = variance.iter().map(|v| v.sqrt().max(1e-7)).collect();
    let mean = cx.constant("mean", &shape, mean)?;
    let deviation = cx.constant("deviation", &shape, deviation)?;
    let (first, second, a, b) = if invert {
        (BinaryKind::Mul, BinaryKind::Add, deviation, mean)
    } else {
        (BinaryKind::Sub, BinaryKind::Div, mean, deviation)
    };
    let y = cx.binary(first, x, a)?;
    one(cx.binary(second, y, b)?)
}

/// Number of the bin: how many boundaries are not above the value.
fn discretization(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.x()?;
    let boundaries = cx.config.f32s("bin_boundaries")?.unwrap_or_default();
    cx.config.ignore(&["num_bins", "epsilon"]);
    if boundaries.is_empty() {
        return Err(ImportError::unsupported("bins that are kept as state").at_attribute("bin_boundaries"));
    }
    if cx.config.text("output_mode", "int")? != "int" {
        return Err(ImportError::unsupported("output mode").at_attribute("output_mode"));
    }
    let boundaries = cx.constant("boundaries", &[boundaries.len()], boundaries)?;
    let wide = cx.unsqueeze(x, &[-1])?;
    let above = cx.binary(BinaryKind::Ge, wide, boundaries)?;
    let above = cx.cast(above, DType::I32)?;
    one(cx.reduce(ReduceKind::Sum, above, &[-1], false)?)
}

fn category_encoding(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.input()?.id;
    let tokens = cx.config.usize("num_tokens")?;
    let mode = cx.config.text("output_mode", "multi_hot")?;
    if cx.arg(1, "count_weights").is_some() {
        return Err(ImportError::unsupported("weighted counts").at_attribute("count_weights"));
    }
    let x = cx.cast(x, DType::I64)?;
    let hot = one_hot(cx, x, tokens)?;
    let rank = cx.rank(x);
    let y = match mode.as_str() {
        // A last axis of extent 1 is replaced by the encoding, otherwise the encoding gets an axis of its own.
        "one_hot" if rank > 1 && cx.known(x, rank.saturating_sub(1)).is_ok_and(|n| n == 1) => cx.squeeze(hot, &[-2])?,
        "one_hot" => hot,
        "multi_hot" if rank == 1 => hot,
        "multi_hot" => cx.reduce(ReduceKind::Max, hot, &[-2], false)?,
        "count" if rank == 1 => hot,
        "count" => cx.reduce(ReduceKind::Sum, hot, &[-2], false)?,
        other => {
            return Err(ImportError::unsupported("output mode")
                .found(format!("`{other}`"))
                .at_attribute("output_mode"));
        }
    };
    one(y)
}

fn one_hot(cx: &mut Cx<'_, '_>, x: ValueId, depth: usize) -> Result<ValueId> {
    let depth = cx.lw.b.scalar(int(depth));
    let values = cx.constant("values", &[2], vec![0.0, 1.0])?;
    cx.op(OneHot { axis: -1 }, &[x, depth, values])
}
