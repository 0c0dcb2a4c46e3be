//! Which samples a recipe trains, validates and tests on: a choice of classes and a partition. Only the
//! samples' numbers are shuffled and split; pixels stay where they are mapped.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::dataset::Dataset;
use super::samples::Samples;
use crate::random::{Key, Purpose};
use crate::{Error, Result};

/// Which classes take part, and how they are numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Classes {
    /// All of the set, as they are.
    All,
    /// Two of them, renumbered 0 and 1.
    Pair {
        /// The label, as the set's files have it, that becomes 0.
        zero: u8,
        /// The label that becomes 1.
        one: u8,
    },
}

/// The validation samples where the parts of the set are kept as they are.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Validation {
    /// The test part.
    Test,
    /// The last share of the training part, in file order, held out of training.
    Tail(f64),
}

/// How the samples are split into training, validation and test. Shares become counts by rounding.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Partition {
    /// The training and test part as the set has them.
    AsFiled(Validation),
    /// Both parts merged, shuffled by the seed, and split again.
    Shuffled {
        /// Share of all samples for the test.
        test: f64,
        /// Share of all samples for validation; 0: validates on the test samples.
        validation: f64,
    },
}

/// A choice of samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Selection {
    /// Which classes.
    pub classes: Classes,
    /// How their samples are split.
    pub partition: Partition,
}

/// All classes in the set's own parts, validated on the test part.
impl Default for Selection {
    fn default() -> Self {
        Self { classes: Classes::All, partition: Partition::AsFiled(Validation::Test) }
    }
}

/// The samples of a run.
#[derive(Clone, Debug)]
pub struct Split {
    /// The training samples.
    pub train: Samples,
    /// Evaluated after every epoch. May be the same samples as `test`.
    pub validation: Samples,
    /// Evaluated at the end.
    pub test: Samples,
}

impl Split {
    /// Training samples, and validation samples that also serve as test samples.
    pub fn new(train: Samples, validation: Samples) -> Self {
        Self { train, test: validation.clone(), validation }
    }

    /// The classes that are missing in some part though another has them, grouped by the parts that lack
    /// them.
    pub fn missing(&self) -> Vec<Missing> {
        let parts =
            [("training", &self.train), ("validation", &self.validation), ("test", &self.test)];
        let occurring = parts.map(|(_, samples)| {
            let mut occurs = vec![false; samples.classes()];
            samples.labels().iter().for_each(|&label| occurs[usize::from(label)] = true);
            occurs
        });
        let names = self.train.class_names();
        let somewhere =
            |class: usize| occurring.iter().any(|occurs| occurs.get(class) == Some(&true));
        let mut all: Vec<Missing> = Vec::new();
        for ((part, _), occurs) in parts.iter().zip(&occurring) {
            let absent = (0..names.len())
                .filter(|&class| somewhere(class) && occurs.get(class) != Some(&true));
            let classes: Vec<_> = absent.map(|class| names[class].clone()).collect();
            match all.iter_mut().find(|missing| missing.classes == classes) {
                Some(missing) => missing.parts.push(part),
                None if classes.is_empty() => {}
                None => all.push(Missing { parts: vec![part], classes }),
            }
        }
        all
    }
}

/// Classes that a split leaves out of some part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Of `training`, `validation` and `test`, those parts that have none of them.
    pub parts: Vec<&'static str>,
    /// Their names.
    pub classes: Vec<String>,
}

impl Selection {
    /// Whether the validation samples are the test samples.
    pub fn validates_on_test(&self) -> bool {
        match self.partition {
            Partition::AsFiled(Validation::Test) => true,
            Partition::AsFiled(Validation::Tail(_)) => false,
            Partition::Shuffled { validation, .. } => validation == 0.0,
        }
    }

    /// The same selection with validation samples of its own: instead of on the test samples, it validates on
    /// this share of its training samples, and no longer trains on them. The test samples stay the same.
    #[must_use]
    pub fn with_own_validation(mut self, share: f64) -> Self {
        if self.validates_on_test() {
            self.partition = match self.partition {
                Partition::AsFiled(_) => Partition::AsFiled(Validation::Tail(share)),
                Partition::Shuffled { test, .. } => {
                    Partition::Shuffled { test, validation: share * (1.0 - test) }
                }
            };
        }
        self
    }

    /// # Errors
    /// [`Error::Usage`] for shares or classes that are not valid.
    pub(crate) fn check(&self) -> Result<()> {
        self.classes.check()?;
        self.partition.check()
    }

