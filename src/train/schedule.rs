//! Learning-rate schedules: the share of the optimizer's rate that each step uses.
//!
//! A schedule is a function of the step's number and, for [`Schedule::Plateau`], of the validation losses so
//! far, so a resumed run has the same rates. It changes nothing else of the optimizer: one-cycle leaves
//! momentum alone.

use std::f64::consts::PI;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::history::Epoch;
use super::stopping::Patience;
use super::task::Task;
use crate::names::shortened;
use crate::{Error, Result};

/// How the learning rate changes during training, as a share of the optimizer's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum Schedule {
    /// The optimizer's rate in every step.
    #[default]
    Constant,
    /// Multiplied by `factor` at the end of each of these epochs.
    Steps {
        /// Numbers of epochs, ascending.
        at: Vec<usize>,
        /// From 0 to 1.
        factor: f64,
    },
    /// Half a period of a cosine, from the full rate to the share `last` of it (Loshchilov & Hutter 2016,
    /// without restarts).
    Cosine {
        /// Share of the rate after the last step.
        #[serde(default)]
        last: f64,
    },
    /// Rises from the share `first` of the rate to the full rate during the share `rise` of all steps, then
    /// falls to the share `last`, both along half a period of a cosine (Smith & Topin 2017, with the
    /// constants of PyTorch's `OneCycleLR`).
    OneCycle {
        /// Share of the steps in which the rate rises.
        rise: f64,
        /// Share of the rate in the first step.
        first: f64,
        /// Share of the rate after the last step.
        last: f64,
    },
    /// Multiplied by `factor` once the validation loss has not fallen by more than `min_delta` below its
    /// lowest for `patience` epochs in a row (Keras's `ReduceLROnPlateau`, without cool-down).
    Plateau {
        /// From 0 to 1.
        factor: f64,
        /// Epochs without improvement.
        patience: usize,
        /// The decrease of the loss above which an epoch is an improvement.
        min_delta: f64,
    },
}

/// What a schedule remembers of the epochs so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plateaus {
    patience: Patience,
    /// How often the rate was reduced.
    reductions: u32,
}

/// The position of a step in a training run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Epochs that are finished.
    pub(crate) epochs_done: usize,
    /// Steps of this epoch that are done.
    pub(crate) steps_done: usize,
    /// Steps of every epoch.
    pub(crate) steps_per_epoch: usize,
}

impl Place {
    /// Steps of the whole training that are done.
    fn step(self) -> f64 {
        (self.epochs_done * self.steps_per_epoch + self.steps_done) as f64
    }
}

impl Schedule {
    /// The names that [`FromStr`] understands.
    pub const NAMES: [&str; 5] = ["constant", "steps", "cosine", "one-cycle", "plateau"];

    /// Whether the rates of the first epochs depend on how many there are going to be.
    pub const fn depends_on_epochs(&self) -> bool {
        match self {
            Self::Cosine { .. } | Self::OneCycle { .. } => true,
            Self::Constant | Self::Steps { .. } | Self::Plateau { .. } => false,
        }
    }

    /// Refuses settings that are out of range.
    ///
    /// # Errors
    /// [`Error::Usage`] with the setting and its range.
    pub fn check(&self) -> Result<()> {
        let share = |name: &str, value: f64| match (0.0..=1.0).contains(&value) {
            true => Ok(()),
            false => Err(fault(format!("{name} is a share of the rate, 0 to 1, not {value}"))),
        };
        match self {
            Self::Constant => Ok(()),
            Self::Steps { at, factor } => {
                share("factor", *factor)?;
                match at.is_sorted_by(|a, b| a < b) && at.first().is_some_and(|&first| first > 0) {
                    true => Ok(()),
                    false => Err(fault(format!(
                        "at is a list of rising numbers of epochs, such as [10, 20], not {at:?}"
                    ))),
                }
            }
            Self::Cosine { last } => share("last", *last),
            Self::OneCycle { rise, first, last } => {
                share("first", *first)?;
                share("last", *last)?;
                match *rise > 0.0 && *rise < 1.0 {
                    true => Ok(()),
                    false => Err(fault(format!(
                        "rise is a share of the steps above 0 and below 1, not {rise}"
                    ))),
                }
            }
            Self::Plateau { factor, patience, min_delta } => {
                share("factor", *factor)?;
                if *patience == 0 {
                    return Err(fault("patience is 1 epoch at least"));
                }
                match *min_delta >= 0.0 && min_delta.is_finite() {
                    true => Ok(()),
                    false => Err(fault(format!("min-delta is 0 or more, not {min_delta}"))),
                }
            }
        }
    }

