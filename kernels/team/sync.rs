//! What the protocol of a phase is built on: the standard library's, or loom's where its model checker
//! runs (`RUSTFLAGS="--cfg loom"`), and how long a thread waits before it yields and sleeps.

#[cfg(not(all(loom, test)))]
mod chosen {
    pub(crate) use std::hint::spin_loop;
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize};
    pub(crate) use std::sync::{Condvar, Mutex};
    pub(crate) use std::thread::yield_now;
    pub(crate) use std::time::Instant;

    /// Spins before the first yield: about 20 us, longer than the serial code between two phases of a
    /// training step.
    pub(crate) const SPINS: u32 = 1_000;
    /// Yields before going to sleep: some milliseconds when cores are idle.
    pub(crate) const YIELDS: u32 = 5_000;

    pub(crate) fn now() -> Instant {
        Instant::now()
    }
}

#[cfg(all(loom, test))]
mod chosen {
    pub(crate) use loom::hint::spin_loop;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize};
    pub(crate) use loom::sync::{Condvar, Mutex};
    pub(crate) use loom::thread::yield_now;
    pub(crate) use std::time::Instant;

    // Each turn of a wait is a branch of the model: one yield, then sleep.
    pub(crate) const SPINS: u32 = 0;
    pub(crate) const YIELDS: u32 = 1;

    /// Time stands still: what a model does may depend on nothing but its schedule.
    pub(crate) fn now() -> Instant {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        *START.get_or_init(Instant::now)
    }
}

pub(super) use chosen::*;
