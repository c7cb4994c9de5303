//! Binary operators on `f32` in vectors.

use super::{Binary, Broadcast, Kind, Number};
use crate::Error;
use crate::activation::{Activation, in_place};
use crate::error::{Result, check_len};
use crate::isa::{Isa, Kernel, Lanes, Simd};
use crate::math::limit;
use crate::par::{Parallel, for_each_part};

pub(super) const FILTER: &str = "elementwise";

/// An operator of two numbers whose type is the operator.
pub(super) trait Function2: Copy {
    fn eval<L: Lanes>(self, l: L, a: L::V, b: L::V) -> L::V;
}

macro_rules! functions {
    ($($name:ident |$l:ident, $a:ident, $b:ident| $body:expr;)*) => {
        $(#[derive(Clone, Copy)]
        pub(super) struct $name;
        impl Function2 for $name {
            #[inline(always)]
            fn eval<L: Lanes>(self, $l: L, $a: L::V, $b: L::V) -> L::V {
                $body
            }
        })*
    };
}

functions! {
    Add |l, a, b| l.add(a, b);
    Sub |l, a, b| l.sub(a, b);
    Mul |l, a, b| l.mul(a, b);
    Div |l, a, b| l.div(a, b);
    // The instruction answers its second operand where either is NaN.
    Min |l, a, b| l.select(l.eq(a, a), l.min(a, b), a);
    Max |l, a, b| l.select(l.eq(a, a), l.max(a, b), a);
    PRelu |l, a, b| l.select(l.lt(a, l.zero()), l.mul(a, b), a);
    SquaredDifference |l, a, b| { let d = l.sub(a, b); l.mul(d, d) };
}

/// What [`with`] calls with the operator.
pub(super) trait Visitor {
    fn visit<F: Function2>(self, f: F);
}

/// Visits the operator's type; false for those that have no vector form.
#[inline(always)]
pub(super) fn with(op: Binary, v: impl Visitor) -> bool {
    match op {
        Binary::Add => v.visit(Add),
        Binary::Sub => v.visit(Sub),
        Binary::Mul => v.visit(Mul),
        Binary::Div => v.visit(Div),
        Binary::Min => v.visit(Min),
        Binary::Max => v.visit(Max),
        Binary::PRelu => v.visit(PRelu),
        Binary::SquaredDifference => v.visit(SquaredDifference),
        _ => return false,
    }
    true
}

/// What follows the operator: bounds in the same pass, or another function over the part that was just written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tail {
    pub(super) lo: f32,
    pub(super) hi: f32,
    pub(super) after: Option<Activation>,
}

impl Tail {
    pub(super) fn new(a: Activation) -> Self {
        match a.as_clamp() {
            Some((lo, hi)) => Self { lo, hi, after: None },
            None => Self { lo: f32::NEG_INFINITY, hi: f32::INFINITY, after: Some(a) },
        }
    }
}

/// Where a row of an operand comes from.
#[derive(Clone, Copy)]
pub(super) enum Row<'a> {
    /// One element each.
    Each(&'a [f32]),
    /// The same eight elements again and again: the channels of a block.
    Again([f32; 8]),
    /// The first of each group of eight, for all eight: one channel for all.
    First(&'a [f32]),
    /// What stands in the result before.
    Own,
}

/// Vectors of an operand, by type rather than by closure: what is not inlined would be compiled without the instruction set.
trait Source<L: Lanes>: Copy {
    /// The vector at element `at`; `own` is the part of the result it is for, a whole vector.
    fn whole(self, l: L, at: usize, own: &[f32]) -> L::V;
    /// As [`Self::whole`] where less than a vector is left.
    fn part(self, l: L, at: usize, own: &[f32]) -> L::V;
}

#[derive(Clone, Copy)]
struct Each<'a>(&'a [f32]);
#[derive(Clone, Copy)]
struct Again<V>(V);
/// Any of the four: the rarer pairs share one loop.
#[derive(Clone, Copy)]
struct Mixed<'a>(Row<'a>);
#[derive(Clone, Copy)]
struct Own;

impl<L: Lanes> Source<L> for Each<'_> {
    #[inline(always)]
    fn whole(self, l: L, at: usize, _own: &[f32]) -> L::V {
        l.load_slice(&self.0[at..at + L::N])
    }
    #[inline(always)]
    fn part(self, l: L, at: usize, _own: &[f32]) -> L::V {
        l.load_partial(&self.0[at..], 0.0)
    }
}

impl<L: Lanes> Source<L> for Again<L::V> {
    #[inline(always)]
    fn whole(self, _l: L, _at: usize, _own: &[f32]) -> L::V {
        self.0
    }
    #[inline(always)]
    fn part(self, _l: L, _at: usize, _own: &[f32]) -> L::V {
        self.0
    }
}

