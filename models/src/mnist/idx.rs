//! The IDX format: a magic number (two zeros, element type, rank), the dimensions as big-endian u32, the elements.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::{Error, SIDE};

/// Rank 3, unsigned bytes.
const IMAGES_MAGIC: u32 = 0x0000_0803;
/// Rank 1, unsigned bytes.
const LABELS_MAGIC: u32 = 0x0000_0801;
/// The largest content read, compressed or not: the training images have 47 million bytes.
const MAX_BYTES: u64 = 64 << 20;

/// Reads `folder/name`, or else `folder/name.gz`, and parses its content.
pub(super) fn read(
    folder: &Path,
    name: &str,
    parse: fn(&Path, &[u8]) -> Result<Vec<u8>, Error>,
) -> Result<Vec<u8>, Error> {
    let plain = folder.join(name);
    let path = if plain.is_file() { plain } else { folder.join(format!("{name}.gz")) };
    let file = fs::File::open(&path).map_err(|source| Error::io(&path, source))?;
    let content = if path.extension().is_some_and(|suffix| suffix == "gz") {
        bounded(&path, MultiGzDecoder::new(io::BufReader::new(file)))?
    } else {
        bounded(&path, file)?
    };
    parse(&path, &content)
}

fn bounded(path: &Path, source: impl Read) -> Result<Vec<u8>, Error> {
    let mut content = Vec::new();
    source.take(MAX_BYTES + 1).read_to_end(&mut content).map_err(|source| Error::io(path, source))?;
    if content.len() as u64 > MAX_BYTES {
        return Err(Error::format(path, content.len() - 1, format!("at most {MAX_BYTES} bytes"), "more"));
    }
    Ok(content)
}

/// The pixels `[N, 28, 28]` of an uncompressed image file; `path` is for messages.
///
/// # Errors
/// [`Error::Format`] for another magic number, other image sizes, missing or surplus bytes.
pub fn parse_images(path: &Path, content: &[u8]) -> Result<Vec<u8>, Error> {
    let count = header(path, content, IMAGES_MAGIC)?;
    for offset in [8, 12] {
        let side = be_u32(path, content, offset)?;
        if side as usize != SIDE {
            return Err(Error::format(path, offset, format!("images of {SIDE} x {SIDE}"), format!("a side of {side}")));
        }
    }
    elements(path, content, 16, u64::from(count) * (SIDE * SIDE) as u64)
}

/// The digits `[N]` of an uncompressed label file; `path` is for messages.
///
/// # Errors
/// [`Error::Format`] for another magic number, missing or surplus bytes, or a label above 9.
pub fn parse_labels(path: &Path, content: &[u8]) -> Result<Vec<u8>, Error> {
    let count = header(path, content, LABELS_MAGIC)?;
    let labels = elements(path, content, 8, u64::from(count))?;
    match labels.iter().position(|&label| label > 9) {
        Some(at) => Err(Error::format(path, 8 + at, "a label from 0 to 9", labels[at].to_string())),
        None => Ok(labels),
    }
}

/// Checks the magic number; the first dimension.
fn header(path: &Path, content: &[u8], magic: u32) -> Result<u32, Error> {
    let found = be_u32(path, content, 0)?;
    if found != magic {
        return Err(Error::format(path, 0, format!("magic number {magic}"), found.to_string()));
    }
    be_u32(path, content, 4)
}

fn be_u32(path: &Path, content: &[u8], offset: usize) -> Result<u32, Error> {
    match content.get(offset..).and_then(<[u8]>::first_chunk) {
        Some(bytes) => Ok(u32::from_be_bytes(*bytes)),
        None => {
            Err(Error::format(path, offset, "four bytes of the header", format!("the end of {} bytes", content.len())))
        }
    }
}

/// Everything from `offset` on, which must be `count` bytes.
fn elements(path: &Path, content: &[u8], offset: usize, count: u64) -> Result<Vec<u8>, Error> {
    let found = content.get(offset..).unwrap_or_default();
    if found.len() as u64 != count {
        return Err(Error::format(
            path,
            offset,
            format!("{count} elements, one a byte"),
            format!("{} bytes", found.len()),
        ));
    }
    Ok(found.to_vec())
}
