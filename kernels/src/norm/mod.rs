//! Normalisations: layer and root mean square, group and instance, batch, local response, by a norm.
//!
//! Means and variances are taken in two passes over the elements. A missing scale is 1, a missing bias 0.

mod affine;
mod group;
mod rows;
mod window;

pub use affine::Affine;
pub use group::Group;
pub use rows::{Divide, Layer};
pub use window::LocalResponse;

use crate::layout::{BLOCK, Blocked};

const FILTER: &str = "norm";

/// Elements that make a parallel chunk worth its hand-over.
const CHUNK: usize = 8 * 1024;

/// How the images lie in memory.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Images {
    /// `[N, C, positions]`.
    Plain([usize; 3]),
    /// Channel blocks.
    Blocked(Blocked),
}

impl Images {
    fn channels(&self) -> usize {
        match self {
            Self::Plain([_, c, _]) => *c,
            Self::Blocked(g) => g.c,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Plain(shape) => shape.iter().product(),
            Self::Blocked(g) => g.len(),
        }
    }

    /// Elements of the pieces that share a factor (of a channel or a block, or all channels of an image of one position), and how
    /// many there are in an image.
    fn unit(&self) -> (usize, usize) {
        match self {
            Self::Plain([_, c, 1]) => (*c, 1),
            Self::Plain([_, c, positions]) => (*positions, *c),
            Self::Blocked(g) => (g.block_len(), g.blocks()),
        }
    }
}

/// Where the rows of positions of one channel block lie, halo left out.
#[inline(always)]
fn rows(g: &Blocked) -> impl Iterator<Item = std::ops::Range<usize>> + use<> {
    let g = *g;
    (0..g.size[0] * g.size[1]).map(move |i| {
        let at = g.offset(0, 0, [i / g.size[1], i % g.size[1], 0]);
        at..at + g.size[2] * BLOCK
    })
}
