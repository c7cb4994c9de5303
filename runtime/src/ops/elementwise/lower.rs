//! Formats and kernels of functions of elements.

use super::{Binary, BinaryClass, BinaryKind, Cast, PRelu, Test, Unary, UnaryClass, Where};
use crate::kernels::activation::{Activation, Map};
use crate::kernels::elementwise::{self as kernel, Arithmetic, Broadcast, Images, Number, Side, cast, compare};
use crate::kernels::layout::{BLOCK, Blocked};
use crate::kernels::par::Parallel;
use crate::plan::{Compute, Format, FormatCx, Formats, Halo, Io, LowerCx, Lowered, Placement, can_block, geometry};
use crate::{DType, Element, Error, Result};
use std::sync::Arc;

const FILTER: &str = "elementwise";

/// What a kernel says about operands whose sizes the plan has fixed.
///
/// # Panics
/// When the plan was wrong.
pub(crate) fn done(result: pocketnn_kernels::Result<()>) {
    if let Err(e) = result {
        panic!("the plan gave a kernel other operands than it was made for: {e}");
    }
}

/// Runs `$body` with `$t` bound to one of the types that have kernels of their own; the others are interpreted.
macro_rules! with_lowered {
    ($dtype:expr, $t:ident => $body:expr) => {
        match $dtype {
            DType::F32 => {
                type $t = f32;
                $body
            }
            DType::I64 => {
                type $t = i64;
                $body
            }
            DType::I32 => {
                type $t = i32;
                $body
            }
            DType::U8 => {
                type $t = u8;
                $body
            }
            DType::Bool => {
                type $t = bool;
                $body
            }
            _ => return Ok(Lowered::Interpreted),
        }
    };
}

/// An activation of a value in any format.
pub(crate) fn lower_map(cx: &LowerCx, function: Activation) -> Result<Lowered> {
    let (x, y) = (cx.input(0)?, cx.output(0));
    if x.dtype != DType::F32 {
        let op = kernel::Unary::Map(function);
        return with_lowered!(x.dtype, T => lower_loop::<T, T>(cx, move |v| T::unary(op, v)));
    }
    let map = match x.format {
        Format::Plain | Format::ChannelsLast => Map::new(cx.isa(), function, x.shape.iter().product()),
        Format::Blocked | Format::Flattened { .. } => Map::blocked(cx.isa(), function, x.blocked()?, y.blocked()?)?,
    };
    let run = move |io: &mut Io<'_>, par: &dyn Parallel| {
        if io.in_place(0) {
            done(map.apply_in_place(io.output(0), par));
        } else {
            done(map.apply(io.input(0), io.output(0), par));
        }
    };
    Ok(Compute::function(function_name(function), run).in_place(0).into())
}

fn function_name(function: Activation) -> &'static str {
    crate::ops::activation::name(&function)
}

/// A plain loop over one operand.
fn lower_loop<T: Element, U: Element>(
    cx: &LowerCx,
    f: impl Fn(T) -> U + Send + Sync + Copy + 'static,
) -> Result<Lowered> {
    let plan = Broadcast::new(FILTER, [&cx.input(0)?.shape[..]])?;
    let run = move |io: &mut Io<'_>, par: &dyn Parallel| done(plan.map(io.input(0), io.output(0), par, f));
    Ok(Compute::function("loop", run).into())
}

impl Unary {
    pub(super) fn choose(&self, cx: &FormatCx) -> Formats {
        match self.kind.class() {
            UnaryClass::Map(kernel::Unary::Map(_)) if cx.out_ty(0).dtype == DType::F32 => cx.follow(0),
            _ => cx.plain(),
        }
    }

    pub(in crate::ops) fn kernel(&self, cx: &LowerCx) -> Result<Lowered> {
        let dtype = cx.input(0)?.dtype;
        match self.kind.class() {
            UnaryClass::Map(kernel::Unary::Map(function)) => lower_map(cx, function),
            UnaryClass::Map(op) => with_lowered!(dtype, T => lower_loop::<T, T>(cx, move |v| T::unary(op, v))),
            UnaryClass::Test(test) if dtype == DType::F32 => lower_test(cx, test),
            UnaryClass::Test(_) => Ok(Lowered::Interpreted),
        }
    }
}

