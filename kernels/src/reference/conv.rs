//! Convolution and transposed convolution over one to three spatial axes, channels first.

use super::window::{Window, Window3, lead};
use crate::isa::{Isa, Kernel, Simd};

/// How a convolution moves and which channels it joins. The kernel's extent comes from the weights.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConvParams {
    /// Step between windows, one entry per spatial axis.
    pub stride: Vec<usize>,
    /// Distance between taps.
    pub dilation: Vec<usize>,
    /// Zeros before and after each axis. In a transposed convolution: positions cut off there.
    pub pads: Vec<(usize, usize)>,
    /// Number of independent groups of channels.
    pub groups: usize,
    /// Positions added after each axis of a transposed convolution's output; a convolution ignores it.
    pub output_padding: Vec<usize>,
}

impl ConvParams {
    /// Stride 1, dilation 1, no padding, one group, on `rank` spatial axes.
    pub fn new(rank: usize) -> Self {
        Self {
            stride: vec![1; rank],
            dilation: vec![1; rank],
            pads: vec![(0, 0); rank],
            groups: 1,
            output_padding: vec![0; rank],
        }
    }
    fn window(&self, kernel: &[usize]) -> Window {
        Window {
            kernel: kernel.to_vec(),
            stride: self.stride.clone(),
            dilation: self.dilation.clone(),
            pads: self.pads.clone(),
        }
    }
    /// Spatial extents of a convolution's output.
    pub fn output(&self, size: &[usize], kernel: &[usize]) -> Vec<usize> {
        let window = self.window(kernel);
        size.iter().enumerate().map(|(i, &s)| window.output(i, s)).collect()
    }
    /// Spatial extents of a transposed convolution's output:
    /// `(size - 1) * stride + (kernel - 1) * dilation + 1 - pads + output_padding`, 0 for an empty input.
    pub fn transposed_output(&self, size: &[usize], kernel: &[usize]) -> Vec<usize> {
        let window = self.window(kernel);
        let extent = |(i, &s): (usize, &usize)| {
            let full = s.checked_sub(1).map_or(0, |s| s * self.stride[i] + window.span(i) + self.output_padding[i]);
            full.saturating_sub(self.pads[i].0 + self.pads[i].1)
        };
        size.iter().enumerate().map(extent).collect()
    }
}

/// Cross-correlation of `x` `[N, C, spatial..]` with `w` `[O, C / groups, kernel..]`, plus `bias` `[O]`: `[N, O, out..]`.
///
/// # Panics
/// When shapes and slices do not fit.
pub fn conv(
    x: &[f32],
    x_shape: &[usize],
    w: &[f32],
    w_shape: &[usize],
    bias: Option<&[f32]>,
    params: &ConvParams,
) -> (Vec<f32>, Vec<usize>) {
    let (n, c, o, per) = (x_shape[0], x_shape[1], w_shape[0], w_shape[1]);
    assert_eq!(c, per * params.groups, "channels of the input and of the weights");
    assert_eq!(x.len(), x_shape.iter().product::<usize>());
    assert_eq!(w.len(), w_shape.iter().product::<usize>());
    let out = params.output(&x_shape[2..], &w_shape[2..]);
    let y_shape: Vec<usize> = [n, o].into_iter().chain(out.iter().copied()).collect();
    let walk = Walk::new(&params.window(&w_shape[2..]), &x_shape[2..], &out);
    let (plane, taps, size) = (walk.inside(), walk.taps(), walk.outside());
    if o / params.groups >= SIDE && size > 0 {
        return (blocks(x, (n, c), w, (o, per), bias, params.groups, &walk), y_shape);
    }
    let mut y = Vec::with_capacity(y_shape.iter().product());
    let mut acc = vec![0.0; size];
    for image in 0..n {
        for oc in 0..o {
            acc.fill(bias.map_or(0.0, |b| f64::from(b[oc])));
            let group = oc / (o / params.groups);
            for ic in 0..per {
                let source = &x[(image * c + group * per + ic) * plane..][..plane];
                walk.correlate(&mut acc, source, &w[(oc * per + ic) * taps..][..taps]);
            }
            y.extend(acc.iter().map(|&v| v as f32));
        }
    }
    (y, y_shape)
}

/// Output channels that are summed together.
const SIDE: usize = 4;
/// Output positions that are summed together.
const LANES: usize = 8;

