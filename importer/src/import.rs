//! The front door: detects the format and hands the bytes to its importer.

use std::io::Read as _;
use std::path::Path;

use pocketnn::format::map::{Bytes, map_file};
use pocketnn::{Bindings, Graph};
use sha2::{Digest, Sha256};

use crate::detect::{Format, detect_bytes, detect_folder};
use crate::error::{ImportError, Result};
use crate::limits::Budget;
use crate::options::{ImportOptions, Provenance};
use crate::report::Report;
use crate::source::Source;
use crate::{keras, onnx, tensorflow, tflite};

/// A converted model.
#[derive(Debug)]
pub struct Imported {
    /// The network.
    pub graph: Graph,
    /// Warnings; nothing in it is unsupported.
    pub report: Report,
    /// Where it came from.
    pub provenance: Provenance,
}

/// Imports a file or folder of any supported format.
///
/// # Errors
/// When it cannot be read, is no model, breaks a rule of its format, passes a limit, or needs something that is not supported; then
/// [`ImportError::report`] lists all of it.
pub fn import(path: impl AsRef<Path>, options: &ImportOptions) -> Result<Imported> {
    let path = path.as_ref();
    let file = path.file_name().and_then(|n| n.to_str()).map(str::to_owned);
    let named = |imported: Imported| Imported {
        provenance: Provenance { file: file.clone(), ..imported.provenance },
        ..imported
    };
    let result = if path.is_dir() {
        match detect_folder(path)? {
            Format::KerasFolder => {
                let (json, weights) = keras::folder_parts(path)?;
                let options = ImportOptions { weights: options.weights.clone().or(Some(weights)), ..options.clone() };
                import_file(&json, &options)
            }
            Format::SavedModel if !path.join("saved_model.pb").is_file() => {
                Err(ImportError::unsupported("a SavedModel in text form is not imported")
                    .help("save it in binary form"))
            }
            Format::SavedModel => import_file(&path.join("saved_model.pb"), options),
            other => Err(not_imported(other)),
        }
    } else {
        import_file(path, options)
    };
    result.map(named).map_err(|e| e.in_file(path.display()))
}

/// Imports a model in memory. A model that refers to other files (external data, separate weights) needs [`import`].
///
/// # Errors
/// As [`import`].
pub fn import_bytes(bytes: &[u8], options: &ImportOptions) -> Result<Imported> {
    from_source(Source::memory(bytes), None, options)
}

fn import_file(path: &Path, options: &ImportOptions) -> Result<Imported> {
    let bytes = map(path, options)?;
    let format = detect_bytes(bytes.as_slice())?;
    if !matches!(format, Format::KerasZip | Format::KerasHdf5) {
        return from_source(Source::file(&bytes), path.parent(), options);
    }
    // Their weights are unpacked into memory of their own: pages of the file must not stay beside them.
    drop(bytes);
    without_signatures(format, options)?;
    let open = || std::fs::File::open(path).map_err(|e| ImportError::io(path.display(), &e));
    let model = keras::import(format, keras::Input::File(open()?), options)?;
    finished(format, (model.graph, model.report, model.producer), options, || {
        let mut digest = Sha256::new();
        add_file(&mut digest, path)?;
        Ok(hexadecimal(digest))
    })
}

/// A whole file within the limits, mapped: what is not needed is not read.
fn map(path: &Path, options: &ImportOptions) -> Result<Bytes> {
    let io = |e: std::io::Error| ImportError::io(path.display(), &e);
    let file = std::fs::File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    Budget::new(options.limits.clone()).file(length, "the file").map_err(|e| e.in_file(path.display()))?;
    if length == 0 { Ok(Bytes::zeroed(0)) } else { map_file(&file).map_err(io) }
}

/// A whole file within the limits.
pub(crate) fn read(path: &Path, options: &ImportOptions) -> Result<Vec<u8>> {
    let io = |e: std::io::Error| ImportError::io(path.display(), &e);
    let length = std::fs::metadata(path).map_err(io)?.len();
    Budget::new(options.limits.clone()).file(length, "the file").map_err(|e| e.in_file(path.display()))?;
    std::fs::read(path).map_err(io)
}

