//! What follows from shapes before anything runs, and the errors of operands that do not fit.

use super::*;
use crate::graph::infer_node;
use crate::ops::infer::{Fact, ValueType};
use crate::{DType, Dim, Op, Result, Tensor};

fn n() -> Dim {
    Dim::symbol("N")
}

fn image(shape: &[Dim]) -> Fact {
    Fact::of_type(ValueType::new(DType::F32, shape))
}

fn ints(x: &[i64]) -> Fact {
    Fact::of_constant(Tensor::vector(x))
}

/// An integer vector whose entries follow from shapes.
fn followed(dims: &[Dim]) -> Fact {
    Fact { dims: Some(dims.to_vec()), ..Fact::of_type(ValueType::known(DType::I64, &[dims.len()])) }
}

fn run(op: impl Into<Op>, inputs: &[&Fact]) -> Result<Fact> {
    let inputs: Vec<Option<&Fact>> = inputs.iter().map(|f| Some(*f)).collect();
    Ok(infer_node(&op.into(), &inputs, 1)?.remove(0))
}

fn shape_of(op: impl Into<Op>, inputs: &[&Fact]) -> String {
    match run(op, inputs) {
        Ok(f) => crate::dim::show_shape(&f.ty.shape),
        Err(e) => e.to_string(),
    }
}

#[test]
fn reshape_divides_symbolic_sizes() {
    let x = image(&[n(), 64.into(), 7.into(), 7.into()]);
    let shape = |target: &Fact| shape_of(Reshape::default(), &[&x, target]);
    assert_eq!(shape(&ints(&[0, -1])), "[N, 3136]");
    assert_eq!(shape(&ints(&[-1, 3136])), "[N, 3136]");
    assert_eq!(shape(&followed(&[n(), Dim::signed(-1), 7.into()])), "[N, 448, 7]");
    assert!(shape(&ints(&[0, -1, -1])).contains("more than one -1"));
    assert!(shape(&ints(&[0, -2])).contains("extent -2"));
    assert!(shape(&ints(&[0, 0, 0, 0, 0])).contains("entry 4 copies"));
    let fixed = image(&[2.into(), 3.into()]);
    assert!(shape_of(Reshape::default(), &[&fixed, &ints(&[4, -1])]).contains("not a multiple of 4"));
    assert!(shape_of(Reshape::default(), &[&fixed, &ints(&[5])]).contains("6 elements do not fill 5"));
    let later = Fact::of_type(ValueType::known(DType::I64, &[3]));
    assert_eq!(run(Reshape::default(), &[&x, &later]).unwrap().ty.shape.len(), 3);
}

#[test]
fn chains_of_shape_arithmetic_are_followed() {
    let x = image(&[n(), 8.into(), Dim::symbol("H")]);
    let shape = run(Shape::default(), &[&x]).unwrap();
    let head = run(Slice {}, &[&shape, &ints(&[0]), &ints(&[1])]).unwrap();
    let joined = run(Concat { axis: 0 }, &[&head, &ints(&[-1])]).unwrap();
    assert_eq!(shape_of(Reshape::default(), &[&x, &joined]), "[N, 8*H]");
    let back = run(Slice {}, &[&shape, &ints(&[-1]), &ints(&[i64::MIN]), &ints(&[0]), &ints(&[-2])]).unwrap();
    assert_eq!(back.dims, Some(vec![Dim::symbol("H"), n()]));
    let fixed = run(Shape { start: 1, end: Some(-1) }, &[&x]).unwrap();
    assert_eq!(fixed.constant.unwrap().to_i64().unwrap(), [8]);
}

