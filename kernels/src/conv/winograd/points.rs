//! The point sets of the minimal filtering algorithms and their one-dimensional transforms.
//!
//! Toom-Cook with points `p` and infinity: a window `d` of `OUT + 2` inputs and a filter `g` of three taps become values at the
//! points, are multiplied there, and the products are interpolated to `OUT` outputs (Lavin and Gray, "Fast Algorithms for
//! Convolutional Neural Networks", 2016). The points 0, ±1/√2, ±√2 make the entries of the transforms for four outputs as alike in size
//! as they can be, which keeps three times as many digits as the textbook's 0, ±1, ±2 (Barabasz et al., "Error analysis and improving
//! the accuracy of Winograd convolution", 2020). Two dimensions are one after the other.

use crate::isa::Lanes;

/// Inputs of the largest window of one dimension.
pub const MOST: usize = 6;

/// A point set. Arrays have room for the largest one; entries past [`Points::IN`] or [`Points::OUT`] mean nothing.
pub trait Points: Copy + Send + Sync {
    /// Inputs of a window, and points with infinity among them.
    const IN: usize;
    /// Outputs of a window.
    const OUT: usize;
    /// The filter at the points.
    fn filter(g: [f64; 3]) -> [f64; MOST];
    /// A window at the points.
    fn input<L: Lanes>(l: L, d: [L::V; MOST]) -> [L::V; MOST];
    /// Outputs from the products.
    fn output<L: Lanes>(l: L, m: [L::V; MOST]) -> [L::V; 4];
}

/// Two outputs: points 0, ±1, infinity. Its entries are 0, ±1 and ±1/2, so it is as exact as the direct sum.
#[derive(Clone, Copy)]
pub struct Two;

impl Points for Two {
    const IN: usize = 4;
    const OUT: usize = 2;
    #[inline(always)]
    fn filter([a, b, c]: [f64; 3]) -> [f64; MOST] {
        [a, 0.5 * (a + c + b), 0.5 * (a + c - b), c, 0.0, 0.0]
    }
    #[inline(always)]
    fn input<L: Lanes>(l: L, d: [L::V; MOST]) -> [L::V; MOST] {
        [l.sub(d[0], d[2]), l.add(d[1], d[2]), l.sub(d[2], d[1]), l.sub(d[3], d[1]), d[4], d[5]]
    }
    #[inline(always)]
    fn output<L: Lanes>(l: L, m: [L::V; MOST]) -> [L::V; 4] {
        let (sum, difference) = (l.add(m[1], m[2]), l.sub(m[1], m[2]));
        [l.add(m[0], sum), l.add(difference, m[3]), m[4], m[5]]
    }
}

/// Four outputs: points 0, ±1/√2, ±√2, infinity.
#[derive(Clone, Copy)]
pub struct Four;

const ROOT: f32 = std::f32::consts::SQRT_2;
const HALF_ROOT: f32 = std::f32::consts::FRAC_1_SQRT_2;

impl Points for Four {
    const IN: usize = 6;
    const OUT: usize = 4;
    #[inline(always)]
    fn filter([a, b, c]: [f64; 3]) -> [f64; MOST] {
        // Values at a point over the product of its distances from the others: -3/2 at ±1/√2, 6 at ±√2, 1 at 0.
        let (inner, outer) = (b * std::f64::consts::FRAC_1_SQRT_2, b * std::f64::consts::SQRT_2);
        let (near, far) = (a + 0.5 * c, a + 2.0 * c);
        [a, (near + inner) / -1.5, (near - inner) / -1.5, (far + outer) / 6.0, (far - outer) / 6.0, c]
    }
    #[inline(always)]
    fn input<L: Lanes>(l: L, d: [L::V; MOST]) -> [L::V; MOST] {
        // Rows of the polynomial (x^2 - 1/2)(x^2 - 2) = x^4 - 5/2 x^2 + 1 with one factor taken out; what ± points share is computed once.
        let (minus, middle, root) = (l.splat(-2.0), l.splat(-2.5), l.splat(HALF_ROOT));
        let even_inner = l.mul_add(minus, d[2], d[4]);
        let odd_inner = l.mul_add(minus, d[1], d[3]);
        let even_outer = l.mul_add(l.splat(-0.5), d[2], d[4]);
        let odd_outer = l.mul_add(l.splat(-0.5), d[1], d[3]);
        let (minus_root, twice, minus_twice) = (l.splat(-HALF_ROOT), l.splat(ROOT), l.splat(-ROOT));
        [
            l.mul_add(middle, d[2], l.add(d[0], d[4])),
            l.mul_add(root, odd_inner, even_inner),
            l.mul_add(minus_root, odd_inner, even_inner),
            l.mul_add(twice, odd_outer, even_outer),
            l.mul_add(minus_twice, odd_outer, even_outer),
            l.mul_add(middle, d[3], l.add(d[1], d[5])),
        ]
    }
    #[inline(always)]
    fn output<L: Lanes>(l: L, m: [L::V; MOST]) -> [L::V; 4] {
        let (even_inner, odd_inner) = (l.add(m[1], m[2]), l.sub(m[1], m[2]));
        let (even_outer, odd_outer) = (l.add(m[3], m[4]), l.sub(m[3], m[4]));
        // Powers of the points: 1/√2, √2; their squares 1/2, 2; their cubes 1/√8, √8.
        [
            l.add(m[0], l.add(even_inner, even_outer)),
            l.mul_add(l.splat(HALF_ROOT), odd_inner, l.mul(l.splat(ROOT), odd_outer)),
            l.mul_add(l.splat(0.5), even_inner, l.mul(l.splat(2.0), even_outer)),
            l.mul_add(l.splat(0.5 * HALF_ROOT), odd_inner, l.mul_add(l.splat(2.0 * ROOT), odd_outer, m[5])),
        ]
    }
}
