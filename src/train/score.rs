//! Evaluating a network on samples, batch by batch.

use crate::Result;
use crate::data::{Picks, Samples, Scale, gather};
use crate::nn::{Buffer, Network};
use threadcount_kernels::Team;
use threadcount_kernels::gather::Cut;

/// Batches in which samples are evaluated: 128 feature maps of the largest layer here (28 x 28 x
/// 64) are 26 MB, and 128 rows are enough for a matrix product to run at its best.
pub const EVALUATION_BATCH: usize = 128;

/// What a network scores on some samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Mean loss per sample.
    pub loss: f64,
    /// Share of samples classified correctly.
    pub accuracy: f64,
}

/// Room for the inputs and labels of one batch.
pub struct Batch {
    x: Buffer,
    labels: Vec<u8>,
    pixels: usize,
}

impl Batch {
    /// Room for `largest` samples of `pixels` inputs.
    ///
    /// # Errors
    /// [`crate::Error::Failed`] if that much memory cannot be had.
    pub fn new(largest: usize, pixels: usize) -> Result<Self> {
        let x = Buffer::zeroed(largest.saturating_mul(pixels))?;
        Ok(Self { x, labels: vec![0; largest], pixels })
    }

    /// The part for `len` samples: `[len, pixels]` and `[len]`.
    pub(super) fn of(&mut self, len: usize) -> (&mut [f32], &mut [u8]) {
        (&mut self.x[..len * self.pixels], &mut self.labels[..len])
    }
}

/// Mean loss and accuracy of `network` on `samples`.
///
/// # Errors
/// [`crate::Error::Failed`] if the samples do not fit the network.
pub fn score(
    network: &mut Network,
    team: &Team,
    samples: &Samples,
    scale: &Scale,
    batch: &mut Batch,
) -> Result<Score> {
    let (mut loss, mut correct) = (0.0, 0);
    let cut = network.stepping(team, EVALUATION_BATCH).cut;
    in_batches(team, samples, scale, cut, batch, |x, labels| {
        let result = network.evaluate_batch(team, x, labels)?;
        loss += result.loss_sum;
        correct += result.correct;
        Ok(())
    })?;
    let count = samples.len() as f64;
    Ok(Score { loss: loss / count, accuracy: correct as f64 / count })
}

/// The class that `network` finds most probable, for every sample.
///
/// # Errors
/// As [`score`].
pub fn predictions(
    network: &mut Network,
    team: &Team,
    samples: &Samples,
    scale: &Scale,
    batch: &mut Batch,
) -> Result<Vec<u8>> {
    let outputs = network.plan().output().len();
    let mut probabilities = vec![0.0; EVALUATION_BATCH * outputs];
    let mut classes = Vec::with_capacity(samples.len());
    let cut = network.stepping(team, EVALUATION_BATCH).cut;
    in_batches(team, samples, scale, cut, batch, |x, labels| {
        let probabilities = &mut probabilities[..labels.len() * outputs];
        network.predict(team, x, probabilities)?;
        classes.extend(probabilities.chunks_exact(outputs).map(most_probable));
        Ok(())
    })?;
    Ok(classes)
}

/// The first of the largest; a single output is the probability of class 1.
fn most_probable(probabilities: &[f32]) -> u8 {
    if let [of_one] = probabilities {
        return u8::from(*of_one > 0.5);
    }
    let mut best = 0;
    for (class, &p) in probabilities.iter().enumerate() {
        if p > probabilities[best] {
            best = class;
        }
    }
    best as u8
}

/// Hands all samples, in order, to `body` as inputs and labels.
fn in_batches(
    team: &Team,
    samples: &Samples,
    scale: &Scale,
    cut: Cut,
    batch: &mut Batch,
    mut body: impl FnMut(&[f32], &[u8]) -> Result<()>,
) -> Result<()> {
    let all: Vec<u32> = (0..samples.len() as u32).collect();
    let mut left = &all[..];
    while !left.is_empty() {
        let (now, next) = left.split_at(left.len().min(EVALUATION_BATCH));
        let (x, labels) = batch.of(now.len());
        gather(team, samples, scale, Picks { now, next, cut }, x, labels);
        left = next;
        body(x, labels)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_to_the_first_class_and_one_output_is_a_coin() {
        assert_eq!(most_probable(&[0.1, 0.4, 0.4, 0.1]), 1);
        assert_eq!(most_probable(&[0.5]), 0);
        assert_eq!(most_probable(&[0.51]), 1);
    }
}
