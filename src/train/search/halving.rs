//! Successive halving (Jamieson & Talwalkar 2016): all trials train for a part of the epochs, the best of
//! them go on for more, and so on. Everything here depends on results alone, not on time or order of arrival.

use super::state::{Row, Scores};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::str::FromStr;

/// What trials are compared by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// The share of validation samples classified correctly; more is better.
    #[default]
    ValAccuracy,
    /// The mean loss per validation sample; less is better.
    ValLoss,
}

impl Metric {
    /// The names that [`FromStr`] and serde understand.
    pub const NAMES: [&str; 2] = ["val_accuracy", "val_loss"];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ValAccuracy => Self::NAMES[0],
            Self::ValLoss => Self::NAMES[1],
        }
    }

    /// The value of this metric in a trial's scores.
    pub const fn of(self, scores: &Scores) -> f64 {
        match self {
            Self::ValAccuracy => scores.val_accuracy,
            Self::ValLoss => scores.val_loss,
        }
    }

    /// Orders the better one first. A trial without scores comes after all others.
    pub fn compare(self, a: Option<&Scores>, b: Option<&Scores>) -> Ordering {
        match (a, b) {
            (Some(a), Some(b)) => match self {
                Self::ValAccuracy => b.val_accuracy.total_cmp(&a.val_accuracy),
                Self::ValLoss => a.val_loss.total_cmp(&b.val_loss),
            },
            (a, b) => b.is_some().cmp(&a.is_some()),
        }
    }
}

impl FromStr for Metric {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "val_accuracy" => Ok(Self::ValAccuracy),
            "val_loss" => Ok(Self::ValLoss),
            _ => Err(Error::Usage(crate::toml_file::unknown("metric", name, &Self::NAMES))),
        }
    }
}

/// How many times the worse trials are ended.
const CUTS: u32 = 2;

/// The epochs after which trials are compared, ascending: `epochs / factor^2`, `epochs / factor` and
/// `epochs`, rounded up. Rungs that would be the same are merged.
pub fn rungs(epochs: usize, factor: usize) -> Vec<usize> {
    let parts = (0..=CUTS).rev().map(|cut| epochs.div_ceil(factor.saturating_pow(cut).max(1)));
    let mut rungs: Vec<usize> = parts.collect();
    rungs.dedup();
    rungs
}

/// The trials of a rung that go on, by number: of `n` the best `n / factor`, rounded up. Of equal trials, the
/// one with the lower number is better. Trials without scores never go on.
pub fn survivors(rung: &[Row], metric: Metric, factor: usize) -> Vec<usize> {
    let mut order: Vec<&Row> = rung.iter().filter(|row| row.scores.is_some()).collect();
    order.sort_by(|a, b| {
        metric.compare(a.scores.as_ref(), b.scores.as_ref()).then(a.trial.cmp(&b.trial))
    });
    order.truncate(rung.len().div_ceil(factor.max(1)));
    let mut trials: Vec<usize> = order.iter().map(|row| row.trial).collect();
    trials.sort_unstable();
    trials
}

