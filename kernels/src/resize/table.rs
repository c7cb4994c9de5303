//! Which input positions an output position is made of.

/// Interpolation.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Method {
    /// The nearest element.
    Nearest(Rounding),
    /// A triangle of half width 1.
    Linear {
        /// The triangle widens by `1 / scale` when shrinking.
        antialias: bool,
    },
    /// Keys' cubic convolution of half width 2.
    Cubic {
        /// The coefficient, -0.75 or -0.5 mostly.
        a: f64,
        /// The filter widens by `1 / scale` when shrinking.
        antialias: bool,
    },
}

/// Which element is nearest.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Rounding {
    /// Rounds, ties down.
    PreferFloor,
    /// Rounds, ties up.
    PreferCeil,
    /// Down.
    Floor,
    /// Up.
    Ceil,
}

/// How an output position maps to an input position.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Coordinates {
    /// `(x + 0.5) / scale - 0.5`
    HalfPixel,
    /// As half pixel, symmetric about the centre when the output extent was rounded.
    HalfPixelSymmetric,
    /// As half pixel, 0 where the output extent is 1.
    PytorchHalfPixel,
    /// `x * (in - 1) / (out - 1)`
    AlignCorners,
    /// `x / scale`
    Asymmetric,
    /// `(x + 0.5) / scale`
    TfHalfPixel,
    /// Between two positions given as parts of the axis; what lies outside the input gives a constant.
    CropAndResize {
        /// Where output 0 lies: 0 is the first element, 1 the last.
        start: f64,
        /// Where the last output lies.
        end: f64,
    },
}

/// One axis.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Axis {
    /// Extent of the input.
    pub input: usize,
    /// Extent of the output.
    pub output: usize,
    /// Output over input as it was asked for; the extents may be rounded.
    pub scale: f64,
    /// The mapping.
    pub coordinates: Coordinates,
}

impl Axis {
    /// The input position of an output position; `None` outside the region of interest.
    fn position(&self, at: usize) -> Option<f64> {
        let (x, input) = (at as f64, self.input as f64);
        // The extent as asked for: not rounded.
        let output = self.scale * input;
        Some(match self.coordinates {
            Coordinates::HalfPixel => (x + 0.5) / self.scale - 0.5,
            Coordinates::HalfPixelSymmetric => {
                let offset = input / 2.0 * (1.0 - self.output as f64 / output);
                offset + (x + 0.5) / self.scale - 0.5
            }
            Coordinates::PytorchHalfPixel if self.output == 1 => 0.0,
            Coordinates::PytorchHalfPixel => (x + 0.5) / self.scale - 0.5,
            Coordinates::AlignCorners if self.output == 1 => 0.0,
            Coordinates::AlignCorners => x * (input - 1.0) / (output - 1.0),
            Coordinates::Asymmetric => x / self.scale,
            Coordinates::TfHalfPixel => (x + 0.5) / self.scale,
            Coordinates::CropAndResize { start, end } => {
                let last = input - 1.0;
                let inside = if self.output == 1 {
                    (start + end) * last / 2.0
                } else {
                    start * last + x * (end - start) * last / (output - 1.0)
                };
                return (inside >= 0.0 && inside <= last).then_some(inside);
            }
        })
    }
}

/// The input positions and weights of every output position of an axis.
#[derive(Clone, PartialEq, Debug)]
pub struct Table {
    /// Input positions of each output position.
    pub taps: usize,
    /// Input positions, `[output][taps]`.
    pub index: Vec<usize>,
    /// Weights, `[output][taps]`.
    pub weight: Vec<f64>,
    /// Output positions that lie outside the region of interest.
    pub outside: Vec<bool>,
}

