//! A gang: pool threads that share the chunks of one parallel loop after another, without a pool call per loop.
//!
//! The leader is the thread that runs the session. It enters the pool once a run, at the first loop of several chunks: one job for each
//! further thread. It publishes a loop by storing how many chunks remain in each thread's share of them; everyone, the leader included,
//! claims chunks by decrementing such a number: those of its own share first, so that from one loop to the next a thread finds in its cache
//! what it wrote itself, then those that others have not come to. The leader waits for chunks in flight, not for members: one that is late,
//! descheduled or never comes costs nothing, the others do its share. A member spins for the next loop for [`SPIN`], then sleeps until one comes. After the run it stays
//! for [`LINGER`], so that the next run finds it awake, and goes back to its pool: nothing runs between runs.
//!
//! Pools may be shared: by sessions, and by a leader that is itself a thread of the pool. Members that find no free thread start after the
//! run, see that it is over, and leave.
//!
//! Why it is sound. `job` is written by the leader only while every share is 0 and every claimed chunk is done. A member reads
//! `job` only after it claimed a chunk: the claim (acquire) sees the leader's store to the share (release) and so the job before
//! it, and until that chunk counts as done the leader neither returns (the closure lives) nor publishes another. Whether the number
//! that a member decrements belongs to the loop it saw first or to a later one makes no difference: it reads the job afterwards.
//!
//! Why nobody oversleeps. A sleeper counts itself and then looks at the shares; the leader writes the shares and then looks at the
//! count, all in one total order: one of the two sees the other. The bell rings under the sleepers' lock, so it is heard.

use pocketnn_kernels::isa::FlushDenormals;
use pocketnn_kernels::par::Parallel;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a member spins for the next loop of a run before it sleeps.
const SPIN: Duration = Duration::from_micros(50);

/// How long a member spins for the next run before it goes back to its pool.
const LINGER: Duration = Duration::from_micros(150);

/// Looks at the next loop between looks at the clock.
const LOOKS: u32 = 256;

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
    /// Chunks that nobody has claimed, of each thread's share: the leader's first.
    shares: Box<[Padded<AtomicUsize>]>,
    /// Which shares have a member; the leader's always has.
    taken: Box<[AtomicBool]>,
    /// Chunks that have ended.
    done: Padded<AtomicUsize>,
    /// Members that are in their loop or on their way to it.
    members: Padded<AtomicUsize>,
    /// Members that sleep.
    sleepers: AtomicUsize,
    /// A run is in progress.
    open: AtomicBool,
    /// A chunk panicked.
    panicked: AtomicBool,
    /// What sleepers sleep on.
    gate: Mutex<()>,
    bell: Condvar,
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
    /// Claims and runs one chunk, of share `mine` if it has any; false when none is left.
    fn work(&self, mine: usize) -> bool {
        let parts = self.shares.len();
        for share in (mine..parts).chain(0..mine) {
            let left = &self.shares[share].0;
            let mut seen = left.load(Ordering::Relaxed);
            while seen > 0 {
                match left.compare_exchange_weak(seen, seen - 1, Ordering::Acquire, Ordering::Relaxed) {
                    Ok(_) => {
                        let _done = Done(self);
                        // SAFETY: a chunk is claimed and not done, so the job is published, unchanging, and its closure alive.
                        let (body, chunks) = unsafe { (&*(*self.job.get()).body, (*self.job.get()).chunks) };
                        body((share + 1) * chunks / parts - seen);
                        return true;
                    }
                    Err(now) => seen = now,
                }
            }
        }
        false
    }

    /// Whether a chunk is unclaimed.
    fn pending(&self) -> bool {
        self.shares.iter().any(|s| s.0.load(Ordering::SeqCst) > 0)
    }

    /// The loop of a member.
    fn member(&self, mine: usize) {
        let _scope = FlushDenormals::new();
        let mut idle_since: Option<Instant> = None;
        while self.open.load(Ordering::SeqCst) || idle_since.is_some() {
            for _ in 0..LOOKS {
                // The leader hears of a panic through `Done`; the pool must not.
                let worked = catch_unwind(AssertUnwindSafe(|| self.work(mine)));
                if worked.unwrap_or(true) {
                    idle_since = None;
                }
                std::hint::spin_loop();
            }
            let idle = idle_since.get_or_insert_with(Instant::now).elapsed();
            if idle > SPIN && self.open.load(Ordering::SeqCst) {
                self.sleep();
                idle_since = None;
            } else if idle > LINGER {
                break;
            } else if idle > SPIN / 2 {
                std::thread::yield_now();
            }
        }
        self.taken[mine].store(false, Ordering::Relaxed);
        self.members.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// Sleeps until there is a chunk or the run is over.
    fn sleep(&self) {
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        while self.open.load(Ordering::SeqCst) && !self.pending() {
            gate = self.bell.wait(gate).unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }

    fn wake(&self) {
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            drop(self.gate.lock().unwrap_or_else(PoisonError::into_inner));
            self.bell.notify_all();
        }
    }
}

