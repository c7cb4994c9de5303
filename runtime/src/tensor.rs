//! Tensors: a dtype, a shape and row-major elements.

use crate::format::map::Bytes;
use crate::format::packed::{Form, PackedBytes};
use crate::{DType, Element, Error, Result};
use std::ops::Range;
use std::{fmt, sync::Arc};

/// A tensor in row-major order. Cloning shares the elements.
#[derive(Clone)]
pub struct Tensor {
    dtype: DType,
    shape: Vec<usize>,
    data: Arc<Bytes>,
    /// Byte offset of the first element in `data`.
    start: usize,
    items: Items,
}

/// Elements that are not bytes, in row-major order.
#[derive(Clone, PartialEq)]
enum Items {
    None,
    Texts(Arc<[Arc<str>]>),
    Tensors(Arc<[Tensor]>),
}

impl Tensor {
    /// A tensor of these elements.
    ///
    /// # Errors
    /// When the number of elements is not the product of the shape.
    pub fn new<T: Element>(shape: &[usize], data: Vec<T>) -> Result<Self> {
        let expected = checked_len(shape)?;
        if expected != data.len() {
            let message = format!("a tensor of shape {shape:?} has {expected} elements, found {}", data.len());
            return Err(Error::argument(message));
        }
        Ok(Self::of(T::DTYPE, shape, Bytes::from_vec(data)))
    }
    /// A tensor of rank 0.
    pub fn scalar<T: Element>(x: T) -> Self {
        Self::of(T::DTYPE, &[], Bytes::from_vec(vec![x]))
    }
    /// A tensor of rank 1.
    pub fn vector<T: Element>(x: &[T]) -> Self {
        Self::of(T::DTYPE, &[x.len()], Bytes::from_vec(x.to_vec()))
    }
    fn of(dtype: DType, shape: &[usize], data: Bytes) -> Self {
        Self { dtype, shape: shape.to_vec(), data: Arc::new(data), start: 0, items: Items::None }
    }
    /// A tensor of strings.
    ///
    /// # Errors
    /// When the number of strings is not the product of the shape.
    pub fn texts<S: Into<Arc<str>>>(shape: &[usize], data: impl IntoIterator<Item = S>) -> Result<Self> {
        let texts: Arc<[Arc<str>]> = data.into_iter().map(Into::into).collect();
        let expected = checked_len(shape)?;
        if expected != texts.len() {
            let message = format!("a tensor of shape {shape:?} has {expected} strings, found {}", texts.len());
            return Err(Error::argument(message));
        }
        Ok(Self { items: Items::Texts(texts), ..Self::of(DType::Text, shape, Bytes::zeroed(0)) })
    }
    /// A vector of tensors ([`DType::List`]).
    pub fn list(tensors: Vec<Tensor>) -> Self {
        let empty = Self::of(DType::List, &[tensors.len()], Bytes::zeroed(0));
        Self { items: Items::Tensors(tensors.into()), ..empty }
    }
    /// All elements zero; texts empty.
    ///
    /// # Errors
    /// When the size overflows, or for lists with elements.
    pub fn zeros(dtype: DType, shape: &[usize]) -> Result<Self> {
        let n = checked_bytes(dtype, shape)?;
        match dtype {
            DType::Text => Self::texts(shape, vec![Arc::<str>::from(""); checked_len(shape)?]),
            DType::List if *shape == [0] => Ok(Self::list(Vec::new())),
            DType::List => Err(Error::argument("the elements of a list have no zero")),
            _ => Ok(Self::of(dtype, shape, Bytes::zeroed(n))),
        }
    }
    /// A tensor from little-endian bytes in row-major order. Truth values are made 0 or 1; a narrow element is a byte.
    ///
    /// # Errors
    /// When the number of bytes does not fit the shape, or for text and lists.
    pub fn from_bytes(dtype: DType, shape: &[usize], bytes: &[u8]) -> Result<Self> {
        let n = checked_bytes(dtype, shape)?;
        if dtype.size() == 0 {
            return Err(Error::argument(format!("elements of {dtype} are not bytes")));
        }
        if n != bytes.len() {
            let message = format!("a {dtype} tensor of shape {shape:?} has {n} bytes, found {}", bytes.len());
            return Err(Error::argument(message));
        }
        let mut data = Bytes::zeroed(n);
        data.as_mut_slice().copy_from_slice(bytes);
        if dtype == DType::Bool {
            data.as_mut_slice().iter_mut().for_each(|b| *b = u8::from(*b != 0));
        }
        Ok(Self::of(dtype, shape, data))
    }
    /// A tensor over a part of shared bytes (a mapped file).
    pub(crate) fn from_shared(dtype: DType, shape: &[usize], data: Arc<Bytes>, start: usize) -> Result<Self> {
        let n = checked_bytes(dtype, shape)?;
        if dtype.size() == 0 {
            return Err(Error::argument(format!("elements of {dtype} are not bytes")));
        }
        if start > data.as_slice().len() || n > data.as_slice().len() - start {
            return Err(Error::format(format!("tensor of {n} bytes at {start} lies outside the data")));
        }
        let part = &data.as_slice()[start..start + n];
        let aligned = part.as_ptr().addr().is_multiple_of(dtype.size());
        if !aligned || (dtype == DType::Bool && part.iter().any(|&b| b > 1)) {
            return Self::from_bytes(dtype, shape, part);
        }
        Ok(Self { dtype, shape: shape.to_vec(), data, start, items: Items::None })
    }

