//! `Session::execute` on one thread allocates nothing: counted by the allocator itself.

use pocketnn::ops::conv::{Conv, Pads};
use pocketnn::{Bindings, DType, Dim, Graph, GraphBuilder, Model, Options, Threads, passes, plan};
use pocketnn_tests::counting::{Counting, calls};
use pocketnn_tests::networks::{lenet, mobilenet, noise};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations and frees of three executions after the first.
fn executions(model: &Model, shape: &[usize]) -> usize {
    executions_on(model, shape, 1)
}

/// As [`executions`], those of the leader of several threads.
fn executions_on(model: &Model, shape: &[usize], threads: usize) -> usize {
    let mut session = model.session(&Options::default().threads(Threads::new(threads).unwrap())).unwrap();
    let x = noise(shape, 1).unwrap();
    session.input_mut::<f32>(0).unwrap().copy_from_slice(x.as_slice().unwrap());
    session.execute().unwrap();
    let first = session.output::<f32>(0).unwrap().to_vec();
    let counted = calls(|| {
        for _ in 0..3 {
            session.execute().unwrap();
        }
    });
    assert_eq!(session.output::<f32>(0).unwrap(), first);
    counted
}

#[test]
fn the_counter_counts() {
    assert_eq!(calls(|| drop(vec![1u8; 10])), 2);
}

fn optimized(g: Graph) -> Model {
    Model::new(passes::optimize(g).unwrap().0)
}

#[test]
fn a_lenet_executes_without_allocation() {
    assert_eq!(executions(&optimized(lenet().unwrap()), &[1, 1, 28, 28]), 0);
}

#[test]
fn a_mobilenet_executes_without_allocation() {
    assert_eq!(executions(&optimized(mobilenet().unwrap()), &[1, 3, 33, 33]), 0);
}

#[test]
fn the_digits_execute_without_allocation() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/mnist/digits.pnn");
    assert_eq!(executions(&Model::open(path).unwrap(), &[1, 28, 28, 1]), 0);
}

/// A convolution by minimal filtering, with a residual and an activation.
fn minimal_filtering() -> Graph {
    let mut b = GraphBuilder::new("basic");
    let x = b.input("x", DType::F32, [1, 32, 56, 56].map(Dim::from));
    let w = b.constant("w", noise(&[32, 32, 3, 3], 3).unwrap());
    let y = b.conv(x, w, None, Conv { pads: Pads::SameUpper, ..Conv::default() }, "conv").unwrap();
    let y = b.binary(pocketnn::ops::elementwise::BinaryKind::Add, y, x, "add").unwrap();
    let y = b.relu(y, "relu").unwrap();
    b.output(y);
    b.finish().unwrap()
}

#[test]
fn minimal_filtering_executes_without_allocation() {
    let model = optimized(minimal_filtering());
    let session = model.session(&Options::default()).unwrap();
    let steps = session.plan().unwrap().steps();
    assert!(steps.iter().any(|s| s.algorithm.starts_with("winograd")), "{steps:?}");
    assert_eq!(executions(&model, &[1, 32, 56, 56]), 0);
}

#[test]
fn packed_weights_execute_without_allocation() {
    let graph = passes::optimize(minimal_filtering()).unwrap().0;
    assert_eq!(executions(&Model::new(plan::pack(graph, &Bindings::new()).unwrap()), &[1, 32, 56, 56]), 0);
}

#[test]
fn a_leader_allocates_at_most_the_jobs_that_call_its_members() {
    // Once a run and member: the job, its share of the pool's queue, and their release.
    let counted = executions_on(&optimized(minimal_filtering()), &[1, 32, 56, 56], 2);
    assert!(counted <= 3 * 4, "{counted} allocations and frees in three runs");
}
