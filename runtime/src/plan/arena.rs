//! The memory of a session, and how steps see their parts of it.
//!
//! The plan gives every value a byte range. [`Program::new`] checks once that all ranges lie inside the arena and that no
//! output or scratch of a step overlaps anything else the step touches (but for the input it runs in place with); after
//! that a step's views are handed out without further checks.

use crate::format::map::{ALIGN, OwnedBytes, cast};
use crate::{DType, Element, Error, Result, Tensor};
use std::ops::Range;

/// Where a value lies.
#[derive(Clone, Debug)]
pub enum Place {
    /// Bytes of the arena.
    Arena(Range<usize>),
    /// A constant of the model.
    Constant(Tensor),
    /// An absent operand.
    Absent,
}

/// The places of one step's operands.
#[derive(Clone, Debug, Default)]
pub struct Operands {
    /// Inputs in the order of the op.
    pub inputs: Vec<Place>,
    /// Outputs in the order of the op.
    pub outputs: Vec<Range<usize>>,
    /// Scratch bytes.
    pub scratch: Range<usize>,
    /// The input that lies where output 0 lies.
    pub in_place: Option<usize>,
}

/// Operands of all steps, proven to fit an arena of [`Program::bytes`].
#[derive(Debug)]
pub struct Program {
    steps: Vec<Operands>,
    bytes: usize,
}

impl Program {
    /// Checks operands against the size of the arena.
    ///
    /// # Errors
    /// When a range lies outside, is not aligned, or overlaps another of its step.
    pub fn new(steps: Vec<Operands>, bytes: usize) -> Result<Self> {
        for (i, s) in steps.iter().enumerate() {
            check(s, bytes).map_err(|m| Error::graph(format!("step {i}: {m}")))?;
        }
        Ok(Self { steps, bytes })
    }
    /// Size of the arena.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
    /// Operands of a step.
    pub fn step(&self, i: usize) -> &Operands {
        &self.steps[i]
    }
}

/// Alignment of values that are parts of others: enough for every element type.
pub(super) const PART: usize = 16;

fn check(s: &Operands, bytes: usize) -> std::result::Result<(), String> {
    let inside =
        |r: &Range<usize>| r.start <= r.end && r.end <= bytes && (r.is_empty() || r.start.is_multiple_of(PART));
    let overlap = |a: &Range<usize>, b: &Range<usize>| a.start < b.end && b.start < a.end;
    let mut written: Vec<&Range<usize>> = s.outputs.iter().collect();
    written.push(&s.scratch);
    for (i, w) in written.iter().enumerate() {
        if !inside(w) {
            return Err(format!("range {w:?} does not fit an arena of {bytes} bytes"));
        }
        if written[..i].iter().any(|v| overlap(v, w)) {
            return Err(format!("written range {w:?} overlaps another"));
        }
    }
    for (i, p) in s.inputs.iter().enumerate() {
        let Place::Arena(r) = p else { continue };
        if !inside(r) {
            return Err(format!("range {r:?} does not fit an arena of {bytes} bytes"));
        }
        let own = s.in_place == Some(i) && s.outputs.first() == Some(r);
        if written.iter().enumerate().any(|(j, w)| overlap(w, r) && !(own && j == 0)) {
            return Err(format!("input {i} at {r:?} overlaps a written range"));
        }
    }
    Ok(())
}

/// The bytes of a session: its own, or the caller's.
pub enum Arena<'a> {
    /// Owned.
    Owned(OwnedBytes),
    /// The caller's.
    Borrowed(&'a mut [u8]),
}

