//! Images sampled between their pixels.

use pocketnn::ops::elementwise::BinaryKind;
use pocketnn::ops::gather::Gather;
use pocketnn::ops::movement::Range;
use pocketnn::ops::sample::{Between, DeformConv, GridSample, Outside, RoiAlign, RoiPool};

use super::attrs::unknown_value;
use super::constant::cast_to;
use super::conv::{groups, spatial};
use super::elem::Elem;
use super::node::{Lowered, Node, V, one};
use super::registry::{Row, op};
use crate::error::{ImportError, Result};

pub(super) const ROWS: &[Row] = &[
    op("AffineGrid", &[20], affine_grid),
    op("DeformConv", &[19, 22], deform_conv),
    op("GridSample", &[16, 20, 22], grid_sample),
    op("MaxRoiPool", &[1, 22], max_roi_pool),
    op("RoiAlign", &[10, 16, 22], roi_align),
];

/// Opset 16 says `bilinear` and `bicubic` where later ones say `linear` and `cubic`.
fn grid_sample(cx: &mut Node) -> Result<Lowered> {
    let (x, grid) = (cx.input(0)?, cx.input(1)?);
    let between = match cx.attrs.string("mode", "linear")?.as_str() {
        "linear" | "bilinear" => Between::Linear,
        "cubic" | "bicubic" => Between::Cubic,
        "nearest" => Between::Nearest,
        other => return Err(unknown_value("mode", "`linear`, `nearest` or `cubic`", other)),
    };
    let outside = match cx.attrs.string("padding_mode", "zeros")?.as_str() {
        "zeros" => Outside::Zeros,
        "border" => Outside::Border,
        "reflection" => Outside::Reflection,
        other => return Err(unknown_value("padding_mode", "`zeros`, `border` or `reflection`", other)),
    };
    let corners = cx.attrs.flag("align_corners", false)?;
    cx.floats_only(x)?;
    one(cx.op(GridSample { between, outside, corners }, &[x.id, grid.id], x.elem)?)
}

/// Before opset 16 coordinates were not moved by half a pixel.
fn roi_align(cx: &mut Node) -> Result<Lowered> {
    let (x, rois, batch) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
    let largest = match cx.attrs.string("mode", "avg")?.as_str() {
        "avg" => false,
        "max" => true,
        other => return Err(unknown_value("mode", "`avg` or `max`", other)),
    };
    let default = if cx.since < 16 { "output_half_pixel" } else { "half_pixel" };
    let half_pixel = match cx.attrs.string("coordinate_transformation_mode", default)?.as_str() {
        "half_pixel" => true,
        "output_half_pixel" => false,
        other => {
            let expected = "`half_pixel` or `output_half_pixel`";
            return Err(unknown_value("coordinate_transformation_mode", expected, other));
        }
    };
    let count = |name: &str, default: i64, least: i64| -> Result<usize> {
        let n = cx.attrs.int(name, default)?;
        let fits = usize::try_from(n).ok().filter(|_| n >= least);
        fits.ok_or_else(|| {
            ImportError::invalid("a number out of range")
                .expected(format!("at least {least}"))
                .found(n)
                .at_attribute(name)
        })
    };
    let (height, width) = (count("output_height", 1, 1)?, count("output_width", 1, 1)?);
    let samples = count("sampling_ratio", 0, 0)?;
    let scale = cx.attrs.float("spatial_scale", 1.0)?;
    let op = RoiAlign { height, width, samples, scale, largest, half_pixel };
    one(cx.op(op, &[x.id, rois.id, batch.id], x.elem)?)
}

fn max_roi_pool(cx: &mut Node) -> Result<Lowered> {
    let (x, rois) = (cx.input(0)?, cx.input(1)?);
    let shape = cx.attrs.extents("pooled_shape")?.ok_or_else(|| super::attrs::missing("pooled_shape"))?;
    let &[height, width] = shape.as_slice() else {
        return Err(ImportError::invalid("not one number for each axis")
            .expected(2)
            .found(shape.len())
            .at_attribute("pooled_shape"));
    };
    let scale = cx.attrs.float("spatial_scale", 1.0)?;
    one(cx.op(RoiPool { height, width, scale }, &[x.id, rois.id], x.elem)?)
}