impl<L: Lanes> Source<L> for Mixed<'_> {
    #[inline(always)]
    fn whole(self, l: L, at: usize, own: &[f32]) -> L::V {
        match self.0 {
            Row::Each(x) => l.load_slice(&x[at..]),
            Row::Again(c) => l.load_slice(&c),
            Row::First(x) => l.splat(x[at]),
            Row::Own => l.load_slice(own),
        }
    }
    #[inline(always)]
    fn part(self, l: L, at: usize, own: &[f32]) -> L::V {
        match self.0 {
            Row::Each(x) => l.load_partial(&x[at..], 0.0),
            Row::Again(c) => l.load_slice(&c),
            Row::First(x) => l.splat(x[at]),
            Row::Own => l.load_partial(own, 0.0),
        }
    }
}

impl<L: Lanes> Source<L> for Own {
    #[inline(always)]
    fn whole(self, l: L, _at: usize, own: &[f32]) -> L::V {
        l.load_slice(own)
    }
    #[inline(always)]
    fn part(self, l: L, _at: usize, own: &[f32]) -> L::V {
        l.load_partial(own, 0.0)
    }
}

/// `y = limit(f(a, b))` over one row.
#[inline(always)]
pub(super) fn row<L: Lanes, F: Function2>(l: L, f: F, t: &Tail, a: Row, b: Row, y: &mut [f32]) {
    let n = y.len();
    match (a, b) {
        (Row::Each(a), Row::Each(b)) => walk(l, f, t, Each(&a[..n]), Each(&b[..n]), y),
        (Row::Each(a), Row::Again(b)) => walk(l, f, t, Each(&a[..n]), Again(l.load_slice(&b)), y),
        (Row::Each(a), Row::Own) => walk(l, f, t, Each(&a[..n]), Own, y),
        (Row::Again(a), Row::Each(b)) => walk(l, f, t, Again(l.load_slice(&a)), Each(&b[..n]), y),
        (Row::Own, Row::Each(b)) => walk(l, f, t, Own, Each(&b[..n]), y),
        (Row::Own, Row::Again(b)) => walk(l, f, t, Own, Again(l.load_slice(&b)), y),
        _ => walk(l, f, t, Mixed(a), Mixed(b), y),
    }
}

#[inline(always)]
fn walk<L: Lanes, F: Function2>(l: L, f: F, t: &Tail, a: impl Source<L>, b: impl Source<L>, y: &mut [f32]) {
    let (lo, hi) = (t.lo, t.hi);
    let whole = y.len() / L::N * L::N;
    for at in (0..whole).step_by(L::N) {
        let y = &mut y[at..at + L::N];
        let v = f.eval(l, a.whole(l, at, y), b.whole(l, at, y));
        l.store_slice(y, limit(l, v, lo, hi));
    }
    if whole < y.len() {
        let y = &mut y[whole..];
        let v = f.eval(l, a.part(l, whole, y), b.part(l, whole, y));
        l.store_partial(y, limit(l, v, lo, hi));
    }
}

/// A binary operator on `f32` tensors with broadcasting and an activation of the result.
///
/// ```
/// use pocketnn_kernels::{activation::Activation, elementwise::{Arithmetic, Binary}, isa::Isa, par::Serial};
/// let add = Arithmetic::new(Isa::detect(), Binary::Add, Activation::Relu, &[2, 3], &[3])?;
/// let mut y = [0.0; 6];
/// add.apply(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[-3.0, 0.0, 3.0], &mut y, &Serial)?;
/// assert_eq!(y, [0.0, 2.0, 6.0, 1.0, 5.0, 9.0]);
/// # Ok::<(), pocketnn_kernels::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Arithmetic {
    isa: Isa,
    op: Binary,
    activation: Activation,
    plan: Broadcast<2>,
}

impl Arithmetic {
    /// For row-major operands of these shapes.
    ///
    /// # Errors
    /// When they do not broadcast or the operator is not one of floats.
    pub fn new(isa: Isa, op: Binary, activation: Activation, a: &[usize], b: &[usize]) -> Result<Self> {
        Self::planned(isa, op, activation, Broadcast::new(FILTER, [a, b])?)
    }

    /// For operands that are walked by a plan.
    ///
    /// # Errors
    /// When the operator is not one of floats.
    pub fn planned(isa: Isa, op: Binary, activation: Activation, plan: Broadcast<2>) -> Result<Self> {
        if !op.defined_for(Kind::Float) {
            return Err(Error::new(FILTER, format!("{op:?} has no meaning on floats")));
        }
        Ok(Self { isa, op, activation, plan })
    }

    /// Elements of the result.
    pub fn len(&self) -> usize {
        self.plan.len()
    }

    /// True when the result is empty.
    pub fn is_empty(&self) -> bool {
        self.plan.is_empty()
    }

    /// True when operand `k` lies as the result does, so that the filter can run in its place.
    pub fn aligned(&self, k: usize) -> bool {
        self.plan.aligned(k)
    }

