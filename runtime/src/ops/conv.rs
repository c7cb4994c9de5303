//! Convolutions.

pub(crate) mod lower;
mod overlap;

pub use overlap::Col2Im;

use super::activation::Activation;
use super::attrs::{AttrValue, attributes};
use super::infer::{Fact, Infer, ValueType};
use super::{Evaluate, Operator};
use crate::dim::show_shape;
use crate::format::packed::Form;
use crate::plan::{FormatCx, Formats, Halo, LowerCx, Lowered};
use crate::{DType, Dim, Error, Result, Tensor};
use pocketnn_kernels::reference::{self, conv::ConvParams};

/// Padding of the spatial axes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Pads {
    /// Begin and end of each spatial axis; empty lists mean 0.
    Explicit {
        /// Before each axis.
        begin: Vec<usize>,
        /// After each axis.
        end: Vec<usize>,
    },
    /// Output size `ceil(input / stride)`, the odd one at the end (Keras, TensorFlow, ONNX `SAME_UPPER`).
    SameUpper,
    /// As [`Pads::SameUpper`] with the odd one at the beginning (ONNX `SAME_LOWER`).
    SameLower,
}

impl Default for Pads {
    fn default() -> Self {
        Pads::Explicit { begin: Vec::new(), end: Vec::new() }
    }
}

impl Pads {
    /// The same padding before and after every axis.
    pub fn symmetric(pads: &[usize]) -> Self {
        Pads::Explicit { begin: pads.to_vec(), end: pads.to_vec() }
    }
}

impl AttrValue for Pads {
    const EXPECTED: &str = "`same_upper`, `same_lower` or [[begin...], [end...]]";
    fn to_json(&self) -> serde_json::Value {
        match self {
            Pads::Explicit { begin, end } => vec![begin.clone(), end.clone()].to_json(),
            Pads::SameUpper => "same_upper".into(),
            Pads::SameLower => "same_lower".into(),
        }
    }
    fn from_json(v: &serde_json::Value) -> Option<Self> {
        match v.as_str() {
            Some("same_upper") => Some(Pads::SameUpper),
            Some("same_lower") => Some(Pads::SameLower),
            Some(_) => None,
            None => {
                let [begin, end] = Vec::<Vec<usize>>::from_json(v)?.try_into().ok()?;
                Some(Pads::Explicit { begin, end })
            }
        }
    }
}

attributes! {
    /// Convolution of any spatial rank. Inputs `x [N, C, spatial...]`, `w [O, C/groups, kernel...]`, optional `b [O]`,
    /// optional `residual` of the output's shape, added before the activation.
    /// Cross-correlation, as in every framework: kernels are not flipped.
    pub struct Conv {
        /// Step of each spatial axis; empty means 1.
        pub strides: Vec<usize> = vec![],
        /// Distance of the kernel's taps; empty means 1.
        pub dilations: Vec<usize> = vec![],
        /// Padding with zeros.
        pub pads: Pads = Pads::default(),
        /// Groups of channels that do not mix.
        pub groups: usize = 1,
        /// Applied to the sums.
        pub activation: Activation = Activation::Identity,
    }
    /// Transposed convolution. Inputs `x [N, C, spatial...]`, `w [C, O/groups, kernel...]`, optional `b [O]`.
    /// Output extent `stride * (in - 1) + output_padding + dilation * (k - 1) + 1 - begin - end`; with `Pads::Same*` it is
    /// `in * stride` (ONNX's rule for where the difference goes).
    pub struct ConvTranspose {
        /// Step of each spatial axis in the output; empty means 1.
        pub strides: Vec<usize> = vec![],
        /// Distance of the kernel's taps; empty means 1.
        pub dilations: Vec<usize> = vec![],
        /// What is cut from the full output.
        pub pads: Pads = Pads::default(),
        /// Added at the end of each axis; empty means 0.
        pub output_padding: Vec<usize> = vec![],
        /// Groups of channels that do not mix.
        pub groups: usize = 1,
        /// Applied to the sums.
        pub activation: Activation = Activation::Identity,
    }
}

