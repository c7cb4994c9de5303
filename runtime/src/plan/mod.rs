//! From a graph with concrete shapes to a flat list of steps in one arena.
//!
//! 1. Formats: each op says in which memory format it wants its inputs and gives its outputs ([`Operator::formats`](crate::ops::Operator::formats)); where a
//!    producer and a consumer differ, one conversion is inserted and shared by all consumers. Image ops work on channel
//!    blocks ([`Format::Blocked`]); elementwise ops follow; transposes between `[N, H, W, C]` and `[N, C, H, W]` only rename
//!    ([`Format::ChannelsLast`]).
//! 2. Halos: a blocked value gets the largest padding any of its consumers reads.
//! 3. Lowering: each op becomes a [`Step`] with packed weights, an alias, or, without a kernel, a naive evaluation.
//! 4. Memory: lifetimes, in-place reuse and offsets; the size of the arena is known before anything runs.
//!
//! A lowering in an op's file looks like this:
//!
//! ```ignore
//! fn formats(&self, cx: &FormatCx) -> Formats { cx.follow(0) }            // elementwise: as the input comes
//! fn lower(&self, cx: &LowerCx) -> Result<Lowered> {
//!     let map = Map::new(cx.isa(), self.kind, cx.input(0)?.bytes()? / 4);    // validated, packed, planned here
//!     Ok(Compute::function("map", move |io, par| {                         // arithmetic only
//!         if io.in_place(0) { map.apply_in_place(io.output(0), par) } else { map.apply(io.input(0), io.output(0), par) }
//!     }).in_place(0).into())
//! }
//! ```

pub mod arena;
mod bound;
mod convert;
pub mod cost;
mod format;
mod homes;
mod interpret;
mod layout;
pub mod memory;
mod pack;
mod resident;
mod split;
mod step;

pub use arena::Io;
pub use format::{Format, FormatCx, Formats, Halo, InPlace, Parts, Placement, can_block, geometry};
pub use interpret::{Interpreter, interpret};
pub use pack::pack;
pub(crate) use split::Split;
pub use step::{Compute, LowerCx, Lowered, PackCache, Step, Target};

use crate::{DType, Error, Graph, Result, Tensor, ValueId};
use arena::{Arena, Operands, Place, Program};
use bound::Bound;
use memory::Buffer;
use std::ops::Range;
use std::sync::{Arc, Mutex};

/// What a report says about a step.
#[derive(Clone, Debug)]
pub struct StepInfo {
    /// Name of the node, or of the value a conversion serves.
    pub name: String,
    /// Name of the value that it computes first.
    pub value: String,
    /// Name of the op; `Convert` for a conversion between formats.
    pub op: &'static str,
    /// The algorithm.
    pub algorithm: String,
    /// Logical shape of the first output.
    pub shape: Vec<usize>,
    /// The register tile, where the algorithm has one: rows times outputs.
    pub tile: String,
    /// Multiply-accumulates.
    pub macs: u64,
    /// Bytes read and written at least once: inputs, outputs and constants.
    pub bytes: usize,
    /// Operations and bytes, from which the cost is predicted.
    pub work: cost::Work,
    /// True when the naive evaluation runs for want of a kernel.
    pub interpreted: bool,
    /// True when elements of a row-major tensor change their order.
    pub transpose: bool,
}

/// Algorithms that move elements and compute nothing.
const COPIES: &[&str] =
    &["image copy", "image rows", "planes", "channels permuted in blocks", "strided copy", "selection"];

impl StepInfo {
    /// Why the step is slower than it could be, or there at all; `None` for ordinary work.
    pub fn note(&self) -> Option<&'static str> {
        match () {
            () if self.interpreted => {
                Some("slow path: no kernel for these types and shapes, the naive evaluation runs")
            }
            () if self.transpose => Some("reorders a row-major tensor"),
            () if COPIES.contains(&self.algorithm.as_str()) => Some("copies elements to other places"),
            () if self.op == "Convert" => Some("changes the memory format between two ops"),
            () if self.algorithm == "direct on a padded copy" => Some("copies its input to pad it"),
            () if self.algorithm == "direct on copied windows" => Some("copies the windows of its outputs"),
            () if self.algorithm == "gemm, packed at run time" => Some("packs an operand in every run"),
            () => None,
        }
    }
}

/// Where an output of the graph is found after a run.
#[derive(Clone, Debug)]
pub(crate) enum OutputPlace {
    Arena(Placement, Range<usize>),
    Constant(Tensor),
}

/// A value that a step computes, for observers.
struct Observed {
    name: String,
    placement: Placement,
    range: Range<usize>,
}

/// A flat list of steps in one arena.
pub struct Plan {
    steps: Vec<Box<dyn Step>>,
    infos: Vec<StepInfo>,
    observed: Vec<Vec<Observed>>,
    program: Program,
    lower_bound: usize,
    pub(crate) inputs: Vec<(Placement, Range<usize>)>,
    pub(crate) outputs: Vec<OutputPlace>,
    failure: Arc<Mutex<Option<Error>>>,
    interpreted: bool,
}

