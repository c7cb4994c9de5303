//! Functions of one element, or of one element of each operand.

use super::Takes;
use super::activation::Activation;
use super::attrs::{attr_enum, attributes};
use super::infer::{Infer, ValueType, broadcast};
use super::operands::{by_size, from_raw, raw};
use super::{Evaluate, Operator};
use crate::kernels::elementwise::{self as kernel, Kind, Number};
use crate::kernels::reference::elementwise as reference;
use crate::plan::{FormatCx, Formats, InPlace, LowerCx, Lowered};
use crate::{DType, Dim, Error, Result, Tensor, narrow, with_dtype};

mod convert;
pub(crate) mod lower;

attr_enum! {
    /// A function of one element. Integer and boolean operands are allowed where the function maps them to themselves.
    pub enum UnaryKind {
        /// `|x|`
        #[default] Abs = "abs",
        /// `arccos x`
        Acos = "acos",
        /// `arcosh x`
        Acosh = "acosh",
        /// `arcsin x`
        Asin = "asin",
        /// `arsinh x`
        Asinh = "asinh",
        /// `arctan x`
        Atan = "atan",
        /// `artanh x`
        Atanh = "atanh",
        /// Bitwise not of integers.
        BitNot = "bit_not",
        /// Rounds up.
        Ceil = "ceil",
        /// `cos x`
        Cos = "cos",
        /// `cosh x`
        Cosh = "cosh",
        /// Error function.
        Erf = "erf",
        /// `e^x`
        Exp = "exp",
        /// `e^x - 1`
        Expm1 = "expm1",
        /// Rounds down.
        Floor = "floor",
        /// True for infinities; output `Bool`.
        IsInf = "is_inf",
        /// True for negative infinity; output `Bool`.
        IsNegInf = "is_neg_inf",
        /// True for positive infinity; output `Bool`.
        IsPosInf = "is_pos_inf",
        /// True for finite numbers; output `Bool`.
        IsFinite = "is_finite",
        /// True for NaN; output `Bool`.
        IsNan = "is_nan",
        /// Natural logarithm.
        Log = "log",
        /// `ln(1 + x)`
        Log1p = "log1p",
        /// `-x`
        Neg = "neg",
        /// Logical not of `Bool`.
        Not = "not",
        /// `1 / x`
        Reciprocal = "reciprocal",
        /// Rounds to nearest, ties to even.
        Round = "round",
        /// `1 / sqrt(x)`
        Rsqrt = "rsqrt",
        /// -1, 0 or 1.
        Sign = "sign",
        /// `sin x`
        Sin = "sin",
        /// `sinh x`
        Sinh = "sinh",
        /// Square root.
        Sqrt = "sqrt",
        /// `x * x`
        Square = "square",
        /// `tan x`
        Tan = "tan",
        /// Hyperbolic tangent.
        Tanh = "tanh",
        /// Rounds towards 0.
        Trunc = "trunc",
    }
    /// A function of two elements. Comparisons and logic give `Bool`.
    pub enum BinaryKind {
        /// `a + b`; wraps for integers.
        #[default] Add = "add",
        /// Logical and.
        And = "and",
        /// `arctan(a / b)` in the right quadrant.
        Atan2 = "atan2",
        /// Bitwise and.
        BitAnd = "bit_and",
        /// Bitwise or.
        BitOr = "bit_or",
        /// Bitwise exclusive or.
        BitXor = "bit_xor",
        /// `a / b`; for integers rounded towards 0, and 0 where `b` is 0.
        Div = "div",
        /// `a == b`
        Eq = "eq",
        /// `a / b` rounded down.
        FloorDiv = "floor_div",
        /// Remainder with the sign of `a` (C's `fmod`).
        Fmod = "fmod",
        /// `a > b`
        Gt = "gt",
        /// `a >= b`
        Ge = "ge",
        /// `a < b`
        Lt = "lt",
        /// `a <= b`
        Le = "le",
        /// The larger one; NaN where either is.
        Max = "max",
        /// The smaller one; NaN where either is.
        Min = "min",
        /// Remainder with the sign of `b` (Python's `%`).
        Mod = "mod",
        /// `a * b`; wraps for integers.
        Mul = "mul",
        /// `a != b`
        Ne = "ne",
        /// Logical or.
        Or = "or",
        /// `a` to the power of `b`. The output has the type of `a`; the types may differ.
        Pow = "pow",
        /// `a << b`
        Shl = "shl",
        /// `a >> b`
        Shr = "shr",
        /// `a - b`; wraps for integers.
        Sub = "sub",
        /// `(a - b)^2`
        SquaredDifference = "squared_difference",
        /// Logical exclusive or.
        Xor = "xor",
    }
}

