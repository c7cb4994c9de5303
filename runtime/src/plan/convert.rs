//! Conversions between formats.

use super::arena::Io;
use super::format::{Format, Placement};
use super::step::{Compute, Lowered, Step};
use crate::{DType, Error, Result, with_dtype};
use pocketnn_kernels::layout::{BLOCK, Blocked};
use pocketnn_kernels::par::{Parallel, for_each_part};

/// Turns a value of one format into another.
///
/// # Errors
/// When there is no such conversion.
pub(super) fn convert(from: &Placement, to: &Placement) -> Result<Lowered> {
    match (from.format, to.format) {
        (a, b) if a == b && from.halo == to.halo => Ok(Lowered::Alias(0)),
        (Format::Plain | Format::ChannelsLast, Format::Blocked) => {
            let last = from.format == Format::ChannelsLast;
            Ok(Compute::new(ToBlocked { geometry: to.blocked()?, last }).into())
        }
        (Format::Blocked | Format::Flattened { .. }, Format::Plain | Format::ChannelsLast) => {
            let g = from.blocked()?;
            let whole = g.c.is_multiple_of(BLOCK) || g.n == 1;
            let last = to.format == Format::ChannelsLast;
            // One position: channels lie one after the other already, whatever the order is called.
            if g.positions() == 1 && !g.has_halo() && whole {
                return Ok(Lowered::Alias(0));
            }
            Ok(Compute::new(FromBlocked { geometry: g, last }).into())
        }
        (Format::Plain, Format::ChannelsLast) => Ok(permute(from, &channels_to(from.shape.len(), true))),
        (Format::ChannelsLast, Format::Plain) => Ok(permute(from, &channels_to(from.shape.len(), false))),
        (a, b) => Err(Error::graph(format!("no conversion from {a:?} to {b:?}"))),
    }
}

/// True for conversions that move every element of a row-major tensor into another order.
pub(super) fn is_transpose(from: Format, to: Format) -> bool {
    matches!((from, to), (Format::Plain, Format::ChannelsLast) | (Format::ChannelsLast, Format::Plain))
}

/// Stored axes of the target in terms of the stored axes of the source.
fn channels_to(rank: usize, last: bool) -> Vec<usize> {
    if last {
        std::iter::once(0).chain(2..rank).chain([1]).collect()
    } else {
        [0, rank - 1].into_iter().chain(1..rank - 1).collect()
    }
}

fn permute(from: &Placement, perm: &[usize]) -> Lowered {
    let mut stored = from.shape.clone();
    if from.format == Format::ChannelsLast {
        let c = stored.remove(1);
        stored.push(c);
    }
    let (dtype, perm) = (from.dtype, perm.to_vec());
    Compute::function("transpose", move |io, _| {
        with_dtype!(dtype, T => {
            let x = io.input::<T>(0);
            permuted(x, &stored, &perm, io.output::<T>(0));
        });
    })
    .into()
}

/// Row-major permutation of axes.
fn permuted<T: Copy>(x: &[T], shape: &[usize], perm: &[usize], y: &mut [T]) {
    if x.is_empty() {
        return;
    }
    let mut strides = vec![1; shape.len()];
    for i in (0..shape.len().saturating_sub(1)).rev() {
        strides[i] = strides[i + 1] * shape[i + 1];
    }
    let (extent, stride): (Vec<usize>, Vec<usize>) = perm.iter().map(|&p| (shape[p], strides[p])).unzip();
    let (last, step) = (extent[extent.len() - 1], stride[stride.len() - 1]);
    let mut index = vec![0; extent.len() - 1];
    let mut base = 0;
    for row in y.chunks_exact_mut(last) {
        for (i, v) in row.iter_mut().enumerate() {
            *v = x[base + i * step];
        }
        for a in (0..index.len()).rev() {
            index[a] += 1;
            base += stride[a];
            if index[a] < extent[a] {
                break;
            }
            base -= index[a] * stride[a];
            index[a] = 0;
        }
    }
}

/// Rows of a blocked image: calls `f(n, block, row-major row index, offset of the row's first position)`.
fn rows(g: &Blocked, n: usize, b: usize, mut f: impl FnMut(usize, usize)) {
    let [d, h, _] = g.size;
    for z in 0..d {
        for y in 0..h {
            f(z * h + y, g.offset(n, b, [z, y, 0]));
        }
    }
}

