//! Signals: Fourier transforms and the weights of mel bands. Complex numbers are pairs along a last axis of extent 2.

use super::attrs::attributes;
use super::elementwise::{cast, operand};
use super::infer::{Infer, ValueType, normalize_axis};
use super::operands::{shape, unknown_shape};
use super::{Evaluate, Operator};
use crate::{DType, Dim, Error, Result, Tensor};
use std::f64::consts::TAU;
use std::ops::{Add, Div, Mul, Neg, Sub};

attributes! {
    /// Discrete Fourier transform along an axis. Inputs `x [..., 1 or 2]` (real or complex), optional `length` (one integer: `x` is cut or filled up with
    /// zeros to it), optional `axis` (one integer; -2). Output `[..., 2]`; `[..., 1]` for the inverse of one side.
    pub struct Dft {
        /// The inverse transform, divided by the length.
        pub inverse: bool = false,
        /// Only the first half of frequencies and the one in the middle, of a real signal.
        pub one_sided: bool = false,
    }
    /// Transforms of overlapping parts of a signal. Inputs `x [N, L, 1 or 2]`, `step` (one integer), optional `window [length]`, optional `length`
    /// (one integer); output `[N, frames, frequencies, 2]`.
    pub struct Stft {
        /// Only the first half of frequencies and the one in the middle.
        pub one_sided: bool = true,
    }
    /// Weights that make mel bands of frequencies. Inputs: bands, length of the transform, sample rate, lowest and highest frequency (one number each);
    /// output `[length / 2 + 1, bands]`.
    pub struct MelWeights {
        /// Element type of the output.
        pub dtype: DType = DType::F32,
    }
}

/// Most steps of a transform.
const MOST_STEPS: usize = 1 << 32;

/// The only integer of an optional operand that is known beforehand.
fn known(cx: &Infer, i: usize) -> Option<Dim> {
    cx.dims(i).and_then(|d| d.first().cloned())
}

fn integer(inputs: &[Option<&Tensor>], i: usize) -> Result<Option<i64>> {
    let Some(t) = inputs.get(i).copied().flatten() else { return Ok(None) };
    match t.to_i64()?.as_slice() {
        [n] => Ok(Some(*n)),
        other => Err(Error::argument(format!("input {i}: expected one integer, found {}", other.len()))),
    }
}

/// A float that transforms are made in.
trait Real:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self> + Neg<Output = Self>
{
    fn of(x: f64) -> Self;
    fn wide(self) -> f64;
}

macro_rules! real {
    ($($ty:ty),*) => { $(impl Real for $ty {
        fn of(x: f64) -> Self { x as $ty }
        fn wide(self) -> f64 { self as f64 }
    })* };
}
real!(f32, f64);

type Complex<T> = (T, T);

fn plus<T: Real>(a: Complex<T>, b: Complex<T>) -> Complex<T> {
    (a.0 + b.0, a.1 + b.1)
}

fn minus<T: Real>(a: Complex<T>, b: Complex<T>) -> Complex<T> {
    (a.0 - b.0, a.1 - b.1)
}

/// A length as the radices of a mixed-radix transform: a 2 first, then fours, then odd primes.
fn radices(mut n: usize) -> Vec<usize> {
    let mut out = Vec::new();
    while n.is_multiple_of(4) {
        out.push(4);
        n /= 4;
    }
    if n.is_multiple_of(2) {
        out.insert(0, 2);
        n /= 2;
    }
    let mut p = 3;
    while n > 1 {
        while n.is_multiple_of(p) {
            out.push(p);
            n /= p;
        }
        p = if p * p > n { n.max(p) } else { p + 2 };
    }
    out
}

