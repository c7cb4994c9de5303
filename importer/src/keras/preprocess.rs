//! Preprocessing layers. Random ones do nothing in inference.

use pocketnn::ops::activation::Activation;
use pocketnn::ops::elementwise::BinaryKind;
use pocketnn::ops::gather::{Gather, OneHot};
use pocketnn::ops::reduce::ReduceKind;
use pocketnn::{DType, ValueId};

use super::call::{Cx, Item, Val, int, one};
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
    Row::plain(&["IntegerLookup"], integer_lookup),
    Row::plain(&["AutoContrast"], auto_contrast),
    Row::plain(
        &[
            "AugMix",
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
            "Solarization",
        ],
        random,
    ),
];

fn random(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
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
    // Statistics of fewer axes than are kept are those of the last ones.
    let mut left = mean.len();
    let mut kept = axes.clone();
    kept.sort_unstable();
    for &axis in kept.iter().rev().take_while(|_| mean.len() > 1) {
        let extent = cx.known(x, axis)?;
        if let (Some(d), true) = (shape.get_mut(axis), left.is_multiple_of(extent.max(1)) && left > 1) {
            *d = extent;
            left /= extent.max(1);
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
        return Err(ImportError::unsupported("bins that are kept as state")
            .at_attribute("bin_boundaries")
            .nearest(Some("bins given as `bin_boundaries`"))
            .help("save the model again with Keras 3, which writes the bins it found into the file"));
    }
    let mode = cx.config.text("output_mode", "int")?;
    let depth = boundaries.len().saturating_add(1);
    let boundaries = cx.constant("boundaries", &[boundaries.len()], boundaries)?;
    let wide = cx.unsqueeze(x, &[-1])?;
    let above = cx.binary(BinaryKind::Ge, wide, boundaries)?;
    let above = cx.cast(above, DType::I32)?;
    let bins = cx.reduce(ReduceKind::Sum, above, &[-1], false)?;
    one(if mode == "int" { bins } else { encode(cx, bins, depth, &mode, None)? })
}

fn category_encoding(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.input()?.id;
    let tokens = cx.config.usize("num_tokens")?;
    let mode = cx.config.text("output_mode", "multi_hot")?;
    let weights = match cx.arg(1, "count_weights") {
        Some(Item::Tensor(v)) => Some(cx.float(v.id)?),
        Some(_) => return Err(ImportError::unsupported("weights that are no tensor").at_attribute("count_weights")),
        None => None,
    };
    one(encode(cx, x, tokens, &mode, weights)?)
}

/// Integers as vectors of `depth`: `one_hot`, `multi_hot` or (weighted) `count` over the last axis.
fn encode(cx: &mut Cx<'_, '_>, x: ValueId, depth: usize, mode: &str, weights: Option<ValueId>) -> Result<ValueId> {
    let x = cx.cast(x, DType::I64)?;
    let hot = one_hot(cx, x, depth)?;
    let rank = cx.rank(x);
    match mode {
        // A last axis of extent 1 is replaced by the encoding, otherwise the encoding gets an axis of its own.
        "one_hot" if rank > 1 && cx.known(x, rank.saturating_sub(1)).is_ok_and(|n| n == 1) => cx.squeeze(hot, &[-2]),
        "one_hot" => Ok(hot),
        "multi_hot" if rank == 1 => Ok(hot),
        "multi_hot" => cx.reduce(ReduceKind::Max, hot, &[-2], false),
        "count" => {
            let hot = match weights {
                Some(w) => {
                    let w = cx.unsqueeze(w, &[-1])?;
                    cx.binary(BinaryKind::Mul, hot, w)?
                }
                None => hot,
            };
            if rank == 1 { Ok(hot) } else { cx.reduce(ReduceKind::Sum, hot, &[-2], false) }
        }
        other => Err(ImportError::unsupported("output mode")
            .found(format!("`{other}`"))
            .at_attribute("output_mode")
            .nearest(Some("`one_hot`, `multi_hot` or `count`"))),
    }
}

/// Largest vocabulary of integers.
const MAX_VOCABULARY: usize = 1 << 20;

/// Position of an integer in the vocabulary, behind the mask token and the buckets of unknown ones; or back.
fn integer_lookup(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.input()?.id;
    let Some(vocabulary) = cx.config.i64s("vocabulary")? else {
        return Err(ImportError::unsupported("a vocabulary that is not in the file")
            .at_attribute("vocabulary")
            .help("give the vocabulary to the layer's constructor and save the model again"));
    };
    cx.bounded(vocabulary.len(), MAX_VOCABULARY, "words of a vocabulary")?;
    cx.config.ignore(&["vocabulary_dtype", "vocabulary_size", "oov_method", "sparse"]);
    let mode = cx.config.text("output_mode", "int")?;
    let mask = cx.config.get("mask_token").map(|v| super::config::to_i64("mask_token", v)).transpose()?;
    let buckets = cx.config.i64_or("num_oov_indices", 1)?;
    let masked = i64::from(mask.is_some() && mode == "int");
    let start = masked.saturating_add(buckets);
    let oov = cx.config.i64_or("oov_token", -1)?;
    // A vocabulary may begin with the special tokens themselves.
    let head = mask.filter(|_| masked == 1).into_iter().chain((0..buckets.clamp(0, 1 << 16)).map(|_| oov));
    let special: Vec<i64> = head.collect();
    let vocabulary = vocabulary.strip_prefix(special.as_slice()).unwrap_or(&vocabulary).to_vec();
    let x = cx.cast(x, DType::I64)?;
    if cx.config.bool("invert", false)? {
        let head = mask.filter(|_| masked == 1).into_iter();
        let all: Vec<i64> =
            head.chain((0..buckets.clamp(0, 1)).map(|_| oov)).chain(vocabulary.iter().copied()).collect();
        let all = cx.lw.b.integers(&all);
        return one(cx.op(Gather { axis: 0 }, &[all, x])?);
    }
    let words = cx.lw.b.integers(&vocabulary);
    let places: Vec<i64> = (1..=int(vocabulary.len())).collect();
    let places = cx.lw.b.integers(&places);
    let wide = cx.unsqueeze(x, &[-1])?;
    let same = cx.binary(BinaryKind::Eq, wide, words)?;
    let same = cx.cast(same, DType::I64)?;
    let place = cx.binary(BinaryKind::Mul, same, places)?;
    let place = cx.reduce(ReduceKind::Max, place, &[-1], false)?;
    let (zero, before) = (cx.scalar_like(0.0, x)?, cx.scalar_like(start.saturating_sub(1) as f64, x)?);
    let known = cx.binary(BinaryKind::Gt, place, zero)?;
    let found = cx.binary(BinaryKind::Add, place, before)?;
    let first = cx.scalar_like(masked as f64, x)?;
    let unknown = match buckets {
        0 => cx.scalar_like(-1.0, x)?,
        1 => first,
        _ => {
            let buckets = cx.scalar_like(buckets as f64, x)?;
            let bucket = cx.binary(BinaryKind::Mod, x, buckets)?;
            cx.binary(BinaryKind::Add, bucket, first)?
        }
    };
    let mut y = cx.select(known, found, unknown)?;
    if let (Some(mask), 1) = (mask, masked) {
        let mask = cx.lw.b.scalar(mask);
        let is_mask = cx.binary(BinaryKind::Eq, x, mask)?;
        y = cx.select(is_mask, zero, y)?;
    }
    if mode == "int" {
        return one(y);
    }
    let own = usize::try_from(start).unwrap_or(0).saturating_add(vocabulary.len());
    let padded = cx.config.bool("pad_to_max_tokens", false)?;
    let depth = if padded { cx.config.usize("max_tokens")? } else { own };
    cx.config.ignore(&["max_tokens"]);
    one(encode(cx, y, depth, &mode, None)?)
}

/// The values of each image and channel are spread over the whole range.
fn auto_contrast(cx: &mut Cx<'_, '_>) -> Result<Vec<Val>> {
    let x = cx.x()?;
    cx.expect_rank(x, 4)?;
    let range = cx.config.f32s("value_range")?.unwrap_or_else(|| vec![0.0, 255.0]);
    let &[low, high] = range.as_slice() else {
        return Err(ImportError::invalid("a range is two numbers").at_attribute("value_range"));
    };
    cx.config.ignore(&["data_format", "bounding_box_format"]);
    let to_pixels = 255.0 / (high - low);
    let pixels = cx.activate(Activation::Linear { a: to_pixels, b: -low * to_pixels }, x)?;
    let least = cx.reduce(ReduceKind::Min, pixels, &[1, 2], true)?;
    let most = cx.reduce(ReduceKind::Max, pixels, &[1, 2], true)?;
    let spread = cx.binary(BinaryKind::Sub, most, least)?;
    let full = cx.scalar_like(255.0, pixels)?;
    let scale = cx.binary(BinaryKind::Div, full, spread)?;
    let from_low = cx.binary(BinaryKind::Mul, least, scale)?;
    let scaled = cx.binary(BinaryKind::Mul, pixels, scale)?;
    let shifted = cx.binary(BinaryKind::Sub, scaled, from_low)?;
    let clipped = cx.activate(Activation::Clamp { lo: 0.0, hi: 255.0 }, shifted)?;
    let back = cx.activate(Activation::Linear { a: 1.0 / to_pixels, b: low }, clipped)?;
    // An even image has no contrast and stays as it is.
    let zero = cx.scalar_like(0.0, pixels)?;
    let even = cx.binary(BinaryKind::Eq, spread, zero)?;
    one(cx.select(even, x, back)?)
}

fn one_hot(cx: &mut Cx<'_, '_>, x: ValueId, depth: usize) -> Result<ValueId> {
    let depth = cx.lw.b.scalar(int(depth));
    let values = cx.constant("values", &[2], vec![0.0, 1.0])?;
    cx.op(OneHot { axis: -1 }, &[x, depth, values])
}
