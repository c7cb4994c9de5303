//! Convolutional networks run without a transposition, in whatever order of axes they were written: our own models in every format,
//! and those of other people where they are at hand.
//!
//! Others' networks are model files in the folders that the variable `POCKETNN_NETWORKS` names (separated as in `PATH`), or in
//! `../shared/networks`. Without them that part is reported as ignored.

use pocketnn::{Graph, Model, Op, Options, passes};
use pocketnn_importer::{ImportOptions, import};
use pocketnn_tests::networks::{lenet, mobilenet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Fewer convolutions are a test of an op, not a network.
const CONVOLUTIONS: usize = 3;

/// What is wrong with the plan of a network, if anything.
fn moved(graph: Graph) -> Result<(), String> {
    let graph = passes::optimize(graph).map_err(|e| e.to_string())?.0;
    let session = Model::new(graph).session(&Options::default()).map_err(|e| e.to_string())?;
    let plan = session.plan().ok_or("its shapes are decided while running")?;
    let moves = plan.steps().iter().filter(|s| s.transpose);
    let names: Vec<String> = moves.map(|s| format!("{} `{}` {:?}", s.op, s.name, s.shape)).collect();
    if names.is_empty() && plan.transposes() == 0 { Ok(()) } else { Err(format!("transposes: {}", names.join(", "))) }
}

fn is_model(path: &Path) -> bool {
    path.extension().and_then(|e| e.to_str()).is_some_and(|e| ["onnx", "keras", "h5", "tflite", "pb"].contains(&e))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut all: Vec<PathBuf> = entries.map(|e| e.path()).filter(|p| is_model(p)).collect();
    all.sort();
    all
}

/// The folders of others' networks.
fn folders() -> Vec<PathBuf> {
    match std::env::var_os("POCKETNN_NETWORKS") {
        Some(list) => std::env::split_paths(&list).collect(),
        None => vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/networks")],
    }
}

struct Outcome {
    ran: usize,
    failed: usize,
}

impl Outcome {
    fn check(&mut self, name: &str, result: Result<(), String>) {
        self.ran += 1;
        match result {
            Ok(()) => println!("test {name} ... ok"),
            Err(e) => {
                self.failed += 1;
                println!("test {name} ... FAILED: {e}");
            }
        }
    }
}

fn main() -> ExitCode {
    let mut all = Outcome { ran: 0, failed: 0 };
    for (name, graph) in [("built lenet", lenet()), ("built mobilenet", mobilenet())] {
        all.check(name, graph.map_err(|e| e.to_string()).and_then(moved));
    }
    let own = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/mnist"));
    let options = ImportOptions::default();
    let mut imported = 0;
    for path in own {
        // A format that is not imported is the importer's to say.
        let Ok(model) = import(&path, &options) else { continue };
        imported += 1;
        all.check(&path.display().to_string(), moved(model.graph));
    }
    all.check("our own models are there", if imported >= 2 { Ok(()) } else { Err(format!("found {imported}")) });
    let others: Vec<PathBuf> = folders().iter().flat_map(|f| files(f)).collect();
    if others.is_empty() {
        println!("test networks of others ... ignored, none in {:?}; name folders in POCKETNN_NETWORKS", folders());
    }
    for path in others {
        let Ok(model) = import(&path, &options) else { continue };
        let convolutions = model.graph.nodes().iter().filter(|n| matches!(n.op, Op::Conv(_))).count();
        if convolutions >= CONVOLUTIONS {
            all.check(&path.display().to_string(), moved(model.graph));
        }
    }
    println!("{} checked, {} failed", all.ran, all.failed);
    if all.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
