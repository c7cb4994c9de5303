//! Operators on integers against LiteRT's reference kernels, bit by bit: `data/tflite_integers.py` makes the file.

use std::collections::BTreeSet;
use std::path::Path;

use pocketnn::{Model, Options, Tensor, Weights, passes, plan};
use pocketnn_importer::{ImportOptions, tflite};

#[test]
fn integers_are_equal_to_the_last_bit() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tflite_integers.safetensors");
    let file = Weights::open(path).unwrap();
    let names: BTreeSet<String> =
        file.iter().filter_map(|(n, _)| n.strip_suffix("/model").map(str::to_string)).collect();
    assert!(names.len() > 90, "{}", names.len());
    let mut wrong = Vec::new();
    for name in &names {
        let inputs: Vec<Tensor> = (0..).map_while(|k| file.get(&format!("{name}/in{k}")).ok()).collect();
        let want = file.get(&format!("{name}/out0")).unwrap();
        let model = file.get(&format!("{name}/model")).unwrap();
        let graph =
            tflite::import(model.bytes(), &ImportOptions::default()).unwrap_or_else(|e| panic!("{name}: {e}")).graph;
        let naive = plan::interpret(&graph, &inputs, |_, _| Ok(())).unwrap();
        let graph = passes::optimize(graph).unwrap().0;
        let planned = Model::new(graph).session(&Options::default()).unwrap().run_tensors(&inputs).unwrap();
        for (way, y) in [("naive", &naive[0]), ("planned", &planned[0])] {
            assert_eq!((y.dtype(), y.shape()), (want.dtype(), want.shape()), "{name}");
            let differ = y.to_f64().iter().zip(want.to_f64()).filter(|(a, b)| **a != *b).count();
            if differ > 0 {
                wrong.push(format!("{name}, {way}: {differ} of {}", want.len()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
