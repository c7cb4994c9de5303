//! Layers and operators of the program's own.

mod onnx_support;

use onnx_support::{FLOAT, Parts, attr_float, node_in, options, value};
use pocketnn::ops::activation::Activation;
use pocketnn::ops::custom::{Attributes, CustomOp, CustomOps};
use pocketnn::ops::elementwise::BinaryKind;
use pocketnn::ops::infer::{Infer, ValueType};
use pocketnn::{Error, ErrorKind, Model, Options, Tensor, ValueId, format, passes};
use pocketnn_importer::own::{LayerCall, LayerLowering, LayerWeight, Opaque, OperatorCall, OperatorLowering};
use pocketnn_importer::{Result, import_bytes};
use serde_json::{Map, Value};
use std::sync::Arc;

/// `x -> Scale `s` (factor 2, 3, 4; power 2) -> Lambda `l` (+ 1) -> Dense `d``, outputs of `s` and `d`.
const OWN: &[u8] = include_bytes!("data/own.keras");

struct Scale;

impl LayerLowering for Scale {
    fn weights(&self, _config: &Map<String, Value>) -> Vec<LayerWeight> {
        vec![LayerWeight::trained("factor")]
    }
    fn lower(&self, call: &mut LayerCall<'_>) -> Result<Vec<ValueId>> {
        assert_eq!((call.class, call.name), ("Scale", "s"));
        let mut y = call.input(0)?;
        for _ in 0..call.config["power"].as_i64().unwrap() {
            let factor = call.weight("factor")?;
            y = call.builder.binary(BinaryKind::Mul, y, factor, call.name)?;
        }
        Ok(vec![y])
    }
}

/// The Lambda of this model.
struct PlusOne;

impl LayerLowering for PlusOne {
    fn lower(&self, call: &mut LayerCall<'_>) -> Result<Vec<ValueId>> {
        assert_eq!(call.name, "l");
        let x = call.input(0)?;
        Ok(vec![call.builder.activate(Activation::Linear { a: 1.0, b: 1.0 }, x, call.name)?])
    }
}

fn x() -> Tensor {
    Tensor::new(&[1, 3], vec![1.0f32, 2.0, 3.0]).unwrap()
}

/// `[1, 2, 3] * [4, 9, 16]`, and that plus 1 times `[[0, 1], [2, 3], [4, 5]]`.
fn check(model: &Model) {
    let y = model.session(&Options::default()).unwrap().run_tensors(&[x()]).unwrap();
    assert_eq!(y[0].to_f32(), [4.0, 18.0, 48.0]);
    assert_eq!(y[1].to_f32(), [2.0 * 19.0 + 4.0 * 49.0, 5.0 + 3.0 * 19.0 + 5.0 * 49.0]);
}

#[test]
fn a_registered_layer_is_built_from_ops() {
    let mut o = options();
    o.register_layer("Scale", Arc::new(Scale)).register_layer("Lambda", Arc::new(PlusOne));
    check(&Model::new(import_bytes(OWN, &o).unwrap().graph));
}

/// `x * factor ^ power`; the factor is the second operand.
struct ScaleOp;

impl CustomOp for ScaleOp {
    fn infer(&self, attributes: &Attributes, cx: &Infer) -> pocketnn::Result<Vec<ValueType>> {
        let power = attributes.get("power").and_then(Value::as_i64);
        power.ok_or_else(|| Error::graph("`power`: expected an integer"))?;
        Ok(vec![cx.ty(0)?.clone()])
    }
    fn eval(&self, attributes: &Attributes, inputs: &[Option<&Tensor>], _: usize) -> pocketnn::Result<Vec<Tensor>> {
        let (x, factor) = (inputs[0].unwrap(), inputs[1].unwrap().to_f32());
        let power = attributes["power"].as_i64().unwrap() as i32;
        let y = x.to_f32().iter().zip(factor.iter().cycle()).map(|(x, f)| x * f.powi(power)).collect();
        Ok(vec![Tensor::new(x.shape(), y)?])
    }
}

