//! Signs that a run goes badly, from what is known of it anyway.

use std::fmt;

use super::history::{Epoch, History};
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
            Self::NeverPredicted { classes } => write!(
                f,
                "never predicted for any test sample: {}; the network takes their samples for other classes",
                classes.join(", ")
            ),
        }
    }
}

/// Falls of the loss by a smaller share than this are none.
const LEAST_FALL: f64 = 1e-4;
/// Above this training accuracy a network has little left to learn, and its loss comes to rest.
const LEARNT: f64 = 0.98;
/// The standard deviations by which an accuracy has to be above chance.
const DEVIATIONS: f64 = 3.0;

/// Looks at a run after each of its epochs. Each kind of trouble is told once.
#[derive(Clone, Debug)]
pub struct Lookout {
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
        Self { chance, loss_told: false, chance_told: false }
    }

    /// What the last epoch of a history gives rise to.
    pub fn look(&mut self, history: &History) -> Vec<Trouble> {
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
        troubles
    }
}

/// Whether neither loss nor accuracy became better from one epoch to the next, though there is more to learn.
fn is_stuck(before: &Epoch, last: &Epoch) -> bool {
    let falls = last.loss < before.loss * (1.0 - LEAST_FALL);
    !falls && last.accuracy <= before.accuracy && last.accuracy < LEARNT
}

/// The most accuracy that chance explains on these samples, and the share of their most frequent class; `None`
/// where targets are no classes, or all of one.
fn chance(samples: &Samples) -> Option<(f64, f64)> {
    let labels = samples.labels();
    let mut counts = [0_usize; 256];
    labels.iter().for_each(|&label| counts[usize::from(label)] += 1);
    let most = counts.into_iter().max().filter(|&most| most < labels.len())?;
    let n = labels.len() as f64;
    let share = most as f64 / n;
    Some((share + DEVIATIONS * (share * (1.0 - share) / n).sqrt(), share))
}

/// The classes of these samples that are never predicted for any of them.
pub fn never_predicted(samples: &Samples, predictions: &[Option<u8>]) -> Option<Trouble> {
    let is_one_of = |class: usize| predictions.iter().any(|p| p.map(usize::from) == Some(class));
    let has = |class: usize| samples.labels().iter().any(|&label| usize::from(label) == class);
    let names = samples.class_names().iter().enumerate();
    let missing = names.filter(|(class, _)| has(*class) && !is_one_of(*class));
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
        (0..=epochs.len()).map(|n| lookout.look(&upto(n))).collect()
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
        assert!(lookout.look(&History { epochs: vec![epoch(1, 1.0, 0.0, 0.0)] }).is_empty());
        let values: Vec<f32> = vec![0.5; 20];
        let values = Samples::new(Shape::Flat(1), vec![0.0_f32; 20], &values).unwrap();
        let mut lookout = Lookout::new(&Split::new(values.clone(), values));
        assert!(lookout.look(&History { epochs: vec![epoch(1, 1.0, 0.0, 0.0)] }).is_empty());
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
