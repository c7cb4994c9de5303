//! Images sampled between their pixels: at a grid of places, in regions of interest, at shifted taps of a kernel.

use super::attrs::{attr_enum, attributes};
use super::elementwise::{cast, operand};
use super::infer::{Infer, ValueType};
use super::operands::shape;
use super::{Evaluate, Operator};
use crate::{Dim, Error, Result, Tensor};

attr_enum! {
    /// How a value between pixels is found.
    pub enum Between {
        /// The nearest pixel, halves to the even one.
        Nearest = "nearest",
        /// Linear along every axis.
        #[default] Linear = "linear",
        /// Cubic (a = -0.75) along every axis.
        Cubic = "cubic",
    }
    /// What stands outside an image.
    pub enum Outside {
        /// Zeros.
        #[default] Zeros = "zeros",
        /// The nearest pixel of the border.
        Border = "border",
        /// The image mirrored at its border.
        Reflection = "reflection",
    }
}

attributes! {
    /// A convolution whose taps are shifted. Inputs `x [N, C, H, W]`, `w [O, C/groups, kh, kw]`, `offset [N, offset_groups * kh * kw * 2, oh, ow]`
    /// (pairs of down and right), optional `bias [O]`, optional `mask [N, offset_groups * kh * kw, oh, ow]`; output `[N, O, oh, ow]`.
    pub struct DeformConv {
        /// Steps of the kernel, down and right.
        pub strides: Vec<usize> = vec![1, 1],
        /// Steps between taps.
        pub dilations: Vec<usize> = vec![1, 1],
        /// Padding above and left of the image.
        pub begins: Vec<i64> = vec![0, 0],
        /// Groups of channels.
        pub groups: usize = 1,
        /// Groups of channels that share offsets.
        pub offset_groups: usize = 1,
    }
    /// Values at places. Inputs `x [N, C, spatial...]`, `grid [N, out..., rank]` (innermost axis first, -1 to 1 across the image); output `[N, C, out...]`.
    pub struct GridSample {
        /// Between pixels.
        pub between: Between = Between::Linear,
        /// Outside the image.
        pub outside: Outside = Outside::Zeros,
        /// -1 and 1 are the centres of the corner pixels; else their outer edges.
        pub corners: bool = false,
    }
    /// Regions pooled to one size. Inputs `x [N, C, H, W]`, `rois [R, 4]` (x1, y1, x2, y2), `batch [R]` (which image, i64); output `[R, C, height, width]`.
    pub struct RoiAlign {
        /// Rows of the output.
        pub height: usize = 1,
        /// Columns of the output.
        pub width: usize = 1,
        /// Samples along each axis of a cell; 0: as many as it has pixels.
        pub samples: usize = 0,
        /// Pixels of `x` in a unit of the regions.
        pub scale: f32 = 1.0,
        /// The largest weighted pixel of the samples; else their mean.
        pub largest: bool = false,
        /// Coordinates are half a pixel less.
        pub half_pixel: bool = false,
    }
}

attributes! {
    /// Largest elements of the cells of regions of whole pixels. Inputs `x [N, C, H, W]`, `rois [R, 5]` (which image, then x1, y1, x2, y2, both ends
    /// included); output `[R, C, height, width]`, 0 in cells that lie outside.
    pub struct RoiPool {
        /// Rows of the output.
        pub height: usize = 1,
        /// Columns of the output.
        pub width: usize = 1,
        /// Pixels of `x` in a unit of the regions.
        pub scale: f32 = 1.0,
    }
}

impl RoiPool {
    /// The pixels of cell `i` of `cells` in a region from `start` to `end`, inside `extent`.
    fn cell(i: usize, cells: usize, start: f64, end: f64, extent: usize) -> std::ops::Range<usize> {
        let size = (end - start + 1.0).max(1.0) / cells as f64;
        let inside = |v: f64| (v + start).clamp(0.0, extent as f64) as usize;
        inside((i as f64 * size).floor())..inside(((i + 1) as f64 * size).ceil())
    }
}

