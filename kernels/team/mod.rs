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
//! thousands of times as long as that would take. Where a team is slower for it than one thread, the
//! leader does phases on its own for a while, a second at most (`late_workers`).
//!
//! **Same bits at any thread count**: where the bits depend on the cut, a kernel cuts its work into
//! tasks by the shape alone, never by [`Team::threads`], and adds up in the order of the tasks.

mod entry;
mod late_workers;
mod memory;
#[cfg(all(loom, test))]
mod model;
mod phase;
mod place;
mod sync;

use crate::blocking::Blocking;
use crate::precision::{Arithmetic, Precision};
use crate::{Error, Isa};
use entry::{Chain, Entry};
use late_workers::LateWorkers;
pub(crate) use memory::Parts;
pub use memory::Scratch;
use phase::{Body, Dismiss, Shared};
use place::Places;
use std::cell::{Cell, OnceCell, RefCell, RefMut};
use std::ops::Range;
use std::sync::{Mutex, OnceLock, PoisonError};
use sync::now;

/// The threads of a process that compute together, the instruction set they use, and the precision of their
/// products.
pub struct Pool {
    isa: Isa,
    arithmetic: Arithmetic,
    threads: usize,
    blocking: Blocking,
    /// `None` for a pool of one thread, which is the caller's.
    rayon: Option<rayon::ThreadPool>,
    entry: Entry,
    phase_cost: OnceLock<f64>,
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
        let (entry, phase_cost) = (Entry::new(), OnceLock::new());
        let (arithmetic, blocking) = (Arithmetic::F32, *Blocking::of_machine());
        Ok(Self { isa, arithmetic, threads, blocking, rayon, entry, phase_cost })
    }

    /// The same pool, whose teams compute products in that precision, by the fastest kernel of this CPU. A new
    /// pool computes in f32.
    ///
    /// # Errors
    /// If `THREADCOUNT_BF16` forces a kernel that does not run here.
    pub fn with_precision(self, precision: Precision) -> Result<Self, Error> {
        let arithmetic = Arithmetic::of(self.isa, precision)?;
        Ok(self.with_arithmetic(arithmetic))
    }

    /// The same with a kernel that is chosen.
    ///
    /// # Panics
    /// If this CPU lacks it.
    #[must_use]
    pub fn with_arithmetic(self, arithmetic: Arithmetic) -> Self {
        assert_runs(self.isa, arithmetic);
        Self { arithmetic, ..self }
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

    /// What its products are computed in, and how.
    pub fn arithmetic(&self) -> Arithmetic {
        self.arithmetic
    }

    /// Runs `lead` as the leader of a team of all the pool's threads. Enter once per run, not once
    /// per step: entering wakes every thread.
    ///
    /// A pool serves one team at a time: a second thread of the program that enters it waits, as at a
    /// lock, until the first has left. `lead` may enter another pool. A pool of one thread has no thread
    /// of its own and makes nobody wait.
    ///
    /// # Panics
    /// - If `lead` or a task panics; the pool can be entered again.
    /// - Inside a team of the same pool, whose threads are all taken: pass the [`Team`] on instead.
    /// - In the child of a `fork`, where the pool's threads do not exist: make a new pool there.
    pub fn enter<R: Send>(&self, lead: impl FnOnce(&Team) -> R + Send) -> R {
        self.enter_with(self.arithmetic, lead)
    }

    /// [`Self::enter`], with a team whose products are computed so.
    ///
    /// # Panics
    /// As [`Self::enter`]; and if this CPU lacks the kernel.
    pub fn enter_with<R: Send>(
        &self,
        arithmetic: Arithmetic,
        lead: impl FnOnce(&Team) -> R + Send,
    ) -> R {
        assert_runs(self.isa, arithmetic);
        let chain = Chain::with(&self.entry);
        let Some(rayon) = &self.rayon else {
            let team = Team::alone_with(self.isa, arithmetic, self.blocking);
            return chain.hold(|| lead(&team));
        };
        let _turn = self.entry.wait_for_turn();
        self.lead(rayon, &chain, arithmetic, lead)
    }

    /// [`Self::enter`] where that needs no wait and cannot be refused; else `lead` runs on the calling
    /// thread alone: inside a team of any pool, while another thread is inside this one, and in the
    /// child of a fork.
    pub(crate) fn enter_if_free<R: Send>(&self, lead: impl FnOnce(&Team) -> R + Send) -> R {
        if let (Some(rayon), Some(_turn)) = (&self.rayon, self.entry.turn_if_free()) {
            return self.lead(rayon, &Chain::with(&self.entry), self.arithmetic, lead);
        }
        lead(&Team::alone_with(self.isa, self.arithmetic, self.blocking))
    }

    /// Takes the threads; the caller has the turn.
    fn lead<R: Send>(
        &self,
        rayon: &rayon::ThreadPool,
        chain: &Chain,
        arithmetic: Arithmetic,
        lead: impl FnOnce(&Team) -> R + Send,
    ) -> R {
        let (shared, places) = (Shared::new(self.threads), Places::default());
        let lead = Mutex::new(Some(lead));
        let mut results = rayon.broadcast(|context| {
            places.find_one();
            chain.hold(|| {
                if context.index() != 0 {
                    shared.serve(context.index());
                    return None;
                }
                let _dismiss = Dismiss(&shared);
                let lead = lead.lock().unwrap_or_else(PoisonError::into_inner).take()?;
                Some(lead(&Team::of_pool(self, &shared, arithmetic)))
            })
        });
        results.swap_remove(0).expect("rayon runs a broadcast once on each thread")
    }
}

