//! Types of a node's outputs, and their elements where they follow from constants.

use crate::ops::Takes;
use crate::ops::infer::{Fact, Infer, MAX_DIMS};
use crate::{DType, Error, Op, Result, Tensor};

/// Largest output, in bytes, that is computed beforehand although it is bigger than all inputs together.
const FOLD_BYTES: usize = 1 << 16;

/// Facts about the outputs of an op on these inputs: types, and elements where all inputs are constants (and the result is
/// not much bigger than they are) or where they follow from shapes.
///
/// # Errors
/// When the inputs do not fit the op.
pub fn infer_node(op: &Op, inputs: &[Option<&Fact>], outputs: usize) -> Result<Vec<Fact>> {
    let cx = Infer::new(inputs, outputs);
    admit(op, inputs)?;
    let mut types = op.operator().infer(&cx)?;
    for d in types.iter_mut().flat_map(|t| &mut t.shape) {
        if !d.is_small() {
            *d = crate::Dim::unknown();
        }
    }
    if types.len() != outputs {
        return Err(Error::graph(format!("the node has {outputs} outputs, the op gives {}", types.len())));
    }
    if let Some(t) = fold(op, inputs, outputs, &types) {
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

/// Refuses operands of element types that the op cannot handle.
fn admit(op: &Op, inputs: &[Option<&Fact>]) -> Result<()> {
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
    if made > given.max(FOLD_BYTES) {
        return None;
    }
    let out = op.eval(&tensors, outputs).ok()?;
    (out.len() == outputs).then_some(out)
}