#[test]
fn an_opaque_layer_is_kept_in_the_file_and_needs_its_code() {
    let mut ops = CustomOps::default();
    ops.register("shop.scale", Arc::new(ScaleOp));
    let mut o = options();
    let opaque = Opaque::new("shop.scale", &ops).weights(vec![LayerWeight::trained("factor")]);
    o.register_layer("shop>Scale", Arc::new(opaque)).register_layer("Lambda", Arc::new(PlusOne));
    let graph = passes::optimize(import_bytes(OWN, &o).unwrap().graph).unwrap().0;
    let file = format::write(&graph).unwrap();
    let error = Model::from_bytes(&file).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("Custom `s`") && error.message().contains("`shop.scale`"), "{error}");
    assert!(error.message().contains("Model::open_with"), "{error}");
    let model = Model::from_bytes_with(&file, &ops).unwrap();
    check(&model);
    assert_eq!(format::write(model.graph()).unwrap(), file);
    let mut others = CustomOps::default();
    others.register("shop.other", Arc::new(ScaleOp));
    assert!(Model::from_bytes_with(&file, &others).unwrap_err().message().contains("shop.other"));
}

#[test]
fn without_a_registration_every_layer_is_named_with_what_to_do() {
    let error = import_bytes(OWN, &options()).unwrap_err();
    let report = error.report().unwrap();
    assert_eq!(report.unsupported().len(), 2, "{}", report.to_text());
    let [scale, lambda] = report.unsupported() else { panic!() };
    assert_eq!((scale.example.node.as_deref(), scale.op.as_str()), (Some("s"), "Scale"));
    assert!(scale.help.as_ref().unwrap().contains("register a lowering"), "{scale:?}");
    assert_eq!(scale.inputs, ["f32[N, 3]"]);
    // What stands behind an unknown layer is looked at with the type that the file notes.
    assert_eq!((lambda.example.node.as_deref(), lambda.inputs.as_slice()), (Some("l"), &["f32[N, 3]".to_string()][..]));
    let json = error.to_json();
    assert_eq!(json["report"]["unsupported"][1]["nodes"], serde_json::json!(["l"]));
}

/// `x * by`
struct Times;

impl OperatorLowering for Times {
    fn lower(&self, call: &mut OperatorCall<'_>) -> Result<Vec<ValueId>> {
        let (x, by) = (call.input(0)?, call.attributes["by"].as_f64().unwrap() as f32);
        let by = call.builder.scalar(by);
        Ok(vec![call.builder.binary(BinaryKind::Mul, x, by, call.name)?])
    }
}

#[test]
fn an_operator_of_another_domain_is_lowered_or_kept() {
    let parts = Parts {
        nodes: vec![node_in("local", "Times", &["x"], &["y"], &[attr_float("by", 3.0)])],
        inputs: vec![value("x", FLOAT, &["2"])],
        outputs: vec![value("y", FLOAT, &["2"])],
        ..Parts::default()
    };
    let model = parts.model(17);
    let refused = import_bytes(&model, &options()).unwrap_err();
    assert!(refused.to_string().contains("Times"), "{refused}");
    let mut o = options();
    o.register_operator("local", "Times", Arc::new(Times));
    let run =
        |graph| Model::new(graph).session(&Options::default()).unwrap().run_tensors(&[Tensor::vector(&[1.0f32, 2.0])]);
    assert_eq!(run(import_bytes(&model, &o).unwrap().graph).unwrap()[0].to_f32(), [3.0, 6.0]);
    let mut ops = CustomOps::default();
    ops.register("local.times", Arc::new(TimesOp));
    o.register_operator("local", "Times", Arc::new(Opaque::new("local.times", &ops)));
    let graph = import_bytes(&model, &o).unwrap().graph;
    assert_eq!(graph.nodes()[0].op.name(), "Custom");
    assert_eq!(run(graph).unwrap()[0].to_f32(), [3.0, 6.0]);
}

struct TimesOp;

impl CustomOp for TimesOp {
    fn infer(&self, _: &Attributes, cx: &Infer) -> pocketnn::Result<Vec<ValueType>> {
        Ok(vec![cx.ty(0)?.clone()])
    }
    fn eval(&self, attributes: &Attributes, inputs: &[Option<&Tensor>], _: usize) -> pocketnn::Result<Vec<Tensor>> {
        let by = attributes["by"].as_f64().unwrap() as f32;
        let x = inputs[0].unwrap();
        Ok(vec![Tensor::new(x.shape(), x.to_f32().into_iter().map(|v| v * by).collect())?])
    }
}
