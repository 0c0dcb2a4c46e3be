//! The squared error of values.

use threadcount_kernels::histogram::{self, Moments, ValueSample};

use super::columns::BINS;
use super::criterion::{Criterion, Seen};

/// Sums of values on both sides of a split.
///
/// The squared error of a side about its mean is `sum of y^2 - (sum of y)^2 / n`. Its sum over both sides is lowest
/// where the sum of `(sum of y)^2 / n` is highest: that is the score.
pub(super) struct SquaredError<'a> {
    values: &'a [f64],
    node: Moments,
    left: Moments,
    /// The least and the largest value of the node.
    range: [f64; 2],
    /// `[bin]`, zero between two columns.
    counts: Vec<Moments>,
}

impl<'a> SquaredError<'a> {
    pub(super) fn new(values: &'a [f64]) -> Self {
        let zero = Moments::default();
        Self { values, node: zero, left: zero, range: [0.0; 2], counts: vec![zero; BINS] }
    }
}

impl Criterion for SquaredError<'_> {
    type Sample = ValueSample;

    fn sample(&self, row: u32, weight: u32) -> ValueSample {
        ValueSample { row, weight, value: self.values[row as usize] }
    }

    fn row(sample: &ValueSample) -> usize {
        sample.row as usize
    }

    fn renumber(sample: &mut ValueSample, row: u32) {
        sample.row = row;
    }

    fn begin(&mut self, samples: &[ValueSample]) {
        self.node = Moments::default();
        self.range = [f64::INFINITY, f64::NEG_INFINITY];
        for sample in samples {
            self.node.add(sample);
            let [low, high] = self.range;
            self.range = [low.min(sample.value), high.max(sample.value)];
        }
    }

    fn is_pure(&self) -> bool {
        self.range[0] >= self.range[1]
    }

    fn restart(&mut self) {
        self.left = Moments::default();
    }

    #[inline]
    fn take(&mut self, sample: &ValueSample) {
        self.left.add(sample);
    }

    fn count(&mut self, column: &[u8], samples: &[ValueSample], seen: &mut Seen) {
        histogram::values(column, samples, &mut self.counts, seen);
    }

    fn take_bin(&mut self, bin: usize) {
        let counted = std::mem::take(&mut self.counts[bin]);
        self.left.draws += counted.draws;
        self.left.sum += counted.sum;
    }

    #[inline]
    fn score(&self) -> f64 {
        let (left, node) = (self.left, self.node);
        let right = node.sum - left.sum;
        left.sum * left.sum / left.draws + right * right / (node.draws - left.draws)
    }

    fn first_leaves(&self) -> Vec<f32> {
        Vec::new()
    }

    fn leaf(&self, leaves: &mut Vec<f32>) -> u32 {
        leaves.push((self.node.sum / self.node.draws) as f32);
        leaves.len() as u32 - 1
    }
}
