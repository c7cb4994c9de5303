//! The part of a graph between some of its values.

use super::{Graph, GraphBuilder, ValueId};
use crate::{Dim, Error, Result};

impl Graph {
    /// The graph that computes `fetches`, fed with `feeds`. Inputs that are still needed stay, behind the feeds; nodes that are not
    /// needed go. A dimension of a feed that is an expression of symbols becomes a symbol of its own.
    ///
    /// # Errors
    /// When there is no fetch, or a feed is a constant or given twice.
    pub fn cut(&self, feeds: &[ValueId], fetches: &[ValueId]) -> Result<Graph> {
        let mut b = GraphBuilder::new(&self.name);
        b.meta().clone_from(&self.meta);
        let mut map: Vec<Option<ValueId>> = vec![None; self.values.len()];
        for &id in feeds {
            let v = self.value(id);
            if v.fact.constant.is_some() || map[id.index()].is_some() {
                return Err(Error::argument(format!("`{}` is a constant or fed twice", v.name)));
            }
            let shape: Vec<Dim> = v.fact.ty.shape.iter().map(open).collect();
            map[id.index()] = Some(b.input(&v.name, v.fact.ty.dtype, shape));
        }
        let needed = self.needed(feeds, fetches);
        for &id in self.inputs.iter().filter(|i| needed[i.index()]) {
            if map[id.index()].is_none() {
                let v = self.value(id);
                map[id.index()] = Some(b.input(&v.name, v.fact.ty.dtype, v.fact.ty.shape.clone()));
            }
        }
        for (i, v) in self.values.iter().enumerate().filter(|(i, _)| needed[*i]) {
            if let Some(t) = &v.fact.constant {
                map[i] = Some(b.constant(&v.name, t.clone()));
            }
        }
        for n in &self.nodes {
            if !n.outputs.iter().any(|o| needed[o.index()] && map[o.index()].is_none()) {
                continue;
            }
            let inputs: Vec<Option<ValueId>> = n.inputs.iter().map(|v| v.and_then(|v| map[v.index()])).collect();
            let names: Vec<String> = n.outputs.iter().map(|&v| self.value(v).name.clone()).collect();
            let new = b.node_named(n.op.clone(), &inputs, &names, &n.name)?;
            n.outputs.iter().zip(new).for_each(|(o, v)| {
                map[o.index()].get_or_insert(v);
            });
        }
        for id in fetches {
            b.output(
                map[id.index()].ok_or_else(|| Error::graph(format!("`{}` is not computed", self.value(*id).name)))?,
            );
        }
        b.finish()
    }

    /// The values that the fetches need, up to the feeds.
    fn needed(&self, feeds: &[ValueId], fetches: &[ValueId]) -> Vec<bool> {
        let producers = self.producers();
        let mut needed = vec![false; self.values.len()];
        let mut open = fetches.to_vec();
        while let Some(id) = open.pop() {
            if std::mem::replace(&mut needed[id.index()], true) || feeds.contains(&id) {
                continue;
            }
            if let Some(n) = producers[id.index()] {
                open.extend(self.nodes[n].operands());
            }
        }
        needed
    }
}

/// A number or symbol as it is; an expression as a symbol.
fn open(d: &Dim) -> Dim {
    if d.known().is_some() || d.symbol_name().is_some_and(|s| !s.starts_with('?')) {
        d.clone()
    } else {
        Dim::symbol(&format!("({d})"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DType;

    /// `out = relu(a + b)`, `other = tanh(a)`.
    fn graph() -> Graph {
        use crate::ops::elementwise::BinaryKind;
        let mut g = GraphBuilder::new("g");
        let a = g.input("a", DType::F32, [Dim::symbol("N"), Dim::from(2)]);
        let b = g.input("b", DType::F32, [Dim::from(2)]);
        let sum = g.binary(BinaryKind::Add, a, b, "sum").unwrap();
        let out = g.relu(sum, "out").unwrap();
        let other = g.activate(crate::ops::activation::Activation::Tanh, a, "other").unwrap();
        g.output(out);
        g.output(other);
        g.finish().unwrap()
    }

    #[test]
    fn a_fed_value_ends_the_graph_and_a_fetched_one_begins_it() {
        let g = graph();
        let id = |n: &str| g.find(n).unwrap();
        let cut = g.cut(&[id("sum")], &[id("out")]).unwrap();
        assert_eq!(cut.nodes().len(), 1);
        assert_eq!(cut.value(cut.inputs()[0]).name, "sum");
        let cut = g.cut(&[], &[id("sum"), id("a")]).unwrap();
        assert_eq!((cut.nodes().len(), cut.inputs().len(), cut.outputs().len()), (1, 2, 2));
        let cut = g.cut(&[id("sum")], g.outputs()).unwrap();
        let names: Vec<&str> = cut.inputs().iter().map(|&i| cut.value(i).name.as_str()).collect();
        assert_eq!(names, ["sum", "a"]);
    }

    #[test]
    fn wrong_feeds_and_no_fetch_are_errors() {
        let g = graph();
        let sum = g.find("sum").unwrap();
        assert!(g.cut(&[sum, sum], g.outputs()).is_err());
        assert!(g.cut(&[], &[]).is_err());
    }
}
