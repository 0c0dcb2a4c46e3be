//! Decides by measured times whether steps are done by all threads of a team or by its leader alone. The bits
//! are the same, so a session may try the other way now and then. (The network's size gives only an estimate.
//! On a virtual machine whose cores were far from each other for minutes, two threads trained small networks
//! at 0.7 to 0.9 times the speed of one.)

/// Steps of a trial, of which the median counts. One step before them is not counted: it fills the caches of
/// the threads that now do the work.
const STEPS: usize = 5;
/// The other way must be faster by this share.
const LEAST_GAIN: f64 = 0.03;
/// Steps until the first trial, and between trials after the other way has just won.
const FIRST: u32 = 64;
/// The most steps between trials of the leader alone: they take seconds.
const MOST: u32 = 4_096;
/// The most steps between trials of the team. Fewer, since the leader's times do not show when the team is
/// faster again.
const MOST_ALONE: u32 = 512;
/// If steps take this many times as long as after the last trial, the machine has changed, and the next trial
/// comes soon.
const CHANGED: f64 = 1.2;
/// A trial ends early after two steps that both take this many times as long as usual: each step of a large
/// network on one thread of four takes the time of three. (After one step, an interruption ended most
/// trials.)
const HOPELESS: f64 = 1.5;

/// Who does the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Threads {
    /// The whole team.
    All,
    /// Its leader.
    LeaderAlone,
}

impl Threads {
    fn other(self) -> Self {
        match self {
            Self::All => Self::LeaderAlone,
            Self::LeaderAlone => Self::All,
        }
    }
}

/// Which of the two has been faster lately.
#[derive(Clone, Debug)]
pub(super) struct ThreadChoice {
    best: Threads,
    /// Steps of `best` until the other is tried.
    until_trial: u32,
    /// What `until_trial` began with.
    pause: u32,
    /// The last times of `best`.
    usual: Times,
    /// Their median when `best` was last chosen.
    before: f64,
    /// The times of the other, while it is tried.
    trial: Option<Times>,
}

/// The last few times of steps.
#[derive(Clone, Debug, Default)]
struct Times {
    seconds: [f64; STEPS],
    /// How many times there have been in all.
    count: usize,
}

impl Times {
    fn push(&mut self, seconds: f64) {
        self.seconds[self.count % STEPS] = seconds;
        self.count += 1;
    }

    fn median(&self) -> f64 {
        let mut seconds = self.seconds;
        seconds.sort_unstable_by(f64::total_cmp);
        seconds[STEPS / 2]
    }
}

impl Default for ThreadChoice {
    fn default() -> Self {
        Self {
            best: Threads::All,
            until_trial: FIRST,
            pause: FIRST,
            usual: Times::default(),
            before: f64::INFINITY,
            trial: None,
        }
    }
}

impl ThreadChoice {
    /// Who does the next step.
    pub(super) fn next(&self) -> Threads {
        if self.trial.is_some() { self.best.other() } else { self.best }
    }

    /// Records the time of a full batch's step, done by [`Self::next`].
    pub(super) fn took(&mut self, seconds: f64) {
        let Some(trial) = &mut self.trial else {
            self.usual.push(seconds);
            if self.usual.median() > CHANGED * self.before {
                self.until_trial = self.until_trial.min(FIRST);
            }
            self.until_trial = self.until_trial.saturating_sub(1);
            if self.until_trial == 0 {
                self.trial = Some(Times::default());
            }
            return;
        };
        trial.push(seconds);
        let usual = self.usual.median();
        let fastest = trial.seconds[0].min(trial.seconds[1]);
        let is_hopeless = trial.count == 2 && fastest > HOPELESS * usual;
        // The first time is then overwritten.
        if trial.count <= STEPS && !is_hopeless {
            return;
        }
        let wins = !is_hopeless && trial.median() < (1.0 - LEAST_GAIN) * usual;
        if wins {
            (self.best, self.usual) = (self.best.other(), trial.clone());
        }
        self.before = self.usual.median();
        let most = if self.best == Threads::LeaderAlone { MOST_ALONE } else { MOST };
        self.pause = if wins { FIRST } else { (4 * self.pause).min(most) };
        (self.until_trial, self.trial) = (self.pause, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of `steps` steps the leader does alone, with these times of all threads and of the leader.
    fn steps_alone(choice: &mut ThreadChoice, steps: u32, all: f64, leader: f64) -> u32 {
        let mut alone = 0;
        for step in 0..steps {
            // An interruption now and then.
            let late = if step % 7 == 0 { 10.0 } else { 1.0 };
            let next = choice.next();
            alone += u32::from(next == Threads::LeaderAlone);
            choice.took(late * if next == Threads::All { all } else { leader });
        }
        alone
    }

    #[test]
    fn the_faster_one_does_nearly_all() {
        let mut choice = ThreadChoice::default();
        assert!(steps_alone(&mut choice, 10_000, 1.0, 1.9) <= 10);
        assert!(steps_alone(&mut ThreadChoice::default(), 10_000, 1.0, 1.2) < 100);
        assert!(steps_alone(&mut ThreadChoice::default(), 10_000, 1.3, 1.0) > 9_800);
    }

    #[test]
    fn it_follows_the_machine() {
        let mut choice = ThreadChoice::default();
        steps_alone(&mut choice, 20_000, 1.0, 1.5);
        // The pause between trials has become long, but not when all are slower than they were.
        assert!(steps_alone(&mut choice, 20_000, 2.0, 1.5) > 19_500);
        assert!(steps_alone(&mut choice, 20_000, 1.0, 1.4) < 1_000);
    }

    #[test]
    fn equals_do_not_take_turns() {
        let mut choice = ThreadChoice::default();
        assert!(steps_alone(&mut choice, 50_000, 1.0, 0.98) < 200);
    }
}
