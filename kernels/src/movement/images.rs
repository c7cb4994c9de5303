//! Copies of regions of blocked images.

use crate::error::{Error, Result, check_len};
use crate::layout::{BLOCK, Blocked};
use crate::par::{Parallel, for_each_part};

const FILTER: &str = "image copy";

/// The first channel and position of a region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Corner {
    /// Channel.
    pub c: usize,
    /// Depth, row, column.
    pub at: [usize; 3],
}

/// Copies `channels` channels and `size` positions of every image from one blocked tensor into another: what concatenation,
/// slices and zero padding of blocked images are made of. Where both regions begin with a channel block, rows are copied
/// whole.
///
/// The copy writes its region only, and zero channels that complete a block; [`Images::clear`] writes halo and padding
/// channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Images {
    from: Blocked,
    to: Blocked,
    first: Corner,
    target: Corner,
    channels: usize,
    size: [usize; 3],
}

/// Neighbouring channels of one block that go to neighbouring channels of another.
#[derive(Clone, Copy, Default)]
struct Lanes {
    block: usize,
    from: usize,
    to: usize,
    count: usize,
}

impl Images {
    /// A copy of a region that begins at `first` in `from` and at `target` in `to`.
    ///
    /// # Errors
    /// When the region does not fit into either tensor, or their batches differ.
    pub fn new(
        (from, first): (Blocked, Corner),
        (to, target): (Blocked, Corner),
        channels: usize,
        size: [usize; 3],
    ) -> Result<Self> {
        let fits = |g: &Blocked, corner: &Corner| {
            corner.c + channels <= g.c && (0..3).all(|i| corner.at[i] + size[i] <= g.size[i])
        };
        if from.n != to.n {
            return Err(Error::new(FILTER, format!("expected equal batches, found {} and {}", from.n, to.n)));
        }
        for (name, g, corner) in [("x", &from, &first), ("y", &to, &target)] {
            if !fits(g, corner) {
                let region = format!("{channels} channels of {size:?} at {corner:?}");
                return Err(Error::new(FILTER, format!("{name}: {region} lie outside [{}, {:?}]", g.c, g.size)));
            }
        }
        Ok(Self { from, to, first, target, channels, size })
    }

    /// Copies the region.
    ///
    /// # Errors
    /// When a tensor has the wrong length.
    pub fn apply(&self, x: &[f32], y: &mut [f32], par: &dyn Parallel) -> Result<()> {
        check_len(FILTER, "x", self.from.len(), x.len())?;
        check_len(FILTER, "y", self.to.len(), y.len())?;
        if self.channels == 0 || self.size.contains(&0) || x.is_empty() {
            return Ok(());
        }
        let blocks = self.to.blocks();
        let touched = self.target.c / BLOCK..(self.target.c + self.channels).div_ceil(BLOCK);
        for_each_part(par, y, self.to.block_len(), &|i, part| {
            if touched.contains(&(i % blocks)) {
                self.block(x, i / blocks, i % blocks, part);
            }
        });
        Ok(())
    }

    /// Writes zeros into halo and padding channels of a tensor.
    ///
    /// # Errors
    /// When the tensor has the wrong length.
    pub fn clear(g: &Blocked, y: &mut [f32], par: &dyn Parallel) -> Result<()> {
        check_len(FILTER, "y", g.len(), y.len())?;
        let (blocks, live) = (g.blocks(), g.c % BLOCK);
        if y.is_empty() || (!g.has_halo() && live == 0) {
            return Ok(());
        }
        for_each_part(par, y, g.block_len(), &|i, part| {
            g.clear_halo(part);
            if live > 0 && i % blocks == blocks - 1 {
                part.chunks_exact_mut(BLOCK).for_each(|cell| cell[live..].fill(0.0));
            }
        });
        Ok(())
    }

    /// Writes one block of one image of `y`.
    fn block(&self, x: &[f32], n: usize, b: usize, y: &mut [f32]) {
        let low = self.target.c.max(b * BLOCK);
        let high = (self.target.c + self.channels).min((b + 1) * BLOCK);
        let source = low - self.target.c + self.first.c;
        // Padding channels of the source are zero and complete a block of the target when both end here.
        let ends = high == self.to.c && source + (high - low) == self.from.c;
        if low == b * BLOCK && source.is_multiple_of(BLOCK) && (high - low == BLOCK || ends) {
            self.rows(n, b, source / BLOCK, |from, to, width| {
                y[to..to + width].copy_from_slice(&x[from..from + width]);
            });
            return;
        }
        let mut done = 0;
        while done < high - low {
            let channel = source + done;
            let count = (high - low - done).min(BLOCK - channel % BLOCK);
            let lanes = Lanes { block: channel / BLOCK, from: channel % BLOCK, to: low + done - b * BLOCK, count };
            self.rows(n, b, lanes.block, |from, to, width| {
                let cells = x[from..from + width].chunks_exact(BLOCK).zip(y[to..to + width].chunks_exact_mut(BLOCK));
                for (source, cell) in cells {
                    for l in 0..lanes.count {
                        cell[lanes.to + l] = source[lanes.from + l];
                    }
                }
            });
            done += count;
        }
    }

    /// Calls `row` with offsets into `x` and into block `b` of image `n` of `y`, and the floats of a row of the region. Rows
    /// that follow each other in both tensors come as one.
    fn rows(&self, n: usize, b: usize, source: usize, mut row: impl FnMut(usize, usize, usize)) {
        let [depth, height, width] = self.size;
        let start = self.to.offset(n, b, [0; 3]) - self.to.offset(0, 0, [0; 3]);
        let whole = width * BLOCK == self.from.row_stride() && width * BLOCK == self.to.row_stride();
        for z in 0..depth {
            let (first, target) = (self.first.at, self.target.at);
            let from = self.from.offset(n, source, [first[0] + z, first[1], first[2]]);
            let to = self.to.offset(n, b, [target[0] + z, target[1], target[2]]) - start;
            if whole {
                row(from, to, height * width * BLOCK);
                continue;
            }
            for r in 0..height {
                row(from + r * self.from.row_stride(), to + r * self.to.row_stride(), width * BLOCK);
            }
        }
    }
}
