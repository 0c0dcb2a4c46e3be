//! A session that the ranks of a world train together. Each has the whole network and the whole data set, and of
//! every batch the samples of its shards. Rank 0 decides when to stop, and it alone saves.

use std::ops::ControlFlow;
use std::path::Path;

use threadcount_kernels::Team;

use super::record::Record;
use super::session::Session;
use crate::data::Picks;
use crate::distributed::{Share, World, sha256};
use crate::nn::io::tensor_file::TensorFile;
use crate::{Error, Result};

/// The tags of the messages here.
const CHECKPOINT: u32 = 0x6000_0000;
const WEIGHTS: u32 = 0x6000_0001;
const FLOW: u32 = 0x6000_0002;
const RECORD: u32 = 0x6000_0003;

impl Session<'_> {
    /// From here on trains together with the other ranks of `world`, which all call this. They go on from where the
    /// session of rank 0 is; their task, data and seed have to be its own. The bits of the result are those of one
    /// process.
    ///
    /// # Errors
    /// [`Error::Setting`] if the task's shards cannot be shared out among so many ranks;
    /// [`Error::Failed`] if a rank has failed, or has not got the weights of rank 0.
    pub fn join(&mut self, world: World) -> Result<()> {
        let share = Share::new(self.task().shards, world.size(), world.rank())?;
        if world.size() == 1 {
            return Ok(());
        }
        let own = if world.is_first() { self.checkpoint()? } else { Vec::new() };
        let bytes = world.shared(CHECKPOINT, own)?;
        if !world.is_first() {
            self.resume_from(&TensorFile::of(Path::new("the checkpoint of rank 0"), bytes), None)?;
        }
        self.network.cut_batches(share, self.task().batch_norm_over)?;
        self.world = world;
        self.agree_on_weights()
    }

    /// Checks that all ranks have the same weights.
    pub(super) fn agree_on_weights(&self) -> Result<()> {
        // A finished session has the weights that it keeps, or those of its last step.
        if self.world.size() == 1 || self.is_finished() {
            return Ok(());
        }
        let weights = sha256(&[self.network.params(), self.network.state()]);
        self.world.agree(WEIGHTS, "checksum of the weights", &weights)
    }

    /// Whether to go on: as rank 0 says.
    pub(super) fn agreed(&self, flow: ControlFlow<()>) -> Result<ControlFlow<()>> {
        if self.world.size() == 1 {
            return Ok(flow);
        }
        let mut is_break = [f32::from(u8::from(flow.is_break()))];
        self.world.spread(FLOW, &mut is_break)?;
        Ok(if is_break == [0.0] { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    }
}

impl Session<'_> {
    /// What the other ranks do while rank 0 concludes the run, as [`RunFolder::conclude`](super::RunFolder::conclude) and
    /// [`Session::test_predictions`] after it: evaluate their parts of the test samples.
    ///
    /// # Errors
    /// As [`Session::test`].
    pub fn share_conclusion(&mut self, team: &Team) -> Result<()> {
        self.test(team)?;
        self.test_predictions(team).map(drop)
    }

    /// Says all that the ranks say to each other in a step, with nothing computed between; for benchmarks.
    ///
    /// # Errors
    /// [`Error::Failed`] if a rank has failed, [`Error::Mismatch`] if batches are not cut into shards.
    pub fn exchange(&mut self, team: &Team) -> Result<()> {
        self.network.exchange(team, &self.world)?;
        self.agreed(ControlFlow::Continue(())).map(drop)
    }

    /// Makes steps as a rank does that has one shard, which is the whole batch; for benchmarks.
    ///
    /// # Errors
    /// [`Error::Memory`] if the memory cannot be had.
    pub fn cut_in_one(&mut self) -> Result<()> {
        self.network.cut_batches(Share::new(1, 1, 0)?, self.task().batch_norm_over)
    }
}

impl Record {
    /// The record of rank 0, which all ranks are to train.
    ///
    /// # Errors
    /// [`Error::Failed`] if a rank has failed.
    pub fn shared(&self, world: &World) -> Result<()> {
        world.shared(RECORD, self.text(&self.id()?)?.into_bytes()).map(drop)
    }

    /// On another rank, the record that rank 0 has shared.
    ///
    /// # Errors
    /// As [`Self::shared`].
    pub fn of_first(world: &World) -> Result<Self> {
        let bytes = world.shared(RECORD, Vec::new())?;
        let parsed = String::from_utf8(bytes).map_err(|error| error.to_string());
        let parsed = parsed.and_then(|text| Self::parse(&text));
        let (record, _) = parsed.map_err(|fault| Error::data("the record of rank 0", fault))?;
        Ok(record)
    }
}

/// What this share has of the picks of batches of `size` samples.
pub(super) fn own_picks(picks: Picks<'_>, share: Share, size: usize) -> Picks<'_> {
    let Picks { now, next, .. } = picks;
    let (own, own_next) = (share.own_samples(now.len()), share.own_samples(next.len().min(size)));
    Picks { now: &now[own], next: &next[own_next], ..picks }
}
