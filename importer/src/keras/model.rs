//! Sequential and functional models of every Keras version as one layer graph.
//!
//! A model is a list of layers and, for each layer, its calls. A call has positional and named arguments in which tensors are
//! references to `(layer, call, output)`. Calls are put in an order in which they can run.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Map, Value};

use super::names;
use crate::error::{ImportError, Result};
use crate::limits::Budget;
use crate::own::{LayerLowering, OwnLayers};

/// Output `tensor` of call `call` of layer `layer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    /// Position in [`Model::layers`].
    pub layer: usize,
    /// Position in [`Layer::calls`].
    pub call: usize,
    /// Output of the call.
    pub tensor: usize,
}

/// An argument of a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Arg {
    /// A tensor of the graph.
    Tensor(Reference),
    /// A list that holds at least one tensor.
    List(Vec<Arg>),
    /// Anything else.
    Value(Value),
}

impl Arg {
    fn references(&self, into: &mut Vec<Reference>) {
        match self {
            Self::Tensor(r) => into.push(*r),
            Self::List(list) => list.iter().for_each(|a| a.references(into)),
            Self::Value(_) => {}
        }
    }
}

/// One application of a layer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Call {
    /// Positional arguments.
    pub args: Vec<Arg>,
    /// Named arguments.
    pub kwargs: Vec<(String, Arg)>,
}

/// A layer with its configuration in Keras 2 and 3 names.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Class, as Keras 2 and 3 call it.
    pub class: String,
    /// Class as the file calls it.
    pub original: String,
    /// Name under which the class was registered with Keras, such as `package>Class`; else the class.
    pub registered: String,
    /// Unique name within its model.
    pub name: String,
    /// Configuration.
    pub config: Map<String, Value>,
    /// True if the file says that the class is not one of Keras.
    pub custom: bool,
    /// Applications in the order of the file.
    pub calls: Vec<Call>,
    /// The inner model, if the layer is one.
    pub model: Option<Box<Model>>,
    /// Layers of the program's own, of which this one may be or hold one.
    pub own: OwnLayers,
}

impl Layer {
    /// A layer from `{"class_name", "config", ..}`.
    pub fn parse(value: &Value, version: u8, depth: u32, budget: &Budget) -> Result<Self> {
        budget.nodes(1)?;
        budget.depth(depth, "nesting of models")?;
        let original = text(value, "class_name")?;
        let class = names::class(&original).to_owned();
        let empty = Map::new();
        let raw = value.get("config");
        let fields = raw.and_then(Value::as_object).unwrap_or(&empty);
        let name =
            fields.get("name").or_else(|| value.get("name")).and_then(Value::as_str).unwrap_or(&original).to_owned();
        let nested = is_model(&class) && raw.is_some_and(has_layers);
        let model = if nested {
            let inner = Model::parse(value, version, depth.saturating_add(1), budget);
            Some(Box::new(inner.map_err(|e| e.in_file(format!("model `{name}`")))?))
        } else {
            None
        };
        Ok(Self {
            custom: is_custom(value),
            config: if nested { Map::new() } else { names::fields(&class, version, fields) },
            class,
            registered: value.get("registered_name").and_then(Value::as_str).unwrap_or(&original).to_owned(),
            original,
            name,
            calls: Vec::new(),
            model,
            own: OwnLayers::default(),
        })
    }
}

impl Layer {
    /// The program's lowering of this layer.
    pub fn lowering(&self) -> Option<&dyn LayerLowering> {
        self.own.get(&self.registered).or_else(|| self.own.get(&self.original)).map(AsRef::as_ref)
    }

    /// Hands the program's layers to this layer and those inside.
    pub fn attach(&mut self, own: &OwnLayers) {
        self.own = own.clone();
        if let Some(model) = &mut self.model {
            model.attach(own);
        }
    }
}

