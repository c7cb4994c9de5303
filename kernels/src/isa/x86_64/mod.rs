//! Instruction sets of x86-64.

#[cfg(feature = "avx2")]
pub mod avx2;
#[cfg(feature = "avx512")]
pub mod avx512;

/// Flush-to-zero (bit 15) and denormals-are-zero (bit 6) of MXCSR.
const FLUSH: u32 = 0x8040;

/// Sets the flush bits and gives the register as it was.
pub(super) fn set_flush() -> u32 {
    let mut csr = 0u32;
    // SAFETY: stores the control register to a local. Assembly, because the compiler's model of intrinsics does not allow
    // a changed rounding or denormal mode; only arithmetic whose results do not depend on denormals runs under it.
    unsafe { std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut csr, options(nostack)) };
    restore(csr | FLUSH);
    csr
}

/// Writes the control register.
pub(super) fn restore(csr: u32) {
    // SAFETY: loads a value that was read from the register, with at most the flush bits changed.
    unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const csr, options(nostack, readonly)) };
}