impl Operator for RoiPool {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        expect_float(cx, 0)?;
        expect_float(cx, 1)?;
        expect_rank(cx, 0, 4)?;
        expect_rank(cx, 1, 2)?;
        expect_extent(cx, 1, 1, 5)?;
        if self.height == 0 || self.width == 0 {
            return Err(Error::graph("expected an output of at least one cell"));
        }
        let shape = [cx.shape(1)?[0].clone(), cx.shape(0)?[1].clone(), Dim::from(self.height), Dim::from(self.width)];
        Ok(vec![ValueType::new(cx.dtype(0)?, shape)])
    }
}

impl Evaluate for RoiPool {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let out = shape(self, inputs)?;
        let (x, rois) = (operand(inputs, 0)?, operand(inputs, 1)?.to_f64());
        let (data, [images, channels, height, width]) = (x.to_f64(), [0, 1, 2, 3].map(|i| x.shape()[i]));
        let mut y = Vec::with_capacity(out.iter().product());
        for (r, roi) in rois.chunks_exact(5).enumerate() {
            let n = roi[0] as usize;
            if roi[0] < 0.0 || n >= images {
                return Err(Error::argument(format!("region {r} names an image that is not there")));
            }
            let [left, top, right, bottom] = [1, 2, 3, 4].map(|i| (roi[i] * f64::from(self.scale)).round());
            for c in 0..channels {
                let plane = &data[(n * channels + c) * height * width..][..height * width];
                for cell in 0..self.height * self.width {
                    let rows = Self::cell(cell / self.width, self.height, top, bottom, height);
                    let columns = Self::cell(cell % self.width, self.width, left, right, width);
                    let all = rows.flat_map(|i| columns.clone().map(move |j| i * width + j));
                    y.push(all.map(|i| plane[i]).reduce(f64::max).unwrap_or(0.0));
                }
            }
        }
        Ok(vec![cast(&Tensor::new(&out, y)?, x.dtype())?])
    }
}

/// An axis of an image as a sampler sees it.
struct Axis {
    extent: usize,
    least: f64,
    most: f64,
}

impl Axis {
    fn new(extent: usize, corners: bool) -> Self {
        let edge = if corners { 0.0 } else { 0.5 };
        Self { extent, least: -edge, most: extent as f64 - 1.0 + edge }
    }

    /// Mirrored at both ends until it lies between them.
    fn reflect(&self, x: f64) -> f64 {
        let range = self.most - self.least;
        if range <= 0.0 || !x.is_finite() {
            return self.least.max(0.0);
        }
        let beyond = if x < self.least { self.least - x } else { x - self.most };
        if beyond <= 0.0 {
            return x;
        }
        let (turns, rest) = ((beyond / range).floor(), beyond % range);
        let from_near = turns % 2.0 == 0.0;
        if (x < self.least) == from_near { self.least + rest } else { self.most - rest }
    }

    /// A place outside the image moved into it.
    fn place(&self, x: f64, outside: Outside) -> f64 {
        match outside {
            _ if x >= self.least && x <= self.most => x,
            Outside::Zeros => x,
            Outside::Border => x.clamp(0.0, (self.extent as f64 - 1.0).max(0.0)),
            Outside::Reflection => self.reflect(x),
        }
    }

    /// The pixel that stands for one that may lie outside.
    fn pixel(&self, i: f64, outside: Outside) -> Option<usize> {
        let inside = i >= 0.0 && i < self.extent as f64;
        match outside {
            _ if inside => Some(i as usize),
            Outside::Zeros => None,
            Outside::Border => Some(i.clamp(0.0, self.extent as f64 - 1.0) as usize),
            Outside::Reflection => Some((self.reflect(i).max(0.0) as usize).min(self.extent.saturating_sub(1))),
        }
    }

    /// Pixels and their weights at a place.
    fn taps(&self, x: f64, between: Between, outside: Outside) -> Vec<(usize, f64)> {
        let first = x.floor();
        let t = x - first;
        let weights: Vec<(f64, f64)> = match between {
            Between::Nearest => vec![(x.round_ties_even(), 1.0)],
            Between::Linear => vec![(first, 1.0 - t), (first + 1.0, t)],
            Between::Cubic => (-1..3).map(|k| (first + f64::from(k), cubic((t - f64::from(k)).abs()))).collect(),
        };
        weights.into_iter().filter_map(|(i, w)| self.pixel(i, outside).map(|p| (p, w))).collect()
    }
}