    /// A constant whose elements are `stored` in a packed form, with its elements where they do not follow from that.
    ///
    /// # Errors
    /// When type or length of `stored` do not fit.
    pub(crate) fn packed(form: Form, shape: &[usize], stored: Tensor, source: Option<Tensor>) -> Result<Self> {
        let dtype = stored.dtype;
        let packed = PackedBytes::new(form, shape, stored, source)?;
        Ok(Self {
            dtype,
            shape: shape.to_vec(),
            data: Arc::new(Bytes::Packed(Box::new(packed))),
            start: 0,
            items: Items::None,
        })
    }
    /// The packed form and its elements, when the constant is stored in one and still has the shape it was packed with.
    pub fn stored(&self) -> Option<(Form, &Tensor)> {
        match &*self.data {
            Bytes::Packed(p) if p.shape() == self.shape && self.dtype == p.stored().dtype => {
                Some((p.form(), p.stored()))
            }
            _ => None,
        }
    }
    /// The constant as it was before it was packed, where it is kept as well.
    pub(crate) fn source(&self) -> Option<&Tensor> {
        self.stored()?;
        match &*self.data {
            Bytes::Packed(p) => p.source(),
            _ => None,
        }
    }
    /// The elements of a tensor that nobody shares, to write.
    pub(crate) fn as_mut_slice<T: Element>(&mut self) -> Result<&mut [T]> {
        let (start, len) = (self.start, self.len());
        let bytes = Arc::get_mut(&mut self.data).filter(|_| T::DTYPE == self.dtype);
        let bytes = bytes.ok_or_else(|| Error::argument("the tensor is shared or has another type"))?;
        Ok(crate::format::map::cast_mut(&mut bytes.as_mut_slice()[start..start + len * size_of::<T>()]))
    }
    /// True for a constant in a mapped file.
    pub(crate) fn is_mapped(&self) -> bool {
        matches!(&*self.data, Bytes::Mapped(_))
    }
    /// Asks the system for the memory of some bytes of a mapped constant at once, not page by page.
    pub(crate) fn fetch(&self, part: Range<usize>) {
        if let Bytes::Mapped(m) = &*self.data {
            crate::format::map::fetch(m, self.start + part.start, part.len());
        }
    }
    /// Lets the system take back the memory of some bytes of a mapped constant; they are read from the file again when asked for.
    pub(crate) fn release(&self, part: Range<usize>) {
        if let Bytes::Mapped(m) = &*self.data {
            crate::format::map::release(m, self.start + part.start, part.len());
        }
    }
    /// Bytes of all elements.
    pub fn byte_len(&self) -> usize {
        self.len() * self.dtype.size()
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }
    /// Extents, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }
    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }
    /// True when there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The elements as little-endian bytes; none for text and lists.
    pub fn bytes(&self) -> &[u8] {
        &self.data.as_slice()[self.start..self.start + self.len() * self.dtype.size()]
    }
    /// The elements, when `T` is the tensor's type.
    ///
    /// # Errors
    /// When the tensor has another type.
    pub fn as_slice<T: Element>(&self) -> Result<&[T]> {
        if T::DTYPE != self.dtype {
            return Err(Error::argument(format!("expected a tensor of {}, found {}", T::DTYPE, self.dtype)));
        }
        Ok(self.data.typed::<T>(self.start, self.len()))
    }
    /// The strings of a tensor of text.
    ///
    /// # Errors
    /// When it holds something else.
    pub fn as_texts(&self) -> Result<&[Arc<str>]> {
        match &self.items {
            Items::Texts(t) => Ok(t),
            _ => Err(Error::argument(format!("expected a tensor of text, found {}", self.dtype))),
        }
    }
    /// The tensors of a list.
    ///
    /// # Errors
    /// When it holds something else.
    pub fn as_list(&self) -> Result<&[Tensor]> {
        match &self.items {
            Items::Tensors(t) => Ok(t),
            _ => Err(Error::argument(format!("expected a list, found {}", self.dtype))),
        }
    }
    /// The same elements with another shape.
    ///
    /// # Errors
    /// When the number of elements differs.
    pub fn reshaped(&self, shape: &[usize]) -> Result<Self> {
        if checked_len(shape)? != self.len() {
            let message = format!("cannot view {} elements of shape {:?} as {shape:?}", self.len(), self.shape);
            return Err(Error::argument(message));
        }
        Ok(Self { shape: shape.to_vec(), ..self.clone() })
    }
    /// The same bytes as elements of another type of the same size, none of them truth values made of other numbers.
    pub(crate) fn retyped(self, dtype: DType) -> Self {
        assert_eq!(self.dtype.size(), dtype.size());
        Self { dtype, ..self }
    }
    /// The elements converted to `f64`; of a text or list NaN.
    pub fn to_f64(&self) -> Vec<f64> {
        if !self.dtype.is_plain() {
            let wide = |&b: &u8| crate::narrow::decode(self.dtype, b);
            let items = if self.dtype.size() == 0 { self.len() } else { 0 };
            return self.bytes().iter().map(wide).chain(std::iter::repeat_n(f64::NAN, items)).collect();
        }
        crate::with_dtype!(self.dtype, T => {
            let all = self.data.typed::<T>(self.start, self.len());
            all.iter().map(|&x| crate::kernels::elementwise::Number::to_f64(x)).collect()
        })
    }
    /// The elements converted to `f32`.
    pub fn to_f32(&self) -> Vec<f32> {
        if let (Bytes::Packed(p), DType::F32) = (&*self.data, self.dtype) {
            return p.unpacked();
        }
        match self.as_slice::<f32>() {
            Ok(x) => x.to_vec(),
            Err(_) => self.to_f64().into_iter().map(|x| x as f32).collect(),
        }
    }
    /// The elements of an integer or boolean tensor as `i64` (`u64` wraps).
    ///
    /// # Errors
    /// When the tensor holds floats.
    pub fn to_i64(&self) -> Result<Vec<i64>> {
        macro_rules! each { ($($t:ty),*) => { match self.dtype {
            $(<$t as Element>::DTYPE => Ok(self.data.typed::<$t>(self.start, self.len()).iter().map(|&x| x as i64).collect()),)*
            other => Err(Error::argument(format!("expected a tensor of integers, found {other}"))) } } }
        each!(i8, i16, i32, i64, u8, u16, u32, u64, bool)
    }
    /// True when dtype, shape and every bit agree.
    pub fn same_bits(&self, other: &Tensor) -> bool {
        let same = self.dtype == other.dtype && self.shape == other.shape && self.bytes() == other.bytes();
        same && self.items == other.items
    }
    /// Bytes of memory that the elements take, those of texts and lists included.
    pub fn footprint(&self) -> usize {
        match &self.items {
            Items::None => self.byte_len(),
            Items::Texts(t) => t.iter().map(|s| s.len().saturating_add(size_of::<Arc<str>>())).sum(),
            Items::Tensors(t) => t.iter().map(|t| t.footprint().saturating_add(size_of::<Tensor>())).sum(),
        }
    }
}

