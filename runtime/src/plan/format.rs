//! How values lie in memory, and which format each op gets and gives.

use super::bound::Bound;
use crate::ops::infer::ValueType;
use crate::{Error, Graph, Node, Result, Tensor};
use pocketnn_kernels::layout::Blocked;

/// Zeros around the spatial axes of a blocked tensor: before and after depth, height, width.
pub type Halo = [(usize, usize); 3];

/// Order of a value's elements in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Format {
    /// Row-major in the logical order.
    Plain,
    /// Row-major with channels innermost: `[N, spatial..., C]` of a value that is logically `[N, C, spatial...]`.
    ChannelsLast,
    /// Channel blocks of eight with a zero halo (`f32` values of rank 3 to 5): [`Blocked`].
    Blocked,
    /// A value `[N, C * positions]` that is a blocked image `[N, C, size]` without a halo, flattened without moving anything.
    Flattened {
        /// Logical channels of the image.
        channels: usize,
        /// Its depth, height and width.
        size: [usize; 3],
    },
}

/// The formats an op wants of its inputs (constants stay plain) and gives its outputs.
#[derive(Clone, Debug)]
pub struct Formats {
    /// One an input.
    pub inputs: Vec<Format>,
    /// One an output.
    pub outputs: Vec<Format>,
}

/// Values that are pieces of one value along an axis, one after another: a concatenation or a split. Where the pieces lie in one
/// piece each in memory, too, nothing is copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// The axis.
    pub axis: usize,
    /// True when the outputs are parts of input 0, false when the inputs are parts of output 0.
    pub of_input: bool,
    /// Where each part begins on the axis.
    pub starts: Vec<usize>,
}

/// Whether output 0 may lie where an input of the same shape lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InPlace {
    /// No.
    Never,
    /// When the input is not needed afterwards.
    Once,
    /// They are the same elements.
    Always,
}

/// What an op sees when it chooses formats: types, and the formats in which its inputs come.
pub struct FormatCx<'a> {
    pub(super) graph: &'a Graph,
    pub(super) node: &'a Node,
    pub(super) formats: &'a [Format],
}

impl FormatCx<'_> {
    /// Number of inputs, absent ones included.
    pub fn len(&self) -> usize {
        self.node.inputs.len()
    }
    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        self.node.outputs.len()
    }
    /// True when the node has no input.
    pub fn is_empty(&self) -> bool {
        self.node.inputs.is_empty()
    }
    /// Shape of an input; empty for an absent one.
    pub fn shape(&self, i: usize) -> Vec<usize> {
        self.ty(i).and_then(ValueType::known_shape).unwrap_or_default()
    }
    /// Type of an input.
    pub fn ty(&self, i: usize) -> Option<&ValueType> {
        self.node.inputs.get(i).copied().flatten().map(|v| self.graph.ty(v))
    }
    /// Shape of an output.
    pub fn out_shape(&self, i: usize) -> Vec<usize> {
        self.graph.ty(self.node.outputs[i]).known_shape().unwrap_or_default()
    }
    /// Type of an output.
    pub fn out_ty(&self, i: usize) -> &ValueType {
        self.graph.ty(self.node.outputs[i])
    }
    /// The elements of a constant input.
    pub fn constant(&self, i: usize) -> Option<&Tensor> {
        self.node.inputs.get(i).copied().flatten().and_then(|v| self.graph.constant(v))
    }
    /// True for an input that is there and computed at run time.
    pub fn is_variable(&self, i: usize) -> bool {
        self.ty(i).is_some() && self.constant(i).is_none()
    }
    /// The format in which an input comes; plain for constants and absent inputs.
    pub fn format(&self, i: usize) -> Format {
        let v = self.node.inputs.get(i).copied().flatten();
        v.map_or(Format::Plain, |v| self.formats[v.index()])
    }
    /// Everything plain.
    pub fn plain(&self) -> Formats {
        Formats { inputs: vec![Format::Plain; self.len()], outputs: vec![Format::Plain; self.node.outputs.len()] }
    }
    /// An image op: input 0 and the first output blocked, everything else plain.
    pub fn blocked(&self) -> Formats {
        let mut f = self.plain();
        f.inputs[0] = Format::Blocked;
        f.outputs[0] = Format::Blocked;
        f
    }
    /// An op that works element by element: when input 0 is a variable in some format, that format throughout for it, for the
    /// first output (whose shape must be that of input 0), and for every variable input of the same shape.
    pub fn follow(&self, i: usize) -> Formats {
        let mut f = self.plain();
        let (format, shape) = (self.format(i), self.shape(i));
        if shape != self.out_shape(0) || matches!(format, Format::Plain) {
            return f;
        }
        for j in 0..self.len() {
            if self.is_variable(j) && self.shape(j) == shape {
                f.inputs[j] = format;
            }
        }
        f.outputs[0] = format;
        f
    }
}

