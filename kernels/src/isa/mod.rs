//! The instruction sets: the only place that knows a target architecture.
//!
//! A kernel is a generic body over [`Simd`], written once as a [`Kernel`]; [`Isa::dispatch`] runs it inside a function
//! compiled for the features of one instruction set. To add an instruction set, add a folder with a token that
//! implements [`Simd`] and one line in the table of this file; no kernel, test or bench changes.
//!
//! ```
//! use pocketnn_kernels::isa::{Isa, Kernel, Lanes, Simd};
//!
//! struct Scale<'a>(&'a mut [f32], f32);
//! impl Kernel for Scale<'_> {
//!     type Output = ();
//!     #[inline(always)]
//!     fn run<S: Simd>(self, s: S) {
//!         let l = s.pair();
//!         l.map(self.0, |v| l.mul(v, l.splat(self.1)));
//!     }
//! }
//! let mut x = [1.0, 2.0, 3.0];
//! Isa::detect().dispatch(Scale(&mut x, 2.0));
//! assert_eq!(x, [2.0, 4.0, 6.0]);
//! ```
//!
//! The trap: everything a body calls must be `#[inline(always)]`. A helper that is not inlined is compiled without the
//! features of the shell around it: still right, but scalar and slow.
//!
//! Bits: all instruction sets with fused multiply-add give the same bits for the same body, because each lane is an
//! IEEE-754 operation, [`Lanes::mul_add`] rounds once and [`Lanes::sum`] adds in one fixed tree. [`Isa::PORTABLE`] rounds twice in
//! `mul_add` where the build has no fused instruction and is the documented exception ([`Isa::fused`]).

mod portable;
#[cfg(feature = "scalar")]
mod scalar;
mod twice;
#[cfg(target_arch = "x86_64")]
mod x86_64;

pub use twice::Twice;

use std::sync::atomic::{AtomicU8, Ordering};