/// Keys' cubic kernel with a = -0.75, as PyTorch has it.
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.75;
    if x <= 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A
    } else {
        0.0
    }
}

/// Offsets and weights of all combinations of the taps of each axis.
fn combined(taps: &[Vec<(usize, f64)>], axes: &[Axis]) -> Vec<(usize, f64)> {
    let mut all = vec![(0usize, 1.0)];
    for (axis, list) in axes.iter().zip(taps) {
        let next = |&(at, w): &(usize, f64)| list.iter().map(move |&(i, v)| (at * axis.extent + i, w * v));
        all = all.iter().flat_map(next).collect();
    }
    all
}

fn expect_float(cx: &Infer, i: usize) -> Result<()> {
    let dtype = cx.dtype(i)?;
    if dtype.is_float() { Ok(()) } else { Err(Error::graph(format!("input {i}: expected floats, found {dtype}"))) }
}

fn expect_rank(cx: &Infer, i: usize, rank: usize) -> Result<()> {
    let found = cx.rank(i)?;
    if found == rank { Ok(()) } else { Err(Error::graph(format!("input {i}: expected rank {rank}, found {found}"))) }
}

/// Checks a dimension of an input against a number.
fn expect_extent(cx: &Infer, i: usize, axis: usize, extent: usize) -> Result<()> {
    match cx.shape(i)?.get(axis).and_then(Dim::known) {
        Some(n) if n != extent => {
            Err(Error::graph(format!("input {i}: expected extent {extent} along axis {axis}, found {n}")))
        }
        _ => Ok(()),
    }
}

impl Operator for GridSample {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        expect_float(cx, 0)?;
        expect_float(cx, 1)?;
        let (x, grid) = (cx.ty(0)?, cx.shape(1)?);
        let rank = x.shape.len();
        if rank < 3 || grid.len() != rank {
            return Err(Error::graph(format!("expected an image and a grid of its rank, found {x} and {}", cx.ty(1)?)));
        }
        expect_extent(cx, 1, rank - 1, rank - 2)?;
        super::operands::unify("the batch", &x.shape[0], &grid[0])?;
        let shape = [&x.shape[..2], &grid[1..rank - 1]].concat();
        Ok(vec![ValueType::new(x.dtype, shape)])
    }
}

impl Evaluate for GridSample {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let shape = shape(self, inputs)?;
        let (x, grid) = (operand(inputs, 0)?, operand(inputs, 1)?);
        let (image, places) = (x.to_f64(), grid.to_f32());
        let axes: Vec<Axis> = x.shape()[2..].iter().map(|&d| Axis::new(d, self.corners)).collect();
        let (pixels, points) = (x.shape()[2..].iter().product::<usize>(), shape[2..].iter().product::<usize>());
        let (batch, channels) = (shape[0], shape[1]);
        let mut y = vec![0.0f64; batch * channels * points];
        if pixels == 0 {
            return Ok(vec![cast(&Tensor::new(&shape, y)?, x.dtype())?]);
        }
        for n in 0..batch {
            for p in 0..points {
                let at = &places[(n * points + p) * axes.len()..][..axes.len()];
                // The innermost axis comes first in the grid.
                let taps: Vec<_> = axes.iter().zip(at.iter().rev()).map(|(a, &v)| self.taps(a, v)).collect();
                let taps = combined(&taps, &axes);
                for c in 0..channels {
                    let plane = &image[(n * channels + c) * pixels..][..pixels];
                    y[(n * channels + c) * points + p] = taps.iter().map(|&(i, w)| plane[i] * w).sum();
                }
            }
        }
        Ok(vec![cast(&Tensor::new(&shape, y)?, x.dtype())?])
    }
}

