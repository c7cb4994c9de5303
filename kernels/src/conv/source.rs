//! The image a direct convolution reads: the caller's memory where its padding is in the halo or there is none, else a copy with
//! zeros around it, or, where rows of outputs are short, a copy in which the windows of all outputs lie at one distance.

use super::pack::Packing;
use super::{ConvDesc, Source};
use crate::Result;
use crate::layout::BLOCK;
use crate::par::{Parallel, for_each_part};

/// Where a convolution finds its input, in floats. Position 0 is the first one of the padding.
#[derive(Clone, Copy, Debug)]
pub struct View {
    pub start: usize,
    pub image: usize,
    /// From one position to the next.
    pub step: [usize; 3],
    /// From the window of one output to that of the next.
    pub output: [usize; 3],
    pub block: usize,
    /// From one phase of the rows to the next; 0 where rows lie in their order.
    phase: usize,
}

impl View {
    /// The distance of a tap from the first one of its window.
    pub fn tap(&self, desc: &ConvDesc, at: [usize; 3]) -> usize {
        let [z, y, x] = std::array::from_fn(|i| at[i] * desc.dilation[i]);
        if self.phase == 0 {
            return z * self.step[0] + y * self.step[1] + x * self.step[2];
        }
        y % desc.stride[1] * self.phase + y / desc.stride[1] * self.step[1] + at[2] * self.step[2]
    }
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
    windows: Option<Windows>,
}

/// A copy `[plane][row modulo stride][row / stride][output column][8]`: the eight are the kernel's row at this column, tap by tap, and what
/// follows it. All outputs lie at one distance then, as pixels of a channel block do.
#[derive(Debug)]
struct Windows {
    /// Output columns.
    columns: usize,
    taps: usize,
    stride: [usize; 2],
    dilation: usize,
    /// Rows of a phase.
    rows: usize,
    /// Floats of windows, of one row of them, that lie beside the image.
    beside: Vec<(usize, usize)>,
}

/// Columns of outputs from which on tiles of one row are well filled.
const WIDE: usize = 8;
/// Multiply-adds for each tap of a window that pay for the copy.
const WORTH: usize = 32;

impl Windows {
    /// Where they pay: in images of few columns, for many outputs.
    fn of(desc: &ConvDesc, padded: [usize; 3], before: usize, pixel: usize) -> Option<Self> {
        let [depth, height, columns] = desc.output_size();
        let work = desc.channels / desc.groups * desc.kernel[1];
        let flat = depth == 1 && desc.kernel[0] == 1 && desc.packing() == Packing::Panels;
        let fits = (1..WIDE).contains(&columns) && desc.kernel[2] * pixel <= BLOCK;
        if !flat || !fits || height < 2 || work < WORTH * desc.stride[1] {
            return None;
        }
        let (taps, stride, dilation) = (desc.kernel[2], [desc.stride[1], desc.stride[2]], desc.dilation[2]);
        let beside = |&(column, i): &(usize, usize)| {
            (column * stride[1] + i / pixel * dilation).wrapping_sub(before) >= desc.input.size[2]
        };
        let floats = (0..columns).flat_map(|column| (0..taps * pixel).map(move |i| (column, i)));
        let beside = floats.filter(beside).collect();
        Some(Self { columns, taps, stride, dilation, rows: padded[1].div_ceil(stride[0]), beside })
    }
}

impl Windows {
    /// A row of windows, float by float; the first begins at `first`, which may lie before the image.
    #[cold]
    fn gather(&self, pixel: usize, first: usize, x: &[f32], line: &mut [[f32; BLOCK]]) {
        for (column, window) in line.iter_mut().enumerate() {
            *window = [0.0; BLOCK];
            for (i, to) in window[..self.taps * pixel].iter_mut().enumerate() {
                let at = (column * self.stride[1] + i / pixel * self.dilation) * pixel + i % pixel;
                *to = x.get(first.wrapping_add(at)).copied().unwrap_or_default();
            }
        }
    }
}

