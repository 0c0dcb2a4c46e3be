//! The protocol of a phase: how tasks are offered, taken, and counted when they are done.

use super::Scratch;
use std::any::Any;
use std::hint::spin_loop;
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

pub(super) type Body = dyn Fn(usize, &mut Scratch) + Sync;

/// What leader and workers share. Each word that is written while others read it has a cache line
/// of its own.
pub(super) struct Shared {
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
    pub(super) fn new(threads: usize) -> Self {
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
    pub(super) fn publish(&self, generation: u32, tasks: usize, body: &&'static Body) {
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
    pub(super) fn work(&self, generation: u32, index: usize, scratch: &mut Scratch) {
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

    /// Waits until all tasks of the phase are done. A panic in one of them comes out of here.
    pub(super) fn finish(&self, tasks: usize) {
        let mut idle = 0;
        while self.done.load(Acquire) < tasks {
            idle += 1;
            if idle < SPINS { spin_loop() } else { yield_now() }
        }
        if self.panicked.load(Relaxed) {
            self.panicked.store(false, Relaxed);
            let mut payload = self.panic.lock().unwrap_or_else(PoisonError::into_inner);
            resume_unwind(payload.take().unwrap_or_else(|| Box::new("a task panicked")));
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
        self.sleepers.fetch_add(1, SeqCst);
        while self.generation(index) == seen && !self.closed.load(SeqCst) {
            guard = self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.fetch_sub(1, SeqCst);
    }
}

/// Sends the workers home when the leader leaves, also by a panic.
pub(super) struct Dismiss<'a>(pub(super) &'a Shared);

impl Drop for Dismiss<'_> {
    fn drop(&mut self) {
        self.0.closed.store(true, SeqCst);
        self.0.wake_all();
    }
}

#[cfg(test)]
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
