//! The table behind an index: sorted keys with values, in blocks.
//!
//! ```text
//! block    entries, positions of restarts (u32 each), number of restarts (u32), then 1 byte of compression and 4 of CRC-32C
//! entry    shared key bytes, other key bytes, value bytes (varints), key bytes, value bytes
//! footer   48 bytes: handle of the meta index, handle of the index (varints offset, size), zeros, magic
//! ```
//!
//! The index is a block whose values are the handles of the data blocks. Keys share a prefix with the key before; a restart is an
//! entry that shares nothing, for searching. All entries are read once, in order, so restarts are only checked for their room.

use std::borrow::Cow;

use super::{crc, snappy};
use crate::error::{ImportError, Result};
use crate::limits::{Budget, to_usize};
use crate::protobuf::varint;

const FOOTER: usize = 48;
const MAGIC: u64 = 0xdb47_7524_8b80_fb57;
/// Compression byte and checksum behind each block.
const TRAILER: usize = 5;

/// What is done with a key and its value.
type Each<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<()>;

/// Gives every entry to `each`.
///
/// # Errors
/// `Format` where the table is damaged, `Limits` where there are too many entries, and what `each` says.
pub(super) fn read(bytes: &[u8], budget: &Budget, each: Each) -> Result<()> {
    let footer = bytes.len().checked_sub(FOOTER).and_then(|at| bytes.get(at..));
    let footer = footer.ok_or_else(|| damaged("an index without its last 48 bytes (is the file truncated?)"))?;
    let magic = footer.last_chunk::<8>().map_or(0, |m| u64::from_le_bytes(*m));
    if magic != MAGIC {
        return Err(damaged("not an index of variables")
            .expected(format!("a file that ends in {MAGIC:016x}"))
            .found(format!("{magic:016x}")));
    }
    let (_, rest) = handle(footer)?;
    let (index, _) = handle(rest)?;
    let (mut count, mut left) = (0u64, bytes.len());
    let index = block(bytes, index, budget)?;
    entries(&index, &mut |_, value| {
        let (at, _) = handle(value)?;
        // Blocks that share bytes would be read, and unpacked, as often as they are named.
        let room = to_usize(at.1, "a size")?.checked_add(TRAILER).and_then(|n| left.checked_sub(n));
        left = room.ok_or_else(|| damaged("blocks that are longer together than the file"))?;
        let data = block(bytes, at, budget)?;
        entries(&data, &mut |key, value| {
            count = count.saturating_add(1);
            budget.entries(count, "variables")?;
            each(key, value)
        })
    })
}

fn damaged(message: &str) -> ImportError {
    ImportError::format(message)
}

/// Offset and size, and what comes behind them.
fn handle(bytes: &[u8]) -> Result<((u64, u64), &[u8])> {
    let (offset, n) = varint(bytes)?;
    let rest = bytes.get(n..).unwrap_or_default();
    let (size, n) = varint(rest)?;
    Ok(((offset, size), rest.get(n..).unwrap_or_default()))
}

/// The content of a block, its checksum checked.
fn block<'a>(bytes: &'a [u8], (offset, size): (u64, u64), budget: &Budget) -> Result<Cow<'a, [u8]>> {
    let outside = || damaged("a block outside of the file").found(format!("{size} bytes at {offset}"));
    let (start, size_here) = (to_usize(offset, "an offset")?, to_usize(size, "a size")?);
    let end = start.checked_add(size_here).and_then(|e| e.checked_add(TRAILER)).ok_or_else(outside)?;
    let whole = bytes.get(start..end).ok_or_else(outside)?;
    let (checked, crc_bytes) = whole.split_last_chunk::<4>().ok_or_else(outside)?;
    let (want, found) = (u32::from_le_bytes(*crc_bytes), crc::masked(checked));
    if want != found {
        return Err(damaged("the checksum of a block is wrong (a damaged file)")
            .expected(format!("{want:08x}"))
            .found(format!("{found:08x}"))
            .at_offset(offset));
    }
    let (&compression, content) = checked.split_last().ok_or_else(outside)?;
    match compression {
        0 => Ok(Cow::Borrowed(content)),
        1 => snappy::decompress(content, budget).map(Cow::Owned).map_err(|e| e.at_offset(offset)),
        other => Err(ImportError::unsupported("a block compressed in an unknown way")
            .expected("0 (none) or 1 (snappy)")
            .found(other)
            .at_offset(offset)),
    }
}

