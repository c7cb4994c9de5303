//! Constants stored in the packed forms of the kernels: same results, same elements, in place, and refused when they lie.

use pocketnn::format::{self, Limits, packed::Form};
use pocketnn::half::{bf16, f16};
use pocketnn::ops::conv::{Conv, Pads};
use pocketnn::{Bindings, DType, Dim, ErrorKind, Graph, GraphBuilder, Model, Op, Options, Tensor, ValueId, plan};

/// Numbers in [-1, 1) that depend on the seed and the position only.
fn noise(shape: &[usize], seed: u32) -> Tensor {
    let n = shape.iter().product::<usize>() as u32;
    let value = |i: u32| {
        (i.wrapping_mul(2_654_435_761).wrapping_add(seed.wrapping_mul(40_503)) >> 9) as f32 / (1 << 22) as f32 - 1.0
    };
    Tensor::new(shape, (0..n).map(value).collect()).unwrap()
}

fn conv(b: &mut GraphBuilder, x: ValueId, shape: [usize; 4], groups: usize, name: &str) -> ValueId {
    let w = b.constant(&format!("{name}.w"), noise(&shape, shape[0] as u32));
    let bias = b.constant(&format!("{name}.b"), noise(&shape[..1], 3));
    b.conv(x, w, Some(bias), Conv { pads: Pads::SameUpper, groups, ..Conv::default() }, name).unwrap()
}

/// Every kind of layer whose weights are packed: first, ordinary, grouped and depthwise convolutions, a dense layer of a flattened image,
/// one of half floats and one of bfloat16 values, and a product.
fn network() -> Graph {
    let mut b = GraphBuilder::new("packed");
    let x = b.input("x", DType::F32, [Dim::symbol("N"), Dim::from(3), Dim::from(6), Dim::from(5)]);
    let y = conv(&mut b, x, [20, 3, 3, 3], 1, "first");
    let y = conv(&mut b, y, [20, 1, 3, 3], 20, "depthwise");
    let y = conv(&mut b, y, [24, 5, 1, 1], 4, "grouped");
    let y = conv(&mut b, y, [11, 24, 3, 1], 1, "ordinary");
    let y = b.flatten(y, "flatten").unwrap();
    let w = b.constant("flat.w", noise(&[19, 330], 5));
    let y = b.dense(y, w, None, "flat").unwrap();
    let halves = noise(&[9, 19], 6).to_f32().into_iter().map(f16::from_f32).collect();
    let w = b.constant("half.w", Tensor::new(&[9, 19], halves).unwrap());
    let y = b.dense(y, w, None, "half").unwrap();
    let brains = noise(&[9, 9], 8).to_f32().into_iter().map(bf16::from_f32).collect();
    let w = b.constant("brain.w", Tensor::new(&[9, 9], brains).unwrap());
    let y = b.dense(y, w, None, "brain").unwrap();
    let w = b.constant("product.w", noise(&[9, 21], 7));
    let y = b.op(pocketnn::ops::dense::MatMul::default(), &[y, w], "product").unwrap();
    b.output(y);
    pocketnn::passes::optimize(b.finish().unwrap()).unwrap().0
}

fn run(model: &Model) -> Tensor {
    let x = noise(&[1, 3, 6, 5], 1);
    model.session(&Options::default()).unwrap().run_tensors(&[x]).unwrap().remove(0)
}

fn packed() -> Graph {
    plan::pack(network(), &Bindings::new()).unwrap()
}

fn constants(g: &Graph) -> Vec<(String, Tensor)> {
    g.values().iter().filter_map(|v| Some((v.name.clone(), v.fact.constant.clone()?))).collect()
}

