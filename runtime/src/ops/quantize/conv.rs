//! Convolutions and layers of integers.

use super::super::conv::{Conv, ConvTranspose, Steps, agree, count, image, per_axis};
use super::super::infer::{Fact, Infer, ValueType, broadcast};
use super::super::{Evaluate, Operator};
use super::{
    QConv, QConvTranspose, QDense, QMatMul, Sums, channels_last, flat_image, is_channels_last, numbers, operand,
    tensor, two, with_numbers,
};
use crate::dim::show_shape;
use crate::ops::conv::Pads;
use crate::plan::{Compute, FormatCx, Formats, Io, LowerCx, Lowered};
use crate::{DType, Dim, Error, Result, Tensor};
use pocketnn_kernels::par::{Parallel, for_each_part};
use pocketnn_kernels::quantize::{self as kernel, ConvDesc, Number, Requantize};
use pocketnn_kernels::reference::{conv::ConvParams, quantize as reference};
use std::sync::Arc;

/// Checks weights, scale and bias of an op with `outputs` channels.
fn check(cx: &Infer, sums: &Sums, outputs: &Dim) -> Result<DType> {
    sums.check()?;
    let x = numbers(cx, 0)?;
    if !matches!(cx.dtype(1)?, DType::I8 | DType::U8) {
        return Err(Error::graph(format!("input 1: expected weights of i8 or u8, found {}", cx.dtype(1)?)));
    }
    sums.limits(x.dtype)?;
    scale(cx, outputs)?;
    if let Some(bias) = cx.fact(3) {
        let integers = matches!(bias.ty.dtype, DType::I32 | DType::I64);
        match bias.ty.shape.as_slice() {
            [n] if integers => agree("bias", n, outputs, "input 3", "the output's channels")?,
            _ => return Err(Error::graph(format!("input 3: expected i32 or i64 [{outputs}], found {}", bias.ty))),
        }
    }
    Ok(x.dtype)
}

fn scale(cx: &Infer, outputs: &Dim) -> Result<()> {
    let ty = cx.ty(2)?;
    let one = ty.shape.is_empty() || ty.shape.len() == 1 && ty.shape[0].known() == Some(1);
    if ty.dtype != DType::F64 || ty.shape.len() > 1 {
        return Err(Error::graph(format!("input 2: expected f64, one or one an output, found {ty}")));
    }
    if one { Ok(()) } else { agree("scales", &ty.shape[0], outputs, "input 2", "the output's channels") }
}

/// The elements less a zero point.
fn less(t: &Tensor, zero: i32) -> Result<Vec<i64>> {
    Ok(t.to_i64()?.into_iter().map(|v| v - i64::from(zero)).collect())
}

/// Sums to numbers; `outputs` channels that lie `inner` apart.
fn finish(sums: &Sums, inputs: &[Option<&Tensor>], raw: Vec<i64>, outputs: usize, inner: usize) -> Result<Vec<i32>> {
    let scales = operand(inputs, 2)?.to_f64();
    let bias = inputs.get(3).copied().flatten().map(Tensor::to_i64).transpose()?;
    let limits = sums.limits(operand(inputs, 0)?.dtype())?;
    if scales.len() != 1 && scales.len() != outputs {
        return Err(Error::graph(format!("input 2: expected one or {outputs} scales, found {}", scales.len())));
    }
    let one = |(i, v): (usize, i64)| {
        let c = i / inner.max(1) % outputs.max(1);
        let v = v + bias.as_ref().and_then(|b| b.get(c).copied()).unwrap_or(0);
        let scale = if scales.len() == 1 { scales[0] } else { scales[c] };
        reference::requantize(sums.rule(), v, scale, sums.y, limits, sums.wide)
    };
    Ok(raw.into_iter().enumerate().map(one).collect())
}

impl QConv {
    fn params(&self, size: &[usize], kernel: &[usize]) -> Result<ConvParams> {
        let Self { strides, dilations, pads, groups, .. } = self.clone();
        Conv { strides, dilations, pads, groups, ..Conv::default() }.params(size, kernel)
    }
}

