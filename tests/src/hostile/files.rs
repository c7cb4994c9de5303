//! Files of several parts, and checksums that a mutant must put right.

use super::proto::{put_varint, varint};
use hdf5_reader::checksum::jenkins_lookup3;
use std::io::{Cursor, Read, Write};
use std::path::Path;

/// A SavedModel in one piece: lengths of the first two parts (four bytes each, lowest first), then the parts.
#[derive(Clone, Copy, Debug)]
pub struct SavedModel<'a> {
    /// `saved_model.pb`.
    pub graph: &'a [u8],
    /// `variables/variables.index`.
    pub index: &'a [u8],
    /// `variables/variables.data-00000-of-00001`.
    pub data: &'a [u8],
}

impl<'a> SavedModel<'a> {
    /// Takes the parts apart.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let (graph, rest) = bytes.split_first_chunk::<4>()?;
        let (index, rest) = rest.split_first_chunk::<4>()?;
        let (graph, rest) = rest.split_at_checked(u32::from_le_bytes(*graph) as usize)?;
        let (index, data) = rest.split_at_checked(u32::from_le_bytes(*index) as usize)?;
        Some(Self { graph, index, data })
    }
    /// Puts the parts together.
    pub fn write(self) -> Vec<u8> {
        let length = |part: &[u8]| (part.len() as u32).to_le_bytes();
        [&length(self.graph)[..], &length(self.index), self.graph, self.index, self.data].concat()
    }
}

thread_local! {
    /// The folder of a thread's SavedModels, removed with the thread.
    static FOLDER: Folder = Folder::new();
}

struct Folder(std::path::PathBuf);

