//! Pooling over windows of the spatial axes. Global pooling is [`super::reduce::Reduce`].

use super::attrs::{attr_enum, attributes};
use super::conv::lower::lead;
use super::conv::{Pads, Steps, float_tensor, image, operand, per_axis};
use super::elementwise::lower::done;
use super::infer::{Infer, ValueType};
use super::{Evaluate, Operator};
use crate::plan::{Compute, Format, FormatCx, Formats, Io, LowerCx, Lowered, can_block};
use crate::{DType, Dim, Error, Result, Tensor};
use pocketnn_kernels::reference::{self, Window};
use pocketnn_kernels::{par::Parallel, pool as kernel};

attr_enum! {
    /// What is taken of a window.
    pub enum PoolKind {
        /// The largest element.
        #[default] Max = "max",
        /// The mean.
        Average = "average",
        /// `(sum |x|^p)^(1/p)`
        Lp = "lp",
    }
}

attributes! {
    /// Pooling. Input `x [N, C, spatial...]`.
    pub struct Pool {
        /// What is taken.
        pub kind: PoolKind = PoolKind::Max,
        /// Window of each spatial axis.
        pub kernel: Vec<usize> = vec![],
        /// Step of each spatial axis; empty means 1.
        pub strides: Vec<usize> = vec![],
        /// Distance of the window's elements; empty means 1.
        pub dilations: Vec<usize> = vec![],
        /// Padding.
        pub pads: Pads = Pads::default(),
        /// Round the output extents up; a window that would start in the end padding is left out.
        pub ceil_mode: bool = false,
        /// Averages divide by the window's size including explicit padding (never what `ceil_mode` adds).
        pub count_include_pad: bool = false,
        /// Exponent of `Lp`.
        pub p: i64 = 2,
    }
    /// Largest element of each window and where it was. Input `x [N, C, spatial...]`; second output i64: flat index into `x`.
    pub struct MaxPoolWithIndices {
        /// Window of each spatial axis.
        pub kernel: Vec<usize> = vec![],
        /// Step of each spatial axis; empty means 1.
        pub strides: Vec<usize> = vec![],
        /// Distance of the window's elements; empty means 1.
        pub dilations: Vec<usize> = vec![],
        /// Padding.
        pub pads: Pads = Pads::default(),
        /// As in [`Pool`].
        pub ceil_mode: bool = false,
        /// Indices count columns first within an image.
        pub column_major: bool = false,
    }
}

impl Operator for Pool {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        if self.kind == PoolKind::Lp && self.p < 1 {
            return Err(Error::graph(format!("p: expected at least 1, found {}", self.p)));
        }
        let shape = infer(cx, &self.kernel, &self.strides, &self.dilations, &self.pads, self.ceil_mode)?;
        Ok(vec![ValueType::new(cx.dtype(0)?, shape)])
    }
    fn formats(&self, cx: &FormatCx) -> Formats {
        if cx.ty(0).is_some_and(can_block) && can_block(cx.out_ty(0)) { cx.blocked() } else { cx.plain() }
    }
    fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
        if cx.format(0)? != Format::Blocked || cx.output(0).format != Format::Blocked {
            return Ok(Lowered::Interpreted);
        }
        let (window, out) = self.window(&cx.shape(0)?[2..])?;
        let kernel = kernel::Pool::new(
            cx.isa(),
            kernel::PoolDesc {
                input: cx.image(0)?,
                kind: self.function(),
                kernel: lead(&window.kernel, 1),
                stride: lead(&window.stride, 1),
                dilation: lead(&window.dilation, 1),
                pads: lead(&window.pads, (0, 0)),
                output: lead(&out, 1),
                output_halo: cx.out_image(0)?.halo,
            },
        )?;
        let run = move |io: &mut Io<'_>, par: &dyn Parallel| done(kernel.apply(io.input(0), io.output(0), par));
        Ok(Compute::function(self.kind.name(), run).into())
    }
}

