//! The single gate behind which a graph is trusted.

use super::{Graph, infer_within};
use crate::ops::infer::Fact;
use crate::{Error, Result};
use std::collections::HashSet;

pub(super) fn validate(g: &Graph) -> Result<()> {
    names(g)?;
    let mut known = vec![false; g.values.len()];
    for (i, v) in g.values.iter().enumerate() {
        known[i] = v.fact.constant.is_some();
    }
    for &i in &g.inputs {
        let known = known.get_mut(i.index()).ok_or_else(|| Error::graph("an input is not a value of the graph"))?;
        if std::mem::replace(known, true) {
            return Err(Error::graph(format!("input `{}` is listed twice or is a constant", g.value(i).name)));
        }
    }
    for n in &g.nodes {
        if let Some(v) = n.operands().find(|v| !known.get(v.index()).copied().unwrap_or(false)) {
            let name = g.values.get(v.index()).map_or("?", |v| &v.name);
            return Err(Error::graph(format!("reads `{name}`, which nothing before it computes"))
                .at(|| format!("{} `{}`", n.op.name(), n.name)));
        }
        for &o in &n.outputs {
            let known =
                known.get_mut(o.index()).ok_or_else(|| Error::graph("a node's output is not a value of the graph"))?;
            if std::mem::replace(known, true) {
                return Err(Error::graph(format!("`{}` is computed twice", g.value(o).name)).at(|| g.describe(n)));
            }
        }
        types(g, n)?;
    }
    match g.outputs.iter().find(|o| !known.get(o.index()).copied().unwrap_or(false)) {
        Some(o) => Err(Error::graph(format!("output {} is not computed", o.index()))),
        None => Ok(()),
    }
}

fn names(g: &Graph) -> Result<()> {
    let mut seen = HashSet::new();
    match g.values.iter().find(|v| !seen.insert(v.name.as_str())) {
        Some(v) => Err(Error::graph(format!("two values are called `{}`", v.name))),
        None => Ok(()),
    }
}

/// The stored types must be what the op gives; extents decided by data (fresh symbols) are only compared in number.
fn types(g: &Graph, n: &super::Node) -> Result<()> {
    let inputs: Vec<Option<&Fact>> = n.inputs.iter().map(|v| v.map(|v| &g.value(v).fact)).collect();
    // Types are enough: elements that follow from constants are not computed again.
    let facts = infer_within(&n.op, &inputs, n.outputs.len(), 0).map_err(|e| e.at(|| g.describe(n)))?;
    for (f, &o) in facts.iter().zip(&n.outputs) {
        let stored = g.ty(o);
        let fits = stored.dtype == f.ty.dtype && stored.shape.len() == f.ty.shape.len();
        let same = fits
            && stored.shape.iter().zip(&f.ty.shape).all(|(a, b)| a.known().is_none() || b.known().is_none() || a == b);
        if !same {
            let message = format!("output `{}` is declared {stored}, the op gives {}", g.value(o).name, f.ty);
            return Err(Error::graph(message).at(|| g.describe(n)));
        }
    }
    Ok(())
}
