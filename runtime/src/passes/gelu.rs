//! Activations that are products: SiLU, hard swish, hard sigmoid, Mish and both GELUs, however their factors are associated.

use super::edit::Editor;
use super::look::{self, near};
use crate::ops::activation::{Activate, Activation};
use crate::ops::elementwise::BinaryKind;
use crate::{DType, ValueId};

pub(super) fn run(e: &mut Editor) {
    e.each(|e, slot| {
        let Some(n) = e.node(slot) else { return };
        let y = n.outputs[0];
        if !matches!(look::binary(n), Some((BinaryKind::Mul | BinaryKind::Div, ..))) || e.dtype(y) != DType::F32 {
            return;
        }
        let (name, (k, factors)) = (n.name.clone(), factors(e, y));
        let found = match *factors.as_slice() {
            [g] => hard_sigmoid(e, k, g),
            [a, b] => gated(e, k, a, b).map(|f| (f, a)).or_else(|| gated(e, k, b, a).map(|f| (f, b))),
            _ => None,
        };
        let Some((kind, x)) = found.filter(|(_, x)| look::same_shape(e, *x, y)) else { return };
        if e.rewrite(slot, Activate { kind }, &[Some(x)]) {
            e.note(name);
        }
    });
}

/// Most factors a product is taken apart into.
const FACTORS: usize = 8;

/// The number and the other factors of a product; parts of it that others read, too, stay whole.
fn factors(e: &Editor, v: ValueId) -> (f64, Vec<ValueId>) {
    let (mut k, mut out, mut stack) = (1.0, Vec::new(), vec![v]);
    while let Some(x) = stack.pop() {
        let inner = x == v || e.sole_use(x);
        match look::binary_of(e, x).filter(|_| inner && out.len() < FACTORS) {
            Some((BinaryKind::Mul, a, b)) => stack.extend([b, a]),
            Some((BinaryKind::Div, a, b)) if look::scalar(e, b).is_some() => {
                k /= look::scalar(e, b).unwrap_or(1.0);
                stack.push(a);
            }
            _ => match look::scalar(e, x) {
                Some(s) => k *= s,
                None => out.push(x),
            },
        }
    }
    (k, out)
}

/// `a x + b` behind a value: the operand and the two numbers.
fn linear(e: &Editor, v: ValueId) -> (ValueId, f64, f64) {
    if let Some((Activation::Linear { a, b }, x)) = look::function_of(e, v) {
        return (x, f64::from(a), f64::from(b));
    }
    if let Some((y, b)) = look::with_scalar(e, v, BinaryKind::Add) {
        let (x, a, inner) = scaled(e, y);
        return (x, a, inner + b);
    }
    scaled(e, v)
}

fn scaled(e: &Editor, v: ValueId) -> (ValueId, f64, f64) {
    if let Some((x, a)) = look::with_scalar(e, v, BinaryKind::Mul) {
        return (x, a, 0.0);
    }
    match look::binary_of(e, v) {
        Some((BinaryKind::Div, x, c)) => look::scalar(e, c).map_or((v, 1.0, 0.0), |c| (x, 1.0 / c, 0.0)),
        _ => (v, 1.0, 0.0),
    }
}

/// `k clamp(a x + b, 0, 1 / k)`
fn hard_sigmoid(e: &Editor, k: f64, g: ValueId) -> Option<(Activation, ValueId)> {
    let (f, y) = look::function_of(e, g)?;
    let (lo, hi) = f.as_clamp()?;
    let (x, a, b) = linear(e, y);
    let fits = lo == 0.0 && k > 0.0 && near(k * f64::from(hi), 1.0);
    fits.then_some((Activation::HardSigmoid { alpha: (k * a) as f32, beta: (k * b) as f32 }, x))
}

/// `k x g(x)`
fn gated(e: &Editor, k: f64, x: ValueId, g: ValueId) -> Option<Activation> {
    if let Some((y, one)) = look::with_scalar(e, g, BinaryKind::Add) {
        let half = near(k, 0.5) && one == 1.0;
        let (f, inner) = look::function_of(e, y).filter(|_| half)?;
        return match f {
            Activation::Erf => (scaled_by(e, inner, x, std::f64::consts::FRAC_1_SQRT_2)).then_some(Activation::Gelu),
            Activation::Tanh => tanh_argument(e, inner, x).then_some(Activation::GeluTanh),
            _ => None,
        };
    }
    let (f, y) = look::function_of(e, g)?;
    let whole = near(k, 1.0);
    match f {
        Activation::Sigmoid if whole => {
            let (of, beta, zero) = linear(e, y);
            let (beta, zero) = if y == x {
                (1.0, 0.0)
            } else if of == x {
                (beta, zero)
            } else {
                return None;
            };
            (zero == 0.0).then_some(Activation::Silu { beta: beta as f32 })
        }
        Activation::HardSigmoid { alpha, beta } if whole && y == x => Some(Activation::HardSwish { alpha, beta }),
        Activation::Tanh if whole => {
            (look::function_of(e, y)? == (Activation::Softplus, x)).then_some(Activation::Mish)
        }
        _ => match hard_sigmoid(e, k, g)? {
            (Activation::HardSigmoid { alpha, beta }, of) if of == x => Some(Activation::HardSwish { alpha, beta }),
            _ => None,
        },
    }
}

/// True when a value is `c x`.
fn scaled_by(e: &Editor, v: ValueId, x: ValueId, c: f64) -> bool {
    let (k, rest) = factors(e, v);
    rest == [x] && near(k, c)
}

/// `sqrt(2 / pi) (x + 0.044715 x^3)`, also as `sqrt(2 / pi) x (1 + 0.044715 x^2)`.
fn tanh_argument(e: &Editor, v: ValueId, x: ValueId) -> bool {
    let (k, rest) = factors(e, v);
    let cubic = |v: ValueId, power: u32| {
        let (k, rest) = factors(e, v);
        near(k, 0.044_715) && rest.iter().map(|&f| exponent(e, f, x)).sum::<Option<u32>>() == Some(power)
    };
    let sum = |v: ValueId| look::binary_of(e, v).filter(|b| b.0 == BinaryKind::Add).map(|b| (b.1, b.2));
    let found = match *rest.as_slice() {
        [s] => sum(s).is_some_and(|(a, b)| (a == x && cubic(b, 3)) || (b == x && cubic(a, 3))),
        [a, b] => {
            let s = if a == x { b } else { a };
            let one = |(c, y): (ValueId, ValueId)| look::scalar(e, c) == Some(1.0) && cubic(y, 2);
            (a == x || b == x) && sum(s).is_some_and(|(a, b)| one((a, b)) || one((b, a)))
        }
        _ => false,
    };
    found && near(k, (2.0 / std::f64::consts::PI).sqrt())
}

/// The power of `x` that a value is.
fn exponent(e: &Editor, v: ValueId, x: ValueId) -> Option<u32> {
    if v == x {
        return Some(1);
    }
    if let Some((BinaryKind::Pow, base, n)) = look::binary_of(e, v) {
        let n = look::scalar(e, n)?;
        return (base == x && n == n.trunc() && (1.0..8.0).contains(&n)).then_some(n as u32);
    }
    (look::function_of(e, v)? == (Activation::Square, x)).then_some(2)
}
