//! Whether the cores are crowded, as seen from a team whose workers come late, and what follows: phases
//! that the leader does alone.

use super::phase::Workers;

/// Phases that the leader does alone after a first late worker: a few training steps.
const FIRST: u32 = 32;
/// The most at a time: some seconds.
const MOST: u32 = 4_096;
/// Phases in time after which the crowd is forgotten.
const FORGET: u32 = 1_000;

/// What a leader remembers of its last phases. (Without it, two threads beside two other busy ones
/// trained a convolutional network at a twentieth of one thread's speed: every phase ended with a
/// wait for a time slice.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Crowd {
    /// Phases still to be done alone.
    alone: u32,
    /// How many it will be at the next late worker; zero if none came late lately.
    next: u32,
    /// Phases in time since then.
    in_time: u32,
}

impl Crowd {
    /// Whether the next phase is offered to the workers.
    pub(super) fn lets_share(self) -> bool {
        self.alone == 0
    }

    /// After a phase that was not offered to them.
    pub(super) fn after_phase_alone(self) -> Self {
        Self { alone: self.alone.saturating_sub(1), ..self }
    }

    /// After one that was.
    pub(super) fn after_phase(self, workers: Workers) -> Self {
        match workers {
            Workers::Late => {
                let alone = self.next.clamp(FIRST, MOST);
                Self { alone, next: 2 * alone, in_time: 0 }
            }
            Workers::InTime if self.in_time == FORGET => Self::default(),
            Workers::InTime if self.next == 0 => self,
            Workers::InTime => Self { in_time: self.in_time + 1, ..self },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After a late worker, the phases until the workers are asked again.
    fn alone_after(mut crowd: Crowd) -> (u32, Crowd) {
        crowd = crowd.after_phase(Workers::Late);
        let mut phases = 0;
        while !crowd.lets_share() {
            crowd = crowd.after_phase_alone();
            phases += 1;
        }
        (phases, crowd)
    }

    #[test]
    fn ever_more_phases_alone_and_then_forgotten() {
        let mut crowd = Crowd::default();
        let mut seen = Vec::new();
        for _ in 0..9 {
            let (phases, after) = alone_after(crowd);
            seen.push(phases);
            crowd = after.after_phase(Workers::InTime);
        }
        assert_eq!(seen, [32, 64, 128, 256, 512, 1024, 2048, 4096, 4096]);
        for _ in 0..=FORGET {
            crowd = crowd.after_phase(Workers::InTime);
        }
        assert_eq!(crowd, Crowd::default());
    }
}
