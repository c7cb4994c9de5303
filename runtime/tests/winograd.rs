//! Minimal filtering is an option of the session: on by default, by shapes alone, within the error of other sums.

use pocketnn::kernels::isa::Isa;
use pocketnn::ops::conv::{Conv, Pads};
use pocketnn::{DType, Dim, GraphBuilder, Model, Options, Tensor, Threads, Winograd};

fn noise(shape: &[usize], seed: u32) -> Tensor {
    let n = shape.iter().product::<usize>() as u32;
    let value = |i: u32| (i.wrapping_add(seed).wrapping_mul(2_654_435_761) >> 9) as f32 / (1 << 22) as f32 - 1.0;
    Tensor::new(shape, (0..n).map(value).collect()).unwrap()
}

/// A convolution of 3x3 that is worth it, and one of 1x1.
fn model() -> Model {
    let mut b = GraphBuilder::new("winograd");
    let x = b.input("x", DType::F32, [1, 32, 17, 19].map(Dim::from));
    let w = b.constant("w", noise(&[40, 32, 3, 3], 1));
    let bias = b.constant("b", noise(&[40], 2));
    let y = b.conv(x, w, Some(bias), Conv { pads: Pads::SameUpper, ..Conv::default() }, "wide").unwrap();
    let w = b.constant("v", noise(&[8, 40, 1, 1], 3));
    let y = b.conv(y, w, None, Conv::default(), "narrow").unwrap();
    b.output(y);
    Model::new(pocketnn::passes::optimize(b.finish().unwrap()).unwrap().0)
}

fn run(options: &Options) -> (Vec<String>, Tensor) {
    let model = model();
    let mut session = model.session(options).unwrap();
    let names = session.plan().unwrap().steps().iter().filter(|s| s.op == "Conv").map(|s| s.algorithm.clone());
    (names.collect(), session.run_tensors(&[noise(&[1, 32, 17, 19], 4)]).unwrap().remove(0))
}

#[test]
fn it_can_be_turned_off_and_changes_little() {
    let (on, fast) = run(&Options::default());
    let (off, direct) = run(&Options::default().winograd(Winograd::Off));
    assert!(on[0].starts_with("winograd") && on[1].starts_with("direct"), "{on:?}");
    assert!(off.iter().all(|a| a.starts_with("direct")), "{off:?}");
    let (fast, direct) = (fast.to_f32(), direct.to_f32());
    let largest = direct.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    let apart = fast.iter().zip(&direct).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(apart > 0.0 && apart <= 1e-5 * largest, "{apart} of {largest}");
}

#[test]
fn bits_depend_neither_on_threads_nor_on_the_instruction_set() {
    let (_, expected) = run(&Options::default().isa(Isa::SCALAR));
    for isa in Isa::available().into_iter().filter(|i| i.fused()) {
        for threads in [1, 2, 3] {
            let options = Options::default().isa(isa).threads(Threads::new(threads).unwrap());
            assert!(run(&options).1.same_bits(&expected), "{isa}, {threads} threads");
        }
    }
}