impl GridSample {
    /// Taps for a coordinate of -1 to 1. It is scaled in f32, so that halves are the same ones for everybody.
    fn taps(&self, axis: &Axis, v: f32) -> Vec<(usize, f64)> {
        let extent = axis.extent as f32;
        let x = if self.corners { (v + 1.0) * 0.5 * (extent - 1.0) } else { ((v + 1.0) * extent - 1.0) / 2.0 };
        let x = if self.between == Between::Nearest { x.round_ties_even() } else { x };
        if x.is_nan() {
            return Vec::new();
        }
        axis.taps(axis.place(f64::from(x), self.outside), self.between, self.outside)
    }
}

impl RoiAlign {
    /// The four pixels around a place and their weights; nothing far outside.
    fn corners(y: f64, x: f64, height: usize, width: usize) -> [(usize, f64); 4] {
        if y < -1.0 || y > height as f64 || x < -1.0 || x > width as f64 || height * width == 0 {
            return [(0, 0.0); 4];
        }
        let split = |v: f64, extent: usize| {
            let v = v.max(0.0);
            let low = (v as usize).min(extent - 1);
            let t = if low == extent - 1 { 0.0 } else { v - low as f64 };
            (low, (low + 1).min(extent - 1), t)
        };
        let ((y0, y1, ty), (x0, x1, tx)) = (split(y, height), split(x, width));
        [
            (y0 * width + x0, (1.0 - ty) * (1.0 - tx)),
            (y0 * width + x1, (1.0 - ty) * tx),
            (y1 * width + x0, ty * (1.0 - tx)),
            (y1 * width + x1, ty * tx),
        ]
    }

    /// Start, extent of a cell, and samples of a cell along an axis.
    fn cells(&self, low: f64, high: f64, cells: usize) -> Result<(f64, f64, usize)> {
        let offset = if self.half_pixel { 0.5 } else { 0.0 };
        let scale = f64::from(self.scale);
        let (start, end) = (low * scale - offset, high * scale - offset);
        let extent = if self.half_pixel { end - start } else { (end - start).max(1.0) };
        let cell = extent / cells as f64;
        let samples = if self.samples > 0 { self.samples } else { cell.ceil().clamp(0.0, 1e9) as usize };
        if samples > 1 << 14 {
            return Err(Error::limit(format!("a region of {samples} samples a cell")));
        }
        Ok((start, cell, samples))
    }
}

impl Operator for RoiAlign {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        expect_float(cx, 0)?;
        expect_float(cx, 1)?;
        for (i, rank) in [(0, 4), (1, 2), (2, 1)] {
            expect_rank(cx, i, rank)?;
        }
        expect_extent(cx, 1, 1, 4)?;
        if !cx.dtype(2)?.is_integer() || self.height == 0 || self.width == 0 {
            return Err(Error::graph("expected integers that name images, and an output of at least one cell"));
        }
        let rois = super::operands::unify("the regions", &cx.shape(1)?[0], &cx.shape(2)?[0])?;
        let shape = [rois, cx.shape(0)?[1].clone(), Dim::from(self.height), Dim::from(self.width)];
        Ok(vec![ValueType::new(cx.dtype(0)?, shape)])
    }
}

impl Evaluate for RoiAlign {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let shape = shape(self, inputs)?;
        let (x, rois, images) = (operand(inputs, 0)?, operand(inputs, 1)?.to_f64(), operand(inputs, 2)?.to_i64()?);
        let (data, channels) = (x.to_f64(), shape[1]);
        let (height, width) = (x.shape()[2], x.shape()[3]);
        let (pixels, cells) = (height * width, self.height * self.width);
        let mut y = vec![0.0f64; shape.iter().product()];
        for (r, (roi, &n)) in rois.chunks_exact(4).zip(&images).enumerate() {
            let n = usize::try_from(n).ok().filter(|&n| n < x.shape()[0]);
            let n = n.ok_or_else(|| Error::argument(format!("region {r} names an image that is not there")))?;
            let (top, down, rows) = self.cells(roi[1], roi[3], self.height)?;
            let (left, right, columns) = self.cells(roi[0], roi[2], self.width)?;
            for cell in 0..cells {
                let (cy, cx) = ((cell / self.width) as f64, (cell % self.width) as f64);
                let mut samples = Vec::with_capacity(rows * columns);
                for iy in 0..rows {
                    let sy = top + cy * down + (iy as f64 + 0.5) * down / rows as f64;
                    samples.extend((0..columns).map(|ix| {
                        let sx = left + cx * right + (ix as f64 + 0.5) * right / columns as f64;
                        Self::corners(sy, sx, height, width)
                    }));
                }
                for c in 0..channels {
                    let plane = &data[(n * channels + c) * pixels..][..pixels];
                    y[(r * channels + c) * cells + cell] = self.pooled(plane, &samples);
                }
            }
        }
        Ok(vec![cast(&Tensor::new(&shape, y)?, x.dtype())?])
    }
}