attributes! {
    /// A function of one element. Input `x`; output of the same shape.
    pub struct Unary {
        /// Which function.
        pub kind: UnaryKind = UnaryKind::default(),
    }
    /// A function of two elements with numpy's broadcasting. Inputs `a`, `b` of one type.
    pub struct Binary {
        /// Which function.
        pub kind: BinaryKind = BinaryKind::default(),
        /// Applied to the result (`f32` only).
        pub activation: Activation = Activation::Identity,
    }
    /// `x` where `x >= 0`, else `slope * x`. Inputs `x`, `slope` (broadcast to `x`).
    pub struct PRelu {}
    /// `a` where the condition holds, else `b`. Inputs `condition` (`Bool`), `a`, `b`, broadcast together.
    pub struct Where {}
    /// The same bytes as elements of another type of the same size.
    pub struct BitCast {
        /// The new type.
        pub to: DType = DType::F32,
    }
    /// Conversion to another element type: floats to integers towards 0 (saturating), to `Bool` by `x != 0`, to smaller floats
    /// to nearest even, narrow ones saturating, powers of two upwards; numbers to text and back.
    pub struct Cast {
        /// The new type.
        pub to: DType = DType::F32,
    }
    /// Conversion to a narrow type ([`DType::is_narrow`]) where it differs from [`Cast`].
    pub struct Narrow {
        /// The new type.
        pub to: DType = DType::F8E4M3,
        /// Numbers beyond the largest become the largest; else infinity or NaN.
        pub saturate: bool = true,
        /// Where numbers between two powers of two go.
        pub rounding: narrow::Rounding = narrow::Rounding::Up,
    }
}

/// Converts a tensor to another element type.
///
/// # Errors
/// When the size of the result overflows.
pub fn cast(t: &Tensor, to: DType) -> Result<Tensor> {
    if t.dtype() == to {
        return Ok(t.clone());
    }
    match (t.dtype(), to) {
        (DType::Text, _) => return super::text::parse(t, to),
        (_, DType::Text) => return super::text::print(t),
        (DType::List, _) | (_, DType::List) => return Err(Error::graph(format!("{} is not {to}", t.dtype()))),
        _ if to.is_narrow() => return narrow::convert(t, to, true, narrow::Rounding::Up),
        _ => {}
    }
    // Through the widest type of its kind, so that no pair of types needs its own loop.
    if t.dtype().is_float() || t.dtype().is_narrow() {
        let wide = t.to_f64();
        with_dtype!(to, T => Tensor::new(t.shape(), reference::cast::<f64, T>(&wide)))
    } else {
        let wide: Vec<i128> = with_dtype!(t.dtype(), T => t.as_slice::<T>()?.iter().map(|v| v.to_i128()).collect());
        with_dtype!(to, T => Tensor::new(t.shape(), wide.into_iter().map(<T as Number>::from_i128).collect()))
    }
}

/// The kind of elements, as the kernels see it.
pub(crate) fn kind(dtype: DType) -> Kind {
    with_dtype!(dtype, T => <T as Number>::KIND)
}

/// An operand that must be there.
pub(crate) fn operand<'a>(inputs: &[Option<&'a Tensor>], i: usize) -> Result<&'a Tensor> {
    let message = || Error::graph(format!("input {i} is missing; the node has {}", inputs.len()));
    inputs.get(i).copied().flatten().ok_or_else(message)
}

/// The type of a function of one element: that of the operand.
pub(crate) fn infer_unary(op: kernel::Unary, cx: &Infer) -> Result<Vec<ValueType>> {
    let ty = cx.ty(0)?;
    if !op.defined_for(kind(ty.dtype)) {
        return Err(Error::graph(format!("{op:?} has no meaning on {}", ty.dtype)));
    }
    Ok(vec![ty.clone()])
}

/// A function of one element.
pub(crate) fn eval_unary(op: kernel::Unary, x: &Tensor) -> Result<Vec<Tensor>> {
    with_dtype!(x.dtype(), T => {
        let y = reference::unary::<T>(op, x.as_slice()?);
        let undefined = || Error::unsupported(format!("{op:?} has no meaning on {}", x.dtype()));
        Ok(vec![Tensor::new(x.shape(), y.ok_or_else(undefined)?)?])
    })
}

/// What a function of one element is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum UnaryClass {
    /// A function to the same type.
    Map(kernel::Unary),
    /// A test of floats: NaN, negative infinity, positive infinity, finite.
    Test(Test),
}

