//! Resampling of the spatial axes.

use super::attrs::{attr_enum, attributes};
use super::conv::operand;
use super::elementwise::lower::done;
use super::infer::{Infer, ValueType};
use super::operands::{by_size, distinct_axes, entries, extent, from_raw, raw, shape, unknown_shape, vector};
use super::{Evaluate, Operator};
use crate::plan::{Compute, Format, FormatCx, Formats, Io, LowerCx, Lowered, can_block};
use crate::{DType, Dim, Error, Result, Tensor, checked_len, with_dtype};
use pocketnn_kernels::elementwise::Number;
use pocketnn_kernels::movement::Select;
use pocketnn_kernels::par::Parallel;
use pocketnn_kernels::reference;
use pocketnn_kernels::resize::{self as kernel, Axis, Method, Rounding, Table};

attr_enum! {
    /// Interpolation.
    pub enum ResizeMode {
        /// The nearest element.
        #[default] Nearest = "nearest",
        /// Linear in every axis.
        Linear = "linear",
        /// Cubic in every axis.
        Cubic = "cubic",
    }
    /// How an output position maps to an input position (ONNX names).
    pub enum Coordinates {
        /// `(x + 0.5) / scale - 0.5`
        #[default] HalfPixel = "half_pixel",
        /// As half pixel, symmetric about the centre when the output extent is rounded.
        HalfPixelSymmetric = "half_pixel_symmetric",
        /// As half pixel, 0 where the output extent is 1.
        PytorchHalfPixel = "pytorch_half_pixel",
        /// `x * (in - 1) / (out - 1)`
        AlignCorners = "align_corners",
        /// `x / scale`
        Asymmetric = "asymmetric",
        /// `(x + 0.5) / scale` (TensorFlow 1 nearest with half-pixel centres).
        TfHalfPixel = "tf_half_pixel_for_nn",
        /// Inside a region of interest; positions outside give a constant.
        TfCropAndResize = "tf_crop_and_resize",
    }
    /// Which element is nearest.
    pub enum NearestMode {
        /// Rounds, ties down.
        #[default] RoundPreferFloor = "round_prefer_floor",
        /// Rounds, ties up.
        RoundPreferCeil = "round_prefer_ceil",
        /// Down.
        Floor = "floor",
        /// Up.
        Ceil = "ceil",
    }
    /// How `sizes` are kept in proportion.
    pub enum AspectPolicy {
        /// They are taken as they are.
        #[default] Stretch = "stretch",
        /// None larger than asked.
        NotLarger = "not_larger",
        /// None smaller than asked.
        NotSmaller = "not_smaller",
    }
}

attributes! {
    /// Resampling. Inputs `x`, optional `roi` (f32), optional `scales` (f32 vector), optional `sizes` (i64 vector); one of the last two.
    /// `scales`, `sizes` and `roi` speak of `axes`.
    pub struct Resize {
        /// Interpolation.
        pub mode: ResizeMode = ResizeMode::Nearest,
        /// Coordinates.
        pub coordinates: Coordinates = Coordinates::HalfPixel,
        /// Rounding of nearest.
        pub nearest: NearestMode = NearestMode::RoundPreferFloor,
        /// Coefficient of the cubic.
        pub cubic_a: f32 = -0.75,
        /// Weights of positions outside are 0 and the others scaled to sum 1 (cubic).
        pub exclude_outside: bool = false,
        /// Value outside the region of interest.
        pub extrapolation: f32 = 0.0,
        /// Widens the filter when shrinking.
        pub antialias: bool = false,
        /// Proportion.
        pub aspect: AspectPolicy = AspectPolicy::Stretch,
        /// Axes that `scales` and `sizes` name; empty: all.
        pub axes: Vec<i64> = vec![],
    }
}

/// Largest denominator of a scale that keeps a symbolic extent an expression.
const DENOMINATORS: i64 = 64;