/// The transform of `x.len()` = 2, 4 or an odd number of values, without twiddles; `s` is -1, or 1 for the inverse.
fn butterfly<T: Real>(x: &[Complex<T>], s: f64) -> Vec<Complex<T>> {
    let turned = |a: Complex<T>| if s < 0.0 { (a.1, -a.0) } else { (-a.1, a.0) };
    match *x {
        [a, b] => vec![plus(a, b), minus(a, b)],
        [a, b, c, d] => {
            let (even, odd) = (plus(a, c), plus(b, d));
            let (half, quarter) = (minus(a, c), turned(minus(b, d)));
            vec![plus(even, odd), plus(half, quarter), minus(even, odd), minus(half, quarter)]
        }
        _ => {
            // Opposite values share their cosines and have opposite sines.
            let r = x.len();
            let pairs: Vec<_> = (1..=r / 2).map(|j| (plus(x[j], x[r - j]), minus(x[j], x[r - j]))).collect();
            let mut y = vec![pairs.iter().fold(x[0], |sum, p| plus(sum, p.0)); r];
            for q in 1..=r / 2 {
                let (mut even, mut odd) = (x[0], None);
                for (j, &(sum, difference)) in pairs.iter().enumerate() {
                    let angle = TAU * ((j + 1) * q % r) as f64 / r as f64;
                    let (c, w) = (T::of(angle.cos()), T::of(angle.sin()) * T::of(s));
                    even = (even.0 + c * sum.0, even.1 + c * sum.1);
                    let part = (-w * difference.1, w * difference.0);
                    odd = Some(odd.map_or(part, |o| plus(o, part)));
                }
                let odd = odd.unwrap_or((T::of(0.0), T::of(0.0)));
                (y[q], y[r - q]) = (plus(even, odd), minus(even, odd));
            }
            y
        }
    }
}

/// The transform of a line by Stockham's mixed-radix algorithm, the inverse divided by the length.
fn transform<T: Real>(line: &[Complex<T>], inverse: bool) -> Vec<Complex<T>> {
    let n = line.len();
    let s = if inverse { 1.0 } else { -1.0 };
    let twiddle = |k: usize| {
        let angle = TAU * k as f64 / n as f64;
        (T::of(angle.cos()), T::of(angle.sin()) * T::of(s))
    };
    let twiddles: Vec<Complex<T>> = (0..n).map(twiddle).collect();
    let (mut x, mut y) = (line.to_vec(), line.to_vec());
    let mut done = 1;
    for r in radices(n) {
        let inner = n / (done * r);
        for k in 0..done {
            for i in 0..inner {
                let values: Vec<Complex<T>> = (0..r).map(|j| x[i + inner * (j + r * k)]).collect();
                for (j, v) in butterfly(&values, s).into_iter().enumerate() {
                    let (c, w) = twiddles[i * j * done % n];
                    let turned = (v.0 * c - v.1 * w, v.0 * w + v.1 * c);
                    y[i + inner * (k + done * j)] = if i * j == 0 { v } else { turned };
                }
            }
        }
        std::mem::swap(&mut x, &mut y);
        done *= r;
    }
    if inverse {
        let scale = T::of(1.0) / T::of(n as f64);
        x.iter_mut().for_each(|v| *v = (v.0 * scale, v.1 * scale));
    }
    x
}

/// A line cut or filled up to `length` and transformed. Complex numbers are computed in f32 where they are stored so, as transforms usually
/// are; what is real goes through f64, in which its symmetry is kept.
fn transformed(line: Vec<Complex<f64>>, length: usize, inverse: bool, single: bool) -> Vec<Complex<f64>> {
    let mut line = line;
    line.resize(length, (0.0, 0.0));
    if !single {
        return transform(&line, inverse);
    }
    let narrow: Vec<Complex<f32>> = line.iter().map(|v| (f32::of(v.0), f32::of(v.1))).collect();
    transform(&narrow, inverse).into_iter().map(|v| (v.0.wide(), v.1.wide())).collect()
}

/// Refuses a transform that would take too long: prime factors cost their size.
fn affordable(length: usize) -> Result<()> {
    let cost = length.saturating_mul(if length == 0 { 0 } else { radices(length).iter().sum::<usize>() });
    if length > 0 && cost <= MOST_STEPS {
        Ok(())
    } else {
        Err(Error::limit(format!("a transform of {length} takes {cost} steps")))
    }
}

