//! The thread team: who does which task, and the waiting between phases.
//!
//! Rayon owns the threads. [`Pool::enter`] takes all of them at once and makes one the leader,
//! which runs the caller's code; the others wait for phases. A phase ([`Team::run`]) is a number of
//! tasks that may run in any order on any worker, and a wait until all are done. Workers spin for
//! the next phase, then yield, then sleep: a phase costs well under a microsecond while they spin,
//! against 18-60 us for a rayon fork after serial work, and a team that shares its cores with other
//! programs does not collapse: the leader never waits for a worker that has no task.
//!
//! Every thread begins with a share of the tasks that is its own, and then helps the others. So the
//! same thread has the same images or rows in every phase, and finds in its caches what it wrote in
//! the last one.
//!
//! Where other programs take the cores, a worker may be put to sleep in the middle of a task, for
//! thousands of times as long as that would take. Where that takes half of the time, the leader does
//! phases on its own for a while (`crowd`).
//!
//! **Same bits at any thread count**: where the bits depend on the cut, a kernel cuts its work into
//! tasks by the shape alone, never by [`Team::threads`], and adds up in the order of the tasks.

mod crowd;
mod memory;
mod phase;
mod place;

use crate::Isa;
use crate::gemm::Blocking;
use crowd::Crowd;
pub(crate) use memory::Parts;
pub use memory::Scratch;
use phase::{Body, Dismiss, Shared};
use place::Places;
use std::cell::{Cell, OnceCell, RefCell, RefMut};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// The threads of a process that compute together, and the instruction set they use.
pub struct Pool {
    isa: Isa,
    threads: usize,
    blocking: Blocking,
    rayon: Option<rayon::ThreadPool>,
}

impl Pool {
    /// A pool of that many threads.
    ///
    /// # Errors
    /// If the operating system refuses the threads.
    pub fn new(isa: Isa, threads: usize) -> Result<Self, rayon::ThreadPoolBuildError> {
        let threads = threads.max(1);
        let rayon = match threads {
            1 => None,
            _ => Some(
                rayon::ThreadPoolBuilder::new()
                    .num_threads(threads)
                    .thread_name(|index| format!("threadcount-{index}"))
                    .build()?,
            ),
        };
        Ok(Self { isa, threads, blocking: *Blocking::of_machine(), rayon })
    }

    /// The same with the sizes and costs of another machine: for tests, which find the same bits on
    /// every one.
    #[doc(hidden)]
    #[must_use]
    pub fn with_blocking(self, blocking: Blocking) -> Self {
        Self { blocking, ..self }
    }

    /// The number of threads.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// The instruction set of its kernels.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Runs `lead` as the leader of a team of all the pool's threads. Enter once per run, not once
    /// per step: entering wakes every thread.
    ///
    /// A panic in `lead` or in a task comes out of here.
    pub fn enter<R: Send>(&self, lead: impl FnOnce(&Team) -> R + Send) -> R {
        let Some(rayon) = &self.rayon else {
            return lead(&Team::new(self.isa, self.blocking, 1, None));
        };
        let (shared, places) = (Shared::new(self.threads), Places::default());
        let lead = Mutex::new(Some(lead));
        let mut results = rayon.broadcast(|context| {
            places.find_one();
            if context.index() != 0 {
                shared.serve(context.index());
                return None;
            }
            let _dismiss = Dismiss(&shared);
            let lead = lead.lock().unwrap_or_else(PoisonError::into_inner).take()?;
            Some(lead(&Team::new(self.isa, self.blocking, self.threads, Some(&shared))))
        });
        results.swap_remove(0).expect("rayon runs a broadcast once on each thread")
    }
}

/// The leader's handle of the threads inside [`Pool::enter`]: what every kernel takes as its first
/// argument.
pub struct Team<'pool> {
    isa: Isa,
    blocking: Blocking,
    threads: usize,
    shared: Option<&'pool Shared>,
    generation: Cell<u32>,
    crowd: Cell<Crowd>,
    phase_cost: OnceCell<f64>,
    /// The leader on its own.
    alone: OnceCell<Box<Team<'static>>>,
    task_scratch: RefCell<Scratch>,
    phase_scratch: RefCell<Scratch>,
}

