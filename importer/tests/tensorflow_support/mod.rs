//! Small TensorFlow graphs, written byte by byte.
#![allow(dead_code, reason = "each test file uses a part")]

use pocketnn::Tensor;

/// A number in groups of seven bits.
pub fn varint(mut n: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while n > 0x7f {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
    out
}

/// A field that holds a number.
pub fn int(field: u64, n: i64) -> Vec<u8> {
    [varint(field << 3), varint(n as u64)].concat()
}

/// A field that holds bytes or a message.
pub fn bytes(field: u64, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    [varint(field << 3 | 2), varint(content.len() as u64), content.to_vec()].concat()
}

/// An attribute by name: its message from the functions below.
pub fn attr(name: &str, value: Vec<u8>) -> Vec<u8> {
    bytes(5, [bytes(1, name), bytes(2, value)].concat())
}

pub fn text(s: &str) -> Vec<u8> {
    bytes(2, s)
}
pub fn number(n: i64) -> Vec<u8> {
    int(3, n)
}
pub fn float(x: f32) -> Vec<u8> {
    [varint(4 << 3 | 5), x.to_le_bytes().to_vec()].concat()
}
pub fn flag(b: bool) -> Vec<u8> {
    int(5, i64::from(b))
}
pub fn dtype(n: i64) -> Vec<u8> {
    int(6, n)
}
pub fn shape_of(dims: &[i64]) -> Vec<u8> {
    dims.iter().flat_map(|&d| bytes(2, int(1, d))).collect()
}
pub fn shape(dims: &[i64]) -> Vec<u8> {
    bytes(7, shape_of(dims))
}
pub fn numbers(list: &[i64]) -> Vec<u8> {
    bytes(1, list.iter().flat_map(|&n| int(3, n)).collect::<Vec<u8>>())
}
pub fn texts(list: &[&str]) -> Vec<u8> {
    bytes(1, list.iter().flat_map(|s| bytes(2, s)).collect::<Vec<u8>>())
}
pub fn function_name(name: &str) -> Vec<u8> {
    bytes(10, bytes(1, name))
}

/// A tensor attribute; `dtype` is TensorFlow's number.
pub fn tensor(dtype: i64, t: &Tensor) -> Vec<u8> {
    let dims: Vec<i64> = t.shape().iter().map(|&d| d as i64).collect();
    bytes(8, [int(1, dtype), bytes(2, shape_of(&dims)), bytes(4, t.bytes())].concat())
}

/// A node, without the field it stands in.
pub fn node(name: &str, op: &str, inputs: &[&str], attrs: &[Vec<u8>]) -> Vec<u8> {
    let inputs = inputs.iter().flat_map(|i| bytes(3, i));
    [bytes(1, name), bytes(2, op)].concat().into_iter().chain(inputs).chain(attrs.concat()).collect()
}

/// A placeholder of f32.
pub fn placeholder(name: &str, dims: &[i64]) -> Vec<u8> {
    node(name, "Placeholder", &[], &[attr("dtype", dtype(1)), attr("shape", shape(dims))])
}

/// A constant of f32.
pub fn constant(name: &str, t: &Tensor) -> Vec<u8> {
    node(name, "Const", &[], &[attr("dtype", dtype(1)), attr("value", tensor(1, t))])
}

/// A constant of i32.
pub fn integers(name: &str, list: &[i32]) -> Vec<u8> {
    node(name, "Const", &[], &[attr("dtype", dtype(3)), attr("value", tensor(3, &Tensor::vector(list)))])
}

/// A function: name, arguments, outputs with what they are, nodes.
pub fn function(name: &str, inputs: &[&str], outputs: &[(&str, &str)], nodes: &[Vec<u8>]) -> Vec<u8> {
    let argument = |field: u64, name: &str| bytes(field, [bytes(1, name), int(3, 1)].concat());
    let inputs: Vec<u8> = inputs.iter().flat_map(|i| argument(2, i)).collect();
    let named: Vec<u8> = outputs.iter().flat_map(|o| argument(3, o.0)).collect();
    let ret: Vec<u8> = outputs.iter().flat_map(|o| bytes(4, [bytes(1, o.0), bytes(2, o.1)].concat())).collect();
    let nodes: Vec<u8> = nodes.iter().flat_map(|n| bytes(3, n)).collect();
    [bytes(1, [bytes(1, name), inputs, named].concat()), nodes, ret].concat()
}

/// A graph of nodes and functions, of a new version.
pub fn graph_with(nodes: &[Vec<u8>], functions: &[Vec<u8>]) -> Vec<u8> {
    let nodes: Vec<u8> = nodes.iter().flat_map(|n| bytes(1, n)).collect();
    let functions: Vec<u8> = functions.iter().flat_map(|f| bytes(1, f)).collect();
    [nodes, bytes(2, functions), bytes(4, int(1, 1000))].concat()
}

/// A graph of nodes.
pub fn graph(nodes: &[Vec<u8>]) -> Vec<u8> {
    graph_with(nodes, &[])
}