    /// The share of the optimizer's rate that the step at `place` uses, in a training of `epochs`.
    fn share(&self, place: Place, epochs: usize, warm_up_steps: f64, plateaus: Plateaus) -> f64 {
        let done = place.step();
        let all = epochs as f64 * place.steps_per_epoch as f64;
        match *self {
            Self::Constant => 1.0,
            Self::Steps { ref at, factor } => {
                let passed = at.iter().filter(|&&epoch| epoch <= place.epochs_done).count();
                power(factor, passed as u32)
            }
            Self::Cosine { last } => {
                let (done, all) = (done - warm_up_steps, all - warm_up_steps);
                between(1.0, last, done / all)
            }
            Self::OneCycle { rise, first, last } => {
                let top = rise * all;
                match done < top {
                    true => between(first, 1.0, done / top),
                    false => between(1.0, last, (done - top) / (all - top)),
                }
            }
            Self::Plateau { factor, .. } => power(factor, plateaus.reductions),
        }
    }
}

impl Plateaus {
    /// Whether there is nothing to remember.
    pub(crate) fn is_new(&self) -> bool {
        *self == Self::default()
    }

    /// Records a finished epoch.
    pub(crate) fn take_in(&mut self, schedule: &Schedule, epoch: &Epoch) {
        let Schedule::Plateau { patience, min_delta, .. } = *schedule else { return };
        if self.patience.is_over(patience, min_delta, epoch) {
            self.reductions = self.reductions.saturating_add(1);
            self.patience.begin_anew();
        }
    }
}

impl Task {
    /// The learning rate of the step at `place`.
    pub(crate) fn learning_rate(&self, place: Place, plateaus: Plateaus) -> f32 {
        let rate = self.optimizer.learning_rate();
        if self.schedule == Schedule::Constant && self.warm_up == 0.0 {
            return rate;
        }
        let warm_up_steps = self.warm_up * place.steps_per_epoch as f64;
        let done = place.step();
        let share = match done < warm_up_steps {
            // The first step has a rate above zero, and the last one of the warm-up does not yet have the
            // full rate.
            true => ((done + 1.0) / (warm_up_steps + 1.0)).min(1.0),
            false => self.schedule.share(place, self.epochs, warm_up_steps, plateaus),
        };
        // The optimizers need a rate above zero.
        ((f64::from(rate) * share) as f32).max(f32::MIN_POSITIVE)
    }

    /// Refuses a schedule that is out of range or does not fit the epochs.
    ///
    /// # Errors
    /// [`Error::Usage`] with the setting and its range.
    pub fn check_schedule(&self) -> Result<()> {
        self.schedule.check()?;
        let warm_up = self.warm_up;
        if !(warm_up >= 0.0 && warm_up.is_finite()) {
            return Err(Error::Usage(format!(
                "warm-up is a number of epochs, 0 or more, not {warm_up}"
            )));
        }
        if warm_up > 0.0 && matches!(self.schedule, Schedule::OneCycle { .. }) {
            return Err(Error::Usage(
                "warm-up: one-cycle begins with a rise of its own; leave one of them out".into(),
            ));
        }
        if warm_up > 0.0 && warm_up >= self.epochs as f64 {
            return Err(Error::Usage(format!(
                "warm-up: {warm_up} epochs of {}, which leaves none at the whole rate",
                self.epochs
            )));
        }
        Ok(())
    }
}

/// From `a` to `b` by half a period of a cosine, at `x` from 0 to 1.
fn between(a: f64, b: f64, x: f64) -> f64 {
    // libm's cosine: the system's may differ in its last bit from machine to machine.
    b + (a - b) * (1.0 + libm::cos(PI * x.clamp(0.0, 1.0))) / 2.0
}

