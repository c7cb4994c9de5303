//! Running without a plan: node by node, naively. The oracle of conversions, and the way of graphs whose shapes depend on data.

use super::arena::Io;
use super::step::{Compute, Step};
use crate::{Error, Graph, Node, Op, Result, Tensor};
use pocketnn_kernels::par::Parallel;
use std::collections::HashMap;

/// Runs a graph by the naive evaluation of its ops and gives its outputs. `observe` sees every value a node computes.
///
/// # Errors
/// When the inputs do not fit, or an op has no naive evaluation of these types.
pub fn interpret(
    graph: &Graph,
    inputs: &[Tensor],
    mut observe: impl FnMut(&Node, &[Tensor]) -> Result<()>,
) -> Result<Vec<Tensor>> {
    let mut run = Interpreter::new(graph, inputs)?;
    while let Some((node, computed)) = run.step()? {
        observe(node, &computed)?;
    }
    run.outputs()
}

/// A run by the naive evaluation, one node at a time. Values that no later node reads are dropped.
pub struct Interpreter<'g> {
    graph: &'g Graph,
    /// For each value, the last node that reads it.
    last: Vec<usize>,
    live: HashMap<usize, Tensor>,
    /// The next node.
    at: usize,
}

impl<'g> Interpreter<'g> {
    /// A run on these inputs, before its first node.
    ///
    /// # Errors
    /// When the inputs do not fit.
    pub fn new(graph: &'g Graph, inputs: &[Tensor]) -> Result<Self> {
        if inputs.len() != graph.inputs().len() {
            return Err(Error::argument(format!("expected {} inputs, found {}", graph.inputs().len(), inputs.len())));
        }
        let mut last = vec![0usize; graph.values().len()];
        for (i, n) in graph.nodes().iter().enumerate() {
            n.operands().for_each(|v| last[v.index()] = i);
        }
        graph.outputs().iter().for_each(|v| last[v.index()] = usize::MAX);
        let mut live: HashMap<usize, Tensor> = HashMap::new();
        for (&id, t) in graph.inputs().iter().zip(inputs) {
            super::check_input(graph, id, t.dtype(), t.shape())?;
            live.insert(id.index(), t.clone());
        }
        Ok(Self { graph, last, live, at: 0 })
    }
    /// Evaluates the next node and gives it with what it computed; `None` behind the last one.
    ///
    /// # Errors
    /// When the op has no naive evaluation of these types.
    pub fn step(&mut self) -> Result<Option<(&'g Node, Vec<Tensor>)>> {
        let Some(n) = self.graph.nodes().get(self.at) else { return Ok(None) };
        let (i, graph) = (self.at, self.graph);
        let operands: Vec<Option<&Tensor>> =
            n.inputs.iter().map(|v| v.and_then(|v| graph.constant(v).or_else(|| self.live.get(&v.index())))).collect();
        let place = || {
            let tys: Vec<String> = operands
                .iter()
                .map(|t| t.map_or("-".to_string(), |t| format!("{}{:?}", t.dtype(), t.shape())))
                .collect();
            format!("{} `{}` ({})", n.op.name(), n.name, tys.join(", "))
        };
        let out = n.op.eval(&operands, n.outputs.len()).map_err(|e| e.at(place))?;
        check(graph, n, &out).map_err(|e| e.at(place))?;
        self.live.retain(|&v, _| self.last[v] > i);
        for (&v, t) in n.outputs.iter().zip(&out) {
            if self.last[v.index()] > i {
                self.live.insert(v.index(), t.clone());
            }
        }
        self.at += 1;
        Ok(Some((n, out)))
    }
    /// The outputs of the graph, after the last node.
    ///
    /// # Errors
    /// When one is not computed yet.
    pub fn outputs(&self) -> Result<Vec<Tensor>> {
        let get = |v: &crate::ValueId| self.graph.constant(*v).or_else(|| self.live.get(&v.index())).cloned();
        let outputs: Option<Vec<Tensor>> = self.graph.outputs().iter().map(get).collect();
        outputs.ok_or_else(|| Error::graph("an output is not computed"))
    }
}

/// Checks what data may have decided otherwise than the graph says: the rank of each result, on which the nodes behind it rely.
fn check(graph: &Graph, node: &Node, out: &[Tensor]) -> Result<()> {
    let wrong =
        |(v, t): &(&crate::ValueId, &Tensor)| graph.ty(**v).shape.len() != t.rank() || graph.ty(**v).dtype != t.dtype();
    match node.outputs.iter().zip(out).find(wrong) {
        None => Ok(()),
        Some((v, t)) => {
            let message = format!("the result is {}{:?}, the graph says {}", t.dtype(), t.shape(), graph.ty(*v));
            Err(Error::unsupported(message))
        }
    }
}

/// A step that runs the naive evaluation inside a plan, for ops without a kernel. It allocates.
pub(super) struct Interpreted {
    pub op: Op,
    pub name: String,
    pub inputs: Vec<Option<(crate::DType, Vec<usize>)>>,
    pub outputs: usize,
    /// What went wrong in a run: a step cannot fail, so the session asks afterwards.
    pub failure: std::sync::Arc<std::sync::Mutex<Option<Error>>>,
}

impl Interpreted {
    fn evaluate(&self, io: &mut Io<'_>) -> Result<()> {
        let tensor = |(i, ty): (usize, &Option<(crate::DType, Vec<usize>)>)| match ty {
            None => Ok(None),
            Some((dtype, shape)) => {
                let n = crate::checked_bytes(*dtype, shape)?;
                Tensor::from_bytes(*dtype, shape, &io.input::<u8>(i)[..n]).map(Some)
            }
        };
        let tensors: Vec<Option<Tensor>> = self.inputs.iter().enumerate().map(tensor).collect::<Result<_>>()?;
        let operands: Vec<Option<&Tensor>> = tensors.iter().map(Option::as_ref).collect();
        let out = self.op.eval(&operands, self.outputs)?;
        for (i, t) in out.iter().enumerate() {
            let y = io.output::<u8>(i);
            let n = y.len().min(t.bytes().len());
            y[..n].copy_from_slice(&t.bytes()[..n]);
        }
        Ok(())
    }
}

impl Step for Interpreted {
    fn run(&self, io: &mut Io<'_>, _par: &dyn Parallel) {
        if let Err(e) = self.evaluate(io) {
            let e = e.at(|| format!("{} `{}`", self.op.name(), self.name));
            self.failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(e);
        }
    }
    fn algorithm(&self) -> String {
        "interpreted".to_string()
    }
}

impl From<Interpreted> for Compute {
    fn from(i: Interpreted) -> Self {
        Compute::new(i)
    }
}
