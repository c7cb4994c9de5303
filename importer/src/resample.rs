//! Resampling by a filter, as weights: each output pixel of an axis is a weighted sum of input pixels.

/// A resampling kernel: support radius and function of the distance in input pixels.
#[derive(Clone, Copy)]
pub(crate) struct Filter {
    radius: f64,
    weight: fn(f64, f64) -> f64,
    /// Steps to which distances are rounded.
    steps: Option<f64>,
    /// Pixels outside are those at the border; otherwise they do not count, and the others weigh more.
    clamps: bool,
}

impl Filter {
    /// The filter of this name, as Keras and TensorFlow call them.
    pub fn named(name: &str) -> Option<Self> {
        let of = |radius: f64, weight: fn(f64, f64) -> f64| Self { radius, weight, steps: None, clamps: false };
        Some(match name {
            "box" => of(0.5, |x, _| if x < 0.5 { 1.0 } else { 0.5 }),
            "triangle" => of(1.0, |x, _| (1.0 - x).max(0.0)),
            "lanczos1" => of(1.0, lanczos),
            "lanczos3" => of(3.0, lanczos),
            "lanczos5" => of(5.0, lanczos),
            "gaussian" => of(1.5, gaussian),
            "keyscubic" => of(2.0, keys),
            "mitchellcubic" => of(2.0, mitchell),
            "bicubic" => Self { steps: Some(1024.0), ..of(2.0, keys) },
            "bicubic_legacy" => Self { steps: Some(1024.0), clamps: true, ..of(2.0, steep) },
            _ => return None,
        })
    }

    /// Weights `[size, n]` of an axis of `n` pixels scaled to `size` with half-pixel centres: output `i` lies at `(i + 0.5) n / size - 0.5`.
    pub fn matrix(&self, n: usize, size: usize) -> Vec<f32> {
        let scale = n as f64 / size.max(1) as f64;
        self.weights(n, size, |i, j| j - self.rounded((i as f64 + 0.5) * scale - 0.5))
    }

    /// A position between pixels, on the grid that the filter's table has.
    pub fn rounded(&self, at: f64) -> f64 {
        self.steps.map_or(at, |steps| at.floor() + ((at - at.floor()) * steps).round_ties_even() / steps)
    }

    /// Weights `[size, n]`, each row with sum 1 (or 0, where no pixel is in reach): `distance(i, j)` is that of pixel `j` from output
    /// `i`, in units of the filter.
    pub fn weights(&self, n: usize, size: usize, distance: impl Fn(usize, f64) -> f64) -> Vec<f32> {
        let mut all = Vec::with_capacity(n.saturating_mul(size));
        for i in 0..size {
            let row: Vec<f64> = (0..n).map(|j| self.of_pixel(j, n, |j| distance(i, j))).collect();
            let sum: f64 = row.iter().sum();
            let factor = if sum.abs() < 1e-12 { 0.0 } else { 1.0 / sum };
            all.extend(row.iter().map(|w| (w * factor) as f32));
        }
        all
    }

    fn of_pixel(&self, j: usize, n: usize, distance: impl Fn(f64) -> f64) -> f64 {
        let at = j as f64;
        let mut sum = self.at_distance(distance(at));
        if self.clamps {
            let reach = self.radius.ceil() as i32;
            for k in (1..=reach).map(f64::from) {
                if j == 0 {
                    sum += self.at_distance(distance(-k));
                }
                if j.saturating_add(1) == n {
                    sum += self.at_distance(distance(at + k));
                }
            }
        }
        sum
    }

    fn at_distance(&self, x: f64) -> f64 {
        if x.abs() > self.radius { 0.0 } else { (self.weight)(x.abs(), self.radius) }
    }
}

/// Weights `[size, n]`: output `i` is the mean of what lies between `i scale` and `(i + 1) scale`.
pub(crate) fn area(n: usize, size: usize, scale: f64) -> Vec<f32> {
    let mut all = Vec::with_capacity(n.saturating_mul(size));
    for i in 0..size {
        let row: Vec<f64> = (0..n).map(|j| overlap(i, j, scale)).collect();
        let sum: f64 = row.iter().sum();
        let factor = if sum.abs() < 1e-12 { 0.0 } else { 1.0 / sum };
        all.extend(row.iter().map(|w| (w * factor) as f32));
    }
    all
}

/// Part of input pixel `j` that output pixel `i` covers.
fn overlap(i: usize, j: usize, scale: f64) -> f64 {
    let (start, end) = (i as f64 * scale, (i as f64 + 1.0) * scale);
    (end.min(j as f64 + 1.0) - start.max(j as f64)).max(0.0)
}

fn lanczos(x: f64, radius: f64) -> f64 {
    use std::f64::consts::PI;
    if x < 1e-3 { 1.0 } else { radius * (PI * x).sin() * (PI * x / radius).sin() / (PI * PI * x * x) }
}

fn gaussian(x: f64, radius: f64) -> f64 {
    let sigma = radius / 3.0;
    if x >= radius { 0.0 } else { (-x * x / (2.0 * sigma * sigma)).exp() }
}

/// Keys, 1981, with a = -0.5.
fn keys(x: f64, _: f64) -> f64 {
    if x <= 1.0 {
        (1.5 * x - 2.5) * x * x + 1.0
    } else if x < 2.0 {
        ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    } else {
        0.0
    }
}

/// The same family with a = -0.75.
fn steep(x: f64, _: f64) -> f64 {
    const A: f64 = -0.75;
    if x <= 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A
    } else {
        0.0
    }
}

/// Mitchell and Netravali, 1988, with B = C = 1/3.
fn mitchell(x: f64, _: f64) -> f64 {
    if x < 1.0 {
        ((7.0 / 6.0 * x - 2.0) * x) * x + 16.0 / 18.0
    } else if x < 2.0 {
        ((-7.0 / 18.0 * x + 2.0) * x - 10.0 / 3.0) * x + 16.0 / 9.0
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_weights_have_sum_one() {
        let names =
            ["bicubic", "bicubic_legacy", "lanczos3", "lanczos5", "gaussian", "mitchellcubic", "triangle", "box"];
        for name in names {
            let matrix = Filter::named(name).unwrap().matrix(9, 5);
            for row in matrix.chunks(9) {
                assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6, "{name}");
            }
        }
        assert_eq!(area(4, 2, 2.0), [0.5, 0.5, 0., 0., 0., 0., 0.5, 0.5]);
        assert!(Filter::named("sinc").is_none());
    }

    #[test]
    fn pixels_outside_are_those_at_the_border_where_a_filter_clamps() {
        // Half a pixel before the first: taps at -2, -1, 0, 1 weigh -3/32, 19/32, 19/32, -3/32.
        let row = Filter::named("bicubic_legacy").unwrap().weights(4, 1, |_, j| j + 0.5);
        assert_eq!(row, [35.0 / 32.0, -3.0 / 32.0, 0.0, 0.0]);
    }
}
