//! Window functions, composed from ranges and cosines.

use pocketnn::ops::elementwise::{BinaryKind, UnaryKind};
use pocketnn::ops::movement::Range;

use super::constant::cast_to;
use super::elem::Elem;
use super::node::{Lowered, Node, V, one};
use super::registry::{Row, op};
use crate::error::Result;

pub(super) const ROWS: &[Row] = &[
    op("BlackmanWindow", &[17], |cx| window(cx, &[0.42, -0.5, 0.08])),
    op("HammingWindow", &[17], |cx| window(cx, &[25.0 / 46.0, -21.0 / 46.0])),
    op("HannWindow", &[17], |cx| window(cx, &[0.5, -0.5])),
];

/// `sum of a_k cos(2 pi k n / N)`, N one less for symmetric windows.
fn window(cx: &mut Node, coefficients: &[f32]) -> Result<Lowered> {
    let size = cx.input(0)?;
    let periodic = cx.attrs.flag("periodic", true)?;
    let elem = match cx.attrs.opt_int("output_datatype")? {
        None => Elem::F32,
        Some(n) => Elem::parse(i32::try_from(n).unwrap_or(-1)).map_err(|e| e.at_attribute("output_datatype"))?,
    };
    let size = cast_to(cx, size, Elem::F32)?;
    let (zero, step) = (cx.float(0.0), cx.float(1.0));
    let n = cx.op(Range::default(), &[zero.id, size.id, step.id], Elem::F32)?;
    let period = if periodic { size } else { cx.binary(BinaryKind::Sub, size, step)? };
    let turn = cx.float(std::f32::consts::TAU);
    let scaled = cx.binary(BinaryKind::Mul, n, turn)?;
    let angle = cx.binary(BinaryKind::Div, scaled, period)?;
    let mut sum: Option<V> = None;
    for (k, &a) in coefficients.iter().enumerate() {
        let (k, a) = (cx.float(k as f32), cx.float(a));
        let angle = cx.binary(BinaryKind::Mul, angle, k)?;
        let wave = cx.unary(UnaryKind::Cos, angle)?;
        let term = cx.binary(BinaryKind::Mul, wave, a)?;
        sum = Some(match sum {
            None => term,
            Some(s) => cx.binary(BinaryKind::Add, s, term)?,
        });
    }
    let sum = sum.unwrap_or(zero);
    one(cast_to(cx, sum, elem)?)
}