/// A power by repeated multiplication, in the same order everywhere.
fn power(factor: f64, times: u32) -> f64 {
    (0..times.min(4096)).fold(1.0, |product, _| product * factor)
}

fn fault(message: impl fmt::Display) -> Error {
    Error::Usage(format!("schedule: {message}"))
}

/// In the syntax of options: `constant`, `cosine`, `one-cycle`, `plateau`, `steps=10,20`.
impl FromStr for Schedule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, list) = match text.split_once('=') {
            Some((name, list)) => (name, Some(list)),
            None => (text, None),
        };
        match (name, list) {
            ("constant", None) => Ok(Self::Constant),
            ("cosine", None) => Ok(Self::Cosine { last: 0.0 }),
            ("one-cycle", None) => Ok(Self::OneCycle { rise: 0.3, first: 0.04, last: 4e-6 }),
            ("plateau", None) => Ok(Self::Plateau { factor: 0.1, patience: 10, min_delta: 1e-4 }),
            ("steps", Some(list)) => {
                let at = list.split(',').map(|epoch| epoch.trim().parse().ok());
                let at: Option<Vec<_>> = at.collect();
                let unread = || fault(format!("{:?} is no list of epochs", shortened(list)));
                let steps = Self::Steps { at: at.ok_or_else(unread)?, factor: 0.1 };
                steps.check().map(|()| steps)
            }
            ("steps", None) => Err(fault("say at which epochs: steps=10,20")),
            _ => Err(fault(format!(
                "there is no {:?}; there are {}",
                shortened(text),
                Self::NAMES.join(", ")
            ))),
        }
    }
}

