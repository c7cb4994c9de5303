//! Threads of a session: the caller alone, or a rayon pool.

use crate::{Error, Result};
use pocketnn_kernels::par::{Parallel, Serial};

/// Threads that sessions run on. Cloning shares the pool.
#[derive(Clone, Default)]
pub struct Threads(Kind);

#[derive(Clone, Default)]
enum Kind {
    #[default]
    Caller,
    #[cfg(feature = "rayon")]
    Pool(std::sync::Arc<rayon::ThreadPool>),
}

impl Threads {
    /// The calling thread alone.
    pub fn one() -> Self {
        Self(Kind::Caller)
    }
    /// `n` threads: the caller and, from a pool of its own, the others; 1 is the caller alone. Where the process may use fewer processors,
    /// no more threads than those work at the same time.
    ///
    /// # Errors
    /// When `n` is 0, when the operating system gives no threads, or when this build has no pool (feature `rayon`).
    pub fn new(n: usize) -> Result<Self> {
        match n {
            0 => Err(Error::argument("expected at least 1 thread, found 0")),
            1 => Ok(Self::one()),
            #[cfg(feature = "rayon")]
            n => {
                let pool =
                    rayon::ThreadPoolBuilder::new().num_threads(n).thread_name(|i| format!("pocketnn-{i}")).build();
                let pool =
                    pool.map_err(|e| Error::new(crate::ErrorKind::Io, format!("cannot start {n} threads: {e}")))?;
                Ok(Self(Kind::Pool(std::sync::Arc::new(pool))))
            }
            #[cfg(not(feature = "rayon"))]
            n => Err(Error::unsupported(format!("{n} threads need the feature `rayon`"))),
        }
    }
    /// As many threads as the process may use (affinity and quota are respected).
    ///
    /// # Errors
    /// As [`Threads::new`].
    pub fn all() -> Result<Self> {
        Self::new(if cfg!(feature = "rayon") { available() } else { 1 })
    }
    /// As many threads as this pool has, from this pool. While a session runs it takes threads of the pool that are free, and gives them
    /// back within a fraction of a millisecond after the run; it never waits for one.
    #[cfg(feature = "rayon")]
    pub fn pool(pool: std::sync::Arc<rayon::ThreadPool>) -> Self {
        if pool.current_num_threads() <= 1 { Self::one() } else { Self(Kind::Pool(pool)) }
    }
    /// How many.
    pub fn count(&self) -> usize {
        match &self.0 {
            Kind::Caller => 1,
            #[cfg(feature = "rayon")]
            Kind::Pool(p) => p.current_num_threads(),
        }
    }
    /// The parallel loops of one session.
    pub(crate) fn team(&self) -> Team {
        match &self.0 {
            Kind::Caller => Team::Caller,
            #[cfg(feature = "rayon")]
            Kind::Pool(p) => Team::Pool(crate::gang::Team::new(p.clone())),
        }
    }
}

/// Processors that the process may use: affinity and cgroup quotas count.
pub(crate) fn available() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// A run of several threads.
#[cfg(feature = "rayon")]
pub(crate) use crate::gang::Run;
/// Without a pool there is none.
#[cfg(not(feature = "rayon"))]
pub(crate) type Run<'a> = std::marker::PhantomData<&'a ()>;

/// What runs the parallel loops of one session.
pub(crate) enum Team {
    Caller,
    #[cfg(feature = "rayon")]
    Pool(crate::gang::Team),
}

impl Team {
    /// Begins a run; it ends when what is given back is dropped.
    pub fn enter(&self) -> Option<Run<'_>> {
        match self {
            Team::Caller => None,
            #[cfg(feature = "rayon")]
            Team::Pool(t) => Some(t.enter()),
        }
    }
    pub fn as_parallel(&self) -> &dyn Parallel {
        match self {
            Team::Caller => &Serial,
            #[cfg(feature = "rayon")]
            Team::Pool(t) => t,
        }
    }
}

impl std::fmt::Debug for Threads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Threads({})", self.count())
    }
}
