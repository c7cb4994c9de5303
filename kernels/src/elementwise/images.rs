//! Binary operators on blocked images.

use super::arithmetic::{FILTER, Function2, Row, Tail, Visitor, check, row, with};
use super::{Arithmetic, Binary, Number};
use crate::Error;
use crate::activation::{Activation, in_place};
use crate::error::Result;
use crate::isa::{Isa, Kernel, Lanes, Simd};
use crate::layout::{BLOCK, Blocked};
use crate::par::{Parallel, for_each_part};

/// One operand of an operator on images.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// A blocked image whose batch, channels, depth, height and width are each those of the result, or 1.
    Image(Blocked),
    /// A plain vector `[C]`.
    Channels,
    /// One number.
    Scalar,
}

/// A binary operator with an activation of the result, on blocked images `[N, C, D, H, W]`. Halo and padding channels of the
/// result are zero, whatever the operator makes of zeros.
#[derive(Clone, Debug)]
pub struct Images {
    isa: Isa,
    op: Binary,
    activation: Activation,
    sides: [Side; 2],
    y: Blocked,
    /// Set where zeros give zeros and all three have one geometry: nothing but a flat loop.
    flat: Option<Arithmetic>,
}

impl Images {
    /// For operands `a`, `b` and a result of geometry `y`.
    ///
    /// # Errors
    /// When an operand does not broadcast to the result or the operator is not one of floats.
    pub fn new(isa: Isa, op: Binary, activation: Activation, a: Side, b: Side, y: Blocked) -> Result<Self> {
        for (name, side) in [("a", a), ("b", b)] {
            if let Side::Image(g) = side {
                let pairs =
                    [(g.n, y.n), (g.c, y.c), (g.size[0], y.size[0]), (g.size[1], y.size[1]), (g.size[2], y.size[2])];
                if pairs.iter().any(|&(d, of)| d != of && d != 1) {
                    let message = format!(
                        "{name}: [{}, {}, {:?}] does not broadcast to [{}, {}, {:?}]",
                        g.n, g.c, g.size, y.n, y.c, y.size
                    );
                    return Err(Error::new(FILTER, message));
                }
            }
        }
        let zero = activation.eval(f32::binary(op, 0.0, 0.0)) == 0.0;
        let whole = Arithmetic::new(isa, op, activation, &[y.len()], &[y.len()])?;
        let flat = (zero && a == Side::Image(y) && b == Side::Image(y)).then_some(whole);
        Ok(Self { isa, op, activation, sides: [a, b], y, flat })
    }

    /// `y = activation(op(a, b))`.
    ///
    /// # Errors
    /// When a slice has the wrong length.
    pub fn apply(&self, a: &[f32], b: &[f32], y: &mut [f32], par: &dyn Parallel) -> Result<()> {
        self.check(0, a)?;
        self.check(1, b)?;
        check("y", self.y.len(), y.len())?;
        if let Some(flat) = &self.flat {
            flat.apply(a, b, y, par)
        } else {
            self.run(Some(a), Some(b), y, par);
            Ok(())
        }
    }

    /// `y = activation(op(y, b))`, where `a` has the geometry of the result.
    ///
    /// # Errors
    /// When a slice has the wrong length or `a` has another geometry.
    pub fn apply_to_first(&self, b: &[f32], y: &mut [f32], par: &dyn Parallel) -> Result<()> {
        self.check_aligned(0)?;
        self.check(1, b)?;
        check("y", self.y.len(), y.len())?;
        if let Some(flat) = &self.flat {
            flat.apply_to_first(b, y, par)
        } else {
            self.run(None, Some(b), y, par);
            Ok(())
        }
    }

    /// `y = activation(op(a, y))`, where `b` has the geometry of the result.
    ///
    /// # Errors
    /// When a slice has the wrong length or `b` has another geometry.
    pub fn apply_to_second(&self, a: &[f32], y: &mut [f32], par: &dyn Parallel) -> Result<()> {
        self.check_aligned(1)?;
        self.check(0, a)?;
        check("y", self.y.len(), y.len())?;
        if let Some(flat) = &self.flat {
            flat.apply_to_second(a, y, par)
        } else {
            self.run(Some(a), None, y, par);
            Ok(())
        }
    }

    /// True when operand `k` has the geometry of the result, so that the filter can run in its place.
    pub fn aligned(&self, k: usize) -> bool {
        self.sides[k] == Side::Image(self.y)
    }

    fn check_aligned(&self, k: usize) -> Result<()> {
        if self.aligned(k) {
            return Ok(());
        }
        Err(Error::new(FILTER, format!("operand {k} has another geometry: the result cannot take its place")))
    }

    fn check(&self, k: usize, x: &[f32]) -> Result<()> {
        let expected = match self.sides[k] {
            Side::Image(g) => g.len(),
            Side::Channels => self.y.c,
            Side::Scalar => 1,
        };
        check(["a", "b"][k], expected, x.len())
    }

