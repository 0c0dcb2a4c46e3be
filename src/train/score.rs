//! Evaluating a network on samples, batch by batch.

use crate::Result;
use crate::data::{Picks, Samples, Scale, TargetBuffer, Targets, gather};
use crate::nn::{BatchResult, Buffer, Network};
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
    validate(network, team, samples, scale).map(|(score, _)| score)
}

/// As [`score`], and which classes were predicted.
pub(super) fn validate(
    network: &mut Network,
    team: &Team,
    samples: &Samples,
    scale: &Scale,
) -> Result<(Score, Predicted)> {
    let mut sum = BatchResult::default();
    let mut predicted = Predicted::default();
    let cut = network.plan().input_cut();
    in_batches(team, samples, scale, cut, |x, n, targets| {
        sum += network.evaluate_batch(team, x, targets)?;
        predicted.extend(network.evaluated_classes(n).flatten());
        Ok(())
    })?;
    Ok((Score { loss: sum.loss(), accuracy: sum.accuracy() }, predicted))
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
    let mut all = Vec::with_capacity(samples.len());
    let cut = network.plan().input_cut();
    in_batches(team, samples, scale, cut, |x, n, _| {
        let start = all.len();
        all.resize(start + n, None);
        network.classify(team, x, &mut all[start..])
    })?;
    Ok(all)
}

/// Passes all samples, in order, to `body`: the inputs of a batch, how many samples they are, and their
/// targets.
pub(super) fn in_batches(
    team: &Team,
    samples: &Samples,
    scale: &Scale,
    cut: Cut,
    mut body: impl FnMut(&[f32], usize, Targets<'_>) -> Result<()>,
) -> Result<()> {
    let mut batch = Batch::new(samples, EVALUATION_BATCH.min(samples.len()))?;
    let all: Vec<u32> = (0..samples.len() as u32).collect();
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
