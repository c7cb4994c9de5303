//! Resampling.

use pocketnn::Tensor;
use pocketnn::ops::resize::{AspectPolicy, Coordinates, NearestMode, Resize, ResizeMode};

use super::attrs::{missing, unknown_value};
use super::elem::Elem;
use super::node::{Lowered, Node, V, one};
use super::registry::{Row, op};
use crate::error::{ImportError, Result};

pub(super) const ROWS: &[Row] =
    &[op("Resize", &[10, 11, 13, 18, 19], resize), op("Upsample", &[1, 7, 9, 10], upsample)];

fn mode(cx: &Node) -> Result<ResizeMode> {
    match cx.attrs.string("mode", "nearest")?.as_str() {
        "nearest" => Ok(ResizeMode::Nearest),
        "linear" | "bilinear" => Ok(ResizeMode::Linear),
        "cubic" if cx.since >= 11 => Ok(ResizeMode::Cubic),
        other => Err(unknown_value("mode", "`nearest`, `linear` or (from opset 11) `cubic`", other)),
    }
}

/// Positions divide by the scale and the nearest element is the one below: the meaning before opset 11.
fn simple(cx: &Node) -> Result<Resize> {
    Ok(Resize {
        mode: mode(cx)?,
        coordinates: Coordinates::Asymmetric,
        nearest: NearestMode::Floor,
        ..Resize::default()
    })
}

/// Scales are two attributes in opset 1, one in opset 7, then an input.
fn upsample(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    let op = simple(cx)?;
    let scales = if cx.since >= 9 {
        cx.input(1)?
    } else {
        let scales = if cx.since >= 7 {
            cx.attrs.floats("scales")?.ok_or_else(|| missing("scales"))?
        } else {
            let get = |name: &str| cx.attrs.opt_float(name)?.ok_or_else(|| missing(name));
            vec![1.0, 1.0, get("height_scale")?, get("width_scale")?]
        };
        V { id: cx.tensor(Tensor::vector(&scales)), elem: Elem::F32 }
    };
    one(cx.op_with(op, &[Some(x.id), None, Some(scales.id)], x.elem)?)
}

/// An operand that is absent or empty says nothing.
fn given(cx: &Node, i: usize) -> Result<Option<V>> {
    Ok(cx.maybe(i)?.filter(|&v| cx.extent(v, 0) != Some(0)))
}

fn resize(cx: &mut Node) -> Result<Lowered> {
    let x = cx.input(0)?;
    if cx.since < 11 {
        let (op, scales) = (simple(cx)?, cx.input(1)?);
        return one(cx.op_with(op, &[Some(x.id), None, Some(scales.id)], x.elem)?);
    }
    let op = Resize {
        mode: mode(cx)?,
        coordinates: coordinates(cx)?,
        nearest: nearest(cx)?,
        cubic_a: cx.attrs.float("cubic_coeff_a", -0.75)?,
        exclude_outside: cx.attrs.flag("exclude_outside", false)?,
        extrapolation: cx.attrs.float("extrapolation_value", 0.0)?,
        antialias: cx.attrs.flag("antialias", false)?,
        aspect: aspect(cx)?,
        axes: cx.attrs.ints("axes")?.unwrap_or_default(),
    };
    let roi = given(cx, 1)?.filter(|_| op.coordinates == Coordinates::TfCropAndResize);
    let (scales, sizes) = (given(cx, 2)?, given(cx, 3)?);
    if scales.is_some() == sizes.is_some() {
        return Err(ImportError::invalid("one of `scales` and `sizes` must be given").found(if scales.is_some() {
            "both"
        } else {
            "none"
        }));
    }
    let roi = match roi {
        Some(roi) => Some(cx.convert(roi.id, pocketnn::DType::F32)?),
        None => None,
    };
    let sizes = match sizes {
        Some(sizes) => Some(cx.as_i64(sizes)?),
        None => None,
    };
    one(cx.op_with(op, &[Some(x.id), roi, scales.map(|s| s.id), sizes], x.elem)?)
}

fn coordinates(cx: &Node) -> Result<Coordinates> {
    let name = cx.attrs.string("coordinate_transformation_mode", "half_pixel")?;
    Coordinates::from_name(&name).ok_or_else(|| {
        let names: Vec<&str> = Coordinates::ALL.iter().map(|c| c.name()).collect();
        unknown_value("coordinate_transformation_mode", &names.join(", "), &name)
    })
}

fn nearest(cx: &Node) -> Result<NearestMode> {
    let name = cx.attrs.string("nearest_mode", "round_prefer_floor")?;
    NearestMode::from_name(&name).ok_or_else(|| {
        unknown_value("nearest_mode", "`round_prefer_floor`, `round_prefer_ceil`, `floor` or `ceil`", &name)
    })
}

fn aspect(cx: &Node) -> Result<AspectPolicy> {
    let name = cx.attrs.string("keep_aspect_ratio_policy", "stretch")?;
    AspectPolicy::from_name(&name)
        .ok_or_else(|| unknown_value("keep_aspect_ratio_policy", "`stretch`, `not_larger` or `not_smaller`", &name))
}
