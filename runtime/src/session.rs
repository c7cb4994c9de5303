//! A session: a model planned for concrete sizes, with its memory.

use crate::plan::arena::Arena;
use crate::plan::{self, Observation, OutputPlace, Plan, Split, Target};
use crate::preprocess::{Image, Preprocessing};
use crate::threads::Team;
use crate::view::View;
use crate::{Bindings, DType, Dim, Element, Error, Graph, Model, Result, Tensor, Threads, Tuning, ValueId};
use pocketnn_kernels::conv::Winograd;
use pocketnn_kernels::isa::Isa;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How a session is made.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Values of symbolic dimensions; what is not named is 1.
    pub dims: Bindings,
    /// Threads; the caller alone by default.
    pub threads: Threads,
    /// Instruction set; detected by default.
    pub isa: Option<Isa>,
    /// Largest arena in bytes; unlimited by default.
    pub max_arena_bytes: Option<usize>,
    /// Whether convolutions of 3x3 may use minimal filtering (Winograd), with up to three times the rounding error of the direct
    /// sum; where it is cheaper by default.
    pub winograd: Winograd,
    /// Algorithms that were measured on this device: [`Tuning::load`]. None by default, so that results have the same bits everywhere.
    pub tuning: Option<Arc<Tuning>>,
}

impl Options {
    /// These threads.
    #[must_use]
    pub fn threads(self, threads: Threads) -> Self {
        Self { threads, ..self }
    }
    /// This instruction set.
    #[must_use]
    pub fn isa(self, isa: Isa) -> Self {
        Self { isa: Some(isa), ..self }
    }
    /// Algorithms that were measured on this device.
    #[must_use]
    pub fn tuning(self, tuning: Tuning) -> Self {
        Self { tuning: Some(Arc::new(tuning)), ..self }
    }
    /// Minimal filtering or not.
    #[must_use]
    pub fn winograd(self, winograd: Winograd) -> Self {
        Self { winograd, ..self }
    }
    /// A symbolic dimension has this value.
    #[must_use]
    pub fn dim(mut self, name: &str, value: usize) -> Self {
        self.dims.insert(name.to_string(), value);
        self
    }
}

/// How the session runs.
enum Mode<'a> {
    /// By a plan.
    Planned { plan: Plan, arena: Arena<'a> },
    /// Naively, because a shape is decided by data: inputs as fed, outputs as computed. What can be planned for inputs of these shapes is.
    Dynamic { inputs: Vec<Option<Tensor>>, outputs: Vec<Tensor>, first: Option<Box<Split>>, shapes: Vec<Vec<usize>> },
}

/// A model planned for concrete sizes, with its memory. Not shared between threads: make one session a thread.
pub struct Session<'a> {
    model: Model,
    options: Options,
    team: Team,
    mode: Mode<'a>,
    /// Inputs that were fixed to values because shapes depend on them; such a plan serves these values only.
    fixed: BTreeMap<ValueId, Tensor>,
}

