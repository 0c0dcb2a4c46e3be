//! The protocol of a phase: how tasks are offered, taken, and counted when they are done.

use super::Scratch;
use super::sync::{
    AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Condvar, Mutex, SPINS, YIELDS, now, spin_loop,
    yield_now,
};
use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::PoisonError;
use std::sync::atomic::Ordering::*;
use std::time::Duration;

/// A wait for a worker's last task that is long enough to count: a time slice of the system is as long.
/// `LateWorkers` decides whether the worker was taken off its core, or its core is slow.
const LATE: Duration = Duration::from_millis(2);

/// How long the leader waited for the workers at the end of a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Workers {
    /// Not worth counting.
    InTime,
    /// Late by this much, which is more than `LATE`.
    Late(Duration),
}

type CallBody = unsafe fn(*const (), usize, &mut Scratch);

/// A phase's body without its type: a pointer to a closure, and what calls it.
#[derive(Clone, Copy)]
pub(super) struct Body {
    closure: *const (),
    call: CallBody,
}

impl Body {
    pub(super) fn of<F: Fn(usize, &mut Scratch) + Sync>(closure: &F) -> Self {
        /// Calls a closure of that type.
        unsafe fn call<F: Fn(usize, &mut Scratch)>(
            closure: *const (),
            task: usize,
            scratch: &mut Scratch,
        ) {
            // SAFETY: `Body::of` took the pointer from a reference to an F, and `Shared::work`
            // calls it only while that lives.
            unsafe { (*closure.cast::<F>())(task, scratch) }
        }
        Self { closure: std::ptr::from_ref(closure).cast(), call: call::<F> }
    }
}

/// What leader and workers share. Each word that is written while others read it has a cache line
/// of its own.
///
/// What a phase of n threads costs: the leader writes n lines, one after the other, and each thread that
/// runs out of tasks reads the n lines once. A line that another core has written costs c to write or
/// read, so publishing takes n c on the leader, and scanning n c on each thread at the same time: n^2
/// reads, but 2 n c of time. With c = 50 ns and 64 threads that would be 6 us. Products that take less
/// than sixteen times the measured cost of a phase stay on one thread. A worker stops scanning as soon as
/// the next phase opens. The example `phases` prints what it is on a machine.
pub(super) struct Shared {
    shares: Vec<CacheLine<Share>>,
    /// Tasks of the running phase that are done.
    done: CacheLine<AtomicUsize>,
    closed: AtomicBool,
    panicked: AtomicBool,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    sleepers: AtomicUsize,
    lock: Mutex<()>,
    wake: Condvar,
}

