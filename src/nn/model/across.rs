//! Layers whose result for one sample depends on the other samples of its batch, where the batch is cut into shards.

use std::ops::Range;

use super::layer::{Backward, Forward};
use crate::data::Shape;
use crate::distributed::{Slots, Tree, World};
use crate::error::Result;

/// A layer that sums something over a batch in its passes. Of a batch that is cut into shards, its passes get all
/// samples that this process has at once, and sum over the [`Whole`] of it.
pub trait AcrossShards {
    /// The most numbers that a pass sums at once, for samples of shape `input`.
    fn summed(&self, input: Shape) -> usize;

    /// As [`LayerKind::forward`](super::LayerKind::forward). There may be no samples here.
    ///
    /// # Errors
    /// Those of [`Whole::sum`].
    fn forward_across(&self, pass: Forward<'_>, whole: &mut Whole<'_>) -> Result<()>;

    /// As [`LayerKind::backward`](super::LayerKind::backward). There may be no samples here. The gradients are
    /// those of the whole batch.
    ///
    /// # Errors
    /// Those of [`Whole::sum`].
    fn backward_across(&self, pass: Backward<'_>, whole: &mut Whole<'_>) -> Result<()>;
}

/// A batch that is cut into shards, of which this process has some.
pub struct Whole<'a> {
    pub(crate) tree: &'a Tree,
    pub(crate) world: &'a World,
    /// Of this layer's sums in this pass.
    pub(crate) tag: u32,
    pub(crate) samples: usize,
    /// Room for the sums of each shard here.
    pub(crate) memory: &'a mut [f32],
}

impl Whole<'_> {
    /// The samples of the whole batch.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// Sums `len` numbers over the shards of all processes, in the order of the tree: the same bits on each.
    /// `measure` writes the numbers of the shard that has these samples, counted from the first one here.
    /// `join([left, right], values, more)` adds the numbers of a group of shards with `right` samples to those of
    /// one before it with `left`.
    ///
    /// # Errors
    /// [`Error::Failed`](crate::Error::Failed) if another process has failed.
    pub fn sum(
        &mut self,
        len: usize,
        mut measure: impl FnMut(Range<usize>, &mut [f32]),
        mut join: impl FnMut([usize; 2], &mut [f32], &[f32]),
    ) -> Result<&[f32]> {
        let share = self.tree.share();
        let own = &mut self.memory[..share.own() * len];
        for (index, values) in own.chunks_exact_mut(len.max(1)).enumerate() {
            measure(share.own_part(self.samples, index), values);
        }
        let (first, others) = own.split_at_mut(len);
        let mut slots = Slots { first, others, stride: len, range: 0..len };
        let samples = self.samples;
        self.tree.sum(self.world, self.tag, &mut slots, |groups, into, from| {
            let left = share.samples(samples, groups.left..groups.right).len();
            let right = share.samples(samples, groups.right..groups.end).len();
            join([left, right], into, from);
        })?;
        Ok(&self.memory[..len])
    }
}
