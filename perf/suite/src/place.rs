//! Where a worker runs. Cores of a shared machine are not equally fast at a time: with a program on each,
//! conv-forward seemed to change by 5 to 12 % in five of eight pairs of processes.

/// Holds this thread on one CPU until dropped.
#[derive(Debug)]
pub struct Pinned {
    #[cfg(target_os = "linux")]
    before: Option<rustix::thread::CpuSet>,
}

impl Pinned {
    /// The CPU of that number, of those that this thread may run on.
    #[cfg(target_os = "linux")]
    pub fn at(place: u32) -> Self {
        use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
        let Ok(allowed) = sched_getaffinity(None) else { return Self { before: None } };
        let count = allowed.count().max(1) as usize;
        let cpu =
            (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu)).nth(place as usize % count);
        let mut one = CpuSet::new();
        one.set(cpu.unwrap_or(0));
        // A system that refuses leaves it where it is.
        let before = sched_setaffinity(None, &one).is_ok().then_some(allowed);
        Self { before }
    }

    /// Elsewhere the system is trusted.
    #[cfg(not(target_os = "linux"))]
    pub fn at(_place: u32) -> Self {
        Self {}
    }
}

#[cfg(target_os = "linux")]
impl Drop for Pinned {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = rustix::thread::sched_setaffinity(None, before);
        }
    }
}
