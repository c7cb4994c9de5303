//! Conversions between formats.

use super::arena::Io;
use super::format::{Format, Placement};
use super::step::{Compute, Lowered};
use crate::ops::elementwise::lower::done;
use crate::ops::operands::by_size;
use crate::{DType, Error, Result};
use pocketnn_kernels::isa::Isa;
use pocketnn_kernels::layout::{BLOCK, Order, pack, unpack};
use pocketnn_kernels::movement::Strided;
use pocketnn_kernels::par::{Parallel, Serial};

/// Turns a value of one format into another.
///
/// # Errors
/// When there is no such conversion.
pub(super) fn convert(isa: Isa, from: &Placement, to: &Placement) -> Result<Lowered> {
    match (from.format, to.format) {
        (a, b) if a == b && from.halo == to.halo => Ok(Lowered::Alias(0)),
        (Format::Plain | Format::ChannelsLast, Format::Blocked) => {
            let (g, order) = (to.blocked()?, order(from.format));
            if from.format == Format::Plain && one_position(to)? && g.c.is_multiple_of(BLOCK) {
                return Ok(Lowered::Alias(0));
            }
            let run = move |io: &mut Io<'_>, par: &dyn Parallel| {
                done(pack(isa, order, io.input(0), &g, io.output(0), par));
            };
            Ok(Compute::function("to blocked", run).into())
        }
        (Format::Blocked | Format::Flattened { .. }, Format::Plain | Format::ChannelsLast) => {
            let (g, order) = (from.blocked()?, order(to.format));
            // Channels lie one after the other already, whatever the order is called.
            if one_position(from)? && (g.c.is_multiple_of(BLOCK) || g.n == 1) {
                return Ok(Lowered::Alias(0));
            }
            let run = move |io: &mut Io<'_>, par: &dyn Parallel| {
                done(unpack(isa, order, io.input(0), &g, io.output(0), par));
            };
            Ok(Compute::function("from blocked", run).into())
        }
        (Format::Plain, Format::ChannelsLast) | (Format::ChannelsLast, Format::Plain) => {
            if moves_nothing(&from.shape) {
                return Ok(Lowered::Alias(0));
            }
            let (dtype, copy) = (from.dtype, permuted(from)?);
            let run = move |io: &mut Io<'_>, par: &dyn Parallel| {
                by_size!(dtype, T => done(copy.apply(io.input::<T>(0), io.output::<T>(0), par)));
            };
            Ok(Compute::function("transpose", run).into())
        }
        (a, b) => Err(Error::graph(format!("no conversion from {a:?} to {b:?}"))),
    }
}

/// True for conversions that move every element of a row-major tensor into another order.
pub(super) fn is_transpose(from: &Placement, to: Format) -> bool {
    matches!((from.format, to), (Format::Plain, Format::ChannelsLast) | (Format::ChannelsLast, Format::Plain))
        && !moves_nothing(&from.shape)
}

/// True for images of one channel or one position, which lie alike in both orders.
fn moves_nothing(shape: &[usize]) -> bool {
    shape[1] == 1 || shape[2..].iter().product::<usize>() == 1
}

fn order(format: Format) -> Order {
    if format == Format::ChannelsLast { Order::Interleaved } else { Order::Planar }
}

/// True for a blocked image of one position without a halo.
fn one_position(p: &Placement) -> Result<bool> {
    let g = p.blocked()?;
    Ok(g.positions() == 1 && !g.has_halo())
}

/// The copy between channels first and channels last: `from` is one of them, the result the other.
fn permuted(from: &Placement) -> Result<Strided> {
    let rank = from.shape.len();
    let mut stored = from.shape.clone();
    let perm: Vec<usize> = if from.format == Format::ChannelsLast {
        let c = stored.remove(1);
        stored.push(c);
        [0, rank - 1].into_iter().chain(1..rank - 1).collect()
    } else {
        std::iter::once(0).chain(2..rank).chain([1]).collect()
    };
    Ok(Strided::transpose(&stored, &perm)?)
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
            let copy = permuted(p)?;
            by_size!(p.dtype, T => {
                let x = crate::format::map::cast::<T>(&bytes[..n]);
                let mut y = vec![T::default(); x.len()];
                copy.apply(x, &mut y, &Serial)?;
                crate::ops::operands::from_raw(p.dtype, &p.shape, y)
            })
        }
        Format::Blocked | Format::Flattened { .. } if p.dtype == DType::F32 => {
            let g = p.blocked()?;
            let x = crate::format::map::cast::<f32>(&bytes[..g.len() * 4]);
            let mut y = vec![0.0f32; n / 4];
            unpack(Isa::detect(), Order::Planar, x, &g, &mut y, &Serial)?;
            crate::Tensor::new(&p.shape, y)
        }
        other => Err(Error::graph(format!("a {} value cannot be {other:?}", p.dtype))),
    }
}
