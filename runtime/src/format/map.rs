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
    /// A constant in a packed form; its bytes are those in logical order.
    Packed(Box<super::packed::PackedBytes>),
}

/// Owned bytes that start on a cache line.
pub struct OwnedBytes {
    memory: Memory,
    len: usize,
}

enum Memory {
    Lines(Vec<Line>),
    /// Pages that the system gives, zero, when they are first touched.
    Pages(memmap2::MmapMut),
}

/// Bytes from which memory comes straight from the system, in huge pages where it has them: fewer misses of the address cache.
const PAGES: usize = 1 << 20;

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
            Bytes::Packed(p) => p.plain(),
        }
    }
    /// Lets the system take back the memory of a part of a mapped file; it is read from the file again when asked for. Parts outside
    /// the file, and bytes that are no file, stay as they are.
    pub fn release(&self, part: std::ops::Range<usize>) {
        if let (Bytes::Mapped(m), true) = (self, part.start <= part.end && part.end <= self.as_slice().len()) {
            release(m, part.start, part.len());
        }
    }
    /// All bytes of an owned buffer.
    ///
    /// # Panics
    /// When the bytes are a mapped file or packed.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        match self {
            Bytes::Owned(b) => b.as_mut_slice(),
            Bytes::Mapped(_) | Bytes::Packed(_) => panic!("a file's bytes are read-only"),
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
        let pages = if len < PAGES { None } else { memmap2::MmapMut::map_anon(len).ok() };
        let memory = match pages {
            Some(pages) => {
                #[cfg(target_os = "linux")]
                if len >= 2 * PAGES {
                    // Where the system has no huge pages, small ones serve.
                    drop(pages.advise(memmap2::Advice::HugePage));
                }
                Memory::Pages(pages)
            }
            None => Memory::Lines(vec![Line([0; ALIGN]); len.div_ceil(ALIGN)]),
        };
        Self { memory, len }
    }
    /// All bytes.
    pub fn as_slice(&self) -> &[u8] {
        match &self.memory {
            // SAFETY: the lines hold at least `len` initialised bytes.
            Memory::Lines(lines) => unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), self.len) },
            Memory::Pages(pages) => &pages[..self.len],
        }
    }
    /// All bytes.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        match &mut self.memory {
            // SAFETY: the lines hold at least `len` initialised bytes.
            Memory::Lines(lines) => unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), self.len) },
            Memory::Pages(pages) => &mut pages[..self.len],
        }
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

/// As [`cast`], to write. Not for truth values.
///
/// # Panics
/// As [`cast`].
pub fn cast_mut<T: Element>(bytes: &mut [u8]) -> &mut [T] {
    assert!(bytes.as_ptr().addr().is_multiple_of(align_of::<T>()) && bytes.len().is_multiple_of(size_of::<T>()));
    assert!(T::DTYPE != DType::Bool);
    // SAFETY: aligned and whole (checked); every bit pattern is valid for the sealed element types except `bool` (checked).
    unsafe { std::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), bytes.len() / size_of::<T>()) }
}

/// Elements as bytes.
pub fn bytes_of<T: Element>(data: &[T]) -> &[u8] {
    // SAFETY: every element type is plain data without padding.
    unsafe { std::slice::from_raw_parts(data.as_ptr().cast(), size_of_val(data)) }
}

/// Bytes from which it pays to give pages back.
const RELEASE: usize = 1 << 16;

/// Lets the system take back the whole pages of a part of a mapped file. Their contents do not change: the file is read again when needed.
pub fn release(map: &memmap2::Mmap, start: usize, len: usize) {
    let page = 1 << 14;
    let (first, end) = (start.next_multiple_of(page), (start + len) / page * page);
    if len < RELEASE || first >= end {
        return;
    }
    #[cfg(unix)]
    {
        // SAFETY: the mapping is of a file, private and never written, so a dropped page reads as before.
        let advised = unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, first, end - first) };
        // Where the system refuses, the pages stay: nothing depends on it.
        drop(advised);
    }
    #[cfg(not(unix))]
    let _ = map;
}

/// Maps the pages of a part of a mapped file that will be read now. Where the system cannot, reading does it page by page.
pub fn fetch(map: &memmap2::Mmap, start: usize, len: usize) {
    #[cfg(target_os = "linux")]
    drop(map.advise_range(memmap2::Advice::PopulateRead, start, len));
    #[cfg(not(target_os = "linux"))]
    let _ = (map, start, len);
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
