//! A factor and an offset a channel, then an activation: what batch normalisation is in inference.

use super::{CHUNK, FILTER, Images, rows};
use crate::activation::{Activation, in_place};
use crate::error::{Error, Result, check_len};
use crate::isa::{Isa, Kernel, Lanes, Simd};
use crate::layout::{BLOCK, Blocked};
use crate::math::limit;
use crate::par::{Parallel, for_each_part};

/// `activation(x a + b)` with one `a` and one `b` a channel.
#[derive(Clone, Debug)]
pub struct Affine {
    isa: Isa,
    x: Images,
    y: Images,
    a: Vec<f32>,
    b: Vec<f32>,
    activation: Activation,
}

impl Affine {
    /// For plain images `[N, C, positions]`; `a` and `b` `[C]`.
    ///
    /// # Errors
    /// When there is not one factor and one offset a channel.
    pub fn new(isa: Isa, shape: [usize; 3], a: Vec<f32>, b: Vec<f32>) -> Result<Self> {
        let images = Images::Plain(shape);
        Self::of(isa, images, images, a, b)
    }

    /// For blocked images that may differ in halo. Halo and padding channels of the result are zero.
    ///
    /// # Errors
    /// When there is not one factor and one offset a channel, or the logical shapes differ.
    pub fn blocked(isa: Isa, x: Blocked, y: Blocked, a: Vec<f32>, b: Vec<f32>) -> Result<Self> {
        if (x.n, x.c, x.size) != (y.n, y.c, y.size) {
            return Err(Error::new(FILTER, format!("y: expected the shape of {x:?}, found {y:?}")));
        }
        Self::of(isa, Images::Blocked(x), Images::Blocked(y), a, b)
    }

    fn of(isa: Isa, x: Images, y: Images, mut a: Vec<f32>, mut b: Vec<f32>) -> Result<Self> {
        check_len(FILTER, "a", x.channels(), a.len())?;
        check_len(FILTER, "b", x.channels(), b.len())?;
        // Zeros for the padding channels of the last block.
        for p in [&mut a, &mut b] {
            p.resize(p.len().next_multiple_of(BLOCK), 0.0);
        }
        Ok(Self { isa, x, y, a, b, activation: Activation::Identity })
    }

    /// The same, followed by this activation.
    #[must_use]
    pub fn then(self, activation: Activation) -> Self {
        Self { activation, ..self }
    }

    /// The factors and offsets that batch normalisation with these statistics is: `scale / sqrt(variance + epsilon)` and
    /// `bias - mean factor`, computed in double precision.
    pub fn of_batch(scale: &[f32], bias: &[f32], mean: &[f32], variance: &[f32], epsilon: f32) -> (Vec<f32>, Vec<f32>) {
        let d = f64::from;
        let factor = |c: usize| d(scale[c]) / (d(variance[c]) + d(epsilon)).sqrt();
        let offset = |c: usize| d(bias[c]) - d(mean[c]) * factor(c);
        let channels = scale.len().min(bias.len()).min(mean.len()).min(variance.len());
        (0..channels).map(|c| (factor(c) as f32, offset(c) as f32)).unzip()
    }

    /// `y = activation(x a + b)`.
    ///
    /// # Errors
    /// When a slice has the wrong length.
    pub fn apply(&self, x: &[f32], y: &mut [f32], par: &dyn Parallel) -> Result<()> {
        check_len(FILTER, "x", self.x.len(), x.len())?;
        self.run(Some(x), y, par)
    }

    /// `y = activation(y a + b)`.
    ///
    /// # Errors
    /// When the slice has the wrong length, or the filter was made for two layouts.
    pub fn apply_in_place(&self, y: &mut [f32], par: &dyn Parallel) -> Result<()> {
        if self.x != self.y {
            return Err(Error::new(FILTER, "in place needs one layout; argument and result differ in halo"));
        }
        self.run(None, y, par)
    }

    fn run(&self, x: Option<&[f32]>, y: &mut [f32], par: &dyn Parallel) -> Result<()> {
        check_len(FILTER, "y", self.y.len(), y.len())?;
        let (from, (unit, units)) = (self.x.unit().0, self.y.unit());
        let per_part = CHUNK.div_ceil(unit.max(1));
        for_each_part(par, y, unit * per_part, &|i, y| {
            for (j, y) in y.chunks_exact_mut(unit.max(1)).enumerate() {
                let at = i * per_part + j;
                let x = x.map(|x| &x[at * from..(at + 1) * from]);
                self.isa.dispatch(Scale { filter: self, unit: at % units, x, y });
            }
        });
        Ok(())
    }
}

/// One channel, one block, or one image of one position.
struct Scale<'a> {
    filter: &'a Affine,
    unit: usize,
    x: Option<&'a [f32]>,
    y: &'a mut [f32],
}

impl Kernel for Scale<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (Affine { a, b, activation, isa, .. }, unit) = (self.filter, self.unit);
        let bounds = activation.as_clamp();
        let (lo, hi) = bounds.unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
        let rest = |y: &mut [f32]| {
            if bounds.is_none() {
                in_place(*isa, activation, y);
            }
        };
        match (self.filter.x, self.filter.y) {
            (Images::Blocked(gx), Images::Blocked(g)) => {
                let (l, from) = (s.pair(), unit * BLOCK);
                let twice = |p: &[f32]| -> [f32; 2 * BLOCK] { std::array::from_fn(|i| p[from + i % BLOCK]) };
                let (a, b) = (l.load_slice(&twice(a)), l.load_slice(&twice(b)));
                let used = (g.c - from).min(BLOCK);
                if self.x.is_some() {
                    g.clear_halo(self.y);
                }
                for (at, to) in rows(&gx).zip(rows(&g)) {
                    let y = &mut self.y[to];
                    walk(l, self.x.map(|x| &x[at]), y, |v| limit(l, l.mul_add(v, a, b), lo, hi));
                    rest(y);
                    if used < BLOCK {
                        y.chunks_exact_mut(BLOCK).for_each(|pixel| pixel[used..].fill(0.0));
                    }
                }
            }
            (Images::Plain([_, _, 1]), _) => {
                let l = s.block();
                for (j, y) in self.y.chunks_mut(BLOCK).enumerate() {
                    let at = j * BLOCK;
                    let x = l.load_partial(self.x.map_or(&*y, |x| &x[at..at + y.len()]), 0.0);
                    let v = l.mul_add(x, l.load_slice(&a[at..]), l.load_slice(&b[at..]));
                    l.store_partial(y, limit(l, v, lo, hi));
                }
                rest(self.y);
            }
            _ => {
                let l = s.pair();
                let (a, b) = (l.splat(a[unit]), l.splat(b[unit]));
                walk(l, self.x, self.y, |v| limit(l, l.mul_add(v, a, b), lo, hi));
                rest(self.y);
            }
        }
    }
}

/// `y = f(x)`, or `f(y)` where there is no `x`.
#[inline(always)]
fn walk<L: Lanes>(l: L, x: Option<&[f32]>, y: &mut [f32], f: impl FnMut(L::V) -> L::V) {
    match x {
        Some(x) => l.map_to(x, y, f),
        None => l.map(y, f),
    }
}
