//! Integer networks: sums in 64 bits over plain loops, channels first, and roundings written as the real numbers they stand for.

use super::conv::ConvParams;
use super::window::{Window, lead};
use crate::quantize::Requant;

/// `floor(a / b)` for a positive `b`.
fn floor(a: i128, b: i128) -> i128 {
    a.div_euclid(b)
}

/// `a / 2^bits` to nearest, ties away from zero.
fn away(a: i128, bits: u32) -> i128 {
    let half = if bits == 0 { 0 } else { 1i128 << (bits - 1) };
    a.signum() * floor(a.abs() + half, 1 << bits)
}

/// The multiplier of a real number: 31 bits and a power of two, found by trying.
fn multiplier(real: f64) -> (i128, i32) {
    if real == 0.0 || !real.is_finite() {
        return (0, 0);
    }
    for shift in -31..=30 {
        let mantissa = (real * 2f64.powi(31 - shift)).round();
        if mantissa.abs() < 2f64.powi(31) {
            let normal = mantissa.abs() >= 2f64.powi(30);
            return if normal { (mantissa as i128, shift) } else { (0, 0) };
        }
    }
    ((real * 2.0).round() as i128, 30)
}

/// `clamp(round(sum * scale) + zero, lo, hi)` by one of the rules; `wide` for sums of 64 bits.
pub fn requantize(rule: Requant, sum: i64, scale: f64, zero: i32, (lo, hi): (i32, i32), wide: bool) -> i32 {
    let scaled = match rule {
        Requant::FloatRne => {
            let real = sum as f32 * scale as f32;
            // Beyond 2^31 the range decides anyway.
            f64::from(real).clamp(-2147483648.0, 2147483647.0).round_ties_even() as i128
        }
        Requant::TfliteFixed if wide => {
            let (mantissa, shift) = multiplier(scale);
            let upper = floor(mantissa + (1 << 15), 1 << 16).min(0x7fff);
            floor(i128::from(sum) * upper * 2 + (1 << (15 - shift)), 1 << (16 - shift))
        }
        Requant::TfliteOnce => {
            let (mantissa, shift) = multiplier(scale);
            floor(i128::from(sum) * mantissa * 2 + (1 << (31 - shift)), 1 << (32 - shift))
        }
        Requant::TfliteFixed => {
            let (mantissa, shift) = multiplier(scale);
            let left = i128::from(((sum as i32) << shift.max(0)) as i64 as i32);
            // Half is added and the rest cut: ties go upwards.
            let product = floor(left * mantissa + (1 << 30), 1 << 31);
            away(product, (-shift).max(0) as u32)
        }
    };
    (scaled + i128::from(zero)).clamp(lo.into(), hi.into()) as i32
}

/// All positions of a box, the last axis fastest.
fn positions(size: [usize; 3]) -> impl Iterator<Item = [usize; 3]> {
    (0..size.iter().product::<usize>()).map(move |i| [i / (size[1] * size[2]), i / size[2] % size[1], i % size[2]])
}

fn window(params: &ConvParams, kernel: &[usize]) -> Window {
    Window {
        kernel: kernel.to_vec(),
        stride: params.stride.clone(),
        dilation: params.dilation.clone(),
        pads: params.pads.clone(),
    }
}

/// Sums of a convolution: `x [N, C, spatial..]` and `w [O, C / groups, kernel..]`, both less their zero points.
///
/// # Panics
/// When shapes and slices do not fit.
pub fn conv(x: &[i64], x_shape: &[usize], w: &[i64], w_shape: &[usize], params: &ConvParams) -> (Vec<i64>, Vec<usize>) {
    let (n, c, o, per) = (x_shape[0], x_shape[1], w_shape[0], w_shape[1]);
    let out = params.output(&x_shape[2..], &w_shape[2..]);
    let shape: Vec<usize> = [n, o].into_iter().chain(out.iter().copied()).collect();
    let (win, size, outer) = (window(params, &w_shape[2..]).to3(), lead(&x_shape[2..], 1), lead(&out, 1));
    let (plane, taps): (usize, usize) = (size.iter().product(), win.kernel.iter().product());
    let mut y = Vec::with_capacity(shape.iter().product());
    for (image, oc) in (0..n).flat_map(|i| (0..o).map(move |c| (i, c))) {
        let group = oc / (o / params.groups);
        for at in positions(outer) {
            let mut sum = 0i64;
            for ic in 0..per {
                let x = &x[(image * c + group * per + ic) * plane..][..plane];
                let w = &w[(oc * per + ic) * taps..][..taps];
                for (tap, w) in positions(win.kernel).zip(w) {
                    let axis = |a: usize| win.at(a, at[a], tap[a], size[a]);
                    if let (Some(i), Some(j), Some(k)) = (axis(0), axis(1), axis(2)) {
                        sum += x[(i * size[1] + j) * size[2] + k] * w;
                    }
                }
            }
            y.push(sum);
        }
    }
    (y, shape)
}

