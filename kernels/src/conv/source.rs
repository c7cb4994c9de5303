//! The image a direct convolution reads: the caller's memory where its padding is in the halo or there is none, else a copy with
//! zeros around it.

use super::{ConvDesc, Source};
use crate::Result;
use crate::par::{Parallel, for_each_part};

/// Strides of an image in floats. Position 0 is the first one of the padding.
#[derive(Clone, Copy, Debug)]
pub struct View {
    pub start: usize,
    pub image: usize,
    pub step: [usize; 3],
    pub block: usize,
}

/// A padded copy of planar or interleaved images.
#[derive(Debug)]
pub struct Copy {
    /// Planes: images times channels, or images.
    planes: usize,
    /// Extents without padding.
    size: [usize; 3],
    /// Extents with it.
    padded: [usize; 3],
    before: [usize; 3],
    /// Floats of a position.
    pixel: usize,
}

/// Where a convolution finds its input, and the copy to make first, if any.
pub fn view(desc: &ConvDesc) -> Result<(Option<Copy>, View)> {
    let input = &desc.input;
    if desc.source == Source::Blocked {
        let step = [input.slice_stride(), input.row_stride(), crate::layout::BLOCK];
        let padding: usize = (0..3).map(|i| desc.pads[i].0 * step[i]).sum();
        let start = input.offset(0, 0, [0; 3]).saturating_sub(padding);
        return Ok((None, View { start, image: input.blocks() * input.block_len(), step, block: input.block_len() }));
    }
    let halo = desc.required_halo()?;
    let padded: [usize; 3] = std::array::from_fn(|i| input.size[i] + halo[i].0 + halo[i].1);
    let interleaved = desc.source == Source::Interleaved;
    let (planes, pixel) = if interleaved { (1, input.c) } else { (input.c, 1) };
    let step = [padded[1] * padded[2] * pixel, padded[2] * pixel, pixel];
    let plane = padded[0] * step[0];
    let view = View { start: 0, image: plane * planes, step, block: plane };
    let before = halo.map(|h| h.0);
    let copy = Copy { planes: planes * input.n, size: input.size, padded, before, pixel };
    Ok(((padded != input.size).then_some(copy), view))
}

/// Floats worth a chunk of their own.
const PART: usize = 32 << 10;

impl Copy {
    pub fn len(&self) -> usize {
        self.planes * self.padded.iter().product::<usize>() * self.pixel
    }
    /// Copies all rows.
    pub fn run(&self, x: &[f32], y: &mut [f32], par: &dyn Parallel) {
        let row = self.padded[2] * self.pixel;
        let rows = self.len().checked_div(row).unwrap_or(0);
        let parts = if par.threads() > 1 { (self.len() / PART).clamp(1, 2 * par.threads()) } else { 1 };
        let per_part = rows.div_ceil(parts).max(1);
        for_each_part(par, y, per_part * row, &|part, y| {
            for (i, line) in y.chunks_exact_mut(row.max(1)).enumerate() {
                self.row(part * per_part + i, x, line);
            }
        });
    }
    /// Copies one row of one plane, or fills it with zeros.
    fn row(&self, index: usize, x: &[f32], line: &mut [f32]) {
        let [pd, ph, _] = self.padded;
        let [d, h, w] = self.size;
        let (plane, z, y) = (index / (pd * ph), index / ph % pd, index % ph);
        let (z, y) = (z.wrapping_sub(self.before[0]), y.wrapping_sub(self.before[1]));
        if z >= d || y >= h {
            line.fill(0.0);
            return;
        }
        let (left, len) = (self.before[2] * self.pixel, w * self.pixel);
        line[..left].fill(0.0);
        line[left..left + len].copy_from_slice(&x[((plane * d + z) * h + y) * len..][..len]);
        line[left + len..].fill(0.0);
    }
}
