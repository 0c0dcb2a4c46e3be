//! Evaluating a network on samples, batch by batch.

use crate::data::{Picks, Samples, Scale, TargetBuffer, Targets, gather};
use crate::distributed::{World, part};
use crate::nn::{BatchResult, Buffer, Network};
use crate::{Error, Result};
use std::ops::Range;
use threadcount_kernels::Team;
use threadcount_kernels::gather::Cut;

/// Samples per batch in evaluation: 128 feature maps of the largest layer here (28 x 28 x 64) are 26 MB, and
/// 128 rows are enough for a matrix product to run at its best.
pub const EVALUATION_BATCH: usize = 128;

/// What a network scores on some samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Mean loss per sample.
    pub loss: f64,
    /// Share of samples classified correctly. A sample with an output that is NaN counts as wrong.
    pub accuracy: f64,
}

/// Buffers for the inputs and targets of one batch.
pub struct Batch {
    x: Buffer,
    targets: TargetBuffer,
    inputs: usize,
}

impl Batch {
    /// Buffers for `largest` of these samples.
    ///
    /// # Errors
    /// [`crate::Error::Memory`] if that much cannot be had.
    pub fn new(samples: &Samples, largest: usize) -> Result<Self> {
        let inputs = samples.shape().len();
        let x = Buffer::zeroed(largest.saturating_mul(inputs))?;
        Ok(Self { x, targets: TargetBuffer::new(samples, largest), inputs })
    }

    /// Gathers these samples, scaled, and their targets.
    pub(super) fn gather(
        &mut self,
        team: &Team,
        samples: &Samples,
        scale: &Scale,
        picks: Picks<'_>,
    ) -> (&[f32], Targets<'_>) {
        let n = picks.now.len();
        let x = &mut self.x[..n * self.inputs];
        gather(team, samples, scale, picks, x, &mut self.targets);
        (x, self.targets.first(n))
    }
}

/// Which classes were predicted for at least one sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Predicted([bool; 256]);

impl Predicted {
    /// Whether this class was.
    pub fn has(&self, class: u8) -> bool {
        self.0[usize::from(class)]
    }
}

impl Default for Predicted {
    /// None was.
    fn default() -> Self {
        Self([false; 256])
    }
}

impl Extend<u8> for Predicted {
    fn extend<T: IntoIterator<Item = u8>>(&mut self, classes: T) {
        classes.into_iter().for_each(|class| self.0[usize::from(class)] = true);
    }
}

/// Mean loss and accuracy of `network` on `samples`.
///
/// # Errors
/// [`crate::Error::Mismatch`] if the samples do not fit the network.
pub fn score(
    network: &mut Network,
    team: &Team,
    samples: &Samples,
    scale: &Scale,
) -> Result<Score> {
    validate(network, team, samples, scale, &World::one()).map(|(score, _)| score)
}

/// As [`score`], and which classes were predicted. Each rank evaluates some of the batches, and each gets the result,
/// with the same bits as one alone.
pub(super) fn validate(
    network: &mut Network,
    team: &Team,
    samples: &Samples,
    scale: &Scale,
    world: &World,
) -> Result<(Score, Predicted)> {
    let mut results = Vec::new();
    let mut predicted = Predicted::default();
    let cut = network.plan().input_cut();
    let batches = samples.len().div_ceil(EVALUATION_BATCH);
    let own = part(batches, world.size(), world.rank());
    in_these_batches(team, samples, scale, cut, own, |x, n, targets| {
        results.push(network.evaluate_batch(team, x, targets)?);
        predicted.extend(network.evaluated_classes(n).flatten());
        Ok(())
    })?;
    let mut sum = BatchResult::default();
    for (results, more) in exchanged(world, &results, predicted)? {
        results.into_iter().for_each(|result| sum += result);
        predicted.extend((0..=u8::MAX).filter(|&class| more.has(class)));
    }
    Ok((Score { loss: sum.loss(), accuracy: sum.accuracy() }, predicted))
}

/// What one rank has found in its batches.
type Found = (Vec<BatchResult>, Predicted);

/// What every rank has found, in the order of the ranks.
fn exchanged(world: &World, own: &[BatchResult], predicted: Predicted) -> Result<Vec<Found>> {
    let all = world.gathered(VALIDATED, written(own, predicted))?;
    let fault = |rank| Error::Failed(format!("rank {rank} sent no results of batches"));
    (0..).zip(all).map(|(rank, bytes)| read(&bytes).ok_or_else(|| fault(rank))).collect()
}

/// The tag of the results of validation.
const VALIDATED: u32 = 0x5000_0000;
/// The tag of predicted classes.
const PREDICTED: u32 = 0x5000_0001;
/// Bytes of the classes, and of a batch, in a message.
const CLASSES: usize = 256;
const BATCH: usize = 24;

fn written(results: &[BatchResult], predicted: Predicted) -> Vec<u8> {
    let mut bytes: Vec<u8> = predicted.0.iter().map(|&is| u8::from(is)).collect();
    for result in results {
        let words = [result.loss_sum.to_bits(), result.correct as u64, result.count as u64];
        bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    }
    bytes
}

