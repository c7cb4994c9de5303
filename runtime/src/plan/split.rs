//! A graph whose shapes depend on data, in two parts: what can be planned beforehand, and what follows from it.

use super::arena::Arena;
use super::{OutputPlace, PackCache, Plan, Target, convert, interpret};
use crate::{Graph, Op, Result, Tensor, ValueId};
use pocketnn_kernels::par::Parallel;

/// A planned beginning and an interpreted rest.
pub(crate) struct Split {
    pub plan: Plan,
    arena: Arena<'static>,
    /// For each input of the plan, which input of the graph it is.
    given: Vec<usize>,
    /// Takes the outputs of the plan, then inputs of the graph.
    rest: Graph,
    /// Which inputs of the graph the rest takes besides.
    further: Vec<usize>,
}

impl Split {
    /// Plans the nodes of a graph with known input shapes that depend on no shape decided by data. `None` where no arithmetic is among them.
    ///
    /// # Errors
    /// When an op's operands do not fit its kernel.
    pub fn new(graph: &Graph, target: Target<'_>, cache: &PackCache, most: usize) -> Result<Option<Self>> {
        let border = border(graph);
        if border.is_empty() {
            return Ok(None);
        }
        let first = graph.cut(&[], &border)?;
        if first.macs() == 0 {
            return Ok(None);
        }
        let rest = graph.cut(&border, graph.outputs())?;
        let position = |g: &Graph, id: &ValueId| {
            let name = &g.value(*id).name;
            graph.inputs().iter().position(|&i| graph.value(i).name == *name)
        };
        let given: Option<Vec<usize>> = first.inputs().iter().map(|i| position(&first, i)).collect();
        let further: Option<Vec<usize>> = rest.inputs().iter().skip(border.len()).map(|i| position(&rest, i)).collect();
        let (Some(given), Some(further)) = (given, further) else { return Ok(None) };
        let plan = Plan::within(first, target, cache, most)?;
        let arena = Arena::owned(plan.arena_bytes());
        Ok(Some(Self { plan, arena, given, rest, further }))
    }

    /// Outputs of the graph for its inputs.
    ///
    /// # Errors
    /// What an op says about its operands.
    pub fn run(&mut self, inputs: &[Tensor], par: &dyn Parallel) -> Result<Vec<Tensor>> {
        for ((_, range), &i) in self.plan.inputs.iter().zip(&self.given) {
            self.arena.as_mut_slice()[range.clone()].copy_from_slice(inputs[i].bytes());
        }
        self.plan.execute(&mut self.arena, par)?;
        let mut fed = Vec::with_capacity(self.rest.inputs().len());
        for o in &self.plan.outputs {
            fed.push(match o {
                OutputPlace::Arena(p, range) => convert::to_tensor(p, &self.arena.as_slice()[range.clone()])?,
                OutputPlace::Constant(t) => t.clone(),
            });
        }
        fed.extend(self.further.iter().map(|&i| inputs[i].clone()));
        interpret(&self.rest, &fed, |_, _| Ok(()))
    }
}

/// The values of known shape that nodes of unknown shape, or the caller, take from those of known shape.
fn border(graph: &Graph) -> Vec<ValueId> {
    let known = |v: ValueId| {
        let ty = graph.ty(v);
        ty.dtype.size() > 0 && ty.known_shape().is_some()
    };
    let mut ready: Vec<bool> = graph.values().iter().map(|v| v.fact.constant.is_some()).collect();
    graph.inputs().iter().for_each(|&i| ready[i.index()] = known(i));
    let mut made = vec![false; graph.values().len()];
    let mut border = Vec::new();
    let mut listed = vec![false; graph.values().len()];
    let mut list = |v: ValueId, made: &[bool]| {
        if made[v.index()] && !std::mem::replace(&mut listed[v.index()], true) {
            border.push(v);
        }
    };
    for n in graph.nodes() {
        let decided = n.operands().all(|v| ready[v.index()]) && n.outputs.iter().all(|&v| known(v));
        if decided && !matches!(n.op, Op::If(_) | Op::Loop(_)) {
            n.outputs.iter().for_each(|v| (ready[v.index()], made[v.index()]) = (true, true));
        } else {
            n.operands().for_each(|v| list(v, &made));
        }
    }
    graph.outputs().iter().for_each(|&v| list(v, &made));
    border
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::gather::NonZero;
    use crate::{DType, GraphBuilder};
    use pocketnn_kernels::conv::Winograd;
    use pocketnn_kernels::isa::Isa;
    use pocketnn_kernels::par::Serial;

    #[test]
    fn layers_in_front_of_a_search_are_planned() {
        let mut b = GraphBuilder::new("g");
        let x = b.input("x", DType::F32, [crate::Dim::from(2), crate::Dim::from(3)]);
        let y = b.input("y", DType::F32, [crate::Dim::from(2), crate::Dim::from(2)]);
        let w = b.constant("w", Tensor::new(&[2, 3], vec![1.0f32, 0.0, 0.0, 0.0, 1.0, 0.0]).unwrap());
        let d = b.dense(x, w, None, "dense").unwrap();
        let sum = b.binary(crate::ops::elementwise::BinaryKind::Add, d, y, "sum").unwrap();
        let found = b.op(NonZero {}, &[sum], "found").unwrap();
        b.output(found);
        b.output(d);
        let graph = b.finish().unwrap();
        let target = Target { isa: Isa::detect(), threads: 1, winograd: Winograd::Auto, tuning: None };
        let mut split = Split::new(&graph, target, &PackCache::default(), usize::MAX).unwrap().unwrap();
        let x = Tensor::new(&[2, 3], vec![1.0f32, 2.0, 9.0, 3.0, 4.0, 9.0]).unwrap();
        let y = Tensor::new(&[2, 2], vec![-1.0f32, 0.0, 0.0, -4.0]).unwrap();
        let out = split.run(&[x, y], &Serial).unwrap();
        assert_eq!(out[0].to_i64().unwrap(), [0, 1, 1, 0]);
        assert_eq!(out[1].to_f32(), [1.0, 2.0, 3.0, 4.0]);
        assert!(split.plan.steps().iter().all(|s| !s.interpreted));
    }
}
