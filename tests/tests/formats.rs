//! One network, exported in every format: the same numbers by the same steps.

use pocketnn::{Model, Options, passes};
use pocketnn_importer::{ImportOptions, import};
use pocketnn_tests::support::Rng;
use std::path::Path;

/// What a plan does, whatever its values are called.
type Steps = Vec<(&'static str, String, String, u64)>;

/// The steps of the plan, and the outputs for a picture of noise.
fn planned(file: &str) -> (Steps, Vec<f32>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/mnist").join(file);
    let imported = import(&path, &ImportOptions::default()).unwrap_or_else(|e| panic!("{file}: {e}"));
    let model = Model::new(passes::optimize(imported.graph).unwrap().0);
    let mut session = model.session(&Options::default()).unwrap();
    let mut rng = Rng::new(5);
    session.input_mut::<f32>(0).unwrap().iter_mut().for_each(|x| *x = (rng.below(256)) as f32);
    session.execute().unwrap();
    let plan = session.plan().unwrap();
    assert_eq!(plan.transposes(), 0, "{file}");
    let steps = plan.steps().iter().map(|s| (s.op, s.algorithm.clone(), s.tile.clone(), s.macs)).collect();
    (steps, session.output::<f32>(0).unwrap().to_vec())
}

#[test]
fn the_digits_are_one_network_in_every_format() {
    let (steps, outputs) = planned("digits.keras");
    assert_eq!(steps.iter().filter(|s| s.0 == "Conv").count(), 3);
    assert_eq!(outputs.len(), 10);
    for file in ["digits.h5", "digits.onnx", "digits.tflite", "digits_savedmodel"] {
        let (found, y) = planned(file);
        assert_eq!(found, steps, "{file}");
        for (a, b) in outputs.iter().zip(&y) {
            assert!((a - b).abs() <= 1e-5, "{file}: {y:?}, from .keras {outputs:?}");
        }
    }
}
