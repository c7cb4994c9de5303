//! Hostile bytes: the entry points of all parsers, what they may take, and mutants that keep a container in order.
//!
//! The fuzz targets (`fuzz/`), the replay of their corpora and the mutants in the tests run the same functions.

pub mod files;
pub mod json;
pub mod mutate;
pub mod proto;

use crate::counting::peak;
use onnx_protobuf::{Message, ModelProto, TensorProto};
use pocketnn::ops::infer::ValueType;
use pocketnn::{DType, Graph, Model, Options, Tensor, format};
use pocketnn_importer::{ImportError, ImportOptions, Keras1Backend, Limits, import_bytes, onnx, tensorflow, tflite};

/// A parser, and how its input is mutated so that most mutants come past its outer shell.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Name of the fuzz target and of its corpus.
    pub name: &'static str,
    /// Runs the parser on these bytes and tells whether it accepts them; panics where it breaks its word.
    pub run: fn(&[u8]) -> bool,
    /// Makes a mutant: any seed, and a function that changes a run of bytes.
    pub mutate: mutate::Mutate,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "wire", run: wire, mutate: mutate::wire },
    Target { name: "onnx", run: onnx_model, mutate: mutate::proto },
    Target { name: "hdf5", run: keras, mutate: mutate::hdf5 },
    Target { name: "zip", run: keras, mutate: mutate::zip },
    Target { name: "tflite", run: tflite_model, mutate: mutate::plain },
    Target { name: "graphdef", run: graph_def, mutate: mutate::proto },
    Target { name: "bundle", run: bundle, mutate: mutate::bundle },
    Target { name: "pnn", run: pnn, mutate: mutate::pnn },
];

/// The target of this name.
pub fn target(name: &str) -> &'static Target {
    TARGETS.iter().find(|t| t.name == name).expect("a target")
}

/// What an import may cost here: small enough that a mutant is answered in milliseconds.
pub fn limits() -> Limits {
    Limits {
        max_file_bytes: 4 << 20,
        max_tensor_bytes: 4 << 20,
        max_total_bytes: 8 << 20,
        max_nodes: 5000,
        max_entries: 5000,
        max_text_bytes: 4 << 20,
        ..Limits::small()
    }
}

/// What a session may cost here.
const ARENA: usize = 8 << 20;

/// The most memory that an import or a session of `len` bytes may take within [`limits`]: what is decoded and what is read
/// (`max_total_bytes` each), constants computed from them, the arena, and a graph that grows with the file.
pub fn most_memory(len: usize) -> usize {
    (192 << 20) + 256 * len
}

/// Runs a target, holds it to its memory, and tells whether it accepts the bytes.
pub fn run(target: &Target, bytes: &[u8]) -> bool {
    let mut accepted = false;
    let taken = peak(|| accepted = (target.run)(bytes));
    let most = most_memory(bytes.len());
    assert!(taken <= most, "{}: {} bytes took {taken}, at most {most} are allowed", target.name, bytes.len());
    accepted
}

fn options() -> ImportOptions {
    ImportOptions {
        limits: limits(),
        keras1_backend: Some(Keras1Backend::TensorFlow),
        no_digest: true,
        ..ImportOptions::default()
    }
}

/// What the library promises of every answer: a graph is valid, an error has a text.
fn answered(answer: Result<Graph, ImportError>) -> bool {
    match &answer {
        Ok(graph) => graph.validate().expect("what is imported is valid"),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    answer.is_ok()
}

/// The first byte chooses the message. What the check admits, the decoder decodes within the memory that the check reckoned with.
fn wire(bytes: &[u8]) -> bool {
    const MOST: u64 = 1 << 20;
    let Some((&kind, bytes)) = bytes.split_first() else { return false };
    let limits = Limits { max_total_bytes: MOST, ..limits() };
    let checked = match kind & 1 {
        0 => onnx::check_model(bytes, &limits),
        _ => onnx::check_tensor(bytes, &limits),
    };
    if checked.is_err() {
        return false;
    }
    let taken = peak(|| match kind & 1 {
        0 => drop(ModelProto::parse_from_bytes(bytes)),
        _ => drop(TensorProto::parse_from_bytes(bytes)),
    });
    // A list that grows holds its old and its new place at once.
    assert!(taken <= 3 * MOST as usize, "decoding {} bytes took {taken}, the check admits {MOST}", bytes.len());
    true
}

fn onnx_model(bytes: &[u8]) -> bool {
    answered(onnx::import(bytes, None, &options()).map(|m| m.graph))
}

fn keras(bytes: &[u8]) -> bool {
    answered(import_bytes(bytes, &options()).map(|m| m.graph))
}

fn tflite_model(bytes: &[u8]) -> bool {
    answered(tflite::import(bytes, &options()).map(|m| m.graph))
}

fn graph_def(bytes: &[u8]) -> bool {
    answered(tensorflow::import_graph(bytes, &options()).map(|m| m.graph))
}

/// A SavedModel in one piece (see [`files::SavedModel`]), in a folder of its own.
fn bundle(bytes: &[u8]) -> bool {
    let Some(model) = files::SavedModel::read(bytes) else { return false };
    files::with_folder(|folder| {
        let variables = folder.join("variables");
        std::fs::write(variables.join("variables.index"), model.index).expect("a file of the index");
        std::fs::write(variables.join("variables.data-00000-of-00001"), model.data).expect("a file of the elements");
        answered(tensorflow::import_saved_model(model.graph, Some(folder), &options()).map(|m| m.graph))
    })
}

/// Reads, plans within a small arena, and runs what takes little arithmetic.
fn pnn(bytes: &[u8]) -> bool {
    let limits = format::Limits { file_bytes: 4 << 20, header_bytes: 1 << 20, nodes: 5000, tensors: 5000 };
    let graph = match format::read(bytes, &limits) {
        Ok(graph) => graph,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return false;
        }
    };
    graph.validate().expect("what was read is valid");
    let zeros: Option<Vec<Tensor>> = graph.inputs().iter().map(|&i| zero(graph.ty(i))).collect();
    let options = Options { max_arena_bytes: Some(ARENA), ..Options::default() };
    let Ok(mut session) = Model::new(graph).session(&options) else { return false };
    let Some(plan) = session.plan() else { return true };
    // How often a loop runs is the model's affair.
    let loops = plan.steps().iter().any(|s| s.op == "Loop");
    if loops || plan.steps().iter().fold(0u64, |sum, s| sum.saturating_add(s.macs)) > 1 << 20 {
        return true;
    }
    if let Some(zeros) = zeros {
        // An op may refuse values; that is an error, not a panic.
        let _ = session.run_tensors(&zeros);
    }
    true
}

/// Zeros of a type, symbolic dimensions 1. Nothing where that is large.
fn zero(ty: &ValueType) -> Option<Tensor> {
    if ty.dtype == DType::List {
        return Some(Tensor::list(Vec::new()));
    }
    let shape: Vec<usize> = ty.shape.iter().map(|d| d.known().unwrap_or(1)).collect();
    let small = shape.iter().try_fold(1usize, |a, &b| a.checked_mul(b)).is_some_and(|n| n < 1 << 20);
    if small { Tensor::zeros(ty.dtype, &shape).ok() } else { None }
}