fn entries(block: &[u8], each: Each) -> Result<()> {
    let cut = || damaged("a block that is cut off");
    let (rest, restarts) = block.split_last_chunk::<4>().ok_or_else(cut)?;
    let restarts = to_usize(u64::from(u32::from_le_bytes(*restarts)), "restarts")?;
    let room = restarts.checked_mul(4).ok_or_else(cut)?;
    let mut rest = rest.len().checked_sub(room).and_then(|n| rest.get(..n)).ok_or_else(cut)?;
    let mut key: Vec<u8> = Vec::new();
    while !rest.is_empty() {
        let mut next = || -> Result<usize> {
            let (n, length) = varint(rest)?;
            rest = rest.get(length..).unwrap_or_default();
            to_usize(n, "a length")
        };
        let (shared, other, value) = (next()?, next()?, next()?);
        if shared > key.len() {
            return Err(damaged("a key that shares more with the key before than that has")
                .expected(format!("at most {}", key.len()))
                .found(shared));
        }
        let (tail, after) = rest.split_at_checked(other).ok_or_else(cut)?;
        let (value, after) = after.split_at_checked(value).ok_or_else(cut)?;
        rest = after;
        key.truncate(shared);
        key.extend_from_slice(tail);
        each(&key, value)?;
    }
    Ok(())
}

/// Writes a table of one data block, for tests.
#[cfg(test)]
pub(super) fn write(list: &[(&[u8], Vec<u8>)], compression: u8) -> Vec<u8> {
    write_named(list, compression, 1)
}

/// As [`write`], with an index that names the block more than once.
#[cfg(test)]
pub(super) fn write_named(list: &[(&[u8], Vec<u8>)], compression: u8, times: usize) -> Vec<u8> {
    let put = |out: &mut Vec<u8>, content: &[u8], kind: u8| -> (usize, usize) {
        let at = out.len();
        out.extend_from_slice(content);
        out.push(kind);
        let crc = crc::masked(&out[at..]);
        out.extend(crc.to_le_bytes());
        (at, content.len())
    };
    let number = |out: &mut Vec<u8>, mut n: usize| {
        while n > 0x7f {
            out.push((n & 0x7f) as u8 | 0x80);
            n >>= 7;
        }
        out.push(n as u8);
    };
    let block = |list: &[(&[u8], Vec<u8>)]| {
        let (mut out, mut before): (Vec<u8>, &[u8]) = (Vec::new(), b"");
        for (key, value) in list {
            let shared = key.iter().zip(before).take_while(|(a, b)| a == b).count();
            for n in [shared, key.len() - shared, value.len()] {
                number(&mut out, n);
            }
            out.extend(&key[shared..]);
            out.extend(value);
            before = key;
        }
        out.extend(0u32.to_le_bytes());
        out.extend(1u32.to_le_bytes());
        out
    };
    let handle = |(at, size): (usize, usize)| {
        let mut out = Vec::new();
        number(&mut out, at);
        number(&mut out, size);
        out
    };
    let mut out = Vec::new();
    let mut content = block(list);
    if compression == 1 {
        let mut packed = Vec::new();
        number(&mut packed, content.len());
        for part in content.chunks(60) {
            packed.push(((part.len() - 1) as u8) << 2);
            packed.extend(part);
        }
        content = packed;
    }
    let data = put(&mut out, &content, compression);
    let meta = put(&mut out, &block(&[]), 0);
    let names: Vec<(&[u8], Vec<u8>)> = (0..times).map(|_| (&b"\xff"[..], handle(data))).collect();
    let index = put(&mut out, &block(&names), 0);
    let mut footer = [handle(meta), handle(index)].concat();
    footer.resize(FOOTER - 8, 0);
    footer.extend(MAGIC.to_le_bytes());
    out.extend(footer);
    out
}
