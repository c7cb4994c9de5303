//! Convolution of integers: a plane of 16-bit numbers less their zero point, then sums over runs of neighbouring channels.

use super::{Number, Requantize};
use crate::error::{Error, Result, check_len};
use crate::isa::{Isa, Kernel, Simd};
use crate::par::{Parallel, for_each_part};

/// Outputs that are summed together.
const PANEL: usize = 16;
/// Pixels that share one reading of the weights.
const PIXELS: usize = 4;

/// What a convolution does. Axes are height and width.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConvDesc {
    /// Images.
    pub batch: usize,
    /// Channels of the input.
    pub channels: usize,
    /// Extents of the input.
    pub size: [usize; 2],
    /// Channels of the output.
    pub outputs: usize,
    /// Groups of channels that do not mix.
    pub groups: usize,
    /// Extents of the kernel.
    pub kernel: [usize; 2],
    /// Steps.
    pub stride: [usize; 2],
    /// Distance of taps.
    pub dilation: [usize; 2],
    /// Padding before each axis; negative: cut.
    pub begin: [isize; 2],
    /// Extents of the output.
    pub output: [usize; 2],
    /// Distance of the input's pixels in what the kernel sees, zeros between them: more than 1 for transposed convolutions.
    pub spread: [usize; 2],
    /// Zero point of the input.
    pub zero: i32,
    /// Sums of 64 bits.
    pub wide: bool,
}

/// A convolution with packed weights: `x [N, H, W, C]` to `y [N, H', W', O]`.
#[derive(Clone, Debug)]
pub struct Conv {
    isa: Isa,
    desc: ConvDesc,
    /// Groups, panels of outputs, taps and channels, outputs; or for one channel a group taps and channels.
    weights: Vec<i16>,
    bias: Vec<i64>,
    requant: Requantize,
    /// Where the runs of a window start in the plane, and their length.
    runs: Vec<usize>,
    run: usize,
    plane: [usize; 2],
    depthwise: bool,
}

/// A sum of products.
trait Sum: Copy + Default {
    fn plus(self, product: i32) -> Self;
    fn number(self, requant: &Requantize, c: usize, bias: i64) -> i32;
}

impl Sum for i32 {
    #[inline(always)]
    fn plus(self, product: i32) -> Self {
        self.wrapping_add(product)
    }
    #[inline(always)]
    fn number(self, requant: &Requantize, c: usize, bias: i64) -> i32 {
        requant.apply(c, self.wrapping_add(bias as i32))
    }
}

impl Sum for i64 {
    #[inline(always)]
    fn plus(self, product: i32) -> Self {
        self + i64::from(product)
    }
    #[inline(always)]
    fn number(self, requant: &Requantize, c: usize, bias: i64) -> i32 {
        requant.apply_wide(c, self.wrapping_add(bias))
    }
}

