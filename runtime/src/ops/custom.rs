//! Ops that a program brings along: a name, attributes as JSON, and code that the program registers ([`CustomOps`]).
//!
//! The file keeps name and attributes only; a program that did not register the name is refused when it opens the file
//! ([`crate::Model::open_with`]).
//!
//! ```
//! use pocketnn::ops::custom::{Attributes, Custom, CustomOp, CustomOps};
//! use pocketnn::ops::infer::{Infer, ValueType};
//! use pocketnn::{DType, Dim, GraphBuilder, Model, Options, Tensor, format};
//! use std::sync::Arc;
//!
//! /// `x * factor`
//! struct Times;
//!
//! impl CustomOp for Times {
//!     fn infer(&self, _: &Attributes, cx: &Infer) -> pocketnn::Result<Vec<ValueType>> {
//!         Ok(vec![cx.ty(0)?.clone()])
//!     }
//!     fn eval(&self, attributes: &Attributes, inputs: &[Option<&Tensor>], _: usize) -> pocketnn::Result<Vec<Tensor>> {
//!         let x = inputs[0].ok_or_else(|| pocketnn::Error::argument("input 0 is missing"))?;
//!         let factor = attributes["factor"].as_f64().unwrap_or(1.0) as f32;
//!         Ok(vec![Tensor::new(x.shape(), x.to_f32().into_iter().map(|v| v * factor).collect())?])
//!     }
//! }
//!
//! let mut ops = CustomOps::default();
//! ops.register("my.times", Arc::new(Times));
//! let mut b = GraphBuilder::new("twice");
//! let x = b.input("x", DType::F32, [Dim::from(2)]);
//! let attributes = serde_json::json!({ "factor": 2.0 }).as_object().cloned().unwrap_or_default();
//! let y = b.op(Custom::new("my.times", attributes).bound(&ops)?, &[x], "y")?;
//! b.output(y);
//! let file = format::write(&b.finish()?)?;
//!
//! assert!(Model::from_bytes(&file).is_err());
//! let model = Model::from_bytes_with(&file, &ops)?;
//! let y = model.session(&Options::default())?.run_tensors(&[Tensor::vector(&[1.0f32, 3.0])])?;
//! assert_eq!(y[0], Tensor::vector(&[2.0f32, 6.0]));
//! # Ok::<(), pocketnn::Error>(())
//! ```

use super::attrs::{self, Fields};
use super::infer::{Fact, Infer, ValueType};
use super::{Evaluate, Operator};
use crate::plan::{LowerCx, Lowered};
use crate::{Error, Result, Tensor};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The attributes of a custom op, as the file keeps them.
pub type Attributes = Map<String, Value>;

/// What a program supplies for an op of its own. The result may depend on attributes and inputs only: equal nodes are computed
/// once, and nodes whose inputs are constants when the model is converted.
pub trait CustomOp: Send + Sync {
    /// The types of the outputs; `cx` knows the types of the inputs and which are constants.
    ///
    /// # Errors
    /// When the inputs or attributes do not fit.
    fn infer(&self, attributes: &Attributes, cx: &Infer) -> Result<Vec<ValueType>>;

    /// Computes the outputs; inputs fit what [`Self::infer`] accepted, in row-major order.
    ///
    /// # Errors
    /// When the values do not fit.
    fn eval(&self, attributes: &Attributes, inputs: &[Option<&Tensor>], outputs: usize) -> Result<Vec<Tensor>>;

    /// A step without allocations for concrete shapes, all operands row-major. Without one [`Self::eval`] runs.
    ///
    /// # Errors
    /// When the operands do not fit.
    fn lower(&self, _attributes: &Attributes, _cx: &LowerCx) -> Result<Lowered> {
        Ok(Lowered::Interpreted)
    }

    /// Multiply-accumulates of one run, for reports.
    fn macs(&self, _attributes: &Attributes, _inputs: &[Option<&Fact>], _outputs: &[ValueType]) -> u64 {
        0
    }
}

/// The custom ops of a program, by name. Names are free; a prefix of one's own (`acme.blur`) keeps them apart.
#[derive(Clone, Default)]
pub struct CustomOps(BTreeMap<String, Arc<dyn CustomOp>>);

