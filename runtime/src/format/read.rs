//! The gate through which `.pnn` files come in.

use super::map::{Bytes, map_file};
use super::packed::Form;
use super::{DTYPES, Limits, VERSION, hex};
use crate::ops::attrs::{AttrValue, Fields, Tensors};
use crate::ops::custom::CustomOps;
use crate::{DType, Dim, Error, ErrorKind, Graph, GraphBuilder, Op, Result, Tensor, ValueId};
use safetensors::SafeTensors;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// Maps and validates a file.
///
/// # Errors
/// `Io` when it cannot be read, `Format` when it is not a valid `.pnn` file, `Limit` when it is larger than allowed.
pub fn open(path: &Path, limits: &Limits) -> Result<Graph> {
    open_with(path, limits, &CustomOps::default())
}

/// As [`open`], for a program with ops of its own.
///
/// # Errors
/// As [`open`], and `Unsupported` when the file uses a custom op that is not registered.
pub fn open_with(path: &Path, limits: &Limits, ops: &CustomOps) -> Result<Graph> {
    let io = |e: std::io::Error| Error::new(ErrorKind::Io, e.to_string());
    let load = || {
        let file = std::fs::File::open(path).map_err(io)?;
        let size = file.metadata().map_err(io)?.len();
        if size > limits.file_bytes {
            return Err(Error::limit(format!("the file has {size} bytes, the limit is {}", limits.file_bytes)));
        }
        let bytes = if size == 0 { Bytes::zeroed(0) } else { map_file(&file).map_err(io)? };
        parse(Arc::new(bytes), limits, ops)
    };
    load().map_err(|e| e.at(|| path.display().to_string()))
}

/// Validates the bytes of a file.
///
/// # Errors
/// As [`open`].
pub fn read(bytes: &[u8], limits: &Limits) -> Result<Graph> {
    read_with(bytes, limits, &CustomOps::default())
}

/// As [`read`], for a program with ops of its own.
///
/// # Errors
/// As [`open_with`].
pub fn read_with(bytes: &[u8], limits: &Limits, ops: &CustomOps) -> Result<Graph> {
    if bytes.len() as u64 > limits.file_bytes {
        return Err(Error::limit(format!("the file has {} bytes, the limit is {}", bytes.len(), limits.file_bytes)));
    }
    let mut copy = Bytes::zeroed(bytes.len());
    copy.as_mut_slice().copy_from_slice(bytes);
    parse(Arc::new(copy), limits, ops)
}

/// The digest that a file records of its data.
///
/// # Errors
/// When the header cannot be read.
pub fn recorded_digest(bytes: &[u8]) -> Result<String> {
    let (_, metadata) =
        SafeTensors::read_metadata(bytes).map_err(|e| Error::format(format!("not a safetensors file: {e}")))?;
    let strings = metadata.metadata().as_ref().and_then(|m| m.get("sha256")).cloned();
    strings.ok_or_else(|| Error::format("the header has no `sha256`"))
}

/// Compares the data of a file with the digest in its header. [`open`] does not, so that opening costs nothing per weight.
///
/// # Errors
/// When they differ.
pub fn verify_digest(bytes: &[u8]) -> Result<()> {
    let recorded = recorded_digest(bytes)?;
    let header = header_len(bytes)?;
    let found = hex(&Sha256::digest(&bytes[8 + header..]));
    if found == recorded {
        return Ok(());
    }
    Err(Error::format(format!("the data was changed: its SHA-256 is {found}, the header says {recorded}")))
}

