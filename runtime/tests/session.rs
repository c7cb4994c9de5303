//! Graphs built by hand, planned, run, saved and read back.

use pocketnn::ops::conv::{Conv, Pads};
use pocketnn::ops::elementwise::BinaryKind;
use pocketnn::{DType, Dim, ErrorKind, Graph, GraphBuilder, Model, Options, Tensor, ValueId, View, plan};

/// Numbers in [-1, 1) that depend on the seed and the position only.
fn noise(shape: &[usize], seed: u32) -> Tensor {
    let n = shape.iter().product::<usize>() as u32;
    let value = |i: u32| {
        (i.wrapping_mul(2_654_435_761).wrapping_add(seed.wrapping_mul(40_503)) >> 9) as f32 / (1 << 22) as f32 - 1.0
    };
    Tensor::new(shape, (0..n).map(value).collect()).unwrap()
}

fn conv(b: &mut GraphBuilder, x: ValueId, shape: [usize; 4], seed: u32, strides: &[usize]) -> ValueId {
    let w = b.constant("w", noise(&shape, seed));
    let bias = b.constant("b", noise(&shape[..1], seed + 1));
    let attrs = Conv { pads: Pads::SameUpper, strides: strides.to_vec(), ..Conv::default() };
    b.conv(x, w, Some(bias), attrs, &format!("conv{seed}")).unwrap()
}

/// Two convolutions, a residual, a mean and a dense layer on `[N, 3, H, W]`.
fn small() -> Graph {
    let mut b = GraphBuilder::new("small");
    let x = b.input("x", DType::F32, [Dim::symbol("N"), Dim::from(3), Dim::symbol("H"), Dim::symbol("W")]);
    let y = conv(&mut b, x, [12, 3, 3, 3], 1, &[2, 2]);
    let y = b.relu(y, "relu").unwrap();
    let z = conv(&mut b, y, [12, 12, 3, 3], 2, &[]);
    let z = b.binary(BinaryKind::Add, z, y, "residual").unwrap();
    let p = b.max_pool(z, &[2, 2], "pool").unwrap();
    let m = b.global_average_pool(p, "mean").unwrap();
    let w = b.constant("dense.w", noise(&[5, 12], 7));
    let d = b.dense(m, w, None, "dense").unwrap();
    let s = b.softmax(d, -1, "softmax").unwrap();
    b.output(s);
    b.output(z);
    b.finish().unwrap()
}

fn close(a: &Tensor, b: &Tensor, bound: f64) {
    assert_eq!((a.dtype(), a.shape()), (b.dtype(), b.shape()));
    let largest = b.to_f64().iter().fold(1.0f64, |m, x| m.max(x.abs()));
    for (x, y) in a.to_f64().iter().zip(b.to_f64()) {
        assert!((x - y).abs() <= bound * largest, "{x} {y}");
    }
}

#[test]
fn a_plan_computes_what_the_interpreter_computes_for_every_size() {
    let model = Model::new(small());
    let mut session = model.session(&Options::default().dim("H", 9).dim("W", 14)).unwrap();
    for shape in [[1, 3, 9, 14], [2, 3, 8, 8], [1, 3, 9, 14], [3, 3, 5, 21]] {
        let x = noise(&shape, 3);
        let want = plan::interpret(model.graph(), std::slice::from_ref(&x), |_, _| Ok(())).unwrap();
        let got = session.run_tensors(&[x]).unwrap();
        got.iter().zip(&want).for_each(|(g, w)| close(g, w, 1e-5));
    }
}

#[test]
fn symbolic_shapes_follow_the_input() {
    let g = small();
    assert_eq!(g.ty(g.outputs()[0]).to_string(), "f32[N, 5]");
    assert_eq!(g.ty(g.outputs()[1]).to_string(), "f32[N, 12, ceil((H)/(2)), ceil((W)/(2))]");
    assert_eq!(g.symbols().into_iter().collect::<Vec<_>>(), ["H", "N", "W"]);
}

