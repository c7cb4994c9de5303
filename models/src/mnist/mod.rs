//! The MNIST images of handwritten digits (LeCun, Cortes, Burges): where they are, reading them, fetching them.
//!
//! [`locate`] looks for a folder, [`Dataset::read`] parses its IDX files (plain or gzip), and `download` (feature
//! `download`) fetches the four originals and keeps a file only if its SHA-256 is the published one.
//!
//! ```no_run
//! use pocketnn_models::mnist::{Dataset, Split, locate};
//!
//! let folder = locate(None)?;
//! let test = Dataset::read(&folder, Split::Test)?;
//! println!("{} images, the first is a {}", test.len(), test.labels()[0]);
//! # Ok::<(), pocketnn_models::mnist::Error>(())
//! ```

#[cfg(feature = "download")]
mod download;
mod error;
mod idx;

use std::path::{Path, PathBuf};

#[cfg(feature = "download")]
pub use download::{MIRRORS, Progress, download, download_files};
pub use error::Error;
pub use idx::{parse_images, parse_labels};

use sha2::{Digest, Sha256};

/// Environment variable that names the folder of the MNIST files.
pub const DIR_VARIABLE: &str = "MNIST_DIR";

/// Height and width of an image in pixels.
pub const SIDE: usize = 28;

/// One published file: a gzip stream of an IDX array of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File<'a> {
    /// File name, the same on every mirror.
    pub name: &'a str,
    /// Length of the gzip file in bytes.
    pub bytes: u64,
    /// SHA-256 of the gzip file, in lower-case hexadecimal.
    pub sha256: &'a str,
}

impl File<'_> {
    /// Whether `content` is this file, byte for byte.
    ///
    /// # Errors
    /// [`Error::Checksum`] with both digests.
    pub fn check(&self, content: &[u8]) -> Result<(), Error> {
        self.check_digest(&hex(&Sha256::digest(content)))
    }

    fn check_digest(&self, found: &str) -> Result<(), Error> {
        if found == self.sha256 {
            return Ok(());
        }
        Err(Error::Checksum { name: self.name.into(), expected: self.sha256.into(), found: found.into() })
    }
}

fn hex(digest: &[u8]) -> String {
    use std::fmt::Write;
    digest.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The four published files.
pub const FILES: [File<'static>; 4] = [
    File {
        name: "train-images-idx3-ubyte.gz",
        bytes: 9_912_422,
        sha256: "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    },
    File {
        name: "train-labels-idx1-ubyte.gz",
        bytes: 28_881,
        sha256: "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    },
    File {
        name: "t10k-images-idx3-ubyte.gz",
        bytes: 1_648_877,
        sha256: "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    },
    File {
        name: "t10k-labels-idx1-ubyte.gz",
        bytes: 4_542,
        sha256: "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    },
];

/// Which images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// 60,000 images.
    Train,
    /// 10,000 images by other writers.
    Test,
}

impl Split {
    /// Names of the image and the label file, without `.gz`.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Split::Train => ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
            Split::Test => ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
        }
    }
}

/// Images and their labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    images: Vec<u8>,
    labels: Vec<u8>,
}

impl Dataset {
    /// Reads one split from `folder`; each file may be plain or end in `.gz`.
    ///
    /// # Errors
    /// [`Error::Io`] for a file that is missing or can't be read, [`Error::Format`] for one that isn't an IDX file of
    /// 28x28 images or of labels 0 to 9, and for two files of different lengths.
    pub fn read(folder: &Path, split: Split) -> Result<Self, Error> {
        let (image_name, label_name) = split.names();
        let images = idx::read(folder, image_name, parse_images)?;
        let labels = idx::read(folder, label_name, parse_labels)?;
        let count = images.len() / (SIDE * SIDE);
        if count != labels.len() {
            return Err(Error::format(
                folder,
                4,
                format!("{count} labels, one an image"),
                format!("{} labels", labels.len()),
            ));
        }
        Ok(Self { images, labels })
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// All images, `[N, 28, 28]`, ink is 255.
    pub fn images(&self) -> &[u8] {
        &self.images
    }

    /// The digits, `[N]`.
    pub fn labels(&self) -> &[u8] {
        &self.labels
    }

    /// Image `index`, `[28, 28]`, if there is one.
    pub fn image(&self, index: usize) -> Option<&[u8]> {
        self.images.chunks_exact(SIDE * SIDE).nth(index)
    }
}

/// The folder that holds MNIST's test images.
///
/// `argument` (the command line's `--data`) is the only place looked at when it is given. Otherwise `$MNIST_DIR` and then
/// `../shared/data/mnist` as seen from the working directory, from each folder above it, and from this workspace.
///
/// # Errors
/// [`Error::NotFound`] with every folder that was looked at.
pub fn locate(argument: Option<&Path>) -> Result<PathBuf, Error> {
    let searched = match argument {
        Some(folder) => vec![folder.to_path_buf()],
        None => default_places(),
    };
    let found = searched.iter().find(|folder| holds_test_images(folder)).cloned();
    found.ok_or(Error::NotFound { searched })
}

fn default_places() -> Vec<PathBuf> {
    let variable = std::env::var_os(DIR_VARIABLE).filter(|v| !v.is_empty()).map(PathBuf::from);
    let working = std::env::current_dir().unwrap_or_default();
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf);
    let roots = working.ancestors().map(Path::to_path_buf).chain(workspace);
    let mut places: Vec<PathBuf> = variable.into_iter().collect();
    for place in roots.filter_map(|root| Some(root.parent()?.join("shared/data/mnist"))) {
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places
}

fn holds_test_images(folder: &Path) -> bool {
    let (images, _) = Split::Test.names();
    folder.join(images).is_file() || folder.join(format!("{images}.gz")).is_file()
}
