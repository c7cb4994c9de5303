//! Writing `.pnn` files.

use super::{DTYPES, PLAIN_VERSION, VERSION, hex};
use crate::ops::attrs::AttrValue;
use crate::{DType, Error, ErrorKind, Graph, Result, Tensor, ValueId, narrow};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
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
    let keys = Keys::of(graph);
    let tensors = ordered(graph, &keys);
    let mut digest = Sha256::new();
    tensors.iter().for_each(|(_, t)| digest.update(stored(t).as_ref()));
    let json = graph_json(graph, &keys);
    let newer = ["packed", "narrow", "inner", "constants"].iter().any(|k| json.get(k).is_some());
    let version = if newer { VERSION } else { PLAIN_VERSION };
    let metadata = json!({
        "format": "pocketnn", "version": version.to_string(), "graph": json.to_string(), "sha256": hex(&digest.finalize()),
    });
    let mut header = Map::new();
    header.insert("__metadata__".to_string(), metadata);
    let mut at = 0usize;
    for (name, t) in &tensors {
        let bytes = stored(t).len();
        let end = at + bytes;
        // What safetensors has no name for is stored as bytes; the graph says what they are.
        let (dtype, shape) = match DTYPES.iter().find(|d| d.1 == t.dtype()) {
            Some(d) => (d.0, t.shape().to_vec()),
            None => ("U8", vec![bytes]),
        };
        header.insert(name.clone(), json!({ "dtype": dtype, "shape": shape, "data_offsets": [at, end] }));
        at = end;
    }
    let mut text = Value::Object(header).to_string();
    let padding = (8 + text.len()).next_multiple_of(super::map::ALIGN) - 8 - text.len();
    text.extend(std::iter::repeat_n(' ', padding));
    let io = |e: std::io::Error| Error::new(ErrorKind::Io, e.to_string());
    out.write_all(&(text.len() as u64).to_le_bytes()).map_err(io)?;
    out.write_all(text.as_bytes()).map_err(io)?;
    tensors.iter().try_for_each(|(_, t)| out.write_all(stored(t).as_ref()).map_err(io))
}

/// The bytes of a constant in the file: elements of less than 8 bits are packed.
fn stored(t: &Tensor) -> Cow<'_, [u8]> {
    if t.dtype().is_narrow() { Cow::Owned(narrow::pack(t)) } else { Cow::Borrowed(t.bytes()) }
}

/// What the file holds, in its order: constants, those that are packed as they are packed, and values derived from constants.
fn ordered<'g>(graph: &'g Graph, keys: &'g Keys) -> Vec<(String, &'g Tensor)> {
    let inner = keys.inner.iter().map(|(key, t)| (key.as_str(), *t));
    let mut all = Vec::new();
    for (name, t) in constants(graph).chain(inner).filter(|(_, t)| t.dtype().size() > 0) {
        if let Some(source) = t.source() {
            all.push((name.to_string(), source));
            all.push((derived(graph, name), numbers(t)));
        } else {
            all.push((name.to_string(), numbers(t)));
        }
    }
    let power = |t: &Tensor| stored_len(t).trailing_zeros().min(6);
    all.sort_by(|a, b| power(b.1).cmp(&power(a.1)).then(a.0.cmp(&b.0)));
    all
}

/// What the file holds of a constant: its elements, or those of its packed form.
fn numbers(t: &Tensor) -> &Tensor {
    t.stored().map_or(t, |(_, numbers)| numbers)
}

/// A name, that no value has, for what is derived from a constant.
fn derived(graph: &Graph, name: &str) -> String {
    let mut own = format!("{name} at points");
    while graph.find(&own).is_some() {
        own.push('\'');
    }
    own
}

/// Bytes of a constant in the file.
fn stored_len(t: &Tensor) -> usize {
    (t.len() * narrow::bits(t.dtype())).div_ceil(8)
}

fn constants(graph: &Graph) -> impl Iterator<Item = (&str, &Tensor)> {
    graph.values().iter().filter_map(|v| v.fact.constant.as_ref().map(|t| (v.name.as_str(), t)))
}

/// Most elements of a constant that stands in the JSON of a body; larger ones are tensors of the file.
const INLINE: usize = 64;

fn is_inline(t: &Tensor) -> bool {
    t.dtype().size() == 0 || t.len() <= INLINE
}

/// A graph that is an attribute: its small constants stand in it, large ones by their names in the body.
pub(crate) fn body_json(graph: &Graph) -> Value {
    let mut json = structure(graph);
    let entry = |t: &Tensor, name: &str| if is_inline(t) { t.to_json() } else { json!({ "tensor": name }) };
    let all = constants(graph).map(|(name, t)| (name.to_string(), entry(t, name)));
    json["constants"] = Value::Object(all.collect());
    json
}