impl Resize {
    /// The axes that `scales`, `sizes` and `roi` speak of.
    fn named(&self, rank: usize) -> Result<Vec<usize>> {
        if self.axes.is_empty() { Ok((0..rank).collect()) } else { distinct_axes(&self.axes, rank) }
    }

    /// Output extent and scale of every axis.
    fn extents(&self, x: &[usize], scales: Option<&[f32]>, sizes: Option<&[i64]>) -> Result<Vec<(usize, f64)>> {
        let axes = self.named(x.len())?;
        let count = |what: &str, n: usize| {
            let message = format!("{what}: expected {} entries, one an axis, found {n}", axes.len());
            if n == axes.len() { Ok(()) } else { Err(Error::graph(message)) }
        };
        let mut out: Vec<(usize, f64)> = x.iter().map(|&d| (d, 1.0)).collect();
        match (scales, sizes) {
            (Some(scales), _) => {
                count("input 2", scales.len())?;
                for (&a, &s) in axes.iter().zip(scales) {
                    out[a] = (scaled(x[a], s)?, f64::from(s));
                }
            }
            (None, sizes) => {
                let sizes = sizes.unwrap_or_default();
                count("input 3", sizes.len())?;
                for (&a, &n) in axes.iter().zip(sizes) {
                    let n = usize::try_from(n).map_err(|_| Error::graph(format!("input 3: the extent {n}")))?;
                    out[a] = (n, n as f64 / x[a] as f64);
                }
                self.proportion(x, &axes, &mut out);
            }
        }
        match out.iter().zip(x).find(|(o, n)| o.0 > 0 && **n == 0) {
            Some((o, _)) => Err(Error::graph(format!("an empty axis cannot become one of {} elements", o.0))),
            None => Ok(out),
        }
    }

    /// Keeps the proportion of the named axes, as the policy says.
    fn proportion(&self, x: &[usize], axes: &[usize], out: &mut [(usize, f64)]) {
        let scales = axes.iter().map(|&a| out[a].1);
        let scale = match self.aspect {
            AspectPolicy::Stretch => return,
            AspectPolicy::NotLarger => scales.fold(f64::INFINITY, f64::min),
            AspectPolicy::NotSmaller => scales.fold(0.0, f64::max),
        };
        for &a in axes {
            out[a] = ((scale * x[a] as f64 + 0.5) as usize, scale);
        }
    }

    /// The mapping of an axis with this region of interest.
    fn mapping(&self, roi: (f64, f64)) -> kernel::Coordinates {
        match self.coordinates {
            Coordinates::HalfPixel => kernel::Coordinates::HalfPixel,
            Coordinates::HalfPixelSymmetric => kernel::Coordinates::HalfPixelSymmetric,
            Coordinates::PytorchHalfPixel => kernel::Coordinates::PytorchHalfPixel,
            Coordinates::AlignCorners => kernel::Coordinates::AlignCorners,
            Coordinates::Asymmetric => kernel::Coordinates::Asymmetric,
            Coordinates::TfHalfPixel => kernel::Coordinates::TfHalfPixel,
            Coordinates::TfCropAndResize => kernel::Coordinates::CropAndResize { start: roi.0, end: roi.1 },
        }
    }

    fn method(&self) -> Method {
        match self.mode {
            ResizeMode::Nearest => Method::Nearest(match self.nearest {
                NearestMode::RoundPreferFloor => Rounding::PreferFloor,
                NearestMode::RoundPreferCeil => Rounding::PreferCeil,
                NearestMode::Floor => Rounding::Floor,
                NearestMode::Ceil => Rounding::Ceil,
            }),
            ResizeMode::Linear => Method::Linear { antialias: self.antialias },
            ResizeMode::Cubic => Method::Cubic { a: f64::from(self.cubic_a), antialias: self.antialias },
        }
    }

    /// What stands outside a region of interest.
    fn fill(&self, dtype: DType) -> Tensor {
        with_dtype!(dtype, T => Tensor::scalar(T::from_f64(f64::from(self.extrapolation))))
    }

