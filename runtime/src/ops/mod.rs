//! The ops of a graph: one table, one file a family.
//!
//! An op is a struct of attributes ([`attrs`]), an [`Operator`]: how its outputs' types follow from its inputs' ([`Operator::infer`]) and
//! which kernel runs it ([`Operator::lower`], see [`crate::plan`]), and what it computes, naively ([`Evaluate`], the interpreter that
//! folds constants, verifies conversions and runs what has no kernel).
//!
//! A program links the families that it enables as features, and naive evaluation with the feature `interpret`: both are decided in
//! [`Op::operator`] and [`Op::eval`], the only ways to the code of an op. What was left out is refused when a file is read.
//!
//! Meaning is one: image tensors are `[N, C, spatial...]`, convolution weights `[O, I/groups, k...]`, broadcasting and axes
//! are numpy's. Operands that other formats keep as attributes but may compute (shapes, axes, pads) are inputs here; where
//! they are constants everything is decided before the first run. To add an op: its struct and functions in a family file and one
//! line in the table.

pub mod attrs;
pub mod infer;
pub(crate) mod operands;

pub mod activation;
pub mod control;
pub mod conv;
pub mod custom;
pub mod dense;
pub mod elementwise;
pub mod gather;
pub mod list;
pub mod movement;
pub mod norm;
pub mod pool;
pub mod quantize;
pub mod random;
pub mod recurrent;
pub mod reduce;
pub mod resize;
pub mod sample;
pub mod signal;
pub mod softmax;
pub mod text;
pub mod trees;

use crate::format::packed::Form;
use crate::plan::{FormatCx, Formats, Halo, InPlace, LowerCx, Lowered, Parts};
use crate::{Error, Graph, Result, Tensor};
use attrs::{Attributes, Fields};
use infer::{Fact, Infer, ValueType};

/// Element types of operands that an op takes besides the plain ones ([`DType::is_plain`](crate::DType::is_plain)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// None.
    Plain,
    /// Narrow ones.
    Narrow,
    /// Narrow ones and text: elements are only moved and compared. Its evaluation sees numbers of the same order for strings.
    Moved,
    /// Narrow ones and text, as they are.
    Text,
    /// Every type, lists among them.
    Any,
}

/// What an op computes, naively.
pub trait Evaluate {
    /// Computes the outputs. Inputs fit what [`Operator::infer`] accepted.
    ///
    /// # Errors
    /// When the values do not fit (an index out of range), or this combination of types is not supported.
    fn eval(&self, inputs: &[Option<&Tensor>], outputs: usize) -> Result<Vec<Tensor>>;
}

/// What a plan and a graph ask of an op.
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

    /// Which element types its operands may have.
    fn takes(&self) -> Takes {
        Takes::Plain
    }

    /// The graphs among its attributes, by the names of these.
    fn bodies(&self) -> Vec<(&'static str, &Graph)> {
        Vec::new()
    }

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

/// What stands for an op that this program lacks.
#[derive(Debug)]
struct Absent(&'static str, &'static str);

impl Operator for Absent {
    fn infer(&self, _cx: &Infer) -> Result<Vec<ValueType>> {
        Err(lacking(self.0, feature(self.1).unwrap_or_default()))
    }
}

