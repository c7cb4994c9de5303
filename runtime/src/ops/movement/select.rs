//! Parts of tensors, repetitions and padding: every output element is one input element or a constant.

use super::{Concat, Expand, Pad, PadMode, Reverse, Slice, Split, Tile};
use crate::ops::conv::operand;
use crate::ops::infer::{Infer, MAX_DIMS, ValueType, broadcast, normalize_axis};
use crate::ops::operands::{
    by_size, distinct_axes, entries, extent, from_raw, numbers, raw, shape, shapes, unify, unknown_shape, vector,
};
use crate::ops::{Evaluate, Operator, Takes};
use crate::plan::{FormatCx, Formats, LowerCx, Lowered, Parts};
use crate::{Dim, Error, Result, Tensor, dim::show_shape};
use pocketnn_kernels::reference::movement as reference;

type Table = Vec<Option<usize>>;
/// Axes of a slice and their steps; a step decided while running is `None`.
type AxesAndSteps = (Vec<usize>, Vec<Option<i64>>);

/// Elements chosen by one table an axis; where a table has none, `fill` (zero bits when absent).
fn select(x: &Tensor, tables: &[Table], fill: Option<&Tensor>) -> Result<Tensor> {
    let shape: Vec<usize> = tables.iter().map(Vec::len).collect();
    by_size!(x.dtype(), T => {
        let fill = fill.and_then(|t| raw::<T>(t).first().copied()).unwrap_or_default();
        from_raw(x.dtype(), &shape, reference::select(raw::<T>(x), x.shape(), tables, fill))
    })
}

/// Tables of all axes, unless the output is empty: then none is needed, and extents may be large.
fn tables(
    x: &Tensor,
    shape: &[usize],
    table: impl Fn(usize) -> Table,
) -> Result<std::result::Result<Vec<Table>, Tensor>> {
    if shape.contains(&0) {
        return Ok(Err(Tensor::zeros(x.dtype(), shape)?));
    }
    Ok(Ok((0..shape.len()).map(table).collect()))
}

fn select_or_empty(
    x: &Tensor,
    shape: &[usize],
    fill: Option<&Tensor>,
    table: impl Fn(usize) -> Table,
) -> Result<Vec<Tensor>> {
    Ok(vec![match tables(x, shape, table)? {
        Ok(tables) => select(x, &tables, fill)?,
        Err(empty) => empty,
    }])
}

impl Operator for Concat {
    fn takes(&self) -> Takes {
        Takes::Moved
    }
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let first = cx.ty(0)?;
        let axis = normalize_axis(self.axis, first.shape.len())?;
        let mut shape = first.shape.clone();
        for i in 1..cx.len() {
            cx.expect_dtype(i, first.dtype)?;
            let other = cx.shape(i)?;
            if other.len() != shape.len() {
                let message = format!("input {i}: expected rank {}, found {}", shape.len(), show_shape(other));
                return Err(Error::graph(message));
            }
            for (a, (d, o)) in shape.iter_mut().zip(other).enumerate() {
                *d = if a == axis { d.clone() + o.clone() } else { unify(&format!("axis {a} of input {i}"), d, o)? };
            }
        }
        Ok(vec![ValueType::new(first.dtype, shape)])
    }
    fn infer_dims(&self, cx: &Infer) -> Option<Vec<Dim>> {
        let mut all = Vec::new();
        for i in 0..cx.len() {
            all.extend_from_slice(cx.dims(i)?);
            if all.len() > MAX_DIMS {
                return None;
            }
        }
        Some(all)
    }
    fn formats(&self, cx: &FormatCx) -> Formats {
        self.choose(cx)
    }
    fn parts(&self, cx: &FormatCx) -> Option<Parts> {
        self.pieces(cx)
    }
    fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
        self.kernel(cx)
    }
}

impl Evaluate for Concat {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let shape = shape(self, inputs)?;
        let axis = normalize_axis(self.axis, shape.len())?;
        let tensors: Vec<&Tensor> = (0..inputs.len()).map(|i| operand(inputs, i)).collect::<Result<_>>()?;
        let dtype = tensors[0].dtype();
        by_size!(dtype, T => {
            let parts: Vec<(&[T], &[usize])> = tensors.iter().map(|t| (raw::<T>(t), t.shape())).collect();
            from_raw(dtype, &shape, reference::concat(&parts, axis))
        })
        .map(|t| vec![t])
    }
}

