//! Snappy blocks, as tables may compress theirs.
//!
//! A block is the length of its content, then elements: a tag whose low two bits say literal (0) or copy of what was written before
//! with one, two or four bytes of distance (1, 2, 3).

use crate::error::{ImportError, Result};
use crate::limits::{Budget, to_usize};

/// The content of a block.
///
/// # Errors
/// `Format` where the block is damaged, `Limits` where its content would be too big.
pub(super) fn decompress(block: &[u8], budget: &Budget) -> Result<Vec<u8>> {
    let (length, at) = crate::protobuf::varint(block)?;
    // No element makes more than 64 bytes of 2, so a longer claim is a lie.
    let most = u64::try_from(block.len()).unwrap_or(u64::MAX).saturating_mul(64);
    if length > most {
        return Err(damaged("a block that claims to be longer than it can be"));
    }
    budget.text(length, "a block of the index")?;
    let length = to_usize(length, "a block")?;
    let mut out = Vec::with_capacity(length);
    let mut rest = block.get(at..).unwrap_or_default();
    while let Some((&tag, after)) = rest.split_first() {
        rest = after;
        let high = usize::from(tag >> 2);
        match tag & 3 {
            0 => {
                let n = match high {
                    60..=63 => number(&mut rest, high.saturating_sub(59))?,
                    n => n,
                };
                let literal = take(&mut rest, n.saturating_add(1))?;
                out.extend_from_slice(literal);
            }
            1 => {
                let low = number(&mut rest, 1)?;
                copy(&mut out, (high & 7).saturating_add(4), (high >> 3) << 8 | low)?;
            }
            2 => {
                let distance = number(&mut rest, 2)?;
                copy(&mut out, high.saturating_add(1), distance)?;
            }
            _ => {
                let distance = number(&mut rest, 4)?;
                copy(&mut out, high.saturating_add(1), distance)?;
            }
        }
        if out.len() > length {
            return Err(damaged("a block that is longer than it says"));
        }
    }
    if out.len() == length { Ok(out) } else { Err(damaged("a block that is shorter than it says")) }
}

fn damaged(message: &str) -> ImportError {
    ImportError::format(message)
}

fn take<'a>(rest: &mut &'a [u8], n: usize) -> Result<&'a [u8]> {
    let (part, after) = rest.split_at_checked(n).ok_or_else(|| damaged("a compressed block that is cut off"))?;
    *rest = after;
    Ok(part)
}

/// A little-endian number of `n` bytes.
fn number(rest: &mut &[u8], n: usize) -> Result<usize> {
    let bytes = take(rest, n)?;
    Ok(bytes.iter().rev().fold(0usize, |x, &b| x << 8 | usize::from(b)))
}

/// Repeats `length` bytes from `distance` back; they may overlap what is written.
fn copy(out: &mut Vec<u8>, length: usize, distance: usize) -> Result<()> {
    let from = out.len().checked_sub(distance).filter(|_| distance > 0);
    let from = from.ok_or_else(|| damaged("a compressed block that copies from before its beginning"))?;
    for i in 0..length {
        let byte = out.get(from.saturating_add(i)).copied().unwrap_or(0);
        out.push(byte);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(block: &[u8]) -> Result<Vec<u8>> {
        decompress(block, &Budget::default())
    }

    #[test]
    fn literals_and_copies_of_every_kind() {
        assert_eq!(run(b"\x05\x10hello").unwrap(), b"hello");
        // "ab", then 6 bytes from 2 back (one-byte distance: length 6 - 4 = 2).
        assert_eq!(run(b"\x08\x04ab\x09\x02").unwrap(), b"abababab");
        // Two and four bytes of distance, length 3 each.
        assert_eq!(run(b"\x05\x04ab\x0a\x02\x00").unwrap(), b"ababa");
        assert_eq!(run(b"\x05\x04ab\x0b\x02\x00\x00\x00").unwrap(), b"ababa");
        // A literal whose length takes a byte.
        let mut long = vec![70, 60 << 2, 69];
        long.extend([7; 70]);
        assert_eq!(run(&long).unwrap(), [7; 70]);
    }

    #[test]
    fn damaged_blocks_are_refused() {
        for block in [
            &b""[..],
            b"\x05\x10hel",
            b"\x05\x04ab\x0a\x09\x00",
            b"\x05\x04ab\x0a\x00\x00",
            b"\x02\x10hello",
            b"\x09\x10hello",
            b"\xff\xff\xff\xff\x7f\x00a",
            b"\x05\xf4\xff\xff\xff\xff",
        ] {
            assert!(run(block).is_err(), "{block:02x?}");
        }
    }
}
