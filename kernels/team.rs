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
//! **Same bits at any thread count**: a kernel cuts its work into tasks by the shape alone, never
//! by [`Team::threads`], and reduces partial results in the order of the tasks.

use crate::Isa;
use std::any::Any;
use std::cell::{Cell, RefCell, RefMut, UnsafeCell};
use std::hint::spin_loop;
use std::marker::PhantomData;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering::*};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread::yield_now;

/// Spins before the first yield: about 20 us, longer than the serial code between two phases of a
/// training step.
const SPINS: u32 = 1_000;
/// Yields before going to sleep: some milliseconds when cores are idle.
const YIELDS: u32 = 5_000;

/// A growable buffer of floats, aligned to cache lines, that a worker keeps between tasks.
#[derive(Default)]
pub struct Scratch {
    lines: Vec<Line>,
}

/// One cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

// SAFETY: sixteen floats, aligned to their total size: no padding, any bits are valid.
unsafe impl bytemuck::Zeroable for Line {}
// SAFETY: as above.
unsafe impl bytemuck::Pod for Line {}

impl Scratch {
    /// The first `len` floats, with whatever an earlier task left in them.
    pub fn floats(&mut self, len: usize) -> &mut [f32] {
        let lines = len.div_ceil(16);
        if self.lines.len() < lines {
            self.lines.resize(lines, Line([0.0; 16]));
        }
        &mut bytemuck::cast_slice_mut(&mut self.lines[..lines])[..len]
    }
}

/// The threads of a process that compute together, and the instruction set they use.
pub struct Pool {
    isa: Isa,
    threads: usize,
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
        Ok(Self { isa, threads, rayon })
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
            return lead(&Team::solo(self.isa));
        };
        let shared = Shared::new(self.threads);
        let lead = Mutex::new(Some(lead));
        let mut results = rayon.broadcast(|context| {
            if context.index() != 0 {
                shared.serve(context.index());
                return None;
            }
            let _dismiss = Dismiss(&shared);
            let lead = lead.lock().unwrap_or_else(PoisonError::into_inner).take()?;
            Some(lead(&Team::new(self.isa, self.threads, Some(&shared))))
        });
        results.swap_remove(0).expect("rayon runs a broadcast once on each thread")
    }
}

/// The leader's handle of the threads inside [`Pool::enter`]: what every kernel takes as its first
/// argument.
pub struct Team<'pool> {
    isa: Isa,
    threads: usize,
    shared: Option<&'pool Shared>,
    generation: Cell<u32>,
    task_scratch: RefCell<Scratch>,
    phase_scratch: RefCell<Scratch>,
}

impl Team<'static> {
    /// A team of the calling thread alone.
    pub fn solo(isa: Isa) -> Self {
        Self::new(isa, 1, None)
    }
}

