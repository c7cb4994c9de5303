//! Blocks added up where they overlap: the inverse movement of a convolution's windows.

use crate::ops::attrs::attributes;
use crate::ops::elementwise::{cast, operand};
use crate::ops::infer::{Infer, ValueType};
use crate::ops::operands::{entries, extent, integers, shape, unknown_shape, vector};
use crate::ops::{Evaluate, Operator};
use crate::{Dim, Error, Result, Tensor};

attributes! {
    /// Adds blocks up to images, as ONNX `Col2Im`. Inputs `x [N, C * block, L]`, `image` (extents, i64 vector), `block` (extents, i64 vector);
    /// output `[N, C, image...]`. The windows of the image are numbered by `L`.
    pub struct Col2Im {
        /// Steps of the window; absent ones are 1.
        pub strides: Vec<usize> = vec![],
        /// Steps between elements of a block; absent ones are 1.
        pub dilations: Vec<usize> = vec![],
        /// Padding before each axis, then behind each; absent ones are 0.
        pub pads: Vec<i64> = vec![],
    }
}

/// The windows along one axis.
struct Axis {
    extent: usize,
    block: usize,
    windows: usize,
    stride: usize,
    dilation: usize,
    begin: i64,
}

impl Col2Im {
    fn axis(&self, i: usize, rank: usize, extent: i64, block: i64) -> Result<Axis> {
        let wrong = || Error::graph(format!("axis {i}: extent {extent}, block {block} and windows do not fit"));
        let (stride, dilation) =
            (self.strides.get(i).copied().unwrap_or(1), self.dilations.get(i).copied().unwrap_or(1));
        let pad = |i: usize| self.pads.get(i).copied().unwrap_or(0);
        let span = (dilation as i64).checked_mul(block.checked_sub(1).ok_or_else(wrong)?).ok_or_else(wrong)?;
        let room = extent.checked_add(pad(i)).and_then(|e| e.checked_add(pad(i + rank)));
        let room = room.and_then(|r| r.checked_sub(span)).and_then(|r| r.checked_sub(1)).filter(|&r| r >= 0);
        if stride == 0 || block < 1 {
            return Err(wrong());
        }
        let windows = room.ok_or_else(wrong)? as usize / stride + 1;
        let extent = usize::try_from(extent).map_err(|_| wrong())?;
        Ok(Axis { extent, block: block as usize, windows, stride, dilation, begin: pad(i) })
    }
}

impl Operator for Col2Im {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let x = cx.ty(0)?;
        let rank = entries(cx, 1)?;
        if x.shape.len() != 3 || entries(cx, 2)? != rank || !x.dtype.is_float() {
            return Err(Error::graph(format!("expected floats [N, C * block, L], an image and a block, found {x}")));
        }
        let image = vector(cx, 1)?.map_or_else(|| unknown_shape(rank), Ok)?;
        let channels = match vector(cx, 2)? {
            Some(block) => x.shape[1].div_floor(&Dim::product(&block)),
            None => Dim::unknown(),
        };
        let mut out = vec![x.shape[0].clone(), channels];
        for d in image {
            out.push(extent(d, "input 1")?);
        }
        Ok(vec![ValueType::new(x.dtype, out)])
    }
}

impl Evaluate for Col2Im {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let out = shape(self, inputs)?;
        let x = operand(inputs, 0)?;
        let (image, block) = (integers(inputs, 1)?, integers(inputs, 2)?);
        let rank = image.len();
        let axes = (0..rank).map(|i| self.axis(i, rank, image[i], block[i])).collect::<Result<Vec<Axis>>>()?;
        let elements: usize = axes.iter().map(|a| a.block).product();
        let windows: usize = axes.iter().map(|a| a.windows).product();
        if x.shape()[1] != out[1] * elements || x.shape()[2] != windows {
            let message = format!("expected {} rows of {windows} windows, found {:?}", out[1] * elements, x.shape());
            return Err(Error::graph(message));
        }
        let pixels: usize = axes.iter().map(|a| a.extent).product();
        let mut y = vec![0.0f64; out.iter().product()];
        for (row, values) in x.to_f64().chunks_exact(windows.max(1)).enumerate() {
            let (plane, element) = (row / elements, row % elements);
            for (window, v) in values.iter().enumerate() {
                if let Some(at) = place(&axes, element, window) {
                    y[plane * pixels + at] += v;
                }
            }
        }
        Ok(vec![cast(&Tensor::new(&out, y)?, x.dtype())?])
    }
}

/// Where an element of a window lies in the image; `None` in the padding.
fn place(axes: &[Axis], mut element: usize, mut window: usize) -> Option<usize> {
    let (mut at, mut step) = (0, 1);
    for a in axes.iter().rev() {
        let offset = element % a.block * a.dilation + window % a.windows * a.stride;
        let i = usize::try_from(offset as i64 - a.begin).ok().filter(|&i| i < a.extent)?;
        at += i * step;
        step *= a.extent;
        element /= a.block;
        window /= a.windows;
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_blocks_add_up() {
        let x = Tensor::new(&[1, 2, 3], vec![1.0f32, 2.0, 3.0, 10.0, 20.0, 30.0]).unwrap();
        let (image, block) = (Tensor::vector(&[4i64]), Tensor::vector(&[2i64]));
        let y = Col2Im::default().eval(&[Some(&x), Some(&image), Some(&block)], 1).unwrap();
        assert_eq!(y[0].to_f32(), [1.0, 12.0, 23.0, 30.0]);
        let short = Tensor::vector(&[3i64]);
        assert!(Col2Im::default().eval(&[Some(&x), Some(&short), Some(&block)], 1).is_err());
    }
}
