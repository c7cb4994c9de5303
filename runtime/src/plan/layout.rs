//! The list of steps with their values: formats, halos, lowering, memory.

use super::bound::Bound;
use super::format::{self, Format, FormatCx, Halo, Placement};
use super::interpret::Interpreted;
use super::step::{Compute, LowerCx, Lowered, PackCache, Step};
use super::*;
use crate::Node;
use std::collections::HashMap;

/// A value of the plan: a value of the graph in one format.
struct Planned {
    placement: Placement,
    source: ValueId,
}

/// What a step is made of.
enum Work {
    Node(usize),
    Convert,
}

struct Draft {
    work: Work,
    inputs: Vec<Option<usize>>,
    outputs: Vec<usize>,
}

/// Values and steps before memory is assigned.
pub(super) struct Layout {
    values: Vec<Planned>,
    drafts: Vec<Draft>,
    inputs: Vec<usize>,
    /// Plan values of the graph's outputs; `None` for constants.
    outputs: Vec<Option<usize>>,
    /// For each graph value and format, the plan value.
    index: HashMap<(ValueId, Format), usize>,
}

impl Layout {
    pub fn new(bound: &Bound) -> Result<Self> {
        let g = &bound.graph;
        let (formats, wanted) = format::choose(bound);
        let mut l = Layout {
            values: Vec::new(),
            drafts: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            index: HashMap::new(),
        };
        for &v in g.inputs() {
            let i = l.value(g, v, Format::Plain)?;
            l.inputs.push(i);
        }
        let needed = needed(g);
        for (i, n) in g.nodes().iter().enumerate() {
            if !needed[i] {
                continue;
            }
            let mut inputs = Vec::with_capacity(n.inputs.len());
            for (j, v) in n.inputs.iter().enumerate() {
                inputs.push(match v {
                    Some(v) if g.constant(*v).is_none() => {
                        Some(l.converted(g, *v, formats[v.index()], wanted[i].inputs[j])?)
                    }
                    _ => None,
                });
            }
            let outputs = n.outputs.iter().map(|&v| l.value(g, v, formats[v.index()])).collect::<Result<_>>()?;
            l.drafts.push(Draft { work: Work::Node(i), inputs, outputs });
        }
        for &v in g.outputs() {
            let place = match g.constant(v) {
                Some(_) => None,
                None => Some(l.converted(g, v, formats[v.index()], Format::Plain)?),
            };
            l.outputs.push(place);
        }
        l.halos(bound, &formats);
        Ok(l)
    }

    fn value(&mut self, g: &Graph, v: ValueId, format: Format) -> Result<usize> {
        let ty = g.ty(v);
        let shape = ty.known_shape().ok_or_else(|| Error::graph("a shape is not known"))?;
        let placement = Placement { dtype: ty.dtype, shape, format, halo: Halo::default() };
        placement.bytes()?;
        self.values.push(Planned { placement, source: v });
        self.index.insert((v, format), self.values.len() - 1);
        Ok(self.values.len() - 1)
    }

    /// The plan value of a graph value in a format, converted when its producer gives another.
    fn converted(&mut self, g: &Graph, v: ValueId, have: Format, want: Format) -> Result<usize> {
        if let Some(&i) = self.index.get(&(v, want)) {
            return Ok(i);
        }
        let missing = || Error::graph(format!("`{}` is not computed before it is read", g.value(v).name));
        let from = *self.index.get(&(v, have)).ok_or_else(missing)?;
        let to = self.value(g, v, want)?;
        self.drafts.push(Draft { work: Work::Convert, inputs: vec![Some(from)], outputs: vec![to] });
        Ok(to)
    }

    /// Gives every blocked value the largest halo any consumer wants.
    fn halos(&mut self, bound: &Bound, formats: &[Format]) {
        let graph = &bound.graph;
        for d in &self.drafts {
            let Work::Node(i) = d.work else { continue };
            let cx = FormatCx { graph, node: &graph.nodes()[i], formats };
            for (j, v) in d.inputs.iter().enumerate() {
                let Some(v) = *v else { continue };
                if self.values[v].placement.format != Format::Blocked {
                    continue;
                }
                let want = graph.nodes()[i].op.operator().halo(&cx, j);
                let halo = &mut self.values[v].placement.halo;
                for (h, w) in halo.iter_mut().zip(want) {
                    *h = (h.0.max(w.0), h.1.max(w.1));
                }
            }
        }
    }

