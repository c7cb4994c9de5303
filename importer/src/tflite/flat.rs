//! FlatBuffers, read within bounds.
//!
//! A table is a signed offset back to its vtable, then its fields; a vtable is its own size, the table's size, and one offset a field
//! (0: absent, the default holds). Strings, vectors and nested tables are unsigned offsets forwards. (FlatBuffers internals,
//! <https://flatbuffers.dev/internals/>.)
//!
//! The importer reads these few rules itself instead of by generated code: generated accessors are unsafe and trust a verifier that
//! ran before, which this crate forbids; and of the schema's hundred tables it reads one field at a time. Every access checks what a
//! verifier would: the vtable, the field and what it points to lie inside the file. Offsets of unsigned kind only go forwards, but tables may be
//! shared, so a small file could stand for endless lists: [`File::new`] grants a number of list elements in proportion to the file's
//! size, and every list read is paid from it.

use std::cell::Cell;

use crate::error::{ImportError, Result};

/// A whole flatbuffer.
pub(super) struct File<'a> {
    bytes: &'a [u8],
    /// Bytes of lists that may still be read.
    left: Cell<usize>,
}

/// A table: where it lies, and its vtable.
#[derive(Clone, Copy)]
pub(super) struct Table<'a> {
    file: &'a File<'a>,
    at: usize,
    vtable: usize,
    /// Entries of the vtable.
    fields: usize,
    /// Bytes of the table itself.
    size: usize,
}

/// A number stored as little-endian bytes.
pub(super) trait Scalar: Sized + Copy {
    const SIZE: usize;
    fn read(bytes: &[u8]) -> Option<Self>;
}

macro_rules! scalars {
    ($($t:ty),*) => {
        $(impl Scalar for $t {
            const SIZE: usize = size_of::<$t>();
            fn read(bytes: &[u8]) -> Option<Self> { Some(<$t>::from_le_bytes(bytes.try_into().ok()?)) }
        })*
    };
}
scalars!(u8, i8, u16, i16, u32, i32, u64, i64, f32);

fn outside(what: &str, at: usize) -> ImportError {
    ImportError::format(format!("{what} lies outside the file")).at_offset(u64::try_from(at).unwrap_or(u64::MAX))
}