struct ToBlocked {
    geometry: Blocked,
    last: bool,
}

impl Step for ToBlocked {
    fn run(&self, io: &mut Io<'_>, par: &dyn Parallel) {
        let (g, x) = (&self.geometry, io.input::<f32>(0));
        let (blocks, len, positions, width) = (g.blocks(), g.block_len(), g.positions(), g.size[2]);
        // A part is one channel block of one image.
        for_each_part(par, &mut io.output::<f32>(0)[..g.n * blocks * len], len, &|i, out| {
            let (n, b) = (i / blocks, i % blocks);
            g.clear_halo(out);
            let live = BLOCK.min(g.c - b * BLOCK);
            rows(g, n, b, |row, offset| {
                let line = &mut out[offset - i * len..][..width * BLOCK];
                for (p, cell) in line.chunks_exact_mut(BLOCK).enumerate() {
                    let at = row * width + p;
                    for (c, v) in cell.iter_mut().enumerate() {
                        let channel = b * BLOCK + c;
                        let from = if self.last {
                            (n * positions + at) * g.c + channel
                        } else {
                            (n * g.c + channel) * positions + at
                        };
                        *v = if c < live { x[from] } else { 0.0 };
                    }
                }
            });
        });
    }
    fn algorithm(&self) -> String {
        "to blocked".to_string()
    }
}

struct FromBlocked {
    geometry: Blocked,
    last: bool,
}

impl Step for FromBlocked {
    fn run(&self, io: &mut Io<'_>, par: &dyn Parallel) {
        let (g, x) = (&self.geometry, io.input::<f32>(0));
        let (positions, width) = (g.positions(), g.size[2]);
        let y = io.output::<f32>(0);
        if y.is_empty() {
            return;
        }
        let _ = par;
        for n in 0..g.n {
            for b in 0..g.blocks() {
                let live = BLOCK.min(g.c - b * BLOCK);
                rows(g, n, b, |row, offset| {
                    for (p, cell) in x[offset..][..width * BLOCK].chunks_exact(BLOCK).enumerate() {
                        let at = row * width + p;
                        for (c, &v) in cell[..live].iter().enumerate() {
                            let channel = b * BLOCK + c;
                            let to = if self.last {
                                (n * positions + at) * g.c + channel
                            } else {
                                (n * g.c + channel) * positions + at
                            };
                            y[to] = v;
                        }
                    }
                });
            }
        }
    }
    fn algorithm(&self) -> String {
        "from blocked".to_string()
    }
}

/// The elements of a placed value as a plain tensor: what an observer sees.
///
/// # Errors
/// When the bytes do not fit the placement.
pub(super) fn to_tensor(p: &Placement, bytes: &[u8]) -> Result<crate::Tensor> {
    let n = crate::checked_bytes(p.dtype, &p.shape)?;
    match p.format {
        Format::Plain => crate::Tensor::from_bytes(p.dtype, &p.shape, &bytes[..n]),
        Format::ChannelsLast => {
            let mut stored = p.shape.clone();
            let c = stored.remove(1);
            stored.push(c);
            let perm = channels_to(p.shape.len(), false);
            with_dtype!(p.dtype, T => {
                let x = crate::format::map::cast::<T>(&bytes[..n]);
                let mut y = vec![T::default(); x.len()];
                permuted(x, &stored, &perm, &mut y);
                crate::Tensor::new(&p.shape, y)
            })
        }
        Format::Blocked | Format::Flattened { .. } if p.dtype == DType::F32 => {
            let g = p.blocked()?;
            let x = crate::format::map::cast::<f32>(&bytes[..g.len() * 4]);
            let mut y = vec![0.0f32; n / 4];
            for n in 0..g.n {
                for c in 0..g.c {
                    for at in 0..g.positions() {
                        let [_, h, w] = g.size;
                        let position = [at / (h * w), at / w % h, at % w];
                        y[(n * g.c + c) * g.positions() + at] = x[g.offset(n, c / BLOCK, position) + c % BLOCK];
                    }
                }
            }
            crate::Tensor::new(&p.shape, y)
        }
        other => Err(Error::graph(format!("a {} value cannot be {other:?}", p.dtype))),
    }
}
