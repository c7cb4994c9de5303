//! Packed weights start on a cache line.

use std::sync::Arc;

/// Packed numbers: of the kernel's own, or kept by someone else (a mapped file).
pub enum Packed<T: 'static = f32> {
    /// Packed here.
    Own(Aligned<T>),
    /// Packed before; best at the start of a cache line.
    Kept(Arc<dyn AsRef<[T]> + Send + Sync>),
}

impl<T> std::ops::Deref for Packed<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        match self {
            Packed::Own(a) => a,
            Packed::Kept(k) => (**k).as_ref(),
        }
    }
}

impl<T> From<Aligned<T>> for Packed<T> {
    fn from(a: Aligned<T>) -> Self {
        Packed::Own(a)
    }
}

impl<T> std::fmt::Debug for Packed<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} packed numbers", self.len())
    }
}

/// Elements whose first one lies at the start of a cache line.
#[derive(Debug)]
pub struct Aligned<T = f32> {
    data: Vec<T>,
    start: usize,
    len: usize,
}

/// Bytes of a cache line.
const LINE: usize = 64;

impl<T: Copy + Default> Aligned<T> {
    /// Zeros.
    pub(crate) fn zeros(len: usize) -> Self {
        let spare = LINE / size_of::<T>();
        let data = vec![T::default(); len + spare];
        let start = data.as_ptr().align_offset(LINE).min(spare);
        Self { data, start, len }
    }
}

impl<T> std::ops::Deref for Aligned<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.data[self.start..self.start + self.len]
    }
}

impl<T> std::ops::DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.data[self.start..self.start + self.len]
    }
}
