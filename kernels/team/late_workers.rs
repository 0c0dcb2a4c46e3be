//! Whether the cores are crowded, as seen from a team whose workers come late, and what follows: phases
//! that the leader does alone.

use super::phase::Workers;
use std::time::{Duration, Instant};

/// Phases that the leader does alone at first: some training steps.
const FIRST: u32 = 128;
/// The most at a time.
const MOST: u32 = 4_096;
/// The longest that it stays alone: large products take seconds each, and a core that was taken may be
/// free again at once.
const LONGEST: Duration = Duration::from_secs(1);

/// What a leader remembers of late workers. (Without it, two threads beside two other busy ones trained a
/// convolutional network at a twentieth of one thread's speed: every phase ended with a wait for a time
/// slice. A worker that is late now and then is no reason to go on alone: beside one busy program two
/// threads were still 1.6 times as fast as one.)
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LateWorkers {
    /// Phases still to be done alone.
    alone: u32,
    /// How many phases it was to do alone the last time.
    before: u32,
    /// When it stops working alone at the latest.
    until: Option<Instant>,
    /// When a worker was last waited for.
    last_late: Option<Instant>,
    /// Tasks of shared phases since then: the leader's, and the workers'.
    mine: usize,
    theirs: usize,
}

impl LateWorkers {
    /// Whether the next phase is offered to the workers.
    pub(super) fn lets_share(&self) -> bool {
        self.alone == 0
    }

    /// The same, but the next phase is offered.
    pub(super) fn called_back(self) -> Self {
        Self { alone: 0, ..self }
    }

    /// After a phase that was not offered to them.
    pub(super) fn after_phase_alone(self, now: impl FnOnce() -> Instant) -> Self {
        let now = now();
        if self.alone > 1 && self.until.is_some_and(|until| now < until) {
            return Self { alone: self.alone - 1, ..self };
        }
        // Time alone says nothing about the workers.
        Self { alone: 0, last_late: Some(now), mine: 0, theirs: 0, ..self }
    }

    /// After a phase that was offered, of which the leader did `mine` of the tasks and the workers
    /// `theirs`.
    pub(super) fn after_phase(
        self,
        (mine, theirs): (usize, usize),
        workers: Workers,
        now: impl FnOnce() -> Instant,
    ) -> Self {
        let (mine, theirs) = (self.mine.saturating_add(mine), self.theirs.saturating_add(theirs));
        let Workers::Late(waited) = workers else { return Self { mine, theirs, ..self } };
        let now = now();
        let since = self.last_late.map(|last| now.saturating_duration_since(last));
        let crowded = since.is_some_and(|since| is_crowded(since, waited, mine, theirs));
        let alone = if crowded { (2 * self.before).clamp(FIRST, MOST) } else { 0 };
        Self {
            alone,
            before: alone,
            until: Some(now + LONGEST),
            last_late: Some(now),
            mine: 0,
            theirs: 0,
        }
    }
}

