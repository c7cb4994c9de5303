//! Cases of every operator, and what they share.

pub mod elements;
pub mod images;
pub mod networks;

use crate::tflite_support::{G, Table, run};
use pocketnn::{DType, Tensor};
use std::cell::RefCell;
use std::collections::BTreeSet;

pub fn floats(shape: &[usize], x: &[f32]) -> Tensor {
    Tensor::new(shape, x.to_vec()).unwrap()
}
pub fn ramp(shape: &[usize]) -> Tensor {
    let n = shape.iter().product::<usize>();
    floats(shape, &(0..n).map(|i| i as f32).collect::<Vec<_>>())
}
pub fn dims(shape: &[usize]) -> Vec<i32> {
    shape.iter().map(|&d| d as i32).collect()
}

thread_local! { pub static SEEN: RefCell<BTreeSet<String>> = const { RefCell::new(BTreeSet::new()) }; }

/// Runs one operator on inputs and constants; gives its outputs of these types.
pub fn apply(name: &str, inputs: &[Tensor], constants: &[Tensor], options: Table, outputs: &[DType]) -> Vec<Tensor> {
    SEEN.with_borrow_mut(|s| s.insert(name.to_string()));
    let mut g = G::new();
    let mut operands = Vec::new();
    for (i, t) in inputs.iter().enumerate() {
        operands.push(g.input(&format!("x{i}"), t.dtype(), &dims(t.shape())));
    }
    operands.extend(constants.iter().map(|c| g.constant(c)));
    let made: Vec<i32> = outputs.iter().enumerate().map(|(i, &d)| g.computed(&format!("y{i}"), d, &[], None)).collect();
    g.op(name, &operands, &made, options);
    made.iter().for_each(|&m| g.output(m));
    run(&g.file(), inputs)
}

/// As [`apply`] with operands in this order: those below the number of inputs, then constants.
pub fn ordered(
    name: &str,
    order: &[usize],
    inputs: &[Tensor],
    constants: &[Tensor],
    options: Table,
    to: &[DType],
) -> Vec<Tensor> {
    SEEN.with_borrow_mut(|s| s.insert(name.to_string()));
    let mut g = G::new();
    let mut all = Vec::new();
    for (i, t) in inputs.iter().enumerate() {
        all.push(g.input(&format!("x{i}"), t.dtype(), &dims(t.shape())));
    }
    all.extend(constants.iter().map(|c| g.constant(c)));
    let operands: Vec<i32> = order.iter().map(|&i| all[i]).collect();
    let made: Vec<i32> = to.iter().enumerate().map(|(i, &d)| g.computed(&format!("y{i}"), d, &[], None)).collect();
    g.op(name, &operands, &made, options);
    made.iter().for_each(|&m| g.output(m));
    run(&g.file(), inputs)
}

pub fn close(name: &str, got: &Tensor, want: &[f64]) {
    let got = got.to_f64();
    assert_eq!(got.len(), want.len(), "{name}");
    for (a, b) in got.iter().zip(want) {
        assert!((a - b).abs() <= 1e-5 * b.abs().max(1.0), "{name}: {a} {b}");
    }
}