impl Conv {
    /// Packs the weights: `w [O, C / groups, kh, kw]`, already less their zero point, and a bias an output (or none).
    ///
    /// # Errors
    /// When extents and slices do not fit, or a weight has more than 9 bits.
    pub fn new(isa: Isa, desc: ConvDesc, w: &[i32], bias: &[i64], requant: Requantize) -> Result<Self> {
        let bad = |m: String| Err(Error::new("quantized conv", m));
        let d = &desc;
        if d.groups == 0 || d.channels % d.groups != 0 || d.outputs % d.groups != 0 {
            return bad(format!("{} channels to {} in {} groups", d.channels, d.outputs, d.groups));
        }
        if d.stride.contains(&0) || d.dilation.contains(&0) || d.spread.contains(&0) || d.kernel.contains(&0) {
            return bad("steps, distances and kernel extents must be at least 1".to_string());
        }
        let per = d.channels / d.groups;
        let taps = d.kernel[0] * d.kernel[1];
        check_len("quantized conv", "weights", d.outputs * per * taps, w.len())?;
        check_len("quantized conv", "scales", d.outputs, requant.fixed.len())?;
        if !bias.is_empty() {
            check_len("quantized conv", "bias", d.outputs, bias.len())?;
        }
        if w.iter().any(|w| !(-256..=255).contains(w)) {
            return bad("a weight has more than 9 bits".to_string());
        }
        let plane: [usize; 2] = std::array::from_fn(|a| {
            d.output[a].saturating_sub(1) * d.stride[a] + (d.kernel[a] - 1) * d.dilation[a] + 1
        });
        let depthwise = per == 1 && d.outputs == d.channels && d.groups > 1;
        // Taps of one row are neighbours where nothing lies between them.
        let joined = d.groups == 1 && d.dilation[1] == 1;
        let at = |ky: usize, kx: usize| (ky * d.dilation[0] * plane[1] + kx * d.dilation[1]) * d.channels;
        let (runs, run) = if joined {
            ((0..d.kernel[0]).map(|ky| at(ky, 0)).collect(), d.kernel[1] * d.channels)
        } else {
            let all = (0..d.kernel[0]).flat_map(|ky| (0..d.kernel[1]).map(move |kx| at(ky, kx)));
            (all.collect(), per)
        };
        let weights = if depthwise { by_tap(d, w) } else { by_panel(d, w) };
        let bias = if bias.is_empty() { vec![0; d.outputs] } else { bias.to_vec() };
        Ok(Self { isa, desc, weights, bias, requant, runs, run, plane, depthwise })
    }
    /// Numbers of scratch, of 16 bits.
    pub fn scratch(&self) -> usize {
        self.desc.batch * self.image()
    }
    fn image(&self) -> usize {
        self.plane[0] * self.plane[1] * self.desc.channels
    }
    /// Convolves. `scratch` holds [`Self::scratch`] numbers.
    ///
    /// # Errors
    /// When a slice has the wrong length.
    pub fn apply<X: Number, Y: Number>(
        &self,
        x: &[X],
        y: &mut [Y],
        scratch: &mut [i16],
        par: &dyn Parallel,
    ) -> Result<()> {
        let d = &self.desc;
        check_len("quantized conv", "x", d.batch * d.size[0] * d.size[1] * d.channels, x.len())?;
        check_len("quantized conv", "y", d.batch * d.output[0] * d.output[1] * d.outputs, y.len())?;
        check_len("quantized conv", "scratch", self.scratch(), scratch.len())?;
        if y.is_empty() {
            return Ok(());
        }
        for_each_part(par, scratch, self.plane[1] * d.channels, &|row, part| self.fill(x, row, part));
        let plane: &[i16] = scratch;
        if d.batch * d.output[0] * d.output[1] == 1 && !self.depthwise && d.groups == 1 {
            // One pixel: its panels are shared out.
            let len = PANEL * d.outputs.div_ceil(PANEL).div_ceil(4 * par.threads()).max(1);
            for_each_part(par, y, len, &|i, part| {
                self.isa.dispatch(Pixel { conv: self, plane, first: i * len, part });
            });
            return Ok(());
        }
        for_each_part(par, y, d.output[1] * d.outputs, &|row, part| {
            self.isa.dispatch(Row { conv: self, plane, row, part });
        });
        Ok(())
    }
    /// One row of the plane: the input's numbers less their zero point, and zeros around and between them.
    fn fill<X: Number>(&self, x: &[X], row: usize, part: &mut [i16]) {
        let d = &self.desc;
        let (n, at) = (row / self.plane[0], (row % self.plane[0]) as isize - d.begin[0]);
        part.fill(0);
        let Some(source) = position(at, d.spread[0], d.size[0]) else { return };
        let line = &x[(n * d.size[0] + source) * d.size[1] * d.channels..][..d.size[1] * d.channels];
        for (p, to) in part.chunks_exact_mut(d.channels.max(1)).enumerate() {
            if let Some(s) = position(p as isize - d.begin[1], d.spread[1], d.size[1]) {
                let from = &line[s * d.channels..][..d.channels];
                to.iter_mut().zip(from).for_each(|(t, f)| *t = (f.wide() - d.zero) as i16);
            }
        }
    }
    /// Where the window of an output pixel starts in the plane.
    #[inline(always)]
    fn window(&self, row: usize, x: usize) -> usize {
        let d = &self.desc;
        let (n, oy) = (row / d.output[0], row % d.output[0]);
        n * self.image() + (oy * d.stride[0] * self.plane[1] + x * d.stride[1]) * d.channels
    }
    /// Sums of one panel for some pixels, whose windows start at `at`.
    #[inline(always)]
    fn tile<S: Sum, const P: usize>(&self, plane: &[i16], at: [usize; P], weights: &[i16]) -> [[S; PANEL]; P] {
        let mut sums = [[S::default(); PANEL]; P];
        let mut w = weights.chunks_exact(PANEL);
        for &start in &self.runs {
            let lines: [&[i16]; P] = at.map(|a| &plane[a + start..][..self.run]);
            for (k, w) in (0..self.run).zip(&mut w) {
                for (sum, line) in sums.iter_mut().zip(&lines) {
                    let x = i32::from(line[k]);
                    for j in 0..PANEL {
                        sum[j] = sum[j].plus(x * i32::from(w[j]));
                    }
                }
            }
        }
        sums
    }
    #[inline(always)]
    fn store<S: Sum, Y: Number>(&self, sums: &[S; PANEL], first: usize, y: &mut [Y]) {
        for (j, y) in y.iter_mut().enumerate() {
            let c = first + j;
            *y = Y::narrow(sums[j].number(&self.requant, c, self.bias[c]));
        }
    }
    /// Elements of the weights of one panel.
    #[inline(always)]
    fn panel(&self) -> usize {
        self.runs.len() * self.run * PANEL
    }
    #[inline(always)]
    fn row<S: Sum, Y: Number>(&self, plane: &[i16], row: usize, y: &mut [Y]) {
        let d = &self.desc;
        let (per, inner) = (d.outputs / d.groups, d.channels / d.groups);
        let mut panels = self.weights.chunks_exact(self.panel().max(1));
        for g in 0..d.groups {
            for first in (0..per).step_by(PANEL) {
                let Some(w) = panels.next() else { return };
                let len = PANEL.min(per - first);
                let c = g * per + first;
                let mut x = 0;
                while x < d.output[1] {
                    if x + PIXELS <= d.output[1] {
                        let at: [usize; PIXELS] = std::array::from_fn(|p| self.window(row, x + p) + g * inner);
                        let sums = self.tile::<S, PIXELS>(plane, at, w);
                        for (p, sums) in sums.iter().enumerate() {
                            self.store(sums, c, &mut y[(x + p) * d.outputs + c..][..len]);
                        }
                        x += PIXELS;
                    } else {
                        let [sums] = self.tile::<S, 1>(plane, [self.window(row, x) + g * inner], w);
                        self.store(&sums, c, &mut y[x * d.outputs + c..][..len]);
                        x += 1;
                    }
                }
            }
        }
    }
    /// One output a channel: sums over taps, sixteen channels together.
    #[inline(always)]
    fn row_depthwise<S: Sum, Y: Number>(&self, plane: &[i16], row: usize, y: &mut [Y]) {
        let c = self.desc.channels;
        for (x, y) in y.chunks_exact_mut(c).enumerate() {
            let at = self.window(row, x);
            for (i, y) in y.chunks_mut(PANEL).enumerate() {
                let first = i * PANEL;
                let mut sums = [S::default(); PANEL];
                for (tap, &start) in self.runs.iter().enumerate() {
                    let x = &plane[at + start + first..][..y.len()];
                    let w = &self.weights[tap * c + first..][..y.len()];
                    if let (Ok(x), Ok(w)) = (<&[i16; PANEL]>::try_from(x), <&[i16; PANEL]>::try_from(w)) {
                        for j in 0..PANEL {
                            sums[j] = sums[j].plus(i32::from(x[j]) * i32::from(w[j]));
                        }
                    } else {
                        for (sum, (x, w)) in sums.iter_mut().zip(x.iter().zip(w)) {
                            *sum = sum.plus(i32::from(*x) * i32::from(*w));
                        }
                    }
                }
                self.store(&sums, first, y);
            }
        }
    }
}

