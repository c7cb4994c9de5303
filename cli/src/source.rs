//! Models from files: `.pnn`, or any source model, converted in memory.

use crate::failure::Failure;
use crate::output::Progress;
use pocketnn::passes::PassReport;
use pocketnn::{Bindings, Graph, Model, Options, Tuning, ValueId};
use pocketnn_importer::{ImportOptions, Keras1Backend, Keras3Backend, Provenance, Report};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Which model, and what its file leaves open.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct ModelArgs {
    /// A .pnn file, or a source model: .keras, .h5, a Keras JSON or a folder that holds it with its weights, .onnx, a TensorFlow
    /// SavedModel (the folder) or frozen graph (.pb)
    pub model: PathBuf,
    /// Weights of a Keras architecture JSON
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// Framework of a Keras 1 model whose file does not say it: theano or tensorflow
    #[arg(long, value_name = "BACKEND")]
    pub keras1_backend: Option<Keras1Backend>,
    /// Library that trained a Keras 3 model: tensorflow, jax or torch; decides where a channels-first bias goes
    #[arg(long, value_name = "BACKEND")]
    pub keras3_backend: Option<Keras3Backend>,
    /// Size of a symbolic dimension; may be repeated
    #[arg(long = "dim", value_name = "NAME=N", value_parser = dimension)]
    pub dims: Vec<(String, usize)>,
    /// Tensor inside the graph to feed instead of the inputs; may be repeated. The shape is for models that do not say it (? is unknown)
    #[arg(long, value_name = "NAME[=1x28x28x1]")]
    pub feed: Vec<String>,
    /// Tensor inside the graph to give instead of the outputs; may be repeated
    #[arg(long, value_name = "NAME")]
    pub fetch: Vec<String>,
    /// Signature of a TensorFlow SavedModel, where it has several
    #[arg(long, value_name = "NAME")]
    pub signature: Option<String>,
}

fn dimension(text: &str) -> Result<(String, usize), String> {
    let (name, n) = text.split_once('=').ok_or("expected NAME=N")?;
    Ok((name.to_string(), n.parse().map_err(|e| format!("`{n}`: {e}"))?))
}

/// A tensor to feed: its name, and its shape where one is given.
fn feed(text: &str) -> (String, Option<Vec<Option<usize>>>) {
    let shape =
        |list: &str| list.split('x').map(|n| if n == "?" { Some(None) } else { n.parse().ok().map(Some) }).collect();
    match text.rsplit_once('=') {
        Some((name, list)) => match shape(list) {
            Some(shape) => (name.to_string(), Some(shape)),
            None => (text.to_string(), None),
        },
        None => (text.to_string(), None),
    }
}

/// A model with what is known about where it came from.
pub struct Loaded {
    /// The network as it was imported, before optimisation, when it was asked for.
    pub imported: Option<Graph>,
    /// The model.
    pub model: Model,
    /// True when the file was a `.pnn` file.
    pub converted: bool,
    /// Warnings of the import.
    pub report: Report,
    /// Where a source model came from.
    pub provenance: Option<Provenance>,
    /// What the passes did.
    pub passes: Vec<PassReport>,
}

impl Loaded {
    /// Options with what was tuned for this model. A record that does not fit is named on standard error and left aside.
    pub fn session_options(&self, args: &ModelArgs) -> Options {
        let found = if self.converted { Tuning::load(&args.model) } else { Ok(None) };
        match found {
            Ok(Some(tuning)) => Options::default().tuning(tuning),
            Ok(None) => Options::default(),
            Err(e) => {
                eprintln!("warning: {e}");
                Options::default()
            }
        }
    }
}

