//! Softmax and its relatives.

use pocketnn::Op;
use pocketnn::ops::movement::{Reshape, Shape};
use pocketnn::ops::softmax::{Hardmax, Softmax};

use super::elem::Elem;
use super::movement::matrix;
use super::node::{Lowered, Node, one};
use super::registry::{Row, op};
use crate::error::Result;

pub(super) const ROWS: &[Row] = &[
    op("Hardmax", &[1, 11, 13], |cx| along(cx, |axis| Hardmax { axis }.into())),
    op("LogSoftmax", &[1, 11, 13], |cx| along(cx, |axis| Softmax { axis, log: true }.into())),
    op("Softmax", &[1, 11, 13], |cx| along(cx, |axis| Softmax { axis, log: false }.into())),
];

/// From opset 13 on one axis; before, the axes from `axis` on are one.
fn along(cx: &mut Node, make: fn(i64) -> Op) -> Result<Lowered> {
    let x = cx.input(0)?;
    cx.floats_only(x)?;
    let rank = cx.rank(x);
    if cx.since >= 13 {
        let axis = cx.attrs.int("axis", -1)?;
        return one(cx.op(make(axis), &[x.id], x.elem)?);
    }
    let axis = cx.attrs.int("axis", 1)?;
    let at = if usize::try_from(axis).is_ok_and(|a| a == rank) { rank } else { cx.axis(axis, rank)? };
    let trailing_ones = cx.shape(x).iter().skip(at.saturating_add(1)).all(|d| d.known() == Some(1));
    if at < rank && trailing_ones {
        return one(cx.op(make(i64::try_from(at).unwrap_or(-1)), &[x.id], x.elem)?);
    }
    let flat = matrix(cx, x, at)?;
    let y = cx.op(make(-1), &[flat.id], x.elem)?;
    let shape = cx.op(Shape::default(), &[x.id], Elem::I64)?;
    one(cx.op(Reshape { allow_zero: true }, &[y.id, shape.id], x.elem)?)
}