/// What is asked about a float; any of the set ones makes it true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Test {
    pub nan: bool,
    pub negative: bool,
    pub positive: bool,
    pub finite: bool,
}

impl Test {
    pub(crate) fn of(self, x: f64) -> bool {
        (self.nan && x.is_nan())
            || (self.negative && x == f64::NEG_INFINITY)
            || (self.positive && x == f64::INFINITY)
            || (self.finite && x.is_finite())
    }
}

impl UnaryKind {
    pub(crate) fn class(self) -> UnaryClass {
        use Activation as A;
        use UnaryKind as K;
        use kernel::Unary as U;
        let test = Test::default();
        UnaryClass::Map(match self {
            K::Abs => U::Map(A::Abs),
            K::Acos => U::Acos,
            K::Acosh => U::Acosh,
            K::Asin => U::Asin,
            K::Asinh => U::Asinh,
            K::Atan => U::Atan,
            K::Atanh => U::Atanh,
            K::BitNot | K::Not => U::Not,
            K::Ceil => U::Map(A::Ceil),
            K::Cos => U::Cos,
            K::Cosh => U::Cosh,
            K::Erf => U::Map(A::Erf),
            K::Exp => U::Map(A::Exp),
            K::Expm1 => U::Map(A::Expm1),
            K::Floor => U::Map(A::Floor),
            K::Log => U::Map(A::Log),
            K::Log1p => U::Map(A::Log1p),
            K::Neg => U::Map(A::Neg),
            K::Reciprocal => U::Map(A::Reciprocal),
            K::Round => U::Map(A::Round),
            K::Rsqrt => U::Map(A::Rsqrt),
            K::Sign => U::Map(A::Sign),
            K::Sin => U::Sin,
            K::Sinh => U::Sinh,
            K::Sqrt => U::Map(A::Sqrt),
            K::Square => U::Map(A::Square),
            K::Tan => U::Tan,
            K::Tanh => U::Map(A::Tanh),
            K::Trunc => U::Map(A::Trunc),
            K::IsInf => return UnaryClass::Test(Test { negative: true, positive: true, ..test }),
            K::IsNegInf => return UnaryClass::Test(Test { negative: true, ..test }),
            K::IsPosInf => return UnaryClass::Test(Test { positive: true, ..test }),
            K::IsFinite => return UnaryClass::Test(Test { finite: true, ..test }),
            K::IsNan => return UnaryClass::Test(Test { nan: true, ..test }),
        })
    }
}

/// What a function of two elements is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BinaryClass {
    /// A function to the same type.
    Map(kernel::Binary),
    /// A comparison.
    Compare(kernel::Compare),
    /// A function of truth values.
    Logic(kernel::Binary),
}

impl BinaryKind {
    pub(crate) fn class(self) -> BinaryClass {
        use BinaryKind as K;
        use kernel::{Binary as B, Compare as C};
        match self {
            K::Eq => BinaryClass::Compare(C::Equal),
            K::Ne => BinaryClass::Compare(C::NotEqual),
            K::Lt => BinaryClass::Compare(C::Less),
            K::Le => BinaryClass::Compare(C::LessOrEqual),
            K::Gt => BinaryClass::Compare(C::Greater),
            K::Ge => BinaryClass::Compare(C::GreaterOrEqual),
            K::And => BinaryClass::Logic(B::BitAnd),
            K::Or => BinaryClass::Logic(B::BitOr),
            K::Xor => BinaryClass::Logic(B::BitXor),
            K::Add => BinaryClass::Map(B::Add),
            K::Atan2 => BinaryClass::Map(B::Atan2),
            K::BitAnd => BinaryClass::Map(B::BitAnd),
            K::BitOr => BinaryClass::Map(B::BitOr),
            K::BitXor => BinaryClass::Map(B::BitXor),
            K::Div => BinaryClass::Map(B::Div),
            K::FloorDiv => BinaryClass::Map(B::FloorDiv),
            K::Fmod => BinaryClass::Map(B::Fmod),
            K::Max => BinaryClass::Map(B::Max),
            K::Min => BinaryClass::Map(B::Min),
            K::Mod => BinaryClass::Map(B::Mod),
            K::Mul => BinaryClass::Map(B::Mul),
            K::Pow => BinaryClass::Map(B::Pow),
            K::Shl => BinaryClass::Map(B::ShiftLeft),
            K::Shr => BinaryClass::Map(B::ShiftRight),
            K::Sub => BinaryClass::Map(B::Sub),
            K::SquaredDifference => BinaryClass::Map(B::SquaredDifference),
        }
    }
}

