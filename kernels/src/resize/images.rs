//! Resampling of images, plain and blocked.

use super::Table;
use crate::error::{Error, Result, check_len};
use crate::isa::{Isa, Kernel, Lanes, Simd};
use crate::layout::{BLOCK, Blocked};
use crate::par::{Parallel, for_each_part};

const FILTER: &str = "resize";

/// A table with `f32` weights, without taps that have no weight anywhere.
#[derive(Clone, Debug, PartialEq)]
struct Taps {
    count: usize,
    index: Vec<u32>,
    weight: Vec<f32>,
}

impl Taps {
    fn identity(extent: usize) -> Self {
        Self { count: 1, index: (0..extent as u32).collect(), weight: vec![1.0; extent] }
    }

    /// Each output's taps with a weight, then as many of weight 0 as the longest list needs.
    fn new(table: &Table) -> Self {
        let outputs = table.outside.len();
        let taps = |x: usize| (x * table.taps..(x + 1) * table.taps).filter(|&t| table.weight[t] != 0.0);
        let count = (0..outputs).map(|x| taps(x).count()).max().unwrap_or(1).max(1);
        let mut out = Self { count, index: Vec::new(), weight: Vec::new() };
        for x in 0..outputs {
            let last = taps(x).next_back().unwrap_or(x * table.taps);
            let start = out.index.len();
            out.index.extend(taps(x).map(|t| table.index[t] as u32));
            out.weight.extend(taps(x).map(|t| table.weight[t] as f32));
            out.index.resize(start + count, table.index[last] as u32);
            out.weight.resize(start + count, 0.0);
        }
        out
    }

    fn outputs(&self) -> usize {
        self.weight.len() / self.count
    }

    /// Input positions and weights of an output position.
    #[inline(always)]
    fn of(&self, x: usize) -> impl Iterator<Item = (usize, f32)> + Clone {
        let part = x * self.count..(x + 1) * self.count;
        self.index[part.clone()].iter().zip(&self.weight[part]).map(|(&i, &w)| (i as usize, w))
    }

    /// True when every output is one input.
    fn is_copy(&self) -> bool {
        self.count == 1 && self.weight.iter().all(|&w| w == 1.0)
    }
}

/// Resampling of the spatial axes of images `[N, C, D, H, W]`.
#[derive(Clone, Debug)]
pub struct Resize {
    isa: Isa,
    shape: Shape,
    /// Depth, row, column.
    taps: [Taps; 3],
    copy: bool,
}

#[derive(Clone, Copy, Debug)]
enum Shape {
    /// Planes, and their size before and after.
    Plain {
        planes: usize,
        from: [usize; 3],
        to: [usize; 3],
    },
    Blocked {
        from: Blocked,
        to: Blocked,
    },
}

impl Resize {
    /// For `planes` row-major images of `from` positions each; `tables` of depth, row and column, `None` where nothing changes.
    ///
    /// # Errors
    /// When a table does not fit the sizes or has positions outside a region of interest.
    pub fn plain(
        isa: Isa,
        planes: usize,
        from: [usize; 3],
        to: [usize; 3],
        tables: [Option<&Table>; 3],
    ) -> Result<Self> {
        let taps = taps(from, to, tables)?;
        Ok(Self { isa, shape: Shape::Plain { planes, from, to }, copy: taps.iter().all(Taps::is_copy), taps })
    }

    /// For blocked images. Halo and padding channels of the output become zero.
    ///
    /// # Errors
    /// As [`Resize::plain`], or when batches or channels differ.
    pub fn blocked(isa: Isa, from: Blocked, to: Blocked, tables: [Option<&Table>; 3]) -> Result<Self> {
        if (from.n, from.c) != (to.n, to.c) {
            let message = format!("y: expected [{}, {}], found [{}, {}]", from.n, from.c, to.n, to.c);
            return Err(Error::new(FILTER, message));
        }
        let taps = taps(from.size, to.size, tables)?;
        Ok(Self { isa, shape: Shape::Blocked { from, to }, copy: taps.iter().all(Taps::is_copy), taps })
    }