/// Sums of a transposed convolution: every number of `x [N, C, spatial..]` adds its multiple of `w [C, O / groups, kernel..]`.
///
/// # Panics
/// When shapes and slices do not fit.
pub fn conv_transpose(
    x: &[i64],
    x_shape: &[usize],
    w: &[i64],
    w_shape: &[usize],
    params: &ConvParams,
) -> (Vec<i64>, Vec<usize>) {
    let (n, c, per) = (x_shape[0], x_shape[1], w_shape[1]);
    let o = per * params.groups;
    let out = params.transposed_output(&x_shape[2..], &w_shape[2..]);
    let shape: Vec<usize> = [n, o].into_iter().chain(out.iter().copied()).collect();
    let (win, size, outer) = (window(params, &w_shape[2..]).to3(), lead(&x_shape[2..], 1), lead(&out, 1));
    let (plane, taps, to): (usize, usize, usize) =
        (size.iter().product(), win.kernel.iter().product(), outer.iter().product());
    let mut y = vec![0i64; shape.iter().product()];
    for (image, ic) in (0..n).flat_map(|i| (0..c).map(move |c| (i, c))) {
        let group = ic / (c / params.groups);
        for (at, v) in positions(size).zip(&x[(image * c + ic) * plane..][..plane]) {
            for oc in 0..per {
                let y = &mut y[(image * o + group * per + oc) * to..][..to];
                for (tap, w) in positions(win.kernel).zip(&w[(ic * per + oc) * taps..][..taps]) {
                    let axis = |a: usize| win.at(a, at[a], tap[a], outer[a]);
                    if let (Some(i), Some(j), Some(k)) = (axis(0), axis(1), axis(2)) {
                        y[(i * outer[1] + j) * outer[2] + k] += v * w;
                    }
                }
            }
        }
    }
    (y, shape)
}

/// Pools `x [N, C, spatial..]` into `[N, C, out..]`: the largest of a window, or its mean to nearest, ties away from zero.
///
/// # Panics
/// When shapes and slices do not fit.
pub fn pool(x: &[i64], x_shape: &[usize], mean: bool, window: &Window, out: &[usize]) -> Vec<i64> {
    let (win, size, outer) = (window.to3(), lead(&x_shape[2..], 1), lead(out, 1));
    let plane: usize = size.iter().product();
    let mut y = Vec::new();
    for channel in 0..x_shape[0] * x_shape[1] {
        for at in positions(outer) {
            let inside = positions(win.kernel).filter_map(|tap| {
                let axis = |a: usize| win.at(a, at[a], tap[a], size[a]);
                Some(x[channel * plane + (axis(0)? * size[1] + axis(1)?) * size[2] + axis(2)?])
            });
            let inside: Vec<i64> = inside.collect();
            let (sum, count) = (inside.iter().sum::<i64>(), inside.len() as i64);
            let rounded = || sum.signum() * ((2 * sum.abs() + count) / (2 * count.max(1)));
            y.push(if mean { rounded() } else { inside.into_iter().max().unwrap_or(i64::MIN) });
        }
    }
    y
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roundings_are_those_of_the_definition() {
        let fixed = |sum, scale| requantize(Requant::TfliteFixed, sum, scale, 0, (-128, 127), false);
        assert_eq!([5, -5, 6, -6].map(|s| fixed(s, 0.25)), [2, -1, 2, -2]);
        assert_eq!([300, -300].map(|s| fixed(s, 0.75)), [127, -128]);
        let even = |sum, scale| requantize(Requant::FloatRne, sum, scale, 1, (-128, 127), false);
        assert_eq!([5, 7, -5].map(|s| even(s, 0.5)), [3, 5, -1]);
    }
}