    /// Where the operands of a draft's node lie: computed ones as planned, constants row-major.
    fn placements(&self, g: &Graph, node: &Node, d: &Draft) -> (Vec<Option<Placement>>, Vec<Placement>) {
        let planned = |&i: &usize| self.values[i].placement.clone();
        let constant = |t: &Tensor| {
            let (dtype, shape) = (t.dtype(), t.shape().to_vec());
            Placement { dtype, shape, format: Format::Plain, halo: Halo::default() }
        };
        let of = |(v, p): (&Option<ValueId>, &Option<usize>)| match (v, p) {
            (_, Some(p)) => Some(planned(p)),
            (Some(v), None) => g.constant(*v).map(constant),
            (None, None) => None,
        };
        (node.inputs.iter().zip(&d.inputs).map(of).collect(), d.outputs.iter().map(planned).collect())
    }

    /// Shows every node as lowering sees it.
    pub fn each_node(
        &self,
        bound: &Bound,
        target: Target,
        cache: &PackCache,
        mut f: impl FnMut(&LowerCx<'_>) -> Result<()>,
    ) -> Result<()> {
        let graph = &bound.graph;
        for d in &self.drafts {
            let Work::Node(i) = d.work else { continue };
            let node = &graph.nodes()[i];
            let (inputs, outputs) = self.placements(graph, node, d);
            f(&LowerCx { graph, node, inputs: &inputs, outputs: &outputs, target, cache })?;
        }
        Ok(())
    }

    /// Turns every draft into a step or an alias.
    pub fn lower(
        &self,
        bound: &Bound,
        target: Target,
        cache: &PackCache,
        failure: &Arc<Mutex<Option<Error>>>,
    ) -> Result<Vec<Lowered>> {
        let graph = &bound.graph;
        let one = |d: &Draft| match d.work {
            Work::Convert => {
                let nothing = || Error::graph("a conversion reads nothing");
                let from = &self.values[d.inputs[0].ok_or_else(nothing)?].placement;
                convert::convert(from, &self.values[d.outputs[0]].placement)
            }
            Work::Node(i) => {
                let node = &graph.nodes()[i];
                let (inputs, outputs) = self.placements(graph, node, d);
                let cx = LowerCx { graph, node, inputs: &inputs, outputs: &outputs, target, cache };
                match node.op.operator().lower(&cx).map_err(|e| e.at(|| graph.describe(node)))? {
                    Lowered::Interpreted => interpreted(graph, node, inputs, &outputs, failure),
                    lowered => Ok(lowered),
                }
            }
        };
        self.drafts.iter().map(one).collect()
    }

    /// Assigns memory and assembles the plan.
    pub fn build(self, bound: &Bound, lowered: Vec<Lowered>, failure: Arc<Mutex<Option<Error>>>) -> Result<Plan> {
        let g = &bound.graph;
        let mut steps = Steps::default();
        let mut roots: Vec<usize> = (0..self.values.len()).collect();
        for (d, l) in self.drafts.iter().zip(lowered) {
            match l {
                Lowered::Alias(input) => match d.inputs[input] {
                    Some(v) => roots[d.outputs[0]] = roots[v],
                    None => steps.push(self.copy_constant(g, d, input)?, d),
                },
                Lowered::Step(c) => steps.push(c, d),
                Lowered::Interpreted => return Err(Error::graph("an op was not lowered")),
            }
        }
        let last = steps.list.len();
        let mut buffers = self.lifetimes(&steps, &roots, last)?;
        let in_place = self.reuse(&steps, &mut roots, &mut buffers);
        let used: Vec<usize> = (0..roots.len()).filter(|&v| roots[v] == v && buffers[v].bytes > 0).collect();
        let mut list: Vec<Buffer> = used.iter().map(|&v| buffers[v]).collect();
        for (i, (c, _)) in steps.list.iter().enumerate() {
            list.push(Buffer { bytes: c.scratch, from: i + 1, to: i + 1 });
        }
        let (offsets, bytes) = memory::assign(&list);
        let mut at = vec![0; roots.len()];
        used.iter().zip(&offsets).for_each(|(&v, &o)| at[v] = o);
        let range = |v: usize| -> Result<Range<usize>> {
            let start = at[roots[v]];
            Ok(start..start + self.values[v].placement.bytes()?)
        };
        let all_weights = g.weights_bytes();
        let (mut operands, mut infos, mut observed, mut kernels) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (i, (c, d)) in steps.list.into_iter().enumerate() {
            let scratch = offsets[used.len() + i];
            operands.push(self.operands(g, d, scratch..scratch + c.scratch, in_place[i], &range)?);
            observed.push(self.observed(g, d, &range)?);
            infos.push(self.info(g, d, c.step.as_ref(), all_weights)?);
            kernels.push(c.step);
        }
        let interpreted = infos.iter().any(|s: &StepInfo| s.interpreted);
        let inputs =
            self.inputs.iter().map(|&v| Ok((self.values[v].placement.clone(), range(v)?))).collect::<Result<_>>()?;
        let outputs = g
            .outputs()
            .iter()
            .zip(&self.outputs)
            .map(|(&id, v)| match (v, g.constant(id)) {
                (Some(v), _) => Ok(OutputPlace::Arena(self.values[*v].placement.clone(), range(*v)?)),
                (None, Some(t)) => Ok(OutputPlace::Constant(t.clone())),
                (None, None) => Err(Error::graph("an output is not computed")),
            })
            .collect::<Result<_>>()?;
        let program = Program::new(operands, bytes)?;
        let lower_bound = memory::lower_bound(&list);
        Ok(Plan { steps: kernels, infos, observed, program, lower_bound, inputs, outputs, failure, interpreted })
    }

    fn copy_constant(&self, g: &Graph, d: &Draft, input: usize) -> Result<Compute> {
        let Work::Node(i) = d.work else { return Err(Error::graph("a conversion of a constant")) };
        let id = g.nodes()[i].inputs[input].ok_or_else(|| Error::graph("an alias of an absent input"))?;
        let t = g.constant(id).cloned().ok_or_else(|| Error::graph("an alias of nothing"))?;
        Ok(Compute::function("copy", move |io, _| {
            let y = io.output::<u8>(0);
            let n = y.len().min(t.bytes().len());
            y[..n].copy_from_slice(&t.bytes()[..n]);
        }))
    }

    /// First and last step of every root. Steps count from 1; inputs are there from 0 on and stay, outputs stay to the end.
    fn lifetimes(&self, steps: &Steps<'_>, roots: &[usize], last: usize) -> Result<Vec<Buffer>> {
        let mut buffers = vec![Buffer { bytes: 0, from: usize::MAX, to: 0 }; self.values.len()];
        let mut touch = |v: usize, step: usize| -> Result<()> {
            let bytes = self.values[v].placement.bytes()?;
            let b = &mut buffers[roots[v]];
            *b = Buffer { bytes: b.bytes.max(bytes), from: b.from.min(step), to: b.to.max(step) };
            Ok(())
        };
        for &v in &self.inputs {
            touch(v, 0)?;
            touch(v, last + 1)?;
        }
        for (i, (_, d)) in steps.list.iter().enumerate() {
            for v in d.inputs.iter().flatten().chain(&d.outputs) {
                touch(*v, i + 1)?;
            }
        }
        for v in self.outputs.iter().flatten() {
            touch(*v, last + 1)?;
        }
        Ok(buffers)
    }

    /// Lets outputs take the place of inputs that end with their step, where the step allows it.
    fn reuse(&self, steps: &Steps<'_>, roots: &mut [usize], buffers: &mut [Buffer]) -> Vec<Option<usize>> {
        let mut chosen = vec![None; steps.list.len()];
        for (i, (c, d)) in steps.list.iter().enumerate() {
            let now = i + 1;
            let fits = |&input: &usize| {
                let Some(v) = d.inputs.get(input).copied().flatten() else { return false };
                let (r, o) = (roots[v], roots[d.outputs[0]]);
                let alone = d.inputs.iter().flatten().filter(|&&w| roots[w] == r).count() == 1;
                let (a, b) = (&self.values[v].placement, &self.values[d.outputs[0]].placement);
                let size = a.bytes().ok();
                let same = size == b.bytes().ok()
                    && size == Some(buffers[r].bytes)
                    && a.format == b.format
                    && a.halo == b.halo;
                alone
                    && same
                    && r != o
                    && buffers[r].to == now
                    && buffers[r].from > 0
                    && buffers[o].bytes == buffers[r].bytes
                    && buffers[o].from == now
            };
            let Some(&input) = c.in_place.iter().find(|i| fits(i)) else { continue };
            let Some(v) = d.inputs[input] else { continue };
            let (r, o) = (roots[v], roots[d.outputs[0]]);
            buffers[r].to = buffers[o].to;
            buffers[o] = Buffer { bytes: 0, from: usize::MAX, to: 0 };
            roots.iter_mut().filter(|x| **x == o).for_each(|x| *x = r);
            chosen[i] = Some(input);
        }
        chosen
    }

    fn operands(
        &self,
        g: &Graph,
        d: &Draft,
        scratch: Range<usize>,
        in_place: Option<usize>,
        range: &dyn Fn(usize) -> Result<Range<usize>>,
    ) -> Result<Operands> {
        let node = match d.work {
            Work::Node(i) => Some(&g.nodes()[i]),
            Work::Convert => None,
        };
        let place = |(j, v): (usize, &Option<usize>)| {
            if let Some(v) = v {
                range(*v).map(Place::Arena)
            } else {
                let id = node.and_then(|n| n.inputs[j]);
                Ok(id.and_then(|id| g.constant(id)).map_or(Place::Absent, |t| Place::Constant(t.clone())))
            }
        };
        let inputs = d.inputs.iter().enumerate().map(place).collect::<Result<_>>()?;
        let outputs = d.outputs.iter().map(|&v| range(v)).collect::<Result<_>>()?;
        Ok(Operands { inputs, outputs, scratch, in_place })
    }

    fn observed(&self, g: &Graph, d: &Draft, range: &dyn Fn(usize) -> Result<Range<usize>>) -> Result<Vec<Observed>> {
        if matches!(d.work, Work::Convert) {
            return Ok(Vec::new());
        }
        let one = |&v: &usize| {
            let p = &self.values[v];
            Ok(Observed { name: g.value(p.source).name.clone(), placement: p.placement.clone(), range: range(v)? })
        };
        d.outputs.iter().map(one).collect()
    }

    fn info(&self, g: &Graph, d: &Draft, step: &dyn Step, all_weights: usize) -> Result<StepInfo> {
        let mut activations = 0;
        for &v in d.inputs.iter().flatten().chain(&d.outputs) {
            activations += self.values[v].placement.bytes()?;
        }
        let out = &self.values[d.outputs[0]];
        let (shape, algorithm) = (out.placement.shape.clone(), step.algorithm());
        let (name, op, macs, weights, transpose) = match d.work {
            Work::Convert => {
                let from = d.inputs[0].map(|v| self.values[v].placement.format);
                let transpose = from.is_some_and(|f| convert::is_transpose(f, out.placement.format));
                (g.value(out.source).name.clone(), "Convert", 0, 0, transpose)
            }
            Work::Node(i) => {
                let n = &g.nodes()[i];
                let facts: Vec<_> = n.inputs.iter().map(|v| v.map(|v| &g.value(v).fact)).collect();
                let types: Vec<_> = n.outputs.iter().map(|&v| g.ty(v).clone()).collect();
                let weights = n.operands().filter_map(|v| g.constant(v)).map(Tensor::byte_len).sum::<usize>();
                let macs = n.op.operator().macs(&facts, &types);
                (n.name.clone(), n.op.name(), macs, weights, matches!(n.op, crate::Op::Transpose(_)))
            }
        };
        let flops = cost::flops(&algorithm, macs, shape.iter().product());
        Ok(StepInfo {
            name,
            value: g.value(out.source).name.clone(),
            op,
            tile: step.tile(),
            macs,
            bytes: activations + weights,
            work: cost::Work { flops, activations, weights, all_weights },
            interpreted: algorithm == "interpreted",
            transpose,
            algorithm,
            shape,
        })
    }
}

/// Steps that do work, with their drafts.
#[derive(Default)]
struct Steps<'d> {
    list: Vec<(Compute, &'d Draft)>,
}

impl<'d> Steps<'d> {
    fn push(&mut self, c: Compute, d: &'d Draft) {
        self.list.push((c, d));
    }
}

/// The naive evaluation of a node as a step.
fn interpreted(
    graph: &Graph,
    node: &Node,
    inputs: Vec<Option<Placement>>,
    outputs: &[Placement],
    failure: &Arc<Mutex<Option<Error>>>,
) -> Result<Lowered> {
    if inputs.iter().flatten().chain(outputs).any(|p| p.format != Format::Plain) {
        let message = "an op without a kernel asked for a format that is not plain";
        return Err(Error::graph(message).at(|| graph.describe(node)));
    }
    Ok(Compute::from(Interpreted {
        op: node.op.clone(),
        name: node.name.clone(),
        inputs: inputs.into_iter().map(|p| p.map(|p| (p.dtype, p.shape))).collect(),
        outputs: outputs.len(),
        failure: failure.clone(),
    })
    .into())
}

/// Nodes whose results reach an output.
fn needed(g: &Graph) -> Vec<bool> {
    let producers = g.producers();
    let mut needed = vec![false; g.nodes().len()];
    let mut todo: Vec<ValueId> = g.outputs().to_vec();
    while let Some(v) = todo.pop() {
        if let Some(n) = producers[v.index()].filter(|&n| !std::mem::replace(&mut needed[n], true)) {
            todo.extend(g.nodes()[n].operands());
        }
    }
    needed
}
