//! Running many elements through a model part by part.
//!
//! A model of a fixed batch gets a multiple of it in as many runs. A model whose batch is symbolic gets parts of a size that fits the cache,
//! but only where the graph shows that elements do not depend on each other ([`axis`]), or where the caller gives the size.

use crate::failure::Failure;
use crate::output::Progress;
use pocketnn::ops::infer::ValueType;
use pocketnn::{Dim, Graph, Model, Node, Op, Options, Tensor, ValueId, View};
use std::time::Instant;

/// Arena that a part should fit, in bytes: a part of a cache.
const PART_ARENA: usize = 8 << 20;
/// Largest part that is chosen.
const MAX_PART: usize = 256;

/// What came out.
pub struct Outcome {
    /// One an output of the model, all parts behind each other.
    pub outputs: Vec<Tensor>,
    /// Number of runs.
    pub parts: usize,
    /// Seconds of all runs.
    pub seconds: f64,
}

/// How inputs are divided.
struct Division {
    /// Elements of the leading dimension of each input in one part; absent for inputs that every part gets whole.
    inputs: Vec<Option<usize>>,
    /// Elements together, in units of the first divided input's part.
    count: Option<usize>,
    symbolic: bool,
}

/// Runs the model on these inputs, in parts where they are more than one batch.
///
/// # Errors
/// When the inputs do not fit the model.
pub fn run(model: &Model, options: &Options, inputs: &[Tensor], asked: Option<usize>) -> Result<Outcome, Failure> {
    let division = divide(model.graph(), inputs, asked)?;
    let Some(count) = division.count else {
        let mut session = model.session(options)?;
        let start = Instant::now();
        let outputs = session.run_tensors(inputs)?;
        return Ok(Outcome { outputs, parts: 1, seconds: start.elapsed().as_secs_f64() });
    };
    let mut session = model.session(options)?;
    let mut join = Join::default();
    let progress = Progress::steps(count as u64, "running");
    let (mut done, mut size) = (0, if division.symbolic { asked.unwrap_or(1) } else { 1 });
    let start = Instant::now();
    while done < count {
        let n = size.min(count - done);
        let part = division.part(inputs, done, n)?;
        let views: Vec<View<'_>> = part.iter().map(View::from).collect();
        join.add(&session.run(&views)?)?;
        done += n;
        progress.add(n as u64);
        if division.symbolic && asked.is_none() && join.parts == 1 {
            size = (PART_ARENA / session.arena_bytes().max(1)).clamp(1, MAX_PART);
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let parts = join.parts;
    Ok(Outcome { outputs: join.finish()?, parts, seconds })
}

impl Division {
    /// Elements `at .. at + n` of the inputs that are divided, the others whole.
    fn part(&self, inputs: &[Tensor], at: usize, n: usize) -> Result<Vec<Tensor>, Failure> {
        let one = |(t, unit): (&Tensor, &Option<usize>)| {
            let Some(unit) = unit else { return Ok(t.clone()) };
            let row = t.bytes().len() / t.shape()[0].max(1) * unit;
            let mut shape = t.shape().to_vec();
            shape[0] = n * unit;
            Ok(Tensor::from_bytes(t.dtype(), &shape, &t.bytes()[at * row..(at + n) * row])?)
        };
        inputs.iter().zip(&self.inputs).map(one).collect()
    }
}

/// Outputs of parts, joined along the leading dimension.
#[derive(Default)]
struct Join {
    outputs: Vec<(pocketnn::DType, Vec<usize>, Vec<u8>)>,
    parts: usize,
}

impl Join {
    fn add(&mut self, part: &[View<'_>]) -> Result<(), Failure> {
        self.parts += 1;
        if self.parts == 1 {
            self.outputs = part.iter().map(|v| (v.dtype(), v.shape().to_vec(), v.bytes().to_vec())).collect();
            return Ok(());
        }
        for ((_, shape, bytes), v) in self.outputs.iter_mut().zip(part) {
            if shape.is_empty() || shape.len() != v.shape().len() || shape[1..] != v.shape()[1..] {
                return Err(Failure::failed(format!(
                    "parts gave outputs of shapes {shape:?} and {:?}, which cannot be joined",
                    v.shape()
                ))
                .help("give the model one batch at a time"));
            }
            shape[0] += v.shape()[0];
            bytes.extend_from_slice(v.bytes());
        }
        Ok(())
    }
    fn finish(self) -> Result<Vec<Tensor>, Failure> {
        self.outputs.iter().map(|(dtype, shape, bytes)| Ok(Tensor::from_bytes(*dtype, shape, bytes)?)).collect()
    }
}

fn divide(graph: &Graph, inputs: &[Tensor], asked: Option<usize>) -> Result<Division, Failure> {
    let whole = Division { inputs: vec![None; inputs.len()], count: None, symbolic: false };
    if graph.inputs().len() != inputs.len() {
        return Ok(whole);
    }
    let declared: Vec<&ValueType> = graph.inputs().iter().map(|&i| graph.ty(i)).collect();
    let fixed: Vec<Option<usize>> = declared.iter().zip(inputs).map(|(ty, t)| times(ty, t)).collect();
    let counts: Vec<usize> = fixed.iter().flatten().copied().filter(|&n| n > 1).collect();
    if let Some(&n) = counts.first() {
        if counts.iter().any(|&m| m != n) {
            return Err(Failure::usage(format!(
                "the inputs hold {counts:?} batches; expected the same number of each"
            )));
        }
        let unit =
            |(ty, times): (&&ValueType, &Option<usize>)| times.filter(|&m| m > 1).and_then(|_| ty.shape[0].known());
        let inputs = declared.iter().zip(&fixed).map(unit).collect();
        return Ok(Division { inputs, count: Some(n), symbolic: false });
    }
    let Some(symbol) = declared.iter().find_map(|ty| ty.shape.first()?.symbol_name()) else { return Ok(whole) };
    let leads = |ty: &&ValueType| ty.shape.first().and_then(Dim::symbol_name) == Some(symbol);
    let units: Vec<Option<usize>> = declared.iter().map(|ty| leads(ty).then_some(1)).collect();
    let lengths: Vec<usize> = units.iter().zip(inputs).filter_map(|(u, t)| u.and(t.shape().first().copied())).collect();
    let n = lengths.first().copied().unwrap_or(0);
    let worthwhile = n > asked.unwrap_or(8) && lengths.iter().all(|&m| m == n);
    let separable = || asked.is_some() || independent(graph, symbol);
    if worthwhile && separable() { Ok(Division { inputs: units, count: Some(n), symbolic: true }) } else { Ok(whole) }
}

/// How many batches of a declared type a tensor holds, where only the leading dimension differs.
fn times(ty: &ValueType, t: &Tensor) -> Option<usize> {
    let batch = ty.shape.first()?.known().filter(|&n| n > 0)?;
    let rest = ty.shape.len() == t.rank()
        && ty.shape[1..].iter().zip(&t.shape()[1..]).all(|(d, n)| d.known().is_none_or(|k| k == *n));
    (rest && t.shape()[0].is_multiple_of(batch)).then(|| t.shape()[0] / batch)
}

/// True when the elements along `symbol`, the leading dimension of inputs and outputs, do not depend on each other.
fn independent(graph: &Graph, symbol: &str) -> bool {
    let known = |v: &ValueId| graph.value(*v).fact.dims.is_none();
    let leading = graph.outputs().iter().all(|&o| axis(graph.ty(o), symbol) == Ok(Some(0)));
    leading && graph.nodes().iter().all(|n| !n.outputs.iter().any(known) || keeps(graph, n, symbol).is_some())
}

/// Where `symbol` stands among the dimensions: nowhere, at one place alone, or (error) within an expression or twice.
fn axis(ty: &ValueType, symbol: &str) -> Result<Option<usize>, ()> {
    let mut found = None;
    for (i, d) in ty.shape.iter().enumerate() {
        if d.symbol_name() == Some(symbol) {
            if found.replace(i).is_some() {
                return Err(());
            }
        } else {
            let mut inner = std::collections::BTreeSet::new();
            d.symbols(&mut inner);
            if inner.contains(symbol) || inner.iter().any(|s| s.starts_with('?')) {
                return Err(());
            }
        }
    }
    Ok(found)
}

/// `Some` when a node treats elements along the symbol one by one. Unknown ops do not.
fn keeps(graph: &Graph, node: &Node, symbol: &str) -> Option<()> {
    let places = |ids: &mut dyn Iterator<Item = Option<ValueId>>| -> Option<Vec<Option<usize>>> {
        ids.map(|v| v.map_or(Some(None), |v| axis(graph.ty(v), symbol).ok())).collect()
    };
    let inputs = places(&mut node.inputs.iter().map(|v| v.filter(|v| graph.value(*v).fact.dims.is_none())))?;
    let outputs = places(&mut node.outputs.iter().map(|v| Some(*v)))?;
    if inputs.iter().all(Option::is_none) {
        return outputs.iter().all(Option::is_none).then_some(());
    }
    let (x, y) = (inputs[0], *outputs.first()?);
    let y = y?;
    let rank = |v: Option<Option<ValueId>>| v.flatten().map_or(0, |v| graph.ty(v).shape.len());
    let input_rank = rank(node.inputs.first().copied());
    let at = |axis: i64| if axis < 0 { axis + input_rank as i64 } else { axis } as usize;
    let alone = |place: usize| x == Some(place) && inputs[1..].iter().all(Option::is_none);
    let same = x == Some(y) && inputs[1..].iter().all(Option::is_none);
    let constants =
        |i: usize| node.inputs.get(i).copied().flatten().and_then(|v| graph.constant(v)).and_then(|t| t.to_i64().ok());
    let ok = match &node.op {
        Op::Activate(_) | Op::Cast(_) | Op::Identity(_) | Op::Unary(_) => same,
        Op::BatchNorm(_)
        | Op::Conv(_)
        | Op::ConvTranspose(_)
        | Op::DepthToSpace(_)
        | Op::GroupNorm(_)
        | Op::Lrn(_)
        | Op::Pool(_) => alone(0) && y == 0 || residual(&node.op, &inputs, y),
        Op::Resize(_) | Op::SpaceToDepth(_) => alone(0) && y == 0,
        Op::Dense(_) => same && y + 1 < input_rank,
        Op::Binary(_) | Op::PRelu(_) | Op::Where(_) => {
            let out = rank(Some(node.outputs.first().copied()));
            let aligned =
                |(i, p): (usize, &Option<usize>)| p.is_none_or(|p| p + out == y + rank(node.inputs.get(i).copied()));
            inputs.iter().enumerate().all(aligned)
        }
        Op::Softmax(s) => same && at(s.axis) != y,
        Op::Hardmax(s) => same && at(s.axis) != y,
        Op::Concat(c) => {
            let axis = if c.axis < 0 { c.axis + input_rank as i64 } else { c.axis };
            axis as usize != y && inputs.iter().flatten().all(|&p| p == y)
        }
        Op::Transpose(t) => x.is_some_and(|x| t.perm.get(y) == Some(&x)),
        Op::Reshape(_) | Op::Squeeze(_) | Op::Unsqueeze(_) => {
            let before = |v: ValueId, p: usize| Dim::product(&graph.ty(v).shape[..p]);
            x.zip(node.inputs[0]).is_some_and(|(p, v)| before(v, p) == before(node.outputs[0], y))
        }
        Op::Reduce(r) => {
            let axes = constants(1);
            let others = axes.as_ref().is_some_and(|a| !a.is_empty() && a.iter().all(|&a| x != Some(at(a))));
            others || (r.noop_with_empty_axes && axes.is_none_or(|a| a.is_empty()))
        }
        Op::ArgReduce(_) | Op::LayerNorm(_) | Op::Slice(_) | Op::Split(_) | Op::Pad(_) => {
            x == Some(0) && untouched(node, &constants, input_rank)
        }
        Op::Gather(g) => same && at(g.axis) != y || (x.is_none() && at(g.axis) == 0 && inputs.get(1) == Some(&Some(y))),
        Op::Lstm(_) | Op::Gru(_) | Op::Rnn(_) => x == Some(1) && inputs[1..].iter().flatten().all(|&p| p <= 1),
        Op::MatMul(_) => {
            let out = rank(Some(node.outputs.first().copied()));
            (same && y + 1 < input_rank) || (out > 2 && y + 2 < out && inputs.iter().all(|p| *p == Some(y)))
        }
        _ => false,
    };
    ok.then_some(())
}

/// A convolution with a fused addition: both images lead with the batch.
fn residual(op: &Op, inputs: &[Option<usize>], y: usize) -> bool {
    matches!(op, Op::Conv(_)) && y == 0 && inputs[0] == Some(0) && inputs[1..].iter().all(|p| p.is_none_or(|p| p == 0))
}

/// True when an op with axes as attribute or operand leaves the leading axis alone.
fn untouched(node: &Node, constants: &dyn Fn(usize) -> Option<Vec<i64>>, rank: usize) -> bool {
    let other = |axis: i64| axis != 0 && axis != -(rank as i64);
    match &node.op {
        Op::ArgReduce(a) => other(a.axis),
        Op::LayerNorm(l) => other(l.axis),
        Op::Split(s) => other(s.axis),
        // Starts, ends, axes: without axes the leading one is cut.
        Op::Slice(_) => constants(3).is_some_and(|axes| axes.iter().all(|&a| other(a))),
        Op::Pad(_) => match (constants(1), constants(3)) {
            (_, Some(axes)) => axes.iter().all(|&a| other(a)),
            (Some(pads), None) => pads.first() == Some(&0) && pads.get(pads.len() / 2) == Some(&0),
            _ => false,
        },
        _ => false,
    }
}
