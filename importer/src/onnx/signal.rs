//! Fourier transforms and mel bands.

use pocketnn::Tensor;
use pocketnn::ops::signal::{Dft, MelWeights, Stft};

use super::elem::Elem;
use super::node::{Lowered, Node, one};
use super::registry::{Row, op};
use crate::error::Result;

pub(super) const ROWS: &[Row] =
    &[op("DFT", &[17, 20], dft), op("MelWeightMatrix", &[17], mel_weight_matrix), op("STFT", &[17], stft)];

/// The axis is an attribute before opset 20.
fn dft(cx: &mut Node) -> Result<Lowered> {
    let (x, length) = (cx.input(0)?, cx.maybe(1)?);
    let (inverse, one_sided) = (cx.attrs.flag("inverse", false)?, cx.attrs.flag("onesided", false)?);
    let axis = if cx.since < 20 {
        let axis = cx.attrs.int("axis", 1)?;
        Some(cx.tensor(Tensor::scalar(axis)))
    } else {
        cx.maybe(2)?.map(|v| v.id)
    };
    cx.floats_only(x)?;
    one(cx.op_with(Dft { inverse, one_sided }, &[Some(x.id), length.map(|v| v.id), axis], x.elem)?)
}

fn stft(cx: &mut Node) -> Result<Lowered> {
    let (x, step) = (cx.input(0)?, cx.input(1)?);
    let (window, length) = (cx.maybe(2)?.map(|v| v.id), cx.maybe(3)?.map(|v| v.id));
    let one_sided = cx.attrs.flag("onesided", true)?;
    cx.floats_only(x)?;
    one(cx.op_with(Stft { one_sided }, &[Some(x.id), Some(step.id), window, length], x.elem)?)
}

fn mel_weight_matrix(cx: &mut Node) -> Result<Lowered> {
    let ids: Vec<_> = cx.all_inputs()?.iter().map(|v| v.id).collect();
    let number = cx.attrs.int("output_datatype", 1)?;
    let elem = Elem::parse(i32::try_from(number).unwrap_or(-1)).map_err(|e| e.at_attribute("output_datatype"))?;
    one(cx.op(MelWeights { dtype: elem.carried()? }, &ids, elem)?)
}
