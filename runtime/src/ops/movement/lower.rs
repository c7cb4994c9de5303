//! Kernels of movement: aliases where nothing moves, strided copies, copies of blocked images.

use super::pick;
use super::select::Run;
use super::{
    Concat, ConstantOfShape, DepthOrder, DepthToSpace, Expand, Pad, PadMode, Reverse, Slice, SpaceToDepth, Split, Tile,
    Transpose,
};
use crate::ops::elementwise::lower::{done, order};
use crate::ops::infer::normalize_axis;
use crate::ops::operands::{by_size, distinct_axes, raw};
use crate::plan::{Compute, Format, FormatCx, Formats, Io, LowerCx, Lowered, Step, can_block, geometry};
use crate::{DType, Error, Result, Tensor};
use pocketnn_kernels::layout::{BLOCK, Blocked, Order, pack, unpack};
use pocketnn_kernels::movement::{self as kernel, Axis, Corner, Images, MOST, Select, Strided};
use pocketnn_kernels::par::Parallel;
use pocketnn_kernels::reference::movement as tables;

/// Strided copies of inputs into output 0, or of input 0 into all outputs.
struct Copies {
    dtype: DType,
    copies: Vec<Strided>,
    split: bool,
}

impl Step for Copies {
    fn run(&self, io: &mut Io<'_>, par: &dyn Parallel) {
        by_size!(self.dtype, T => {
            if self.split {
                for (i, copy) in self.copies.iter().enumerate() {
                    done(copy.apply(io.input::<T>(0), io.output::<T>(i), par));
                }
            } else {
                let y = io.output::<T>(0);
                // A part that lies in the whole already is absent.
                for (i, copy) in self.copies.iter().enumerate().filter(|c| io.has(c.0)) {
                    done(copy.apply(io.input::<T>(i), y, par));
                }
            }
        });
    }
    fn algorithm(&self) -> String {
        "strided copy".to_string()
    }
}

/// As [`Copies`], of blocked images.
struct ImageCopies {
    copies: Vec<Images>,
    targets: Vec<Blocked>,
    split: bool,
    /// The copies leave parts of the outputs: these are zero.
    fill: bool,
}

impl Step for ImageCopies {
    fn run(&self, io: &mut Io<'_>, par: &dyn Parallel) {
        for (o, target) in self.targets.iter().enumerate() {
            let y = io.output::<f32>(o);
            if self.fill {
                y.fill(0.0);
            } else {
                done(Images::clear(target, y, par));
            }
            if self.split {
                done(self.copies[o].apply(io.input(0), y, par));
            } else {
                for (i, copy) in self.copies.iter().enumerate().filter(|c| io.has(c.0)) {
                    done(copy.apply(io.input(i), y, par));
                }
            }
        }
    }
    fn algorithm(&self) -> String {
        "image copy".to_string()
    }
}

fn copy(dtype: DType, copy: Strided) -> Lowered {
    Compute::new(Copies { dtype, copies: vec![copy], split: false }).into()
}

fn image_copy(copy: Images, target: Blocked, fill: bool) -> Lowered {
    Compute::new(ImageCopies { copies: vec![copy], targets: vec![target], split: false, fill }).into()
}

/// Formats of ops that leave the order of elements: a blocked image stays one where the other shape describes the same channels of as
/// many positions, and is flattened where it is `[N, C * positions]`.
pub(super) fn reshape_formats(cx: &FormatCx) -> Formats {
    let mut f = cx.plain();
    let (x, y) = (cx.shape(0), cx.out_shape(0));
    if cx.format(0) != Format::Blocked || cx.out_ty(0).dtype != DType::F32 {
        return f;
    }
    let Ok(image) = geometry(&x, Default::default()) else { return f };
    let alike = |g: Blocked| (g.n, g.c, g.positions()) == (image.n, image.c, image.positions());
    if geometry(&y, Default::default()).is_ok_and(alike) {
        f.inputs[0] = Format::Blocked;
        f.outputs[0] = Format::Blocked;
    } else if y == [image.n, image.c * image.positions()] {
        f.inputs[0] = Format::Blocked;
        f.outputs[0] = Format::Flattened { channels: image.c, size: image.size };
    }
    f
}