/// A model: layers, inputs and outputs.
#[derive(Clone, Debug)]
pub struct Model {
    /// Name in the file.
    pub name: String,
    /// Layers in the order of the file, which is also the order of their weights.
    pub layers: Vec<Layer>,
    /// Inputs in order.
    pub inputs: Vec<Reference>,
    /// Outputs in order.
    pub outputs: Vec<Reference>,
    /// Shape of the input of a sequential model that has no input layer, batch first.
    pub input_shape: Option<Vec<Value>>,
    /// Element type and shape of tensors, where the file notes them beside references (Keras 3).
    pub declared: BTreeMap<Reference, Declared>,
}

/// A type as the file has it.
#[derive(Clone, Debug)]
pub struct Declared {
    /// Name of the element type.
    pub dtype: String,
    /// Extents; null where any number fits.
    pub shape: Vec<Value>,
}

impl Model {
    /// A model from `{"class_name", "config"}`; `version` is Keras's major version.
    pub fn parse(value: &Value, version: u8, depth: u32, budget: &Budget) -> Result<Self> {
        budget.depth(depth, "nesting of models")?;
        let class = text(value, "class_name")?;
        let config = value.get("config").ok_or_else(|| invalid("a model has no `config`"))?;
        match class.as_str() {
            "Sequential" => sequential(value, config, version, depth, budget),
            _ if config.get("layers").is_some() => functional(value, config, version, depth, budget),
            _ => Err(ImportError::unsupported("a model class that is neither Sequential nor Functional")
                .at_op(class)
                .help("subclassed models hold Python code; rebuild it as a functional model, load the weights and save that")),
        }
    }

    /// Hands the program's layers to all layers.
    pub fn attach(&mut self, own: &OwnLayers) {
        self.layers.iter_mut().for_each(|l| l.attach(own));
    }

    /// Calls in an order in which they can run, only those that the outputs need.
    pub fn order(&self) -> Result<Vec<(usize, usize)>> {
        let mut done = BTreeSet::new();
        let mut entered = BTreeSet::new();
        let mut order = Vec::new();
        let mut stack: Vec<((usize, usize), bool)> =
            self.outputs.iter().rev().map(|r| ((r.layer, r.call), false)).collect();
        let inputs: BTreeSet<(usize, usize)> = self.inputs.iter().map(|r| (r.layer, r.call)).collect();
        while let Some((at, children_done)) = stack.pop() {
            if done.contains(&at) {
                continue;
            }
            if children_done || inputs.contains(&at) {
                done.insert(at);
                order.push(at);
                continue;
            }
            if !entered.insert(at) {
                let name = self.layers.get(at.0).map_or("?", |l| l.name.as_str());
                return Err(invalid("the layers form a cycle").at_node(name));
            }
            stack.push((at, true));
            for r in self.call(at)?.references() {
                if !done.contains(&(r.layer, r.call)) {
                    stack.push(((r.layer, r.call), false));
                }
            }
        }
        Ok(order)
    }

    /// A call by position.
    pub fn call(&self, (layer, call): (usize, usize)) -> Result<&Call> {
        let found = self.layers.get(layer).and_then(|l| l.calls.get(call));
        found.ok_or_else(|| {
            let name = self.layers.get(layer).map_or("?", |l| l.name.as_str());
            invalid("a layer is used more often than it is called").at_node(name)
        })
    }
}

impl Call {
    /// All tensors among the arguments, in order.
    pub fn references(&self) -> Vec<Reference> {
        let mut all = Vec::new();
        self.args.iter().chain(self.kwargs.iter().map(|(_, a)| a)).for_each(|a| a.references(&mut all));
        all
    }
}

fn invalid(message: &str) -> ImportError {
    ImportError::invalid(message)
}

fn text(value: &Value, key: &str) -> Result<String> {
    value
        .get(key)
        .and_then(Value::as_str)
        .map(str::to_owned)
        .ok_or_else(|| invalid("a field of the architecture is missing").expected("text").at_attribute(key))
}

fn is_model(class: &str) -> bool {
    matches!(class, "Sequential" | "Functional" | "Model" | "Network" | "Container")
}