impl<'a> File<'a> {
    /// A file; lists of eight times its length, and a little, may be read.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, left: Cell::new(bytes.len().saturating_mul(8).saturating_add(1 << 16)) }
    }

    fn pay(&self, bytes: usize, at: usize) -> Result<()> {
        let left = self.left.get().checked_sub(bytes).ok_or_else(|| {
            ImportError::limits("the file's lists are longer than the file: they are shared too often")
                .at_offset(u64::try_from(at).unwrap_or(u64::MAX))
        })?;
        self.left.set(left);
        Ok(())
    }

    fn slice(&self, at: usize, len: usize, what: &str) -> Result<&'a [u8]> {
        let end = at.checked_add(len).ok_or_else(|| outside(what, at))?;
        self.bytes.get(at..end).ok_or_else(|| outside(what, at))
    }

    fn scalar<T: Scalar>(&self, at: usize, what: &str) -> Result<T> {
        T::read(self.slice(at, T::SIZE, what)?).ok_or_else(|| outside(what, at))
    }

    /// Where the offset at `at` points.
    fn follow(&self, at: usize, what: &str) -> Result<usize> {
        let offset = usize::try_from(self.scalar::<u32>(at, what)?).map_err(|_| outside(what, at))?;
        if offset == 0 {
            return Err(ImportError::format(format!("the offset of {what} is 0"))
                .at_offset(u64::try_from(at).unwrap_or(u64::MAX)));
        }
        at.checked_add(offset).ok_or_else(|| outside(what, at))
    }

    /// The table at the root.
    pub fn root(&'a self) -> Result<Table<'a>> {
        self.table(self.follow(0, "the root table")?)
    }

    fn table(&'a self, at: usize) -> Result<Table<'a>> {
        let bad = || outside("a vtable", at);
        let back = i64::from(self.scalar::<i32>(at, "a table")?);
        let place = i64::try_from(at).ok().and_then(|a| a.checked_sub(back)).ok_or_else(bad)?;
        let vtable = usize::try_from(place).map_err(|_| bad())?;
        let length = usize::from(self.scalar::<u16>(vtable, "a vtable")?);
        let size = usize::from(self.scalar::<u16>(vtable.checked_add(2).ok_or_else(bad)?, "a vtable")?);
        if length < 4 || length % 2 != 0 || size < 4 {
            return Err(ImportError::format("a vtable has an impossible size")
                .found(format!("{length} bytes for a table of {size}"))
                .at_offset(u64::try_from(vtable).unwrap_or(u64::MAX)));
        }
        self.slice(vtable, length, "a vtable")?;
        self.slice(at, size, "a table")?;
        self.pay(4, at)?;
        Ok(Table { file: self, at, vtable, fields: (length - 4) / 2, size })
    }

    /// The length of the vector at `at`, and where its elements start.
    fn vector(&self, at: usize, element: usize, what: &str) -> Result<(usize, usize)> {
        let count = usize::try_from(self.scalar::<u32>(at, what)?).map_err(|_| outside(what, at))?;
        let start = at.checked_add(4).ok_or_else(|| outside(what, at))?;
        let bytes = count.checked_mul(element).ok_or_else(|| outside(what, at))?;
        self.slice(start, bytes, what)?;
        Ok((count, start))
    }
}

impl<'a> Table<'a> {
    /// Where a field lies, if it is there.
    fn field(&self, index: usize, len: usize) -> Result<Option<usize>> {
        if index >= self.fields {
            return Ok(None);
        }
        let entry = index.checked_mul(2).and_then(|i| self.vtable.checked_add(4)?.checked_add(i));
        let entry = entry.ok_or_else(|| outside("a vtable", self.vtable))?;
        let offset = usize::from(self.file.scalar::<u16>(entry, "a vtable")?);
        if offset == 0 {
            return Ok(None);
        }
        if offset < 4 || offset.checked_add(len).is_none_or(|end| end > self.size) {
            return Err(ImportError::format(format!("field {index} lies outside its table"))
                .at_offset(u64::try_from(self.at).unwrap_or(u64::MAX)));
        }
        Ok(self.at.checked_add(offset))
    }

    /// A number; absent means its default.
    pub fn scalar<T: Scalar>(&self, index: usize, default: T) -> Result<T> {
        match self.field(index, T::SIZE)? {
            Some(at) => self.file.scalar(at, "a field"),
            None => Ok(default),
        }
    }

    /// A truth value; absent means its default.
    pub fn flag(&self, index: usize, default: bool) -> Result<bool> {
        Ok(self.scalar(index, u8::from(default))? != 0)
    }

    /// A text; absent means none. What is not UTF-8 is replaced.
    pub fn text(&self, index: usize) -> Result<Option<String>> {
        Ok(self.bytes(index)?.map(|b| String::from_utf8_lossy(b).into_owned()))
    }

    /// A vector of bytes, in place.
    pub fn bytes(&self, index: usize) -> Result<Option<&'a [u8]>> {
        let Some(at) = self.field(index, 4)? else { return Ok(None) };
        let (count, start) = self.file.vector(self.file.follow(at, "a vector")?, 1, "a vector")?;
        self.file.slice(start, count, "a vector").map(Some)
    }

    /// A vector of numbers; absent means none.
    pub fn numbers<T: Scalar>(&self, index: usize) -> Result<Option<Vec<T>>> {
        let Some(at) = self.field(index, 4)? else { return Ok(None) };
        let (count, start) = self.file.vector(self.file.follow(at, "a vector")?, T::SIZE, "a vector")?;
        let bytes = count.saturating_mul(T::SIZE);
        self.file.pay(bytes, at)?;
        let elements = self.file.slice(start, bytes, "a vector")?.chunks_exact(T::SIZE);
        Ok(Some(elements.filter_map(T::read).collect()))
    }

    /// A nested table.
    pub fn table(&self, index: usize) -> Result<Option<Table<'a>>> {
        let Some(at) = self.field(index, 4)? else { return Ok(None) };
        self.file.table(self.file.follow(at, "a table")?).map(Some)
    }

    /// A vector of tables; absent means none.
    pub fn tables(&self, index: usize) -> Result<Vec<Table<'a>>> {
        let Some(at) = self.field(index, 4)? else { return Ok(Vec::new()) };
        let (count, start) = self.file.vector(self.file.follow(at, "a vector")?, 4, "a vector of tables")?;
        self.file.pay(count.saturating_mul(4), at)?;
        let mut out = Vec::new();
        for i in 0..count {
            let entry = i.checked_mul(4).and_then(|i| start.checked_add(i)).ok_or_else(|| outside("a vector", at))?;
            out.push(self.file.table(self.file.follow(entry, "a table")?)?);
        }
        Ok(out)
    }

    /// Fields that hold something other than 0 and are not among these.
    pub fn unknown(&self, known: &[usize]) -> Result<Option<usize>> {
        for index in (0..self.fields).filter(|i| !known.contains(i)) {
            if self.scalar::<u8>(index, 0)? != 0 {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Root at 12: a table whose vtable (at 4) has two fields, the second absent; the first is 7.
    const TINY: [u8; 20] = [12, 0, 0, 0, 8, 0, 8, 0, 4, 0, 0, 0, 8, 0, 0, 0, 7, 0, 0, 0];

    #[test]
    fn fields_are_found_and_absent_ones_have_their_defaults() {
        let file = File::new(&TINY);
        let t = file.root().unwrap();
        assert_eq!(t.scalar::<i32>(0, 0).unwrap(), 7);
        assert_eq!(t.scalar::<i32>(1, -3).unwrap(), -3);
        assert_eq!(t.scalar::<i32>(200, 9).unwrap(), 9);
        assert_eq!(t.unknown(&[0]).unwrap(), None);
        assert_eq!(t.unknown(&[1]).unwrap(), Some(0));
        assert!(t.scalar::<i64>(0, 0).is_err(), "eight bytes do not fit the table");
    }

    #[test]
    fn no_change_of_a_byte_makes_a_read_leave_the_file() {
        for at in 0..TINY.len() {
            for value in 0..=255 {
                let mut bytes = TINY;
                bytes[at] = value;
                let file = File::new(&bytes);
                let Ok(t) = file.root() else { continue };
                for i in 0..3 {
                    let _ = (t.scalar::<i64>(i, 0), t.numbers::<i32>(i), t.tables(i).map(|t| t.len()), t.text(i));
                }
            }
        }
        for len in 0..TINY.len() {
            let file = File::new(&TINY[..len]);
            assert!(file.root().is_err());
        }
    }

    #[test]
    fn shared_lists_are_paid_for() {
        // A vector of 2^16 offsets in a file of a few bytes cannot be, but one list may be read again and again.
        let mut bytes = vec![12, 0, 0, 0, 6, 0, 8, 0, 4, 0, 0, 0, 8, 0, 0, 0, 4, 0, 0, 0];
        bytes.extend(1000u32.to_le_bytes());
        bytes.extend([0; 1000]);
        let file = File::new(&bytes);
        let t = file.root().unwrap();
        let reads = (0..10_000).take_while(|_| t.numbers::<u8>(0).is_ok()).count();
        assert!((10..1000).contains(&reads), "{reads}");
    }
}
