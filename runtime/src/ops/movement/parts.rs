//! What cutting and joining ops say of the pieces they cut or join: where these lie side by side in memory nothing is copied.

use super::{Concat, Slice, Split};
use crate::ops::infer::normalize_axis;
use crate::plan::{FormatCx, Parts};

impl Concat {
    pub(super) fn pieces(&self, cx: &FormatCx) -> Option<Parts> {
        let axis = normalize_axis(self.axis, cx.out_shape(0).len()).ok()?;
        let starts = starts((0..cx.len()).map(|i| cx.shape(i)), axis)?;
        Some(Parts { axis, of_input: false, starts })
    }
}

impl Split {
    pub(super) fn pieces(&self, cx: &FormatCx) -> Option<Parts> {
        let axis = normalize_axis(self.axis, cx.shape(0).len()).ok()?;
        let starts = starts((0..cx.outputs()).map(|i| cx.out_shape(i)), axis)?;
        cx.is_variable(0).then_some(Parts { axis, of_input: true, starts })
    }
}

impl Slice {
    pub(super) fn pieces(cx: &FormatCx) -> Option<Parts> {
        let x = cx.shape(0);
        let runs = Self::constant_runs(&x, |i| cx.constant(i), |i| cx.ty(i).is_some())?;
        let out = cx.out_shape(0);
        let mut cut = (0..x.len()).filter(|&a| out[a] != x[a]);
        let axis = cut.next().filter(|_| cut.next().is_none())?;
        let forward = runs.iter().all(|r| r.step == 1) && cx.is_variable(0);
        forward.then(|| Parts { axis, of_input: true, starts: vec![runs[axis].start] })
    }
}

/// Where pieces of these shapes begin, one after another along an axis.
fn starts(shapes: impl Iterator<Item = Vec<usize>>, axis: usize) -> Option<Vec<usize>> {
    let mut at = 0;
    shapes
        .map(|s| {
            let start = at;
            at += s.get(axis)?;
            Some(start)
        })
        .collect()
}
