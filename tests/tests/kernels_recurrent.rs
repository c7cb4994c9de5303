//! Recurrent layers against their naive twin: every cell, direction and instruction set, lengths, peepholes, clipping.

use pocketnn_kernels::activation::Activation;
use pocketnn_kernels::isa::Isa;
use pocketnn_kernels::par::{Parallel, Serial};
use pocketnn_kernels::recurrent::{Cell, Direction, Outputs, Params, Recurrent, Sequence, Weights};
use pocketnn_kernels::reference::recurrent as reference;
use pocketnn_tests::support::{Rng, Threads, assert_close, bits};

const CELLS: [Cell; 5] = [
    Cell::Simple,
    Cell::Gru { linear_before_reset: false },
    Cell::Gru { linear_before_reset: true },
    Cell::Lstm { input_forget: false },
    Cell::Lstm { input_forget: true },
];

/// A layer with all its operands.
struct Case {
    params: Params,
    sequence: Sequence,
    x: Vec<f32>,
    w: Vec<f32>,
    r: Vec<f32>,
    bias: Option<Vec<f32>>,
    peepholes: Option<Vec<f32>>,
    lengths: Option<Vec<i32>>,
    h: Vec<f32>,
    c: Vec<f32>,
}

fn case(rng: &mut Rng) -> Case {
    let cell = rng.pick(&CELLS);
    let sequence = Sequence { steps: rng.pick(&[0, 1, 1, 2, 5, 9]), batch: rng.pick(&[1, 1, 2, 3, 7]) };
    let (input, hidden) = (rng.pick(&[1, 3, 8, 17]), rng.pick(&[1, 5, 8, 16, 33]));
    let direction = rng.pick(&[Direction::Forward, Direction::Reverse]);
    let hard = Activation::HardSigmoid { alpha: 0.2, beta: 0.5 };
    let activations = rng.pick(&[
        [Activation::Sigmoid, Activation::Tanh, Activation::Tanh],
        [hard, Activation::Tanh, Activation::Softsign],
    ]);
    let clip = (rng.below(4) == 0).then_some(0.25);
    let params = Params { cell, direction, input, hidden, activations, clip };
    let (gates, scale) = (cell.gates(), 1.0 / (hidden as f32).sqrt());
    let mut small = |n: usize| rng.floats(n).into_iter().map(|v| v * scale).collect::<Vec<f32>>();
    let (w, r) = (small(gates * hidden * input), small(gates * hidden * hidden));
    let states = sequence.batch * hidden;
    let (bias, peepholes) = (rng.floats(2 * gates * hidden), rng.floats(3 * hidden));
    Case {
        x: rng.floats(sequence.steps * sequence.batch * input),
        bias: (rng.below(2) == 0).then_some(bias),
        peepholes: (matches!(cell, Cell::Lstm { .. }) && rng.below(2) == 0).then_some(peepholes),
        lengths: (rng.below(3) == 0)
            .then(|| (0..sequence.batch).map(|_| rng.range(0, sequence.steps) as i32).collect()),
        h: rng.floats(states),
        c: if matches!(cell, Cell::Lstm { .. }) { rng.floats(states) } else { Vec::new() },
        params,
        sequence,
        w,
        r,
    }
}

impl Case {
    fn weights(&self) -> Weights<'_> {
        Weights { w: &self.w, r: &self.r, bias: self.bias.as_deref(), peepholes: self.peepholes.as_deref() }
    }

    /// Output, hidden and cell states of the kernel; the output lies between other floats that must stay.
    fn run(&self, isa: Isa, par: &dyn Parallel) -> [Vec<f32>; 3] {
        let layer = Recurrent::new(isa, self.params, self.sequence, &self.weights()).unwrap();
        let states = self.sequence.batch * self.params.hidden;
        let (step, offset) = (states + 5, 3);
        let mut y = vec![7.0; self.sequence.steps * step];
        let (mut h, mut c, mut scratch) = (self.h.clone(), self.c.clone(), vec![f32::NAN; layer.scratch()]);
        let mut out = Outputs { y: &mut y, step, offset, h: &mut h, c: &mut c };
        layer.apply(&self.x, self.lengths.as_deref(), &mut out, &mut scratch, par).unwrap();
        let dense = y.chunks_exact(step).flat_map(|s| {
            assert!(s[..offset].iter().chain(&s[offset + states..]).all(|&v| v == 7.0));
            &s[offset..offset + states]
        });
        [dense.copied().collect(), h, c]
    }
}

#[test]
fn random_layers() {
    let mut rng = Rng::new(1);
    for _ in 0..400 {
        let case = case(&mut rng);
        let lengths: Option<Vec<usize>> = case.lengths.as_ref().map(|l| l.iter().map(|&n| n as usize).collect());
        let lstm = !case.c.is_empty();
        let state = reference::State { h: Some(&case.h), c: lstm.then_some(case.c.as_slice()) };
        let (y, h, c) =
            reference::run(&case.params, case.sequence, &case.x, &case.weights(), lengths.as_deref(), state);
        let mut first: Option<Vec<u32>> = None;
        for isa in Isa::available() {
            for par in [&Serial as &dyn Parallel, &Threads(2)] {
                let place = || format!("{:?} {:?} {isa}", case.params, case.sequence);
                let [found_y, found_h, found_c] = case.run(isa, par);
                assert_close(&found_y, &y, 2e-5, 1e-4, place);
                assert_close(&found_h, &h, 2e-5, 1e-4, place);
                if lstm {
                    assert_close(&found_c, &c, 2e-5, 1e-4, place);
                }
                if isa.fused() {
                    assert_eq!(*first.get_or_insert_with(|| bits(&found_y)), bits(&found_y), "{}", place());
                }
            }
        }
    }
}

#[test]
fn operands_that_do_not_fit() {
    let activations = [Activation::Sigmoid, Activation::Tanh, Activation::Tanh];
    let params =
        Params { cell: Cell::Simple, direction: Direction::Forward, input: 2, hidden: 3, activations, clip: None };
    let sequence = Sequence { steps: 2, batch: 1 };
    let new = |w: &[f32], r: &[f32], bias: Option<&[f32]>| {
        Recurrent::new(Isa::SCALAR, params, sequence, &Weights { w, r, bias, peepholes: None })
    };
    assert!(new(&[0.0; 5], &[0.0; 9], None).unwrap_err().to_string().contains("w: expected 6"));
    assert!(new(&[0.0; 6], &[0.0; 8], None).unwrap_err().to_string().contains("r: expected 9"));
    assert!(new(&[0.0; 6], &[0.0; 9], Some(&[0.0; 3])).is_err());
    let layer = new(&[0.0; 6], &[0.0; 9], None).unwrap();
    let mut scratch = vec![0.0; layer.scratch()];
    let mut apply = |lengths: &[i32]| {
        let mut out = Outputs { y: &mut [0.0; 6], step: 3, offset: 0, h: &mut [0.0; 3], c: &mut [] };
        layer.apply(&[0.0; 4], Some(lengths), &mut out, &mut scratch, &Serial)
    };
    assert!(apply(&[2]).is_ok());
    assert!(apply(&[3]).unwrap_err().to_string().contains("3 steps among 2"));
    assert!(apply(&[-1]).is_err() && apply(&[1, 1]).is_err());
}