impl Operator for QConv {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let (x, w) = (image(cx, 0)?, cx.shape(1)?);
        same_rank(x, w)?;
        let rank = x.len() - 2;
        let steps = Steps::new(rank, &self.strides, &self.dilations)?;
        divides(self.groups, &w[0])?;
        agree("channels", &x[1], &(w[1].clone() * Dim::from(self.groups)), "input 0", "input 1 times the groups")?;
        let dtype = check(cx, &self.sums, &w[0])?;
        let mut shape = vec![x[0].clone(), w[0].clone()];
        for i in 0..rank {
            shape.push(steps.output(i, &x[i + 2], &w[i + 2], &self.pads, false)?);
        }
        Ok(vec![ValueType::new(dtype, shape)])
    }
    fn formats(&self, cx: &FormatCx) -> Formats {
        channels_last(cx)
    }
    fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
        let (x, out) = (cx.shape(0)?, &cx.output(0).shape);
        let (Some((batch, channels, size)), Some((_, outputs, output))) = (flat_image(x), flat_image(out)) else {
            return Ok(Lowered::Interpreted);
        };
        let Some(w) = cx.constant(1).filter(|_| is_channels_last(cx).unwrap_or(false)) else {
            return Ok(Lowered::Interpreted);
        };
        let params = self.params(&x[2..], &w.shape()[2..])?;
        let begin: Vec<isize> = params.pads.iter().map(|p| p.0 as isize).collect();
        let desc = ConvDesc {
            batch,
            channels,
            size,
            outputs,
            groups: self.groups,
            kernel: two(&w.shape()[2..], 1),
            stride: two(&params.stride, 1),
            dilation: two(&params.dilation, 1),
            begin: two(&begin, 0),
            output,
            spread: [1, 1],
            zero: self.sums.x,
            wide: self.sums.wide,
        };
        filter(cx, &self.sums, desc, |w| w)
    }
    fn macs(&self, inputs: &[Option<&Fact>], outputs: &[ValueType]) -> u64 {
        let w = inputs.get(1).copied().flatten().and_then(|f| f.ty.known_shape());
        let (Some(w), Some(y)) = (w, outputs.first().and_then(ValueType::known_shape)) else { return 0 };
        count(y.iter().chain(&w[1..]))
    }
}

impl Evaluate for QConv {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let (x, w) = (operand(inputs, 0)?, operand(inputs, 1)?);
        let params = self.params(&x.shape()[2..], &w.shape()[2..])?;
        let (a, b) = (less(x, self.sums.x)?, less(w, self.sums.w)?);
        let (raw, shape) = reference::conv(&a, x.shape(), &b, w.shape(), &params);
        let y = finish(&self.sums, inputs, raw, shape[1], shape[2..].iter().product())?;
        Ok(vec![tensor(x.dtype(), &shape, y)?])
    }
}

fn same_rank(x: &[Dim], w: &[Dim]) -> Result<()> {
    if x.len() == w.len() {
        return Ok(());
    }
    let message = format!("input 1: expected {} dimensions, as many as input 0, found {}", x.len(), show_shape(w));
    Err(Error::graph(message))
}

fn divides(groups: usize, channels: &Dim) -> Result<()> {
    if groups == 0 || channels.known().is_some_and(|c| c % groups != 0) {
        return Err(Error::graph(format!("{channels} channels cannot be split in {groups} groups")));
    }
    Ok(())
}

/// The packed filter of a convolution whose weights are `arrange(w)`, in the order of [`kernel::Conv::new`].
fn filter(cx: &LowerCx, sums: &Sums, desc: ConvDesc, arrange: impl FnOnce(Vec<i32>) -> Vec<i32>) -> Result<Lowered> {
    let (Some(w), Some(scales)) = (cx.constant(1), cx.constant(2)) else { return Ok(Lowered::Interpreted) };
    if cx.has(3) && cx.constant(3).is_none() {
        return Ok(Lowered::Interpreted);
    }
    let (from, to) = (cx.input(0)?.dtype, cx.output(0).dtype);
    let key = format!("quantized conv {desc:?} {sums:?}");
    let conv: Arc<kernel::Conv> = cx.packed(&key, || {
        let limits = sums.limits(to)?;
        let requant = Requantize::new(sums.rule(), &scales.to_f64(), desc.outputs, sums.y, limits)?;
        let weights = w.to_i64()?.into_iter().map(|v| v as i32 - sums.w).collect();
        let bias = cx.integers(3).unwrap_or_default();
        Ok(kernel::Conv::new(cx.isa(), desc, &arrange(weights), &bias, requant)?)
    })?;
    let scratch = 2 * conv.scratch();
    Ok(with_numbers!(from, X => with_numbers!(to, Y => {
        let run = move |io: &mut Io<'_>, par: &dyn Parallel| {
            let scratch = io.scratch::<i16>();
            let n = conv.scratch();
            if let Err(e) = conv.apply(io.input::<X>(0), io.output::<Y>(0), &mut scratch[..n], par) {
                io.fail(e);
            }
        };
        Compute::function("integer panels", run).scratch(scratch).into()
    })))
}

