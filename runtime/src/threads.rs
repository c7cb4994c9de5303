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
        self.as_parallel().threads()
    }
    /// The parallel loop that kernels get.
    pub fn as_parallel(&self) -> &dyn Parallel {
        match &self.0 {
            Kind::Caller => &Serial,
            #[cfg(feature = "rayon")]
            Kind::Pool(_) => self,
        }
    }
}

impl Parallel for Threads {
    fn threads(&self) -> usize {
        match &self.0 {
            Kind::Caller => 1,
            #[cfg(feature = "rayon")]
            Kind::Pool(p) => p.current_num_threads(),
        }
    }
    fn run(&self, chunks: usize, body: &(dyn Fn(usize) + Sync)) {
        match &self.0 {
            Kind::Caller => Serial.run(chunks, body),
            #[cfg(feature = "rayon")]
            Kind::Pool(p) => {
                if chunks <= 1 {
                    return Serial.run(chunks, body);
                }
                let next = &std::sync::atomic::AtomicUsize::new(0);
                p.in_place_scope(|s| {
                    let work = move || {
                        loop {
                            let i = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                            if i >= chunks {
                                break;
                            }
                            body(i);
                        }
                    };
                    for _ in 1..self.threads().min(chunks) {
                        s.spawn(move |_| {
                            let _scope = pocketnn_kernels::isa::FlushDenormals::new();
                            work();
                        });
                    }
                    work();
                });
            }
        }
    }
}

impl std::fmt::Debug for Threads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Threads({})", self.count())
    }
}