impl RoiAlign {
    fn pooled(&self, plane: &[f64], samples: &[[(usize, f64); 4]]) -> f64 {
        let all = samples.iter().flatten().map(|&(i, w)| plane.get(i).copied().unwrap_or(0.0) * w);
        if !self.largest {
            return all.sum::<f64>() / samples.len().max(1) as f64;
        }
        if samples.is_empty() { 0.0 } else { all.fold(f64::NEG_INFINITY, f64::max) }
    }
}

impl Operator for DeformConv {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        for i in 0..3 {
            expect_float(cx, i)?;
            expect_rank(cx, i, 4)?;
        }
        let two = [self.strides.len(), self.dilations.len(), self.begins.len()] == [2; 3];
        if !two || self.strides.contains(&0) || self.groups == 0 || self.offset_groups == 0 {
            return Err(Error::graph(
                "expected two strides from 1 on, two dilations, two begins and at least one group",
            ));
        }
        let (x, w, offset) = (cx.shape(0)?, cx.shape(1)?, cx.shape(2)?);
        let known = |d: &Dim| d.known();
        if let (Some(c), Some(o), Some(per)) = (known(&x[1]), known(&w[0]), known(&w[1])) {
            let fits = per.checked_mul(self.groups) == Some(c) && o.is_multiple_of(self.groups);
            if !fits || !c.is_multiple_of(self.offset_groups) {
                return Err(Error::graph(format!("{c} channels, kernel {} and the groups do not fit", cx.ty(1)?)));
            }
        }
        if let (Some(h), Some(w)) = (known(&w[2]), known(&w[3])) {
            let taps = h.saturating_mul(w).saturating_mul(self.offset_groups);
            expect_extent(cx, 2, 1, taps.saturating_mul(2))?;
            if cx.has(4) {
                expect_rank(cx, 4, 4)?;
                expect_extent(cx, 4, 1, taps)?;
            }
        }
        let shape = [x[0].clone(), w[0].clone(), offset[2].clone(), offset[3].clone()];
        Ok(vec![ValueType::new(cx.dtype(0)?, shape)])
    }
}

impl Evaluate for DeformConv {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let out = shape(self, inputs)?;
        let (x, w, offset) = (operand(inputs, 0)?, operand(inputs, 1)?, operand(inputs, 2)?);
        let optional = |i: usize| inputs.get(i).copied().flatten().map(Tensor::to_f64);
        let (bias, mask) = (optional(3), optional(4));
        let taps = Taps {
            op: self,
            image: x.to_f64(),
            offsets: offset.to_f64(),
            mask,
            shape: [x.shape()[1], x.shape()[2], x.shape()[3]],
            kernel: [w.shape()[2], w.shape()[3]],
            places: [out[2], out[3]],
        };
        if bias.as_ref().is_some_and(|b| b.len() != out[1]) || taps.mask_misfits(out[0]) || offset.shape()[0] != out[0]
        {
            return Err(Error::graph("bias, mask or offsets do not fit the output"));
        }
        let weights = w.to_f64();
        let (per_group, outputs) = (w.shape()[1], out[1] / self.groups);
        let taps_in_kernel = taps.kernel[0] * taps.kernel[1];
        let mut y = Vec::with_capacity(out.iter().product());
        for n in 0..out[0] {
            for o in 0..out[1] {
                for place in 0..out[2] * out[3] {
                    let mut sum = bias.as_ref().map_or(0.0, |b| b[o]);
                    for c in 0..per_group {
                        let channel = o / outputs * per_group + c;
                        let row = &weights[(o * per_group + c) * taps_in_kernel..][..taps_in_kernel];
                        sum += row.iter().enumerate().map(|(k, w)| w * taps.value(n, channel, k, place)).sum::<f64>();
                    }
                    y.push(sum);
                }
            }
        }
        Ok(vec![cast(&Tensor::new(&out, y)?, x.dtype())?])
    }
}