/// Large constants of bodies, by what identifies their elements in memory: the names of their tensors in the file.
#[derive(Default)]
struct Keys<'g> {
    known: HashMap<(usize, DType, Vec<usize>), String>,
    /// Those that no value of the graph itself is.
    inner: Vec<(String, &'g Tensor)>,
}

fn identity(t: &Tensor) -> (usize, DType, Vec<usize>) {
    (numbers(t).bytes().as_ptr().addr(), t.dtype(), t.shape().to_vec())
}

impl<'g> Keys<'g> {
    fn of(graph: &'g Graph) -> Self {
        if graph.nodes().iter().all(|n| n.op.operator().bodies().is_empty()) {
            return Keys::default();
        }
        let known = constants(graph).map(|(name, t)| (identity(t), name.to_string())).collect();
        let mut keys = Keys { known, inner: Vec::new() };
        keys.collect(graph, "");
        let taken: HashSet<&str> = graph.values().iter().map(|v| v.name.as_str()).collect();
        // Names of the graph are free text: a key that is one of them gets another.
        for (key, _) in &mut keys.inner {
            while taken.contains(key.as_str()) {
                let longer = format!("{key}'");
                keys.known.values_mut().filter(|k| *k == key).for_each(|k| k.clone_from(&longer));
                *key = longer;
            }
        }
        keys
    }
    fn collect(&mut self, graph: &'g Graph, path: &str) {
        for (i, n) in graph.nodes().iter().enumerate() {
            for (attribute, body) in n.op.operator().bodies() {
                let path = format!("{path}{i}.{attribute}.");
                for (name, t) in constants(body).filter(|(_, t)| !is_inline(t)) {
                    let key = format!("{path}{name}");
                    if let Entry::Vacant(e) = self.known.entry(identity(t)) {
                        e.insert(key.clone());
                        self.inner.push((key, t));
                    }
                }
                self.collect(body, &path);
            }
        }
    }
    /// Puts the names of the file into the JSON of a graph's nodes.
    fn put(&self, json: &mut Value, graph: &Graph) {
        for (i, n) in graph.nodes().iter().enumerate() {
            for (attribute, body) in n.op.operator().bodies() {
                let inner = &mut json["nodes"][i]["attrs"][attribute];
                for (name, t) in constants(body).filter(|(_, t)| !is_inline(t)) {
                    inner["constants"][name]["tensor"] = Value::from(self.known[&identity(t)].as_str());
                }
                self.put(inner, body);
            }
        }
    }
}

fn graph_json(graph: &Graph, keys: &Keys) -> Value {
    let mut json = structure(graph);
    keys.put(&mut json, graph);
    let inner: Vec<&str> = keys.inner.iter().map(|k| k.0.as_str()).collect();
    if !inner.is_empty() {
        json["inner"] = Value::from(inner);
    }
    let meta: Map<String, Value> = graph.meta.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    json["meta"] = Value::Object(meta);
    let entry = |name: &str, t: &Tensor| {
        let mut entry = t.stored()?.0.to_json(t.shape());
        if t.source().is_some() {
            entry["numbers"] = json!(derived(graph, name));
        }
        Some(entry)
    };
    let packed: BTreeMap<&str, Value> = constants(graph).filter_map(|(n, t)| Some((n, entry(n, t)?))).collect();
    if !packed.is_empty() {
        json["packed"] = json!(packed);
    }
    let texts = constants(graph).filter(|(_, t)| t.dtype().size() == 0);
    let texts: Map<String, Value> = texts.map(|(name, t)| (name.to_string(), t.to_json())).collect();
    if !texts.is_empty() {
        json["constants"] = Value::Object(texts);
    }
    let inner = keys.inner.iter().map(|(key, t)| (key.as_str(), *t));
    let narrow = constants(graph).chain(inner).filter(|(_, t)| t.dtype().is_narrow());
    let ty = |t: &Tensor| json!({ "dtype": t.dtype().name(), "shape": t.shape() });
    let narrow: Map<String, Value> = narrow.map(|(name, t)| (name.to_string(), ty(t))).collect();
    if !narrow.is_empty() {
        json["narrow"] = Value::Object(narrow);
    }
    json
}

/// Inputs, nodes and outputs.
fn structure(graph: &Graph) -> Value {
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
    json!({ "name": graph.name(), "inputs": inputs, "nodes": nodes, "outputs": outputs })
}