/// Floating-point lanes of one vector width: a zero-sized token whose existence proves that the machine has the
/// instructions, so that arithmetic is safe to call.
///
/// `min`, `max` and comparisons follow x86: `max(a, b)` is `if a > b { a } else { b }`, so a NaN in either gives `b`.
pub trait Lanes: Copy + Send + Sync + 'static {
    /// A vector of [`Self::N`] floats.
    type V: Copy;
    /// A vector of [`Self::N`] 32-bit integers.
    type I: Copy;
    /// A mask of [`Self::N`] booleans.
    type M: Copy;
    /// Number of lanes.
    const N: usize;

    /// All lanes `x`.
    fn splat(self, x: f32) -> Self::V;
    /// Reads `N` floats.
    ///
    /// # Safety
    /// `p` must be valid for reading `N` floats; no alignment is needed.
    unsafe fn load(self, p: *const f32) -> Self::V;
    /// Writes `N` floats.
    ///
    /// # Safety
    /// `p` must be valid for writing `N` floats; no alignment is needed.
    unsafe fn store(self, p: *mut f32, v: Self::V);
    /// Reads `N` IEEE half floats, widened exactly.
    ///
    /// # Safety
    /// `p` must be valid for reading `N` values; no alignment is needed.
    unsafe fn load_f16(self, p: *const half::f16) -> Self::V;
    /// Reads `N` bfloat16 values, widened exactly.
    ///
    /// # Safety
    /// `p` must be valid for reading `N` values; no alignment is needed.
    unsafe fn load_bf16(self, p: *const half::bf16) -> Self::V;
    /// Reads `N` signed bytes as floats.
    ///
    /// # Safety
    /// `p` must be valid for reading `N` bytes.
    unsafe fn load_i8(self, p: *const i8) -> Self::V;
    /// Reads `N` floats as channel blocks: eight at `p`, the next eight, if any, at `p + stride`.
    ///
    /// # Safety
    /// Each group must be valid for reading eight floats; no alignment is needed.
    unsafe fn load_blocks(self, p: *const f32, stride: usize) -> Self::V;
    /// Writes `N` floats as channel blocks: the second eight, if any, at `p + stride`, then the first eight at `p`, so that a stride
    /// of 0 leaves the first eight alone.
    ///
    /// # Safety
    /// Each group must be valid for writing eight floats; no alignment is needed.
    unsafe fn store_blocks(self, p: *mut f32, stride: usize, v: Self::V);

    /// `a + b`.
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a - b`.
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b`.
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a / b`.
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, rounded once on instruction sets with [`Isa::fused`].
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `if a < b { a } else { b }`.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// `if a > b { a } else { b }`.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// Square root, correctly rounded.
    fn sqrt(self, a: Self::V) -> Self::V;
    /// Rounds to the nearest integer, ties to even.
    fn round(self, a: Self::V) -> Self::V;
    /// Rounds towards negative infinity.
    fn floor(self, a: Self::V) -> Self::V;

    /// `a < b`; false where either is NaN.
    fn lt(self, a: Self::V, b: Self::V) -> Self::M;
    /// `a <= b`; false where either is NaN.
    fn le(self, a: Self::V, b: Self::V) -> Self::M;
    /// `a == b`; false where either is NaN.
    fn eq(self, a: Self::V, b: Self::V) -> Self::M;
    /// `if m { a } else { b }`.
    fn select(self, m: Self::M, a: Self::V, b: Self::V) -> Self::V;

    /// The bits of the floats.
    fn bits(self, a: Self::V) -> Self::I;
    /// Floats of these bits.
    fn from_bits(self, a: Self::I) -> Self::V;
    /// All integer lanes `x`.
    fn i_splat(self, x: i32) -> Self::I;
    /// Wrapping `a + b`.
    fn i_add(self, a: Self::I, b: Self::I) -> Self::I;
    /// Wrapping `a - b`.
    fn i_sub(self, a: Self::I, b: Self::I) -> Self::I;
    /// Bitwise and.
    fn i_and(self, a: Self::I, b: Self::I) -> Self::I;
    /// Bitwise or.
    fn i_or(self, a: Self::I, b: Self::I) -> Self::I;
    /// Bitwise exclusive or.
    fn i_xor(self, a: Self::I, b: Self::I) -> Self::I;
    /// `a << K`.
    fn i_shl<const K: i32>(self, a: Self::I) -> Self::I;
    /// Logical `a >> K`.
    fn i_shr<const K: i32>(self, a: Self::I) -> Self::I;
    /// Rounds to the nearest integer, ties to even. Lanes outside the range of `i32` are unspecified.
    fn to_int(self, a: Self::V) -> Self::I;
    /// The integers as floats.
    fn to_float(self, a: Self::I) -> Self::V;

    /// Asks for the cache line at `p` ahead of its use, into the second-level cache. Any address is allowed.
    #[inline(always)]
    fn prefetch(self, _p: *const f32) {}
    /// Lane `i` becomes lane `index[i]` (0 to 7) of its own group of eight.
    #[inline(always)]
    fn permute(self, v: Self::V, index: Self::I) -> Self::V {
        let (from, at) = (self.to_array(v), self.to_array(self.from_bits(index)));
        let lanes: [f32; MAX_LANES] = std::array::from_fn(|i| from[i / 8 * 8 + (at[i].to_bits() & 7) as usize]);
        self.load_slice(&lanes)
    }
    /// All lanes 0.
    #[inline(always)]
    fn zero(self) -> Self::V {
        self.splat(0.0)
    }
    /// `-a`.
    #[inline(always)]
    fn neg(self, a: Self::V) -> Self::V {
        self.from_bits(self.i_xor(self.bits(a), self.i_splat(i32::MIN)))
    }
    /// `|a|`.
    #[inline(always)]
    fn abs(self, a: Self::V) -> Self::V {
        self.from_bits(self.i_and(self.bits(a), self.i_splat(i32::MAX)))
    }
    /// Magnitude of `a` with the sign of `b`.
    #[inline(always)]
    fn copysign(self, a: Self::V, b: Self::V) -> Self::V {
        let m = self.i_splat(i32::MAX);
        let sign = self.i_and(self.bits(b), self.i_splat(i32::MIN));
        self.from_bits(self.i_or(self.i_and(self.bits(a), m), sign))
    }
    /// The first `N` floats of a slice.
    ///
    /// # Panics
    /// When the slice is shorter than `N`.
    #[inline(always)]
    fn load_slice(self, x: &[f32]) -> Self::V {
        assert!(x.len() >= Self::N);
        // SAFETY: the slice has at least N floats.
        unsafe { self.load(x.as_ptr()) }
    }
    /// Writes the first `N` floats of a slice.
    ///
    /// # Panics
    /// When the slice is shorter than `N`.
    #[inline(always)]
    fn store_slice(self, y: &mut [f32], v: Self::V) {
        assert!(y.len() >= Self::N);
        // SAFETY: the slice has at least N floats.
        unsafe { self.store(y.as_mut_ptr(), v) }
    }
    /// Reads up to `N` floats; the missing lanes are `fill`.
    #[inline(always)]
    fn load_partial(self, x: &[f32], fill: f32) -> Self::V {
        let mut t = [fill; MAX_LANES];
        let n = x.len().min(Self::N);
        t[..n].copy_from_slice(&x[..n]);
        self.load_slice(&t)
    }
    /// Writes up to `N` floats: as many as the slice holds.
    #[inline(always)]
    fn store_partial(self, y: &mut [f32], v: Self::V) {
        let mut t = [0.0; MAX_LANES];
        self.store_slice(&mut t, v);
        let n = y.len().min(Self::N);
        y[..n].copy_from_slice(&t[..n]);
    }
    /// The lanes in memory order; only the first `N` are meaningful.
    #[inline(always)]
    fn to_array(self, v: Self::V) -> [f32; MAX_LANES] {
        let mut t = [0.0; MAX_LANES];
        self.store_slice(&mut t, v);
        t
    }
    /// Sum of the lanes in one fixed tree: halves are added lane by lane until one lane is left.
    #[inline(always)]
    fn sum(self, v: Self::V) -> f32 {
        let mut t = self.to_array(v);
        let mut n = Self::N;
        while n > 1 {
            n /= 2;
            for i in 0..n {
                t[i] += t[i + n];
            }
        }
        t[0]
    }
    /// Largest lane, by the same tree as [`Self::sum`], with the NaN rule of [`Self::max`].
    #[inline(always)]
    fn max_lane(self, v: Self::V) -> f32 {
        let t = self.to_array(v);
        t[..Self::N].iter().fold(f32::NEG_INFINITY, |a, &b| if a > b { a } else { b })
    }
    /// Replaces each float of `y` by `f` of it, the tail in a padded vector.
    #[inline(always)]
    fn map(self, y: &mut [f32], mut f: impl FnMut(Self::V) -> Self::V) {
        let mut it = y.chunks_exact_mut(Self::N);
        for c in &mut it {
            let v = f(self.load_slice(c));
            self.store_slice(c, v);
        }
        let r = it.into_remainder();
        if !r.is_empty() {
            let v = f(self.load_partial(r, 0.0));
            self.store_partial(r, v);
        }
    }
    /// `y[i] = f(x[i])`, the tail in a padded vector.
    ///
    /// # Panics
    /// When the lengths differ.
    #[inline(always)]
    fn map_to(self, x: &[f32], y: &mut [f32], mut f: impl FnMut(Self::V) -> Self::V) {
        assert_eq!(x.len(), y.len());
        let (mut a, mut b) = (x.chunks_exact(Self::N), y.chunks_exact_mut(Self::N));
        for (c, d) in (&mut a).zip(&mut b) {
            self.store_slice(d, f(self.load_slice(c)));
        }
        let (c, d) = (a.remainder(), b.into_remainder());
        if !c.is_empty() {
            self.store_partial(d, f(self.load_partial(c, 0.0)));
        }
    }
}

/// The widest vector of any instruction set, in floats.
pub const MAX_LANES: usize = 16;

/// An instruction set, seen by a generic kernel body: two vector widths that every set offers.
pub trait Simd: Copy + Send + Sync + 'static {
    /// Eight lanes: one channel block.
    type Block: Lanes;
    /// Sixteen lanes: two channel blocks, and the unit of flat loops and of reductions.
    type Pair: Lanes;
    /// True when `Pair` is one register, so that tiles may hold twice as many accumulators.
    const WIDE: bool;
    /// Rows of a matrix tile: how many sums of one `Pair` (two, when `WIDE`) stay in registers beside the operands.
    const ROWS: usize;
    /// The eight-lane token.
    fn block(self) -> Self::Block;
    /// The sixteen-lane token.
    fn pair(self) -> Self::Pair;
}

/// A kernel body that [`Isa::dispatch`] can run on any instruction set. `run` must be `#[inline(always)]`.
pub trait Kernel {
    /// What the body returns.
    type Output;
    /// The body.
    fn run<S: Simd>(self, s: S) -> Self::Output;
}

