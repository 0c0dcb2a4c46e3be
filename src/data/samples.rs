//! Samples: inputs in mapped files or in memory, and what is to be predicted for each.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::dataset::Dataset;
use super::shape::Shape;
use super::targets::Targets;
use crate::{Error, Result};

/// Picks from a set of inputs, with their targets. Inputs are never copied: a copy of the samples, or
/// a part of them, is a list of numbers.
///
/// ```
/// use threadcount::data::{Samples, Shape};
///
/// // Four points of the plane, and the class of each.
/// let x = vec![0.0_f32, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0];
/// let samples = Samples::new(Shape::Flat(2), x, &[0_u8, 1, 1, 0])?;
/// assert_eq!((samples.len(), samples.classes()), (4, 2));
/// # Ok::<(), threadcount::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Samples {
    pub(super) inputs: Inputs,
    shape: Shape,
    /// Numbers of inputs.
    picks: Vec<u32>,
    answers: Answers,
}

/// Where inputs are stored.
#[derive(Clone, Debug)]
pub enum Inputs {
    /// In mapped files: the training images, then the test images.
    Files(Arc<Dataset>),
    /// In memory, as bytes: `[n, shape]`.
    Bytes(Arc<[u8]>),
    /// In memory, as floats: `[n, shape]`.
    Floats(Arc<[f32]>),
}

impl From<Vec<u8>> for Inputs {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<Vec<f32>> for Inputs {
    fn from(floats: Vec<f32>) -> Self {
        Self::Floats(floats.into())
    }
}

/// What is to be predicted for each pick.
#[derive(Clone, Debug)]
enum Answers {
    Classes { labels: Vec<u8>, names: Arc<[String]> },
    Values { values: Vec<f32>, width: usize },
}

/// One input as it lies in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Row<'a> {
    /// Bytes, which a scale converts to floats.
    Bytes(&'a [u8]),
    /// Floats.
    Floats(&'a [f32]),
}

impl Samples {
    /// Samples in memory: `x` is `[n, shape]`, bytes or floats, row-major, with a class or some values
    /// for each.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if the length of `x` is not a multiple of a sample's, or the targets are not as
    /// many.
    pub fn new<'t>(
        shape: Shape,
        x: impl Into<Inputs>,
        targets: impl Into<Targets<'t>>,
    ) -> Result<Self> {
        let inputs = x.into();
        let elements = match &inputs {
            Inputs::Files(set) => return Ok(Self::of_files(set)),
            Inputs::Bytes(bytes) => bytes.len(),
            Inputs::Floats(floats) => floats.len(),
        };
        let n = elements.checked_div(shape.len()).unwrap_or(0);
        let is_whole = n > 0 && n * shape.len() == elements;
        let (true, Ok(count)) = (is_whole, u32::try_from(n)) else {
            return Err(Error::Mismatch(format!(
                "{elements} numbers are not 1 to {} samples of shape {shape}",
                u32::MAX
            )));
        };
        let answers = match targets.into() {
            Targets::Classes(labels) if labels.len() != n => {
                return Err(Error::Mismatch(format!("{n} samples with {} labels", labels.len())));
            }
            Targets::Classes(labels) => {
                let classes = labels.iter().max().map_or(0, |&last| usize::from(last) + 1);
                let names = (0..classes).map(|class| format!("class {class}")).collect();
                Answers::Classes { labels: labels.to_vec(), names }
            }
            Targets::Values(values) if values.is_empty() || values.len() % n != 0 => {
                return Err(Error::Mismatch(format!(
                    "{} target values are not the same number for each of {n} samples",
                    values.len()
                )));
            }
            Targets::Values(values) => {
                Answers::Values { values: values.to_vec(), width: values.len() / n }
            }
        };
        Ok(Self { inputs, shape, picks: (0..count).collect(), answers })
    }

    /// All images of a set, those of the training part first.
    fn of_files(set: &Arc<Dataset>) -> Self {
        let labels = [set.train.labels.as_slice(), set.test.labels.as_slice()].concat();
        let picks = (0..labels.len() as u32).zip(labels).collect();
        Self::picked(set, picks, set.class_names())
    }

    /// These images of a set, with new labels.
    pub(super) fn picked(set: &Arc<Dataset>, picks: Vec<(u32, u8)>, names: Arc<[String]>) -> Self {
        let images = &set.train.images;
        let (picks, labels) = picks.into_iter().unzip();
        Self {
            inputs: Inputs::Files(set.clone()),
            shape: Shape::Image(images.shape()),
            picks,
            answers: Answers::Classes { labels, names },
        }
    }

    /// The folder of the files that hold them; `None` for samples in memory.
    pub fn origin(&self) -> Option<&Path> {
        match &self.inputs {
            Inputs::Files(set) => Some(&set.origin),
            Inputs::Bytes(_) | Inputs::Floats(_) => None,
        }
    }

    /// How many samples there are.
    pub fn len(&self) -> usize {
        self.picks.len()
    }

    /// Whether there are none; samples of a [`Split`](super::Split) never are.
    pub fn is_empty(&self) -> bool {
        self.picks.is_empty()
    }

    /// Shape of one input. An image of a file is `[height, width, channels]`.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Input `i`, row-major.
    ///
    /// # Panics
    /// If there are not that many samples.
    pub fn row(&self, i: usize) -> Row<'_> {
        match self.inputs {
            Inputs::Floats(_) => Row::Floats(self.floats(i)),
            _ => Row::Bytes(self.bytes(i)),
        }
    }

