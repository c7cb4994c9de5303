//! Products of a few rows with packed weights: what the gates are made of.

use crate::isa::{Isa, Kernel, Lanes, Simd};

/// Columns of one panel: a pair of channel blocks.
const PANEL: usize = 16;

/// Weights `[columns, depth]` packed as `[columns / 16][depth][16]`, the last panel filled up with zeros.
#[derive(Clone, Debug)]
pub(super) struct Panels {
    data: Vec<f32>,
    pub depth: usize,
    pub columns: usize,
}

impl Panels {
    /// Packs rows `first .. first + columns` of `w [rows, depth]`.
    pub fn new(w: &[f32], depth: usize, first: usize, columns: usize) -> Self {
        let mut data = vec![0.0; columns.div_ceil(PANEL) * depth * PANEL];
        for c in 0..columns {
            let row = &w[(first + c) * depth..(first + c + 1) * depth];
            let start = c / PANEL * depth * PANEL + c % PANEL;
            data[start..].iter_mut().step_by(PANEL).zip(row).for_each(|(d, &v)| *d = v);
        }
        Self { data, depth, columns }
    }

    /// `y[m][c] += sum_k x[m][k] w[c][k]` for `rows` rows: `x` has `depth` floats a row, `y` has `stride`, of which the first
    /// `columns` are written. Each sum is one chain from the old value on, in the order of `k`.
    pub fn add(&self, isa: Isa, x: &[f32], rows: usize, y: &mut [f32], stride: usize) {
        if rows > 0 && self.columns > 0 {
            isa.dispatch(Add { panels: self, x, rows, y, stride });
        }
    }

    fn panel(&self, p: usize) -> &[f32] {
        &self.data[p * self.depth * PANEL..(p + 1) * self.depth * PANEL]
    }
}

struct Add<'a> {
    panels: &'a Panels,
    x: &'a [f32],
    rows: usize,
    y: &'a mut [f32],
    stride: usize,
}

impl Kernel for Add<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let l = s.pair();
        let mut m = 0;
        while m < self.rows {
            m += match self.rows - m {
                4.. => self.strip::<_, 4, 1>(l, m),
                2..4 => self.strip::<_, 2, 2>(l, m),
                _ => self.strip::<_, 1, 4>(l, m),
            };
        }
    }
}

impl Add<'_> {
    /// All columns of `MR` rows, `NP` panels at a time so that enough sums are under way.
    #[inline(always)]
    fn strip<L: Lanes, const MR: usize, const NP: usize>(&mut self, l: L, m: usize) -> usize {
        let panels = self.panels.columns.div_ceil(PANEL);
        let mut p = 0;
        while p + NP <= panels {
            self.tile::<L, MR, NP>(l, m, p);
            p += NP;
        }
        while p < panels {
            self.tile::<L, MR, 1>(l, m, p);
            p += 1;
        }
        MR
    }

    #[inline(always)]
    fn tile<L: Lanes, const MR: usize, const NP: usize>(&mut self, l: L, m: usize, p: usize) {
        let depth = self.panels.depth;
        let x: [&[f32]; MR] = std::array::from_fn(|r| &self.x[(m + r) * depth..(m + r + 1) * depth]);
        let w: [&[f32]; NP] = std::array::from_fn(|q| self.panels.panel(p + q));
        let place = |r: usize, q: usize| {
            let column = (p + q) * PANEL;
            let start = (m + r) * self.stride + column;
            start..start + PANEL.min(self.panels.columns - column)
        };
        let mut sums: [[L::V; NP]; MR] =
            std::array::from_fn(|r| std::array::from_fn(|q| l.load_partial(&self.y[place(r, q)], 0.0)));
        for k in 0..depth {
            let b: [L::V; NP] = std::array::from_fn(|q| l.load_slice(&w[q][k * PANEL..(k + 1) * PANEL]));
            for r in 0..MR {
                let a = l.splat(x[r][k]);
                for q in 0..NP {
                    sums[r][q] = l.mul_add(a, b[q], sums[r][q]);
                }
            }
        }
        for r in 0..MR {
            for q in 0..NP {
                let at = place(r, q);
                l.store_partial(&mut self.y[at], sums[r][q]);
            }
        }
    }
}
