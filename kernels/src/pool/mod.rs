//! Pooling of images in channel blocks, over one to three spatial axes.
//!
//! Windows are clipped to the image: the halo of the input is not read, so any halo will do. Maxima ignore NaN. Sums run in
//! the order depth, height, width, the same on every instruction set.

mod tile;

pub use crate::reference::pool::PoolKind;

use crate::error::check_len;
use crate::isa::Isa;
use crate::layout::Blocked;
use crate::par::Parallel;
use crate::{Error, Result};
use std::ops::Range;

/// Geometry of a pool. Axes are depth, height, width; a missing axis has extent 1.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolDesc {
    /// Geometry of the input, any halo.
    pub input: Blocked,
    /// What is made of a window.
    pub kind: PoolKind,
    /// Taps of the window.
    pub kernel: [usize; 3],
    /// Step between windows.
    pub stride: [usize; 3],
    /// Distance between taps.
    pub dilation: [usize; 3],
    /// Padding before and after each axis.
    pub pads: [(usize, usize); 3],
    /// Extents of the output, which say how partial windows at the end are rounded.
    pub output: [usize; 3],
    /// Zeros that the output has around each axis.
    pub output_halo: [(usize, usize); 3],
}

/// A pool.
#[derive(Debug)]
pub struct Pool {
    isa: Isa,
    desc: PoolDesc,
    output: Blocked,
    /// The windows of every axis.
    clips: [Vec<Clip>; 3],
    /// Outputs of a row whose windows are not clipped.
    whole: Range<usize>,
}

const NAME: &str = "pool";
const CHUNK_TAPS: usize = 200_000;

impl Pool {
    /// Checks the descriptor.
    ///
    /// # Errors
    /// When it does not fit itself: the message names the part.
    pub fn new(isa: Isa, desc: PoolDesc) -> Result<Self> {
        for i in 0..3 {
            let parts = [desc.kernel[i], desc.stride[i], desc.dilation[i]];
            if parts.contains(&0) {
                return Err(Error::new(NAME, format!("kernel, stride and dilation of axis {i} must be at least 1")));
            }
            let all =
                [parts[0], parts[1], parts[2], desc.pads[i].0, desc.pads[i].1, desc.input.size[i], desc.output[i]];
            if all.iter().any(|&n| n >= 1 << 31) {
                return Err(Error::new(NAME, format!("axis {i}: an extent beyond 2^31")));
            }
        }
        if let PoolKind::Norm { p } = desc.kind
            && (p.is_nan() || p < 1.0)
        {
            return Err(Error::new(NAME, format!("norm: expected an exponent of at least 1, found {p}")));
        }
        let output = Blocked::new(desc.input.n, desc.input.c, desc.output).with_halo(desc.output_halo);
        if desc.input.checked_len().is_none() || output.checked_len().is_none() {
            return Err(Error::new(NAME, format!("{:?} to {output:?} is too large", desc.input)));
        }
        let windows = if output.is_empty() { [0; 3] } else { desc.output };
        let clips = std::array::from_fn(|axis| (0..windows[axis]).map(|o| Clip::new(&desc, axis, o)).collect());
        let whole = whole(&desc);
        Ok(Self { isa, desc, output, clips, whole })
    }
    /// Geometry of the output.
    pub fn output(&self) -> Blocked {
        self.output
    }
    /// Pools `x` into `y`: interior, halo and the channels that fill the last block. No allocation.
    ///
    /// # Errors
    /// When a slice has another length than its geometry.
    pub fn apply(&self, x: &[f32], y: &mut [f32], par: &dyn Parallel) -> Result<()> {
        check_len(NAME, "input", self.desc.input.len(), x.len())?;
        check_len(NAME, "output", self.output.len(), y.len())?;
        let blocks = self.output.n * self.output.blocks();
        let block = self.output.block_len();
        if blocks * block == 0 {
            return Ok(());
        }
        let taps = self.desc.kernel.iter().product::<usize>().saturating_mul(self.output.len());
        let wanted = if par.threads() > 1 { (4 * par.threads()).min(taps / CHUNK_TAPS).max(1) } else { 1 };
        let per_chunk = blocks.div_ceil(wanted);
        crate::par::for_each_part(par, y, per_chunk * block, &|chunk, part| {
            tile::run(self, chunk * per_chunk, x, part);
        });
        Ok(())
    }
}

/// The taps of one window of one axis that lie inside the image.
#[derive(Clone, Copy, Debug)]
struct Clip {
    /// Their number.
    taps: usize,
    /// Position of the first one in the image.
    at: usize,
    /// Taps that count for a mean that counts padding.
    counted: usize,
}

impl Clip {
    fn new(d: &PoolDesc, axis: usize, o: usize) -> Self {
        let (kernel, dilation, (before, after)) = (d.kernel[axis], d.dilation[axis], d.pads[axis]);
        let start = o * d.stride[axis];
        // Taps below a position: those k with start + k * dilation < position.
        let below = |position: usize| position.saturating_sub(start).div_ceil(dilation).min(kernel);
        let (first, end) = (below(before), below(before + d.input.size[axis]));
        let at = (start + first * dilation).saturating_sub(before);
        Self { taps: end.saturating_sub(first), at, counted: below(before + d.input.size[axis] + after) }
    }
}

/// Windows of the last axis that lie inside the image as a whole.
fn whole(d: &PoolDesc) -> Range<usize> {
    let span = (d.kernel[2] - 1) * d.dilation[2] + 1;
    let first = d.pads[2].0.div_ceil(d.stride[2]).min(d.output[2]);
    let fits = (d.input.size[2] + d.pads[2].0).checked_sub(span).map_or(0, |free| free / d.stride[2] + 1);
    first..fits.min(d.output[2]).max(first)
}