    fn run(&self, a: Option<&[f32]>, b: Option<&[f32]>, y: &mut [f32], par: &dyn Parallel) {
        let tail = Tail::new(self.activation);
        let (g, blocks) = (&self.y, self.y.blocks());
        for_each_part(par, y, g.block_len(), &|i, part| {
            let at = Position { n: i / blocks, block: i % blocks, z: 0, row: 0 };
            g.clear_halo(part);
            self.isa.dispatch(Block { filter: self, tail: &tail, operands: [a, b], at, y: part });
        });
    }

    /// The row of operand `k` at a position of the result.
    #[inline(always)]
    fn source<'a>(&self, k: usize, x: Option<&'a [f32]>, at: Position) -> Row<'a> {
        let Some(x) = x else { return Row::Own };
        match self.sides[k] {
            Side::Scalar => Row::Again([x[0]; BLOCK]),
            Side::Channels => {
                let mut c = [0.0; BLOCK];
                let x = &x[at.block * BLOCK..];
                let n = x.len().min(BLOCK);
                c[..n].copy_from_slice(&x[..n]);
                Row::Again(c)
            }
            Side::Image(g) => {
                let one_channel = g.c == 1 && self.y.c > 1;
                let block = if one_channel { 0 } else { at.block };
                let pick = |axis: usize, i: usize| if g.size[axis] == 1 { 0 } else { i };
                let n = if g.n == 1 { 0 } else { at.n };
                let x = &x[g.offset(n, block, [pick(0, at.z), pick(1, at.row), 0])..];
                let constant = g.size[2] == 1;
                match (one_channel, constant) {
                    (false, false) => Row::Each(&x[..g.size[2] * BLOCK]),
                    (true, false) => Row::First(&x[..g.size[2] * BLOCK]),
                    (false, true) => Row::Again(std::array::from_fn(|i| x[i])),
                    (true, true) => Row::Again([x[0]; BLOCK]),
                }
            }
        }
    }
}

/// A row of the result.
#[derive(Clone, Copy)]
struct Position {
    n: usize,
    block: usize,
    z: usize,
    row: usize,
}

/// One channel block of the result.
struct Block<'a> {
    filter: &'a Images,
    tail: &'a Tail,
    operands: [Option<&'a [f32]>; 2],
    at: Position,
    y: &'a mut [f32],
}

impl Kernel for Block<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let again = Block { y: &mut *self.y, ..self };
        if !with(self.filter.op, Rows { l: s.block(), block: again }) {
            self.one_by_one();
        }
    }
}

impl Block<'_> {
    /// Where the rows of the result lie.
    #[inline(always)]
    fn positions(&self) -> impl Iterator<Item = Position> + use<> {
        let ([depth, height, _], at) = (self.filter.y.size, self.at);
        (0..depth * height).map(move |i| Position { z: i / height, row: i % height, ..at })
    }

    /// The part of the result that is one row.
    #[inline(always)]
    fn range(&self, at: Position) -> std::ops::Range<usize> {
        let g = &self.filter.y;
        let start = g.offset(0, 0, [at.z, at.row, 0]);
        start..start + g.size[2] * BLOCK
    }

    /// Applies what follows the operator to one row, and clears its padding channels.
    #[inline(always)]
    fn after(&mut self, range: std::ops::Range<usize>) {
        let used = (self.filter.y.c - self.at.block * BLOCK).min(BLOCK);
        let y = &mut self.y[range];
        if let Some(after) = &self.tail.after {
            in_place(self.filter.isa, after, y);
        }
        if used < BLOCK {
            y.chunks_exact_mut(BLOCK).for_each(|pixel| pixel[used..].fill(0.0));
        }
    }

    /// Operators without a vector form.
    fn one_by_one(mut self) {
        let ([a, b], op, tail) = (self.operands, self.filter.op, *self.tail);
        for at in self.positions() {
            let (a, b, range) = (self.filter.source(0, a, at), self.filter.source(1, b, at), self.range(at));
            for (i, y) in self.y[range.clone()].iter_mut().enumerate() {
                let v = f32::binary(op, element(a, i, *y), element(b, i, *y));
                let v = if v < tail.lo { tail.lo } else { v };
                *y = if v > tail.hi { tail.hi } else { v };
            }
            self.after(range);
        }
    }
}

/// Element `i` of a row.
fn element(r: Row, i: usize, own: f32) -> f32 {
    match r {
        Row::Each(x) => x[i],
        Row::Again(c) => c[i % BLOCK],
        Row::First(x) => x[i / BLOCK * BLOCK],
        Row::Own => own,
    }
}

struct Rows<'a, L> {
    l: L,
    block: Block<'a>,
}

impl<L: Lanes> Visitor for Rows<'_, L> {
    #[inline(always)]
    fn visit<F: Function2>(self, f: F) {
        let (l, mut block) = (self.l, self.block);
        let [a, b] = block.operands;
        for at in block.positions() {
            let (a, b, range) = (block.filter.source(0, a, at), block.filter.source(1, b, at), block.range(at));
            row(l, f, block.tail, a, b, &mut block.y[range.clone()]);
            block.after(range);
        }
    }
}