impl Operator for Split {
    fn takes(&self) -> Takes {
        Takes::Moved
    }
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let x = cx.ty(0)?;
        let axis = normalize_axis(self.axis, x.shape.len())?;
        let whole = &x.shape[axis];
        let parts = cx.outputs();
        let sizes: Vec<Dim> = if cx.has(1) {
            let n = entries(cx, 1)?;
            if n != parts {
                return Err(Error::graph(format!("input 1: {n} sizes for {parts} outputs")));
            }
            let sizes = vector(cx, 1)?.unwrap_or_else(|| (0..n).map(|_| Dim::unknown()).collect());
            let total = sizes.iter().fold(Dim::from(0), |a, b| a + b.clone());
            if let (Some(a), Some(b)) = (total.known_signed(), whole.known_signed())
                && a != b
            {
                return Err(Error::graph(format!("input 1: the sizes sum to {a}, axis {axis} has extent {b}")));
            }
            sizes.into_iter().map(|d| extent(d, "input 1")).collect::<Result<_>>()?
        } else if let Some(n) = whole.known() {
            let part = n.div_ceil(parts.max(1));
            (0..parts).map(|i| Dim::from(part.min(n.saturating_sub(i * part)))).collect()
        } else {
            let part = whole.div_ceil(&Dim::from(parts));
            let last = whole.clone() - part.clone() * Dim::from(parts.saturating_sub(1));
            (0..parts).map(|i| if i + 1 == parts { last.clone() } else { part.clone() }).collect()
        };
        Ok(sizes
            .into_iter()
            .map(|d| {
                let mut shape = x.shape.clone();
                shape[axis] = d;
                ValueType::new(x.dtype, shape)
            })
            .collect())
    }
    fn formats(&self, cx: &FormatCx) -> Formats {
        self.choose(cx)
    }
    fn parts(&self, cx: &FormatCx) -> Option<Parts> {
        self.pieces(cx)
    }
    fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
        self.kernel(cx)
    }
}

impl Evaluate for Split {
    fn eval(&self, inputs: &[Option<&Tensor>], outputs: usize) -> Result<Vec<Tensor>> {
        let x = operand(inputs, 0)?;
        let axis = normalize_axis(self.axis, x.rank())?;
        let mut start = 0;
        let mut parts = Vec::with_capacity(outputs);
        for shape in shapes(self, inputs, outputs)? {
            let from = |a: usize| if a == axis { start } else { 0 };
            parts.extend(select_or_empty(x, &shape, None, |a| reference::slice_table(from(a), 1, shape[a]))?);
            start += shape[axis];
        }
        Ok(parts)
    }
}

/// Start, step and length of a slice of an axis, by numpy's rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub start: usize,
    pub step: isize,
    pub len: usize,
}

impl Run {
    /// All of an axis.
    fn whole(extent: usize) -> Self {
        Self { start: 0, step: 1, len: extent }
    }
    /// `start:end:step` of an axis.
    fn new(extent: usize, start: i64, end: i64, step: i64) -> Result<Self> {
        let n = extent as i64;
        let wrap = |i: i64| if i < 0 { i.saturating_add(n) } else { i };
        if step == 0 {
            return Err(Error::graph("input 4: a step of 0"));
        }
        let (low, high) = if step > 0 { (0, n) } else { (-1, n - 1) };
        let (start, end) = (wrap(start).clamp(low, high), wrap(end).clamp(low, high));
        let distance = if step > 0 { end - start } else { start - end };
        let len = if distance <= 0 { 0 } else { (distance as u64).div_ceil(step.unsigned_abs()) as usize };
        Ok(Self { start: start.max(0) as usize, step: step.clamp(-n.max(1), n.max(1)) as isize, len })
    }
    /// The extent of a slice where something is symbolic. A start that is a number is taken to lie inside the axis.
    fn symbolic(extent: &Dim, start: &Dim, end: &Dim, step: i64) -> Dim {
        const FAR: i64 = i32::MAX as i64;
        let at = |d: &Dim, first: i64, last: &Dim| match d.known_signed() {
            Some(n) if n >= FAR => last.clone(),
            Some(n) if n <= -FAR => Dim::signed(first),
            Some(n) if n < 0 => extent.clone() + Dim::signed(n),
            _ => match (d.clone() - last.clone()).known_signed() {
                Some(n) if n >= 0 => last.clone(),
                Some(_) => d.clone(),
                None => d.smaller(last),
            },
        };
        let last = extent.clone() - Dim::from(1);
        let length = if step > 0 {
            let inside = start.known_signed().is_some_and(|n| (0..FAR).contains(&n));
            at(end, 0, extent) - if inside { start.clone() } else { at(start, 0, extent) }
        } else {
            at(start, -1, &last) - at(end, -1, &last)
        };
        let length = length.div_ceil(&Dim::signed(step.saturating_abs()));
        length.known_signed().map_or(length, |n| Dim::signed(n.max(0)))
    }
}