impl QConvTranspose {
    fn params(&self, kernel: &[usize]) -> Result<ConvParams> {
        let Self { strides, dilations, pads, output_padding, groups, .. } = self.clone();
        ConvTranspose { strides, dilations, pads, output_padding, groups, ..ConvTranspose::default() }.params(kernel)
    }
}

impl Operator for QConvTranspose {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let (x, w) = (image(cx, 0)?, cx.shape(1)?);
        same_rank(x, w)?;
        let rank = x.len() - 2;
        let steps = Steps::new(rank, &self.strides, &self.dilations)?;
        let extra = per_axis("output_padding", &self.output_padding, rank, 0)?;
        divides(self.groups, &x[1])?;
        agree("channels", &x[1], &w[0], "input 0", "input 1")?;
        let channels = w[1].clone() * Dim::from(self.groups);
        let dtype = check(cx, &self.sums, &channels)?;
        let Pads::Explicit { begin, end } = &self.pads else {
            return Err(Error::graph("pads: expected numbers".to_string()));
        };
        let (begin, end) = (per_axis("pads", begin, rank, 0)?, per_axis("pads", end, rank, 0)?);
        let mut shape = vec![x[0].clone(), channels];
        for i in 0..rank {
            let one = Dim::from(1);
            let span = (w[i + 2].clone() - one.clone()) * Dim::from(steps.dilation[i]) + one.clone();
            let full = (x[i + 2].clone() - one) * Dim::from(steps.stride[i]) + Dim::from(extra[i]) + span;
            let out = full - Dim::from(begin[i] + end[i]);
            if out.known_signed().is_some_and(|n| n < 0) {
                return Err(Error::graph(format!("spatial axis {i}: the pads cut off more than the whole output")));
            }
            shape.push(out);
        }
        Ok(vec![ValueType::new(dtype, shape)])
    }
    fn formats(&self, cx: &FormatCx) -> Formats {
        channels_last(cx)
    }
    fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
        let (x, out) = (cx.shape(0)?, &cx.output(0).shape);
        let (Some((batch, channels, size)), Some((_, outputs, output))) = (flat_image(x), flat_image(out)) else {
            return Ok(Lowered::Interpreted);
        };
        let Some(w) = cx.constant(1).filter(|_| is_channels_last(cx).unwrap_or(false) && self.groups == 1) else {
            return Ok(Lowered::Interpreted);
        };
        let params = self.params(&w.shape()[2..])?;
        let taps = two(&w.shape()[2..], 1);
        let dilation = two(&params.dilation, 1);
        let cut = two(&params.pads.iter().map(|p| p.0 as isize).collect::<Vec<_>>(), 0);
        let begin = std::array::from_fn(|a| ((taps[a] - 1) * dilation[a]) as isize - cut[a]);
        let desc = ConvDesc {
            batch,
            channels,
            size,
            outputs,
            groups: 1,
            kernel: taps,
            stride: [1, 1],
            dilation,
            begin,
            output,
            spread: two(&params.stride, 1),
            zero: self.sums.x,
            wide: self.sums.wide,
        };
        // A convolution over the spread input with the kernel turned around: `[C, O, k]` to `[O, C, k]`.
        let area = taps[0] * taps[1];
        filter(cx, &self.sums, desc, |w| {
            let at = |o: usize, c: usize, t: usize| w[(c * outputs + o) * area + area - 1 - t];
            let all = (0..outputs).flat_map(|o| (0..channels).map(move |c| (o, c)));
            all.flat_map(|(o, c)| (0..area).map(move |t| (o, c, t))).map(|(o, c, t)| at(o, c, t)).collect()
        })
    }
    fn macs(&self, inputs: &[Option<&Fact>], _outputs: &[ValueType]) -> u64 {
        let shape = |i: usize| inputs.get(i).copied().flatten().and_then(|f| f.ty.known_shape());
        let (Some(x), Some(w)) = (shape(0), shape(1)) else { return 0 };
        count(x.iter().chain(&w[1..]))
    }
}

