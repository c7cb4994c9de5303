//! Writing `.pnn` files.

use super::{DTYPES, PLAIN_VERSION, VERSION, hex};
use crate::{Error, ErrorKind, Graph, Result, Tensor, ValueId};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

/// The bytes of a `.pnn` file.
///
/// # Errors
/// When the graph is not valid.
pub fn write(graph: &Graph) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    write_to(graph, &mut out)?;
    Ok(out)
}

/// Writes a `.pnn` file: to a temporary file beside it, then renamed.
///
/// # Errors
/// When the graph is not valid or the file cannot be written.
pub fn save(graph: &Graph, path: &Path) -> Result<()> {
    let io = |e: std::io::Error| Error::new(ErrorKind::Io, e.to_string()).at(|| path.display().to_string());
    let name = path.file_name().ok_or_else(|| Error::argument(format!("{} is not a file name", path.display())))?;
    let temporary = path.with_file_name(format!(".{}.{}.tmp", name.to_string_lossy(), std::process::id()));
    let result = std::fs::File::create(&temporary).map_err(io).and_then(|f| {
        let mut w = std::io::BufWriter::new(f);
        write_to(graph, &mut w)?;
        let f = w.into_inner().map_err(|e| io(e.into_error()))?;
        f.sync_all().map_err(io)
    });
    let result = result.and_then(|()| std::fs::rename(&temporary, path).map_err(io));
    if result.is_err() {
        // The first error is the one to report; a temporary file that cannot be removed either is left behind.
        let _ = std::fs::remove_file(&temporary);
    }
    result
}

fn write_to(graph: &Graph, out: &mut impl Write) -> Result<()> {
    graph.validate()?;
    let tensors = ordered(graph);
    let mut digest = Sha256::new();
    tensors.iter().for_each(|(_, t)| digest.update(t.bytes()));
    let packed = graph.values().iter().any(|v| v.fact.constant.as_ref().is_some_and(|t| t.stored().is_some()));
    let version = if packed { VERSION } else { PLAIN_VERSION };
    let metadata = json!({
        "format": "pocketnn", "version": version.to_string(), "graph": graph_json(graph).to_string(), "sha256": hex(&digest.finalize()),
    });
    let mut header = Map::new();
    header.insert("__metadata__".to_string(), metadata);
    let mut at = 0usize;
    for (name, t) in &tensors {
        let end = at + t.bytes().len();
        let dtype = DTYPES.iter().find(|d| d.1 == t.dtype()).map(|d| d.0);
        header.insert((*name).to_string(), json!({ "dtype": dtype, "shape": t.shape(), "data_offsets": [at, end] }));
        at = end;
    }
    let mut text = Value::Object(header).to_string();
    let padding = (8 + text.len()).next_multiple_of(super::map::ALIGN) - 8 - text.len();
    text.extend(std::iter::repeat_n(' ', padding));
    let io = |e: std::io::Error| Error::new(ErrorKind::Io, e.to_string());
    out.write_all(&(text.len() as u64).to_le_bytes()).map_err(io)?;
    out.write_all(text.as_bytes()).map_err(io)?;
    tensors.iter().try_for_each(|(_, t)| out.write_all(t.bytes()).map_err(io))
}

/// Constants in the order of the file.
fn ordered(graph: &Graph) -> Vec<(&str, &Tensor)> {
    let mut all: Vec<(&str, &Tensor)> =
        graph.values().iter().filter_map(|v| v.fact.constant.as_ref().map(|t| (v.name.as_str(), numbers(t)))).collect();
    let power = |t: &Tensor| t.bytes().len().trailing_zeros().min(6);
    all.sort_by(|a, b| power(b.1).cmp(&power(a.1)).then(a.0.cmp(b.0)));
    all
}

/// What the file holds of a constant: its elements, or those of its packed form.
fn numbers(t: &Tensor) -> &Tensor {
    t.stored().map_or(t, |(_, numbers)| numbers)
}

fn graph_json(graph: &Graph) -> Value {
    let name = |v: &ValueId| graph.value(*v).name.clone();
    let inputs: Vec<Value> = graph
        .inputs()
        .iter()
        .map(|&i| {
            let ty = graph.ty(i);
            let shape: Vec<Value> =
                ty.shape.iter().map(|d| d.known().map_or_else(|| Value::from(d.to_string()), Value::from)).collect();
            json!({ "name": graph.value(i).name, "dtype": ty.dtype.name(), "shape": shape })
        })
        .collect();
    let nodes: Vec<Value> = graph
        .nodes()
        .iter()
        .map(|n| {
            let operands: Vec<Option<String>> = n.inputs.iter().map(|v| v.as_ref().map(name)).collect();
            let outputs: Vec<String> = n.outputs.iter().map(name).collect();
            let mut node = json!({ "op": n.op.name(), "name": n.name, "inputs": operands, "outputs": outputs });
            let attrs = n.op.attributes();
            if !attrs.is_empty() {
                node["attrs"] = Value::Object(attrs);
            }
            node
        })
        .collect();
    let outputs: Vec<String> = graph.outputs().iter().map(name).collect();
    let meta: Map<String, Value> = graph.meta.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    let mut json = json!({ "name": graph.name(), "inputs": inputs, "nodes": nodes, "outputs": outputs, "meta": meta });
    let packed: BTreeMap<&str, Value> = graph
        .values()
        .iter()
        .filter_map(|v| v.fact.constant.as_ref().map(|t| (v.name.as_str(), t)))
        .filter_map(|(name, t)| t.stored().map(|(form, _)| (name, form.to_json(t.shape()))))
        .collect();
    if !packed.is_empty() {
        json["packed"] = json!(packed);
    }
    json
}