/// Number of elements of a shape.
///
/// # Errors
/// When it overflows.
pub fn checked_len(shape: &[usize]) -> Result<usize> {
    let n = shape.iter().try_fold(1usize, |a, &b| a.checked_mul(b));
    n.filter(|&n| n <= isize::MAX.unsigned_abs())
        .ok_or_else(|| Error::limit(format!("the size of shape {shape:?} overflows")))
}

/// Bytes of a tensor.
///
/// # Errors
/// When they overflow.
pub fn checked_bytes(dtype: DType, shape: &[usize]) -> Result<usize> {
    let n = checked_len(shape)?.checked_mul(dtype.size()).filter(|&n| n <= isize::MAX.unsigned_abs());
    n.ok_or_else(|| Error::limit(format!("the size of a {dtype} tensor of shape {shape:?} overflows")))
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.dtype, self.shape)?;
        match &self.items {
            Items::Texts(t) if t.len() <= 16 => return write!(f, " {t:?}"),
            Items::Tensors(t) if t.len() <= 16 => return write!(f, " {t:?}"),
            Items::None => {}
            _ => return Ok(()),
        }
        if self.len() <= 16 { write!(f, " {:?}", self.to_f64()) } else { Ok(()) }
    }
}

/// Equal bits.
impl PartialEq for Tensor {
    fn eq(&self, other: &Self) -> bool {
        self.same_bits(other)
    }
}
