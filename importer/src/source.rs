//! The bytes of a source model: in memory, or in a mapped file whose pages need not stay beside what was read from them.

use pocketnn::format::map::Bytes;

/// Borrowed bytes and the mapped file that they are, where they are one.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    bytes: &'a [u8],
    file: Option<&'a Bytes>,
}

impl<'a> Source<'a> {
    /// Bytes of the caller.
    pub fn memory(bytes: &'a [u8]) -> Self {
        Self { bytes, file: None }
    }
    /// A whole file.
    pub fn file(file: &'a Bytes) -> Self {
        Self { bytes: file.as_slice(), file: Some(file) }
    }
    /// All bytes.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
    /// A part of the bytes was read and is not needed soon: the system may take back its memory. Reading it again reads the file.
    pub fn done(&self, part: &[u8]) {
        let start = part.as_ptr().addr().checked_sub(self.bytes.as_ptr().addr());
        if let (Some(file), Some(start)) = (self.file, start) {
            file.release(start..start.saturating_add(part.len()));
        }
    }
}
