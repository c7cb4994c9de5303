//! Bytes that break the rules: every one is an error, none a panic, and nothing is allocated because a file says so.

mod tensorflow_support;

use pocketnn::Tensor;
use pocketnn_importer::{ErrorKind, ImportError, ImportOptions, Limits, import_bytes, tensorflow};
use tensorflow_support::*;

fn options() -> ImportOptions {
    ImportOptions { limits: Limits::small(), ..ImportOptions::default() }
}

fn refused(bytes: &[u8]) -> ImportError {
    tensorflow::import_graph(bytes, &options()).unwrap_err()
}

fn model() -> Vec<u8> {
    let window = [attr("strides", numbers(&[1, 1, 1, 1])), attr("padding", text("SAME"))].concat();
    graph(&[
        placeholder("x", &[1, 4, 4, 1]),
        constant("k", &Tensor::new(&[2, 2, 1, 2], vec![0.5f32; 8]).unwrap()),
        node("c", "Conv2D", &["x", "k"], &[window]),
        integers("shape", &[1, -1]),
        node("y", "Reshape", &["c", "shape"], &[]),
    ])
}

#[test]
fn truncated_and_damaged_graphs_are_errors_or_other_graphs_but_never_panics() {
    let whole = model();
    assert!(import_bytes(&whole, &options()).is_ok());
    for cut in 1..whole.len() {
        let _ = tensorflow::import_graph(&whole[..cut], &options());
    }
    for at in 0..whole.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut damaged = whole.clone();
            damaged[at] ^= flip;
            let _ = tensorflow::import_graph(&damaged, &options());
            let _ = tensorflow::import_saved_model(&damaged, None, &options());
        }
    }
}

#[test]
fn each_contradiction_is_told() {
    let huge = node(
        "k",
        "Const",
        &[],
        &[
            attr("dtype", dtype(1)),
            attr("value", bytes(8, [int(1, 1), bytes(2, shape_of(&[1 << 40, 1 << 40]))].concat())),
        ],
    );
    let large = node(
        "k",
        "Const",
        &[],
        &[attr("dtype", dtype(1)), attr("value", bytes(8, [int(1, 1), bytes(2, shape_of(&[1 << 30]))].concat()))],
    );
    let short = node(
        "k",
        "Const",
        &[],
        &[
            attr("dtype", dtype(1)),
            attr("value", bytes(8, [int(1, 1), bytes(2, shape_of(&[3])), bytes(4, [0; 8])].concat())),
        ],
    );
    let negative = node(
        "k",
        "Const",
        &[],
        &[attr("dtype", dtype(1)), attr("value", bytes(8, [int(1, 1), bytes(2, shape_of(&[-3]))].concat()))],
    );
    let add = node("y", "AddV2", &["x", "k"], &[]);
    let with = |k: &Vec<u8>| graph(&[placeholder("x", &[3]), k.clone(), add.clone()]);
    let rows: Vec<(Vec<u8>, ErrorKind, &str)> = vec![
        (with(&huge), ErrorKind::Limits, "overflows"),
        (with(&large), ErrorKind::Limits, "max_tensor_bytes"),
        (with(&short), ErrorKind::Invalid, "bytes"),
        (with(&negative), ErrorKind::Invalid, "negative"),
        (graph(&[]), ErrorKind::Invalid, "computes nothing"),
        (graph(&[placeholder("x", &[3]), placeholder("x", &[3])]), ErrorKind::Invalid, "share a name"),
        (graph(&[placeholder("x", &[3]), node("y", "AddV2", &["x", "z"], &[])]), ErrorKind::Invalid, "does not exist"),
        (
            graph(&[placeholder("x", &[3]), node("y", "AddV2", &["x", "x:7"], &[])]),
            ErrorKind::Invalid,
            "nothing before it",
        ),
        (graph(&[placeholder("x", &[3]), node("y", "AddV2", &["x"], &[])]), ErrorKind::Invalid, "missing"),
        (graph(&[placeholder("x", &[3]), node("y", "Relu", &["y"], &[])]), ErrorKind::Invalid, "computes nothing"),
        (
            graph(&[
                placeholder("x", &[3]),
                node("y", "Unpack", &["x"], &[attr("num", number(1 << 40))]),
                node("z", "Neg", &["y"], &[]),
            ]),
            ErrorKind::Invalid,
            "extent",
        ),
        (
            graph(&[placeholder("x", &[3]), node("y", "LRN", &["x"], &[attr("depth_radius", number(-1))])]),
            ErrorKind::Invalid,
            "channels",
        ),
        (
            graph(&[
                placeholder("x", &[3]),
                node("y", "Relu", &["x"], &[]),
                node("z", "LeakyRelu", &["y"], &[attr("alpha", flag(true))]),
            ]),
            ErrorKind::Invalid,
            "wrong kind",
        ),
        (bytes(1, bytes(1, [0xff, 0xfe])), ErrorKind::Format, "UTF-8"),
        (vec![0x0b], ErrorKind::Format, "wire type"),
        (vec![0x0a, 0x7f], ErrorKind::Format, "longer than the message"),
    ];
    for (bytes, kind, text) in rows {
        let error = refused(&bytes);
        assert!(error.kind() == kind && error.to_string().contains(text), "{text}: {:?} {error}", error.kind());
    }
}

#[test]
fn nodes_are_counted_and_a_graph_of_a_million_names_is_refused() {
    let limits = Limits { max_nodes: 100, ..Limits::small() };
    let many: Vec<Vec<u8>> = (0..101).map(|i| placeholder(&format!("x{i}"), &[1])).collect();
    let options = ImportOptions { limits, ..ImportOptions::default() };
    assert_eq!(tensorflow::import_graph(&graph(&many), &options).unwrap_err().kind(), ErrorKind::Limits);
    // A deep chain is walked without recursion.
    let mut chain = vec![placeholder("n0", &[1])];
    for i in 0..15_000 {
        chain.push(node(&format!("n{}", i + 1), "Identity", &[&format!("n{i}")], &[]));
    }
    chain.push(node("y", "Neg", &["n15000"], &[]));
    assert!(import_bytes(&graph(&chain), &self::options()).is_ok());
}

#[test]
fn saved_models_without_a_graph_or_signature_are_refused() {
    for (bytes, text) in [
        (int(1, 1), "no graph"),
        ([int(1, 1), bytes(2, [])].concat(), "no such signature"),
        ([int(1, 1), bytes(2, bytes(5, [bytes(1, "serving_default"), bytes(2, [])].concat()))].concat(), "no outputs"),
    ] {
        let error = tensorflow::import_saved_model(&bytes, None, &options()).unwrap_err();
        assert!(error.to_string().contains(text), "{text}: {error}");
    }
}