/// Ops that leave the order of elements: an alias, unless halos differ.
pub(super) fn reshape(cx: &LowerCx) -> Result<Lowered> {
    let (x, y) = (cx.input(0)?, cx.output(0));
    if x.format != Format::Blocked {
        return Ok(Lowered::Alias(0));
    }
    let (from, to) = (x.blocked()?, y.blocked()?);
    if from == to || (from.size != to.size && !from.has_halo() && !to.has_halo()) {
        return Ok(Lowered::Alias(0));
    }
    if from.size == to.size {
        let whole = Images::new((from, Corner::default()), (to, Corner::default()), from.c, from.size)?;
        return Ok(image_copy(whole, to, false));
    }
    // Rows of other lengths: by way of the row-major order.
    let (isa, len) = (cx.isa(), from.n * from.c * from.positions());
    let run = move |io: &mut Io<'_>, par: &dyn Parallel| {
        let plain = &mut io.scratch::<f32>()[..len];
        done(unpack(isa, Order::Planar, io.input(0), &from, plain, par));
        done(pack(isa, Order::Planar, plain, &to, io.output(0), par));
    };
    Ok(Compute::function("image rows", run).scratch(len * 4).into())
}

/// The permutation that only renames a value between `[N, C, spatial...]` and `[N, spatial..., C]`: towards channels last or first.
fn renames(perm: &[usize], to_last: bool) -> bool {
    let r = perm.len();
    let wanted = |i: usize| match (i, to_last) {
        (0, _) => 0,
        (i, true) if i + 1 == r => 1,
        (i, true) => i + 1,
        (1, false) => r - 1,
        (i, false) => i - 1,
    };
    r >= 3 && perm.iter().enumerate().all(|(i, &p)| p == wanted(i))
}

impl Transpose {
    pub(super) fn choose(&self, cx: &FormatCx) -> Formats {
        let mut f = cx.plain();
        let Ok(perm) = self.permutation(cx.shape(0).len()) else { return f };
        let blocks = |shape: usize| (3..=5).contains(&shape);
        if !blocks(perm.len()) || !cx.is_variable(0) {
            return f;
        }
        match cx.format(0) {
            Format::Blocked | Format::ChannelsLast if renames(&perm, true) => f.inputs[0] = Format::ChannelsLast,
            Format::Plain if renames(&perm, false) => f.outputs[0] = Format::ChannelsLast,
            _ => {}
        }
        f
    }

    pub(super) fn kernel(&self, cx: &LowerCx) -> Result<Lowered> {
        let (x, y) = (cx.input(0)?, cx.output(0));
        if x.format == Format::ChannelsLast || y.format == Format::ChannelsLast {
            return Ok(Lowered::Alias(0));
        }
        let perm = self.permutation(x.shape.len())?;
        let mut moved = perm.iter().filter(|&&p| x.shape[p] != 1);
        if moved.clone().zip(moved.by_ref().skip(1)).all(|(a, b)| a < b) {
            return Ok(Lowered::Alias(0));
        }
        Ok(copy(x.dtype, Strided::transpose(&x.shape, &perm)?))
    }
}

/// True when input 0 comes in blocks, the output can be had in blocks, and the batch stays.
fn keeps_blocks(cx: &FormatCx, output: usize) -> bool {
    let (x, y) = (cx.shape(0), cx.out_shape(output));
    cx.format(0) == Format::Blocked && can_block(cx.out_ty(output)) && x.len() == y.len() && x[0] == y[0]
}

