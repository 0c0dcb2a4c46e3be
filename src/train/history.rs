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
    /// Reads what [`History::write_csv`] wrote.
    ///
    /// # Errors
    /// [`Error::Data`] naming the line that is none; [`Error::Io`].
    pub fn read_csv(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(|error| match error.kind() {
            ErrorKind::InvalidData => Error::data(path, "not a history: not text"),
            _ => Error::io(path)(error),
        })?;
        let mut lines = text.lines();
        if lines.next() != Some(COLUMNS) {
            return Err(Error::data(
                path,
                format!("not a history: its first line is not {COLUMNS}"),
            ));
        }
        let mut epochs = Vec::new();
        for (index, line) in lines.enumerate() {
            match epoch(line) {
                Some(epoch) if epoch.epoch == index + 1 => epochs.push(epoch),
                _ => {
                    let fault = format!("line {}: not what came of epoch {}", index + 2, index + 1);
                    return Err(Error::data(path, fault));
                }
            }
        }
        Ok(Self { epochs })
    }

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
}

/// A line of the file.
fn epoch(line: &str) -> Option<Epoch> {
    let mut fields = line.split(',');
    let epoch = fields.next()?.parse().ok()?;
    let numbers: Vec<f64> = fields.map(str::parse).collect::<std::result::Result<_, _>>().ok()?;
    let [accuracy, loss, val_accuracy, val_loss] = numbers[..] else { return None };
    Some(Epoch { epoch, accuracy, loss, val_accuracy, val_loss })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_reads_back_and_a_damaged_one_names_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.csv");
        let epoch = |epoch| Epoch {
            epoch,
            accuracy: 0.1 + 0.2,
            loss: 1.0 / 3.0,
            val_accuracy: 0.7,
            val_loss: 0.125,
        };
        let history = History { epochs: vec![epoch(1), epoch(2)] };
        history.write_csv(&path).unwrap();
        assert_eq!(History::read_csv(&path).unwrap(), history);
        let text = fs::read_to_string(&path).unwrap();
        let none = History::default();
        none.write_csv(&path).unwrap();
        assert_eq!(History::read_csv(&path).unwrap(), none);
        for (damaged, words) in [
            (text.replace("epoch,", "round,"), "its first line"),
            (text.replace("\n2,", "\n3,"), "line 3: not what came of epoch 2"),
            (text.replace("0.7,0.125\n2", "0.7\n2"), "line 2"),
            (text.replace("0.7", "high"), "line 2"),
            (text[..text.len() - 7].to_owned(), "line 3"),
            (String::new(), "its first line"),
        ] {
            fs::write(&path, damaged).unwrap();
            let error = History::read_csv(&path).unwrap_err();
            assert!(
                matches!(error, Error::Data { .. }) && error.to_string().contains(words),
                "{error}"
            );
        }
    }
}
