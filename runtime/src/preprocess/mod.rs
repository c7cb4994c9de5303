//! From a picture to a model's input: size, channels, and the numbers the network was trained on.
//!
//! ```text
//! u8 [H, W, C] -> channels of the input -> crop or border -> resample -> (value * scale - mean) / std -> the input's layout
//! ```
//!
//! A model carries its preprocessing as `meta["preprocessing"]` ([`Preprocessing::of`]); every field may be absent:
//!
//! ```text
//! {"scale": 0.00392, "mean": [0.48, 0.46, 0.41], "std": [0.23, 0.22, 0.23],      default: v / 255 for float inputs, v for integers
//!  "channels": "rgb" | "bgr" | "gray", "invert": false,
//!  "resize": "nearest" | "bilinear" | "bicubic", "antialias": false,             default: bilinear
//!  "fit": "stretch" | "crop" | "letterbox" | "center", "fill": 0, "shorter": 256, "source": "..."}
//! ```
//!
//! The resampling is that of `keras.layers.Resizing` and `tf.image.resize` (half-pixel centres), computed in `f32`; `crop` and
//! `letterbox` are its `crop_to_aspect_ratio` and `pad_to_aspect_ratio`; `center` is torchvision's `Resize(shorter)` and `CenterCrop`.
//! Colours become gray as Pillow's `L`: `(19595 R + 38470 G + 7471 B + 32768) >> 16`.
//!
//! ```no_run
//! use pocketnn::{Image, Model, Options};
//! # let (rgb, width, height): (Vec<u8>, usize, usize) = (vec![], 0, 0);
//! let model = Model::open("flowers.pnn")?;
//! let mut session = model.session(&Options::default())?;
//! let outputs = session.run_image(&Image::new(&rgb, width, height, 3)?)?;
//! # Ok::<(), pocketnn::Error>(())
//! ```

mod json;
mod place;
mod resample;

pub use place::{Layout, Place};
pub use resample::Filter;

use crate::ops::infer::ValueType;
use crate::{DType, Error, Graph, Result, Tensor};
use resample::Pixels;

/// An 8-bit picture: rows from top to bottom, pixels from left to right, channels of a pixel together.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    data: &'a [u8],
    width: usize,
    height: usize,
    channels: usize,
}

impl<'a> Image<'a> {
    /// A picture of `height * width * channels` bytes: 1 channel (gray), 3 (red, green, blue) or 4 (with alpha, which is dropped where
    /// the model wants 3).
    ///
    /// # Errors
    /// When the number of bytes or channels does not fit.
    pub fn new(data: &'a [u8], width: usize, height: usize, channels: usize) -> Result<Self> {
        let expected = width.checked_mul(height).and_then(|n| n.checked_mul(channels));
        if !matches!(channels, 1 | 3 | 4) || expected != Some(data.len()) || data.is_empty() {
            return Err(Error::argument(format!(
                "a picture of {width} x {height} with {channels} channels: expected 1, 3 or 4 channels and {} bytes, found {}",
                expected.map_or("too many".to_string(), |n| n.to_string()),
                data.len()
            )));
        }
        Ok(Self { data, width, height, channels })
    }
    /// Pixels along x.
    pub fn width(&self) -> usize {
        self.width
    }
    /// Pixels along y.
    pub fn height(&self) -> usize {
        self.height
    }
    /// The pixels with another number of channels.
    fn with_channels(&self, channels: usize) -> Vec<u8> {
        if channels == self.channels {
            return self.data.to_vec();
        }
        let mut out = Vec::with_capacity(self.width * self.height * channels);
        for p in self.data.chunks_exact(self.channels) {
            let rgb = if self.channels == 1 { [p[0]; 3] } else { [p[0], p[1], p[2]] };
            match channels {
                1 => out.push(luma(rgb)),
                3 => out.extend(rgb),
                _ => out.extend([rgb[0], rgb[1], rgb[2], 255]),
            }
        }
        out
    }
}

/// ITU-R 601-2 in 16-bit fixed point.
fn luma([r, g, b]: [u8; 3]) -> u8 {
    ((19_595 * u32::from(r) + 38_470 * u32::from(g) + 7_471 * u32::from(b) + 32_768) >> 16) as u8
}

/// How a picture of other proportions than the input fits.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Fit {
    /// Both axes are resized on their own.
    #[default]
    Stretch,
    /// The largest part in the middle with the input's proportions is resized.
    Crop,
    /// Borders of a pixel value are added on both sides until the proportions fit.
    Letterbox {
        /// Value of the border, 0 to 255.
        fill: f32,
    },
    /// The shorter side is resized to this number of pixels, then the input's size is cut from the middle.
    Center {
        /// Pixels; 0 means the input's shorter side.
        shorter: usize,
    },
}