impl Operator for Conv {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let (x, w) = (image(cx, 0)?, weights(cx)?);
        let rank = x.len() - 2;
        let window = Steps::new(rank, &self.strides, &self.dilations)?;
        check_groups(self.groups)?;
        agree("channels", &x[1], &(w[1].clone() * Dim::from(self.groups)), "input 0", "input 1 times the groups")?;
        if let Some(o) = w[0].known()
            && !o.is_multiple_of(self.groups)
        {
            return Err(Error::graph(format!("{o} output channels cannot be split in {} groups", self.groups)));
        }
        check_bias(cx, &w[0])?;
        let mut shape = vec![x[0].clone(), w[0].clone()];
        for i in 0..rank {
            shape.push(window.output(i, &x[i + 2], &w[i + 2], &self.pads, false)?);
        }
        check_residual(cx, &shape)?;
        Ok(vec![ValueType::new(cx.dtype(0)?, shape)])
    }
    fn formats(&self, cx: &FormatCx) -> Formats {
        lower::formats(cx)
    }
    fn halo(&self, cx: &FormatCx, input: usize) -> Halo {
        lower::halo(self, cx, input)
    }
    fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
        lower::lower(self, cx)
    }
    fn packed(&self, cx: &LowerCx) -> Vec<(usize, Form)> {
        lower::packed(self, cx)
    }
    fn macs(&self, inputs: &[Option<&Fact>], outputs: &[ValueType]) -> u64 {
        let (Some(w), Some(y)) = (weight_shape(inputs), outputs.first().and_then(ValueType::known_shape)) else {
            return 0;
        };
        count(y.iter().chain(&w[1..]))
    }
}

impl Evaluate for Conv {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let (x, w) = (operand(inputs, 0)?, operand(inputs, 1)?);
        let params = self.params(&x.shape()[2..], &w.shape()[2..])?;
        let bias = inputs.get(2).copied().flatten().map(Tensor::to_f32);
        let (mut y, shape) =
            reference::conv::conv(&x.to_f32(), x.shape(), &w.to_f32(), w.shape(), bias.as_deref(), &params);
        if let Some(r) = inputs.get(3).copied().flatten() {
            y.iter_mut().zip(r.to_f32()).for_each(|(y, r)| *y += r);
        }
        activate(&self.activation, &mut y);
        Ok(vec![float_tensor(&shape, y, x.dtype())?])
    }
}

impl Operator for ConvTranspose {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let (x, w) = (image(cx, 0)?, weights(cx)?);
        let rank = x.len() - 2;
        let steps = Steps::new(rank, &self.strides, &self.dilations)?;
        let extra = per_axis("output_padding", &self.output_padding, rank, 0)?;
        check_groups(self.groups)?;
        agree("channels", &x[1], &w[0], "input 0", "input 1")?;
        if let Some(c) = x[1].known()
            && !c.is_multiple_of(self.groups)
        {
            return Err(Error::graph(format!("{c} input channels cannot be split in {} groups", self.groups)));
        }
        let channels = w[1].clone() * Dim::from(self.groups);
        check_bias(cx, &channels)?;
        let mut shape = vec![x[0].clone(), channels];
        for i in 0..rank {
            let (size, stride) = (&x[i + 2], Dim::from(steps.stride[i]));
            let out = match &self.pads {
                Pads::SameUpper | Pads::SameLower => size.clone() * stride,
                Pads::Explicit { begin, end } => {
                    let cut = per_axis("pads", begin, rank, 0)?[i] + per_axis("pads", end, rank, 0)?[i];
                    let full = (size.clone() - Dim::from(1)) * stride + Dim::from(extra[i]) + steps.span(i, &w[i + 2]);
                    full - Dim::from(cut)
                }
            };
            if out.known_signed().is_some_and(|n| n < 0) {
                return Err(Error::graph(format!("spatial axis {i}: the pads cut off more than the whole output")));
            }
            shape.push(out);
        }
        Ok(vec![ValueType::new(cx.dtype(0)?, shape)])
    }
    fn formats(&self, cx: &FormatCx) -> Formats {
        lower::formats_transposed(self, cx)
    }
    fn halo(&self, cx: &FormatCx, input: usize) -> Halo {
        lower::halo_transposed(self, cx, input)
    }
    fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
        lower::lower_transposed(self, cx)
    }
    fn macs(&self, inputs: &[Option<&Fact>], _outputs: &[ValueType]) -> u64 {
        let x = inputs.first().copied().flatten().and_then(|f| f.ty.known_shape());
        let (Some(w), Some(x)) = (weight_shape(inputs), x) else { return 0 };
        count(x.iter().chain(&w[1..]))
    }
}

impl Evaluate for ConvTranspose {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let (x, w) = (operand(inputs, 0)?, operand(inputs, 1)?);
        let params = self.params(&w.shape()[2..])?;
        let bias = inputs.get(2).copied().flatten().map(Tensor::to_f32);
        let (mut y, shape) =
            reference::conv::conv_transpose(&x.to_f32(), x.shape(), &w.to_f32(), w.shape(), bias.as_deref(), &params);
        activate(&self.activation, &mut y);
        Ok(vec![float_tensor(&shape, y, x.dtype())?])
    }
}

