//! Who may enter a pool: one thread of the program at a time, never from inside a team of the same pool,
//! and only in the process that started its threads.

use std::cell::RefCell;
use std::process;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

/// A pool's door.
pub(super) struct Entry {
    /// Tells the pool from all others, also from a later pool at the same address.
    id: u64,
    /// The process that started the threads.
    process: u32,
    turn: Mutex<()>,
}

impl Entry {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Relaxed);
        Self { id, process: process::id(), turn: Mutex::default() }
    }

    /// Waits until no other thread of the program is inside.
    ///
    /// # Panics
    /// In the child of a fork. It panics before it waits: the thread that was inside does not exist in
    /// the child.
    pub(super) fn wait_for_turn(&self) -> MutexGuard<'_, ()> {
        let here = process::id();
        assert!(
            self.process == here,
            "process {here} enters a pool whose threads are those of process {}, which it was forked \
             from: make a new pool after a fork",
            self.process,
        );
        // A panic inside leaves nothing half done: the team is gone.
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The turn, if nobody has it and the caller may take it: not inside of any pool, whose threads
    /// have the cores already, and not in the child of a fork.
    pub(super) fn turn_if_free(&self) -> Option<MutexGuard<'_, ()>> {
        if self.process != process::id() || INSIDE.with_borrow(|pools| !pools.is_empty()) {
            return None;
        }
        match self.turn.try_lock() {
            Ok(turn) => Some(turn),
            Err(TryLockError::Poisoned(turn)) => Some(turn.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

thread_local! {
    /// The pools that this thread works in: its own, and those whose leaders wait for it.
    static INSIDE: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// The pools that a team works in: the one that is entered, and those that the caller is inside of.
pub(super) struct Chain(Vec<u64>);

impl Chain {
    /// The caller's, and one more.
    ///
    /// # Panics
    /// If the caller is inside of that one.
    pub(super) fn with(entry: &Entry) -> Self {
        let mut chain = INSIDE.with_borrow(Clone::clone);
        assert!(
            !chain.contains(&entry.id),
            "a team enters its own pool, whose threads are all taken: pass the team on instead"
        );
        chain.push(entry.id);
        Self(chain)
    }

    /// Does `work` on this thread, which is inside of these pools meanwhile.
    pub(super) fn hold<R>(&self, work: impl FnOnce() -> R) -> R {
        /// Restores the thread's own list, also after a panic.
        struct Restore(Vec<u64>);
        impl Drop for Restore {
            fn drop(&mut self) {
                INSIDE.set(std::mem::take(&mut self.0));
            }
        }
        let _restore = Restore(INSIDE.replace(self.0.clone()));
        work()
    }
}
