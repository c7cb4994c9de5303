//! The loop nest of a product: panels outside, tiles of rows inside.

use super::super::dense::panel_lanes;
use super::super::tile::{Ahead, Even, Run, multiply};
use super::Product;
use crate::activation::{self, Activation};
use crate::isa::{Isa, Kernel, Lanes, Simd};
use crate::layout::BLOCK;
use crate::par::{Parallel, Shared};
use std::ops::Range;

/// Ranges of rows and of panels.
#[derive(Clone, Copy)]
pub struct Cut {
    pub slabs: usize,
    pub parts: usize,
}

/// Copies the rows of one panel, `row(k)` the columns of step `k`, zeros after them.
pub fn copy_panel<'a>(
    packed: &Shared<'_, f32>,
    start: usize,
    lanes: usize,
    steps: usize,
    row: impl Fn(usize) -> &'a [f32],
) {
    // SAFETY: panels of different chunks do not overlap.
    let panel = unsafe { packed.range(start, lanes * steps) };
    for (k, to) in panel.chunks_exact_mut(lanes).enumerate() {
        let from = row(k);
        to[..from.len()].copy_from_slice(from);
        to[from.len()..].fill(0.0);
    }
}

#[derive(Clone, Copy)]
struct Memory {
    x: *const f32,
    y: *mut f32,
}

// SAFETY: chunks read `x` and write disjoint elements of `y`.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

/// Runs all chunks; the slices have the lengths of the product.
pub fn run(product: &Product<'_>, cut: Cut, isa: Isa, x: &[f32], y: &mut [f32], par: &dyn Parallel) {
    assert!(x.len() >= product.rows * product.inner && y.len() >= product.rows * product.columns);
    let memory = Memory { x: x.as_ptr(), y: y.as_mut_ptr() };
    par.run(cut.slabs * cut.parts, &|index| isa.dispatch(Chunk { product, cut, isa, memory: &memory, index }));
}

struct Chunk<'a> {
    product: &'a Product<'a>,
    cut: Cut,
    isa: Isa,
    memory: &'a Memory,
    index: usize,
}

impl Kernel for Chunk<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (p, Cut { slabs, parts }) = (self.product, self.cut);
        let (slab, part) = (self.index / parts, self.index % parts);
        let rows = slab * p.rows / slabs..(slab + 1) * p.rows / slabs;
        let pairs = p.columns.div_ceil(4 * BLOCK);
        let columns = part * pairs / parts * 4 * BLOCK..((part + 1) * pairs / parts * 4 * BLOCK).min(p.columns);
        let mut first = columns.start;
        while first < columns.end {
            let left = columns.end - first;
            if const { S::WIDE } && left > 3 * BLOCK {
                self.panel::<S, _, 2>(s.pair(), first, rows.clone());
                first += 4 * BLOCK;
                continue;
            }
            if panel_lanes(first, p.columns) == BLOCK {
                self.panel::<S, _, 1>(s.block(), first, rows.clone());
            } else {
                self.panel::<S, _, 1>(s.pair(), first, rows.clone());
            }
            first += 2 * BLOCK;
        }
        self.finish(rows, columns);
    }
}

impl Chunk<'_> {
    #[inline(always)]
    #[allow(clippy::collapsible_match)]
    fn panel<S: Simd, L: Lanes, const NV: usize>(&self, l: L, first: usize, rows: Range<usize>) {
        let tiles = rows.len().div_ceil(S::ROWS);
        for t in 0..tiles {
            let (start, end) = (rows.start + t * rows.len() / tiles, rows.start + (t + 1) * rows.len() / tiles);
            macro_rules! by_rows {
                ($($n:literal)*) => {
                    match end - start {
                        $($n => if const { $n <= S::ROWS } { self.tile::<L, $n, NV>(l, first, start, t) },)*
                        _ => {}
                    }
                };
            }
            by_rows!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
        }
    }

    /// Rows `start .. start + MR` times `NV` panels from column `first` on.
    #[inline(always)]
    fn tile<L: Lanes, const MR: usize, const NV: usize>(&self, l: L, first: usize, start: usize, tile: usize) {
        let p = self.product;
        let weights = p.weights[first * p.inner..][..NV * L::N * p.inner].as_ptr();
        let bias: [L::V; NV] = std::array::from_fn(|v| l.load_slice(&p.bias[first + v * L::N..]));
        let mut sums = [bias; MR];
        let runs = [Run { offset: 0, len: p.inner }];
        // SAFETY: rows `start..start + MR` lie in `x`, the steps of the panels in the slice taken above.
        unsafe {
            let x = self.memory.x.add(start * p.inner);
            let floats = NV * L::N * p.inner;
            let ahead = Ahead::weights(weights.wrapping_add(floats), floats, p.inner, tile);
            if const { L::N == BLOCK } {
                multiply::<_, _, MR, NV, BLOCK>(l, x, Even(p.inner), &runs, weights, L::N * p.inner, ahead, &mut sums);
            } else {
                multiply::<_, _, MR, NV, { 2 * BLOCK }>(
                    l,
                    x,
                    Even(p.inner),
                    &runs,
                    weights,
                    L::N * p.inner,
                    ahead,
                    &mut sums,
                );
            }
        }
        for m in 0..MR {
            for v in 0..NV {
                let column = first + v * L::N;
                let count = (p.columns - column).min(L::N);
                // SAFETY: elements of row `start + m` that only this chunk writes.
                unsafe {
                    let y = self.memory.y.add((start + m) * p.columns + column);
                    if count == L::N {
                        l.store(y, sums[m][v]);
                    } else {
                        l.store_partial(std::slice::from_raw_parts_mut(y, count), sums[m][v]);
                    }
                }
            }
        }
    }

    /// The activation, on what was stored just now.
    fn finish(&self, rows: Range<usize>, columns: Range<usize>) {
        let p = self.product;
        if p.activation == Activation::Identity {
            return;
        }
        for row in rows {
            // SAFETY: elements that this chunk has written and nobody else touches.
            let part = unsafe {
                let y = self.memory.y.add(row * p.columns + columns.start);
                std::slice::from_raw_parts_mut(y, columns.len())
            };
            activation::in_place(self.isa, &p.activation, part);
        }
    }
}