fn lower_test(cx: &LowerCx, test: Test) -> Result<Lowered> {
    lower_loop::<f32, bool>(cx, move |v| test.of(f64::from(v)))
}

/// The formats of two operands: those of the one that has the result's shape, when the other can be had beside it.
pub(super) fn choose_pair(cx: &FormatCx) -> Formats {
    let out = cx.out_shape(0);
    let leads = |i: usize| cx.is_variable(i) && cx.shape(i) == out && cx.format(i) != Format::Plain;
    let blocked = |i: &usize| leads(*i) && cx.format(*i) == Format::Blocked;
    let Some(lead) = [0, 1].into_iter().find(blocked).or_else(|| [0, 1].into_iter().find(|&i| leads(i))) else {
        return cx.plain();
    };
    let (format, other) = (cx.format(lead), 1 - lead);
    let shape = cx.shape(other);
    let one = shape.iter().product::<usize>() == 1;
    let beside = match format {
        _ if cx.is_variable(other) && shape == out => format,
        _ if one => Format::Plain,
        Format::ChannelsLast => Format::Plain,
        Format::Blocked if !cx.is_variable(other) => Format::Plain,
        Format::Blocked if shape.len() == out.len() && cx.ty(other).is_some_and(can_block) => Format::Blocked,
        _ => return cx.plain(),
    };
    let mut f = cx.plain();
    f.inputs[lead] = format;
    f.inputs[other] = beside;
    f.outputs[0] = format;
    f
}

/// A binary operator of `f32` operands in the formats that [`choose_pair`] chose.
pub(super) fn lower_pair(cx: &LowerCx, op: kernel::Binary, activation: Activation) -> Result<Lowered> {
    match cx.output(0).format {
        Format::Plain => Ok(flat(cx, Arithmetic::new(cx.isa(), op, activation, cx.shape(0)?, cx.shape(1)?)?)),
        Format::ChannelsLast => {
            let plan = channels_last(cx)?;
            Ok(flat(cx, Arithmetic::planned(cx.isa(), op, activation, plan)?))
        }
        Format::Blocked | Format::Flattened { .. } => images(cx, op, activation),
    }
}

fn flat(cx: &LowerCx, f: Arithmetic) -> Lowered {
    let aligned = [0, 1].map(|k| f.aligned(k) && cx.constant(k).is_none());
    let run = move |io: &mut Io<'_>, par: &dyn Parallel| {
        if io.in_place(0) {
            done(f.apply_to_first(io.input(1), io.output(0), par));
        } else if io.in_place(1) {
            done(f.apply_to_second(io.input(0), io.output(0), par));
        } else {
            done(f.apply(io.input(0), io.input(1), io.output(0), par));
        }
    };
    in_places(Compute::function("vectors", run), aligned)
}

fn in_places(mut c: Compute, aligned: [bool; 2]) -> Lowered {
    for k in [0, 1] {
        if aligned[k] {
            c = c.in_place(k);
        }
    }
    c.into()
}

/// How operands lie beside a result `[N, spatial..., C]`: those of its shape as it does, others row-major in logical order.
pub(crate) fn channels_last(cx: &LowerCx) -> Result<Broadcast<2>> {
    let out = &cx.output(0).shape;
    let physical = order(Format::ChannelsLast, out.len());
    let steps = |i: usize| -> Result<(Vec<usize>, usize)> {
        let p = cx.input(i)?;
        let order = order(p.format, out.len());
        let shape = padded(&p.shape, out.len());
        let (mut strides, mut step) = (vec![0; out.len()], 1);
        for &axis in order.iter().rev() {
            strides[axis] = if shape[axis] == 1 { 0 } else { step };
            step *= shape[axis];
        }
        Ok((physical.iter().map(|&a| strides[a]).collect(), step))
    };
    let ((a, len_a), (b, len_b)) = (steps(0)?, steps(1)?);
    let dims: Vec<usize> = physical.iter().map(|&a| out[a]).collect();
    Ok(Broadcast::strided(FILTER, &dims, &[a, b], [len_a, len_b])?)
}