impl Operator for Unary {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let ty = cx.ty(0)?;
        match self.kind.class() {
            UnaryClass::Test(_) if ty.dtype.is_float() => Ok(vec![ValueType::new(DType::Bool, ty.shape.clone())]),
            UnaryClass::Map(op) if (self.kind == UnaryKind::Not) == (ty.dtype == DType::Bool) => infer_unary(op, cx),
            _ => Err(Error::graph(format!("`{}` has no meaning on {}", self.kind.name(), ty.dtype))),
        }
    }
    fn infer_dims(&self, cx: &Infer) -> Option<Vec<Dim>> {
        let zero = Dim::from(0);
        (self.kind == UnaryKind::Neg).then(|| cx.dims(0)?.iter().map(|d| Some(zero.clone() - d.clone())).collect())?
    }
    fn formats(&self, cx: &FormatCx) -> Formats {
        self.choose(cx)
    }
    fn place(&self) -> InPlace {
        InPlace::Once
    }
    fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
        self.kernel(cx)
    }
}

impl Evaluate for Unary {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let x = operand(inputs, 0)?;
        match self.kind.class() {
            UnaryClass::Map(op) => eval_unary(op, x),
            UnaryClass::Test(test) => {
                Ok(vec![Tensor::new(x.shape(), x.to_f64().into_iter().map(|v| test.of(v)).collect())?])
            }
        }
    }
}

/// The types of two operands of one element type, broadcast together.
fn common(cx: &Infer, a: usize, b: usize) -> Result<ValueType> {
    let (ta, tb) = (cx.ty(a)?, cx.ty(b)?);
    if ta.dtype != tb.dtype {
        return Err(Error::graph(format!("input {b}: expected {} as input {a}, found {}", ta.dtype, tb.dtype)));
    }
    Ok(ValueType::new(ta.dtype, broadcast(&ta.shape, &tb.shape)?))
}

impl Operator for Binary {
    fn takes(&self) -> Takes {
        if matches!(self.kind, BinaryKind::Eq | BinaryKind::Ne) { Takes::Moved } else { Takes::Plain }
    }
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let ty = match self.kind {
            BinaryKind::Pow => ValueType::new(cx.dtype(0)?, broadcast(cx.shape(0)?, cx.shape(1)?)?),
            _ => common(cx, 0, 1)?,
        };
        let defined = match self.kind.class() {
            BinaryClass::Map(op) => op.defined_for(kind(ty.dtype)),
            BinaryClass::Compare(_) => true,
            BinaryClass::Logic(_) => ty.dtype == DType::Bool,
        };
        if !defined {
            return Err(Error::graph(format!("`{}` has no meaning on {}", self.kind.name(), ty.dtype)));
        }
        let compares = matches!(self.kind.class(), BinaryClass::Compare(_));
        if self.activation != Activation::Identity && (compares || ty.dtype != DType::F32) {
            return Err(Error::graph(format!("a fused activation needs a result of f32, found {}", ty.dtype)));
        }
        Ok(vec![if compares { ValueType::new(DType::Bool, ty.shape) } else { ty }])
    }
    fn infer_dims(&self, cx: &Infer) -> Option<Vec<Dim>> {
        let (a, b) = (cx.dims(0)?, cx.dims(1)?);
        let n = if a.len() == 1 { b.len() } else { a.len() };
        let fits = |v: &[Dim]| v.len() == n || v.len() == 1;
        if !fits(a) || !fits(b) {
            return None;
        }
        let at = |v: &[Dim], i: usize| v[if v.len() == 1 { 0 } else { i }].clone();
        (0..n).map(|i| dims_of(self.kind, at(a, i), at(b, i))).collect()
    }
    fn formats(&self, cx: &FormatCx) -> Formats {
        self.choose(cx)
    }
    fn place(&self) -> InPlace {
        InPlace::Once
    }
    fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
        self.kernel(cx)
    }
}

impl Evaluate for Binary {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let (a, b) = (operand(inputs, 0)?, operand(inputs, 1)?);
        let y = if a.dtype() == b.dtype() {
            eval_binary(self.kind, a, b)?
        } else {
            let wide = if a.dtype().is_float() || b.dtype().is_float() { DType::F64 } else { DType::I64 };
            cast(&eval_binary(self.kind, &cast(a, wide)?, &cast(b, wide)?)?, a.dtype())?
        };
        if self.activation == Activation::Identity {
            Ok(vec![y])
        } else {
            eval_unary(kernel::Unary::Map(self.activation), &y)
        }
    }
}