impl ConvTranspose {
    /// Attributes with one entry per spatial axis and explicit pads, for a kernel of these extents.
    ///
    /// # Errors
    /// When a list has the wrong length or an entry is out of range.
    pub fn params(&self, kernel: &[usize]) -> Result<ConvParams> {
        let rank = kernel.len();
        let steps = Steps::new(rank, &self.strides, &self.dilations)?;
        let mut output_padding = per_axis("output_padding", &self.output_padding, rank, 0)?;
        let mut pads = Vec::with_capacity(rank);
        for i in 0..rank {
            let full = extent(kernel[i], steps.dilation[i])? + output_padding[i];
            pads.push(match &self.pads {
                Pads::Explicit { begin, end } => {
                    (per_axis("pads", begin, rank, 0)?[i], per_axis("pads", end, rank, 0)?[i])
                }
                same => {
                    let cut = full.saturating_sub(steps.stride[i]);
                    output_padding[i] += steps.stride[i].saturating_sub(full);
                    if *same == Pads::SameUpper { (cut / 2, cut - cut / 2) } else { (cut - cut / 2, cut / 2) }
                }
            });
        }
        let Steps { stride, dilation } = steps;
        Ok(ConvParams { stride, dilation, pads, groups: self.groups, output_padding })
    }
}

impl Conv {
    /// Attributes with one entry per spatial axis and explicit pads, for an image and a kernel of these extents.
    ///
    /// # Errors
    /// When a list has the wrong length or an entry is out of range.
    pub fn params(&self, size: &[usize], kernel: &[usize]) -> Result<ConvParams> {
        let steps = Steps::new(kernel.len(), &self.strides, &self.dilations)?;
        let pads = steps.resolve(&self.pads, size, kernel)?;
        let Steps { stride, dilation } = steps;
        Ok(ConvParams { stride, dilation, pads, groups: self.groups, output_padding: vec![0; kernel.len()] })
    }
}

/// Largest attribute of a window; keeps sums and products of attributes and extents far from overflow.
const LARGEST: usize = 1 << 31;

/// Strides and dilations, one entry per spatial axis.
pub(crate) struct Steps {
    pub stride: Vec<usize>,
    pub dilation: Vec<usize>,
}

impl Steps {
    pub(crate) fn new(rank: usize, strides: &[usize], dilations: &[usize]) -> Result<Self> {
        if !(1..=3).contains(&rank) {
            return Err(Error::unsupported(format!("expected one to three spatial axes, found {rank}")));
        }
        let (stride, dilation) = (per_axis("strides", strides, rank, 1)?, per_axis("dilations", dilations, rank, 1)?);
        if stride.contains(&0) || dilation.contains(&0) {
            return Err(Error::graph("strides and dilations must be at least 1".to_string()));
        }
        Ok(Self { stride, dilation })
    }
    /// Positions that a kernel covers: `(kernel - 1) * dilation + 1`.
    fn span(&self, axis: usize, kernel: &Dim) -> Dim {
        (kernel.clone() - Dim::from(1)) * Dim::from(self.dilation[axis]) + Dim::from(1)
    }
    /// Output extent of an axis.
    pub(crate) fn output(&self, axis: usize, size: &Dim, kernel: &Dim, pads: &Pads, ceil: bool) -> Result<Dim> {
        if kernel.known() == Some(0) {
            return Err(Error::graph(format!("spatial axis {axis}: the kernel is empty")));
        }
        let (stride, rank) = (Dim::from(self.stride[axis]), self.stride.len());
        let Pads::Explicit { begin, end } = pads else { return Ok(size.div_ceil(&stride)) };
        let before = size.clone() + Dim::from(per_axis("pads", begin, rank, 0)?[axis]);
        let padded = before.clone() + Dim::from(per_axis("pads", end, rank, 0)?[axis]);
        let span = self.span(axis, kernel);
        let free = padded.clone() - span.clone();
        if free.known_signed().is_some_and(|n| n < 0) {
            let message =
                format!("spatial axis {axis}: the kernel spans {span} positions, the padded input has {padded}");
            return Err(Error::graph(message));
        }
        let one = Dim::from(1);
        Ok(if ceil {
            // A window that would start in the padding after the data is left out.
            (free.div_ceil(&stride) + one).smaller(&before.div_ceil(&stride))
        } else {
            free.div_floor(&stride) + one
        })
    }
    /// Explicit padding of every axis of an image of this size.
    pub(crate) fn resolve(&self, pads: &Pads, size: &[usize], kernel: &[usize]) -> Result<Vec<(usize, usize)>> {
        let rank = self.stride.len();
        if let Pads::Explicit { begin, end } = pads {
            return Ok(per_axis("pads", begin, rank, 0)?.into_iter().zip(per_axis("pads", end, rank, 0)?).collect());
        }
        (0..rank)
            .map(|i| {
                let reach = size[i].div_ceil(self.stride[i]).saturating_sub(1) * self.stride[i];
                let total = (reach + extent(kernel[i], self.dilation[i])?).saturating_sub(size[i]);
                let half = total / 2;
                Ok(if *pads == Pads::SameUpper { (half, total - half) } else { (total - half, half) })
            })
            .collect()
    }
}

