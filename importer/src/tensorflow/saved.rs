//! SavedModels: the graph with its signatures, and the values of its variables.
//!
//! A variable is a node (`VarHandleOp`, `VariableV2`). Its tensor in the checkpoint is found in this order:
//!
//! 1. The call of the signature's function captures the variable; the object graph of the SavedModel says which object that is, and
//!    the object graph of the checkpoint (`_CHECKPOINTABLE_OBJECT_GRAPH`), walked along the same names, under which key it is stored.
//! 2. The checkpoint's object graph holds one variable of this full name.
//! 3. The checkpoint holds a tensor of the variable's name, as those of TensorFlow 1 do, or one of which it is a part.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use pocketnn::Tensor;

use super::attrs::Attrs;
use super::bundle::Bundle;
use super::elem::Elem;
use super::proto::{self, GraphDef, NodeDef, Shape};
use crate::error::{ImportError, Result};
use crate::limits::Budget;
use crate::protobuf::{Message, Meter};

/// The part of a SavedModel that serves.
#[derive(Debug, Default)]
pub(super) struct SavedModel<'a> {
    pub graph: Message<'a>,
    pub signatures: Vec<(&'a str, Signature<'a>)>,
    objects: Option<Message<'a>>,
    /// Version of TensorFlow that wrote it.
    pub version: Option<&'a str>,
}

/// Named inputs and outputs.
#[derive(Clone, Debug, Default)]
pub(super) struct Signature<'a> {
    pub inputs: Vec<(&'a str, TensorInfo<'a>)>,
    pub outputs: Vec<(&'a str, TensorInfo<'a>)>,
}

/// A tensor of the graph.
#[derive(Clone, Debug, Default)]
pub(super) struct TensorInfo<'a> {
    /// Empty for a composite tensor.
    pub name: &'a str,
    pub elem: i32,
    pub shape: Shape,
}

impl<'a> SavedModel<'a> {
    /// Reads the graph tagged `serve`, or the first one.
    pub fn read(m: Message<'a>, meter: &Meter, budget: &Budget) -> Result<Self> {
        let mut chosen: Option<(bool, Message<'a>)> = None;
        let mut count = 0u64;
        for f in m.fields() {
            let f = f?;
            if f.number == 2 {
                count = count.saturating_add(1);
                budget.entries(count, "graphs of a SavedModel")?;
                let graph = f.message()?;
                let serves = tags(graph)?.contains(&"serve");
                if chosen.is_none_or(|c| serves && !c.0) {
                    chosen = Some((serves, graph));
                }
            }
        }
        let (_, graph) = chosen.ok_or_else(|| ImportError::format("the SavedModel holds no graph"))?;
        let mut model = Self::default();
        for f in graph.fields() {
            let f = f?;
            match f.number {
                1 => {
                    let info = f.message()?;
                    model.version = info.field(5)?.map(|f| f.text()).transpose()?.filter(|v| !v.is_empty());
                }
                2 => model.graph = f.message()?,
                5 => {
                    let (name, value) = f.message()?.entry()?;
                    meter.message()?;
                    model.signatures.push((name, signature(value, meter)?));
                }
                7 => model.objects = Some(f.message()?),
                _ => {}
            }
        }
        Ok(model)
    }
}

fn tags(graph: Message<'_>) -> Result<Vec<&str>> {
    let mut tags = Vec::new();
    if let Some(info) = graph.field(1)? {
        for f in info.message()?.fields() {
            let f = f?;
            if f.number == 4 && tags.len() < 64 {
                tags.push(f.text()?);
            }
        }
    }
    Ok(tags)
}

fn signature<'a>(m: Message<'a>, meter: &Meter) -> Result<Signature<'a>> {
    let mut s = Signature::default();
    for f in m.fields() {
        let f = f?;
        if matches!(f.number, 1 | 2) {
            meter.message()?;
            let (name, value) = f.message()?.entry()?;
            let info = (name, tensor_info(value, meter)?);
            if f.number == 1 { s.inputs.push(info) } else { s.outputs.push(info) }
        }
    }
    Ok(s)
}