impl Slice {
    /// Axes and steps; `None` when they are decided while running.
    fn axes(cx: &Infer, count: usize, rank: usize) -> Result<Option<AxesAndSteps>> {
        let list = |i: usize| -> Result<Option<Option<Vec<i64>>>> {
            if !cx.has(i) {
                return Ok(None);
            }
            let n = entries(cx, i)?;
            if n == count {
                numbers(cx, i).map(Some)
            } else {
                Err(Error::graph(format!("input {i}: expected {count} entries, found {n}")))
            }
        };
        let axes = match list(3)? {
            None => (0..count as i64).collect(),
            Some(Some(axes)) => axes,
            Some(None) => return Ok(None),
        };
        let steps = match list(4)? {
            None => vec![Some(1); count],
            Some(Some(steps)) => steps.into_iter().map(Some).collect(),
            Some(None) => vec![None; count],
        };
        Ok(Some((distinct_axes(&axes, rank)?, steps)))
    }

    /// The elements of an axis of `extent` elements that a slice along this axis alone takes, when they are neighbours.
    pub(crate) fn channel_run(extent: usize, operands: &[Option<&Tensor>]) -> Option<std::ops::Range<usize>> {
        let first = |i: usize| operands.get(i).copied().flatten().map(|t| t.to_i64().ok()?.first().copied());
        let step = first(3).unwrap_or(Some(1))?;
        let run = Run::new(extent, first(0)??, first(1)??, step).ok()?;
        (step == 1).then(|| run.start..run.start + run.len)
    }

    /// One run an axis of a tensor of shape `x`. Operands: starts, ends, axes, steps.
    pub(super) fn runs_of(x: &[usize], operands: &[Option<&Tensor>; 4]) -> Result<Vec<Run>> {
        let required = |t: Option<&Tensor>| t.ok_or_else(|| Error::graph("starts or ends are missing"))?.to_i64();
        let (starts, ends) = (required(operands[0])?, required(operands[1])?);
        let given = |i: usize| operands[i].map(Tensor::to_i64).transpose();
        let axes = given(2)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
        let steps = given(3)?.unwrap_or_else(|| vec![1; starts.len()]);
        if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
            return Err(Error::graph("starts, ends, axes and steps differ in length"));
        }
        let mut runs: Vec<Run> = x.iter().map(|&d| Run::whole(d)).collect();
        for (i, a) in distinct_axes(&axes, x.len())?.into_iter().enumerate() {
            runs[a] = Run::new(x[a], starts[i], ends[i], steps[i])?;
        }
        Ok(runs)
    }
}

