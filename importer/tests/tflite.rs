//! TFLite models: what each family of operators computes, written as small literal models.

mod tflite_cases;
mod tflite_support;

use pocketnn::{DType, Model, Options, Tensor};
use pocketnn_importer::ErrorKind;
use pocketnn_importer::tflite::operators;
use tflite_cases::*;
use tflite_support::{F, G, Q, load, run};

#[test]
fn every_operator_computes_what_it_says() {
    elements::unary_cases();
    elements::binary_cases();
    images::image_cases();
    images::movement_cases();
    elements::choice_cases();
    images::declared_cases();
    elements::product_cases();
    networks::recurrent_cases();
    networks::control_cases();
    networks::quantized_cases();
    let seen = SEEN.with_borrow(Clone::clone);
    let missing: Vec<&str> = operators().filter(|o| o.1 && !seen.contains(o.0)).map(|o| o.0).collect();
    assert!(missing.is_empty(), "rows without a case: {missing:?}");
    assert_eq!(operators().count(), 210);
}

/// A quantized convolution with a scale a channel, written out.
#[test]
fn a_quantized_convolution_is_the_sum_of_its_products() {
    let mut g = G::new();
    let x = g.quantized_input("x", DType::I8, &[1, 1, 2, 1], Q(vec![0.5], vec![-1], 0));
    let w = Tensor::new(&[2, 1, 1, 1], vec![10i8, -20]).unwrap();
    // Dimension 0 has the outputs; the bias says dimension 3, which it does not have.
    let w = g.quantized_constant(&w, Some(Q(vec![0.25, 0.125], vec![0, 0], 0)));
    let b = g.quantized_constant(&Tensor::vector(&[8i32, 0]), Some(Q(vec![0.125, 0.0625], vec![0, 0], 3)));
    let y = g.computed("y", DType::I8, &[1, 1, 2, 2], Some(Q(vec![1.0], vec![3], 0)));
    g.op("CONV_2D", &[x, w, b], &[y], vec![(0, F::Byte(1)), (1, F::Int(1)), (2, F::Int(1)), (3, F::Byte(1))]);
    g.output(y);
    let out = run(&g.file(), &[Tensor::new(&[1, 1, 2, 1], vec![3i8, -5]).unwrap()]).remove(0);
    // (3 + 1) * 10 + 8 = 48 / 8 = 6; (3 + 1) * -20 / 16 = -5; (-5 + 1) * 10 + 8 = -32 / 8 = -4; -4 * -20 / 16 = 5; RELU cuts below 3.
    assert_eq!(out.to_i64().unwrap(), [6 + 3, 3, 3, 5 + 3]);
    let imported = load(&g.file()).unwrap();
    let session = Model::new(imported.graph).session(&Options::default()).unwrap();
    let plan = session.plan().unwrap();
    assert_eq!((plan.transposes(), plan.steps().iter().filter(|s| s.interpreted).count()), (0, 0));
}

#[test]
fn everything_that_is_missing_is_told_at_once() {
    let mut g = G::new();
    let x = g.input("x", DType::F32, &[2]);
    let outs: Vec<i32> = (0..4).map(|i| g.computed(&format!("y{i}"), DType::F32, &[2], None)).collect();
    g.op("RFFT2D", &[x], &outs[..1], vec![]);
    let custom = vec![(0, F::Byte(32)), (1, F::Text("TFLite_Detection_PostProcess".to_string())), (3, F::Int(32))];
    g.code(custom, &[x], &outs[1..2], vec![]);
    g.op("RELU", &[outs[0]], &outs[2..3], vec![]);
    g.op("LEAKY_RELU", &[x], &outs[3..], vec![(7, F::Int(1))]);
    outs.iter().for_each(|&o| g.output(o));
    let error = load(&g.file()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let report = error.report().unwrap();
    let ops: Vec<&str> = report.unsupported().iter().map(|e| e.op.as_str()).collect();
    assert_eq!(ops, ["RFFT2D", "TFLite_Detection_PostProcess", "LEAKY_RELU"], "{error}");
    assert!(error.to_string().contains("y1, operator 1"), "{error}");
    assert!(error.to_string().contains("--fetch"), "{error}");
}

#[test]
fn inner_tensors_are_fed_and_fetched() {
    let mut g = G::new();
    let x = g.input("x", DType::F32, &[2]);
    let (mid, y) = (g.computed("mid", DType::F32, &[2], None), g.computed("y", DType::F32, &[2], None));
    g.op("RFFT2D", &[x], &[mid], vec![]);
    g.op("NEG", &[mid], &[y], vec![]);
    g.output(y);
    let mut options = pocketnn_importer::ImportOptions { feed: vec!["mid".to_string()], ..Default::default() };
    let graph = pocketnn_importer::tflite::import(&g.file(), &options).unwrap().graph;
    let out = Model::new(graph).session(&Options::default()).unwrap().run_tensors(&[ramp(&[2])]).unwrap();
    assert_eq!(out[0].to_f64(), [0.0, -1.0]);
    options.feed = vec!["nowhere".to_string()];
    let error = pocketnn_importer::tflite::import(&g.file(), &options).unwrap_err();
    assert!(error.to_string().contains("`nowhere`"), "{error}");
}

#[test]
fn symbolic_extents_stay_symbolic() {
    let mut g = G::new();
    let x = g.input("x", DType::F32, &[-1, 2]);
    let y = g.computed("y", DType::F32, &[-1, 2], None);
    g.op("RELU", &[x], &[y], vec![]);
    g.output(y);
    let graph = load(&g.file()).unwrap().graph;
    assert_eq!(graph.symbols().into_iter().collect::<Vec<_>>(), ["N"]);
}
