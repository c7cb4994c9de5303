//! Classical models, domain `ai.onnx.ml`: encoders, linear models, support vectors, trees.
//!
//! Everything but the trees is arithmetic on ops that are there. Maps (`CastMap`, `DictVectorizer`, `ZipMap`) have no tensors to stand for them and are
//! refused; a classifier's probabilities in front of a `ZipMap` can be fetched by name.

mod encode;
mod linear;
mod svm;
mod trees;

use pocketnn::Tensor;
use pocketnn::ops::activation::Activation;
use pocketnn::ops::elementwise::{BinaryKind, UnaryKind, Where};
use pocketnn::ops::gather::Gather;
use pocketnn::ops::movement::Concat;
use pocketnn::ops::reduce::{ArgReduce, Reduce, ReduceKind};
use pocketnn::ops::softmax::Softmax;

use super::activation::activate;
use super::attrs::unknown_value;
use super::constant::cast_to;
use super::elem::Elem;
use super::node::{Lowered, Node, V, runtime};
use super::registry::{Lower, Row};
use crate::error::{ImportError, Result};

const fn ml(name: &'static str, since: &'static [i64], lower: Lower) -> Row {
    Row { domain: "ai.onnx.ml", name, since, lower }
}

pub(super) const ROWS: &[Row] = &[
    ml("ArrayFeatureExtractor", &[1], encode::array_feature_extractor),
    ml("Binarizer", &[1], encode::binarizer),
    ml("CastMap", &[1], maps),
    ml("CategoryMapper", &[1], encode::category_mapper),
    ml("DictVectorizer", &[1], maps),
    ml("FeatureVectorizer", &[1], encode::feature_vectorizer),
    ml("Imputer", &[1], encode::imputer),
    ml("LabelEncoder", &[1, 2, 4], encode::label_encoder),
    ml("LinearClassifier", &[1], linear::classifier),
    ml("LinearRegressor", &[1], linear::regressor),
    ml("Normalizer", &[1], linear::normalizer),
    ml("OneHotEncoder", &[1], encode::one_hot_encoder),
    ml("SVMClassifier", &[1], svm::classifier),
    ml("SVMRegressor", &[1], svm::regressor),
    ml("Scaler", &[1], linear::scaler),
    ml("TreeEnsemble", &[5], trees::ensemble),
    ml("TreeEnsembleClassifier", &[1, 3, 5], trees::classifier),
    ml("TreeEnsembleRegressor", &[1, 3, 5], trees::regressor),
    ml("ZipMap", &[1], maps),
];

fn maps(cx: &mut Node) -> Result<Lowered> {
    cx.attrs.ignore(&[
        "cast_to",
        "map_form",
        "max_map",
        "string_vocabulary",
        "int64_vocabulary",
        "classlabels_int64s",
        "classlabels_strings",
    ]);
    Err(ImportError::unsupported("maps are not supported")
        .help("export without maps (skl2onnx: `zipmap=False`), or fetch the value in front of this node"))
}

/// A vector of strings.
fn texts(list: Vec<String>) -> Result<Tensor> {
    Tensor::texts(&[list.len()], list).map_err(|e| runtime(&e))
}

/// The input as f32, or f64 where it is that.
fn floats(cx: &mut Node, i: usize) -> Result<V> {
    let x = cx.input(i)?;
    if x.elem == Elem::F64 { Ok(x) } else { cast_to(cx, x, Elem::F32) }
}

/// Numbers as a constant of the type of `like`.
fn numbers(cx: &mut Node, like: V, shape: &[usize], values: Vec<f64>) -> Result<V> {
    let t = Tensor::new(shape, values).map_err(|e| runtime(&e))?;
    let t = super::node::cast_tensor(&t, like.elem.carried()?)?;
    Ok(V { id: cx.tensor(t), elem: like.elem })
}

/// A list of floats as f64.
fn wide(list: &[f32]) -> Vec<f64> {
    list.iter().map(|&x| f64::from(x)).collect()
}

/// What scores become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transform {
    None,
    Logistic,
    Softmax,
    SoftmaxZero,
    Probit,
}

impl Transform {
    fn read(cx: &Node) -> Result<Self> {
        let text = cx.attrs.string("post_transform", "NONE")?;
        match text.as_str() {
            "NONE" => Ok(Self::None),
            "LOGISTIC" => Ok(Self::Logistic),
            "SOFTMAX" => Ok(Self::Softmax),
            "SOFTMAX_ZERO" => Ok(Self::SoftmaxZero),
            "PROBIT" => Ok(Self::Probit),
            other => {
                Err(unknown_value("post_transform", "`NONE`, `LOGISTIC`, `SOFTMAX`, `SOFTMAX_ZERO` or `PROBIT`", other))
            }
        }
    }

