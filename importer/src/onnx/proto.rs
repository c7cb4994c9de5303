//! The model as read: light structs that own what the decoder produced. The only module that names the decoder.
//!
//! Numbers that later versions of ONNX may extend (data types, attribute kinds) are kept as numbers.

use onnx_protobuf as pb;
use pb::Message as _;

use super::wire;
use crate::error::{ImportError, Result};
use crate::limits::Limits;

/// A model.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub producer: Option<String>,
    /// Operator sets in force: domain and version.
    pub opsets: Vec<(String, i64)>,
    pub graph: Option<Graph>,
    pub functions: Vec<Function>,
}

/// A graph, or the body of a control-flow operator.
#[derive(Debug, Default, Clone)]
pub(super) struct Graph {
    pub name: String,
    pub nodes: Vec<Node>,
    pub initializers: Vec<RawTensor>,
    pub sparse_initializers: Vec<SparseTensor>,
    pub inputs: Vec<ValueInfo>,
    pub outputs: Vec<ValueInfo>,
    pub value_info: Vec<ValueInfo>,
}

/// A function of the model.
#[derive(Debug)]
pub(super) struct Function {
    pub domain: String,
    pub name: String,
    pub overload: String,
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
    /// Defaults of attributes the caller may leave out.
    pub defaults: Vec<Attribute>,
    pub nodes: Vec<Node>,
    pub opsets: Vec<(String, i64)>,
}

/// An operator applied to values.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub name: String,
    pub op_type: String,
    pub domain: String,
    pub overload: String,
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
    pub attributes: Vec<Attribute>,
}

/// A named attribute.
#[derive(Debug, Clone)]
pub(super) struct Attribute {
    pub name: String,
    pub value: AttributeValue,
}

/// The value of an attribute, of the declared kind.
#[derive(Debug, Clone)]
pub(super) enum AttributeValue {
    Float(f32),
    Int(i64),
    String(Vec<u8>),
    Tensor(Box<RawTensor>),
    Graph(Box<Graph>),
    SparseTensor(Box<SparseTensor>),
    Floats(Vec<f32>),
    Ints(Vec<i64>),
    Strings(Vec<Vec<u8>>),
    /// A list that is empty, whatever it is declared to hold.
    Tensors(Vec<RawTensor>),
    Graphs(usize),
    Type,
    /// Undeclared kind (files before IR version 2) and every field 0 or empty.
    Zero,
    /// Stands for an attribute of the surrounding function call.
    Reference(String),
    /// A kind of a later version of ONNX.
    Unknown(i32),
    /// The declared field is missing.
    Missing(&'static str),
}

/// A tensor as stored; see [`super::tensor`] for its elements.
#[derive(Debug, Default, Clone)]
pub(super) struct RawTensor {
    pub name: String,
    pub dims: Vec<i64>,
    pub data_type: i32,
    pub raw: Vec<u8>,
    pub floats: Vec<f32>,
    pub int32s: Vec<i32>,
    pub int64s: Vec<i64>,
    pub doubles: Vec<f64>,
    pub uint64s: Vec<u64>,
    pub strings: Vec<Vec<u8>>,
    pub external: Option<Vec<(String, String)>>,
    pub segmented: bool,
}

/// A sparse tensor: values, and where they stand.
#[derive(Debug, Clone)]
pub(super) struct SparseTensor {
    pub values: RawTensor,
    pub indices: RawTensor,
    pub dims: Vec<i64>,
}

/// Name and type of a value.
#[derive(Debug, Clone)]
pub(super) struct ValueInfo {
    pub name: String,
    pub ty: TypeInfo,
}

/// The type of a value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum TypeInfo {
    /// Element type number, and dimensions if the rank is known.
    Tensor {
        elem: i32,
        shape: Option<Vec<Extent>>,
    },
    Sequence(Box<TypeInfo>),
    Optional(Box<TypeInfo>),
    /// Anything else, by name.
    Other(&'static str),
    Unknown,
}

/// One dimension of a declared shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Extent {
    Known(i64),
    Symbol(String),
    Unknown,
}

