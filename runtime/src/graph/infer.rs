//! Types of a node's outputs, and their elements where they follow from constants.

use crate::ops::Takes;
use crate::ops::infer::{Fact, Infer, MAX_DIMS, admit_rank};
use crate::{DType, Error, Op, Result, Tensor};

/// Largest output, in bytes, that is computed beforehand although it is bigger than all inputs together.
const FOLD_BYTES: usize = 1 << 16;
/// What a graph may compute beforehand at most, in bytes, besides some times its constants: each step may double what it is given, so
/// that a short chain of them would fill any memory.
const MOST_FOLDED: usize = 32 << 20;

/// Bytes that a graph was given as constants, and that were computed from them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Folded {
    given: usize,
    made: usize,
    times: usize,
}

impl Default for Folded {
    /// While a graph is built: weights are converted, transposed, reshaped, and joined.
    fn default() -> Self {
        Self::times(8)
    }
}

impl Folded {
    /// What is computed may take this many times what is given.
    pub fn times(times: usize) -> Self {
        Self { given: 0, made: 0, times }
    }
    /// A constant came from outside.
    pub fn given(&mut self, t: &Tensor) {
        self.given = self.given.saturating_add(t.footprint());
    }
    /// Constants were computed.
    pub fn made(&mut self, facts: &[Fact]) {
        let bytes = facts.iter().filter_map(|f| f.constant.as_ref()).map(Tensor::footprint);
        self.made = bytes.fold(self.made, usize::saturating_add);
    }
    /// Bytes that may still be computed.
    pub fn left(self) -> usize {
        self.given.saturating_mul(self.times).saturating_add(MOST_FOLDED).saturating_sub(self.made)
    }
}

/// Facts about the outputs of an op on these inputs: types, and elements where all inputs are constants (and the result is
/// not much bigger than they are) or where they follow from shapes.
///
/// # Errors
/// When the inputs do not fit the op.
pub fn infer_node(op: &Op, inputs: &[Option<&Fact>], outputs: usize) -> Result<Vec<Fact>> {
    infer_within(op, inputs, outputs, usize::MAX)
}

/// As [`infer_node`], computing at most `left` bytes.
///
/// # Errors
/// As [`infer_node`].
pub(crate) fn infer_within(op: &Op, inputs: &[Option<&Fact>], outputs: usize, left: usize) -> Result<Vec<Fact>> {
    let cx = Infer::new(inputs, outputs);
    admit(op, inputs)?;
    let mut types = op.operator().infer(&cx)?;
    types.iter().try_for_each(|t| admit_rank(t.shape.len()))?;
    for d in types.iter_mut().flat_map(|t| &mut t.shape) {
        if !d.is_small() {
            *d = crate::Dim::unknown();
        }
    }
    if types.len() != outputs {
        return Err(Error::graph(format!("the node has {outputs} outputs, the op gives {}", types.len())));
    }
    if let Some(t) = fold(op, inputs, outputs, &types, left) {
        return Ok(t.into_iter().map(Fact::of_constant).collect());
    }
    let mut facts: Vec<Fact> = types.into_iter().map(Fact::of_type).collect();
    if let Some(dims) = op.operator().infer_dims(&cx).filter(|d| d.iter().all(crate::Dim::is_small)) {
        let small = facts[0].ty.shape.len() <= 1 && dims.len() <= MAX_DIMS && facts[0].ty.dtype.is_integer();
        if small {
            set_dims(&mut facts[0], dims)?;
        }
    }
    Ok(facts)
}

/// Refuses operands of more dimensions than tensors have, and of element types that the op cannot handle.
fn admit(op: &Op, inputs: &[Option<&Fact>]) -> Result<()> {
    inputs.iter().flatten().try_for_each(|f| admit_rank(f.ty.shape.len()))?;
    let takes = op.operator().takes();
    let fits = |dtype: DType| match takes {
        Takes::Any => true,
        Takes::Text | Takes::Moved => dtype != DType::List,
        Takes::Narrow => dtype.is_plain() || dtype.is_narrow(),
        Takes::Plain => dtype.is_plain(),
    };
    match inputs.iter().enumerate().find(|(_, f)| f.is_some_and(|f| !fits(f.ty.dtype))) {
        Some((i, Some(f))) => {
            Err(Error::unsupported(format!("input {i}: elements of type {} are not supported here", f.ty.dtype)))
        }
        _ => Ok(()),
    }
}

/// Stores followed elements; when all are known the value is a constant.
fn set_dims(fact: &mut Fact, dims: Vec<crate::Dim>) -> Result<()> {
    let known: Option<Vec<i64>> = dims.iter().map(crate::Dim::known_signed).collect();
    if let (Some(values), Some(shape)) = (known, fact.ty.known_shape()) {
        let t = Tensor::new(&shape, values)?;
        let t = if fact.ty.dtype == DType::I64 { t } else { crate::ops::elementwise::cast(&t, fact.ty.dtype)? };
        fact.constant = Some(t);
    }
    fact.dims = Some(dims);
    Ok(())
}

fn fold(
    op: &Op,
    inputs: &[Option<&Fact>],
    outputs: usize,
    types: &[crate::ops::infer::ValueType],
    left: usize,
) -> Option<Vec<Tensor>> {
    // Bodies may run long; random numbers stay ones of the run.
    if matches!(op, Op::If(_) | Op::Loop(_) | Op::Random(_)) {
        return None;
    }
    let constant = |f: &&Fact| f.constant.as_ref().is_some_and(|t| t.dtype() != DType::List);
    if !inputs.iter().flatten().all(constant) || types.iter().any(|t| t.dtype == DType::List) {
        return None;
    }
    let tensors: Vec<Option<&Tensor>> = inputs.iter().map(|f| f.and_then(|f| f.constant.as_ref())).collect();
    let given: usize = tensors.iter().flatten().map(|t| t.footprint()).sum();
    let mut made = 0usize;
    for t in types {
        // Data-dependent extents (NonZero, Range) are at most of the order of the inputs.
        if let Some(shape) = t.known_shape() {
            made = made.checked_add(crate::checked_bytes(t.dtype, &shape).ok()?)?;
        }
    }
    if made > given.max(FOLD_BYTES).min(left) {
        return None;
    }
    let out = op.eval(&tensors, outputs).ok()?;
    (out.len() == outputs).then_some(out)
}
