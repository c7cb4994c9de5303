//! Keras 1, 2 and 3: whole-model HDF5, archives, and architecture JSON with weights.
//!
//! ```text
//! archive / hdf5 -> model (layer graph of any version) -> weights (arrays by layer) -> lower -> family files
//! ```
//!
//! A family file holds its rows (classes, arrays, function) and the functions. To support a layer, write its row and function; nothing
//! else changes. A function sees a [`call::Cx`]: arguments, configuration (a field that nobody read is an error) and weights.

#![allow(clippy::unnecessary_wraps, reason = "functions of a table share one type")]

mod activation;
mod archive;
mod attention;
mod call;
mod config;
mod conv;
mod dense;
mod front;
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
mod refused;
mod resize;
mod rows;
mod shape;
pub(crate) mod support;
mod tf_ops;
mod weights;
mod wrapper;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{BufReader, Read, Seek};
use std::path::{Path, PathBuf};

use pocketnn::{Graph, GraphBuilder, ValueId};
use serde_json::Value;

use archive::Archive;
use hdf5::File;
use lower::{DisplacedBias, Kernels, Lowering};
use model::{Layer, Model};

use crate::detect::Format;
use crate::error::{ImportError, Result};
use crate::limits::Budget;
use crate::options::{ImportOptions, Keras1Backend, Keras3Backend};
use crate::report::Report;

/// An imported model.
#[derive(Debug)]
pub struct Imported {
    /// The network.
    pub graph: Graph,
    /// Warnings; nothing in it is unsupported.
    pub report: Report,
    /// Writer of the file, as far as it says.
    pub producer: Option<String>,
}

/// What a file says about its writer.
#[derive(Clone, Debug, Default)]
struct Writer {
    version: Option<String>,
    backend: Option<String>,
}

/// Imports an archive, an HDF5 file or an architecture JSON.
pub(crate) fn import(format: Format, input: Input, options: &ImportOptions) -> Result<Imported> {
    let budget = Budget::new(options.limits.clone());
    match (format, input) {
        (Format::KerasZip, Input::Bytes(bytes)) => archive(Archive::open(bytes, &budget)?, options, &budget),
        (Format::KerasZip, Input::File(file)) => {
            archive(Archive::read(BufReader::new(file), &budget)?, options, &budget)
        }
        (Format::KerasHdf5, input) => whole_hdf5(input.whole()?, options, &budget),
        (_, input) => architecture(&input.whole()?, options, &budget),
    }
}

/// What a model is read from. A file is read as far as needed, so that it is not in memory beside the weights.
pub(crate) enum Input<'a> {
    /// Bytes in memory.
    Bytes(&'a [u8]),
    /// A file whose length is within the limits.
    File(std::fs::File),
}

impl Input<'_> {
    fn whole(self) -> Result<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.to_vec()),
            Self::File(mut file) => {
                let mut bytes = Vec::new();
                let read = file.metadata().and_then(|m| {
                    let length = usize::try_from(m.len()).unwrap_or(usize::MAX);
                    bytes.try_reserve_exact(length).map_err(|_| std::io::ErrorKind::OutOfMemory)?;
                    file.read_to_end(&mut bytes)
                });
                read.map_err(|e| ImportError::io("the model", &e))?;
                Ok(bytes)
            }
        }
    }
}

fn archive<R: Read + Seek>(mut archive: Archive<'_, R>, options: &ImportOptions, budget: &Budget) -> Result<Imported> {
    let config = json(&archive.text("config.json")?).map_err(|e| e.in_file("config.json"))?;
    let mut writer = Writer::default();
    if archive.has("metadata.json") {
        let metadata = json(&archive.text("metadata.json")?).map_err(|e| e.in_file("metadata.json"))?;
        writer.version = metadata.get("keras_version").and_then(Value::as_str).map(str::to_owned);
    }
    if !archive.has("model.weights.h5") && archive.has("model.weights.npz") {
        return Err(ImportError::unsupported("weights as npz").help("save the model in Keras's default format"));
    }
    let weights = archive.bytes("model.weights.h5")?;
    let file = File::open(weights, budget).map_err(|e| e.in_file("model.weights.h5"))?;
    let vocabularies = archive.texts(|name| name.starts_with("assets/") && name.ends_with("/vocabulary.txt"))?;
    convert(&config, Some(&file), &vocabularies, &writer, options, budget)
}