impl Operator for Slice {
    fn takes(&self) -> Takes {
        Takes::Moved
    }
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let x = cx.ty(0)?;
        let count = entries(cx, 1)?;
        if entries(cx, 2)? != count {
            return Err(Error::graph(format!(
                "input 2: expected {count} entries as starts, found {}",
                entries(cx, 2)?
            )));
        }
        let Some((axes, steps)) = Self::axes(cx, count, x.shape.len())? else {
            return Ok(vec![ValueType::new(x.dtype, unknown_shape(x.shape.len())?)]);
        };
        let mut shape = x.shape.clone();
        let (starts, ends) = (vector(cx, 1)?, vector(cx, 2)?);
        for (i, &a) in axes.iter().enumerate() {
            let (Some(starts), Some(ends), Some(step)) = (&starts, &ends, steps[i]) else {
                shape[a] = Dim::unknown();
                continue;
            };
            shape[a] = match (shape[a].known(), starts[i].known_signed(), ends[i].known_signed()) {
                (Some(n), Some(s), Some(e)) => Dim::from(Run::new(n, s, e, step)?.len),
                _ if step == 0 => return Err(Error::graph("input 4: a step of 0")),
                _ => Run::symbolic(&shape[a], &starts[i], &ends[i], step),
            };
        }
        Ok(vec![ValueType::new(x.dtype, shape)])
    }
    fn infer_dims(&self, cx: &Infer) -> Option<Vec<Dim>> {
        let x = cx.dims(0)?;
        let one = |i: usize| cx.dims(i).and_then(|d| d.first()).and_then(Dim::known_signed);
        if cx.shape(0).ok()?.len() != 1 || entries(cx, 1).ok()? != 1 {
            return None;
        }
        let step = if cx.has(4) { one(4)? } else { 1 };
        let run = Run::new(x.len(), one(1)?, one(2)?, step).ok()?;
        (0..run.len).map(|i| x.get((run.start as isize + i as isize * run.step) as usize).cloned()).collect()
    }
    fn formats(&self, cx: &FormatCx) -> Formats {
        self.choose(cx)
    }
    fn parts(&self, cx: &FormatCx) -> Option<Parts> {
        Self::pieces(cx)
    }
    fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
        self.kernel(cx)
    }
}

impl Evaluate for Slice {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let x = operand(inputs, 0)?;
        let runs = Self::runs_of(x.shape(), &[1, 2, 3, 4].map(|i| inputs.get(i).copied().flatten()))?;
        let shape: Vec<usize> = runs.iter().map(|r| r.len).collect();
        select_or_empty(x, &shape, None, |a| reference::slice_table(runs[a].start, runs[a].step, runs[a].len))
    }
}

impl Operator for Reverse {
    fn takes(&self) -> Takes {
        Takes::Moved
    }
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        distinct_axes(&self.axes, cx.rank(0)?)?;
        Ok(vec![cx.ty(0)?.clone()])
    }
    fn infer_dims(&self, cx: &Infer) -> Option<Vec<Dim>> {
        let dims = cx.dims(0)?.iter().cloned();
        Some(if self.axes.is_empty() { dims.collect() } else { dims.rev().collect() })
    }
    fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
        self.kernel(cx)
    }
}

impl Evaluate for Reverse {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let x = operand(inputs, 0)?;
        let (axes, shape) = (distinct_axes(&self.axes, x.rank())?, x.shape());
        select_or_empty(x, shape, None, |a| {
            let backwards = axes.contains(&a);
            let start = if backwards { shape[a] - 1 } else { 0 };
            reference::slice_table(start, if backwards { -1 } else { 1 }, shape[a])
        })
    }
}

impl Operator for Expand {
    fn takes(&self) -> Takes {
        Takes::Moved
    }
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let x = cx.ty(0)?;
        let n = entries(cx, 1)?;
        let shape = match vector(cx, 1)? {
            Some(to) => {
                let to = to.into_iter().map(|d| extent(d, "input 1")).collect::<Result<Vec<_>>>()?;
                broadcast(&x.shape, &to)?
            }
            None => unknown_shape(n.max(x.shape.len()))?,
        };
        Ok(vec![ValueType::new(x.dtype, shape)])
    }
    fn infer_dims(&self, cx: &Infer) -> Option<Vec<Dim>> {
        let (x, n) = (cx.dims(0)?, self.infer(cx).ok()?.first()?.shape.iter().try_fold(1, |_, d| d.known())?);
        if n > MAX_DIMS {
            return None;
        }
        if x.len() == 1 { Some(vec![x[0].clone(); n]) } else { Some(x.to_vec()) }
    }
    fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
        Self::kernel(cx)
    }
}

impl Evaluate for Expand {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let shape = shape(self, inputs)?;
        let x = operand(inputs, 0)?;
        let mut padded = vec![1; shape.len() - x.rank()];
        padded.extend_from_slice(x.shape());
        let x = x.reshaped(&padded)?;
        select_or_empty(&x, &shape, None, |a| reference::repeat_table(padded[a], shape[a]))
    }
}