impl Evaluate for QConvTranspose {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let (x, w) = (operand(inputs, 0)?, operand(inputs, 1)?);
        let params = self.params(&w.shape()[2..])?;
        let (a, b) = (less(x, self.sums.x)?, less(w, self.sums.w)?);
        let (raw, shape) = reference::conv_transpose(&a, x.shape(), &b, w.shape(), &params);
        let y = finish(&self.sums, inputs, raw, shape[1], shape[2..].iter().product())?;
        Ok(vec![tensor(x.dtype(), &shape, y)?])
    }
}

impl Operator for QDense {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let (x, w) = (cx.shape(0)?, cx.shape(1)?);
        let ([o, k], Some((last, lead))) = (w, x.split_last()) else {
            let message = format!("expected [..., K] and [O, K], found {} and {}", show_shape(x), show_shape(w));
            return Err(Error::graph(message));
        };
        agree("depth", last, k, "input 0", "input 1")?;
        let dtype = check(cx, &self.sums, o)?;
        Ok(vec![ValueType::new(dtype, lead.iter().cloned().chain([o.clone()]).collect::<Vec<_>>())])
    }
    fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
        let Some(w) = cx.constant(1) else { return Ok(Lowered::Interpreted) };
        let (outputs, channels) = (w.shape()[0], w.shape()[1]);
        let x = cx.shape(0)?;
        let rows: usize = x[..x.len() - 1].iter().product();
        // Four rows share one reading of the weights.
        let size = if rows % 4 == 0 { [rows / 4, 4] } else { [rows, 1] };
        let desc = ConvDesc {
            batch: 1,
            channels,
            size,
            outputs,
            groups: 1,
            kernel: [1, 1],
            stride: [1, 1],
            dilation: [1, 1],
            begin: [0, 0],
            output: size,
            spread: [1, 1],
            zero: self.sums.x,
            wide: self.sums.wide,
        };
        filter(cx, &self.sums, desc, |w| w)
    }
    fn macs(&self, inputs: &[Option<&Fact>], outputs: &[ValueType]) -> u64 {
        let w = inputs.get(1).copied().flatten().and_then(|f| f.ty.known_shape());
        let (Some(w), Some(y)) = (w, outputs.first().and_then(ValueType::known_shape)) else { return 0 };
        count(y.iter().chain(&w[1..]))
    }
}

impl Evaluate for QDense {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let (x, w) = (operand(inputs, 0)?, operand(inputs, 1)?);
        let (o, k) = (w.shape()[0], w.shape()[1]);
        let (a, b) = (less(x, self.sums.x)?, less(w, self.sums.w)?);
        let mut shape = x.shape().to_vec();
        let rows: usize = shape[..shape.len() - 1].iter().product();
        let (raw, _) = reference::conv(&a, &[rows, k, 1], &b, &[o, k, 1], &ConvParams::new(1));
        if let Some(last) = shape.last_mut() {
            *last = o;
        }
        let y = finish(&self.sums, inputs, raw, o, 1)?;
        Ok(vec![tensor(x.dtype(), &shape, y)?])
    }
}

/// Batches of a matrix product: where each starts in `a` and `b`, and extents `m`, `k`, `n`.
struct Batches {
    starts: Vec<(usize, usize)>,
    m: usize,
    k: usize,
    n: usize,
}

