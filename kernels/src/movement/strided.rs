//! Copies of strided regions: what transposes, slices, concatenations, repetitions and reversals are made of.

use crate::error::{Error, Result, check_len};
use crate::par::{Parallel, for_each_part};

const FILTER: &str = "strided copy";

/// Most axes of a region after neighbours were merged.
const AXES: usize = 10;

/// Edge of the square tiles in which two axes are exchanged: a cache line of four-byte elements is used whole.
const TILE: usize = 8;

/// Elements from which a copy is worth a second thread.
const PARALLEL: usize = 1 << 15;

/// One axis of a region: its extent, and the distance of neighbours in both tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axis {
    /// Elements.
    pub extent: usize,
    /// Elements of `x` from one to the next: 0 repeats, a negative number goes backwards.
    pub from: isize,
    /// Elements of `y` from one to the next.
    pub to: usize,
}

/// Copies a region: `y[to + sum i_a to_a] = x[from + sum i_a from_a]` for all indices of the axes.
///
/// ```
/// use pocketnn_kernels::{movement::Strided, par::Serial};
/// let copy = Strided::transpose(&[2, 3], &[1, 0])?;
/// let mut y = [0u8; 6];
/// copy.apply(&[1, 2, 3, 4, 5, 6], &mut y, &Serial)?;
/// assert_eq!(y, [1, 4, 2, 5, 3, 6]);
/// # Ok::<(), pocketnn_kernels::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strided {
    /// Outermost first: in the order of `y`, neighbours merged.
    axes: [Axis; AXES],
    rank: usize,
    /// Elements of `x` and `y`.
    lengths: (usize, usize),
    starts: (usize, usize),
    inner: Inner,
}

/// How the last one or two axes are copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inner {
    /// One element after the other.
    Elements,
    /// Neighbours in both tensors.
    Run,
    /// One element into neighbours.
    Fill,
    /// The last two axes are exchanged: neighbours in `x` along the second last, in `y` along the last.
    Exchange,
}

impl Strided {
    /// A copy between tensors of `lengths` elements that starts at the elements `starts`.
    ///
    /// # Errors
    /// When an element of the region lies outside its tensor, or there are too many axes.
    pub fn new(axes: &[Axis], lengths: (usize, usize), starts: (usize, usize)) -> Result<Self> {
        let mut merged = merge(axes);
        let empty = axes.iter().any(|a| a.extent == 0);
        if empty {
            merged = vec![Axis { extent: 0, from: 0, to: 0 }];
        } else {
            check_bounds(axes, lengths, starts)?;
        }
        let inner = choose(&mut merged);
        if merged.len() > AXES {
            return Err(Error::new(FILTER, format!("expected at most {AXES} axes, found {}", merged.len())));
        }
        let mut all = [Axis { extent: 1, from: 0, to: 0 }; AXES];
        all[..merged.len()].copy_from_slice(&merged);
        Ok(Self { axes: all, rank: merged.len(), lengths, starts, inner })
    }

    /// Output axis `i` is input axis `perm[i]` of a dense tensor.
    ///
    /// # Errors
    /// When `perm` is not a permutation of the axes.
    pub fn transpose(shape: &[usize], perm: &[usize]) -> Result<Self> {
        if perm.len() != shape.len() || (0..shape.len()).any(|a| !perm.contains(&a)) {
            return Err(Error::new(
                FILTER,
                format!("perm: expected the axes of {shape:?} in some order, found {perm:?}"),
            ));
        }
        let out: Vec<usize> = perm.iter().map(|&p| shape[p]).collect();
        let (from, to) = (dense(shape), dense(&out));
        let axes: Vec<Axis> =
            perm.iter().zip(&to).map(|(&p, &to)| Axis { extent: shape[p], from: from[p] as isize, to }).collect();
        let len = shape.iter().product();
        Self::new(&axes, (len, len), (0, 0))
    }

    /// Part of a dense tensor, as another dense tensor: `len` elements of each axis from `start` on, `step` apart.
    ///
    /// # Errors
    /// When a part lies outside its axis.
    pub fn slice(shape: &[usize], start: &[usize], step: &[isize], len: &[usize]) -> Result<Self> {
        let (from, to) = (dense(shape), dense(len));
        let axis = |a: usize| Axis { extent: len[a], from: from[a] as isize * step[a], to: to[a] };
        let axes: Vec<Axis> = (0..shape.len()).map(axis).collect();
        let first = start.iter().zip(&from).map(|(s, f)| s * f).sum();
        Self::new(&axes, (shape.iter().product(), len.iter().product()), (first, 0))
    }

