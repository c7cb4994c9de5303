//! A program built with some families of ops only. With all of them these tests are ignored; `scripts/size.sh` runs them without.

use pocketnn::ops::attrs::Attributes;
use pocketnn::ops::conv::Conv;
use pocketnn::ops::recurrent::Lstm;
use pocketnn::{DType, Dim, Element, ErrorKind, GraphBuilder, Model, Op, Options, Tensor};

#[test]
#[cfg_attr(feature = "all-ops", ignore = "needs a build without families: scripts/size.sh")]
fn an_absent_family_is_refused_by_name() {
    let mut b = GraphBuilder::new("sequence");
    let x = b.input("x", DType::F32, [1, 1, 2].map(Dim::from));
    let w = b.constant("w", Tensor::zeros(DType::F32, &[1, 4, 2]).unwrap());
    let r = b.constant("r", Tensor::zeros(DType::F32, &[1, 4, 1]).unwrap());
    let built = b.op(Lstm { hidden: 1, ..Lstm::default() }, &[x, w, r], "y").unwrap_err();
    let read = Op::from_json("Lstm", Lstm::default().to_json()).unwrap_err();
    for e in [built, read] {
        assert_eq!(e.kind(), ErrorKind::Unsupported);
        assert!(e.to_string().contains("`Lstm` needs the feature `recurrent`"), "{e}");
    }
    let digits = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../models/mnist/digits.pnn")).unwrap();
    let e = Model::from_bytes(&digits).unwrap_err();
    assert!(e.to_string().contains("needs the feature `pool`"), "{e}");
}

#[test]
#[cfg_attr(feature = "all-ops", ignore = "needs a build without families: scripts/size.sh")]
fn what_is_there_runs_and_evaluation_is_refused() {
    fn run<T: Element + From<f32>>(dtype: DType) -> pocketnn::Result<Vec<Tensor>> {
        let image = |x: [f32; 4]| Tensor::new(&[1, 1, 2, 2], x.map(T::from).to_vec());
        let mut b = GraphBuilder::new("one");
        let x = b.input("x", dtype, [1, 1, 2, 2].map(Dim::from));
        let w = b.constant("w", image([1.0; 4])?);
        let y = b.op(Conv::default(), &[x, w], "y")?;
        b.output(y);
        Model::new(b.finish()?).session(&Options::default())?.run_tensors(&[image([1.0, 2.0, 3.0, 4.0])?])
    }
    assert_eq!(run::<f32>(DType::F32).unwrap()[0].to_f32(), [10.0]);
    let e = run::<f64>(DType::F64).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Unsupported);
    assert!(e.to_string().contains("`Conv` needs the feature `interpret`"), "{e}");
}
