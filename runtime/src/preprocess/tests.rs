use super::*;
use crate::{Dim, GraphBuilder, Model, Options};
use serde_json::{Value, json};

fn input(dtype: DType, shape: &[usize]) -> ValueType {
    ValueType::known(dtype, shape)
}

#[test]
fn resampling_is_that_of_keras() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("../../tests/data/resize.json")).unwrap();
    assert!(cases.len() > 80);
    let mut failures = Vec::new();
    for case in &cases {
        let n = |k: &str| case[k].as_u64().unwrap() as usize;
        let bytes: Vec<u8> = case["x"].as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as u8).collect();
        let want: Vec<f64> = case["y"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
        let settings = json!({
            "scale": 1, "resize": case["resize"], "antialias": case["antialias"], "fit": case["fit"], "fill": 7,
        });
        let image = Image::new(&bytes, n("w"), n("h"), n("c")).unwrap();
        let p = Preprocessing::from_json(&settings).unwrap();
        let y = p.apply(&image, &input(DType::F32, &[1, n("oh"), n("ow"), n("c")]), Some(Layout::Nhwc)).unwrap();
        let worst = y.to_f64().iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        // TensorFlow's bicubic looks its weights up in a table of 1024 steps.
        let allowed = if case["resize"] == "bicubic" && case["antialias"] == false { 0.2 } else { 2e-3 };
        if worst > allowed || y.len() != want.len() {
            failures.push(format!("{settings} {}x{} -> {:?}: {worst}", n("h"), n("w"), y.shape()));
        }
    }
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

#[test]
fn a_picture_of_the_right_size_keeps_its_bytes() {
    let rgb = [255, 0, 51, 0, 102, 255];
    let image = Image::new(&rgb, 2, 1, 3).unwrap();
    let apply = |p: &Value, shape: &[usize], dtype: DType, layout: Layout| {
        Preprocessing::from_json(p).unwrap().apply(&image, &input(dtype, shape), Some(layout)).unwrap()
    };
    let planar = apply(&json!({}), &[1, 3, 1, 2], DType::F32, Layout::Nchw);
    assert_eq!(planar, Tensor::new(&[1, 3, 1, 2], vec![1.0f32, 0.0, 0.0, 0.4, 0.2, 1.0]).unwrap());
    let bytes = apply(&json!({}), &[1, 1, 2, 3], DType::U8, Layout::Nhwc);
    assert_eq!(bytes, Tensor::new(&[1, 1, 2, 3], rgb.to_vec()).unwrap());
    let settings = json!({ "scale": 1, "mean": 1, "std": [2, 2, 2], "channels": "bgr" });
    let swapped = apply(&settings, &[1, 3, 1, 2], DType::F32, Layout::Nchw);
    assert_eq!(swapped.to_f32(), [25.0, 127.0, -0.5, 50.5, 127.0, -0.5]);
    let quantized = apply(&json!({ "mean": 128 }), &[1, 1, 2, 3], DType::I8, Layout::Nhwc);
    assert_eq!(quantized.to_i64().unwrap(), [127, -128, -77, -128, -26, 127]);
    let inverted = apply(&json!({ "scale": 1, "invert": true }), &[1, 1, 2, 1], DType::F32, Layout::Nhwc);
    assert_eq!(inverted.to_f32(), [255.0 - 82.0, 255.0 - 89.0]);
}

#[test]
fn gray_is_that_of_pillow_and_alpha_comes_and_goes() {
    let of = |bytes: &[u8], from: usize, to: usize| Image::new(bytes, 1, 1, from).unwrap().with_channels(to);
    assert_eq!(of(&[255, 0, 0], 3, 1), [76]);
    assert_eq!(of(&[0, 255, 0], 3, 1), [150]);
    assert_eq!(of(&[0, 0, 255], 3, 1), [29]);
    assert_eq!(of(&[255, 255, 255], 3, 1), [255]);
    assert_eq!(of(&[1, 2, 3, 9], 4, 3), [1, 2, 3]);
    assert_eq!(of(&[5], 1, 4), [5, 5, 5, 255]);
    assert!(Image::new(&[0; 5], 2, 1, 3).is_err());
    assert!(Image::new(&[0; 4], 2, 1, 2).is_err());
    assert!(Image::new(&[], 0, 0, 1).is_err());
    assert!(Image::new(&[0], usize::MAX, 2, 3).is_err());
}