/// The axes of a value of `rank` dimensions in the order of memory.
pub(crate) fn order(format: Format, rank: usize) -> Vec<usize> {
    match format {
        Format::ChannelsLast => std::iter::once(0).chain(2..rank).chain(std::iter::once(1)).collect(),
        _ => (0..rank).collect(),
    }
}

/// A shape with ones before it.
fn padded(shape: &[usize], rank: usize) -> Vec<usize> {
    let missing = rank.saturating_sub(shape.len());
    std::iter::repeat_n(1, missing).chain(shape.iter().copied()).collect()
}

/// One operand beside a blocked result: its side, and its elements where they had to be put in blocks.
fn side(cx: &LowerCx, i: usize, y: &Placement) -> Result<(Side, Option<Arc<Vec<f32>>>)> {
    let p = cx.input(i)?;
    if matches!(p.format, Format::Blocked | Format::Flattened { .. }) {
        return Ok((Side::Image(p.blocked()?), None));
    }
    let shape = padded(&p.shape, y.shape.len());
    if shape.iter().product::<usize>() == 1 {
        return Ok((Side::Scalar, None));
    }
    let mut channels = vec![1; shape.len()];
    channels[1] = y.shape[1];
    if shape == channels {
        return Ok((Side::Channels, None));
    }
    let values = cx.floats(i).ok_or_else(|| Error::graph(format!("input {i}: {p:?} beside a blocked result")))?;
    let g = geometry(&shape, Halo::default())?;
    let packed = cx.packed(&format!("blocks of {shape:?} as input {i}"), || Ok(in_blocks(&values, &g)))?;
    Ok((Side::Image(g), Some(packed)))
}

/// A plain image without a halo in blocks.
fn in_blocks(x: &[f32], g: &Blocked) -> Vec<f32> {
    let mut y = vec![0.0; g.len()];
    let plane = g.positions();
    for (i, &v) in x.iter().enumerate() {
        let (n, c, at) = (i / (g.c * plane), i / plane % g.c, i % plane);
        y[((n * g.blocks() + c / BLOCK) * plane + at) * BLOCK + c % BLOCK] = v;
    }
    y
}

fn images(cx: &LowerCx, op: kernel::Binary, activation: Activation) -> Result<Lowered> {
    let y = cx.output(0);
    let ((a, packed_a), (b, packed_b)) = (side(cx, 0, y)?, side(cx, 1, y)?);
    let f = Images::new(cx.isa(), op, activation, a, b, y.blocked()?)?;
    let aligned = [0, 1].map(|k| f.aligned(k) && cx.constant(k).is_none());
    let packed = [packed_a, packed_b];
    let run = move |io: &mut Io<'_>, par: &dyn Parallel| {
        let y = io.output(0);
        let operand = |k: usize| packed[k].as_ref().map_or_else(|| io.input(k), |p| p.as_slice());
        if io.in_place(0) {
            done(f.apply_to_first(operand(1), y, par));
        } else if io.in_place(1) {
            done(f.apply_to_second(operand(0), y, par));
        } else {
            done(f.apply(operand(0), operand(1), y, par));
        }
    };
    Ok(in_places(Compute::function("blocks", run), aligned))
}

impl Binary {
    pub(super) fn choose(&self, cx: &FormatCx) -> Formats {
        let floats = cx.out_ty(0).dtype == DType::F32 && cx.ty(1).is_some_and(|t| t.dtype == DType::F32);
        if matches!(self.kind.class(), BinaryClass::Map(_)) && floats { choose_pair(cx) } else { cx.plain() }
    }

    pub(in crate::ops) fn kernel(&self, cx: &LowerCx) -> Result<Lowered> {
        let (a, b) = (cx.input(0)?.dtype, cx.input(1)?.dtype);
        if let Some(function) = self.power(cx) {
            return lower_map(cx, function);
        }
        match self.kind.class() {
            _ if a != b => Ok(Lowered::Interpreted),
            BinaryClass::Map(op) if a == DType::F32 => lower_pair(cx, op, self.activation),
            BinaryClass::Map(op) | BinaryClass::Logic(op) => {
                with_lowered!(a, T => lower_zip::<T, T>(cx, move |a, b| T::binary(op, a, b)))
            }
            BinaryClass::Compare(op) => {
                with_lowered!(a, T => lower_zip::<T, bool>(cx, move |a, b| compare(op, a, b)))
            }
        }
    }