impl Table {
    /// The table of an axis. With `exclude_outside` positions beyond the ends have no weight; otherwise they are the end itself.
    pub fn new(axis: &Axis, method: Method, exclude_outside: bool) -> Self {
        let filter = Filter::new(method, axis.scale);
        let mut table = Self {
            taps: filter.taps,
            index: Vec::with_capacity(axis.output * filter.taps),
            weight: Vec::with_capacity(axis.output * filter.taps),
            outside: Vec::with_capacity(axis.output),
        };
        let last = axis.input as isize - 1;
        for x in 0..axis.output {
            let position = axis.position(x);
            let at = position.unwrap_or(0.0);
            // The last element before the position: the one after it is at a distance of less than 1, or 0.
            let before = at.ceil() - 1.0;
            let start = table.weight.len();
            for i in 0..filter.taps {
                let i = filter.first + i as isize;
                let tap = before as isize + i;
                let weight = filter.weight(i, at - before);
                let dropped = exclude_outside && !(0..=last).contains(&tap);
                table.index.push(tap.clamp(0, last.max(0)) as usize);
                table.weight.push(if dropped { 0.0 } else { weight });
            }
            let weights = &mut table.weight[start..];
            let sum: f64 = weights.iter().sum();
            if sum == 0.0 {
                // The filter lies beyond the end altogether: what is left is the end itself.
                weights[0] = 1.0;
            } else if filter.normalized || exclude_outside {
                weights.iter_mut().for_each(|w| *w /= sum);
            }
            table.outside.push(position.is_none());
        }
        table
    }

    /// True when the output is the input.
    pub fn is_identity(&self, input: usize) -> bool {
        let same =
            |(x, (i, w)): (usize, (&[usize], &[f64]))| i.iter().zip(w).all(|(&i, &w)| w == 0.0 || (i == x && w == 1.0));
        let rows = self.index.chunks(self.taps).zip(self.weight.chunks(self.taps));
        self.outside.len() == input && !self.outside.contains(&true) && rows.enumerate().all(same)
    }

    /// For each output position its only input position, of a table of [`Method::Nearest`]; `None` outside the region of interest.
    pub fn nearest(&self) -> Vec<Option<usize>> {
        let row = |(x, w): (usize, &[f64])| {
            let tap = w.iter().position(|&w| w != 0.0).unwrap_or(0);
            (!self.outside[x]).then(|| self.index[x * self.taps + tap])
        };
        self.weight.chunks(self.taps).enumerate().map(row).collect()
    }
}

/// Weights by distance.
struct Filter {
    method: Method,
    /// First tap, counted from the last element before the position.
    first: isize,
    taps: usize,
    /// Distances shrink by this much.
    stretch: f64,
    normalized: bool,
}

impl Filter {
    fn new(method: Method, scale: f64) -> Self {
        let wide = |half_width: f64, antialias: bool| {
            let stretch = if antialias { scale.min(1.0) } else { 1.0 };
            let first = (-half_width / stretch).floor() as isize + 1;
            Self { method, first, taps: (2 - 2 * first) as usize, stretch, normalized: antialias }
        };
        match method {
            Method::Nearest(_) => Self { method, first: 0, taps: 2, stretch: 1.0, normalized: false },
            Method::Linear { antialias } => wide(1.0, antialias),
            Method::Cubic { antialias, .. } => wide(2.0, antialias),
        }
    }

    /// Weight of the `i`-th element for a position `ratio` (more than 0, at most 1) after the element 0.
    fn weight(&self, i: isize, ratio: f64) -> f64 {
        let x = ((i as f64 - ratio) * self.stretch).abs();
        match self.method {
            Method::Nearest(rounding) => {
                let up = match rounding {
                    Rounding::PreferFloor => ratio > 0.5,
                    Rounding::PreferCeil => ratio >= 0.5,
                    Rounding::Floor => ratio >= 1.0,
                    Rounding::Ceil => true,
                };
                f64::from(u8::from(up == (i == 1)))
            }
            Method::Linear { .. } => (1.0 - x).max(0.0),
            Method::Cubic { a, .. } if x <= 1.0 => ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0,
            Method::Cubic { a, .. } if x < 2.0 => ((x - 5.0) * x + 8.0) * x * a - 4.0 * a,
            Method::Cubic { .. } => 0.0,
        }
    }
}
