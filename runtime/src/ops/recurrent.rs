//! Recurrent layers. Gates are stacked as in ONNX.

use super::activation::Activation;
use super::attrs::{AttrValue, attr_enum, attributes};
use super::conv::{count, float_tensor, operand};
use super::infer::{Fact, Infer, ValueType};
use super::operands::{shapes, unify};
use super::{Evaluate, Operator};
use crate::plan::{Compute, Io, LowerCx, Lowered, Step};
use crate::{DType, Dim, Error, Result, Tensor, dim::show_shape};
use pocketnn_kernels::par::Parallel;
use pocketnn_kernels::recurrent::{self as kernel, Cell, Outputs, Params, Recurrent, Sequence};
use pocketnn_kernels::reference::recurrent as reference;
use std::sync::Arc;

attr_enum! {
    /// Order in which the sequence is read.
    pub enum Direction {
        /// First to last.
        #[default] Forward = "forward",
        /// Last to first.
        Reverse = "reverse",
        /// Both; two directions of weights and outputs.
        Both = "both",
    }
}

/// Attributes of the layers: those that all have, then a layer's own.
macro_rules! layers {
    ($($(#[$meta:meta])* $name:ident $activations:literal { $($(#[$fmeta:meta])* $field:ident: $ty:ty = $default:expr),* })*) => {
        attributes! {
            $($(#[$meta])*
            pub struct $name {
                /// Direction.
                pub direction: Direction = Direction::Forward,
                /// Hidden units `H`.
                pub hidden: usize = 0,
                #[doc = $activations]
                pub activations: Vec<String> = vec![],
                /// First parameters of the activations, where they have one.
                pub alpha: Vec<f32> = vec![],
                /// Second parameters of the activations.
                pub beta: Vec<f32> = vec![],
                /// Cell input to the gates is clipped to `[-clip, clip]`.
                pub clip: Option<f32> = None,
                $($(#[$fmeta])* pub $field: $ty = $default,)*
            })*
        }
    };
}

layers! {
    /// Long short-term memory. Inputs `x [T, N, I]`, `w [D, 4H, I]`, `r [D, 4H, H]` (gates i, o, f, c), optional `b [D, 8H]` (input, then
    /// recurrent), optional `lengths [N]` (i32), optional `h0 [D, N, H]`, optional `c0 [D, N, H]`, optional peepholes `p [D, 3H]` (i, o, f).
    /// Outputs `y [T, D, N, H]`, `h [D, N, H]`, `c [D, N, H]`.
    Lstm "Activations f, g, h of each direction, by name (`sigmoid`, `tanh`, `relu`, `hard_sigmoid`, ...); empty: sigmoid, tanh, tanh." {
        /// The forget gate is one minus the input gate.
        input_forget: bool = false
    }
    /// Gated recurrent unit. Inputs `x [T, N, I]`, `w [D, 3H, I]`, `r [D, 3H, H]` (gates z, r, h), optional `b [D, 6H]`, optional
    /// `lengths [N]`, optional `h0 [D, N, H]`. Outputs `y [T, D, N, H]`, `h [D, N, H]`.
    Gru "Activations f, g of each direction; empty: sigmoid, tanh." {
        /// The reset gate multiplies after the recurrent product (Keras `reset_after`).
        linear_before_reset: bool = false
    }
    /// Simple recurrent layer. Inputs `x [T, N, I]`, `w [D, H, I]`, `r [D, H, H]`, optional `b [D, 2H]`, optional `lengths [N]`,
    /// optional `h0 [D, N, H]`. Outputs `y [T, D, N, H]`, `h [D, N, H]`.
    Rnn "Activation of each direction; empty: tanh." {}
}

/// What the three layers have in common. Inputs: `x`, `w`, `r`, `b`, `lengths`, `h0`, and for an LSTM `c0` and peepholes.
struct Layer<'a> {
    cell: Cell,
    direction: Direction,
    hidden: usize,
    activations: &'a [String],
    alpha: &'a [f32],
    beta: &'a [f32],
    clip: Option<f32>,
}

/// An activation by name; parameters that its function has are taken from the lists, or are ONNX's defaults.
fn activation(
    name: &str,
    alpha: &mut impl Iterator<Item = f32>,
    beta: &mut impl Iterator<Item = f32>,
) -> Result<Activation> {
    let mut first = |default: f32| alpha.next().unwrap_or(default);
    let mut second = |default: f32| beta.next().unwrap_or(default);
    Ok(match name {
        "hard_sigmoid" => Activation::HardSigmoid { alpha: first(0.2), beta: second(0.5) },
        "leaky_relu" => Activation::LeakyRelu { alpha: first(0.01) },
        "threshold" => Activation::Threshold { threshold: first(1.0), value: 0.0 },
        "scaled_tanh" => Activation::ScaledTanh { alpha: first(1.0), beta: second(1.0) },
        "linear" => Activation::Linear { a: first(1.0), b: second(0.0) },
        "elu" => Activation::Elu { alpha: first(1.0) },
        "celu" => Activation::Celu { alpha: first(1.0) },
        "silu" => Activation::Silu { beta: first(1.0) },
        "selu" => Activation::SELU,
        _ => Activation::from_json(&serde_json::Value::from(name)).ok_or_else(|| {
            Error::graph(format!("activations: no function `{name}` of one number without further parameters"))
        })?,
    })
}

impl Layer<'_> {
    fn directions(&self) -> usize {
        if self.direction == Direction::Both { 2 } else { 1 }
    }

    /// Outputs the op has: `y`, `h`, and `c` of an LSTM.
    fn outputs(&self) -> usize {
        if matches!(self.cell, Cell::Lstm { .. }) { 3 } else { 2 }
    }

    /// Parameters of each direction for `input` elements a step.
    fn params(&self, input: usize) -> Result<Vec<Params>> {
        let (functions, default): (usize, &[Activation]) = match self.cell {
            Cell::Simple => (1, &[Activation::Tanh]),
            Cell::Gru { .. } => (2, &[Activation::Sigmoid, Activation::Tanh]),
            Cell::Lstm { .. } => (3, &[Activation::Sigmoid, Activation::Tanh, Activation::Tanh]),
        };
        let wanted = functions * self.directions();
        let all = if self.activations.is_empty() {
            default.iter().copied().cycle().take(wanted).collect()
        } else if self.activations.len() == wanted {
            let (mut alpha, mut beta) = (self.alpha.iter().copied(), self.beta.iter().copied());
            self.activations.iter().map(|n| activation(n, &mut alpha, &mut beta)).collect::<Result<Vec<_>>>()?
        } else {
            let found = self.activations.len();
            return Err(Error::graph(format!("activations: expected {wanted}, found {found}")));
        };
        let one = |(i, chunk): (usize, &[Activation])| {
            let backwards = self.direction == Direction::Reverse || i == 1;
            let mut activations = [Activation::Identity; 3];
            activations[..functions].copy_from_slice(chunk);
            Params {
                cell: self.cell,
                direction: if backwards { kernel::Direction::Reverse } else { kernel::Direction::Forward },
                input,
                hidden: self.hidden,
                activations,
                clip: self.clip,
            }
        };
        Ok(all.chunks(functions).enumerate().map(one).collect())
    }

    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let x = cx.ty(0)?;
        let [steps, batch, input] = x.shape.as_slice() else {
            return Err(Error::graph(format!("input 0: expected [T, N, I], found {x}")));
        };
        if !x.dtype.is_float() {
            return Err(Error::graph(format!("input 0: expected floats, found {x}")));
        }
        if self.hidden == 0 || self.hidden > 1 << 24 {
            return Err(Error::graph(format!("hidden: expected at least 1 and at most 2^24, found {}", self.hidden)));
        }
        self.params(1)?;
        let (d, h) = (Dim::from(self.directions()), Dim::from(self.hidden));
        let stacked = Dim::from(self.cell.gates() * self.hidden);
        let state = [d.clone(), batch.clone(), h.clone()];
        expect(cx, 1, &[d.clone(), stacked.clone(), input.clone()])?;
        expect(cx, 2, &[d.clone(), stacked.clone(), h.clone()])?;
        let optional = |i: usize, shape: &[Dim]| if cx.has(i) { expect(cx, i, shape) } else { Ok(()) };
        optional(3, &[d.clone(), stacked * Dim::from(2)])?;
        if cx.has(4) && !cx.dtype(4)?.is_integer() {
            return Err(Error::graph(format!("input 4: expected lengths of i32, found {}", cx.ty(4)?)));
        }
        optional(4, std::slice::from_ref(batch))?;
        optional(5, &state)?;
        if matches!(self.cell, Cell::Lstm { .. }) {
            optional(6, &state)?;
            optional(7, &[d.clone(), h.clone() * Dim::from(3)])?;
        }
        for i in [1, 2, 3, 5, 6, 7].into_iter().filter(|&i| cx.has(i)) {
            cx.expect_dtype(i, x.dtype)?;
        }
        if cx.outputs() > self.outputs() {
            return Err(Error::graph(format!("expected at most {} outputs, found {}", self.outputs(), cx.outputs())));
        }
        let y = ValueType::new(x.dtype, vec![steps.clone(), d, batch.clone(), h]);
        let last = ValueType::new(x.dtype, state);
        Ok([y, last.clone(), last].into_iter().take(cx.outputs()).collect())
    }

    fn eval(&self, op: &dyn Operator, inputs: &[Option<&Tensor>], outputs: usize) -> Result<Vec<Tensor>> {
        shapes(op, inputs, outputs)?;
        let x = operand(inputs, 0)?;
        let (steps, batch, input) = (x.shape()[0], x.shape()[1], x.shape()[2]);
        let (hidden, directions) = (self.hidden, self.directions());
        let given = |i: usize| inputs.get(i).copied().flatten();
        let floats = |i: usize| given(i).map(Tensor::to_f32);
        let lengths = given(4).map(|t| lengths(t, steps)).transpose()?;
        let (data, w, r) = (x.to_f32(), operand(inputs, 1)?.to_f32(), operand(inputs, 2)?.to_f32());
        let (b, h0, c0, p) = (floats(3), floats(5), floats(6), floats(7));
        let mut y = vec![0.0; steps * directions * batch * hidden];
        let (mut h, mut c) = (Vec::new(), Vec::new());
        for (d, params) in self.params(input)?.iter().enumerate() {
            let weights = kernel::Weights {
                w: part(&w, d, directions),
                r: part(&r, d, directions),
                bias: b.as_deref().map(|b| part(b, d, directions)),
                peepholes: p.as_deref().map(|p| part(p, d, directions)),
            };
            let state = reference::State {
                h: h0.as_deref().map(|v| part(v, d, directions)),
                c: c0.as_deref().map(|v| part(v, d, directions)),
            };
            let seq = Sequence { steps, batch };
            let (out, last_h, last_c) = reference::run(params, seq, &data, &weights, lengths.as_deref(), state);
            let row = batch * hidden;
            for t in 0..steps {
                y[(t * directions + d) * row..][..row].copy_from_slice(&out[t * row..][..row]);
            }
            h.extend(last_h);
            c.extend(last_c);
        }
        let last = [directions, batch, hidden];
        let all = [(vec![steps, directions, batch, hidden], y), (last.to_vec(), h), (last.to_vec(), c)];
        all.into_iter().take(outputs).map(|(shape, v)| float_tensor(&shape, v, x.dtype())).collect()
    }

    fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
        let x = cx.input(0)?;
        let floats = [0, 1, 2, 3, 5, 6, 7]
            .into_iter()
            .filter(|&i| cx.has(i))
            .all(|i| cx.input(i).is_ok_and(|p| p.dtype == DType::F32));
        let constant = [1, 2, 3, 7].into_iter().all(|i| !cx.has(i) || cx.constant(i).is_some());
        let lengths = !cx.has(4) || cx.input(4)?.dtype == DType::I32;
        if !(floats && constant && lengths) {
            return Ok(Lowered::Interpreted);
        }
        let sequence = Sequence { steps: x.shape[0], batch: x.shape[1] };
        let directions = self.directions();
        let given = [1, 2, 3, 7].map(|i| cx.floats(i));
        let [Some(w), Some(r), b, p] = &given else { return Err(Error::graph("the weights are missing")) };
        let all = self.params(x.shape[2])?;
        let key = format!("recurrent {all:?} {sequence:?}");
        let layers = cx.packed(&key, || {
            let weights = |d: usize| kernel::Weights {
                w: part(w, d, directions),
                r: part(r, d, directions),
                bias: b.as_deref().map(|b| part(b, d, directions)),
                peepholes: p.as_deref().map(|p| part(p, d, directions)),
            };
            let layer = |(d, p): (usize, &Params)| Ok(Recurrent::new(cx.isa(), *p, sequence, &weights(d))?);
            all.iter().enumerate().map(layer).collect::<Result<Vec<_>>>()
        })?;
        let states = directions * sequence.batch * self.hidden;
        let cells = if matches!(self.cell, Cell::Lstm { .. }) { states } else { 0 };
        let scratch = layers.iter().map(Recurrent::scratch).max().unwrap_or(0) + states + cells;
        let outputs = cx.outputs();
        Ok(Compute::new(Layers { layers, states, cells, outputs }).scratch(scratch * 4).into())
    }

    fn macs(&self, inputs: &[Option<&Fact>]) -> u64 {
        let x = inputs.first().copied().flatten().and_then(|f| f.ty.known_shape());
        let rows = self.directions() * self.cell.gates() * self.hidden;
        x.filter(|x| x.len() == 3).map_or(0, |x| count(&[x[0], x[1], rows, x[2] + self.hidden]))
    }
}

/// The layers of all directions. Scratch: hidden states, cell states, then that of a layer.
struct Layers {
    layers: Arc<Vec<Recurrent>>,
    /// Floats of the hidden and of the cell states of all directions.
    states: usize,
    cells: usize,
    outputs: usize,
}

impl Step for Layers {
    fn run(&self, io: &mut Io<'_>, par: &dyn Parallel) {
        let (h, rest) = io.scratch::<f32>().split_at_mut(self.states);
        let (c, rest) = rest.split_at_mut(self.cells);
        for (state, input) in [(&mut *h, 5), (&mut *c, 6)] {
            if !state.is_empty() && io.has(input) {
                state.copy_from_slice(io.input(input));
            } else {
                state.fill(0.0);
            }
        }
        let y = io.output::<f32>(0);
        let one = self.states / self.layers.len();
        for (d, layer) in self.layers.iter().enumerate() {
            let lengths = if io.has(4) { Some(io.input::<i32>(4)) } else { None };
            let cells = if self.cells == 0 { &mut [][..] } else { &mut c[d * one..(d + 1) * one] };
            let mut out =
                Outputs { y: &mut *y, step: self.states, offset: d * one, h: &mut h[d * one..(d + 1) * one], c: cells };
            if let Err(e) = layer.apply(io.input(0), lengths, &mut out, &mut rest[..layer.scratch()], par) {
                io.fail(e);
                return;
            }
        }
        if self.outputs > 1 {
            io.output::<f32>(1).copy_from_slice(h);
        }
        if self.outputs > 2 {
            io.output::<f32>(2).copy_from_slice(c);
        }
    }
    fn algorithm(&self) -> String {
        "packed gates".to_string()
    }
}

/// The elements of one direction.
fn part<T>(all: &[T], direction: usize, directions: usize) -> &[T] {
    let n = all.len() / directions;
    &all[direction * n..(direction + 1) * n]
}

/// Checks the shape of an operand.
fn expect(cx: &Infer, i: usize, shape: &[Dim]) -> Result<()> {
    let found = cx.shape(i)?;
    let fits = found.len() == shape.len() && found.iter().zip(shape).all(|(a, b)| unify("", a, b).is_ok());
    if fits {
        Ok(())
    } else {
        Err(Error::graph(format!("input {i}: expected {}, found {}", show_shape(shape), show_shape(found))))
    }
}

/// Lengths of the sequences, at most `steps` each.
fn lengths(t: &Tensor, steps: usize) -> Result<Vec<usize>> {
    let check = |n: i64| {
        let fits = usize::try_from(n).ok().filter(|&n| n <= steps);
        fits.ok_or_else(|| Error::argument(format!("input 4: a sequence of {n} steps among {steps}")))
    };
    t.to_i64()?.into_iter().map(check).collect()
}

macro_rules! layer {
    ($op:ident, $this:ident => $cell:expr) => {
        impl $op {
            fn layer(&self) -> Layer<'_> {
                let $this = self;
                Layer {
                    cell: $cell,
                    direction: self.direction,
                    hidden: self.hidden,
                    activations: &self.activations,
                    alpha: &self.alpha,
                    beta: &self.beta,
                    clip: self.clip,
                }
            }
        }
        impl Operator for $op {
            fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
                self.layer().infer(cx)
            }
            fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
                self.layer().lower(cx)
            }
            fn macs(&self, inputs: &[Option<&Fact>], _outputs: &[ValueType]) -> u64 {
                self.layer().macs(inputs)
            }
        }

        impl Evaluate for $op {
            fn eval(&self, inputs: &[Option<&Tensor>], outputs: usize) -> Result<Vec<Tensor>> {
                self.layer().eval(self, inputs, outputs)
            }
        }
    };
}

