//! An activation over a whole tensor.

use super::{Activation, in_place, slices};
use crate::Error;
use crate::error::{Result, check_len};
use crate::isa::Isa;
use crate::layout::{BLOCK, Blocked};
use crate::par::{Parallel, for_each_part};

const FILTER: &str = "activation";

/// Elements of one parallel chunk: long enough to be worth a hand-over, short enough to balance.
const CHUNK: usize = 16 * 1024;

/// An activation of a tensor, element by element; `y` may be another tensor or the argument itself.
///
/// ```
/// use pocketnn_kernels::{activation::{Activation, Map}, isa::Isa, par::Serial};
/// let relu = Map::new(Isa::detect(), Activation::Relu, 3);
/// let mut y = [-1.0, 0.5, 2.0];
/// relu.apply_in_place(&mut y, &Serial)?;
/// assert_eq!(y, [0.0, 0.5, 2.0]);
/// # Ok::<(), pocketnn_kernels::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Map {
    isa: Isa,
    function: Activation,
    shape: Shape,
}

#[derive(Clone, Copy, Debug)]
enum Shape {
    /// Contiguous floats, whatever they mean.
    Flat(usize),
    /// Blocked images whose halo or padding channels the function would not keep zero, or that differ in halo.
    Rows { x: Blocked, y: Blocked },
}

impl Map {
    /// For `len` contiguous floats.
    pub fn new(isa: Isa, function: Activation, len: usize) -> Self {
        Self { isa, function, shape: Shape::Flat(len) }
    }

    /// For blocked images `[N, C, D, H, W]` that may differ in halo. Halo and padding channels of `y` become zero.
    ///
    /// # Errors
    /// When the logical shapes differ.
    pub fn blocked(isa: Isa, function: Activation, x: Blocked, y: Blocked) -> Result<Self> {
        if (x.n, x.c, x.size) != (y.n, y.c, y.size) {
            return Err(Error::new(
                FILTER,
                format!("y: expected [{}, {}, {:?}], found [{}, {}, {:?}]", x.n, x.c, x.size, y.n, y.c, y.size),
            ));
        }
        let shape = if x == y && function.keeps_zero() { Shape::Flat(x.len()) } else { Shape::Rows { x, y } };
        Ok(Self { isa, function, shape })
    }

    /// `y = f(x)`.
    ///
    /// # Errors
    /// When a slice has the wrong length.
    pub fn apply(&self, x: &[f32], y: &mut [f32], par: &dyn Parallel) -> Result<()> {
        match self.shape {
            Shape::Flat(len) => {
                check_len(FILTER, "x", len, x.len())?;
                check_len(FILTER, "y", len, y.len())?;
                for_each_part(par, y, CHUNK, &|i, part| {
                    let x = &x[i * CHUNK..i * CHUNK + part.len()];
                    slices(self.isa, &self.function, x, part);
                });
            }
            Shape::Rows { x: gx, y: gy } => {
                check_len(FILTER, "x", gx.len(), x.len())?;
                check_len(FILTER, "y", gy.len(), y.len())?;
                let len = gx.block_len();
                for_each_part(par, y, gy.block_len(), &|i, part| {
                    self.block(&gy, i, part, Some((&gx, &x[i * len..(i + 1) * len])));
                });
            }
        }
        Ok(())
    }

    /// `y = f(y)`.
    ///
    /// # Errors
    /// When the slice has the wrong length, or the filter was made for two layouts.
    pub fn apply_in_place(&self, y: &mut [f32], par: &dyn Parallel) -> Result<()> {
        match self.shape {
            Shape::Flat(len) => {
                check_len(FILTER, "y", len, y.len())?;
                for_each_part(par, y, CHUNK, &|_, part| {
                    in_place(self.isa, &self.function, part);
                });
            }
            Shape::Rows { x, y: g } if x == g => {
                check_len(FILTER, "y", g.len(), y.len())?;
                for_each_part(par, y, g.block_len(), &|i, part| {
                    self.block(&g, i, part, None);
                });
            }
            Shape::Rows { .. } => {
                return Err(Error::new(FILTER, "in place needs one layout; argument and result differ in halo"));
            }
        }
        Ok(())
    }

    /// One channel block of `y`, the `index`-th of all images.
    fn block(&self, g: &Blocked, index: usize, y: &mut [f32], x: Option<(&Blocked, &[f32])>) {
        let width = g.size[2] * BLOCK;
        let used = (g.c - index % g.blocks() * BLOCK).min(BLOCK);
        g.clear_halo(y);
        for z in 0..g.size[0] {
            for row in 0..g.size[1] {
                let at = g.offset(0, 0, [z, row, 0]);
                let y = &mut y[at..at + width];
                match x {
                    Some((gx, x)) => {
                        let at = gx.offset(0, 0, [z, row, 0]);
                        slices(self.isa, &self.function, &x[at..at + width], y);
                    }
                    None => in_place(self.isa, &self.function, y),
                }
                if used < BLOCK {
                    for pixel in y.chunks_exact_mut(BLOCK) {
                        pixel[used..].fill(0.0);
                    }
                }
            }
        }
    }
}
