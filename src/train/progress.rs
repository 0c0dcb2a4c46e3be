//! How far a run has come.

use super::history::{Epoch, History};
use super::schedule::Plateaus;
use super::stopping::Patience;
use serde::{Deserialize, Serialize};

/// How far a run has come: with the weights and the optimizer's buffers, all that a resumed run
/// needs to go on with the same bits.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// The finished epochs.
    pub history: History,
    /// Batches done in the epoch under way.
    pub batches: usize,
    /// Sum of the training losses of those batches' samples.
    pub(super) loss_sum: f64,
    /// Samples of those batches that were classified correctly.
    pub(super) correct: usize,
    pub(super) patience: Patience,
    /// Left out where there is nothing to remember, as in checkpoints from before schedules existed:
    /// checksums are over the text.
    #[serde(default, skip_serializing_if = "Plateaus::is_new")]
    pub(super) plateaus: Plateaus,
    /// Whether early stopping has ended the run.
    pub stopped_early: bool,
    /// The epoch whose weights are kept, unless it is the last.
    pub best: Option<Epoch>,
    /// Wall time of training and validation so far.
    pub train_seconds: f64,
    /// The part of it that went into training steps, gathering the batches included.
    pub step_seconds: f64,
    /// Samples that those steps trained on.
    pub trained_samples: u64,
}

impl Progress {
    /// Training samples per second of training steps; validation does not count.
    pub fn images_per_second(&self) -> f64 {
        if self.step_seconds > 0.0 { self.trained_samples as f64 / self.step_seconds } else { 0.0 }
    }

    /// The share of [`Self::train_seconds`] that went into validation.
    pub fn validation_share(&self) -> f64 {
        match self.train_seconds > 0.0 {
            true => (1.0 - self.step_seconds / self.train_seconds).max(0.0),
            false => 0.0,
        }
    }
}