fn deform_conv(cx: &mut Node) -> Result<Lowered> {
    let (x, w, offset) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
    let axes = spatial(cx, x, w)?;
    if axes != 2 {
        return Err(ImportError::unsupported("deformable convolution is supported on images of two axes").found(axes));
    }
    let two = |name: &str| -> Result<Vec<usize>> {
        let list = cx.attrs.extents(name)?.filter(|l| !l.is_empty()).unwrap_or_else(|| vec![1, 1]);
        super::conv::check(name, list.len(), 2)?;
        Ok(list)
    };
    let (strides, dilations) = (two("strides")?, two("dilations")?);
    let pads = cx.attrs.ints("pads")?.filter(|p| !p.is_empty()).unwrap_or_else(|| vec![0; 4]);
    super::conv::check("pads", pads.len(), 4)?;
    cx.attrs.ignore(&["kernel_shape"]);
    let offset_groups = cx.attrs.int("offset_group", 1)?;
    let offset_groups = usize::try_from(offset_groups)
        .map_err(|_| ImportError::invalid("a negative number").found(offset_groups).at_attribute("offset_group"))?;
    let begins = pads.into_iter().take(2).collect();
    let op = DeformConv { strides, dilations, begins, groups: groups(cx)?, offset_groups };
    let (bias, mask) = (cx.maybe(3)?.map(|v| v.id), cx.maybe(4)?.map(|v| v.id));
    one(cx.op_with(op, &[Some(x.id), Some(w.id), Some(offset.id), bias, mask], x.elem)?)
}

/// `theta` applied to the coordinates of every output element: a sum of one term an axis, innermost axis first, and a constant.
fn affine_grid(cx: &mut Node) -> Result<Lowered> {
    let (theta, size) = (cx.input(0)?, cx.input(1)?);
    let corners = cx.attrs.flag("align_corners", false)?;
    let axes = match cx.extent(theta, 1) {
        Some(n @ (2 | 3)) if cx.rank(theta) == 3 => n,
        _ => {
            return Err(ImportError::invalid("input 0")
                .expected("[N, 2, 3] or [N, 3, 4]")
                .found(format!("{:?}", cx.shape(theta))));
        }
    };
    let mut sum = column(cx, theta, axes, axes)?;
    for k in 0..axes {
        // Column k belongs to the k-th axis from the end.
        let axis = axes.saturating_sub(1).saturating_sub(k);
        let along = coordinates(cx, size, axis, axes, corners)?;
        let along = cast_to(cx, along, theta.elem)?;
        let slope = column(cx, theta, k, axes)?;
        let term = cx.binary(BinaryKind::Mul, along, slope)?;
        sum = cx.binary(BinaryKind::Add, sum, term)?;
    }
    one(sum)
}

/// Column `k` of `theta [N, A, A + 1]` as `[N, 1..., A]`.
fn column(cx: &mut Node, theta: V, k: usize, axes: usize) -> Result<V> {
    let index = cx.tensor(pocketnn::Tensor::scalar(i64::try_from(k).unwrap_or(0)));
    let column = cx.op(Gather { axis: 2 }, &[theta.id, index], theta.elem)?;
    let mut shape = vec![1i64; axes.saturating_add(2)];
    shape.first_mut().into_iter().for_each(|d| *d = 0);
    shape.last_mut().into_iter().for_each(|d| *d = i64::try_from(axes).unwrap_or(0));
    cx.reshape(column, &shape)
}

/// The coordinates -1 to 1 along an axis of the output as `[1, ..., extent, ..., 1]`.
fn coordinates(cx: &mut Node, size: V, axis: usize, axes: usize, corners: bool) -> Result<V> {
    let index = cx.tensor(pocketnn::Tensor::scalar(i64::try_from(axis.saturating_add(2)).unwrap_or(2)));
    let extent = cx.op(Gather { axis: 0 }, &[size.id, index], size.elem)?;
    let extent = cast_to(cx, extent, Elem::F32)?;
    let (zero, unit) = (cx.float(0.0), cx.float(1.0));
    let places = cx.op(Range::default(), &[zero.id, extent.id, unit.id], Elem::F32)?;
    let two = cx.float(2.0);
    let twice = cx.binary(BinaryKind::Mul, places, two)?;
    let scaled = if corners {
        let steps = cx.binary(BinaryKind::Sub, extent, unit)?;
        let steps = cx.binary(BinaryKind::Max, steps, unit)?;
        cx.binary(BinaryKind::Div, twice, steps)?
    } else {
        let centre = cx.binary(BinaryKind::Add, twice, unit)?;
        cx.binary(BinaryKind::Div, centre, extent)?
    };
    let all = cx.binary(BinaryKind::Sub, scaled, unit)?;
    let mut shape = vec![1i64; axes.saturating_add(2)];
    if let Some(d) = shape.get_mut(axis.saturating_add(1)) {
        *d = -1;
    }
    cx.reshape(all, &shape)
}
