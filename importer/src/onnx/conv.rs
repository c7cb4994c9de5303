//! Convolutions.

use pocketnn::ops::conv::{Col2Im, Conv, ConvTranspose, Pads};

use super::attrs::unknown_value;
use super::node::{Lowered, Node, V, one};
use super::registry::{Row, op};
use crate::error::{ImportError, Result};

pub(super) const ROWS: &[Row] = &[
    op("Col2Im", &[18], col_to_im),
    op("Conv", &[1, 11, 22], conv),
    op("ConvTranspose", &[1, 11, 22], conv_transpose),
];

/// Strides, dilations and padding, which convolution and pooling share.
pub(super) struct Window {
    pub strides: Vec<usize>,
    pub dilations: Vec<usize>,
    pub pads: Pads,
}

impl Window {
    /// Reads the attributes for `spatial` axes.
    pub fn read(cx: &Node, spatial: usize) -> Result<Self> {
        let list = |name: &str| -> Result<Vec<usize>> {
            let list = cx.attrs.extents(name)?.unwrap_or_default();
            check(name, list.len(), spatial)?;
            if list.contains(&0) {
                return Err(ImportError::invalid("a step of 0").expected("at least 1").at_attribute(name));
            }
            Ok(list)
        };
        Ok(Self { strides: list("strides")?, dilations: list("dilations")?, pads: pads(cx, spatial)? })
    }
}

/// A list is absent or has one number for each spatial axis.
pub(super) fn check(name: &str, len: usize, expected: usize) -> Result<()> {
    if len == 0 || len == expected {
        return Ok(());
    }
    Err(ImportError::invalid("not one number for each spatial axis").expected(expected).found(len).at_attribute(name))
}

fn pads(cx: &Node, spatial: usize) -> Result<Pads> {
    let list = cx.attrs.ints("pads")?;
    match cx.attrs.string("auto_pad", "NOTSET")?.as_str() {
        "NOTSET" | "" => {}
        "VALID" => return Ok(Pads::default()),
        "SAME_UPPER" => return Ok(Pads::SameUpper),
        "SAME_LOWER" => return Ok(Pads::SameLower),
        other => {
            return Err(unknown_value("auto_pad", "`NOTSET`, `VALID`, `SAME_UPPER` or `SAME_LOWER`", other));
        }
    }
    let Some(list) = list.filter(|l| !l.is_empty()) else { return Ok(Pads::default()) };
    check("pads", list.len(), spatial.saturating_mul(2))?;
    let all: Option<Vec<usize>> = list.iter().map(|&p| usize::try_from(p).ok()).collect();
    let all = all.ok_or_else(|| {
        ImportError::unsupported("negative padding is not supported").found(format!("{list:?}")).at_attribute("pads")
    })?;
    let (begin, end) = all.split_at(spatial);
    Ok(Pads::Explicit { begin: begin.to_vec(), end: end.to_vec() })
}

/// Number of groups of channels that do not mix.
pub(super) fn groups(cx: &Node) -> Result<usize> {
    let group = cx.attrs.int("group", 1)?;
    usize::try_from(group).ok().filter(|&g| g > 0).ok_or_else(|| {
        ImportError::invalid("the number of groups").expected("at least 1").found(group).at_attribute("group")
    })
}

/// Number of spatial axes of `x`, after the kernel's shape was checked against `kernel_shape`.
pub(super) fn spatial(cx: &Node, x: V, w: V) -> Result<usize> {
    let (rank, kernel_rank) = (cx.rank(x), cx.rank(w));
    let spatial = rank.checked_sub(2).filter(|_| rank == kernel_rank).ok_or_else(|| {
        ImportError::invalid("input and kernel must have the same rank, at least 2")
            .found(format!("ranks {rank} and {kernel_rank}"))
    })?;
    if let Some(declared) = cx.attrs.extents("kernel_shape")? {
        check("kernel_shape", declared.len(), spatial)?;
        let fits = declared.iter().enumerate().all(|(i, &k)| cx.extent(w, i.saturating_add(2)).is_none_or(|e| e == k));
        if !fits {
            return Err(ImportError::invalid("not the kernel's extents")
                .expected(pocketnn::dim::show_shape(cx.shape(w)))
                .found(format!("{declared:?}"))
                .at_attribute("kernel_shape"));
        }
    }
    Ok(spatial)
}