    /// Tables of the axes that change, and the output's shape. Operands: region, scales, sizes.
    fn tables(&self, x: &[usize], operands: &[Option<&Tensor>; 3]) -> Result<(Vec<Option<Table>>, Vec<usize>)> {
        let given = |i: usize| operands[i - 1].filter(|t| !t.is_empty());
        let sizes = given(3).map(Tensor::to_i64).transpose()?;
        let scales = given(2).map(Tensor::to_f32);
        let extents = self.extents(x, scales.as_deref(), sizes.as_deref())?;
        let shape: Vec<usize> = extents.iter().map(|e| e.0).collect();
        checked_len(&shape)?;
        if shape.contains(&0) {
            return Ok((vec![None; shape.len()], shape));
        }
        let axes = self.named(x.len())?;
        let crop = self.coordinates == Coordinates::TfCropAndResize;
        let roi = if crop { given(1).map(Tensor::to_f64) } else { None };
        let wrong = roi.as_ref().map_or(crop, |r| r.len() != 2 * axes.len());
        if wrong {
            let found = roi.map_or(0, |r| r.len());
            let message =
                format!("input 1: expected {} bounds of the region of interest, found {found}", 2 * axes.len());
            return Err(Error::graph(message));
        }
        let region = |a: usize| {
            let i = axes.iter().position(|&b| b == a)?;
            roi.as_ref().map(|r| (r[i], r[axes.len() + i]))
        };
        let tables = extents.iter().enumerate().map(|(a, &(output, scale))| {
            let coordinates = self.mapping(region(a).unwrap_or((0.0, 1.0)));
            let axis = Axis { input: x[a], output, scale, coordinates };
            let table = Table::new(&axis, self.method(), self.exclude_outside);
            (!table.is_identity(x[a])).then_some(table)
        });
        Ok((tables.collect(), shape))
    }

    fn symbolic(&self, cx: &Infer, x: &[Dim]) -> Result<Vec<Dim>> {
        let axes = self.named(x.len())?;
        let mut shape = x.to_vec();
        for &a in &axes {
            shape[a] = Dim::unknown();
        }
        if let (true, Some(scales)) = (given(cx, 2), cx.constant(2)) {
            for (&a, s) in axes.iter().zip(scales.to_f32()) {
                shape[a] = match x[a].known() {
                    Some(n) => Dim::from(scaled(n, s)?),
                    None => fraction(s)
                        .map_or_else(Dim::unknown, |(p, q)| (x[a].clone() * Dim::signed(p)).div_floor(&Dim::signed(q))),
                };
            }
        } else if given(cx, 3) && self.aspect == AspectPolicy::Stretch {
            let sizes = vector(cx, 3)?.map_or_else(|| unknown_shape(axes.len()), Ok)?;
            for (&a, n) in axes.iter().zip(sizes) {
                shape[a] = extent(n, "input 3")?;
            }
        }
        Ok(shape)
    }
}

/// The input position of every output position of every axis.
fn chosen(tables: &[Option<Table>], shape: &[usize]) -> Vec<Vec<Option<usize>>> {
    let of = |(t, &n): (&Option<Table>, &usize)| t.as_ref().map_or_else(|| (0..n).map(Some).collect(), Table::nearest);
    tables.iter().zip(shape).map(of).collect()
}

/// Extent times scale, rounded down as floats do it.
fn scaled(n: usize, scale: f32) -> Result<usize> {
    if !(scale > 0.0 && scale.is_finite()) {
        return Err(Error::graph(format!("input 2: expected positive scales, found {scale}")));
    }
    Ok((n as f32 * scale) as usize)
}

/// A scale as a fraction of small numbers, when it is one exactly.
fn fraction(scale: f32) -> Option<(i64, i64)> {
    (1..=DENOMINATORS).find_map(|q| {
        let p = (scale * q as f32).round();
        ((1.0..1e6).contains(&p) && p / q as f32 == scale).then_some((p as i64, q))
    })
}

