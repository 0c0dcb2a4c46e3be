//! Signs that a run goes badly, from what is known of it anyway.

use std::fmt;

use super::history::{Epoch, History};
use super::score::Predicted;
use crate::data::{Samples, Split};

/// A sign that a run goes badly, in one sentence with the mend.
#[derive(Clone, Debug, PartialEq)]
pub enum Trouble {
    /// The mean training loss of an epoch is not below that of the epoch before.
    LossNotFalling {
        /// The epoch.
        epoch: usize,
        /// Its loss.
        loss: f64,
        /// The loss of the epoch before.
        before: f64,
    },
    /// Accuracy in and after an epoch is not better than always predicting the most frequent class.
    AtChance {
        /// The epoch.
        epoch: usize,
        /// The accuracy.
        accuracy: f64,
        /// The share of the most frequent class.
        chance: f64,
    },
    /// Classes that are not predicted for any validation sample after an epoch.
    NotPredicted {
        /// The epoch.
        epoch: usize,
        /// Their names.
        classes: Vec<String>,
    },
    /// Classes that there are samples of, and that the network never predicts.
    NeverPredicted {
        /// Their names.
        classes: Vec<String>,
    },
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LossNotFalling { epoch, loss, before } => write!(
                f,
                "the training loss did not fall in epoch {epoch} ({loss:.4}, before {before:.4}): a smaller \
                 learning rate may help, or a larger one if it has hardly moved at all"
            ),
            Self::AtChance { epoch, accuracy, chance } => write!(
                f,
                "after epoch {epoch} the network is no better than always guessing the most frequent class \
                 ({:.2} %, by chance {:.2} %): the learning rate may be far too large or too small",
                accuracy * 100.0,
                chance * 100.0
            ),
            Self::NotPredicted { epoch, classes } => write!(
                f,
                "after epoch {epoch} no validation sample is predicted as {}: another learning rate may help, or more \
                 training samples",
                named(classes)
            ),
            Self::NeverPredicted { classes } => write!(
                f,
                "never predicted for any test sample: {}; the network takes their samples for other classes",
                named(classes)
            ),
        }
    }
}

/// The most classes that a warning names.
const MOST_NAMED: usize = 10;

fn named(classes: &[String]) -> String {
    match classes.len().saturating_sub(MOST_NAMED) {
        0 => classes.join(", "),
        more => format!("{} and {more} more", classes[..MOST_NAMED].join(", ")),
    }
}

/// Falls of the loss by a smaller share than this are none.
const LEAST_FALL: f64 = 1e-4;
/// Above this training accuracy a network has little left to learn, and its loss comes to rest.
const LEARNT: f64 = 0.98;
/// The standard deviations by which an accuracy has to be above chance.
const DEVIATIONS: f64 = 3.0;

/// The epoch after which a class that is not predicted is first told: in the first one, much is still moving.
const SETTLED: usize = 2;
/// Of fewer validation samples it may be chance that none is predicted as their class.
const ENOUGH: usize = 10;

/// Looks at a run after each of its epochs. Each kind of trouble is told once.
#[derive(Clone, Debug)]
pub struct Lookout {
    /// The classes of which there are enough validation samples.
    expected: Vec<Expected>,
    /// How many training samples there are.
    training_count: usize,
    prediction_told: bool,
    /// Of the training and of the validation samples: the most accuracy that chance explains, and the share of
    /// the most frequent class.
    chance: [Option<(f64, f64)>; 2],
    loss_told: bool,
    chance_told: bool,
}

impl Lookout {
    /// Over a run on these samples.
    pub fn new(split: &Split) -> Self {
        let chance = [&split.train, &split.validation].map(chance);
        Self {
            expected: expected(split),
            training_count: split.train.len(),
            prediction_told: false,
            chance,
            loss_told: false,
            chance_told: false,
        }
    }

