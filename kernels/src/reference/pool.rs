//! Pooling over one to three spatial axes, channels first.

use super::window::{Window, lead};

/// What is made of the elements of a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PoolKind {
    /// The largest element; padding never wins, and an empty window gives negative infinity.
    Max,
    /// The mean. With `count_padding` the padding counts as zeros, except where a window reaches past the padding.
    Average {
        /// Whether padding positions are part of the divisor.
        count_padding: bool,
    },
    /// `(sum of |x|^p)^(1/p)`; `p = 2` is the Euclidean norm.
    Norm {
        /// The exponent, at least 1.
        p: f32,
    },
}

/// Pools `x` `[N, C, spatial..]` into `[N, C, out..]`. The extents `out` are explicit, since windows may be rounded down or
/// up: [`Window::output`], [`Window::output_ceil`].
///
/// # Panics
/// When shapes and slices do not fit.
pub fn pool(x: &[f32], x_shape: &[usize], kind: PoolKind, window: &Window, out: &[usize]) -> (Vec<f32>, Vec<usize>) {
    assert_eq!(x.len(), x_shape.iter().product::<usize>());
    assert_eq!((x_shape.len() - 2, out.len()), (window.rank(), window.rank()));
    let y_shape: Vec<usize> = x_shape[..2].iter().chain(out).copied().collect();
    let (win, size, out) = (window.to3(), lead(&x_shape[2..], 1), lead(out, 1));
    let plane: usize = size.iter().product();
    let mut y = Vec::with_capacity(y_shape.iter().product());
    for channel in 0..x_shape[0] * x_shape[1] {
        let x = &x[channel * plane..][..plane];
        for at in positions(out) {
            let mut state = State::new(kind);
            for tap in positions(win.kernel) {
                let axis = |i: usize| win.at(i, at[i], tap[i], size[i]);
                if let (Some(a), Some(b), Some(c)) = (axis(0), axis(1), axis(2)) {
                    state.add(x[(a * size[1] + b) * size[2] + c]);
                } else if (0..3)
                    .all(|i| at[i] * win.stride[i] + tap[i] * win.dilation[i] < size[i] + win.pads[i].0 + win.pads[i].1)
                {
                    state.padding += 1;
                }
            }
            y.push(state.result());
        }
    }
    (y, y_shape)
}

/// The largest element of each window and its flat index in `x`, the first one of equals; `None` for a window of padding only.
///
/// # Panics
/// When shapes and slices do not fit.
pub fn max_with_indices(
    x: &[f32],
    x_shape: &[usize],
    window: &Window,
    out: &[usize],
) -> (Vec<f32>, Vec<Option<usize>>) {
    assert_eq!(x.len(), x_shape.iter().product::<usize>());
    let (win, size, out) = (window.to3(), lead(&x_shape[2..], 1), lead(out, 1));
    let plane: usize = size.iter().product();
    let mut results = (Vec::new(), Vec::new());
    for channel in 0..x_shape[0] * x_shape[1] {
        for at in positions(out) {
            let mut best: Option<usize> = None;
            for tap in positions(win.kernel) {
                let axis = |i: usize| win.at(i, at[i], tap[i], size[i]);
                if let (Some(a), Some(b), Some(c)) = (axis(0), axis(1), axis(2)) {
                    let i = channel * plane + (a * size[1] + b) * size[2] + c;
                    best = if best.is_none_or(|b| x[i] > x[b]) { Some(i) } else { best };
                }
            }
            results.0.push(best.map_or(f32::NEG_INFINITY, |i| x[i]));
            results.1.push(best);
        }
    }
    results
}

/// Pools all positions: `[N, C, spatial..]` into `[N, C, 1..]`.
///
/// # Panics
/// When shapes and slices do not fit.
pub fn global(x: &[f32], x_shape: &[usize], kind: PoolKind) -> (Vec<f32>, Vec<usize>) {
    let plane: usize = x_shape[2..].iter().product();
    let y = (0..x_shape[0] * x_shape[1]).map(|channel| {
        let mut state = State::new(kind);
        x[channel * plane..][..plane].iter().for_each(|&v| state.add(v));
        state.result()
    });
    let shape = x_shape.iter().enumerate().map(|(i, &s)| if i < 2 { s } else { 1 });
    (y.collect(), shape.collect())
}

fn positions([a, b, c]: [usize; 3]) -> impl Iterator<Item = [usize; 3]> {
    (0..a).flat_map(move |z| (0..b).flat_map(move |y| (0..c).map(move |x| [z, y, x])))
}

struct State {
    kind: PoolKind,
    value: f64,
    count: usize,
    padding: usize,
}

impl State {
    fn new(kind: PoolKind) -> Self {
        let value = if kind == PoolKind::Max { f64::NEG_INFINITY } else { 0.0 };
        Self { kind, value, count: 0, padding: 0 }
    }
    fn add(&mut self, x: f32) {
        let x = f64::from(x);
        self.count += 1;
        match self.kind {
            PoolKind::Max => self.value = if x > self.value { x } else { self.value },
            PoolKind::Average { .. } => self.value += x,
            PoolKind::Norm { p } => self.value += x.abs().powf(f64::from(p)),
        }
    }
    fn result(&self) -> f32 {
        let value = match self.kind {
            PoolKind::Max => self.value,
            PoolKind::Average { count_padding } => {
                let divisor = self.count + if count_padding { self.padding } else { 0 };
                if divisor == 0 { 0.0 } else { self.value / divisor as f64 }
            }
            PoolKind::Norm { p } => self.value.powf(1.0 / f64::from(p)),
        };
        value as f32
    }
}
