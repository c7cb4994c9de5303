//! Between the logical orders of images and channel blocks.

use super::{BLOCK, Blocked};
use crate::error::check_len;
use crate::isa::{Isa, Kernel, Lanes, Simd};
use crate::par::{Parallel, Shared};
use crate::{Error, Result};

/// A logical order of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// `[N, C, D, H, W]`
    Planar,
    /// `[N, D, H, W, C]`
    Interleaved,
}

const NAME: &str = "layout";

fn check(g: &Blocked, plain: usize, blocked: usize) -> Result<()> {
    let len = g.checked_len().ok_or_else(|| Error::new(NAME, format!("{g:?} is too large")))?;
    check_len(NAME, "blocked image", len, blocked)?;
    check_len(NAME, "plain image", g.n * g.c * g.positions(), plain)
}

/// Writes the image `x` in the order of `order` as channel blocks: interior, halo and the channels that fill the last block.
///
/// # Errors
/// When a slice has another length than the geometry.
pub fn pack(isa: Isa, order: Order, x: &[f32], g: &Blocked, y: &mut [f32], par: &dyn Parallel) -> Result<()> {
    check(g, x.len(), y.len())?;
    let (block, shared) = (g.block_len(), Shared::new(y));
    par.run(if block == 0 { 0 } else { g.n * g.blocks() }, &|i| {
        // SAFETY: each chunk has a channel block of its own.
        let y = unsafe { shared.range(i * block, block) };
        isa.dispatch(PackBlock { order, x, g, index: i, y });
    });
    Ok(())
}

/// Writes the interior of the blocked image `x` in the order of `order`.
///
/// # Errors
/// When a slice has another length than the geometry.
pub fn unpack(isa: Isa, order: Order, x: &[f32], g: &Blocked, y: &mut [f32], par: &dyn Parallel) -> Result<()> {
    check(g, y.len(), x.len())?;
    // A planar chunk is the planes of one block, an interleaved one a whole image: both are contiguous.
    let (positions, planar) = (g.positions(), order == Order::Planar);
    let shared = Shared::new(y);
    let chunks = if planar { g.n * g.blocks() } else { g.n };
    par.run(if positions == 0 { 0 } else { chunks }, &|i| {
        let (image, block) = if planar { (i / g.blocks(), i % g.blocks()) } else { (i, 0) };
        let channels = if planar { (g.c - block * BLOCK).min(BLOCK) } else { g.c };
        // SAFETY: chunks have disjoint planes or images.
        let y = unsafe { shared.range((image * g.c + block * BLOCK) * positions, channels * positions) };
        if planar {
            isa.dispatch(UnpackPlanes { x, g, image, block, y });
        } else {
            isa.dispatch(UnpackPixels { x, g, image, y });
        }
    });
    Ok(())
}

/// Writes zeros into the halo of the channel block at `block`.
///
/// # Safety
/// The block must be writable for the geometry's [`Blocked::block_len`] floats.
#[inline(always)]
pub(crate) unsafe fn clear_halo<S: Simd>(s: S, g: &Blocked, block: *mut f32) {
    // SAFETY: stretches of whole vectors that the block has.
    g.halo_parts(|start, len| unsafe { clear(s, block.add(start), len) });
}

/// Writes zeros to `len` floats, a whole number of pixels. Between two rows there are mostly two: one store, where a loop or a call would
/// cost more than that.
///
/// # Safety
/// They must be writable.
#[inline(always)]
pub(crate) unsafe fn clear<S: Simd>(s: S, start: *mut f32, len: usize) {
    const PAIR: usize = 2 * BLOCK;
    let (pair, block) = (s.pair(), s.block());
    // SAFETY: vectors inside the stretch.
    unsafe {
        if len == PAIR {
            pair.store(start, pair.zero());
            return;
        }
        let mut i = 0;
        while i + PAIR <= len {
            pair.store(start.add(i), pair.zero());
            i += PAIR;
        }
        if i < len {
            block.store(start.add(i), block.zero());
        }
    }
}

/// The first eight floats.
#[inline(always)]
fn eight(x: &[f32]) -> [f32; BLOCK] {
    std::array::from_fn(|i| x[..BLOCK][i])
}

/// Eight positions of eight channels as eight channels of eight positions, and back.
#[inline(always)]
fn transposed(x: &[[f32; BLOCK]; BLOCK]) -> [[f32; BLOCK]; BLOCK] {
    std::array::from_fn(|i| std::array::from_fn(|j| x[j][i]))
}

