//! Constants stored in the packed form in which a kernel reads them.
//!
//! A form is a permutation of the elements with zeros in between, the same on every machine. A constant in a form still has its logical
//! type and shape: whoever asks for its elements gets them, in logical order, from a copy that is made at the first question. Kernels ask
//! for the form instead ([`crate::plan::LowerCx::stored`]) and read the file's bytes in place. [`Form::Points`] alone is computed from the
//! elements, which are then kept beside it.

use super::map::{ALIGN, OwnedBytes, bytes_of};
use crate::{DType, Element, Error, Result, Tensor, checked_len};
use half::{bf16, f16};
use pocketnn_kernels::conv::{ConvForm, Form as Winograd, PointsForm};
use pocketnn_kernels::gemm::DenseForm;
use pocketnn_kernels::isa::Isa;
use pocketnn_kernels::layout::BLOCK;
use serde_json::{Map, Value, json};
use std::sync::{Arc, OnceLock};

/// A packed form. What it does not say follows from the constant's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// Weights `[O, C / groups, kernel..]` of a convolution: [`ConvForm`].
    Conv {
        /// Groups of channels.
        groups: usize,
        /// Input channels side by side in memory.
        per_block: usize,
    },
    /// Weights `[O, K]` of a dense layer: [`DenseForm`].
    Dense {
        /// Channels and positions of the image whose flattened channel blocks the layer reads; `None` for a plain row.
        image: Option<(usize, usize)>,
    },
    /// The right operand `[K, N]` of a product: [`DenseForm`] of its transpose.
    Product,
    /// Values at the points of minimal filtering, computed from the weights `[O, C, 3, 3]` of a convolution: [`PointsForm`]. The weights
    /// themselves do not follow from them and are stored as well.
    Points {
        /// Outputs of a tile on each axis: 2 or 4.
        edge: usize,
    },
}