fn whole_hdf5(bytes: Vec<u8>, options: &ImportOptions, budget: &Budget) -> Result<Imported> {
    let file = File::open(bytes, budget)?;
    let Some(config) = file.text("/", "model_config")? else {
        return Err(ImportError::invalid("the HDF5 file holds weights without an architecture")
            .help("give the architecture JSON as the model and this file as --weights, or put both into one folder"));
    };
    let config = json(&config).map_err(|e| e.at_attribute("model_config"))?;
    let writer = hdf5_writer(&file)?;
    convert(&config, Some(&file), &BTreeMap::new(), &writer, options, budget)
}

fn hdf5_writer(file: &File<'_>) -> Result<Writer> {
    let mut writer = Writer::default();
    let root = if file.has_group("model_weights") { vec!["/", "model_weights"] } else { vec!["/"] };
    for group in root {
        writer.version = writer.version.or(file.text(group, "keras_version")?);
        writer.backend = writer.backend.or(file.text(group, "backend")?).or(file.text(group, "keras_backend")?);
    }
    Ok(writer)
}

fn architecture(bytes: &[u8], options: &ImportOptions, budget: &Budget) -> Result<Imported> {
    budget.text(bytes.len() as u64, "the architecture")?;
    let text =
        std::str::from_utf8(bytes).map_err(|e| ImportError::format("not UTF-8").at_offset(e.valid_up_to() as u64))?;
    let config = json(text.trim_start_matches('\u{feff}'))?;
    if config.get("class_name").is_none() {
        return Err(ImportError::format("JSON, but not the architecture of a Keras model")
            .expected("an object with `class_name` and `config`"));
    }
    let Some(path) = &options.weights else {
        return Err(ImportError::invalid("an architecture without weights")
            .help("give the weights file with --weights, or a folder that holds both"));
    };
    let weights = crate::import::read(path, options)?;
    let place = |e: ImportError| e.in_file(path.display());
    let weights = if weights.starts_with(b"PK") {
        Archive::open(&weights, budget).and_then(|mut a| a.bytes("model.weights.h5")).map_err(place)?
    } else {
        weights
    };
    let file = File::open(weights, budget).map_err(place)?;
    let mut writer = hdf5_writer(&file).map_err(place)?;
    let text = |key: &str| config.get(key).and_then(Value::as_str).map(str::to_owned);
    writer.version = text("keras_version").or(writer.version);
    writer.backend = writer.backend.or(text("backend"));
    convert(&config, Some(&file), &BTreeMap::new(), &writer, options, budget)
}

fn json(text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|e| ImportError::format(format!("not valid JSON: {e}")))
}

/// Keras's major version: as the file says, else by the vocabulary of the architecture.
fn major(writer: &Writer, config: &Value) -> u8 {
    if let Some(digit) = writer.version.as_deref().and_then(|v| v.chars().next()).and_then(|c| c.to_digit(10)) {
        return u8::try_from(digit.clamp(1, 3)).unwrap_or(3);
    }
    let text = config.to_string();
    let any = |words: &[&str]| words.iter().any(|w| text.contains(w));
    if any(&["\"__keras_tensor__\"", "\"batch_shape\"", "\"DTypePolicy\""]) {
        3
    } else if any(&["\"border_mode\"", "\"nb_filter\"", "\"inner_activation\"", "\"input_dtype\"", "\"W_regularizer\""])
    {
        1
    } else {
        2
    }
}

fn kernels(writer: &Writer, version: u8, options: &ImportOptions) -> Kernels {
    match (writer.backend.as_deref(), options.keras1_backend) {
        (Some("theano"), _) => Kernels::Flipped,
        (Some(_), _) => Kernels::Plain,
        (None, Some(Keras1Backend::Theano)) if version <= 2 => Kernels::Flipped,
        (None, None) if version == 1 => Kernels::Unknown,
        (None, _) => Kernels::Plain,
    }
}