/// Decodes a model.
///
/// # Errors
/// `Format` where the bytes are not a model, `Limits` where it is too big.
pub(super) fn model(bytes: &[u8], limits: &Limits) -> Result<Model> {
    wire::check(bytes, wire::Message::Model, limits)?;
    let m = pb::ModelProto::parse_from_bytes(bytes).map_err(decoder)?;
    let producer = [m.producer_name, m.producer_version].join(" ").trim().to_owned();
    Ok(Model {
        producer: (!producer.is_empty()).then_some(producer),
        opsets: opsets(m.opset_import),
        graph: m.graph.into_option().map(graph),
        functions: m.functions.into_iter().map(function).collect(),
    })
}

/// Decodes a single tensor, as in the test data of ONNX.
///
/// # Errors
/// As [`model`].
pub(super) fn lone_tensor(bytes: &[u8], limits: &Limits) -> Result<RawTensor> {
    wire::check(bytes, wire::Message::Tensor, limits)?;
    Ok(tensor(pb::TensorProto::parse_from_bytes(bytes).map_err(decoder)?))
}

/// A tensor to write.
pub(super) struct Plain<'t> {
    pub name: &'t str,
    pub data_type: i32,
    pub shape: Vec<i64>,
    /// Elements as bytes.
    pub raw: Vec<u8>,
    /// Elements that are text.
    pub texts: Vec<Vec<u8>>,
}

/// Encodes a single tensor.
///
/// # Errors
/// When it is too big for the format.
pub(super) fn encode_tensor(t: Plain) -> Result<Vec<u8>> {
    let name = t.name;
    let t = pb::TensorProto {
        name: name.to_owned(),
        data_type: t.data_type,
        dims: t.shape,
        raw_data: t.raw,
        string_data: t.texts,
        ..pb::TensorProto::default()
    };
    t.write_to_bytes().map_err(|e| ImportError::limits("the tensor cannot be written").found(e).at_node(name))
}

fn decoder<E: std::fmt::Display>(error: E) -> ImportError {
    ImportError::format("the bytes are not an ONNX message").found(error)
}

fn opsets(list: Vec<pb::OperatorSetIdProto>) -> Vec<(String, i64)> {
    list.into_iter().map(|o| (domain(o.domain), o.version)).collect()
}

/// `ai.onnx` is another name of the default domain.
fn domain(name: String) -> String {
    if name == "ai.onnx" { String::new() } else { name }
}

fn graph(g: pb::GraphProto) -> Graph {
    Graph {
        name: g.name,
        nodes: g.node.into_iter().map(node).collect(),
        initializers: g.initializer.into_iter().map(tensor).collect(),
        sparse_initializers: g.sparse_initializer.into_iter().map(sparse).collect(),
        inputs: g.input.into_iter().map(value_info).collect(),
        outputs: g.output.into_iter().map(value_info).collect(),
        value_info: g.value_info.into_iter().map(value_info).collect(),
    }
}

fn function(f: pb::FunctionProto) -> Function {
    Function {
        domain: domain(f.domain),
        name: f.name,
        overload: f.overload,
        inputs: f.input,
        outputs: f.output,
        defaults: f.attribute_proto.into_iter().map(attribute).collect(),
        nodes: f.node.into_iter().map(node).collect(),
        opsets: opsets(f.opset_import),
    }
}

fn node(n: pb::NodeProto) -> Node {
    Node {
        name: n.name,
        op_type: n.op_type,
        domain: domain(n.domain),
        overload: n.overload,
        inputs: n.input,
        outputs: n.output,
        attributes: n.attribute.into_iter().map(attribute).collect(),
    }
}