fn has_layers(config: &Value) -> bool {
    config.is_array() || config.get("layers").is_some()
}

/// Keras 3 and late Keras 2 name the module; `package>Name` in `registered_name` is somebody's own class.
fn is_custom(value: &Value) -> bool {
    let registered = value.get("registered_name").and_then(Value::as_str).is_some_and(|n| n.contains('>'));
    let class = value.get("class_name").and_then(Value::as_str).is_some_and(|n| n.contains('>'));
    let module = value.get("module").and_then(Value::as_str);
    let keras =
        |m: &str| ["keras", "tf_keras", "tensorflow"].iter().any(|k| m == *k || m.starts_with(&format!("{k}.")));
    let builtin = module.is_none_or(keras);
    (registered || class || !builtin)
        && !value.get("registered_name").and_then(Value::as_str).is_some_and(|n| n.starts_with("keras"))
}

fn sequential(value: &Value, config: &Value, version: u8, depth: u32, budget: &Budget) -> Result<Model> {
    let list = config.as_array().or_else(|| config.get("layers").and_then(Value::as_array));
    let list = list.ok_or_else(|| invalid("a Sequential model has no list of layers"))?;
    let name = config.get("name").and_then(Value::as_str).unwrap_or("sequential").to_owned();
    let mut layers = Vec::new();
    let mut input_shape = config
        .get("build_input_shape")
        .or_else(|| value.pointer("/build_config/input_shape"))
        .and_then(Value::as_array)
        .cloned();
    for item in list {
        layers.push(Layer::parse(item, version, depth, budget)?);
    }
    if let Some(shape) = layers.iter().find_map(first_shape) {
        input_shape = Some(shape);
    }
    if layers.first().is_none_or(|l| l.class != "InputLayer") {
        layers.insert(0, input_layer(&layers, input_shape.as_deref()));
    }
    let mut previous = None;
    for (i, layer) in layers.iter_mut().enumerate() {
        let args = previous.map(Arg::Tensor).into_iter().collect();
        layer.calls = vec![Call { args, kwargs: Vec::new() }];
        previous = Some(Reference { layer: i, call: 0, tensor: 0 });
    }
    let first = Reference { layer: 0, call: 0, tensor: 0 };
    Ok(Model {
        name,
        layers,
        inputs: vec![first],
        outputs: previous.into_iter().collect(),
        input_shape,
        declared: BTreeMap::new(),
    })
}

/// Shape of a layer's input if its configuration says it; looked for in the first layer that says anything.
fn first_shape(layer: &Layer) -> Option<Vec<Value>> {
    if let Some(model) = &layer.model {
        let input = model.inputs.first().and_then(|r| model.layers.get(r.layer))?;
        return first_shape(input).or_else(|| model.input_shape.clone());
    }
    let shape = layer.config.get("batch_input_shape").or_else(|| layer.config.get("batch_shape"));
    if let Some(shape) = shape.and_then(Value::as_array) {
        return Some(shape.clone());
    }
    let inner = layer.config.get("layer").and_then(|l| l.get("config")).and_then(|c| c.get("batch_input_shape"));
    if let (Some(shape), "Bidirectional") = (inner.and_then(Value::as_array), layer.class.as_str()) {
        return Some(shape.clone());
    }
    let length = layer.config.get("input_length").cloned().unwrap_or(Value::Null);
    match (layer.config.get("input_dim"), layer.class.as_str()) {
        (_, "Embedding") => Some(vec![Value::Null, length]),
        (Some(dim), "Dense") if !dim.is_null() => Some(vec![Value::Null, dim.clone()]),
        (Some(dim), _) if !dim.is_null() => Some(vec![Value::Null, length, dim.clone()]),
        _ => None,
    }
}