#[test]
fn slices_of_symbolic_axes() {
    let x = image(&[n(), 10.into()]);
    let slice = |s: i64, e: i64, k: i64| shape_of(Slice {}, &[&x, &ints(&[s]), &ints(&[e]), &ints(&[0]), &ints(&[k])]);
    assert_eq!(slice(1, i64::MAX, 1), "[N-1, 10]");
    assert_eq!(slice(0, -2, 1), "[N-2, 10]");
    assert_eq!(slice(-3, i64::MAX, 1), "[3, 10]");
    assert_eq!(slice(0, 5, 1), "[min(5, N), 10]");
    assert_eq!(slice(0, i64::MAX, 2), "[ceil((N)/(2)), 10]");
    assert_eq!(slice(-1, i64::MIN, -1), "[N, 10]");
    let to_n = shape_of(Slice {}, &[&x, &ints(&[0]), &followed(&[n()]), &ints(&[0])]);
    assert_eq!(to_n, "[N, 10]");
    let known = |s: i64, e: i64, k: i64| shape_of(Slice {}, &[&x, &ints(&[s]), &ints(&[e]), &ints(&[1]), &ints(&[k])]);
    assert_eq!([known(-100, 100, 3), known(9, -100, -4), known(5, 2, 1)], ["[N, 4]", "[N, 3]", "[N, 0]"]);
    assert!(known(0, 1, 0).contains("step of 0"));
}

#[test]
fn parts_repeats_and_pads_of_symbolic_axes() {
    let x = image(&[n() * Dim::from(2), 5.into()]);
    let parts = infer_node(&Op::from(Split { axis: 0 }), &[Some(&x)], 2).unwrap();
    assert_eq!(parts.iter().map(|f| f.ty.to_string()).collect::<Vec<_>>(), ["f32[N, 5]", "f32[N, 5]"]);
    let uneven = infer_node(&Op::from(Split { axis: 1 }), &[Some(&x)], 4).unwrap();
    let extents: Vec<_> = uneven.iter().map(|f| f.ty.shape[1].known()).collect();
    assert_eq!(extents, [Some(2), Some(2), Some(1), Some(0)]);
    assert_eq!(shape_of(Tile {}, &[&x, &ints(&[1, 3])]), "[2*N, 15]");
    assert_eq!(shape_of(Pad::default(), &[&x, &ints(&[1, 0, 2, -3])]), "[2*N+3, 2]");
    assert!(shape_of(Pad::default(), &[&x, &ints(&[0, 0, 0, -6])]).contains("the extent would be -1"));
    assert_eq!(
        shape_of(Expand {}, &[&image(&[1.into(), 5.into()]), &followed(&[n(), 1.into(), 1.into()])]),
        "[N, 1, 5]"
    );
    assert_eq!(shape_of(Concat { axis: -2 }, &[&x, &x]), "[4*N, 5]");
    assert!(shape_of(Concat { axis: 0 }, &[&x, &image(&[1.into(), 4.into()])]).contains("5 and 4 differ"));
    let count = |limit: &Fact| shape_of(Range {}, &[&ints(&[0]), limit, &ints(&[1])]);
    assert_eq!([count(&followed(&[n()])), count(&ints(&[-3]))], ["[N]", "[0]"]);
    assert!(shape_of(Range {}, &[&ints(&[0]), &ints(&[3]), &ints(&[0])]).contains("no end"));
}

#[test]
fn huge_outputs_are_refused_and_empty_ones_are_fine() {
    use crate::ErrorKind;
    let eval = |op: Op, inputs: &[&Tensor]| {
        let inputs: Vec<Option<&Tensor>> = inputs.iter().map(|t| Some(*t)).collect();
        op.eval(&inputs, 1).map(|mut t| t.remove(0))
    };
    let huge = Tensor::vector(&[1i64 << 31, 1 << 31]);
    assert_eq!(eval(ConstantOfShape::default().into(), &[&huge]).unwrap_err().kind(), ErrorKind::Limit);
    let x = Tensor::vector(&[1u8, 2]);
    assert_eq!(eval(Tile {}.into(), &[&x, &Tensor::vector(&[1i64 << 62])]).unwrap_err().kind(), ErrorKind::Limit);
    let empty = eval(Expand {}.into(), &[&x.reshaped(&[1, 2]).unwrap(), &Tensor::vector(&[0i64, 2])]).unwrap();
    assert_eq!((empty.shape(), empty.dtype()), ([0, 2].as_slice(), DType::U8));
    let halves = Tensor::new(&[3], vec![half::f16::ONE; 3]).unwrap();
    let padded = eval(Pad::default().into(), &[&halves, &Tensor::vector(&[1i64, -2])]).unwrap();
    assert_eq!(padded.to_f64(), [0.0, 1.0]);
}