fn from_source(source: Source<'_>, folder: Option<&Path>, options: &ImportOptions) -> Result<Imported> {
    let bytes = source.bytes();
    let format = detect_bytes(bytes)?;
    without_signatures(format, options)?;
    let parts = match format {
        Format::Onnx => {
            let model = onnx::import_source(source, folder, options)?;
            (model.graph, model.report, model.producer)
        }
        Format::KerasZip | Format::KerasHdf5 | Format::KerasJson => {
            let model = keras::import(format, keras::Input::Bytes(bytes), options)?;
            (model.graph, model.report, model.producer)
        }
        Format::GraphDef => {
            let model = tensorflow::import_graph(bytes, options)?;
            (model.graph, model.report, model.producer)
        }
        Format::SavedModel => {
            let model = tensorflow::import_saved_model(bytes, folder, options)?;
            (model.graph, model.report, model.producer)
        }
        Format::TfLite => {
            let model = tflite::import_source(source, options)?;
            (model.graph, model.report, model.producer)
        }
        other => return Err(not_imported(other)),
    };
    finished(format, parts, options, || digest(format, source, folder))
}

/// Only a SavedModel has signatures to choose from.
fn without_signatures(format: Format, options: &ImportOptions) -> Result<()> {
    match &options.signature {
        Some(name) if format != Format::SavedModel => {
            Err(ImportError::invalid(format!("{format} has no signatures; those of a SavedModel can be chosen"))
                .found(name)
                .at_attribute("signature"))
        }
        _ => Ok(()),
    }
}

/// The sizes of symbolic dimensions bound, and the provenance beside the graph.
fn finished(
    format: Format,
    (graph, report, producer): (Graph, Report, Option<String>),
    options: &ImportOptions,
    digest: impl FnOnce() -> Result<String>,
) -> Result<Imported> {
    let bindings: Bindings = options.dims.iter().map(|(k, v)| (k.clone(), *v)).collect();
    let graph = if bindings.is_empty() || matches!(format, Format::Onnx | Format::GraphDef | Format::SavedModel) {
        graph
    } else {
        graph.bind(&bindings)?
    };
    let sha256 = if options.no_digest { String::new() } else { digest()? };
    Ok(Imported { graph, report, provenance: Provenance { format, producer, file: None, sha256 } })
}

/// The digest as it is written in files.
pub(crate) fn hexadecimal(digest: Sha256) -> String {
    digest.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

fn add_file(digest: &mut Sha256, path: &Path) -> Result<()> {
    let io = |e: std::io::Error| ImportError::io(path.display(), &e);
    let mut file = std::fs::File::open(path).map_err(io)?;
    let mut part = vec![0; 1 << 16];
    loop {
        let n = file.read(&mut part).map_err(io)?;
        match part.get(..n) {
            Some([]) | None => return Ok(()),
            Some(read) => digest.update(read),
        }
    }
}

/// SHA-256 of the source: of the file, or of a SavedModel's graph and then its variables, file by file in the order of their names.
fn digest(format: Format, source: Source<'_>, folder: Option<&Path>) -> Result<String> {
    let mut digest = Sha256::new();
    for part in source.bytes().chunks(1 << 20) {
        digest.update(part);
        source.done(part);
    }
    if let (Format::SavedModel, Some(folder)) = (format, folder.map(|f| f.join("variables"))) {
        let io = |path: &Path, e: &std::io::Error| ImportError::io(path.display(), e);
        let mut files = Vec::new();
        // A model without variables may be without the folder.
        if folder.is_dir() {
            for entry in std::fs::read_dir(&folder).map_err(|e| io(&folder, &e))? {
                files.push(entry.map_err(|e| io(&folder, &e))?.path());
            }
        }
        files.retain(|f| f.file_name().is_some_and(|n| n.to_string_lossy().starts_with("variables.")));
        files.sort();
        files.iter().try_for_each(|path| add_file(&mut digest, path))?;
    }
    Ok(hexadecimal(digest))
}

fn not_imported(format: Format) -> ImportError {
    let error = ImportError::unsupported(format!("{format} is recognised but not imported"));
    match format {
        Format::Pnn => error.help("it is converted already; run it as it is"),
        Format::Safetensors => {
            error.help("it holds weights without a network; build the graph in Rust and load them by name")
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn recognised_formats_say_what_to_do_instead() {
        let error = import_bytes(b"\x02\0\0\0\0\0\0\0{}", &ImportOptions::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.help_text().is_some());
    }

    #[test]
    fn missing_files_are_io_errors_that_name_the_file() {
        let error = import("/nonexistent/model.keras", &ImportOptions::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(error.to_string().contains("/nonexistent/model.keras"));
    }
}