/// The sums of [`conv`], [`SIDE`] channels by [`LANES`] positions at a time so that they stay in registers. Every sum runs over the
/// same products in the same order as one by one: bias, then channels, then taps; a tap in the padding adds a product with 0.
fn blocks(
    x: &[f32],
    (n, c): (usize, usize),
    w: &[f32],
    (o, per): (usize, usize),
    bias: Option<&[f32]>,
    groups: usize,
    walk: &Walk,
) -> Vec<f32> {
    let (plane, taps, size) = (walk.inside(), walk.taps(), walk.outside());
    let (wide, depth) = (o / groups, per * taps);
    let tiles = wide.div_ceil(SIDE);
    let isa = Isa::detect();
    let mut y = vec![0.0; n * o * size];
    let mut panel = vec![[0.0f64; LANES]; depth];
    let mut weights = vec![[0.0f32; SIDE]; tiles * depth];
    for group in 0..groups {
        for (oc, row) in w[group * wide * depth..][..wide * depth].chunks_exact(depth.max(1)).enumerate() {
            let tile = &mut weights[oc / SIDE * depth..][..depth];
            tile.iter_mut().zip(row).for_each(|(to, &v)| to[oc % SIDE] = v);
        }
        for image in 0..n {
            let source = &x[(image * c + group * per) * plane..][..per * plane];
            for start in (0..size).step_by(LANES) {
                walk.gather(source, start, &mut panel);
                let count = LANES.min(size - start);
                for tile in 0..tiles {
                    let first = group * wide + tile * SIDE;
                    let channels = SIDE.min(wide - tile * SIDE);
                    let mut acc = [[0.0f64; LANES]; SIDE];
                    for (i, acc) in acc.iter_mut().enumerate().take(channels) {
                        *acc = [bias.map_or(0.0, |b| f64::from(b[first + i])); LANES];
                    }
                    let acc = isa.dispatch(Sums { w: &weights[tile * depth..][..depth], x: &panel, acc });
                    for (i, acc) in acc.iter().enumerate().take(channels) {
                        let to = &mut y[(image * o + first + i) * size + start..][..count];
                        to.iter_mut().zip(acc).for_each(|(y, &a)| *y = a as f32);
                    }
                }
            }
        }
    }
    y
}

/// Adds the products of every channel's weight with every position's element: plain loops, compiled for the machine.
struct Sums<'a> {
    w: &'a [[f32; SIDE]],
    x: &'a [[f64; LANES]],
    acc: [[f64; LANES]; SIDE],
}

impl Kernel for Sums<'_> {
    type Output = [[f64; LANES]; SIDE];
    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> Self::Output {
        let mut acc = self.acc;
        for (w, x) in self.w.iter().zip(self.x) {
            for (acc, &w) in acc.iter_mut().zip(w) {
                let w = f64::from(w);
                for (a, &x) in acc.iter_mut().zip(x) {
                    *a += w * x;
                }
            }
        }
        acc
    }
}

/// The adjoint of [`conv`]: every input element adds its multiple of the kernel to the output. `x` `[N, C, spatial..]`, `w`
/// `[C, O / groups, kernel..]`, `bias` `[O]`: `[N, O, out..]`.
///
/// # Panics
/// When shapes and slices do not fit.
pub fn conv_transpose(
    x: &[f32],
    x_shape: &[usize],
    w: &[f32],
    w_shape: &[usize],
    bias: Option<&[f32]>,
    params: &ConvParams,
) -> (Vec<f32>, Vec<usize>) {
    let (n, c, per_out) = (x_shape[0], x_shape[1], w_shape[1]);
    let (o, per) = (per_out * params.groups, c / params.groups);
    assert_eq!(c, w_shape[0], "channels of the input and of the weights");
    assert_eq!(x.len(), x_shape.iter().product::<usize>());
    assert_eq!(w.len(), w_shape.iter().product::<usize>());
    let out = params.transposed_output(&x_shape[2..], &w_shape[2..]);
    let y_shape: Vec<usize> = [n, o].into_iter().chain(out.iter().copied()).collect();
    // The output takes the place of a convolution's input.
    let walk = Walk::new(&params.window(&w_shape[2..]), &out, &x_shape[2..]);
    let (size, taps, plane) = (walk.inside(), walk.taps(), walk.outside());
    let mut y = Vec::with_capacity(y_shape.iter().product());
    let mut acc = vec![0.0; size];
    for image in 0..n {
        for oc in 0..o {
            acc.fill(bias.map_or(0.0, |b| f64::from(b[oc])));
            let group = oc / per_out;
            for ic in group * per..(group + 1) * per {
                let source = &x[(image * c + ic) * plane..][..plane];
                walk.scatter(&mut acc, source, &w[(ic * per_out + oc % per_out) * taps..][..taps]);
            }
            y.extend(acc.iter().map(|&v| v as f32));
        }
    }
    (y, y_shape)
}

