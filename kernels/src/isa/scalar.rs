//! One lane at a time with fused multiply-add: slow, and the definition of the bits.
//!
//! Its operations are calls on purpose: inlined eight-fold they would make up most of the crate's code and of its compile time, for
//! a set that only tests and machines without vectors run.

use super::{Kernel, Lanes, Simd, Twice};

/// Token of the scalar set. Always there: without the instruction, `f32::mul_add` is computed in software.
#[derive(Clone, Copy)]
pub struct Scalar(());

impl Scalar {
    pub fn detect() -> bool {
        true
    }
}

/// # Safety
/// None; the signature is that of every instruction set.
pub unsafe fn vectorize<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Scalar(()))
}

/// Eight fused multiply-adds by the instruction, which the standard library would reach through a call a lane.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "fma")]
fn hardware_fma(a: F, b: F, c: F) -> F {
    std::array::from_fn(|i| a[i].mul_add(b[i], c[i]))
}

impl Simd for Scalar {
    type Block = Eight;
    type Pair = Twice<Eight>;
    const WIDE: bool = false;
    const ROWS: usize = 2;
    #[inline(always)]
    fn block(self) -> Eight {
        Eight(())
    }
    #[inline(always)]
    fn pair(self) -> Twice<Eight> {
        Twice(Eight(()))
    }
}

/// Eight scalar lanes.
#[derive(Clone, Copy)]
pub struct Eight(());

type F = [f32; 8];
type I = [i32; 8];
type M = [bool; 8];

#[inline(always)]
fn zip<A: Copy, B: Copy, C>(a: [A; 8], b: [B; 8], f: impl Fn(A, B) -> C) -> [C; 8] {
    std::array::from_fn(|i| f(a[i], b[i]))
}

impl Lanes for Eight {
    type V = F;
    type I = I;
    type M = M;
    const N: usize = 8;

    #[inline(never)]
    fn splat(self, x: f32) -> F {
        [x; 8]
    }
    #[inline(never)]
    unsafe fn load(self, p: *const f32) -> F {
        // SAFETY: the caller promises eight readable floats.
        unsafe { p.cast::<F>().read_unaligned() }
    }
    #[inline(never)]
    unsafe fn store(self, p: *mut f32, v: F) {
        // SAFETY: the caller promises eight writable floats.
        unsafe { p.cast::<F>().write_unaligned(v) }
    }
    #[inline(never)]
    unsafe fn load_f16(self, p: *const half::f16) -> F {
        // SAFETY: the caller promises eight readable values.
        unsafe { p.cast::<[half::f16; 8]>().read_unaligned() }.map(half::f16::to_f32)
    }
    #[inline(never)]
    unsafe fn load_bf16(self, p: *const half::bf16) -> F {
        // SAFETY: the caller promises eight readable values.
        unsafe { p.cast::<[half::bf16; 8]>().read_unaligned() }.map(half::bf16::to_f32)
    }
    #[inline(never)]
    unsafe fn load_i8(self, p: *const i8) -> F {
        // SAFETY: the caller promises eight readable bytes.
        unsafe { p.cast::<[i8; 8]>().read_unaligned() }.map(f32::from)
    }
    #[inline(never)]
    unsafe fn load_blocks(self, p: *const f32, _stride: usize) -> Self::V {
        // SAFETY: the caller promises eight readable floats.
        unsafe { self.load(p) }
    }
    #[inline(never)]
    unsafe fn store_blocks(self, p: *mut f32, _stride: usize, v: Self::V) {
        // SAFETY: the caller promises eight writable floats.
        unsafe { self.store(p, v) }
    }
    #[inline(never)]
    fn add(self, a: F, b: F) -> F {
        zip(a, b, |a, b| a + b)
    }
    #[inline(never)]
    fn sub(self, a: F, b: F) -> F {
        zip(a, b, |a, b| a - b)
    }
    #[inline(never)]
    fn mul(self, a: F, b: F) -> F {
        zip(a, b, |a, b| a * b)
    }
    #[inline(never)]
    fn div(self, a: F, b: F) -> F {
        zip(a, b, |a, b| a / b)
    }
    #[inline(never)]
    fn mul_add(self, a: F, b: F, c: F) -> F {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("fma") {
            // SAFETY: the feature was detected.
            return unsafe { hardware_fma(a, b, c) };
        }
        std::array::from_fn(|i| a[i].mul_add(b[i], c[i]))
    }
    #[inline(never)]
    fn min(self, a: F, b: F) -> F {
        zip(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(never)]
    fn max(self, a: F, b: F) -> F {
        zip(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(never)]
    fn sqrt(self, a: F) -> F {
        a.map(f32::sqrt)
    }
    #[inline(never)]
    fn round(self, a: F) -> F {
        a.map(f32::round_ties_even)
    }
    #[inline(never)]
    fn floor(self, a: F) -> F {
        a.map(f32::floor)
    }
    #[inline(never)]
    fn lt(self, a: F, b: F) -> M {
        zip(a, b, |a, b| a < b)
    }
    #[inline(never)]
    fn le(self, a: F, b: F) -> M {
        zip(a, b, |a, b| a <= b)
    }
    #[inline(never)]
    fn eq(self, a: F, b: F) -> M {
        zip(a, b, |a, b| a == b)
    }
    #[inline(never)]
    fn select(self, m: M, a: F, b: F) -> F {
        std::array::from_fn(|i| if m[i] { a[i] } else { b[i] })
    }
    #[inline(never)]
    fn bits(self, a: F) -> I {
        a.map(|x| x.to_bits() as i32)
    }
    #[inline(never)]
    fn from_bits(self, a: I) -> F {
        a.map(|x| f32::from_bits(x as u32))
    }
    #[inline(never)]
    fn i_splat(self, x: i32) -> I {
        [x; 8]
    }
    #[inline(never)]
    fn i_add(self, a: I, b: I) -> I {
        zip(a, b, i32::wrapping_add)
    }
    #[inline(never)]
    fn i_sub(self, a: I, b: I) -> I {
        zip(a, b, i32::wrapping_sub)
    }
    #[inline(never)]
    fn i_and(self, a: I, b: I) -> I {
        zip(a, b, |a, b| a & b)
    }
    #[inline(never)]
    fn i_or(self, a: I, b: I) -> I {
        zip(a, b, |a, b| a | b)
    }
    #[inline(never)]
    fn i_xor(self, a: I, b: I) -> I {
        zip(a, b, |a, b| a ^ b)
    }
    #[inline(never)]
    fn i_shl<const K: i32>(self, a: I) -> I {
        a.map(|x| x << K)
    }
    #[inline(never)]
    fn i_shr<const K: i32>(self, a: I) -> I {
        a.map(|x| ((x as u32) >> K) as i32)
    }
    #[inline(never)]
    fn to_int(self, a: F) -> I {
        a.map(|x| x.round_ties_even() as i32)
    }
    #[inline(never)]
    fn to_float(self, a: I) -> F {
        a.map(|x| x as f32)
    }
}
