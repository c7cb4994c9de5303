//! Pictures as inputs of a model: decoding here, everything else is [`pocketnn::Preprocessing`], which an app uses too.

use super::Wanted;
use crate::failure::Failure;
use image::{DynamicImage, ImageReader, Limits};
use pocketnn::Tensor;
use pocketnn::ops::infer::ValueType;
use pocketnn::preprocess::{self, Image, Place, Preprocessing};
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

impl Layout {
    /// The runtime's word for it.
    pub fn runtime(self) -> preprocess::Layout {
        match self {
            Self::Nchw => preprocess::Layout::Nchw,
            Self::Nhwc => preprocess::Layout::Nhwc,
        }
    }
}

/// How pictures become inputs.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// What the command line and the model say.
    pub how: Preprocessing,
    /// Order of the axes, where the shape does not tell.
    pub layout: Option<preprocess::Layout>,
}

/// True for the first bytes of PNG, JPEG and BMP files.
pub fn is_picture(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x89PNG\r\n\x1a\n")
        || bytes.starts_with(b"\xff\xd8\xff")
        || (bytes.starts_with(b"BM") && bytes.len() > 54)
}

/// The bytes of a PNG, JPEG or BMP file as one element of a batch.
///
/// # Errors
/// When they cannot be decoded, or the input takes no pictures.
pub fn picture(bytes: &[u8], wanted: &Wanted<'_>, look: &Look) -> Result<Tensor, Failure> {
    let input = ValueType { dtype: wanted.dtype, shape: wanted.shape.to_vec() };
    let named = |e: pocketnn::Error| {
        let help = "--layout decides between [N, C, H, W] and [N, H, W, C]";
        Failure::usage(format!("input `{}`: {}", wanted.name, e.message())).help(help)
    };
    Place::of(&input, look.layout).map_err(named)?;
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|e| Failure::failed(format!("not a readable picture: {e}")))?;
    let mut limits = Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(MAX_SIDE), Some(MAX_SIDE));
    limits.max_alloc = Some(MAX_MEMORY);
    reader.limits(limits);
    let decoded = reader.decode().map_err(|e| Failure::failed(format!("not a readable picture: {e}")))?;
    let (width, height) = (decoded.width() as usize, decoded.height() as usize);
    let (pixels, channels) = pixels(decoded);
    look.how.apply(&Image::new(&pixels, width, height, channels)?, &input, look.layout).map_err(named)
}

/// 8-bit pixels and their channels: gray, colour, or colour with alpha.
fn pixels(picture: DynamicImage) -> (Vec<u8>, usize) {
    let color = picture.color();
    match (color.has_color(), color.has_alpha()) {
        (false, false) => (picture.into_luma8().into_raw(), 1),
        (_, true) => (picture.into_rgba8().into_raw(), 4),
        (true, false) => (picture.into_rgb8().into_raw(), 3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pocketnn::{DType, Dim};

    fn png(width: u32, height: u32, pixels: &[[u8; 3]]) -> Vec<u8> {
        let raw: Vec<u8> = pixels.concat();
        let picture = image::RgbImage::from_raw(width, height, raw).unwrap();
        let mut out = Cursor::new(Vec::new());
        picture.write_to(&mut out, image::ImageFormat::Png).unwrap();
        out.into_inner()
    }

    #[test]
    fn colours_go_where_the_layout_says() {
        let bytes = png(2, 1, &[[255, 0, 51], [0, 102, 255]]);
        assert!(is_picture(&bytes));
        let read = |shape: [usize; 4], look: &Look| {
            let shape = shape.map(Dim::from);
            picture(&bytes, &Wanted { name: "x", dtype: DType::F32, shape: &shape }, look).unwrap()
        };
        let look = Look::default();
        assert_eq!(read([1, 3, 1, 2], &look).to_f32(), [1.0, 0.0, 0.0, 0.4, 0.2, 1.0]);
        let last = Look { layout: Some(Layout::Nhwc.runtime()), ..look };
        assert_eq!(read([1, 1, 2, 3], &last).to_f32(), [1.0, 0.0, 0.2, 0.0, 0.4, 1.0]);
        let shape = [1, 4, 4, 1].map(Dim::from);
        let gray = picture(&bytes, &Wanted { name: "x", dtype: DType::U8, shape: &shape }, &last);
        assert_eq!(gray.unwrap().shape(), [1, 4, 4, 1]);
    }

    #[test]
    fn gray_pictures_stay_gray_and_deep_ones_become_eight_bits() {
        let deep = image::ImageBuffer::<image::Luma<u16>, _>::from_raw(1, 1, vec![0x8000u16]).unwrap();
        assert_eq!(pixels(DynamicImage::ImageLuma16(deep)), (vec![128], 1));
        let alpha = image::RgbaImage::from_raw(1, 1, vec![1, 2, 3, 4]).unwrap();
        assert_eq!(pixels(DynamicImage::ImageRgba8(alpha)), (vec![1, 2, 3, 4], 4));
    }

    #[test]
    fn inputs_that_are_no_pictures_say_so() {
        let bytes = png(1, 1, &[[0; 3]]);
        let shape = [1, 7].map(Dim::from);
        let e = picture(&bytes, &Wanted { name: "x", dtype: DType::F32, shape: &shape }, &Look::default()).unwrap_err();
        assert!(e.message.contains("input `x`") && e.message.contains("takes no pictures"), "{}", e.message);
    }
}
