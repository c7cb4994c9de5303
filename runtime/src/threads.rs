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
    /// A pool of `n` threads (the caller waits while they work); 1 is the caller alone.
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
        let n = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self::new(if cfg!(feature = "rayon") { n } else { 1 })
    }
    /// The caller's pool.
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

/// What runs the parallel loops of one session.
pub(crate) enum Team {
    Caller,
    #[cfg(feature = "rayon")]
    Pool(crate::gang::Team),
}

impl Team {
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
