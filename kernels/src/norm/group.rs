//! Normalisation of groups of channels, on plain and on blocked images.

use super::rows::total;
use super::{FILTER, Images, rows};
use crate::Error;
use crate::error::{Result, check_len};
use crate::isa::{Isa, Kernel, Lanes, Simd};
use crate::layout::{BLOCK, Blocked};
use crate::par::{Parallel, for_each_part};

/// Group normalisation: each group of neighbouring channels of each image to mean 0 and variance 1, then a scale and a bias a
/// channel (Wu and He, "Group normalization", 2018). One group a channel is instance normalisation. Runs in place.
#[derive(Clone, Debug)]
pub struct Group {
    isa: Isa,
    images: Images,
    groups: usize,
    epsilon: f32,
}

impl Group {
    /// For plain images `[N, C, positions]`.
    ///
    /// # Errors
    /// When the groups do not divide the channels.
    pub fn new(isa: Isa, shape: [usize; 3], groups: usize, epsilon: f32) -> Result<Self> {
        Self::of(isa, Images::Plain(shape), groups, epsilon)
    }

    /// For blocked images.
    ///
    /// # Errors
    /// When the groups do not divide the channels, or [`Group::can_block`] is false.
    pub fn blocked(isa: Isa, g: Blocked, groups: usize, epsilon: f32) -> Result<Self> {
        if !Self::can_block(g.c, groups) {
            let message = format!("{groups} groups of {} channels do not agree with blocks of {BLOCK}", g.c);
            return Err(Error::new(FILTER, message));
        }
        Self::of(isa, Images::Blocked(g), groups, epsilon)
    }

    fn of(isa: Isa, images: Images, groups: usize, epsilon: f32) -> Result<Self> {
        if groups == 0 || !images.channels().is_multiple_of(groups) {
            return Err(Error::new(FILTER, format!("{groups} groups do not divide {} channels", images.channels())));
        }
        Ok(Self { isa, images, groups, epsilon })
    }

    /// Whether groups are whole channel blocks, or blocks whole groups.
    pub fn can_block(channels: usize, groups: usize) -> bool {
        if groups == 0 || !channels.is_multiple_of(groups) {
            return false;
        }
        let size = channels / groups;
        groups == 1 || size.is_multiple_of(BLOCK) || (size != 0 && BLOCK.is_multiple_of(size))
    }

    /// `y = normalised(y)`; scale and bias `[C]`.
    ///
    /// # Errors
    /// When a slice has the wrong length.
    pub fn apply_in_place(
        &self,
        scale: Option<&[f32]>,
        bias: Option<&[f32]>,
        y: &mut [f32],
        par: &dyn Parallel,
    ) -> Result<()> {
        let channels = self.images.channels();
        for (name, p) in [("scale", scale), ("bias", bias)] {
            p.map_or(Ok(()), |p| check_len(FILTER, name, channels, p.len()))?;
        }
        check_len(FILTER, "y", self.images.len(), y.len())?;
        let size = channels / self.groups;
        let (unit, units) = match self.images {
            Images::Plain([_, _, positions]) => (size * positions, self.groups),
            Images::Blocked(g) => {
                let blocks = size.div_ceil(BLOCK);
                (blocks * g.block_len(), g.blocks() / blocks.max(1))
            }
        };
        for_each_part(par, y, unit, &|i, y| {
            self.isa.dispatch(Unit { filter: self, index: i % units, scale, bias, y });
        });
        Ok(())
    }
}

/// One group of a plain image; one group or the groups of one block of a blocked one.
struct Unit<'a> {
    filter: &'a Group,
    index: usize,
    scale: Option<&'a [f32]>,
    bias: Option<&'a [f32]>,
    y: &'a mut [f32],
}

impl Kernel for Unit<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        match self.filter.images {
            Images::Plain([_, _, positions]) => self.plain(s.pair(), positions),
            Images::Blocked(g) => self.blocks(s.block(), &g),
        }
    }
}

