//! Views of arrays: how callers hand tensors in and get them back.

use crate::format::map::{bytes_of, cast};
use crate::{DType, Element, Error, Result, Tensor};
use ndarray::{ArrayViewD, IxDyn};
use std::borrow::Cow;

/// A borrowed row-major tensor. Made from `ndarray` views (copied only when they are not in standard order) or from [`Tensor`]s.
///
/// ```
/// use pocketnn::{View, ndarray::array};
/// let a = array![[1.0f32, 2.0], [3.0, 4.0]];
/// let v = View::from(a.view());
/// assert_eq!(v.shape(), [2, 2]);
/// assert_eq!(v.array::<f32>()?, a.view().into_dyn());
/// # Ok::<(), pocketnn::Error>(())
/// ```
#[derive(Clone)]
pub struct View<'a> {
    dtype: DType,
    shape: Cow<'a, [usize]>,
    data: Data<'a>,
}

#[derive(Clone)]
enum Data<'a> {
    Borrowed(&'a [u8]),
    Owned(Tensor),
}

impl<'a> View<'a> {
    pub(crate) fn new(dtype: DType, shape: &'a [usize], bytes: &'a [u8]) -> Self {
        Self { dtype, shape: Cow::Borrowed(shape), data: Data::Borrowed(bytes) }
    }
    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }
    /// Extents.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }
    /// True when there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The elements as little-endian bytes.
    pub fn bytes(&self) -> &[u8] {
        match &self.data {
            Data::Borrowed(b) => b,
            Data::Owned(t) => t.bytes(),
        }
    }
    /// The elements.
    ///
    /// # Errors
    /// When their type is not `T`.
    pub fn as_slice<T: Element>(&self) -> Result<&[T]> {
        if self.dtype != T::DTYPE {
            return Err(Error::argument(format!("expected a tensor of {}, found {}", T::DTYPE, self.dtype)));
        }
        Ok(cast(self.bytes()))
    }
    /// As an `ndarray` view.
    ///
    /// # Errors
    /// When the elements' type is not `T`.
    pub fn array<T: Element>(&self) -> Result<ArrayViewD<'_, T>> {
        let view = ArrayViewD::from_shape(IxDyn(&self.shape), self.as_slice::<T>()?);
        view.map_err(|e| Error::argument(format!("shape {:?}: {e}", self.shape)))
    }
    /// A copy.
    ///
    /// # Errors
    /// When the size overflows.
    pub fn to_tensor(&self) -> Result<Tensor> {
        match &self.data {
            Data::Owned(t) => Ok(t.clone()),
            Data::Borrowed(b) => Tensor::from_bytes(self.dtype, &self.shape, b),
        }
    }
    pub(crate) fn copy_to(&self, out: &mut [u8]) {
        out.copy_from_slice(self.bytes());
    }
    pub(crate) fn same_as(&self, t: &Tensor) -> bool {
        let same = self.dtype == t.dtype() && *self.shape == *t.shape() && self.bytes() == t.bytes();
        same && (self.dtype.size() > 0 || matches!(&self.data, Data::Owned(own) if own == t))
    }
}

impl<'a, T: Element, D: ndarray::Dimension> From<ndarray::ArrayView<'a, T, D>> for View<'a> {
    fn from(a: ndarray::ArrayView<'a, T, D>) -> Self {
        let shape = Cow::Owned(a.shape().to_vec());
        let data = if let Some(s) = a.to_slice() {
            Data::Borrowed(bytes_of(s))
        } else {
            let copy: Vec<T> = a.iter().copied().collect();
            // The number of elements is that of the shape, so this cannot fail.
            Tensor::new(a.shape(), copy).map_or(Data::Borrowed(&[]), Data::Owned)
        };
        Self { dtype: T::DTYPE, shape, data }
    }
}

impl<'a> From<&'a Tensor> for View<'a> {
    fn from(t: &'a Tensor) -> Self {
        if t.dtype().size() == 0 {
            return Self { dtype: t.dtype(), shape: Cow::Borrowed(t.shape()), data: Data::Owned(t.clone()) };
        }
        Self::new(t.dtype(), t.shape(), t.bytes())
    }
}
