//! Normalisation.

use super::attrs::attributes;
use super::elementwise::lower::done;
use super::elementwise::{cast, eval_unary, operand};
use super::infer::{Infer, ValueType, broadcast, normalize_axis};
use super::{Evaluate, Operator};
use crate::dim::show_shape;
use crate::kernels::activation::{Activation, Map};
use crate::kernels::elementwise::Unary;
use crate::kernels::norm as kernel;
use crate::kernels::par::Parallel;
use crate::kernels::reference::{elementwise, norm as reference};
use crate::plan::{Compute, Format, FormatCx, Formats, InPlace, Io, LowerCx, Lowered};
use crate::{DType, Dim, Error, Result, Tensor};

attributes! {
    /// Batch normalisation in inference: `(x - mean) / sqrt(var + epsilon) * scale + bias` per channel (axis 1).
    /// Inputs `x [N, C, ...]`, `scale`, `bias`, `mean`, `var`, each `[C]`.
    pub struct BatchNorm {
        /// Added to the variance.
        pub epsilon: f32 = 1e-5,
        /// Applied to the result.
        pub activation: Activation = Activation::Identity,
    }
    /// Normalises groups of channels over their positions. Inputs `x [N, C, ...]`, optional `scale [C]`, optional `bias [C]`.
    /// Instance normalisation has as many groups as channels (`groups` = 0).
    pub struct GroupNorm {
        /// Number of groups; 0 means one a channel.
        pub groups: usize = 1,
        /// Added to the variance.
        pub epsilon: f32 = 1e-5,
    }
    /// Normalises over all axes from `axis` on. Inputs `x`, optional `scale`, optional `bias`, which broadcast to the
    /// normalised axes.
    pub struct LayerNorm {
        /// First normalised axis.
        pub axis: i64 = -1,
        /// Added to the variance (or mean square).
        pub epsilon: f32 = 1e-5,
        /// Root mean square only: the mean is not subtracted (RMS normalisation).
        pub rms: bool = false,
    }
    /// Local response normalisation across channels: `x / (bias + alpha / size * sum(x^2))^beta` over `size` channels around each.
    pub struct Lrn {
        /// Number of channels.
        pub size: usize = 1,
        /// Scale of the sum.
        pub alpha: f32 = 1e-4,
        /// Exponent.
        pub beta: f32 = 0.75,
        /// Added to the sum.
        pub bias: f32 = 1.0,
    }
}

/// The type of the first operand, which must be floats.
fn floats<'a>(cx: &Infer<'a>) -> Result<&'a ValueType> {
    let ty = cx.ty(0)?;
    if ty.dtype.is_float() {
        Ok(ty)
    } else {
        Err(Error::graph(format!("input 0: expected floats, found {}", ty.dtype)))
    }
}

/// The type of images `[N, C, ...]` of floats whose parameters, if there, are floats `[C]`.
fn images(cx: &Infer, parameters: std::ops::Range<usize>) -> Result<Vec<ValueType>> {
    let ty = floats(cx)?;
    let [_, channels, ..] = &ty.shape[..] else {
        return Err(Error::graph(format!("input 0: expected [N, C, ...], found {ty}")));
    };
    for i in parameters.filter(|&i| cx.has(i)) {
        let p = cx.ty(i)?;
        let known = p.shape.first().and_then(Dim::known).zip(channels.known());
        if !p.dtype.is_float() || p.shape.len() != 1 || known.is_some_and(|(a, b)| a != b) {
            return Err(Error::graph(format!("input {i}: expected floats [{channels}], one a channel, found {p}")));
        }
    }
    Ok(vec![ty.clone()])
}

/// An optional operand as doubles.
fn parameter(inputs: &[Option<&Tensor>], i: usize) -> Option<Vec<f64>> {
    inputs.get(i).copied().flatten().map(Tensor::to_f64)
}