impl Concat {
    pub(super) fn choose(&self, cx: &FormatCx) -> Formats {
        let axis = normalize_axis(self.axis, cx.out_shape(0).len()).unwrap_or(0);
        let blocked = (0..cx.len()).filter(|&i| cx.format(i) == Format::Blocked).count();
        let mut f = cx.plain();
        if axis > 0 && can_block(cx.out_ty(0)) && 2 * blocked >= cx.len() && (0..cx.len()).all(|i| cx.is_variable(i)) {
            f.inputs.fill(Format::Blocked);
            f.outputs[0] = Format::Blocked;
            return f;
        }
        let last = (0..cx.len()).filter(|&i| cx.format(i) == Format::ChannelsLast).count();
        if 2 * last >= cx.len() && last > 0 && (0..cx.len()).all(|i| cx.is_variable(i)) {
            f.inputs.fill(Format::ChannelsLast);
            f.outputs[0] = Format::ChannelsLast;
        }
        f
    }

    pub(super) fn kernel(&self, cx: &LowerCx) -> Result<Lowered> {
        let y = cx.output(0);
        let axis = normalize_axis(self.axis, y.shape.len())?;
        if cx.len() == 1 && cx.input(0)?.format == Format::Plain {
            return Ok(Lowered::Alias(0));
        }
        if y.format == Format::Blocked {
            let to = y.blocked()?;
            let from = (0..cx.len()).map(|i| cx.input(i)?.blocked()).collect::<Result<Vec<_>>>()?;
            let aligned = from[..from.len() - 1].iter().all(|g| g.c.is_multiple_of(BLOCK));
            if axis == 1 && !aligned && from.len() <= MOST {
                return Ok(pick::joined(cx, &from, to, &(0..to.c).collect::<Vec<_>>())?.into());
            }
            let mut at = 0;
            let one = |i: usize| {
                let from = cx.image(i)?;
                let target = corner(axis, at, y.shape.len());
                at += cx.shape(i)?[axis];
                Ok(Images::new((from, Corner::default()), (to, target), from.c, from.size)?)
            };
            let copies = (0..cx.len()).map(one).collect::<Result<_>>()?;
            return Ok(Compute::new(ImageCopies { copies, targets: vec![to], split: false, fill: false }).into());
        }
        let order = order(y.format, y.shape.len());
        let stored = |shape: &[usize]| order.iter().map(|&a| shape[a]).collect::<Vec<_>>();
        let whole = stored(&y.shape);
        let axis = order.iter().position(|&a| a == axis).unwrap_or(axis);
        let mut at = vec![0; y.shape.len()];
        let one = |i: usize| {
            let shape = stored(cx.shape(i)?);
            let copy = Strided::place(&shape, &whole, &at)?;
            at[axis] += shape[axis];
            Ok(copy)
        };
        let copies = (0..cx.len()).map(one).collect::<Result<_>>()?;
        Ok(Compute::new(Copies { dtype: y.dtype, copies, split: false }).into())
    }
}

/// The corner that lies `at` elements along an axis of an image of this rank.
fn corner(axis: usize, at: usize, rank: usize) -> Corner {
    let mut corner = Corner::default();
    match axis {
        1 => corner.c = at,
        _ => corner.at[axis + 3 - rank] = at,
    }
    corner
}

impl Split {
    pub(super) fn choose(&self, cx: &FormatCx) -> Formats {
        let mut f = cx.plain();
        let axis = normalize_axis(self.axis, cx.shape(0).len()).unwrap_or(0);
        if axis > 0 && keeps_blocks(cx, 0) {
            f.inputs[0] = Format::Blocked;
            f.outputs.fill(Format::Blocked);
        }
        f
    }