/// One side of the frequencies of a real signal of `length` made whole.
fn both_sides(line: &[(f64, f64)], length: usize) -> Vec<(f64, f64)> {
    let get = |i: usize| line.get(i).copied().unwrap_or((0.0, 0.0));
    let mirror = |k: usize| {
        let (re, im) = get(k.min(length - k));
        // The frequencies that are their own mirror image are real.
        if k == 0 || 2 * k == length {
            (re, 0.0)
        } else if k <= length / 2 {
            (re, im)
        } else {
            (re, -im)
        }
    };
    (0..length).map(mirror).collect()
}

impl Dft {
    /// Extent of the axis in the output for a transform of `length`.
    fn extent(&self, length: &Dim) -> Dim {
        if self.one_sided && !self.inverse { length.div_floor(&Dim::from(2)) + Dim::from(1) } else { length.clone() }
    }

    /// Length of the transform of an axis of this extent, where none is given.
    fn default_length(&self, extent: &Dim) -> Dim {
        if self.one_sided && self.inverse { (extent.clone() - Dim::from(1)) * Dim::from(2) } else { extent.clone() }
    }
}

fn expect_signal(cx: &Infer) -> Result<()> {
    let x = cx.ty(0)?;
    let last = x.shape.last().and_then(Dim::known);
    if x.dtype.is_float() && x.shape.len() >= 2 && last.is_none_or(|n| n == 1 || n == 2) {
        return Ok(());
    }
    Err(Error::graph(format!("input 0: expected floats of shape [..., 1] or [..., 2], found {x}")))
}

impl Operator for Dft {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        expect_signal(cx)?;
        let x = cx.ty(0)?;
        let rank = x.shape.len();
        let last = Dim::from(if self.one_sided && self.inverse { 1 } else { 2 });
        let axis = if cx.has(2) { known(cx, 2).and_then(|d| d.known_signed()) } else { Some(-2) };
        let Some(axis) = axis else {
            let mut shape = unknown_shape(rank)?;
            shape[rank - 1] = last;
            return Ok(vec![ValueType::new(x.dtype, shape)]);
        };
        let axis = normalize_axis(axis, rank)?;
        if axis == rank - 1 {
            return Err(Error::graph("the last axis holds the parts of complex numbers"));
        }
        let length = if cx.has(1) { known(cx, 1) } else { Some(self.default_length(&x.shape[axis])) };
        let mut shape = x.shape.clone();
        shape[axis] = length.map_or_else(Dim::unknown, |l| self.extent(&l));
        shape[axis] = super::operands::extent(shape[axis].clone(), "the transformed axis")?;
        shape[rank - 1] = last;
        Ok(vec![ValueType::new(x.dtype, shape)])
    }
}

impl Evaluate for Dft {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let out = shape(self, inputs)?;
        let x = operand(inputs, 0)?;
        let axis = normalize_axis(integer(inputs, 2)?.unwrap_or(-2), x.rank())?;
        let extent = x.shape()[axis];
        let length = match integer(inputs, 1)? {
            Some(n) => usize::try_from(n).unwrap_or(0),
            None => self.default_length(&Dim::from(extent)).known().unwrap_or(0),
        };
        affordable(length)?;
        let (data, parts) = (x.to_f64(), x.shape()[x.rank() - 1]);
        let (inner, made, given) =
            (x.shape()[axis + 1..x.rank() - 1].iter().product::<usize>(), out[axis], out[out.len() - 1]);
        let lines = x.shape()[..axis].iter().product::<usize>() * inner;
        let mut y = vec![0.0f64; out.iter().product()];
        for l in 0..lines {
            let (outer, k) = (l / inner, l % inner);
            let at = |j: usize| ((outer * extent + j) * inner + k) * parts;
            let line: Vec<(f64, f64)> =
                (0..extent).map(|j| (data[at(j)], if parts == 2 { data[at(j) + 1] } else { 0.0 })).collect();
            let sides = self.inverse && self.one_sided;
            let whole = if sides { both_sides(&line, length) } else { line };
            let single = parts == 2 && !sides && x.dtype() == DType::F32;
            for (j, (re, im)) in transformed(whole, length, self.inverse, single).into_iter().take(made).enumerate() {
                let to = ((outer * made + j) * inner + k) * given;
                y[to] = re;
                if given == 2 {
                    y[to + 1] = im;
                }
            }
        }
        Ok(vec![cast(&Tensor::new(&out, y)?, x.dtype())?])
    }
}

