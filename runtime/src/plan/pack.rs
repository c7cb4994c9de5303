//! Constants in the packed forms of the kernels, before any session exists.

use super::bound::Bound;
use super::layout::Layout;
use crate::format::packed::Form;
use crate::{Bindings, ErrorKind, Graph, Result, Tensor};
use pocketnn_kernels::conv::Winograd;
use pocketnn_kernels::isa::Isa;
use std::collections::HashMap;

/// The same graph, with every constant that kernels read in one packed form stored in that form: what [`crate::format::save`] writes
/// of it is opened without any work on the weights. Symbols that `dims` does not name are 1. Constants are replaced one by one, so that
/// the peak of memory is the graph and one constant, when nobody shares it.
///
/// A graph whose shapes are decided while running, or that does not fit sizes of 1, is given back as it is.
///
/// # Errors
/// When the sizes do not fit the graph.
pub fn pack(mut graph: Graph, dims: &Bindings) -> Result<Graph> {
    let symbols = graph.symbols();
    let open = symbols.iter().any(|s| !dims.contains_key(s));
    let mut all: Bindings = symbols.into_iter().map(|s| (s, 1)).collect();
    all.extend(dims.iter().map(|(k, &v)| (k.clone(), v)));
    let forms = match forms(&graph, &all) {
        // As with a session: sizes that nobody named come with the first run.
        Err(e) if e.kind() == ErrorKind::Unsupported || (open && e.kind() == ErrorKind::Graph) => return Ok(graph),
        other => other?,
    };
    for v in &mut graph.values {
        let Some(form) = forms.get(&v.name).copied().flatten() else { continue };
        if let Some(t) = v.fact.constant.take() {
            v.fact.constant = Some(packed(t, form)?);
        }
    }
    Ok(graph)
}

fn packed(t: Tensor, form: Form) -> Result<Tensor> {
    if !form.fits(t.dtype()) || t.is_empty() || t.stored().is_some_and(|(f, _)| f == form) {
        return Ok(t);
    }
    form.pack(&t)
}

/// Names of constants and the forms in which kernels read them; `None` where they differ.
fn forms(graph: &Graph, dims: &Bindings) -> Result<HashMap<String, Option<Form>>> {
    let bound = Bound::new(graph.bind(dims)?)?;
    let target = super::Target { isa: Isa::detect(), threads: 1, winograd: Winograd::Auto, tuning: None };
    let mut forms: HashMap<String, Option<Form>> = HashMap::new();
    Layout::new(&bound)?.each_node(&bound, target, &super::PackCache::default(), |cx| {
        for (input, form) in cx.node.op.operator().packed(cx) {
            let Some(v) = cx.node.inputs.get(input).copied().flatten() else { continue };
            let name = bound.graph.value(v).name.clone();
            forms.entry(name).and_modify(|f| *f = f.filter(|f| *f == form)).or_insert(Some(form));
        }
        Ok(())
    })?;
    Ok(forms)
}
