//! Hostile `.pnn` files: every truncation and thousands of changed bits give an error or a network, never a panic, and never take more
//! memory than the file is long allows.

use pocketnn::format::{self, Limits};
use pocketnn::{Error, ErrorKind, Graph, Model, Options};
use pocketnn_tests::networks::{lenet, noise};
use pocketnn_tests::support::Rng;

/// A file small enough to cut at every byte: weights are the smaller part.
fn small() -> Vec<u8> {
    use pocketnn::ops::conv::Conv;
    use pocketnn::{DType, Dim, GraphBuilder};
    let mut b = GraphBuilder::new("small");
    let x = b.input("x", DType::F32, [Dim::symbol("N"), Dim::from(1), Dim::from(4), Dim::from(4)]);
    let w = b.constant("w", noise(&[2, 1, 3, 3], 1).unwrap());
    let y = b.conv(x, w, None, Conv { strides: vec![2, 1], ..Conv::default() }, "conv").unwrap();
    let y = b.relu(y, "relu").unwrap();
    let y = b.flatten(y, "flatten").unwrap();
    let y = b.softmax(y, -1, "softmax").unwrap();
    b.output(y);
    format::write(&b.finish().unwrap()).unwrap()
}

/// A file with a loop, a list, text, narrow weights and a constant that only a body uses.
fn dynamic() -> Vec<u8> {
    use pocketnn::ops::control::{Body, Loop};
    use pocketnn::ops::elementwise::{BinaryKind, Cast};
    use pocketnn::ops::gather::Lookup;
    use pocketnn::ops::list::{ListAt, ListInsert, ListLen};
    use pocketnn::{DType, Dim, GraphBuilder, Tensor};
    let mut b = GraphBuilder::new("body");
    let round = b.input("round", DType::I64, vec![]);
    let go = b.input("go", DType::Bool, vec![]);
    let list = b.input("list", DType::List, [Dim::symbol("n")]);
    let x = b.input("x", DType::F32, [Dim::from(100)]);
    let table = b.constant("table", noise(&[100], 3).unwrap());
    let sum = b.binary(BinaryKind::Add, x, table, "sum").unwrap();
    let list = b.op(ListInsert {}, &[list, sum], "longer").unwrap();
    [go, list, round].into_iter().for_each(|v| b.output(v));
    let op = Loop { body: Body::new(b.finish().unwrap()), states: 1 };
    let mut b = GraphBuilder::new("dynamic");
    let x = b.input("x", DType::F32, [Dim::from(100)]);
    let list = b.input("list", DType::List, [Dim::symbol("n")]);
    let rounds = b.scalar(3i64);
    let looped = b.node(op, &[Some(rounds), None, Some(list), Some(x)], 2, "loop").unwrap();
    let count = b.op(ListLen {}, &[looped[0]], "count").unwrap();
    let last = b.integers(&[-1]);
    let y = b.op(ListAt { dtype: DType::F32, shape: vec![100] }, &[looped[0], last], "last").unwrap();
    let four = b.constant("four", pocketnn::narrow::unpack(DType::I4, &[3], &[0x21, 0x0f]).unwrap());
    let four = b.op(Cast { to: DType::I64 }, &[four], "wide").unwrap();
    let keys = b.integers(&[3, 4, 5]);
    let names = b.constant("names", Tensor::texts(&[3], ["a", "b", "c"]).unwrap());
    let default = b.constant("default", Tensor::texts(&[], [""]).unwrap());
    let name = b.op(Lookup {}, &[count, keys, names, default], "name").unwrap();
    [y, looped[1], four, name].into_iter().for_each(|v| b.output(v));
    format::write(&b.finish().unwrap()).unwrap()
}

fn read(bytes: &[u8]) -> Result<Graph, Error> {
    format::read(bytes, &Limits::default())
}

/// Reads, and runs what was read within a small arena.
fn exercise(bytes: &[u8]) -> bool {
    let Ok(graph) = read(bytes) else { return false };
    graph.validate().expect("what was read is valid");
    let options = Options { max_arena_bytes: Some(16 << 20), ..Options::default() };
    let zeros: Option<Vec<pocketnn::Tensor>> = graph.inputs().iter().map(|&i| zero(graph.ty(i))).collect();
    if let Ok(mut session) = Model::new(graph).session(&options) {
        // An op may refuse values; that is an error, not a panic.
        let _ = session.execute();
        if let Some(zeros) = zeros {
            let _ = session.run_tensors(&zeros);
        }
    }
    true
}

/// Zeros of a type, symbolic dimensions 1; empty lists. Nothing where that is large.
fn zero(ty: &pocketnn::ops::infer::ValueType) -> Option<pocketnn::Tensor> {
    if ty.dtype == pocketnn::DType::List {
        return Some(pocketnn::Tensor::list(Vec::new()));
    }
    let shape: Vec<usize> = ty.shape.iter().map(|d| d.known().unwrap_or(1)).collect();
    let small = shape.iter().try_fold(1usize, |a, &b| a.checked_mul(b)).is_some_and(|n| n < 1 << 20);
    if small { pocketnn::Tensor::zeros(ty.dtype, &shape).ok() } else { None }
}

#[test]
fn a_file_with_everything_that_is_decided_while_running_comes_back() {
    let bytes = dynamic();
    let graph = read(&bytes).unwrap();
    assert_eq!(format::write(&graph).unwrap(), bytes);
    let mut session = Model::new(graph).session(&Options::default()).unwrap();
    let x = noise(&[100], 4).unwrap();
    let out = session.run_tensors(&[x, pocketnn::Tensor::list(Vec::new())]).unwrap();
    assert_eq!(out[1], pocketnn::Tensor::vector(&[0i64, 1, 2]));
    assert_eq!(out[2], pocketnn::Tensor::vector(&[1i64, 2, -1]));
    assert_eq!(out[3], pocketnn::Tensor::texts(&[], ["a"]).unwrap());
}