/// A result in the type of the operand.
fn result(y: Vec<f64>, x: &Tensor) -> Result<Vec<Tensor>> {
    Ok(vec![cast(&Tensor::new(x.shape(), y)?, x.dtype())?])
}

/// A filter that runs in place: input 0 is carried to the output first, where it does not lie there already.
fn carried(
    cx: &LowerCx,
    filter: impl Fn(&Io<'_>, &mut [f32], &dyn Parallel) -> crate::kernels::Result<()> + Send + Sync + 'static,
) -> Result<Lowered> {
    let (x, y) = (cx.input(0)?, cx.output(0));
    let copy = match x.format {
        Format::Blocked => Map::blocked(cx.isa(), Activation::Identity, x.blocked()?, y.blocked()?)?,
        _ => Map::new(cx.isa(), Activation::Identity, x.shape.iter().product()),
    };
    let run = move |io: &mut Io<'_>, par: &dyn Parallel| {
        let y = io.output(0);
        if !io.in_place(0) {
            done(copy.apply(io.input(0), y, par));
        }
        done(filter(io, y, par));
    };
    Ok(Compute::function("in place", run).in_place(0).into())
}

impl Operator for BatchNorm {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        for i in 1..5 {
            cx.ty(i)?;
        }
        images(cx, 1..5)
    }
    fn formats(&self, cx: &FormatCx) -> Formats {
        let constant = (1..5).all(|i| cx.constant(i).is_some());
        let images = matches!(cx.format(0), Format::Blocked | Format::ChannelsLast);
        if constant && images { cx.follow(0) } else { cx.plain() }
    }
    fn place(&self) -> InPlace {
        InPlace::Once
    }
    fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
        let x = cx.input(0)?;
        let (Some(scale), Some(bias), Some(mean), Some(variance), DType::F32) =
            (cx.floats(1), cx.floats(2), cx.floats(3), cx.floats(4), x.dtype)
        else {
            return Ok(Lowered::Interpreted);
        };
        let (a, b) = kernel::Affine::of_batch(&scale, &bias, &mean, &variance, self.epsilon);
        let (n, c, positions) = (x.shape[0], x.shape[1], x.shape[2..].iter().product::<usize>());
        let affine = match x.format {
            Format::Blocked => kernel::Affine::blocked(cx.isa(), x.blocked()?, cx.output(0).blocked()?, a, b)?,
            Format::ChannelsLast => kernel::Affine::new(cx.isa(), [n * positions, c, 1], a, b)?,
            _ => kernel::Affine::new(cx.isa(), [n, c, positions], a, b)?,
        };
        let affine = affine.then(self.activation);
        let run = move |io: &mut Io<'_>, par: &dyn Parallel| {
            let y = io.output(0);
            done(if io.in_place(0) { affine.apply_in_place(y, par) } else { affine.apply(io.input(0), y, par) });
        };
        Ok(Compute::function("scale and shift", run).in_place(0).into())
    }
}

impl Evaluate for BatchNorm {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let x = operand(inputs, 0)?;
        let (mean, variance) = (operand(inputs, 3)?.to_f64(), operand(inputs, 4)?.to_f64());
        let (scale, bias) = (parameter(inputs, 1), parameter(inputs, 2));
        let epsilon = f64::from(self.epsilon);
        let y = reference::batch(&x.to_f64(), x.shape(), &mean, &variance, scale.as_deref(), bias.as_deref(), epsilon);
        let y = result(y, x)?;
        if self.activation == Activation::Identity { Ok(y) } else { eval_unary(Unary::Map(self.activation), &y[0]) }
    }
}

impl GroupNorm {
    /// Groups for this number of channels.
    ///
    /// # Errors
    /// When they do not divide the channels.
    pub(crate) fn groups(&self, channels: usize) -> Result<usize> {
        let groups = if self.groups == 0 { channels } else { self.groups };
        if channels != 0 && !channels.is_multiple_of(groups) {
            return Err(Error::graph(format!("{groups} groups do not divide {channels} channels")));
        }
        Ok(groups.max(1))
    }
}

