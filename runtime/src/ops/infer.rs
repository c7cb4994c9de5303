//! What an op sees while types are inferred.

use crate::{DType, Dim, Error, Result, Tensor, dim};

/// Type of a value: element type and shape. Ranks are always known; dimensions may be symbolic.
#[derive(Clone, PartialEq, Eq)]
pub struct ValueType {
    /// Element type.
    pub dtype: DType,
    /// Extents, outermost first.
    pub shape: Vec<Dim>,
}

impl ValueType {
    /// A type.
    pub fn new(dtype: DType, shape: impl Into<Vec<Dim>>) -> Self {
        Self { dtype, shape: shape.into() }
    }
    /// A type whose shape is known.
    pub fn known(dtype: DType, shape: &[usize]) -> Self {
        Self { dtype, shape: shape.iter().map(|&d| Dim::from(d)).collect() }
    }
    /// The shape, when every dimension is known.
    pub fn known_shape(&self) -> Option<Vec<usize>> {
        dim::known_shape(&self.shape)
    }
    /// The type of a tensor.
    pub fn of(t: &Tensor) -> Self {
        Self::known(t.dtype(), t.shape())
    }
}

impl std::fmt::Display for ValueType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.dtype, dim::show_shape(&self.shape))
    }
}

impl std::fmt::Debug for ValueType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// Everything known about a value before anything runs.
#[derive(Clone, Debug)]
pub struct Fact {
    /// Its type.
    pub ty: ValueType,
    /// Its elements, when it is a constant.
    pub constant: Option<Tensor>,
    /// Its elements, when it is a small integer tensor (rank 0 or 1) computed from shapes: may be symbolic.
    pub dims: Option<Vec<Dim>>,
}

impl Fact {
    /// Only the type is known.
    pub fn of_type(ty: ValueType) -> Self {
        Self { ty, constant: None, dims: None }
    }
    /// A constant.
    pub fn of_constant(t: Tensor) -> Self {
        let small = t.rank() <= 1 && t.len() <= MAX_DIMS && t.dtype().is_integer();
        let dims = if small { t.to_i64().ok().map(|v| v.into_iter().map(Dim::signed).collect()) } else { None };
        Self { ty: ValueType::of(&t), constant: Some(t), dims }
    }
}

/// Most dimensions of a tensor.
pub const MAX_RANK: usize = 64;

/// Refuses more dimensions than tensors have.
///
/// # Errors
/// When there are more than [`MAX_RANK`].
pub(crate) fn admit_rank(rank: usize) -> Result<()> {
    if rank <= MAX_RANK {
        return Ok(());
    }
    Err(Error::limit(format!("{rank} dimensions, a tensor has at most {MAX_RANK}")))
}

/// Longest integer vector whose symbolic elements are followed.
pub const MAX_DIMS: usize = 64;

/// The facts about an op's inputs.
pub struct Infer<'a> {
    inputs: &'a [Option<&'a Fact>],
    outputs: usize,
}

impl<'a> Infer<'a> {
    /// Facts about the inputs (absent optional ones are `None`) and the number of outputs the node has.
    pub fn new(inputs: &'a [Option<&'a Fact>], outputs: usize) -> Self {
        Self { inputs, outputs }
    }
    /// Number of inputs, absent ones included.
    pub fn len(&self) -> usize {
        self.inputs.len()
    }
    /// True when the node has no input.
    pub fn is_empty(&self) -> bool {
        self.inputs.is_empty()
    }
    /// Number of outputs the node declares.
    pub fn outputs(&self) -> usize {
        self.outputs
    }
    /// True when the input is there.
    pub fn has(&self, i: usize) -> bool {
        self.fact(i).is_some()
    }
    /// What is known about an input; `None` when it is absent.
    pub fn fact(&self, i: usize) -> Option<&'a Fact> {
        self.inputs.get(i).copied().flatten()
    }
    /// The type of an input.
    ///
    /// # Errors
    /// When the input is absent.
    pub fn ty(&self, i: usize) -> Result<&'a ValueType> {
        self.fact(i)
            .map(|f| &f.ty)
            .ok_or_else(|| Error::graph(format!("input {i} is missing; the node has {}", self.len())))
    }
    /// The shape of an input.
    ///
    /// # Errors
    /// When the input is absent.
    pub fn shape(&self, i: usize) -> Result<&'a [Dim]> {
        Ok(&self.ty(i)?.shape)
    }
    /// The rank of an input.
    ///
    /// # Errors
    /// When the input is absent.
    pub fn rank(&self, i: usize) -> Result<usize> {
        Ok(self.shape(i)?.len())
    }
    /// The element type of an input.
    ///
    /// # Errors
    /// When the input is absent.
    pub fn dtype(&self, i: usize) -> Result<DType> {
        Ok(self.ty(i)?.dtype)
    }
    /// The elements of an input that is a constant.
    pub fn constant(&self, i: usize) -> Option<&'a Tensor> {
        self.fact(i)?.constant.as_ref()
    }
    /// The elements of a constant integer input.
    pub fn integers(&self, i: usize) -> Option<Vec<i64>> {
        self.constant(i)?.to_i64().ok()
    }
    /// The elements of a small integer input as dimensions: constant, or computed from shapes.
    pub fn dims(&self, i: usize) -> Option<&'a [Dim]> {
        self.fact(i)?.dims.as_deref()
    }
    /// Checks that an input has this element type.
    ///
    /// # Errors
    /// When it has another.
    pub fn expect_dtype(&self, i: usize, dtype: DType) -> Result<()> {
        let found = self.dtype(i)?;
        if found == dtype { Ok(()) } else { Err(Error::graph(format!("input {i}: expected {dtype}, found {found}"))) }
    }
    /// A non-negative axis of an input of `rank` dimensions.
    ///
    /// # Errors
    /// When it lies outside `-rank .. rank`.
    pub fn axis(axis: i64, rank: usize) -> Result<usize> {
        normalize_axis(axis, rank)
    }
}

/// A non-negative axis.
///
/// # Errors
/// When it lies outside `-rank .. rank`.
pub fn normalize_axis(axis: i64, rank: usize) -> Result<usize> {
    let a = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(a)
        .ok()
        .filter(|&a| a < rank)
        .ok_or_else(|| Error::graph(format!("axis {axis} is outside -{rank} .. {rank}, the tensor's dimensions")))
}

/// The shape of two shapes broadcast together as numpy does it.
///
/// # Errors
/// When two known dimensions differ and neither is 1.
pub fn broadcast(a: &[Dim], b: &[Dim]) -> Result<Vec<Dim>> {
    let rank = a.len().max(b.len());
    let get = |s: &[Dim], i: usize| (i + s.len()).checked_sub(rank).map_or(Dim::from(1), |j| s[j].clone());
    (0..rank)
        .map(|i| {
            let (x, y) = (get(a, i), get(b, i));
            match (x.known(), y.known()) {
                _ if x == y => Ok(x),
                (Some(1), _) => Ok(y),
                (_, Some(1)) => Ok(x),
                (Some(_), Some(_)) => {
                    let message = format!("shapes {} and {} do not broadcast", dim::show_shape(a), dim::show_shape(b));
                    Err(Error::graph(message))
                }
                (Some(_), None) => Ok(x),
                (None, Some(_)) => Ok(y),
                (None, None) => Ok(x.larger(&y)),
            }
        })
        .collect()
}
