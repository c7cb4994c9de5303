//! Elementary functions on a slice that stays in the first-level cache.

use criterion::{Criterion, criterion_group, criterion_main};
use pocketnn_benches::{floats, on_all};
use pocketnn_kernels::activation::{Activation, slices};

fn functions(c: &mut Criterion) {
    let all = [
        Activation::Exp,
        Activation::Expm1,
        Activation::Log,
        Activation::Log1p,
        Activation::Tanh,
        Activation::Sigmoid,
        Activation::Erf,
    ];
    for function in all {
        on_all(c, &format!("math {}", format!("{function:?}").to_lowercase()), 2048, |isa| {
            let x: Vec<f32> = floats(2048).iter().map(|v| v * 8.0 + 9.0).collect();
            let mut y = vec![0.0; x.len()];
            Box::new(move || slices(isa, &function, &x, &mut y))
        });
    }
}

criterion_group!(benches, functions);
criterion_main!(benches);
