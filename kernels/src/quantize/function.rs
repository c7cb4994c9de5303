//! Functions of one number: tables of all values.

use super::fixed::{Multiplier, high_product_16, shift_right};
use super::{Affine, Number};
use crate::activation::Activation;
use crate::error::{Error, Result, check_len};
use crate::par::{Parallel, for_each_part};

/// Numbers that one chunk of a parallel loop maps.
const CHUNK: usize = 1 << 14;

/// A function of one number, tabulated: `y[i] = table[x[i]]`.
#[derive(Clone, Debug)]
pub struct Map<Y> {
    table: Vec<Y>,
}

impl<Y: Number> Map<Y> {
    /// The table of a function of numbers of type `X`.
    pub fn new<X: Number>(f: impl Fn(i32) -> i32) -> Self {
        Self { table: (X::LO..=X::HI).map(|x| Y::narrow(f(x).clamp(Y::LO, Y::HI))).collect() }
    }
    /// Looks all numbers up.
    ///
    /// # Errors
    /// When the lengths differ, or the table is one of another type.
    pub fn apply<X: Number>(&self, x: &[X], y: &mut [Y], par: &dyn Parallel) -> Result<()> {
        check_len("quantized map", "y", x.len(), y.len())?;
        check_len("quantized map", "table", (X::HI - X::LO + 1) as usize, self.table.len())?;
        for_each_part(par, y, CHUNK, &|i, part| {
            let from = &x[i * CHUNK..][..part.len()];
            part.iter_mut().zip(from).for_each(|(y, x)| *y = self.table[(x.wide() - X::LO) as usize]);
        });
        Ok(())
    }
}

/// A function between numbers that stand for `x` and numbers that stand for `y`, whose results lie in a range.
///
/// As TFLite's reference kernels define them:
/// - Identity, clamps, leaky ReLU and the absolute value multiply in fixed point ([`Multiplier::apply`]) by ratios of the scales in f32.
/// - Sigmoid and tanh of 16-bit numbers interpolate in 256 values of the sigmoid.
/// - Hard swish of 8-bit numbers is made of 16-bit products.
/// - GELU and exponentials of 16-bit numbers interpolate in 513 values.
/// - All others are the function in f32 of what the number stands for, times the reciprocal of the scale, rounded to nearest, ties away from zero.
#[derive(Clone, Debug)]
pub struct Function {
    kind: Activation,
    x: Affine,
    y: Affine,
    wide: bool,
    range: (i32, i32),
    ratio: Multiplier,
    slope: Multiplier,
    /// For functions that are interpolated in a table of their own.
    table: Vec<i32>,
}

