//! The list of steps with their values: formats, halos, lowering, memory.

use super::bound::Bound;
use super::format::{self, Format, FormatCx, Halo, InPlace, Parts, Placement};
use super::homes::Homes;
use super::interpret::Interpreted;
use super::step::{Compute, LowerCx, Lowered, PackCache, Step};
use super::*;
use crate::Node;
use pocketnn_kernels::layout::BLOCK;
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
    parts: Option<Parts>,
}

/// The widest halo that values take on for each other's sake: beyond it a copy costs less than the zeros.
const SHARED_HALO: usize = 3;

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
            let parts = n.op.operator().parts(&FormatCx { graph: g, node: n, formats: &formats });
            l.drafts.push(Draft { work: Work::Node(i), inputs, outputs, parts });
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

    /// Refuses values that do not fit the arena, before steps make tables as long as their extents.
    pub fn admit(&self, most: usize) -> Result<()> {
        for p in self.values.iter().map(|v| &v.placement) {
            let extents = p.shape.iter().filter(|&&n| n > 0);
            let bytes = extents.fold(p.dtype.size(), |a, &n| a.saturating_mul(n));
            if bytes > most {
                return Err(Error::limit(format!("the arena needs more than {bytes} bytes, the limit is {most}")));
            }
        }
        Ok(())
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
        self.drafts.push(Draft { work: Work::Convert, inputs: vec![Some(from)], outputs: vec![to], parts: None });
        Ok(to)
    }

    /// Gives every blocked value the largest halo any consumer wants, and one halo to values that share memory.
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
        let together = self.together(graph);
        loop {
            let mut changed = false;
            for group in together.iter().rev() {
                let mut halo = Halo::default();
                for &v in group {
                    let other = self.values[v].placement.halo;
                    halo.iter_mut().zip(other).for_each(|(h, o)| *h = (h.0.max(o.0), h.1.max(o.1)));
                }
                if halo.iter().any(|h| h.0.max(h.1) > SHARED_HALO) {
                    continue;
                }
                for &v in group {
                    changed |= std::mem::replace(&mut self.values[v].placement.halo, halo) != halo;
                }
            }
            if !changed {
                break;
            }
        }
    }

    /// Groups of blocked values that can lie inside each other, or take each other's place, when their halos are the same.
    fn together(&self, graph: &Graph) -> Vec<Vec<usize>> {
        let blocked = |v: usize| self.values[v].placement.format == Format::Blocked;
        let mut readers = vec![0; self.values.len()];
        self.drafts.iter().flat_map(|d| d.inputs.iter().flatten()).for_each(|&v| readers[v] += 1);
        let mut groups = Vec::new();
        for d in &self.drafts {
            let Work::Node(i) = d.work else { continue };
            let y = d.outputs[0];
            if let Some(parts) = d.parts.as_ref().filter(|p| self.offsets(d, p).is_some()) {
                let all = d.inputs.iter().flatten().chain(&d.outputs).copied();
                // A value that is joined twice is copied anyway.
                if all.clone().all(blocked) && parts.axis == 1 {
                    groups.push(all.collect());
                }
                continue;
            }
            let place = graph.nodes()[i].op.operator().place();
            for &x in d.inputs.iter().flatten().filter(|_| place != InPlace::Never && blocked(y)) {
                let (a, b) = (&self.values[x].placement, &self.values[y].placement);
                let image = |p: &Placement| geometry(&p.shape, Halo::default()).ok();
                if blocked(x) && image(a) == image(b) && (place == InPlace::Always || readers[x] == 1) {
                    groups.push(vec![x, y]);
                }
            }
        }
        groups
    }

    /// Where the parts of a draft's whole begin in its memory, in bytes; `None` when they do not lie in one piece each.
    fn offsets(&self, d: &Draft, parts: &Parts) -> Option<Vec<usize>> {
        let (whole, pieces): (usize, Vec<Option<usize>>) = if parts.of_input {
            (d.inputs.first().copied().flatten()?, d.outputs.iter().map(|&o| Some(o)).collect())
        } else {
            (d.outputs[0], d.inputs.clone())
        };
        let w = &self.values[whole].placement;
        let extent = *w.shape.get(parts.axis)?;
        let step = match w.format {
            Format::Plain if w.shape[..parts.axis].iter().all(|&n| n == 1) => {
                w.shape[parts.axis + 1..].iter().product::<usize>() * w.dtype.size()
            }
            Format::Blocked if parts.axis == 1 && w.shape[0] == 1 => w.blocked().ok()?.block_len() * 4 / BLOCK,
            _ => return None,
        };
        let unit = if w.format == Format::Blocked { BLOCK } else { 1 };
        for (v, &start) in pieces.iter().zip(&parts.starts) {
            let Some(p) = v.map(|v| &self.values[v].placement) else { continue };
            let end = start + p.shape[parts.axis];
            let whole = start.is_multiple_of(unit) && (end.is_multiple_of(unit) || end == extent);
            if p.format != w.format || !whole || !(start * step).is_multiple_of(arena::PART) {
                return None;
            }
        }
        Some(parts.starts.iter().map(|s| s * step).collect())
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
        target: Target<'_>,
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
        target: Target<'_>,
        cache: &PackCache,
        failure: &Arc<Mutex<Option<Error>>>,
    ) -> Result<Vec<Lowered>> {
        let graph = &bound.graph;
        let one = |d: &Draft| match d.work {
            Work::Convert => {
                let nothing = || Error::graph("a conversion reads nothing");
                let from = &self.values[d.inputs[0].ok_or_else(nothing)?].placement;
                convert::convert(target.isa, from, &self.values[d.outputs[0]].placement)
            }
            Work::Node(i) => {
                let node = &graph.nodes()[i];
                let (inputs, outputs) = self.placements(graph, node, d);
                let cx = LowerCx { graph, node, inputs: &inputs, outputs: &outputs, target, cache };
                match node.op.operator().lower(&cx).map_err(|e| e.at(|| graph.describe(node)))? {
                    Lowered::Interpreted => {
                        crate::ops::admit_evaluation(&node.op).map_err(|e| e.at(|| graph.describe(node)))?;
                        interpreted(graph, node, inputs, &outputs, failure)
                    }
                    lowered => Ok(lowered),
                }
            }
        };
        self.drafts.iter().map(one).collect()
    }

    /// Assigns memory and assembles the plan.
    pub fn build(self, bound: &Bound, lowered: Vec<Lowered>, failure: Arc<Mutex<Option<Error>>>) -> Result<Plan> {
        let g = &bound.graph;
        let bytes: Vec<usize> = self.values.iter().map(|v| v.placement.bytes()).collect::<Result<_>>()?;
        let mut homes = Homes::new(bytes.into_iter());
        let steps = self.steps(g, lowered, &mut homes)?;
        self.lifetimes(&steps, &mut homes);
        let in_place = self.reuse(&steps, &mut homes);
        let owners = homes.buffers();
        let mut list: Vec<Buffer> = owners.iter().map(|b| b.1).collect();
        for (i, s) in steps.iter().enumerate() {
            list.push(Buffer { bytes: s.compute.scratch, from: i + 1, to: i + 1 });
        }
        let (offsets, bytes) = memory::assign(&list);
        let mut at = vec![0; self.values.len()];
        owners.iter().zip(&offsets).for_each(|(&(v, _), &o)| at[v] = o);
        let range = |v: usize| -> Range<usize> {
            let (owner, r) = homes.find(v);
            at[owner] + r.start..at[owner] + r.end
        };
        let all_weights = g.weights_bytes();
        let (mut operands, mut infos, mut observed, mut kernels) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (i, s) in steps.into_iter().enumerate() {
            let scratch = offsets[owners.len() + i];
            operands.push(self.operands(g, &s, scratch..scratch + s.compute.scratch, in_place[i], &range));
            observed.push(self.observed(g, s.draft, &range));
            infos.push(self.info(g, s.draft, s.compute.step.as_ref(), all_weights)?);
            kernels.push(s.compute.step);
        }
        let interpreted = infos.iter().any(|s: &StepInfo| s.interpreted);
        let inputs = self.inputs.iter().map(|&v| (self.values[v].placement.clone(), range(v))).collect();
        let outputs = g
            .outputs()
            .iter()
            .zip(&self.outputs)
            .map(|(&id, v)| match (v, g.constant(id)) {
                (Some(v), _) => Ok(OutputPlace::Arena(self.values[*v].placement.clone(), range(*v))),
                (None, Some(t)) => Ok(OutputPlace::Constant(t.clone())),
                (None, None) => Err(Error::graph("an output is not computed")),
            })
            .collect::<Result<_>>()?;
        let program = Program::new(operands, bytes)?;
        let lower_bound = memory::lower_bound(&list);
        Ok(Plan { steps: kernels, infos, observed, program, lower_bound, inputs, outputs, failure, interpreted })
    }

    /// The drafts that are work; the others have found their place in `homes`.
    fn steps<'d>(&'d self, g: &Graph, lowered: Vec<Lowered>, homes: &mut Homes) -> Result<Vec<Task<'d>>> {
        let mut steps = Vec::with_capacity(lowered.len());
        for (d, l) in self.drafts.iter().zip(lowered) {
            let mut inputs = d.inputs.clone();
            let compute = match l {
                Lowered::Alias(input) => match d.inputs[input] {
                    Some(v) => {
                        homes.put(d.outputs[0], v, 0);
                        continue;
                    }
                    None => self.copy_constant(g, d, input)?,
                },
                Lowered::Step(c) => c,
                Lowered::Interpreted => return Err(Error::graph("an op was not lowered")),
            };
            let offsets = d.parts.as_ref().and_then(|p| Some((p, self.offsets(d, p)?)));
            match offsets {
                Some((parts, at)) if parts.of_input => {
                    if let Some(whole) = d.inputs[0].filter(|&w| d.outputs.iter().all(|&o| self.same_halo(o, w))) {
                        d.outputs.iter().zip(at).for_each(|(&o, at)| homes.put(o, whole, at));
                        continue;
                    }
                }
                Some((_, at)) => {
                    let whole = d.outputs[0];
                    let fits = |v: &usize| self.same_halo(*v, whole);
                    let pieces: Vec<_> = inputs.iter().zip(at).map(|(v, at)| (v.filter(|v| fits(v)), at)).collect();
                    let placed = homes.join(whole, &pieces, |v| !self.inputs.contains(&v));
                    if placed.iter().all(|&p| p) {
                        continue;
                    }
                    inputs.iter_mut().zip(placed).filter(|p| p.1).for_each(|(v, _)| *v = None);
                }
                None => {}
            }
            steps.push(Task { compute, draft: d, inputs });
        }
        Ok(steps)
    }

    fn same_halo(&self, a: usize, b: usize) -> bool {
        self.values[a].placement.halo == self.values[b].placement.halo
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

    /// First and last step of every value. Steps count from 1; inputs are there from 0 on and stay, outputs stay to the end.
    fn lifetimes(&self, steps: &[Task<'_>], homes: &mut Homes) {
        let end = steps.len() + 1;
        for &v in &self.inputs {
            homes.touch(v, 0);
            homes.touch(v, end);
        }
        for (i, s) in steps.iter().enumerate() {
            s.inputs.iter().flatten().chain(&s.draft.outputs).for_each(|&v| homes.touch(v, i + 1));
        }
        self.outputs.iter().flatten().for_each(|&v| homes.touch(v, end));
    }

    /// Lets outputs take the place of inputs that end with their step, where the step allows it.
    fn reuse(&self, steps: &[Task<'_>], homes: &mut Homes) -> Vec<Option<usize>> {
        let mut chosen = vec![None; steps.len()];
        for (i, s) in steps.iter().enumerate() {
            let y = s.draft.outputs[0];
            let fits = |homes: &mut Homes, input: usize| {
                let Some(x) = s.inputs.get(input).copied().flatten() else { return false };
                let (a, b) = (&self.values[x].placement, &self.values[y].placement);
                let (owner, range) = homes.find(x);
                let over = |&&w: &&usize| {
                    let (o, r) = homes.find(w);
                    o == owner && r.start < range.end && range.start < r.end
                };
                let alone = s.inputs.iter().flatten().filter(over).count() == 1;
                let same = a.dtype == b.dtype && a.format == b.format && a.halo == b.halo;
                alone && same && homes.overlay(x, y, i + 1, |v| self.inputs.contains(&v))
            };
            chosen[i] = s.compute.in_place.iter().copied().find(|&input| fits(homes, input));
        }
        chosen
    }

    fn operands(
        &self,
        g: &Graph,
        s: &Task<'_>,
        scratch: Range<usize>,
        in_place: Option<usize>,
        range: &dyn Fn(usize) -> Range<usize>,
    ) -> Operands {
        let node = match s.draft.work {
            Work::Node(i) => Some(&g.nodes()[i]),
            Work::Convert => None,
        };
        let place = |(j, v): (usize, &Option<usize>)| {
            let constant = || node.and_then(|n| n.inputs[j]).and_then(|id| g.constant(id));
            match v {
                Some(v) => Place::Arena(range(*v)),
                None => constant().map_or(Place::Absent, |t| Place::Constant(t.clone())),
            }
        };
        let inputs = s.inputs.iter().enumerate().map(place).collect();
        let outputs = s.draft.outputs.iter().map(|&v| range(v)).collect();
        Operands { inputs, outputs, scratch, in_place }
    }

    fn observed(&self, g: &Graph, d: &Draft, range: &dyn Fn(usize) -> Range<usize>) -> Vec<Observed> {
        if matches!(d.work, Work::Convert) {
            return Vec::new();
        }
        let one = |&v: &usize| {
            let p = &self.values[v];
            Observed { name: g.value(p.source).name.clone(), placement: p.placement.clone(), range: range(v) }
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
                let from = d.inputs[0].map(|v| &self.values[v].placement);
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

/// A draft that is work.
struct Task<'d> {
    compute: Compute,
    draft: &'d Draft,
    /// Those of the draft that are read: a part that lies in its whole already is not.
    inputs: Vec<Option<usize>>,
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
