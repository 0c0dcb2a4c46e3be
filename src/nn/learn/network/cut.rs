//! How a network's batches are cut: the shards that this process has, the memory for their sums, and the pieces in which
//! gradients travel.

use std::ops::Range;

use threadcount_kernels::Team;

use super::apart::{Apart, BatchNormOver};
use crate::distributed::{Share, Slots, Tree, Wait, World, add};
use crate::error::{Error, Result};
use crate::nn::buffer::Buffer;
use crate::nn::model::{AcrossShards, Model, Plan, Unit, program};

/// The most numbers of a piece that travels. Small enough that the sums of a layer are shared out among several
/// processes, large enough that the time of a message is that of its numbers.
const PIECE: usize = 1 << 16;

/// Numbers of a shard's results.
pub(super) const RESULTS: usize = 4;

/// The tag of the first piece of the gradients; the others are numbered from it on.
const PIECES: u32 = 0x1000_0000;
/// The tag of the results of shards.
const LOSSES: u32 = 0x4000_0000;

/// The shards of a batch that this process has, and the memory for their sums.
#[derive(Clone, Debug)]
pub(super) struct Shards {
    pub(super) tree: Tree,
    /// The gradients of each shard here but the first, whose place is the network's own gradients.
    pub(super) grads: Buffer,
    /// For [`Whole`](crate::nn::Whole).
    pub(super) summed: Buffer,
    /// The results of each shard here.
    pub(super) results: Buffer,
    /// In the order in which backward ends them.
    pub(super) pieces: Vec<Piece>,
    /// If each shard is a batch of its own for layers that mix samples.
    pub(super) apart: Option<Apart>,
}

/// Parameters whose gradients are summed at once.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    /// Of the program.
    pub(super) unit: usize,
    pub(super) params: Range<usize>,
    /// One of [`Tree::turns`].
    pub(super) turn: usize,
    /// How far its sum is.
    pub(super) at: usize,
}

/// Refuses batches that cannot be cut like that.
///
/// # Errors
/// [`Error::Setting`] with the reason.
pub(crate) fn check_shards(
    shards: usize,
    over: BatchNormOver,
    batch_size: usize,
    plan: &Plan,
) -> Result<()> {
    let refuse = |fault| Err(Error::Setting { name: "shards", fault });
    if shards == 0 {
        return refuse("at least 1, not 0".to_owned());
    }
    if shards > 1 && batch_size == 1 {
        return refuse(
            "a batch of one sample cannot be cut; take a larger batch-size, or one shard".into(),
        );
    }
    if shards > batch_size {
        return refuse(format!(
            "a batch of {batch_size} samples cannot be cut into {shards}; take a larger batch-size, or fewer shards"
        ));
    }
    let mixes = |unit: &&Unit| {
        unit.layer.across().is_none() && (unit.kept.per_batch > 0 || !unit.state.is_empty())
    };
    match program(plan).iter().find(mixes) {
        Some(unit) if shards > 1 && over == BatchNormOver::Batch => refuse(format!(
            "the layer {} keeps something of a whole batch, and does not say how that is summed over shards",
            unit.layer.names().0
        )),
        _ => Ok(()),
    }
}

impl Shards {
    pub(super) fn new(model: &Model, share: Share, over: BatchNormOver) -> Result<Self> {
        let tree = Tree::new(share);
        let [grads, summed] = Self::floats(model.plan(), share);
        let is_apart = over == BatchNormOver::Shard;
        Ok(Self {
            pieces: pieces(&model.program, share, over, tree.turns()),
            apart: is_apart.then(|| Apart::new(&model.program, share.own())).transpose()?,
            tree,
            grads: Buffer::zeroed(grads)?,
            summed: Buffer::zeroed(summed)?,
            results: Buffer::zeroed(share.own() * RESULTS)?,
        })
    }

    /// The lengths of its buffers that depend on the network.
    pub(super) fn floats(plan: &Plan, share: Share) -> [usize; 2] {
        let units = program(plan);
        let summed = |unit: &Unit| unit.layer.across().map_or(0, |layer| layer.summed(unit.input));
        let summed = units.iter().map(summed).max().unwrap_or(0);
        [
            (share.own() - 1).saturating_mul(plan.trainable_count()),
            share.own().saturating_mul(summed),
        ]
    }

    /// How a layer sums over the whole batch, if it does.
    pub(super) fn across<'u>(&self, unit: &'u Unit) -> Option<&'u dyn AcrossShards> {
        unit.layer.across().filter(|_| self.apart.is_none())
    }

    /// Goes on with the sum of a piece of the gradients, unless it is done. `first` are those of the first shard.
    pub(super) fn sum_piece(
        &mut self,
        piece: usize,
        wait: Wait,
        (team, world): (&Team, &World),
        first: &mut [f32],
    ) -> Result<()> {
        let Self { tree, grads, pieces, .. } = self;
        let Piece { params, turn, at, .. } = &mut pieces[piece];
        if tree.is_done(*turn, *at) {
            return Ok(());
        }
        let (stride, range) = (first.len(), params.clone());
        let mut slots = Slots { first, others: grads, stride, range };
        let tag = PIECES + piece as u32;
        tree.go_on(*turn, at, wait, world, tag, &mut slots, |_, into, from| add(team, into, from))
    }

    /// Goes on with the sum of the results of the shards.
    pub(super) fn sum_results(&mut self, at: &mut usize, wait: Wait, world: &World) -> Result<()> {
        let (first, others) = self.results.split_at_mut(RESULTS);
        let mut slots = Slots { first, others, stride: RESULTS, range: 0..RESULTS };
        self.tree.go_on(0, at, wait, world, LOSSES, &mut slots, |_, into, from| {
            let (one, other) = (Results::read(into), Results::read(from));
            let (loss, correct) = (one.loss + other.loss, one.correct + other.correct);
            Results { loss, correct }.write(into);
        })
    }
}

/// The gradients of all layers that learn and do not sum them by themselves, last layer first.
fn pieces(program: &[Unit], share: Share, over: BatchNormOver, turns: usize) -> Vec<Piece> {
    let most = if share.ranks > 1 { PIECE } else { usize::MAX };
    let mut pieces = Vec::new();
    for (unit, planned) in program.iter().enumerate().rev() {
        let sums_itself = over == BatchNormOver::Batch && planned.layer.across().is_some();
        if planned.frozen || sums_itself {
            continue;
        }
        let Range { mut start, end } = planned.params.clone();
        while start < end {
            let params = start..start + most.min(end - start);
            start = params.end;
            pieces.push(Piece { unit, params, turn: pieces.len() % turns, at: 0 });
        }
    }
    pieces
}

/// The results of one shard, or of several.
#[derive(Clone, Copy)]
pub(super) struct Results {
    pub(super) loss: f64,
    pub(super) correct: u64,
}

impl Results {
    /// As numbers that travel: only their bits count.
    pub(super) fn write(self, to: &mut [f32]) {
        let bits = [self.loss.to_bits(), self.correct];
        to.copy_from_slice(bytemuck::cast_slice(&bits));
    }

    pub(super) fn read(from: &[f32]) -> Self {
        let mut bits = [0_u64; 2];
        bytemuck::cast_slice_mut(&mut bits).copy_from_slice(&from[..RESULTS]);
        Self { loss: f64::from_bits(bits[0]), correct: bits[1] }
    }
}