/// The threads of one session. Loops of a team are published by one thread at a time.
pub(crate) struct Team {
    pool: Arc<rayon::ThreadPool>,
    threads: usize,
    /// Most members: with fewer processors than threads, more would take the leader's.
    helpers: usize,
    shared: Arc<Shared>,
    /// Guards against a loop inside a loop, which runs on its own thread alone.
    busy: AtomicBool,
}

/// A run: while it lives, members wait for loops.
pub(crate) struct Run<'a>(&'a Shared);

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.0.open.store(false, Ordering::SeqCst);
        self.0.wake();
    }
}

impl Team {
    pub fn new(pool: Arc<rayon::ThreadPool>) -> Self {
        let threads = pool.current_num_threads();
        Self::with_helpers(pool, (threads - 1).min(crate::threads::available().saturating_sub(1)))
    }

    fn with_helpers(pool: Arc<rayon::ThreadPool>, helpers: usize) -> Self {
        let nothing: &'static Body<'static> = &|_| {};
        let shared = Shared {
            shares: (0..=helpers).map(|_| Padded(AtomicUsize::new(0))).collect(),
            taken: (0..=helpers).map(|i| AtomicBool::new(i == 0)).collect(),
            done: Padded(AtomicUsize::new(0)),
            members: Padded(AtomicUsize::new(0)),
            sleepers: AtomicUsize::new(0),
            open: AtomicBool::new(false),
            panicked: AtomicBool::new(false),
            gate: Mutex::new(()),
            bell: Condvar::new(),
            job: UnsafeCell::new(Job { body: nothing, chunks: 0 }),
        };
        let threads = pool.current_num_threads();
        Self { pool, threads, helpers, shared: Arc::new(shared), busy: AtomicBool::new(false) }
    }

    /// Begins a run.
    pub fn enter(&self) -> Run<'_> {
        self.shared.open.store(true, Ordering::SeqCst);
        Run(&self.shared)
    }

    /// Calls members that went back to the pool.
    fn call(&self, wanted: usize) {
        while self.shared.members.0.load(Ordering::Relaxed) < wanted {
            let shared = self.shared.clone();
            // Fewer members than wanted, so some share has none.
            let Some(mine) = shared.taken.iter().position(|t| !t.swap(true, Ordering::Relaxed)) else { break };
            shared.members.0.fetch_add(1, Ordering::Relaxed);
            self.pool.spawn(move || shared.member(mine));
        }
    }
}

impl Parallel for Team {
    fn threads(&self) -> usize {
        self.threads
    }