    /// Picks the samples. Only [`Partition::Shuffled`] uses the seed.
    ///
    /// # Errors
    /// [`Error::Usage`] for shares or classes that are not valid; [`Error::Data`] if the set lacks a class,
    /// has too few samples for a share, or would have none left to train on.
    pub fn apply(&self, dataset: &Arc<Dataset>, seed: u64) -> Result<Split> {
        self.check()?;
        let taken = self.classes.of(dataset)?;
        let class_names = taken.names(dataset);
        let samples = |picks| Samples::picked(dataset, picks, class_names.clone());
        let filed_train = taken.pick(dataset.train.labels.as_slice(), 0);
        let filed_test = taken.pick(dataset.test.labels.as_slice(), dataset.train.labels.count());
        let (train, validation, test) = match self.partition {
            Partition::AsFiled(Validation::Test) => (filed_train, None, filed_test),
            Partition::AsFiled(Validation::Tail(share)) => {
                let mut train = filed_train;
                let [held_out] = cut(&dataset.origin, train.len(), [share])?;
                let tail = train.split_off(train.len() - held_out);
                (train, Some(tail), filed_test)
            }
            Partition::Shuffled { test, validation } => {
                let merged = [filed_train, filed_test].concat();
                let order = Key::new(seed, Purpose::Split).shuffled(merged.len());
                let mut train: Vec<_> = order.into_iter().map(|i| merged[i as usize]).collect();
                if validation == 0.0 {
                    let [test] = cut(&dataset.origin, train.len(), [test])?;
                    let test = train.split_off(train.len() - test);
                    (train, None, test)
                } else {
                    let [test, validation] = cut(&dataset.origin, train.len(), [test, validation])?;
                    let test = train.split_off(train.len() - test);
                    let validation = train.split_off(train.len() - validation);
                    (train, Some(validation), test)
                }
            }
        };
        let (train, test) = (samples(train), samples(test));
        let validation = validation.map_or_else(|| test.clone(), samples);
        for (name, samples) in [("training", &train), ("validation", &validation), ("test", &test)]
        {
            taken.require(samples, name, &dataset.origin)?;
        }
        Ok(Split { train, validation, test })
    }
}

impl Partition {
    fn check(self) -> Result<()> {
        let shares: &[f64] = match self {
            Self::AsFiled(Validation::Test) => &[],
            Self::AsFiled(Validation::Tail(share)) => &[share],
            Self::Shuffled { test, validation } => &[test, validation],
        };
        let is_share = |share: &f64| (0.0..1.0).contains(share);
        if !shares.iter().all(is_share) || shares.iter().sum::<f64>() >= 1.0 {
            return Err(Error::Usage(format!(
                "shares of {shares:?} leave nothing to train on; use shares that sum to less than 1"
            )));
        }
        Ok(())
    }
}

impl Classes {
    /// How many of `all` classes it takes.
    pub fn count(self, all: usize) -> usize {
        match self {
            Self::All => all,
            Self::Pair { .. } => 2,
        }
    }

    fn check(self) -> Result<()> {
        match self {
            Self::Pair { zero, one } if zero == one => Err(Error::Usage(format!(
                "classes {zero} and {one} are no pair; name two different labels"
            ))),
            _ => Ok(()),
        }
    }

    /// The classes of a set that are taken.
    fn of(self, dataset: &Dataset) -> Result<Taken> {
        let (zero, one) = match self {
            Self::All => return Ok(Taken::All),
            Self::Pair { zero, one } => (zero, one),
        };
        let list = &dataset.class_list;
        let class = |label: u8| {
            list.class(label.into()).ok_or_else(|| {
                Error::data(
                    &dataset.origin,
                    format!(
                        "has the labels {} to {}, and label {label} is asked for; name another set, or other \
                         classes in the recipe",
                        list.first,
                        list.last()
                    ),
                )
            })
        };
        Ok(Taken::Pair { zero: class(zero)?, one: class(one)? })
    }
}

/// [`Classes`] of one set, numbered as in its samples.
#[derive(Clone, Copy)]
enum Taken {
    All,
    Pair { zero: u8, one: u8 },
}

impl Taken {
    fn names(self, dataset: &Dataset) -> Arc<[String]> {
        match self {
            Self::All => dataset.class_names(),
            Self::Pair { zero, one } => [zero, one].map(|class| dataset.class_name(class)).into(),
        }
    }

    /// The numbers of the samples that take part, counted from `first`, with their new labels.
    fn pick(self, labels: &[u8], first: usize) -> Vec<(u32, u8)> {
        // Counts were checked to fit when the set was opened.
        let numbered = labels.iter().enumerate().map(|(i, &label)| ((first + i) as u32, label));
        match self {
            Self::All => numbered.collect(),
            Self::Pair { zero, one } => numbered
                .filter(|&(_, label)| label == zero || label == one)
                .map(|(i, label)| (i, u8::from(label == one)))
                .collect(),
        }
    }

    /// Checks that there are samples, and for a pair that both classes have some. With all classes, some may
    /// be missing: a small set is still a set.
    fn require(self, samples: &Samples, part: &str, origin: &Path) -> Result<()> {
        let missing = match self {
            Self::All => samples.is_empty().then(|| "any class".to_owned()),
            Self::Pair { .. } => (0..2)
                .find(|label| !samples.labels().contains(label))
                .map(|label| format!("class {:?}", samples.class_names()[usize::from(label)])),
        };
        match missing {
            None => Ok(()),
            Some(what) => Err(Error::data(
                origin,
                format!("no {part} samples of {what}; use a set that has them"),
            )),
        }
    }
}

/// Rounds shares of `len` samples to counts, and checks that each gets some and leaves some to train
/// on.
fn cut<const N: usize>(origin: &Path, len: usize, shares: [f64; N]) -> Result<[usize; N]> {
    let counts = shares.map(|share| (share * len as f64).round() as usize);
    if counts.contains(&0) || counts.iter().sum::<usize>() >= len {
        return Err(Error::data(
            origin,
            format!("{len} samples are too few to hold out shares of {shares:?}; use a larger set"),
        ));
    }
    Ok(counts)
}