    /// The function that a power with a constant exponent is.
    fn power(&self, cx: &LowerCx) -> Option<Activation> {
        let exponent = cx.constant(1).filter(|t| t.len() == 1)?.to_f64()[0];
        let plain = self.kind == BinaryKind::Pow && self.activation == Activation::Identity;
        let same = cx.input(0).ok()?.shape == cx.output(0).shape && cx.input(0).ok()?.dtype == DType::F32;
        let functions = [
            (1.0, Activation::Identity),
            (2.0, Activation::Square),
            (0.5, Activation::Sqrt),
            (-0.5, Activation::Rsqrt),
            (-1.0, Activation::Reciprocal),
        ];
        functions.into_iter().find(|f| f.0 == exponent && plain && same).map(|f| f.1)
    }
}

/// A plain loop over two operands.
fn lower_zip<T: Element, U: Element>(
    cx: &LowerCx,
    f: impl Fn(T, T) -> U + Send + Sync + Copy + 'static,
) -> Result<Lowered> {
    let plan = Broadcast::new(FILTER, [cx.shape(0)?, cx.shape(1)?])?;
    let run = move |io: &mut Io<'_>, par: &dyn Parallel| done(plan.zip(io.input(0), io.input(1), io.output(0), par, f));
    Ok(Compute::function("loop", run).into())
}

impl PRelu {
    pub(super) fn choose(cx: &FormatCx) -> Formats {
        if cx.out_ty(0).dtype == DType::F32 { choose_pair(cx) } else { cx.plain() }
    }

    pub(super) fn kernel(cx: &LowerCx) -> Result<Lowered> {
        if cx.input(0)?.dtype != DType::F32 {
            return Ok(Lowered::Interpreted);
        }
        lower_pair(cx, kernel::Binary::PRelu, Activation::Identity)
    }
}

impl Where {
    pub(super) fn kernel(cx: &LowerCx) -> Result<Lowered> {
        let plan = Broadcast::<3>::new(FILTER, [cx.shape(0)?, cx.shape(1)?, cx.shape(2)?])?;
        with_lowered!(cx.input(1)?.dtype, T => {
            let run = move |io: &mut Io<'_>, par: &dyn Parallel| {
                let (c, a, b) = (io.input::<bool>(0), io.input::<T>(1), io.input::<T>(2));
                done(plan.zip(c, a, b, io.output::<T>(0), par, |c, a, b| if c { a } else { b }));
            };
            Ok(Compute::function("loop", run).into())
        })
    }
}

impl Cast {
    pub(in crate::ops) fn kernel(&self, cx: &LowerCx) -> Result<Lowered> {
        use half::{bf16, f16};
        macro_rules! pairs {
            ($($from:ident $from_ty:ty => $to:ident $to_ty:ty;)*) => {
                match (cx.input(0)?.dtype, self.to) {
                    (from, to) if from == to => Ok(Lowered::Alias(0)),
                    $((DType::$from, DType::$to) => lower_loop::<$from_ty, $to_ty>(cx, cast),)*
                    _ => Ok(Lowered::Interpreted),
                }
            };
        }
        pairs! {
            F32 f32 => F16 f16;
            F32 f32 => BF16 bf16;
            F32 f32 => F64 f64;
            F32 f32 => I32 i32;
            F32 f32 => I64 i64;
            F32 f32 => U8 u8;
            F32 f32 => Bool bool;
            F16 f16 => F32 f32;
            BF16 bf16 => F32 f32;
            F64 f64 => F32 f32;
            I32 i32 => F32 f32;
            I64 i64 => F32 f32;
            U8 u8 => F32 f32;
            I8 i8 => F32 f32;
            Bool bool => F32 f32;
            I32 i32 => I64 i64;
            I64 i64 => I32 i32;
            Bool bool => I64 i64;
            Bool bool => I32 i32;
            I64 i64 => Bool bool;
            I32 i32 => Bool bool;
            U8 u8 => I32 i32;
        }
    }
}