#[test]
fn the_middle_is_cut_after_the_shorter_side_was_resized() {
    let bytes: Vec<u8> = (0..4 * 8).collect();
    let image = Image::new(&bytes, 8, 4, 1).unwrap();
    let settings = json!({ "scale": 1, "fit": "center", "shorter": 4 });
    let p = Preprocessing::from_json(&settings).unwrap();
    let y = p.apply(&image, &input(DType::F32, &[1, 2, 2]), None).unwrap();
    assert_eq!(y.to_f32(), [11.0, 12.0, 19.0, 20.0]);
    assert!(p.apply(&image, &input(DType::F32, &[1, 5, 5]), None).is_err());
}

#[test]
fn settings_survive_the_file_and_unknown_ones_are_refused() {
    let all = json!({
        "scale": 0.1, "mean": [0.5, 0.25, 0.1], "std": [2.0], "channels": "bgr", "invert": true, "resize": "nearest",
        "antialias": true, "fit": "letterbox", "fill": 3.5, "source": "a layer",
    });
    assert_eq!(Preprocessing::from_json(&all).unwrap().to_json(), all);
    assert_eq!(Preprocessing::default().to_json(), json!({}));
    for bad in [
        json!([]),
        json!({ "scale": "x" }),
        json!({ "channels": "cmyk" }),
        json!({ "invert": 1 }),
        json!({ "resize": "sinc" }),
        json!({ "fit": "wide" }),
        json!({ "mean": [1, "x"] }),
        json!({ "blur": 1 }),
        json!({ "shorter": -1, "fit": "center" }),
    ] {
        let e = Preprocessing::from_json(&bad).unwrap_err();
        assert!(e.kind() == crate::ErrorKind::Format && e.message().contains("expected"), "{bad}: {e}");
    }
}

#[test]
fn inputs_that_are_no_pictures_say_so() {
    let image = Image::new(&[0], 1, 1, 1).unwrap();
    for shape in [&[1, 7][..], &[1], &[1, 8, 8, 8], &[1, 2, 3, 4, 5]] {
        let e = Preprocessing::default().apply(&image, &input(DType::F32, shape), None).unwrap_err();
        assert!(e.message().contains("takes no pictures"), "{e}");
    }
    let two = Preprocessing { mean: vec![1.0, 2.0], ..Preprocessing::default() };
    assert!(
        two.apply(&image, &input(DType::F32, &[1, 3, 1, 1]), None).unwrap_err().message().contains("1 or 3 values")
    );
}

#[test]
fn a_session_takes_pictures() {
    let mut b = GraphBuilder::new("mean");
    let x = b.input("x", DType::F32, vec![Dim::symbol("N"), 2.into(), 2.into(), 1.into()]);
    let planar = b.transpose(x, &[0, 3, 1, 2], "t").unwrap();
    let y = b.global_average_pool(planar, "y").unwrap();
    b.output(y);
    b.meta().insert("preprocessing".into(), json!({ "scale": 1 }));
    b.meta().insert("labels".into(), json!(["bright"]));
    let model = Model::new(b.finish().unwrap());
    assert_eq!(model.graph().labels(), ["bright"]);
    let mut session = model.session(&Options::default()).unwrap();
    let gray = [10, 20, 30, 40];
    let y = session.run_image(&Image::new(&gray, 2, 2, 1).unwrap()).unwrap()[0].to_tensor().unwrap();
    assert_eq!(y.to_f32(), [25.0]);
    let large = [10u8; 6 * 4 * 3];
    let y = session.run_image(&Image::new(&large, 6, 4, 3).unwrap()).unwrap()[0].to_tensor().unwrap();
    assert_eq!(y.to_f32(), [10.0]);
}