/// SHA-256 of a file's header, which holds the graph and the digest of the data: two files with the same one hold the same model.
///
/// # Errors
/// When the file cannot be read, or is shorter than its header says.
pub fn header_digest(path: &Path) -> Result<String> {
    let io = |e: std::io::Error| Error::new(ErrorKind::Io, e.to_string());
    let digest = || {
        let mut file = std::fs::File::open(path).map_err(io)?;
        let size = file.metadata().map_err(io)?.len();
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(io)?;
        let n = u64::from_le_bytes(length);
        if n > size.saturating_sub(8).min(Limits::default().header_bytes) {
            return Err(Error::format("the file is shorter than its header says, or its header is too large"));
        }
        let mut header = Vec::new();
        file.take(n).read_to_end(&mut header).map_err(io)?;
        Ok(hex(&Sha256::digest(&header)))
    };
    digest().map_err(|e| e.at(|| path.display().to_string()))
}

fn header_len(bytes: &[u8]) -> Result<usize> {
    let first: Option<[u8; 8]> = bytes.get(..8).and_then(|b| b.try_into().ok());
    let n = first.map(u64::from_le_bytes).and_then(|n| usize::try_from(n).ok());
    n.filter(|&n| n <= bytes.len() - 8).ok_or_else(|| Error::format("the file is shorter than its header says"))
}

fn parse(bytes: Arc<Bytes>, limits: &Limits, ops: &CustomOps) -> Result<Graph> {
    let data = bytes.as_slice();
    let header = header_len(data)?;
    if header as u64 > limits.header_bytes {
        return Err(Error::limit(format!("the header has {header} bytes, the limit is {}", limits.header_bytes)));
    }
    // This checks the whole header: no holes, no overlaps, sizes that fit the types, an end that is the file's.
    let (header, metadata) =
        SafeTensors::read_metadata(data).map_err(|e| Error::format(format!("not a safetensors file: {e}")))?;
    let strings = metadata.metadata().as_ref().ok_or_else(|| Error::format("the header has no `__metadata__`"))?;
    let text =
        |k: &str| strings.get(k).map(String::as_str).ok_or_else(|| Error::format(format!("the metadata has no `{k}`")));
    if text("format")? != "pocketnn" {
        return Err(Error::format(format!("expected the format `pocketnn`, found `{}`", text("format")?)));
    }
    let version: u32 = text("version")?.parse().map_err(|_| Error::format("`version` is not a number"))?;
    if version == 0 || version > VERSION {
        let message = format!("the file has version {version}, this pocketnn reads up to {VERSION}; update it");
        return Err(Error::unsupported(message));
    }
    let graph: Value = serde_json::from_str(text("graph")?).map_err(|e| Error::format(format!("`graph`: {e}")))?;
    let infos = metadata.tensors();
    if infos.len() > limits.tensors {
        return Err(Error::limit(format!("the file has {} constants, the limit is {}", infos.len(), limits.tensors)));
    }
    let mut tensors: HashMap<String, Tensor> = HashMap::with_capacity(infos.len());
    for (name, info) in infos {
        let place = || format!("constant `{name}`");
        let stored = format!("{:?}", info.dtype);
        let dtype = DTYPES.iter().find(|d| d.0 == stored).map(|d| d.1);
        let dtype = dtype.ok_or_else(|| Error::format(format!("unknown element type {stored}")).at(place))?;
        let start = 8 + header + info.data_offsets.0;
        let t = Tensor::from_shared(dtype, &info.shape, bytes.clone(), start).map_err(|e| e.at(place))?;
        tensors.insert(name.clone(), t);
    }
    unpack(&graph, &mut tensors)?;
    let mut tensors: Vec<(String, Tensor)> = tensors.into_iter().collect();
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    narrow(&graph, &mut tensors)?;
    let all: Tensors = Tensors::new(tensors.iter().cloned().collect());
    if let Some(inner) = graph.get("inner") {
        let names: Option<HashSet<&str>> = inner.as_array().and_then(|list| list.iter().map(Value::as_str).collect());
        let names = names.ok_or_else(|| Error::format("`graph.inner`: expected names"))?;
        tensors.retain(|t| !names.contains(t.0.as_str()));
    }
    build(&graph, tensors, &all, limits, ops)
}