/// Whether `keras.ops.add` under this file takes a bias for one of the last axis where the extents allow it: TensorFlow's does since
/// Keras 3.7, as it hands the sum to `tf.nn.bias_add`.
fn displaced_bias(writer: &Writer, version: u8, options: &ImportOptions) -> DisplacedBias {
    let mut parts = writer.version.as_deref().unwrap_or_default().split('.').map(str::parse::<u32>);
    let since = match (parts.next(), parts.next()) {
        (Some(Ok(3)), Some(Ok(minor))) => minor >= 7,
        _ => writer.version.is_none() && version == 3,
    };
    let other = writer.backend.as_deref().is_some_and(|b| b != "tensorflow");
    match options.keras3_backend {
        _ if !since || other => DisplacedBias::Never,
        None => DisplacedBias::Spatial3,
        Some(Keras3Backend::TensorFlow) => DisplacedBias::Always,
        Some(_) => DisplacedBias::Never,
    }
}

fn convert(
    config: &Value,
    file: Option<&File<'_>>,
    vocabularies: &BTreeMap<String, String>,
    writer: &Writer,
    options: &ImportOptions,
    budget: &Budget,
) -> Result<Imported> {
    if !options.feed.is_empty() {
        return Err(ImportError::unsupported("other inputs than the model's own").at_attribute("feed"));
    }
    let version = major(writer, config);
    let mut model = Model::parse(config, version, 0, budget)?;
    model.attach(&options.layers);
    weights::read_vocabularies(&mut model, "assets/layers", vocabularies);
    let weights = match file {
        Some(file) => {
            weights::assign(&model, file, |l: &Layer| rows::slots(l, version)).map_err(|e| refused(&model, e))?
        }
        None => Vec::new(),
    };
    let b = GraphBuilder::new(&model.name);
    let kernels = kernels(writer, version, options);
    let displaced_bias = displaced_bias(writer, version, options);
    let mut lowering = Lowering {
        b,
        file,
        budget,
        version,
        kernels,
        displaced_bias,
        report: Report::default(),
        refused: BTreeSet::new(),
        named: HashMap::new(),
    };
    let inputs = lowering.inputs(&model).map_err(|e| refused(&model, e))?;
    let outputs = lowering.model(&model, &weights, &inputs, "").map_err(|e| refused(&model, e))?;
    refuse_unknown(&model, "", &mut lowering.report, &lowering.refused);
    lowering.report.check()?;
    let outputs = outputs.ok_or_else(|| ImportError::invalid("an output is not computed"))?;
    let outputs = chosen(&lowering, options, outputs.iter().map(|v| v.id).collect())?;
    let sources: Vec<ValueId> = inputs.iter().map(|v| v.id).collect();
    let mut graph = finish(lowering.b, &sources, &outputs)?;
    if let Some(p) = front::preprocessing(&model) {
        graph.meta.insert("preprocessing".to_owned(), p.to_json());
    }
    let producer = writer.version.as_ref().map(|v| format!("keras {v}"));
    Ok(Imported { graph, report: lowering.report, producer })
}

/// The list of refused layers, where there are some, goes before another error.
fn refused(model: &Model, error: ImportError) -> ImportError {
    let mut report = Report::default();
    refuse_unknown(model, "", &mut report, &BTreeSet::new());
    report.check().err().unwrap_or(error)
}

/// Layers without a lowering that were not met: those whose inputs are not supported, and those that no output needs.
fn refuse_unknown(model: &Model, prefix: &str, report: &mut Report, met: &BTreeSet<String>) {
    for layer in &model.layers {
        let name = format!("{prefix}{}", layer.name);
        if let Some(error) = lower::refusal(layer).filter(|_| !met.contains(&name)) {
            report.add_unsupported(&error.at_op(&layer.original).at_node(&name));
        }
        if let Some(inner) = &layer.model {
            refuse_unknown(inner, &format!("{name}/"), report, met);
        }
    }
}