fn tensor_info<'a>(m: Message<'a>, meter: &Meter) -> Result<TensorInfo<'a>> {
    let mut info = TensorInfo::default();
    for f in m.fields() {
        let f = f?;
        match f.number {
            1 => info.name = f.text()?,
            2 => info.elem = f.int32()?,
            3 => info.shape = proto::shape(f.message()?, meter)?,
            _ => {}
        }
    }
    Ok(info)
}

/// The values of variables.
#[derive(Debug)]
pub(super) struct Variables<'a> {
    bundle: Option<Bundle>,
    /// Key in the checkpoint by the name of the node that captures name.
    captured: HashMap<&'a str, String>,
    /// Key by full name, where that is unique.
    named: HashMap<String, String>,
    budget: &'a Budget,
}

impl<'a> Variables<'a> {
    /// Opens the checkpoint of the model in `folder`, when it has one.
    pub fn open(
        folder: Option<&Path>,
        model: &SavedModel<'a>,
        def: &GraphDef<'a>,
        meter: &'a Meter,
        budget: &'a Budget,
    ) -> Result<Self> {
        let mut out = Self { bundle: None, captured: HashMap::new(), named: HashMap::new(), budget };
        let Some(folder) = folder.filter(|f| f.join("variables/variables.index").is_file()) else { return Ok(out) };
        let bundle = Bundle::open(&folder.join("variables/variables"), budget)?;
        if bundle.has(OBJECTS) {
            let text = bundle.text(OBJECTS, budget)?;
            let objects = trackable_objects(Message::file(&text), meter)?;
            out.named = full_names(&objects);
            if let Some(saved) = model.objects {
                out.captured = captured(saved, &objects, def, meter)?;
            }
        }
        out.bundle = Some(bundle);
        Ok(out)
    }

    /// The value of the variable of a node.
    ///
    /// # Errors
    /// When it is not in the checkpoint.
    pub fn read(&self, node: &NodeDef, shared_name: &str) -> Result<(Elem, Tensor)> {
        let bundle = self.bundle.as_ref().ok_or_else(|| {
            ImportError::invalid("the values of the variables are missing")
                .expected("variables/variables.index beside saved_model.pb")
                .help("import the folder of the SavedModel")
        })?;
        let name = if shared_name.is_empty() { node.name } else { shared_name };
        let own = [name, node.name].into_iter().find(|n| bundle.has(n));
        let key = self.captured.get(node.name).or_else(|| self.named.get(name)).map(String::as_str).or(own);
        if let Some(key) = key {
            return bundle.tensor(key, self.budget);
        }
        // TensorFlow 1 saves the parts of a partitioned variable as one tensor.
        let part = name.rsplit_once("/part_").and_then(|(whole, k)| Some((whole, k.parse().ok()?)));
        match part.filter(|p| bundle.has(p.0)) {
            Some((whole, k)) => bundle.part(whole, k, self.budget),
            None => Err(ImportError::invalid("the checkpoint does not hold this variable").found(name)),
        }
    }
}

/// Where a checkpoint keeps its object graph.
const OBJECTS: &str = "_CHECKPOINTABLE_OBJECT_GRAPH";

/// An object of the checkpoint.
#[derive(Debug, Default)]
struct Trackable {
    children: HashMap<String, usize>,
    full_name: String,
    /// Key of its value, for a variable.
    key: Option<String>,
}