    fn apply(self, cx: &mut Node, x: V) -> Result<V> {
        match self {
            Self::None => Ok(x),
            Self::Logistic => activate(cx, Activation::Sigmoid, x),
            Self::Softmax => cx.op(Softmax { axis: -1, log: false }, &[x.id], x.elem),
            Self::SoftmaxZero => softmax_zero(cx, x),
            Self::Probit => probit(cx, x),
        }
    }
}

/// A softmax in which scores of 0 stay 0.
fn softmax_zero(cx: &mut Node, x: V) -> Result<V> {
    let axis = cx.integers(&[-1]);
    let reduce = |kind| Reduce { kind, keep_dims: true, ..Reduce::default() };
    let most = cx.op(reduce(ReduceKind::Max), &[x.id, axis], x.elem)?;
    let zero = cx.scalar_like(x, 0.0)?;
    let shifted = cx.binary(BinaryKind::Sub, x, most)?;
    let power = cx.unary(UnaryKind::Exp, shifted)?;
    let none = cx.compare(BinaryKind::Eq, x, zero)?;
    let power = cx.op(Where::default(), &[none.id, zero.id, power.id], x.elem)?;
    let sum = cx.op(reduce(ReduceKind::Sum), &[power.id, axis], x.elem)?;
    let least = cx.scalar_like(x, f64::from(f32::MIN_POSITIVE))?;
    let sum = cx.binary(BinaryKind::Max, sum, least)?;
    cx.binary(BinaryKind::Div, power, sum)
}

/// `sqrt(2) erf^-1(2 x - 1)`, by Winitzki's approximation (a = 0.147) as the standard's reference has it.
fn probit(cx: &mut Node, x: V) -> Result<V> {
    const A: f64 = 0.147;
    let number = |cx: &mut Node, n: f64| cx.scalar_like(x, n);
    let (two, unit) = (number(cx, 2.0)?, number(cx, 1.0)?);
    let y = cx.binary(BinaryKind::Mul, x, two)?;
    let y = cx.binary(BinaryKind::Sub, y, unit)?;
    let sign = cx.unary(UnaryKind::Sign, y)?;
    let square = cx.unary(UnaryKind::Square, y)?;
    let rest = cx.binary(BinaryKind::Sub, unit, square)?;
    let log = cx.unary(UnaryKind::Log, rest)?;
    let (half, shift) = (number(cx, 0.5)?, number(cx, 2.0 / (std::f64::consts::PI * A))?);
    let v = cx.binary(BinaryKind::Mul, log, half)?;
    let v = cx.binary(BinaryKind::Add, v, shift)?;
    let over = number(cx, 1.0 / A)?;
    let second = cx.binary(BinaryKind::Mul, log, over)?;
    let squared = cx.unary(UnaryKind::Square, v)?;
    let inner = cx.binary(BinaryKind::Sub, squared, second)?;
    let inner = cx.unary(UnaryKind::Sqrt, inner)?;
    let outer = cx.binary(BinaryKind::Sub, inner, v)?;
    let root = cx.unary(UnaryKind::Sqrt, outer)?;
    let signed = cx.binary(BinaryKind::Mul, root, sign)?;
    let scale = number(cx, std::f64::consts::SQRT_2)?;
    cx.binary(BinaryKind::Mul, signed, scale)
}

/// The labels of a classifier.
struct Labels {
    names: Tensor,
    elem: Elem,
}

impl Labels {
    /// From the attributes of these names; without them classes are numbered.
    fn read(cx: &Node, ints: &str, strings: &str) -> Result<Option<Self>> {
        let (numbers, names) = (cx.attrs.ints(ints)?, cx.attrs.strings(strings)?);
        match (numbers.filter(|l| !l.is_empty()), names.filter(|l| !l.is_empty())) {
            (Some(list), None) => Ok(Some(Self { names: Tensor::vector(&list), elem: Elem::I64 })),
            (None, Some(list)) => Ok(Some(Self { names: texts(list)?, elem: Elem::Text })),
            (None, None) => Ok(None),
            _ => Err(ImportError::invalid("labels of two kinds").expected(format!("either `{ints}` or `{strings}`"))),
        }
    }

    fn len(&self) -> usize {
        self.names.len()
    }

    /// The label of each class number.
    fn of(&self, cx: &mut Node, class: V) -> Result<V> {
        let names = cx.tensor(self.names.clone());
        cx.op(Gather { axis: 0 }, &[names, class.id], self.elem)
    }
}

/// The class with the largest score: `[N, C]` to `[N]`.
fn best(cx: &mut Node, scores: V) -> Result<V> {
    cx.op(ArgReduce { axis: -1, keep_dims: false, ..ArgReduce::default() }, &[scores.id], Elem::I64)
}

/// Two columns from the only one: `[first, x]`.
fn two_columns(cx: &mut Node, first: V, x: V) -> Result<V> {
    cx.op(Concat { axis: 1 }, &[first.id, x.id], x.elem)
}