    fn run(&self, chunks: usize, body: &Body<'_>) {
        if chunks <= 1 || self.helpers == 0 || self.busy.swap(true, Ordering::Acquire) {
            (0..chunks).for_each(body);
            return;
        }
        let shared = &*self.shared;
        shared.done.0.store(0, Ordering::Relaxed);
        // SAFETY: the lifetime is erased for storage only: this function returns after every claimed chunk has ended and none is left.
        let body = unsafe { std::mem::transmute::<&Body<'_>, &Body<'static>>(body) };
        // SAFETY: no chunk remains and none is in flight, so nobody reads the job.
        unsafe { *shared.job.get() = Job { body, chunks } };
        let parts = shared.shares.len();
        for (i, share) in shared.shares.iter().enumerate() {
            share.0.store((i + 1) * chunks / parts - i * chunks / parts, Ordering::SeqCst);
        }
        self.call(self.helpers.min(chunks - 1));
        shared.wake();
        // A panic in the leader's own chunk must not leave while members work on borrowed data.
        let own = catch_unwind(AssertUnwindSafe(|| while shared.work(0) {}));
        if own.is_err() {
            while shared.pending() {
                let _ = catch_unwind(AssertUnwindSafe(|| shared.work(0)));
            }
        }
        let mut looks = 0u32;
        while shared.done.0.load(Ordering::Acquire) < chunks {
            std::hint::spin_loop();
            looks += 1;
            if looks.is_multiple_of(4096) {
                std::thread::yield_now();
            }
        }
        let panicked = shared.panicked.swap(false, Ordering::Relaxed);
        self.busy.store(false, Ordering::Release);
        if let Err(p) = own {
            resume_unwind(p);
        }
        assert!(!panicked, "a chunk of a parallel loop panicked on another thread");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(n: usize) -> Arc<rayon::ThreadPool> {
        Arc::new(rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap())
    }

    /// A team that does not mind how many processors there are.
    fn team_in(pool: &Arc<rayon::ThreadPool>) -> Team {
        Team::with_helpers(pool.clone(), pool.current_num_threads() - 1)
    }

    fn team(n: usize) -> Team {
        team_in(&pool(n))
    }

    fn sum(team: &Team, chunks: usize) -> usize {
        let sum = AtomicUsize::new(0);
        team.run(chunks, &|i| {
            sum.fetch_add(i + 1, Ordering::Relaxed);
        });
        sum.into_inner()
    }

    /// Waits for what other threads do: a test that never ends is reported by its runner, one that waits too little would lie.
    fn until(what: impl Fn() -> bool) {
        while !what() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn every_chunk_runs_exactly_once_in_many_loops_of_many_runs() {
        let t = team(3);
        let mut sizes = (0..40).chain([1000, 7, 1]).cycle();
        for _ in 0..40 {
            let _run = t.enter();
            for chunks in sizes.by_ref().take(10) {
                let hits: Vec<AtomicUsize> = (0..chunks).map(|_| AtomicUsize::new(0)).collect();
                t.run(chunks, &|i| {
                    hits[i].fetch_add(1, Ordering::Relaxed);
                });
                assert!(hits.iter().all(|h| h.load(Ordering::Relaxed) == 1));
            }
        }
    }

    #[test]
    fn a_loop_inside_a_loop_runs() {
        let (t, sum) = (team(2), AtomicUsize::new(0));
        let _run = t.enter();
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
        let _run = t.enter();
        for chunk in 0..8 {
            let caught = catch_unwind(AssertUnwindSafe(|| t.run(8, &|i| assert!(i != chunk, "chunk {chunk}"))));
            assert!(caught.is_err());
            assert_eq!(sum(&t, 8), 36);
        }
    }

    #[test]
    fn members_sleep_in_a_long_run_wake_for_work_and_leave_after_it() {
        let t = team(3);
        let run = t.enter();
        for _ in 0..3 {
            assert_eq!(sum(&t, 64), 64 * 65 / 2);
            // All that have come; in a pool of its own every member comes.
            until(|| t.shared.sleepers.load(Ordering::SeqCst) == 2);
        }
        drop(run);
        until(|| t.shared.members.0.load(Ordering::Relaxed) == 0);
        assert_eq!(t.shared.sleepers.load(Ordering::SeqCst), 0);
        let _run = t.enter();
        assert_eq!(sum(&t, 5), 15);
    }

    #[test]
    fn a_member_that_comes_after_the_run_leaves() {
        let pool = pool(2);
        let t = team_in(&pool);
        let blocked = std::sync::Barrier::new(3);
        pool.in_place_scope(|s| {
            for _ in 0..2 {
                s.spawn(|_| {
                    blocked.wait();
                });
            }
            let run = t.enter();
            assert_eq!(sum(&t, 100), 5050);
            drop(run);
            assert_eq!(t.shared.members.0.load(Ordering::Relaxed), 1);
            blocked.wait();
        });
        until(|| t.shared.members.0.load(Ordering::Relaxed) == 0);
    }

    #[test]
    fn leaders_that_are_threads_of_the_pool_do_their_work() {
        let pool = pool(2);
        let sums: Vec<usize> = pool.install(|| {
            use rayon::prelude::*;
            let one = |_| {
                let t = team_in(&pool);
                let _run = t.enter();
                (0..20).map(|n| sum(&t, n)).sum::<usize>()
            };
            (0..8).into_par_iter().map(one).collect()
        });
        assert_eq!(sums, vec![(0..20).map(|n| n * (n + 1) / 2).sum::<usize>(); 8]);
    }
}
