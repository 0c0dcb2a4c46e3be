//! How good a split is: what the search for splits asks of a criterion.

use super::ColumnKind;
use super::columns::BINS;

/// Which bins of a column occur.
pub(super) type Seen = [bool; BINS];

/// A criterion, with what a thread needs to judge the splits of one node after the other.
///
/// A split moves samples of the node from the right side to the left one. Its score is the higher, the less impure
/// the two sides are.
pub(super) trait Criterion {
    /// A sample of a tree: its row, how often it was drawn, and its target.
    type Sample: Copy + Send + Sync + Default;

    /// Row `row`, drawn `weight` times.
    fn sample(&self, row: u32, weight: u32) -> Self::Sample;

    /// The row of a sample.
    fn row(sample: &Self::Sample) -> usize;

    /// Gives a sample another row: in a copy of the columns.
    fn renumber(sample: &mut Self::Sample, row: u32);

    /// Begins a node: all its samples are on the right.
    fn begin(&mut self, samples: &[Self::Sample]);

    /// Whether all targets of the node are equal.
    fn is_pure(&self) -> bool;

    /// All samples of the node are on the right again.
    fn restart(&mut self);

    /// Moves a sample to the left.
    fn take(&mut self, sample: &Self::Sample);

    /// Adds up the samples by their bins, and marks those.
    fn count(&mut self, column: &[u8], samples: &[Self::Sample], seen: &mut Seen);

    /// Moves what was counted in a bin to the left, and forgets the count.
    fn take_bin(&mut self, bin: usize);

    /// The score of the split as the samples lie now. Both sides have some.
    fn score(&self) -> f64;

    /// The leaves that every tree has: rows of the table of leaves.
    fn first_leaves(&self) -> Vec<f32>;

    /// The row of the table for the node as a leaf, which is added to the table if it is not there.
    fn leaf(&self, leaves: &mut Vec<f32>) -> u32;
}

/// Whether a bin of such a column can be split off. (Of an ordered column: from those above it.)
pub(super) fn can_split(kind: ColumnKind, bin: usize) -> bool {
    match kind {
        ColumnKind::Ordered => true,
        ColumnKind::Categories { count } => bin < usize::from(count),
    }
}
