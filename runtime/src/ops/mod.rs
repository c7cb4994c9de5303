//! The ops of a graph: one table, one file a family.
//!
//! An op is a struct of attributes ([`attrs`]) and an [`Operator`]: how its outputs' types follow from its inputs'
//! ([`Operator::infer`]), what it computes, naively ([`Operator::eval`], the interpreter that folds constants and verifies
//! conversions), and which kernel runs it ([`Operator::lower`], see [`crate::plan`]).
//!
//! Meaning is one: image tensors are `[N, C, spatial...]`, convolution weights `[O, I/groups, k...]`, broadcasting and axes
//! are numpy's. Operands that other formats keep as attributes but may compute (shapes, axes, pads) are inputs here; where
//! they are constants everything is decided before the first run. To add an op: its struct and functions in a family file and one
//! line in the table.

pub mod attrs;
pub mod infer;
pub(crate) mod operands;

pub mod activation;
pub mod conv;
pub mod dense;
pub mod elementwise;
pub mod gather;
pub mod movement;
pub mod norm;
pub mod pool;
pub mod recurrent;
pub mod reduce;
pub mod resize;
pub mod softmax;

use crate::format::packed::Form;
use crate::plan::{FormatCx, Formats, Halo, InPlace, LowerCx, Lowered, Parts};
use crate::{Error, Result, Tensor};
use attrs::{Attributes, Fields};
use infer::{Fact, Infer, ValueType};

/// What every op can do.
pub trait Operator: std::fmt::Debug + Send + Sync {
    /// The types of the outputs.
    ///
    /// # Errors
    /// When the inputs' types do not fit: the message says which input, expected and found.
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>>;

    /// The elements of small integer outputs as expressions of symbolic dimensions, where they can be known without running
    /// (as `Shape` and arithmetic on it): one entry an output.
    fn infer_dims(&self, _cx: &Infer) -> Option<Vec<Dim>> {
        None
    }

    /// Computes the outputs the naive way. Inputs fit what [`Self::infer`] accepted.
    ///
    /// # Errors
    /// When the values do not fit (an index out of range), or this combination of types is not supported.
    fn eval(&self, inputs: &[Option<&Tensor>], outputs: usize) -> Result<Vec<Tensor>>;

    /// The memory formats it wants of its inputs and gives its outputs. Everything plain unless the op says otherwise.
    fn formats(&self, cx: &FormatCx) -> Formats {
        cx.plain()
    }

    /// The pieces of its input or output, when it only cuts or joins.
    fn parts(&self, _cx: &FormatCx) -> Option<Parts> {
        None
    }

    /// Whether its output may lie where an input lies, so that both should have one halo.
    fn place(&self) -> InPlace {
        InPlace::Never
    }

    /// Zeros it wants around a blocked image input (padding that it reads from memory).
    fn halo(&self, _cx: &FormatCx, _input: usize) -> Halo {
        Halo::default()
    }

    /// The kernel for concrete shapes and the formats chosen. Without one the naive evaluation runs ([`Lowered::Interpreted`]).
    ///
    /// # Errors
    /// When the operands do not fit the kernel.
    fn lower(&self, _cx: &LowerCx) -> Result<Lowered> {
        Ok(Lowered::Interpreted)
    }

    /// Constant inputs that the kernel reads in a packed form. [`crate::plan::pack`] stores them so.
    fn packed(&self, _cx: &LowerCx) -> Vec<(usize, Form)> {
        Vec::new()
    }

    /// Multiply-accumulates of one run, for reports: known shapes only.
    fn macs(&self, _inputs: &[Option<&Fact>], _outputs: &[ValueType]) -> u64 {
        0
    }
}

use crate::Dim;

macro_rules! op_table {
    ($($family:ident: $($name:ident)*;)*) => {
        /// An op with its attributes.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Op { $($(#[doc = concat!("See [`", stringify!($family), "::", stringify!($name), "`].")] $name($family::$name)),*),* }

        impl Op {
            /// Names of all ops.
            pub const NAMES: &[&str] = &[$($(stringify!($name)),*),*];
            /// The name, as in files and reports.
            pub fn name(&self) -> &'static str { match self { $($(Op::$name(_) => stringify!($name)),*),* } }
            /// What it can do.
            pub fn operator(&self) -> &dyn Operator { match self { $($(Op::$name(o) => o),*),* } }
            /// The attributes that differ from their defaults.
            pub fn attributes(&self) -> serde_json::Map<String, serde_json::Value> {
                match self { $($(Op::$name(o) => o.to_json()),*),* }
            }
            /// The op of this name with these attributes.
            ///
            /// # Errors
            /// When there is no such op or an attribute is unknown or has the wrong type.
            pub fn from_json(name: &str, attributes: serde_json::Map<String, serde_json::Value>) -> Result<Self> {
                let fields = Fields::new(attributes);
                match name {
                    $($(stringify!($name) => <$family::$name>::from_json(fields).map(Op::$name),)*)*
                    _ => Err(Error::format(format!("unknown op `{name}`; this file needs a newer pocketnn"))),
                }
            }
        }

        $($(impl From<$family::$name> for Op { fn from(o: $family::$name) -> Self { Op::$name(o) } })*)*
    };
}

op_table! {
    activation: Activate;
    conv: Conv ConvTranspose;
    dense: Dense Einsum MatMul;
    elementwise: Binary Cast PRelu Unary Where;
    gather: CumSum EyeLike Gather GatherElements GatherNd NonZero OneHot ScatterElements ScatterNd TopK Trilu;
    movement: Concat ConstantOfShape DepthToSpace Expand Identity Pad Pick Range Reshape Reverse Shape Slice SpaceToDepth Split Squeeze Tile Transpose Unsqueeze;
    norm: BatchNorm GroupNorm LayerNorm Lrn;
    pool: MaxPoolWithIndices Pool;
    recurrent: Gru Lstm Rnn;
    reduce: ArgReduce Reduce;
    resize: Resize;
    softmax: Hardmax Softmax;
}
