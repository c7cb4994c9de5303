//! Layers and operators that a program brings along: what the importer does with a class or operator it does not know.
//!
//! Two ways, which may be mixed:
//! - A lowering builds the layer from ops of the runtime: the file then needs nothing from the program that runs it.
//! - [`Opaque`] keeps it as a [`Custom`] op of the same name: configuration and weights go into the file, the arithmetic is
//!   registered in the app ([`pocketnn::CustomOps`]), and a program that has not registered it cannot open the file.
//!
//! ```
//! use pocketnn::ops::elementwise::BinaryKind;
//! use pocketnn_importer::own::{LayerCall, LayerLowering, LayerWeight};
//! use pocketnn_importer::{ImportOptions, Result};
//! use std::sync::Arc;
//!
//! /// `class Scale(keras.layers.Layer)`, with one weight made by `self.add_weight(name="factor", ...)`.
//! struct Scale;
//!
//! impl LayerLowering for Scale {
//!     fn weights(&self, _config: &serde_json::Map<String, serde_json::Value>) -> Vec<LayerWeight> {
//!         vec![LayerWeight::trained("factor")]
//!     }
//!     fn lower(&self, call: &mut LayerCall<'_>) -> Result<Vec<pocketnn::ValueId>> {
//!         let (x, factor) = (call.input(0)?, call.weight("factor")?);
//!         Ok(vec![call.builder.binary(BinaryKind::Mul, x, factor, call.name)?])
//!     }
//! }
//!
//! let mut options = ImportOptions::default();
//! options.register_layer("Scale", Arc::new(Scale));
//! // let imported = pocketnn_importer::import("model.keras", &options)?;
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use pocketnn::ops::custom::{Custom, CustomOps};
use pocketnn::{GraphBuilder, Tensor, ValueId};
use serde_json::{Map, Value};

use crate::error::{ImportError, Result};

/// An array that a layer owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerWeight {
    /// Name, free to choose; [`LayerCall::weight`] asks for it.
    pub name: String,
    /// False for what `add_weight(trainable=False)` made: files keep those last.
    pub trainable: bool,
}

impl LayerWeight {
    /// A trained array.
    pub fn trained(name: &str) -> Self {
        Self { name: name.to_owned(), trainable: true }
    }
    /// An array that training does not change by gradients.
    pub fn fixed(name: &str) -> Self {
        Self { name: name.to_owned(), trainable: false }
    }
}

/// How a Keras layer class of the program's own is imported.
pub trait LayerLowering: Send + Sync {
    /// The layer's arrays in the order in which it makes them.
    fn weights(&self, _config: &Map<String, Value>) -> Vec<LayerWeight> {
        Vec::new()
    }

    /// Builds what one call of the layer computes and gives its outputs.
    ///
    /// # Errors
    /// When configuration, inputs or weights do not fit; an `Unsupported` error joins the report of all that is missing.
    fn lower(&self, call: &mut LayerCall<'_>) -> Result<Vec<ValueId>>;
}

/// One call of a layer of the program's own.
pub struct LayerCall<'a> {
    /// The graph so far.
    pub builder: &'a mut GraphBuilder,
    /// Class as the file calls it.
    pub class: &'a str,
    /// Unique name of the layer, with the names of enclosing models.
    pub name: &'a str,
    /// Configuration as the file has it.
    pub config: &'a Map<String, Value>,
    /// Tensors among the arguments, in order. Images are as the model has them, usually `[N, H, W, C]`.
    pub inputs: Vec<ValueId>,
    /// The arrays of [`LayerLowering::weights`], by name and in that order.
    pub weights: Vec<(String, Tensor)>,
}

impl LayerCall<'_> {
    /// An input.
    ///
    /// # Errors
    /// When there are fewer.
    pub fn input(&self, i: usize) -> Result<ValueId> {
        self.inputs.get(i).copied().ok_or_else(|| {
            ImportError::invalid("the layer has fewer inputs").expected(i.saturating_add(1)).found(self.inputs.len())
        })
    }
    /// A weight as a constant of the graph.
    ///
    /// # Errors
    /// When the layer does not declare it.
    pub fn weight(&mut self, name: &str) -> Result<ValueId> {
        let found = self.weights.iter().find(|w| w.0 == name).map(|w| w.1.clone());
        let tensor = found.ok_or_else(|| ImportError::invalid("the layer does not declare this weight").found(name))?;
        Ok(self.builder.constant(&format!("{}/{name}", self.name), tensor))
    }
}

/// Domain of TFLite's custom operators.
pub const TFLITE: &str = "tflite";
/// Domain of TensorFlow's operations.
pub const TENSORFLOW: &str = "tensorflow";

/// How an operator of the program's own is imported: of ONNX, by domain and name; of TFLite (the custom ones) and TensorFlow in the domains
/// [`TFLITE`] and [`TENSORFLOW`].
pub trait OperatorLowering: Send + Sync {
    /// Names of the outputs. Only functions of TensorFlow ask, where tensors are called by them: an operation with several outputs that
    /// differ has to say them, or its outputs are taken for one list.
    fn output_names(&self) -> &[String] {
        &[]
    }

