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
