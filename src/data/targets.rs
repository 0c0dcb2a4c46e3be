//! What a network's outputs are compared with.

use crate::{Error, Result};

/// The targets of a batch of `n` samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Targets<'a> {
    /// `[n]` classes, numbered from 0.
    Classes(&'a [u8]),
    /// `[n, outputs]` numbers.
    Values(&'a [f32]),
}

impl<'a> Targets<'a> {
    /// Checks that they fit a batch of `n` samples of a network with `outputs` outputs, whose loss
    /// distinguishes `classes` classes.
    ///
    /// # Errors
    /// [`Error::Mismatch`] with what does not fit.
    pub(crate) fn check(self, n: usize, outputs: usize, classes: usize) -> Result<()> {
        match self {
            Self::Classes(labels) if labels.len() != n => {
                Err(Error::Mismatch(format!("{n} samples with {} labels", labels.len())))
            }
            Self::Classes(labels) => match labels.iter().find(|&&l| usize::from(l) >= classes) {
                None => Ok(()),
                Some(label) => Err(Error::Mismatch(format!(
                    "label {label} is no class of a network that tells {classes} apart"
                ))),
            },
            Self::Values(values) if values.len() != n * outputs => Err(Error::Mismatch(format!(
                "{n} samples of {outputs} outputs each with {} target values",
                values.len()
            ))),
            Self::Values(_) => Ok(()),
        }
    }

    /// The targets of these samples; values have `outputs` numbers each.
    #[must_use]
    pub(crate) fn of(self, samples: std::ops::Range<usize>, outputs: usize) -> Self {
        match self {
            Self::Classes(labels) => Self::Classes(&labels[samples]),
            Self::Values(values) => {
                Self::Values(&values[samples.start * outputs..samples.end * outputs])
            }
        }
    }
}

impl<'a> From<&'a [u8]> for Targets<'a> {
    fn from(labels: &'a [u8]) -> Self {
        Self::Classes(labels)
    }
}

impl<'a> From<&'a Vec<u8>> for Targets<'a> {
    fn from(labels: &'a Vec<u8>) -> Self {
        Self::Classes(labels)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Targets<'a> {
    fn from(labels: &'a [u8; N]) -> Self {
        Self::Classes(labels)
    }
}

impl<'a> From<&'a [f32]> for Targets<'a> {
    fn from(values: &'a [f32]) -> Self {
        Self::Values(values)
    }
}

impl<'a> From<&'a Vec<f32>> for Targets<'a> {
    fn from(values: &'a Vec<f32>) -> Self {
        Self::Values(values)
    }
}

impl<'a, const N: usize> From<&'a [f32; N]> for Targets<'a> {
    fn from(values: &'a [f32; N]) -> Self {
        Self::Values(values)
    }
}
