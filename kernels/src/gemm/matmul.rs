//! Products of matrices with several rows, and of two run-time matrices.

mod tile;

use crate::activation::Activation;
use crate::error::check_len;
use crate::isa::Isa;
use crate::layout::BLOCK;
use crate::par::{Parallel, Shared};
use crate::{Error, Result};

/// Rows times packed weights.
pub struct Product<'a> {
    pub rows: usize,
    pub inner: usize,
    pub columns: usize,
    /// Panels `[columns / 16][inner][16]`, a last one of 8 where 8 suffice.
    pub weights: &'a [f32],
    /// One float a column, up to the end of the last panel.
    pub bias: &'a [f32],
    pub activation: Activation,
}

/// Bytes of rows that a pass over all panels may touch.
const SLAB: usize = 256 << 10;
/// Multiply-adds worth a chunk of their own.
const CHUNK_MACS: usize = 150_000;

/// Multiplies `x` `[rows, inner]` into `y` `[rows, columns]`.
pub fn run(product: &Product<'_>, isa: Isa, x: &[f32], y: &mut [f32], par: &dyn Parallel) {
    let Product { rows, inner, columns, .. } = *product;
    let panels = columns.div_ceil(2 * BLOCK);
    if rows == 0 || panels == 0 {
        return;
    }
    let (pairs, bytes) = (panels.div_ceil(2), rows * inner * 4);
    let mut slabs = bytes.div_ceil(SLAB).clamp(1, rows.div_ceil(14));
    let mut parts = 1;
    if par.threads() > 1 {
        let wanted = (4 * par.threads()).min(rows * inner * columns / CHUNK_MACS).max(1);
        if columns > rows {
            parts = wanted.div_ceil(slabs).min(pairs);
        }
        slabs = (slabs * wanted.div_ceil(slabs * parts)).min(rows.div_ceil(14));
        parts = (parts * wanted.div_ceil(slabs * parts)).min(pairs);
    }
    tile::run(product, tile::Cut { slabs, parts }, isa, x, y, par);
}

/// A product of two run-time matrices: `a` `[M, K]` times `b` `[K, N]`.
#[derive(Debug, Clone, Copy)]
pub struct MatMul {
    isa: Isa,
    rows: usize,
    inner: usize,
    columns: usize,
}

const NAME: &str = "matmul";

impl MatMul {
    /// A product of these sizes.
    ///
    /// # Errors
    /// When they overflow.
    pub fn new(isa: Isa, rows: usize, inner: usize, columns: usize) -> Result<Self> {
        let fits = |a: usize, b: usize| a.checked_mul(b).is_some_and(|n| n < 1 << 48);
        if columns >= 1 << 48 || !fits(rows, inner) || !fits(inner, columns + 2 * BLOCK) || !fits(rows, columns) {
            return Err(Error::new(NAME, format!("{rows} x {inner} times {inner} x {columns} is too large")));
        }
        Ok(Self { isa, rows, inner, columns })
    }
    /// Floats of scratch: `b` in panels, and a row of zeros.
    pub fn scratch_len(&self) -> usize {
        (self.inner + 1) * self.columns.next_multiple_of(2 * BLOCK)
    }
    /// Multiplies `a` `[M, K]` and `b` `[K, N]` into `y` `[M, N]`. No allocation.
    ///
    /// # Errors
    /// When a slice has another length, or the scratch is too short.
    pub fn apply(&self, a: &[f32], b: &[f32], y: &mut [f32], scratch: &mut [f32], par: &dyn Parallel) -> Result<()> {
        let Self { rows, inner, columns, isa } = *self;
        check_len(NAME, "left operand", rows * inner, a.len())?;
        check_len(NAME, "right operand", inner * columns, b.len())?;
        check_len(NAME, "output", rows * columns, y.len())?;
        let (found, zeros) = (scratch.len(), columns.next_multiple_of(2 * BLOCK));
        let scratch = scratch
            .get_mut(..self.scratch_len())
            .ok_or_else(|| Error::length(NAME, "scratch, at least", self.scratch_len(), found))?;
        let (bias, packed) = scratch.split_at_mut(zeros);
        bias.fill(0.0);
        self.pack(b, packed, par);
        let product = Product { rows, inner, columns, weights: packed, bias, activation: Activation::Identity };
        run(&product, isa, a, y, par);
        Ok(())
    }
    fn pack(&self, b: &[f32], packed: &mut [f32], par: &dyn Parallel) {
        let Self { inner, columns, .. } = *self;
        let shared = Shared::new(packed);
        par.run(if inner == 0 { 0 } else { columns.div_ceil(2 * BLOCK) }, &|i| {
            let first = i * 2 * BLOCK;
            let lanes = super::dense::panel_lanes(first, columns);
            let count = lanes.min(columns - first);
            tile::copy_panel(&shared, first * inner, lanes, inner, |k| &b[k * columns + first..][..count]);
        });
    }
}
