//! Physical layout of image tensors: channel blocks of eight with a zero halo (NCHWc8).

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
        if !self.has_halo() {
            return;
        }
        let [sd, sh, _] = self.stored();
        let (row, slice) = (self.row_stride(), self.slice_stride());
        let (before, after) = (self.halo[2].0 * BLOCK, (self.halo[2].0 + self.size[2]) * BLOCK);
        for z in 0..sd {
            let plane = &mut block[z * slice..(z + 1) * slice];
            if z < self.halo[0].0 || z >= self.halo[0].0 + self.size[0] {
                plane.fill(0.0);
                continue;
            }
            let (top, bottom) = (self.halo[1].0 * row, (self.halo[1].0 + self.size[1]) * row);
            plane[..top].fill(0.0);
            plane[bottom..sh * row].fill(0.0);
            if before > 0 || after < row {
                for line in plane[top..bottom].chunks_exact_mut(row) {
                    line[..before].fill(0.0);
                    line[after..].fill(0.0);
                }
            }
        }
    }
}
