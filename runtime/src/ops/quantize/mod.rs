//! Integer networks: tensors of `i8`, `u8` or `i16` whose numbers stand for `scale * (number - zero)`.
//!
//! What a number stands for is written in the ops, not in the tensors: [`Affine`] attributes are JSON pairs `[scale, zero]`. Sums are exact;
//! [`Requant`] says how they become numbers. Results are equal to the last bit to what `docs/conformance.md` says of TFLite's reference kernels.
//!
//! Images are logically `[N, C, spatial...]` as everywhere; the kernels want them with channels innermost
//! ([`crate::plan::Format::ChannelsLast`]), so that a transpose in front of them only renames.

mod affine;
mod conv;
mod elements;
mod image;
mod rows;

use super::attrs::{AttrValue, attr_enum, attributes};
use super::conv::Pads;
use super::elementwise::operand;
use super::infer::{Infer, ValueType};
use super::pool::PoolKind;
use crate::ops::activation::Activation;
use crate::plan::{Format, FormatCx, Formats, LowerCx};
use crate::{DType, Element, Error, Result, Tensor};
use pocketnn_kernels::quantize as kernel;

pub use pocketnn_kernels::quantize::Affine;

impl AttrValue for Affine {
    const EXPECTED: &str = "[scale, zero point]";
    fn to_json(&self) -> serde_json::Value {
        serde_json::json!([AttrValue::to_json(&self.scale), self.zero])
    }
    fn from_json(v: &serde_json::Value) -> Option<Self> {
        let [scale, zero] = v.as_array()?.as_slice() else { return None };
        Some(Self { scale: f32::from_json(scale)?, zero: i32::try_from(zero.as_i64()?).ok()? })
    }
}

attr_enum! {
    /// How a sum becomes a number.
    pub enum Requant {
        /// By a multiplier of 31 bits and shifts, as TFLite's reference kernels.
        #[default] TfliteFixed = "tflite_fixed",
        /// By a multiplier of 31 bits, rounded once, as TFLite's fully connected layers.
        TfliteOnce = "tflite_once",
        /// In f32, to nearest, ties to even, as ONNX.
        FloatRne = "float_rne",
    }
    /// A function of two numbers.
    pub enum PairKind {
        /// `a + b`
        #[default] Add = "add",
        /// `a - b`
        Sub = "sub",
        /// `a * b`
        Mul = "mul",
        /// `(a - b)^2`
        SquaredDifference = "squared_difference",
        /// `a`, or `a * b` where `a` is negative.
        PRelu = "prelu",
    }
}

