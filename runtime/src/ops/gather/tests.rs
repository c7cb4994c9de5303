//! Shapes, followed dimensions and errors; the meaning is tested with the naive twins.

use super::*;
use crate::graph::infer_node;
use crate::ops::infer::{Fact, ValueType};
use crate::{Dim, Op, Result, Tensor};

fn of(shape: &[Dim]) -> Fact {
    Fact::of_type(ValueType::new(DType::F32, shape))
}

fn ints(x: &[i64]) -> Fact {
    Fact::of_constant(Tensor::vector(x))
}

fn run(op: impl Into<Op>, inputs: &[&Fact], outputs: usize) -> Result<Vec<Fact>> {
    let inputs: Vec<Option<&Fact>> = inputs.iter().map(|f| Some(*f)).collect();
    infer_node(&op.into(), &inputs, outputs)
}

fn shape(op: impl Into<Op>, inputs: &[&Fact]) -> String {
    run(op, inputs, 1).map_or_else(|e| e.to_string(), |f| f[0].ty.to_string())
}

fn eval(op: impl Into<Op>, inputs: &[&Tensor]) -> Result<Tensor> {
    let inputs: Vec<Option<&Tensor>> = inputs.iter().map(|t| Some(*t)).collect();
    op.into().eval(&inputs, 1).map(|mut t| t.swap_remove(0))
}

#[test]
fn gathered_shapes_are_followed() {
    let n = Dim::symbol("N");
    let dims = Fact { dims: Some(vec![n.clone(), 3.into()]), ..Fact::of_type(ValueType::known(DType::I64, &[2])) };
    let last = run(Gather::default(), &[&dims, &Fact::of_constant(Tensor::scalar(-1i64))], 1).unwrap();
    assert_eq!(last[0].constant, Some(Tensor::scalar(3i64)));
    let first = run(Gather::default(), &[&dims, &ints(&[0, 0])], 1).unwrap();
    assert_eq!(first[0].dims, Some(vec![n.clone(), n.clone()]));
    let table = of(&[100.into(), 8.into()]);
    let tokens = Fact::of_type(ValueType::new(DType::I32, vec![n.clone(), 5.into()]));
    assert_eq!(shape(Gather { axis: 0 }, &[&table, &tokens]), "f32[N, 5, 8]");
    assert_eq!(
        shape(
            GatherNd { batch_dims: 1 },
            &[
                &of(&[n.clone(), 4.into(), 6.into()]),
                &Fact::of_type(ValueType::new(DType::I64, vec![n.clone(), 7.into(), 1.into()]))
            ]
        ),
        "f32[N, 7, 6]"
    );
}

#[test]
fn errors_name_operand_and_bound() {
    let x = of(&[2.into(), 3.into()]);
    assert!(shape(Gather { axis: 1 }, &[&x, &ints(&[3])]).contains("index 3 is outside an axis of 3"));
    assert!(shape(Gather { axis: 2 }, &[&x, &ints(&[0])]).contains("axis 2"));
    assert!(shape(Gather::default(), &[&x, &x]).contains("expected indices"));
    assert!(shape(GatherElements { axis: 1 }, &[&x, &ints(&[0])]).contains("do not fit"));
    assert!(shape(TopK::default(), &[&x, &ints(&[4])]).contains("4 elements of axis 1, which has 3"));
    assert!(shape(ScatterNd::default(), &[&x, &ints(&[0]), &of(&[2.into()])]).contains("expected [3], found [2]"));
    let run_time = eval(Gather::default(), &[&Tensor::vector(&[1u8, 2]), &Tensor::vector(&[0i32, 2])]);
    assert!(run_time.unwrap_err().to_string().contains("index 2"));
}

#[test]
fn every_type_is_moved_and_summed() {
    let x = Tensor::new(&[2, 2], [1.0, 2.0, 3.0, 4.0].map(half::f16::from_f32).to_vec()).unwrap();
    assert_eq!(eval(Gather { axis: 1 }, &[&x, &Tensor::vector(&[-1i64])]).unwrap().to_f64(), [2.0, 4.0]);
    let add = ScatterNd { reduction: Reduction::Add };
    let (at, twice) = (Tensor::new(&[2, 1], vec![0i64, 0]).unwrap(), x.clone());
    assert_eq!(eval(add, &[&x, &at, &twice]).unwrap().to_f64(), [5.0, 8.0, 3.0, 4.0]);
    let flags = Tensor::new(&[2, 2], vec![true, true, true, false]).unwrap();
    assert_eq!(eval(Trilu::default(), &[&flags]).unwrap().to_i64().unwrap(), [1, 1, 0, 0]);
    assert_eq!(eval(NonZero {}, &[&flags]).unwrap().shape(), [2, 3]);
    let eye = EyeLike { dtype: Some(DType::BF16), k: -1 };
    assert_eq!(eval(eye, &[&flags]).unwrap().to_f64(), [0.0, 0.0, 1.0, 0.0]);
    let hot = eval(
        OneHot { axis: 0 },
        &[&Tensor::vector(&[1.0f32, -1.0]), &Tensor::scalar(2.0f32), &Tensor::vector(&[0i8, 7])],
    );
    assert_eq!(hot.unwrap(), Tensor::new(&[2, 2], vec![0i8, 0, 7, 7]).unwrap());
}
