//! One lane at a time with fused multiply-add: slow, and the definition of the bits.

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
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("fma") {
        // SAFETY: the feature was detected.
        return unsafe { with_hardware_fma(kernel) };
    }
    kernel.run(Scalar(()))
}

/// # Safety
/// The machine must have FMA.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "fma")]
unsafe fn with_hardware_fma<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Scalar(()))
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

    #[inline(always)]
    fn splat(self, x: f32) -> F {
        [x; 8]
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> F {
        // SAFETY: the caller promises eight readable floats.
        unsafe { p.cast::<F>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: F) {
        // SAFETY: the caller promises eight writable floats.
        unsafe { p.cast::<F>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn load_f16(self, p: *const half::f16) -> F {
        // SAFETY: the caller promises eight readable values.
        unsafe { p.cast::<[half::f16; 8]>().read_unaligned() }.map(half::f16::to_f32)
    }
    #[inline(always)]
    unsafe fn load_bf16(self, p: *const half::bf16) -> F {
        // SAFETY: the caller promises eight readable values.
        unsafe { p.cast::<[half::bf16; 8]>().read_unaligned() }.map(half::bf16::to_f32)
    }
    #[inline(always)]
    unsafe fn load_i8(self, p: *const i8) -> F {
        // SAFETY: the caller promises eight readable bytes.
        unsafe { p.cast::<[i8; 8]>().read_unaligned() }.map(f32::from)
    }
    #[inline(always)]
    unsafe fn load_blocks(self, p: *const f32, _stride: usize) -> Self::V {
        // SAFETY: the caller promises eight readable floats.
        unsafe { self.load(p) }
    }
    #[inline(always)]
    unsafe fn store_blocks(self, p: *mut f32, _stride: usize, v: Self::V) {
        // SAFETY: the caller promises eight writable floats.
        unsafe { self.store(p, v) }
    }
    #[inline(always)]
    fn add(self, a: F, b: F) -> F {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: F, b: F) -> F {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: F, b: F) -> F {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, a: F, b: F) -> F {
        zip(a, b, |a, b| a / b)
    }
    #[inline(always)]
    fn mul_add(self, a: F, b: F, c: F) -> F {
        std::array::from_fn(|i| a[i].mul_add(b[i], c[i]))
    }
    #[inline(always)]
    fn min(self, a: F, b: F) -> F {
        zip(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    fn max(self, a: F, b: F) -> F {
        zip(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn sqrt(self, a: F) -> F {
        a.map(f32::sqrt)
    }
    #[inline(always)]
    fn round(self, a: F) -> F {
        a.map(f32::round_ties_even)
    }
    #[inline(always)]
    fn floor(self, a: F) -> F {
        a.map(f32::floor)
    }
    #[inline(always)]
    fn lt(self, a: F, b: F) -> M {
        zip(a, b, |a, b| a < b)
    }
    #[inline(always)]
    fn le(self, a: F, b: F) -> M {
        zip(a, b, |a, b| a <= b)
    }
    #[inline(always)]
    fn eq(self, a: F, b: F) -> M {
        zip(a, b, |a, b| a == b)
    }
    #[inline(always)]
    fn select(self, m: M, a: F, b: F) -> F {
        std::array::from_fn(|i| if m[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn bits(self, a: F) -> I {
        a.map(|x| x.to_bits() as i32)
    }
    #[inline(always)]
    fn from_bits(self, a: I) -> F {
        a.map(|x| f32::from_bits(x as u32))
    }
    #[inline(always)]
    fn i_splat(self, x: i32) -> I {
        [x; 8]
    }
    #[inline(always)]
    fn i_add(self, a: I, b: I) -> I {
        zip(a, b, i32::wrapping_add)
    }
    #[inline(always)]
    fn i_sub(self, a: I, b: I) -> I {
        zip(a, b, i32::wrapping_sub)
    }
    #[inline(always)]
    fn i_and(self, a: I, b: I) -> I {
        zip(a, b, |a, b| a & b)
    }
    #[inline(always)]
    fn i_or(self, a: I, b: I) -> I {
        zip(a, b, |a, b| a | b)
    }
    #[inline(always)]
    fn i_xor(self, a: I, b: I) -> I {
        zip(a, b, |a, b| a ^ b)
    }
    #[inline(always)]
    fn i_shl<const K: i32>(self, a: I) -> I {
        a.map(|x| x << K)
    }
    #[inline(always)]
    fn i_shr<const K: i32>(self, a: I) -> I {
        a.map(|x| ((x as u32) >> K) as i32)
    }
    #[inline(always)]
    fn to_int(self, a: F) -> I {
        a.map(|x| x.round_ties_even() as i32)
    }
    #[inline(always)]
    fn to_float(self, a: I) -> F {
        a.map(|x| x as f32)
    }
}