/// What the taps of a [`DeformConv`] read.
struct Taps<'a> {
    op: &'a DeformConv,
    image: Vec<f64>,
    offsets: Vec<f64>,
    mask: Option<Vec<f64>>,
    /// Channels, height, width.
    shape: [usize; 3],
    kernel: [usize; 2],
    places: [usize; 2],
}

impl Taps<'_> {
    fn mask_misfits(&self, batch: usize) -> bool {
        let all = batch
            * self.op.offset_groups
            * self.kernel.iter().product::<usize>()
            * self.places.iter().product::<usize>();
        self.mask.as_ref().is_some_and(|m| m.len() != all)
    }

    /// The image at tap `k` of a place, times its mask.
    fn value(&self, n: usize, channel: usize, k: usize, place: usize) -> f64 {
        let [channels, height, width] = self.shape;
        let group = channel / (channels / self.op.offset_groups);
        let (taps, places) = (self.kernel[0] * self.kernel[1], self.places[0] * self.places[1]);
        let tap = (n * self.op.offset_groups + group) * taps + k;
        let (row, column) = (place / self.places[1], place % self.places[1]);
        let fixed = |axis: usize, step: usize, p: usize| {
            (p * self.op.strides[axis] + step * self.op.dilations[axis]) as f64 - self.op.begins[axis] as f64
        };
        let y = fixed(0, k / self.kernel[1], row) + self.offsets[tap * 2 * places + place];
        let x = fixed(1, k % self.kernel[1], column) + self.offsets[(tap * 2 + 1) * places + place];
        let axes = [Axis::new(height, true), Axis::new(width, true)];
        let taps = [y, x].into_iter().zip(&axes).map(|(v, a)| a.taps(v, Between::Linear, Outside::Zeros));
        let plane = &self.image[(n * channels + channel) * height * width..][..height * width];
        let value: f64 = combined(&taps.collect::<Vec<_>>(), &axes).iter().map(|&(i, w)| plane[i] * w).sum();
        value * self.mask.as_ref().map_or(1.0, |m| m[tap * places + place])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DType;

    #[test]
    fn mirrored_places_lie_inside() {
        let axis = Axis::new(4, false);
        for (x, want) in [(-1.5, 0.5), (4.0, 3.0), (8.25, 0.25), (1.0, 1.0)] {
            assert!((axis.reflect(x) - want).abs() < 1e-9, "{x} {}", axis.reflect(x));
        }
        assert_eq!(Axis::new(1, true).reflect(7.0), 0.0);
    }

    #[test]
    fn a_kernel_without_shifts_is_a_convolution() {
        let x = Tensor::new(&[1, 1, 3, 3], (0..9).map(|i| i as f32).collect()).unwrap();
        let w = Tensor::new(&[1, 1, 2, 2], vec![1.0f32; 4]).unwrap();
        let offset = Tensor::zeros(DType::F32, &[1, 8, 2, 2]).unwrap();
        let y = DeformConv::default().eval(&[Some(&x), Some(&w), Some(&offset)], 1).unwrap();
        assert_eq!(y[0].to_f32(), [8.0, 12.0, 20.0, 24.0]);
    }

    #[test]
    fn a_region_of_pixels_is_its_mean() {
        let x = Tensor::new(&[1, 1, 2, 2], vec![1.0f32, 2.0, 3.0, 4.0]).unwrap();
        let rois = Tensor::new(&[1, 4], vec![0.0f32, 0.0, 1.0, 1.0]).unwrap();
        let y = RoiAlign::default().eval(&[Some(&x), Some(&rois), Some(&Tensor::vector(&[0i64]))], 1).unwrap();
        assert_eq!(y[0].to_f32(), [2.5]);
        let wrong = RoiAlign::default().eval(&[Some(&x), Some(&rois), Some(&Tensor::vector(&[1i64]))], 1);
        assert!(wrong.is_err());
    }
}