fn extent(kernel: usize, dilation: usize) -> Result<usize> {
    let span = kernel.checked_sub(1).and_then(|k| k.checked_mul(dilation)).filter(|&s| s < LARGEST);
    span.map(|s| s + 1)
        .ok_or_else(|| Error::graph(format!("a kernel of {kernel} taps {dilation} apart is not possible")))
}

/// A list with one entry per spatial axis; empty means `default` everywhere.
pub(crate) fn per_axis(name: &str, list: &[usize], rank: usize, default: usize) -> Result<Vec<usize>> {
    if list.is_empty() {
        return Ok(vec![default; rank]);
    }
    if list.len() != rank {
        return Err(Error::graph(format!("{name}: expected {rank} entries, one per spatial axis, found {list:?}")));
    }
    if let Some(n) = list.iter().find(|&&n| n >= LARGEST) {
        return Err(Error::graph(format!("{name}: {n} is beyond the limit of {LARGEST}")));
    }
    Ok(list.to_vec())
}

/// The shape of an image input: batch, channels and at least one spatial axis.
pub(crate) fn image<'a>(cx: &Infer<'a>, input: usize) -> Result<&'a [Dim]> {
    let shape = cx.shape(input)?;
    if shape.len() < 3 {
        let message = format!("input {input}: expected [N, C, spatial...], found {}", show_shape(shape));
        return Err(Error::graph(message));
    }
    Ok(shape)
}

fn weights<'a>(cx: &Infer<'a>) -> Result<&'a [Dim]> {
    let (x, w) = (cx.shape(0)?, cx.shape(1)?);
    if !cx.dtype(0)?.is_float() {
        return Err(Error::graph(format!("input 0: expected floats, found {}", cx.dtype(0)?)));
    }
    if x.len() != w.len() {
        let message = format!("input 1: expected {} dimensions, as many as input 0, found {}", x.len(), show_shape(w));
        return Err(Error::graph(message));
    }
    Ok(w)
}

pub(crate) fn agree(what: &str, a: &Dim, b: &Dim, of_a: &str, of_b: &str) -> Result<()> {
    match (a.known(), b.known()) {
        (Some(p), Some(q)) if p != q => Err(Error::graph(format!("{what}: {p} in {of_a}, {q} in {of_b}"))),
        _ => Ok(()),
    }
}

fn check_groups(groups: usize) -> Result<()> {
    if (1..LARGEST).contains(&groups) {
        Ok(())
    } else {
        Err(Error::graph(format!("groups: expected at least 1 and less than {LARGEST}, found {groups}")))
    }
}

/// Checks that input 2, if there, is a vector of `channels`.
pub(crate) fn check_bias(cx: &Infer, channels: &Dim) -> Result<()> {
    let Some(bias) = cx.fact(2) else { return Ok(()) };
    match bias.ty.shape.as_slice() {
        [n] => agree("bias", n, channels, "input 2", "the output's channels"),
        other => Err(Error::graph(format!("input 2: expected [{channels}], found {}", show_shape(other)))),
    }
}

/// Checks that input 3, if there, has the output's shape.
fn check_residual(cx: &Infer, shape: &[Dim]) -> Result<()> {
    let Some(residual) = cx.fact(3) else { return Ok(()) };
    let found = &residual.ty.shape;
    if found.len() != shape.len() {
        return Err(Error::graph(format!("input 3: expected {}, found {}", show_shape(shape), show_shape(found))));
    }
    found.iter().zip(shape).try_for_each(|(a, b)| agree("residual", a, b, "input 3", "the output"))
}

/// Applies an activation in place.
pub(crate) fn activate(a: &Activation, y: &mut [f32]) {
    if *a != Activation::Identity {
        y.iter_mut().for_each(|v| *v = reference::activation::eval(a, f64::from(*v)) as f32);
    }
}