impl Evaluate for Pool {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let x = operand(inputs, 0)?;
        let (window, out) = self.window(&x.shape()[2..])?;
        let (y, shape) = reference::pool::pool(&x.to_f32(), x.shape(), self.function(), &window, &out);
        Ok(vec![float_tensor(&shape, y, x.dtype())?])
    }
}

impl Pool {
    /// The window with explicit padding, and the output extents, on an image of this size.
    ///
    /// # Errors
    /// When a list has the wrong length or an entry is out of range.
    pub fn window(&self, size: &[usize]) -> Result<(Window, Vec<usize>)> {
        window(size, &self.kernel, &self.strides, &self.dilations, &self.pads, self.ceil_mode)
    }
    /// What is made of a window.
    pub fn function(&self) -> reference::pool::PoolKind {
        match self.kind {
            PoolKind::Max => reference::pool::PoolKind::Max,
            PoolKind::Average => reference::pool::PoolKind::Average { count_padding: self.count_include_pad },
            PoolKind::Lp => reference::pool::PoolKind::Norm { p: self.p as f32 },
        }
    }
}

impl Operator for MaxPoolWithIndices {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let shape = infer(cx, &self.kernel, &self.strides, &self.dilations, &self.pads, self.ceil_mode)?;
        Ok(vec![ValueType::new(cx.dtype(0)?, shape.clone()), ValueType::new(DType::I64, shape)])
    }
}

impl Evaluate for MaxPoolWithIndices {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let x = operand(inputs, 0)?;
        let size = &x.shape()[2..];
        let (window, out) = window(size, &self.kernel, &self.strides, &self.dilations, &self.pads, self.ceil_mode)?;
        let shape: Vec<usize> = x.shape()[..2].iter().chain(&out).copied().collect();
        let (y, at) = reference::pool::max_with_indices(&x.to_f32(), x.shape(), &window, &out);
        let plane: usize = size.iter().product();
        let index = |i: usize| {
            let spot = if self.column_major { column_major(i % plane, size) } else { i % plane };
            (i / plane * plane + spot) as i64
        };
        let at = at.into_iter().map(|i| i.map_or(-1, index)).collect();
        Ok(vec![float_tensor(&shape, y, x.dtype())?, Tensor::new(&shape, at)?])
    }
}

/// The number of a position when the first axis moves fastest, from its row-major number.
fn column_major(mut row_major: usize, size: &[usize]) -> usize {
    let mut weight: usize = size.iter().product();
    let mut number = 0;
    for &extent in size.iter().rev() {
        weight /= extent;
        number += row_major % extent * weight;
        row_major /= extent;
    }
    number
}

fn infer(
    cx: &Infer,
    kernel: &[usize],
    strides: &[usize],
    dilations: &[usize],
    pads: &Pads,
    ceil: bool,
) -> Result<Vec<Dim>> {
    let x = image(cx, 0)?;
    let rank = x.len() - 2;
    if kernel.len() != rank {
        return Err(Error::graph(format!("kernel: expected {rank} entries, one per spatial axis, found {kernel:?}")));
    }
    let kernel = per_axis("kernel", kernel, rank, 1)?;
    let steps = Steps::new(rank, strides, dilations)?;
    let mut shape = x[..2].to_vec();
    for i in 0..rank {
        shape.push(steps.output(i, &x[i + 2], &Dim::from(kernel[i]), pads, ceil)?);
    }
    Ok(shape)
}

fn window(
    size: &[usize],
    kernel: &[usize],
    strides: &[usize],
    dilations: &[usize],
    pads: &Pads,
    ceil: bool,
) -> Result<(Window, Vec<usize>)> {
    let steps = Steps::new(size.len(), strides, dilations)?;
    let explicit = steps.resolve(pads, size, kernel)?;
    let out = (0..size.len())
        .map(|i| {
            let extent = steps.output(i, &Dim::from(size[i]), &Dim::from(kernel[i]), pads, ceil)?;
            extent.known().ok_or_else(|| Error::graph(format!("spatial axis {i}: negative extent")))
        })
        .collect::<Result<_>>()?;
    let Steps { stride, dilation } = steps;
    Ok((Window { kernel: kernel.to_vec(), stride, dilation, pads: explicit }, out))
}
