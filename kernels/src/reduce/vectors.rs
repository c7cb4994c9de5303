//! Reductions of `f32` in vectors.

use super::Reduction;
use super::plan::Plan;
use crate::error::Result;
use crate::isa::{Isa, Kernel, Lanes, MAX_LANES, Simd};
use crate::math;
use crate::par::{Parallel, for_each_part};

/// How elements come together.
pub(super) trait Accumulate: Copy {
    /// What a group without elements gives, and what changes nothing.
    const NEUTRAL: f32;
    /// The accumulator with one more element.
    fn step<L: Lanes>(self, l: L, a: L::V, v: L::V) -> L::V;
    /// Two accumulators together.
    fn join<L: Lanes>(self, l: L, a: L::V, b: L::V) -> L::V;
}

macro_rules! accumulators {
    ($($name:ident neutral $neutral:expr, |$l:ident, $a:ident, $v:ident| step $step:expr, join $join:expr;)*) => {
        $(#[derive(Clone, Copy)]
        pub(super) struct $name;
        impl Accumulate for $name {
            const NEUTRAL: f32 = $neutral;
            #[inline(always)]
            fn step<L: Lanes>(self, $l: L, $a: L::V, $v: L::V) -> L::V {
                $step
            }
            #[inline(always)]
            fn join<L: Lanes>(self, $l: L, $a: L::V, $v: L::V) -> L::V {
                $join
            }
        })*
    };
}

accumulators! {
    Sum neutral 0.0, |l, a, v| step l.add(a, v), join l.add(a, v);
    Magnitudes neutral 0.0, |l, a, v| step l.add(a, l.abs(v)), join l.add(a, v);
    Squares neutral 0.0, |l, a, v| step l.mul_add(v, v, a), join l.add(a, v);
    Product neutral 1.0, |l, a, v| step l.mul(a, v), join l.mul(a, v);
    // The instruction answers its second operand where either is NaN, so that only a NaN accumulator needs care.
    Largest neutral f32::NEG_INFINITY, |l, a, v| step l.select(l.eq(a, a), l.max(a, v), a), join l.select(l.eq(a, a), l.max(a, v), a);
    Smallest neutral f32::INFINITY, |l, a, v| step l.select(l.eq(a, a), l.min(a, v), a), join l.select(l.eq(a, a), l.min(a, v), a);
}

/// What [`with`] calls with the accumulator.
pub(super) trait Visitor {
    fn visit<A: Accumulate>(self, a: A);
}

/// Visits the accumulator of a reduction; that of `LogSumExp` is the largest element.
#[inline(always)]
pub(super) fn with(op: Reduction, v: impl Visitor) {
    match op {
        Reduction::Sum | Reduction::Mean | Reduction::LogSum => v.visit(Sum),
        Reduction::L1 => v.visit(Magnitudes),
        Reduction::L2 | Reduction::SumSquare => v.visit(Squares),
        Reduction::Prod => v.visit(Product),
        Reduction::Max | Reduction::LogSumExp => v.visit(Largest),
        Reduction::Min => v.visit(Smallest),
    }
}

/// What is made of the accumulators.
#[inline(always)]
fn finish<L: Lanes>(l: L, op: Reduction, group: usize, a: L::V) -> L::V {
    match op {
        Reduction::Mean => l.div(a, l.splat(group as f32)),
        Reduction::L2 => l.sqrt(a),
        Reduction::LogSum => math::log(l, a),
        _ => a,
    }
}

/// Joins the sixteen lanes in one fixed tree: halves lane by lane until one is left.
#[inline(always)]
fn tree<L: Lanes, A: Accumulate>(l: L, acc: A, v: L::V) -> L::V {
    let mut t = l.to_array(v);
    let mut n = L::N;
    while n > 1 {
        n /= 2;
        let mut upper = [A::NEUTRAL; MAX_LANES];
        upper[..n].copy_from_slice(&t[n..2 * n]);
        t = l.to_array(acc.join(l, l.load_slice(&t), l.load_slice(&upper)));
    }
    l.splat(t[0])
}

/// A reduction of a row-major `f32` tensor.
///
/// ```
/// use pocketnn_kernels::{isa::Isa, par::Serial, reduce::{Reduce, Reduction}};
/// let mean = Reduce::new(Isa::detect(), Reduction::Mean, &[2, 3], &[0])?;
/// let mut y = [0.0; 3];
/// mean.apply(&[1.0, 2.0, 3.0, 5.0, 6.0, 7.0], &mut y, &Serial)?;
/// assert_eq!(y, [3.0, 4.0, 5.0]);
/// # Ok::<(), pocketnn_kernels::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Reduce {
    isa: Isa,
    op: Reduction,
    plan: Plan,
}

impl Reduce {
    /// For a tensor of `shape` that is reduced over `axes`; no axes make each element its own group.
    ///
    /// # Errors
    /// When an axis lies outside the shape or is named twice, or too many axes remain.
    pub fn new(isa: Isa, op: Reduction, shape: &[usize], axes: &[usize]) -> Result<Self> {
        Ok(Self { isa, op, plan: Plan::new(shape, axes)? })
    }

    /// Elements of the result.
    pub fn outputs(&self) -> usize {
        self.plan.outputs()
    }

    /// Reduces `x` to `y`, whose elements are the groups in row-major order of the kept axes.
    ///
    /// # Errors
    /// When a slice has the wrong length.
    pub fn apply(&self, x: &[f32], y: &mut [f32], par: &dyn Parallel) -> Result<()> {
        self.plan.check(x.len(), y.len())?;
        let chunk = self.plan.chunk();
        for_each_part(par, y, chunk, &|i, part| {
            self.isa.dispatch(Part { filter: self, x, base: i * chunk, y: part });
        });
        Ok(())
    }
}

