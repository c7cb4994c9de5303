//! A team of pool threads that shares the chunks of one parallel loop after another without a pool call per loop.
//!
//! The leader (the thread that runs the session) publishes a loop by storing how many chunks remain; everyone, the leader included,
//! claims chunks by decrementing that number. The leader waits for chunks in flight, not for members: a member that is late
//! or descheduled costs nothing, the others do its share. Members spin for the next loop for [`LINGER`] and then go back to their
//! pool, where they sleep; the leader calls them again when it needs them.
//!
//! Why it is sound. `job` is written by the leader only while `remaining` is 0 and every claimed chunk is done. A member reads
//! `job` only after it claimed a chunk: the claim (acquire) sees the leader's store to `remaining` (release) and so the job before
//! it, and until that chunk counts as done the leader neither returns (the closure lives) nor publishes another.

use pocketnn_kernels::isa::FlushDenormals;
use pocketnn_kernels::par::Parallel;
use std::cell::UnsafeCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long a member spins for more work before it goes back to its pool.
const LINGER: Duration = Duration::from_micros(150);

/// Spins between looks at the clock or at other work of the pool.
const SPINS: u32 = 256;

type Body<'a> = dyn Fn(usize) + Sync + 'a;

/// The loop at hand.
struct Job {
    body: *const Body<'static>,
    chunks: usize,
}

/// A value on cache lines of its own, so that one counter's traffic does not slow another.
#[repr(align(128))]
struct Padded<T>(T);

struct Shared {
    /// Chunks that nobody has claimed.
    remaining: Padded<AtomicUsize>,
    /// Chunks that have ended.
    done: Padded<AtomicUsize>,
    /// Members that are in their loop or on their way to it.
    members: Padded<AtomicUsize>,
    /// A chunk panicked.
    panicked: AtomicBool,
    job: UnsafeCell<Job>,
}

// SAFETY: `job` is shared by the protocol of the module documentation.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

/// Counts a chunk as done even when it panics.
struct Done<'a>(&'a Shared);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.panicked.store(true, Ordering::Relaxed);
        }
        self.0.done.0.fetch_add(1, Ordering::Release);
    }
}

impl Shared {
    /// Claims and runs one chunk; false when none is left.
    fn work(&self) -> bool {
        let mut left = self.remaining.0.load(Ordering::Relaxed);
        loop {
            if left == 0 {
                return false;
            }
            match self.remaining.0.compare_exchange_weak(left, left - 1, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => left = now,
            }
        }
        let _done = Done(self);
        // SAFETY: a chunk is claimed and not done, so the job is published, unchanging, and its closure alive.
        let (body, chunks) = unsafe { (&*(*self.job.get()).body, (*self.job.get()).chunks) };
        body(chunks - left);
        true
    }

    /// The loop of a member.
    fn member(&self) {
        let _scope = FlushDenormals::new();
        let mut idle_since: Option<Instant> = None;
        loop {
            for _ in 0..SPINS {
                // The leader hears of a panic through `Done`; the pool must not.
                let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.work()));
                if worked.unwrap_or(true) {
                    idle_since = None;
                }
                std::hint::spin_loop();
            }
            let since = *idle_since.get_or_insert_with(Instant::now);
            if since.elapsed() > LINGER {
                break;
            }
        }
        self.members.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The threads of one session. Loops of a team are published by one thread at a time.
pub(crate) struct Team {
    pool: Arc<rayon::ThreadPool>,
    threads: usize,
    shared: Arc<Shared>,
    /// Guards against a loop inside a loop, which runs on its own thread alone.
    busy: AtomicBool,
}

impl Team {
    pub fn new(pool: Arc<rayon::ThreadPool>) -> Self {
        let nothing: &'static Body<'static> = &|_| {};
        let shared = Shared {
            remaining: Padded(AtomicUsize::new(0)),
            done: Padded(AtomicUsize::new(0)),
            members: Padded(AtomicUsize::new(0)),
            panicked: AtomicBool::new(false),
            job: UnsafeCell::new(Job { body: nothing, chunks: 0 }),
        };
        Self { threads: pool.current_num_threads(), pool, shared: Arc::new(shared), busy: AtomicBool::new(false) }
    }

