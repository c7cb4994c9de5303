//! Activations of a feature map of MobileNet, flat and blocked with a halo.

use criterion::{Criterion, criterion_group, criterion_main};
use pocketnn_benches::{floats, on_all};
use pocketnn_kernels::activation::{Activation, Map};
use pocketnn_kernels::layout::Blocked;
use pocketnn_kernels::par::Serial;

fn maps(c: &mut Criterion) {
    let g = Blocked::new(1, 64, [1, 28, 28]).with_halo([(0, 0), (1, 1), (1, 1)]);
    let all = [
        Activation::Relu,
        Activation::RELU6,
        Activation::LeakyRelu { alpha: 0.1 },
        Activation::HARD_SWISH,
        Activation::SILU,
        Activation::Gelu,
        Activation::Mish,
        Activation::Softplus,
    ];
    for function in all {
        let name = format!("{function:?}").to_lowercase();
        on_all(c, &format!("activation {name}"), g.len(), |isa| {
            let (map, x, mut y) = (Map::new(isa, function, g.len()), floats(g.len()), vec![0.0; g.len()]);
            Box::new(move || map.apply(&x, &mut y, &Serial).expect("lengths agree"))
        });
    }
    on_all(c, "activation sigmoid blocked", g.len(), |isa| {
        let map = Map::blocked(isa, Activation::Sigmoid, g, g).expect("one geometry");
        let (x, mut y) = (floats(g.len()), vec![0.0; g.len()]);
        Box::new(move || map.apply(&x, &mut y, &Serial).expect("lengths agree"))
    });
}

criterion_group!(benches, maps);
criterion_main!(benches);