    /// What the last epoch of a history gives rise to, in whose validation these classes were predicted.
    pub fn look(&mut self, history: &History, predicted: &Predicted) -> Vec<Trouble> {
        let mut troubles = Vec::new();
        let Some((last, before)) = history.epochs.split_last() else { return troubles };
        if let Some(before) = before.last()
            && !self.loss_told
            && is_stuck(before, last)
        {
            self.loss_told = true;
            let (epoch, loss) = (last.epoch, last.loss);
            troubles.push(Trouble::LossNotFalling { epoch, loss, before: before.loss });
        }
        // With few steps, statistics of batch normalisation lag behind: validation alone proves nothing.
        let accuracy = last.val_accuracy;
        if let [Some((in_training, _)), Some((most, chance))] = self.chance
            && !self.chance_told
            && last.accuracy <= in_training
            && accuracy <= most
        {
            self.chance_told = true;
            troubles.push(Trouble::AtChance { epoch: last.epoch, accuracy, chance });
        }
        // A network at chance predicts one class: that has been said.
        if last.epoch >= SETTLED && !self.prediction_told && !self.chance_told {
            let missing: Vec<_> =
                self.expected.iter().filter(|class| !predicted.has(class.label)).collect();
            let count: usize = missing.iter().map(|class| class.training_count).sum();
            let share = count as f64 / self.training_count as f64;
            // Where training gets more right than there are samples of other classes, it does predict these ones: it
            // is validation that lags behind, as above.
            if !missing.is_empty() && last.accuracy + share <= 1.0 {
                self.prediction_told = true;
                let classes = missing.into_iter().map(|class| class.name.clone()).collect();
                troubles.push(Trouble::NotPredicted { epoch: last.epoch, classes });
            }
        }
        troubles
    }
}

/// A class that a network ought to predict.
#[derive(Clone, Debug)]
struct Expected {
    label: u8,
    name: String,
    /// How many training samples there are of it.
    training_count: usize,
}

/// The classes of which there are enough validation samples.
fn expected(split: &Split) -> Vec<Expected> {
    let [training, validation] = [&split.train, &split.validation].map(counts);
    let all = (0..=u8::MAX).zip(split.validation.class_names());
    all.filter(|(label, _)| validation[usize::from(*label)] >= ENOUGH)
        .map(|(label, name)| Expected {
            label,
            name: name.clone(),
            training_count: training[usize::from(label)],
        })
        .collect()
}

/// How many samples there are of each class.
fn counts(samples: &Samples) -> [usize; 256] {
    let mut counts = [0; 256];
    samples.labels().iter().for_each(|&label| counts[usize::from(label)] += 1);
    counts
}

/// Whether neither loss nor accuracy became better from one epoch to the next, though there is more to learn.
fn is_stuck(before: &Epoch, last: &Epoch) -> bool {
    let falls = last.loss < before.loss * (1.0 - LEAST_FALL);
    !falls && last.accuracy <= before.accuracy && last.accuracy < LEARNT
}

/// The most accuracy that chance explains on these samples, and the share of their most frequent class; `None`
/// where targets are no classes, or all of one.
fn chance(samples: &Samples) -> Option<(f64, f64)> {
    let all = samples.labels().len();
    let most = counts(samples).into_iter().max().filter(|&most| most < all)?;
    let n = all as f64;
    let share = most as f64 / n;
    Some((share + DEVIATIONS * (share * (1.0 - share) / n).sqrt(), share))
}

