//! The example network has LeNet-5's figures and runs.

use pocketnn::{Model, Options, Tensor};
use pocketnn_models::lenet5;

fn zeros(_: &str, shape: &[usize]) -> Tensor {
    Tensor::zeros(pocketnn::DType::F32, shape).unwrap()
}

#[test]
fn it_has_the_known_number_of_parameters_and_products() {
    let graph = lenet5(zeros).unwrap();
    assert_eq!(graph.parameters(), 61_706);
    let one = graph.bind(&[("N".to_string(), 1)].into_iter().collect()).unwrap();
    assert_eq!(one.macs(), 28 * 28 * 6 * 25 + 10 * 10 * 16 * 150 + 400 * 120 + 120 * 84 + 84 * 10);
}

#[test]
fn without_weights_every_digit_is_as_likely_as_its_bias_says() {
    let graph = lenet5(|name, shape| match name {
        "dense3.bias" => Tensor::vector(&(0..10).map(|i| (i as f32 + 1.0).ln()).collect::<Vec<f32>>()),
        _ => zeros(name, shape),
    });
    let mut session = Model::new(graph.unwrap()).session(&Options::default().dim("N", 2)).unwrap();
    session.input_mut::<f32>(0).unwrap().fill(1.0);
    session.execute().unwrap();
    for (i, p) in session.output::<f32>(0).unwrap().iter().enumerate() {
        let wanted = (i % 10 + 1) as f32 / 55.0;
        assert!((p - wanted).abs() < 1e-6, "{i}: {p}, wanted {wanted}");
    }
}

#[test]
fn weights_of_another_shape_are_refused_by_the_layers_name() {
    let error = lenet5(|name, shape| match name {
        "conv2.weight" => zeros(name, &[16, 5, 5, 5]),
        _ => zeros(name, shape),
    });
    assert!(error.unwrap_err().to_string().contains("conv2"));
}
