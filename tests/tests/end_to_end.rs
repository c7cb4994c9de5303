//! Whole networks: built, optimised, saved, opened and run, on every instruction set and in the caller's memory.

use pocketnn::kernels::isa::Isa;
use pocketnn::{Graph, Model, Options, Tensor, Threads, format, passes, plan};
use pocketnn_tests::networks::{lenet, mobilenet, noise};

fn networks() -> Vec<(Graph, [usize; 3])> {
    vec![(lenet().unwrap(), [1, 28, 28]), (mobilenet().unwrap(), [3, 33, 33])]
}

fn image(n: usize, shape: [usize; 3], seed: u64) -> Tensor {
    noise(&[n, shape[0], shape[1], shape[2]], seed).unwrap()
}

fn optimized(g: &Graph) -> Graph {
    passes::optimize(g.clone()).unwrap().0
}

fn run(model: &Model, options: &Options, x: &Tensor) -> Tensor {
    model.session(options).unwrap().run_tensors(std::slice::from_ref(x)).unwrap().remove(0)
}

fn naive(g: &Graph, x: &Tensor) -> Tensor {
    plan::interpret(g, std::slice::from_ref(x), |_, _| Ok(())).unwrap().remove(0)
}

fn close(found: &Tensor, expected: &Tensor, place: &str) {
    assert_eq!(found.shape(), expected.shape(), "{place}");
    for (i, (f, e)) in found.to_f64().iter().zip(expected.to_f64()).enumerate() {
        assert!((f - e).abs() <= 1e-5, "{place}: element {i}: expected {e}, found {f}");
    }
}