impl Plan {
    /// Plans a graph whose dimensions are all known.
    ///
    /// # Errors
    /// `Unsupported` when a shape is decided while running; else what an op says about its operands.
    pub fn new(graph: Graph, target: Target<'_>, cache: &PackCache) -> Result<Self> {
        Self::within(graph, target, cache, usize::MAX)
    }
    /// As [`Self::new`], in an arena of at most this many bytes.
    ///
    /// # Errors
    /// As [`Self::new`], and `Limit` when a larger arena is needed.
    pub fn within(graph: Graph, target: Target<'_>, cache: &PackCache, most: usize) -> Result<Self> {
        let bound = Bound::new(graph)?;
        let layout = layout::Layout::new(&bound)?;
        layout.admit(most)?;
        let failure = Arc::new(Mutex::new(None));
        let lowered = layout.lower(&bound, target, cache, &failure)?;
        let plan = layout.build(&bound, lowered, failure)?;
        if plan.arena_bytes() > most {
            return Err(Error::limit(format!("the arena needs {} bytes, the limit is {most}", plan.arena_bytes())));
        }
        Ok(plan)
    }
    /// Bytes of the arena: all that a run needs besides the weights.
    pub fn arena_bytes(&self) -> usize {
        self.program.bytes()
    }
    /// The largest sum of values that live at the same time: no arena of this order of steps can be smaller.
    pub fn arena_lower_bound(&self) -> usize {
        self.lower_bound
    }
    /// What the steps are, in order.
    pub fn steps(&self) -> &[StepInfo] {
        &self.infos
    }
    /// Steps that reorder a row-major tensor.
    pub fn transposes(&self) -> usize {
        self.infos.iter().filter(|s| s.transpose).count()
    }
    /// Runs all steps.
    pub(crate) fn execute(&self, arena: &mut Arena<'_>, par: &dyn pocketnn_kernels::par::Parallel) -> Result<()> {
        for i in 0..self.steps.len() {
            self.step(i, arena, par)?;
        }
        self.outcome()
    }
    /// Runs all steps and tells `observe` after each: its index, nanoseconds, and its outputs (copied out only when asked for).
    pub(crate) fn execute_observed(
        &self,
        arena: &mut Arena<'_>,
        par: &dyn pocketnn_kernels::par::Parallel,
        observe: &mut dyn FnMut(Observation<'_>),
    ) -> Result<()> {
        for i in 0..self.steps.len() {
            let start = std::time::Instant::now();
            self.step(i, arena, par)?;
            let nanoseconds = start.elapsed().as_nanos() as u64;
            observe(Observation {
                index: i,
                info: &self.infos[i],
                nanoseconds,
                values: &self.observed[i],
                memory: arena.as_slice(),
            });
        }
        self.outcome()
    }
    #[inline]
    fn step(&self, i: usize, arena: &mut Arena<'_>, par: &dyn pocketnn_kernels::par::Parallel) -> Result<()> {
        let mut io = arena.io(&self.program, i);
        self.steps[i].run(&mut io, par);
        match io.failure() {
            None => Ok(()),
            Some(e) => Err(e.at(|| format!("{} `{}`", self.infos[i].op, self.infos[i].name))),
        }
    }
    fn outcome(&self) -> Result<()> {
        // The lock is only taken where a naive evaluation could fail; plans of kernels never touch it.
        if !self.interpreted {
            return Ok(());
        }
        let mut failure = self.failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        failure.take().map_or(Ok(()), Err)
    }
}

/// One step that has just run.
pub struct Observation<'a> {
    /// Position in [`Plan::steps`].
    pub index: usize,
    /// What it is.
    pub info: &'a StepInfo,
    /// How long it took.
    pub nanoseconds: u64,
    values: &'a [Observed],
    memory: &'a [u8],
}

impl Observation<'_> {
    /// Names of the graph's values that the step computed.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.iter().map(|v| v.name.as_str())
    }
    /// One of them, copied in logical order.
    ///
    /// # Errors
    /// When there is no such value.
    pub fn tensor(&self, i: usize) -> Result<Tensor> {
        let v =
            self.values.get(i).ok_or_else(|| Error::argument(format!("the step has {} outputs", self.values.len())))?;
        convert::to_tensor(&v.placement, &self.memory[v.range.clone()])
    }
}

/// Checks a tensor against the declared type of an input: dimensions that are numbers must agree.
pub(crate) fn check_input(graph: &Graph, id: ValueId, dtype: DType, shape: &[usize]) -> Result<()> {
    let (ty, name) = (graph.ty(id), &graph.value(id).name);
    let fits =
        ty.shape.len() == shape.len() && ty.shape.iter().zip(shape).all(|(d, &n)| d.known().is_none_or(|k| k == n));
    if ty.dtype != dtype || !fits {
        return Err(Error::argument(format!("input `{name}`: expected {ty}, found {dtype}{shape:?}")));
    }
    Ok(())
}
