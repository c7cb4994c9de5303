//! From a layer graph to a pocketnn graph: walks the calls, hands each to the function of its layer's row, collects what is
//! not supported.

use std::collections::{BTreeSet, HashMap};

use pocketnn::{DType, Dim, GraphBuilder, Tensor, ValueId};
use serde_json::Value;

use super::call::{Cx, Item, Val};
use super::config::Config;
use super::hdf5::File;
use super::model::{Arg, Layer, Model, Reference};
use super::rows::row;
use super::weights::Weights;
use crate::error::{ErrorKind, ImportError, Result};
use crate::limits::Budget;
use crate::nearest::nearest;
use crate::own::{LayerCall, LayerLowering};
use crate::report::Report;

/// How convolution kernels lie in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernels {
    /// As they are applied.
    Plain,
    /// Rotated by 180 degrees (Theano convolves).
    Flipped,
    /// Keras 1 with Theano's ordering and no word about the backend.
    Unknown,
}

/// Which channels-first convolutions have their bias along the last axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DisplacedBias {
    /// None.
    Never,
    /// Conv3D: the only one that Keras's default backend runs on a CPU.
    Spatial3,
    /// All: TensorFlow on a GPU.
    Always,
}

/// State of one import.
pub struct Lowering<'f> {
    /// The graph so far.
    pub b: GraphBuilder,
    /// Weights.
    pub file: Option<&'f File<'f>>,
    /// What may still be made.
    pub budget: &'f Budget,
    /// Keras's major version.
    pub version: u8,
    /// Whether convolution kernels are flipped.
    pub kernels: Kernels,
    /// Which channels-first convolutions have their bias along the last axis where that has as many elements.
    pub displaced_bias: DisplacedBias,
    /// What is not supported so far.
    pub report: Report,
    /// Layers that the report names as refused.
    pub refused: BTreeSet<String>,
    /// Outputs of layers by name, for choosing other outputs than the model's.
    pub named: HashMap<String, ValueId>,
}