impl<'a> Arena<'a> {
    /// An arena of its own.
    pub fn owned(bytes: usize) -> Self {
        Arena::Owned(OwnedBytes::zeroed(bytes))
    }
    /// The caller's memory.
    ///
    /// # Errors
    /// When it is smaller than `bytes` or not aligned to 64.
    pub fn borrowed(memory: &'a mut [u8], bytes: usize) -> Result<Self> {
        if memory.len() < bytes || !memory.as_ptr().addr().is_multiple_of(ALIGN) {
            let message = format!(
                "the arena needs {bytes} bytes aligned to {ALIGN}, found {} at {:p}",
                memory.len(),
                memory.as_ptr()
            );
            return Err(Error::argument(message));
        }
        Ok(Arena::Borrowed(memory))
    }
    /// All bytes.
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Arena::Owned(b) => b.as_slice(),
            Arena::Borrowed(b) => b,
        }
    }
    /// All bytes.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        match self {
            Arena::Owned(b) => b.as_mut_slice(),
            Arena::Borrowed(b) => b,
        }
    }
    /// The elements of a range.
    pub fn view<T: Element>(&self, range: &Range<usize>) -> &[T] {
        cast(&self.as_slice()[range.clone()])
    }
    /// The elements of a range, to write. Bytes that are no truth value become true.
    pub fn view_mut<T: Element>(&mut self, range: &Range<usize>) -> &mut [T] {
        let part = &mut self.as_mut_slice()[range.clone()];
        assert!(part.as_ptr().addr().is_multiple_of(align_of::<T>()));
        if T::DTYPE == DType::Bool {
            part.iter_mut().for_each(|b| *b = u8::from(*b != 0));
        }
        // SAFETY: aligned (checked); every bit pattern is valid for the sealed element types except `bool`, whose bytes were made 0
        // or 1 just now.
        unsafe { std::slice::from_raw_parts_mut(part.as_mut_ptr().cast(), part.len() / size_of::<T>()) }
    }
    /// The views of one step.
    ///
    /// # Panics
    /// When the arena is smaller than the program's.
    pub fn io<'s>(&'s mut self, program: &'s Program, step: usize) -> Io<'s> {
        let memory = self.as_mut_slice();
        assert!(memory.len() >= program.bytes);
        Io {
            memory: memory.as_mut_ptr(),
            operands: &program.steps[step],
            taken: 0,
            failure: None,
            life: std::marker::PhantomData,
        }
    }
}

/// One step's inputs, outputs and scratch.
pub struct Io<'s> {
    memory: *mut u8,
    operands: &'s Operands,
    /// One bit an output that was handed out; the highest bit for the scratch.
    taken: u64,
    failure: Option<Error>,
    life: std::marker::PhantomData<&'s mut [u8]>,
}

impl<'s> Io<'s> {
    /// Says that the values of the inputs do not fit (an index out of range): the run ends with this error. What the outputs
    /// hold does not matter then.
    #[cold]
    pub fn fail(&mut self, error: impl Into<Error>) {
        self.failure.get_or_insert(error.into());
    }
    /// What [`Io::fail`] was told.
    pub(super) fn failure(self) -> Option<Error> {
        self.failure
    }
    /// Number of inputs, absent ones included.
    pub fn inputs(&self) -> usize {
        self.operands.inputs.len()
    }
    /// True when the input is there.
    pub fn has(&self, i: usize) -> bool {
        !matches!(self.operands.inputs.get(i), None | Some(Place::Absent))
    }
    /// True when this input lies where output 0 lies: its elements are in the output, and [`Io::input`] must not be called for it.
    pub fn in_place(&self, input: usize) -> bool {
        self.operands.in_place == Some(input)
    }
    /// The elements of an input.
    ///
    /// # Panics
    /// When the input is absent, or runs in place.
    #[inline]
    pub fn input<T: Element>(&self, i: usize) -> &'s [T] {
        assert!(self.operands.in_place != Some(i), "input {i} runs in place");
        match &self.operands.inputs[i] {
            Place::Arena(r) => {
                // SAFETY: the range lies inside the arena and overlaps nothing this step writes (checked by `Program::new`).
                let part = unsafe { std::slice::from_raw_parts(self.memory.add(r.start), r.len()) };
                cast(part)
            }
            Place::Constant(t) => cast(t.bytes()),
            Place::Absent => panic!("input {i} is absent"),
        }
    }
    /// The elements of an output. Each output can be taken once.
    ///
    /// # Panics
    /// When it was taken before.
    #[inline]
    pub fn output<T: Element>(&mut self, i: usize) -> &'s mut [T] {
        let r = self.operands.outputs[i].clone();
        self.take(r, i)
    }
    /// The scratch. It can be taken once.
    ///
    /// # Panics
    /// When it was taken before.
    #[inline]
    pub fn scratch<T: Element>(&mut self) -> &'s mut [T] {
        let r = self.operands.scratch.clone();
        self.take(r, 63)
    }
    #[inline]
    fn take<T: Element>(&mut self, r: Range<usize>, bit: usize) -> &'s mut [T] {
        assert!(bit < 64 && self.taken & (1 << bit) == 0, "output {bit} was taken before");
        self.taken |= 1 << bit;
        // SAFETY: the range lies inside the arena, is aligned for every element type, overlaps nothing else of this step (checked by
        // `Program::new`), and is handed out once.
        let bytes = unsafe { std::slice::from_raw_parts_mut(self.memory.add(r.start), r.len()) };
        // Truth values must be 0 or 1 before anyone has written them; in place they are the operand's.
        if T::DTYPE == DType::Bool && !(bit == 0 && self.operands.in_place.is_some()) {
            bytes.fill(0);
        }
        // SAFETY: as above; every bit pattern is valid for the other sealed element types.
        unsafe { std::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), r.len() / size_of::<T>()) }
    }
}
