//! The messages of `graph.proto`, `function.proto` and `tensor.proto`, as far as they are needed: ranges of the file.

use crate::error::{ImportError, Result};
use crate::limits::Budget;
use crate::protobuf::{Message, Meter};

/// A graph and the functions its nodes call.
#[derive(Debug, Default)]
pub(super) struct GraphDef<'a> {
    pub nodes: Vec<NodeDef<'a>>,
    pub functions: Vec<FunctionDef<'a>>,
    /// Version of the writer's graphs; before 24 an empty shape means an unknown one.
    pub producer: i64,
}

/// One operation. Attributes are decoded when they are asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct NodeDef<'a> {
    pub name: &'a str,
    pub op: &'a str,
    pub inputs: Vec<&'a str>,
    pub attrs: Vec<(&'a str, Message<'a>)>,
    /// Functions of a loop that was recovered ([`super::frames`]): the condition and the body.
    pub functions: Vec<&'a str>,
}

/// A function of the library.
#[derive(Debug, Default)]
pub(super) struct FunctionDef<'a> {
    pub name: &'a str,
    pub inputs: Vec<&'a str>,
    pub outputs: Vec<&'a str>,
    pub nodes: Vec<NodeDef<'a>>,
    /// Output argument to the tensor of the body that it is.
    pub ret: Vec<(&'a str, &'a str)>,
}

/// Decodes a graph.
///
/// # Errors
/// `Format` where the bytes break a rule, `Limits` where it is too big.
pub(super) fn graph_def<'a>(m: Message<'a>, meter: &Meter, budget: &Budget) -> Result<GraphDef<'a>> {
    let mut graph = GraphDef::default();
    for f in m.fields() {
        let f = f?;
        match f.number {
            1 => graph.nodes.push(node_def(f.message()?, meter, budget)?),
            2 => {
                for f in f.message()?.fields() {
                    let f = f?;
                    if f.number == 1 {
                        graph.functions.push(function_def(f.message()?, meter, budget)?);
                    }
                }
            }
            3 => graph.producer = graph.producer.max(f.int()?),
            4 => {
                if let Some(f) = f.message()?.field(1)? {
                    graph.producer = graph.producer.max(f.int()?);
                }
            }
            _ => {}
        }
    }
    Ok(graph)
}

fn node_def<'a>(m: Message<'a>, meter: &Meter, budget: &Budget) -> Result<NodeDef<'a>> {
    budget.nodes(1)?;
    meter.message()?;
    let mut node = NodeDef::default();
    for f in m.fields() {
        let f = f?;
        match f.number {
            1 => node.name = f.text()?,
            2 => node.op = f.text()?,
            3 => {
                meter.bytes(16)?;
                node.inputs.push(f.text()?);
            }
            5 => {
                meter.bytes(64)?;
                node.attrs.push(f.message()?.entry()?);
            }
            _ => {}
        }
    }
    Ok(node)
}

fn function_def<'a>(m: Message<'a>, meter: &Meter, budget: &Budget) -> Result<FunctionDef<'a>> {
    meter.message()?;
    let mut function = FunctionDef::default();
    for f in m.fields() {
        let f = f?;
        match f.number {
            1 => {
                for f in f.message()?.fields() {
                    let f = f?;
                    match f.number {
                        1 => function.name = f.text()?,
                        2 => function.inputs.push(argument(f.message()?, meter)?),
                        3 => function.outputs.push(argument(f.message()?, meter)?),
                        _ => {}
                    }
                }
            }
            3 => function.nodes.push(node_def(f.message()?, meter, budget)?),
            4 => {
                meter.bytes(64)?;
                let (key, value) = f.message()?.entry()?;
                function.ret.push((key, value.text()?));
            }
            _ => {}
        }
    }
    Ok(function)
}

/// Name of an argument, which must be one tensor.
fn argument<'a>(m: Message<'a>, meter: &Meter) -> Result<&'a str> {
    meter.bytes(16)?;
    let mut name = "";
    for f in m.fields() {
        let f = f?;
        match f.number {
            1 => name = f.text()?,
            5 | 6 if !f.bytes()?.is_empty() => {
                return Err(ImportError::unsupported("a function whose argument is a list of tensors").at_node(name));
            }
            _ => {}
        }
    }
    Ok(name)
}

/// A shape: `None` for an unknown rank, a negative number for an unknown extent.
pub(super) type Shape = Option<Vec<i64>>;

/// Decodes a `TensorShapeProto`.
pub(super) fn shape(m: Message, meter: &Meter) -> Result<Shape> {
    let (mut dims, mut unknown) = (Vec::new(), false);
    for f in m.fields() {
        let f = f?;
        match f.number {
            2 => {
                meter.bytes(8)?;
                let size = f.message()?.field(1)?;
                dims.push(size.map_or(Ok(0), |f| f.int())?);
            }
            3 => unknown = f.flag()?,
            _ => {}
        }
    }
    Ok(if unknown { None } else { Some(dims) })
}