/// Where a convolution finds its input, and the copy to make first, if any.
pub fn view(desc: &ConvDesc) -> Result<(Option<Copy>, View)> {
    let input = &desc.input;
    if desc.source == Source::Blocked {
        let step = [input.slice_stride(), input.row_stride(), BLOCK];
        let padding: usize = (0..3).map(|i| desc.pads[i].0 * step[i]).sum();
        let start = input.offset(0, 0, [0; 3]).saturating_sub(padding);
        let (image, block) = (input.blocks() * input.block_len(), input.block_len());
        let output = std::array::from_fn(|i| step[i] * desc.stride[i]);
        return Ok((None, View { start, image, step, output, block, phase: 0 }));
    }
    let halo = desc.required_halo()?;
    let padded: [usize; 3] = std::array::from_fn(|i| input.size[i] + halo[i].0 + halo[i].1);
    let interleaved = desc.source == Source::Interleaved;
    let (planes, pixel) = if interleaved { (1, input.c) } else { (input.c, 1) };
    let before = halo.map(|h| h.0);
    let windows = Windows::of(desc, padded, before[2], pixel);
    let copied = windows.is_some() || padded != input.size;
    let view = if let Some(w) = &windows {
        let row = w.columns * BLOCK;
        let (phase, plane) = (w.rows * row, w.stride[0] * w.rows * row);
        let output = [plane, row, BLOCK];
        View { start: 0, image: plane * planes, step: [plane, row, pixel], output, block: plane, phase }
    } else {
        let step = [padded[1] * padded[2] * pixel, padded[2] * pixel, pixel];
        let (plane, output) = (padded[0] * step[0], std::array::from_fn(|i| step[i] * desc.stride[i]));
        View { start: 0, image: plane * planes, step, output, block: plane, phase: 0 }
    };
    let copy = Copy { planes: planes * input.n, size: input.size, padded, before, pixel, windows };
    Ok((copied.then_some(copy), view))
}

/// Floats worth a chunk of their own.
const PART: usize = 32 << 10;

impl Copy {
    pub fn name(&self) -> &'static str {
        if self.windows.is_some() { "direct on copied windows" } else { "direct on a padded copy" }
    }
    /// Floats of a row, and rows of a plane.
    fn extents(&self) -> (usize, usize) {
        match &self.windows {
            Some(w) => (w.columns * BLOCK, w.stride[0] * w.rows),
            None => (self.padded[2] * self.pixel, self.padded[0] * self.padded[1]),
        }
    }
    pub fn len(&self) -> usize {
        let (row, rows) = self.extents();
        self.planes * rows * row
    }
    /// Copies all rows.
    pub fn run(&self, x: &[f32], y: &mut [f32], par: &dyn Parallel) {
        let (row, per_plane) = self.extents();
        let rows = self.planes * per_plane;
        let parts = if par.threads() > 1 { (self.len() / PART).clamp(1, 2 * par.threads()) } else { 1 };
        let per_part = rows.div_ceil(parts).max(1);
        for_each_part(par, y, per_part * row, &|part, y| {
            if let Some(w) = &self.windows {
                return self.windows(w, part * per_part, x, y);
            }
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
    /// The windows of rows from the `index`-th on, or zeros.
    fn windows(&self, windows: &Windows, index: usize, x: &[f32], to: &mut [f32]) {
        let Windows { columns, stride, rows, .. } = *windows;
        let ([_, h, w], pixel) = (self.size, self.pixel);
        let (mut plane, mut phase, mut row) = (index / rows / stride[0], index / rows % stride[0], index % rows);
        // Floats from the first window of a row to the end of the last.
        let reach = (columns - 1) * stride[1] * pixel + BLOCK;
        for line in to.as_chunks_mut::<BLOCK>().0.chunks_exact_mut(columns) {
            let y = (row * stride[0] + phase).wrapping_sub(self.before[1]);
            let first = ((plane * h + y) * w).wrapping_sub(self.before[2]).wrapping_mul(pixel);
            if y >= h {
                line.fill([0.0; BLOCK]);
            } else {
                match x.get(first..first.wrapping_add(reach)) {
                    Some(from) if windows.dilation == 1 => {
                        for (window, from) in line.iter_mut().zip(from.windows(BLOCK).step_by(stride[1] * pixel)) {
                            window.copy_from_slice(from);
                        }
                    }
                    _ => windows.gather(pixel, first, x, line),
                }
                // What lies beside the row is its neighbours here.
                windows.beside.iter().for_each(|&(column, i)| line[column][i] = 0.0);
            }
            row += 1;
            if row == rows {
                (row, phase) = (0, phase + 1);
            }
            if phase == stride[0] {
                (phase, plane) = (0, plane + 1);
            }
        }
    }
}