impl Folder {
    fn new() -> Self {
        use std::sync::atomic::{AtomicUsize, Ordering};
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let shared = Path::new("/dev/shm");
        let base = if shared.is_dir() { shared.to_path_buf() } else { std::env::temp_dir() };
        let folder =
            base.join(format!("pocketnn-hostile-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
        std::fs::create_dir_all(folder.join("variables")).expect("a folder");
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Calls with the folder of this thread, which has a folder `variables`.
pub fn with_folder<T>(call: impl FnOnce(&Path) -> T) -> T {
    FOLDER.with(|f| call(&f.0))
}

/// Entries of an index of variables (one table of blocks without compression): key and value.
pub fn read_index(bytes: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut footer = bytes.get(bytes.len().checked_sub(48)?..)?;
    let _meta = handle(&mut footer)?;
    let mut out = Vec::new();
    for (_, mut value) in block(bytes, handle(&mut footer)?)? {
        let part: &mut &[u8] = &mut value.as_slice();
        out.extend(block(bytes, handle(part)?)?);
        value.clear();
    }
    Some(out)
}

fn handle(rest: &mut &[u8]) -> Option<(usize, usize)> {
    Some((varint(rest)? as usize, varint(rest)? as usize))
}

fn block(bytes: &[u8], (at, size): (usize, usize)) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let content = bytes.get(at..at.checked_add(size)?)?;
    let (content, restarts) = content.split_last_chunk::<4>()?;
    let room = (u32::from_le_bytes(*restarts) as usize).checked_mul(4)?;
    let mut rest = content.get(..content.len().checked_sub(room)?)?;
    let (mut out, mut key) = (Vec::new(), Vec::new());
    while !rest.is_empty() {
        let (shared, own, size) =
            (varint(&mut rest)? as usize, varint(&mut rest)? as usize, varint(&mut rest)? as usize);
        let (tail, after) = rest.split_at_checked(own)?;
        let (value, after) = after.split_at_checked(size)?;
        key.truncate(shared);
        key.extend_from_slice(tail);
        out.push((key.clone(), value.to_vec()));
        rest = after;
    }
    Some(out)
}

/// An index of one block.
pub fn write_index(entries: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    let data = put_block(&mut out, entries);
    let meta = put_block(&mut out, &[]);
    let index = put_block(&mut out, &[(vec![0xff], data)]);
    let mut footer = [meta, index].concat();
    footer.resize(40, 0);
    out.extend(footer);
    out.extend(0xdb47_7524_8b80_fb57u64.to_le_bytes());
    out
}

/// Adds a block and gives its handle.
fn put_block(out: &mut Vec<u8>, entries: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let start = out.len();
    for (key, value) in entries {
        for n in [0, key.len(), value.len()] {
            put_varint(out, n as u64);
        }
        out.extend(key);
        out.extend(value);
    }
    out.extend([0, 0, 0, 0, 1, 0, 0, 0]);
    let mut handle = Vec::new();
    put_varint(&mut handle, start as u64);
    put_varint(&mut handle, (out.len() - start) as u64);
    out.push(0);
    let crc = masked_crc(&out[start..]);
    out.extend(crc.to_le_bytes());
    handle
}

/// Puts the checksums of the blocks right that the footer and the index name.
pub fn mend_index(bytes: &mut [u8]) {
    let mend = |bytes: &mut [u8], (at, size): (usize, usize)| {
        let end = at.saturating_add(size).saturating_add(1);
        if let Some(part) = bytes.get(at..end) {
            let crc = masked_crc(part).to_le_bytes();
            if let Some(place) = bytes.get_mut(end..end + 4) {
                place.copy_from_slice(&crc);
            }
        }
    };
    let footer = bytes.len().checked_sub(48).and_then(|at| bytes.get(at..)).map(<[u8]>::to_vec);
    let Some(footer) = footer else { return };
    let rest = &mut footer.as_slice();
    let (Some(_), Some(index)) = (handle(rest), handle(rest)) else { return };
    for (_, value) in block(bytes, index).unwrap_or_default() {
        if let Some(data) = handle(&mut value.as_slice()) {
            mend(bytes, data);
        }
    }
    mend(bytes, index);
}

fn masked_crc(bytes: &[u8]) -> u32 {
    let mut c = u32::MAX;
    for &b in bytes {
        c ^= u32::from(b);
        for _ in 0..8 {
            c = if c & 1 == 1 { c >> 1 ^ 0x82f6_3b78 } else { c >> 1 };
        }
    }
    (!c).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// Members of an archive: name and content.
pub fn read_zip(bytes: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).ok()?;
    let mut out = Vec::new();
    for i in 0..zip.len().min(100) {
        let entry = zip.by_index(i).ok()?;
        let name = String::from_utf8_lossy(entry.name_raw()).into_owned();
        let mut content = Vec::new();
        entry.take(1 << 20).read_to_end(&mut content).ok()?;
        out.push((name, content));
    }
    Some(out)
}

/// An archive of these members.
pub fn write_zip(members: &[(String, Vec<u8>)], packed: bool) -> Option<Vec<u8>> {
    use zip::CompressionMethod::{Deflated, Stored};
    let options = zip::write::SimpleFileOptions::default().compression_method(if packed { Deflated } else { Stored });
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in members {
        zip.start_file(name.as_str(), options).ok()?;
        zip.write_all(content).ok()?;
    }
    zip.finish().ok().map(Cursor::into_inner)
}

/// Puts the checksums of the superblock and of object headers right.
pub fn mend_hdf5(bytes: &mut [u8]) {
    if bytes.starts_with(b"\x89HDF\r\n\x1a\n") && matches!(bytes.get(8), Some(2 | 3)) {
        mend_range(bytes, 0, 44);
    }
    for at in 0..bytes.len().saturating_sub(8) {
        if &bytes[at..at + 4] != b"OHDR" {
            continue;
        }
        let flags = usize::from(bytes[at + 5]);
        let times = if flags & 0x20 == 0 { 0 } else { 16 };
        let phases = if flags & 0x10 == 0 { 0 } else { 4 };
        let (size, width) = (at + 6 + times + phases, 1usize << (flags & 3));
        let Some(stored) = bytes.get(size..size + width) else { continue };
        let chunk = stored.iter().rev().fold(0usize, |n, &b| n << 8 | usize::from(b));
        mend_range(bytes, at, (size + width).saturating_add(chunk));
    }
}

/// Writes the checksum of `start..end` behind it.
fn mend_range(bytes: &mut [u8], start: usize, end: usize) {
    let Some(sum) = bytes.get(start..end).map(jenkins_lookup3) else { return };
    if let Some(place) = bytes.get_mut(end..end.saturating_add(4)) {
        place.copy_from_slice(&sum.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_comes_back() {
        let bytes = include_bytes!("../../../importer/tests/data/tensorflow2/variables/variables.index");
        let entries = read_index(bytes).unwrap();
        assert!(entries.len() > 2);
        let written = write_index(&entries);
        assert_eq!(read_index(&written).unwrap(), entries);
        let mut mended = bytes.to_vec();
        mend_index(&mut mended);
        assert_eq!(mended, bytes, "the checksums were right");
    }
}
