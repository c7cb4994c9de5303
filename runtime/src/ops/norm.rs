//! Normalisation.

use super::Operator;
use super::attrs::attributes;
use super::elementwise::{cast, operand};
use super::infer::{Infer, ValueType, broadcast, normalize_axis};
use crate::dim::show_shape;
use crate::kernels::reference::{elementwise, norm as reference};
use crate::{DType, Dim, Error, Result, Tensor};

attributes! {
    /// Batch normalisation in inference: `(x - mean) / sqrt(var + epsilon) * scale + bias` per channel (axis 1).
    /// Inputs `x [N, C, ...]`, `scale`, `bias`, `mean`, `var`, each `[C]`.
    pub struct BatchNorm {
        /// Added to the variance.
        pub epsilon: f32 = 1e-5,
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

impl Operator for BatchNorm {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        for i in 1..5 {
            cx.ty(i)?;
        }
        images(cx, 1..5)
    }
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let x = operand(inputs, 0)?;
        let (mean, variance) = (operand(inputs, 3)?.to_f64(), operand(inputs, 4)?.to_f64());
        let (scale, bias) = (parameter(inputs, 1), parameter(inputs, 2));
        let epsilon = f64::from(self.epsilon);
        let y = reference::batch(&x.to_f64(), x.shape(), &mean, &variance, scale.as_deref(), bias.as_deref(), epsilon);
        result(y, x)
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
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let x = operand(inputs, 0)?;
        let d = f64::from;
        let (alpha, beta, k) = (d(self.alpha), d(self.beta), d(self.bias));
        result(reference::local_response(&x.to_f64(), x.shape(), self.size, alpha, beta, k), x)
    }
}
