//! Reading whole files within a limit, and writing them in one piece.

use crate::failure::Failure;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

/// Largest file of tensors or pictures that is read.
pub const MAX_BYTES: u64 = 16 << 30;

/// The bytes of a file, at most `limit`.
///
/// # Errors
/// When it cannot be read or is larger.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
    let fail = |e: std::io::Error| Failure::file(path, &e);
    let file = std::fs::File::open(path).map_err(fail)?;
    let size = file.metadata().map_err(fail)?.len();
    let mut bytes = Vec::new();
    if size <= limit {
        // A file that grows meanwhile, or a pipe, is cut at the limit.
        file.take(limit + 1).read_to_end(&mut bytes).map_err(fail)?;
    }
    let found = size.max(bytes.len() as u64);
    if found > limit {
        return Err(Failure::failed(format!("{}: {found} bytes, at most {limit} are read", path.display())));
    }
    Ok(bytes)
}

/// Writes a file: to a temporary file beside it, renamed when complete.
///
/// # Errors
/// When it cannot be written; then no file is left and an older one stays as it was.
pub fn write(path: &Path, fill: impl FnOnce(&mut dyn WriteSeek) -> std::io::Result<()>) -> Result<(), Failure> {
    let fail = |e: std::io::Error| Failure::file(path, &e);
    let name = path.file_name().ok_or_else(|| Failure::usage(format!("{} is not a file name", path.display())))?;
    if path.is_dir() {
        return Err(Failure::usage(format!("{} is a folder", path.display())));
    }
    let temporary: PathBuf = path.with_file_name(format!(".{}.{}.tmp", name.to_string_lossy(), std::process::id()));
    let written = std::fs::File::create(&temporary).and_then(|file| {
        let mut out = BufWriter::new(file);
        fill(&mut out)?;
        out.flush()?;
        drop(out);
        std::fs::rename(&temporary, path)
    });
    written.map_err(|e| {
        // The first error is the one to tell; what cannot be removed stays.
        let _ = std::fs::remove_file(&temporary);
        fail(e)
    })
}

/// What the content of a file is written to.
pub trait WriteSeek: Write + std::io::Seek {}

impl<T: Write + std::io::Seek> WriteSeek for T {}

/// Writes bytes to a file in one piece.
///
/// # Errors
/// As [`write()`].
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    write(path, |out| out.write_all(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = std::env::temp_dir().join(format!("pocketnn-files-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("a.bin");
        write_bytes(&path, b"old").unwrap();
        let failed = write(&path, |out| {
            out.write_all(b"new")?;
            Err(std::io::Error::other("disk full"))
        });
        assert!(failed.unwrap_err().message.ends_with("disk full"));
        assert_eq!(read(&path, 10).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
        assert!(read(&path, 2).unwrap_err().message.contains("3 bytes, at most 2"));
        assert!(write_bytes(&folder, b"x").is_err());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