impl Operator for GroupNorm {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let ty = images(cx, 1..3)?;
        if let Some(channels) = ty[0].shape[1].known() {
            self.groups(channels)?;
        }
        Ok(ty)
    }
    fn formats(&self, cx: &FormatCx) -> Formats {
        let channels = cx.shape(0).get(1).copied().unwrap_or(0);
        let fits = self.groups(channels).is_ok_and(|g| kernel::Group::can_block(channels, g));
        if cx.format(0) == Format::Blocked && fits { cx.follow(0) } else { cx.plain() }
    }
    fn place(&self) -> InPlace {
        InPlace::Once
    }
    fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
        let x = cx.input(0)?;
        if x.dtype != DType::F32 {
            return Ok(Lowered::Interpreted);
        }
        let groups = self.groups(x.shape[1])?;
        let group = if x.format == Format::Blocked {
            kernel::Group::blocked(cx.isa(), cx.output(0).blocked()?, groups, self.epsilon)?
        } else {
            let shape = [x.shape[0], x.shape[1], x.shape[2..].iter().product()];
            kernel::Group::new(cx.isa(), shape, groups, self.epsilon)?
        };
        carried(cx, move |io, y, par| {
            let parameter = |i: usize| io.has(i).then(|| io.input::<f32>(i));
            group.apply_in_place(parameter(1), parameter(2), y, par)
        })
    }
}

impl Evaluate for GroupNorm {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let x = operand(inputs, 0)?;
        let groups = self.groups(x.shape()[1])?;
        let (scale, bias) = (parameter(inputs, 1), parameter(inputs, 2));
        let epsilon = f64::from(self.epsilon);
        result(reference::group(&x.to_f64(), x.shape(), groups, scale.as_deref(), bias.as_deref(), epsilon), x)
    }
}

/// A parameter spread over the normalised axes.
pub(crate) fn spread(p: Option<&Tensor>, axes: &[usize]) -> Result<Option<Vec<f64>>> {
    let Some(p) = p else { return Ok(None) };
    let ones = vec![0.0; axes.iter().product()];
    let y = elementwise::zip((&ones, axes), (&p.to_f64(), p.shape()), |_, p| p);
    let fits = y.filter(|y| y.len() == ones.len());
    let message = || Error::graph(format!("a parameter {p:?} does not broadcast to the normalised axes {axes:?}"));
    fits.ok_or_else(message).map(Some)
}

impl Operator for LayerNorm {
    /// Up to three outputs: the result, the mean (of one extent in the normalised axes) and the reciprocal deviation.
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let ty = floats(cx)?;
        let axis = normalize_axis(self.axis, ty.shape.len())?;
        for i in (1..3).filter(|&i| cx.has(i)) {
            let spread = broadcast(&ty.shape[axis..], cx.shape(i)?)?;
            if !cx.dtype(i)?.is_float() || spread.len() != ty.shape.len() - axis {
                let axes = show_shape(&ty.shape[axis..]);
                return Err(Error::graph(format!(
                    "input {i}: expected floats that broadcast to {axes}, found {}",
                    cx.ty(i)?
                )));
            }
        }
        let mut shape = ty.shape.clone();
        shape[axis..].fill(Dim::from(1));
        let statistics = ValueType::new(DType::F32, shape);
        Ok([ty.clone(), statistics.clone(), statistics].into_iter().take(cx.outputs().min(3)).collect())
    }
    fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
        let x = cx.input(0)?;
        let axis = normalize_axis(self.axis, x.shape.len())?;
        let axes = x.shape[axis..].to_vec();
        let (rows, len) = (x.shape[..axis].iter().product(), axes.iter().product::<usize>());
        let mut spreads = [None, None];
        for i in (1..3).filter(|&i| cx.has(i)) {
            let p = cx.input(i)?;
            let whole = p.dtype == DType::F32 && p.shape.iter().product::<usize>() == len;
            match cx.constant(i) {
                _ if whole => {}
                Some(t) => {
                    let wide = spread(Some(t), &axes)?.unwrap_or_default();
                    spreads[i - 1] = Some(wide.into_iter().map(|v| v as f32).collect::<Vec<_>>());
                }
                None => return Ok(Lowered::Interpreted),
            }
        }
        if x.dtype != DType::F32 || cx.outputs() > 1 {
            return Ok(Lowered::Interpreted);
        }
        let make = if self.rms { kernel::Layer::rms } else { kernel::Layer::new };
        let layer = make(cx.isa(), rows, len, self.epsilon);
        carried(cx, move |io, y, par| {
            let parameter = |i: usize| match &spreads[i - 1] {
                Some(p) => Some(p.as_slice()),
                None => io.has(i).then(|| io.input::<f32>(i)),
            };
            layer.apply_in_place(parameter(1), parameter(2), y, par)
        })
    }
}

