//! Whether a classifier is right as often as its probabilities say.

/// How often predictions of about the same confidence are right.
///
/// Confidence is the probability that was given to the predicted class. The bins are equally wide: bin `m` of
/// `M`, from 0, holds confidences above `m / M` and up to `(m + 1) / M`.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    /// From the least confident bin to the most confident one.
    pub bins: Vec<Bin>,
    /// Samples whose confidence is no number from 0 to 1; they are in no bin.
    pub left_out: usize,
}

/// The samples of one range of confidence.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bin {
    /// How many they are.
    pub samples: usize,
    /// The mean of their confidences; 0 without samples.
    pub confidence: f64,
    /// The share of them that was classified correctly; 0 without samples.
    pub accuracy: f64,
}

impl Calibration {
    /// The number of bins in the paper that [`Self::error`] follows.
    pub const BINS: usize = 15;

    /// Sorts predictions into `bins` bins: `confidences[i]` is that of sample `i`, and `right[i]` says whether it
    /// was classified correctly.
    ///
    /// # Panics
    /// If the lengths differ, or there are no bins.
    pub fn measure(confidences: &[f32], right: &[bool], bins: usize) -> Self {
        assert_eq!(confidences.len(), right.len(), "one confidence per sample");
        assert!(bins > 0, "at least one bin");
        let mut sums = vec![(0_usize, 0.0_f64, 0_usize); bins];
        let mut left_out = 0;
        for (&confidence, &right) in confidences.iter().zip(right) {
            if !(0.0..=1.0).contains(&confidence) {
                left_out += 1;
                continue;
            }
            let confidence = f64::from(confidence);
            // A confidence of 0 belongs to the first bin, whose lower end is open.
            let bin = ((confidence * bins as f64).ceil() as usize).max(1) - 1;
            let (samples, sum, hits) = &mut sums[bin];
            *samples += 1;
            *sum += confidence;
            *hits += usize::from(right);
        }
        let bin = |(samples, sum, hits): (usize, f64, usize)| {
            // `max` only guards the empty bin, whose sums are 0.
            let count = samples.max(1) as f64;
            Bin { samples, confidence: sum / count, accuracy: hits as f64 / count }
        };
        Self { bins: sums.into_iter().map(bin).collect(), left_out }
    }

    /// The expected calibration error: the mean over the samples of the distance between the accuracy and the
    /// mean confidence of their bin. 0 is perfect; 0 without samples.
    ///
    /// Equation 3 of Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks", ICML 2017.
    pub fn error(&self) -> f64 {
        let samples: usize = self.bins.iter().map(|bin| bin.samples).sum();
        let of = |bin: &Bin| bin.samples as f64 * (bin.accuracy - bin.confidence).abs();
        self.bins.iter().map(of).sum::<f64>() / samples.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Key, Purpose};

    /// Equation 3 as it is written: a pass over all samples for each bin.
    fn naive(confidences: &[f32], right: &[bool], bins: usize) -> f64 {
        let n = confidences.iter().filter(|p| !p.is_nan()).count();
        let mut error = 0.0;
        for m in 0..bins {
            let (low, high) = (m as f64 / bins as f64, (m + 1) as f64 / bins as f64);
            let (mut size, mut acc, mut conf) = (0.0, 0.0, 0.0);
            for i in 0..confidences.len() {
                let p = f64::from(confidences[i]);
                if (low < p || (m == 0 && p == 0.0)) && p <= high {
                    size += 1.0;
                    conf += p;
                    acc += if right[i] { 1.0 } else { 0.0 };
                }
            }
            if size > 0.0 {
                error += size / n as f64 * (acc / size - conf / size).abs();
            }
        }
        error
    }

    #[test]
    fn five_samples_by_hand() {
        // Of two bins: (0, 0.5] has 0.5 and 0.25, one of them right; (0.5, 1] has 0.75, 1 and 0.625, two right.
        let confidences = [0.5, 0.75, 1.0, 0.25, 0.625];
        let right = [true, true, false, false, true];
        let measured = Calibration::measure(&confidences, &right, 2);
        let low = Bin { samples: 2, confidence: 0.375, accuracy: 0.5 };
        let high = Bin { samples: 3, confidence: 2.375 / 3.0, accuracy: 2.0 / 3.0 };
        assert_eq!(measured, Calibration { bins: vec![low, high], left_out: 0 });
        // (2 * 0.125 + 3 * 0.125) / 5, where 2.375 / 3 - 2 / 3 is 0.125.
        assert!((measured.error() - 0.125).abs() < 1e-15, "{}", measured.error());
    }

    #[test]
    fn the_upper_end_of_a_bin_belongs_to_it() {
        let bin_of = |p: f32| {
            let bins = Calibration::measure(&[p], &[true], 4).bins;
            bins.iter().position(|bin| bin.samples == 1).unwrap()
        };
        let placed = [0.0, 1e-9, 0.25, 0.250_001, 0.5, 0.75, 0.750_001, 1.0].map(bin_of);
        assert_eq!(placed, [0, 0, 0, 1, 1, 2, 3, 3]);
    }

    #[test]
    fn what_is_no_probability_is_left_out() {
        let measured =
            Calibration::measure(&[f32::NAN, 1.5, -0.5, 0.75], &[true, true, false, true], 15);
        assert_eq!(measured.left_out, 3);
        assert_eq!(measured.error(), 0.25);
        assert_eq!(Calibration::measure(&[], &[], 15).error(), 0.0);
    }

    #[test]
    fn agrees_with_the_formula_as_written() {
        for n in [1_usize, 2, 7, 100, 1_009] {
            for bins in [1, 2, 10, Calibration::BINS] {
                let draws = Key::new(n as u64, Purpose::Shuffle).shuffled(n);
                let mut confidences: Vec<f32> =
                    draws.iter().map(|&d| (d as f32 + 0.5) / n as f32).collect();
                // Ends of bins, and a sample that has none.
                confidences[0] = 0.5;
                if n > 2 {
                    (confidences[1], confidences[2]) = (1.0, f32::NAN);
                }
                let right: Vec<bool> = draws.iter().map(|d| d % 3 != 0).collect();
                let error = Calibration::measure(&confidences, &right, bins).error();
                let expected = naive(&confidences, &right, bins);
                assert!((error - expected).abs() < 1e-12, "{n} {bins}: {error}, {expected}");
            }
        }
    }
}