attributes! {
    /// Floats to numbers: `clamp(round(x / scale) + zero)`. Inputs `x` (f32), `scale` (f32, one or one an index of the axis), optional `zero` (of the
    /// output's type, as many).
    pub struct Quantize {
        /// Type of the numbers.
        pub to: DType = DType::I8,
        /// The axis that several scales belong to.
        pub axis: i64 = 0,
        /// Ties go to even, instead of away from zero.
        pub even: bool = false,
    }
    /// Numbers to floats: `(x - zero) * scale`. Inputs `x` (integers), `scale` (f32, one or one an index of the axis), optional `zero` (of the
    /// type of `x`, as many).
    pub struct Dequantize {
        /// The axis that several scales belong to.
        pub axis: i64 = 0,
    }
    /// Convolution. Inputs `x [N, C, spatial...]`, `w [O, C/groups, kernel...]` (8 bits), `scale` (f64, one or `[O]`: of a sum in steps of the
    /// output), optional `bias [O]` (i32 or i64). Padding stands for 0.
    pub struct QConv {
        /// Step of each spatial axis; empty means 1.
        pub strides: Vec<usize> = vec![],
        /// Distance of the kernel's taps; empty means 1.
        pub dilations: Vec<usize> = vec![],
        /// Padding.
        pub pads: Pads = Pads::default(),
        /// Groups of channels that do not mix.
        pub groups: usize = 1,
        /// Zero points and range.
        pub sums: Sums = Sums::default(),
    }
    /// Transposed convolution. Inputs as [`QConv`], `w [C, O/groups, kernel...]`; extents as [`super::conv::ConvTranspose`] with explicit pads.
    pub struct QConvTranspose {
        /// Step of each spatial axis in the output; empty means 1.
        pub strides: Vec<usize> = vec![],
        /// Distance of the kernel's taps; empty means 1.
        pub dilations: Vec<usize> = vec![],
        /// What is cut from the full output.
        pub pads: Pads = Pads::default(),
        /// Added at the end of each axis; empty means 0.
        pub output_padding: Vec<usize> = vec![],
        /// Groups of channels that do not mix.
        pub groups: usize = 1,
        /// Zero points and range.
        pub sums: Sums = Sums::default(),
    }
    /// Fully connected layer. Inputs `x [..., K]`, `w [O, K]`, `scale`, optional `bias` as [`QConv`].
    pub struct QDense {
        /// Zero points and range.
        pub sums: Sums = Sums::default(),
    }
    /// Matrix product of `a [..., M, K]` and `b [..., K, N]` with numpy's rules for batches; input `scale` (f64, one).
    pub struct QMatMul {
        /// Zero points and range; `w` is `b`.
        pub sums: Sums = Sums::default(),
    }
    /// Pooling of `x [N, C, spatial...]`: the largest, or the mean of what lies inside the image. Numbers of input and output stand for the same.
    pub struct QPool {
        /// Largest or mean.
        pub kind: PoolKind = PoolKind::Max,
        /// Window of each spatial axis.
        pub kernel: Vec<usize> = vec![],
        /// Step of each spatial axis; empty means 1.
        pub strides: Vec<usize> = vec![],
        /// Padding.
        pub pads: Pads = Pads::default(),
        /// Range of the output; absent: that of the type.
        pub range: Option<Vec<i64>> = None,
    }
    /// A function of two numbers with numpy's broadcasting. Inputs `a`, `b`.
    pub struct QBinary {
        /// Which function.
        pub kind: PairKind = PairKind::Add,
        /// What numbers of `a` stand for.
        pub a: Affine = Affine::default(),
        /// What numbers of `b` stand for.
        pub b: Affine = Affine::default(),
        /// What numbers of the output stand for.
        pub y: Affine = Affine::default(),
        /// Range of the output; absent: that of the type.
        pub range: Option<Vec<i64>> = None,
    }
    /// A function of one number, as [`pocketnn_kernels::quantize::function::Function`] defines it. The identity requantizes.
    pub struct QUnary {
        /// Which function.
        pub function: Activation = Activation::Identity,
        /// What numbers of the input stand for.
        pub x: Affine = Affine::default(),
        /// What numbers of the output stand for.
        pub y: Affine = Affine::default(),
        /// Type of the output; absent: that of the input.
        pub to: Option<DType> = None,
    }
    /// Softmax of `beta * x` along the last axis; for `i16` the output's scale is `2^-15`, its zero point 0.
    pub struct QSoftmax {
        /// Scale of the input.
        pub scale: f32 = 1.0,
        /// Factor of the argument.
        pub beta: f32 = 1.0,
        /// What numbers of the output stand for.
        pub y: Affine = Affine::default(),
    }
    /// Sum or mean of `x` over neighbouring axes.
    pub struct QReduce {
        /// The mean.
        pub mean: bool = false,
        /// The axes.
        pub axes: Vec<i64> = vec![],
        /// Reduced axes stay with extent 1.
        pub keep_dims: bool = true,
        /// What numbers of the input stand for.
        pub x: Affine = Affine::default(),
        /// What numbers of the output stand for.
        pub y: Affine = Affine::default(),
    }
    /// Bilinear resampling of `x [N, H, W, C]` (channels last: no importer has another) to `size [2]` (i64) in steps of 2^-10.
    pub struct QResize {
        /// Corner pixels coincide.
        pub corners: bool = false,
        /// Pixels have their centres in the middle.
        pub half: bool = false,
    }
}