/// The input that Keras makes for a sequential model whose first layer is no input.
fn input_layer(layers: &[Layer], shape: Option<&[Value]>) -> Layer {
    let first = layers.first();
    let named = match first.and_then(|l| l.model.as_ref()) {
        Some(model) => model.inputs.first().and_then(|r| model.layers.get(r.layer)).map(|l| l.name.clone()),
        None => first.map(|l| format!("{}_input", l.name)),
    };
    let mut config = Map::new();
    if let Some(shape) = shape {
        config.insert("batch_shape".to_owned(), Value::Array(shape.to_vec()));
    }
    let dtype = first.and_then(|l| l.config.get("input_dtype").or_else(|| l.config.get("dtype")));
    if let Some(Value::String(dtype)) = dtype {
        config.insert("dtype".to_owned(), Value::String(dtype.clone()));
    }
    if first.is_some_and(|l| l.class == "Embedding") {
        config.insert("dtype".to_owned(), Value::String("float32".to_owned()));
    }
    Layer {
        class: "InputLayer".to_owned(),
        original: "InputLayer".to_owned(),
        registered: "InputLayer".to_owned(),
        name: named.unwrap_or_else(|| "input".to_owned()),
        config,
        custom: false,
        calls: Vec::new(),
        model: None,
        own: OwnLayers::default(),
    }
}

fn functional(_value: &Value, config: &Value, version: u8, depth: u32, budget: &Budget) -> Result<Model> {
    let list = config
        .get("layers")
        .and_then(Value::as_array)
        .ok_or_else(|| invalid("a functional model has no list of layers").at_attribute("layers"))?;
    let mut layers = Vec::new();
    let mut index = HashMap::new();
    for (i, item) in list.iter().enumerate() {
        let mut layer = Layer::parse(item, version, depth, budget)?;
        if let Some(name) = item.get("name").and_then(Value::as_str) {
            name.clone_into(&mut layer.name);
        }
        if index.insert(layer.name.clone(), i).is_some() {
            return Err(invalid("two layers have the same name").at_node(&layer.name));
        }
        layers.push(layer);
    }
    let counts = list.iter().map(|l| inbound(l).map_or(0, Vec::len)).collect();
    let mut reader = Reader { index: &index, offsets: BTreeMap::new(), counts };
    reader.find_offsets(&layers, list, config, version);
    let mut calls = Vec::new();
    for (item, layer) in list.iter().zip(&layers) {
        calls.push(reader.calls(item).map_err(|e| e.at_node(&layer.name).at_op(&layer.class))?);
    }
    for (layer, calls) in layers.iter_mut().zip(calls) {
        layer.calls = calls;
        if layer.calls.is_empty() {
            layer.calls.push(Call::default());
        }
    }
    let mut ends = |key: &str| -> Result<Vec<Reference>> {
        let mut all = Vec::new();
        let value = config.get(key).ok_or_else(|| invalid("a functional model lacks a field").at_attribute(key))?;
        reader.ends(value, version, &mut all).map_err(|e| e.at_attribute(key))?;
        if all.is_empty() { Err(invalid("a model without inputs or outputs").at_attribute(key)) } else { Ok(all) }
    };
    let (inputs, outputs) = (ends("input_layers")?, ends("output_layers")?);
    let name = config.get("name").and_then(Value::as_str).unwrap_or("model").to_owned();
    let mut declared = BTreeMap::new();
    list.iter().filter_map(|l| l.get("inbound_nodes")).for_each(|v| reader.declared(v, &mut declared));
    Ok(Model { name, layers, inputs, outputs, input_shape: None, declared })
}

fn inbound(layer: &Value) -> Option<&Vec<Value>> {
    layer.get("inbound_nodes").and_then(Value::as_array)
}

/// Turns the references of one functional model into positions.
struct Reader<'a> {
    index: &'a HashMap<String, usize>,
    /// By layer: the number of a nested model's first call in references. Keras counts the model's own making as call 0.
    offsets: BTreeMap<usize, usize>,
    counts: Vec<usize>,
}

