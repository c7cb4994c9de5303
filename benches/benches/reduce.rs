//! Global pooling and reductions over inner and outer axes.

use criterion::{Criterion, criterion_group, criterion_main};
use pocketnn_benches::{floats, on_all};
use pocketnn_kernels::layout::Blocked;
use pocketnn_kernels::par::Serial;
use pocketnn_kernels::reduce::{Global, Reduce, Reduction};

fn tensors(c: &mut Criterion) {
    let cases: [(&str, Reduction, &[usize], &[usize]); 4] = [
        ("sum of rows", Reduction::Sum, &[64, 784], &[1]),
        ("mean of columns", Reduction::Mean, &[784, 64], &[0]),
        ("largest of rows", Reduction::Max, &[64, 784], &[1]),
        ("log-sum-exp of rows", Reduction::LogSumExp, &[64, 784], &[1]),
    ];
    for (name, op, shape, axes) in cases {
        let n = shape.iter().product();
        on_all(c, &format!("reduce {name}"), n, |isa| {
            let f = Reduce::new(isa, op, shape, axes).expect("axes are inside");
            let (x, mut y) = (floats(n), vec![0.0; f.outputs()]);
            Box::new(move || f.apply(&x, &mut y, &Serial).expect("lengths agree"))
        });
    }
}

fn images(c: &mut Criterion) {
    let g = Blocked::new(1, 1280, [1, 7, 7]);
    for (name, op) in [("mean", Reduction::Mean), ("largest", Reduction::Max)] {
        on_all(c, &format!("reduce global {name}"), g.len(), |isa| {
            let f = Global::new(isa, op, g, true).expect("a reduction of images");
            let (x, mut y) = (floats(g.len()), vec![0.0; f.outputs()]);
            Box::new(move || f.apply(&x, &mut y, &Serial).expect("lengths agree"))
        });
    }
}

criterion_group!(benches, tensors, images);
criterion_main!(benches);
