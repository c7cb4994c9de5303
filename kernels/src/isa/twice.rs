//! Sixteen lanes made of two vectors of eight.

use super::Lanes;

/// Two vectors of `L` side by side.
#[derive(Clone, Copy)]
pub struct Twice<L>(pub L);

macro_rules! both {
    ($($name:ident($($arg:ident: $ty:ident),*) -> $out:ident;)*) => {
        $(#[inline(always)]
        fn $name(self, $($arg: Self::$ty),*) -> Self::$out {
            (self.0.$name($($arg.0),*), self.0.$name($($arg.1),*))
        })*
    };
}

macro_rules! loads {
    ($($name:ident: $ty:ty;)*) => {
        $(#[inline(always)]
        unsafe fn $name(self, p: *const $ty) -> Self::V {
            // SAFETY: the caller promises 2 * L::N readable values.
            unsafe { (self.0.$name(p), self.0.$name(p.add(L::N))) }
        })*
    };
}

impl<L: Lanes> Lanes for Twice<L> {
    type V = (L::V, L::V);
    type I = (L::I, L::I);
    type M = (L::M, L::M);
    const N: usize = 2 * L::N;

    #[inline(always)]
    fn prefetch(self, p: *const f32) {
        self.0.prefetch(p);
    }
    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        (self.0.splat(x), self.0.splat(x))
    }
    loads! { load: f32; load_f16: half::f16; load_bf16: half::bf16; load_i8: i8; }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: Self::V) {
        // SAFETY: the caller promises 2 * L::N writable floats.
        unsafe {
            self.0.store(p, v.0);
            self.0.store(p.add(L::N), v.1);
        }
    }
    #[inline(always)]
    unsafe fn load_blocks(self, p: *const f32, stride: usize) -> Self::V {
        debug_assert!(L::N == 8);
        // SAFETY: the caller promises eight readable floats at `p` and at `p + stride`.
        unsafe { (self.0.load(p), self.0.load(p.add(stride))) }
    }
    #[inline(always)]
    unsafe fn store_blocks(self, p: *mut f32, stride: usize, v: Self::V) {
        debug_assert!(L::N == 8);
        // SAFETY: the caller promises eight writable floats at `p` and at `p + stride`.
        unsafe {
            self.0.store(p.add(stride), v.1);
            self.0.store(p, v.0);
        }
    }
    both! {
        add(a: V, b: V) -> V; sub(a: V, b: V) -> V; mul(a: V, b: V) -> V; div(a: V, b: V) -> V;
        mul_add(a: V, b: V, c: V) -> V; min(a: V, b: V) -> V; max(a: V, b: V) -> V;
        sqrt(a: V) -> V; round(a: V) -> V; floor(a: V) -> V;
        lt(a: V, b: V) -> M; le(a: V, b: V) -> M; eq(a: V, b: V) -> M; select(m: M, a: V, b: V) -> V;
        bits(a: V) -> I; from_bits(a: I) -> V; i_add(a: I, b: I) -> I; i_sub(a: I, b: I) -> I;
        i_and(a: I, b: I) -> I; i_or(a: I, b: I) -> I; i_xor(a: I, b: I) -> I;
        to_int(a: V) -> I; to_float(a: I) -> V;
    }
    #[inline(always)]
    fn i_splat(self, x: i32) -> Self::I {
        (self.0.i_splat(x), self.0.i_splat(x))
    }
    #[inline(always)]
    fn i_shl<const K: i32>(self, a: Self::I) -> Self::I {
        (self.0.i_shl::<K>(a.0), self.0.i_shl::<K>(a.1))
    }
    #[inline(always)]
    fn i_shr<const K: i32>(self, a: Self::I) -> Self::I {
        (self.0.i_shr::<K>(a.0), self.0.i_shr::<K>(a.1))
    }
}