impl Operator for Stft {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        expect_signal(cx)?;
        let x = cx.ty(0)?;
        if x.shape.len() != 3 || (!cx.has(2) && !cx.has(3)) {
            return Err(Error::graph(format!("expected a signal [N, L, 1 or 2] and a window or a length, found {x}")));
        }
        let length = if cx.has(3) {
            known(cx, 3).unwrap_or_else(Dim::unknown)
        } else {
            cx.shape(2)?.first().cloned().unwrap_or_else(|| Dim::from(0))
        };
        let frames = match known(cx, 1) {
            Some(step) if step.known().is_some_and(|s| s > 0) => {
                (x.shape[1].clone() - length.clone()).div_floor(&step) + Dim::from(1)
            }
            _ => Dim::unknown(),
        };
        let frames = super::operands::extent(frames, "the frames")?;
        let bins = if self.one_sided { length.div_floor(&Dim::from(2)) + Dim::from(1) } else { length };
        Ok(vec![ValueType::new(x.dtype, [x.shape[0].clone(), frames, bins, Dim::from(2)])])
    }
}

impl Evaluate for Stft {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let out = shape(self, inputs)?;
        let x = operand(inputs, 0)?;
        let window = inputs.get(2).copied().flatten().map(Tensor::to_f64);
        let step = integer(inputs, 1)?.and_then(|s| usize::try_from(s).ok()).filter(|&s| s > 0);
        let step = step.ok_or_else(|| Error::argument("input 1: expected a step of at least 1"))?;
        let length = match integer(inputs, 3)? {
            Some(n) => usize::try_from(n).unwrap_or(0),
            None => window.as_ref().map_or(0, Vec::len),
        };
        let short = window.as_ref().is_some_and(|w| w.len() > length);
        affordable(length)?;
        if short {
            return Err(Error::argument(format!("the window is longer than the frames of {length}")));
        }
        let (data, parts, total) = (x.to_f64(), x.shape()[2], x.shape()[1]);
        let mut y = Vec::with_capacity(out.iter().product());
        for n in 0..out[0] {
            for frame in 0..out[1] {
                let sample = |j: usize| {
                    let weight = window.as_ref().map_or(1.0, |w| w.get(j).copied().unwrap_or(0.0));
                    let at = (n * total + frame * step + j) * parts;
                    (data[at] * weight, if parts == 2 { data[at + 1] * weight } else { 0.0 })
                };
                let line: Vec<(f64, f64)> = (0..length).map(sample).collect();
                y.extend(
                    transformed(line, length, false, false).into_iter().take(out[2]).flat_map(|(re, im)| [re, im]),
                );
            }
        }
        Ok(vec![cast(&Tensor::new(&out, y)?, x.dtype())?])
    }
}

impl Operator for MelWeights {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        (0..5).try_for_each(|i| cx.ty(i).map(|_| ()))?;
        if !self.dtype.is_plain() {
            return Err(Error::graph(format!("expected a type of numbers, found {}", self.dtype)));
        }
        let bins = known(cx, 1).map(|l| l.div_floor(&Dim::from(2)) + Dim::from(1));
        let shape = [bins.unwrap_or_else(Dim::unknown), known(cx, 0).unwrap_or_else(Dim::unknown)];
        Ok(vec![ValueType::new(self.dtype, shape)])
    }
}

