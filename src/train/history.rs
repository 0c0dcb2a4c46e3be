//! The results of each epoch of a run, in Keras's terms.

use crate::files::write_atomically;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// The first line of the file.
const COLUMNS: &str = "epoch,accuracy,loss,val_accuracy,val_loss";

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
        let mut text = format!("{COLUMNS}\n");
        for e in &self.epochs {
            // Display of f64 is the shortest text that reads back as the same number.
            text += &format!(
                "{},{},{},{},{}\n",
                e.epoch, e.accuracy, e.loss, e.val_accuracy, e.val_loss
            );
        }
        write_atomically(path, text.as_bytes())
    }

    /// Reads what [`Self::write_csv`] wrote.
    ///
    /// # Errors
    /// [`Error::Data`] with the line, if the file is missing or damaged; [`Error::Io`].
    pub fn read_csv(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).map_err(|source| match source.kind() {
            ErrorKind::NotFound => {
                Error::data(path, "missing: no epoch has ended, or it was taken away")
            }
            _ => Error::Io { path: path.to_owned(), source },
        })?;
        let text = String::from_utf8_lossy(&bytes);
        let damaged = |line: usize, fault: &str| {
            Error::data(path, format!("not the history of a run: line {line}: {fault}"))
        };
        let mut lines = text.lines();
        if lines.next() != Some(COLUMNS) {
            return Err(damaged(1, &format!("'{COLUMNS}' belongs here")));
        }
        let mut epochs = Vec::new();
        for (line, number) in lines.zip(1..) {
            let mut fields = line.split(',');
            let epoch = fields.next().unwrap_or_default();
            let figures: Option<Vec<f64>> = fields.map(|text| text.parse().ok()).collect();
            let Some([accuracy, loss, val_accuracy, val_loss]) = figures.as_deref() else {
                return Err(damaged(number + 1, "an epoch and four numbers belong here"));
            };
            if epoch.parse() != Ok(number) {
                return Err(damaged(number + 1, &format!("epoch {number} belongs here")));
            }
            epochs.push(Epoch {
                epoch: number,
                accuracy: *accuracy,
                loss: *loss,
                val_accuracy: *val_accuracy,
                val_loss: *val_loss,
            });
        }
        Ok(Self { epochs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_reads_back_and_a_damaged_one_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let epoch = |epoch: usize| {
            let share = 1.0 / (epoch + 2) as f64;
            let (accuracy, loss) = (share, 2.0 * share);
            Epoch { epoch, accuracy, loss, val_accuracy: 3.0 * share, val_loss: 4.0 * share }
        };
        for epochs in [0, 1, 12] {
            let history = History { epochs: (1..=epochs).map(epoch).collect() };
            history.write_csv(file.path()).unwrap();
            assert_eq!(History::read_csv(file.path()).unwrap(), history);
        }
        for (text, words) in [
            ("", "line 1: 'epoch,accuracy"),
            ("epoch,loss\n", "line 1: "),
            (
                "epoch,accuracy,loss,val_accuracy,val_loss\n1,1,1,1,1\n3,1,1,1,1\n",
                "line 3: epoch 2",
            ),
            ("epoch,accuracy,loss,val_accuracy,val_loss\n1,1,1,1\n", "line 2: an epoch and four"),
            ("epoch,accuracy,loss,val_accuracy,val_loss\n1,1,1,1,x\n", "line 2: an epoch and four"),
        ] {
            fs::write(file.path(), text).unwrap();
            let error = History::read_csv(file.path()).unwrap_err();
            assert_eq!(error.exit_code(), 3);
            assert!(error.to_string().contains(words), "{error}");
        }
        assert!(
            History::read_csv("/no/such".as_ref()).unwrap_err().to_string().contains("missing")
        );
    }
}