fn chosen(lowering: &Lowering<'_>, options: &ImportOptions, own: Vec<ValueId>) -> Result<Vec<ValueId>> {
    if options.fetch.is_empty() {
        return Ok(own);
    }
    let find = |name: &String| {
        lowering
            .named
            .get(name)
            .copied()
            .ok_or_else(|| ImportError::invalid("no layer of this name to fetch").found(name).at_attribute("fetch"))
    };
    options.fetch.iter().map(find).collect()
}

/// Marks the outputs. An input, a constant or a value that is an output already gets a node of its own.
fn finish(mut b: GraphBuilder, inputs: &[ValueId], outputs: &[ValueId]) -> Result<Graph> {
    let mut seen = inputs.to_vec();
    for &id in outputs {
        let copy = seen.contains(&id) || b.fact(id).constant.is_some();
        let id = if copy { b.op(pocketnn::ops::movement::Identity {}, &[id], "output")? } else { id };
        seen.push(id);
        b.output(id);
    }
    Ok(b.finish()?)
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whether_kernels_are_flipped_comes_from_the_file_or_the_caller() {
        let decide = |backend: Option<&str>, version: u8, option: Option<Keras1Backend>| {
            let writer = Writer { version: None, backend: backend.map(str::to_owned) };
            kernels(&writer, version, &ImportOptions { keras1_backend: option, ..ImportOptions::default() })
        };
        assert_eq!(decide(Some("theano"), 2, None), Kernels::Flipped);
        assert_eq!(decide(Some("tensorflow"), 1, Some(Keras1Backend::Theano)), Kernels::Plain);
        assert_eq!(decide(None, 1, Some(Keras1Backend::Theano)), Kernels::Flipped);
        assert_eq!(decide(None, 1, Some(Keras1Backend::TensorFlow)), Kernels::Plain);
        assert_eq!(decide(None, 1, None), Kernels::Unknown);
        assert_eq!(decide(None, 2, None), Kernels::Plain);
    }

    #[test]
    fn where_a_bias_goes_follows_version_and_backend() {
        let decide = |keras: Option<&str>, backend: Option<&str>, option: Option<Keras3Backend>| {
            let writer = Writer { version: keras.map(str::to_owned), backend: backend.map(str::to_owned) };
            displaced_bias(&writer, 3, &ImportOptions { keras3_backend: option, ..ImportOptions::default() })
        };
        assert_eq!(decide(Some("3.6.0"), None, Some(Keras3Backend::TensorFlow)), DisplacedBias::Never);
        assert_eq!(decide(Some("2.15.0"), None, None), DisplacedBias::Never);
        assert_eq!(decide(Some("3.15.1"), None, None), DisplacedBias::Spatial3);
        assert_eq!(decide(None, None, None), DisplacedBias::Spatial3);
        assert_eq!(decide(Some("3.7.0"), Some("tensorflow"), Some(Keras3Backend::TensorFlow)), DisplacedBias::Always);
        assert_eq!(decide(Some("3.15.1"), None, Some(Keras3Backend::Torch)), DisplacedBias::Never);
        assert_eq!(decide(Some("3.15.1"), Some("jax"), None), DisplacedBias::Never);
    }

    #[test]
    fn the_version_is_told_by_the_file_or_by_its_words() {
        let of = |version: Option<&str>, config: &str| {
            let writer = Writer { version: version.map(str::to_owned), backend: None };
            major(&writer, &json(config).unwrap())
        };
        assert_eq!(of(Some("2.2.4-tf"), "{}"), 2);
        assert_eq!(of(Some("1.0.8"), "{}"), 1);
        assert_eq!(of(None, r#"{"a": [{"batch_shape": []}]}"#), 3);
        assert_eq!(of(None, r#"{"nb_filter": 3}"#), 1);
        assert_eq!(of(None, r#"{"filters": 3}"#), 2);
    }
}
