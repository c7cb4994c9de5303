//! Residual additions, channel factors and gates.

use criterion::{Criterion, criterion_group, criterion_main};
use pocketnn_benches::{floats, on_all};
use pocketnn_kernels::activation::Activation;
use pocketnn_kernels::elementwise::{Arithmetic, Binary, Images, Side};
use pocketnn_kernels::layout::Blocked;
use pocketnn_kernels::par::Serial;

fn plain(c: &mut Criterion) {
    type Case = (&'static str, Binary, Activation, &'static [usize], &'static [usize]);
    let cases: [Case; 4] = [
        ("add same shape", Binary::Add, Activation::Relu, &[64, 28, 28], &[64, 28, 28]),
        ("multiply by a scalar", Binary::Mul, Activation::Identity, &[64, 28, 28], &[]),
        ("add a row", Binary::Add, Activation::Identity, &[784, 64], &[64]),
        ("add a column", Binary::Add, Activation::Identity, &[64, 784], &[64, 1]),
    ];
    for (name, op, activation, a, b) in cases {
        let n = a.iter().product();
        on_all(c, &format!("elementwise {name}"), n, |isa| {
            let f = Arithmetic::new(isa, op, activation, a, b).expect("shapes broadcast");
            let (x, z, mut y) = (floats(n), floats(b.iter().product()), vec![0.0; n]);
            Box::new(move || f.apply(&x, &z, &mut y, &Serial).expect("lengths agree"))
        });
    }
}

fn images(c: &mut Criterion) {
    let g = Blocked::new(1, 64, [1, 28, 28]).with_halo([(0, 0), (1, 1), (1, 1)]);
    let gate = Blocked::new(1, 64, [1; 3]);
    let cases = [
        ("residual", Side::Image(g), g.len()),
        ("gate", Side::Image(gate), gate.len()),
        ("channels", Side::Channels, 64),
    ];
    for (name, side, len) in cases {
        on_all(c, &format!("elementwise blocked {name}"), g.len(), |isa| {
            let op = if name == "residual" { Binary::Add } else { Binary::Mul };
            let f = Images::new(isa, op, Activation::Identity, Side::Image(g), side, g).expect("shapes broadcast");
            let (x, z, mut y) = (floats(g.len()), floats(len), vec![0.0; g.len()]);
            Box::new(move || f.apply(&x, &z, &mut y, &Serial).expect("lengths agree"))
        });
    }
}

criterion_group!(benches, plain, images);
criterion_main!(benches);
