//! Softmax of a classifier, of attention rows and across the channels of a segmentation.

use criterion::{Criterion, criterion_group, criterion_main};
use pocketnn_benches::{floats, on_all};
use pocketnn_kernels::par::Serial;
use pocketnn_kernels::softmax::{Kind, Softmax};

fn lines(c: &mut Criterion) {
    let cases = [
        ("10", [1, 10, 1]),
        ("1000", [1, 1000, 1]),
        ("197 rows of 197", [197, 197, 1]),
        ("21 channels", [1, 21, 4096]),
    ];
    for (name, [outer, len, inner]) in cases {
        on_all(c, &format!("softmax {name}"), outer * len * inner, |isa| {
            let f = Softmax::new(isa, Kind::Softmax, outer, len, inner);
            let (x, mut y) = (floats(outer * len * inner), vec![0.0; outer * len * inner]);
            Box::new(move || f.apply(&x, &mut y, &Serial).expect("lengths agree"))
        });
    }
}

criterion_group!(benches, lines);
criterion_main!(benches);