/// Whether workers were taken off their cores. `since` is the time since the last late worker; the leader
/// `waited` for a part of it and was busy for the rest. The tasks that the leader did in the busy part
/// tell how long the workers' tasks would have taken it. A worker on a slow core makes the leader wait
/// for no longer than that, or twice as long on a core of a third of the speed. Beyond that, one thread
/// alone is faster.
fn is_crowded(since: Duration, waited: Duration, mine: usize, theirs: usize) -> bool {
    let busy = since.saturating_sub(waited).as_secs_f64();
    // A leader that did no task was late itself.
    mine > 0 && waited.as_secs_f64() > 2.0 * busy * theirs as f64 / mine as f64
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Phases on a clock that only they move.
    struct Script {
        now: Instant,
        late_workers: LateWorkers,
    }

    impl Script {
        fn new() -> Self {
            Self { now: Instant::now(), late_workers: LateWorkers::default() }
        }

        /// A shared phase in which the leader is busy for so many microseconds, and then waits.
        fn phase(&mut self, tasks: (usize, usize), busy: u64, waited: u64) {
            assert!(self.late_workers.lets_share());
            self.now += Duration::from_micros(busy + waited);
            let workers = match waited {
                ..=2_000 => Workers::InTime,
                _ => Workers::Late(Duration::from_micros(waited)),
            };
            self.late_workers = self.late_workers.after_phase(tasks, workers, || self.now);
        }

        /// Phases of so many microseconds until the workers are asked again: their number.
        fn alone(&mut self, micros: u64) -> u32 {
            let mut phases = 0;
            while !self.late_workers.lets_share() {
                self.now += Duration::from_micros(micros);
                self.late_workers = self.late_workers.after_phase_alone(|| self.now);
                phases += 1;
            }
            phases
        }
    }

    #[test]
    fn ever_more_phases_alone_while_waiting_is_most_of_the_time() {
        let mut script = Script::new();
        script.phase((1, 1), 20, 10_000);
        assert!(script.late_workers.lets_share(), "once is chance");
        let seen: Vec<u32> = (0..8)
            .map(|_| {
                script.phase((1, 1), 20, 10_000);
                script.alone(40)
            })
            .collect();
        assert_eq!(seen, [128, 256, 512, 1024, 2048, 4096, 4096, 4096]);
    }

    #[test]
    fn as_much_time_in_step_after_them_begins_anew() {
        let mut script = Script::new();
        script.phase((1, 1), 20, 10_000);
        for _ in 0..2 {
            script.phase((1, 1), 20, 10_000);
            assert_eq!(script.alone(40), 128);
            // As long as the next wait, and each thread as fast as the other.
            (0..500).for_each(|_| script.phase((1, 1), 20, 0));
            script.phase((1, 1), 20, 10_000);
            assert!(script.late_workers.lets_share());
        }
    }

    #[test]
    fn no_exile_is_longer_than_a_second() {
        for (micros, most) in [(300_000, 4), (1_000_000, 1), (5_000_000, 1), (20_000, 50)] {
            let mut script = Script::new();
            for _ in 0..10 {
                script.phase((1, 1), micros, 10 * micros);
                let phases = script.alone(2 * micros);
                assert!(u64::from(phases) * 2 * micros < 1_000_000 + 2 * micros);
                assert!(phases <= most, "{phases} phases of {} us", 2 * micros);
            }
            assert!(script.late_workers.before >= FIRST, "was never alone");
        }
    }

    #[test]
    fn now_and_then_is_no_reason() {
        let mut script = Script::new();
        for _ in 0..5 {
            // Beside a busy program, twenty phases of a millisecond for each that is late; in that one
            // the leader does what the worker had left.
            (0..20).for_each(|_| script.phase((4, 4), 1_000, 0));
            script.phase((7, 1), 1_750, 10_000);
            assert!(script.late_workers.lets_share());
        }
    }

    /// Every phase ends with a wait, and every wait is what a slow core needs.
    #[test]
    fn a_slow_core_is_no_reason() {
        for micros in [3_000, 100_000, 3_000_000] {
            // Two threads, one of them at two thirds, a half and two fifths of the leader's speed.
            for waited in [micros / 2, micros, micros * 3 / 2] {
                let mut script = Script::new();
                for phase in 0..50 {
                    // A worker that is a hundredth earlier or later than the last time.
                    script.phase((1, 1), micros, waited + waited / 100 * (phase % 3));
                }
            }
            // Eight, and those that the leader waits for at half and a quarter of its speed.
            for waited in [micros, 3 * micros] {
                let mut script = Script::new();
                (0..50).for_each(|_| script.phase((1, 7), micros, waited));
            }
        }
    }

    #[test]
    fn a_core_that_is_taken_is_a_crowd_at_any_task_size() {
        for micros in [20, 1_000, 100_000] {
            for (tasks, waited) in [((1, 1), 8), ((7, 1), 2), ((1, 3), 20)] {
                let mut script = Script::new();
                script.phase(tasks, micros, waited * micros.max(2_000));
                script.phase(tasks, micros, waited * micros.max(2_000));
                assert!(!script.late_workers.lets_share(), "{tasks:?}, {waited} x {micros} us");
            }
        }
    }

    #[test]
    fn a_leader_that_was_late_itself_blames_nobody() {
        let mut script = Script::new();
        (0..10).for_each(|_| script.phase((0, 8), 20, 10_000));
    }

    #[test]
    fn called_back_shares_at_once() {
        let mut script = Script::new();
        script.phase((1, 1), 20, 10_000);
        script.phase((1, 1), 20, 10_000);
        assert!(!script.late_workers.lets_share());
        assert!(script.late_workers.called_back().lets_share());
    }
}
