//! Channels of blocked images chosen in any order: channel shuffles, cuts and joins that are not whole channel blocks, and channels that
//! become pixels.

use crate::error::{Error, Result, check_len};
use crate::isa::{Isa, Kernel, Lanes, Simd};
use crate::layout::{BLOCK, Blocked};
use crate::movement::DepthOrder;
use crate::par::{Parallel, for_each_part};

const FILTER: &str = "channel choice";

/// Most images a choice can be made from.
pub const MOST: usize = 16;

/// Output channel `i` is channel `pick[i]` of the images' channels one after another.
///
/// An output block is put together from the few input blocks that hold its channels: each is permuted as a vector of eight lanes and
/// blended in.
#[derive(Clone, Debug)]
pub struct Pick {
    isa: Isa,
    from: Vec<Blocked>,
    to: Blocked,
    /// The pieces of every output block, for one grid of output positions after another.
    blocks: Vec<Vec<Piece>>,
    /// Rows and columns of the output that a position of the images becomes: it has as many squared grids of positions.
    scale: usize,
}

/// Channels of one input block that go into one output block.
#[derive(Clone, Debug)]
struct Piece {
    source: usize,
    block: usize,
    /// For each lane of the output the lane of the input, and whether it is taken.
    lanes: [Option<usize>; BLOCK],
}

impl Piece {
    /// True when the block is taken as it is.
    fn is_whole(&self) -> bool {
        self.lanes.iter().enumerate().all(|(i, l)| *l == Some(i))
    }
}

impl Pick {
    /// A choice from images of geometry `from` for an image of geometry `to`.
    ///
    /// # Errors
    /// When batches or sizes differ, there is no such channel, or there are more than [`MOST`] images.
    pub fn new(isa: Isa, from: &[Blocked], to: Blocked, pick: &[usize]) -> Result<Self> {
        Self::grids(isa, from, to, 1, pick)
    }

    /// Blocks of channels that become blocks of pixels: `[N, C b b, H, W]` to `[N, C, H b, W b]`.
    ///
    /// # Errors
    /// When the shapes are not such ones.
    pub fn pixels(isa: Isa, from: Blocked, to: Blocked, block: usize, order: DepthOrder) -> Result<Self> {
        let (b, [_, h, w]) = (block, from.size);
        let deep = b.checked_mul(b).and_then(|b| b.checked_mul(to.c));
        if b == 0 || deep != Some(from.c) || to.size != [from.size[0], h * b, w * b] {
            return Err(Error::new(FILTER, format!("blocks of {block}: {from:?} does not become {to:?}")));
        }
        let channel = |i: usize| order.deep(i % to.c, to.c, i / to.c / b, i / to.c % b, b);
        Self::grids(isa, &[from], to, b, &(0..from.c).map(channel).collect::<Vec<_>>())
    }

    /// `pick` has a list of channels for each grid.
    fn grids(isa: Isa, from: &[Blocked], to: Blocked, scale: usize, pick: &[usize]) -> Result<Self> {
        let size = [to.size[0], to.size[1] / scale, to.size[2] / scale];
        if from.is_empty() || from.len() > MOST || from.iter().any(|g| (g.n, g.size) != (to.n, size)) {
            let message = format!("expected 1 to {MOST} images [{}, C, {size:?}], found {from:?}", to.n);
            return Err(Error::new(FILTER, message));
        }
        check_len(FILTER, "channels", to.c * scale * scale, pick.len())?;
        let mut blocks = Vec::new();
        for grid in pick.chunks(to.c.max(1)) {
            blocks.extend(Self::grid(from, to, grid)?);
        }
        Ok(Self { isa, from: from.to_vec(), to, blocks, scale })
    }

    /// The pieces of the output blocks at the positions of one grid.
    fn grid(from: &[Blocked], to: Blocked, pick: &[usize]) -> Result<Vec<Vec<Piece>>> {
        let mut blocks = vec![Vec::<Piece>::new(); to.blocks()];
        for (i, &wanted) in pick.iter().enumerate() {
            let (mut source, mut c) = (0, wanted);
            while source < from.len() && c >= from[source].c {
                c -= from[source].c;
                source += 1;
            }
            if source == from.len() {
                return Err(Error::new(FILTER, format!("channel {wanted} of {} channels", wanted - c)));
            }
            let (pieces, block) = (&mut blocks[i / BLOCK], c / BLOCK);
            let at = pieces.iter().position(|p| (p.source, p.block) == (source, block)).unwrap_or_else(|| {
                pieces.push(Piece { source, block, lanes: [None; BLOCK] });
                pieces.len() - 1
            });
            pieces[at].lanes[i % BLOCK] = Some(c % BLOCK);
        }
        // What completes the last block of an input completes that of the output.
        if let (Some([piece]), true) = (blocks.last_mut().map(Vec::as_mut_slice), !to.c.is_multiple_of(BLOCK)) {
            let (g, live) = (&from[piece.source], to.c % BLOCK);
            let ends = piece.block + 1 == g.blocks() && g.c % BLOCK == live;
            if ends && piece.lanes[..live].iter().enumerate().all(|(i, l)| *l == Some(i)) {
                piece.lanes = std::array::from_fn(Some);
            }
        }
        Ok(blocks)
    }