/// True for values that may be blocked: `f32` images `[N, C, spatial...]` with one to three spatial axes.
pub fn can_block(ty: &ValueType) -> bool {
    ty.dtype == crate::DType::F32 && (3..=5).contains(&ty.shape.len())
}

/// Geometry of an image `[N, C, spatial...]` as a blocked tensor.
///
/// # Errors
/// When the shape is not that of an image.
pub fn geometry(shape: &[usize], halo: Halo) -> Result<Blocked> {
    if !(3..=5).contains(&shape.len()) {
        return Err(Error::graph(format!("expected an image [N, C, spatial...] of rank 3 to 5, found {shape:?}")));
    }
    let mut size = [1; 3];
    size[5 - shape.len()..].copy_from_slice(&shape[2..]);
    Ok(Blocked::new(shape[0], shape[1], size).with_halo(halo))
}

/// Where and how a value of the plan lies.
#[derive(Clone, Debug)]
pub struct Placement {
    /// Element type.
    pub dtype: crate::DType,
    /// Logical shape.
    pub shape: Vec<usize>,
    /// Order of elements.
    pub format: Format,
    /// Zeros around a blocked image.
    pub halo: Halo,
}

impl Placement {
    /// Geometry of a blocked (or flattened) value.
    ///
    /// # Errors
    /// When the value is neither.
    pub fn blocked(&self) -> Result<Blocked> {
        match self.format {
            Format::Blocked => geometry(&self.shape, self.halo),
            Format::Flattened { channels, size } => Ok(Blocked::new(self.shape[0], channels, size)),
            other => Err(Error::graph(format!("expected a blocked value, found {other:?}"))),
        }
    }
    /// Bytes the value occupies.
    ///
    /// # Errors
    /// When they overflow.
    pub fn bytes(&self) -> Result<usize> {
        match self.format {
            Format::Plain | Format::ChannelsLast => crate::checked_bytes(self.dtype, &self.shape),
            Format::Blocked | Format::Flattened { .. } => {
                let b = self.blocked()?;
                let [d, h, w] = b.stored();
                crate::checked_bytes(self.dtype, &[b.n, b.blocks(), d, h, w, pocketnn_kernels::layout::BLOCK])
            }
        }
    }
}

/// Formats of all values of a graph, before conversions: each as its producer gives it. Also what each node wants.
pub(super) fn choose(bound: &Bound) -> (Vec<Format>, Vec<Formats>) {
    let graph = &bound.graph;
    let mut formats = vec![Format::Plain; graph.values().len()];
    let mut wanted = Vec::with_capacity(graph.nodes().len());
    for node in graph.nodes() {
        let f = node.op.operator().formats(&FormatCx { graph, node, formats: &formats });
        for (&v, &format) in node.outputs.iter().zip(&f.outputs) {
            formats[v.index()] = format;
        }
        wanted.push(f);
    }
    (formats, wanted)
}