    pub(super) fn kernel(&self, cx: &LowerCx) -> Result<Lowered> {
        let x = cx.input(0)?;
        let rank = x.shape.len();
        let axis = normalize_axis(self.axis, rank)?;
        let mut at = 0;
        if x.format == Format::Blocked {
            let from = x.blocked()?;
            let (mut copies, mut targets) = (Vec::new(), Vec::new());
            if axis == 1 {
                let mut start = 0;
                let piece = |i: usize| {
                    let (first, to) = (start, cx.output(i).blocked()?);
                    start += to.c;
                    Ok((first, to))
                };
                let pieces = (0..cx.outputs()).map(piece).collect::<Result<Vec<_>>>()?;
                if pieces.iter().any(|p| !p.0.is_multiple_of(BLOCK)) {
                    return Ok(pick::cut(cx, from, &pieces)?.into());
                }
            }
            for i in 0..cx.outputs() {
                let to = cx.output(i).blocked()?;
                copies.push(Images::new((from, corner(axis, at, rank)), (to, Corner::default()), to.c, to.size)?);
                targets.push(to);
                at += cx.output(i).shape[axis];
            }
            return Ok(Compute::new(ImageCopies { copies, targets, split: true, fill: false }).into());
        }
        let one = |i: usize| {
            let len = &cx.output(i).shape;
            let mut start = vec![0; rank];
            start[axis] = at;
            at += len[axis];
            Ok(Strided::slice(&x.shape, &start, &vec![1; rank], len)?)
        };
        let copies = (0..cx.outputs()).map(one).collect::<Result<_>>()?;
        Ok(Compute::new(Copies { dtype: x.dtype, copies, split: true }).into())
    }
}

impl Slice {
    /// One run an axis, when all operands are constants.
    pub(super) fn constant_runs<'a>(
        x: &[usize],
        constant: impl Fn(usize) -> Option<&'a Tensor>,
        has: impl Fn(usize) -> bool,
    ) -> Option<Vec<Run>> {
        if (1..5).any(|i| has(i) && constant(i).is_none()) {
            return None;
        }
        Self::runs_of(x, &[1, 2, 3, 4].map(constant)).ok()
    }

    pub(super) fn choose(&self, cx: &FormatCx) -> Formats {
        let mut f = cx.plain();
        let runs = Self::constant_runs(&cx.shape(0), |i| cx.constant(i), |i| cx.ty(i).is_some());
        if runs.is_some_and(|r| r.iter().all(|r| r.step == 1)) && keeps_blocks(cx, 0) {
            f.inputs[0] = Format::Blocked;
            f.outputs[0] = Format::Blocked;
        }
        f
    }

    pub(super) fn kernel(&self, cx: &LowerCx) -> Result<Lowered> {
        let (x, y) = (cx.input(0)?, cx.output(0));
        let Some(runs) = Self::constant_runs(&x.shape, |i| cx.constant(i), |i| cx.has(i)) else {
            return Ok(Lowered::Interpreted);
        };
        if x.format == Format::Blocked {
            let (from, to) = (x.blocked()?, y.blocked()?);
            if from.size == to.size && !runs[1].start.is_multiple_of(BLOCK) {
                return Ok(pick::cut(cx, from, &[(runs[1].start, to)])?.into());
            }
            let mut first = Corner { c: runs[1].start, at: [0; 3] };
            let spatial = &runs[2..];
            spatial.iter().enumerate().for_each(|(i, r)| first.at[3 - spatial.len() + i] = r.start);
            let images = Images::new((from, first), (to, Corner::default()), to.c, to.size)?;
            return Ok(image_copy(images, to, false));
        }
        if x.shape == y.shape && runs.iter().all(|r| r.step > 0) {
            return Ok(Lowered::Alias(0));
        }
        let (start, step): (Vec<usize>, Vec<isize>) = runs.iter().map(|r| (r.start, r.step)).unzip();
        Ok(copy(x.dtype, Strided::slice(&x.shape, &start, &step, &y.shape)?))
    }
}

