//! Where the threads of a team run. Linux may start or wake two of them on one core, and takes up to a
//! tenth of a second to notice. Until then a team is no faster than one thread, and a whole training may
//! take no longer than that.

use std::sync::Mutex;

/// The CPUs that threads of a team have begun on.
#[derive(Default)]
pub(super) struct Places(Mutex<Vec<usize>>);

impl Places {
    /// Called by each thread of a team as it begins. Moves the thread if another one began on the same
    /// CPU and there is a CPU left. The thread is not pinned there: where other programs run as well, the
    /// system places threads better.
    #[cfg(all(target_os = "linux", not(miri)))]
    pub(super) fn find_one(&self) {
        use rustix::thread::{sched_getaffinity, sched_getcpu, sched_setaffinity};
        let mut taken = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if taken.contains(&sched_getcpu())
            && let Ok(allowed) = sched_getaffinity(None)
        {
            let mut free = allowed;
            taken.iter().for_each(|&cpu| free.unset(cpu));
            // Setting the affinity moves the thread at once. A system that refuses leaves it where
            // it is, which is no harm.
            if free.count() > 0 && sched_setaffinity(None, &free).is_ok() {
                let _ = sched_setaffinity(None, &allowed);
            }
        }
        taken.push(sched_getcpu());
    }

    /// Elsewhere the system is trusted. Miri does not know CPUs.
    #[cfg(any(not(target_os = "linux"), miri))]
    pub(super) fn find_one(&self) {}
}

#[cfg(all(test, target_os = "linux", not(miri)))]
mod tests {
    use super::*;
    use rustix::thread::{sched_getaffinity, sched_getcpu};

    #[test]
    fn a_thread_is_moved_and_left_free() {
        let before = sched_getaffinity(None).unwrap();
        let places = Places::default();
        for _ in 0..before.count() + 2 {
            places.find_one();
        }
        let allowed = before.count() as usize;
        let mut taken = places.0.into_inner().unwrap();
        assert_eq!(taken.len(), allowed + 2);
        // One thread in all places, one after the other: each CPU once before any is shared. The
        // system may move the thread between two calls, so a place may be missed.
        taken.sort_unstable();
        taken.dedup();
        assert!(taken.len() > allowed / 2, "{taken:?} of {allowed}");
        assert_eq!(sched_getaffinity(None).unwrap(), before);
        assert!(before.is_set(sched_getcpu()));
    }
}