/// Arithmetic on dimensions, which are not negative.
fn dims_of(kind: BinaryKind, a: Dim, b: Dim) -> Option<Dim> {
    let positive = b.known().is_some_and(|b| b > 0);
    match kind {
        BinaryKind::Add => Some(a + b),
        BinaryKind::Sub => Some(a - b),
        BinaryKind::Mul => Some(a * b),
        BinaryKind::Div | BinaryKind::FloorDiv if positive => Some(a.div_floor(&b)),
        BinaryKind::Mod | BinaryKind::Fmod if positive => Some(a.clone() - a.div_floor(&b) * b),
        BinaryKind::Max => Some(a.larger(&b)),
        BinaryKind::Min => Some(a.smaller(&b)),
        _ => None,
    }
}

/// The shape of a result, or what does not fit.
fn out_shape(shapes: &[&[usize]]) -> Result<Vec<usize>> {
    reference::broadcast_shape(shapes).ok_or_else(|| Error::graph(format!("shapes {shapes:?} do not broadcast")))
}

fn eval_binary(kind: BinaryKind, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let shape = out_shape(&[a.shape(), b.shape()])?;
    let undefined = || Error::unsupported(format!("`{}` has no meaning on {}", kind.name(), a.dtype()));
    with_dtype!(a.dtype(), T => {
        let (a, b) = ((a.as_slice::<T>()?, a.shape()), (b.as_slice::<T>()?, b.shape()));
        match kind.class() {
            BinaryClass::Map(op) | BinaryClass::Logic(op) => {
                Tensor::new(&shape, reference::binary(op, a, b).ok_or_else(undefined)?)
            }
            BinaryClass::Compare(op) => Tensor::new(&shape, reference::compare(op, a, b).ok_or_else(undefined)?),
        }
    })
}

impl Operator for PRelu {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let ty = common(cx, 0, 1)?;
        if ty.dtype == DType::Bool || ty.shape.len() != cx.rank(0)? {
            return Err(Error::graph(format!("slope {:?} does not broadcast to {:?}", cx.ty(1)?, cx.ty(0)?)));
        }
        Ok(vec![cx.ty(0)?.clone()])
    }
    fn formats(&self, cx: &FormatCx) -> Formats {
        Self::choose(cx)
    }
    fn place(&self) -> InPlace {
        InPlace::Once
    }
    fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
        Self::kernel(cx)
    }
}

impl Evaluate for PRelu {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let (x, slope) = (operand(inputs, 0)?, operand(inputs, 1)?);
        if out_shape(&[x.shape(), slope.shape()])? != x.shape() {
            return Err(Error::graph(format!("slope {slope:?} does not broadcast to {:?}", x.shape())));
        }
        let op = kernel::Binary::PRelu;
        with_dtype!(x.dtype(), T => {
            let y = reference::binary::<T>(op, (x.as_slice()?, x.shape()), (slope.as_slice()?, slope.shape()));
            let undefined = || Error::unsupported(format!("PRelu has no meaning on {}", x.dtype()));
            Ok(vec![Tensor::new(x.shape(), y.ok_or_else(undefined)?)?])
        })
    }
}

impl Operator for Where {
    fn takes(&self) -> Takes {
        Takes::Moved
    }
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        cx.expect_dtype(0, DType::Bool)?;
        let ty = common(cx, 1, 2)?;
        Ok(vec![ValueType::new(ty.dtype, broadcast(cx.shape(0)?, &ty.shape)?)])
    }
    fn infer_dims(&self, cx: &Infer) -> Option<Vec<Dim>> {
        let condition = cx.constant(0)?.as_slice::<bool>().ok()?;
        let (a, b) = (cx.dims(1)?, cx.dims(2)?);
        let n = condition.len().max(a.len()).max(b.len());
        let fits = |len: usize| len == n || len == 1;
        if !fits(condition.len()) || !fits(a.len()) || !fits(b.len()) {
            return None;
        }
        let at = |len: usize, i: usize| if len == 1 { 0 } else { i };
        let pick = |i| if condition[at(condition.len(), i)] { &a[at(a.len(), i)] } else { &b[at(b.len(), i)] };
        Some((0..n).map(|i| pick(i).clone()).collect())
    }
    fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
        Self::kernel(cx)
    }
}

impl Evaluate for Where {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let (c, a, b) = (operand(inputs, 0)?, operand(inputs, 1)?, operand(inputs, 2)?);
        let shape = out_shape(&[c.shape(), a.shape(), b.shape()])?;
        by_size!(a.dtype(), T => {
            let condition = (c.as_slice::<bool>()?, c.shape());
            let y = reference::select::<T>(condition, (raw(a), a.shape()), (raw(b), b.shape()));
            Ok(vec![from_raw(a.dtype(), &shape, y.unwrap_or_default())?])
        })
    }
}