fn col_to_im(cx: &mut Node) -> Result<Lowered> {
    let (x, image, block) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
    let strides = cx.attrs.extents("strides")?.unwrap_or_default();
    let dilations = cx.attrs.extents("dilations")?.unwrap_or_default();
    let pads = cx.attrs.ints("pads")?.unwrap_or_default();
    let (image, block) = (cx.as_i64(image)?, cx.as_i64(block)?);
    one(cx.op(Col2Im { strides, dilations, pads }, &[x.id, image, block], x.elem)?)
}

fn conv(cx: &mut Node) -> Result<Lowered> {
    let (x, w, bias) = (cx.input(0)?, cx.input(1)?, cx.maybe(2)?);
    cx.floats_only(x)?;
    let spatial = spatial(cx, x, w)?;
    let Window { strides, dilations, pads } = Window::read(cx, spatial)?;
    let op = Conv { strides, dilations, pads, groups: groups(cx)?, ..Conv::default() };
    one(cx.op_with(op, &[Some(x.id), Some(w.id), bias.map(|b| b.id)], x.elem)?)
}

fn conv_transpose(cx: &mut Node) -> Result<Lowered> {
    let (x, w, bias) = (cx.input(0)?, cx.input(1)?, cx.maybe(2)?);
    cx.floats_only(x)?;
    let spatial = spatial(cx, x, w)?;
    let Window { strides, dilations, pads } = Window::read(cx, spatial)?;
    let output_padding = cx.attrs.extents("output_padding")?.unwrap_or_default();
    check("output_padding", output_padding.len(), spatial)?;
    let mut op =
        ConvTranspose { strides, dilations, pads, output_padding, groups: groups(cx)?, ..ConvTranspose::default() };
    if let Some(shape) = cx.attrs.extents("output_shape")?.filter(|s| !s.is_empty()) {
        fit_output(cx, x, w, &shape, &mut op)?;
    }
    one(cx.op_with(op, &[Some(x.id), Some(w.id), bias.map(|b| b.id)], x.elem)?)
}

/// Chooses the padding that gives the wanted output extents: the odd one at the end for `SAME_UPPER`, else at the beginning.
fn fit_output(cx: &Node, x: V, w: V, shape: &[usize], op: &mut ConvTranspose) -> Result<()> {
    let spatial = cx.rank(x).saturating_sub(2);
    let skip = shape.len().checked_sub(spatial).filter(|&s| s == 0 || s == 2).ok_or_else(|| {
        ImportError::invalid("not one number for each spatial axis")
            .expected(spatial)
            .found(shape.len())
            .at_attribute("output_shape")
    })?;
    let upper = op.pads == Pads::SameUpper;
    let (mut begin, mut end, mut extra) = (Vec::new(), Vec::new(), Vec::new());
    for (i, &wanted) in shape.iter().skip(skip).enumerate() {
        let at = i.saturating_add(2);
        let (Some(n), Some(k)) = (cx.extent(x, at), cx.extent(w, at)) else {
            return Err(ImportError::unsupported(
                "`output_shape` of an input whose extents are not known is not supported",
            ));
        };
        let get = |list: &[usize], default: usize| list.get(i).copied().unwrap_or(default);
        let reach = get(&op.dilations, 1).saturating_mul(k.saturating_sub(1)).saturating_add(1);
        let more = get(&op.output_padding, 0);
        let full = get(&op.strides, 1).saturating_mul(n.saturating_sub(1)).saturating_add(reach).saturating_add(more);
        let cut = full.saturating_sub(wanted);
        let half = cut / 2;
        let (b, e) = if upper { (half, cut.saturating_sub(half)) } else { (cut.saturating_sub(half), half) };
        begin.push(b);
        end.push(e);
        extra.push(more.saturating_add(wanted.saturating_sub(full)));
    }
    op.pads = Pads::Explicit { begin, end };
    op.output_padding = extra;
    Ok(())
}