impl Reverse {
    pub(super) fn kernel(&self, cx: &LowerCx) -> Result<Lowered> {
        let x = cx.input(0)?;
        let axes = distinct_axes(&self.axes, x.shape.len())?;
        let backwards = |a: usize| axes.contains(&a) && x.shape[a] > 0;
        let start: Vec<usize> = (0..x.shape.len()).map(|a| if backwards(a) { x.shape[a] - 1 } else { 0 }).collect();
        let step: Vec<isize> = (0..x.shape.len()).map(|a| if backwards(a) { -1 } else { 1 }).collect();
        Ok(copy(x.dtype, Strided::slice(&x.shape, &start, &step, &x.shape)?))
    }
}

/// A tensor repeated to a shape whose extents are multiples of its own, after axes of extent 1 were put in front.
fn repeated(cx: &LowerCx) -> Result<Lowered> {
    let (x, y) = (cx.input(0)?, cx.output(0));
    if x.shape.iter().product::<usize>() == y.shape.iter().product::<usize>() {
        return Ok(Lowered::Alias(0));
    }
    let mut shape = vec![1; y.shape.len() - x.shape.len()];
    shape.extend_from_slice(&x.shape);
    Ok(copy(x.dtype, Strided::repeat(&shape, &y.shape)?))
}

impl Expand {
    pub(super) fn kernel(cx: &LowerCx) -> Result<Lowered> {
        repeated(cx)
    }
}

impl Tile {
    pub(super) fn kernel(cx: &LowerCx) -> Result<Lowered> {
        repeated(cx)
    }
}

impl ConstantOfShape {
    pub(super) fn kernel(&self) -> Lowered {
        let value = self.value.clone();
        let fill = move |io: &mut Io<'_>, _: &dyn Parallel| {
            by_size!(value.dtype(), T => io.output::<T>(0).fill(raw::<T>(&value)[0]));
        };
        Compute::function("fill", fill).into()
    }
}

impl Pad {
    /// Elements before each axis, when pads and axes are constants.
    fn constant_before<'a>(
        rank: usize,
        constant: impl Fn(usize) -> Option<&'a Tensor>,
        has: impl Fn(usize) -> bool,
    ) -> Option<Vec<isize>> {
        if has(3) && constant(3).is_none() {
            return None;
        }
        Self::before_of(rank, constant(1)?, constant(3)).ok()
    }

    pub(super) fn choose(&self, cx: &FormatCx) -> Formats {
        let mut f = cx.plain();
        let (x, y) = (cx.shape(0), cx.out_shape(0));
        let zero = cx.ty(2).is_none() || cx.constant(2).is_some_and(|t| t.to_f64() == [0.0]);
        let before = Self::constant_before(x.len(), |i| cx.constant(i), |i| cx.ty(i).is_some());
        let spatial = before.is_some_and(|b| b.len() > 2 && b[..2] == [0, 0]) && x[..2] == y[..2];
        if self.mode == PadMode::Constant && zero && spatial && keeps_blocks(cx, 0) {
            f.inputs[0] = Format::Blocked;
            f.outputs[0] = Format::Blocked;
        }
        f
    }

    pub(super) fn kernel(&self, cx: &LowerCx) -> Result<Lowered> {
        let (x, y) = (cx.input(0)?, cx.output(0));
        let Some(before) = Self::constant_before(x.shape.len(), |i| cx.constant(i), |i| cx.has(i)) else {
            return Ok(Lowered::Interpreted);
        };
        if x.format == Format::Blocked {
            return Self::images(x.blocked()?, y.blocked()?, &before[2..]);
        }
        let shape = x.shape.iter().zip(&before).zip(&y.shape);
        let chosen: Vec<_> = shape.map(|((&n, &b), &len)| tables::pad_table(self.mode.kernel(), n, b, len)).collect();
        if chosen.is_empty() || chosen.len() > 8 {
            return Ok(Lowered::Interpreted);
        }
        let (select, dtype, has_value) = (Select::new(&x.shape, &chosen)?, x.dtype, cx.has(2));
        let run = move |io: &mut Io<'_>, par: &dyn Parallel| {
            by_size!(dtype, T => {
                let fill = if has_value { io.input::<T>(2)[0] } else { T::default() };
                done(select.apply(io.input::<T>(0), io.output::<T>(0), fill, par));
            });
        };
        Ok(Compute::function("selection", run).into())
    }

    /// Zeros around (or cuts from) a blocked image.
    fn images(from: Blocked, to: Blocked, before: &[isize]) -> Result<Lowered> {
        let (mut first, mut target, mut size) = (Corner::default(), Corner::default(), [1; 3]);
        for i in 0..3 {
            let b = (i + before.len()).checked_sub(3).map_or(0, |j| before[j]);
            first.at[i] = b.min(0).unsigned_abs();
            target.at[i] = b.max(0).unsigned_abs();
            size[i] = from.size[i].saturating_sub(first.at[i]).min(to.size[i].saturating_sub(target.at[i]));
            // Nothing of the image is left: any place inside will do.
            if size[i] == 0 {
                (first.at[i], target.at[i]) = (0, 0);
            }
        }
        let whole = size == to.size;
        Ok(image_copy(Images::new((from, first), (to, target), from.c, size)?, to, !whole))
    }
}