impl Function {
    /// A function; `wide` for numbers of 16 bits.
    ///
    /// # Errors
    /// When the range is empty or a scale is no positive number.
    pub fn new(kind: Activation, x: Affine, y: Affine, range: (i32, i32), wide: bool) -> Result<Self> {
        if range.0 > range.1 || [x, y].iter().any(|q| !(q.scale > 0.0 && q.scale.is_finite())) {
            return Err(Error::new("quantized function", format!("the range {range:?}, scales {x:?}, {y:?}")));
        }
        // The identity requantizes: its ratio is one of doubles. The others divide in f32.
        let ratio = match kind {
            Activation::Identity => f64::from(x.scale) / f64::from(y.scale),
            _ => f64::from(x.scale / y.scale),
        };
        let slope = match kind {
            Activation::LeakyRelu { alpha } => f64::from(x.scale * alpha / y.scale),
            _ => 0.0,
        };
        let table = match kind {
            Activation::Exp | Activation::Gelu | Activation::GeluTanh if wide => samples(kind, x, y),
            _ => Vec::new(),
        };
        Ok(Self { kind, x, y, wide, range, ratio: Multiplier::new(ratio), slope: Multiplier::new(slope), table })
    }
    /// The result for one number.
    pub fn apply(&self, number: i32) -> i32 {
        let (lo, hi) = self.range;
        let q = number - self.x.zero;
        let y = match self.kind {
            Activation::Identity => self.ratio.apply(q).saturating_add(self.y.zero),
            Activation::Relu => self.ratio.apply(q).saturating_add(self.y.zero).max(self.number(0.0)),
            Activation::Clamp { lo, hi } => {
                let (lo, hi) = (self.number(lo), self.number(hi));
                self.ratio.apply(q).saturating_add(self.y.zero).min(hi).max(lo)
            }
            Activation::LeakyRelu { .. } => {
                (if q >= 0 { self.ratio.apply(q) } else { self.slope.apply(q) }).saturating_add(self.y.zero)
            }
            Activation::Abs => self.ratio.apply(q.abs()).saturating_add(self.y.zero),
            Activation::Sigmoid if self.wide => sigmoid_16(q, self.x.scale),
            Activation::Tanh if self.wide => tanh_16(q, self.x.scale),
            Activation::HardSwish { .. } if !self.wide => self.hard_swish(q),
            _ if !self.table.is_empty() => interpolated(&self.table, number),
            kind => self.tabulated(q, kind),
        };
        y.clamp(lo, hi)
    }
    /// The number that stands for a real, for ends of ranges.
    fn number(&self, real: f32) -> i32 {
        if real.is_infinite() {
            return if real > 0.0 { i32::MAX } else { i32::MIN };
        }
        self.y.zero.saturating_add((real / self.y.scale).round() as i32)
    }
    fn tabulated(&self, q: i32, kind: Activation) -> i32 {
        let real = self.x.scale * q as f32;
        let y = value(kind, real);
        let steps = (y * (1.0 / self.y.scale)).round();
        (steps + self.y.zero as f32) as i32
    }
    /// `x * clamp(x + 3, 0, 6) / 6` in 16 bits: the input with 7 more bits, times a relu of 16 bits.
    fn hard_swish(&self, q: i32) -> i32 {
        let fine = self.x.scale * (1.0 / 128.0);
        let out = Multiplier::new(f64::from(fine / self.y.scale));
        let relu = Multiplier::new(f64::from(fine / (3.0 / 32768.0)));
        let upper = |m: i32| if m >= i32::MAX - (1 << 15) { i16::MAX } else { ((m + (1 << 15)) >> 16) as i16 };
        let left = |v: i16, by: i32| (i64::from(v) << by).clamp(i16::MIN.into(), i16::MAX.into()) as i16;
        let input = (q << 7) as i16;
        let preshift = high_product_16(input, upper(out.mantissa));
        let mut r = input;
        if relu.shift > 0 {
            r = left(r, relu.shift - 1);
        }
        r = high_product_16(r, upper(relu.mantissa));
        if relu.shift > 0 {
            r = left(r, 1);
        }
        if relu.shift < 0 {
            r = shift_right(r.into(), -relu.shift) as i16;
        }
        let unit = ((i32::from(r) + (1 << 15)) >> 1) as i16;
        // Towards zero here, which cancels the bias of the rounded products.
        let product = (i32::from(unit) * i32::from(preshift)) / (1 << 15);
        shift_right(product, (-out.shift).clamp(0, 31)) + self.y.zero
    }
}

/// The function in f32, from doubles where the platform's f32 functions may differ in the last bit.
fn value(kind: Activation, x: f32) -> f32 {
    let exp = |x: f32| f64::from(x).exp() as f32;
    match kind {
        Activation::Sigmoid => 1.0 / (1.0 + exp(-x)),
        Activation::Tanh => f64::from(x).tanh() as f32,
        Activation::Elu { alpha } => {
            if x < 0.0 {
                alpha * f64::from(x).exp_m1() as f32
            } else {
                x
            }
        }
        Activation::Exp => exp(x),
        Activation::Log => f64::from(x).ln() as f32,
        Activation::Neg => -x,
        other => crate::reference::activation::eval(&other, f64::from(x)) as f32,
    }
}

