//! Small Keras files: what they compute, and what becomes of them when they are damaged.

use pocketnn::Tensor;
use pocketnn::plan::interpret;
use pocketnn_importer::{ErrorKind, ImportOptions, Limits, import_bytes};

const H5: &[u8] = include_bytes!("data/tiny.h5");
const ARCHIVE: &[u8] = include_bytes!("data/tiny.keras");

fn options() -> ImportOptions {
    ImportOptions { limits: Limits::small(), ..ImportOptions::default() }
}

#[test]
fn both_layouts_give_the_same_network() {
    for (bytes, producer) in [(H5, "keras 2.4.0"), (ARCHIVE, "keras 3.5.0")] {
        let imported = import_bytes(bytes, &options()).unwrap();
        assert_eq!(imported.provenance.producer.as_deref(), Some(producer));
        assert_eq!(imported.provenance.sha256.len(), 64);
        let x = Tensor::new(&[1, 3], vec![1f32, 2., 3.]).unwrap();
        let y = interpret(&imported.graph, &[x], |_, _| Ok(())).unwrap();
        // [1 2 3] * [[1 2] [3 4] [5 6]] + [0.5 -20.5] = [22.5 7.5]
        assert_eq!(y[0].to_f32(), [22.5, 7.5]);
        assert_eq!(imported.graph.value(imported.graph.outputs()[0]).name, "d");
    }
}

#[test]
fn every_truncation_is_a_typed_error() {
    for bytes in [H5, ARCHIVE] {
        for cut in (0..bytes.len()).step_by(7) {
            assert!(import_bytes(&bytes[..cut], &options()).is_err(), "cut at {cut}");
        }
    }
}

/// Damage either is noticed or leaves a graph that is still valid; nothing panics and nothing passes the limits.
#[test]
fn flipped_bits_never_panic() {
    let mut typed = 0usize;
    for bytes in [H5, ARCHIVE] {
        for at in (0..bytes.len()).step_by(3) {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 1 << (at % 8);
            match import_bytes(&damaged, &options()) {
                Ok(imported) => imported.graph.validate().unwrap(),
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    typed += 1;
                }
            }
        }
    }
    assert!(typed > 100, "only {typed} of the damaged files were noticed");
}

fn json_error(text: &str) -> pocketnn_importer::ImportError {
    import_bytes(text.as_bytes(), &options()).unwrap_err()
}

#[test]
fn an_architecture_alone_asks_for_weights() {
    let error = json_error(r#"{"class_name": "Sequential", "config": []}"#);
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("--weights"), "{error}");
    assert_eq!(json_error("{\"class_name\": ").kind(), ErrorKind::Format);
    assert_eq!(json_error("{\"a\": 1}").kind(), ErrorKind::Format);
}

#[test]
fn deep_nesting_is_refused_before_it_costs_a_stack() {
    let deep = format!("{}{}", "{\"class_name\":".repeat(100_000), "1");
    assert_eq!(json_error(&deep).kind(), ErrorKind::Format);
}

/// An architecture in a folder of its own with the weights of the archive.
fn convert_json(text: &str) -> Result<pocketnn_importer::Imported, pocketnn_importer::ImportError> {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("pocketnn-keras-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("config.json"), text).unwrap();
    std::fs::write(folder.join("weights.h5"), H5).unwrap();
    let result = pocketnn_importer::import(&folder, &options());
    std::fs::remove_dir_all(&folder).unwrap();
    result
}

fn sequential(layers: &str) -> String {
    format!(
        r#"{{"class_name": "Sequential", "keras_version": "2.4.0", "config": {{"name": "m", "layers": [
        {{"class_name": "InputLayer", "config": {{"name": "x", "batch_input_shape": [null, 3], "dtype": "float32"}}}}, {layers}]}}}}"#
    )
}

const DENSE: &str = r#"{"class_name": "Dense", "config": {"name": "d", "units": 2, "activation": "relu"}}"#;

#[test]
fn a_folder_holds_architecture_and_weights() {
    let imported = convert_json(&sequential(DENSE)).unwrap();
    assert_eq!(imported.graph.outputs().len(), 1);
}

#[test]
fn everything_unsupported_is_reported_in_one_pass() {
    let lambda = r#"{"class_name": "Lambda", "config": {"name": "l", "function": "code"}}"#;
    let foreign = r#"{"class_name": "Custom>Mine", "config": {"name": "m1"}}, {"class_name": "Custom>Mine", "config": {"name": "m2"}}"#;
    let error = convert_json(&sequential(&format!("{lambda}, {foreign}, {DENSE}"))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let report = error.report().unwrap();
    assert_eq!(report.unsupported().len(), 2);
    assert_eq!(report.unsupported()[0].example.node.as_deref(), Some("l"));
    assert_eq!(report.unsupported()[1].count, 2);
    assert!(error.to_string().contains("Lambda `l`"), "{error}");
}

#[test]
fn a_field_that_nobody_knows_names_the_layer_and_the_field() {
    let layer = DENSE.replace("\"units\": 2", "\"units\": 2, \"twist\": 7");
    let error = convert_json(&sequential(&layer)).unwrap_err();
    assert!(error.to_string().contains("twist = 7") && error.to_string().contains("`d`"), "{error}");
}

#[test]
fn weights_of_another_shape_say_expected_and_found() {
    let error = convert_json(&sequential(&DENSE.replace("\"units\": 2", "\"units\": 5"))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("expected [3, 5], found [3, 2]"), "{error}");
}

#[test]
fn theano_kernels_are_never_guessed() {
    let json = r#"{"class_name": "Sequential", "keras_version": "1.2.2", "config": [
        {"class_name": "Convolution2D", "config": {"name": "c", "batch_input_shape": [null, 1, 8, 8], "nb_filter": 2, "nb_row": 3,
         "nb_col": 3, "dim_ordering": "th"}}]}"#;
    // tiny.h5 says `backend = tensorflow`, so that the question does not come up and the missing kernel is the error.
    let error = convert_json(json).unwrap_err();
    assert!(!error.to_string().contains("keras1-backend"), "{error}");
}

#[test]
fn limits_are_kept() {
    let tight = |limits: Limits| import_bytes(H5, &ImportOptions { limits, ..ImportOptions::default() }).unwrap_err();
    assert_eq!(tight(Limits { max_tensor_bytes: 8, ..Limits::small() }).kind(), ErrorKind::Limits);
    assert_eq!(tight(Limits { max_nodes: 1, ..Limits::small() }).kind(), ErrorKind::Limits);
    assert_eq!(tight(Limits { max_text_bytes: 10, ..Limits::small() }).kind(), ErrorKind::Limits);
}
