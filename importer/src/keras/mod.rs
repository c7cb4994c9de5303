//! Keras 1, 2 and 3: whole-model HDF5, archives, and architecture JSON with weights.

mod activation;
mod archive;
mod attention;
mod call;
mod config;
mod conv;
mod dense;
mod hdf5;
mod lower;
mod merge;
mod model;
mod names;
mod norm;
mod ops;
mod pool;
mod preprocess;
mod recurrent;
mod resize;
mod rows;
mod shape;
mod tf_ops;
mod weights;
mod wrapper;

use std::path::{Path, PathBuf};

use crate::error::{ImportError, Result};

/// The architecture and weights files of a folder that holds both.
pub(crate) fn folder_parts(folder: &Path) -> Result<(PathBuf, PathBuf)> {
    let mut json = Vec::new();
    let mut weights = Vec::new();
    let entries = std::fs::read_dir(folder).map_err(|e| ImportError::io(folder.display(), &e))?;
    for entry in entries {
        let path = entry.map_err(|e| ImportError::io(folder.display(), &e))?.path();
        match path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase).as_deref() {
            Some("json") => json.push(path),
            Some("h5" | "hdf5" | "keras") => weights.push(path),
            _ => {}
        }
    }
    json.retain(|p| p.file_name().is_some_and(|n| n != "metadata.json"));
    match (json.as_slice(), weights.as_slice()) {
        ([json], [weights]) => Ok((json.clone(), weights.clone())),
        _ => Err(ImportError::invalid("the folder is ambiguous")
            .expected("one architecture .json and one weights file (.h5 or .hdf5)")
            .found(format!("{} and {}", json.len(), weights.len()))
            .in_file(folder.display())
            .help("name the JSON file and give the weights with --weights")),
    }
}
