//! AVX2 with FMA and F16C: eight lanes in a 256-bit register.

use super::super::{Kernel, Lanes, Simd, Twice};
use std::arch::x86_64::*;

/// Token of AVX2, FMA and F16C.
#[derive(Clone, Copy)]
pub struct Avx2(());

impl Avx2 {
    pub fn detect() -> bool {
        is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c")
    }
}

/// # Safety
/// The machine must have AVX2, FMA and F16C.
#[target_feature(enable = "avx2,fma,f16c")]
pub unsafe fn vectorize<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx2(()))
}

impl Simd for Avx2 {
    type Block = Ymm;
    type Pair = Twice<Ymm>;
    const WIDE: bool = false;
    const ROWS: usize = 6;
    #[inline(always)]
    fn block(self) -> Ymm {
        Ymm(())
    }
    #[inline(always)]
    fn pair(self) -> Twice<Ymm> {
        Twice(Ymm(()))
    }
}

/// One 256-bit register.
#[derive(Clone, Copy)]
pub struct Ymm(());

macro_rules! ymm {
    ($($name:ident($($arg:ident: $ty:ident),*) -> $out:ident = $body:expr;)*) => {
        $(#[inline(always)]
        fn $name(self, $($arg: Self::$ty),*) -> Self::$out {
            // SAFETY: the token is made only where AVX2, FMA and F16C were detected.
            unsafe { $body }
        })*
    };
}

impl Ymm {
    /// Only for tokens of instruction sets that have AVX2, FMA and F16C.
    #[cfg(feature = "avx512")]
    #[inline(always)]
    pub(super) fn new() -> Self {
        Self(())
    }
}

impl Lanes for Ymm {
    type V = __m256;
    type I = __m256i;
    type M = __m256;
    const N: usize = 8;

    #[inline(always)]
    fn prefetch(self, p: *const f32) {
        // SAFETY: a prefetch of any address is allowed; the token proves the instruction.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(p.cast()) }
    }
    #[inline(always)]
    fn splat(self, x: f32) -> __m256 {
        // SAFETY: the token proves AVX.
        unsafe { _mm256_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> __m256 {
        // SAFETY: the caller promises eight readable floats.
        unsafe { _mm256_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: __m256) {
        // SAFETY: the caller promises eight writable floats.
        unsafe { _mm256_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn load_f16(self, p: *const half::f16) -> __m256 {
        // SAFETY: the caller promises eight readable values, 16 bytes.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(p.cast())) }
    }
    #[inline(always)]
    unsafe fn load_bf16(self, p: *const half::bf16) -> __m256 {
        // SAFETY: the caller promises eight readable values, 16 bytes.
        unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(_mm_loadu_si128(p.cast())))) }
    }
    #[inline(always)]
    unsafe fn load_i8(self, p: *const i8) -> __m256 {
        // SAFETY: the caller promises eight readable bytes.
        unsafe { _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(p.cast()))) }
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
    ymm! {
        add(a: V, b: V) -> V = _mm256_add_ps(a, b);
        sub(a: V, b: V) -> V = _mm256_sub_ps(a, b);
        mul(a: V, b: V) -> V = _mm256_mul_ps(a, b);
        div(a: V, b: V) -> V = _mm256_div_ps(a, b);
        mul_add(a: V, b: V, c: V) -> V = _mm256_fmadd_ps(a, b, c);
        min(a: V, b: V) -> V = _mm256_min_ps(a, b);
        max(a: V, b: V) -> V = _mm256_max_ps(a, b);
        sqrt(a: V) -> V = _mm256_sqrt_ps(a);
        round(a: V) -> V = _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a);
        floor(a: V) -> V = _mm256_round_ps::<{ _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC }>(a);
        lt(a: V, b: V) -> M = _mm256_cmp_ps::<_CMP_LT_OQ>(a, b);
        le(a: V, b: V) -> M = _mm256_cmp_ps::<_CMP_LE_OQ>(a, b);
        eq(a: V, b: V) -> M = _mm256_cmp_ps::<_CMP_EQ_OQ>(a, b);
        select(m: M, a: V, b: V) -> V = _mm256_blendv_ps(b, a, m);
        bits(a: V) -> I = _mm256_castps_si256(a);
        from_bits(a: I) -> V = _mm256_castsi256_ps(a);
        i_add(a: I, b: I) -> I = _mm256_add_epi32(a, b);
        i_sub(a: I, b: I) -> I = _mm256_sub_epi32(a, b);
        i_and(a: I, b: I) -> I = _mm256_and_si256(a, b);
        i_or(a: I, b: I) -> I = _mm256_or_si256(a, b);
        i_xor(a: I, b: I) -> I = _mm256_xor_si256(a, b);
        to_int(a: V) -> I = _mm256_cvtps_epi32(a);
        to_float(a: I) -> V = _mm256_cvtepi32_ps(a);
        permute(v: V, index: I) -> V = _mm256_permutevar8x32_ps(v, index);
    }
    #[inline(always)]
    fn i_splat(self, x: i32) -> __m256i {
        // SAFETY: the token proves AVX.
        unsafe { _mm256_set1_epi32(x) }
    }
    #[inline(always)]
    fn i_shl<const K: i32>(self, a: __m256i) -> __m256i {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_slli_epi32::<K>(a) }
    }
    #[inline(always)]
    fn i_shr<const K: i32>(self, a: __m256i) -> __m256i {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_srli_epi32::<K>(a) }
    }
}