#[test]
fn a_file_is_the_same_bytes_and_the_same_network() {
    let g = small();
    let bytes = pocketnn::format::write(&g).unwrap();
    assert_eq!(bytes, pocketnn::format::write(&small()).unwrap());
    pocketnn::format::verify_digest(&bytes).unwrap();
    let back = Model::from_bytes(&bytes).unwrap();
    assert_eq!(bytes, pocketnn::format::write(back.graph()).unwrap());
    let path = std::env::temp_dir().join(format!("pocketnn-session-{}.pnn", std::process::id()));
    pocketnn::format::save(&g, &path).unwrap();
    let mapped = Model::open(&path).unwrap();
    let x = noise(&[1, 3, 8, 8], 5);
    let run = |m: &Model| m.session(&Options::default()).unwrap().run_tensors(std::slice::from_ref(&x)).unwrap();
    assert!(run(&back)[0].same_bits(&run(&mapped)[0]) && run(&Model::new(g))[0].same_bits(&run(&mapped)[0]));
    std::fs::remove_file(path).unwrap();
}

#[test]
fn memory_of_the_caller_serves_and_is_checked() {
    let model = Model::new(small());
    let options = Options::default().dim("H", 8).dim("W", 8);
    let mut own = model.session(&options).unwrap();
    let bytes = own.arena_bytes();
    let mut memory = vec![0u8; bytes + 64];
    let shift = memory.as_ptr().align_offset(64);
    let x = noise(&[1, 3, 8, 8], 5);
    let want = own.run_tensors(std::slice::from_ref(&x)).unwrap();
    let mut session = model.session_in(&options, &mut memory[shift..shift + bytes]).unwrap();
    assert!(session.run_tensors(std::slice::from_ref(&x)).unwrap()[0].same_bits(&want[0]));
    let other = session.run_tensors(&[noise(&[2, 3, 8, 8], 5)]).unwrap_err();
    assert_eq!(other.kind(), ErrorKind::Argument);
    drop(session);
    let small = model.session_in(&options, &mut memory[shift..shift + bytes - 64]).err().unwrap();
    assert!(small.message().contains(&bytes.to_string()), "{small}");
}

#[test]
fn wrong_arguments_are_named() {
    let model = Model::new(small());
    let mut s = model.session(&Options::default()).unwrap();
    let text = |r: pocketnn::Result<Vec<View<'_>>>| r.err().unwrap().to_string();
    assert!(text(s.run(&[])).contains("expected 1 inputs [\"x\"], found 0"));
    let t = Tensor::zeros(DType::F32, &[1, 4, 8, 8]).unwrap();
    assert!(text(s.run(&[View::from(&t)])).contains("input `x`: expected f32[N, 3, H, W], found f32[1, 4, 8, 8]"));
    let t = Tensor::zeros(DType::I64, &[1, 3, 8, 8]).unwrap();
    assert!(text(s.run(&[View::from(&t)])).contains("found i64"));
    assert!(model.session(&Options::default().dim("Q", 1)).err().unwrap().message().contains("no dimension `Q`"));
    let limited = Options { max_arena_bytes: Some(10), ..Options::default().dim("H", 8).dim("W", 8) };
    assert_eq!(model.session(&limited).err().unwrap().kind(), ErrorKind::Limit);
}

#[test]
fn inputs_stay_and_outputs_repeat() {
    let model = Model::new(small());
    let mut s = model.session(&Options::default().dim("H", 8).dim("W", 8)).unwrap();
    let x = noise(&[1, 3, 8, 8], 9);
    s.input_mut::<f32>(0).unwrap().copy_from_slice(x.as_slice().unwrap());
    s.execute().unwrap();
    let first = s.output::<f32>(0).unwrap().to_vec();
    s.execute().unwrap();
    assert_eq!(first, s.output::<f32>(0).unwrap());
    assert!(s.output::<i64>(0).is_err() && s.output::<f32>(2).is_err() && s.input_mut::<u8>(0).is_err());
}