/// The name in a condition of the op table.
fn feature(when: &'static str) -> Option<&'static str> {
    when.split('"').nth(1)
}

/// Refuses naive evaluation in a program that is built without it.
pub(crate) fn admit_evaluation(op: &Op) -> Result<()> {
    if cfg!(feature = "interpret") { Ok(()) } else { Err(lacking(op.name(), "interpret")) }
}

fn lacking(op: &str, feature: &str) -> Error {
    Error::unsupported(format!(
        "`{op}` needs the feature `{feature}` of the crate `pocketnn`, which this program is built without"
    ))
}

macro_rules! op_table {
    ($($family:ident $when:tt: $($name:ident)*;)*) => {
        /// An op with its attributes.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Op { $($(#[doc = concat!("See [`", stringify!($family), "::", stringify!($name), "`].")] $name($family::$name)),*),* }

        impl Op {
            /// Names of all ops.
            pub const NAMES: &[&str] = &[$($(stringify!($name)),*),*];
            /// The name, as in files and reports.
            pub fn name(&self) -> &'static str { match self { $($(Op::$name(_) => stringify!($name)),*),* } }
            /// The feature of this crate without which a program lacks the op, unless every program has it.
            pub fn feature(&self) -> Option<&'static str> {
                match self { $($(Op::$name(_) => feature(stringify!($when))),*),* }
            }
            /// What it can do. An op that this program lacks refuses every input.
            pub fn operator(&self) -> &dyn Operator {
                match self { $($(Op::$name(o) => if cfg! $when { o } else { &Absent(stringify!($name), stringify!($when)) }),*),* }
            }
            fn evaluate(&self) -> Option<&dyn Evaluate> {
                match self { $($(Op::$name(o) => if cfg!(feature = "interpret") && cfg! $when { Some(o) } else { None }),*),* }
            }
            /// The attributes that differ from their defaults.
            pub fn attributes(&self) -> serde_json::Map<String, serde_json::Value> {
                match self { $($(Op::$name(o) => o.to_json()),*),* }
            }
            /// Computes the outputs the naive way, strings that are only moved among them.
            ///
            /// # Errors
            /// As [`Evaluate::eval`], and `Unsupported` in a program without the feature `interpret` or that of the op.
            pub fn eval(&self, inputs: &[Option<&Tensor>], outputs: usize) -> Result<Vec<Tensor>> {
                let Some(op) = self.evaluate() else { return Err(lacking(self.name(), "interpret")) };
                let moved = || inputs.iter().flatten().any(|t| t.dtype() == crate::DType::Text);
                if self.operator().takes() == Takes::Moved && moved() { text::ranked(self, inputs, outputs) } else { op.eval(inputs, outputs) }
            }
            /// The op of this name with these attributes.
            ///
            /// # Errors
            /// When there is no such op or an attribute is unknown or has the wrong type; `Unsupported` when this program lacks the op.
            pub fn from_json(name: &str, attributes: serde_json::Map<String, serde_json::Value>) -> Result<Self> {
                Self::from_fields(name, Fields::new(attributes))
            }
            /// The op of this name with these attributes.
            ///
            /// # Errors
            /// As [`Self::from_json`].
            pub fn from_fields(name: &str, fields: Fields) -> Result<Self> {
                match name {
                    $($(stringify!($name) => if cfg! $when {
                        <$family::$name>::from_json(fields).map(Op::$name)
                    } else {
                        Err(lacking(name, feature(stringify!($when)).unwrap_or_default()))
                    },)*)*
                    _ => Err(Error::format(format!("unknown op `{name}`; this file needs a newer pocketnn"))),
                }
            }
        }

        $($(impl From<$family::$name> for Op { fn from(o: $family::$name) -> Self { Op::$name(o) } })*)*
    };
}

op_table! {
    activation (feature = "activation"): Activate;
    control (feature = "control"): If Loop;
    conv (feature = "conv"): Col2Im Conv ConvTranspose;
    custom (all()): Custom;
    dense (feature = "dense"): Dense Determinant Einsum MatMul;
    elementwise (feature = "elementwise"): Binary BitCast Cast Narrow PRelu Unary Where;
    gather (feature = "gather"): CumProd CumSum EyeLike Gather GatherElements GatherNd Lookup NonZero OneHot ScatterElements ScatterNd SelectBoxes TopK Trilu Unique;
    list (feature = "control"): List ListAt ListConcat ListErase ListInsert ListLen ListSplit;
    movement (all()): Identity Reshape Shape Squeeze Unsqueeze;
    movement (feature = "movement"): Concat ConstantOfShape DepthToSpace Expand Pad Pick Range Reverse Slice SpaceToDepth Split Tile Transpose;
    norm (feature = "norm"): BatchNorm GroupNorm LayerNorm Lrn;
    pool (feature = "pool"): MaxPoolWithIndices Pool;
    quantize (feature = "quantize"): Dequantize QBinary QConv QConvTranspose QDense QMatMul QPool QReduce QResize QSoftmax QUnary Quantize;
    random (feature = "random"): Random;
    recurrent (feature = "recurrent"): Gru Lstm Rnn;
    reduce (feature = "reduce"): ArgReduce Reduce;
    resize (feature = "resize"): Resize;
    sample (feature = "sample"): DeformConv GridSample RoiAlign RoiPool;
    signal (feature = "signal"): Dft MelWeights Stft;
    softmax (feature = "softmax"): Hardmax Softmax;
    text (feature = "text"): CountNgrams JoinText MatchText NormalizeText SplitText;
    trees (feature = "trees"): TreeEnsemble;
}