/// Gives bytes that stand for narrow elements their type.
fn narrow(graph: &Value, tensors: &mut [(String, Tensor)]) -> Result<()> {
    let Some(types) = graph.get("narrow") else { return Ok(()) };
    let types = types.as_object().ok_or_else(|| Error::format("`graph.narrow`: expected an object"))?;
    for (name, ty) in types {
        let place = || format!("constant `{name}`");
        let dtype = ty.get("dtype").and_then(DType::from_json).filter(|d| d.is_narrow());
        let shape = ty.get("shape").and_then(Vec::<usize>::from_json);
        let (Some(dtype), Some(shape)) = (dtype, shape) else {
            return Err(Error::format("`graph.narrow`: expected a narrow type and a shape").at(place));
        };
        let at = tensors.binary_search_by(|t| t.0.cmp(name));
        let Some((_, t)) = at.ok().and_then(|i| tensors.get_mut(i)).filter(|(_, t)| t.dtype() == DType::U8) else {
            return Err(Error::format("`graph.narrow`: expected a constant of bytes").at(place));
        };
        *t = crate::narrow::unpack(dtype, &shape, t.bytes()).map_err(|e| Error::format(e.message()).at(place))?;
    }
    Ok(())
}

/// A graph that is an attribute of a node.
///
/// # Errors
/// As [`read`].
pub(crate) fn body(json: &Value, tensors: &Tensors) -> Result<Graph> {
    build(json, Vec::new(), tensors, &Limits::default(), &CustomOps::default())
}

/// Gives constants that are stored in a packed form their logical types.
fn unpack(graph: &Value, tensors: &mut HashMap<String, Tensor>) -> Result<()> {
    let entries = match graph.get("packed") {
        None => return Ok(()),
        Some(v) => v.as_object().ok_or_else(|| Error::format("`graph.packed`: expected an object"))?,
    };
    for (name, entry) in entries {
        let mut constant = || -> Result<Tensor> {
            let entry = entry.as_object().ok_or_else(|| Error::format("`packed`: expected an object"))?;
            let (form, shape) = Form::from_json(entry)?;
            let mut take = |name: &str| {
                let missing = || Error::format(format!("`graph.packed` names `{name}`, which the file does not hold"));
                tensors.remove(name).ok_or_else(missing)
            };
            let own = take(name)?;
            match entry.get("numbers") {
                None => Tensor::packed(form, &shape, own, None),
                Some(Value::String(numbers)) => Tensor::packed(form, &shape, take(numbers)?, Some(own)),
                Some(_) => Err(Error::format("`numbers`: expected a name")),
            }
        };
        let constant = constant().map_err(|e| e.at(|| format!("constant `{name}`")))?;
        tensors.insert(name.clone(), constant);
    }
    Ok(())
}

/// Typed access to the graph's JSON; the path says where.
fn list<'a>(v: &'a Value, key: &str) -> Result<&'a Vec<Value>> {
    v.get(key).and_then(Value::as_array).ok_or_else(|| Error::format(format!("`graph.{key}`: expected a list")))
}

fn string<'a>(v: &'a Value, key: &str) -> Result<&'a str> {
    v.get(key).and_then(Value::as_str).ok_or_else(|| Error::format(format!("`{key}`: expected a string")))
}

