//! The results of each epoch of a run, in Keras's terms.

use crate::Result;
use crate::files::write_atomically;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// One epoch.
///
/// As in Keras, `loss` and `accuracy` are averages over the epoch's batches, taken while the
/// weights were changing; `val_loss` and `val_accuracy` are of the weights at the epoch's end.
/// Accuracies are from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Counted from 1.
    pub epoch: usize,
    /// Training accuracy.
    pub accuracy: f64,
    /// Mean training loss per sample.
    pub loss: f64,
    /// Accuracy on the validation samples.
    pub val_accuracy: f64,
    /// Mean loss per validation sample.
    pub val_loss: f64,
}

/// The epochs of a run, first to last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct History {
    /// The finished epochs.
    pub epochs: Vec<Epoch>,
}

impl History {
    /// Writes the epochs as CSV, with the columns of Keras's `CSVLogger`:
    /// `epoch,accuracy,loss,val_accuracy,val_loss`.
    ///
    /// # Errors
    /// [`crate::Error::Io`].
    pub fn write_csv(&self, path: &Path) -> Result<()> {
        let mut text = String::from("epoch,accuracy,loss,val_accuracy,val_loss\n");
        for e in &self.epochs {
            // Display of f64 is the shortest text that reads back as the same number.
            text += &format!(
                "{},{},{},{},{}\n",
                e.epoch, e.accuracy, e.loss, e.val_accuracy, e.val_loss
            );
        }
        write_atomically(path, text.as_bytes())
    }
}