layer!(Lstm, op => Cell::Lstm { input_forget: op.input_forget });
layer!(Gru, op => Cell::Gru { linear_before_reset: op.linear_before_reset });
layer!(Rnn, _op => Cell::Simple);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Op, graph::infer_node};

    fn of(shape: &[usize]) -> Fact {
        Fact::of_type(ValueType::known(DType::F32, shape))
    }

    #[test]
    fn shapes_of_both_directions() {
        let x = Fact::of_type(ValueType::new(DType::F32, vec![Dim::symbol("T"), Dim::symbol("N"), 3.into()]));
        let (w, r, b) = (of(&[2, 20, 3]), of(&[2, 20, 5]), of(&[2, 40]));
        let op = Op::from(Lstm { direction: Direction::Both, hidden: 5, ..Lstm::default() });
        let y = infer_node(&op, &[Some(&x), Some(&w), Some(&r), Some(&b)], 3).unwrap();
        let shown: Vec<String> = y.iter().map(|f| f.ty.to_string()).collect();
        assert_eq!(shown, ["f32[T, 2, N, 5]", "f32[2, N, 5]", "f32[2, N, 5]"]);
        let e = infer_node(&op, &[Some(&x), Some(&r), Some(&r)], 1).unwrap_err();
        assert!(e.to_string().contains("input 1: expected [2, 20, 3], found [2, 20, 5]"), "{e}");
    }

    #[test]
    fn activations_take_the_parameters_they_have() {
        let names: Vec<String> = ["tanh", "hard_sigmoid", "linear", "relu"].map(String::from).to_vec();
        let op = Gru { direction: Direction::Both, hidden: 1, activations: names, alpha: vec![0.5], ..Gru::default() };
        let p = op.layer().params(1).unwrap();
        assert_eq!(p[0].activations[..2], [Activation::Tanh, Activation::HardSigmoid { alpha: 0.5, beta: 0.5 }]);
        assert_eq!(p[1].activations[..2], [Activation::Linear { a: 1.0, b: 0.0 }, Activation::Relu]);
        assert_eq!(
            p.iter().map(|p| p.direction).collect::<Vec<_>>(),
            [kernel::Direction::Forward, kernel::Direction::Reverse]
        );
        let wrong = Rnn { hidden: 1, activations: vec!["nothing".to_string()], ..Rnn::default() };
        assert!(wrong.layer().params(1).unwrap_err().to_string().contains("nothing"));
    }

    #[test]
    fn lengths_are_checked() {
        let t = |shape: &[usize]| Tensor::new(shape, vec![1.0f32; shape.iter().product()]).unwrap();
        let op = Rnn { hidden: 1, activations: vec!["identity".to_string()], ..Rnn::default() };
        let (x, w, n) = (t(&[2, 1, 1]), t(&[1, 1, 1]), Tensor::vector(&[1i32]));
        let y = op.eval(&[Some(&x), Some(&w), Some(&w), None, Some(&n)], 2).unwrap();
        assert_eq!((y[0].to_f32(), y[1].to_f32()), (vec![1.0, 0.0], vec![1.0]));
        let e = op.eval(&[Some(&x), Some(&w), Some(&w), None, Some(&Tensor::vector(&[3i32]))], 2).unwrap_err();
        assert!(e.to_string().contains("3 steps among 2"), "{e}");
    }
}
