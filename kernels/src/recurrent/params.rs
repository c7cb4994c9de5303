//! What a recurrent layer computes.

use crate::activation::Activation;

/// The cell. Gates are stacked in the order given; `x` is the product with the input weights and the input bias, `h` that of
/// the state before with the recurrent weights and the recurrent bias, `*` is element by element.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Cell {
    /// `h' = f(x + h)`
    Simple,
    /// Gates z, r, h: `z = f(x + h)`, `r = f(x + h)`, `c = g(x + (r * state) R + bias)`, `h' = (1 - z) * c + z * state`.
    Gru {
        /// `c = g(x + r * h)`: the reset gate multiplies the product, bias included.
        linear_before_reset: bool,
    },
    /// Gates i, o, f, c: `i, f = f(x + h + p * cell)`, `c = g(x + h)`, `cell' = f * cell + i * c`, `o = f(x + h + p * cell')`,
    /// `h' = o * h(cell')`.
    Lstm {
        /// `f = 1 - i`
        input_forget: bool,
    },
}

impl Cell {
    /// Number of gates.
    pub fn gates(self) -> usize {
        match self {
            Cell::Simple => 1,
            Cell::Gru { .. } => 3,
            Cell::Lstm { .. } => 4,
        }
    }
}

/// Order in which the sequence is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Direction {
    /// First to last.
    Forward,
    /// Last to first.
    Reverse,
}

/// One layer in one direction.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Params {
    /// The cell.
    pub cell: Cell,
    /// Order of the sequence.
    pub direction: Direction,
    /// Elements of an input step, `I`.
    pub input: usize,
    /// Hidden units, `H`.
    pub hidden: usize,
    /// Activations `f`, `g`, `h`; cells with fewer ignore the rest.
    pub activations: [Activation; 3],
    /// What goes into an activation of a gate is clipped to `[-clip, clip]`.
    pub clip: Option<f32>,
}

/// Extents of a batch of sequences.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sequence {
    /// Steps, `T`.
    pub steps: usize,
    /// Sequences, `N`.
    pub batch: usize,
}

impl Direction {
    /// The step that is read as the `i`-th of a sequence of `len` steps.
    pub fn step(self, i: usize, len: usize) -> usize {
        match self {
            Direction::Forward => i,
            Direction::Reverse => len - 1 - i,
        }
    }
}
