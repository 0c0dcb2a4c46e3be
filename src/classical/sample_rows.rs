//! Samples as the models of this module read them.

use threadcount_kernels::Team;
use threadcount_kernels::gather::{Batch, Cut, scaled};

use crate::data::{Row, Samples, Scale, Shape, Targets};
use crate::{Error, Result};

/// The largest magnitude of a float input: with larger ones, sums of products would overflow float32.
const LARGEST: f32 = 1e12;

/// Samples whose inputs are all bytes, or all floats that products can be made of.
#[derive(Clone, Copy)]
pub(super) struct SampleRows<'a> {
    pub(super) samples: &'a Samples,
    pub(super) are_bytes: bool,
}

impl<'a> SampleRows<'a> {
    /// # Errors
    /// [`Error::Mismatch`] that names the sample whose input is not finite, or too large.
    pub(super) fn new(samples: &'a Samples) -> Result<Self> {
        for i in 0..samples.len() {
            let Row::Floats(row) = samples.row(i) else {
                return Ok(Self { samples, are_bytes: true });
            };
            if let Some(x) = row.iter().find(|x| x.is_nan() || x.abs() > LARGEST) {
                return Err(Error::Mismatch(format!(
                    "sample {i} has the input {x}; leave it out, or scale inputs to below {LARGEST:e}"
                )));
            }
        }
        Ok(Self { samples, are_bytes: false })
    }

    /// The bytes of sample `i`; none if inputs are floats.
    pub(super) fn bytes(&self, i: usize) -> &'a [u8] {
        match self.samples.row(i) {
            Row::Bytes(bytes) => bytes,
            Row::Floats(_) => &[],
        }
    }

    /// The floats of sample `i`; none if inputs are bytes.
    pub(super) fn floats(&self, i: usize) -> &'a [f32] {
        match self.samples.row(i) {
            Row::Bytes(_) => &[],
            Row::Floats(floats) => floats,
        }
    }

    /// Scaled inputs of as many samples as `out` has rows, from sample `first` on.
    pub(super) fn gather(&self, team: &Team, first: usize, scale: &Scale, out: &mut [f32]) {
        let batch = Batch { factors: scale.factors(), offsets: scale.offsets(), cut: Cut::Rows };
        let rows = out.len() / scale.inputs();
        // Behind the last row the kernel asks for what it may prefetch.
        let place = |i: usize| (i < rows).then_some(first + i);
        match self.are_bytes {
            true => scaled(team, |i| place(i).map_or(&[][..], |i| self.bytes(i)), batch, out),
            false => scaled(team, |i| place(i).map_or(&[][..], |i| self.floats(i)), batch, out),
        }
    }
}

/// How many classes samples have.
///
/// # Errors
/// [`Error::Mismatch`] if there are no samples, or their targets are values.
pub(super) fn check_classes(samples: &Samples) -> Result<usize> {
    match samples.targets() {
        Targets::Classes(labels) if !labels.is_empty() => Ok(samples.classes()),
        Targets::Classes(_) => Err(Error::Mismatch("no samples to fit a model to".to_owned())),
        Targets::Values(_) => Err(Error::Mismatch(
            "the targets are values, where classes are to be told apart".to_owned(),
        )),
    }
}

/// # Errors
/// [`Error::Mismatch`] if samples are not of that shape.
pub(super) fn check_shape(samples: &Samples, shape: Shape) -> Result<()> {
    match samples.shape() == shape {
        true => Ok(()),
        false => Err(Error::Mismatch(format!(
            "samples of shape {} for a model that was fitted to {shape}",
            samples.shape()
        ))),
    }
}
