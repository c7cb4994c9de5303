//! AVX-512: sixteen lanes in one 512-bit register, eight in one of 32 256-bit registers.

use super::super::{Kernel, Lanes, Simd};
use super::avx2::{Avx2, Ymm};
use std::arch::x86_64::*;

/// Token of AVX-512 (F, VL, DQ, BW), AVX2, FMA and F16C.
#[derive(Clone, Copy)]
pub struct Avx512(());

impl Avx512 {
    pub fn detect() -> bool {
        Avx2::detect()
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512bw")
    }
}

/// # Safety
/// The machine must have AVX-512 F, VL, DQ, BW, AVX2, FMA and F16C.
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma,f16c")]
pub unsafe fn vectorize<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx512(()))
}

impl Simd for Avx512 {
    type Block = Ymm;
    type Pair = Zmm;
    const WIDE: bool = true;
    const ROWS: usize = 14;
    #[inline(always)]
    fn block(self) -> Ymm {
        Ymm::new()
    }
    #[inline(always)]
    fn pair(self) -> Zmm {
        Zmm(())
    }
}

/// One 512-bit register.
#[derive(Clone, Copy)]
pub struct Zmm(());

macro_rules! zmm {
    ($($name:ident($($arg:ident: $ty:ident),*) -> $out:ident = $body:expr;)*) => {
        $(#[inline(always)]
        fn $name(self, $($arg: Self::$ty),*) -> Self::$out {
            // SAFETY: the token is made only where AVX-512 was detected.
            unsafe { $body }
        })*
    };
}

impl Lanes for Zmm {
    type V = __m512;
    type I = __m512i;
    type M = __mmask16;
    const N: usize = 16;

    #[inline(always)]
    fn prefetch(self, p: *const f32) {
        // SAFETY: a prefetch of any address is allowed; the token proves the instruction.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(p.cast()) }
    }
    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        // SAFETY: the token proves AVX-512.
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> __m512 {
        // SAFETY: the caller promises sixteen readable floats.
        unsafe { _mm512_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: __m512) {
        // SAFETY: the caller promises sixteen writable floats.
        unsafe { _mm512_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn load_f16(self, p: *const half::f16) -> __m512 {
        // SAFETY: the caller promises sixteen readable values, 32 bytes.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(p.cast())) }
    }
    #[inline(always)]
    unsafe fn load_bf16(self, p: *const half::bf16) -> __m512 {
        // SAFETY: the caller promises sixteen readable values, 32 bytes.
        unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(_mm256_loadu_si256(p.cast())))) }
    }
    #[inline(always)]
    unsafe fn load_i8(self, p: *const i8) -> __m512 {
        // SAFETY: the caller promises sixteen readable bytes.
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(p.cast()))) }
    }
    #[inline(always)]
    unsafe fn load_blocks(self, p: *const f32, stride: usize) -> __m512 {
        // SAFETY: the caller promises eight readable floats at `p` and at `p + stride`.
        unsafe {
            let (lo, hi) = (_mm256_loadu_ps(p), _mm256_loadu_ps(p.add(stride)));
            _mm512_insertf32x8::<1>(_mm512_castps256_ps512(lo), hi)
        }
    }
    #[inline(always)]
    unsafe fn store_blocks(self, p: *mut f32, stride: usize, v: __m512) {
        // SAFETY: the caller promises eight writable floats at `p` and at `p + stride`.
        unsafe {
            _mm256_storeu_ps(p.add(stride), _mm512_extractf32x8_ps::<1>(v));
            _mm256_storeu_ps(p, _mm512_castps512_ps256(v));
        }
    }
    zmm! {
        add(a: V, b: V) -> V = _mm512_add_ps(a, b);
        sub(a: V, b: V) -> V = _mm512_sub_ps(a, b);
        mul(a: V, b: V) -> V = _mm512_mul_ps(a, b);
        div(a: V, b: V) -> V = _mm512_div_ps(a, b);
        mul_add(a: V, b: V, c: V) -> V = _mm512_fmadd_ps(a, b, c);
        min(a: V, b: V) -> V = _mm512_min_ps(a, b);
        max(a: V, b: V) -> V = _mm512_max_ps(a, b);
        sqrt(a: V) -> V = _mm512_sqrt_ps(a);
        round(a: V) -> V = _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a);
        floor(a: V) -> V = _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC }>(a);
        lt(a: V, b: V) -> M = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b);
        le(a: V, b: V) -> M = _mm512_cmp_ps_mask::<_CMP_LE_OQ>(a, b);
        eq(a: V, b: V) -> M = _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a, b);
        select(m: M, a: V, b: V) -> V = _mm512_mask_blend_ps(m, b, a);
        bits(a: V) -> I = _mm512_castps_si512(a);
        from_bits(a: I) -> V = _mm512_castsi512_ps(a);
        i_add(a: I, b: I) -> I = _mm512_add_epi32(a, b);
        i_sub(a: I, b: I) -> I = _mm512_sub_epi32(a, b);
        i_and(a: I, b: I) -> I = _mm512_and_si512(a, b);
        i_or(a: I, b: I) -> I = _mm512_or_si512(a, b);
        i_xor(a: I, b: I) -> I = _mm512_xor_si512(a, b);
        to_int(a: V) -> I = _mm512_cvtps_epi32(a);
        to_float(a: I) -> V = _mm512_cvtepi32_ps(a);
    }
    #[inline(always)]
    fn i_splat(self, x: i32) -> __m512i {
        // SAFETY: the token proves AVX-512.
        unsafe { _mm512_set1_epi32(x) }
    }
    #[inline(always)]
    fn i_shl<const K: i32>(self, a: __m512i) -> __m512i {
        // SAFETY: the token proves AVX-512.
        unsafe { _mm512_sllv_epi32(a, _mm512_set1_epi32(K)) }
    }
    #[inline(always)]
    fn i_shr<const K: i32>(self, a: __m512i) -> __m512i {
        // SAFETY: the token proves AVX-512.
        unsafe { _mm512_srlv_epi32(a, _mm512_set1_epi32(K)) }
    }
}
