//! Layer normalisation of transformer rows, instance and batch normalisation of images.

use criterion::{Criterion, criterion_group, criterion_main};
use pocketnn_benches::{floats, on_all};
use pocketnn_kernels::layout::Blocked;
use pocketnn_kernels::norm::{Affine, Group, Layer, LocalResponse};
use pocketnn_kernels::par::Serial;

fn rows(c: &mut Criterion) {
    on_all(c, "norm layer 197 x 768", 197 * 768, |isa| {
        let f = Layer::new(isa, 197, 768, 1e-5);
        let (x, p, mut y) = (floats(197 * 768), floats(768), vec![0.0; 197 * 768]);
        Box::new(move || f.apply(&x, Some(&p), Some(&p), &mut y, &Serial).expect("lengths agree"))
    });
}

fn images(c: &mut Criterion) {
    let g = Blocked::new(1, 64, [1, 28, 28]);
    on_all(c, "norm instance blocked", g.len(), |isa| {
        let f = Group::blocked(isa, g, 64, 1e-5).expect("one group a channel");
        let mut y = floats(g.len());
        Box::new(move || f.apply_in_place(None, None, &mut y, &Serial).expect("lengths agree"))
    });
    on_all(c, "norm batch blocked", g.len(), |isa| {
        let f = Affine::blocked(isa, g, g, floats(64), floats(64)).expect("one a channel");
        let mut y = floats(g.len());
        Box::new(move || f.apply_in_place(&mut y, &Serial).expect("lengths agree"))
    });
    on_all(c, "norm local response", g.len(), |isa| {
        let f = LocalResponse::new(isa, [1, 64, 784], 5, 1e-4, 0.75, 1.0).expect("a window");
        let (x, mut y) = (floats(g.len()), vec![0.0; g.len()]);
        Box::new(move || f.apply(&x, &mut y, &Serial).expect("lengths agree"))
    });
}

criterion_group!(benches, rows, images);
criterion_main!(benches);