fn build(
    json: &Value,
    tensors: Vec<(String, Tensor)>,
    all: &Tensors,
    limits: &Limits,
    ops: &CustomOps,
) -> Result<Graph> {
    let mut b = GraphBuilder::new(string(json, "name")?);
    let mut values: HashMap<String, ValueId> = HashMap::new();
    let mut define = |name: &str, id: ValueId| match values.insert(name.to_string(), id) {
        None => Ok(()),
        Some(_) => Err(Error::format(format!("two values are called `{name}`"))),
    };
    for i in list(json, "inputs")? {
        let name = string(i, "name")?;
        let dtype = DType::from_name(string(i, "dtype")?)
            .ok_or_else(|| Error::format(format!("input `{name}`: unknown element type")))?;
        let shape = list(i, "shape")?.iter().map(dim).collect::<Option<Vec<Dim>>>();
        let shape = shape
            .ok_or_else(|| Error::format(format!("input `{name}`: a dimension is neither a number nor a name")))?;
        define(name, b.input(name, dtype, shape))?;
    }
    for (name, t) in tensors {
        define(&name, b.constant(&name, t))?;
    }
    if let Some(inline) = json.get("constants") {
        let inline = inline.as_object().ok_or_else(|| Error::format("`graph.constants`: expected an object"))?;
        for (name, v) in inline {
            let t = match v.get("tensor").and_then(Value::as_str) {
                Some(key) => all.get(key).cloned(),
                None => Tensor::from_json(v),
            };
            let t = t.ok_or_else(|| Error::format(format!("constant `{name}`: expected a tensor")))?;
            define(name, b.constant(name, t))?;
        }
    }
    let nodes = list(json, "nodes")?;
    if nodes.len() > limits.nodes {
        return Err(Error::limit(format!("the graph has {} nodes, the limit is {}", nodes.len(), limits.nodes)));
    }
    for n in nodes {
        node(&mut b, &mut values, n, all, ops)?;
    }
    for o in list(json, "outputs")? {
        let name = o.as_str().ok_or_else(|| Error::format("`graph.outputs`: expected names"))?;
        b.output(*values.get(name).ok_or_else(|| Error::format(format!("output `{name}` is not computed")))?);
    }
    if let Some(meta) = json.get("meta").and_then(Value::as_object) {
        b.meta().extend(meta.iter().map(|(k, v)| (k.clone(), v.clone())));
    }
    b.finish()
}

fn dim(v: &Value) -> Option<Dim> {
    match v {
        Value::String(s) if !s.is_empty() => Some(Dim::symbol(s)),
        _ => v.as_u64().and_then(|n| usize::try_from(n).ok()).map(Dim::from),
    }
}

fn node(
    b: &mut GraphBuilder,
    values: &mut HashMap<String, ValueId>,
    n: &Value,
    all: &Tensors,
    ops: &CustomOps,
) -> Result<()> {
    let (name, op) = (string(n, "name")?, string(n, "op")?);
    let place = || format!("{op} `{name}`");
    let attrs = match n.get("attrs") {
        None => Map::new(),
        Some(Value::Object(m)) => m.clone(),
        Some(_) => return Err(Error::format("`attrs`: expected an object").at(place)),
    };
    let typed = match Op::from_fields(op, Fields::with(attrs, all)).map_err(|e| e.at(place))? {
        Op::Custom(c) => Op::Custom(c.bound(ops).map_err(|e| e.at(place))?),
        other => other,
    };
    let mut inputs = Vec::new();
    for v in list(n, "inputs")? {
        inputs.push(match v {
            Value::Null => None,
            Value::String(s) => {
                let id = values
                    .get(s)
                    .ok_or_else(|| Error::format(format!("reads `{s}`, which nothing before it computes")).at(place))?;
                Some(*id)
            }
            _ => return Err(Error::format("`inputs`: expected names or null").at(place)),
        });
    }
    let outputs: Option<Vec<String>> = list(n, "outputs")?.iter().map(|v| v.as_str().map(str::to_string)).collect();
    let outputs =
        outputs.filter(|o| !o.is_empty()).ok_or_else(|| Error::format("`outputs`: expected names").at(place))?;
    if let Some(twice) = outputs.iter().find(|o| values.contains_key(*o)) {
        return Err(Error::format(format!("two values are called `{twice}`")).at(place));
    }
    let ids = b.node_named(typed, &inputs, &outputs, name)?;
    for (o, id) in outputs.into_iter().zip(ids) {
        if values.insert(o.clone(), id).is_some() {
            return Err(Error::format(format!("two values are called `{o}`")).at(place));
        }
    }
    Ok(())
}
