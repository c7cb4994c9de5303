//! The `.npz` format: a zip archive of `.npy` files, the names of the arrays with `.npy` behind.

use super::npy;
use crate::failure::Failure;
use crate::files::{self, MAX_BYTES};
use pocketnn::Tensor;
use std::io::{Cursor, Read, Write};
use std::path::Path;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// Most arrays in an archive.
const MAX_ARRAYS: usize = 100_000;

/// The arrays of an archive with their names, in the order of the archive.
///
/// # Errors
/// When it is not an archive of `.npy` files, or its arrays are larger than `limit` bytes together.
pub fn read(bytes: &[u8], limit: u64) -> Result<Vec<(String, Tensor)>, Failure> {
    let bad = |e: &dyn std::fmt::Display| Failure::failed(format!("not a readable .npz archive: {e}"));
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|e| bad(&e))?;
    if archive.len() > MAX_ARRAYS {
        return Err(bad(&format!("{} entries, at most {MAX_ARRAYS} are read", archive.len())));
    }
    let mut left = limit;
    let mut out = Vec::new();
    for i in 0..archive.len() {
        let entry = archive.by_index(i).map_err(|e| bad(&e))?;
        let name = entry.name().map_err(|e| bad(&e))?.to_string();
        let mut data = Vec::new();
        // The declared size may lie; what comes out is counted.
        entry.take(left.saturating_add(1)).read_to_end(&mut data).map_err(|e| bad(&format!("`{name}`: {e}")))?;
        left = left.checked_sub(data.len() as u64).ok_or_else(|| bad(&format!("more than {limit} bytes")))?;
        let tensor = npy::read(&data).map_err(|e| e.at(format!("`{name}`")))?;
        out.push((name.strip_suffix(".npy").unwrap_or(&name).to_string(), tensor));
    }
    Ok(out)
}

/// Writes an archive, uncompressed as numpy does. A name that occurred before gets a number behind it.
///
/// # Errors
/// When it cannot be written.
pub fn write(path: &Path, arrays: &[(String, Tensor)]) -> Result<(), Failure> {
    files::write(path, |out| {
        let mut zip = ZipWriter::new(out);
        let mut used: Vec<String> = Vec::new();
        for (name, tensor) in arrays {
            let mut unique = name.clone();
            let mut n = 1;
            while used.contains(&unique) {
                unique = format!("{name}_{n}");
                n += 1;
            }
            let data = npy::write(tensor);
            let large = data.len() as u64 >= u64::from(u32::MAX);
            let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored).large_file(large);
            zip.start_file(format!("{unique}.npy"), options)?;
            zip.write_all(&data)?;
            used.push(unique);
        }
        zip.finish()?;
        Ok(())
    })
}

/// The arrays of an archive file.
///
/// # Errors
/// As [`read`]; the message names the file.
pub fn open(path: &Path) -> Result<Vec<(String, Tensor)>, Failure> {
    read(&files::read(path, MAX_BYTES)?, MAX_BYTES).map_err(|e| e.at(path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_keep_names_order_and_bits_and_limits_hold() {
        let path = std::env::temp_dir().join(format!("pocketnn-npz-{}.npz", std::process::id()));
        let (a, b) = (Tensor::vector(&[1.5f32, -2.0]), Tensor::scalar(7i64));
        write(&path, &[("z/out:0".into(), a.clone()), ("a".into(), b.clone()), ("a".into(), b.clone())]).unwrap();
        let back = open(&path).unwrap();
        assert_eq!(back, [("z/out:0".into(), a), ("a".into(), b.clone()), ("a_1".into(), b)]);
        let bytes = files::read(&path, 1 << 20).unwrap();
        assert!(read(&bytes, 100).unwrap_err().message.contains("more than 100 bytes"));
        for n in 0..bytes.len() {
            assert!(read(&bytes[..n], 1 << 20).is_err(), "cut at {n}");
        }
        for i in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[i] ^= 0x10;
            // Either an error or other arrays; never a panic.
            let _ = read(&changed, 1 << 20);
        }
        std::fs::remove_file(path).unwrap();
    }
}