/// Axes of a copy between `[N, C b b, H, W]` and `[N, C, H b, W b]`: for every axis its extent and the steps in the deep and in
/// the wide tensor.
fn block_axes(deep: &[usize], block: usize, order: DepthOrder) -> Result<[(usize, usize, usize); 6]> {
    let [n, channels, h, w] = *deep else { return Err(Error::graph(format!("expected [N, C, H, W], found {deep:?}"))) };
    let (b, plane) = (block, h * w);
    let c = channels / (b * b);
    let (of_c, of_y, of_x) = match order {
        DepthOrder::Dcr => (plane, b * c * plane, c * plane),
        DepthOrder::Crd => (b * b * plane, b * plane, plane),
    };
    Ok([
        (n, channels * plane, channels * plane),
        (c, of_c, plane * b * b),
        (h, w, w * b * b),
        (b, of_y, w * b),
        (w, 1, b),
        (b, of_x, 1),
    ])
}

impl DepthToSpace {
    pub(super) fn choose(cx: &FormatCx) -> Formats {
        if cx.format(0) == Format::Blocked && can_block(cx.out_ty(0)) { cx.blocked() } else { cx.plain() }
    }

    pub(super) fn kernel(&self, cx: &LowerCx) -> Result<Lowered> {
        let (x, y) = (cx.input(0)?, cx.output(0));
        if x.format == Format::Blocked {
            let f = kernel::Pick::pixels(cx.isa(), x.blocked()?, y.blocked()?, self.block, self.order.kernel())?;
            let run = move |io: &mut Io<'_>, par: &dyn Parallel| done(f.apply(&[io.input(0)], io.output(0), par));
            return Ok(Compute::function("channels to pixels", run).into());
        }
        let axes = block_axes(&x.shape, self.block, self.order)?;
        let axes = axes.map(|(extent, deep, wide)| Axis { extent, from: deep as isize, to: wide });
        let len = x.shape.iter().product();
        Ok(copy(x.dtype, Strided::new(&axes, (len, len), (0, 0))?))
    }
}

impl SpaceToDepth {
    pub(super) fn kernel(&self, cx: &LowerCx) -> Result<Lowered> {
        let (x, y) = (cx.input(0)?, cx.output(0));
        let [n, c, h, y_in, w, x_in] = block_axes(&y.shape, self.block, self.order)?;
        let axes = [n, y_in, x_in, c, h, w];
        let axes = axes.map(|(extent, deep, wide)| Axis { extent, from: wide as isize, to: deep });
        let len = x.shape.iter().product();
        Ok(copy(x.dtype, Strided::new(&axes, (len, len), (0, 0))?))
    }
}