fn trackable_objects(m: Message, meter: &Meter) -> Result<Vec<Trackable>> {
    let mut all = Vec::new();
    for f in m.fields() {
        let f = f?;
        if f.number != 1 {
            continue;
        }
        meter.message()?;
        let mut object = Trackable::default();
        for f in f.message()?.fields() {
            let f = f?;
            match f.number {
                1 => {
                    meter.message()?;
                    let (id, name) = reference(f.message()?)?;
                    object.children.insert(name.to_owned(), id);
                }
                2 => {
                    let (mut name, mut full, mut key) = ("", "", "");
                    for f in f.message()?.fields() {
                        let f = f?;
                        match f.number {
                            1 => name = f.text()?,
                            2 => full = f.text()?,
                            3 => key = f.text()?,
                            _ => {}
                        }
                    }
                    if name == "VARIABLE_VALUE" {
                        full.clone_into(&mut object.full_name);
                        object.key = Some(key.to_owned());
                    }
                }
                _ => {}
            }
        }
        all.push(object);
    }
    Ok(all)
}

/// Number and local name of a child.
fn reference(m: Message<'_>) -> Result<(usize, &str)> {
    let (mut id, mut name) = (0, "");
    for f in m.fields() {
        let f = f?;
        match f.number {
            1 => id = usize::try_from(f.int()?).unwrap_or(usize::MAX),
            2 => name = f.text()?,
            _ => {}
        }
    }
    Ok((id, name))
}

fn full_names(objects: &[Trackable]) -> HashMap<String, String> {
    let (mut names, mut twice) = (HashMap::new(), HashSet::new());
    for o in objects {
        if let Some(key) = &o.key
            && names.insert(o.full_name.clone(), key.clone()).is_some_and(|k| k != *key)
        {
            twice.insert(o.full_name.clone());
        }
    }
    names.retain(|name, _| !twice.contains(name));
    names
}

/// Keys of the variables that calls of the main graph capture.
fn captured<'a>(
    saved: Message<'a>,
    objects: &[Trackable],
    def: &GraphDef<'a>,
    meter: &'a Meter,
) -> Result<HashMap<&'a str, String>> {
    let (mut children, mut bound) = (Vec::new(), HashMap::new());
    for f in saved.fields() {
        let f = f?;
        match f.number {
            1 => {
                meter.message()?;
                let mut own = Vec::new();
                for f in f.message()?.fields() {
                    let f = f?;
                    if f.number == 1 {
                        meter.message()?;
                        own.push(reference(f.message()?)?);
                    }
                }
                children.push(own);
            }
            2 => {
                meter.message()?;
                let (name, function) = f.message()?.entry()?;
                let mut inputs = Vec::new();
                for f in function.fields() {
                    let f = f?;
                    if f.number == 2 {
                        f.unsigneds(&mut inputs, meter)?;
                    }
                }
                bound.insert(name, inputs);
            }
            _ => {}
        }
    }
    let keys = keys_of_objects(&children, objects);
    let mut out = HashMap::new();
    for node in def.nodes.iter().filter(|n| n.op.ends_with("PartitionedCall")) {
        let function = Attrs::new(&node.attrs, meter).function("f")?;
        let Some(ids) = bound.get(function) else { continue };
        let inputs: Vec<&str> = node.inputs.iter().copied().filter(|i| !i.starts_with('^')).collect();
        let first = inputs.len().saturating_sub(ids.len());
        for (&input, id) in inputs.iter().skip(first).zip(ids) {
            let key = usize::try_from(*id).ok().and_then(|id| keys.get(&id));
            if let Some(key) = key {
                out.insert(input, (*key).to_owned());
            }
        }
    }
    Ok(out)
}

/// Keys by number in the SavedModel's object graph: both graphs are walked along the same names.
fn keys_of_objects<'o>(children: &[Vec<(usize, &str)>], objects: &'o [Trackable]) -> HashMap<usize, &'o str> {
    let mut keys = HashMap::new();
    let mut seen = HashSet::from([0usize]);
    let mut open = vec![(0usize, 0usize)];
    while let Some((here, there)) = open.pop() {
        let (Some(own), Some(object)) = (children.get(here), objects.get(there)) else { continue };
        if let Some(key) = &object.key {
            keys.insert(here, key.as_str());
        }
        for (id, name) in own {
            if let Some(&other) = object.children.get(*name)
                && seen.insert(*id)
            {
                open.push((*id, other));
            }
        }
    }
    keys
}