impl Evaluate for MelWeights {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let out = shape(self, inputs)?;
        let number = |i: usize| {
            let t = operand(inputs, i)?.to_f64();
            t.first().copied().ok_or_else(|| Error::argument(format!("input {i} is empty")))
        };
        let (bands, length) = (number(0)? as usize, number(1)? as usize);
        let (rows, columns) = (length / 2 + 1, bands);
        let (rate, low, high) = (number(2)?, number(3)?, number(4)?);
        // O'Shaughnessy's scale.
        let mel = |f: f64| 2595.0 * (f / 700.0).ln_1p() / 10f64.ln();
        let hertz = |m: f64| 700.0 * (m / 2595.0 * 10f64.ln()).exp_m1();
        let step = (mel(high) - mel(low)) / (bands + 2) as f64;
        let edge = |i: usize| {
            let bin = ((length + 1) as f64 * hertz(i as f64 * step + mel(low)) / rate).floor();
            if bin >= 0.0 && bin < rows as f64 {
                Ok(bin as usize)
            } else {
                Err(Error::argument(format!("frequency bin {bin} is outside 0 .. {rows}")))
            }
        };
        let edges: Vec<usize> = (0..bands + 2).map(edge).collect::<Result<_>>()?;
        let shape_fits = out.iter().product::<usize>() == rows.saturating_mul(columns);
        let all = if shape_fits { rows * columns } else { 0 };
        let mut y = vec![0.0f64; all];
        for band in 0..bands {
            let (left, centre, right) = (edges[band], edges[band + 1], edges[band + 2]);
            for j in left..=centre {
                y[j * columns + band] = if centre == left { 1.0 } else { (j - left) as f64 / (centre - left) as f64 };
            }
            for j in centre..right {
                y[j * columns + band] = (right - j) as f64 / (right - centre) as f64;
            }
        }
        Ok(vec![cast(&Tensor::new(&[rows, columns], y)?, self.dtype)?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inverse_gives_the_signal_back_from_both_sides_and_from_one() {
        let x = Tensor::new(&[1, 6, 1], vec![1.0f64, -2.0, 3.0, 0.5, 0.0, 4.0]).unwrap();
        for one_sided in [false, true] {
            let y = Dft { inverse: false, one_sided }.eval(&[Some(&x)], 1).unwrap();
            assert_eq!(y[0].shape(), [1, if one_sided { 4 } else { 6 }, 2]);
            let back = Dft { inverse: true, one_sided }.eval(&[Some(&y[0])], 1).unwrap();
            let parts = back[0].shape()[2];
            for (i, want) in x.to_f64().iter().enumerate() {
                assert!((back[0].to_f64()[i * parts] - want).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn every_length_gives_the_sum_of_its_definition() {
        for n in (1..=18).chain([25, 28, 49, 60, 64, 100, 101]) {
            let line: Vec<(f64, f64)> = (0..n).map(|i| ((i * i % 7) as f64 - 3.0, (i * 5 % 11) as f64)).collect();
            for inverse in [false, true] {
                let (s, scale) = if inverse { (1.0, 1.0 / n as f64) } else { (-1.0, 1.0) };
                let y = transform(&line, inverse);
                for (k, &(re, im)) in y.iter().enumerate() {
                    let mut want = (0.0, 0.0);
                    for (j, &(a, b)) in line.iter().enumerate() {
                        let angle = s * TAU * (k * j % n) as f64 / n as f64;
                        want.0 += (a * angle.cos() - b * angle.sin()) * scale;
                        want.1 += (a * angle.sin() + b * angle.cos()) * scale;
                    }
                    assert!((re - want.0).abs() < 1e-9 && (im - want.1).abs() < 1e-9, "{n} {k}: {re} {im} {want:?}");
                }
            }
        }
        assert!(affordable(0).is_err() && affordable(2_147_483_647).is_err() && affordable(1 << 20).is_ok());
    }

    #[test]
    fn frames_overlap_by_their_step() {
        let x = Tensor::new(&[1, 8, 1], vec![1.0f32; 8]).unwrap();
        let (step, length) = (Tensor::scalar(2i64), Tensor::scalar(4i64));
        let y = Stft::default().eval(&[Some(&x), Some(&step), None, Some(&length)], 1).unwrap();
        assert_eq!(y[0].shape(), [1, 3, 3, 2]);
        assert_eq!(y[0].to_f32()[..2], [4.0, 0.0]);
    }
}
