//! Whether the cores are crowded, as seen from a team whose workers come late, and what follows: phases
//! that the leader does alone.

use super::phase::Workers;
use std::time::Instant;

/// Phases that the leader does alone at first: some training steps.
const FIRST: u32 = 128;
/// The most at a time: some seconds.
const MOST: u32 = 4_096;

/// What a leader remembers of late workers. (Without it, two threads beside two other busy ones trained
/// a convolutional network at a twentieth of one thread's speed: every phase ended with a wait for a
/// time slice. Now and then a late one is no reason: beside one busy program two threads were still
/// 1.6 times as fast as one.)
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Crowd {
    /// Phases still to be done alone.
    alone: u32,
    /// How many it was the last time.
    before: u32,
    /// When a worker was last waited for.
    last_late: Option<Instant>,
}

impl Crowd {
    /// Whether the next phase is offered to the workers.
    pub(super) fn lets_share(&self) -> bool {
        self.alone == 0
    }

    /// The same, but the next phase is offered.
    pub(super) fn called_back(self) -> Self {
        Self { alone: 0, ..self }
    }

    /// After a phase that was not offered to them.
    pub(super) fn after_phase_alone(self) -> Self {
        // Time alone says nothing about the workers.
        let last_late = if self.alone == 1 { Some(Instant::now()) } else { self.last_late };
        Self { alone: self.alone.saturating_sub(1), last_late, ..self }
    }

    /// After one that was. If half of the time since the last late worker went into waiting, two threads
    /// are no faster than one.
    pub(super) fn after_phase(self, workers: Workers, now: impl FnOnce() -> Instant) -> Self {
        let Workers::Late(waited) = workers else { return self };
        let now = now();
        let last_late = Some(now);
        match self.last_late.map(|last| now.saturating_duration_since(last)) {
            Some(since) if 2 * waited > since => {
                let alone = (2 * self.before).clamp(FIRST, MOST);
                Self { alone, before: alone, last_late }
            }
            _ => Self { alone: 0, before: 0, last_late },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const WAITED: Workers = Workers::Late(Duration::from_millis(10));

    /// The phases until the workers are asked again.
    fn alone(crowd: &mut Crowd) -> u32 {
        let mut phases = 0;
        while !crowd.lets_share() {
            *crowd = crowd.after_phase_alone();
            phases += 1;
        }
        phases
    }

    #[test]
    fn ever_more_phases_alone_while_waiting_is_most_of_the_time() {
        let mut crowd = Crowd::default().after_phase(WAITED, Instant::now);
        assert!(crowd.lets_share(), "once is chance");
        let seen: Vec<u32> = (0..9)
            .map(|_| {
                let soon = crowd.last_late.unwrap() + Duration::from_millis(11);
                crowd = crowd.after_phase(WAITED, || soon);
                alone(&mut crowd)
            })
            .collect();
        assert_eq!(seen, [128, 256, 512, 1024, 2048, 4096, 4096, 4096, 4096]);
    }

    #[test]
    fn now_and_then_is_no_crowd() {
        let mut crowd = Crowd::default().after_phase(WAITED, Instant::now);
        for _ in 0..5 {
            let later = crowd.last_late.unwrap() + Duration::from_millis(50);
            crowd = crowd.after_phase(WAITED, || later).after_phase(Workers::InTime, Instant::now);
            assert!(crowd.lets_share());
        }
    }
}