fn attribute(a: pb::AttributeProto) -> Attribute {
    if !a.ref_attr_name.is_empty() {
        return Attribute { name: a.name, value: AttributeValue::Reference(a.ref_attr_name) };
    }
    let kind = match a.type_.value() {
        0 => guessed_kind(&a),
        kind => kind,
    };
    use AttributeValue as V;
    let value = match kind {
        0 => V::Zero,
        1 => V::Float(a.f),
        2 => V::Int(a.i),
        3 => V::String(a.s),
        4 => a.t.into_option().map_or(V::Missing("t"), |t| V::Tensor(Box::new(tensor(t)))),
        5 => a.g.into_option().map_or(V::Missing("g"), |g| V::Graph(Box::new(graph(g)))),
        6 => V::Floats(a.floats),
        7 => V::Ints(a.ints),
        8 => V::Strings(a.strings),
        9 => V::Tensors(a.tensors.into_iter().map(tensor).collect()),
        10 => V::Graphs(a.graphs.len()),
        11 => {
            a.sparse_tensor.into_option().map_or(V::Missing("sparse_tensor"), |s| V::SparseTensor(Box::new(sparse(s))))
        }
        13 => V::Type,
        other => V::Unknown(other),
    };
    Attribute { name: a.name, value }
}

/// The kind of an attribute that does not declare it, by the field that is filled; 0 where none is.
fn guessed_kind(a: &pb::AttributeProto) -> i32 {
    let filled = [
        (a.f != 0.0, 1),
        (a.i != 0, 2),
        (!a.s.is_empty(), 3),
        (a.t.is_some(), 4),
        (a.g.is_some(), 5),
        (!a.floats.is_empty(), 6),
        (!a.ints.is_empty(), 7),
        (!a.strings.is_empty(), 8),
        (!a.tensors.is_empty(), 9),
        (!a.graphs.is_empty(), 10),
    ];
    filled.iter().find(|f| f.0).map_or(0, |f| f.1)
}

fn tensor(t: pb::TensorProto) -> RawTensor {
    let entries = |list: Vec<pb::StringStringEntryProto>| list.into_iter().map(|e| (e.key, e.value)).collect();
    RawTensor {
        name: t.name,
        dims: t.dims,
        data_type: t.data_type,
        raw: t.raw_data,
        floats: t.float_data,
        int32s: t.int32_data,
        int64s: t.int64_data,
        doubles: t.double_data,
        uint64s: t.uint64_data,
        strings: t.string_data,
        external: (t.data_location.value() == 1).then(|| entries(t.external_data)),
        segmented: t.segment.is_some(),
    }
}

fn sparse(s: pb::SparseTensorProto) -> SparseTensor {
    let part = |t: protobuf::MessageField<pb::TensorProto>| t.into_option().map(tensor).unwrap_or_default();
    SparseTensor { values: part(s.values), indices: part(s.indices), dims: s.dims }
}

fn value_info(v: pb::ValueInfoProto) -> ValueInfo {
    ValueInfo { name: v.name, ty: v.type_.into_option().map_or(TypeInfo::Unknown, type_info) }
}

fn type_info(t: pb::TypeProto) -> TypeInfo {
    use pb::type_proto::Value as V;
    let inner =
        |t: protobuf::MessageField<pb::TypeProto>| Box::new(t.into_option().map_or(TypeInfo::Unknown, type_info));
    match t.value {
        None => TypeInfo::Unknown,
        Some(V::TensorType(t)) => TypeInfo::Tensor {
            elem: t.elem_type,
            shape: t.shape.into_option().map(|s| s.dim.into_iter().map(extent).collect()),
        },
        Some(V::SequenceType(s)) => TypeInfo::Sequence(inner(s.elem_type)),
        Some(V::OptionalType(o)) => TypeInfo::Optional(inner(o.elem_type)),
        Some(V::MapType(_)) => TypeInfo::Other("map"),
        Some(V::SparseTensorType(_)) => TypeInfo::Other("sparse tensor"),
        Some(_) => TypeInfo::Unknown,
    }
}

fn extent(d: pb::tensor_shape_proto::Dimension) -> Extent {
    use pb::tensor_shape_proto::dimension::Value as V;
    match d.value {
        Some(V::DimValue(n)) if n >= 0 => Extent::Known(n),
        Some(V::DimParam(s)) if !s.is_empty() => Extent::Symbol(s),
        _ => Extent::Unknown,
    }
}
