//! Physical layout of image tensors: channel blocks of eight with a zero halo (NCHWc8).

mod tile;

pub use tile::{Order, pack, unpack};
pub(crate) use tile::{clear, clear_halo};

/// Channels of one block, on every instruction set.
pub const BLOCK: usize = 8;

/// Geometry of a blocked image tensor `[N, C, D, H, W]`, stored as
/// `[N][ceil(C / 8)][halo + D + halo][halo + H + halo][halo + W + halo][8]`.
///
/// Lower ranks have `D = 1` (and `H = 1`). Channels past `C` and all halo positions are zero: whoever writes the tensor
/// writes them too ([`Blocked::clear_halo`]), so that a convolution reads its padding from memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Blocked {
    /// Batch.
    pub n: usize,
    /// Logical channels.
    pub c: usize,
    /// Depth, height, width.
    pub size: [usize; 3],
    /// Zeros before and after each axis of `size`.
    pub halo: [(usize, usize); 3],
}

impl Blocked {
    /// A tensor without a halo.
    pub fn new(n: usize, c: usize, size: [usize; 3]) -> Self {
        Self { n, c, size, halo: [(0, 0); 3] }
    }
    /// The same tensor with this halo.
    #[must_use]
    pub fn with_halo(self, halo: [(usize, usize); 3]) -> Self {
        Self { halo, ..self }
    }
    /// Channel blocks.
    pub fn blocks(&self) -> usize {
        self.c.div_ceil(BLOCK)
    }
    /// Stored extents of depth, height and width: halo, size, halo.
    pub fn stored(&self) -> [usize; 3] {
        std::array::from_fn(|i| self.halo[i].0 + self.size[i] + self.halo[i].1)
    }
    /// Logical positions of one channel: `D * H * W`.
    pub fn positions(&self) -> usize {
        self.size.iter().product()
    }
    /// Floats of one channel block of one image.
    pub fn block_len(&self) -> usize {
        self.stored().iter().product::<usize>() * BLOCK
    }
    /// Floats of the whole tensor.
    pub fn len(&self) -> usize {
        self.n * self.blocks() * self.block_len()
    }
    /// Floats of the whole tensor; `None` when their bytes overflow.
    pub fn checked_len(&self) -> Option<usize> {
        let mut len = self.n.checked_mul(self.c.div_ceil(BLOCK))?.checked_mul(4 * BLOCK)?;
        for i in 0..3 {
            let stored = self.size[i].checked_add(self.halo[i].0)?.checked_add(self.halo[i].1)?;
            len = len.checked_mul(stored)?;
        }
        (len <= isize::MAX.unsigned_abs()).then_some(len / 4)
    }
    /// True when nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Floats from one row to the next.
    pub fn row_stride(&self) -> usize {
        self.stored()[2] * BLOCK
    }
    /// Floats from one depth slice to the next.
    pub fn slice_stride(&self) -> usize {
        self.stored()[1] * self.row_stride()
    }
    /// Offset, in floats, of the eight channels of block `b` of image `n` at logical position `[z, y, x]`.
    pub fn offset(&self, n: usize, b: usize, at: [usize; 3]) -> usize {
        let [z, y, x] = at;
        let h = &self.halo;
        (n * self.blocks() + b) * self.block_len()
            + (z + h[0].0) * self.slice_stride()
            + (y + h[1].0) * self.row_stride()
            + (x + h[2].0) * BLOCK
    }
    /// True when any axis has a halo.
    pub fn has_halo(&self) -> bool {
        self.halo.iter().any(|&h| h != (0, 0))
    }

    /// Writes zeros into the halo of one channel block, given as the slice of its [`Self::block_len`] floats.
    pub fn clear_halo(&self, block: &mut [f32]) {
        self.halo_parts(|start, len| block[start..start + len].fill(0.0));
    }

    /// Calls `part(start, floats)` for every stretch of the halo of one channel block.
    #[inline(always)]
    pub fn halo_parts(&self, mut part: impl FnMut(usize, usize)) {
        if !self.has_halo() {
            return;
        }
        let [sd, sh, _] = self.stored();
        let (row, slice) = (self.row_stride(), self.slice_stride());
        let (before, after) = (self.halo[2].0 * BLOCK, self.halo[2].1 * BLOCK);
        for z in 0..sd {
            let plane = z * slice;
            if z < self.halo[0].0 || z >= self.halo[0].0 + self.size[0] {
                part(plane, slice);
                continue;
            }
            // What ends one row and what begins the next lie together.
            let mut start = 0;
            for y in self.halo[1].0..self.halo[1].0 + self.size[1] {
                let end = y * row + before;
                if end > start {
                    part(plane + start, end - start);
                }
                start = (y + 1) * row - after;
            }
            if sh * row > start {
                part(plane + start, sh * row - start);
            }
        }
    }
}
