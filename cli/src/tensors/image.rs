//! Pictures as inputs of a model.
//!
//! A picture is scaled to the input's size (Triangle filter) and made gray, or colour, by the input's channels. Each value of a pixel,
//! 0 to 255, becomes `(value * scale - mean) / std`. Without other word the scale is 1/255 for float inputs and 1 for integer ones, mean 0
//! and std 1. The model's `meta["preprocessing"]` changes that, and the command line changes both:
//!
//! ```text
//! {"scale": 0.00392, "mean": [0.48, 0.46, 0.41], "std": [0.23, 0.22, 0.23], "channels": "rgb" | "bgr", "invert": false}
//! ```

use super::Wanted;
use crate::failure::Failure;
use image::imageops::FilterType;
use image::{DynamicImage, ImageReader, Limits};
use pocketnn::{DType, Dim, Tensor};
use serde_json::Value;
use std::io::Cursor;

/// Most pixels along a side of a picture that is read.
const MAX_SIDE: u32 = 32_768;
/// Most memory that decoding a picture may take, in bytes.
const MAX_MEMORY: u64 = 1 << 30;

/// Order of an image input's axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Layout {
    /// `[N, C, H, W]`
    Nchw,
    /// `[N, H, W, C]`
    Nhwc,
}

/// What the command line says about pictures.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// What the model says about pictures.
    pub model: Preparation,
    /// What the command line says, which goes before.
    pub asked: Preparation,
    /// Order of the axes, where the shape does not tell.
    pub layout: Option<Layout>,
}

/// From a pixel to a number; absent parts have a default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Preparation {
    /// Factor of the pixel's value.
    pub scale: Option<f32>,
    /// Subtracted, one for all channels or one each.
    pub mean: Vec<f32>,
    /// Divided by, one for all channels or one each.
    pub std: Vec<f32>,
    /// Blue first.
    pub bgr: Option<bool>,
    /// 255 minus the pixel's value.
    pub invert: Option<bool>,
}

impl Preparation {
    /// What a model's metadata says.
    ///
    /// # Errors
    /// When it is not of the form above.
    pub fn from_json(v: &Value) -> Result<Self, Failure> {
        let bad = |key: &str| Failure::failed(format!("the model's preprocessing: `{key}` cannot be understood"));
        let numbers = |key: &str| -> Result<Vec<f32>, Failure> {
            match v.get(key) {
                None | Some(Value::Null) => Ok(Vec::new()),
                Some(Value::Array(a)) => {
                    a.iter().map(|x| x.as_f64().map(|x| x as f32).ok_or_else(|| bad(key))).collect()
                }
                Some(x) => Ok(vec![x.as_f64().ok_or_else(|| bad(key))? as f32]),
            }
        };
        let bgr = match v.get("channels").map(|c| c.as_str()) {
            None => None,
            Some(Some("rgb" | "gray")) => Some(false),
            Some(Some("bgr")) => Some(true),
            Some(_) => return Err(bad("channels")),
        };
        let invert = match v.get("invert") {
            None | Some(Value::Null) => None,
            Some(x) => Some(x.as_bool().ok_or_else(|| bad("invert"))?),
        };
        Ok(Self {
            scale: numbers("scale")?.first().copied(),
            mean: numbers("mean")?,
            std: numbers("std")?,
            bgr,
            invert,
        })
    }
    /// These values where there are some, else those of `other`.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        let list = |a: &[f32], b: &[f32]| if a.is_empty() { b.to_vec() } else { a.to_vec() };
        Self {
            scale: self.scale.or(other.scale),
            mean: list(&self.mean, &other.mean),
            std: list(&self.std, &other.std),
            bgr: self.bgr.or(other.bgr),
            invert: self.invert.or(other.invert),
        }
    }
    /// One number for each channel.
    fn per_channel(values: &[f32], channels: usize, default: f32, what: &str) -> Result<Vec<f32>, Failure> {
        match values {
            [] => Ok(vec![default; channels]),
            [one] => Ok(vec![*one; channels]),
            many if many.len() == channels => Ok(many.to_vec()),
            many => Err(Failure::usage(format!("expected 1 or {channels} values of {what}, found {}", many.len()))),
        }
    }
}

/// True for the first bytes of PNG, JPEG and BMP files.
pub(super) fn is_picture(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x89PNG\r\n\x1a\n")
        || bytes.starts_with(b"\xff\xd8\xff")
        || (bytes.starts_with(b"BM") && bytes.len() > 54)
}

/// Size and channels of a picture input, and the index of each axis in the shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    height: Option<usize>,
    width: Option<usize>,
    channels: usize,
    layout: Layout,
    rank: usize,
}

