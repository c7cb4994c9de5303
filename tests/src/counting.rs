//! An allocator that knows what its thread holds and how often it was called, so that tests and fuzzing can tell what a call took.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// Bytes that this thread allocated and nobody freed on it; what another thread frees counts there.
    static LIVE: Cell<isize> = const { Cell::new(0) };
    /// The most of them since it was set.
    static PEAK: Cell<isize> = const { Cell::new(0) };
    /// Allocations and frees of this thread.
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, counting. A program measures with [`peak`] and [`calls`] when this is its `#[global_allocator]`.
pub struct Counting;

fn add(bytes: isize, calls: usize) {
    CALLS.set(CALLS.get() + calls);
    let live = LIVE.get() + bytes;
    LIVE.set(live);
    PEAK.set(PEAK.get().max(live));
}

// SAFETY: every call goes to the system's allocator unchanged; the counters are plain thread-locals that need no allocation.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size().cast_signed(), 1);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add(layout.size().cast_signed(), 1);
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, p: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // As an allocation and a free.
        add(size.cast_signed() - layout.size().cast_signed(), 2);
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(p, layout, size) }
    }
    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        add(-layout.size().cast_signed(), 1);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(p, layout) }
    }
}

/// The most bytes that this thread held at once during a call, besides what it held before; 0 without [`Counting`].
pub fn peak(call: impl FnOnce()) -> usize {
    let before = LIVE.get();
    PEAK.set(before);
    call();
    usize::try_from(PEAK.get() - before).unwrap_or(0)
}

/// Allocations and frees of this thread during a call; 0 without [`Counting`].
pub fn calls(call: impl FnOnce()) -> usize {
    let before = CALLS.get();
    call();
    CALLS.get() - before
}
