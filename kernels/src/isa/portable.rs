//! Eight lanes of the `wide` crate: every target, whatever it compiles to.

use super::{Kernel, Lanes, Simd, Twice};
use wide::{f32x8, i32x8, u32x8};

/// Token of the portable set.
#[derive(Clone, Copy)]
pub struct Portable(());

impl Portable {
    pub fn detect() -> bool {
        true
    }
}

/// # Safety
/// None; the signature is that of every instruction set.
pub unsafe fn vectorize<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Portable(()))
}

impl Simd for Portable {
    type Block = Wide8;
    type Pair = Twice<Wide8>;
    const WIDE: bool = false;
    const ROWS: usize = 2;
    #[inline(always)]
    fn block(self) -> Wide8 {
        Wide8(())
    }
    #[inline(always)]
    fn pair(self) -> Twice<Wide8> {
        Twice(Wide8(()))
    }
}

/// Eight lanes of `wide`.
#[derive(Clone, Copy)]
pub struct Wide8(());

impl Lanes for Wide8 {
    type V = f32x8;
    type I = i32x8;
    type M = f32x8;
    const N: usize = 8;

    #[inline(always)]
    fn splat(self, x: f32) -> f32x8 {
        f32x8::splat(x)
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> f32x8 {
        // SAFETY: the caller promises eight readable floats.
        f32x8::new(unsafe { p.cast::<[f32; 8]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: f32x8) {
        // SAFETY: the caller promises eight writable floats.
        unsafe { p.cast::<[f32; 8]>().write_unaligned(v.to_array()) }
    }
    #[inline(always)]
    unsafe fn load_f16(self, p: *const half::f16) -> f32x8 {
        // SAFETY: the caller promises eight readable values.
        f32x8::new(unsafe { p.cast::<[half::f16; 8]>().read_unaligned() }.map(half::f16::to_f32))
    }
    #[inline(always)]
    unsafe fn load_bf16(self, p: *const half::bf16) -> f32x8 {
        // SAFETY: the caller promises eight readable values.
        f32x8::new(unsafe { p.cast::<[half::bf16; 8]>().read_unaligned() }.map(half::bf16::to_f32))
    }
    #[inline(always)]
    unsafe fn load_i8(self, p: *const i8) -> f32x8 {
        // SAFETY: the caller promises eight readable bytes.
        f32x8::new(unsafe { p.cast::<[i8; 8]>().read_unaligned() }.map(f32::from))
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
    fn add(self, a: f32x8, b: f32x8) -> f32x8 {
        a + b
    }
    #[inline(always)]
    fn sub(self, a: f32x8, b: f32x8) -> f32x8 {
        a - b
    }
    #[inline(always)]
    fn mul(self, a: f32x8, b: f32x8) -> f32x8 {
        a * b
    }
    #[inline(always)]
    fn div(self, a: f32x8, b: f32x8) -> f32x8 {
        a / b
    }
    #[inline(always)]
    fn mul_add(self, a: f32x8, b: f32x8, c: f32x8) -> f32x8 {
        a.mul_add(b, c)
    }
    #[inline(always)]
    fn min(self, a: f32x8, b: f32x8) -> f32x8 {
        self.select(self.lt(a, b), a, b)
    }
    #[inline(always)]
    fn max(self, a: f32x8, b: f32x8) -> f32x8 {
        self.select(self.lt(b, a), a, b)
    }
    #[inline(always)]
    fn sqrt(self, a: f32x8) -> f32x8 {
        a.sqrt()
    }
    #[inline(always)]
    fn round(self, a: f32x8) -> f32x8 {
        f32x8::new(a.to_array().map(f32::round_ties_even))
    }
    #[inline(always)]
    fn floor(self, a: f32x8) -> f32x8 {
        f32x8::new(a.to_array().map(f32::floor))
    }
    #[inline(always)]
    fn lt(self, a: f32x8, b: f32x8) -> f32x8 {
        a.simd_lt(b)
    }
    #[inline(always)]
    fn le(self, a: f32x8, b: f32x8) -> f32x8 {
        a.simd_le(b)
    }
    #[inline(always)]
    fn eq(self, a: f32x8, b: f32x8) -> f32x8 {
        a.simd_eq(b)
    }
    #[inline(always)]
    fn select(self, m: f32x8, a: f32x8, b: f32x8) -> f32x8 {
        (m & a) | (!m & b)
    }
    #[inline(always)]
    fn bits(self, a: f32x8) -> i32x8 {
        i32x8::new(a.to_array().map(|x| x.to_bits() as i32))
    }
    #[inline(always)]
    fn from_bits(self, a: i32x8) -> f32x8 {
        f32x8::new(a.to_array().map(|x| f32::from_bits(x as u32)))
    }
    #[inline(always)]
    fn i_splat(self, x: i32) -> i32x8 {
        i32x8::splat(x)
    }
    #[inline(always)]
    fn i_add(self, a: i32x8, b: i32x8) -> i32x8 {
        a + b
    }
    #[inline(always)]
    fn i_sub(self, a: i32x8, b: i32x8) -> i32x8 {
        a - b
    }
    #[inline(always)]
    fn i_and(self, a: i32x8, b: i32x8) -> i32x8 {
        a & b
    }
    #[inline(always)]
    fn i_or(self, a: i32x8, b: i32x8) -> i32x8 {
        a | b
    }
    #[inline(always)]
    fn i_xor(self, a: i32x8, b: i32x8) -> i32x8 {
        a ^ b
    }
    #[inline(always)]
    fn i_shl<const K: i32>(self, a: i32x8) -> i32x8 {
        a << K
    }
    #[inline(always)]
    fn i_shr<const K: i32>(self, a: i32x8) -> i32x8 {
        let u = u32x8::new(a.to_array().map(|x| x as u32)) >> K;
        i32x8::new(u.to_array().map(|x| x as i32))
    }
    #[inline(always)]
    fn to_int(self, a: f32x8) -> i32x8 {
        i32x8::new(a.to_array().map(|x| x.round_ties_even() as i32))
    }
    #[inline(always)]
    fn to_float(self, a: i32x8) -> f32x8 {
        i32x8::round_float(a)
    }
}
