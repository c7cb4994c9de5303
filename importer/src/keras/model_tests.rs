use super::*;
use serde_json::json;

fn parse(value: &Value, version: u8) -> Result<Model> {
    Model::parse(value, version, 0, &Budget::default())
}

fn old_dense(name: &str, inputs: &Value) -> Value {
    json!({"class_name": "Dense", "name": name, "config": {"name": name, "units": 2}, "inbound_nodes": inputs})
}

fn old_input(name: &str) -> Value {
    json!({"class_name": "InputLayer", "name": name, "config": {"name": name, "batch_input_shape": [null, 4]}, "inbound_nodes": []})
}

#[test]
fn a_sequential_model_gets_the_input_that_keras_would_make() {
    let model = json!({"class_name": "Sequential", "config": [
        {"class_name": "Dense", "config": {"name": "d", "output_dim": 3, "batch_input_shape": [null, 4]}}]});
    let model = parse(&model, 1).unwrap();
    assert_eq!(model.layers[0].name, "d_input");
    assert_eq!(model.layers[0].config["batch_shape"], json!([null, 4]));
    assert_eq!(model.layers[1].config["units"], 3);
    assert_eq!(model.order().unwrap(), [(0, 0), (1, 0)]);
}

#[test]
fn a_shared_layer_has_one_call_for_each_use() {
    let model = json!({"class_name": "Model", "config": {"name": "m", "layers": [
        old_input("a"), old_input("b"), old_dense("d", &json!([[["a", 0, 0]], [["b", 0, 0, {}]]])),
        {"class_name": "Add", "name": "s", "config": {"name": "s"}, "inbound_nodes": [[["d", 0, 0, {}], ["d", 1, 0, {}]]]}],
        "input_layers": [["a", 0, 0], ["b", 0, 0]], "output_layers": [["s", 0, 0]]}});
    let model = parse(&model, 2).unwrap();
    assert_eq!(model.layers[2].calls.len(), 2);
    assert_eq!(model.order().unwrap(), [(1, 0), (2, 1), (0, 0), (2, 0), (3, 0)]);
}

#[test]
fn calls_of_a_nested_model_count_from_one_in_keras_2() {
    let inner = |calls: Value| {
        json!({"class_name": "Functional", "name": "leaf", "config": {"name": "leaf", "layers": [old_input("i")],
            "input_layers": [["i", 0, 0]], "output_layers": [["i", 0, 0]]}, "inbound_nodes": calls})
    };
    let model = json!({"class_name": "Functional", "config": {"name": "m", "layers": [
        old_input("a"), inner(json!([[["a", 0, 0]], [["d", 0, 0]]])), old_dense("d", &json!([[["leaf", 1, 0, {}]]]))],
        "input_layers": [["a", 0, 0]], "output_layers": [["leaf", 2, 0]]}});
    let model = parse(&model, 2).unwrap();
    assert_eq!(model.outputs, [Reference { layer: 1, call: 1, tensor: 0 }]);
    assert_eq!(model.layers[2].calls[0].references(), [Reference { layer: 1, call: 0, tensor: 0 }]);
}

#[test]
fn keras_3_arguments_keep_values_lists_and_names() {
    let tensor = |name: &str| json!({"class_name": "__keras_tensor__", "config": {"shape": [null, 4], "keras_history": [name, 0, 0]}});
    let model = json!({"class_name": "Functional", "config": {"name": "m", "layers": [
        old_input("a"),
        {"class_name": "Foo", "name": "f", "config": {"name": "f"},
         "inbound_nodes": [{"args": [[tensor("a"), 2.0], 3], "kwargs": {"mask": tensor("a"), "k": null}}]}],
        "input_layers": ["a", 0, 0], "output_layers": {"x": ["f", 0, 0]}}});
    let model = parse(&model, 3).unwrap();
    let a = Arg::Tensor(Reference { layer: 0, call: 0, tensor: 0 });
    let call = &model.layers[1].calls[0];
    assert_eq!(call.args, [Arg::List(vec![a.clone(), Arg::Value(json!(2.0))]), Arg::Value(json!(3))]);
    assert_eq!(call.kwargs, [("mask".to_owned(), a), ("k".to_owned(), Arg::Value(Value::Null))]);
}

#[test]
fn cycles_and_dangling_references_are_errors() {
    let model = |d: Value, out: Value| {
        json!({"class_name": "Model", "config": {"name": "m", "layers": [old_input("a"), old_dense("d", &d), old_dense("e", &json!([[["d", 0, 0]]]))],
            "input_layers": [["a", 0, 0]], "output_layers": [out]}})
    };
    let cycle = parse(&model(json!([[["e", 0, 0]]]), json!(["e", 0, 0])), 2).unwrap();
    assert!(cycle.order().unwrap_err().to_string().contains("cycle"));
    assert!(parse(&model(json!([[["zz", 0, 0]]]), json!(["e", 0, 0])), 2).is_err());
    assert!(parse(&model(json!([[["a", 0, 0]]]), json!(["e", 7, 0])), 2).is_err());
    assert!(parse(&json!({"class_name": "Mine", "config": {}}), 3).unwrap_err().to_string().contains("functional"));
}

#[test]
fn classes_from_elsewhere_are_custom() {
    for (value, custom) in [
        (json!({"class_name": "Dense", "module": "keras.layers", "registered_name": null}), false),
        (json!({"class_name": "Add", "module": "keras.src.ops.numpy", "registered_name": "Add"}), false),
        (json!({"class_name": "Mine", "module": "my.code", "registered_name": "Custom>Mine"}), true),
        (json!({"class_name": "Custom>Mine"}), true),
        (json!({"class_name": "Mine", "module": null, "registered_name": "pkg>Mine"}), true),
    ] {
        assert_eq!(is_custom(&value), custom, "{value}");
    }
}