    /// A dense tensor into part of another dense one, from the position `at` on.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn place(shape: &[usize], into: &[usize], at: &[usize]) -> Result<Self> {
        let (from, to) = (dense(shape), dense(into));
        let axis = |a: usize| Axis { extent: shape[a], from: from[a] as isize, to: to[a] };
        let axes: Vec<Axis> = (0..shape.len()).map(axis).collect();
        if (0..shape.len()).any(|a| at[a] + shape[a] > into[a]) {
            return Err(Error::new(FILTER, format!("{shape:?} at {at:?} does not fit into {into:?}")));
        }
        let first = at.iter().zip(&to).map(|(s, t)| s * t).sum();
        Self::new(&axes, (shape.iter().product(), into.iter().product()), (0, first))
    }

    /// A dense tensor repeated along its axes: `out[a]` is a multiple of `shape[a]`.
    ///
    /// # Errors
    /// When an extent is not a multiple.
    pub fn repeat(shape: &[usize], out: &[usize]) -> Result<Self> {
        let (from, to) = (dense(shape), dense(out));
        let mut axes = Vec::new();
        for a in 0..shape.len() {
            if shape[a] == 0 || !out[a].is_multiple_of(shape[a]) {
                if out[a] != 0 {
                    return Err(Error::new(FILTER, format!("{shape:?} does not fill {out:?} a whole number of times")));
                }
                axes.push(Axis { extent: 0, from: 0, to: 0 });
                continue;
            }
            axes.push(Axis { extent: out[a] / shape[a], from: 0, to: to[a] * shape[a] });
            axes.push(Axis { extent: shape[a], from: from[a] as isize, to: to[a] });
        }
        Self::new(&axes, (shape.iter().product(), out.iter().product()), (0, 0))
    }

    /// Elements of `x` and of `y`.
    pub fn lengths(&self) -> (usize, usize) {
        self.lengths
    }

    /// Copies the region. Elements of `y` outside of it stay as they are.
    ///
    /// # Errors
    /// When a tensor has the wrong length.
    pub fn apply<T: Copy + Send + Sync + Default>(&self, x: &[T], y: &mut [T], par: &dyn Parallel) -> Result<()> {
        check_len(FILTER, "x", self.lengths.0, x.len())?;
        check_len(FILTER, "y", self.lengths.1, y.len())?;
        let axes = &self.axes[..self.rank];
        let total: usize = axes.iter().map(|a| a.extent).product();
        if total == 0 {
            return Ok(());
        }
        let (first, rest) = match axes.split_first() {
            Some((first, rest)) if rest.len() >= self.inner.axes() => (*first, rest),
            _ => {
                self.region(axes, x, y, self.starts.0 as isize, self.starts.1);
                return Ok(());
            }
        };
        // The parts of `y` that belong to different indices of the first axis do not overlap when the others fit into its step.
        let span: usize = rest.iter().map(|a| (a.extent - 1) * a.to).sum::<usize>() + 1;
        if par.threads() == 1 || total < PARALLEL || span > first.to {
            self.region(axes, x, y, self.starts.0 as isize, self.starts.1);
            return Ok(());
        }
        let many = first.extent.div_ceil(par.threads() * 2).max(1);
        let y = &mut y[self.starts.1..self.starts.1 + (first.extent - 1) * first.to + span];
        for_each_part(par, y, many * first.to, &|chunk, part| {
            let done = chunk * many;
            let head = Axis { extent: many.min(first.extent - done), ..first };
            let mut axes = self.axes;
            axes[0] = head;
            let from = self.starts.0 as isize + done as isize * first.from;
            self.region(&axes[..self.rank], x, part, from, 0);
        });
        Ok(())
    }

    /// Walks over the outer axes and copies the inner ones.
    fn region<T: Copy + Default>(&self, axes: &[Axis], x: &[T], y: &mut [T], from: isize, to: usize) {
        let (outer, inner) = axes.split_at(axes.len() - self.inner.axes().min(axes.len()));
        let count: usize = outer.iter().map(|a| a.extent).product();
        let (mut index, mut from, mut to) = ([0; AXES], from, to);
        for _ in 0..count {
            match (self.inner, inner) {
                (Inner::Run, [a]) => {
                    y[to..to + a.extent].copy_from_slice(&x[from as usize..from as usize + a.extent]);
                }
                (Inner::Fill, [a]) => y[to..to + a.extent].fill(x[from as usize]),
                (Inner::Exchange, [a, b]) => exchange(x, from as usize, y, to, *a, *b),
                (_, [a]) => {
                    for i in 0..a.extent {
                        y[to + i * a.to] = x[(from + i as isize * a.from) as usize];
                    }
                }
                _ => y[to] = x[from as usize],
            }
            for (i, a) in index[..outer.len()].iter_mut().zip(outer).rev() {
                *i += 1;
                from += a.from;
                to += a.to;
                if *i < a.extent {
                    break;
                }
                from -= a.from * a.extent as isize;
                to -= a.to * a.extent;
                *i = 0;
            }
        }
    }
}