impl Form {
    /// Kind and version, as in files.
    fn name(&self) -> String {
        match self {
            Form::Conv { .. } => format!("conv {}", ConvForm::VERSION),
            Form::Dense { .. } => format!("dense {}", DenseForm::VERSION),
            Form::Product => format!("product {}", DenseForm::VERSION),
            Form::Points { .. } => format!("points {}", PointsForm::VERSION),
        }
    }
    /// True for a form from which the elements do not follow.
    pub(super) fn is_derived(&self) -> bool {
        matches!(self, Form::Points { .. })
    }
    fn points(&self, shape: &[usize]) -> Result<PointsForm> {
        let form = match self {
            Form::Points { edge: 2 } => Winograd::Two,
            Form::Points { edge: 4 } => Winograd::Four,
            other => return Err(Error::graph(format!("no packed form {other:?}"))),
        };
        match *shape {
            [outputs, inputs, 3, 3] => Ok(PointsForm::new(outputs, inputs, form)?),
            _ => Err(Error::graph(format!("a constant of shape {shape:?} has no packed form {self:?}"))),
        }
    }
    /// The entry of a file.
    pub(super) fn to_json(self, shape: &[usize]) -> Value {
        let mut entry = json!({ "form": self.name(), "shape": shape });
        match self {
            Form::Conv { groups, per_block } => {
                entry["groups"] = json!(groups);
                entry["block"] = json!(per_block);
            }
            Form::Dense { image: Some((channels, positions)) } => {
                entry["channels"] = json!(channels);
                entry["positions"] = json!(positions);
            }
            Form::Points { edge } => entry["edge"] = json!(edge),
            Form::Dense { image: None } | Form::Product => {}
        }
        entry
    }
    /// The form and the logical shape of an entry.
    pub(super) fn from_json(entry: &Map<String, Value>) -> Result<(Self, Vec<usize>)> {
        let number = |v: &Value| v.as_u64().and_then(|n| usize::try_from(n).ok());
        let field = |k: &str| {
            let n = entry.get(k).and_then(number);
            n.ok_or_else(|| Error::format(format!("`packed`: expected a number `{k}`")))
        };
        let shape: Option<Vec<usize>> =
            entry.get("shape").and_then(Value::as_array).and_then(|s| s.iter().map(number).collect());
        let shape = shape.ok_or_else(|| Error::format("`packed`: expected a list `shape`"))?;
        let name = entry.get("form").and_then(Value::as_str).unwrap_or_default();
        let form = match name.split(' ').next() {
            Some("conv") => Form::Conv { groups: field("groups")?, per_block: field("block")? },
            Some("dense") if entry.contains_key("channels") => {
                Form::Dense { image: Some((field("channels")?, field("positions")?)) }
            }
            Some("dense") => Form::Dense { image: None },
            Some("product") => Form::Product,
            Some("points") => Form::Points { edge: field("edge")? },
            _ => return Err(unknown(name)),
        };
        if form.name() != name {
            return Err(unknown(name));
        }
        if checked_len(&shape)? == 0 {
            return Err(Error::format(format!("`packed`: a constant of shape {shape:?} has nothing to pack")));
        }
        Ok((form, shape))
    }
    /// Elements of the form of a constant of this shape, filled up to whole cache lines.
    ///
    /// # Errors
    /// When the shape does not fit the form.
    pub fn stored_len(&self, shape: &[usize]) -> Result<usize> {
        let n = if self.is_derived() {
            self.points(shape)?.len()
        } else {
            match self.permutation(shape)? {
                Permutation::Conv(form) => form.len(),
                Permutation::Dense { form, .. } => form.len(),
            }
        };
        Ok(n.next_multiple_of(ALIGN / size_of::<f16>()))
    }
    /// True for element types that a kernel reads in this form.
    pub fn fits(&self, dtype: DType) -> bool {
        dtype == DType::F32 || (matches!(dtype, DType::F16 | DType::BF16) && matches!(self, Form::Dense { .. }))
    }
    /// The same constant, stored in this form.
    ///
    /// # Errors
    /// When type or shape do not fit the form.
    pub fn pack(&self, t: &Tensor) -> Result<Tensor> {
        let mut stored = Tensor::zeros(t.dtype(), &[self.stored_len(t.shape())?])?;
        match t.dtype() {
            DType::F32 if self.is_derived() => {
                let points = self.points(t.shape())?;
                points.compute(Isa::detect(), t.as_slice::<f32>()?, stored.as_mut_slice::<f32>()?)?;
                return Tensor::packed(*self, t.shape(), stored, Some(t.clone()));
            }
            DType::F32 => {
                let p = self.permutation(t.shape())?;
                p.pack(t.as_slice::<f32>()?, stored.as_mut_slice::<f32>()?);
            }
            DType::F16 if self.fits(DType::F16) => {
                self.permutation(t.shape())?.pack(t.as_slice::<f16>()?, stored.as_mut_slice::<f16>()?);
            }
            DType::BF16 if self.fits(DType::BF16) => {
                self.permutation(t.shape())?.pack(t.as_slice::<bf16>()?, stored.as_mut_slice::<bf16>()?);
            }
            other => return Err(Error::argument(format!("no packed form {self:?} of {other}"))),
        }
        Tensor::packed(*self, t.shape(), stored, None)
    }
    fn permutation(&self, shape: &[usize]) -> Result<Permutation> {
        let misfit = || Error::graph(format!("a constant of shape {shape:?} has no packed form {self:?}"));
        checked_len(shape)?;
        match (*self, shape) {
            (Form::Conv { groups, per_block }, &[outputs, per_group, ref kernel @ ..]) => {
                Ok(Permutation::Conv(ConvForm::new(outputs, per_group, kernel.iter().product(), groups, per_block)?))
            }
            (Form::Dense { image: None }, &[outputs, inputs]) => {
                Ok(Permutation::Dense { form: DenseForm { inputs, outputs }, source: Source::Rows(inputs) })
            }
            (Form::Dense { image: Some((channels, positions)) }, &[outputs, inputs])
                if channels.checked_mul(positions) == Some(inputs) =>
            {
                let stored = channels.next_multiple_of(BLOCK) * positions;
                let source = Source::Image { channels, positions };
                Ok(Permutation::Dense { form: DenseForm { inputs: stored, outputs }, source })
            }
            (Form::Product, &[inputs, outputs]) => {
                Ok(Permutation::Dense { form: DenseForm { inputs, outputs }, source: Source::Columns(outputs) })
            }
            _ => Err(misfit()),
        }
    }
}

impl From<Winograd> for Form {
    fn from(form: Winograd) -> Self {
        Form::Points { edge: if form == Winograd::Two { 2 } else { 4 } }
    }
}

fn unknown(name: &str) -> Error {
    let forms =
        [Form::Conv { groups: 1, per_block: 1 }, Form::Dense { image: None }, Form::Product, Form::Points { edge: 4 }];
    let known = forms.map(|f| f.name());
    let message = format!(
        "weights are packed in the form `{name}`, this pocketnn knows {}; update it, or convert the model again without --pack",
        known.join(", ")
    );
    Error::unsupported(message)
}

enum Permutation {
    Conv(ConvForm),
    Dense { form: DenseForm, source: Source },
}

/// Where weight (output, input) of a dense form lies in the constant.
#[derive(Clone, Copy)]
enum Source {
    Rows(usize),
    Columns(usize),
    /// Inputs come in channel blocks; those past the last channel lie nowhere.
    Image {
        channels: usize,
        positions: usize,
    },
}

impl Source {
    #[inline]
    fn at(self, o: usize, k: usize) -> Option<usize> {
        match self {
            Source::Rows(inputs) => Some(o * inputs + k),
            Source::Columns(outputs) => Some(k * outputs + o),
            Source::Image { channels, positions } => {
                let (cell, lane) = (k / BLOCK, k % BLOCK);
                let c = cell / positions * BLOCK + lane;
                (c < channels).then(|| (o * channels + c) * positions + cell % positions)
            }
        }
    }
}