fn read(bytes: &[u8]) -> Option<Found> {
    let (classes, batches) = bytes.split_at_checked(CLASSES)?;
    let mut predicted = Predicted::default();
    predicted.0.iter_mut().zip(classes).for_each(|(is, &byte)| *is = byte != 0);
    let result = |batch: &[u8]| {
        let word = |i: usize| Some(u64::from_le_bytes(batch[8 * i..][..8].try_into().ok()?));
        let (loss_sum, correct) = (f64::from_bits(word(0)?), word(1)? as usize);
        Some(BatchResult { loss_sum, correct, count: word(2)? as usize })
    };
    let results = batches.chunks_exact(BATCH).map(result).collect::<Option<_>>()?;
    batches.len().is_multiple_of(BATCH).then_some((results, predicted))
}

/// As [`predictions`]. Each rank predicts some of the batches, and each gets all of the classes.
pub(super) fn shared_predictions(
    network: &mut Network,
    team: &Team,
    samples: &Samples,
    scale: &Scale,
    world: &World,
) -> Result<Vec<Option<u8>>> {
    let batches = samples.len().div_ceil(EVALUATION_BATCH);
    let own = part(batches, world.size(), world.rank());
    let cut = network.plan().input_cut();
    let mut classes: Vec<Option<u8>> = Vec::new();
    in_these_batches(team, samples, scale, cut, own, |x, n, _| {
        let start = classes.len();
        classes.resize(start + n, None);
        network.classify(team, x, &mut classes[start..])
    })?;
    let bytes = classes.iter().flat_map(|&class| told(class)).collect();
    let mut all = Vec::with_capacity(samples.len());
    for (rank, bytes) in world.gathered(PREDICTED, bytes)?.into_iter().enumerate() {
        let (pairs, rest) = bytes.as_chunks();
        if !rest.is_empty() {
            return Err(Error::Failed(format!("rank {rank} sent no classes")));
        }
        all.extend(pairs.iter().map(|&[is_some, class]| (is_some != 0).then_some(class)));
    }
    Ok(all)
}

/// A class, or none, in a message.
fn told(class: Option<u8>) -> [u8; 2] {
    class.map_or([0, 0], |class| [1, class])
}

/// The class that `network` predicts for every sample, by the rule of [`Score::accuracy`]; `None` for a
/// sample whose outputs are NaN or belong to no class.
///
/// # Errors
/// As [`score`].
pub fn predictions(
    network: &mut Network,
    team: &Team,
    samples: &Samples,
    scale: &Scale,
) -> Result<Vec<Option<u8>>> {
    shared_predictions(network, team, samples, scale, &World::one())
}

/// Passes all samples, in order, to `body`: the inputs of a batch, how many samples they are, and their
/// targets.
pub(super) fn in_batches(
    team: &Team,
    samples: &Samples,
    scale: &Scale,
    cut: Cut,
    body: impl FnMut(&[f32], usize, Targets<'_>) -> Result<()>,
) -> Result<()> {
    in_these_batches(team, samples, scale, cut, 0..samples.len().div_ceil(EVALUATION_BATCH), body)
}

/// As [`in_batches`], for some of the batches.
fn in_these_batches(
    team: &Team,
    samples: &Samples,
    scale: &Scale,
    cut: Cut,
    batches: Range<usize>,
    mut body: impl FnMut(&[f32], usize, Targets<'_>) -> Result<()>,
) -> Result<()> {
    let mut batch = Batch::new(samples, EVALUATION_BATCH.min(samples.len()))?;
    let bound = |batch: usize| (batch * EVALUATION_BATCH).min(samples.len()) as u32;
    let all: Vec<u32> = (bound(batches.start)..bound(batches.end)).collect();
    let mut left = &all[..];
    while !left.is_empty() {
        let (now, next) = left.split_at(left.len().min(EVALUATION_BATCH));
        let picks = Picks { now, next, cut, draws: None };
        let (x, targets) = batch.gather(team, samples, scale, picks);
        left = next;
        body(x, now.len(), targets)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distributed::in_world;

    /// Sums are rounded, so every rank has to add the results of all in the same order.
    #[test]
    fn results_come_in_the_order_of_the_ranks() {
        let result = |rank: usize, batch: usize| BatchResult {
            loss_sum: rank as f64 + 0.1,
            correct: batch,
            count: 10 + rank,
        };
        let of = |rank: usize| -> Found {
            let mut predicted = Predicted::default();
            predicted.extend([0, 250 + rank as u8]);
            ((0..rank).map(|batch| result(rank, batch)).collect(), predicted)
        };
        for ranks in [1, 2, 3] {
            let found = in_world(ranks, |world| {
                let (results, predicted) = of(world.rank());
                exchanged(world, &results, predicted)
            });
            for found in found {
                assert_eq!(found.unwrap(), (0..ranks).map(of).collect::<Vec<_>>());
            }
        }
        assert!(read(&[0; CLASSES - 1]).is_none() && read(&[0; CLASSES + 1]).is_none());
    }
}