impl Unit<'_> {
    /// Factor and offset of a channel, or 1 and 0.
    #[inline(always)]
    fn parameters(&self, c: usize) -> (f32, f32) {
        (self.scale.map_or(1.0, |s| s[c]), self.bias.map_or(0.0, |b| b[c]))
    }

    #[inline(always)]
    fn plain<L: Lanes>(self, l: L, positions: usize) {
        let n = self.y.len() as f32;
        let mean = total(l, self.y, |a, v| l.add(a, v)) / n;
        let m = l.splat(mean);
        let squares = total(l, self.y, |a, v| {
            let d = l.sub(v, m);
            l.mul_add(d, d, a)
        });
        let r = 1.0 / (squares / n + self.filter.epsilon).sqrt();
        let size = self.filter.images.channels() / self.filter.groups;
        let first = self.index * size;
        for j in 0..size {
            let (scale, bias) = self.parameters(first + j);
            let (a, b) = (l.splat(r * scale), l.splat(bias));
            l.map(&mut self.y[j * positions..(j + 1) * positions], |v| l.mul_add(l.sub(v, m), a, b));
        }
    }

    /// Sums are kept for each of the eight channels of a block, then joined within groups; padding channels count nowhere.
    #[inline(always)]
    fn blocks<L: Lanes>(self, l: L, g: &Blocked) {
        let size = g.c / self.filter.groups;
        let n = (size * g.positions()) as f32;
        let first = self.index * size.div_ceil(BLOCK);
        let mut sum = l.zero();
        for block in self.y.chunks_exact_mut(g.block_len()) {
            for range in rows(g) {
                for v in block[range].chunks_exact(BLOCK) {
                    sum = l.add(sum, l.load_slice(v));
                }
            }
        }
        let mean = join(l, sum, size).map(|v| v / n);
        let m = l.load_slice(&mean);
        let mut squares = l.zero();
        for (j, block) in self.y.chunks_exact_mut(g.block_len()).enumerate() {
            let mask = l.load_slice(&used(g, first + j));
            for range in rows(g) {
                for v in block[range].chunks_exact(BLOCK) {
                    let d = l.mul(l.sub(l.load_slice(v), m), mask);
                    squares = l.mul_add(d, d, squares);
                }
            }
        }
        let r = join(l, squares, size).map(|v| 1.0 / (v / n + self.filter.epsilon).sqrt());
        for (j, block) in self.y.chunks_exact_mut(g.block_len()).enumerate() {
            let (mut a, mut b, used) = ([0.0; BLOCK], [0.0; BLOCK], used(g, first + j));
            for k in (0..BLOCK).filter(|&k| used[k] != 0.0) {
                let (scale, bias) = (self.scale, self.bias);
                let c = (first + j) * BLOCK + k;
                a[k] = r[k] * scale.map_or(1.0, |s| s[c]);
                b[k] = bias.map_or(0.0, |b| b[c]);
            }
            let (a, b, mask) = (l.load_slice(&a), l.load_slice(&b), l.load_slice(&used));
            for range in rows(g) {
                l.map(&mut block[range], |v| l.mul_add(l.mul(l.sub(v, m), mask), a, b));
            }
        }
    }
}

/// 1 for the channels of a block, 0 for its padding channels.
#[inline(always)]
fn used(g: &Blocked, block: usize) -> [f32; BLOCK] {
    std::array::from_fn(|k| if block * BLOCK + k < g.c { 1.0 } else { 0.0 })
}

/// Sums of lanes within groups of `size` channels, given to each of their lanes; all eight where a group is larger.
#[inline(always)]
fn join<L: Lanes>(l: L, v: L::V, size: usize) -> [f32; BLOCK] {
    let t = l.to_array(v);
    let mut lanes: [f32; BLOCK] = std::array::from_fn(|k| t[k]);
    for group in lanes.chunks_mut(size.clamp(1, BLOCK)) {
        let sum: f32 = group.iter().sum();
        group.fill(sum);
    }
    lanes
}
