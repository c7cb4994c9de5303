//! Recurrent layers of small sequence models; the throughput counts multiply-accumulates.

use criterion::{Criterion, criterion_group, criterion_main};
use pocketnn_benches::{floats, on_all};
use pocketnn_kernels::activation::Activation;
use pocketnn_kernels::par::Serial;
use pocketnn_kernels::recurrent::{Cell, Direction, Outputs, Params, Recurrent, Sequence, Weights};

fn layers(c: &mut Criterion) {
    let cells = [
        ("lstm", Cell::Lstm { input_forget: false }),
        ("gru", Cell::Gru { linear_before_reset: true }),
        ("simple", Cell::Simple),
    ];
    for (name, cell) in cells {
        for (steps, batch, input, hidden) in [(49, 1, 10, 64), (28, 8, 28, 128), (100, 1, 256, 256)] {
            let (sequence, rows) = (Sequence { steps, batch }, cell.gates() * hidden);
            let activations = [Activation::Sigmoid, Activation::Tanh, Activation::Tanh];
            let params = Params { cell, direction: Direction::Forward, input, hidden, activations, clip: None };
            let (w, r, b) = (floats(rows * input), floats(rows * hidden), floats(2 * rows));
            let macs = steps * batch * rows * (input + hidden);
            on_all(c, &format!("recurrent {name} {steps}x{batch}x{input} to {hidden}"), macs, |isa| {
                let weights = Weights { w: &w, r: &r, bias: Some(&b), peepholes: None };
                let layer = Recurrent::new(isa, params, sequence, &weights).expect("weights fit");
                let states = batch * hidden;
                let cells = if matches!(cell, Cell::Lstm { .. }) { states } else { 0 };
                let (x, mut y) = (floats(steps * batch * input), vec![0.0; steps * states]);
                let (mut h, mut c, mut scratch) = (vec![0.0; states], vec![0.0; cells], vec![0.0; layer.scratch()]);
                Box::new(move || {
                    h.fill(0.0);
                    c.fill(0.0);
                    let mut out = Outputs { y: &mut y, step: states, offset: 0, h: &mut h, c: &mut c };
                    layer.apply(&x, None, &mut out, &mut scratch, &Serial).expect("lengths agree");
                })
            });
        }
    }
}

criterion_group!(benches, layers);
criterion_main!(benches);