/// One plane seen through a window: `inside` is what the taps touch, `outside` has one element per window.
struct Walk {
    window: Window3,
    inside: [usize; 3],
    outside: [usize; 3],
}

impl Walk {
    fn new(window: &Window, inside: &[usize], outside: &[usize]) -> Self {
        let (mut window, mut inside, mut outside) = (window.to3(), lead(inside, 1), lead(outside, 1));
        // A kernel of one tap without stride and padding sees the plane as one long row.
        if window.kernel == [1; 3] && window.stride == [1; 3] && window.pads == [(0, 0); 3] && inside == outside {
            inside = [1, 1, inside.iter().product()];
            outside = inside;
            window.dilation = [1; 3];
        }
        Self { window, inside, outside }
    }
    fn inside(&self) -> usize {
        self.inside.iter().product()
    }
    fn outside(&self) -> usize {
        self.outside.iter().product()
    }
    fn taps(&self) -> usize {
        self.window.kernel.iter().product()
    }

    /// What the taps of [`LANES`] windows from `start` on touch, `[channels * taps]`: zeros in the padding and behind the last window.
    fn gather(&self, x: &[f32], start: usize, panel: &mut [[f64; LANES]]) {
        let (win, [id, ih, iw], [_, oh, ow]) = (&self.window, self.inside, self.outside);
        let (plane, taps) = (self.inside(), self.taps());
        panel.fill([0.0; LANES]);
        for p in 0..LANES.min(self.outside() - start) {
            let at = start + p;
            let (oz, oy, ox) = (at / (oh * ow), at / ow % oh, at % ow);
            for tap in 0..taps {
                let [_, kh, kw] = win.kernel;
                let (kz, ky, kx) = (tap / (kh * kw), tap / kw % kh, tap % kw);
                let place = (win.at(0, oz, kz, id), win.at(1, oy, ky, ih), win.at(2, ox, kx, iw));
                let (Some(z), Some(y), Some(x_)) = place else { continue };
                let from = (z * ih + y) * iw + x_;
                let channels = x[from..].iter().step_by(plane);
                panel[tap..].iter_mut().step_by(taps).zip(channels).for_each(|(to, &v)| to[p] = f64::from(v));
            }
        }
    }

    /// Calls `row(tap, first, outside start, count, inside start)` for every tap and every row of windows it touches.
    fn rows(&self, mut row: impl FnMut(usize, usize, usize, usize)) {
        let (win, [_, ih, iw], [od, oh, ow]) = (&self.window, self.inside, self.outside);
        let [kd, kh, kw] = win.kernel;
        for (kz, ky) in (0..kd).flat_map(|z| (0..kh).map(move |y| (z, y))) {
            for kx in 0..kw {
                let columns = win.inside(2, kx, iw, ow);
                if columns.is_empty() {
                    continue;
                }
                let first = columns.start * win.stride[2] + kx * win.dilation[2] - win.pads[2].0;
                for (oz, oy) in (0..od).flat_map(|z| (0..oh).map(move |y| (z, y))) {
                    let (iz, iy) = (win.at(0, oz, kz, self.inside[0]), win.at(1, oy, ky, ih));
                    if let (Some(iz), Some(iy)) = (iz, iy) {
                        let outside = (oz * oh + oy) * ow + columns.start;
                        row((kz * kh + ky) * kw + kx, outside, columns.len(), (iz * ih + iy) * iw + first);
                    }
                }
            }
        }
    }

    /// `acc[window] += w[tap] * x[window + tap]`.
    fn correlate(&self, acc: &mut [f64], x: &[f32], w: &[f32]) {
        let stride = self.window.stride[2];
        self.rows(|tap, outside, count, inside| {
            let weight = f64::from(w[tap]);
            let acc = &mut acc[outside..outside + count];
            if stride == 1 {
                for (a, &v) in acc.iter_mut().zip(&x[inside..inside + count]) {
                    *a += weight * f64::from(v);
                }
            } else {
                for (a, &v) in acc.iter_mut().zip(x[inside..].iter().step_by(stride)) {
                    *a += weight * f64::from(v);
                }
            }
        });
    }

    /// `acc[window + tap] += w[tap] * x[window]`.
    fn scatter(&self, acc: &mut [f64], x: &[f32], w: &[f32]) {
        let stride = self.window.stride[2];
        self.rows(|tap, outside, count, inside| {
            let weight = f64::from(w[tap]);
            for (a, &v) in acc[inside..].iter_mut().step_by(stride).zip(&x[outside..outside + count]) {
                *a += weight * f64::from(v);
            }
        });
    }
}