/// The classes of these samples that are never predicted for any of them.
pub fn never_predicted(samples: &Samples, predictions: &[Option<u8>]) -> Option<Trouble> {
    let counts = counts(samples);
    let mut predicted = Predicted::default();
    predicted.extend(predictions.iter().copied().flatten());
    let missing = (0..=u8::MAX)
        .zip(samples.class_names())
        .filter(|(class, _)| counts[usize::from(*class)] > 0 && !predicted.has(*class));
    let classes: Vec<String> = missing.map(|(_, name)| name.clone()).collect();
    (!classes.is_empty()).then_some(Trouble::NeverPredicted { classes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Shape;

    fn epoch(epoch: usize, loss: f64, accuracy: f64, val_accuracy: f64) -> Epoch {
        Epoch { epoch, accuracy, loss, val_accuracy, val_loss: 1.0 }
    }

    fn samples(labels: &[u8]) -> Samples {
        Samples::new(Shape::Flat(1), vec![0.0_f32; labels.len()], labels).unwrap()
    }

    /// 100 training samples of two classes, 50 validation samples of which 30 are of one.
    fn split() -> Split {
        let labels = |ones: usize, n: usize| (0..n).map(|i| u8::from(i < ones)).collect::<Vec<_>>();
        Split::new(samples(&labels(50, 100)), samples(&labels(30, 50)))
    }

    fn looks(epochs: &[Epoch]) -> Vec<Vec<Trouble>> {
        let mut lookout = Lookout::new(&split());
        let upto = |n| History { epochs: epochs[..n].to_vec() };
        (0..=epochs.len()).map(|n| lookout.look(&upto(n), &predicted(&[0, 1]))).collect()
    }

    fn predicted(classes: &[u8]) -> Predicted {
        let mut predicted = Predicted::default();
        predicted.extend(classes.iter().copied());
        predicted
    }

    #[test]
    fn a_run_that_learns_gives_no_rise_to_anything() {
        let good = [epoch(1, 1.0, 0.5, 0.9), epoch(2, 0.9, 0.6, 0.9), epoch(3, 0.8, 0.7, 0.9)];
        assert!(looks(&good).iter().all(Vec::is_empty));
        // A loss that rises while the accuracy does, too, or when all is learnt.
        let rises = [epoch(1, 1.0, 0.5, 0.9), epoch(2, 1.1, 0.6, 0.9)];
        let learnt = [epoch(1, 0.01, 0.999, 0.9), epoch(2, 0.011, 0.998, 0.9)];
        assert!(looks(&rises).iter().chain(&looks(&learnt)).all(Vec::is_empty));
    }

    #[test]
    fn a_loss_that_does_not_fall_is_told_once() {
        let stuck = [
            epoch(1, 1.0, 0.5, 0.9),
            epoch(2, 0.9, 0.6, 0.9),
            epoch(3, 0.89999, 0.6, 0.9),
            epoch(4, 0.95, 0.5, 0.9),
        ];
        let told = looks(&stuck);
        let expected = Trouble::LossNotFalling { epoch: 3, loss: 0.89999, before: 0.9 };
        assert_eq!(told, [vec![], vec![], vec![], vec![expected], vec![]]);
        let line = told[3][0].to_string();
        assert!(line.contains("did not fall in epoch 3 (0.9000, before 0.9000)"), "{line}");
    }

    #[test]
    fn chance_is_the_most_frequent_class_and_three_deviations() {
        // 0.6 + 3 sqrt(0.6 * 0.4 / 50) = 0.8078 on the validation samples.
        let told = |val_accuracy| looks(&[epoch(1, 1.0, 0.5, val_accuracy)]).concat();
        let [Trouble::AtChance { epoch: 1, accuracy, chance }] = told(0.80)[..] else { panic!() };
        assert_eq!((accuracy, chance), (0.80, 0.6));
        assert!(told(0.82).is_empty());
        assert!(told(0.1)[0].to_string().contains("(10.00 %, by chance 60.00 %)"));
        // 0.5 + 3 sqrt(0.5 * 0.5 / 100) = 0.65 of the training samples.
        assert_eq!(looks(&[epoch(1, 1.0, 0.64, 0.5)]).concat().len(), 1);
        assert!(looks(&[epoch(1, 1.0, 0.66, 0.5)]).concat().is_empty());
        // Told once.
        let both = looks(&[epoch(1, 1.0, 0.5, 0.1), epoch(2, 0.9, 0.6, 0.1)]);
        assert_eq!(both.concat().len(), 1);
    }

    #[test]
    fn without_classes_there_is_no_chance() {
        let one = samples(&[1; 20]);
        let mut lookout = Lookout::new(&Split::new(one.clone(), one));
        let history = History { epochs: vec![epoch(1, 1.0, 0.0, 0.0)] };
        assert!(lookout.look(&history, &Predicted::default()).is_empty());
        let values: Vec<f32> = vec![0.5; 20];
        let values = Samples::new(Shape::Flat(1), vec![0.0_f32; 20], &values).unwrap();
        let mut lookout = Lookout::new(&Split::new(values.clone(), values));
        let history = History { epochs: vec![epoch(2, 1.0, 0.0, 0.0)] };
        assert!(lookout.look(&history, &Predicted::default()).is_empty());
    }

    /// Four classes: 40, 30, 20 and 10 of 100 training samples; of 50 validation samples 20, 11, 10 and 9.
    fn four() -> Split {
        let names = ["ant", "bee", "cow", "dog"];
        let of = |counts: [usize; 4]| {
            let labels: Vec<u8> =
                (0..4).flat_map(|label| vec![label; counts[usize::from(label)]]).collect();
            samples(&labels).with_class_names(&names).unwrap()
        };
        Split::new(of([40, 30, 20, 10]), of([20, 11, 10, 9]))
    }

    /// What is told after each epoch, of a training accuracy and of predicted classes.
    fn told_of(epochs: &[(f64, &[u8])]) -> Vec<Vec<Trouble>> {
        let mut lookout = Lookout::new(&four());
        let mut history = History::default();
        let mut all = Vec::new();
        for &(accuracy, classes) in epochs {
            let number = history.epochs.len() + 1;
            history.epochs.push(epoch(number, 1.0 / number as f64, accuracy, 0.7));
            all.push(lookout.look(&history, &predicted(classes)));
        }
        all
    }

    #[test]
    fn a_class_that_is_not_predicted_is_told_once_after_the_second_epoch() {
        let missing = |epoch, names: &[&str]| {
            let classes = names.iter().map(|&name| name.to_owned()).collect();
            vec![Trouble::NotPredicted { epoch, classes }]
        };
        let some: &[u8] = &[0, 2, 3];
        assert_eq!(
            told_of(&[(0.6, some), (0.6, some), (0.6, some), (0.6, &[0])]),
            [vec![], missing(2, &["bee"]), vec![], vec![]]
        );
        // Whenever it begins.
        let all: &[u8] = &[0, 1, 2, 3];
        assert_eq!(
            told_of(&[(0.4, &[0]), (0.5, all), (0.4, &[0, 3])]),
            [vec![], vec![], missing(3, &["bee", "cow"])]
        );
        let line = missing(3, &["bee", "cow"])[0].to_string();
        assert!(line.starts_with("after epoch 3 no validation sample is predicted as bee, cow:"));
        // Too few samples: it may be chance.
        assert!(told_of(&[(0.6, all), (0.6, &[0, 1, 2])]).iter().all(Vec::is_empty));
    }

    /// More is right in training than without the class could be: it is validation that lags behind.
    #[test]
    fn what_training_predicts_is_not_missed() {
        // Without cow at most 0.8 could be right, without bee and cow 0.5.
        for (accuracy, classes, is_told) in [
            (0.80, &[0, 1, 3], true),
            (0.81, &[0, 1, 3], false),
            (0.50, &[0, 3, 3], true),
            (0.51, &[0, 3, 3], false),
            // All samples of the other classes are right.
            (0.40, &[1, 3, 3], true),
        ] {
            let told = told_of(&[(0.4, &[0]), (accuracy, classes)]).concat();
            assert_eq!(!told.is_empty(), is_told, "{accuracy} {classes:?}: {told:?}");
        }
    }

    /// A network at chance predicts one class only: one warning is enough.
    #[test]
    fn one_warning_is_enough_of_a_network_at_chance() {
        let mut lookout = Lookout::new(&four());
        let history = History { epochs: vec![epoch(1, 1.0, 0.4, 0.4)] };
        assert!(matches!(lookout.look(&history, &predicted(&[0]))[..], [Trouble::AtChance { .. }]));
        let history = History { epochs: vec![epoch(1, 1.0, 0.4, 0.4), epoch(2, 0.9, 0.4, 0.4)] };
        assert_eq!(lookout.look(&history, &predicted(&[0])), []);
    }

    #[test]
    fn of_many_classes_ten_are_named() {
        let names: Vec<String> = (0..12).map(|i| format!("c{i}")).collect();
        let line = |n: usize| Trouble::NeverPredicted { classes: names[..n].to_vec() }.to_string();
        assert!(line(10).contains(": c0, c1, c2, c3, c4, c5, c6, c7, c8, c9; the network"));
        assert!(line(12).contains(", c9 and 2 more; the network"), "{}", line(12));
    }

    #[test]
    fn classes_that_are_never_predicted_are_named() {
        let test = samples(&[0, 0, 1, 2, 2]).with_class_names(&["ant", "bee", "cow"]).unwrap();
        let told = |predictions: &[Option<u8>]| {
            never_predicted(&test, predictions).map(|trouble| trouble.to_string())
        };
        assert_eq!(told(&[Some(2), Some(1), Some(0), None, None]), None);
        let line = told(&[Some(0), Some(0), None, Some(0), Some(0)]).unwrap();
        assert!(line.starts_with("never predicted for any test sample: bee, cow;"), "{line}");
        // A class that there are no samples of is not missed.
        let test = samples(&[0, 2]).with_class_names(&["ant", "bee", "cow"]).unwrap();
        assert_eq!(never_predicted(&test, &[Some(0), Some(2)]), None);
    }
}
