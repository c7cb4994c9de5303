//! Weights by name from safetensors files.

use pocketnn::ops::conv::{Conv, Pads};
use pocketnn::ops::norm::BatchNorm;
use pocketnn::plan::interpret;
use pocketnn::{DType, ErrorKind, GraphBuilder, Model, Options, Tensor, Weights};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/state_dict.safetensors");

/// What PyTorch computes for the input that `tests/data/state_dict.py` describes.
const LOGITS: [f32; 10] =
    [0.15893, -0.75998, -0.42794, -1.33489, -0.90037, 0.05382, -0.86508, -0.53305, -1.44, -1.00548];

fn input() -> Tensor {
    let pixels: Vec<f32> = (0..64).map(|k| ((3 * (k / 8) + 5 * (k % 8)) % 16) as f32 / 16.0).collect();
    Tensor::new(&[1, 1, 8, 8], pixels).unwrap()
}

#[test]
fn a_state_dict_of_pytorch_computes_what_pytorch_computes() {
    let weights = Weights::open(FILE).unwrap();
    let mut b = GraphBuilder::new("small");
    let x = b.input("image", DType::F32, [1, 1, 8, 8].map(Into::into));
    let w = b.weight(&weights, "conv1.weight", &[4, 1, 3, 3]).unwrap();
    let bias = b.weight(&weights, "conv1.bias", &[4]).unwrap();
    let conv = Conv { pads: Pads::symmetric(&[1, 1]), ..Conv::default() };
    let mut norm = vec![b.conv(x, w, Some(bias), conv, "conv1").unwrap()];
    for part in ["weight", "bias", "running_mean", "running_var"] {
        norm.push(b.weight(&weights, &format!("bn1.{part}"), &[4]).unwrap());
    }
    let x = b.op(BatchNorm { epsilon: 1e-5, ..BatchNorm::default() }, &norm, "bn1").unwrap();
    let x = b.relu(x, "relu").unwrap();
    let x = b.max_pool(x, &[2, 2], "pool").unwrap();
    let x = b.flatten(x, "flatten").unwrap();
    let w = b.weight(&weights, "fc.weight", &[10, 64]).unwrap();
    let bias = b.weight(&weights, "fc.bias", &[10]).unwrap();
    let y = b.dense(x, w, Some(bias), "fc").unwrap();
    b.output(y);
    let graph = b.finish().unwrap();
    let naive = interpret(&graph, &[input()], |_, _| Ok(())).unwrap();
    let mut session = Model::new(graph).session(&Options::default()).unwrap();
    let planned = session.run_tensors(&[input()]).unwrap();
    for y in [&naive[0], &planned[0]] {
        let worst = y.to_f32().iter().zip(LOGITS).map(|(y, want)| (y - want).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-4, "{:?} instead of {LOGITS:?}", y.to_f32());
    }
}

#[test]
fn tensors_keep_their_element_type_unless_floats_are_asked_for() {
    let weights = Weights::open(FILE).unwrap();
    assert_eq!(weights.len(), 9);
    assert!(weights.iter().any(|(name, _)| name == "bn1.running_var"));
    assert_eq!(weights.get("fc.weight").unwrap().dtype(), DType::F16);
    assert_eq!(weights.floats("fc.weight", &[10, 64]).unwrap().dtype(), DType::F32);
    assert_eq!(weights.get("bn1.num_batches_tracked").unwrap().to_i64().unwrap(), [100]);
    let error = weights.floats("bn1.num_batches_tracked", &[]).unwrap_err();
    assert!(error.to_string().contains("`bn1.num_batches_tracked`: expected floats, found i64"), "{error}");
}

#[test]
fn errors_name_the_tensor() {
    let weights = Weights::from_bytes(&std::fs::read(FILE).unwrap()).unwrap();
    let error = weights.shaped("conv1.weight", &[1, 4, 3, 3]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Argument);
    assert_eq!(error.to_string(), "tensor `conv1.weight`: expected shape [1, 4, 3, 3], found [4, 1, 3, 3]");
    let error = weights.get("conv1.weights").unwrap_err();
    assert!(error.to_string().contains("no tensor `conv1.weights`; there are conv1.bias, conv1.weight"), "{error}");
    let error = Weights::open("/nonexistent/weights.safetensors").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().contains("/nonexistent/weights.safetensors"));
}

/// A file of this header, and 16 bytes of data.
fn file(header: &str) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend([0; 16]);
    bytes
}

#[test]
fn hostile_files_are_errors() {
    let whole = file(r#"{"w":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}"#);
    assert_eq!(Weights::from_bytes(&whole).unwrap().get("w").unwrap().shape(), [2, 2]);
    for cut in 0..whole.len() {
        assert_eq!(Weights::from_bytes(&whole[..cut]).unwrap_err().kind(), ErrorKind::Format, "{cut}");
    }
    for header in [
        "",
        "[]",
        r#"{"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,16]}}"#,
        r#"{"w":{"dtype":"F32","shape":[2,2],"data_offsets":[0,15]}}"#,
        r#"{"w":{"dtype":"F32","shape":[2,2],"data_offsets":[8,24]}}"#,
        r#"{"w":{"dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,16]}}"#,
        r#"{"w":{"dtype":"F99","shape":[2,2],"data_offsets":[0,16]}}"#,
    ] {
        assert_eq!(Weights::from_bytes(&file(header)).unwrap_err().kind(), ErrorKind::Format, "{header}");
    }
    let mut long = whole;
    long[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    assert_eq!(Weights::from_bytes(&long).unwrap_err().kind(), ErrorKind::Limit);
    let eight = file(r#"{"w":{"dtype":"F8_E4M3","shape":[16],"data_offsets":[0,16]}}"#);
    let error = Weights::from_bytes(&eight).unwrap().get("w").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}
