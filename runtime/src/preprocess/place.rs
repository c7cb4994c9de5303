//! How pictures stand in an input.

use crate::ops::infer::ValueType;
use crate::{Dim, Error, Result};

/// Order of an image input's axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `[N, C, H, W]`
    Nchw,
    /// `[N, H, W, C]`
    Nhwc,
}

/// Size and channels of an input that takes pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Rows; `None` takes any number.
    pub height: Option<usize>,
    /// Columns; `None` takes any number.
    pub width: Option<usize>,
    /// 1, 3 or 4.
    pub channels: usize,
    /// Order of the axes.
    pub layout: Layout,
    rank: usize,
}

impl Place {
    /// The place in an input of shape `[N, C, H, W]`, `[N, H, W, C]`, `[N, H, W]`, or `[N, P]` for squares of P gray pixels; `layout`
    /// decides where a shape could be either of the first two (channels first otherwise).
    ///
    /// # Errors
    /// When the input takes no pictures.
    pub fn of(input: &ValueType, layout: Option<Layout>) -> Result<Self> {
        let known: Vec<Option<usize>> = input.shape.iter().map(Dim::known).collect();
        let fits = |c: Option<usize>| matches!(c, Some(1 | 3 | 4));
        let place = |height, width, channels: Option<usize>, layout| Place {
            height,
            width,
            channels: channels.unwrap_or(1),
            layout,
            rank: known.len(),
        };
        match *known.as_slice() {
            [_, a, b, c] => {
                // A side of 1, 3 or 4 pixels is rarer than so many channels; where both fit the first wins.
                let found = match (fits(a), fits(c)) {
                    (true, _) => Some(Layout::Nchw),
                    (false, true) => Some(Layout::Nhwc),
                    (false, false) => None,
                };
                match layout.or(found) {
                    Some(Layout::Nchw) if fits(a) => Ok(place(b, c, a, Layout::Nchw)),
                    Some(Layout::Nhwc) if fits(c) => Ok(place(a, b, c, Layout::Nhwc)),
                    _ => Err(none(input)),
                }
            }
            [_, h, w] => Ok(place(h, w, None, Layout::Nchw)),
            [_, Some(pixels)] if pixels.isqrt().pow(2) == pixels && pixels > 0 => {
                let side = Some(pixels.isqrt());
                Ok(place(side, side, None, Layout::Nchw))
            }
            _ => Err(none(input)),
        }
    }
    /// Shape of one picture of this size as a batch of one.
    pub fn shape(&self, height: usize, width: usize) -> Vec<usize> {
        match (self.rank, self.layout) {
            (4, Layout::Nchw) => vec![1, self.channels, height, width],
            (4, Layout::Nhwc) => vec![1, height, width, self.channels],
            (3, _) => vec![1, height, width],
            _ => vec![1, height * width],
        }
    }
}

fn none(input: &ValueType) -> Error {
    Error::argument(format!(
        "an input of shape {} takes no pictures; pictures fit [N, C, H, W], [N, H, W, C] with 1, 3 or 4 channels, [N, H, W] and square [N, P]",
        crate::dim::show_shape(&input.shape)
    ))
}