#[test]
fn a_saved_and_opened_network_computes_what_the_interpreter_computes() {
    for (g, shape) in networks() {
        let path = std::env::temp_dir().join(format!("pocketnn-{}-{}.pnn", g.name(), std::process::id()));
        let small = optimized(&g);
        assert!(small.nodes().len() < g.nodes().len(), "{}: nothing was fused", g.name());
        format::save(&small, &path).unwrap();
        let model = Model::open(&path).unwrap();
        let x = image(1, shape, 5);
        let expected = naive(&g, &x);
        assert!((expected.to_f64().iter().sum::<f64>() - 1.0).abs() < 1e-5);
        close(&run(&model, &Options::default(), &x), &expected, g.name());
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn the_same_network_is_the_same_file() {
    for (g, _) in networks() {
        let bytes = format::write(&optimized(&g)).unwrap();
        assert_eq!(bytes, format::write(&optimized(&g)).unwrap());
        let back = format::read(&bytes, &format::Limits::default()).unwrap();
        assert_eq!(bytes, format::write(&back).unwrap());
        format::verify_digest(&bytes).unwrap();
    }
}

#[test]
fn every_fused_instruction_set_and_number_of_threads_gives_the_same_bits() {
    let fused: Vec<Isa> = Isa::available().into_iter().filter(|i| i.fused()).collect();
    for (g, shape) in networks() {
        let model = Model::new(optimized(&g));
        let x = image(3, shape, 9);
        let expected = run(&model, &Options::default().isa(fused[0]), &x);
        for &isa in &fused {
            for threads in 1..=3 {
                let options = Options::default().isa(isa).threads(Threads::new(threads).unwrap());
                let found = run(&model, &options, &x);
                assert!(found.same_bits(&expected), "{}: {isa}, {threads} threads", g.name());
            }
        }
        let portable = run(&model, &Options::default().isa(Isa::PORTABLE), &x);
        close(&portable, &expected, "portable");
    }
}

#[test]
fn each_image_of_a_batch_is_computed_as_alone() {
    for (g, shape) in networks() {
        let model = Model::new(optimized(&g));
        let x = image(4, shape, 3);
        let all = run(&model, &Options::default(), &x).to_f32();
        let size: usize = shape.iter().product();
        let width = all.len() / 4;
        for (i, pixels) in x.to_f32().chunks(size).enumerate() {
            let one = Tensor::new(&[1, shape[0], shape[1], shape[2]], pixels.to_vec()).unwrap();
            // A batch may take another algorithm than one image, with another order of sums.
            let of_all = Tensor::new(&[1, width], all[i * width..(i + 1) * width].to_vec()).unwrap();
            close(&run(&model, &Options::default(), &one), &of_all, &format!("{} image {i}", g.name()));
        }
    }
}

#[test]
fn one_session_serves_changing_sizes_and_the_memory_of_its_caller() {
    for (g, shape) in networks() {
        let model = Model::new(optimized(&g));
        let mut session = model.session(&Options::default()).unwrap();
        for n in [1, 5, 2, 1] {
            let x = image(n, shape, n as u64);
            let found = session.run_tensors(std::slice::from_ref(&x)).unwrap().remove(0);
            assert!(found.same_bits(&run(&model, &Options::default(), &x)));
            close(&found, &naive(&g, &x), g.name());
        }
        let bytes = model.session(&Options::default()).unwrap().arena_bytes();
        let mut memory = vec![0xffu8; bytes + 64];
        let at = memory.as_ptr().align_offset(64);
        let mut given = model.session_in(&Options::default(), &mut memory[at..at + bytes]).unwrap();
        let x = image(1, shape, 8);
        let found = given.run_tensors(std::slice::from_ref(&x)).unwrap().remove(0);
        assert!(found.same_bits(&run(&model, &Options::default(), &x)), "{}: memory that was not zero", g.name());
    }
}

#[test]
fn sessions_on_several_threads_share_a_model() {
    let (g, shape) = networks().remove(1);
    let model = Model::new(optimized(&g));
    let x = image(1, shape, 4);
    let expected = run(&model, &Options::default(), &x);
    std::thread::scope(|s| {
        for _ in 0..4 {
            s.spawn(|| {
                let mut session = model.session(&Options::default()).unwrap();
                for _ in 0..20 {
                    assert!(session.run_tensors(std::slice::from_ref(&x)).unwrap()[0].same_bits(&expected));
                }
            });
        }
    });
}

#[test]
fn planned_networks_have_no_interpreted_steps_and_no_transposes() {
    for (g, _) in networks() {
        let model = Model::new(optimized(&g));
        let session = model.session(&Options::default()).unwrap();
        let plan = session.plan().unwrap();
        let interpreted: Vec<String> =
            plan.steps().iter().filter(|s| s.interpreted).map(|s| format!("{} {}", s.op, s.name)).collect();
        assert_eq!(interpreted, [""; 0], "{}", g.name());
        assert_eq!(plan.transposes(), 0, "{}", g.name());
        assert!(plan.arena_bytes() >= plan.arena_lower_bound());
    }
}

#[test]
fn a_settled_model_computes_the_same_bits_and_settles_once() {
    let mut b = pocketnn::GraphBuilder::new("large");
    let x = b.input("x", pocketnn::DType::F32, [1, 1280, 4, 4].map(pocketnn::Dim::from));
    let w = b.constant("w", noise(&[1024, 1280, 1, 1], 5).unwrap());
    let y = b.conv(x, w, None, pocketnn::ops::conv::Conv::default(), "conv").unwrap();
    b.output(y);
    let graph = plan::pack(passes::optimize(b.finish().unwrap()).unwrap().0, &pocketnn::dim::Bindings::new()).unwrap();
    let path = std::env::temp_dir().join(format!("pocketnn-settle-{}.pnn", std::process::id()));
    format::save(&graph, &path).unwrap();
    let model = Model::open(&path).unwrap();
    let input = [noise(&[1, 1280, 4, 4], 9).unwrap()];
    let mut session = model.session(&Options::default()).unwrap();
    let before = session.run_tensors(&input).unwrap();
    let moved = model.settle();
    // Nothing where the system has no huge pages, else all weights.
    assert!(moved == 0 || moved == 4 * 1024 * 1280, "{moved} bytes");
    assert_eq!(model.settle(), 0);
    let mut later = model.session(&Options::default()).unwrap();
    for s in [&mut session, &mut later] {
        assert!(s.run_tensors(&input).unwrap()[0].same_bits(&before[0]));
    }
    std::fs::remove_file(path).unwrap();
    let small = Model::open(concat!(env!("CARGO_MANIFEST_DIR"), "/../models/mnist/digits.pnn")).unwrap();
    assert_eq!(small.settle(), 0);
}