impl Permutation {
    /// Calls `f(place in the form, place in the constant)` for every element.
    #[inline]
    fn for_each(&self, mut f: impl FnMut(usize, usize)) {
        match self {
            Permutation::Conv(form) => form.for_each(f),
            Permutation::Dense { form, source } => match *source {
                // Told apart out here, so that the inner loops are plain.
                Source::Rows(inputs) => form.for_each(|at, o, k| f(at, o * inputs + k)),
                Source::Columns(outputs) => form.for_each(|at, o, k| f(at, k * outputs + o)),
                source @ Source::Image { .. } => form.for_each(|at, o, k| {
                    if let Some(from) = source.at(o, k) {
                        f(at, from);
                    }
                }),
            },
        }
    }
    fn pack<T: Copy>(&self, plain: &[T], stored: &mut [T]) {
        self.for_each(|at, from| stored[at] = plain[from]);
    }
    fn unpack<T: Copy>(&self, stored: &[T], plain: &mut [T]) {
        self.for_each(|at, to| plain[to] = stored[at]);
    }
}

/// The elements of a constant in a packed form, and in logical order once somebody asked for that.
pub struct PackedBytes {
    form: Form,
    shape: Vec<usize>,
    stored: Tensor,
    /// The constant itself, where it does not follow from what is stored.
    source: Option<Tensor>,
    plain: OnceLock<OwnedBytes>,
}

impl PackedBytes {
    /// # Errors
    /// When `stored` has not the type and length that the form of this shape needs.
    pub(crate) fn new(form: Form, shape: &[usize], stored: Tensor, source: Option<Tensor>) -> Result<Self> {
        // Every element is stored, so the shape is no larger than what is there; only then is the form computed.
        let (elements, found) = (checked_len(shape)?, stored.len());
        let own = |t: &Tensor| t.shape() == shape && t.dtype() == stored.dtype() && t.stored().is_none();
        let sources = source.is_some() == form.is_derived() && source.as_ref().is_none_or(own);
        let fits = sources && form.fits(stored.dtype()) && stored.rank() == 1;
        if elements > found || !fits || form.stored_len(shape)? != found {
            let have = format!("{}{:?}", stored.dtype(), stored.shape());
            return Err(Error::format(format!("a constant of shape {shape:?} packed as {form:?} cannot be {have}")));
        }
        Ok(Self { form, shape: shape.to_vec(), stored, source, plain: OnceLock::new() })
    }
    /// The logical shape.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }
    /// The form.
    pub fn form(&self) -> Form {
        self.form
    }
    /// The packed elements.
    pub fn stored(&self) -> &Tensor {
        &self.stored
    }
    /// The constant as it was, where it is kept beside its form.
    pub fn source(&self) -> Option<&Tensor> {
        self.source.as_ref()
    }
    /// The elements in logical order.
    pub fn plain(&self) -> &[u8] {
        if let Some(source) = &self.source {
            return source.bytes();
        }
        let bytes = self.plain.get_or_init(|| match self.stored.dtype() {
            DType::F16 => owned(&self.unpacked::<f16>()),
            DType::BF16 => owned(&self.unpacked::<bf16>()),
            _ => owned(&self.unpacked::<f32>()),
        });
        bytes.as_slice()
    }
    /// A copy of the elements in logical order that is not kept here.
    pub(crate) fn unpacked<T: Element>(&self) -> Vec<T> {
        if let Some(elements) = self.source.as_ref().and_then(|s| s.as_slice::<T>().ok()) {
            return elements.to_vec();
        }
        let mut plain = vec![T::default(); self.shape.iter().product()];
        // Type and shape were checked when the constant was made.
        if let (Ok(p), Ok(stored)) = (self.form.permutation(&self.shape), self.stored.as_slice::<T>()) {
            p.unpack(stored, &mut plain);
        }
        plain
    }
}

fn owned<T: Element>(x: &[T]) -> OwnedBytes {
    let mut bytes = OwnedBytes::zeroed(size_of_val(x));
    bytes.as_mut_slice().copy_from_slice(bytes_of(x));
    bytes
}

/// Packed elements as a kernel keeps them: where they were stored, or in a copy once there is one.
pub(crate) struct Kept<T> {
    tensor: Tensor,
    copy: Arc<OnceLock<Tensor>>,
    element: std::marker::PhantomData<T>,
}

impl<T: Element> Kept<T> {
    /// `None` when the elements are not of type `T`. What `copy` will hold must be equal.
    pub fn new(tensor: &Tensor, copy: Arc<OnceLock<Tensor>>) -> Option<Self> {
        (tensor.dtype() == T::DTYPE).then(|| Self { tensor: tensor.clone(), copy, element: std::marker::PhantomData })
    }
}

impl<T: Element> AsRef<[T]> for Kept<T> {
    fn as_ref(&self) -> &[T] {
        super::map::cast(self.copy.get().unwrap_or(&self.tensor).bytes())
    }
}
