//! Which mistakes a classifier makes: the samples that it is surest of and wrong about, and the classes that it
//! takes for each other.

use super::Confusion;

/// Two classes that are taken for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfusedPair {
    /// The two, the lower label first.
    pub classes: [usize; 2],
    /// How many samples of each of them were predicted as the other.
    pub mistaken: [u64; 2],
}

impl ConfusedPair {
    /// The mistakes in both directions.
    pub fn total(&self) -> u64 {
        self.mistaken[0] + self.mistaken[1]
    }
}

/// The samples that were classified wrongly, the most confident prediction first. Of equal confidences the
/// earlier sample is first; confidences that are NaN come last.
///
/// # Panics
/// If the lengths differ.
pub fn mistakes(labels: &[u8], predictions: &[Option<u8>], confidences: &[f32]) -> Vec<usize> {
    assert_eq!(labels.len(), predictions.len(), "one prediction per label");
    assert_eq!(labels.len(), confidences.len(), "one confidence per label");
    let wrong = |&i: &usize| predictions[i] != Some(labels[i]);
    by_falling((0..labels.len()).filter(wrong), |i| confidences[i])
}

/// The samples of class `class`, those with the highest `chance` first: with the probability that a sample is of
/// another class, those of `class` that look most like it. Equal and NaN chances as in [`mistakes`].
pub fn look_alikes(labels: &[u8], class: usize, chance: impl Fn(usize) -> f32) -> Vec<usize> {
    let of_class = |&i: &usize| usize::from(labels[i]) == class;
    by_falling((0..labels.len()).filter(of_class), chance)
}

/// The pairs of classes with mistakes between them, those with the most first; of equal ones in the order of their
/// labels.
pub fn confused_pairs(confusion: &Confusion) -> Vec<ConfusedPair> {
    let classes = confusion.classes().len();
    let pair = |a: usize, b: usize| ConfusedPair {
        classes: [a, b],
        mistaken: [confusion.count(a, b), confusion.count(b, a)],
    };
    let pairs = (0..classes).flat_map(|a| (a + 1..classes).map(move |b| pair(a, b)));
    let mut pairs: Vec<_> = pairs.filter(|pair| pair.total() > 0).collect();
    pairs.sort_by_key(|pair| std::cmp::Reverse(pair.total()));
    pairs
}

/// Samples by falling key; a stable order, NaN last.
fn by_falling(samples: impl Iterator<Item = usize>, key: impl Fn(usize) -> f32) -> Vec<usize> {
    let mut keyed: Vec<(f32, usize)> = samples.map(|i| (key(i), i)).collect();
    let rank = |key: f32| if key.is_nan() { f32::NEG_INFINITY } else { key };
    keyed.sort_by(|(a, _), (b, _)| rank(*b).total_cmp(&rank(*a)));
    keyed.into_iter().map(|(_, i)| i).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_certain_mistake_is_first() {
        let labels = [0, 1, 2, 0, 1, 2, 0];
        let predictions = [Some(1), Some(1), Some(0), Some(2), None, Some(1), Some(1)];
        let confidences = [0.5, 0.99, 0.9, 0.5, f32::NAN, 0.4, 0.7];
        assert_eq!(mistakes(&labels, &predictions, &confidences), [2, 6, 0, 3, 5, 4]);
        assert!(mistakes(&[], &[], &[]).is_empty());
    }

    #[test]
    fn look_alikes_are_of_their_class() {
        let labels = [0, 1, 0, 0, 1, 0];
        let chances = [0.1, 0.9, f32::NAN, 0.3, 0.8, 0.2];
        assert_eq!(look_alikes(&labels, 0, |i| chances[i]), [3, 5, 0, 2]);
        assert_eq!(look_alikes(&labels, 1, |i| chances[i]), [1, 4]);
        assert!(look_alikes(&labels, 2, |i| chances[i]).is_empty());
    }

    #[test]
    fn pairs_count_both_directions() {
        let mut confusion = Confusion::new(["a", "b", "c"]);
        for (label, prediction, times) in [(0, 1, 1), (1, 0, 4), (2, 0, 3), (0, 2, 2), (1, 1, 9)] {
            confusion.add(&vec![label; times], &vec![Some(prediction); times]);
        }
        let pair = |classes, mistaken| ConfusedPair { classes, mistaken };
        assert_eq!(confused_pairs(&confusion), [pair([0, 1], [1, 4]), pair([0, 2], [2, 3])]);
        assert!(confused_pairs(&Confusion::new(["a"])).is_empty());
    }
}