/// For a line about a network: `cosine`, `0.1 times the rate behind epochs 10, 20`.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant => write!(f, "constant"),
            Self::Steps { at, factor } => {
                let at: Vec<_> = at.iter().map(usize::to_string).collect();
                write!(f, "{factor} times the rate behind epochs {}", at.join(", "))
            }
            Self::Cosine { last } => write!(f, "cosine to {last} of the rate"),
            Self::OneCycle { rise, .. } => write!(f, "one cycle, {rise} of it rising"),
            Self::Plateau { factor, patience, .. } => {
                write!(f, "{factor} times the rate after {patience} epochs without improvement")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::Optimizer;

    fn rates(schedule: Schedule, warm_up: f64, epochs: usize, steps: usize) -> Vec<f32> {
        let optimizer = Optimizer::sgd().with_learning_rate(1.0);
        let task = Task { schedule, warm_up, epochs, optimizer, ..Task::default() };
        task.check_schedule().unwrap();
        let places = (0..epochs).flat_map(|epochs_done| {
            (0..steps).map(move |steps_done| Place {
                epochs_done,
                steps_done,
                steps_per_epoch: steps,
            })
        });
        places.map(|place| task.learning_rate(place, Plateaus::default())).collect()
    }

    #[test]
    fn every_schedule_by_hand() {
        assert_eq!(rates(Schedule::Constant, 0.0, 2, 2), [1.0; 4]);
        let steps = Schedule::Steps { at: vec![1, 3], factor: 0.5 };
        assert_eq!(rates(steps, 0.0, 4, 2), [1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25]);
        // cos of 0, 60, 90 and 120 degrees.
        let cosine = rates(Schedule::Cosine { last: 0.0 }, 0.0, 3, 2);
        assert_eq!([cosine[0], cosine[2], cosine[3], cosine[4]], [1.0, 0.75, 0.5, 0.25]);
        let cosine = rates(Schedule::Cosine { last: 0.5 }, 0.0, 2, 2);
        assert_eq!([cosine[0], cosine[2]], [1.0, 0.75]);
        // Up over four steps, down over four.
        let cycle = Schedule::OneCycle { rise: 0.5, first: 0.25, last: 0.0 };
        let cycle = rates(cycle, 0.0, 2, 4);
        assert_eq!([cycle[0], cycle[2], cycle[4], cycle[6]], [0.25, 0.625, 1.0, 0.5]);
        assert!(cycle[7] > 0.0 && cycle[7] < 0.2, "{cycle:?}");
        // Two of six steps warm up; the cosine goes through the other four.
        let warm = rates(Schedule::Cosine { last: 0.0 }, 1.0, 3, 2);
        assert_eq!([warm[2], warm[4]], [1.0, 0.5]);
        assert_eq!(warm[..2], [1.0 / 3.0, 2.0 / 3.0]);
        let half = rates(Schedule::Constant, 0.5, 1, 6);
        assert_eq!(half, [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]);
    }

    #[test]
    fn a_plateau_is_patience_without_a_new_lowest_loss() {
        let schedule = Schedule::Plateau { factor: 0.5, patience: 2, min_delta: 0.1 };
        let mut plateaus = Plateaus::default();
        let mut reductions = Vec::new();
        // Keras's arithmetic: less than 0.1 below the lowest is no improvement.
        for loss in [1.0, 0.95, 0.91, 0.85, 0.8, 0.8, 0.6, 0.6, 0.6, 0.6, 0.6] {
            let epoch =
                Epoch { epoch: 1, accuracy: 0.5, loss: 1.0, val_accuracy: 0.5, val_loss: loss };
            plateaus.take_in(&schedule, &epoch);
            reductions.push(plateaus.reductions);
        }
        assert_eq!(reductions, [0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 4]);
        let share = schedule.share(
            Place { epochs_done: 9, steps_done: 0, steps_per_epoch: 1 },
            20,
            0.0,
            plateaus,
        );
        assert_eq!(share, 0.0625);
        let mut others = Plateaus::default();
        let epoch = Epoch { epoch: 1, accuracy: 0.5, loss: 1.0, val_accuracy: 0.5, val_loss: 1.0 };
        others.take_in(&Schedule::Constant, &epoch);
        assert_eq!(others, Plateaus::default());
    }

    #[test]
    fn impossible_settings_are_refused_with_their_name() {
        let task = |schedule, warm_up| Task { schedule, warm_up, epochs: 4, ..Task::default() };
        let steps = |at: &[usize], factor| Schedule::Steps { at: at.to_vec(), factor };
        let cycle = |rise, first, last| Schedule::OneCycle { rise, first, last };
        let plateau =
            |factor, patience, min_delta| Schedule::Plateau { factor, patience, min_delta };
        for (schedule, warm_up, name) in [
            (steps(&[], 0.1), 0.0, "at"),
            (steps(&[2, 2], 0.1), 0.0, "at"),
            (steps(&[0, 2], 0.1), 0.0, "at"),
            (steps(&[3, 2], 0.1), 0.0, "at"),
            (steps(&[2], 1.5), 0.0, "factor"),
            (Schedule::Cosine { last: f64::NAN }, 0.0, "last"),
            (cycle(0.0, 0.1, 0.1), 0.0, "rise"),
            (cycle(1.0, 0.1, 0.1), 0.0, "rise"),
            (cycle(0.5, -0.1, 0.1), 0.0, "first"),
            (cycle(0.5, 0.1, 2.0), 0.0, "last"),
            (cycle(0.5, 0.1, 0.1), 1.0, "warm-up: one-cycle"),
            (plateau(2.0, 1, 0.0), 0.0, "factor"),
            (plateau(0.5, 0, 0.0), 0.0, "patience"),
            (plateau(0.5, 1, -1.0), 0.0, "min-delta"),
            (plateau(0.5, 1, f64::INFINITY), 0.0, "min-delta"),
            (Schedule::Constant, -1.0, "warm-up"),
            (Schedule::Constant, f64::NAN, "warm-up"),
            (Schedule::Constant, 4.0, "warm-up: 4 epochs of 4"),
        ] {
            let error = task(schedule, warm_up).check_schedule().unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn options_spell_every_name() {
        for name in Schedule::NAMES {
            let text = if name == "steps" { "steps=1, 20" } else { name };
            text.parse::<Schedule>().unwrap().check().unwrap();
        }
        for text in ["steps", "steps=", "steps=b", "steps=2,1", "cosine=1", "linear"] {
            assert!(matches!(text.parse::<Schedule>(), Err(Error::Usage(_))), "{text}");
        }
    }
}