impl<'pool> Team<'pool> {
    fn new(isa: Isa, threads: usize, shared: Option<&'pool Shared>) -> Self {
        Self {
            isa,
            threads,
            shared,
            generation: Cell::new(0),
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
        let Some(shared) = self.shared.filter(|_| tasks > 1) else {
            return (0..tasks).for_each(|task| body(task, scratch));
        };
        assert!(tasks < u32::MAX as usize, "{tasks} tasks are too many for one phase");
        let generation = self.generation.get().wrapping_add(1);
        self.generation.set(generation);
        let body: &(dyn Fn(usize, &mut Scratch) + Sync) = &body;
        // SAFETY: only the lifetime is erased. Workers call the body only between a successful
        // claim and the count of that task as done, and this function returns after all counts.
        let body: &'static Body = unsafe { std::mem::transmute(body) };
        shared.publish(generation, tasks, &body);
        shared.work(generation, 0, scratch);
        let mut idle = 0;
        while shared.done.load(Acquire) < tasks {
            idle += 1;
            if idle < SPINS { spin_loop() } else { yield_now() }
        }
        if shared.panicked.load(Relaxed) {
            shared.panicked.store(false, Relaxed);
            let mut payload = shared.panic.lock().unwrap_or_else(PoisonError::into_inner);
            resume_unwind(payload.take().unwrap_or_else(|| Box::new("a task panicked")));
        }
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

type Body = dyn Fn(usize, &mut Scratch) + Sync;

/// What leader and workers share. Each word that is written while others read it has a cache line
/// of its own.
struct Shared {
    /// For each thread its share of the running phase. High half: the phase's generation. Low half:
    /// tasks of the share that nobody has taken. Zero of those is what keeps late workers out while
    /// the leader prepares the next phase.
    claims: Vec<CacheLine<AtomicU64>>,
    /// Tasks of the running phase that are done.
    done: CacheLine<AtomicUsize>,
    /// Tasks of the running phase.
    tasks: AtomicUsize,
    /// Where the leader keeps the reference to the running phase's body.
    body: AtomicPtr<&'static Body>,
    closed: AtomicBool,
    panicked: AtomicBool,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    sleepers: AtomicUsize,
    lock: Mutex<()>,
    wake: Condvar,
}

/// Two lines: CPUs prefetch them in pairs.
#[derive(Default)]
#[repr(align(128))]
struct CacheLine<T>(T);

impl<T> std::ops::Deref for CacheLine<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl Shared {
    fn new(threads: usize) -> Self {
        Self {
            claims: (0..threads).map(|_| CacheLine::default()).collect(),
            done: CacheLine::default(),
            tasks: AtomicUsize::default(),
            body: AtomicPtr::default(),
            closed: AtomicBool::default(),
            panicked: AtomicBool::default(),
            panic: Mutex::default(),
            sleepers: AtomicUsize::default(),
            lock: Mutex::default(),
            wake: Condvar::default(),
        }
    }

    /// The tasks that are a thread's own. The leader's share is never the smaller one.
    fn share(&self, index: usize, tasks: usize) -> Range<usize> {
        let start = |index: usize| (index * tasks).div_ceil(self.claims.len());
        start(index)..start(index + 1)
    }

    /// Opens a phase. Only the leader calls it, and only when every task of the last one is done:
    /// none of those is left to be claimed, so nobody reads what is written here before `claims`.
    fn publish(&self, generation: u32, tasks: usize, body: &&'static Body) {
        self.done.store(0, Relaxed);
        self.tasks.store(tasks, Relaxed);
        self.body.store(std::ptr::from_ref(body).cast_mut(), Relaxed);
        for (index, claims) in self.claims.iter().enumerate() {
            let own = self.share(index, tasks).len() as u64;
            claims.store(u64::from(generation) << 32 | own, SeqCst);
        }
        if self.sleepers.load(SeqCst) > 0 {
            self.wake_all();
        }
    }

    fn wake_all(&self) {
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
        self.wake.notify_all();
    }

    /// The last phase that this thread was told of.
    fn generation(&self, index: usize) -> u32 {
        (self.claims[index].load(SeqCst) >> 32) as u32
    }

    /// Does tasks of that phase until none is left, first the thread's own, then those of the next
    /// thread, and so on.
    fn work(&self, generation: u32, index: usize, scratch: &mut Scratch) {
        let threads = self.claims.len();
        for owner in (index..threads).chain(0..index) {
            let mut done = 0;
            while let Some(left) = self.claim(generation, owner) {
                // Only now: the claimed task is not done, so its phase is still open and the words
                // below are the phase's own. Before the claim they could have been those of the
                // next phase already.
                let task = self.share(owner, self.tasks.load(Relaxed)).end - left;
                // SAFETY: the phase's leader is still inside `Team::run`, where `body` points to a
                // live reference.
                let body = unsafe { *self.body.load(Relaxed) };
                if let Err(payload) = catch_unwind(AssertUnwindSafe(|| body(task, scratch))) {
                    *self.panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(payload);
                    self.panicked.store(true, Relaxed);
                }
                done += 1;
            }
            if done > 0 {
                self.done.fetch_add(done, Release);
            }
        }
    }

    /// Takes one task of that phase from a thread's share: how many there were left. `None` if none
    /// was, or the phase is over.
    fn claim(&self, generation: u32, owner: usize) -> Option<usize> {
        let claims = &self.claims[owner];
        let mut claim = claims.load(Acquire);
        loop {
            let left = (claim & 0xFFFF_FFFF) as usize;
            if (claim >> 32) as u32 != generation || left == 0 {
                return None;
            }
            match claims.compare_exchange_weak(claim, claim - 1, AcqRel, Acquire) {
                Ok(_) => return Some(left),
                Err(now) => claim = now,
            }
        }
    }

    /// A worker's life: wait for a phase, do tasks of it, until the leader dismisses the team.
    fn serve(&self, index: usize) {
        let mut scratch = Scratch::default();
        let mut seen = 0;
        let mut idle = 0;
        while !self.closed.load(Acquire) {
            let generation = self.generation(index);
            if generation != seen {
                seen = generation;
                idle = 0;
                self.work(generation, index, &mut scratch);
            } else if idle < SPINS {
                idle += 1;
                spin_loop();
            } else if idle < SPINS + YIELDS {
                idle += 1;
                yield_now();
            } else {
                self.sleep(index, seen);
                idle = 0;
            }
        }
    }

    /// Sleeps until a phase after `seen` opens or the team is dismissed.
    fn sleep(&self, index: usize, seen: u32) {
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.sleepers.fetch_add(1, SeqCst);
        while self.generation(index) == seen && !self.closed.load(SeqCst) {
            guard = self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.fetch_sub(1, SeqCst);
    }
}

/// Sends the workers home when the leader leaves, also by a panic.
struct Dismiss<'a>(&'a Shared);

impl Drop for Dismiss<'_> {
    fn drop(&mut self) {
        self.0.closed.store(true, SeqCst);
        self.0.wake_all();
    }
}

/// A slice whose parts are written by different tasks at once: the one way in this crate for tasks
/// to share an output.
pub(crate) struct Parts<'a, T> {
    ptr: *mut T,
    len: usize,
    life: PhantomData<&'a UnsafeCell<[T]>>,
}

// SAFETY: tasks reach disjoint parts only, which is the promise of the callers of `part`.
unsafe impl<T: Send> Sync for Parts<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Parts<'_, T> {}

impl<'a, T> Parts<'a, T> {
    /// All of `slice`, to be cut up.
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Self { ptr: slice.as_mut_ptr(), len: slice.len(), life: PhantomData }
    }

