//! The caller's parallel-for, and how kernels share an output between its chunks.

use std::marker::PhantomData;

/// A parallel loop that the caller owns. Kernels never start a thread.
///
/// Implementations run `body(0)`, ..., `body(chunks - 1)`, each exactly once, in any order and on any thread, and return
/// when all have ended. The number of chunks a kernel asks for depends on shapes and on [`Parallel::threads`] only; results
/// never depend on either.
pub trait Parallel: Sync {
    /// How many threads may work at the same time (at least 1).
    fn threads(&self) -> usize;
    /// Runs `body` for every chunk.
    fn run(&self, chunks: usize, body: &(dyn Fn(usize) + Sync));
}

/// The calling thread alone: a plain loop.
#[derive(Clone, Copy, Debug, Default)]
pub struct Serial;

impl Parallel for Serial {
    fn threads(&self) -> usize {
        1
    }
    #[inline]
    fn run(&self, chunks: usize, body: &(dyn Fn(usize) + Sync)) {
        for i in 0..chunks {
            body(i);
        }
    }
}

/// A mutable slice that chunks of a parallel loop write in disjoint parts.
#[derive(Clone, Copy)]
pub struct Shared<'a, T> {
    data: *mut T,
    len: usize,
    life: PhantomData<&'a mut [T]>,
}

// SAFETY: the slice is only reachable through `range`, whose callers promise disjoint ranges.
unsafe impl<T: Send> Send for Shared<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    /// Shares a slice.
    pub fn new(slice: &'a mut [T]) -> Self {
        Self { data: slice.as_mut_ptr(), len: slice.len(), life: PhantomData }
    }

    /// Length of the whole slice.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The part `start .. start + len`.
    ///
    /// # Safety
    /// No two live parts may overlap.
    ///
    /// # Panics
    /// When the part does not lie inside the slice.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn range(&self, start: usize, len: usize) -> &'a mut [T] {
        assert!(start <= self.len && len <= self.len - start, "part {start}+{len} of a slice of {}", self.len);
        // SAFETY: inside the slice (checked), and the caller promises that no other live part overlaps.
        unsafe { std::slice::from_raw_parts_mut(self.data.add(start), len) }
    }
}

/// Runs `body(chunk, part)` over `y` cut into parts of `len` elements (the last may be shorter).
pub fn for_each_part<T: Send>(par: &dyn Parallel, y: &mut [T], len: usize, body: &(dyn Fn(usize, &mut [T]) + Sync)) {
    let (total, len) = (y.len(), len.max(1));
    let shared = Shared::new(y);
    par.run(total.div_ceil(len), &|i| {
        let start = i * len;
        // SAFETY: parts of different chunks start `len` apart and are at most `len` long.
        body(i, unsafe { shared.range(start, len.min(total - start)) });
    });
}
