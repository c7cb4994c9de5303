use super::*;
use pocketnn::ops::activation::Activation;
use pocketnn::ops::conv::{Conv, Pads};
use pocketnn::ops::norm::BatchNorm;
use pocketnn::{DType, Dim, GraphBuilder, passes};

/// Numbers in -1 .. 1.
fn noise(shape: &[usize], seed: u32) -> Tensor {
    let n = u32::try_from(shape.iter().product::<usize>()).unwrap();
    let value =
        |i: u32| (i.wrapping_mul(2_654_435_761).wrapping_add(seed * 40_503) >> 9) as f32 / (1 << 22) as f32 - 1.0;
    Tensor::new(shape, (0..n).map(value).collect()).unwrap()
}

/// A channels-last network as an importer makes it; `scale` of its batch normalisation.
fn network(scale: f32) -> Graph {
    let mut b = GraphBuilder::new("net");
    let x = b.input("x", DType::F32, vec![Dim::symbol("N"), Dim::symbol("H"), Dim::symbol("W"), Dim::from(3)]);
    let y = b.transpose(x, &[0, 3, 1, 2], "first").unwrap();
    let w = b.constant("w", noise(&[8, 3, 3, 3], 1));
    let y = b.conv(y, w, None, Conv { pads: Pads::SameUpper, ..Conv::default() }, "conv").unwrap();
    let parts = [scale, 0.1, 0.2, 1.5].map(|v| b.constant("bn", Tensor::new(&[8], vec![v; 8]).unwrap()));
    let inputs: Vec<_> = std::iter::once(y).chain(parts).collect();
    let y = b.op(BatchNorm::default(), &inputs, "norm").unwrap();
    let y = b.transpose(y, &[0, 2, 3, 1], "last").unwrap();
    let y = b.activate(Activation::Tanh, y, "tanh").unwrap();
    let y = b.transpose(y, &[0, 3, 1, 2], "again").unwrap();
    let y = b.global_average_pool(y, "mean").unwrap();
    let w = b.constant("dense.w", noise(&[5, 8], 2));
    let y = b.dense(y, w, None, "dense").unwrap();
    let y = b.softmax(y, -1, "probabilities").unwrap();
    b.output(y);
    b.finish().unwrap()
}

#[test]
fn a_conversion_that_agrees_passes_and_can_be_repeated() {
    let source = network(1.0);
    let (converted, _) = passes::optimize(source.clone()).unwrap();
    let v = verify(&source, &converted, 7, &VerifyOptions::default()).unwrap();
    assert!(v.passed && v.first_divergence.is_none() && v.compared >= 3, "{v}");
    assert_eq!(v.dims, [("H", 32), ("N", 1), ("W", 32)].map(|(k, n)| (k.to_string(), n)).into());
    assert!(v.notes.iter().any(|n| n.contains("N=2")), "{v}");
    let stored = Verification::from_json(&v.to_json()).unwrap();
    assert_eq!(stored, v);
    let again = repeat(&converted, &stored).unwrap();
    assert!(again.passed && again.notes.is_empty(), "{again}");
    assert_eq!(again.outputs[0].sha256, v.outputs[0].sha256);
}

#[test]
fn the_first_value_that_differs_is_named() {
    let (converted, _) = passes::optimize(network(1.01)).unwrap();
    let v = verify(&network(1.0), &converted, 7, &VerifyOptions::default()).unwrap();
    assert!(!v.passed);
    let first = v.first_divergence.clone().unwrap();
    // The norm is part of the convolution, the first value with a name of its own is the activation's.
    assert_eq!((first.name.as_str(), first.op.as_str()), ("tanh", "Activate"));
    assert!(first.max_relative > 1e-4);
    assert_eq!(Verification::from_json(&v.to_json()).unwrap(), v);
    let good = verify(&network(1.0), &network(1.0), 7, &VerifyOptions::default()).unwrap();
    let bad = repeat(&converted, &good).unwrap();
    assert!(!bad.passed && bad.notes.len() == 1, "{bad}");
}

#[test]
fn the_budget_makes_open_sizes_smaller_and_says_so() {
    let g = network(1.0);
    let options = VerifyOptions { max_macs: 60_000, ..VerifyOptions::default() };
    let v = verify(&g, &g, 7, &options).unwrap();
    assert_eq!((v.dims["H"], v.passed), (16, true));
    assert!(v.macs <= 60_000 && v.notes[0].contains("H=16"), "{v}");
    let fixed = VerifyOptions { dims: [("H".to_string(), 5), ("W".to_string(), 9)].into(), ..VerifyOptions::default() };
    assert_eq!(verify(&g, &g, 7, &fixed).unwrap().dims["W"], 9);
    let wrong = VerifyOptions { dims: [("D".to_string(), 5)].into(), ..VerifyOptions::default() };
    assert!(verify(&g, &g, 7, &wrong).unwrap_err().to_string().contains('D'));
}

#[test]
fn other_outputs_are_an_error_and_unreadable_records_too() {
    let g = network(1.0);
    let mut b = GraphBuilder::new("two");
    let x = b.input("x", DType::F32, vec![Dim::symbol("N"), Dim::symbol("H"), Dim::symbol("W"), Dim::from(3)]);
    let y = b.relu(x, "y").unwrap();
    b.output(y);
    b.output(x);
    let two = b.finish().unwrap();
    assert!(verify(&g, &two, 7, &VerifyOptions::default()).is_err());
    let mut json = verify(&g, &g, 7, &VerifyOptions::default()).unwrap().to_json();
    json["version"] = 2.into();
    assert!(Verification::from_json(&json).unwrap_err().to_string().contains("newer"));
    json["version"] = 1.into();
    json["outputs"][0]["shape"] = "x".into();
    assert!(Verification::from_json(&json).unwrap_err().to_string().contains("shape"));
}