/// True for an operand that is there and not empty.
fn given(cx: &Infer, i: usize) -> bool {
    cx.fact(i).is_some_and(|f| !f.ty.shape.iter().any(|d| d.known() == Some(0)))
}

impl Operator for Resize {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let x = cx.ty(0)?;
        let (has_scales, has_sizes) = (given(cx, 2), given(cx, 3));
        if has_scales == has_sizes {
            let found = if has_scales { "both" } else { "neither" };
            return Err(Error::graph(format!("inputs 2 and 3: expected scales or sizes, found {found}")));
        }
        if has_scales && !cx.dtype(2)?.is_float() {
            return Err(Error::graph(format!("input 2: expected scales of f32, found {}", cx.ty(2)?)));
        }
        if has_sizes {
            entries(cx, 3)?;
        }
        let scales = if has_scales { cx.constant(2).map(Tensor::to_f32) } else { None };
        let sizes = if has_sizes { cx.integers(3) } else { None };
        let open = (has_scales && scales.is_none()) || (has_sizes && sizes.is_none());
        let shape = match x.known_shape() {
            Some(known) if !open => {
                let extents = self.extents(&known, scales.as_deref(), sizes.as_deref())?;
                extents.into_iter().map(|e| Dim::from(e.0)).collect()
            }
            _ => self.symbolic(cx, &x.shape)?,
        };
        Ok(vec![ValueType::new(x.dtype, shape)])
    }
    fn formats(&self, cx: &FormatCx) -> Formats {
        let (x, y) = (cx.shape(0), cx.out_shape(0));
        let known = (1..4).all(|i| cx.ty(i).is_none() || cx.constant(i).is_some());
        let spatial = x.len() >= 3 && x[..2] == y[..2];
        let crop = self.coordinates == Coordinates::TfCropAndResize;
        if known && spatial && !crop && can_block(cx.out_ty(0)) { cx.blocked() } else { cx.plain() }
    }
    fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
        let (x, y) = (cx.input(0)?, cx.output(0));
        if (1..4).any(|i| cx.has(i) && cx.constant(i).is_none()) {
            return Ok(Lowered::Interpreted);
        }
        let (tables, _) = self.tables(&x.shape, &[1, 2, 3].map(|i| cx.constant(i)))?;
        if y.shape.contains(&0) {
            return Ok(Compute::function("nothing", |_, _| {}).into());
        }
        if x.format == Format::Blocked {
            let rank = x.shape.len();
            let table = |i: usize| (i + rank).checked_sub(3).filter(|&a| a >= 2).and_then(|a| tables[a].as_ref());
            let resize = kernel::Resize::blocked(cx.isa(), x.blocked()?, y.blocked()?, [0, 1, 2].map(table))?;
            let run = move |io: &mut Io<'_>, par: &dyn Parallel| done(resize.apply(io.input(0), io.output(0), par));
            return Ok(Compute::function(self.mode.name(), run).into());
        }
        if self.mode != ResizeMode::Nearest || x.shape.is_empty() || x.shape.len() > 8 {
            return Ok(Lowered::Interpreted);
        }
        let select = Select::new(&x.shape, &chosen(&tables, &x.shape))?;
        let (dtype, fill) = (x.dtype, self.fill(x.dtype));
        let run = move |io: &mut Io<'_>, par: &dyn Parallel| {
            by_size!(dtype, T => {
                done(select.apply(io.input::<T>(0), io.output::<T>(0), raw::<T>(&fill)[0], par));
            });
        };
        Ok(Compute::function("nearest", run).into())
    }
}

