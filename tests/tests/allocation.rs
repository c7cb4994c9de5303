//! `Session::execute` on one thread allocates nothing: counted by the allocator itself.

use pocketnn::{Graph, Model, Options, passes};
use pocketnn_tests::networks::{lenet, mobilenet, noise};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// Allocations of this thread.
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, counting.
struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; the counter is a plain thread-local that needs no allocation.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|c| c.set(c.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        COUNT.with(|c| c.set(c.get() + 1));
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(p, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(f: impl FnOnce()) -> usize {
    let before = COUNT.with(Cell::get);
    f();
    COUNT.with(Cell::get) - before
}

/// Allocations and frees of three executions after the first.
fn executions(model: &Model, shape: &[usize]) -> usize {
    let mut session = model.session(&Options::default()).unwrap();
    let x = noise(shape, 1).unwrap();
    session.input_mut::<f32>(0).unwrap().copy_from_slice(x.as_slice().unwrap());
    session.execute().unwrap();
    let first = session.output::<f32>(0).unwrap().to_vec();
    let counted = count(|| {
        for _ in 0..3 {
            session.execute().unwrap();
        }
    });
    assert_eq!(session.output::<f32>(0).unwrap(), first);
    counted
}

#[test]
fn the_counter_counts() {
    assert_eq!(count(|| drop(vec![1u8; 10])), 2);
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