/// Zero points of a sum's operands and of its output, and how it becomes a number.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Sums {
    /// Zero point of `x`.
    pub x: i32,
    /// Zero point of the weights.
    pub w: i32,
    /// Zero point of the output.
    pub y: i32,
    /// Range of the output; absent: that of the type.
    pub range: Option<(i32, i32)>,
    /// Sums of 64 bits (TFLite multiplies them by 16 bits).
    pub wide: bool,
    /// Rounding.
    pub requant: Requant,
}

impl AttrValue for Sums {
    const EXPECTED: &str = "an object of `x`, `w`, `y`, `range`, `wide` and `requant`";
    fn to_json(&self) -> serde_json::Value {
        let mut map = serde_json::Map::new();
        for (name, zero) in [("x", self.x), ("w", self.w), ("y", self.y)] {
            if zero != 0 {
                map.insert(name.to_string(), zero.into());
            }
        }
        if let Some((lo, hi)) = self.range {
            map.insert("range".to_string(), vec![lo, hi].into());
        }
        if self.wide {
            map.insert("wide".to_string(), true.into());
        }
        if self.requant != Requant::default() {
            map.insert("requant".to_string(), AttrValue::to_json(&self.requant));
        }
        map.into()
    }
    fn from_json(v: &serde_json::Value) -> Option<Self> {
        let mut out = Self::default();
        for (name, v) in v.as_object()? {
            let integer = || i32::try_from(v.as_i64()?).ok();
            match name.as_str() {
                "x" => out.x = integer()?,
                "w" => out.w = integer()?,
                "y" => out.y = integer()?,
                "range" => out.range = Some(pair(&Vec::<i64>::from_json(v)?)?),
                "wide" => out.wide = v.as_bool()?,
                "requant" => out.requant = Requant::from_json(v)?,
                _ => return None,
            }
        }
        Some(out)
    }
}

fn pair(list: &[i64]) -> Option<(i32, i32)> {
    let &[lo, hi] = list else { return None };
    Some((i32::try_from(lo).ok()?, i32::try_from(hi).ok()?))
}

/// Zero points beyond this could overflow a sum's operands.
const LARGEST_ZERO: i32 = 1 << 16;

impl Sums {
    fn check(&self) -> Result<()> {
        let zeros = [self.x, self.w, self.y];
        match zeros.iter().find(|z| z.abs() > LARGEST_ZERO) {
            Some(z) => Err(Error::graph(format!("a zero point of {z} is beyond {LARGEST_ZERO}"))),
            None => Ok(()),
        }
    }
    fn rule(&self) -> kernel::Requant {
        match self.requant {
            Requant::TfliteFixed => kernel::Requant::TfliteFixed,
            Requant::TfliteOnce => kernel::Requant::TfliteOnce,
            Requant::FloatRne => kernel::Requant::FloatRne,
        }
    }
    /// The range of an output of a type.
    fn limits(&self, dtype: DType) -> Result<(i32, i32)> {
        within(self.range, dtype)
    }
}

/// A range inside that of a type.
fn within(range: Option<(i32, i32)>, dtype: DType) -> Result<(i32, i32)> {
    let (lo, hi) = type_range(dtype)?;
    match range {
        None => Ok((lo, hi)),
        Some((a, b)) if a <= b && lo <= a && b <= hi => Ok((a, b)),
        Some(other) => Err(Error::graph(format!("range: expected a part of {lo} .. {hi}, found {other:?}"))),
    }
}

/// A range attribute inside that of a type.
fn attribute_range(range: Option<&Vec<i64>>, dtype: DType) -> Result<(i32, i32)> {
    let range = match range {
        None => None,
        Some(list) => {
            let bad = || Error::graph(format!("range: expected [lo, hi], found {list:?}"));
            Some(pair(list).ok_or_else(bad)?)
        }
    };
    within(range, dtype)
}