#[test]
fn packed_weights_are_the_same_numbers_and_give_the_same_bits() {
    let (plain, packed) = (network(), packed());
    let forms: Vec<(String, Form)> =
        constants(&packed).into_iter().filter_map(|(n, t)| Some((n, t.stored()?.0))).collect();
    let find = |name: &str| forms.iter().find(|f| f.0.starts_with(name)).map(|f| f.1);
    assert_eq!(find("first"), Some(Form::Conv { groups: 1, per_block: 1 }));
    assert_eq!(find("depthwise"), Some(Form::Conv { groups: 20, per_block: 8 }));
    assert_eq!(find("grouped"), Some(Form::Conv { groups: 4, per_block: 8 }));
    assert_eq!(find("flat"), Some(Form::Dense { image: Some((11, 30)) }));
    assert_eq!(find("half"), Some(Form::Dense { image: None }));
    assert_eq!(find("brain"), Some(Form::Dense { image: None }));
    assert!(find("product").is_some());
    for ((name, a), (_, b)) in constants(&plain).iter().zip(constants(&packed)) {
        assert!(a.same_bits(&b), "{name}");
        assert_eq!(a.to_f32(), b.to_f32(), "{name}");
    }
    assert_eq!(run(&Model::new(plain)), run(&Model::new(packed)));
}