/// One parallel chunk of outputs.
struct Part<'a> {
    filter: &'a Reduce,
    x: &'a [f32],
    base: usize,
    y: &'a mut [f32],
}

impl Kernel for Part<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        with(self.filter.op, Typed { l: s.pair(), part: &mut self });
        // Passes of their own, so that their functions are compiled once and not once an accumulator.
        match self.filter.op {
            Reduction::LogSumExp => self.exponentials(s.pair()),
            op => finish_all(s.pair(), op, self.filter.plan.group(), self.y),
        }
    }
}

/// Turns accumulators into results.
#[inline(always)]
pub(super) fn finish_all<L: Lanes>(l: L, op: Reduction, group: usize, y: &mut [f32]) {
    if matches!(op, Reduction::Mean | Reduction::L2 | Reduction::LogSum) {
        for y in y.chunks_mut(L::N) {
            l.store_partial(y, finish(l, op, group, l.load_partial(y, 1.0)));
        }
    }
}

impl Part<'_> {
    /// Turns the largest element of each group into the logarithm of the sum of exponentials.
    #[inline(always)]
    fn exponentials<L: Lanes>(&mut self, l: L) {
        let (plan, base) = (&self.filter.plan, self.base);
        for (start, n, offset) in plan.pieces(base, base + self.y.len()) {
            let y = &mut self.y[start - base..start - base + n];
            if plan.row_reduced {
                y[0] = l.to_array(exponentials_of_rows(l, plan, self.x, offset, l.splat(y[0])))[0];
                continue;
            }
            for (j, y) in y.chunks_mut(L::N).enumerate() {
                let max = l.load_partial(y, 0.0);
                l.store_partial(y, exponentials_of_columns(l, plan, self.x, offset + j * L::N, y.len(), max));
            }
        }
    }
}

struct Typed<'a, 'p, L> {
    l: L,
    part: &'a mut Part<'p>,
}

impl<L: Lanes> Visitor for Typed<'_, '_, L> {
    #[inline(always)]
    fn visit<A: Accumulate>(self, acc: A) {
        let (l, Part { filter: Reduce { plan, .. }, x, base, y }) = (self.l, self.part);
        let base = *base;
        for (start, n, offset) in plan.pieces(base, base + y.len()) {
            let y = &mut y[start - base..start - base + n];
            if plan.row_reduced {
                y[0] = l.to_array(tree(l, acc, rows(l, acc, plan, x, offset)))[0];
                continue;
            }
            for (j, y) in y.chunks_mut(L::N).enumerate() {
                l.store_partial(y, columns(l, acc, plan, x, offset + j * L::N, y.len()));
            }
        }
    }
}

/// Accumulates contiguous rows, element `i` of each in lane `i % 16`.
#[inline(always)]
fn rows<L: Lanes, A: Accumulate>(l: L, acc: A, plan: &Plan, x: &[f32], base: usize) -> L::V {
    let mut a = l.splat(A::NEUTRAL);
    for at in plan.offsets(base) {
        let mut vectors = x[at..at + plan.row].chunks_exact(L::N);
        for v in &mut vectors {
            a = acc.step(l, a, l.load_slice(v));
        }
        if !vectors.remainder().is_empty() {
            a = acc.step(l, a, l.load_partial(vectors.remainder(), A::NEUTRAL));
        }
    }
    a
}

/// Accumulates `n` neighbouring groups, one a lane.
#[inline(always)]
fn columns<L: Lanes, A: Accumulate>(l: L, acc: A, plan: &Plan, x: &[f32], base: usize, n: usize) -> L::V {
    let mut a = l.splat(A::NEUTRAL);
    for at in plan.offsets(base) {
        a = acc.step(l, a, read(l, &x[at..at + n]));
    }
    a
}

#[inline(always)]
fn read<L: Lanes>(l: L, x: &[f32]) -> L::V {
    if x.len() == L::N { l.load_slice(x) } else { l.load_partial(x, 0.0) }
}

/// What is taken from the exponents: the largest element, or 0 where that is infinite (NaN stays).
#[inline(always)]
fn limit<L: Lanes>(l: L, max: L::V) -> L::V {
    let finite = l.lt(l.abs(max), l.splat(f32::INFINITY));
    l.select(finite, max, l.select(l.eq(max, max), l.zero(), max))
}

#[inline(always)]
fn exponentials_of_rows<L: Lanes>(l: L, plan: &Plan, x: &[f32], base: usize, max: L::V) -> L::V {
    let m = limit(l, max);
    let mut sum = l.zero();
    for at in plan.offsets(base) {
        for c in x[at..at + plan.row].chunks(L::N) {
            let v = if c.len() == L::N { l.load_slice(c) } else { l.load_partial(c, f32::NEG_INFINITY) };
            sum = l.add(sum, math::exp(l, l.sub(v, m)));
        }
    }
    l.add(m, math::log(l, tree(l, Sum, sum)))
}

#[inline(always)]
fn exponentials_of_columns<L: Lanes>(l: L, plan: &Plan, x: &[f32], base: usize, n: usize, max: L::V) -> L::V {
    let m = limit(l, max);
    let mut sum = l.zero();
    for at in plan.offsets(base) {
        sum = l.add(sum, math::exp(l, l.sub(read(l, &x[at..at + n]), m)));
    }
    l.add(m, math::log(l, sum))
}