struct PackBlock<'a> {
    order: Order,
    x: &'a [f32],
    g: &'a Blocked,
    index: usize,
    y: &'a mut [f32],
}

impl Kernel for PackBlock<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _s: S) {
        let Self { order, x, g, index, y } = self;
        let [d, h, w] = g.size;
        let (image, block, positions) = (index / g.blocks(), index % g.blocks(), g.positions());
        let channels = (g.c - block * BLOCK).min(BLOCK);
        g.clear_halo(y);
        for line in 0..d * h {
            let start = g.offset(0, 0, [line / h, line % h, 0]);
            let (pixels, _) = y[start..start + w * BLOCK].as_chunks_mut::<BLOCK>();
            match order {
                Order::Planar => {
                    let base = (image * g.c + block * BLOCK) * positions + line * w;
                    let planes: [&[f32]; BLOCK] = std::array::from_fn(|c| {
                        let start = base + c.min(channels - 1) * positions;
                        &x[start..start + w]
                    });
                    let eights = w / BLOCK * BLOCK;
                    for i in (0..eights).step_by(BLOCK) {
                        let rows =
                            std::array::from_fn(|c| if c < channels { eight(&planes[c][i..]) } else { [0.0; BLOCK] });
                        pixels[i..i + BLOCK].copy_from_slice(&transposed(&rows));
                    }
                    for (i, pixel) in pixels.iter_mut().enumerate().skip(eights) {
                        *pixel = std::array::from_fn(|c| if c < channels { planes[c][i] } else { 0.0 });
                    }
                }
                Order::Interleaved => {
                    let line = &x[(image * positions + line * w) * g.c..][..w * g.c];
                    for (pixel, all) in pixels.iter_mut().zip(line.chunks_exact(g.c)) {
                        let mine = &all[block * BLOCK..][..channels];
                        if let Ok(full) = mine.try_into() {
                            *pixel = full;
                        } else {
                            *pixel = [0.0; BLOCK];
                            pixel[..channels].copy_from_slice(mine);
                        }
                    }
                }
            }
        }
    }
}

struct UnpackPlanes<'a> {
    x: &'a [f32],
    g: &'a Blocked,
    image: usize,
    block: usize,
    y: &'a mut [f32],
}

impl Kernel for UnpackPlanes<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _s: S) {
        let Self { x, g, image, block, y } = self;
        let [d, h, w] = g.size;
        for line in 0..d * h {
            let start = g.offset(image, block, [line / h, line % h, 0]);
            let (pixels, _) = x[start..start + w * BLOCK].as_chunks::<BLOCK>();
            let mut eights = pixels.chunks_exact(BLOCK);
            for (i, eight) in (&mut eights).enumerate() {
                let Some(eight) = eight.first_chunk::<BLOCK>() else { continue };
                let rows = transposed(eight);
                for (row, plane) in rows.iter().zip(y.chunks_exact_mut(d * h * w)) {
                    plane[line * w + i * BLOCK..][..BLOCK].copy_from_slice(row);
                }
            }
            let rest = eights.remainder();
            for (c, plane) in y.chunks_exact_mut(d * h * w).enumerate() {
                for (v, pixel) in plane[(line + 1) * w - rest.len()..(line + 1) * w].iter_mut().zip(rest) {
                    *v = pixel[c];
                }
            }
        }
    }
}

struct UnpackPixels<'a> {
    x: &'a [f32],
    g: &'a Blocked,
    image: usize,
    y: &'a mut [f32],
}

impl Kernel for UnpackPixels<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _s: S) {
        let Self { x, g, image, y } = self;
        let [d, h, w] = g.size;
        for line in 0..d * h {
            let row = &mut y[line * w * g.c..][..w * g.c];
            for block in 0..g.blocks() {
                let start = g.offset(image, block, [line / h, line % h, 0]);
                let (pixels, _) = x[start..start + w * BLOCK].as_chunks::<BLOCK>();
                for (all, pixel) in row.chunks_exact_mut(g.c).zip(pixels) {
                    let mine = &mut all[block * BLOCK..];
                    let channels = mine.len().min(BLOCK);
                    if let Some(full) = mine.first_chunk_mut::<BLOCK>() {
                        *full = *pixel;
                    } else {
                        mine.copy_from_slice(&pixel[..channels]);
                    }
                }
            }
        }
    }
}