    /// Input `i`, of samples that are bytes.
    #[inline]
    pub(super) fn bytes(&self, i: usize) -> &[u8] {
        let pick = self.picks[i] as usize;
        match &self.inputs {
            Inputs::Files(set) => match pick.checked_sub(set.train.images.count()) {
                None => set.train.images.image(pick),
                Some(pick) => set.test.images.image(pick),
            },
            Inputs::Bytes(bytes) => &bytes[pick * self.shape.len()..][..self.shape.len()],
            Inputs::Floats(_) => &[],
        }
    }

    /// Input `i`, of samples that are floats.
    #[inline]
    pub(super) fn floats(&self, i: usize) -> &[f32] {
        let pick = self.picks[i] as usize;
        match &self.inputs {
            Inputs::Floats(floats) => &floats[pick * self.shape.len()..][..self.shape.len()],
            _ => &[],
        }
    }

    /// The targets of all samples, in their order.
    pub fn targets(&self) -> Targets<'_> {
        match &self.answers {
            Answers::Classes { labels, .. } => Targets::Classes(labels),
            Answers::Values { values, .. } => Targets::Values(values),
        }
    }

    /// How many numbers each target has: 1 for a class.
    pub fn target_width(&self) -> usize {
        match &self.answers {
            Answers::Classes { .. } => 1,
            Answers::Values { width, .. } => *width,
        }
    }

    /// All labels, in the order of the samples, below [`Samples::classes`]; none where targets are
    /// values.
    pub fn labels(&self) -> &[u8] {
        match &self.answers {
            Answers::Classes { labels, .. } => labels,
            Answers::Values { .. } => &[],
        }
    }

    /// The number of classes; 0 where targets are values.
    pub fn classes(&self) -> usize {
        self.class_names().len()
    }

    /// The names of the classes, by label.
    pub fn class_names(&self) -> &[String] {
        match &self.answers {
            Answers::Classes { names, .. } => names,
            Answers::Values { .. } => &[],
        }
    }

    /// The same samples with other class names.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if there are fewer names than classes.
    pub fn with_class_names(mut self, new: &[&str]) -> Result<Self> {
        match &mut self.answers {
            Answers::Classes { names, .. } if new.len() >= names.len() => {
                *names = new.iter().map(|&name| name.to_owned()).collect();
                Ok(self)
            }
            _ => {
                Err(Error::Mismatch(format!("{} names for {} classes", new.len(), self.classes())))
            }
        }
    }

    /// The samples in `range`, in their order.
    ///
    /// # Panics
    /// If there are not that many samples.
    #[must_use]
    pub fn range(&self, range: Range<usize>) -> Self {
        let answers = match &self.answers {
            Answers::Classes { labels, names } => {
                Answers::Classes { labels: labels[range.clone()].to_vec(), names: names.clone() }
            }
            Answers::Values { values, width } => Answers::Values {
                values: values[range.start * width..range.end * width].to_vec(),
                width: *width,
            },
        };
        Self {
            inputs: self.inputs.clone(),
            shape: self.shape,
            picks: self.picks[range].to_vec(),
            answers,
        }
    }

    /// Splits off the last `share` of the samples, such as 0.2: returns the others, then these.
    ///
    /// # Errors
    /// [`Error::Usage`] if one of the two would be empty.
    pub fn split_tail(&self, share: f64) -> Result<(Self, Self)> {
        let tail = (share * self.len() as f64).round();
        if !(1.0..self.len() as f64).contains(&tail) {
            return Err(Error::Usage(format!(
                "a share of {share} of {} samples leaves one of two parts empty",
                self.len()
            )));
        }
        let at = self.len() - tail as usize;
        Ok((self.range(0..at), self.range(at..self.len())))
    }
}