    /// Writes the chosen channels of the images `x`, halo and padding channels.
    ///
    /// # Errors
    /// When a slice has the wrong length.
    pub fn apply(&self, x: &[&[f32]], y: &mut [f32], par: &dyn Parallel) -> Result<()> {
        check_len(FILTER, "images", self.from.len(), x.len())?;
        for (g, x) in self.from.iter().zip(x) {
            check_len(FILTER, "x", g.len(), x.len())?;
        }
        check_len(FILTER, "y", self.to.len(), y.len())?;
        if y.is_empty() {
            return Ok(());
        }
        let per_part = self.blocks_per_part(par.threads());
        for_each_part(par, y, per_part * self.to.block_len(), &|part, y| {
            for (i, y) in y.chunks_exact_mut(self.to.block_len()).enumerate() {
                let index = part * per_part + i;
                let (n, block) = (index / self.to.blocks(), index % self.to.blocks());
                self.to.clear_halo(y);
                for (grid, blocks) in self.blocks.chunks_exact(self.to.blocks()).enumerate() {
                    let corner = [grid / self.scale, grid % self.scale];
                    self.isa.dispatch(Block { pick: self, n, pieces: &blocks[block], corner, x, y });
                }
            }
        });
        Ok(())
    }

    fn blocks_per_part(&self, threads: usize) -> usize {
        let all = self.to.n * self.to.blocks();
        if threads > 1 { (CHUNK / self.to.block_len().max(1)).clamp(1, all.div_ceil(2 * threads).max(1)) } else { all }
    }
}

/// Elements of a chunk worth its hand-over.
const CHUNK: usize = 8 * 1024;

/// One channel block of one image.
struct Block<'a> {
    pick: &'a Pick,
    n: usize,
    pieces: &'a [Piece],
    /// The first position of the grid: row and column.
    corner: [usize; 2],
    x: &'a [&'a [f32]],
    y: &'a mut [f32],
}

impl Kernel for Block<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let l = s.block();
        match self.pieces {
            [piece] if piece.is_whole() && self.pick.scale == 1 => self.copy(),
            [_] => self.blend::<S::Block, 1>(l),
            [_, _] => self.blend::<S::Block, 2>(l),
            [_, _, _] => self.blend::<S::Block, 3>(l),
            [_, _, _, _] => self.blend::<S::Block, 4>(l),
            _ => self.blend::<S::Block, BLOCK>(l),
        }
    }
}

impl Block<'_> {
    /// Number of rows and floats of a row. Rows that follow each other everywhere come as one.
    #[inline(always)]
    fn rows(&self) -> (usize, usize) {
        let [depth, height, width] = self.size();
        let flat = self.pick.scale == 1
            && !self.pick.to.has_halo()
            && self.pieces.iter().all(|p| !self.pick.from[p.source].has_halo());
        if flat { (1, depth * height * width * BLOCK) } else { (depth * height, width * BLOCK) }
    }

    /// Where a row begins in the image of a piece. Where there are fewer pieces it is the last one, of which nothing is taken.
    #[inline(always)]
    fn from(&self, k: usize, row: usize) -> usize {
        let p = &self.pieces[k.min(self.pieces.len() - 1)];
        self.pick.from[p.source].offset(self.n, p.block, self.position(row))
    }

    /// Extents of the images.
    #[inline(always)]
    fn size(&self) -> [usize; 3] {
        self.pick.from[0].size
    }

    #[inline(always)]
    fn position(&self, row: usize) -> [usize; 3] {
        let height = self.size()[1];
        [row / height, row % height, 0]
    }

    /// Where a row begins in the block of the output.
    #[inline(always)]
    fn to(&self, row: usize) -> usize {
        let ([z, r, _], [y, x]) = (self.position(row), self.corner);
        self.pick.to.offset(0, 0, [z, r * self.pick.scale + y, x])
    }

    fn copy(self) {
        let x = self.x[self.pieces[0].source];
        let (rows, len) = self.rows();
        for row in 0..rows {
            let (from, to) = (self.from(0, row), self.to(row));
            self.y[to..to + len].copy_from_slice(&x[from..from + len]);
        }
    }

    #[inline(always)]
    fn blend<L: Lanes, const K: usize>(self, l: L) {
        let lane = |k: usize, i: usize| self.pieces.get(k).and_then(|p| p.lanes[i]);
        let index: [L::I; K] = std::array::from_fn(|k| {
            let lanes: [f32; BLOCK] = std::array::from_fn(|i| f32::from_bits(lane(k, i).unwrap_or(0) as u32));
            l.bits(l.load_slice(&lanes))
        });
        let taken: [L::M; K] = std::array::from_fn(|k| {
            let flags: [f32; BLOCK] = std::array::from_fn(|i| if lane(k, i).is_some() { 1.0 } else { 0.0 });
            l.eq(l.load_slice(&flags), l.splat(1.0))
        });
        let x: [&[f32]; K] = std::array::from_fn(|k| self.x[self.pieces[k.min(self.pieces.len() - 1)].source]);
        let (rows, len) = self.rows();
        for row in 0..rows {
            let (to, step) = (self.to(row), self.pick.scale * BLOCK);
            let x: [&[f32]; K] = std::array::from_fn(|k| &x[k][self.from(k, row)..][..len]);
            // The last position of a grid is followed by none of its others.
            let y = &mut self.y[to..];
            for (p, y) in y.chunks_mut(step).take(len / BLOCK).enumerate() {
                let mut v = l.zero();
                for k in 0..K {
                    let x = l.load_slice(&x[k][p * BLOCK..(p + 1) * BLOCK]);
                    v = l.select(taken[k], l.permute(x, index[k]), v);
                }
                l.store_slice(y, v);
            }
        }
    }
}