    /// `y = activation(op(a, b))`.
    ///
    /// # Errors
    /// When a slice has the wrong length.
    pub fn apply(&self, a: &[f32], b: &[f32], y: &mut [f32], par: &dyn Parallel) -> Result<()> {
        self.plan.check([a.len(), b.len()], y.len())?;
        self.run(Some(a), Some(b), y, par);
        Ok(())
    }

    /// `y = activation(op(y, b))`, where `a` lies as the result.
    ///
    /// # Errors
    /// When a slice has the wrong length or `a` does not lie as the result.
    pub fn apply_to_first(&self, b: &[f32], y: &mut [f32], par: &dyn Parallel) -> Result<()> {
        self.check_aligned(0)?;
        self.plan.check([y.len(), b.len()], y.len())?;
        self.run(None, Some(b), y, par);
        Ok(())
    }

    /// `y = activation(op(a, y))`, where `b` lies as the result.
    ///
    /// # Errors
    /// When a slice has the wrong length or `b` does not lie as the result.
    pub fn apply_to_second(&self, a: &[f32], y: &mut [f32], par: &dyn Parallel) -> Result<()> {
        self.check_aligned(1)?;
        self.plan.check([a.len(), y.len()], y.len())?;
        self.run(Some(a), None, y, par);
        Ok(())
    }

    fn check_aligned(&self, k: usize) -> Result<()> {
        if self.aligned(k) {
            return Ok(());
        }
        Err(Error::new(FILTER, format!("operand {k} is broadcast: the result cannot take its place")))
    }

    fn run(&self, a: Option<&[f32]>, b: Option<&[f32]>, y: &mut [f32], par: &dyn Parallel) {
        let tail = Tail::new(self.activation);
        let chunk = self.plan.chunk();
        for_each_part(par, y, chunk, &|i, part| {
            let job = Part { op: self.op, tail: &tail, plan: &self.plan, base: i * chunk, a, b, y: part };
            self.isa.dispatch(job);
            if let Some(after) = &tail.after {
                in_place(self.isa, after, part);
            }
        });
    }
}

/// One parallel chunk.
struct Part<'a> {
    op: Binary,
    tail: &'a Tail,
    plan: &'a Broadcast<2>,
    base: usize,
    a: Option<&'a [f32]>,
    b: Option<&'a [f32]>,
    y: &'a mut [f32],
}

impl Kernel for Part<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let scalar = Part { y: &mut *self.y, ..self };
        if !with(self.op, Rows { l: s.block(), part: scalar }) {
            self.one_by_one();
        }
    }
}

impl Part<'_> {
    /// Operators without a vector form.
    fn one_by_one(self) {
        let Part { op, tail, plan, base, a, b, y } = self;
        let [sa, sb] = plan.steps();
        for (start, n, [a0, b0]) in plan.rows(base, base + y.len()) {
            for (j, y) in y[start - base..start - base + n].iter_mut().enumerate() {
                let left = a.map_or(*y, |a| a[a0 + j * sa]);
                let right = b.map_or(*y, |b| b[b0 + j * sb]);
                let v = f32::binary(op, left, right);
                let v = if v < tail.lo { tail.lo } else { v };
                *y = if v > tail.hi { tail.hi } else { v };
            }
        }
    }
}

struct Rows<'a, L> {
    l: L,
    part: Part<'a>,
}

impl<L: Lanes> Visitor for Rows<'_, L> {
    #[inline(always)]
    fn visit<F: Function2>(self, f: F) {
        let Part { tail, plan, base, a, b, y, .. } = self.part;
        let [sa, sb] = plan.steps();
        let l = self.l;
        for (start, n, [a0, b0]) in plan.rows(base, base + y.len()) {
            let y = &mut y[start - base..start - base + n];
            match (source(a, a0, sa, n), source(b, b0, sb, n)) {
                (Some(a), Some(b)) => row(l, f, tail, a, b, y),
                _ => {
                    for (j, y) in y.iter_mut().enumerate() {
                        let left = l.splat(a.map_or(*y, |a| a[a0 + j * sa]));
                        let right = l.splat(b.map_or(*y, |b| b[b0 + j * sb]));
                        walk(l, f, tail, Again(left), Again(right), std::slice::from_mut(y));
                    }
                }
            }
        }
    }
}

/// A row of an operand, unless it jumps.
#[inline(always)]
fn source(x: Option<&[f32]>, at: usize, step: usize, n: usize) -> Option<Row<'_>> {
    match (x, step) {
        (None, _) => Some(Row::Own),
        (Some(x), 0) => Some(Row::Again([x[at]; 8])),
        (Some(x), 1) => Some(Row::Each(&x[at..at + n])),
        _ => None,
    }
}

/// Checks a length.
pub(super) fn check(operand: &str, expected: usize, found: usize) -> Result<()> {
    check_len(FILTER, operand, expected, found)
}