/// A function at 513 of all numbers of 16 bits, each value corrected by half the error of the interpolation behind it.
fn samples(kind: Activation, x: Affine, y: Affine) -> Vec<i32> {
    let at = |affine: Affine, number: i32| affine.scale * (number - affine.zero) as f32;
    let (lo, hi) = (at(x, -32768), at(x, 32767));
    let step = (hi - lo) / 512.0;
    let unit = 65536.0 / (at(y, 32767) - at(y, -32768));
    let limit = |v: f32| v.clamp(-32768.0, 32767.0) as i32;
    let one = |i: u16| {
        let begin = lo + f32::from(i) * step;
        let here = value(kind, begin) * unit;
        let next = value(kind, lo + f32::from(i + 1) * step) * unit;
        let middle = (value(kind, begin + step / 2.0) * unit).round();
        let between = f32::midpoint(next, here.round()).round();
        limit(here.round() - ((between - middle) / 2.0).round())
    };
    (0..512).map(one).chain([limit((value(kind, hi) * unit).round())]).collect()
}

/// The table at a number, interpolated in 7 of its 16 bits.
fn interpolated(table: &[i32], number: i32) -> i32 {
    let at = number.clamp(-32768, 32767);
    let index = (256 + (at >> 7)) as usize;
    let (base, next) = (table[index], table[index + 1]);
    base + (((next - base) * (at & 0x7f) + 64) >> 7)
}

/// `sigmoid(i / 24)` in 16 bits for `i` below 256, raised by half of what interpolation up to the next value lacks; the last is the largest.
fn sigmoid_table(i: u32) -> i32 {
    let exact = |x: f64| 65536.0 / (1.0 + (-x / 24.0).exp());
    let x = f64::from(i);
    let lacks = exact(x + 0.5) - f64::midpoint(exact(x), exact(x + 1.0));
    if i < 255 { (exact(x) + lacks / 2.0).round() as i32 } else { 65535 }
}

/// A number on the scale of the sigmoid's table: `2^17` stands for 10.7.
fn table_position(q: i32, scale: f32, shifts: &[i32]) -> i32 {
    let log = (f64::from(scale.ln()) * (1.0 / 2f64.ln())) as f32;
    let whole = log.round();
    let shift = 12 + whole as i32;
    let (multiplier, right) = if (log - whole).abs() < 1e-3 && shifts.contains(&shift) {
        (3 << shift, 0)
    } else {
        // 1 / (3 * 4096) is the scale of the table.
        let (mut m, mut right) = (f64::from(scale) * 4096.0 * 3.0, 0);
        while m <= 32767.0 / 2.0 && right <= 30 {
            m *= 2.0;
            right += 1;
        }
        (m as i32, right)
    };
    let half = if right > 0 { 1 << (right - 1) } else { 0 };
    q.wrapping_mul(multiplier).wrapping_add(half) >> right
}

fn sigmoid_16(q: i32, scale: f32) -> i32 {
    let x = table_position(q, scale, &[0]);
    let magnitude = x.unsigned_abs();
    let at = magnitude >> 9;
    let raw = if at >= 255 {
        0x7fff << 10
    } else {
        let (a, b) = (sigmoid_table(at), sigmoid_table(at + 1));
        (a << 9) + (magnitude & 0x1ff) as i32 * (b - a)
    };
    (if x >= 0 { raw + (1 << 9) } else { (1 << 25) - raw + (1 << 9) - 1 }) >> 10
}

fn tanh_16(q: i32, scale: f32) -> i32 {
    let x = table_position(q, scale, &[0, 1]);
    let magnitude = x.unsigned_abs();
    let at = magnitude >> 8;
    let raw = if at >= 255 {
        0xffff << 8
    } else {
        let (a, b) = (sigmoid_table(at), sigmoid_table(at + 1));
        (a << 8) + (magnitude & 0xff) as i32 * (b - a)
    };
    (if x >= 0 { raw - (1 << 23) + (1 << 7) } else { -raw + (1 << 23) + (1 << 7) - 1 }) >> 8
}