impl<'a> Session<'a> {
    pub(crate) fn new(model: Model, options: &Options, memory: Option<&'a mut [u8]>) -> Result<Self> {
        let graph = model.graph();
        let mut dims = options.dims.clone();
        if let Some(name) = dims.keys().find(|k| !graph.symbols().contains(*k)) {
            let known: Vec<String> = graph.symbols().into_iter().collect();
            return Err(Error::argument(format!("the model has no dimension `{name}`; it has {known:?}")));
        }
        let mut open = false;
        for s in graph.symbols() {
            dims.entry(s).or_insert_with(|| {
                open = true;
                1
            });
        }
        let shapes: Vec<Vec<Dim>> =
            graph.inputs().iter().map(|&i| graph.ty(i).shape.iter().map(|d| d.bind(&dims)).collect()).collect();
        let mode = match plan(&model, options, &shapes, &BTreeMap::new()) {
            Ok(plan) => planned(plan, options, memory)?,
            // Sizes that nobody named come with the first run.
            Err(e) if open && matches!(e.kind(), crate::ErrorKind::Graph | crate::ErrorKind::Unsupported) => {
                dynamic(graph)
            }
            Err(e) if e.kind() == crate::ErrorKind::Unsupported => {
                let mut mode = split(&model, options, &shapes)?;
                // The first run plans anew: shapes may follow from the values of its inputs.
                if let Mode::Dynamic { shapes, .. } = &mut mode {
                    shapes.clear();
                }
                mode
            }
            Err(e) => return Err(e),
        };
        Ok(Self { model, team: options.threads.team(), options: options.clone(), mode, fixed: BTreeMap::new() })
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }
    /// The part of a model that was planned for the inputs of the last run, where shapes behind it are decided while running.
    pub fn first_plan(&self) -> Option<&Plan> {
        match &self.mode {
            Mode::Planned { .. } => None,
            Mode::Dynamic { first, .. } => first.as_ref().map(|s| &s.plan),
        }
    }
    /// The plan, unless shapes are decided while running.
    pub fn plan(&self) -> Option<&Plan> {
        match &self.mode {
            Mode::Planned { plan, .. } => Some(plan),
            Mode::Dynamic { .. } => None,
        }
    }
    /// Bytes of the arena; 0 when shapes are decided while running.
    pub fn arena_bytes(&self) -> usize {
        self.plan().map_or(0, Plan::arena_bytes)
    }
    /// Shape of an input as planned.
    ///
    /// # Errors
    /// When there is no such input, or its shape is not fixed.
    pub fn input_shape(&self, i: usize) -> Result<&[usize]> {
        let p = self.plan().ok_or_else(undecided)?;
        p.inputs.get(i).map(|p| p.0.shape.as_slice()).ok_or_else(|| no_such("input", i, p.inputs.len()))
    }
    /// Shape of an output as planned, or of the last run.
    ///
    /// # Errors
    /// When there is no such output, or nothing ran yet where shapes are decided while running.
    pub fn output_shape(&self, i: usize) -> Result<&[usize]> {
        match &self.mode {
            Mode::Planned { plan, .. } => match plan.outputs.get(i) {
                Some(OutputPlace::Arena(p, _)) => Ok(&p.shape),
                Some(OutputPlace::Constant(t)) => Ok(t.shape()),
                None => Err(no_such("output", i, plan.outputs.len())),
            },
            Mode::Dynamic { outputs, .. } => outputs
                .get(i)
                .map(Tensor::shape)
                .ok_or_else(|| Error::argument(format!("output {i} has not been computed yet"))),
        }
    }
    /// The elements of an input, in the order of the model's layout, to write before [`Session::execute`]. They stay until written again.
    ///
    /// # Errors
    /// When there is no such input, its type is not `T`, or shapes are decided while running (then use [`Session::run`]).
    pub fn input_mut<T: Element>(&mut self, i: usize) -> Result<&mut [T]> {
        let Mode::Planned { plan, arena } = &mut self.mode else { return Err(undecided()) };
        let (p, range) = plan.inputs.get(i).ok_or_else(|| no_such("input", i, plan.inputs.len()))?;
        expect(p.dtype, T::DTYPE, "input", i)?;
        Ok(arena.view_mut(range))
    }
    /// The elements of an output after [`Session::execute`].
    ///
    /// # Errors
    /// When there is no such output or its type is not `T`.
    pub fn output<T: Element>(&self, i: usize) -> Result<&[T]> {
        match &self.mode {
            Mode::Planned { plan, arena } => match plan.outputs.get(i) {
                Some(OutputPlace::Arena(p, range)) => {
                    expect(p.dtype, T::DTYPE, "output", i)?;
                    Ok(arena.view(range))
                }
                Some(OutputPlace::Constant(t)) => t.as_slice(),
                None => Err(no_such("output", i, plan.outputs.len())),
            },
            Mode::Dynamic { outputs, .. } => outputs
                .get(i)
                .ok_or_else(|| Error::argument(format!("output {i} has not been computed yet")))?
                .as_slice(),
        }
    }
    /// Runs once on what the inputs hold. With one thread and a plan of kernels: no allocation, no lock, no system call.
    ///
    /// # Errors
    /// When an op without a kernel fails on these values (an index out of range).
    pub fn execute(&mut self) -> Result<()> {
        match &mut self.mode {
            Mode::Planned { plan, arena } => {
                let _scope = pocketnn_kernels::isa::FlushDenormals::new();
                let _run = self.team.enter();
                plan.execute(arena, self.team.as_parallel())
            }
            Mode::Dynamic { .. } => self.execute_dynamic(),
        }
    }
    /// As [`Session::execute`], and tells `observe` of every step.
    ///
    /// # Errors
    /// As [`Session::execute`]; when shapes are decided while running there are no steps to observe.
    pub fn execute_observed(&mut self, observe: &mut dyn FnMut(Observation<'_>)) -> Result<()> {
        match &mut self.mode {
            Mode::Planned { plan, arena } => {
                let _scope = pocketnn_kernels::isa::FlushDenormals::new();
                let _run = self.team.enter();
                plan.execute_observed(arena, self.team.as_parallel(), observe)
            }
            Mode::Dynamic { .. } => Err(undecided()),
        }
    }
    /// Runs on views of arrays, one an input in the order of the model, and gives views of the outputs. Sizes other than planned are
    /// planned anew (packed weights are kept).
    ///
    /// # Errors
    /// When number, type or shape of the inputs do not fit the model.
    pub fn run(&mut self, inputs: &[View<'_>]) -> Result<Vec<View<'_>>> {
        self.prepare(inputs)?;
        match &mut self.mode {
            Mode::Planned { plan, arena } => {
                let live =
                    self.model.graph().inputs().iter().zip(inputs).filter(|(id, _)| !self.fixed.contains_key(id));
                for ((_, range), (_, x)) in plan.inputs.iter().zip(live) {
                    x.copy_to(&mut arena.as_mut_slice()[range.clone()]);
                }
            }
            Mode::Dynamic { inputs: slots, .. } => {
                for (slot, x) in slots.iter_mut().zip(inputs) {
                    *slot = Some(x.to_tensor()?);
                }
            }
        }
        self.execute()?;
        self.outputs()
    }
    /// Runs on tensors and gives tensors.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub fn run_tensors(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let views: Vec<View<'_>> = inputs.iter().map(View::from).collect();
        self.run(&views)?.iter().map(View::to_tensor).collect()
    }
    /// Runs on one picture: made ready as the model's metadata says ([`crate::Preprocessing`]) for its only input.
    ///
    /// # Errors
    /// When the model has several inputs or one that takes no pictures, its metadata cannot be understood, and as [`Session::run`].
    pub fn run_image(&mut self, image: &Image<'_>) -> Result<Vec<View<'_>>> {
        let graph = self.model.graph();
        let &[input] = graph.inputs() else {
            return Err(Error::argument(format!("a picture fits one input, the model has {}", graph.inputs().len())));
        };
        let x = Preprocessing::of(graph)?.apply(image, graph.ty(input), None)?;
        self.run(&[View::from(&x)])
    }
    /// Views of all outputs after a run.
    ///
    /// # Errors
    /// When nothing ran yet where shapes are decided while running.
    pub fn outputs(&self) -> Result<Vec<View<'_>>> {
        match &self.mode {
            Mode::Planned { plan, arena } => Ok(plan
                .outputs
                .iter()
                .map(|o| match o {
                    OutputPlace::Arena(p, r) => View::new(p.dtype, &p.shape, &arena.as_slice()[r.clone()]),
                    OutputPlace::Constant(t) => View::from(t),
                })
                .collect()),
            Mode::Dynamic { outputs, .. } => Ok(outputs.iter().map(View::from).collect()),
        }
    }

    /// Plans anew when the inputs have other shapes than planned, or values that a plan was fixed to.
    fn prepare(&mut self, inputs: &[View<'_>]) -> Result<()> {
        let graph = self.model.graph();
        let ids = graph.inputs();
        if ids.len() != inputs.len() {
            let names: Vec<&str> = ids.iter().map(|&i| graph.value(i).name.as_str()).collect();
            return Err(Error::argument(format!("expected {} inputs {names:?}, found {}", ids.len(), inputs.len())));
        }
        for (&id, x) in ids.iter().zip(inputs) {
            plan::check_input(graph, id, x.dtype(), x.shape())?;
        }
        if let Mode::Planned { plan, .. } = &self.mode {
            let live = ids.iter().zip(inputs).filter(|(id, _)| !self.fixed.contains_key(id));
            let shapes = plan.inputs.iter().zip(live).all(|((p, _), (_, x))| p.shape == x.shape());
            let values = ids.iter().zip(inputs).all(|(id, x)| self.fixed.get(id).is_none_or(|t| x.same_as(t)));
            if shapes && values {
                return Ok(());
            }
        }
        if let Mode::Dynamic { shapes, .. } = &self.mode
            && !shapes.is_empty()
            && shapes.iter().zip(inputs).all(|(s, x)| *s == x.shape())
        {
            return Ok(());
        }
        if matches!(self.mode, Mode::Planned { arena: Arena::Borrowed(_), .. }) {
            Err(Error::argument(
                "a session in the caller's memory keeps its sizes; make another session for other sizes",
            ))
        } else {
            self.replan(inputs)
        }
    }

    fn replan(&mut self, inputs: &[View<'_>]) -> Result<()> {
        let graph = self.model.graph();
        let shapes: Vec<Vec<Dim>> = inputs.iter().map(|x| x.shape().iter().map(|&d| Dim::from(d)).collect()).collect();
        let mut fixed = BTreeMap::new();
        let mut result = plan(&self.model, &self.options, &shapes, &fixed);
        if result.as_ref().is_err_and(|e| e.kind() == crate::ErrorKind::Unsupported) {
            // Shapes may follow from the values of small integer inputs: fix those and try again.
            for (&id, x) in graph.inputs().iter().zip(inputs) {
                if x.dtype().is_integer() && x.shape().len() <= 1 && x.len() <= crate::ops::infer::MAX_DIMS {
                    fixed.insert(id, x.to_tensor()?);
                }
            }
            if !fixed.is_empty() {
                result = plan(&self.model, &self.options, &shapes, &fixed);
            }
        }
        self.mode = match result {
            Ok(plan) => planned(plan, &self.options, None)?,
            Err(e) if e.kind() == crate::ErrorKind::Unsupported => {
                fixed.clear();
                split(&self.model, &self.options, &shapes)?
            }
            Err(e) => return Err(e),
        };
        self.fixed = fixed;
        Ok(())
    }

    fn execute_dynamic(&mut self) -> Result<()> {
        let Mode::Dynamic { inputs, outputs, first, .. } = &mut self.mode else { return Ok(()) };
        let fed: Option<Vec<Tensor>> = inputs.iter().cloned().collect();
        let fed =
            fed.ok_or_else(|| Error::argument("feed all inputs with `run`: their shapes are decided while running"))?;
        *outputs = match first {
            Some(split) => {
                let _scope = pocketnn_kernels::isa::FlushDenormals::new();
                split.run(&fed, self.team.as_parallel())?
            }
            None => plan::interpret(self.model.graph(), &fed, |_, _| Ok(()))?,
        };
        Ok(())
    }
}

/// The mode of a graph of data-decided shapes: what can be planned for inputs of these shapes is.
fn split<'a>(model: &Model, options: &Options, shapes: &[Vec<Dim>]) -> Result<Mode<'a>> {
    let known: Option<Vec<Vec<usize>>> = shapes.iter().map(|s| s.iter().map(Dim::known).collect()).collect();
    let Some(known) = known else { return Ok(dynamic(model.graph())) };
    let graph = model.graph().rebuild(shapes, &BTreeMap::new())?;
    let split = Split::new(&graph, target(options), model.cache(), most(options))?;
    let inputs = vec![None; model.graph().inputs().len()];
    Ok(Mode::Dynamic { inputs, outputs: Vec::new(), first: split.map(Box::new), shapes: known })
}

fn target(options: &Options) -> Target<'_> {
    Target {
        isa: options.isa.unwrap_or_else(Isa::detect),
        threads: options.threads.count(),
        winograd: options.winograd,
        tuning: options.tuning.as_deref(),
    }
}

fn plan(model: &Model, options: &Options, shapes: &[Vec<Dim>], fixed: &BTreeMap<ValueId, Tensor>) -> Result<Plan> {
    let graph = model.graph().rebuild(shapes, fixed)?;
    Plan::within(graph, target(options), model.cache(), most(options))
}

fn most(options: &Options) -> usize {
    options.max_arena_bytes.unwrap_or(usize::MAX)
}

fn planned<'a>(plan: Plan, _options: &Options, memory: Option<&'a mut [u8]>) -> Result<Mode<'a>> {
    let arena = match memory {
        Some(m) => Arena::borrowed(m, plan.arena_bytes())?,
        None => Arena::owned(plan.arena_bytes()),
    };
    Ok(Mode::Planned { plan, arena })
}

fn dynamic<'a>(graph: &Graph) -> Mode<'a> {
    Mode::Dynamic { inputs: vec![None; graph.inputs().len()], outputs: Vec::new(), first: None, shapes: Vec::new() }
}

fn expect(found: DType, wanted: DType, what: &str, i: usize) -> Result<()> {
    if found == wanted { Ok(()) } else { Err(Error::argument(format!("{what} {i} is {found}, asked for as {wanted}"))) }
}

fn no_such(what: &str, i: usize, n: usize) -> Error {
    Error::argument(format!("there is no {what} {i}; the model has {n}"))
}

fn undecided() -> Error {
    Error::argument("the shapes of this model are decided while running; use `run`")
}