/// How pictures stand in an input: `[N, C, H, W]`, `[N, H, W, C]`, `[N, H, W]`, or `[N, P]` for squares of P gray pixels.
///
/// # Errors
/// When the input takes no pictures.
pub fn place(wanted: &Wanted<'_>, layout: Option<Layout>) -> Result<Place, Failure> {
    let known: Vec<Option<usize>> = wanted.shape.iter().map(Dim::known).collect();
    let fits = |c: Option<usize>| matches!(c, Some(1 | 3 | 4));
    match *known.as_slice() {
        [_, a, b, c] => {
            let layout = layout.or(match (fits(a), fits(c)) {
                // A side of 1, 3 or 4 pixels is rarer than so many channels; where both fit the first wins.
                (true, _) => Some(Layout::Nchw),
                (false, true) => Some(Layout::Nhwc),
                (false, false) => None,
            });
            match layout {
                Some(Layout::Nchw) if fits(a) => {
                    Ok(Place { height: b, width: c, channels: a.unwrap_or(1), layout: Layout::Nchw, rank: 4 })
                }
                Some(Layout::Nhwc) if fits(c) => {
                    Ok(Place { height: a, width: b, channels: c.unwrap_or(1), layout: Layout::Nhwc, rank: 4 })
                }
                _ => Err(none(wanted)),
            }
        }
        [_, h, w] => Ok(Place { height: h, width: w, channels: 1, layout: Layout::Nchw, rank: 3 }),
        [_, Some(pixels)] if pixels.isqrt().pow(2) == pixels && pixels > 0 => {
            let side = Some(pixels.isqrt());
            Ok(Place { height: side, width: side, channels: 1, layout: Layout::Nchw, rank: 2 })
        }
        _ => Err(none(wanted)),
    }
}

fn none(wanted: &Wanted<'_>) -> Failure {
    let shape = pocketnn::dim::show_shape(wanted.shape);
    Failure::usage(format!("input `{}` of shape {shape} takes no pictures", wanted.name)).help(
        "pictures fit [N, C, H, W], [N, H, W, C], [N, H, W] and square [N, P]; --layout decides between the first two",
    )
}

/// The bytes of a PNG, JPEG or BMP file as one element of a batch.
///
/// # Errors
/// When they cannot be decoded, or the input takes no pictures.
pub fn picture(bytes: &[u8], wanted: &Wanted<'_>, look: &Look) -> Result<Tensor, Failure> {
    let place = place(wanted, look.layout)?;
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|e| Failure::failed(format!("not a readable picture: {e}")))?;
    let mut limits = Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(MAX_SIDE), Some(MAX_SIDE));
    limits.max_alloc = Some(MAX_MEMORY);
    reader.limits(limits);
    let decoded = reader.decode().map_err(|e| Failure::failed(format!("not a readable picture: {e}")))?;
    let (pixels, h, w) = pixels(&decoded, place);
    let p = look.asked.or(&look.model);
    let full = if wanted.dtype.is_float() { 255.0 } else { 1.0 };
    let values = prepared(&pixels, place.channels, &p, full)?;
    let shape = match (place.rank, place.layout) {
        (4, Layout::Nchw) => vec![1, place.channels, h, w],
        (4, Layout::Nhwc) => vec![1, h, w, place.channels],
        (3, _) => vec![1, h, w],
        _ => vec![1, h * w],
    };
    let values = if place.layout == Layout::Nchw { planar(&values, place.channels) } else { values };
    let t = Tensor::new(&shape, values)?;
    if wanted.dtype.is_float() { super::convert(&t, wanted.dtype) } else { rounded(&t, wanted.dtype) }
}

/// Interleaved 8-bit pixels in the input's size.
fn pixels(picture: &DynamicImage, place: Place) -> (Vec<u8>, usize, usize) {
    let w = place.width.unwrap_or(picture.width() as usize);
    let h = place.height.unwrap_or(picture.height() as usize);
    let same = (picture.width() as usize, picture.height() as usize) == (w, h);
    let scaled =
        |p: &DynamicImage| if same { p.clone() } else { p.resize_exact(w as u32, h as u32, FilterType::Triangle) };
    let bytes = match place.channels {
        1 => scaled(picture).to_luma8().into_raw(),
        3 => scaled(picture).to_rgb8().into_raw(),
        _ => scaled(picture).to_rgba8().into_raw(),
    };
    (bytes, h, w)
}