impl Operator for Tile {
    fn takes(&self) -> Takes {
        Takes::Moved
    }
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let x = cx.ty(0)?;
        let (rank, n) = (x.shape.len(), entries(cx, 1)?);
        if n != rank {
            return Err(Error::graph(format!("input 1: expected {rank} repeats, one an axis, found {n}")));
        }
        let shape = match vector(cx, 1)? {
            Some(r) => {
                let each = |(d, r): (&Dim, Dim)| Ok(d.clone() * extent(r, "input 1")?);
                x.shape.iter().zip(r).map(each).collect::<Result<_>>()?
            }
            None => unknown_shape(rank)?,
        };
        Ok(vec![ValueType::new(x.dtype, shape)])
    }
    fn infer_dims(&self, cx: &Infer) -> Option<Vec<Dim>> {
        let x = cx.dims(0)?;
        let times = cx.dims(1)?.first().map_or(Some(1), Dim::known)?;
        (x.len().checked_mul(times)? <= MAX_DIMS).then(|| (0..times).flat_map(|_| x.to_vec()).collect())
    }
    fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
        Self::kernel(cx)
    }
}

impl Evaluate for Tile {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let shape = shape(self, inputs)?;
        let x = operand(inputs, 0)?;
        select_or_empty(x, &shape, None, |a| reference::repeat_table(x.shape()[a], shape[a]))
    }
}

impl Pad {
    /// Axes that are padded; `None` when they are decided while running.
    fn axes(cx: &Infer, rank: usize) -> Result<Option<Vec<usize>>> {
        if !cx.has(3) {
            return Ok(Some((0..rank).collect()));
        }
        entries(cx, 3)?;
        numbers(cx, 3)?.map(|axes| distinct_axes(&axes, rank)).transpose()
    }
    /// Elements before each axis of a tensor of this rank, or cut from it.
    pub(super) fn before_of(rank: usize, pads: &Tensor, axes: Option<&Tensor>) -> Result<Vec<isize>> {
        let axes = match axes {
            Some(t) => distinct_axes(&t.to_i64()?, rank)?,
            None => (0..rank).collect(),
        };
        let mut before = vec![0; rank];
        axes.iter().zip(pads.to_i64()?).for_each(|(&a, p)| before[a] = p as isize);
        Ok(before)
    }
}

impl Operator for Pad {
    fn takes(&self) -> Takes {
        Takes::Moved
    }
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let x = cx.ty(0)?;
        let (rank, n) = (x.shape.len(), entries(cx, 1)?);
        if cx.has(2) {
            cx.expect_dtype(2, x.dtype)?;
            if cx.shape(2)?.iter().any(|d| d.known().is_some_and(|n| n != 1)) {
                return Err(Error::graph(format!("input 2: expected a scalar, found {}", cx.ty(2)?)));
            }
        }
        let Some(axes) = Self::axes(cx, rank)? else {
            return Ok(vec![ValueType::new(x.dtype, unknown_shape(rank)?)]);
        };
        if n != 2 * axes.len() {
            return Err(Error::graph(format!("input 1: expected {} pads, two an axis, found {n}", 2 * axes.len())));
        }
        let mut shape = x.shape.clone();
        let pads = vector(cx, 1)?;
        for (i, &a) in axes.iter().enumerate() {
            shape[a] = match &pads {
                Some(p) => {
                    let padded = x.shape[a].clone() + p[i].clone() + p[axes.len() + i].clone();
                    let padded = extent(padded, &format!("axis {a} of {} padded", show_shape(&x.shape)))?;
                    if x.shape[a].known() == Some(0) && padded.known() != Some(0) && self.mode != PadMode::Constant {
                        return Err(Error::graph(format!("axis {a} is empty: there is nothing to pad it with")));
                    }
                    padded
                }
                None => Dim::unknown(),
            };
        }
        Ok(vec![ValueType::new(x.dtype, shape)])
    }
    fn formats(&self, cx: &FormatCx) -> Formats {
        self.choose(cx)
    }
    fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
        self.kernel(cx)
    }
}

impl Evaluate for Pad {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let shape = shape(self, inputs)?;
        let x = operand(inputs, 0)?;
        let before = Self::before_of(x.rank(), operand(inputs, 1)?, inputs.get(3).copied().flatten())?;
        let fill = inputs.get(2).copied().flatten();
        select_or_empty(x, &shape, fill, |a| {
            reference::pad_table(self.mode.kernel(), x.shape()[a], before[a], shape[a])
        })
    }
}
