//! Integer networks: numbers of 8 or 16 bits that stand for `scale * (number - zero)`.
//!
//! Sums are made exactly, in 32 bits (64 where asked for), and become numbers of the output by one of two rules ([`Requant`]). Everything
//! here is integer arithmetic, or single operations of IEEE-754 on few numbers, so results are the same bits on every instruction set and
//! for any number of threads.
//!
//! - [`Requantize`] is the rule with its parameters; [`fixed`] the fixed-point arithmetic behind it.
//! - [`Conv`] makes convolutions, transposed convolutions and fully connected layers: one filter, because a transposed convolution is one
//!   over an input with gaps, and a layer one over a row of single pixels.
//! - [`Map`] is any function of one number: a table of all its values. [`function`] makes them.
//! - [`Pair`] are functions of two numbers, [`Pool`], [`Softmax`], [`Sums`] and [`Bilinear`] the rest of a network.
//!
//! Images are `[N, H, W, C]` here: integers have no blocked format yet. Bodies are plain loops over channels, compiled for each instruction set.

mod conv;
pub mod fixed;
pub mod function;
mod pair;
mod pool;
mod resize;
mod softmax;
mod sums;

pub use conv::{Conv, ConvDesc};
pub use fixed::Multiplier;
pub use function::Map;
pub use pair::{Pair, PairKind};
pub use pool::{Pool, PoolDesc};
pub use resize::Bilinear;
pub use softmax::{Softmax, Softmax16};
pub use sums::Sums;

/// A type of quantized numbers.
pub trait Number: Copy + Default + Send + Sync + PartialEq + std::fmt::Debug + 'static {
    /// Smallest.
    const LO: i32;
    /// Largest.
    const HI: i32;
    /// As a wide integer.
    fn wide(self) -> i32;
    /// From a wide integer in range.
    fn narrow(x: i32) -> Self;
}

macro_rules! numbers {
    ($($t:ty),*) => {
        $(impl Number for $t {
            const LO: i32 = <$t>::MIN as i32;
            const HI: i32 = <$t>::MAX as i32;
            #[inline(always)]
            fn wide(self) -> i32 { self as i32 }
            #[inline(always)]
            fn narrow(x: i32) -> Self { x as $t }
        })*
    };
}
numbers!(i8, u8, i16);

/// What a number stands for: `scale * (number - zero)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine {
    /// Distance of two neighbours.
    pub scale: f32,
    /// The number that stands for 0.
    pub zero: i32,
}

impl Default for Affine {
    fn default() -> Self {
        Self { scale: 1.0, zero: 0 }
    }
}

/// How a sum becomes a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Requant {
    /// In f32, to nearest, ties to even (ONNX).
    FloatRne,
    /// By a multiplier of 31 bits and shifts (TFLite's reference kernels): see [`fixed`].
    #[default]
    TfliteFixed,
    /// By a multiplier of 31 bits, rounded once (TFLite's fully connected layers).
    TfliteOnce,
}

/// Sums to numbers: `clamp(round(sum * scale) + zero, lo, hi)`, one scale for all outputs or one each.
#[derive(Clone, Debug)]
pub struct Requantize {
    kind: Requant,
    fixed: Vec<Multiplier>,
    float: Vec<f32>,
    zero: i32,
    lo: i32,
    hi: i32,
}

impl Requantize {
    /// For `outputs` channels; `scales` has one entry or one a channel.
    ///
    /// # Errors
    /// When the number of scales is neither, or the range is empty.
    pub fn new(kind: Requant, scales: &[f64], outputs: usize, zero: i32, (lo, hi): (i32, i32)) -> crate::Result<Self> {
        if lo > hi {
            return Err(crate::Error::new("quantize", format!("the range {lo} .. {hi} is empty")));
        }
        let each: Vec<f64> = match scales {
            &[one] => vec![one; outputs],
            all if all.len() == outputs => all.to_vec(),
            all => return Err(crate::Error::length("quantize", "scales", outputs, all.len())),
        };
        Ok(Self {
            kind,
            fixed: each.iter().map(|&s| Multiplier::new(s)).collect(),
            float: each.iter().map(|&s| s as f32).collect(),
            zero,
            lo,
            hi,
        })
    }
    /// The number of a sum of channel `c`.
    #[inline(always)]
    pub fn apply(&self, c: usize, sum: i32) -> i32 {
        match self.kind {
            Requant::TfliteFixed => self.finish(self.fixed[c].apply(sum)),
            Requant::TfliteOnce => self.finish(self.fixed[c].apply_once(sum)),
            Requant::FloatRne => self.round(c, sum as f32),
        }
    }
    /// The number of a wide sum of channel `c`.
    #[inline(always)]
    pub fn apply_wide(&self, c: usize, sum: i64) -> i32 {
        match self.kind {
            Requant::TfliteFixed => self.finish(self.fixed[c].apply_wide(sum)),
            Requant::TfliteOnce => self.finish(self.fixed[c].apply_once_wide(sum)),
            Requant::FloatRne => self.round(c, sum as f32),
        }
    }
    #[inline(always)]
    fn finish(&self, x: i32) -> i32 {
        x.saturating_add(self.zero).clamp(self.lo, self.hi)
    }
    #[inline(always)]
    fn round(&self, c: usize, sum: f32) -> i32 {
        let y = (sum * self.float[c]).clamp((self.lo - self.zero) as f32, (self.hi - self.zero) as f32);
        y.round_ties_even() as i32 + self.zero
    }
}