impl Lowering<'_> {
    /// The inputs of the outermost model as graph inputs.
    pub fn inputs(&mut self, model: &Model) -> Result<Vec<Val>> {
        let mut symbols = Symbols::default();
        let mut all = Vec::new();
        for r in &model.inputs {
            let layer = model.layers.get(r.layer).ok_or_else(|| ImportError::invalid("an input without a layer"))?;
            let (dtype, shape) =
                input_type(layer, &mut symbols).map_err(|e| e.at_node(&layer.name).at_op(&layer.class))?;
            let id = self.b.input(&layer.name, dtype, shape);
            self.named.insert(layer.name.clone(), id);
            all.push(Val::new(id));
        }
        Ok(all)
    }

    /// Lowers a model on these inputs; `None` where an output depends on something unsupported.
    pub fn model(
        &mut self,
        model: &Model,
        weights: &[Weights],
        inputs: &[Val],
        prefix: &str,
    ) -> Result<Option<Vec<Val>>> {
        if inputs.len() != model.inputs.len() {
            return Err(ImportError::invalid("another number of inputs than the model has")
                .expected(model.inputs.len())
                .found(inputs.len())
                .at_node(&model.name));
        }
        let mut values: HashMap<(usize, usize), Vec<Val>> = HashMap::new();
        for (r, v) in model.inputs.iter().zip(inputs) {
            values.insert((r.layer, r.call), vec![*v]);
        }
        for at in model.order()? {
            if values.contains_key(&at) {
                continue;
            }
            let Some(layer) = model.layers.get(at.0) else { continue };
            let place = |e: ImportError| e.at_op(&layer.original).at_node(format!("{prefix}{}", layer.name));
            let call = model.call(at).map_err(place)?;
            let args: Option<Vec<Item>> = call.args.iter().map(|a| item(a, &values)).collect();
            let kwargs: Option<Vec<(String, Item)>> =
                call.kwargs.iter().map(|(k, a)| Some((k.clone(), item(a, &values)?))).collect();
            let (Some(args), Some(kwargs)) = (args, kwargs) else {
                values.extend(self.stand_ins(model, at).map(|v| (at, v)));
                continue;
            };
            let mut given = Vec::new();
            args.iter().chain(kwargs.iter().map(|(_, i)| i)).for_each(|i| i.tensors(&mut given));
            let shapes: Vec<String> = given.iter().map(|v| self.b.ty(v.id).to_string()).collect();
            if let Some(error) = refusal(layer) {
                if self.refused.insert(format!("{prefix}{}", layer.name)) {
                    self.report.add_unsupported(&place(error).with_shapes(shapes));
                }
                values.extend(self.stand_ins(model, at).map(|v| (at, v)));
                continue;
            }
            let none = Weights::default();
            let weights = weights.get(at.0).unwrap_or(&none);
            match self.layer(layer, weights, args, kwargs, prefix) {
                Ok(Some(outputs)) => {
                    self.name_outputs(&format!("{prefix}{}", layer.name), &outputs);
                    values.insert(at, outputs);
                }
                Ok(None) => values.extend(self.stand_ins(model, at).map(|v| (at, v))),
                Err(error) if error.kind() == ErrorKind::Unsupported => {
                    self.report.add_unsupported(&place(error).with_shapes(shapes));
                    values.extend(self.stand_ins(model, at).map(|v| (at, v)));
                }
                // What contradicts a value that only stands in for another is no news.
                Err(_) if !self.report.unsupported().is_empty() => {}
                Err(error) => return Err(place(error).with_shapes(shapes)),
            }
        }
        let output = |r: &Reference| values.get(&(r.layer, r.call)).map(|v| v.get(r.tensor).copied());
        let mut outputs = Vec::new();
        for r in &model.outputs {
            match output(r) {
                None => return Ok(None),
                Some(Some(v)) => outputs.push(v),
                Some(None) => {
                    let name = model.layers.get(r.layer).map_or("?", |l| l.name.as_str());
                    return Err(ImportError::invalid("a layer has fewer outputs than are used").at_node(name));
                }
            }
        }
        Ok(Some(outputs))
    }

    /// Inputs of the types that the file notes for the outputs of a call that can't be lowered, so that what comes behind is looked at
    /// too. The graph is thrown away.
    fn stand_ins(&mut self, model: &Model, (layer, call): (usize, usize)) -> Option<Vec<Val>> {
        let mut all = Vec::new();
        let mut symbols = Symbols::default();
        while let Some(d) = model.declared.get(&Reference { layer, call, tensor: all.len() }) {
            let (dtype, shape) = (dtype_of(&d.dtype).ok()?, extents(&d.shape, "any", &mut symbols).ok()?);
            all.push(Val::new(self.b.input("stand-in", dtype, shape)));
        }
        (!all.is_empty()).then_some(all)
    }

    /// Values of a layer carry its name, unless they are another layer's.
    fn name_outputs(&mut self, name: &str, outputs: &[Val]) {
        for (i, v) in outputs.iter().enumerate() {
            let own = self.b.fact(v.id).constant.is_none() && !self.named.values().any(|&n| n == v.id);
            let name = if i == 0 { name.to_owned() } else { format!("{name}:{i}") };
            if own {
                self.b.rename(v.id, &name);
            }
            self.named.entry(name).or_insert(v.id);
        }
    }

    /// Lowers one call of one layer.
    pub fn layer(
        &mut self,
        layer: &Layer,
        weights: &Weights,
        args: Vec<Item>,
        kwargs: Vec<(String, Item)>,
        prefix: &str,
    ) -> Result<Option<Vec<Val>>> {
        let name = format!("{prefix}{}", layer.name);
        if let Some(model) = &layer.model {
            let mut inputs = Vec::new();
            args.iter().for_each(|a| a.tensors(&mut inputs));
            let inner = nested_weights(model, weights);
            return self.model(model, &inner, &inputs, &format!("{name}/"));
        }
        if let Some(own) = layer.lowering() {
            return self.own(own, layer, weights, &args, &kwargs, &name).map(Some);
        }
        let Some(row) = row(&layer.class) else {
            return Err(no_lowering(layer));
        };
        let config = Config::new(layer.config.clone());
        config.ignore(&["dtype"]);
        let mut cx = Cx { lw: self, layer, config, weights, name, args, kwargs };
        let mut outputs = (row.lower)(&mut cx)?;
        cx.config.finish()?;
        if let ([output], Some(mask)) = (outputs.as_mut_slice(), row.keeps_mask.then(|| cx.input_mask()).flatten()) {
            output.mask = output.mask.or(Some(mask));
        }
        Ok(Some(outputs))
    }
}

impl Lowering<'_> {
    /// Lowers a layer by the program's own lowering.
    fn own(
        &mut self,
        own: &dyn LayerLowering,
        layer: &Layer,
        weights: &Weights,
        args: &[Item],
        kwargs: &[(String, Item)],
        name: &str,
    ) -> Result<Vec<Val>> {
        let mut inputs = Vec::new();
        args.iter().chain(kwargs.iter().map(|(_, i)| i)).for_each(|i| i.tensors(&mut inputs));
        let mut arrays = Vec::new();
        for weight in own.weights(&layer.config) {
            let array = weights.read(self.file, &weight.name).map_err(|e| e.at_attribute(&weight.name))?;
            arrays.push((weight.name, Tensor::new(&array.shape, array.data)?));
        }
        let mut call = LayerCall {
            builder: &mut self.b,
            class: &layer.original,
            name,
            config: &layer.config,
            inputs: inputs.iter().map(|v| v.id).collect(),
            weights: arrays,
        };
        Ok(own.lower(&mut call)?.into_iter().map(Val::new).collect())
    }
}

/// Weights of a nested model by layer.
pub fn nested_weights(model: &Model, weights: &Weights) -> Vec<Weights> {
    super::weights::store_names(model).iter().map(|n| weights.scope(&format!("layers/{n}"))).collect()
}

