//! A model: an immutable network that sessions run.

use crate::format::{self, Limits};
use crate::ops::custom::CustomOps;
use crate::plan::PackCache;
use crate::{Graph, Options, Result, Session};
use std::path::Path;
use std::sync::Arc;

/// A validated, immutable network. Cloning shares it; sessions on several threads share its packed weights.
///
/// ```no_run
/// use pocketnn::{Model, Options};
/// let model = Model::open("digits.pnn")?;
/// let mut session = model.session(&Options::default())?;
/// session.input_mut::<f32>(0)?.fill(0.0);
/// session.execute()?;
/// let probabilities = session.output::<f32>(0)?;
/// # Ok::<(), pocketnn::Error>(())
/// ```
#[derive(Clone)]
pub struct Model {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub graph: Graph,
    pub cache: PackCache,
}

impl Model {
    /// Maps a `.pnn` file and validates it. The file must not be changed or cut while the model lives: its weights are read from the map.
    ///
    /// # Errors
    /// When the file cannot be read, or is not a valid `.pnn` file; the message says where.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, &CustomOps::default())
    }
    /// As [`Model::open`], for a model with custom ops, which the program has registered.
    ///
    /// # Errors
    /// As [`Model::open`], and `Unsupported` when the model uses a custom op that is not registered.
    pub fn open_with(path: impl AsRef<Path>, ops: &CustomOps) -> Result<Self> {
        Ok(Self::new(format::open_with(path.as_ref(), &Limits::default(), ops)?))
    }
    /// Reads a `.pnn` file from memory (the weights are copied).
    ///
    /// # Errors
    /// When the bytes are not a valid `.pnn` file.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Self::from_bytes_with(bytes, &CustomOps::default())
    }
    /// As [`Model::from_bytes`], for a model with custom ops, which the program has registered.
    ///
    /// # Errors
    /// As [`Model::open_with`].
    pub fn from_bytes_with(bytes: &[u8], ops: &CustomOps) -> Result<Self> {
        Ok(Self::new(format::read_with(bytes, &Limits::default(), ops)?))
    }
    /// A model of a graph made in the program.
    pub fn new(graph: Graph) -> Self {
        Self { shared: Arc::new(Shared { graph, cache: PackCache::default() }) }
    }
    /// The network, out of its model: nothing is copied when this is the last one that shares it.
    pub fn into_graph(self) -> Graph {
        Arc::try_unwrap(self.shared).map_or_else(|shared| shared.graph.clone(), |shared| shared.graph)
    }
    /// The network.
    pub fn graph(&self) -> &Graph {
        &self.shared.graph
    }
    /// Plans the network for concrete sizes, packs its weights and allocates memory.
    ///
    /// # Errors
    /// When a size does not fit the network, or a budget of the options would be passed.
    pub fn session(&self, options: &Options) -> Result<Session<'static>> {
        Session::new(self.clone(), options, None)
    }
    /// As [`Model::session`], in memory of the caller: at least [`Session::arena_bytes`] bytes aligned to 64.
    ///
    /// # Errors
    /// As [`Model::session`], and when the memory is too small or not aligned.
    pub fn session_in<'a>(&self, options: &Options, memory: &'a mut [u8]) -> Result<Session<'a>> {
        Session::new(self.clone(), options, Some(memory))
    }
    /// Makes all later runs of a large packed model faster, at the price of a copy: its weights, which sessions so far read in the mapped file,
    /// move to memory in huge pages, and the pages of the file are given back. To be called when there is time, as after the first
    /// result. Sessions may run meanwhile, and all that exist profit. Gives the bytes copied: 0 for models of less than 4 MB of packed
    /// weights, where the system has no huge pages, and when it was done before.
    pub fn settle(&self) -> usize {
        self.cache().settle(self.graph())
    }
    pub(crate) fn cache(&self) -> &PackCache {
        &self.shared.cache
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Model({}, {} nodes)", self.graph().name(), self.graph().nodes().len())
    }
}
