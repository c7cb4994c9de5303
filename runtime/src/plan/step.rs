//! Steps of a plan: what an op becomes for concrete shapes and formats.

use super::arena::Io;
use super::format::{Format, Halo, Placement, geometry};
use super::resident::Resident;
use crate::format::packed::{Form, Kept};
use crate::ops::infer::ValueType;
use crate::{Element, Error, Graph, Node, Result, Tensor, Tuning, ValueId};
use pocketnn_kernels::{conv::Winograd, gemm::Packed, isa::Isa, layout::Blocked, par::Parallel};
use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// The work of one step. Everything is decided: `run` does arithmetic, without allocation, lock or system call.
pub trait Step: Send + Sync {
    /// Reads inputs, writes outputs. Lengths and alignment are those of the plan; outputs hold garbage before.
    fn run(&self, io: &mut Io<'_>, par: &dyn Parallel);
    /// The algorithm, for reports: `direct`, `gemv`, ...
    fn algorithm(&self) -> String;
    /// Its register tile, where it has one, for reports: `6x16`.
    fn tile(&self) -> String {
        String::new()
    }
}

/// A step made of a closure.
pub struct Function<F> {
    run: F,
    algorithm: &'static str,
}

impl<F: Fn(&mut Io<'_>, &dyn Parallel) + Send + Sync> Step for Function<F> {
    fn run(&self, io: &mut Io<'_>, par: &dyn Parallel) {
        (self.run)(io, par);
    }
    fn algorithm(&self) -> String {
        self.algorithm.to_string()
    }
}

/// What [`crate::ops::Operator::lower`] makes of a node.
pub enum Lowered {
    /// Work.
    Step(Compute),
    /// Output 0 is the bytes (or the first bytes) of this input, unmoved.
    Alias(usize),
    /// No kernel for this combination: the naive evaluation runs, with allocations; reports name such steps.
    Interpreted,
}

/// A step and what it needs.
pub struct Compute {
    pub(super) step: Box<dyn Step>,
    pub(super) scratch: usize,
    pub(super) in_place: Vec<usize>,
}

impl Compute {
    /// Work without scratch.
    pub fn new(step: impl Step + 'static) -> Self {
        Self { step: Box::new(step), scratch: 0, in_place: Vec::new() }
    }
    /// Work given as a closure.
    pub fn function(algorithm: &'static str, run: impl Fn(&mut Io<'_>, &dyn Parallel) + Send + Sync + 'static) -> Self {
        Self::new(Function { run, algorithm })
    }
    /// Bytes of scratch that [`Io::scratch`] gives, aligned to 64.
    #[must_use]
    pub fn scratch(self, bytes: usize) -> Self {
        Self { scratch: bytes, ..self }
    }
    /// Output 0 may lie where this input lies, when both have the same size and the input is not needed later. The step asks
    /// [`Io::in_place`] and then finds the input's elements in the output.
    #[must_use]
    pub fn in_place(mut self, input: usize) -> Self {
        self.in_place.push(input);
        self
    }
}

impl From<Compute> for Lowered {
    fn from(c: Compute) -> Self {
        Lowered::Step(c)
    }
}

/// Weights packed once and shared by all plans of a model: for other sizes and threads nothing is packed again.
#[derive(Default)]
pub struct PackCache {
    packed: Mutex<HashMap<String, Arc<dyn Any + Send + Sync>>>,
    resident: Resident,
}

/// What a plan is made for.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Instruction set.
    pub isa: Isa,
    /// Threads of the sessions.
    pub threads: usize,
    /// Whether convolutions may use minimal filtering.
    pub winograd: Winograd,
    /// Algorithms that were measured on this device.
    pub tuning: Option<&'a Tuning>,
}

/// What an op sees when it becomes a step: concrete shapes, formats and constants.
pub struct LowerCx<'a> {
    pub(super) graph: &'a Graph,
    pub(super) node: &'a Node,
    pub(super) inputs: &'a [Option<Placement>],
    pub(super) outputs: &'a [Placement],
    pub(super) target: Target<'a>,
    pub(super) cache: &'a PackCache,
}

