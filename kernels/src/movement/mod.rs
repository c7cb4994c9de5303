//! Elements moved, repeated or left in place: no arithmetic.
//!
//! [`Strided`] copies regions of row-major tensors, [`Images`] regions of blocked ones; [`Select`] chooses by tables,
//! [`Pick`] channels of blocked images.

mod images;
mod pick;
mod select;
mod strided;

pub use images::{Corner, Images};
pub use pick::{MOST, Pick};
pub use select::Select;
pub use strided::{Axis, Strided};

/// What stands in the padding.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Padding {
    /// A constant.
    Constant,
    /// The nearest element.
    Edge,
    /// Mirrored without repeating the border; again and again where the padding is longer than the axis.
    Reflect,
    /// Mirrored with the border repeated.
    Symmetric,
    /// Repeated from the other side.
    Wrap,
}

impl Padding {
    /// The element of an axis of `extent` elements that stands at position `at`, which may lie outside; `None` for the constant.
    pub fn source(self, at: isize, extent: usize) -> Option<usize> {
        let n = extent as isize;
        if (0..n).contains(&at) {
            return Some(at as usize);
        }
        if n == 0 {
            return None;
        }
        let mirror = |period: isize, last: isize| {
            let p = at.rem_euclid(period.max(1));
            if p < n { p } else { last - p }
        };
        let source = match self {
            Padding::Constant => return None,
            Padding::Edge => at.clamp(0, n - 1),
            Padding::Reflect => mirror(2 * (n - 1), 2 * (n - 1)),
            Padding::Symmetric => mirror(2 * n, 2 * n - 1),
            Padding::Wrap => at.rem_euclid(n),
        };
        Some(source as usize)
    }
}

/// Order of channels when blocks of pixels become channels or the other way round.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum DepthOrder {
    /// channel = `(by * block + bx) * C + c`
    Dcr,
    /// channel = `c * block^2 + by * block + bx`
    Crd,
}

impl DepthOrder {
    /// The channel of a deep tensor that holds pixel `[y, x]` of the blocks of channel `c` of `channels`.
    pub fn deep(self, c: usize, channels: usize, y: usize, x: usize, block: usize) -> usize {
        match self {
            DepthOrder::Dcr => (y * block + x) * channels + c,
            DepthOrder::Crd => (c * block + y) * block + x,
        }
    }
}
