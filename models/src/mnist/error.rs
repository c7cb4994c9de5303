//! What can go wrong with the data.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why MNIST couldn't be found, read or fetched.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// No folder holds the test images.
    NotFound {
        /// The folders looked at, in order.
        searched: Vec<PathBuf>,
    },
    /// A file couldn't be read or written.
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file isn't what the format says.
    Format {
        /// The file, or the folder if two of its files contradict each other.
        path: PathBuf,
        /// Byte offset in the uncompressed content.
        offset: usize,
        /// What the format demands there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A file's content isn't the published one.
    Checksum {
        /// Name of the file.
        name: String,
        /// Published SHA-256.
        expected: String,
        /// SHA-256 of the content.
        found: String,
    },
    /// A server answered more or fewer bytes than the file has.
    Length {
        /// Address asked.
        url: String,
        /// Bytes of the published file.
        expected: u64,
        /// Bytes received before it was given up.
        found: u64,
    },
    /// A server couldn't be reached or refused.
    Network {
        /// Address asked.
        url: String,
        /// What happened.
        reason: String,
    },
}

impl Error {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_path_buf(), source }
    }

    pub(crate) fn format(path: &Path, offset: usize, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self::Format { path: path.to_path_buf(), offset, expected: expected.into(), found: found.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound { searched } => {
                f.write_str("MNIST is in none of these folders:")?;
                for folder in searched {
                    write!(f, " {};", folder.display())?;
                }
                f.write_str(" name its folder with --data or $MNIST_DIR, or fetch it with `pocketnn mnist --download`")
            }
            Self::Io { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Format { path, offset, expected, found } => {
                write!(f, "{}: at byte {offset}: expected {expected}, found {found}", path.display())
            }
            Self::Checksum { name, expected, found } => {
                write!(f, "{name}: its SHA-256 is {found}, the published one {expected}; the file was not kept")
            }
            Self::Length { url, expected, found } => {
                write!(f, "{url}: expected {expected} bytes, received {found}; the file was not kept")
            }
            Self::Network { url, reason } => write!(f, "{url}: {reason}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
