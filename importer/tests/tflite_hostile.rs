//! Damaged TFLite files: every byte changed, every length cut, offsets that leave the file. Nothing panics or hangs; each is a model or an error.

mod tflite_support;

use pocketnn::{DType, Tensor};
use pocketnn_importer::ErrorKind;
use tflite_support::{F, G, Q, flatbuffer, load};

fn sample() -> Vec<u8> {
    let mut g = G::new();
    let x = g.quantized_input("x", DType::I8, &[1, 2, 2, 1], Q(vec![0.5], vec![-1], 0));
    let w = g.quantized_constant(&Tensor::new(&[1, 1, 1, 1], vec![3i8]).unwrap(), Some(Q(vec![0.5], vec![0], 0)));
    let y = g.computed("y", DType::I8, &[1, 2, 2, 1], Some(Q(vec![1.0], vec![3], 0)));
    let z = g.computed("z", DType::F32, &[4], None);
    let f = g.computed("f", DType::F32, &[1, 2, 2, 1], None);
    let shape = g.ints(&[4]);
    g.op("CONV_2D", &[x, w, -1], &[y], vec![(1, F::Int(1)), (2, F::Int(1))]);
    g.op("DEQUANTIZE", &[y], &[f], vec![]);
    g.op("RESHAPE", &[f, shape], &[z], vec![]);
    g.output(z);
    g.file()
}

#[test]
fn every_length_is_answered() {
    let bytes = sample();
    assert!(load(&bytes).is_ok());
    for n in 0..bytes.len() {
        let _ = load(&bytes[..n]);
    }
    assert_eq!(load(&bytes[..20]).unwrap_err().kind(), ErrorKind::Format);
}

#[test]
fn every_changed_byte_is_answered() {
    let bytes = sample();
    for at in 0..bytes.len() {
        for change in [0x01, 0x80, 0xff, 0x7f, 0x10] {
            let mut damaged = bytes.clone();
            damaged[at] ^= change;
            let _ = load(&damaged);
        }
    }
}

#[test]
fn pairs_of_changed_words_are_answered() {
    let bytes = sample();
    // Offsets and counts are words: large, negative and small values in every pair of neighbours.
    for at in (0..bytes.len() - 8).step_by(4) {
        for value in [u32::MAX, 1 << 31, 0x7fff_ffff, 4, 0] {
            let mut damaged = bytes.clone();
            damaged[at..at + 4].copy_from_slice(&value.to_le_bytes());
            damaged[at + 4..at + 8].copy_from_slice(&value.to_le_bytes());
            let _ = load(&damaged);
        }
    }
}

#[test]
fn what_is_wrong_is_named() {
    let kinds = [
        (b"".to_vec(), ErrorKind::Format),
        (vec![0xff; 64], ErrorKind::Format),
        ([&[8, 0, 0, 0][..], b"TFL3"].concat(), ErrorKind::Format),
        (flatbuffer(&vec![(0, F::Int(2))]), ErrorKind::Unsupported),
        (flatbuffer(&vec![(0, F::Int(3))]), ErrorKind::Format),
    ];
    for (bytes, kind) in kinds {
        assert_eq!(load(&bytes).unwrap_err().kind(), kind, "{bytes:?}");
    }
    let graph = |g: G| load(&g.file()).unwrap_err();
    let mut g = G::new();
    let x = g.input("x", DType::F32, &[2]);
    g.op("RELU", &[x], &[9], vec![]);
    g.output(x);
    assert!(graph(g).to_string().contains("is not a tensor of the graph"));
    let mut g = G::new();
    let y = g.computed("y", DType::F32, &[2], None);
    g.output(y);
    assert!(graph(g).to_string().contains("does not compute this output"));
    let mut g = G::new();
    let c = g.quantized_constant(&Tensor::vector(&[1.0f32, 2.0]), None);
    g.tensors[c as usize][0] = (0, F::Ints(vec![3]));
    let y = g.computed("y", DType::F32, &[3], None);
    g.op("RELU", &[c], &[y], vec![]);
    g.output(y);
    assert!(graph(g).to_string().contains("12 bytes"), "the buffer has 8");
}

#[test]
fn huge_shapes_ask_the_budget() {
    let mut g = G::new();
    let c = g.constant(&Tensor::vector(&[1.0f32]));
    g.tensors[c as usize][0] = (0, F::Ints(vec![i32::MAX, i32::MAX, i32::MAX]));
    let y = g.computed("y", DType::F32, &[], None);
    g.op("RELU", &[c], &[y], vec![]);
    g.output(y);
    assert_eq!(load(&g.file()).unwrap_err().kind(), ErrorKind::Limits);
}

#[test]
fn loops_and_recursion_end() {
    // A body that calls itself, and a loop that never stops.
    let mut body = G::new();
    let x = body.input("x", DType::F32, &[1]);
    let y = body.computed("y", DType::F32, &[1], None);
    body.op("CALL", &[x], &[y], vec![(0, F::Int(1))]);
    body.output(y);
    let mut g = G::new();
    let x = g.input("x", DType::F32, &[1]);
    let y = g.computed("y", DType::F32, &[1], None);
    g.op("CALL", &[x], &[y], vec![(0, F::Int(1))]);
    g.output(y);
    assert_eq!(load(&g.file_with(&[body])).unwrap_err().kind(), ErrorKind::Limits);
    let mut always = G::new();
    always.input("x", DType::F32, &[1]);
    let yes = always.constant(&Tensor::scalar(true));
    always.output(yes);
    let mut same = G::new();
    let x = same.input("x", DType::F32, &[1]);
    same.output(x);
    let mut g = G::new();
    let x = g.input("x", DType::F32, &[1]);
    let y = g.computed("y", DType::F32, &[1], None);
    g.op("WHILE", &[x], &[y], vec![(0, F::Int(1)), (1, F::Int(2))]);
    g.output(y);
    assert_eq!(load(&g.file_with(&[always, same])).unwrap_err().kind(), ErrorKind::Limits);
}
