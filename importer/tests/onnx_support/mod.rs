//! ONNX models written byte by byte, so that tests decide every byte.

#![allow(dead_code, reason = "each test file uses a part")]

use pocketnn::{Model, Options, Tensor};
use pocketnn_importer::onnx::{Imported, import};
use pocketnn_importer::{ImportError, ImportOptions, Limits};

pub const FLOAT: i64 = 1;
pub const INT64: i64 = 7;
pub const BOOL: i64 = 9;
pub const FLOAT16: i64 = 10;

/// A number in base 128, least significant digit first.
pub fn varint(mut n: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while n > 0x7f {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
    out
}

/// A length-delimited field.
pub fn bytes(number: u64, content: &[u8]) -> Vec<u8> {
    let mut out = varint(number << 3 | 2);
    out.extend(varint(content.len() as u64));
    out.extend_from_slice(content);
    out
}

/// An integer field.
pub fn int(number: u64, value: i64) -> Vec<u8> {
    let mut out = varint(number << 3);
    out.extend(varint(value as u64));
    out
}

pub fn text(number: u64, value: &str) -> Vec<u8> {
    bytes(number, value.as_bytes())
}

pub fn attr_int(name: &str, value: i64) -> Vec<u8> {
    [text(1, name), int(3, value), int(20, 2)].concat()
}

pub fn attr_ints(name: &str, values: &[i64]) -> Vec<u8> {
    let list: Vec<u8> = values.iter().flat_map(|&v| int(8, v)).collect();
    [text(1, name), list, int(20, 7)].concat()
}

pub fn attr_float(name: &str, value: f32) -> Vec<u8> {
    let mut field = varint(2 << 3 | 5);
    field.extend(value.to_le_bytes());
    [text(1, name), field, int(20, 1)].concat()
}

pub fn attr_text(name: &str, value: &str) -> Vec<u8> {
    [text(1, name), text(4, value), int(20, 3)].concat()
}

pub fn attr_tensor(name: &str, tensor: &[u8]) -> Vec<u8> {
    [text(1, name), bytes(5, tensor), int(20, 4)].concat()
}

pub fn attr_graph(name: &str, graph: &[u8]) -> Vec<u8> {
    [text(1, name), bytes(6, graph), int(20, 5)].concat()
}

/// Stands for an attribute of the function call.
pub fn attr_ref(name: &str, to: &str, kind: i64) -> Vec<u8> {
    [text(1, name), int(20, kind), text(21, to)].concat()
}

pub fn node(op: &str, inputs: &[&str], outputs: &[&str], attributes: &[Vec<u8>]) -> Vec<u8> {
    node_in("", op, inputs, outputs, attributes)
}

pub fn node_in(domain: &str, op: &str, inputs: &[&str], outputs: &[&str], attributes: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    inputs.iter().for_each(|i| out.extend(text(1, i)));
    outputs.iter().for_each(|o| out.extend(text(2, o)));
    out.extend(text(3, &format!("node_{}", outputs.first().unwrap_or(&"none"))));
    out.extend(text(4, op));
    attributes.iter().for_each(|a| out.extend(bytes(5, a)));
    if !domain.is_empty() {
        out.extend(text(7, domain));
    }
    out
}

/// A tensor with raw data.
pub fn tensor(name: &str, data_type: i64, dims: &[i64], raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    dims.iter().for_each(|&d| out.extend(int(1, d)));
    out.extend(int(2, data_type));
    out.extend(text(8, name));
    out.extend(bytes(9, raw));
    out
}

pub fn floats(name: &str, dims: &[i64], values: &[f32]) -> Vec<u8> {
    let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    tensor(name, FLOAT, dims, &raw)
}

pub fn longs(name: &str, dims: &[i64], values: &[i64]) -> Vec<u8> {
    let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    tensor(name, INT64, dims, &raw)
}

/// Name and type; a dimension is a number or a symbol.
pub fn value(name: &str, elem: i64, dims: &[&str]) -> Vec<u8> {
    let mut shape = Vec::new();
    for d in dims {
        let dim = d.parse::<i64>().map_or_else(|_| text(2, d), |n| int(1, n));
        shape.extend(bytes(1, &dim));
    }
    let ty = bytes(1, &[int(1, elem), bytes(2, &shape)].concat());
    [text(1, name), bytes(2, &ty)].concat()
}

/// The parts of a graph.
#[derive(Default)]
pub struct Parts {
    pub nodes: Vec<Vec<u8>>,
    pub initializers: Vec<Vec<u8>>,
    pub inputs: Vec<Vec<u8>>,
    pub outputs: Vec<Vec<u8>>,
}

impl Parts {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = text(2, "test");
        for (number, list) in [(1, &self.nodes), (5, &self.initializers), (11, &self.inputs), (12, &self.outputs)] {
            list.iter().for_each(|m| out.extend(bytes(number, m)));
        }
        out
    }

    /// A model of this graph.
    pub fn model(&self, opset: i64) -> Vec<u8> {
        self.model_with(opset, &[])
    }

    pub fn model_with(&self, opset: i64, functions: &[Vec<u8>]) -> Vec<u8> {
        let mut out = [int(1, 8), bytes(7, &self.encode()), bytes(8, &int(2, opset))].concat();
        out.extend(bytes(8, &[text(1, "local"), int(2, 1)].concat()));
        functions.iter().for_each(|f| out.extend(bytes(25, f)));
        out
    }
}

/// A function of the domain `local`.
pub fn function(name: &str, inputs: &[&str], outputs: &[&str], nodes: &[Vec<u8>], opset: i64) -> Vec<u8> {
    let mut out = text(1, name);
    inputs.iter().for_each(|i| out.extend(text(4, i)));
    outputs.iter().for_each(|o| out.extend(text(5, o)));
    nodes.iter().for_each(|n| out.extend(bytes(7, n)));
    out.extend(bytes(9, &int(2, opset)));
    out.extend(bytes(9, &[text(1, "local"), int(2, 1)].concat()));
    out.extend(text(10, "local"));
    out
}

/// One node from `x` (float, `dims`) to `y`.
pub fn single(op: &str, dims: &[&str], opset: i64, attributes: &[Vec<u8>]) -> Vec<u8> {
    let parts = Parts {
        nodes: vec![node(op, &["x"], &["y"], attributes)],
        inputs: vec![value("x", FLOAT, dims)],
        outputs: vec![value("y", FLOAT, &[])],
        ..Parts::default()
    };
    parts.model(opset)
}

pub fn options() -> ImportOptions {
    ImportOptions { limits: Limits::small(), ..ImportOptions::default() }
}

pub fn imported(model: &[u8]) -> Imported {
    import(model, None, &options()).unwrap_or_else(|e| panic!("{e}"))
}

pub fn refused(model: &[u8]) -> ImportError {
    match import(model, None, &options()) {
        Err(e) => e,
        Ok(i) => panic!("imported: {:?}", i.graph),
    }
}

pub fn run(model: &[u8], inputs: &[Tensor]) -> Vec<Tensor> {
    let model = Model::new(imported(model).graph);
    model.session(&Options::default()).unwrap().run_tensors(inputs).unwrap()
}
