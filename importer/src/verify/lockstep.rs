//! The naive run of the source graph, kept level with the steps of the converted one: a value is computed when the step that
//! corresponds to it has run, compared and dropped. So neither run's values are ever held together.

use std::collections::HashMap;

use pocketnn::plan::Interpreter;
use pocketnn::{Graph, Op, Tensor, passes};

use super::record::{Divergence, difference};
use crate::error::Result;

/// The naive run and what of it is still to be compared.
pub(super) struct Lockstep<'g> {
    run: Interpreter<'g>,
    graph: &'g Graph,
    /// Values of the source by name: how many values of the converted graph correspond to it.
    uses: HashMap<&'g str, usize>,
    /// Values that are computed and wait for their step: position of the node, op, elements.
    waiting: HashMap<&'g str, (usize, &'static str, Tensor)>,
    at: usize,
    bytes: usize,
    max_bytes: usize,
    tolerance: f64,
    /// Values that were compared.
    pub compared: usize,
    /// Values that were not, to save memory.
    pub skipped: usize,
    /// Every value that was compared.
    pub values: Vec<Divergence>,
    /// The first node of the source whose value differs.
    pub first: Option<(usize, Divergence)>,
}

impl<'g> Lockstep<'g> {
    /// A run of `source` on these inputs, to be compared with `converted`.
    pub fn new(
        source: &'g Graph,
        converted: &Graph,
        inputs: &[Tensor],
        tolerance: f64,
        max_bytes: usize,
    ) -> Result<Self> {
        let mut uses: HashMap<&str, usize> = HashMap::new();
        let computed = source.nodes().iter().flat_map(|n| &n.outputs);
        uses.extend(computed.map(|&v| (source.value(v).name.as_str(), 0)));
        for v in converted.nodes().iter().flat_map(|n| &n.outputs) {
            for (name, _) in corresponding(&converted.value(*v).name) {
                if let Some(n) = uses.get_mut(name.as_str()) {
                    *n = n.saturating_add(1);
                }
            }
        }
        Ok(Self {
            run: Interpreter::new(source, inputs)?,
            graph: source,
            uses,
            waiting: HashMap::new(),
            at: 0,
            bytes: 0,
            max_bytes,
            tolerance,
            compared: 0,
            values: Vec::new(),
            skipped: 0,
            first: None,
        })
    }

    /// Compares what a step computed under this name; `elements` gives it.
    pub fn compare(&mut self, name: &str, elements: impl FnOnce() -> pocketnn::Result<Tensor>) -> Result<()> {
        let known: Vec<(String, Option<Vec<usize>>)> = corresponding(name)
            .into_iter()
            .filter(|(n, _)| self.uses.get(n.as_str()).is_some_and(|&n| n > 0))
            .collect();
        if known.is_empty() {
            return Ok(());
        }
        let y = elements()?;
        for (name, perm) in known {
            while !self.waiting.contains_key(name.as_str()) && self.advance()? {}
            let Some(uses) = self.uses.get_mut(name.as_str()) else { continue };
            *uses = uses.saturating_sub(1);
            let done = *uses == 0;
            let Some((at, op, want)) = self.waiting.get(name.as_str()) else { continue };
            let (at, op) = (*at, *op);
            let want = permute(want, perm)?;
            if want.shape() == y.shape() && want.dtype() == y.dtype() {
                self.compared = self.compared.saturating_add(1);
                let (max_abs, max_relative) = difference(&want, &y);
                let found = Divergence { name: name.clone(), op: op.to_owned(), max_abs, max_relative };
                if max_relative > self.tolerance && self.first.as_ref().is_none_or(|f| at < f.0) {
                    self.first = Some((at, found.clone()));
                }
                self.values.push(found);
            }
            if done && let Some((.., t)) = self.waiting.remove(name.as_str()) {
                self.bytes = self.bytes.saturating_sub(t.bytes().len());
            }
        }
        Ok(())
    }

    /// Runs the next node; false behind the last one.
    fn advance(&mut self) -> Result<bool> {
        let Some((node, computed)) = self.run.step()? else { return Ok(false) };
        for (&v, t) in node.outputs.iter().zip(computed) {
            let name = self.graph.value(v).name.as_str();
            if self.uses.get(name).is_none_or(|&n| n == 0) {
                continue;
            }
            if self.bytes > self.max_bytes {
                self.skipped = self.skipped.saturating_add(1);
                continue;
            }
            self.bytes = self.bytes.saturating_add(t.bytes().len());
            self.waiting.insert(name, (self.at, node.op.name(), t));
        }
        self.at = self.at.saturating_add(1);
        Ok(true)
    }

    /// Runs what is left and gives the outputs.
    pub fn finish(&mut self) -> Result<Vec<Tensor>> {
        self.waiting.clear();
        self.uses.clear();
        while self.advance()? {}
        Ok(self.run.outputs()?)
    }
}

/// Values of the source that a value of this name may be: itself, or (where the passes permuted it) the one before `@`, with the
/// permutation. A name may hold an @ of its own.
fn corresponding(name: &str) -> Vec<(String, Option<Vec<usize>>)> {
    let mut all = vec![(name.to_owned(), None)];
    if let Some((base, perm)) = passes::permuted_source(name) {
        all.push((base.to_owned(), Some(perm)));
    }
    all
}

fn permute(t: &Tensor, perm: Option<Vec<usize>>) -> pocketnn::Result<Tensor> {
    let Some(perm) = perm.filter(|p| p.len() == t.rank()) else { return Ok(t.clone()) };
    let op = Op::from(pocketnn::ops::movement::Transpose { perm });
    op.operator().eval(&[Some(t)], 1)?.pop().ok_or_else(|| pocketnn::Error::graph("a transpose gives nothing"))
}
