//! Cropping and resampling, as `tf.image.resize` does it with half-pixel centres, in `f32`.

use super::Fit;
use crate::{Error, Result};

/// How a pixel between pixels is computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Filter {
    /// The nearest pixel: `floor((i + 0.5) n / size)`.
    Nearest,
    /// Linear between the two nearest along each axis.
    #[default]
    Bilinear,
    /// Keys' cubic with -0.5 over the four nearest along each axis, renormalised at the border.
    Bicubic,
}

/// Interleaved values of `height * width * channels` elements.
#[derive(Clone, Debug)]
pub(super) struct Pixels<T> {
    data: Vec<T>,
    height: usize,
    width: usize,
    channels: usize,
}

/// Largest extent of a picture in between.
const MAX_SIDE: usize = 1 << 16;

impl<T: Copy> Pixels<T> {
    pub fn new(data: Vec<T>, height: usize, width: usize, channels: usize) -> Self {
        Self { data, height, width, channels }
    }
    /// A part of it.
    fn part(&self, top: usize, left: usize, height: usize, width: usize) -> Self {
        if (top, left, height, width) == (0, 0, self.height, self.width) {
            return self.clone();
        }
        let c = self.channels;
        let rows = self.data.chunks_exact(self.width * c).skip(top).take(height);
        let data = rows.flat_map(|r| r[left * c..(left + width) * c].iter().copied()).collect();
        Self::new(data, height, width, c)
    }
}

impl Pixels<u8> {
    fn floats(&self) -> Pixels<f32> {
        Pixels::new(self.data.iter().map(|&v| f32::from(v)).collect(), self.height, self.width, self.channels)
    }
}

/// The picture in `height x width`, interleaved.
pub(super) fn fitted(
    x: &Pixels<u8>,
    height: usize,
    width: usize,
    fit: Fit,
    filter: Filter,
    antialias: bool,
) -> Result<Vec<f32>> {
    if height == 0 || width == 0 || height.max(width) > MAX_SIDE {
        return Err(Error::argument(format!("a picture cannot become {height} x {width} pixels")));
    }
    let x = x.floats();
    let resize = |x: &Pixels<f32>, h: usize, w: usize| resized(x, h, w, filter, antialias);
    let (h, w) = (x.height, x.width);
    Ok(match fit {
        Fit::Stretch => resize(&x, height, width),
        Fit::Crop => {
            let part = |a: usize, ta: usize, tb: usize, b: usize| (b * ta / tb).min(a).max(1);
            let (ch, cw) = (part(h, height, width, w), part(w, width, height, h));
            resize(&x.part((h - ch) / 2, (w - cw) / 2, ch, cw), height, width)
        }
        Fit::Letterbox { fill } => {
            let grown = |a: usize, ta: usize, tb: usize, b: usize| (b * ta / tb).max(a);
            let (ph, pw) = (grown(h, height, width, w), grown(w, width, height, h));
            if ph.max(pw) > MAX_SIDE {
                return Err(Error::argument(format!(
                    "a picture of {h} x {w} pixels is too narrow to fit {height} x {width}"
                )));
            }
            // Both sides get the same border, so that an odd pixel is dropped, as in Keras.
            resize(&bordered(&x, (ph - h) / 2, (pw - w) / 2, fill), height, width)
        }
        Fit::Center { shorter } => {
            let shorter = if shorter == 0 { height.min(width) } else { shorter };
            let other = |long: usize, short: usize| shorter * long / short;
            let (nh, nw) = if h <= w { (shorter, other(w, h)) } else { (other(h, w), shorter) };
            if nh < height || nw < width || nh.max(nw) > MAX_SIDE {
                let message = format!(
                    "`shorter` {shorter} makes a picture of {h} x {w} pixels {nh} x {nw}, the input has {height} x {width}"
                );
                return Err(Error::argument(message));
            }
            let y = Pixels::new(resize(&x, nh, nw), nh, nw, x.channels);
            let start = |n: usize, t: usize| ((n - t) as f64 / 2.0).round_ties_even() as usize;
            y.part(start(nh, height), start(nw, width), height, width).data
        }
    })
}

fn bordered(x: &Pixels<f32>, rows: usize, columns: usize, fill: f32) -> Pixels<f32> {
    let (h, w, c) = (x.height + 2 * rows, x.width + 2 * columns, x.channels);
    let mut data = vec![fill; h * w * c];
    for (row, out) in x.data.chunks_exact(x.width * c).zip(data.chunks_exact_mut(w * c).skip(rows)) {
        out[columns * c..(columns + x.width) * c].copy_from_slice(row);
    }
    Pixels::new(data, h, w, c)
}