/// A required input of an evaluation.
pub(crate) fn operand<'a>(inputs: &[Option<&'a Tensor>], i: usize) -> Result<&'a Tensor> {
    inputs.get(i).copied().flatten().ok_or_else(|| Error::graph(format!("input {i} is missing")))
}

/// A tensor of a floating-point type from `f32` results.
pub(crate) fn float_tensor(shape: &[usize], y: Vec<f32>, dtype: DType) -> Result<Tensor> {
    let y = Tensor::new(shape, y)?;
    if dtype == DType::F32 { Ok(y) } else { super::elementwise::cast(&y, dtype) }
}

fn weight_shape(inputs: &[Option<&Fact>]) -> Option<Vec<usize>> {
    inputs.get(1).copied().flatten()?.ty.known_shape()
}

/// Product of extents, saturating.
pub(crate) fn count<'a>(extents: impl IntoIterator<Item = &'a usize>) -> u64 {
    extents.into_iter().fold(1, |a: u64, &b| a.saturating_mul(b as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(shapes: &[Vec<Dim>]) -> Vec<Fact> {
        shapes.iter().map(|s| Fact::of_type(ValueType::new(DType::F32, s.clone()))).collect()
    }
    fn infer(op: &dyn Operator, shapes: &[Vec<Dim>]) -> Result<Vec<Dim>> {
        let facts = facts(shapes);
        let inputs: Vec<Option<&Fact>> = facts.iter().map(Some).collect();
        Ok(op.infer(&Infer::new(&inputs, 1))?.remove(0).shape)
    }
    fn dims(shape: &[usize]) -> Vec<Dim> {
        shape.iter().map(|&d| Dim::from(d)).collect()
    }

    #[test]
    fn inferred_and_computed_shapes_agree() {
        for pads in [Pads::SameUpper, Pads::SameLower, Pads::Explicit { begin: vec![1, 0], end: vec![0, 3] }] {
            for strides in [vec![], vec![2, 3]] {
                let (x, w) = (Tensor::zeros(DType::F32, &[2, 4, 9, 7]), Tensor::zeros(DType::F32, &[4, 2, 3, 2]));
                let (x, w) = (x.unwrap(), w.unwrap());
                let shapes = [dims(x.shape()), dims(w.shape())];
                let conv = Conv { strides: strides.clone(), pads: pads.clone(), groups: 2, ..Conv::default() };
                let y = conv.eval(&[Some(&x), Some(&w)], 1).unwrap().remove(0);
                assert_eq!(dims(y.shape()), infer(&conv, &shapes).unwrap(), "{conv:?}");
                let up = ConvTranspose {
                    strides: strides.clone(),
                    pads: pads.clone(),
                    groups: 2,
                    ..ConvTranspose::default()
                };
                let y = up.eval(&[Some(&x), Some(&w)], 1).unwrap().remove(0);
                assert_eq!(dims(y.shape()), infer(&up, &shapes).unwrap(), "{up:?}");
            }
        }
    }

    #[test]
    fn symbols_pass_through() {
        let x = vec![Dim::symbol("N"), Dim::from(3), Dim::symbol("H"), Dim::from(8)];
        let conv = Conv { strides: vec![2, 2], pads: Pads::symmetric(&[1, 1]), ..Conv::default() };
        let y = infer(&conv, &[x, dims(&[5, 3, 3, 3])]).unwrap();
        assert_eq!(show_shape(&y), "[N, 5, floor((H-1)/(2))+1, 4]");
    }

    #[test]
    fn misfits_are_errors() {
        let x = dims(&[1, 3, 4, 4]);
        let cases: [(Conv, &[usize], &str); 6] = [
            (Conv::default(), &[5, 4, 3, 3], "channels: 3 in input 0, 4 in"),
            (Conv::default(), &[5, 3, 5, 3], "spans 5 positions, the padded input has 4"),
            (Conv::default(), &[5, 3, 0, 3], "kernel is empty"),
            (Conv { strides: vec![0, 1], ..Conv::default() }, &[5, 3, 3, 3], "at least 1"),
            (Conv { strides: vec![1], ..Conv::default() }, &[5, 3, 3, 3], "strides: expected 2 entries"),
            (Conv { groups: 3, ..Conv::default() }, &[5, 1, 3, 3], "5 output channels"),
        ];
        for (op, w, message) in cases {
            let e = infer(&op, &[x.clone(), dims(w)]).unwrap_err().to_string();
            assert!(e.contains(message), "{e}");
        }
    }
}