#[test]
fn every_truncation_is_a_format_error() {
    let bytes = small();
    assert!(exercise(&bytes));
    for n in 0..bytes.len() {
        let e = read(&bytes[..n]).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Format, "cut at {n}: {e}");
        assert!(!e.message().is_empty());
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert_eq!(read(&longer).unwrap_err().kind(), ErrorKind::Format, "a byte behind the end");
}

#[test]
fn every_changed_bit_gives_an_error_or_a_network() {
    let bytes = small();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let (mut errors, mut networks) = (0, 0);
    for i in 0..bytes.len() {
        // Weights may be any bits; a few of them are enough.
        for bit in if i < header { 0..8 } else { 0..1 } {
            let mut changed = bytes.clone();
            changed[i] ^= 1 << bit;
            if exercise(&changed) { networks += 1 } else { errors += 1 }
        }
    }
    assert!(errors + networks > 2000 && errors > 1000 && networks > 50, "{errors} errors, {networks} networks");
}

#[test]
fn random_damage_gives_an_error_or_a_network() {
    for (bytes, rounds) in [(small(), 1500), (dynamic(), 3000)] {
        damage(&bytes, rounds);
    }
}

fn damage(bytes: &[u8], rounds: usize) {
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut rng = Rng::new(11);
    for _ in 0..rounds {
        let mut changed = bytes.to_vec();
        for _ in 0..rng.range(1, 6) {
            let at = rng.below(header);
            match rng.below(4) {
                0 => changed[at] = rng.bits() as u8,
                1 => changed[at] = rng.pick(b"0123456789{}[]\",:-"),
                2 => {
                    changed.remove(at.min(changed.len() - 1));
                }
                _ => {
                    let copy: Vec<u8> = changed[at..(at + rng.below(20)).min(changed.len())].to_vec();
                    let to = rng.below(changed.len());
                    changed.splice(to..to, copy);
                }
            }
        }
        exercise(&changed);
    }
}

/// The file with one piece of its header's text replaced, and the length put right.
fn edited(from: &str, to: &str) -> Vec<u8> {
    let bytes = small();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let text = std::str::from_utf8(&bytes[8..8 + length]).unwrap();
    assert!(text.contains(from), "{from} is not in {text}");
    let text = text.replacen(from, to, 1);
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes(), &bytes[8 + length..]].concat()
}

#[test]
fn each_rule_has_its_error() {
    let cases = [
        (r#""format":"pocketnn""#, r#""format":"other""#, ErrorKind::Format, "expected the format `pocketnn`"),
        (r#""version":"1""#, r#""version":"999""#, ErrorKind::Unsupported, "update it"),
        (r#""version":"1""#, r#""version":"x""#, ErrorKind::Format, "not a number"),
        (r#"\"op\":\"Conv\""#, r#"\"op\":\"Nonv\""#, ErrorKind::Format, "unknown op `Nonv`"),
        (r#"\"strides\":[2,1]"#, r#"\"strides\":[0,1]"#, ErrorKind::Graph, "stride"),
        (r#"\"strides\":[2,1]"#, r#"\"slides\":[2,1]"#, ErrorKind::Format, "slides"),
        (r#"\"strides\":[2,1]"#, r#"\"strides\":\"no\""#, ErrorKind::Format, "strides"),
        (r#"\"shape\":[\"N\",1,4,4]"#, r#"\"shape\":[\"N\",1,4,-4]"#, ErrorKind::Format, "neither a number nor a name"),
        (r#"\"dtype\":\"f32\""#, r#"\"dtype\":\"f99\""#, ErrorKind::Format, "unknown element type"),
        (r#"\"outputs\":[\"relu\"]"#, r#"\"outputs\":[\"conv\"]"#, ErrorKind::Format, "two values are called `conv`"),
        (r#"\"inputs\":[\"conv\"]"#, r#"\"inputs\":[\"relu\"]"#, ErrorKind::Format, "nothing before it computes"),
    ];
    for (from, to, kind, part) in cases {
        let e = read(&edited(from, to)).unwrap_err();
        assert!(
            e.kind() == kind && e.to_string().to_lowercase().contains(&part.to_lowercase()),
            "{to}: {:?} {e}",
            e.kind()
        );
    }
}

#[test]
fn sizes_that_lie_are_refused_before_memory_is_taken() {
    for n in [u64::MAX, 1 << 62, u64::from(u32::MAX), 1 << 20] {
        let mut bytes = small();
        bytes[..8].copy_from_slice(&n.to_le_bytes());
        assert_eq!(read(&bytes).unwrap_err().kind(), ErrorKind::Format, "header of {n} bytes");
    }
    let huge = edited(r#"\"shape\":[\"N\",1,4,4]"#, r#"\"shape\":[9007199254740991,1,4,4]"#);
    if let Ok(graph) = read(&huge) {
        let options = Options { max_arena_bytes: Some(1 << 30), ..Options::default() };
        assert!(Model::new(graph).session(&options).is_err());
    }
}

#[test]
fn limits_of_the_caller_hold() {
    let bytes = format::write(&lenet().unwrap()).unwrap();
    let d = Limits::default;
    for limits in [
        Limits { file_bytes: 100, ..d() },
        Limits { header_bytes: 100, ..d() },
        Limits { nodes: 2, ..d() },
        Limits { tensors: 2, ..d() },
    ] {
        assert_eq!(format::read(&bytes, &limits).unwrap_err().kind(), ErrorKind::Limit, "{limits:?}");
    }
    assert!(format::read(&bytes, &d()).is_ok());
}
