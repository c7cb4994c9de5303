//! Softmax of integers along rows.

use super::fixed::Multiplier;
use super::{Affine, Number};
use crate::error::{Error, Result, check_len};
use crate::par::{Parallel, for_each_part};

/// Softmax of 8-bit numbers: exponentials from a table in f32, their sum and quotients in f32, rounded to nearest, ties away from zero (as TFLite
/// does it).
#[derive(Clone, Debug)]
pub struct Softmax {
    /// `exp(-scale * beta * i)`.
    table: Vec<f32>,
    y: Affine,
    row: usize,
}

impl Softmax {
    /// Rows of `row` numbers on a scale; the argument is multiplied by `beta`.
    ///
    /// # Errors
    /// When a scale is no positive number.
    pub fn new(row: usize, scale: f32, beta: f32, y: Affine) -> Result<Self> {
        positive(scale * beta)?;
        positive(y.scale)?;
        let step = -scale * beta;
        Ok(Self { table: (0..256).map(|i| f64::from(step * i as f32).exp() as f32).collect(), y, row })
    }
    /// Softmax of all rows.
    ///
    /// # Errors
    /// When a slice has the wrong length.
    pub fn apply<X: Number, Y: Number>(&self, x: &[X], y: &mut [Y], par: &dyn Parallel) -> Result<()> {
        rows(x, y, self.row, par, &|x: &[X], y: &mut [Y]| {
            let largest = x.iter().map(|v| v.wide()).max().unwrap_or(0);
            let exp = |v: X| self.table[(largest - v.wide()).clamp(0, 255) as usize];
            let sum = x.iter().fold(0.0f32, |s, &v| s + exp(v));
            let scale = 1.0 / (sum * self.y.scale);
            for (y, &v) in y.iter_mut().zip(x) {
                *y = Y::narrow(((exp(v) * scale).round() as i32 + self.y.zero).clamp(Y::LO, Y::HI));
            }
        })
    }
}

/// Softmax of 16-bit numbers by two tables of 513 entries with interpolation, output scale `2^-15` (as TFLite's reference kernel does it).
#[derive(Clone, Debug)]
pub struct Softmax16 {
    exp: Vec<i16>,
    reciprocal: Vec<i16>,
    scale: Multiplier,
    row: usize,
}

impl Softmax16 {
    /// Rows of `row` numbers on a scale; the argument is multiplied by `beta`.
    ///
    /// # Errors
    /// When the scale is no positive number.
    pub fn new(row: usize, scale: f32, beta: f32) -> Result<Self> {
        positive(scale * beta)?;
        // 65535 steps stand for 10.
        let scale = Multiplier::new(f64::from(scale * beta) / (10.0 / 65535.0));
        let exp = table(&f64::exp, -10.0, 0.0);
        Ok(Self { exp, reciprocal: table(&|x| 1.0 / (1.0 + x), 0.0, 1.0), scale, row })
    }
    /// Softmax of all rows.
    ///
    /// # Errors
    /// When a slice has the wrong length.
    pub fn apply(&self, x: &[i16], y: &mut [i16], par: &dyn Parallel) -> Result<()> {
        rows(x, y, self.row, par, &|x: &[i16], y: &mut [i16]| {
            let largest = x.iter().copied().max().unwrap_or(0);
            let mut sum = 0i32;
            for (y, &v) in y.iter_mut().zip(x) {
                let at = self.scale.apply(i32::from(v) - i32::from(largest)).saturating_add(32767);
                *y = look_up(&self.exp, at);
                sum = sum.wrapping_add(i32::from(*y));
            }
            let zeros = sum.leading_zeros().clamp(1, 31);
            let shifted = (((i64::from(sum) << (zeros - 1)) + (1 << 13)) >> 14) as i32;
            let reciprocal = i64::from(look_up(&self.reciprocal, shifted - ((1 << 15) + (1 << 16))));
            let right = 31 - zeros;
            let half = if right > 0 { 1i64 << (right - 1) } else { 0 };
            for y in y {
                *y = ((i64::from(*y) * reciprocal + half) >> right).clamp(0, 32767) as i16;
            }
        })
    }
}

fn positive(scale: f32) -> Result<()> {
    if scale > 0.0 && scale.is_finite() {
        return Ok(());
    }
    Err(Error::new("quantized softmax", format!("scale: expected a positive number, found {scale}")))
}

/// Calls `f` for each row.
fn rows<X: Sync, Y: Send>(
    x: &[X],
    y: &mut [Y],
    row: usize,
    par: &dyn Parallel,
    f: &(dyn Fn(&[X], &mut [Y]) + Sync),
) -> Result<()> {
    check_len("quantized softmax", "y", x.len(), y.len())?;
    if x.is_empty() {
        return Ok(());
    }
    if row == 0 || x.len() % row != 0 {
        return Err(Error::length("quantized softmax", "x, in rows", row, x.len()));
    }
    for_each_part(par, y, row, &|i, part| f(&x[i * row..][..row], part));
    Ok(())
}

/// A function at 513 places in 15 bits; each value is corrected by half the error of the interpolation in the middle.
fn table(f: &dyn Fn(f64) -> f64, lo: f64, hi: f64) -> Vec<i16> {
    let step = (hi - lo) / 512.0;
    let unit = 32768.0;
    let limit = |v: f64| v.clamp(-32768.0, 32767.0) as i16;
    let one = |i: usize| {
        let x = lo + i as f64 * step;
        let sample = (f(x) * unit).round();
        let between = f64::midpoint(f(lo + (i + 1) as f64 * step) * unit, sample).round();
        let middle = (f(x + step / 2.0) * unit).round();
        limit(sample - ((between - middle) / 2.0).round())
    };
    (0..512).map(one).chain([limit((f(hi) * unit).round())]).collect()
}

/// The table at a number of 16 bits (saturated), interpolated in 7 of them.
fn look_up(table: &[i16], at: i32) -> i16 {
    let at = at.clamp(-32768, 32767);
    let index = (256 + (at >> 7)) as usize;
    let (base, next) = (i32::from(table[index]), i32::from(table[index + 1]));
    (base + (((next - base) * (at & 0x7f) + 64) >> 7)) as i16
}