/// Without a scale the largest value of a pixel becomes `255 / full`.
fn prepared(pixels: &[u8], channels: usize, p: &Preparation, full: f32) -> Result<Vec<f32>, Failure> {
    let mean = Preparation::per_channel(&p.mean, channels, 0.0, "mean")?;
    let std = Preparation::per_channel(&p.std, channels, 1.0, "std")?;
    let scaled = |v: f32| p.scale.map_or(v / full, |s| v * s);
    let (invert, bgr) = (p.invert.unwrap_or(false), p.bgr.unwrap_or(false) && channels >= 3);
    let mut out = Vec::with_capacity(pixels.len());
    for pixel in pixels.chunks_exact(channels) {
        for c in 0..channels {
            let v = pixel[if bgr && c < 3 { 2 - c } else { c }];
            let v = f32::from(if invert { 255 - v } else { v });
            out.push((scaled(v) - mean[c]) / std[c]);
        }
    }
    Ok(out)
}

fn planar(values: &[f32], channels: usize) -> Vec<f32> {
    (0..channels).flat_map(|c| values.iter().skip(c).step_by(channels).copied()).collect()
}

fn rounded(t: &Tensor, to: DType) -> Result<Tensor, Failure> {
    let whole: Vec<i64> = t.to_f32().into_iter().map(|x| x.round() as i64).collect();
    super::convert(&Tensor::new(t.shape(), whole)?, to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(width: u32, height: u32, pixels: &[[u8; 3]]) -> Vec<u8> {
        let raw: Vec<u8> = pixels.concat();
        let picture = image::RgbImage::from_raw(width, height, raw).unwrap();
        let mut out = Cursor::new(Vec::new());
        picture.write_to(&mut out, image::ImageFormat::Png).unwrap();
        out.into_inner()
    }

    fn dims(shape: &[usize]) -> Vec<Dim> {
        shape.iter().map(|&d| Dim::from(d)).collect()
    }

    #[test]
    fn colours_go_where_the_layout_says() {
        let bytes = png(2, 1, &[[255, 0, 51], [0, 102, 255]]);
        assert!(is_picture(&bytes));
        let read = |shape: &[usize], look: &Look| {
            let shape = dims(shape);
            picture(&bytes, &Wanted { name: "x", dtype: DType::F32, shape: &shape }, look).unwrap()
        };
        let look = Look::default();
        assert_eq!(read(&[1, 3, 1, 2], &look).to_f32(), [1.0, 0.0, 0.0, 0.4, 0.2, 1.0]);
        assert_eq!(
            read(&[1, 1, 2, 3], &Look { layout: Some(Layout::Nhwc), ..look.clone() }).to_f32(),
            [1.0, 0.0, 0.2, 0.0, 0.4, 1.0]
        );
        let asked = Preparation { scale: Some(1.0), mean: vec![1.0], std: vec![2.0], bgr: Some(true), invert: None };
        let model = Preparation { scale: Some(9.0), invert: Some(true), ..Preparation::default() };
        let swapped = read(&[1, 3, 1, 2], &Look { model, asked, layout: None }).to_f32();
        assert_eq!(swapped, [101.5, -0.5, 127.0, 76.0, -0.5, 127.0]);
        let shape = dims(&[1, 4, 4, 1]);
        let gray = picture(
            &bytes,
            &Wanted { name: "x", dtype: DType::U8, shape: &shape },
            &Look { layout: Some(Layout::Nhwc), ..look },
        );
        assert_eq!(gray.unwrap().shape(), [1, 4, 4, 1]);
    }

    #[test]
    fn inputs_that_are_no_pictures_say_so() {
        for shape in [&[1, 7][..], &[1], &[1, 8, 8, 8], &[1, 2, 3, 4, 5]] {
            let shape = dims(shape);
            let e = place(&Wanted { name: "x", dtype: DType::F32, shape: &shape }, None).unwrap_err();
            assert!(e.message.contains("takes no pictures"), "{}", e.message);
        }
    }

    #[test]
    fn metadata_is_read_and_refused() {
        let json = serde_json::json!({ "scale": 2, "mean": 3, "std": [1, 2, 3], "channels": "bgr", "invert": true });
        let p = Preparation::from_json(&json).unwrap();
        assert_eq!(
            (p.scale, p.mean, p.std, p.bgr, p.invert),
            (Some(2.0), vec![3.0], vec![1.0, 2.0, 3.0], Some(true), Some(true))
        );
        for bad in [
            serde_json::json!({ "scale": "x" }),
            serde_json::json!({ "channels": "cmyk" }),
            serde_json::json!({ "invert": 1 }),
        ] {
            assert!(Preparation::from_json(&bad).is_err());
        }
    }
}