    /// Resamples.
    ///
    /// # Errors
    /// When a tensor has the wrong length.
    pub fn apply(&self, x: &[f32], y: &mut [f32], par: &dyn Parallel) -> Result<()> {
        let count = |s: [usize; 3]| s.iter().product::<usize>();
        let (lengths, part) = match self.shape {
            Shape::Plain { planes, from, to } => ((planes * count(from), planes * count(to)), count(to)),
            Shape::Blocked { from, to } => ((from.len(), to.len()), to.block_len()),
        };
        check_len(FILTER, "x", lengths.0, x.len())?;
        check_len(FILTER, "y", lengths.1, y.len())?;
        if y.is_empty() {
            return Ok(());
        }
        for_each_part(par, y, part, &|i, y| match self.shape {
            Shape::Plain { from, .. } => self.plane(&x[i * count(from)..(i + 1) * count(from)], from, y),
            Shape::Blocked { from, to } => {
                let len = from.block_len();
                to.clear_halo(y);
                let x = &x[i * len..(i + 1) * len];
                if self.copy {
                    self.copy_block(x, &from, y, &to);
                } else {
                    self.isa.dispatch(Block { resize: self, x, from: &from, y, to: &to });
                }
            }
        });
        Ok(())
    }

    /// One row-major image.
    fn plane(&self, x: &[f32], from: [usize; 3], y: &mut [f32]) {
        let (height, width) = (self.taps[1].outputs(), self.taps[2].outputs());
        let [tz, ty, tx] = &self.taps;
        for (row, line) in y.chunks_exact_mut(width).enumerate() {
            let (z, r) = (row / height, row % height);
            for (c, v) in line.iter_mut().enumerate() {
                let mut sum = 0.0;
                for (i, wz) in tz.of(z) {
                    for (j, wy) in ty.of(r) {
                        let source = &x[(i * from[1] + j) * from[2]..][..from[2]];
                        let across: f32 = tx.of(c).map(|(k, w)| w * source[k]).sum();
                        sum += wz * wy * across;
                    }
                }
                *v = sum;
            }
        }
    }

    /// One block of which every cell is one cell of the input.
    fn copy_block(&self, x: &[f32], from: &Blocked, y: &mut [f32], to: &Blocked) {
        let [tz, ty, tx] = &self.taps;
        let [depth, height, width] = to.size;
        for z in 0..depth {
            for r in 0..height {
                let out = to.offset(0, 0, [z, r, 0]);
                if r > 0 && ty.index[r] == ty.index[r - 1] {
                    let before = out - to.row_stride();
                    y.copy_within(before..before + width * BLOCK, out);
                    continue;
                }
                let source =
                    &x[from.offset(0, 0, [tz.index[z] as usize, ty.index[r] as usize, 0])..][..from.size[2] * BLOCK];
                let line = y[out..][..width * BLOCK].chunks_exact_mut(BLOCK);
                for (cell, &k) in line.zip(&tx.index) {
                    cell.copy_from_slice(&source[k as usize * BLOCK..][..BLOCK]);
                }
            }
        }
    }
}

fn taps(from: [usize; 3], to: [usize; 3], tables: [Option<&Table>; 3]) -> Result<[Taps; 3]> {
    let mut out = [0, 1, 2].map(|a| Taps::identity(to[a]));
    for a in 0..3 {
        let fits = match tables[a] {
            None => from[a] == to[a],
            Some(t) => t.outside.len() == to[a] && !t.outside.contains(&true) && t.index.iter().all(|&i| i < from[a]),
        };
        if !fits {
            return Err(Error::new(FILTER, format!("axis {a}: the table does not lead from {} to {}", from[a], to[a])));
        }
        if let Some(t) = tables[a] {
            out[a] = Taps::new(t);
        }
    }
    Ok(out)
}

/// One channel block of one image.
struct Block<'a> {
    resize: &'a Resize,
    x: &'a [f32],
    from: &'a Blocked,
    y: &'a mut [f32],
    to: &'a Blocked,
}

impl Kernel for Block<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let l = s.block();
        let [tz, ty, tx] = &self.resize.taps;
        let [depth, height, width] = self.to.size;
        for z in 0..depth {
            for r in 0..height {
                let out = &mut self.y[self.to.offset(0, 0, [z, r, 0])..][..width * BLOCK];
                for (c, cell) in out.chunks_exact_mut(BLOCK).enumerate() {
                    let mut sum = l.splat(0.0);
                    for (i, wz) in tz.of(z) {
                        for (j, wy) in ty.of(r) {
                            let source = &self.x[self.from.offset(0, 0, [i, j, 0])..][..self.from.size[2] * BLOCK];
                            let mut across = l.splat(0.0);
                            for (k, w) in tx.of(c) {
                                across = l.mul_add(l.load_slice(&source[k * BLOCK..]), l.splat(w), across);
                            }
                            sum = l.mul_add(across, l.splat(wz * wy), sum);
                        }
                    }
                    l.store_slice(cell, sum);
                }
            }
        }
    }
}