    /// The elements of `range`.
    ///
    /// # Safety
    /// No other task that runs at the same time reaches an element of `range`.
    ///
    /// # Panics
    /// If the range is outside the slice.
    #[inline]
    #[allow(clippy::mut_from_ref, reason = "that is the point; see the safety section")]
    pub(crate) unsafe fn part(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len, "{range:?} of {}", self.len);
        // SAFETY: inside the slice, and nobody else's for now by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.add(range.start), range.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn shares_are_all_tasks_in_order() {
        for threads in 1..=9 {
            let shared = Shared::new(threads);
            for tasks in [0, 1, 2, 3, 7, 8, 64, 1000] {
                let shares: Vec<_> = (0..threads).map(|i| shared.share(i, tasks)).collect();
                assert!(shares.iter().cloned().flatten().eq(0..tasks), "{shares:?}");
                let longest = tasks.div_ceil(threads);
                assert!(shares.iter().all(|share| longest - share.len() <= 1), "{shares:?}");
                assert_eq!(shares[0].len(), longest);
            }
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

    #[test]
    fn scratch_is_aligned_and_grows() {
        let mut scratch = Scratch::default();
        for len in [0, 1, 17, 1000] {
            let floats = scratch.floats(len);
            assert_eq!((floats.len(), floats.as_ptr() as usize % 64), (len, 0));
        }
    }
}