impl Team<'static> {
    /// A team of the calling thread alone.
    pub fn solo(isa: Isa) -> Self {
        Self::new(isa, *Blocking::of_machine(), 1, None)
    }
}

impl<'pool> Team<'pool> {
    fn new(isa: Isa, blocking: Blocking, threads: usize, shared: Option<&'pool Shared>) -> Self {
        Self {
            isa,
            blocking,
            threads,
            shared,
            generation: Cell::new(0),
            crowd: Cell::default(),
            phase_cost: OnceCell::new(),
            alone: OnceCell::new(),
            task_scratch: RefCell::default(),
            phase_scratch: RefCell::default(),
        }
    }

    /// The instruction set of its kernels.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The number of threads. Kernels may use it to choose how tasks are cut only where the bits do
    /// not depend on the cut.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// The leader as a team of its own, for work that is too small to be shared.
    pub fn alone(&self) -> &Team<'static> {
        self.alone.get_or_init(|| Box::new(Team::new(self.isa, self.blocking, 1, None)))
    }

    /// The sizes and costs of the machine. No bit may depend on them.
    pub(crate) fn blocking(&self) -> &Blocking {
        &self.blocking
    }

    /// What starting a phase costs, measured once for each time that the pool is entered. May not be
    /// asked for inside a kernel's own phase.
    pub(crate) fn phase_cost(&self, measure: impl FnOnce(&Self) -> f64) -> f64 {
        *self.phase_cost.get_or_init(|| measure(self))
    }

    /// Offers the next phase to the workers, even if they have come late: for what measures what all of
    /// them can do.
    pub(crate) fn call_back(&self) {
        self.crowd.set(self.crowd.get().called_back());
    }

    /// A buffer of the leader's that outlives one phase, for what several phases of one kernel
    /// share (the packed operand of a GEMM).
    ///
    /// # Panics
    /// If it is borrowed already: a kernel that holds it may not call another that needs it.
    pub(crate) fn phase_scratch(&self) -> RefMut<'_, Scratch> {
        self.phase_scratch.borrow_mut()
    }

    /// Runs `body(task, scratch)` once for every task in `0..tasks`, in any order, on any of the
    /// team's threads, and returns when all are done. One task runs at once on the leader and wakes
    /// nobody. Tasks may not start phases themselves.
    ///
    /// # Panics
    /// If a task panics; the other tasks are finished first.
    pub fn run(&self, tasks: usize, body: impl Fn(usize, &mut Scratch) + Sync) {
        let scratch = &mut *self.task_scratch.borrow_mut();
        let shared = self.shared.filter(|_| tasks > 1 && self.crowd.get().lets_share());
        let Some(shared) = shared else {
            if tasks > 1 {
                self.crowd.set(self.crowd.get().after_phase_alone());
            }
            return (0..tasks).for_each(|task| body(task, scratch));
        };
        assert!(tasks < u32::MAX as usize, "{tasks} tasks are too many for one phase");
        let generation = self.generation.get().wrapping_add(1);
        self.generation.set(generation);
        shared.publish(generation, tasks, Body::of(&body));
        shared.work(generation, 0, scratch);
        let workers = shared.finish(tasks);
        self.crowd.set(self.crowd.get().after_phase(workers, Instant::now));
    }

    /// Cuts `data` into chunks of `chunk` elements (the last may be shorter) and runs one task for
    /// each: `body(first element's index, chunk)`.
    pub fn run_on_chunks<T: Send>(
        &self,
        data: &mut [T],
        chunk: usize,
        body: impl Fn(usize, &mut [T]) + Sync,
    ) {
        let (len, parts) = (data.len(), Parts::new(data));
        self.run_chunks(len, chunk, |range, _| {
            // SAFETY: chunks do not overlap, and each is one task's.
            let part = unsafe { parts.part(range.clone()) };
            body(range.start, part);
        });
    }

    /// Cuts `0..len` into chunks of `chunk` (the last may be shorter) and runs one task for each.
    pub fn run_chunks(
        &self,
        len: usize,
        chunk: usize,
        body: impl Fn(Range<usize>, &mut Scratch) + Sync,
    ) {
        self.run(len.div_ceil(chunk), |task, scratch| {
            body(task * chunk..len.min((task + 1) * chunk), scratch);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering::*};

    #[test]
    fn every_task_runs_once_at_any_thread_count() {
        for threads in 1..=5 {
            let pool = Pool::new(Isa::Portable, threads).unwrap();
            pool.enter(|team| {
                for tasks in [0, 1, 2, 3, 7, 64, 1000] {
                    let mut counts = vec![0_u32; tasks];
                    let parts = Parts::new(&mut counts);
                    // SAFETY: each task reaches its own element.
                    team.run(tasks, |task, _| unsafe { parts.part(task..task + 1)[0] += 1 });
                    assert!(counts.iter().all(|&count| count == 1));
                }
            });
        }
    }

    /// Phases of changing size, one right after the other: a worker that is late for one must not
    /// take a task of the next under the old number.
    #[test]
    fn phases_follow_each_other() {
        for threads in [2, 4, 7] {
            let pool = Pool::new(Isa::Portable, threads).unwrap();
            pool.enter(|team| {
                let mut random = 1_u32;
                for phase in 0..30_000 {
                    random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let tasks = 2 + (random >> 28) as usize;
                    let counts: [AtomicUsize; 18] = Default::default();
                    team.run(tasks, |task, _| {
                        counts[task].fetch_add(1, Relaxed);
                    });
                    for (task, count) in counts.iter().enumerate() {
                        let expected = usize::from(task < tasks);
                        assert_eq!(count.load(Relaxed), expected, "phase {phase}, task {task}");
                    }
                }
            });
        }
    }

    #[test]
    fn sleepers_wake_up_again() {
        let pool = Pool::new(Isa::Portable, 3).unwrap();
        pool.enter(|team| {
            for _ in 0..3 {
                std::thread::sleep(std::time::Duration::from_millis(60));
                let sum = AtomicUsize::new(0);
                team.run(100, |task, _| {
                    sum.fetch_add(task, Relaxed);
                });
                assert_eq!(sum.into_inner(), 4950);
            }
        });
    }

    #[test]
    fn a_leader_whose_worker_was_late_goes_on_alone_for_a_while() {
        let pool = Pool::new(Isa::Portable, 2).unwrap();
        pool.enter(|team| {
            let leader = std::thread::current().id();
            let shared = |pause: std::time::Duration| {
                let helped = AtomicUsize::new(0);
                team.run(2, |_, _| {
                    if std::thread::current().id() != leader {
                        helped.fetch_add(1, Relaxed);
                        std::thread::sleep(pause);
                    } else {
                        // Long enough for the worker to come.
                        std::thread::sleep(std::time::Duration::from_millis(1));
                    }
                });
                helped.into_inner() > 0
            };
            // Until it has come, and the leader has seen it be late often enough. (Beside other programs
            // the leader may be the late one.)
            let late = std::time::Duration::from_millis(10);
            let crowded = (0..1_000).any(|_| {
                shared(late);
                !team.crowd.get().lets_share()
            });
            assert!(crowded, "the worker never came, or was never late");
            for phase in 0..128 {
                assert!(!shared(late), "phase {phase} after the late one");
            }
            let in_time = std::time::Duration::ZERO;
            assert!((0..1_000).any(|_| shared(in_time)), "the worker never came again");
        });
    }

    #[test]
    fn a_panic_in_a_task_comes_out_and_the_pool_lives_on() {
        let pool = Pool::new(Isa::Portable, 3).unwrap();
        for _ in 0..20 {
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                pool.enter(|team| team.run(50, |task, _| assert!(task != 33, "task 33")));
            }));
            assert!(outcome.is_err());
        }
        assert_eq!(pool.enter(|team| team.threads()), 3);
    }
}