    /// Builds what the operator computes and gives its outputs.
    ///
    /// # Errors
    /// When attributes or inputs do not fit.
    fn lower(&self, call: &mut OperatorCall<'_>) -> Result<Vec<ValueId>>;
}

/// One node of an operator of the program's own.
pub struct OperatorCall<'a> {
    /// The graph so far.
    pub builder: &'a mut GraphBuilder,
    /// Domain; empty is the standard one.
    pub domain: &'a str,
    /// Operator.
    pub op: &'a str,
    /// Name of the node.
    pub name: &'a str,
    /// Attributes: numbers, texts and lists of them. Of a TFLite operator what its options hold by name; where they hold no names, the bytes as
    /// `custom_options`.
    pub attributes: Map<String, Value>,
    /// The bytes of a TFLite operator's options; empty elsewhere.
    pub options: &'a [u8],
    /// Operands; `None` for one that is absent.
    pub inputs: Vec<Option<ValueId>>,
    /// Number of outputs that the node has; in TensorFlow, which does not say it, as many as are named or read.
    pub outputs: usize,
}

impl OperatorCall<'_> {
    /// An operand that must be there.
    ///
    /// # Errors
    /// When it is absent.
    pub fn input(&self, i: usize) -> Result<ValueId> {
        self.inputs.get(i).copied().flatten().ok_or_else(|| ImportError::invalid("an input is missing").found(i))
    }
}

/// Keeps a layer or operator as a [`Custom`] op: its configuration is the op's attributes, its weights are operands after the
/// inputs.
#[derive(Clone, Debug)]
pub struct Opaque {
    name: String,
    ops: CustomOps,
    weights: Vec<LayerWeight>,
    outputs: usize,
    output_names: Vec<String>,
}

impl Opaque {
    /// The layer becomes the custom op `name`, whose code is in `ops`; it has one output and no weights.
    pub fn new(name: &str, ops: &CustomOps) -> Self {
        Self { name: name.to_owned(), ops: ops.clone(), weights: Vec::new(), outputs: 1, output_names: Vec::new() }
    }
    /// With these weights.
    #[must_use]
    pub fn weights(self, weights: Vec<LayerWeight>) -> Self {
        Self { weights, ..self }
    }
    /// With this number of outputs.
    #[must_use]
    pub fn outputs(self, outputs: usize) -> Self {
        Self { outputs, ..self }
    }
    /// With outputs of these names: see [`OperatorLowering::output_names`].
    #[must_use]
    pub fn output_names(self, names: &[&str]) -> Self {
        Self { outputs: names.len(), output_names: names.iter().map(|&n| n.to_owned()).collect(), ..self }
    }
    fn op(&self, attributes: &Map<String, Value>) -> Result<Custom> {
        Ok(Custom::new(&self.name, attributes.clone()).bound(&self.ops)?)
    }
}

/// Fields that say nothing about what a layer computes.
const BOOKKEEPING: &[&str] = &["name", "trainable", "dtype", "batch_input_shape", "build_config"];

impl LayerLowering for Opaque {
    fn weights(&self, _config: &Map<String, Value>) -> Vec<LayerWeight> {
        self.weights.clone()
    }
    fn lower(&self, call: &mut LayerCall<'_>) -> Result<Vec<ValueId>> {
        let kept = call.config.iter().filter(|(k, _)| !BOOKKEEPING.contains(&k.as_str()));
        let op = self.op(&kept.map(|(k, v)| (k.clone(), v.clone())).collect())?;
        let mut inputs: Vec<Option<ValueId>> = call.inputs.iter().map(|&v| Some(v)).collect();
        for weight in &self.weights {
            inputs.push(Some(call.weight(&weight.name)?));
        }
        Ok(call.builder.node(op, &inputs, self.outputs, call.name)?)
    }
}

impl OperatorLowering for Opaque {
    fn output_names(&self) -> &[String] {
        &self.output_names
    }
    fn lower(&self, call: &mut OperatorCall<'_>) -> Result<Vec<ValueId>> {
        let op = self.op(&call.attributes)?;
        // A graph of TensorFlow does not say how many outputs there are.
        let outputs = if call.domain == TENSORFLOW { call.outputs.max(self.outputs) } else { call.outputs };
        Ok(call.builder.node(op, &call.inputs.clone(), outputs, call.name)?)
    }
}

/// Lowerings of layers by class.
#[derive(Clone, Default)]
pub struct OwnLayers(Arc<BTreeMap<String, Arc<dyn LayerLowering>>>);

impl OwnLayers {
    pub(crate) fn insert(&mut self, class: &str, lowering: Arc<dyn LayerLowering>) {
        Arc::make_mut(&mut self.0).insert(class.to_owned(), lowering);
    }
    /// The lowering of a class; `package>Class` is also found as `Class`.
    pub fn get(&self, class: &str) -> Option<&Arc<dyn LayerLowering>> {
        self.0.get(class).or_else(|| self.0.get(class.rsplit('>').next().unwrap_or(class)))
    }
}

impl fmt::Debug for OwnLayers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Lowerings of operators by domain and name.
#[derive(Clone, Default)]
pub struct OwnOperators(BTreeMap<(String, String), Arc<dyn OperatorLowering>>);

impl OwnOperators {
    pub(crate) fn insert(&mut self, domain: &str, name: &str, lowering: Arc<dyn OperatorLowering>) {
        self.0.insert((domain.to_owned(), name.to_owned()), lowering);
    }
    /// The lowering of an operator.
    pub fn get(&self, domain: &str, name: &str) -> Option<&Arc<dyn OperatorLowering>> {
        self.0.get(&(domain.to_owned(), name.to_owned()))
    }
}

impl fmt::Debug for OwnOperators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
