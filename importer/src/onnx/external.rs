//! Tensors whose elements stand in another file, beside the model.
//!
//! The name in the model is untrusted: only files inside the model's folder are opened, absolute names, `..` and links that lead
//! out of the folder are refused, and nothing is read before offset and length were checked against the size of the file.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Component, Path, PathBuf};

use crate::error::{ImportError, Result};
use crate::limits::Limits;

/// The folder of the model, if it came from a file.
#[derive(Debug, Default)]
pub(super) struct Folder {
    path: Option<PathBuf>,
    max_file_bytes: u64,
}

impl Folder {
    /// The folder that holds the model.
    pub fn new(path: Option<&Path>, limits: &Limits) -> Self {
        Self { path: path.map(Path::to_path_buf), max_file_bytes: limits.max_file_bytes }
    }

    /// Reads the `bytes` that a tensor's entries (`location`, `offset`, `length`) name.
    ///
    /// # Errors
    /// `Invalid` where the entries are wrong or lead out of the folder, `Format` where the file is too short, `Limits`, `Io`.
    pub fn read(&self, entries: &[(String, String)], bytes: usize) -> Result<Vec<u8>> {
        let get = |key: &str| entries.iter().find(|e| e.0 == key).map(|e| e.1.as_str());
        let location = get("location").ok_or_else(|| ImportError::invalid("external data without `location`"))?;
        let wanted = u64::try_from(bytes).unwrap_or(u64::MAX);
        let offset = number(get("offset"), "offset")?.unwrap_or(0);
        let length = number(get("length"), "length")?.unwrap_or(wanted);
        if length != wanted {
            return Err(ImportError::invalid("external data of the wrong length").expected(wanted).found(length));
        }
        let path = self.inside(location)?;
        read_range(&path, offset, bytes, self.max_file_bytes).map_err(|e| e.in_file(path.display()))
    }

    /// The path of a file inside the folder.
    fn inside(&self, location: &str) -> Result<PathBuf> {
        let refuse = |why: &str| {
            Err(ImportError::invalid(format!("external data {why}"))
                .expected("a file inside the model's folder")
                .found(format!("`{}`", location.escape_default())))
        };
        let Some(folder) = &self.path else {
            return Err(ImportError::invalid("the model has external data, but its folder is not known")
                .help("import it from a file instead of from memory"));
        };
        let plain = Path::new(location).components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
        if location.is_empty() || location.contains(['\\', '\0', ':']) || !plain {
            return refuse("outside the model's folder");
        }
        let io = |p: &Path, e: &std::io::Error| ImportError::io(p.display(), e);
        let folder = folder.canonicalize().map_err(|e| io(folder, &e))?;
        let path = folder.join(location);
        let real = path.canonicalize().map_err(|e| io(&path, &e))?;
        if !real.starts_with(&folder) {
            return refuse("behind a link out of the model's folder");
        }
        if !real.is_file() {
            return refuse("is not a regular file");
        }
        Ok(real)
    }
}

fn number(text: Option<&str>, key: &str) -> Result<Option<u64>> {
    let parse = |t: &str| {
        t.trim().parse().map_err(|_| {
            let found = format!("`{}`", t.chars().take(40).collect::<String>().escape_default());
            ImportError::invalid(format!("external data with a wrong `{key}`")).expected("a number").found(found)
        })
    };
    text.map(parse).transpose()
}

fn read_range(path: &Path, offset: u64, bytes: usize, max_file_bytes: u64) -> Result<Vec<u8>> {
    let io = |e: &std::io::Error| ImportError::io(path.display(), e);
    let mut file = File::open(path).map_err(|e| io(&e))?;
    let size = file.metadata().map_err(|e| io(&e))?.len();
    let wanted = u64::try_from(bytes).unwrap_or(u64::MAX);
    if size > max_file_bytes {
        return Err(ImportError::limits("external file over the limit `max_file_bytes`")
            .expected(max_file_bytes)
            .found(size));
    }
    if offset.checked_add(wanted).is_none_or(|end| end > size) {
        return Err(ImportError::format("external data beyond the end of the file")
            .expected(format!("at most {size}"))
            .found(format!("{wanted} bytes at {offset}")));
    }
    file.seek(SeekFrom::Start(offset)).map_err(|e| io(&e))?;
    let mut data = vec![0u8; bytes];
    file.read_exact(&mut data).map_err(|e| io(&e))?;
    Ok(data)
}