/// The leader's handle of the threads inside [`Pool::enter`]: what every kernel takes as its first
/// argument.
pub struct Team<'pool> {
    isa: Isa,
    arithmetic: Arithmetic,
    blocking: Blocking,
    threads: usize,
    shared: Option<&'pool Shared>,
    generation: Cell<u32>,
    late_workers: Cell<LateWorkers>,
    /// The cost of a phase, kept by the pool. A team of one has none: a phase costs it nothing.
    phase_cost: Option<&'pool OnceLock<f64>>,
    /// The leader on its own.
    alone: OnceCell<Box<Team<'static>>>,
    task_scratch: RefCell<Scratch>,
    phase_scratch: RefCell<Scratch>,
    packed_scratch: RefCell<Scratch>,
}

impl Team<'static> {
    /// A team of the calling thread alone, whose products are f32.
    pub fn solo(isa: Isa) -> Self {
        Self::alone_with(isa, Arithmetic::F32, *Blocking::of_machine())
    }

    /// The same team, whose products are computed so.
    ///
    /// # Panics
    /// If this CPU lacks the kernel.
    #[must_use]
    pub fn with_arithmetic(self, arithmetic: Arithmetic) -> Self {
        assert_runs(self.isa, arithmetic);
        Self::alone_with(self.isa, arithmetic, self.blocking)
    }

    fn alone_with(isa: Isa, arithmetic: Arithmetic, blocking: Blocking) -> Self {
        Self::new(isa, arithmetic, blocking, 1, None)
    }
}

fn assert_runs(isa: Isa, Arithmetic { kernel, .. }: Arithmetic) {
    assert!(kernel.is_detected(isa), "`{kernel}` does not run beside `{isa}` on this CPU");
}

impl<'pool> Team<'pool> {
    fn of_pool(pool: &'pool Pool, shared: &'pool Shared, arithmetic: Arithmetic) -> Self {
        let others = Some((shared, &pool.phase_cost));
        Self::new(pool.isa, arithmetic, pool.blocking, pool.threads, others)
    }

    fn new(
        isa: Isa,
        arithmetic: Arithmetic,
        blocking: Blocking,
        threads: usize,
        others: Option<(&'pool Shared, &'pool OnceLock<f64>)>,
    ) -> Self {
        Self {
            isa,
            arithmetic,
            blocking,
            threads,
            shared: others.map(|(shared, _)| shared),
            generation: Cell::new(0),
            late_workers: Cell::default(),
            phase_cost: others.map(|(_, cost)| cost),
            alone: OnceCell::new(),
            task_scratch: RefCell::default(),
            phase_scratch: RefCell::default(),
            packed_scratch: RefCell::default(),
        }
    }

    /// The instruction set of its kernels.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// What products are computed in, and how.
    pub fn arithmetic(&self) -> Arithmetic {
        self.arithmetic
    }

    /// The number of threads. Kernels may use it to choose how tasks are cut only where the bits do
    /// not depend on the cut.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// The leader as a team of its own, for work that is too small to be shared.
    pub fn alone(&self) -> &Team<'static> {
        self.alone
            .get_or_init(|| Box::new(Team::alone_with(self.isa, self.arithmetic, self.blocking)))
    }

    /// The sizes and costs of the machine. No bit may depend on them.
    pub(crate) fn blocking(&self) -> &Blocking {
        &self.blocking
    }

    /// What starting a phase costs, measured once for each pool (that takes 0.2 to 4 ms); nothing for a
    /// team of one. May not be asked for inside a kernel's own phase.
    pub(crate) fn phase_cost(&self, measure: impl FnOnce(&Self) -> f64) -> f64 {
        self.phase_cost.map_or(0.0, |cost| *cost.get_or_init(|| measure(self)))
    }

    /// Offers the next phase to the workers, even if they have come late: for what measures what all of
    /// them can do.
    pub(crate) fn call_back(&self) {
        self.late_workers.set(self.late_workers.get().called_back());
    }

    /// A buffer of the leader's that outlives one phase, for what several phases of one kernel
    /// share (the packed operand of a GEMM).
    ///
    /// # Panics
    /// If it is borrowed already: a kernel that holds it may not call another that needs it.
    pub(crate) fn phase_scratch(&self) -> RefMut<'_, Scratch> {
        self.phase_scratch.borrow_mut()
    }

    /// A buffer of the leader's for the packed operands of a product, beside the other.
    ///
    /// # Panics
    /// As [`Self::phase_scratch`].
    pub(crate) fn packed_scratch(&self) -> RefMut<'_, Scratch> {
        self.packed_scratch.borrow_mut()
    }

    /// Runs `body(task, scratch)` once for every task in `0..tasks`, in any order, on any of the
    /// team's threads, and returns when all are done. One task runs at once on the leader and wakes
    /// nobody. Tasks may not start phases themselves.
    ///
    /// # Panics
    /// If a task panics; the other tasks are finished first.
    pub fn run(&self, tasks: usize, body: impl Fn(usize, &mut Scratch) + Sync) {
        let scratch = &mut *self.task_scratch.borrow_mut();
        let shared = self.shared.filter(|_| tasks > 1 && self.late_workers.get().lets_share());
        let Some(shared) = shared else {
            if tasks > 1 {
                self.late_workers.set(self.late_workers.get().after_phase_alone(now));
            }
            return (0..tasks).for_each(|task| body(task, scratch));
        };
        assert!(tasks < u32::MAX as usize, "{tasks} tasks are too many for one phase");
        let generation = self.generation.get().wrapping_add(1);
        self.generation.set(generation);
        shared.publish(generation, tasks, Body::of(&body));
        let mine = shared.work(generation, 0, scratch);
        let workers = shared.finish(tasks);
        self.late_workers.set(self.late_workers.get().after_phase(
            (mine, tasks - mine),
            workers,
            now,
        ));
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

#[cfg(all(test, not(loom)))]
mod tests;
