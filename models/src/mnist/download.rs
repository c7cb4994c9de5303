//! Fetching the published files over HTTP or HTTPS.
//!
//! A body is written to a temporary file beside its target while it is counted and hashed; only a file of the published
//! length and SHA-256 gets its name, by one rename.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};
use ureq::Agent;

use super::{Error, FILES, File, hex};

/// Public copies of the original files, asked in this order.
pub const MIRRORS: [&str; 2] =
    ["https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"];

/// How far the fetching of one file has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// Name of the file.
    pub name: &'a str,
    /// Bytes received, or the whole length for a file that was there already.
    pub received: u64,
    /// Length of the file in bytes.
    pub total: u64,
}

/// Fetches the four files of MNIST into the folder `target`, which is made if it isn't there.
///
/// Each file is asked from `mirrors` in turn (see [`MIRRORS`]) until one delivers it. A file that is there with the right
/// checksum is left alone. `progress` is called at least once a file and after every 64 KiB.
///
/// # Errors
/// [`Error::Io`] if a file can't be written; else that of the last mirror: [`Error::Network`], [`Error::Length`] or
/// [`Error::Checksum`]. No file with a wrong content is left behind.
pub fn download(mirrors: &[&str], target: &Path, progress: &mut dyn FnMut(Progress<'_>)) -> Result<(), Error> {
    download_files(mirrors, &FILES, target, progress)
}

/// [`download`] for any list of files.
///
/// # Errors
/// As for [`download`].
pub fn download_files(
    mirrors: &[&str],
    files: &[File<'_>],
    target: &Path,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(), Error> {
    fs::create_dir_all(target).map_err(|source| Error::io(target, source))?;
    let agent = agent();
    for file in files {
        let path = target.join(file.name);
        if is_there(file, &path) {
            progress(Progress { name: file.name, received: file.bytes, total: file.bytes });
        } else {
            from_mirrors(&agent, mirrors, file, &path, progress)?;
        }
    }
    Ok(())
}

fn agent() -> Agent {
    Agent::config_builder()
        .user_agent(concat!("pocketnn/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(Duration::from_secs(20)))
        .timeout_recv_response(Some(Duration::from_secs(30)))
        .timeout_recv_body(Some(Duration::from_secs(900)))
        .build()
        .into()
}

/// A file of another length isn't read.
fn is_there(file: &File<'_>, path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.len() == file.bytes)
        && fs::read(path).is_ok_and(|content| file.check(&content).is_ok())
}

fn from_mirrors(
    agent: &Agent,
    mirrors: &[&str],
    file: &File<'_>,
    path: &Path,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(), Error> {
    let mut last = Error::Network { url: file.name.into(), reason: "no mirror was given".into() };
    for mirror in mirrors {
        let url = format!("{}/{}", mirror.trim_end_matches('/'), file.name);
        match fetch(agent, &url, file, path, progress) {
            Err(error @ Error::Io { .. }) => return Err(error),
            Err(error) => last = error,
            Ok(()) => return Ok(()),
        }
    }
    Err(last)
}

fn fetch(
    agent: &Agent,
    url: &str,
    file: &File<'_>,
    path: &Path,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(), Error> {
    let network = |reason: String| Error::Network { url: url.into(), reason };
    let mut response = agent.get(url).call().map_err(|error| network(error.to_string()))?;
    // One byte more than wanted tells a body that is too long from a right one.
    let mut body = response.body_mut().as_reader().take(file.bytes + 1);
    let mut part = Partial::create(path)?;
    let mut hash = Sha256::new();
    let mut received = 0;
    let mut chunk = vec![0; 1 << 16];
    loop {
        let length = match body.read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => length,
            // The connection ended early; the count below says where.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(network(error.to_string())),
        };
        hash.update(&chunk[..length]);
        part.write(&chunk[..length])?;
        received += length as u64;
        progress(Progress { name: file.name, received: received.min(file.bytes), total: file.bytes });
    }
    if received != file.bytes {
        return Err(Error::Length { url: url.into(), expected: file.bytes, found: received });
    }
    file.check_digest(&hex(&hash.finalize()))?;
    part.keep(path)
}

/// A temporary file that is removed unless it is kept.
struct Partial {
    path: PathBuf,
    file: fs::File,
}

impl Partial {
    fn create(target: &Path) -> Result<Self, Error> {
        let mut name = target.as_os_str().to_owned();
        name.push(format!(".{}.part", std::process::id()));
        let path = PathBuf::from(name);
        let file = fs::File::create(&path).map_err(|source| Error::io(&path, source))?;
        Ok(Self { path, file })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes).map_err(|source| Error::io(&self.path, source))
    }

    fn keep(self, target: &Path) -> Result<(), Error> {
        self.file.sync_all().map_err(|source| Error::io(&self.path, source))?;
        fs::rename(&self.path, target).map_err(|source| Error::io(target, source))
    }
}

impl Drop for Partial {
    /// After `keep` there is nothing left under this name.
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