impl Evaluate for Resize {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let shape = shape(self, inputs)?;
        let x = operand(inputs, 0)?;
        let (tables, out) = self.tables(x.shape(), &[1, 2, 3].map(|i| inputs.get(i).copied().flatten()))?;
        if out.contains(&0) {
            return Ok(vec![Tensor::zeros(x.dtype(), &shape)?]);
        }
        if self.mode != ResizeMode::Nearest {
            let y = reference::resize::resize(&x.to_f64(), x.shape(), &tables, f64::from(self.extrapolation));
            let y = with_dtype!(x.dtype(), T => Tensor::new(&shape, y.into_iter().map(T::from_f64).collect()))?;
            return Ok(vec![y]);
        }
        let (chosen, fill) = (chosen(&tables, x.shape()), self.fill(x.dtype()));
        by_size!(x.dtype(), T => {
            let y = reference::movement::select(raw::<T>(x), x.shape(), &chosen, raw::<T>(&fill)[0]);
            from_raw(x.dtype(), &shape, y)
        })
        .map(|t| vec![t])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Op, graph::infer_node, ops::infer::Fact};

    fn shape_of(op: Resize, x: &[Dim], scales: Option<&[f32]>, sizes: Option<&[i64]>) -> String {
        let x = Fact::of_type(ValueType::new(DType::F32, x));
        let scales = scales.map(|s| Fact::of_constant(Tensor::vector(s)));
        let sizes = sizes.map(|s| Fact::of_constant(Tensor::vector(s)));
        let all = infer_node(&Op::from(op), &[Some(&x), None, scales.as_ref(), sizes.as_ref()], 1);
        all.map_or_else(|e| e.to_string(), |f| f[0].ty.to_string())
    }

    #[test]
    fn shapes_from_scales_and_sizes() {
        let x = [Dim::symbol("N"), 3.into(), Dim::symbol("H"), 10.into()];
        let spatial = || Resize { axes: vec![2, 3], ..Resize::default() };
        assert_eq!(shape_of(Resize::default(), &x, Some(&[1.0, 1.0, 2.0, 0.7]), None), "f32[N, 3, 2*H, 7]");
        assert_eq!(shape_of(spatial(), &x, Some(&[0.5, 2.0]), None), "f32[N, 3, floor((H)/(2)), 20]");
        assert_eq!(shape_of(spatial(), &x, None, Some(&[8, 9])), "f32[N, 3, 8, 9]");
        assert!(shape_of(spatial(), &x, Some(&[0.5, -2.0]), None).contains("positive scales"));
        assert!(shape_of(spatial(), &x, None, None).contains("found neither"));
        let known = [1.into(), 1.into(), 2.into(), 4.into()];
        let keep = |aspect| shape_of(Resize { aspect, ..spatial() }, &known, None, Some(&[7, 8]));
        assert_eq!(
            [keep(AspectPolicy::NotLarger), keep(AspectPolicy::NotSmaller)],
            ["f32[1, 1, 4, 8]", "f32[1, 1, 7, 14]"]
        );
        assert!(shape_of(spatial(), &known, None, Some(&[7])).contains("expected 2 entries"));
        assert!(shape_of(spatial(), &[1usize, 1, 0, 3].map(Dim::from), None, Some(&[7, 1])).contains("empty axis"));
    }

    #[test]
    fn crops_take_a_constant_outside() {
        let op = Resize {
            coordinates: Coordinates::TfCropAndResize,
            mode: ResizeMode::Linear,
            extrapolation: 9.0,
            ..Resize::default()
        };
        let (x, roi) = (Tensor::vector(&[0.0f32, 2.0, 4.0]), Tensor::vector(&[0.25f32, 1.25]));
        let y = op.eval(&[Some(&x), Some(&roi), None, Some(&Tensor::vector(&[3i64]))], 1).unwrap();
        assert_eq!(y[0].to_f32(), [1.0, 3.0, 9.0]);
        let e = op.eval(&[Some(&x), None, None, Some(&Tensor::vector(&[3i64]))], 1).unwrap_err();
        assert!(e.to_string().contains("region of interest"), "{e}");
    }

    #[test]
    fn nearest_moves_elements_of_every_type() {
        let x = Tensor::vector(&[1u8, 2, 3]);
        let y = Resize::default().eval(&[Some(&x), None, Some(&Tensor::vector(&[2.0f32]))], 1).unwrap();
        assert_eq!(y[0], Tensor::vector(&[1u8, 1, 2, 2, 3, 3]));
    }
}
