//! Time to accuracy: how long a recipe trains until the test samples are classified as well as its report
//! claims. Unlike a rate, it cannot be improved by training worse.

use crate::Result;
use crate::data::Split;
use crate::train::{Ended, Moment, Session, Task, Watch};
use std::ops::ControlFlow;
use threadcount_kernels::Team;

/// One seed's run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attempt {
    /// Whether the accuracy was reached within the task's epochs.
    pub outcome: Outcome,
    /// Epochs trained.
    pub epochs: usize,
    /// Wall time of training and of the recipe's own validation until then. The evaluations on the test
    /// samples, which only this measurement asks for, are not included.
    pub seconds: f64,
    /// The highest accuracy on the test samples after any epoch.
    pub best_accuracy: f64,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It reached the accuracy.
    Reached,
    /// Its last epoch ended without the accuracy.
    Missed,
    /// The watcher stopped it.
    Interrupted,
}

impl Attempt {
    /// The run with the median time, where a run that missed the accuracy counts as endless. `None` if the
    /// median run is endless.
    pub fn median(attempts: &[Self]) -> Option<&Self> {
        let mut sorted: Vec<_> = attempts.iter().collect();
        let time = |attempt: &Self| match attempt.outcome {
            Outcome::Reached => attempt.seconds,
            Outcome::Missed | Outcome::Interrupted => f64::INFINITY,
        };
        sorted.sort_by(|a, b| time(a).total_cmp(&time(b)));
        sorted.get(attempts.len() / 2).copied().filter(|middle| time(middle).is_finite())
    }
}

/// Trains until `accuracy` is reached on the test samples, which are evaluated after every epoch, or until
/// the task is finished; then the weights that the task keeps are evaluated. `watch` is the session's.
///
/// # Errors
/// As [`Session::new`] and [`Session::train`].
pub fn to_accuracy(
    team: &Team,
    task: &Task,
    split: &Split,
    seed: u64,
    accuracy: f64,
    watch: &mut Watch<'_>,
) -> Result<Attempt> {
    let mut session = Session::new(task, split, seed)?;
    let mut best_accuracy: f64 = 0.0;
    let outcome = loop {
        let mut flow = ControlFlow::Continue(());
        let ended = session.train(team, &mut |session, moment| {
            flow = watch(session, moment)?;
            Ok(if moment == Moment::Epoch { ControlFlow::Break(()) } else { flow })
        })?;
        if flow.is_break() {
            break Outcome::Interrupted;
        }
        let now = session.test(team)?.accuracy;
        best_accuracy = best_accuracy.max(now);
        match ended {
            _ if now >= accuracy => break Outcome::Reached,
            Ended::Finished => break Outcome::Missed,
            Ended::Interrupted => {}
        }
    };
    let progress = session.progress();
    let (epochs, seconds) = (progress.history.epochs.len(), progress.train_seconds);
    Ok(Attempt { outcome, epochs, seconds, best_accuracy })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_counts_misses_as_endless() {
        let run = |outcome, seconds| Attempt { outcome, epochs: 1, seconds, best_accuracy: 0.5 };
        let (reached, missed) = (|s| run(Outcome::Reached, s), run(Outcome::Missed, 0.1));
        let median = |runs: &[Attempt]| Attempt::median(runs).map(|run| run.seconds);
        assert_eq!(median(&[reached(3.0), missed, reached(1.0)]), Some(3.0));
        assert_eq!(median(&[missed, reached(1.0), missed]), None);
        assert_eq!(median(&[reached(2.0)]), Some(2.0));
        assert_eq!(median(&[]), None);
    }
}