impl Evaluate for LayerNorm {
    fn eval(&self, inputs: &[Option<&Tensor>], outputs: usize) -> Result<Vec<Tensor>> {
        let x = operand(inputs, 0)?;
        let axis = normalize_axis(self.axis, x.rank())?;
        let at = |i: usize| spread(inputs.get(i).copied().flatten(), &x.shape()[axis..]);
        let (scale, bias, epsilon) = (at(1)?, at(2)?, f64::from(self.epsilon));
        let wide = x.to_f64();
        let mut out = if self.rms {
            let mut y = reference::rms(&wide, x.shape(), axis, scale.as_deref(), epsilon);
            if let Some(bias) = &bias {
                y.chunks_mut(bias.len().max(1)).for_each(|row| row.iter_mut().zip(bias).for_each(|(y, b)| *y += b));
            }
            result(y, x)?
        } else {
            result(reference::layer(&wide, x.shape(), axis, scale.as_deref(), bias.as_deref(), epsilon), x)?
        };
        let mut shape = x.shape().to_vec();
        let len = shape[axis..].iter().product::<usize>().max(1);
        shape[axis..].fill(1);
        let mean = |row: &[f64]| if self.rms { 0.0 } else { row.iter().sum::<f64>() / row.len() as f64 };
        let deviation = |row: &[f64]| {
            let (m, n) = (mean(row), row.len() as f64);
            1.0 / (row.iter().map(|v| (v - m).powi(2)).sum::<f64>() / n + epsilon).sqrt()
        };
        if outputs > 1 {
            out.push(Tensor::new(&shape, wide.chunks(len).map(|r| mean(r) as f32).collect())?);
        }
        if outputs > 2 {
            out.push(Tensor::new(&shape, wide.chunks(len).map(|r| deviation(r) as f32).collect())?);
        }
        Ok(out)
    }
}

impl Operator for Lrn {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        if self.size == 0 {
            return Err(Error::graph("size: expected at least 1, found 0"));
        }
        images(cx, 0..0)
    }
    fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
        let x = cx.input(0)?;
        if x.dtype != DType::F32 {
            return Ok(Lowered::Interpreted);
        }
        let shape = [x.shape[0], x.shape[1], x.shape[2..].iter().product()];
        let f = kernel::LocalResponse::new(cx.isa(), shape, self.size, self.alpha, self.beta, self.bias)?;
        let run = move |io: &mut Io<'_>, par: &dyn Parallel| done(f.apply(io.input(0), io.output(0), par));
        Ok(Compute::function("across channels", run).into())
    }
}

impl Evaluate for Lrn {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let x = operand(inputs, 0)?;
        let d = f64::from;
        let (alpha, beta, k) = (d(self.alpha), d(self.beta), d(self.bias));
        result(reference::local_response(&x.to_f64(), x.shape(), self.size, alpha, beta, k), x)
    }
}