#[test]
fn a_packed_file_is_a_safetensors_file_read_in_place_and_written_back_alike() {
    let bytes = format::write(&packed()).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(tensors.tensor("flat.w").unwrap().shape(), [24 * 480]);
    let path = std::env::temp_dir().join(format!("pocketnn-packed-{}.pnn", std::process::id()));
    std::fs::write(&path, &bytes).unwrap();
    let model = Model::open(&path).unwrap();
    // The map outlives the name.
    std::fs::remove_file(&path).unwrap();
    assert_eq!(run(&model), run(&Model::new(network())));
    for (name, t) in constants(model.graph()) {
        if let Some((_, numbers)) = t.stored() {
            assert_eq!(numbers.bytes().as_ptr().addr() % 64, 0, "{name}");
        }
    }
    assert_eq!(format::write(model.graph()).unwrap(), bytes);
    format::verify_digest(&bytes).unwrap();
    // Files that hold nothing packed stay readable for older versions.
    assert!(String::from_utf8_lossy(&format::write(&network()).unwrap()).contains(r#""version":"1""#));
}

#[test]
fn a_packed_model_takes_other_sizes() {
    let (plain, packed) = (Model::new(network()), Model::new(packed()));
    let x = noise(&[3, 3, 6, 5], 2);
    let mut sessions = [&plain, &packed].map(|m| m.session(&Options::default()).unwrap());
    let [a, b] = sessions.each_mut().map(|s| s.run_tensors(std::slice::from_ref(&x)).unwrap());
    assert_eq!(a, b);
    let naive = plan::interpret(packed.graph(), &[x], |_, _| Ok(())).unwrap();
    let largest = naive[0].to_f64().iter().fold(0.0f64, |m, v| m.max(v.abs()));
    assert!(a[0].to_f64().iter().zip(naive[0].to_f64()).all(|(a, b)| (a - b).abs() <= 1e-4 * largest));
}

/// The file with one text of its header replaced by another of the same length.
fn changed(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header = std::str::from_utf8(&bytes[8..8 + length]).unwrap();
    assert!(header.contains(from), "no `{from}`");
    let header = header.replacen(from, to, 1);
    let header = format!("{:<length$}", header.trim_end());
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend(header.into_bytes());
    out.extend(&bytes[8 + length..]);
    out
}

#[test]
fn forms_that_are_unknown_or_do_not_fit_are_refused() {
    let bytes = format::write(&packed()).unwrap();
    let refused = |from: &str, to: &str| format::read(&changed(&bytes, from, to), &Limits::default()).unwrap_err();
    let quoted = |text: &str| text.replace('"', "\\\"");
    for (from, to, kind, says) in [
        ("\"conv 2\"", "\"conv 9\"", ErrorKind::Unsupported, "conv 9"),
        ("\"conv 2\"", "\"cone 1\"", ErrorKind::Unsupported, "without --pack"),
        ("\"shape\":[19,330]", "\"shape\":[19,331]", ErrorKind::Graph, "packed form"),
        ("\"shape\":[19,330]", "\"shape\":[91,330]", ErrorKind::Format, "packed as"),
        ("\"shape\":[19,330]", "\"shape\":[0,330]", ErrorKind::Format, "nothing to pack"),
        ("\"positions\":30", "\"positions\":31", ErrorKind::Graph, "packed form"),
        ("\"shape\":[9,19]", "\"shape\":[9999999999999,99999999999]", ErrorKind::Limit, "overflows"),
        ("\"groups\":4,\"block\"", "\"groups\":0,\"block\"", ErrorKind::Graph, "packed form"),
        ("\"groups\":4,\"block\"", "\"groups\":5,\"block\"", ErrorKind::Graph, "packed form"),
        ("\"block\":8", "\"block\":0", ErrorKind::Graph, "packed form"),
        (
            "\"packed\":{",
            "\"packed\":{\"nobody\":{\"form\":\"product 1\",\"shape\":[1,1]},",
            ErrorKind::Format,
            "nobody",
        ),
    ] {
        let e = refused(&quoted(from), &quoted(to));
        assert_eq!(e.kind(), kind, "{from} -> {to}: {e}");
        assert!(e.to_string().contains(says), "{from} -> {to}: {e}");
    }
}

#[test]
fn values_at_points_stand_beside_the_weights() {
    let mut b = GraphBuilder::new("points");
    let x = b.input("x", DType::F32, [1, 32, 24, 24].map(Dim::from));
    let y = conv(&mut b, x, [24, 32, 3, 3], 1, "c");
    b.output(y);
    let plain = b.finish().unwrap();
    let packed = plan::pack(plain.clone(), &Bindings::new()).unwrap();
    let form = |g: &Graph| constants(g).iter().find(|c| c.0 == "c.w").unwrap().1.stored().map(|s| s.0);
    assert_eq!((form(&plain), form(&packed)), (None, Some(Form::Points { edge: 4 })));
    let bytes = format::write(&packed).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(tensors.tensor("c.w").unwrap().data(), constants(&plain)[0].1.bytes());
    assert_eq!(tensors.tensor("c.w at points").unwrap().shape(), [36 * 65 * 16]);
    let read = format::read(&bytes, &Limits::default()).unwrap();
    assert_eq!(form(&read), form(&packed));
    assert_eq!(format::write(&read).unwrap(), bytes);
    let x = [noise(&[1, 32, 24, 24], 4)];
    let [a, b] = [plain, read].map(|g| Model::new(g).session(&Options::default()).unwrap().run_tensors(&x).unwrap());
    assert_eq!(a, b);
    let refused = |from: &str, to: &str| format::read(&changed(&bytes, from, to), &Limits::default()).unwrap_err();
    assert_eq!(refused(r#"\"edge\":4"#, r#"\"edge\":3"#).kind(), ErrorKind::Graph);
    assert_eq!(refused(r#"\"edge\":4"#, r#"\"edge\":2"#).kind(), ErrorKind::Format);
    assert_eq!(refused(r#"\"numbers\":\"c.w at points\""#, r#"\"numbers\":\"c.w\""#).kind(), ErrorKind::Format);
    assert_eq!(refused(r#",\"numbers\":\"c.w at points\""#, "").kind(), ErrorKind::Format);
}

#[test]
fn the_right_operand_of_a_product_is_packed() {
    let mut b = GraphBuilder::new("product");
    let x = b.input("x", DType::F32, [Dim::from(2), Dim::from(9)]);
    let w = b.constant("w", noise(&[9, 21], 7));
    let y = b.op(pocketnn::ops::dense::MatMul::default(), &[x, w], "product").unwrap();
    b.output(y);
    let plain = b.finish().unwrap();
    let packed = plan::pack(plain.clone(), &Bindings::new()).unwrap();
    assert_eq!(constants(&packed)[0].1.stored().unwrap().0, Form::Product);
    assert!(constants(&packed)[0].1.same_bits(&constants(&plain)[0].1));
    let x = [noise(&[2, 9], 1)];
    let [a, b] = [plain, packed].map(|g| Model::new(g).session(&Options::default()).unwrap().run_tensors(&x).unwrap());
    assert_eq!(a, b);
}

#[test]
fn nothing_is_packed_where_nobody_reads_it_so() {
    let mut b = GraphBuilder::new("none");
    let x = b.input("x", DType::F32, [Dim::from(4)]);
    let w = b.constant("w", noise(&[4], 1));
    let y = b.binary(pocketnn::ops::elementwise::BinaryKind::Mul, x, w, "mul").unwrap();
    b.output(y);
    let g = plan::pack(b.finish().unwrap(), &Bindings::new()).unwrap();
    assert!(constants(&g).iter().all(|(_, t)| t.stored().is_none()));
    assert!(matches!(g.nodes()[0].op, Op::Binary(_)));
}
