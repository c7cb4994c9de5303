//! Padding with zeros in front of a convolution or a pool becomes the pads of that, where it means the same.

use super::edit::Editor;
use super::look;
use crate::ops::conv::{Conv, Pads, Steps};
use crate::ops::movement::PadMode;
use crate::ops::pool::{Pool, PoolKind};
use crate::{Op, ValueId};

pub(super) fn run(e: &mut Editor) {
    e.each(|e, slot| {
        let Some(n) = e.node(slot) else { return };
        let Some(x) = n.inputs.first().copied().flatten() else { return };
        let Some((data, extra)) = zeros(e, x) else { return };
        let op: Option<Op> = match &n.op {
            Op::Conv(c) => conv(e, c, n.inputs.get(1).copied().flatten(), x, &extra).map(Op::from),
            Op::Pool(p) => pool(e, p, data, &extra).map(Op::from),
            _ => None,
        };
        let Some(op) = op else { return };
        let (name, mut inputs) = (n.name.clone(), n.inputs.clone());
        inputs[0] = Some(data);
        if e.rewrite(slot, op, &inputs) {
            e.note(name);
        }
    });
}

/// Zeros before and after each spatial axis, and what they surround, when nothing else is padded.
fn zeros(e: &Editor, v: ValueId) -> Option<(ValueId, Vec<(usize, usize)>)> {
    let n = e.producer_node(v)?;
    let Op::Pad(p) = &n.op else { return None };
    let input = |i: usize| n.inputs.get(i).copied().flatten();
    let data = input(0)?;
    let zero = input(2).is_none_or(|c| e.constant(c).is_some_and(|t| t.to_f64().iter().all(|&v| v == 0.0)));
    let (rank, pads) = (e.rank(data), look::integers(e, input(1))?);
    let axes: Vec<i64> = match input(3) {
        Some(a) => look::integers(e, Some(a))?,
        None => (0..rank as i64).collect(),
    };
    if p.mode != PadMode::Constant || !zero || rank < 3 || pads.len() != 2 * axes.len() {
        return None;
    }
    let mut all = vec![(0, 0); rank];
    for (i, &a) in axes.iter().enumerate() {
        let a = usize::try_from(if a < 0 { a + rank as i64 } else { a }).ok().filter(|&a| a < rank)?;
        all[a] = (usize::try_from(pads[i]).ok()?, usize::try_from(pads[axes.len() + i]).ok()?);
    }
    let spatial = all.split_off(2);
    all.iter().all(|&p| p == (0, 0)).then_some((data, spatial))
}

/// Pads of a window and those around it.
fn sum(pads: &Pads, extra: &[(usize, usize)]) -> Option<Pads> {
    let Pads::Explicit { begin, end } = pads else { return None };
    let at = |list: &[usize], i: usize| list.get(i).copied().unwrap_or(0);
    let begin = extra.iter().enumerate().map(|(i, p)| at(begin, i) + p.0).collect();
    let end = extra.iter().enumerate().map(|(i, p)| at(end, i) + p.1).collect();
    Some(Pads::Explicit { begin, end })
}

fn conv(e: &Editor, c: &Conv, w: Option<ValueId>, padded: ValueId, extra: &[(usize, usize)]) -> Option<Conv> {
    let pads = match &c.pads {
        Pads::Explicit { .. } => c.pads.clone(),
        same => {
            let size: Vec<usize> = e.shape(padded)[2..].iter().map(crate::Dim::known).collect::<Option<_>>()?;
            let kernel: Vec<usize> = e.shape(w?)[2..].iter().map(crate::Dim::known).collect::<Option<_>>()?;
            let steps = Steps::new(size.len(), &c.strides, &c.dilations).ok()?;
            let (begin, end) = steps.resolve(same, &size, &kernel).ok()?.into_iter().unzip();
            Pads::Explicit { begin, end }
        }
    };
    Some(Conv { pads: sum(&pads, extra)?, ..c.clone() })
}

fn pool(e: &Editor, p: &Pool, data: ValueId, extra: &[(usize, usize)]) -> Option<Pool> {
    let pads = sum(&p.pads, extra)?;
    if p.ceil_mode {
        return None;
    }
    let bare = matches!(&p.pads, Pads::Explicit { begin, end } if begin.iter().chain(end).all(|&p| p == 0));
    match p.kind {
        // Zeros count in the divisor.
        PoolKind::Average if bare || p.count_include_pad => Some(Pool { pads, count_include_pad: true, ..p.clone() }),
        PoolKind::Lp => Some(Pool { pads, ..p.clone() }),
        // A zero is the smallest element there is, and no window lies in the padding alone.
        PoolKind::Max if look::not_negative(e, data) && p.dilations.iter().all(|&d| d == 1) => {
            let Pads::Explicit { begin, end } = &pads else { return None };
            let inside = p.kernel.iter().zip(begin.iter().zip(end)).all(|(&k, (&b, &e))| b < k && e < k);
            inside.then(|| Pool { pads, ..p.clone() })
        }
        _ => None,
    }
}
