//! The machine's ceiling: fused multiply-adds on registers alone.

use crate::isa::{Isa, Kernel, Lanes, Simd};
use std::time::Instant;

/// Peak of one core in GFLOP/s (a multiply-add counts two), measured now: the best of many short bursts of independent
/// multiply-adds on registers. Takes about five milliseconds; a figure of the same process and minute is the one to divide by.
pub fn fma_peak(isa: Isa) -> f64 {
    let lanes_steps = (STEPS * 2 * 16) as f64;
    let burst = || {
        let start = Instant::now();
        let chains = isa.dispatch(Burst(std::hint::black_box(0.999_999)));
        let seconds = start.elapsed().as_secs_f64();
        chains as f64 * lanes_steps / seconds / 1e9
    };
    (0..64).map(|_| burst()).fold(0.0, f64::max)
}

/// Gigabytes a second that one core reads from a buffer of so many bytes over and over, measured now: the best of several passes. The size
/// says which memory is measured; a buffer larger than all caches measures main memory. Takes about ten milliseconds and a buffer.
pub fn read_bandwidth(isa: Isa, bytes: usize) -> f64 {
    let buffer = vec![1.0f32; (bytes / size_of::<f32>()).max(READ)];
    let passes = (PASS_BYTES / bytes.max(1)).max(1);
    let pass = || {
        let start = Instant::now();
        for _ in 0..passes {
            isa.dispatch(Read(std::hint::black_box(&buffer)));
        }
        (passes * buffer.len() * size_of::<f32>()) as f64 / start.elapsed().as_secs_f64() / 1e9
    };
    (0..8).map(|_| pass()).fold(0.0, f64::max)
}

/// Bytes that a timed pass reads at least.
const PASS_BYTES: usize = 16 << 20;
/// Floats read in one step: four independent sums of sixteen lanes.
const READ: usize = 64;

struct Read<'a>(&'a [f32]);

impl Kernel for Read<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let l = s.pair();
        let mut sums = [l.splat(0.0); 4];
        for part in self.0.chunks_exact(READ) {
            for (i, sum) in sums.iter_mut().enumerate() {
                *sum = l.add(*sum, l.load_slice(&part[i * 16..][..16]));
            }
        }
        let total = sums.into_iter().reduce(|a, b| l.add(a, b)).unwrap_or(sums[0]);
        std::hint::black_box(l.to_array(total));
    }
}

const STEPS: usize = 1 << 12;

struct Burst(f32);

impl Kernel for Burst {
    /// Chains of sixteen lanes that ran.
    type Output = usize;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> usize {
        if S::WIDE { chains::<S, 12>(s, self.0) } else { chains::<S, 5>(s, self.0) }
    }
}

#[inline(always)]
fn chains<S: Simd, const N: usize>(s: S, x: f32) -> usize {
    let l = s.pair();
    let factor = l.splat(x);
    let mut sums = [l.splat(1.0); N];
    for _ in 0..STEPS {
        for v in &mut sums {
            *v = l.mul_add(*v, factor, factor);
        }
    }
    let total = sums.into_iter().reduce(|a, b| l.add(a, b)).unwrap_or(factor);
    std::hint::black_box(l.to_array(total));
    N
}