/// A layer that can't be imported whatever its arguments are.
pub fn refusal(layer: &Layer) -> Option<ImportError> {
    if layer.model.is_some() || layer.class == "InputLayer" || layer.lowering().is_some() {
        return None;
    }
    if let Some((_, reason, help)) = super::refused::REFUSED.iter().find(|r| r.0 == layer.class) {
        return Some(ImportError::unsupported(*reason).help(*help));
    }
    (layer.custom || row(&layer.class).is_none()).then(|| no_lowering(layer))
}

fn no_lowering(layer: &Layer) -> ImportError {
    let known = super::rows::FAMILIES.iter().flat_map(|(_, rows)| rows.iter()).flat_map(|r| r.classes).copied();
    let near = nearest(&layer.original, known);
    if layer.custom {
        return ImportError::unsupported("a custom layer, which the file names but does not define").nearest(near).help(
            "replace it by Keras's own layers or keras.ops calls and save the model again, or register a lowering in the program that imports it",
        );
    }
    ImportError::unsupported("a layer without a lowering")
        .nearest(near)
        .help("replace it by layers of docs/support.md and save the model again, or register a lowering")
}

fn item(arg: &Arg, values: &HashMap<(usize, usize), Vec<Val>>) -> Option<Item> {
    Some(match arg {
        Arg::Tensor(r) => Item::Tensor(values.get(&(r.layer, r.call))?.get(r.tensor).copied()?),
        Arg::List(list) => Item::List(list.iter().map(|a| item(a, values)).collect::<Option<_>>()?),
        Arg::Value(v) => Item::Value(v.clone()),
    })
}

/// Names of unknown extents: the batch is `N`, the others are named by their axis.
#[derive(Default)]
struct Symbols {
    count: usize,
}

impl Symbols {
    fn next(&mut self, axis: usize, name: &str) -> Dim {
        if axis == 0 {
            return Dim::symbol("N");
        }
        self.count = self.count.saturating_add(1);
        Dim::symbol(&format!("{name}_{axis}"))
    }
}

fn input_type(layer: &Layer, symbols: &mut Symbols) -> Result<(DType, Vec<Dim>)> {
    let shape = layer.config.get("batch_shape").or_else(|| layer.config.get("batch_input_shape"));
    let shape = shape.map(super::config::plain);
    let Some(shape) = shape.as_ref().and_then(Value::as_array) else {
        return Err(ImportError::invalid("the model does not say the shape of its input")
            .help("build the model with an Input layer (or call it once) before saving"));
    };
    if layer.config.get("sparse").and_then(Value::as_bool) == Some(true)
        || layer.config.get("ragged").and_then(Value::as_bool) == Some(true)
    {
        return Err(ImportError::unsupported("a sparse or ragged input"));
    }
    let dims = extents(shape, &layer.name, symbols)?;
    let dtype = layer.config.get("dtype").or_else(|| layer.config.get("input_dtype"));
    let name = dtype.map_or(Ok("float32"), dtype_name)?;
    Ok((dtype_of(name)?, dims))
}

/// Extents as the file has them; null becomes a symbol.
fn extents(shape: &[Value], name: &str, symbols: &mut Symbols) -> Result<Vec<Dim>> {
    let mut dims = Vec::new();
    for (axis, d) in shape.iter().enumerate() {
        dims.push(match d {
            Value::Null => symbols.next(axis, name),
            other => {
                let n = other.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|&n| n < 1 << 40);
                Dim::from(n.ok_or_else(|| super::config::wrong("batch_shape", "extents", other))?)
            }
        });
    }
    Ok(dims)
}

/// The name of a dtype or of a policy's compute type.
pub fn dtype_name(value: &Value) -> Result<&str> {
    let name = match value {
        Value::String(s) => Some(s.as_str()),
        Value::Object(o) => o.get("config").and_then(|c| c.get("name")).and_then(Value::as_str),
        _ => None,
    };
    name.ok_or_else(|| super::config::wrong("dtype", "the name of an element type", value))
}

/// Element type by name. All floats compute in f32.
pub fn dtype_of(name: &str) -> Result<DType> {
    Ok(match name {
        "float32" | "float16" | "bfloat16" | "float64" | "double" | "half" | "mixed_float16" | "mixed_bfloat16"
        | "float" => DType::F32,
        "int8" => DType::I8,
        "int16" => DType::I16,
        "int32" | "int" => DType::I32,
        "int64" => DType::I64,
        "uint8" => DType::U8,
        "uint16" => DType::U16,
        "uint32" => DType::U32,
        "uint64" => DType::U64,
        "bool" => DType::Bool,
        other => return Err(ImportError::unsupported("element type").found(other)),
    })
}

/// The value as it is or converted to f32, for layers that compute in floats.
pub fn to_float(b: &mut GraphBuilder, x: ValueId, name: &str) -> Result<ValueId> {
    if b.ty(x).dtype == DType::F32 {
        return Ok(x);
    }
    Ok(b.op(pocketnn::ops::elementwise::Cast { to: DType::F32 }, &[x], &format!("{name}/cast"))?)
}