fn resized(x: &Pixels<f32>, height: usize, width: usize, filter: Filter, antialias: bool) -> Vec<f32> {
    if (x.height, x.width) == (height, width) {
        return x.data.clone();
    }
    match (filter, antialias) {
        (Filter::Nearest, _) => nearest(x, height, width),
        (Filter::Bilinear, false) => bilinear(x, height, width),
        (Filter::Bilinear, true) => by_spans(x, height, width, 1.0, true, |d| (1.0 - d).max(0.0)),
        (Filter::Bicubic, _) => by_spans(x, height, width, 2.0, antialias, keys),
    }
}

fn nearest(x: &Pixels<f32>, height: usize, width: usize) -> Vec<f32> {
    let index = |n: usize, size: usize| -> Vec<usize> {
        let scale = n as f32 / size as f32;
        (0..size).map(|i| (((i as f32 + 0.5) * scale) as usize).min(n - 1)).collect()
    };
    let (rows, columns, c) = (index(x.height, height), index(x.width, width), x.channels);
    let mut out = Vec::with_capacity(height * width * c);
    for r in rows {
        let row = &x.data[r * x.width * c..][..x.width * c];
        columns.iter().for_each(|&j| out.extend_from_slice(&row[j * c..][..c]));
    }
    out
}

/// The pixels around a place along an axis, and how far it is from the first.
fn neighbours(n: usize, size: usize) -> Vec<(usize, usize, f32)> {
    let scale = n as f32 / size as f32;
    let of = |i: usize| {
        let at = (i as f32 + 0.5) * scale - 0.5;
        let floor = at.floor();
        (floor.max(0.0) as usize, (at.ceil().max(0.0) as usize).min(n - 1), at - floor)
    };
    (0..size).map(of).collect()
}

fn bilinear(x: &Pixels<f32>, height: usize, width: usize) -> Vec<f32> {
    let (rows, columns, c) = (neighbours(x.height, height), neighbours(x.width, width), x.channels);
    let row = |r: usize| &x.data[r * x.width * c..][..x.width * c];
    let mut out = Vec::with_capacity(height * width * c);
    for (top, bottom, dy) in rows {
        let (top, bottom) = (row(top), row(bottom));
        for &(left, right, dx) in &columns {
            for k in 0..c {
                let (l, r) = (left * c + k, right * c + k);
                let a = top[l] + (top[r] - top[l]) * dx;
                let b = bottom[l] + (bottom[r] - bottom[l]) * dx;
                out.push(a + (b - a) * dy);
            }
        }
    }
    out
}

/// Keys, 1981, with a = -0.5.
fn keys(d: f32) -> f32 {
    if d >= 2.0 {
        0.0
    } else if d >= 1.0 {
        ((-0.5 * d + 2.5) * d - 4.0) * d + 2.0
    } else {
        (1.5 * d - 2.5) * d * d + 1.0
    }
}

/// First pixel and weights for each output pixel along an axis: the kernel around its centre, widened by the factor of reduction.
fn spans(n: usize, size: usize, radius: f32, antialias: bool, kernel: fn(f32) -> f32) -> Vec<(usize, Vec<f32>)> {
    let inverse = n as f32 / size as f32;
    let widening = if antialias { inverse.max(1.0) } else { 1.0 };
    let of = |i: usize| {
        let centre = (i as f32 + 0.5) * inverse;
        let first = (centre - radius * widening - 0.5).ceil().max(0.0) as usize;
        let last = ((centre + radius * widening - 0.5).floor().max(0.0) as usize).min(n - 1);
        let weights: Vec<f32> = (first..=last).map(|j| kernel(((j as f32 + 0.5 - centre) / widening).abs())).collect();
        let sum: f32 = weights.iter().sum();
        (first, weights.into_iter().map(|w| w / sum).collect())
    };
    (0..size).map(of).collect()
}

/// Columns, then rows.
fn by_spans(
    x: &Pixels<f32>,
    height: usize,
    width: usize,
    radius: f32,
    antialias: bool,
    kernel: fn(f32) -> f32,
) -> Vec<f32> {
    let c = x.channels;
    let mut tall = Vec::with_capacity(height * x.width * c);
    for (first, weights) in spans(x.height, height, radius, antialias, kernel) {
        let mut row = vec![0.0f32; x.width * c];
        for (w, source) in weights.iter().zip(x.data.chunks_exact(x.width * c).skip(first)) {
            row.iter_mut().zip(source).for_each(|(y, v)| *y += w * v);
        }
        tall.append(&mut row);
    }
    let columns = spans(x.width, width, radius, antialias, kernel);
    let mut out = Vec::with_capacity(height * width * c);
    for row in tall.chunks_exact(x.width * c) {
        for (first, weights) in &columns {
            for k in 0..c {
                out.push(weights.iter().enumerate().map(|(j, w)| w * row[(first + j) * c + k]).sum());
            }
        }
    }
    out
}