/// From pixels to a model's input; see the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Preprocessing {
    /// Factor of a pixel's value; `None` divides by 255 for float inputs and leaves integers.
    pub scale: Option<f32>,
    /// Subtracted after scaling: none, one for all channels, or one each.
    pub mean: Vec<f32>,
    /// Divided by: none, one for all channels, or one each.
    pub std: Vec<f32>,
    /// Blue first.
    pub bgr: Option<bool>,
    /// 255 minus the pixel's value.
    pub invert: Option<bool>,
    /// How pixels are resampled.
    pub filter: Option<Filter>,
    /// Widens the filter where the picture becomes smaller.
    pub antialias: Option<bool>,
    /// How other proportions fit.
    pub fit: Option<Fit>,
    /// Where these settings come from, for people.
    pub source: Option<String>,
}

impl Preprocessing {
    /// What a model says about pictures; everything default where it says nothing.
    ///
    /// # Errors
    /// `Format` when its metadata cannot be understood.
    pub fn of(graph: &Graph) -> Result<Self> {
        graph.meta.get("preprocessing").map_or(Ok(Self::default()), Self::from_json)
    }

    /// These settings where there are some, else those of `other`.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        let list = |a: &[f32], b: &[f32]| if a.is_empty() { b.to_vec() } else { a.to_vec() };
        Self {
            scale: self.scale.or(other.scale),
            mean: list(&self.mean, &other.mean),
            std: list(&self.std, &other.std),
            bgr: self.bgr.or(other.bgr),
            invert: self.invert.or(other.invert),
            filter: self.filter.or(other.filter),
            antialias: self.antialias.or(other.antialias),
            fit: self.fit.or(other.fit),
            source: self.source.clone().or_else(|| other.source.clone()),
        }
    }

    /// A picture as one element of a batch of an input of this type: `[1, C, H, W]`, `[1, H, W, C]`, `[1, H, W]` or `[1, H * W]`.
    /// Symbolic extents of the input take those of the picture.
    ///
    /// # Errors
    /// When the input takes no pictures, or a list of numbers does not fit its channels.
    pub fn apply(&self, image: &Image<'_>, input: &ValueType, layout: Option<Layout>) -> Result<Tensor> {
        let place = Place::of(input, layout)?;
        let (h, w) = (place.height.unwrap_or(image.height), place.width.unwrap_or(image.width));
        let pixels = Pixels::new(image.with_channels(place.channels), image.height, image.width, place.channels);
        let filter = self.filter.unwrap_or_default();
        let antialias = self.antialias.unwrap_or(false);
        let sized = resample::fitted(&pixels, h, w, self.fit.unwrap_or_default(), filter, antialias)?;
        let mut values = self.normalized(sized, place.channels, input.dtype)?;
        if place.layout == Layout::Nchw && place.channels > 1 {
            let c = place.channels;
            values = (0..c).flat_map(|i| values.iter().skip(i).step_by(c).copied()).collect();
        }
        let t = Tensor::new(&place.shape(h, w), values)?;
        if input.dtype == DType::F32 { Ok(t) } else { in_type(&t, input.dtype) }
    }

    /// `(value * scale - mean) / std` of interleaved pixels.
    fn normalized(&self, mut values: Vec<f32>, channels: usize, dtype: DType) -> Result<Vec<f32>> {
        let mean = per_channel(&self.mean, channels, 0.0, "mean")?;
        let std = per_channel(&self.std, channels, 1.0, "std")?;
        let full = if dtype.is_float() { 255.0 } else { 1.0 };
        let (invert, swap) = (self.invert.unwrap_or(false), self.bgr.unwrap_or(false) && channels >= 3);
        for pixel in values.chunks_exact_mut(channels) {
            if swap {
                pixel.swap(0, 2);
            }
            for ((v, mean), std) in pixel.iter_mut().zip(&mean).zip(&std) {
                let x = if invert { 255.0 - *v } else { *v };
                *v = (self.scale.map_or(x / full, |s| x * s) - mean) / std;
            }
        }
        Ok(values)
    }
}

/// One number for each channel.
fn per_channel(values: &[f32], channels: usize, default: f32, what: &str) -> Result<Vec<f32>> {
    match values {
        [] => Ok(vec![default; channels]),
        [one] => Ok(vec![*one; channels]),
        many if many.len() == channels => Ok(many.to_vec()),
        many => Err(Error::argument(format!("expected 1 or {channels} values of {what}, found {}", many.len()))),
    }
}

/// Rounded for integers, within their range.
fn in_type(t: &Tensor, to: DType) -> Result<Tensor> {
    if to.is_float() {
        return crate::ops::elementwise::cast(t, to);
    }
    let (low, high) = match to {
        DType::U8 => (0, 255),
        DType::I8 => (-128, 127),
        DType::U16 | DType::U32 | DType::U64 => (0, i64::from(u16::MAX)),
        _ => (i64::from(i16::MIN), i64::from(i16::MAX)),
    };
    let whole: Vec<i64> = t.to_f32().into_iter().map(|x| (x.round() as i64).clamp(low, high)).collect();
    crate::ops::elementwise::cast(&Tensor::new(t.shape(), whole)?, to)
}

#[cfg(test)]
mod tests;