impl LowerCx<'_> {
    /// Number of inputs, absent ones included.
    pub fn len(&self) -> usize {
        self.inputs.len()
    }
    /// True when the node has no input.
    pub fn is_empty(&self) -> bool {
        self.inputs.is_empty()
    }
    /// True when the input is there.
    pub fn has(&self, i: usize) -> bool {
        self.inputs.get(i).is_some_and(Option::is_some)
    }
    /// Type and memory of an input.
    ///
    /// # Errors
    /// When it is absent.
    pub fn input(&self, i: usize) -> Result<&Placement> {
        let p = self.inputs.get(i).and_then(Option::as_ref);
        p.ok_or_else(|| Error::graph(format!("input {i} is missing")))
    }
    /// Type and memory of an output.
    pub fn output(&self, i: usize) -> &Placement {
        &self.outputs[i]
    }
    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        self.outputs.len()
    }
    /// Shape of an input.
    ///
    /// # Errors
    /// When it is absent.
    pub fn shape(&self, i: usize) -> Result<&[usize]> {
        Ok(&self.input(i)?.shape)
    }
    /// Format of an input.
    ///
    /// # Errors
    /// When it is absent.
    pub fn format(&self, i: usize) -> Result<Format> {
        Ok(self.input(i)?.format)
    }
    /// Geometry of an input image, blocked or not (a plain one has no halo).
    ///
    /// # Errors
    /// When it is absent or not an image.
    pub fn image(&self, i: usize) -> Result<Blocked> {
        let p = self.input(i)?;
        if p.format == Format::Blocked { p.blocked() } else { geometry(&p.shape, Halo::default()) }
    }
    /// Geometry of an output image.
    ///
    /// # Errors
    /// When it is not an image.
    pub fn out_image(&self, i: usize) -> Result<Blocked> {
        let p = self.output(i);
        if p.format == Format::Blocked { p.blocked() } else { geometry(&p.shape, Halo::default()) }
    }
    /// The elements of a constant input.
    pub fn constant(&self, i: usize) -> Option<&Tensor> {
        self.value(i).and_then(|v| self.graph.constant(v))
    }
    /// The elements of a constant `f32` (or half float, widened) input.
    pub fn floats(&self, i: usize) -> Option<Vec<f32>> {
        self.constant(i).filter(|t| t.dtype().is_float()).map(Tensor::to_f32)
    }
    /// Elements of a constant integer input.
    pub fn integers(&self, i: usize) -> Option<Vec<i64>> {
        self.constant(i)?.to_i64().ok()
    }
    /// True when all inputs that are computed at run time and all outputs are plain `f32`.
    pub fn all_plain_f32(&self) -> bool {
        let fits = |p: &Placement| p.dtype == crate::DType::F32 && p.format == Format::Plain;
        self.inputs.iter().flatten().all(fits) && self.outputs.iter().all(fits)
    }
    /// The instruction set to use.
    pub fn isa(&self) -> Isa {
        self.target.isa
    }
    /// Threads the plan is made for. Algorithms and bits must not depend on it; chunk sizes may.
    pub fn threads(&self) -> usize {
        self.target.threads
    }
    /// The algorithm that was found fastest for this node, where one was.
    pub fn choice(&self) -> Option<&str> {
        self.target.tuning?.choice(&self.graph.value(*self.node.outputs.first()?).name)
    }
    /// Whether convolutions may use minimal filtering.
    pub fn winograd(&self) -> Winograd {
        self.target.winograd
    }
    /// The numbers of a constant input when it is stored in this packed form: a kernel reads them where they are.
    pub fn stored<T: Element>(&self, i: usize, form: Form) -> Option<Packed<T>> {
        let (found, numbers) = self.constant(i)?.stored()?;
        if found != form {
            return None;
        }
        Some(Packed::Kept(Arc::new(Kept::<T>::new(numbers, self.cache.resident.of(numbers))?)))
    }
    /// Something packed from constant inputs, made once for a model and this key. The key must name everything the packed form depends
    /// on besides the constants themselves: the algorithm and its geometry.
    ///
    /// # Errors
    /// What `make` says.
    ///
    /// # Panics
    /// When a key is used for two types.
    pub fn packed<T: Any + Send + Sync>(&self, key: &str, make: impl FnOnce() -> Result<T>) -> Result<Arc<T>> {
        let names: Vec<&str> = self
            .node
            .operands()
            .filter(|&v| self.graph.constant(v).is_some())
            .map(|v| self.graph.value(v).name.as_str())
            .collect();
        let key = format!("{key}|{}|{}", self.target.isa.name(), names.join("|"));
        if let Some(found) = self.cache.get(&key) {
            return Ok(found.downcast::<T>().unwrap_or_else(|_| panic!("packed weights `{key}` have another type")));
        }
        let made = Arc::new(make()?);
        // What was read from a file for packing need not stay in memory.
        self.node.operands().filter_map(|v| self.graph.constant(v)).for_each(|t| t.release(0..t.byte_len()));
        self.cache.put(key, made.clone());
        Ok(made)
    }
    fn value(&self, i: usize) -> Option<ValueId> {
        self.node.inputs.get(i).copied().flatten()
    }
    /// Type of an input.
    pub fn ty(&self, i: usize) -> Option<&ValueType> {
        self.value(i).map(|v| self.graph.ty(v))
    }
}

impl PackCache {
    /// Copies the packed constants of a mapped file to huge pages; gives the number of bytes.
    pub fn settle(&self, graph: &Graph) -> usize {
        self.resident.settle(graph)
    }
    fn get(&self, key: &str) -> Option<Arc<dyn Any + Send + Sync>> {
        self.packed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get(key).cloned()
    }
    fn put(&self, key: String, value: Arc<dyn Any + Send + Sync>) {
        self.packed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(key, value);
    }
}
