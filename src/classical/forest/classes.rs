//! The Gini impurity of classes.

use threadcount_kernels::histogram::{self, ClassSample};

use super::columns::BINS;
use super::criterion::{Criterion, Seen};

/// Counts of classes on both sides of a split, exact.
///
/// The Gini impurity of a side of n draws, `1 - sum of n_c^2 / n^2`, weighted by n, is `n - sum of n_c^2 / n`. Its
/// sum over both sides is lowest where the sum of `sum of n_c^2 / n` is highest: that is the score.
pub(super) struct Gini<'a> {
    labels: &'a [u8],
    node: Vec<u64>,
    left: Vec<u64>,
    /// Draws, and the sum of the squares of `node` and `left`, and that of their differences.
    node_draws: u64,
    left_draws: u64,
    node_squares: u64,
    left_squares: u64,
    right_squares: u64,
    /// `[bin][class]`, zero between two columns.
    counts: Vec<u32>,
}

impl<'a> Gini<'a> {
    pub(super) fn new(labels: &'a [u8], classes: usize) -> Self {
        Self {
            labels,
            node: vec![0; classes],
            left: vec![0; classes],
            node_draws: 0,
            left_draws: 0,
            node_squares: 0,
            left_squares: 0,
            right_squares: 0,
            counts: vec![0; BINS * classes],
        }
    }

    /// Moves that many draws of a class to the left.
    #[inline]
    fn shift(&mut self, class: usize, draws: u64) {
        let left = self.left[class];
        let right = self.node[class] - left;
        self.left_squares += draws * (2 * left + draws);
        // Of `right` draws `draws` leave: right^2 - (right - draws)^2.
        self.right_squares -= draws * (2 * right - draws);
        self.left[class] = left + draws;
        self.left_draws += draws;
    }
}

impl Criterion for Gini<'_> {
    type Sample = ClassSample;

    fn sample(&self, row: u32, weight: u32) -> ClassSample {
        // A row is drawn as often as that with a probability below 10^-250000.
        let weight = u16::try_from(weight).unwrap_or(u16::MAX);
        ClassSample { row, weight, class: self.labels[row as usize] }
    }

    fn row(sample: &ClassSample) -> usize {
        sample.row as usize
    }

    fn renumber(sample: &mut ClassSample, row: u32) {
        sample.row = row;
    }

    fn begin(&mut self, samples: &[ClassSample]) {
        self.node.fill(0);
        for sample in samples {
            self.node[usize::from(sample.class)] += u64::from(sample.weight);
        }
        self.node_draws = self.node.iter().sum();
        self.node_squares = self.node.iter().map(|&draws| draws * draws).sum();
    }

    fn is_pure(&self) -> bool {
        self.node.contains(&self.node_draws)
    }

    fn restart(&mut self) {
        self.left.fill(0);
        (self.left_draws, self.left_squares) = (0, 0);
        self.right_squares = self.node_squares;
    }

    #[inline]
    fn take(&mut self, sample: &ClassSample) {
        self.shift(usize::from(sample.class), u64::from(sample.weight));
    }

    fn count(&mut self, column: &[u8], samples: &[ClassSample], seen: &mut Seen) {
        histogram::classes(column, samples, self.node.len(), &mut self.counts, seen);
    }

    fn take_bin(&mut self, bin: usize) {
        let classes = self.node.len();
        for class in 0..classes {
            let draws = std::mem::take(&mut self.counts[bin * classes + class]);
            if draws > 0 {
                self.shift(class, u64::from(draws));
            }
        }
    }

    #[inline]
    fn score(&self) -> f64 {
        let right_draws = self.node_draws - self.left_draws;
        self.left_squares as f64 / self.left_draws as f64
            + self.right_squares as f64 / right_draws as f64
    }

    /// A leaf for each class that is alone in a node.
    fn first_leaves(&self) -> Vec<f32> {
        let classes = self.node.len();
        let mut leaves = vec![0.0; classes * classes];
        leaves.iter_mut().step_by(classes + 1).for_each(|share| *share = 1.0);
        leaves
    }

    fn leaf(&self, leaves: &mut Vec<f32>) -> u32 {
        if let Some(class) = self.node.iter().position(|&draws| draws == self.node_draws) {
            return class as u32;
        }
        let row = leaves.len() / self.node.len();
        leaves.extend(self.node.iter().map(|&n| (n as f64 / self.node_draws as f64) as f32));
        row as u32
    }
}