impl ModelArgs {
    /// Sizes of symbolic dimensions.
    pub fn bindings(&self) -> Bindings {
        self.dims.iter().cloned().collect()
    }
    /// Names of the tensors to feed.
    fn feed_names(&self) -> Vec<String> {
        self.feed.iter().map(|f| feed(f).0).collect()
    }
    /// What the importer is told.
    pub fn options(&self) -> ImportOptions {
        ImportOptions {
            keras1_backend: self.keras1_backend,
            keras3_backend: self.keras3_backend,
            weights: self.weights.clone(),
            dims: self.bindings(),
            feed: self.feed_names(),
            feed_shapes: self.feed.iter().map(|f| feed(f)).filter_map(|(n, s)| Some((n, s?))).collect(),
            fetch: self.fetch.clone(),
            signature: self.signature.clone(),
            ..ImportOptions::default()
        }
    }
    /// Reads the model; a source model is imported and optimised.
    ///
    /// # Errors
    /// When it cannot be read or uses something that is not supported.
    pub fn load(&self) -> Result<Loaded, Failure> {
        self.read(Keep::Nothing)
    }
    /// As [`Self::load`]; of a source model the weights are brought into the form that kernels read, so that no second copy stays.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_packed(&self) -> Result<Loaded, Failure> {
        self.read(Keep::Packed)
    }
    /// As [`Self::load`], and keeps what was imported.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_with_source(&self) -> Result<Loaded, Failure> {
        self.read(Keep::Source)
    }
    fn read(&self, keep: Keep) -> Result<Loaded, Failure> {
        let _progress = Progress::unknown(&format!("reading {}", self.model.display()));
        let feed = self.feed_names();
        if is_pnn(&self.model)? {
            let opened = Model::open(&self.model)?;
            let graph = cut(opened.graph(), &feed, &self.fetch)?;
            let model = if self.feed.is_empty() && self.fetch.is_empty() && self.dims.is_empty() {
                opened
            } else {
                Model::new(bound(&graph, &self.bindings())?)
            };
            let (imported, report, passes) = (None, Report::default(), Vec::new());
            return Ok(Loaded { imported, model, converted: true, report, provenance: None, passes });
        }
        let options = ImportOptions { no_digest: keep == Keep::Packed, ..self.options() };
        let (source, feeds, fetches) = match pocketnn_importer::import(&self.model, &options) {
            // An importer that cannot begin or end inside a model gives all of it, which is cut then.
            Err(e) if matches!(e.location().attribute.as_deref(), Some("feed" | "fetch")) => {
                let options = ImportOptions { feed: Vec::new(), fetch: Vec::new(), ..options };
                (pocketnn_importer::import(&self.model, &options)?, feed.as_slice(), self.fetch.as_slice())
            }
            other => (other?, &[][..], &[][..]),
        };
        if !self.dims.is_empty() {
            // The importer binds what it is told of; only the model without sizes shows which names it has.
            let free =
                pocketnn_importer::import(&self.model, &ImportOptions { dims: BTreeMap::new(), ..self.options() });
            free.map_or(Ok(()), |m| check_names(&m.graph, &self.bindings()))?;
        }
        let graph = cut(&source.graph, feeds, fetches)?;
        let (report, provenance) = (source.report, Some(source.provenance));
        let imported = (keep == Keep::Source).then(|| graph.clone());
        let (mut optimized, passes) = pocketnn::passes::optimize(graph)?;
        if keep == Keep::Packed {
            optimized = pocketnn::plan::pack(optimized, &self.bindings())?;
        }
        Ok(Loaded { imported, model: Model::new(optimized), converted: false, report, provenance, passes })
    }
}

/// What is kept of a source model besides the optimised graph.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    Nothing,
    /// Nothing; weights are packed.
    Packed,
    /// The graph as it was imported.
    Source,
}

/// A safetensors file: eight bytes of length, then a JSON object. Whether it is ours, its reader says.
fn is_pnn(path: &Path) -> Result<bool, Failure> {
    if path.is_dir() {
        return Ok(false);
    }
    let file = std::fs::File::open(path).map_err(|e| Failure::file(path, &e))?;
    let size = file.metadata().map_err(|e| Failure::file(path, &e))?.len();
    let mut head = Vec::new();
    file.take(9).read_to_end(&mut head).map_err(|e| Failure::file(path, &e))?;
    let length = head.get(..8).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes);
    Ok(length.is_some_and(|n| n < size) && head.get(8) == Some(&b'{'))
}

/// Binds symbols of the graph.
fn bound(graph: &Graph, dims: &Bindings) -> Result<Graph, Failure> {
    check_names(graph, dims)?;
    if dims.is_empty() { Ok(graph.clone()) } else { Ok(graph.bind(dims)?) }
}

fn check_names(graph: &Graph, dims: &Bindings) -> Result<(), Failure> {
    let symbols: Vec<String> = graph.symbols().into_iter().collect();
    let Some(name) = dims.keys().find(|k| !symbols.contains(*k)) else { return Ok(()) };
    let known = if symbols.is_empty() { "none".to_string() } else { symbols.join(", ") };
    Err(Failure::usage(format!("the model has no symbolic dimension `{name}`; it has {known}")))
}

/// The part of a graph between some of its tensors.
fn cut(graph: &Graph, feed: &[String], fetch: &[String]) -> Result<Graph, Failure> {
    let named = |ids: &[ValueId], names: &[String]| {
        ids.len() == names.len()
            && ids.iter().zip(names).all(|(&i, n)| graph.value(i).name == bare(n) || graph.value(i).name == *n)
    };
    let done = (feed.is_empty() || named(graph.inputs(), feed)) && (fetch.is_empty() || named(graph.outputs(), fetch));
    if done {
        return Ok(graph.clone());
    }
    let feeds = feed.iter().map(|n| tensor(graph, n)).collect::<Result<Vec<_>, _>>()?;
    let mut fetches = fetch.iter().map(|n| tensor(graph, n)).collect::<Result<Vec<_>, _>>()?;
    if fetches.is_empty() {
        fetches = graph.outputs().to_vec();
    }
    Ok(graph.cut(&feeds, &fetches)?)
}

/// `x` of `x:0`.
fn bare(name: &str) -> &str {
    name.strip_suffix(":0").unwrap_or(name)
}

fn tensor(graph: &Graph, name: &str) -> Result<ValueId, Failure> {
    graph.find(name).or_else(|| graph.find(bare(name))).ok_or_else(|| {
        let wanted = bare(name).to_lowercase();
        let near: Vec<&str> = graph
            .values()
            .iter()
            .map(|v| v.name.as_str())
            .filter(|v| v.to_lowercase().contains(&wanted) || wanted.contains(&v.to_lowercase()))
            .take(5)
            .collect();
        let failure = Failure::usage(format!("the graph has no tensor `{name}`"));
        if near.is_empty() {
            failure.help("`pocketnn inspect` lists the names")
        } else {
            failure.help(format!("there are {}", near.join(", ")))
        }
    })
}