impl CustomOps {
    /// Adds an op, in place of one that had the name.
    pub fn register(&mut self, name: &str, op: Arc<dyn CustomOp>) -> &mut Self {
        self.0.insert(name.to_string(), op);
        self
    }
    /// The op of a name.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn CustomOp>> {
        self.0.get(name)
    }
    /// Names in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl std::fmt::Debug for CustomOps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

/// An op of the program: a name, attributes, and, once [`Custom::bound`], the code behind the name.
#[derive(Clone, Default)]
pub struct Custom {
    /// The name it was registered under.
    pub name: String,
    /// Its attributes.
    pub attributes: Attributes,
    code: Option<Arc<dyn CustomOp>>,
}

impl Custom {
    /// An op without code yet.
    pub fn new(name: &str, attributes: Attributes) -> Self {
        Self { name: name.to_string(), attributes, code: None }
    }
    /// The op with the code that is registered under its name.
    ///
    /// # Errors
    /// `Unsupported` when there is none; the message names the op and what is registered.
    pub fn bound(self, ops: &CustomOps) -> Result<Self> {
        let Some(code) = ops.get(&self.name) else {
            let known: Vec<&str> = ops.names().collect();
            let known = if known.is_empty() { "none are".to_string() } else { format!("registered are {known:?}") };
            return Err(Error::unsupported(format!(
                "the model uses the custom op `{}`, which this program has not registered ({known}); register it in a `CustomOps` and \
                 open the model with `Model::open_with`",
                self.name
            )));
        };
        Ok(Self { code: Some(code.clone()), ..self })
    }
    fn code(&self) -> Result<&dyn CustomOp> {
        self.code.as_deref().ok_or_else(|| {
            Error::unsupported(format!("the custom op `{}` has no code; bind it with `Custom::bound`", self.name))
        })
    }
}

impl PartialEq for Custom {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.attributes == other.attributes
    }
}

impl std::fmt::Debug for Custom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Custom").field("name", &self.name).field("attributes", &self.attributes).finish_non_exhaustive()
    }
}

impl attrs::Attributes for Custom {
    fn to_json(&self) -> Map<String, Value> {
        let name = ("name".to_string(), Value::from(self.name.as_str()));
        let attributes = ("attributes".to_string(), Value::Object(self.attributes.clone()));
        std::iter::once(name).chain((!self.attributes.is_empty()).then_some(attributes)).collect()
    }
    fn from_json(mut fields: Fields) -> Result<Self> {
        let name: String = fields.take("name", String::new)?;
        let attributes = fields.take("attributes", Map::new)?;
        fields.finish()?;
        if name.is_empty() {
            return Err(Error::format("a custom op without `name`"));
        }
        Ok(Self::new(&name, attributes))
    }
}

impl Operator for Custom {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        self.code()?.infer(&self.attributes, cx)
    }
    fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
        self.code()?.lower(&self.attributes, cx)
    }
    fn macs(&self, inputs: &[Option<&Fact>], outputs: &[ValueType]) -> u64 {
        self.code().map_or(0, |c| c.macs(&self.attributes, inputs, outputs))
    }
}

impl Evaluate for Custom {
    fn eval(&self, inputs: &[Option<&Tensor>], outputs: usize) -> Result<Vec<Tensor>> {
        let code = self.code()?;
        let computed = code.eval(&self.attributes, inputs, outputs)?;
        // The plan trusts an op's types; what a program supplies is held to its own word.
        let facts: Vec<Option<Fact>> = inputs.iter().map(|t| t.map(|t| Fact::of_constant(t.clone()))).collect();
        let facts: Vec<Option<&Fact>> = facts.iter().map(Option::as_ref).collect();
        let wanted = code.infer(&self.attributes, &Infer::new(&facts, outputs))?;
        let fits = |(w, t): (&ValueType, &Tensor)| {
            w.dtype == t.dtype()
                && w.shape.len() == t.rank()
                && w.shape.iter().zip(t.shape()).all(|(d, &n)| d.known().is_none_or(|k| k == n))
        };
        if computed.len() == wanted.len() && wanted.iter().zip(&computed).all(fits) {
            return Ok(computed);
        }
        let found: Vec<ValueType> = computed.iter().map(ValueType::of).collect();
        Err(Error::graph(format!("custom op `{}`: `infer` promised {wanted:?}, `eval` gave {found:?}", self.name)))
    }
}