/// An instruction set that this machine has. Values come only from detection, so a value is a proof.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Isa(Member);

macro_rules! table {
    ($($(#[$cfg:meta])* $member:ident $name:literal $($module:ident)::+ , $token:ident fused $fused:expr;)*) => {
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        enum Member { $($(#[$cfg])* $member),* }

        const MEMBERS: &[Member] = &[$($(#[$cfg])* Member::$member),*];

        impl Member {
            fn name(self) -> &'static str { match self { $($(#[$cfg])* Member::$member => $name),* } }
            fn available(self) -> bool { match self { $($(#[$cfg])* Member::$member => $($module)::+::$token::detect()),* } }
            fn vectors(self) -> bool { self.name() != "scalar" }
            fn fused(self) -> bool { match self { $($(#[$cfg])* Member::$member => $fused),* } }
        }

        impl Isa {
            /// Runs a kernel body compiled for this instruction set.
            #[inline]
            pub fn dispatch<K: Kernel>(self, kernel: K) -> K::Output {
                match self.0 {
                    // SAFETY: an `Isa` of this member is made only after its detection succeeded.
                    $($(#[$cfg])* Member::$member => unsafe { $($module)::+::vectorize(kernel) }),*
                }
            }
        }
    };
}

// In order of preference, the best last.
table! {
    Portable "portable" portable, Portable fused cfg!(target_feature = "fma");
    #[cfg(feature = "scalar")] Scalar "scalar" scalar, Scalar fused true;
    #[cfg(all(target_arch = "x86_64", feature = "avx2"))] Avx2 "avx2" x86_64::avx2, Avx2 fused true;
    #[cfg(all(target_arch = "x86_64", feature = "avx512"))] Avx512 "avx512" x86_64::avx512, Avx512 fused true;
}

/// Index + 1 of the overriding member, 0 for none.
static OVERRIDE: AtomicU8 = AtomicU8::new(0);

impl Isa {
    /// Vectors of the `wide` crate: runs everywhere.
    pub const PORTABLE: Isa = Isa(Member::Portable);
    /// One lane at a time with fused multiply-add: the twin that all fused sets agree with bit by bit (feature `scalar`).
    #[cfg(feature = "scalar")]
    pub const SCALAR: Isa = Isa(Member::Scalar);

    /// Every instruction set of this build that this machine has.
    pub fn available() -> Vec<Isa> {
        MEMBERS.iter().filter(|m| m.available()).map(|&m| Isa(m)).collect()
    }

    /// The set to use: the override of [`Isa::set_override`], else the one that the environment variable `POCKETNN_ISA` names when
    /// this machine has it, else the best one.
    pub fn detect() -> Isa {
        let set = OVERRIDE.load(Ordering::Relaxed);
        if set != 0 {
            return Isa(MEMBERS[usize::from(set) - 1]);
        }
        static BEST: std::sync::OnceLock<Isa> = std::sync::OnceLock::new();
        *BEST.get_or_init(|| {
            let named = std::env::var("POCKETNN_ISA").ok().and_then(|n| Isa::by_name(&n));
            named.unwrap_or_else(|| {
                let best = MEMBERS.iter().rev().find(|m| m.vectors() && m.available());
                Isa(*best.unwrap_or(&Member::Portable))
            })
        })
    }

    /// Makes [`Isa::detect`] answer `isa` in this process, or detect again with `None`.
    pub fn set_override(isa: Option<Isa>) {
        let index = isa.and_then(|i| MEMBERS.iter().position(|&m| m == i.0)).map_or(0, |p| p + 1);
        OVERRIDE.store(index as u8, Ordering::Relaxed);
    }

    /// The set of this name (`portable`, `scalar`, `avx2`, ...), when this machine has it.
    pub fn by_name(name: &str) -> Option<Isa> {
        MEMBERS.iter().find(|m| m.name() == name && m.available()).map(|&m| Isa(m))
    }

    /// The name, as in `POCKETNN_ISA`.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// True when `mul_add` rounds once, so that results equal those of all other fused sets bit by bit.
    pub fn fused(self) -> bool {
        self.0.fused()
    }
}

impl std::fmt::Display for Isa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Flush-to-zero and denormals-are-zero on this thread while it lives; restored when dropped. Denormal numbers cost a hundred times
/// an ordinary operation on many machines and carry nothing in a network. A target without such a mode ignores it.
#[derive(Debug)]
pub struct FlushDenormals {
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    before: u32,
}

impl FlushDenormals {
    /// Sets the mode.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        #[cfg(target_arch = "x86_64")]
        let before = x86_64::set_flush();
        #[cfg(not(target_arch = "x86_64"))]
        let before = 0;
        Self { before }
    }
}

impl Drop for FlushDenormals {
    fn drop(&mut self) {
        #[cfg(target_arch = "x86_64")]
        x86_64::restore(self.before);
    }
}