/// Smallest and largest number of a type of quantized tensors.
fn type_range(dtype: DType) -> Result<(i32, i32)> {
    match dtype {
        DType::I8 => Ok((-128, 127)),
        DType::U8 => Ok((0, 255)),
        DType::I16 => Ok((-32768, 32767)),
        other => Err(Error::graph(format!("expected numbers of i8, u8 or i16, found {other}"))),
    }
}

/// The type of an input of quantized numbers.
fn numbers<'a>(cx: &Infer<'a>, i: usize) -> Result<&'a ValueType> {
    let ty = cx.ty(i)?;
    type_range(ty.dtype).map_err(|e| Error::graph(format!("input {i}: {}", e.message())))?;
    Ok(ty)
}

/// Runs a block with `$t` bound to the Rust type of quantized numbers.
macro_rules! with_numbers {
    ($dtype:expr, $t:ident => $body:expr) => {
        match $dtype {
            DType::I8 => {
                type $t = i8;
                $body
            }
            DType::U8 => {
                type $t = u8;
                $body
            }
            _ => {
                type $t = i16;
                $body
            }
        }
    };
}
use with_numbers;

/// A tensor of a type of quantized numbers, from numbers in its range.
fn tensor(dtype: DType, shape: &[usize], y: Vec<i32>) -> Result<Tensor> {
    with_numbers!(dtype, T => Tensor::new(shape, y.into_iter().map(<T as kernel::Number>::narrow).collect()))
}

/// An image op: input 0 and the output with channels innermost.
fn channels_last(cx: &FormatCx) -> Formats {
    let mut f = cx.plain();
    if (3..=5).contains(&cx.out_shape(0).len()) && cx.is_variable(0) {
        f.inputs[0] = Format::ChannelsLast;
        f.outputs[0] = Format::ChannelsLast;
    }
    f
}

/// Extents of an image of one or two spatial axes with channels innermost: batch, channels, height and width.
fn flat_image(shape: &[usize]) -> Option<(usize, usize, [usize; 2])> {
    match *shape {
        [n, c, w] => Some((n, c, [1, w])),
        [n, c, h, w] => Some((n, c, [h, w])),
        _ => None,
    }
}

/// True when input 0 and the output come with channels innermost.
fn is_channels_last(cx: &LowerCx) -> Result<bool> {
    Ok(cx.format(0)? == Format::ChannelsLast && cx.output(0).format == Format::ChannelsLast)
}

/// Two values of one or two spatial axes, height first; a missing height is `fill`.
fn two<T: Copy>(list: &[T], fill: T) -> [T; 2] {
    match *list {
        [w] => [fill, w],
        [h, w, ..] => [h, w],
        [] => [fill, fill],
    }
}

/// Runs a parallel loop alone, for evaluations that share a kernel's definition.
const ALONE: pocketnn_kernels::par::Serial = pocketnn_kernels::par::Serial;

/// The elements of an operand, when it has the Rust type.
fn elements<'a, T: Element>(inputs: &[Option<&'a Tensor>], i: usize) -> Result<&'a [T]> {
    operand(inputs, i)?.as_slice::<T>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_keep_their_values() {
        let sums =
            Sums { x: -3, y: 128, range: Some((-5, 127)), wide: true, requant: Requant::FloatRne, ..Sums::default() };
        assert_eq!(Sums::from_json(&sums.to_json()), Some(sums));
        assert_eq!(Sums::from_json(&serde_json::json!({ "z": 1 })), None);
        let affine = Affine { scale: 0.1, zero: -128 };
        assert_eq!(Affine::from_json(&affine.to_json()), Some(affine));
        assert_eq!(Affine::from_json(&serde_json::json!([1.0])), None);
    }

    #[test]
    fn ranges_lie_inside_the_type() {
        assert_eq!(within(Some((-5, 5)), DType::I8).unwrap(), (-5, 5));
        assert!(within(Some((-5, 128)), DType::I8).is_err());
        assert!(within(Some((5, -5)), DType::I8).is_err());
        assert!(attribute_range(Some(&vec![1]), DType::U8).is_err());
        assert!(type_range(DType::I32).is_err());
    }
}
