//! TFLite models: what each family of operators computes, written as small literal models.

mod tflite_cases;
mod tflite_support;

use pocketnn::ops::activation::Activation;
use pocketnn::ops::custom::{Attributes, CustomOp, CustomOps};
use pocketnn::ops::infer::{Infer, ValueType};
use pocketnn::{DType, Model, Options, Tensor, ValueId};
use pocketnn_importer::ErrorKind;
use pocketnn_importer::own::{Opaque, OperatorCall, OperatorLowering, TFLITE};
use pocketnn_importer::tflite::operators;
use std::sync::Arc;
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

/// `x * by + shift`: numbers of the options.
struct Stretch;

impl OperatorLowering for Stretch {
    fn lower(&self, call: &mut OperatorCall<'_>) -> pocketnn_importer::Result<Vec<ValueId>> {
        assert_eq!((call.domain, call.op, call.name, call.outputs), (TFLITE, "Stretch", "y", 1));
        assert_eq!(call.options, STRETCH);
        assert_eq!(call.attributes["names"], serde_json::json!(["a", "b"]));
        let x = call.input(0)?;
        let number = |name: &str| call.attributes[name].as_f64().unwrap() as f32;
        let kind = Activation::Linear { a: number("by"), b: number("shift") };
        Ok(vec![call.builder.activate(kind, x, call.name)?])
    }
}

/// `{"by": 3, "names": ["a", "b"], "shift": 0.5}` as a FlexBuffer.
const STRETCH: &[u8] = &[
    98, 121, 0, 110, 97, 109, 101, 115, 0, 1, 97, 0, 1, 98, 0, 2, 6, 4, 20, 20, 115, 104, 105, 102, 116, 0, 3, 27, 25,
    9, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0, 3, 0, 0, 0, 32, 0, 0, 0, 0, 0, 0, 63, 6, 40, 14, 15, 38, 1,
];

#[test]
fn a_custom_operator_is_lowered_by_the_program() {
    let model = |bytes: &[u8]| {
        let mut g = G::new();
        let x = g.input("x", DType::F32, &[3]);
        let y = g.computed("y", DType::F32, &[3], None);
        let code = vec![(0, F::Byte(32)), (1, F::Text("Stretch".to_string())), (3, F::Int(32))];
        g.code(code, &[x], &[y], vec![]);
        if let Some(operator) = g.operators.last_mut() {
            operator.push((5, F::Bytes(bytes.to_vec())));
        }
        g.output(y);
        g.file()
    };
    let refused = load(&model(STRETCH)).unwrap_err();
    assert!(refused.to_string().contains("register_operator"), "{refused}");
    let mut options = pocketnn_importer::ImportOptions::default();
    options.register_operator(TFLITE, "Stretch", Arc::new(Stretch));
    let graph = pocketnn_importer::tflite::import(&model(STRETCH), &options).unwrap().graph;
    let out = Model::new(graph).session(&Options::default()).unwrap().run_tensors(&[ramp(&[3])]).unwrap();
    assert_eq!(out[0].to_f32(), [0.5, 3.5, 6.5]);
    // Options without names are kept as bytes.
    options.register_operator(TFLITE, "Stretch", Arc::new(Opaque::new("shop.stretch", &kept())));
    let graph = pocketnn_importer::tflite::import(&model(&[1, 2, 3, 255]), &options).unwrap().graph;
    assert_eq!(graph.nodes()[0].op.attributes()["attributes"]["custom_options"], serde_json::json!([1, 2, 3, 255]));
}

struct Kept;

impl CustomOp for Kept {
    fn infer(&self, _: &Attributes, cx: &Infer) -> pocketnn::Result<Vec<ValueType>> {
        Ok(vec![cx.ty(0)?.clone()])
    }
    fn eval(&self, _: &Attributes, inputs: &[Option<&Tensor>], _: usize) -> pocketnn::Result<Vec<Tensor>> {
        Ok(vec![inputs[0].unwrap().clone()])
    }
}

fn kept() -> CustomOps {
    let mut ops = CustomOps::default();
    ops.register("shop.stretch", Arc::new(Kept));
    ops
}
