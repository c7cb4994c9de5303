//! The embedded samples are what their docs say.

use pocketnn_models::{DIGITS_KERAS, EXPECTED_JSON, SAMPLES};

fn be_u32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |n, &byte| n << 8 | u32::from(byte))
}

#[test]
fn every_sample_is_a_gray_png_of_28_by_28_named_by_its_digit() {
    for sample in SAMPLES {
        assert_eq!(&sample.png[..8], b"\x89PNG\r\n\x1a\n", "{}", sample.name);
        assert_eq!(&sample.png[12..16], b"IHDR", "{}", sample.name);
        assert_eq!((be_u32(&sample.png[16..20]), be_u32(&sample.png[20..24])), (28, 28), "{}", sample.name);
        assert_eq!((sample.png[24], sample.png[25]), (8, 0), "bit depth and colour type of {}", sample.name);
        assert_eq!(sample.name.as_bytes()[0], b'0' + sample.label);
    }
}

#[test]
fn every_drawn_digit_is_embedded_and_has_an_expected_output() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/mnist/samples");
    let mut files: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    let names: Vec<String> = SAMPLES.iter().map(|s| format!("{}.png", s.name)).collect();
    assert_eq!(names, files);
    for sample in SAMPLES {
        assert!(EXPECTED_JSON.contains(&format!("\"{}\": [", sample.name)), "{}", sample.name);
    }
    assert_eq!(EXPECTED_JSON.matches('[').count(), SAMPLES.len());
}

#[test]
fn the_classifier_is_a_keras_archive() {
    assert_eq!(&DIGITS_KERAS[..4], b"PK\x03\x04");
}