impl Reader<'_> {
    /// Keras 1 and 2 refer to calls of a nested model from 1 on (from 0 for a Sequential that was built late), which the
    /// references themselves tell; Keras 3 does it only in `output_layers`.
    fn find_offsets(&mut self, layers: &[Layer], list: &[Value], config: &Value, version: u8) {
        if version >= 3 {
            return;
        }
        let mut seen: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        let mut note = |v: &Value| {
            if let Some((layer, call, _)) = self.triple(v) {
                seen.entry(layer).or_default().insert(call);
            }
        };
        let ends = config.get("output_layers").into_iter();
        ends.chain(list.iter().filter_map(|l| l.get("inbound_nodes"))).for_each(|v| walk(v, &mut note));
        for (layer, calls) in seen {
            let nested = layers.get(layer).is_some_and(|l| l.model.is_some());
            if nested && !calls.contains(&0) {
                self.offsets.insert(layer, 1);
            }
        }
    }

    /// `[name, call, tensor, ..]` where the name is a layer of this model.
    fn triple(&self, value: &Value) -> Option<(usize, usize, usize)> {
        let [name, call, tensor, ..] = value.as_array()?.as_slice() else { return None };
        let layer = *self.index.get(name.as_str()?)?;
        let number = |v: &Value| v.as_u64().and_then(|n| usize::try_from(n).ok());
        Some((layer, number(call)?, number(tensor)?))
    }

    fn reference(&self, (layer, call, tensor): (usize, usize, usize), offset: usize) -> Result<Reference> {
        let count = self.counts.get(layer).copied().unwrap_or(0).max(1);
        let call = call.checked_sub(offset).filter(|&c| c < count).or(Some(call).filter(|&c| c < count));
        call.map(|call| Reference { layer, call, tensor }).ok_or_else(|| {
            invalid("a reference to a call of a layer that does not exist").expected(format!("below {count}"))
        })
    }

    fn argument_reference(&self, at: (usize, usize, usize)) -> Result<Reference> {
        self.reference(at, self.offsets.get(&at.0).copied().unwrap_or(0))
    }

    /// `input_layers` and `output_layers`: one triple, or lists and dictionaries of them.
    fn ends(&mut self, value: &Value, version: u8, into: &mut Vec<Reference>) -> Result<()> {
        if let Some(at) = self.triple(value) {
            let offset = self.offsets.get(&at.0).copied().unwrap_or(usize::from(version >= 3));
            into.push(self.reference(at, offset)?);
            return Ok(());
        }
        match value {
            Value::Array(list) => list.iter().try_for_each(|v| self.ends(v, version, into)),
            Value::Object(map) if map.get("class_name").and_then(Value::as_str) == Some("__tuple__") => {
                map.get("items").map_or(Ok(()), |v| self.ends(v, version, into))
            }
            Value::Object(map) => map.values().try_for_each(|v| self.ends(v, version, into)),
            other => Err(invalid("not a reference to a layer of the model").found(other)),
        }
    }

    /// Notes the types beside the references inside a value. JSON nesting is bounded by the parser.
    fn declared(&self, value: &Value, into: &mut BTreeMap<Reference, Declared>) {
        if let Some(at) = keras_tensor(value).and_then(|h| self.triple(h)) {
            let dtype = value.pointer("/config/dtype").and_then(Value::as_str);
            let shape = value.pointer("/config/shape").map(super::config::plain);
            if let (Ok(at), Some(dtype), Some(Value::Array(shape))) = (self.argument_reference(at), dtype, shape) {
                into.insert(at, Declared { dtype: dtype.to_owned(), shape });
            }
        }
        match value {
            Value::Array(list) => list.iter().for_each(|v| self.declared(v, into)),
            Value::Object(map) => map.values().for_each(|v| self.declared(v, into)),
            _ => {}
        }
    }

    fn calls(&self, layer: &Value) -> Result<Vec<Call>> {
        inbound(layer).map_or(Ok(Vec::new()), |nodes| nodes.iter().map(|n| self.one_call(n)).collect())
    }

    fn one_call(&self, node: &Value) -> Result<Call> {
        if let Some(object) = node.as_object() {
            let list = object.get("args").and_then(Value::as_array);
            let list = list.ok_or_else(|| invalid("a call without `args`").at_attribute("inbound_nodes"))?;
            let args = list.iter().map(|v| self.argument(v)).collect::<Result<_>>()?;
            let kwargs = object.get("kwargs").and_then(Value::as_object);
            let kwargs = kwargs.into_iter().flatten().map(|(k, v)| Ok((k.clone(), self.argument(v)?)));
            return Ok(Call { args, kwargs: kwargs.collect::<Result<_>>()? });
        }
        let list = node.as_array().ok_or_else(|| invalid("a call that is neither a list nor an object"))?;
        // One tensor may stand without the list around it.
        let single = [node.clone()];
        let list: &[Value] = if self.triple(node).is_some() || is_constant(node) { &single } else { list };
        let mut tensors = Vec::new();
        let mut kwargs: Vec<(String, Arg)> = Vec::new();
        for item in list {
            tensors.push(self.old_tensor(item)?);
            let named = item.as_array().and_then(|a| a.get(3)).and_then(Value::as_object);
            for (key, value) in named.into_iter().flatten() {
                if kwargs.iter().all(|(k, _)| k != key) {
                    kwargs.push((key.clone(), self.argument(value)?));
                }
            }
        }
        let args = match <[Arg; 1]>::try_from(tensors) {
            Ok([one]) => vec![one],
            Err(many) => vec![Arg::List(many)],
        };
        Ok(Call { args, kwargs })
    }

    fn old_tensor(&self, item: &Value) -> Result<Arg> {
        if let Some(at) = self.triple(item) {
            return Ok(Arg::Tensor(self.argument_reference(at)?));
        }
        if is_constant(item) {
            return Ok(Arg::Value(item.get(2).cloned().unwrap_or(Value::Null)));
        }
        Err(invalid("an input that is no layer of the model").found(super::config::shorten(item)))
    }

    /// An argument of any version: tensors are found at any depth of lists.
    fn argument(&self, value: &Value) -> Result<Arg> {
        if let Some(history) = keras_tensor(value) {
            let at = self.triple(history);
            let at = at.ok_or_else(|| invalid("a tensor of no layer of the model").found(history))?;
            return Ok(Arg::Tensor(self.argument_reference(at)?));
        }
        if let Some(at) = self.triple(value).filter(|_| value.as_array().is_some_and(|a| a.len() <= 4)) {
            return Ok(Arg::Tensor(self.argument_reference(at)?));
        }
        let value = if value.get("class_name").and_then(Value::as_str) == Some("__tuple__") {
            value.get("items").unwrap_or(value)
        } else {
            value
        };
        if let Some(list) = value.as_array() {
            let args: Vec<Arg> = list.iter().map(|v| self.argument(v)).collect::<Result<_>>()?;
            if args.iter().any(|a| !matches!(a, Arg::Value(_))) {
                return Ok(Arg::List(args));
            }
        }
        Ok(Arg::Value(value.clone()))
    }
}

fn is_constant(node: &Value) -> bool {
    node.get(0).and_then(Value::as_str) == Some("_CONSTANT_VALUE")
}

/// `keras_history` of a serialized tensor of Keras 3.
fn keras_tensor(value: &Value) -> Option<&Value> {
    let class = value.get("class_name").and_then(Value::as_str)?;
    if class != "__keras_tensor__" {
        return None;
    }
    value.pointer("/config/keras_history")
}

/// Calls `f` on every array inside a value. JSON nesting is bounded by the parser.
fn walk(value: &Value, f: &mut impl FnMut(&Value)) {
    match value {
        Value::Array(list) => {
            f(value);
            list.iter().for_each(|v| walk(v, f));
        }
        Value::Object(map) => map.values().for_each(|v| walk(v, f)),
        _ => {}
    }
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod tests;