impl Inner {
    /// Axes that the innermost loop covers.
    fn axes(self) -> usize {
        if self == Inner::Exchange { 2 } else { 1 }
    }
}

/// Exchanges two axes in square tiles: along `a` the elements of `x` are neighbours, along `b` those of `y`.
fn exchange<T: Copy + Default>(x: &[T], from: usize, y: &mut [T], to: usize, a: Axis, b: Axis) {
    let row = b.from as usize;
    let (whole_a, whole_b) = (a.extent / TILE * TILE, b.extent / TILE * TILE);
    for j in (0..whole_b).step_by(TILE) {
        for i in (0..whole_a).step_by(TILE) {
            let mut tile = [[T::default(); TILE]; TILE];
            for (k, line) in tile.iter_mut().enumerate() {
                line.copy_from_slice(&x[from + (j + k) * row + i..][..TILE]);
            }
            for k in 0..TILE {
                let line: [T; TILE] = std::array::from_fn(|l| tile[l][k]);
                y[to + (i + k) * a.to + j..][..TILE].copy_from_slice(&line);
            }
        }
    }
    for i in 0..a.extent {
        let first = if i < whole_a { whole_b } else { 0 };
        for j in first..b.extent {
            y[to + i * a.to + j] = x[from + j * row + i];
        }
    }
}

/// Distance of neighbours along each axis of a dense tensor.
fn dense(shape: &[usize]) -> Vec<usize> {
    let mut s = vec![1usize; shape.len()];
    for a in (1..shape.len()).rev() {
        s[a - 1] = s[a].saturating_mul(shape[a]);
    }
    s
}

fn check_bounds(axes: &[Axis], lengths: (usize, usize), starts: (usize, usize)) -> Result<()> {
    let (mut low, mut high, mut last) = (starts.0 as i128, starts.0 as i128, starts.1 as u128);
    for a in axes {
        let reach = (a.extent as i128 - 1) * a.from as i128;
        low += reach.min(0);
        high += reach.max(0);
        last += (a.extent as u128 - 1) * a.to as u128;
    }
    if low < 0 || high >= lengths.0 as i128 || last >= lengths.1 as u128 {
        let message = format!(
            "the region reads {low} ..= {high} of {} elements and writes up to {last} of {}",
            lengths.0, lengths.1
        );
        return Err(Error::new(FILTER, message));
    }
    Ok(())
}

/// Axes of extent 1 removed, neighbours merged where one continues the other in both tensors.
fn merge(axes: &[Axis]) -> Vec<Axis> {
    let mut out: Vec<Axis> = Vec::with_capacity(axes.len());
    for &a in axes.iter().filter(|a| a.extent != 1) {
        match out.last_mut() {
            Some(b) if b.from == a.from * a.extent as isize && b.to == a.to * a.extent => {
                *b = Axis { extent: a.extent * b.extent, ..a };
            }
            _ => out.push(a),
        }
    }
    out
}

/// What the innermost loop does. Where an inner axis is best exchanged with another, that one moves next to it.
fn choose(axes: &mut [Axis]) -> Inner {
    let n = axes.len();
    match axes.last() {
        Some(Axis { from: 1, to: 1, .. }) => Inner::Run,
        Some(Axis { from: 0, to: 1, .. }) => Inner::Fill,
        Some(Axis { from: 2.., to: 1, .. }) => match axes[..n - 1].iter().rposition(|a| a.from == 1) {
            Some(i) => {
                axes[i..n - 1].rotate_left(1);
                Inner::Exchange
            }
            None => Inner::Elements,
        },
        _ => Inner::Elements,
    }
}
