//! Doubling and halving of blocked feature maps, and of a plain photograph.

use criterion::{Criterion, criterion_group, criterion_main};
use pocketnn_benches::{floats, on_all};
use pocketnn_kernels::layout::Blocked;
use pocketnn_kernels::par::Serial;
use pocketnn_kernels::resize::{Axis, Coordinates, Method, Resize, Rounding, Table};

const METHODS: [(&str, Method); 3] = [
    ("nearest", Method::Nearest(Rounding::PreferFloor)),
    ("linear", Method::Linear { antialias: false }),
    ("cubic", Method::Cubic { a: -0.75, antialias: false }),
];

fn table(input: usize, output: usize, method: Method) -> Table {
    let scale = output as f64 / input as f64;
    Table::new(&Axis { input, output, scale, coordinates: Coordinates::HalfPixel }, method, false)
}

fn resizes(c: &mut Criterion) {
    for (name, method) in METHODS {
        for (from, to) in [(26, 52), (52, 26)] {
            let t = table(from, to, method);
            let (x, y) = (Blocked::new(1, 64, [1, from, from]), Blocked::new(1, 64, [1, to, to]));
            on_all(c, &format!("resize {name} 64x{from}x{from} to {to}"), 64 * to * to, |isa| {
                let resize = Resize::blocked(isa, x, y, [None, Some(&t), Some(&t)]).expect("tables fit");
                let (x, mut y) = (floats(x.len()), vec![0.0; y.len()]);
                Box::new(move || resize.apply(&x, &mut y, &Serial).expect("lengths agree"))
            });
        }
        let (rows, columns) = (table(480, 224, method), table(640, 224, method));
        on_all(c, &format!("resize {name} photograph 480x640 to 224"), 3 * 224 * 224, |isa| {
            let tables = [None, Some(&rows), Some(&columns)];
            let resize = Resize::plain(isa, 3, [1, 480, 640], [1, 224, 224], tables).expect("tables fit");
            let (x, mut y) = (floats(3 * 480 * 640), vec![0.0; 3 * 224 * 224]);
            Box::new(move || resize.apply(&x, &mut y, &Serial).expect("lengths agree"))
        });
    }
}

criterion_group!(benches, resizes);
criterion_main!(benches);
