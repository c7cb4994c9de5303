//! Functions of two numbers, as TFLite's reference kernels define them.

use super::fixed::Multiplier;
use super::{Affine, Number};
use crate::elementwise::Broadcast;
use crate::error::{Error, Result};
use crate::par::Parallel;

/// Which function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum PairKind {
    /// `a + b`
    #[default]
    Add,
    /// `a - b`
    Sub,
    /// `a * b`
    Mul,
    /// `(a - b)^2`
    SquaredDifference,
    /// `a`, or `a * b` where `a` is negative.
    PRelu,
}

/// A function of two numbers: operands and result stand for reals on scales of their own.
///
/// Sums and differences bring both operands to the larger scale doubled, with `2^20` (`2^15` for numbers of 16 bits) times the resolution, add, and
/// rescale; products are rescaled once. Rounding is that of [`Multiplier::apply`].
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    kind: PairKind,
    a: i32,
    b: i32,
    y: i32,
    left: u32,
    scale_a: Multiplier,
    scale_b: Multiplier,
    scale_y: Multiplier,
    lo: i32,
    hi: i32,
}

impl Pair {
    /// A function of numbers that stand for `a` and `b`, to numbers that stand for `y` in the range; `wide` for numbers of 16 bits.
    ///
    /// # Errors
    /// When the range is empty or a scale is no positive number.
    pub fn new(kind: PairKind, a: Affine, b: Affine, y: Affine, (lo, hi): (i32, i32), wide: bool) -> Result<Self> {
        if lo > hi || [a, b, y].iter().any(|q| !(q.scale > 0.0 && q.scale.is_finite())) {
            return Err(Error::new("quantized pair", format!("the range {lo} .. {hi}, scales {a:?}, {b:?}, {y:?}")));
        }
        let mut left = 0;
        let (sa, sb, sy) = match kind {
            PairKind::Add | PairKind::Sub | PairKind::SquaredDifference => {
                let both = f64::from(2.0 * a.scale.max(b.scale));
                left = match (kind, wide) {
                    // The square needs as many bits again.
                    (PairKind::SquaredDifference, _) => 7,
                    (_, true) => 15,
                    (_, false) => 20,
                };
                let power = f64::from(1 << left);
                let out = match kind {
                    PairKind::SquaredDifference => both * both / (power * power * f64::from(y.scale)),
                    _ => both / f64::from(power as f32 * y.scale),
                };
                (f64::from(a.scale) / both, f64::from(b.scale) / both, out)
            }
            PairKind::Mul => (1.0, 1.0, f64::from(a.scale * b.scale / y.scale)),
            PairKind::PRelu => (f64::from(a.scale / y.scale), 1.0, f64::from(a.scale * b.scale / y.scale)),
        };
        Ok(Self {
            kind,
            a: a.zero,
            b: b.zero,
            y: y.zero,
            left,
            scale_a: Multiplier::new(sa),
            scale_b: Multiplier::new(sb),
            scale_y: Multiplier::new(sy),
            lo,
            hi,
        })
    }
    /// The result of two numbers.
    #[inline(always)]
    pub fn apply(&self, a: i32, b: i32) -> i32 {
        let (a, b) = (a - self.a, b - self.b);
        let raw = match self.kind {
            PairKind::Mul => self.scale_y.apply(a.wrapping_mul(b)),
            PairKind::PRelu if a >= 0 => self.scale_a.apply(a),
            PairKind::PRelu => self.scale_y.apply(a.wrapping_mul(b)),
            _ => {
                let (a, b) = (self.scale_a.apply(a << self.left), self.scale_b.apply(b << self.left));
                match self.kind {
                    PairKind::Add => self.scale_y.apply(a.wrapping_add(b)),
                    PairKind::Sub => self.scale_y.apply(a.wrapping_sub(b)),
                    _ => {
                        let d = a.wrapping_sub(b);
                        self.scale_y.apply(d.wrapping_mul(d))
                    }
                }
            }
        };
        raw.saturating_add(self.y).clamp(self.lo, self.hi)
    }
    /// `y = f(a, b)` with numpy's broadcasting.
    ///
    /// # Errors
    /// When a slice has the wrong length.
    pub fn apply_all<T: Number>(
        &self,
        broadcast: &Broadcast<2>,
        a: &[T],
        b: &[T],
        y: &mut [T],
        par: &dyn Parallel,
    ) -> Result<()> {
        broadcast.zip(a, b, y, par, |a: T, b: T| T::narrow(self.apply(a.wide(), b.wide())))
    }
}