/// The pixel at a position of the spread input, if one lies there.
#[inline(always)]
fn position(at: isize, spread: usize, size: usize) -> Option<usize> {
    let at = usize::try_from(at).ok()?;
    (at % spread == 0 && at / spread < size).then_some(at / spread)
}

/// Taps, then channels.
fn by_tap(d: &ConvDesc, w: &[i32]) -> Vec<i16> {
    let taps = d.kernel[0] * d.kernel[1];
    (0..taps).flat_map(|t| (0..d.outputs).map(move |o| (t, o))).map(|(t, o)| w[o * taps + t] as i16).collect()
}

/// Groups, panels, taps, channels, the panel's outputs; missing outputs are 0.
fn by_panel(d: &ConvDesc, w: &[i32]) -> Vec<i16> {
    let (per, inner, taps) = (d.outputs / d.groups, d.channels / d.groups, d.kernel[0] * d.kernel[1]);
    let mut packed = Vec::new();
    for g in 0..d.groups {
        for first in (0..per).step_by(PANEL) {
            for (t, c) in (0..taps).flat_map(|t| (0..inner).map(move |c| (t, c))) {
                let one = |o: usize| w[((g * per + o) * inner + c) * taps + t] as i16;
                packed.extend((first..first + PANEL).map(|o| if o < per { one(o) } else { 0 }));
            }
        }
    }
    packed
}

/// One row of the output.
struct Row<'a, Y> {
    conv: &'a Conv,
    plane: &'a [i16],
    row: usize,
    part: &'a mut [Y],
}

impl<Y: Number> Kernel for Row<'_, Y> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Row { conv, plane, row, part } = self;
        match (conv.depthwise, conv.desc.wide) {
            (true, false) => conv.row_depthwise::<i32, Y>(plane, row, part),
            (true, true) => conv.row_depthwise::<i64, Y>(plane, row, part),
            (false, false) => conv.row::<i32, Y>(plane, row, part),
            (false, true) => conv.row::<i64, Y>(plane, row, part),
        }
    }
}

/// Some outputs of the only pixel.
struct Pixel<'a, Y> {
    conv: &'a Conv,
    plane: &'a [i16],
    first: usize,
    part: &'a mut [Y],
}

impl<Y: Number> Kernel for Pixel<'_, Y> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Pixel { conv, plane, first, part } = self;
        for (i, y) in part.chunks_mut(PANEL).enumerate() {
            let c = first + i * PANEL;
            let w = &conv.weights[c / PANEL * conv.panel()..][..conv.panel()];
            if conv.desc.wide {
                let [sums] = conv.tile::<i64, 1>(plane, [0], w);
                conv.store(&sums, c, y);
            } else {
                let [sums] = conv.tile::<i32, 1>(plane, [0], w);
                conv.store(&sums, c, y);
            }
        }
    }
}