    /// Calls members that went back to the pool.
    fn call(&self, wanted: usize) {
        while self.shared.members.0.load(Ordering::Relaxed) < wanted {
            self.shared.members.0.fetch_add(1, Ordering::Relaxed);
            let shared = self.shared.clone();
            self.pool.spawn(move || shared.member());
        }
    }
}

impl Parallel for Team {
    fn threads(&self) -> usize {
        self.threads
    }

    fn run(&self, chunks: usize, body: &Body<'_>) {
        if chunks <= 1 || self.busy.swap(true, Ordering::Acquire) {
            (0..chunks).for_each(body);
            return;
        }
        let shared = &*self.shared;
        self.call((self.threads - 1).min(chunks - 1));
        shared.done.0.store(0, Ordering::Relaxed);
        // SAFETY: the lifetime is erased for storage only: this function returns after every claimed chunk has ended and none is left.
        let body = unsafe { std::mem::transmute::<&Body<'_>, &Body<'static>>(body) };
        // SAFETY: no chunk remains and none is in flight, so nobody reads the job.
        unsafe { *shared.job.get() = Job { body, chunks } };
        shared.remaining.0.store(chunks, Ordering::Release);
        // A panic in the leader's own chunk must not leave while members work on borrowed data.
        let own = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| while shared.work() {}));
        if own.is_err() {
            while shared.remaining.0.load(Ordering::Relaxed) > 0 {
                let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| shared.work()));
            }
        }
        let mut spins = 0u32;
        while shared.done.0.load(Ordering::Acquire) < chunks {
            std::hint::spin_loop();
            spins += 1;
            if spins.is_multiple_of(4096) {
                std::thread::yield_now();
            }
        }
        let panicked = shared.panicked.swap(false, Ordering::Relaxed);
        self.busy.store(false, Ordering::Release);
        if let Err(p) = own {
            std::panic::resume_unwind(p);
        }
        assert!(!panicked, "a chunk of a parallel loop panicked on another thread");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn team(n: usize) -> Team {
        Team::new(Arc::new(rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap()))
    }

    #[test]
    fn every_chunk_runs_exactly_once_in_many_loops() {
        let t = team(3);
        for chunks in (0..40).chain([1000, 7, 1]).cycle().take(400) {
            let hits: Vec<AtomicUsize> = (0..chunks).map(|_| AtomicUsize::new(0)).collect();
            t.run(chunks, &|i| {
                hits[i].fetch_add(1, Ordering::Relaxed);
            });
            assert!(hits.iter().all(|h| h.load(Ordering::Relaxed) == 1));
        }
    }

    #[test]
    fn a_loop_inside_a_loop_runs() {
        let (t, sum) = (team(2), AtomicUsize::new(0));
        t.run(4, &|_| {
            t.run(5, &|_| {
                sum.fetch_add(1, Ordering::Relaxed);
            });
        });
        assert_eq!(sum.load(Ordering::Relaxed), 20);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_team_goes_on() {
        let t = team(2);
        let caught =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| t.run(8, &|i| assert!(i != 3, "chunk three"))));
        assert!(caught.is_err());
        let sum = AtomicUsize::new(0);
        t.run(8, &|i| {
            sum.fetch_add(i, Ordering::Relaxed);
        });
        assert_eq!(sum.load(Ordering::Relaxed), 28);
    }

    #[test]
    fn members_leave_soon_after_the_last_loop() {
        let t = team(2);
        t.run(64, &|_| {});
        let start = Instant::now();
        while t.shared.members.0.load(Ordering::Relaxed) > 0 {
            assert!(start.elapsed() < Duration::from_secs(20), "a member never left");
            std::thread::yield_now();
        }
    }
}