/// One thread's share of the running phase. All that a worker must know is in the one line that it waits
/// for: each further line would cost a tenth of a microsecond.
#[derive(Default)]
struct Share {
    /// High half: the phase's generation. Low half: tasks of the share that nobody has taken. While that
    /// number is zero, late workers are kept out, and the leader can prepare the next phase.
    claims: AtomicU64,
    /// The task behind the last.
    end: AtomicUsize,
    /// The parts of a [`Body`].
    closure: AtomicPtr<()>,
    call: AtomicPtr<()>,
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
    pub(super) fn new(threads: usize) -> Self {
        Self {
            shares: (0..threads).map(|_| CacheLine::default()).collect(),
            done: CacheLine::default(),
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
        let start = |index: usize| (index * tasks).div_ceil(self.shares.len());
        start(index)..start(index + 1)
    }

    /// Opens a phase. Only the leader calls it, and only when every task of the last one is done:
    /// none of those is left to be claimed, so nobody reads what is written here before `claims`.
    pub(super) fn publish(&self, generation: u32, tasks: usize, body: Body) {
        self.done.store(0, Relaxed);
        for (index, share) in self.shares.iter().enumerate() {
            let own = self.share(index, tasks);
            share.end.store(own.end, Relaxed);
            share.closure.store(body.closure.cast_mut(), Relaxed);
            share.call.store(body.call as *mut (), Relaxed);
            share.claims.store(u64::from(generation) << 32 | own.len() as u64, Release);
        }
        // Without a fence, which would wait for every share to arrive: a worker that falls asleep
        // at this very moment may be overlooked, its tasks are done by others, and the next phase
        // wakes it.
        if self.sleepers.load(Relaxed) > 0 {
            self.wake_all();
        }
    }

    fn wake_all(&self) {
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
        self.wake.notify_all();
    }

    /// The last phase that this thread was told of.
    fn generation(&self, index: usize) -> u32 {
        (self.shares[index].claims.load(Acquire) >> 32) as u32
    }

    /// Does tasks of that phase until none is left, first the thread's own, then those of the next
    /// thread, and so on. Returns how many.
    pub(super) fn work(&self, generation: u32, index: usize, scratch: &mut Scratch) -> usize {
        let threads = self.shares.len();
        let mut all = 0;
        for owner in (index..threads).chain(0..index) {
            let mut done = 0;
            while let Some((task, body)) = self.claim(generation, owner) {
                // SAFETY: the phase's leader is inside `Team::run`, which borrows the closure,
                // until this task is counted as done.
                let run = || unsafe { (body.call)(body.closure, task, scratch) };
                if let Err(payload) = catch_unwind(AssertUnwindSafe(run)) {
                    *self.panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(payload);
                    self.panicked.store(true, Relaxed);
                }
                done += 1;
            }
            if done > 0 {
                self.done.fetch_add(done, Release);
                all += done;
            }
            // The next phase is open already, so this one has no tasks left. The line is the thread's
            // own and costs nothing to read.
            if self.generation(index) != generation {
                break;
            }
        }
        all
    }

    /// Waits until all tasks of the phase are done, and tells whether the system had taken a worker
    /// off its core meanwhile. A panic in a task comes out of here.
    pub(super) fn finish(&self, tasks: usize) -> Workers {
        let mut idle = 0;
        let mut since = None;
        while self.done.load(Acquire) < tasks {
            idle += 1;
            if idle < SPINS {
                spin_loop();
            } else {
                since.get_or_insert_with(now);
                yield_now();
            }
        }
        if self.panicked.load(Relaxed) {
            self.panicked.store(false, Relaxed);
            let mut payload = self.panic.lock().unwrap_or_else(PoisonError::into_inner);
            resume_unwind(payload.take().unwrap_or_else(|| Box::new("a task panicked")));
        }
        match since.map(|since| now().saturating_duration_since(since)) {
            Some(waited) if waited > LATE => Workers::Late(waited),
            _ => Workers::InTime,
        }
    }

    /// Takes one task of that phase from a thread's share. `None` if none is left, or the phase is
    /// over.
    fn claim(&self, generation: u32, owner: usize) -> Option<(usize, Body)> {
        let share = &self.shares[owner];
        let mut claim = share.claims.load(Acquire);
        let left = loop {
            let left = (claim & 0xFFFF_FFFF) as usize;
            if (claim >> 32) as u32 != generation || left == 0 {
                return None;
            }
            match share.claims.compare_exchange_weak(claim, claim - 1, AcqRel, Acquire) {
                Ok(_) => break left,
                Err(now) => claim = now,
            }
        };
        // Only now: the claimed task is not done, so its phase is still open and these words are
        // the phase's own. Before the claim they could have been those of the next phase already.
        let (closure, call) = (share.closure.load(Relaxed), share.call.load(Relaxed));
        // A model with a planted fault reads the null of a new share here: say so instead of calling it.
        assert!(cfg!(not(loom)) || !call.is_null(), "a claimed task has no body");
        // SAFETY: `publish` made the pointer from such a function.
        let call = unsafe { std::mem::transmute::<*mut (), CallBody>(call) };
        Some((share.end.load(Relaxed) - left, Body { closure, call }))
    }

    /// A worker's life: wait for a phase, do tasks of it, until the leader dismisses the team.
    pub(super) fn serve(&self, index: usize) {
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
        self.sleepers.fetch_add(1, Relaxed);
        while self.generation(index) == seen && !self.closed.load(Acquire) {
            guard = self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.fetch_sub(1, Relaxed);
    }
}

/// Sends the workers home when the leader leaves, also by a panic.
pub(super) struct Dismiss<'a>(pub(super) &'a Shared);

impl Drop for Dismiss<'_> {
    fn drop(&mut self) {
        self.0.closed.store(true, Release);
        self.0.wake_all();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

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
}
