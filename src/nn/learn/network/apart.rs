//! Layers that keep something of a whole batch, such as the statistics of batch normalisation, where each shard counts
//! as a batch of its own. Moving statistics become the mean, by samples, of those that each shard leads to; they are
//! summed while backward runs, so that forward waits for nobody.

use std::ops::Range;

use crate::distributed::{Slots, Tree, Wait, World};
use crate::error::Result;
use crate::nn::buffer::Buffer;
use crate::nn::model::{Plan, Unit, program};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What batch normalisation takes its statistics over, where batches are cut into shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BatchNormOver {
    /// The whole batch.
    #[default]
    Batch,
    /// Each shard by itself.
    Shard,
}

impl BatchNormOver {
    /// The names of all.
    pub const NAMES: [&str; 2] = ["batch", "shard"];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Batch => Self::NAMES[0],
            Self::Shard => Self::NAMES[1],
        }
    }
}

impl FromStr for BatchNormOver {
    type Err = crate::Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "batch" => Ok(Self::Batch),
            "shard" => Ok(Self::Shard),
            _ => {
                let fault =
                    format!("'{}' is neither batch nor shard", crate::names::shortened(name));
                Err(crate::Error::Setting { name: "batch-norm-over", fault })
            }
        }
    }
}

/// The tag of the messages here.
const STATES: u32 = 0x4100_0000;

/// What is kept of each shard here.
#[derive(Clone, Debug)]
pub(super) struct Apart {
    /// What layers keep of a batch: a row for each shard.
    kept: Buffer,
    row: usize,
    /// Where in a row each layer's part begins.
    places: Vec<usize>,
    /// The moving statistics before the step.
    before: Buffer,
    /// Those that each shard leads to, times its share of the samples.
    states: Buffer,
    /// Those that change.
    moving: Vec<Range<usize>>,
    /// How far their sum is.
    at: usize,
}

impl Apart {
    pub(super) fn new(units: &[Unit], shards: usize) -> Result<Self> {
        let mut row = 0;
        let mut places = Vec::new();
        for unit in units {
            places.push(row);
            row += unit.kept.per_batch;
        }
        let state = units.iter().map(|unit| unit.state.end).max().unwrap_or(0);
        let moving = units.iter().filter(|unit| !unit.frozen && !unit.state.is_empty());
        Ok(Self {
            kept: Buffer::zeroed(row.saturating_mul(shards))?,
            row,
            places,
            before: Buffer::zeroed(state)?,
            states: Buffer::zeroed(state.saturating_mul(shards))?,
            moving: moving.map(|unit| unit.state.clone()).collect(),
            at: 0,
        })
    }

    /// Its numbers, for a process of that many shards.
    pub(super) fn floats(plan: &Plan, shards: usize) -> usize {
        let units = program(plan);
        let kept: usize = units.iter().map(|unit| unit.kept.per_batch).sum();
        let state = units.iter().map(|unit| unit.state.end).max().unwrap_or(0);
        kept.saturating_mul(shards).saturating_add(state.saturating_mul(shards + 1))
    }

    /// How many numbers are summed in a step.
    pub(super) fn summed(&self) -> usize {
        if self.moving.is_empty() { 0 } else { self.before.len() }
    }

    /// A step begins.
    pub(super) fn begin(&mut self, state: &[f32]) {
        let len = self.before.len();
        self.before.copy_from_slice(&state[..len]);
        self.states.fill(0.0);
        self.at = 0;
    }

    /// A shard with this share of the samples has been forward through a layer, which has left this state, and has kept
    /// this. The next shard begins with the state before the step.
    pub(super) fn take_in(
        &mut self,
        (index, unit): (usize, &Unit),
        slot: usize,
        share: f32,
        kept: &[f32],
        state: &mut [f32],
    ) {
        let own = &mut self.kept[slot * self.row + self.places[index]..][..unit.kept.per_batch];
        own.copy_from_slice(&kept[kept.len() - unit.kept.per_batch..]);
        let states = &mut self.states[slot * self.before.len()..][unit.state.clone()];
        states.iter_mut().zip(&*state).for_each(|(own, left)| *own = share * left);
        state.copy_from_slice(&self.before[unit.state.clone()]);
    }

    /// What a layer has kept of a shard.
    pub(super) fn kept(&self, index: usize, unit: &Unit, slot: usize) -> &[f32] {
        &self.kept[slot * self.row + self.places[index]..][..unit.kept.per_batch]
    }

    /// Goes on with the sum of the moving statistics; in the end they are in `state`.
    pub(super) fn sum(
        &mut self,
        tree: &Tree,
        wait: Wait,
        world: &World,
        state: &mut [f32],
    ) -> Result<()> {
        let len = self.summed();
        if len == 0 {
            return Ok(());
        }
        let (first, others) = self.states.split_at_mut(len);
        let mut slots = Slots { first, others, stride: len, range: 0..len };
        let join = |_, into: &mut [f32], from: &[f32]| {
            into.iter_mut().zip(from).for_each(|(sum, more)| *sum += more);
        };
        tree.go_on(0, &mut self.at, wait, world, STATES, &mut slots, join)?;
        if wait == Wait::Yes {
            for range in &self.moving {
                state[range.clone()].copy_from_slice(&self.states[range.clone()]);
            }
        }
        Ok(())
    }
}
