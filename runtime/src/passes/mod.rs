//! Making a graph smaller and faster without changing what it computes.
//!
//! [`optimize`] runs the stages of one ordered list, each to a fixed point. The first stage undoes what exporters and importers
//! add: no-ops, shape arithmetic, transposes, activations and normalisations spelled out in small ops, scales and shifts that fit
//! into weights. The second fuses what a kernel does in its epilogue. The third turns what is left of transposes that move
//! nothing into reshapes.
//!
//! Rules every pass keeps:
//! - Results agree up to rounding; weights are folded in `f64`, and only where the folded ones are finite.
//! - Finite inputs that gave finite results still do.
//! - A value that is still there keeps its name and its elements. A value that is stored with permuted axes is called
//!   `name@perm` ([`permuted_name`]), so that it can still be compared with the source's.
//! - Symbolic dimensions stay symbolic; nothing asks for a number it does not need.

mod activation;
mod affine;
mod channels;
mod cuts;
mod dedup;
mod edit;
mod fold;
mod fuse;
mod gelu;
mod global;
mod identity;
mod look;
mod mixture;
mod norm;
mod pad;
mod product;
mod prune;
mod reshape;
mod scale;
mod shuffle;
mod storage;
mod transpose;

pub use transpose::{permuted_name, permuted_source};

use crate::{Graph, Result};
use edit::Editor;

/// What a pass did in all its rounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassReport {
    /// Name of the pass.
    pub pass: &'static str,
    /// Nodes or values it changed, in the order in which it did; one may come more than once.
    pub changed: Vec<String>,
}

impl PassReport {
    /// Number of changes.
    pub fn count(&self) -> usize {
        self.changed.len()
    }
    /// `{"pass", "count", "changed"}`, with at most `limit` names.
    pub fn to_json(&self, limit: usize) -> serde_json::Value {
        let names: Vec<&String> = self.changed.iter().take(limit).collect();
        serde_json::json!({ "pass": self.pass, "count": self.count(), "changed": names })
    }
}

type Pass = (&'static str, fn(&mut Editor));

/// The list: stages in order, in each the passes in order.
const STAGES: &[&[Pass]] = &[
    &[
        ("prune", prune::run),
        ("storage", storage::run),
        ("fold_constants", fold::run),
        ("dedup", dedup::run),
        ("reshape", reshape::run),
        ("identity", identity::run),
        ("product", product::run),
        ("pixel_shuffle", shuffle::run),
        ("channels", channels::run),
        ("cuts", cuts::run),
        ("transpose", transpose::run),
        ("activation", activation::run),
        ("gelu", gelu::run),
        ("norm", norm::run),
        ("scale", scale::run),
        ("affine", affine::run),
        ("pad", pad::run),
        ("global_pool", global::run),
        ("mixture", mixture::run),
    ],
    &[("fuse_residual", fuse::residual), ("fuse_activation", fuse::activation)],
    &[
        ("transpose_to_reshape", transpose::to_reshape),
        ("reshape", reshape::run),
        ("identity", identity::run),
        ("dedup", dedup::run),
        ("prune", prune::run),
    ],
];

/// Rounds of a stage: each round lets one pass build on another; real networks need about three.
const ROUNDS: usize = 16;

/// The same network, smaller and faster, and what each pass did.
///
/// # Errors
/// When the result is not a valid graph, which is a defect of a pass; the message names the place.
pub fn optimize(graph: Graph) -> Result<(Graph, Vec<PassReport>)> {
    let mut editor = Editor::new(graph);
    let mut reports: Vec<PassReport> = Vec::new();
    for stage in STAGES {
        for _ in 0..ROUNDS {
            let mut changes = 0;
            for &(name, run) in *stage {
                run(&mut editor);
                let changed = editor.take_log();
                changes += changed.len();
                #[cfg(debug_assertions)]
                editor.snapshot().validate().map_err(|e| e.at(|| format!("after pass `{name}`")))?;
                match reports.iter_mut().find(|r| r.pass == name) {
                    Some(r) => r.changed.extend(changed),
                    None => reports.push(PassReport { pass: name, changed }),
                }
            }
            if changes == 0 {
                break;
            }
        }
    }
    let graph = editor.finish();
    graph.validate()?;
    Ok((graph, reports))
}

#[cfg(test)]
mod tests;
