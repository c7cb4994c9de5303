//! Bytes aligned to a cache line: owned, or a mapped file.

use crate::{DType, Element};

/// Alignment of owned buffers, in bytes: a cache line, and the widest vector.
pub const ALIGN: usize = 64;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; ALIGN]);

/// Read-only (once shared) bytes.
pub enum Bytes {
    /// Zero-initialised lines and the length in bytes.
    Owned(OwnedBytes),
    /// A mapped file.
    Mapped(memmap2::Mmap),
}

/// Owned bytes that start on a cache line.
pub struct OwnedBytes {
    lines: Vec<Line>,
    len: usize,
}

impl Bytes {
    /// `len` zero bytes.
    pub fn zeroed(len: usize) -> Self {
        Bytes::Owned(OwnedBytes::zeroed(len))
    }
    /// The bytes of these elements.
    pub fn from_vec<T: Element>(data: Vec<T>) -> Self {
        let mut b = OwnedBytes::zeroed(size_of_val(data.as_slice()));
        let n = b.len;
        // SAFETY: every element type is plain data without padding, so its bytes are initialised; the lengths are equal.
        let bytes = unsafe { std::slice::from_raw_parts(data.as_ptr().cast::<u8>(), n) };
        b.as_mut_slice().copy_from_slice(bytes);
        Bytes::Owned(b)
    }
    /// All bytes.
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Bytes::Owned(b) => b.as_slice(),
            Bytes::Mapped(m) => m,
        }
    }
    /// All bytes of an owned buffer.
    ///
    /// # Panics
    /// When the bytes are a mapped file.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        match self {
            Bytes::Owned(b) => b.as_mut_slice(),
            Bytes::Mapped(_) => panic!("a mapped file is read-only"),
        }
    }
    /// `len` elements from byte `start` on.
    ///
    /// # Panics
    /// When they lie outside, are not aligned, or (truth values) are not 0 or 1 in a debug build.
    pub fn typed<T: Element>(&self, start: usize, len: usize) -> &[T] {
        let part = &self.as_slice()[start..start + len * size_of::<T>()];
        debug_assert!(T::DTYPE != DType::Bool || part.iter().all(|&b| b < 2));
        cast(part)
    }
}

impl OwnedBytes {
    /// `len` zero bytes.
    pub fn zeroed(len: usize) -> Self {
        Self { lines: vec![Line([0; ALIGN]); len.div_ceil(ALIGN)], len }
    }
    /// All bytes.
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: the lines hold at least `len` initialised bytes.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
    /// All bytes.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: the lines hold at least `len` initialised bytes.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

/// Bytes as elements. Truth values must be 0 or 1; every constructor of [`crate::Tensor`] sees to it.
///
/// # Panics
/// When the bytes are not aligned for `T` or not a whole number of elements.
pub fn cast<T: Element>(bytes: &[u8]) -> &[T] {
    assert!(bytes.as_ptr().addr().is_multiple_of(align_of::<T>()) && bytes.len().is_multiple_of(size_of::<T>()));
    // SAFETY: aligned and whole (checked); every bit pattern is valid for the sealed element types except `bool`, whose
    // bytes the tensor constructors make 0 or 1.
    unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len() / size_of::<T>()) }
}

/// Elements as bytes.
pub fn bytes_of<T: Element>(data: &[T]) -> &[u8] {
    // SAFETY: every element type is plain data without padding.
    unsafe { std::slice::from_raw_parts(data.as_ptr().cast(), size_of_val(data)) }
}

/// Maps a file for reading.
///
/// # Errors
/// What the operating system says.
pub fn map_file(file: &std::fs::File) -> std::io::Result<Bytes> {
    // SAFETY: the map is private and read-only. As with every mapped file, another process that truncates the file while it
    // is mapped makes reads fail with a signal; the documentation of `Model::open` says so.
    unsafe { memmap2::Mmap::map(file) }.map(Bytes::Mapped)
}