/// The last row of every trial that has one, best first: trials that reached a later rung come before those
/// that ended earlier, whatever their scores; equal trials are in the order of their numbers; diverged ones
/// are last.
pub fn ranked(rows: &[Row], metric: Metric) -> Vec<&Row> {
    let is_last =
        |row: &&Row| !rows.iter().any(|other| other.trial == row.trial && other.rung > row.rung);
    let mut last: Vec<&Row> = rows.iter().filter(is_last).collect();
    last.sort_by(|a, b| {
        let diverged = a.scores.is_none().cmp(&b.scores.is_none());
        let scores = metric.compare(a.scores.as_ref(), b.scores.as_ref());
        diverged.then(b.rung.cmp(&a.rung)).then(scores).then(a.trial.cmp(&b.trial))
    });
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(trial: usize, rung: usize, scores: Option<(f64, f64)>) -> Row {
        let scores = scores.map(|(val_loss, val_accuracy)| Scores { val_loss, val_accuracy });
        Row { trial, rung, epochs: 1, scores }
    }

    #[test]
    fn rungs_are_parts_of_the_epochs_rounded_up() {
        assert_eq!(rungs(27, 3), [3, 9, 27]);
        assert_eq!(rungs(15, 3), [2, 5, 15]);
        assert_eq!(rungs(10, 2), [3, 5, 10]);
        assert_eq!(rungs(3, 3), [1, 3]);
        assert_eq!(rungs(2, 3), [1, 2]);
        assert_eq!(rungs(1, 3), [1]);
        assert_eq!(rungs(10, usize::MAX), [1, 10]);
    }

    #[test]
    fn the_best_third_goes_on() {
        let accuracies = [0.5, 0.9, 0.7, 0.8, 0.6, 0.1, 0.2];
        let rung: Vec<Row> =
            (1..).zip(accuracies).map(|(trial, a)| row(trial, 1, Some((1.0 - a, a)))).collect();
        // Of seven: three.
        assert_eq!(survivors(&rung, Metric::ValAccuracy, 3), [2, 3, 4]);
        assert_eq!(survivors(&rung, Metric::ValLoss, 3), [2, 3, 4]);
        assert_eq!(survivors(&rung, Metric::ValAccuracy, 7), [2]);
        assert_eq!(survivors(&rung, Metric::ValAccuracy, 100), [2]);
        assert_eq!(survivors(&rung[..6], Metric::ValAccuracy, 3), [2, 4]);
        // The two measures disagree.
        let two = [row(1, 1, Some((0.3, 0.8))), row(2, 1, Some((0.4, 0.9)))];
        assert_eq!(survivors(&two, Metric::ValAccuracy, 2), [2]);
        assert_eq!(survivors(&two, Metric::ValLoss, 2), [1]);
    }

    #[test]
    fn of_equals_the_first_goes_on_in_whatever_order_they_came() {
        let mut rung: Vec<Row> = (1..=6).map(|trial| row(trial, 1, Some((0.5, 0.5)))).collect();
        assert_eq!(survivors(&rung, Metric::ValAccuracy, 3), [1, 2]);
        rung.reverse();
        assert_eq!(survivors(&rung, Metric::ValLoss, 3), [1, 2]);
    }

    #[test]
    fn what_diverged_counts_but_does_not_go_on() {
        let rung = [
            row(1, 1, None),
            row(2, 1, Some((0.5, 0.5))),
            row(3, 1, None),
            row(4, 1, Some((0.4, 0.6))),
        ];
        assert_eq!(survivors(&rung, Metric::ValLoss, 2), [2, 4]);
        assert_eq!(survivors(&rung, Metric::ValLoss, 4), [4]);
        let none = [row(1, 1, None), row(2, 1, None)];
        assert!(survivors(&none, Metric::ValLoss, 2).is_empty());
        let one = [row(1, 1, None), row(2, 1, None), row(3, 1, Some((9.0, 0.0)))];
        assert_eq!(survivors(&one, Metric::ValAccuracy, 1), [3]);
    }

    #[test]
    fn who_came_further_is_before_who_ended_earlier() {
        let rows = [
            row(1, 1, Some((0.1, 0.9))),
            row(2, 1, Some((0.5, 0.5))),
            row(3, 1, Some((0.5, 0.5))),
            row(4, 1, None),
            row(5, 1, Some((0.3, 0.7))),
            row(2, 2, Some((0.6, 0.4))),
            row(3, 2, Some((0.6, 0.4))),
            row(5, 2, None),
        ];
        let order = |metric| ranked(&rows, metric).iter().map(|row| row.trial).collect::<Vec<_>>();
        assert_eq!(order(Metric::ValAccuracy), [2, 3, 1, 5, 4]);
        assert_eq!(order(Metric::ValLoss), [2, 3, 1, 5, 4]);
    }

    #[test]
    fn a_metric_is_known_by_its_name() {
        for name in Metric::NAMES {
            assert_eq!(name.parse::<Metric>().unwrap().name(), name);
        }
        let error = "val_acuracy".parse::<Metric>().unwrap_err().to_string();
        assert!(error.contains("did you mean 'val_accuracy'?"), "{error}");
    }
}
