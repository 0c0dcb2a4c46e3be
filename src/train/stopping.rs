//! When to stop, and which epoch's weights to keep.

use super::history::Epoch;
use super::task::Keep;
use serde::{Deserialize, Serialize};

/// How long ago the validation loss last improved. The arithmetic is Keras's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Patience {
    lowest: Option<f64>,
    waited: usize,
}

impl Patience {
    /// Records an epoch. Returns whether the loss has not fallen by more than `min_delta` below its lowest
    /// for at least `patience` epochs in a row.
    pub(crate) fn is_over(&mut self, patience: usize, min_delta: f64, epoch: &Epoch) -> bool {
        if self.lowest.is_none_or(|lowest| epoch.val_loss < lowest - min_delta) {
            self.lowest = Some(epoch.val_loss);
            self.waited = 0;
            return false;
        }
        // A checkpoint may hold any number.
        self.waited = self.waited.saturating_add(1);
        self.waited >= patience
    }

    /// Counts from the next epoch on; the lowest loss stays.
    pub(crate) fn begin_anew(&mut self) {
        self.waited = 0;
    }
}

/// Whether `epoch` beats the best so far, by the measure that `keep` names; never for
/// [`Keep::Last`].
pub(crate) fn improves(keep: Keep, best: Option<&Epoch>, epoch: &Epoch) -> bool {
    match (keep, best) {
        (Keep::Last, _) => false,
        (_, None) => true,
        (Keep::BestAccuracy, Some(best)) => epoch.val_accuracy > best.val_accuracy,
        (Keep::BestLoss, Some(best)) => epoch.val_loss < best.val_loss,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(val_loss: f64, val_accuracy: f64) -> Epoch {
        Epoch { epoch: 1, accuracy: 0.5, loss: 1.0, val_accuracy, val_loss }
    }

    /// The epochs that a run over these validation losses takes.
    fn stops_after(patience: usize, losses: &[f64]) -> Option<usize> {
        let mut state = Patience::default();
        let is_over = |&loss: &f64| state.is_over(patience, 0.0, &epoch(loss, 0.0));
        losses.iter().position(is_over).map(|i| i + 1)
    }

    #[test]
    fn patience_counts_epochs_in_a_row_without_a_new_lowest_loss() {
        assert_eq!(stops_after(3, &[1.0, 0.9, 0.95, 0.95, 0.95, 0.1]), Some(5));
        assert_eq!(stops_after(3, &[1.0, 1.1, 1.2, 0.9, 1.0, 1.0, 0.8]), None);
        // Equal is not an improvement.
        assert_eq!(stops_after(2, &[0.5, 0.5, 0.5, 0.5]), Some(3));
    }

    /// A checkpoint may hold this count.
    #[test]
    fn the_largest_count_is_no_end() {
        let mut state = Patience { lowest: Some(0.5), waited: usize::MAX };
        assert!(state.is_over(usize::MAX, 0.0, &epoch(0.6, 0.0)));
        assert!(!state.is_over(1, 0.0, &epoch(0.4, 0.0)));
    }

    #[test]
    fn the_first_of_equal_epochs_is_kept() {
        let best = epoch(0.3, 0.9);
        assert!(improves(Keep::BestLoss, None, &best));
        assert!(!improves(Keep::BestLoss, Some(&best), &epoch(0.3, 0.95)));
        assert!(improves(Keep::BestLoss, Some(&best), &epoch(0.29, 0.1)));
        assert!(!improves(Keep::BestAccuracy, Some(&best), &epoch(0.1, 0.9)));
        assert!(improves(Keep::BestAccuracy, Some(&best), &epoch(0.9, 0.91)));
        assert!(!improves(Keep::Last, None, &best));
    }
}