impl Batches {
    fn new(a: &[usize], b: &[usize], out: &[usize]) -> Self {
        let (m, k, n) = (a[a.len() - 2], a[a.len() - 1], b[b.len() - 1]);
        let lead = &out[..out.len() - 2];
        let start = |shape: &[usize], i: usize, matrix: usize| {
            let own = &shape[..shape.len() - 2];
            let (mut rest, mut at, mut step) = (i, 0, 1);
            for (axis, &extent) in lead.iter().enumerate().rev() {
                let index = rest % extent.max(1);
                rest /= extent.max(1);
                if let Some(j) = (axis + own.len()).checked_sub(lead.len()) {
                    at += if own[j] == 1 { 0 } else { index * step };
                    step *= own[j];
                }
            }
            at * matrix
        };
        let count: usize = lead.iter().product();
        Self { starts: (0..count).map(|i| (start(a, i, m * k), start(b, i, k * n))).collect(), m, k, n }
    }
}

impl Operator for QMatMul {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        self.sums.check()?;
        let (a, b) = (numbers(cx, 0)?, numbers(cx, 1)?);
        if a.shape.len() < 2 || b.shape.len() < 2 || a.dtype != b.dtype {
            return Err(Error::graph(format!("expected two stacks of matrices of one type, found {a} and {b}")));
        }
        scale(cx, &Dim::from(1))?;
        self.sums.limits(a.dtype)?;
        let ((la, [m, ka]), (lb, [kb, n])) = (a.shape.split_at(a.shape.len() - 2), b.shape.split_at(b.shape.len() - 2))
        else {
            return Err(Error::graph("expected two stacks of matrices"));
        };
        agree("depth", ka, kb, "input 0", "input 1")?;
        let shape: Vec<Dim> = broadcast(la, lb)?.into_iter().chain([m.clone(), n.clone()]).collect();
        Ok(vec![ValueType::new(a.dtype, shape)])
    }
    fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
        let Some(scales) = cx.constant(2) else { return Ok(Lowered::Interpreted) };
        let dtype = cx.output(0).dtype;
        let b = Batches::new(cx.shape(0)?, cx.shape(1)?, &cx.output(0).shape);
        let sums = self.sums.clone();
        let requant = Requantize::new(sums.rule(), &scales.to_f64(), 1, sums.y, sums.limits(dtype)?)?;
        Ok(with_numbers!(dtype, T => Compute::function("integer rows", move |io: &mut Io<'_>, par: &dyn Parallel| {
            let (x, w) = (io.input::<T>(0), io.input::<T>(1));
            for_each_part(par, io.output::<T>(0), b.n.max(1), &|row, part| {
                let (xs, ws) = b.starts[row / b.m];
                let line = &x[xs + row % b.m * b.k..][..b.k];
                for (j, y) in part.iter_mut().enumerate() {
                    let term = |(k, v): (usize, &T)| {
                        i64::from(v.wide() - sums.x) * i64::from(w[ws + k * b.n + j].wide() - sums.w)
                    };
                    let sum: i64 = line.iter().enumerate().map(term).sum();
                    *y = T::narrow(if sums.wide { requant.apply_wide(0, sum) } else { requant.apply(0, sum as i32) });
                }
            });
        })
        .into()))
    }
    fn macs(&self, inputs: &[Option<&Fact>], outputs: &[ValueType]) -> u64 {
        let a = inputs.first().copied().flatten().and_then(|f| f.ty.known_shape());
        let (Some(a), Some(y)) = (a, outputs.first().and_then(ValueType::known_shape)) else { return 0 };
        count(y.iter().chain(a.last()))
    }
}

impl Evaluate for QMatMul {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let (a, b) = (operand(inputs, 0)?, operand(inputs, 1)?);
        let shape = super::super::operands::shape(self, inputs)?;
        let batches = Batches::new(a.shape(), b.shape(), &shape);
        let (left, right) = (less(a, self.sums.x)?, less(b, self.sums.w)?);
        let mut raw = Vec::new();
        for (at, bt) in &batches.starts {
            for (i, j) in (0..batches.m).flat_map(|i| (0..batches.n).map(move |j| (i, j))) {
                raw.push((0..batches.k).map(|k| left[at + i * batches.k + k] * right[bt + k * batches.n + j]).sum());
            }
        }
        let y = finish(&self.sums, inputs, raw, 1, 1)?;
        Ok(vec![tensor(a.dtype(), &shape, y)?])
    }
}
