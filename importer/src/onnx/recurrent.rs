//! Recurrent layers. Gates are stacked as the runtime has them; activations are named and completed with their defaults here.

use pocketnn::ValueId;
use pocketnn::ops::recurrent::{Direction, Gru, Lstm, Rnn};

use super::attrs::unknown_value;
use super::node::{Lowered, Node, V};
use super::registry::{Row, op};
use crate::error::{ImportError, Result};

pub(super) const ROWS: &[Row] =
    &[op("GRU", &[1, 3, 7, 14, 22], gru), op("LSTM", &[1, 7, 14, 22], lstm), op("RNN", &[1, 7, 14, 22], rnn)];

/// What the three layers share.
struct Common {
    direction: Direction,
    hidden: usize,
    activations: Vec<String>,
    alpha: Vec<f32>,
    beta: Vec<f32>,
    clip: Option<f32>,
    batch_first: bool,
}

fn common(cx: &Node, defaults: &[&str]) -> Result<Common> {
    let name = cx.attrs.string("direction", "forward")?;
    let direction = match name.as_str() {
        "forward" => Direction::Forward,
        "reverse" => Direction::Reverse,
        "bidirectional" => Direction::Both,
        other => return Err(unknown_value("direction", "`forward`, `reverse` or `bidirectional`", other)),
    };
    // Opset 1 let a node say that it does not want the whole sequence.
    cx.attrs.ignore(&["output_sequence"]);
    let recurrent = cx.input(2)?;
    let rank = cx.rank(recurrent);
    let hidden = match cx.attrs.opt_int("hidden_size")? {
        Some(h) => usize::try_from(h).ok(),
        None => cx.extent(recurrent, rank.saturating_sub(1)),
    };
    let hidden = hidden.filter(|&h| h > 0).ok_or_else(|| {
        ImportError::invalid("the number of hidden units").expected("at least 1").at_attribute("hidden_size")
    })?;
    let (activations, alpha, beta) = activations(cx, defaults, if direction == Direction::Both { 2 } else { 1 })?;
    Ok(Common {
        direction,
        hidden,
        activations,
        alpha,
        beta,
        clip: cx.attrs.opt_float("clip")?,
        batch_first: cx.attrs.flag("layout", false)?,
    })
}

/// Our name of an activation and the defaults of its parameters, where it has them.
fn activation(name: &str) -> Option<(&'static str, Option<f32>, Option<f32>)> {
    let known = match name.to_ascii_lowercase().as_str() {
        "sigmoid" => ("sigmoid", None, None),
        "tanh" => ("tanh", None, None),
        "relu" => ("relu", None, None),
        "affine" => ("linear", Some(1.0), Some(0.0)),
        "leakyrelu" => ("leaky_relu", Some(0.01), None),
        "thresholdedrelu" => ("threshold", Some(1.0), Some(0.0)),
        "scaledtanh" => ("scaled_tanh", Some(1.0), Some(1.0)),
        "hardsigmoid" => ("hard_sigmoid", Some(0.2), Some(0.5)),
        "elu" => ("elu", Some(1.0), None),
        "softsign" => ("softsign", None, None),
        "softplus" => ("softplus", None, None),
        _ => return None,
    };
    Some(known)
}

/// Names and parameters of all activations. The lists of parameters are consumed by the activations that have them, in order.
fn activations(cx: &Node, defaults: &[&str], directions: usize) -> Result<(Vec<String>, Vec<f32>, Vec<f32>)> {
    let listed = cx.attrs.strings("activations")?.filter(|l| !l.is_empty());
    let mut alphas = cx.attrs.floats("activation_alpha")?.unwrap_or_default().into_iter();
    let mut betas = cx.attrs.floats("activation_beta")?.unwrap_or_default().into_iter();
    let Some(listed) = listed else { return Ok((Vec::new(), Vec::new(), Vec::new())) };
    let expected = defaults.len().saturating_mul(directions);
    if listed.len() != expected {
        return Err(ImportError::invalid("the number of activations")
            .expected(expected)
            .found(listed.len())
            .at_attribute("activations"));
    }
    let (mut names, mut alpha, mut beta) = (Vec::new(), Vec::new(), Vec::new());
    for name in &listed {
        let (ours, a, b) = activation(name).ok_or_else(|| {
            ImportError::unsupported("this activation is not supported")
                .found(format!("`{name}`"))
                .at_attribute("activations")
        })?;
        names.push(ours.to_owned());
        alpha.push(a.map_or(0.0, |default| alphas.next().unwrap_or(default)));
        beta.push(b.map_or(0.0, |default| betas.next().unwrap_or(default)));
    }
    Ok((names, alpha, beta))
}

/// The operands; with `layout` = 1 the batch axis of sequence and states is the first.
fn operands(cx: &mut Node, count: usize, batch_first: bool) -> Result<Vec<Option<ValueId>>> {
    let mut out = Vec::with_capacity(count);
    for i in 0..count {
        let v = match i {
            0..=2 => Some(cx.input(i)?),
            _ => cx.maybe(i)?,
        };
        let turned = batch_first && matches!(i, 0 | 5 | 6);
        out.push(match v {
            Some(v) if turned => Some(cx.transpose(v, &[1, 0, 2])?.id),
            Some(v) => Some(v.id),
            None => None,
        });
    }
    Ok(out)
}

/// The results: the sequence `[T, D, N, H]` and the last states `[D, N, H]`.
fn results(cx: &mut Node, ids: Vec<ValueId>, batch_first: bool) -> Result<Lowered> {
    let elem = cx.input(0)?.elem;
    let mut out = Vec::with_capacity(ids.len());
    for (i, id) in ids.into_iter().enumerate() {
        let v = V { id, elem };
        let v = match (batch_first, i) {
            (false, _) => v,
            (true, 0) => cx.transpose(v, &[2, 0, 1, 3])?,
            (true, _) => cx.transpose(v, &[1, 0, 2])?,
        };
        out.push(v.into());
    }
    Ok(out)
}

fn lstm(cx: &mut Node) -> Result<Lowered> {
    let c = common(cx, &["Sigmoid", "Tanh", "Tanh"])?;
    let input_forget = cx.attrs.flag("input_forget", false)?;
    let inputs = operands(cx, 8, c.batch_first)?;
    let Common { direction, hidden, activations, alpha, beta, clip, batch_first } = c;
    let op = Lstm { direction, hidden, activations, alpha, beta, clip, input_forget };
    let ids = cx.emit(op, &inputs, 3)?;
    results(cx, ids, batch_first)
}

fn gru(cx: &mut Node) -> Result<Lowered> {
    let c = common(cx, &["Sigmoid", "Tanh"])?;
    let linear_before_reset = cx.attrs.flag("linear_before_reset", false)?;
    let inputs = operands(cx, 6, c.batch_first)?;
    let Common { direction, hidden, activations, alpha, beta, clip, batch_first } = c;
    let op = Gru { direction, hidden, activations, alpha, beta, clip, linear_before_reset };
    let ids = cx.emit(op, &inputs, 2)?;
    results(cx, ids, batch_first)
}

fn rnn(cx: &mut Node) -> Result<Lowered> {
    let c = common(cx, &["Tanh"])?;
    let inputs = operands(cx, 6, c.batch_first)?;
    let Common { direction, hidden, activations, alpha, beta, clip, batch_first } = c;
    let op = Rnn { direction, hidden, activations, alpha, beta, clip };
    let ids = cx.emit(op, &inputs, 2)?;
    results(cx, ids, batch_first)
}
